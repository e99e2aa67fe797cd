"""ShipRocket: conformance, and what is its own: two lists of statuses, times without a zone, pushes that prove nothing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from tests.plugins.shiprocket import NOTHING, read, told
from tracker.domain.errors import (
    BadPayload,
    WebhookRejected,
)
from tracker.domain.facts import Code, Link, Payload
from tracker.domain.timeline import place_in_time
from tracker.domain.vocabulary import Leg, Precision, ShippingStatus, TrackingState, Trust, Zone
from tracker.plugin.conformance import AT, for_carrier

FIXTURES = Path(__file__).parents[1] / "fixtures" / "shiprocket"
TestConformance = for_carrier("carriers.shiprocket", fixtures=FIXTURES)
S = ShippingStatus


@pytest.fixture
def source(make):
    return make("carriers.shiprocket", webhook_secrets=())[0]


# pushes


def test_a_push_proves_at_most_that_its_sender_knows_a_token(make) -> None:
    def check(headers, **settings) -> int:
        source, _ = make("carriers.shiprocket", webhook_secrets=[SecretStr("new"), SecretStr("old")], **settings)
        assert source.trust is Trust.SHARED
        return source.verify(Payload("a", "webhook", (b"{}",), AT, headers))

    assert [check({"x-api-key": key}) for key in ("new", "old")] == [0, 1]
    assert check({"anx-api-key": "new"}, webhook_header="ANX-API-Key") == 0
    for headers in ({}, {"x-api-key": ""}, {"x-api-key": "new "[:2]}, {"anx-api-key": "new"}, {"authorization": "new"}):
        with pytest.raises(WebhookRejected):
            check(headers)


def pushed(**more):
    return {
        "awb": "A1",
        "courier_name": "Delhivery",
        "shipment_status": "",
        "shipment_status_id": None,
        "scans": [],
        **more,
    }


def test_a_push_tells_no_proof_and_no_other_number(source) -> None:
    picture = "https://s3-ap-southeast-1.amazonaws.com/kr-shipmultichannel/x.png"
    body = pushed(shipment_status="DELIVERED", shipment_status_id=7, pod=picture, pod_status=picture, rto_awb="B1")

    (report,), unread = read(source, body, "webhook")

    assert (report.proof, report.links, report.complete, unread) == (None, (), False, [])


def test_the_status_of_an_order_speaks_only_where_nothing_else_does_and_in_a_space_of_its_own(source) -> None:
    lost_or_queued = {"current_status_id": 12, "current_status": "PICKUP QUEUE"}
    (alone,), _ = read(source, pushed(**lost_or_queued), "webhook")
    (beside,), _ = read(source, pushed(**lost_or_queued, shipment_status_id="12", shipment_status="LOST"), "webhook")
    (wrong,), _ = read(source, pushed(current_status_id=12, current_status="LOST"), "webhook")

    assert [str(scan.code.space) + "/" + scan.code.code for one in (alone, beside, wrong) for scan in one.scans] == [
        "order/12", "shipment/12", "pair/12 LOST",
    ]  # fmt: skip
    meanings = [source.meaning(one.scans[0].code) for one in (alone, beside, wrong)]
    assert [m.status if m else None for m in meanings] == [S.PRE_TRANSIT, S.LOST, None]
    for nothing in ({"current_status_id": 7}, {"current_status_id": 7, "current_status": ""}):
        with pytest.raises(BadPayload, match="shipment_status_id: is missing"):  # a number alone may be of either list
            read(source, pushed(**nothing), "webhook")


def test_a_push_without_any_status_or_number_is_told(source) -> None:
    assert read(source, pushed(awb="", sr_order_id=7), "webhook")[1][0].lacks == "nothing"
    for body, where in (
        (pushed(), "$.shipment_status_id"), (pushed(awb=""), "$.awb"), ({}, "$.awb"), ([], "$"), (pushed(awb={}), "$.awb"),
    ):  # fmt: skip
        if body == []:
            assert read(source, body, "webhook") == ([], [])
            continue
        with pytest.raises(BadPayload) as error:
            read(source, body, "webhook")
        assert error.value.where == where


# statuses


@pytest.mark.parametrize(
    ("number", "word", "code", "status"),
    [
        ("7", "DELIVERED", "shipment/7", S.DELIVERED),
        (7, "delivered", "shipment/7", S.DELIVERED),
        ("07", "Delivered ", "shipment/7", S.DELIVERED),
        ("7", "NA", "shipment/7", S.DELIVERED),
        ("7", None, "shipment/7", S.DELIVERED),
        ("7", "RTO DELIVERED", "pair/7 RTO DELIVERED", None),  # never guessed: to whom?
        ("7", "UNDELIVERED", "pair/7 UNDELIVERED", None),
        (
            "7",
            "Delivered to neighbour",
            "pair/7 DELIVERED TO NEIGHBOUR",
            None,
        ),  # an end beside a word that nobody knows
        ("10", "RTO_DELIVERED", "shipment/10", S.RETURNED),
        ("18", "In-Transit", "shipment/18", S.IN_TRANSIT),
        ("18", "IN TRANSIT-EN ROUTE", "shipment/18", S.IN_TRANSIT),  # no end: the number leads
        ("18", "DELIVERED", "pair/18 DELIVERED", None),
        ("21", "UNDELIVERED-2ND ATTEMPT", "shipment/21", S.DELIVERY_ATTEMPTED),
        ("43", "Self FulFiled", "shipment/43", None),
        ("79", "RIDER ASSIGNED", "shipment/79", None),
        ("79", "DELIVERED", "shipment/79", None),  # a number that nobody knows
        ("NA", "REACHED_BACK_AT_SELLER_CITY", "label/REACHED BACK AT SELLER CITY", S.RETURNING),
        ("", "REAACHED_AT_DESTINATION_HUB", "label/REAACHED AT DESTINATION HUB", S.IN_TRANSIT),
        (None, "Something new", "label/SOMETHING NEW", None),
        ("Delivered", "", "label/DELIVERED", S.DELIVERED),
        (0, "NA", "shipment/NA", None),
        ("NA", "NA", "shipment/NA", None),
        (None, None, "courier/X", None),
    ],
)
def test_a_number_and_its_word_must_say_the_same(source, number, word, code, status) -> None:
    (report,), unread = read(source, told((number, word)))

    (scan,) = report.scans
    says = source.meaning(scan.code)
    assert (f"{scan.code.space}/{scan.code.code}", says.status if says else None, unread) == (code, status, [])


def test_what_is_no_status_is_told(source) -> None:
    (report,), unread = read(source, told(([7], {"a": 1}), ("18", "IN TRANSIT"), status=True, word=9))

    assert [one.problem for one in unread] == [
        "must be a text or a number, is a bool", "has beside it a int, which is no word",
        "must be a text or a number, is a list", "has beside it an object, which is no word",
    ]  # fmt: skip
    assert [scan.code.code for scan in report.scans] == ["NA", "18"]
    assert not report.complete


def test_a_delivered_at_the_head_is_none_where_a_scan_says_otherwise_of_its_number(source) -> None:
    (doubted,), _ = read(source, told(("7", "RTO DELIVERED"), status=7, word="Delivered"))
    (head_only,), _ = read(
        source, told(("18", "IN TRANSIT"), status=7, word="Delivered", track={"delivered_date": "2026-11-05 18:00:00"})
    )
    (other,), _ = read(source, told(("7", "RTO DELIVERED"), status=18, word="In Transit"))

    assert [scan.code.space for scan in doubted.scans] == ["pair"]
    assert (head_only.scans[-1].code.code, head_only.scans[-1].local) == ("7", datetime(2026, 11, 5, 18))
    assert [scan.code.code for scan in other.scans] == ["7 RTO DELIVERED", "18"]


def test_of_a_return_delivered_means_to_the_seller(source) -> None:
    for flag in (1, "1", True, "true"):
        (report,), _ = read(
            source,
            told(
                ("42", "PICKED UP"), ("7", "DELIVERED"), ("NA", "DELIVERED"), status=7, word="Delivered", is_return=flag
            ),
        )
        means = [source.meaning(scan.code) for scan in report.scans]
        assert [m.status for m in means if m] == [S.RETURNING, S.RETURNED, S.RETURNED]
        assert {scan.leg for scan in report.scans} == {Leg.CUSTOMER_RETURN}
    (report,), _ = read(source, told(("7", "DELIVERED"), is_return=None, track={"is_return": 1}))
    assert report.scans[0].leg == Leg.CUSTOMER_RETURN, "null beside the head takes nothing from it"
    for flag in (0, "0", None, False, "perhaps"):
        (report,), unread = read(source, told(("7", "DELIVERED"), track={"is_return": flag}))
        assert (report.scans[0].code.space, report.scans[0].leg) == ("shipment", None)
        at = "$.tracking_data.shipment_track[0].is_return"
        assert [one.where for one in unread] == ([at] if flag == "perhaps" else [])
    (report,), _ = read(source, pushed(current_status_id=26, current_status="Return Delivered"), "webhook")
    assert (report.scans[0].leg, source.meaning(report.scans[0].code).status) == (Leg.CUSTOMER_RETURN, S.RETURNED)


def test_why_a_delivery_failed_is_read_from_a_reason_of_the_list_only(source) -> None:
    said = (
        "Undelivered - Customer not contactable",
        "Undelivered : Consignee refused; call",
        "Undelivered - nobody knows",
        "",
    )
    (report,), _ = read(source, told(*(("21", "UNDELIVERED", "2026-11-02 10:00:00", text) for text in said)))

    assert [scan.code.code for scan in report.scans] == ["CUSTOMER NOT CONTACTABLE", "CONSIGNEE REFUSED", "21", "21"]
    assert {source.meaning(scan.code).status for scan in report.scans} == {S.DELIVERY_ATTEMPTED}


def test_never_is_a_seller_who_fulfils_himself_a_delivery_and_the_untraceable_is_not_lost_yet(source) -> None:
    for number, status in (
        ("26", None),
        ("43", None),
        ("76", S.EXCEPTION),
        ("12", S.LOST),
        ("44", S.DESTROYED),
        ("45", S.CANCELLED),
    ):
        assert source.meaning(Code("shipment", number)).status is status


# who, where, when


@pytest.mark.parametrize(
    ("named", "carrier"),
    [
        ("Delhivery Surface 5 Kgs", "delhivery"), ("Delhivery Surface_Stressed", "delhivery"), ("Xpressbees 0.5 kg", "xpressbees"),
        ("Blue Dart Surface", "bluedart"), ("Bluedart", "bluedart"), ("Ecom Express ROS Reverse", "ecomexpress"),
        ("Ecom Express Air 500gms", "ecomexpress"), ("DTDC 2kg", "dtdc"), ("Shadowfax Local", "shadowfax"),
        ("Ekart Logistics Surface", "ekart"), ("Gati Surface 5 Kg", "gati"), ("Amazon Shipping 1Kg", "amazon_logistics"),
        ("Kerry Indev Express Surface", "kerryindev"), ("Wow Express", "wowexpress"), ("Dunzo Local", "dunzo"),
        ("Wefast Local 5 Kg", "borzo"), ("RAPID DELIVERY", "rapiddelivery"), ("Dotzot", "dotzot"), ("Professional", "professionalcouriers"),
        ("Aramex International#", "aramex"), ("DHL PACKET PLUS INTERNATIONAL#", "dhl"), ("FedEx Flat Rate", "fedex"),
        ("Acme Surface", "acme surface"), ("Surface", "surface"),
    ],
)  # fmt: skip
def test_a_couriers_name_is_a_carrier_whatever_its_service(source, named, carrier) -> None:
    assert read(source, told(("18", "IN TRANSIT"), track={"courier_name": named}))[0][0].carrier == carrier


def test_without_a_name_the_couriers_number_tells_and_without_both_nobody_is_known(source) -> None:
    for track, carrier in (
        ({"courier_company_id": 51}, "xpressbees"), ({"courier_company_id": "10"}, "delhivery"), ({"courier_company_id": 99999}, "unknown"), ({}, "unknown"),
    ):  # fmt: skip
        (report,), _ = read(source, told(("18", "IN TRANSIT"), track={"courier_name": None, **track}))
        assert report.carrier == carrier
    (report,), (unread,) = read(source, told(("18", "IN TRANSIT"), track={"courier_name": 7, "courier_company_id": [1]}))[0], \
        read(source, told(("18", "IN TRANSIT"), track={"courier_name": 7}))[1]  # fmt: skip
    assert (report.carrier, unread.subject) == ("unknown", "A1")


@pytest.mark.parametrize(
    ("shown", "local", "precision"),
    [
        ("2026-11-02 10:00:00", datetime(2026, 11, 2, 10), Precision.SECOND),
        ("23 05 2023 11:43:52", datetime(2023, 5, 23, 11, 43, 52), Precision.SECOND),
        (
            "04 05 2023 11:43:52",
            datetime(2023, 5, 4, 11, 43, 52),
            Precision.SECOND,
        ),  # the day first, as the documents show it
        ("2026-11-02", datetime(2026, 11, 2), Precision.DATE),
        ("02 11 2026", datetime(2026, 11, 2), Precision.DATE),
        (" 2026-11-02 10:00:00 ", datetime(2026, 11, 2, 10), Precision.SECOND),
    ],
)
def test_times_say_no_zone_and_are_indian(source, shown, local, precision) -> None:
    (report,), unread = read(source, told(("18", "IN TRANSIT", shown)))

    (scan,) = report.scans
    assert (scan.local, scan.occurred_at, scan.zone, scan.precision, unread) == (
        local,
        None,
        Zone.UNKNOWN,
        precision,
        [],
    )
    instant, zone = place_in_time(scan, source.default_zone, AT)
    assert (instant, zone) == (
        local.astimezone(instant.tzinfo).replace(tzinfo=instant.tzinfo) if False else instant,
        Zone.ASSUMED,
    )
    assert instant.utctimetuple()[:5] == (local - timedelta(hours=5, minutes=30)).timetuple()[:5]


def test_a_time_with_an_offset_is_what_it_says(source) -> None:
    (report,), _ = read(source, told(("18", "IN TRANSIT", "2026-11-02T10:00:00+05:30")))

    assert (report.scans[0].zone, report.scans[0].occurred_at.utcoffset()) == (
        Zone.OFFSET,
        timedelta(hours=5, minutes=30),
    )


@pytest.mark.parametrize(
    "shown", ["05 13 2023 11:43:52", "05/06/2023 11:43:52", "05-06-2023 11:43:52", "06 2023", "32 01 2023 10:00:00", "05 06 23 11:43:52", "Nov 2, 2026", "20261102", 1767225600, ["x"]]
)  # fmt: skip
def test_which_of_two_numbers_is_the_month_is_never_guessed(source, shown) -> None:
    (report,), (unread,) = read(source, told(("18", "IN TRANSIT", shown)))

    assert (report.scans[0].local, report.complete, unread.where) == (
        None,
        False,
        "$.tracking_data.shipment_track_activities[0].date",
    )


@pytest.mark.parametrize("shown", [None, "", "0000-00-00 00:00:00", "NA"])
def test_a_time_that_is_not_there_is_none(source, shown) -> None:
    (report,), unread = read(source, told(("18", "IN TRANSIT", shown), etd=shown, track={"edd": shown}))

    assert (report.scans[0].local, report.edd, unread) == (None, None, [])


def test_an_estimate_is_indian_and_at_midnight_the_day(source) -> None:
    india = timedelta(hours=5, minutes=30)
    for more, hours in (
        ({"etd": "2026-11-05 15:40:19"}, 0), ({"etd": "2026-11-05 00:00:00"}, 24), ({"etd": "", "track": {"edd": "2026-11-05"}}, 24),
    ):  # fmt: skip
        (report,), _ = read(source, told(("18", "IN TRANSIT"), **more))
        assert (report.edd.begins.utcoffset(), report.edd.ends - report.edd.begins) == (india, timedelta(hours=hours))


def test_the_zone_is_a_setting(make) -> None:
    source, _ = make("carriers.shiprocket", zone="Asia/Dubai")
    assert source.default_zone == "Asia/Dubai"
    (report,), _ = read(source, told(("18", "IN TRANSIT"), etd="2026-11-05 15:40:19"))
    assert report.edd.begins.utcoffset() == timedelta(hours=4)
    with pytest.raises(ValidationError):
        make("carriers.shiprocket", zone="Kolkata")


# odd answers


def test_an_answer_may_have_one_object_for_a_list_and_none_for_a_history(source) -> None:
    one = told(status="3", word="Pickup Generated")
    one["tracking_data"] |= {
        "shipment_track": one["tracking_data"]["shipment_track"][0],
        "shipment_track_activities": None,
        "track_status": 0,
        "error": NOTHING,
    }
    (report,), unread = read(source, one)
    assert ([scan.code.code for scan in report.scans], report.complete, unread) == (["3"], False, [])

    fresh = told(status=0, word="")
    fresh["tracking_data"] |= {"shipment_track_activities": "", "track_status": 0, "error": "nothing yet"}
    (report,), unread = read(source, fresh)
    assert (report.number, report.carrier, report.tracking, report.said, unread) == (
        "A1",
        "delhivery",
        TrackingState.NOT_FOUND,
        "nothing yet",
        [],
    )


def test_an_order_of_several_parcels_is_a_list(source) -> None:
    reports, unread = read(source, [told(("18", "IN TRANSIT")), 7, told(("18", "IN TRANSIT"), awb="A2")])

    assert ([one.number for one in reports], [one.where for one in unread]) == (["A1", "A2"], ["$[1]"])


def test_nothing_of_no_awb_is_told_and_no_error(source) -> None:
    reports, (unread,) = read(source, NOTHING)
    assert (reports, unread.lacks, unread.problem) == (
        [],
        "nothing",
        "tells of no AWB: Aahh! There is no activities found in our DB.",
    )
    for body in (
        {"tracking_data": {}},
        {"tracking_data": []},
        {"tracking_data": {"track_status": 1, "shipment_track": [{"awb_code": "A1"}]}},
        b"{",
        b"7",
    ):
        with pytest.raises(BadPayload):
            read(source, body)


def test_what_is_beside_the_awbs_of_an_answer_costs_itself_only(source) -> None:
    reports, unread = read(source, {"A1": told(("18", "IN TRANSIT")), "A2": "none", "A3": {"tracking_data": None}})

    assert ([one.number for one in reports], [one.where for one in unread]) == (["A1"], ["$.A2", "$.A3.tracking_data"])


def test_an_awb_that_was_assigned_anew_and_that_of_the_way_back_are_links(source) -> None:
    asked = json.dumps({"asked": ["A1"]}).encode()
    body = told(("18", "IN TRANSIT"), awb="B2", track={"rto_awb": "R9"})
    (report,), unread = read(source, body, "poll", asked)

    assert (report.number, report.links, unread) == (
        "A1",
        (Link("B2", None, "replaces"), Link("R9", None, "return")),
        [],
    )
    assert read(source, told(("18", "IN TRANSIT"), awb=19041424751540))[0][0].number == "19041424751540"


def test_answers_about_an_awb_call_that_of_the_way_back_return_awb_code(source) -> None:
    for track, links in (
        ({"return_awb_code": "R9"}, [Link("R9", None, "return")]),
        ({"return_awb_code": "R9", "rto_awb": "R9"}, [Link("R9", None, "return")]),
        ({"return_awb_code": ""}, []),
        ({"return_awb_code": "B2"}, []),  # its own
    ):
        (report,), unread = read(source, told(("10", "RTO DELIVERED"), awb="B2", track=track))
        assert (list(report.links), unread) == (links, [])


def test_names_of_couriers_are_remembered_and_strangers_fill_no_memory(source) -> None:
    for n in range(1100):
        assert source.carrier_of(f"Acme {n}") is None
    assert len(source._couriers) <= 501
    assert source.carrier_of("Delhivery Surface") == "delhivery"
    assert source.carrier_of("India Post - Speed Post") == source.carrier_of("217") == "indiapost"


def test_a_push_that_was_saved_reads_as_it_came(source) -> None:
    body = (FIXTURES / "same-transit.webhook.json").read_bytes()

    assert read(source, body, "file") == read(source, body, "webhook")


def test_a_history_of_a_wrong_type_is_told(source) -> None:
    body = told(status=7, word="Delivered")
    body["tracking_data"]["shipment_track_activities"] = 0

    _, unread = read(source, body)

    assert [one.where for one in unread] == ["$.tracking_data.shipment_track_activities"]


@pytest.mark.parametrize(
    ("status", "activity"),
    [("DL", "RTO Delivered to shipper"), ("RTO", "Delivered"), ("DL", "Delivered back to seller"), ("DL", "RETURNED")],
)
def test_a_delivery_of_which_the_courier_says_that_its_seller_has_it_is_unknown(source, status, activity) -> None:
    body = told(("7", "DELIVERED"), status=7, word="Delivered")
    body["tracking_data"]["shipment_track_activities"][0] |= {"status": status, "activity": activity}

    (report,), unread = read(source, body)

    assert [(scan.code.space, scan.code.code) for scan in report.scans] == [("pair", "7 RTO")]
    assert (source.meaning(report.scans[0].code), unread) == (None, [])
