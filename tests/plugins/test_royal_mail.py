"""Royal Mail: conformance, requests, and what is its own."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import Code, Parcel, Parcels, Payload
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.royal_mail", fixtures=Path(__file__).parents[1] / "fixtures" / "royal_mail")
HOST = "https://api.royalmail.net/mailpieces/v2"
ONE, TWO, THREE = "FQ087430672GB", "FQ087430673GB", "FQ087430674GB"
NEWEST = "2026-11-02T09:04:00+00:00"
UNKNOWN = {"errorCode": "E1142", "errorDescription": "Barcode reference isn't recognised"}


def _error(*errors: dict[str, str], code: str = "404", **more: Any) -> dict[str, Any]:
    return {"httpCode": code, "httpMessage": "Not Found", "errors": list(errors), **more}


def _summary(mine: str, at: Any = NEWEST, **more: Any) -> dict[str, Any]:
    said = {"lastEventCode": "EVIMC", "lastEventName": "In Transit", "lastEventDateTime": at}
    return {"mailPieceId": mine, "status": "200", "summary": said, **more}


def _events(mine: str, *events: tuple[str, str], **summary: Any) -> dict[str, Any]:
    told = [{"eventCode": code, "eventName": "", "eventDateTime": at} for code, at in events]
    return {"mailPieces": {"mailPieceId": mine, "summary": summary, "events": told}}


def _read(make: Any, body: Any) -> list[Any]:
    source, _ = make("carriers.royal_mail")
    return list(source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {})))


@pytest.fixture
def asked(outside: Any) -> list[str]:
    """The numbers whose events were asked for; all but the third are known."""
    found: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        found.append(request.url.path.split("/")[-2])
        if found[-1] == THREE:
            return httpx.Response(404, json=_error(UNKNOWN))
        return httpx.Response(200, json=_events(found[-1], ("EVIMC", NEWEST)))

    outside.get(url__regex=rf"{HOST}/\w+/events").mock(side_effect=answer)
    return found


# requests


def test_one_number_alone_is_asked_about_with_its_events_at_once(outside, make, asked) -> None:
    source, client = make("carriers.royal_mail")

    (page,) = source.fetch(client, Parcels((Parcel("royalmail", ONE.lower()),)))

    request = outside.calls[0].request
    assert (asked, json.loads(page.parts[0])["mailPieces"]["mailPieceId"]) == ([ONE], ONE)
    assert (request.headers["x-ibm-client-id"], request.headers["x-ibm-client-secret"]) == (
        "canary-client_id",
        "canary-client_secret",
    )
    assert request.headers["x-accept-rmg-terms"] == "yes"


@pytest.mark.parametrize(
    ("known", "summary", "events"),
    [
        (None, _summary(ONE), [ONE]),  # nothing is known of it yet
        (datetime(2026, 11, 2, 9, 4, tzinfo=UTC), _summary(ONE), []),
        (datetime(2026, 11, 2, 10, 4, tzinfo=timezone(timedelta(hours=1))), _summary(ONE), []),  # the same moment
        (datetime(2026, 11, 2, 8, 0, tzinfo=UTC), _summary(ONE), [ONE]),
        (datetime(2026, 11, 3, 8, 0, tzinfo=UTC), _summary(ONE), [ONE]),  # a scan is gone, or was told by somebody else
        (datetime(2026, 11, 2, 9, 4, tzinfo=UTC), _summary(ONE, None), [ONE]),
        (datetime(2026, 11, 2, 9, 4, tzinfo=UTC), _summary(ONE, "soon"), [ONE]),
        (None, {"mailPieceId": ONE, "status": "404", "error": UNKNOWN}, []),
        (None, 7, [ONE]),
    ],
)  # fmt: skip
def test_of_several_numbers_the_events_are_asked_for_where_the_newest_is_another_than_is_known(
    outside, make, asked, known, summary, events
) -> None:
    route = outside.get(f"{HOST}/summary").respond(json={"mailPieces": [_summary(TWO), summary]})
    source, client = make("carriers.royal_mail")
    second = Parcel("royalmail", TWO, last_scan_at=datetime(2026, 11, 2, 9, 4, tzinfo=UTC))

    pages = list(source.fetch(client, Parcels((Parcel("royalmail", ONE, last_scan_at=known), second))))

    assert asked == events
    assert len(pages) == 1 + len(events)
    assert route.calls[0].request.url.params["mailPieceId"] == f"{ONE},{TWO}"


def test_thirty_numbers_go_into_one_summary(outside, make, asked) -> None:
    route = outside.get(f"{HOST}/summary").respond(json={"mailPieces": [_summary("x", "")]})
    source, client = make("carriers.royal_mail")
    known = [Parcel("royalmail", f"AA{i:09}GB") for i in range(32)]

    pages = list(source.fetch(client, Parcels(tuple(known))))

    assert [len(call.request.url.params["mailPieceId"].split(",")) for call in route.calls] == [30, 2]
    assert len(pages) == 2 + 32, "numbers of which a summary says nothing are asked about"


def test_events_that_are_not_found_take_nothing_from_the_summary_that_knows_the_number(outside, make, asked) -> None:
    outside.get(f"{HOST}/summary").respond(json={"mailPieces": [_summary(ONE), _summary(THREE)]})
    source, client = make("carriers.royal_mail")

    pages = list(source.fetch(client, Parcels((Parcel("royalmail", THREE), Parcel("royalmail", ONE)))))

    assert (asked, len(pages)) == ([THREE, ONE], 2)


@pytest.mark.parametrize("summary", [(200, {"mailPieces": [_summary(ONE)]}), (404, _error(UNKNOWN))])
def test_a_number_of_which_a_summary_says_nothing_is_not_known_where_its_events_say_so(
    outside, make, asked, summary
) -> None:
    outside.get(f"{HOST}/summary").respond(summary[0], json=summary[1])
    source, client = make("carriers.royal_mail")

    pages = list(source.fetch(client, Parcels((Parcel("royalmail", THREE), Parcel("royalmail", ONE)))))

    told = [one for page in pages for one in source.normalize(Payload("a", "poll", page.parts, AT, {}))]
    assert {one.number: str(one.tracking) for one in told} == {ONE: "active", THREE: "not_found"}


def test_a_piece_that_is_told_of_by_its_other_barcode_is_that_which_was_asked_about(make) -> None:
    source, _ = make("carriers.royal_mail")
    unique = "090367574000000FE1E1B"
    body = _events(unique, ("EVIMC", NEWEST), uniqueItemId=unique, oneDBarcode=ONE)

    def told(*asked: str) -> Any:
        parts = (json.dumps(body).encode(), json.dumps({"asked": asked}).encode())
        return next(iter(source.normalize(Payload("a", "poll", parts, AT, {}))))

    assert [told(ONE).number, told(unique).number, told(TWO).number] == [ONE, unique, unique]


def test_a_summary_that_tells_no_event_is_told(make) -> None:
    report, unread = _read(
        make, {"mailPieces": [{"mailPieceId": ONE, "status": "200", "summary": {"productId": "SD2"}}]}
    )

    assert (report.scans, unread.where, unread.subject) == ((), "$.mailPieces[0].summary.lastEventCode", ONE)


def test_a_movement_after_the_delivery_that_only_a_summary_tells_moves_nothing(make) -> None:
    said = {"lastEventCode": "EVGMI", "lastEventDateTime": NEWEST, "statusCategory": "DELIVERED"}

    (report,) = _read(make, {"mailPieces": [{"mailPieceId": ONE, "status": "200", "summary": said}]})
    (one_alone,) = _read(
        make, {"mailPieces": {"mailPieceId": ONE, "events": {"eventCode": "EVKSP", "eventDateTime": NEWEST}}}
    )

    assert [scan.code.space for scan in report.scans] == ["after"]
    assert [scan.code.code for scan in one_alone.scans] == ["EVKSP"], "an event that is printed without its list"


def test_an_answer_that_none_of_several_numbers_is_known_is_an_answer(outside, make) -> None:
    body = _error(UNKNOWN, mailPieces=[{"mailPieceId": ONE, "status": "404"}, {"mailPieceId": TWO, "status": "404"}])
    outside.get(f"{HOST}/summary").respond(404, json=body)
    source, client = make("carriers.royal_mail")

    (page,) = source.fetch(client, Parcels((Parcel("royalmail", ONE), Parcel("royalmail", TWO))))

    reports = list(source.normalize(Payload("a", "poll", page.parts, AT, {})))
    assert [(one.number, str(one.tracking)) for one in reports] == [(ONE, "not_found"), (TWO, "not_found")]


def test_a_product_that_is_not_tracked_is_news_of_its_number(outside, make) -> None:
    said = {"errorCode": "E1283", "errorDescription": "Tracking is not available for this product"}
    outside.get(f"{HOST}/{ONE}/events").respond(404, json=_error(said))
    source, client = make("carriers.royal_mail")

    (page,) = source.fetch(client, Parcels((Parcel("royalmail", ONE),)))

    (report,) = source.normalize(Payload("a", "poll", page.parts, AT, {}))
    assert (report.number, str(report.tracking), report.said) == (
        ONE,
        "unsupported",
        "E1283: Tracking is not available for this product",
    )


# proof

SVG = (
    '<svg height="530" width="660"><polyline style="fill:none; stroke:#000000" points="372.4,213.4 372.4,210.4"/></svg>'
)
PNG = b"\x89PNG\r\n\x1a\n..."


@pytest.mark.parametrize(
    ("form", "image", "kind", "content"),
    [
        ("image/svg+xml", SVG, "image/svg+xml", SVG.encode()),
        ("image/svg+xml", '"' + SVG.replace('"', '\\"') + '"', "image/svg+xml", SVG.encode()),  # as the contract prints it
        ("image/png", base64.b64encode(PNG).decode(), "image/png", PNG),
    ],
)  # fmt: skip
def test_a_signature_is_a_drawing_or_an_image(outside, make, form, image, kind, content) -> None:
    signature = {"recipientName": "Simon", "imageFormat": form, "image": image}
    outside.get(f"{HOST}/{ONE}/signature").respond(json={"mailPieces": {"mailPieceId": ONE, "signature": signature}})
    source, client = make("carriers.royal_mail")

    found = source.proof(client, Parcel("royalmail", ONE), None)

    assert (found.kind, found.content) == (kind, content)


@pytest.mark.parametrize(
    "image",
    [7, "<html></html>", "<svg", "<svg><script>alert(1)</script></svg>", '<svg onload="x()"></svg>', '<svg><a href="x"/></svg>',
     '<svg><path fill="url(http://x)"/></svg>', f"<svg>{'<g>' * 4_000_000}</svg>"],
)  # fmt: skip
def test_a_drawing_that_does_more_than_draw_is_none(outside, make, image) -> None:
    signature = {"imageFormat": "image/svg+xml", "image": image}
    outside.get(f"{HOST}/{ONE}/signature").respond(json={"mailPieces": {"signature": signature}})
    source, client = make("carriers.royal_mail")

    with pytest.raises((BadPayload, Transient), match=r"image|larger|bytes"):
        source.proof(client, Parcel("royalmail", ONE), None)


@pytest.mark.parametrize("pieces", [{}, [], [7], {"signature": {}}, {"signature": {"image": ""}}, "x"])
def test_an_answer_without_a_signature_holds_none(outside, make, pieces) -> None:
    outside.get(f"{HOST}/{ONE}/signature").respond(json={"mailPieces": pieces})
    source, client = make("carriers.royal_mail")

    with pytest.raises(NotFound, match="no signature"):
        source.proof(client, Parcel("royalmail", ONE), None)


def test_a_proof_that_is_not_there_is_not_found(outside, make) -> None:
    said = {"errorCode": "E1145", "errorDescription": "Proof of delivery is not available for barcode reference"}
    outside.get(f"{HOST}/{ONE}/signature").respond(404, json=_error(said))
    source, client = make("carriers.royal_mail")

    with pytest.raises(NotFound, match="E1145: Proof of delivery"):
        source.proof(client, Parcel("royalmail", ONE), None)


# check


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, {"mailPieces": [_summary(ONE)]}), (200, {"mailPieces": [{"mailPieceId": ONE, "status": "404", "error": UNKNOWN}]}), (404, _error(UNKNOWN))],
)  # fmt: skip
def test_a_key_is_believed_by_an_answer_about_a_number_known_or_not(outside, make, status, body) -> None:
    outside.get(f"{HOST}/summary").respond(status, json=body)
    source, client = make("carriers.royal_mail")

    source.ping(client)


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (200, {}, Transient, "without mailPieces"),
        (404, {"httpCode": "404", "httpMessage": "Not Found"}, Transient, "is `base_url` right"),
        (401, {"httpCode": "401", "httpMessage": "Unauthorized", "moreInformation": "Invalid client id or secret."}, CredentialsRejected, "Invalid client id or secret"),
        (403, {"errors": [{"errorCode": "E0016", "errorDescription": "Access Denied"}]}, CredentialsRejected, "E0016: Access Denied: is the application subscribed"),
        (403, {}, CredentialsRejected, "no reason given"),
    ],
)  # fmt: skip
def test_a_key_that_does_not_work_is_told_with_what_to_look_at(outside, make, status, body, error, said) -> None:
    outside.get(f"{HOST}/summary").respond(status, json=body)
    source, client = make("carriers.royal_mail")

    with pytest.raises(error, match=said):
        source.ping(client)


# errors


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (404, _error(UNKNOWN), NotFound, "E1142"),
        (400, _error({"errorCode": "E1307"}, code="400"), NotFound, "E1307"),
        (404, _error(UNKNOWN, {"errorCode": "E0009"}), NotFound, "404"),
        (429, {"httpCode": "429", "httpMessage": "Too Many Requests"}, RateLimited, "429"),
        (400, _error({"errorCode": "E0010", "errorDescription": "Too many requests"}), RateLimited, "E0010"),
        (200, _error({"errorCode": "E0010", "errorDescription": "Too many requests"}), RateLimited, "E0010"),
        (400, _error({"errorCode": "E0004", "errorDescription": "Failed header validation"}, code="400"), Refused, "400: E0004: Failed header"),
        (400, _error({"errorCode": "E0013", "errorDescription": "Too many numbers"}, mailPieces=[{"mailPieceId": ONE}]), Refused, "400"),
        (405, {"httpCode": "405"}, Refused, "405"),
        (500, _error({"errorCode": "E0009", "errorDescription": "Internal server error"}, code="500"), Transient, "500"),
        (200, {"httpCode": "500", "httpMessage": "Internal Server Error"}, Transient, "with an error"),
        (200, {"errors": [{"errorCode": "E0001"}]}, Transient, "with an error"),
        (200, "errorCode", Transient, "no JSON"),
    ],
)  # fmt: skip
def test_an_error_is_one_whatever_its_status(make, status, body, error, said) -> None:
    source, _ = make("carriers.royal_mail")
    raw = b'"errorCode"x' if body == "errorCode" else json.dumps(body).encode()

    with pytest.raises(error, match=said):
        source.raise_for_status(Response(status, {}, raw, AT))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"mailPieces": None},
        {"mailPieces": {}},
        {"mailPieces": {"mailPieceId": ONE}},
        {"mailPieces": [{"mailPieceId": ONE, "status": "200"}]},
    ],
)
def test_an_answer_that_tells_nothing_is_not_no_news(make, body) -> None:
    with pytest.raises(BadPayload, match="mailPieces"):
        _read(make, body)


def test_what_of_a_number_without_a_history_cannot_be_read_is_told(make) -> None:
    report, unread = _read(make, {"mailPieces": [{"mailPieceId": ONE, "status": "404", "summary": "x"}]})

    assert (str(report.tracking), unread.where, unread.subject) == ("not_found", "$.mailPieces[0].summary", ONE)


# what an answer says


def test_a_scan_after_the_delivery_is_a_movement_once_the_summary_says_so(make) -> None:
    source, _ = make("carriers.royal_mail")
    told = (
        ("EVDAV", "2026-01-14T03:00:00+00:00"),
        ("EVRTS", "2026-01-15T03:00:00+00:00"),
        ("EVQQQ", "2026-01-15T03:00:00+00:00"),
        ("EVKSP", "2026-01-10T03:00:00+00:00"),
    )
    ended = {"lastEventCode": "EVKSP", "lastEventDateTime": "2026-01-10T03:00:00+00:00"}
    (report,) = _read(make, _events(ONE, *told, **ended))
    (later,) = _read(make, _events(ONE, *told, lastEventCode="EVDAV", lastEventDateTime="2026-01-14T03:00:00+00:00"))

    assert [scan.code.space for scan in report.scans] == ["after", "event", "event", "event"]
    assert {scan.code.space for scan in later.scans} == {"event"}
    assert source.meaning(Code("after", "QQ")) is None


def test_a_summary_that_tells_no_event_adds_none(make) -> None:
    (report,) = _read(make, _events(ONE, ("EVIMC", NEWEST), statusCategory="IN TRANSIT"))

    assert [scan.code.code for scan in report.scans] == ["EVIMC"]


@pytest.mark.parametrize(
    ("estimated", "span"),
    [
        ({"date": "2026-07-20"}, ["2026-07-20T00:00:00+01:00", "2026-07-21T00:00:00+01:00"]),
        ({"date": "2026-07-20", "startOfEstimatedWindow": "08:00:00+01:00", "endOfEstimatedWindow": "11:00:00+01:00"}, ["2026-07-20T08:00:00+01:00", "2026-07-20T11:00:00+01:00"]),
        ({"date": "2026-07-20", "endOfEstimatedWindow": "11:00:00"}, ["2026-07-20T00:00:00+01:00", "2026-07-20T11:00:00+01:00"]),
        ({"date": "2026-07-20", "startOfEstimatedWindow": "08:00:00+01:00"}, ["2026-07-20T08:00:00+01:00", "2026-07-20T08:00:00+01:00"]),
        ({}, None),
    ],
)  # fmt: skip
def test_an_estimate_is_a_window_or_the_day_in_british_time(make, estimated, span) -> None:
    body = _events(ONE, ("EVIMC", NEWEST))
    body["mailPieces"]["estimatedDelivery"] = estimated
    (report,) = _read(make, body)

    assert ([report.edd.begins.isoformat(), report.edd.ends.isoformat()] if report.edd else None) == span


@pytest.mark.parametrize(
    ("estimated", "day", "told"),
    [
        ({"date": "2026-07-20", "startOfEstimatedWindow": "soon"}, 20, "startOfEstimatedWindow"),
        ({"date": "2026-07-20", "endOfEstimatedWindow": 7}, 20, "endOfEstimatedWindow"),
        ({"date": "soon"}, None, "date"),
        ({"date": []}, None, ""),
    ],
)
def test_a_window_that_cannot_be_read_costs_itself_only(make, estimated, day, told) -> None:
    body = _events(ONE, ("EVIMC", NEWEST))
    body["mailPieces"]["estimatedDelivery"] = estimated
    report, unread = _read(make, body)

    assert (report.edd.begins.day if report.edd else None) == day
    assert unread.where == "$.mailPieces[0].estimatedDelivery" + (f".{told}" if told else "")


@pytest.mark.parametrize(
    ("title", "carrier"),
    [
        ("US Postal Service", "usps"),
        ("Canada Post", "canadapost"),
        ("Royal Mail", None),
        ("Correo Argentino", None),
        ("", None),
    ],
)
def test_the_post_that_goes_on_abroad_is_a_link_where_its_name_is_known(make, title, carrier) -> None:
    (report,) = _read(make, _events(ONE, ("EVIMC", NEWEST), internationalPostalProvider={"title": title}))

    assert [(link.number, link.carrier, link.relation) for link in report.links] == (
        [(ONE, carrier, "last_mile")] if carrier else []
    )


@pytest.mark.parametrize(
    ("event", "code", "where"),
    [
        ({"eventCode": 7}, "7", None),
        ({"eventCode": {}}, "missing", "eventCode"),
        ({"eventCode": "EVIMC", "locationName": []}, "EVIMC", None),
        ({"eventCode": "EVIMC", "eventDateTime": "soon"}, "EVIMC", "eventDateTime"),
    ],
)
def test_an_odd_event_costs_itself_only(make, event, code, where) -> None:
    report, *unread = _read(make, {"mailPieces": {"mailPieceId": ONE, "events": [event]}})

    assert [scan.code.code for scan in report.scans] == [code]
    assert report.complete is not bool(where)
    assert [one.where for one in unread] == ([f"$.mailPieces[0].events[0].{where}"] if where else [])
