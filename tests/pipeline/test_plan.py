"""The plan and its verdict, beside the carrier's own log: what it needs, what its budget lets through, and who is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.lab import UPS, H, Lab, Make, lab, shipped
from tracker.cli.main import cli
from tracker.config.model import Budget
from tracker.pipeline import budgets, plan
from tracker.store import tables as t
from tracker.support import planned
from tracker.upkeep import maintenance

DAY = timedelta(days=1)
DHLS = [f"0034043416109404{n:04}" for n in range(2550, 2562)]


def budget(made: Lab, account: str, calls: int | None, per: timedelta = DAY) -> None:
    accounts = made.ctx.config.accounts
    given = Budget(calls=calls, per=per) if calls is not None else None
    made.ctx.config = replace(made.ctx.config, accounts={**accounts, account: replace(accounts[account], budget=given)})


def judged(made: Lab, account: str = "dhl") -> Any:
    with made.ctx.store.read() as connection:
        return plan.verdicts(made.ctx, connection)[account]


def of(made: Lab, account: str = "dhl") -> dict[str, Any]:
    return next(row for row in planned.by_account(made.ctx) if row["account"] == account)


def played(made: Lab, span: timedelta) -> int:
    """Let each moment come at which a carrier is asked, for a while. Returns how often it was, by its log."""
    end, before, at = made.clock() + span, len(made.dhl.asked), made.clock()
    while at < end:
        made.clock.move_to(at)
        made.work("poll", "ingest")
        due = [row.next_poll_at for row in made.rows(t.watches, t.watches.c.next_poll_at.isnot(None))]
        given = budgets.calls(
            made.ctx.config.accounts["dhl"], made.one(t.accounts, t.accounts.c.name == "dhl").spent, at
        )
        free = [given.free_at()] if given is not None and min(due) <= at else []
        at = min([moment for moment in (*due, *free) if moment > at], default=end)
    made.clock.move_to(end)
    return len(made.dhl.asked) - before


def test_the_verdict_is_within_a_tenth_of_the_carriers_own_log(tmp_path: Path) -> None:
    with lab(f"sqlite:///{tmp_path}/plan.db", tmp_path) as made:
        made.work()
        budget(made, "dhl", None)
        some = DHLS[:8]
        made.order("#1", *some, company="DHL")
        made.work()
        made.change(t.accounts.update().values(next_sweep_at=made.clock() + 30 * DAY))
        for number in some[:5]:
            made.scan(made.dhl, number, "transit", "PO")
        played(made, 5 * H)
        needs = judged(made)
        assert needs.parcels == len(some)
        assert played(made, DAY) == pytest.approx(needs.needs, rel=0.1)

        budget(made, "dhl", 16)
        short = judged(made)
        assert not short.suffices
        for number in some[:5]:
            made.scan(made.dhl, number, "transit", "PO")
        played(made, DAY)  # the budget is spent, and who waits waits
        short = judged(made)
        calls = played(made, DAY)
        assert calls == pytest.approx(short.gives, rel=0.1)
        assert DAY / (calls / len(some)) == pytest.approx(short.seen, rel=0.1)


def test_a_budget_that_does_not_suffice_is_a_finding_while_it_lasts(make_lab: Make) -> None:
    made = shipped(make_lab, *DHLS, company="DHL")
    maintenance.run_monitors(made.ctx)
    assert "budget_too_small" not in made.open_findings(), "250 calls a day are enough for twelve parcels"
    budget(made, "dhl", 20)
    maintenance.run_monitors(made.ctx)
    kind = t.findings.c.kind == "budget_too_small"
    found = made.one(t.findings, kind)
    assert (found.subject, found.severity, found.closed_at) == ("account/dhl", "warning", None)
    assert found.evidence == {
        "account": "dhl", "parcels": "12", "needs": "91 calls a day", "gives": "20 calls a day", "seen_every": "14 h",
        "wanted_every": "3 h",
    }  # fmt: skip
    assert found.proposal == "raise the budget to 92 calls in 1d, or register for push, whose news wait for no look"

    made.order("#2", UPS.replace("1ZR", "003404341610940"), company="DHL")
    made.work()
    maintenance.run_monitors(made.ctx)
    assert len(made.rows(t.findings, kind)) == 1, "another number of parcels is no other fact"
    budget(made, "dhl", 200)
    maintenance.run_monitors(made.ctx)
    assert made.one(t.findings, kind).closed_reason == "the budget suffices"


def test_the_plan_tells_what_is_due_who_waits_and_what_is_left(make_lab: Make) -> None:
    made = shipped(make_lab, *DHLS, company="DHL")
    budget(made, "dhl", 20)
    made.clock.move_to(made.clock() + 6 * H)

    told = of(made)
    assert (told["open"], told["due"], told["overdue"], told["budget"]) == (12, 12, 12, "20 in 1d")
    assert told["held"].startswith("the account's budget is nearly spent, and the rest kept for urgent parcels until ")
    assert 0 < told["left"] <= 8
    (waits,) = told["waits"]
    assert (waits["store"], waits["parcels"]) == ("shop", 12)
    assert timedelta(hours=2.5) < waits["for"] < timedelta(hours=3.5), "they were due after three hours"
    assert of(made, "ups")["verdict"] == "this cadence needs 0 calls a day; the account has no budget"
    made.change(t.accounts.update().where(t.accounts.c.name == "dhl").values(suspended_reason="401"))
    assert of(made)["held"] == "suspended: 401"


def test_of_an_account_or_order_it_tells_when_each_parcel_is_asked_about_and_why(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shipped(make_lab, UPS, company="UPS")
    assert [(row["parcel"], row["why"]) for row in planned.of_account(made.ctx, "ups", 9)] == [
        (f"ups {UPS}", "unknown: every 3 h")
    ]
    made.scan(made.ups, UPS, "I", "021", text="Out for delivery")
    made.later(4)
    (row,) = planned.of_order(made.ctx, "#1001", 9)
    assert (row["order"], row["store"], row["status"]) == ("#1001", "shop", "out_for_delivery")
    assert (row["urgent"], row["why"], row["chosen"]) == (
        True,
        "out_for_delivery: every 30 min",
        "the only account of ups",
    )
    assert planned.of_order(made.ctx, UPS, 9) == [row]
    made.later(80)
    (row,) = planned.of_order(made.ctx, "#1001", 9)
    assert row["why"] == "out_for_delivery, quiet for days: every 60 min"

    monkeypatch.setattr("tracker.cli.listing.open_context", lambda _: made.ctx)
    monkeypatch.setattr("tracker.cli.listing.glance_config", lambda _: made.ctx.config)
    budget(made, "ups", 1, 30 * DAY)
    said = CliRunner().invoke(cli, ["plan"], env={"COLUMNS": "300"})
    assert (
        "ups: this cadence needs 23 calls a day, the budget gives 0.03: parcels will be seen every 30 d" in said.output
    )
    assert said.exit_code == 1
    assert "shop" in CliRunner().invoke(cli, ["plan", "ups"], env={"COLUMNS": "300"}).output
