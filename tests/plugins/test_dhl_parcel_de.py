"""DHL Parcel DE: conformance, requests, and what is its own."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
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
from tracker.domain.facts import Code, Parcel, Parcels, Payload, Report, Unread, fingerprint
from tracker.domain.timeline import place_in_time
from tracker.domain.vocabulary import Leg
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier
from tracker.plugin.xml import decode_xml

TestConformance = for_carrier(
    "carriers.dhl_parcel_de", fixtures=Path(__file__).parents[1] / "fixtures" / "dhl_parcel_de"
)  # fmt: skip
URL = "https://api-eu.dhl.com/parcel/de/tracking/v0/shipments"
NUMBER = "00340434161094022115"
NONE = b'<data name="piece-shipment-list" code="100" error="No data found" request-id="1"/>'


def ask(*numbers: str) -> Parcels:
    return Parcels(tuple(Parcel("dhl", n) for n in numbers))


def event(**more: str) -> str:
    told = {
        "event-timestamp": "18.03.2016 10:02",
        "standard-event-code": "ZU",
        "ice": "DLVRD",
        "ric": "ACCPT",
        "event-location": "Bonn",
        "event-country": "Germany",
    }
    return f"<data {' '.join(f'{name}={json.dumps(value, ensure_ascii=False)}' for name, value in (told | more).items() if value is not None)}/>"


def read(make, inner: str, head: str = f'piece-code="{NUMBER}" error-status="0"'):
    source, _ = make("carriers.dhl_parcel_de")
    body = f'<data code="0"><data name="piece-shipment" {head}>{inner}</data></data>'.encode()
    items = list(source.normalize(Payload("a", "poll", (body,), AT, {})))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def scan(make, **more: str):
    (report,), unread = read(make, f"<data name='piece-event-list'>{event(**more)}</data>")
    return report.scans[0], [one.problem for one in unread]


def test_twenty_numbers_go_into_one_call_as_a_document_that_a_writer_of_xml_made(outside, make) -> None:
    track = outside.get(URL).respond(content=NONE.replace(b"100", b"0").replace(b"/>", b"><data/></data>"))
    source, client = make("carriers.dhl_parcel_de", password='ge"hei<m>&', appname="zt12345", language="de")

    pages = list(source.fetch(client, ask(*(f"N{i}" for i in range(21)), "N1", 'a"b<c&d', "12;34", "\x01")))

    asked = [
        decode_xml(
            call.request.url.params["xml"].encode(), "appname", "password", "request", "language-code", "piece-code"
        )
        for call in track.calls
    ]
    assert [len(one["data"]["@piece-code"].split(";")) for one in asked] == [20, 3]
    assert asked[0]["data"] == {
        "@appname": "zt12345", "@password": 'ge"hei<m>&', "@request": "d-get-piece-detail", "@language-code": "de",
        "@piece-code": ";".join(f"N{i}" for i in range(20)),
    }  # fmt: skip
    assert asked[1]["data"]["@piece-code"] == 'N20;A"B<C&D;12_34', "a number with a `;` asks about no other"
    basic = base64.b64encode(b"canary-api_key:canary-api_secret").decode()
    assert track.calls[0].request.headers["authorization"] == f"Basic {basic}"
    assert source.batch == 20
    assert json.loads(pages[1].parts[1]) == {"asked": ["N20", 'A"B<C&D', "12;34"]}


def test_what_an_answer_leaves_out_is_not_known(make) -> None:
    source, _ = make("carriers.dhl_parcel_de")
    body = f'<data code="0"><data piece-code="{NUMBER}">{event()}</data></data>'.encode()
    items = source.normalize(Payload("a", "poll", (body, json.dumps({"asked": [NUMBER, "JJD1"]}).encode()), AT, {}))

    assert [(one.number, str(one.tracking)) for one in items] == [(NUMBER, "active"), ("JJD1", "not_found")]


@pytest.mark.parametrize(
    ("printed", "local", "precision", "problems"),
    [
        ("18.03.2016 10:02", "2016-03-18T10:02:00", "minute", 0), ("18.03.2016 10:02:31", "2016-03-18T10:02:31", "minute", 0), ("18.03.2016", "2016-03-18T00:00:00", "date", 0),
        ("8.3.2016", "2016-03-08T00:00:00", "date", 0), ("2016-03-18T10:02:00", "2016-03-18T10:02:00", "minute", 0), ("2016-03-18T10:02:00+02:00", "2016-03-18T10:02:00", "minute", 0),
        ("", None, "second", 0), (None, None, "second", 0), ("31.02.2016 10:02", None, "second", 1), ("soon", None, "second", 1), ("18.03.0001 10:02", None, "second", 1),
        ("18.03.2016 10:02+01:00", None, "second", 1),
    ],
)  # fmt: skip
def test_a_time_is_german_and_one_that_is_none_is_told(make, printed, local, precision, problems) -> None:
    one, unread = scan(make, **{"event-timestamp": printed})

    assert (one.local and one.local.isoformat(), str(one.precision), len(unread)) == (local, precision, problems)


@pytest.mark.parametrize(("printed", "at"), [("18.03.2016 10:02", "09:02"), ("18.07.2016 10:02", "08:02")])
def test_a_time_is_placed_in_berlin_summer_and_winter(make, printed, at) -> None:
    source, _ = make("carriers.dhl_parcel_de")
    for country in ("Germany", "Ruritania"):
        one, _ = scan(make, **{"event-timestamp": printed, "event-country": country})
        instant, _ = place_in_time(one, source.default_zone, datetime(2026, 1, 1, tzinfo=UTC))
        assert f"{instant:%H:%M}" == at


@pytest.mark.parametrize(
    ("city", "country", "place"),
    [("Bonn", "Germany", "Bonn, DE"), ("Bonn", "", "Bonn, DE"), ("", "", "DE"), ("Wien", "Österreich", "Wien, AT"), ("Wien", "AUT", "Wien, AT"), ("Vaduz", "Ruritania", "Vaduz"), ("x" * 600, "y", "x" * 200)],
)  # fmt: skip
def test_a_place_is_in_the_country_that_is_named_or_in_germany(make, city, country, place) -> None:
    one, _ = scan(make, **{"event-location": city, "event-country": country})

    assert str(one.place) == place


@pytest.mark.parametrize(
    ("standard", "ice", "ric", "code", "means"),
    [
        ("ZU", "DLVRD", "NGHBR", ("parcel-de", "ZU"), ("delivered", "neighbour")), ("zu", "dlvrd", "nghbr", ("parcel-de", "ZU"), ("delivered", "neighbour")),
        ("ZU", "DSPSD", "NTCLM", ("ice", "DSPSD/NTCLM/ZU"), ("destroyed", "disposed")), ("ZN", "RETRN", "MOVED", ("ice", "RETRN/MOVED/ZN"), ("returning", "return_initiated")),
        ("ZU", "DLVRD", "HNDTC", ("ice", "DLVRD/HNDTC/ZU"), ("in_transit", "handed_to_partner")), ("BV", "EXPHD", "LOSTX", ("ice", "EXPHD/LOSTX/BV"), ("lost", "lost")),
        ("LA", "INFCL", "HLDAY", ("parcel-de", "LA"), ("on_hold", "recipient_issue")), ("ZU", "NEWIC", "NEWRC", ("parcel-de", "ZU"), ("delivered", "delivered")),
        ("ZU", "", "", ("parcel-de", "ZU"), ("delivered", "delivered")), ("DD", "ADVIS", "DLVDT", ("parcel-de", "DD"), ("None", "delivery_instruction")), ("XX", "", "", ("parcel-de", "XX"), None),
        ("", "DLVRD", "ACCPT", ("ice", "DLVRD/ACCPT"), None), ("", "", "", ("ice", "missing"), None), ("GT", "PMTCS", "SERPT", ("parcel-de", "GT"), ("None", "cod_collected")),
    ],
)  # fmt: skip
def test_ice_and_ric_say_why_and_whether_a_parcel_ended_otherwise(make, standard, ice, ric, code, means) -> None:
    source, _ = make("carriers.dhl_parcel_de")
    one, _ = scan(make, **{"standard-event-code": standard, "ice": ice, "ric": ric, "event-status": "Told (so)"})
    says = source.meaning(one.code)

    assert (one.code.space, one.code.code) == code
    assert (says and (str(says.status), str(says.reason))) == means


def test_a_text_that_ends_as_a_code_does_means_no_more_than_its_own(make) -> None:
    source, _ = make("carriers.dhl_parcel_de")

    assert source.meaning(Code("parcel-de", "ZU", "(DSPSD/XXXXX)")).status == "delivered"


def test_an_event_is_the_same_scan_as_unified_tells(make) -> None:
    mine, _ = scan(make, **{"event-status": "Zustellung"})
    told = {
        "timestamp": "2016-03-18T10:02:00",
        "statusCode": "delivered",
        "status": "ZU",
        "location": {"address": {"addressLocality": "Bonn, Germany"}},
    }
    nowhere = {"timestamp": "2016-03-18T10:02:31+01:00", "statusCode": "delivered", "status": "ZU"}
    source, _ = make("carriers.dhl")
    body = json.dumps({"shipments": [{"id": NUMBER, "service": "parcel-de", "events": [told, nowhere]}]}).encode()
    (report,) = source.normalize(Payload("a", "poll", (body,), AT, {}))

    assert fingerprint(mine) == fingerprint(report.scans[0])
    assert fingerprint(scan(make, **{"event-location": "", "event-country": ""})[0]) == fingerprint(report.scans[1])
    assert report.piece == "parcel-de"


@pytest.mark.parametrize(
    ("own", "head", "leg"),
    [("true", "", Leg.RETURN_TO_SENDER), ("false", "true", None), ("", "true", Leg.RETURN_TO_SENDER), (None, "1", Leg.RETURN_TO_SENDER), ("false", "", None), (None, "", None), ("TRUE", "false", Leg.RETURN_TO_SENDER)],
)  # fmt: skip
def test_a_delivery_on_the_way_back_is_on_that_leg(make, own, head, leg) -> None:
    (report,), _ = read(make, event(ruecksendung=own), f'piece-code="{NUMBER}" ruecksendung="{head}"')

    assert report.scans[0].leg is leg


HEAD = f'piece-code="{NUMBER}" status-timestamp="19.03.2016 10:02" standard-event-code="ZU" ice="DLVRD" ric="ACCPT" status="Delivered"'


@pytest.mark.parametrize(
    ("inner", "codes"),
    [
        (event(**{"standard-event-code": "PO", "ice": "", "ric": ""}), ["PO", "ZU"]), (event(**{"event-timestamp": "19.03.2016 10:02"}), ["ZU"]), ("", ["ZU"]),
        ("<data name='piece-event-list'/>", ["ZU"]), (f"<data name='a'>{event()}{event(ice='DSPSD', ric='NTCLM')}</data>", ["ZU", "DSPSD/NTCLM/ZU"]),
    ],
)  # fmt: skip
def test_a_status_at_the_head_becomes_a_scan_where_no_event_carries_it(make, inner, codes) -> None:
    (report,), unread = read(make, inner, HEAD)

    assert ([one.code.code for one in report.scans], unread) == (codes, [])


def test_the_day_of_a_delivery_is_an_estimate_until_it_was_delivered(make) -> None:
    day = f'piece-code="{NUMBER}" delivery-date="21.07.2026" delivery-event-flag='
    (report,), _ = read(make, event(), f'{day}"0"')

    assert [at.isoformat() for at in (report.edd.begins, report.edd.ends)] == [
        "2026-07-21T00:00:00+02:00",
        "2026-07-22T00:00:00+02:00",
    ]
    assert read(make, event(), f'{day}"1"')[0][0].edd is None
    (report,), (left,) = read(make, event(), f'piece-code="{NUMBER}" delivery-date="soon"')
    assert (report.edd, left.where, left.subject) == (None, "$.data.data[0].@delivery-date", NUMBER)
    offset = read(make, event(), f'piece-code="{NUMBER}" delivery-date="2026-07-21T12:00:00+01:00"')[0][0].edd
    assert offset.begins.isoformat() == "2026-07-21T12:00:00+01:00"


def test_each_odd_piece_costs_itself_only(make) -> None:
    source, _ = make("carriers.dhl_parcel_de")
    body = f"""<data code="0"><data piece-code="" searched-piece-code="{NUMBER}">{event()}<data event-timestamp="">x</data>{event(**{"event-timestamp": "soon"})}</data>
      <data name="x"/><data piece-code="JJD1">text</data>words</data>"""
    items = list(source.normalize(Payload("a", "poll", (body.encode(),), AT, {})))

    assert [(one.number, len(one.scans), one.complete) for one in items if isinstance(one, Report)] == [
        (NUMBER, 2, False),
    ]
    assert [(one.where, one.subject, one.lacks) for one in items if isinstance(one, Unread)] == [
        ("$.data.data[0].data.data[1]", NUMBER, ""), ("$.data.data[0].data.data[2].@event-timestamp", NUMBER, ""), ("$.data.data[1].@piece-code", "", "all"),
        ("$.data.data[2]", "", "all"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body", [b"<data/>", b'<data code="0"/>', b"<a/>", b"<data>x</data>", b"{}", b"", b'<data code="0"><data/></data>']
)
def test_an_answer_without_a_piece_says_nothing(make, body) -> None:
    source, _ = make("carriers.dhl_parcel_de")

    with pytest.raises(BadPayload):
        list(source.normalize(Payload("a", "poll", (body,), AT, {})))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, NONE, NotFound), (200, b'<data name="x" code="5" error="Login failed"/>', CredentialsRejected), (200, b'<data code="2" error="Falsche ZT-Kennung"/>', CredentialsRejected),
        (200, b'<data code="7" error="Busy"/>', Transient), (200, b"<data code='7'/>", Transient), (200, b"<data/>", Transient), (200, b'{"title": "x"}', Transient), (200, b"", Transient),
        (401, b"{}", CredentialsRejected), (403, b"", CredentialsRejected), (429, b"", RateLimited), (400, b"", Refused), (404, b"", NotFound), (500, b"", Transient),
        (200, b"<!DOCTYPE html><html/>", Unavailable), (200, b'<data piece-code="0" code="7"/>', Transient), (200, b'<data code="8"><data piece-code="1"/></data>', Transient),
    ],
)  # fmt: skip
def test_an_error_at_the_root_is_an_error_whatever_its_http_status(make, status, body, error) -> None:
    source, _ = make("carriers.dhl_parcel_de")

    with pytest.raises(error) as told:
        source.raise_for_status(Response(status, {}, body, AT))
    assert type(told.value) is error


@pytest.mark.parametrize(
    "body",
    [
        b'<data code="0"><data/></data>',
        b"<data name='x' code = '0' />",
        b'<data name="x" code=""><data/></data>',
        b'<data><data piece-code="1"/></data>',
        b'<data code="000"/>',
    ],
)
def test_what_is_no_error_is_judged_good(make, body) -> None:
    source, _ = make("carriers.dhl_parcel_de")

    source.raise_for_status(Response(200, {}, body, AT))


def test_an_error_of_a_piece_beside_its_events_is_told_and_takes_nothing_from_them(make) -> None:
    (report,), (left,) = read(make, event(), f'piece-code="{NUMBER}" error-status="7"')

    assert (len(report.scans), str(report.tracking), report.complete, left.where) == (
        1,
        "active",
        True,
        "$.data.data[0].@error-status",
    )


def test_which_codes_say_that_nothing_is_known_is_a_setting(make) -> None:
    source, _ = make("carriers.dhl_parcel_de", unknown_codes=("17",))

    with pytest.raises(NotFound, match="code 17: Nix"):
        source.raise_for_status(Response(200, {}, b'<data code="17" error="Nix"/>', AT))
    with pytest.raises(Transient):
        source.raise_for_status(Response(200, {}, NONE, AT))


def test_a_ping_is_believed_by_the_word_of_the_interface_alone(outside, make) -> None:
    track = outside.get(URL)
    source, client = make("carriers.dhl_parcel_de")
    track.respond(content=NONE)
    source.ping(client)
    for status, body, error in (
        (404, b"", Transient),
        (200, b'{"ok": 1}', Transient),
        (401, b"", CredentialsRejected),
        (200, b'<data code="5" error="Login failed"/>', CredentialsRejected),
    ):
        track.respond(status, content=body)
        with pytest.raises(error):
            source.ping(client)


GIF = b"GIF89a\x01"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (f'<data code="0" name="signaturelist"><data name="signature" image="{GIF.hex()}" mime-type="image/gif"/></data>', None), (f'<data code="0" image="{GIF.hex().upper()}"/>', None),
        (f'<data code="0"><data/><data><data/></data><data image="{GIF.hex()}"/></data>', None),
        ('<data code="0"><data image=""/></data>', NotFound), ('<data code="0"/>', NotFound), (NONE.decode(), NotFound), ('<data code="0"><data image="GIF"/></data>', BadPayload),
        ('<data code="0"><data image="00ff"/></data>', BadPayload),
    ],
)  # fmt: skip
def test_the_proof_of_a_delivery_is_the_image_of_the_signature(outside, make, body, error) -> None:
    track = outside.get(URL).respond(content=body.encode())
    source, client = make("carriers.dhl_parcel_de")
    if error is not None:
        with pytest.raises(error):
            source.proof(client, Parcel("dhl", NUMBER), None)
        return
    document = source.proof(client, Parcel("dhl", NUMBER), "parcel-de")

    assert (document.content, document.kind) == (GIF, "image/gif")
    asked = decode_xml(track.calls[0].request.url.params["xml"].encode(), "request", "piece-code")["data"]
    assert asked == {"@request": "d-get-signature", "@piece-code": NUMBER}


def test_very_long_texts_are_clipped(make) -> None:
    one, _ = scan(make, **{"event-status": "x" * 2_000})

    assert len(one.code.text) < 300


def test_how_many_calls_a_day_are_allowed_is_a_setting(make) -> None:
    assert [make("carriers.dhl_parcel_de", **more)[0].limits.calls for more in ({}, {"calls_per_day": 50})] == [
        1000,
        50,
    ]
