"""How a parcel fared, by the scans, estimates and calendar alone."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.domain.scans import T0, H, told
from tracker.domain.facts import Meaning, Place, StoredScan
from tracker.domain.performance import (
    LATE,
    LONGER,
    NO_ESTIMATE,
    NOT_DUE,
    ON_TIME,
    UNKNOWN,
    Course,
    Estimate,
    Fared,
    Told,
    bucket_of,
    counts_of,
    fared,
    percentile,
    whole_day,
)
from tracker.domain.policy import Calendar
from tracker.domain.timeline import summarize
from tracker.domain.vocabulary import Leg, Precision, Reason, ShippingStatus, Zone

S = ShippingStatus
D = timedelta(days=1)
BERLIN = Calendar("Europe/Berlin")
SEVEN = timedelta(days=7)


def heard(
    one: StoredScan, *, account: str = "ups", after: float = 1, pushed: bool = False, payload: int | None = None
) -> Told:
    at = one.instant + after * H
    return Told(
        one.meaning.status, one.meaning.reason, one.meaning.leg, one.instant, one.zone, one.precision, one.place.country,
        account, at, at if pushed else None, payload,
    )  # fmt: skip


def journey(
    *scans: StoredScan,
    now: float = 300,
    calendar: Calendar = BERLIN,
    estimates: tuple[Estimate, ...] = (),
    ships_to: str = "",
    **how: bool,
) -> Fared:
    course = Course(summarize(scans), [heard(one, **how) for one in scans], estimates, T0, ships_to)
    return fared(course, calendar, SEVEN, T0 + now * H)


def promised(days: float, told_hours: float = -1, *, kept: bool = True) -> Estimate:
    return Estimate(T0 + days * D, T0 + told_hours * H, kept)


PICKED = told(S.PICKED_UP, 0, place=Place("Berlin", country="DE"))
THERE = told(S.DELIVERED, 49, place=Place("Lyon", country="FR"))


def test_a_parcel_that_arrives_counts_on_the_day_of_its_hand_over_with_its_lane_and_business_days() -> None:
    one = journey(PICKED, told(S.OUT_FOR_DELIVERY, 47), THERE, ships_to="IT")

    assert (one.day, one.account, one.origin, one.destination) == (date(2026, 11, 2), "ups", "DE", "FR")
    assert (one.handed_over, one.end, one.days, one.attempt, one.silent, one.again_at) == (
        True,
        S.DELIVERED,
        2,
        "yes",
        False,
        None,
    )
    assert (one.first, one.last, one.problems, one.returned) == (NO_ESTIMATE, NO_ESTIMATE, (), False)
    assert counts_of(one) == {
        "parcels": 1, "end/delivered": 1, "first/no_estimate": 1, "last/no_estimate": 1, "handed_over": 1, "attempt/yes": 1, "days/2": 1,
    }  # fmt: skip


def test_weekends_and_holidays_are_no_business_days_and_the_day_is_that_of_the_stores_zone() -> None:
    friday = told(S.PICKED_UP, 4 * 24 + 15.5)  # 23:30 UTC: Saturday in Berlin
    monday = told(S.DELIVERED, 7 * 24)

    assert journey(friday, monday).days == 1
    assert journey(friday, monday).day == date(2026, 11, 7)
    assert journey(friday, monday, calendar=Calendar(holidays=frozenset({date(2026, 11, 9)}))).days == 0
    assert journey(PICKED, told(S.DELIVERED, 24 * 900), calendar=Calendar(weekend=frozenset())).days == 400


@pytest.mark.parametrize(
    ("estimates", "first", "last"),
    [
        ((), NO_ESTIMATE, NO_ESTIMATE),
        ((promised(3),), ON_TIME, ON_TIME),
        ((promised(1), promised(3, 10)), LATE, ON_TIME),
        ((promised(3), promised(1, 10)), ON_TIME, LATE),
        (
            (promised(3), promised(1, 50)),
            ON_TIME,
            ON_TIME,
        ),  # told with the delivery, or after it: that promises nothing
        ((promised(3, 50),), NO_ESTIMATE, NO_ESTIMATE),
        ((promised(1, kept=False),), UNKNOWN, LATE),  # whether it was the first nobody knows
    ],
)
def test_on_time_is_told_against_the_first_and_the_last_estimate_that_was_heard_before(estimates, first, last) -> None:
    one = journey(PICKED, THERE, estimates=estimates)

    assert (one.first, one.last) == (first, last)


def test_a_parcel_that_is_not_there_is_late_after_its_estimate_and_looked_at_again_then() -> None:
    waits = journey(PICKED, now=20, estimates=(promised(3),))
    late = journey(PICKED, now=80, estimates=(promised(3),))

    assert (waits.first, waits.again_at, waits.end) == (NOT_DUE, T0 + 3 * D, "")
    assert (late.first, late.last, late.again_at) == (LATE, LATE, T0 + SEVEN)
    assert journey(PICKED, now=20, estimates=(promised(3, kept=False),)).first == UNKNOWN
    assert journey(PICKED, told(S.LOST, 30), estimates=(promised(3),)).first == LATE
    for end in (S.LOST, S.RETURNED):  # time alone makes it late too
        ended = journey(PICKED, told(end, 30), now=40, estimates=(promised(3),))
        assert (ended.first, ended.again_at) == (NOT_DUE, T0 + 3 * D)
    assert journey(PICKED, told(S.DELIVERED, 30), now=40, estimates=(promised(3),)).again_at is None
    assert journey(told(S.CANCELLED, 30), estimates=(promised(3),)).first == NO_ESTIMATE


def test_a_day_without_an_hour_ends_where_the_parcel_is_delivered_and_not_at_midnight_in_london() -> None:
    midnight = T0.replace(hour=0) + 3 * D
    sixth = Estimate(midnight, T0, day=whole_day(midnight - D, midnight))
    assert sixth.day == date(2026, 11, 4)
    assert whole_day(midnight - 4 * H, midnight) is whole_day(midnight - D, midnight - H) is None

    def against(hours: float, printed: date | None, now: float = 300) -> str:
        one = Told(S.DELIVERED, None, Leg.OUTBOUND, midnight + hours * H, Zone.OFFSET, Precision.SECOND, "US", "ups", midnight + 9 * H, None, 1, printed)  # fmt: skip
        scans = (PICKED, StoredScan("d", "s", "D", Meaning(S.DELIVERED, None, Leg.OUTBOUND, False), one.instant, one.zone, one.precision, Place(), True, None))  # fmt: skip
        return fared(Course(summarize(scans), [heard(PICKED), one], [sixth], T0), BERLIN, SEVEN, T0 + now * H).first

    assert against(4, date(2026, 11, 4)) == ON_TIME  # 20:00 in Los Angeles
    assert against(-1, date(2026, 11, 5)) == LATE  # the next morning in Tokyo
    assert (against(4, None), against(-1, None)) == (LATE, ON_TIME)
    on_its_way = Course(summarize([PICKED]), [heard(PICKED)], [sixth], T0)
    waits, late = (fared(on_its_way, BERLIN, SEVEN, midnight + hours * H) for hours in (11, 13))
    assert (waits.first, waits.again_at, late.first) == (NOT_DUE, midnight + 12 * H, LATE)


def test_a_delivery_whose_moment_nobody_knows_is_counted_as_that() -> None:
    one = journey(PICKED, told(S.DELIVERED, 49, zone=Zone.UNKNOWN), estimates=(promised(3),))
    unseen = fared(
        Course(summarize([PICKED, THERE]), [heard(PICKED)], [promised(3)], T0), BERLIN, SEVEN, T0 + 99 * H
    )  # of more scans than are read

    assert (one.first, one.last, one.days, one.end) == (UNKNOWN, UNKNOWN, None, S.DELIVERED)
    assert (unseen.first, unseen.days, unseen.destination) == (UNKNOWN, None, "")


def test_business_days_are_not_known_where_nobody_knows_when_it_was_handed_over() -> None:
    lone = journey(told(S.PRE_TRANSIT, 1), THERE)
    timeless = journey(told(S.PICKED_UP, 0, zone=Zone.UNKNOWN), told(S.IN_TRANSIT, 9), THERE)
    by_day = journey(told(S.PICKED_UP, 49, precision=Precision.DATE), told(S.DELIVERED, 49, precision=Precision.DATE))

    assert (lone.days, lone.handed_over, lone.end, lone.attempt) == (None, True, S.DELIVERED, "yes")
    assert (timeless.days, by_day.days) == (None, 0)


def test_a_label_alone_is_neither_handed_over_nor_silent_and_counts_on_the_day_it_began() -> None:
    one = journey(told(S.PRE_TRANSIT, 5), now=5000, ships_to="FR")

    assert (one.day, one.handed_over, one.silent, one.destination, one.days) == (
        date(2026, 11, 2),
        False,
        False,
        "FR",
        None,
    )
    nobody = fared(Course(summarize([]), [], [], T0), BERLIN, SEVEN, T0)
    assert (nobody.account, nobody.attempt, counts_of(nobody)["end/open"]) == ("", "", 1)


def test_silence_is_a_gap_while_the_carrier_has_the_parcel() -> None:
    assert not journey(PICKED, told(S.IN_TRANSIT, 100), now=150).silent
    assert journey(PICKED, told(S.IN_TRANSIT, 200), now=201).silent  # it was, and moves again
    assert journey(PICKED, now=169).silent
    assert not journey(PICKED, THERE, now=5000).silent  # it is over
    assert journey(PICKED, told(S.DELIVERED, 170)).silent
    assert counts_of(journey(PICKED, now=169))["silent"] == 1


def test_problems_have_their_reasons_and_a_return_the_one_for_which_it_goes_back() -> None:
    back = journey(
        PICKED,
        told(S.EXCEPTION, 10, reason=Reason.WEATHER),
        told(S.DELIVERY_ATTEMPTED, 20, reason=Reason.RECIPIENT_UNAVAILABLE),
        told(S.DELIVERY_ATTEMPTED, 44),
        told(S.DELIVERY_FAILED, 50, reason=Reason.REFUSED),
        told(S.RETURNING, 60, reason=Reason.RETURN_IN_TRANSIT),
        told(S.DELIVERY_ATTEMPTED, 70, leg=Leg.RETURN_TO_SENDER),
    )

    assert back.problems == (
        "delivery_attempted/recipient_unavailable", "delivery_attempted/unspecified", "delivery_failed/refused", "exception/weather",
        "returned/refused",
    )  # fmt: skip
    assert (back.returned, back.attempt, back.end) == (True, "no", "")
    assert {name: counts_of(back)[name] for name in ("returned", "exceptions", "attempt/no", "problem/returned/refused")} == {
        "returned": 1, "exceptions": 1, "attempt/no": 1, "problem/returned/refused": 1,
    }  # fmt: skip
    told_nothing = journey(PICKED, told(S.RETURNING, 60))
    assert told_nothing.problems == ("returned/unspecified",)
    assert journey(PICKED, told(S.DELIVERY_FAILED, 50)).attempt == "no"


def test_the_account_is_the_one_that_told_most_and_of_two_the_first_by_name() -> None:
    scans = [PICKED, told(S.IN_TRANSIT, 5), THERE]
    tellers = ["ups", "easypost", "easypost"]
    course = Course(summarize(scans), [heard(s, account=a) for s, a in zip(scans, tellers, strict=True)], [], T0)

    assert fared(course, BERLIN, SEVEN, T0 + 99 * H).account == "easypost"
    two = Course(course.summary, course.scans[:2], [], T0)
    assert fared(two, BERLIN, SEVEN, T0 + 99 * H).account == "easypost"


def test_a_webhooks_delay_is_that_of_its_newest_scan_where_its_moment_is_sure() -> None:
    scans = [
        heard(told(S.PICKED_UP, 0), pushed=True, after=10, payload=1),
        heard(told(S.IN_TRANSIT, 9), pushed=True, after=1, payload=1),
        heard(told(S.IN_TRANSIT, 8), pushed=True, after=2, payload=1),
        heard(told(S.IN_TRANSIT, 20), pushed=True, after=1 / 60, payload=2),
        heard(told(S.IN_TRANSIT, 21), pushed=True, after=-0.1, payload=3),
        heard(told(S.IN_TRANSIT, 22, zone=Zone.ASSUMED), pushed=True, payload=4),
        heard(told(S.IN_TRANSIT, 23, precision=Precision.DATE), pushed=True, payload=5),
        heard(told(S.IN_TRANSIT, 24), payload=6),
        heard(told(S.IN_TRANSIT, 25), payload=7)._replace(pushed_at=T0 + 99 * H),  # a poll told it first
    ]
    one = fared(Course(summarize([PICKED]), scans, [], T0), BERLIN, SEVEN, T0 + 99 * H)

    assert one.delays == {"ups": {3600: 1, 60: 1, 15: 1}}
    assert (bucket_of(604_800), bucket_of(604_801)) == (604_800, LONGER)


def test_percentiles_are_the_nearest_rank_of_what_was_counted() -> None:
    assert percentile({}, 0.5) is None
    assert [percentile({1: 50, 2: 44, 9: 6}, share) for share in (0.5, 0.51, 0.94, 0.95, 1)] == [1, 2, 2, 9, 9]
    assert percentile({3: 1}, 0.95) == 3
