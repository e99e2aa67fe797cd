"""`make soak SECONDS=28800`: a storm that kills none of our processes, for hours; what they hold must not grow.

Memory of each role, its open files and the connections to PostgreSQL are looked at every few seconds; the median of the
second tenth of the time is compared with that of the last tenth. Exit 1 where memory grew by more than a tenth, files or
connections by more than a few, or where a promise broke (the storm's own checks).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import psycopg

from tests.chaos.storm import Storm
from tests.memory import resident

MOST_GROWTH = 0.10
FEW = 5  # files or connections more than before are no leak: pools breathe


class Soak(Storm):
    """Parcels of twenty scans, so that 20 scans a second are one order a second: no more than the shop's limits take."""

    journey = (
        ("pre_transit", "label_created"),
        *(("in_transit", "arrived_at_facility"), ("in_transit", "departed_facility")) * 8,
        ("in_transit", "arrived_at_facility"),
        ("out_for_delivery", "out_for_delivery"),
        ("delivered", "arrived_at_destination"),
    )
    without = frozenset({"receiver killed", "worker killed", "scheduler killed"})

    def __init__(self, seed: int, seconds: float) -> None:
        super().__init__(seed, seconds)
        self.seen: dict[str, list[tuple[float, float]]] = defaultdict(list)  # what -> when (0 to 1), how much

    def _faults(self, say: Callable[[str], None]) -> None:
        over = threading.Event()
        watching = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watching.start()
        super()._faults(lambda _: None)
        over.set()
        watching.join()

    def _watch(self, over: threading.Event) -> None:
        began = time.monotonic()
        while not over.wait(min(5.0, self.seconds / 100)):
            at = (time.monotonic() - began) / self.seconds
            for which, process in self.rig.running.items():
                name = f"{self.rig.ROLES[which]} {which}"
                try:
                    memory, files = resident(process.pid), len(os.listdir(f"/proc/{process.pid}/fd"))
                except OSError:
                    continue  # it ended by itself: the report counts it as revived
                self.seen[f"{name}: MB"].append((at, memory))
                self.seen[f"{name}: open files"].append((at, files))
            try:
                count = self.rig.cluster.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                )
            except psycopg.Error:
                continue  # crashed just now
            self.seen["connections"].append((at, count[0][0]))

    def growth(self) -> list[tuple[str, float, float, bool]]:
        """Return what was watched: its name, the second tenth, the last tenth, and whether it grew too much."""
        found = []
        assert self.seen, "nothing was watched"
        for name, seen in sorted(self.seen.items()):
            early = statistics.median(value for at, value in seen if 0.1 <= at < 0.2)
            late = statistics.median(value for at, value in seen if at >= 0.9)
            allowed = early * (1 + MOST_GROWTH) if name.endswith("MB") else early + FEW
            found.append((name, early, late, late > allowed))
        return found


def main() -> int:
    """Soak once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=28_800, help="at least 100; the goal is 8 hours")
    options = parser.parse_args()
    soak = Soak(options.seed, max(100.0, options.seconds))
    print(f"seed {options.seed}, {soak.seconds:g} s at {soak.rate:g} scans a second", flush=True)
    report = soak.run(lambda text: print(text, file=sys.stderr))
    print(f"{'':<26}{'second tenth':>14}{'last tenth':>14}")
    grown = soak.growth()
    for name, early, late, much in grown:
        print(f"{name:<26}{early:>14.1f}{late:>14.1f}{'  GREW' if much else ''}")
    print(
        f"{report.posts:,} posts, {report.scans:,} scans, {report.parcels:,} parcels, {report.faults:,} faults, {report.actions:,} writes; "
        f"lost {report.scans_lost + report.payloads_lost}, wrong {report.shipments_wrong}, never sent {report.never_sent}, "
        f"double {report.double_calls}; settled in {report.settled_in:g} s"
    )
    for problem in report.problems:
        print(problem)
    return 1 if report.problems or any(much for *_, much in grown) else 0


if __name__ == "__main__":
    sys.exit(main())
