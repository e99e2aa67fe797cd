"""What is kept of an account: what came from it day by day, until when it rests, why it is suspended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.store.queries.rows import put
from tracker.store.tables import account_days, accounts

MOST_REASON = 300
BY_ENTRY = "its entry is wrong: "  # how the reason of a suspension begins that the configuration is the cause of


def count_days(connection: Connection, counted: Mapping[tuple[str, str], Mapping[str, int]]) -> None:
    """Add to what came from accounts on days: (account, day) to columns of `account_days`. The last lock but `accounts`."""
    rows = [
        {"account": account, "day": day, "payloads": 0, "polled_first": 0, "pushed_first": 0, **told}
        for (account, day), told in sorted(counted.items())
    ]
    put(connection, account_days, rows, _added)


def _added(insert: Any) -> Any:
    names = ("payloads", "polled_first", "pushed_first")
    more = {name: account_days.c[name] + insert.excluded[name] for name in names}
    return insert.on_conflict_do_update(index_elements=["account", "day"], set_=more)


def block(connection: Connection, account: str, until: datetime) -> None:
    """Let an account rest until a moment (database time)."""
    connection.execute(
        accounts.update()
        .where(
            accounts.c.name == account,
            sa.or_(accounts.c.blocked_until.is_(None), accounts.c.blocked_until < until),
        )
        .values(blocked_until=until)
    )


def suspend(connection: Connection, account: str, reason: str) -> None:
    """Stop using an account until its credentials change."""
    connection.execute(
        accounts.update().where(accounts.c.name == account).values(suspended_reason=reason[:MOST_REASON])
    )


def suspended(connection: Connection) -> set[str]:
    """Return the carrier accounts whose credentials are refused: nobody asks them anything."""
    a = accounts.c
    return set(
        connection.execute(sa.select(a.name).where(a.kind == "carrier", a.suspended_reason.isnot(None))).scalars()
    )


def files_due(names: Sequence[str], now: datetime, business: datetime) -> sa.Select[Any]:
    """Select the accounts of which it is time to look for files at `now` (the database's time) and `business` time."""
    a = accounts.c
    rested = sa.and_(
        sa.or_(a.blocked_until.is_(None), a.blocked_until <= now), sa.or_(a.rests_until.is_(None), a.rests_until <= business)
    )  # fmt: skip
    used = sa.and_(a.suspended_reason.is_(None), a.paused_at.is_(None))
    due = sa.or_(a.files_at.is_(None), a.files_at <= business)
    return sa.select(a.name).where(a.name.in_(list(names)), a.kind == "carrier", used, rested, due).order_by(a.name)
