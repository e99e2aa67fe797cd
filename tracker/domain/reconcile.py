"""Compare the shop's truth with the carriers', and answer what to write and what a person must look at.

Pure and total. Proved in tests/domain/test_reconcile.py over the whole state space: applying the actions and
reconciling again asks for nothing more; nothing is written out of cancelled, held, refunded or disputed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from tracker.domain.facts import (
    Action,
    Decision,
    Finding,
    Fulfilment,
    Order,
    Published,
    Shipment,
)
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import (
    Act,
    FindingKind,
    OrderStatus,
    PaymentStatus,
    Reason,
    Severity,
    ShippingStatus,
    TrackingState,
)

S, K = ShippingStatus, FindingKind
_HELD = frozenset({OrderStatus.CANCELLED, OrderStatus.ON_HOLD})
_MONEY_BACK = frozenset({PaymentStatus.REFUNDED, PaymentStatus.DISPUTED})
_PROBLEMS = frozenset({S.ON_HOLD, S.DELAYED, S.EXCEPTION})
_BACK_OR_GONE = frozenset({S.RETURNED, S.LOST, S.DESTROYED, S.CANCELLED})

# status of the parcel -> finding that stands while the status does
_STANDING: dict[ShippingStatus, tuple[FindingKind, Severity, Act]] = {
    S.DELIVERY_ATTEMPTED: (K.ATTEMPT_FAILED, Severity.WARNING, Act.FOLLOW_UP),
    S.RETURNED: (K.RETURNED_AWAITING_INSPECTION, Severity.WARNING, Act.ACT),
    S.LOST: (K.LOST_OR_DESTROYED, Severity.URGENT, Act.ACT),
    S.DESTROYED: (K.LOST_OR_DESTROYED, Severity.URGENT, Act.ACT),
}


def reconcile(
    order: Order,
    shipments: Sequence[Shipment],
    policy: Policy,
    now: datetime,
    *,
    connected_at: datetime | None = None,
) -> Decision:
    """Decide for one order.

    `shipments` are all that are linked to it; `now` is business time. Nothing that happened before `connected_at`
    (the moment the store was connected; None: no such limit) causes a write. Never raises.
    """
    actions: list[Action] = []
    findings: list[Finding] = []
    because: list[str] = []
    wake: list[datetime] = []
    by_number: dict[str, list[Shipment]] = {}
    for shipment in shipments:
        by_number.setdefault(shipment.number, []).append(shipment)
    for fulfilment in order.fulfilments:
        parcels = [s for p in fulfilment.parcels for s in by_number.get(p.number, ())]
        _publish(order, fulfilment, parcels, policy, connected_at, actions, findings, because)
    for shipment in shipments:
        _look_at(order, shipment, policy, now, findings, wake)
    return Decision(
        actions=tuple(actions),
        findings=tuple(findings),
        because=tuple(because),
        look_again_at=min((at for at in wake if at > now), default=None),
    )


def apply(order: Order, action: Action, word: str) -> Order:
    """Return the order as it stands once the shop has taken the action; `word` is what the shop shows."""
    return replace(
        order,
        fulfilments=tuple(
            replace(f, published=Published(action.status, word, action.happened_at))
            if f.ref == action.fulfilment
            else f
            for f in order.fulfilments
        ),
    )


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


def _publish(
    order: Order,
    fulfilment: Fulfilment,
    parcels: Sequence[Shipment],
    policy: Policy,
    connected_at: datetime | None,
    actions: list[Action],
    findings: list[Finding],
    because: list[str],
) -> None:
    """Show the shipping status of one fulfilment in the shop, or say by rule why not."""

    def rule(name: str) -> None:
        because.append(f"{name}:{fulfilment.ref}")

    parcel = aggregate(parcels)
    if parcel is None:
        return rule("no_tracked_parcel")
    summary, shown = parcel.summary, fulfilment.published
    word = policy.words.get(summary.status)
    since = summary.since
    if since is None or summary.status is S.UNKNOWN:
        return rule("nothing_known")
    if not fulfilment.live:
        return rule("fulfilment_cancelled")
    if shown is not None and shown.raw == word:
        return rule("in_step")
    if order.status in _HELD or order.payment in _MONEY_BACK:
        return rule("human_wins")
    if not summary.confirmed:
        return rule("waits_for_confirmation")
    if word is None:
        return rule("no_word")
    if shown is not None and shown.status is S.DELIVERED:
        rule("never_back_from_delivered")
        kind = K.CORRECTION_AFTER_DELIVERED if summary.corrected else K.ORDER_AHEAD
        findings.append(
            _finding(
                order, parcel, kind, Severity.WARNING, Act.ACT, since, {"shop": shown.raw, "carrier": summary.status}
            )
        )
        return None
    if connected_at is not None and since < connected_at:
        return rule("before_connected")
    if shown is not None and shown.happened_at > since and not summary.status.terminal:
        return rule("shop_is_newer")
    rule("publish")
    actions.append(
        Action(
            kind="fulfilment_event",
            key=f"{order.store}/{order.ref}/{fulfilment.ref}/event/{summary.status}/{summary.run}",
            store=order.store,
            order=order.ref,
            fulfilment=fulfilment.ref,
            status=summary.status,
            reason=summary.reason,
            happened_at=since,
            place=summary.run_place,
            edd=parcel.edd.ends if parcel.edd and not summary.status.terminal else None,
            rules=(f"publish:{policy.name}",),
        )
    )
    return None


def _finding(
    order: Order,
    parcel: Shipment,
    kind: FindingKind,
    severity: Severity,
    act: Act,
    since: datetime | None,
    evidence: Mapping[str, str],
) -> Finding:
    subject = f"{order.store}/{order.number}/{parcel.carrier}/{parcel.number}"
    facts = {"order": order.number, "parcel": f"{parcel.carrier} {parcel.number}"}
    facts |= {name: str(value) for name, value in evidence.items()}
    return Finding(kind, subject, severity, act, facts, since)


def _look_at(
    order: Order, parcel: Shipment, policy: Policy, now: datetime, findings: list[Finding], wake: list[datetime]
) -> None:
    """Collect what a person must know about one parcel, and when time alone would change that."""
    summary = parcel.summary
    status, since = summary.status, summary.since

    def add(
        kind: FindingKind, severity: Severity, act: Act, evidence: Mapping[str, str], at: datetime | None = since
    ) -> None:
        findings.append(_finding(order, parcel, kind, severity, act, at, evidence))

    def after(moment: datetime) -> bool:
        wake.append(moment)
        return now >= moment

    last: dict[str, str] = {"status": status, "last_place": str(summary.place)}
    if summary.custody_at is not None and status not in _BACK_OR_GONE:
        delivered = summary.delivered_at
        if order.status is OrderStatus.CANCELLED and not (
            delivered and order.cancelled_at and delivered <= order.cancelled_at
        ):
            add(K.CANCELLED_BUT_MOVING, Severity.URGENT, Act.ACT, last, order.cancelled_at)
        elif order.payment is PaymentStatus.REFUNDED and not status.terminal:
            add(K.REFUNDED_BUT_MOVING, Severity.WARNING, Act.ACT, last)
    if status in _STANDING:
        add(*_STANDING[status], {"reason": summary.reason or "", **last})
    if summary.reason is Reason.ADDRESS_INCORRECT and not status.terminal:
        add(K.ADDRESS_PROBLEM, Severity.WARNING, Act.ACT, last)
    if summary.unmapped:
        add(K.UNMAPPED_CODE, Severity.INFO, Act.ACT, {"scans": str(summary.unmapped)}, summary.last_scan_at)
    if summary.disputed:
        add(K.SOURCES_DISAGREE, Severity.WARNING, Act.FOLLOW_UP, last)
    if parcel.tracking is TrackingState.EXPIRED:
        add(K.TRACKING_EXPIRED, Severity.WARNING, Act.ACT, last, summary.last_scan_at or parcel.linked_at)
    if status.terminal:
        return
    news = summary.last_scan_at
    if status in (S.UNKNOWN, S.PRE_TRANSIT):
        began = since or parcel.linked_at
        if began is not None and after(began + policy.unscanned_after):
            add(K.LABEL_NEVER_SCANNED, Severity.WARNING, Act.ACT, last, began)
    elif status is S.AVAILABLE_FOR_PICKUP:
        if since is not None and after(since + policy.pickup_expires_after):
            add(K.PICKUP_EXPIRING, Severity.WARNING, Act.FOLLOW_UP, last)
    elif news is not None and after(news + policy.stuck_after):
        add(K.STUCK, Severity.WARNING, Act.FOLLOW_UP, last, news)
    if (
        parcel.edd is not None
        and status is not S.AVAILABLE_FOR_PICKUP
        and after(parcel.edd.ends + policy.overdue_after)
    ):
        add(K.DELIVERY_OVERDUE, Severity.INFO, Act.MONITOR, last, parcel.edd.ends)
