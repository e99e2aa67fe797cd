"""What shall be looked at now, not when its time comes: a parcel, an order, a store. The only calls that say "now".

All moments are business time. Who calls notifies the queue: `poll` for parcels and sweeps, `decide` for orders. An order that
shall be read again is a change notice (`change_notices.note_changes`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.domain.vocabulary import TrackingState
from tracker.store.queries.dialect import in_order
from tracker.store.tables import accounts, orders, watches


def poll_now(connection: Connection, which: sa.ColumnElement[bool], now: datetime, *, urgent: bool) -> int:
    """Have carriers asked at once about some watches; `urgent`: before others. Returns how many.

    Left alone is what nobody asks about any more, what is due already (it may become urgent), and what was asked about at
    this very moment.
    """
    t = watches.c
    just_asked = sa.and_(t.checked_at.isnot(None), t.checked_at >= now)
    waits = t.next_poll_at > now
    if urgent:
        waits = sa.or_(waits, sa.and_(t.next_poll_at.isnot(None), t.urgent.is_(False)))
    here = in_order(connection, t.id, sa.and_(which, waits, ~just_asked))
    at = sa.case((t.next_poll_at > now, now), else_=t.next_poll_at)
    values = {"next_poll_at": at, **({"urgent": True} if urgent else {})}
    return connection.execute(watches.update().where(here).values(**values)).rowcount


def polled_from(
    shipment_id: int,
    account: str,
    at: datetime | None,
    now: datetime,
    *,
    store: str | None,
    why: str,
    registers: bool,
    urgent: bool,
) -> dict[str, Any]:
    """Return the row of a watch that begins: an account is asked about a parcel, and told of it where it `registers`.

    `at`: when it is asked first; None where it tells by itself, or must be told first.
    """
    return {
        "shipment_id": shipment_id, "account": account, "tracking_state": TrackingState.PENDING, "next_poll_at": at,
        "register_at": now if registers else None, "attempts": 0, "failures": 0, "store": store, "chosen": why,
        "urgent": urgent,
    }  # fmt: skip


def decide_now(connection: Connection, which: sa.ColumnElement[bool], now: datetime) -> int:
    """Have some orders decided again at once. Returns how many."""
    here = in_order(connection, orders.c.id, which)
    return connection.execute(orders.update().where(here).values(reconcile_at=now)).rowcount


def sweep_now(connection: Connection, which: sa.ColumnElement[bool], now: datetime) -> int:
    """Have some stores swept, and feeds of carriers read, at once. Returns how many."""
    a = accounts.c
    swept = sa.or_(a.kind == "store", a.next_sweep_at.isnot(None))
    return connection.execute(accounts.update().where(swept, which).values(next_sweep_at=now)).rowcount
