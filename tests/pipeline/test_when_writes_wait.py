"""When a write waits: observing, a pause, its turn, a budget, a shop that is down."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from tests.lab import START, USPS, H, shipped, wanting
from tracker.pipeline import push
from tracker.pipeline.drain import STEPS
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.upkeep import maintenance


def test_a_new_store_observes_and_writes_nothing(make_lab) -> None:
    lab = shipped(make_lab, store="mode: observe")
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.later(7)

    assert lab.writes() == []
    assert [row.state for row in lab.rows(t.outbox)] == ["observed", "observed"]


def test_what_happened_before_the_store_was_connected_is_a_digest_and_no_write(make_lab) -> None:
    lab = make_lab()
    lab.order("#1001", USPS)
    lab.scan(lab.easypost, USPS, "delivery_attempted", "delivery_exception", hours=-20)
    lab.clock.move_to(START + H)
    lab.work()
    lab.later(7)

    assert lab.writes() == []
    finding = lab.one(t.findings)
    assert (finding.kind, finding.digest) == ("attempt_failed", True)
    assert maintenance.backfill(lab.ctx, "shop") == 1
    lab.work()
    assert lab.writes() == [("#1001", "ATTEMPTED_DELIVERY")]


def test_a_pause_stops_writes_and_what_was_overtaken_meanwhile_is_never_sent(make_lab) -> None:
    lab = shipped(make_lab)
    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(paused_at=START))
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.later(7)
    assert lab.writes() == []

    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(paused_at=None))
    lab.work()
    assert lab.writes() == [("#1001", "OUT_FOR_DELIVERY")]
    assert [row.state for row in lab.rows(t.outbox)] == ["superseded", "sent"]


def waiting(lab: Any, store: str, count: int) -> None:
    """Let so many orders of a store have a write each that is due."""
    with lab.daemon.store.write() as connection:
        due = database_now(connection) - H
        refs = [f"{store}-{i}" for i in range(count)]
        order = {
            "store": store, "status": "shipped", "raw_status": "", "payment": "paid", "raw_payment": "", "owner": "shop",
            "placed_at": START, "facts": {}, "version": 1, "read_at": START,
        }  # fmt: skip
        queries.put(connection, t.orders, [order | {"ref": ref, "number": ref} for ref in refs])
        write = {
            "kind": "order_status", "store": store, "action": {}, "state": "pending", "attempts": 0, "crashes": 0,
            "due_at": due, "rules": [], "created_at": START,
        }  # fmt: skip
        ids = connection.execute(sa.select(t.orders.c.id, t.orders.c.ref).where(t.orders.c.ref.in_(refs))).all()
        queries.put(connection, t.outbox, [write | {"key": row.ref, "order_id": row.id} for row in ids])


def test_stores_write_in_turn_so_a_long_backlog_of_one_holds_back_no_other(make_lab) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    waiting(lab, "shop", 35)
    waiting(lab, "kart", 1)
    turns = [[row.store for row in push._claim(lab.ctx)] for _ in range(6)]

    assert sorted(turns[:2], key=len) == [["kart"], ["shop"] * 10]
    assert turns[2:] == [["shop"] * 10, ["shop"] * 10, ["shop"] * 5, []]


@pytest.mark.parametrize(
    "held",
    [{"paused_at": START}, {"suspended_reason": "wrong key"}, {"blocked_until": datetime(2100, 1, 1, tzinfo=UTC)}],
)
def test_writes_of_a_store_that_is_held_back_take_nobodys_turn_and_ring_no_bell(make_lab, held: dict[str, Any]) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    shop = t.accounts.update().where(t.accounts.c.name == "shop")
    waiting(lab, "shop", 1)
    assert "push" in maintenance.due_queues(lab.ctx)
    lab.change(shop.values(**held))
    assert "push" not in maintenance.due_queues(lab.ctx)
    assert push._claim(lab.ctx) == []

    waiting(lab, "kart", 1)
    assert [row.store for row in push._claim(lab.ctx)] == ["kart"]
    assert "push" not in maintenance.due_queues(lab.ctx)  # kart's is held by who claimed it
    lab.change(shop.values(**dict.fromkeys(held)))
    assert [row.store for row in push._claim(lab.ctx)] == ["shop"]


def test_what_a_paused_store_would_write_is_not_looked_at_to_find_what_another_writes(make_lab) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    waiting(lab, "shop", 3000)
    waiting(lab, "kart", 1)
    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(paused_at=START))
    said: list[tuple[str, Any]] = []
    with lab.daemon.store.write() as connection:
        sa.event.listen(
            connection, "before_cursor_execute", lambda _c, _cursor, text, given, *_: said.append((text, given))
        )
        assert connection.execute(
            queries.in_turn(), {"now": database_now(connection), "business": START}
        ).scalars().all() == ["kart"]
        assert len(queries.claim(connection, t.outbox, 10, t.outbox.c.store == "kart")) == 1
        if not lab.daemon.store.sqlite:
            fetched = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'outbox'"
            assert connection.execute(sa.text(fetched)).scalar_one() < 20
            return
        walks = [(text, given) for text, given in said if text.startswith("SELECT") and "outbox" in text]
        assert len(walks) == 2
        for text, given in walks:
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given).all()
            assert any("outbox_turn (store=? AND due_at<?)" in step[-1] for step in steps), steps


def test_a_pause_between_claim_and_call_is_kept(make_lab, monkeypatch) -> None:
    lab = wanting(make_lab)
    monkeypatch.setattr(push.brakes, "in_force", lambda ctx, store: (True, {}))
    assert push.run(lab.ctx) == 1

    assert lab.writes() == []
    assert (lab.one(t.outbox).state, lab.one(t.outbox).crashes) == ("pending", 0)


def test_the_hourly_budget_of_writes_holds_and_says_so(make_lab) -> None:
    lab = shipped(make_lab, USPS, store="mode: write, writes_per_hour: 1")
    lab.order("#1002", "9400111206206406261005")
    lab.work()
    for number in (USPS, "9400111206206406261005"):
        lab.scan(lab.easypost, number, "in_transit", "departed_facility")
    lab.later(7)

    assert len(lab.writes()) == 1
    assert "writes_held" in lab.open_findings()
    lab.change(t.accounts.update().values(writes_reset_at=START))
    lab.work()
    assert len(lab.writes()) == 2
    assert "writes_held" not in lab.open_findings()


def test_writes_that_were_handed_back_take_nothing_from_the_hours_budget(make_lab) -> None:
    """A storm of a minute used up the 1,000 writes of an hour with 407 of them: the shop throttled the others."""
    numbers = [USPS, "9400111206206406261005", "9400111206206406261012"]
    lab = shipped(make_lab, USPS, store="mode: write, writes_per_hour: 3")
    for i, number in enumerate(numbers[1:], 2):
        lab.order(f"#100{i}", number)
    lab.work()
    for number in numbers:
        lab.scan(lab.easypost, number, "in_transit", "departed_facility")
    lab.clock.move_to(START + 7 * H)
    lab.work("poll", "ingest", "decide")
    for _ in range(2):
        lab.shop.faults.left["graphql_throttle"] = 1  # the first is told to wait, the others are handed back
        lab.work("push")
        assert lab.writes() == []
        lab.change(t.outbox.update().where(t.outbox.c.state == "pending").values(due_at=START))
        lab.rested()
    lab.work("push")

    assert len(lab.writes()) == 3
    assert lab.one(t.accounts, t.accounts.c.name == "shop").writes_left == 0


def test_a_budget_that_another_worker_used_up_between_claim_and_call_holds(make_lab, monkeypatch) -> None:
    lab = wanting(make_lab)
    still_fits = push._still_fits

    def meanwhile(*arguments: Any) -> bool:
        lab.change(t.accounts.update().values(writes_left=0))
        return still_fits(*arguments)

    monkeypatch.setattr(push, "_still_fits", meanwhile)
    lab.work("push")

    assert lab.writes() == []
    assert (lab.one(t.outbox).state, lab.one(t.outbox).error) == ("pending", "write budget")


def test_a_throttled_shop_rests_until_it_said(make_lab) -> None:
    lab = wanting(make_lab)
    lab.shop.faults.left["graphql_throttle"] = 1
    push.run(lab.ctx)

    state = lab.one(t.accounts, t.accounts.c.name == "shop")
    with lab.daemon.store.read() as connection:
        assert state.blocked_until > database_now(connection)
    assert push.run(lab.ctx) == 0
    assert lab.one(t.outbox).crashes == 0


def test_F23_a_shop_that_is_down_is_asked_once_a_batch_and_rests(make_lab) -> None:
    lab = make_lab()
    for i in range(6):
        number = f"94001000000000000001{i:02}"
        lab.order(f"#{i}", number)
        lab.scan(lab.easypost, number, "in_transit", "departed_facility")
    lab.work("ingest", "poll", "decide")
    while lab.shop.outgoing:
        lab.post(lab.shop.outgoing.pop(0))
    lab.work("ingest", "poll", "decide", "ingest", "decide")
    waiting = len(lab.rows(t.outbox, t.outbox.c.state == "pending"))
    assert waiting >= 6
    lab.shop.faults.left["error"] = 3  # one call, its three tries
    STEPS["push"](lab.ctx)

    assert lab.shop.faults.left["error"] == 0
    assert lab.one(t.accounts, t.accounts.c.name == "shop").blocked_until is not None
    assert len(lab.rows(t.outbox, t.outbox.c.state == "pending")) == waiting
    assert lab.writes() == []
