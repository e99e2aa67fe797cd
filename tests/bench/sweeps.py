"""A first sync of many orders, whole: pages asked for, kept, read, orders stored and decided; beside the bare pages."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from tests.bench.figures import row, work_until
from tests.bench.pages import shop_of

PLATFORMS = ("rest", "bigcommerce", "woocommerce")  # the first sync of a large Shopify shop has a bench of its own
LATER = datetime(2026, 11, 3, tzinfo=UTC)  # than all that the shop holds
EACH = {
    "bigcommerce": 10,
    "woocommerce": 10,
}  # two or three requests an order, which is its API: a tenth of them is asked for


def bench_sweeps(count: int) -> list[dict[str, Any]]:
    """Orders a second of a first sync, against the same pages by bare httpx; peak memory and requests beside it."""
    rows = []
    for name in PLATFORMS:
        orders = max(100, count // EACH.get(name, 1))
        with shop_of(name, orders) as port, multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            rate, peak, asked = pool.apply(_sync, (name, port, orders))
        with shop_of(name, orders) as port:
            floor = _floor(port, asked)
        told = f"{orders / floor:,.0f}/s the same {len(asked):,} requests by bare httpx"
        rows.append(
            row(f"first sync of {orders:,} orders, {name}", f"{rate:,.0f}/s", told, rate * floor / orders, ">= 0.02")
        )
        rows.append(
            row(
                f"peak memory of it, {name}",
                f"{peak:,.0f} MB",
                f"{len(asked) / orders:.2f} requests an order",
                peak,
                "<= 400",
            )
        )
    return rows


def _sync(name: str, port: int, orders: int) -> tuple[float, float, list[Any]]:
    """Do a first sync in this process; returns orders a second, peak memory in MB, and what was asked for."""
    import io

    import sqlalchemy as sa

    from tests.chaos import shops
    from tests.matrix.columns import columns
    from tests.memory import most_resident
    from tracker.app.client import AccountClient
    from tracker.app.telemetry import configure_logs
    from tracker.plugin.conformance import plugin_of
    from tracker.sandbox.servers import FakeServers
    from tracker.store import tables as t

    configure_logs(io.StringIO())
    asked: list[Any] = []
    send = AccountClient._once

    def noted(self: Any, http: Any, request: Any) -> Any:
        asked.append((request.method, request.url, dict(request.params), dict(request.headers), request.content))
        return send(self, http, request)

    with ExitStack() as stack:
        stack.enter_context(patch.object(FakeServers, "start", lambda self: port))
        stack.enter_context(patch.object(FakeServers, "stop", lambda self: None))
        stack.enter_context(patch.object(AccountClient, "_once", noted))
        stack.enter_context(patch.object(shops.Hand, "work", lambda self: None))
        alone = shops.scenario_of(columns()[name]).model_copy(update={"accounts": {}, "start": LATER})
        stack.enter_context(patch.object(shops, "scenario_of", lambda *_, **__: alone))
        stack.enter_context(patch.object(plugin_of(f"adapters.{name}"), "hooks_wanted", lambda *_: ()))
        hand = shops.Hand(columns()[name], stack, None)

        def whole() -> bool:
            with hand.daemon.store.read() as connection:
                return bool(connection.execute(sa.select(sa.func.count()).select_from(t.orders)).scalar_one() >= orders)

        before, began = most_resident(), time.perf_counter()
        work_until(whole, hand.daemon.ctx, hand.clock, minutes=orders)
        took = time.perf_counter() - began
    return orders / took, most_resident() - before, asked


def _floor(port: int, asked: list[Any]) -> float:
    """Return the seconds that the same requests take one after another, each answer read as JSON."""
    import httpx
    import orjson

    began = time.perf_counter()
    with httpx.Client(trust_env=False, timeout=60) as http:
        for method, url, params, headers, content in asked:
            at = url.partition("/shop/")[2]
            body = http.request(
                method, f"http://127.0.0.1:{port}/shop/{at}", params=params, headers=headers, content=content
            ).content
            if body[:1] in (b"{", b"["):
                orjson.loads(body)
    return time.perf_counter() - began
