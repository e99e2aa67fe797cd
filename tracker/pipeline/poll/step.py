"""The poll queue: ask carriers about parcels, register them, read changed orders again, sweep stores, audit hooks.

All four follow one shape: T1 claims and commits, the network is asked in between, T2 stores what came, fenced. A
watch, change notice or sweep is never dead: it only gets its next time. No call waits for another's answer.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.cadence import is_urgent, next_poll
from tracker.domain.errors import (
    BudgetSpent,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    SourceError,
    Unavailable,
)
from tracker.domain.facts import Edd, Page, Summary
from tracker.domain.vocabulary import TrackingState
from tracker.pipeline import backoff, feeds, keys, proofs, registration, whose
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.places import GaveWay, Place, Work
from tracker.pipeline.poll import changed, due, hooks, registering, resends, sweep
from tracker.pipeline.poll.calls import POLL, READ, REGISTRATION, Call, fenced, release
from tracker.plugin.calls import segment
from tracker.store import queries
from tracker.store.codec import SUMMARY, plain
from tracker.store.engine import database_now
from tracker.store.tables import (
    orders,
    shipments,
    watches,
)

_OF_THE_ACCOUNT = (RateLimited, Unavailable, CredentialsRejected)  # what no single order can be the cause of


def run(ctx: AppContext) -> int:
    """Do one round of what is due and wait for it, for who works queues by hand. Returns how many calls were made."""
    calls, alone = _claim(ctx)
    begun = [ctx.places.start(place, work) for place, work in alone]
    with ExitStack() as held:
        for call in calls:
            held.enter_context(_holding(ctx, call))
            begun.append(ctx.places.start(_place(call), partial(_make, call)))
        for done in begun[len(alone) :]:
            done.result()
        crash_at("poll_after_call")
        if calls:
            _store(ctx, calls)
    if calls or alone:
        crash_at("poll_after_commit")
    for done in begun[: len(alone)]:
        done.result()
    if calls or alone:
        ctx.notify("ingest")
    return len(calls) + len(alone)


def begin(ctx: AppContext) -> int:
    """Begin what is due, as much as there are places for; nobody waits for it. Returns how many calls were begun.

    Who made a call stores it, with all that ended meanwhile; then whoever waited for a place is claimed.
    """
    calls, alone = _claim(ctx)
    for place, work in alone:
        ctx.places.start(place, work, partial(_wake, ctx))
    for call in calls:
        held = _holding(ctx, call)
        held.__enter__()
        ctx.places.start(_place(call), partial(_make, call), partial(_ended, ctx, call, held))
    return len(calls) + len(alone)


def _place(call: Call) -> Place:
    assert call.place is not None
    return call.place


def _claim(ctx: AppContext) -> tuple[list[Call], list[tuple[Place, Work]]]:
    """T1: claim what there is room for: re-reads first, which somebody waits for, and sweeps last, with keys and hooks that are due.

    Sweeps, keys, hooks and what is told again store alone what they learn.
    """
    with ctx.places.reserving() as room, ctx.store.write() as connection:
        now, business = database_now(connection), ctx.now()
        ready, _ = due.look(ctx, connection, now, business)
        room.failing = frozenset(name for name, one in ready.items() if one.row.failures is not None)
        calls = changed.claim_notices(ctx, connection, ready, room, now, business)
        calls += due.claim_polls(ctx, connection, ready, room, now, business)
        sweeps = sweep.claim_sweeps(connection, ready, room, now, business)
        alone: list[tuple[Place, Work]] = [
            (place, partial(sweep.work, ctx, account, state)) for account, state, place in sweeps
        ]
        alone += _for("keys", keys.claim(ctx, connection, ready.values(), room, now))
        again = resends.claim(connection, ready, room, now, business)
        alone += _for("resend", [(place, partial(resends.work, ctx, account, row)) for account, row, place in again])
        wanted = proofs.claim(connection, ready, room, now, business)
        alone += _for("proof", [(place, partial(proofs.work, ctx, account, row)) for account, row, place in wanted])
        alone += _for("hooks", hooks.claim_audits(ctx, connection, ready, room, business))
    for call in calls:
        call.asked, call.failing = (now, business), call.account.name in room.failing
        if call.kind == REGISTRATION:
            _place(call).what = "register"
    if calls or alone:
        crash_at("poll_claimed")
    return calls, alone


def _for(what: str, begun: Iterable[tuple[Place, Work]]) -> Iterator[tuple[Place, Work]]:
    """Note what the calls of some works are for, as metrics tell it."""
    for place, work in begun:
        place.what = what
        yield place, work


def _holding(ctx: AppContext, call: Call) -> AbstractContextManager[None]:
    return ctx.leases.holding(call.table, {row.id: row.attempts + 1 for row in call.rows})


def _choose_anew(ctx: AppContext, calls: Sequence[Call], refused: set[int], business: datetime) -> None:
    """Have others asked about what who was asked does not know, does not take, or cannot be asked about any more."""
    late = refused | {
        row.shipment_id
        for call in calls
        if call.kind == POLL
        for row in call.rows
        if (state := _refusal(call.error) or _as_before(call, row))
        and whose.does_not_know(ctx.config, row.carrier, row.store, state, row.starts_at, business)
    }
    whose.choose_anew(ctx, late)
    if any(isinstance(call.error, CredentialsRejected) and not call.account.is_store for call in calls):
        whose.settle(ctx)


def _as_before(call: Call, row: Row[Any]) -> str | None:
    """Return what was known of a parcel, where an answer says the same again: nothing is stored, so nobody else reads it."""
    same = call.error is None and call.result and row.response_hash == _hashed(call.result)
    return row.tracking_state if same else None


def _hashed(pages: Sequence[Page]) -> str:
    return hashlib.sha256(b"\0".join(part for page in pages for part in page.parts)).hexdigest()


def _refusal(error: SourceError | None) -> TrackingState | None:
    """Return what an error says of a parcel; None where it says nothing of it."""
    if isinstance(error, NotFound):
        return TrackingState.NOT_FOUND
    return TrackingState.ERROR if isinstance(error, Refused) else None


def _make(call: Call) -> SourceError | None:
    """Ask. Returns what it says of the account, where it is no answer."""
    try:
        call.result = call.ask()
        if isinstance(call.result, changed.Read) and (error := call.result.error) is not None:
            if isinstance(error, NotFound) or (call.result.pages and not isinstance(error, _OF_THE_ACCOUNT)):
                return None  # the shop answers: what it did not tell is told by the reads themselves
            raise error
    except SourceError as error:
        call.error = error
    except Exception as error:  # a plugin's bug must not stop the others' polls
        call.error = SourceError(type(error).__name__)
    return call.error


def _ended(ctx: AppContext, call: Call, held: AbstractContextManager[None]) -> None:
    """Store a call that ended, and what others ended meanwhile."""
    crash_at("poll_after_call")
    ctx.places.ended.add((call, held), partial(_store_all, ctx))


def _store_all(ctx: AppContext, ended: Sequence[tuple[Call, AbstractContextManager[None]]]) -> None:
    try:
        _store(ctx, [call for call, _ in ended])
        crash_at("poll_after_commit")
    except Exception as error:  # the database may be away: what was asked is asked again once its claims end
        ctx.log.warning("poll_not_stored", calls=len(ended), error=type(error).__name__)
    finally:
        for _, held in ended:
            held.__exit__(None, None, None)
    ctx.notify("ingest")
    _wake(ctx)


def _wake(ctx: AppContext) -> None:
    """Claim again where somebody waited for a place, or for his account's one call."""
    if ctx.places.short():
        ctx.notify("poll")


def _store(ctx: AppContext, calls: Sequence[Call]) -> None:
    """T2 of polls, registrations and re-reads.

    A poll's payload counts as received when it was claimed, before the question was put: what was told meanwhile is newer than it.
    """
    polls, registrations, reads = ([call for call in calls if call.kind == kind] for kind in (POLL, REGISTRATION, READ))
    refused: set[int] = set()
    with ctx.store.write() as connection:
        now, business = database_now(connection), ctx.now()
        _lock(connection, watches, [row.id for call in (*polls, *registrations) for row in call.rows])
        moved: set[int] = set()
        for call in (*polls, *registrations):
            if _learnt_nothing(call):
                release(connection, call)
            elif call.kind == POLL:
                moved |= _store_poll(ctx, connection, call, now, business)
            else:
                kept = registering.store(ctx, connection, call, _watched(connection, call.rows), business)
                moved |= kept.moved
                refused |= kept.refused
        touched = _lock_orders(connection, moved, reads)
        if touched:  # no payload tells it: that the carrier does not know a number is news of its order
            queries.decide_now(connection, queries.among(connection, orders.c.id, touched), business)
            ctx.notify("decide")
        for call in reads:
            if _learnt_nothing(call):
                release(connection, call)
            else:
                changed.store(ctx, connection, call, now, business)
        heard: dict[tuple[bool, str], list[Call]] = defaultdict(list)
        for call in calls:
            if not isinstance(call.error, GaveWay):
                heard[call.account.is_store, call.account.name].append(call)
        for _, mine in sorted(heard.items()):  # accounts are locked last, carriers first, everywhere
            errors, failing = [call.error for call in mine], any(call.failing for call in mine)
            backoff.hear(ctx, connection, mine[0].account, errors, now, business, failing=failing)
            if any(call.kind == REGISTRATION for call in mine):
                registering.keep_quota(ctx, connection, mine[0].account, mine, business)
    _choose_anew(ctx, calls, refused, business)
    registering.put_off(ctx, registrations)


def _learnt_nothing(call: Call) -> bool:
    """Say whether a call gave way, or was not made because its account's budget is spent; pages that came before count."""
    return isinstance(call.error, GaveWay | BudgetSpent) and not getattr(call.result, "pages", None)


def _lock(connection: Connection, table: sa.Table, ids: Sequence[int]) -> None:
    """Lock the rows of a round at once, by id, as everybody locks them: its calls come in any order."""
    if not ids:
        return
    here = queries.among(connection, table.c.id, ids)
    connection.execute(queries.locked(connection, sa.select(table.c.id).where(here).order_by(table.c.id))).all()


def _lock_orders(connection: Connection, shipment_ids: set[int], reads: Sequence[Call]) -> list[int]:
    """Lock the orders of shipments and those that re-reads doubt, all at once. Returns the ids of the first."""
    touched = [row.order_id for row in connection.execute(queries.orders_of(connection, shipment_ids))]
    o, ids = orders.c, set(touched)
    for call in reads:
        if refs := changed.doubted(call):
            here = sa.and_(o.store == call.account.name, queries.among(connection, o.ref, refs))
            ids |= set(connection.execute(sa.select(o.id).where(here)).scalars())
    _lock(connection, orders, sorted(ids))
    return touched


def _watched(connection: Connection, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Return the watches that are still ours, with what is known of their parcels now: news may have come while we asked."""
    ours = fenced(connection, watches, rows)
    s = shipments.c
    return connection.execute(
        sa.select(watches, s.carrier, s.number, s.summary, s.starts_at, s.edd_begins, s.edd_ends)
        .join(shipments, s.id == watches.c.shipment_id)
        .where(watches.c.id.in_(ours))
        .order_by(watches.c.id)
    ).all()


def _next_look(
    ctx: AppContext, row: Row[Any], summary: Summary, state: TrackingState, now: datetime, *, fed: bool
) -> tuple[datetime | None, bool]:
    """Return when to ask again, and whether before others; never where another account was chosen meanwhile.

    `fed`: a feed that is whole tells what becomes of the parcel.
    """
    if row.chosen is None:
        return None, False
    edd = Edd(row.edd_begins, row.edd_ends) if row.edd_begins and row.edd_ends else None
    cadence = ctx.config.cadence(row.account, row.carrier)
    at = next_poll(summary, state, cadence, now, number=row.number, began=row.starts_at, edd=edd, fed=fed)
    return at, is_urgent(summary, cadence, now, edd=edd, fed=fed)


def _store_poll(
    ctx: AppContext,
    connection: Connection,
    call: Call,
    now: datetime,
    business: datetime,
) -> set[int]:
    """Keep what a poll brought. Returns the shipments of which it is news that their carrier does not know them, or does."""
    rows, asked = _watched(connection, call.rows), call.asked
    pages: list[Page] = call.result or []
    hashed = _hashed(pages)
    carrier = call.account.carrier
    if pages and any(row.response_hash != hashed or registration.settled(carrier, row, business) for row in rows):
        queries.store_payloads(
            connection,
            [
                queries.payload_row(call.account.name, "poll", page.parts, asked[1], now, asked_at=asked[0])
                for page in pages
            ],
        )
    updates, moved = [], set()
    _observe(ctx, call, rows, business)
    spared = _spared(ctx, connection, call.account.name, rows, hashed if pages else None, business)
    for row in rows:
        summary = SUMMARY.validate_python(row.summary)
        state = TrackingState(row.tracking_state)
        failures, said = 0, row.said if call.error is not None or state is not TrackingState.ACTIVE else None
        if (refusal := _refusal(call.error)) is not None and not (summary.scans and row.as_of):  # it never told of it
            state = refusal
            if state is TrackingState.NOT_FOUND and registration.settles(carrier, row.registered_at, business):
                state = TrackingState.PENDING  # it asks its carrier first
            if not _askable(row.number):
                state = TrackingState.INVALID_NUMBER  # nobody was asked, and never will be
        elif call.error is not None:
            failures = row.failures + 1
        if refusal is not None:
            said = (plain(str(call.error)) or None) if refusal is TrackingState.ERROR else None
        if state != row.tracking_state:
            moved.add(row.shipment_id)
        at, urgent = _next_look(ctx, row, summary, state, business, fed=row.id in spared)
        if failures and row.chosen is not None:
            at = min(filter(None, (at, business + queries.backoff(failures + 4))))
        updates.append(
            {
                "b_id": row.id,
                "claimed_until": None,
                "checked_at": row.checked_at if failures else business,
                "looked_since": row.looked_since or (None if failures else business),
                "overdue_since": (row.overdue_since or row.next_poll_at or business) if failures else None,
                "next_poll_at": at,
                "urgent": urgent or bool(failures and row.urgent and row.chosen is not None),
                "tracking_state": state,
                "said": said,
                "failures": failures,
                "response_hash": hashed if pages else row.response_hash,
            }
        )
    queries.change(connection, watches, updates)
    return moved


def _observe(ctx: AppContext, call: Call, rows: Sequence[Row[Any]], business: datetime) -> None:
    """Tell how late parcels were asked about that were told of."""
    for row in rows if call.error is None else ():
        if (since := row.overdue_since or row.next_poll_at) is not None:
            ctx.observe("tracker_look_late_seconds", (business - since).total_seconds(), call.account.name)


def _spared(
    ctx: AppContext, connection: Connection, name: str, rows: Sequence[Row[Any]], hashed: str | None, now: datetime
) -> set[int]:
    """Return the watches that a feed spares: it is whole, told of them, and there is an answer (`hashed`) to what it told last.

    The same answer again explains nothing; what another one tells stage A reads, and asks again where that is not enough.
    """
    told = [row for row in rows if row.fed_at is not None]
    if hashed is None or not told or name not in feeds.whole(ctx, connection, now):
        return set()
    same = [row.shipment_id for row in told if row.response_hash == hashed]
    open_ = feeds.unexplained(connection, same) if same else ()
    return {row.id for row in told if row.shipment_id not in open_}


def _askable(number: str) -> bool:
    """Say whether a number can be part of an address at all: `.` and `..` cannot."""
    try:
        return bool(segment(number))
    except Refused:
        return False
