"""Which parcels are silent or watched by nobody, and when each is looked at next: `tracker stuck`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.domain.cadence import DEFAULT
from tracker.domain.facts import UNIDENTIFIED
from tracker.domain.vocabulary import FindingKind
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import findings, fulfilment_shipments, fulfilments, orders, shipments, watches
from tracker.support import lists, planned

K = FindingKind
KINDS = (K.STUCK, K.LABEL_NEVER_SCANNED, K.DELIVERY_OVERDUE, K.PICKUP_EXPIRING, K.TRACKING_EXPIRED)
NOBODY = "watched_by_nobody"
_S, _FS, _F = shipments.c, fulfilment_shipments.c, fulfilments.c


def stuck(
    ctx: AppContext,
    *,
    store: queries.Stores = None,
    carrier: str | None = None,
    after: int | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Return what does not move, newest finding first: silent parcels, labels never scanned, overdue, expiring, expired.

    Then, on the first page (no `after`), the open parcels of the last month that nobody watches (`why`: NOBODY; `id`: none). Of
    each `watched_by` (an account, None: nobody), `next_look`, `look_why` and what holds it up (`held`).
    """
    found = lists.list_findings(ctx, kinds=KINDS, store=store, carrier=carrier, after=after, limit=limit)
    limited = isinstance(store, frozenset)
    shown: list[dict[str, Any]] = []
    with ctx.store.read() as connection:
        parcels = _parcels(connection, [row["id"] for row in found])
        asked = _looks(ctx, connection, list(parcels.values()))
        for row in found:
            since = row["since"] or row["opened_at"]
            told = row["evidence"]
            shown.append(
                {
                    "id": row["id"], "store": row["store"], "order": row["order"], "why": row["kind"],
                    "parcel": told.get("parcel", ""), "status": told.get("status"), "last_place": told.get("last_place"),
                    "since": since, "for": ctx.now() - since, "act": row["act"],
                    **_next(asked.get(parcels.get(row["id"], 0)), limited),
                }
            )  # fmt: skip
        if after is None:
            shown += _nobodys(ctx, connection, store, carrier, limit - len(shown))
    return shown


def _parcels(connection: Connection, finding_ids: Sequence[int]) -> dict[int, int]:
    """Return which shipment each finding is about: that of its order whose carrier and number it names, the newest."""
    f = findings.c
    rows = connection.execute(
        sa.select(f.id, f.evidence, _S.id.label("shipment"), _S.carrier, _S.number)
        .join(fulfilments, _F.order_id == f.order_id)
        .join(fulfilment_shipments, _FS.fulfilment_id == _F.id)
        .join(shipments, _S.id == _FS.shipment_id)
        .where(queries.among(connection, f.id, finding_ids))
        .order_by(_S.id)
    )
    return {row.id: row.shipment for row in rows if row.evidence.get("parcel") == f"{row.carrier} {row.number}"}


def _looks(ctx: AppContext, connection: Connection, shipment_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the next look at each shipment: of several accounts that are asked about it the first."""
    here = queries.among(connection, watches.c.shipment_id, sorted(set(shipment_ids)))
    found: dict[int, dict[str, Any]] = {}
    for shipment, row in planned.looks(ctx, connection, here, 4 * max(1, len(shipment_ids))):
        found.setdefault(shipment, row)
    return found


def _next(look: dict[str, Any] | None, limited: bool) -> dict[str, Any]:
    """Say who looks next, when and why; `limited`: not what the configuration says."""
    if look is None:
        return {"watched_by": None, "next_look": None, "look_why": "nobody asks about it", "held": None}
    held = look["held"]
    if limited and held is not None and held.startswith("suspended"):
        held = "its account is suspended"
    return {"watched_by": look["account"], "next_look": look["next"], "look_why": look["why"], "held": held}


def _nobodys(
    ctx: AppContext, connection: Connection, store: queries.Stores, carrier: str | None, most: int
) -> list[dict[str, Any]]:
    """Return the parcels that no account watches, the newest first."""
    since, o = ctx.now() - DEFAULT.expired_after, orders.c
    where = [_FS.unwatched.isnot(None), _FS.linked_at >= since, *queries.of_stores(o.store, store)]
    if carrier is not None:
        where.append(_S.carrier == carrier)
    rows = connection.execute(
        sa.select(o.store, o.number.label("order"), _FS.linked_at, _FS.unwatched, _S.carrier, _S.number, _S.status)
        .select_from(fulfilment_shipments)
        .join(shipments, _S.id == _FS.shipment_id)
        .join(fulfilments, _F.id == _FS.fulfilment_id)
        .join(orders, o.id == _F.order_id)
        .where(*where)
        .order_by(_FS.linked_at.desc(), _S.id)
        .limit(max(0, most))
    )
    return [
        {
            "id": None, "store": row.store, "order": row.order, "why": NOBODY, "parcel": f"{_whose(row)} {row.number}",
            "status": row.status, "last_place": None, "since": row.linked_at, "for": ctx.now() - row.linked_at, "act": "act",
            "watched_by": None, "next_look": None, "look_why": "no account covers its carrier: tracker findings --kind carrier_not_covered",
            "held": None,
        }
        for row in rows
    ]  # fmt: skip


def _whose(row: Any) -> str:
    """Return a parcel's carrier, or the shop's word for it where nobody knows it."""
    whose = str(row.unwatched).partition("/")[2]
    return whose.removeprefix(UNIDENTIFIED) if whose.startswith(UNIDENTIFIED) else str(row.carrier)


def in_short(rows: Sequence[dict[str, Any]], now: datetime) -> str:
    """Say rows of `stuck` in a sentence: how many are silent, how many nobody watches any more, and when the next look is."""
    coming = [row for row in rows if row["next_look"] is not None]
    nobodys = sum(row["watched_by"] is None for row in rows)
    over = len(rows) - len(coming) - nobodys
    said = f"{_many(len(coming))} silent and watched, {_many(nobodys)} watched by nobody"
    if over:
        said += f", {_many(over)} looked at no more"
    if not coming:
        return f"{said}; no look is to come"
    first = min(coming, key=lambda row: row["next_look"])
    when = "is due now" if first["next_look"] <= now else f"is at {first['next_look']:%Y-%m-%d %H:%M}Z"
    held = f", but {first['held']}" if first["held"] else ""
    return f"{said}; the next look {when}, by {first['watched_by']} at {first['parcel']}{held}"


def _many(count: int) -> str:
    return f"{count:,} parcel is" if count == 1 else f"{count:,} parcels are"
