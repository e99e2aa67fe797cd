"""Blue Dart: conformance, requests, and what is its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.plugins.signing import SECRET
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    RateLimited,
    Transient,
    WebhookRejected,
)
from tracker.domain.facts import Code, Parcel, Parcels, Payload, Report, StoredScan, Unread, fingerprint
from tracker.domain.timeline import place_in_time, summarize
from tracker.domain.vocabulary import Precision, Zone
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.blue_dart", fixtures=Path(__file__).parents[1] / "fixtures" / "blue_dart")
HOST = "https://apigateway.bluedart.com/in/transportation"
TRACK = f"{HOST}/tracking/v1"


def signed(body: bytes) -> dict[str, str]:
    return {"authorization": SECRET.decode()}


def polled(make, body: Any, *asked: str, **settings: Any) -> list[Any]:
    source, _ = make("carriers.blue_dart", **settings)
    parts = (body if isinstance(body, bytes) else json.dumps(body).encode(),)
    if asked:
        parts += (json.dumps({"asked": asked}).encode(),)
    return list(source.normalize(Payload("a", "poll", parts, AT, {})))


def shipment(*scans: Any, **more: Any) -> dict[str, Any]:
    told = {"WaybillNo": "44330038841", "Scans": [{"ScanDetail": scan} for scan in scans], **more}
    return {"ShipmentData": {"Shipment": told}}


def scan(code: Any = "000", group: str = "T", text: str = "SHIPMENT DELIVERED", kind: str = "DL", **more: Any) -> Any:
    told = {"Scan": text, "ScanCode": code, "ScanGroupType": group, "ScanType": kind}
    return {**told, "ScanDate": "07-Nov-2026", "ScanTime": "13:05", "ScannedLocation": "SRINAGAR", **more}


def status(make, report: Report) -> str:
    source, _ = make("carriers.blue_dart")
    stored = []
    for one in report.scans:
        instant, zone = place_in_time(one, source.default_zone, AT)
        says = source.meaning(one.code)
        if says is not None and one.leg is not None:
            says = type(says)(says.status, says.reason, one.leg)
        stored.append(StoredScan(fingerprint(one), one.code.space, one.code.code, says, instant, zone))
    return str(summarize([one for one in stored if one.meaning is not None]).status)


# what is asked


def test_a_token_goes_into_a_query_of_up_to_25_waybills(outside, make) -> None:
    token = outside.get(f"{HOST}/token/v1/login").respond(json={"JWTToken": "jwt"})
    track = outside.get(TRACK).respond(json=shipment(scan()))
    source, client = make("carriers.blue_dart", client_id="id", client_secret="s", login_id="BOM00001")

    pages = list(source.fetch(client, Parcels(tuple(Parcel("bluedart", f"{i:011}") for i in range(26)))))

    assert source.batch == 25
    assert (token.calls[0].request.headers["ClientID"], token.calls[0].request.headers["clientSecret"]) == ("id", "s")
    asked = [dict(call.request.url.params) for call in track.calls]
    assert [len(one.pop("numbers").split(",")) for one in asked] == [25, 1]
    assert asked[0] == {
        "handler": "tnt", "action": "custawbquery", "loginid": "BOM00001", "awb": "awb", "format": "json",
        "lickey": source.settings.licence_key.get_secret_value(), "verno": "1", "scan": "1",
    }  # fmt: skip
    assert {call.request.headers["JWTToken"] for call in track.calls} == {"jwt"}
    assert [len(json.loads(page.parts[1])["asked"]) for page in pages] == [25, 1]


def test_each_address_header_and_word_is_a_setting(outside, make) -> None:
    outside.get("https://x.example/login").respond(json={"T": "jwt"})
    track = outside.get("https://x.example/q").respond(content=b"<ShipmentData/>")
    source, client = make(
        "carriers.blue_dart", base_url="https://x.example", token_path="/login", tracking_path="/q", token_header="T",
        client_id="id", client_secret="s", client_id_header="A", client_secret_header="B", verno="1.3", format="xml", numbers_per_call=50,
    )  # fmt: skip
    list(source.fetch(client, Parcels(tuple(Parcel("bluedart", f"{i:011}") for i in range(50)))))

    (call,) = track.calls
    assert (call.request.headers["T"], call.request.url.params["verno"], call.request.url.params["format"]) == (
        "jwt",
        "1.3",
        "xml",
    )


def test_the_older_query_needs_no_token(outside, make) -> None:
    track = outside.get("https://api.bluedart.com/servlet/RoutingServlet").respond(content=b"<ShipmentData/>")
    source, client = make(
        "carriers.blue_dart", base_url="https://api.bluedart.com", tracking_path="/servlet/RoutingServlet", client_id=""
    )
    list(source.fetch(client, Parcels((Parcel("bluedart", "44330038841"),))))

    assert source.token_lasts is None
    assert "JWTToken" not in track.calls[0].request.headers


@pytest.mark.parametrize(
    ("token", "track", "error", "said"),
    [
        ((200, b'{"JWTToken": "t"}'), (200, b'{"ShipmentData": {"Error": "Incorrect waybill number or No information"}}'), None, ""),
        ((200, b'{"JWTToken": "t"}'), (200, b"<ShipmentData><Error>No Information</Error></ShipmentData>"), None, ""),
        ((401, b'{"title": "Unauthorized"}'), (200, b"{}"), CredentialsRejected, "Blue Dart: HTTP 401: Unauthorized"),
        ((400, b'{"title": "Bad"}'), (200, b"{}"), CredentialsRejected, "token endpoint: HTTP 400: Bad"),
        ((200, b'{"token": "t"}'), (200, b"{}"), Transient, "without JWTToken"),
        ((200, b'{"JWTToken": ""}'), (200, b"{}"), BadPayload, "JWTToken: is missing"),
        ((200, b'{"JWTToken": "t"}'), (200, b'{"ShipmentData": {"Error": "License Mismatch"}}'), CredentialsRejected,
         "License Mismatch .is `licence_key` that of tracking"),
        ((200, b'{"JWTToken": "t"}'), (200, b'{"ok": true}'), Transient, "without ShipmentData"),
        ((200, b'{"JWTToken": "t"}'), (200, b""), Transient, "without ShipmentData"),
        ((200, b'{"JWTToken": "t"}'), (429, b""), RateLimited, "HTTP 429"),
    ],
)  # fmt: skip
def test_an_account_is_believed_only_by_an_answer_of_the_query(outside, make, token, track, error, said) -> None:
    outside.get(f"{HOST}/token/v1/login").mock(return_value=httpx.Response(token[0], content=token[1]))
    outside.get(TRACK).mock(return_value=httpx.Response(track[0], content=track[1]))
    source, client = make("carriers.blue_dart", client_id="id", client_secret="s")

    if error is None:
        source.ping(client)
    else:
        with pytest.raises(error, match=said):
            source.ping(client)


def test_without_a_secret_no_token_is_asked_for_and_without_an_id_none_is_needed(outside, make) -> None:
    outside.get(TRACK).respond(content=b"<ShipmentData/>")
    source, client = make("carriers.blue_dart", client_id="id", client_secret=None)
    with pytest.raises(CredentialsRejected, match="client_secret is missing"):
        source.ping(client)
    source, client = make("carriers.blue_dart", client_id="")
    source.ping(client)


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        (b'{"ShipmentData": {"Error": "Incorrect waybill number"}}', None, ""),
        (b'{"ShipmentData": {"Error": "Server is busy"}}', Transient, "HTTP 200 with an error: Server is busy"),
        (b"<ShipmentData><Error>Invalid Login</Error></ShipmentData>", CredentialsRejected, "Invalid Login"),
        (b'{"ShipmentData": ["Error"]}', None, ""),
        (b'"Error', None, ""),  # stored, and told by the parser
        (b'{"ShipmentData": {"Shipment": {"WaybillNo": "1", "Status": "License Error"}}}', None, ""),
    ],
)
def test_an_error_that_comes_with_200_is_what_it_says(make, body, error, said) -> None:
    source, _ = make("carriers.blue_dart")
    response = Response(200, {}, body, AT)
    if error is None:
        source.raise_for_status(response)
    else:
        with pytest.raises(error, match=said):
            source.raise_for_status(response)


def test_a_push_is_heard_from_who_knows_the_secret(make) -> None:
    source, _ = make("carriers.blue_dart", webhook_secrets=["agreed"], webhook_header="X-Blue-Dart")
    assert source.verify(Payload("a", "webhook", (b"{}",), AT, {"x-blue-dart": "agreed"})) == 0
    with pytest.raises(WebhookRejected):
        source.verify(Payload("a", "webhook", (b"{}",), AT, {"x-blue-dart": "guessed"}))


# what is read


@pytest.mark.parametrize(
    ("group", "code", "text", "means"),
    [
        ("S", "002", "SHIPMENT OUTSCAN", "out_for_delivery"),
        ("T", "002", "OUT OF DELIVERY AREA", "exception"),
        ("S", "021", "BAG SCAN", "in_transit"),
        ("T", "021", "SHIPMENT LOST", "lost"),
        ("T", "021", "CLOSED", "exception"),  # that it is lost is a third party's word
        ("S", "025", "SCAN TALLY", "in_transit"),
        ("T", "025", "SHIPMENT DESTROYED ON REQUEST", "destroyed"),
        ("T", "070", "CLOSED", "exception"),
        ("T", "000", "SHIPMENT DELIVERED", "delivered"),
        ("T", "000", "Shipment delivered to neighbour", "delivered"),
        ("T", "000", "", None),
        ("T", "000", "UNDELIVERED", None),
        ("T", "000", "Not delivered", None),
        ("T", "000", "Partially delivered", None),
        ("T", "000", "CANNOT BE DELIVERED", None),
        ("T", "000", "Could never be delivered", None),
        ("T", "000", "DELIVERED TO WRONG ADDRESS", None),
        ("T", "000", "SHIPMENT DELIVERED TO PARCEL LOCKER", None),  # it waits there, or was collected
        ("T", "000", "DELIVERED BACK TO SHIPPER", "returned"),
        ("T", "000", "SHIPMENT DELIVERED TO CONSIGNOR", "returned"),
        ("T", "000", "SHIPMENT LOST", "lost"),
        ("T", "086", "DELIVERED IN DAMAGED CONDITION", "delivered"),
        ("T", "086", "DAMAGED", "exception"),
        ("T", "091", "PARTIALLY DELIVERED", "exception"),
        ("T", "118", "DELIVERED BACK TO SHIPPER", "returned"),
        ("T", "188", "CLOSED", None),
        ("T", "098", "PICKUP CANCELLED", "pre_transit"),
        ("T", "135", "CONFISCATED", "exception"),
        ("T", "999", "SHIPMENT DELIVERED", "delivered"),  # no row: by its exact words
        ("T", "999", "DELIVERED", None),
        ("type", "DL", "Shipment delivered", "delivered"),
        ("type", "DL", "Shipment closed", None),
        ("type", "DL", "DELIVERED", "delivered"),
        ("type", "DL", "Delivered - RTO", "returned"),
        ("type", "UD", "Delivered", None),  # it says itself that it is not
        ("type", "DL", "Undelivered", None),
        ("type", "DL", "Cannot be delivered", None),
        ("T", "188", "RETURNED TO SHIPPER", "returned"),
        ("T", "118", "RETURN TO ORIGIN STARTED", None),
        ("type", "RT", "", "returning"),
        ("type", "CN", "Shipment cancelled", "cancelled"),
        ("type", "CN", "", None),
    ],
)
def test_no_code_ends_a_journey_unless_its_words_do(make, group, code, text, means) -> None:
    source, _ = make("carriers.blue_dart")
    says = source.meaning(Code(group, code, text))

    assert (says.status if says is not None else None) == means


def test_what_is_delivered_on_the_way_back_is_returned(make) -> None:
    (outbound,) = polled(make, shipment(scan()))
    (back,) = polled(make, shipment(scan(), scan("074", text="RTO", kind="RT", ScanDate="06-Nov-2026")))
    (alone,) = polled(make, shipment(scan(kind="RT"), ReceivedBy="SHIPPER"))

    assert [status(make, one) for one in (outbound, back, alone)] == ["delivered", "returned", "returned"]
    assert alone.proof is None


@pytest.mark.parametrize(
    ("day", "hour", "local", "precision"),
    [
        ("07-Jun-2012", "13:05", "2012-06-07T13:05:00", Precision.MINUTE),
        ("7 June 2012", "1305", "2012-06-07T13:05:00", Precision.MINUTE),
        ("02 February 2026", "15:33:09", "2026-02-02T15:33:09", Precision.SECOND),
        ("02-Sep-2026", "", "2026-09-02T00:00:00", Precision.DATE),
        ("2026-09-02", None, "2026-09-02T00:00:00", Precision.DATE),
        ("02-Sep-2026", "late", "2026-09-02T00:00:00", Precision.DATE),
        ("02-Sep-2026", "25:00", "2026-09-02T00:00:00", Precision.DATE),
        ("", "13:05", None, Precision.SECOND),
        (None, None, None, Precision.SECOND),
        ("31-Feb-2026", "13:05", None, Precision.SECOND),
        ("02-Foo-2026", "13:05", None, Precision.SECOND),
        ("02/09/2026", "13:05", None, Precision.SECOND),  # which is the day is not told
        (20260902, "13:05", None, Precision.SECOND),
        ("11-05-2026", "13:05", "2026-05-11T13:05:00", Precision.MINUTE),  # as receivers of the push read it
        ("05-13-2026", "13:05", None, Precision.SECOND),
        ("0001-01-01", "13:05", None, Precision.SECOND),
        ("31-12-9999", "13:05", None, Precision.SECOND),
        ("08-Oct-2026", 422, "2026-10-08T04:22:00", Precision.MINUTE),
        ("08-Oct-2026", 1827, "2026-10-08T18:27:00", Precision.MINUTE),
        ("08-Oct-2026", 2560, "2026-10-08T00:00:00", Precision.DATE),
        ("08-Oct-2026", -5, "2026-10-08T00:00:00", Precision.DATE),
    ],
)
def test_dates_and_times_are_printed_apart_and_are_indian(make, day, hour, local, precision) -> None:
    items = polled(make, shipment(scan("002", ScanDate=day, ScanTime=hour), ExpectedDeliveryDate=day))
    (made,), odd = items[0].scans, [item for item in items if isinstance(item, Unread)]

    assert (made.local.isoformat() if made.local else None, made.precision, made.zone) == (
        local,
        precision,
        Zone.UNKNOWN,
    )
    assert (items[0].edd is None) == (local is None)
    readable = (local is not None and hour not in ("late", "25:00", 2560, -5)) or day in ("", None)
    assert bool(odd) != readable
    if local:
        assert place_in_time(made, "UTC", AT)[1] is Zone.BY_PLACE


@pytest.mark.parametrize(
    "form",
    [
        lambda one: {"ScanDetail": one},
        lambda one: {"ScanDetail": [one]},
        lambda one: [{"ScanDetail": one}],
        lambda one: [{"ScanDetail": [one]}],
    ],
)
def test_scans_come_as_an_object_or_a_list_of_either_form(make, form) -> None:
    scans = form(scan())
    (report,) = polled(make, {"ShipmentData": {"Shipment": {"WaybillNo": "44330038841", "Scans": scans}}})

    assert [one.code.code for one in report.scans] == ["000"]


def test_an_object_of_scans_without_any_is_told(make) -> None:
    _, odd = polled(make, {"ShipmentData": {"Shipment": {"WaybillNo": "44330038841", "Scans": {"Other": "1"}}}})

    assert (odd.where, odd.problem) == ("$.ShipmentData.Shipment[0].Scans.ScanDetail", "is missing")


def test_a_number_for_a_code_gets_its_zeros_back_and_small_letters_are_read(make) -> None:
    report, *unread = polled(
        make, shipment(scan(2, "s", "x", "ud"), scan("2", "t"), scan("", "", "y", ""), scan("A1", ""))
    )

    assert [f"{s.code.space}:{s.code.code}" for s in report.scans] == ["S:002", "T:002", "type:missing", "none:A1"]
    assert unread == []
    report, odd = polled(make, shipment(scan(text=7)))
    assert (report.scans[0].code.text, odd.where) == ("", "$.ShipmentData.Shipment[0].Scans[0].Scan")


def test_a_zone_that_is_not_indian_is_told(make) -> None:
    _, odd = polled(make, shipment(scan(StatusTimeZone="GST")))
    assert odd.problem == "is 'GST', and no known name of Indian time"
    assert len(polled(make, shipment(scan(StatusTimeZone="IST")))) == 1


def test_a_waybill_without_a_status_is_not_known_yet(make) -> None:
    bare = {"WaybillNo": "44330038841", "Status": "", "Scans": ""}
    told = {**bare, "StatusType": "NF", "Status": "Incorrect Waybill number or No Information"}
    (one,) = polled(make, {"ShipmentData": {"Shipment": bare}})
    (other,) = polled(make, {"ShipmentData": [{"Shipment": told}]}, "44330038841")

    assert (one.tracking, other.tracking, other.said) == ("not_found", "not_found", told["Status"])


def test_who_is_left_out_is_not_known_unless_something_could_not_be_read(make) -> None:
    (empty,) = polled(make, b"<ShipmentData/>", "1")
    assert (empty.number, empty.tracking) == ("1", "not_found")
    reports = polled(
        make, {"ShipmentData": {"Shipment": [shipment(scan())["ShipmentData"]["Shipment"], {"WaybillNo": ""}]}}, "1"
    )
    assert [type(item).__name__ for item in reports] == ["Report", "Unread"]
    with pytest.raises(BadPayload, match=r"\$\.ShipmentData: is empty"):
        polled(make, {"ShipmentData": ""})
    assert polled(make, {"ShipmentData": {"Error": "Incorrect Waybill number or No Information"}}) == []
    with pytest.raises(BadPayload, match=r"\$\.ShipmentData: Why"):
        polled(make, {"ShipmentData": {"Error": "Why"}})
    with pytest.raises(BadPayload, match=r"\$\.ShipmentData: is missing"):
        polled(make, {"x": 1})


def test_a_second_waybill_in_the_answer_about_one_is_that_of_the_way_back(make) -> None:
    ours = shipment(scan(kind="RT", text="RTO"))["ShipmentData"]["Shipment"]
    both = {"ShipmentData": {"Shipment": [ours, {**ours, "WaybillNo": "44330038899"}]}}
    one, other = polled(make, both, "44330038841")
    several = polled(make, both, "44330038841", "44330038842")

    assert [(link.relation, link.number) for link in one.links] == [("return", "44330038899")]
    assert (other.number, other.links) == ("44330038899", ())
    assert [len(report.links) for report in several] == [0, 0, 0]  # whose it is, is not told


def test_the_waybill_of_the_way_back_names_the_first_and_what_it_delivers_is_returned(make) -> None:
    """As a recorded answer about one prints both: `NewWaybillNo`, and `RefNo` 074 and the first."""
    first = shipment(scan("074", text="RETURNED TO ORIGIN AT SHIPPER'S REQUEST", kind="RT"), NewWaybillNo=44330038899)
    second = shipment(scan(text="SHIPMENT DELIVERED"), RefNo="074 - 44330038841", ReceivedBy="CO STAMP")["ShipmentData"]
    both = {"ShipmentData": {"Shipment": [first["ShipmentData"]["Shipment"], {**second["Shipment"], "WaybillNo": 44330038899}]}}  # fmt: skip
    for asked_about in ([], ["44330038841"]):
        one, other = polled(make, both, *asked_about)

        assert [(link.relation, link.number) for link in one.links] == [("return", "44330038899")]
        assert (other.number, other.links, other.proof) == ("44330038899", (), None)
        assert [status(make, report) for report in (one, other)] == ["returning", "returned"]


def test_a_new_waybill_of_a_parcel_that_does_not_go_back_replaces_it(make) -> None:
    for new, links in (("44330038899", [("replaces", "44330038899")]), ("44330038841", []), ("", []), (None, [])):
        (report,) = polled(make, shipment(scan("001", "S", "SHIPMENT ARRIVED", "UD"), NewWaybillNo=new))
        assert [(link.relation, link.number) for link in report.links] == links
    said = shipment(scan("027", text="REDIRECTED UNDER 44330038899", kind="UD"), NewWaybillNo="44330038899")
    assert len(polled(make, said)[0].links) == 1


def test_a_reference_of_the_customer_is_no_way_back(make) -> None:
    (report,) = polled(make, shipment(scan(text="SHIPMENT DELIVERED"), RefNo="074-12"))

    assert status(make, report) == "delivered"


def test_an_address_that_is_none_is_no_unknown_waybill(make) -> None:
    source, _ = make("carriers.blue_dart")
    with pytest.raises(Transient, match="nothing answers there"):
        source.raise_for_status(Response(404, {}, b'{"title": "Not Found"}', AT))


def test_the_head_is_a_scan_where_no_scan_says_the_same(make) -> None:
    (early,) = polled(make, shipment(scan("001", "S", "ARRIVED", "UD"), Status="Shipment delivered", StatusType="DL", StatusDate="08 November 2026", StatusTime="10:00"))  # fmt: skip
    (late,) = polled(make, shipment(scan(text="Shipment delivered"), Status="SHIPMENT DELIVERED", StatusType="DL"))

    assert [(one.code.space, one.local.isoformat()) for one in early.scans][1] == ("type", "2026-11-08T10:00:00")
    assert len(late.scans) == 1


def test_the_image_of_a_pod_in_a_push_is_a_proof(make) -> None:
    source, _ = make("carriers.blue_dart")
    scans = {"ScanDetail": scan(), "PODDCImages": {"PODImage": "/9j/4AAQ"}}
    body = json.dumps({"statustracking": {"Shipment": {"WaybillNo": "1", "Scans": scans}}}).encode()
    (report,) = source.normalize(Payload("a", "webhook", (body,), AT, {}))

    assert (report.proof.signed, report.proof.photo) == (False, True)


@pytest.mark.parametrize(
    ("code", "text", "links"),
    [
        ("027", "REDIRECTED UNDER AWB 44330038842", [("replaces", "44330038842")]),
        ("132", "NEW WAYBILL NO: 44330038841", []),  # its own
        ("123", "RTO UNDER 44330038843", [("return", "44330038843")]),
        ("011", "CALL 44330038844", []),
    ],
)
def test_a_new_waybill_is_read_out_of_the_words_of_the_scans_that_announce_one(make, code, text, links) -> None:
    (report,) = polled(make, shipment(scan(code, text=text, kind="UD")))

    assert [(link.relation, link.number) for link in report.links] == links


def test_an_answer_that_tells_of_neither_shipments_nor_an_error_makes_no_waybill_unknown(make) -> None:
    source, _ = make("carriers.blue_dart")
    parts = (b'{"ShipmentData": {"Fault": "x"}}', b'{"asked": ["44330038841"]}')

    with pytest.raises(BadPayload, match=r"\$\.ShipmentData\.Shipment: is missing"):
        source.normalize(Payload("a", "poll", parts, AT, {}))


def test_words_at_the_head_that_nobody_knows_are_kept_where_nothing_else_is_told(make) -> None:
    source, _ = make("carriers.blue_dart")
    body = shipment(Status="In Transit", StatusType="UD", StatusDate="08 June 2026")

    (report,) = source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))

    assert [(scan.code.space, scan.code.text) for scan in report.scans] == [("type", "In Transit")]
    assert source.meaning(report.scans[0].code).status is None, "it moves nothing"
