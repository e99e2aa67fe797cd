"""After an outage of ours senders tell again what they sent: page by page, each webhook once, and told how far it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab import USPS, H, Lab, Make
from tests.pipeline.test_journeys import FEDEX
from tracker.cli.ops import _told_again
from tracker.pipeline.poll import resends
from tracker.store import tables as t
from tracker.support.away import ours
from tracker.upkeep import maintenance

STEPS = [("in_transit", "arrived_at_facility"), ("in_transit", "departed_facility"), ("out_for_delivery", "out_for_delivery"),
         ("delivered", "delivered")]  # fmt: skip


def away(make_lab: Make, *, events: int = 4, hours: float = 8, back: bool = True, **more: Any) -> Lab:
    """Return a lab that was away while a parcel moved: each event was sent, and nobody was there."""
    lab: Lab = make_lab(**more)
    lab.work()
    lab.order("#1001", USPS)
    lab.work()
    maintenance.heartbeat(lab.ctx, lab.clock())
    for i in range(events):
        lab.clock.move_to(lab.clock() + hours / events * H)
        lab.scan(lab.easypost, USPS, *STEPS[i])
        lab.easypost.event(USPS)
    lab.change(t.watches.update().values(next_poll_at=lab.clock() + 48 * H))
    if back:
        maintenance.heartbeat(lab.ctx, lab.clock())
    return lab


def told(lab: Lab) -> Any:
    (outage,) = ours(lab.ctx)
    (row,) = outage["told_again"]
    return row


def state(lab: Lab) -> str:
    maintenance.run_monitors(lab.ctx)
    return str(ours(lab.ctx)[0]["state"])


def webhooks(lab: Lab) -> list[Any]:
    return lab.rows(t.inbox, t.inbox.c.kind == "webhook", t.inbox.c.account == "easypost")


def test_what_was_sent_while_we_were_away_is_told_again_and_what_came_all_the_same_is_not_stored_twice(
    make_lab,
) -> None:
    lab = away(make_lab, back=False)
    ref, _, body = lab.easypost.events[2]
    lab.post(lab.easypost.signed(body))  # their own retry was faster
    maintenance.heartbeat(lab.ctx, lab.clock())
    assert "poll" in maintenance.due_queues(lab.ctx)
    lab.work()

    assert {row.dedupe_key for row in webhooks(lab)} == {event[0] for event in lab.easypost.events}
    assert len(webhooks(lab)) == 4
    assert (told(lab)["told"], told(lab)["new"], told(lab)["short"]) == (4, 3, False)
    assert lab.easypost.calls["events"] == 2  # three of them a page
    lab.later(1)
    assert state(lab) == "caught up"
    assert lab.parcel(USPS).status == "delivered"
    lab.summaries_are_whole()
    assert ref in {row.dedupe_key for row in webhooks(lab)}


def test_an_account_whose_sender_tells_nothing_again_is_left_to_polls(make_lab, monkeypatch) -> None:
    lab = away(make_lab, back=False)
    monkeypatch.setattr(lab.ctx.config.accounts["easypost"].carrier, "resends", None)
    maintenance.heartbeat(lab.ctx, lab.clock())
    lab.work()

    assert ours(lab.ctx)[0]["told_again"] == []
    assert state(lab) == "caught up"


def test_where_it_fails_half_way_it_goes_on_from_there(make_lab) -> None:
    lab = away(make_lab)
    served = lab.easypost.trouble
    left = iter([None, None, None])  # the list and two bodies; then nothing for a while

    def fails() -> Any:
        return next(left, False) if lab.easypost.faults.left["error"] == 0 else served()

    lab.easypost.trouble = lambda: None if fails() is None else lab.easypost.broken()
    lab.easypost.broken = lambda: __import__("starlette.responses", fromlist=["Response"]).Response(b"", 500)
    lab.change(t.watches.update().values(next_poll_at=lab.clock() + 48 * H))
    lab.work()
    assert (told(lab)["told"], told(lab)["ended"]) == (2, None)
    assert told(lab)["error"]
    assert state(lab) == "asking"
    assert "and goes on at" in _told_again(told(lab))

    lab.easypost.trouble = served
    bodies = lab.easypost.calls["payloads"]
    lab.rested()
    lab.later(1)
    assert (told(lab)["told"], told(lab)["new"], told(lab)["error"]) == (4, 4, None)
    assert lab.easypost.calls["payloads"] == bodies + 2  # what was had is not asked for again
    assert told(lab)["ended"] is not None


class _Killed(BaseException):
    """What no `except Exception` stops."""


def test_a_process_that_dies_half_way_loses_nothing_and_asks_for_nothing_twice(make_lab, monkeypatch) -> None:
    lab = away(make_lab)
    left = iter([False, True])

    def die(name: str) -> None:
        if name == "resend_after_page" and next(left, False):
            raise _Killed

    row = lab.one(t.resends)
    lab.change(t.resends.update().values(attempts=1))
    with monkeypatch.context() as patch:
        patch.setattr(resends, "crash_at", die)
        with pytest.raises(_Killed):
            resends.work(lab.ctx, lab.ctx.config.accounts["easypost"], row)
    assert (told(lab)["told"], told(lab)["ended"]) == (2, None)

    bodies = lab.easypost.calls["payloads"]
    lab.change(t.resends.update().values(claimed_until=None))
    lab.work()
    assert (told(lab)["told"], told(lab)["new"], lab.easypost.calls["payloads"]) == (4, 4, bodies + 2)
    assert state(lab) == "caught up"


def test_somebody_who_was_frozen_stores_nothing_after_another_took_over(make_lab) -> None:
    lab = away(make_lab)
    row = lab.one(t.resends)  # claimed as attempt 1, and then another one claims
    lab.change(t.resends.update().values(attempts=2))
    resends.work(lab.ctx, lab.ctx.config.accounts["easypost"], row)

    assert (told(lab)["told"], len(webhooks(lab))) == (0, 0)


def test_an_outage_longer_than_what_the_sender_keeps_is_told_and_polls_do_the_rest(make_lab, monkeypatch) -> None:
    lab = away(make_lab, back=False)
    monkeypatch.setattr(lab.ctx.config.accounts["easypost"].carrier, "resends", 3 * H)
    maintenance.heartbeat(lab.ctx, lab.clock())
    lab.work()

    assert (told(lab)["told"], told(lab)["short"]) == (2, True)
    assert state(lab) == "caught up, in part by polls alone"
    assert "not all of it (nothing is kept from before 2026-11-02 13:00Z): polls tell the rest" in _told_again(
        told(lab)
    )
    assert lab.parcel(USPS).status == "delivered"


def test_a_suspended_account_is_asked_nothing_and_goes_on_when_it_is_mended(make_lab) -> None:
    lab = away(make_lab)
    lab.change(t.accounts.update().where(t.accounts.c.name == "easypost").values(suspended_reason="401"))
    lab.work()
    assert lab.easypost.calls["events"] == 0
    assert state(lab) == "asking"

    lab.change(t.accounts.update().where(t.accounts.c.name == "easypost").values(suspended_reason=None))
    lab.work()
    assert told(lab)["told"] == 4


def test_a_budget_that_is_spent_half_way_lets_it_wait_and_is_never_overdrawn(make_lab) -> None:
    lab = away(make_lab, yaml="defaults: {accounts: {budget: {calls: 4, per: 6h}}}\n")
    lab.work()
    first = told(lab)["told"]
    assert first < 4
    assert told(lab)["ended"] is None
    for _ in range(4):
        lab.later(7)

    assert (told(lab)["told"], told(lab)["new"]) == (4, 4)
    assert lab.easypost.busiest(6 * H)[0] <= 4


def test_what_a_sender_refuses_again_and_again_is_given_up_and_told(make_lab, monkeypatch) -> None:
    lab = away(make_lab)
    lab.easypost.events.clear()
    from tracker.domain.errors import Refused

    def refuse(*_: Any) -> Any:
        raise Refused("no events for this key")

    monkeypatch.setattr(lab.ctx.config.accounts["easypost"].carrier, "resend", refuse)
    for _ in range(6):
        lab.later(0.2)
        lab.rested()

    assert (told(lab)["short"], told(lab)["error"]) == (True, "no events for this key")
    assert state(lab) == "caught up, in part by polls alone"


def test_a_body_that_is_gone_costs_its_event_only(make_lab) -> None:
    lab = away(make_lab)
    ref, at, _ = lab.easypost.events[1]
    lab.easypost.events[1] = (ref, at, b"")
    lab.work()

    assert (told(lab)["told"], told(lab)["new"]) == (3, 3)


def test_where_a_person_must_have_a_sender_tell_again_the_outage_says_how(make_lab, tmp_path: Path) -> None:
    fedex = FEDEX.replace("}\n", ', webhook_secrets: ["${file:FOLDER/s}"]}\n').replace("FOLDER", str(tmp_path))
    lab = away(make_lab, accounts=fedex)
    for _ in range(resends.MOST_FAILURES):
        lab.change(t.resends.update().values(next_at=lab.clock()))
        lab.work("poll")
    easypost, of_fedex = ours(lab.ctx)[0]["told_again"]

    assert (easypost["short"], of_fedex["account"], of_fedex["short"]) == (False, "fedex", True)
    assert "starts the retry on the webhook project in its Developer Portal" in _told_again(of_fedex)
    assert not {"account_parked", "source_unavailable"} & set(lab.open_findings())  # it is no failure of the account
    assert state(lab) == "caught up, in part by polls alone"
