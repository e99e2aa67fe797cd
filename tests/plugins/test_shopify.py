"""Shopify: conformance, signature vectors, requests, and what is its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tracker.domain.errors import BadPayload, CredentialsRejected, RateLimited, Refused, Transient, WebhookRejected
from tracker.domain.facts import Action, Order, Payload, Place, Refs, Since
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, Reason, ShippingStatus
from tracker.plugin.conformance import AT, for_platform
from tracker.plugin.contracts import Answer

TestConformance = for_platform("adapters.shopify", fixtures=Path(__file__).parents[1] / "fixtures" / "shopify")
SHOP = "acme.myshopify.com"
URL = f"https://{SHOP}/admin/api/2026-04/graphql.json"
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
ORDER = Order("s", "gid://shopify/Order/1", "#1", OrderStatus.SHIPPED, "FULFILLED", PaymentStatus.PAID, "PAID", T0, T0)
ACTION = Action(
    "fulfilment_event", "k", "s", "gid://shopify/Order/1", "gid://shopify/Fulfillment/9", ShippingStatus.DELIVERED,
    Reason.DELIVERED, T0, Place("Austin", "TX", "78701", "US"), None,
)  # fmt: skip


def shop(make, **more):
    return make("adapters.shopify", shop=SHOP, **more)


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


def page(nodes: list[dict], *, more: bool = False, cursor: str | None = "c1") -> dict:
    return {"data": {"orders": {"pageInfo": {"hasNextPage": more, "endCursor": cursor}, "nodes": nodes}}}


def test_a_sweep_goes_on_from_the_newest_change_with_an_overlap(world, make) -> None:
    pages = iter(
        [page([{"updatedAt": "2026-11-02T09:00:00Z"}], more=True), page([{"updatedAt": "2026-11-02T10:00:00Z"}])]
    )
    asked = world.post(URL).mock(side_effect=lambda _: __import__("httpx").Response(200, json=next(pages)))
    source, client = shop(make)

    found = list(source.fetch(client, Since("2026-11-02T08:00:00+00:00|")))

    variables = [json.loads(c.request.content)["variables"] for c in asked.calls]
    assert variables[0]["q"] == "updated_at:>='2026-11-02T07:50:00Z'"
    assert (variables[0]["after"], variables[1]["after"]) == (None, "c1")
    assert [p.next_cursor for p in found] == ["2026-11-02T08:00:00+00:00|c1", "2026-11-02T10:00:00+00:00|"]
    assert asked.calls[0].request.headers["x-shopify-access-token"] == "canary-access_token"


def test_a_first_sync_reads_open_orders_and_resumes_at_its_page(world, make) -> None:
    asked = world.post(URL).respond(json=page([], cursor=None))
    source, client = shop(make)

    (only,) = source.fetch(client, Since("|c7", open_only=True))

    variables = json.loads(asked.calls[0].request.content)["variables"]
    assert (variables["q"], variables["after"]) == ("status:open", "c7")
    assert only.next_cursor == "|"


def test_orders_are_read_fifty_at_a_time(world, make) -> None:
    asked = world.post(URL).respond(json={"data": {"nodes": []}})
    source, client = shop(make)

    assert len(list(source.fetch(client, Refs(tuple(f"gid://{i}" for i in range(51)))))) == 2
    assert len(json.loads(asked.calls[0].request.content)["variables"]["ids"]) == 50


def events(*nodes: dict) -> dict:
    return {"data": {"fulfillment": {"id": "f", "status": "SUCCESS", "events": {"nodes": list(nodes)}}}}


def test_a_push_looks_before_it_writes(world, make) -> None:
    there = {"id": "e1", "status": "DELIVERED", "happenedAt": "2026-11-02T08:02:00Z"}
    asked = world.post(URL).respond(
        json=events({"id": "e0", "status": "IN_TRANSIT", "happenedAt": "2026-11-02T08:00:00Z"}, there)
    )
    source, client = shop(make)

    receipt = source.push(client, ACTION, ORDER)

    assert (receipt.ref, receipt.already_there) == ("e1", True)
    assert asked.call_count == 1


def test_a_push_writes_the_event_with_place_and_time(world, make) -> None:
    made = {"fulfillmentEventCreate": {"fulfillmentEvent": {"id": "e2", "status": "DELIVERED"}, "userErrors": []}}
    old = {"id": "e1", "status": "DELIVERED", "happenedAt": "2026-11-01T08:02:00Z"}
    answers = iter([events(old), {"data": made}])
    asked = world.post(URL).mock(side_effect=lambda _: __import__("httpx").Response(200, json=next(answers)))
    source, client = shop(make)

    receipt = source.push(client, ACTION, ORDER)

    assert (receipt.ref, receipt.already_there) == ("e2", False)
    assert json.loads(asked.calls[1].request.content)["variables"]["e"] == {
        "fulfillmentId": "gid://shopify/Fulfillment/9", "status": "DELIVERED", "happenedAt": "2026-11-02T08:00:00Z",
        "message": "Delivered; nothing finer is told.", "city": "Austin", "province": "TX", "country": "US", "zip": "78701",
    }  # fmt: skip


def test_a_user_error_is_final(world, make) -> None:
    refusal = {"fulfillmentEventCreate": {"fulfillmentEvent": None, "userErrors": [{"field": [], "message": "no"}]}}
    answers = iter([events(), {"data": refusal}])
    world.post(URL).mock(side_effect=lambda _: __import__("httpx").Response(200, json=next(answers)))
    source, client = shop(make)

    with pytest.raises(Refused, match="no"):
        source.push(client, ACTION, ORDER)


def test_a_fulfilment_that_is_gone_cannot_be_written(world, make) -> None:
    world.post(URL).respond(json={"data": {"fulfillment": None}})
    source, client = shop(make)

    with pytest.raises(BadPayload, match="fulfillment"):
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
        ({"errors": [{"message": "syntax"}]}, Refused),
        ({"errors": ["text"]}, Refused),
    ],
)
def test_errors_inside_http_200_are_judged(make, body: dict, error: type[Exception]) -> None:
    source, _ = shop(make)

    with pytest.raises(error):
        source.judge(Answer(200, {}, json.dumps(body).encode(), AT))


def test_an_empty_list_of_errors_is_no_error(make) -> None:
    source, _ = shop(make)

    source.judge(Answer(200, {}, b'{"errors": [], "data": {}}', AT))


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        (cost(10), timedelta(seconds=1)),
        (cost(60), None),
        (cost(1000), None),
        (cost(0, 0.0), None),
        ({"extensions": {"cost": {"throttleStatus": {}}}}, None),
        ({}, None),
    ],
)
def test_the_account_rests_until_its_bucket_holds_the_largest_call(make, body: dict, rest: timedelta | None) -> None:
    source, _ = shop(make)

    assert source.pace(Answer(200, {}, json.dumps(body).encode(), AT)) == rest


def test_client_credentials_are_exchanged_for_a_token(world, make) -> None:
    grant = world.post(f"https://{SHOP}/admin/oauth/access_token").respond(
        json={"access_token": "t", "expires_in": 86399}
    )
    asked = world.post(URL).respond(json={"data": {"shop": {"name": "x"}}})
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


def test_a_refresh_token_rotates_and_is_stored_before_it_is_used(world, make) -> None:
    import httpx

    tokens = iter(["r1", "r2"])
    grant = world.post(f"https://{SHOP}/admin/oauth/access_token").mock(
        side_effect=lambda _: httpx.Response(
            200, json={"access_token": "t", "expires_in": 60, "refresh_token": next(tokens)}
        )
    )
    world.post(URL).respond(json={"data": {"shop": {"name": "x"}}})
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

    assert source.words()[ShippingStatus.RETURNING] == "IN_TRANSIT"
    assert ShippingStatus.PRE_TRANSIT not in source.words()


@pytest.mark.parametrize("body", [{"id": True}, {"id": "abc"}, {}, {"order_id": "1; DROP"}])
def test_a_webhook_that_names_no_order_is_a_bad_payload(make, body: dict) -> None:
    source, _ = shop(make)

    with pytest.raises(BadPayload, match=r"\$\.id"):
        list(source.normalize(Payload("s", "webhook", (json.dumps(body).encode(),), AT, {})))


def test_what_is_no_fulfilment_event_is_refused_before_any_call(make) -> None:
    source, client = shop(make)
    with pytest.raises(Refused, match="fulfilment events only"):
        source.push(client, Action("order_note", "k", "s", "gid://shopify/Order/1", text="x"), ORDER)
