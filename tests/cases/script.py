"""A shop whose answers a test writes, and what is asked of the lab that reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.lab import START, USPS, H, Lab
from tracker.domain.errors import SourceError
from tracker.plugin.calls import Request, Response
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
        elsewhere = lab.ctx.client
        lab.ctx.client = lambda account: self if account.name == self.account else elsewhere(account)

    @property
    def source(self) -> Any:
        return self.lab.ctx.config.accounts[self.account].source

    def now(self) -> datetime:
        return self.lab.clock()

    def send(self, request: Request) -> Response:
        path = f"{request.method} {urlsplit(request.url).path.removeprefix(f'/{self.account}')}"
        self.calls[path] += 1
        said = self.says.get(path, (404, {}))
        if callable(said):
            said = said(dict(request.params))
        if isinstance(said, SourceError):
            raise said
        answer = Response(said[0], {}, orjson.dumps(said[1]), self.now())
        self.source.raise_for_status(answer)
        return answer


def order(ref: str, **more: Any) -> dict[str, Any]:
    at = "2026-11-02T08:00:00Z"
    return {"ref": ref, "number": f"#{ref}", "status": "Processing", "placed_at": at, "updated_at": at, **more}


def read(name: str) -> Any:
    return orjson.loads((HERE / name).read_bytes())


def state(lab: Lab, name: str = "kart") -> Any:
    return lab.one(t.accounts, t.accounts.c.name == name)


def finding(lab: Lab, kind: str) -> Any:
    return lab.one(t.findings, t.findings.c.kind == kind, t.findings.c.closed_at.is_(None))


# orders that are gone


def note_changes(lab: Lab, *refs: str, account: str = "kart") -> None:
    with lab.daemon.store.write() as connection:
        queries.note_changes(connection, account, refs, database_now(connection))


def minutes(lab: Lab, count: float, *queues: str) -> None:
    lab.clock.move_to(lab.clock() + timedelta(minutes=count))
    lab.work(*queues)


# an account that is away rests


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
    lab.work("poll", "ingest", "decide")
    assert [row.state for row in lab.rows(t.outbox)] == ["pending"]
