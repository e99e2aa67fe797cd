"""What carriers' accounts report: scans, and what they know of each shipment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from tracker.domain.facts import Link, Report, StoredScan, fingerprint
from tracker.domain.numbers import clean
from tracker.domain.timeline import place_in_time
from tracker.domain.vocabulary import TrackingState
from tracker.pipeline.ingest.endings import News
from tracker.pipeline.ingest.histories import Full, Histories, recall
from tracker.pipeline.ingest.legs import LAST_MILE
from tracker.pipeline.ingest.new_scans import NewScans, Placed, Prints
from tracker.pipeline.ingest.parse import Parsed
from tracker.pipeline.ingest.rivals import without_rivals
from tracker.pipeline.ingest.shipments import LockedShipment, Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.pipeline.ingest.watches import Key, Watches
from tracker.store import queries
from tracker.store.codec import PROOF, dump
from tracker.store.queries import TOLD_AGAIN
from tracker.store.tables import estimates, scans, shipment_links
from tracker.store.tables import shipments as table

_Knowing = tuple[Parsed, Report, LockedShipment, set[str]]  # who reports what of which shipment, with which scans


@dataclass
class Heard:
    """What the reports of a batch told, by shipment."""

    touched: set[int]
    loud: set[int]  # by something that is not replayed
    anew: set[int]  # their stored scans changed: their summaries are made from all of them
    fresh: Mapping[int, Sequence[StoredScan]]  # scans that were not stored before
    poll_now: set[Key]
    ask_again: dict[Key, datetime | None]  # whose next answer counts even if it is the same
    histories: Histories
    tells: Mapping[int, News]  # who tells news of it
    news: Mapping[str, int]  # of how many parcels a poll told first, by account with webhooks
    named: Mapping[int, Sequence[Link]]  # the last miles that a full answer of who is asked names, by shipment
    by: Mapping[int, Sequence[int]]  # which payloads told of it, by their rows' ids


def take_reports(
    tx: Transaction, shipments: Shipments, watches: Watches, reports: Sequence[tuple[Parsed, Report]]
) -> Heard:
    """Store the scans that are told, each with its meaning, and what accounts know of their shipments."""
    believed = without_rivals(tx, shipments, reports)
    histories = recall(tx, shipments, believed.reports)
    new = NewScans(tx, shipments, watches, histories)
    knowing: list[_Knowing] = []
    loud: set[int] = set()
    news: dict[str, int] = defaultdict(int)
    pushed: set[int] = set()
    for p, report in believed.reports:
        assert p.account is not None
        number = clean(report.number)
        told: Prints = defaultdict(set)
        if not report.scans and (silent := _silent(shipments, report, number)) is not None:
            told[silent.id] = set()
            if p.row.kind == "webhook" and report.tracking is TrackingState.ACTIVE:  # it says only that there is news
                new.poll_now.add((silent.id, p.account.name))
        fresh = _not_stored(p, report, shipments.under(number), histories, told, pushed)
        for one in sorted(fresh, key=itemgetter(0)):  # one journey after the other
            new.add(p, report, number, one, told)
        if not p.row.quiet:
            loud |= set(told)
        if p.row.kind == "poll" and p.account.source.webhooks:
            news[p.account.name] += _is_news(report, shipments.under(number))
        newest = max(told, key=lambda shipment_id: shipments[shipment_id].generation, default=0)
        older = replace(report, edd=None, proof=None, links=(), piece=None) if len(told) > 1 else report
        knowing += [
            (p, report if shipment_id == newest else older, shipments[shipment_id], prints)
            for shipment_id, prints in told.items()
        ]
    tells: dict[int, News] = {}
    named: dict[int, Sequence[Link]] = {}
    if knowing:
        _know(tx, watches, histories, knowing, tells, named)
    written = new.store()
    _pushed(tx, pushed, written.pushed)
    doubted = {shipment_id for shipment_id, _ in believed.doubted}
    by: dict[int, list[int]] = defaultdict(list)
    for p, _, parcel, _ in knowing:
        by[parcel.id].append(p.row.id)
    return Heard(
        believed.robbed | doubted | new.touched | {parcel.id for _, _, parcel, _ in knowing}, loud,
        believed.robbed | new.anew, written.fresh, new.poll_now, dict.fromkeys(believed.doubted), histories,
        tells, news, named, by,
    )  # fmt: skip


def _not_stored(
    p: Parsed,
    report: Report,
    under: Sequence[LockedShipment],
    histories: Histories,
    told: Prints,
    pushed: set[int],
) -> list[Placed]:
    """Return the scans that may not be stored yet. The others are added to what is `told`, and to what is `pushed`."""
    assert p.account is not None and p.payload is not None
    source = p.account.carrier
    known = [
        (one.id, histories.stored[one.id])
        for one in under
        if one.id in histories.stored and one.carrier == report.carrier
    ]
    pushes = p.row.kind == "webhook"
    fresh: list[Placed] = []
    for scan in report.scans:
        printed = fingerprint(scan, text_matters=source.text_matters)
        for shipment_id, stored in known:
            if printed in stored and stored[printed].sure:
                told[shipment_id].add(printed)
                if stored[printed].missed:
                    histories.again[stored[printed].id] = p.payload.received_at
                if pushes and not stored[printed].pushed and stored[printed].account == p.account.name:
                    pushed.add(stored[printed].id)
                break
        else:
            fresh.append(Placed(*place_in_time(scan, source.default_zone, p.payload.received_at), printed, scan))
    return fresh


def _silent(shipments: Shipments, report: Report, number: str) -> LockedShipment | None:
    """Find the shipment of a report without scans; one for a number never seen creates nothing."""
    known = shipments.generations(report.carrier, number)
    known = known or sorted(shipments.under(number), key=lambda p: -p.generation)
    return known[0] if known else None


def _is_news(report: Report, under: Sequence[LockedShipment]) -> bool:
    """Say whether a poll tells something newer of a parcel than anybody told before."""
    newest = max((s.occurred_at for s in report.scans if s.occurred_at is not None), default=None)
    known = [p.summary.last_scan_at for p in under if p.summary.last_scan_at is not None]
    return newest is not None and all(newest > at for at in known)


def _know(
    tx: Transaction,
    watches: Watches,
    histories: Histories,
    told: Sequence[_Knowing],
    tells: dict[int, News],
    named: dict[int, Sequence[Link]],
) -> None:
    """Take what accounts say of shipments: state, full history, estimate, proof, links.

    `tells` gets who tells news, `named` the last miles that who is asked names in a full answer.
    """
    watches.read(parcel.id for _, _, parcel, _ in told)
    parcels: dict[int, dict[str, Any]] = {}
    links: list[dict[str, Any]] = []
    promised: list[dict[str, Any]] = []
    for p, report, parcel, prints in told:
        assert p.account is not None and p.payload is not None
        fed, again = p.row.kind == "sweep", TOLD_AGAIN in p.row.headers
        as_of = report.as_of or p.payload.received_at
        replayed = p.row.quiet or again or p.row.ended_at is not None
        if not replayed and (since := watches.news_since(parcel, p.account.name)) is not None:
            tells[parcel.id] = News(p.account.name, since)
        current = watches.tell(parcel, p.account.name, report, as_of, fed=fed, again=again)
        if current and report.complete and not _partly(p, report):
            histories.told[parcel.id, p.account.name] = Full(prints, p.payload.received_at, p.account, report.scans)
            last = [link for link in report.links if link.relation == LAST_MILE]
            if last and watches.asks(parcel, p.account.name):
                named[parcel.id] = last
        values = parcels.setdefault(parcel.id, {})
        if current and report.edd is not None and report.edd != parcel.edd:
            parcel.edd = report.edd
            begins, ends = report.edd.begins, report.edd.ends
            values |= {"edd_begins": begins, "edd_ends": ends, "edd_told_at": tx.now, "recount": True}
            promised.append(
                {"shipment_id": parcel.id, "begins": begins, "ends": ends, "account": p.account.name, "told_at": tx.now,
                 "inbox_id": p.row.id}
            )  # fmt: skip
        if report.proof is not None and (report.proof.signed or report.proof.photo):
            values["proof"] = dump(PROOF, report.proof)
        if report.piece and not parcel.piece:
            values["piece"] = parcel.piece = report.piece
        links += [
            {"shipment_id": parcel.id, "carrier": link.carrier or "", "number": link.number,
             "relation": link.relation, "first_seen_at": tx.now}
            for link in report.links
        ]  # fmt: skip
    for shipment_id, values in parcels.items():
        if values:
            tx.connection.execute(table.update().where(table.c.id == shipment_id).values(**values))
    queries.put(tx.connection, estimates, promised)
    if links:
        tx.connection.execute(queries.upsert(tx.connection, shipment_links).on_conflict_do_nothing(), links)


def _partly(p: Parsed, report: Report) -> bool:
    """Say whether a piece of what a payload tells of a number could not be read: what it lacks proves nothing then."""
    return any(unread.subject in ("", report.number) for unread in p.unread)


def _pushed(tx: Transaction, pushed: set[int], told: Mapping[tuple[int, str], str]) -> None:
    """Note that webhooks told scans that a poll of their account told first: those are not missing.

    `pushed` are such scans, `told` others that may be: their keys, and who told them.
    """
    if told:
        s = scans.c
        here = queries.among(tx.connection, s.shipment_id, sorted({shipment_id for shipment_id, _ in told}))
        columns = sa.select(s.id, s.shipment_id, s.fingerprint, s.account).where(here, s.pushed_at.is_(None))
        rows = tx.connection.execute(columns)
        pushed |= {row.id for row in rows if told.get((row.shipment_id, row.fingerprint)) == row.account}
    if pushed:
        here = queries.among(tx.connection, scans.c.id, sorted(pushed))
        tx.connection.execute(scans.update().where(here).values(pushed_at=tx.now))
