"""Say of one order as of when it is known, by shop and carriers, and what is not known of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.sentences import spoken
from tracker.domain.vocabulary import FindingKind, TrackingState
from tracker.pipeline import feeds
from tracker.pipeline.context import AppContext
from tracker.pipeline.state import OVERDUE_AFTER
from tracker.store.tables import (
    accounts,
    findings,
    fulfilment_shipments,
    fulfilments,
    order_versions,
    shipments,
    watches,
)
from tracker.support.knowledge import NO_REASON, UNKNOWN, Look


def of_order(ctx: AppContext, connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """Say of one order as of when it is known, by its shop (`shop_at`) and its carriers too, and what is not known of it."""
    look = Look(ctx, connection, frozenset({row.store}))  # its shop may ask: it need not know our configuration
    unknown: list[str] = []
    v = order_versions.c
    seen = sa.select(v.seen_at).where(v.order_id == row.id).order_by(v.version.desc()).limit(1)
    shop_at = connection.execute(seen).scalar()  # `read_at` is the database's clock
    for store in look.stores:
        _, why, since, _ = look.dark_for(store)
        if why:
            unknown.append(f"the shop's side{_since(since)}: {why}")
        elif store.swept_at is not None:
            shop_at = max(shop_at or store.swept_at, store.swept_at)
    if row.drift is None:
        unknown.append("whether shop and carriers agree: nobody compared them yet")
    elif row.reconcile_at is not None and row.reconcile_at < look.now - OVERDUE_AFTER:
        unknown.append(f"whether shop and carriers still agree: that waits{_since(row.reconcile_at)}")
    f, fs, t, s = findings.c, fulfilment_shipments.c, watches.c, shipments.c
    for found in connection.execute(sa.select(f.kind, f.opened_at).where(f.order_id == row.id, f.closed_at.is_(None))):
        if found.kind in UNKNOWN:
            unknown.append(f"{FindingKind(found.kind).sentence.rstrip('.')}{_since(found.opened_at)}")
    moments = [shop_at]
    known_at = feeds.known_at(feeds.whole(ctx, connection, look.now)).label("known_at")
    looks = connection.execute(
        sa.select(
            s.carrier,
            s.number,
            t.account,
            t.tracking_state,
            known_at,
            t.next_poll_at,
            t.overdue_since,
            t.chosen,
            t.said,
            accounts.c.files_at,
        )
        .join(fulfilment_shipments, fs.shipment_id == s.id)
        .join(fulfilments, fulfilments.c.id == fs.fulfilment_id)
        .outerjoin(watches, t.shipment_id == s.id)
        .outerjoin(accounts, accounts.c.name == t.account)
        .where(fulfilments.c.order_id == row.id, s.closed_at.is_(None))
        .order_by(s.id, t.account)
    ).all()
    by_parcel: dict[str, list[Row[Any]]] = {}
    for one in looks:
        by_parcel.setdefault(f"{one.carrier} {one.number}", []).append(one)
    for parcel, told in by_parcel.items():
        unknown += [f"{parcel}: {one}" for one in _not_told(told, look.now - OVERDUE_AFTER)]
        moments += [max((one.known_at for one in told if one.known_at is not None), default=None)]
    known = [moment for moment in moments if moment is not None]
    return {"as_of": min(known, default=None), "shop_at": shop_at, "unknown": unknown}


def _not_told(told: Sequence[Row[Any]], late: datetime) -> Iterator[str]:
    """Say why nobody knows how a parcel stands, by its watches; nothing where somebody does."""
    if not any(one.tracking_state == TrackingState.ACTIVE for one in told):
        for one in told:
            if one.chosen is not None and one.tracking_state == TrackingState.ERROR:
                yield f"{one.account} does not tell of it: {one.said or NO_REASON}"
    if any(one.files_at is not None and one.files_at >= late for one in told):
        return  # its files are looked for: nobody needs to ask
    asking = [one for one in told if one.next_poll_at is not None]
    if not asking:
        states = ", ".join(f"{one.account}: {spoken(one.tracking_state)}" for one in told if one.account is not None)
        yield f"nobody asks about it ({states or 'no account covers its carrier'})"
    elif not any((one.overdue_since or one.next_poll_at) >= late for one in asking):
        first = asking[0]
        said = f" ({first.said})" if first.said and first.tracking_state != TrackingState.ERROR else ""
        yield f"it is overdue to be asked about{_since(first.overdue_since or first.next_poll_at)}{said}"


def _since(at: datetime | None) -> str:
    return f" since {at:%Y-%m-%d %H:%M}Z" if at else ""
