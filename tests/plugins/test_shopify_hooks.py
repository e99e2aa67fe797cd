"""Shopify's webhooks: which are wanted, listed page by page, made, mended; scopes; and whose a signed one is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import httpx
import pytest

from adapters.shopify import hooks
from tests.plugins.shopify import T0, URL, shop
from tracker.domain.errors import BadPayload, CredentialsRejected, Refused, Transient, Unavailable, WebhookRejected
from tracker.domain.facts import Action, ChangeNotice, Order, Payload
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin.hooks import Hook

SECRET = "invented-shopify-client-secret"
OURS = "https://t.example/webhooks/shop"


def signed(body: dict, **headers: str) -> Payload:
    raw = json.dumps(body).encode()
    proof = base64.b64encode(hmac.new(SECRET.encode(), raw, hashlib.sha256).digest()).decode()
    return Payload("s", "webhook", (raw,), T0, {"x-shopify-hmac-sha256": proof, **headers})


def asked(outside, *bodies: dict):
    answers = iter(bodies)
    return outside.post(URL).mock(side_effect=lambda _: httpx.Response(200, json=next(answers)))


def variables(call) -> dict:
    return json.loads(call.request.content)["variables"]


def row(number: int, **more) -> dict:
    return {
        "id": f"gid://shopify/WebhookSubscription/{number}", "topic": "ORDERS_UPDATED", "uri": OURS, "format": "JSON",
        "filter": None, "includeFields": ["id", "admin_graphql_api_id"], "apiVersion": {"handle": "2026-04"}, **more,
    }  # fmt: skip


def listed(*rows: dict, more: str | None = None) -> dict:
    info = {"hasNextPage": more is not None, "endCursor": more}
    return {"data": {"webhookSubscriptions": {"pageInfo": info, "nodes": list(rows)}}}


def made(name: str, *problems: str, ref: str | None = "gid://shopify/WebhookSubscription/9") -> dict:
    errors = [{"field": None, "message": said} for said in problems]
    return {"data": {name: {"webhookSubscription": {"id": ref} if ref else None, "userErrors": errors}}}


def test_each_topic_that_tells_of_an_order_is_wanted_with_its_ids_only(make) -> None:
    source, _ = shop(make)
    wanted = {hook.topic: hook for hook in source.hooks_wanted(OURS)}

    assert set(wanted) == set(hooks.TOPICS)
    assert wanted["ORDERS_UPDATED"] == Hook("ORDERS_UPDATED", OURS, fields=("admin_graphql_api_id", "id"))
    assert all(
        {"id", "admin_graphql_api_id", "order_id"} >= set(hook.fields) for hook in wanted.values()
    )  # no name, no street


def test_what_is_sent_by_a_hook_as_we_make_it_names_its_order(make) -> None:
    source, _ = shop(make)
    bodies = {"ORDERS_EDITED": {"order_edit": {"id": 5, "order_id": 7}}, "ORDERS_DELETE": {"id": 7}}
    of_parts = {"id": 5, "order_id": 7}
    for topic, fields in hooks.TOPICS.items():
        body = bodies.get(topic) or (
            of_parts if "order_id" in fields else {"id": 7, "admin_graphql_api_id": "gid://shopify/Order/7"}
        )
        name = topic.lower()
        for whole in ("fulfillment_events", "fulfillments", "orders", "refunds"):
            if name.startswith(f"{whole}_"):
                name = f"{whole}/{name.removeprefix(f'{whole}_')}"
                break
        payload = signed(body, **{"x-shopify-topic": name})
        assert list(source.normalize(payload)) == [ChangeNotice("gid://shopify/Order/7")], topic


def test_hooks_that_the_apps_toml_states_are_not_made_and_http_is_refused(make) -> None:
    source, _ = shop(make, hooks="app")
    assert source.hooks_wanted(OURS) == ()
    source, _ = shop(make)
    with pytest.raises(Refused, match="https only"):
        source.hooks_wanted("http://t.example/webhooks/shop")


def test_the_list_is_read_to_its_end_with_what_is_odd_about_each(outside, make) -> None:
    calls = asked(outside, listed(row(1), row(2, topic="ORDERS_EDITED", includeFields=None), more="c"),
                  listed(row(3, apiVersion={"handle": "2026-07"}, format="XML", filter="id:*")))  # fmt: skip
    source, client = shop(make)
    one, two, three = source.hooks_there(client)

    assert [variables(call)["after"] for call in calls.calls] == [None, "c"]
    assert (one.topic, one.address, one.fields, one.only, one.odd) == (
        "ORDERS_UPDATED",
        OURS,
        ("id", "admin_graphql_api_id"),
        "",
        "",
    )
    assert two.fields == ()
    assert (three.only, three.odd) == (
        "id:*", "it is sent in version 2026-07, and 2026-04 is read: the app's settings say which; it is sent as XML",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([{"data": {}}], Unavailable),
        ([{"data": {"webhookSubscriptions": {"pageInfo": {}, "nodes": None}}}], Transient),
        ([listed(more="c")] * hooks.MOST_PAGES, Transient),
        (
            [{"data": {"webhookSubscriptions": {"pageInfo": {"hasNextPage": True, "endCursor": None}, "nodes": []}}}],
            BadPayload,
        ),
    ],
)
def test_a_list_that_does_not_come_whole_is_never_an_empty_one(outside, make, answers, error) -> None:
    asked(outside, *answers)
    source, client = shop(make)

    with pytest.raises(error):
        source.hooks_there(client)


def test_a_hook_is_made_and_mended_with_its_fields_and_without_a_filter(outside, make) -> None:
    calls = asked(outside, made("webhookSubscriptionCreate"), made("webhookSubscriptionUpdate"))
    source, client = shop(make)
    hook = Hook("ORDERS_UPDATED", OURS, fields=("id",))

    assert source.make_hook(client, hook) == "gid://shopify/WebhookSubscription/9"
    source.mend_hook(client, Hook("ORDERS_UPDATED", OURS, ref="gid://shopify/WebhookSubscription/9", fields=("id",)))
    said = {"uri": OURS, "format": "JSON", "includeFields": ["id"]}
    assert variables(calls.calls[0]) == {"topic": "ORDERS_UPDATED", "w": said}
    assert variables(calls.calls[1]) == {"id": "gid://shopify/WebhookSubscription/9", "w": {**said, "filter": ""}}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (made("webhookSubscriptionCreate", "Address for this topic has already been taken", ref=None), "already been taken"),
        (
            {
                "data": {"webhookSubscriptionCreate": None},
                "errors": [{"message": "Access denied", "extensions": {"code": "ACCESS_DENIED", "requiredAccess": "`read_fulfillments` access scope."}}],
            },
            "needs `read_fulfillments` access scope.*lacks the scope of this topic",
        ),
    ],
)  # fmt: skip
def test_a_topic_that_is_refused_names_what_it_needs_and_the_others_are_made(outside, make, answer, said) -> None:
    asked(outside, answer)
    source, client = shop(make)

    with pytest.raises(Refused, match=said):
        source.make_hook(client, Hook("FULFILLMENTS_CREATE", OURS))


# scopes


def app(*scopes: str) -> dict:
    return {
        "data": {"shop": {"name": "x"}, "currentAppInstallation": {"accessScopes": [{"handle": one} for one in scopes]}}
    }


def test_an_app_that_may_not_read_orders_is_told_by_the_name_of_the_scope(outside, make) -> None:
    asked(
        outside,
        app("write_products"),
        app(),
        app("write_orders"),
        {"data": {"shop": {"name": "x"}, "currentAppInstallation": None}},
    )
    source, client = shop(make)

    for _ in range(2):
        with pytest.raises(CredentialsRejected, match="the app has not the scope read_orders"):
            source.ping(client)
    source.ping(client)  # who may write them may read them
    source.ping(client)


def test_each_scope_that_is_missing_says_what_is_not_done_without_it(outside, make) -> None:
    full = (
        "read_orders",
        "read_fulfillments",
        "write_fulfillments",
        "write_orders",
        "write_merchant_managed_fulfillment_orders",
    )
    asked(
        outside,
        app("read_orders"),
        app(*full, "read_all_orders"),
        app(*full),
        app(*full),
        app(*full, "read_all_orders"),
        {"data": {"shop": {"name": "x"}}},
    )
    source, client = shop(make)

    assert [said.partition(":")[0].rsplit(" ", 1)[1] for said in source.look_around(client)] == [
        "read_fulfillments", "read_merchant_managed_fulfillment_orders", "write_fulfillments", "write_orders",
        "write_merchant_managed_fulfillment_orders", "read_all_orders",
    ]  # fmt: skip
    (told,) = source.look_around(client)
    assert "with `read_all_orders: true` older orders are read" in told
    (told,) = source.look_around(client)
    assert (
        told
        == "the app has not the scope read_all_orders: orders older than 60 days are not read, neither at first nor later"
    )
    deep, client = shop(make, read_all_orders=True)
    (told,) = deep.look_around(client)
    assert told.startswith("the app has not the scope read_all_orders: orders older than 60 days are not read")
    assert list(deep.look_around(client)) == []  # all is granted, and the settings say so
    assert list(deep.look_around(client)) == []  # Shopify does not tell


# whose a hook is


def test_a_hook_that_the_app_signed_for_another_shop_is_refused(make) -> None:
    source, _ = shop(make, webhook_secrets=[SECRET])
    body = {"id": 7}

    assert source.verify(signed(body, **{"x-shopify-shop-domain": "ACME.myshopify.com"})) == 0
    assert source.verify(signed(body)) == 0
    with pytest.raises(WebhookRejected, match="it is of another shop"):
        source.verify(signed(body, **{"x-shopify-shop-domain": "other.myshopify.com"}))


def test_a_write_that_lacks_a_scope_is_refused_by_its_name_and_suspends_nothing(outside, make) -> None:
    denied = {"code": "ACCESS_DENIED", "requiredAccess": "`write_orders` access scope."}
    asked(
        outside,
        {"data": {"tagsAdd": None}, "errors": [{"message": "Access denied for tagsAdd.", "extensions": denied}]},
    )
    source, client = shop(make)
    before = Order(
        "s", "gid://shopify/Order/1", "#1", OrderStatus.SHIPPED, "FULFILLED", PaymentStatus.PAID, "PAID", T0, T0
    )

    with pytest.raises(Refused, match="needs `write_orders` access scope"):
        source.push(client, Action("tag", "k", "s", before.ref, text="shipping:delivered", field="shipping"), before)
