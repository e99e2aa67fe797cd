"""What our documents promise is held by tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def defined() -> set[str]:
    return {
        node.name
        for file in [*(ROOT / "tests").rglob("*.py"), ROOT / "tracker" / "plugin" / "conformance.py"]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("document", ["README.md", "SECURITY.md", "tests/chaos/README.md"])
def test_every_test_that_a_document_names_is_there(document: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / document).read_text()))

    assert named
    assert named - defined() == set()


def test_every_fault_of_the_table_has_its_outcome() -> None:
    rows = re.findall(r"^\| (F\d+) \|.*\|(.*)\|$", (ROOT / "tests" / "chaos" / "README.md").read_text(), re.M)

    assert [name for name, _ in rows] == [f"F{number}" for number in range(1, 31)]
    assert all("`test_" in tests or "storm" in tests for _, tests in rows)
