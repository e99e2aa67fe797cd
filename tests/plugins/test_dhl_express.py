"""DHL Express: conformance, requests, and what is its own."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Parcel, Parcels, Payload, Report, Unread, fingerprint
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, example_settings, for_carrier, plugin_of

TestConformance = for_carrier(
    "carriers.dhl_express", fixtures=Path(__file__).parents[1] / "fixtures" / "dhl_express"
)  # fmt: skip
HOST = "https://express.api.dhl.com/mydhlapi"
PIECE = "JD012345678901234567"


def ask(*numbers: str) -> Parcels:
    return Parcels(tuple(Parcel("dhl", n) for n in numbers))


def event(**more) -> dict:
    area = [{"code": "MIL", "description": "MILAN-IT"}]
    return {"date": "2026-03-01", "time": "09:30:00", "typeCode": "PU", "description": "x", "serviceArea": area, **more}


def read(make, *shipments, events=None, **more):
    source, _ = make("carriers.dhl_express")
    listed = list(shipments) or [
        {"shipmentTrackingNumber": "3318810025", "status": "Success", "events": events, **more}
    ]
    items = source.normalize(Payload("a", "poll", (json.dumps({"shipments": listed}).encode(),), AT, {}))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def scan(make, **more):
    (report,), unread = read(make, events=[event(**more)])
    return report.scans[0], [(one.where.removeprefix("$.shipments[0].events[0]"), one.problem) for one in unread]


def test_shipments_and_pieces_go_into_one_call_that_asks_for_no_offsets(outside, make) -> None:
    track = outside.get(f"{HOST}/tracking").respond(json={"shipments": []})
    source, client = make("carriers.dhl_express")

    pages = list(
        source.fetch(client, ask(PIECE, *(f"{1_000_000_000 + n}" for n in range(200)), "1000000000", "12 3/../x"))
    )

    sent = [call.request for call in track.calls]
    assert len(pages) == len(sent) == 2
    assert [len(one.url.params.get_list("shipmentTrackingNumber")) for one in sent] == [199, 1]
    assert [one.url.params.get_list("pieceTrackingNumber") for one in sent] == [[PIECE], []]
    assert {one.url.params["levelOfDetail"] for one in sent} == {"all"}
    assert all("requestGMTOffsetPerEvent" not in one.url.params for one in sent)
    assert json.loads(pages[1].parts[1]) == {"asked": ["1000000199", "123/../X"]}
    basic = base64.b64encode(b"canary-username:canary-password").decode()
    assert {one.headers["authorization"] for one in sent} == {f"Basic {basic}"}
    assert {(one.headers["x-version"], one.headers["accept-language"]) for one in sent} == {("3.1.0", "eng")}


def test_one_alone_is_asked_about_on_the_path_that_tells_offsets(outside, make) -> None:
    alone = outside.get(f"{HOST}/shipments/3318810025/tracking").respond(json={"shipments": []})
    several = outside.get(f"{HOST}/tracking").respond(json={"shipments": []})
    source, client = make("carriers.dhl_express")

    (page,) = source.fetch(client, ask("3318810025"))
    assert alone.calls[0].request.url.params["requestGMTOffsetPerEvent"] == "true"
    assert len(page.parts) == 1
    list(source.fetch(client, ask("00340434161094022115")))
    assert several.calls[0].request.url.params["shipmentTrackingNumber"] == "00340434161094022115"
    with pytest.raises(NotFound, match="letters and digits"):
        list(source.fetch(client, ask("?", "12/3")))


def test_what_an_answer_leaves_out_is_not_known_unless_something_of_it_could_not_be_read(make) -> None:
    source, _ = make("carriers.dhl_express")
    told = {"shipmentTrackingNumber": "3318810025", "events": [event()]}
    for shipments, states in (
        ([told], [("3318810025", "active"), ("8564385550", "not_found"), (PIECE, "not_found")]), ([told, 7], [("3318810025", "active")]),
        ([], [("3318810025", "not_found"), ("8564385550", "not_found"), (PIECE, "not_found")]),
    ):  # fmt: skip
        parts = (
            json.dumps({"shipments": shipments}).encode(),
            json.dumps({"asked": ["3318810025", "8564385550", PIECE]}).encode(),
        )
        items = source.normalize(Payload("a", "poll", parts, AT, {}))
        reports = [one for one in items if isinstance(one, Report)]
        assert [(one.number, str(one.tracking)) for one in reports] == states
        assert {one.piece for one in reports if not one.scans} <= {None}


def test_200_numbers_are_asked_about_at_once() -> None:
    found = plugin_of("carriers.dhl_express")

    assert found("a", example_settings(found)).batch == 200


@pytest.mark.parametrize(
    ("offset", "at", "zone"),
    [
        ("+09:00", "00:30", "offset"), ("-5", "14:30", "offset"), ("-05", "14:30", "offset"), ("+0530", "04:00", "offset"), (" +01:00 ", "08:30", "offset"),
        ("", None, "unknown"), (None, None, "unknown"), ("-420", None, "unknown"), ("+25:00", None, "unknown"), ("CET", None, "unknown"), (-5, None, "unknown"),
        ("+01:75", None, "unknown"), ("\u0661", None, "unknown"), ("Z", None, "unknown"),
    ],
)  # fmt: skip
def test_an_offset_is_read_as_hours_and_minutes_or_told_and_never_guessed(make, offset, at, zone) -> None:
    one, unread = scan(make, GMTOffset=offset)

    assert one.local.isoformat() == "2026-03-01T09:30:00"
    assert (one.occurred_at and f"{one.occurred_at.astimezone(AT.tzinfo):%H:%M}", str(one.zone)) == (at, zone)
    assert [where for where, _ in unread] == ([".GMTOffset"] if offset and not at else [])


@pytest.mark.parametrize(
    ("day", "clock", "local", "precision", "where"),
    [
        ("2026-03-01", "09:30", "2026-03-01T09:30:00", "minute", []), ("2026-03-01", "", "2026-03-01T00:00:00", "date", []),
        ("2026-03-01", "25:00:00", "2026-03-01T00:00:00", "date", [".time"]), ("2026-03-01", 930, "2026-03-01T00:00:00", "date", [".time"]),
        ("2026-03-01", "09:30:00+01:00", "2026-03-01T00:00:00", "date", [".time"]), ("20260301", "09:30:00", "2026-03-01T09:30:00", "second", []),
        ("", "09:30:00", None, "second", []), (None, None, None, "second", []), ("soon", "09:30:00", None, "second", [".date"]), (7, "09:30:00", None, "second", [".date"]),
        ("0001-01-01", "09:30:00", None, "second", [".date"]), ("2026-03-01", " 09:30:00", "2026-03-01T09:30:00", "second", []),
    ],
)  # fmt: skip
def test_a_time_that_is_none_leaves_the_day(make, day, clock, local, precision, where) -> None:
    one, unread = scan(make, date=day, time=clock)

    assert (one.local and one.local.isoformat(), str(one.precision)) == (local, precision)
    assert [place for place, _ in unread] == where


@pytest.mark.parametrize(
    ("areas", "place", "where"),
    [
        ([{"code": "MIL", "description": "MILAN-IT"}], "MILAN, IT", []), ([{"code": "MIL"}], "MIL", []), ([], "", []), (None, "", []),
        ({"description": "NEW YORK CITY GATEWAY - USA"}, "NEW YORK CITY GATEWAY, US", []), ("MILAN", "", [".serviceArea"]), ([7], "", [".serviceArea[0]"]),
        ([{"description": 7, "code": "MIL"}], "MIL", [".serviceArea[0].description"]), ([{"description": None}], "", []),
    ],
)  # fmt: skip
def test_a_place_is_the_service_area(make, areas, place, where) -> None:
    one, unread = scan(make, serviceArea=areas)

    assert str(one.place) == place
    assert [at for at, _ in unread] == where


@pytest.mark.parametrize("code", ["PU", "pu"])
def test_a_checkpoint_is_the_same_scan_as_unified_tells(make, code) -> None:
    mine, _ = scan(make, typeCode=code, GMTOffset="+01:00")
    told = {
        "timestamp": "2026-03-01T09:30:00",
        "statusCode": "transit",
        "status": "PU",
        "location": {"address": {"addressLocality": "MILAN - ITALY"}},
    }
    source, _ = make("carriers.dhl")
    body = json.dumps({"shipments": [{"id": "3318810025", "service": "express", "events": [told]}]}).encode()
    (report,) = source.normalize(Payload("a", "poll", (body,), AT, {}))

    assert fingerprint(mine) == fingerprint(report.scans[0])
    assert report.piece == "express"


def test_the_same_letters_mean_what_they_mean_at_express(make) -> None:
    source, _ = make("carriers.dhl_express")
    says = {code: source.meaning(scan(make, typeCode=code)[0].code) for code in ("DD", "RD", "CA")}

    assert {code: (str(one.status), str(one.reason)) for code, one in says.items()} == {
        "DD": ("delivered", "damaged"), "RD": ("exception", "refused"), "CA": ("delivery_attempted", "business_closed"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "events", "tracking", "said"),
    [
        ("Success", [], "active", ""), ("success", [event()], "active", ""), ("No Shipments Found", [], "not_found", "No Shipments Found"),
        ("Not data found", None, "not_found", "Not data found"), ("Failure", [], "error", "Failure"), ("", [], "active", ""), (None, [], "active", ""),
        ("Failure", [event()], "active", ""),
    ],
)  # fmt: skip
def test_the_status_of_a_shipment_is_how_the_look_up_went_and_never_a_delivery(
    make, status, events, tracking, said
) -> None:
    (report,), unread = read(make, events=events, status=status)

    assert (str(report.tracking), report.said, unread) == (tracking, said, [])
    assert report.piece == (None if said else "express"), "what is not known is of no division"


def test_who_signed_is_told_but_not_who(make) -> None:
    (report,), _ = read(
        make, events=[event(signedBy="", typeCode="WC"), event(signedBy="A. B.", typeCode="OK", GMTOffset="+01:00")]
    )

    assert report.proof is not None
    assert report.proof.at.isoformat() == "2026-03-01T09:30:00+01:00"
    assert "A. B." not in repr(report)
    assert read(make, events=[event(signedBy="", typeCode="OK")])[0][0].proof is None


@pytest.mark.parametrize(
    ("printed", "country", "begins", "ends"),
    [
        ("2026-03-04T23:59:00", "DE", "2026-03-04T00:00:00+01:00", "2026-03-05T00:00:00+01:00"), ("2026-03-04", "de", "2026-03-04T00:00:00+01:00", "2026-03-05T00:00:00+01:00"),
        ("2026-03-04T12:00:00", "DE", "2026-03-04T12:00:00+01:00", "2026-03-04T12:00:00+01:00"), ("2026-03-04T12:00:00", "US", "2026-03-04T12:00:00+00:00", "2026-03-04T12:00:00+00:00"),
        ("2026-03-04T12:00:00-05:00", "DE", "2026-03-04T12:00:00-05:00", "2026-03-04T12:00:00-05:00"),
    ],
)  # fmt: skip
def test_an_estimate_is_local_to_the_receiver_and_the_end_of_a_day_is_the_day(
    make, printed, country, begins, ends
) -> None:
    (report,), _ = read(
        make,
        events=[event()],
        estimatedDeliveryDate=printed,
        receiverDetails={"postalAddress": {"countryCode": country}},
    )

    assert [report.edd.begins.isoformat(), report.edd.ends.isoformat()] == [begins, ends]


def test_each_odd_piece_costs_itself_only(make) -> None:
    odd = {"shipmentTrackingNumber": "8564385550", "status": 7, "events": [event(), 5, event(typeCode=[])], "estimatedDeliveryDate": "soon",
           "receiverDetails": {"postalAddress": []}, "pieces": [{"trackingNumber": [], "events": []}, {"trackingNumber": PIECE, "events": "x"}, {"trackingNumber": ""}]}  # fmt: skip
    reports, unread = read(make, {"shipmentTrackingNumber": "3318810025", "events": [event()]}, odd, {"events": []})

    assert [(one.number, len(one.scans), one.complete) for one in reports] == [
        ("3318810025", 1, True),
        ("8564385550", 2, False),
        (PIECE, 0, False),
    ]
    at = "$.shipments[1]"
    assert [(one.where, one.subject) for one in unread] == [
        *((f"{at}.{name}", "8564385550") for name in ("events[1]", "events[2].typeCode", "status", "receiverDetails.postalAddress", "estimatedDeliveryDate", "pieces[0].trackingNumber")),
        (f"{at}.pieces[1].events", PIECE), ("$.shipments[2].shipmentTrackingNumber", ""),
    ]  # fmt: skip


def test_a_piece_that_has_the_number_of_its_shipment_is_told_once(make) -> None:
    reports, _ = read(make, events=[event()], pieces=[{"trackingNumber": "3318810025", "events": [event()]}])

    assert [one.number for one in reports] == ["3318810025"]


@pytest.mark.parametrize("body", [b"{}", b'{"shipments": null}', b'{"shipments": 7}', b'{"shipments": [7]}', b"[]"])
def test_an_answer_without_its_list_says_nothing(make, body) -> None:
    source, _ = make("carriers.dhl_express")

    with pytest.raises(BadPayload):
        list(source.normalize(Payload("a", "poll", (body,), AT, {})))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, {"title": "Not data found", "detail": "No data found", "status": "404"}, NotFound), (400, {"title": "Wrong format", "status": "400"}, Refused),
        (200, {"title": "Not data found", "status": "404"}, NotFound), (200, {"title": "Unauthorized", "status": "401"}, CredentialsRejected),
        (200, {"title": "Busy", "status": "998"}, Transient), (401, {}, CredentialsRejected), (429, {}, RateLimited), (500, {"title": "x", "status": "500"}, Transient),
        (200, {"title": None}, Transient),
    ],
)  # fmt: skip
def test_an_error_is_an_error_whatever_its_http_status(make, status, body, error) -> None:
    source, _ = make("carriers.dhl_express")

    with pytest.raises(error) as told:
        source.raise_for_status(Response(status, {}, json.dumps(body).encode(), AT))
    assert type(told.value) is error


def test_a_page_is_no_answer_and_an_answer_that_quotes_a_title_is_one(make) -> None:
    source, _ = make("carriers.dhl_express")

    with pytest.raises(Unavailable):
        source.raise_for_status(Response(200, {}, b"<!DOCTYPE html><title>Sorry</title>", AT))
    for body in (b'{"shipments": [{"title": 1}]}', b'{"documents": [{"title": 1}]}', b'["title"]', b'{"title'):
        source.raise_for_status(Response(200, {}, body, AT))


def test_a_ping_is_believed_by_an_answer_in_dhls_own_words_alone(outside, make) -> None:
    track = outside.get(f"{HOST}/shipments/0000000000/tracking")
    source, client = make("carriers.dhl_express")
    track.respond(404, json={"title": "Not data found", "status": "404"})
    source.ping(client)
    for status, body, error in (
        (404, {}, Transient),
        (200, {"ok": 1}, Transient),
        (401, {"title": "Unauthorized"}, CredentialsRejected),
    ):
        track.respond(status, json=body)
        with pytest.raises(error):
            source.ping(client)


PDF = base64.b64encode(b"%PDF-1.4 pod").decode()


def test_the_proof_of_a_delivery_is_its_document(outside, make) -> None:
    there = outside.get(f"{HOST}/shipments/3318810025/proof-of-delivery").respond(
        json={"documents": [{}, {"content": PDF, "typeCode": "POD"}]}
    )
    source, client = make("carriers.dhl_express", account_number="123456789")

    document = source.proof(client, Parcel("dhl", "3318810025"), "express")

    assert (document.content, document.kind) == (b"%PDF-1.4 pod", "application/pdf")
    assert dict(there.calls[0].request.url.params) == {"shipperAccountNumber": "123456789"}


def test_the_proof_of_a_piece_is_that_of_its_shipment(outside, make) -> None:
    track = outside.get(f"{HOST}/tracking").respond(json={"shipments": [{"shipmentTrackingNumber": "3318810025"}]})
    outside.get(f"{HOST}/shipments/3318810025/proof-of-delivery").respond(json={"documents": [{"content": PDF}]})
    source, client = make("carriers.dhl_express", account_number=None)

    assert source.proof(client, Parcel("dhl", PIECE), None).kind == "application/pdf"
    for shipments in ([], [{}], [7], 7, None):
        track.respond(json={"shipments": shipments})
        with pytest.raises(NotFound):
            source.proof(client, Parcel("dhl", PIECE), None)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, {"title": "Not Found", "status": "404"}, NotFound), (200, {"documents": []}, NotFound), (200, {"documents": 7}, NotFound), (200, {"documents": [7, {"content": ""}]}, NotFound), (200, {}, NotFound),
        (200, {"documents": [{"content": "no base64 !"}]}, BadPayload), (200, {"documents": [{"content": PDF[4:]}]}, BadPayload),
    ],
)  # fmt: skip
def test_a_delivery_without_a_document_has_none_yet(outside, make, status, body, error) -> None:
    outside.get(f"{HOST}/shipments/3318810025/proof-of-delivery").respond(status, json=body)
    source, client = make("carriers.dhl_express")

    with pytest.raises(error):
        source.proof(client, Parcel("dhl", "3318810025"), None)
