"""A number whose carrier nobody told: the accounts that it could be of are asked one at a time, until a scan decides."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.lab import H, Lab, Make
from tracker.pipeline import whose
from tracker.store import tables as t

TWO = "9261290289999123456783"  # USPS's, and UPS and DHL print such numbers: both have an account here, and EasyPost tells of any


def watch(lab: Lab) -> dict[str, Any]:
    return {row.account: row for row in lab.rows(t.watches)}


def shipped(make_lab: Make, number: str, company: str = "", **more: Any) -> Lab:
    lab = make_lab(**more)
    lab.work()
    lab.order("#1001", number, company=company)
    lab.work()
    return lab


def test_a_number_that_only_one_carrier_can_have_is_its(make_lab: Make) -> None:
    lab = shipped(make_lab, "1ZR589390357567121")
    assert lab.parcel("1ZR589390357567121").carrier == "ups"


def test_one_is_asked_at_a_time_and_the_next_as_soon_as_one_does_not_know_it(make_lab: Make) -> None:
    lab = shipped(make_lab, TWO, store="mode: write, accounts: [ups, dhl]")
    turns = []
    for _ in range(6):
        (chosen,) = [row for row in lab.rows(t.watches) if row.chosen is not None]
        turns.append((chosen.account, chosen.next_poll_at > lab.clock()))
        lab.clock.move_to(chosen.next_poll_at)
        lab.work()
    assert {name for name, _ in turns} == {"ups", "dhl"}
    assert all(later for _, later in turns), "each waits for its time: nobody is asked without end"
    assert all(name != following for (name, _), (following, _) in pairwise(turns)), turns
    assert all(row.registered_at is None for row in lab.rows(t.watches)), (
        "nobody is told of a number that may not be his"
    )
    assert lab.parcel(TWO).carrier.startswith("unidentified:")

    (asked,) = [row for row in lab.rows(t.watches) if row.chosen is not None]
    server = {"ups": lab.ups, "dhl": lab.dhl}[asked.account]
    lab.scan(server, TWO, "I", "021") if asked.account == "ups" else lab.scan(server, TWO, "transit", "transit")
    lab.clock.move_to(asked.next_poll_at)
    lab.work()
    assert (lab.parcel(TWO).carrier, lab.parcel(TWO).linked) == (asked.account, True)
    (row,) = [row for row in lab.rows(t.watches) if row.chosen is not None]
    told = row.registered_at is not None or row.rejected_reason is not None
    assert (row.account, told) == (asked.account, True), "now its carrier is told of it"


def test_who_tells_of_any_carrier_is_asked_behind_those_that_it_could_be_of(make_lab: Make) -> None:
    lab = shipped(make_lab, TWO)
    asked = [row.account for row in sorted(lab.rows(t.watches), key=lambda row: row.id)]
    assert asked == ["ups", "dhl", "easypost"]


def test_a_scan_decides_whose_parcel_it_is(make_lab: Make) -> None:
    lab = make_lab()
    lab.work()
    lab.order("#1001", "12345678901234", company="")  # 14 digits: DHL eCommerce by its shape alone
    lab.work()
    assert lab.parcel("12345678901234").carrier == "dhl"


def test_digits_of_a_carrier_without_an_account_prove_nothing_to_who_is_told_of_any(make_lab: Make) -> None:
    lab = shipped(make_lab, "788829354408", store="mode: write, accounts: [easypost]")  # FedEx's check digit fits
    assert lab.parcel("788829354408").carrier.startswith("unidentified:")
    assert [row.account for row in lab.rows(t.watches)] == ["easypost"]


def test_they_are_its_where_nobody_could_tell_of_another(make_lab: Make) -> None:
    lab = shipped(make_lab, "788829354419", store="mode: write, accounts: [ups, dhl]")
    assert lab.parcel("788829354419").carrier == "fedex"


def test_a_scan_of_before_the_order_was_shipped_is_of_another_parcel_and_decides_nothing(make_lab: Make) -> None:
    lab = make_lab()
    lab.work()
    lab.order("#1001", TWO, company="")
    lab.work()
    carrier = lab.parcel(TWO).carrier
    lab.scan(lab.easypost, TWO, "delivered", "delivered", hours=-24 * 30)
    lab.easypost.event(TWO)
    while lab.easypost.outgoing:
        lab.post(lab.easypost.outgoing.pop(0))
    lab.later(1)
    mine = lab.rows(t.shipments, t.shipments.c.number == TWO)
    assert {(row.carrier, row.status) for row in mine if row.linked} == {(carrier, "unknown")}
    assert lab.writes() == []

    lab.scan(lab.easypost, TWO, "in_transit", "departed_facility", hours=1)
    lab.easypost.event(TWO)
    lab.later(2)
    while lab.easypost.outgoing:
        lab.post(lab.easypost.outgoing.pop(0))
    lab.later(1)
    (row,) = [row for row in lab.rows(t.shipments, t.shipments.c.number == TWO) if row.linked]
    assert (row.carrier, row.status) == ("usps", "in_transit")
    assert row.generation == 2, "the older parcel keeps its own"


def test_what_a_store_ships_with_is_counted_by_its_open_parcels(make_lab: Make) -> None:
    lab = shipped(make_lab, "1ZR589390357567121", "UPS")
    with lab.ctx.store.read() as connection:
        assert whose.habit_of(lab.ctx.config, connection, "shop") == {"ups": 1}
        assert whose.habit_of(lab.ctx.config, connection, "nobody") == {}
    assert H
