"""Hermes Germany: conformance, grants, requests, and what is its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from tracker.domain import errors
from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Transient
from tracker.domain.facts import UNMAPPED, Code, Parcel, Parcels, Payload, StoredScan, Unread
from tracker.domain.timeline import place_in_time, summarize
from tracker.domain.vocabulary import Leg
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier
from tracker.plugin.countries import alpha2

FIXTURES = Path(__file__).parents[1] / "fixtures" / "hermes_germany"
TestConformance = for_carrier("carriers.hermes_germany", fixtures=FIXTURES)
HOST = "https://de-api.hermesworld.com/services"
INFO, POD = f"{HOST}/hsi/shipmentinfo", f"{HOST}/pod/signature"
TOKEN = "https://authme.myhermes.de/authorization-facade/oauth2/access_token"
ERRORS = json.loads((FIXTURES / "errors.json").read_text(encoding="utf-8"))
GIVEN = {"access_token": "tok", "expires_in": "3600", "token_type": "Bearer", "refresh_token": "next", "scope": "full"}


def read(make: Any, body: Any) -> list[Any]:
    source, _ = make("carriers.hermes_germany")
    return list(source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {})))


def history(*codes: str, **more: Any) -> dict[str, Any]:
    """Make an answer about one shipment, scanned once an hour."""
    status = [
        {"code": code, "timestamp": f"2026-10-{20 + at // 24}T{at % 24:02}:00:00+02:00"}
        for at, code in enumerate(codes)
    ]
    return {"shipmentinfo": [{"shipmentID": "H1", "status": status, **more}]}


def where_it_is(make: Any, *codes: str) -> Any:
    """Return the summary of a history, as the core makes it."""
    source, _ = make("carriers.hermes_germany")
    (report,) = read(make, history(*codes))
    told = []
    for at, one in enumerate(report.scans):
        meaning = source.meaning(one.code) or UNMAPPED
        if one.leg is not None:
            meaning = type(meaning)(meaning.status, meaning.reason, one.leg, meaning.correction)
        told.append(
            StoredScan(str(at), one.code.space, one.code.code, meaning, *place_in_time(one, source.default_zone, AT))
        )
    return summarize(told)


# access


class Vault:
    def __init__(self, kept: str | None = None) -> None:
        self.kept = [kept] if kept is not None else []

    def load(self) -> str | None:
        return self.kept[-1] if self.kept else None

    def store(self, value: str) -> None:
        self.kept.append(value)


def by_code(make: Any, vault: Any, code: str = "c0de") -> tuple[Any, Any]:
    source, client = make(
        "carriers.hermes_germany", password=None, username=None, code=code, redirect_uri="https://us.example/back"
    )
    client.vault = vault
    return source, client


def forms(route: Any) -> list[dict[str, str]]:
    return [dict(parse_qsl(call.request.content.decode())) for call in route.calls]


def test_a_customer_with_a_password_is_asked_for_by_it(outside, make) -> None:
    token = outside.post(TOKEN).respond(json=GIVEN)
    info = outside.get(INFO).respond(json={"shipmentinfo": []})
    source, client = make("carriers.hermes_germany", language="DE")

    list(source.fetch(client, Parcels((Parcel("hermes_germany", "H1"),))))

    assert forms(token) == [
        {"grant_type": "password", "username": "customer", "password": "canary-password", "client_id": "canary-client_id",
         "client_secret": "canary-client_secret"}
    ]  # fmt: skip
    request = info.calls[0].request
    assert (request.headers["authorization"], request.headers["accept-language"]) == ("Bearer tok", "DE")


def test_a_code_is_used_once_and_then_the_refresh_token_that_came_last(outside, make) -> None:
    token = outside.post(TOKEN).respond(json=GIVEN)
    vault = Vault()
    source, client = by_code(make, vault)

    source._grant(client)
    assert vault.kept[0].endswith(":"), "the vault was tried before the code was used up"
    token.respond(json={**GIVEN, "refresh_token": "after next"})
    source._grant(client)
    token.respond(json={key: value for key, value in GIVEN.items() if key != "refresh_token"})
    source._grant(client)
    source._grant(client)

    assert [(form["grant_type"], form.get("code") or form["refresh_token"]) for form in forms(token)] == [
        ("authorization_code", "c0de"), ("refresh_token", "next"), ("refresh_token", "after next"), ("refresh_token", "after next"),
    ]  # fmt: skip
    assert forms(token)[0]["redirect_uri"] == "https://us.example/back"
    assert "c0de" not in " ".join(vault.kept)


def test_another_code_begins_anew(outside, make) -> None:
    token = outside.post(TOKEN).respond(json=GIVEN)
    vault = Vault()
    source, client = by_code(make, vault)
    source._grant(client)

    source, client = by_code(make, vault, "another")
    source._grant(client)

    assert [form["grant_type"] for form in forms(token)] == ["authorization_code"] * 2


def test_a_code_is_not_used_up_where_there_is_no_vault(outside, make) -> None:
    token = outside.post(TOKEN).respond(json=GIVEN)
    source, client = make("carriers.hermes_germany", password=None, code="c0de", redirect_uri="https://us.example/back")

    with pytest.raises(CredentialsRejected, match="vault_key"):
        source._grant(client)
    assert not token.calls


def test_a_refresh_token_that_ended_says_where_a_new_code_is_handed_out(outside, make) -> None:
    told = {"error": "invalid_token", "error_description": "Invalid refresh token (expired): 5ecret"}
    outside.post(TOKEN).respond(401, json=told)
    source, client = by_code(make, Vault())

    with pytest.raises(
        CredentialsRejected, match="HTTP 401: invalid_token; a new code is handed out at https://authme"
    ) as raised:
        source._grant(client)
    assert (
        "authorize?response_type=code&client_id=canary-client_id&redirect_uri=https%3A%2F%2Fus.example%2Fback"
        in str(raised.value)
    )
    assert "5ecret" not in str(raised.value)


def test_an_expired_token_that_is_told_with_400_is_renewed(outside, make) -> None:
    outside.post(TOKEN).side_effect = [_http(200, GIVEN), _http(200, {**GIVEN, "access_token": "tok2"})]
    expired = {"listOfResultCodes": [{"code": "e903", "message": "Token is expired."}]}
    route = outside.get(INFO)
    route.side_effect = [_http(400, expired), _http(200, {"shipmentinfo": []})]
    source, client = make("carriers.hermes_germany")

    (page,) = source.fetch(client, Parcels((Parcel("hermes_germany", "H1"),)))

    assert json.loads(page.parts[0]) == {"shipmentinfo": []}
    assert [call.request.headers["authorization"] for call in route.calls] == ["Bearer tok", "Bearer tok2"]


def _http(status: int, body: Any) -> Any:
    return httpx.Response(status, json=body)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, []),
        ({"password": None, "code": "c", "redirect_uri": "https://us.example"}, []),
        ({"password": None}, ["needs either username and password, or code and redirect_uri"]),
        ({"code": "c"}, ["needs either username and password, or code and redirect_uri"]),
        ({"username": None}, ["is of whom? `username` is missing"]),
        ({"password": None, "code": "c"}, ["needs the redirect_uri that it was asked for with"]),
    ],
)
def test_settings_without_a_whole_grant_are_refused(make, settings, said) -> None:
    source, _ = make("carriers.hermes_germany", **settings)

    assert [remark.said for remark in source.examine(lambda name: b"", {})] == said


def test_without_any_grant_nothing_is_asked(outside, make) -> None:
    source, client = make("carriers.hermes_germany", password=None)

    with pytest.raises(CredentialsRejected, match="neither"):
        source._grant(client)


# requests


def test_a_hundred_numbers_go_into_one_call_each_once(outside, make) -> None:
    outside.post(TOKEN).respond(json=GIVEN)
    route = outside.get(INFO).respond(json={"shipmentinfo": []})
    source, client = make("carriers.hermes_germany")
    numbers = [f"H{n:019}" for n in range(101)]

    list(source.fetch(client, Parcels(tuple(Parcel("hermes_germany", n) for n in (*numbers, numbers[0].lower())))))

    asked = [call.request.url.params.get_list("shipmentID") for call in route.calls]
    assert asked == [numbers[:100], numbers[100:]]


@pytest.mark.parametrize("case", ERRORS, ids=[case["what"] for case in ERRORS])
def test_each_error_is_what_the_files_say(make, case) -> None:
    source, _ = make("carriers.hermes_germany")
    response = Response(case["status"], {}, json.dumps(case["body"]).encode(), AT)

    with pytest.raises(getattr(errors, case["raises"])) as raised:
        source.raise_for_status(response)
    assert type(raised.value) is getattr(errors, case["raises"])


@pytest.mark.parametrize(
    "body",
    [b'{"shipmentinfo": [{"shipmentID": "H1"}], "listOfResultCodes": [{"code": "e999"}]}', b'{"listOfResultCodes": []}',
     b'{"listOfResultCodes": [7]}', b'{"listOfResultCodes"'],
)  # fmt: skip
def test_what_is_no_error_of_theirs_is_judged_by_what_it_lacks(make, body) -> None:
    source, _ = make("carriers.hermes_germany")

    source.raise_for_status(Response(200, {}, body, AT))  # the core asks for `response_keys`


def test_what_is_not_known_as_a_whole_tells_of_no_parcel_and_is_no_odd_answer(make) -> None:
    assert read(make, ERRORS[0]["body"]) == []
    with pytest.raises(BadPayload, match="shipmentinfo"):
        read(make, ERRORS[1]["body"])


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {"shipmentinfo": [{"shipmentID": "H0", "result": {"code": "e001"}}]}, None),
        (200, {"listOfResultCodes": [{"code": "e001", "message": "There is no information"}]}, None),
        (200, {"ok": True}, Transient),
        (403, {"listOfResultCodes": [{"code": "e900", "message": "You are not authorized"}]}, CredentialsRejected),
        (404, {}, Transient),
    ],
)
def test_a_ping_believes_only_an_answer_of_the_right_shape(outside, make, status, body, error) -> None:
    outside.post(TOKEN).respond(json=GIVEN)
    outside.get(INFO).respond(status, json=body)
    source, client = make("carriers.hermes_germany")

    if error is None:
        source.ping(client)
        return
    with pytest.raises(error):
        source.ping(client)


# the signature


def test_a_signature_is_a_pdf_that_is_asked_for_with_a_reason(outside, make) -> None:
    outside.post(TOKEN).respond(json=GIVEN)
    route = outside.post(POD).respond(content=b"%PDF-1.4 ...", headers={"content-type": "application/pdf"})
    source, client = make("carriers.hermes_germany", pod_reason="POSSIBLE_FRAUD_CASE")

    found = source.proof(client, Parcel("hermes_germany", "89195131100303"), None)

    assert (found.kind, found.content) == ("application/pdf", b"%PDF-1.4 ...")
    assert json.loads(route.calls[0].request.content) == {
        "shipmentId": "89195131100303",
        "reason": "POSSIBLE_FRAUD_CASE",
    }


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (404, b'{"listOfResultCodes": [{"code": "e005", "message": "There is no signature"}]}', NotFound),
        (
            400,
            b'{"listOfResultCodes": [{"code": "e007", "message": "You are not authorized to request the signature"}]}',
            Refused,
        ),
        (200, b"{}", BadPayload),
    ],
)
def test_a_signature_that_is_not_there_is_none(outside, make, status, content, error) -> None:
    outside.post(TOKEN).respond(json=GIVEN)
    outside.post(POD).respond(status, content=content)
    source, client = make("carriers.hermes_germany", pod_reason="REQUESTED_BY_RECEIVER")

    with pytest.raises(error):
        source.proof(client, Parcel("hermes_germany", "89195131100303"), None)


def test_without_a_reason_no_signature_is_asked_for(outside, make) -> None:
    source, client = make("carriers.hermes_germany")

    with pytest.raises(Refused, match="pod_reason"):
        source.proof(client, Parcel("hermes_germany", "89195131100303"), None)


# what an answer says


@pytest.mark.parametrize(
    ("printed", "space", "code"),
    [
        ("060-001-004", "3x3", "060001004"), ("60-1-4", "3x3", "060001004"), ("060001004", "3x3", "060001004"),
        ("60001004", "3x3", "060001004"), (60001004, "3x3", "060001004"), ("0-0-0", "3x3", "000000000"),
        (" 3710 ", "2x2", "3710"), (3710, "2x2", "3710"), ("0000", "2x2", "0000"),
        ("1-2", "3x3", "1-2"), ("x-y-z", "3x3", "x-y-z"), ("1000-1-1", "3x3", "1000-1-1"), ("0600010041", "3x3", "0600010041"),
    ],
)  # fmt: skip
def test_a_code_is_read_however_it_is_printed(make, printed, space, code) -> None:
    (report,) = read(make, {"shipmentinfo": [{"shipmentID": "H1", "status": [{"code": printed, "description": None}]}]})

    assert [scan.code for scan in report.scans] == [Code(space, code)]


def test_a_scan_without_a_code_is_kept_as_unknown_and_told(make) -> None:
    report, unread = read(make, history(""))

    assert ([scan.code.code for scan in report.scans], unread.where, report.complete) == (
        ["missing"],
        "$.shipmentinfo[0].status[0].code",
        False,
    )
    assert isinstance(unread, Unread)


def test_an_error_beside_a_history_is_told_and_takes_nothing(make) -> None:
    report, unread = read(make, history("90-0-0", result={"code": "e002", "message": "not successful"}))

    assert (len(report.scans), report.said, "e002" in unread.problem) == (1, "", True)
    (report,) = read(make, history("90-0-0", result={"code": "e001"}))
    assert (len(report.scans), report.tracking) == (1, "active")


@pytest.mark.parametrize(
    ("forecast", "begins", "ends"),
    [
        ({"date": "2026-10-25"}, "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),  # a day of 25 hours
        ({"date": "2026-01-05", "timeSlot": {"to": "18:00"}}, "2026-01-05T18:00:00+01:00", "2026-01-05T18:00:00+01:00"),
        ({"date": "2026-01-05", "timeSlot": {"from": "10:00:00", "to": ""}}, "2026-01-05T10:00:00+01:00", "2026-01-05T10:00:00+01:00"),
    ],
)  # fmt: skip
def test_a_forecast_is_in_german_time(make, forecast, begins, ends) -> None:
    (report,) = read(make, history("50-1-0", deliveryForecast=forecast))

    assert [at.isoformat() for at in (report.edd.begins, report.edd.ends)] == [begins, ends]


@pytest.mark.parametrize(
    "forecast",
    [{"date": "soon"}, {"date": "0001-01-01"}, {"date": "2026-10-25", "timeSlot": {"from": "25:00"}}, {"date": 7}, "x"],
)
def test_a_forecast_that_cannot_be_read_is_told_and_costs_itself_only(make, forecast) -> None:
    report, unread = read(make, history("50-1-0", deliveryForecast=forecast))

    assert (len(report.scans), unread.subject, "deliveryForecast" in unread.where) == (1, "H1", True)


def test_what_ended_or_goes_back_is_expected_no_more(make) -> None:
    for code in ("90-1-4", "100-1-3", "125-1-9"):
        (report,) = read(make, history("50-1-0", code, deliveryForecast={"date": "2026-10-25"}))
        assert report.edd is None


# what comes back


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        (["50-1-3", "60-3-4", "60-3-3"], "delivery_attempted"),
        (["50-1-3", "60-1-4", "60-1-3"], "exception"),  # refused; back at the depot is no return
        (["100-1-3", "115-1-6", "125-1-9"], "returned"),
        (["100-1-3", "90-1-4"], "returned"),  # danger 10: delivered after a return event
        (["100-6-3", "50-1-3", "90-1-4"], "delivered"),  # 6086 is a redirect
        (["100-1-3", "100-90-3", "50-1-3", "90-1-4"], "delivered"),  # the return was a wrong scan
        (["90-1-4", "100-1-3", "100-90-3"], "delivered"),  # ... and takes no delivery back
        (["50-1-3", "50-90-3"], "in_transit"),
        (["90-1-4", "50-1-3", "50-90-3"], "delivered"),
        (["55-1-5", "90-3-8", "48-90-5"], "in_transit"),  # collected, by a wrong scan
        (["55-1-5", "48-90-5"], "available_for_pickup"),
        (["60-3-4", "60-90-3"], "delivery_attempted"),
        (["65-2-8", "115-1-6", "125-1-9"], "returned"),  # a customer's own return
        (["90-1-4", "65-1-4", "100-9-3", "115-1-6", "125-1-9"], "delivered"),  # ... never unsays a delivery
        (["90-1-4", "3760", "1520", "7500"], "delivered"),
        (["1-2-3"], "unknown"),
    ],
)
def test_a_history_is_where_a_careful_reader_sees_it(make, codes, status) -> None:
    assert where_it_is(make, *codes).status == status


def test_a_customers_return_travels_on_a_leg_of_its_own(make) -> None:
    (report,) = read(make, history("65-2-8", "30-0-6", "115-1-6", "125-1-9"))

    assert [scan.leg for scan in report.scans] == [Leg.CUSTOMER_RETURN, None, Leg.CUSTOMER_RETURN, Leg.CUSTOMER_RETURN]


def test_what_takes_a_scan_back_is_read_in_the_order_of_time(make) -> None:
    (report,) = read(
        make,
        {"shipmentinfo": [{"shipmentID": "H1", "status": [
            {"code": "100-90-3", "timestamp": "2026-10-20T10:00:00+02:00"}, {"code": "100-1-3", "timestamp": "2026-10-20T09:00:00+02:00"},
            {"code": "30-0-6", "timestamp": ""},
        ]}]},
    )  # fmt: skip

    assert [scan.code.space for scan in report.scans] == ["undoes", "3x3", "3x3"]


# countries


@pytest.mark.parametrize(
    ("printed", "letters"), [("DEU", "DE"), ("aut ", "AT"), ("de", "DE"), ("XXX", ""), ("", ""), ("D1", ""), ("Germany", "")]
)  # fmt: skip
def test_a_country_of_three_letters_has_two(printed, letters) -> None:
    assert alpha2(printed) == letters


def test_a_number_that_an_answer_leaves_out_is_not_known(outside, make) -> None:
    outside.post(TOKEN).respond(json={"access_token": "t", "expires_in": 3600})
    outside.get(f"{HOST}/hsi/shipmentinfo").respond(
        json={"shipmentinfo": [{"shipmentID": "H1", "result": {"code": "E001"}}]}
    )
    source, client = make("carriers.hermes_germany")

    (page,) = source.fetch(client, Parcels((Parcel("hermes_germany", "H1"), Parcel("hermes_germany", "H2"))))

    told = source.normalize(Payload("a", "poll", page.parts, AT, {}))
    assert [(one.number, str(one.tracking)) for one in told] == [("H1", "not_found"), ("H2", "not_found")]


def test_a_parcel_that_is_told_of_by_another_of_its_numbers_is_none_that_nobody_knows(make) -> None:
    info = {"shipmentID": "H9", "internationalShipmentID": "00340633031105567586", "status": [{"code": "0-0-0"}]}
    source, _ = make("carriers.hermes_germany")

    def told(*asked: str) -> list[Any]:
        parts = (json.dumps({"shipmentinfo": [info]}).encode(), json.dumps({"asked": asked}).encode())
        return list(source.normalize(Payload("a", "poll", parts, AT, {})))

    (by_the_other,) = told("00340633031105567586")
    of_nobody, unread = told("00340633031105567587")
    assert (by_the_other.number, len(by_the_other.scans)) == ("00340633031105567586", 1)
    assert (of_nobody.number, unread.where, unread.subject) == ("H9", "$.shipmentinfo", "00340633031105567587")
