"""Take the rule of a statement out: of its policy, or of the code (mutants.yaml)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.mutating import mutated
from tracker.sandbox.player import course
from tracker.sandbox.scenario import Scenario

MUTANTS: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "mutants.yaml").read_text(encoding="utf-8")
)
PATIENCE = 8.0  # seconds: a mutant may never settle, and that is red too


@contextmanager
def without_rule(id_: str, scenario: Scenario) -> Iterator[Scenario]:
    """Give the scenario as it is to be played, while its rule is out."""
    mutant, patience = MUTANTS[id_], course.PATIENCE
    course.PATIENCE = PATIENCE
    try:
        if "policy" in mutant:
            stores = {
                name: store.model_copy(update={"policy": _merge(store.policy, mutant["policy"])})
                for name, store in scenario.stores.items()
            }
            yield scenario.model_copy(update={"stores": stores})
        else:
            with mutated(mutant["file"], mutant["old"], mutant["new"]):
                yield scenario
    finally:
        course.PATIENCE = patience


def _merge(policy: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {
        **policy,
        **{k: {**policy.get(k, {}), **v} if isinstance(v, dict) and k == "deadlines" else v for k, v in more.items()},
    }
