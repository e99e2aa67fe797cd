"""One idea a file: none is so long that it holds two, and no function so long that it cannot be read at a glance."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("tracker", "carriers", "adapters", "tests")
LINES, OF_A_FUNCTION = 500, 60
# They are read from the top to the bottom, like a table: history, and rows of data.
TABLES = ("tracker/store/migrations/versions/", "tracker/store/tables.py", "tracker/domain/vocabulary.py")


def files() -> Iterator[tuple[str, str]]:
    """Give each Python file of ours and its text, without those that are tables."""
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            name = file.relative_to(ROOT).as_posix()
            if not name.startswith(TABLES):
                yield name, file.read_text(encoding="utf-8")


def functions() -> Iterator[tuple[str, int]]:
    """Give each function, `path:name`, and how many lines it has."""
    for name, text in files():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_is_longer_than_five_hundred_lines() -> None:
    lengths = {name: len(text.splitlines()) for name, text in files()}

    assert len(lengths) > 100
    assert {name: n for name, n in lengths.items() if n > LINES} == {}


def test_no_function_is_longer_than_sixty_lines() -> None:
    lengths = list(functions())

    assert len(lengths) > 1000
    assert [(name, n) for name, n in lengths if n > OF_A_FUNCTION] == []
