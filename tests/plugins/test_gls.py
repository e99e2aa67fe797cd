"""GLS: conformance, requests, and what is its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Code, Parcel, Parcels, Payload, Report, Unread
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.gls", fixtures=Path(__file__).parents[1] / "fixtures" / "gls")
HOST = "https://api.gls-group.net"
TRACK = f"{HOST}/track-and-trace-v1/tracking"
LATER, EARLIER = "2026-11-03T10:00:00+0100", "2026-11-02T10:00:00+0100"


@pytest.fixture
def token(outside: Any) -> Any:
    return outside.post(f"{HOST}/oauth2/v2/token").respond(json={"access_token": "t", "expires_in": "14400"})


def _read(make: Any, *parcels: Any) -> list[Any]:
    source, _ = make("carriers.gls")
    return list(source.normalize(Payload("a", "poll", (json.dumps({"parcels": parcels}).encode(),), AT, {})))


def _event(code: Any, at: str = EARLIER, **more: Any) -> dict[str, Any]:
    return {"code": code, "eventDateTime": at, "country": "DE", **more}


def _judge(make: Any, status: int, body: Any, **headers: str) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    make("carriers.gls")[0].raise_for_status(Response(status, headers, raw, AT))


# requests


def test_ten_numbers_go_into_one_call_in_the_language_of_the_account(outside, make, token) -> None:
    route = outside.get(url__startswith=f"{TRACK}/simple/trackids/").respond(json={"parcels": []})
    source, client = make("carriers.gls", language="DE")

    pages = list(source.fetch(client, Parcels(tuple(Parcel("gls", f"936301917{i:02}") for i in range(11)))))

    paths = [call.request.url.raw_path.decode().rpartition("/")[2].split(",") for call in route.calls]
    assert (len(pages), [len(numbers) for numbers in paths]) == (2, [10, 1])
    assert route.calls[0].request.headers["accept-language"] == "DE"
    assert route.calls[0].request.headers["authorization"] == "Bearer t"
    asked = token.calls[0].request
    assert (asked.content, asked.headers["authorization"][:6]) == (b"grant_type=client_credentials", "Basic ")


def test_the_version_of_the_token_call_is_a_setting(outside, make) -> None:
    route = outside.post(f"{HOST}/oauth2/v1/token").respond(json={"access_token": "t"})
    outside.get(f"{TRACK}/events/codes").respond(json={"eventsCodes": []})
    source, client = make("carriers.gls", token_path="/oauth2/v1/token")

    source.ping(client)

    assert route.called


def test_a_token_call_that_nothing_answers_makes_no_number_unknown(outside, make) -> None:
    outside.post(f"{HOST}/wrong").respond(404)
    source, client = make("carriers.gls", token_path="/wrong")

    with pytest.raises(Unavailable, match="token endpoint: HTTP 404: nothing answers at this address"):
        list(source.fetch(client, Parcels((Parcel("gls", "36301917596"),))))


def test_a_language_is_two_capitals(make) -> None:
    with pytest.raises(ValidationError, match="language"):
        make("carriers.gls", language="English")


def test_a_404_is_a_wrong_call_and_makes_no_number_unknown(outside, make, token) -> None:
    outside.get(url__startswith=TRACK).respond(404, json={"title": "Not Found"})
    source, client = make("carriers.gls")
    one, two = Parcel("gls", "36301917596"), Parcel("gls", "36301917597")

    for asked in ((one, two), (one,)):
        with pytest.raises(Transient, match="HTTP 404: nothing of GLS answers there: is `base_url` right"):
            list(source.fetch(client, Parcels(asked)))


# check


@pytest.mark.parametrize("body", [{}, {"parcels": []}, {"eventsCodes": "x"}, [], "fine"])
def test_a_key_is_believed_only_by_the_list_of_codes_that_was_asked_for(outside, make, token, body) -> None:
    outside.get(f"{TRACK}/events/codes").respond(json=body)
    source, client = make("carriers.gls")

    with pytest.raises((Transient, BadPayload)):
        source.ping(client)


def test_check_names_the_codes_of_gls_own_list_that_nobody_here_knows(outside, make, token) -> None:
    known = [{"code": "CANCEL.NORMAL", "description": "deleted"}, {"code": "CHANGD.PARCELBOX", "description": "Locker"}]
    new = [{"code": f"NEW{i}.X", "description": f"new {i}"} for i in range(7)]
    outside.get(f"{TRACK}/events/codes").respond(json={"eventsCodes": known + new})
    source, client = make("carriers.gls")

    (said,) = source.look_around(client)

    assert "NEW0.X (new 0)" in said
    assert "and 2 more" in said
    assert "codes: {event/NEW0.X: {status: ...}}" in said
    outside.get(f"{TRACK}/events/codes").respond(json={"eventsCodes": known + new[:1]})
    assert "more" not in next(source.look_around(client))
    outside.get(f"{TRACK}/events/codes").respond(json={"eventsCodes": known})
    assert list(source.look_around(client)) == []


# errors


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (401, {"fault": {"faultstring": "The Token has expired: policy(Verify-JWT)"}}, CredentialsRejected, "expired"),
        (401, b"<html><body>Authorization failed</body></html>", CredentialsRejected, "add Track And Trace V1"),
        (401, {"fault": 7}, CredentialsRejected, "add Track And Trace V1"),
        (401, [], CredentialsRejected, "add Track And Trace V1"),
        (404, {"title": "Not Found", "detail": "No static resource tracking/x."}, Refused, "base_url"),
        (400, {"title": "Bad Request", "detail": "Failed to convert 'showLinks'"}, Refused, "Bad Request"),
        (429, {"fault": {"faultstring": "Rate limit quota violation", "detail": {"errorcode": "policies.ratelimit.QuotaViolation"}}}, RateLimited, "quota"),
        (500, {"fault": {"faultstring": "Rate limit quota violation", "detail": {"errorcode": "policies.ratelimit.QuotaViolation"}}}, RateLimited, "quota"),
        (200, {"fault": {"faultstring": "Body buffer overflow"}}, Transient, "with an error: Body buffer overflow"),
        (200, {"fault": {"detail": {"errorcode": "x"}}}, Transient, "with an error"),
        (503, b"upstream", Transient, "503"),
    ],
)  # fmt: skip
def test_an_error_is_one_whatever_its_status(make, status, body, error, said) -> None:
    with pytest.raises(error, match=said):
        _judge(make, status, body)


def test_a_quota_that_is_used_up_rests_for_as_long_as_gls_says(make) -> None:
    fault = {"fault": {"faultstring": "Rate limit quota violation", "detail": {"errorcode": "policies.ratelimit.Q"}}}
    with pytest.raises(RateLimited) as limited:
        _judge(make, 429, fault, **{"retry-after": "90"})

    assert limited.value.after is not None
    assert limited.value.after.total_seconds() == 90


@pytest.mark.parametrize("body", [{}, {"parcels": None}, {"parcels": {}}, {"parcels": ""}, {"parcels": 7}])
def test_an_answer_without_its_list_is_no_answer(make, body) -> None:
    source, _ = make("carriers.gls")

    with pytest.raises(BadPayload, match=r"\$\.parcels"):
        source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))


def test_a_number_of_which_nothing_is_told_is_named(make) -> None:
    first, *unread = _read(
        make, {"requested": "1", "status": "FINAL"}, {"requested": "2"}, {"requested": "3", "events": 7}
    )

    assert (first.number, first.said) == ("1", "FINAL")
    assert [(one.where, one.subject) for one in unread] == [("$.parcels[1].events", "2"), ("$.parcels[2].events", "3")]


# what an answer says


def test_a_card_that_stands_for_two_parcels_tells_two(make) -> None:
    two = [
        {"requested": "747N6K", "unitno": n, "events": [_event("INTIAL.NORMAL")]}
        for n in ("93835330599", "93835330600")
    ]

    assert [(one.number, one.piece) for one in _read(make, *two)] == [
        ("747N6K", "93835330599"),
        ("747N6K", "93835330600"),
    ]


def test_without_the_requested_number_the_parcel_has_its_own(make) -> None:
    (report,) = _read(make, {"unitno": 36301917596, "events": [_event("INTIAL.NORMAL")]})

    assert (report.number, report.piece) == ("36301917596", None)


@pytest.mark.parametrize(
    ("code", "text", "means"),
    [
        ("DELIVD.PARCELSHOP", "", ("available_for_pickup", "delivered_to_pickup_point")),
        ("DELIVD.NORMAL", "", ("delivered", "delivered")),
        ("DELIVD.LETTERBOX", "The parcel has been delivered into the letter box.", ("delivered", "delivered")),
        ("DELIVD.DEL_BY_PSAPP", "handed out in the ParcelShop", ("delivered", "collected_by_recipient")),
        ("DELIVD.X", "The parcel has been delivered at the ParcelShop.", None),
        ("DELIVD.PARCELBOX", "", None),
        ("DELIVD.PACKSTATION", "", None),
        ("DELIVD.X", "The parcel has been delivered back to the sender.", None),
        ("DELIVD.RETURN", "", None),
        ("CANCEL.NORMAL", "", (None, "information_only")),
        ("CANCEL.OTHER", "", (None, "information_only")),
        ("INTIAL.OTHER", "", None),
        ("RETURN.X", "", ("returning", "return_initiated")),
        ("WHOUSE.NORMAL", "", (None, "in_warehouse")),
        ("WHOUSE.X", "", ("on_hold", "held_by_carrier")),
        ("outdel.normal", "", ("out_for_delivery", "on_vehicle")),
        ("QQ", "", None),
    ],
)
def test_a_code_is_read_whole_then_by_its_first_half(make, code, text, means) -> None:
    source, _ = make("carriers.gls")
    meaning = source.meaning(Code("event", code, text))

    assert (None if meaning is None else (meaning.status, meaning.reason)) == means


def test_in_another_language_a_delivery_that_is_not_known_is_none(make) -> None:
    french, _ = make("carriers.gls", language="FR")

    assert french.meaning(Code("event", "DELIVD.X", "Votre colis a été livré dans un Point Relais.")) is None
    assert french.meaning(Code("event", "DELIVD.NORMAL", "Votre colis a été livré.")).status == "delivered"
    assert french.meaning(Code("event", "OUTDEL.X", "")).status == "out_for_delivery"


def test_a_first_half_is_nothing_that_a_status_has(make) -> None:
    source, _ = make("carriers.gls")

    assert source.meaning(Code("status", "DELIVD")) is None


@pytest.mark.parametrize(
    ("status", "at", "events", "heads"),
    [
        ("DELIVERED", LATER, [_event("OUTDEL.NORMAL")], ["DELIVERED"]),  # later than all events
        ("DELIVERED", EARLIER, [_event("OUTDEL.NORMAL")], []),  # events beat it
        ("DELIVERED", None, [_event("OUTDEL.NORMAL")], []),
        ("INTRANSIT", LATER, [_event("INTIAL.NORMAL")], []),  # coarser than the event
        ("intransit", LATER, [_event("INTIAL.NORMAL")], []),
        ("INTRANSIT", EARLIER, [_event("NEW.X")], ["INTRANSIT"]),
        ("DELIVERED", EARLIER, [_event("INFO.SIGWSUR", LATER), _event("DELIVD.SHOP_X")], ["DELIVERED"]),
        ("FINAL", LATER, [_event("DELIVD.NORMAL")], []),
        ("CANCELED", LATER, [_event("CANCEL.NORMAL", LATER), _event("INTIAL.PREADVICE")], []),
        ("Canceled", LATER, [_event("CANCEL.NORMAL", LATER), _event("INTIAL.PREADVICE")], []),
        ("CANCELED", LATER, [{"codeNo": "43.0", "eventDateTime": EARLIER}], []),
        ("CANCELED", LATER, [_event("INTIAL.PREADVICE")], ["CANCELED"]),
        ("RETURNED", LATER, [_event("INBOUD.NORMAL")], ["RETURNED"]),  # UNKNOWN, and seen
        ("DELIVERED", LATER, [_event("OUTDEL.NORMAL", "2026-11-02T10:00:00")], ["DELIVERED"]),  # an event without an offset
        ("DELIVERED", LATER, [_event("OUTDEL.NORMAL", "")], ["DELIVERED"]),
    ],
)  # fmt: skip
def test_the_status_counts_where_no_event_that_is_known_tells_as_much(make, status, at, events, heads) -> None:
    (report,) = _read(make, {"requested": "1", "status": status, "statusDateTime": at, "events": events})

    assert [scan.code.code for scan in report.scans if scan.code.space == "status"] == heads
    assert report.complete is (status != "FINAL")


def test_a_history_whose_time_cannot_be_read_is_not_whole(make) -> None:
    report, unread = _read(make, {"requested": "1", "events": [_event("OUTDEL.NORMAL", "soon"), _event("INBOUD.X")]})

    assert (len(report.scans), report.complete) == (2, False)
    assert (unread.where, unread.subject) == ("$.parcels[0].events[0].eventDateTime", "1")


def test_one_event_without_its_list_is_that_event(make) -> None:
    (report,) = _read(make, {"requested": "1", "events": _event("OUTDEL.NORMAL")})

    assert ([scan.code.code for scan in report.scans], report.complete) == (["OUTDEL.NORMAL"], True)


@pytest.mark.parametrize("code", [7, None, "", "x" * 101, {}])
def test_a_scan_whose_code_cannot_be_read_is_kept_and_told(make, code) -> None:
    report, *unread = _read(make, {"requested": "1", "events": [_event(code)]})

    assert [scan.code.code for scan in report.scans] == ["7" if code == 7 else "missing"]
    assert isinstance(report, Report)
    assert all(isinstance(one, Unread) for one in unread)
    assert len(unread) == (code != 7)


def test_a_number_that_an_answer_leaves_out_is_not_known_yet(make) -> None:
    source, _ = make("carriers.gls")
    body = {"parcels": [{"requested": "1", "status": "PREADVICE"}, {"requested": "2"}]}
    parts = (json.dumps(body).encode(), b'{"asked": ["1", "2", "3"]}')
    told, missing, unread = source.normalize(Payload("a", "poll", parts, AT, {}))

    assert (told.number, missing.number, str(missing.tracking), unread.subject) == ("1", "3", "not_found", "2")


def test_an_error_beside_what_is_told_is_told_and_a_list_that_is_not_there_is_missing(make) -> None:
    error = {"errorCode": "E_500_01", "errorMessage": "Internal Server Error"}
    told = {"requested": "36301917596", "status": "INTRANSIT", "statusDateTime": LATER, **error}

    report, unread = _read(make, told)

    assert [scan.code.code for scan in report.scans] == ["INTRANSIT"]
    assert (unread.where, unread.subject) == ("$.parcels[0].errorCode", "36301917596")
    assert unread.problem == "says E_500_01: Internal Server Error beside what is told"
    source, _ = make("carriers.gls")
    with pytest.raises(BadPayload, match=r"^\$\.parcels: is missing$"):
        source.normalize(Payload("a", "poll", (b'{"parcels": null}',), AT, {}))
