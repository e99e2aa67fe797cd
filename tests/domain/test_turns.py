"""Room for work is dealt so that nobody waits for a stranger, whatever the mix."""

from __future__ import annotations

from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.turns import Turns

NAMES = st.sampled_from([f"s{i}" for i in range(12)])
WAITING = st.dictionaries(NAMES, st.integers(0, 40), max_size=8)
ROOMS = st.lists(st.integers(1, 17), min_size=1, max_size=60)
BUSY = st.sets(NAMES, min_size=1, max_size=10)


@given(urgent=WAITING, ordinary=WAITING, rooms=ROOMS)
def test_nothing_stays_free_while_somebody_waits_and_nobody_gets_more_than_he_has(
    urgent: dict[str, int], ordinary: dict[str, int], rooms: list[int]
) -> None:
    turns = Turns()
    for room in rooms:
        dealt = turns.deal(room, urgent, ordinary)
        assert sum(map(sum, dealt.values())) == min(room, sum(urgent.values()) + sum(ordinary.values()))
        assert all(u <= urgent.get(k, 0) and o <= ordinary.get(k, 0) for k, (u, o) in dealt.items())
        urgent = {k: n - dealt.get(k, (0, 0))[0] for k, n in urgent.items()}
        ordinary = {k: n - dealt.get(k, (0, 0))[1] for k, n in ordinary.items()}


@given(urgent=st.sets(NAMES, max_size=10), ordinary=st.sets(NAMES, max_size=10), rooms=ROOMS)
def test_no_store_gets_less_than_half_of_its_share_while_it_has_work(
    urgent: set[str], ordinary: set[str], rooms: list[int]
) -> None:
    stores, turns, got = urgent | ordinary, Turns(), Counter[str]()
    for room in rooms:
        for name, both in turns.deal(room, dict.fromkeys(urgent, 99), dict.fromkeys(ordinary, 99)).items():
            got[name] += sum(both)
    made = sum(rooms)
    for name in stores:  # a round of each kind of turns that is not ended yet may be missing
        assert got[name] >= (made // 10) * 5 // len(stores) - 2, (name, got)


@given(urgent=BUSY, ordinary=BUSY, rooms=ROOMS)
def test_what_is_urgent_gets_four_fifths_at_most_while_anything_else_waits(
    urgent: set[str], ordinary: set[str], rooms: list[int]
) -> None:
    turns, got = Turns(), [0, 0]
    for room in rooms:
        for first, second in turns.deal(room, dict.fromkeys(urgent, 99), dict.fromkeys(ordinary, 99)).values():
            got[0], got[1] = got[0] + first, got[1] + second
    made = sum(rooms)
    assert got[1] >= made // 10 * 2
    if urgent == ordinary:
        assert got[0] >= made // 10 * 8


@given(busy=st.sets(NAMES, min_size=1, max_size=8), rooms=st.lists(st.integers(1, 3), min_size=40, max_size=60))
def test_who_comes_later_waits_one_round_at_most(busy: set[str], rooms: list[int]) -> None:
    turns = Turns()
    for _ in range(7):
        turns.deal(9, dict.fromkeys(busy, 99), {})
    waited = count(1)
    for room in rooms:
        dealt = turns.deal(room, dict.fromkeys([*busy, "new"], 99), {})
        if "new" in dealt:
            break
        assert next(waited) * 1 <= 2 * (len(busy) + 2), "a stranger is served again and again"
    else:
        raise AssertionError("the new store never had a turn")


def test_one_store_alone_gets_all_the_room_urgent_first_up_to_four_fifths() -> None:
    assert Turns().deal(10, {"shop": 99}, {"shop": 99}) == {"shop": (8, 2)}
    assert Turns().deal(10, {"shop": 3}, {"shop": 99}) == {"shop": (3, 7)}
    assert Turns().deal(10, {"shop": 99}, {}) == {"shop": (10, 0)}
    assert Turns().deal(10, {}, {}) == {}


def test_turns_of_one_at_a_time_keep_the_same_shares() -> None:
    turns, got = Turns(), Counter[tuple[str, str]]()
    for _ in range(1000):
        (((name, both),)) = turns.deal(1, {"big": 5_000}, {"big": 5_000, "small": 5}).items()
        got[name, "urgent" if both[0] else "ordinary"] += 1
    assert got["big", "urgent"] + got["big", "ordinary"] + got["small", "ordinary"] == 1000
    assert got["small", "ordinary"] >= 250  # half of its share of 500
    assert got["big", "urgent"] >= 500


@given(urgent=WAITING, ordinary=WAITING, room=st.integers(0, 40), others=st.integers(0, 60))
def test_no_more_of_what_is_ordinary_is_dealt_than_it_may_and_nothing_else_stays_free(
    urgent: dict[str, int], ordinary: dict[str, int], room: int, others: int
) -> None:
    dealt = Turns().deal(room, urgent, ordinary, others=others)
    first, second = (sum(both[which] for both in dealt.values()) for which in (0, 1))

    assert second <= others
    assert first + second == min(room, sum(urgent.values()) + min(others, sum(ordinary.values())))


def test_who_waits_and_may_not_be_worked_keeps_his_place() -> None:
    turns, got = Turns(), Counter[str]()
    for i in range(300):
        for name, (_, second) in turns.deal(2, {"a": 9}, {"a": 9, "b": 9, "c": 9}, others=i % 2).items():
            got[name] += second
    assert got["a"] >= 15
    assert min(got["b"], got["c"]) >= 45
