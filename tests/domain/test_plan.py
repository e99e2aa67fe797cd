"""The verdict: what a cadence needs of a budget, and how often parcels are seen where it gives less."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.cadence import DEFAULT, Cadence, Pace
from tracker.domain.plan import DAY, SPREAD, Group, Verdict, amount, span, verdict
from tracker.domain.vocabulary import ShippingStatus

S, H = ShippingStatus, timedelta(hours=1)
groups = st.dictionaries(
    st.builds(Group, st.builds(Pace, st.sampled_from(S), st.booleans(), st.booleans(), st.booleans()), st.booleans()),
    st.integers(1, 100_000),
    min_size=1,
    max_size=12,
)
budgets = st.tuples(st.integers(1, 100_000), st.sampled_from([H, DAY, 30 * DAY, timedelta(minutes=1)]))
MOVING = {Group(Pace(S.IN_TRANSIT)): 7_000}


def judge(groups: dict[Group, int], cadence: Cadence, *, batch: int, budget: tuple[int, timedelta] | None) -> Verdict:
    return verdict([(group, cadence, count) for group, count in groups.items()], batch=batch, budget=budget)


def test_the_verdict_says_what_is_needed_what_is_given_how_often_parcels_are_seen_and_what_would_help() -> None:
    judged = judge(MOVING, DEFAULT, batch=1, budget=(60, H))

    assert judged.needs == pytest.approx(7_000 * 6 / SPREAD)
    assert judged.sentence(["raise the budget to 1,667 calls in 1h", "register for push", "use fedex's batch"]) == (
        "this cadence needs 40,000 calls a day, the budget gives 1,440: parcels will be seen every 117 h instead of 4 h; "
        "raise the budget to 1,667 calls in 1h, register for push or use fedex's batch"
    )
    assert judge(MOVING, DEFAULT, batch=30, budget=(60, H)).sentence() == (
        "this cadence needs 1,330 calls a day, the budget gives 1,440: it suffices"
    )
    assert judge(MOVING, DEFAULT, batch=1, budget=None).sentence().endswith("the account has no budget")
    assert (
        judge({}, DEFAULT, batch=1, budget=(1, DAY))
        .sentence()
        .endswith("needs 0 calls a day, the budget gives 1: it suffices")
    )


def test_what_has_ended_needs_its_looks_afterwards_only() -> None:
    ended = {Group(Pace(S.DELIVERED), ended=True): 70}

    assert judge(ended, DEFAULT, batch=1, budget=None).needs == pytest.approx(40 / SPREAD)  # four looks in seven days
    none = judge(ended, Cadence(aftercare=()), batch=1, budget=(1, DAY))
    assert (none.needs, none.wanted, none.suffices) == (0, None, True)


def test_parcels_of_an_account_are_judged_each_by_its_own_cadence() -> None:
    slow = Cadence(intervals={S.IN_TRANSIT: 8 * H})
    both = verdict([(Group(Pace(S.IN_TRANSIT)), cadence, 100) for cadence in (DEFAULT, slow)], batch=1, budget=None)

    assert both.needs == pytest.approx((600 + 300) / SPREAD)


@given(groups, st.integers(1, 30), budgets)
def test_the_need_grows_with_parcels_falls_with_the_batch_and_a_larger_budget_never_shows_them_less_often(
    counted: dict[Group, int], batch: int, budget: tuple[int, timedelta]
) -> None:
    one = judge(counted, DEFAULT, batch=batch, budget=budget)
    twice = judge({group: 2 * count for group, count in counted.items()}, DEFAULT, batch=batch, budget=budget)
    assert twice.needs == pytest.approx(2 * one.needs)
    assert judge(counted, DEFAULT, batch=2 * batch, budget=budget).needs == pytest.approx(one.needs / 2)
    assert one.wanted is not None
    assert one.seen is not None
    assert one.gives is not None
    assert one.seen >= one.wanted
    assert one.suffices == (one.needs <= one.gives)
    if not one.suffices:
        assert DAY / one.seen * one.parcels / batch == pytest.approx(one.gives, rel=1e-3), (
            "all that the budget gives is used"
        )
    richer = judge(counted, DEFAULT, batch=batch, budget=(2 * budget[0], budget[1]))
    assert richer.seen is not None
    assert richer.seen <= one.seen


def test_a_need_around_what_the_budget_gives_is_told_once() -> None:
    def judged(parcels: int, *, before: bool) -> bool:
        return judge({Group(Pace(S.IN_TRANSIT)): parcels}, DEFAULT, batch=1, budget=(100, DAY)).told(before)

    assert [judged(n, before=False) for n in (17, 18)] == [False, True]
    assert [judged(n, before=True) for n in (17, 16, 15)] == [True, True, False]


def test_numbers_are_written_as_they_can_be_read() -> None:
    assert [amount(n) for n in (0, 0.25, 3, 41.4, 1_440, 41_212, 1_234_567)] == [
        "0", "0.2", "3", "41", "1,440", "41,200", "1,230,000",
    ]  # fmt: skip
    assert [span(h * H) for h in (0.5, 1.9, 28, 240)] == ["30 min", "114 min", "28 h", "10 d"]


def test_what_has_ended_and_is_told_by_a_feed_needs_its_last_look_only() -> None:
    fed = {Group(Pace(S.DELIVERED, fed=True), ended=True): 70}

    assert judge(fed, DEFAULT, batch=1, budget=None).needs == pytest.approx(10 / SPREAD)  # one look in seven days
    assert judge(fed, Cadence(aftercare=()), batch=1, budget=None).needs == 0
