"""Corner Shop: conformance, requests, and what is its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tracker.domain.errors import WebhookRejected
from tracker.domain.facts import Action, Order, Payload, Refs
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin.conformance import AT, Recorder, example_settings, for_platform, plugin_of

MODULE = "trackwright_corner_shop.corner_shop"
TestConformance = for_platform(MODULE, fixtures=Path(__file__).parent / "fixtures")


def signed(body: bytes) -> dict[str, str]:
    digest = hmac.new(b"new-secret-0123456789abcdef", body, hashlib.sha256).digest()
    return {"x-corner-signature": base64.b64encode(digest).decode()}


def test_an_order_is_read_by_its_id_with_our_token() -> None:
    plugin = plugin_of(MODULE)
    client = Recorder(b'{"order": {"id": 1001}}')
    (page,) = plugin("account", example_settings(plugin)).fetch(client, Refs(("1001",)))

    (request,) = client.sent
    assert (request.method, request.url) == ("GET", "https://api.corner-shop.example/v3/orders/1001")
    assert request.headers == {"X-Corner-Token": "canary-api_token"}
    assert page.parts == (b'{"order": {"id": 1001}}',)


def test_a_write_says_the_word_and_is_not_sent_where_it_stands_already() -> None:
    plugin = plugin_of(MODULE)
    at = datetime(2026, 11, 2, tzinfo=UTC)
    source, client = plugin("shop", example_settings(plugin)), Recorder(b'{"order": {"id": 1001}}')
    action = Action("order_status", "key", "shop", "1001", target=OrderStatus.SHIPPED)
    for raw in ("picking", "on the road"):
        before = Order("shop", "1001", "#1", OrderStatus.UNKNOWN, raw, PaymentStatus.PAID, "paid", at, at)
        source.push(client, action, before)

    (request,) = client.sent
    assert (request.method, request.url) == ("PUT", "https://api.corner-shop.example/v3/orders/1001/state")
    assert json.loads(request.content or b"") == {"state": "on the road", "key": "key"}


def test_what_is_signed_is_taken_and_what_was_changed_is_not() -> None:
    plugin = plugin_of(MODULE)
    source = plugin("account", example_settings(plugin))

    assert source.verify(Payload("account", "webhook", (b"{}",), AT, signed(b"{}"))) == 0
    with pytest.raises(WebhookRejected):
        source.verify(Payload("account", "webhook", (b"{ }",), AT, signed(b"{}")))
