"""How a write ends: sent once, refused, overtaken, left to others, or given up and told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import START, USPS, shipped, wanting
from tests.pipeline.payloads import Payloads
from tracker.domain.facts import (
    Action,
    Finding,
)
from tracker.domain.vocabulary import Act, FindingKind, Severity, StatementKind
from tracker.pipeline import push
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.codec import ACTION, dump
from tracker.support import many
from tracker.upkeep import maintenance, settle


def test_a_write_the_shop_refuses_is_final_and_told(make_lab) -> None:
    lab = shipped(make_lab)
    lab.shop.faults.left["refuse_write"] = 1
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.later(7)

    assert lab.writes() == []
    assert lab.one(t.outbox).state == "refused"
    assert "write_refused" in lab.open_findings()


def test_a_write_that_was_applied_although_the_answer_was_lost_is_not_doubled(make_lab) -> None:
    lab = shipped(make_lab)
    lab.shop.faults.left["apply_then_fail"] = 1
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.change(t.outbox.update().where(t.outbox.c.state == "pending").values(due_at=START))
    lab.rested()
    lab.work()

    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    row = lab.one(t.outbox)
    assert row.state in ("sent", "superseded")


def test_an_action_that_no_longer_fits_is_dropped_after_the_re_read(make_lab) -> None:
    lab = wanting(make_lab)
    lab.shop.orders["#1001"]["cancelledAt"] = "2026-11-02T14:00:00Z"  # and no hook told us
    lab.work("push")

    assert lab.writes() == []
    assert lab.one(t.outbox).state == "superseded"
    lab.work()
    assert "cancelled_but_moving" in lab.open_findings()


def test_a_write_whose_claim_ended_meanwhile_is_left_to_whoever_has_it(make_lab, monkeypatch) -> None:
    lab = wanting(make_lab)
    claim = push._claim

    def slow(ctx: Any) -> Any:
        rows = claim(ctx)
        lab.change(t.outbox.update().values(attempts=t.outbox.c.attempts + 1))  # another worker claimed it
        return rows

    monkeypatch.setattr(push, "_claim", slow)
    assert push.run(lab.ctx) == 1
    assert lab.writes() == []


def test_a_write_to_an_order_that_is_not_there_is_no_refusal_and_has_it_looked_for_once_more(make_lab) -> None:
    lab = wanting(make_lab)
    lab.shop.orders.clear()
    lab.work("push")

    assert lab.one(t.outbox).state == "superseded"
    assert lab.one(t.change_notices).missed_at == lab.clock()
    assert "write_refused" not in lab.open_findings()


def test_a_bug_while_pushing_keeps_its_crashes_and_ends_dead(make_lab, monkeypatch) -> None:
    lab = wanting(make_lab)
    monkeypatch.setattr(push, "_push", lambda *_: (_ for _ in ()).throw(RuntimeError("bug")))
    for _ in range(8):
        push.run(lab.ctx)
        lab.change(t.outbox.update().where(t.outbox.c.state == "pending").values(due_at=START, claimed_until=None))

    assert lab.one(t.outbox).state == "dead"


def test_a_wrong_key_parks_the_store_tells_a_person_and_new_credentials_wake_it(make_lab) -> None:
    lab = shipped(make_lab)
    lab.shop.key = "another"
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)

    assert lab.one(t.accounts, t.accounts.c.name == "shop").suspended_reason
    assert "account_parked" in lab.open_findings()
    assert any("shop is suspended" in why for why in lab.daemon.not_ready())
    assert lab.parcel(USPS).status == "in_transit"  # carriers go on

    lab.shop.key = "s"
    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(credentials="older"))
    settle.settle_accounts(lab.ctx)
    lab.change(t.outbox.update().where(t.outbox.c.state == "pending").values(due_at=START))
    lab.work()
    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    assert "account_parked" not in lab.open_findings()


@pytest.fixture
def dead_write(make_lab: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A lab with a write that crashed too often."""
    lab = wanting(make_lab)
    monkeypatch.setattr(push, "_push", lambda *_: (_ for _ in ()).throw(RuntimeError("bug")))
    for _ in range(8):
        push.run(lab.ctx)
        lab.change(t.outbox.update().where(t.outbox.c.state == "pending").values(due_at=START, claimed_until=None))
    monkeypatch.undo()
    return lab


def test_a_write_that_was_given_up_is_a_finding_until_the_shop_takes_it(dead_write: Any) -> None:
    lab = dead_write
    row, order = lab.one(t.outbox), lab.one(t.orders)
    assert (row.state, row.error) == ("dead", "crashed too often (it said: RuntimeError)")
    (finding,) = lab.rows(t.findings, t.findings.c.kind == "write_dead")
    assert (finding.order_id, finding.store, finding.closed_at) == (order.id, "shop", None)
    assert finding.subject.startswith("shop/#1001/gid://shopify/Fulfillment/")
    assert finding.evidence["status"] == "in_transit" and finding.evidence["write"] == str(row.id)
    assert finding.proposal == f"once its cause is mended: `tracker outbox retry {row.id}`"
    maintenance.run_monitors(lab.ctx)
    assert len(lab.rows(t.findings, t.findings.c.kind == "write_dead", t.findings.c.closed_at.is_(None))) == 1

    assert many.retry(lab.ctx, [row.id]) == 1
    lab.work()
    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    assert lab.one(t.findings, t.findings.c.kind == "write_dead").closed_by == "push"


def test_a_dead_write_that_is_tried_again_is_no_finding_and_one_of_before_is_told_by_the_watch(dead_write: Any) -> None:
    lab = dead_write
    lab.change(t.findings.delete())
    maintenance.run_monitors(lab.ctx)
    (finding,) = lab.rows(t.findings, t.findings.c.kind == "write_dead")

    many.retry(lab.ctx, many.find(lab.ctx, many.WRITES, many.Filter(state="dead")).ids)
    maintenance.run_monitors(lab.ctx)
    assert lab.one(t.findings, t.findings.c.id == finding.id).closed_reason == "tried again"


def test_a_note_that_comes_through_ends_its_own_refusal_and_no_status_of_the_order(payloads: Payloads) -> None:
    lab = payloads.lab
    lab.rest.place("#1", lab.clock(), status="Processing")
    lab.work()
    order = lab.one(t.orders, t.orders.c.number == "#1")
    action = Action("order_note", "kart/n1", "kart", order.ref, number="#1", text="hello")
    for subject in ("kart/#1/order_note", "kart/#1/shipped"):
        finding = Finding(FindingKind.WRITE_REFUSED, subject, Severity.WARNING, Act.ACT, {"said": "no"})
        with lab.daemon.store.write() as connection:
            queries.open_findings(connection, [(order.id, finding)], lab.clock(), by="push")
    lab.change(
        t.outbox.insert().values(
            key="kart/n1", kind="order_note", store="kart", order_id=order.id, action=dump(ACTION, action), state="pending",
            due_at=START, rules=[], created_at=START,
        )
    )  # fmt: skip
    lab.work()
    assert lab.one(t.outbox, t.outbox.c.key == "kart/n1").state == "sent"
    assert [row.subject for row in payloads.findings("write_refused")] == ["kart/#1/shipped"]


def test_many_writes_findings_and_orders_are_acted_on_in_the_order_of_their_locks(make_lab) -> None:
    lab = wanting(make_lab)
    o, order = t.outbox.c, lab.one(t.orders)
    lab.change(t.outbox.update().values(state="dead", error="no"))
    (write,) = many.find(lab.ctx, many.WRITES, many.Filter(carrier="usps", store="shop")).ids
    assert many.retry(lab.ctx, [write, write + 1]) == 1
    assert many.retry(lab.ctx, [write]) == 0
    assert lab.one(t.outbox, o.id == write).state == "pending"
    finding = {"subject": "shop/#1001/usps/N", "kind": "stuck", "severity": "warning", "act": "act", "evidence": {}}
    made = {"evidence_hash": "x", "opened_by": "x", "opened_at": lab.clock(), "digest": False, "store": "shop"}
    lab.change(t.findings.insert().values(order_id=order.id, **finding, **made))
    (found,) = many.find(lab.ctx, many.FINDINGS, many.Filter(kinds=("stuck",), carrier="usps")).first
    assert (found["order"], many.assign(lab.ctx, [found["id"]], "ana")) == ("#1001", 1)
    assert many.find(lab.ctx, many.FINDINGS, many.Filter(assigned="ana")).counts == [("stuck", "shop", 1)]
    (mine,) = many.find(lab.ctx, many.ORDERS, many.Filter(kinds=("stuck", "shop_behind"))).ids
    assert many.record(lab.ctx, [mine], StatementKind.ACCEPTED, "", "ana") == 1
    assert many.record(lab.ctx, [mine], StatementKind.ACCEPTED, "", "ana") == 0
    payloads = many.find(lab.ctx, many.PAYLOADS, many.Filter(account="easypost", state="done", partly=False))
    assert many.still(lab.ctx, many.PAYLOADS, payloads.ids) == set(payloads.ids) != set()
