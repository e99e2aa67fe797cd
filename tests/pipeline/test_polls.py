"""Carriers are asked and asked to push: in their time, within their budget, and in spite of their faults."""

from __future__ import annotations

from dataclasses import replace as changed
from datetime import timedelta

from tests.lab import DHL, UPS, shipped
from tracker.config.model import Budget
from tracker.store import tables as t


def test_a_number_nobody_knows_yet_is_asked_again_and_never_an_exception(make_lab) -> None:
    lab = shipped(make_lab, DHL, company="DHL")

    row = lab.one(t.watches)
    assert row.tracking_state == "not_found"
    assert row.next_poll_at > lab.clock()
    assert row.failures == 0


def test_an_answer_that_says_nothing_new_stores_nothing_but_counts_as_checked(make_lab) -> None:
    lab = shipped(make_lab, DHL, company="DHL")
    lab.scan(lab.dhl, DHL, "transit", "AE")
    lab.later(4)
    polls = len(lab.rows(t.inbox, t.inbox.c.kind == "poll"))
    lab.later(5)

    row = lab.one(t.watches)
    assert len(lab.rows(t.inbox, t.inbox.c.kind == "poll")) == polls
    assert row.checked_at == lab.clock()


def test_a_failing_carrier_backs_off_and_comes_back(make_lab) -> None:
    lab = shipped(make_lab, DHL, company="DHL")
    lab.scan(lab.dhl, DHL, "transit", "AE")
    lab.dhl.faults.left["error"] = 3  # all tries within one request
    lab.later(4)
    assert lab.one(t.watches).failures == 1
    lab.rested()
    lab.later(1)

    assert lab.one(t.watches).failures == 0
    assert lab.parcel(DHL).status == "picked_up"


def test_garbage_from_a_carrier_is_stored_as_dead_and_asked_again(make_lab) -> None:
    lab = shipped(make_lab, DHL, company="DHL")
    lab.scan(lab.dhl, DHL, "transit", "AE")
    lab.dhl.faults.left["garbage"] = 1
    lab.later(4)
    assert [row.state for row in lab.rows(t.inbox, t.inbox.c.kind == "poll")] == ["dead"]
    lab.later(4)

    assert lab.parcel(DHL).status == "picked_up"


def test_a_budget_is_never_overdrawn(make_lab) -> None:
    lab = make_lab()
    account = changed(lab.ctx.config.accounts["dhl"], budget=Budget(calls=3, per=timedelta(days=1)))
    lab.ctx.config = changed(lab.ctx.config, accounts={**lab.ctx.config.accounts, "dhl": account})
    lab.work()
    lab.order("#1001", *(f"0034043416109404255{i}" for i in range(6)), company="DHL")
    lab.work()
    for i in range(6):
        lab.scan(lab.dhl, f"0034043416109404255{i}", "transit", "AE")
    lab.later(3.5)
    assert len(lab.dhl.asked) <= 3
    lab.later(24)

    assert 3 <= len(lab.dhl.asked) <= 6
    assert lab.dhl.busiest(timedelta(days=1))[0] <= 3


def test_a_subscription_is_renewed_before_it_ends(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    first = lab.one(t.watches)
    assert first.register_at == first.registered_until - timedelta(days=1)
    lab.scan(lab.ups, UPS, "I", "005")
    lab.later(7)  # it knows the parcel: nobody else is asked
    lab.clock.move_to(first.register_at)
    lab.work("poll")

    assert lab.one(t.watches).registered_at == lab.clock()


def test_a_number_that_a_carrier_will_not_watch_is_a_finding_and_is_polled(make_lab) -> None:
    lab = make_lab()
    lab.work()
    lab.ups.faults.left["refuse_number"] = 1
    lab.order("#1001", UPS, company="UPS")
    lab.work()

    row = lab.one(t.watches)
    assert row.rejected_reason
    assert row.register_at is None
    assert row.next_poll_at is not None
    assert "registration_refused" in lab.open_findings()


def test_a_failed_registration_is_tried_again(make_lab) -> None:
    lab = make_lab()
    lab.work()
    lab.ups.faults.left["error"] = 9
    lab.order("#1001", UPS, company="UPS")
    lab.work()
    assert lab.one(t.watches).registered_at is None
    lab.ups.faults.left["error"] = 0
    lab.rested()
    lab.later(1)

    assert lab.one(t.watches).registered_at is not None


def test_the_push_handshake_of_dhl_is_answered(make_lab) -> None:
    lab = shipped(make_lab, DHL, company="DHL")
    (ref,) = lab.dhl.subscriptions
    lab.post(lab.dhl.validation(ref))
    lab.work()

    assert lab.dhl.subscriptions[ref]["active"]
    lab.scan(lab.dhl, DHL, "transit", "AE")
    pushed = lab.dhl.push(DHL)
    assert pushed is not None
    lab.post(pushed)
    lab.work()
    assert lab.parcel(DHL).status == "picked_up"


def test_F23_a_carrier_that_is_down_takes_nobodys_turn(make_lab) -> None:
    lab = make_lab()
    lab.order("#1001", *[f"94001000000000000000{i:02}" for i in range(20)])
    lab.order("#1002", UPS, company="UPS")
    lab.work("ingest", "decide")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "005")
    lab.easypost.calls.clear()
    lab.easypost.faults.left["error"] = 10**6
    lab.later(12)

    assert lab.parcel(UPS).status == "in_transit"
    state = lab.one(t.accounts, t.accounts.c.name == "easypost")
    assert state.blocked_until is not None  # not asked again before it rested
    assert lab.one(t.accounts, t.accounts.c.name == "ups").blocked_until is None
