"""What an order and its parcels say together. The ledger asks these questions too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tracker.domain.facts import Fulfilment, Order, Shipment
from tracker.domain.vocabulary import OrderStatus, ShippingStatus

S = ShippingStatus
BACK_OR_GONE = frozenset({S.RETURNED, S.LOST, S.DESTROYED, S.CANCELLED})
_PROBLEMS = frozenset({S.ON_HOLD, S.DELAYED, S.EXCEPTION})


def aggregate(parcels: Sequence[Shipment]) -> Shipment | None:
    """Choose the parcel that speaks for a fulfilment of several.

    Voided labels do not count. Delivered only when all are; else the least advanced one, preferring one without a
    problem. None when nothing is known.
    """
    counted = [p for p in parcels if p.summary.status is not S.CANCELLED] or list(parcels)
    if not counted:
        return None
    under_way = [p for p in counted if p.summary.status is not S.DELIVERED]
    if not under_way:
        return max(counted, key=lambda p: (p.summary.since is not None and p.summary.since.timestamp(), p.number))
    pool = [p for p in under_way if p.summary.status not in _PROBLEMS] or under_way
    return min(pool, key=lambda p: (p.summary.status.rank, p.number))


def shipped_quantities(parts: Iterable[Fulfilment]) -> dict[str, int]:
    """Add up the pieces in some fulfilments, by item."""
    found: dict[str, int] = {}
    for part in parts:
        for ref, count in part.quantities:
            found[ref] = found.get(ref, 0) + count
    return found


def travels(order: Order) -> bool:
    """Say whether anything of an order goes by parcel, as far as the shop tells its lines and what its fulfilments hold."""
    by_parcel = {i.ref for i in order.items if i.shippable}
    if order.items and not by_parcel:
        return False
    live = [f for f in order.fulfilments if f.live]
    if not order.items or not live or not all(f.quantities for f in live):
        return True
    return any(ref in by_parcel for f in live for ref, _ in f.quantities)


def by_number(shipments: Iterable[Shipment]) -> dict[str, list[Shipment]]:
    """Return shipments by their numbers: a number may have had several journeys, and several carriers."""
    found: dict[str, list[Shipment]] = {}
    for shipment in shipments:
        found.setdefault(shipment.number, []).append(shipment)
    return found


def covers(order: Order, parts: Sequence[Fulfilment]) -> bool:
    """Say whether some fulfilments hold every piece that is still wanted: ordered - refunded - cancelled."""
    if not parts:
        return False
    wanted = {i.ref: i.ordered - i.removed for i in order.items if i.shippable and i.ordered > i.removed}
    live = [f for f in order.fulfilments if f.live]
    if not wanted or not any(f.quantities for f in live):
        # the shop tells no quantities: then every live fulfilment must be there, and the shop must not know of more
        gone = order.items and not wanted  # items are told, and none of them is wanted any more
        return len(parts) == len(live) and order.status is not OrderStatus.PARTIALLY_SHIPPED and not gone
    there = shipped_quantities(parts)
    return all(there.get(ref, 0) >= count for ref, count in wanted.items())


def still_moves(order: Order, parcel: Shipment) -> bool:
    """Say whether a parcel of a cancelled order was handed over and neither came back nor arrived before the cancel."""
    summary = parcel.summary
    if summary.custody_at is None or summary.status in BACK_OR_GONE:
        return False
    delivered = summary.delivered_at
    return not (delivered and order.cancelled_at and delivered <= order.cancelled_at)


def began(order: Order) -> datetime:
    """Return when the order's present status began, as well as we know."""
    if order.status_at is not None:
        return order.status_at
    at = order.placed_at
    for snapshot in reversed(order.history):
        if snapshot.status is not order.status:
            break
        at = snapshot.at
    return at
