"""From a stored payload to a decision: how fast, how soon after its start, and in how much memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

from tests.bench.events import Scanned, apply, apply_by_threads, apply_events, ordered, receive, tell
from tests.bench.figures import RUNS, T0, row
from tests.bench.replay import Cost, at_rest, copies, peer, record, replay

JOURNEY = ("in_transit", "out_for_delivery", "available_for_pickup", "delivered")
PEER_PAYLOADS = 600  # are enough to time it


@dataclass
class Round:
    """One round of a shape: seconds of the worker, of the floor and of the peer, and what it cost."""

    ours: float
    floor: float
    peer: float
    cost: Cost


def _rounds(
    lab: Any, name: str, parcels: int, scans: int, work: Callable[[Any], None], redis_url: str
) -> Iterator[Round]:
    """Give rounds that are measured in turn: ours, the same statements by a bare cursor, and the peer. The first warms up."""
    from tests.lab import detail, tracker_body

    histories: dict[str, list[Scanned]] = {}
    for i in count():
        status = JOURNEY[i % len(JOURNEY)]
        if scans > 1 or i % len(JOURNEY) == 0:  # else: the same parcels, one step on
            histories = {number: [] for number in ordered(lab, f"{name}{i:02}{scans % 10}", parcels)}
        told = tell(lab, histories, scans, status)
        at_rest(lab.daemon.store)
        with copies(lab.daemon.store.url.render_as_string(hide_password=False), 2) as (scratch, copy):
            recorded = record(lab, scratch)
            floor, cost = replay(recorded, copy)
            ours = apply_events(lab, histories, work)
            bodies = [
                tracker_body(number, *(detail(said, at.isoformat()) for said, at in history)).decode()
                for _, number, history in told[:PEER_PAYLOADS]
            ]
            naive = (
                peer(copy, redis_url, bodies) / len(bodies) if scans == 1 else 1.0
            )  # it would fail where two tell of one parcel
        if i % len(JOURNEY) or (scans > 1 and i):
            yield Round(ours / len(told), floor / len(told), naive, cost)


def bench_worker(databases: dict[str, str], folder: Path, redis_url: str, count_: int) -> list[dict[str, Any]]:
    """Inbox row to committed scan, summary, decision and outbox, as a worker's threads do it, beside its floor and its peer."""
    from tests.lab import Lab
    from tracker.app.daemon import rest_memory

    rows = []
    for name, kind, threads, goals in (
        ("PostgreSQL", "postgresql", (2, 2), (">= 0.5", ">= 12", ">= 0.5")), ("SQLite", "sqlite", (1, 1), (">= 0.4", ">= 15", ">= 0.3")),
    ):  # fmt: skip
        with ExitStack() as stack:
            lab = Lab(databases[kind], folder, stack)
            rest_memory()  # as a worker does

            def work(lab: Any, threads: tuple[int, int] = threads) -> None:
                apply_by_threads(lab, *threads)

            for shape, parcels, scans, to_floor, to_peer in (
                ("a scan each", count_, 1, goals[0], goals[1]), ("15 scans each", count_ // 15, 15, goals[2], None),
            ):  # fmt: skip
                told = list(islice(_rounds(lab, kind[0], parcels, scans, work, redis_url), RUNS))
                events = parcels * scans
                ours, floor, naive = (
                    1 / statistics.median(getattr(one, part) for one in told) for part in ("ours", "floor", "peer")
                )
                path = f"inbox to outbox, {name}, {events:,} payloads, {shape}"
                rows.append(
                    row(path, f"{ours:,.0f}/s", f"{floor:,.0f}/s the same statements, bare", ours / floor, to_floor)
                )
                if to_peer:
                    rows.append(
                        row(
                            path,
                            f"{ours:,.0f}/s",
                            f"{naive:,.0f}/s a message and a session each",
                            ours / naive,
                            to_peer,
                        )
                    )
                print(f"      {told[-1].cost.told(events)}", flush=True)
    return rows


def bench_start(database: str, folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """From the start of the process `tracker worker` to its first event applied."""
    import redis
    import sqlalchemy as sa

    from tests.app.site import Site
    from tracker.app.notifier import make_notifier
    from tracker.store import tables as t

    took = []
    with ExitStack() as stack:
        site = Site(database, folder, stack, broker=redis_url)
        notifier = make_notifier(redis_url, threads=1)
        for i in range(RUNS + 1):
            receive(
                site.store, datetime.now(UTC), [(f"start-{i}", f"94001112062064062607{i:02}", [("in_transit", T0)])]
            )
            notifier.notify("ingest")
            began = time.perf_counter()
            process = site.start("worker", patched="# it imports all by itself")
            waiting = (
                sa.select(sa.func.count())
                .select_from(t.inbox)
                .where(t.inbox.c.state != "done", t.inbox.c.account == "easypost")
            )
            while True:
                with site.store.read() as connection:
                    if not connection.execute(waiting).scalar_one():
                        break
                assert process.poll() is None, site.logs()
                time.sleep(0.002)
            took.append(time.perf_counter() - began)
            site.kill_all()
            redis.Redis.from_url(redis_url).flushall()
        notifier.stop()
    once, path = statistics.median(took[1:]), "start of a worker to its first event applied"
    bare = statistics.median(_imports() for _ in range(RUNS))
    return [
        row(path, f"{once * 1e3:.0f} ms", "-", once, "<= 1.0 s"),
        row(path, f"{once * 1e3:.0f} ms", f"{bare * 1e3:.0f} ms importing its libraries", once / bare, "<= 2.5"),
    ]


def _imports() -> float:
    """Return the seconds in which a process that imports what a worker imports, and nothing of ours, comes to its end."""
    modules = "alembic, cryptography.fernet, dramatiq, httpx, orjson, psycopg, pydantic, redis, sqlmodel, structlog, tenacity, yaml"
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
    return time.perf_counter() - began


def bench_memory(database: str, folder: Path, events: int) -> list[dict[str, Any]]:
    """Resident memory of a process that applies so many events, at a tenth of them and at the end."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--feed", database, "--folder", str(folder), "--events", str(events)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    line = next(line for line in done.stdout.splitlines() if line.startswith("resident "))
    early, late = (float(word) for word in line.split()[1:])
    grown = late / early - 1
    told = f"{early:.0f} MB after a tenth"
    return [
        row(f"memory after {events:,} events", f"{late:.0f} MB", "-", late, "<= 150 MB"),
        row("its growth since a tenth of them", f"{late - early:+.1f} MB", told, grown, "<= 0.10"),
    ]


def feed(database: str, folder: Path, events: int) -> None:
    """Apply events to 2,000 parcels in this process, as a worker's thread does; prints the resident memory."""
    from tests.lab import Lab
    from tests.memory import resident
    from tracker.app.daemon import rest_memory

    with ExitStack() as stack:
        lab = Lab(database, folder, stack)
        rest_memory()
        early = 0.0
        for fed in range(0, events, 1000):
            told = []
            for i in range(fed, fed + 1000):  # ten scans a parcel
                number = f"9400{i % 2000 + i // 20_000 * 2000:018}"
                scanned = (T0 + timedelta(minutes=j) for j in range(i % 20_000 // 2000 + 1))
                told.append((f"m{i}", number, [("in_transit", at) for at in scanned]))
            receive(lab.daemon.store, lab.clock() - timedelta(seconds=1), told)
            apply(lab)
            if not early and (fed + 1000) * 10 >= events:
                early = resident()
        print(f"resident {early} {resident()}", flush=True)
