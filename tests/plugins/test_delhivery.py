"""Delhivery: conformance, requests, and what is its own."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tracker.domain import errors
from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import UNMAPPED, Code, Parcel, Parcels, Payload, Report, StoredScan, Unread
from tracker.domain.timeline import place_in_time, summarize
from tracker.domain.vocabulary import Leg
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, Recorder, for_carrier

FIXTURES = Path(__file__).parents[1] / "fixtures" / "delhivery"
TestConformance = for_carrier("carriers.delhivery", fixtures=FIXTURES)
HOST = "https://track.delhivery.com"
TRACK = f"{HOST}/api/v1/packages/json/"
DOCUMENT = f"{HOST}/api/rest/fetch/pkg/document/"
STATUSES = json.loads((FIXTURES / "statuses.json").read_text(encoding="utf-8"))
ERRORS = json.loads((FIXTURES / "errors.json").read_text(encoding="utf-8"))


def read(make: Any, body: Any, kind: str = "poll") -> list[Any]:
    source, _ = make("carriers.delhivery")
    return list(source.normalize(Payload("a", kind, (json.dumps(body).encode(),), AT, {})))


def shipment(*scans: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"ShipmentData": [{"Shipment": {"AWB": "1", "Scans": [{"ScanDetail": scan} for scan in scans], **more}}]}


def scan(kind: str, word: str, nsl: str = "", at: str = "2026-10-25T10:00:00", **more: Any) -> dict[str, Any]:
    return {
        "ScanType": kind,
        "Scan": word,
        "StatusCode": nsl,
        "ScanDateTime": at,
        "ScannedLocation": "Delhi_GW (Delhi)",
        **more,
    }


def where_it_is(source: Any, report: Report) -> Any:
    """Return the summary of what a report tells, as the core makes it."""
    told = []
    for at, one in enumerate(report.scans):
        meaning = source.meaning(one.code) or UNMAPPED
        meaning = replace(meaning, leg=one.leg) if one.leg is not None else meaning
        instant, zone = place_in_time(one, source.default_zone, AT)
        told.append(StoredScan(str(at), one.code.space, one.code.code, meaning, instant, zone, place=one.place))
    return summarize(told)


# requests


def test_fifty_waybills_go_into_one_call_with_the_static_token(outside, make) -> None:
    route = outside.get(TRACK).respond(json={"ShipmentData": [{"Shipment": {"AWB": "1"}}]})
    source, client = make("carriers.delhivery", token="tok")
    parcels = Parcels(tuple(Parcel("delhivery", f"2680571000{n:04}") for n in range(51)))

    pages = list(source.fetch(client, parcels))

    asked = [call.request.url.params["waybill"].split(",") for call in route.calls]
    assert [len(numbers) for numbers in asked] == [50, 1] == [source.batch, len(pages) - 1]
    assert asked[0][:2] == ["26805710000000", "26805710000001"]
    assert route.calls[0].request.headers["authorization"] == "Token tok"


def test_a_waybill_that_an_answer_leaves_out_is_not_known(outside, make) -> None:
    outside.get(TRACK).respond(json={"ShipmentData": [{"Shipment": {"AWB": "26805710000001"}}]})
    source, client = make("carriers.delhivery")

    (page,) = source.fetch(
        client, Parcels((Parcel("delhivery", "26805710000001"), Parcel("delhivery", "26805710000002")))
    )
    known, unknown = source.normalize(Payload("a", "poll", page.parts, AT, {}))

    assert (known.number, known.tracking) == ("26805710000001", "active")
    assert (unknown.number, unknown.tracking) == ("26805710000002", "not_found")
    parts = (b'{"ShipmentData": [{"Shipment": {"AWB": "26805710000001"}}, 7]}', page.parts[1])
    assert [type(item) for item in source.normalize(Payload("a", "poll", parts, AT, {}))] == [Report, Unread], (
        "it may be the other"
    )


def test_a_number_with_a_comma_is_not_asked_about_as_two(outside, make) -> None:
    route = outside.get(TRACK).respond(json={"ShipmentData": [{"Shipment": {"AWB": "1"}}]})
    source, client = make("carriers.delhivery")

    list(source.fetch(client, Parcels((Parcel("delhivery", "a,b"), Parcel("delhivery", "26805710000001")))))

    assert [dict(call.request.url.params) for call in route.calls] == [{"waybill": "26805710000001"}]


# errors


@pytest.mark.parametrize("case", ERRORS, ids=[case["what"] for case in ERRORS])
def test_each_error_is_what_the_documents_say(make, case) -> None:
    source, _ = make("carriers.delhivery")
    body = case["body"] if str(case["body"]).startswith("<") else json.dumps(case["body"])

    with pytest.raises(getattr(errors, case["raises"])) as raised:
        source.raise_for_status(Response(case["status"], {}, body.encode(), AT))
    assert isinstance(raised.value, RateLimited) == (case["raises"] == "RateLimited")


@pytest.mark.parametrize(("told", "rest"), [({}, 30), ({"retry-after": "5"}, 30), ({"retry-after": "90"}, 90)])
def test_403_is_a_throttle_and_the_account_rests_for_half_a_minute_at_least(make, told, rest) -> None:
    source, _ = make("carriers.delhivery")

    with pytest.raises(RateLimited, match="750 requests") as raised:
        source.raise_for_status(Response(403, told, b"<html>403 Forbidden</html>", AT))
    assert raised.value.after == timedelta(seconds=rest)


@pytest.mark.parametrize(
    "body",
    [{**shipment(), "Error": "Data does not exists for provided Waybill(s)"}, {**shipment(), "Success": False}],
)
def test_an_error_beside_shipments_takes_nothing_from_them(make, body) -> None:
    source, _ = make("carriers.delhivery")

    source.raise_for_status(Response(200, {}, json.dumps(body).encode(), AT))
    assert [item.number for item in read(make, body)] == ["1"]


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"Error": "' + b"x" * 5000 + b'"}'])
def test_what_is_neither_a_list_nor_an_error_of_theirs_is_judged_by_what_it_lacks(make, body) -> None:
    source, _ = make("carriers.delhivery")

    source.raise_for_status(Response(200, {}, body, AT))  # the core asks for `response_keys`
    with pytest.raises(BadPayload):
        list(source.normalize(Payload("a", "poll", (body,), AT, {})))


@pytest.mark.parametrize(
    "case", [case for case in ERRORS if case["raises"] == "NotFound"], ids=lambda case: case["what"]
)
def test_what_is_not_known_tells_of_no_parcel_and_is_no_odd_answer(make, case) -> None:
    assert read(make, case["body"]) == []


def test_an_error_in_the_place_of_a_shipment_is_told_with_its_words(make) -> None:
    body = {"ShipmentData": [{"Error": "under maintenance"}, {"Shipment": {"AWB": "1"}}, {"Shipment": None}]}

    report, *unread = read(make, body)

    assert report.number == "1"
    assert [(one.where, "maintenance" in one.problem, one.lacks) for one in unread] == [
        ("$.ShipmentData[0].Error", True, "all"), ("$.ShipmentData[2].Shipment", False, "all"),
    ]  # fmt: skip


# the check of a token


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, ERRORS[0]["body"], None),
        (200, shipment(), None),
        (200, {"ok": True}, Transient),
        (200, [], Transient),
        (401, "no", CredentialsRejected),
        (403, "no", RateLimited),
        (404, "no", Transient),
    ],
)
def test_a_ping_believes_only_an_answer_of_the_right_shape(outside, make, status, body, error) -> None:
    outside.get(TRACK).respond(status, json=body)
    source, client = make("carriers.delhivery")

    if error is None:
        source.ping(client)
        return
    with pytest.raises(error):
        source.ping(client)


# the push


def test_a_push_moves_nothing_and_names_its_parcel(make) -> None:
    body = {
        "Shipment": {"AWB": 26805710004126, "Status": {"Status": "Delivered", "StatusType": "DL"}, "NSLCode": "EOD-38"}
    }

    assert read(make, body, "webhook") == [Report("delhivery", "26805710004126")]


def test_a_push_may_hold_several_shipments_and_one_that_is_none_costs_itself_only(make) -> None:
    first, second, unread = read(make, {"Shipment": [{"AWB": "1"}, {"AWB": "2"}, {"AWB": None}]}, "webhook")

    assert [first, second] == [Report("delhivery", "1"), Report("delhivery", "2")]
    assert (unread.where, unread.lacks) == ("$.Shipment[2].AWB", "all")


@pytest.mark.parametrize(
    "body",
    [{}, {"Shipment": {}}, {"Shipment": []}, {"Shipment": [7]}, {"waybill": "1", "EPOD": "aGk=", "orderID": "2"}],
)
def test_a_push_without_a_waybill_is_no_news(make, body) -> None:
    with pytest.raises(BadPayload):
        read(make, body, "webhook")


def test_a_push_is_proved_by_the_whole_value_of_the_header_that_was_agreed_upon(make) -> None:
    source, _ = make("carriers.delhivery", webhook_header="X-Scan", webhook_secrets=["Bearer new", "Bearer old"])

    assert source.verify(Payload("a", "webhook", (b"{}",), AT, {"x-scan": "Bearer old"})) == 1
    for value in ("old", "Bearer", ""):
        with pytest.raises(errors.WebhookRejected):
            source.verify(Payload("a", "webhook", (b"{}",), AT, {"x-scan": value, "authorization": "Bearer new"}))


# what a scan says


@pytest.mark.parametrize("case", STATUSES, ids=[case["means"] for case in STATUSES])
def test_each_status_means_what_the_portal_says(make, case) -> None:
    source, _ = make("carriers.delhivery")

    (report,) = read(make, case["body"])
    ((meaning, local),) = [(source.meaning(one.code), one.local) for one in report.scans]

    assert (f"{meaning.status}/{meaning.reason}" if meaning is not None else "UNKNOWN") == case["means"]
    assert local.isoformat() == case["body"]["ShipmentData"][0]["Shipment"]["Status"]["StatusDateTime"]


@pytest.mark.parametrize(
    ("kind", "code", "means"),
    [
        ("UD", "Pending:EOD-11", "delivery_attempted/recipient_unavailable"),
        ("UD", "Pending:X-IBD3F", "in_transit/arrived_destination_facility"),
        ("UD", "Pending:RT-104", "exception/damaged"),
        ("UD", "In Transit:X-UCI", "in_transit/moving"),  # a label never beats custody
        (
            "UD",
            "Manifested:FMEOD-118",
            "pre_transit/cancelled_before_dispatch",
        ),  # stays manifested (order cancellation)
        ("UD", "Dispatched:EOD-11", "out_for_delivery/recipient_unavailable"),
        ("UD", "Dispatched:NOBODY-1", "out_for_delivery/on_vehicle"),
        ("RT", "Pending:RT-104", "returning/damaged"),
        ("RT", "Pending:EOD-38", "returning/return_in_transit"),
        ("PU", "In Transit:DLYDG-119", "returning/damaged"),
        ("DL", "Delivered:RT-110", "returned/received_by_sender"),
        ("DL", "Delivered:RD-AC1", "returned/received_by_sender"),
        ("DL", "Delivered:EOD-600", "in_transit/handed_to_partner"),  # to be verified: no end
        ("DL", "RTO:EOD-38", "returned/received_by_sender"),
        ("dl", "delivered:eod-37", "delivered/reception"),
        ("CN", "Canceled:EOD-777", "cancelled/cancelled"),
        ("CN", "Cancelled", "cancelled/cancelled"),
        ("LT", "Whatever:LT-100", "lost/lost"),
        ("UD", "LOST", "lost/lost"),
        ("RT", "LOST", "lost/lost"),
        ("UD", "Collected", "picked_up/picked_up"),
        ("DL", "Collected", None),
        ("UD", "Teleported:EOD-38", None),
        ("UD", "RTO", None),
        ("XX", "Delivered:EOD-38", None),
    ],
)
def test_type_and_status_lead_and_the_nsl_code_refines(make, kind, code, means) -> None:
    source, _ = make("carriers.delhivery")
    meaning = source.meaning(Code(kind, code))

    assert (f"{meaning.status}/{meaning.reason}" if meaning is not None else None) == means


def test_a_customers_return_travels_on_a_leg_of_its_own(make) -> None:
    body = shipment(*(scan(kind, "x") for kind in ("PP", "PU", "CN", "UD", "RT")), scan("DL", "DTO"), scan("DL", "RTO"))

    (report,) = read(make, body)

    assert [one.leg for one in report.scans] == [*[Leg.CUSTOMER_RETURN] * 3, None, None, Leg.CUSTOMER_RETURN, None]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, "delivered"),
        ({"RTOStartedDate": "2026-10-25T06:39:07.098"}, "returned"),
        ({"RTOStartedDate": "2026-10-26T06:39:07.098"}, "delivered"),  # it went back later
        ({"ReverseInTransit": True}, "returned"),
        ({"ReverseInTransit": False}, "delivered"),
        ({"ReverseInTransit": "true"}, "returned"),  # a flag that is printed as a text
    ],
)
def test_what_is_delivered_while_it_goes_back_is_returned(make, more, status) -> None:
    source, _ = make("carriers.delhivery")
    body = shipment(
        scan("UD", "Dispatched", "X-DDD3FD"), scan("DL", "Delivered", "EOD-38", "2026-10-25T18:00:00"), **more
    )

    (report,) = read(make, body)

    assert where_it_is(source, report).status == status


def test_a_flag_that_says_neither_yes_nor_no_is_told(make) -> None:
    _, unread = read(make, shipment(scan("DL", "Delivered", "EOD-38"), ReverseInTransit="perhaps"))

    assert unread.where == "$.ShipmentData[0].Shipment.ReverseInTransit"


def test_delivered_after_a_scan_on_the_way_back_is_returned(make) -> None:
    source, _ = make("carriers.delhivery")
    body = shipment(scan("RT", "In Transit"), scan("DL", "Delivered", "EOD-38", "2026-10-27T18:00:00"))

    (report,) = read(make, body)

    assert where_it_is(source, report).status == "returned"


def test_an_attempt_and_a_second_try_the_next_morning_are_in_their_order(make) -> None:
    source, _ = make("carriers.delhivery")
    body = shipment(
        scan("UD", "Pending", "EOD-11", "2026-10-25T18:00:00"),
        scan("UD", "Dispatched", "X-DDD3FD", "2026-10-26T09:00:00"),
    )

    (report,) = read(make, body)

    assert where_it_is(source, report).status == "out_for_delivery", "Indian time is sure: no zone is guessed"


def test_times_are_indian(make) -> None:
    source, _ = make("carriers.delhivery")
    (report,) = read(make, shipment(scan("UD", "Pending", at="2026-10-25T02:00:00.5")))
    (one,) = report.scans

    instant, zone = place_in_time(one, source.default_zone, AT)

    assert (one.local.isoformat(), one.occurred_at, instant.isoformat(), zone) == (
        "2026-10-25T02:00:00.500000", None, "2026-10-24T20:30:00.500000+00:00", "by_place",
    )  # fmt: skip


def test_a_scan_without_its_own_time_has_that_of_its_status(make) -> None:
    (report,) = read(make, shipment(scan("UD", "Pending", at="", StatusDateTime="2026-10-25T02:00:00")))

    assert report.scans[0].local.hour == 2


def test_a_status_that_only_the_head_tells_is_a_scan(make) -> None:
    head = {
        "StatusType": "DL",
        "Status": "Delivered",
        "StatusDateTime": "2026-10-25T18:00:00",
        "StatusCode": "EOD-38",
        "RecievedBy": "A",
    }
    source, _ = make("carriers.delhivery")

    (report,) = read(make, shipment(scan("UD", "Dispatched"), Status=head, ExpectedDeliveryDate="2026-10-26T23:59:59"))
    assert (where_it_is(source, report).status, report.proof.signed, report.edd) == ("delivered", True, None)

    (report,) = read(make, shipment(scan("UD", "Dispatched"), Status=head, ReverseInTransit=True))
    assert (where_it_is(source, report).status, report.proof, report.edd) == ("returned", None, None)


@pytest.mark.parametrize(
    ("expected", "begins", "ends"),
    [
        ("2026-10-24T23:59:59", "2026-10-24T00:00:00+05:30", "2026-10-24T23:59:59+05:30"),
        ("2026-10-24", "2026-10-24T00:00:00+05:30", "2026-10-25T00:00:00+05:30"),
        ("2026-10-24T18:00:00+00:00", "2026-10-24T18:00:00+00:00", "2026-10-24T18:00:00+00:00"),
    ],
)
def test_the_last_second_of_a_day_means_the_day(make, expected, begins, ends) -> None:
    (report,) = read(make, shipment(ExpectedDeliveryDate=expected, PromisedDeliveryDate="2026-10-20T23:59:59"))

    assert (report.edd.begins.isoformat(), report.edd.ends.isoformat()) == (begins, ends)


@pytest.mark.parametrize("one", [None, 7, "x", {"ScanDetail": []}, {"Scan": "Pending"}])
def test_a_scan_that_is_none_costs_itself_only(make, one) -> None:
    body = shipment(scan("UD", "Pending"))
    body["ShipmentData"][0]["Shipment"]["Scans"].append(one)

    report, unread = read(make, body)

    assert (len(report.scans), unread.subject, unread.where.startswith("$.ShipmentData[0].Shipment.Scans[1]")) == (
        1,
        "1",
        True,
    )
    assert isinstance(unread, Unread)


# the document


class Documents(Recorder):
    """Answers with a link, and opens what lies there."""

    def __init__(self, answer: Any, content: bytes = b"") -> None:
        super().__init__(json.dumps(answer).encode())
        self.content, self.opened = content, []

    @contextmanager
    def stream(self, url: str, size: int | None = None) -> Any:
        self.opened.append(url)
        yield io.BytesIO(self.content)


LINK = "https://documents.example/epod.jpg?token=1"


def test_a_document_is_fetched_from_a_host_that_the_settings_name(make) -> None:
    source, _ = make("carriers.delhivery", document_hosts=["documents.example"])
    client = Documents({"success": True, "message": "", "data": {"EPOD": [LINK, LINK]}}, b"\xff\xd8\xff...")

    found = source.proof(client, Parcel("delhivery", "26805710004060"), None)

    assert (found.kind, found.content, client.opened) == ("image/jpeg", b"\xff\xd8\xff...", [LINK])
    (asked,) = client.sent
    assert (asked.url, dict(asked.params)) == (DOCUMENT, {"doc_type": "EPOD", "waybill": "26805710004060"})


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ({"success": False, "message": "Invalid waybill passed", "data": {}}, NotFound, "Invalid waybill"),
        ({"success": True, "data": {"EPOD": []}}, NotFound, "archived"),
        ({"data": {"EPOD": [LINK]}}, Refused, "documents.example: name it in document_hosts"),
        ({"data": {"EPOD": [7]}}, BadPayload, "address"),
        ({"data": {"EPOD": ["https://[x"]}}, BadPayload, "address"),
        ({"data": None}, BadPayload, "data"),
    ],
)
def test_a_document_that_is_not_there_or_lies_elsewhere_is_none(make, answer, error, said) -> None:
    source, _ = make("carriers.delhivery")
    client = Documents(answer)

    with pytest.raises(error, match=said):
        source.proof(client, Parcel("delhivery", "26805710004060"), None)
    assert client.opened == []


def test_404_means_no_document_and_of_tracking_that_no_api_answers(outside, make) -> None:
    outside.get(DOCUMENT).respond(404, json="There has been an error")
    outside.get(TRACK).respond(404, json="There has been an error")
    source, client = make("carriers.delhivery")

    with pytest.raises(NotFound):
        source.proof(client, Parcel("delhivery", "26805710004060"), None)
    with pytest.raises(Transient, match="no API"):
        list(source.fetch(client, Parcels((Parcel("delhivery", "26805710004060"),))))


def test_a_document_that_is_no_image_is_none(make) -> None:
    source, _ = make("carriers.delhivery", document_hosts=["documents.example"])

    for content in (b"<html>", b"\xff\xd8\xff" + b"x" * (10 << 20)):
        with pytest.raises(BadPayload, match="EPOD"):
            source.proof(Documents({"data": {"EPOD": [LINK]}}, content), Parcel("delhivery", "1"), None)
