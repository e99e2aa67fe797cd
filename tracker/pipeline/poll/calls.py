"""What polls, registrations and reads of changed orders share: a call for some claimed rows, the claim before it, the fence after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import SourceError
from tracker.store import queries


@dataclass
class Call:
    """One call: the rows it is for, and what came of it."""

    account: Account
    rows: Sequence[Row[Any]]
    ask: Callable[[], Any]
    result: Any = None
    error: SourceError | None = None


def hold(connection: Connection, table: sa.Table, rows: Sequence[Row[Any]], now: datetime) -> None:
    """Claim rows for a call."""
    if rows:
        connection.execute(
            table.update()
            .where(table.c.id.in_([row.id for row in rows]))
            .values(attempts=table.c.attempts + 1, claimed_until=now + queries.LEASE)
        )


def chunks(rows: Sequence[Row[Any]], size: int) -> Iterable[Sequence[Row[Any]]]:
    """Give rows so many at a time."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def fenced(connection: Connection, table: sa.Table, rows: Sequence[Row[Any]]) -> set[int]:
    """Lock the rows of a call that nobody claimed since; returns their ids."""
    select = sa.select(table.c.id, table.c.attempts).where(table.c.id.in_([r.id for r in rows])).order_by(table.c.id)
    attempts = {row.id: row.attempts + 1 for row in rows}
    held = connection.execute(queries.locked(connection, select))
    return {row.id for row in held if row.attempts == attempts[row.id]}
