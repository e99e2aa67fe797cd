"""One wrong store is suspended and told, and the others go on: real processes, real HTTP, real databases."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.app.site import NUMBER, Site
from tests.conftest import wait_for
from tests.lab import UPS, H, Lab
from tracker.cli.main import cli
from tracker.clock import system_now
from tracker.config.load import load_text
from tracker.domain.errors import ConfigError
from tracker.pipeline import receive
from tracker.store import queries
from tracker.store import tables as t
from tracker.support.knowledge import knowledge


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def findings(site: Any, **more: Any) -> list[Any]:
    return [row for row in site.rows(t.findings, t.findings.c.kind == "entry_wrong") if row.closed_at is None]


# what belongs to an entry, and what to the file

TWO = """
accounts:
  ups: {uses: ups, client_id: id, client_secret: "${env:S}"}
stores:
  one: {uses: shopify, shop: a.myshopify.com, access_token: "${env:S}"}
  two: {uses: shopify, shop: b.myshopify.com, access_token: "${env:S}"}
"""
OF_AN_ENTRY = {
    "a setting": ("shop: b.", "shopp: b.", "two"),
    "a secret in clear": ('b.myshopify.com, access_token: "${env:S}"', "b.myshopify.com, access_token: abc", "two"),
    "a secret that is not there": ('b.myshopify.com, access_token: "${env:S}"', "b.myshopify.com, access_token: '${env:NONE}'", "two"),
    "its policy": ("shop: b.myshopify.com,", "shop: b.myshopify.com, policy: {preset: mirrorr},", "two"),
    "an address": ("shop: b.myshopify.com,", "shop: b.myshopify.com, base_url: 'ftp://x',", "two"),
    "no such plugin": ("two: {uses: shopify", "two: {uses: shoppify", "two"),
    "no mapping": ("two: {uses: shopify", "two: 5\n  three: {uses: shopify", "two"),
    "a key twice": ("shop: b.myshopify.com,", "shop: b.myshopify.com, shop: c.myshopify.com,", "two"),
    "a name twice": ("two: {uses", "one: {uses", "one"),
    "an account's name": ("two: {uses", "ups: {uses", "ups"),
    "an account": ("client_id: id", "client_idd: id", "ups"),
}  # fmt: skip
OF_THE_FILE = {
    "no YAML": ("two: {uses: shopify", "two: {uses: [shopify"),
    "a root's setting": ("accounts:", "threads: none\naccounts:"),
    "a root's secret": ("accounts:", "vault_key: '${env:NONE}'\naccounts:"),
    "an unknown root's key": ("accounts:", "acounts: {}\naccounts:"),
    "no name": ("two: {uses", '"": {uses'),
    "a file that is not there": ("accounts:", "include: nowhere.yaml\naccounts:"),
    "what all share": ("accounts:", "defaults: {stores: {mode: wrote}}\naccounts:"),
    "a section that is none": ("stores:", "stores: 5\nx:"),
}


@pytest.mark.parametrize("change", OF_AN_ENTRY.values(), ids=OF_AN_ENTRY)
def test_what_is_wrong_with_an_entry_suspends_it_alone(
    change: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S", "a-secret-of-some-length")
    text = TWO.replace(*change[:2])
    with pytest.raises(ConfigError) as strict:
        load_text(text)
    config = load_text(text, partly=True)

    assert set(config.suspended) == {change[2]}
    (wrong,) = config.suspended.values()
    assert wrong.problems == tuple(strict.value.problems)
    assert config.accounts and change[2] not in config.accounts


@pytest.mark.parametrize("change", OF_THE_FILE.values(), ids=OF_THE_FILE)
def test_what_is_wrong_with_the_file_refuses_it_as_a_whole(
    change: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S", "a-secret-of-some-length")
    with pytest.raises(ConfigError):
        load_text(TWO.replace(*change), partly=True)


def test_a_file_of_which_no_entry_is_right_is_refused_it_is_rather_the_environment() -> None:
    with pytest.raises(ConfigError, match="the environment variable NOWHERE is not set"):
        load_text(TWO.replace("${env:S}", "${env:NOWHERE}"), partly=True)


def test_a_plugin_that_fails_is_a_problem_of_who_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from adapters.shopify import Shopify

    def fails(self: Any, name: str, settings: Any) -> None:
        if name == "two":
            raise ZeroDivisionError
        real(self, name, settings)

    real = Shopify.__init__
    monkeypatch.setenv("S", "a-secret-of-some-length")
    monkeypatch.setattr(Shopify, "__init__", fails)
    config = load_text(TWO, partly=True)

    assert str(config.suspended["two"]).endswith("stores.two.uses: the plugin fails: ZeroDivisionError")
    assert config.suspended["two"].is_store


def test_what_verifies_webhooks_is_its_own_settings_where_nothing_is_wrong_with_those(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("S", "a-secret-of-some-length")
    one = TWO.replace("shop: b.myshopify.com,", "shop: b.myshopify.com, webhook_secrets: '${env:S}', mode: wrote,")
    other = TWO.replace("shop: b.myshopify.com,", "shop: b.myshopify.com, webhook_secrets: '${env:NONE}',")
    typo = TWO.replace("shop: b.myshopify.com,", "shop: b.myshopify.com, webhook_secret: '${env:S}', mode: wrote,")

    found = load_text(one, partly=True).receiver("two")
    assert (
        found is not None and found.source.settings.webhook_secrets[0].get_secret_value() == "a-secret-of-some-length"
    )
    assert load_text(other, partly=True).receiver("two") is None
    assert load_text(typo, partly=True).receiver("two") is None
    before = load_text(TWO)
    assert load_text(other, partly=True).after(before).receiver("two") is before.accounts["two"]
    assert load_text(other, partly=True).after(load_text(one, partly=True)).receiver("two") is not None
    assert load_text(other, partly=True).after(load_text(TWO.partition("  two")[0])).receiver("two") is None


# what becomes of it, step by step


def wrong(lab: Lab, *, name: str = "kart") -> Any:
    head, mine, rest = lab.yaml.partition(f"  {name}:")
    return load_text(head + mine + rest.replace("uses:", "odd: 1, uses:", 1), partly=True)


def test_a_store_that_became_wrong_waits_and_goes_on_where_it_stood_once_it_is_mended(make_lab) -> None:
    lab: Lab = make_lab(rest="{preset: kingston-courier}")
    for name in ("#7", "#8"):
        lab.rest.place(name, lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.order("#1")
    lab.work()
    lab.rest.ship("#7", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
    assert lab.daemon.reload(lambda: wrong(lab)) is True
    (said,) = lab.daemon.not_ready()
    assert said.startswith("store kart is suspended: ") and ": stores.kart.odd: unknown key" in said
    (told,) = findings(lab)
    assert (told.severity, told.store, told.subject) == ("urgent", "kart", "store/kart")
    assert "stores.kart.odd: unknown key" in told.evidence["problem"]
    kart = t.accounts.c.name == "kart"
    assert lab.one(t.accounts, kart).suspended_reason.startswith(queries.BY_ENTRY)

    hooks, lab.rest.outgoing[:] = list(lab.rest.outgoing), []
    for hook in hooks:
        receiver = lab.ctx.config.receiver("kart")
        assert receiver is not None  # its last good settings
        headers = {name.lower(): value for name, value in hook.headers.items()}
        payload = receive.check(receiver, "", headers, hook.body, lab.clock()).payload
        receive.commit(lab.ctx, [(receiver, payload)])
    lab.change(t.orders.update().values(reconcile_at=lab.clock()))
    lab.clock.move_to(lab.clock() + H)
    lab.work()
    lab.work()
    waiting = lab.rows(t.inbox, t.inbox.c.account == "kart", t.inbox.c.state == "pending")
    assert len(waiting) == len(hooks) > 0
    assert {row.attempts for row in waiting} == {1}  # taken once, and not again and again
    assert {row.reconcile_at for row in lab.rows(t.orders, t.orders.c.store == "kart")} == {queries.UNTIL_MENDED}
    assert lab.rows(t.orders, t.orders.c.store == "shop", t.orders.c.reconcile_at >= queries.UNTIL_MENDED) == []
    (gap,) = [gap for gap in knowledge(lab.ctx).gaps if gap.what == "store_parked"]
    assert "its entry in the configuration is wrong" in gap.why and "tracker reload" in gap.until

    assert lab.daemon.reload(lambda: load_text(lab.yaml, partly=True)) is True
    assert findings(lab) == [] and not any("suspended" in said for said in lab.daemon.not_ready())
    lab.work()
    assert lab.one(t.accounts, kart).suspended_reason is None
    assert {row.state for row in lab.rows(t.inbox, t.inbox.c.id.in_([row.id for row in waiting]))} == {"done"}
    assert not [row for row in lab.rows(t.orders) if row.reconcile_at and row.reconcile_at >= queries.UNTIL_MENDED]
    assert [row.number for row in lab.rows(t.shipments)] == [UPS]


def test_what_waited_is_taken_up_by_a_start_that_knows_nothing_of_before(make_lab) -> None:
    lab: Lab = make_lab(rest="{preset: kingston-courier}")
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.work()
    lab.daemon.reload(lambda: wrong(lab))
    lab.change(t.orders.update().values(reconcile_at=lab.clock()))
    lab.work()
    lab.change(t.accounts.update().values(suspended_reason=None))  # another process, whose file is right, was first
    lab.ctx.config = load_text(lab.yaml)
    lab.daemon._settle()

    assert {row.reconcile_at for row in lab.rows(t.orders)} == {lab.clock()}
    assert findings(lab) == []


def test_a_carrier_account_that_is_wrong_keeps_what_it_watches(make_lab) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.work()
    (watch,) = lab.rows(t.watches, t.watches.c.account == "ups")
    assert lab.daemon.reload(lambda: wrong(lab, name="ups")) is True
    assert "account ups is suspended" in lab.daemon.not_ready()[0]
    lab.later(12)

    assert lab.one(t.watches, t.watches.c.account == "ups").id == watch.id
    assert [row.subject for row in findings(lab)] == ["account/ups"]
    lab.daemon.reload(lambda: load_text(lab.yaml))
    lab.scan(lab.ups, UPS, "I", "038")
    lab.later(6)
    assert lab.parcel(UPS).status == "picked_up"


LOOKS = (
    "drift", "findings", "stuck", "freshness", "outages", "outbox", "inbox", "show 7", "explain 7", "plan", "codes --suggest", "checkouts",
)  # fmt: skip


@pytest.mark.parametrize(
    "database", ["sqlite"], indirect=True
)  # commands leave their connections to the end of their process
def test_commands_go_on_beside_an_entry_that_is_wrong(
    make_lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab: Lab = make_lab(rest="{preset: kingston-courier}")
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.rest.ship("#7", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
    lab.work()
    lab.later(1)
    lab.rest.set("#7", "seller", status="Delivered")
    lab.work()
    lab.later(26)
    monkeypatch.setattr("tracker.cli.common.system_now", lab.clock)
    for name in ("kart", "ups"):
        head, mine, rest = lab.yaml.partition(f"  {name}:")
        (tmp_path / "tracker.yaml").write_text(head + mine + rest.replace("uses:", "odd: 1, uses:", 1))
        for words in LOOKS:
            done = CliRunner().invoke(cli, [*words.split(), "-c", str(tmp_path / "tracker.yaml")])
            assert not isinstance(done.exception, ConfigError), (name, words, done.exception)
            assert done.exit_code in (0, 1), (name, words, done.output, done.exception)


def test_an_entry_whose_secret_is_away_goes_on_by_its_settings_of_before_and_says_so(make_lab) -> None:
    lab: Lab = make_lab()
    shop = lab.ctx.config.accounts["shop"]
    gone = lab.yaml.replace('/s}",\n        webhook_secrets: "${file', '/gone}",\n        webhook_secrets: "${file')
    assert gone.count("/gone}") == 3
    assert lab.daemon.reload(lambda: load_text(gone, partly=True)) is True

    config = lab.ctx.config
    assert config.accounts["shop"] is shop
    assert (sorted(config.as_before), dict(config.suspended)) == (["easypost", "shop", "ups"], {})
    (told,) = (line for line in lab.daemon.not_ready() if "shop" in line)
    assert told.startswith("store shop goes on by its settings of before, until a process starts: <text>:")
    assert "gone cannot be read" in told
    assert [row.suspended_reason for row in lab.rows(t.accounts)] == [None] * 4
    kind = t.findings.c.kind == "entry_wrong"
    assert {row.subject for row in lab.rows(t.findings, kind, t.findings.c.closed_at.is_(None))} == {
        "account/easypost",
        "account/ups",
        "store/shop",
    }

    assert lab.daemon.reload(lambda: load_text(gone, partly=True)) is True, "and again: before was by those of before"
    assert lab.ctx.config.accounts["shop"] is shop
    assert lab.daemon.reload(lambda: load_text(lab.yaml, partly=True)) is True
    assert lab.daemon.not_ready() == []
    assert lab.rows(t.findings, kind, t.findings.c.closed_at.is_(None)) == []
    assert sorted(load_text(gone, partly=True).suspended) == ["easypost", "shop", "ups"], (
        "a process that starts has none of before"
    )


def test_an_entry_that_is_wrong_beside_its_secret_is_suspended(make_lab) -> None:
    lab: Lab = make_lab()
    wrong = lab.yaml.replace(
        '/s}",\n        webhook_secrets: "${file', '/gone}",\n        webhook_secrets: "${file'
    ).replace("mode: write", "mode: wriet")
    assert lab.daemon.reload(lambda: load_text(wrong, partly=True)) is True
    assert (sorted(lab.ctx.config.as_before), sorted(lab.ctx.config.suspended)) == (["easypost", "ups"], ["shop"])


def test_many_wrong_entries_are_told_in_short_by_readyz(make_lab) -> None:
    lab: Lab = make_lab()
    more = "".join(f"  wrong-{i:02}: {{uses: rest}}\n" for i in range(30))
    assert lab.daemon.reload(lambda: load_text(lab.yaml + more, partly=True)) is True

    told = lab.daemon.not_ready()
    assert len(told) == 21
    assert told[-1] == "10 more accounts are suspended: tracker findings"
    assert len(findings(lab)) == 30


# from outside

OTHER = """  other: {uses: shopify, shop: y.myshopify.com, base_url: BASE/shop, access_token: "${file:s}", webhook_secrets: "${file:hook}"}
"""


def other(site: Site) -> str:
    """Return the configuration with a second store that is wrong."""
    good = site.file.read_text()
    base = good.partition("base_url: ")[2].partition("/easypost")[0]
    return good + OTHER.replace("BASE", base).replace("uses: shopify", "uses: shopify, mode: wrote, sweep_every: 1x")


@pytest.mark.process
def test_a_start_with_one_wrong_store_runs_the_others_and_says_which_and_where(
    database: str, tmp_path: Path, stack: ExitStack
) -> None:
    site = Site(database, tmp_path, stack)
    good, last = other(site).rsplit("  other:", 1)
    site.file.write_text(f"{good}  other:{last.replace('file:hook', 'file:none')}")
    site.start()
    wait_for(lambda: any(row.synced_at for row in site.rows(t.accounts)))

    line = len(site.file.read_text().splitlines())
    assert f"store other is suspended: {site.file}:{line}:" in site.ready()
    assert "(and 2 more)" in site.ready()
    assert '"entry_wrong"' in site.logs()
    (told,) = findings(site)
    assert told.evidence["problem"].startswith(f"{site.file}:{line}:")
    hook = f"http://127.0.0.1:{site.port}/webhooks"
    assert site.http.post(f"{hook}/other", content=b"{}").status_code == 503  # nobody can verify it: come again
    assert site.http.post(f"{hook}/nobody", content=b"{}").status_code == 401
    site.shop.place("#1001", system_now(), "PAID")
    site.shop.ship("#1001", system_now(), [{"company": "USPS", "number": NUMBER}], partly=False)
    site.scan("delivered", "arrived_at_destination")
    wait_for(site.delivered)


@pytest.mark.process
def test_a_store_that_a_reload_suspends_loses_no_webhook_and_the_rest_is_taken(
    tmp_path: Path, stack: ExitStack
) -> None:
    site = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
    process = site.start()
    wait_for(lambda: any(row.synced_at for row in site.rows(t.accounts)))
    good = site.file.read_text()
    site.file.write_text(good.replace('access_token: "${file:s}"', 'access_tokne: "${file:s}"').replace("1000000", "7"))
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "config_reloaded" in site.logs())
    assert "store shop is suspended" in site.ready()
    site.shop.place("#1001", system_now(), "PAID")
    wait_for(site.send)  # 200: by its last good settings
    shop = t.inbox.c.account == "shop"
    wait_for(lambda: any(row.due_at >= queries.UNTIL_MENDED for row in site.rows(t.inbox, shop)))
    assert site.rows(t.orders) == []

    site.file.write_text(good)
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: site.rows(t.orders))
    wait_for(lambda: not site.rows(t.inbox, shop, t.inbox.c.state == "pending"))
    assert site.ready() == "ready"
    assert findings(site) == []
    assert site.rows(t.inbox, t.inbox.c.state == "dead") == []


@pytest.mark.process
def test_check_stays_strict_and_names_each_problem(tmp_path: Path, stack: ExitStack) -> None:
    site = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
    site.file.write_text(other(site))
    process = site._process(["check", "--offline", "-c", str(site.file)], dict(os.environ), alone=False)
    site.processes.append(process)

    assert process.wait(30) == 2
    assert "stores.other.mode" in site.logs() and "stores.other.sweep_every" in site.logs()
    assert "1 entry would be suspended, and 2 would run" in site.logs()
    assert json.dumps("s") not in site.logs()
