"""BigCommerce: conformance, signature vectors, parts, requests, limits."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tests.plugins.signing import standard
from tracker.domain.errors import BadPayload, RateLimited, Refused, Transient, Unavailable, WebhookRejected
from tracker.domain.facts import Action, ChangeNotice, Order, Payload, Refs, Since, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin.conformance import AT, for_platform
from tracker.plugin.contracts import Response

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bigcommerce"
TestConformance = for_platform("adapters.bigcommerce", fixtures=FIXTURES)
BASE = "https://api.bigcommerce.com/stores/abc/v2"
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
ROW = json.loads((FIXTURES / "order.read.json").read_text(encoding="utf-8"))
PRODUCTS = [
    {"id": 501, "name": "A cup", "quantity": 2, "quantity_refunded": 1, "quantity_shipped": 1, "type": "physical"},
    {"id": 502, "name": "A code", "quantity": 1, "type": "digital"},
]
SHIPMENTS = [
    {
        "id": 9, "order_id": 250, "date_created": "Tue, 20 Nov 2012 01:00:00 +0000", "tracking_number": "1Z R58", "tracking_carrier": "ups",
        "shipping_provider": "", "shipping_method": "Ground", "items": [{"order_product_id": 501, "quantity": 1}],
    },
    {"id": 10, "order_id": 250, "date_created": "Tue, 20 Nov 2012 01:00:00 +0000", "tracking_number": "", "items": None},
]  # fmt: skip


def signed(body: bytes) -> dict[str, str]:
    return {**standard(body), "x-trackwright": "canary-hook_key"}


def store(make, **more):
    return make(
        "adapters.bigcommerce",
        **{"store_hash": "abc", "base_url": "https://api.bigcommerce.com", "hook_key": None, **more},
    )


def read(source, row=ROW, *, whole: bool = True, **more):
    parts = [json.dumps({**row, **more}).encode()]
    parts += [json.dumps(PRODUCTS).encode(), json.dumps(SHIPMENTS).encode()] if whole else []
    return list(source.normalize(Payload("s", "read", tuple(parts), AT)))


def order(status: OrderStatus, raw: str) -> Order:
    return Order("s", "250", "#250", status, raw, PaymentStatus.PAID, "captured", T0, T0)


def action(target: OrderStatus | None) -> Action:
    return Action("order_status", "k", "s", "250", target=target)


# reading


def test_an_order_is_read_in_its_three_parts(make) -> None:
    source, _ = store(make)
    found, checkout = read(source)

    assert checkout.recovered
    assert (found.number, found.status, found.pays_by, found.ships_to) == (
        "#250",
        "confirmed",
        "cash on delivery",
        "US",
    )
    assert [(i.ref, i.ordered, i.removed, i.shippable) for i in found.items] == [
        ("501", 2, 1, True),
        ("502", 1, 0, False),
    ]
    first, second = found.fulfilments
    assert (first.parcels[0].carrier, first.parcels[0].number, first.quantities) == ("ups", "1ZR58", (("501", 1),))
    assert (second.parcels, second.quantities) == ((), ())


@pytest.mark.parametrize(
    ("id_", "more", "status", "payment"),
    [
        (1, {}, "awaiting_confirmation", "paid"), (2, {}, "shipped", "paid"), (3, {}, "partially_shipped", "paid"),
        (4, {}, "confirmed", "refunded"), (4, {"items_shipped": 2}, "shipped", "refunded"), (4, {"items_shipped": 1}, "partially_shipped", "refunded"),
        (4, {"items_total": None}, "confirmed", "refunded"), (5, {}, "cancelled", "paid"), (6, {}, "cancelled", "failed"),
        (7, {"payment_status": ""}, "awaiting_confirmation", "pending"), (8, {}, "ready_for_dispatch", "paid"), (9, {}, "ready_for_dispatch", "paid"),
        (10, {}, "shipped", "paid"), (11, {}, "confirmed", "paid"), (12, {}, "on_hold", "paid"), (13, {}, "confirmed", "disputed"),
        (14, {}, "confirmed", "partially_refunded"), (99, {"status": "New word"}, "unknown", "paid"),
    ],
)  # fmt: skip
def test_every_status_id_says_what_the_documentation_says(make, id_, more, status, payment) -> None:
    source, _ = store(make)
    found = read(source, status_id=id_, **more)[0]

    assert (found.status, found.payment) == (status, payment)
    assert found.cancelled_at == (found.updated_at if status == "cancelled" else None)


def test_completed_is_delivered_only_where_the_store_says_so(make) -> None:
    source, _ = store(make, completed_is_delivered=True)

    assert read(source, status_id=10)[0].status == "delivered"
    assert source.order_status_map()[OrderStatus.DELIVERED] == "Completed"
    assert OrderStatus.DELIVERED not in store(make)[0].order_status_map()


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"status_id": "11"}, "$.status_id"), ({"status_id": True}, "$.status_id"), ({"status_id": None}, "$.status_id"),
        ({"date_created": "soon"}, "$.date_created"), ({"date_modified": 7}, "$.date_modified"),
        ({"date_created": "Mon, 01 Jan 0001 00:00:00 +1400"}, "$.date_created"), ({"date_modified": "Fri, 31 Dec 9999 23:59:59 -1400"}, "$.date_modified"),
        ({"payment_status": 7}, "$.payment_status"), ({"payment_method": []}, "$.payment_method"), ({"is_deleted": "perhaps"}, "$.is_deleted"),
        ({"status_id": 14, "items_shipped": "2"}, "$.items_shipped"),
    ],
)  # fmt: skip
def test_an_order_is_not_told_without_what_a_write_depends_on(make, broken, where) -> None:
    source, _ = store(make)
    (unread,) = read(source, **broken)

    assert (unread.where, unread.subject) == (where, "250")


def parts(source, products=PRODUCTS, shipments=SHIPMENTS, row=ROW, kind: str = "read"):
    """Read an order of given products and shipments: the order, and what could not be read."""
    body = tuple(json.dumps(part).encode() for part in (row, products, shipments))
    found = list(source.normalize(Payload("s", kind, body, AT)))
    return next((one for one in found if isinstance(one, Order)), None), [
        one for one in found if isinstance(one, Unread)
    ]


@pytest.mark.parametrize(
    ("odd", "where"),
    [
        ({"quantity": 1.5}, "quantity"), ({"quantity": -1}, "quantity"), ({"quantity": True}, "quantity"), ({"quantity": "2"}, "quantity"),
        ({"quantity": None}, "quantity"), ({"quantity_refunded": "1"}, "quantity_refunded"), ({"id": None}, "id"), ({"type": 7}, "type"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_takes_nothing_from_the_others_and_makes_the_order_partial(make, odd, where) -> None:
    lines = [PRODUCTS[0], {"id": 7, "quantity": 1, **odd}, PRODUCTS[1]]
    found, unread = parts(store(make)[0], lines)

    assert found.partial
    assert [item.ref for item in found.items] == ["501", "502"]
    assert [(one.where, one.subject, one.lacks) for one in unread] == [(f"$[1][1].{where}", "250", "line")]


@pytest.mark.parametrize(
    ("odd", "where", "kept"),
    [
        ({"id": None}, ".id", False), ({"items": 7}, ".items", True), ({"items": [7]}, ".items[0]", True),
        ({"items": [{"order_product_id": 501, "quantity": "1"}]}, ".items[0].quantity", True),
        ({"items": [{"order_product_id": None, "quantity": 1}]}, ".items[0].order_product_id", True),
    ],
)  # fmt: skip
def test_a_shipment_that_cannot_be_read_takes_nothing_from_the_others(make, odd, where, kept) -> None:
    row = {"id": 11, "date_created": "Tue, 20 Nov 2012 01:00:00 +0000", "tracking_number": "X2", **odd}
    found, unread = parts(store(make)[0], shipments=[SHIPMENTS[0], row, {**SHIPMENTS[0], "id": 12}])

    assert found.partial
    assert [f.ref for f in found.fulfilments] == ["9", *(["11"] if kept else []), "12"]
    assert [(one.where, one.lacks) for one in unread] == [(f"$[2][1]{where}", "line")]


@pytest.mark.parametrize(
    ("odd", "where"),
    [
        ({"date_created": "soon"}, ".date_created"),
        ({"tracking_carrier": 7}, ".tracking_carrier"),
        ({"shipping_method": 7}, ".shipping_method"),
    ],
)
def test_a_detail_that_cannot_be_read_is_left_out_and_told(make, odd, where) -> None:
    found, unread = parts(store(make)[0], shipments=[{**SHIPMENTS[0], **odd}])

    assert not found.partial
    assert found.fulfilments[0].parcels[0].number == "1ZR58"
    assert [(one.where, one.lacks) for one in unread] == [(f"$[2][0]{where}", "")]


def test_the_type_of_a_line_that_nobody_knows_is_shipped(make) -> None:
    """What is left out of the count by mistake would make an order look delivered."""
    found, _ = parts(
        store(make)[0],
        [{"id": 1, "quantity": 1, "type": "bundle"}, {"id": 2, "quantity": 1, "type": "giftcertificate"}],
    )

    assert [item.shippable for item in found.items] == [True, False]


def test_an_archived_order_is_gone(make) -> None:
    source, _ = store(make)

    assert parts(source, row={**ROW, "is_deleted": True})[0].gone == "deleted"
    assert [parts(source, row={**ROW, "is_deleted": no})[0].gone for no in (False, None)] == ["", ""]


def test_a_checkout_that_cannot_be_read_is_no_order(make) -> None:
    (unread,) = read(store(make)[0], status_id=0, date_created="soon", whole=False)

    assert unread == Unread("$.date_created", "is no RFC 2822 date", lacks="nothing")


def test_an_odd_row_of_a_page_takes_nothing_from_the_others(make) -> None:
    rows = b'\xef\xbb\xbf [{"id": 1}, 7, {"id": null}, {"id": 4, "date_modified": 7}]'
    found = list(store(make)[0].normalize(Payload("s", "sweep", (rows,), AT)))

    assert found[:2] == [ChangeNotice("1"), ChangeNotice("4")]
    assert [(one.where, one.lacks) for one in found[2:]] == [("$[1]", "all"), ("$[2].id", "all")]


@pytest.mark.parametrize(("data", "said"), [
    ({"type": "order", "id": 250}, ChangeNotice("250")), ({"type": "shipment", "id": 12, "orderId": 250}, ChangeNotice("250")),
    ({"type": "order", "id": 12, "order_id": 250}, ChangeNotice("250")), ({"type": "order_metafield", "id": 12, "order_id": 250}, ChangeNotice("250")),
    ({"type": "product", "id": 250}, Unread("$.data", "a hook about a 'product' names no order", lacks="nothing")),
])  # fmt: skip
def test_a_hook_of_an_order_names_it_and_one_about_something_else_is_told(make, data, said) -> None:
    body = json.dumps({"scope": "store/x", "data": data}).encode()
    assert list(store(make)[0].normalize(Payload("s", "webhook", (body,), AT))) == [said]


def test_a_part_that_is_no_list_is_refused(make) -> None:
    source, _ = store(make)
    with pytest.raises(BadPayload):
        list(source.normalize(Payload("s", "read", (json.dumps(ROW).encode(), b"{}", b"[]"), AT)))


def test_a_hook_of_a_shipment_that_names_no_order_is_a_bad_payload(make) -> None:
    source, _ = store(make)
    for data in (b'{"type": "shipment", "id": 1}', b'{"type": "order"}', b'{"id": 1}', b'{"type": 7}', b"[]"):
        with pytest.raises(BadPayload):
            source.normalize(Payload("s", "webhook", (b'{"data": ' + data + b"}",), AT))


# signatures; the vector is computed by the rule of the documentation (key: the client secret's bytes); secret invented

BODY = (
    b'{"scope":"store/order/statusUpdated","store_id":"1025646","data":{"type":"order","id":250,"status":{"previous_status_id":0,'
    b'"new_status_id":11}},"hash":"7ee67cd1cf2ca60bc1aa9e5fe957d2de373be4ca","created_at":1561479335,"producer":"stores/abc123"}'
)
SIGNED = {
    "webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "webhook-timestamp": "1674087231",
    "webhook-signature": "v1,2UzbTPMjSnUhVLQkEiSsv7lSNhCavtE2mgn7wPo7WqA=",
}  # fmt: skip
SIGNED_AT = datetime.fromtimestamp(1674087231, UTC)


def test_the_signature_vector_verifies_and_nothing_else_does(make) -> None:
    source, _ = store(make, webhook_secrets=["new", "client-secret-0123456789"])

    source.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED))
    assert source.dedupe_key(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED)) == SIGNED["webhook-id"]
    with pytest.raises(WebhookRejected):
        source.verify(Payload("s", "webhook", (BODY + b" ",), SIGNED_AT, SIGNED))


def test_the_hooks_own_header_is_asked_for_too_and_a_store_may_rest_on_it(make) -> None:
    both, _ = store(make, webhook_secrets=["client-secret-0123456789"], hook_key=SecretStr("mine"))
    only, _ = store(make, hook_key=SecretStr("mine"), require_signature=False, webhook_secrets=[])

    both.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, {**SIGNED, "x-trackwright": "mine"}))
    only.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, {"x-trackwright": "mine"}))
    for source, headers in ((both, SIGNED), (both, {"x-trackwright": "mine"}), (only, {"x-trackwright": "other"})):
        with pytest.raises(WebhookRejected):
            source.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, headers))


def test_without_an_id_scope_hash_and_time_tell_deliveries_apart(make) -> None:
    source, _ = store(make)
    bodies = [{"scope": s, "hash": "same", "created_at": t} for s in ("created", "archived") for t in (1, 2)]
    keys = {source.dedupe_key(Payload("s", "webhook", (json.dumps(b).encode(),), AT)) for b in bodies}

    assert len(keys) == 4


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
