"""Reading orders again of which a change notice came: several in a call, each alone once it failed; and handshakes of carriers.

An order that is not found is looked for once more, and is gone where both reads miss it while the shop tells of others.
What cannot be read is put off and told, and takes no other's read with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import (
    BudgetSpent,
    CredentialsRejected,
    NotFound,
    Refused,
    SourceError,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Finding, Page, Payload, Refs, Unread
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import gone, tell, unread
from tracker.pipeline.context import AppContext
from tracker.pipeline.places import READS, Place, Room
from tracker.pipeline.poll.calls import READ, Call, fenced, hold
from tracker.pipeline.poll.due import Ready, places_in_turn
from tracker.store import queries
from tracker.store.tables import change_notices, orders

REFS_A_CALL, CALLS_AT_ONCE = 50, 4  # orders a call; calls of one account a round
NEVER_FOUND = (
    "see in the shop whether it was deleted at once, or the key may not read it; the next hook or sweep reads it"
)
UNREADABLE_AGAIN = timedelta(hours=1)  # an order that a shop refuses to tell
LONG_TRIED, LATELY = 9, timedelta(minutes=15)  # so many tries take a quarter of an hour


def claim_notices(
    ctx: AppContext,
    connection: Connection,
    ready: Mapping[str, Ready],
    room: Room,
    now: datetime,
    business: datetime,
) -> list[Call]:
    """Claim orders that shall be read again: accounts in turns, of each the oldest."""
    wanted: dict[str, int] = {}
    for name, one in ready.items():
        if one.row.notices and (most := min(room.left(READS, name), one.left, CALLS_AT_ONCE)):
            wanted[name] = min(one.row.notices, most)
    places = places_in_turn(ctx, room, READS, "read", {}, wanted)
    few = [name for name in places if ready[name].row.notices < queries.FEW]
    rows = _notices(connection, few, now, business) if few else []
    for name in places.keys() - set(few):
        rows += _notices(connection, [name], now, business, len(places[name]) * REFS_A_CALL)
    by_account: dict[str, list[list[Row[Any]]]] = defaultdict(list)
    for row in rows:
        parts = by_account[row.account]
        if row.error is not None:
            parts.insert(0, [row])  # alone: it takes no other's read with it
        elif parts and parts[-1][0].error is None and len(parts[-1]) < REFS_A_CALL:
            parts[-1].append(row)
        else:
            parts.append([row])
    calls: list[Call] = []
    for name, mine in places.items():
        parts, one = by_account[name], ready[name]
        calls += [_read_call(ctx, one.account, part, place) for part, place in zip(parts, mine, strict=False)]
        room.back(mine[len(parts) :])
        one.left -= min(len(parts), len(mine))
    hold(connection, change_notices, [row for call in calls for row in call.rows], now)
    return calls


def _notices(
    connection: Connection,
    names: Sequence[str],
    now: datetime,
    business: datetime,
    most: int = REFS_A_CALL * CALLS_AT_ONCE,
) -> list[Row[Any]]:
    """Select the change notices of accounts that are due, oldest first."""
    r = change_notices.c
    due = sa.select(change_notices).where(queries.among(connection, r.account, names), *queries.noticed())
    due = queries.skip_locked(connection, due.order_by(r.due_at, r.id).limit(most))
    return list(queries.oldest(connection, due, {"now": now, "business": business}))


def _read_call(ctx: AppContext, account: Account, rows: Sequence[Row[Any]], place: Place) -> Call:
    ask = Refs(tuple(row.ref for row in rows))
    if account.is_store:
        return Call(READ, account, rows, lambda: _read(ctx, account, ask), place)
    return Call(READ, account, rows, lambda: account.carrier.register(ctx.client(account), ask), place)


@dataclass
class Read:
    """Orders as they were read, and which of them these were (None: nobody can say); `error` is why there are no more."""

    pages: list[Page]
    found: set[str] | None
    error: SourceError | None = None


def _read(ctx: AppContext, account: Account, ask: Refs) -> Read:
    found: set[str] = set()
    read = Read([], found)
    try:
        for page in account.source.fetch(ctx.client(account), ask):
            read.pages.append(page)
    except SourceError as error:
        read.error = error
    try:
        with ctx.leases.reading():
            for page in read.pages:
                for item in account.source.normalize(Payload(account.name, "read", page.parts, ctx.now())):
                    ref = item.subject if isinstance(item, Unread) else getattr(item, "ref", "")
                    if not ref:
                        read.found = None
                        return read
                    found.add(ref)
    except Exception:  # stage A meets it again, where one row's trouble is that row's
        read.found = None
    return read


def _told(call: Call) -> tuple[Read, SourceError | None, set[str], set[str]]:
    """Say what a call read, why there is no more, which orders it did not find, and which it did not come to."""
    read = call.result or Read([], set(), call.error)
    error, found = read.error, read.found
    if isinstance(error, NotFound) and len(call.rows) == 1:
        error = None  # said of the one order that was asked about
    missing = {row.ref for row in call.rows if error is None and found is not None and row.ref not in found}
    left = {row.ref for row in call.rows if error is not None and row.ref not in (found or ())}
    return read, error, missing, left


def doubted(call: Call) -> list[str]:
    """Return the orders of a call of which it is news whether they are there."""
    if not call.account.is_store:
        return []
    _, _, missing, left = _told(call)
    return [row.ref for row in call.rows if row.ref in missing or (row.missed_at and row.ref not in left)]


def store(ctx: AppContext, connection: Connection, call: Call, now: datetime, business: datetime) -> None:
    """T2 of re-reads: keep what was read, look once more for what was not there, put off what could not be read."""
    account = call.account
    if not account.is_store:
        _store_handshakes(connection, call, now)
        return
    read, error, missing, left = _told(call)
    refs = doubted(call)
    known = gone.lock_orders(connection, account.name, refs) if refs else {}
    ours = fenced(connection, change_notices, call.rows)
    queries.store_payloads(
        connection,
        [
            queries.payload_row(account.name, "read", page.parts, business, now, asked_at=call.asked[0])
            for page in read.pages
        ],
    )
    for row in call.rows:
        if row.id not in ours:
            continue
        order = known.get(row.ref)
        if error is not None and row.ref in left:
            _put_off(ctx, connection, call, row, error, now, business)
        elif row.ref in missing and not _is_gone(connection, account, row, read, business):
            connection.execute(
                change_notices.update()
                .where(change_notices.c.id == row.id)
                .values(claimed_until=None, missed_at=row.missed_at or business, not_before=business + gone.LOOK_AGAIN)
            )
        else:
            was_told = row.ref in missing and unread.left(connection, account.name, row.ref, business)
            if order is not None and row.ref in missing:
                gone.leave(ctx, connection, account, order, business)
            elif order is not None:
                gone.found(connection, order, business)
            elif row.ref in missing and not was_told:
                said = f"a hook named it, and two reads did not find it, the first at {row.missed_at:%Y-%m-%d %H:%M}Z"
                _unreadable(ctx, connection, account, row, said, business, NEVER_FOUND)
            _done(connection, row, now, business)
    queries.were_read(connection, account.name, [row.ref for row in call.rows if row.ref not in left], now)


def _is_gone(connection: Connection, account: Account, row: Row[Any], read: Read, business: datetime) -> bool:
    """Say whether an order that was not found now was not found before either, while the shop told of others."""
    since: datetime | None = row.missed_at
    if since is None or business - since < gone.APART:
        return False
    return bool(read.found) or gone.answers_since(connection, account.name, since)


def _put_off(
    ctx: AppContext,
    connection: Connection,
    call: Call,
    row: Row[Any],
    error: SourceError,
    now: datetime,
    business: datetime,
) -> None:
    """Have a re-read that failed asked again.

    What a shop refuses, or what cannot be read, may be one order's fault: each is asked alone then, and told.
    """
    values: dict[str, Any] = {"claimed_until": None, "due_at": now + queries.backoff(row.attempts + 1)}
    if isinstance(error, Unavailable | BudgetSpent):
        values["due_at"] = now  # its account rests, or has no call left
    elif not isinstance(error, Transient | CredentialsRejected):
        values |= {"error": str(error)[:200], "due_at": now}
        if len(call.rows) == 1:
            values["not_before"] = business + UNREADABLE_AGAIN
            _unreadable(ctx, connection, call.account, row, str(error), business)
    elif call.result is not None and call.result.pages:
        values["error"] = str(error)[:200]  # others were read: it alone was not
    elif isinstance(error, Transient) and row.attempts >= LONG_TRIED:
        if gone.answers_since(connection, call.account.name, business - LATELY):  # it fails alone
            values["not_before"] = business + UNREADABLE_AGAIN
            _unreadable(ctx, connection, call.account, row, str(error), business)
    connection.execute(change_notices.update().where(change_notices.c.id == row.id).values(**values))


def _store_handshakes(connection: Connection, call: Call, now: datetime) -> None:
    ours = fenced(connection, change_notices, call.rows)
    for row in call.rows:
        if row.id in ours and (call.error is None or isinstance(call.error, NotFound | Refused)):
            _done(connection, row, now)
        elif row.id in ours:
            due = now if isinstance(call.error, Unavailable) else now + queries.backoff(row.attempts + 1)
            connection.execute(
                change_notices.update().where(change_notices.c.id == row.id).values(claimed_until=None, due_at=due)
            )


def _done(connection: Connection, row: Row[Any], now: datetime, business: datetime | None = None) -> None:
    """End a re-read. A notice that came meanwhile keeps its row, and is read once nobody has spoken for a while.

    So does one of what is to be read once more later.
    """
    r = change_notices.c
    later = row.again_at if business is not None and row.again_at is not None and row.again_at > business else None
    same = r.noticed_at == row.noticed_at
    if later is None and connection.execute(change_notices.delete().where(r.id == row.id, same)).rowcount:
        return
    waits = sa.case((same, sa.literal(later, r.not_before.type)), else_=None)
    due = sa.case((same, r.due_at), else_=sa.literal(now + queries.QUIET, r.due_at.type))
    empty = dict.fromkeys(("claimed_until", "error", "missed_at"))
    values = {**empty, "not_before": waits, "attempts": 0, "due_at": due}
    connection.execute(change_notices.update().where(r.id == row.id).values(**values))


def _unreadable(
    ctx: AppContext,
    connection: Connection,
    account: Account,
    row: Row[Any],
    said: str,
    business: datetime,
    proposal: str = "it is asked for again every hour",
) -> None:
    """Tell of an order that a shop does not tell; stage A closes it once the order is read."""
    o = orders.c
    known = connection.execute(sa.select(o.id, o.number).where(o.store == account.name, o.ref == row.ref)).one_or_none()
    finding = Finding(
        FindingKind.ORDER_UNREADABLE, f"{account.name}/ref/{row.ref}", Severity.WARNING, Act.ACT,
        {"order": known.number if known else row.ref, "problem": said[:200]},
        proposal=proposal,
    )  # fmt: skip
    tell.report_findings(ctx, connection, [(known.id if known else None, finding)], business, by="read")
