"""The poll queue: ask carriers about parcels, register them, read changed orders again, sweep stores.

All four follow one shape: T1 claims and commits, the network is asked in between, T2 stores what came, fenced. A
watch, change notice or sweep is never dead: it only gets its next time.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
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
from tracker.domain.facts import Edd, Finding, Page, Registered, Summary
from tracker.domain.vocabulary import Act, FindingKind, Severity, TrackingState
from tracker.pipeline import backoff, tell
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.poll import changed, due, sweep
from tracker.pipeline.poll.calls import Call, fenced
from tracker.plugin.contracts import segment
from tracker.store import queries
from tracker.store.codec import SUMMARY
from tracker.store.engine import database_now
from tracker.store.tables import (
    change_notices,
    fulfilment_shipments,
    fulfilments,
    orders,
    shipments,
    watches,
)

RENEW_BEFORE = timedelta(days=1)
_OF_THE_ACCOUNT = (RateLimited, Unavailable, CredentialsRejected)  # what no single order can be the cause of


def run(ctx: AppContext) -> int:
    """Do one round of everything that is due. Returns how many calls were made."""
    with ctx.store.write() as connection:
        now, business = database_now(connection), ctx.now()
        ready = due.ready_accounts(ctx, connection, now, business)
        polls = due.claim_polls(ctx, connection, ready, now, business)
        registrations = due.claim_registrations(ctx, connection, ready, now, business)
        reads = changed.claim_notices(ctx, connection, ready, now, business)
        sweeps = sweep.claim_sweeps(ctx, connection, ready, now, business)
    calls = polls + registrations + reads
    if not calls and not sweeps:
        return 0
    crash_at("poll_claimed")
    down: set[str] = set()
    sweeping = [ctx.pool.submit(sweep.work, ctx, account, row) for account, row in sweeps]
    watched = {row.id: row.attempts + 1 for call in polls + registrations for row in call.rows}
    noticed = {row.id: row.attempts + 1 for call in reads for row in call.rows}
    with ctx.leases.holding(watches, watched), ctx.leases.holding(change_notices, noticed):
        list(ctx.pool.map(lambda call: _make(call, down), calls))
        crash_at("poll_after_call")
        if calls:
            _store(ctx, polls, registrations, reads, ready, now, business)
    crash_at("poll_after_commit")
    for done in sweeping:
        done.result()
    ctx.notify("ingest")
    return len(calls) + len(sweeps)


def _make(call: Call, down: set[str]) -> None:
    """Ask. An account whose wire failed in this round is not asked again in it: its time-outs would hold up the others."""
    if call.account.name in down:
        call.error = Transient("another call of this round failed")
        return
    try:
        call.result = call.ask()
        if isinstance(call.result, changed.Read) and (error := call.result.error) is not None:
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


def _store(
    ctx: AppContext,
    polls: Sequence[Call],
    registrations: Sequence[Call],
    reads: Sequence[Call],
    ready: dict[str, Row[Any]],
    asked_at: datetime,
    asked_business: datetime,
) -> None:
    """T2 of polls, registrations and re-reads.

    `asked_at` (database) and `asked_business` are the claim's time: before the question was put. A poll's payload counts
    as received then, so that what was told meanwhile is newer than it.
    """
    with ctx.store.write() as connection:
        now, business = database_now(connection), ctx.now()
        _lock(connection, watches, [row.id for call in (*polls, *registrations) for row in call.rows])
        moved: set[int] = set()
        for call in polls:
            moved |= _store_poll(ctx, connection, call, now, business, (asked_at, asked_business))
        for call in registrations:
            _store_registration(ctx, connection, call, business)
        touched = _lock_orders(connection, moved, reads)
        if touched:  # no payload tells it: that the carrier does not know a number is news of its order
            queries.decide_now(connection, queries.among(connection, orders.c.id, touched), business)
            ctx.notify("decide")
        for call in reads:
            changed.store(ctx, connection, call, now, business, asked_at)
        heard: dict[tuple[bool, str], list[Call]] = defaultdict(list)
        for call in (*polls, *registrations, *reads):
            heard[call.account.is_store, call.account.name].append(call)
        for (_, name), mine in sorted(heard.items()):  # accounts are locked last, carriers first, everywhere
            errors, failing = [call.error for call in mine], ready[name].failures is not None
            backoff.hear(ctx, connection, mine[0].account, errors, now, business, failing=failing)


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
    ctx: AppContext, row: Row[Any], summary: Summary, state: TrackingState, now: datetime
) -> datetime | None:
    edd = Edd(row.edd_begins, row.edd_ends) if row.edd_begins and row.edd_ends else None
    return next_poll(summary, state, ctx.config.cadence, now, number=row.number, began=row.starts_at, edd=edd)


def _store_poll(
    ctx: AppContext,
    connection: Connection,
    call: Call,
    now: datetime,
    business: datetime,
    asked: tuple[datetime, datetime],
) -> set[int]:
    """Keep what a poll brought. Returns the shipments of which it is news that their carrier does not know them, or does."""
    rows = _watched(connection, call.rows)
    pages: list[Page] = call.result or []
    hashed = hashlib.sha256(b"\0".join(part for page in pages for part in page.parts)).hexdigest()
    if pages and any(row.response_hash != hashed for row in rows):
        queries.store_payloads(
            connection,
            [
                queries.payload_row(call.account.name, "poll", page.parts, asked[1], now, asked_at=asked[0])
                for page in pages
            ],
        )
    updates, moved = [], set()
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
            moved.add(row.shipment_id)
        at = _next_look(ctx, row, summary, state, business)
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
                "response_hash": hashed if pages else row.response_hash,
            }
        )
    queries.change(connection, watches, updates)
    return moved


def _askable(number: str) -> bool:
    """Say whether a number can be part of an address at all: `.` and `..` cannot."""
    try:
        return bool(segment(number))
    except Refused:
        return False


def _store_registration(ctx: AppContext, connection: Connection, call: Call, business: datetime) -> None:
    answers: dict[str, Registered] = {answer.number: answer for answer in call.result or ()}
    for row in _watched(connection, call.rows):
        answer = answers.get(row.number)
        values: dict[str, Any] = {"claimed_until": None}
        refused = answer.refused if answer else None
        if isinstance(call.error, Refused | NotFound | BadPayload):
            refused = str(call.error)
        if refused is not None:
            values |= {"rejected_reason": refused[:200], "register_at": None}
            _registration_refused(ctx, connection, call.account, row, refused, business)
        elif answer is None:
            values["register_at"] = business + queries.backoff(min(row.attempts, 10) + 4)
        else:
            ended = SUMMARY.validate_python(row.summary).status.terminal
            renew = answer.until - RENEW_BEFORE if answer.until and not ended else None
            values |= {
                "registered_at": business, "registered_until": answer.until, "register_at": renew,
                "their_ref": answer.their_ref or row.their_ref, "rejected_reason": None,
            }  # fmt: skip
        connection.execute(watches.update().where(watches.c.id == row.id).values(**values))


def _registration_refused(
    ctx: AppContext, connection: Connection, account: Account, row: Row[Any], said: str, business: datetime
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
    tell.report_findings(ctx, connection, [(linked.id if linked else None, finding)], business, by="registration")
    ctx.count("tracker_registrations_refused_total", account=account.name)
