"""Who changed an order's status, and what is done about it: edits, corrections, and what the carrier takes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.domain.guide import GUIDE, MOVING, H, K, O, S, actions, finding, history, told
from tests.domain.test_reconcile import T0, D, shipment
from tracker.domain.facts import Finding, Statement
from tracker.domain.policy import Policy
from tracker.domain.reconcile import reconcile
from tracker.domain.vocabulary import Act, Severity, StatementKind


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
    assert (
        finding(decision, K.SYSTEM_CONTROLLED_EDIT).proposal
        == "send the support packet: `tracker evidence '#1' -o pack.zip`"
    )


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
        "send the support packet: `tracker evidence '#1' -o pack.zip`",
    )  # fmt: skip
    left = reconcile(one, [parcel], GUIDE, T0 + 2 * H)
    assert (finding(left, K.CORRECTION_AFTER_DELIVERED), actions(left, "order_status")) == (told_so, [])
    followed = reconcile(one, [parcel], replace(GUIDE, corrections=True), T0 + 2 * H)
    assert finding(followed, K.CORRECTION_AFTER_DELIVERED) == told_so
    (write,) = actions(followed, "order_status")
    assert (write.target, write.rules[0], write.happened_at) == (O.OUT_FOR_DELIVERY, "carrier_correction", T0 + H)


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


def test_a_correction_that_the_shop_cannot_say_stops_there() -> None:
    said = Statement(StatementKind.CORRECTION, "x", "ada", T0, O.CONFIRMED, override=True)
    decision = reconcile(
        told(history=history((O.PROCESSING, "system", T0 - D)), statements=(said,)), [MOVING], GUIDE, T0 + H
    )

    assert actions(decision, "order_status") == []
    assert [rule for rule in decision.because if not rule.startswith("owner:")] == ["status_not_expressible:confirmed"]


def test_an_unknown_hand_that_agrees_with_the_carrier_is_no_finding() -> None:
    stands = history((O.SHIPPED, "system", T0 - 2 * D), (O.DELIVERED, "unknown", T0 - D))
    agrees = reconcile(told(O.DELIVERED, history=stands), [shipment(S.DELIVERED, at=T0 - D)], GUIDE, T0)
    assert K.SYSTEM_CONTROLLED_EDIT not in {f.kind for f in agrees.findings}


def test_a_person_who_says_delivered_is_overtaken_where_the_carrier_takes_it_back_later() -> None:
    said = Statement(StatementKind.CORRECTION, "x", "ada", T0, O.DELIVERED, override=True)
    one = told(O.SHIPPED, history=history((O.SHIPPED, "system", T0 - D)), statements=(said,))
    back = shipment(S.OUT_FOR_DELIVERY, at=T0 + H, custody_at=T0 - D, corrected=True)
    for corrections, target in ((True, O.OUT_FOR_DELIVERY), (False, O.DELIVERED)):
        (write,) = actions(reconcile(one, [back], replace(GUIDE, corrections=corrections), T0 + 2 * H), "order_status")
        assert write.target is target
