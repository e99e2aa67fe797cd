"""Seven installations to be asked what an operator asks at 3 a.m.: one that is healthy, and six troubles. Real servers, one clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tests.lab import DHL, UPS, USPS, H, Lab, detail, tracker_body
from tracker.cli.main import cli
from tracker.clock import PLAYED, system_now
from tracker.config.load import load_text
from tracker.sandbox.base import FaultyResponse
from tracker.store import tables as t
from tracker.upkeep import counting, maintenance, settle

SECOND = timedelta(seconds=1)  # so long after its last moment a world is looked at
FEDEX = "794644790131"
MORE = [f"94001112062064062{i:05d}" for i in range(8)]
NAMES = ("healthy", "carrier away", "shop refuses", "people", "brake", "silent", "we")


class World:
    """An installation at a moment, and its commands: both clocks, ours and the database's, are the play's."""

    def __init__(self, folder: Path, stack: ExitStack, *, without: str = "", **more: Any) -> None:
        folder.chmod(0o700)
        self.file = folder / "tracker.yaml"
        self._at, self._off = system_now(), timedelta(0)
        self.alive = system_now()  # when the scheduler last had its turn
        self.lab = lab = Lab(f"sqlite:///{folder}/db/x.db", folder, stack, **more)
        lab.daemon.store.engine.update_execution_options(ahead=self._ahead)
        if without:  # an account that is not there
            begin = lab.yaml.index(f"  {without}: {{")
            lab.yaml = lab.yaml[:begin] + lab.yaml[lab.yaml.index("}\n", begin) + 2 :]
            lab.ctx.config = load_text(lab.yaml)
            settle.settle_accounts(lab.ctx)
        self.file.write_text(lab.yaml)
        self.file.chmod(0o600)
        self.later(0)

    def _ahead(self) -> timedelta:
        """How far the database's clock is ahead: it goes on by itself between two moments of ours, and never back."""
        if self._at != self.lab.clock():
            self._at, self._off = self.lab.clock(), self.lab.clock() - system_now()
        return self._off

    def ask(self, *words: str, columns: int = 100) -> Result:
        """Run a command as it is installed, at the moment of the world."""
        now = self.lab.clock()
        played = f"{now.isoformat()} {(now - system_now() + SECOND).total_seconds()}"
        return CliRunner().invoke(cli, [*words, "-c", str(self.file)], env={PLAYED: played, "COLUMNS": str(columns)})

    def later(self, hours: float, *, step: float = 1) -> None:
        """Let hours pass with all roles at work, each step a turn of theirs."""
        self.lab.work()
        while True:
            some = min(step, hours)
            hours -= some
            self.lab.later(some)
            self.turn()
            if hours <= 0:
                return

    def turn(self, *, after_outage: bool = False) -> None:
        """Let the scheduler have its turn: it says that it lives, looks, and counts."""
        lab = self.lab
        lab.change(t.heartbeats.update().values(at=self.alive if after_outage else lab.clock()))
        maintenance.heartbeat(lab.ctx, lab.clock())
        self.alive = lab.clock()
        lab.change(
            t.heartbeats.update().values(at=system_now() + H)
        )  # of the machine's time, and fresh however long we ask
        maintenance.run_monitors(lab.ctx)
        lab.work()
        counting.count(lab.ctx)
        lab.daemon._do(("presence", lab.daemon._look_for_wish))

    def sold(self) -> None:
        """Sell two orders whose parcels travel, and one that comes."""
        lab = self.lab
        lab.order("#1001", USPS)
        lab.order("#1002", UPS, company="UPS")
        self.later(1)
        lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
        lab.post(lab.easypost.event(USPS))
        lab.scan(lab.ups, UPS, "I", "038")
        self.later(6)


def healthy(folder: Path, stack: ExitStack) -> World:
    """A parcel is delivered, another travels."""
    world = World(folder, stack)
    world.sold()
    lab = world.lab
    lab.scan(lab.easypost, USPS, "delivered", "delivered")
    lab.post(lab.easypost.event(USPS))
    world.later(1)
    return world


def carrier_away(folder: Path, stack: ExitStack) -> World:
    """EasyPost was away for hours and is caught up; UPS is away for six, and its parcel waits."""
    world = World(folder, stack)
    world.sold()
    lab = world.lab
    lab.easypost.faults.until["error"] = lab.clock() + 10 * H
    for hours in range(10):
        world.later(1, step=0.5)
        if hours == 7:
            lab.scan(lab.easypost, USPS, "in_transit", "arrived_at_facility")
    world.later(3, step=0.5)
    lab.ups.faults.until["error"] = lab.clock() + 1000 * H
    world.later(6, step=0.5)
    return world


def shop_refuses(folder: Path, stack: ExitStack) -> World:
    """The shop takes our token no more, and a write waits for it."""
    world = World(folder, stack)
    world.sold()
    lab = world.lab
    lab.shop.faults.told.append(
        FaultyResponse(until=lab.clock() + 1000 * H, status=401, path="graphql", body=b'{"errors": "x"}')
    )
    lab.scan(lab.easypost, USPS, "delivered", "delivered")
    lab.post(lab.easypost.event(USPS))
    world.later(3)
    return world


def people(folder: Path, stack: ExitStack) -> World:
    """A cancelled order's parcel moves, and a seller edits what only the platform sets."""
    world = World(folder, stack, rest="{preset: kingston-dispatched}")
    world.sold()
    lab = world.lab
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "platform"})
    lab.rest.ship("#7", lab.clock(), [{"company": "USPS", "number": MORE[0]}], items={})
    world.later(1)
    lab.post_raw("easypost", tracker_body(MORE[0], detail("in_transit", lab.clock().isoformat())))
    world.later(1)
    lab.rest.set("#7", "seller", status="Delivered")
    lab.shop.set("#1001", cancelledAt=lab.clock().isoformat())
    world.later(2)
    lab.scan(lab.easypost, USPS, "in_transit", "arrived_at_facility")
    lab.post(lab.easypost.event(USPS))
    world.later(1)
    return world


def brake(folder: Path, stack: ExitStack) -> World:
    """An account tells of far more ends than it ever did: what they would write is held."""
    world = World(folder, stack, yaml="watch: {brake_parcels: 3}\n")
    lab = world.lab
    world.sold()
    for i, number in enumerate(MORE):
        lab.order(f"#20{i}", number)
    world.later(3)
    for number in MORE:
        began, ended = (lab.clock() - timedelta(minutes=m) for m in (40, 10))
        here = {"city": "Leeds", "country": "GB"}
        told = [
            detail("in_transit", began.isoformat(), tracking_location=here),
            detail("delivered", ended.isoformat(), tracking_location=here),
        ]
        lab.post_raw("easypost", tracker_body(number, *told))
    lab.clock.move_to(lab.clock() + H)  # they are read at once
    world.later(1)
    return world


def silent(folder: Path, stack: ExitStack) -> World:
    """A parcel was not scanned for nine days, one never, and one is of a carrier that no account tells of."""
    world = World(folder, stack, without="easypost")
    lab = world.lab
    lab.order("#1001", UPS, company="UPS")
    lab.order("#1002", DHL, company="DHL")
    lab.order("#1003", FEDEX, company="FedEx")
    world.later(1)
    lab.scan(lab.ups, UPS, "I", "038")
    world.later(9 * 24, step=12)
    return world


def we(folder: Path, stack: ExitStack) -> World:
    """We were away for eight hours; now no process runs, payloads wait, one cannot be read, a write was given up, the shop is paused."""
    world = World(folder, stack)
    world.sold()
    lab = world.lab
    lab.clock.move_to(lab.clock() + 8 * H)  # nobody of ours ran
    lab.scan(lab.easypost, USPS, "in_transit", "arrived_at_facility", hours=-4)
    world.turn(after_outage=True)
    world.later(1)
    lab.post_raw("easypost", b'{"object": "Tracker", "tracking_code": ["5"]')
    lab.shop.faults.left["refuse_write"] = 50
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.post(lab.easypost.event(USPS))
    world.later(2)
    assert world.ask("pause", "shop").exit_code == 0
    lab.scan(lab.ups, UPS, "D", "9E")
    world.later(7)
    lab.scan(lab.easypost, USPS, "delivered", "delivered")
    lab.post(lab.easypost.event(USPS))
    lab.clock.move_to(lab.clock() + 1 * H)  # and nobody runs again
    lab.change(t.heartbeats.update().values(at=system_now() - H))
    return world


WORLDS: dict[str, Callable[[Path, ExitStack], World]] = dict(
    zip(NAMES, (healthy, carrier_away, shop_refuses, people, brake, silent, we), strict=True)
)
