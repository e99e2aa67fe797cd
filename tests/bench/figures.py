"""How a figure is measured, told, and held to its goal."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

RUNS = 3
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


def cpu(function: Callable[[], Any], seconds: float = 0.3) -> float:
    """Return the CPU time of one call in microseconds."""
    function()
    count, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        function()
        count += 1
    return (time.process_time() - began) / count * 1e6


def side_by_side(ours: Callable[[], float], floor: Callable[[], float], runs: int = RUNS) -> tuple[float, float]:
    """Return the medians of both, measured in turn."""
    pairs = [(ours(), floor()) for _ in range(runs)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def work_until(done: Callable[[], bool], ctx: Any, clock: Any, minutes: int = 600) -> None:
    """Work what is due, and let a minute of the play pass where that is not all; fail after so many."""
    from tracker.pipeline.drain import STEPS

    for _ in range(minutes):
        while sum(STEPS[queue](ctx) for queue in ("poll", "ingest", "decide")):
            pass
        if done():
            return
        clock.move_to(clock() + timedelta(minutes=1))
    raise AssertionError("it never ends")


def row(path: str, ours: str, floor: str, value: float, goal: str) -> dict[str, Any]:
    bound = float(goal.split()[1].replace(",", ""))
    reached = value >= bound if goal.startswith(">=") else value <= bound
    told = {"path": path, "ours": ours, "floor": floor, "value": round(value, 3), "goal": goal, "reached": reached}
    print(f"  {path:<66} {ours:>12}  {floor:<46} {value:>10.2f}  {goal:<12} {'yes' if reached else 'NO'}", flush=True)
    return told


def verdict(rows: list[dict[str, Any]]) -> int:
    """Return the exit code: 1 where a goal was missed, or nothing was measured."""
    missed = [row["path"] for row in rows if not row["reached"]]
    for path in missed:
        print(f"MISSED: {path}")
    return 1 if missed or not rows else 0
