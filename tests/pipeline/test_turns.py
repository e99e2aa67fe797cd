"""What waits is worked in turns: a store with a backlog of thousands holds up nobody else, on either database."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tests.lab import START
from tests.pipeline.test_claims import ORDER
from tracker.domain.turns import Turns
from tracker.pipeline import decide
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import Store, database_now

SECOND = timedelta(seconds=1)


def accounts(connection: Connection, *names: str) -> None:
    connection.execute(t.accounts.insert(), [{"name": name, "kind": "store", "attempts": 0} for name in names])


def put(
    connection: Connection, account: str, count: int, kind: str = "webhook", *, ago: int = 0, body: bytes = b"{}"
) -> None:
    now = database_now(connection)
    rows = [queries.payload_row(account, kind, [body], START, now - SECOND * (ago + count - i)) for i in range(count)]
    queries.store_payloads(connection, rows)


def batches(store: Store, turns: Turns, most: int = 100) -> list[Any]:
    with store.write() as connection:
        return list(queries.claim(connection, t.inbox, most, turns=turns))


def test_a_quiet_account_s_webhook_is_in_the_first_batch_behind_thousands_of_another(store: Store) -> None:
    with store.write() as connection:
        accounts(connection, "big", "quiet", "silent")
        put(connection, "big", 2_000, "read", ago=60)
        put(connection, "quiet", 1)
    rows = batches(store, Turns())
    assert Counter(row.account for row in rows) == {"big": 99, "quiet": 1}


def test_an_account_s_own_webhooks_do_not_wait_for_the_pages_of_its_sweep_nor_these_for_ever(store: Store) -> None:
    with store.write() as connection:
        accounts(connection, "shop")
        put(connection, "shop", 500, "sweep", ago=600)
        put(connection, "shop", 500, "webhook")
    assert Counter(row.kind for row in batches(store, Turns())) == {"webhook": 80, "sweep": 20}


def test_what_is_too_large_for_one_batch_leaves_each_account_its_oldest(store: Store) -> None:
    with store.write() as connection:
        accounts(connection, "big", "quiet")
        put(connection, "big", 120, "sweep", ago=60, body=b"x" * 200_000)
        put(connection, "quiet", 3, "poll")
    rows = batches(store, Turns())
    assert len(rows) < 100
    assert Counter(row.account for row in rows)["quiet"] == 3


def test_of_one_account_the_oldest_come_first_in_each_batch(store: Store) -> None:
    with store.write() as connection:
        accounts(connection, "a", "b")
        for account in ("a", "b"):
            put(connection, account, 150)
    turns, told = Turns(), dict[str, list[int]](a=[], b=[])
    while rows := batches(store, turns, 60):
        for account, ids in told.items():
            ids += [row.id for row in rows if row.account == account]
        assert len(rows) == 60
    assert all(ids == sorted(ids) and len(ids) == 150 for ids in told.values())


def test_what_belongs_to_an_account_that_nobody_knows_any_more_is_worked_too(store: Store) -> None:
    with store.write() as connection:
        accounts(connection, "a", "b")
        put(connection, "gone", 30, ago=600)
        put(connection, "a", 60)
        put(connection, "b", 60)
    turns, seen = Turns(), Counter[str]()
    while rows := batches(store, turns, 50):
        seen.update(row.account for row in rows)
    assert seen == {"gone": 30, "a": 60, "b": 60}


def test_a_row_that_crashed_is_claimed_alone_though_others_have_turns(store: Store) -> None:
    with store.write() as connection:
        accounts(connection, "a", "b")
        put(connection, "a", 80, ago=60)
        put(connection, "b", 80)
        first = connection.execute(sa.select(sa.func.min(t.inbox.c.id))).scalar_one()
        connection.execute(t.inbox.update().where(t.inbox.c.id == first).values(crashes=1))
    turns, alone, seen = Turns(), 0, 0
    while rows := batches(store, turns, 50):
        seen += len(rows)
        if first in {row.id for row in rows}:
            alone = len(rows)
    assert (alone, seen) == (1, 160)


def test_a_quiet_store_s_order_is_decided_in_the_first_batch_behind_thousands_of_another(store: Store) -> None:
    with store.write() as connection:
        accounts(connection, "big", "quiet")
        fresh = {k: v for k, v in ORDER.items() if k != "id"}
        rows = [
            {**fresh, "store": "big", "ref": f"{i}", "reconcile_at": START - SECOND * (9_000 - i)} for i in range(1_500)
        ]
        connection.execute(t.orders.insert(), [*rows, {**fresh, "store": "quiet", "ref": "1", "reconcile_at": START}])
        found = queries.in_turns(
            connection, Turns(), decide._due, t.orders.c.store, decide.ALIKE, {"now": START}, store.batch
        )
    assert Counter(row.store for row in found) == {"big": store.batch - 1, "quiet": 1}
    assert min(int(row.ref) for row in found if row.store == "big") == 0
