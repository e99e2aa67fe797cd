"""What a person must look at in an order itself: a table of checks, and the answer of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from tracker.domain import gates
from tracker.domain.facts import Finding, Shipment
from tracker.domain.gates import HELD, MONEY_BACK
from tracker.domain.reconcile.case import INFO, SHIPPED, SHIPPING, URGENT, WARNING, Case, K, O, P, S
from tracker.domain.reconcile.findings import Stands, finding
from tracker.domain.reconcile.orders import began, shipped_quantities, travels
from tracker.domain.vocabulary import Act, FindingKind, Owner, Severity, StatementKind

MOST_TYPED = 200  # characters of what people typed that evidence shows
# checks that ask for the money: of a word for it that nobody knows they say nothing, UNKNOWN_PAYMENT does
MONEY = frozenset({K.UNPAID_SHIPPED, K.UNPAID_PROCESSING, K.PAYMENT_FAILED, K.FAILED_PAYMENT_DISPATCHED,
                   K.UNVERIFIED_DISPATCH, K.REFUND_DUE})  # fmt: skip


class OrderCheck(NamedTuple):
    """A standing finding about an order: it stands as long as `look` answers.

    `always`: whatever the policy's `checks` name; `platform`: the platform does it for its own orders (KE-13);
    `beside`: asked too where one of these is; `unless`: not asked where this one stands, which says more of the same; `due`: it is asked once this moment has passed
    (None: never).
    """

    kind: FindingKind
    severity: Severity
    act: Act
    look: Callable[[Case], Stands | None]
    always: bool = False
    platform: bool = False
    unless: FindingKind | None = None
    beside: frozenset[FindingKind] = frozenset()
    due: Callable[[Case], datetime | None] | None = None


def order_checks(case: Case) -> Iterator[Finding | datetime]:
    """Find what is wrong with the order, as far as its policy asks."""
    stood: list[FindingKind] = []
    for check in _asked(case.policy.checks):
        if check.unless is not None and check.unless in stood:
            continue
        if check.due is not None:
            due = check.due(case)
            if due is None:
                continue
            if case.now < due:
                yield due
                continue
        stands = check.look(case)
        if stands is None:
            continue
        stood.append(check.kind)
        act = case.hands(check.act) if check.platform else check.act
        yield finding(
            case, check.kind, stands.severity or check.severity, act, stands.evidence,
            since=stands.since, proposal=stands.proposal,
        )  # fmt: skip


@lru_cache(maxsize=64)
def _asked(checks: frozenset[FindingKind]) -> tuple[OrderCheck, ...]:
    """Return the checks that a policy asks for."""
    return tuple(check for check in ORDER_CHECKS if check.always or check.kind in checks or check.beside & checks)


def _stands(case: Case, **evidence: str) -> Stands:
    """Answer with what the shop says, since the order stands as it does."""
    return Stands({"shop": case.order.raw_status, **evidence}, began(case.order))


def _in_custody(case: Case) -> list[Shipment]:
    return [p for p in case.shipments if p.summary.custody_at is not None]


def _moved(case: Case) -> bool:
    return case.order.status in SHIPPED or bool(_in_custody(case))


def _dispatched(case: Case) -> bool:
    return case.order.status in SHIPPING or bool(_in_custody(case))


def _money(case: Case) -> str:
    return case.order.raw_payment or case.order.payment


# money, checks and papers


def _unknown_status(case: Case) -> Stands | None:
    return _stands(case) if case.order.status is O.UNKNOWN else None


def _unknown_payment(case: Case) -> Stands | None:
    order = case.order
    if order.payment is not P.UNKNOWN:
        return None
    return Stands({"shop": order.raw_status, "payment": _money(case)}, began(order), proposal=gates.MEANING)


def _unpaid(case: Case) -> bool:
    return case.order.payment is not P.UNKNOWN and not gates.paid(case.order, case.policy)


def _payment_failed(case: Case) -> Stands | None:
    if case.order.payment is not P.FAILED or case.order.status in HELD:
        return None
    return _stands(case, payment=_money(case))


def _failed_and_dispatched(case: Case) -> Stands | None:
    failed = _payment_failed(case)
    return failed if failed and _dispatched(case) else None


def _unpaid_and_moved(case: Case) -> Stands | None:
    if not _unpaid(case) or case.order.status in HELD or not _moved(case):
        return None
    return _stands(case, payment=_money(case))


def _unpaid_and_prepared(case: Case) -> Stands | None:
    status = case.order.status
    if not _unpaid(case) or status in HELD or not (status.reaches(O.PROCESSING) or _moved(case)):
        return None
    return _stands(case, payment=_money(case))


def _unverified(case: Case) -> Stands | None:
    order = case.order
    if not _dispatched(case) or order.status in HELD or gates.verified(order) or order.payment is P.UNKNOWN:
        return None
    return _stands(case, pays_by=order.pays_by)


def _ready_without_courier(case: Case) -> Stands | None:
    if case.order.status is not O.READY_FOR_DISPATCH or gates.has_tracking(case.order):
        return None
    return _stands(case)


def _number_due(case: Case) -> datetime | None:
    """MG-04, KE-20: shipped without a number; required, warned or not asked, by owner; never of what goes by no parcel."""
    order, policy = case.order, case.policy
    wanted = policy.tracking.get(case.owner, "none")
    if wanted == "none" or order.status not in SHIPPED or gates.has_tracking(order) or not travels(order):
        return None
    if order.status is O.DELIVERED and case.said(StatementKind.PROOF):
        return None
    return began(order) + policy.tracking_grace.get(case.owner, timedelta(0))


def _without_tracking(case: Case) -> Stands:
    required = case.policy.tracking.get(case.owner) == "required"
    return Stands({"shop": case.order.raw_status}, began(case.order), WARNING if required else INFO)


def _unreadable(case: Case) -> Stands | None:
    typed = [text for f in case.order.fulfilments if f.live for text in f.unreadable]
    if not typed or case.order.status is O.CANCELLED:
        return None
    evidence = {"typed": " | ".join(typed)[:MOST_TYPED]}
    return Stands(evidence, began(case.order), proposal="put a tracking number in the shop")


def _address(case: Case) -> Stands | None:
    order = case.order
    if order.address not in ("missing", "flagged", "unconfirmed") or not _moved(case):
        return None
    if case.shipments and all(p.summary.status is S.DELIVERED for p in case.shipments):
        return None
    return Stands({"address": order.address, "shop": order.raw_status}, began(order))


def _never_shipped(case: Case) -> Stands | None:
    if case.owner is not Owner.SELLER or case.order.status is not O.DELIVERED:
        return None
    stood = [s.status for s in case.order.history]
    if len(set(stood)) < 2 or any(s in SHIPPED and s is not O.DELIVERED for s in stood):
        return None
    return _stands(case)


# pieces


def _quantities(case: Case) -> Stands | None:
    """MG-12: shipped pieces against ordered - cancelled - refunded."""
    order = case.order
    live = [f for f in order.fulfilments if f.live]
    if order.status in HELD or not any(f.quantities for f in live):
        return None
    if order.payment in MONEY_BACK or order.partial:
        return None
    shipped = shipped_quantities(live)
    wanted = {i.ref: i.ordered - i.removed for i in order.items if i.shippable}
    untold = {i.ref for i in order.items if not i.shippable}  # digital, or picked up: no parcel holds it
    more = {r: (n, wanted.get(r, 0)) for r, n in shipped.items() if n > wanted.get(r, 0) and r not in untold}
    whole = order.status in SHIPPED and order.status is not O.PARTIALLY_SHIPPED
    fewer = {r: (shipped.get(r, 0), n) for r, n in wanted.items() if shipped.get(r, 0) < n} if whole else {}
    wrong = {**fewer, **more}
    if not wrong or (case.checked(K.REMEDY_IN_CUSTODY) and _given(case) == "resend"):  # the very pieces are told there
        return None
    told = ", ".join(f"{ref}: {there} of {asked}" for ref, (there, asked) in sorted(wrong.items()))
    return Stands({"shipped": told}, began(order))


def _short(case: Case) -> Stands | None:
    order = case.order
    if order.status in HELD or order.status is O.DELIVERED:
        return None
    short = [i.name or i.ref for i in order.items if i.short and i.ordered > i.removed]
    return Stands({"items": ", ".join(short)}, began(order)) if short else None


# remedies (MG-09, KE-14)


def _refund_due(case: Case) -> Stands | None:
    order = case.order
    if order.status is not O.CANCELLED or order.payment not in (P.PAID, P.PARTIALLY_REFUNDED):
        return None
    if case.remedies_closed():
        return None
    return Stands({"payment": order.raw_payment}, order.cancelled_at or began(order))


def _remedy(case: Case) -> Stands | None:
    what = _given(case)
    if not what:
        return None
    moving = _moving(case)
    return Stands({"remedy": what, **gates.last_scan(moving)}, _handed_over(moving))


def _given(case: Case) -> str:
    """Name what was given while the carrier has a parcel: `refund`, `resend`, or nothing."""
    order = case.order
    moving = _moving(case)
    if not moving or not case.remedies_closed():
        return ""
    first = _handed_over(moving)
    if order.payment in (P.REFUNDED, P.PARTIALLY_REFUNDED):
        paid_back = next((s.at for s in order.history if s.payment is order.payment), None)
        return "refund" if paid_back is None or paid_back >= first else ""
    sent_later = [f for f in order.fulfilments if f.live and f.shipped_at and f.shipped_at > first and f.quantities]
    if order.partial or not sent_later:
        return ""
    shipped = shipped_quantities([f for f in order.fulfilments if f.live])
    wanted = {i.ref: i.ordered - i.removed for i in order.items}
    return "resend" if any(n > wanted.get(ref, 0) for ref, n in shipped.items()) else ""


def _moving(case: Case) -> list[Shipment]:
    return [p for p in _in_custody(case) if not p.summary.status.terminal]


def _handed_over(moving: list[Shipment]) -> datetime:
    return min(p.summary.custody_at for p in moving if p.summary.custody_at is not None)


ORDER_CHECKS = (
    OrderCheck(K.UNKNOWN_ORDER_STATUS, WARNING, Act.ACT, _unknown_status),
    OrderCheck(K.UNKNOWN_PAYMENT, WARNING, Act.ACT, _unknown_payment, beside=MONEY),
    OrderCheck(K.FAILED_PAYMENT_DISPATCHED, URGENT, Act.ACT, _failed_and_dispatched),
    OrderCheck(K.PAYMENT_FAILED, WARNING, Act.ACT, _payment_failed, unless=K.FAILED_PAYMENT_DISPATCHED),
    OrderCheck(K.UNPAID_SHIPPED, URGENT, Act.ACT, _unpaid_and_moved),
    OrderCheck(K.UNPAID_PROCESSING, WARNING, Act.ACT, _unpaid_and_prepared, unless=K.UNPAID_SHIPPED),
    OrderCheck(K.UNVERIFIED_DISPATCH, URGENT, Act.ACT, _unverified),
    OrderCheck(K.DISPATCH_WITHOUT_COURIER, WARNING, Act.ACT, _ready_without_courier),
    OrderCheck(
        K.SHIPPED_WITHOUT_TRACKING, WARNING, Act.ACT, _without_tracking, always=True, platform=True, due=_number_due
    ),
    OrderCheck(K.TRACKING_NUMBER_UNREADABLE, WARNING, Act.ACT, _unreadable, always=True, platform=True),
    OrderCheck(K.ADDRESS_UNCONFIRMED, WARNING, Act.ACT, _address, platform=True),
    OrderCheck(K.QUANTITY_MISMATCH, WARNING, Act.ACT, _quantities),
    OrderCheck(K.OUT_OF_STOCK, WARNING, Act.ACT, _short),
    OrderCheck(K.DELIVERED_BEFORE_SHIPPED, WARNING, Act.ACT, _never_shipped),
    OrderCheck(K.REFUND_DUE, WARNING, Act.ACT, _refund_due),
    OrderCheck(K.REMEDY_IN_CUSTODY, WARNING, Act.FOLLOW_UP, _remedy),
)
