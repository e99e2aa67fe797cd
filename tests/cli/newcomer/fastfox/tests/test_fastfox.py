"""Fast Fox: conformance, requests, and what is its own."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from tracker.domain.errors import Transient, WebhookRejected
from tracker.domain.facts import Parcel, Parcels, Payload
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, Recorder, example_settings, for_carrier, plugin_of

MODULE = "trackwright_fastfox.fastfox"
TestConformance = for_carrier(MODULE, fixtures=Path(__file__).parent / "fixtures")


def signed(body: bytes) -> dict[str, str]:
    stamp = str(int(AT.timestamp()))
    proof = hmac.new(b"new-secret-0123456789abcdef", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"x-fox-time": stamp, "x-fox-signature": proof}


def test_a_parcel_is_asked_for_by_its_number_with_our_key() -> None:
    plugin = plugin_of(MODULE)
    client = Recorder(b'{"shipment": {}}')
    list(plugin("account", example_settings(plugin)).fetch(client, Parcels((Parcel("fastfox", "FF17"),))))

    (request,) = client.sent
    assert (request.method, request.url) == ("GET", "https://api.fastfox.example/v2/shipments/FF17")
    assert request.headers == {"X-Fox-Key": "canary-api_key"}


def test_what_is_signed_is_taken_and_what_was_changed_is_not() -> None:
    plugin = plugin_of(MODULE)
    source = plugin("account", example_settings(plugin))

    assert source.verify(Payload("account", "webhook", (b"{}",), AT, signed(b"{}"))) == 0
    with pytest.raises(WebhookRejected):
        source.verify(Payload("account", "webhook", (b"{ }",), AT, signed(b"{}")))


def test_an_error_with_a_good_status_is_asked_again() -> None:
    plugin = plugin_of(MODULE)
    with pytest.raises(Transient, match="BUSY"):
        plugin("account", example_settings(plugin)).raise_for_status(
            Response(200, {}, b'{"error": {"code": "BUSY"}}', AT)
        )
