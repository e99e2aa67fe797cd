"""Webhooks made through the API: which a shop is to send, which are there, and how they are made and mended.

Those that stand in the app's own TOML are not listed there, so they cannot be compared: the setting `hooks: app` leaves all to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from adapters.shopify.answers import Denied
from adapters.shopify.queries import HOOKS, MAKE_HOOK, MEND_HOOK
from adapters.shopify.writing import Ask, made_of
from tracker.domain.errors import Refused, Transient
from tracker.plugin.graphql import data_of
from tracker.plugin.hooks import Hook
from tracker.plugin.payloads import listing, mapping, text, word

# What tells of an order's way, and which fields of a body name the order: nothing else is sent, no name and no address.
# Webhook topics 2026-04 (the schema's WebhookSubscriptionTopic). Left out: holds and returns, whose bodies name no order for sure
# (what they change changes `updatedAt`, which the sweep sees), and payments, which change an order too.
_ORDER, _PART = ("admin_graphql_api_id", "id"), ("id", "order_id")
TOPICS: Mapping[str, tuple[str, ...]] = {
    "ORDERS_CREATE": _ORDER, "ORDERS_UPDATED": _ORDER, "ORDERS_CANCELLED": _ORDER, "ORDERS_FULFILLED": _ORDER,
    "ORDERS_PARTIALLY_FULFILLED": _ORDER, "ORDERS_EDITED": (), "ORDERS_DELETE": (), "REFUNDS_CREATE": _PART,
    "FULFILLMENTS_CREATE": _PART, "FULFILLMENTS_UPDATE": _PART, "FULFILLMENT_EVENTS_CREATE": _PART,
    "FULFILLMENT_EVENTS_DELETE": _PART,
}  # fmt: skip
PAGE = 100
MOST_PAGES = 20


def wanted(address: str) -> Sequence[Hook]:
    """State a hook a topic. Raises Refused for an address that Shopify does not post to."""
    if urlsplit(address).scheme != "https":
        raise Refused("Shopify posts to https only: web.public_url must begin with https://")
    return [Hook(topic, address, fields=fields) for topic, fields in TOPICS.items()]


def there(ask: Ask, version: str) -> Sequence[Hook]:
    """List those that the app made in this shop through the API, page by page. Raises Transient where the list does not come whole."""
    found: list[Hook] = []
    after: str | None = None
    for _ in range(MOST_PAGES):
        told = mapping(
            data_of(ask(HOOKS, {"first": PAGE, "after": after}), "webhookSubscriptions")["webhookSubscriptions"], "$"
        )
        nodes = told.get("nodes")
        if not isinstance(nodes, list):
            raise Transient("webhookSubscriptions answered without its list")
        found += [_hook(mapping(node, "$.nodes[]"), version) for node in nodes]
        page = mapping(told.get("pageInfo"), "$.pageInfo")
        if page.get("hasNextPage") is not True:
            return found
        after = word(page.get("endCursor"), "$.pageInfo.endCursor")
    raise Transient(f"webhookSubscriptions goes on after {MOST_PAGES * PAGE} of them")


def _hook(node: dict[str, Any], version: str) -> Hook:
    handle = text(mapping(node.get("apiVersion"), "$.apiVersion").get("handle"))
    form = text(node.get("format"))
    odd = (
        [f"it is sent in version {handle}, and {version} is read: the app's settings say which"]
        if handle != version
        else []
    )
    odd += [f"it is sent as {form}"] if form != "JSON" else []
    fields = tuple(text(one) for one in listing(node.get("includeFields"), "$.includeFields"))
    return Hook(
        word(node.get("topic"), "$.topic"), text(node.get("uri")), ref=word(node.get("id"), "$.id"), fields=fields,
        only=text(node.get("filter")), odd="; ".join(odd),
    )  # fmt: skip


def make(ask: Ask, hook: Hook) -> str:
    """Make a hook; returns its id. Raises Refused where the app may not have the topic: the others are made."""
    try:
        answer = ask(MAKE_HOOK, {"topic": hook.topic, "w": _said(hook)}, idempotent=False)
    except Denied as error:
        raise Refused(f"{error}: the app lacks the scope of this topic") from None
    made = made_of(answer, "webhookSubscriptionCreate")
    return word(mapping(made.get("webhookSubscription"), "$.webhookSubscription").get("id"), "$.webhookSubscription.id")


def mend(ask: Ask, hook: Hook) -> None:
    """Give a hook this address, these fields and no filter."""
    made_of(ask(MEND_HOOK, {"id": hook.ref, "w": {**_said(hook), "filter": ""}}), "webhookSubscriptionUpdate")


def _said(hook: Hook) -> dict[str, Any]:
    return {"uri": hook.address, "format": "JSON", "includeFields": list(hook.fields)}
