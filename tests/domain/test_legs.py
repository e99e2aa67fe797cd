"""One parcel under two numbers: what the first carrier tells means less once the last one has the parcel."""

from __future__ import annotations

from tests.domain.scans import S, told
from tracker.domain.facts import StoredScan, Summary
from tracker.domain.legs import as_one
from tracker.domain.timeline import summarize
from tracker.domain.vocabulary import Leg, Reason

PICKED = told(S.PICKED_UP, 0)
HELD = told(S.IN_TRANSIT, 10)


def one(first: list[StoredScan], last: list[StoredScan]) -> Summary:
    return summarize(as_one([PICKED, *first], last))


def test_a_last_mile_that_only_knows_of_the_parcel_takes_no_word_from_the_first() -> None:
    first = [told(S.DELIVERED, 20)]

    assert one(first, []).status is S.DELIVERED
    assert one(first, [told(S.PRE_TRANSIT, 30)]).status is S.DELIVERED
    assert one(first, [told(S.IN_TRANSIT, 30, gone=40)]).status is S.DELIVERED


def test_the_last_carriers_delivered_is_the_parcels() -> None:
    summary = one([told(S.IN_TRANSIT, 9, reason=Reason.HANDED_TO_PARTNER)], [HELD, told(S.DELIVERED, 30)])

    assert (summary.status, summary.delivered_at, summary.disputed) == (
        S.DELIVERED,
        told(S.DELIVERED, 30).instant,
        False,
    )


def test_delivered_means_handed_over_where_the_last_carrier_moves_it_on() -> None:
    assert one([told(S.DELIVERED, 9)], [HELD]).status is S.IN_TRANSIT
    assert one([told(S.DELIVERED, 12)], [HELD, told(S.DELIVERY_ATTEMPTED, 20)]).status is S.DELIVERY_ATTEMPTED


def test_delivered_after_all_that_the_last_carrier_told_is_delivered() -> None:
    """It quotes the post, whose own scan of the delivery may be missing."""
    assert one([told(S.DELIVERED, 20, reason=Reason.BY_PARTNER)], [HELD]).status is S.DELIVERED


def test_an_echo_moves_nothing_and_disputes_nothing() -> None:
    out = [HELD, told(S.OUT_FOR_DELIVERY, 20)]
    assert (
        one([told(S.IN_TRANSIT, 21), told(S.PICKED_UP, 22), told(S.PRE_TRANSIT, 23)], out).status is S.OUT_FOR_DELIVERY
    )

    summary = one([told(S.OUT_FOR_DELIVERY, 31), told(S.AVAILABLE_FOR_PICKUP, 32)], [*out, told(S.DELIVERED, 30)])
    assert (summary.status, summary.disputed) == (S.DELIVERED, False)


def test_what_only_the_first_carrier_knows_still_counts() -> None:
    assert one([told(S.EXCEPTION, 21)], [HELD]).status is S.EXCEPTION
    assert one([told(S.RETURNED, 40, leg=Leg.RETURN_TO_SENDER)], [HELD]).status is S.RETURNED


def test_the_order_in_which_scans_come_changes_nothing() -> None:
    first, last = [PICKED, told(S.DELIVERED, 9), told(S.IN_TRANSIT, 21)], [HELD, told(S.DELIVERED, 30)]

    assert summarize(as_one(first, last)) == summarize(as_one(first[::-1], last[::-1]))
