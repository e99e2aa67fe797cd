"""When the customer is told: what is told, `tracker.domain.notices` writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from tracker.domain.facts import NOWHERE, Action, Order, Shipment
from tracker.domain.reconcile.case import Case, K, O, S, estimate
from tracker.domain.reconcile.findings import Found
from tracker.domain.reconcile.orders import began
from tracker.domain.vocabulary import Leg, NoticeClass

N = NoticeClass
_NOTICE_OF = {
    S.OUT_FOR_DELIVERY: N.OUT_FOR_DELIVERY,
    S.AVAILABLE_FOR_PICKUP: N.READY_FOR_PICKUP,
    S.DELIVERY_ATTEMPTED: N.ATTEMPTED,
    S.DELAYED: N.DELAYED,
    S.EXCEPTION: N.PROBLEM,
    S.DELIVERED: N.DELIVERED,
}
_COMES_BACK = frozenset({S.RETURNING, S.RETURNED})
_UNHAPPY = frozenset({K.CORRECTION_AFTER_DELIVERED, K.SOURCES_DISAGREE, K.LOST_OR_DESTROYED, K.ORDER_AHEAD,
                      K.RETURNED_AWAITING_INSPECTION, K.REMEDY_IN_CUSTODY, K.REFUNDED_BUT_MOVING})  # fmt: skip


def notices(case: Case, found: Found) -> Iterator[Action]:
    """Say once what a stored scan or order change says, where the store lets the worker tell (MG-05, WS-10).

    `found`: what a person must look at; nobody is asked what he thinks of an order with trouble.
    """
    order, wanted = case.order, case.policy.notices
    if case.decided_by_people():
        return
    if N.PLACED in wanted:
        yield from _notice(case, N.PLACED, order.placed_at)
    if N.CONFIRMED in wanted:  # only where the shop said so: Shipped does not say that it was confirmed
        at = next((s.at for s in order.history if s.status is O.CONFIRMED), None)
        yield from _notice(case, N.CONFIRMED, at)
    for parcel in case.shipments:
        summary = parcel.summary
        if not summary.confirmed or summary.disputed:
            continue
        if summary.leg is Leg.RETURN_TO_SENDER and summary.status in _COMES_BACK and N.RETURNING in wanted:
            yield from _notice(case, N.RETURNING, summary.since, parcel)
        if summary.leg is not Leg.OUTBOUND:
            continue
        if N.SHIPPED in wanted and summary.custody_at is not None and not summary.status.terminal:
            yield from _notice(case, N.SHIPPED, summary.custody_at, parcel)
        kind = _NOTICE_OF.get(summary.status)
        if kind is not None and kind in wanted:
            yield from _notice(case, kind, summary.since, parcel)
    if N.REVIEW_REQUEST in wanted and order.status is O.DELIVERED:
        if not any(kind in _UNHAPPY for _, kind in found):
            yield from _notice(case, N.REVIEW_REQUEST, began(order))


def _notice(case: Case, kind: NoticeClass, at: datetime | None, parcel: Shipment | None = None) -> Iterator[Action]:
    """Tell it, unless nobody knows when it happened, or it was before the store was connected."""
    if at is not None and not case.too_old(at):
        yield notice(case.order, kind, at, parcel, case.policy.name)


def notice(order: Order, kind: NoticeClass, at: datetime, parcel: Shipment | None, policy: str) -> Action:
    """Return what a customer is told: `at` it happened, of this parcel, by the policy of this name."""
    tail = f"/{parcel.carrier}/{parcel.number}/{parcel.generation}" if parcel else ""
    named = [
        replace(p, carrier=p.carrier or parcel.carrier)
        for f in order.fulfilments
        for p in f.parcels
        if parcel is not None and p.number == parcel.number
    ]
    summary = parcel.summary if parcel else None
    return Action(
        kind="notice",
        key=f"{order.store}/{order.ref}/notice/{kind}{tail}",
        store=order.store,
        order=order.ref,
        status=summary.status if summary else S.UNKNOWN,
        reason=summary.reason if summary else None,
        happened_at=at,
        place=summary.run_place if summary else NOWHERE,
        edd=estimate(parcel),
        rules=(f"notice:{kind}", f"policy:{policy}"),
        notice=kind,
        parcels=tuple(named[:1]),
        number=order.number,
    )
