"""What the domain answers, to the letter: gates, writes, notices and findings whole, as the requirements word them.

Other tests ask for one thing at a time over many cases; here each part of an answer is compared, for people and shops read all.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.domain.test_reconcile import T0, D, order, shipment
from tests.domain.test_timeline import told as scan_told
from tracker.domain.cadence import Cadence, next_poll
from tracker.domain.errors import ConfigError, RateLimited
from tracker.domain.facts import (
    NOWHERE,
    Action,
    Code,
    Edd,
    Finding,
    Fulfilment,
    Item,
    Order,
    Parcel,
    Place,
    Scan,
    Stand,
    Statement,
    fingerprint,
)
from tracker.domain.gates import Gate, may
from tracker.domain.hashing import digest
from tracker.domain.notices import estimate
from tracker.domain.numbers import candidates
from tracker.domain.policy import Calendar, Deadline, Owns, Policy, Silence, Span
from tracker.domain.reconcile import aggregate, apply, reconcile
from tracker.domain.reconcile.order_checks import ORDER_CHECKS
from tracker.domain.reconcile.parcel_checks import PARCEL_CHECKS
from tracker.domain.timeline import summarize
from tracker.domain.vocabulary import (
    Act,
    FindingKind,
    Leg,
    NoticeClass,
    OrderStatus,
    Owner,
    PaymentStatus,
    Precision,
    Reason,
    Severity,
    ShippingStatus,
    StatementKind,
    TrackingState,
    Zone,
)

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


def facts(
    status: O, payment: str = "paid", owner: str = "platform", rule: str = "owner:otherwise", method: str = ""
) -> dict[str, str]:
    return {
        "order": "#1",
        "status": str(status),
        "payment": payment,
        "owner": owner,
        "method": method,
        "owner_rule": rule,
    }


MOVING = shipment(S.IN_TRANSIT, place=RENO, run_place=RENO)
LAST = {"last_scan": "in_transit at 2026-11-02 08:00Z RENO, NV, US", "parcel": "ups N1"}
NONE = {"last_scan": "none"}


@pytest.mark.parametrize(
    ("one", "parcels", "policy", "to", "more", "answer"),
    [
        (told(), [], GUIDE, O.PROCESSING, {}, Gate(True, "already_there", facts(O.PROCESSING))),
        (told(), [], GUIDE, O.UNKNOWN, {}, Gate(False, "no_such_status", facts(O.PROCESSING), "name one of the shared statuses")),
        (told(O.CANCELLED), [], GUIDE, O.SHIPPED, {},
         Gate(False, "cancelled_is_final", facts(O.CANCELLED), "nothing: a cancelled order stays cancelled")),
        (told(), [], replace(GUIDE, otherwise=Owner.UNKNOWN), O.SHIPPED, {},
         Gate(False, "unknown_owner", facts(O.PROCESSING, owner="unknown"), "a rule under policy.ownership that fits this order")),
        (told(method="pickup"), [], replace(GUIDE, ownership=(Owns("pick", Owner.SELLER, method=("PICKUP",)),)), O.ON_HOLD, {},
         Gate(True, "hold", facts(O.PROCESSING, owner="seller", rule="owner:pick", method="pickup"))),
        (told(O.ON_HOLD), [], GUIDE, O.SHIPPED, {},
         Gate(False, "human_wins", facts(O.ON_HOLD), "whoever held, refunded or disputed it must undo that in the shop")),
        (told(payment=P.REFUNDED), [], GUIDE, O.SHIPPED, {},
         Gate(False, "human_wins", facts(O.PROCESSING, "refunded"), "whoever held, refunded or disputed it must undo that in the shop")),
        (told(payment=P.DISPUTED), [], GUIDE, O.ON_HOLD, {}, Gate(True, "hold", facts(O.PROCESSING, "disputed"))),
        (told(), [], GUIDE, O.ON_HOLD, {}, Gate(True, "hold", facts(O.PROCESSING))),
        (told(payment=P.PENDING), [], GUIDE, O.READY_FOR_DISPATCH, {},
         Gate(False, "not_paid", facts(O.PROCESSING, "pending") | {"raw_payment": "PENDING"}, "the payment")),
        (told(payment=P.PENDING, pays_by="COD"), [], GUIDE, O.READY_FOR_DISPATCH, {},
         Gate(False, "not_verified", facts(O.PROCESSING, "pending") | {"pays_by": "COD"}, "`tracker record ORDER verified`, or the payment")),
        (told(fulfilments=(BARE,)), [], GUIDE, O.READY_FOR_DISPATCH, {},
         Gate(False, "courier_and_waybill_missing", facts(O.PROCESSING), "a courier and a tracking number in the shop")),
        (told(fulfilments=(BARE,)), [], GUIDE, O.SHIPPED, {},
         Gate(False, "tracking_missing", facts(O.PROCESSING), "a carrier and a tracking number in the shop")),
        (told(address="flagged"), [], GUIDE, O.READY_FOR_DISPATCH, {},
         Gate(False, "address_not_confirmed", facts(O.PROCESSING) | {"address": "flagged"}, "a confirmed address in the shop")),
        (told(), [], GUIDE, O.SHIPPED, {"person": False}, Gate(True, "open", facts(O.PROCESSING))),
        (told(O.SHIPPED), [MOVING], GUIDE, O.PROCESSING, {},
         Gate(False, "no_step_back", facts(O.SHIPPED), "`tracker correct ORDER STATUS --reason ... --override`")),
        (told(), [], GUIDE, O.SHIPPED, {}, Gate(False, "not_handed_over", facts(O.PROCESSING) | NONE, "a scan of the carrier")),
        (told(), [MOVING], GUIDE, O.DELIVERED, {},
         Gate(False, "carrier_has_not_delivered", facts(O.PROCESSING) | LAST, "the carrier's delivered")),
        (told(), [MOVING], GUIDE, O.SHIPPED, {}, Gate(True, "open", facts(O.PROCESSING) | LAST)),
        (told(), [], SELLER, O.SHIPPED, {}, Gate(True, "open", facts(O.PROCESSING, owner="seller") | NONE)),
        # cancelling: KE-04, KE-11
        (told(), [MOVING], GUIDE, O.CANCELLED, {"reason": "lost interest"},
         Gate(False, "cancel_in_custody", facts(O.PROCESSING) | LAST, "the parcel back, and `tracker record inspected`")),
        (told(O.READY_FOR_DISPATCH), [], GUIDE, O.CANCELLED, {"reason": "x"},
         Gate(False, "cancel_closed_at_ready_for_dispatch", facts(O.READY_FOR_DISPATCH) | NONE, "nothing: it is too late")),
        (told(), [], GUIDE, O.CANCELLED, {"reason": "  "},
         Gate(False, "reason_required", facts(O.PROCESSING), "--reason: why it is cancelled; it is kept")),
        (told(), [], GUIDE, O.CANCELLED, {"reason": "lost interest"},
         Gate(True, "cancel_open", facts(O.PROCESSING) | {"reason": "lost interest"})),
    ],
)  # fmt: skip
def test_a_gate_answers_with_its_rule_its_evidence_and_what_would_open_it(
    one: Order, parcels: list[Any], policy: Policy, to: O, more: dict[str, Any], answer: Gate
) -> None:
    assert may(one, parcels, policy, to, **more) == answer


def actions(decision: Any, kind: str) -> list[Action]:
    return [action for action in decision.actions if action.kind == kind]


def finding(decision: Any, kind: K) -> Finding:
    (found,) = [one for one in decision.findings if one.kind is kind]
    return found


def test_a_status_is_written_once_with_all_that_the_shop_must_know() -> None:
    one = told(history=(Stand(T0 - D, O.PROCESSING, "Processing", P.PAID, "system"),))
    parcel = shipment(S.OUT_FOR_DELIVERY, at=T0, custody_at=T0 - D, reason=Reason.ADDRESS_INCORRECT, place=RENO,
                      run_place=NOWHERE, edd=Edd(T0, T0 + 9 * H))  # fmt: skip

    decision = reconcile(one, [parcel], GUIDE, T0 + H)

    stamp = int((T0 - D).timestamp())
    assert actions(decision, "order_status") == [
        Action(
            kind="order_status", key=f"shop/R1/status/out_for_delivery/1-{stamp}", store="shop", order="R1",
            status=S.OUT_FOR_DELIVERY, reason=Reason.ADDRESS_INCORRECT, happened_at=T0, place=RENO, edd=T0 + 9 * H,
            rules=("carrier:out_for_delivery", "policy:guide", "owner:otherwise"), target=O.OUT_FOR_DELIVERY,
            before=O.PROCESSING, parcels=(Parcel("ups", "N1"),), number="#1",
        )
    ]  # fmt: skip
    assert decision.because == ("owner:otherwise", "write:carrier:out_for_delivery")


def test_shipped_is_dated_by_the_handover_of_the_last_parcel() -> None:
    one = replace(order("N1", "N2"), status=O.PROCESSING)
    parcels = [
        shipment(S.IN_TRANSIT, at=T0 + 5 * H, custody_at=T0),
        shipment(S.PICKED_UP, number="N2", at=T0 + H, custody_at=T0 + H),
    ]

    (write,) = actions(reconcile(one, parcels, GUIDE, T0 + 6 * H), "order_status")

    assert (write.target, write.happened_at, write.key) == (O.SHIPPED, T0 + H, "shop/R1/status/shipped/0")


def test_one_of_two_parcels_handed_over_is_partly_shipped_by_its_own_handover() -> None:
    two = tuple(Fulfilment(f"F{i}", "SUCCESS", (Parcel("ups", f"N{i}"),)) for i in (1, 2))
    one = told(fulfilments=two)
    parcels = [shipment(S.PRE_TRANSIT), shipment(S.IN_TRANSIT, number="N2", at=T0 + 3 * H, custody_at=T0 + H)]

    decision = reconcile(one, parcels, GUIDE, T0 + 6 * H)

    (write,) = actions(decision, "order_status")
    assert (write.target, write.happened_at, write.status) == (O.PARTIALLY_SHIPPED, T0 + H, S.IN_TRANSIT)
    assert "write:carrier:partly_handed_over" in decision.because
    waits = reconcile(one, parcels, replace(GUIDE, order_words={O.SHIPPED: "Shipped"}), T0 + 6 * H)
    assert actions(waits, "order_status") == []
    assert "waits_for_all" in waits.because


@pytest.mark.parametrize(
    ("parcel", "policy", "rule"),
    [
        (shipment(S.PRE_TRANSIT), GUIDE, "not_handed_over"),
        (shipment(S.IN_TRANSIT, confirmed=False), GUIDE, "waits_for_confirmation"),
        (shipment(S.IN_TRANSIT, disputed=True), GUIDE, "waits_sources_disagree"),
        (shipment(S.DELIVERED), replace(GUIDE, order_words={O.SHIPPED: "Shipped"}), "status_not_expressible:delivered"),
        (shipment(S.RETURNED, custody_at=T0), GUIDE, "no_meaning:returned"),
        (
            shipment(S.DELIVERED),
            replace(GUIDE, means={Owner.PLATFORM: {S.PICKED_UP: O.SHIPPED}}),
            "no_meaning:delivered",
        ),
        (shipment(S.IN_TRANSIT), replace(GUIDE, means={}), ""),
        (shipment(S.IN_TRANSIT), replace(GUIDE, means={Owner.SELLER: MEANS}), "owner_sets_its_own_status"),
        (shipment(S.CANCELLED), GUIDE, "no_tracked_parcel"),
    ],
)
def test_what_is_not_written_says_by_which_rule(parcel: Any, policy: Policy, rule: str) -> None:
    decision = reconcile(told(), [parcel], policy, T0 + H)

    assert actions(decision, "order_status") == []
    assert not rule or rule in decision.because


def test_what_happened_before_the_store_was_connected_is_not_written() -> None:
    decision = reconcile(told(), [MOVING], GUIDE, T0 + H, connected_at=T0 + timedelta(seconds=1))
    assert actions(decision, "order_status") == actions(decision, "notice") == []
    assert "before_connected" in decision.because
    assert actions(reconcile(told(), [MOVING], GUIDE, T0 + H, connected_at=T0), "order_status") != []


def test_an_order_that_the_worker_may_not_write_is_found_behind_with_what_to_do() -> None:
    decision = reconcile(told(), [MOVING], SELLER, T0 + H)

    assert finding(decision, K.ORDER_BEHIND) == Finding(
        K.ORDER_BEHIND, "shop/#1", Severity.WARNING, Act.ACT,
        {"order": "#1", "owner": "seller", "shop": "PROCESSING", "carrier": "in_transit", "means": "shipped"}, T0,
        "set the order to 'Shipped' in the shop",
    )  # fmt: skip


def test_an_order_ahead_is_found_after_its_grace_and_not_before() -> None:
    one = told(O.DELIVERED, status_at=T0)
    before, after = (reconcile(one, [MOVING], GUIDE, T0 + wait) for wait in (24 * H - timedelta(seconds=1), 24 * H))

    assert K.ORDER_AHEAD not in {f.kind for f in before.findings}
    assert before.look_again_at == T0 + 24 * H
    assert finding(after, K.ORDER_AHEAD) == Finding(
        K.ORDER_AHEAD, "shop/#1", Severity.WARNING, Act.MONITOR, {"order": "#1", "owner": "platform", "shop": "DELIVERED"} | {
            "last_scan": LAST["last_scan"], "parcel": "ups N1"}, T0, "send the support packet: tracker evidence #1",
    )  # fmt: skip
    proven = replace(one, statements=(Statement(StatementKind.PROOF, "photo", "ops", T0),))
    assert "stated_by_person" in reconcile(proven, [MOVING], GUIDE, T0 + 48 * H).because
    shipped = told(O.SHIPPED, status_at=T0)
    assert K.ORDER_AHEAD not in {f.kind for f in reconcile(shipped, [MOVING], GUIDE, T0 + 48 * H).findings}
    label = reconcile(shipped, [shipment(S.PRE_TRANSIT)], GUIDE, T0 + 48 * H)
    assert finding(label, K.ORDER_AHEAD).evidence["shop"] == "SHIPPED"
    nobody = replace(shipment(S.UNKNOWN), asked_until=None)
    unheard = reconcile(shipped, [nobody], GUIDE, T0 + 48 * H)
    assert "nobody_asked_the_carrier" in unheard.because
    assert K.ORDER_AHEAD not in {f.kind for f in unheard.findings}


def history(*stands: tuple[O, str, datetime]) -> tuple[Stand, ...]:
    return tuple(Stand(at, status, str(status).title(), P.PAID, actor, at - H) for status, actor, at in stands)


def test_an_edit_of_the_seller_in_a_platform_order_is_put_back_and_found() -> None:
    """KE-03."""
    stands = history(
        (O.PROCESSING, "system", T0 - 3 * D), (O.SHIPPED, "system", T0 - 2 * D), (O.DELIVERED, "seller", T0 - D)
    )
    one = told(O.DELIVERED, actor="seller", history=stands)

    decision = reconcile(one, [shipment(S.IN_TRANSIT, at=T0 - 2 * D)], GUIDE, T0)

    (write,) = actions(decision, "order_status")
    assert (write.target, write.before, write.happened_at, write.rules[0]) == (
        O.SHIPPED,
        O.DELIVERED,
        T0 - D,
        "restore",
    )
    assert finding(decision, K.SYSTEM_CONTROLLED_EDIT) == Finding(
        K.SYSTEM_CONTROLLED_EDIT, "shop/#1", Severity.WARNING, Act.MONITOR,
        {"order": "#1", "owner": "platform", "actor": "seller", "from": "Shipped", "to": "DELIVERED",
         "read_before": "2026-11-01 07:00Z", "read_at": "2026-11-01 08:00Z"}, T0 - D, "restore 'Shipped'",
    )  # fmt: skip


def test_an_edit_that_agrees_with_the_carrier_is_let_be() -> None:
    stands = history((O.SHIPPED, "system", T0 - 2 * D), (O.DELIVERED, "seller", T0 - D))
    one = told(O.DELIVERED, actor="seller", history=stands)

    decision = reconcile(one, [shipment(S.DELIVERED, at=T0 - D)], GUIDE, T0)

    assert actions(decision, "order_status") == []
    assert "edit_agrees_with_carrier" in decision.because


@pytest.mark.parametrize(
    ("stands", "policy", "rule"),
    [
        ([(O.PROCESSING, "admin", T0 - 2 * D), (O.DELIVERED, "seller", T0 - D)], GUIDE, "no_system_value_to_restore"),
        ([(O.PROCESSING, "system", T0 - 2 * D), (O.DELIVERED, "seller", T0 - D)], GUIDE, "no_restore_into_processing"),
        ([(O.SHIPPED, "system", T0 - 3 * D), (O.ON_HOLD, "admin", T0 - 2 * D), (O.DELIVERED, "seller", T0 - D)], GUIDE, "no_system_value_to_restore"),
        ([(O.SHIPPED, "system", T0 - 2 * D), (O.DELIVERED, "seller", T0 - D)], replace(GUIDE, order_words={}), "status_not_expressible:shipped"),
    ],
)  # fmt: skip
def test_an_edit_that_cannot_be_put_back_is_found_without_a_proposal(stands: Any, policy: Policy, rule: str) -> None:
    one = told(O.DELIVERED, actor="seller", history=history(*stands))
    decision = reconcile(one, [shipment(S.IN_TRANSIT, at=T0 - 2 * D)], policy, T0)

    assert actions(decision, "order_status") == []
    assert rule in decision.because
    assert finding(decision, K.SYSTEM_CONTROLLED_EDIT).proposal == "send the support packet: tracker evidence #1"


def test_an_unknown_hand_is_told_and_never_put_back() -> None:
    stands = history((O.SHIPPED, "system", T0 - 2 * D), (O.DELIVERED, "unknown", T0 - D))
    decision = reconcile(told(O.DELIVERED, history=stands), [shipment(S.IN_TRANSIT, at=T0 - 2 * D)], GUIDE, T0)

    assert actions(decision, "order_status") == []
    assert "unknown_actor_is_not_restored" in decision.because
    assert finding(decision, K.SYSTEM_CONTROLLED_EDIT).evidence["actor"] == "unknown"


def test_a_persons_correction_is_written_once() -> None:
    said = Statement(StatementKind.CORRECTION, "wrong scan", "ada", T0, O.SHIPPED, override=True)
    stands = history((O.DELIVERED, "system", T0 - D))
    one = told(O.DELIVERED, history=stands, statements=(said,))

    (write,) = actions(reconcile(one, [MOVING], GUIDE, T0 + H), "order_status")
    assert (write.target, write.rules[0], write.happened_at) == (O.SHIPPED, "correction:ada", T0)

    for moved in (T0, T0 + H):  # the shop said something since: at the same moment, or later
        done = replace(one, history=(*stands, *history((O.DELIVERED, "system", moved))))
        assert actions(reconcile(done, [MOVING], GUIDE, T0 + 2 * H), "order_status") == []
    kept = replace(one, statements=(replace(said, override=False),))
    assert "gate:no_step_back" in reconcile(kept, [MOVING], GUIDE, T0 + H).because


def test_a_carriers_correction_is_written_where_the_policy_accepts_it_and_found_either_way() -> None:
    one = told(O.DELIVERED, status_at=T0)
    parcel = shipment(S.OUT_FOR_DELIVERY, at=T0 + H, custody_at=T0 - D, corrected=True)

    told_so = Finding(
        K.CORRECTION_AFTER_DELIVERED, "shop/#1/ups/N1", Severity.WARNING, Act.ACT,
        {"order": "#1", "owner": "platform", "parcel": "ups N1", "told": "delivered", "told_at": "2026-11-02 08:00Z",
         "contradicted_by": "out_for_delivery", "at": "2026-11-02 09:00Z"}, T0 + H,
        "send the support packet: tracker evidence #1",
    )  # fmt: skip
    left = reconcile(one, [parcel], GUIDE, T0 + 2 * H)
    assert (finding(left, K.CORRECTION_AFTER_DELIVERED), actions(left, "order_status")) == (told_so, [])
    followed = reconcile(one, [parcel], replace(GUIDE, corrections=True), T0 + 2 * H)
    assert finding(followed, K.CORRECTION_AFTER_DELIVERED) == told_so
    (write,) = actions(followed, "order_status")
    assert (write.target, write.rules[0], write.happened_at) == (O.OUT_FOR_DELIVERY, "carrier_correction", T0 + H)


def test_the_customer_is_told_each_thing_once_with_its_place_and_date() -> None:
    parcel = shipment(
        S.OUT_FOR_DELIVERY, at=T0 + H, custody_at=T0, place=NOWHERE, run_place=RENO, edd=Edd(T0, T0 + 9 * H)
    )
    stands = history((O.CONFIRMED, "system", T0 - D), (O.OUT_FOR_DELIVERY, "system", T0 + H))
    one = told(O.OUT_FOR_DELIVERY, history=stands)

    said = actions(reconcile(one, [parcel], GUIDE, T0 + 2 * H), "notice")

    assert [(a.notice, a.happened_at) for a in said] == [
        (NoticeClass.PLACED, T0), (NoticeClass.CONFIRMED, T0 - D), (NoticeClass.SHIPPED, T0),
        (NoticeClass.OUT_FOR_DELIVERY, T0 + H),
    ]  # fmt: skip
    assert said[0] == Action(
        kind="notice", key="shop/R1/notice/placed", store="shop", order="R1", happened_at=T0,
        rules=("notice:placed", "policy:guide"), notice=NoticeClass.PLACED, number="#1",
    )  # fmt: skip
    assert said[3] == Action(
        kind="notice", key="shop/R1/notice/out_for_delivery/ups/N1/1", store="shop", order="R1", status=S.OUT_FOR_DELIVERY,
        happened_at=T0 + H, place=RENO, edd=T0 + 9 * H, rules=("notice:out_for_delivery", "policy:guide"),
        notice=NoticeClass.OUT_FOR_DELIVERY, parcels=(Parcel("ups", "N1"),), number="#1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "parcels", "found"),
    [
        (told(O.SHIPPED, payment=P.FAILED), [MOVING],
         Finding(K.FAILED_PAYMENT_DISPATCHED, "shop/#1", Severity.URGENT, Act.ACT,
                 {"order": "#1", "owner": "platform", "shop": "SHIPPED", "payment": "FAILED"}, T0)),
        (told(O.AWAITING_CONFIRMATION, payment=P.FAILED), [],
         Finding(K.PAYMENT_FAILED, "shop/#1", Severity.WARNING, Act.ACT,
                 {"order": "#1", "owner": "platform", "shop": str(O.AWAITING_CONFIRMATION).upper(), "payment": "FAILED"}, T0)),
        (told(O.SHIPPED, payment=P.PENDING), [MOVING],
         Finding(K.UNPAID_SHIPPED, "shop/#1", Severity.URGENT, Act.ACT,
                 {"order": "#1", "owner": "platform", "shop": "SHIPPED", "payment": "PENDING"}, T0)),
        (told(O.PROCESSING, payment=P.PENDING), [],
         Finding(K.UNPAID_PROCESSING, "shop/#1", Severity.WARNING, Act.ACT,
                 {"order": "#1", "owner": "platform", "shop": "PROCESSING", "payment": "PENDING"}, T0)),
        (told(O.SHIPPED, payment=P.PENDING, pays_by="cod"), [MOVING],
         Finding(K.UNVERIFIED_DISPATCH, "shop/#1", Severity.URGENT, Act.ACT,
                 {"order": "#1", "owner": "platform", "shop": "SHIPPED", "pays_by": "cod"}, T0)),
        (told(O.READY_FOR_DISPATCH, fulfilments=(BARE,)), [],
         Finding(K.DISPATCH_WITHOUT_COURIER, "shop/#1", Severity.WARNING, Act.ACT,
                 {"order": "#1", "owner": "platform", "shop": "READY_FOR_DISPATCH"}, T0)),
        (told(O.SHIPPED, fulfilments=(BARE,)), [],
         Finding(K.SHIPPED_WITHOUT_TRACKING, "shop/#1", Severity.WARNING, Act.MONITOR,
                 {"order": "#1", "owner": "platform", "shop": "SHIPPED"}, T0, "send the support packet: tracker evidence #1")),
        (told(O.SHIPPED, address="missing"), [MOVING],
         Finding(K.ADDRESS_UNCONFIRMED, "shop/#1", Severity.WARNING, Act.MONITOR,
                 {"order": "#1", "owner": "platform", "address": "missing", "shop": "SHIPPED"}, T0)),
        (told(O.PROCESSING, items=(Item("i1", 2, 1, name="Teapot", short=True), Item("i2", 1, 1, short=True))), [],
         Finding(K.OUT_OF_STOCK, "shop/#1", Severity.WARNING, Act.ACT, {"order": "#1", "owner": "platform", "items": "Teapot"}, T0)),
        (told(O.CANCELLED, cancelled_at=T0 + H), [MOVING],
         Finding(K.CANCELLED_BUT_MOVING, "shop/#1/ups/N1", Severity.URGENT, Act.ACT,
                 {"order": "#1", "owner": "platform", "parcel": "ups N1", "status": "in_transit", "last_place": "RENO, NV, US"}, T0 + H)),
        (told(O.SHIPPED), [shipment(S.LOST, custody_at=T0 - D, place=RENO)],
         Finding(K.LOST_OR_DESTROYED, "shop/#1/ups/N1", Severity.URGENT, Act.ACT,
                 {"order": "#1", "owner": "platform", "parcel": "ups N1", "status": "lost", "last_place": "RENO, NV, US"}, T0)),
        (told(O.SHIPPED), [shipment(S.IN_TRANSIT, unmapped=3)],
         Finding(K.UNMAPPED_CODE, "shop/#1/ups/N1", Severity.INFO, Act.ACT,
                 {"order": "#1", "owner": "platform", "parcel": "ups N1", "scans": "3"}, T0)),
    ],
)  # fmt: skip
def test_a_finding_names_its_subject_its_weight_its_evidence_and_since_when(
    one: Order, parcels: list[Any], found: Finding
) -> None:
    assert finding(reconcile(one, parcels, GUIDE, T0 + 2 * H), found.kind) == found


def test_quantities_that_do_not_fit_are_told_by_item() -> None:
    """MG-12."""
    part = Fulfilment("F1", "SUCCESS", (Parcel("ups", "N1"),), (("a", 3), ("b", 1)))
    one = told(O.SHIPPED, items=(Item("a", 2), Item("b", 2), Item("c", 1, shippable=False)), fulfilments=(part,))

    found = finding(reconcile(one, [MOVING], GUIDE, T0 + H), K.QUANTITY_MISMATCH)
    assert (found.evidence["shipped"], found.severity, found.act) == ("a: 3 of 2, b: 1 of 2", Severity.WARNING, Act.ACT)
    partly = reconcile(replace(one, status=O.PARTIALLY_SHIPPED), [MOVING], GUIDE, T0 + H)
    assert finding(partly, K.QUANTITY_MISMATCH).evidence["shipped"] == "a: 3 of 2"


def test_of_an_order_that_was_read_in_part_nothing_is_said_of_all_of_it() -> None:
    """What could not be read may be a line, a fulfilment or a parcel: neither all delivered nor all handed over."""
    parts = tuple(
        Fulfilment(f"F{i}", "SUCCESS", (Parcel("ups", f"N{i}"),), (("a", 1),), shipped_at=T0 + i * H) for i in (1, 2)
    )
    one = told(O.SHIPPED, items=(Item("a", 1),), fulfilments=parts, partial=True)
    parcels = [shipment(S.DELIVERED, custody_at=T0), shipment(S.DELIVERED, number="N2", custody_at=T0)]

    decision = reconcile(one, parcels, GUIDE, T0 + H)
    assert actions(decision, "order_status") == []
    assert "partly_read" in decision.because
    assert may(one, parcels, GUIDE, O.DELIVERED).rule == "order_partly_read"
    assert may(replace(one, status=O.PROCESSING), [], GUIDE, O.CANCELLED, reason="asked").rule == "order_partly_read"
    on_its_way = reconcile(one, [MOVING, parcels[1]], GUIDE, T0 + H)
    assert not {K.QUANTITY_MISMATCH, K.REMEDY_IN_CUSTODY} & {f.kind for f in on_its_way.findings}
    whole = reconcile(replace(one, partial=False), [MOVING, parcels[1]], GUIDE, T0 + H)
    assert {K.QUANTITY_MISMATCH, K.REMEDY_IN_CUSTODY} & {f.kind for f in whole.findings} == {K.REMEDY_IN_CUSTODY}


def test_a_fingerprint_is_what_the_carrier_said_joined_by_unit_separators() -> None:
    def hashed(*parts: str) -> str:
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]

    at = datetime(2026, 11, 2, 8, 5, 7, 123456)
    scan = Scan(Code("track", "PU", "Picked up"), at, at.replace(tzinfo=UTC), place=Place("Straße", "X", "1", "DE"))

    assert fingerprint(scan) == hashed("track", "PU", "2026-11-02T08:05:07", "strasse", "DE")
    assert fingerprint(replace(scan, precision=Precision.MINUTE)) == hashed(
        "track", "PU", "2026-11-02T08:05", "strasse", "DE"
    )
    assert fingerprint(replace(scan, precision=Precision.DATE)) == hashed("track", "PU", "2026-11-02", "strasse", "DE")
    assert fingerprint(scan, text_matters=True) == hashed(
        "track", "PU", "2026-11-02T08:05:07", "strasse", "DE", "Picked up"
    )
    assert fingerprint(replace(scan, local=None, occurred_at=None)) == hashed("track", "PU", "", "strasse", "DE")
    assert fingerprint(replace(scan, event_id="e1")) == hashed("id", "e1")


def test_a_digest_is_of_sorted_tight_json() -> None:
    assert digest({"b": [1, 2], "a": "x"}) == hashlib.sha256(b'{"a":"x","b":[1,2]}').hexdigest()[: len(digest({}))]


def test_an_estimate_is_worded_in_the_customers_language() -> None:
    at = datetime(2026, 11, 5, 18, 0, tzinfo=UTC)
    assert "05.11.2026" in estimate(at, "de", "Europe/Berlin")
    assert "November 5, 2026" in estimate(at, "en", "Europe/Berlin")


def test_a_span_ends_after_it_began() -> None:
    assert Span(elapsed=2 * H).end(T0, Calendar()) == T0 + 2 * H
    assert Span(business_days=1).end(T0, Calendar()) == datetime(2026, 11, 4, tzinfo=UTC)  # T0 is a Monday
    assert Span().end(T0, Calendar()) == T0


def test_errors_say_what_they_know() -> None:
    assert str(ConfigError("a: wrong", "b: wrong")) == "a: wrong\nb: wrong"
    assert RateLimited("slow down", H).after == H
    assert RateLimited("slow down").after is None


# what a sample of mutants showed to be untold


def test_a_gate_that_closes_keeps_the_worker_from_writing_too() -> None:
    unpaid = replace(GUIDE, paid_for=frozenset({O.SHIPPED}))
    decision = reconcile(told(payment=P.PENDING), [MOVING], unpaid, T0 + H)

    assert actions(decision, "order_status") == []
    assert "gate:not_paid" in decision.because


def test_a_correction_is_overtaken_only_by_what_the_carrier_says_later() -> None:
    said = Statement(StatementKind.CORRECTION, "x", "ada", T0, O.SHIPPED, override=True)
    one = told(O.READY_FOR_DISPATCH, history=history((O.READY_FOR_DISPATCH, "system", T0 - D)), statements=(said,))
    for at, target in ((T0 - H, O.SHIPPED), (T0, O.SHIPPED), (T0 + H, O.OUT_FOR_DELIVERY)):
        parcel = shipment(S.OUT_FOR_DELIVERY, at=at, custody_at=T0 - D)
        (write,) = actions(reconcile(one, [parcel], GUIDE, T0 + 2 * H), "order_status")
        assert write.target is target


def test_only_edits_of_hands_that_the_policy_names_are_put_back() -> None:
    parcels = [shipment(S.IN_TRANSIT, at=T0 - 2 * D)]
    stands = history((O.SHIPPED, "system", T0 - 2 * D), (O.DELIVERED, "admin", T0 - D))
    allowed = reconcile(told(O.DELIVERED, actor="admin", history=stands), parcels, GUIDE, T0)
    assert actions(allowed, "order_status") == []
    assert K.SYSTEM_CONTROLLED_EDIT not in {f.kind for f in allowed.findings}
    assert "no_step_back" in allowed.because

    early = history((O.AWAITING_CONFIRMATION, "system", T0 - 2 * D), (O.PROCESSING, "seller", T0 - D))
    before = reconcile(told(O.PROCESSING, actor="seller", history=early), [], GUIDE, T0)
    assert K.SYSTEM_CONTROLLED_EDIT not in {f.kind for f in before.findings}  # neither side is about dispatch


def test_a_hold_before_the_systems_last_word_does_not_keep_it_from_being_restored() -> None:
    stands = history(
        (O.ON_HOLD, "admin", T0 - 3 * D), (O.SHIPPED, "system", T0 - 2 * D), (O.DELIVERED, "seller", T0 - D)
    )
    one = told(O.DELIVERED, actor="seller", history=stands)

    (write,) = actions(reconcile(one, [shipment(S.IN_TRANSIT, at=T0 - 2 * D)], GUIDE, T0), "order_status")
    assert (write.target, write.rules[0]) == (O.SHIPPED, "restore")


def test_a_restored_order_is_not_looked_at_further() -> None:
    stands = history((O.SHIPPED, "system", T0 - 2 * D), (O.DELIVERED, "seller", T0 - D))
    decision = reconcile(
        told(O.DELIVERED, actor="seller", history=stands), [shipment(S.IN_TRANSIT, at=T0 - 2 * D)], GUIDE, T0
    )

    assert [rule for rule in decision.because if not rule.startswith("owner:")] == ["write:restore"]


def test_an_order_whose_parcel_came_back_or_is_not_shipped_is_not_ahead() -> None:
    for one, parcels in (
        (told(O.DELIVERED, status_at=T0), [shipment(S.RETURNED, custody_at=T0)]),
        (told(O.DELIVERED, status_at=T0), [shipment(S.LOST, custody_at=T0)]),
        (told(O.READY_FOR_DISPATCH, status_at=T0), [shipment(S.PRE_TRANSIT)]),
        (told(O.DELIVERED, status_at=T0), []),
    ):
        assert K.ORDER_AHEAD not in {f.kind for f in reconcile(one, parcels, GUIDE, T0 + 9 * D).findings}


def test_a_delivery_that_the_carrier_took_back_before_any_hand_over_is_found_with_what_was_told() -> None:
    one = told(O.DELIVERED, status_at=T0)
    parcel = shipment(S.PRE_TRANSIT, at=T0 + H, corrected=True)
    found = finding(reconcile(one, [parcel], GUIDE, T0 + 2 * H), K.CORRECTION_AFTER_DELIVERED)
    assert (found.evidence["told"], found.evidence["contradicted_by"], found.since) == (
        "delivered",
        "pre_transit",
        T0 + H,
    )


def test_a_delivered_order_of_parcels_without_a_date_is_still_an_order() -> None:
    two = replace(order("N1", "N2"), status=O.SHIPPED)
    parcels = [shipment(S.DELIVERED, since=None), shipment(S.DELIVERED, number="N2", at=T0 + H)]
    (write,) = actions(reconcile(two, parcels, GUIDE, T0 + 2 * H), "order_status")
    assert (write.target, write.happened_at) == (O.DELIVERED, T0 + H)


@pytest.mark.parametrize(
    ("number", "fits"),
    [("RB123456785GB", True), ("RB123456784GB", False), ("RR000000005GB", True), ("RA000000020GB", False)],
)
def test_the_check_digit_of_s10_is_five_for_rest_zero_and_none_for_rest_one(number: str, fits: bool) -> None:
    """UPU S10: 11 - (8a+6b+4c+2d+3e+5f+9g+7h mod 11); 10 becomes 0, 11 becomes 5."""
    weights, digits = (8, 6, 4, 2, 3, 5, 9, 7), [int(c) for c in number[2:10]]
    rest = 11 - sum(w * d for w, d in zip(weights, digits, strict=True)) % 11
    assert ({10: 0, 11: 5}.get(rest, rest) == int(number[10])) is fits
    assert (candidates(number)[:1] == ("royalmail",)) is fits


def test_a_day_told_as_midnight_is_the_day_that_ends_there() -> None:
    assert "November 5, 2026" in estimate(datetime(2026, 11, 6, tzinfo=UTC), "en", "America/Los_Angeles")


def test_ownership_by_carrier_reads_the_carrier_and_where_it_is_not_told_the_shops_word() -> None:
    rule = Owns("ups", Owner.PLATFORM, carrier=("ups", "Kiwi Post"))
    for parcel, fits in (
        (Parcel("ups", "N"), True),
        (Parcel(None, "N", "kiwi post"), True),
        (Parcel("dhl", "N", "ups"), False),
    ):
        assert rule.fits(told(fulfilments=(Fulfilment("F", "s", (parcel,)),))) is fits


def test_a_correction_that_the_shop_cannot_say_stops_there() -> None:
    said = Statement(StatementKind.CORRECTION, "x", "ada", T0, O.CONFIRMED, override=True)
    decision = reconcile(
        told(history=history((O.PROCESSING, "system", T0 - D)), statements=(said,)), [MOVING], GUIDE, T0 + H
    )

    assert actions(decision, "order_status") == []
    assert [rule for rule in decision.because if not rule.startswith("owner:")] == ["status_not_expressible:confirmed"]


def test_a_written_status_stands_since_the_version_before_it() -> None:
    one = told(history=history((O.PROCESSING, "system", T0 + H)))
    (write,) = actions(reconcile(one, [MOVING], GUIDE, T0 + 2 * H), "order_status")
    stand = apply(one, write, "Shipped").history[-1]
    assert (stand.at, stand.read_before, stand.actor, stand.raw) == (T0 + H, T0 + H, "trackwright", "Shipped")


def test_a_clock_that_begins_at_a_status_does_not_run_for_an_order_outside_the_line() -> None:
    clock = Deadline("pack", K.DELIVERY_OVERDUE, O.PROCESSING, O.SHIPPED, breach=Span(elapsed=H))
    policy = replace(GUIDE, deadlines=(clock,))
    assert reconcile(told(O.ON_HOLD), [], policy, T0 + 9 * H).findings is not None
    late = finding(reconcile(told(status_at=T0), [], policy, T0 + H), K.DELIVERY_OVERDUE)
    assert (late.evidence["step"], late.evidence["due"], late.since) == ("breach", "2026-11-02 09:00Z", T0 + H)
    early = told(O.CONFIRMED, history=history((O.CONFIRMED, "system", T0)))
    assert K.DELIVERY_OVERDUE not in {f.kind for f in reconcile(early, [], policy, T0 + 9 * H).findings}


def test_an_unknown_hand_that_agrees_with_the_carrier_is_no_finding() -> None:
    stands = history((O.SHIPPED, "system", T0 - 2 * D), (O.DELIVERED, "unknown", T0 - D))
    agrees = reconcile(told(O.DELIVERED, history=stands), [shipment(S.DELIVERED, at=T0 - D)], GUIDE, T0)
    assert K.SYSTEM_CONTROLLED_EDIT not in {f.kind for f in agrees.findings}


@pytest.mark.parametrize(("status", "address", "found"), [
    (O.SHIPPED, "flagged", True), (O.SHIPPED, "unconfirmed", True), (O.SHIPPED, "missing", True), (O.SHIPPED, "confirmed", False),
    (O.SHIPPED, "", False), (O.PROCESSING, "flagged", False),
])  # fmt: skip
def test_an_address_matters_once_the_order_moved(status: O, address: str, found: bool) -> None:
    decision = reconcile(told(status, address=address), [shipment(S.PRE_TRANSIT)], GUIDE, T0 + H)
    assert (K.ADDRESS_UNCONFIRMED in {f.kind for f in decision.findings}) is found


def test_delivered_straight_from_processing_is_found() -> None:
    one = told(O.DELIVERED, history=history((O.PROCESSING, "seller", T0 - D), (O.DELIVERED, "seller", T0)))
    assert finding(reconcile(one, [], SELLER, T0 + H), K.DELIVERED_BEFORE_SHIPPED).severity is Severity.WARNING
    by_steps = replace(
        one,
        history=history((O.PROCESSING, "seller", T0 - D), (O.SHIPPED, "seller", T0 - H), (O.DELIVERED, "seller", T0)),
    )
    first_read = replace(one, history=history((O.DELIVERED, "seller", T0)))
    for fine in (by_steps, first_read):
        assert K.DELIVERED_BEFORE_SHIPPED not in {f.kind for f in reconcile(fine, [], SELLER, T0 + H).findings}


def test_silence_of_a_lane_has_its_own_length() -> None:
    policy = replace(GUIDE, silence=(Silence("far", carrier="ups", stuck_after=10 * D),))
    for one, days, stuck in ((policy, 9, False), (policy, 10, True), (GUIDE, 6, False), (GUIDE, 7, True)):
        decision = reconcile(told(O.SHIPPED), [MOVING], one, T0 + days * D)
        assert (K.STUCK in {f.kind for f in decision.findings}) is stuck
    assert finding(reconcile(told(O.SHIPPED), [MOVING], policy, T0 + 10 * D), K.STUCK).evidence["silence"] == "far"


def test_no_remedy_is_proposed_while_the_parcel_is_held_by_customs_or_a_slow_carrier() -> None:
    """KE-14, KE-09."""
    for parcel in (shipment(S.IN_TRANSIT, reason=Reason.CUSTOMS_HOLD), replace(MOVING, slow=True)):
        assert finding(reconcile(told(), [parcel], SELLER, T0 + H), K.ORDER_BEHIND).proposal == ""


def test_unusual_steps_are_added_up() -> None:
    back = (S.PICKED_UP, S.AVAILABLE_FOR_PICKUP) * 2  # from the counter back to a pick-up is no usual way
    steps = [(status, hours) for hours, status in enumerate((*back, S.PICKED_UP, S.IN_TRANSIT))]
    assert summarize([scan_told(status, hours) for status, hours in steps]).unusual == 2


def polled_after(now: datetime, *, pace: float = 1.0, edd: Edd | None = None) -> timedelta:
    """Return the interval, of a parcel in transit that was scanned at T0."""
    cadence = Cadence(intervals={S.IN_TRANSIT: 10 * H}, near_delivery=H, pace=pace)
    summary = summarize([scan_told(S.IN_TRANSIT, 0)])
    began = summary.last_scan_at or T0
    number = next(f"N{i}" for i in range(10_000) if zlib.crc32(f"N{i}".encode()) % 1000 == 0)  # not stretched
    at = next_poll(summary, TrackingState.ACTIVE, cadence, began + (now - T0), number=number, began=began, edd=edd)
    assert at is not None
    return at - (began + (now - T0))


def test_polls_are_dense_from_six_hours_before_the_estimate_until_six_after_it() -> None:
    began = scan_told(S.IN_TRANSIT, 0).instant
    edd = Edd(began + 10 * H, began + 12 * H)
    minute = timedelta(minutes=1)
    waits = [polled_after(T0 + at, edd=edd) / H for at in (4 * H - minute, 4 * H, 18 * H, 18 * H + minute)]
    assert waits == [10, 1, 1, 10]


def test_an_account_with_webhooks_is_asked_less_often_by_its_pace() -> None:
    assert polled_after(T0 + H, pace=3.0) == 30 * H


def test_a_cancel_may_be_closed_from_the_first_status_on() -> None:
    never = replace(GUIDE, cancel_closes={Owner.PLATFORM: O.AWAITING_CONFIRMATION})
    gate = may(told(O.AWAITING_CONFIRMATION), [], never, O.CANCELLED, reason="x")
    assert (gate.allowed, gate.rule) == (False, "cancel_closed_at_awaiting_confirmation")


def test_a_voided_label_does_not_speak_for_the_parcels_that_went() -> None:
    voided, went = shipment(S.CANCELLED, number="N1"), shipment(S.DELIVERED, number="N2")
    for parcels, speaks in (([voided, went], "N2"), ([voided], "N1")):
        chosen = aggregate(parcels)
        assert chosen is not None and chosen.number == speaks
    assert aggregate([]) is None


def test_a_shop_that_says_what_the_carrier_says_is_not_ahead() -> None:
    for status, parcel in (
        (O.SHIPPED, MOVING),
        (O.OUT_FOR_DELIVERY, MOVING),
        (O.DELIVERED, shipment(S.DELIVERED, custody_at=T0 - D)),
    ):
        decision = reconcile(told(status, status_at=T0), [parcel], GUIDE, T0 + 3 * D)
        assert K.ORDER_AHEAD not in {one.kind for one in decision.findings}, status


def test_no_person_corrects_an_order_that_somebody_holds_whatever_they_override() -> None:
    said = Statement(StatementKind.CORRECTION, "go", "ada", T0, O.SHIPPED, override=True)
    for one in (told(O.ON_HOLD), told(O.PROCESSING, payment=P.DISPUTED)):
        stands = history((one.status, "system", T0 - D))
        decision = reconcile(replace(one, history=stands, statements=(said,)), [MOVING], GUIDE, T0 + H)
        assert actions(decision, "order_status") == [] and "human_wins" in decision.because


def test_an_order_is_shipped_whole_when_what_is_left_of_it_went() -> None:
    part = Fulfilment("F1", "SUCCESS", (Parcel("ups", "N1"),), (("a", 2),))
    one = told(items=(Item("a", 3, removed=1),), fulfilments=(part,))
    (write,) = actions(reconcile(one, [MOVING], GUIDE, T0 + H), "order_status")
    assert write.target is O.SHIPPED


def test_a_notice_tells_the_reason() -> None:
    parcel = shipment(S.DELIVERY_ATTEMPTED, at=T0 + H, custody_at=T0, reason=Reason.ADDRESS_INCORRECT)
    said = actions(reconcile(told(O.SHIPPED), [parcel], GUIDE, T0 + 2 * H), "notice")
    assert {a.reason for a in said if a.parcels} == {Reason.ADDRESS_INCORRECT}
    assert {a.reason for a in said if not a.parcels} == {None}


def test_a_person_who_says_delivered_is_overtaken_where_the_carrier_takes_it_back_later() -> None:
    said = Statement(StatementKind.CORRECTION, "x", "ada", T0, O.DELIVERED, override=True)
    one = told(O.SHIPPED, history=history((O.SHIPPED, "system", T0 - D)), statements=(said,))
    back = shipment(S.OUT_FOR_DELIVERY, at=T0 + H, custody_at=T0 - D, corrected=True)
    for corrections, target in ((True, O.OUT_FOR_DELIVERY), (False, O.DELIVERED)):
        (write,) = actions(reconcile(one, [back], replace(GUIDE, corrections=corrections), T0 + 2 * H), "order_status")
        assert write.target is target


def test_a_refund_that_is_due_names_the_payment_and_the_way_it_travels() -> None:
    one = told(O.CANCELLED, cancelled_at=T0, method="express")
    found = finding(reconcile(one, [], GUIDE, T0 + H), K.REFUND_DUE)
    assert (found.evidence["payment"], found.evidence["method"], found.since) == ("PAID", "express", T0)


@pytest.mark.parametrize(
    ("parcel", "kind", "act"),
    [
        (shipment(S.IN_TRANSIT, disputed=True), K.SOURCES_DISAGREE, Act.FOLLOW_UP),
        (shipment(S.AVAILABLE_FOR_PICKUP, at=T0 - 60 * D, custody_at=T0 - 61 * D), K.PICKUP_EXPIRING, Act.FOLLOW_UP),
        (shipment(S.RETURNED, custody_at=T0 - D), K.RETURNED_AWAITING_INSPECTION, Act.ACT),
    ],
)
def test_what_a_parcel_needs_is_asked_of_a_person(parcel: Any, kind: K, act: Act) -> None:
    assert finding(reconcile(told(O.SHIPPED), [parcel], GUIDE, T0 + H), kind).act is act


def test_an_inspection_ends_the_wait_for_it_and_nothing_else() -> None:
    seen = Statement(StatementKind.INSPECTED, "fine", "ada", T0 + H)
    one = told(O.SHIPPED, statements=(seen,))
    returned = reconcile(one, [shipment(S.RETURNED, custody_at=T0 - D)], GUIDE, T0 + 2 * H)
    lost = reconcile(one, [shipment(S.LOST, custody_at=T0 - D)], GUIDE, T0 + 2 * H)
    assert K.RETURNED_AWAITING_INSPECTION not in {f.kind for f in returned.findings}
    assert finding(lost, K.LOST_OR_DESTROYED)


def test_a_label_is_unscanned_since_somebody_handed_the_parcel_over() -> None:
    policy = replace(GUIDE, unscanned_after=24 * H)
    handed = Statement(StatementKind.HANDED_OVER, "at the counter", "ada", T0 + 12 * H)
    one, parcel = told(O.SHIPPED), shipment(S.PRE_TRANSIT, at=T0)
    for order_, after in ((one, 24 * H), (replace(one, statements=(handed,)), 36 * H)):
        for at, found in ((after - H, False), (after + H, True)):
            kinds = {f.kind for f in reconcile(order_, [parcel], policy, T0 + at).findings}
            assert (K.LABEL_NEVER_SCANNED in kinds) is found, (after, at)


@pytest.mark.parametrize(
    ("before", "passed_over"),
    [
        ([], scan_told(None, 2)),
        ([], scan_told(S.UNKNOWN, 2, reason=Reason.UNMAPPED)),
        ([scan_told(S.DELIVERED, 1)], scan_told(S.IN_TRANSIT, 2, leg=Leg.CUSTOMER_RETURN)),
        ([], scan_told(S.DELIVERED, 2, confirmed=False)),
        ([scan_told(S.IN_TRANSIT, 1)], scan_told(S.IN_TRANSIT, 2)),
        ([scan_told(S.IN_TRANSIT, 1)], scan_told(S.PRE_TRANSIT, 2)),
        ([scan_told(S.OUT_FOR_DELIVERY, 1)], scan_told(S.IN_TRANSIT, 2, zone=Zone.UNKNOWN)),
        ([scan_told(S.DELIVERED, 1)], scan_told(S.IN_TRANSIT, 2, zone=Zone.UNKNOWN)),
    ],
)
def test_what_is_passed_over_keeps_nothing_that_follows_from_counting(before: list[Any], passed_over: Any) -> None:
    after = scan_told(S.RETURNED, 60, correction=True)
    summary = summarize([*before, passed_over, after])
    assert (summary.status, summary.last_scan_at, summary.scans) == (S.RETURNED, after.instant, len(before) + 2)


# which check yields to which


@pytest.mark.parametrize("table", [ORDER_CHECKS, PARCEL_CHECKS])
def test_a_check_stands_once_in_its_table_after_the_one_that_it_yields_to(table: tuple[Any, ...]) -> None:
    kinds = [check.kind for check in table]

    assert len(set(kinds)) == len(kinds)
    for place, check in enumerate(table):
        assert check.unless is None or check.unless in kinds[:place]


@pytest.mark.parametrize("status", [status for status in S if not status.terminal])
def test_of_the_clocks_of_standing_still_one_runs_in_each_status(status: S) -> None:
    clocks = {K.LABEL_NEVER_SCANNED, K.PICKUP_EXPIRING, K.STUCK}

    assert len([check for check in PARCEL_CHECKS if check.kind in clocks and status in check.of]) == 1


@pytest.mark.parametrize(
    ("one", "worse", "other"),
    [
        (told(O.SHIPPED, payment=P.PENDING), K.UNPAID_SHIPPED, K.UNPAID_PROCESSING),
        (told(O.SHIPPED, payment=P.FAILED), K.FAILED_PAYMENT_DISPATCHED, K.PAYMENT_FAILED),
        (told(O.CANCELLED, payment=P.REFUNDED), K.CANCELLED_BUT_MOVING, K.REFUNDED_BUT_MOVING),
    ],
)
def test_of_two_findings_that_say_the_same_the_worse_is_told(one: Order, worse: K, other: K) -> None:
    found = {
        f.kind: f
        for f in reconcile(one, [MOVING], replace(GUIDE, checks=GUIDE.checks - {K.REMEDY_IN_CUSTODY}), T0).findings
    }

    assert worse in found
    assert other not in found
    assert "also" not in found[worse].evidence
