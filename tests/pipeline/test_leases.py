"""What is held while it is worked: claims are prolonged as long as somebody works on them, and no longer."""

from __future__ import annotations

import pytest

from tests.pipeline.test_queries import MINUTE, all_of, put
from tracker.pipeline.leases import Leases
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import Store, database_now


def test_what_is_held_is_prolonged_and_what_was_lost_is_not(store: Store) -> None:
    held = Leases()
    with store.write() as connection:
        put(connection, "mine", "again", "lost", "ended", "left")
        rows = {row.dedupe_key: row for row in queries.claim(connection, t.inbox, 10)}
        past = database_now(connection) - MINUTE
        connection.execute(t.inbox.update().values(claimed_until=past))
        for key, values in (("again", {"attempts": 2}), ("lost", {"attempts": 2}), ("ended", {"claimed_until": None})):
            connection.execute(t.inbox.update().where(t.inbox.c.dedupe_key == key).values(**values))
    attempts = {rows["mine"].id: 1, rows["again"].id: 2, rows["lost"].id: 1, rows["ended"].id: 1}
    with held.holding(t.inbox, attempts):
        assert held.renew(store) == 2
    assert held.renew(store) == 0, "nothing is held any more"
    with store.read() as connection:
        now = database_now(connection)
        until = {row["dedupe_key"]: row["claimed_until"] for row in all_of(connection, t.inbox)}
    assert now < until["mine"] == until["again"] <= now + queries.LEASE
    assert (until["lost"], until["left"], until["ended"]) == (past, past, None)


def test_nothing_is_prolonged_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    held, passed = Leases(), [0.0]
    monkeypatch.setattr("tracker.pipeline.leases.time.monotonic", lambda: passed[0])
    with store.write() as connection:
        put(connection, "a")
        (row,) = queries.claim(connection, t.inbox, 10)
    with held.holding(t.inbox, {row.id: 1}), held.holding(t.outbox, {7: 1}):
        passed[0] = 299.0
        assert held.renew(store) == 1
        passed[0] = 300.0
        assert held.renew(store) == 0


def test_the_slowest_parser_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    held, passed = Leases(), [100.0]
    monkeypatch.setattr("tracker.pipeline.leases.time.monotonic", lambda: passed[0])
    assert held.reading_for() == 0.0
    with held.reading():
        passed[0] = 107.5
        assert held.reading_for() == 7.5
    assert held.reading_for() == 0.0
