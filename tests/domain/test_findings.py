"""A finding names its subject, its weight, its evidence and since when; and when it is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.domain.guide import BARE, GUIDE, LAST, MOVING, RENO, SELLER, H, K, O, P, S, actions, finding, history, told
from tests.domain.test_reconcile import T0, D, shipment
from tracker.domain.facts import Finding, Fulfilment, Item, Order, Parcel, Statement
from tracker.domain.gates import MEANING, may
from tracker.domain.policy import Deadline, Silence, Span
from tracker.domain.reconcile import reconcile
from tracker.domain.reconcile.findings import Found, add
from tracker.domain.reconcile.order_checks import MONEY, ORDER_CHECKS
from tracker.domain.reconcile.parcel_checks import PARCEL_CHECKS
from tracker.domain.vocabulary import Act, Reason, Severity, StatementKind


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
            "last_scan": LAST["last_scan"], "parcel": "ups N1"}, T0, "send the support packet: `tracker evidence '#1' -o pack.zip`",
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
        (told(O.SHIPPED, payment=P.UNKNOWN), [MOVING],
         Finding(K.UNKNOWN_PAYMENT, "shop/#1", Severity.WARNING, Act.ACT,
                 {"order": "#1", "owner": "platform", "shop": "SHIPPED", "payment": "UNKNOWN"}, T0, MEANING)),
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
                 {"order": "#1", "owner": "platform", "shop": "SHIPPED"}, T0, "send the support packet: `tracker evidence '#1' -o pack.zip`")),
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


def test_a_clock_that_begins_at_a_status_does_not_run_for_an_order_outside_the_line() -> None:
    clock = Deadline("pack", K.DELIVERY_OVERDUE, O.PROCESSING, O.SHIPPED, breach=Span(elapsed=H))
    policy = replace(GUIDE, deadlines=(clock,))
    assert reconcile(told(O.ON_HOLD), [], policy, T0 + 9 * H).findings is not None
    late = finding(reconcile(told(status_at=T0), [], policy, T0 + H), K.DELIVERY_OVERDUE)
    assert (late.evidence["step"], late.evidence["due"], late.since) == ("breach", "2026-11-02 09:00Z", T0 + H)
    early = told(O.CONFIRMED, history=history((O.CONFIRMED, "system", T0)))
    assert K.DELIVERY_OVERDUE not in {f.kind for f in reconcile(early, [], policy, T0 + 9 * H).findings}


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


def test_a_shop_that_says_what_the_carrier_says_is_not_ahead() -> None:
    for status, parcel in (
        (O.SHIPPED, MOVING),
        (O.OUT_FOR_DELIVERY, MOVING),
        (O.DELIVERED, shipment(S.DELIVERED, custody_at=T0 - D)),
    ):
        decision = reconcile(told(status, status_at=T0), [parcel], GUIDE, T0 + 3 * D)
        assert K.ORDER_AHEAD not in {one.kind for one in decision.findings}, status


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


@pytest.mark.parametrize("asked", sorted(MONEY))
def test_a_word_for_money_that_nobody_knows_is_told_as_that_by_each_check_of_money(asked: K) -> None:
    policy = replace(GUIDE, checks=frozenset({asked}))
    found = {f.kind for f in reconcile(told(O.SHIPPED, payment=P.UNKNOWN), [MOVING], policy, T0).findings}

    assert K.UNKNOWN_PAYMENT in found
    assert not found & MONEY


def test_a_policy_that_asks_for_no_money_is_not_told_of_its_words() -> None:
    for checks, status in ((frozenset({K.OUT_OF_STOCK}), P.UNKNOWN), (frozenset(K), P.PENDING)):
        decision = reconcile(told(O.SHIPPED, payment=status), [MOVING], replace(GUIDE, checks=checks), T0)
        assert K.UNKNOWN_PAYMENT not in {f.kind for f in decision.findings}


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


def test_of_two_findings_of_a_kind_the_worse_one_stays_whichever_came_first() -> None:
    mild = Finding(K.STUCK, "parcel/ups/1", Severity.INFO, Act.MONITOR, {})
    worse = replace(mild, severity=Severity.URGENT)
    for first, second in ((mild, worse), (worse, mild)):
        found: Found = {}
        add(found, first)
        add(found, second)
        assert list(found.values()) == [worse]
