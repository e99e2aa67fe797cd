"""DHL: conformance, requests, and what is its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound
from tracker.domain.facts import Code, Parcel, Parcels, Payload, Refs
from tracker.domain.vocabulary import ShippingStatus
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.dhl", fixtures=Path(__file__).parents[1] / "fixtures" / "dhl")
HOST = "https://api-eu.dhl.com"


def ask(*numbers: str) -> Parcels:
    return Parcels(tuple(Parcel("dhl", n) for n in numbers))


def test_a_poll_sends_the_key_and_the_service_when_it_is_known(world, make) -> None:
    track = world.get(f"{HOST}/track/shipments").respond(json={"shipments": []})
    source, client = make("carriers.dhl", service="parcel-de")

    list(source.fetch(client, ask("JJD1")))

    sent = track.calls[0].request
    assert dict(sent.url.params) == {"trackingNumber": "JJD1", "language": "en", "service": "parcel-de"}
    assert sent.headers["dhl-api-key"] == "canary-api_key"


def test_not_found_is_not_an_exception_of_the_parcel(world, make) -> None:
    world.get(f"{HOST}/track/shipments").respond(404, json={"title": "No result found", "status": 404})
    source, client = make("carriers.dhl")

    with pytest.raises(NotFound):
        list(source.fetch(client, ask("JJD1")))
    source.ping(client)  # 404 proves the key


def test_a_wrong_key_fails_the_ping(world, make) -> None:
    world.get(f"{HOST}/track/shipments").respond(401)
    source, client = make("carriers.dhl")

    with pytest.raises(CredentialsRejected):
        source.ping(client)


def test_without_an_address_to_be_called_at_it_is_polled_only(world, make) -> None:
    source, client = make("carriers.dhl")

    assert [a.their_ref for a in source.register(client, ask("A", "B"))] == [None, None]


def test_subscriptions_hold_ten_numbers_and_our_own_token(world, make) -> None:
    made = world.post(f"{HOST}/tracking/push/v1/subscription").respond(202, json={"subscriptionId": "s1"})
    source, client = make("carriers.dhl", callback_url="https://t.example/webhooks/dhl/x", service="express")

    answers = source.register(client, ask(*(f"N{i}" for i in range(12))))

    assert [len(json.loads(c.request.content)["shipmentIDs"]) for c in made.calls] == [10, 2]
    body = json.loads(made.calls[0].request.content)
    assert body["hook"]["authentication"] == {
        "type": "ApiKeyAuthentication", "header": "DHL-Hook-Token", "token": "new-secret-0123456789abcdef",
    }  # fmt: skip
    assert (body["service"], body["type"]) == ("express", "Shipment")
    assert {a.their_ref for a in answers} == {"s1"}


def test_the_handshake_is_answered_at_our_configured_host_with_their_secret(world, make) -> None:
    confirm = world.post(f"{HOST}/tracking/push/v1/subscription/4f1c-77").respond(200)
    source, client = make("carriers.dhl")

    assert source.register(client, Refs(("4f1c-77:hook-secret",))) == []
    assert confirm.calls[0].request.headers["dhl-api-hook-secret"] == "hook-secret"


@pytest.mark.parametrize("address", ["https://evil.example/x?y", "", "../../x y", None])
def test_a_handshake_that_names_no_subscription_is_a_bad_payload(make, address) -> None:
    source, _ = make("carriers.dhl")
    body = {"scope": "subscription.validate", "self": address, "secret": "s"}

    with pytest.raises(BadPayload):
        list(source.normalize(Payload("a", "webhook", (json.dumps(body).encode(),), AT, {})))


def test_a_status_of_a_service_we_do_not_know_falls_back_to_the_coarse_code(make) -> None:
    source, _ = make("carriers.dhl")

    meaning = source.meaning(Code("new-service/transit", "SOMETHING_NEW"))
    assert meaning.status is ShippingStatus.IN_TRANSIT
    assert source.meaning(Code("new-service/", "missing")) is None
    assert source.meaning(Code("parcel-nl/unknown", "unknown")).status is None


def _one(make, **shipment):
    source, _ = make("carriers.dhl")
    body = {"shipments": [{"id": "JJD1", "service": "express", **shipment}]}
    (report,) = source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))
    return report


def test_a_shipment_without_events_tells_its_status(make) -> None:
    report = _one(make, status={"statusCode": "transit", "status": "PU", "timestamp": "2024-01-02T03:04:05Z"})

    assert report.scans[0].code == Code("express/transit", "PU", "PU")
    assert not report.complete


def test_an_event_without_time_or_status_code_is_kept(make) -> None:
    report = _one(make, events=[{"description": "Gated out"}])

    assert report.scans[0].code == Code("express/", "missing", "Gated out")


def test_estimates_and_proof_are_read(make) -> None:
    frame = {"estimatedFrom": "2024-01-02T10:00:00Z", "estimatedThrough": "2024-01-02T12:00:00Z"}
    pod = {"proofOfDelivery": {"signatureUrl": "https://x"}}

    assert _one(make, estimatedDeliveryTimeFrame=frame).edd.ends.hour == 12
    assert _one(make, estimatedTimeOfDelivery="2024-01-02T10:00:00").edd.begins.hour == 10
    assert _one(make, details=pod).proof.signed
    assert _one(make, details={}).proof is None


def test_an_answer_without_shipments_names_its_path(make) -> None:
    source, _ = make("carriers.dhl")

    with pytest.raises(BadPayload, match=r"\$\.shipments"):
        list(source.normalize(Payload("a", "poll", (b"{}",), AT, {})))
