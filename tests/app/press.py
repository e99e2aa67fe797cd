"""Processes of ours that are forked from one which has imported what they need: most of a start is imports."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

IMPORTED = [
    "tests.app.press", "tracker.cli.run", "tracker.cli.main", "tracker.app.servers", "tracker.app.daemon",
    "tracker.pipeline.failpoints", "carriers.easypost", "adapters.shopify", "psycopg", "sqlalchemy.dialects.sqlite",
]  # fmt: skip


@cache
def _press() -> Any:
    """Return what forks: it is started once a process, and ends with it."""
    press = multiprocessing.get_context("forkserver")
    press.set_forkserver_preload(IMPORTED)
    return press


def _run(words: list[str], environment: dict[str, str], folder: str, log: str) -> None:
    """Be the command line, in a process group of its own."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    warnings.simplefilter("ignore")
    from tracker.cli.main import main
    from tracker.pipeline import failpoints

    failpoints._ARMED = environment.get("CRASH_AT")  # is read at import
    sys.argv = ["tracker", *words]
    main()


class Pressed:
    """A process, as `subprocess.Popen` shows it."""

    def __init__(self, words: Sequence[str], environment: dict[str, str], log: Path) -> None:
        """Start the command line with its words."""
        self.args = [*words]
        self._process = _press().Process(target=_run, args=(self.args, environment, os.getcwd(), str(log)), daemon=True)
        self._process.start()
        self.pid: int = self._process.pid
        while self.poll() is None and os.getpgid(self.pid) != self.pid:  # so that its group can be killed
            time.sleep(0.001)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self.poll()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        code: int | None = self._process.exitcode
        return code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)
