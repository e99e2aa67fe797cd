"""Everything that was heard, decided and found, row by row, for other programs: in windows of ids, so that any number fits in memory.

The order is that of ids and never changes; who goes on behind the last id gets what came since, nothing twice. Of `events` that is so
of each of its four streams, which come one after the other. A row that is younger than SETTLED is left for the next export: a
transaction that began before it may still bring an older one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from tracker.domain.errors import TrackerError
from tracker.domain.facts import StoredScan
from tracker.domain.personal import impersonal
from tracker.domain.timeline import runs
from tracker.pipeline.context import AppContext
from tracker.pipeline.ingest.scans import STORED_SCAN, stored_scan
from tracker.store import queries
from tracker.store.tables import (
    accounts,
    decisions,
    findings,
    fulfilment_shipments,
    fulfilments,
    order_versions,
    orders,
    outbox,
    scans,
    shipments,
)

SCHEMA = 1  # of the columns: a change that is more than a new column at the end adds one
WINDOW = 5_000  # ids that are read at once
SETTLED = timedelta(minutes=2)  # no transaction lasts so long
_DRIFT = timedelta(hours=1)  # so far ids and times may lie apart, where a span begins


class Column(NamedTuple):
    """A column: its name, its type (int | text | moment | bool | list | json), what it means; `personal`: it may name a person."""

    name: str
    kind: str
    means: str
    personal: bool = False


_PARCEL = (
    Column("parcel", "int", "id of the parcel, as `tracker report --show` tells it"),
    Column("carrier", "text", "whose parcel it is"),
    Column("number", "text", "its tracking number"),
    Column("generation", "int", "which parcel under that number, as carriers give numbers again"),
)
COLUMNS: dict[str, tuple[Column, ...]] = {
    "scans": (
        Column("id", "int", "rises; go on behind the last one"),
        *_PARCEL,
        Column("account", "text", "who told it first"),
        Column("space", "text", "the carrier's code space"),
        Column("code", "text", "its code"),
        Column("text", "text", "the carrier's words", personal=True),
        Column("status", "text", "the shipping status that we read of the code; empty: it says nothing of that"),
        Column("reason", "text", "why, or how exactly"),
        Column("leg", "text", "outbound, return_to_sender, customer_return, exchange"),
        Column("correction", "bool", "the carrier takes back what it said"),
        Column("instant", "moment", "when it happened"),
        Column("local", "text", "its time as printed"),
        Column("zone", "text", "how the instant is known: offset, utc, by_place, assumed, unknown, future"),
        Column("precision", "text", "second, minute, date"),
        Column("city", "text", "where"),
        Column("region", "text", "where"),
        Column("postcode", "text", "where: of a delivery it may be the recipient's", personal=True),
        Column("country", "text", "where, ISO 3166"),
        Column("payload", "int", "the payload that told it: `tracker inbox --body`"),
        Column("heard_at", "moment", "when we stored it"),
        Column("pushed_at", "moment", "when a webhook told it"),
        Column("withdrawn_at", "moment", "when its carrier told it no more"),
    ),
    "events": (
        Column("event", "text", "parcel_status, order_status, decision, write: the streams, in this order"),
        Column("id", "int", "rises within a stream; go on behind the last one of each"),
        Column("at", "moment", "when we knew it, decided it, or wanted it written"),
        Column("happened_at", "moment", "of a parcel's status: when it happened; of a write: of what it tells"),
        Column("store", "text", "of an order"),
        Column("order", "text", "the order's number"),
        *_PARCEL,
        Column("status", "text", "of the parcel, of the order, or that is written"),
        Column("previous", "text", "what its status was before"),
        Column("raw", "text", "the shop's word for an order's status; of a parcel the carrier's code"),
        Column("reason", "text", "of a parcel's status"),
        Column("payment", "text", "of an order"),
        Column("actor", "text", "who set an order's status: system, seller, admin, customer, trackwright, unknown"),
        Column("version", "int", "of the order"),
        Column("rules", "list", "that a decision or a write rests on"),
        Column("writes", "list", "that a decision wanted: kind and status"),
        Column("findings", "list", "that a decision found: kinds"),
        Column("kind", "text", "of a write"),
        Column("state", "text", "of a write: pending, held, sent, refused, dead, superseded, observed"),
        Column("ended_at", "moment", "when a write came to its end"),
    ),
    "findings": (
        Column("id", "int", "rises; go on behind the last one"),
        Column("kind", "text", "what it is"),
        Column("severity", "text", "urgent, warning, info"),
        Column("act", "text", "what to do"),
        Column("store", "text", "of which store"),
        Column("order", "text", "the order's number"),
        Column("subject", "text", "what it is about"),
        Column("since", "moment", "since when it is so"),
        Column("opened_at", "moment", "when we found it"),
        Column("opened_by", "text", "which part of us found it"),
        Column("snoozed_until", "moment", "until when nobody wants to see it"),
        Column("closed_at", "moment", "when it was closed, as of this export"),
        Column("closed_by", "text", "by whom", personal=True),
        Column("closed_reason", "text", "why", personal=True),
        Column("assigned_to", "text", "who looks after it", personal=True),
        Column("evidence", "json", "what it rests on; free texts are left out with personal data"),
        Column("proposal", "text", "what heals it"),
    ),
}  # fmt: skip
KINDS = tuple(COLUMNS)


class WrongCursor(TrackerError):
    """A place to go on from that is none of this export."""


@dataclass
class Cursor:
    """Where an export is: the last id of each of its streams, and how many rows it gave."""

    after: dict[str, int] = field(default_factory=dict)
    rows: int = 0

    def __str__(self) -> str:
        """Return it as `--after` takes it."""
        if set(self.after) <= {""}:
            return str(self.after.get("", 0))
        return ",".join(f"{name}={last}" for name, last in self.after.items())


@dataclass(frozen=True)
class Wanted:
    """What is exported: `kind` of KINDS, what we knew from `since` on and before `until`, of one store or all.

    `said`: `since` in the words in which it was asked for, such as 30d: in a later export these mean another moment.
    `restored`: when a backup was put back last: ids behind it are those of other rows.
    """

    kind: str
    since: datetime | None = None
    until: datetime | None = None
    store: str | None = None
    personal: bool = False
    said: str | None = None
    restored: str | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return its columns: without those that may name a person, unless they are asked for."""
        return tuple(one for one in COLUMNS[self.kind] if self.personal or not one.personal)


class _Stream(NamedTuple):
    """One table, read by its ids: when a row was known, its rows in a window, and how one is told."""

    table: sa.Table
    known: sa.Column[Any]
    select: sa.Select[Any]
    of_store: Callable[[str], sa.ColumnElement[bool]]
    row: Callable[[dict[str, Any]], dict[str, Any]]
    chosen: Callable[[sa.Connection, list[dict[str, Any]]], list[dict[str, Any]]] | None = None  # of a window's rows


def read_cursor(kind: str, text: str) -> Cursor:
    """Read an `--after`. Raises WrongCursor."""
    names = [*STREAMS[kind]]
    parts = dict(part.partition("=")[::2] for part in text.split(",")) if names != [""] else {"": text}
    if not parts.keys() <= set(names) or not all(
        last.isascii() and last.isdigit() and len(last) < 19 for last in parts.values()
    ):
        wanted = "an id" if names == [""] else ",".join(f"{name}=ID" for name in names)
        raise WrongCursor(f"after {text!r}: must be {wanted}, as the export before told it")
    return Cursor({name: int(last) for name, last in parts.items()})


def restored(ctx: AppContext) -> str | None:
    """Return when a backup was put back last, None where none was."""
    with ctx.store.read() as connection:
        at = connection.execute(sa.select(sa.func.max(accounts.c.restored_at))).scalar_one()
    return at.isoformat() if at is not None else None


def rows(ctx: AppContext, wanted: Wanted, cursor: Cursor) -> Iterator[list[dict[str, Any]]]:
    """Give the rows behind a cursor, a window at a time; the cursor is moved before each window is given.

    It is moved to where the span begins at once, in each stream: who goes on from it gets nothing that is older.
    """
    horizon = min(ctx.now() - SETTLED, wanted.until or ctx.now())
    named = [column.name for column in wanted.columns]
    for name, stream in STREAMS[wanted.kind].items():
        begins = _before(ctx, stream, wanted.since - _DRIFT) if wanted.since is not None else 0
        cursor.after[name] = max(cursor.after.get(name, 0), begins)
    for name, stream in STREAMS[wanted.kind].items():
        last = cursor.after[name]
        with ctx.store.read() as connection:
            newest = connection.execute(sa.select(sa.func.max(stream.table.c.id))).scalar_one() or 0
        while last < newest:
            to = min(last + WINDOW, newest)
            found, last = _window(ctx, stream, wanted, last, to, horizon)
            cursor.after[name] = last
            cursor.rows += len(found)
            yield [{key: row.get(key) for key in named} for row in found]
            if last < to:
                break


def _window(
    ctx: AppContext, stream: _Stream, wanted: Wanted, after: int, to: int, horizon: datetime
) -> tuple[list[dict[str, Any]], int]:
    """Read the rows of a window, up to the first that is too young or past `until`. Returns them, and the last id that is done."""
    key = stream.table.c.id
    here = (key > after, key <= to)
    with ctx.store.read() as connection:
        young = connection.execute(sa.select(sa.func.min(key)).where(*here, stream.known >= horizon)).scalar_one()
        done = to if young is None else young - 1
        select = stream.select.where(key > after, key <= done).order_by(key)
        if wanted.since is not None:
            select = select.where(stream.known >= wanted.since)
        if wanted.store is not None:
            select = select.where(stream.of_store(wanted.store))
        found = connection.execute(select)
        names = [*found.keys()]
        told = [stream.row(dict(zip(names, row, strict=True))) for row in found]
        if stream.chosen is not None:
            told = stream.chosen(connection, told)
    free = [column.name for column in wanted.columns if column.kind == "json" and not wanted.personal]
    for row in told:
        for name in free:
            row[name] = impersonal(row[name])
    return told, done


def _before(ctx: AppContext, stream: _Stream, moment: datetime) -> int:
    """Return an id before which nothing was known later than a moment: times rise with ids, so it is looked for by halves."""
    key = stream.table.c.id
    with ctx.store.read() as connection:
        low, high = 0, (connection.execute(sa.select(sa.func.max(key))).scalar_one() or 0)
        while low < high:
            middle = (low + high) // 2
            next_ = sa.select(stream.known).where(key > middle).order_by(key).limit(1)
            if connection.execute(next_).scalar_one() < moment:
                low = middle + 1
            else:
                high = middle
    return low


def _plainly(row: dict[str, Any]) -> dict[str, Any]:
    return row


def _scans() -> _Stream:
    s, p = scans.c, shipments.c
    select = sa.select(
        s.id, p.id.label("parcel"), p.carrier, p.number, p.generation, s.account, s.space, s.code, s.text, s.status, s.reason, s.leg,
        s.correction, s.instant, s.local, s.zone, s.precision, s.city, s.region, s.postcode, s.country, s.inbox_id.label("payload"),
        s.first_seen_at.label("heard_at"), s.pushed_at, s.withdrawn_at,
    ).join(shipments, p.id == s.shipment_id)  # fmt: skip
    return _Stream(scans, s.first_seen_at, select, _ships(s.shipment_id), _plainly)


def _ships(shipment_id: sa.Column[Any]) -> Callable[[str], sa.ColumnElement[bool]]:
    """Return the condition that a store ships a parcel."""
    fs, f, o = fulfilment_shipments.c, fulfilments.c, orders.c

    def of_store(store: str) -> sa.ColumnElement[bool]:
        named = sa.select(fs.shipment_id).join(fulfilments, f.id == fs.fulfilment_id).join(orders, o.id == f.order_id)
        return named.where(fs.shipment_id == shipment_id, o.store == store).exists()

    return of_store


def _parcel_status() -> _Stream:
    """Return the stream of scans by which the status of a parcel became another one; of a last mile its own."""
    s, p = scans.c, shipments.c
    select = (
        sa.select(
            sa.literal("parcel_status").label("event"), s.id, s.first_seen_at.label("at"), s.instant.label("happened_at"),
            p.id.label("parcel"), p.carrier, p.number, p.generation, s.code.label("raw"), s.fingerprint,
        )
        .join(shipments, p.id == s.shipment_id)
        .where(s.status.isnot(None), s.withdrawn_at.is_(None))
    )  # fmt: skip
    return _Stream(scans, s.first_seen_at, select, _ships(s.shipment_id), _plainly, _began)


def _began(connection: sa.Connection, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the scans that began a run of their parcel, as all its scans tell its journey; an end counts before it is confirmed."""
    parcels: dict[int, list[StoredScan]] = defaultdict(list)
    here = queries.among(connection, scans.c.shipment_id, sorted({row["parcel"] for row in told}))
    columns = (*STORED_SCAN[:-1], scans.c.first_seen_at)  # for when it was confirmed
    for row in connection.execute(sa.select(*columns).where(here, scans.c.withdrawn_at.is_(None))):
        parcels[row[0]].append(stored_scan(row))
    began = {(parcel, run.fingerprint): run for parcel, known in parcels.items() for run in runs(known)}
    return [
        {**row, "previous": run.before, "status": run.status, "reason": run.reason}
        for row in told
        if (run := began.get((row["parcel"], row["fingerprint"]))) is not None
    ]


def _of(store: str) -> sa.ColumnElement[bool]:
    return orders.c.store == store


def _order_status() -> _Stream:
    """Return the stream of what orders said where their status, its word or their payment was another one before."""
    v, o, before = order_versions.c, orders.c, order_versions.alias("before")
    b = before.c
    other = [v[name].is_distinct_from(b[name]) for name in ("status", "raw_status", "payment")]
    select = (
        sa.select(
            sa.literal("order_status").label("event"), v.id, v.seen_at.label("at"), o.store, o.number.label("order"), v.status,
            b.status.label("previous"), v.raw_status.label("raw"), v.payment, v.actor, v.version,
        )
        .join(orders, o.id == v.order_id)
        .outerjoin(before, sa.and_(b.order_id == v.order_id, b.version == v.version - 1))
        .where(sa.or_(b.id.is_(None), *other))
    )  # fmt: skip
    return _Stream(order_versions, v.seen_at, select, _of, _plainly)


def _decisions() -> _Stream:
    d, o = decisions.c, orders.c
    select = sa.select(
        sa.literal("decision").label("event"), d.id, d.at, o.store, o.number.label("order"), d.order_version.label("version"),
        d.because, d.actions, d.findings,
    ).join(orders, o.id == d.order_id)  # fmt: skip

    def row(told: dict[str, Any]) -> dict[str, Any]:
        wanted = [f"{one['kind']}:{one.get('target') or one.get('status')}" for one in told["actions"]]
        rules = [rule.partition(":")[0] for rule in told["because"]]  # what follows may be the shop's words
        return {**told, "rules": rules, "writes": wanted, "findings": [one["kind"] for one in told["findings"]]}

    return _Stream(decisions, d.at, select, _of, row)


def _writes() -> _Stream:
    w, o = outbox.c, orders.c
    select = sa.select(
        sa.literal("write").label("event"), w.id, w.created_at.label("at"), w.store, o.number.label("order"), w.kind, w.state, w.action,
        w.rules, w.ended_at,
    ).join(orders, o.id == w.order_id)  # fmt: skip

    def row(told: dict[str, Any]) -> dict[str, Any]:
        action, rules = told["action"], [rule.partition(":")[0] for rule in told["rules"]]
        happened = datetime.fromisoformat(action["happened_at"]) if action.get("happened_at") else None
        return {**told, "status": action.get("target") or action.get("status"), "happened_at": happened, "rules": rules}

    return _Stream(outbox, w.created_at, select, _of, row)


def _findings() -> _Stream:
    f, o = findings.c, orders.c
    names = ("id", "kind", "severity", "act", "store", "subject", "since", "opened_at", "opened_by", "snoozed_until", "closed_at",
             "closed_by", "closed_reason", "assigned_to", "evidence", "proposal")  # fmt: skip
    select = sa.select(*(f[name] for name in names), o.number.label("order")).outerjoin(orders, o.id == f.order_id)
    return _Stream(findings, f.opened_at, select, lambda store: f.store == store, _plainly)


STREAMS: dict[str, dict[str, _Stream]] = {
    "scans": {"": _scans()},
    "events": {"parcel_status": _parcel_status(), "order_status": _order_status(), "decision": _decisions(), "write": _writes()},
    "findings": {"": _findings()},
}  # fmt: skip
