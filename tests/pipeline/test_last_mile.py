"""The last mile: the number under which another carrier delivers is followed, and both tell of one parcel."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from tests.cases.test_unwatched import shown
from tests.lab import UPS, USPS, Lab, detail, shipped, tracker_body
from tracker.pipeline.state import read_shipments
from tracker.store import tables as t
from tracker.support import numbers as corrections
from tracker.support import statements
from tracker.support.explain import explanation, overview

OTHER_OF_UPS = "1ZR589400357568494"
ANOTHER = "9400111206206406260794"


def handed_over(make_lab: Any, number: str = USPS, **more: Any) -> Lab:
    """Return a lab with one order whose parcel UPS has picked up, and says to hand over to a post under a number."""
    lab = shipped(make_lab, UPS, company="UPS", **more)
    lab.scan(lab.ups, UPS, "I", "038", last_mile=number)
    lab.later(7)
    return lab


def told_by_post(lab: Lab, status: str, why: str, number: str = USPS, **more: Any) -> None:
    lab.scan(lab.easypost, number, status, why, **more)
    lab.later(7)


def legs(lab: Lab) -> list[tuple[str, str, bool]]:
    """Tell of each parcel: its carrier, its number, and whether it is the last mile of another."""
    return [(row.carrier, row.number, row.leg_of is not None) for row in lab.rows(t.shipments)]


def asked(lab: Lab) -> list[tuple[str, bool]]:
    """Tell of each account that was chosen for a parcel whether it is asked about it again."""
    return [(row.account, row.next_poll_at is not None) for row in lab.rows(t.watches) if row.chosen]


def the_order(lab: Lab, number: str = "#1001") -> Any:
    return overview(lab.ctx, number)["orders"][0]


def test_what_ups_hands_over_is_asked_about_at_the_post_and_delivered_there(make_lab) -> None:
    lab = handed_over(make_lab)
    assert legs(lab) == [("ups", UPS, False), ("usps", USPS, True)]
    assert asked(lab) == [("ups", True), ("easypost", True)]

    lab.scan(lab.ups, UPS, "D", "137", letters="F7")
    told_by_post(lab, "in_transit", "arrived_at_facility")
    told_by_post(lab, "out_for_delivery", "out_for_delivery")
    told_by_post(lab, "delivered", "arrived_at_destination")

    assert [lab.parcel(number).status for number in (UPS, USPS)] == ["delivered", "delivered"]
    assert lab.writes() == [
        ("#1001", "CARRIER_PICKED_UP"), ("#1001", "IN_TRANSIT"), ("#1001", "OUT_FOR_DELIVERY"), ("#1001", "DELIVERED"),
    ]  # fmt: skip


def test_the_order_has_one_parcel_of_which_two_tell(make_lab) -> None:
    lab = handed_over(make_lab)
    with lab.daemon.store.read() as connection:
        ((parcel,),) = read_shipments(connection, [lab.one(t.orders).id]).values()

    assert (parcel.number, parcel.tracking, parcel.summary.status) == (UPS, "active", "picked_up")


def test_both_are_asked_no_more_once_the_parcel_is_delivered(make_lab) -> None:
    lab = handed_over(make_lab)
    told_by_post(lab, "delivered", "arrived_at_destination")
    for _ in range(10):
        lab.later(24)

    assert asked(lab) == [("ups", False), ("easypost", False)]
    assert None not in [row.closed_at for row in lab.rows(t.shipments)]


def test_the_post_is_asked_no_more_once_ups_says_that_it_came_back(make_lab) -> None:
    lab = handed_over(make_lab)
    lab.scan(lab.ups, UPS, "D", "034")
    lab.later(7)

    assert lab.parcel(UPS).status == "returned"
    assert ("easypost", False) in asked(lab)
    assert lab.parcel(USPS).closed_at is not None
    calls = lab.easypost.calls["track"]
    for _ in range(5):
        lab.later(24)
    assert lab.easypost.calls["track"] == calls


def test_a_label_alone_is_not_followed(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    lab.scan(lab.ups, UPS, "M", "003", last_mile=USPS)
    lab.later(7)

    assert legs(lab) == [("ups", UPS, False)]
    lab.scan(lab.ups, UPS, "I", "038")  # which does not name it again
    lab.later(7)
    assert legs(lab) == [("ups", UPS, False), ("usps", USPS, True)]


def test_delivered_to_the_post_office_is_not_delivered(make_lab) -> None:
    lab = handed_over(make_lab)
    lab.scan(lab.ups, UPS, "D", "144")
    lab.later(7)
    assert lab.parcel(UPS).status == "available_for_pickup"

    lab.scan(lab.ups, UPS, "D", "143", hours=1)
    lab.later(7)
    assert "DELIVERED" not in [event for _, event in lab.writes()]


def test_delivered_by_the_first_carrier_means_handed_over_where_the_last_one_moves_it_on(make_lab) -> None:
    lab = handed_over(make_lab)
    lab.scan(lab.ups, UPS, "D", "011")
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery", hours=2)
    lab.later(7)

    assert lab.parcel(UPS).status == "out_for_delivery"
    assert "DELIVERED" not in [event for _, event in lab.writes()]


def test_an_echo_of_the_first_carrier_takes_nothing_back_from_the_last(make_lab) -> None:
    lab = handed_over(make_lab)
    told_by_post(lab, "out_for_delivery", "out_for_delivery")
    lab.scan(lab.ups, UPS, "I", "074", hours=1)  # the post has it: UPS says so after it is on its vehicle
    lab.later(7)
    assert lab.parcel(UPS).status == "out_for_delivery"

    told_by_post(lab, "delivered", "arrived_at_destination")
    lab.scan(lab.ups, UPS, "I", "021", hours=1)
    lab.later(7)
    assert (lab.parcel(UPS).status, lab.parcel(UPS).summary["disputed"]) == ("delivered", False)


def test_a_number_without_an_account_is_told_as_watched_by_nobody(make_lab) -> None:
    lab = handed_over(make_lab, store="mode: write, accounts: [ups]")

    assert legs(lab) == [("ups", UPS, False), ("usps", USPS, True)]
    assert asked(lab) == [("ups", True)]
    assert "carrier_not_covered" in lab.open_findings()
    finding = lab.one(t.findings, t.findings.c.kind == "carrier_not_covered")
    assert finding.subject == "store/shop/carrier/usps"
    assert any(f"usps {USPS}: nobody asks about it" in said for said in the_order(lab)["known"]["unknown"])
    (parcel,) = the_order(lab)["parcels"]
    assert parcel["last_mile"][0]["watched_by"] == []


@pytest.mark.parametrize("number", [UPS, "see USPS"])
def test_a_link_to_itself_or_to_no_number_leads_nowhere(make_lab, number) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    lab.ups.history[UPS].clear()
    lab.scan(lab.ups, UPS, "I", "038", last_mile=number)
    lab.change(t.shipment_links.delete())
    lab.later(7)
    lab.change(t.shipment_links.update().values(carrier=""))  # whose it is, nobody says
    lab.scan(lab.ups, UPS, "I", "005", hours=1)
    lab.later(7)

    others = [row for row in lab.rows(t.shipments) if row.number != UPS]
    assert others == []


def test_a_circle_ends_where_it_began(make_lab) -> None:
    lab = handed_over(make_lab)
    post = lab.parcel(USPS)
    back = {
        "shipment_id": post.id,
        "carrier": "ups",
        "number": UPS,
        "relation": "last_mile",
        "first_seen_at": lab.clock(),
    }
    lab.change(t.shipment_links.insert().values(**back))
    told_by_post(lab, "in_transit", "arrived_at_facility")

    assert legs(lab) == [("ups", UPS, False), ("usps", USPS, True)]
    assert lab.parcel(UPS).status == "in_transit"


def test_a_last_mile_of_a_last_mile_is_one_of_the_same_parcel(make_lab) -> None:
    lab = handed_over(make_lab)
    post = lab.parcel(USPS)
    on = {
        "shipment_id": post.id,
        "carrier": "usps",
        "number": ANOTHER,
        "relation": "last_mile",
        "first_seen_at": lab.clock(),
    }
    lab.change(t.shipment_links.insert().values(**on))
    told_by_post(lab, "in_transit", "arrived_at_facility")
    told_by_post(lab, "delivered", "arrived_at_destination", ANOTHER)

    whole = lab.parcel(UPS)
    assert [row.leg_of for row in lab.rows(t.shipments)] == [None, whole.id, whole.id]
    assert whole.status == "delivered"


def test_a_number_that_another_order_still_goes_under_is_not_believed_and_told(make_lab) -> None:
    lab = shipped(make_lab, USPS)
    lab.scan(lab.easypost, USPS, "in_transit", "arrived_at_facility")
    lab.order("#1002", UPS, company="UPS")
    lab.later(7)
    lab.scan(lab.ups, UPS, "I", "038", last_mile=USPS)
    lab.later(7)
    told_by_post(lab, "delivered", "arrived_at_destination")

    assert legs(lab) == [("usps", USPS, False), ("ups", UPS, False)]
    assert (lab.parcel(USPS).status, lab.parcel(UPS).status) == ("delivered", "picked_up")
    evidence = lab.one(t.findings, t.findings.c.subject.endswith(f"/last_mile/{USPS}")).evidence
    assert (evidence["parcel"], evidence["order"], evidence["orders"]) == (f"ups {UPS}", "#1002", "#1001")


def test_a_number_that_an_ended_parcel_had_is_a_new_one_for_the_next(make_lab) -> None:
    lab = shipped(make_lab, USPS)
    told_by_post(lab, "delivered", "arrived_at_destination")
    lab.later(24 * 30)
    lab.order("#1002", UPS, company="UPS")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "038", last_mile=USPS)
    lab.later(7)

    assert [(row.number, row.generation, row.status, row.leg_of is not None) for row in lab.rows(t.shipments)] == [
        (USPS, 1, "delivered", False), (UPS, 1, "picked_up", False), (USPS, 2, "unknown", True),
    ]  # fmt: skip
    told_by_post(lab, "out_for_delivery", "out_for_delivery")
    assert lab.parcel(UPS).status == "out_for_delivery"


def test_a_last_mile_that_is_anothers_number_now_is_let_go(make_lab) -> None:
    lab = handed_over(make_lab)
    told_by_post(lab, "out_for_delivery", "out_for_delivery")
    assert lab.parcel(UPS).status == "out_for_delivery"
    lab.scan(lab.ups, UPS, "I", "005", last_mile=ANOTHER)
    lab.later(7)

    assert legs(lab) == [("ups", UPS, False), ("usps", USPS, False), ("usps", ANOTHER, True)]
    assert lab.parcel(UPS).status == "in_transit"  # what was told of the other number was of another parcel
    assert not lab.parcel(USPS).linked
    assert "tracking_changed" in lab.open_findings()
    told_by_post(lab, "delivered", "arrived_at_destination")
    assert lab.parcel(UPS).status == "in_transit"
    told_by_post(lab, "delivered", "arrived_at_destination", ANOTHER)
    assert lab.parcel(UPS).status == "delivered"


def test_a_number_that_the_shop_names_beside_the_first_is_the_same_parcel(make_lab) -> None:
    lab = shipped(make_lab, UPS, USPS, company="")
    lab.scan(lab.ups, UPS, "I", "038", last_mile=USPS)
    lab.later(7)
    told_by_post(lab, "delivered", "arrived_at_destination")

    assert sorted(legs(lab)) == [("ups", UPS, False), ("usps", USPS, True)]
    assert lab.writes()[-1] == ("#1001", "DELIVERED")  # it waits for no second parcel
    lab.scan(lab.ups, UPS, "I", "005", last_mile=ANOTHER)
    lab.later(24)
    assert lab.parcel(USPS).linked  # the shop names it itself


def test_an_order_whose_shop_takes_the_posts_number_in_place_of_the_first_goes_on(make_lab) -> None:
    lab = handed_over(make_lab)
    lab.shop.retrack("#1001", [{"company": "USPS", "number": USPS}])
    lab.work()
    told_by_post(lab, "delivered", "arrived_at_destination")

    assert lab.writes()[-1] == ("#1001", "DELIVERED")


def test_news_of_the_post_that_came_first_are_the_parcels_once_it_is_linked(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    lab.post_raw("easypost", tracker_body(USPS, detail("out_for_delivery", "2026-11-02T08:00:00Z")))
    lab.work()
    assert not lab.parcel(USPS).linked

    lab.scan(lab.ups, UPS, "I", "038", hours=-2, last_mile=USPS)
    lab.later(7)
    assert (lab.parcel(USPS).linked, lab.parcel(UPS).status) == (True, "out_for_delivery")


def test_another_order_of_the_same_parcel_has_its_last_mile_too(make_lab) -> None:
    lab = handed_over(make_lab)
    lab.order("#1002", UPS, company="UPS")
    lab.work()
    told_by_post(lab, "delivered", "arrived_at_destination")

    assert {order for order, event in lab.writes() if event == "DELIVERED"} == {"#1001", "#1002"}


def test_show_and_explain_tell_one_story_with_who_told_what(make_lab) -> None:
    lab = handed_over(make_lab)
    before = lab.clock()
    told_by_post(lab, "delivered", "arrived_at_destination")

    (parcel,) = the_order(lab)["parcels"]
    assert (parcel["number"], parcel["status"]) == (UPS, "delivered")
    assert [(scan["of"], scan["account"]) for scan in parcel["scans"]] == [
        (f"ups {UPS}", "ups"),
        (f"usps {USPS}", "easypost"),
    ]
    (last,) = parcel["last_mile"]
    assert (last["carrier"], last["number"], last["status"]) == ("usps", USPS, "delivered")
    assert [watch["account"] for watch in last["watched_by"]] == ["easypost"]

    by_number = overview(lab.ctx, USPS)
    assert [order["number"] for order in by_number["orders"]] == ["#1001"]
    assert by_number["parcels_without_order"] == []

    (told,) = explanation(lab.ctx, "#1001", at=before)["orders"]
    assert [(p["number"], p["status"]) for p in told["parcels"]] == [(UPS, "picked_up")]
    assert [scan["of"] for scan in told["parcels"][0]["scans"]] == [f"ups {UPS}"]
    (told,) = explanation(lab.ctx, "#1001", at=lab.clock())["orders"]
    assert told["parcels"][0]["status"] == "delivered"


def test_show_prints_the_last_mile_and_whose_each_scan_is(make_lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = handed_over(make_lab, store="mode: write, accounts: [ups]")
    lab.post_raw("easypost", tracker_body(USPS, detail("out_for_delivery", "2026-11-02T18:00:00Z")))
    lab.work()

    said = shown(lab, USPS, monkeypatch)
    assert f"last mile: usps {USPS}: out_for_delivery by itself, followed since" in said
    assert re.search(rf"ups {UPS}\W+status/038", said)
    assert re.search(rf"usps {USPS}\W+\w+/out_for_delivery", said)
    assert "asked: easypost for shop (it tells of it, and no account of the store covers usps)" in said


def named_as(make_lab: Any, number: str, **more: Any) -> Lab:
    """Return a lab in which UPS handed over under a number of which nobody says whose it is."""
    lab = shipped(make_lab, UPS, company="UPS", **more)
    link = {
        "shipment_id": lab.parcel(UPS).id,
        "carrier": "",
        "number": number,
        "relation": "last_mile",
        "first_seen_at": lab.clock(),
    }
    lab.change(t.shipment_links.insert().values(**link))
    lab.scan(lab.ups, UPS, "I", "038")
    lab.later(7)
    return lab


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # whose a number is, no database says
@pytest.mark.parametrize(
    ("number", "carrier"),
    [
        (USPS, "usps"),  # no other makes such numbers
        ("LX123456789GB", "dhl"),
        (OTHER_OF_UPS, None),  # it hands over, so it is no number of its own
        ("ABCD1234", None),
    ],
)
def test_whose_a_number_is_its_shape_says_where_the_first_carrier_does_not(make_lab, number, carrier) -> None:
    lab = named_as(make_lab, number)
    leg = lab.parcel(number)

    assert leg.leg_of == lab.parcel(UPS).id
    assert leg.carrier == carrier or (carrier is None and leg.carrier.startswith("unidentified:shop/"))
    lab.post_raw(
        "easypost", tracker_body(number, detail("out_for_delivery", "2026-11-02T18:00:00Z"), carrier="LaserShip")
    )
    lab.work()
    if carrier is None:
        assert (lab.parcel(number).carrier, lab.parcel(UPS).status) == ("lasership", "out_for_delivery")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_number_that_a_person_corrected_takes_its_last_mile_with_it(make_lab) -> None:
    lab = handed_over(make_lab)
    row = statements.find_order(lab.ctx, "#1001", "shop")
    corrections.ask_for(lab.ctx, row, corrections.prepare(lab.ctx, row, UPS, OTHER_OF_UPS), "ada")
    lab.work()

    assert [(row.number, row.leg_of, row.linked) for row in lab.rows(t.shipments)] == [
        (UPS, None, False), (USPS, None, False), (OTHER_OF_UPS, None, True),
    ]  # fmt: skip
    told_by_post(lab, "delivered", "arrived_at_destination")
    assert ("#1001", "DELIVERED") not in lab.writes()
    assert asked(lab) == [("ups", True)]


def test_a_push_of_the_last_mile_that_nobody_vouches_for_ends_nothing(make_lab) -> None:
    """UPS signs nothing: as a last mile, too, what it pushes is asked for before it is an end."""
    lab = shipped(make_lab, USPS)
    link = {
        "shipment_id": lab.parcel(USPS).id,
        "carrier": "ups",
        "number": UPS,
        "relation": "last_mile",
        "first_seen_at": lab.clock(),
    }
    lab.change(t.shipment_links.insert().values(**link))
    lab.scan(lab.easypost, USPS, "in_transit", "arrived_at_facility")
    lab.later(7)
    lab.scan(lab.ups, UPS, "I", "021")
    lab.later(7)
    assert lab.parcel(USPS).status == "out_for_delivery"

    pushed = lab.scan(lab.ups, UPS, "D", "011")
    lab.ups.history[UPS].pop()
    lab.post(lab.ups.alert(UPS, pushed))
    lab.work()
    assert (lab.parcel(UPS).status, lab.parcel(USPS).status) == ("out_for_delivery", "out_for_delivery")
    lab.ups.history[UPS].append(pushed)
    lab.later(7)
    assert lab.parcel(USPS).status == "delivered"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_news_of_one_carrier_put_no_look_at_the_other_off(make_lab) -> None:
    lab = handed_over(make_lab)
    due = {row.account: row.next_poll_at for row in lab.rows(t.watches)}
    lab.clock.move_to(min(due.values()) - timedelta(minutes=5))
    lab.post_raw("easypost", tracker_body(USPS, detail("in_transit", "2026-11-02T12:00:00Z")))
    lab.work()

    assert {row.account: row.next_poll_at for row in lab.rows(t.watches)}["ups"] == due["ups"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_brake_on_the_last_carrier_holds_the_end_that_it_alone_tells(make_lab) -> None:
    lab = handed_over(make_lab)
    told = {"usps": {"since": lab.clock().isoformat(), "stood": ["near"], "said": "leapt", "parcels": []}}
    a = t.accounts
    lab.change(a.update().where(a.c.name == "easypost").values(brakes=told))
    told_by_post(lab, "delivered", "arrived_at_destination")

    assert lab.parcel(UPS).status == "delivered"
    assert ("#1001", "DELIVERED") not in lab.writes()
    assert [row.state for row in lab.rows(t.outbox, t.outbox.c.held_by.isnot(None))] == ["held"]


def test_a_last_mile_may_have_the_same_number(make_lab) -> None:
    """Mail Innovations goes under the post's number from the first day, Royal Mail's partners under Royal Mail's."""
    lab = shipped(make_lab, USPS, company="UPS")
    lab.scan(lab.ups, USPS, "I", "038", last_mile=USPS)
    lab.later(7)
    assert legs(lab) == [("ups", USPS, False), ("usps", USPS, True)]

    told_by_post(lab, "out_for_delivery", "out_for_delivery")
    lab.order("#1002")
    lab.shop.retrack("#1001", [{"company": "", "number": USPS}])  # whose it is, the shop says no more
    lab.work()
    told_by_post(lab, "delivered", "arrived_at_destination")

    assert legs(lab) == [("ups", USPS, False), ("usps", USPS, True)]
    assert lab.writes()[-1] == ("#1001", "DELIVERED")
    assert [parcel["carrier"] for parcel in the_order(lab)["parcels"]] == ["ups"]
    assert overview(lab.ctx, USPS)["parcels_without_order"] == []
