"""Sweeps, reads and looks that lose nothing: the inputs of this folder that are about asking, and others of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from tests.lab import DHL, START, UPS, USPS, H, Lab
from tracker.daemon.play import Player, load_scenario
from tracker.domain.errors import BadPayload, RateLimited, SourceError, Transient, Unavailable
from tracker.domain.vocabulary import StatementKind
from tracker.pipeline import rests, say, sweep
from tracker.plugin.contracts import Answer, Request
from tracker.sandbox.base import Told
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now

HERE = Path(__file__).parent
KART = "{preset: kingston-courier}"
Says = tuple[int, Any] | SourceError


class Script:
    """Answers of a shop, by `METHOD /path` of the order API: each a status and a body, or what the call raises."""

    def __init__(self, lab: Lab, account: str = "kart") -> None:
        self.lab, self.account, self.calls = lab, account, Counter[str]()
        self.says: dict[str, Callable[[dict[str, str]], Says] | Says] = {
            "GET /orders": (200, {"orders": [], "next": None}),
            "GET /checkouts": (200, {"checkouts": [], "next": None}),
        }
        self.vault: Any = None
        elsewhere = lab.world.client
        lab.world.client = lambda account: self if account.name == self.account else elsewhere(account)

    @property
    def source(self) -> Any:
        return self.lab.world.config.accounts[self.account].source

    def now(self) -> datetime:
        return self.lab.clock()

    def send(self, request: Request) -> Answer:
        path = f"{request.method} {urlsplit(request.url).path.removeprefix(f'/{self.account}')}"
        self.calls[path] += 1
        said = self.says.get(path, (404, {}))
        if callable(said):
            said = said(dict(request.params))
        if isinstance(said, SourceError):
            raise said
        answer = Answer(said[0], {}, orjson.dumps(said[1]), self.now())
        self.source.judge(answer)
        return answer


def order(ref: str, **more: Any) -> dict[str, Any]:
    at = "2026-11-02T08:00:00Z"
    return {"ref": ref, "number": f"#{ref}", "status": "Processing", "placed_at": at, "updated_at": at, **more}


def read(name: str) -> Any:
    return orjson.loads((HERE / name).read_bytes())


@pytest.fixture
def kart(make_lab: Callable[..., Lab]) -> tuple[Lab, Script]:
    lab = make_lab(rest=KART)
    return lab, Script(lab)


def state(lab: Lab, name: str = "kart") -> Any:
    return lab.one(t.accounts, t.accounts.c.name == name)


def finding(lab: Lab, kind: str) -> Any:
    return lab.one(t.findings, t.findings.c.kind == kind, t.findings.c.closed_at.is_(None))


def swept(lab: Lab) -> list[Any]:
    return lab.rows(t.inbox, t.inbox.c.account == "kart", t.inbox.c.kind == "sweep")


# a sweep that goes in circles


def test_a_list_whose_next_never_changes_ends_with_a_finding_and_is_stored_once(kart) -> None:
    lab, shop = kart
    shop.says["GET /orders"] = (200, read("rest-next-never-changes.sweep.json"))
    lab.work()

    assert shop.calls["GET /orders"] <= 3
    assert len(swept(lab)) == 1
    assert [row.ref for row in lab.rows(t.orders)] == ["R1"]
    told = finding(lab, "sweep_ended")
    assert told.subject == "store/kart"
    assert told.evidence["why"] == "its cursor repeats"
    assert state(lab).next_sweep_at == lab.clock() + timedelta(minutes=10)
    for _ in range(3):
        lab.later(1)
    assert shop.calls["GET /orders"] <= 4 * 3
    assert len(swept(lab)) == 1

    shop.says["GET /orders"] = (200, {"orders": [order("R1"), order("R2")], "next": None})
    lab.later(1)
    assert "sweep_ended" not in lab.open_findings()
    assert [row.ref for row in lab.rows(t.orders)] == ["R1", "R2"]
    assert state(lab).synced_at is not None


def _turning(params: dict[str, str]) -> Says:
    return 200, {"orders": [order("R1")], "next": "3" if params.get("cursor") == "2" else "2"}


def _counting(params: dict[str, str]) -> Says:
    return 200, {"orders": [order("R1")], "next": str(int(params.get("cursor", "1")) + 1)}


def _counting_and_empty(params: dict[str, str]) -> Says:
    return 200, {"orders": [], "next": str(int(params.get("cursor", "1")) + 1)}


def _wrapping(params: dict[str, str]) -> Says:
    page = int(params.get("cursor", "0"))
    return 200, {"orders": [order(f"R{page % 5}{i}") for i in range(3)], "next": str(page + 1)}


@pytest.mark.parametrize(
    ("says", "asked", "why"),
    [(_turning, 4, "its cursor repeats"), (_counting, 4, "its pages repeat"), (_wrapping, 8, "its pages repeat"),
     (_counting_and_empty, sweep.MOST_EMPTY + 1, "100 pages in a row hold nothing")],
    ids=["two in turn", "other cursors", "it begins again", "empty pages"],
)  # fmt: skip
def test_pages_that_bring_no_news_end_a_sweep_however_their_cursors_look(kart, says, asked, why) -> None:
    lab, shop = kart
    shop.says["GET /orders"] = says
    lab.work()

    assert shop.calls["GET /orders"] <= asked
    assert finding(lab, "sweep_ended").evidence["why"] == why
    assert len(swept(lab)) <= 5 if says is not _counting_and_empty else True


def test_a_sweep_that_ended_in_circles_begins_again_where_it_began(kart) -> None:
    lab, shop = kart
    lab.work()
    before = state(lab).cursor
    shop.says["GET /orders"] = _turning
    lab.later(1)

    assert state(lab).cursor == before
    assert state(lab).sweep_from is None


def _long(pages: int, each: int = 2) -> Callable[[dict[str, str]], Says]:
    def says(params: dict[str, str]) -> Says:
        page = int(params.get("cursor", "0"))
        rows = [order(f"R{page}-{i}") for i in range(each)]
        return 200, {"orders": rows, "next": str(page + 1) if page + 1 < pages else None}

    return says


def test_a_long_sweep_pauses_and_goes_on_from_its_cursor_without_being_an_error(kart, monkeypatch) -> None:
    lab, shop = kart
    monkeypatch.setattr(sweep, "MOST_PAGES", 3)
    shop.says["GET /orders"] = _long(10)
    lab.work("poll")

    assert shop.calls["GET /orders"] == 10  # no page twice
    assert state(lab).synced_at == lab.clock()
    assert lab.rows(t.findings) == []
    lab.work()
    assert len(lab.rows(t.orders)) == 20


def test_a_first_sync_of_many_orders_is_no_circle() -> None:
    told = sweep._Told({None})
    for page in range(10_000):
        told.take(sweep.Page((), str(page)), [sweep.Order.__hash__ and f"{page}-{i}" for i in range(10)])
        assert told.circles == ""


# what is equal is stored once


def test_a_page_that_says_nothing_new_is_not_stored_and_counts_as_read(kart) -> None:
    lab, shop = kart
    shop.says["GET /orders"] = (200, {"orders": [order("R1"), order("R2")], "next": None})
    lab.work()
    stored, first = len(swept(lab)), lab.rows(t.orders)
    for _ in range(3):
        lab.later(1)

    assert len(swept(lab)) == stored
    again = lab.rows(t.orders)
    assert [row.version for row in again] == [1, 1]
    assert all(late.read_at > early.read_at for early, late in zip(first, again, strict=True))


def test_a_page_like_the_last_one_is_stored_where_we_know_otherwise_meanwhile(kart) -> None:
    """A read between them told of another status: the page says that it is over."""
    lab, shop = kart
    shop.says["GET /orders"] = (200, {"orders": [order("R1")], "next": None})
    lab.work()
    shop.says["GET /orders/R1"] = (200, {"order": order("R1", status="Shipped")})
    with lab.daemon.store.write() as connection:
        queries.hint(connection, "kart", ["R1"], database_now(connection))
    lab.work()
    assert lab.one(t.orders).status == "shipped"
    shop.says["GET /orders/R1"] = (200, {"order": order("R1")})
    lab.later(1)

    assert lab.one(t.orders).status == "processing"


def test_checkouts_that_were_told_by_the_sweep_before_are_not_stored_again(kart) -> None:
    lab, shop = kart
    left = {"ref": "C1", "began_at": "2026-11-02T08:00:00Z", "updated_at": "2026-11-02T08:00:00Z"}
    shop.says["GET /checkouts"] = (200, {"checkouts": [left], "next": None})
    lab.work()
    stored = len(swept(lab))
    lab.later(1)
    assert len(swept(lab)) == stored
    shop.says["GET /checkouts"] = (200, {"checkouts": [left | {"recovered": True}], "next": None})
    lab.later(1)

    assert len(swept(lab)) == stored + 1
    assert "abandoned_checkout" not in lab.open_findings()


# a list that fails


def test_a_list_that_fails_alone_is_told_costs_the_sweep_only_and_is_asked_ever_more_seldom(kart) -> None:
    lab, shop = kart
    lab.work()
    shop.says["GET /checkouts"] = BadPayload("$.checkouts", "is missing")
    for minute in range(0, 120, 2):
        lab.clock.move_to(START + H + timedelta(minutes=minute))
        lab.work("poll")

    assert shop.calls["GET /checkouts"] <= 1 + 8 + 12  # the rests double up to a sweep's ten minutes
    told = finding(lab, "source_unavailable")
    assert (told.subject, told.evidence["why"]) == ("account/kart/sweep", "$.checkouts: is missing")
    assert state(lab).blocked_until is None
    assert state(lab).rests_until is None
    shop.says["GET /checkouts"] = (200, {"checkouts": [], "next": None})
    lab.later(1)
    assert "source_unavailable" not in lab.open_findings()
    assert state(lab).sweep_failing_since is None


def test_a_cursor_that_a_shop_no_longer_takes_is_given_up_for_where_the_sweep_began(kart) -> None:
    lab, shop = kart
    lab.work()
    began = state(lab).cursor
    pages = _long(4)
    shop.says["GET /orders"] = lambda params: Transient("gone") if params.get("cursor") == "2" else pages(params)
    lab.later(1)
    assert state(lab).cursor != began
    shop.says["GET /orders"] = lambda params: (400, {}) if params.get("cursor") == "2" else pages(params)
    lab.later(1)
    assert (state(lab).cursor, state(lab).sweep_from) == (began, None)
    shop.says["GET /orders"] = pages
    lab.later(1)

    assert len(lab.rows(t.orders)) == 8
    assert "source_unavailable" not in lab.open_findings()


def test_an_error_where_the_list_stands_loses_no_order_although_another_list_is_newer(kart) -> None:
    lab, shop = kart
    answers = read("rest-error-with-200.answers.json")
    shop.says["GET /orders"] = (200, {"orders": [order("R0")], "next": None})
    lab.work()
    shop.says |= {path: (said["status"], said["body"]) for path, said in answers.items()}
    lab.later(1)
    assert finding(lab, "source_unavailable").evidence["why"].startswith("GET /orders answered without its list")
    before = order("R1", updated_at="2026-11-02T08:30:00Z")  # while the newer checkout was there to be read
    shop.says["GET /orders"] = lambda params: (
        200,
        {"orders": [before][: params.get("updated_since", "") < "2026-11-02T08:30"], "next": None},
    )
    lab.later(4)

    assert [row.ref for row in lab.rows(t.orders)] == ["R0", "R1"]
    assert "abandoned_checkout" in lab.open_findings()
    assert "source_unavailable" not in lab.open_findings()


# an account that is away rests


def frozen(lab: Lab, shop: Script) -> dict[str, Any]:
    said = read("shopify-frozen-shop.answer.json")
    away = Unavailable(f"HTTP {said['status']}: {said['body']['errors']}")
    before = dict(shop.says)
    shop.says = dict.fromkeys(("GET /orders", "GET /checkouts", "GET /orders/R1", "PUT /orders/R1/status"), away)
    return before


def writing(lab: Lab, shop: Script) -> None:
    """Have a write wanted: the order's parcel was picked up."""
    shipped = order(
        "R1",
        delivery={"method": "courier"},
        fulfilments=[{"ref": "F1", "tracking": [{"carrier": "USPS", "number": USPS}]}],
    )
    shop.says["GET /orders"] = (200, {"orders": [shipped], "next": None})
    shop.says["GET /orders/R1"] = (200, {"order": shipped})

    def put(_params: dict[str, str]) -> Says:
        shipped["status"] = "Dispatched/Shipped"
        return 200, {"order": shipped}

    shop.says["PUT /orders/R1/status"] = put
    lab.work()
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.clock.move_to(START + 4 * H)
    lab.work("poll", "inbox", "reconcile")
    assert [row.state for row in lab.rows(t.outbox)] == ["pending"]


def test_a_frozen_shop_rests_its_writes_wait_and_one_finding_says_so_until_it_is_back(kart) -> None:
    lab, shop = kart
    writing(lab, shop)
    before = frozen(lab, shop)
    shop.calls.clear()
    for _ in range(8 * 12):  # eight hours, looked at every five minutes
        lab.clock.move_to(lab.clock() + timedelta(minutes=5))
        lab.work("poll", "inbox", "reconcile", "push")

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
    lab.work("poll", "inbox", "reconcile")
    lab.shop.faults.told.append(Told(left=99, status=said["status"], body=orjson.dumps(said["body"])))
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
    elsewhere, silent = lab.world.client, Silent(lab.world.client(lab.world.config.accounts["dhl"]), error)
    lab.world.client = lambda account: silent if account.name == "dhl" else elsewhere(account)
    lab.scan(lab.dhl, DHL, "transit", "AE")
    lab.scan(lab.ups, UPS, "I", "005")
    minutes(lab, 240)
    assert "source_unavailable" not in lab.open_findings()
    for _ in range(4):
        lab.rested()
        lab.change(t.trackings.update().where(t.trackings.c.account == "dhl").values(next_poll_at=lab.clock()))
        minutes(lab, 2)

    told = finding(lab, "source_unavailable")
    assert (told.subject, told.evidence["why"]) == ("account/dhl", str(error))
    assert lab.parcel(UPS).status == "in_transit"
    assert lab.parcel(DHL).status == "unknown"
    lab.world.client = elsewhere
    lab.rested()
    minutes(lab, 240)
    assert lab.parcel(DHL).status == "picked_up"
    assert "source_unavailable" not in lab.open_findings()


class Silent:
    """A client whose every call fails."""

    def __init__(self, client: Any, error: SourceError) -> None:
        self.vault, self.now, self.error = client.vault, client.now, error

    def send(self, request: Request) -> Answer:
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
    monkeypatch.setattr(act, "read_config", lambda _file: None)
    monkeypatch.setattr(act, "open_world", lambda _config: lab.world)
    assert CliRunner().invoke(act.heal, ["--config", "x"]).exit_code == 0
    lab.work()

    assert "source_unavailable" not in lab.open_findings()


@pytest.mark.parametrize(("lasts", "rest"), [(0, 30), (30, 30), (60, 60), (120, 120), (240, 240), (6000, 240)], ids=str)
def test_the_rest_doubles_from_half_an_hour_to_four(lasts: int, rest: int) -> None:
    minutes = timedelta(minutes=1)
    assert rests.grown(lasts * minutes, rests.FIRST, rests.LONGEST) == rest * minutes


# orders that are gone


def hint(lab: Lab, *refs: str, account: str = "kart") -> None:
    with lab.daemon.store.write() as connection:
        queries.hint(connection, account, refs, database_now(connection))


def minutes(lab: Lab, count: float, *queues: str) -> None:
    lab.clock.move_to(lab.clock() + timedelta(minutes=count))
    lab.work(*queues)


def two(lab: Lab, shop: Script) -> dict[str, Any]:
    """Two orders, the first with a parcel under way."""
    first = order("R1", fulfilments=[{"ref": "F1", "tracking": [{"carrier": "USPS", "number": USPS}]}])
    shop.says["GET /orders"] = (200, {"orders": [first, order("R2")], "next": None})
    shop.says["GET /orders/R1"] = (200, {"order": first})
    shop.says["GET /orders/R2"] = (200, {"order": order("R2")})
    lab.work()
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    minutes(lab, 240)
    return first


def looked_for_again(lab: Lab) -> None:
    """Let the store be swept, and the order be looked for once more."""
    minutes(lab, 6, "poll", "inbox")
    lab.change(t.accounts.update().values(next_sweep_at=None))
    lab.work()
    minutes(lab, 5)


def delete(shop: Script, ref: str = "R1") -> None:
    del shop.says[f"GET /orders/{ref}"]
    shop.says["GET /orders"] = (200, {"orders": [], "next": None})


def test_an_order_that_two_reads_do_not_find_is_gone_told_and_its_parcels_are_tracked(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    delete(shop)
    hint(lab, "R1")
    lab.work()
    assert "order_gone" not in lab.open_findings()  # one read says little
    assert lab.one(t.rereads).missed_at == lab.clock()
    looked_for_again(lab)

    told = finding(lab, "order_gone")
    assert (told.subject, told.severity) == ("kart/#R1", "warning")
    assert told.evidence["why"] == "not_found"
    assert told.evidence["under_way"] == f"usps {USPS}"
    gone = lab.one(t.orders, t.orders.c.ref == "R1")
    assert (gone.gone_at, gone.gone_why) == (lab.clock(), "not_found")
    assert lab.rows(t.rereads) == []
    assert "order_gone" in lab.rows(t.decisions, t.decisions.c.order_id == gone.id)[-1].because

    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination")
    minutes(lab, 300)
    assert lab.parcel(USPS).status == "delivered"
    assert not lab.rows(t.outbox, t.outbox.c.kind != "notice", t.outbox.c.state.in_(["pending", "sent"]))
    assert finding(lab, "order_gone").severity == "info"


def test_a_hint_of_a_missed_order_asks_at_once_and_two_quick_reads_are_still_one(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    delete(shop)
    for _ in range(3):
        hint(lab, "R1", "R2")
        minutes(lab, 1)
    assert shop.calls["GET /orders/R1"] == 3
    assert "order_gone" not in lab.open_findings()


def test_a_shop_that_finds_nothing_at_all_has_lost_its_way_and_not_its_orders(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    shop.says = {}  # 404 for everything
    hint(lab, "R1", "R2")
    for _ in range(6):
        minutes(lab, 11)

    assert [row.gone_at for row in lab.rows(t.orders)] == [None, None]
    assert "source_unavailable" in lab.open_findings()


def test_an_order_that_is_read_again_is_there_again(kart) -> None:
    lab, shop = kart
    first = two(lab, shop)
    delete(shop)
    hint(lab, "R1")
    lab.work()
    looked_for_again(lab)
    assert "order_gone" in lab.open_findings()
    shop.says["GET /orders"] = (200, {"orders": [first], "next": None})
    shop.says["GET /orders/R1"] = (200, {"order": first})
    minutes(lab, 11)

    assert "order_gone" not in lab.open_findings()
    back = lab.one(t.orders, t.orders.c.ref == "R1")
    assert (back.gone_at, back.gone_why) == (None, None)
    versions = lab.rows(t.order_versions, t.order_versions.c.order_id == back.id)
    assert [version.facts.get("gone", "") for version in versions] == ["", "not_found", ""]


def test_a_write_to_an_order_that_is_not_found_is_taken_back_and_wanted_again_once_it_is_found(kart) -> None:
    lab, shop = kart
    writing(lab, shop)
    there = shop.says.pop("GET /orders/R1")
    lab.work("push")
    assert [(row.state, row.error) for row in lab.rows(t.outbox)] == [
        ("superseded", "the order was not there: it is read again")
    ]
    assert "write_refused" not in lab.open_findings()
    shop.says["GET /orders/R1"] = there
    minutes(lab, 11)

    assert [row.state for row in lab.rows(t.outbox)] == ["superseded", "sent"]
    assert lab.one(t.orders).gone_at is None


def test_an_order_that_a_hook_named_and_nobody_ever_found_is_told_until_it_is_read(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    hint(lab, "R9")
    lab.work()
    assert "order_unreadable" not in lab.open_findings()
    looked_for_again(lab)

    told = finding(lab, "order_unreadable")
    assert told.evidence["order"] == "R9"
    assert told.evidence["problem"].startswith(
        "a hook named it, and two reads did not find it, the first at 2026-11-02"
    )
    assert lab.rows(t.rereads) == []
    shop.says["GET /orders/R9"] = (200, {"order": order("R9")})
    hint(lab, "R9")
    lab.work()
    assert "order_unreadable" not in lab.open_findings()


def test_a_write_to_an_order_that_is_gone_is_never_sent(kart) -> None:
    lab, shop = kart
    writing(lab, shop)
    delete(shop)
    lab.work("push")
    looked_for_again(lab)
    minutes(lab, 240)

    assert shop.calls["PUT /orders/R1/status"] == 0
    assert [row.state for row in lab.rows(t.outbox)] == ["superseded"]
    assert "order_gone" in lab.open_findings()


def test_a_note_by_hand_to_an_order_that_is_not_there_is_refused_and_told(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    delete(shop)
    say.say(lab.world, lab.one(t.orders, t.orders.c.ref == "R1"), StatementKind.NOTE, "called", "ann", to_shop=True)
    lab.work("push")

    assert [row.state for row in lab.rows(t.outbox, t.outbox.c.kind == "order_note")] == ["refused"]
    assert finding(lab, "write_refused").evidence["said"] == "the order is not there"


@pytest.mark.parametrize(
    ("age", "all_orders", "why"), [(59, False, "not_found"), (61, False, "out_of_sight"), (61, True, "not_found")]
)
def test_an_old_order_that_a_permission_hides_is_out_of_sight_and_not_gone(make_lab, age, all_orders, why) -> None:
    lab = make_lab(store=f"mode: write, read_all_orders: {str(all_orders).lower()}")
    lab.order("#1001", USPS)
    lab.order("#1002")
    lab.work()
    first = lab.one(t.orders, t.orders.c.number == "#1001")
    lab.shop.orders.pop("#1001")
    lab.clock.move_to(lab.clock() + timedelta(days=age))
    hint(lab, first.ref, account="shop")
    lab.work()
    looked_for_again(lab)

    assert lab.one(t.orders, t.orders.c.id == first.id).gone_why == why
    assert ("order_out_of_sight" in lab.open_findings()) is (why == "out_of_sight")
    assert ("order_gone" in lab.open_findings()) is (why == "not_found")


@pytest.mark.parametrize("others_answer", [True, False])
def test_an_order_that_fails_alone_again_and_again_is_told(kart, others_answer: bool) -> None:
    """A page of HTML with 404 says nothing of an order: neither that it is gone, nor anything else."""
    lab, shop = kart
    two(lab, shop)
    shop.says["GET /orders/R1"] = Transient("HTTP 404 with a page of HTML instead of an answer")
    hint(lab, "R1")
    for _ in range(12):
        lab.rested()
        lab.change(t.rereads.update().values(due_at=START))
        if not others_answer:
            lab.change(t.accounts.update().values(answered_at=START))
            shop.says |= dict.fromkeys(("GET /orders", "GET /checkouts"), Transient("HTTP 404"))
        minutes(lab, 11)

    assert ("order_unreadable" in lab.open_findings()) is others_answer
    assert ("source_unavailable" in lab.open_findings()) is not others_answer
    assert lab.one(t.orders, t.orders.c.ref == "R1").gone_at is None


def test_a_write_to_an_order_that_a_shop_refuses_to_tell_waits(kart) -> None:
    lab, shop = kart
    writing(lab, shop)
    there = shop.says["GET /orders/R1"]
    shop.says["GET /orders/R1"] = (400, {"error": {"code": "odd", "message": "cannot say"}})
    lab.work("push")
    lab.work("poll")
    assert [(row.state, row.error) for row in lab.rows(t.outbox)] == [("pending", "Refused: odd: cannot say")]
    assert finding(lab, "order_unreadable").evidence["order"] == "#R1"
    shop.says["GET /orders/R1"] = there
    lab.change(t.outbox.update().values(due_at=START))
    minutes(lab, 61)

    assert [row.state for row in lab.rows(t.outbox)] == ["sent"]
    assert not {"order_unreadable", "write_refused"} & lab.open_findings()


def test_an_archived_order_of_bigcommerce_gets_no_writes_and_its_parcel_is_tracked(make_lab) -> None:
    lab = make_lab(
        yaml='  big: {uses: bigcommerce, store_hash: h, base_url: "http://127.0.0.1:9/big", access_token: "${file:FOLDER/s}",\n'
        '        hook_key: "${file:FOLDER/hook}", mode: write, policy: {preset: kartrocket-own-courier}}\n'
    )
    shop = Script(lab, "big")
    archived = read("bigcommerce-archived-order.read.json")
    parcel = {"id": 1, "order_id": 250, "date_created": "Mon, 02 Nov 2026 08:00:00 +0000", "tracking_number": USPS,
              "tracking_carrier": "usps", "items": [{"order_product_id": 1, "quantity": 1}]}  # fmt: skip
    item = {"id": 1, "quantity": 1, "type": "physical", "name": "Hat"}
    shop.says = {
        "GET /stores/h/v2/orders": (200, [archived]),
        "GET /stores/h/v2/orders/250": (200, archived),
        "GET /stores/h/v2/orders/250/products": (200, [item]),
        "GET /stores/h/v2/orders/250/shipments": (200, [parcel]),
    }
    lab.work()
    told = finding(lab, "order_gone")
    assert (told.evidence["why"], told.evidence["under_way"]) == ("deleted", f"usps {USPS}")
    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination")
    minutes(lab, 300)
    assert lab.parcel(USPS).status == "delivered"
    assert not [call for call in shop.calls if call.startswith("PUT")]

    shop.says |= dict.fromkeys(("GET /stores/h/v2/orders/250",), (200, archived | {"is_deleted": False}))
    hint(lab, "250", account="big")
    minutes(lab, 5)
    assert "order_gone" not in lab.open_findings()
    assert lab.one(t.orders).gone_at is None


def test_an_order_that_a_shop_refuses_to_tell_takes_no_other_with_it_and_is_told(kart) -> None:
    lab, shop = kart
    two(lab, shop)
    shop.says["GET /orders/R1"] = (400, {"error": {"code": "odd", "message": "cannot say"}})
    shop.says["GET /orders/R2"] = (200, {"order": order("R2", status="Shipped")})
    hint(lab, "R1", "R2")
    lab.work()

    assert lab.one(t.orders, t.orders.c.ref == "R2").status == "shipped"
    told = finding(lab, "order_unreadable")
    assert (told.subject, told.evidence["problem"]) == ("kart/ref/R1", "odd: cannot say")
    before = shop.calls["GET /orders/R1"]
    minutes(lab, 30)
    assert shop.calls["GET /orders/R1"] == before  # once an hour
    shop.says["GET /orders/R1"] = (200, {"order": order("R1", status="Shipped")})
    minutes(lab, 31)
    assert lab.one(t.orders, t.orders.c.ref == "R1").status == "shipped"
    assert "order_unreadable" not in lab.open_findings()
    assert lab.rows(t.rereads) == []


# times that cannot be


def test_an_order_that_changed_in_the_future_is_told_and_hides_no_later_read(kart) -> None:
    lab, shop = kart
    shop.says["GET /orders"] = (200, read("rest-updated-in-the-future.sweep.json"))
    lab.work()
    told = finding(lab, "order_time_wrong")
    assert told.evidence == {"order": "#2", "updated_at": "2026-12-02T09:00:00+00:00", "ahead": "30 days"}
    lab.later(24)
    assert finding(lab, "order_time_wrong").evidence == told.evidence  # the same fact, a day nearer

    shop.says["GET /orders/R2"] = (200, {"order": order("R2", status="Shipped", updated_at="2026-11-03T08:00:00Z")})
    with lab.daemon.store.write() as connection:
        queries.hint(connection, "kart", ["R2"], database_now(connection))
    lab.work("poll", "inbox", "reconcile")
    assert lab.one(t.orders).status == "shipped"
    assert "order_time_wrong" not in lab.open_findings()


@pytest.mark.parametrize(("minutes", "told"), [(9, False), (11, True), (130, True)])
def test_a_clock_that_is_some_minutes_ahead_is_nobodys_fault(kart, minutes: int, told: bool) -> None:
    lab, shop = kart
    at = (START + timedelta(minutes=minutes)).isoformat()
    shop.says["GET /orders"] = (200, {"orders": [order("R1", updated_at=at)], "next": None})
    lab.work()
    assert ("order_time_wrong" in lab.open_findings()) is told
    lab.later(3)
    assert "order_time_wrong" not in lab.open_findings()  # by now it lies behind


@pytest.mark.parametrize("shipped", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2026-11-01T00:00:00Z", None])
def test_a_ship_date_before_the_order_is_none_so_the_parcel_is_asked_about_until_it_is_delivered(kart, shipped) -> None:
    lab, shop = kart
    told = read("rest-shipped-1970.read.json")["order"]
    told["fulfilments"][0]["shipped_at"] = shipped
    shop.says["GET /orders"] = (200, {"orders": [told], "next": None})
    shop.says["GET /orders/R1"] = (200, {"order": told})
    shop.says["PUT /orders/R1/status"] = (200, {"order": {"ref": "R1", "status": "Delivered"}})
    lab.work()
    lab.later(20)
    assert lab.one(t.trackings).next_poll_at is not None
    assert "tracking_expired" not in lab.open_findings()
    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination")
    lab.later(7)

    assert lab.parcel(USPS).status == "delivered"
    assert lab.one(t.orders).facts["fulfilments"][0]["shipped_at"] is None


def test_an_answer_without_news_keeps_the_estimates_cadence() -> None:
    assert Player(load_scenario(HERE / "estimate.yaml")).play().differences == []
