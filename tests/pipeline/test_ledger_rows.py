"""The ledger as it is kept: when a difference becomes a row, and when carriers are asked at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.lab import START, UPS, H, Lab
from tracker.pipeline import drifts
from tracker.store import tables as t
from tracker.upkeep import maintenance

MINUTES = timedelta(minutes=1)


def kart(make_lab: Any, preset: str = "mirror", numbers: tuple[str, ...] = (UPS,)) -> Lab:
    lab: Lab = make_lab(rest=f"{{preset: {preset}}}")
    lab.work()
    for number in numbers:
        name = f"#{number[-4:]}"
        lab.rest.place(name, lab.clock(), status="Processing", delivery={"method": "courier", "address": "confirmed"})
        lab.rest.ship(name, lab.clock(), [{"company": "UPS", "number": number}], items={})
    lab.work()
    return lab


def differences(lab: Lab, **more: Any) -> list[tuple[str, str, str]]:
    return [(row["drift"], row["shop"], row["carrier"]) for row in drifts.list_drifts(lab.ctx, **more)]


def test_a_difference_becomes_a_row_once_it_is_older_than_a_write_takes(make_lab: Any) -> None:
    lab = kart(make_lab)
    lab.scan(lab.ups, UPS, "I", "038")
    lab.later(7)
    order = lab.one(t.orders)
    assert (order.drift[:13], order.drift_at, differences(lab)) == ("~shop_behind:", START + 7 * H, [])
    assert order.reconcile_at == START + 7 * H + 15 * MINUTES
    lab.later(0.25)
    assert differences(lab) == [("shop_behind", "processing", "picked_up")]
    assert lab.one(t.drifts).opened_at == START + 7 * H
    lab.scan(lab.ups, UPS, "I", "005")  # news of the same kind: no new wait
    lab.later(4.5)
    assert differences(lab) == [("shop_behind", "processing", "in_transit")]
    lab.rest.set("#7121", "seller", status="Shipped")
    lab.work()
    assert (differences(lab), lab.one(t.orders).drift) == ([], "")


def test_a_row_that_stays_the_same_is_not_written_again(make_lab: Any) -> None:
    lab = kart(make_lab)
    lab.scan(lab.ups, UPS, "I", "038")
    lab.later(7)
    lab.later(1)
    (before,) = lab.rows(t.drifts)
    lab.change(t.orders.update().values(reconcile_at=lab.clock()))
    lab.later(1)

    assert lab.rows(t.drifts) == [before]


def test_a_cancelled_orders_row_is_there_at_once(make_lab: Any) -> None:
    lab = kart(make_lab, "kingston-courier")
    lab.scan(lab.ups, UPS, "I", "038")
    lab.later(7)
    lab.rest.cancel("#7121", "customer")
    lab.work()

    assert differences(lab) == [("cancelled_but_moving", "cancelled", "picked_up")]


def test_where_the_shop_says_more_the_carrier_is_asked_at_once(make_lab: Any) -> None:
    lab = kart(make_lab)
    lab.rest.set("#7121", "seller", status="Shipped")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "038")
    lab.later(7)
    lab.clock.move_to(lab.clock() + H)
    lab.scan(lab.ups, UPS, "D", "011")
    before = lab.one(t.watches)
    assert before.next_poll_at > lab.clock()
    lab.rest.set("#7121", "seller", status="Delivered")
    lab.work()

    assert lab.parcel(UPS).status == "delivered"
    assert lab.one(t.watches).checked_at == lab.clock()
    assert lab.one(t.orders).drift == ""


def test_rows_come_newest_first_in_pages_by_store_and_kind(make_lab: Any) -> None:
    numbers = (UPS, "1ZR589400357568494")
    lab = kart(make_lab, numbers=numbers)
    for number in numbers:
        lab.scan(lab.ups, number, "I", "038")
    lab.later(7)
    lab.later(1)
    first, second = drifts.list_drifts(lab.ctx)

    assert first["id"] > second["id"]
    assert drifts.list_drifts(lab.ctx, limit=1) == [first]
    assert drifts.list_drifts(lab.ctx, after=first["id"]) == [second]
    assert differences(lab, store="shop") == differences(lab, kind="shop_ahead") == []
    assert len(differences(lab, store="kart", kind="shop_behind")) == 2


def test_orders_that_a_version_before_read_are_compared_after_an_upgrade(make_lab: Any) -> None:
    lab = kart(make_lab)
    lab.scan(lab.ups, UPS, "I", "038")
    lab.later(7)
    lab.later(1)
    lab.change(t.drifts.delete())
    lab.change(t.orders.update().values(drift=None, drift_at=None, reconcile_at=None))
    maintenance.run_monitors(lab.ctx)
    lab.work()
    lab.later(0.5)

    assert differences(lab) == [("shop_behind", "processing", "picked_up")]
    lab.change(t.orders.update().values(drift=None, reconcile_at=None, store="old"))  # of a store that we have no more
    maintenance.run_monitors(lab.ctx)
    assert lab.one(t.orders).reconcile_at is None
