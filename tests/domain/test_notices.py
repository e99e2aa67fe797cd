"""The customer is told each thing once, in words of his language."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.domain.guide import GUIDE, RENO, H, O, S, actions, history, told
from tests.domain.test_reconcile import T0, D, shipment
from tracker.domain.facts import NOWHERE, Action, Edd, Parcel
from tracker.domain.notices import estimate
from tracker.domain.reconcile import reconcile
from tracker.domain.vocabulary import NoticeClass, Reason


def test_the_customer_is_told_each_thing_once_with_its_place_and_date() -> None:
    parcel = shipment(
        S.OUT_FOR_DELIVERY, at=T0 + H, custody_at=T0, place=NOWHERE, run_place=RENO, edd=Edd(T0, T0 + 9 * H)
    )
    stands = history((O.CONFIRMED, "system", T0 - D), (O.OUT_FOR_DELIVERY, "system", T0 + H))
    one = told(O.OUT_FOR_DELIVERY, history=stands)

    said = actions(reconcile(one, [parcel], GUIDE, T0 + 2 * H), "notice")

    assert [(a.notice, a.happened_at) for a in said] == [
        (NoticeClass.PLACED, T0), (NoticeClass.CONFIRMED, T0 - D), (NoticeClass.SHIPPED, T0),
        (NoticeClass.OUT_FOR_DELIVERY, T0 + H),
    ]  # fmt: skip
    assert said[0] == Action(
        kind="notice", key="shop/R1/notice/placed", store="shop", order="R1", happened_at=T0,
        rules=("notice:placed", "policy:guide"), notice=NoticeClass.PLACED, number="#1",
    )  # fmt: skip
    assert said[3] == Action(
        kind="notice", key="shop/R1/notice/out_for_delivery/ups/N1/1", store="shop", order="R1", status=S.OUT_FOR_DELIVERY,
        happened_at=T0 + H, place=RENO, edd=T0 + 9 * H, rules=("notice:out_for_delivery", "policy:guide"),
        notice=NoticeClass.OUT_FOR_DELIVERY, parcels=(Parcel("ups", "N1"),), number="#1",
    )  # fmt: skip


def test_an_estimate_is_worded_in_the_customers_language() -> None:
    at = datetime(2026, 11, 5, 18, 0, tzinfo=UTC)
    assert "05.11.2026" in estimate(at, "de", "Europe/Berlin")
    assert "November 5, 2026" in estimate(at, "en", "Europe/Berlin")


def test_a_day_told_as_midnight_is_the_day_that_ends_there() -> None:
    assert "November 5, 2026" in estimate(datetime(2026, 11, 6, tzinfo=UTC), "en", "America/Los_Angeles")


def test_a_notice_tells_the_reason() -> None:
    parcel = shipment(S.DELIVERY_ATTEMPTED, at=T0 + H, custody_at=T0, reason=Reason.ADDRESS_INCORRECT)
    said = actions(reconcile(told(O.SHIPPED), [parcel], GUIDE, T0 + 2 * H), "notice")
    assert {a.reason for a in said if a.parcels} == {Reason.ADDRESS_INCORRECT}
    assert {a.reason for a in said if not a.parcels} == {None}
