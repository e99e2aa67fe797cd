"""Webhooks of many shops while some of them accept and never answer: how soon those of the others are applied, and how many connections."""

from __future__ import annotations

import random
import statistics
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from tests.bench.figures import row
from tests.street import Street, Worker, name
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now

CASES = (
    (50, 0, 0),
    (50, 1, 0),
    (500, 100, 0),
    (50, 0, 5_000),
)  # shops, how many of them hang, and orders of the first that changed before
EVERY = 0.05  # seconds between two webhooks
LATEST = 30.0  # seconds that the last ones are waited for


class Applied:
    """When each order was first stored, looked at every five milliseconds."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._stop = worker, threading.Event()
        self.at: dict[tuple[str, str], float] = {}
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        o, last = t.orders.c, 0
        while not self._stop.wait(0.005):
            with self._worker.ctx.store.read() as connection:
                new = connection.execute(sa.select(o.id, o.store, o.ref).where(o.id > last).order_by(o.id)).all()
            for order in new:
                last = order.id
                self.at[order.store, order.ref] = time.perf_counter()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def hook(worker: Worker, shop: int, *refs: str) -> None:
    """Receive webhooks of a shop."""
    told = [(ref, orjson.dumps({"type": "order.updated", "data": {"order": ref}})) for ref in refs]
    with worker.ctx.store.write(first=True) as connection:
        now = database_now(connection)
        rows = [
            queries.payload_row(name(shop), "webhook", [body], worker.ctx.now(), now, dedupe_key=f"{shop}-{ref}")
            for ref, body in told
        ]
        queries.store_payloads(connection, rows)
    worker.ctx.notify("ingest")


def measure(
    database: str, folder: Path, shops: int, hang: int, before: int, hooks: int
) -> tuple[float, float, int, int]:
    """Return seconds until a webhook is applied (median, slowest), how many never were, and the most connections at once.

    `before`: so many webhooks of the first shop come before all others; none of its own is measured then.
    """
    hanging = set(range(0, shops, shops // hang)) if hang else set()
    apart = hanging | ({0} if before else set())
    with ExitStack() as stack:
        street = Street(shops, lambda shop, _: shop in hanging).start()
        stack.callback(street.stop)
        worker = Worker(database, folder, stack, street)
        stack.callback(street.let_go)
        worker.start()
        applied = Applied(worker)
        stack.callback(applied.stop)
        for start in range(0, before, 500):
            hook(worker, 0, *(f"B{i}" for i in range(start, start + 500)))
        chosen = random.Random(1)
        sent: dict[tuple[str, str], float] = {}
        for i in range(hooks):
            shop = chosen.randrange(shops)
            if shop not in apart:
                sent[name(shop), f"R{i}"] = time.perf_counter()
            hook(worker, shop, f"R{i}")
            time.sleep(EVERY)
        until = time.perf_counter() + LATEST
        while sent.keys() - applied.at.keys() and time.perf_counter() < until:
            time.sleep(0.05)
        others = sorted(set(range(shops)) - hanging)
        worker.note(others, "every")  # each is called at least once
        while (
            not {(name(shop), "every") for shop in others} <= applied.at.keys() and time.perf_counter() < until + LATEST
        ):
            time.sleep(0.05)
        took = sorted(applied.at[key] - at for key, at in sent.items() if key in applied.at)
        return statistics.median(took), took[-1], len(sent) - len(took), street.most


def bench_neighbours(databases: dict[str, str], folder: Path, hooks: int) -> list[dict[str, Any]]:
    """Webhooks of the others while one of 50 shops hangs, and 100 of 500; open connections at 500 shops."""
    rows = []
    for kind in ("sqlite", "postgresql"):
        alone, most_open = 0.0, 0
        for shops, hang, before in CASES:
            (place := folder / f"{kind}-{shops}-{hang}-{before}").mkdir()
            middle, most, left, open_ = measure(
                databases[f"{kind} {(shops, hang, before)}"], place, shops, hang, before, hooks
            )
            what = f"webhook applied, {kind}, {hang} of {shops} shops hang"
            if before:
                what = f"webhook applied, {kind}, behind {before:,} changed orders of another of {shops}"
            most_open = max(most_open, open_)
            alone = alone or middle
            beside = f"{alone * 1e3:,.0f} ms where none hangs"
            rows.append(row(f"{what}: median", f"{middle * 1e3:,.0f} ms", beside, middle, "<= 1"))
            rows.append(row(f"{what}: slowest", f"{most:,.2f} s", f"{left} not applied", left * LATEST + most, "<= 2"))
        rows.append(row(f"open connections, {kind}, 500 shops", f"{most_open}", "-", most_open, "<= 256"))
    return rows
