"""The last mile: where a carrier hands a parcel to another, the number there is followed, and both tell of one parcel.

A leg is a shipment of its own: its carrier's account is asked about it, and its scans are its own. `shipments.leg_of` says
whose last mile it is: from then on the whole parcel's summary is made of the scans of both (`domain.legs`), it stands at the
same fulfilments, and nobody asks about it once the whole is over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Row

from tracker.config.recognized import spoken
from tracker.domain.facts import UNIDENTIFIED, Finding, Link
from tracker.domain.numbers import clean, is_plain
from tracker.domain.recognition import recognize
from tracker.domain.vocabulary import Act, FindingKind, Severity, ShippingStatus
from tracker.pipeline import tell, unwatched
from tracker.pipeline.ingest.generations import ended_before
from tracker.pipeline.ingest.shipments import LockedShipment, Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.pipeline.ingest.watches import Watches
from tracker.store import queries
from tracker.store.tables import fulfilment_shipments, fulfilments, orders, shipment_links

LAST_MILE, BEFORE = "last_mile", "last_mile_before"
_FS = fulfilment_shipments.c


@dataclass
class Followed:
    """The parcels whose scans are told by others too now, or no more, and the marks of carriers that nobody watches."""

    anew: set[int] = field(default_factory=set)
    unwatched: set[str] = field(default_factory=set)


def follow(
    tx: Transaction,
    shipments: Shipments,
    watches: Watches,
    touched: Collection[int],
    named: Mapping[int, Collection[Link]],
) -> Followed:
    """Follow the last miles that are known of parcels which an order names and their first carrier has.

    `named`: what who is asked about a parcel names now, in a full answer. What it named before and does not any more is let
    go: the first carrier gave the parcel another number.
    """  # fmt: skip
    done = Followed()
    if not touched:
        return done
    links: dict[int, list[Link]] = {}
    here = {"ids": sorted(touched)}
    for row in tx.connection.execute(_LINKED[tx.sqlite], here):
        links.setdefault(row.shipment_id, []).append(Link(row.number, row.carrier or None, LAST_MILE))
    for shipment_id in sorted(links):
        told = shipments[shipment_id]
        whole = shipments.whole(told)
        if now := named.get(shipment_id):
            links[shipment_id] = _changed(tx, shipments, watches, told, whole, links[shipment_id], now, done)
        if not whole.linked or not _on_its_way(whole):
            continue
        for link in links[shipment_id]:
            _follow(tx, shipments, watches, told, whole, link, done)
    return done


class Standing(NamedTuple):
    """Where a shipment stands: at which fulfilment, of whose order, where that goes, and the shop's word for the carrier."""

    fulfilment_id: int
    store: str
    country: str
    parcel: LockedShipment
    company: str


def put_at(tx: Transaction, watches: Watches, places: Iterable[Standing]) -> set[str]:
    """Put shipments at fulfilments; from now on somebody is asked about them. Returns the marks of carriers that nobody watches."""
    rows, marks = [], set()
    for one in places:
        covered = watches.begin(one.parcel, one.store, one.country)
        nobody = None if covered else unwatched.carrier_key(one.store, one.parcel.carrier, one.company)
        if nobody is not None:
            marks.add(nobody)
        rows.append(
            {"fulfilment_id": one.fulfilment_id, "shipment_id": one.parcel.id, "linked_at": tx.now, "unwatched": nobody}
        )
    if rows:
        insert = queries.upsert(tx.connection, fulfilment_shipments).on_conflict_do_nothing()
        tx.connection.execute(insert, rows)
        tx.ctx.notify("poll")
    return marks


def stand_with(tx: Transaction, shipments: Shipments, watches: Watches, whole: LockedShipment) -> set[str]:
    """Put the last miles of a parcel at each fulfilment that names it. Returns the marks of carriers that nobody watches."""
    marks: set[str] = set()
    at = _named_by(tx, whole) if (mine := shipments.legs(whole.id)) else []
    for leg in mine:
        marks |= _stand(tx, watches, leg, at)
    return marks


def let_go(tx: Transaction, shipments: Shipments, watches: Watches, leg: LockedShipment) -> None:
    """End what makes a number the last mile of a parcel: it stays at the fulfilments whose shop names it itself."""
    shipments.change(leg, leg_of=None)
    still = 0
    for row in _named_by(tx, leg):
        parts = (part for part in row.facts["fulfilments"] for part in part["parcels"])
        if any(clean(part["number"]) == leg.number for part in parts):
            still += 1
            continue
        here = (_FS.fulfilment_id == row.fulfilment_id, _FS.shipment_id == leg.id)
        tx.connection.execute(fulfilment_shipments.delete().where(*here))
    if not still:
        shipments.change(leg, linked=False)
        watches.end(leg)


def _on_its_way(whole: LockedShipment) -> bool:
    """Say whether a last mile is worth asking about: not while there is a label only, nor when it is over."""
    summary = whole.summary
    waits = summary.status is ShippingStatus.PRE_TRANSIT or not summary.scans
    return not waits and not (summary.status.terminal and not summary.disputed)


def _follow(
    tx: Transaction, shipments: Shipments, watches: Watches, told: LockedShipment, whole: LockedShipment, link: Link, done: Followed,
) -> None:  # fmt: skip
    """Follow one number, unless it is followed already, leads back to the parcel itself, or is another parcel's."""
    number = clean(link.number)
    if not is_plain(number) or (number == told.number and link.carrier in (None, told.carrier)):
        return
    shipments.load({number})
    at = _named_by(tx, whole)
    carrier = link.carrier or _carrier_of(tx, shipments, number, told.carrier, at)
    mine = [p for p in shipments.under(number) if p.id == whole.id or p.leg_of == whole.id]
    if any(carrier in (None, p.carrier) or p.carrier.startswith(UNIDENTIFIED) for p in mine if p is not told):
        return  # it is followed, or leads in a circle
    if not at:
        return
    leg = _leg(tx, shipments, carrier or f"{UNIDENTIFIED}{at[0].store}/{at[0].ref}", number, whole, at)
    if leg is None:
        return
    for further in shipments.legs(leg.id):
        shipments.change(further, leg_of=whole.id)
    shipments.change(leg, leg_of=whole.id, linked=True, linked_at=leg.linked_at or tx.now)
    if whole.erased:
        shipments.erase([leg.id])
    done.unwatched |= _stand(tx, watches, leg, at)
    done.anew |= {whole.id, leg.id}
    tx.ctx.log.info("last_mile", parcel=f"{whole.carrier} {whole.number}", number=f"{leg.carrier} {leg.number}")


def _carrier_of(tx: Transaction, shipments: Shipments, number: str, first: str, at: Sequence[Row[Any]]) -> str | None:
    """Return whose a number is where nobody said so: the carrier that tells of it, or the only one that makes such numbers.

    `first` hands over, so it is another: a shape that it shares with one carrier (FedEx SmartPost with USPS) is that one's.
    """
    telling = {p.carrier for p in shipments.under(number) if not p.carrier.startswith(UNIDENTIFIED)} - {first}
    if not telling and at:
        country, known = at[0].facts.get("ships_to") or "", spoken(tx.ctx.config, at[0].store)
        guesses = [one for one in recognize(number, country=country, spoken=known) if one.possible]
        telling = {one.carrier for one in guesses if one.check != "likely"} - {first}
    return telling.pop() if len(telling) == 1 else None


def _leg(
    tx: Transaction, shipments: Shipments, carrier: str, number: str, whole: LockedShipment, at: Sequence[Row[Any]]
) -> LockedShipment | None:
    """Find or open the shipment that is the last mile; None where its number is another open parcel's, which is told."""
    known = shipments.generations(carrier, number)
    if not known:
        return shipments.create(carrier, number, 1, whole.starts_at, None)
    leg, other = known[0], shipments.whole(known[0])
    if any(ended_before(one, whole.starts_at) for one in (leg, other)):  # the number was another parcel's before
        return shipments.create(carrier, number, leg.generation + 1, whole.starts_at, None)
    others = {row.order_id: row for row in _named_by(tx, leg)}
    if other is leg and (not others or others.keys() & {row.order_id for row in at}):
        return leg
    evidence = {
        "parcel": f"{whole.carrier} {whole.number}", "last_mile": f"{carrier} {number}", "order": at[0].number,
        "also_of": f"{other.carrier} {other.number}", "orders": ", ".join(sorted({row.number for row in others.values()})) or "none",
        "believed": "none",
    }  # fmt: skip
    finding = Finding(
        FindingKind.SOURCES_DISAGREE, f"parcel/{whole.carrier}/{whole.number}/last_mile/{number}", Severity.WARNING, Act.ACT,
        evidence, proposal="look at both parcels: one number cannot be the last mile of two",
    )  # fmt: skip
    tell.report_findings(tx.ctx, tx.connection, [(at[0].order_id, finding)], tx.now, by="ingest")
    return None


def _stand(tx: Transaction, watches: Watches, leg: LockedShipment, at: Sequence[Row[Any]]) -> set[str]:
    """Put a last mile at the fulfilments of its parcel. Returns the marks of carriers that nobody watches."""
    return put_at(
        tx, watches, [Standing(row.fulfilment_id, row.store, row.facts.get("ships_to") or "", leg, "") for row in at]
    )


def _named_by(tx: Transaction, parcel: LockedShipment) -> list[Row[Any]]:
    """Return the fulfilments at which a shipment stands, with their orders."""
    o, f = orders.c, fulfilments.c
    select = (
        sa.select(_FS.fulfilment_id, f.order_id, o.store, o.ref, o.number, o.facts)
        .join(fulfilments, f.id == _FS.fulfilment_id)
        .join(orders, o.id == f.order_id)
        .where(_FS.shipment_id == parcel.id)
        .order_by(_FS.linked_at, _FS.fulfilment_id)
    )
    return list(tx.connection.execute(select))


def _changed(
    tx: Transaction, shipments: Shipments, watches: Watches, told: LockedShipment, whole: LockedShipment, known: Iterable[Link],
    now: Collection[Link], done: Followed,
) -> list[Link]:  # fmt: skip
    """Let go what a parcel's carrier names no more, where it names another. Returns what it still names."""
    still = {clean(link.number) for link in now}
    kept = []
    for link in known:
        number = clean(link.number)
        if number in still:
            kept.append(link)
            continue
        shipments.load({number})
        sl = shipment_links.c
        here = (sl.shipment_id == told.id, sl.number == link.number, sl.carrier == (link.carrier or ""))
        tx.connection.execute(shipment_links.delete().where(*here, sl.relation == BEFORE))
        tx.connection.execute(shipment_links.update().where(*here, sl.relation == LAST_MILE).values(relation=BEFORE))
        for leg in shipments.legs(whole.id):
            if leg.number == number and link.carrier in (None, leg.carrier):
                _tell_change(tx, whole, leg, still)
                let_go(tx, shipments, watches, leg)
                done.anew |= {whole.id, leg.id}
    return kept


def _tell_change(tx: Transaction, whole: LockedShipment, leg: LockedShipment, now: Iterable[str]) -> None:
    """Tell of a last mile that is another's now, where its carrier had the parcel already."""
    if leg.summary.custody_at is None or not (at := _named_by(tx, whole)):
        return
    evidence = {
        "order": at[0].number, "parcel": f"{whole.carrier} {whole.number}", "was": f"{leg.carrier} {leg.number}",
        "now": ", ".join(sorted(now)), "status": str(leg.summary.status),
    }  # fmt: skip
    subject = f"{at[0].store}/{at[0].number}/{leg.carrier}/{leg.number}"
    finding = Finding(FindingKind.TRACKING_CHANGED, subject, Severity.WARNING, Act.FOLLOW_UP, evidence)
    tell.report_findings(tx.ctx, tx.connection, [(at[0].order_id, finding)], tx.now, by="ingest")


def _linked(sqlite: bool) -> sa.Select[Any]:
    sl = shipment_links.c
    here = queries.one_of(sqlite, sl.shipment_id, "ids")
    return sa.select(sl.shipment_id, sl.carrier, sl.number).where(here, sl.relation == LAST_MILE).order_by(sl.id)


_LINKED = {sqlite: _linked(sqlite) for sqlite in (True, False)}
