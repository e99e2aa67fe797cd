"""What the clock alone does: silence expires, bodies are dropped, an outage of ours is found."""

from __future__ import annotations

from datetime import timedelta

from tests.lab import UPS, USPS, H, shipped
from tracker.pipeline import heal, ops
from tracker.store import tables as t


def test_thirty_days_of_silence_expire_the_tracking_and_not_the_status(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.later(4)
    for _ in range(32):
        lab.later(24)

    assert lab.parcel(USPS).status == "out_for_delivery"
    assert lab.one(t.trackings).tracking_state == "expired"
    assert lab.one(t.trackings).next_poll_at is None
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
    heal.prune(lab.world)

    kept = [row for row in lab.rows(t.inbox) if row.body is not None]
    assert kept
    assert all(row.kind == "poll" for row in kept)
    lab.clock.move_to(lab.clock() + timedelta(days=181))
    heal.prune(lab.world)
    heal.prune(lab.world)
    assert lab.rows(t.inbox) == []
    assert len(lab.rows(t.scans)) == 2


def test_the_scheduler_knows_what_is_due(make_lab) -> None:
    lab = make_lab()
    assert heal.due_queues(lab.world) == {"poll"}
    lab.work()
    assert heal.due_queues(lab.world) == set()
    lab.order("#1001", USPS)
    lab.post(lab.shop.outgoing.pop())
    assert "inbox" in heal.due_queues(lab.world)
    lab.work("inbox")
    assert "poll" in heal.due_queues(lab.world)
    lab.work("poll", "inbox")
    assert "reconcile" in heal.due_queues(lab.world)


def test_F30_an_outage_is_found_every_open_parcel_is_asked_and_the_gap_is_told(make_lab) -> None:
    lab = make_lab()
    lab.order("#1001", UPS, company="UPS")
    lab.order("#1002", USPS)
    lab.work()
    heal.beat(lab.world, lab.clock())
    lab.clock.move_to(lab.clock() + 8 * H)  # nobody of ours ran: what carriers posted is lost
    lab.scan(lab.ups, UPS, "I", "005", hours=-5)
    lab.scan(lab.ups, UPS, "I", "012", hours=-3)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", hours=-2)
    lab.change(t.trackings.update().values(next_poll_at=lab.clock() + 3 * H))  # a quiet cadence would wait longer
    heal.beat(lab.world, lab.clock())

    assert "outage" in lab.open_findings()
    lab.work()
    assert {lab.parcel(UPS).status, lab.parcel(USPS).status} == {"in_transit"}
    heal.look_around(lab.world)
    assert "outage" not in lab.open_findings()
    (told,) = ops.outages(lab.world)
    assert (told["state"], told["recovered"], told["asked"]) == ("caught up", 3, "2")
    assert {row["parcel"].split()[1] for row in ops.outages(lab.world, scans=True)} == {UPS, USPS}


def test_a_restart_of_a_minute_is_no_outage(make_lab) -> None:
    lab = make_lab()
    heal.beat(lab.world, lab.clock())
    lab.clock.move_to(lab.clock() + 0.1 * H)
    heal.beat(lab.world, lab.clock())

    assert lab.open_findings() == set()


def test_a_play_that_jumps_a_day_is_no_outage(make_lab) -> None:
    lab = make_lab()
    machine = lab.clock()
    heal.beat(lab.world, machine)
    lab.clock.move_to(lab.clock() + 24 * H)
    heal.beat(lab.world, machine + 0.02 * H)

    assert lab.open_findings() == set()
