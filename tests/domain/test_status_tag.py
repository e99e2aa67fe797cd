"""The shipping status in a tag of the order: one of ours at a time, and never one of others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.domain.whole import T0, D, K, O, S, kinds, order, parcel
from tracker.domain.facts import Action, Decision, Order, Shipment
from tracker.domain.policy import Policy
from tracker.domain.reconcile import apply, reconcile

RULES = Policy(status_tag="shipping")


def decide(one: Order, *parcels: Shipment, rules: Policy = RULES, **more: Any) -> Decision:
    return reconcile(one, parcels, rules, T0 + D, **more)


def tag(decision: Decision) -> Action:
    (action,) = [action for action in decision.actions if action.kind == "tag"]
    return action


def test_the_status_of_the_parcel_is_shown_in_a_tag_that_begins_as_the_policy_says() -> None:
    action = tag(decide(order(), parcel(S.IN_TRANSIT)))

    assert (action.field, action.text, action.status) == ("shipping", "shipping:in_transit", S.IN_TRANSIT)
    assert action.key == "s/R1/tag/shipping/in_transit/run-N1"
    assert action.rules == ("tag:mirror",)
    assert decide(order(), parcel(S.IN_TRANSIT), rules=Policy()).actions == ()  # it is off unless it is named


def test_our_former_tag_goes_and_those_of_others_stay() -> None:
    before = order(tags=("Shipping:Picked_up", "shipping", "shipping:free", "shippingpicked_up", "vip"))
    after = apply(before, tag(decide(before, parcel(S.IN_TRANSIT))), "")

    assert after.tags == ("shipping", "shipping:free", "shipping:in_transit", "shippingpicked_up", "vip")
    decision = decide(after, parcel(S.IN_TRANSIT))
    assert (decision.actions, decision.because[0]) == ((), "in_step:shipping")


def test_two_of_ours_become_one() -> None:
    both = order(tags=("shipping:in_transit", "shipping:picked_up"))

    assert apply(both, tag(decide(both, parcel(S.IN_TRANSIT))), "").tags == ("shipping:in_transit",)


@pytest.mark.parametrize(
    ("one", "status", "rule"),
    [
        (order(), S.UNKNOWN, "nothing_known"),
        (order(O.CANCELLED), S.IN_TRANSIT, "human_wins"),
        (order(tags=("shipping:delivered",)), S.IN_TRANSIT, "never_back_from_delivered"),
        (order(tags=("shipping:delivered", "shipping:picked_up")), S.IN_TRANSIT, "never_back_from_delivered"),
        (order(partial=True), S.DELIVERED, "partly_read"),
    ],
)
def test_no_tag_is_written_where_a_rule_forbids_it(one: Order, status: S, rule: str) -> None:
    decision = decide(one, parcel(status))

    assert [action for action in decision.actions if action.kind == "tag"] == []
    assert decision.because[0] == f"{rule}:shipping"


def test_back_from_a_tag_of_delivered_only_by_a_correction_that_the_policy_writes() -> None:
    one = order(tags=("shipping:delivered",))
    assert K.ORDER_AHEAD in kinds(decide(one, parcel(S.IN_TRANSIT)))
    corrected = decide(one, parcel(S.EXCEPTION, corrected=True), rules=replace(RULES, corrections=True))
    assert tag(corrected).text == "shipping:exception"


def test_what_the_customer_is_told_leaves_the_order_in_the_shop_as_it_is() -> None:
    before = order(tags=("vip",))
    action = replace(tag(decide(before, parcel(S.IN_TRANSIT))), kind="notice")

    assert apply(before, action, "") is before
