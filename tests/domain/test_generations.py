"""One number, several journeys: which scan begins another parcel's, and which is about the one before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.domain.scans import T0, S, told
from tests.domain.test_timeline import journey
from tracker.domain.facts import Place, StoredScan
from tracker.domain.timeline import begins_anew, first_of, summarize
from tracker.domain.vocabulary import Leg, Reason, Zone

PARAMUS, RENO = Place("PARAMUS", "NJ", "", "US"), Place("RENO", "NV", "", "US")
ENDED = journey((S.PRE_TRANSIT, 0), (S.PICKED_UP, 5), (S.OUT_FOR_DELIVERY, 30))


def anew(status: S | None, days: float, *, end: S = S.DELIVERED, more: Sequence[StoredScan] = (), **how: Any) -> bool:
    """Say whether a scan some days after the end begins another journey."""
    before = [*ENDED, told(end, 34, place=PARAMUS), *more]
    return begins_anew(summarize(before), told(status, 34 + 24 * days, **how))


@pytest.mark.parametrize("status", [S.PRE_TRANSIT, S.PICKED_UP])
@pytest.mark.parametrize("end", [S.DELIVERED, S.RETURNED, S.DESTROYED])
def test_a_label_or_a_pick_up_after_an_end_is_another_parcels(status: S, end: S) -> None:
    assert anew(status, 20, end=end, place=RENO)
    assert anew(status, 3, end=end, place=RENO)
    assert not anew(status, 2.9, end=end, place=RENO)  # a label that is printed late, a correction
    assert anew(status, 20, end=end)  # its place is not told


@pytest.mark.parametrize("status", [S.IN_TRANSIT, S.OUT_FOR_DELIVERY, S.DELIVERY_ATTEMPTED, S.DELIVERED, S.RETURNING])
def test_any_other_custody_is_another_parcels_after_a_month_only(status: S) -> None:
    assert not anew(status, 29)
    assert anew(status, 31)


@pytest.mark.parametrize("end", [S.LOST, S.CANCELLED])
def test_what_was_lost_may_reappear_and_a_void_label_be_used_for_a_month(end: S) -> None:
    assert not anew(S.PICKED_UP, 20, end=end)
    assert anew(S.PICKED_UP, 31, end=end)


@pytest.mark.parametrize(
    "how",
    [
        {"leg": Leg.RETURN_TO_SENDER}, {"leg": Leg.CUSTOMER_RETURN}, {"leg": Leg.EXCHANGE}, {"correction": True},
        {"zone": Zone.UNKNOWN}, {"zone": Zone.FUTURE},
    ],
)  # fmt: skip
@pytest.mark.parametrize("days", [20, 40])
def test_a_return_a_correction_and_a_scan_without_a_day_show_nothing(how: dict[str, Any], days: int) -> None:
    assert not anew(S.PICKED_UP, days, **how)


def test_a_pick_up_where_the_parcel_was_delivered_or_by_a_partner_may_be_a_return() -> None:
    assert not anew(S.PICKED_UP, 20, place=Place("Paramus", "NJ", "", "US"))
    assert anew(S.PICKED_UP, 20, place=Place("Paramus", "", "", "CA"))
    assert not anew(S.PICKED_UP, 20, place=RENO, reason=Reason.HANDED_TO_PARTNER)


@pytest.mark.parametrize("status", [None, S.UNKNOWN, S.EXCEPTION, S.ON_HOLD, S.LOST])
@pytest.mark.parametrize("days", [20, 40])
def test_what_is_no_custody_shows_nothing(status: S | None, days: int) -> None:
    assert not anew(status, days)


def test_a_journey_that_goes_on_has_no_other_after_it() -> None:
    assert not begins_anew(summarize(ENDED), told(S.PRE_TRANSIT, 900))
    assert not begins_anew(summarize([]), told(S.PRE_TRANSIT, 900))
    back = [told(S.OUT_FOR_DELIVERY, 50), told(S.DELIVERY_ATTEMPTED, 52)]
    assert not anew(S.PICKED_UP, 20, more=back)


def test_days_count_from_all_that_was_said_about_the_end() -> None:
    later = [told(S.DELIVERED, 34 + 24 * 2)]
    speaks = [told(S.IN_TRANSIT, 34 + 24 * 2)]
    assert anew(S.PICKED_UP, 5, more=later)
    assert not anew(S.PICKED_UP, 4, more=later)
    assert not anew(S.PICKED_UP, 4, more=speaks)
    assert anew(S.PICKED_UP, 5, more=speaks)


@pytest.mark.parametrize(
    ("starts", "end", "first"),
    [
        (20, 5, 17),  # first scans may come some days before the shop tells
        (9, 5, 8),  # but not in the days after the end of the parcel before
        (7, 5, 7),
        (5, 7, 5),  # a ship date before the end
        (20, None, 17),
    ],
)
def test_scans_around_the_start_of_a_journey_are_its_own_or_the_other_ones(
    starts: float, end: float | None, first: float
) -> None:
    before = summarize(ENDED if end is None else [told(S.DELIVERED, 24 * end)])

    assert first_of(T0 + timedelta(days=starts), before) == T0 + timedelta(days=first)
