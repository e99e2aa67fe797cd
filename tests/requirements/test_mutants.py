"""Each requirement's test must turn red when its rule is taken out: a test that still passes without it is a defect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.mutating import mutated, stands_once
from tests.requirements.test_requirements import FOLDER, IDS
from tracker.domain.errors import TrackerError
from tracker.sandbox.player import course
from tracker.sandbox.player.player import Player, load_scenario

MUTANTS: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "mutants.yaml").read_text(encoding="utf-8")
)


def test_each_statement_has_a_mutant() -> None:
    assert sorted(MUTANTS) == sorted(IDS)
    assert all(set(m) in ({"policy"}, {"file", "old", "new"}) for m in MUTANTS.values())
    for id_, mutant in MUTANTS.items():
        if "file" in mutant:
            stands_once(id_, mutant)


@pytest.mark.mutants
@pytest.mark.parametrize("id_", IDS)
def test_without_its_rule_the_statement_fails(id_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "PATIENCE", 8.0)  # a mutant may never settle: that is red too
    scenario = load_scenario(FOLDER / f"{id_}.yaml")
    mutant = MUTANTS[id_]
    if "policy" in mutant:
        stores = {
            name: store.model_copy(update={"policy": _merge(store.policy, mutant["policy"])})
            for name, store in scenario.stores.items()
        }
        scenario = scenario.model_copy(update={"stores": stores})
        assert _is_red(scenario)
    else:
        with mutated(mutant["file"], mutant["old"], mutant["new"]):
            assert _is_red(scenario)


def _merge(policy: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {
        **policy,
        **{k: {**policy.get(k, {}), **v} if isinstance(v, dict) and k == "deadlines" else v for k, v in more.items()},
    }


def _is_red(scenario: Any) -> bool:
    try:
        return bool(Player(scenario).play().differences)
    except TrackerError as error:
        return "does not settle" in str(error)
