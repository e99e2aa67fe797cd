"""The order API: conformance, words, signatures, requests that its published document allows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jsonschema
import pytest
import yaml

from adapters.rest import KARTROCKET, KINGSTON
from tracker.domain.errors import BadPayload, Refused, WebhookRejected
from tracker.domain.facts import Action, Order, Parcel, Payload, Place, Refs, Since
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, Reason, ShippingStatus
from tracker.plugin.conformance import AT, for_platform
from tracker.plugin.signatures import whsec_key

FIXTURES = Path(__file__).parents[1] / "fixtures" / "rest"
DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "order-api.openapi.yaml").read_text(encoding="utf-8"))
TestConformance = for_platform("adapters.rest", fixtures=FIXTURES)
BASE = "https://shop.example/api"
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
BEFORE = Order("s", "R/1", "#1", OrderStatus.PROCESSING, "Processing", PaymentStatus.PAID, "paid", T0, T0)
ACTION = Action(
    "order_status", "s/R/1/status/shipped/1", "s", "R/1", status=ShippingStatus.DELIVERY_ATTEMPTED, reason=Reason.NOTICE_LEFT,
    happened_at=T0, place=Place("Austin", "TX", "", "US"), edd=T0 + timedelta(days=1), target=OrderStatus.SHIPPED,
    parcels=(Parcel("ups", "1Z", "UPS"),),
)  # fmt: skip


def shop(make, **more):
    return make("adapters.rest", **{"base_url": BASE, "words": "kingston", **more})


def schema(name: str) -> dict:
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def order_row(**more) -> dict:
    row = {
        "ref": "R1",
        "number": "#1",
        "status": "Processing",
        "placed_at": "2026-11-01T08:00:00Z",
        "updated_at": "2026-11-02T08:00:00Z",
    }
    return {**row, **more}


def read(source, **more) -> Order:
    body = json.dumps({"order": order_row(**more)}).encode()
    (order,) = source.normalize(Payload("s", "read", (body,), AT))
    return order


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
    assert source.order_words()[OrderStatus.SHIPPED] == "Versandt"
    assert OrderStatus.CANCELLED not in source.order_words()
    assert source.words() == {}


def test_a_shop_that_names_no_list_speaks_ours(make) -> None:
    source, _ = shop(make, words=None)

    assert source.order_words()[OrderStatus.DELIVERED] == "delivered"
    assert {s for s, _, _ in KINGSTON.values()} <= set(OrderStatus)
    assert {s for s, _, _ in KARTROCKET.values()} <= set(OrderStatus)


def test_a_cancelled_order_was_cancelled_when_its_status_changed(make) -> None:
    source, _ = shop(make)

    assert read(source, status="Cancelled", status_changed_at="2026-11-02T09:00:00Z").cancelled_at == T0 + timedelta(
        hours=1
    )


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"placed_at": "2026-11-01T08:00:00"}, "$.order.placed_at"),
        ({"items": [{"ref": "a", "ordered": -1}]}, "$.order.items[0].ordered"),
        ({"items": [{"ref": "a", "ordered": True}]}, "$.order.items[0].ordered"),
        ({"fulfilments": [{"ref": "F", "items": [{"ref": "a", "quantity": 1.5}]}]}, "$.order.fulfilments[0].items[0].quantity"),
        ({"payment": []}, "$.order.payment"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_by_its_path(make, broken, where) -> None:
    source, _ = shop(make)
    with pytest.raises(BadPayload) as caught:
        read(source, **broken)

    assert caught.value.where == where


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


# requests


def test_a_sweep_reads_orders_then_checkouts_and_goes_on_with_an_overlap(world, make) -> None:
    orders = iter([
        {"orders": [order_row()], "next": "2", "total": 2}, {"orders": [order_row(updated_at="2026-11-02T10:00:00+01:00")], "next": None},
    ])  # fmt: skip
    asked = world.get(f"{BASE}/orders").mock(side_effect=lambda _: httpx.Response(200, json=next(orders)))
    left = world.get(f"{BASE}/checkouts").respond(
        json={"checkouts": [{"updated_at": "2026-11-02T08:30:00Z"}], "total": True}
    )
    source, client = shop(make)

    pages = list(source.fetch(client, Since("2026-11-02T08:00:00+00:00||", open_only=True)))

    assert [c.request.url.params.get("cursor") for c in asked.calls] == [None, "2"]
    assert {c.request.url.params["updated_since"] for c in asked.calls} == {"2026-11-02T07:50:00+00:00"}
    assert left.calls[0].request.url.params["open"] == "true"
    assert [p.next_cursor for p in pages] == [
        "2026-11-02T08:00:00+00:00|orders|2", "2026-11-02T08:00:00+00:00|checkouts|", "2026-11-02T09:00:00+00:00||",
    ]  # fmt: skip
    assert (pages[0].total, pages[2].total) == (2, None)


def test_a_sweep_that_was_cut_goes_on_where_it_was(world, make) -> None:
    left = world.get(f"{BASE}/checkouts").respond(json={"checkouts": [], "next": None})
    source, client = shop(make)

    (page,) = source.fetch(client, Since("2026-11-02T08:00:00+00:00|checkouts|3"))

    assert left.calls[0].request.url.params["cursor"] == "3"
    assert page.next_cursor == "2026-11-02T08:00:00+00:00||"


def test_orders_are_read_one_by_one_and_one_that_is_gone_hides_nobody(world, make) -> None:
    world.get(f"{BASE}/orders/gone").respond(404)
    world.get(f"{BASE}/orders/R%2F1").respond(json={"order": order_row()})
    source, client = shop(make)

    assert len(list(source.fetch(client, Refs(("gone", "R/1"))))) == 1


def test_a_status_is_set_once_with_what_the_document_allows(world, make) -> None:
    asked = world.put(f"{BASE}/orders/R%2F1/status").respond(json={"order": order_row(status="Dispatched/Shipped")})
    source, client = shop(make)

    receipt = source.push(client, ACTION, BEFORE)

    body = json.loads(asked.calls[0].request.content)
    jsonschema.validate(body, schema("SetStatus"))
    assert body == {
        "status": "Dispatched/Shipped", "from": "Processing", "key": ACTION.key, "happened_at": "2026-11-02T08:00:00+00:00",
        "reason": Reason.NOTICE_LEFT.sentence, "place": "Austin, TX, US", "tracking": [{"carrier": "ups", "number": "1Z"}],
        "estimated_delivery_at": "2026-11-03T08:00:00+00:00",
    }  # fmt: skip
    assert asked.calls[0].request.headers["authorization"].startswith("Bearer ")
    assert (receipt.ref, receipt.already_there, receipt.proof) == ("R1", False, "Dispatched/Shipped")


def test_a_status_that_stands_there_is_not_written_again(make) -> None:
    source, client = shop(make)
    there = Order("s", "R/1", "#1", OrderStatus.SHIPPED, "Dispatched/Shipped", PaymentStatus.PAID, "paid", T0, T0)

    assert source.push(client, ACTION, there).already_there


def test_a_note_is_attached(world, make) -> None:
    asked = world.post(f"{BASE}/orders/R%2F1/notes").respond(201, json={"id": "N1"})
    source, client = shop(make)

    receipt = source.push(client, Action("order_note", "k", "s", "R/1", text="fragile"), BEFORE)

    assert json.loads(asked.calls[0].request.content) == {"text": "fragile", "key": "k"}
    assert receipt.ref == "N1"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(409, json={"error": {"code": "final", "message": "no"}}), "final: no"),
        (httpx.Response(422, json={"error": "x"}), "HTTP 422"),
        (httpx.Response(400, text="nginx"), "HTTP 400"),
    ],
)
def test_a_refusal_is_told_in_the_shops_words(world, make, answer, said) -> None:
    world.put(f"{BASE}/orders/R%2F1/status").mock(return_value=answer)
    source, client = shop(make)

    with pytest.raises(Refused, match=said):
        source.push(client, ACTION, BEFORE)


def test_a_ping_asks_whether_the_token_is_known(world, make) -> None:
    asked = world.get(f"{BASE}/ping").respond(json={})
    source, client = shop(make)
    source.ping(client)

    assert asked.called


def test_the_fixtures_and_the_sandbox_speak_the_published_document() -> None:
    from tracker.clock import PlayClock
    from tracker.sandbox.shops import RestServer

    jsonschema.validate(
        json.loads((FIXTURES / "order.read.json").read_text(encoding="utf-8"))["order"] | {"tags": []}, schema("Order")
    )
    server = RestServer("shop", PlayClock(T0), token="t", secret="s", words="kingston")
    server.place("#1", T0, status="Processing", items=[{"ref": "a", "ordered": 1, "cancelled": 0, "refunded": 0}])
    server.ship("#1", T0, [{"company": "UPS", "number": "1Z"}], items={})
    server.checkout("C1", contact=False, recovered=False)
    jsonschema.validate(server.orders["#1"], schema("Order"))
    jsonschema.validate(server.checkouts["C1"], schema("Checkout"))
