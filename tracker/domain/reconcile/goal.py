"""Where the parcels say the order should be: all or nothing (MG-13, KR-05, KE-08)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tracker.domain.facts import Shipment
from tracker.domain.reconcile.case import Case, O, S
from tracker.domain.reconcile.orders import BACK_OR_GONE, aggregate, covers
from tracker.domain.vocabulary import OrderStatus, ShippingStatus

_NOT_FORWARD = BACK_OR_GONE | {S.RETURNING, S.DELIVERY_FAILED}


@dataclass(frozen=True)
class Goal:
    """Where the parcels say the order should be; `status` None: `rule` says why nowhere."""

    status: OrderStatus | None
    rule: str
    parcel: Shipment | None = None
    since: datetime | None = None
    parcels: tuple[Shipment, ...] = ()


def goal_of(case: Case) -> Goal:
    """Say where the parcels put the order, by what its policy says that they mean."""
    table = case.policy.means.get(case.owner, {})
    if not table:
        return Goal(None, "owner_sets_its_own_status")
    if case.order.partial:
        return Goal(None, "partly_read")
    parts = [
        (fulfilment, [p for p in case.parcels_of(fulfilment) if p.summary.status is not S.CANCELLED])
        for fulfilment in case.order.fulfilments
        if fulfilment.live
    ]
    every = tuple(p for _, parcels in parts for p in parcels)
    if not every:
        return Goal(None, "no_tracked_parcel")
    delivered = [f for f, parcels in parts if parcels and all(p.summary.status is S.DELIVERED for p in parcels)]
    if covers(case.order, delivered):
        last = max(every, key=lambda p: (_stamp(p.summary.since), p.number))
        status = table.get(S.DELIVERED)
        return Goal(status, "delivered" if status else "no_meaning:delivered", last, last.summary.since, every)
    custody = [f for f, parcels in parts if parcels and all(p.summary.custody_at for p in parcels)]
    if covers(case.order, custody):
        return _under_way(table, every)
    return _partly(case, table, every)


def _partly(case: Case, table: Mapping[ShippingStatus, OrderStatus], every: tuple[Shipment, ...]) -> Goal:
    """Say where an order is whose carriers do not have every piece."""
    some = [p for p in every if p.summary.custody_at is not None]
    if not some:
        return Goal(None, "not_handed_over")
    if O.PARTIALLY_SHIPPED not in case.policy.order_words or S.PICKED_UP not in table:
        return Goal(None, "waits_for_all")
    first = min(some, key=lambda p: (_stamp(p.summary.custody_at), p.number))
    return Goal(O.PARTIALLY_SHIPPED, "partly_handed_over", first, first.summary.custody_at, (first,))


def _under_way(table: Mapping[ShippingStatus, OrderStatus], every: tuple[Shipment, ...]) -> Goal:
    """Say where an order is whose carriers have every piece, not all of them delivered."""
    parcel = aggregate(every)
    assert parcel is not None
    now = parcel.summary.status
    if now is S.RETURNED and any(p.summary.status is not S.RETURNED for p in every):
        return Goal(None, "mixed_ends", parcel)
    wanted = table.get(now)
    handed = max((p.summary.custody_at for p in every if p.summary.custody_at), default=None)
    if wanted is not None:
        since = handed if wanted is O.SHIPPED else parcel.summary.since
        return Goal(wanted, str(now), parcel, since, every)
    if now in _NOT_FORWARD:
        return Goal(None, f"no_meaning:{now}", parcel)
    handed_over = table.get(S.PICKED_UP)
    return Goal(handed_over, "handed_over" if handed_over else f"no_meaning:{now}", parcel, handed, every)


def _stamp(at: datetime | None) -> float:
    return at.timestamp() if at else float("-inf")
