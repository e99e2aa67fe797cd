"""Times that cannot be move nothing and hide nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cases.script import HERE, finding, order, read
from tests.lab import START, USPS
from tracker.sandbox.player.player import Player, load_scenario
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now


def test_an_order_that_changed_in_the_future_is_told_and_hides_no_later_read(kart) -> None:
    lab, shop = kart
    shop.says["GET /orders"] = (200, read("rest-updated-in-the-future.sweep.json"))
    lab.work()
    told = finding(lab, "order_time_wrong")
    assert told.evidence == {"order": "#2", "updated_at": "2026-12-02T09:00:00+00:00", "ahead": "30 days"}
    lab.later(24)
    assert finding(lab, "order_time_wrong").evidence == told.evidence  # the same fact, a day nearer

    shop.says["GET /orders/R2"] = (200, {"order": order("R2", status="Shipped", updated_at="2026-11-03T08:00:00Z")})
    with lab.daemon.store.write() as connection:
        queries.note_changes(connection, "kart", ["R2"], database_now(connection))
    lab.work("poll", "ingest", "decide")
    assert lab.one(t.orders).status == "shipped"
    assert "order_time_wrong" not in lab.open_findings()


@pytest.mark.parametrize(("minutes", "told"), [(9, False), (11, True), (130, True)])
def test_a_clock_that_is_some_minutes_ahead_is_nobodys_fault(kart, minutes: int, told: bool) -> None:
    lab, shop = kart
    at = (START + timedelta(minutes=minutes)).isoformat()
    shop.says["GET /orders"] = (200, {"orders": [order("R1", updated_at=at)], "next": None})
    lab.work()
    assert ("order_time_wrong" in lab.open_findings()) is told
    lab.later(3)
    assert "order_time_wrong" not in lab.open_findings()  # by now it lies behind


@pytest.mark.parametrize("shipped", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2026-11-01T00:00:00Z", None])
def test_a_ship_date_before_the_order_is_none_so_the_parcel_is_asked_about_until_it_is_delivered(kart, shipped) -> None:
    lab, shop = kart
    told = read("rest-shipped-1970.read.json")["order"]
    told["fulfilments"][0]["shipped_at"] = shipped
    shop.says["GET /orders"] = (200, {"orders": [told], "next": None})
    shop.says["GET /orders/R1"] = (200, {"order": told})
    shop.says["PUT /orders/R1/status"] = (200, {"order": {"ref": "R1", "status": "Delivered"}})
    lab.work()
    lab.later(20)
    assert lab.one(t.watches).next_poll_at is not None
    assert "tracking_expired" not in lab.open_findings()
    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination")
    lab.later(7)

    assert lab.parcel(USPS).status == "delivered"
    assert lab.one(t.orders).facts["fulfilments"][0]["shipped_at"] is None


def test_an_answer_without_news_keeps_the_estimates_cadence() -> None:
    assert Player(load_scenario(HERE / "estimate.yaml")).play().differences == []
