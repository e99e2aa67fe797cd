"""May an order go there? Yes or no, with the rule and the evidence. Pure; asked by people and by reconcile itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tracker.domain.facts import Order, Shipment
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus, ShippingStatus, StatementKind

O, P, S = OrderStatus, PaymentStatus, ShippingStatus
HELD = frozenset({O.CANCELLED, O.ON_HOLD})
FINAL = frozenset({"test_order", "cancelled_is_final", "human_wins"})  # rules that nobody's word goes past
MONEY_BACK = frozenset({P.REFUNDED, P.DISPUTED})
WHOLE = "the whole order: `tracker inbox --partly` says what cannot be read"
MEANING = "what the shop's word means, under `payments:`; where the platform has no such setting, a newer version"
PAID = frozenset({P.PAID, P.PARTIALLY_REFUNDED, P.REFUNDED, P.DISPUTED})


@dataclass(frozen=True, slots=True)
class Gate:
    """The answer of a gate: allowed or not, the rule that says so, what it rests on, and what would open it.

    `sentence`: the rule in words, filled in for people who ask.
    """

    allowed: bool
    rule: str
    evidence: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""
    sentence: str = ""


def may(
    order: Order,
    shipments: Sequence[Shipment],
    policy: Policy,
    to: OrderStatus,
    *,
    reason: str = "",
    person: bool = True,
) -> Gate:
    """Say whether an order may go to a status.

    `person`: somebody asks; a write of the worker itself (False) comes from scans, so custody is not asked again.
    """
    owner, owned_by = policy.owner_of(order)
    facts = {
        "order": order.number, "status": str(order.status), "payment": str(order.payment), "owner": str(owner),
        "method": order.method, "owner_rule": owned_by, **_strange_money(order),
    }  # fmt: skip

    def no(rule: str, needs: str = "", **more: str) -> Gate:
        return Gate(False, rule, {**facts, **more}, needs)

    if to is order.status:
        return Gate(True, "already_there", facts)
    if to is O.UNKNOWN:
        return no("no_such_status", "name one of the shared statuses")
    if order.test:
        return no("test_order", "nothing: an order that was placed to try the shop is never written")
    if order.status is O.CANCELLED:
        return no("cancelled_is_final", "nothing: a cancelled order stays cancelled")
    if owner is Owner.UNKNOWN:
        return no("unknown_owner", "a rule under policy.ownership that fits this order")
    if to is O.CANCELLED:
        return _cancel(order, shipments, policy, owner, reason, facts)
    if order.payment in MONEY_BACK or order.status in HELD:
        if to is O.ON_HOLD:
            return Gate(True, "hold", facts)
        return no("human_wins", "whoever held, refunded or disputed it must undo that in the shop")
    if to is O.ON_HOLD:
        return Gate(True, "hold", facts)
    if not paid(order, policy) and to in policy.paid_for:
        return no(*_not_paid(order), raw_payment=order.raw_payment)
    if to in policy.verified_for and not verified(order):
        return no("not_verified", "`tracker record ORDER verified`, or the payment", pays_by=order.pays_by)
    if to in policy.courier_for and not has_tracking(order):
        return no("courier_and_waybill_missing", "a courier and a tracking number in the shop")
    if to is O.SHIPPED and policy.tracking.get(owner) == "required" and not has_tracking(order):
        return no("tracking_missing", "a carrier and a tracking number in the shop")
    if to in policy.address_for and order.address in ("missing", "flagged", "unconfirmed"):
        return no("address_not_confirmed", "a confirmed address in the shop", address=order.address)
    if not person:
        return Gate(True, "open", facts)
    rank, now = to.rank, order.status.rank
    if rank is not None and now is not None and rank < now:
        return no("no_step_back", "`tracker correct ORDER STATUS --reason ... --override`")
    told = last_scan(shipments)
    unseen = _unseen(order, shipments, to) if owner is not Owner.SELLER and rank is not None else None
    if unseen is not None:
        return no(*unseen, **told)
    return Gate(True, "open", {**facts, **told})


def _strange_money(order: Order) -> dict[str, str]:
    """Return the shop's word for the payment as evidence, where nobody knows what it means."""
    return {"raw_payment": order.raw_payment} if order.payment is P.UNKNOWN else {}


def _not_paid(order: Order) -> tuple[str, str]:
    """Return the rule, and what it needs, by which an order that is not known to be paid stays where it is."""
    return ("payment_unknown", MEANING) if order.payment is P.UNKNOWN else ("not_paid", "the payment")


def _unseen(order: Order, shipments: Sequence[Shipment], to: OrderStatus) -> tuple[str, str] | None:
    """Return the rule, and what it needs, by which nobody says of the parcels what no carrier has seen; None: they saw it."""
    custody = [s for s in shipments if s.summary.custody_at is not None]
    if to.reaches(O.SHIPPED) and not custody:
        return "not_handed_over", "a scan of the carrier"
    if to is O.DELIVERED and order.partial:
        return "order_partly_read", WHOLE
    if to is O.DELIVERED and not all(s.summary.status is S.DELIVERED for s in custody):
        return "carrier_has_not_delivered", "the carrier's delivered"
    return None


def _cancel(
    order: Order, shipments: Sequence[Shipment], policy: Policy, owner: Owner, reason: str, facts: Mapping[str, str]
) -> Gate:
    """KE-04, KE-11: never while a carrier has the parcel; not past the owner's gate; only with a reason."""
    held = in_custody(order, shipments)
    if held is not None:
        return Gate(
            False,
            "cancel_in_custody",
            {**facts, **last_scan([held])},
            "the parcel back, and `tracker record inspected`",
        )
    if order.partial:  # what was not read may be a parcel on its way
        return Gate(False, "order_partly_read", {**facts, **last_scan(shipments)}, WHOLE)
    closes = policy.cancel_closes.get(owner)
    if closes is not None and order.status.reaches(closes):
        return Gate(False, f"cancel_closed_at_{closes}", {**facts, **last_scan(shipments)}, "nothing: it is too late")
    if not reason.strip():
        return Gate(False, "reason_required", dict(facts), "--reason: why it is cancelled; it is kept")
    return Gate(True, "cancel_open", {**facts, "reason": reason})


def into_processing(order: Order, policy: Policy, to: OrderStatus) -> bool:
    """MG-08: say whether a write would move an order into Processing where that deducts stock; no person asks past it."""
    forward = not order.status.reaches(O.PROCESSING)
    return to is O.PROCESSING and (forward or not policy.restore_processing)


def in_custody(order: Order, shipments: Sequence[Shipment]) -> Shipment | None:
    """Return a parcel that a carrier has or had; one that came back counts until a person inspected it."""
    inspected = max((s.at for s in order.statements if s.kind is StatementKind.INSPECTED), default=None)
    for parcel in shipments:
        summary = parcel.summary
        if summary.custody_at is None or summary.status is S.CANCELLED:
            continue
        if summary.status is S.RETURNED and inspected is not None and summary.since and inspected >= summary.since:
            continue
        return parcel
    return None


def last_scan(shipments: Sequence[Shipment]) -> dict[str, str]:
    """Tell the newest scan of some parcels, as evidence."""
    told = [s for s in shipments if s.summary.last_scan_at is not None]
    if not told:
        return {"last_scan": "none"}
    parcel = max(told, key=lambda s: (s.summary.last_scan_at, s.number))
    at = parcel.summary.last_scan_at
    return {
        "last_scan": f"{parcel.summary.status} at {at:%Y-%m-%d %H:%M}Z {parcel.summary.place}".rstrip(),
        "parcel": f"{parcel.carrier} {parcel.number}",
    }


def paid(order: Order, policy: Policy) -> bool:
    """Say whether the order is known to be paid, or need not be yet."""
    return order.payment in PAID or order.pays_by.casefold() in policy.pay_later


def verified(order: Order) -> bool:
    """KR-01, KR-02: the shop says so, the money is there, a person recorded it, or it stood at Confirmed."""
    return (
        order.verified
        or order.payment in PAID
        or any(s.kind is StatementKind.VERIFIED for s in order.statements)
        or any(snapshot.status is O.CONFIRMED for snapshot in order.history)
        or order.status is O.CONFIRMED
    )


def has_tracking(order: Order) -> bool:
    """Say whether a live fulfilment names a number and a carrier."""
    return any(p.number and (p.carrier or p.company) for f in order.fulfilments if f.live for p in f.parcels)
