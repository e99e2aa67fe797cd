"""A described carrier: conformance on the example of deploy/, every way in, every proof, and what an answer can mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from carriers.generic import Generic
from tests.plugins.generic import described
from tests.plugins.signing import standard
from tracker.domain.errors import BadPayload, NotFound, Refused, Transient, WebhookRejected
from tracker.domain.facts import Parcel, Parcels, Payload, Report, Unread
from tracker.domain.vocabulary import TrackingState, Trust, Zone
from tracker.plugin.calls import Request, Response
from tracker.plugin.conformance import AT, Recorder, example_settings, for_carrier

FIXTURES = Path(__file__).parents[1] / "fixtures" / "generic" / "carriers"
BRING = described("bring", "accounts")
TestConformance = for_carrier("carriers.generic", fixtures=FIXTURES, settings=BRING)
TestConformanceOfAcme = for_carrier("carriers.generic", fixtures=FIXTURES / "acme")
SECRET = "new-secret-0123456789abcdef"
STAMP = str(int(AT.timestamp()))
ACME = Generic.example
BODY = b'{"type": "parcel", "id": "e1", "data": [{"number": "N1", "code": "D", "at": "2026-11-02T09:00:00Z"}]}'


def signed(body: bytes) -> dict[str, str]:
    """Return the headers of a webhook of the invented API: a time, and the HMAC over it and the body."""
    proof = hmac.new(SECRET.encode(), STAMP.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"x-acme-signature": f"sha256={proof}", "x-acme-time": STAMP}


def carrier(**more: Any) -> Generic:
    return Generic("acme", example_settings(Generic, **more))


def poll(**more: Any) -> dict[str, Any]:
    return {**ACME["poll"], **more}


def facts(**more: Any) -> dict[str, Any]:
    return poll(facts={**ACME["poll"]["facts"], **more})


def read(source: Generic, body: Any, kind: str = "poll") -> list[Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(source.normalize(Payload("acme", kind, (raw,), AT, {})))


def asked(source: Generic, *numbers: str, answers: tuple[bytes, ...] = (b"{}",)) -> list[Request]:
    client = Recorder(*answers)
    list(source.fetch(client, Parcels(tuple(Parcel("acme", number, number) for number in numbers))))
    return client.sent


# how it is asked


def test_a_number_is_one_segment_of_a_path_and_a_secret_stands_in_a_header() -> None:
    (request,) = asked(carrier(), "A/B C")

    assert (request.method, request.url) == ("GET", "https://api.acme.example/track/A%2FB%20C")
    assert request.headers["Authorization"] == "Bearer canary-secrets"
    with pytest.raises(Refused):
        asked(carrier(), "..")


def test_a_key_may_stand_in_the_query_and_the_number_in_the_body() -> None:
    source = carrier(
        headers={}, query={"apikey": "{key}"},
        poll=poll(path="/track", method="POST", body={"ask": [{"number": "{number}", "full": True}], "n": "no. {number}"}),
    )  # fmt: skip
    (request,) = asked(source, "N1")

    assert request.params == {"apikey": "canary-secrets"}
    assert json.loads(request.content or b"") == {"ask": [{"number": "N1", "full": True}], "n": "no. N1"}
    assert request.headers["Content-Type"] == "application/json"


def test_several_numbers_stand_in_one_call_as_a_list_of_texts_of_objects_or_by_commas() -> None:
    several = {"batch": 2, "path": "/track", "method": "POST", "query": {"n": "{numbers}"}}
    source = carrier(poll=poll(**several, body={"ids": "{numbers}", "asks": [{"id": "{number}"}]}))
    first, second = asked(source, "A", "B", "C")

    assert first.params == {"n": "A,B"}
    assert json.loads(first.content or b"") == {"ids": ["A", "B"], "asks": [{"id": "A"}, {"id": "B"}]}
    assert json.loads(second.content or b"") == {"ids": ["C"], "asks": [{"id": "C"}]}
    assert source.batch == 2


def test_basic_and_a_form_are_filled_with_secrets() -> None:
    source = carrier(
        basic={"user": "me", "password": "{key}"}, poll=poll(method="POST", form={"k": "{key}", "n": "{number}&"})
    )
    (request,) = asked(source, "1")

    assert request.basic == ("me", "canary-secrets")
    assert request.content == b"k=canary-secrets&n=1%26"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"


LOGINS: list[Mapping[str, Any]] = [
    {"path": "/oauth/token", "form": {"grant_type": "client_credentials", "client_id": "me", "client_secret": "{key}"}, "sample": "t.json"},
    {"path": "/oauth/token", "form": {"grant_type": "client_credentials"}, "basic": {"user": "me", "password": "{key}"}, "sample": "t.json"},
    {"path": "/login", "body": {"user": "me", "password": "{key}"}, "token": "data.jwt", "lives": "data.seconds", "sample": "t.json"},
]  # fmt: skip


@pytest.mark.parametrize("login", LOGINS, ids=["client credentials", "with Basic", "a login with a body"])
def test_a_token_is_got_once_and_stands_in_the_header_that_names_it(login: Mapping[str, Any]) -> None:
    source = carrier(login=login, headers={"X-Token": "jwt {token}", "X-App": "us"})
    answer = b'{"access_token": "T", "expires_in": "3600", "data": {"jwt": "T", "seconds": 3600}}'
    client = Recorder(answer, b"{}", b"{}")
    for _ in range(2):
        list(source.fetch(client, Parcels((Parcel("acme", "1"),))))

    asks, polls = [r for r in client.sent if "track" not in r.url], [r for r in client.sent if "track" in r.url]
    assert (len(asks), len(polls)) == (1, 2)
    assert {request.headers["X-Token"] for request in polls} == {"jwt T"}
    assert asks[0].method == "POST"
    assert "X-Token" not in asks[0].headers


@pytest.mark.parametrize("answer", [b"{}", b'{"access_token": 7}', b'{"access_token": "T", "expires_in": true}'])
def test_an_answer_to_a_login_without_a_token_is_told_with_its_path(answer: bytes) -> None:
    source = carrier(login=LOGINS[0], headers={"Authorization": "Bearer {token}"})

    with pytest.raises((BadPayload, Transient)) as failed:
        asked(source, "1", answers=(answer,))
    assert "canary" not in str(failed.value)


# what an answer means


def test_an_answer_that_says_with_200_that_it_knows_nothing_is_not_found_and_one_that_is_an_error_passes() -> None:
    source = Generic("bring", example_settings(Generic, **BRING))
    for body, error in ((b'{"consignmentSet": [{"error": {"code": 404, "message": "No shipments found"}}]}', NotFound),
                        (b'{"consignmentSet": [{"error": {"code": 500, "message": "Error getting"}}]}', Transient)):  # fmt: skip
        with pytest.raises(error):
            source.raise_for_status(Response(200, {}, body, AT))
    source.raise_for_status(Response(200, {}, (FIXTURES / "delivered.poll.json").read_bytes(), AT))
    assert (source.carriers, source.default_zone, source.trust) == (("bring",), "Europe/Oslo", Trust.SHARED)
    assert source.response_keys == ("consignmentSet",)


def test_one_number_of_several_may_be_unknown() -> None:
    told = read(carrier(), {"parcels": [{"number": "A", "unknown": True}, {"number": "B", "events": []}]})

    assert [(one.number, one.tracking) for one in told] == [("A", TrackingState.NOT_FOUND), ("B", TrackingState.ACTIVE)]


def test_a_number_that_is_said_to_be_unknown_beside_its_scans_keeps_them_and_is_told() -> None:
    report, odd = read(carrier(), {"parcels": [{"number": "A", "unknown": 7, "events": [{"code": "D"}]}]})

    assert (len(report.scans), report.tracking, report.complete) == (1, TrackingState.ACTIVE, False)
    assert (odd.where, odd.problem) == ("$.parcels[0].unknown", "says that the number is not known, beside its scans")


@pytest.mark.parametrize(
    "where", [{"parcels": {"number": "A"}}, {"parcels": [{"number": "A", "events": {"code": "D"}}]}]
)
def test_an_object_in_the_place_of_a_list_is_told(where: Any) -> None:
    try:
        told = [one.problem for one in read(carrier(), where) if isinstance(one, Unread)]
    except BadPayload as error:
        told = [error.problem]

    assert told == ["must be a list, is an object"]


@pytest.mark.parametrize("body", [{}, {"parcels": None}, {"other": []}])
def test_an_answer_without_its_list_is_never_no_news(body: Any) -> None:
    with pytest.raises(BadPayload, match="is missing"):
        read(carrier(), body)


def test_a_code_may_be_a_number_and_an_odd_one_is_told_with_the_index_of_its_scan() -> None:
    report, unread = read(carrier(), {"parcels": [{"number": "A", "events": [{"code": 12}, {"code": {"x": 1}}]}]})

    assert [(scan.code.space, scan.code.code) for scan in report.scans] == [("status", "12"), ("status", "missing")]
    assert (unread.where, unread.subject, report.complete) == ("$.parcels[0].events[1].code", "A", False)


@pytest.mark.parametrize(
    ("pattern", "value", "local", "instant", "zone"),
    [
        ("iso", "2026-11-02T09:00:00+01:00", datetime(2026, 11, 2, 9), datetime(2026, 11, 2, 8, tzinfo=UTC), Zone.OFFSET),
        ("iso", "2026-11-02T09:00:00", datetime(2026, 11, 2, 9), None, Zone.UNKNOWN),
        ("unix", 1793610000, datetime(2026, 11, 2, 9), datetime(2026, 11, 2, 9, tzinfo=UTC), Zone.OFFSET),
        ("unix", "1793610000", datetime(2026, 11, 2, 9), datetime(2026, 11, 2, 9, tzinfo=UTC), Zone.OFFSET),
        ("unix_ms", 1793610000000, datetime(2026, 11, 2, 9), datetime(2026, 11, 2, 9, tzinfo=UTC), Zone.OFFSET),
        ("%d.%m.%Y %H:%M", "02.11.2026 09:00", datetime(2026, 11, 2, 9), None, Zone.UNKNOWN),
        ("%Y-%m-%d %H:%M:%S %z", "2026-11-02 09:00:00 +0100", datetime(2026, 11, 2, 9), datetime(2026, 11, 2, 8, tzinfo=UTC), Zone.OFFSET),
        ("%Y%m%d", "20261102", datetime(2026, 11, 2), None, Zone.UNKNOWN),
    ],
)  # fmt: skip
def test_a_time_is_read_as_it_is_printed_and_one_without_a_zone_is_marked(pattern, value, local, instant, zone) -> None:
    source = carrier(poll=facts(time_format=pattern))
    (report,) = read(source, {"parcels": [{"number": "A", "events": [{"code": "x", "at": value}]}]})

    (scan,) = report.scans
    assert (scan.local, scan.occurred_at, scan.zone) == (local, instant, zone)
    assert scan.precision == ("date" if pattern == "%Y%m%d" else "minute" if pattern.endswith("%M") else "second")


@pytest.mark.parametrize("pattern", ["unix", "unix_ms", "%d.%m.%Y"])
@pytest.mark.parametrize("value", [True, -1e99, "9" * 30, "٠١", [], {"a": 1}, "02.11.2026x", 1e30, "-5", "0001x"])
def test_a_time_of_another_format_costs_itself_and_is_told(pattern: str, value: Any) -> None:
    source = carrier(poll=facts(time_format=pattern))
    report, unread = read(source, {"parcels": [{"number": "A", "events": [{"code": "x", "at": value}]}]})

    assert len(report.scans) == 1 and report.scans[0].local is None
    assert isinstance(unread, Unread) and unread.where == "$.parcels[0].events[0].at"


def test_an_estimate_without_an_offset_is_of_the_accounts_zone() -> None:
    (report,) = read(carrier(zone="Europe/Oslo"), {"parcels": [{"number": "A", "due": "2026-11-04", "events": []}]})

    assert report.edd is not None
    assert report.edd.begins.isoformat() == "2026-11-04T00:00:00+01:00"
    assert report.edd.ends.isoformat() == "2026-11-05T00:00:00+01:00"


# webhooks


def hook(**more: Any) -> Generic:
    return carrier(webhook={**{k: v for k, v in ACME["webhook"].items() if k not in ("prefix", "timestamp")}, **more})


def digest(secret: str, signed_: bytes) -> bytes:
    return hmac.new(secret.encode(), signed_, hashlib.sha256).digest()


HEX = {"scheme": "hmac_hex"}
TIMED = {"scheme": "hmac_hex", "timestamp": "X-Acme-Time", "prefix": "v1="}
B64 = {"scheme": "hmac_base64", "prefix": "sha256 "}


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        (HEX, {"x-acme-signature": digest(SECRET, BODY).hex()}),
        (TIMED, {"x-acme-signature": "v1=" + digest(SECRET, STAMP.encode() + b"." + BODY).hex(), "x-acme-time": STAMP}),
        (B64, {"x-acme-signature": "sha256 " + base64.b64encode(digest(SECRET, BODY)).decode()}),
        ({"scheme": "header", "prefix": "Bearer "}, {"x-acme-signature": f"Bearer {SECRET}"}),
        ({"scheme": "standard", "header": None}, {k.lower(): v for k, v in standard(BODY).items()}),
    ],
    ids=["hex", "hex of time and body", "base64", "a header", "Standard Webhooks"],
)
def test_each_proof_is_taken_and_no_other(settings: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    source = hook(**settings)

    assert source.verify(Payload("acme", "webhook", (BODY,), AT, headers)) in (0, 1)
    wrong: list[tuple[bytes, Mapping[str, str]]] = [
        (BODY, {}),
        (BODY, {name: f"{value}x" for name, value in headers.items()}),
    ]
    if settings["scheme"] != "header":
        wrong.append((BODY + b" ", headers))
    if "timestamp" in settings:
        wrong.append((BODY, {**headers, "x-acme-time": str(int(STAMP) - 301)}))
    for body, given in wrong:
        with pytest.raises(WebhookRejected):
            source.verify(Payload("acme", "webhook", (body,), AT, given))


def test_a_webhook_tells_what_its_own_paths_say_and_its_id_stays_over_retries() -> None:
    source = hook(**HEX)
    (report,) = read(source, BODY, "webhook")

    assert isinstance(report, Report)
    assert (report.number, report.scans[0].code.code, report.complete) == ("N1", "D", False)
    assert source.dedupe_key(Payload("acme", "webhook", (BODY,), AT, {})) == "e1"
    assert (
        hook(**HEX, id=None, id_header="X-Id").dedupe_key(Payload("acme", "webhook", (BODY,), AT, {"x-id": "7"})) == "7"
    )
    assert len(hook(**HEX).dedupe_key(Payload("acme", "webhook", (b"{}",), AT, {}))) == 64


def test_a_webhook_of_another_kind_concerns_no_parcel_and_one_whose_kind_is_no_text_is_told() -> None:
    (other,) = read(hook(**HEX), {"type": "invoice", "id": "e2"}, "webhook")
    assert other.lacks == "nothing"
    with pytest.raises(BadPayload, match="compares a int with a text"):
        read(hook(**HEX), {"type": 7, "id": "e2", "data": []}, "webhook")


@pytest.mark.parametrize(
    ("query", "body", "answer"),
    [
        ({"hub.challenge": "abc-1"}, b"", b"abc-1"),
        ({"hub.challenge": "a\r\nb"}, b"", None),
        ({"hub.challenge": "x" * 501}, b"", None),
        ({"hub.challenge": "abc"}, b"{}", None),
        ({"other": "abc"}, b"", None),
        ({}, b"", None),
    ],
)
def test_a_challenge_is_given_back_where_the_description_says_that_one_comes(query, body, answer) -> None:
    payload = Payload("acme", "webhook", (body,), AT, {}, query)
    told = hook(challenge="hub.challenge").handshake(payload)

    assert (told.body if told is not None else None) == answer
    assert hook().handshake(payload) is None


def test_without_a_webhook_nothing_is_taken() -> None:
    source = carrier(webhook=None)

    assert source.webhooks is False
    with pytest.raises(WebhookRejected):
        source.verify(Payload("acme", "webhook", (BODY,), AT, {}))


@pytest.mark.parametrize(
    ("webhook", "said"),
    [
        ({"scheme": "standard", "header": "X-A"}, "scheme standard has its own headers"),
        ({"scheme": "hmac_hex", "header": None}, "header: is missing"),
        ({"scheme": "header", "timestamp": "X-T"}, "timestamp: is only of hmac_hex and hmac_base64"),
        ({"scheme": "hmac_hex", "header": "X A\r\n"}, "is no name of a header"),
        ({"scheme": "md5"}, "Input should be 'hmac_hex', 'hmac_base64', 'header' or 'standard'"),
    ],
)
def test_a_proof_that_cannot_be_is_refused(webhook: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        hook(**webhook)
