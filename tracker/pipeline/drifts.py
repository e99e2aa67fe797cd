"""The ledger as it is kept and told: where shop and carriers disagree, what would heal it, and what nobody knows.

Stage B keeps the rows, with each decision; everybody else reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.drift import SETTLES, Compared, Drift
from tracker.domain.facts import Order, Shipment
from tracker.domain.gates import FINAL, into_processing, may
from tracker.domain.sentences import Fields, say, spoken
from tracker.domain.texts import command
from tracker.domain.vocabulary import DriftKind, OrderStatus, Severity, ShippingStatus
from tracker.hashing import digest
from tracker.pipeline import brakes, state
from tracker.pipeline.context import AppContext
from tracker.pipeline.telling import events
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import drifts, orders, outbox, shipments, watches

K, O, S = DriftKind, OrderStatus, ShippingStatus

YOUNG = "~"  # marks a difference that may still end by itself


@dataclass(frozen=True)
class Entry:
    """What is kept of one order: its columns, the rows of the ledger (None: as they are), and when to look again.

    `ask`: the numbers to ask their carriers about at once: the shop says more than they did when they were asked last.
    """

    drift: str
    drift_at: datetime | None
    rows: Sequence[Drift] | None
    look_again_at: datetime | None
    ask: tuple[str, ...] = ()


def drift_row(row: Row[Any], compared: Compared, now: datetime) -> Entry:
    """Say what the ledger keeps of an order, beside what it kept before.

    A difference gets its row once it is older than a write, a sweep or a look takes; a cancelled order's at once.
    """
    before = row.drift or ""
    if not compared.drifts:
        return Entry("", None, () if before else None, compared.look_again_at)
    said = [[d.kind, d.shop, d.shop_said, d.carrier, d.parcel.carrier, d.parcel.number] for d in compared.drifts]
    kinds = ",".join(d.kind for d in compared.drifts)
    listed = bool(before) and not before.startswith(YOUNG)  # they disagree already: another way of it is no news
    same = before.removeprefix(YOUNG).partition(":")[0] == kinds
    at = row.drift_at if (same or listed) and row.drift_at is not None else now
    ripe = now >= at + SETTLES
    told = f"{'' if ripe else YOUNG}{kinds}:{digest(said)[:16]}"
    differences = [d for d in compared.drifts if ripe or d.kind is DriftKind.CANCELLED_BUT_MOVING]
    wake = [moment for moment in (compared.look_again_at, None if ripe else at + SETTLES) if moment is not None]
    fresh = () if same else tuple(d.parcel.number for d in compared.drifts if d.kind is DriftKind.SHOP_AHEAD)
    return Entry(told, at, None if told == before else differences, min(wake, default=None), fresh)


def store_drifts(
    ctx: AppContext,
    connection: Connection,
    entries: Sequence[tuple[Row[Any], Entry]],
    states: Mapping[str, Row[Any]],
    now: datetime,
) -> None:
    """Replace the rows of the orders whose differences changed, and tell those who want to know of what began and ended.

    `states`: the rows of accounts. Of what began before an order's store was connected nobody is told.
    """
    changed = [(row, one) for row, one in entries if one.rows is not None]
    old = [row.id for row, _ in changed if row.drift]
    told = bool(changed) and bool(events.wanted(ctx.config, "order.drift_opened", "order.drift_closed"))
    gone: Sequence[Row[Any]] = ()
    if old:
        delete = drifts.delete().where(queries.among(connection, drifts.c.order_id, old))
        if told:
            gone = connection.execute(delete.returning(drifts)).all()
        else:
            connection.execute(delete)
    if told:
        events.put(ctx, connection, _told(changed, gone, states, now))
    fresh = [
        {
            "order_id": row.id, "store": row.store, "kind": d.kind, "shop": d.shop, "shop_said": d.shop_said,
            "status": d.carrier, "carrier": d.parcel.carrier, "number": d.parcel.number, "fulfilment": d.fulfilment,
            "wanted": d.wanted, "caused_by": d.caused_by, "since": d.since, "opened_at": one.drift_at,
        }
        for row, one in changed
        for d in one.rows or ()
    ]  # fmt: skip
    queries.put(connection, drifts, fresh)


def _told(
    changed: Sequence[tuple[Row[Any], Entry]], gone: Sequence[Row[Any]], states: Mapping[str, Row[Any]], now: datetime
) -> Iterator[events.Told]:
    """Yield which differences ended and which began: a difference is of a kind, about a parcel."""
    before: dict[int, dict[tuple[str, ...], Row[Any]]] = {row.id: {} for row, _ in changed}
    for one in gone:
        before[one.order_id][one.kind, one.carrier, one.number, one.fulfilment] = one
    for row, entry in changed:
        after = {(d.kind, d.parcel.carrier, d.parcel.number, d.fulfilment): d for d in entry.rows or ()}
        store = states.get(row.store)
        since = store.connected_at if store is not None else None
        old = [was for key, was in before[row.id].items() if key not in after]
        new = [is_ for key, is_ in after.items() if key not in before[row.id]]
        yield from (events.drift_closed(row, was, now) for was in old if not events.is_past(was.since, since))
        yield from (events.drift_opened(row, is_, now) for is_ in new if not events.is_past(is_.since, since))


def poll_now(ctx: AppContext, numbers: Sequence[str]) -> None:
    """Have carriers asked about parcels of which a shop says more than they did: what it saw may be news to us.

    A transaction of its own, after the decision's: watches are locked before orders, everywhere.
    """
    if not numbers:
        return
    with ctx.store.write() as connection:
        ids = sa.select(shipments.c.id).where(queries.among(connection, shipments.c.number, numbers))
        queries.poll_now(connection, watches.c.shipment_id.in_(ids), ctx.now(), urgent=True)
    ctx.notify("poll")


# what is told


def list_drifts(
    ctx: AppContext,
    *,
    store: queries.Stores = None,
    kind: str | None = None,
    after: int | None = None,
    limit: int = 50,
    config: str = "",
) -> list[dict[str, Any]]:
    """Return the ledger, newest first: both statuses, since when, who caused it, what would heal it.

    `shop` and `carrier` are the shared words; `order_status` is the shop's own. `config`: what a printed command needs to
    find the configuration.
    """
    d = drifts.c
    wanted = queries.of_stores(d.store, store)
    if kind is not None:
        wanted.append(d.kind == kind)
    if after is not None:
        wanted.append(d.id < after)
    with ctx.store.read() as connection:
        found = connection.execute(sa.select(drifts).where(*wanted).order_by(d.id.desc()).limit(limit)).all()
        if not found:
            return []
        around = _Around(ctx, connection, found, config)
        return [around.told(row) for row in found]


def of_order(ctx: AppContext, connection: Connection, order_id: int) -> list[dict[str, Any]]:
    """Return the rows of the ledger about one order, told as `list_drifts` tells them."""
    found = connection.execute(sa.select(drifts).where(drifts.c.order_id == order_id).order_by(drifts.c.id)).all()
    around = _Around(ctx, connection, found, "") if found else None
    return [around.told(row) for row in found] if around is not None else []


class _Around:
    """What stands around some rows of the ledger: their orders, parcels, writes and accounts."""

    def __init__(self, ctx: AppContext, connection: Connection, found: Sequence[Row[Any]], config: str) -> None:
        self.ctx, self.config, self.now = ctx, config, ctx.now()
        ids = sorted({row.order_id for row in found})
        self.rows = {r.id: r for r in connection.execute(sa.select(orders).where(orders.c.id.in_(ids)))}
        self.orders = state.read_orders(connection, list(self.rows.values()))
        self.shipments = state.read_shipments(connection, ids)
        self.accounts = state.account_rows(connection)
        self.writes: dict[int, list[Any]] = {id_: [] for id_ in ids}
        o = outbox.c
        written = sa.select(outbox).where(o.order_id.in_(ids), o.kind.in_(["order_status", "fulfilment_event"]))
        for write in connection.execute(written.order_by(o.id.desc())).all():
            self.writes[write.order_id].append(write)
        self.looks: dict[tuple[str, str], list[Any]] = {}
        t, s = watches.c, shipments.c
        looks = (
            sa.select(s.carrier, s.number, t.account, t.checked_at, t.next_poll_at)
            .join(shipments, s.id == t.shipment_id)
            .where(s.number.in_([row.number for row in found]))
        )
        for look in connection.execute(looks):
            self.looks.setdefault((look.carrier, look.number), []).append(look)
        self.lag = database_now(connection) - self.now  # writes are due by the database's clock

    def told(self, row: Row[Any]) -> dict[str, Any]:
        order = self.rows[row.order_id]
        parcel = self._parcel(row)
        looks = self.looks.get((row.carrier, row.number), [])
        place = f" {parcel.summary.place}".rstrip() if parcel else ""
        at = f" at {parcel.summary.last_scan_at:%Y-%m-%d %H:%M}Z" if parcel and parcel.summary.last_scan_at else ""
        return {
            "id": row.id, "store": row.store, "order": order.number, "drift": row.kind,
            "severity": str(Severity.URGENT if row.kind == K.CANCELLED_BUT_MOVING else Severity.WARNING),
            "shop": row.shop, "carrier": row.status, "order_status": row.shop_said,
            "shipping_status": f"{row.status}{at}{place}", "parcel": f"{row.carrier} {row.number}", "since": row.since,
            "sentence": say(f"drift:{row.kind}", Fields(order.number, spoken(row.shop), spoken(row.status), row.since)),
            "age": self.now - row.since, "caused_by": row.caused_by, "would_heal": self.remedy(row, parcel),
            "read_at": order.read_at, "asked_at": max((x.checked_at for x in looks if x.checked_at), default=None),
        }  # fmt: skip

    def _parcel(self, row: Row[Any]) -> Shipment | None:
        mine = [p for p in self.shipments[row.order_id] if (p.carrier, p.number) == (row.carrier, row.number)]
        return next((p for p in mine if p.summary.status == row.status), mine[-1] if mine else None)

    # what would heal it

    def remedy(self, row: Row[Any], parcel: Shipment | None) -> str:
        """Say what would end a difference: a command, a wait until a time, or what a person decides between."""
        account = self.ctx.account(row.store)
        order = self.orders[row.order_id]
        accept = self._command("record", order, "accepted")
        if account is None:
            return _decide(f"the store {row.store} in the configuration again", accept)
        if waits := self._write(row, account, order):
            return waits
        back = self._correct(row, account, order) or "the right status, set in the shop"
        if row.kind == K.CANCELLED_BUT_MOVING:
            return _decide(f"having {row.carrier} bring {row.number} back", accept)
        if row.kind == K.CONTRADICTED:
            return self._look(row) or _decide(self._command("record", order, "proof"), accept)
        if row.kind == K.SHOP_BEHIND:
            return back if back.startswith("`") else _decide(self._in_the_shop(row, account), accept)
        if row.shop == O.DELIVERED:
            return _decide(self._command("record", order, "proof"), back)
        if row.shop == O.RETURNED:
            return _decide(self._command("record", order, "inspected"), back)
        if parcel is not None and parcel.summary.custody_at is None and not row.fulfilment:
            return _decide(self._command("record", order, "handed_over"), back)
        return _decide(back, accept)

    def _write(self, row: Row[Any], account: Account, order: Order) -> str:
        """Say what a write of ours for it waits for; empty where there is none."""
        writes = [
            w for w in self.writes[row.order_id] if w.kind == ("fulfilment_event" if row.fulfilment else "order_status")
        ]
        states = self.accounts.get(row.store)
        if held := next((w for w in writes if w.state == brakes.HELD), None):
            return self._command("resume", None, held.held_by.partition("/")[0])
        mine = next((w for w in writes if w.state == "pending"), None)
        if mine is not None:
            if states is not None and states.paused_at is not None:
                return self._command("resume", None, row.store)
            if states is not None and states.suspended_reason is not None:
                return _decide(f"new credentials of {row.store}", self._in_the_shop(row, account))
            due = [mine.due_at, states.blocked_until if states else None]
            if states is not None and states.writes_left == 0:
                due.append(states.writes_reset_at)
            until = max(moment for moment in due if moment is not None) - self.lag
            return f"wait until {max(until, self.now):%Y-%m-%d %H:%M}Z: the write is sent"
        wanted = [w for w in writes if row.wanted in (w.action.get("target"), w.action.get("status"))]
        if wanted and wanted[0].state in ("refused", "dead"):
            return _decide(self._command("outbox", None, "retry", str(wanted[0].id)), self._in_the_shop(row, account))
        if wanted and wanted[0].state == "observed" and account.mode == "observe":
            return _decide(f"`mode: write` of {row.store} in the configuration", self._in_the_shop(row, account))
        quiet = state.quiet_until(self.accounts, self.rows[row.order_id])
        if row.kind == K.SHOP_BEHIND and row.fulfilment and quiet is not None and row.since < quiet:
            return self._command("heal", None, "--backfill", row.store)
        return ""

    def _correct(self, row: Row[Any], account: Account, order: Order) -> str:
        """Return the command that has the worker write what the carrier says; empty where it would not."""
        if row.wanted is None or row.fulfilment or account.mode != "write":
            return ""
        to, policy = O(row.wanted), account.policy
        if to not in policy.order_words or into_processing(order, policy, to):
            return ""
        reason = f"{row.carrier} says {row.status}"
        gate = may(order, self.shipments[row.order_id], policy, to, reason=reason)
        if not gate.allowed and gate.rule in FINAL:
            return ""
        override = () if gate.allowed else ("--override",)
        return self._command("correct", order, str(to), "--reason", reason, *override)

    def _look(self, row: Row[Any]) -> str:
        looks = [x for x in self.looks.get((row.carrier, row.number), []) if x.next_poll_at is not None]
        if not looks:
            return ""
        soonest = min(looks, key=lambda x: x.next_poll_at)
        at = max(soonest.next_poll_at, self.now)
        return f"wait until {at:%Y-%m-%d %H:%M}Z: {soonest.account} is asked again"

    def _in_the_shop(self, row: Row[Any], account: Account) -> str:
        policy = account.policy
        word = policy.words.get(S(row.wanted)) if row.fulfilment and row.wanted else None
        if row.wanted and not row.fulfilment:
            word = policy.order_words.get(O(row.wanted), row.wanted)
        return f"{word!r}, set in the shop" if word else "the right status, set in the shop"

    def _command(self, verb: str, order: Order | None, *words: str) -> str:
        """Return a command as a shell takes it."""
        parts = [
            "tracker",
            verb,
            *([order.number] if order else []),
            *words,
            *(["--store", order.store] if order else []),
        ]
        return f"`{command(*parts)}{self.config}`"


def _decide(one: str, other: str) -> str:
    return f"a person decides between {one} and {other}"
