"""Claims and fences: who works on a row of the inbox, the outbox or the mails, and until when.

A claim is a commit of its own (T1): rows that are pending and due and that nobody holds get `attempts + 1` and a lease.
The work (T2) is fenced: it ends a row only while `(id, attempts)` is still the claim's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.turns import Turns
from tracker.store.engine import database_now
from tracker.store.queries.dialect import is_sqlite, oldest, one_of
from tracker.store.queries.turns import Classes, in_turns
from tracker.store.tables import WAITED_FOR, accounts, inbox, outbox

LEASE = timedelta(seconds=30)  # a worker prolongs what it still works on (pipeline/held.py)
MOST_BYTES = 4 << 20
OF_FILE = 6  # as many rows a part of a file counts for: a hundred lines are mostly a hundred parcels
MOST_CRASHES = 5
UNTIL_MENDED = datetime(9000, 1, 1, tzinfo=UTC)
# What this version can work: rows of a kind that a newer version stores are left to it.
INBOX_KINDS = ("webhook", "poll", "read", "sweep", "file", "remap")
ARRIVALS: Classes = sa.literal_column(WAITED_FOR), sa.literal_column(f"NOT ({WAITED_FOR})")
OUTBOX_KINDS = ("fulfilment_event", "order_status", "order_note", "number", "field", "tag", "notice")


def backoff(attempts: int) -> timedelta:
    """Wait 2 s, 4 s, 8 s ... 15 min: long enough for an outage, short enough for a person who watches."""
    return timedelta(seconds=min(2 ** min(attempts, 10), 900))


def _claimable(table: sa.Table, now: sa.ColumnElement[datetime]) -> tuple[sa.ColumnElement[bool], ...]:
    """Return what a row must be to be claimed at `now`: pending, due, held by nobody, of a kind that we know."""
    t = table.c
    free = sa.or_(t.claimed_until.is_(None), t.claimed_until < now)
    kinds = {inbox.name: INBOX_KINDS, outbox.name: OUTBOX_KINDS}.get(table.name)
    return t.state == "pending", t.due_at <= now, free, t.kind.in_(kinds) if kinds else sa.true()


@cache
def _due(sqlite_: bool, table: sa.Table) -> sa.Select[Any]:
    """Select what may be claimed at `now`, oldest first, `most` at most."""
    t, now = table.c, sa.bindparam("now", type_=table.c.due_at.type)
    size, weight = (
        (t.size, sa.case((t.kind == "file", OF_FILE), else_=1)) if table is inbox else (sa.literal(0), sa.literal(1))
    )
    due = (
        sa.select(t.id, t.crashes, size.label("size"), weight.label("weight"))
        .where(*_claimable(table, now))
        .order_by(t.due_at, t.id)
        .limit(sa.bindparam("most", type_=sa.Integer()))
    )
    return due if sqlite_ else due.with_for_update(skip_locked=True)


@cache
def _take(sqlite_: bool, table: sa.Table) -> Any:
    """Claim `ids` until `until`; returns the rows."""
    values = {"attempts": table.c.attempts + 1, "crashes": table.c.crashes + 1, "claimed_until": sa.bindparam("until")}
    return table.update().where(one_of(sqlite_, table.c.id, "ids")).values(values).returning(table)


def claim(
    connection: Connection,
    table: sa.Table,
    limit: int,
    *more: sa.ColumnElement[bool],
    died: Callable[[Sequence[Row[Any]]], None] | None = None,
    turns: Turns | None = None,
) -> Sequence[Row[Any]]:
    """Claim pending rows of the inbox or outbox, oldest first; a row that crashed before is claimed alone.

    `turns`: where more of the inbox waits than a batch takes, its accounts get their shares of it.

    Returns the rows as they were, with `attempts` as it is now. Rows past MOST_CRASHES end `dead`; `died` is told of them.
    """
    now = database_now(connection)
    due = _due(is_sqlite(connection), table).where(*more) if more else _due(is_sqlite(connection), table)
    while rows := (
        oldest(connection, due, {"now": now, "most": limit}).all()
        if turns is None
        else in_turns(connection, turns, partial(_due, table=inbox), inbox.c.account, ARRIVALS, {"now": now}, limit)
    ):
        crashed = [row.id for row in rows if row.crashes > MOST_CRASHES]
        if not crashed:
            break
        why = table.c[_reason(table)]
        said = sa.case((why.is_(None), "crashed too often"), else_="crashed too often (it said: " + why + ")")
        gone = connection.execute(  # and look again: others may wait behind them
            table.update()
            .where(table.c.id.in_(crashed))
            .values(state="dead", **{_reason(table): said}, ended_at=now, claimed_until=None)
            .returning(table)
        ).all()
        if died is not None:
            died(sorted(gone, key=lambda row: int(row.id)))
    suspect = next((row.id for row in rows if row.crashes), None)
    if suspect is not None and rows[0].id == suspect:
        ids = [suspect]
    else:
        ids, total, weight = [], 0, 0
        for row in rows:
            total += row.size
            weight += row.weight
            if row.crashes or (ids and (total > MOST_BYTES or weight > limit)):
                break
            ids.append(row.id)
    if not ids:
        return ()
    taken = connection.execute(_take(is_sqlite(connection), table), {"ids": ids, "until": now + LEASE}).all()
    return sorted(taken, key=lambda row: (row.due_at, row.id))


def _reason(table: sa.Table) -> str:
    return "reason" if "reason" in table.c else "error"


@cache
def in_turn() -> sa.Select[Any]:
    """Select the stores that have a write to claim at `now` (`business` time): name and failures, who waited longest for a turn first.

    Paused, parked and resting stores are left out, and not one of the writes that wait for them is looked at.
    """
    a, o, now = accounts.c, outbox.c, sa.bindparam("now", type_=outbox.c.due_at.type)
    waits = sa.select(o.id).where(o.store == a.name, *_claimable(outbox, now)).order_by(o.due_at).limit(1)
    one_waits = waits.scalar_subquery().isnot(None)  # EXISTS could become a join with all that waits
    rested = sa.and_(
        sa.or_(a.blocked_until.is_(None), a.blocked_until <= now),
        sa.or_(a.rests_until.is_(None), a.rests_until <= sa.bindparam("business", type_=a.rests_until.type)),
    )
    return (
        sa.select(a.name, a.failures)
        .where(a.kind == "store", a.paused_at.is_(None), a.suspended_reason.is_(None), rested, one_waits)
        .order_by(sa.nulls_first(a.turn_at), a.name)
    )


def renew(connection: Connection, table: sa.Table, row: Row[Any], lease: timedelta) -> bool:
    """Prolong a claim before a network call; False: it ended, and somebody else may have the row."""
    held = connection.execute(
        table.update()
        .where(table.c.id == row.id, table.c.attempts == row.attempts, table.c.state == "pending")
        .values(claimed_until=database_now(connection) + lease)
    )
    return bool(held.rowcount)


@cache
def _held(sqlite_: bool, table: sa.Table) -> sa.Select[Any]:
    held = sa.select(table.c.id, table.c.attempts).where(one_of(sqlite_, table.c.id, "ids")).order_by(table.c.id)
    return held if sqlite_ else held.with_for_update()


def still_ours(connection: Connection, table: sa.Table, rows: Iterable[Row[Any]]) -> set[int]:
    """Lock the claimed rows that nobody claimed since: the fence of T2."""
    wanted = {row.id: row.attempts for row in rows}
    held = connection.execute(_held(is_sqlite(connection), table), {"ids": list(wanted)}).all()
    return {row.id for row in held if row.attempts == wanted[row.id]}


@cache
def _ended(sqlite_: bool, table: sa.Table) -> sa.Update:
    values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in ("state", _reason(table), "ended_at")}
    return table.update().where(one_of(sqlite_, table.c.id, "ids")).values(**values, claimed_until=None, crashes=0)


def end(
    connection: Connection, table: sa.Table, ids: Iterable[int], state: str, now: datetime, reason: str | None = None
) -> None:
    """End rows in a final state."""
    given = {"ids": list(ids), "new_state": state, f"new_{_reason(table)}": reason, "new_ended_at": now}
    connection.execute(_ended(is_sqlite(connection), table), given)


def set_aside(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Give claimed rows of the inbox back until the entries of their accounts are mended (`take_up`): nothing looks at them before."""
    ours = still_ours(connection, inbox, rows)
    aside = {"claimed_until": None, "due_at": UNTIL_MENDED, "crashes": 0, "reason": "its account's entry is wrong"}
    connection.execute(
        inbox.update().where(one_of(is_sqlite(connection), inbox.c.id, "ids", sorted(ours))).values(**aside)
    )


def set_aside_for(connection: Connection) -> list[str]:
    """Return the accounts of which rows are set aside."""
    aside = sa.and_(inbox.c.state == "pending", inbox.c.due_at >= UNTIL_MENDED)
    return list(connection.execute(sa.select(inbox.c.account).where(aside).distinct()).scalars())


def take_up(connection: Connection, account: str, most: int) -> int:
    """Make rows of an account due again that were set aside, so many at most. Returns how many."""
    i = inbox.c
    aside = sa.select(i.id).where(i.state == "pending", i.due_at >= UNTIL_MENDED, i.account == account)
    held = aside.order_by(i.id).limit(most)
    ids = list(connection.execute(held if is_sqlite(connection) else held.with_for_update()).scalars())
    due = inbox.update().where(one_of(is_sqlite(connection), i.id, "ids", ids))
    connection.execute(due.values(due_at=database_now(connection), reason=None))
    return len(ids)


def release(
    connection: Connection, table: sa.Table, row: Row[Any], due_at: datetime, error: str, *, crashed: bool
) -> None:
    """Give a claimed row back for later. `crashed`: the count of crashes stays, so that poison ends."""
    values: dict[str, Any] = {"claimed_until": None, "due_at": due_at, _reason(table): error[:500]}
    if not crashed:
        values["crashes"] = 0
    connection.execute(table.update().where(table.c.id == row.id, table.c.attempts == row.attempts).values(**values))
