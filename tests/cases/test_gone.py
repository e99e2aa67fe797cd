"""An order that its shop finds no more, or tells no more: gone, out of sight, or asked for once more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.cases.script import Script, finding, minutes, note_changes, order, read, writing
from tests.lab import START, USPS, Lab
from tracker.domain.errors import Transient
from tracker.domain.vocabulary import StatementKind
from tracker.store import tables as t
from tracker.support import statements


def two(lab: Lab, shop: Script) -> dict[str, Any]:
    """Two orders, the first with a parcel under way."""
    first = order("R1", fulfilments=[{"ref": "F1", "tracking": [{"carrier": "USPS", "number": USPS}]}])
    shop.says["GET /orders"] = (200, {"orders": [first, order("R2")], "next": None})
    shop.says["GET /orders/R1"] = (200, {"order": first})
    shop.says["GET /orders/R2"] = (200, {"order": order("R2")})
    lab.work()
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    minutes(lab, 240)
    return first


def looked_for_again(lab: Lab) -> None:
    """Let the store be swept, and the order be looked for once more."""
    minutes(lab, 6, "poll", "ingest")
    lab.change(t.accounts.update().values(next_sweep_at=None))
    lab.work()
    minutes(lab, 5)


def delete(shop: Script, ref: str = "R1") -> None:
    del shop.says[f"GET /orders/{ref}"]
    shop.says["GET /orders"] = (200, {"orders": [], "next": None})


def test_an_order_that_two_reads_do_not_find_is_gone_told_and_its_parcels_are_tracked(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    delete(shop)
    note_changes(lab, "R1")
    lab.work()
    assert "order_gone" not in lab.open_findings()  # one read says little
    assert lab.one(t.change_notices).missed_at == lab.clock()
    looked_for_again(lab)

    told = finding(lab, "order_gone")
    assert (told.subject, told.severity) == ("kart/#R1", "warning")
    assert told.evidence["why"] == "not_found"
    assert told.evidence["under_way"] == f"usps {USPS}"
    gone = lab.one(t.orders, t.orders.c.ref == "R1")
    assert (gone.gone_at, gone.gone_why) == (lab.clock(), "not_found")
    assert lab.rows(t.change_notices) == []
    assert "order_gone" in lab.rows(t.decisions, t.decisions.c.order_id == gone.id)[-1].because

    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination")
    minutes(lab, 300)
    assert lab.parcel(USPS).status == "delivered"
    assert not lab.rows(t.outbox, t.outbox.c.kind != "notice", t.outbox.c.state.in_(["pending", "sent"]))
    assert finding(lab, "order_gone").severity == "info"


def test_a_hint_of_a_missed_order_asks_at_once_and_two_quick_reads_are_still_one(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    delete(shop)
    for _ in range(3):
        note_changes(lab, "R1", "R2")
        minutes(lab, 1)
    assert shop.calls["GET /orders/R1"] == 3
    assert "order_gone" not in lab.open_findings()


def test_a_shop_that_finds_nothing_at_all_has_lost_its_way_and_not_its_orders(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    shop.says = {}  # 404 for everything
    note_changes(lab, "R1", "R2")
    for _ in range(6):
        minutes(lab, 11)

    assert [row.gone_at for row in lab.rows(t.orders)] == [None, None]
    assert "source_unavailable" in lab.open_findings()


def test_an_order_that_is_read_again_is_there_again(kart) -> None:
    lab, shop = kart
    first = two(lab, shop)
    delete(shop)
    note_changes(lab, "R1")
    lab.work()
    looked_for_again(lab)
    assert "order_gone" in lab.open_findings()
    shop.says["GET /orders"] = (200, {"orders": [first], "next": None})
    shop.says["GET /orders/R1"] = (200, {"order": first})
    minutes(lab, 11)

    assert "order_gone" not in lab.open_findings()
    back = lab.one(t.orders, t.orders.c.ref == "R1")
    assert (back.gone_at, back.gone_why) == (None, None)
    versions = lab.rows(t.order_versions, t.order_versions.c.order_id == back.id)
    assert [version.facts.get("gone", "") for version in versions] == ["", "not_found", ""]


def test_a_write_to_an_order_that_is_not_found_is_taken_back_and_wanted_again_once_it_is_found(kart) -> None:
    lab, shop = kart
    writing(lab, shop)
    there = shop.says.pop("GET /orders/R1")
    lab.work("push")
    assert [(row.state, row.error) for row in lab.rows(t.outbox)] == [
        ("superseded", "the order was not there: it is read again")
    ]
    assert "write_refused" not in lab.open_findings()
    shop.says["GET /orders/R1"] = there
    minutes(lab, 11)

    assert [row.state for row in lab.rows(t.outbox)] == ["superseded", "sent"]
    assert lab.one(t.orders).gone_at is None


def test_an_order_that_a_hook_named_and_nobody_ever_found_is_told_until_it_is_read(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    note_changes(lab, "R9")
    lab.work()
    assert "order_unreadable" not in lab.open_findings()
    looked_for_again(lab)

    told = finding(lab, "order_unreadable")
    assert told.evidence["order"] == "R9"
    assert told.evidence["problem"].startswith(
        "a hook named it, and two reads did not find it, the first at 2026-11-02"
    )
    assert lab.rows(t.change_notices) == []
    shop.says["GET /orders/R9"] = (200, {"order": order("R9")})
    note_changes(lab, "R9")
    lab.work()
    assert "order_unreadable" not in lab.open_findings()


def test_a_write_to_an_order_that_is_gone_is_never_sent(kart) -> None:
    lab, shop = kart
    writing(lab, shop)
    delete(shop)
    lab.work("push")
    looked_for_again(lab)
    minutes(lab, 240)

    assert shop.calls["PUT /orders/R1/status"] == 0
    assert [row.state for row in lab.rows(t.outbox)] == ["superseded"]
    assert "order_gone" in lab.open_findings()


def test_a_note_by_hand_to_an_order_that_is_not_there_is_refused_and_told(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    delete(shop)
    statements.record_statement(
        lab.ctx, lab.one(t.orders, t.orders.c.ref == "R1"), StatementKind.NOTE, "called", "ann", to_shop=True
    )
    lab.work("push")

    assert [row.state for row in lab.rows(t.outbox, t.outbox.c.kind == "order_note")] == ["refused"]
    assert finding(lab, "write_refused").evidence["said"] == "the order is not there"


@pytest.mark.parametrize(
    ("age", "all_orders", "why"), [(59, False, "not_found"), (61, False, "out_of_sight"), (61, True, "not_found")]
)
def test_an_old_order_that_a_permission_hides_is_out_of_sight_and_not_gone(make_lab, age, all_orders, why) -> None:
    lab = make_lab(store=f"mode: write, read_all_orders: {str(all_orders).lower()}")
    lab.order("#1001", USPS)
    lab.order("#1002")
    lab.work()
    first = lab.one(t.orders, t.orders.c.number == "#1001")
    lab.shop.orders.pop("#1001")
    lab.clock.move_to(lab.clock() + timedelta(days=age))
    note_changes(lab, first.ref, account="shop")
    lab.work()
    looked_for_again(lab)

    assert lab.one(t.orders, t.orders.c.id == first.id).gone_why == why
    assert ("order_out_of_sight" in lab.open_findings()) is (why == "out_of_sight")
    assert ("order_gone" in lab.open_findings()) is (why == "not_found")


@pytest.mark.parametrize("others_answer", [True, False])
def test_an_order_that_fails_alone_again_and_again_is_told(kart, others_answer: bool) -> None:
    """A page of HTML with 404 says nothing of an order: neither that it is gone, nor anything else."""
    lab, shop = kart
    two(lab, shop)
    shop.says["GET /orders/R1"] = Transient("HTTP 404 with a page of HTML instead of an answer")
    note_changes(lab, "R1")
    for _ in range(12):
        lab.rested()
        lab.change(t.change_notices.update().values(due_at=START))
        if not others_answer:
            lab.change(t.accounts.update().values(answered_at=START))
            shop.says |= dict.fromkeys(("GET /orders", "GET /checkouts"), Transient("HTTP 404"))
        minutes(lab, 11)

    assert ("order_unreadable" in lab.open_findings()) is others_answer
    assert ("source_unavailable" in lab.open_findings()) is not others_answer
    assert lab.one(t.orders, t.orders.c.ref == "R1").gone_at is None


def test_a_write_to_an_order_that_a_shop_refuses_to_tell_waits(kart) -> None:
    lab, shop = kart
    writing(lab, shop)
    there = shop.says["GET /orders/R1"]
    shop.says["GET /orders/R1"] = (400, {"error": {"code": "odd", "message": "cannot say"}})
    lab.work("push")
    lab.work("poll")
    assert [(row.state, row.error) for row in lab.rows(t.outbox)] == [("pending", "Refused: odd: cannot say")]
    assert finding(lab, "order_unreadable").evidence["order"] == "#R1"
    shop.says["GET /orders/R1"] = there
    lab.change(t.outbox.update().values(due_at=START))
    minutes(lab, 61)

    assert [row.state for row in lab.rows(t.outbox)] == ["sent"]
    assert not {"order_unreadable", "write_refused"} & lab.open_findings()


def test_an_archived_order_of_bigcommerce_gets_no_writes_and_its_parcel_is_tracked(make_lab) -> None:
    lab = make_lab(
        yaml='  big: {uses: bigcommerce, store_hash: h, base_url: "http://127.0.0.1:9/big", access_token: "${file:FOLDER/s}",\n'
        '        hook_key: "${file:FOLDER/hook}", mode: write, policy: {preset: kartrocket-own-courier}}\n'
    )
    shop = Script(lab, "big")
    archived = read("bigcommerce-archived-order.read.json")
    parcel = {"id": 1, "order_id": 250, "date_created": "Mon, 02 Nov 2026 08:00:00 +0000", "tracking_number": USPS,
              "tracking_carrier": "usps", "items": [{"order_product_id": 1, "quantity": 1}]}  # fmt: skip
    item = {"id": 1, "quantity": 1, "type": "physical", "name": "Hat"}
    shop.says = {
        "GET /stores/h/v2/orders": (200, [archived]),
        "GET /stores/h/v2/orders/250": (200, archived),
        "GET /stores/h/v2/orders/250/products": (200, [item]),
        "GET /stores/h/v2/orders/250/shipments": (200, [parcel]),
    }
    lab.work()
    told = finding(lab, "order_gone")
    assert (told.evidence["why"], told.evidence["under_way"]) == ("deleted", f"usps {USPS}")
    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination")
    minutes(lab, 300)
    assert lab.parcel(USPS).status == "delivered"
    assert not [call for call in shop.calls if call.startswith("PUT")]

    shop.says |= dict.fromkeys(("GET /stores/h/v2/orders/250",), (200, archived | {"is_deleted": False}))
    note_changes(lab, "250", account="big")
    minutes(lab, 5)
    assert "order_gone" not in lab.open_findings()
    assert lab.one(t.orders).gone_at is None


def test_an_order_that_a_shop_refuses_to_tell_takes_no_other_with_it_and_is_told(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    shop.says["GET /orders/R1"] = (400, {"error": {"code": "odd", "message": "cannot say"}})
    shop.says["GET /orders/R2"] = (200, {"order": order("R2", status="Shipped")})
    note_changes(lab, "R1", "R2")
    lab.work()

    assert lab.one(t.orders, t.orders.c.ref == "R2").status == "shipped"
    told = finding(lab, "order_unreadable")
    assert (told.subject, told.evidence["problem"]) == ("kart/ref/R1", "odd: cannot say")
    before = shop.calls["GET /orders/R1"]
    minutes(lab, 30)
    assert shop.calls["GET /orders/R1"] == before  # once an hour
    shop.says["GET /orders/R1"] = (200, {"order": order("R1", status="Shipped")})
    minutes(lab, 31)
    assert lab.one(t.orders, t.orders.c.ref == "R1").status == "shipped"
    assert "order_unreadable" not in lab.open_findings()
    assert lab.rows(t.change_notices) == []
