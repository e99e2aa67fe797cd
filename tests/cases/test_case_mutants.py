"""Each mended rule has a test that turns red without it: entries of mutants.yaml, each run in this process."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml

from tests.mutating import ROOT, mutated, stands_once
from tracker.sandbox.player import course

MUTANTS: dict[str, dict[str, str]] = yaml.safe_load(
    (Path(__file__).parent / "mutants.yaml").read_text(encoding="utf-8")
)
LIMIT = 45.0  # seconds; a mutant may never end: that is red too


class Outcome:
    """What a nested run came to: the phases that failed, the tests that passed."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.passed: list[str] = []
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(f"{report.when} {report.nodeid}")
        elif report.skipped:
            self.skipped.append(report.nodeid)
        elif report.when == "call":
            self.passed.append(report.nodeid)


def run(test: str) -> Outcome:
    """Run a test in this process, as the suite would, up to its first failure."""
    outcome = Outcome()
    options = ["-q", "-x", "--no-header", "--tb=no", "-o", "addopts=--import-mode=importlib", "--rootdir", str(ROOT)]
    plugins = ["-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:cov"]
    code = pytest.main([*options, *plugins, str(ROOT / test)], plugins=[outcome])
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), f"{test} was not run: {pytest.ExitCode(code)!r}"
    return outcome


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What never settles, or never ends, is red after a while."""

    def over(_number: int, _frame: FrameType | None) -> Any:
        raise TimeoutError(f"did not end within {LIMIT} s")

    monkeypatch.setattr(course, "PATIENCE", 8.0)
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def defined(file: str, suite: list[str]) -> set[str]:
    """Return the tests that a file defines; those of a suite that it only takes part in stand in the suite's own file."""
    files = sorted((ROOT / "tracker" / "plugin" / "conformance").glob("*.py")) if suite else [ROOT / file]
    return {name for one in files for name in re.findall(r"^ *def (test_\w+)\(", one.read_text("utf-8"), re.MULTILINE)}


def test_each_mutant_says_what_it_takes_out_and_which_test_misses_it() -> None:
    names = re.findall(
        r"^(\w+): \{", (Path(__file__).parent / "mutants.yaml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(names) == sorted(MUTANTS), "a name stands twice: YAML keeps the last"
    for name, mutant in MUTANTS.items():
        assert set(mutant) == {"file", "old", "new", "test"}, name
        stands_once(name, mutant)
        file, *suite, test = mutant["test"].partition("[")[0].split("::")
        assert (ROOT / file).is_file(), f"{name}: {file}"
        assert test in defined(file, suite), f"{name}: {mutant['test']}"


@pytest.mark.mutants
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_without_its_rule_the_test_fails(name: str, impatient: None) -> None:
    mutant = MUTANTS[name]
    with mutated(mutant["file"], mutant["old"], mutant["new"]):
        outcome = run(mutant["test"])

    assert not outcome.skipped, f"{mutant['test']} is skipped here: it proves nothing"
    assert [one for one in outcome.failed if one.startswith("call")], (
        f"{mutant['test']} passes without the rule" if not outcome.failed else f"it fails elsewhere: {outcome.failed}"
    )
