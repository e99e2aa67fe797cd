"""Places: how many calls there are at once, and whose. No thread but where a call is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.errors import NotFound, RateLimited, SourceError, Transient, Unavailable
from tracker.pipeline.places import POLLS, READS, SWEEPS, WRITES, GaveWay, Place, Places, here, staying

KINDS = (READS, POLLS, SWEEPS, WRITES)


@pytest.fixture
def places() -> Iterator[Places]:
    made = Places(64)
    yield made
    made.close()


def take(places: Places, kind: str, account: str, *, failing: bool = False) -> Place | None:
    return places.take(kind, account, failing=failing)


def ends(places: Places, place: Place | None, error: SourceError | None = None, *, took: float = 0.1) -> None:
    assert place is not None
    place.longest = took
    places.free(place, ended=True, error=error)


def many(places: Places, kind: str, name: str = "a", *, failing: bool = False) -> int:
    """Return how many accounts of a name get a place each."""
    return sum(take(places, kind, f"{name}{i}", failing=failing) is not None for i in range(200))


def answered(places: Places, account: str, times: int = 1) -> None:
    for _ in range(times):
        ends(places, take(places, READS, account))


def test_an_account_has_one_call_until_it_answers_and_then_twice_as_many_up_to_a_quarter(places: Places) -> None:
    seen = []
    for _ in range(6):
        seen.append(places.left(READS, "a", failing=False))
        answered(places, "a")

    assert seen == [1, 2, 4, 8, 16, 16]
    assert places.left(POLLS, "a", failing=True) == 1, "another process saw it fail"


@pytest.mark.parametrize("error", [Transient("ReadTimeout"), GaveWay("others waited")])
def test_who_failed_on_the_wire_has_one_call_again_in_the_slow_lane(places: Places, error: SourceError) -> None:
    answered(places, "a", 5)
    ends(places, take(places, READS, "a"), error)

    assert places.left(READS, "a", failing=False) == 1
    place = take(places, READS, "a")
    assert place is not None
    assert place.slow
    ends(places, place)
    place = take(places, READS, "a")
    assert place is not None
    assert not place.slow


@pytest.mark.parametrize("error", [NotFound("R1"), RateLimited("429"), Unavailable("frozen")])
def test_an_answer_that_says_no_is_an_answer(places: Places, error: SourceError) -> None:
    ends(places, take(places, READS, "a"), error)

    assert places.left(READS, "a", failing=False) == 2


def test_who_answers_slowly_is_asked_in_the_slow_lane_and_may_have_many_calls_there(places: Places) -> None:
    for _ in range(4):
        ends(places, take(places, READS, "a"), took=2.5)

    place = take(places, READS, "a")
    assert place is not None
    assert place.slow
    assert places.left(READS, "a", failing=False) == 15


def test_the_slow_lane_has_a_quarter_and_the_fast_one_is_never_full_of_it(places: Places) -> None:
    assert many(places, READS, "slow", failing=True) == 16
    assert many(places, READS, "fast") == 32


def test_accounts_that_share_a_host_have_at_most_half(places: Places) -> None:
    for i in range(200):
        places.learn_host(f"a{i}", "https://one.example")

    assert many(places, POLLS) == 32
    assert many(places, READS, "b") == 28
    assert not places.short(writes=True)


def test_each_kind_has_its_share_and_sweeps_never_take_what_is_left_for_reads(places: Places) -> None:
    assert many(places, SWEEPS) == 16
    assert many(places, READS) == 48
    assert many(places, POLLS) == 0
    assert many(places, WRITES) == 16  # apart


def test_reads_and_polls_leave_some_places_to_sweeps(places: Places) -> None:
    assert (many(places, READS), many(places, POLLS, "b"), many(places, SWEEPS, "c")) == (48, 12, 4)


def test_a_sweep_holds_up_no_read_of_its_store_and_a_store_writes_one_at_a_time(places: Places) -> None:
    answered(places, "a", 3)
    assert take(places, SWEEPS, "a") is not None
    assert (take(places, SWEEPS, "a"), places.left(READS, "a", failing=False)) == (None, 8)
    assert take(places, WRITES, "a") is not None
    assert take(places, WRITES, "a") is None


@pytest.mark.parametrize("most", [1, 2, 4, 7])
def test_however_few_places_there_are_each_kind_gets_one(most: int) -> None:
    for kind in KINDS:
        places = Places(most)
        assert many(places, kind) >= 1
        assert many(places, kind, "slow", failing=True) == 0 or most > 1
        places.close()


def test_a_claim_that_fails_gives_its_places_back(places: Places) -> None:
    with pytest.raises(ZeroDivisionError), places.reserving() as room:
        assert len(room.take_all(READS, "a", 3)) == 1
        raise ZeroDivisionError
    with places.reserving() as room:
        (place,) = room.take_all(READS, "a", 3)
        room.back([place])
    assert places.left(READS, "a", failing=False) == 1


class Clock:
    """Seconds that only a test moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    made = Clock()
    monkeypatch.setattr("tracker.pipeline.places.time", made)
    return made


def full_of_calls(places: Places, clock: Clock, *, others: float = 0.0) -> list[Place]:
    """Fill the places with calls: the first for two seconds, the others for so long."""
    held = [place for i in range(48) if (place := take(places, READS, f"a{i}"))]
    held += [place for i in range(16) if (place := take(places, SWEEPS, f"b{i}"))]
    held[0].asks("h0")
    clock.now = 2.1 - others
    for place in held[1:]:
        place.asks("h")
    clock.now = 2.1
    return held


def test_a_call_gives_way_only_while_somebody_waits_and_only_as_many_as_wait(places: Places, clock: Clock) -> None:
    held = full_of_calls(places, clock, others=1.9)
    clock.now = 4.2
    assert not any(place.gives_way() for place in held), "nobody waits"
    with places.reserving() as room:
        assert room.take(READS, "c1") is None
        assert room.take(READS, "c2") is None
    gave = [place for place in held if place.gives_way()]

    assert len(gave) == 2
    assert places.short()
    with places.reserving():
        assert not any(place.gives_way() for place in held), "a new claim says anew who waits"


def test_a_call_that_lasts_no_two_seconds_stays_unless_most_stand_still(places: Places, clock: Clock) -> None:
    held = full_of_calls(places, clock, others=0.4)
    with places.reserving() as room:
        assert room.take(READS, "c") is None
    assert [place for place in held[1:] if place.gives_way()] == []
    assert held[0].gives_way()
    clock.now += 0.2  # now all of them last more than half a second
    with places.reserving() as room:
        assert room.take(READS, "c") is None

    assert held[1].gives_way()


def test_the_slow_lane_and_writes_give_way_to_nobody_and_who_waits_in_it_presses_nobody(
    places: Places, clock: Clock
) -> None:
    held = full_of_calls(places, clock)
    with places.reserving() as room:
        room.failing = frozenset({"c"})
        assert room.take(READS, "c") is None
    assert not held[0].gives_way()
    with places.reserving() as room:
        assert room.take(READS, "d") is None
    held[0].slow = True
    assert not held[0].gives_way()
    held[0].slow, held[0].firm = False, True
    assert not held[0].gives_way()


def test_a_sweep_that_waits_for_the_share_of_sweeps_presses_no_read(places: Places, clock: Clock) -> None:
    held = full_of_calls(places, clock)
    with places.reserving() as room:
        assert room.take(SWEEPS, "c") is None

    assert not held[0].gives_way()
    clock.now += 2.5
    assert held[-1].gives_way()


def test_a_thread_knows_the_place_of_its_call_and_no_other(places: Places) -> None:
    place = take(places, WRITES, "a")
    assert place is not None
    seen: list[Any] = []

    def work() -> None:
        with staying():
            seen.append((here(), place.firm))
        seen.append(place.firm)

    places.start(place, work, lambda: seen.append(here())).result()
    with staying():
        assert here() is None
    assert seen == [(place, True), False, None]


def test_what_a_call_could_not_keep_is_told_and_says_nothing_of_its_account(places: Places) -> None:
    answered(places, "a", 2)
    place = take(places, READS, "a")
    assert place is not None
    told: list[str] = []
    places.failed = lambda problem: told.append(type(problem).__name__)
    begun = places.start(place, lambda: 1 // 0, lambda: told.append("and then"))  # type: ignore[arg-type,return-value]

    with pytest.raises(ZeroDivisionError):
        begun.result()
    assert told == ["ZeroDivisionError"]
    assert places.left(READS, "a", failing=False) == 4


def test_while_many_hang_the_next_ones_get_no_more_time_and_no_less_than_answers_usually_take(
    places: Places, clock: Clock
) -> None:
    for _ in range(60):
        ends(places, take(places, READS, "quick"), took=0.02)
    held = full_of_calls(places, clock, others=0.05)
    for _ in range(3):  # a wave of calls after the other, and each gives way after a tenth of a second
        clock.now += 0.15
        with places.reserving() as room:
            assert room.take(READS, "c") is None
        (gave, *_) = [place for place in held[1:] if place.gives_way()]
        ends(places, gave, GaveWay("others waited"))
        held.remove(gave)
        for place in held[1:]:
            place.asks("h")
        held += [new for new in [take(places, gave.kind, f"d{clock.now}")] if new]
        held[-1].asks("h")
    clock.now += 0.05
    with places.reserving() as room:
        assert room.take(READS, "c") is None

    assert not any(place.gives_way() for place in held[1:])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.integers(0, 9), st.booleans(),
        st.sampled_from([None, None, Transient("t"), NotFound("n"), GaveWay("g")]), st.floats(0, 5),
    ),
    max_size=200,
)  # fmt: skip


@given(st.integers(1, 40), STEPS)
def test_whatever_begins_and_ends_no_bound_is_broken_and_nothing_is_lost(most: int, steps: Any) -> None:
    places = Places(most)
    held: list[Place] = []
    for kind, account, failing, error, took in steps:
        if (place := take(places, kind, f"a{account}", failing=failing)) is not None:
            held.append(place)
        elif held:
            ends(places, held.pop(0), error, took=took)
        calls = [one for one in held if one.kind != WRITES]
        asked = [one for one in calls if one.kind != SWEEPS]
        assert len(calls) <= most
        assert sum(one.kind == SWEEPS for one in calls) <= max(1, most // 4)
        assert sum(one.slow for one in calls) <= max(1, most // 4)
        assert all(sum(one.account == f"a{i}" for one in asked) <= max(1, most // 4) for i in range(10))
    for place in held:
        places.free(place)
    assert +places._counts == {}
    places.close()


def test_an_account_that_allows_few_calls_side_by_side_has_no_more_of_all_kinds_together(places: Places) -> None:
    places.most_of = {"a": 2}.get
    answered(places, "a", 5)
    held = [take(places, READS, "a"), take(places, SWEEPS, "a")]

    assert None not in held
    assert [take(places, kind, "a") for kind in (READS, POLLS, SWEEPS)] == [None] * 3
    assert take(places, READS, "b") is not None, "another account has no such limit"
    ends(places, held[1])
    assert take(places, POLLS, "a") is not None


def test_the_next_call_of_few_is_a_writes_that_waits(places: Places) -> None:
    places.most_of = {"a": 1}.get
    read = take(places, READS, "a")
    assert take(places, WRITES, "a") is None
    ends(places, read)

    assert take(places, READS, "a") is None, "it is kept for the write"
    with places.reserving(writes=True) as room:
        write = room.take(WRITES, "a")
    ends(places, write)
    assert take(places, READS, "a") is not None
