"""What BigCommerce is asked, and what it is told: sweeps, reads, writes, limits and refusals."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from adapters.bigcommerce.words import LABELS
from tests.plugins.bigcommerce import BASE, PRODUCTS, ROW, SHIPMENTS, V3, order, store
from tracker.domain.errors import CredentialsRejected, RateLimited, Refused, Transient, Unavailable
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


def test_an_order_of_hundreds_of_lines_and_shipments_is_read_to_the_end_of_both(outside, make) -> None:
    shipped = [
        {**SHIPMENTS[0], "id": i, "tracking_number": f"X{i:09}", "items": [{"order_product_id": i, "quantity": 1}]}
        for i in range(510)
    ]
    everything = {"products": lines(0, 760), "shipments": shipped}

    def answer(request: httpx.Request) -> httpx.Response:
        rows, page = everything[request.url.path.rpartition("/")[2]], int(request.url.params["page"])
        return httpx.Response(200, json=rows[(page - 1) * 250 : page * 250])

    outside.get(f"{BASE}/orders/250").respond(json=ROW)
    for name in everything:
        outside.get(f"{BASE}/orders/250/{name}").mock(side_effect=answer)
    source, client = store(make)
    (page,) = source.fetch(client, Refs(("250",)))
    found, _ = source.normalize(Payload("s", "read", page.parts, AT))

    assert (len(found.items), len(found.fulfilments), found.partial, len(page.parts)) == (760, 510, False, 9)
    assert {p.number for f in found.fulfilments for p in f.parcels} == {row["tracking_number"] for row in shipped}


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


def test_an_order_is_asked_for_in_a_call_a_part_and_a_missing_one_hides_nobody(outside, make) -> None:
    outside.get(f"{BASE}/orders/1").respond(404, json=[{"status": 404, "message": "not found"}])
    proved = outside.get(f"{BASE}/order_statuses").respond(json=[])
    outside.get(f"{BASE}/orders/250").respond(json=ROW)
    outside.get(f"{BASE}/orders/250/products").respond(json=PRODUCTS)
    outside.get(f"{BASE}/orders/250/shipments").respond(204)
    refunds = outside.get(f"{V3}/orders/250/payment_actions/refunds").respond(json={"data": [], "meta": {}})
    source, client = store(make)

    (page,) = source.fetch(client, Refs(("1", "250")))

    assert refunds.call_count == 1  # a piece of it was refunded

    assert page.parts[2] == b"[]"
    assert proved.call_count == 1  # the store is there, so it is the order that is not
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
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": 250, "status": "Unser Wort", **json.loads(request.content)})

    asked = outside.put(f"{BASE}/orders/250").mock(side_effect=answer)
    source, client = store(make, completed_is_delivered=True)

    receipt = source.push(client, action(target), order(OrderStatus.CONFIRMED, raw))

    assert [json.loads(c.request.content) for c in asked.calls] == [{"status_id": step} for step in steps]
    assert receipt.proof == LABELS[steps[-1]]


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


@pytest.mark.parametrize("path", ["/orders", "/order_statuses"])
def test_a_store_hash_that_nobody_has_is_told_and_no_order_is_gone_for_it(outside, make, path) -> None:
    """404 of a list is the store's: its orders are all there, and nobody may take them for deleted."""
    outside.get(f"{BASE}{path}").respond(404, json={"status": 404, "title": "Not found"})
    outside.get(f"{BASE}/orders/250").respond(404)
    source, client = store(make)
    said = "HTTP 404: no store answers at store_hash 'abc'"

    with pytest.raises(Unavailable, match=said):
        list(source.fetch(client, Since(None))) if path == "/orders" else source.ping(client)
    if path == "/order_statuses":
        with pytest.raises(Unavailable, match=said):
            list(source.fetch(client, Refs(("250", "251"))))


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (401, b'{"status": 401, "title": "Unauthorized"}', CredentialsRejected, "HTTP 401: Unauthorized: access_token is none of store_hash 'abc'"),
        (401, b"<html>", CredentialsRejected, "HTTP 401: no reason given: access_token"),
        (403, b'[{"status": 403, "message": "scope"}]', CredentialsRejected, "scope: the access_token lacks the scope store_v2_orders or store_v2_orders_read_only"),
        (403, b"<html>", Transient, "a page of HTML"), (404, b"<html>", Transient, "a page of HTML"),
        (200, b"<!doctype html><html>", Unavailable, "a page of HTML"), (500, b"", Transient, "HTTP 500"), (500, b"<html>", Transient, "HTTP 500"),
        (503, b'{"title": "Service Unavailable"}', Transient, "HTTP 503"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_store_or_its_token_is_told_plainly(outside, make, status, body, error, said) -> None:
    outside.get(f"{BASE}/orders").respond(status, content=body)
    source, client = store(make)

    with pytest.raises(error, match=said):
        list(source.fetch(client, Since(None)))


REFUNDED = [{"id": 501, "quantity": 2, "quantity_refunded": 1}]


@pytest.mark.parametrize(
    ("status", "lines", "asked"),
    [
        (11, PRODUCTS[1:], False), (11, REFUNDED, True), (11, [{"id": 501, "quantity": 1, "is_refunded": True}], True),
        (4, [], True), (14, [7], True), (13, PRODUCTS[1:], False),
    ],
)  # fmt: skip
def test_refunds_are_asked_for_only_where_the_order_says_that_it_has_some(outside, make, status, lines, asked) -> None:
    outside.get(f"{BASE}/orders/250").respond(json={**ROW, "status_id": status})
    outside.get(f"{BASE}/orders/250/products").respond(json=lines)
    outside.get(f"{BASE}/orders/250/shipments").respond(204)
    refunds = outside.get(f"{V3}/orders/250/payment_actions/refunds").respond(json={"data": [], "meta": {}})
    source, client = store(make)
    (page,) = source.fetch(client, Refs(("250",)))

    assert refunds.called is asked
    assert len(page.parts) == 3 + asked


def pages(*lists, of):
    answers = iter(lists)
    return lambda _: httpx.Response(200, json={"data": next(answers), "meta": {"pagination": {"total_pages": of}}})


def test_refunds_are_read_to_their_last_page(outside, make) -> None:
    outside.get(f"{BASE}/orders/250").respond(json=ROW)
    outside.get(f"{BASE}/orders/250/products").respond(json=REFUNDED)
    outside.get(f"{BASE}/orders/250/shipments").respond(204)
    asked = outside.get(f"{V3}/orders/250/payment_actions/refunds").mock(
        side_effect=pages([{"id": 1}], [{"id": 2}], of=2)
    )
    source, client = store(make)
    (page,) = source.fetch(client, Refs(("250",)))

    assert [dict(call.request.url.params) for call in asked.calls] == [{}, {"page": "2"}]
    assert len(page.parts) == 5


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404), httpx.Response(200, json={"title": "oops"}), httpx.Response(200, json={"data": 7}), httpx.Response(500),
        httpx.Response(200, json={"data": [{"id": 1}], "meta": {"pagination": {"total_pages": 9999}}}),
    ],
)  # fmt: skip
def test_an_order_whose_refunds_cannot_be_had_is_asked_for_again(outside, make, answer) -> None:
    """Without them nobody knows how many pieces are wanted: the order might look whole."""
    outside.get(f"{BASE}/orders/250").respond(json=ROW)
    outside.get(f"{BASE}/orders/250/products").respond(json=REFUNDED)
    outside.get(f"{BASE}/orders/250/shipments").respond(204)
    outside.get(f"{V3}/orders/250/payment_actions/refunds").mock(return_value=answer)
    source, client = store(make)

    with pytest.raises(Transient):
        list(source.fetch(client, Refs(("250",))))


def test_a_ping_reads_the_statuses(outside, make) -> None:
    asked = outside.get(f"{BASE}/order_statuses").respond(json=[])
    source, client = store(make)
    source.ping(client)

    assert asked.called


def test_statuses_that_the_merchant_renamed_are_told_and_odd_rows_are_not(outside, make) -> None:
    rows = [
        {"id": 2, "custom_label": "Unterwegs"}, {"id": 11, "custom_label": "Awaiting Fulfillment"}, {"id": 5, "custom_label": ""}, {"id": 99, "custom_label": "x"},
        {"id": [2], "custom_label": "x"}, {"id": 9, "custom_label": 7}, {"id": 10, "custom_label": "Da"}, 7,
    ]  # fmt: skip
    outside.get(f"{BASE}/order_statuses").respond(json=rows)
    source, client = store(make)

    said = "Shipped is called 'Unterwegs', Completed is called 'Da': renamed statuses are shown so, and decided by what they are"
    hooks = outside.get(f"{V3}/hooks").respond(json={"data": [], "meta": {}})
    assert list(source.look_around(client)) == [said]
    outside.get(f"{BASE}/order_statuses").respond(204)
    assert list(source.look_around(client)) == []
    hooks.respond(403, json={"status": 403, "title": "scope"})
    (lacks,) = source.look_around(client)
    assert lacks.startswith("its hooks cannot be listed or made (HTTP 403: scope): that needs the default scope")
    assert list(store(make, webhook_secrets=[])[0].look_around(client)) == []  # none would be taken


# limits and refusals


def test_a_throttle_waits_as_long_as_the_longest_header_says(make) -> None:
    source, _ = store(make)
    cases = [
        ({"x-rate-limit-time-reset-ms": "15000", "x-retry-after": "20"}, timedelta(seconds=20)),
        ({"x-rate-limit-time-reset-ms": "15000"}, timedelta(seconds=15)), ({"retry-after": "3"}, timedelta(seconds=3)), ({}, None),
        ({"x-rate-limit-time-reset-ms": "soon"}, None), ({"x-rate-limit-time-reset-ms": "0", "x-retry-after": "0"}, None),
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
        (400, b'[{"status": 400, "message": "The field \'quantity\' is invalid.", "details": {"available_quantity": 0, "order_product_id": 14}},'
              b' {"details": {"available_quantity": 2, "order_product_id": "15"}}, {"details": 7}, 7, {"details": {"available_quantity": "2"}}]',
         Refused, "is invalid.; line 14: 0 left to ship; line 15: 2 left to ship$"),
        (422, b'[{"status": 422, "message": "no"}]', Refused, "no"), (409, b'{"title": "Conflict"}', Refused, "Conflict"), (400, b"<html>", Transient, "HTML"), (403, b"<html>", Transient, "HTML"), (400, b"", Refused, "no reason"),
        (413, b"[]", Refused, "no reason"), (423, b"", Transient, "locked"), (402, b"", Unavailable, "frozen"), (422, b"[7]", Refused, "no reason"),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_their_words(make, status, body, error, said) -> None:
    source, _ = store(make)
    with pytest.raises(error, match=said):
        source.raise_for_status(Response(status, {}, body, AT))
