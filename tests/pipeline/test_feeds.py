"""Feeds of carriers: read beside polls, which they spare while they are whole, and which take over while they are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.fed import NOBODYS, OTHER, PARCEL, Fed
from tests.lab import H, Lab
from tracker.domain.facts import Since
from tracker.pipeline import budgets, feeds
from tracker.pipeline.poll import due, sweep
from tracker.sandbox.base import FaultyResponse
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.support import lists, planned
from tracker.support.explain import overview
from tracker.support.knowledge import knowledge
from tracker.upkeep import maintenance

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # the stricter of both
one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # what they ask is the same of both


@pytest.fixture
def fed(make_lab: Callable[..., Lab], tmp_path: Path) -> Iterator[Fed]:
    with ExitStack() as stack:
        yield Fed(make_lab, tmp_path, stack)


# a feed that is whole


@one_database
def test_a_parcel_that_the_feed_tells_of_is_looked_at_once_a_day_and_what_happens_is_known_in_minutes(fed) -> None:
    lab = fed.begin()
    assert lab.parcel(PARCEL).status == "picked_up"
    before = fed.polls()
    fed.hours(6)
    assert fed.polls() - before <= 1  # every 4 hours without a feed; the last look may have been made without it

    fed.scan(PARCEL, "12", "J02")
    fed.hours(1)

    assert lab.parcel(PARCEL).status == "available_for_pickup"
    assert fed.watch().next_poll_at - lab.clock() > 12 * H
    assert ("#1001", "READY_FOR_PICKUP") in lab.writes()


@one_database
def test_a_status_that_its_events_must_explain_has_its_parcel_asked_about_at_once(fed) -> None:
    lab = fed.begin()
    fed.hours(5)
    before = fed.polls()

    fed.scan(PARCEL, "11", "I07", text="Return shipment sorted, will be transferred to sender")
    fed.hours(1)

    assert fed.polls() == before + 1
    assert lab.parcel(PARCEL).status == "returning"
    assert "DELIVERED" not in {event for _, event in lab.writes()}
    fed.hours(6)
    assert fed.polls() == before + 1


@on_postgresql
def test_where_an_answer_does_not_show_yet_what_the_feed_told_it_is_asked_again_by_the_ordinary_cadence(fed) -> None:
    lab = fed.begin()
    fed.hours(5)
    fed.scan(PARCEL, "11", "I01")
    fed.postnl.hides = "I01"  # in answers about the number
    fed.hours(1)
    before = fed.polls()
    assert lab.parcel(PARCEL).status == "picked_up"
    assert fed.watch().next_poll_at - lab.clock() <= 4.4 * H  # not a day later
    fed.hours(5)
    assert fed.polls() > before
    assert fed.watch().next_poll_at - lab.clock() <= 4.4 * H  # the same answer again explains as little

    fed.postnl.hides = ""
    fed.hours(5)
    assert lab.parcel(PARCEL).status == "delivered"


@one_database
def test_a_parcel_that_the_feed_never_told_of_is_asked_about_as_ever(fed) -> None:
    lab = fed.lab
    lab.work()
    lab.order("#1001", OTHER, company="PostNL")  # of another customer of the carrier
    fed.scan(OTHER, "2", "B01", hours=-30)
    lab.work()
    fed.hours(12)

    assert feeds.is_whole(lab.ctx.config.accounts["postnl"], fed.account().swept_at, lab.clock())
    assert fed.watch(OTHER).fed_at is None
    assert fed.polls() >= 3  # every four hours, whether its answer is the same or not


@one_database
def test_news_of_unknown_numbers_are_kept_and_are_no_findings_until_an_order_names_them(fed) -> None:
    lab = fed.lab
    lab.work()
    for i in range(20):
        fed.scan(f"3SDEVC80000000{i:02}", "2", "B01")
    fed.scan(NOBODYS, "2", "B01")
    before = fed.polls()
    fed.hours(1)
    assert lab.parcel(NOBODYS).status == "picked_up"
    assert fed.polls() == before  # nobody asks about what is nobody's
    lab.clock.move_to(lab.clock() + 4 * 24 * H)
    maintenance.run_monitors(lab.ctx)
    assert "parcel_without_order" not in lab.open_findings()

    lab.order("#1001", NOBODYS, company="PostNL")
    lab.work()
    assert fed.polls() == before + 1  # the first look at it is a poll
    assert len(lab.rows(t.shipments, t.shipments.c.number == NOBODYS)) == 1

    lab.clock.move_to(lab.clock() + 46 * 24 * H)
    maintenance.prune(lab.ctx)
    assert {row.number for row in lab.rows(t.shipments)} == {NOBODYS}


@one_database
def test_pages_that_say_the_same_again_are_stored_once(fed) -> None:
    lab = fed.begin()
    before = len(lab.rows(t.inbox, t.inbox.c.kind == "sweep"))
    fed.hours(1)

    assert len(lab.rows(t.inbox, t.inbox.c.kind == "sweep")) <= before + 1  # the empty page, once
    assert len(lab.rows(t.scans, t.scans.c.space == "feed")) == 2


@one_database
def test_events_of_the_second_at_which_two_readings_meet_are_read_once_and_not_lost(fed) -> None:
    lab = fed.begin()
    cursor = datetime.fromisoformat(fed.account().cursor)
    fed.scan(PARCEL, "3", "B04", at=cursor, local=True)
    fed.hours(1)

    assert [row.code for row in lab.rows(t.scans, t.scans.c.space == "feed", t.scans.c.code == "3")] == ["3"]


# what is told of it


@on_postgresql
def test_plan_show_freshness_and_knowledge_say_what_is_true_of_a_feed(fed) -> None:
    lab = fed.begin()
    fed.hours(5)
    ctx = lab.ctx

    (told,) = [row for row in planned.by_account(ctx) if row["account"] == "postnl"]
    assert told["feed"] == f"whole as of {lab.clock():%Y-%m-%d %H:%M}Z, next {lab.clock() + H:%H:%M}Z"
    assert 24 < told["needs"] < 26  # the feed every hour, and a look a day
    (parcel,) = planned.of_account(ctx, "postnl", 10)
    assert parcel["why"] == "picked_up, and a feed tells what becomes of it: every 24 h"
    assert parcel["next"] == fed.watch().next_poll_at
    (fresh,) = [row for row in lists.freshness(ctx) if row["account"] == "postnl"]
    assert (fresh["within_1h"], fresh["oldest_check"]) == (100.0, lab.clock())
    assert overview(ctx, PARCEL)["orders"][0]["known"]["as_of"] == lab.clock()
    assert knowledge(ctx).as_of == lab.clock()

    fed.postnl.faults.left["error"] = 10**6
    fed.hours(4)
    since = fed.account().swept_at
    assert lab.clock() - since > 3 * H
    (told,) = [row for row in planned.by_account(ctx) if row["account"] == "postnl"]
    assert told["feed"] == f"a gap since {since:%Y-%m-%d %H:%M}Z"
    assert lists.freshness(ctx)[-1]["oldest_check"] < since


# a gap


def test_a_feed_that_is_down_has_its_parcels_asked_about_until_it_is_whole_again_and_says_so(fed) -> None:
    lab = fed.begin(PARCEL, OTHER)
    fed.hours(3)
    before, since = fed.polls(), fed.account().swept_at
    fed.postnl.faults.told.append(_down())
    fed.hours(8)

    found = lab.one(t.findings, t.findings.c.kind == "feed_gap")
    assert found.subject == "account/postnl/feed"
    assert found.evidence["from"] == f"{since:%Y-%m-%d %H:%M}Z"
    assert found.closed_at is None
    assert fed.polls() - before >= 2  # every four hours each
    assert fed.account().cursor is not None
    fed.scan(PARCEL, "7", "J05")
    fed.hours(5)
    assert lab.parcel(PARCEL).status == "out_for_delivery"

    fed.postnl.faults.told.clear()
    lab.rested()
    fed.hours(6)
    assert lab.one(t.findings, t.findings.c.kind == "feed_gap").closed_at is not None
    spared = fed.polls()
    fed.hours(8)
    assert fed.polls() == spared


@one_database
def test_what_the_feed_told_while_it_was_down_is_read_once_it_answers(fed) -> None:
    lab = fed.begin()
    fed.hours(1)
    fed.postnl.faults.told.append(_down())
    fed.hours(1)
    fed.scan(NOBODYS, "2", "B01")
    fed.hours(3)
    fed.postnl.faults.told.clear()
    lab.rested()
    fed.hours(3)

    assert lab.parcel(NOBODYS).status == "picked_up"


@one_database
def test_after_an_outage_of_ours_it_catches_up_by_itself(fed) -> None:
    lab = fed.begin()
    fed.hours(5)
    before = fed.polls()
    fed.scan(PARCEL, "12", "J02", hours=2)
    lab.clock.move_to(lab.clock() + 5 * H)
    lab.work()
    maintenance.run_monitors(lab.ctx)

    assert lab.parcel(PARCEL).status == "available_for_pickup"
    assert fed.polls() == before
    assert "feed_gap" not in lab.open_findings()


def test_after_an_outage_longer_than_the_feed_tells_of_each_parcel_is_asked_about(fed) -> None:
    lab = fed.begin()
    fed.hours(5)
    before = fed.polls()
    lab.change(t.watches.update().values(next_poll_at=lab.clock() + 100 * H))  # as if it were looked at seldom
    fed.scan(PARCEL, "12", "J02", hours=1)
    lab.clock.move_to(lab.clock() + 60 * H)
    lab.work()

    found = lab.one(t.findings, t.findings.c.kind == "feed_gap")
    assert "it was not read for longer than the 2d that it tells of" in found.evidence["why"]
    assert fed.polls() > before
    assert lab.parcel(PARCEL).status == "available_for_pickup"
    maintenance.run_monitors(lab.ctx)
    assert "feed_gap" not in lab.open_findings()


@one_database
def test_an_error_body_with_a_good_status_moves_no_cursor_and_is_a_gap(fed) -> None:
    lab = fed.begin()
    fed.hours(1)
    before = fed.account()
    for body in ({"message": "soon", "http_status_code": 429}, {"fault": {"faultstring": "x"}}, {"soon": True}, None):
        fed.postnl.faults.told.append(_down(status=200, body=body))
        fed.hours(4)
        fed.postnl.faults.told.clear()
        assert fed.account().cursor == before.cursor, body
        assert "feed_gap" in lab.open_findings()
    lab.rested()
    fed.hours(4)

    assert "feed_gap" not in lab.open_findings()
    assert [row.state for row in lab.rows(t.inbox, t.inbox.c.kind == "sweep", t.inbox.c.state == "dead")] == []


@one_database
def test_one_odd_shipment_costs_itself_only_and_is_asked_about(fed) -> None:
    lab = fed.begin(PARCEL, OTHER)
    fed.hours(5)
    before = fed.polls()
    real = fed.postnl.newest_first
    fed.scan(PARCEL, "3", "B04", text="odd")
    fed.scan(OTHER, "12", "J02")
    fed.postnl.newest_first = lambda number: [
        {**scan, "type": ["odd"]} if scan["text"] == "odd" else scan for scan in real(number)
    ]
    fed.hours(1)

    assert lab.parcel(OTHER).status == "available_for_pickup"
    assert fed.polls() == before + 1
    assert lab.rows(t.scans, t.scans.c.code == "B04")
    assert fed.account().swept_at == lab.clock()


@one_database
def test_a_feed_that_repeats_itself_ends(fed, monkeypatch) -> None:
    lab = fed.begin()
    source = lab.ctx.config.accounts["postnl"].source
    real = source.fetch

    def turning(client: Any, query: Any) -> Any:
        if not isinstance(query, Since):
            return real(client, query)
        pages = list(real(client, query))
        return iter([pages[0]] * 10)

    monkeypatch.setattr(source, "fetch", turning)
    fed.scan(PARCEL, "12", "J02")
    fed.hours(1)

    told = lab.one(t.findings, t.findings.c.kind == "sweep_ended")
    assert (told.subject, told.evidence["why"]) == ("account/postnl", "its cursor repeats")
    assert lab.parcel(PARCEL).status == "available_for_pickup"
    fed.hours(4)
    assert "feed_gap" in lab.open_findings()  # it came to no end: nobody knows what lay behind
    monkeypatch.undo()
    fed.hours(2, step=1)
    assert lab.open_findings() & {"feed_gap", "sweep_ended"} == set()


@pytest.mark.parametrize("ahead", [3 * H, -H / 6])
@one_database
def test_a_clock_of_theirs_that_is_not_ours_loses_nothing(fed, ahead) -> None:
    lab = fed.begin()
    fed.postnl.clock = lambda: lab.clock() + ahead
    fed.scan(PARCEL, "12", "J02", at=lab.clock() + ahead)
    for _ in range(5):
        fed.hours(1)

    assert lab.rows(t.scans, t.scans.c.space == "feed", t.scans.c.code == "12")
    assert datetime.fromisoformat(fed.account().cursor) <= lab.clock()


@one_database
def test_a_sweep_that_dies_between_page_and_cursor_reads_the_page_again(fed, monkeypatch) -> None:
    lab = fed.begin()
    fed.scan(PARCEL, "12", "J02")
    lab.clock.move_to(lab.clock() + H)

    class Died(BaseException):
        pass

    def die(name: str) -> None:
        if name == "sweep_before_commit":
            raise Died

    before = fed.account().cursor
    monkeypatch.setattr(sweep, "crash_at", die)
    with pytest.raises(Died):
        lab.work("poll")
    assert fed.account().cursor == before
    assert lab.rows(t.inbox, t.inbox.c.state == "pending") == []

    monkeypatch.undo()
    lab.change(t.accounts.update().values(claimed_until=None))  # its lease is over
    lab.work()
    assert lab.parcel(PARCEL).status == "available_for_pickup"


@one_database
def test_the_last_call_of_a_budget_is_kept_for_the_feed(make_lab, tmp_path) -> None:
    with ExitStack() as stack:
        fed = Fed(make_lab, tmp_path, stack, entry=", budget: {calls: 8, per: 1h}")
        lab = fed.begin(*(f"3SDEVC7000000{i:02}" for i in range(20)))
        fed.hours(4, step=1)
        assert fed.postnl.busiest(H)[0] <= 8
        assert feeds.is_whole(lab.ctx.config.accounts["postnl"], fed.account().swept_at, lab.clock())

        lab.clock.move_to(lab.clock() + 30 * H)
        for _ in range(7):
            budgets.charge(lab.ctx, "postnl")
        with lab.daemon.store.read() as connection:
            now = database_now(connection)
            ready = due.look(lab.ctx, connection, now, lab.clock())[0]["postnl"]
            assert (ready.left, ready.for_parcels, ready.row.sweeps) == (1, 0, 1)
        lab.change(t.accounts.update().where(t.accounts.c.name == "postnl").values(next_sweep_at=lab.clock() + H))
        with lab.daemon.store.read() as connection:
            ready, held = due.look(lab.ctx, connection, now, lab.clock())
            assert ("postnl" in ready, held["postnl"] > lab.clock()) == (False, True)


def _down(status: int = 503, body: Any = None) -> Any:
    said = b"null" if body is None else orjson.dumps(body)
    return FaultyResponse(10**6, None, False, "updatedshipments", status, said)
