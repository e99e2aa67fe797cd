"""The fulfilments of an order, and which shipments they name."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from tracker.config.recognized import believed_for
from tracker.domain.facts import UNIDENTIFIED, Finding, Fulfilment, Order, Parcel
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.ingest import legs
from tracker.pipeline.ingest.generations import ordered
from tracker.pipeline.ingest.shipments import LockedShipment, Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.pipeline.ingest.versions import NO_SHOPS_YET
from tracker.pipeline.ingest.watches import Watches
from tracker.store import queries
from tracker.store.tables import fulfilment_shipments, fulfilments, outbox


class _Linked(NamedTuple):
    """What a fulfilment names now, what it names no more, and the marks of carriers that nobody watches."""

    named: set[int]
    gone: set[int]
    loose: set[str]


def store_links(
    tx: Transaction, shipments: Shipments, watches: Watches, order_id: int, order: Order, *, erased: bool
) -> set[str]:
    """Keep the fulfilments of an order and link their numbers to shipments. `erased`: what may name a person of it is not kept.

    Returns the marks of carriers that nobody watches (see `unwatched.mark`).
    """
    here = sa.select(fulfilments).where(fulfilments.c.order_id == order_id)
    known = {row.ref: row for row in tx.connection.execute(here)}
    gone: set[int] = set()
    named: set[int] = set()
    loose: set[str] = set()
    for fulfilment in order.fulfilments:
        row = known.get(fulfilment.ref)
        if row is None:
            result = tx.connection.execute(
                fulfilments.insert().returning(fulfilments.c.id),
                {"order_id": order_id, "ref": fulfilment.ref, "status": fulfilment.status, "live": fulfilment.live},
            )
            fulfilment_id = result.scalar_one()
        else:
            fulfilment_id = row.id
            if (row.status, row.live) != (fulfilment.status, fulfilment.live):
                tx.connection.execute(
                    fulfilments.update()
                    .where(fulfilments.c.id == row.id)
                    .values(status=fulfilment.status, live=fulfilment.live)
                )
        began = _began(order, fulfilment, tx.now)
        linked = _link(tx, shipments, watches, fulfilment_id, order, began, fulfilment.parcels)
        gone |= linked.gone
        named |= linked.named
        loose |= linked.loose
    if erased:
        shipments.erase(shipments.families(named))
    _replaced(tx, order, order_id, _uncorrected(tx, shipments, watches, order_id, gone - named))
    return loose


def _began(order: Order, fulfilment: Fulfilment, now: datetime) -> datetime:
    """Return when a fulfilment's journey began, as well as the shop tells: never before there were shops, nor ahead of us."""
    at = fulfilment.shipped_at or order.placed_at
    return min(at, now) if at >= NO_SHOPS_YET else now


def _link(
    tx: Transaction,
    shipments: Shipments,
    watches: Watches,
    fulfilment_id: int,
    order: Order,
    shipped_at: datetime,
    parcels: Iterable[Parcel],
) -> _Linked:
    """Link a fulfilment to what its numbers mean."""
    fs = fulfilment_shipments.c
    before = sa.select(fs.shipment_id).where(fs.fulfilment_id == fulfilment_id)
    linked = set(tx.connection.execute(before).scalars())
    wanted: dict[int, str] = {}  # and the shop's word for the carrier
    for told in parcels:
        number = clean(told.number)
        carrier = told.carrier
        # a link, once made, is not moved by a later read that does not say otherwise: neither to another generation, nor to
        # the parcel's last mile, which may share its number
        there = sorted((p for p in shipments.under(number) if p.id in linked), key=lambda p: p.leg_of is not None)
        known = [p for p in there if not p.carrier.startswith(UNIDENTIFIED)]
        kept = [p.id for p in known if carrier in (None, p.carrier)]
        if carrier is None and not kept:
            carrier = believed_for(tx.ctx.config, number, order.store, order.ships_to)
            kept = [p.id for p in there if carrier in (None, p.carrier)]
        parcel_id = kept[0] if kept else ordered(shipments, carrier, number, order, shipped_at).id
        wanted[parcel_id] = told.company
    gone = set() if order.partial else linked - set(wanted)  # a number that could not be read is not taken out
    gone -= {i for i in gone if shipments.find(i).leg_of in wanted}  # the last mile of a parcel that is named
    if gone:
        here = (fs.fulfilment_id == fulfilment_id, fs.shipment_id.in_(gone))
        tx.connection.execute(fulfilment_shipments.delete().where(*here))
        for i in gone:  # who asked for it first may be another store now
            shipments.change(shipments.find(i))
            watches.begin(shipments.find(i))
    fresh = {i: company for i, company in wanted.items() if i not in linked}
    loose = _insert(tx, shipments, watches, fulfilment_id, order, fresh) if fresh else set()
    return _Linked(set(wanted), gone, loose)


def _insert(
    tx: Transaction, shipments: Shipments, watches: Watches, fulfilment_id: int, order: Order, fresh: dict[int, str]
) -> set[str]:
    """Link shipments, with the shop's word for their carriers; from now on somebody is asked about them."""
    places = []
    for i, company in fresh.items():
        parcel = shipments[i]
        shipments.change(parcel, **({} if parcel.linked else {"linked": True, "linked_at": tx.now}))
        places.append(legs.Standing(fulfilment_id, order.store, order.ships_to, parcel, company))
    loose = legs.put_at(tx, watches, places)
    for i in fresh:
        loose |= legs.stand_with(tx, shipments, watches, shipments[i])
    return loose


def _uncorrected(
    tx: Transaction, shipments: Shipments, watches: Watches, order_id: int, gone: set[int]
) -> list[LockedShipment]:
    """End the watch of each number that a person corrected, unless another order names it; returns the others.

    Such a number was never the order's: nobody waits for what its carrier says of it.
    """
    parcels = [one for i in sorted(gone) if (one := shipments.find(i)).leg_of not in gone]
    if not parcels:
        return []
    o = outbox.c
    written = sa.select(o.action).where(o.order_id == order_id, o.kind == "number", o.attempted_at.isnot(None))
    corrected = {action["parcels"][0]["number"] for action in tx.connection.execute(written).scalars()}
    over = [parcel for parcel in parcels if parcel.number in corrected]
    fs = fulfilment_shipments.c
    still = sa.select(fs.shipment_id).where(queries.among(tx.connection, fs.shipment_id, [one.id for one in over]))
    named = set(tx.connection.execute(still).scalars()) if over else set()
    for parcel in over:
        if parcel.id not in named:
            shipments.change(parcel, linked=False)
            watches.end(parcel)
            for leg in shipments.legs(parcel.id):
                legs.let_go(tx, shipments, watches, leg)
    return [parcel for parcel in parcels if parcel not in over]


def _replaced(tx: Transaction, order: Order, order_id: int, gone: Iterable[LockedShipment]) -> None:
    """Tell when the shop replaces a number that the carrier already has."""
    told: list[tuple[int | None, Finding]] = []
    for parcel in gone:
        if parcel.summary.custody_at is not None:
            numbers = ", ".join(p.number for f in order.fulfilments for p in f.parcels) or "none"
            evidence = {
                "order": order.number, "was": f"{parcel.carrier} {parcel.number}", "now": numbers,
                "status": str(parcel.summary.status),
            }  # fmt: skip
            subject = f"{order.store}/{order.number}/{parcel.carrier}/{parcel.number}"
            finding = Finding(FindingKind.TRACKING_CHANGED, subject, Severity.WARNING, Act.FOLLOW_UP, evidence)
            told.append((order_id, finding))
    tell.report_findings(tx.ctx, tx.connection, told, tx.now, by="ingest")
