"""The rows of inbox and outbox against a model: deliver, claim, finish, fail, crash, freeze, and time that passes.

The model knows what a row must be; the database is a real one of each kind. Time passes by ending claims early, which is all
that the database's clock would do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.lab import START
from tracker.store import queries
from tracker.store.engine import Store, database_now
from tracker.store.queries import MOST_CRASHES
from tracker.store.tables import inbox, orders, outbox

FAR = timedelta(hours=1)

ORDER = {
    "store": "shop", "ref": "1", "number": "#1", "status": "new", "raw_status": "new", "payment": "paid", "raw_payment": "paid",
    "owner": "us", "placed_at": START, "facts": {}, "version": 1, "read_at": START, "id": 1,
}  # fmt: skip


@dataclass
class Row:
    """What a row must be."""

    state: str = "pending"
    attempts: int = 0
    crashes: int = 0
    holder: int | None = None  # the claim that holds it, while it has not ended
    waits: bool = False


class Claims(RuleBasedStateMachine):
    """`key` is the dedupe key of an inbox row, or the key of an outbox row."""

    store: Store
    table: sa.Table
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Row] = {}
        self.count = 0

    @initialize()
    def nothing(self) -> None:
        with self.store.write() as connection:
            connection.execute(self.table.delete())

    def put(self, connection: Any, key: str) -> None:
        now = database_now(connection)
        if self.table is inbox:
            row = queries.payload_row("a", "webhook", [b"{}"], START, now, dedupe_key=key)
            queries.store_payloads(connection, [row])
        elif key not in self.rows:
            values = {
                "key": key, "kind": "order_note", "store": "shop", "order_id": 1, "action": {}, "state": "pending",
                "attempts": 0, "crashes": 0, "due_at": now, "rules": [], "created_at": now,
            }  # fmt: skip
            connection.execute(self.table.insert(), [values])
            self.rows[key] = Row()

    @rule(key=st.sampled_from("abcdef"), copies=st.integers(1, 3))
    def deliver(self, key: str, copies: int) -> None:
        with self.store.write() as connection:
            for _ in range(copies):
                self.put(connection, key)
        self.rows.setdefault(key, Row())

    @rule(target=claims, limit=st.integers(1, 4))
    def claim(self, limit: int) -> tuple[int, list[Any]]:
        self.count += 1
        with self.store.write() as connection:
            taken = list(queries.claim(connection, self.table, limit))
        free = {k for k, r in self.rows.items() if r.state == "pending" and r.holder is None and not r.waits}
        assert {self.key(row) for row in taken} <= free
        for key in free:
            if self.rows[key].crashes > MOST_CRASHES and self.state_of(key) == "dead":
                self.rows[key].state = "dead"
                free = free - {key}
        assert taken or not free or all(self.rows[k].crashes > MOST_CRASHES for k in free), (
            "work was left although somebody asked"
        )
        suspects = [row for row in taken if self.rows[self.key(row)].crashes]
        assert not suspects or len(taken) == 1, "a row that crashed before shares its claim"
        for row in taken:
            model = self.rows[self.key(row)]
            model.attempts += 1
            model.crashes += 1
            model.holder = self.count
            assert row.attempts == model.attempts
        return self.count, taken

    def ours(self, connection: Any, claim: tuple[int, list[Any]]) -> list[Any]:
        """Fence, and demand that the fence holds exactly those that nobody claimed since and that did not end."""
        _, taken = claim
        held = queries.still_ours(connection, self.table, taken)
        return [row for row in taken if row.id in held and self.rows[self.key(row)].state == "pending"]

    @rule(claim=claims)
    def finish(self, claim: tuple[int, list[Any]]) -> None:
        with self.store.write() as connection:
            mine = self.ours(connection, claim)
            assert {self.key(r) for r in mine} == {
                self.key(r) for r in claim[1] if self.rows[self.key(r)].attempts == r.attempts and self.rows[self.key(r)].state == "pending"
            }  # fmt: skip
            queries.end(connection, self.table, [row.id for row in mine], "done", database_now(connection))
        for row in mine:
            self.rows[self.key(row)] = Row("done", row.attempts)

    @rule(claim=claims, crashed=st.booleans(), later=st.booleans(), most=st.integers(1, 4))
    def fail(self, claim: tuple[int, list[Any]], crashed: bool, later: bool, most: int) -> None:
        """Give rows back, also those that somebody else claimed since: that must change nothing."""
        with self.store.write() as connection:
            now = database_now(connection)
            for row in claim[1][:most]:
                model = self.rows[self.key(row)]
                if model.state != "pending":
                    continue
                queries.release(connection, self.table, row, now + FAR if later else now, "it failed", crashed=crashed)
                if model.attempts == row.attempts:
                    model.holder, model.waits = None, later
                    model.crashes = model.crashes if crashed else 0

    @rule()
    def claims_end(self) -> None:
        """Processes died, or were frozen: their claims end, and they may still wake up."""
        with self.store.write() as connection:
            past = database_now(connection) - FAR
            connection.execute(
                self.table.update().where(self.table.c.claimed_until.isnot(None)).values(claimed_until=past)
            )
        for row in self.rows.values():
            row.holder = None

    @rule()
    def time_passes(self) -> None:
        with self.store.write() as connection:
            connection.execute(self.table.update().values(due_at=database_now(connection) - FAR))
        for row in self.rows.values():
            row.waits = False

    def key(self, row: Any) -> str:
        return str(row.dedupe_key if self.table is inbox else row.key)

    def state_of(self, key: str) -> str:
        column = self.table.c.dedupe_key if self.table is inbox else self.table.c.key
        with self.store.read() as connection:
            return str(connection.execute(sa.select(self.table.c.state).where(column == key)).scalar_one())

    @invariant()
    def every_row_is_what_it_must_be(self) -> None:
        with self.store.read() as connection:
            found = {self.key(row): row for row in connection.execute(sa.select(self.table))}
        assert set(found) == set(self.rows), "a delivery was lost, or is there twice"
        for key, model in self.rows.items():
            row = found[key]
            if row.state == "dead":
                assert row.crashes > MOST_CRASHES
                model.state = "dead"
            assert (row.state, row.attempts) == (model.state, model.attempts), key
            if model.state == "pending":
                assert row.crashes == model.crashes, key


@pytest.mark.no_cover
@pytest.mark.parametrize("table", [inbox, outbox], ids=["inbox", "outbox"])
def test_rows_are_never_lost_never_doubled_and_fenced(database: str, table: sa.Table) -> None:
    store = Store(database)
    with store.write() as connection:
        connection.execute(orders.insert(), [ORDER])

    class Here(Claims):
        pass

    Here.store, Here.table = store, table
    try:
        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=settings().max_examples // 2, stateful_step_count=30, deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
    finally:
        store.close()
