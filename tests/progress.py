"""A line a minute on what runs: the suite takes minutes, and its dots do not say which test it is at."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

import pytest

EVERY = 60.0


def line(at: str, done: int, total: int, failed: int, running: Iterable[str]) -> str:
    """Return what is told: `12:03 2100 of 4690 done, 3 failed; running: tests/chaos/test_storm.py`. `running`: ids of tests."""
    files = dict.fromkeys(test.partition("::")[0] for test in running)
    return f"{at} {done} of {total} done, {failed} failed; running: {', '.join(files) or 'nothing'}"


class Progress:
    """Counts what xdist's workers tell the process that leads them: they are the ones that run tests."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self.total, self.done = 0, 0
        self.failed: set[str] = set()
        self.running: dict[str, None] = {}
        self._reporter, self._over = reporter, threading.Event()
        threading.Thread(target=self._tell, name="progress", daemon=True).start()

    def _tell(self) -> None:
        while not self._over.wait(EVERY):
            told = line(time.strftime("%H:%M"), self.done, self.total, len(self.failed), list(self.running))
            self._reporter.write_line(f"\n{told}", flush=True)  # beside the dots, not behind them

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self.total = len(ids)  # every worker collects all of them

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.running[nodeid] = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.running.pop(nodeid, None)
        self.done += 1

    def pytest_sessionfinish(self) -> None:
        self._over.set()
