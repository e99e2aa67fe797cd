"""Each statement of the requirements: a test of its name, which plays the scenario file of its name.

The functions are made from the files, so that a statement has one home: `pytest -k KE_03` plays
`tests/scenarios/requirements/KE-03.yaml`. `test_mutants.py` proves that each turns red without its rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tracker.domain.notices import TEMPLATES, render
from tracker.domain.vocabulary import NoticeClass
from tracker.sandbox.player.player import Player, load_scenario

FOLDER = Path(__file__).parents[1] / "scenarios" / "requirements"
IDS = [f"{group}-{n:02}" for group, last in (("KE", 22), ("KR", 8), ("MG", 13), ("WS", 12)) for n in range(1, last + 1)]


def _test_of(file: Path) -> tuple[str, Callable[[], None]]:
    scenario = load_scenario(file)
    slug = re.sub(r"\W+", "_", scenario.scenario.lower().replace("'s", "s")).strip("_")

    def play() -> None:
        assert Player(scenario).play().differences == []

    return f"test_{file.stem.replace('-', '_')}_{slug}", play


for _file in sorted(FOLDER.glob("*.yaml")):
    _name, _test = _test_of(_file)
    globals()[_name] = _test


def test_each_statement_has_its_scenario_and_nothing_else_is_there() -> None:
    assert sorted(file.stem for file in FOLDER.glob("*.yaml")) == sorted(IDS)


# KE-17: what no template may ever say

FORBIDDEN = {
    "en": r"guarante|promise|will (be delivered|arrive)|certain|definitely|on time|fault|blame|your mistake|you (failed|forgot)|"
    r"courier's|refund|compensat|at the latest|no later than",
    "de": r"garant|verspr|sicher|bestimmt|pünktlich|schuld|fehler|versäum|vergess|verzöger\w* durch|erstatt|entschädig|spätestens|"
    r"wird (zugestellt|geliefert|ankommen)",
}


@pytest.mark.parametrize("language", sorted(TEMPLATES))
def test_KE_17_no_template_guarantees_or_blames(language: str) -> None:
    assert set(TEMPLATES[language]) == set(NoticeClass)
    for kind, text in TEMPLATES[language].items():
        assert not re.search(FORBIDDEN[language], text, re.IGNORECASE), f"{language}/{kind}: {text}"
        assert not re.search(r"\d|{date}|{edd}", text), f"{language}/{kind}: a date only by the labelled estimate"
    assert render.__doc__
