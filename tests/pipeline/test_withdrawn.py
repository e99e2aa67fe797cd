"""A scan that a carrier tells no longer: when it stops counting, and what proves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import START, UPS, USPS, H, detail, shipped, tracker_body
from tracker.domain.facts import Report, Unread
from tracker.store import queries
from tracker.store import tables as t
from tracker.support import lists
from tracker.upkeep import replay


def test_a_scan_that_a_full_history_no_longer_tells_stops_counting_until_it_is_told_again(make_lab) -> None:
    lab = shipped(make_lab)
    first = lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    wrong = lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination", hours=1)
    lab.later(7)
    assert lab.parcel(USPS).status == "delivered"

    lab.easypost.history[USPS] = [first]
    lab.later(13)
    looked = lab.clock()
    assert lab.parcel(USPS).status == "delivered"  # one look is not enough; the next is due in an hour
    assert [row.missing_since for row in lab.rows(t.scans)] == [None, looked]
    assert lab.one(t.watches).next_poll_at == looked + H
    lab.later(1)
    assert lab.parcel(USPS).status == "in_transit"
    assert [row.withdrawn_at for row in lab.rows(t.scans)] == [None, looked + H]
    assert lab.parcel(USPS).closed_at is None
    lab.summaries_are_whole()

    lab.easypost.history[USPS] = [first, wrong]
    lab.later(5)
    assert lab.parcel(USPS).status == "delivered"
    assert [(row.missing_since, row.withdrawn_at) for row in lab.rows(t.scans)] == [(None, None)] * 2
    lab.summaries_are_whole()


def told_once(make_lab) -> tuple[Any, list[dict[str, Any]]]:
    """Have a parcel delivered, and look again 13 hours later: UPS does not tell of it any more."""
    lab = shipped(make_lab, UPS, company="UPS")
    history = [lab.scan(lab.ups, UPS, "I", "038"), lab.scan(lab.ups, UPS, "D", "011", hours=1)]
    lab.later(7)
    assert lab.parcel(UPS).status == "delivered"
    lab.ups.history[UPS] = history[:1]
    lab.later(13)
    assert {row.code for row in lab.rows(t.scans) if row.missing_since} == {"011"}
    return lab, history


def test_a_delivery_that_two_looks_do_not_hold_is_a_finding_until_a_person_says_that_he_knows(make_lab) -> None:
    lab, history = told_once(make_lab)
    looked = lab.clock()
    lab.later(1)

    (row,) = lab.rows(t.findings, t.findings.c.kind == "correction_after_delivered")
    assert (row.evidence["told"], row.evidence["told_at"], row.evidence["gone_since"]) == (
        "delivered", f"{START + H:%Y-%m-%d %H:%M}Z", f"{looked:%Y-%m-%d %H:%M}Z",
    )  # fmt: skip
    lab.ups.history[UPS] = list(history)
    lab.later(5)
    assert lab.parcel(UPS).status == "delivered"
    assert lab.parcel(UPS).summary["taken_back"] is None
    assert "correction_after_delivered" in lab.open_findings()  # no decision closes it

    lists.close(lab.ctx, [row.id], by="ada", reason="the customer has it")
    lab.change(t.orders.update().values(reconcile_at=lab.clock()))
    lab.work()
    assert "correction_after_delivered" not in lab.open_findings()
    lab.ups.history[UPS] = history[:1]  # gone once more: new evidence
    lab.later(36)
    lab.later(1)
    assert lab.parcel(UPS).status == "picked_up"
    assert "correction_after_delivered" in lab.open_findings()


def test_a_delivery_that_the_next_look_holds_again_was_never_away(make_lab) -> None:
    lab, history = told_once(make_lab)
    lab.ups.history[UPS] = history
    lab.later(1)
    assert [row.missing_since for row in lab.rows(t.scans)] == [None, None]

    lab.ups.history[UPS] = history[:1]
    lab.later(24)
    assert lab.parcel(UPS).status == "delivered"  # it counts from the beginning
    lab.later(1)
    assert lab.parcel(UPS).status == "picked_up"


@pytest.mark.parametrize("answer", ["empty", "not found", "cut", "failed", "partly read"])
def test_an_answer_that_is_no_full_history_withdraws_nothing(
    make_lab, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    lab, _ = told_once(make_lab)
    source = lab.ctx.config.accounts["ups"].source
    whole = source.normalize
    if answer == "empty":
        monkeypatch.setattr(source, "normalize", lambda payload: [Report("ups", UPS, (), complete=True)])
    elif answer == "not found":
        lab.ups.history[UPS] = []
    elif answer == "cut":
        lab.ups.history[UPS] = []
        lab.scan(lab.ups, UPS, "I", "021", hours=-9)
    elif answer == "failed":
        lab.ups.faults.left["error"] = 99
    else:
        unread = Unread("$.activity[0]", "has no time", UPS)
        monkeypatch.setattr(source, "normalize", lambda payload: [*whole(payload), unread])
    for _ in range(3):
        lab.rested()
        lab.later(1)

    assert lab.parcel(UPS).status == "delivered"
    assert lab.rows(t.scans, t.scans.c.withdrawn_at.isnot(None)) == []


def test_a_replayed_answer_of_before_brings_nothing_back(make_lab) -> None:
    lab, _ = told_once(make_lab)
    lab.later(1)
    assert lab.parcel(UPS).status == "picked_up"

    assert replay.replay(lab.ctx, account="ups", write=True) > 2
    lab.work("ingest", "decide")
    assert lab.parcel(UPS).status == "picked_up"
    lab.summaries_are_whole()


def test_a_delivery_that_another_account_still_tells_is_not_withdrawn(make_lab) -> None:
    lab, _ = told_once(make_lab)
    printed = detail("delivered", "2026-11-02T09:00:00Z")
    body = tracker_body(UPS, printed, carrier="UPS", updated_at="2026-11-02T09:00:00Z")
    lab.post_raw("easypost", body)
    lab.work()
    lab.later(1)
    lab.later(1)

    assert lab.parcel(UPS).status == "delivered"
    assert "correction_after_delivered" not in lab.open_findings()


def test_an_older_snapshot_withdraws_nothing(make_lab) -> None:
    lab = make_lab()
    one, two = detail("in_transit", "2026-11-01T00:00:00Z"), detail("out_for_delivery", "2026-11-02T00:00:00Z")
    lab.post_raw("easypost", tracker_body(USPS, one, two, updated_at="2026-11-02T00:00:00Z"))
    lab.work()
    lab.post_raw("easypost", tracker_body(USPS, one, updated_at="2026-11-01T00:00:00Z"))
    lab.work()

    assert lab.parcel(USPS).status == "out_for_delivery"


def test_what_was_told_while_a_poll_was_under_way_is_not_withdrawn_by_it(make_lab) -> None:
    lab = make_lab()
    one, two = detail("in_transit", "2026-11-01T00:00:00Z"), detail("out_for_delivery", "2026-11-02T00:00:00Z")
    lab.clock.move_to(START + H)
    lab.post_raw("easypost", tracker_body(USPS, one, two))
    lab.work()
    with lab.daemon.store.write() as connection:  # the answer to a question that was put before
        row = queries.payload_row("easypost", "poll", [tracker_body(USPS, one)], START, START)
        queries.store_payloads(connection, [row])
    lab.work()

    assert lab.parcel(USPS).status == "out_for_delivery"
