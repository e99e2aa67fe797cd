"""A number that is used again: the new parcel's scans are its own, and so are the old one's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.lab import START, UPS, USPS, H, Lab, Make
from tracker.store import tables as t
from tracker.upkeep import maintenance

D = timedelta(days=1)


def tell(lab: Lab, *steps: tuple[float, str, str], city: str = "RENO", number: str = USPS) -> None:
    """Let EasyPost tell of a parcel: scans at some days after the start, and a webhook with its whole history."""
    for days, status, code in steps:
        lab.scan(lab.easypost, number, status, code, hours=24 * days - (lab.clock() - START) / H, city=city)
    lab.post(lab.easypost.event(number))
    lab.work()


LABEL, PICKUP = ("pre_transit", "label_created"), ("in_transit", "received_at_origin_facility")
MOVES, DRIVES, DELIVERED = (
    ("in_transit", "departed_facility"), ("out_for_delivery", "out_for_delivery"), ("delivered", "arrived_at_destination"),
)  # fmt: skip


def delivered(make_lab: Make) -> Lab:
    """Return a lab whose order #1 was delivered on its second day; it is the 21st day."""
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", USPS)
    lab.work()
    tell(lab, (0, *LABEL), (0.2, *PICKUP))
    lab.clock.move_to(START + 2 * D)
    tell(lab, (1, *DRIVES))
    tell(lab, (1.2, *DELIVERED), city="PARAMUS")
    assert lab.writes()[-1] == ("#1", "DELIVERED")
    lab.clock.move_to(START + 20 * D)
    lab.work()
    return lab


def generations(lab: Lab, number: str = USPS) -> list[tuple[int, str, bool]]:
    return [(r.generation, r.status, r.linked) for r in lab.rows(t.shipments, t.shipments.c.number == number)]


@pytest.mark.parametrize("first", [LABEL, PICKUP])
def test_a_number_that_is_used_again_begins_anew_before_the_shop_tells_of_it(
    make_lab: Make, first: tuple[str, str]
) -> None:
    lab = delivered(make_lab)
    old, writes = lab.parcel(USPS), lab.writes()
    seen = len(lab.rows(t.decisions))
    tell(lab, (19.9, *first))
    assert [(g, linked) for g, _, linked in generations(lab)] == [(1, True), (2, False)]
    tell(lab, (20, *MOVES), city="BOISE")
    assert lab.rows(t.shipments)[0] == old
    assert lab.open_findings() == set()
    assert (lab.writes(), len(lab.rows(t.decisions))) == (writes, seen)

    lab.order("#2", USPS)
    lab.work()
    assert generations(lab) == [(1, "delivered", True), (2, "in_transit", True)]
    assert lab.writes() == [*writes, ("#2", "IN_TRANSIT")]
    lab.clock.move_to(START + 22 * D)
    tell(lab, (21.9, *DELIVERED), city="ELKO")
    assert lab.writes() == [*writes, ("#2", "IN_TRANSIT"), ("#2", "DELIVERED")]
    assert lab.rows(t.shipments)[0].summary == old.summary


def test_scans_that_came_before_the_one_that_shows_it_go_to_the_new_parcel_with_it(make_lab: Make) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.work()

    def alert(days: float, kind: str, code: str, city: str) -> None:
        scan = lab.scan(lab.ups, UPS, kind, code, hours=24 * days - (lab.clock() - START) / H, city=city)
        lab.post(lab.ups.alert(UPS, scan))  # a shared secret vouches for it: a poll confirms
        lab.work()

    alert(0, "I", "038", "RENO")
    lab.clock.move_to(START + 2 * D)
    alert(1, "D", "011", "PARAMUS")
    old = lab.parcel(UPS).summary
    assert (old["status"], lab.writes()[-1]) == ("delivered", ("#1", "DELIVERED"))
    lab.clock.move_to(START + 20 * D)
    lab.work()
    alert(19.5, "I", "005", "BOISE")  # not enough to know
    alert(19.7, "I", "021", "ELKO")
    assert generations(lab, UPS) == [(1, "out_for_delivery", True)]
    assert "correction_after_delivered" in lab.open_findings()

    alert(19.1, "I", "038", "FARGO")
    assert generations(lab, UPS) == [(1, "delivered", True), (2, "out_for_delivery", False)]
    assert lab.rows(t.shipments)[0].summary == old
    lab.summaries_are_whole()
    assert len(lab.rows(t.scans)) == 5
    assert "correction_after_delivered" in lab.open_findings()  # a person knows by now that it was none


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_a_history_of_two_parcels_is_two_journeys_however_it_comes(make_lab: Make, parts: int) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.clock.move_to(START + 30 * D)
    steps = [
        (0, *LABEL), (0.2, *PICKUP), (1, *DRIVES), (1.2, *DELIVERED), (20, *LABEL), (20.2, *PICKUP), (21, *DRIVES),
    ]  # fmt: skip
    size = -(-len(steps) // parts)
    for at in range(0, len(steps), size):
        tell(lab, *steps[at : at + size])

    assert generations(lab) == [(1, "delivered", False), (2, "out_for_delivery", False)]
    lab.order("#2", USPS)
    lab.work()
    assert generations(lab) == [(1, "delivered", False), (2, "out_for_delivery", True)]


@pytest.mark.parametrize(
    "step", [(1.3, *LABEL), (3, *LABEL), (19, *MOVES), (20, "pre_transit", "status_update")], ids=str
)
def test_a_late_label_and_a_lone_scan_begin_no_other_parcel(
    make_lab: Make, step: tuple[float, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = delivered(make_lab)
    if step[0] == 20:  # what is on its way back is no other parcel
        monkeypatch.setattr(lab.easypost, "_tracker", back(lab.easypost._tracker))
    tell(lab, step)

    assert [g for g, _, _ in generations(lab)] == [1]


def back(tracker: Any) -> Any:
    return lambda number: tracker(number) | {"is_return": True}


def test_a_shop_that_tells_of_a_delivered_parcel_late_means_that_parcel(make_lab: Make) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1")
    lab.clock.move_to(START + 3 * D)
    tell(lab, (1, *PICKUP), (2, *DELIVERED))
    lab.shop.ship("#1", lab.clock(), [{"company": "USPS", "number": USPS}], partly=False)
    lab.work()
    assert generations(lab) == [(1, "delivered", True)]
    assert lab.writes() == [("#1", "DELIVERED")]

    lab.order("#2", USPS)  # placed after the end: another parcel
    lab.work()
    assert [g for g, _, _ in generations(lab)] == [1, 2]


def test_an_order_whose_ship_date_is_not_told_means_the_parcel_that_had_not_ended(make_lab: Make) -> None:
    lab = delivered(make_lab)
    lab.shop.place("#2", START + 10 * D, "PAID")
    tell(lab, (19.9, *LABEL))
    lab.shop.ship("#2", START + 10 * D, [{"company": "USPS", "number": USPS}], partly=False)
    lab.work()

    assert generations(lab) == [(1, "delivered", True), (2, "pre_transit", True)]
    assert len(lab.rows(t.fulfilment_shipments)) == 2


def test_histories_of_a_number_that_is_used_again_withdraw_nothing_of_the_other_parcel(make_lab: Make) -> None:
    lab = delivered(make_lab)
    tell(lab, (19, *LABEL), (19.2, *PICKUP))
    lab.order("#2", USPS)
    lab.work()
    lab.easypost.history[USPS] = lab.easypost.history[USPS][-2:]  # the old parcel is not told of any more
    for _ in range(4):
        lab.later(5)
    assert generations(lab) == [(1, "delivered", True), (2, "picked_up", True)]
    assert lab.rows(t.scans, t.scans.c.missing_since.isnot(None)) == []


def test_a_new_parcel_of_an_old_number_without_an_order_is_told_once(make_lab: Make) -> None:
    lab = delivered(make_lab)
    tell(lab, (19.9, *LABEL))
    lab.clock.move_to(START + 25 * D)
    for _ in range(3):
        maintenance.run_monitors(lab.ctx)

    assert [row.closed_at for row in lab.rows(t.findings, t.findings.c.kind == "parcel_without_order")] == [None]
    lab.order("#2", USPS)
    lab.work()
    maintenance.run_monitors(lab.ctx)
    assert "parcel_without_order" not in lab.open_findings()
