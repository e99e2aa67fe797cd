"""Several shipments under one number in one answer: which of them is told of (see `journeys`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from tracker.domain.facts import UNIDENTIFIED, UNMAPPED, Finding, Report, Scan, StoredScan, fingerprint
from tracker.domain.numbers import clean
from tracker.domain.timeline import ANEW_AFTER, place_in_time
from tracker.pipeline import journeys, tell
from tracker.pipeline.ingest.generations import ended_before
from tracker.pipeline.ingest.parse import Parsed
from tracker.pipeline.ingest.scans import look_up
from tracker.pipeline.ingest.shipments import LockedShipment, Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.pipeline.ingest.watches import Key
from tracker.store import queries
from tracker.store.tables import scans


@dataclass
class Apart:
    """The reports that are believed, the shipments that lost scans to another, and whose next answer counts."""

    reports: list[tuple[Parsed, Report]] = field(default_factory=list)
    robbed: set[int] = field(default_factory=set)
    doubted: set[Key] = field(default_factory=set)


def without_rivals(tx: Transaction, shipments: Shipments, reports: Sequence[tuple[Parsed, Report]]) -> Apart:
    """Leave out what answers tell of other shipments under the same number."""
    groups: dict[tuple[int, str, str], list[tuple[Parsed, Report]]] = {}
    for p, report in reports:
        number = clean(report.number)
        if report.carrier == "unknown" and (under := shipments.under(number)):
            report = replace(report, carrier=under[0].carrier)
        elif p.account is not None and p.account.carrier.registers_first:
            report = _registered_for(shipments, report, number)
        groups.setdefault((p.row.id, report.carrier, number), []).append((p, report))
    kept = Apart()
    for (_, carrier, number), some in groups.items():
        p, report = some[0]
        known = {one.piece for one in shipments.under(number) if one.carrier == carrier} if report.piece else set()
        if len(some) == 1 and (not known or None in known or report.piece in known):
            kept.reports += some
        else:
            fitting = _fitting(tx, shipments, p, carrier, number, [one for _, one in some])
            kept.reports += fitting.reports
            kept.robbed |= fitting.robbed
            kept.doubted |= fitting.doubted
    return kept


def _registered_for(shipments: Shipments, report: Report, number: str) -> Report:
    """Take what a source tells of a number for the one parcel that it was registered for, whichever carrier it has it under."""
    under = shipments.under(number)
    if any(one.carrier == report.carrier or one.carrier.startswith(UNIDENTIFIED) for one in under):
        return report
    carriers = {one.carrier for one in under if one.linked}
    return replace(report, carrier=carriers.pop()) if len(carriers) == 1 else report


def _fitting(
    tx: Transaction,
    shipments: Shipments,
    p: Parsed,
    carrier: str,
    number: str,
    reports: Sequence[Report],
) -> Apart:
    """Return what is told of the parcel that the shop means, and of other generations of its number."""
    scanned = [report for report in reports if report.scans]
    found = journeys.split_journeys(scanned, lambda scan: _as_told(p, scan))
    known = shipments.generations(carrier, number)
    known = known or [one for one in shipments.under(number) if one.carrier.startswith(UNIDENTIFIED)]
    held = _held(tx, known, found)
    homes = {
        one: next((g for g in known if (one.piece and g.piece == one.piece) or held[g.id] & one.prints), None)
        for one in found
    }
    meant = next((one for one in known if one.linked), known[0] if known else None)  # which the shop means
    mine = [one for one in found if (home := homes[one]) and home is not meant and home.piece == one.piece]
    rivals = [one for one in found if one not in mine]
    if not found or (len(rivals) == 1 and homes[rivals[0]] is meant):  # told in parts, or under another id
        return Apart([(p, one) for one in scanned or reports])
    order = journeys.order_of(tx.connection, meant.id, number) if meant is not None else None
    chosen, sure = journeys.choose(
        rivals, order.words if order else frozenset(),
        meant.starts_at - ANEW_AFTER if meant is not None and meant.linked else None,
        [one for one in rivals if homes[one] is not None],
        (meant.piece if meant is not None else None) or "",
    )  # fmt: skip
    kept, left_out = Apart(), False
    for one in rivals:
        if one is chosen:
            if meant is not None and one.piece and meant.piece != one.piece:
                shipments.change(meant, piece=one.piece)
        elif meant is not None and meant.carrier == carrier and ended_before(meant, one.first):
            newest = shipments.generations(carrier, number)[0]
            shipments.create(carrier, number, newest.generation + 1, one.first, one.piece or None)
        else:
            left_out = True
            if meant is not None and (prints := held[meant.id] & one.prints):
                _withdraw(tx, meant, prints)
                kept.robbed.add(meant.id)
            continue
        mine.append(one)
    if left_out and not sure:
        finding = journeys.disagree(p.row.account, carrier, number, found, chosen, order)
        _doubt(tx, p, number, finding, order)
        if meant is not None:
            kept.doubted.add((meant.id, p.row.account))
    kept.reports = [(p, report) for one in mine for report in one.reports]
    return kept


def _held(tx: Transaction, known: Sequence[LockedShipment], found: Sequence[journeys.Journey]) -> dict[int, set[str]]:
    """Read which scans of journeys are stored, by shipment."""
    held: dict[int, set[str]] = {one.id: set() for one in known}
    prints = {printed for one in found for printed in one.prints}
    s = scans.c
    here = sa.and_(
        s.shipment_id.in_(held), s.withdrawn_at.is_(None), queries.among(tx.connection, s.fingerprint, prints)
    )
    for shipment_id, printed in tx.connection.execute(sa.select(s.shipment_id, s.fingerprint).where(here)):
        held[shipment_id].add(printed)
    return held


def _withdraw(tx: Transaction, parcel: LockedShipment, prints: set[str]) -> None:
    """Withdraw scans that were taken for this parcel's and are another shipment's."""
    here = (scans.c.shipment_id == parcel.id, queries.among(tx.connection, scans.c.fingerprint, prints))
    tx.connection.execute(scans.update().where(*here, scans.c.withdrawn_at.is_(None)).values(withdrawn_at=tx.now))


def _doubt(tx: Transaction, p: Parsed, number: str, finding: Finding, order: journeys.Named | None) -> None:
    """Open the finding that several shipments stand under one number."""
    p.doubtful.add(number)
    stores = {order.id: order.store} if order else {}
    wanted = [(order.id if order else None, finding)]
    tell.report_findings(tx.ctx, tx.connection, wanted, tx.now, by="ingest", stores=stores)


def _as_told(p: Parsed, scan: Scan) -> StoredScan:
    """Read a scan as the summary would read it, before it is stored."""
    assert p.account is not None and p.payload is not None
    source, code = p.account.carrier, scan.code
    instant, zone = place_in_time(scan, source.default_zone, p.payload.received_at)
    meaning = look_up(p.account, code) or UNMAPPED
    printed = fingerprint(scan, text_matters=source.text_matters)
    return StoredScan(printed, code.space, code.code, meaning, instant, zone, scan.precision, scan.place)
