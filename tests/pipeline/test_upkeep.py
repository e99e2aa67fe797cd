"""What the clock alone does: silence expires, bodies are dropped, an outage of ours is found."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.lab import UPS, USPS, H, shipped
from tracker.store import tables as t
from tracker.support import away
from tracker.upkeep import maintenance


def test_thirty_days_of_silence_expire_the_tracking_and_not_the_status(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.later(4)
    for _ in range(32):
        lab.later(24)

    assert lab.parcel(USPS).status == "out_for_delivery"
    assert lab.one(t.watches).tracking_state == "expired"
    assert lab.one(t.watches).next_poll_at is None
    expired = [row for row in lab.rows(t.findings) if row.kind == "tracking_expired"]
    assert len(expired) == 1
    calls = lab.easypost.calls["track"]
    lab.later(24 * 5)
    assert lab.easypost.calls["track"] == calls


def test_bodies_are_dropped_after_their_time_and_proof_is_kept_longer(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination")
    lab.later(7)
    lab.clock.move_to(lab.clock() + timedelta(days=31))
    maintenance.prune(lab.ctx)

    kept = [row for row in lab.rows(t.inbox) if row.body is not None]
    assert kept
    assert all(row.kind == "poll" for row in kept)
    lab.clock.move_to(lab.clock() + timedelta(days=181))
    maintenance.prune(lab.ctx)
    maintenance.prune(lab.ctx)
    assert lab.rows(t.inbox) == []
    assert len(lab.rows(t.scans)) == 2


def test_more_payloads_than_one_transaction_takes_are_dropped_in_a_minute(make_lab) -> None:
    lab = shipped(make_lab)
    row = {"account": "easypost", "kind": "webhook", "state": "done", "size": 2, "body": b"{}", "headers": {}}
    times = {"due_at": lab.clock(), "received_at": lab.clock(), "attempts": 1, "crashes": 0, "quiet": False}
    many = [{**row, **times, "dedupe_key": str(n)} for n in range(2 * maintenance.AT_ONCE + 1)]
    lab.change(t.inbox.insert().values([*many, {**row, **times, "state": "dead", "dedupe_key": "x"}]))
    lab.clock.move_to(lab.clock() + timedelta(days=31))
    assert maintenance.prune(lab.ctx)["bodies"] >= len(many)
    lab.clock.move_to(lab.clock() + timedelta(days=60))
    assert maintenance.prune(lab.ctx)["rows"] >= len(many)
    assert [r.state for r in lab.rows(t.inbox)] == ["dead"]  # it can be read again


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_proves_a_delivery_is_found_by_its_index_and_not_by_reading_all_scans_for_each_body(make_lab) -> None:
    lab, plans = make_lab(), list[str]()

    @sa.event.listens_for(lab.daemon.store.engine, "before_cursor_execute")
    def _explain(_connection, cursor, statement, parameters, *_) -> None:
        if "FROM scans" in statement or "FROM shipments" in statement:
            plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall())

    maintenance.prune(lab.ctx)
    maintenance.run_monitors(lab.ctx)  # nor all parcels for those that no order names
    assert {"SCAN scans", "SCAN shipments"}.isdisjoint(plans)
    assert all(any(index in plan for plan in plans) for index in ("scans_proof", "shipments_unmatched"))


def test_the_scheduler_knows_what_is_due(make_lab) -> None:
    lab = make_lab()
    assert maintenance.due_queues(lab.ctx) == {"poll"}
    lab.work()
    assert maintenance.due_queues(lab.ctx) == set()
    lab.order("#1001", USPS)
    lab.post(lab.shop.outgoing.pop())
    assert "ingest" in maintenance.due_queues(lab.ctx)
    lab.work("ingest")
    assert "poll" in maintenance.due_queues(lab.ctx)
    lab.work("poll", "ingest")
    assert "decide" in maintenance.due_queues(lab.ctx)


def test_F30_an_outage_is_found_every_open_parcel_is_asked_and_the_gap_is_told(make_lab) -> None:
    lab = make_lab()
    lab.order("#1001", UPS, company="UPS")
    lab.order("#1002", USPS)
    lab.work()
    maintenance.heartbeat(lab.ctx, lab.clock())
    lab.clock.move_to(lab.clock() + 8 * H)  # nobody of ours ran: what carriers posted is lost
    lab.scan(lab.ups, UPS, "I", "005", hours=-5)
    lab.scan(lab.ups, UPS, "I", "012", hours=-3)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", hours=-2)
    lab.change(t.watches.update().values(next_poll_at=lab.clock() + 3 * H))  # a quiet cadence would wait longer
    maintenance.heartbeat(lab.ctx, lab.clock())

    assert "outage" in lab.open_findings()
    lab.work()
    assert {lab.parcel(UPS).status, lab.parcel(USPS).status} == {"in_transit"}
    maintenance.run_monitors(lab.ctx)
    assert "outage" not in lab.open_findings()
    (told,) = away.ours(lab.ctx)
    assert (told["state"], told["recovered"], told["asked"]) == ("caught up", 3, "2")
    assert {row["parcel"].split()[1] for row in away.recovered_scans(lab.ctx)} == {UPS, USPS}


def test_a_restart_of_a_minute_is_no_outage(make_lab) -> None:
    lab = make_lab()
    maintenance.heartbeat(lab.ctx, lab.clock())
    lab.clock.move_to(lab.clock() + 0.1 * H)
    maintenance.heartbeat(lab.ctx, lab.clock())

    assert lab.open_findings() == set()


def test_a_play_that_jumps_a_day_is_no_outage(make_lab) -> None:
    lab = make_lab()
    machine = lab.clock()
    maintenance.heartbeat(lab.ctx, machine)
    lab.clock.move_to(lab.clock() + 24 * H)
    maintenance.heartbeat(lab.ctx, machine + 0.02 * H)

    assert lab.open_findings() == set()
