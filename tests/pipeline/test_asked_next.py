"""Who is asked next: each account and each store in its turn, urgent parcels first, within budgets; nobody waits for a stranger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.lab import START, H, Lab
from tests.pipeline.test_budgets import MINUTES, give
from tracker.domain.budget import Calls
from tracker.domain.facts import Parcel
from tracker.domain.timeline import summarize
from tracker.pipeline import budgets
from tracker.pipeline.poll import changed, due
from tracker.pipeline.poll import step as poll
from tracker.pipeline.poll.calls import Call
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.codec import SUMMARY, dump
from tracker.store.engine import database_now
from tracker.support.knowledge import knowledge
from tracker.upkeep import maintenance

DAY = timedelta(days=1)


def parcels(
    lab: Lab, account: str, count: int, *, store: str | None = "shop", urgent: bool = False, since: datetime = START
) -> list[int]:
    """Give an account parcels to be asked about, which are due since then; returns their watches."""
    with lab.ctx.store.write() as connection:
        known = connection.execute(sa.select(sa.func.count()).select_from(t.shipments)).scalar_one()
        made = connection.execute(
            t.shipments.insert().returning(t.shipments.c.id),
            [
                {"carrier": account, "number": f"N{known + i:06d}", "generation": 1, "status": "unknown",
                 "summary": dump(SUMMARY, summarize([])), "starts_at": START, "linked": True}
                for i in range(count)
            ],
        ).scalars()  # fmt: skip
        rows = [
            {"shipment_id": shipment, "account": account, "store": store, "urgent": urgent, "chosen": "test",
             "tracking_state": "active", "attempts": 0, "failures": 0, "next_poll_at": since}
            for shipment in made
        ]  # fmt: skip
        return list(connection.execute(t.watches.insert().returning(t.watches.c.id), rows).scalars())


def opened(lab: Lab, name: str) -> None:
    """Let an account have many calls at once: it answered often."""
    place = lab.ctx.places
    for _ in range(5):
        with place.reserving() as room:
            held = room.take("polls", name)
            assert held is not None
        place.free(held, ended=True)


def claimed(lab: Lab) -> list[Call]:
    """Claim a round and give its places back, as if each call were answered at once."""
    calls, _ = poll._claim(lab.ctx)
    for call in calls:
        assert call.place is not None
        lab.ctx.places.free(call.place, ended=True)
    return calls


def asked(lab: Lab) -> Counter[tuple[str, str | None]]:
    """Claim a round: how many parcels of each account and store are asked about."""
    return Counter((call.account.name, row.store) for call in claimed(lab) for row in call.rows)


@contextmanager
def said(lab: Lab) -> Iterator[list[str]]:
    """Give the statements that are said."""
    told: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        told.append(statement)

    sa.event.listen(lab.ctx.store.engine, "before_cursor_execute", listen)
    yield told
    sa.event.remove(lab.ctx.store.engine, "before_cursor_execute", listen)


def spend(lab: Lab, name: str) -> int:
    """Claim a round and charge its calls, each in its place; returns how many there were."""
    calls, _ = poll._claim(lab.ctx)
    for call in calls:
        assert call.place is not None
        lab.ctx.places.start(call.place, lambda: budgets.charge(lab.ctx, name)).result()
    return len(calls)


def watches(lab: Lab, name: str) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in lab.rows(t.watches, t.watches.c.account == name)]


def test_3000_overdue_parcels_of_a_spent_account_hold_up_nobody_and_stay_as_they_are(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    parcels(lab, "dhl", 3000)
    parcels(lab, "ups", 1, since=START + 5 * MINUTES)
    give(lab.ctx, "dhl", 10)
    for _ in range(10):
        budgets.charge(lab.ctx, "dhl")
    lab.clock.move_to(START + 10 * MINUTES)
    before = watches(lab, "dhl")

    with said(lab) as told:
        assert asked(lab) == {("ups", "shop"): 1}
    assert watches(lab, "dhl") == before
    assert sum("UPDATE watches" in one for one in told) == 1
    assert asked(lab) == {}
    assert "poll" not in maintenance.due_queues(lab.ctx)
    assert maintenance.next_business_time(lab.ctx) == START + 61 * MINUTES
    lab.clock.move_to(START + 61 * MINUTES)
    assert set(asked(lab)) == {("dhl", "shop")}


@pytest.mark.parametrize(
    "why",
    [
        {"suspended_reason": "401"},
        {"paused_at": START},
        {"rests_until": START + H},
        {"blocked_until": START + 99999 * DAY},
    ],
)
def test_an_account_that_is_suspended_or_rests_is_not_claimed_and_nobody_is_woken_for_it(
    make_lab, why: dict[str, Any]
) -> None:
    lab: Lab = make_lab()
    lab.work()
    parcels(lab, "dhl", 3)
    parcels(lab, "ups", 2)
    lab.change(t.accounts.update().where(t.accounts.c.name == "dhl").values(**why))
    before = watches(lab, "dhl")

    assert set(asked(lab)) == {("ups", "shop")}
    claimed(lab)
    assert watches(lab, "dhl") == before
    assert "poll" not in maintenance.due_queues(lab.ctx)


def test_one_parcel_of_a_quiet_store_is_asked_about_in_the_first_round(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    opened(lab, "ups")
    parcels(lab, "ups", 500, store="big", since=START - H)
    parcels(lab, "ups", 300, store=None, since=START - H)
    parcels(lab, "ups", 1, store="quiet")

    got = asked(lab)
    assert got["ups", "quiet"] == 1
    assert abs(got["ups", "big"] - got["ups", None]) <= 1
    assert got["ups", "big"] >= 5


def test_within_a_store_the_oldest_are_first(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    opened(lab, "ups")
    young = parcels(lab, "ups", 30)
    old = parcels(lab, "ups", 3, since=START - H)
    other = parcels(lab, "ups", 30, store="other")

    ids = [row.id for call in claimed(lab) for row in call.rows]
    assert set(old) < set(ids)
    mine = [i for i in ids if i not in other]
    assert sorted(set(mine) - set(old)) == young[: len(mine) - 3]


def test_what_is_urgent_goes_first_and_gets_four_fifths_while_others_wait(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    opened(lab, "ups")
    urgent = set(parcels(lab, "ups", 300, urgent=True))
    parcels(lab, "ups", 300, since=START - DAY)

    ids = [row.id for _ in range(10) for call in claimed(lab) for row in call.rows]
    assert len(ids) >= 100
    assert len(urgent & set(ids)) == pytest.approx(len(ids) * 0.8, abs=2)


def test_accounts_have_turns_and_none_of_many_waits_longer_than_a_round_of_all(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    for name in ("ups", "dhl", "easypost"):
        give(lab.ctx, name, 100_000)
        parcels(lab, name, 40 if name == "dhl" else 2)
    got = [Counter(account for account, _ in asked(lab).elements()) for _ in range(2)]

    assert all(one["ups"] == one["easypost"] == 1 for one in got)


def test_registrations_and_polls_of_an_account_have_turns(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    opened(lab, "easypost")
    ids = parcels(lab, "easypost", 100)
    lab.change(t.watches.update().where(t.watches.c.id.in_(ids[:60])).values(register_at=START, next_poll_at=START + H))

    kinds = Counter(call.kind for call in claimed(lab))
    assert abs(kinds["poll"] - kinds["registration"]) <= 2
    assert kinds["poll"] >= 5


def test_urgent_parcels_go_before_registrations(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    opened(lab, "easypost")
    ids = parcels(lab, "easypost", 200, urgent=True)
    lab.change(
        t.watches.update().where(t.watches.c.id.in_(ids[:100])).values(register_at=START, next_poll_at=START + H)
    )

    kinds = Counter(call.kind for _ in range(4) for call in claimed(lab))
    assert 0.6 <= kinds["poll"] / (kinds["poll"] + kinds["registration"]) <= 0.8


def test_the_one_registration_of_a_quiet_store_does_not_wait_for_those_of_another(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    parcels(lab, "easypost", 60, store="big", since=START - H)
    parcels(lab, "easypost", 1, store="quiet")
    lab.change(t.watches.update().values(register_at=t.watches.c.next_poll_at, next_poll_at=None))

    found = [row.store for _ in range(2) for call in claimed(lab) for row in call.rows]
    assert "quiet" in found


def test_5000_changed_orders_of_one_store_do_not_hold_up_the_one_of_another(make_lab) -> None:
    lab: Lab = make_lab(rest="{preset: kingston-courier}")
    lab.work()
    with lab.ctx.store.write() as connection:
        now = database_now(connection)
        queries.note_changes(connection, "shop", [str(i) for i in range(5000)], now - H)
        queries.note_changes(connection, "kart", ["7"], now)
    calls = claimed(lab)

    told = Counter(call.account.name for call in calls)
    assert told["kart"] == 1
    assert told["shop"] >= 1
    assert sum(len(call.rows) for call in calls) <= 1 + changed.REFS_A_CALL * changed.CALLS_AT_ONCE
    assert all(call.rows[0].ref == "0" for call in calls[:1] if call.account.name == "shop")


def test_rereads_of_a_store_whose_budget_is_spent_wait_as_they_are(make_lab) -> None:
    lab: Lab = make_lab(rest="{preset: kingston-courier}")
    lab.work()
    give(lab.ctx, "shop", 4)
    for _ in range(4):
        budgets.charge(lab.ctx, "shop")
    with lab.ctx.store.write() as connection:
        now = database_now(connection)
        queries.note_changes(connection, "shop", ["1", "2"], now - H)
        queries.note_changes(connection, "kart", ["7"], now)
    before = lab.rows(t.change_notices, t.change_notices.c.account == "shop")

    assert {call.account.name for call in claimed(lab)} == {"kart"}
    assert lab.rows(t.change_notices, t.change_notices.c.account == "shop") == before
    lab.clock.move_to(START + 2 * H)
    assert "shop" in {call.account.name for call in claimed(lab)}


def test_some_of_a_small_budget_is_kept_for_parcels_that_go_out_for_delivery(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    opened(lab, "ups")
    give(lab.ctx, "ups", 40, DAY)
    parcels(lab, "ups", 100)
    while spend(lab, "ups"):
        """What the budget gives to parcels that are not urgent is used up."""
    given = budgets.calls(lab.ctx.config.accounts["ups"], lab.one(t.accounts, t.accounts.c.name == "ups").spent, START)

    assert given is not None
    assert given.left == 20
    assert "poll" not in maintenance.due_queues(lab.ctx)
    lab.clock.move_to(START + H)
    gap = next(gap for gap in knowledge(lab.ctx).gaps if gap.what == "parcels_overdue")
    assert gap.why == "the account's budget is nearly spent, and the rest kept for urgent parcels"
    assert (gap.count, gap.since) == (100, START)
    assert maintenance.next_business_time(lab.ctx) > START + 16 * H
    parcels(lab, "ups", 1, urgent=True)
    assert "poll" in maintenance.due_queues(lab.ctx)
    assert [row.urgent for call in claimed(lab) for row in call.rows] == [True]


def test_no_parcel_of_300_waits_over_28_hours_at_a_fifth_of_60_calls_an_hour_although_urgent_ones_are_always_due(
    make_lab,
) -> None:
    lab: Lab = make_lab()
    lab.work()
    opened(lab, "ups")
    give(lab.ctx, "ups", 60)
    ordinary = {i for store in ("one", "two") for i in parcels(lab, "ups", 150, store=store)}
    for store in ("one", "two"):
        parcels(lab, "ups", 60, store=store, urgent=True)
    here, account = t.accounts.c.name == "ups", lab.ctx.config.accounts["ups"]
    first: dict[int, datetime] = {}
    log: list[datetime] = []
    spent = None
    while lab.clock() < START + 27.5 * H and len(first) < 300:
        calls = claimed(lab)
        ids = [row.id for call in calls for row in call.rows]
        for i in ordinary & set(ids):
            first.setdefault(i, lab.clock())
        log += [lab.clock()] * len(calls)
        for call in calls:
            spent = Calls(60, H, spent, lab.clock()).take(urgent=call.place is None or call.place.urgent)
        with lab.ctx.store.write() as connection:
            again = sa.case((t.watches.c.urgent, lab.clock() + 30 * MINUTES), else_=lab.clock() + 4 * H)
            mine = queries.among(connection, t.watches.c.id, ids)
            connection.execute(t.watches.update().where(mine).values(next_poll_at=again, claimed_until=None))
            connection.execute(t.accounts.update().where(here).values(spent=spent))
        given = budgets.calls(account, spent, lab.clock())
        assert given is not None
        lab.clock.move_to(given.free_at())

    assert len(first) == 300
    assert all(sum(at - one < H for at in log[i : i + 61]) <= 60 for i, one in enumerate(log))


def test_one_due_parcel_of_one_account_costs_no_more_statements_than_these(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    parcels(lab, "ups", 1)
    with said(lab) as told:
        claimed(lab)
    spoken = [one for one in told if not one.startswith(("SET LOCAL", "RESET", "BEGIN"))]

    assert len(spoken) == 5, spoken  # the time, who waits, which it is, what is known of it, the claim
    with said(lab) as told:
        claimed(lab)
    assert len([one for one in told if "SELECT" in one]) == 2  # and where nothing is due no transaction that writes


def test_how_many_wait_is_told_of_the_accounts_that_may_be_asked_only(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    parcels(lab, "ups", 20)
    with lab.ctx.store.read() as connection:
        ready, held = due.look(lab.ctx, connection, database_now(connection), lab.clock())

    assert (set(ready), held) == ({"ups"}, {})
    assert (ready["ups"].row.ordinary, ready["ups"].row.urgent, ready["ups"].left) == (queries.FEW, 0, due.UNBOUNDED)


def test_who_waits_is_asked_of_indexes_and_walks_over_nothing_that_is_due(make_lab) -> None:
    lab: Lab = make_lab()
    for store in ("shop", "other", "third"):
        parcels(lab, "ups", 400, store=store)
        parcels(lab, "ups", 20, store=store, urgent=True)
    lab.change(t.watches.update().values(register_at=START))
    if not lab.ctx.store.sqlite:
        lab.change(sa.text("ANALYZE"))
    column, here = t.watches.c.next_poll_at, {"account": "ups", "store": "shop", "urgent": False, "most": 9}
    asked_of = {
        queries.accounts_that_wait(): ("watches_poll", "watches_register", "change_notices_due"),
        queries.stores_that_wait(column): ("watches_poll_turn",),
        queries.stores_that_wait(t.watches.c.register_at): ("watches_register_turn",),
        queries.oldest_watches(True, column, store=True): ("watches_poll_turn",),
        queries.oldest_watches(True, column, store=False): ("watches_poll_turn",),
    }
    explain = "EXPLAIN QUERY PLAN" if lab.ctx.store.sqlite else "EXPLAIN"
    with lab.ctx.store.read() as connection:
        if not lab.ctx.store.sqlite:
            for name in ("enable_seqscan", "enable_bitmapscan"):  # of a small table either is as cheap
                connection.exec_driver_sql(f"SET LOCAL {name} = off")
        for statement, indexes in asked_of.items():
            given = {"now": START, "business": START, **here}
            known = {k: v for k, v in given.items() if k in statement.compile().params}
            text = str(
                statement.params(**known).compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
            )
            plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {text}".replace("%", "%%")))
            assert all(f"{index} " in plan or f"{index}\n" in plan for index in indexes), plan
            assert not any(
                f"{words} {table}" in plan
                for words in ("SCAN", "Seq Scan on")
                for table in ("watches", "change_notices")
            )
            assert statement is not queries.oldest_watches(True, column, store=True) or "Sort" not in plan


def test_who_is_asked_about_a_parcel_is_told_when_its_newest_scan_was(make_lab, monkeypatch) -> None:
    lab: Lab = make_lab()
    lab.work()
    opened(lab, "dhl")
    given: list[Parcel] = []
    monkeypatch.setattr(
        type(lab.ctx.config.accounts["dhl"].carrier),
        "fetch",
        lambda self, client, query: given.extend(query.parcels) or (),
    )
    parcels(lab, "dhl", 2)
    with lab.ctx.store.write() as connection:
        newest = t.shipments.update().where(t.shipments.c.number == "N000000").values(last_scan_at=START - H)
        connection.execute(newest)

    for call in claimed(lab):
        call.ask()

    assert {one.number: one.last_scan_at for one in given} == {"N000000": START - H, "N000001": None}
