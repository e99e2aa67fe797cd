"""Every regular expression is linear in the text it is given: a space too many once cost eight seconds."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

from tests.hostile_patterns import ROOT
from tracker.config.presets import duration


def test_every_pattern_on_foreign_text_is_linear() -> None:
    """100 kB of hostile text each, in a process whose CPU time the kernel bounds: no clock on a wall is asked."""
    tried = subprocess.run(
        [sys.executable, "-m", "tests.hostile_patterns"], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert tried.returncode == 0, f"{tried.stderr[-2000:]}\nlast tried: {tried.stdout.splitlines()[-1:]}"
    assert tried.stdout.endswith("all are linear\n")


def test_spaces_between_the_parts_of_a_duration_cost_nothing() -> None:
    assert duration("1d" + " " * 100_000 + "2h") == timedelta(days=1, hours=2)
    assert duration(" 1d  3s ") == timedelta(days=1, seconds=3)


@pytest.mark.parametrize("value", ["36501d", "999999999d", "9999999999d", "9" * 5000 + "d", "１d"])
def test_a_duration_beyond_a_hundred_years_is_none(value: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        duration(value)
