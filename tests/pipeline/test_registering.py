"""A source that must be told of a number first: nobody asks before, its quota is kept, what it stopped is tracked again once."""

from __future__ import annotations

from dataclasses import replace as changed
from datetime import timedelta
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from tests.lab import H, Lab, Make
from tracker.cli.main import cli
from tracker.config.model import Budget
from tracker.domain.errors import Refused, Transient
from tracker.domain.facts import Parcel, Parcels, Registered
from tracker.pipeline.poll import registering, step
from tracker.sandbox.scenario import Fault
from tracker.store import tables as t
from tracker.support import planned
from tracker.support.knowledge import knowledge
from tracker.upkeep.settle import settle_accounts

ONE = "9400111206206406260787"
OTHERS = tuple(f"94001112062064062608{i:02}" for i in range(50))
ALONE = "mode: write, accounts: [seventeen]"


def shipped(make_lab: Make, *numbers: str, store: str = ALONE, **more: Any) -> Lab:
    """Return a lab with an order whose parcels 17TRACK shall tell of, before it was told of them."""
    lab: Lab = make_lab(seventeen=True, store=store, **more)
    lab.work()
    lab.order("#1001", *(numbers or (ONE,)))
    return lab


def watch(lab: Lab, number: str = ONE) -> Any:
    return lab.one(t.watches, t.watches.c.shipment_id == lab.parcel(number).id, t.watches.c.account == "seventeen")


def stop(lab: Lab) -> None:
    lab.seventeen.on_fault(Fault(server="seventeen", kind="stop_tracking"), lab.clock())
    lab.work()


def test_nobody_asks_about_a_number_before_it_is_registered(make_lab) -> None:
    lab = shipped(make_lab)
    lab.seventeen.faults.left["error"] = 9
    lab.work()

    row = watch(lab)
    assert (row.registered_at, row.next_poll_at, row.tracking_state) == (None, None, "pending")
    assert lab.seventeen.calls["track"] == 0
    assert "source_unavailable" not in lab.open_findings()

    lab.seventeen.faults.left["error"] = 0
    lab.rested()
    lab.later(1)
    row = watch(lab)
    assert row.registered_at == lab.clock()
    assert row.their_ref == "21051"
    assert row.next_poll_at is not None


def test_the_empty_answer_after_a_registration_is_no_news_and_lets_nobody_else_be_asked(make_lab) -> None:
    lab = shipped(make_lab, store="mode: write, accounts: [seventeen, easypost]")
    lab.work()
    lab.change(t.shipments.update().values(starts_at=lab.clock() - 20 * 24 * H))  # it was shipped long ago
    lab.later(1)
    row = watch(lab)
    assert row.checked_at == lab.clock()  # asked, and it had nothing
    assert (row.tracking_state, row.chosen is not None) == ("pending", True)
    assert lab.open_findings() <= {"shipped_without_tracking"}

    lab.later(26)
    assert watch(lab).tracking_state == "not_found"  # a day later that is what it says: the next one is asked
    assert watch(lab).chosen is None
    assert [row.account for row in lab.rows(t.watches, t.watches.c.chosen.isnot(None))] == ["easypost"]


def test_news_come_by_push_and_by_poll_under_our_name_of_the_carrier(make_lab) -> None:
    lab = shipped(make_lab)
    lab.work()
    lab.scan(lab.seventeen, ONE, "InTransit", "InTransit_PickedUp")
    lab.later(1)
    assert lab.parcel(ONE).status == "picked_up"
    assert lab.parcel(ONE).carrier == "usps"

    lab.scan(lab.seventeen, ONE, "Delivered", "Delivered_Other")
    record = lab.seventeen.records[ONE]
    body = {"event": "TRACKING_UPDATED", "data": {"number": ONE, **lab.seventeen._tracked(ONE, record)}}
    for _ in range(2):
        lab.post(lab.seventeen.signed(orjson.dumps(body)))
    lab.work()
    assert lab.parcel(ONE).status == "delivered"
    assert len(lab.rows(t.inbox, t.inbox.c.kind == "webhook", t.inbox.c.account == "seventeen")) == 1
    lab.summaries_are_whole()


def test_forty_numbers_go_in_one_call_and_an_odd_one_costs_itself_only(make_lab) -> None:
    lab = shipped(make_lab, *OTHERS[:41])
    lab.seventeen.faults.left["refuse_number"] = 1
    lab.work()

    rows = lab.rows(t.watches, t.watches.c.account == "seventeen")
    assert lab.seventeen.calls["register"] == 2
    assert sum(row.registered_at is not None for row in rows) == 40
    (refused,) = [row for row in rows if row.rejected_reason]
    assert (refused.tracking_state, refused.next_poll_at, refused.register_at) == ("unsupported", None, None)
    assert "-18010012" in refused.rejected_reason
    assert "registration_refused" in lab.open_findings()


def test_three_calls_a_second_suffice_for_registering_and_none_is_wasted(make_lab) -> None:
    lab = shipped(make_lab, *OTHERS, *(f"{number}7" for number in OTHERS))
    account = changed(lab.ctx.config.accounts["seventeen"], budget=Budget(calls=3, per=timedelta(seconds=1)))
    lab.ctx.config = changed(lab.ctx.config, accounts={**lab.ctx.config.accounts, "seventeen": account})
    for _ in range(12):
        lab.work()
        lab.clock.move_to(lab.clock() + timedelta(seconds=1))

    assert all(row.registered_at is not None for row in lab.rows(t.watches))
    calls = lab.seventeen.calls
    assert (calls["register"], calls["getquota"]) == (3, 1)
    assert calls["track"] <= 4  # each batch is looked for once; the quota may cost the first one its turn
    assert lab.seventeen.busiest(timedelta(seconds=1))[0] <= 3


def test_what_a_source_does_not_take_another_account_is_asked_about(make_lab) -> None:
    lab = shipped(make_lab, store="mode: write, accounts: [seventeen, easypost]")
    lab.seventeen.faults.left["refuse_number"] = 1
    lab.work()

    assert [row.account for row in lab.rows(t.watches, t.watches.c.chosen.isnot(None))] == ["easypost"]


def test_a_batch_that_is_refused_as_a_whole_is_asked_for_in_halves() -> None:
    asked: list[int] = []

    def register(_client: Any, query: Parcels) -> list[Registered]:
        asked.append(len(query.parcels))
        if any(parcel.number == OTHERS[5] for parcel in query.parcels):
            raise Refused("one of them is odd")
        return [Registered(parcel.number) for parcel in query.parcels]

    told = registering._each(register, None, [Parcel(None, number) for number in OTHERS[:8]])

    assert [number for number, answer in told.items() if answer.refused] == [OTHERS[5]]
    assert (len(told), asked) == (8, [8, 4, 4, 2, 1, 1, 2])


def test_a_process_that_dies_after_the_call_spends_no_second_unit(make_lab, monkeypatch) -> None:
    lab = shipped(make_lab)
    stored, died = step._store, []

    def die(ctx, calls):
        if not died and any(call.kind == "registration" for call in calls):
            died.append(True)
            raise Transient("killed")
        stored(ctx, calls)

    monkeypatch.setattr(step, "_store", die)
    with pytest.raises(Transient):
        lab.work()
    assert (lab.seventeen.units[ONE], watch(lab).registered_at) == (1, None)

    lab.change(t.watches.update().values(claimed_until=None))
    lab.work()
    assert (lab.seventeen.units[ONE], watch(lab).registered_at) == (1, lab.clock())
    assert lab.seventeen.complaints == []


def test_a_number_that_is_registered_with_another_carrier_is_asked_for_under_that_one(make_lab) -> None:
    lab = shipped(make_lab, store=ALONE)
    lab.seventeen._register({"number": ONE, "carrier": 3011})
    lab.seventeen.records[ONE].registered_at -= H
    lab.work()
    assert (watch(lab).their_ref, lab.seventeen.units[ONE]) == ("3011", 1)

    lab.scan(lab.seventeen, ONE, "InTransit", "InTransit_PickedUp")
    lab.later(1)
    assert (lab.parcel(ONE).status, lab.parcel(ONE).carrier) == ("picked_up", "usps")


# the quota


def test_a_quota_that_is_used_up_lets_numbers_wait_and_is_one_finding(make_lab) -> None:
    lab = shipped(make_lab, *OTHERS[:6])
    lab.seventeen.quota = 4
    lab.work()

    rows = lab.rows(t.watches, t.watches.c.account == "seventeen")
    assert sum(row.registered_at is not None for row in rows) == 4
    assert [row.rejected_reason for row in rows] == [None] * 6
    (finding,) = lab.rows(t.findings, t.findings.c.kind == "quota_low")
    assert (finding.evidence["state"], finding.evidence["of"], finding.evidence["waits"]) == ("used up", "4", "2")
    calls = lab.seventeen.calls.copy()
    lab.later(0.5)
    assert lab.seventeen.calls["getquota"] == calls["getquota"]  # nobody asks again and again
    (told,) = [row for row in planned.by_account(lab.ctx) if row["account"] == "seventeen"]
    assert (told["unregistered"], told["quota"]) == (2, "0 of 4 left")

    lab.seventeen.quota = 200
    lab.later(1)
    rows = lab.rows(t.watches, t.watches.c.account == "seventeen")
    assert all(row.registered_at is not None for row in rows)
    assert "quota_low" not in lab.open_findings()
    assert set(lab.seventeen.units.values()) == {1}


def test_what_waits_for_a_quota_is_not_read_as_known_and_is_registered_at_once_when_somebody_says_so(make_lab) -> None:
    lab = shipped(make_lab, *OTHERS[:2])
    lab.seventeen.quota = 1
    lab.work()
    lab.later(0.9)

    (gap,) = [gap for gap in knowledge(lab.ctx).gaps if gap.where == "seventeen"]
    assert (gap.what, gap.count, gap.why) == ("parcels_overdue", 1, "what the account may register is used up")
    assert knowledge(lab.ctx).unknown == 1

    lab.seventeen.quota = 200  # bought, and `tracker heal`
    registering.try_now(lab.ctx)
    lab.work("poll")
    assert all(row.registered_at is not None for row in lab.rows(t.watches))
    assert [gap for gap in knowledge(lab.ctx).gaps if gap.where == "seventeen"] == []


def test_the_quota_of_a_key_says_nothing_of_another_one(make_lab) -> None:
    lab = shipped(make_lab, *OTHERS[:2])
    lab.seventeen.quota = 2
    lab.work()
    mine = t.accounts.c.name == "seventeen"
    assert lab.one(t.accounts, mine).quota_left == 0
    lab.change(t.accounts.update().where(mine).values(credentials="of another key"))
    settle_accounts(lab.ctx)

    assert lab.one(t.accounts, mine).quota_at is None


def test_check_and_plan_say_how_many_numbers_are_left_and_fail_when_none_are(make_lab, tmp_path, monkeypatch) -> None:
    lab = shipped(make_lab, *OTHERS[:3])
    (tmp_path / "tracker.yaml").write_text(lab.yaml)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.cli.listing.open_context", lambda _: lab.ctx)  # what a process opens ends with it

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli, list(words), env={"COLUMNS": "300"})

    assert "seventeen (seventeen_track): fine; 200 of 200 numbers may still be registered" in run("check").output
    lab.seventeen.quota = 2
    lab.work()

    checked, planned_ = run("check"), run("plan")
    assert (
        "PROBLEM seventeen (seventeen_track): its quota of 2 is used up: new parcels wait until there is more"
        in checked.output
    )
    assert "seventeen: its quota is used up, and 1 parcels wait to be registered" in planned_.output
    assert (checked.exit_code, planned_.exit_code) == (1, 1)


def test_a_new_number_makes_no_call_while_the_quota_is_known_to_be_used_up(make_lab) -> None:
    lab = shipped(make_lab, *OTHERS[:2])
    lab.seventeen.quota = 1
    lab.work()
    calls = sum(lab.seventeen.calls.values())
    lab.order("#1002", ONE)
    lab.work()

    assert watch(lab).register_at == lab.clock() + registering.QUOTA_AGAIN
    (told,) = planned.of_order(lab.ctx, ONE, 5)
    assert told["why"] == f"its source must be told of it first: at {watch(lab).register_at:%Y-%m-%d %H:%M}Z"
    assert sum(lab.seventeen.calls.values()) == calls


def test_a_quota_that_is_nearly_used_up_is_told_before_it_is(make_lab) -> None:
    lab = shipped(make_lab, *OTHERS[:6])
    lab.seventeen.quota = 10
    lab.work()

    (finding,) = lab.rows(t.findings, t.findings.c.kind == "quota_low")
    assert (finding.evidence["state"], finding.evidence["left"]) == ("lasts for less than a week", "4")


# stopped, and tracked again


def test_a_stopped_number_that_an_order_waits_for_is_tracked_again_once(make_lab) -> None:
    lab = shipped(make_lab)
    lab.work()
    stop(lab)
    assert lab.seventeen.records[ONE].retracked
    assert not lab.seventeen.records[ONE].stopped
    assert watch(lab).tracking_state == "pending"

    lab.later(30)
    stop(lab)
    assert watch(lab).tracking_state == "stopped"
    (finding,) = lab.rows(t.findings, t.findings.c.kind == "tracking_stopped")
    assert "-18019905" in finding.evidence["said"]
    lab.later(24)
    assert lab.seventeen.calls["retrack"] == 2  # it was told: nobody tries again


def test_where_a_source_will_not_begin_again_another_account_is_asked(make_lab) -> None:
    lab = shipped(make_lab, store="mode: write, accounts: [seventeen, easypost]")
    lab.work()
    lab.seventeen.records[ONE].retracked = True
    stop(lab)

    assert [row.account for row in lab.rows(t.watches, t.watches.c.chosen.isnot(None))] == ["easypost"]


def test_what_ended_is_not_tracked_again(make_lab) -> None:
    lab = shipped(make_lab)
    lab.work()
    lab.scan(lab.seventeen, ONE, "Delivered", "Delivered_Other")
    lab.later(1)
    stop(lab)

    assert lab.seventeen.calls["retrack"] == 0
    assert lab.parcel(ONE).status == "delivered"


def test_a_parcel_that_no_order_names_any_more_is_stopped_and_comes_back_when_one_does(make_lab) -> None:
    lab = shipped(make_lab)
    lab.work()
    lab.shop.retrack("#1001", [{"company": "USPS", "number": "9400111206206406269999"}])
    lab.work()
    assert not lab.seventeen.records[ONE].stopped  # in a while: somebody may correct himself
    lab.later(73)
    assert lab.seventeen.records[ONE].stopped
    assert (watch(lab).tracking_state, watch(lab).next_poll_at) == ("stopped", None)
    asked = lab.seventeen.calls["stoptrack"]
    lab.later(48)
    assert lab.seventeen.calls["stoptrack"] == asked == 1

    lab.shop.retrack("#1001", [{"company": "USPS", "number": ONE}])
    lab.work()
    assert not lab.seventeen.records[ONE].stopped
    assert watch(lab).next_poll_at is not None


def test_a_parcel_that_is_named_again_in_time_is_never_stopped(make_lab) -> None:
    lab = shipped(make_lab)
    lab.work()
    lab.shop.retrack("#1001", [{"company": "USPS", "number": "9400111206206406269999"}])
    lab.work()
    lab.later(24)
    lab.shop.retrack("#1001", [{"company": "USPS", "number": ONE}])
    lab.work()
    lab.clock.move_to(lab.clock() + timedelta(days=5))
    lab.work()

    assert (lab.seventeen.records[ONE].stopped, lab.seventeen.units[ONE]) == (False, 1)
