"""Purolator: conformance, requests, and what is its own."""

from __future__ import annotations

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
from tracker.domain.facts import Code, Link, Parcel, Parcels, Payload, Report, Unread
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier
from tracker.plugin.xml import decode_xml

FIXTURES = Path(__file__).parents[1] / "fixtures" / "purolator"
TestConformance = for_carrier("carriers.purolator", fixtures=FIXTURES)
URL = "https://webservices.purolator.com/PWS/V1/Tracking/TrackingService.asmx"
HEAD = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><TrackPackagesByPinResponse xmlns="p" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
)  # fmt: skip
TAIL = "</TrackPackagesByPinResponse></s:Body></s:Envelope>"


def answer(*parcels: str, more: str = "") -> bytes:
    listed = "".join(f"<TrackingInformation>{one}</TrackingInformation>" for one in parcels)
    return f"{HEAD}{more}<TrackingInformationList>{listed}</TrackingInformationList>{TAIL}".encode()


def read(make, *parcels: str, **settings):
    source, _ = make("carriers.purolator", **settings)
    items = list(source.normalize(Payload("a", "poll", (answer(*parcels),), AT, {})))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def parcel(*scans: str, pin: str = "P1", more: str = "") -> str:
    listed = "".join(f"<Scan{'' if one.startswith(' ') else '>'}{one}</Scan>" for one in scans)
    return f"<PIN><Value>{pin}</Value></PIN><Scans>{listed}</Scans>{more}"


def error(code: str) -> str:
    return f"<ResponseInformation><Errors><Error><Code>{code}</Code><Description>no</Description></Error></Errors></ResponseInformation>"


def test_several_numbers_go_into_one_call_and_stay_texts(outside, make) -> None:
    track = outside.post(URL).respond(content=answer())
    source, client = make("carriers.purolator", pins_per_call=3, user_token="tok&en", language="fr")
    numbers = ["329014521622", "]]><a&b", "a\x00b", "\x01", "KYV009956937", "x<Value>"]

    pages = list(source.fetch(client, Parcels(tuple(Parcel("purolator", n) for n in numbers))))

    assert len(pages) == len(track.calls) == 2
    sent = [decode_xml(call.request.content)["Envelope"] for call in track.calls]
    pins = [pin["Value"] for one in sent for pin in one["Body"]["TrackPackagesByPinRequest"]["PINs"]["PIN"]]
    assert pins == ["329014521622", "]]><A&B", "AB", "KYV009956937", "X<VALUE>"]  # \x01 is none
    assert sent[0]["Header"]["RequestContext"] == {
        "Version": "1.2", "Language": "fr", "GroupID": "", "RequestReference": "trackwright", "UserToken": "tok&en",
    }  # fmt: skip
    request = track.calls[0].request
    assert request.headers["soapaction"] == '"http://purolator.com/pws/service/v1/TrackPackagesByPin"'
    assert request.headers["content-type"] == "text/xml; charset=utf-8"
    assert request.headers["authorization"].startswith("Basic ")


def test_an_account_is_asked_about_as_many_numbers_at_once_as_its_settings_say(make) -> None:
    assert [make("carriers.purolator", **more)[0].batch for more in ({}, {"pins_per_call": 3})] == [10, 3]


def test_a_ping_asks_about_a_number_that_nobody_has(outside, make) -> None:
    track = outside.post(URL)
    source, client = make("carriers.purolator")
    track.respond(content=answer(parcel(pin="000000000000", more=error("2300003"))))
    source.ping(client)
    track.respond(content=f"{HEAD}{error('2300003')}{TAIL}".encode())  # said of the answer as a whole
    source.ping(client)
    track.respond(401)
    with pytest.raises(CredentialsRejected):
        source.ping(client)


@pytest.mark.parametrize("body", ["", "<a/>", "<Envelope><Body><GetDeliveryDetailsResponse/></Body></Envelope>"])
def test_a_ping_is_not_believed_where_nobody_answers_what_was_asked(outside, make, body: str) -> None:
    outside.post(URL).respond(content=body)
    source, client = make("carriers.purolator")

    with pytest.raises(BadPayload):
        source.ping(client)


def delivered(details: str) -> bytes:
    """An answer of GetDeliveryDetails (TrackingService.xsd: a DeliveryScan)."""
    scan = f"<DeliveryDetails><ScanType>Delivery</ScanType><ScanDetails>{details}</ScanDetails></DeliveryDetails>"
    return f"{HEAD}{scan}{TAIL}".replace("TrackPackagesByPin", "GetDeliveryDetails").encode()


@pytest.mark.parametrize(
    ("image", "kind"), [("R0lGODlhAQABAAAAACw=", "image/gif"), ("Qk0eAAAA", "image/bmp"), ("\nR0lG\nODlh\n", "image/gif")]
)  # fmt: skip
def test_the_image_of_a_signature_is_handed_out_as_what_it_is(outside, make, image: str, kind: str) -> None:
    track = outside.post(URL).respond(content=delivered(f"<SignatureImage>{image}</SignatureImage>"))
    source, client = make("carriers.purolator")

    assert source.proof(client, Parcel("purolator", " 329014521622"), None).kind == kind
    request = track.calls[0].request
    assert request.headers["soapaction"] == '"http://purolator.com/pws/service/v1/GetDeliveryDetails"'
    asked = decode_xml(request.content)["Envelope"]["Body"]["GetDeliveryDetailsRequest"]
    assert asked == {"PIN": {"Value": "329014521622"}}


@pytest.mark.parametrize(
    ("body", "raised"),
    [
        (delivered("<SignatureImage/>"), NotFound), (delivered("<DeliverySignature>X</DeliverySignature>"), NotFound),
        (delivered(error("2300003")), NotFound), (f"{HEAD}{TAIL}".replace("TrackPackagesByPin", "GetDeliveryDetails").encode(), NotFound),
        (delivered("<SignatureImage>R0lG*</SignatureImage>"), BadPayload), (delivered("<SignatureImage>YWJj</SignatureImage>"), BadPayload),
        (f"{HEAD}{error('7')}{TAIL}".replace("TrackPackagesByPin", "GetDeliveryDetails").encode(), Transient), (answer(), BadPayload),
    ],
)  # fmt: skip
def test_where_there_is_no_image_it_is_said(outside, make, body: bytes, raised: type[Exception]) -> None:
    outside.post(URL).respond(content=body)
    source, client = make("carriers.purolator")

    with pytest.raises(raised) as told:
        source.proof(client, Parcel("purolator", "329014521622"), None)
    assert type(told.value) is raised


@pytest.mark.parametrize(
    ("said", "links"),
    [
        ("New Tracking Number Assigned - 329014521630", ["329014521630"]), ("New Tracking Number Assigned -", []),
        ("Nouveau num\u00e9ro de rep\u00e9rage attribu\u00e9 - kyv009956937", ["KYV009956937"]),
        ("New Tracking Number Assigned - P1", []), ("New Tracking Number Assigned - 329014521622", []),
        ("Delivered to new tracking number assigned - 329014521630", []),
    ],
)  # fmt: skip
def test_the_number_that_a_parcel_got_instead_is_followed(make, said: str, links: list[str]) -> None:
    one = f"<ScanType>Other</ScanType><Description>{said}</Description>"
    (report,), unread = read(make, parcel(one, one, pin="329014521622"))

    assert (report.links, unread) == (tuple(Link(other, "purolator", "replaces") for other in links), [])


IMAGES = [
    ("<SignatureImage>R0lGODlh</SignatureImage>", "<SignatureImage>left out</SignatureImage>"),
    ("<p:SignatureImage a='1'>\nR0l\n</p:SignatureImage>", "<p:SignatureImage a='1'>left out</p:SignatureImage>"),
    ("<SignatureImage><![CDATA[R0l<]]></SignatureImage>", "<SignatureImage>left out</SignatureImage>"),
    ("<SignatureImage/><b>R</b>", "<SignatureImage/><b>R</b>"),
    ("<SignatureImage i:nil='true' /><b>R</b>", "<SignatureImage i:nil='true' /><b>R</b>"),
    ("<SignatureImage> </SignatureImage>", "<SignatureImage> </SignatureImage>"),
    ("<SignatureImageSize>20</SignatureImageSize>", "<SignatureImageSize>20</SignatureImageSize>"),
    ("<SignatureImage>R0l", "<SignatureImage>left out"),
]


@pytest.mark.parametrize(("image", "kept"), IMAGES)
def test_the_image_of_a_signature_is_never_kept(outside, make, image: str, kept: str) -> None:
    outside.post(URL).respond(content=f"<a>{image}</a><a>{image}</a>".encode())
    source, client = make("carriers.purolator")

    (page,) = source.fetch(client, Parcels((Parcel("purolator", "P1"),)))

    assert page.parts[0] == f"<a>{kept}</a><a>{kept}</a>".encode()


def test_nor_where_the_answer_is_utf_16(outside, make) -> None:
    outside.post(URL).respond(content="<SignatureImage>R0lGODlh</SignatureImage>".encode("utf-16"))
    source, client = make("carriers.purolator")

    (page,) = source.fetch(client, Parcels((Parcel("purolator", "P1"),)))

    assert page.parts[0] == b"<SignatureImage>left out</SignatureImage>"


def test_who_signed_is_told_and_a_delivery_without_a_signature_is_none(make) -> None:
    details = "<ScanDetails><DeliverySignature>{}</DeliverySignature><SignatureImage>{}</SignatureImage></ScanDetails>"
    for name, image, signed in (("X", "", True), ("", "left out", True), ("", "", False)):
        scan = f' i:type="DeliveryScan"><ScanType>Delivery</ScanType>{details.format(name, image)}'
        (report,), unread = read(make, parcel(scan))
        assert (report.proof is not None, unread) == (signed, [])


def test_what_is_wrong_with_one_number_is_said_of_it_alone(make) -> None:
    scan = "<ScanType>OnDelivery</ScanType>"
    reports, unread = read(
        make, parcel(scan), parcel(pin="P2", more=error("2300003")), parcel(pin="P3", more=error("7")), parcel(pin="P4"),
        parcel(scan, pin="P5", more=error("8")), "<PIN/>", parcel(pin="P6", more=error("")), parcel(pin="P7", more=error("own")),
        unknown_codes=["own", "2300003"],
    )  # fmt: skip

    assert [(one.number, str(one.tracking), len(one.scans)) for one in reports] == [
        ("P1", "active", 1), ("P2", "not_found", 0), ("P3", "error", 0), ("P4", "not_found", 0), ("P5", "active", 1),
        ("P6", "error", 0), ("P7", "not_found", 0),
    ]  # fmt: skip
    at = "$.Envelope.Body.TrackPackagesByPinResponse.TrackingInformationList.TrackingInformation"
    assert [(one.where.removeprefix(at), one.subject) for one in unread] == [
        ("[4].ResponseInformation.Errors", "P5"), ("[5].PIN.Value", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("listed", "root", "told"),
    [
        ([parcel("<ScanType>OnDelivery</ScanType>")], "", [("P1", "active", ""), ("P2", "not_found", "")]),
        ([parcel("<ScanType>OnDelivery</ScanType>")], error("2300003"), [("P1", "active", ""), ("P2", "not_found", "2300003: no")]),
        ([parcel("<ScanType>OnDelivery</ScanType>")], error("7"), [("P1", "active", ""), ("P2", "error", "7: no")]),
        ([], error("2300003"), [("P1", "not_found", "2300003: no"), ("P2", "not_found", "2300003: no")]),
        ([parcel(), parcel(pin="P2")], error("7"), [("P1", "not_found", ""), ("P2", "not_found", ""), "says 7, and not of which number"]),
        (["<PIN/>"], "", ["must be a text, is missing"]),
    ],
)  # fmt: skip
def test_what_an_answer_says_beside_its_list_is_about_the_numbers_that_the_list_leaves_out(
    outside, make, listed, root, told
) -> None:
    """TrackingService.xsd: the answer has a ResponseInformation of its own beside TrackingInformationList."""
    outside.post(URL).respond(content=answer(*listed, more=root))
    source, client = make("carriers.purolator")
    (page,) = source.fetch(client, Parcels((Parcel("purolator", "P1"), Parcel("purolator", "P2"))))
    if listed == ["<PIN/>"]:
        with pytest.raises(BadPayload, match=told[0]):
            source.normalize(Payload("a", "poll", page.parts, AT, {}))
        return
    items = source.normalize(Payload("a", "poll", page.parts, AT, {}))

    seen = [
        (one.number, str(one.tracking), one.said) if isinstance(one, Report) else (one.where[-27:], one.problem)
        for one in items
    ]
    assert seen == [(".ResponseInformation.Errors", one) if isinstance(one, str) else one for one in told]


def test_a_scan_of_another_number_is_not_of_this_parcel(make) -> None:
    (report,), (left,) = read(make, parcel("<ScanType>Delivery</ScanType><PIN><Value>P2</Value></PIN>"))

    assert (report.scans, str(report.tracking)) == ((), "active")
    assert left.problem == "is another number than that of its parcel: P2"


def test_details_of_a_type_that_nobody_knows_are_told(make) -> None:
    (report,), (left,) = read(
        make, parcel(' i:type="n:LockerScan"><ScanType>Delivery</ScanType><ScanDetails><a>1</a></ScanDetails>')
    )

    assert len(report.scans) == 1
    assert left.problem == "are of a type that TrackingService.xsd does not know: 'LockerScan'"


def scan(depot: str, time: str = "083704", date: str = "2026-03-04") -> str:
    return f"<ScanType>OnDelivery</ScanType><Depot><Name>{depot}</Name></Depot><ScanDate>{date}</ScanDate><ScanTime>{time}</ScanTime>"


@pytest.mark.parametrize(
    ("depot", "place", "zone", "at"),
    [
        ("MONTREAL SORT CTR/CTR TRIE, PQ", "MONTREAL SORT CTR/CTR TRIE, QC, CA", "unknown", None),  # the core places it
        ("TORONTO, ON", "TORONTO, ON, CA", "assumed", "13:37"), ("KELOWNA, BC", "KELOWNA, BC, CA", "assumed", "16:37"),
        ("ST JOHNS, NF", "ST JOHNS, NL, CA", "assumed", "12:07"), ("WHITEHORSE, YT", "WHITEHORSE, YT, CA", "assumed", "15:37"),
        ("BUFFALO, NY", "BUFFALO, NY", "unknown", None), ("DEPOT 7", "DEPOT 7", "unknown", None), ("", "", "unknown", None),
    ],
)  # fmt: skip
def test_a_time_is_local_to_the_province_of_the_depot(make, depot: str, place: str, zone: str, at: str | None) -> None:
    (report,), unread = read(make, parcel(scan(depot)))
    (one,) = report.scans

    assert (str(one.place), str(one.zone), unread) == (place, zone, [])
    assert (one.occurred_at and f"{one.occurred_at:%H:%M}") == at


def test_a_year_that_cannot_be_leaves_the_scan_without_a_time(make) -> None:
    (report,), (left,) = read(make, parcel(scan("", date="0001-01-01")))

    assert (report.scans[0].local, left.problem) == (None, "is no year that can be: '0001-01-01'")


def test_a_delivery_without_a_depot_is_placed_beside_the_newest_scan_that_has_one(make) -> None:
    """By the time of Toronto a delivery in Calgary would come before it went out."""
    (report,), _ = read(make, parcel(scan("", "090000"), scan("CALGARY, AB", "083704"), scan("TORONTO, ON", "200000")))

    assert [one.occurred_at and f"{one.occurred_at:%H:%M}" for one in report.scans] == ["16:00", None, "01:00"]


@pytest.mark.parametrize(
    ("time", "local", "problem"),
    [
        ("83704", "08:37:04", ""), ("10922", "01:09:22", ""), ("0", "00:00:00", ""), ("", "00:00:00", ""),
        ("250000", "00:00:00", "is no time HHMMSS: '250000'"), ("0837041", "00:00:00", "is no time HHMMSS: '0837041'"),
        ("\u0661\u0662", "00:00:00", "is no time HHMMSS: '0000\u0661\u0662'"), ("8:37", "00:00:00", "is no time HHMMSS: '008:37'"),
    ],
)  # fmt: skip
def test_a_time_may_lack_its_leading_zeros_and_one_that_is_none_leaves_the_day(make, time, local, problem) -> None:
    (report,), unread = read(make, parcel(scan("", time)))
    (one,) = report.scans

    assert f"{one.local:%H:%M:%S}" == local
    assert [left.problem for left in unread] == [problem][: bool(problem)]
    assert (str(one.precision) == "date") == (local == "00:00:00" and time != "0")


@pytest.mark.parametrize(
    ("kind", "said", "code", "means"),
    [
        ("Other", "Arrived at  SORT facility.", "arrived at sort facility", ("in_transit", "arrived_facility")),
        ("Other", "New Tracking Number Assigned - 329014521622", "new tracking number assigned", (None, "relabelled")),
        ("Other", "Something new", "something new", None), ("Undeliverable", "Something new", "something new", None),
        ("Undeliverable", "", "missing", None), ("Other", "7", "missing", None), ("OnDelivery", "x", "OnDelivery", ("out_for_delivery", "on_vehicle")),
        ("Delivery", "Shipment delivered to J. DOE", "Delivery", ("delivered", "delivered")),
        ("Delivery", "Shipment delivered to SENDERS DOE", "Delivery", ("delivered", "delivered")), ("Delivery", "Shipment delivered to shipper", "Delivery", ("returned", "received_by_sender")),
        ("Delivery", "Returned to sender - TORONTO, ON", "Delivery", ("returned", "received_by_sender")), ("Delivery", "Available for pickup", "Delivery", ("available_for_pickup", None)),
        ("Delivery", "Transferring to Shipping Centre - please wait", "Delivery", ("in_transit", "redirected")),
        ("Undeliverable", "Available for pickup", "available for pickup", ("available_for_pickup", None)),
        ("Undeliverable", "Delivery delayed", "delivery delayed", ("delayed", "unspecified")),
        ("Undeliverable", "Returned to sender", "returned to sender", ("returning", "return_initiated")),
        ("Undeliverable", "TENTATIVE DE LIVRAISON - Colis refus\u00e9", "tentative de livraison colis refus\u00e9", ("exception", "refused")),
        ("Other", "Quitt\u00e9 Guelph", "quitt\u00e9 guelph", ("in_transit", "departed_facility")), ("Weighing", "x", "Weighing", None),
    ],
)  # fmt: skip
def test_a_wording_means_what_is_documented_and_nothing_else(make, kind, said, code, means) -> None:
    source, _ = make("carriers.purolator")
    (report,), _ = read(make, parcel(f"<ScanType>{kind}</ScanType><Description>{said}</Description>"))
    (one,) = report.scans
    meaning = source.meaning(one.code)

    assert (one.code.code, one.code.text) == (code, said.strip())
    assert (meaning and (meaning.status, meaning.reason)) == means
    assert "doe" not in one.code.code.lower()  # who took it is no part of a code


def test_an_account_may_give_a_wording_a_meaning_of_its_own(make) -> None:
    source, _ = make("carriers.purolator")

    assert source.meaning(Code("Other", "something new")) is None  # `codes:` of the account: Other/something new


@pytest.mark.parametrize(
    ("status", "body", "raised"),
    [
        (200, HEAD + error("5") + TAIL, Transient), (200, HEAD + error("5") + "<TrackingInformationList/>" + TAIL, Transient),
        (200, answer(parcel(more=error("5"))).decode(), None), (200, answer().decode(), None), (401, "", CredentialsRejected),
        (429, "{}", RateLimited), (200, "{}", Transient), (200, "<html></html>", Unavailable), (400, "", Refused),
        (200, answer().decode()[:-30], None), (200, "<Error>" * 9, None),
    ],
)  # fmt: skip
def test_an_answer_of_errors_alone_is_an_error_whatever_its_status(make, status, body, raised) -> None:
    source, _ = make("carriers.purolator")
    response = Response(status, {}, body.encode(), AT)
    if raised is None:
        source.raise_for_status(response)
        return
    with pytest.raises(raised) as told:
        source.raise_for_status(response)
    assert type(told.value) is raised
    if "Error" in body:
        assert str(told.value) == "HTTP 200 with an error: 5: no"


def test_an_answer_without_its_list_says_nothing(make) -> None:
    source, _ = make("carriers.purolator")
    for body, where in (
        (HEAD + "<ResponseInformation/>" + TAIL, r"\.TrackingInformationList: is missing"),
        ("<a/>", r"^\$\.Envelope: must be an object"),
        ("<Envelope><Body>x</Body></Envelope>", r"^\$\.Envelope\.Body: must be an object"),
    ):
        with pytest.raises(BadPayload, match=where):
            source.normalize(Payload("a", "poll", (body.encode(),), AT, {}))


def test_a_key_without_a_user_token_sends_none(outside, make) -> None:
    track = outside.post(URL).respond(content=answer())
    source, client = make("carriers.purolator", user_token=None)

    list(source.fetch(client, Parcels((Parcel("purolator", "329014521622"),))))
    assert b"UserToken" not in track.calls[0].request.content


@pytest.mark.parametrize("body", [b"<a><Error></Error></a>", b"<Envelope><Body><Error></Error></Body></Envelope>"])
def test_an_error_that_cannot_be_read_is_a_failed_answer(make, body: bytes) -> None:
    source, _ = make("carriers.purolator")

    with pytest.raises(Transient, match="no code: no reason given"):
        source.raise_for_status(Response(200, {"content-type": "text/xml"}, body, AT))
