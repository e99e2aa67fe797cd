"""What a store's writes do beside their effect: told of each that its policy switches on, and withheld where the platform asks and nobody named it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tracker.cli.main import cli
from tracker.config.besides import besides
from tracker.config.load import load_text
from tracker.config.model import Config
from tracker.config.presets import presets
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import OrderStatus
from tracker.plugin.conformance import plugin_of
from tracker.plugin.contracts import Beside

O = OrderStatus
SHOP = "uses: bigcommerce, store_hash: x, access_token: '${env:SECRET}'"
ASKS = "mails the customer and may capture the payment"


def big(entry: str) -> Config:
    return load_text(f"stores:\n  a: {{{SHOP}, {entry}}}")


@pytest.fixture
def dangerous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the platform ask for its Completed, and tell of a field."""

    def beside(_self: object, kind: str, word: str) -> Beside | None:
        if kind == "field":
            return Beside(f"shows {word} to everybody")
        return Beside(ASKS, asks=True) if (kind, word) == ("order_status", "Completed") else None

    monkeypatch.setattr(plugin_of("adapters.bigcommerce"), "beside", beside)


def test_each_status_that_the_policy_writes_says_that_it_mails() -> None:
    [row, other] = besides(big("mode: write, policy: {preset: marketplace-guide}").accounts["a"])

    assert (row["store"], row["write"], row["now"]) == ("a", "order status Partially Shipped", "on")
    assert (other["write"], other["beside"]) == (
        "order status Shipped", "mails the customer where the store's Settings > Order notifications ticks Shipped",
    )  # fmt: skip


def test_what_no_policy_switches_on_is_not_told_and_what_is_observed_is() -> None:
    assert besides(big("policy: {preset: mirror}").accounts["a"]) == []
    observed = besides(big("policy: {preset: kartrocket-autopilot}").accounts["a"])
    assert {row["now"] for row in observed} == {"observed"}


def test_a_policy_that_restores_may_write_any_of_its_words() -> None:
    config = big(
        "completed_is_delivered: true, policy: {preset: kingston-dispatched, writes: {platform: [], courier: []}}"
    )

    assert {row["write"] for row in besides(config.accounts["a"])} == {
        "order status Completed", "order status Partially Shipped", "order status Shipped",
    }  # fmt: skip


@pytest.mark.parametrize("preset", presets())
def test_no_preset_names_a_side_effect(preset: str) -> None:
    assert big(f"policy: {{preset: {preset}}}").accounts["a"].policy.side_effects == frozenset()


@pytest.mark.usefixtures("dangerous")
def test_what_asks_is_withheld_until_the_policy_names_it() -> None:
    entry = "completed_is_delivered: true, mode: write, policy: {preset: marketplace-guide"
    config = big(f"{entry}}}")
    held, named = config.accounts["a"], big(f"{entry}, side_effects: [delivered]}}").accounts["a"]

    assert held.policy.withheld == {O.DELIVERED: ASKS}
    assert [row["now"] for row in besides(held)] == ["withheld: policy.side_effects does not name delivered"]
    assert named.policy.withheld == {}
    assert [(row["write"], row["beside"], row["now"]) for row in besides(named)] == [
        ("order status Completed", ASKS, "on")
    ]
    assert held.policy_hash != named.policy_hash


@pytest.mark.usefixtures("dangerous")
def test_a_field_that_the_policy_names_tells_what_it_does_and_of_shown_words_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin = plugin_of("adapters.bigcommerce")
    monkeypatch.setattr(plugin, "takes_fields", True)
    monkeypatch.setattr(plugin, "takes_tags", True)
    monkeypatch.setattr(plugin, "status_map", lambda _self: {"delivered": "DELIVERED"})
    shown = besides(big("policy: {preset: mirror, status_field: a.b, status_tag: c}").accounts["a"])

    assert [row["write"] for row in shown] == ["field a.b"]


def test_a_named_status_must_be_one() -> None:
    with pytest.raises(Exception, match=r"policy\.side_effects"):
        big("policy: {side_effects: [completed]}")


@pytest.mark.usefixtures("dangerous")
def test_check_and_policy_show_print_it_and_their_json_holds_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    file = tmp_path / "tracker.yaml"
    entry = f"{SHOP}, completed_is_delivered: true, mode: write, policy: {{preset: marketplace-guide}}"
    file.write_text(f"database: sqlite:///{tmp_path}/x.db\nstores:\n  a: {{{entry}}}\n")
    file.chmod(0o600)

    def run(*words: str) -> str:
        told = CliRunner().invoke(cli, [*words])
        assert told.exit_code == 0, told.output
        return told.output

    held = f"order status Completed {ASKS} withheld: policy.side_effects does not name delivered"
    for shown in (run("check", "--offline", str(file)), run("policy", "show", "a", "-c", str(file))):
        lines = [" ".join(line.split()) for line in shown.splitlines()]
        assert "what writes do beside" in lines
        assert any(line.endswith(held) for line in lines), shown
    checked = json.loads(run("check", "--offline", "--json", str(file)))["coverage"]
    assert checked["side_effects"][0]["beside"] == ASKS
    assert "delivered" not in checked["stores"][0]["writes"]
    told = json.loads(run("policy", "show", "a", "-c", str(file), "--json"))
    assert told["side_effects"] == checked["side_effects"]
    assert told["values"]["withheld"] == {"delivered": ASKS}


def test_a_policy_withholds_nothing_by_itself() -> None:
    assert Policy().withheld == {}
