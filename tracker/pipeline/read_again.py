"""What is known of an order, and its shop's last word of it, just before something is done about it: a write, a mail to its customer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import NotFound, Refused
from tracker.domain.facts import Order, Payload, Refs, Shipment, Unread
from tracker.pipeline import state
from tracker.pipeline.context import AppContext
from tracker.pipeline.ingest.versions import as_taken
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import orders


@dataclass(frozen=True, slots=True)
class Known:
    """An order and its parcels, as they are stored."""

    row: Row[Any]
    order: Order
    parcels: list[Shipment]
    quiet_before: datetime | None  # what happened earlier is told to nobody: a first sync, a replay

    def as_read(self, read: Order) -> Known:
        """Return the same with the order as it was just read, and what only we know of it."""
        was = self.order
        now = replace(as_taken(read, self.row), history=was.history, statements=was.statements, actor=was.actor)
        return replace(self, order=now)


def known(connection: Connection, order_id: int) -> Known:
    """Read an order and its parcels."""
    row = connection.execute(sa.select(orders).where(orders.c.id == order_id)).one()
    order = state.read_orders(connection, [row])[order_id]
    parcels = state.read_shipments(connection, [order_id])[order_id]
    return Known(row, order, parcels, state.quiet_until(state.account_rows(connection), row))


def read_again(ctx: AppContext, account: Account, ref: str) -> Order:
    """Read the order that a shop calls `ref` again; the answer is stored like any other.

    Raises NotFound where it is not there, Refused where it is there and cannot be read: then what was to be done waits.
    """
    with ctx.store.read() as connection:
        asked_at = database_now(connection)
    pages = list(account.platform.fetch(ctx.client(account), Refs((ref,))))
    now = ctx.now()
    with ctx.store.write() as connection:
        rows = [
            queries.payload_row(account.name, "read", page.parts, now, asked_at, asked_at=asked_at) for page in pages
        ]
        queries.store_payloads(connection, rows)
    ctx.notify("ingest")
    unread = ""
    for page in pages:
        for item in account.platform.normalize(Payload(account.name, "read", page.parts, now)):
            if isinstance(item, Order) and item.ref == ref:
                return item
            if isinstance(item, Unread) and item.subject == ref:
                unread = f"the order cannot be read: {item.where}: {item.problem}"
    if unread:
        raise Refused(unread)
    raise NotFound(ref)
