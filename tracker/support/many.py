"""Many rows at once: which findings, writes, payloads or orders a filter finds, and what is done to them, a batch at a time.

What was found is a list of ids, so that what is done is what was shown. Each batch is a transaction that looks again: what was
ended meanwhile is left, and a command that was stopped half-way finds the rest when it is said again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.domain.vocabulary import DriftKind, FindingKind, StatementKind
from tracker.pipeline.context import AppContext
from tracker.pipeline.receive import HANDSHAKE
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import (
    drifts,
    findings,
    fulfilment_shipments,
    fulfilments,
    inbox,
    orders,
    outbox,
    shipments,
    statements,
)

AT_ONCE = 500
FIRST = 10  # rows that are shown before anything is done
SAID_AGAIN = timedelta(days=1)  # the same statement of the same person within it is not kept twice
NOBODY = "nobody"
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Filter:
    """What rows are meant; what is empty says nothing. `account`: of payloads, an account or a store; `assigned`: a name, or nobody."""

    kinds: tuple[str, ...] = ()
    store: queries.Stores = None
    carrier: str | None = None
    since: datetime | None = None
    severity: str | None = None
    assigned: str | None = None
    snoozed: bool = False
    state: str | None = None
    account: str | None = None
    partly: bool = False

    def __bool__(self) -> bool:
        """Say whether it says anything."""
        return self != Filter(snoozed=self.snoozed)


@dataclass
class Found:
    """What a filter found: the ids, how many of each kind and store, and the first rows."""

    ids: list[int] = field(default_factory=list)
    counts: list[tuple[str, str, int]] = field(default_factory=list)
    first: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Things:
    """Rows of one table that many may be asked for: what they are called, and which columns tell of them.

    `columns`: what a preview and a file show of a row, by name; `kind` and `store` are counted. `still`: what a row must be to
    be acted on, however it is named.
    """

    name: str
    table: sa.Table
    columns: dict[str, sa.ColumnElement[Any]]
    conditions: Callable[[Filter, datetime], list[sa.ColumnElement[bool]]]
    still: tuple[sa.ColumnElement[bool], ...] = ()


def find(ctx: AppContext, things: Things, wanted: Filter) -> Found:
    """Return what a filter finds, in one look: the counts and the first rows are of these very ids."""
    found, counts = Found(), Counter[tuple[str, str]]()
    key, columns = things.table.c.id, things.columns
    with ctx.store.read() as connection:
        where = things.conditions(wanted, ctx.now())
        select = (
            sa.select(key, columns["kind"].label("kind"), columns["store"].label("store")).where(*where).order_by(key)
        )
        for row in connection.execute(select):
            found.ids.append(row.id)
            counts[row.kind, row.store or "-"] += 1
        found.first = list(_rows(connection, things, found.ids[: -FIRST - 1 : -1]))
    found.counts = [(*of, many) for of, many in counts.most_common()]
    return found


def still(ctx: AppContext, things: Things, ids: Sequence[int]) -> set[int]:
    """Return which of these rows may still be acted on: findings that are open, writes that are refused or dead."""
    found: set[int] = set()
    for begin in range(0, len(ids), AT_ONCE):
        with ctx.store.read() as connection:
            key = things.table.c.id
            here = queries.among(connection, key, ids[begin : begin + AT_ONCE])
            found |= set(connection.execute(sa.select(key).where(here, *things.still)).scalars())
    return found


def rows(ctx: AppContext, things: Things, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Give what a file says of each of these rows, a batch at a time."""
    for begin in range(0, len(ids), AT_ONCE):
        with ctx.store.read() as connection:
            yield from _rows(connection, things, ids[begin : begin + AT_ONCE])


def _rows(connection: Connection, things: Things, ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    key = things.table.c.id
    told = [column.label(name) for name, column in things.columns.items()]
    here = queries.among(connection, key, list(ids))
    there = {row.id: dict(row._mapping) for row in connection.execute(sa.select(key.label("id"), *told).where(here))}
    return (there[id_] for id_ in ids if id_ in there)


def in_batches(ids: Sequence[int], do: Callable[[Sequence[int]], int], progress: Progress = lambda _done: None) -> int:
    """Do something to rows, a batch at a time. Returns to how many it was done; `progress` is told how many were looked at."""
    done = 0
    for begin in range(0, len(ids), AT_ONCE):
        done += do(ids[begin : begin + AT_ONCE])
        progress(min(begin + AT_ONCE, len(ids)))
    return done


# what is meant


def finding_conditions(wanted: Filter, now: datetime) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of open findings as lists show them; checkouts only by their own kind."""
    f = findings.c
    kind = f.kind.in_(wanted.kinds) if wanted.kinds else f.kind != FindingKind.ABANDONED_CHECKOUT
    return [f.closed_at.is_(None), kind, *about_findings(wanted, now)]


def about_findings(wanted: Filter, now: datetime) -> list[sa.ColumnElement[bool]]:
    """Return what a filter says of findings beside their kind and whether they are open; snoozed ones only when asked for."""
    f = findings.c
    conditions = queries.of_stores(f.store, wanted.store)
    if wanted.carrier is not None:  # a finding about a parcel is named store/order/carrier/number
        conditions.append(f.subject.contains(f"/{wanted.carrier}/", autoescape=True))
    if wanted.since is not None:
        conditions.append(f.opened_at >= wanted.since)
    if wanted.severity is not None:
        conditions.append(f.severity == wanted.severity)
    if wanted.assigned is not None:
        conditions.append(f.assigned_to.is_(None) if wanted.assigned == NOBODY else f.assigned_to == wanted.assigned)
    if not wanted.snoozed:
        conditions.append(sa.or_(f.snoozed_until.is_(None), f.snoozed_until <= now))
    return conditions


_ENDED = outbox.c.state.in_(["refused", "dead"])  # writes that may be tried again


def _write_conditions(wanted: Filter, _now: datetime) -> list[sa.ColumnElement[bool]]:
    o = outbox.c
    conditions = [o.state == wanted.state if wanted.state else _ENDED]
    conditions += queries.of_stores(o.store, wanted.store)
    if wanted.kinds:
        conditions.append(o.kind.in_(wanted.kinds))
    if wanted.carrier is not None:
        conditions.append(o.order_id.in_(_carried_by(wanted.carrier)))
    if wanted.since is not None:
        conditions.append(o.created_at >= wanted.since)
    return conditions


def _carried_by(carrier: str) -> sa.Select[Any]:
    return (
        sa.select(fulfilments.c.order_id)
        .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
        .join(shipments, shipments.c.id == fulfilment_shipments.c.shipment_id)
        .where(shipments.c.carrier == carrier)
    )


_READABLE = (inbox.c.state != "pending", inbox.c.body.isnot(None), inbox.c.kind != HANDSHAKE)


def _payload_conditions(wanted: Filter, _now: datetime) -> list[sa.ColumnElement[bool]]:
    i = inbox.c
    conditions: list[sa.ColumnElement[bool]] = [*_READABLE]
    for name in (wanted.account, wanted.store):
        conditions += queries.of_stores(i.account, name)
    if wanted.kinds:
        conditions.append(i.kind.in_(wanted.kinds))
    if wanted.state is not None:
        conditions.append(i.state == wanted.state)
    if wanted.partly:
        conditions.append(i.unread.is_not(sa.null()))
    if wanted.since is not None:
        conditions.append(i.received_at >= wanted.since)
    return conditions


def _order_conditions(wanted: Filter, now: datetime) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of orders of which such findings are open, or which differ in such a way."""
    f, d = findings.c, drifts.c
    differ = [kind for kind in wanted.kinds if kind in set(DriftKind)]
    found = sa.select(f.order_id).where(f.order_id.isnot(None), *finding_conditions(wanted, now))
    if not differ or wanted.severity is not None or wanted.assigned is not None:
        return [orders.c.id.in_(found)]
    there = [d.kind.in_(differ), *queries.of_stores(d.store, wanted.store)]
    if wanted.carrier is not None:
        there.append(d.carrier == wanted.carrier)
    if wanted.since is not None:
        there.append(d.since >= wanted.since)
    return [sa.or_(orders.c.id.in_(found), orders.c.id.in_(sa.select(d.order_id).where(*there)))]


def _number_of(table: sa.Table) -> sa.ScalarSelect[Any]:
    return sa.select(orders.c.number).where(orders.c.id == table.c.order_id).correlate(table).scalar_subquery()


FINDINGS = Things(
    "findings", findings,
    {
        "kind": findings.c.kind, "severity": findings.c.severity, "store": findings.c.store, "order": _number_of(findings),
        "subject": findings.c.subject, "opened": findings.c.opened_at, "would_heal": findings.c.proposal,
    }, finding_conditions, (findings.c.closed_at.is_(None),),
)  # fmt: skip
WRITES = Things(
    "writes", outbox,
    {
        "kind": outbox.c.kind, "store": outbox.c.store, "order": _number_of(outbox), "state": outbox.c.state, "created": outbox.c.created_at,
        "tries": outbox.c.attempts, "error": outbox.c.error,
    }, _write_conditions, (_ENDED,),
)  # fmt: skip
PAYLOADS = Things(
    "payloads", inbox,
    {
        "kind": inbox.c.kind, "store": inbox.c.account, "state": inbox.c.state, "received": inbox.c.received_at,
        "bytes": inbox.c["size"], "why": inbox.c.reason,
    }, _payload_conditions, _READABLE,
)  # fmt: skip
ORDERS = Things(
    "orders", orders,
    {"kind": orders.c.status, "store": orders.c.store, "order": orders.c.number, "placed": orders.c.placed_at}, _order_conditions,
)  # fmt: skip


# what is done


def assign(ctx: AppContext, ids: Sequence[int], to: str | None) -> int:
    """Give open findings to a person (None: to nobody). Returns how many; those that are his already count."""
    f = findings.c
    with ctx.store.write() as connection:
        here = sa.and_(queries.among(connection, f.id, ids), f.closed_at.is_(None))
        values = {"assigned_to": to, "assigned_at": ctx.now() if to is not None else None}
        given = findings.update().where(queries.in_order(connection, f.id, here)).values(**values)
        return int(connection.execute(given).rowcount)


def record(ctx: AppContext, ids: Sequence[int], kind: StatementKind, text: str, by: str) -> int:
    """Keep a statement of each of these orders, and have them looked at again. Returns of how many.

    Whoever said the very same of an order within a day is not asked twice: a command may be said again.
    """
    s = statements.c
    with ctx.store.write() as connection:
        now = ctx.now()
        same = sa.and_(s.kind == kind, s.text == text, s.by == by, s.at > now - SAID_AGAIN)
        said = set(
            connection.execute(sa.select(s.order_id).where(queries.among(connection, s.order_id, ids), same)).scalars()
        )
        there = connection.execute(sa.select(orders.c.id).where(queries.among(connection, orders.c.id, ids))).scalars()
        fresh = sorted(set(there) - said)
        if fresh:
            queries.decide_now(connection, queries.among(connection, orders.c.id, fresh), now)
            told = {"kind": kind, "status": None, "text": text, "by": by, "at": now, "override": False}
            connection.execute(statements.insert(), [{"order_id": id_, **told} for id_ in fresh])
    ctx.notify("decide")
    return len(fresh)


def retry(ctx: AppContext, ids: Sequence[int]) -> int:
    """Make refused or dead writes due again. Returns how many still were."""
    o = outbox.c
    with ctx.store.write() as connection:
        here = sa.and_(queries.among(connection, o.id, ids), _ENDED)
        due = {
            "state": "pending",
            "crashes": 0,
            "due_at": database_now(connection),
            "ended_at": None,
            "claimed_until": None,
        }
        done = connection.execute(
            outbox.update().where(queries.in_order(connection, o.id, here)).values(**due)
        ).rowcount
    ctx.notify("push")
    return int(done)
