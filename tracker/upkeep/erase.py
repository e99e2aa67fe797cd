"""Erase what may name a person of orders: free texts, bodies as they came, documents, what was bought. Facts stay.

What reconcile needs is left as it is (statuses, codes, times, places, numbers, keys of what was written), so nothing is written again for it.
What is told later of such an order is not kept either: an order's facts and new scans are stored without those texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.domain.personal import ERASED, erased
from tracker.pipeline.context import AppContext
from tracker.pipeline.telling.forms import escaped
from tracker.store import queries
from tracker.store.codec import without_persons
from tracker.store.engine import database_now
from tracker.store.tables import (
    decisions,
    estimates,
    findings,
    fulfilment_shipments,
    fulfilments,
    inbox,
    messages,
    order_versions,
    orders,
    outbox,
    proofs,
    scans,
    shipments,
    statements,
    watches,
)

AT_ONCE = 50  # orders of a batch that age erases
BODIES = 500  # and bodies that nobody could read
WINDOW = 5_000  # payloads whose bodies are searched by one statement
SHORT = (
    6  # letters: a ref or a number of fewer stands in many a body by chance, and is looked for as a value of its own
)
ENDED = ("done", "ignored", "dead")
KINDS = (
    "payloads",
    "scans",
    "notes",
    "documents",
    "versions",
    "findings",
    "decisions",
    "writes",
    "answers",
    "messages",
)


@dataclass
class Erasure:
    """What was erased, or would be: how many of each of KINDS.

    `waits`: what is not ended yet, and is erased another time. `lingers`: SQLite's log still holds it, for whom looks into the file.
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    waits: int = 0
    lingers: bool = False

    @property
    def said(self) -> str:
        """Say how much of what in one line."""
        return ", ".join(f"{count} {kind}" for kind, count in self.counts.items() if count) or "nothing"


class _OnlyLooked(Exception):
    """Rolls a transaction back."""


def preview(ctx: AppContext, order: sa.Row[Any]) -> Erasure:
    """Return what `erase` would do to an order, which is done and rolled back."""
    made = Erasure()
    try:
        with _erasing(ctx, order, made, by=""):
            raise _OnlyLooked
    except _OnlyLooked:
        return made


def erase(ctx: AppContext, order: sa.Row[Any], by: str) -> Erasure:
    """Erase what may name a person of an order; that it was done, when, by whom and how much is kept with it."""
    made = Erasure()
    with _erasing(ctx, order, made, by=by):
        pass
    made.lingers = not ctx.store.overwrite()
    return made


@contextmanager
def _erasing(ctx: AppContext, order: sa.Row[Any], made: Erasure, by: str) -> Iterator[None]:
    with ctx.store.read() as connection:
        names = [order.ref, order.ref.rpartition("/")[2], order.number.lstrip("#")]
        names += connection.execute(
            sa.select(shipments.c.number).where(shipments.c.id.in_(_parcels(connection, order.id)))
        ).scalars()
    mentioned, together = _mentioned(ctx, dict.fromkeys(names)), _told_together(ctx, order)
    with ctx.store.write() as connection:
        _erase(connection, order.id, mentioned, together, made, by, ctx.now())
        made.waits += connection.execute(_waiting(ctx, connection, together)).scalar_one()
        yield


def by_age(ctx: AppContext) -> int:
    """Erase what may name a person of orders that were placed longer ago than `retention.personal`, some at a time. Returns how many.

    Bodies that nobody could read, of which no order is known, go when they came as long ago.
    """
    keep = ctx.config.root.retention.personal
    if keep is None:
        return 0
    with ctx.store.write() as connection:
        o, now = orders.c, ctx.now()
        old = (
            sa.select(o.id).where(o.erased_at.is_(None), o.placed_at < now - keep).order_by(o.placed_at).limit(AT_ONCE)
        )
        ids = connection.execute(old).scalars().all()
        for order_id in ids:
            _erase(connection, order_id, (), (), Erasure(), "retention", now)
        i = inbox.c
        unread = sa.select(i.id).where(i.state == "dead", i.body.is_not(None), i.received_at < now - keep).limit(BODIES)
        gone = connection.execute(
            inbox.update().where(i.id.in_(unread.scalar_subquery())).values(body=None, part_sizes=None)
        ).rowcount
    if ids or gone:
        ctx.store.overwrite()
        ctx.log.info("personal_erased", count=len(ids), rows=gone)
    return len(ids)


def _parcels(connection: Connection, order_id: int) -> list[int]:
    """Return the shipments of an order, with their last miles."""
    f, fs, s = fulfilments.c, fulfilment_shipments.c, shipments.c
    named = sa.select(fs.shipment_id).join(fulfilments, f.id == fs.fulfilment_id).where(f.order_id == order_id)
    found = connection.execute(named).scalars().all()
    legs = connection.execute(sa.select(s.id).where(s.leg_of.is_not(None), s.leg_of.in_(found))).scalars().all()
    return sorted({*found, *legs})


def _mentioned(ctx: AppContext, names: Iterable[str]) -> list[int]:
    """Return the payloads in whose bodies one of these names stands: what told nothing new is linked to nothing."""
    needles = [needle for name in names if name for needle in _needles(name)]
    b, found, last = inbox.c.body, list[int](), 0
    while True:
        with ctx.store.read() as connection:
            window = sa.select(inbox.c.id).where(inbox.c.id > last, b.is_not(None)).order_by(inbox.c.id).limit(WINDOW)
            top = connection.execute(sa.select(sa.func.max(window.subquery().c.id))).scalar()
            if top is None:
                return found
            holds = sa.or_(*(_holds(ctx.store.sqlite, needle) for needle in needles))
            here = sa.select(inbox.c.id).where(inbox.c.id > last, inbox.c.id <= top, b.is_not(None), holds)
            found += connection.execute(here).scalars()
            last = top


def _told_together(ctx: AppContext, order: sa.Row[Any]) -> list[int]:
    """Return the messages to targets that name an order, maybe among others: they are of no order."""
    headed = f"order {order.number} of {order.store}"
    texts = [orjson.dumps(text).decode()[1:-1] for text in dict.fromkeys((headed, escaped(headed)))]
    texts.append(f'"order":{orjson.dumps(order.number).decode()}')
    m = messages.c
    named = sa.or_(*(m.body.contains(text, autoescape=True) for text in texts))
    with ctx.store.read() as connection:
        return list(connection.execute(sa.select(m.id).where(m.order_id.is_(None), named)).scalars())


def _waiting(ctx: AppContext, connection: Connection, together: Sequence[int]) -> sa.Select[Any]:
    """Count those that are still to be told to who is told texts of others, too."""
    m, whole = messages.c, [name for name, target in ctx.config.targets.items() if target.details]
    here = (queries.among(connection, m.id, together), m.state == "pending", m.destination.in_(whole))
    return sa.select(sa.func.count()).select_from(messages).where(*here)


def _needles(name: str) -> list[bytes]:
    if len(name) >= SHORT:
        return [name.encode()]
    return [form.encode() for form in (f'"{name}"', f'#{name}"', f'/{name}"', f":{name},", f":{name}}}", f": {name},")]


def _holds(sqlite: bool, needle: bytes) -> sa.ColumnElement[bool]:
    told = sa.literal(needle, sa.LargeBinary())
    return sa.func.instr(inbox.c.body, told) > 0 if sqlite else sa.func.position(told.op("IN")(inbox.c.body)) > 0


def _erase(
    connection: Connection, order_id: int, mentioned: Sequence[int], together: Sequence[int], made: Erasure, by: str, now: datetime
) -> None:  # fmt: skip
    """Erase of an order, in the order in which rows are locked: watches, shipments, orders, the rest."""
    parcels, done = _parcels(connection, order_id), made.counts
    w, s, p = watches.c, scans.c, proofs.c
    here = queries.in_order(
        connection, w.id, sa.and_(w.shipment_id.in_(parcels), sa.or_(w.said != ERASED, w.rejected_reason != ERASED))
    )
    told_us = {
        name: sa.case((w[name].is_not(None), ERASED), else_=None) for name in ("said", "rejected_reason")
    }  # that there was an answer stays
    done["answers"] += connection.execute(watches.update().where(here).values(**told_us)).rowcount
    here = queries.in_order(
        connection, shipments.c.id, sa.and_(shipments.c.id.in_(parcels), shipments.c.erased_at.is_(None))
    )
    connection.execute(shipments.update().where(here).values(erased_at=now))
    row = connection.execute(queries.locked(connection, sa.select(orders).where(orders.c.id == order_id))).one()
    _payloads(connection, order_id, parcels, mentioned, made)
    texts = sa.and_(s.shipment_id.in_(parcels), s.text.not_in(["", ERASED]))
    done["scans"] += connection.execute(scans.update().where(texts).values(text=ERASED)).rowcount
    kept = sa.and_(
        p.shipment_id.in_(parcels), sa.or_(p.document.is_not(None), p.next_at.is_not(None), p.error != ERASED)
    )
    done["documents"] += connection.execute(
        sa.select(sa.func.count()).where(kept, p.document.is_not(None))
    ).scalar_one()
    values = {
        "document": None,
        "next_at": None,
        "attempts": p.attempts + 1,  # whoever fetches it just now keeps nothing
        "claimed_until": None,
        "state": sa.case((p.state.in_(["wanted", "kept"]), "dropped"), else_=p.state),
    }
    values["error"] = sa.case((p.error.is_not(None), ERASED), else_=None)
    connection.execute(proofs.update().where(kept).values(**values))
    told = sa.and_(statements.c.order_id == order_id, statements.c.text.not_in(["", ERASED]))
    done["notes"] += connection.execute(statements.update().where(told).values(text=ERASED)).rowcount
    told = sa.or_(messages.c.order_id == order_id, queries.among(connection, messages.c.id, together))
    gone = sa.and_(told, messages.c.state != "pending")
    done["messages"] += connection.execute(messages.delete().where(gone)).rowcount
    waits = sa.and_(messages.c.order_id == order_id, messages.c.body.contains('"details":'))
    for message in connection.execute(sa.select(messages.c.id, messages.c.body).where(waits)).all():
        body = orjson.loads(message.body)  # it is told without what others wrote
        if body["data"].pop("details", None) is not None:
            without = messages.update().where(messages.c.id == message.id).values(body=orjson.dumps(body).decode())
            done["messages"] += connection.execute(without).rowcount
    _rows_of(connection, order_id, made)
    before = row.erased["counts"] if row.erased else {}
    counts = {kind: count + before.get(kind, 0) for kind, count in done.items() if count or kind in before}
    record = {"erased_at": now, "erased": {"by": by, "counts": counts}, "facts": without_persons(row.facts)}
    connection.execute(orders.update().where(orders.c.id == order_id).values(**record))


def _payloads(
    connection: Connection, order_id: int, parcels: list[int], mentioned: Sequence[int], made: Erasure
) -> None:
    """Drop the bodies of payloads that told of an order; those of others that they told too stay facts."""
    i, s = inbox.c, scans.c
    told = set(mentioned)
    for column, where in (
        (s.inbox_id, s.shipment_id.in_(parcels)),
        (estimates.c.inbox_id, estimates.c.shipment_id.in_(parcels)),
        (order_versions.c.inbox_id, order_versions.c.order_id == order_id),
    ):
        told |= set(connection.execute(sa.select(column).where(where, column.is_not(None))).scalars())
    here = sa.and_(queries.among(connection, i.id, sorted(told)), i.body.is_not(None))
    made.waits += connection.execute(sa.select(sa.func.count()).where(here, i.state.not_in(ENDED))).scalar_one()
    here = sa.and_(here, i.state.in_(ENDED))
    bodies = connection.execute(sa.select(i.id).where(here)).scalars().all()
    gone = queries.among(connection, i.id, bodies)
    connection.execute(inbox.update().where(gone).values(body=None, part_sizes=None))
    made.counts["payloads"] += len(bodies)


def _rows_of(connection: Connection, order_id: int, made: Erasure) -> None:
    """Erase inside the rows of one order that hold facts and texts together; each is read and written back where it changed."""
    done = made.counts
    for kind, table, columns in (
        ("versions", order_versions, ("facts",)),
        ("findings", findings, ("evidence", "closed_reason")),
        ("decisions", decisions, ("findings",)),
        ("writes", outbox, ("action", "error", "receipt")),
    ):
        names = [table.c.id, *(table.c[name] for name in columns)]
        names += [table.c.state, table.c.kind, table.c.claimed_until] if table is outbox else []
        names += [table.c.closed_by] if table is findings else []
        for row in connection.execute(sa.select(*names).where(table.c.order_id == order_id).order_by(table.c.id)).all():
            values = _CHANGES[kind](row, connection)
            if values is None:
                made.waits += 1
            elif values := {name: value for name, value in values.items() if value != row._mapping.get(name)}:
                connection.execute(table.update().where(table.c.id == row.id).values(**values))
                done[kind] += 1


def _of_write(row: sa.Row[Any], connection: Connection) -> dict[str, Any] | None:
    """Return what becomes of a write; None: it is on its way. A note that waits is not sent any more."""
    note, values = row.kind == "order_note", dict[str, Any]()
    if row.state in ("pending", "held"):
        if not note:
            return {}
        if row.claimed_until is not None and row.claimed_until > database_now(connection):
            return None
        values = {"state": "superseded", "claimed_until": None}
    if note:
        values |= {"action": {**row.action, "text": ERASED}}
        values |= {"receipt": {**row.receipt, "proof": ERASED}} if row.receipt and row.receipt.get("proof") else {}
    return values | ({"error": ERASED} if row.error else {})


def _of_finding(row: sa.Row[Any], _connection: Connection) -> dict[str, Any]:
    values: dict[str, Any] = {"evidence": erased(row.evidence)}
    by_people = (row.closed_by or "").startswith("person")
    return values | ({"closed_reason": ERASED} if row.closed_reason and by_people else {})


_CHANGES: dict[str, Any] = {
    "versions": lambda row, _: {"facts": without_persons(row.facts)},
    "findings": _of_finding,
    "decisions": lambda row, _: {"findings": erased(row.findings)},
    "writes": _of_write,
}
