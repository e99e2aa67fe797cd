"""Shops are read by sweeps and reads: nothing that changed is missed, nothing old is taken for new."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from tests.lab import START, USPS, shipped
from tracker.domain.facts import Payload, Since
from tracker.store import queries
from tracker.store import tables as t


def test_without_webhooks_a_sweep_finds_what_changed(make_lab) -> None:
    lab = make_lab()
    lab.work()
    for i in range(23):
        lab.order(f"#{i}", USPS if i == 7 else f"X{i}")
    lab.shop.outgoing.clear()
    lab.later(1)

    assert len(lab.rows(t.orders)) == 23
    assert lab.one(t.accounts, t.accounts.c.name == "shop").synced_at is not None


@pytest.mark.parametrize("store", ["shop", "kart"])
def test_orders_that_change_while_a_sweep_reads_hide_no_other(make_lab, store: str) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    shop, orders = (lab.shop, 35) if store == "shop" else (lab.rest, 250)  # more than two pages of each
    for i in range(orders):
        if store == "shop":
            shop.place(f"#{i}", lab.clock(), "PAID")
        else:
            shop.place(f"#{i}", lab.clock(), status="new")
    account = lab.ctx.config.accounts[store]
    seen: set[str] = set()
    for page in account.source.fetch(lab.ctx.client(account), Since("2026-11-02T07:00:00+00:00|")):
        seen |= {item.number for item in account.source.normalize(Payload(store, "sweep", page.parts, lab.clock(), {}))}
        lab.clock.move_to(lab.clock() + timedelta(seconds=1))
        for i in range(3):
            shop.touch(f"#{i}", *(["orders/updated"] if store == "shop" else []))
        if len(seen) == orders:
            break  # those three come again and again

    assert seen == {f"#{i}" for i in range(orders)}


def test_a_sweep_that_fails_comes_back_where_it_was(make_lab) -> None:
    lab = make_lab()
    lab.shop.faults.left["error"] = 3
    lab.order("#1", USPS)
    lab.work()
    state = lab.one(t.accounts, t.accounts.c.name == "shop")
    assert state.synced_at is None
    assert state.next_sweep_at > lab.clock()
    lab.later(1)

    assert len(lab.rows(t.orders)) == 1


def test_a_read_asked_before_what_we_know_changes_nothing_and_is_asked_again(make_lab) -> None:
    lab = shipped(make_lab)
    order = lab.one(t.orders)
    stale = orjson.dumps(
        {
            "data": {
                "nodes": [{**lab.shop._node(lab.shop.orders["#1001"], {}), "displayFulfillmentStatus": "UNFULFILLED"}]
            }
        }
    )
    with lab.daemon.store.write() as connection:
        row = queries.payload_row(
            "shop", "read", [stale], lab.clock(), START, asked_at=order.read_at - timedelta(seconds=5)
        )
        queries.store_payloads(connection, [row])
    lab.work("ingest")

    assert lab.one(t.orders).status == "shipped"
    assert len(lab.rows(t.change_notices)) == 1
    lab.work()
    assert lab.rows(t.change_notices) == []
