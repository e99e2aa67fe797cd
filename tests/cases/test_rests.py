"""An account that is away rests, ever longer; one finding says so until it is back."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import orjson
import pytest

from adapters.rest import Rest
from tests.cases.script import HERE, Script, finding, minutes, read, state, writing
from tests.lab import DHL, START, UPS, USPS, H, Lab
from tracker.config.model import Account
from tracker.domain.errors import BadPayload, RateLimited, Resting, SourceError, Transient, Unavailable
from tracker.pipeline import backoff
from tracker.plugin.calls import Request, Response
from tracker.plugin.conformance import example_settings
from tracker.sandbox.base import FaultyResponse
from tracker.sandbox.player.player import Player, load_scenario
from tracker.store import tables as t
from tracker.store.engine import database_now


def frozen(lab: Lab, shop: Script) -> dict[str, Any]:
    said = read("shopify-frozen-shop.answer.json")
    away = Unavailable(f"HTTP {said['status']}: {said['body']['errors']}")
    before = dict(shop.says)
    shop.says = dict.fromkeys(("GET /orders", "GET /checkouts", "GET /orders/R1", "PUT /orders/R1/status"), away)
    return before


def test_a_frozen_shop_rests_its_writes_wait_and_one_finding_says_so_until_it_is_back(kart) -> None:
    lab, shop = kart
    writing(lab, shop)
    before = frozen(lab, shop)
    shop.calls.clear()
    for _ in range(8 * 12):  # eight hours, looked at every five minutes
        lab.clock.move_to(lab.clock() + timedelta(minutes=5))
        lab.work("poll", "ingest", "decide", "push")

    assert shop.calls.total() <= 2 * 6  # at 0:00, 0:30, 1:00, 2:00, 4:00, 8:00: by two queues at most
    assert [row.state for row in lab.rows(t.outbox)] == ["pending"]
    told = finding(lab, "source_unavailable")
    assert len(lab.rows(t.findings, t.findings.c.kind == "source_unavailable")) == 1
    assert told.evidence == {"account": "kart", "why": "HTTP 402: Unavailable Shop", "since": "2026-11-02 12:05Z"}
    assert "asked again at" in told.proposal

    shop.says = before
    lab.later(4)
    assert [row.state for row in lab.rows(t.outbox)] == ["sent"]
    assert "source_unavailable" not in lab.open_findings()
    assert state(lab).failing_since is None
    assert not {row.kind for row in lab.rows(t.findings)} & {"write_refused"}


def test_a_frozen_shopify_shop_is_asked_seldom_and_gets_its_write_once_it_is_back() -> None:
    asked: list[int] = []
    player = Player(load_scenario(HERE / "frozen.yaml"))
    result = player.play(keep=lambda: asked.append(player.stage.servers["shop"].calls["answer"]))

    assert result.differences == []
    assert asked[0] <= 2 * 5  # it is frozen for eight hours: rests of 30 minutes, 30, 60, 120, 240


@pytest.mark.parametrize("name", ["shopify-frozen-shop.answer.json", "shopify-internal-error.answer.json"])
def test_what_shopify_says_of_itself_refuses_no_write(make_lab, name: str) -> None:
    said = read(name)
    lab = make_lab()
    lab.order("#1001", USPS)
    lab.work()
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.clock.move_to(START + 4 * H)
    lab.work("poll", "ingest", "decide")
    lab.shop.faults.told.append(FaultyResponse(left=99, status=said["status"], body=orjson.dumps(said["body"])))
    lab.work("push")
    assert [row.state for row in lab.rows(t.outbox)] == ["pending"]
    lab.shop.faults.told.clear()
    lab.rested()
    lab.change(t.outbox.update().values(due_at=START))
    lab.later(1)

    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    assert "write_refused" not in {row.kind for row in lab.rows(t.findings)}


@pytest.mark.parametrize(
    "error",
    [Transient("ReadTimeout"), RateLimited("HTTP 429"), BadPayload("$", "not JSON"), SourceError("KeyError")],
    ids=repr,
)
def test_a_carrier_that_gives_no_answer_is_told_after_five_minutes_and_what_it_has_to_say_comes_later(
    make_lab, error
) -> None:
    lab = make_lab()
    lab.order("#1", DHL, company="DHL")
    lab.order("#2", UPS, company="UPS")
    lab.work()
    elsewhere, silent = lab.ctx.client, Silent(lab.ctx.client(lab.ctx.config.accounts["dhl"]), error)
    lab.ctx.client = lambda account: silent if account.name == "dhl" else elsewhere(account)
    lab.scan(lab.dhl, DHL, "transit", "AE")
    lab.scan(lab.ups, UPS, "I", "005")
    minutes(lab, 240)
    assert "source_unavailable" not in lab.open_findings()
    for _ in range(4):
        lab.rested()
        lab.change(t.watches.update().where(t.watches.c.account == "dhl").values(next_poll_at=lab.clock()))
        minutes(lab, 2)

    told = finding(lab, "source_unavailable")
    assert (told.subject, told.evidence["why"]) == ("account/dhl", str(error))
    assert lab.parcel(UPS).status == "in_transit"
    assert lab.parcel(DHL).status == "unknown"
    lab.ctx.client = elsewhere
    lab.rested()
    minutes(lab, 240)
    assert lab.parcel(DHL).status == "picked_up"
    assert "source_unavailable" not in lab.open_findings()


class Silent:
    """A client whose every call fails."""

    def __init__(self, client: Any, error: SourceError) -> None:
        self.vault, self.now, self.token, self.error = client.vault, client.now, client.token, error

    def send(self, request: Request) -> Response:
        raise self.error


def test_what_a_person_dismissed_stays_dismissed_while_it_is_the_same_outage(kart) -> None:
    lab, shop = kart
    lab.work()
    frozen(lab, shop)
    lab.later(1)
    lab.change(t.findings.update().values(closed_at=lab.clock(), closed_by="person:me"))
    for _ in range(5):
        lab.later(2)

    assert "source_unavailable" not in lab.open_findings()


def test_tracker_heal_asks_who_rests_at_once(kart, monkeypatch) -> None:
    from click.testing import CliRunner

    from tracker.cli import act

    lab, shop = kart
    lab.work()
    before = frozen(lab, shop)
    lab.later(1)
    shop.says = before
    monkeypatch.setattr(act, "glance_config", lambda _file: None)
    monkeypatch.setattr(act, "open_context", lambda _config: lab.ctx)
    assert CliRunner().invoke(act.heal, ["--config", "x"]).exit_code == 0
    lab.work()

    assert "source_unavailable" not in lab.open_findings()


@pytest.mark.parametrize(("lasts", "rest"), [(0, 30), (30, 30), (60, 60), (120, 120), (240, 240), (6000, 240)], ids=str)
def test_the_rest_doubles_from_half_an_hour_to_four(lasts: int, rest: int) -> None:
    minutes = timedelta(minutes=1)
    assert backoff.grown(lasts * minutes, backoff.FIRST, backoff.LONGEST) == rest * minutes


def shop() -> Rest:
    return Rest("shop", example_settings(Rest))


def test_stores_are_swept_each_at_a_moment_of_its_own_and_never_later_than_their_interval() -> None:
    now, every = START + timedelta(seconds=17), timedelta(minutes=10)
    stores = [Account(f"shop-{i}", "rest", shop(), sweep_every=every) for i in range(500)]
    moments = [backoff.next_sweep(store, len(stores), now) for store in stores]

    assert all(now < moment <= now + every for moment in moments)
    assert max(Counter((moment - now) // timedelta(seconds=10) for moment in moments).values()) < 25  # it was 500
    for store, moment in zip(stores, moments, strict=True):
        assert backoff.next_sweep(store, len(stores), moment) == moment + every
        assert backoff.next_sweep(store, len(stores), moment + timedelta(seconds=3)) == moment + every


def test_a_few_stores_are_swept_after_their_interval_whenever_that_is() -> None:
    store = Account("shop", "rest", shop(), sweep_every=timedelta(hours=12))
    assert backoff.next_sweep(store, backoff.FEW_STORES, START) == START + timedelta(hours=12)
    assert backoff.next_sweep(store, backoff.FEW_STORES + 1, START) != START + timedelta(hours=12)


def test_who_failed_together_is_not_asked_together_and_the_same_play_rests_as_long() -> None:
    minute = timedelta(minutes=1)
    rests = [backoff.jittered(minute, f"shop-{i}", 3) for i in range(100)]

    assert all(minute <= rest < minute * 1.25 for rest in rests)
    assert len({rest // timedelta(seconds=1) for rest in rests}) > 10
    assert rests == [backoff.jittered(minute, f"shop-{i}", 3) for i in range(100)]
    assert backoff.jittered(minute, "shop-0", 4) != rests[0]


def rests_for(lab: Lab, since: timedelta, *errors: SourceError) -> tuple[timedelta, int]:
    """Let calls of a carrier that is broken for so long fail together. Returns how long it rests, and how many failures count."""
    account, mine = lab.ctx.config.accounts["dhl"], t.accounts.c.name == "dhl"
    lab.change(
        t.accounts.update()
        .where(mine)
        .values(failures=9, failing_since=lab.clock() - since, failing_why="", blocked_until=None)
    )
    with lab.daemon.store.write() as connection:
        now = database_now(connection)
        for error in errors:
            backoff.hear(lab.ctx, connection, account, [error], now, lab.clock())
    row = lab.one(t.accounts, mine)
    return row.blocked_until - now, row.failures


def test_a_broken_wire_is_tried_each_minute_while_it_is_new_and_then_ever_more_seldom(make_lab) -> None:
    lab = make_lab()
    broken, minute = Transient("ReadTimeout"), timedelta(minutes=1)
    for lasts, rest in ((1, 1), (8, 1), (40, 5), (120, 15), (3000, 15)):
        rested, failures = rests_for(lab, lasts * minute, broken, broken, broken)
        assert rest * minute <= rested < rest * minute * 1.25
        assert failures == 10  # calls that failed side by side are one failure


@pytest.mark.parametrize("pages", [0, 3])
def test_a_sweep_that_is_told_to_wait_goes_on_when_it_was_told_and_nobody_failed(make_lab, pages: int) -> None:
    """A first sync that was throttled page after page rested ever longer, up to half an hour, and a finding said that the shop is away."""
    lab = make_lab()
    account, business = lab.ctx.config.accounts["shop"], lab.clock()

    def told(minutes: float) -> timedelta:
        with lab.daemon.store.write() as connection:
            now, at = database_now(connection), business + timedelta(minutes=minutes)
            error = RateLimited("THROTTLED", timedelta(seconds=2))
            return backoff.sweep_fails(lab.ctx, connection, account, error, pages, now, at) - at

    assert [told(minute) for minute in (0, 1, 4)] == [timedelta(seconds=2)] * 3
    state = lab.one(t.accounts, t.accounts.c.name == "shop")
    assert (state.failures, state.failing_since, state.blocked_until is not None) == (None, None, True)
    assert lab.rows(t.findings) == []
    assert (told(6) == timedelta(seconds=2)) is (pages > 0)  # without a page for five minutes it is away


def test_an_account_that_rests_as_it_was_asked_to_waits_and_fails_only_where_a_sweep_gets_no_page_for_minutes(
    make_lab,
) -> None:
    lab = make_lab()
    account, business, rest = lab.ctx.config.accounts["shop"], lab.clock(), timedelta(seconds=4)
    asked = Resting("the account rests, as its last answer asked for", rest)

    def state() -> tuple[timedelta | None, bool, int]:
        row = lab.one(t.accounts, t.accounts.c.name == "shop")
        return row.blocked_until and row.blocked_until - now, row.failing_since is not None, len(lab.rows(t.findings))

    for hours in (0, 1, 2):
        lab.rested()
        with lab.daemon.store.write() as connection:
            now = database_now(connection)
            backoff.hear(lab.ctx, connection, account, [asked], now, business + timedelta(hours=hours))
        assert state() == (rest, False, 0)
    for after, fails in ((0, False), (4, False), (6, True)):
        lab.rested()
        with lab.daemon.store.write() as connection:
            now = database_now(connection)
            backoff.sweep_fails(lab.ctx, connection, account, asked, 0, now, business + timedelta(minutes=after))
        assert state() == (rest, fails, 0)
    with lab.daemon.store.write() as connection:
        backoff.sweep_fails(lab.ctx, connection, account, asked, 0, now, business + timedelta(minutes=12))
    assert state() == (rest, True, 1)
