"""When what an account tells of ends leaps against its own last weeks, and when it only looks so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest

from tests.lab import START, H
from tracker.domain.brake import BY, EDGES, NEAR, OTHERS, WITHDRAWN, Count, Step, excess, leaps, step_at, steps_of
from tracker.domain.facts import Meaning, StoredScan, Summary
from tracker.domain.timeline import summarize
from tracker.domain.vocabulary import Leg, ShippingStatus, Zone

S = ShippingStatus
FLOOR, FACTOR = 8, 4.0
Day = Counter[tuple[Step, bool]]
CODES = {S.DELIVERED: "D", S.RETURNED: "R"}


def scan(at: datetime, status: ShippingStatus | None, code: str = "", **more: object) -> StoredScan:
    print_ = f"{at}{status}{code}"
    return StoredScan(print_, "x", code or CODES.get(status or S.UNKNOWN, "I"), Meaning(status, **more), at, Zone.UTC)  # type: ignore[arg-type]


def told(*scans: tuple[float, ShippingStatus] | tuple[float, ShippingStatus, str]) -> Day:
    """Return what one parcel counts whose scans come one by one, at hours after its label."""
    found: Day = Counter()
    before, known = Summary(), []
    for hours, status, *code in scans:
        new = scan(START + timedelta(hours=hours), status, *code)
        known.append(new)
        after = summarize(known)
        found.update(steps_of(before, after, [new], START, START))
        before = after
    return found


def counts(day: Day) -> dict[Step, Count]:
    return {step: Count(day[step, False] + day[step, True], day[step, True]) for step in {step for step, _ in day}}


def times(day: Day, many: int) -> Day:
    return Counter({key: many * n for key, n in day.items()})


def over(*days: Day) -> Day:
    return sum(days, Counter())


def brakes(today: Day, past: Day, days: int = 14, unproven: Iterable[str] = ()) -> bool:
    return excess(leaps(counts(today), counts(past), days, FACTOR, set(unproven))) >= FLOOR


def parcels_until_it_brakes(one: Day, past: Day, beside: Day | None = None, **more: object) -> int:
    """Return which parcel of a bad table puts the brake on; those before it were written."""
    for many in range(1, 501):
        if brakes(over(times(one, many), beside or Counter()), past, **more):  # type: ignore[arg-type]
            return many
    return 0


WHOLE = told((2, S.PICKED_UP), (20, S.IN_TRANSIT), (40, S.OUT_FOR_DELIVERY), (44, S.DELIVERED))
NO_DOOR = told((2, S.PICKED_UP), (20, S.IN_TRANSIT), (44, S.IN_TRANSIT), (50, S.DELIVERED))
SPARSE = told((2, S.PICKED_UP), (50, S.DELIVERED))
SAME_DAY = told((1, S.PICKED_UP), (6, S.DELIVERED))
USUAL = [WHOLE, NO_DOOR, SPARSE, SAME_DAY]
NAMES = ["whole", "without a door scan", "two scans", "same day"]


# what is counted


def test_a_step_is_counted_by_where_the_parcel_stood_and_how_long_its_carrier_had_it() -> None:
    assert {
        (Step("unknown", 2), False): 1, (Step("picked_up", 16), False): 1, (Step("in_transit", 38), False): 1,
        (Step(NEAR, 38), True): 1, (Step(WITHDRAWN, 0), False): 1, (Step(BY + "x/D", 0), True): 1,
    } == WHOLE  # fmt: skip
    assert step_at("x", START, START - H) == ("x", 0)
    assert step_at("x", START, START + 10_000 * H) == ("x", EDGES[-1])


def test_scans_that_come_at_once_count_as_those_that_come_one_by_one() -> None:
    scans = [scan(START + hours * H, status) for hours, status in ((2, S.PICKED_UP), (20, S.IN_TRANSIT), (40, S.OUT_FOR_DELIVERY), (44, S.DELIVERED))]  # fmt: skip
    at_once = Counter(steps_of(Summary(), summarize(scans), list(reversed(scans)), START, START))
    assert at_once == WHOLE


def test_what_an_ended_parcel_tells_later_is_no_step() -> None:
    assert told((2, S.PICKED_UP), (50, S.DELIVERED), (60, S.DELIVERED), (61, S.OUT_FOR_DELIVERY)) == SPARSE


def test_what_happened_before_an_order_named_the_parcel_is_history() -> None:
    scans = [scan(START + hours * H, status) for hours, status in ((2, S.PICKED_UP), (50, S.DELIVERED))]
    after = summarize(scans)
    assert steps_of(Summary(), after, scans, START, START + 51 * H) == []
    assert [ends for _, ends in steps_of(Summary(), after, scans, START, START + 40 * H)] == [True, False, True]


def test_an_end_that_was_confirmed_later_is_counted_then_without_its_code() -> None:
    before = summarize([scan(START, S.PICKED_UP)])
    after = replace(before, status=S.DELIVERED, since=START + 50 * H, run="told before")
    assert (Step(BY + OTHERS, 0), True) in steps_of(before, after, [], START, START)


def test_a_label_that_was_voided_before_its_carrier_had_the_parcel_ends_no_journey() -> None:
    assert told((0, S.PRE_TRANSIT), (5, S.CANCELLED)) == {(Step("unknown", 0), False): 1}
    assert any(ends for _, ends in told((0, S.PICKED_UP), (5, S.CANCELLED)))


def test_codes_without_a_meaning_are_no_steps() -> None:
    assert (
        steps_of(Summary(), summarize([scan(START, None)]), [scan(START, None), scan(START, S.UNKNOWN)], START, START)
        == []
    )


@pytest.mark.parametrize("end", [S.DELIVERED, S.RETURNED, S.DESTROYED])
def test_an_end_that_is_taken_back_is_counted(end: ShippingStatus) -> None:
    ended = summarize([scan(START, S.PICKED_UP), scan(START + H, end)])
    back = summarize(
        [scan(START, S.PICKED_UP), scan(START + H, end), scan(START + 2 * H, S.IN_TRANSIT, correction=True)]
    )
    assert back.status is S.IN_TRANSIT
    assert steps_of(ended, back, [], START, START) == [(Step(WITHDRAWN, 0), True)]


def test_what_was_lost_may_reappear() -> None:
    lost = summarize([scan(START, S.PICKED_UP), scan(START + H, S.LOST)])
    found = summarize([scan(START, S.PICKED_UP), scan(START + H, S.LOST), scan(START + 2 * H, S.IN_TRANSIT)])
    assert steps_of(lost, found, [], START, START) == []


# what leaps


@pytest.mark.parametrize("usual", USUAL, ids=NAMES)
@pytest.mark.parametrize("many", [1, 5, 20, 50])
def test_a_day_of_many_times_the_usual_orders_leaps_nowhere(usual: Day, many: int) -> None:
    past = times(usual, 14 * 10)
    waves = [Counter({k: n for k, n in times(usual, 10 * many).items() if k[0] == step}) for step, _ in usual]
    assert not any(brakes(wave, past) for wave in waves), "each step of the wave comes on a day of its own"
    assert not brakes(times(usual, 10 * many), past)


@pytest.mark.parametrize("usual", USUAL, ids=NAMES)
@pytest.mark.parametrize("days", [0, 1, 2])
def test_the_first_days_of_an_account_leap_nowhere(usual: Day, days: int) -> None:
    assert not brakes(times(usual, 500), times(usual, days * 100), days=days)


@pytest.mark.parametrize("usual", USUAL, ids=NAMES)
@pytest.mark.parametrize("hours", [3, 8, 13])
def test_a_code_that_suddenly_ends_journeys_leaps_however_they_went_before(usual: Day, hours: float) -> None:
    bad = told((2, S.PICKED_UP), (2 + hours, S.DELIVERED, "OOPS"))
    assert 0 < parcels_until_it_brakes(bad, times(usual, 14 * 10)) <= 10


@pytest.mark.parametrize("usual", USUAL[:3], ids=NAMES[:3])
def test_a_carrier_that_says_delivered_of_everything_leaps_by_the_age_of_the_parcels(usual: Day) -> None:
    too_soon = told((2, S.PICKED_UP), (8, S.DELIVERED))
    assert 0 < parcels_until_it_brakes(too_soon, times(usual, 14 * 10), beside=times(usual, 10)) <= 12


def test_a_scan_at_the_door_that_is_read_as_delivered_leaps_at_its_own_age() -> None:
    bad = told((2, S.PICKED_UP), (20, S.IN_TRANSIT), (40, S.DELIVERED))
    assert 0 < parcels_until_it_brakes(bad, times(WHOLE, 14 * 10)) <= 10


def test_parcels_that_were_just_handed_over_do_not_arrive_on_the_first_day_of_an_account_either() -> None:
    bad = told((2, S.PICKED_UP), (3, S.DELIVERED))
    assert 0 < parcels_until_it_brakes(bad, Counter(), days=0) <= 10


def test_a_code_that_the_merchant_gave_a_meaning_is_unproven_until_it_ended_journeys() -> None:
    bad = told((2, S.PICKED_UP), (40, S.DELIVERED, "OWN"))
    assert parcels_until_it_brakes(bad, Counter(), days=0) == 0
    assert 0 < parcels_until_it_brakes(bad, Counter(), days=0, unproven=["x/OWN"]) <= 10
    assert parcels_until_it_brakes(bad, times(bad, 20), days=2, unproven=["x/OWN"]) == 0


def test_a_new_code_leaps_from_the_second_day_on_where_others_ended_journeys_on_the_first() -> None:
    bad = told((2, S.PICKED_UP), (40, S.DELIVERED, "NEW"))
    assert parcels_until_it_brakes(bad, times(SPARSE, 19), beside=times(SPARSE, 20), days=1) == 0
    assert 0 < parcels_until_it_brakes(bad, times(SPARSE, 20), beside=times(SPARSE, 20), days=1) <= 15
    assert not brakes(over(times(SPARSE, 475), times(bad, 25)), times(SPARSE, 20), days=1), "one that is just rarer"


def test_ends_that_are_taken_back_leap_on_any_account() -> None:
    back = Counter({(Step(WITHDRAWN, 0), True): 1})
    assert 0 < parcels_until_it_brakes(back, Counter(), days=0) <= 10
    assert 0 < parcels_until_it_brakes(back, times(WHOLE, 140), beside=times(WHOLE, 10)) <= 11
    some = over(times(WHOLE, 14_000), times(back, 280))
    assert not brakes(over(times(WHOLE, 1000), times(back, 30)), some), "where some always are"


def test_a_few_odd_parcels_are_below_the_floor() -> None:
    odd = told((2, S.PICKED_UP), (3, S.DELIVERED, "ODD"))
    assert not brakes(times(odd, FLOOR - 1), times(WHOLE, 14 * 10))


def test_what_did_not_end_a_journey_today_counts_at_once() -> None:
    morning = times(told((2, S.PICKED_UP), (3, S.IN_TRANSIT), (4, S.IN_TRANSIT)), 500)
    bad = told((2, S.PICKED_UP), (3, S.IN_TRANSIT), (4, S.IN_TRANSIT), (4.5, S.DELIVERED))
    assert 0 < parcels_until_it_brakes(bad, Counter(), beside=morning, days=0) <= 10


def test_a_carrier_may_become_a_fifth_faster() -> None:
    faster = told((2, S.PICKED_UP), (40, S.DELIVERED))
    assert not brakes(times(faster, 100), times(SPARSE, 140))


def test_all_parcels_of_a_day_that_end_at_little_more_than_half_of_the_usual_age_brake() -> None:
    bad = told((2, S.PICKED_UP), (29, S.DELIVERED))
    assert 0 < parcels_until_it_brakes(bad, times(SPARSE, 60)) <= 12
    moved = told((2, S.PICKED_UP), (22, S.IN_TRANSIT), (29, S.DELIVERED))
    usual = told((2, S.PICKED_UP), (19, S.IN_TRANSIT), (33, S.IN_TRANSIT), (49, S.DELIVERED))
    assert 0 < parcels_until_it_brakes(moved, times(usual, 60)) <= 15


def test_a_code_that_is_not_told_apart_is_judged_by_no_one() -> None:
    assert not brakes(Counter({(Step(BY + OTHERS, 0), True): 500}), times(WHOLE, 140))


def test_a_return_of_the_customer_is_no_step_of_a_delivered_parcel() -> None:
    first = [scan(START, S.PICKED_UP), scan(START + 50 * H, S.DELIVERED)]
    later = scan(START + 99 * H, S.IN_TRANSIT, leg=Leg.CUSTOMER_RETURN)
    assert steps_of(summarize(first), summarize([*first, later]), [later], START, START) == []


# weeks as they are


def weeks(
    seed: int, orders: int, at_the_door: float, hours: float, wave: tuple[int, int] = (-1, -1)
) -> list[list[tuple[float, Step, bool]]]:
    """Return the steps of each of 45 days, in order: parcels rest over weekends, and each journey is of its own length."""
    drawn, days = Random(seed), 45
    told: list[list[tuple[float, Step, bool]]] = [[] for _ in range(days)]

    def take(began: float, at: float, stood: str, ended: bool = False) -> None:
        if at < days * 24:
            step = step_at(stood, START, START + timedelta(hours=at - began))
            told[int(at // 24)].append((at, step, ended))

    for day in (day for day in range(days) if day % 7 < 5):
        many = max(0, int(drawn.gauss(orders, orders * 0.3))) * (5 if day in wave else 1)
        for _ in range(many):
            began = day * 24 + drawn.uniform(14, 20)
            end = began + max(6, drawn.lognormvariate(0, 0.35) * hours)
            while end // 24 % 7 == 6:
                end += 24
            take(began, began, S.PRE_TRANSIT)
            stood: str = S.PICKED_UP
            for at in sorted(drawn.uniform(began, end) for _ in range(4)):
                take(began, at, stood)
                stood = S.IN_TRANSIT
            if drawn.random() < at_the_door:
                take(began, max(began, end - drawn.uniform(1, 8)), stood)
                stood = NEAR
            take(began, end, stood, ended=True)
    return [sorted(day) for day in told]


@pytest.mark.no_cover  # its lines are covered by the tests of each rule: it takes half of the time untraced
@pytest.mark.parametrize(("seed", "at_the_door", "hours"), [(1, 0, 100), (2, 0.5, 100), (1, 0.5, 20), (3, 1, 48)])
@pytest.mark.parametrize("wave", [(-1, -1), (24, 25)], ids=["usual", "five times the orders on two days"])
def test_ordinary_weeks_with_weekends_never_leap(
    seed: int, at_the_door: float, hours: float, wave: tuple[int, int]
) -> None:
    past: list[Day] = []
    for day, steps in enumerate(weeks(seed, 60, at_the_door, hours, wave)):
        today, before = Day(), over(*past[-28:])
        ended_on = sum(any(ended for _, ended in one) for one in past[-28:])
        for _, step, ended in steps:
            today[step, ended] += 1
            if ended:
                today[Step(WITHDRAWN, 0), False] += 1
                today[Step(f"{BY}D", 0), True] += 1
                assert not brakes(today, before, ended_on), f"day {day}"
        past.append(today)
