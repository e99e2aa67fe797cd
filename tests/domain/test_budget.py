"""A budget gives so many calls in any span of its length, all of them, and keeps some for parcels that are urgent."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.budget import ON_ITS_WAY, PARTS, Calls
from tracker.domain.turns import Turns

T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
H, MINUTES, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
PERS = st.sampled_from([timedelta(seconds=1), MINUTES, 10 * MINUTES, H, DAY, timedelta(days=30)])
HALF = H / 2


def late(per: timedelta) -> timedelta:
    """How much later than it might be a call is free again, at most."""
    return per / PARTS + min(ON_ITS_WAY, per / 20) + timedelta(milliseconds=2)


def use(calls: int, per: timedelta, gaps: list[float]) -> list[datetime]:
    """Make a call whenever the budget gives one, at moments so many spans apart; returns when calls were made."""
    spent: list[list[int]] = []
    made, now = [], T0
    for gap in gaps:
        now += per * gap
        budget = Calls(calls, per, spent, now)
        if budget.left:
            spent = budget.take()
            made.append(now)
    return made


@given(
    calls=st.integers(1, 12),
    per=PERS,
    gaps=st.lists(st.floats(0, 0.7), max_size=120),
    ways=st.lists(st.floats(0, 1), min_size=120, max_size=120),
)
def test_no_span_holds_more_calls_by_the_log_of_the_other_side_whenever_they_come_there(
    calls: int, per: timedelta, gaps: list[float], ways: list[float]
) -> None:
    way = min(ON_ITS_WAY, per / 20)
    log = sorted(at + way * part for at, part in zip(use(calls, per, gaps), ways, strict=False))

    for i, first in enumerate(log):
        assert sum(at - first < per for at in log[i:]) <= calls


def test_a_call_that_is_long_on_its_way_counts_from_when_it_came() -> None:
    at = T0 + timedelta(seconds=59.5)  # the part ends in half a second
    spent = Calls(1, H, None, at).take()

    assert Calls(1, H, spent, at).free_at() >= at + ON_ITS_WAY + H


@given(calls=st.integers(1, 200), per=PERS, at=st.floats(0, 3))
def test_all_calls_of_a_budget_can_be_made_at_once_and_all_again_after_the_span(
    calls: int, per: timedelta, at: float
) -> None:
    now, spent = T0 + per * at, None
    for round_ in range(3):
        for left in range(calls, 0, -1):
            budget = Calls(calls, per, spent, now)
            assert (budget.left, budget.free_at()) == (left, budget.free_at(left))
            spent = budget.take()
        budget = Calls(calls, per, spent, now)
        assert budget.left == 0
        assert now + per < budget.free_at() <= now + per + late(per), round_
        assert Calls(calls, per, spent, budget.free_at() - timedelta(milliseconds=1)).left == 0
        now = budget.free_at()


@given(calls=st.integers(1, 60), per=PERS)
def test_who_always_has_something_to_ask_uses_nearly_all_of_it(calls: int, per: timedelta) -> None:
    wanted, spent, now, made = 4 * calls, list[list[int]](), T0, 0
    while made < wanted:
        budget = Calls(calls, per, spent, now)
        if budget.left:
            spent, made = budget.take(), made + 1
        else:
            assert budget.free_at() > now
            now = budget.free_at()

    assert now - T0 <= 3 * (per + late(per))


@given(calls=st.integers(1, 500), per=PERS, gaps=st.lists(st.floats(0, 0.02), max_size=300))
def test_what_is_kept_of_the_calls_never_grows_beyond_some_seventy_numbers(
    calls: int, per: timedelta, gaps: list[float]
) -> None:
    spent, now = None, T0
    for gap in gaps:
        now += per * gap
        spent = Calls(calls, per, spent, now).take()

    assert spent is None or len(spent) <= PARTS * 1.1 + 3


def test_a_larger_budget_gives_more_at_once_and_a_smaller_one_nothing_until_it_holds() -> None:
    spent = None
    for _ in range(40):
        spent = Calls(60, H, spent, T0).take()

    assert Calls(60, H, spent, T0 + MINUTES).left == 20
    assert Calls(100, H, spent, T0 + MINUTES).left == 60
    assert Calls(30, H, spent, T0 + MINUTES).left == 0
    assert Calls(30, H, spent, T0 + MINUTES).free_at() == T0 + 61 * MINUTES
    assert Calls(60, DAY, spent, T0 + 2 * H).left == 20  # and of a longer span, what is known of it
    assert Calls(60, 10 * MINUTES, spent, T0 + 12 * MINUTES).left == 60


def test_a_clock_that_was_a_year_ahead_costs_one_span_and_not_a_year() -> None:
    spent = Calls(1, H, None, T0 + 365 * DAY).take()

    assert Calls(1, H, spent, T0).left == 0
    assert Calls(1, H, spent, T0).free_at() <= T0 + H + late(H)


def test_of_40_calls_a_day_20_are_kept_for_a_parcel_that_may_go_out_for_delivery() -> None:
    fresh = Calls(40, DAY, None, T0)

    assert (fresh.left, fresh.kept(0, HALF), fresh.kept(1, HALF), fresh.kept(9, HALF)) == (40, 20, 20, 20)
    assert Calls(3, DAY, None, T0).kept(1, HALF) == 1
    assert Calls(1, DAY, None, T0).kept(1, HALF) == 0
    assert Calls(250, DAY, None, T0).kept(1, HALF) == 20
    assert Calls(250, DAY, None, T0).kept(4, HALF) == 80
    assert Calls(60, H, None, T0).kept(1, HALF) == 3


def test_fewer_are_kept_where_calls_are_free_again_soon() -> None:
    spent = None
    for _ in range(30):
        spent = Calls(40, DAY, spent, T0).take()

    assert Calls(40, DAY, spent, T0 + 8 * H).kept(1, HALF) == 20
    assert Calls(40, DAY, spent, T0 + 20 * H).kept(1, HALF) == 11  # until they are free in 4 h 24 min
    assert Calls(40, DAY, spent, T0 + 24 * H).kept(1, HALF) == 1


@given(calls=st.integers(1, 60), per=PERS, urgent=st.integers(0, 5), wanted=st.integers(1, 5))
def test_others_are_asked_too_however_long_nothing_is_urgent(
    calls: int, per: timedelta, urgent: int, wanted: int
) -> None:
    spent, now, made = None, T0, 0
    for _ in range(wanted * calls):
        now = Calls(calls, per, spent, now).others_at(urgent, HALF)
        budget = Calls(calls, per, spent, now)
        assert budget.others(urgent, HALF)
        assert budget.others_at(urgent, HALF) == now
        spent, made = budget.take(urgent=False), made + 1

    assert now - T0 <= 2 * wanted * (per + late(per))  # half of the calls at least


@pytest.mark.parametrize("begins", [0, 7, 13, 22])
def test_a_parcel_that_goes_out_for_delivery_at_any_hour_is_asked_about_each_half_hour_of_40_calls_a_day(
    begins: int,
) -> None:
    spent: list[list[int]] | None = None
    now, out, end = T0, T0 + 5 * DAY + begins * H, T0 + 5 * DAY + (begins + 8) * H
    looks: list[datetime] = []
    while now < end:
        urgent = out <= now
        budget = Calls(40, DAY, spent, now)
        while budget.others(int(urgent), HALF, int(urgent)):  # 30 others always wait
            spent = budget.take(urgent=False)
            budget = Calls(40, DAY, spent, now)
        if urgent:
            assert budget.left, f"nothing is left at {now}"
            spent = budget.take()
            looks.append(now)
        now += HALF

    assert len(looks) == 16


def test_no_parcel_of_3000_waits_over_275_hours_at_a_fifth_of_60_calls_an_hour_although_urgent_ones_are_always_due() -> (
    None
):
    turns, spent, now, log = Turns(), list[list[int]](), T0, list[datetime]()
    queues = {store: deque(range(1500)) for store in ("one", "two")}
    asked: dict[tuple[str, int], datetime] = {(store, i): T0 for store in queues for i in range(1500)}
    waited = timedelta(0)
    while now < T0 + 600 * H:
        budget = Calls(60, H, spent, now)
        urgent, ordinary = dict.fromkeys(queues, 60), {store: len(queue) for store, queue in queues.items()}
        others = budget.others(120, HALF, 120)
        for store, (first, second) in turns.deal(budget.left, urgent, ordinary, others=others).items():
            for i in range(first + second):
                spent = Calls(60, H, spent, now).take(urgent=i < first)
                log.append(now)
            for _ in range(second):
                parcel = queues[store].popleft()
                queues[store].append(parcel)
                waited, asked[store, parcel] = max(waited, now - asked[store, parcel]), now
        now = Calls(60, H, spent, now).free_at()

    assert max(waited, *(now - at for at in asked.values())) <= 275 * H
    assert all(log[i + 60] - log[i] >= H for i in range(len(log) - 60))


def test_so_many_calls_are_free_when_enough_of_those_that_were_made_count_no_more() -> None:
    spent: list[list[int]] = []
    for minute in (0, 10, 10, 20):
        spent = Calls(4, H, spent, T0 + minute * MINUTES).take()
    budget = Calls(4, H, spent, T0 + 30 * MINUTES)
    assert budget.left == 0
    for wanted, minute in ((1, 0), (2, 10), (3, 10), (4, 20)):
        free = budget.free_at(wanted)
        assert timedelta() <= free - (T0 + H + minute * MINUTES) <= late(H)
        assert Calls(4, H, spent, free).left >= wanted
        assert Calls(4, H, spent, free - timedelta(milliseconds=1)).left < wanted
    assert Calls(4, H, spent, T0 + H + 11.6 * MINUTES).free_at(3) == T0 + H + 11.6 * MINUTES  # they are free: now


def test_what_is_not_urgent_may_be_asked_at_the_end_of_the_part_in_which_a_call_is_free_for_it() -> None:
    free = Calls(4, H, None, T0)
    assert free.others_at(0, DAY) == T0
    spent: list[list[int]] = []
    for _ in range(4):
        spent = Calls(4, H, spent, T0).take(urgent=False)
    at = Calls(4, H, spent, T0 + H / 2).others_at(0, DAY)
    assert timedelta() <= at - (T0 + H) <= late(H) + H / PARTS
    assert Calls(4, H, spent, at).others(0, DAY) > 0
    assert Calls(4, H, spent, at - H / PARTS).others(0, DAY) == 0
