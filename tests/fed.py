"""A lab with an account of PostNL: a carrier that has a feed, and hands out documents."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.lab import START, H, Lab
from tracker.sandbox.fakes.postnl import PostNLServer
from tracker.sandbox.servers import FakeServers
from tracker.store import tables as t
from tracker.upkeep import maintenance

PARCEL, OTHER, NOBODYS = "3SDEVC100000001", "3SDEVC100000002", "3SDEVC900000009"


class Late(PostNLServer):
    """PostNL whose answers about a number may show an event later than its feed does."""

    hides = ""

    async def _barcode(self, request: Any) -> Any:
        kept, number = self.history, request.path_params["number"]
        self.history = {number: [scan for scan in kept[number] if scan["code"] != self.hides]}
        try:
            return await super()._barcode(request)
        finally:
            self.history = kept


class Fed:
    """A lab with an account of PostNL, one order of one parcel, and its feed read up to now."""

    def __init__(self, make_lab: Callable[..., Lab], folder: Path, stack: ExitStack, entry: str = "") -> None:
        clock: list[Lab] = []
        self.postnl = Late("postnl", lambda: clock[0].clock() if clock else START, key="s")
        servers = FakeServers([self.postnl])
        port = servers.start()
        stack.callback(servers.stop)
        (folder / "postnl").write_text("s")
        (folder / "postnl").chmod(0o600)
        self.lab = make_lab(
            accounts=f'  postnl: {{uses: postnl, base_url: "http://127.0.0.1:{port}/postnl", customer_number: "11223344",'
            f' api_key: "${{file:{folder}/postnl}}", sweep_every: 1h{entry}}}\n'
        )
        clock.append(self.lab)

    def begin(self, *numbers: str) -> Lab:
        """Ship an order, let its parcel be looked at, and its feed tell of it."""
        self.lab.work()
        self.lab.order("#1001", *(numbers or (PARCEL,)), company="PostNL")
        for number in numbers or (PARCEL,):
            self.scan(number, "1", "A01")
        self.hours(1)
        for number in numbers or (PARCEL,):
            self.scan(number, "2", "B01")
        self.hours(1)
        return self.lab

    def scan(self, number: str, status: str, event: str, **more: Any) -> None:
        self.lab.scan(self.postnl, number, status, event, country="NL", **more)

    def hours(self, count: int, *, step: int = 3) -> None:
        """Let time pass and work what falls due, as the scheduler would: its feed is read once an hour, and late after three."""
        end = self.lab.clock() + count * H
        while (now := self.lab.clock()) < end:
            self.lab.clock.move_to(min(end, now + step * H))
            maintenance.run_monitors(self.lab.ctx)
            self.lab.work()

    def watch(self, number: str = PARCEL) -> Any:
        joined = sa.select(t.shipments.c.id).where(t.shipments.c.number == number)
        return self.lab.one(t.watches, t.watches.c.shipment_id.in_(joined))

    def account(self) -> Any:
        return self.lab.one(t.accounts, t.accounts.c.name == "postnl")

    def polls(self) -> int:
        return self.postnl.calls["track"]
