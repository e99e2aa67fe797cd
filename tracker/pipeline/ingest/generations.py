"""Which shipment a number means: carriers give a number to another parcel later, and shops do not always say whose it is."""

from __future__ import annotations

from datetime import datetime

from tracker.domain.facts import UNIDENTIFIED, Finding, Order
from tracker.domain.timeline import ANEW_AFTER, first_of
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.ingest.shipments import LockedShipment, Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.pipeline.ingest.watches import Watches


def home(
    tx: Transaction,
    shipments: Shipments,
    watches: Watches,
    carrier: str,
    number: str,
    scan_at: datetime,
    piece: str | None,
) -> LockedShipment:
    """Choose the generation a scan belongs to; open the first one where the number was never seen."""
    known = shipments.generations(carrier, number)
    if not any(parcel.linked for parcel in known):
        adopted = _adopt(tx, shipments, watches, carrier, number, scan_at)
        if adopted is not None:
            return adopted
    if not known:
        return shipments.create(carrier, number, 1, scan_at, piece)
    if piece is not None:
        same = next((p for p in known if p.piece == piece), None)
        if same is not None:
            return same
    older = (*known[1:], None)
    return next(
        p for p, q in zip(known, older, strict=True) if q is None or first_of(p.starts_at, q.summary) <= scan_at
    )


def _adopt(
    tx: Transaction, shipments: Shipments, watches: Watches, carrier: str, number: str, scan_at: datetime
) -> LockedShipment | None:
    """Give the carrier to the one shipment of this number that had none; several are a person's question.

    A scan from before the order was shipped is of an older parcel of that number, of somebody else: it decides nothing.
    """
    nameless = [
        p
        for p in shipments.under(number)
        if p.carrier.startswith(UNIDENTIFIED) and p.closed_at is None and scan_at >= p.starts_at - ANEW_AFTER
    ]
    if len(nameless) > 1:
        subject = f"number/{number}"
        finding = Finding(
            FindingKind.SOURCES_DISAGREE, subject, Severity.WARNING, Act.ACT,
            {"number": number, "orders": ", ".join(sorted(p.carrier.removeprefix(UNIDENTIFIED) for p in nameless))},
        )  # fmt: skip
        tell.report_findings(tx.ctx, tx.connection, [(None, finding)], tx.now, by="ingest")
        return None
    if not nameless:
        return None
    parcel = nameless[0]
    newest = max((one.generation for one in shipments.generations(carrier, number)), default=0)
    shipments.change(parcel, carrier=carrier, generation=newest + 1)
    watches.register(parcel)
    watches.begin(parcel)
    return parcel


def ordered(
    shipments: Shipments, carrier: str | None, number: str, order: Order, shipped_at: datetime
) -> LockedShipment:
    """Find or open the shipment that an order's number means: the newest that had not ended when it was shipped."""
    if carrier is None:
        named = [p for p in shipments.under(number) if not p.carrier.startswith(UNIDENTIFIED)]
        if len({p.carrier for p in named}) == 1:
            carrier = named[0].carrier
    carrier = carrier or f"{UNIDENTIFIED}{order.store}/{order.ref}"
    known = shipments.generations(carrier, number)
    if not known:
        return shipments.create(carrier, number, 1, shipped_at, None)
    goes_on = [p for p in known if not _over(p, order, shipped_at)]
    if not goes_on:
        return shipments.create(carrier, number, known[0].generation + 1, shipped_at, None)
    return next((p for p in goes_on if p.starts_at - ANEW_AFTER <= shipped_at), goes_on[-1])


def _over(parcel: LockedShipment, order: Order, shipped_at: datetime) -> bool:
    """Say whether a journey had ended when an order was shipped: then its number means another parcel.

    A shop may say late that it shipped: a parcel that no order names and that went on after the order was placed is its.
    """
    ended = parcel.summary.last_scan_at if parcel.summary.status.terminal else None
    if ended is None or shipped_at <= ended:
        return False
    return parcel.linked or order.placed_at > ended or shipped_at - ended > ANEW_AFTER


def ended_before(parcel: LockedShipment, at: datetime) -> bool:
    """Say whether a journey had ended by a moment."""
    summary = parcel.summary
    return summary.status.terminal and summary.since is not None and summary.since < at
