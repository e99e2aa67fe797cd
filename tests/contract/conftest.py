"""Prints the totals of the carriers' lists of codes at the end of a run."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what each test recorded as `codes`."""
    passed = terminalreporter.stats.get("passed", [])
    lines = sorted(
        str(said)
        for report in passed
        if getattr(report, "when", "") == "call"
        for name, said in report.user_properties
        if name == "codes"
    )
    if lines:
        terminalreporter.section("the carriers' own lists of codes")
        for line in lines:
            terminalreporter.write_line(line)
