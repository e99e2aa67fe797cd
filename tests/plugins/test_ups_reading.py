"""UPS: what is read of its answers: products, times, estimates, proofs, links, and odd pieces that cost themselves only."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Payload, Report, Unread
from tracker.domain.vocabulary import Precision, Zone
from tracker.plugin.conformance import AT


def poll(make, *packages, inquiry="1Z204W4R0308071865", kind="poll"):
    source, _ = make("carriers.ups")
    body = {"trackResponse": {"shipment": [{"inquiryNumber": inquiry, "package": list(packages)}]}}
    items = source.normalize(Payload("a", kind, (json.dumps(body).encode(),), AT, {}))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def test_an_alternate_number_is_a_last_mile_link_and_an_odd_one_costs_itself(make) -> None:
    package = {
        "trackingNumber": "1Z204W4R0308071865",
        "alternateTrackingNumber": [{"number": "92", "type": "USPS_PIC"}, "x", {}, {"number": 7}],
        "deliveryInformation": {"deliveryPhoto": {"photo": "x"}},
    }  # fmt: skip

    (report,), unread = poll(make, package)

    assert [(link.number, link.relation) for link in report.links] == [("92", "last_mile")]
    assert report.proof.photo
    at = "$.trackResponse.shipment[0].package[0].alternateTrackingNumber"
    assert [one.where for one in unread] == [f"{at}[1]", f"{at}[3].number"]


def activity(code: str, time: str = "112456", **more) -> dict:
    return {"status": {"type": "I", "statusCode": code, "description": code}, "date": "20260821", "time": time, **more}


def test_each_odd_piece_of_a_package_costs_itself_only(make) -> None:
    good = {"trackingNumber": "1Z204W4R0308071865", "activity": [activity("021")]}
    odd = {
        "trackingNumber": "1Z204W4R0308071866",
        "activity": [
            activity("021", location="RENO"),
            activity("005", location={"address": 7}),
            {**activity("003"), "status": "on its way"},
            {**activity("003"), "gmtDate": "00010101", "gmtTime": "112456"},
            {**activity("003"), "status": {"type": "I", "code": "MP", "statusCode": ["003"]}},
            7,
        ],
        "deliveryDate": [{"type": "SDD", "date": "soon"}, {"type": "RDD", "date": "20260822"}],
        "deliveryInformation": "Front Door",
    }  # fmt: skip

    (first, second), unread = poll(make, good, odd)

    assert ([scan.code.code for scan in first.scans], first.complete) == (["021"], True)
    assert [(scan.code.space, scan.code.code) for scan in second.scans] == [
        ("status", "021"), ("status", "005"), ("none", "missing"), ("status", "003"), ("I", "MP"),
    ]  # fmt: skip
    assert [scan.local.hour for scan in second.scans] == [11] * 5
    assert not second.complete  # what it lacks is not withdrawn
    assert second.edd.ends == datetime(2026, 8, 23, tzinfo=UTC)
    at = "$.trackResponse.shipment[0].package[1]"
    assert [one.where for one in unread] == [
        f"{at}.activity[0].location", f"{at}.activity[1].location.address", f"{at}.activity[2].status",
        f"{at}.activity[3].gmtDate", f"{at}.activity[4].status.statusCode", f"{at}.activity[5]",
        f"{at}.deliveryDate[0].date", f"{at}.deliveryInformation",
    ]  # fmt: skip
    assert {one.subject for one in unread} == {"1Z204W4R0308071866"}


def test_a_package_without_a_number_is_the_one_that_was_asked_for_only_where_it_stands_alone(make) -> None:
    (alone,), _ = poll(make, {"activity": [activity("021")]})
    (told,), unread = poll(make, {"activity": [activity("021")]}, {"trackingNumber": "1Z204W4R0308071866"})

    assert alone.number == "1Z204W4R0308071865"
    assert told.number == "1Z204W4R0308071866"
    assert [(one.where, one.lacks) for one in unread] == [
        ("$.trackResponse.shipment[0].package[0].trackingNumber", "all")
    ]


def test_an_answer_that_tells_of_another_number_only_says_so(make) -> None:
    """Tracking.yaml: an inquiry may be an InfoNotice number; whose news these are nobody may guess."""
    other = {"trackingNumber": "1Z204W4R0308071865", "activity": [activity("021")]}
    for packages in ([other], [other, {**other, "trackingNumber": "1Z204W4R0308071866"}]):
        reports, (told,) = poll(make, *packages, inquiry="123456789012")
        assert len(reports) == len(packages)
        assert (told.where, told.subject) == ("$.trackResponse.shipment[0].package", "123456789012")
        assert told.problem == "tells of other numbers than the one that was asked about"
    assert poll(make, other, inquiry=" 1z204w4r0308071865")[1] == []


@pytest.mark.parametrize(
    "body", [{"trackResponse": {}}, {"trackResponse": {"shipment": []}}, {"trackResponse": []}, {"trackResponse": {"shipment": "none"}}, {"trackResponse": {"shipment": [{}]}}]
)  # fmt: skip
def test_an_answer_that_tells_nothing_is_not_no_news(make, body) -> None:
    source, _ = make("carriers.ups")

    with pytest.raises(BadPayload, match=r"\$\.trackResponse"):
        source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))


DELIVERED = {
    "trackingNumber": "1Z204W4R0308071865",
    "currentStatus": {"type": "D", "code": "FS", "statusCode": "011", "description": "DELIVERED"},
    "deliveryDate": [{"type": "DEL", "date": "20260821"}],
    "deliveryTime": {"type": "DEL", "endTime": "112456"},
}


def test_a_status_that_only_the_head_tells_becomes_a_scan_with_the_time_of_the_delivery(make) -> None:
    (report,), _ = poll(make, {**DELIVERED, "activity": [activity("021", "080000")]})

    assert [(scan.code.code, scan.local) for scan in report.scans] == [
        ("021", datetime(2026, 8, 21, 8)),
        ("011", datetime(2026, 8, 21, 11, 24, 56)),
    ]
    assert report.edd is None


@pytest.mark.parametrize(
    ("time", "odd"),
    [
        (None, []),
        ({"type": "CMT", "endTime": "120000"}, []),
        ("noon", ["deliveryTime"]),
        ({"type": "DEL", "endTime": "noon"}, ["deliveryTime.endTime"]),
    ],
)
def test_a_head_without_the_hour_of_the_delivery_tells_its_day(make, time, odd) -> None:
    (report,), unread = poll(make, {**DELIVERED, "deliveryTime": time})

    assert [(scan.local, scan.precision) for scan in report.scans] == [(datetime(2026, 8, 21), Precision.DATE)]
    assert [one.where for one in unread] == [f"$.trackResponse.shipment[0].package[0].{name}" for name in odd]


def test_a_head_may_hold_the_digits_where_activities_have_letters(make) -> None:
    (report,), _ = poll(make, {**DELIVERED, "currentStatus": {"code": "021", "description": "Out for Delivery"}})

    assert [(scan.code.space, scan.code.code, scan.local) for scan in report.scans] == [("status", "021", None)]


@pytest.mark.parametrize(
    ("current", "codes"),
    [
        ({"type": "D", "statusCode": "011"}, ["011"]),  # the newest scan says it
        ({"type": "D", "code": "M1"}, ["011"]),  # another word for the same status
        ({"type": "X", "code": "ZZ"}, ["011", "ZZ"]),  # nobody knows it: UNKNOWN, as in a scan
        ({"statusCode": "000"}, ["011"]),  # says nothing of where it is
        ("delivered", ["011"]),
        ({"type": "", "code": "", "description": "", "statusCode": None}, ["011"]),
    ],
)  # fmt: skip
def test_a_head_makes_a_scan_only_where_it_tells_more_than_the_scans(make, current, codes) -> None:
    (report,), _ = poll(make, {"trackingNumber": "1Z1", "currentStatus": current, "activity": [activity("011")]})

    assert [scan.code.code for scan in report.scans] == codes


def test_what_waits_at_an_access_point_is_told_from_what_waits_at_a_depot(make) -> None:
    source, _ = make("carriers.ups")
    (report,), _ = poll(make, {"trackingNumber": "1Z204W4R0308071865", "activity": [activity("040"), activity("017")]})

    told = [source.meaning(scan.code) for scan in report.scans]
    assert [(says.status, says.reason) for says in told] == [
        ("available_for_pickup", "pickup_point"),
        ("available_for_pickup", "carrier_depot"),
    ]


def only(make, package):
    """Read one package of which everything can be read."""
    (report,), unread = poll(make, {"trackingNumber": "1Z204W4R0308071865", **package})
    assert unread == []
    return report


@pytest.mark.parametrize(
    ("fields", "at", "zone"),
    [
        ({"gmtOffset": "-07:00"}, datetime(2026, 8, 21, 18, 24, 56, tzinfo=UTC), Zone.OFFSET),
        ({"gmtOffset": "-07.00"}, datetime(2026, 8, 21, 18, 24, 56, tzinfo=UTC), Zone.OFFSET),
        ({"gmtOffset": "-07:00", "gmtDate": "20260821", "gmtTime": "182400"}, datetime(2026, 8, 21, 18, 24, tzinfo=UTC), Zone.UTC),
        ({"gmtOffset": "west"}, None, Zone.UNKNOWN),
        ({"gmtOffset": -7}, None, Zone.UNKNOWN),
        ({"gmtOffset": "", "gmtDate": "", "gmtTime": ""}, None, Zone.UNKNOWN),
        ({"gmtOffset": "-07:00", "time": ""}, None, Zone.UNKNOWN),  # a day has no offset
    ],
)  # fmt: skip
def test_gmt_fields_beat_the_offset_and_both_beat_the_local_time(make, fields, at, zone) -> None:
    (scan,) = only(make, {"activity": [activity("021", **fields)]}).scans

    assert (scan.occurred_at, scan.zone) == (at, zone)
    assert scan.precision is (Precision.DATE if fields.get("time") == "" else Precision.SECOND)


@pytest.mark.parametrize(
    ("service", "number", "status", "code"),
    [
        ({"description": "UPS Ground"}, "1Z204W4R0308071865", {"type": "X", "code": "DO"}, "X:DO"),
        ({"description": "UPS MAIL INNOVATIONS"}, "1Z204W4R0308071865", {"type": "X", "code": "DO"}, "mi:DO"),
        (None, "92612999897543581074711582", {"type": "I", "code": "zv"}, "mi:ZV"),
        ({}, "92612999897543581074711582", {"type": "D", "code": "YC", "statusCode": "026"}, "status:026"),
        ("ground", "1Z204W4R0308071865", {"type": "I", "statusCode": "011"}, "status:011"),
        ({"description": "UPS Freight LTL"}, "559123456", {"type": "I", "statusCode": "011"}, "freight:011"),
        ({"description": "UPS Freight LTL"}, "559123456", {"type": "X", "code": "2"}, "freight_exception:02"),
        ({"description": "UPS Freight LTL"}, "559123456", {"type": "W", "code": "QQ"}, "W:QQ"),
        ({"description": "UPS Freight LTL"}, "559123456", {"code": "QQ"}, "none:QQ"),
        ({"description": "UPS Worldwide Express Freight"}, "1Z204W4R0308071865", {"type": "D", "statusCode": "011"}, "status:011"),
        (None, "559123456", {"type": "do", "statusCode": "012"}, "freight:012"),
        (None, "1Z204W4R0308071865", {"type": "x", "code": 6}, "X:06"),
    ],
)  # fmt: skip
def test_codes_are_read_by_the_lists_of_the_product(make, service, number, status, code) -> None:
    (report,), _ = poll(make, {"trackingNumber": number, "service": service, "activity": [{"status": status}]})

    assert f"{report.scans[0].code.space}:{report.scans[0].code.code}" == code


def test_which_words_name_a_product_is_a_setting(make) -> None:
    source, _ = make("carriers.ups", mail_innovations=["budget mail"])

    assert source.product({"service": {"description": "Budget Mail 9"}}, "1Z1") == "mi"
    assert source.product({"service": {"description": "UPS Mail Innovations"}}, "1Z1") == ""


def test_one_activity_of_a_freight_type_makes_the_package_freight(make) -> None:
    moved = {"status": {"type": "I", "statusCode": "012"}}
    (report,), _ = poll(make, {"trackingNumber": "559123456", "activity": [moved, {"status": {"type": "DD"}}]})

    assert [scan.code.space for scan in report.scans] == ["freight", "DD"]


def test_what_is_read_again_as_freight_is_told_once_and_takes_nothing_from_its_neighbour(make) -> None:
    odd = {"trackingNumber": "1Z204W4R0308071865", "activity": [{"status": "?"}]}
    freight = {"trackingNumber": "559123456", "activity": [{"status": {"type": "DD", "statusCode": "012"}}, 7]}
    reports, unread = poll(make, odd, freight)

    assert [scan.code.space for report in reports for scan in report.scans] == ["none", "freight"]
    at = "$.trackResponse.shipment[0].package"
    assert [one.where for one in unread] == [f"{at}[0].activity[0].status", f"{at}[1].activity[1]"]


def test_one_object_stands_for_the_list_of_it(make) -> None:
    source, _ = make("carriers.ups")
    package = {
        "trackingNumber": "1Z204W4R0308071865", "activity": activity("011"), "deliveryDate": {"type": "SDD", "date": "20260822"},
        "alternateTrackingNumber": {"number": "92", "type": "usps_pic"},
    }  # fmt: skip
    body = {"trackResponse": {"shipment": {"inquiryNumber": "1Z204W4R0308071865", "package": package}}}

    (report,) = source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))

    assert ([scan.code.code for scan in report.scans], [link.carrier for link in report.links]) == (["011"], ["usps"])
    assert report.edd.ends == datetime(2026, 8, 23, tzinfo=UTC)


TO_FRESNO = [{"type": "DESTINATION", "address": {"city": "FRESNO", "stateProvince": "CA", "countryCode": "US"}}]
DAY = (datetime(2026, 8, 22, tzinfo=UTC), datetime(2026, 8, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    ("time", "addresses", "edd"),
    [
        ({"type": "EDW", "startTime": "130000", "endTime": "150000"}, TO_FRESNO, (datetime(2026, 8, 22, 20, tzinfo=UTC), datetime(2026, 8, 22, 22, tzinfo=UTC))),
        ({"type": "CMT", "endTime": "103000"}, TO_FRESNO[0], (datetime(2026, 8, 22, 7, tzinfo=UTC), datetime(2026, 8, 22, 17, 30, tzinfo=UTC))),
        ({"type": "EDW", "startTime": "130000", "endTime": "150000"}, None, DAY),  # nobody says whose hours these are
        ({"type": "EDW", "startTime": "", "endTime": "150000"}, TO_FRESNO, DAY),
        ({"type": "CMT", "endTime": ""}, TO_FRESNO, DAY),
        ({"type": "EOD"}, TO_FRESNO, DAY),
        (None, TO_FRESNO, DAY),
    ],
)  # fmt: skip
def test_an_estimate_is_a_window_where_its_hours_have_a_zone_and_else_the_day(make, time, addresses, edd) -> None:
    package = {"deliveryDate": [{"type": "SDD", "date": "20260822"}], "deliveryTime": time, "packageAddress": addresses}
    report = only(make, package)

    assert (report.edd.begins, report.edd.ends) == edd


def test_a_window_that_cannot_be_read_is_told_and_the_day_stays(make) -> None:
    package = {
        "trackingNumber": "1Z204W4R0308071865", "deliveryDate": [{"type": "SDD", "date": "20260822"}],
        "deliveryTime": {"type": "CMT", "endTime": "noon"}, "packageAddress": TO_FRESNO,
    }  # fmt: skip
    (report,), (unread,) = poll(make, package)

    assert (report.edd.begins, report.edd.ends) == DAY
    assert unread.where == "$.trackResponse.shipment[0].package[0].deliveryTime.endTime"


@pytest.mark.parametrize(
    ("information", "signed", "photo"),
    [
        ({"receivedBy": "DOE"}, True, False),
        ({"receivedBy": "", "signature": {"image": ""}, "deliveryPhoto": {}}, False, False),
        ({"signature": {"image": "R0lG"}}, True, False),
        ({"signature": "x", "deliveryPhoto": "x"}, False, False),
        ({"deliveryPhoto": {"photo": "x"}}, False, True),
        ({"deliveryPhoto": {"photoCaptureInd": "Y", "photoDispositionCode": "V"}}, False, True),
        ({"deliveryPhoto": {"photoCaptureInd": "Y", "photoDispositionCode": "N"}}, False, False),
        ({"deliveryPhoto": {"photoCaptureInd": "N", "photoDispositionCode": "V"}}, False, False),
    ],
)  # fmt: skip
def test_a_delivery_is_proved_by_a_name_a_signature_or_a_photo_that_can_be_seen(
    make, information, signed, photo
) -> None:
    proof = only(make, {"deliveryInformation": information}).proof

    assert (proof.signed, proof.photo) == (signed, photo)


def test_what_an_answer_says_instead_of_telling_is_kept(make) -> None:
    source, _ = make("carriers.ups")
    shipment = {"inquiryNumber": "1Z204W4R0308071865", "warnings": [{"code": "TW0001", "message": "Not Found"}]}

    (report,) = source.normalize(Payload("a", "poll", (json.dumps({"trackResponse": {"shipment": [shipment]}}).encode(),), AT, {}))  # fmt: skip
    assert (report.tracking, report.said) == ("not_found", "TW0001 Not Found")


def test_an_alternate_number_of_an_event_is_one_of_ups(make) -> None:
    source, _ = make("carriers.ups")
    body = {"trackingNumber": "1Z204W4R0308071865", "activityStatus": {"descriptionCode": "021"},
            "alternateTrackingNumber": "1Z204W4R0308071866"}  # fmt: skip

    (report,) = source.normalize(Payload("a", "webhook", (json.dumps(body).encode(),), AT, {}))
    assert [(link.number, link.carrier, link.relation) for link in report.links] == [
        ("1Z204W4R0308071866", "ups", "alternate")
    ]
