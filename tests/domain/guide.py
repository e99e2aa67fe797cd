"""An order, a policy that does all there is, and what is asked of a decision: what the tests of the domain share."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.domain.test_reconcile import order, shipment
from tracker.domain.facts import Action, Finding, Fulfilment, Order, Place, StatusSnapshot
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import FindingKind, NoticeClass, OrderStatus, Owner, PaymentStatus, ShippingStatus

O, P, S, K = OrderStatus, PaymentStatus, ShippingStatus, FindingKind
H = timedelta(hours=1)
RENO = Place("RENO", "NV", "89501", "US")
MEANS = {
    S.PICKED_UP: O.SHIPPED,
    S.IN_TRANSIT: O.SHIPPED,
    S.OUT_FOR_DELIVERY: O.OUT_FOR_DELIVERY,
    S.DELIVERED: O.DELIVERED,
}
WORDS = {O.PROCESSING: "Processing", O.READY_FOR_DISPATCH: "Ready", O.SHIPPED: "Shipped", O.PARTIALLY_SHIPPED: "Partly",
         O.OUT_FOR_DELIVERY: "Out", O.DELIVERED: "Done"}  # fmt: skip
GUIDE = Policy(
    name="guide", otherwise=Owner.PLATFORM, order_words=WORDS,
    means={Owner.PLATFORM: MEANS, Owner.SELLER: MEANS},
    writes={Owner.PLATFORM: frozenset({O.SHIPPED, O.OUT_FOR_DELIVERY, O.DELIVERED})},
    restore_from=frozenset({"seller"}), ahead_after=24 * H,
    paid_for=frozenset({O.READY_FOR_DISPATCH}), pay_later=frozenset({"cod"}), verified_for=frozenset({O.READY_FOR_DISPATCH}),
    courier_for=frozenset({O.READY_FOR_DISPATCH}), address_for=frozenset({O.READY_FOR_DISPATCH}),
    cancel_closes={Owner.PLATFORM: O.READY_FOR_DISPATCH}, tracking={Owner.PLATFORM: "required"},
    checks=frozenset(K), notices=frozenset(NoticeClass),
)  # fmt: skip
SELLER = replace(GUIDE, otherwise=Owner.SELLER)
BARE = Fulfilment("F1", "SUCCESS")


def told(status: O = O.PROCESSING, **more: Any) -> Order:
    payment = more.pop("payment", P.PAID)
    return replace(order(status=status, payment=payment), **more)


MOVING = shipment(S.IN_TRANSIT, place=RENO, run_place=RENO)
LAST = {"last_scan": "in_transit at 2026-11-02 08:00Z RENO, NV, US", "parcel": "ups N1"}


def actions(decision: Any, kind: str) -> list[Action]:
    return [action for action in decision.actions if action.kind == kind]


def finding(decision: Any, kind: K) -> Finding:
    (found,) = [one for one in decision.findings if one.kind is kind]
    return found


def history(*stands: tuple[O, str, datetime]) -> tuple[StatusSnapshot, ...]:
    return tuple(StatusSnapshot(at, status, str(status).title(), P.PAID, actor, at - H) for status, actor, at in stands)
