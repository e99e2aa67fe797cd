"""Real processes of ours beside the sandbox: started, killed, restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from tests.app.press import Pressed
from tests.conftest import free_port, wait_for
from tracker.clock import system_now
from tracker.sandbox.base import Outgoing
from tracker.sandbox.fakes.easypost import EasyPostServer
from tracker.sandbox.fakes.shopify import ShopifyServer
from tracker.sandbox.servers import FakeServers
from tracker.store import tables as t
from tracker.store.engine import Store

Process = subprocess.Popen[bytes] | Pressed
NUMBER = "9400111206206406260787"


class Site:
    """One configuration, one sandbox, and processes in any roles."""

    def __init__(self, database: str, folder: Path, stack: ExitStack, *, broker: str = "none", more: str = "") -> None:
        self.folder, self.stack = folder, stack
        self.easypost = EasyPostServer("easypost", system_now, key="s", hook="hook")
        self.shop = ShopifyServer("shop", system_now, key="s", hook="hook")
        fake_servers = FakeServers([self.easypost, self.shop])
        base = f"http://127.0.0.1:{fake_servers.start()}"
        stack.callback(fake_servers.stop)
        for name, value in (("s", "s"), ("hook", "hook")):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(value)
        self.port, self.ops = free_port(), free_port()
        self.file = folder / "tracker.yaml"
        self.file.write_text(f"""
database: {database}
database_wait: 3s
broker: {broker}
web: {{port: {self.port}, ops_port: {self.ops}}}
network: {{allow: [127.0.0.1]}}
accounts:
  easypost: {{uses: easypost, base_url: {base}/easypost, api_key: "${{file:s}}", webhook_secrets: "${{file:hook}}"}}
stores:
  shop: {{uses: shopify, shop: shop.myshopify.com, base_url: {base}/shop, access_token: "${{file:s}}",
         webhook_secrets: "${{file:hook}}", mode: write, writes_per_hour: 1000000}}
{more}""")
        self.store = Store(database, pool_size=2)
        stack.callback(self.store.close)
        self.processes: list[Process] = []
        stack.callback(self.kill_all)
        self.http = httpx.Client(timeout=10, trust_env=False)
        stack.callback(self.http.close)
        self._stop = threading.Event()
        stack.callback(self._stop.set)
        self.unsent: list[Outgoing] = []
        self.scraped: Callable[[str], str] = lambda _role: self.http.get(f"http://127.0.0.1:{self.ops}/metrics").text

    def start(
        self, role: str = "up", *, crash_at: str | None = None, wait: bool = True, patched: str = "", ops: int = 0
    ) -> Process:
        """Start a role; `ops`: with /metrics on that port. `patched`: Python that runs first in it (a clock that is off, a parser that kills)."""
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        if patched:
            place = self.folder / f"patch-{len(self.processes)}"
            place.mkdir()
            (place / "sitecustomize.py").write_text(patched)
            environment["PYTHONPATH"] = str(place)
        if crash_at:
            environment["CRASH_AT"] = crash_at
        process = self._process(
            [role, "-c", str(self.file), *(["--ops-port", str(ops)] if ops else [])],
            environment,
            alone=bool(patched) or "PYTHONPATH" in environment,
        )
        self.processes.append(process)
        if wait and role in ("up", "web"):
            wait_for(lambda: process.poll() is not None or self.alive())
        return process

    def _process(self, words: list[str], environment: dict[str, str], *, alone: bool) -> Process:
        """Start the command line; `alone`: importing all by itself, for what is patched must be so before anything is imported."""
        path = self.folder / f"{words[0]}-{len(self.processes)}.log"
        if not alone:
            return Pressed(words, environment, path)
        with open(path, "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tracker.cli", *words], env=environment, stderr=log, stdout=log,
                start_new_session=True,
            )  # fmt: skip

    def alive(self) -> bool:
        try:
            return self.http.get(f"http://127.0.0.1:{self.port}/livez").status_code == 200
        except httpx.TransportError:
            return False

    def ready(self) -> str:
        return self.http.get(f"http://127.0.0.1:{self.port}/readyz").text

    def kill_all(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def logs(self) -> str:
        return "".join(p.read_text(errors="replace") for p in sorted(self.folder.glob("*.log")))

    def send(self) -> bool:
        """Send what carriers and shop have to say, once each; what is not taken is kept. Returns whether all was taken."""
        self.unsent += self.shop.outgoing
        self.shop.outgoing.clear()
        left = []
        for outgoing in self.unsent:
            try:
                url = f"http://127.0.0.1:{self.port}/webhooks/{outgoing.account}"
                status = self.http.post(url, content=outgoing.body, headers=outgoing.headers).status_code
            except httpx.TransportError:
                status = 0
            if status != 200:
                left.append(outgoing)
        self.unsent = left
        return not left

    def scan(self, status: str, code: str) -> None:
        # EasyPost prints whole seconds: two seconds on, so that it is never before the store was connected
        self.easypost.history[NUMBER].append(
            {
                "at": system_now() + timedelta(seconds=2),
                "type": status,
                "code": code,
                "text": code,
                "city": "RENO",
                "region": "NV",
                "country": "US",
            }
        )
        self.unsent.append(self.easypost.event(NUMBER))

    def rows(self, table: sa.Table, *where: Any) -> Sequence[Any]:
        with self.store.read() as connection:
            return connection.execute(sa.select(table).where(*where)).all()

    def expire_claims(self) -> None:
        """Let the leases of a dead process end, as a minute would."""
        with self.store.write() as connection:
            for table in (t.inbox, t.outbox, t.watches, t.change_notices, t.accounts):
                connection.execute(table.update().values(claimed_until=None))

    def shown(self) -> list[str]:
        return [entry["event"] for entry in self.shop.log]

    def delivered(self) -> bool:
        self.send()
        return "DELIVERED" in self.shown()
