"""What comes twice, out of order, or at once, ends as if it had come once and in order."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from tests.lab import UPS, USPS, detail, shipped, tracker_body
from tracker.pipeline import decide
from tracker.pipeline.ingest import step as ingest
from tracker.store import tables as t


def test_F18_twenty_copies_and_fifty_at_once_make_one_row(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    outgoing = lab.easypost.event(USPS)
    before = len(lab.rows(t.inbox))
    lab.post(outgoing, times=20)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: lab.post(outgoing), range(50)))

    assert len(lab.rows(t.inbox)) == before + 1
    lab.work()
    assert lab.parcel(USPS).summary["scans"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_F19_any_order_any_copies_and_any_batching_end_the_same(make_lab, seed: int) -> None:
    lab = make_lab()
    chance = random.Random(seed)
    steps = [
        detail("pre_transit", "2026-11-01T00:00:00Z"), detail("in_transit", "2026-11-01T09:00:00Z"),
        detail("in_transit", "2026-11-01T09:00:00Z", message="twin", status_detail="arrived_at_facility"),
        detail("out_for_delivery", "2026-11-03T09:00:00Z"), detail("delivered", "2026-11-03T15:00:00Z"),
        detail("in_transit", "2026-11-03T16:00:00Z"),
    ]  # fmt: skip
    bodies = [tracker_body(USPS, *steps[: i + 1], updated_at=f"2026-11-0{i + 1}T00:00:00Z") for i in range(len(steps))]
    bodies = [
        orjson.dumps({"id": f"evt_{i}", "object": "Event", "result": orjson.loads(b)}) for i, b in enumerate(bodies)
    ]
    chance.shuffle(bodies)
    for body in bodies + [chance.choice(bodies) for _ in range(4)]:
        lab.post_raw("easypost", body)
        if chance.random() < 0.5:
            lab.work()
    lab.work()

    parcel = lab.parcel(USPS)
    assert (parcel.status, parcel.summary["scans"]) == ("delivered", 6)
    assert len(lab.rows(t.scans)) == 6


def test_a_poll_and_a_webhook_of_one_scan_make_one_scan(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    scan = lab.scan(lab.ups, UPS, "I", "021")
    lab.post(lab.ups.alert(UPS, scan))
    lab.later(7)

    (row,) = lab.rows(t.scans)
    assert row.confirmed_at is not None


def test_two_parcels_that_arrive_at_once_cannot_both_miss_delivered(make_lab) -> None:
    lab = shipped(make_lab, USPS, "9400111206206406261005")
    for number in (USPS, "9400111206206406261005"):
        lab.scan(lab.easypost, number, "delivered", "arrived_at_destination")
        lab.post(lab.easypost.event(number))
    with ThreadPoolExecutor(4) as pool:
        for step in (ingest.run, decide.run, ingest.run, decide.run):
            list(pool.map(lambda _, step=step: step(lab.ctx), range(4)))
    lab.work()

    assert lab.writes() == [("#1001", "DELIVERED")]
