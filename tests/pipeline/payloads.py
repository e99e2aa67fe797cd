"""A lab whose payloads say what a test wants, and what they may say."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.lab import START, UPS
from tracker.domain.facts import Code, Order, Report, Scan, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now

DAY = timedelta(days=1)


class Payloads:
    """A lab whose payloads say what a test wants. Where `says` holds an exception, the parser raises it there."""

    def __init__(self, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab, self.says, self._keys = lab, {}, itertools.count()
        for account in lab.ctx.config.accounts.values():
            monkeypatch.setattr(account.source, "normalize", self._reads(account.source.normalize))

    def _reads(self, normalize: Any) -> Any:
        def read(payload: Any) -> Any:
            if payload.body not in self.says:
                yield from normalize(payload)
                return
            for said in self.says[payload.body]:
                if isinstance(said, BaseException):
                    raise said
                yield said

        return read

    def put(self, account: str, *says: Any, kind: str = "poll", at: datetime | None = None) -> int:
        """Store a payload; returns its id."""
        body = f'"{next(self._keys)}"'.encode()
        self.says[body] = says
        with self.lab.daemon.store.write() as connection:
            now = database_now(connection)
            row = queries.payload_row(account, kind, [body], at or self.lab.clock(), now, asked_at=now)
            queries.store_payloads(connection, [row])
        return int(self.lab.rows(t.inbox)[-1].id)

    def mend(self, row_id: int, *says: Any) -> None:
        """Let a payload say something else when it is read again."""
        self.says[self.row(row_id).body] = says

    def row(self, row_id: int) -> Any:
        return self.lab.one(t.inbox, t.inbox.c.id == row_id)

    def findings(self, *kinds: str) -> list[Any]:
        f = t.findings.c
        return self.lab.rows(t.findings, f.closed_at.is_(None), f.kind.in_(kinds))


def an_order(ref: str, **more: Any) -> Order:
    given: dict[str, Any] = {
        "store": "kart", "ref": ref, "number": f"#{ref}", "status": OrderStatus.PROCESSING, "raw_status": "Processing",
        "payment": PaymentStatus.PAID, "raw_payment": "paid", "placed_at": START, "updated_at": START,
    }  # fmt: skip
    return Order(**{**given, **more})


def a_report(number: str, **more: Any) -> Report:
    scan = Scan(Code("status", "005"), START.replace(tzinfo=None), START)
    return Report("ups", number, (scan,), **more)


ESTIMATE = Unread("$.results[0].estimate", "is no date: 'Pending'", UPS)
OF_PIECES = ("order_unreadable", "parcel_unreadable", "order_incomplete")
