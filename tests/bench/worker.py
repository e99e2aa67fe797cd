"""From a stored payload to a decision: how fast, how soon after its start, and in how much memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.bench.events import Scanned, apply, apply_events, ordered, receive
from tests.bench.figures import RUNS, T0, row, side_by_side

JOURNEY = ("in_transit", "out_for_delivery", "available_for_pickup", "delivered")


def drain(database: str, folder: Path) -> None:
    """Be a worker of one thread: apply what waits for each moment that standard input says, and say so."""
    from tests.lab import Lab
    from tracker.app.daemon import rest_memory

    with ExitStack() as stack:
        lab = Lab(database, folder, stack)
        rest_memory()
        print("ready", flush=True)
        for line in sys.stdin:
            lab.clock.move_to(datetime.fromisoformat(line.strip()))
            apply(lab)
            print("done", flush=True)


@contextmanager
def _workers(database: str, folder: Path, count: int) -> Iterator[Callable[[Any], None]]:
    """Start workers in processes of their own; gives what makes all of them apply what waits, and waits for them."""
    with ExitStack() as stack:
        workers = []
        for i in range(count):
            (place := folder / f"worker{i}").mkdir()
            worker = subprocess.Popen(
                [sys.executable, "-m", "tests.bench", "--drain", database, "--folder", str(place)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            stack.enter_context(worker)
            stack.callback(worker.kill)
            workers.append(worker)

        def said(worker: Any, word: str) -> None:
            while (line := worker.stdout.readline()) != f"{word}\n":
                if not line:
                    raise RuntimeError("a worker ended")

        def work(lab: Any) -> None:
            for worker in workers:
                worker.stdin.write(f"{lab.clock().isoformat()}\n")
                worker.stdin.flush()
            for worker in workers:
                said(worker, "done")

        for worker in workers:
            said(worker, "ready")
        yield work


def _rounds(lab: Any, name: str, parcels: int, scans: int, work: Callable[[Any], None]) -> Iterator[float]:
    """Give events a second, of a round each; the first, to warm up, is not told."""
    histories: dict[str, list[Scanned]] = {}
    for i, status in enumerate(JOURNEY):
        if not i or scans > 1:  # else: the same parcels, one step on
            histories = {number: [] for number in ordered(lab, f"{name}{i}{scans}", parcels)}
        took = apply_events(lab, histories, scans, status, work)
        if i:
            yield 1 / took


def bench_worker(databases: dict[str, str], folder: Path, redis_url: str, count: int) -> list[dict[str, Any]]:
    """Inbox row to committed scan, summary, decision and outbox, against Dramatiq's no-op messages with defaults."""
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    from tests.lab import Lab
    from tracker.app.daemon import rest_memory

    def floor() -> float:
        broker = RedisBroker(url=redis_url)
        broker.flush_all()
        done = threading.Semaphore(0)
        actor = dramatiq.Actor(
            lambda: done.release(), broker=broker, actor_name="noop", queue_name="default", priority=0, options={}
        )
        for _ in range(2000):
            actor.send()
        worker = dramatiq.Worker(broker, worker_threads=8)
        began = time.perf_counter()
        worker.start()
        for _ in range(2000):
            done.acquire()
        rate = 2000 / (time.perf_counter() - began)
        worker.stop()
        broker.close()
        return rate

    rows = []
    for name, kind, processes in (
        ("PostgreSQL, two workers", "postgresql, two", 2), ("PostgreSQL, one worker", "postgresql", 1), ("SQLite, one worker", "sqlite", 1),
    ):  # fmt: skip
        with ExitStack() as stack:
            lab = Lab(databases[kind], folder, stack)
            rest_memory()  # as a worker does
            work = stack.enter_context(_workers(databases[kind], folder, processes)) if processes > 1 else apply
            for shape, parcels, scans in (("a scan each", count, 1), ("15 scans each", count // 15, 15)):
                rounds = _rounds(lab, f"{processes}", parcels, scans, work)
                measured, base = side_by_side(rounds.__next__, floor)
                rows.append(
                    row(
                        f"inbox to outbox, {name}, {parcels:,} parcels, {shape}",
                        f"{measured:,.0f}/s",
                        f"{base:,.0f}/s Dramatiq no-op, defaults",
                        measured / base,
                        ">= 2.0",
                    )
                )
    return rows


def bench_start(database: str, folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """From the start of the process `tracker worker` to its first event applied."""
    import redis
    import sqlalchemy as sa

    from tests.app.site import Site
    from tracker.app.notifier import make
    from tracker.store import tables as t

    took = []
    with ExitStack() as stack:
        site = Site(database, folder, stack, broker=redis_url)
        notifier = make(redis_url, threads=1)
        for i in range(RUNS + 1):
            receive(
                site.store, datetime.now(UTC), [(f"start-{i}", f"94001112062064062607{i:02}", [("in_transit", T0)])]
            )
            notifier.notify("ingest")
            began = time.perf_counter()
            process = site.start("worker")
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
    once = statistics.median(took[1:])
    return [row("start of a worker to its first event applied", f"{once * 1e3:.0f} ms", "-", once, "<= 1.0 s")]


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
