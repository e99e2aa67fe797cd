"""ARCHITECTURE.md is about this code: what it names is there, and nothing of its kind is left out."""

from __future__ import annotations

import importlib
import re
import tomllib
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tracker.store.tables import METADATA

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
NAME = re.compile(r"`((?:app|cli|clock|config|domain|pipeline|plugin|sandbox|store|support|upkeep)(?:\.\w+)+)`")
TABLE = re.compile(r"`(\w+)(?:\.(\w+))?`")
WALKS = ("The walk of a webhook", "The walk of a write", "The walk of what is told")


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """Return the rows of a section's tables, without their heads."""
    lines = [*section(title).splitlines(), ""]
    told = [line for line, below in pairwise(lines) if line.startswith("| ") and not below.startswith("|--")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in told]


def resolve(name: str) -> tuple[Any, str]:
    """Return what a name of `tracker` means, and its module. Raises AttributeError or ModuleNotFoundError."""
    found: Any = importlib.import_module("tracker")
    for part in name.split("."):
        if not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found, found.__name__ if isinstance(found, ModuleType) else getattr(found, "__module__", "")


def test_each_room_is_told_and_is_there() -> None:
    told = [cells[0].strip("`") for cells in rows("The rooms")]

    assert sorted(told) == sorted(f"tracker/{file.parent.name}" for file in (ROOT / "tracker").glob("*/__init__.py"))


def test_the_arrows_are_those_that_are_held() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")

    assert " > ".join(layers) in section("Who may import whom").splitlines()


def test_all_of_the_sandbox_but_its_player_is_held_to_know_nothing_of_the_house() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (held,) = (one["source_modules"] for one in contracts if one["name"].startswith("fake servers"))
    there = {file.stem for file in (ROOT / "tracker" / "sandbox").glob("*.py")} - {"__init__"} | {"contracts", "fakes"}

    assert sorted(held) == sorted(f"tracker.sandbox.{name}" for name in there)


@pytest.mark.parametrize("name", sorted({*NAME.findall(TEXT)}))
def test_each_function_and_class_that_is_named_is_there(name: str) -> None:
    assert resolve(name)


def test_each_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`([\w.]+/[\w./]*)`", TEXT))

    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("walk", WALKS)
def test_each_step_of_a_walk_names_tables_that_its_modules_speak_of(walk: str) -> None:
    steps = rows(walk)

    assert len(steps) >= 7
    for number, what, reads, writes, _ in steps:
        sources = [
            Path(importlib.import_module(resolve(name)[1]).__file__ or "").read_text() for name in NAME.findall(what)
        ]
        for table, column in TABLE.findall(f"{reads} {writes}"):
            assert table in METADATA.tables, f"step {number}: no table {table}"
            assert not column or column in METADATA.tables[table].columns, f"step {number}: {table} has no {column}"
            assert any(re.search(rf"\b{table}\b", source) for source in sources), (
                f"step {number}: who speaks of {table}?"
            )


@pytest.mark.parametrize("walk", WALKS)
def test_the_steps_of_a_walk_are_numbered_and_what_writes_has_a_transaction(walk: str) -> None:
    steps = rows(walk)
    numbers = [0, *(int(step[0]) for step in steps)]

    assert all(number in (before + 1, 1) for before, number in pairwise(numbers))
    assert [step[0] for step in steps if step[3] and not step[4]] == []


def test_the_glossary_is_short_sorted_and_each_word_is_in_the_code() -> None:
    words = rows("Glossary")

    assert len(words) <= 40
    assert [word for word, _, _ in words] == sorted(word for word, _, _ in words)
    assert [word for word, code, meaning in words if not NAME.fullmatch(code) or not meaning] == []


def test_the_page_stays_short_and_is_where_one_looks() -> None:
    assert len(TEXT.splitlines()) <= 200
    assert all("(ARCHITECTURE.md)" in (ROOT / page).read_text() for page in ("CONTRIBUTING.md", "README.md"))
