"""A number finds its parcel, a parcel its order: by link, carrier and generation."""

from __future__ import annotations

from tests.lab import UPS, USPS, detail, shipped, tracker_body
from tracker.store import tables as t
from tracker.upkeep import maintenance, replay


def test_a_parcel_without_an_order_is_kept_apart_and_never_polled(make_lab) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS, detail("in_transit", "2026-11-01T00:00:00Z")))
    lab.work()
    lab.later(48)

    parcel = lab.parcel(USPS)
    assert (parcel.status, parcel.linked) == ("in_transit", False)
    assert lab.easypost.calls["track"] == 0
    assert lab.writes() == []

    lab.later(24 * 50)
    assert maintenance.prune(lab.ctx)["unmatched"] == 1
    assert lab.rows(t.shipments) == []


def test_an_order_links_the_parcel_that_was_told_of_before(make_lab) -> None:
    lab = make_lab()
    lab.work()
    lab.post_raw("easypost", tracker_body(USPS, detail("in_transit", "2026-11-02T08:00:00Z")))
    lab.work()
    lab.order("#1001", USPS)
    lab.work()

    assert len(lab.rows(t.shipments)) == 1
    assert lab.writes() == [("#1001", "IN_TRANSIT")]


def test_a_used_up_number_opens_a_generation_for_a_later_order(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination")
    lab.later(6)
    lab.later(24 * 20)
    lab.order("#1002", USPS)
    lab.work()

    assert [(row.generation, row.status) for row in lab.rows(t.shipments)] == [(1, "delivered"), (2, "unknown")]
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", hours=1)
    lab.later(8)
    assert [row.status for row in lab.rows(t.shipments)] == ["delivered", "in_transit"]
    assert lab.writes() == [("#1001", "DELIVERED"), ("#1002", "IN_TRANSIT")]


def test_a_parcel_taken_long_after_the_end_is_another_journey(make_lab) -> None:
    lab = make_lab()
    lab.post_raw(
        "easypost", tracker_body(USPS, detail("delivered", "2026-09-01T00:00:00Z"), updated_at="2026-09-01T00:00:00Z")
    )
    lab.work()
    late = detail("in_transit", "2026-11-01T00:00:00Z")
    lab.post_raw(
        "easypost", tracker_body(USPS, detail("delivered", "2026-09-01T00:00:00Z"), late, late | {"message": "again"})
    )
    lab.work()

    assert [(row.generation, row.status) for row in lab.rows(t.shipments)] == [(1, "delivered"), (2, "in_transit")]


def test_an_unidentified_number_takes_the_carrier_of_its_first_scan(make_lab) -> None:
    lab = shipped(make_lab, "ABCD1234", company="Some Courier")
    assert lab.parcel("ABCD1234").carrier.startswith("unidentified:shop/")
    assert lab.one(t.watches).account == "easypost"  # only an aggregator can look it up

    lab.post_raw(
        "easypost", tracker_body("ABCD1234", detail("in_transit", "2026-11-02T08:00:00Z"), carrier="LaserShip")
    )
    lab.work()

    assert lab.parcel("ABCD1234").carrier == "lasership"
    assert lab.writes() == [("#1001", "IN_TRANSIT")]


def test_an_aggregator_that_names_no_carrier_loses_no_scan(make_lab) -> None:
    lab = shipped(make_lab)
    step = detail("in_transit", "2026-11-02T08:00:00Z")
    lab.post_raw("easypost", tracker_body(USPS, step, carrier=None))
    lab.post_raw("easypost", tracker_body("NEVERSEEN1", step, carrier=None))
    lab.work()

    assert (lab.parcel(USPS).carrier, lab.parcel(USPS).status) == ("usps", "in_transit")
    assert (lab.parcel("NEVERSEEN1").carrier, lab.parcel("NEVERSEEN1").status) == ("unknown", "in_transit")


def test_two_orders_with_one_unidentified_number_are_a_question_for_a_person(make_lab) -> None:
    lab = shipped(make_lab, "ABCD1234", company="Some Courier")
    lab.order("#1002", "ABCD1234", company="Some Courier")
    lab.work()
    lab.post_raw(
        "easypost", tracker_body("ABCD1234", detail("in_transit", "2026-11-02T08:00:00Z"), carrier="LaserShip")
    )
    lab.work()

    assert "sources_disagree" in lab.open_findings()
    assert lab.writes() == []


def test_a_changed_number_leaves_the_old_parcel_behind(make_lab) -> None:
    lab = shipped(make_lab)
    lab.shop.retrack("#1001", [{"company": "UPS", "number": UPS}])
    lab.work()

    assert {row.account for row in lab.rows(t.watches)} == {"easypost", "ups"}
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.scan(lab.ups, UPS, "I", "021")
    lab.later(7)
    assert lab.writes() == [("#1001", "OUT_FOR_DELIVERY")]


def test_a_remap_beside_news_of_the_same_parcel_sees_one_parcel(make_lab) -> None:
    lab = shipped(make_lab, "ABCD1234", company="Some Courier")
    first = detail("in_transit", "2026-11-02T08:00:00Z")
    lab.post_raw("easypost", tracker_body("ABCD1234", first, carrier=None))
    lab.work()
    assert lab.parcel("ABCD1234").carrier.startswith("unidentified:")

    assert replay.remap(lab.ctx, "easypost", write=True) == 1
    lab.post_raw("easypost", tracker_body("ABCD1234", first, carrier="LaserShip"))
    lab.work()

    assert lab.parcel("ABCD1234").carrier == "lasership"
    assert len(lab.rows(t.shipments)) == 1
    assert "sources_disagree" not in lab.open_findings()
