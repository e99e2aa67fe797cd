"""What polls, registrations and reads of changed orders share: a call for some claimed rows, the claim before it, the fence after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import SourceError
from tracker.pipeline.places import Place, Room
from tracker.store import queries
from tracker.store.tables import change_notices, watches

POLL, REGISTRATION, READ = "poll", "registration", "read"
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class Call:
    """One call: the rows it is for, and what came of it."""

    kind: str
    account: Account
    rows: Sequence[Row[Any]]
    ask: Callable[[], Any]
    place: Place | None = None
    asked: tuple[datetime, datetime] = (NEVER, NEVER)  # when it was claimed: by the database's clock, and business time
    failing: bool = True  # whether the account's row said so then
    result: Any = None
    error: SourceError | None = None

    @property
    def table(self) -> sa.Table:
        """Return the table of its rows."""
        return change_notices if self.kind == READ else watches


def hold(connection: Connection, table: sa.Table, rows: Sequence[Row[Any]], now: datetime) -> None:
    """Claim rows for a call."""
    if rows:
        connection.execute(
            table.update()
            .where(table.c.id.in_([row.id for row in rows]))
            .values(attempts=table.c.attempts + 1, claimed_until=now + queries.LEASE)
        )


def hold_oldest(
    connection: Connection, table: sa.Table, account: str, room: Room, kind: str, now: datetime, business: datetime,
    *more: sa.ColumnElement[bool],
) -> tuple[Row[Any], Place] | None:  # fmt: skip
    """Claim the row of an account that has been due for longest, with a place for its call; None where there is none of both.

    The row is as it was before: who holds it is fenced by its `attempts` and one more.
    """
    t = table.c
    free = sa.or_(t.claimed_until.is_(None), t.claimed_until < now)
    due = sa.select(table).where(t.account == account, t.next_at <= business, free, *more)
    row = connection.execute(due.order_by(t.next_at, t.id).limit(1)).first()
    if row is None or (place := room.take(kind, account)) is None:
        return None
    as_it_was = sa.and_(t.id == row.id, t.attempts == row.attempts)
    values = {"attempts": row.attempts + 1, "claimed_until": now + queries.LEASE}
    if connection.execute(table.update().where(as_it_was).values(**values)).rowcount:
        return row, place
    room.back([place])
    return None


def chunks(rows: Sequence[Row[Any]], size: int) -> Iterable[Sequence[Row[Any]]]:
    """Give rows so many at a time."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def fenced(connection: Connection, table: sa.Table, rows: Sequence[Row[Any]]) -> set[int]:
    """Lock the rows of a call that nobody claimed since; returns their ids."""
    select = sa.select(table.c.id, table.c.attempts).where(table.c.id.in_([r.id for r in rows])).order_by(table.c.id)
    attempts = {row.id: row.attempts + 1 for row in rows}
    held = connection.execute(queries.locked(connection, select))
    return {row.id for row in held if row.attempts == attempts[row.id]}


def release(connection: Connection, call: Call) -> None:
    """Give back the rows of a call that learnt nothing: they are due as they were."""
    ours = fenced(connection, call.table, call.rows)
    connection.execute(call.table.update().where(call.table.c.id.in_(ours)).values(claimed_until=None))
