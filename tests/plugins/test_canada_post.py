"""Canada Post: conformance, requests of both APIs, errors that come with whatever status, certificates, words and zones."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    SourceError,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Code, Parcel, Parcels, Payload, Report
from tracker.domain.timeline import place_in_time
from tracker.plugin.conformance import AT, for_carrier

FIXTURES = Path(__file__).parents[1] / "fixtures" / "canada_post"
TestConformance = for_carrier("carriers.canada_post", fixtures=FIXTURES)
PORTAL = "https://api.canadapost-postescanada.ca/prod/devportal-portaildesdeveloppeurs"
SERVICES = "https://soa-gw.canadapost.ca"
PIN, NOBODY = "7023210215628702", "0000000000000000"
PDF = b"%PDF-1.4 certificate"
XML = {"api": "xml"}


def messages(code: str, words: str) -> bytes:
    said = f"<message><code>{code}</code><description>{words}</description></message>"
    return f'<messages xmlns="http://www.canadapost.ca/ws/messages">{said}</messages>'.encode()


def ask(*numbers: str) -> Parcels:
    return Parcels(tuple(Parcel("canadapost", n) for n in numbers))


def details(*events: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"pin": PIN, "significantEvents": list(events), **more}).encode()


def read(make, body: bytes, *beside: bytes) -> list[Any]:
    source, _ = make("carriers.canada_post")
    return list(source.normalize(Payload("a", "poll", (body, *beside), AT)))


@pytest.fixture
def token(outside):
    said = {"access_token": "t1", "token_type": "bearer", "expires_in": 3600, "scope": "merchant"}
    return outside.post(f"{PORTAL}/cpc-api-native-oauth-provider/oauth2/token").respond(json=said)


def test_the_portal_is_asked_for_the_details_of_a_pin_with_a_token(outside, token, make) -> None:
    asked = outside.get(f"{PORTAL}/tracking/v1/pins/{PIN}/details").respond(content=details())
    source, client = make("carriers.canada_post")

    assert [page.parts for page in source.fetch(client, ask(PIN, f" {PIN} "))] == [(details(),)] * 2
    assert parse_qs(token.calls[0].request.content.decode()) == {
        "grant_type": ["client_credentials"], "scope": ["merchant"], "client_id": ["canary-key"], "client_secret": ["canary-secret"],
    }  # fmt: skip
    headers = asked.calls[0].request.headers
    assert (headers["authorization"], headers["accept"], headers["accept-language"]) == (
        "Bearer t1",
        "application/json",
        "en-CA",
    )
    assert (token.call_count, source.batch) == (1, 1)


def test_the_xml_of_before_is_asked_with_both_halves_of_the_key(outside, make) -> None:
    """Get Tracking Details - REST: any other Accept is refused."""
    asked = outside.get(f"{SERVICES}/vis/track/pin/{PIN}/detail").respond(content=f"<a>{PIN}</a>".encode())
    source, client = make("carriers.canada_post", **XML)
    list(source.fetch(client, ask(PIN)))

    headers = asked.calls[0].request.headers
    assert headers["authorization"] == f"Basic {base64.b64encode(b'canary-key:canary-secret').decode()}"
    assert (headers["accept"], headers["accept-language"]) == ("application/vnd.cpc.track-v2+xml", "en-CA")


def test_another_host_is_a_setting(outside, make) -> None:
    outside.get(url__regex="https://ct.soa-gw.canadapost.ca/vis/track/pin/.*").respond(content=b"<tracking-detail/>")
    source, client = make("carriers.canada_post", api="xml", base_url="https://ct.soa-gw.canadapost.ca")
    assert len(list(source.fetch(client, ask(PIN)))) == 1


@pytest.mark.parametrize("settings", [{}, XML])
@pytest.mark.parametrize("status", [200, 400, 404])
@pytest.mark.parametrize(
    "body",
    [
        messages("004", "No Pin History"), b'{"messages": [{"code": "004", "description": "No Pin History"}]}',
        b'{"error": {"code": "004", "descEn": "No Pin History"}}', b'[{"pin": "1", "error": {"code": "004", "descEn": "No Pin History"}}]',
        b'{"errors": [{"errorCode": "004", "message": "No Pin History"}]}',
    ],
)  # fmt: skip
def test_a_pin_without_a_history_is_not_found_whatever_the_status(make, settings, status: int, body: bytes) -> None:
    source, _ = make("carriers.canada_post", **settings)
    with pytest.raises(NotFound, match="Canada Post: 004: No Pin History"):
        source.raise_for_status(_response(status, body))


def _response(status: int, body: bytes, **headers: str) -> Any:
    from tracker.plugin.calls import Response

    return Response(status, headers, body, AT)


@pytest.mark.parametrize(
    ("status", "body", "raised", "said"),
    [
        (200, messages("002", "Duplicate Pin"), Refused, "002: Duplicate Pin"), (400, messages("008", "Invalid Date"), Refused, "008: Invalid Date"),
        (401, messages("E002", "AAA Authentication Failure"), CredentialsRejected, "E002: AAA Authentication Failure; is this the `key` of this `api`"),
        (500, messages("E002", "AAA Authentication Failure"), CredentialsRejected, "AAA"), (200, messages("AA002", "wrong environment"), CredentialsRejected, "AA002"),
        (403, messages("AA04", "on behalf"), CredentialsRejected, "AA04"), (403, b"{}", CredentialsRejected, "HTTP 403; is this"),
        (401, b'{"httpCode":"401","httpMessage":"Unauthorized","moreInformation":"Client id not registered."}', CredentialsRejected, "Unauthorized: Client id not registered."),
        (500, messages("Server", "Backend is away"), Transient, "Server: Backend is away"), (503, b"", Transient, "HTTP 503"), (500, messages("9999", "x"), Transient, "HTTP 500"),
        (404, b'{"httpCode":"404","httpMessage":"Not Found","moreInformation":"No resources match"}', Transient, "is the `base_url` right"),
        (404, b"", NotFound, "HTTP 404"), (406, b"", Refused, "HTTP 406"), (200, b"hello", Transient, "neither JSON nor XML"),
        (200, b"<html><body>Sorry</body></html>", Unavailable, "HTML"), (400, b'{"error": "invalid_client", "error_description": "no"}', Refused, "invalid_client"),
    ],
)  # fmt: skip
def test_what_an_error_says(make, status: int, body: bytes, raised: type[SourceError], said: str) -> None:
    source, _ = make("carriers.canada_post")
    with pytest.raises(raised, match=said) as told:
        source.raise_for_status(_response(status, body))
    assert type(told.value) is raised


def test_a_404_of_the_xml_without_a_message_is_no_word_of_the_service(make) -> None:
    """Messages and Code Tables: 404, "resource path is incorrect"."""
    source, _ = make("carriers.canada_post", **XML)
    with pytest.raises(Transient, match="is the `base_url` right"):
        source.raise_for_status(_response(404, b""))


@pytest.mark.parametrize("status", [200, 403, 500])
def test_a_throttle_blocks_the_key_for_up_to_a_minute(make, status: int) -> None:
    """Messages and Code Tables: Server, "Rejected by SLM Monitor"."""
    source, _ = make("carriers.canada_post", **XML)
    for body in (
        messages("Server", "Rejected by SLM Monitor"),
        b'{"errors":[{"errorCode":"Server","message":"rejected by slm monitor"}]}',
    ):
        with pytest.raises(RateLimited) as told:
            source.raise_for_status(_response(status, body))
        assert told.value.after == timedelta(minutes=1)
    for headers, after in (({}, 60), ({"retry-after": "7"}, 7)):
        with pytest.raises(RateLimited) as told:
            source.raise_for_status(_response(429, b"", **headers))
        assert told.value.after == timedelta(seconds=after)


@pytest.mark.parametrize(
    "body",
    [b'{"significantEvents": [], "message": ""}', b'{"a": "message"', b'{"error": null, "messages": []}', b"", b"[]"],
)
def test_an_answer_that_speaks_of_messages_is_no_error(make, body: bytes) -> None:
    source, _ = make("carriers.canada_post")
    source.raise_for_status(_response(200, body))


@pytest.mark.parametrize(
    ("settings", "status", "body", "raised"),
    [
        ({}, 200, b'{"error": {"code": "004"}}', None), ({}, 404, b"{}", None), (XML, 404, messages("004", "x"), None), (XML, 404, b"", Transient),
        ({}, 200, details(), None), ({}, 200, b'{"ok": true}', BadPayload), (XML, 200, b"<a/>", BadPayload), (XML, 401, messages("E002", "x"), CredentialsRejected),
        ({}, 401, b"{}", CredentialsRejected), (XML, 200, messages("Server", "Rejected by SLM Monitor"), RateLimited),
    ],
)  # fmt: skip
def test_a_ping_is_believed_by_an_answer_about_a_number_alone(
    outside, token, make, settings, status, body, raised
) -> None:
    outside.get(url__regex=f".*{NOBODY}.*").respond(status, content=body)
    source, client = make("carriers.canada_post", **settings)
    if raised is None:
        source.ping(client)
        return
    with pytest.raises(raised):
        source.ping(client)


def test_a_wrong_secret_is_told_as_one(outside, make) -> None:
    outside.post(f"{PORTAL}/cpc-api-native-oauth-provider/oauth2/token").respond(401, json={"error": "invalid_client"})
    source, client = make("carriers.canada_post")
    with pytest.raises(
        CredentialsRejected, match="the portal gives no token for this `key` and `secret`: Canada Post: invalid_client"
    ):
        source.ping(client)


@pytest.mark.parametrize(
    ("number", "sent"),
    [
        (PIN, int(PIN)),
        ("0073938000549297", "0073938000549297"),
        ("LM123456785CA", "LM123456785CA"),
        ("9" * 22, "9" * 22),
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        PDF,
        json.dumps(
            {"filename": "a.pdf", "image": base64.b64encode(PDF).decode(), "mimeType": "application/pdf"}
        ).encode(),
    ],
)
def test_the_portal_makes_a_certificate(outside, token, make, number: str, sent: Any, answer: bytes) -> None:
    asked = outside.post(f"{PORTAL}/tracking/v1/create-certificate").respond(content=answer)
    source, client = make("carriers.canada_post")
    document = source.proof(client, Parcel("canadapost", number), None)

    assert (document.kind, document.content) == ("application/pdf", PDF)
    assert json.loads(asked.calls[0].request.content) == {"pin": sent, "language": "en"}
    assert asked.calls[0].request.headers["content-type"] == "application/json"


def test_a_certificate_may_stand_inside_of_what_it_is_called(outside, token, make) -> None:
    inner = {"image": base64.b64encode(PDF).decode()}
    asked = outside.post(f"{PORTAL}/tracking/v1/create-certificate").respond(
        json={"deliveryConfirmationCertificate": inner}
    )
    source, client = make("carriers.canada_post")
    assert source.proof(client, Parcel("canadapost", PIN), None).content == PDF
    for answer in ([], {}, {"a": 1}, {"image": "no"}):
        asked.respond(json=answer)
        with pytest.raises(BadPayload, match=r"\$\.image"):
            source.proof(client, Parcel("canadapost", PIN), None)


def test_the_xml_hands_out_a_certificate(outside, make) -> None:
    """track.xsd, delivery-confirmation-certificate; the signature image is no longer handed out (Get Signature Image)."""
    inner = f"<filename>a.pdf</filename><image>{base64.b64encode(PDF).decode()}</image><mime-type>application/pdf</mime-type>"
    body = f'<delivery-confirmation-certificate xmlns="http://www.canadapost.ca/ws/track">{inner}</delivery-confirmation-certificate>'
    asked = outside.get(f"{SERVICES}/vis/certificate/{PIN}").respond(content=body.encode())
    source, client = make("carriers.canada_post", **XML)

    assert source.proof(client, Parcel("canadapost", PIN), None).content == PDF
    for answer, raised in (
        (httpx.Response(404, content=messages("007", "No Delivery Information Available")), NotFound),
        (httpx.Response(200, content=messages("003", "No Signature Image Available")), NotFound), (httpx.Response(200, content=b"<a/>"), BadPayload),
    ):  # fmt: skip
        asked.mock(return_value=answer)
        with pytest.raises(raised):
            source.proof(client, Parcel("canadapost", PIN), None)


@pytest.mark.parametrize(
    ("code", "words", "means"),
    [
        ("1496", "ITEM SUCCESSFULLY RETURNED TO SENDER", "returned/received_by_sender"), ("1496", "Item delivered", "delivered/delivered"), ("1498", "Article remis à l'expéditeur", "returned/received_by_sender"), ("1498", "ARTICLE REMIS A L'EXPEDITEUR", "returned/received_by_sender"),
        ("0174", "Item out for delivery", "out_for_delivery/on_vehicle"), ("0174", "Out for delivery: return to sender", "returning/return_out_for_delivery"),
        ("1421", "Delivered; returned to sender", "delivered/safe_place"), ("1405", "Item delivered to parcel locker", "available_for_pickup/locker"), ("1406", "Item collected", "delivered/collected_by_recipient"),
        ("1497", "Item successfully delivered to recipient's safe drop location", "delivered/safe_place"), ("5300", "Item successfully delivered to recipient's parcel box", "delivered/delivered"),
        ("4700", "Held for recipient", "on_hold/held_by_carrier"), ("0020", "Signature available", "None/proof_of_delivery"), ("2001", "Returned to sender", "None/proof_of_delivery"),
    ],
)  # fmt: skip
def test_the_words_decide_of_the_listed_codes_and_of_no_other(make, code: str, words: str, means: str) -> None:
    source, _ = make("carriers.canada_post")
    meaning = source.meaning(Code("event", code, words))
    assert f"{meaning.status}/{meaning.reason}" == means
    assert source.meaning(Code("type", code, words)) is None
    assert source.text_matters, "so two scans of one code at one moment with other words are two"


@pytest.mark.parametrize(
    ("identifier", "code"),
    [
        ("174", "0174"),
        (174, "0174"),
        (" 0174 ", "0174"),
        ("20", "0020"),
        ("", "missing"),
        (None, "missing"),
        ("A1", "00A1"),
    ],
)
def test_a_code_has_four_digits(make, identifier: Any, code: str) -> None:
    (report,) = read(
        make,
        details(
            {"eventIdentifier": identifier, "eventDate": "2026-11-20", "eventTime": "08:12:04", "eventProvince": "QC"}
        ),
    )
    assert report.scans[0].code.code == code


@pytest.mark.parametrize(
    ("event", "at", "zone", "precision", "problem"),
    [
        ({"eventDate": "2026-07-20", "eventTime": "08:00:00", "eventTimeZone": "edt"}, "12:00", "offset", "second", ""),
        ({"eventDate": "2026-07-20", "eventTime": "08:00:00", "eventTimeZone": "NST", "eventProvince": "NL"}, "11:30", "offset", "second", ""),
        ({"eventDate": "2026-07-20", "eventTime": "08:00:00", "eventTimeZone": "JAPAN"}, None, "unknown", "second", ""),
        ({"eventDate": "2026-07-20", "eventTime": "08:00:00", "eventProvince": "bc"}, "15:00", "assumed", "second", ""),
        ({"eventDate": "2026-07-20", "eventTime": "08:00:00", "eventProvince": "AB"}, None, "unknown", "second", ""),
        ({"eventDate": "20260720", "eventTime": "080000", "eventTimeZone": "EDT"}, "12:00", "offset", "second", ""),
        ({"eventDate": "2026-07-20", "eventTime": "08:00", "eventTimeZone": "EDT"}, "12:00", "offset", "minute", ""),
        ({"eventDateTime": "20260720:080000", "eventTimeZone": "EDT"}, "12:00", "offset", "second", ""),
        ({"eventDate": "2026-07-20T08:00:00", "eventTimeZone": "EDT"}, "12:00", "offset", "second", ""),
        ({"eventDate": "2026-07-20", "eventTimeZone": "EDT"}, None, "unknown", "date", ""),
        ({"eventDate": "2026-07-20", "eventTime": "8 am", "eventTimeZone": "EDT"}, None, "unknown", "date", "is no time of the day: '8 am'"),
        ({"eventDate": "2026-07-20", "eventTime": 10, "eventTimeZone": "EDT"}, None, "unknown", "date", "is no time of the day: '10'"),
        ({"eventDate": "0001-01-01", "eventTime": "08:00:00"}, None, "unknown", "second", "is no year that can be: '0001-01-01'"),
        ({"eventDate": "yesterday"}, None, "unknown", "second", "is no ISO 8601 date and time: 'yesterday'"), ({}, None, "unknown", "second", ""),
        ({"eventDate": "2026-07-20", "eventTime": "08:00:00", "eventTimeZone": 5}, None, "unknown", "second", "must be a text, is a int"),
    ],
)  # fmt: skip
def test_a_time_is_placed_by_what_is_printed_and_nothing_is_invented(make, event, at, zone, precision, problem) -> None:
    all_of_it = dict.fromkeys(
        ("eventDescription", "eventDate", "eventTime", "eventTimeZone", "eventSite", "eventProvince")
    )
    report, *unread = read(make, details({"eventIdentifier": "0100", **all_of_it, **event}))
    (scan,) = report.scans

    assert (scan.occurred_at and f"{scan.occurred_at.astimezone(AT.tzinfo):%H:%M}", str(scan.zone)) == (at, zone)
    assert (str(scan.precision), [one.problem for one in unread]) == (precision, [problem][: bool(problem)])
    assert report.complete is not bool(problem)


@pytest.mark.parametrize(
    ("site", "province", "place", "at"),
    [("ILTLVA,Israel", "", "ILTLVA, IL", "08:53"), ("ILTLVA,Israel", "ON", "ILTLVA,Israel, ON, CA", "15:53"), ("A, B", "", "A, B", "15:53"), (", Israel", "", ", Israel", "15:53")],
)  # fmt: skip
def test_a_country_behind_the_site_is_where_an_event_was(make, site, province, place, at) -> None:
    event = {"eventDate": "2026-05-02", "eventTime": "11:53:00", "eventTimeZone": "", "eventSite": site}
    (report,) = read(make, details({"eventIdentifier": 4500, **event, "eventProvince": province}))
    (scan,) = report.scans
    instant, _ = place_in_time(scan, "America/Toronto", AT)

    assert (scan.code.code, str(scan.place), f"{instant:%H:%M}") == ("4500", place, at)


def test_a_number_is_the_one_that_was_asked_about(outside, token, make) -> None:
    other = "LM123456785CA"
    outside.get(f"{PORTAL}/tracking/v1/pins/{other}/details").respond(content=details())
    source, client = make("carriers.canada_post")
    (page,) = source.fetch(client, ask(other))
    (report,) = source.normalize(Payload("a", "poll", page.parts, AT))
    assert (report.number, [(link.number, link.relation) for link in report.links]) == (other, [(PIN, "main")])
    (report,) = read(make, b'{"error": {"code": "004", "descEn": "x"}}', page.parts[1])
    assert (report.number, str(report.tracking)) == (other, "not_found")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"pin": "1"}', r"significantEvents: is missing"), (b"<tracking-detail><pin>1</pin></tracking-detail>", r"significant-events: is missing"),
        (b"<order/>", "holds order, which is no answer"), (b"<tracking-detail/>", "must be an object"), (b"<messages/>", r"\$.pin: must be a text"), (b"7", "must be an object"),
        (b'{"pin": "1", "significantEvents": 7}', None), (b"<tracking-summary/>", "must be an object"),
    ],
)  # fmt: skip
def test_an_answer_without_its_list_says_nothing(make, body: bytes, problem: str | None) -> None:
    if problem is None:
        report, unread = read(make, body)
        assert (report.complete, unread.problem) == (False, "must be a list, is a int")
        return
    with pytest.raises(BadPayload, match=problem):
        read(make, body)


def test_a_summary_of_the_xml_tells_the_newest_event_and_no_meaning_is_guessed(make) -> None:
    inner = "<pin>1</pin><event-date-time>20261118:220500</event-date-time><event-description>x</event-description><event-type>INFO</event-type><event-location/><signatory-name>A</signatory-name>"
    source, _ = make("carriers.canada_post")
    reports = read(make, f"<tracking-summary><pin-summary>{inner}</pin-summary></tracking-summary>".encode())
    assert isinstance(reports[0], Report)
    assert (reports[0].complete, reports[0].proof.signed, source.meaning(reports[0].scans[0].code)) == (
        False,
        True,
        None,
    )


@pytest.mark.parametrize(
    ("more", "begins"),
    [
        ({"expectedDeliveryDate": "2026-11-20", "changedExpectedDate": "2026-11-23"}, "2026-11-23T00:00:00-05:00"), ({"expectedDeliveryDate": "2026-11-20", "destinationPostalId": "A1A"}, "2026-11-20T00:00:00-03:30"),
        ({"expectedDeliveryDate": "2026-11-20", "destinationPostalId": "T2P"}, "2026-11-20T00:00:00-07:00"), ({"expectedDeliveryDate": "2026-11-20", "destinationProvince": "bc", "destinationPostalId": "T2P"}, "2026-11-20T00:00:00-08:00"),
        ({"expectedDeliveryDate": "2026-11-20", "destinationPostalId": "90210"}, "2026-11-20T00:00:00-05:00"), ({"expectedDeliveryDate": "soon"}, None), ({"expectedDeliveryDate": {}}, None), ({}, None),
    ],
)  # fmt: skip
def test_it_is_expected_on_a_day_of_its_destination(make, more: dict[str, Any], begins: str | None) -> None:
    report, *unread = read(make, details(**more))
    assert (report.edd and report.edd.begins.isoformat()) == begins
    assert begins is None or report.edd.ends - report.edd.begins == timedelta(days=1)
    assert len(unread) == (more != {} and begins is None)
