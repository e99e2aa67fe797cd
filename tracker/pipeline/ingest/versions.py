"""An order as a version of it is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.engine import Row

from tracker.domain.facts import Order

NO_SHOPS_YET = datetime(2000, 1, 1, tzinfo=UTC)  # a date before that is a missing one: 1970, year 1
US = "trackwright"


def as_taken(order: Order, known: Row[Any] | None) -> Order:
    """Return an order as it is stored: a ship date before the order is none, and a status that we set is still ours."""
    earliest = max(order.placed_at, NO_SHOPS_YET)
    if any(f.shipped_at is not None and f.shipped_at < earliest for f in order.fulfilments):
        parts = (
            replace(f, shipped_at=None) if f.shipped_at is not None and f.shipped_at < earliest else f
            for f in order.fulfilments
        )
        order = replace(order, fulfilments=tuple(parts))
    if known is not None and known.raw_status == order.raw_status and known.facts.get("actor") == US:
        return replace(order, actor=US)
    return order


def stand_columns(order: Order) -> dict[str, Any]:
    """Return what a version keeps beside its facts, for the order's history."""
    return {
        "actor": order.actor,
        "status": order.status,
        "raw_status": order.raw_status,
        "payment": order.payment,
        "numbers": [p.number for f in order.fulfilments for p in f.parcels],
    }
