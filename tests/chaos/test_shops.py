"""What holds of writing to every platform, whatever goes wrong: tried at its fake shop, by the core's own steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from tests.chaos.shops import Hand, number
from tests.matrix.columns import columns
from tracker.pipeline import failpoints
from tracker.sandbox import scenario
from tracker.store import tables as t

OF_WRITES = [name for name in failpoints.NAMES if not name.startswith(("receive_", "sweep_", "poll_"))]
OF_READS = [name for name in failpoints.NAMES if name.startswith("poll_")]
USUAL = {("rest", "postgresql"), ("bigcommerce", "sqlite")}  # `make matrix` tries the others too


def each(*more: str) -> pytest.MarkDecorator:
    """Try a rule on every platform and database; of them those of USUAL, and of the databases named in `more`, in `make test`."""
    return pytest.mark.parametrize(
        "hand",
        [
            pytest.param(
                (name, kind),
                id=f"{name}-{kind}",
                marks=[] if (name, kind) in USUAL or kind in more else [pytest.mark.matrix],
            )
            for name in columns()
            for kind in ("sqlite", "postgresql")
        ],
        indirect=True,
    )


@pytest.fixture
def hand(request: pytest.FixtureRequest) -> Iterator[Hand]:
    name, kind = request.param
    url = request.getfixturevalue("new_postgres") if kind == "postgresql" else None
    with ExitStack() as stack:
        yield Hand(columns()[name], stack, url)


@each("sqlite")
def test_a_crash_at_every_step_ends_as_if_there_had_been_none(hand: Hand) -> None:
    wanted = hand.delivered("100")
    assert wanted[0], f"nothing is written on {hand.column.name}"

    for which, name in enumerate([*OF_WRITES, *OF_READS], 101):
        if name in OF_READS:
            with hand.dying_at(name):
                hand.order(str(which), number(which))
            hand.later(12 * 60)
            hand.scan(number(which))
            hand.work()
        else:
            hand.order(str(which), number(which))
            hand.scan(number(which))
            with hand.dying_at(name):
                hand.work()
        hand.later(5)
        assert hand.ends(str(which)) == wanted, f"{hand.column.name} ended otherwise after a death at {name}"


@each()
def test_a_lost_answer_causes_no_second_write_and_a_throttled_one_comes_later(hand: Hand) -> None:
    wanted = hand.delivered("100")
    for which, kind in enumerate(("apply_then_fail", "throttle"), 101):
        hand.order(str(which), number(which))
        hand.scan(number(which))
        hand.shop.on_fault(scenario.Fault(server="shop", kind=kind), hand.clock())
        hand.work()
        hand.later(60)
        assert hand.ends(str(which)) == wanted, f"{hand.column.name}, {kind}"


@each()
def test_a_refused_write_is_a_finding_with_the_shops_words_and_is_not_tried_again(hand: Hand) -> None:
    hand.order("100", number(100))
    hand.scan(number(100))
    hand.shop.on_fault(scenario.Fault(server="shop", kind="refuse_write"), hand.clock())
    hand.work()
    hand.later(60)

    (found,) = hand.rows(t.findings, t.findings.c.kind == "write_refused")
    assert len(str(found.evidence)) > 40, found.evidence
    assert hand.written("100") == [], "it was refused, and is a person's"


@each()
def test_an_order_that_was_cancelled_between_read_and_write_is_left_alone(hand: Hand) -> None:
    hand.order("100", number(100))
    hand.scan(number(100))
    hand.work("ingest")
    hand.work("decide")
    hand.hears = False
    hand.shop.on_cancel(scenario.Cancel(order=hand.name("100")), hand.clock())
    before = hand.written("100")
    there = hand.shown("100")
    hand.work()
    hand.later(60)

    assert hand.written("100") == before, "a cancelled order was written to"
    assert hand.shown("100") == there
    assert "cancelled" in hand.ends("100")[1]


@each()
def test_a_part_that_is_delivered_completes_no_order(hand: Hand) -> None:
    hand.order("100", number(100), number(200))
    hand.scan(number(200), "delivered")
    hand.work()
    hand.later()
    part = hand.written("100")
    hand.scan(number(100), "delivered")
    hand.work()
    hand.later()

    assert len(hand.written("100")) > len(part), "the whole order was said to be there when half of it was"


@each()
def test_46_copies_of_each_hook_have_one_effect(hand: Hand) -> None:
    wanted, one = hand.delivered("100"), len(hand.rows(t.inbox))
    hand.copies = 46

    assert hand.delivered("101") == wanted
    assert len(hand.rows(t.inbox)) <= 3 * one, "each copy was kept, and had the order read again"


def test_a_sweep_without_news_costs_one_request_a_list() -> None:
    # rest lists checkouts beside orders; Magento shipments beside orders, and reads once more what its overlap finds again
    lists = {"rest": 2, "magento": 5}
    for name, column in columns().items():
        with ExitStack() as stack:
            hand = Hand(column, stack, None)
            hand.order("100", number(100))
            hand.later(12 * 60)
            costs = []
            for _ in range(2):  # in one of them hooks are compared too: once a day
                before, at = len(hand.shop.asked), dict(hand.shop.calls)
                hand.later(12 * 60)
                looked = hand.shop.calls["hooks"] + hand.shop.calls["Hooks"] - at.get("hooks", 0) - at.get("Hooks", 0)
                costs.append(len(hand.shop.asked) - before - looked)

        assert costs == [lists.get(name, 1)] * 2, f"{name}: {costs}"


@pytest.mark.parametrize(
    ("name", "grants", "seconds"),
    [
        ("bigcommerce", 40, 30),
        pytest.param("rest", 40, 60, marks=pytest.mark.matrix),
        pytest.param("woocommerce", 40, 60, marks=pytest.mark.matrix),
    ],
)
def test_writes_go_as_fast_as_the_platform_lets_them(name: str, grants: int, seconds: int) -> None:
    with ExitStack() as stack:
        hand = Hand(columns()[name], stack, None, grants=grants, writes_per_hour=100_000)
        for which in range(100, 120):
            hand.place(str(which), number(which))
        for _ in range(8):
            hand.later(1)
        assert len(hand.rows(t.orders)) == 20
        hand.later(60)
        for which in range(100, 120):
            hand.scan(number(which))
        asked, written = len(hand.shop.asked), len(hand.shop.log)
        for _ in range(seconds):
            hand.work()
            hand.clock.move_to(hand.clock() + timedelta(seconds=1))

        assert len(hand.shop.log) > written
        assert len(hand.shop.asked) - asked >= 0.9 * grants, "we were slower than the platform lets us be"
