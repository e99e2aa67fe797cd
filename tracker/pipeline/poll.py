"""The poll queue: ask carriers about parcels, register them, re-read hinted orders, sweep stores.

All four follow one shape: T1 claims and commits, the network is asked in between, T2 stores what came, fenced. A
tracking, re-read or sweep is never dead: it only gets its next time.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.cadence import next_poll
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    SourceError,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Edd, Finding, Page, Parcel, Parcels, Payload, Refs, Registered, Summary, Unread
from tracker.domain.vocabulary import Act, FindingKind, Severity, TrackingState
from tracker.pipeline import gone, rests, sweep, tell, unread
from tracker.pipeline.covered import UNIDENTIFIED
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.world import World
from tracker.plugin.contracts import holding, segment
from tracker.store import queries
from tracker.store.codec import SUMMARY
from tracker.store.engine import database_now
from tracker.store.tables import (
    accounts,
    fulfilment_shipments,
    fulfilments,
    orders,
    rereads,
    shipments,
    trackings,
)

RENEW_BEFORE = timedelta(days=1)
MOST_CALLS = 64
REFS_A_CALL = 50
NEVER_FOUND = (
    "see in the shop whether it was deleted at once, or the key may not read it; the next hook or sweep reads it"
)
_OF_THE_ACCOUNT = (RateLimited, Unavailable, CredentialsRejected)  # what no single order can be the cause of
UNREADABLE_AGAIN = timedelta(hours=1)  # an order that a shop refuses to tell
LONG_TRIED, LATELY = 9, timedelta(minutes=15)  # so many tries take a quarter of an hour


@dataclass
class _Call:
    """One call: the rows it is for, and what came of it."""

    account: Account
    rows: Sequence[Row[Any]]
    ask: Callable[[], Any]
    result: Any = None
    error: SourceError | None = None


def run(world: World) -> int:
    """Do one round of everything that is due. Returns how many calls were made."""
    with world.store.write() as connection:
        now, business = database_now(connection), world.now()
        ready = _ready(world, connection, now, business)
        polls = _claim_polls(world, connection, ready, now, business)
        registrations = _claim_registrations(world, connection, ready, now, business)
        reads = _claim_rereads(world, connection, ready, now, business)
        sweeps = sweep.claim(world, connection, ready, now, business)
    calls = polls + registrations + reads
    if not calls and not sweeps:
        return 0
    crash_at("poll_claimed")
    down: set[str] = set()
    sweeping = [world.pool.submit(sweep.work, world, account, row) for account, row in sweeps]
    watched = {row.id: row.attempts + 1 for call in polls + registrations for row in call.rows}
    reread = {row.id: row.attempts + 1 for call in reads for row in call.rows}
    with world.held.holding(trackings, watched), world.held.holding(rereads, reread):
        list(world.pool.map(lambda call: _make(call, down), calls))
        crash_at("poll_after_call")
        if calls:
            _store(world, polls, registrations, reads, ready, now, business)
    crash_at("poll_after_commit")
    for done in sweeping:
        done.result()
    world.ring("inbox")
    return len(calls) + len(sweeps)


def _make(call: _Call, down: set[str]) -> None:
    """Ask. An account whose wire failed in this round is not asked again in it: its time-outs would hold up the others."""
    if call.account.name in down:
        call.error = Transient("another call of this round failed")
        return
    try:
        call.result = call.ask()
        if isinstance(call.result, _Read) and (error := call.result.error) is not None:
            if isinstance(error, NotFound) or (call.result.pages and not isinstance(error, _OF_THE_ACCOUNT)):
                return  # the shop answers: what it did not tell is told by the reads themselves
            raise error
    except Transient as error:
        down.add(call.account.name)
        call.error = error
    except SourceError as error:
        call.error = error
    except Exception as error:  # a plugin's bug must not stop the others' polls
        call.error = SourceError(type(error).__name__)


def _ready(world: World, connection: Connection, now: datetime, business: datetime) -> dict[str, Row[Any]]:
    """Return the accounts that may be asked now."""
    rows = connection.execute(sa.select(accounts))
    return {
        row.name: row
        for row in rows
        if row.name in world.config.accounts
        and row.parked_reason is None
        and not (row.blocked_until and row.blocked_until > now)
        and not (row.rests_until and row.rests_until > business)
    }


def _take_budget(connection: Connection, account: Account, state: Row[Any], wanted: int, business: datetime) -> int:
    """Take calls from the account's budget; returns how many it gives."""
    if account.budget is None:
        return wanted
    left, resets = state.budget_left, state.budget_resets_at
    if left is None or resets is None or resets <= business:
        left, resets = account.budget.calls, business + account.budget.per
    given = min(wanted, left)
    connection.execute(
        accounts.update()
        .where(accounts.c.name == account.name)
        .values(budget_left=left - given, budget_resets_at=resets)
    )
    return int(given)


def _parcel(row: Row[Any]) -> Parcel:
    carrier = None if row.carrier.startswith(UNIDENTIFIED) else row.carrier
    return Parcel(carrier, row.number, their_ref=row.their_ref)


def _due_trackings(
    connection: Connection, names: Iterable[str], column: sa.Column[Any], limit: int, now: datetime, business: datetime
) -> Sequence[Row[Any]]:
    due = (
        sa.select(trackings.c.id)
        .where(
            column <= business,
            sa.or_(trackings.c.claimed_until.is_(None), trackings.c.claimed_until < now),
            trackings.c.account.in_(list(names)),
        )
        .order_by(column, trackings.c.id)
        .limit(limit)
    )
    ids = list(queries.oldest(connection, queries.skip_locked(connection, due)).scalars())
    if not ids:
        return ()
    return connection.execute(
        sa.select(trackings, shipments.c.carrier, shipments.c.number)
        .join(shipments, shipments.c.id == trackings.c.shipment_id)
        .where(trackings.c.id.in_(ids))
        .order_by(trackings.c.account, trackings.c.id)
    ).all()


def _hold(connection: Connection, table: sa.Table, rows: Sequence[Row[Any]], now: datetime) -> None:
    if rows:
        connection.execute(
            table.update()
            .where(table.c.id.in_([row.id for row in rows]))
            .values(attempts=table.c.attempts + 1, claimed_until=now + queries.LEASE)
        )


def _chunks(rows: Sequence[Row[Any]], size: int) -> Iterable[Sequence[Row[Any]]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _claim_polls(
    world: World, connection: Connection, ready: dict[str, Row[Any]], now: datetime, business: datetime
) -> list[_Call]:
    names = [name for name in ready if not world.config.accounts[name].is_store]
    rows = _due_trackings(connection, names, trackings.c.next_poll_at, MOST_CALLS * 4, now, business)
    by_account: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_account[row.account].append(row)
    calls: list[_Call] = []
    for name, mine in by_account.items():
        account = world.config.accounts[name]
        chunks = list(_chunks(mine, account.carrier.batch))[: MOST_CALLS - len(calls)]
        given = _take_budget(connection, account, ready[name], len(chunks), business)
        for chunk in chunks[:given]:
            calls.append(_poll_call(world, account, chunk))
        if given < len(chunks) and account.budget is not None:  # spent: wait for the next budget, ask nobody in vain
            rest = [row.id for chunk in chunks[given:] for row in chunk]
            later = business + account.budget.per / 8
            since = sa.func.coalesce(trackings.c.overdue_since, trackings.c.next_poll_at)
            spent = trackings.update().where(trackings.c.id.in_(rest))
            connection.execute(spent.values(next_poll_at=later, overdue_since=since))
    _hold(connection, trackings, [row for call in calls for row in call.rows], now)
    return calls


def _poll_call(world: World, account: Account, rows: Sequence[Row[Any]]) -> _Call:
    ask = Parcels(tuple(_parcel(row) for row in rows))
    return _Call(account, rows, lambda: _look(world, account, ask))


def _look(world: World, account: Account, ask: Parcels) -> list[Page]:
    """Ask a carrier. Raises Transient where an answer does not hold what every answer holds: an error with a good status."""
    pages = list(account.carrier.fetch(world.client(account), ask))
    for page in pages:
        for part in page.parts:
            holding(part, *account.carrier.answer_keys)
    return pages


def _claim_registrations(
    world: World, connection: Connection, ready: dict[str, Row[Any]], now: datetime, business: datetime
) -> list[_Call]:
    names = [n for n in ready if not world.config.accounts[n].is_store and world.config.accounts[n].carrier.registers]
    rows = _due_trackings(connection, names, trackings.c.register_at, MOST_CALLS, now, business)
    by_account: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_account[row.account].append(row)
    calls = [
        _register_call(world, world.config.accounts[name], chunk)
        for name, mine in by_account.items()
        for chunk in _chunks(mine, world.config.accounts[name].carrier.register_batch)
    ]
    _hold(connection, trackings, rows, now)
    return calls


def _register_call(world: World, account: Account, rows: Sequence[Row[Any]]) -> _Call:
    ask = Parcels(tuple(_parcel(row) for row in rows))
    return _Call(account, rows, lambda: account.carrier.register(world.client(account), ask))


def _claim_rereads(
    world: World, connection: Connection, ready: dict[str, Row[Any]], now: datetime, business: datetime
) -> list[_Call]:
    due = (
        sa.select(rereads)
        .where(
            rereads.c.due_at <= now,
            sa.or_(rereads.c.not_before.is_(None), rereads.c.not_before <= business),
            sa.or_(rereads.c.claimed_until.is_(None), rereads.c.claimed_until < now),
            rereads.c.account.in_(list(ready)),
        )
        .order_by(rereads.c.due_at, rereads.c.id)
        .limit(REFS_A_CALL * 4)
    )
    rows = queries.oldest(connection, queries.skip_locked(connection, due)).all()
    _hold(connection, rereads, rows, now)
    by_account: dict[str, list[Row[Any]]] = defaultdict(list)
    calls = []
    for row in rows:
        if row.error is None:
            by_account[row.account].append(row)
        else:  # alone: it takes no other's read with it
            calls.append(_read_call(world, world.config.accounts[row.account], [row]))
    for name, mine in by_account.items():
        calls += [_read_call(world, world.config.accounts[name], chunk) for chunk in _chunks(mine, REFS_A_CALL)]
    return calls


def _read_call(world: World, account: Account, rows: Sequence[Row[Any]]) -> _Call:
    ask = Refs(tuple(row.ref for row in rows))
    if account.is_store:
        return _Call(account, rows, lambda: _read(world, account, ask))
    return _Call(account, rows, lambda: account.carrier.register(world.client(account), ask))


@dataclass
class _Read:
    """Orders as they were read, and which of them these were (None: nobody can say); `error` is why there are no more."""

    pages: list[Page]
    found: set[str] | None
    error: SourceError | None = None


def _read(world: World, account: Account, ask: Refs) -> _Read:
    found: set[str] = set()
    read = _Read([], found)
    try:
        for page in account.source.fetch(world.client(account), ask):
            read.pages.append(page)
    except SourceError as error:
        read.error = error
    try:
        with world.held.reading():
            for page in read.pages:
                for item in account.source.normalize(Payload(account.name, "read", page.parts, world.now())):
                    ref = item.subject if isinstance(item, Unread) else getattr(item, "ref", "")
                    if not ref:
                        read.found = None
                        return read
                    found.add(ref)
    except Exception:  # stage A meets it again, where one row's trouble is that row's
        read.found = None
    return read


def _store(
    world: World,
    polls: Sequence[_Call],
    registrations: Sequence[_Call],
    reads: Sequence[_Call],
    ready: dict[str, Row[Any]],
    asked_at: datetime,
    asked_business: datetime,
) -> None:
    """T2 of polls, registrations and re-reads.

    `asked_at` (database) and `asked_business` are the claim's time: before the question was put. A poll's payload counts
    as received then, so that what was told meanwhile is newer than it.
    """
    with world.store.write() as connection:
        now, business = database_now(connection), world.now()
        for call in polls:
            _store_poll(world, connection, call, now, business, (asked_at, asked_business))
        for call in registrations:
            _store_registration(world, connection, call, business)
        for call in reads:
            _store_reads(world, connection, call, now, business, asked_at)
        heard: dict[str, list[_Call]] = defaultdict(list)
        for call in (*polls, *registrations, *reads):
            heard[call.account.name].append(call)
        for name, mine in sorted(heard.items()):  # accounts are locked last, everywhere
            errors, failing = [call.error for call in mine], ready[name].failures is not None
            rests.hear(world, connection, mine[0].account, errors, now, business, failing=failing)


def _fenced(connection: Connection, table: sa.Table, rows: Sequence[Row[Any]]) -> set[int]:
    select = sa.select(table.c.id, table.c.attempts).where(table.c.id.in_([r.id for r in rows])).order_by(table.c.id)
    attempts = {row.id: row.attempts + 1 for row in rows}
    held = connection.execute(queries.locked(connection, select))
    return {row.id for row in held if row.attempts == attempts[row.id]}


def _watched(connection: Connection, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Return the trackings that are still ours, with what is known of their parcels now: news may have come while we asked."""
    ours = _fenced(connection, trackings, rows)
    s = shipments.c
    return connection.execute(
        sa.select(trackings, s.carrier, s.number, s.summary, s.starts_at, s.edd_begins, s.edd_ends)
        .join(shipments, s.id == trackings.c.shipment_id)
        .where(trackings.c.id.in_(ours))
        .order_by(trackings.c.id)
    ).all()


def _next_look(world: World, row: Row[Any], summary: Summary, state: TrackingState, now: datetime) -> datetime | None:
    edd = Edd(row.edd_begins, row.edd_ends) if row.edd_begins and row.edd_ends else None
    return next_poll(summary, state, world.config.cadence, now, number=row.number, began=row.starts_at, edd=edd)


def _store_poll(
    world: World,
    connection: Connection,
    call: _Call,
    now: datetime,
    business: datetime,
    asked: tuple[datetime, datetime],
) -> None:
    rows = _watched(connection, call.rows)
    pages: list[Page] = call.result or []
    hashed = hashlib.sha256(b"\0".join(part for page in pages for part in page.parts)).hexdigest()
    if pages and any(row.answer_hash != hashed for row in rows):
        queries.store_payloads(
            connection,
            [
                queries.payload_row(call.account.name, "poll", page.parts, asked[1], now, asked_at=asked[0])
                for page in pages
            ],
        )
    updates, changed = [], []
    for row in rows:
        summary = SUMMARY.validate_python(row.summary)
        state = TrackingState(row.tracking_state)
        failures = 0
        if isinstance(call.error, NotFound | Refused) and not summary.scans:
            state = TrackingState.NOT_FOUND if isinstance(call.error, NotFound) else TrackingState.ERROR
            if not _askable(row.number):
                state = TrackingState.INVALID_NUMBER  # nobody was asked, and never will be
        elif call.error is not None:
            failures = row.failures + 1
        if state != row.tracking_state:
            changed.append(row.shipment_id)
        at = _next_look(world, row, summary, state, business)
        if failures:
            at = min(filter(None, (at, business + queries.backoff(failures + 4))))
        updates.append(
            {
                "b_id": row.id,
                "claimed_until": None,
                "checked_at": row.checked_at if failures else business,
                "looked_since": row.looked_since or (None if failures else business),
                "overdue_since": (row.overdue_since or row.next_poll_at or business) if failures else None,
                "next_poll_at": at,
                "tracking_state": state,
                "failures": failures,
                "answer_hash": hashed if pages else row.answer_hash,
            }
        )
    queries.change(connection, trackings, updates)
    if changed:  # no payload tells it: that the carrier does not know a number is news of its order
        touched = queries.orders_of(connection, changed)
        connection.execute(orders.update().where(orders.c.id.in_(touched)).values(reconcile_at=business))
        world.ring("reconcile")


def _askable(number: str) -> bool:
    """Say whether a number can be part of an address at all: `.` and `..` cannot."""
    try:
        return bool(segment(number))
    except Refused:
        return False


def _store_registration(world: World, connection: Connection, call: _Call, business: datetime) -> None:
    answers: dict[str, Registered] = {answer.number: answer for answer in call.result or ()}
    for row in _watched(connection, call.rows):
        answer = answers.get(row.number)
        values: dict[str, Any] = {"claimed_until": None}
        refused = answer.refused if answer else None
        if isinstance(call.error, Refused | NotFound | BadPayload):
            refused = str(call.error)
        if refused is not None:
            values |= {"rejected_reason": refused[:200], "register_at": None}
            _registration_refused(world, connection, call.account, row, refused, business)
        elif answer is None:
            values["register_at"] = business + queries.backoff(min(row.attempts, 10) + 4)
        else:
            ended = SUMMARY.validate_python(row.summary).status.terminal
            renew = answer.until - RENEW_BEFORE if answer.until and not ended else None
            values |= {
                "registered_at": business, "registered_until": answer.until, "register_at": renew,
                "their_ref": answer.their_ref or row.their_ref, "rejected_reason": None,
            }  # fmt: skip
        connection.execute(trackings.update().where(trackings.c.id == row.id).values(**values))


def _registration_refused(
    world: World, connection: Connection, account: Account, row: Row[Any], said: str, business: datetime
) -> None:
    linked = connection.execute(
        sa.select(orders.c.id, orders.c.number)
        .join(fulfilments, fulfilments.c.order_id == orders.c.id)
        .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
        .where(fulfilment_shipments.c.shipment_id == row.shipment_id)
        .limit(1)
    ).one_or_none()
    finding = Finding(
        FindingKind.REGISTRATION_REFUSED, f"{account.name}/{row.carrier}/{row.number}", Severity.INFO, Act.MONITOR,
        {"account": account.name, "parcel": f"{row.carrier} {row.number}", "order": linked.number if linked else "",
         "said": said[:200]},
    )  # fmt: skip
    tell.open_findings(world, connection, [(linked.id if linked else None, finding)], business, by="registration")
    world.count("tracker_registrations_refused_total", account=account.name)


def _store_reads(
    world: World, connection: Connection, call: _Call, now: datetime, business: datetime, asked_at: datetime
) -> None:
    """T2 of re-reads: keep what was read, look once more for what was not there, put off what could not be read."""
    account = call.account
    if not account.is_store:
        _store_handshakes(connection, call, now)
        return
    read = call.result or _Read([], set(), call.error)
    error, found = read.error, read.found
    if isinstance(error, NotFound) and len(call.rows) == 1:
        error = None  # said of the one order that was asked about
    missing = {row.ref for row in call.rows if error is None and found is not None and row.ref not in found}
    left = {row.ref for row in call.rows if error is not None and row.ref not in (found or ())}
    doubted = [row.ref for row in call.rows if row.ref in missing or (row.missed_at and row.ref not in left)]
    known = gone.locked(connection, account.name, doubted) if doubted else {}
    ours = _fenced(connection, rereads, call.rows)
    queries.store_payloads(
        connection,
        [
            queries.payload_row(account.name, "read", page.parts, business, now, asked_at=asked_at)
            for page in read.pages
        ],
    )
    for row in call.rows:
        if row.id not in ours:
            continue
        order = known.get(row.ref)
        if error is not None and row.ref in left:
            _put_off(world, connection, call, row, error, now, business)
        elif row.ref in missing and not _is_gone(connection, account, row, read, business):
            connection.execute(
                rereads.update()
                .where(rereads.c.id == row.id)
                .values(claimed_until=None, missed_at=row.missed_at or business, not_before=business + gone.LOOK_AGAIN)
            )
        else:
            was_told = row.ref in missing and unread.left(connection, account.name, row.ref, business)
            if order is not None and row.ref in missing:
                gone.leave(world, connection, account, order, business)
            elif order is not None:
                gone.found(connection, order, business)
            elif row.ref in missing and not was_told:
                said = f"a hook named it, and two reads did not find it, the first at {row.missed_at:%Y-%m-%d %H:%M}Z"
                _unreadable(world, connection, account, row, said, business, NEVER_FOUND)
            _done(connection, row)


def _is_gone(connection: Connection, account: Account, row: Row[Any], read: _Read, business: datetime) -> bool:
    """Say whether an order that was not found now was not found before either, while the shop told of others."""
    since: datetime | None = row.missed_at
    if since is None or business - since < gone.APART:
        return False
    return bool(read.found) or gone.answers_since(connection, account.name, since)


def _put_off(
    world: World,
    connection: Connection,
    call: _Call,
    row: Row[Any],
    error: SourceError,
    now: datetime,
    business: datetime,
) -> None:
    """Have a re-read that failed asked again.

    What a shop refuses, or what cannot be read, may be one order's fault: each is asked alone then, and told.
    """
    values: dict[str, Any] = {"claimed_until": None, "due_at": now + queries.backoff(row.attempts + 1)}
    if isinstance(error, Unavailable):
        values["due_at"] = now  # its account rests
    elif not isinstance(error, Transient | CredentialsRejected):
        values |= {"error": str(error)[:200], "due_at": now}
        if len(call.rows) == 1:
            values["not_before"] = business + UNREADABLE_AGAIN
            _unreadable(world, connection, call.account, row, str(error), business)
    elif call.result is not None and call.result.pages:
        values["error"] = str(error)[:200]  # others were read: it alone was not
    elif isinstance(error, Transient) and row.attempts >= LONG_TRIED:
        if gone.answers_since(connection, call.account.name, business - LATELY):  # it fails alone
            values["not_before"] = business + UNREADABLE_AGAIN
            _unreadable(world, connection, call.account, row, str(error), business)
    connection.execute(rereads.update().where(rereads.c.id == row.id).values(**values))


def _store_handshakes(connection: Connection, call: _Call, now: datetime) -> None:
    ours = _fenced(connection, rereads, call.rows)
    for row in call.rows:
        if row.id in ours and (call.error is None or isinstance(call.error, NotFound | Refused)):
            _done(connection, row)
        elif row.id in ours:
            due = now if isinstance(call.error, Unavailable) else now + queries.backoff(row.attempts + 1)
            connection.execute(rereads.update().where(rereads.c.id == row.id).values(claimed_until=None, due_at=due))


def _done(connection: Connection, row: Row[Any]) -> None:
    """End a re-read; a hint that came meanwhile keeps its row."""
    r = rereads.c
    if not connection.execute(rereads.delete().where(r.id == row.id, r.hinted_at == row.hinted_at)).rowcount:
        values = {"claimed_until": None, "error": None, "missed_at": None, "not_before": None}
        connection.execute(rereads.update().where(r.id == row.id).values(**values))


def _unreadable(
    world: World,
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
    tell.open_findings(world, connection, [(known.id if known else None, finding)], business, by="read")
