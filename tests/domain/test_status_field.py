"""The shipping status in a field of the order: what is shown, once, and when it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.domain.whole import T0, D, H, K, O, P, S, keys, kinds, order, parcel
from tracker.domain.facts import Action, Decision, Fulfilment, Item, Order, Parcel, Shipment
from tracker.domain.policy import Policy
from tracker.domain.reconcile import apply, reconcile

RULES = Policy(status_field="shipping_status")


def decide(one: Order, *parcels: Shipment, rules: Policy = RULES, **more: Any) -> Decision:
    return reconcile(one, parcels, rules, T0 + D, **more)


def field(decision: Decision) -> Action:
    (action,) = [action for action in decision.actions if action.kind == "field"]
    return action


def test_the_status_of_the_parcel_is_shown_in_the_field_that_the_policy_names() -> None:
    action = field(decide(order(), parcel(S.IN_TRANSIT)))

    assert (action.field, action.text, action.status) == ("shipping_status", "in_transit", S.IN_TRANSIT)
    assert action.key == "s/R1/field/shipping_status/in_transit/run-N1"
    assert action.rules == ("field:mirror",)
    assert decide(order(), parcel(S.IN_TRANSIT), rules=Policy()).actions == ()  # it is off unless it is named


def test_what_stands_there_already_is_not_written_again() -> None:
    before = order()
    after = apply(before, field(decide(before, parcel(S.IN_TRANSIT))), "")

    assert after.shown == "in_transit"
    decision = decide(after, parcel(S.IN_TRANSIT))
    assert (decision.actions, decision.because[0]) == ((), "in_step:shipping_status")


@pytest.mark.parametrize(
    ("one", "shipped", "rule"),
    [
        (order(), (), "no_tracked_parcel"),
        (order(), (parcel(S.UNKNOWN),), "nothing_known"),
        (order(O.CANCELLED), (parcel(S.IN_TRANSIT),), "human_wins"),
        (order(O.ON_HOLD), (parcel(S.IN_TRANSIT),), "human_wins"),
        (order(payment=P.REFUNDED), (parcel(S.IN_TRANSIT),), "human_wins"),
        (order(), (parcel(S.DELIVERED, confirmed=False),), "waits_for_confirmation"),
        (order(shown="delivered"), (parcel(S.IN_TRANSIT),), "never_back_from_delivered"),
        (order(partial=True), (parcel(S.DELIVERED),), "partly_read"),
        (order(items=(Item("I1", 2),), fulfilments=(Fulfilment("F", "x", (Parcel("ups", "N1"),), (("I1", 1),)),)),
         (parcel(S.DELIVERED),), "waits_for_all"),
        (order(fulfilments=(Fulfilment("F", "x", (Parcel("ups", "N1"),), live=False),)), (parcel(S.IN_TRANSIT),), "no_tracked_parcel"),
    ],
)  # fmt: skip
def test_nothing_is_written_where_a_rule_forbids_it(one: Order, shipped: tuple[Shipment, ...], rule: str) -> None:
    decision = decide(one, *shipped)
    assert [action for action in decision.actions if action.kind == "field"] == []
    assert decision.because[0] == f"{rule}:shipping_status"


def test_of_several_parcels_the_one_speaks_that_is_behind() -> None:
    one = order(numbers=("N1", "N2"))
    assert field(decide(one, parcel(S.DELIVERED), parcel(S.IN_TRANSIT, number="N2"))).text == "in_transit"
    both = decide(one, parcel(S.DELIVERED), parcel(S.DELIVERED, number="N2"))
    assert field(both).text == "delivered"


def test_back_from_delivered_only_by_a_correction_that_the_policy_writes() -> None:
    one, moved = order(shown="delivered"), parcel(S.EXCEPTION, corrected=True)
    assert K.ORDER_AHEAD in kinds(decide(one, parcel(S.IN_TRANSIT)))
    assert keys(decide(one, moved)) == set()
    corrected = decide(one, moved, rules=replace(RULES, corrections=True))
    assert field(corrected).text == "exception"


def test_what_happened_before_the_store_was_connected_is_not_written() -> None:
    decision = decide(order(), parcel(S.IN_TRANSIT), connected_at=T0 + H)
    assert (decision.actions, decision.because[0]) == ((), "before_connected:shipping_status")
