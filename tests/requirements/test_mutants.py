"""Each requirement's test must turn red when its rule is taken out: a test that still passes without it is a defect."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.requirements.test_requirements import FOLDER, IDS
from tracker.daemon import play
from tracker.daemon.play import Player, load_scenario
from tracker.domain.errors import TrackerError

ROOT = Path(__file__).parents[2]
MUTANTS: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "mutants.yaml").read_text(encoding="utf-8")
)


@contextmanager
def mutated(file: str, old: str, new: str) -> Iterator[None]:
    """Run with one piece of a module's source replaced: its functions keep their identity and get the mutant's code."""
    source = (ROOT / file).read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{file} holds {source.count(old)} times what the mutant takes out: {old!r}"
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    scratch: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    fresh = types.ModuleType(module.__name__)
    fresh.__dict__.update(scratch)
    import sys

    kept_module = sys.modules[module.__name__]
    sys.modules[module.__name__] = fresh
    try:
        exec(compile(source.replace(old, new), str(ROOT / file), "exec"), fresh.__dict__)
    finally:
        sys.modules[module.__name__] = kept_module
    undo: list[tuple[Any, str, Any]] = []

    def swap(before: Any, after: Any) -> None:
        for name, value in vars(after).items():
            there = vars(before).get(name)
            if inspect.isfunction(value) and inspect.isfunction(there):
                if value.__code__.co_freevars == there.__code__.co_freevars:
                    undo.append((there, "__code__", there.__code__))
                    there.__code__ = value.__code__
            elif inspect.isclass(value) and inspect.isclass(there) and value.__module__ == module.__name__:
                swap(there, value)
            elif (
                isinstance(value, dict | frozenset | tuple | str | int) and there != value and not name.startswith("__")
            ):
                undo.append((before, name, there))
                setattr(before, name, value)

    swap(module, fresh)
    try:
        yield
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)


def test_each_statement_has_a_mutant() -> None:
    assert sorted(MUTANTS) == sorted(IDS)
    assert all(set(m) in ({"policy"}, {"file", "old", "new"}) for m in MUTANTS.values())


@pytest.mark.mutants
@pytest.mark.parametrize("id_", IDS)
def test_without_its_rule_the_statement_fails(id_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "PATIENCE", 8.0)  # a mutant may never settle: that is red too
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
