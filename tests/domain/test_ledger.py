"""The ledger: shop and carriers disagree, or they do not, whatever the policy wants."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.domain.test_whole import T0, D, H, order, parcel, policy
from tracker.domain.facts import Order, Shipment
from tracker.domain.ledger import compare
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import DriftKind, OrderStatus, ShippingStatus

S, O, K = ShippingStatus, OrderStatus, DriftKind


def kinds(one: Order, parcels: list[Shipment], rules: Policy, now: Any = T0 + H) -> list[tuple[K, O, S]]:
    return [(d.kind, d.shop, d.carrier) for d in compare(one, parcels, rules, now).drifts]


@pytest.mark.parametrize("preset", ["mirror", "marketplace-guide", "kingston-courier", "kartrocket-autopilot"])
def test_delivered_over_a_picked_up_parcel_is_told_at_once_whatever_the_preset(preset: str) -> None:
    one = order(O.DELIVERED, actor="seller", before=((O.PROCESSING, "system"),))
    (found,) = compare(one, [parcel(S.PICKED_UP)], policy(preset), T0 + H).drifts

    assert (found.kind, found.shop, found.carrier) == (K.SHOP_AHEAD, O.DELIVERED, S.PICKED_UP)
    assert (found.caused_by, found.since, found.wanted) == ("seller", T0, O.SHIPPED)


def test_a_label_is_no_contradiction_of_shipped_before_its_time() -> None:
    one = order(O.SHIPPED)
    labelled = parcel(S.PRE_TRANSIT)
    rules = replace(policy("mirror"), unscanned_after=timedelta(days=7))
    early = compare(one, [labelled], rules, T0 + 7 * D - H)

    assert early.drifts == ()
    assert early.look_again_at == T0 + 7 * D
    assert kinds(one, [labelled], rules, T0 + 7 * D) == [(K.SHOP_AHEAD, O.SHIPPED, S.PRE_TRANSIT)]
