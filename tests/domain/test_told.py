"""What people and customers are told, whole: notices in their words, findings with all their evidence, the table of a policy.

Expected values are written by hand from the requirements, or reckoned anew from a carrier's published algorithm.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.domain.guide import (
    BARE,
    GUIDE,
    LAST,
    MEANS,
    MOVING,
    SELLER,
    WORDS,
    H,
    K,
    O,
    P,
    S,
    actions,
    finding,
    history,
    told,
)  # fmt: skip
from tests.domain.scans import told as scan_told
from tests.domain.test_reconcile import POLICY, T0, D, order, shipment
from tracker.domain.facts import (
    Action,
    Edd,
    Finding,
    Fulfilment,
    Item,
    Order,
    Parcel,
    Published,
    Statement,
    StatusSnapshot,
    TakenBack,
)
from tracker.domain.gates import into_processing, may, verified
from tracker.domain.notices import render
from tracker.domain.numbers import candidates
from tracker.domain.policy import Deadline, Policy, Silence, Span
from tracker.domain.reconcile import apply, reconcile, shipped_quantities
from tracker.domain.table import decision_table
from tracker.domain.timeline import summarize
from tracker.domain.vocabulary import (
    Act,
    NoticeClass,
    Owner,
    Reason,
    Severity,
    ShippingStatus,
    StatementKind,
    TrackingState,
)  # fmt: skip

WARNING, INFO, URGENT = Severity.WARNING, Severity.INFO, Severity.URGENT
SUPPORT = "send the support packet: `tracker evidence '#1' -o pack.zip`"
OF_PLATFORM = {"order": "#1", "owner": "platform"}
OF_SELLER = {"order": "#1", "owner": "seller"}
OF_PARCEL = {**OF_PLATFORM, "parcel": "ups N1"}


# notices


def notice(kind: NoticeClass, *parcels: Parcel, edd: datetime | None = None) -> Action:
    return Action("notice", "k", "shop", "R1", notice=kind, parcels=parcels, edd=edd, happened_at=T0, number="#1")


@pytest.mark.parametrize(
    ("action", "language", "zone", "text"),
    [
        (notice(NoticeClass.PLACED), "en", "UTC", "We received your order #1."),
        (notice(NoticeClass.CONFIRMED), "de", "UTC", "Ihre Bestellung #1 ist bestätigt."),
        (notice(NoticeClass.SHIPPED, Parcel("ups", "N1")), "en", "UTC",
         "A parcel of your order #1 was handed to UPS, tracking number N1."),
        (notice(NoticeClass.SHIPPED, Parcel("ups", "N1", "Kiwi Post"), edd=datetime(2026, 11, 5, 23, 30, tzinfo=UTC)), "en", "UTC",
         "A parcel of your order #1 was handed to Kiwi Post, tracking number N1, estimated delivery: November 5, 2026 (an estimate)."),
        (notice(NoticeClass.DELAYED, Parcel("ups", "N1"), edd=datetime(2026, 11, 5, 23, 30, tzinfo=UTC)), "de", "Europe/Berlin",
         "Ein Paket Ihrer Bestellung #1 (UPS N1) braucht länger als erwartet, voraussichtliche Zustellung: 06.11.2026 (eine Schätzung)."),
        (notice(NoticeClass.OUT_FOR_DELIVERY, Parcel("ups", "N1")), "en", "UTC", "A parcel of your order #1 (UPS N1) is out for delivery."),
        (notice(NoticeClass.DELIVERED, Parcel("dhl", "N2"), Parcel("ups", "N1")), "en", "UTC",
         "DHL reports a parcel of your order #1 (N2) as delivered."),
    ],
)  # fmt: skip
def test_a_notice_says_what_was_scanned_in_the_customers_language(
    action: Action, language: str, zone: str, text: str
) -> None:
    assert render(action, language, zone) == text


def test_a_notice_is_english_and_of_utc_where_nothing_else_is_said() -> None:
    late = notice(NoticeClass.SHIPPED, Parcel("ups", "N1"), edd=datetime(2026, 11, 5, 23, 30, tzinfo=UTC))
    assert render(late) == render(late, "en", "UTC") != render(late, "en", "Europe/Berlin")


# numbers


def luhn(serial: str) -> str:
    """ISO/IEC 7812-1: double every second digit from the right, add the digits."""
    total = 0
    for place, c in enumerate(reversed(serial)):
        total += sum(divmod(int(c) * 2, 10)) if place % 2 == 0 else int(c)
    return str((10 - total % 10) % 10)


def weighted(serial: str, first: int, second: int) -> str:
    """Modulo 10 with two weights in turn, as USPS Publication 97 and the UPS and OnTrac formats use it."""
    return str((10 - sum(int(c) * (first, second)[place % 2] for place, c in enumerate(serial)) % 10) % 10)


@pytest.mark.parametrize(
    ("serial", "digit", "carrier"),
    [
        ("01234567890", luhn("01234567890"), "purolator"),
        ("59998887776", luhn("59998887776"), "purolator"),
        ("31415926535", luhn("31415926535"), "purolator"),
        ("917112345678912345678", weighted("917112345678912345678", 3, 1), "usps"),
        ("C1234567890123", weighted("41234567890123", 1, 2), "ontrac"),
        ("C4123456789012", weighted("4123456789012", 1, 2), "ontrac"),
        ("D1234567890123", weighted("51234567890123", 1, 2), "ontrac"),
        ("D5123456789012", weighted("5123456789012", 1, 2), "ontrac"),
        ("H271828182", weighted("271828182", 1, 2), "ups"),
        ("00073938000549", None, None),
        ("123456789", str(123456789 % 7), "dhl"),
        ("1234567890", str(1234567890 % 7), "dhl"),
    ],
)  # fmt: skip
def test_a_number_is_a_carriers_only_with_its_check_digit(serial: str, digit: str | None, carrier: str | None) -> None:
    if digit is None or carrier is None:
        assert candidates(serial) == ("dhl",)  # 14 digits: a shape without a check digit
        return
    assert carrier in candidates(serial + digit)
    for other in set("0123456789") - {digit}:
        assert carrier not in candidates(serial + other), other


def test_a_number_of_usps_without_its_91_has_the_check_digit_of_the_whole() -> None:
    serial = "7112345678912345678"
    fits = {weighted("91" + serial, 3, 1), weighted(serial, 3, 1)}  # the newer numbers of 20 digits have no 91
    assert {digit for digit in "0123456789" if "usps" in candidates(serial + digit)} == fits


# gates and statuses


def test_a_status_reaches_itself_and_what_lies_before_it_in_the_line() -> None:
    assert O.SHIPPED.reaches(O.SHIPPED) and O.DELIVERED.reaches(O.SHIPPED)
    assert not O.PROCESSING.reaches(O.SHIPPED)
    assert not O.ON_HOLD.reaches(O.PROCESSING) and not O.SHIPPED.reaches(O.ON_HOLD)


def test_only_the_record_that_an_order_was_verified_verifies_it() -> None:
    unpaid = told(payment=P.PENDING)
    for kind, is_verified in ((StatementKind.PROOF, False), (StatementKind.VERIFIED, True)):
        assert verified(replace(unpaid, statements=(Statement(kind, "x", "ada", T0),))) is is_verified
    for status, is_verified in ((O.CONFIRMED, True), (O.AWAITING_CONFIRMATION, False)):
        assert verified(replace(unpaid, history=history((status, "system", T0)))) is is_verified
        assert verified(replace(unpaid, status=status)) is is_verified
    assert verified(replace(unpaid, verified=True))
    assert verified(told(payment=P.PARTIALLY_REFUNDED))


def test_a_person_may_say_shipped_from_the_hand_over_on() -> None:
    label = shipment(S.PRE_TRANSIT)
    for to, rule in ((O.READY_FOR_DISPATCH, "open"), (O.SHIPPED, "not_handed_over"), (O.DELIVERED, "not_handed_over")):
        assert may(told(), [label], GUIDE, to).rule == rule
    both = [shipment(S.DELIVERED, custody_at=T0), shipment(S.PRE_TRANSIT, number="N2")]
    assert may(told(O.SHIPPED), both, GUIDE, O.DELIVERED).rule == "open"  # what was never handed over does not count


def test_processing_deducts_stock_on_the_way_forward_only() -> None:
    for status, restore, moves in (
        (O.CONFIRMED, True, True), (O.ON_HOLD, True, True), (O.SHIPPED, True, False), (O.SHIPPED, False, True),
        (O.PROCESSING, True, False),
    ):  # fmt: skip
        policy = replace(GUIDE, restore_processing=restore)
        assert into_processing(told(status), policy, O.PROCESSING) is moves, (status, restore)
        assert not into_processing(told(status), policy, O.CONFIRMED)


# findings, whole


STEPS = history((O.PROCESSING, "seller", T0 - D), (O.DELIVERED, "seller", T0))
UNKNOWN_HAND = history((O.SHIPPED, "system", T0 - 2 * D), (O.DELIVERED, "unknown", T0 - D))
REMEDIED = (
    *history((O.SHIPPED, "system", T0 - D)),
    StatusSnapshot(T0 + H, O.SHIPPED, "Shipped", P.PARTIALLY_REFUNDED, "seller", T0),
)
KEPT = (Published(S.DELIVERED, "DELIVERED", T0),)
UPS_CLOCK = replace(
    GUIDE, deadlines=(Deadline("pack", K.DELIVERY_OVERDUE, None, O.SHIPPED, Span(elapsed=H), Span(elapsed=2 * H)),)
)


@pytest.mark.parametrize(
    ("one", "parcels", "policy", "after", "found"),
    [
        (told(service="kiosk"), [], replace(GUIDE, otherwise=Owner.UNKNOWN), H,
         Finding(K.UNKNOWN_OWNER, "shop/#1", WARNING, Act.ACT,
                 {"order": "#1", "owner": "unknown", "rule": "owner:otherwise", "service": "kiosk"})),
        (told(O.UNKNOWN), [], GUIDE, H,
         Finding(K.UNKNOWN_ORDER_STATUS, "shop/#1", WARNING, Act.ACT, {**OF_PLATFORM, "shop": "UNKNOWN"}, T0)),
        (order(shown=KEPT[0]), [MOVING], POLICY, H,
         Finding(K.ORDER_AHEAD, "shop/#1/ups/N1", WARNING, Act.ACT,
                 {"order": "#1", "owner": "unknown", "parcel": "ups N1", "shop": "DELIVERED", "carrier": "in_transit"}, T0)),
        (order(shown=KEPT[0]), [shipment(S.IN_TRANSIT, corrected=True)], POLICY, H,
         Finding(K.CORRECTION_AFTER_DELIVERED, "shop/#1/ups/N1", WARNING, Act.ACT,
                 {"order": "#1", "owner": "unknown", "parcel": "ups N1", "told": "delivered", "told_at": "2026-11-02 07:00Z",
                  "contradicted_by": "in_transit", "at": "2026-11-02 08:00Z"}, T0)),
        (told(O.DELIVERED, status_at=T0), [shipment(S.PICKED_UP, at=T0 - D, taken_back=TakenBack(S.DELIVERED, T0, T0 + H))],
         GUIDE, 2 * H,
         Finding(K.CORRECTION_AFTER_DELIVERED, "shop/#1/ups/N1", WARNING, Act.ACT,
                 {**OF_PARCEL, "told": "delivered", "told_at": "2026-11-02 08:00Z", "gone_since": "2026-11-02 09:00Z"},
                 T0 + H, SUPPORT)),
        (told(O.DELIVERED, history=UNKNOWN_HAND, actor="unknown"), [shipment(S.IN_TRANSIT, at=T0 - 2 * D)], GUIDE, H,
         Finding(K.SYSTEM_CONTROLLED_EDIT, "shop/#1", WARNING, Act.MONITOR,
                 {**OF_PLATFORM, "actor": "unknown", "from": "Shipped", "to": "DELIVERED", "read_before": "2026-11-01 07:00Z",
                  "read_at": "2026-11-01 08:00Z"}, T0 - D, SUPPORT)),
        (told(O.DELIVERED, history=STEPS), [], SELLER, H,
         Finding(K.DELIVERED_BEFORE_SHIPPED, "shop/#1", WARNING, Act.ACT, {**OF_SELLER, "shop": "DELIVERED"}, T0)),
        (told(O.CANCELLED, payment=P.PARTIALLY_REFUNDED, cancelled_at=T0 - H), [], GUIDE, H,
         Finding(K.REFUND_DUE, "shop/#1", WARNING, Act.ACT, {**OF_PLATFORM, "payment": "PARTIALLY_REFUNDED"}, T0 - H)),
        (told(O.CANCELLED), [], GUIDE, H,
         Finding(K.REFUND_DUE, "shop/#1", WARNING, Act.ACT, {**OF_PLATFORM, "payment": "PAID"}, T0)),
        (told(O.SHIPPED, payment=P.PARTIALLY_REFUNDED, history=REMEDIED), [MOVING], GUIDE, 2 * H,
         Finding(K.REMEDY_IN_CUSTODY, "shop/#1", WARNING, Act.FOLLOW_UP, {**OF_PLATFORM, "remedy": "refund", **LAST}, T0)),
        (told(O.SHIPPED, payment=P.REFUNDED), [MOVING], SELLER, H,
         Finding(K.REFUNDED_BUT_MOVING, "shop/#1/ups/N1", WARNING, Act.ACT,
                 {**OF_SELLER, "parcel": "ups N1", "status": "in_transit", "last_place": "RENO, NV, US"}, T0)),
        (told(O.SHIPPED), [replace(shipment(S.DELIVERY_ATTEMPTED, reason=Reason.ADDRESS_INCORRECT))], GUIDE, H,
         Finding(K.ATTEMPT_FAILED, "shop/#1/ups/N1", WARNING, Act.MONITOR,
                 {**OF_PARCEL, "reason": "address_incorrect", "status": "delivery_attempted"}, T0)),
        (told(O.SHIPPED), [shipment(S.DELIVERY_FAILED, custody_at=T0)], SELLER, H,
         Finding(K.ATTEMPT_FAILED, "shop/#1/ups/N1", WARNING, Act.FOLLOW_UP,
                 {**OF_SELLER, "parcel": "ups N1", "status": "delivery_failed"}, T0)),
        (told(O.SHIPPED), [shipment(S.DELIVERY_ATTEMPTED, reason=Reason.ADDRESS_INCORRECT)], GUIDE, H,
         Finding(K.ADDRESS_PROBLEM, "shop/#1/ups/N1", WARNING, Act.MONITOR, {**OF_PARCEL, "status": "delivery_attempted"}, T0)),
        (told(O.SHIPPED), [shipment(S.IN_TRANSIT, disputed=True)], GUIDE, H,
         Finding(K.SOURCES_DISAGREE, "shop/#1/ups/N1", WARNING, Act.FOLLOW_UP, {**OF_PARCEL, "status": "in_transit"}, T0)),
        (told(O.SHIPPED), [shipment(S.IN_TRANSIT, last_scan_at=T0 + H, tracking=TrackingState.EXPIRED)], GUIDE, 2 * H,
         Finding(K.TRACKING_EXPIRED, "shop/#1/ups/N1", WARNING, Act.ACT, {**OF_PARCEL, "status": "in_transit"}, T0 + H)),
        (told(O.SHIPPED), [replace(shipment(S.UNKNOWN, tracking=TrackingState.EXPIRED), linked_at=T0 - H)], GUIDE, H,
         Finding(K.TRACKING_EXPIRED, "shop/#1/ups/N1", WARNING, Act.ACT, {**OF_PARCEL, "status": "unknown"}, T0 - H)),
        (told(O.SHIPPED), [replace(shipment(S.UNKNOWN), linked_at=T0 - D)], SELLER, 30 * D,
         Finding(K.LABEL_NEVER_SCANNED, "shop/#1/ups/N1", WARNING, Act.ACT,
                 {**OF_SELLER, "parcel": "ups N1", "status": "unknown", "silence": "default"}, T0 - D)),
        (told(O.SHIPPED), [shipment(S.AVAILABLE_FOR_PICKUP)], GUIDE, 30 * D,
         Finding(K.PICKUP_EXPIRING, "shop/#1/ups/N1", WARNING, Act.FOLLOW_UP,
                 {**OF_PARCEL, "status": "available_for_pickup"}, T0)),
        (told(O.SHIPPED), [MOVING], GUIDE, 7 * D,
         Finding(K.STUCK, "shop/#1/ups/N1", WARNING, Act.MONITOR,
                 {**OF_PARCEL, "status": "in_transit", "last_place": "RENO, NV, US", "silence": "default"}, T0, SUPPORT)),
        (told(O.SHIPPED), [shipment(S.IN_TRANSIT, edd=Edd(T0, T0 + D))], SELLER, 3 * D,
         Finding(K.DELIVERY_OVERDUE, "shop/#1/ups/N1", INFO, Act.MONITOR,
                 {**OF_SELLER, "parcel": "ups N1", "status": "in_transit"}, T0 + D)),
        (told(), [], UPS_CLOCK, H,
         Finding(K.DELIVERY_OVERDUE, "shop/#1", INFO, Act.ACT,
                 {**OF_PLATFORM, "clock": "pack", "step": "warning", "due": "2026-11-02 09:00Z"}, T0 + H, SUPPORT)),
        (told(), [], UPS_CLOCK, 2 * H,
         Finding(K.DELIVERY_OVERDUE, "shop/#1", WARNING, Act.ACT,
                 {**OF_PLATFORM, "clock": "pack", "step": "breach", "due": "2026-11-02 10:00Z"}, T0 + 2 * H, SUPPORT)),
        (told(O.SHIPPED, fulfilments=(BARE,)), [], replace(SELLER, tracking={Owner.SELLER: "warned"}), H,
         Finding(K.SHIPPED_WITHOUT_TRACKING, "shop/#1", INFO, Act.ACT, {**OF_SELLER, "shop": "SHIPPED"}, T0)),
    ],
)  # fmt: skip
def test_a_finding_is_told_whole(
    one: Order, parcels: list[Any], policy: Policy, after: timedelta, found: Finding
) -> None:
    assert finding(reconcile(one, parcels, policy, T0 + after), found.kind) == found


def test_a_status_that_the_shop_does_not_keep_is_found_with_how_often_it_was_written() -> None:
    stands = tuple(
        StatusSnapshot(T0 + i * H, status, str(status), P.PAID, actor, T0 + (i - 1) * H)
        for i, (status, actor) in enumerate([(O.SHIPPED, "trackwright"), (O.PROCESSING, "system")] * 3)
    )
    decision = reconcile(told(history=stands), [MOVING], GUIDE, T0 + 6 * H)

    assert finding(decision, K.WRITE_REFUSED) == Finding(
        K.WRITE_REFUSED, "shop/#1", WARNING, Act.ACT, {**OF_PLATFORM, "status": "shipped", "written": "3", "shop": "PROCESSING"},
        T0 + 5 * H,
    )  # fmt: skip
    assert actions(decision, "order_status") == []
    assert decision.because[-1] == "does_not_stay"
    assert decision.look_again_at == T0 + D  # a day after the first of the last three
    again = reconcile(told(history=stands), [MOVING], GUIDE, T0 + D)
    assert [write.target for write in actions(again, "order_status")] == [O.SHIPPED]


def test_a_notice_names_the_carrier_that_scanned_where_the_shop_named_none() -> None:
    one = told(fulfilments=(Fulfilment("F1", "SUCCESS", (Parcel(None, "N1"),)),))
    (out,) = [a for a in actions(reconcile(one, [shipment(S.OUT_FOR_DELIVERY)], GUIDE, T0 + H), "notice")
              if a.notice is NoticeClass.OUT_FOR_DELIVERY]  # fmt: skip
    assert out.parcels == (Parcel("ups", "N1"),)
    assert render(out) == "A parcel of your order #1 (UPS N1) is out for delivery."


# writes, whole


def test_delivered_is_written_with_the_parcel_that_came_last() -> None:
    two = replace(order("N1", "N2"), status=O.SHIPPED)
    parcels = [shipment(S.DELIVERED, at=T0 + 2 * H), shipment(S.DELIVERED, number="N2", at=T0 + H)]
    decision = reconcile(two, parcels, GUIDE, T0 + 3 * H)

    assert actions(decision, "order_status") == [
        Action(
            kind="order_status", key="shop/R1/status/delivered/0", store="shop", order="R1", status=S.DELIVERED,
            happened_at=T0 + 2 * H, rules=("carrier:delivered", "policy:guide", "owner:otherwise"), target=O.DELIVERED,
            before=O.SHIPPED, parcels=(Parcel("ups", "N1"), Parcel("ups", "N2")), number="#1",
        )
    ]  # fmt: skip
    assert decision.because == ("owner:otherwise", "write:carrier:delivered")


def test_an_event_of_a_fulfilment_is_written_whole() -> None:
    parcel = shipment(S.EXCEPTION, reason=Reason.ADDRESS_INCORRECT, run_place=MOVING.summary.place, edd=Edd(T0, T0 + D))
    decision = reconcile(order(), [parcel], POLICY, T0 + H)

    assert decision.actions == (
        Action(
            kind="fulfilment_event", key="shop/R1/F1/event/exception/run-exception-N1", store="shop", order="R1",
            fulfilment="F1", status=S.EXCEPTION, reason=Reason.ADDRESS_INCORRECT, happened_at=T0, place=MOVING.summary.place,
            edd=T0 + D, rules=(f"publish:{POLICY.name}",), number="#1",
        ),
    )  # fmt: skip
    assert decision.because == ("publish:F1",)


def test_a_correction_that_the_shop_overtook_leaves_the_order_to_the_carrier() -> None:
    said = Statement(StatementKind.CORRECTION, "x", "ada", T0 - 2 * H, O.READY_FOR_DISPATCH, override=True)
    one = told(history=history((O.PROCESSING, "seller", T0 - H)), statements=(said,))
    (write,) = actions(reconcile(one, [MOVING], GUIDE, T0 + H), "order_status")
    assert write.rules[0] == "carrier:in_transit"


def test_an_edit_that_is_not_put_back_leaves_the_order_to_the_carrier() -> None:
    for stands, actor in (
        (
            history((O.CONFIRMED, "system", T0 - 2 * D), (O.PROCESSING, "seller", T0 - D)),
            "seller",
        ),  # not about dispatch
        (history((O.SHIPPED, "system", T0 - 2 * D), (O.PROCESSING, "admin", T0 - D)), "admin"),  # may do so
        (history((O.PROCESSING, "seller", T0 - 2 * D), (O.PROCESSING, "seller", T0 - D)), "seller"),  # was always so
        (history((O.PROCESSING, "seller", T0 - D)), "seller"),
    ):
        decision = reconcile(told(history=stands, actor=actor), [MOVING], GUIDE, T0 + H)
        (write,) = actions(decision, "order_status")
        assert (write.target, write.rules[0]) == (O.SHIPPED, "carrier:in_transit")
    agreed = told(
        O.DELIVERED, actor="seller", history=history((O.SHIPPED, "system", T0 - D), (O.DELIVERED, "seller", T0))
    )
    assert reconcile(agreed, [shipment(S.DELIVERED)], GUIDE, T0 + H).because == (
        "owner:otherwise", "edit_agrees_with_carrier", "in_step",
    )  # fmt: skip


def test_what_moves_nothing_is_named_by_its_parcel() -> None:
    decision = reconcile(told(), [shipment(S.PRE_TRANSIT, unmapped=1, refused=2)], GUIDE, T0 + H)
    assert decision.because == (
        "owner:otherwise", "unmapped_scan_moves_nothing:N1", "unsure_scan_moves_nothing:N1", "not_handed_over",
    )  # fmt: skip


def test_an_inspection_counts_from_the_moment_the_parcel_was_back() -> None:
    back = shipment(S.RETURNED, custody_at=T0 - D)
    for at, waits in ((T0 - H, True), (T0, False), (T0 + H, False)):
        one = told(O.SHIPPED, statements=(Statement(StatementKind.INSPECTED, "fine", "ada", at),))
        kinds = {f.kind for f in reconcile(one, [back], GUIDE, T0 + 2 * H).findings}
        assert (K.RETURNED_AWAITING_INSPECTION in kinds) is waits
        cancel = may(told(statements=one.statements), [back], GUIDE, O.CANCELLED, reason="x")
        assert cancel.allowed is not waits


def test_pieces_are_added_up_over_fulfilments() -> None:
    parts = [Fulfilment("F1", "s", (), (("a", 1), ("b", 2))), Fulfilment("F2", "s", (), (("a", 3),))]
    assert shipped_quantities(parts) == {"a": 4, "b": 2}


def test_a_resend_is_told_from_a_part_that_went_later() -> None:
    first = Fulfilment("F1", "s", (Parcel("ups", "N1"),), (("a", 1),), shipped_at=T0)
    later = Fulfilment("F2", "s", (Parcel("ups", "N2"),), (("a", 1),), shipped_at=T0 + H)
    for ordered, resent in ((2, False), (1, True)):
        one = told(O.SHIPPED, items=(Item("a", ordered),), fulfilments=(first, later))
        kinds = {f.kind for f in reconcile(one, [MOVING], GUIDE, T0 + 2 * H).findings}
        assert (K.REMEDY_IN_CUSTODY in kinds) is resent


def test_a_write_changes_the_fulfilment_it_names_and_dates_it_as_it_happened() -> None:
    two = tuple(Fulfilment(f"F{i}", "SUCCESS", (Parcel("ups", f"N{i}"),)) for i in (1, 2))
    one = replace(order(), fulfilments=two)
    (event,) = reconcile(one, [MOVING], POLICY, T0 + H).actions
    first, second = apply(one, event, "MOVING").fulfilments
    assert (first.published, second.published) == (Published(S.IN_TRANSIT, "MOVING", T0), None)


def test_a_parcel_that_came_back_does_not_hide_one_that_is_under_way() -> None:
    seen = Statement(StatementKind.INSPECTED, "fine", "ada", T0 + H)
    back = shipment(S.RETURNED, number="N0", custody_at=T0 - D)
    gate = may(told(statements=(seen,)), [back, MOVING], GUIDE, O.CANCELLED, reason="x")
    assert gate.rule == "cancel_in_custody"


def test_pieces_that_fit_are_no_finding() -> None:
    part = Fulfilment("F1", "SUCCESS", (Parcel("ups", "N1"),), (("a", 2),))
    one = told(O.SHIPPED, items=(Item("a", 2),), fulfilments=(part,))
    assert K.QUANTITY_MISMATCH not in {f.kind for f in reconcile(one, [MOVING], GUIDE, T0 + H).findings}
    missing = replace(one, items=(Item("a", 2), Item("b", 1)))
    assert finding(reconcile(missing, [MOVING], GUIDE, T0 + H), K.QUANTITY_MISMATCH).evidence["shipped"] == "b: 0 of 1"


def test_money_given_back_before_the_carrier_had_the_parcel_is_no_remedy_in_custody() -> None:
    for at, remedy in ((T0 - H, False), (T0, True), (T0 + H, True)):
        stands = (
            *history((O.PROCESSING, "system", T0 - D)),
            StatusSnapshot(at, O.SHIPPED, "Shipped", P.PARTIALLY_REFUNDED, "seller", T0 - D),
        )
        one = told(O.SHIPPED, payment=P.PARTIALLY_REFUNDED, history=stands)
        kinds = {f.kind for f in reconcile(one, [MOVING], GUIDE, T0 + 2 * H).findings}
        assert (K.REMEDY_IN_CUSTODY in kinds) is remedy, at


def test_silence_is_counted_by_the_service_of_the_fulfilment() -> None:
    slow = replace(GUIDE, silence=(Silence("freight", service="sea", stuck_after=30 * D),))
    for service, stuck in (("sea", False), ("air", True)):
        one = told(O.SHIPPED, fulfilments=(Fulfilment("F1", "s", (Parcel("ups", "N1"),), service=service),))
        kinds = {f.kind for f in reconcile(one, [MOVING], slow, T0 + 9 * D).findings}
        assert (K.STUCK in kinds) is stuck


def test_what_a_person_corrected_stands_against_what_the_carrier_said_by_then() -> None:
    said = Statement(StatementKind.CORRECTION, "x", "ada", T0, O.READY_FOR_DISPATCH)
    one = told(O.READY_FOR_DISPATCH, history=history((O.READY_FOR_DISPATCH, "trackwright", T0)), statements=(said,))
    for at, stands in ((T0 - H, True), (T0, True), (T0 + H, False)):
        decision = reconcile(one, [shipment(S.IN_TRANSIT, at=at, custody_at=at)], GUIDE, T0 + 2 * H)
        assert ("corrected_by_person" in decision.because) is stands


def test_a_run_is_confirmed_by_its_own_scans() -> None:
    shared = [scan_told(S.IN_TRANSIT, 1), scan_told(S.OUT_FOR_DELIVERY, 2, confirmed=False)]
    assert summarize(shared).confirmed is False
    assert summarize([*shared, scan_told(S.DELIVERED, 3)]).confirmed is True
    assert summarize([scan_told(S.DELIVERED, 1), scan_told(S.PRE_TRANSIT, 2), scan_told(S.PRE_TRANSIT, 3)]).refused == 2


# the table of a policy


def test_the_table_of_a_policy_says_what_happens_to_an_order_at_work_for_every_status_of_its_parcel() -> None:
    plain = Policy(
        name="plain", otherwise=Owner.SELLER, order_words=WORDS, means={Owner.COURIER: MEANS},
        writes={Owner.COURIER: frozenset({O.SHIPPED, O.DELIVERED})},
    )  # fmt: skip
    table = {row["parcel is"]: row for row in decision_table(plain) if row["order is"] == "processing"}
    shipped, behind = "write Shipped", "finding order_behind (act)"
    expected = {
        S.PICKED_UP: (shipped, "write:carrier:picked_up"),
        S.IN_TRANSIT: (shipped, "write:carrier:in_transit"),
        S.ON_HOLD: (shipped, "write:carrier:handed_over"),
        S.DELAYED: (shipped, "write:carrier:handed_over"),
        S.EXCEPTION: (shipped, "write:carrier:handed_over"),
        S.OUT_FOR_DELIVERY: (behind, "worker_writes_it_not"),
        S.DELIVERY_ATTEMPTED: (f"{shipped}; finding attempt_failed (follow_up)", "write:carrier:handed_over"),
        S.AVAILABLE_FOR_PICKUP: (shipped, "write:carrier:handed_over"),
        S.DELIVERED: ("write Done", "write:carrier:delivered"),
        S.DELIVERY_FAILED: ("finding attempt_failed (follow_up)", "no_meaning:delivery_failed"),
        S.RETURNED: ("finding returned_awaiting_inspection (act)", "no_meaning:returned"),
        S.LOST: ("finding lost_or_destroyed (act)", "no_meaning:lost"),
        S.DESTROYED: ("finding lost_or_destroyed (act)", "no_meaning:destroyed"),
    }
    assert table == {
        str(status): {"dispatched by": "courier", "order is": "processing", "parcel is": str(status), "then": then, "rule": rule}
        for status, (then, rule) in expected.items()
    }  # fmt: skip
    cancelled = {row["parcel is"] for row in decision_table(plain) if row["order is"] == "cancelled"}
    assert cancelled == {str(s) for s in ShippingStatus if s in expected or s is S.RETURNING}


def test_the_table_shows_what_is_published_beside_what_is_written() -> None:
    mixed = Policy(words={S.DELIVERED: "Arrived"}, order_words=WORDS, means={Owner.COURIER: MEANS},
                   writes={Owner.COURIER: frozenset({O.DELIVERED})}, notices=frozenset(NoticeClass))  # fmt: skip
    rows = [r for r in decision_table(mixed) if (r["order is"], r["parcel is"]) == ("shipped", "delivered")]
    assert [row["then"] for row in rows] == ["show Arrived; write Done"]
