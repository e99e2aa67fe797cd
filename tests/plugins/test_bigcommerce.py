"""BigCommerce: conformance, what is read and what is told of what cannot be, and signatures."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from tests.plugins.bigcommerce import FIXTURES, PRODUCTS, ROW, SHIPMENTS, read, store
from tests.plugins.signing import SECRET, standard
from tracker.domain.errors import BadPayload, WebhookRejected
from tracker.domain.facts import ChangeNotice, Order, Payload, Unread
from tracker.domain.vocabulary import OrderStatus
from tracker.plugin.conformance import AT, for_platform

TestConformance = for_platform("adapters.bigcommerce", fixtures=FIXTURES)


def signed(body: bytes) -> dict[str, str]:
    return {**standard(body), "x-trackwright": "canary-hook_key"}


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
        (7, {"payment_status": ""}, "awaiting_confirmation", "pending"),
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
    source, _ = store(make, store_hash="abc123", webhook_secrets=["new", "client-secret-0123456789"])

    source.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED))
    assert source.dedupe_key(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED)) == SIGNED["webhook-id"]
    with pytest.raises(WebhookRejected):
        source.verify(Payload("s", "webhook", (BODY + b" ",), SIGNED_AT, SIGNED))


def test_the_hooks_own_header_is_asked_for_too_and_a_store_may_rest_on_it(make) -> None:
    both, _ = store(make, store_hash="abc123", webhook_secrets=["client-secret-0123456789"], hook_key=SecretStr("mine"))
    only, _ = store(make, store_hash="abc123", hook_key=SecretStr("mine"), require_signature=False, webhook_secrets=[])

    both.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, {**SIGNED, "x-trackwright": "mine"}))
    only.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, {"x-trackwright": "mine"}))
    for source, headers in ((both, SIGNED), (both, {"x-trackwright": "mine"}), (only, {"x-trackwright": "other"})):
        with pytest.raises(WebhookRejected):
            source.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, headers))


def test_a_hook_of_another_store_of_the_app_is_signed_rightly_and_refused(make) -> None:
    other, _ = store(make, store_hash="xyz789", webhook_secrets=["client-secret-0123456789"])
    with pytest.raises(WebhookRejected, match="of another store: stores/abc123"):
        other.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED))
    for body in (b'{"scope": "x"}', b'{"producer": 7}', b"{", b"[]"):  # what cannot be read is told as such
        mine, _ = store(make, store_hash="xyz789", webhook_secrets=[SECRET.decode()])
        mine.verify(Payload("s", "webhook", (body,), AT, standard(body)))


def test_without_an_id_scope_hash_and_time_tell_deliveries_apart(make) -> None:
    source, _ = store(make)
    bodies = [{"scope": s, "hash": "same", "created_at": t} for s in ("created", "archived") for t in (1, 2)]
    keys = {source.dedupe_key(Payload("s", "webhook", (json.dumps(b).encode(),), AT)) for b in bodies}

    assert len(keys) == 4


@pytest.mark.parametrize("items", [None, []])
def test_a_shipment_that_names_no_line_is_never_the_whole_order(make, items) -> None:
    found, unread = parts(store(make)[0], shipments=[{**SHIPMENTS[0], "items": items}])

    assert found.partial
    assert [(one.problem, one.lacks) for one in unread] == [("no fulfilment names a line of the order", "line")]


def test_a_word_of_money_that_nobody_knows_is_read_as_unknown_and_told(make) -> None:
    found, unread = parts(store(make)[0], row={**ROW, "payment_status": "bartered"})

    assert (found.payment, found.raw_payment, found.partial) == ("unknown", "bartered", False)
    assert [one.where for one in unread] == ["$.payment_status"]
