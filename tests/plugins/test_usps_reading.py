"""USPS: what answers and callbacks hold, beyond the fixtures: errors of single numbers, times, estimates, words, odd shapes."""

from __future__ import annotations

import json
from datetime import UTC, timedelta
from typing import Any

import pytest

from tracker.domain.facts import Payload
from tracker.plugin.conformance import AT

NUMBER, OTHER = "9400111206206406260787", "9400111206206406260794"


def read(make, body: Any, *beside: Any, kind: str = "poll") -> list[Any]:
    source, _ = make("carriers.usps")
    return list(source.normalize(Payload("a", kind, tuple(json.dumps(part).encode() for part in (body, *beside)), AT)))


def test_each_element_of_a_list_fails_by_itself(make) -> None:
    """207 of v3r2 (copies of its contract: FailureResponse is an error, a status code and the number)."""
    fine = {"trackingNumber": NUMBER, "statusCode": "200", "trackingEvents": [{"eventCode": "OF"}]}
    unknown = {"trackingNumber": OTHER, "statusCode": "404", "error": {"code": "404", "message": "", "errors": []}}
    busy = {
        "trackingNumber": "9400111206206406260800",
        "statusCode": "503",
        "error": {"code": "503", "message": "busy"},
    }
    nameless = {"statusCode": "404", "error": {"code": "404", "message": "x"}}
    listed = {"trackingNumber": "9400111206206406260817", "errors": [{"code": "150012", "title": "Fraud"}]}
    *reports, unread = read(make, [fine, unknown, busy, nameless, listed])

    assert [(one.number, str(one.tracking), len(one.scans), one.said) for one in reports] == [
        (NUMBER, "active", 1, ""), (OTHER, "not_found", 0, "404"), ("9400111206206406260800", "error", 0, "503: busy"),
        ("9400111206206406260817", "error", 1, "150012: Fraud"),
    ]  # fmt: skip
    assert (unread.where, unread.lacks) == ("$[3].trackingNumber", "all")


def test_the_newest_event_is_the_one_with_the_newest_time_whatever_the_order(make) -> None:
    """tracking.yaml: newest first; nobody promises it."""
    events = [
        {"eventCode": "10", "eventTimestamp": "2026-11-18T09:00:00", "GMTOffset": -300},
        {"eventCode": "43", "eventTimestamp": "2026-11-20T09:00:00", "GMTOffset": -300},
    ]
    (report,) = read(make, {"trackingNumber": NUMBER, "statusCategory": "DELIVERED", "trackingEvents": events})
    assert (report.scans[-1].code.code, f"{report.scans[-1].local:%d}") == ("Delivered", "20")
    events[0]["eventTimestamp"] = "2026-11-21T09:00:00"
    (report,) = read(make, {"trackingNumber": NUMBER, "statusCategory": "Delivered", "trackingEvents": events})
    assert [scan.code.space for scan in report.scans] == ["event", "event"]


def test_a_remark_after_a_pick_up_does_not_hide_what_the_category_says_of_it(make) -> None:
    events = [
        {"eventCode": "GC", "GMTTimestamp": "2026-11-21T09:00:00Z"}, {"eventCode": "17", "GMTTimestamp": "2026-11-20T09:00:00Z"},
    ]  # fmt: skip
    (report,) = read(make, {"trackingNumber": NUMBER, "statusCategory": "Delivered", "trackingEvents": events})
    assert [scan.code.code for scan in report.scans] == ["GC", "17", "Delivered"]
    (report,) = read(make, {"trackingNumber": NUMBER, "statusCategory": "in  transit", "trackingEvents": events[:1]})
    assert [scan.code.code for scan in report.scans] == ["GC", "In Transit"]
    (report,) = read(make, {"trackingNumber": NUMBER, "statusCategory": "Delivered to Agent", "trackingEvents": []})
    assert [scan.code.code for scan in report.scans] == ["Delivered to Agent"], (
        "what nobody knows stays as it was printed"
    )


def test_a_history_of_ninety_nine_events_may_lack_the_oldest(make) -> None:
    for count, complete in ((98, True), (99, False)):
        events = [{"eventCode": "10", "GMTTimestamp": f"2026-10-01T00:{i // 60:02}:{i % 60:02}Z"} for i in range(count)]
        (report,) = read(make, {"trackingNumber": NUMBER, "trackingEvents": events})
        assert report.complete is complete


def test_a_day_without_a_time_is_a_day(make) -> None:
    """v3r2, EventDate (copies of its contract)."""
    events = [
        {"eventCode": "GX", "eventTimestamp": "2026-11-18"},
        {
            "eventCode": "10",
            "eventTimestamp": "2026-11-19",
            "GMTTimestamp": "2026-11-20T02:40:00Z",
            "GMTOffset": "-5:00",
        },
        {"eventCode": "OF", "eventTimestamp": "2026-11-20", "GMTTimestamp": "2026-11-20T13:00:00"},
    ]
    (report,) = read(make, {"trackingNumber": NUMBER, "trackingEvents": events})
    assert [(scan.local and scan.local.isoformat(), str(scan.zone), str(scan.precision)) for scan in report.scans] == [
        ("2026-11-18T00:00:00", "unknown", "date"), ("2026-11-19T21:40:00", "utc", "second"), (None, "utc", "second"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "kind", "space_code", "means"),
    [
        ("of", "OUT FOR DELIVERY", "OF", "out_for_delivery/on_vehicle"), (3, "ACCEPTED", "03", "picked_up/accepted"),
        ("01", "Delivered, Garage or Other Door", "01", "delivered/safe_place"), ("01", "Delivered, To Agent", "01", "delivered/delivered"),
        ("01", "Delivered, In/At Mailbox", "01", "delivered/mailbox"), ("01", "Delivered", "01", "delivered/delivered"),
        ("01", "Delivered, To Original Sender", "01", "returned/received_by_sender"),
        ("01", "Delivered, Individual Picked Up at Post Office", "01", "delivered/collected_by_recipient"),
        ("01", "Delivered, Individual Picked Up at Postal Facility", "01", "delivered/collected_by_recipient"),
        ("", "Held at Post Office, At Customer Request", "missing", "available_for_pickup/post_office"),
        ("Q9", "In Transit, Arriving Late", "Q9", "delayed/unspecified"), ("Q9", "Something", "Q9", None), ("10", "Arriving Late", "10", "in_transit/processed"),
    ],
)  # fmt: skip
def test_a_code_leads_and_words_tell_where_it_was_left_or_what_nobody_knows(
    make, code, kind, space_code, means
) -> None:
    source, _ = make("carriers.usps")
    (report,) = read(make, {"trackingNumber": NUMBER, "trackingEvents": [{"eventCode": code, "eventType": kind}]})
    (scan,) = report.scans
    meaning = source.meaning(scan.code)
    assert (scan.code.code, meaning and f"{meaning.status}/{meaning.reason}") == (space_code, means)


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ({"eventTimestamp": " 2026-11-19T04:10:00", "GMTOffset": "-7:00"}, "11:10"), ({"eventTimestamp": "2026-11-19T04:10:00", "GMTTimestamp": "2026-11-19T11:10:00"}, "11:10"),
        ({"eventTimestamp": "2026-11-19T04:10:00", "GMTOffset": "07:00"}, "21:10"), ({"eventTimestamp": "0001-01-01T00:00:00Z", "GMTOffset": "-7:00"}, None),
    ],
)  # fmt: skip
def test_an_instant_is_told_by_gmt_or_by_the_offset(make, times: dict[str, str], at: str | None) -> None:
    report, *_ = read(make, {"trackingNumber": NUMBER, "trackingEvents": [{"eventCode": "10", **times}]})
    (scan,) = report.scans
    assert (scan.occurred_at and f"{scan.occurred_at.astimezone(UTC):%H:%M}") == at


def test_one_event_instead_of_a_list_of_one_is_read(make) -> None:
    (report,) = read(make, {"trackingNumber": NUMBER, "trackingEvents": {"eventCode": "OF", "recipientName": "X"}})
    assert ([scan.code.code for scan in report.scans], report.proof.signed) == (["OF"], True)
    report, unread = read(make, {"trackingNumber": NUMBER, "trackingEvents": {"x": 1}})
    assert (report.scans, unread.problem) == ((), "must be a list, is an object")


@pytest.mark.parametrize(
    ("told", "begins", "ends"),
    [
        ({"expectedDeliveryDate": "2026-11-21", "predictedDeliveryDate": "2026-11-20"}, "2026-11-20T00:00:00-05:00", "2026-11-21T00:00:00-05:00"),
        ({"expectedDeliveryDate": "2026-11-21"}, "2026-11-21T00:00:00-05:00", "2026-11-22T00:00:00-05:00"),
        ({"guaranteedDeliveryDate": "3 Business Days"}, None, None),
        ({"guaranteedDeliveryDate": "2026-11-21T18:00:00Z"}, "2026-11-21T18:00:00-05:00", "2026-11-21T18:00:00-05:00"),
    ],
)  # fmt: skip
def test_the_estimates_of_v3r2_stand_in_an_object_of_their_own(make, told: dict[str, str], begins, ends) -> None:
    """DeliveryDateExpectation (copies of its contract). Texas has two zones: the day is that of Washington."""
    body = {"trackingNumber": NUMBER, "trackingEvents": [], "destinationState": "TX", "deliveryDateExpectation": told}
    (report,) = read(make, [body])
    assert (report.edd and report.edd.begins.isoformat(), report.edd and report.edd.ends.isoformat()) == (begins, ends)


def test_an_estimate_abroad_is_that_of_no_zone_of_america(make) -> None:
    body = {
        "trackingNumber": NUMBER,
        "trackingEvents": [],
        "destinationCountry": "BR",
        "expectedDeliveryDate": "2026-11-21",
    }
    (report,) = read(make, body)
    assert report.edd.begins.isoformat() == "2026-11-21T00:00:00+00:00"


@pytest.mark.parametrize("key", ["uniqueMailPieceId", "uniqueTrackingID", "uniqueTrackingId"])
def test_the_id_that_tells_parcels_of_one_number_apart_is_known_by_each_of_its_names(make, key: str) -> None:
    (report,) = read(make, {"trackingNumber": NUMBER, "trackingEvents": [], key: 77})
    assert report.piece == "77"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"eventCity": "TORONTO", "eventCountry": "CANADA"}, "TORONTO, CA"),
        ({"eventCity": "X", "eventCountry": "RURITANIA"}, "X, RURITANIA"), ({"eventCity": "TORONTO", "eventCountry": "ca"}, "TORONTO, CA"),
        ({"eventCity": "FALMOUTH", "eventState": "MA", "eventZIPCode": "02540", "eventCountry": "USA"}, "FALMOUTH, MA, US"),
        ({"eventCountry": "UNITED STATES"}, ""), ({"eventCity": ["X"]}, ""),
    ],
)  # fmt: skip
def test_a_country_is_a_code_or_a_name_for_people(make, place: dict[str, Any], told: str) -> None:
    (report,) = read(make, {"trackingNumber": NUMBER, "trackingEvents": [{"eventCode": "10", **place}]})
    assert str(report.scans[0].place) == told
    assert len(report.scans[0].place.country) in (0, 2)


@pytest.mark.parametrize("offset", ["seven", "-7:xx", "99999", "-15:00", True, 1.5, {}, "-5", -7, "-7:10"])
def test_an_offset_that_is_none_is_unread_and_the_scan_stays(make, offset: Any) -> None:
    source, _ = make("carriers.usps")
    event = {"eventCode": "10", "eventTimestamp": "2026-11-18T22:05:00Z", "GMTOffset": offset}
    body = json.dumps({"trackingNumber": NUMBER, "trackingEvents": [event]}).encode()
    report, unread = source.normalize(Payload("a", "poll", (body,), AT))

    assert (report.scans[0].occurred_at, report.complete) == (None, False)
    assert unread.where == "$.trackingEvents[0].GMTOffset"


def test_a_window_that_cannot_be_read_leaves_the_day(make) -> None:
    source, _ = make("carriers.usps")
    body = {
        "trackingNumber": NUMBER, "trackingEvents": [{"eventCode": "10"}], "predictedDeliveryDate": "2026-11-20",
        "predictedDeliveryWindowStartTime": "noon", "predictedDeliveryWindowEndTime": "5 PM", "destinationState": "NY",
    }  # fmt: skip
    report, unread = source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT))
    assert [at.isoformat() for at in (report.edd.begins, report.edd.ends)] == [
        "2026-11-20T00:00:00-05:00",
        "2026-11-20T17:00:00-05:00",
    ]
    assert unread.where == "$.predictedDeliveryWindowStartTime"
    body |= {"predictedDeliveryWindowEndTime": None, "predictedDeliveryWindowStartTime": None}
    (report,) = source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT))
    assert report.edd.ends - report.edd.begins == timedelta(days=1)


def test_local_time_is_told_by_gmt_and_its_offset_where_it_is_not_printed(make) -> None:
    source, _ = make("carriers.usps")
    event = {"eventCode": "10", "GMTTimestamp": "2026-11-20T02:40:00", "GMTOffset": "-05:00"}
    body = json.dumps({"trackingNumber": NUMBER, "trackingEvents": [event]}).encode()
    (report,) = source.normalize(Payload("a", "poll", (body,), AT))
    assert report.scans[0].local.isoformat() == "2026-11-19T21:40:00"


@pytest.mark.parametrize(("printed", "at"), [("2026-11-19T21:40:00-05:00", "02:40"), ("2026-11-19T21:40:00Z", None)])
def test_an_offset_that_is_printed_counts_and_a_z_does_not(make, printed: str, at: str | None) -> None:
    source, _ = make("carriers.usps")
    event = {"eventCode": "10", "eventTimestamp": printed}
    body = json.dumps({"trackingNumber": NUMBER, "trackingEvents": [event]}).encode()
    (report,) = source.normalize(Payload("a", "poll", (body,), AT))
    (scan,) = report.scans

    assert scan.local.isoformat() == "2026-11-19T21:40:00"
    assert (scan.occurred_at and f"{scan.occurred_at.astimezone(UTC):%H:%M}") == at
