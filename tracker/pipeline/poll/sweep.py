"""Sweeps: read what changed in a store, or in the feed of a carrier, since its cursor, page by page, each page stored together with its cursor.

What loses nothing: the cursor is moved in the transaction that stores its page; where an answer fails, the sweep goes on from
there; where pages go in circles it ends, tells a person, and begins again where it began. What says nothing new is not stored.
Where an answer is still being made (`NotYet`) its cursor is kept, and the sweep goes on from it when it was told to come again.
A page of a feed that cannot be read at all is an answer that failed: nothing else tells what stood in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import BadPayload, NotFound, Refused, SourceError
from tracker.domain.facts import Finding, Order, Page, Payload, Since
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import backoff, feeds, tell
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.ingest.versions import as_taken
from tracker.pipeline.places import SWEEPS, GaveWay, Place, Room
from tracker.pipeline.poll.calls import NEVER
from tracker.pipeline.poll.due import Ready
from tracker.store import queries
from tracker.store.codec import dump_order
from tracker.store.engine import database_now
from tracker.store.tables import accounts, findings, orders

MOST_PAGES = 200  # a round; then others have their turn and the sweep goes on: 100,000 orders of a first sync need many
MOST_EMPTY = 100  # pages in a row that hold nothing: a shop may filter after it cut its pages
MOST_STALE = 2  # pages in a row that hold only what this round told: two pages may overlap
KEPT_PAGES = 20  # hashes of the pages of a sweep, for the next one


@dataclass
class _Told:
    """What this round of a sweep told so far: enough to see that it goes in circles."""

    cursors: set[str | None]
    items: set[int] = field(default_factory=set)  # hashes
    pages: set[int] = field(default_factory=set)
    kept: list[str] = field(default_factory=list)
    count: int = 0
    stale: int = 0
    empty: int = 0
    circles: str = ""  # why the sweep must not go on after this page

    def take(self, page: Page, items: Sequence[Any]) -> None:
        """Take a page with what it says."""
        said = {hash(item) for item in items}
        self.count += 1
        self.empty = 0 if said else self.empty + 1
        self.stale = self.stale + 1 if said and said <= self.items else 0 if said else self.stale
        self.items |= said
        if page.next_cursor in self.cursors:
            self.circles = "its cursor repeats"
        elif self.stale >= MOST_STALE:
            self.circles = "its pages repeat"
        elif self.empty >= MOST_EMPTY:
            self.circles = f"{self.empty} pages in a row hold nothing"
        self.cursors.add(page.next_cursor)


def claim_sweeps(
    connection: Connection,
    ready: Mapping[str, Ready],
    room: Room,
    now: datetime,
    business: datetime,
) -> list[tuple[Account, Row[Any], Place]]:
    """Claim the stores and feeds that are due to be swept, as many as there are places: who waited longest first, before them who is new."""
    claimed = []
    due = [one for one in ready.values() if _can_be_swept(one.account) and one.row.sweeps and one.left > 0]
    for one in sorted(due, key=lambda one: (one.row.next_sweep_at or NEVER, one.row.name)):
        account, state = one.account, one.row
        name = state.name
        if (place := room.take(SWEEPS, name)) is None:
            continue
        where = sa.and_(accounts.c.name == name, accounts.c.attempts == state.attempts)
        values = {"attempts": state.attempts + 1, "claimed_until": now + queries.LEASE}
        if state.connected_at is None:
            values["connected_at"] = business
        if connection.execute(accounts.update().where(where).values(**values)).rowcount:
            claimed.append((account, state, place))
        else:
            room.back([place])
    return claimed


def _can_be_swept(account: Account) -> bool:
    return account.is_store or account.has_feed


def work(ctx: AppContext, account: Account, state: Row[Any]) -> SourceError | None:
    """Sweep a store or feed that was claimed. Returns what went wrong."""
    with ctx.leases.holding(accounts, {account.name: state.attempts + 1}):
        return _sweep(ctx, account, state)


def _sweep(ctx: AppContext, account: Account, state: Row[Any]) -> SourceError | None:
    """Read what changed since the cursor, until there is no more or the round is full."""
    first = state.synced_at is None
    ours = _ours(state)
    told, asked = _Told({state.cursor}), ctx.now()
    began = (state.cursor or "") if state.sweep_from is None else state.sweep_from
    error: SourceError | None = None
    waits: Page | None = None
    ended = paused = False
    try:
        with ctx.store.read() as connection:
            asked_at = database_now(connection)
        for page in account.source.fetch(ctx.client(account), Since(state.cursor, open_only=first, until=asked)):
            if told.circles:  # and yet it goes on
                ended = True
                break
            if page.not_yet is not None:
                waits = page
                break
            items = _said(ctx, account, page)
            with ctx.store.write() as connection:
                now, business = database_now(connection), ctx.now()
                new = _is_new(connection, account, page, items, told, state.pages or (), asked_at)
                # lock order: orders before accounts
                values = {"cursor": page.next_cursor, "sweep_from": began, "answered_at": business}
                values["claimed_until"] = now + queries.LEASE
                if not connection.execute(accounts.update().where(ours).values(**values)).rowcount:
                    return None
                if new:
                    row = queries.payload_row(account.name, "sweep", page.parts, business, now, asked_at=asked_at)
                    queries.store_payloads(connection, [row])
                asked_at = now
                crash_at("sweep_before_commit")
            told.take(page, items)
            if new:
                ctx.notify("ingest")
            if first and account.is_store:
                ctx.log.info("first_sync", store=account.name, pages=told.count, cursor=page.next_cursor)
            if told.count >= MOST_PAGES:
                paused = True
                break
    except SourceError as problem:
        error, paused = problem, isinstance(problem, GaveWay)
    except Exception as problem:  # a plugin's bug must not stop the other stores
        error = SourceError(type(problem).__name__)
    if paused:
        _pause(ctx, ours)
    elif waits is not None:
        _wait(ctx, account, state, waits, began)
    else:
        _end(ctx, account, state, told, asked, error, circles=ended)
    return error


def _end(
    ctx: AppContext,
    account: Account,
    state: Row[Any],
    told: _Told,
    asked: datetime,
    error: SourceError | None,
    *,
    circles: bool,
) -> None:
    """Note how a sweep ended, and when the next one begins."""
    first = state.synced_at is None
    with ctx.store.write() as connection:
        now, business = database_now(connection), ctx.now()
        values = {
            "claimed_until": None,
            "next_sweep_at": backoff.next_sweep(account, len(ctx.config.store_names()), business),
        }
        if error is not None:
            values["next_sweep_at"] = backoff.sweep_fails(ctx, connection, account, error, told.count, now, business)
            if not told.count and state.sweep_from is not None and isinstance(error, NotFound | Refused | BadPayload):
                # a cursor within a sweep may grow too old
                values |= {"cursor": state.sweep_from or None, "sweep_from": None}
        elif circles:
            values |= {
                "cursor": state.cursor if state.sweep_from is None else state.sweep_from or None,
                "sweep_from": None,
            }
            _tell_circles(ctx, connection, account, told, state.cursor, business)
        else:
            if account.has_feed:
                feeds.goes_on(ctx, connection, account, state, asked, business)
            values |= _at_its_end(connection, account, told, asked, business, first=first)
        connection.execute(accounts.update().where(_ours(state)).values(**values))
    if first and account.is_store and not circles and error is None:
        back = account.platform.reads_back()  # older orders are not there; `tracker check` says so too
        limit = {"limit": f"orders of the last {back.days} days"} if back else {}
        ctx.log.info("first_sync_done", store=account.name, pages=told.count, **limit)


def _ours(state: Row[Any]) -> sa.ColumnElement[bool]:
    """Fence: nobody claimed the sweep since."""
    return sa.and_(accounts.c.name == state.name, accounts.c.attempts == state.attempts + 1)


def _pause(ctx: AppContext, ours: sa.ColumnElement[bool]) -> None:
    """Have a sweep go on from where it is, once others had their turn."""
    with ctx.store.write() as connection:
        connection.execute(accounts.update().where(ours).values(claimed_until=None))
        queries.sweep_now(connection, ours, ctx.now())
    ctx.notify("poll")


def _wait(ctx: AppContext, account: Account, state: Row[Any], page: Page, began: str) -> None:
    """Have a sweep go on by its cursor when its answer may be there. Nobody failed, and nothing came."""
    assert page.not_yet is not None
    with ctx.store.write() as connection:
        business = ctx.now()
        values = {
            "cursor": page.next_cursor, "sweep_from": began, "claimed_until": None, "answered_at": business,
            "next_sweep_at": business + page.not_yet.after,
        }  # fmt: skip
        if connection.execute(accounts.update().where(_ours(state)).values(**values)).rowcount:
            backoff.sweep_answers(connection, account, business)
            crash_at("sweep_before_commit")
    ctx.log.info("sweep_waits", store=account.name, reason=page.not_yet.why, cursor=page.next_cursor)


def _at_its_end(
    connection: Connection, account: Account, told: _Told, asked: datetime, business: datetime, *, first: bool
) -> dict[str, Any]:
    """Note that a store told all that it has: it answers, and its lists come to their end. Returns what its row says now."""
    backoff.sweep_answers(connection, account, business)
    over = sa.and_(findings.c.subject == _subject(account), findings.c.kind == FindingKind.SWEEP_ENDED)
    queries.close_findings(connection, over, business, "sweep", "a sweep came to its end")
    values = {"sweep_from": None, "pages": told.kept[-KEPT_PAGES:], "swept_at": asked}
    return values | {"synced_at": business} if first else values


def _said(ctx: AppContext, account: Account, page: Page) -> Sequence[Any]:
    """Return what a page says; of one that cannot be read, nothing. Stage A reads it again, and tells what it could not read.

    Raises BadPayload for a page of a feed that cannot be read at all: an error body with a good status, or a new shape. Its cursor
    must not be taken: the parcels in it are asked about instead (`feeds`), until it can be read.
    """
    try:
        with ctx.leases.reading():
            return list(account.source.normalize(Payload(account.name, "sweep", page.parts, ctx.now())))
    except BadPayload:
        if account.has_feed:
            raise
        return ()
    except Exception as error:  # whatever it is: stage A meets it again, where one row's trouble is that row's
        if account.has_feed:
            raise BadPayload("$", f"a page of the feed cannot be read: {type(error).__name__}") from None
        return ()


def _subject(account: Account) -> str:
    return f"{'store' if account.is_store else 'account'}/{account.name}"


def _is_new(
    connection: Connection,
    account: Account,
    page: Page,
    items: Sequence[Any],
    told: _Told,
    before: Sequence[str],
    asked_at: datetime,
) -> bool:
    """Say whether a page must be stored: not when it was just now, and not when all that it says is known already.

    Orders are compared with what is stored of them. Of anything else (change notices, checkouts, what cannot be read, nothing) it is
    the bytes of the sweep before that must be the same.
    """
    hashed = hashlib.sha256(b"\0".join(page.parts)).hexdigest()[:16]
    told.kept.append(hashed)
    read = [item for item in items if isinstance(item, Order)]
    plain = bool(read) and len(read) == len(items)
    key = hash(tuple(items)) if plain else hash(hashed)
    if key in told.pages:
        return False
    told.pages.add(key)
    if not plain and hashed not in before:
        return True
    return not _known(connection, account, read, asked_at)


def _known(connection: Connection, account: Account, read: Sequence[Order], asked_at: datetime) -> bool:
    """Say whether orders are stored as they were read; they count as read again then, as stage A would count it."""
    if not read:
        return True
    refs = [order.ref for order in read]
    o = orders.c
    here = sa.and_(o.store == account.name, queries.among(connection, o.ref, refs))
    rows = connection.execute(queries.locked(connection, sa.select(orders).where(here).order_by(o.id))).all()
    known = {row.ref: row for row in rows}
    for order in read:
        row = known.get(order.ref)
        if row is None or row.gone_at is not None:
            return False
        if dump_order(as_taken(order, row)) != row.facts:
            return False
    f, ids = findings.c, [row.id for row in rows]
    wrong = sa.and_(
        f.kind == FindingKind.ORDER_TIME_WRONG, f.closed_at.is_(None), queries.among(connection, f.order_id, ids)
    )
    if connection.execute(sa.select(f.id).where(wrong).limit(1)).first():
        return False  # time alone mends that: stage A looks again
    ids = [row.id for row in rows if row.read_at < asked_at]
    connection.execute(orders.update().where(queries.among(connection, o.id, ids)).values(read_at=asked_at))
    return True


def _tell_circles(
    ctx: AppContext, connection: Connection, account: Account, told: _Told, cursor: str | None, business: datetime
) -> None:
    evidence = {
        "store" if account.is_store else "account": account.name, "why": told.circles, "page": str(told.count), "cursor": (cursor or "the beginning")[:100],
    }  # fmt: skip
    finding = Finding(
        FindingKind.SWEEP_ENDED, _subject(account), Severity.WARNING, Act.ACT, evidence,
        proposal="what was read is stored; what is behind this page comes by hooks or polls only until the list ends",
    )  # fmt: skip
    tell.report_findings(ctx, connection, [(None, finding)], business, by="sweep")
    ctx.log.warning("sweep_ended", account=account.name, reason=told.circles, pages=told.count)
