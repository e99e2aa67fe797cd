"""A budget holds by the carrier's own log: every request is charged, whoever makes it and whatever comes of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from tests.lab import DHL, START, UPS, H, Lab, shipped, wanting
from tracker.config.model import Account, Budget
from tracker.domain.errors import BudgetSpent, Transient
from tracker.pipeline import budgets
from tracker.pipeline.context import AppContext
from tracker.pipeline.poll import step as poll
from tracker.plugin.calls import Client
from tracker.store import tables as t
from tracker.store.engine import Store

MINUTES = timedelta(minutes=1)


def give(ctx: AppContext, name: str, calls: int, per: timedelta = H) -> None:
    """Give an account a budget, as a reload would."""
    account = replace(ctx.config.accounts[name], budget=Budget(calls=calls, per=per))
    ctx.config = replace(ctx.config, accounts={**ctx.config.accounts, name: account})


def left(lab: Lab, name: str) -> int:
    given = budgets.calls(
        lab.ctx.config.accounts[name], lab.one(t.accounts, t.accounts.c.name == name).spent, lab.clock()
    )
    assert given is not None
    return given.left


def test_two_processes_share_one_budget(make_lab, database: str) -> None:
    lab: Lab = make_lab()
    give(lab.ctx, "ups", 25)
    other = Store(database)
    got: list[str] = []

    def ask(store: Store) -> None:
        ctx = replace(lab.ctx, store=store)
        for _ in range(6):
            try:
                budgets.charge(ctx, "ups")
                got.append("asked")
            except BudgetSpent as spent:
                got.append(str(spent))

    threads = [threading.Thread(target=ask, args=(store,)) for store in (lab.ctx.store, other) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()

    assert got.count("asked") == 25
    assert set(got) - {"asked"} == {"the account's budget is spent until 2026-11-02 09:01:00Z"}


def test_tokens_registrations_polls_and_each_try_are_charged(make_lab) -> None:
    lab: Lab = make_lab()
    give(lab.ctx, "ups", 100)
    lab.work()
    lab.ups.faults.left["error"] = 2
    lab.order("#1001", UPS, company="UPS")
    lab.work()
    lab.rested()
    lab.later(5)

    first = sum(at == START for at in lab.ups.asked)
    assert first >= lab.ups.calls["token"] + lab.ups.calls["track"] + 2  # two were answered with 503
    assert len(lab.ups.asked) > first
    assert 100 - left(lab, "ups") == len(lab.ups.asked) - first
    lab.change(t.accounts.update().where(t.accounts.c.name == "ups").values(spent=None))
    lab.work()
    assert left(lab, "ups") == 100


def test_a_ping_and_a_reread_and_a_sweep_and_a_write_are_charged(make_lab) -> None:
    lab: Lab = make_lab()
    give(lab.ctx, "shop", 100)
    account = lab.ctx.config.accounts["shop"]
    account.source.ping(lab.ctx.client(account))
    assert left(lab, "shop") == 99
    lab.work()
    swept = left(lab, "shop")
    assert swept < 99
    lab.order("#1001", DHL, company="DHL")
    lab.scan(lab.dhl, DHL, "transit", "AE")
    lab.work()
    lab.work()

    assert lab.writes()
    assert 100 - left(lab, "shop") == len(lab.shop.asked)


def test_a_spent_budget_asks_nobody_and_says_when_the_next_call_is_free(make_lab) -> None:
    lab: Lab = make_lab()
    give(lab.ctx, "ups", 2)
    account = lab.ctx.config.accounts["ups"]
    for _ in range(2):
        budgets.charge(lab.ctx, "ups")
    lab.clock.move_to(lab.clock() + 20 * MINUTES)
    with pytest.raises(BudgetSpent) as spent:
        account.source.ping(lab.ctx.client(account))

    assert lab.ups.asked == []
    assert spent.value.after == 41 * MINUTES
    lab.clock.move_to(lab.clock() + 41 * MINUTES)
    account.source.ping(lab.ctx.client(account))
    assert len(lab.ups.asked) == 1


def test_a_spent_budget_is_no_word_of_the_account_and_changes_no_parcel(make_lab) -> None:
    lab: Lab = shipped(make_lab, UPS, company="UPS")
    give(lab.ctx, "ups", 3)
    lab.clock.move_to(lab.one(t.watches).next_poll_at)
    before = lab.one(t.watches)

    def taken(account: Account) -> Client:
        """Take what is left, as another process may between a claim and its call."""
        while left(lab, "ups"):
            budgets.charge(lab.ctx, "ups")
        return lab.ctx.client(account)

    assert poll.run(replace(lab.ctx, client=taken))
    after = lab.one(t.watches)

    assert replaced(before, "attempts", "claimed_until") == replaced(after, "attempts", "claimed_until")
    assert after.claimed_until is None
    row = lab.one(t.accounts, t.accounts.c.name == "ups")
    assert (row.failures, row.failing_since, row.blocked_until) == (None, None, None)
    assert lab.open_findings() == set()


def replaced(row: Any, *names: str) -> dict[str, Any]:
    return {key: value for key, value in row._mapping.items() if key not in names}


def test_a_budget_that_is_lowered_while_calls_are_in_flight_holds_from_then_on(make_lab) -> None:
    lab: Lab = make_lab()
    give(lab.ctx, "ups", 60)
    account = lab.ctx.config.accounts["ups"]
    client = lab.ctx.client(account)  # of a call that is under way
    for _ in range(10):
        budgets.charge(lab.ctx, "ups")
    give(lab.ctx, "ups", 5)
    with pytest.raises(BudgetSpent):
        account.source.ping(client)

    assert lab.ups.asked == []
    give(lab.ctx, "ups", 60)
    account.source.ping(client)
    assert len(lab.ups.asked) == 1


def test_nobody_is_asked_while_the_budget_cannot_be_read(make_lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab: Lab = make_lab()
    give(lab.ctx, "ups", 60)
    account = lab.ctx.config.accounts["ups"]

    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(lab.ctx.store, "write", away)
    with pytest.raises(Transient, match="budget cannot be read"):
        account.source.ping(lab.ctx.client(account))

    assert lab.ups.asked == []


def test_without_a_budget_or_a_row_nothing_is_charged_and_no_statement_is_said(make_lab) -> None:
    lab: Lab = make_lab()
    said: list[str] = []
    sa.event.listen(lab.ctx.store.engine, "before_cursor_execute", lambda *told: said.append(told[2]))
    budgets.charge(lab.ctx, "ups")
    budgets.charge(lab.ctx, "nobody")
    assert said == []
    give(lab.ctx, "ups", 1)
    lab.change(t.accounts.delete().where(t.accounts.c.name == "ups"))
    for _ in range(2):
        budgets.charge(lab.ctx, "ups")  # before its row is there nobody counts


def test_writes_of_a_store_whose_budget_is_spent_wait_as_they_are(make_lab) -> None:
    lab: Lab = wanting(make_lab)
    give(lab.ctx, "shop", 1)
    budgets.charge(lab.ctx, "shop")
    before = lab.rows(t.outbox)
    lab.work("push")
    assert lab.rows(t.outbox) == before
    give(lab.ctx, "shop", 2)  # one of the two requests that a write needs
    lab.work("push")

    (row,) = lab.rows(t.outbox)
    assert (row.state, lab.writes()) == ("pending", [])
    assert row.error is not None
    assert "budget is spent until" in row.error
    account = lab.one(t.accounts, t.accounts.c.name == "shop")
    assert (account.failures, account.blocked_until) == (None, None)
    give(lab.ctx, "shop", 100)
    lab.change(t.outbox.update().values(due_at=START))
    lab.work("push")
    assert lab.writes() == [("#1001", "IN_TRANSIT")]


def test_a_sweep_that_finds_the_budget_spent_goes_on_when_a_call_is_free_and_is_no_failure(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.clock.move_to(lab.one(t.accounts, t.accounts.c.name == "shop").next_sweep_at)
    give(lab.ctx, "shop", 1)

    def taken(account: Account) -> Client:
        while left(lab, "shop"):
            budgets.charge(lab.ctx, "shop")
        return lab.ctx.client(account)

    poll.run(replace(lab.ctx, client=taken))
    row = lab.one(t.accounts, t.accounts.c.name == "shop")
    assert (row.sweep_failing_since, row.failures, row.claimed_until) == (None, None, None)
    free = budgets.calls(lab.ctx.config.accounts["shop"], row.spent, lab.clock())
    assert free is not None
    assert row.next_sweep_at == free.free_at()


def test_token_requests_that_are_free_are_not_charged(make_lab) -> None:
    lab: Lab = make_lab()
    give(lab.ctx, "ups", 100)
    counted = lab.ctx.config.accounts["ups"]
    lab.ctx.config = replace(
        lab.ctx.config, accounts={**lab.ctx.config.accounts, "ups": replace(counted, tokens="free")}
    )
    lab.work()
    lab.order("#1001", UPS, company="UPS")
    lab.work()

    assert lab.ups.calls["token"] == 1
    assert 100 - left(lab, "ups") == len(lab.ups.asked) - 1


def test_an_account_that_allows_two_calls_side_by_side_is_asked_about_two_parcels_at_once(make_lab) -> None:
    lab: Lab = make_lab()
    lab.order("#1001", *(f"1ZR5893903500000{i}" for i in ("03", "12", "21", "30", "49")), company="UPS")
    lab.work()
    lab.later(9)  # it answered: more than two may be asked at once
    lab.change(t.watches.update().values(next_poll_at=lab.clock()))
    claimed = []
    for side_by_side in (None, 2):
        account = replace(lab.ctx.config.accounts["ups"], side_by_side=side_by_side)
        lab.ctx.config = replace(lab.ctx.config, accounts={**lab.ctx.config.accounts, "ups": account})
        calls, _ = poll._claim(lab.ctx)
        claimed.append(len(calls))
        for call in calls:
            lab.ctx.places.free(call.place)
        lab.change(t.watches.update().values(claimed_until=None))

    assert claimed == [5, 2]
