"""Each rule of a decision by itself: who owns an order, when a clock ends, what an edit or a correction does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest

from tests.domain.whole import T0, D, H, K, O, P, S, kinds, order, parcel, policy, written
from tracker.domain.facts import Fulfilment, Item, Order, Parcel, Statement, StatusSnapshot
from tracker.domain.gates import may
from tracker.domain.policy import Calendar, Owns, Policy, Silence, Span
from tracker.domain.reconcile import reconcile
from tracker.domain.table import decision_table
from tracker.domain.vocabulary import Owner, Reason, StatementKind


def test_the_first_rule_of_ownership_that_fits_names_the_owner() -> None:
    rules = Policy(
        ownership=(
            Owns("van", Owner.SELLER, method=("Own Van",), tag=("local",)), Owns("house", Owner.PLATFORM, location=("berlin",)),
            Owns("by ups", Owner.COURIER, carrier=("ups",)), Owns("service", Owner.PLATFORM, service=("*",)),
        )
    )  # fmt: skip
    one = order(method="", fulfilments=())

    assert rules.owner_of(replace(one, method="own van", tags=("LOCAL",))) == (Owner.SELLER, "owner:van")
    assert rules.owner_of(replace(one, method="own van", location="Berlin")) == (Owner.PLATFORM, "owner:house")
    assert rules.owner_of(order(method="")) == (Owner.COURIER, "owner:by ups")
    assert rules.owner_of(replace(one, service="acme")) == (Owner.PLATFORM, "owner:service")
    assert rules.owner_of(one) == (Owner.UNKNOWN, "owner:otherwise")
    assert rules.owner_of(replace(one, owner=Owner.SELLER)) == (Owner.SELLER, "owner:told_by_shop")


@pytest.mark.parametrize(
    ("began", "days", "end"),
    [
        ("2026-11-25T16:00:00+00:00", 1, "2026-11-28T05:00:00+00:00"),  # Thanksgiving: Friday is the first
        ("2026-11-25T16:00:00+00:00", 2, "2026-12-01T05:00:00+00:00"),
        ("2026-03-06T23:00:00+00:00", 1, "2026-03-10T04:00:00+00:00"),  # over the change to summer time
        ("2026-10-31T02:00:00+00:00", 1, "2026-11-03T05:00:00+00:00"),  # Friday evening in New York; clocks go back on Sunday
        ("2026-11-27T04:59:00+00:00", 1, "2026-11-28T05:00:00+00:00"),  # still Thursday there
    ],
)  # fmt: skip
def test_a_business_day_ends_at_the_stores_own_midnight(began: str, days: int, end: str) -> None:
    calendar = Calendar("America/New_York", holidays=frozenset({date(2026, 11, 26)}))

    assert Span(business_days=days).end(datetime.fromisoformat(began), calendar) == datetime.fromisoformat(end)


def test_silence_is_counted_by_carrier_service_and_lane_the_first_that_fits() -> None:
    rules = Policy(
        silence=(
            Silence("sea", "dhl", "Sea", "US-DE", stuck_after=20 * D), Silence("dhl", carrier="dhl", unscanned_after=3 * D),
        )
    )  # fmt: skip

    assert rules.silence_for("dhl", "sea", "US-DE").stuck_after == 20 * D
    other = rules.silence_for("dhl", "air", "US-DE")
    assert (other.name, other.stuck_after, other.unscanned_after) == ("dhl", rules.stuck_after, 3 * D)
    assert rules.silence_for("ups", "", "-").name == "default"


def test_a_status_that_does_not_stay_is_not_written_for_ever() -> None:
    rules = policy("kingston-courier")
    flips = tuple(pair for _ in range(3) for pair in ((O.PROCESSING, "system"), (O.SHIPPED, "trackwright")))
    one = order(O.PROCESSING, before=(*flips, (O.PROCESSING, "system")))
    decision = reconcile(one, [parcel(S.PICKED_UP)], rules, T0)

    assert written(decision) == []
    assert K.WRITE_REFUSED in kinds(decision)
    assert decision.look_again_at is not None
    assert written(reconcile(one, [parcel(S.PICKED_UP)], rules, T0 + 2 * D)) == [O.SHIPPED]


def test_a_corrected_status_stands_until_the_carrier_says_something_newer() -> None:
    rules = policy("kingston-courier")
    said = Statement(StatementKind.CORRECTION, "it is not gone", "ann", T0 + H, O.PROCESSING, override=True)
    one = order(O.PROCESSING, statements=(said,))

    assert "corrected_by_person" in reconcile(one, [parcel(S.PICKED_UP)], rules, T0 + D).because
    assert written(reconcile(one, [parcel(S.PICKED_UP, at=T0 + 2 * H)], rules, T0 + D)) == [O.SHIPPED]


def test_what_a_person_stated_ends_order_ahead() -> None:
    rules = policy("kingston-courier")
    ahead = order(O.SHIPPED, before=((O.PROCESSING, "seller"),), actor="seller")
    handed = replace(ahead, statements=(Statement(StatementKind.HANDED_OVER, "saw it", "ann", T0),))
    proved = order(
        O.DELIVERED, before=((O.SHIPPED, "seller"),), actor="seller",
        statements=(Statement(StatementKind.PROOF, "photo 7", "ann", T0),),
    )  # fmt: skip

    assert K.ORDER_AHEAD in kinds(reconcile(ahead, [parcel(S.PRE_TRANSIT)], rules, T0 + D))
    assert "stated_by_person" in reconcile(handed, [parcel(S.PRE_TRANSIT)], rules, T0 + D).because
    assert K.ORDER_AHEAD not in kinds(reconcile(proved, [parcel(S.IN_TRANSIT)], rules, T0 + 3 * D))
    gone = replace(proved, statements=(), fulfilments=())
    assert K.SHIPPED_WITHOUT_TRACKING in kinds(reconcile(gone, [], rules, T0 + 3 * D))
    assert K.SHIPPED_WITHOUT_TRACKING not in kinds(reconcile(replace(proved, fulfilments=()), [], rules, T0 + 3 * D))


def test_pieces_that_go_by_no_parcel_are_not_sent_too_often() -> None:
    rules = replace(policy("kingston-courier"), checks=frozenset({K.QUANTITY_MISMATCH}))
    gift, book = Item("L1", 1, shippable=False), Item("L2", 1)
    held = Fulfilment("F1", "SUCCESS", quantities=(("L1", 1), ("L2", 1)))
    one = replace(order(O.SHIPPED), items=(gift, book), fulfilments=(held,))

    assert K.QUANTITY_MISMATCH not in kinds(reconcile(one, [], rules, T0))
    twice = replace(held, quantities=(("L1", 1), ("L2", 2), ("L3", 1)))  # a line that nobody ordered too
    assert K.QUANTITY_MISMATCH in kinds(reconcile(replace(one, fulfilments=(twice,)), [], rules, T0))


def test_nobody_misses_the_number_of_what_goes_by_no_parcel() -> None:
    rules = policy("kingston-courier")
    gift, book = Item("L1", 1, shippable=False), Item("L2", 1)
    bare = replace(order(O.SHIPPED), items=(gift,), fulfilments=(Fulfilment("F1", "SUCCESS", quantities=(("L1", 1),)),))
    mixed = replace(bare, items=(gift, book))

    def missed(one: Order) -> bool:
        return K.SHIPPED_WITHOUT_TRACKING in kinds(reconcile(one, [], rules, T0 + 9 * D))

    assert (missed(bare), missed(mixed)) == (False, False)  # only the gift card is fulfilled
    assert missed(replace(mixed, fulfilments=(Fulfilment("F1", "SUCCESS", quantities=(("L2", 1),)),)))
    for untold in ((Fulfilment("F1", "SUCCESS"),), (replace(mixed.fulfilments[0], live=False),)):
        assert missed(replace(mixed, fulfilments=untold))  # what was fulfilled is not told


def test_a_carrier_that_takes_back_its_delivered_is_followed_only_where_the_policy_says_so() -> None:
    one = order(O.DELIVERED, owner=Owner.PLATFORM, before=((O.SHIPPED, "trackwright"),), actor="trackwright")
    back = [parcel(S.IN_TRANSIT, corrected=True)]
    careful = replace(policy("kingston-dispatched"), corrections=False)

    assert written(reconcile(one, back, policy("kingston-dispatched"), T0 + H)) == [O.IN_TRANSIT]
    assert K.CORRECTION_AFTER_DELIVERED in kinds(reconcile(one, back, careful, T0 + H))
    lost = order(O.DELIVERED, before=((O.SHIPPED, "trackwright"),), actor="trackwright")
    label = [parcel(S.PRE_TRANSIT, corrected=True)]
    assert K.CORRECTION_AFTER_DELIVERED in kinds(reconcile(lost, label, policy("kingston-courier"), T0 + D))


@pytest.mark.parametrize(
    ("before", "actor", "rule"),
    [
        (((O.CONFIRMED, "system"),), "seller", "no_restore_before_processing"),
        (((O.PROCESSING, "customer"),), "seller", "no_system_value_to_restore"),
        (((O.SHIPPED, "system"), (O.CANCELLED, "customer")), "seller", "no_system_value_to_restore"),
        (((O.PARTIALLY_SHIPPED, "system"),), "seller", "status_not_expressible:partially_shipped"),
    ],
)
def test_what_cannot_be_restored_is_found_and_says_why(before: Any, actor: str, rule: str) -> None:
    rules = policy("kingston-dispatched")
    rules = replace(rules, order_words={k: v for k, v in rules.order_words.items() if k is not O.PARTIALLY_SHIPPED})
    decision = reconcile(
        order(
            O.SHIPPED if before[0][0] is not O.SHIPPED else O.DELIVERED,
            owner=Owner.PLATFORM,
            before=before,
            actor=actor,
        ),
        [parcel(S.PRE_TRANSIT)],
        rules,
        T0,
    )

    assert written(decision) == []
    assert rule in decision.because
    assert K.SYSTEM_CONTROLLED_EDIT in kinds(decision)


def test_an_edit_before_the_store_was_connected_is_found_and_not_restored() -> None:
    one = order(O.DELIVERED, owner=Owner.PLATFORM, before=((O.SHIPPED, "system"),), actor="seller")
    decision = reconcile(one, [parcel(S.IN_TRANSIT)], policy("kingston-dispatched"), T0, connected_at=T0)

    assert written(decision) == []
    assert "before_connected" in decision.because


def test_an_edit_that_agrees_with_the_carrier_stands() -> None:
    one = order(O.DELIVERED, owner=Owner.PLATFORM, before=((O.SHIPPED, "system"),), actor="seller")
    decision = reconcile(one, [parcel(S.DELIVERED)], policy("kingston-dispatched"), T0)

    assert decision.because[-2:] == ("edit_agrees_with_carrier", "in_step")


def test_a_resend_while_the_carrier_has_the_first_parcel_is_a_remedy_in_custody() -> None:
    first = Fulfilment("F1", "open", (Parcel("ups", "N1", "UPS"),), (("cup", 1),), shipped_at=T0 - H)
    second = Fulfilment("F2", "open", (), (("cup", 1),), shipped_at=T0 + H)
    one = order(O.SHIPPED, owner=Owner.PLATFORM, items=(Item("cup", 1),), fulfilments=(first, second))
    decision = reconcile(one, [parcel(S.IN_TRANSIT)], policy("kingston-dispatched"), T0 + 2 * H)

    assert next(f for f in decision.findings if f.kind is K.REMEDY_IN_CUSTODY).evidence["remedy"] == "resend"
    customs = parcel(S.ON_HOLD, reason=Reason.CUSTOMS_HOLD, custody_at=T0)
    courier = order(O.SHIPPED, payment=P.REFUNDED, fulfilments=(first,), history=())
    assert K.REMEDY_IN_CUSTODY in kinds(reconcile(courier, [customs], policy("kingston-courier"), T0 + H))
    assert K.REFUNDED_BUT_MOVING in kinds(
        reconcile(courier, [parcel(S.IN_TRANSIT)], policy("kingston-courier"), T0 + H)
    )


def test_some_returned_and_some_delivered_is_neither() -> None:
    two = order(numbers=("N1", "N2"))
    decision = reconcile(two, [parcel(S.DELIVERED), parcel(S.RETURNED, number="N2")], policy("kingston-dispatched"), T0)

    assert "mixed_ends" in decision.because


def test_a_part_that_left_is_partially_shipped_where_there_is_a_word_for_it() -> None:
    two = order(numbers=("N1", "N2"))
    parcels = [parcel(S.PICKED_UP), parcel(S.PRE_TRANSIT, number="N2")]

    assert written(
        reconcile(
            two,
            parcels,
            policy("marketplace-guide"),
            T0,
        )
    ) == [O.PARTIALLY_SHIPPED]
    assert "waits_for_all" in reconcile(two, parcels, policy("marketplace-guide", "shipped only"), T0).because


def test_a_voided_label_leaves_the_coverage() -> None:
    two = order(numbers=("N1", "N2"))
    parcels = [parcel(S.DELIVERED), parcel(S.CANCELLED, number="N2")]
    decision = reconcile(
        replace(two, fulfilments=(replace(two.fulfilments[0], parcels=(Parcel("ups", "N1"), Parcel("ups", "N2"))),)),
        parcels,
        policy("marketplace-guide"),
        T0,
    )

    assert written(decision) == [O.DELIVERED]


def test_an_order_of_which_nothing_is_wanted_any_more_is_not_delivered() -> None:
    one = order(items=(Item("cup", 1, 1),))

    assert O.DELIVERED not in written(reconcile(one, [parcel(S.DELIVERED)], policy("marketplace-guide"), T0))


def test_a_status_without_a_word_is_named_and_a_correction_into_one_too() -> None:
    rules = policy("marketplace-guide", "shipped only")
    said = Statement(StatementKind.CORRECTION, "x", "ann", T0, O.RETURNED, override=True)

    assert "status_not_expressible:delivered" in reconcile(order(O.SHIPPED), [parcel(S.DELIVERED)], rules, T0).because
    assert (
        "status_not_expressible:returned"
        in reconcile(order(O.SHIPPED, statements=(said,)), [parcel(S.DELIVERED)], rules, T0).because
    )


def test_the_decision_table_is_made_by_the_code_that_decides() -> None:
    rows = decision_table(policy("kartrocket-autopilot"))

    assert {
        "dispatched by": "courier",
        "order is": "ready_for_dispatch",
        "parcel is": "picked_up",
        "then": "write shipped",
        "rule": "write:carrier:picked_up",
    } in rows
    assert not [row for row in rows if row["order is"] == "cancelled" and "write" in row["then"]]
    assert any(
        "show" in row["then"] for row in decision_table(replace(policy("mirror"), words={S.DELIVERED: "DELIVERED"}))
    )


def test_a_gate_that_no_rule_closes_is_open_and_says_where_the_parcel_is() -> None:
    rules = policy("marketplace-guide")
    one = order(O.PROCESSING)

    assert may(one, [parcel(S.DELIVERED)], rules, O.DELIVERED).allowed
    assert may(one, [], rules, O.ON_HOLD).rule == "hold"
    assert may(order(O.ON_HOLD), [], rules, O.SHIPPED).rule == "human_wins"
    assert may(order(payment=P.REFUNDED), [], rules, O.ON_HOLD).allowed
    assert may(one, [], rules, O.UNKNOWN).rule == "no_such_status"
    assert may(order(O.SHIPPED), [parcel(S.IN_TRANSIT)], rules, O.DELIVERED).rule == "carrier_has_not_delivered"
    assert may(one, [parcel(S.PRE_TRANSIT)], rules, O.SHIPPED).rule == "not_handed_over"
    assert may(order(owner=Owner.UNKNOWN), [], policy("kingston-dispatched"), O.SHIPPED).rule == "unknown_owner"
    inspected = order(statements=(Statement(StatementKind.INSPECTED, "ok", "ann", T0 + H),))
    assert may(inspected, [parcel(S.RETURNED)], rules, O.CANCELLED, reason="back").allowed


def test_a_correction_that_was_done_is_not_done_again_when_the_status_moves_on() -> None:
    said = Statement(StatementKind.CORRECTION, "x", "ann", T0 - 2 * D, O.SHIPPED, override=True)
    one = order(O.PROCESSING, before=((O.SHIPPED, "trackwright"),), actor="seller", statements=(said,))

    assert written(reconcile(one, [parcel(S.PRE_TRANSIT)], policy("kingston-courier"), T0)) == []


def test_an_edit_is_dated_from_its_first_stand_and_one_that_was_always_there_is_none() -> None:
    rules = policy("kingston-dispatched")
    stands = (
        StatusSnapshot(T0 - 3 * H, O.SHIPPED, "shipped", P.PAID, "system"),
        StatusSnapshot(T0 - 2 * H, O.DELIVERED, "delivered", P.PAID, "seller"),
        StatusSnapshot(
            T0 - H, O.DELIVERED, "delivered", P.PARTIALLY_REFUNDED, "seller"
        ),  # the money moved, the edit is the same
    )
    one = order(O.DELIVERED, owner=Owner.PLATFORM, actor="seller", history=stands)
    decision = reconcile(one, [parcel(S.IN_TRANSIT)], rules, T0)
    assert written(decision) == [O.IN_TRANSIT]
    edit = next(f for f in decision.findings if f.kind is K.SYSTEM_CONTROLLED_EDIT)
    assert edit.since == T0 - 2 * H

    always = replace(one, history=(stands[1], replace(stands[2], actor="admin"), replace(stands[2], actor="seller")))
    assert K.SYSTEM_CONTROLLED_EDIT not in kinds(reconcile(always, [parcel(S.IN_TRANSIT)], rules, T0))


def test_a_clock_of_an_order_without_a_history_begins_when_its_status_did() -> None:
    rules = policy("marketplace-guide")
    one = replace(order(O.PROCESSING, history=(), status_at=T0 - 20 * D), placed_at=T0 - 30 * D)

    assert K.SHIPPING_OVERDUE in kinds(reconcile(one, [], rules, T0))


def test_a_correction_into_processing_is_never_forward_and_only_where_it_has_no_side_effect() -> None:
    said = (Statement(StatementKind.CORRECTION, "x", "ann", T0, O.PROCESSING, override=True),)
    back = order(O.READY_FOR_DISPATCH, owner=Owner.PLATFORM, statements=said)
    forward = order(O.CONFIRMED, owner=Owner.PLATFORM, before=(), statements=said)

    assert written(reconcile(back, [], policy("kingston-dispatched"), T0)) == [O.PROCESSING]
    assert "never_into_processing" in reconcile(back, [], policy("kingston-courier"), T0).because
    assert "never_into_processing" in reconcile(forward, [], policy("kingston-dispatched"), T0).because


def test_own_delivery_asks_no_carrier() -> None:
    assert may(order(O.SHIPPED, owner=Owner.SELLER), [], policy("kingston-seller"), O.DELIVERED).rule == "open"


def test_an_address_nobody_confirmed_matters_until_everything_is_delivered() -> None:
    one = order(O.SHIPPED, address="missing")

    assert K.ADDRESS_UNCONFIRMED in kinds(reconcile(one, [parcel(S.IN_TRANSIT)], policy("kingston-courier"), T0))
    assert K.ADDRESS_UNCONFIRMED not in kinds(reconcile(one, [parcel(S.DELIVERED)], policy("kingston-courier"), T0))


def test_a_status_that_was_saved_over_is_told_and_not_fought_where_the_platform_looks_again() -> None:
    rules = replace(policy("kingston-courier"), rewrites=False)
    one = order(O.PROCESSING, before=((O.PROCESSING, "system"), (O.SHIPPED, "trackwright"), (O.PROCESSING, "unknown")))
    decision = reconcile(one, [parcel(S.PICKED_UP)], rules, T0)

    assert written(decision) == []
    (told,) = [found for found in decision.findings if found.kind is K.WRITE_REFUSED]
    assert "saved over it" in told.proposal
    assert written(reconcile(one, [parcel(S.PICKED_UP)], rules, T0 + 30 * D)) == []  # nor on another day
    dispatched = replace(policy("kingston-dispatched"), rewrites=False)
    ours = ((O.PROCESSING, "system"), (O.OUT_FOR_DELIVERY, "trackwright"), (O.DELIVERY_FAILED, "trackwright"))
    again = order(O.DELIVERY_FAILED, before=ours, owner=Owner.PLATFORM)  # we ourselves wrote what came after it
    assert written(reconcile(again, [parcel(S.OUT_FOR_DELIVERY)], dispatched, T0)) == [O.OUT_FOR_DELIVERY]
    never = order(O.PROCESSING, before=((O.PROCESSING, "system"),))
    assert written(reconcile(never, [parcel(S.PICKED_UP)], rules, T0)) == [O.SHIPPED]
