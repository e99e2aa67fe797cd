"""A store of any platform of the matrix, worked by hand: its fake shop through real HTTP, and a process of ours that may die at a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import orjson
import sqlalchemy as sa

from tests.matrix.columns import ROOT, Column
from tracker.app.daemon import Daemon
from tracker.domain.vocabulary import OrderStatus
from tracker.pipeline import failpoints, receive
from tracker.pipeline.drain import STEPS
from tracker.sandbox import scenario
from tracker.sandbox.base import Outgoing
from tracker.sandbox.player.course import Course
from tracker.store import tables as t
from tracker.upkeep import maintenance

O = OrderStatus
MINUTE = timedelta(minutes=1)
FIELD = "shipping_status"


class Died(BaseException):
    """The process died at a failpoint."""


def number(which: int) -> str:
    """Return a tracking number of USPS, by its check digit."""
    digits = f"9400111206206{which:08}"
    total = sum(int(d) * (3 if i % 2 == 0 else 1) for i, d in enumerate(reversed(digits)))
    return f"{digits}{-total % 10}"


def scenario_of(column: Column, **more: Any) -> scenario.Scenario:
    """Return the play of a store of that platform: what is shown when a parcel is delivered is written, and nothing else."""
    policy: dict[str, Any] = {"preset": "mirror"}
    settings = {key: value for key, value in column.settings.items() if key != "words" or column.name != "shopify"}
    if column.native or O.DELIVERED in column.writes:
        policy = {"preset": "marketplace-guide", "notices": [], "deadlines": dict.fromkeys(CLOCKS, "off")}
        if column.named:
            policy["side_effects"] = column.named
    elif column.name == "saleor":
        policy["status_field"] = FIELD
    store: dict[str, Any] = {"uses": column.uses, "policy": policy, "settings": settings, "sweep_every": "12h", **more}
    if column.native:
        store["words"] = "marketplace-guide"
    if column.entry:
        store["entry"] = str(ROOT / column.entry)
    return scenario.Scenario.model_validate(
        {
            "scenario": "by hand",
            "watch": {"brake_parcels": 1000},
            "accounts": {"easypost": {"uses": "easypost"}},
            "stores": {"shop": store},
            "steps": [],
        }
    )


CLOCKS = ("confirm", "processing", "processing days", "shipping days")


class Hand(Course):
    """A play without threads of ours: `work` does all that is due, `later` lets time pass."""

    def __init__(self, column: Column, stack: ExitStack, database: str | None, **more: Any) -> None:
        super().__init__(scenario_of(column, **more), seed=None, database=database, broker="none")
        self.column, self._stack = column, stack
        self.open(stack)
        self.shop = self.stage.shops["shop"]
        self.carrier: Any = self.stage.carriers.get("easypost")
        self.copies = 1  # of each webhook of the shop
        self.hears = True  # whether webhooks of the shop reach us
        self.work()

    def work(self, *queues: str) -> None:
        """Work until nothing is due at this moment."""
        for _ in range(200):
            worked = sum(STEPS[queue](self.daemon.ctx) for queue in queues or STEPS)
            while not queues and self.shop.outgoing:
                outgoing = self.shop.outgoing.pop(0)
                for _copy in range(self.copies if self.hears else 0):
                    self.take(outgoing)
                worked += self.hears
            if not worked:
                return
        raise AssertionError("it never ends")

    def later(self, minutes: float = 1) -> None:
        """Let time pass, by both clocks, and work what is due then."""
        self.clock.move_to(self.clock() + minutes * MINUTE)
        maintenance.expire(self.daemon.ctx)
        self.work()

    def take(self, outgoing: Outgoing) -> None:
        """Take a webhook in as the receiver does; one that is refused is not stored."""
        account = self.daemon.ctx.config.accounts[outgoing.account]
        token = self.stage.tokens[outgoing.account] if account.webhook_tokens else ""
        headers = {name.lower(): value for name, value in outgoing.headers.items()}
        with suppress(Exception):  # such as one whose key is not known yet: its sender comes again, or the sweep tells
            payload = receive.check(account, token, headers, outgoing.body, self.clock()).payload
            receive.commit(self.daemon.ctx, [(account, payload)])

    # the world

    def order(self, name: str, *numbers: str) -> None:
        """Place an order and ship it, and read it."""
        self.place(name, *numbers)
        name = self.name(name)
        self.later()
        if not self.rows(t.orders, t.orders.c.number == name):
            self.later(12 * 60)  # no webhook told: the sweep does

    def place(self, name: str, *numbers: str) -> None:
        """Place an order and ship it; nothing is worked yet."""
        name = self.name(name)
        self.shop.on_place(scenario.Place(order=name, status=self._begins()), self.clock())
        self.shop.on_ship(scenario.Ship(order=name, company="USPS", numbers=numbers), self.clock())

    def _begins(self) -> str | None:
        return (
            "Processing"
            if self.column.native
            else self.column.reads.get(O.PROCESSING) or self.column.reads[O.CONFIRMED]
        )

    def name(self, name: str) -> str:
        """Return what an order is called there."""
        return self.column.names.format(name)

    def scan(self, which: str, status: str = "delivered", code: str = "arrived_at_destination") -> None:
        """Let the carrier scan a parcel and tell it; nothing is worked yet."""
        action = scenario.Scan(account="easypost", number=which, type=status, code=code, country="US", city="RENO")
        scan = {"at": self.clock().astimezone(UTC), "letters": "", "text": code, "region": "NV", "zoned": True, "edd": None,
                **{key: getattr(action, key) for key in ("type", "code", "city", "country", "service", "head", "body")}}  # fmt: skip
        self.carrier.history[which].append(scan)
        told = self.carrier.webhook(action, scan)
        assert told is not None
        self.take(told)

    def delivered(self, name: str) -> tuple[Any, ...]:
        """Place and ship an order and let its parcel be delivered; returns its state."""
        self.order(name, number(int(name)))
        self.scan(number(int(name)))
        self.work()
        self.later()
        return self.ends(name)

    # death

    @contextmanager
    def dying_at(self, name: str) -> Iterator[None]:
        """Die where the failpoint stands, as a process does that is killed; what it held in memory is gone."""
        died = False

        def end(_code: int) -> None:
            nonlocal died
            died = True
            raise Died(name)

        armed = patch.object(failpoints, "_ARMED", name)
        with armed, patch.object(failpoints, "os", SimpleNamespace(_exit=end)), suppress(Died):
            yield
        assert died, f"{name} was never reached on {self.column.name}"
        config, self.daemon = self.daemon.ctx.config, Daemon(self.daemon.ctx.config, now=self.clock, ahead=self.ahead)
        assert config is self.daemon.ctx.config
        self._stack.callback(self.daemon.stop)
        self.daemon.connect()

    # what came of it

    def written(self, name: str) -> list[str]:
        """Return what the shop was told of an order, by its own log."""
        return [entry["event"] for entry in self.shop.log if entry["order"] == self.name(name)]

    def rows(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> list[Any]:
        """Return rows of ours."""
        with self.daemon.store.read() as connection:
            return list(connection.execute(sa.select(table).where(*where).order_by(*table.primary_key.columns)))

    def ends(self, name: str) -> tuple[Any, ...]:
        """Return the state of an order: what was written, what we know, what is found, what still waits."""
        (row,) = self.rows(t.orders, t.orders.c.number == self.name(name))
        found = sorted(
            (one.kind, one.closed_at is None) for one in self.rows(t.findings, t.findings.c.order_id == row.id)
        )
        left = [one.state for one in self.rows(t.outbox, t.outbox.c.order_id == row.id) if one.state == "pending"]
        dead = [one.reason for one in self.rows(t.inbox, t.inbox.c.state == "dead")]
        return self.written(name), str(row.status), row.raw_status, found, left, dead

    def shown(self, name: str) -> bytes:
        """Return the shop's own order as it is there, to be compared."""
        return orjson.dumps(self.shop.orders[self.name(name)], default=str)
