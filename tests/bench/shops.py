"""The first sync of a large shop and its sweeps: orders a CPU second of the process that reads, its peak memory, and requests.

The fake shop runs in this process, what reads it in another one: `python -m tests.bench --sync URL`. A shop holds orders as shops do: most
are not fulfilled yet, one in ten is delivered, one in twenty on its way.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from tests.bench.figures import T0, row, work_until

LATELY = timedelta(hours=4)  # what changed since then is swept
SETTINGS = "backfill: bulk, policy: {status_field: custom.shipping}"


def bench_shops(folder: Path, databases: dict[str, str], orders: int) -> list[dict[str, Any]]:
    """Measure a Shopify shop of so many orders."""
    from tracker.clock import PlayClock
    from tracker.sandbox.fakes.shopify import ShopifyServer
    from tracker.sandbox.servers import FakeServers

    shop = ShopifyServer("shop", PlayClock(T0), key="k", hook="h")
    shop.contract = ""  # what holds it against the schema is not what is measured
    shop.outgoing = _Silence()
    shop.elapsed = count(10**12, 10).__next__  # type: ignore[method-assign]  # its bucket is full at each call: ours is measured, not its
    stock(shop, orders)
    servers = FakeServers([shop])
    port = servers.start()
    try:
        told = _sync(f"http://127.0.0.1:{port}/shop", folder, databases["shop"], orders)
    finally:
        servers.stop()
    read, changed = shop.calls["Read"], told["changed"]
    return [
        row(f"Shopify: first sync of {orders:,} orders by bulk, orders a CPU second", f"{orders / told['bulk']:,.0f}",
            f"{told['bulk']:.0f} s of the reading process; {read:,} reads by id of what moves", orders / told["bulk"], ">= 500"),
        row("  its peak memory", f"{told['peak']:.0f} MB", "-", told["peak"], "<= 250 MB"),
        row("  its requests beside these reads", str(told["requests"] - read), "of an operation: 5 and its looks",
            told["requests"] - read, "<= 20"),
        row(f"  a sweep of {changed} changed orders, orders a CPU second", f"{changed / told['sweep']:,.0f}", f"{told['swept']} requests",
            changed / told["sweep"], ">= 100"),
        row("  its requests an order", f"{told['swept'] / changed:.3f}", "eight orders a page", told["swept"] / changed, "<= 0.2"),
        row("  a sweep without news, requests", str(told["quiet"]), "-", told["quiet"], "<= 1"),
    ]  # fmt: skip


class _Silence(list[Any]):
    """Webhooks that nobody hears."""

    def append(self, _: Any) -> None:
        """Forget it."""


def stock(shop: Any, orders: int) -> None:
    """Place orders over the last weeks; some of them shipped."""
    for number in range(orders):
        name, at = f"#{number}", T0 - timedelta(minutes=number % 40_000 + 60)
        shop.place(name, at, "PAID")
        if number % 20 < 3:
            tracked = [{"company": "UPS", "number": f"1Z{number:016}"}]
            shop.ship(name, at, tracked, partly=False)
            if number % 20 < 2:
                shop.own_event(name, "DELIVERED")
        shop.orders[name]["updatedAt"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _sync(url: str, folder: Path, database: str, orders: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--sync", url, "--feed", database, "--folder", str(folder), "--events", str(orders)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    return found


def sync(url: str, database: str, folder: Path, orders: int) -> None:
    """Read the whole shop in this process, as a worker's thread does, then sweep it twice; prints what that took as JSON."""
    import sqlalchemy as sa

    from tests.lab import Silent
    from tests.memory import most_resident
    from tracker.app.daemon import Daemon, rest_memory
    from tracker.clock import PlayClock
    from tracker.config.load import load_text
    from tracker.store import tables as t

    secret = folder / "k"
    secret.write_text("k")
    secret.chmod(0o600)
    text = (
        f"database: {database}\nnetwork: {{allow: [127.0.0.1]}}\naccounts: {{}}\nstores:\n"
        f"  shop: {{uses: shopify, shop: shop.myshopify.com, base_url: '{url}', access_token: '${{file:{secret}}}', {SETTINGS}}}\n"
    )
    clock, sent = PlayClock(T0), 0
    daemon = Daemon(load_text(text), now=clock, notifier=Silent())
    daemon.connect()
    real = type(daemon.ctx.client(daemon.ctx.config.accounts["shop"])).send

    def counted(client: Any, request: Any) -> Any:
        nonlocal sent
        sent += 1
        return real(client, request)

    type(daemon.ctx.client(daemon.ctx.config.accounts["shop"])).send = counted  # type: ignore[assignment, method-assign]
    rest_memory()

    def until(done: Any) -> tuple[float, int]:
        began, before = time.process_time(), sent
        work_until(done, daemon.ctx, clock)
        return time.process_time() - began, sent - before

    def account() -> Any:
        with daemon.store.read() as connection:
            return connection.execute(sa.select(t.accounts).where(t.accounts.c.name == "shop")).one_or_none()

    def stored() -> int:
        with daemon.store.read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(t.orders)).scalar_one())

    with ExitStack() as stack:
        stack.callback(daemon.stop)
        bulk, requests = until(lambda: stored() >= orders and account().synced_at is not None)
        print(json.dumps({"bulk": bulk, "requests": requests, "peak": most_resident(), **_sweeps(daemon)}), flush=True)


def _sweeps(daemon: Any) -> dict[str, Any]:
    """Sweep what changed lately, and then nothing, by the plugin itself: what it takes to store it is measured above."""
    from tracker.domain.facts import Order, Payload, Since

    account, told = daemon.ctx.config.accounts["shop"], []
    for since in (T0 - LATELY, T0):
        began, requests, read = time.process_time(), 0, 0
        for page in account.source.fetch(daemon.ctx.client(account), Since(f"{since.isoformat()}|")):
            items = account.source.normalize(Payload("shop", "sweep", page.parts, daemon.ctx.now()))
            read += sum(isinstance(item, Order) for item in items)
            requests += len(page.parts)
        told.append((time.process_time() - began, requests, read))
    (took, requests, read), (_, quiet, _) = told
    return {"sweep": took, "swept": requests, "changed": read, "quiet": quiet}
