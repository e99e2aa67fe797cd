"""Events as a bench sends them: placed with their orders, received, and applied."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

Scanned = tuple[str, datetime]  # status, when


def receive(store: Any, at: datetime, told: Iterable[tuple[str, str, Sequence[Scanned]]]) -> None:
    """Store EasyPost events as received: the event's id, the tracking number, all its scans so far (as theirs always tell)."""
    from tests.lab import detail, tracker_body
    from tracker.store import queries
    from tracker.store.engine import database_now

    with store.write() as connection:
        now = database_now(connection)
        rows = [
            queries.payload_row(
                "easypost", "webhook",
                [tracker_body(number, *(detail(status, scanned.isoformat()) for status, scanned in history))], at, now,
                dedupe_key=key,
            )
            for key, number, history in told
        ]  # fmt: skip
        queries.store_payloads(connection, rows)


def apply(lab: Any, *, checked: bool = True) -> None:
    """Take the inbox to scans, summaries, decisions and the outbox, in this thread."""
    from tracker.pipeline import decide
    from tracker.pipeline.ingest import step as ingest
    from tracker.store import tables as t

    while ingest.run(lab.ctx):
        pass
    while decide.run(lab.ctx):
        pass
    assert not checked or lab.rows(t.inbox, t.inbox.c.state == "dead", t.inbox.c.account == "easypost") == []


def apply_by_threads(lab: Any, ingesting: int, deciding: int) -> None:
    """Do the same with as many threads as a worker has: one decides while another takes in what waits."""
    from tracker.pipeline import decide
    from tracker.pipeline.ingest import step as ingest

    taken_in, woken, failed = threading.Event(), threading.Event(), list[BaseException]()

    def take_in() -> None:
        while ingest.run(lab.ctx):
            woken.set()

    def decide_all() -> None:
        while True:
            last = taken_in.is_set()
            woken.clear()
            if decide.run(lab.ctx):
                continue
            if last:
                return
            woken.wait(0.05)

    def guarded(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            failed.append(error)

    takers = [threading.Thread(target=guarded, args=(take_in,)) for _ in range(ingesting)]
    deciders = [threading.Thread(target=guarded, args=(decide_all,)) for _ in range(deciding)]
    for thread in (*takers, *deciders):
        thread.start()
    for thread in takers:
        thread.join()
    taken_in.set()
    woken.set()
    for thread in deciders:
        thread.join()
    assert not failed, failed


def ordered(lab: Any, name: str, count: int) -> list[str]:
    """Place so many orders of a parcel each and have the shop read; returns the tracking numbers."""
    from tracker.store import tables as t

    def linked() -> int:
        return len(lab.rows(t.fulfilment_shipments))

    numbers = [f"94001{name[:4]:0<4}{i:013}".upper() for i in range(count)]
    lab.work()
    wanted = linked() + count
    for number in numbers:
        lab.order(f"#{number}", number)
    lab.shop.outgoing.clear()
    for _ in range(count):
        if linked() >= wanted:
            break
        lab.clock.move_to(lab.clock() + timedelta(minutes=15))
        lab.rested()  # the shop's limits let some hundred be read at a time
        lab.work("poll", "ingest", "decide")
    assert linked() >= wanted
    return numbers


def tell(
    lab: Any, histories: dict[str, list[Scanned]], scans: int, status: str
) -> list[tuple[str, str, tuple[Scanned, ...]]]:
    """Tell each parcel (number: what was told of it) so many new scans, an event each that holds those before it too, as EasyPost's do.

    The last brings a new status, which is written to the shop. All was received a second ago. Returns what was received.
    """
    lab.clock.move_to(lab.clock() + timedelta(minutes=scans + 5))
    at = lab.clock() - timedelta(minutes=scans)
    told = []
    for i in range(scans):
        for number, history in histories.items():
            history.append((status if i == scans - 1 else "in_transit", at + timedelta(minutes=i)))
            told.append((f"{number}-{len(history)}", number, tuple(history)))
    receive(lab.daemon.store, lab.clock() - timedelta(seconds=1), told)
    return told


def apply_events(lab: Any, histories: dict[str, list[Scanned]], work: Callable[[Any], None]) -> float:
    """Return the seconds it takes from the inbox to the committed outbox."""
    from tracker.store import tables as t

    writes = len(lab.rows(t.outbox))
    began = time.perf_counter()
    work(lab)
    took = time.perf_counter() - began
    # more, where one worker decided while another had scans left
    assert len(lab.rows(t.outbox)) >= writes + len(histories), "not every order was decided"
    return took
