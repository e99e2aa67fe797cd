"""What our documents promise is held by tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tracker.cli import matrix
from tracker.config.plugins import installed

ROOT = Path(__file__).parents[1]


def defined() -> set[str]:
    return {
        node.name
        for file in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "tracker" / "plugin" / "conformance").glob("*.py")]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("document", ["README.md", "SECURITY.md", "tests/chaos/README.md"])
def test_every_test_that_a_document_names_is_there(document: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / document).read_text()))

    assert named
    assert named - defined() == set()


def test_each_decision_has_the_next_number_and_a_status() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "DECISIONS.md").read_text(), re.M)
    told = [re.fullmatch(r"(\d+)\. .+ · (?:in force|(?:in part )?replaced by (\d+))", heading) for heading in headings]

    assert [heading for heading, one in zip(headings, told, strict=True) if one is None] == []
    numbers = [int(one[1]) for one in told if one]
    assert numbers == list(range(1, len(headings) + 1))
    assert all(int(one[1]) < int(one[2]) <= len(numbers) for one in told if one and one[2])


def test_nothing_is_cited_that_is_not_in_the_repository() -> None:
    """Documents that others hold, and requirements without their scenario; tests/contract is about what others hold."""
    absent = re.compile(r"\b(DESIGN|RELIABILITY|FACTS|VOCABULARY|REQUIREMENTS|PERFORMANCE)\b")
    known = {file.stem for file in (ROOT / "tests" / "scenarios" / "requirements").glob("*.yaml")}
    folders = [ROOT / name for name in ("adapters", "carriers", "deploy", "tests", "tracker")]
    files = [*ROOT.glob("*.*"), *(file for folder in folders for file in folder.rglob("*.*"))]
    cited = []
    for file in files:
        if file.suffix in (".md", ".py", ".yaml", ".toml") and file.parent.name != "contract":
            text = file.read_text()
            cited += [f"{file}: {word}" for word in absent.findall(text) if file != Path(__file__)]
            cited += [f"{file}: {word}" for word in set(re.findall(r"\b(?:KE|KR|MG|WS)-\d\d\b", text)) - known]

    assert known
    assert cited == []


def test_every_fault_of_the_table_has_its_outcome() -> None:
    rows = re.findall(r"^\| (F\d+) \|.*\|(.*)\|$", (ROOT / "tests" / "chaos" / "README.md").read_text(), re.M)

    assert [name for name, _ in rows] == [f"F{number}" for number in range(1, 31)]
    assert all("`test_" in tests or "storm" in tests for _, tests in rows)


def test_the_matrix_of_readme_is_what_the_code_of_the_platforms_says() -> None:
    told = [matrix.row(name, plugin) for name, plugin in installed("adapters").plugins.items()]
    rows = [matrix.COLUMNS, ("---",) * len(matrix.COLUMNS), *map(matrix.shown, told)]
    table = "".join(f"| {' | '.join(one)} |\n" for one in rows)

    assert table in (ROOT / "README.md").read_text(), f"put this into README, as its matrix:\n{table}"


def test_the_matrix_of_readme_is_what_the_code_of_the_carriers_says() -> None:
    told = [matrix.row(name, plugin) for name, plugin in installed("carriers").plugins.items()]
    rows = [matrix.CARRIERS, ("---",) * len(matrix.CARRIERS), *map(matrix.shown_carrier, told)]
    table = "".join(f"| {' | '.join(one)} |\n" for one in rows)

    assert table in (ROOT / "README.md").read_text(), f"put this into README, as its matrix of carriers:\n{table}"


@pytest.mark.parametrize("package", ["carriers", "adapters"])
def test_each_setting_that_what_is_unverified_names_is_one_of_its_plugin(package: str) -> None:
    for name, plugin in installed(package).plugins.items():
        named = {one for said in plugin.unverified for one in re.findall(r"`(\w+)`", said)}
        assert named <= {*plugin.Settings.model_fields}, name
        assert all("|" not in said for said in plugin.unverified), "it stands in a table"
