"""A gate answers with its rule, its evidence and what would open it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.domain.guide import BARE, GUIDE, LAST, MOVING, SELLER, H, O, P, actions, history, told
from tests.domain.test_reconcile import T0, D
from tracker.domain.facts import Fulfilment, Order, Parcel, Statement
from tracker.domain.gates import MEANING, Gate, may
from tracker.domain.policy import Owns, Policy
from tracker.domain.reconcile import reconcile
from tracker.domain.vocabulary import Owner, StatementKind


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


NONE = {"last_scan": "none"}


@pytest.mark.parametrize(
    ("one", "parcels", "policy", "to", "more", "answer"),
    [
        (told(), [], GUIDE, O.PROCESSING, {}, Gate(True, "already_there", facts(O.PROCESSING))),
        (told(), [], GUIDE, O.UNKNOWN, {}, Gate(False, "no_such_status", facts(O.PROCESSING), "name one of the shared statuses")),
        (told(O.CANCELLED), [], GUIDE, O.SHIPPED, {},
         Gate(False, "cancelled_is_final", facts(O.CANCELLED), "nothing: a cancelled order stays cancelled")),
        (told(test=True), [], GUIDE, O.SHIPPED, {},
         Gate(False, "test_order", facts(O.PROCESSING), "nothing: an order that was placed to try the shop is never written")),
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
        (told(payment=P.UNKNOWN), [], GUIDE, O.READY_FOR_DISPATCH, {},
         Gate(False, "payment_unknown", facts(O.PROCESSING, "unknown") | {"raw_payment": "UNKNOWN"}, MEANING)),
        (told(payment=P.UNKNOWN, pays_by="COD"), [], GUIDE, O.READY_FOR_DISPATCH, {},
         Gate(False, "not_verified", facts(O.PROCESSING, "unknown") | {"raw_payment": "UNKNOWN", "pays_by": "COD"},
              "`tracker record ORDER verified`, or the payment")),
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


@pytest.mark.parametrize(("payment", "rule"), [(P.PENDING, "gate:not_paid"), (P.UNKNOWN, "gate:payment_unknown")])
def test_a_gate_that_closes_keeps_the_worker_from_writing_too(payment: P, rule: str) -> None:
    unpaid = replace(GUIDE, paid_for=frozenset({O.SHIPPED}))
    decision = reconcile(told(payment=payment), [MOVING], unpaid, T0 + H)

    assert actions(decision, "order_status") == []
    assert rule in decision.because


def test_a_cancel_may_be_closed_from_the_first_status_on() -> None:
    never = replace(GUIDE, cancel_closes={Owner.PLATFORM: O.AWAITING_CONFIRMATION})
    gate = may(told(O.AWAITING_CONFIRMATION), [], never, O.CANCELLED, reason="x")
    assert (gate.allowed, gate.rule) == (False, "cancel_closed_at_awaiting_confirmation")


def test_no_person_corrects_an_order_that_somebody_holds_whatever_they_override() -> None:
    said = Statement(StatementKind.CORRECTION, "go", "ada", T0, O.SHIPPED, override=True)
    for one in (told(O.ON_HOLD), told(O.PROCESSING, payment=P.DISPUTED)):
        stands = history((one.status, "system", T0 - D))
        decision = reconcile(replace(one, history=stands, statements=(said,)), [MOVING], GUIDE, T0 + H)
        assert actions(decision, "order_status") == [] and "human_wins" in decision.because


def test_ownership_by_carrier_reads_the_carrier_and_where_it_is_not_told_the_shops_word() -> None:
    rule = Owns("ups", Owner.PLATFORM, carrier=("ups", "Kiwi Post"))
    for parcel, fits in (
        (Parcel("ups", "N"), True),
        (Parcel(None, "N", "kiwi post"), True),
        (Parcel("dhl", "N", "ups"), False),
    ):
        assert rule.fits(told(fulfilments=(Fulfilment("F", "s", (parcel,)),))) is fits
