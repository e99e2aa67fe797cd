"""Hooks: made where they are missing, mended where they are wrong, told where we cannot or must not; strangers' are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapters.bigcommerce.words import SCOPES
from tests.lab import TOKEN, Lab, Make
from tracker.cli import listing
from tracker.cli.common import close_context, open_context
from tracker.cli.main import cli
from tracker.config.load import load_text
from tracker.domain.errors import BudgetSpent
from tracker.pipeline.poll import hooks
from tracker.plugin.hooks import Hook
from tracker.sandbox.fakes.bigcommerce import BigCommerceServer
from tracker.sandbox.servers import FakeServers
from tracker.store import tables as t
from tracker.support.hooks import list_hooks, mend

DAY = timedelta(days=1)
OURS = f"https://t.example/webhooks/big/{TOKEN}"
BIG = """  big: {uses: bigcommerce, store_hash: sandbox, base_url: BASE, access_token: "${file:FOLDER/s}", mode: write,
        webhook_secrets: "${file:FOLDER/hook}", hook_key: "${file:FOLDER/hook}", webhook_token: "${file:FOLDER/token}"}
web: {public_url: "https://t.example/"}
"""


@dataclass
class Shop:
    """An installation with a BigCommerce store, whose hooks were compared once."""

    lab: Lab
    big: BigCommerceServer
    yaml: str

    def next_day(self) -> None:
        self.lab.clock.move_to(self.lab.clock() + DAY)
        self.lab.work("poll")

    def reload(self, *changes: tuple[str, str]) -> None:
        for old, new in changes:
            assert old in self.yaml
            self.yaml = self.yaml.replace(old, new)
        config = load_text(self.yaml)
        assert self.lab.daemon.reload(lambda: config)
        self.lab.work("poll")

    def there(self, key: str = "destination") -> set[Any]:
        return {hook[key] for hook in self.big.hooks.values()}

    def states(self) -> dict[str, int]:
        found = [row["state"] for row in list_hooks(self.lab.ctx, "big")]
        return {state: found.count(state) for state in found}

    def finding(self) -> Any:
        f = t.findings.c
        return next(iter(self.lab.rows(t.findings, f.kind == "hook_wrong", f.closed_at.is_(None))), None)

    def calls(self) -> tuple[int, int, int]:
        return self.big.calls["hooks"], self.big.calls["hook made"], self.big.calls["hook mended"]


@pytest.fixture
def make_shop(make_lab: Make, tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts one; the shop may hold something before (`big.hooks`)."""
    opened: list[FakeServers] = []

    def start(*faults: str, away: bool = False, held: tuple[dict[str, Any], ...] = (), yaml: str = BIG) -> Shop:
        made: list[Lab] = []
        big = BigCommerceServer("big", lambda: made[0].clock() if made else hooks.NEVER, key="s", hook="hook")
        for fault in faults:
            big.faults.left[fault] += 1
        if away:
            big.faults.until["error"] = hooks.NEVER.replace(year=9000)
        big.hooks |= {row["id"]: {"headers": None, "is_active": True, **row} for row in held}
        servers = FakeServers([big])
        opened.append(servers)
        text = yaml.replace("BASE", f"http://127.0.0.1:{servers.start()}/big").replace("FOLDER", str(tmp_path))
        made.append(make_lab(yaml=text, store="mode: write, hooks: app"))
        made[0].work("poll")
        return Shop(made[0], big, made[0].yaml)

    yield start
    for servers in opened:
        servers.stop()


def test_what_is_missing_is_made_once_and_compared_once_a_day(make_shop) -> None:
    shop = make_shop()
    assert shop.there("scope") == {*SCOPES}
    assert (shop.there(), shop.states()) == ({OURS}, {"made": 7})
    assert all(hook["headers"] == {"x-trackwright": "hook"} for hook in shop.big.hooks.values())

    shop.lab.work("poll")
    assert shop.calls() == (1, 7, 0)
    shop.next_day()
    assert (shop.calls(), shop.states(), shop.finding()) == ((2, 7, 0), {"there": 7}, None)


def test_a_hook_that_the_shop_deleted_or_switched_off_is_made_or_switched_on_again_and_the_gap_swept(make_shop) -> None:
    shop = make_shop()
    shop.next_day()
    swept = shop.big.calls["orders"]
    del shop.big.hooks[min(shop.big.hooks)]
    shop.big.hooks[max(shop.big.hooks)]["is_active"] = False
    shop.next_day()

    assert (shop.calls(), shop.states()) == ((3, 8, 1), {"made": 1, "mended": 1, "there": 5})
    assert shop.there("is_active") == {True}
    assert shop.big.calls["orders"] > swept
    assert (shop.finding().severity, shop.finding().act) == ("info", "monitor")  # the next look closes it
    assert shop.finding().evidence["hooks"] == (
        f"{SCOPES[0]}: it was missing, and was made again; {SCOPES[-1]}: it was switched off, and was mended again"
    )
    shop.next_day()
    assert (shop.calls(), shop.states(), shop.finding()) == ((4, 8, 1), {"there": 7}, None)


def test_a_token_of_another_account_sees_no_hook_and_all_are_made_again_and_the_gap_swept(make_shop) -> None:
    """Hooks are seen by the token that made them: after a change of it the list is empty, without any error."""
    shop = make_shop()
    shop.next_day()
    shop.big.hooks.clear()
    swept = shop.big.calls["orders"]
    shop.reload(("store_hash: sandbox", "store_hash: sandbox, first_sync_days: 30"))  # other credentials

    assert (len(shop.big.hooks), shop.states()) == (7, {"made": 7})
    assert shop.big.calls["orders"] > swept


def test_what_somebody_undoes_after_us_is_told_and_not_done_again_until_a_person_says_so(make_shop) -> None:
    shop = make_shop()
    gone = min(shop.big.hooks)
    del shop.big.hooks[gone]
    shop.big.hooks[max(shop.big.hooks)]["headers"] = {"x-trackwright": "another"}
    shop.next_day()
    shop.next_day()

    assert shop.calls() == (3, 7, 0)
    said = shop.finding().evidence["hooks"]
    assert f"{SCOPES[0]}: it was missing again after we made it: somebody undoes it" in said
    assert f"{SCOPES[-1]}: its headers were others again after we made it" in said

    assert mend(shop.lab.ctx, "big")
    assert shop.states() == {"unknown": 7}
    shop.lab.work("poll")
    assert (shop.calls(), shop.states(), shop.finding()) == ((4, 8, 1), {"made": 1, "there": 5, "mended": 1}, None)


def test_hooks_of_others_are_left_alone_and_one_of_ours_with_an_older_token_is_given_the_new_one(make_shop) -> None:
    held = (
        {"id": 1, "scope": SCOPES[0], "destination": "https://other.example/webhooks/big/x"},
        {"id": 2, "scope": SCOPES[0], "destination": "https://t.example/webhooks/bigger/x"},
        {"id": 3, "scope": "store/cart/created", "destination": OURS},
        {"id": 4, "scope": SCOPES[1], "destination": "https://t.example/webhooks/big/an-older-token-0123456789"},
        {"id": 5, "scope": SCOPES[2], "destination": OURS, "headers": {"X-Trackwright": "hook", "more": "x"}},
        {"id": 6, "scope": SCOPES[3], "destination": OURS, "headers": {}},
    )
    shop = make_shop(held=held)

    assert {id_: shop.big.hooks[id_]["destination"] for id_ in (1, 2, 3)} == {
        row["id"]: row["destination"] for row in held[:3]
    }
    assert shop.big.hooks[4]["destination"] == OURS
    assert shop.states() == {"made": 4, "mended": 2, "there": 1}
    assert shop.big.hooks[6]["headers"] == {"x-trackwright": "hook"}
    assert {row["others"] for row in list_hooks(shop.lab.ctx)} == {3}


def test_two_hooks_of_one_topic_are_told(make_shop) -> None:
    shop = make_shop(held=({"id": 1, "scope": SCOPES[0], "destination": "https://t.example/webhooks/big/older"},))
    shop.big.hooks[9] = {**shop.big.hooks[1], "id": 9, "destination": "https://t.example/webhooks/big/older-still"}
    shop.next_day()

    assert shop.finding().evidence["hooks"] == f"{SCOPES[0]}: 9 posts to us too"
    assert shop.states() == {"wrong": 1, "there": 6}
    del shop.big.hooks[9]
    shop.next_day()
    assert shop.finding() is None


def test_another_public_url_moves_our_hooks_and_one_that_somebody_pointed_elsewhere_is_his(make_shop) -> None:
    shop = make_shop()
    shop.next_day()
    taken = min(shop.big.hooks)
    shop.big.hooks[taken]["destination"] = "https://other.example/x"
    shop.reload(("https://t.example/", "https://new.example"))

    assert shop.big.hooks[taken]["destination"] == "https://other.example/x"
    assert shop.there() == {OURS.replace("t.example", "new.example"), "https://other.example/x"}
    assert (len(shop.big.hooks), shop.states()) == (8, {"made": 1, "mended": 6})
    shop.reload(("store_hash: sandbox", "store_hash: sandbox, first_sync_days: 30"))
    assert (len(shop.big.hooks), shop.states()) == (8, {"there": 7})
    assert shop.finding() is None


def test_without_an_address_of_ours_nothing_is_asked_and_the_hooks_stay(make_shop) -> None:
    shop = make_shop()
    before = shop.calls()
    shop.reload(('web: {public_url: "https://t.example/"}\n', ""))
    shop.next_day()

    assert (shop.calls(), len(shop.big.hooks), list_hooks(shop.lab.ctx)) == (before, 7, [])


def test_a_right_that_we_lack_is_a_finding_that_names_it_and_suspends_nothing(make_shop) -> None:
    shop = make_shop("refuse_hooks")

    found = shop.finding()
    assert (found.evidence["hooks"], found.severity) == (
        "HTTP 403: You don't have a required scope to access the endpoint",
        "warning",
    )
    assert found.evidence["needs"].startswith("the default scope of an API account")
    assert "until then polls and sweeps tell" in found.proposal
    assert shop.lab.one(t.accounts, t.accounts.c.name == "big").suspended_reason is None
    assert shop.states() == {"unknown": 7}
    shop.next_day()
    assert (shop.finding(), len(shop.big.hooks)) == (None, 7)


def test_what_the_shop_refuses_is_told_and_the_others_are_made(make_shop) -> None:
    full = tuple({"id": i, "scope": SCOPES[2], "destination": f"https://x{i}.example/"} for i in range(1, 11))
    shop = make_shop(held=full)

    assert shop.states() == {"made": 6, "wrong": 1}
    assert f"{SCOPES[2]}: it was missing, and is refused: HTTP 422" in shop.finding().evidence["hooks"]


def test_a_port_that_the_platform_never_posts_to_is_told_and_nobody_is_asked(make_shop) -> None:
    shop = make_shop(yaml=BIG.replace("https://t.example/", "https://t.example:8443"))

    assert shop.calls() == (0, 0, 0)
    assert shop.finding().evidence["hooks"].startswith("BigCommerce posts to port 443 only")
    shop.reload(("https://t.example:8443", "https://t.example"))
    assert (shop.finding(), len(shop.big.hooks)) == (None, 7)


def test_a_shop_that_is_away_is_asked_again_soon_and_nothing_is_made_twice(make_shop) -> None:
    shop = make_shop(away=True)
    assert (shop.states(), shop.finding()) == ({"unknown": 7}, None)
    shop.big.faults.until.clear()
    shop.lab.rested()
    shop.lab.clock.move_to(shop.lab.clock() + timedelta(hours=5))
    shop.lab.work("poll")

    assert (shop.states(), shop.calls()[1]) == ({"made": 7}, 7)


def test_a_pace_that_the_shop_asks_for_is_no_outage_and_hooks_that_are_never_compared_for_it_are_told(
    make_shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop()
    account = shop.lab.ctx.config.accounts["big"]
    client, minute = shop.lab.ctx.client(account), timedelta(minutes=1)
    shop.next_day()
    del shop.big.hooks[min(shop.big.hooks)]
    with monkeypatch.context() as patch:
        patch.setattr(type(account.source), "throttle_delay", lambda _self, _response: minute)  # after each answer
        shop.next_day()
        assert (shop.calls()[1], shop.lab.rows(t.findings)) == (7, [])  # the sweep took the one call
        client._rest_until = 0.0
        shop.lab.rested()
        shop.next_day()
        assert shop.finding().evidence["hooks"] == "the account rests, as its last answer asked for"
        assert shop.lab.one(t.accounts, t.accounts.c.name == "big").failing_since is None
        assert {row.kind for row in shop.lab.rows(t.findings)} == {"hook_wrong"}
    client._rest_until = 0.0
    shop.lab.rested()
    shop.next_day()
    assert shop.calls()[1] == 8
    shop.next_day()
    assert (shop.states(), shop.finding()) == ({"there": 7}, None)


def test_hooks_that_are_never_compared_as_no_call_is_left_for_them_are_told_too(
    make_shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop()
    shop.next_day()

    def spent(*_: Any) -> None:
        raise BudgetSpent("it costs 202 points, and 71 are there", timedelta(minutes=1))

    with monkeypatch.context() as patch:
        patch.setattr(type(shop.lab.ctx.config.accounts["big"].source), "hooks_there", spent)
        shop.next_day()
        assert shop.lab.rows(t.findings) == []
        shop.next_day()
        assert shop.finding().evidence["hooks"] == "it costs 202 points, and 71 are there"
        assert shop.lab.one(t.accounts, t.accounts.c.name == "big").failing_since is None
    shop.next_day()
    assert (shop.states(), shop.finding()) == ({"there": 7}, None)


@pytest.mark.parametrize("values", [{"suspended_reason": "x"}, {"paused_at": hooks.NEVER.replace(year=2026)}])
def test_a_store_that_is_suspended_or_paused_is_not_audited(make_shop, values: dict[str, Any]) -> None:
    shop = make_shop()
    shop.lab.change(t.accounts.update().where(t.accounts.c.name == "big").values(**values))
    shop.next_day()

    assert shop.calls()[0] == 1


def test_who_lost_his_claim_makes_nothing_and_stores_nothing(make_shop) -> None:
    shop = make_shop()
    row = shop.lab.one(t.accounts, t.accounts.c.name == "big")
    shop.big.hooks.clear()
    hooks.work(shop.lab.ctx, shop.lab.ctx.config.accounts["big"], {}, row.hooks_due_at - DAY)

    assert (len(shop.big.hooks), shop.lab.one(t.accounts, t.accounts.c.name == "big").hooks) == (0, row.hooks)


def test_no_token_and_no_key_is_kept_or_shown(make_shop) -> None:
    shop = make_shop()
    row = shop.lab.one(t.accounts, t.accounts.c.name == "big")

    assert TOKEN not in str(row.hooks)
    assert {one["address"] for one in row.hooks["hooks"]} == {"https://t.example/webhooks/big/********"}
    assert TOKEN not in repr(Hook("t", OURS, {"x": TOKEN}))


def command(file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what runs `tracker hooks` with a file, and leaves no connection open."""

    def run(*words: str) -> Any:
        opened = []
        monkeypatch.setattr(listing, "open_context", lambda config: opened.append(open_context(config)) or opened[-1])
        done = CliRunner().invoke(cli, ["hooks", *words, "-c", str(file)])
        for ctx in opened:
            close_context(ctx)
        return done

    return run


def test_the_command_lists_what_is_wanted_and_there_and_ends_with_1_where_something_is_wrong(
    make_shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop()
    file = tmp_path / "tracker.yaml"
    file.write_text(shop.lab.yaml)
    file.chmod(0o600)

    run = command(file, monkeypatch)
    monkeypatch.setattr("tracker.cli.common.system_now", lambda: shop.lab.clock())
    told = run()
    assert told.exit_code == 0
    assert "store/order/created" in told.output
    assert "made" in told.output
    assert TOKEN not in told.output
    assert run("kart").exit_code == 2
    assert "shopify states no hooks: they are made by hand" in run("shop").output
    assert (run("--mend").exit_code, run("shop", "--mend").exit_code) == (2, 2)
    shop.big.hooks.clear()
    shop.next_day()
    assert run("big").exit_code == 1
    mended = run("big", "--mend")
    assert (mended.exit_code, "compared at the next look" in mended.output) == (1, True)
    shop.lab.change(
        t.accounts.update().values(hooks_due_at=shop.lab.clock())
    )  # the command said when by the real clock
    shop.lab.work("poll")
    assert run("big").exit_code == 0


def test_hooks_of_a_store_that_no_process_has_run_with_are_not_known_and_that_is_no_0(
    make_shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, file = make_shop(), tmp_path / "tracker.yaml"
    assert "  big: " in shop.lab.yaml
    file.write_text(shop.lab.yaml.replace("  big: ", "  never: "))
    run = command(file, monkeypatch)

    told = run()
    assert (told.exit_code, "never" in told.output, "unknown" in told.output) == (1, True, True)
    refused = run("never", "--mend")
    assert (refused.exit_code, "no process has run with it yet" in refused.output) == (2, True)
