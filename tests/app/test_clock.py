"""The machine's clock, set right by the database's."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tracker.clock import SharedClock, system_now


@pytest.mark.parametrize("off", [-7200.0, -120.0, -3.0, 3.0, 120.0, 7200.0])
def test_a_clock_that_is_off_shows_the_databases_time(off: float) -> None:
    clock = SharedClock()
    clock.settle(lambda: system_now() - timedelta(seconds=off))

    assert clock.off.total_seconds() == pytest.approx(off, abs=1.0)
    assert abs((clock() - system_now()).total_seconds() + off) < 1.0


def test_a_difference_that_the_way_may_have_cost_changes_nothing() -> None:
    clock = SharedClock()
    clock.settle(lambda: system_now() + timedelta(seconds=1))

    assert clock.off == timedelta(0)


def test_a_clock_that_was_mended_is_trusted_again() -> None:
    clock = SharedClock()
    clock.settle(lambda: system_now() - timedelta(minutes=2))
    clock.settle(system_now)

    assert clock.off == timedelta(0)
