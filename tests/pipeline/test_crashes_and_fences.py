"""A claim ends with its work, its time or its process; whoever wakes up late changes nothing."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from tests.lab import START, USPS, detail, shipped, tracker_body
from tracker.pipeline.drain import drain
from tracker.pipeline.ingest import step as ingest
from tracker.store import queries
from tracker.store import tables as t


def test_a_payload_whose_facts_cannot_be_stored_is_tried_again_and_ends_dead(make_lab, monkeypatch) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    poison, fine = lab.easypost.event(USPS), lab.easypost.event(USPS)
    lab.post(poison)
    lab.post(fine)
    commit = ingest._commit

    def broken(ctx: Any, parsed: Any) -> None:
        if any(p.row.dedupe_key == orjson.loads(poison.body)["id"] for p in parsed):
            raise RuntimeError("poison")
        commit(ctx, parsed)

    monkeypatch.setattr(ingest, "_commit", broken)
    for _ in range(10):
        lab.work("ingest")
        lab.change(t.inbox.update().where(t.inbox.c.state == "pending").values(due_at=START, claimed_until=None))
    lab.work("ingest")

    row = lab.one(t.inbox, t.inbox.c.dedupe_key == orjson.loads(poison.body)["id"])
    assert row.state == "dead"
    assert row.reason.startswith("crashed too often (it said: RuntimeError at tracker/pipeline/ingest/step.py:")
    assert lab.parcel(USPS).status == "in_transit"


def test_a_row_that_crashed_is_claimed_alone(make_lab) -> None:
    lab = make_lab()
    for i in range(4):
        lab.post_raw("easypost", tracker_body(USPS, updated_at=f"2026-11-0{i + 1}T00:00:00Z"))
    ids = [row.id for row in lab.rows(t.inbox)]
    lab.change(t.inbox.update().where(t.inbox.c.id == ids[2]).values(crashes=1))

    def claim() -> list[int]:
        with lab.daemon.store.write() as connection:
            return [row.id for row in queries.claim(connection, t.inbox, 50)]

    assert [claim(), claim(), claim(), claim()] == [ids[:2], ids[2:3], ids[3:], []]


def test_a_claim_that_ended_is_fenced(make_lab) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS, detail("in_transit", "2026-11-01T00:00:00Z")))
    with lab.daemon.store.write() as connection:
        frozen = [ingest.parse(lab.ctx, row) for row in queries.claim(connection, t.inbox, 50)]
    lab.change(t.inbox.update().values(claimed_until=START))  # the lease is over: another worker takes it
    lab.work("ingest")
    done = lab.one(t.inbox)
    ingest._commit(lab.ctx, frozen)  # the frozen worker wakes up

    assert lab.one(t.inbox) == done
    assert len(lab.rows(t.scans)) == 1


def test_a_large_batch_is_cut_at_four_mebibytes(make_lab) -> None:
    lab = make_lab()
    for i in range(3):
        lab.post_raw("easypost", tracker_body(USPS, padding="x" * (2 << 20), updated_at=f"2026-11-0{i + 1}T00:00:00Z"))

    with lab.daemon.store.write() as connection:
        assert len(queries.claim(connection, t.inbox, 50)) == 1


def test_an_account_that_left_the_configuration_leaves_its_payloads_dead_and_told(make_lab) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS))
    lab.change(t.inbox.update().values(account="gone"))
    lab.work("ingest")

    assert "no account 'gone'" in lab.one(t.inbox).reason


def test_a_body_past_its_retention_cannot_be_read_again(make_lab) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS))
    lab.change(t.inbox.update().values(body=None))
    lab.work("ingest")

    assert "retention" in lab.one(t.inbox).reason


def test_a_drain_stops_between_batches_and_rings_again_when_work_is_left(make_lab, monkeypatch) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS))

    assert drain(lab.ctx, "ingest", lambda: True) == 0
    assert drain(lab.ctx, "ingest", lambda: False) == 1
    monkeypatch.setitem(__import__("tracker.pipeline.drain", fromlist=["STEPS"]).STEPS, "ingest", lambda ctx: 1)
    lab.notifier.notified.clear()
    assert drain(lab.ctx, "ingest", lambda: False) == 20
    assert lab.notifier.notified == ["ingest"]


def test_a_claim_is_prolonged_while_it_is_worked_and_not_once_somebody_else_has_it(make_lab) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS))
    with lab.daemon.store.write() as connection:
        (row,) = queries.claim(connection, t.inbox, 10)
    with lab.ctx.leases.holding(t.inbox, {row.id: row.attempts}):
        before = lab.one(t.inbox).claimed_until
        assert lab.ctx.leases.renew(lab.daemon.store) == 1
        assert lab.one(t.inbox).claimed_until >= before
        lab.change(t.inbox.update().values(attempts=row.attempts + 1))  # another process claimed it meanwhile
        assert lab.ctx.leases.renew(lab.daemon.store) == 0
    assert lab.ctx.leases.renew(lab.daemon.store) == 0


def test_a_poll_and_a_write_hold_what_they_work_on(make_lab) -> None:
    lab = shipped(make_lab)
    seen: dict[str, int] = {}
    client = lab.ctx.client

    def asked(account: Any) -> Any:
        seen[account.name] = lab.ctx.leases.renew(lab.daemon.store)
        return client(account)

    lab.ctx.client = asked
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)

    assert lab.writes()
    assert seen["easypost"] >= 1 and seen["shop"] >= 1


def test_every_index_that_a_claim_needs_is_there(make_lab) -> None:
    lab = make_lab()
    with lab.daemon.store.read() as connection:
        names = {
            i["name"]
            for table in ("inbox", "outbox", "orders", "watches", "findings")
            for i in sa.inspect(connection).get_indexes(table)
        }

    assert {"inbox_due", "outbox_turn", "outbox_key", "orders_due", "watches_poll", "findings_open"} <= names
