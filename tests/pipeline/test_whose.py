"""Whose parcel is it: of several accounts one is asked, by the carriers' own logs; the others are heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from tests.lab import START, TOKEN, UPS, USPS, H, Lab, Make
from tracker.cli.main import cli
from tracker.pipeline import whose
from tracker.sandbox.base import Carrier, Outgoing
from tracker.sandbox.fakes.easypost import EasyPostServer
from tracker.sandbox.fakes.ups import UPSServer
from tracker.sandbox.scenario import Edit
from tracker.sandbox.servers import FakeServers
from tracker.store import tables as t
from tracker.support.explain import overview
from tracker.upkeep import maintenance
from tracker.upkeep.settle import settle_accounts

PUSHED = (
    b'{"trackingNumber": "%s", "localActivityDate": "%s", "localActivityTime": "080000", "activityLocation": {"city": "RENO",'
    b' "stateProvince": "NV", "country": "US"}, "activityStatus": {"type": "I", "code": "OR", "description": "Origin Scan"}}'
)
WEEK = 7 * 24  # hours: a label waits for its first scan for so long, by the default of policies


class Town:
    """A lab with several accounts of a carrier, each with a server and a log of its own."""

    def __init__(self, make_lab: Make, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
        self._make, self._monkeypatch, self._more = make_lab, monkeypatch, more
        self.now = START
        self.servers: dict[str, Carrier] = {
            name: UPSServer(name, self.clock, key="s", hook="hook", client_id="id")
            for name in ("ups-a", "ups-b", "ups-c")
        }
        self.servers["easy"] = easy = EasyPostServer("easy", self.clock, key="s", hook="hook")
        easy.carriers[UPS] = "UPS"
        self.fakes = FakeServers(list(self.servers.values()))
        self.lab: Lab

    def clock(self) -> Any:
        return self.lab.clock() if hasattr(self, "lab") else START

    def open(self, accounts: str, *, names: tuple[str, ...] = ("ups-a", "ups-b", "ups-c", "easy")) -> Lab:
        """Connect a store that names these accounts, of those that are configured."""
        base = f"http://127.0.0.1:{self.fakes.start()}"
        for name, value in (("KEY", "s"), ("HOOK", "hook"), ("TOKEN", TOKEN)):
            self._monkeypatch.setenv(name, value)
        said = "".join(self._account(name, base) for name in names)
        named = f"accounts: {accounts}" if accounts else ""
        self.lab = self._make(accounts=said, store=f"mode: write, {named}", **self._more)
        for name in ("ups", "dhl", "easypost"):  # the lab's own
            self.without(name)
        self.lab.work()
        return self.lab

    def _account(self, name: str, base: str) -> str:
        hooks = "webhook_secrets: '${env:HOOK}'"
        if name == "easy":
            return f"  easy: {{uses: easypost, base_url: {base}/easy, api_key: '${{env:KEY}}', {hooks}}}\n"
        return (
            f"  {name}: {{uses: ups, base_url: {base}/{name}, client_id: id, client_secret: '${{env:KEY}}', {hooks},"
            " webhook_token: '${env:TOKEN}'}\n"
        )

    def without(self, name: str) -> None:
        kept = {key: account for key, account in self.lab.ctx.config.accounts.items() if key != name}
        self.reload(kept)

    def reload(self, accounts: Any) -> None:
        self.lab.ctx.config = replace(self.lab.ctx.config, accounts=accounts)
        settle_accounts(self.lab.ctx)

    def change(self, name: str, **values: Any) -> None:
        accounts = self.lab.ctx.config.accounts
        self.reload({**accounts, name: replace(accounts[name], **values)})

    def asked(self) -> dict[str, int]:
        """Return how often each account was asked about parcels since the last time, by its own log."""
        found = {name: server.calls.pop("track", 0) for name, server in self.servers.items()}
        return {name: count for name, count in found.items() if count}

    def chosen(self, number: str = UPS) -> tuple[str, str]:
        """Return who is asked about a parcel and why; nobody else may be."""
        rows = self.lab.rows(t.watches, t.watches.c.shipment_id == self.lab.parcel(number).id)
        (row,) = (row for row in rows if row.chosen is not None)
        assert [r.account for r in rows if r.next_poll_at is not None or r.register_at is not None] in (
            [],
            [row.account],
        )
        return row.account, row.chosen

    def scan(self, name: str, code: str = "038", **more: Any) -> None:
        self.lab.scan(self.servers[name], UPS, "I", code, letters="OR", **more)


@pytest.fixture
def town(make_lab: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    made = Town(make_lab, monkeypatch)
    yield made
    made.fakes.stop()


def shipped(town: Town, accounts: str = "[ups-b, ups-a, easy]", **more: Any) -> Lab:
    lab = town.open(accounts, **more)
    lab.order("#1", UPS, company="UPS")
    lab.work()
    return lab


def pushed(account: str, day: str = "20261102") -> Outgoing:
    """Make the webhook of an account about the parcel."""
    return Outgoing(account, PUSHED % (UPS.encode(), day.encode()), {"credential": "hook"})


def test_one_account_is_asked_the_first_that_the_store_names_and_the_others_are_heard(town: Town) -> None:
    lab = shipped(town)
    assert town.chosen() == ("ups-b", "named first by store shop")
    assert town.asked() == {"ups-b": 1}
    assert {name for name, server in town.servers.items() if server.calls["subscribe"]} == {"ups-b"}

    town.scan("ups-a")
    lab.post(pushed("ups-a"))
    lab.later(30)
    assert town.asked().keys() == {"ups-b"}
    heard = lab.one(t.watches, t.watches.c.account == "ups-a")
    assert (heard.chosen, heard.next_poll_at, heard.tracking_state) == (None, None, "active")
    assert lab.parcel(UPS).summary["scans"] == 1


def test_nobody_else_is_asked_after_an_outage_a_replay_a_doubt_or_at_once(town: Town) -> None:
    lab = shipped(town)
    lab.later(1)
    town.asked()
    maintenance.heartbeat(lab.ctx, lab.clock())
    maintenance.heartbeat(lab.ctx, lab.clock() + H)
    lab.work()
    assert town.asked() == {"ups-b": 1}
    lab.later(2)
    lab.change(t.orders.update().values(reconcile_at=lab.clock()))
    lab.later(WEEK - 10)
    assert set(town.asked()) == {"ups-b"}


def test_a_late_not_found_lets_the_next_one_be_asked_and_the_aggregator_after_the_direct_ones(town: Town) -> None:
    lab = shipped(town)
    lab.later(WEEK - 24)
    assert town.chosen()[0] == "ups-b", "a label may wait so long"
    town.scan("easy", "departed_facility")
    town.servers["easy"].history[UPS][-1]["type"] = "in_transit"
    town.asked()
    lab.later(48)

    assert town.chosen()[0] == "easy"
    assert town.chosen()[1].startswith("ups-b does not know it since 2026-11-1")
    assert ", ups-a does not know it since" in town.chosen()[1]
    assert {name: n > 0 for name, n in town.asked().items()} == {"ups-b": True, "ups-a": True, "easy": True}
    assert lab.parcel(UPS).status == "in_transit"
    lab.later(24)
    assert set(town.asked()) == {"easy"}


def test_where_nobody_knows_a_parcel_the_first_is_asked_on(town: Town) -> None:
    lab = shipped(town)
    lab.later(WEEK + 24)
    assert town.chosen()[0] == "easy", "it is told of the parcel just now"
    lab.later(7)
    assert set(town.asked()) == {"ups-b", "ups-a", "easy"}
    assert town.chosen()[0] == "ups-b"
    assert town.chosen()[1].startswith("nobody knows it: ups-b does not know it since")
    lab.later(24)
    assert town.asked() == {"ups-b": 1}


def test_one_that_was_passed_over_and_tells_of_the_parcel_is_asked_again(town: Town) -> None:
    lab = shipped(town)
    town.scan("ups-a", hours=WEEK)
    lab.later(WEEK + 24)
    assert town.chosen()[0] == "ups-a"
    lab.post(pushed("ups-b", "20261111"))
    lab.work()
    assert town.chosen() == ("ups-b", "named first by store shop")


def test_a_suspended_account_gives_its_parcels_to_the_next_and_has_them_again_with_new_credentials(town: Town) -> None:
    lab = shipped(town)
    lab.order("#2", "1Z5338FF0107231059", company="UPS")
    lab.work()
    town.asked()
    server = town.servers["ups-b"]
    server.key = "another"
    server._tokens.clear()  # type: ignore[attr-defined]
    for name in ("ups-b", "ups-a"):
        town.scan(name)
    lab.later(12)
    assert lab.one(t.accounts, t.accounts.c.name == "ups-b").suspended_reason
    assert town.chosen() == town.chosen("1Z5338FF0107231059") == ("ups-a", "ups-b is suspended")
    lab.later(0.1)
    assert set(town.asked()) == {"ups-a"}
    assert lab.parcel(UPS).status == "picked_up"

    server.key = "s"
    town.change("ups-b", credentials="new")
    assert town.chosen() == ("ups-b", "named first by store shop")
    lab.later(12)
    assert set(town.asked()) == {"ups-b"}


def test_a_suspension_after_which_the_process_died_is_settled_by_the_monitors(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = shipped(town)
    lab.change(t.accounts.update().where(t.accounts.c.name == "ups-b").values(suspended_reason="401"))
    assert town.chosen()[0] == "ups-b"
    maintenance.run_monitors(lab.ctx)
    assert town.chosen() == ("ups-a", "ups-b is suspended")
    lab.order("#2", "1Z5338FF0107231059", company="UPS")
    lab.work()
    assert town.chosen("1Z5338FF0107231059") == ("ups-a", "ups-b is suspended"), "and for what is linked meanwhile"
    monkeypatch.setattr(whose, "walk", lambda *_, **__: pytest.fail("nothing changed"))
    maintenance.run_monitors(lab.ctx)


@pytest.mark.parametrize("at_once", [1, whose.AT_ONCE])
def test_a_change_of_the_stores_list_or_of_what_accounts_track_chooses_anew(
    town: Town, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(whose, "AT_ONCE", at_once)
    lab = shipped(town)
    lab.order("#2", "1Z5338FF0107231059", USPS, company="UPS")
    lab.work()
    due = lab.one(t.watches, t.watches.c.account == "ups-b", t.watches.c.shipment_id == lab.parcel(UPS).id).next_poll_at
    town.change("shop", ships_with=("ups-c", "ups-b"))
    assert town.chosen() == town.chosen("1Z5338FF0107231059") == ("ups-c", "named first by store shop")
    given = lab.one(t.watches, t.watches.c.account == "ups-c", t.watches.c.shipment_id == lab.parcel(UPS).id)
    assert (given.next_poll_at, given.store) == (due, "shop"), "its turn comes when the other's would have"

    town.change("ups-c", tracks=("ups_mi",))
    assert town.chosen() == ("ups-b", "named first by store shop")
    town.without("ups-b")
    assert town.chosen()[1] == "it tells of it, and no account of the store covers ups"
    town.change("shop", ships_with=())
    assert town.chosen() == ("ups-a", "the only account of ups")
    assert not lab.rows(t.watches, t.watches.c.account == "ups-b")


def test_a_parcel_of_two_stores_is_asked_as_who_linked_it_first_says_while_that_link_stands(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town(make_lab, monkeypatch, rest="{preset: kingston-courier}, accounts: [ups-a]")
    lab = shipped(town, "[ups-b]")
    lab.rest.place("K1", lab.clock(), status="Processing", method="courier")
    lab.rest.ship("K1", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
    lab.work()
    assert town.chosen() == ("ups-b", "named first by store shop")

    lab.shop.on_edit(Edit(order="#1", numbers=("1Z5338FF0107231059",), company="UPS"), lab.clock())
    lab.work()
    assert town.chosen() == ("ups-a", "named first by store kart")
    assert town.chosen("1Z5338FF0107231059") == ("ups-b", "named first by store shop")
    town.fakes.stop()


def test_a_parcel_that_no_order_names_any_more_is_asked_about_as_before(town: Town) -> None:
    lab = shipped(town)
    lab.shop.on_edit(Edit(order="#1", numbers=("1Z5338FF0107231059",), company="UPS"), lab.clock())
    lab.work()
    assert town.chosen() == ("ups-b", "named first by store shop")
    town.without("ups-b")
    assert town.chosen() == ("ups-a", "named first by store shop")


def test_an_account_that_takes_over_an_urgent_parcel_goes_before_others_too(town: Town) -> None:
    lab = shipped(town)
    lab.change(t.watches.update().values(urgent=True))
    town.change("shop", ships_with=("ups-c",))
    assert town.chosen()[0] == "ups-c"
    assert [(row.account, row.urgent) for row in lab.rows(t.watches)] == [("ups-b", False), ("ups-c", True)]


def test_what_an_older_version_asked_of_several_accounts_is_asked_of_one_after_the_first_start(town: Town) -> None:
    lab = shipped(town)
    mine = {"shipment_id": lab.parcel(UPS).id, "attempts": 0, "failures": 0, "tracking_state": "not_found"}
    rows = [{**mine, "account": name, "next_poll_at": START + n * H} for n, name in enumerate(("ups-a", "easy"), 3)]
    with lab.daemon.store.write() as connection:
        connection.execute(t.watches.insert(), rows)
        connection.execute(t.watches.update().values(chosen=None, store=None))
        connection.execute(t.accounts.update().where(t.accounts.c.kind == "store").values(speaks=None))
    settle_accounts(lab.ctx)
    assert town.chosen() == ("ups-b", "named first by store shop")
    assert len(lab.rows(t.watches)) == 3, "what they know is kept"


def test_show_says_who_is_asked_why_and_who_is_heard(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = shipped(town)
    lab.post(pushed("ups-a"))
    lab.work()
    (order,) = overview(lab.ctx, "#1")["orders"]
    first, second = order["parcels"][0]["watched_by"]
    assert (first["account"], first["asked_for"], first["asked_because"]) == (
        "ups-b",
        "shop",
        "named first by store shop",
    )
    assert (second["account"], second["asked_because"], second["next_poll_at"]) == ("ups-a", None, None)

    monkeypatch.setattr("tracker.cli.look.open_context", lambda *_: lab.ctx)
    monkeypatch.setattr("tracker.cli.look.glance_config", lambda _: lab.ctx.config)
    said = CliRunner().invoke(cli, ["show", "#1"], env={"COLUMNS": "300"}).output
    assert "asked: ups-b for shop (named first by store shop): not_found" in said
    assert "heard: ups-a: active; what it pushes is taken, nobody asks it" in said


def test_of_five_hundred_accounts_one_is_asked_about_a_new_parcel(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town(make_lab, monkeypatch)
    lab = town.open("", names=("ups-a",))
    accounts = lab.ctx.config.accounts
    many = {f"ups-{n:03}": replace(accounts["ups-a"], name=f"ups-{n:03}") for n in range(500)}
    town.reload({**{name: a for name, a in accounts.items() if a.is_store}, **many})
    lab.order("#1", UPS, company="UPS")
    lab.work()
    assert town.asked() == {"ups-a": 1}, "all of them stand before this server"
    account, why = town.chosen()
    assert (account in many, why) == (True, "by a stable rule: store shop names none")
    town.fakes.stop()
