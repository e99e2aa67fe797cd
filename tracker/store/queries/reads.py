"""What several parts read: the orders of parcels, what an outage hid, how much waits."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.store.queries.dialect import Stores, among, of_stores
from tracker.store.tables import (
    change_notices,
    findings,
    fulfilment_shipments,
    fulfilments,
    inbox,
    orders,
    outbox,
    scans,
    shipments,
)


def parcels_of(shipment_id: sa.ColumnElement[Any], stores: Stores) -> list[sa.ColumnElement[bool]]:
    """Return the condition that a parcel is one of some stores' orders; none where all are meant."""
    if stores is None:
        return []
    fs = fulfilment_shipments.c
    linked = sa.exists().where(
        fs.shipment_id == shipment_id, fulfilments.c.id == fs.fulfilment_id, orders.c.id == fulfilments.c.order_id,
        *of_stores(orders.c.store, stores),
    )  # fmt: skip
    return [linked]


def orders_of(connection: Connection, shipment_ids: Iterable[int]) -> sa.Select[tuple[int]]:
    """Select the ids of the orders that shipments are linked to, each once."""
    return (
        sa.select(fulfilments.c.order_id)
        .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
        .where(among(connection, fulfilment_shipments.c.shipment_id, shipment_ids))
        .distinct()
    )


def linked_to(
    connection: Connection, shipment_ids: Iterable[int], *columns: sa.ColumnElement[Any]
) -> sa.Select[tuple[Any, ...]]:
    """Select columns of the orders that shipments are linked to, a row a link, each behind its shipment's id."""
    fs = fulfilment_shipments.c
    return (
        sa.select(fs.shipment_id, *columns)
        .join(fulfilments, fulfilments.c.id == fs.fulfilment_id)
        .join(orders, orders.c.id == fulfilments.c.order_id)
        .where(among(connection, fs.shipment_id, shipment_ids))
    )


def recovered(connection: Connection, since: datetime, until: datetime) -> list[Any]:
    """List what an outage hid and was told within a day after it: (scan id, account, carrier, number, code, instant)."""
    told = scans.c.first_seen_at
    return list(connection.execute(
        sa.select(scans.c.id, scans.c.account, shipments.c.carrier, shipments.c.number, scans.c.code, scans.c.text,
                  scans.c.instant, told)
        .join(shipments, shipments.c.id == scans.c.shipment_id)
        .where(told >= until, told < until + timedelta(days=1), scans.c.instant >= since, scans.c.instant <= until)
        .order_by(scans.c.id)
    ))  # fmt: skip


MOST_COUNTED = 10_000  # a table may hold a million: as many says "at least"


def counts(connection: Connection) -> dict[str, int]:
    """Count what waits and what died, by name, up to MOST_COUNTED; each from a partial index or a small table."""
    parts: dict[str, sa.Select[Any]] = {
        f"{table.name}_{state}": sa.select(table.c.id).where(table.c.state == state)
        for table, states in ((inbox, ("pending", "dead")), (outbox, ("pending", "held", "dead")))
        for state in states
    }
    parts["change_notices"] = sa.select(change_notices.c.id)
    parts["findings_open"] = sa.select(findings.c.id).where(findings.c.closed_at.is_(None))
    some = (sa.select(sa.func.count()).select_from(part.limit(MOST_COUNTED).subquery()) for part in parts.values())
    counted = connection.execute(sa.select(*(part.scalar_subquery() for part in some))).one()
    return dict(zip(parts, counted, strict=True))
