"""What a row of the ledger says would heal it, done as it is printed: the row goes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.lab import UPS, H, Lab
from tracker.cli import main as main_
from tracker.pipeline import drifts
from tracker.store import tables as t

OTHER = "1ZR589400357568494"
Make = Callable[..., Lab]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return a function that builds an installation, with its configuration where commands look for it."""
    with ExitStack() as stack:

        def build(**more: Any) -> Lab:
            lab = Lab(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack, **more)
            (tmp_path / "tracker.yaml").write_text(lab.yaml)
            monkeypatch.chdir(tmp_path)
            monkeypatch.setattr("tracker.cli.common.system_now", lab.clock)
            lab.work()
            return lab

        yield build


def place(lab: Lab, status: str = "Processing", method: str = "courier", name: str = "#7") -> None:
    """Place an order of the in-house shop and give its parcel to UPS."""
    lab.rest.place(name, lab.clock(), status=status, delivery={"method": method, "address": "confirmed"})
    lab.rest.ship(name, lab.clock(), [{"company": "UPS", "number": UPS}], items={})
    lab.work()


def scanned(lab: Lab, type_: str = "I", code: str = "038") -> None:
    lab.scan(lab.ups, UPS, type_, code)
    lab.later(7)


def row(lab: Lab) -> dict[str, Any]:
    lab.later(0.5)
    (found,) = drifts.list_drifts(lab.ctx)
    return found


def commands(row: dict[str, Any]) -> list[str]:
    found = re.findall(r"`(tracker [^`]+)`", row["would_heal"])
    assert found, row["would_heal"]
    return found


def do(lab: Lab, command: str) -> None:
    """Run a command as it is printed, and let the worker work."""
    result = CliRunner().invoke(main_.cli, shlex.split(command)[1:])
    assert result.exit_code == 0, (command, result.output, result.exception)
    lab.work()
    lab.later(0.5)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("preset", ["kingston-courier", "mirror"])
def test_a_delivered_that_the_carrier_does_not_know_of_is_proved_or_set_back(
    make: Make, preset: str, which: int
) -> None:
    lab = make(rest=f"{{preset: {preset}}}")
    place(lab)
    scanned(lab)
    lab.rest.set("#7", "seller", status="Delivered")
    lab.work()
    found = row(lab)
    assert (found["drift"], found["shop"], found["carrier"], found["caused_by"]) == (
        "shop_ahead", "delivered", "picked_up", "seller",
    )  # fmt: skip
    do(lab, commands(found)[which])

    assert drifts.list_drifts(lab.ctx) == []
    assert lab.rest.orders["#7"]["status"] == ("Delivered", "Dispatched/Shipped")[which]


def test_an_order_that_lies_behind_is_corrected(make: Make) -> None:
    lab = make(rest="{preset: mirror}")
    place(lab)
    scanned(lab)
    found = row(lab)
    assert (found["drift"], found["shop"], found["carrier"], found["caused_by"]) == (
        "shop_behind", "processing", "picked_up", "ups",
    )  # fmt: skip
    (command,) = commands(found)
    do(lab, command)

    assert drifts.list_drifts(lab.ctx) == []
    assert lab.rest.orders["#7"]["status"] == "Dispatched/Shipped"


def test_a_correction_past_a_gate_says_override(make: Make) -> None:
    lab = make(rest="{preset: marketplace-guide, writes: {courier: []}, otherwise: courier}")
    place(lab)
    lab.rest.set("#7", "system", payment={"status": "pending", "method": "card"})
    lab.work()
    scanned(lab)
    (command,) = commands(row(lab))
    assert command == ("tracker correct '#7' shipped --reason 'ups says picked_up' --override --store kart")
    do(lab, command)

    assert drifts.list_drifts(lab.ctx) == []


def test_a_store_that_is_paused_is_resumed(make: Make) -> None:
    lab = make(rest="{preset: kartrocket-autopilot}")
    lab.rest.place("#7", lab.clock(), status="Processing")
    place(lab, name="#7")
    lab.change(t.accounts.update().where(t.accounts.c.name == "kart").values(paused_at=lab.clock()))
    scanned(lab)
    found = row(lab)
    assert found["would_heal"] == "`tracker resume kart`"
    do(lab, commands(found)[0])

    assert drifts.list_drifts(lab.ctx) == []


def test_a_refused_write_is_tried_again(make: Make) -> None:
    lab = make(rest="{preset: kingston-courier}")
    place(lab)
    lab.rest.faults.left["refuse_write"] = 1
    scanned(lab)
    found = row(lab)
    assert found["would_heal"].startswith("a person decides between `tracker outbox retry ")
    assert found["would_heal"].endswith("` and 'Dispatched/Shipped', set in the shop")
    do(lab, commands(found)[0])

    assert drifts.list_drifts(lab.ctx) == []


def test_a_write_that_waits_is_told_with_its_time(make: Make) -> None:
    lab = make(rest="{preset: kingston-courier}")
    place(lab)
    lab.scan(lab.ups, UPS, "I", "038")
    lab.clock.move_to(lab.clock() + 7 * H)
    lab.work("poll", "ingest", "decide")
    lab.clock.move_to(lab.clock() + H)
    lab.work("decide")
    (found,) = drifts.list_drifts(lab.ctx)
    assert re.fullmatch(r"wait until 2026-\d\d-\d\d \d\d:\d\dZ: the write is sent", found["would_heal"])
    states = t.accounts.update().where(t.accounts.c.name == "kart")
    lab.change(states.values(writes_left=0, writes_reset_at=lab.one(t.outbox).due_at + 2 * H))
    (later,) = drifts.list_drifts(lab.ctx)
    assert later["would_heal"] > found["would_heal"]
    lab.change(states.values(suspended_reason="401"))
    (suspended,) = drifts.list_drifts(lab.ctx)
    assert suspended["would_heal"] == (
        "a person decides between new credentials of kart and 'Dispatched/Shipped', set in the shop"
    )


def test_a_store_that_only_observes_names_its_mode(make: Make) -> None:
    lab = make(store="mode: observe")
    lab.order("#1", UPS, company="UPS")
    lab.work()
    scanned(lab, "D", "011")
    found = row(lab)

    assert (found["drift"], found["shop"], found["order_status"], found["carrier"]) == (
        "shop_behind", "shipped", "FULFILLED", "delivered",
    )  # fmt: skip
    assert found["would_heal"] == (
        "a person decides between `mode: write` of shop in the configuration and 'DELIVERED', set in the shop"
    )


def test_what_happened_before_the_store_was_connected_is_written_if_wished(make: Make) -> None:
    lab = make()
    lab.order("#1", UPS, company="UPS")
    lab.scan(lab.ups, UPS, "D", "011", hours=-5)
    lab.work()
    lab.later(7)
    found = row(lab)
    assert found["would_heal"] == "`tracker heal --backfill shop`"
    do(lab, commands(found)[0])

    assert drifts.list_drifts(lab.ctx) == []
    assert lab.writes() == [("#1", "DELIVERED")]


def test_a_parcel_of_a_cancelled_order_is_brought_back_or_accepted(make: Make) -> None:
    lab = make(rest="{preset: kingston-courier}")
    place(lab)
    scanned(lab)
    lab.rest.cancel("#7", "customer")
    lab.work()
    found = row(lab)
    assert (found["drift"], found["shop"], found["carrier"], found["caused_by"], found["severity"]) == (
        "cancelled_but_moving", "cancelled", "picked_up", "customer", "urgent",
    )  # fmt: skip
    assert found["would_heal"] == (
        f"a person decides between having ups bring {UPS} back and `tracker record '#7' accepted --store kart`"
    )
    do(lab, commands(found)[0])

    assert drifts.list_drifts(lab.ctx) == []


def test_a_label_that_nobody_scans_was_handed_over_or_was_not(make: Make) -> None:
    lab = make(rest="{preset: kingston-courier}")
    place(lab)
    lab.rest.set("#7", "seller", status="Dispatched/Shipped")
    lab.work()
    lab.later(30)
    found = row(lab)
    assert (found["drift"], found["shop"], found["carrier"]) == ("shop_ahead", "shipped", "unknown")
    assert found["would_heal"].endswith("and the right status, set in the shop")
    do(lab, commands(found)[0])

    assert drifts.list_drifts(lab.ctx) == []


def test_a_return_was_inspected_or_did_not_happen(make: Make) -> None:
    lab = make(rest="{preset: kingston-courier}")
    place(lab)
    scanned(lab)
    lab.rest.set("#7", "seller", status="Returned")
    lab.work()
    found = row(lab)
    assert (found["drift"], found["shop"], found["carrier"]) == ("shop_ahead", "returned", "picked_up")
    assert commands(found)[0] == "tracker record '#7' inspected --store kart"
    do(lab, commands(found)[0])

    assert drifts.list_drifts(lab.ctx) == []


def test_a_shown_delivered_that_the_carrier_does_not_know_of_is_proved(make: Make) -> None:
    lab = make()
    lab.order("#1", UPS, company="UPS")
    lab.work()
    scanned(lab)
    lab.shop.own_event("#1", "DELIVERED")
    lab.work()
    lab.later(1)
    found = row(lab)
    assert (found["drift"], found["shop"], found["order_status"], found["carrier"]) == (
        "shop_ahead", "delivered", "DELIVERED", "picked_up",
    )  # fmt: skip
    do(lab, commands(found)[0])

    assert drifts.list_drifts(lab.ctx) == []


def test_a_doorstep_that_no_scan_knows_of_is_set_back_or_accepted(make: Make) -> None:
    lab = make(rest="{preset: kingston-courier}")
    place(lab)
    scanned(lab)
    lab.rest.set("#7", "seller", status="Out for Delivery")
    lab.work()
    found = row(lab)
    assert (found["drift"], found["shop"], found["carrier"]) == ("shop_ahead", "out_for_delivery", "picked_up")
    assert [command.split()[1] for command in commands(found)] == ["correct", "record"]
    do(lab, commands(found)[1])

    assert drifts.list_drifts(lab.ctx) == []


def test_an_end_that_its_carrier_contradicts_is_looked_at_again(make: Make) -> None:
    lab = make(rest="{preset: kingston-courier}")
    place(lab)
    scanned(lab)
    scanned(lab, "D", "011")
    lab.scan(lab.ups, UPS, "I", "005", letters="AR")
    lab.later(13)
    found = row(lab)
    assert (found["drift"], found["shop"], found["carrier"], found["caused_by"]) == (
        "contradicted", "delivered", "delivered", "ups",
    )  # fmt: skip
    assert re.fullmatch(r"wait until 2026-11-0\d \d\d:\d\dZ: ups is asked again", found["would_heal"])
    lab.change(t.watches.update().values(next_poll_at=None))
    do(lab, commands(row(lab))[0])

    assert drifts.list_drifts(lab.ctx) == []


def test_a_store_that_the_configuration_lost_has_a_way_too(make: Make) -> None:
    lab = make(rest="{preset: mirror}")
    place(lab)
    scanned(lab)
    assert row(lab)
    lab.ctx.config = type(lab.ctx.config)(
        lab.ctx.config.root, {n: a for n, a in lab.ctx.config.accounts.items() if n != "kart"}
    )
    (found,) = drifts.list_drifts(lab.ctx)

    assert found["would_heal"].startswith("a person decides between the store kart in the configuration again and ")


def test_a_printed_command_finds_its_configuration(make: Make, tmp_path: Path) -> None:
    lab = make(rest="{preset: mirror}")
    place(lab)
    scanned(lab)
    row(lab)
    (tmp_path / "tracker.yaml").rename(tmp_path / "our shop.yaml")
    said = CliRunner().invoke(main_.cli, ["drift", "--config", "our shop.yaml", "--json"]).stdout
    (command,) = re.findall(r"`(tracker [^`]+)`", said)

    assert command.endswith(" --store kart --config 'our shop.yaml'")
    do(lab, command)
    assert drifts.list_drifts(lab.ctx) == []
