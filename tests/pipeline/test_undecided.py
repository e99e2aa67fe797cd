"""An order that cannot be decided is told and holds back no other."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.lab import USPS, shipped
from tests.pipeline.payloads import Payloads, an_order
from tracker.pipeline import decide
from tracker.store import tables as t


def test_an_order_that_cannot_be_decided_gets_a_finding_and_holds_back_nobody(make_lab, monkeypatch) -> None:
    lab = shipped(make_lab)
    lab.order("#1002", "9400111206206406261005")
    lab.work()
    real = decide.reconcile

    def broken(order: Any, *args: Any, **more: Any) -> Any:
        if order.number == "#1001":
            raise RuntimeError("bug")
        return real(order, *args, **more)

    monkeypatch.setattr(decide, "reconcile", broken)
    for number in (USPS, "9400111206206406261005"):
        lab.scan(lab.easypost, number, "in_transit", "departed_facility")
    lab.later(7)

    assert lab.writes() == [("#1002", "IN_TRANSIT")]
    assert "reconcile_failed" in lab.open_findings()


def test_an_order_that_cannot_be_decided_or_kept_holds_back_no_other(payloads: Payloads, monkeypatch: Any) -> None:
    lab = payloads.lab
    payloads.put("kart", *(an_order(f"R{i}") for i in range(5)), kind="read")
    lab.work("ingest")
    keep = decide.store_decisions

    def broken(ctx: Any, connection: Any, decided: Any, *more: Any) -> None:
        if any(one.row.number == "#R2" for one in decided):
            connection.execute(sa.text("SELECT nothing FROM nowhere"))  # a transaction of PostgreSQL is lost by it
        keep(ctx, connection, decided, *more)

    monkeypatch.setattr(decide, "store_decisions", broken)
    assert decide.run(lab.ctx) == 5

    assert {row.order_id for row in lab.rows(t.decisions)} == {
        row.id for row in lab.rows(t.orders, t.orders.c.number != "#R2")
    }
    (finding,) = payloads.findings("reconcile_failed")
    odd = lab.one(t.orders, t.orders.c.number == "#R2")
    assert (finding.order_id, finding.evidence["order"]) == (odd.id, "#R2")
    assert odd.reconcile_at > lab.clock()

    monkeypatch.undo()
    lab.clock.move_to(odd.reconcile_at)
    lab.work("decide")
    assert payloads.findings("reconcile_failed") == [], "what is decided at last closes it"


def test_an_order_whose_stored_facts_cannot_be_read_holds_back_no_other(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("kart", an_order("R1"), an_order("R2"), kind="read")
    lab.work("ingest")
    lab.change(t.orders.update().where(t.orders.c.ref == "R1").values(facts={"of": "a newer version"}))
    assert decide.run(lab.ctx) == 2

    assert len(lab.rows(t.decisions)) == 1
    assert [row.evidence["order"] for row in payloads.findings("reconcile_failed")] == ["#R1"]


def test_a_database_that_is_away_while_orders_are_decided_is_no_fault_of_theirs(
    payloads: Payloads, monkeypatch: Any
) -> None:
    def away(*_: Any) -> int:
        raise RuntimeError("away")

    monkeypatch.setattr(decide, "_decide", away)
    with pytest.raises(RuntimeError, match="away"):
        decide.run(payloads.lab.ctx)  # none is due: it was not an order
    assert payloads.findings("reconcile_failed") == []
