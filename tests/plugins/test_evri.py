"""Evri: conformance, requests, and what is its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import Code, Parcel, Parcels, Payload
from tracker.plugin.asked import NOT_TOLD
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.evri", fixtures=Path(__file__).parents[1] / "fixtures" / "evri")
BASE = "https://api.hermesworld.co.uk/client-tracking-api/v1"
TOKENS = "https://hermes-client-integration-prod.eu.auth0.com/oauth/token"
MINE = "H01ABCDEF1234567"


@pytest.fixture
def token(outside: Any) -> Any:
    return outside.post(TOKENS).respond(json={"access_token": "t", "expires_in": 86400})


def _read(make: Any, body: Any, asked: Any = MINE, **settings: Any) -> list[Any]:
    source, _ = make("carriers.evri", **settings)
    parts = tuple(json.dumps(part).encode() for part in (body, {"asked": [asked] if asked else []}))
    return list(source.normalize(Payload("a", "poll", parts, AT, {})))


def _result(*stages: str, **more: Any) -> dict[str, Any]:
    events = [
        {"dateTime": f"2026-11-03T0{i}:00:00Z", "trackingStage": {"trackingStageCode": stage}}
        for i, stage in enumerate(stages)
    ]
    return {"results": [{"urn": "urn:1", "trackingEvents": events, **more}]}


# requests


def test_a_number_is_looked_up_and_each_of_its_parcels_is_read_by_its_urn(outside, make, token) -> None:
    found = {"parcelIdentifiers": [{"urn": "urn:1"}, {"urn": "urn:2"}, {"urn": None}, 7]}
    lookup = outside.get(f"{BASE}/parcels/reference/{MINE}").respond(json=found)
    read = outside.get(f"{BASE}/parcels").respond(json=_result("2"))
    source, client = make("carriers.evri")

    pages = list(source.fetch(client, Parcels((Parcel("evri", MINE.lower()),))))

    assert [call.request.url.params["uniqueIds"] for call in read.calls] == ["urn:1", "urn:2"]
    assert [json.loads(page.parts[1]) for page in pages] == [{"asked": [MINE]}] * 3
    with pytest.raises(
        BadPayload, match=r"\$\.parcelIdentifiers\[2\]\.urn: is missing"
    ):  # a parcel that nobody can ask about is told
        source.normalize(Payload("a", "poll", pages[0].parts, AT, {}))
    assert lookup.calls[0].request.headers["authorization"] == "Bearer t"
    assert token.calls[0].request.content == (
        b"grant_type=client_credentials&client_id=canary-client_id&client_secret=canary-client_secret"
    )


def test_a_number_without_a_parcel_is_not_known_yet(outside, make, token) -> None:
    outside.get(f"{BASE}/parcels/reference/{MINE}").respond(json={"parcelIdentifiers": []})
    source, client = make("carriers.evri")

    (page,) = source.fetch(client, Parcels((Parcel("evri", MINE),)))

    (report,) = source.normalize(Payload("a", "poll", page.parts, AT, {}))
    assert (report.number, str(report.tracking)) == (MINE, "not_found")
    outside.get(f"{BASE}/parcels/reference/{MINE}").respond(404, json={})
    with pytest.raises(NotFound):
        list(source.fetch(client, Parcels((Parcel("evri", MINE),))))


def test_a_lookup_alone_makes_no_number_unknown_that_it_knows(make) -> None:
    with pytest.raises(BadPayload, match=r"\$\.results: is missing: a lookup names its parcels"):
        _read(make, {"parcelIdentifiers": [{"urn": "urn:1"}]})


@pytest.mark.parametrize("body", [{}, {"parcelIdentifiers": None}, {"parcelIdentifiers": "x"}])
def test_a_lookup_that_lists_nothing_is_no_answer(outside, make, token, body) -> None:
    outside.get(f"{BASE}/parcels/reference/{MINE}").respond(json=body)
    source, client = make("carriers.evri")

    with pytest.raises(BadPayload, match="parcelIdentifiers"):
        list(source.fetch(client, Parcels((Parcel("evri", MINE),))))


def test_each_address_and_header_is_a_setting(outside, make) -> None:
    tokens = outside.post("https://id.evri.example/token").respond(json={"access_token": "t"})
    lookup = outside.get("https://api.evri.example/v2/find/H01/all").respond(json={"parcelIdentifiers": [{"urn": "u"}]})
    read = outside.get("https://api.evri.example/v2/read").respond(json=_result("2"))
    source, client = make(
        "carriers.evri", base_url="https://api.evri.example/v2", token_url="https://id.evri.example/token", audience="clients",
        token_header="apikey", token_prefix="", lookup_path="/find/{number}/all", parcels_path="/read", ids_parameter="ids",
    )  # fmt: skip

    list(source.fetch(client, Parcels((Parcel("evri", "H01"),))))

    assert b"audience=clients" in tokens.calls[0].request.content
    assert lookup.calls[0].request.headers["apikey"] == "t"
    assert read.calls[0].request.url.params["ids"] == "u"


@pytest.mark.parametrize(
    ("name", "value"),
    [("lookup_path", "/parcels"), ("lookup_path", "parcels/{number}"), ("lookup_path", "/p?n={number}"), ("parcels_path", "x"), ("token_header", "a b")],
)  # fmt: skip
def test_an_address_or_a_header_that_cannot_be_one_is_refused(make, name, value) -> None:
    with pytest.raises(ValidationError, match=name):
        make("carriers.evri", **{name: value})


# check


def test_a_token_alone_proves_little_and_check_says_so(outside, make, token) -> None:
    source, client = make("carriers.evri")

    source.ping(client)
    (said,) = source.look_around(client)

    assert "test_number" in said


def test_a_number_of_ones_own_proves_the_addresses(outside, make, token) -> None:
    lookup = outside.get(f"{BASE}/parcels/reference/{MINE}").respond(json={"parcelIdentifiers": [{"urn": "u"}]})
    source, client = make("carriers.evri", test_number=MINE)

    source.ping(client)

    assert (lookup.call_count, list(source.look_around(client))) == (1, [])
    for body in ({"parcelIdentifiers": []}, {}):
        outside.get(f"{BASE}/parcels/reference/{MINE}").respond(json=body)
        with pytest.raises(BadPayload, match="parcelIdentifiers"):
            source.ping(client)


def test_a_wrong_secret_is_told(outside, make) -> None:
    outside.post(TOKENS).respond(401, json={"error": "access_denied", "error_description": "Unauthorized"})
    source, client = make("carriers.evri")

    with pytest.raises(CredentialsRejected):
        source.ping(client)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {"error": "later"}, Transient),
        (429, {}, RateLimited),
        (403, {}, CredentialsRejected),
        (500, {}, Transient),
    ],
)
def test_an_error_is_one_whatever_its_status(make, status, body, error) -> None:
    source, _ = make("carriers.evri")

    with pytest.raises(error):
        source.raise_for_status(Response(status, {}, json.dumps(body).encode(), AT))


# what an answer says


@pytest.mark.parametrize("flag", [True, "true", "TRUE", 1, "yes"])
def test_a_return_flips_the_stages_3_and_4_and_no_other(make, flag) -> None:
    (report,) = _read(make, _result("0", "3", "4", "4_COURIER", "5_COURIER", returnParcel=flag))

    assert [scan.code.space for scan in report.scans] == ["stage", "return", "return", "stage", "stage"]


def test_what_was_scanned_before_the_return_began_stays_what_it_was(make) -> None:
    body = _result("3", "A", "4", returnParcel=True)
    body["results"][0]["trackingEvents"] += [{"dateTime": "", "trackingStage": "4"}]
    (report,) = _read(make, body)

    assert [scan.code.space for scan in report.scans] == ["stage", "stage", "return", "return"]


@pytest.mark.parametrize(
    ("flag", "problem"), [(False, ""), (None, ""), ("false", ""), (0, ""), ([], "a list"), ("perhaps", "'perhaps'")]
)
def test_anything_else_is_no_return_and_what_says_neither_is_told(make, flag, problem) -> None:
    report, *unread = _read(make, _result("3", "4", returnParcel=flag))

    assert {scan.code.space for scan in report.scans} == {"stage"}
    assert [(one.where, one.subject) for one in unread] == [("$.results[0].returnParcel", MINE)] * bool(problem)
    assert all(problem in one.problem for one in unread)


def test_which_stages_a_return_flips_is_a_setting(make) -> None:
    (report,) = _read(make, _result("3", "4_courier", returnParcel=True), returning_stages=["4_courier"])
    source, _ = make("carriers.evri")

    assert [scan.code for scan in report.scans] == [Code("stage", "3"), Code("return", "4_COURIER")]
    assert source.meaning(report.scans[1].code) is None, "unknown, until the account's codes say what it means"


def test_no_stage_ends_a_journey_but_those_that_say_delivered(make) -> None:
    source, _ = make("carriers.evri")
    ends = {
        code for (_, code), meaning in source.codes.items() if meaning.status is not None and meaning.status.terminal
    }

    assert ends == {"5_COURIER", "5_SHOP"}
    assert source.meaning(Code("stage", "5_LOCKER")) is None


@pytest.mark.parametrize("at", ["2026-11-05T07:31:07Z", 1793863867000, 1793863867000.0])
def test_a_time_is_read_by_its_type(make, at) -> None:
    body = {"results": [{"trackingEvents": [{"dateTime": at, "trackingStage": "2"}]}]}
    (report,) = _read(make, body)

    assert report.scans[0].occurred_at.isoformat() == "2026-11-05T07:31:07+00:00"


@pytest.mark.parametrize("at", ["soon", True, 1e300, {}])
def test_a_time_that_is_none_costs_itself_only(make, at) -> None:
    report, unread = _read(make, {"results": [{"trackingEvents": [{"dateTime": at, "trackingStage": "2"}]}]})

    assert (report.scans[0].local, report.complete, unread.where) == (
        None,
        False,
        "$.results[0].trackingEvents[0].dateTime",
    )


def test_a_number_that_nobody_asked_for_is_that_of_the_parcel(make) -> None:
    for name in ("barcode", "trackingNumber", "uniqueId", "urn"):
        (report,) = _read(make, {"results": [{name: "H02", "trackingEvents": []}]}, asked=None)
        assert report.number == "H02"


def test_a_recorded_answer_is_about_the_number_among_its_identifiers(make) -> None:
    for one in ({"value": "H02", "urn": "u"}, {"barcode": "H02"}):
        result = {"parcelIdentifiers": [7, {"type": "x"}, one], "trackingEvents": []}
        (report,) = _read(make, {"results": [result]}, asked=None)
        assert report.number == "H02"


@pytest.mark.parametrize("identifiers", [None, 7, [], [{"type": "x"}]])
def test_a_recorded_answer_that_names_no_number_is_read_and_that_is_told(make, identifiers) -> None:
    result = {"parcelIdentifiers": identifiers, "trackingEvents": [{"trackingStage": "2"}]}
    report, unread = _read(make, {"results": [result]}, asked=None)

    assert (report.number, len(report.scans)) == (NOT_TOLD, 1)
    assert (unread.where, unread.lacks) == ("$.results[0]", "all")


def test_a_lookup_that_refuses_a_reference_knows_no_parcel_of_it(make) -> None:
    source, _ = make("carriers.evri")

    def judged(body: Any, status: int = 400) -> None:
        source.raise_for_status(Response(status, {}, json.dumps(body).encode(), AT))

    with pytest.raises(NotFound, match="no parcel of this number"):
        judged({"errors": [7, {"message": "Invalid reference: H01"}]})
    for other in ({"errors": [{"message": "Invalid postcode"}]}, {"errors": 7}, 7):
        with pytest.raises(Refused):
            judged(other)


@pytest.mark.parametrize("body", [{}, {"results": None}, {"results": [{"urn": "u"}]}, {"results": 7}])
def test_an_answer_that_tells_nothing_is_not_no_news(make, body) -> None:
    with pytest.raises(BadPayload, match="results"):
        _read(make, body)


def test_an_empty_list_is_a_number_that_is_not_known(make) -> None:
    (report,) = _read(make, {"results": []})

    assert str(report.tracking) == "not_found"
    with pytest.raises(BadPayload, match="nothing says whom"):
        _read(make, {"results": []}, asked=None)
