"""Many webhooks of one order in a second cost two reads, and the last begins after the last webhook."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.lab import Lab, shipped
from tracker.pipeline.drain import STEPS
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import Store, database_now
from tracker.upkeep import maintenance

S = timedelta(seconds=1)


def noted(store: Store, *refs: str, after: timedelta, was_read: datetime) -> list[timedelta]:
    """Note hooks of orders so long after these were read; returns how long after the hook each is due."""
    with store.write() as connection:
        queries.note_hints(connection, "shop", refs, was_read + after)
        due = connection.execute(sa.select(t.change_notices.c.due_at).order_by(t.change_notices.c.ref)).scalars()
        return [at - was_read - after for at in due]


def read(store: Store, *refs: str) -> datetime:
    with store.write() as connection:
        now = database_now(connection)
        queries.were_read(connection, "shop", refs, now)
        queries.were_read(connection, "shop", refs, now)
        return now


def test_an_order_that_nobody_read_lately_is_read_at_once_however_often_it_is_named(store: Store) -> None:
    now = read(store, "2")
    assert noted(store, "1", "1", "2", after=31 * S, was_read=now) == [0 * S, 0 * S]
    assert noted(store, after=31 * S, was_read=now) == [0 * S, 0 * S], "no hook names no order"


def test_an_order_that_was_just_read_waits_until_nobody_has_spoken_for_two_seconds(store: Store) -> None:
    now = read(store, "1")
    assert noted(store, "1", after=1 * S, was_read=now) == [2 * S]
    assert noted(store, "1", after=2.5 * S, was_read=now) == [2 * S], "each hook puts it off"
    assert noted(store, "2", after=2.5 * S, was_read=now) == [2 * S, 0 * S], "another order does not wait"


def test_a_storm_that_does_not_end_is_read_every_half_a_minute(store: Store) -> None:
    now = read(store, "1")
    due = [noted(store, "1", after=after * S, was_read=now)[0] for after in range(1, 30)]
    assert due[:27] == [2 * S] * 27
    assert due[27:] == [2 * S, 1 * S]


def test_after_two_quiet_seconds_a_hook_is_news_again(store: Store) -> None:
    now = read(store, "1")
    assert noted(store, "1", after=3 * S, was_read=now) == [0 * S]


def test_when_an_order_was_read_is_forgotten_soon(make_lab: Any) -> None:
    lab = make_lab()
    read(lab.ctx.store, "1")
    with lab.ctx.store.write() as connection:
        connection.execute(
            t.fresh_reads.insert(), {"account": "shop", "ref": "2", "read_at": database_now(connection) - 31 * S}
        )
    maintenance.prune(lab.ctx)
    assert [row.ref for row in lab.rows(t.fresh_reads) if row.ref in "12"] == ["1"]


@pytest.fixture
def storm(make_lab: Any) -> Lab:
    """Return a lab whose order was read long ago."""
    lab: Lab = shipped(make_lab)
    lab.work()
    lab.change(t.fresh_reads.delete())
    return lab


def hook(lab: Lab) -> None:
    """Have the shop tell a change, and take its webhook in; nothing is read yet."""
    lab.shop.touch("#1001", "orders/updated")
    while lab.shop.outgoing:
        lab.post(lab.shop.outgoing.pop(0))
    STEPS["ingest"](lab.ctx)


def test_hooks_that_come_between_reads_cost_two_reads_and_the_last_sees_all(storm: Lab) -> None:
    before = storm.shop.calls["Read"]
    for number in range(20):
        storm.shop.orders["#1001"]["tags"] = [f"change-{number}"]
        hook(storm)
        STEPS["poll"](storm.ctx)
    assert storm.shop.calls["Read"] == before + 1, "what came later waits"
    storm.work()
    assert storm.shop.calls["Read"] == before + 2
    assert storm.rows(t.change_notices) == []
    (order,) = storm.rows(t.orders)
    assert order.facts["tags"] == ["change-19"]


def test_a_hook_that_comes_while_its_order_is_read_waits_as_well(storm: Lab) -> None:
    real, before = storm.shop._read, storm.shop.calls["Read"]

    def slow(variables: dict[str, Any]) -> dict[str, Any]:
        storm.shop._read = real
        hook(storm)
        return real(variables)

    hook(storm)
    storm.shop._read = slow
    STEPS["poll"](storm.ctx)
    (left,) = storm.rows(t.change_notices)
    with storm.ctx.store.read() as connection:
        waits = left.due_at - database_now(connection)
    assert (left.attempts, storm.shop.calls["Read"]) == (0, before + 1)
    assert 0 * S < waits <= queries.QUIET
