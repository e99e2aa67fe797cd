"""A neighbour that is slow, or hangs, costs only itself: counted while the hanging calls are still held, with real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.street import Silent, Street, Worker, name
from tracker.app import connections
from tracker.pipeline import places
from tracker.pipeline.poll import step
from tracker.store import tables as t

Make = Callable[..., Worker]


@pytest.fixture
def street(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return a function that makes shops and the worker that serves them; who hangs is let go at the end. Nobody has much patience."""
    monkeypatch.setattr(places, "HASTE", 0.1)
    monkeypatch.setattr(connections, "SLICE", 0.02)
    with ExitStack() as stack:

        def make(count: int, silent: Silent, *, yaml: str = "") -> Worker:
            shops = Street(count, silent).start()
            stack.callback(shops.stop)
            worker = Worker(database, tmp_path, stack, shops, yaml=yaml)
            stack.callback(shops.let_go)
            return worker

        yield make


def test_one_of_fifty_shops_hangs_and_the_orders_of_the_others_are_read_meanwhile(street: Make) -> None:
    worker = street(50, lambda shop, _: shop == 7)
    worker.note(range(50), "R1")
    worker.start()
    wait_for(lambda: len(worker.read()) == 49)

    wait_for(lambda: worker.street.held == 1)
    assert name(7) not in worker.read()
    worker.note(range(50), "R2")
    wait_for(lambda: sum(row.kind == "read" for row in worker.rows(t.inbox)) == 98)
    wait_for(lambda: worker.street.held == 1)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_half_of_many_shops_hang_and_the_orders_of_the_others_are_read_meanwhile(street: Make) -> None:
    hang = {name(shop) for shop in range(0, 120, 2)}  # more than there are places for reads
    worker = street(120, lambda shop, _: shop % 2 == 0)
    worker.note(range(120), "R1")
    worker.start()
    wait_for(lambda: len(worker.read()) == 60)

    wait_for(lambda: worker.street.held > 0)  # for a moment it may be none: one gave way, and the next is not asked yet
    assert {row.account for row in worker.rows(t.change_notices)} == hang


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_of_more_hanging_shops_than_places_each_gives_way_and_the_others_are_read(street: Make) -> None:
    worker = street(30, lambda shop, _: shop < 10, yaml="poll_threads: 4\n")
    worker.note(range(10), "R1")
    worker.start()
    wait_for(lambda: worker.street.held == 3)  # reads leave one place to sweeps
    worker.note(range(10, 30), "R1")
    wait_for(lambda: len(worker.read()) == 20)

    assert {row.failures for row in worker.rows(t.accounts)} == {None}, "who gave way did not fail"
    worker.street.let_go()
    wait_for(lambda: len(worker.read()) == 30)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_connections_are_never_more_than_the_cap_whoever_is_called(street: Make) -> None:
    worker = street(60, lambda *_: False)
    pool = worker.daemon.clients.connections
    pool.most = 16
    worker.note(range(60), "R1")
    worker.start()
    wait_for(lambda: len(worker.read()) == 60)
    worker.note(range(60), "R2")
    wait_for(lambda: sum(row.kind == "read" for row in worker.rows(t.inbox)) == 120)

    assert 8 < worker.street.most <= 16  # as the shops counted
    assert pool.counts()[0] <= 16
    pool.drop_idle(float("inf"))
    wait_for(lambda: worker.street.open == 0)


def test_what_was_claimed_by_who_died_is_asked_again_once_its_claim_ends(street: Make) -> None:
    worker = street(3, lambda *_: False)
    worker.note(range(3), "R1")
    calls, _ = step._claim(worker.ctx)  # and there it dies: nothing of it is told to anybody
    assert len(calls) == 3
    assert step.run(worker.ctx) == 0
    for call in calls:
        worker.ctx.places.free(step._place(call))
    worker.change(t.change_notices.update().values(claimed_until=t.change_notices.c.due_at))
    assert step.run(worker.ctx) == 3

    assert worker.read() == {name(0), name(1), name(2)}
    assert worker.rows(t.change_notices) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_calls_that_only_read_give_way_when_the_process_ends_and_their_claims_are_given_back(street: Make) -> None:
    worker = street(2, lambda shop, _: shop == 0)
    worker.note(range(2), "R1")
    worker.start()
    wait_for(lambda: worker.street.held == 1 and len(worker.read()) == 1)
    worker.daemon.notifier.stop()
    worker.ctx.places.close()

    (left,) = worker.rows(t.change_notices)
    assert (left.account, left.claimed_until) == (name(0), None)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_carrier_that_hangs_holds_no_shop(street: Make) -> None:
    worker = street(20, lambda shop, _: shop == 0, yaml="poll_threads: 4\n")
    worker.ask(100)
    worker.note(range(1, 20), "R1")
    worker.start()
    wait_for(lambda: len(worker.read()) == 19)

    wait_for(lambda: worker.street.held == 1)  # who has not answered yet is asked once
    assert sum(row.claimed_until is not None for row in worker.rows(t.watches)) == 1


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_sweeps_hold_no_order_that_is_read_again_and_those_that_hang_hold_no_other_sweep(street: Make) -> None:
    worker = street(16, lambda shop, asked: shop < 8 and asked == "GET /orders", yaml="poll_threads: 16\n")
    worker.sweep(range(8))
    worker.start()
    wait_for(lambda: worker.street.held == 4)  # a quarter of the places
    worker.note(range(16), "R1")
    worker.sweep(range(8, 16))
    wait_for(lambda: len(worker.read()) == 16)
    wait_for(lambda: sum(row.swept_at is not None for row in worker.rows(t.accounts)) == 8)

    assert worker.street.held <= 4  # none, for the moment in which one gave way and the next is not asked yet
    assert {row.sweep_failing_since for row in worker.rows(t.accounts)} == {None}


# writes


def test_a_shop_that_hangs_on_a_write_holds_one_place_and_the_others_are_written_in_their_order(street: Make) -> None:
    worker = street(10, lambda shop, asked: shop == 3 and asked.startswith("POST"))
    worker.write(range(10), 3)
    worker.start()
    wait_for(lambda: sum(worker.written().values()) == 9 * 3)

    assert worker.street.held == 1
    assert set(worker.written().values()) == {3}
    sent = sorted((row.store, row.ended_at, row.id) for row in worker.rows(t.outbox) if row.state == "sent")
    assert [row[2] for row in sent] == sorted(row[2] for row in sent), "a store's writes stay in their order"
    hanging = [row for row in worker.rows(t.outbox) if row.store == name(3)]
    assert [row.attempted_at is not None for row in hanging] == [True, False, False]
    assert worker.street.asked[3] == 2  # the order, and the write: it gives way to nobody


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_of_more_shops_than_places_that_hang_before_a_write_each_gives_way(street: Make) -> None:
    worker = street(24, lambda shop, _: shop < 8, yaml="poll_threads: 4\n")
    worker.write(range(8))
    worker.start()
    wait_for(lambda: worker.street.held == 4)
    worker.write(range(8, 24))
    wait_for(lambda: sum(worker.written().values()) == 16)

    assert {row.failures for row in worker.rows(t.accounts)} == {None}
    assert {row.attempted_at for row in worker.rows(t.outbox) if row.state == "pending"} == {None}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_writes_and_reads_wait_for_each_other_nowhere(street: Make) -> None:
    worker = street(30, lambda shop, asked: asked.endswith("/R1"), yaml="poll_threads: 16\n")
    worker.note(range(12), "R1")  # as many as there are places for reads: nobody waits, so nobody gives way
    worker.start()
    wait_for(lambda: worker.street.held == 12)
    worker.write([0, 29])
    wait_for(lambda: worker.written() == {name(0): 1, name(29): 1})

    assert worker.street.held >= 8  # but for those that gave way to the read-backs of the two writes
