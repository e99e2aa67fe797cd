"""Shopify's bucket of cost points: what an operation waits for, what never fits, and what is no throttle at all."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from adapters.shopify.pacing import Pace, Status, requested, status_of
from tests.plugins.shopify import GID, T0, URL, answering, by_id, line, node, page, rows, shop
from tracker.domain.errors import BudgetSpent, RateLimited, Refused, Resting, Transient
from tracker.domain.facts import Refs, Since
from tracker.plugin.calls import Response

S = timedelta(seconds=1)


def cost(left: float, *, most: float = 1000, rate: float = 100, needs: float | None = None, **more) -> dict:
    status = {"maximumAvailable": most, "currentlyAvailable": left, "restoreRate": rate}
    return {**more, "extensions": {"cost": {"requestedQueryCost": needs, "throttleStatus": status}}}


def told(body: dict, at=T0) -> Response:
    return Response(200, {}, json.dumps(body).encode(), at)


def throttled(needs: float | None, left: float, **more) -> dict:
    errors = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]
    return cost(left, needs=needs, errors=errors, **more)


def test_an_operation_waits_until_the_bucket_holds_what_it_cost_last_and_no_time_is_counted_twice() -> None:
    pace = Pace()
    pace.wait("page", T0)  # what is asked first is answered or throttled, and tells
    pace.took("page", told(cost(600, needs=900)))
    pace.heard(told(cost(600, needs=900)))
    pace.wait("write", T0)
    with pytest.raises(BudgetSpent, match="it costs 900 points, and 700 are there") as waits:
        pace.wait("page", T0 + S)
    assert waits.value.after == 2 * S
    pace.wait("page", T0 + 3 * S)


def test_a_bucket_that_filled_again_while_nobody_asked_lets_an_operation_through_at_once() -> None:
    pace = Pace()
    pace.took("page", told(cost(600, needs=900)))
    pace.heard(told(cost(600, needs=900)))
    pace.wait("page", T0 + 3 * S)
    with pytest.raises(BudgetSpent, match="it costs 900 points, and 899 are there"):  # by what that answer said, still
        pace.wait("page", T0 + 2.99 * S)


def test_who_waited_is_let_through_and_a_clock_that_goes_back_fills_nothing() -> None:
    pace = Pace()
    pace.took("page", told(cost(0, needs=100)))
    pace.heard(told(cost(50)))
    with pytest.raises(BudgetSpent, match="50 are there"):
        pace.wait("page", T0 - S)
    pace.wait("page", T0 - S)


def test_a_bucket_of_a_development_store_is_waited_for_until_it_is_full_and_no_longer() -> None:
    assert Status(10, 40, 2).rest(60) == 15 * S
    assert Status(40, 40, 2).rest(60) is None


def paced(left: float, **more: float) -> Pace:
    """Return the pace of a shop whose bucket holds so much, where reading an order costs 12 points and a write 10."""
    pace = Pace()
    pace.took("read", told(cost(left, needs=12)))
    pace.took("write", told(cost(left, needs=10)), follows=True)
    pace.heard(told(cost(left, **more)))
    return pace


def test_a_piece_of_work_begins_only_when_the_bucket_holds_what_follows_too_and_then_comes_to_its_end() -> None:
    with pytest.raises(Resting, match="it costs 72 points, and 71 are there") as waits:
        paced(71).wait("read", T0, begins=True)
    assert waits.value.after == 2.89 * S, "until five may follow each other"
    pace = paced(72)
    pace.wait("read", T0, begins=True)
    pace.heard(told(cost(60)))
    pace.wait("write", T0)


def test_a_piece_waits_for_no_more_than_half_of_a_small_bucket_beside_its_reading() -> None:
    pace = paced(31, most=40, rate=2)
    with pytest.raises(Resting, match="it costs 32 points, and 31 are there") as waits:
        pace.wait("read", T0, begins=True)
    assert waits.value.after == 0.5 * S
    paced(32, most=40, rate=2).wait("read", T0, begins=True)


def test_what_dear_writes_cost_is_left_for_them() -> None:
    pace = paced(200)
    pace.took("note", told(cost(200, needs=70)), follows=True)
    with pytest.raises(Resting, match="it costs 222 points, and 200 are there"):
        pace.wait("read", T0, begins=True)


def test_a_piece_that_waits_in_its_midst_begins_anew_only_when_the_bucket_holds_what_stopped_it_too() -> None:
    pace = paced(300)
    pace.took("parts", told(cost(300, needs=430)), follows=True)
    for _ in range(2):
        with pytest.raises(BudgetSpent, match="it costs 430 points, and 300 are there"):
            pace.wait("parts", T0, follows=True)
    with pytest.raises(Resting, match="it costs 512 points, and 300 are there"):
        pace.wait("read", T0, begins=True)


def test_an_order_that_is_asked_on_is_read_only_when_the_bucket_holds_what_is_asked_on_too(outside, make) -> None:
    first, rest = node(1, lineItems=rows(line(11), after="c1")), {"id": f"{GID}1", "lineItems": rows(line(12))}
    answers = {
        "Read": {**by_id(first), **cost(300, needs=110)},
        "Lines": {"data": {"order": rest}, **cost(300, needs=253)},
    }
    calls = answering(outside, lambda operation, _: answers[operation])
    source, client = shop(make)
    list(source.fetch(client, Refs((f"{GID}1",))))
    source.throttle_delay(told(cost(300), client.now()))
    with pytest.raises(Resting, match="it costs 610 points, and 300 are there"):
        list(source.fetch(client, Refs((f"{GID}1",))))
    assert len(calls.calls) == 2


@pytest.mark.parametrize(
    "body",
    [{}, {"extensions": {"cost": {"throttleStatus": {}}}}, cost(0, rate=0), {"data": "throttleStatus"}],
)
def test_what_an_answer_does_not_say_is_not_made_up(body: dict) -> None:
    assert status_of(told(body)) is None
    pace = paced(0)
    pace.heard(told(body))
    with pytest.raises(BudgetSpent):
        pace.wait("write", T0)  # as the answer before it said
    assert requested(Response(200, {}, b"throttleStatus{", T0)) is None
    assert status_of(Response(200, {}, b"throttleStatus{", T0)) is None


@pytest.mark.parametrize(
    ("body", "error", "rest"),
    [
        (throttled(400, 150), RateLimited, 2.5 * S),
        (throttled(None, 10), RateLimited, S),  # the least
        (throttled(10, 900), RateLimited, S),
        ({"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}, RateLimited, S),
    ],
)
def test_what_is_throttled_rests_until_the_bucket_holds_what_was_asked_for(make, body, error, rest) -> None:
    source, _ = shop(make)
    with pytest.raises(error) as limited:
        source.raise_for_status(told(body))
    assert limited.value.after == rest


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (throttled(900, 40, most=40, rate=2), "MAX_COST_EXCEEDED: it costs 900 points, and the bucket never holds more than 40"),
        (
            {"errors": [{"message": "Query cost is 1211, which exceeds the single query max cost limit (1000).", "extensions": {"code": "MAX_COST_EXCEEDED"}}]},
            "MAX_COST_EXCEEDED: Query cost is 1211",
        ),
    ],
)  # fmt: skip
def test_what_costs_more_than_ever_is_there_is_no_throttle_and_is_not_asked_again_as_it_is(make, body, said) -> None:
    source, _ = shop(make)
    with pytest.raises(Refused) as refused:
        source.raise_for_status(told(body))
    assert said in str(refused.value)


def test_an_internal_error_without_data_may_pass(make) -> None:
    source, _ = shop(make)
    with pytest.raises(Transient):
        source.raise_for_status(
            told({"data": None, "errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]})
        )


def test_the_next_page_is_not_asked_for_before_the_bucket_holds_it(outside, make) -> None:
    answer = {**page([], more=True), **cost(300, needs=900)}
    calls = outside.post(URL).mock(side_effect=lambda _: httpx.Response(200, json=answer))
    source, client = shop(make)
    pages = source.fetch(client, Since(None))
    with pytest.raises(BudgetSpent):
        for _ in pages:
            source.throttle_delay(told(answer, client.now()))
    assert len(calls.calls) == 1
