"""UPS: conformance, requests, and what is its own."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tracker.domain.errors import BadPayload, CredentialsRejected, RateLimited, Refused, WebhookRejected
from tracker.domain.facts import Parcel, Parcels, Payload
from tracker.plugin.conformance import AT, for_carrier

from .conftest import NOW

TestConformance = for_carrier("carriers.ups", fixtures=Path(__file__).parents[1] / "fixtures" / "ups")
HOST = "https://onlinetools.ups.com"
TOKEN = {"token_type": "Bearer", "access_token": "t1", "expires_in": "14399", "issued_at": "1"}


def ask(*numbers: str) -> Parcels:
    return Parcels(tuple(Parcel("ups", n) for n in numbers))


def test_a_poll_asks_for_a_token_once_and_for_each_number(world, make) -> None:
    token = world.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    track = world.get(url__startswith=f"{HOST}/api/track/v1/details/").respond(json={"trackResponse": {}})
    source, client = make("carriers.ups", merchant_id="123456")

    assert len(list(source.fetch(client, ask("1Z204W4R0308071865", "1z 999")))) == 2

    assert token.call_count == 1
    sent = token.calls[0].request
    assert sent.content == b"grant_type=client_credentials"
    assert sent.headers["x-merchant-id"] == "123456"
    assert sent.headers["authorization"].startswith("Basic ")
    assert [call.request.url.path for call in track.calls] == [
        "/api/track/v1/details/1Z204W4R0308071865",
        "/api/track/v1/details/1Z999",
    ]
    assert track.calls[0].request.headers["authorization"] == "Bearer t1"
    assert track.calls[0].request.headers["transid"] != track.calls[1].request.headers["transid"]


def test_an_expired_token_is_renewed_once(world, make) -> None:
    tokens = iter(["t1", "t2"])
    world.post(f"{HOST}/security/v1/oauth/token").mock(
        side_effect=lambda _: httpx.Response(200, json={**TOKEN, "access_token": next(tokens)})
    )
    world.get(url__startswith=HOST, headers={"authorization": "Bearer t1"}).respond(401)
    world.get(url__startswith=HOST, headers={"authorization": "Bearer t2"}).respond(json={"trackResponse": {}})
    source, client = make("carriers.ups")

    assert len(list(source.fetch(client, ask("1Z204W4R0308071865")))) == 1


def test_a_token_that_is_refused_twice_parks_the_account(world, make) -> None:
    world.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    world.get(url__startswith=HOST).respond(401)
    source, client = make("carriers.ups")

    with pytest.raises(CredentialsRejected):
        list(source.fetch(client, ask("1Z204W4R0308071865")))


def test_a_wrong_client_secret_is_told_as_such(world, make) -> None:
    world.post(f"{HOST}/security/v1/oauth/token").respond(400, json={"response": {"errors": [{"code": "10400"}]}})
    source, client = make("carriers.ups")

    with pytest.raises(CredentialsRejected):
        source.ping(client)


@pytest.mark.parametrize("body", [{}, {"access_token": ""}, {"access_token": "x", "expires_in": "soon"}])
def test_a_token_answer_that_cannot_be_read_is_a_bad_payload(world, make, body) -> None:
    world.post(f"{HOST}/security/v1/oauth/token").respond(json=body)
    source, client = make("carriers.ups")

    with pytest.raises(BadPayload):
        source.ping(client)


def test_throttling_says_how_long(world, make) -> None:
    world.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    world.get(url__startswith=HOST).respond(429, headers={"Retry-After": "7"})
    source, client = make("carriers.ups")

    with pytest.raises(RateLimited) as error:
        list(source.fetch(client, ask("1Z204W4R0308071865")))
    assert error.value.after == timedelta(seconds=7)


def test_registering_splits_what_ups_takes_from_what_it_refuses(world, make) -> None:
    world.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    good, bad = "1Z204W4R0308071865", "1Z204W4R0308071866"
    subscribe = world.post(f"{HOST}/api/track/v2/subscription/standard/package").respond(
        json={"validTrackingNumbers": [good], "invalidTrackingNumbers": [bad]}
    )
    source, client = make("carriers.ups")

    answers = {a.number: a for a in source.register(client, ask(good, bad, "K1506235620"))}

    assert json.loads(subscribe.calls[0].request.content) == {
        "locale": "en_US", "countryCode": "US", "trackingNumberList": [good, bad],
    }  # fmt: skip
    assert answers[good].until == NOW + timedelta(days=14)
    assert answers[good].refused is None
    assert answers[bad].refused
    assert "1Z and 1R" in answers["K1506235620"].refused


def test_registering_only_what_ups_never_takes_asks_nobody(world, make) -> None:
    source, client = make("carriers.ups")

    assert [bool(a.refused) for a in source.register(client, ask("K1506235620"))] == [True]


def test_a_subscription_refused_for_all_numbers_is_an_answer_about_each(world, make) -> None:
    world.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    number = "1Z204W4R0308071866"
    world.post(url__regex=".*/subscription/.*").respond(400, json={"invalidTrackingNumbers": [number]})
    source, client = make("carriers.ups")

    (answer,) = source.register(client, ask(number))
    assert answer.refused


def test_a_subscription_refused_as_a_whole_is_refused(world, make) -> None:
    world.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    world.post(url__regex=".*/subscription/.*").respond(400, json={"response": {"errors": []}})
    source, client = make("carriers.ups")

    with pytest.raises(Refused):
        source.register(client, ask("1Z204W4R0308071866"))


@pytest.mark.parametrize("secret", ["new-secret-0123456789abcdef", "old-secret-0123456789abcdef"])
def test_both_credentials_verify_while_one_is_rotated(make, secret: str) -> None:
    source, _ = make("carriers.ups")

    source.verify(Payload("a", "webhook", (b"{}",), AT, {"credential": secret}))
    with pytest.raises(WebhookRejected):
        source.verify(Payload("a", "webhook", (b"{}",), AT, {"credential": secret + "x"}))


def test_the_credential_may_come_as_a_bearer_token(make) -> None:
    source, _ = make("carriers.ups", webhook_header="Authorization")

    source.verify(Payload("a", "webhook", (b"{}",), AT, {"authorization": "Bearer new-secret-0123456789abcdef"}))


def test_a_scan_without_any_code_is_kept_and_unknown(make) -> None:
    source, _ = make("carriers.ups")
    body = {"trackingNumber": "1Z204W4R0308071865", "activityStatus": {"type": "I"}}
    package = {"trackingNumber": "1Z204W4R0308071865", "activity": [{"date": "20240423"}]}
    poll = {"trackResponse": {"shipment": [{"package": [package]}]}}

    for one in (body, poll):
        (report,) = source.normalize(Payload("a", "webhook", (json.dumps(one).encode(),), AT, {}))
        assert report.scans[0].code.code == "missing"
        assert source.meaning(report.scans[0].code) is None


def test_an_integer_status_code_is_padded(make) -> None:
    source, _ = make("carriers.ups")
    body = {"trackingNumber": "1Z204W4R0308071865", "activityStatus": {"type": "D", "descriptionCode": 11}}

    (report,) = source.normalize(Payload("a", "webhook", (json.dumps(body).encode(),), AT, {}))
    assert report.scans[0].code.code == "011"


def test_an_impossible_date_names_its_path(make) -> None:
    source, _ = make("carriers.ups")
    body = {
        "trackingNumber": "1Z204W4R0308071865", "localActivityDate": "20240231",
        "activityStatus": {"type": "D", "descriptionCode": "011"},
    }  # fmt: skip

    with pytest.raises(BadPayload, match="date"):
        list(source.normalize(Payload("a", "webhook", (json.dumps(body).encode(),), AT, {})))


def test_an_alternate_number_is_a_last_mile_link(make) -> None:
    source, _ = make("carriers.ups")
    package = {
        "trackingNumber": "1Z204W4R0308071865", "alternateTrackingNumber": [{"number": "92", "type": "USPS_PIC"}, "x"],
        "deliveryInformation": {"deliveryPhoto": {"photo": "x"}},
    }  # fmt: skip
    body = {"trackResponse": {"shipment": [{"package": [package]}]}}

    (report,) = source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))
    assert [(link.number, link.relation) for link in report.links] == [("92", "last_mile")]
    assert report.proof.photo
