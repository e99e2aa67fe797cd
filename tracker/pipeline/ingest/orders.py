"""Orders as shops tell them: versions, whose change it was (echoes), clocks that are wrong; and checkouts left apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache, cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from tracker.domain.facts import Checkout, Finding, Order
from tracker.domain.reconcile.case import US
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.ingest import links
from tracker.pipeline.ingest.parse import Parsed
from tracker.pipeline.ingest.shipments import Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.pipeline.ingest.versions import as_taken, save
from tracker.pipeline.ingest.watches import Watches
from tracker.store import queries
from tracker.store.tables import findings, fulfilment_shipments, fulfilments, orders, outbox

ECHO = timedelta(minutes=15)  # of the database's time: a change this soon after our attempt is ours
AHEAD = timedelta(minutes=10)  # so far ahead of ours a shop's clock may be


@dataclass
class Taken:
    """The orders that changed, and the marks of carriers of theirs that nobody watches (see `unwatched`)."""

    changed: set[int] = field(default_factory=set)
    unwatched: set[str] = field(default_factory=set)
    by: dict[int, list[int]] = field(
        default_factory=lambda: defaultdict(list)
    )  # which payloads told of them, by their rows' ids


def take_orders(tx: Transaction, shipments: Shipments, watches: Watches, read: Sequence[tuple[Parsed, Order]]) -> Taken:
    """Take reads of orders, one after the other; they are locked at once, by id, as everybody locks them."""
    taken, clocks = Taken(), _Clocks(tx)
    _lock(tx, [order for _, order in read])
    for p, order in read:
        order_id = _take(tx, shipments, watches, taken, p, order)
        if order_id is not None:
            clocks.look(p, order, order_id)
            if order_id in taken.changed:
                taken.by[order_id].append(p.row.id)
    return taken


def _lock(tx: Transaction, read: Sequence[Order]) -> None:
    refs: dict[str, set[str]] = defaultdict(set)
    for order in read:
        refs[order.store].add(order.ref)
    if tx.sqlite or sum(map(len, refs.values())) < 2:
        return
    o = orders.c
    here = [sa.and_(o.store == store, queries.among(tx.connection, o.ref, some)) for store, some in refs.items()]
    tx.connection.execute(queries.locked(tx.connection, sa.select(o.id).where(sa.or_(*here)).order_by(o.id))).all()


def _take(tx: Transaction, shipments: Shipments, watches: Watches, taken: Taken, p: Parsed, order: Order) -> int | None:
    """Take a read of an order. Returns the order's id, or None where we knew a newer read before this was asked for."""
    asked_at = p.row.asked_at or p.row.due_at
    where = sa.and_(orders.c.store == order.store, orders.c.ref == order.ref)
    known = tx.connection.execute(queries.locked(tx.connection, sa.select(orders).where(where))).one_or_none()
    if known is not None and asked_at < known.read_at:
        queries.note_changes(tx.connection, order.store, [order.ref], tx.database)
        tx.ctx.notify("poll")
        return None
    order = _whose(tx, as_taken(order, known), known)
    saved = save(tx.connection, known, order, tx.now, inbox_id=p.row.id, read_at=asked_at)
    if saved is None:
        return _take(tx, shipments, watches, taken, p, order)  # another process was first: now it is known
    if saved.is_new:
        taken.changed.add(saved.order_id)
        erased = known is not None and known.erased_at is not None
        taken.unwatched |= links.store_links(tx, shipments, watches, saved.order_id, order, erased=erased)
    return saved.order_id


def _whose(tx: Transaction, order: Order, known: Row[Any] | None) -> Order:
    """Say whose change a read shows: ours, when it equals a write we attempted and have not seen yet (echo)."""
    if known is None:
        return order
    o = outbox.c
    if order.shown and order.shown != known.facts.get("shown", ""):
        _seen(tx, known, o.kind == "field", o.action["text"].as_string() == order.shown)
    if new := sorted({*order.tags}.difference(known.facts.get("tags", ()))):
        _seen(tx, known, o.kind == "tag", o.action["text"].as_string().in_(new))
    if known.raw_status == order.raw_status:
        return order
    ours = _seen(tx, known, o.kind == "order_status", o.action["target"].as_string() == order.status)
    return replace(order, actor=US) if ours else order


def _seen(tx: Transaction, known: Row[Any], *which: sa.ColumnElement[bool]) -> bool:
    """Note that a write that was attempted of late is seen in a read. Returns whether there is one."""
    o = outbox.c
    echo = tx.connection.execute(
        sa.select(o.id)
        .where(o.order_id == known.id, *which, o.attempted_at >= tx.database - ECHO, o.echoed_at.is_(None))
        .order_by(o.id)
        .limit(1)
    ).scalar_one_or_none()
    if echo is None:
        return False
    tx.connection.execute(outbox.update().where(o.id == echo).values(echoed_at=tx.database))
    return True


class _Clocks:
    """Tell of orders that changed in the future, by the clock of the read; a later read that is right ends it.

    Nothing else depends on that time: which of two reads is newer, their `asked_at` says.
    """

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def look(self, p: Parsed, order: Order, order_id: int) -> None:
        kind, ahead = FindingKind.ORDER_TIME_WRONG, order.updated_at - p.row.received_at
        f, connection, now = findings.c, self._tx.connection, self._tx.now
        if ahead <= AHEAD:
            if order_id in self._wrong:
                over = sa.and_(f.order_id == order_id, f.kind == kind)
                queries.close_findings(connection, over, now, "ingest", "a later read is right")
            return
        said = order.updated_at.isoformat()
        told = connection.execute(
            sa.select(f.evidence).where(f.order_id == order_id, f.kind == kind).order_by(f.id.desc()).limit(1)
        ).scalar_one_or_none()
        if told is None or told.get("updated_at") != said:  # else it is that much less ahead now, and the same fact
            told = {"order": order.number, "updated_at": said, "ahead": _roughly(ahead)}
        subject = f"{order.store}/{order.number}"
        finding = Finding(kind, subject, Severity.WARNING, Act.ACT, told, proposal="set the shop's clock right")
        tell.report_findings(self._tx.ctx, connection, [(order_id, finding)], now, by="ingest")
        self._wrong.add(order_id)

    @cached_property
    def _wrong(self) -> set[int]:
        """The orders whose last read was ahead of its time: read once a batch."""
        f = findings.c
        open_now = sa.select(f.order_id).where(f.kind == FindingKind.ORDER_TIME_WRONG, f.closed_at.is_(None))
        return {order_id for order_id in self._tx.connection.execute(open_now).scalars() if order_id is not None}


def checkout(tx: Transaction, checkout: Checkout) -> None:
    """Keep a checkout that was left apart (KR-07): no order, never tracked; one that was taken up again is closed."""
    subject = f"{checkout.store}/checkout/{checkout.ref}"
    if checkout.recovered:
        queries.close_findings(tx.connection, findings.c.subject == subject, tx.now, "shop")
        return
    evidence = {
        "store": checkout.store, "checkout": checkout.ref, "began": f"{checkout.began_at:%Y-%m-%d %H:%M}Z",
        "contact": "left in the shop" if checkout.contact else "none was left",
    }  # fmt: skip
    finding = Finding(
        FindingKind.ABANDONED_CHECKOUT, subject, Severity.INFO, Act.FOLLOW_UP, evidence, checkout.began_at
    )
    tell.report_findings(tx.ctx, tx.connection, [(None, finding)], tx.now, by="checkout")


def schedule_decisions(tx: Transaction, changed: set[int], touched: set[int], quiet: set[int]) -> None:
    """Have every order that changed or names a touched shipment decided again; hold back writes for `quiet` ones' news."""
    linked: set[int] = set()
    if touched:
        linked.update(tx.connection.execute(_ordered(tx.sqlite), {"ids": list(touched)}).scalars())
    ids = sorted(changed | linked)
    if not ids:
        return
    queries.decide_now(tx.connection, queries.among(tx.connection, orders.c.id, ids), tx.now)
    if quiet:
        held = orders.c.id.in_(queries.orders_of(tx.connection, quiet))
        tx.connection.execute(orders.update().where(held).values(quiet_before=tx.now))


def _roughly(span: timedelta) -> str:
    """Say how long something is, in the unit that fits."""
    for unit, size in (("days", timedelta(days=1)), ("hours", timedelta(hours=1))):
        if span >= 2 * size:
            return f"{span // size} {unit}"
    return f"{span // timedelta(minutes=1)} minutes"


@cache
def _ordered(sqlite: bool) -> sa.Select[Any]:
    linked = fulfilment_shipments.c
    return (
        sa.select(fulfilments.c.order_id)
        .join(fulfilment_shipments, linked.fulfilment_id == fulfilments.c.id)
        .where(queries.one_of(sqlite, linked.shipment_id, "ids"))
    )
