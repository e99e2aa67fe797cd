"""A first sync whose answer is made elsewhere: kept by its cursor, started once, and whole whoever dies where."""

from __future__ import annotations

import pytest
import structlog

from adapters.shopify import bulk
from tests.lab import H
from tracker.pipeline.poll import sweep
from tracker.store import tables as t

MINUTE = H / 60


class Died(BaseException):
    """The process was killed here."""


def shop(make_lab):
    lab = make_lab(store="backfill: bulk, mode: write")
    for number in range(1, 6):
        lab.shop.place(f"#{number}", lab.clock(), "PAID")
    lab.shop.outgoing.clear()  # it was connected later
    return lab


def account(lab):
    return lab.one(t.accounts, t.accounts.c.name == "shop")


def orders(lab) -> list[str]:
    return [row.number for row in lab.rows(t.orders)]


def test_a_sweep_whose_answer_is_being_made_waits_for_it_and_is_over_when_all_of_it_was_read(make_lab) -> None:
    lab = shop(make_lab)
    lab.shop.faults.left["bulk_busy"] = 1
    lab.work("poll")
    assert (account(lab).cursor, account(lab).next_sweep_at) == (None, lab.clock() + 5 * MINUTE)

    lab.later(5 / 60)
    began = account(lab).cursor
    assert began.startswith("bulk|gid://shopify/BulkOperation/")
    assert (account(lab).next_sweep_at, account(lab).claimed_until) == (lab.clock() + MINUTE, None)
    lab.work()
    assert lab.shop.calls["Operation"] == 0  # nobody looks before it is time

    lab.later(1 / 60)
    assert (account(lab).cursor, account(lab).synced_at) == (began, None)  # it was running still
    with structlog.testing.capture_logs() as logs:
        lab.later(1 / 60)
    assert orders(lab) == ["#1", "#2", "#3", "#4", "#5"]
    assert account(lab).synced_at == lab.clock()
    (done,) = (line for line in logs if line["event"] == "first_sync_done")
    assert done["limit"] == "orders of the last 60 days"  # the app has no right to read all
    assert (account(lab).sweep_from, account(lab).cursor) == (None, f"{began.split('|')[2]}|")
    assert lab.open_findings() == set()

    lab.shop.set("#3", displayFinancialStatus="REFUNDED")
    lab.shop.outgoing.clear()
    lab.later(1)
    assert [row.payment for row in lab.rows(t.orders) if row.number == "#3"] == ["refunded"]


def test_a_process_that_dies_anywhere_starts_no_second_operation_and_loses_no_order(make_lab, monkeypatch) -> None:
    lab = shop(make_lab)
    monkeypatch.setattr(bulk, "PAGE", 2)
    real, died = sweep.crash_at, []

    def die(name: str) -> None:
        if name == "sweep_before_commit" and len(died) < 30 and len(died) % 2 == 0:  # each commit once in vain
            died.append(name)
            raise Died
        died.append("")
        real(name)

    monkeypatch.setattr(sweep, "crash_at", die)
    for _ in range(20):
        try:
            lab.work("poll")
        except Died:
            lab.change(t.accounts.update().values(claimed_until=None))  # its lease is over
        lab.clock.move_to(lab.clock() + MINUTE)
        if account(lab).synced_at is not None:
            break
    lab.work()

    assert died.count("sweep_before_commit") == 4  # at the start, the wait, and two of three pages
    assert lab.shop.calls["Start"] == 1
    assert orders(lab) == ["#1", "#2", "#3", "#4", "#5"]


@pytest.mark.parametrize("how", ["fails", "is gone", "its result is gone"])
def test_an_operation_that_ends_without_a_result_costs_no_order(make_lab, how: str) -> None:
    lab = shop(make_lab)
    lab.work("poll")
    if how == "fails":
        lab.shop.faults.left["bulk_fails"] = 1
    elif how == "is gone":
        lab.shop.operations.clear()
    lab.later(1 / 60)
    if how == "its result is gone":
        for made in lab.shop.operations.values():
            made["url"] = "results/404.jsonl"
    for _ in range(24 if how == "fails" else 8):
        lab.later(1 / 60)

    assert orders(lab) == ["#1", "#2", "#3", "#4", "#5"]
    # one that ran out of time is asked for spans of days: the last 32 (of which it comes), and four longer ones before
    assert (lab.shop.calls["Start"], account(lab).synced_at is not None) == (6 if how == "fails" else 2, True)
