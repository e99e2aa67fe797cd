"""An order as it is stored, and the one place that saves it: its row, and a version of it where that is new."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.engine import Connection, Row

from tracker.domain.facts import Order
from tracker.domain.reconcile.case import US
from tracker.store import queries
from tracker.store.codec import dump_order, without_persons
from tracker.store.tables import order_versions, orders

NO_SHOPS_YET = datetime(2000, 1, 1, tzinfo=UTC)  # a date before that is a missing one: 1970, year 1


@dataclass(frozen=True, slots=True)
class Saved:
    """An order that was stored: its row, its newest version, and whether that one is new."""

    order_id: int
    version: int
    is_new: bool


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


def save(
    connection: Connection,
    known: Row[Any] | None,
    order: Order,
    now: datetime,
    *,
    by: str | None = None,
    inbox_id: int | None = None,
    read_at: datetime | None = None,
    decide: bool = False,
) -> Saved | None:
    """Store an order as it is from now on, and a version of it where that is new. `known` is its row, locked; None: there is none.

    A version is new where its facts differ from those that are stored, as `dump_order` writes them; an order's first always is.
    Not part of the facts are what people said, when it was read, and who asks: a read that says the same again, and a write that
    changed nothing, are no version. The columns of the order's row follow its facts either way.

    `by`: who made this version, where that is not who set the status. `inbox_id`: the payload that told it. `read_at`: when
    the shop was asked. `decide`: decide it again at once; a first version always is. Returns None where another process stored
    the order's first version meanwhile.
    """
    facts = dump_order(order)
    if known is not None and known.erased_at is not None:
        facts = without_persons(facts)
    values = {**_columns(order, known, now), "facts": facts}
    if read_at is not None:
        values["read_at"] = read_at
    if known is None:
        key = {"store": order.store, "ref": order.ref, "version": 1, "reconcile_at": now}
        insert = queries.upsert(connection, orders).on_conflict_do_nothing().returning(orders.c.id)
        order_id = connection.execute(insert, {**key, **values}).scalar_one_or_none()
        if order_id is None:
            return None
        saved = Saved(order_id, 1, is_new=True)
    else:
        is_new = bool(known.facts != facts)
        saved = Saved(known.id, known.version + is_new, is_new)
        connection.execute(orders.update().where(orders.c.id == known.id).values(version=saved.version, **values))
        if decide:
            queries.decide_now(connection, orders.c.id == known.id, now)
    if saved.is_new:
        connection.execute(
            order_versions.insert(),
            {
                "order_id": saved.order_id, "version": saved.version, "seen_at": now,
                "previous_read_at": known.read_at if known is not None else None, "inbox_id": inbox_id,
                "actor": by or order.actor, "status": order.status, "raw_status": order.raw_status, "payment": order.payment,
                "numbers": [p.number for f in order.fulfilments for p in f.parcels], "facts": facts,
            },
        )  # fmt: skip
    return saved


def _columns(order: Order, known: Row[Any] | None, now: datetime) -> dict[str, Any]:
    """Return what an order's row says beside its facts, in columns of their own."""
    values = {
        "number": order.number, "status": order.status, "raw_status": order.raw_status, "payment": order.payment,
        "raw_payment": order.raw_payment, "owner": order.owner, "placed_at": order.placed_at, "gone_at": None,
        "gone_why": order.gone or None,
    }  # fmt: skip
    if order.gone:
        before = known if known is not None and known.gone_why == order.gone else None
        values["gone_at"] = before.gone_at if before is not None else now
    return values
