"""Shopify: conformance, signature vectors, what a webhook says, judging, writing and tokens."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest

from tests.plugins.shopify import GID, SHOP, T0, URL, odd, shop
from tests.plugins.signing import digest
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
    WebhookRejected,
)
from tracker.domain.facts import Action, ChangeNotice, Order, Payload, Place, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, Reason, ShippingStatus
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_platform

TestConformance = for_platform("adapters.shopify", fixtures=Path(__file__).parents[1] / "fixtures" / "shopify")


def signed(body: bytes) -> dict[str, str]:
    return {"x-shopify-hmac-sha256": base64.b64encode(digest(body)).decode()}


# the vector is computed by the rule of shopify.dev (base64 of HMAC-SHA256 over the raw body); secret invented
SIGNED = b'{"id":820982911946154508,"admin_graphql_api_id":"gid://shopify/Order/820982911946154508","name":"#9999","note":"caf\xc3\xa9 / \xc3\xbcber"}'
SIGNATURE = "q1701ed8L7IoqVwB1MZQO22ZgK2w/S7hduR8JE0fYzo="


def test_the_signature_vector_verifies_and_a_reserialised_body_does_not(make) -> None:
    source, _ = shop(make, webhook_secrets=["new", "invented-shopify-client-secret"])
    headers = {"x-shopify-hmac-sha256": SIGNATURE, "x-shopify-webhook-id": "w1"}

    source.verify(Payload("s", "webhook", (SIGNED,), AT, headers))
    with pytest.raises(WebhookRejected):
        source.verify(Payload("s", "webhook", (json.dumps(json.loads(SIGNED)).encode(),), AT, headers))
    assert source.dedupe_key(Payload("s", "webhook", (SIGNED,), AT, headers)) == "w1"


# answers that are none


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (402, {"errors": "Unavailable Shop"}, Unavailable, "HTTP 402: Unavailable Shop"),
        (423, {"errors": "Locked"}, Unavailable, "HTTP 423: Locked"), (430, {}, Unavailable, "HTTP 430: shut out for a while"),
        (402, None, Unavailable, "HTTP 402: frozen or unpaid"), (404, {"errors": "Not Found"}, Unavailable, "HTTP 404: Not Found"),
        (404, None, Unavailable, "HTTP 404: no shop"), (403, {"errors": "x"}, CredentialsRejected, "HTTP 403"),
        (200, {"errors": "Unavailable Shop"}, Unavailable, "GraphQL error: Unavailable Shop"),
        (200, odd(), Transient, "GraphQL error: Internal error. Looks like"), (200, odd("SHOP_INACTIVE", "no"), Unavailable, "SHOP_INACTIVE: no"),
        (200, odd("undefinedField", "no"), Refused, "undefinedField: no"), (200, {"errors": {"query": "Required"}}, Unavailable, "GraphQL error"),
        (200, {"errors": ["text"]}, Unavailable, "GraphQL error"), (200, {"errors": [{"message": "x", "extensions": 7}]}, Transient, "x"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_judged_by_what_a_person_should_read(make, status, body, error, said) -> None:
    source, _ = shop(make)
    with pytest.raises(error, match=said):
        source.raise_for_status(Response(status, {}, b"" if body is None else json.dumps(body).encode(), AT))


def test_an_answer_that_mentions_errors_and_cannot_be_read_is_no_answer_to_judge(make) -> None:
    shop(make)[0].raise_for_status(Response(200, {}, b'{"errors"', AT))


ACTION = Action(
    "fulfilment_event", "k", "s", "gid://shopify/Order/1", "gid://shopify/Fulfillment/9", ShippingStatus.DELIVERED,
    Reason.DELIVERED, T0, Place("Austin", "TX", "78701", "US"), None,
)  # fmt: skip


ORDER = Order("s", "gid://shopify/Order/1", "#1", OrderStatus.SHIPPED, "FULFILLED", PaymentStatus.PAID, "PAID", T0, T0)


# writes, what they cost, and tokens


def events(*nodes: dict) -> dict:
    return {"data": {"fulfillment": {"id": "f", "status": "SUCCESS", "events": {"nodes": list(nodes)}}}}


def test_a_push_looks_before_it_writes(outside, make) -> None:
    there = {"id": "e1", "status": "DELIVERED", "happenedAt": "2026-11-02T08:02:00Z"}
    asked = outside.post(URL).respond(
        json=events({"id": "e0", "status": "IN_TRANSIT", "happenedAt": "2026-11-02T08:00:00Z"}, there)
    )
    source, client = shop(make)

    receipt = source.push(client, ACTION, ORDER)

    assert (receipt.ref, receipt.already_there) == ("e1", True)
    assert asked.call_count == 1


def test_a_push_writes_the_event_with_place_and_time(outside, make) -> None:
    made = {"fulfillmentEventCreate": {"fulfillmentEvent": {"id": "e2", "status": "DELIVERED"}, "userErrors": []}}
    old = {"id": "e1", "status": "DELIVERED", "happenedAt": "2026-11-01T08:02:00Z"}
    answers = iter([events(old), {"data": made}])
    asked = outside.post(URL).mock(side_effect=lambda _: httpx.Response(200, json=next(answers)))
    source, client = shop(make)

    receipt = source.push(client, ACTION, ORDER)

    assert (receipt.ref, receipt.already_there) == ("e2", False)
    assert json.loads(asked.calls[1].request.content)["variables"]["e"] == {
        "fulfillmentId": "gid://shopify/Fulfillment/9", "status": "DELIVERED", "happenedAt": "2026-11-02T08:00:00Z",
        "message": "Delivered; nothing finer is told.", "city": "Austin", "province": "TX", "country": "US", "zip": "78701",
    }  # fmt: skip


def test_a_user_error_is_final(outside, make) -> None:
    refusal = {"fulfillmentEventCreate": {"fulfillmentEvent": None, "userErrors": [{"field": [], "message": "no"}]}}
    answers = iter([events(), {"data": refusal}])
    outside.post(URL).mock(side_effect=lambda _: httpx.Response(200, json=next(answers)))
    source, client = shop(make)

    with pytest.raises(Refused, match="no"):
        source.push(client, ACTION, ORDER)


def test_a_fulfilment_that_is_gone_cannot_be_written(outside, make) -> None:
    outside.post(URL).respond(json={"data": {"fulfillment": None}})
    source, client = shop(make)

    with pytest.raises(Transient, match="not there"):
        source.push(client, ACTION, ORDER)


def cost(available: float, rate: float = 50.0) -> dict:
    status = {"maximumAvailable": 1000.0, "currentlyAvailable": available, "restoreRate": rate}
    return {"extensions": {"cost": {"requestedQueryCost": 12, "throttleStatus": status}}}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}], **cost(10)}, RateLimited),
        ({"errors": [{"message": "x", "extensions": {"code": "ACCESS_DENIED"}}]}, CredentialsRejected),
        ({"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}, Transient),
        ({"errors": [{"message": "syntax", "extensions": {"code": "undefinedField"}}]}, Refused),
    ],
)
def test_errors_inside_http_200_are_judged(make, body: dict, error: type[Exception]) -> None:
    source, _ = shop(make)

    with pytest.raises(error):
        source.raise_for_status(Response(200, {}, json.dumps(body).encode(), AT))


def test_an_empty_list_of_errors_is_no_error(make) -> None:
    source, _ = shop(make)

    source.raise_for_status(Response(200, {}, b'{"errors": [], "data": {}}', AT))


@pytest.mark.parametrize("body", [cost(10), cost(1000), {"extensions": {"cost": {"throttleStatus": {}}}}, {}])
def test_no_answer_but_a_throttled_one_lets_the_account_rest_as_each_operation_waits_by_itself(
    make, body: dict
) -> None:
    source, _ = shop(make)

    assert source.throttle_delay(Response(200, {}, json.dumps(body).encode(), AT)) is None


def test_client_credentials_are_exchanged_for_a_token(outside, make) -> None:
    grant = outside.post(f"https://{SHOP}/admin/oauth/access_token").respond(
        json={"access_token": "t", "expires_in": 86399}
    )
    asked = outside.post(URL).respond(json={"data": {"shop": {"name": "x"}}})
    source, client = shop(make, access_token=None, client_id="id", client_secret="secret", refresh_token=None)

    source.ping(client)

    assert json.loads(grant.calls[0].request.content)["grant_type"] == "client_credentials"
    assert asked.calls[0].request.headers["x-shopify-access-token"] == "t"


class Vault:
    def __init__(self) -> None:
        self.value: str | None = None

    def load(self) -> str | None:
        return self.value

    def store(self, value: str) -> None:
        self.value = value


def test_a_refresh_token_rotates_and_is_stored_before_it_is_used(outside, make) -> None:
    import httpx

    tokens = iter(["r1", "r2"])
    grant = outside.post(f"https://{SHOP}/admin/oauth/access_token").mock(
        side_effect=lambda _: httpx.Response(
            200, json={"access_token": "t", "expires_in": 0, "refresh_token": next(tokens)}
        )
    )
    outside.post(URL).respond(json={"data": {"shop": {"name": "x"}}})
    source, client = shop(make, access_token=None, client_id="id", client_secret="secret", refresh_token="first")
    client.vault = Vault()

    source.ping(client)
    assert client.vault.value == "r1"
    source.ping(client)  # it ended: one more rotation

    sent = [json.loads(c.request.content) for c in grant.calls]
    assert [(s["grant_type"], s["refresh_token"]) for s in sent] == [
        ("refresh_token", "first"),
        ("refresh_token", "r1"),
    ]
    assert client.vault.value == "r2"


def test_without_any_credentials_it_says_so(make) -> None:
    source, client = shop(make, access_token=None, client_id=None, client_secret=None)

    with pytest.raises(CredentialsRejected, match="neither"):
        source.ping(client)


def test_words_can_be_changed_and_taken_away(make) -> None:
    source, _ = shop(make, words={"returning": "IN_TRANSIT", "pre_transit": None})

    assert source.status_map()[ShippingStatus.RETURNING] == "IN_TRANSIT"
    assert ShippingStatus.PRE_TRANSIT not in source.status_map()


def heard(make, topic: str, body: dict) -> list:
    headers = {"x-shopify-topic": topic} if topic else {}
    return list(shop(make)[0].normalize(Payload("s", "webhook", (json.dumps(body).encode(),), AT, headers)))


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("orders/updated", {"id": 1001}), ("Orders/Create ", {"id": "1001"}), ("orders/edited", {"order_edit": {"id": 7, "order_id": 1001}}),
        ("orders/risk_assessment_changed", {"order_id": 1001, "id": 7}), ("fulfillments/update", {"id": 7, "order_id": 1001}),
        ("fulfillment_events/create", {"id": 7, "order_id": 1001}), ("refunds/create", {"id": 7, "order_id": 1001}),
        ("returns/approve", {"id": 7, "order": {"id": 1001}}), ("returns/update", {"id": 7, "order": {"id": "gid://shopify/Order/1001"}}),
        ("returns/close", {"id": 7, "order_id": 1001}), ("order_transactions/create", {"id": 7, "order_id": 1001}),
        ("disputes/create", {"id": 7, "order_id": 1001}), ("something/new", {"id": 7, "order": {"id": 1001}}),
        ("fulfillment_orders/moved", {"fulfillment_order": {"id": 7, "order_id": 1001}}),
        ("", {"order_edit": {"id": 7, "order_id": 1001}}), ("", {"id": 7, "order_id": 1001}), ("", {"id": 7, "order": {"id": 1001}}), ("", {"id": 1001}),
    ],
)  # fmt: skip
def test_the_topic_says_where_a_webhook_names_its_order(make, topic, body) -> None:
    assert heard(make, topic, body) == [ChangeNotice(f"{GID}1001")]


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("", {"id": True}), ("", {"id": "abc"}), ("", {}), ("", {"order_id": "1; DROP"}), ("", {"id": -5}), ("", {"id": "gid://shopify/Order/1/../2"}),
        ("orders/updated", {"id": None}), ("orders/edited", {"id": 7, "order_edit": {}}), ("fulfillments/create", {"id": 7}),
        ("refunds/create", {"id": 7}), ("returns/request", {"id": 7, "order": []}),
    ],
)  # fmt: skip
def test_a_webhook_about_an_order_that_names_none_is_a_bad_payload(make, topic, body) -> None:
    with pytest.raises(BadPayload, match="names no order"):
        heard(make, topic, body)


@pytest.mark.parametrize(
    "topic",
    ["app/uninstalled", "shop/update", "bulk_operations/finish", "fulfillment_holds/added", "draft_orders/create"],
)
def test_a_webhook_of_another_topic_is_told_and_its_own_id_is_no_order(make, topic) -> None:
    assert heard(make, topic, {"id": 7}) == [
        Unread("$", f"a webhook of the topic {topic!r} names no order", lacks="nothing")
    ]


def test_what_is_no_fulfilment_event_is_refused_before_any_call(make) -> None:
    source, client = shop(make)
    with pytest.raises(Refused, match="fulfilment events, metafields, tags and notes"):
        source.push(client, Action("order_status", "k", "s", "gid://shopify/Order/1"), ORDER)


def test_the_version_of_an_answer_is_compared_with_the_one_that_was_asked_for(make) -> None:
    source, _ = shop(make)

    assert (source.odd({}), source.odd({"x-shopify-api-version": "2026-04"})) == (None, "")
    assert source.odd({"x-shopify-api-version": "2026-07"}).startswith("2026-04 was asked for, and '2026-07' came")
