"""What BigCommerce is asked, and what it is told: sweeps, reads, writes, limits and refusals."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from tests.plugins.bigcommerce import BASE, PRODUCTS, ROW, SHIPMENTS, order, store
from tracker.domain.errors import RateLimited, Refused, Transient, Unavailable
from tracker.domain.facts import Action, Payload, Refs, Since, Unread
from tracker.domain.vocabulary import OrderStatus
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT

# asking


def test_a_sweep_lists_ids_by_pages_and_keeps_the_newest_change(outside, make) -> None:
    row = {"id": 1, "date_modified": "Mon, 02 Nov 2026 09:00:00 +0000"}
    pages = iter([httpx.Response(200, json=[row] * 50), httpx.Response(204)])
    asked = outside.get(f"{BASE}/orders").mock(side_effect=lambda _: next(pages))
    source, client = store(make)

    found = list(source.fetch(client, Since("2026-11-02T08:00:00+00:00||")))

    first = asked.calls[0].request.url.params
    assert (first["min_date_modified"], first["sort"], first["page"]) == (
        "Mon, 02 Nov 2026 07:50:00 +0000",
        "id:asc",
        "1",
    )
    assert [p.next_cursor for p in found] == [
        "2026-11-02T08:00:00+00:00|2026-11-02T09:00:00+00:00|2|2026-11-02T12:00:00+00:00", "2026-11-02T09:00:00+00:00||",
    ]  # fmt: skip
    assert found[1].parts == (b"[]",)


@pytest.mark.parametrize(("modified", "mark"), [
    ("Wed, 02 Dec 2026 09:00:00 +0000", "2026-11-02T12:00:00+00:00||"), ("Fri, 31 Dec 9998 23:59:59 -1400", "2026-11-02T12:00:00+00:00||"),
    ("soon", "2026-11-02T08:00:00+00:00||"), (None, "2026-11-02T08:00:00+00:00||"), ("Mon, 02 Nov 2026 11:00:00 +0000", "2026-11-02T11:00:00+00:00||"),
])  # fmt: skip
def test_a_cursor_never_passes_our_own_clock_and_an_odd_time_moves_none(outside, make, modified, mark) -> None:
    outside.get(f"{BASE}/orders").respond(json=[{"id": 1, "date_modified": modified}, 7])
    source, client = store(make)
    (found,) = source.fetch(client, Since("2026-11-02T08:00:00+00:00||"))

    assert found.next_cursor == mark


def test_what_changes_while_a_long_sweep_lasts_is_read_by_the_next(outside, make) -> None:
    """By id, an order that was passed may change: the mark is no later than when the sweep began."""
    outside.get(f"{BASE}/orders").respond(json=[{"id": 9, "date_modified": "Mon, 02 Nov 2026 11:59:00 +0000"}])
    source, client = store(make)
    (found,) = source.fetch(
        client, Since("2026-11-02T08:00:00+00:00|2026-11-02T11:58:00+00:00|7|2026-11-02T10:00:00+00:00")
    )

    assert found.next_cursor == "2026-11-02T10:00:00+00:00||"


def test_a_cursor_that_stood_in_the_future_is_given_up(outside, make) -> None:
    asked = outside.get(f"{BASE}/orders").respond(204)
    source, client = store(make, first_sync_days=1)
    list(source.fetch(client, Since("2026-12-02T09:00:00+00:00|2026-12-03T09:00:00+00:00|4")))

    params = asked.calls[0].request.url.params
    assert (params["min_date_modified"], params["page"]) == ("Sun, 01 Nov 2026 11:50:00 +0000", "1")


@pytest.mark.parametrize(
    ("body", "said"),
    [({"message": "upgrade"}, "upgrade"), ({"title": "Down"}, "Down"), ("x", "list: x"), (None, "no reason")],
)
def test_an_answer_without_its_list_is_a_failed_answer(outside, make, body, said) -> None:
    outside.get(f"{BASE}/orders").respond(json=body)
    source, client = store(make)
    with pytest.raises(Unavailable, match=said):
        list(source.fetch(client, Since(None)))


def lines(first: int, count: int) -> list[dict]:
    return [{"id": first + i, "quantity": 1} for i in range(count)]


@pytest.mark.parametrize(
    ("pages", "calls", "whole"),
    [
        ([lines(0, 49)], 1, True), ([lines(0, 250), lines(250, 3)], 2, True), ([lines(0, 250), None], 2, True),
        ([lines(0, 50), lines(50, 50), lines(100, 7)], 3, True),  # a store that cuts at fifties
        ([lines(0, 250), lines(0, 250)], 2, False), ([lines(i * 50, 50) for i in range(30)], 20, False),
    ],
    ids=["one", "two", "just full", "fifties", "the same again", "without end"],
)  # fmt: skip
def test_a_full_page_of_lines_is_asked_on(outside, make, pages, calls, whole) -> None:
    answers = iter(pages)
    outside.get(f"{BASE}/orders/250").respond(json=ROW)
    outside.get(f"{BASE}/orders/250/shipments").respond(json=SHIPMENTS)

    def answer(_request: httpx.Request) -> httpx.Response:
        rows = next(answers)
        return httpx.Response(204) if rows is None else httpx.Response(200, json=rows)

    asked = outside.get(f"{BASE}/orders/250/products").mock(side_effect=answer)
    source, client = store(make)
    (page,) = source.fetch(client, Refs(("250",)))
    found = list(source.normalize(Payload("s", "read", page.parts, AT)))

    assert [call.request.url.params["page"] for call in asked.calls] == [str(n + 1) for n in range(calls)]
    assert len(found[0].items) == len({row["id"] for rows in pages[:calls] for row in rows or ()})
    assert len(found[0].fulfilments) == 2
    assert found[0].partial is not whole
    assert [(one.subject, one.lacks) for one in found if isinstance(one, Unread)] == (
        [] if whole else [("250", "rest")]
    )


@pytest.mark.parametrize(
    "answer", [httpx.Response(404), httpx.Response(200, json={"message": "oops"}), httpx.Response(500)]
)
def test_an_order_without_its_lists_is_asked_again_and_hides_nobody(outside, make, answer) -> None:
    for ref in ("1", "2"):
        outside.get(f"{BASE}/orders/{ref}").respond(json={**ROW, "id": int(ref)})
        outside.get(f"{BASE}/orders/{ref}/products").respond(204)
    outside.get(f"{BASE}/orders/3").respond(json=[])
    outside.get(f"{BASE}/orders/1/shipments").mock(return_value=answer)
    outside.get(f"{BASE}/orders/2/shipments").respond(204)
    source, client = store(make)
    pages = []
    with pytest.raises(Transient):
        for page in source.fetch(client, Refs(("1", "..", "2", "3"))):
            pages.append(page)

    assert len(pages) == 1


def test_a_first_sweep_looks_back_some_days(outside, make) -> None:
    asked = outside.get(f"{BASE}/orders").respond(204)
    source, client = store(make, first_sync_days=1)
    list(source.fetch(client, Since(None, open_only=True)))

    assert asked.calls[0].request.url.params["min_date_modified"] == "Sun, 01 Nov 2026 11:50:00 +0000"


def test_an_order_is_asked_for_in_three_calls_and_a_missing_one_hides_nobody(outside, make) -> None:
    outside.get(f"{BASE}/orders/1").respond(404, json=[{"status": 404, "message": "not found"}])
    outside.get(f"{BASE}/orders/250").respond(json=ROW)
    outside.get(f"{BASE}/orders/250/products").respond(json=PRODUCTS)
    outside.get(f"{BASE}/orders/250/shipments").respond(204)
    source, client = store(make)

    (page,) = source.fetch(client, Refs(("1", "250")))

    assert page.parts[2] == b"[]"
    assert next(iter(source.normalize(Payload("s", "read", page.parts, AT)))).items


def action(target: OrderStatus | None) -> Action:
    return Action("order_status", "k", "s", "250", target=target)


@pytest.mark.parametrize(
    ("raw", "target", "steps"),
    [
        ("Awaiting Fulfillment", OrderStatus.SHIPPED, [2]), ("Awaiting Shipment", OrderStatus.PARTIALLY_SHIPPED, [3]),
        ("Partially Shipped", OrderStatus.SHIPPED, [2]), ("Shipped", OrderStatus.DELIVERED, [10]), ("Awaiting Pickup", OrderStatus.DELIVERED, [2, 10]),
    ],
)  # fmt: skip
def test_a_status_is_set_alone_and_delivered_goes_by_way_of_shipped(outside, make, raw, target, steps) -> None:
    asked = outside.put(f"{BASE}/orders/250").respond(json={"status": "there"})
    source, client = store(make, completed_is_delivered=True)

    receipt = source.push(client, action(target), order(OrderStatus.CONFIRMED, raw))

    assert [json.loads(c.request.content) for c in asked.calls] == [{"status_id": step} for step in steps]
    assert receipt.proof == "there"


@pytest.mark.parametrize(
    ("raw", "target"),
    [("Pending", OrderStatus.SHIPPED), ("Refunded", OrderStatus.SHIPPED), ("Completed", OrderStatus.PARTIALLY_SHIPPED), ("99 New word", OrderStatus.SHIPPED), ("Shipped", None)],
)  # fmt: skip
def test_what_must_not_be_left_is_refused_before_the_call(make, raw, target) -> None:
    source, client = store(make)
    with pytest.raises(Refused):
        source.push(client, action(target), order(OrderStatus.UNKNOWN, raw))


def test_a_status_that_stands_there_is_not_written_again(make) -> None:
    source, client = store(make)

    assert source.push(client, action(OrderStatus.SHIPPED), order(OrderStatus.SHIPPED, "Shipped")).already_there


def test_a_ping_reads_the_statuses(outside, make) -> None:
    asked = outside.get(f"{BASE}/order_statuses").respond(json=[])
    source, client = store(make)
    source.ping(client)

    assert asked.called


# limits and refusals


def test_a_throttle_waits_as_long_as_the_longest_header_says(make) -> None:
    source, _ = store(make)
    cases = [
        ({"x-rate-limit-time-reset-ms": "15000", "x-retry-after": "20"}, timedelta(seconds=20)),
        ({"x-rate-limit-time-reset-ms": "15000"}, timedelta(seconds=15)), ({"retry-after": "3"}, timedelta(seconds=3)), ({}, None),
        ({"x-rate-limit-time-reset-ms": "soon"}, None),
    ]  # fmt: skip
    for headers, after in cases:
        with pytest.raises(RateLimited) as caught:
            source.raise_for_status(Response(429, headers, b"", AT))
        assert caught.value.after == after


def test_the_account_rests_before_the_reserve_is_used_up(make) -> None:
    source, _ = store(make)

    def headers(left: str) -> dict[str, str]:
        return {
            "x-rate-limit-requests-left": left,
            "x-rate-limit-requests-quota": "150",
            "x-rate-limit-time-reset-ms": "9000",
        }

    assert source.throttle_delay(Response(200, headers("100"), b"", AT)) is None
    assert source.throttle_delay(Response(200, headers("15"), b"", AT)) == timedelta(seconds=9)
    assert source.throttle_delay(Response(200, {}, b"", AT)) is None


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (422, b'[{"status": 422, "message": "no"}]', Refused, "no"), (409, b'{"title": "Conflict"}', Refused, "Conflict"), (400, b"<html>", Transient, "HTML"), (403, b"<html>", Transient, "HTML"), (400, b"", Refused, "no reason"),
        (413, b"[]", Refused, "no reason"), (423, b"", Transient, "locked"), (402, b"", Unavailable, "frozen"), (422, b"[7]", Refused, "no reason"),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_their_words(make, status, body, error, said) -> None:
    source, _ = store(make)
    with pytest.raises(error, match=said):
        source.raise_for_status(Response(status, {}, body, AT))
