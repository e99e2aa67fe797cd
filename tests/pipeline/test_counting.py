"""What reports count is kept as parcels change, and is what counting all of them anew would give."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from tests.lab import DHL, START, UPS, USPS, H, Lab, detail, shipped, tracker_body
from tracker.config.load import load_text
from tracker.domain.performance import PROBLEMS
from tracker.pipeline.context import AppContext
from tracker.store import tables as t
from tracker.support import reports
from tracker.support.report_parcels import parcels_of
from tracker.upkeep import counting

NUMBERS = {"easypost": USPS, "ups": UPS, "dhl": DHL}
CODES = {"easypost": ("in_transit", "out_for_delivery", "delivered", "failure"), "ups": ("005", "011", "038", "998", "022"),
         "dhl": ("transit", "delivered", "failure")}  # fmt: skip


def count(lab: Lab) -> None:
    while counting.count(lab.ctx):
        pass


def days(lab: Lab, *stores: str) -> dict[tuple[Any, ...], dict[str, int]]:
    return {tuple(row)[1:8]: row.counts for row in lab.rows(t.report_days) if not stores or row.store in stores}


def total(lab: Lab, store: str = "*") -> Counter[str]:
    added: Counter[str] = Counter()
    for row in lab.rows(t.report_days, t.report_days.c.store == store):
        added.update(row.counts)
    return added


def anew(lab: Lab) -> None:
    """Forget what was counted, and count it all."""
    for table in (t.parcel_facts, t.report_days, t.report_state):
        lab.change(table.delete())
    count(lab)


def brute(lab: Lab) -> Counter[str]:
    """Count what all scans, estimates and links say, without anything that is kept for it."""
    named = {row.shipment_id for row in lab.rows(t.fulfilment_shipments)}
    found: Counter[str] = Counter()
    for parcel in lab.rows(t.shipments, t.shipments.c.linked.is_(True), t.shipments.c.leg_of.is_(None)):
        if parcel.id not in named:
            continue
        scans = [row for row in lab.rows(t.scans, t.scans.c.shipment_id == parcel.id) if row.withdrawn_at is None]
        ends = {s: parcel.summary["status"] == s for s in ("delivered", "returned", "lost", "destroyed", "cancelled")}
        found["parcels"] += 1
        found["end/" + next((s for s, is_so in ends.items() if is_so), "open")] += 1
        found["handed_over"] += parcel.summary["custody_at"] is not None
        for problem in {
            f"{s.status}/{s.reason or 'unspecified'}" for s in scans if s.status in PROBLEMS and s.leg == "outbound"
        }:
            found[f"problem/{problem}"] += 1
        promised = lab.rows(t.estimates, t.estimates.c.shipment_id == parcel.id)
        there = [
            s
            for s in scans
            if s.status == "delivered"
            and ends["delivered"]
            and str(s.instant)[:19] == parcel.summary["delivered_at"].replace("T", " ")[:19]
        ]
        heard = min((s.first_seen_at for s in there), default=None)
        promised = [one for one in promised if heard is None or one.told_at < heard]
        at = there[0] if there else None
        for name, one in (("first", promised[:1]), ("last", promised[-1:])):
            late = bool(one) and (
                at.local[:10] > f"{one[0].ends - H:%Y-%m-%d}" if at else lab.clock() > one[0].ends + 12 * H
            )  # UPS tells days, and prints the local one
            word = "no_estimate" if not one else "late" if late else "on_time" if at else "not_due"
            found[f"{name}/{word}"] += 1
    return +found


@pytest.mark.parametrize("seed", [1, 2])
def test_the_counts_are_what_all_scans_say_after_events_in_any_order(make_lab, seed: int) -> None:
    draw = random.Random(seed)
    lab = make_lab(rest="{preset: kingston-courier}")
    lab.work()
    lab.order("#1", USPS)
    lab.order("#2", UPS, company="UPS")
    lab.order("#3", DHL, USPS, company="DHL")  # a number that two orders name
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.work()
    servers = {"easypost": lab.easypost, "ups": lab.ups, "dhl": lab.dhl}
    for _ in range(14):
        name = draw.choice(sorted(servers))
        server, number = servers[name], NUMBERS[name]
        act = draw.random()
        if act < 0.6 or not server.history[number]:
            code = draw.choice(CODES[name])
            more = {"edd": lab.clock() + draw.randrange(48) * H} if name == "ups" and draw.random() < 0.6 else {}
            kind = {"ups": "D" if code == "011" else "X" if code == "022" else "I"}.get(name, code)
            lab.scan(server, number, kind, code, hours=-draw.randrange(3), **more)
        elif act < 0.8:
            server.history[number].pop(draw.randrange(len(server.history[number])))  # it is told no more
        elif act < 0.9:
            lab.rest.ship("#7", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
            lab.work()
        lab.later(draw.choice([1, 3, 9, 30]))
        if draw.random() < 0.5:
            counting.count(lab.ctx)  # a batch, at any moment
    count(lab)

    wanted = brute(lab)
    found = total(lab)
    assert wanted["parcels"] >= 3
    assert {name: found[name] for name in wanted} == wanted
    kept, facts = days(lab), [tuple(row) for row in lab.rows(t.parcel_facts)]
    anew(lab)
    assert (days(lab), [tuple(row) for row in lab.rows(t.parcel_facts)]) == (kept, facts)
    stores = {row.store for row in lab.rows(t.parcel_facts)}
    assert sum(total(lab, store)["parcels"] for store in stores) == len(facts)


def test_each_change_of_a_parcel_is_counted_instead_of_what_it_was(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    assert (total(lab), lab.rows(t.report_state)) == (Counter(), [])
    count(lab)
    assert (total(lab)["parcels"], total(lab)["end/open"], total(lab, "shop")["parcels"]) == (1, 1, 1)

    lab.scan(lab.ups, UPS, "I", "038", edd=START + 30 * H)
    lab.later(7)
    assert total(lab)["handed_over"] == 0  # not yet
    assert lab.parcel(UPS).recount is True
    count(lab)
    assert (total(lab)["handed_over"], total(lab)["first/not_due"], lab.parcel(UPS).recount) == (1, 1, None)

    lab.later(60)  # nothing is told, and the estimate passes
    count(lab)
    assert (total(lab)["first/late"], total(lab)["first/not_due"]) == (1, 0)
    lab.later(24 * 8)
    count(lab)
    assert total(lab)["silent"] == 1

    lab.change(t.shipments.update().values(linked=False, recount=True))  # the shop names it no more
    count(lab)
    assert (days(lab), lab.rows(t.parcel_facts)) == ({}, [])
    lab.change(t.shipments.update().values(linked=True, recount=True))
    count(lab)
    assert total(lab)["parcels"] == 1
    facts = lab.one(t.orders).facts
    lab.change(t.orders.update().values(facts={**facts, "test": True}))
    lab.change(t.shipments.update().values(recount=True))
    count(lab)
    assert days(lab) == {}
    lab.change(t.orders.update().values(facts=facts))
    lab.change(t.shipments.update().values(recount=True))
    count(lab)
    assert total(lab)["parcels"] == 1
    lab.change(t.fulfilment_shipments.delete())
    for _ in range(2):  # no mark tells of it: the walk does, in its next round
        count(lab)
    assert days(lab) == {}


def test_a_parcel_that_two_stores_ship_counts_once_in_all_and_once_in_each(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS", rest="{preset: kingston-courier}")
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.work()
    lab.rest.ship("#7", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
    count(lab)
    lab.work()
    assert lab.parcel(UPS).recount is True
    count(lab)

    assert [total(lab, store)["parcels"] for store in ("*", "shop", "kart")] == [1, 1, 1]
    assert {(row.store, row.counts) for row in lab.rows(t.parcel_facts)} == {("shop", True), ("kart", False)}

    # where it counts on another day in each, the next page goes on behind the day of the store that is asked for
    lab.change(t.parcel_facts.update().where(t.parcel_facts.c.store == "shop").values(day="2026-11-03"))
    ask = reports.asked(lab.ctx, since="60d", store="kart")
    (only,) = parcels_of(lab.ctx, "parcels", ask)
    assert parcels_of(lab.ctx, "parcels", ask, after=only["id"]) == []


def test_who_dies_in_the_middle_has_counted_nothing_and_two_count_one_after_the_other(make_lab, monkeypatch) -> None:
    lab = shipped(make_lab, UPS, company="UPS")

    def dies(*_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(counting, "_apply", dies)
        with pytest.raises(RuntimeError):
            counting.count(lab.ctx)
    assert (lab.rows(t.parcel_facts), lab.rows(t.report_state), lab.parcel(UPS).recount) == ([], [], True)
    count(lab)
    lab.change(t.shipments.update().values(recount=True))
    if not lab.ctx.store.sqlite:
        with lab.ctx.store.write() as other:
            other.execute(sa.select(t.report_state).with_for_update())
            assert counting.count(lab.ctx) is False  # the other one does it
        assert lab.parcel(UPS).recount is True
    count(lab)
    assert total(lab)["parcels"] == 1


def test_what_was_there_before_is_counted_in_batches_and_other_business_days_count_all_anew(
    make_lab, monkeypatch
) -> None:
    lab = shipped(make_lab, UPS, USPS, company="UPS")
    lab.change(t.shipments.update().values(recount=None))  # as a version before left them
    lab.ctx.store.batch = 1
    assert counting.count(lab.ctx) is True
    state = lab.one(t.report_state)
    assert (state.whole_at, total(lab)["parcels"], 0 < state.walked_to < state.walk_ends) == (None, 1, True)
    count(lab)
    state = lab.one(t.report_state)
    assert (total(lab)["parcels"], state.whole_at, state.counted_at) == (2, lab.clock(), lab.clock())

    other = lab.yaml.replace("mode: write", "mode: write, policy: {calendar: {zone: Asia/Tokyo}}, stuck_after: 2d")
    other = other.replace(", stuck_after: 2d", "")
    lab.scan(lab.ups, UPS, "I", "038", hours=8)  # 16:00 UTC: the next day in Tokyo
    lab.later(12)
    count(lab)
    assert {key[1] for key in days(lab)} == {"2026-11-02"}
    ctx: AppContext = lab.ctx
    before, ctx.config = ctx.config, load_text(other)
    assert counting.count(ctx) is True
    assert lab.one(t.report_state).whole_at is None
    count(lab)
    assert {key[1] for key in days(lab)} == {"2026-11-02", "2026-11-03"}
    assert lab.one(t.report_state).whole_at is not None

    wrong = load_text(
        other.replace("mode: write", "mode: wrote"), partly=True
    )  # an entry that cannot be read changes no rule
    ctx.config = wrong
    assert counting.count(ctx) is False
    ctx.config = before


def test_webhooks_are_counted_for_the_account_that_they_came_from(make_lab) -> None:
    lab = shipped(make_lab)
    for minute, status in ((0, "in_transit"), (5, "out_for_delivery")):
        lab.clock.move_to(START + (7 + minute) * H)
        lab.post_raw("easypost", tracker_body(USPS, detail(status, f"2026-11-02T{14 + minute:02}:58:00Z")))
        lab.work()
    count(lab)
    assert total(lab)["parcels"] == 1
    assert not [row for row in lab.rows(t.report_days) if "delay/120" in row.counts]  # its zone is assumed
    lab.change(t.scans.update().values(zone="utc"))
    anew(lab)
    lab.change(t.scans.update().values(zone="assumed"))

    assert (total(lab)["delay/120"], total(lab)["parcels"]) == (2, 1)
    assert {
        (row.account, name) for row in lab.rows(t.report_days) for name in row.counts if name.startswith("delay")
    } == {("easypost", "delay/120")}

    # who sent slow ones is shown their parcels, and nobody else, whoever told most of them
    lab.change(t.parcel_facts.update().values(account="ups", delays={"easypost": {"7200": 1}, "ups": {"60": 2}}))
    ask = {name: reports.asked(lab.ctx, since="60d", account=name) for name in ("ups", "easypost", "dhl")}
    listed = {name: len(parcels_of(lab.ctx, "slow_webhooks", one)) for name, one in ask.items()}
    assert listed == {"ups": 0, "easypost": 1, "dhl": 0}
