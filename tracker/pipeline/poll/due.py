"""Who is asked next: accounts that may be asked now, and of what is due as much as their budgets give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.facts import UNIDENTIFIED, Page, Parcel, Parcels
from tracker.pipeline import budgets
from tracker.pipeline.context import AppContext
from tracker.pipeline.places import POLLS, Place, Room
from tracker.pipeline.poll.calls import POLL, REGISTRATION, Call, chunks, hold
from tracker.plugin.contracts import holding
from tracker.store import queries
from tracker.store.tables import accounts, shipments, watches

MOST_CALLS = 64


def ready_accounts(ctx: AppContext, connection: Connection, now: datetime, business: datetime) -> dict[str, Row[Any]]:
    """Return the accounts that may be asked now, by name: in this order their rows are locked."""
    rows = connection.execute(sa.select(accounts).order_by(accounts.c.name))
    return {
        row.name: row
        for row in rows
        if row.name in ctx.config.accounts
        and row.suspended_reason is None
        and not (row.blocked_until and row.blocked_until > now)
        and not (row.rests_until and row.rests_until > business)
        and ((given := budgets.calls(ctx.config.accounts[row.name], row.spent, business)) is None or given.left)
    }


def _parcel(row: Row[Any]) -> Parcel:
    carrier = None if row.carrier.startswith(UNIDENTIFIED) else row.carrier
    return Parcel(carrier, row.number, their_ref=row.their_ref)


def _due_watches(
    connection: Connection, names: Iterable[str], column: sa.Column[Any], limit: int, now: datetime, business: datetime
) -> Sequence[Row[Any]]:
    due = (
        sa.select(watches.c.id)
        .where(
            column <= business,
            sa.or_(watches.c.claimed_until.is_(None), watches.c.claimed_until < now),
            watches.c.account.in_(list(names)),
        )
        .order_by(column, watches.c.id)
        .limit(limit)
    )
    ids = list(queries.oldest(connection, queries.skip_locked(connection, due)).scalars())
    if not ids:
        return ()
    return connection.execute(
        sa.select(watches, shipments.c.carrier, shipments.c.number, shipments.c.starts_at)
        .join(shipments, shipments.c.id == watches.c.shipment_id)
        .where(watches.c.id.in_(ids))
        .order_by(watches.c.account, watches.c.id)
    ).all()


def claim_polls(
    ctx: AppContext, connection: Connection, ready: dict[str, Row[Any]], room: Room, now: datetime, business: datetime
) -> list[Call]:
    """Claim parcels that are due to be asked about, as many as the budgets of their accounts give."""
    names = [name for name in ready if not ctx.config.accounts[name].is_store and room.left(POLLS, name)]
    rows = _due_watches(connection, names, watches.c.next_poll_at, MOST_CALLS * 4, now, business)
    by_account: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_account[row.account].append(row)
    calls: list[Call] = []
    for name, mine in by_account.items():
        account = ctx.config.accounts[name]
        parts = list(chunks(mine, account.carrier.batch))[: MOST_CALLS - len(calls)]
        places = room.take_all(POLLS, name, len(parts))
        left = budgets.calls(account, ready[name].spent, business)
        given = min(len(places), left.left) if left is not None else len(places)
        calls += [_poll_call(ctx, account, chunk, place) for chunk, place in zip(parts[:given], places, strict=False)]
        room.back(places[given:])
    hold(connection, watches, [row for call in calls for row in call.rows], now)
    return calls


def _poll_call(ctx: AppContext, account: Account, rows: Sequence[Row[Any]], place: Place) -> Call:
    ask = Parcels(tuple(_parcel(row) for row in rows))
    return Call(POLL, account, rows, lambda: _look(ctx, account, ask), place)


def _look(ctx: AppContext, account: Account, ask: Parcels) -> list[Page]:
    """Ask a carrier. Raises Transient where an answer does not hold what every answer holds: an error with a good status."""
    pages = list(account.carrier.fetch(ctx.client(account), ask))
    for page in pages:
        for part in page.parts:
            holding(part, *account.carrier.response_keys)
    return pages


def claim_registrations(
    ctx: AppContext, connection: Connection, ready: dict[str, Row[Any]], room: Room, now: datetime, business: datetime
) -> list[Call]:
    """Claim parcels of which an aggregator shall be told."""
    direct = [name for name in ready if not ctx.config.accounts[name].is_store and room.left(POLLS, name)]
    names = [name for name in direct if ctx.config.accounts[name].carrier.registers]
    rows = _due_watches(connection, names, watches.c.register_at, MOST_CALLS, now, business)
    by_account: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_account[row.account].append(row)
    calls: list[Call] = []
    for name, mine in by_account.items():
        parts = list(chunks(mine, ctx.config.accounts[name].carrier.register_batch))
        for chunk, place in zip(parts, room.take_all(POLLS, name, len(parts)), strict=False):
            calls.append(_register_call(ctx, ctx.config.accounts[name], chunk, place))
    hold(connection, watches, [row for call in calls for row in call.rows], now)
    return calls


def _register_call(ctx: AppContext, account: Account, rows: Sequence[Row[Any]], place: Place) -> Call:
    ask = Parcels(tuple(_parcel(row) for row in rows))
    return Call(REGISTRATION, account, rows, lambda: account.carrier.register(ctx.client(account), ask), place)
