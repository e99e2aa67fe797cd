"""Each requirement's test must turn red when its rule is taken out: a test that still passes without it is a defect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mutating import stands_once
from tests.requirements.mutants import MUTANTS, without_rule
from tests.requirements.test_requirements import FOLDER, IDS
from tracker.domain.errors import TrackerError
from tracker.sandbox.player.player import Player, load_scenario


def test_each_statement_has_a_mutant() -> None:
    assert sorted(MUTANTS) == sorted(IDS)
    assert all(set(m) in ({"policy"}, {"file", "old", "new"}) for m in MUTANTS.values())
    for id_, mutant in MUTANTS.items():
        if "file" in mutant:
            stands_once(id_, mutant)


@pytest.mark.mutants
@pytest.mark.parametrize("id_", IDS)
def test_without_its_rule_the_statement_fails(id_: str) -> None:
    with without_rule(id_, load_scenario(FOLDER / f"{id_}.yaml")) as scenario:
        assert _is_red(scenario)


def _is_red(scenario: Any) -> bool:
    try:
        return bool(Player(scenario).play().differences)
    except TrackerError as error:
        return "does not settle" in str(error)
