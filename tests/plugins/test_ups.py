"""UPS: conformance, requests, and what is its own."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Transient,
    WebhookRejected,
)
from tracker.domain.facts import Parcel, Parcels, Payload
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

from .conftest import NOW

TestConformance = for_carrier("carriers.ups", fixtures=Path(__file__).parents[1] / "fixtures" / "ups")
HOST = "https://onlinetools.ups.com"
TOKEN = {"token_type": "Bearer", "access_token": "t1", "expires_in": "14399", "issued_at": "1"}


def ask(*numbers: str) -> Parcels:
    return Parcels(tuple(Parcel("ups", n) for n in numbers))


def test_a_poll_asks_for_a_token_once_and_for_each_number(outside, make) -> None:
    token = outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    track = outside.get(url__startswith=f"{HOST}/api/track/v1/details/").respond(json={"trackResponse": {}})
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


def test_an_expired_token_is_renewed_once(outside, make) -> None:
    tokens = iter(["t1", "t2"])
    outside.post(f"{HOST}/security/v1/oauth/token").mock(
        side_effect=lambda _: httpx.Response(200, json={**TOKEN, "access_token": next(tokens)})
    )
    outside.get(url__startswith=HOST, headers={"authorization": "Bearer t1"}).respond(401)
    outside.get(url__startswith=HOST, headers={"authorization": "Bearer t2"}).respond(json={"trackResponse": {}})
    source, client = make("carriers.ups")

    assert len(list(source.fetch(client, ask("1Z204W4R0308071865")))) == 1


def test_a_token_that_is_refused_twice_parks_the_account(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    outside.get(url__startswith=HOST).respond(401)
    source, client = make("carriers.ups")

    with pytest.raises(CredentialsRejected):
        list(source.fetch(client, ask("1Z204W4R0308071865")))


def test_a_wrong_client_secret_is_told_as_such(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(400, json={"response": {"errors": [{"code": "10400"}]}})
    source, client = make("carriers.ups")

    with pytest.raises(CredentialsRejected):
        source.ping(client)


@pytest.mark.parametrize(
    ("body", "error"),
    [({}, Transient), ({"access_token": ""}, BadPayload), ({"error": {"message": "later"}}, Transient),
     ({"access_token": "x", "expires_in": "soon"}, BadPayload)],
)  # fmt: skip
def test_a_token_answer_without_its_token_may_pass_and_one_that_cannot_be_read_is_told(
    outside, make, body, error
) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=body)
    source, client = make("carriers.ups")

    with pytest.raises(error):
        source.ping(client)


def test_throttling_says_how_long(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    outside.get(url__startswith=HOST).respond(429, headers={"Retry-After": "7"})
    source, client = make("carriers.ups")

    with pytest.raises(RateLimited) as error:
        list(source.fetch(client, ask("1Z204W4R0308071865")))
    assert error.value.after == timedelta(seconds=7)


def test_registering_splits_what_ups_takes_from_what_it_refuses(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    good, bad = "1Z204W4R0308071865", "1Z204W4R0308071866"
    subscribe = outside.post(f"{HOST}/api/track/v2/subscription/standard/package").respond(
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


def test_registering_only_what_ups_never_takes_asks_nobody(outside, make) -> None:
    source, client = make("carriers.ups")

    assert [bool(a.refused) for a in source.register(client, ask("K1506235620"))] == [True]


def test_a_subscription_refused_for_all_numbers_is_an_answer_about_each(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    number = "1Z204W4R0308071866"
    outside.post(url__regex=".*/subscription/.*").respond(400, json={"invalidTrackingNumbers": [number]})
    source, client = make("carriers.ups")

    (answer,) = source.register(client, ask(number))
    assert answer.refused


def test_a_subscription_refused_as_a_whole_is_refused(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    outside.post(url__regex=".*/subscription/.*").respond(400, json={"response": {"errors": []}})
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


def test_an_event_with_the_photo_of_a_delivery_is_taken_and_the_photo_is_no_part_of_what_is_told(make) -> None:
    """UPSTrackAlert.yaml, deliveryPhoto: the image in base64 (enhanced subscriptions)."""
    source, _ = make("carriers.ups")
    photo = base64.b64encode(b"\xff\xd8\xff" + bytes(2 << 20)).decode()
    status = {"type": "U", "code": "PX", "description": "Delivery Photo", "descriptionCode": "155"}
    body = {"trackingNumber": "1Z204W4R0308071865", "activityStatus": status, "deliveryPhoto": photo}
    sent = json.dumps(body).encode()
    (report,) = source.normalize(Payload("a", "webhook", (sent,), AT, {}))

    assert len(sent) < source.max_body
    assert report.proof.photo
    assert photo[:100] not in repr(report)


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


def test_an_alert_with_an_impossible_date_keeps_its_code_and_tells_the_path(make) -> None:
    source, _ = make("carriers.ups")
    body = {
        "trackingNumber": "1Z204W4R0308071865", "localActivityDate": "20240231",
        "activityStatus": {"type": "D", "descriptionCode": "011"},
    }  # fmt: skip

    report, unread = source.normalize(Payload("a", "webhook", (json.dumps(body).encode(),), AT, {}))

    assert (report.scans[0].code.code, report.scans[0].local, report.scans[0].occurred_at) == ("011", None, None)
    assert (unread.where, unread.subject, unread.lacks) == ("$.localActivityDate", "1Z204W4R0308071865", "")


def test_an_alert_without_a_status_says_nothing(make) -> None:
    source, _ = make("carriers.ups")

    with pytest.raises(BadPayload, match="activityStatus"):
        source.normalize(Payload("a", "webhook", (b'{"trackingNumber": "1Z204W4R0308071865"}',), AT, {}))


def test_a_number_with_a_path_in_it_is_one_segment_or_nothing(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    track = outside.get(url__startswith=f"{HOST}/api/track/v1/details/").respond(json={"trackResponse": {}})
    source, client = make("carriers.ups")

    list(source.fetch(client, ask("a/b?c")))
    with pytest.raises(Refused):
        list(source.fetch(client, ask("..")))

    assert [call.request.url.raw_path for call in track.calls] == [b"/api/track/v1/details/A%2FB%3FC?locale=en_US"]


@pytest.mark.parametrize(
    "body",
    [b'{"response": {"errors": [{"code": "10429", "message": "Too Many Requests"}]}}', b"\xef\xbb\xbf<html>", b"away"],
)
def test_an_error_that_comes_with_200_is_an_error(make, body) -> None:
    source, _ = make("carriers.ups")

    with pytest.raises(Transient, match="HTTP 200"):
        source.raise_for_status(Response(200, {}, body, AT))


@pytest.mark.parametrize(
    ("body", "raised"),
    [
        (b'{"response": {"errors": [{"code": "404", "message": "Not Found"}]}}', NotFound),  # Tracking.yaml, 404
        (b"", Transient), (b"{}", Transient), (b"<html></html>", Transient),
    ],
)  # fmt: skip
def test_a_404_without_an_error_of_ups_is_a_wrong_address_and_no_unknown_number(make, body, raised) -> None:
    source, _ = make("carriers.ups")

    with pytest.raises(raised) as told:
        source.raise_for_status(Response(404, {}, body, AT))
    assert type(told.value) is raised


PDF, GIF = (base64.b64encode(body).decode() for body in (b"%PDF-1.4 proof", b"GIF89a signature"))


def proof_of(outside, make, *packages):
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    track = outside.get(url__startswith=f"{HOST}/api/track/v1/details/").respond(
        json={"trackResponse": {"shipment": [{"inquiryNumber": "1Z204W4R0308071865", "package": list(packages)}]}}
    )
    source, client = make("carriers.ups")
    return source.proof(client, Parcel("ups", "1Z204W4R0308071865"), None), track.calls[0].request


@pytest.mark.parametrize(
    ("information", "kind", "begins"),
    [
        ({"pod": {"content": PDF}, "signature": {"image": GIF}}, "application/pdf", b"%PDF-"),
        ({"pod": {"content": ""}, "signature": {"image": GIF}}, "image/gif", b"GIF89a"),
        ({"pod": None, "deliveryPhoto": {"photo": GIF}}, "image/gif", b"GIF89a"),
    ],
)
def test_the_proof_is_the_document_else_the_signature_else_the_photo(outside, make, information, kind, begins) -> None:
    other = {"trackingNumber": "1Z204W4R0308071866", "deliveryInformation": {"pod": {"content": "eA=="}}}
    mine = {"trackingNumber": "1z204w4r0308071865", "deliveryInformation": information}
    document, asked = proof_of(outside, make, other, mine)

    assert (document.kind, document.content.startswith(begins)) == (kind, True)
    assert dict(asked.url.params) == {"locale": "en_US", "returnPOD": "true", "returnSignature": "true"}


@pytest.mark.parametrize(
    "packages", [[], [{"trackingNumber": "1Z204W4R0308071865"}], [{"deliveryInformation": {"receivedBy": "DOE"}}]]
)
def test_a_parcel_without_a_document_has_none(outside, make, packages) -> None:
    with pytest.raises(NotFound):
        proof_of(outside, make, *packages)


def test_a_document_that_is_neither_an_image_nor_a_pdf_is_told(outside, make) -> None:
    with pytest.raises(BadPayload, match=r"pod\.content"):
        proof_of(outside, make, {"deliveryInformation": {"pod": {"content": "PGh0bWw+"}}})
