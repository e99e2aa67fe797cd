"""Reconcile over the whole state space, and each rule by its name."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.facts import Decision, Edd, Fulfilment, Order, Parcel, Published, Shipment, Summary, TakenBack
from tracker.domain.policy import Policy
from tracker.domain.reconcile import aggregate, apply, reconcile
from tracker.domain.vocabulary import (
    Act,
    FindingKind,
    OrderStatus,
    PaymentStatus,
    Reason,
    ShippingStatus,
    TrackingState,
)

S, K = ShippingStatus, FindingKind
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
D = timedelta(days=1)
WORDS = {
    S.PRE_TRANSIT: "LABEL", S.PICKED_UP: "PICKED", S.IN_TRANSIT: "MOVING", S.ON_HOLD: "MOVING", S.EXCEPTION: "MOVING",
    S.DELAYED: "DELAYED", S.OUT_FOR_DELIVERY: "OUT", S.DELIVERY_ATTEMPTED: "ATTEMPT", S.AVAILABLE_FOR_PICKUP: "PICKUP",
    S.DELIVERED: "DELIVERED", S.DELIVERY_FAILED: "FAILURE", S.RETURNING: "FAILURE", S.RETURNED: "FAILURE", S.LOST: "FAILURE",
}  # fmt: skip
POLICY = Policy(words=WORDS)


def shipment(status: S, *, number: str = "N1", at: datetime = T0, **more: Any) -> Shipment:
    tracking = more.pop("tracking", TrackingState.ACTIVE)
    edd = more.pop("edd", None)
    values: dict[str, Any] = {
        "status": status,
        "run": f"run-{status}-{number}" if status is not S.UNKNOWN else "",
        "since": at if status is not S.UNKNOWN else None,
        "last_scan_at": at if status is not S.UNKNOWN else None,
        "custody_at": at if status.custody else None,
        "delivered_at": at if status is S.DELIVERED else None,
    }
    if more.get("corrected"):
        values["taken_back"] = TakenBack(S.DELIVERED, at - timedelta(hours=1), by=status, by_at=at)
    return Shipment("ups", number, 1, Summary(**{**values, **more}), tracking, edd, linked_at=T0)


def order(
    *numbers: str,
    status: OrderStatus = OrderStatus.SHIPPED,
    payment: PaymentStatus = PaymentStatus.PAID,
    shown: Published | None = None,
    live: bool = True,
    cancelled_at: datetime | None = None,
) -> Order:
    fulfilment = Fulfilment(
        "F1", "SUCCESS", tuple(Parcel("ups", n) for n in numbers or ("N1",)), published=shown, live=live
    )
    return Order(
        "shop", "R1", "#1", status, str(status).upper(), payment, str(payment).upper(), T0, T0, cancelled_at,
        fulfilments=(fulfilment,),
    )  # fmt: skip


def kinds(decision: Any) -> set[FindingKind]:
    return {finding.kind for finding in decision.findings}


# the whole state space


SHOWN = [None, *(Published(s, w, at) for s, w in WORDS.items() for at in (T0 - D, T0, T0 + D))]


@pytest.mark.no_cover  # its lines are covered by the tests of each rule: it takes half of the time untraced
@pytest.mark.parametrize("status", list(OrderStatus))
def test_reconcile_is_total_a_fixpoint_and_never_moves_out_of_what_people_decided(status: OrderStatus) -> None:
    for payment, parcel, shown, live, confirmed in itertools.product(
        PaymentStatus, S, SHOWN, (True, False), (True, False)
    ):
        before = order(status=status, payment=payment, shown=shown, live=live)
        parcels = [shipment(parcel, confirmed=confirmed)]
        decision = reconcile(before, parcels, POLICY, T0 + D)

        after = before
        for action in decision.actions:
            after = apply(after, action, POLICY.words[action.status])
        again = reconcile(after, parcels, POLICY, T0 + D)

        assert again.actions == ()
        assert decision == reconcile(before, parcels, POLICY, T0 + D)
        if decision.actions:
            assert status not in (OrderStatus.CANCELLED, OrderStatus.ON_HOLD)
            assert payment not in (PaymentStatus.REFUNDED, PaymentStatus.DISPUTED)
            assert live
            assert confirmed
            assert shown is None or shown.status is not S.DELIVERED
            assert shown is None or shown.happened_at <= T0 or parcel.terminal
            assert parcel in WORDS


statuses = st.sampled_from(list(S))


@given(st.lists(statuses, min_size=1, max_size=5), st.sampled_from(SHOWN), st.integers(-3, 60))
def test_delivered_is_shown_only_when_every_parcel_is_delivered(parcels: list[S], shown: Any, days: int) -> None:
    numbers = [f"N{i}" for i in range(len(parcels))]
    told = [
        shipment(s, number=n, at=T0 + i * timedelta(hours=1))
        for i, (s, n) in enumerate(zip(parcels, numbers, strict=True))
    ]
    decision = reconcile(order(*numbers, shown=shown), told, POLICY, T0 + days * D)

    counted = [s for s in parcels if s is not S.CANCELLED] or parcels
    if any(action.status is S.DELIVERED for action in decision.actions):
        assert all(s is S.DELIVERED for s in counted)
    assert decision.look_again_at is None or decision.look_again_at > T0 + days * D


@given(st.lists(statuses, min_size=1, max_size=4), st.integers(0, 40), st.integers(1, 40))
def test_nothing_changes_before_the_moment_it_asks_to_look_again(parcels: list[S], days: int, more: int) -> None:
    told = [shipment(s, number=f"N{i}", edd=Edd(T0 + 5 * D, T0 + 6 * D)) for i, s in enumerate(parcels)]
    before = order(*(f"N{i}" for i in range(len(parcels))))
    now = T0 + days * D
    first = reconcile(before, told, POLICY, now)
    later = now + more * timedelta(hours=6)
    if first.look_again_at is None or later < first.look_again_at:
        second = reconcile(before, told, POLICY, later)

        assert (second.actions, second.findings) == (first.actions, first.findings)


@given(
    st.permutations(
        [shipment(s, number=f"N{i}") for i, s in enumerate((S.DELIVERED, S.IN_TRANSIT, S.EXCEPTION, S.CANCELLED))]
    )
)
def test_the_order_of_parcels_does_not_matter(parcels: list[Shipment]) -> None:
    chosen = aggregate(parcels)

    assert chosen is not None
    assert chosen.summary.status is S.IN_TRANSIT


def test_of_no_parcel_nothing_is_known() -> None:
    assert aggregate([]) is None


def test_of_delivered_parcels_the_last_one_speaks() -> None:
    chosen = aggregate([shipment(S.DELIVERED, number="A", at=T0 + D), shipment(S.DELIVERED, number="B", at=T0)])

    assert chosen is not None
    assert chosen.number == "A"


# the rules


def rules(decision: Any) -> list[str]:
    return [rule.partition(":")[0] for rule in decision.because]


def test_news_is_published_with_its_place_and_key() -> None:
    told = shipment(S.IN_TRANSIT, edd=Edd(T0 + D, T0 + 2 * D))
    decision = reconcile(order(), [told], POLICY, T0 + D)

    (action,) = decision.actions
    assert action.key == "shop/R1/F1/event/in_transit/run-in_transit-N1"
    assert (action.happened_at, action.edd, action.status) == (T0, T0 + 2 * D, S.IN_TRANSIT)
    assert rules(decision) == ["publish"]


@pytest.mark.parametrize(
    ("rule", "changed", "parcel"),
    [
        ("no_tracked_parcel", order("OTHER"), shipment(S.IN_TRANSIT)),
        ("nothing_known", order(), shipment(S.UNKNOWN)),
        ("fulfilment_cancelled", order(live=False), shipment(S.IN_TRANSIT)),
        ("in_step", order(shown=Published(S.IN_TRANSIT, "MOVING", T0 - D)), shipment(S.EXCEPTION)),
        ("human_wins", order(status=OrderStatus.CANCELLED), shipment(S.IN_TRANSIT)),
        ("human_wins", order(status=OrderStatus.ON_HOLD), shipment(S.IN_TRANSIT)),
        ("human_wins", order(payment=PaymentStatus.REFUNDED), shipment(S.IN_TRANSIT)),
        ("human_wins", order(payment=PaymentStatus.DISPUTED), shipment(S.IN_TRANSIT)),
        ("waits_for_confirmation", order(), shipment(S.IN_TRANSIT, confirmed=False)),
        ("no_word", order(), shipment(S.DESTROYED)),
        ("partly_read", replace(order(), partial=True), shipment(S.IN_TRANSIT)),
        ("partly_read", replace(order(shown=Published(S.PRE_TRANSIT, "LABEL", T0)), partial=True), shipment(S.DELIVERED)),
        ("never_back_from_delivered", order(shown=Published(S.DELIVERED, "DELIVERED", T0)), shipment(S.IN_TRANSIT)),
        ("shop_is_newer", order(shown=Published(S.OUT_FOR_DELIVERY, "OUT", T0 + D)), shipment(S.IN_TRANSIT)),
    ],
)  # fmt: skip
def test_each_rule_that_writes_nothing(rule: str, changed: Order, parcel: Shipment) -> None:
    decision = reconcile(changed, [parcel], POLICY, T0 + D)

    assert decision.actions == ()
    assert rules(decision) == [rule]


def test_what_happened_before_the_store_was_connected_is_not_written() -> None:
    decision = reconcile(order(), [shipment(S.IN_TRANSIT)], POLICY, T0 + D, connected_at=T0 + timedelta(hours=1))

    assert rules(decision) == ["before_connected"]
    assert reconcile(order(), [shipment(S.IN_TRANSIT)], POLICY, T0 + D, connected_at=T0).actions


def test_a_terminal_status_beats_a_newer_event_of_the_shop() -> None:
    shown = Published(S.OUT_FOR_DELIVERY, "OUT", T0 + D)

    assert reconcile(order(shown=shown), [shipment(S.DELIVERED)], POLICY, T0 + 2 * D).actions


# the findings


@pytest.mark.parametrize(
    ("kind", "changed", "parcel", "days"),
    [
        (K.CANCELLED_BUT_MOVING, order(status=OrderStatus.CANCELLED, cancelled_at=T0), shipment(S.IN_TRANSIT), 1),
        (K.CANCELLED_BUT_MOVING, order(status=OrderStatus.CANCELLED, cancelled_at=T0), shipment(S.DELIVERED, at=T0 + D), 1),
        (K.REFUNDED_BUT_MOVING, order(payment=PaymentStatus.REFUNDED), shipment(S.IN_TRANSIT), 1),
        (K.ATTEMPT_FAILED, order(), shipment(S.DELIVERY_ATTEMPTED), 1),
        (K.RETURNED_AWAITING_INSPECTION, order(), shipment(S.RETURNED), 1),
        (K.LOST_OR_DESTROYED, order(), shipment(S.LOST), 1),
        (K.LOST_OR_DESTROYED, order(), shipment(S.DESTROYED), 1),
        (K.ADDRESS_PROBLEM, order(), shipment(S.EXCEPTION, reason=Reason.ADDRESS_INCORRECT), 1),
        (K.UNMAPPED_CODE, order(), shipment(S.IN_TRANSIT, unmapped=2), 1),
        (K.SOURCES_DISAGREE, order(), shipment(S.DELIVERED, disputed=True), 1),
        (K.TRACKING_EXPIRED, order(), shipment(S.OUT_FOR_DELIVERY, tracking=TrackingState.EXPIRED), 1),
        (K.LABEL_NEVER_SCANNED, order(), shipment(S.PRE_TRANSIT), 7),
        (K.LABEL_NEVER_SCANNED, order(), shipment(S.UNKNOWN), 7),
        (K.PICKUP_EXPIRING, order(), shipment(S.AVAILABLE_FOR_PICKUP), 5),
        (K.STUCK, order(), shipment(S.IN_TRANSIT), 7),
        (K.DELIVERY_OVERDUE, order(), shipment(S.IN_TRANSIT, edd=Edd(T0, T0 + D)), 2),
        (K.ORDER_AHEAD, order(shown=Published(S.DELIVERED, "DELIVERED", T0)), shipment(S.IN_TRANSIT), 1),
        (K.CORRECTION_AFTER_DELIVERED, order(shown=Published(S.DELIVERED, "DELIVERED", T0)), shipment(S.IN_TRANSIT, corrected=True), 1),
    ],
)  # fmt: skip
def test_each_finding_opens_when_it_must_and_not_a_second_before(
    kind: FindingKind, changed: Order, parcel: Shipment, days: int
) -> None:
    decision = reconcile(changed, [parcel], POLICY, T0 + days * D)

    assert kind in kinds(decision)
    finding = next(f for f in decision.findings if f.kind is kind)
    assert finding.evidence["order"] == "#1"
    assert finding.subject.startswith("shop/#1/ups/N1")
    assert all(isinstance(value, str) for value in finding.evidence.values())
    if days > 1:
        early = reconcile(changed, [parcel], POLICY, T0 + days * D - timedelta(seconds=1))
        assert kind not in kinds(early)
        assert early.look_again_at == T0 + days * D


def test_a_parcel_delivered_before_the_cancel_does_not_move() -> None:
    changed = order(status=OrderStatus.CANCELLED, cancelled_at=T0 + D)

    assert kinds(reconcile(changed, [shipment(S.DELIVERED)], POLICY, T0 + 2 * D)) == set()


def test_a_returned_parcel_of_a_cancelled_order_does_not_move_any_more() -> None:
    changed = order(status=OrderStatus.CANCELLED, cancelled_at=T0)

    assert kinds(reconcile(changed, [shipment(S.RETURNED)], POLICY, T0 + D)) == {K.RETURNED_AWAITING_INSPECTION}


def test_a_plain_parcel_has_no_finding_and_a_date_to_look_again() -> None:
    decision = reconcile(order(), [shipment(S.IN_TRANSIT)], POLICY, T0 + D)

    assert decision.findings == ()
    assert decision.look_again_at == T0 + 7 * D


def test_a_delivered_parcel_needs_no_second_look() -> None:
    assert reconcile(order(), [shipment(S.DELIVERED)], POLICY, T0 + D).look_again_at is None


SILENT = [
    (K.LABEL_NEVER_SCANNED, shipment(S.PRE_TRANSIT), 7),
    (K.STUCK, shipment(S.IN_TRANSIT), 7),
    (K.DELIVERY_OVERDUE, shipment(S.IN_TRANSIT, edd=Edd(T0, T0 + D)), 2),
]


@pytest.mark.parametrize(("kind", "parcel", "days"), SILENT)
def test_a_silence_that_nobody_could_hear_is_no_finding(kind: FindingKind, parcel: Shipment, days: int) -> None:
    due = T0 + days * D

    def decided(until: datetime | None, after: timedelta = D) -> Decision:
        return reconcile(order(), [replace(parcel, asked_until=until)], POLICY, due + after)

    assert kind not in kinds(decided(None))
    assert kind not in kinds(decided(due - timedelta(seconds=1)))
    assert kind in kinds(decided(due))
    assert decided(due - D).look_again_at == due + D + timedelta(hours=6)  # somebody may ask by then
    never = decided(None).look_again_at
    assert never is None or never > due + D + timedelta(hours=6)  # the first look wakes it
    assert decided(None, after=-D).look_again_at is not None


WRONG = "1ZR589390357567122"


@pytest.mark.parametrize(
    ("carrier", "number", "tracking", "scans", "evidence"),
    [
        ("ups", WRONG, TrackingState.NOT_FOUND, 0, {"carrier_says": "not found", "check_digit": "wrong"}),
        (
            "unidentified:shop/R1",
            WRONG,
            TrackingState.NOT_FOUND,
            0,
            {"carrier_says": "not found", "check_digit": "wrong"},
        ),
        (
            "ups",
            WRONG,
            TrackingState.INVALID_NUMBER,
            0,
            {"carrier_says": "no number can be so", "check_digit": "wrong"},
        ),
        ("ups", WRONG, TrackingState.ERROR, 0, {"carrier_says": "it cannot tell of it", "check_digit": "wrong"}),
        ("ups", "1ZR589390357567121", TrackingState.ERROR, 0, None),
        ("ups", "1ZR589390357567121", TrackingState.INVALID_NUMBER, 0, {"carrier_says": "no number can be so"}),
        ("ups", "1ZR589390357567121", TrackingState.NOT_FOUND, 0, None),  # right, and not known yet: that is normal
        ("ups", WRONG, TrackingState.PENDING, 0, None),  # nobody was asked
        ("ups", WRONG, TrackingState.ACTIVE, 1, None),
        ("ups", WRONG, TrackingState.NOT_FOUND, 1, None),
    ],
)
def test_a_number_is_doubted_once_the_carrier_does_not_know_it(
    carrier: str, number: str, tracking: TrackingState, scans: int, evidence: dict[str, str] | None
) -> None:
    one = replace(shipment(S.UNKNOWN, number=number, tracking=tracking, scans=scans), carrier=carrier)
    found = [
        f for f in reconcile(order(number), [one], POLICY, T0 + D).findings if f.kind is K.TRACKING_NUMBER_DOUBTFUL
    ]

    assert [{k: v for k, v in f.evidence.items() if k in ("carrier_says", "check_digit")} for f in found] == (
        [evidence] if evidence else []
    )


def test_a_doubtful_number_shows_what_was_typed_and_tells_that_nothing_was_scanned() -> None:
    one = order(WRONG)
    (part,) = one.fulfilments
    typed = replace(part, parcels=(replace(part.parcels[0], typed="1Z R58939-0357567122"),))
    parcel = shipment(S.UNKNOWN, number=WRONG, tracking=TrackingState.NOT_FOUND)
    decision = reconcile(replace(one, fulfilments=(typed,)), [parcel], POLICY, T0 + 9 * D)

    (found,) = [f for f in decision.findings if f.kind is K.TRACKING_NUMBER_DOUBTFUL]
    assert (found.evidence["typed"], found.evidence["also"]) == ("1Z R58939-0357567122", "label_never_scanned")
    assert K.LABEL_NEVER_SCANNED not in kinds(decision)


def test_what_is_no_tracking_number_is_told_of_the_order() -> None:
    one = order()
    (part,) = one.fulfilments
    texts = ("picked up in store", "x" * 300)
    strange = replace(one, fulfilments=(replace(part, parcels=(), unreadable=texts),))
    (found,) = reconcile(strange, [], POLICY, T0 + D).findings

    assert (found.kind, found.subject, found.act) == (K.TRACKING_NUMBER_UNREADABLE, "shop/#1", Act.ACT)
    assert found.evidence["typed"] == ("picked up in store | " + "x" * 300)[:200]
    assert not reconcile(replace(strange, status=OrderStatus.CANCELLED), [], POLICY, T0 + D).findings
    gone = replace(strange, fulfilments=(replace(part, unreadable=texts, live=False),))
    assert K.TRACKING_NUMBER_UNREADABLE not in kinds(reconcile(gone, [], POLICY, T0 + D))


def test_silence_is_not_counted_twice_by_generations_of_one_number() -> None:
    old, new = shipment(S.DELIVERED), replace(shipment(S.PRE_TRANSIT, at=T0 + D), generation=2)
    decision = reconcile(order(), [old, new], POLICY, T0 + 2 * D)

    assert [action.status for action in decision.actions] == [S.PRE_TRANSIT]


@pytest.mark.parametrize("status", list(S))
def test_a_test_order_is_never_written_and_nobody_is_asked_to_look(status: ShippingStatus) -> None:
    strange = replace(order(status=OrderStatus.UNKNOWN), test=True)  # an ordinary one would be told
    for one in (strange, replace(order(), test=True), replace(order(payment=PaymentStatus.FAILED), test=True)):
        decision = reconcile(one, [shipment(status)], POLICY, T0 + D)
        assert (decision.actions, decision.findings, decision.because) == ((), (), ("test_order",))


@pytest.mark.parametrize("status", list(S))
@pytest.mark.parametrize("why", ["deleted", "not_found", "out_of_sight"])
def test_nothing_is_written_to_an_order_that_is_gone_and_a_person_is_told(status: ShippingStatus, why: str) -> None:
    gone = replace(order(), gone=why)
    decision = reconcile(gone, [shipment(status)], POLICY, T0 + D)

    assert decision.actions == ()
    kind = K.ORDER_OUT_OF_SIGHT if why == "out_of_sight" else K.ORDER_GONE
    (told,) = [finding for finding in decision.findings if finding.kind in (K.ORDER_OUT_OF_SIGHT, K.ORDER_GONE)]
    assert (told.kind, told.evidence["why"]) == (kind, why)
    assert ("order_gone" in decision.because) is (kind is K.ORDER_GONE)
    if kind is K.ORDER_GONE:
        assert (told.severity == "warning") is not status.terminal
        assert told.evidence.get("under_way", "") == ("" if status.terminal else "ups N1")


def test_parcels_of_an_order_that_is_gone_are_looked_at_like_others() -> None:
    lost = reconcile(replace(order(), gone="deleted"), [shipment(S.LOST)], POLICY, T0 + D)
    still = reconcile(replace(order(), gone="deleted"), [shipment(S.IN_TRANSIT)], POLICY, T0 + 8 * D)

    assert K.LOST_OR_DESTROYED in {finding.kind for finding in lost.findings}
    assert K.STUCK in {finding.kind for finding in still.findings}
