"""The gates themselves: what checks others must be able to say no, and says it where nothing was checked at all."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.bench.figures import row, verdict
from tests.chaos.soak import Soak
from tests.chaos.storm import Report
from tests.fuzz import __main__ as fuzz
from tests.load import Figures, judge

ROOT = Path(__file__).parents[1]


def test_a_missed_goal_fails_the_bench_and_so_does_a_bench_of_nothing() -> None:
    held, missed = row("a", "1", "1", 1.0, "<= 2.5"), row("b", "1", "1", 1.0, ">= 20,000 /s")

    assert (verdict([held]), verdict([held, missed]), verdict([])) == (0, 1, 1)


def test_a_load_of_which_nothing_was_sent_or_something_lost_misses_its_goal() -> None:
    assert judge(Figures("sustained", posts=1)).problems == []
    assert judge(Figures("sustained")).problems == ["nothing was sent"]
    assert judge(Figures("sustained", posts=5, lost=1)).problems == ["lost 1"]
    assert judge(Figures("burst", posts=5, drained_s=301)).problems == ["drained_s 301 > 300"]
    assert judge(Figures("backlog", posts=5, drained_per_second=10)).problems == ["drained at 10/s < 150/s"]


def test_a_storm_or_soak_that_tried_or_watched_nothing_proves_nothing() -> None:
    assert Report(1).problems == ["nothing was tried"]
    with pytest.raises(AssertionError, match="nothing was watched"):
        Soak(1, 100).growth()


MAKE = """#!/bin/sh
case "$1" in
  lint) exit ${LINT:-0} ;;
  test) echo tested; exit ${SUITE:-0} ;;
  mutants) echo "the mutants' last line"; exit ${MUTANTS:-0} ;;
esac
"""
PYTHON = """#!/bin/sh
echo "$CONTRACT"
exit ${CONTRACTS:-0}
"""


@pytest.mark.parametrize(
    ("broken", "code", "says"),
    [
        ({}, 0, "the mutants' last line"),
        ({"LINT": "2"}, 2, ""),
        ({"SUITE": "2"}, 2, "tested"),
        ({"MUTANTS": "2"}, 1, "a requirement's test passes without its rule"),
        ({"SUITE": "2", "MUTANTS": "2"}, 1, "a requirement's test passes without its rule"),
        ({"CONTRACTS": "1", "CONTRACT": "1 failed"}, 1, "1 failed"),
        ({"CONTRACTS": "5", "CONTRACT": "no tests ran"}, 1, "no tests ran"),
        ({"CONTRACT": "SKIPPED [30] tests/contract: not here\n30 skipped"}, 1, "skipped although the contracts are here"),
    ],
    ids=str,
)  # fmt: skip
def test_ci_fails_where_any_of_its_parts_does(tmp_path: Path, broken: dict[str, str], code: int, says: str) -> None:
    folder = tmp_path / "repo"
    for name, text in (("bin/make", MAKE), ("repo/.venv/bin/python", PYTHON)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "shared").mkdir()
    (folder / ".ci").mkdir()
    (folder / ".ci" / "run").write_text((ROOT / ".ci" / "run").read_text())
    done = subprocess.run(
        ["bash", ".ci/run"], cwd=folder, capture_output=True, text=True, check=False,
        env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "CONTRACT": "30 passed", **broken},
    )  # fmt: skip

    assert (done.returncode, says in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr


def test_a_fuzzer_that_tried_nothing_found_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stats = "number_of_executed_units: "
    for said, ended, code in ((f"{stats}5000", 0, 0), (f"{stats}0", 0, 1), ("", 0, 1), (f"{stats}9", 77, 1)):
        done = subprocess.CompletedProcess([], ended, "", said)
        monkeypatch.setattr(fuzz.subprocess, "run", lambda *_, done=done, **__: done)
        monkeypatch.setattr(fuzz.sys, "argv", ["fuzz", "--only", "http"])
        assert fuzz.main() == code, said
    assert "CRASHED" in capsys.readouterr().out
