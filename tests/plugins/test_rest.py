"""The order API: conformance, words, what is read and what is told of what cannot be, hooks and signatures."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from adapters.rest import KARTROCKET, KINGSTON
from tests.plugins.rest import FIXTURES, T0, order_row, read, shop
from tests.plugins.signing import standard
from tracker.domain.errors import BadPayload, WebhookRejected
from tracker.domain.facts import ChangeNotice, Order, Payload, Unread
from tracker.domain.vocabulary import OrderStatus
from tracker.plugin.conformance import AT, for_platform
from tracker.plugin.signatures import whsec_key

TestConformance = for_platform("adapters.rest", fixtures=FIXTURES)
signed = standard


# words


@pytest.mark.parametrize(
    ("words", "raw", "payment", "status", "paid", "reason"),
    [
        ("kartrocket", "Pending", "pending", "awaiting_confirmation", "pending", "unverified_payment"),
        ("kartrocket", "COD Confirmed", "pending", "confirmed", "pending", ""),
        ("kartrocket", "ePayment Received", "pending", "confirmed", "paid", ""),
        ("kartrocket", "ePayment Received", "refunded", "confirmed", "refunded", ""),
        ("kartrocket", "ePayment Failed", None, "awaiting_confirmation", "failed", "unverified_payment"),
        ("kartrocket", "Canceled", "paid", "cancelled", "paid", ""),
        ("kingston", "Dispatched/Shipped", "paid", "shipped", "paid", ""),
        ("kingston", "Failed Delivery", "paid", "delivery_failed", "paid", ""),
        ("marketplace-guide", "Pending", "unpaid", "awaiting_confirmation", "pending", "awaiting_seller"),
        ("marketplace-guide", "Versandt", "chargeback", "unknown", "disputed", ""),
        ("marketplace-guide", "Processing", "geklärt", "processing", "unknown", ""),
        ("marketplace-guide", "Processing", " ", "processing", "pending", ""),
        ("kartrocket", "ePayment Received", "geklärt", "confirmed", "paid", ""),
    ],
)  # fmt: skip
def test_the_known_lists_read_as_the_requirements_say(make, words, raw, payment, status, paid, reason) -> None:
    source, _ = shop(make, words=words)
    order = read(source, status=raw, payment={"status": payment} if payment else None)

    assert (order.status, order.payment, order.status_reason, order.raw_status) == (status, paid, reason, raw)


def test_the_merchants_words_beat_the_known_list_and_the_first_word_is_written(make) -> None:
    source, _ = shop(
        make,
        statuses={"Versandt": "shipped", "Processing": "confirmed"},
        payments={"bezahlt": "paid"},
        carriers={"Van": "ups"},
    )

    order = read(
        source, payment={"status": "bezahlt"},
        fulfilments=[{"ref": "F", "tracking": [{"carrier": "Van", "number": "1"}]}],
    )  # fmt: skip
    assert (order.status, order.payment) == ("confirmed", "paid")
    assert order.fulfilments[0].parcels[0].carrier == "ups"
    assert source.order_status_map()[OrderStatus.SHIPPED] == "Versandt"
    assert OrderStatus.CANCELLED not in source.order_status_map()
    assert source.status_map() == {}


def test_a_shop_that_names_no_list_speaks_ours(make) -> None:
    source, _ = shop(make, words=None)

    assert source.order_status_map()[OrderStatus.DELIVERED] == "delivered"
    assert {s for s, _, _ in KINGSTON.values()} <= set(OrderStatus)
    assert {s for s, _, _ in KARTROCKET.values()} <= set(OrderStatus)


def test_a_cancelled_order_was_cancelled_when_its_status_changed(make) -> None:
    source, _ = shop(make)

    assert read(source, status="Cancelled", status_changed_at="2026-11-02T09:00:00Z").cancelled_at == T0 + timedelta(
        hours=1
    )


def told(source, **more) -> tuple[Order | None, list[Unread]]:
    """Read one order: what was told of it, and what could not be read."""
    body = json.dumps({"order": order_row(**more)}).encode()
    found = list(source.normalize(Payload("s", "read", (body,), AT)))
    return next((one for one in found if isinstance(one, Order)), None), [
        one for one in found if isinstance(one, Unread)
    ]


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"placed_at": "2026-11-01T08:00:00"}, "$.order.placed_at"), ({"updated_at": None}, "$.order.updated_at"),
        ({"number": None}, "$.order.number"), ({"status": None}, "$.order.status"), ({"status": []}, "$.order.status"),
        ({"payment": []}, "$.order.payment"), ({"payment": {"status": 7}}, "$.order.payment.status"),
        ({"payment": {"method": 7}}, "$.order.payment.method"), ({"delivery": []}, "$.order.delivery"),
        ({"delivery": {"method": 7}}, "$.order.delivery.method"), ({"delivery": {"service": 7}}, "$.order.delivery.service"),
        ({"delivery": {"location": []}}, "$.order.delivery.location"), ({"delivery": {"address": {}}}, "$.order.delivery.address"),
        ({"status_actor": 7}, "$.order.status_actor"), ({"verified": "no"}, "$.order.verified"), ({"tags": 7}, "$.order.tags"),
    ],
)  # fmt: skip
def test_an_order_is_not_told_without_what_a_write_depends_on(make, broken, where) -> None:
    order, unread = told(shop(make)[0], **broken)

    assert order is None
    assert [(one.where, one.subject) for one in unread] == [(where, "R1")]


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"items": [{"ref": "a", "ordered": -1}]}, "$.order.items[0].ordered"), ({"items": 7}, "$.order.items"),
        ({"items": [{"ref": "a", "ordered": True}]}, "$.order.items[0].ordered"),
        ({"items": [{"ref": "a", "ordered": 1, "shippable": 0}]}, "$.order.items[0].shippable"),
        ({"items": [{"ref": "a", "ordered": 1, "refunded": "1"}]}, "$.order.items[0].refunded"),
        ({"fulfilments": {}}, "$.order.fulfilments"), ({"fulfilments": [7]}, "$.order.fulfilments[0]"),
        ({"fulfilments": [{"ref": None}]}, "$.order.fulfilments[0].ref"),
        ({"fulfilments": [{"ref": "F", "cancelled": "yes"}]}, "$.order.fulfilments[0].cancelled"),
        ({"fulfilments": [{"ref": "F", "items": [{"ref": "a", "quantity": 1.5}]}]}, "$.order.fulfilments[0].items[0].quantity"),
        ({"fulfilments": [{"ref": "F", "tracking": [7]}]}, "$.order.fulfilments[0].tracking[0]"),
        ({"fulfilments": [{"ref": "F", "tracking": 7}]}, "$.order.fulfilments[0].tracking"),
    ],
)  # fmt: skip
def test_a_line_a_fulfilment_or_a_number_that_cannot_be_read_makes_the_order_partial(make, broken, where) -> None:
    order, unread = told(shop(make)[0], **broken)

    assert order.partial
    assert [(one.where, one.subject, one.lacks) for one in unread] == [(where, "R1", "line")]


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"locale": 7}, "$.order.locale"), ({"delivery": {"country": 7}}, "$.order.delivery.country"),
        ({"cancelled_at": "soon"}, "$.order.cancelled_at"), ({"status_changed_at": "soon"}, "$.order.status_changed_at"),
        ({"tags": [[]]}, "$.order.tags[0]"), ({"items": [{"ref": "a", "ordered": 1, "name": 7}]}, "$.order.items[0].name"),
        ({"items": [{"ref": "a", "ordered": 1, "in_stock": 7}]}, "$.order.items[0].in_stock"),
        ({"fulfilments": [{"ref": "F", "shipped_at": "soon"}]}, "$.order.fulfilments[0].shipped_at"),
        ({"fulfilments": [{"ref": "F", "service": 7}]}, "$.order.fulfilments[0].service"),
        ({"fulfilments": [{"ref": "F", "status": 7}]}, "$.order.fulfilments[0].status"),
        ({"fulfilments": [{"ref": "F", "tracking": [{"number": "X1", "carrier": 7}]}]}, "$.order.fulfilments[0].tracking[0].carrier"),
    ],
)  # fmt: skip
def test_a_detail_that_cannot_be_read_is_left_out_and_told(make, broken, where) -> None:
    order, unread = told(shop(make)[0], **broken)

    assert not order.partial
    assert [(one.where, one.subject, one.lacks) for one in unread] == [(where, "R1", "")]


def test_an_odd_piece_takes_nothing_from_its_neighbours(make) -> None:
    lines = [{"ref": "a", "ordered": 1}, {"ref": None, "ordered": 1}, {"ref": "c", "ordered": 3}]
    parts = [{"ref": f"F{i}", "tracking": [{"number": f"X{i}"}]} for i in range(3)]
    parts[1]["ref"] = []
    parts[2]["tracking"] += [7, {"number": "X9"}]
    order, unread = told(shop(make)[0], items=lines, fulfilments=parts)

    assert [item.ref for item in order.items] == ["a", "c"]
    assert [(f.ref, [p.number for p in f.parcels]) for f in order.fulfilments] == [("F0", ["X0"]), ("F2", ["X2", "X9"])]
    assert [one.where for one in unread] == [
        "$.order.items[1].ref", "$.order.fulfilments[1].ref", "$.order.fulfilments[2].tracking[1]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [{"order": 7}, {"order": {"number": "#1"}}, {"orders": None}, {"orders": [7, {}]}, {"checkouts": {}}, {"other": 1}],
)
def test_a_payload_of_which_nothing_can_be_told_is_a_bad_payload(make, body) -> None:
    source, _ = shop(make)
    with pytest.raises(BadPayload):
        source.normalize(Payload("s", "read", (json.dumps(body).encode(),), AT))


def test_a_checkout_that_cannot_be_read_is_no_order(make) -> None:
    source, _ = shop(make)
    rows = [
        {"ref": "C1", "began_at": "soon"},
        {"ref": "C2", "began_at": "2026-11-02T08:00:00Z", "updated_at": "2026-11-02T08:00:00Z"},
    ]

    unread, left = sorted(
        source.normalize(Payload("s", "sweep", (json.dumps({"checkouts": rows}).encode(),), AT)), key=str
    )[::-1]

    assert left.ref == "C2"
    assert unread == Unread("$.checkouts[0].began_at", "is no ISO 8601 date and time: 'soon'", lacks="nothing")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"type": "order.updated", "data": {"order": "R1"}}, ChangeNotice("R1")), ({"data": {"order": 7}}, ChangeNotice("7")),
        ({"type": "stock.changed", "data": {"order": "R1"}}, ChangeNotice("R1")),
        ({"type": "stock.changed", "data": {}}, Unread("$.type", "a hook of the type 'stock.changed' names no order", lacks="nothing")),
        ({"type": "stock.changed"}, Unread("$.type", "a hook of the type 'stock.changed' names no order", lacks="nothing")),
    ],
)  # fmt: skip
def test_a_hook_hints_at_its_order_and_one_of_another_kind_is_told(make, body, said) -> None:
    source, _ = shop(make)
    assert list(source.normalize(Payload("s", "webhook", (json.dumps(body).encode(),), AT))) == [said]


@pytest.mark.parametrize("body", [{"type": "order.updated"}, {"type": "order.updated", "data": {}}, {}, {"type": 7}])
def test_a_hook_about_an_order_that_names_none_is_a_bad_payload(make, body) -> None:
    source, _ = shop(make)
    with pytest.raises(BadPayload):
        source.normalize(Payload("s", "webhook", (json.dumps(body).encode(),), AT))


# the signature; the vector is the published one of standard-webhooks (libraries/python/tests @ b2fa7b8719fb)


BODY = b'{"test": 2432232314}'
SIGNED = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,bm9ldHUjKzFob2VudXRob2VodWUzMjRvdWVvdW9ldQo= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}  # fmt: skip
SIGNED_AT = datetime.fromtimestamp(1614265330, UTC)


def test_the_published_vector_verifies_within_five_minutes_and_no_other_body_does(make) -> None:
    source, _ = shop(make, webhook_secrets=["old", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])

    source.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED))
    assert source.dedupe_key(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED)) == SIGNED["webhook-id"]
    for body, at, headers in (
        (BODY + b" ", SIGNED_AT, SIGNED),
        (BODY, SIGNED_AT + timedelta(minutes=6), SIGNED),
        (BODY, SIGNED_AT - timedelta(minutes=6), SIGNED),
        (BODY, SIGNED_AT, {**SIGNED, "webhook-timestamp": "soon"}),
        (BODY, SIGNED_AT, {**SIGNED, "webhook-timestamp": "9" * 11}),
        (BODY, SIGNED_AT, {**SIGNED, "webhook-timestamp": "9" * 12}),
        (BODY, SIGNED_AT, {**SIGNED, "webhook-id": "other"}),
        (BODY, SIGNED_AT, {**SIGNED, "webhook-signature": "v1"}),
    ):
        with pytest.raises(WebhookRejected):
            source.verify(Payload("s", "webhook", (body,), at, headers))


def test_a_broken_whsec_secret_verifies_nothing(make) -> None:
    source, _ = shop(make, webhook_secrets=["whsec_***"])

    assert whsec_key(source.settings.webhook_secrets[0]) == b""
    with pytest.raises(WebhookRejected, match="empty secret"):
        source.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED))
