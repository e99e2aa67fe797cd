"""A status is written once, whole, and what is not written says by which rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.domain.guide import GUIDE, MEANS, MOVING, RENO, H, K, O, P, S, actions, finding, history, told
from tests.domain.test_reconcile import T0, D, order, shipment
from tracker.domain.facts import NOWHERE, Action, Edd, Fulfilment, Item, Parcel, StatusSnapshot
from tracker.domain.policy import Policy
from tracker.domain.reconcile import aggregate, apply, reconcile
from tracker.domain.vocabulary import Owner, Reason


def test_a_status_is_written_once_with_all_that_the_shop_must_know() -> None:
    one = told(history=(StatusSnapshot(T0 - D, O.PROCESSING, "Processing", P.PAID, "system"),))
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


MAILS = replace(GUIDE, withheld={O.DELIVERED: "mails the customer"})


def test_what_does_more_than_it_says_waits_to_be_named_and_is_told_with_what_it_does() -> None:
    policy = replace(MAILS, otherwise=Owner.SELLER, writes={Owner.SELLER: frozenset({O.DELIVERED})})
    decision = reconcile(told(O.SHIPPED), [shipment(S.DELIVERED)], policy, T0 + H)

    assert actions(decision, "order_status") == []
    assert decision.because[-1] == "side_effect_not_named"
    behind = finding(decision, K.ORDER_BEHIND)
    assert behind.evidence["beside"] == "mails the customer"
    assert behind.proposal == "set the order to 'Done' in the shop, or name delivered in policy.side_effects"


def test_nothing_is_put_back_that_does_more_than_it_says() -> None:
    stands = history((O.DELIVERED, "system", T0), (O.OUT_FOR_DELIVERY, "seller", T0 + H))
    edited = told(O.OUT_FOR_DELIVERY, history=stands, actor="seller")
    decision = reconcile(edited, [MOVING], MAILS, T0 + 2 * H)

    assert actions(decision, "order_status") == []
    assert "side_effect_not_named:delivered" in decision.because
    assert actions(reconcile(edited, [MOVING], GUIDE, T0 + 2 * H), "order_status") != []


def test_a_carriers_correction_is_not_written_where_it_does_more_than_it_says() -> None:
    policy = replace(GUIDE, corrections=True)
    parcel, one = shipment(S.IN_TRANSIT, custody_at=T0, corrected=True), told(O.DELIVERED)

    assert actions(reconcile(one, [parcel], policy, T0 + H), "order_status") != []
    withheld = replace(policy, withheld={O.SHIPPED: "mails the customer"})
    assert actions(reconcile(one, [parcel], withheld, T0 + H), "order_status") == []


def test_what_happened_before_the_store_was_connected_is_not_written() -> None:
    decision = reconcile(told(), [MOVING], GUIDE, T0 + H, connected_at=T0 + timedelta(seconds=1))
    assert actions(decision, "order_status") == actions(decision, "notice") == []
    assert "before_connected" in decision.because
    assert actions(reconcile(told(), [MOVING], GUIDE, T0 + H, connected_at=T0), "order_status") != []


def test_a_written_status_stands_since_the_version_before_it() -> None:
    one = told(history=history((O.PROCESSING, "system", T0 + H)))
    (write,) = actions(reconcile(one, [MOVING], GUIDE, T0 + 2 * H), "order_status")
    stand = apply(one, write, "Shipped").history[-1]
    assert (stand.at, stand.read_before, stand.actor, stand.raw) == (T0 + H, T0 + H, "trackwright", "Shipped")


def test_a_delivered_order_of_parcels_without_a_date_is_still_an_order() -> None:
    two = replace(order("N1", "N2"), status=O.SHIPPED)
    parcels = [shipment(S.DELIVERED, since=None), shipment(S.DELIVERED, number="N2", at=T0 + H)]
    (write,) = actions(reconcile(two, parcels, GUIDE, T0 + 2 * H), "order_status")
    assert (write.target, write.happened_at) == (O.DELIVERED, T0 + H)


def test_an_order_is_shipped_whole_when_what_is_left_of_it_went() -> None:
    part = Fulfilment("F1", "SUCCESS", (Parcel("ups", "N1"),), (("a", 2),))
    one = told(items=(Item("a", 3, removed=1),), fulfilments=(part,))
    (write,) = actions(reconcile(one, [MOVING], GUIDE, T0 + H), "order_status")
    assert write.target is O.SHIPPED


def test_a_voided_label_does_not_speak_for_the_parcels_that_went() -> None:
    voided, went = shipment(S.CANCELLED, number="N1"), shipment(S.DELIVERED, number="N2")
    for parcels, speaks in (([voided, went], "N2"), ([voided], "N1")):
        chosen = aggregate(parcels)
        assert chosen is not None and chosen.number == speaks
    assert aggregate([]) is None


@pytest.mark.parametrize(("here", "written"), [(O.SHIPPED, 0), (O.IN_TRANSIT, 1), (O.OUT_FOR_DELIVERY, 1)])
def test_a_status_is_written_out_of_those_only_that_the_store_names(here: O, written: int) -> None:
    from_ = replace(GUIDE, only_from={O.DELIVERED: (O.IN_TRANSIT, O.OUT_FOR_DELIVERY)})
    decision = reconcile(told(here), [shipment(S.DELIVERED)], from_, T0 + H)

    assert len(actions(decision, "order_status")) == written
    assert ("transition_not_named" in decision.because) is (not written)
    if not written:
        assert finding(decision, K.ORDER_BEHIND).evidence["means"] == "delivered"
    assert len(actions(reconcile(told(here), [shipment(S.DELIVERED)], GUIDE, T0 + H), "order_status")) == 1


def test_a_carriers_correction_is_written_out_of_those_only_too() -> None:
    back = shipment(S.OUT_FOR_DELIVERY, corrected=True)
    policy = replace(GUIDE, corrections=True, means={Owner.PLATFORM: {S.OUT_FOR_DELIVERY: O.SHIPPED}})
    assert len(actions(reconcile(told(O.DELIVERED), [back], policy, T0 + H), "order_status")) == 1
    never = replace(policy, only_from={O.SHIPPED: (O.PROCESSING,)})
    assert actions(reconcile(told(O.DELIVERED), [back], never, T0 + H), "order_status") == []
