"""What endpoints are told: events, made in the transaction that made the fact, only where somebody wants them.

Each says its order, store and parcels, both statuses, why, and when. Nothing that carriers or shops wrote in words of their
own is in it, nor a place, unless the endpoint has `details`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Config
from tracker.config.telling import OF_FINDINGS, EndpointPart, Event
from tracker.domain.drift import Drift
from tracker.domain.facts import Action, Edd, Order, Parcel
from tracker.domain.masking import mask
from tracker.domain.vocabulary import DriftKind, FindingKind, Severity
from tracker.pipeline.context import AppContext
from tracker.pipeline.ingest.shipments import LockedShipment, Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import accounts, fulfilment_shipments, fulfilments, messages, orders

VERSION = "1"  # of what events say: it rises when something changes or goes, not when something is added


@dataclass(frozen=True)
class Told:
    """One event: what it is of, and what is said of it. `details` is for those who want what others wrote, too.

    `orders`: those that it is about; an endpoint of some stores hears of theirs only. None: it is about no order.
    """

    type: Event
    subject: str
    at: datetime
    data: Mapping[str, Any]
    orders: Sequence[Mapping[str, Any]] | None
    carriers: frozenset[str] = frozenset()
    store: str | None = None  # where it is about no order
    details: Mapping[str, Any] = field(default_factory=dict)
    order_id: int | None = None


def wanted(config: Config, *types: Event) -> list[tuple[str, EndpointPart]]:
    """Return the endpoints that want events of one of these types; mostly there is none, and nothing is asked for them."""
    endpoints = config.root.telling.endpoints
    return [(name, one) for name, one in endpoints.items() if any(t in one.events for t in types)] if endpoints else []


def least(config: Config) -> Severity | None:
    """Return the least severity of findings that anybody is told of; None: nobody is told of any."""
    told = [target.least for target in config.targets.values()]
    told += [Severity.INFO] if wanted(config, *OF_FINDINGS) else []
    return min(told, key=lambda one: one.rank, default=None)


def put(ctx: AppContext, connection: Connection, told: Iterable[Told]) -> None:
    """Keep events for the endpoints that want them, in the transaction of their facts."""
    now, rows = None, []
    for one in told:
        key = f"msg_{uuid.uuid4().hex}"
        for name, endpoint in wanted(ctx.config, one.type):
            if (body := _body(endpoint, one)) is not None:
                now = now or database_now(connection)
                rows.append(
                    {
                        "destination": name, "key": key, "event": one.type, "subject": one.subject,
                        "order_id": one.order_id, "body": body, "state": "pending", "attempts": 0, "due_at": now,
                        "created_at": now,
                    }
                )  # fmt: skip
    if rows:
        queries.put(connection, messages, rows)
        ctx.notify("tell")


def _body(endpoint: EndpointPart, told: Told) -> str | None:
    """Return the JSON text that an endpoint is told; None where it wants none of it."""
    if endpoint.carriers and told.carriers.isdisjoint(endpoint.carriers):
        return None
    data = dict(told.data)
    if told.orders is not None:
        mine = [one for one in told.orders if not endpoint.stores or one["store"] in endpoint.stores]
        if not mine:
            return None
        data = {"orders": mine, **data} if told.type == "shipment.status_changed" else {"order": mine[0], **data}
    elif endpoint.stores and told.store not in endpoint.stores:
        return None
    if endpoint.details and told.details:
        data["details"] = dict(told.details)
    return encoded({"type": told.type, "version": VERSION, "timestamp": told.at, "data": data})


def encoded(value: Mapping[str, Any]) -> str:
    """Return JSON as it is sent: moments in UTC, nothing secret."""
    return mask(orjson.dumps(value, option=orjson.OPT_UTC_Z).decode())


def words(status: str) -> str:
    """Return a status as a sentence says it."""
    return status.replace("_", " ")


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at is not None else "an unknown time"


# parcels


def moved(tx: Transaction, shipments: Shipments) -> None:
    """Tell of the parcels of a batch whose status is another one, and of those that an order names for the first time.

    Not of what was so before the order's store was connected: a first sync is no news.
    """
    if not wanted(tx.ctx.config, "shipment.status_changed"):
        return
    parcels = [p for p in shipments.known() if p.linked and p.leg_of is None and p.summary.status is not p.told]
    if not parcels:
        return
    of = _orders_of(tx.connection, [parcel.id for parcel in parcels])
    told = []
    for parcel in parcels:
        rows = [row for row in of.get(parcel.id, []) if not is_past(parcel.summary.since, row.connected_at)]
        told += [moved_to(parcel, rows, tx.now)] if rows else []
    put(tx.ctx, tx.connection, told)


def is_past(since: datetime | None, connected_at: datetime | None) -> bool:
    """Say whether something was so before its store was connected: nobody is told of that, as no customer is."""
    return since is not None and connected_at is not None and since < connected_at


def moved_to(parcel: LockedShipment, rows: Sequence[Row[Any]], now: datetime) -> Told:
    """Say that a parcel has another status. `rows`: the orders that name it."""
    summary = parcel.summary
    why = (
        f"{parcel.carrier} says that parcel {parcel.number} is {words(summary.status)} since {_minute(summary.since)}; "
        f"before, it was {words(parcel.told)}."
    )
    data = {
        "parcel": {"carrier": parcel.carrier, "number": parcel.number, "generation": parcel.generation},
        "before": parcel.told, "status": summary.status, "reason": summary.reason, "leg": summary.leg,
        "since": summary.since, "last_scan_at": summary.last_scan_at, "estimate": _estimate(parcel.edd), "why": why,
    }  # fmt: skip
    place = {"city": summary.place.city, "region": summary.place.region, "country": summary.place.country}
    only = rows[0].id if len(rows) == 1 else None
    return Told(
        "shipment.status_changed", f"parcel/{parcel.id}", now, data, [order(row) for row in rows],
        frozenset({parcel.carrier}), details={"place": place}, order_id=only,
    )  # fmt: skip


def _estimate(edd: Edd | None) -> dict[str, datetime] | None:
    return {"begins": edd.begins, "ends": edd.ends} if edd is not None else None


def order(row: Row[Any]) -> dict[str, Any]:
    """Return an order as an event names it: its store, number and ref there, and its status in the shared words."""
    return {"store": row.store, "number": row.number, "ref": row.ref, "status": row.status}


def _orders_of(connection: Connection, shipment_ids: Sequence[int]) -> dict[int, list[Row[Any]]]:
    fs, f, o = fulfilment_shipments.c, fulfilments.c, orders.c
    named = (
        sa.select(fs.shipment_id, o.id, o.store, o.number, o.ref, o.status, accounts.c.connected_at)
        .distinct()
        .join(fulfilments, f.id == fs.fulfilment_id)
        .join(orders, o.id == f.order_id)
        .outerjoin(accounts, accounts.c.name == o.store)
        .where(queries.among(connection, fs.shipment_id, shipment_ids))
        .order_by(o.id)
    )
    found: dict[int, list[Row[Any]]] = {}
    for row in connection.execute(named):
        found.setdefault(row.shipment_id, []).append(cast(Row[Any], row))
    return found


# drift


def drift_opened(row: Row[Any], drift: Drift, now: datetime) -> Told:
    """Say that shop and carrier begin to disagree about an order. `row`: the order's."""
    parcel = drift.parcel
    return _drift(
        "order.drift_opened", row, drift.kind, drift.shop, drift.shop_said, drift.carrier, parcel.carrier, parcel.number,
        drift.wanted, drift.since, now,
    )  # fmt: skip


def drift_closed(row: Row[Any], old: Row[Any], now: datetime) -> Told:
    """Say that a difference is no more. `old`: its row, of what was said while they differed."""
    return _drift(
        "order.drift_closed", row, DriftKind(old.kind), old.shop, old.shop_said, old.status, old.carrier, old.number,
        old.wanted, old.since, now,
    )  # fmt: skip


def _drift(
    type_: Event, row: Row[Any], kind: DriftKind, shop: str, shop_said: str, carrier_says: str, carrier: str, number: str,
    wanted_: str | None, since: datetime, now: datetime,
) -> Told:  # fmt: skip
    over = type_ == "order.drift_closed"
    both = (
        f"order {row.number} was {words(shop)} by the shop while {carrier} said that parcel {number} was {words(carrier_says)}"
        if over
        else f"the shop says that order {row.number} is {words(shop)}, and {carrier} that parcel {number} is {words(carrier_says)}"
    )
    why = f"{'They agree again' if over else kind.sentence.rstrip('.')}: {both}, since {_minute(since)}."
    said = {
        "kind": kind, "order_status": shop, "shipping_status": carrier_says, "parcel": {"carrier": carrier, "number": number},
        "would_agree_as": wanted_, "since": since, "closed_at": now if over else None,
    }  # fmt: skip
    return Told(
        type_, f"order/{row.id}", now, {"drift": said, "why": why}, [order(row)], frozenset({carrier}),
        details={"shop_said": shop_said}, order_id=row.id,
    )  # fmt: skip


# writes and notices


def written(row: Row[Any], action: Action, parcels: Sequence[Parcel], already: bool, now: datetime) -> Told:
    """Say that we wrote something to a shop. `row`: the order's; `parcels`: what it is about; `already`: it stood there before."""
    to = str(action.target or action.status)
    what = {
        "order_status": f"the order status {words(to)}", "fulfilment_event": f"the shipping status {words(to)}",
        "field": f"the field that shows {words(to)}", "tag": f"the tag that shows {words(to)}", "order_note": "a note",
        "number": "a corrected tracking number",
    }.get(action.kind, words(action.kind))  # fmt: skip
    why = f"{what[0].upper()}{what[1:]} {'stood there already' if already else 'was written'} on order {row.number}: it follows from what happened at {_minute(action.happened_at)}."
    said = {
        "kind": action.kind, "status": to, "before": action.before, "already_there": already, "rules": list(action.rules),
        "parcels": _parcels(parcels), "happened_at": action.happened_at,
    }  # fmt: skip
    now_is = {**order(row), "status": action.target or row.status}
    return Told(
        "order.written", f"order/{row.id}", now, {"write": said, "why": why}, [now_is], _carriers(parcels),
        order_id=row.id,
    )  # fmt: skip


def parcels_of(order: Order, action: Action) -> list[Parcel]:
    """Return the parcels that a write is about: its own, else those of its fulfilment, else all of the order."""
    here = [one for one in order.fulfilments if action.fulfilment in ("", one.ref)]
    return list(action.parcels) or [parcel for one in here for parcel in one.parcels]


def noticed(row: Row[Any], action: Action, now: datetime) -> Told:
    """Say that a customer is to be told something. `row`: the order's. No text, no address: who tells him words it."""
    assert action.notice is not None
    why = f"{action.notice.sentence.rstrip('.')}, of order {row.number}: it follows from what happened at {_minute(action.happened_at)}."
    said = {
        "class": action.notice, "status": action.status, "parcels": _parcels(action.parcels), "happened_at": action.happened_at,
        "estimate": action.edd, "rules": list(action.rules),
    }  # fmt: skip
    return Told(
        "notice",
        f"order/{row.id}",
        now,
        {"notice": said, "why": why},
        [order(row)],
        _carriers(action.parcels),
        order_id=row.id,
    )


def _parcels(parcels: Iterable[Parcel]) -> list[dict[str, str]]:
    return [{"carrier": parcel.carrier or parcel.company, "number": parcel.number} for parcel in parcels]


def _carriers(parcels: Iterable[Parcel]) -> frozenset[str]:
    return frozenset(parcel.carrier for parcel in parcels if parcel.carrier)


# findings


def found(row: Row[Any], about: Row[Any] | None, *, closed: bool) -> Told:
    """Say that a finding was opened or closed. `row`: its own; `about`: its order's, where it is about one."""
    kind = FindingKind(row.kind)
    of = f"order {about.number}" if about is not None else row.subject
    why = f"{kind.sentence.rstrip('.')}: {of}{', closed' if closed else ''}."
    said = {
        "id": row.id, "kind": kind, "severity": row.severity, "act": row.act, "subject": row.subject,
        "since": row.since or row.opened_at, "opened_at": row.opened_at, "closed_at": row.closed_at if closed else None,
        "closed_by": _by(row.closed_by) if closed else None,
    }  # fmt: skip
    details = {
        "evidence": row.evidence, "proposal": row.proposal, "closed_reason": row.closed_reason, "assigned_to": row.assigned_to,
    }  # fmt: skip
    return Told(
        "finding.closed" if closed else "finding.opened", f"finding/{row.id}",
        row.closed_at if closed else row.opened_at, {"finding": said, "why": why},
        [order(about)] if about is not None else None, carriers_of(row), row.store, details, row.order_id,
    )  # fmt: skip


def _by(closed_by: str | None) -> str:
    return "a person" if (closed_by or "").startswith("person") else "itself"


def carriers_of(row: Row[Any]) -> frozenset[str]:
    """Return the carriers that a finding is about, as its evidence and its subject tell."""
    parts = row.subject.split("/")
    told = {row.evidence.get("carrier"), (row.evidence.get("parcel") or "").partition(" ")[0]}
    told |= {parts[1]} if parts[0] in ("carrier", "account") and len(parts) > 1 else set(parts[2:3])
    return frozenset(one for one in told if one)


def open_orders(connection: Connection, rows: Iterable[Row[Any]]) -> dict[int, Row[Any]]:
    """Return the orders that findings are about, by id."""
    ids = sorted({row.order_id for row in rows if row.order_id is not None})
    if not ids:
        return {}
    o = orders.c
    here = sa.select(o.id, o.store, o.number, o.ref, o.status).where(queries.among(connection, o.id, ids))
    return {row.id: cast(Row[Any], row) for row in connection.execute(here)}
