"""PostNL: conformance, requests, and what is its own."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    SourceError,
    Transient,
)
from tracker.domain.facts import Code, Parcel, Parcels, Payload, Report, Since, Unread
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.postnl", fixtures=Path(__file__).parents[1] / "fixtures" / "postnl")
HOST = "https://api.postnl.nl/shipment/v2/status"
FEED = f"{HOST}/canary-customer_number/updatedshipments"
NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)  # what the client's clock shows


def _read(make: Any, body: Any, kind: str = "poll") -> list[Any]:
    source, _ = make("carriers.postnl")
    return list(source.normalize(Payload("a", kind, (json.dumps(body).encode(),), AT, {})))


def _shipment(**more: Any) -> dict[str, Any]:
    return {"CompleteStatus": {"Shipment": {"Barcode": "3SDEVC1", **more}}}


def _periods(calls: Any) -> list[tuple[str, ...]]:
    return [tuple(call.request.url.params.get_list("period")) for call in calls]


# requests


def test_a_number_is_asked_about_with_all_its_events_in_the_language_of_the_account(outside, make) -> None:
    route = outside.get(f"{HOST}/barcode/3SDEVC1").respond(json=_shipment())
    source, client = make("carriers.postnl", language="NL")

    (page,) = source.fetch(client, Parcels((Parcel("postnl", "3sdevc1"),)))

    request = route.calls[0].request
    assert json.loads(page.parts[0]) == _shipment()
    assert dict(request.url.params) == {"detail": "true", "language": "NL"}
    assert request.headers["apikey"] == "canary-api_key"


NONE = {"CompleteStatus": {}, "Warnings": [{"Message": "No shipment found", "Code": "2"}]}


def test_what_is_no_barcode_is_asked_for_as_a_reference_where_the_customers_code_is_known(outside, make) -> None:
    outside.get(f"{HOST}/barcode/REF12345").respond(json=NONE)
    event = {"Code": "J05", "Description": "Driver is en route", "TimeStamp": "08-11-2022 10:13:20"}
    odd = {"Barcode": "3SDEVC2", "Event": 7}
    route = outside.get(f"{HOST}/reference/REF12345").respond(
        json={"CompleteStatus": {"Shipment": [_shipment(Event=event)["CompleteStatus"]["Shipment"], odd]}}
    )
    signature = outside.get(f"{HOST}/signature/3SDEVC1").respond(
        json={"Signature": {"SignatureImage": base64.b64encode(b"GIF89a").decode()}}
    )
    source, client = make("carriers.postnl", customer_code="DEVC")
    asked = Parcel("postnl", "REF12345")

    (page,) = source.fetch(client, Parcels((asked,)))
    first, second, unread = source.normalize(Payload("a", "poll", page.parts, AT, {}))
    source.proof(client, asked, first.piece)

    assert dict(route.calls[0].request.url.params) == {
        "detail": "true", "language": "EN", "customerCode": "DEVC", "customerNumber": "canary-customer_number",
    }  # fmt: skip
    assert [(one.number, one.piece, len(one.scans)) for one in (first, second)] == [
        ("REF12345", "3SDEVC1", 1),
        ("REF12345", "3SDEVC2", 0),
    ]
    assert (unread.subject, len(signature.calls)) == ("REF12345", 1)


@pytest.mark.parametrize("code", [None, "DEVC"])
def test_what_is_neither_a_barcode_nor_a_reference_is_not_found(outside, make, code) -> None:
    outside.get(f"{HOST}/barcode/REF12345").respond(json=NONE)
    route = outside.get(f"{HOST}/reference/REF12345").respond(json=NONE)
    source, client = make("carriers.postnl", customer_code=code)

    with pytest.raises(NotFound):
        list(source.fetch(client, Parcels((Parcel("postnl", "REF12345"),))))
    assert len(route.calls) == (code is not None)


def test_the_feed_is_read_from_a_little_before_its_cursor_until_now_in_the_time_of_the_netherlands(
    outside, make
) -> None:
    route = outside.get(FEED).respond(json=[])
    source, client = make("carriers.postnl")

    pages = list(source.fetch(client, Since("2026-11-02T11:50:00+00:00")))

    assert _periods(route.calls) == [("2026-11-02T12:35:00", "2026-11-02T13:00:00")]  # 12:00 UTC is 13:00 there
    assert [page.next_cursor for page in pages] == ["2026-11-02T12:00:00+00:00"]


def test_at_first_the_feed_is_read_from_now_on(outside, make) -> None:
    route = outside.get(FEED).respond(json=[])
    source, client = make("carriers.postnl", overlap_minutes=5)

    list(source.fetch(client, Since(None, open_only=True)))
    source.ping(client)

    assert _periods(route.calls) == [("2026-11-02T12:55:00", "2026-11-02T13:00:00")] * 2


def test_after_an_outage_it_is_read_two_hours_after_the_other_and_no_farther_back_than_it_tells(outside, make) -> None:
    route = outside.get(FEED).respond(json=[])
    source, client = make("carriers.postnl")

    pages = list(source.fetch(client, Since((NOON - timedelta(days=9)).isoformat())))

    periods = [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in _periods(route.calls)]
    assert periods[0][0] == datetime(2026, 10, 31, 13, 5)
    assert all(b - a <= timedelta(hours=2) for a, b in periods)
    assert len(periods) == 24
    assert all(before[1] == after[0] + timedelta(seconds=1) for before, after in pairwise(periods))
    assert pages[-1].next_cursor == NOON.isoformat()
    cursors = [page.next_cursor for page in pages]
    assert cursors == sorted(set(cursors))


def test_a_cursor_that_is_ahead_of_the_clock_is_taken_for_now(outside, make) -> None:
    route = outside.get(FEED).respond(json=[])
    source, client = make("carriers.postnl")

    (page,) = source.fetch(client, Since((NOON + timedelta(hours=3)).isoformat()))

    assert _periods(route.calls) == [("2026-11-02T12:45:00", "2026-11-02T13:00:00")]
    assert page.next_cursor == NOON.isoformat()


@pytest.mark.parametrize("cursor", ["next", "", "2026-11-02T11:50:00", "0001-01-01T00:00:00+00:00"])
def test_a_cursor_that_is_none_of_ours_is_refused(make, cursor) -> None:
    source, client = make("carriers.postnl")

    with pytest.raises(Refused, match="cursor"):
        list(source.fetch(client, Since(cursor)))


@pytest.mark.parametrize("minutes", [0, 31])
def test_readings_overlap_by_a_minute_to_half_an_hour(make, minutes) -> None:
    with pytest.raises(ValidationError, match="overlap_minutes"):
        make("carriers.postnl", overlap_minutes=minutes)


@pytest.mark.parametrize(("begins", "kind"), [(b"GIF89a", "image/gif"), (b"\x89PNG\r\n\x1a\n", "image/png")])
def test_a_signature_is_what_its_first_bytes_say(outside, make, begins, kind) -> None:
    image = base64.b64encode(begins + b"...").decode()
    outside.get(f"{HOST}/signature/3SDEVC1").respond(
        json={"Signature": {"Barcode": "3SDEVC1", "SignatureImage": image}}
    )
    source, client = make("carriers.postnl")

    found = source.proof(client, Parcel("postnl", "3sdevc1"), None)

    assert (found.kind, found.content) == (kind, begins + b"...")
    assert "..." not in repr(found)


@pytest.mark.parametrize("image", [None, {}, 7, "=", "e" * 8, base64.b64encode(b"<html>").decode()])
def test_a_signature_that_is_no_image_is_none(outside, make, image) -> None:
    outside.get(f"{HOST}/signature/3SDEVC1").respond(json={"Signature": {"SignatureImage": image}})
    source, client = make("carriers.postnl")

    with pytest.raises(BadPayload, match="SignatureImage"):
        source.proof(client, Parcel("postnl", "3SDEVC1"), None)


def test_a_signature_that_is_not_there_yet_is_not_found(outside, make) -> None:
    none = {"Warnings": {"Warning": {"Message": "No signature found", "Code": "2"}}}
    outside.get(f"{HOST}/signature/3SDEVC1").respond(json=none)
    source, client = make("carriers.postnl")

    with pytest.raises(NotFound, match="No signature found"):
        source.proof(client, Parcel("postnl", "3SDEVC1"), None)


# the two nights of the year


@pytest.mark.parametrize(
    ("now", "asked"),
    [
        ("2026-10-25T00:10:00+00:00", [("01:45:00", "01:59:59"), ("01:59:59", "02:59:59"), ("02:00:00", "03:00:00")]),
        ("2026-10-25T01:10:00+00:00", [("01:59:59", "02:59:59"), ("02:00:00", "03:00:00")]),
        ("2026-10-25T02:10:00+00:00", [("01:59:59", "02:59:59"), ("02:00:00", "03:00:00"), ("03:00:00", "03:10:00")]),
        ("2026-10-25T03:10:00+00:00", [("03:45:00", "04:10:00")]),
        ("2026-03-29T01:10:00+00:00", [("01:45:00", "03:10:00")]),
    ],
)
def test_in_the_night_in_which_an_hour_comes_twice_both_are_asked_for(outside, make, now, asked) -> None:
    route = outside.get(FEED).respond(json=[])
    source, client = make("carriers.postnl")
    at = datetime.fromisoformat(now)

    (page,) = source.fetch(client, Since((at - timedelta(minutes=10)).isoformat(), until=at))

    day = now[:10]
    assert _periods(route.calls) == [(f"{day}T{a}", f"{day}T{b}") for a, b in asked]
    assert len(page.parts) == len(asked)
    assert page.next_cursor == now


def test_in_the_night_in_which_an_hour_is_left_out_no_period_is_longer_than_two_hours(outside, make) -> None:
    route = outside.get(FEED).respond(json=[])
    source, client = make("carriers.postnl")
    at = datetime(2026, 3, 29, 6, 0, tzinfo=UTC)

    list(source.fetch(client, Since((at - timedelta(hours=7)).isoformat(), until=at)))

    periods = [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in _periods(route.calls)]
    assert all(b - a <= timedelta(hours=2) for a, b in periods)
    assert (periods[0][0].isoformat(), periods[-1][1].isoformat()) == ("2026-03-28T23:45:00", "2026-03-29T08:00:00")


def test_of_a_page_in_parts_each_is_read(make) -> None:
    source, _ = make("carriers.postnl")
    change = {"Barcode": "3S1", "Status": {"Timestamp": "2026-10-25T02:30:00", "StatusCode": "2"}}
    odd = {"Barcode": "3S2", "Status": 7}
    parts = (json.dumps([change]).encode(), json.dumps([odd]).encode())

    first, second, unread = source.normalize(Payload("a", "sweep", parts, AT, {}))

    assert (first.number, second.number, second.scans) == ("3S1", "3S2", ())
    assert (unread.where, unread.subject) == ("$parts[1][0].Status", "3S2")


# errors


@pytest.mark.parametrize(
    "warnings",
    [
        [{"Message": "No shipment found", "Code": "2"}],
        {"Warning": {"Message": "No signature found", "Code": "2"}},
        [{"Message": "Not found", "Code": 2}],
        {"Message": "Not found", "Code": "2"},
    ],
)
def test_a_warning_with_code_2_says_that_nothing_was_found_in_both_shapes(make, warnings) -> None:
    source, _ = make("carriers.postnl")
    body = json.dumps({"CompleteStatus": {}, "Warnings": warnings}).encode()

    with pytest.raises(NotFound, match="found"):
        source.raise_for_status(Response(200, {}, body, AT))


@pytest.mark.parametrize(
    "body",
    [{**_shipment(), "Warnings": [{"Code": "2"}]}, {"CompleteStatus": {}, "Warnings": [{"Code": "9"}]}, [{"Barcode": "Warnings"}],
     {"CompleteStatus": {}, "Warnings": {}}],
)  # fmt: skip
def test_any_other_warning_is_none_of_that_sort(make, body) -> None:
    source, _ = make("carriers.postnl")

    source.raise_for_status(Response(200, {}, json.dumps(body).encode(), AT))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {"fault": {"faultstring": "quota", "detail": {"errorcode": "policies.ratelimit"}}}, Transient),
        (200, {"message": "Too many requests. Rate limit exceeded!", "http_status_code": 429}, Transient),
        (400, {"fault": {"faultstring": "no barcode supplied in path"}}, Refused),
        (401, {"message": "Failed to resolve API Key", "http_status_code": 401}, CredentialsRejected),
        (405, {"message": "Only GET requests allowed", "http_status_code": 405}, Refused),
        (500, {"fault": {"faultstring": "internal"}}, Transient),
        (404, {"message": "no Route matched"}, Transient),  # what is not found is said with 200
    ],
)
def test_an_error_is_one_whatever_its_status(make, status, body, error) -> None:
    source, _ = make("carriers.postnl")

    with pytest.raises(error):
        source.raise_for_status(Response(status, {}, json.dumps(body).encode(), AT))
    with pytest.raises(RateLimited):
        source.raise_for_status(Response(429, {"retry-after": "60"}, b"{}", AT))


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            400,
            {"fault": {"faultstring": "no barcode supplied in path", "detail": {}}},
            "HTTP 400: no barcode supplied in path",
        ),
        (200, {"fault": {"faultstring": "quota"}}, "quota"),
        (200, {"fault": "soon"}, "no reason given"),
        (200, {"message": "Too many requests. Rate limit exceeded!", "http_status_code": 429}, "Too many requests"),
    ],
)
def test_an_error_is_told_in_its_own_words(make, status, body, said) -> None:
    source, _ = make("carriers.postnl")

    with pytest.raises(SourceError, match=said):
        source.raise_for_status(Response(status, {}, json.dumps(body).encode(), AT))


@pytest.mark.parametrize("body", [b'{"fault": {}}', b'["fault"]', b'{"fault"'])
def test_what_only_looks_like_an_error_is_none(make, body) -> None:
    source, _ = make("carriers.postnl")

    source.raise_for_status(Response(200, {}, body, AT))  # the core asks for `response_keys`


@pytest.mark.parametrize("body", [{"ok": True}, {"CompleteStatus": {}}])
def test_a_ping_believes_only_a_list(outside, make, body) -> None:
    outside.get(FEED).respond(json=body)
    source, client = make("carriers.postnl")

    with pytest.raises(Transient, match="no list"):
        source.ping(client)


@pytest.mark.parametrize("body", [{"message": "soon"}, {}, None, "x"])
def test_a_page_of_the_feed_that_is_no_list_is_no_page_without_news(make, body) -> None:
    with pytest.raises(BadPayload):
        _read(make, body, "sweep")


# what an answer says


def test_events_beat_the_status_whose_phase_is_delivered(make) -> None:
    events = {"Code": "I07", "TimeStamp": "08-11-2022 10:13:20"}
    for at in ("08-11-2022 10:13:20", "08-11-2022 10:13:25"):
        status = {"TimeStamp": at, "StatusCode": "11", "StatusDescription": "Shipment delivered"}
        (report,) = _read(make, _shipment(Event=events, Status=status))

        assert [scan.code for scan in report.scans] == [Code("event", "I07")]


@pytest.mark.parametrize(("status", "more"), [("12", ["12"]), ("22", ["22"]), ("11", []), ("77", [])])
def test_a_status_that_is_clear_counts_beside_a_newest_event_that_nobody_knows(make, status, more) -> None:
    events = [
        {"Code": "Q99", "TimeStamp": "08-11-2022 10:13:20"},
        {"Code": "J05", "TimeStamp": "08-11-2022 09:00:00"},
    ]
    (report,) = _read(make, _shipment(Event=events, Status={"TimeStamp": "08-11-2022 10:13:20", "StatusCode": status}))

    assert [scan.code.code for scan in report.scans] == ["Q99", "J05", *more], "11 may be a return"


def test_a_status_later_than_all_events_that_needs_none_of_them_is_a_scan(make) -> None:
    status = {"TimeStamp": "09-11-2022 18:00:00", "StatusCode": "22", "StatusDescription": "Picked up"}
    events = [{"Code": "J02", "TimeStamp": "09-11-2022 14:00:00"}, {"Code": "J05", "TimeStamp": {}}]

    (report,) = _read(make, _shipment(Event=events, Status=status))

    assert [scan.code.code for scan in report.scans] == ["J02", "J05", "22"]


@pytest.mark.parametrize(
    ("code", "status"),
    [("J23", "available_for_pickup"), ("Y26", "available_for_pickup"), ("J63", "returned"), ("I06", "in_transit"),
     ("H31", "cancelled"), ("K92", "destroyed"), ("I10", "delivered"), ("K91", "on_hold")],
)  # fmt: skip
def test_the_codes_of_the_phase_delivered_mean_what_they_say(make, code, status) -> None:
    source, _ = make("carriers.postnl")

    assert source.meaning(Code("event", code)).status == status


def test_the_feed_is_believed_only_where_all_events_of_a_status_say_the_same(make) -> None:
    source, _ = make("carriers.postnl")
    clear = {code for (space, code), meaning in source.codes.items() if space == "feed" and meaning.status is not None}

    assert clear == {"2", "3", "12", "14", "15", "16", "19", "22", "23", "27"}
    assert {code for space, code in source.codes if space == "feed"} == {
        code for space, code in source.codes if space == "status"
    }


def test_a_status_that_cannot_be_read_still_tells_which_parcel_changed(make) -> None:
    for status in ({}, {"StatusCode": {}}, {"StatusCode": [1]}, None, "7"):
        items = _read(make, [{"Barcode": "3SDEVC1", "Status": status}], "sweep")

        assert [type(item) for item in items] == [Report, Unread]
        assert {item.number if isinstance(item, Report) else item.subject for item in items} == {"3SDEVC1"}


def test_an_answer_without_its_list_is_no_answer(make) -> None:
    with pytest.raises(BadPayload, match="CompleteStatus"):
        _read(make, {"Warnings": []})


def test_a_warning_beside_a_shipment_is_told_and_takes_nothing_from_it(make) -> None:
    event = {"Code": "J01", "Description": "Sorted", "TimeStamp": "08-11-2022 09:58:11"}

    report, unread = _read(make, {**_shipment(Event=event), "Warnings": [{"Code": 7, "Message": "not all of it"}, "x"]})

    assert (len(report.scans), report.complete) == (1, False)
    assert (unread.where, unread.problem) == ("$.Warnings", "says 7: not all of it")


def test_an_answer_without_a_shipment_says_why_or_is_no_answer(make) -> None:
    with pytest.raises(BadPayload, match="Shipment"):
        _read(make, {"CompleteStatus": {}})
    with pytest.raises(BadPayload, match="Shipment"):
        _read(make, {"CurrentStatus": {"Shipment": {}}, "Warnings": [{"Code": "9"}]})
    assert _read(make, {"CompleteStatus": {}, "Warnings": [{"Code": "2", "Message": "No shipment found"}]}) == []
    assert _read(make, {"Warnings": {"Warning": {"Code": "2", "Message": "No shipment found"}}}) == []
    with pytest.raises(BadPayload, match="is missing"):
        _read(make, {"Warnings": [{"Code": "9"}]})


def test_codes_are_read_however_they_are_printed(make) -> None:
    status = {"StatusCode": "07", "TimeStamp": "08-11-2022 10:13:20"}

    (report,) = _read(
        make,
        _shipment(Event=[{"Code": " j05 ", "Description": "Driver is en route", "TimeStamp": "08-11-2022 10:13:20"}]),
    )
    assert [scan.code for scan in report.scans] == [Code("event", "J05", "Driver is en route")]
    for code in ("07", 7, "7"):
        (report,) = _read(make, _shipment(Status={**status, "StatusCode": code}))
        assert [scan.code.code for scan in report.scans] == ["7"]
    (report,) = _read(
        make, [{"Barcode": "3S1", "Status": {"Timestamp": "2026-10-25T02:30:00", "StatusCode": "02"}}], "sweep"
    )
    assert [scan.code.code for scan in report.scans] == ["2"]


@pytest.mark.parametrize(
    ("at", "local"),
    [
        ("08-11-2022 10:13:20", "2022-11-08T10:13:20"), ("07-11-2022 12:39:49.364", "2022-11-07T12:39:49.364000"),
        ("2022-11-08T10:13:20", "2022-11-08T10:13:20"), (" 2022-11-08T10:13:20 ", "2022-11-08T10:13:20"), ({}, None), ("", None),
    ],
)  # fmt: skip
def test_both_forms_of_a_time_are_read_and_none_is_none(make, at, local) -> None:
    (report,) = _read(make, _shipment(Event=[{"Code": "J05", "Description": "x", "TimeStamp": at}]))

    (scan,) = report.scans
    assert (scan.local.isoformat() if scan.local else None, scan.occurred_at) == (local, None)


@pytest.mark.parametrize(
    "at", ["31-02-2022 10:13:20", "08-11-2022", "08-11-0001 10:13:20", "08-11-2022 10:13:20+01", 7, []]
)
def test_a_time_of_another_form_is_told_and_the_event_kept(make, at) -> None:
    report, *unread = _read(make, _shipment(Event=[{"Code": "J05", "Description": "x", "TimeStamp": at}]))

    assert [scan.code.code for scan in report.scans] == ["J05"]
    assert bool(unread) == (at not in ([], "08-11-2022 10:13:20+01"))


def test_where_no_event_is_told_the_earlier_statuses_are_the_history(make) -> None:
    old = [
        {"TimeStamp": "08-11-2022 10:13:20", "StatusCode": "7", "StatusDescription": "Shipment out for delivery"},
        {"TimeStamp": "08-11-2022 00:08:39", "StatusCode": "2", "StatusDescription": "Shipment accepted"},
    ]
    (report,) = _read(make, _shipment(Event={}, OldStatus=old, Status={**old[0], "PhaseCode": "3"}))

    assert [(scan.code.space, scan.code.code) for scan in report.scans] == [("status", "7"), ("status", "2")]
    assert report.complete is False
    (report,) = _read(make, _shipment(Event={"Code": "J05", "TimeStamp": "08-11-2022 10:13:20"}, OldStatus=old))
    assert [scan.code.space for scan in report.scans] == ["event"]
    report, unread = _read(make, _shipment(OldStatus={"TimeStamp": "08-11-2022 10:13:20"}))
    assert (report.scans[0].code.code, unread.where) == (
        "missing",
        "$.CompleteStatus.Shipment[0].OldStatus[0].StatusCode",
    )


def test_a_history_whose_time_or_event_cannot_be_read_is_not_whole(make) -> None:
    fine = {"Code": "J01", "TimeStamp": "08-11-2022 09:58:11"}
    for odd in ({"Code": "J05", "TimeStamp": "08-11-2022 25:00:00"}, {"Code": {}, "TimeStamp": {}}, 7):
        report, unread = _read(make, _shipment(Event=[odd, fine]))

        assert report.complete is False
        assert unread.subject == "3SDEVC1"


def test_a_shipment_without_any_status_is_told(make) -> None:
    _, unread = _read(make, _shipment(Event={}, Status={"PhaseCode": "3"}))

    assert unread.where == "$.CompleteStatus.Shipment[0].Status.StatusCode"
