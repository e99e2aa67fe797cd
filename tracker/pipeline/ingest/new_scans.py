"""The scans that a batch stores: each finds its generation, or opens the next one of its number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from tracker.domain.facts import UNMAPPED, Report, Scan, StoredScan
from tracker.domain.personal import ERASED
from tracker.domain.timeline import ANEW_AFTER, MOST_SCANS, begins_anew, summarize
from tracker.domain.vocabulary import Reason, ShippingStatus, Trust, Zone
from tracker.pipeline.ingest.generations import home
from tracker.pipeline.ingest.histories import Histories
from tracker.pipeline.ingest.parse import Parsed
from tracker.pipeline.ingest.scans import STORED_SCAN, look_up, select_stored_scans, stored_scan, stored_scan_whole
from tracker.pipeline.ingest.shipments import LockedShipment, Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.pipeline.ingest.watches import Key, Watches
from tracker.store import queries
from tracker.store.tables import scans

_WRITTEN = (*STORED_SCAN, scans.c.inbox_id)
Prints = dict[int, set[str]]  # fingerprints of what one report tells, by shipment


class Placed(NamedTuple):
    """A scan with its place in time and its fingerprint."""

    instant: datetime
    zone: Zone
    printed: str
    scan: Scan


class Written(NamedTuple):
    """The scans that were not stored before, by shipment, and who tells by webhook those that were, by their keys."""

    fresh: dict[int, list[StoredScan]]
    pushed: Mapping[tuple[int, str], str]


class NewScans:
    """The scans that a batch stores, by shipment and fingerprint.

    `touched` are the shipments that get scans, `anew` those whose stored scans changed, `poll_now` shipments with the
    account that heard of them by a webhook that nobody vouches for, or by a feed that told a code without a meaning.
    """

    def __init__(self, tx: Transaction, shipments: Shipments, watches: Watches, histories: Histories) -> None:
        self._tx, self._shipments, self._watches, self._histories = tx, shipments, watches, histories
        self._rows: dict[tuple[int, str], dict[str, Any]] = {}
        self._ends: dict[int, datetime] = {}  # the first end among them, by shipment
        self.touched: set[int] = set()
        self.anew: set[int] = set()
        self.poll_now: set[Key] = set()
        self._unclear: set[str] = set()  # fingerprints of what a feed told, and its code alone does not say

    def add(self, p: Parsed, report: Report, number: str, one: Placed, prints: Prints) -> None:
        """Take a scan that may not be stored yet. `prints`: what its report tells so far; the scan is added to it."""
        row = self._row(p, report, number, one, prints)
        key = (row["shipment_id"], one.printed)
        prints[row["shipment_id"]].add(one.printed)
        before = self._rows.get(key)
        if before is not None and before["account"] == row["account"]:
            row["pushed_at"] = before["pushed_at"] = before["pushed_at"] or row["pushed_at"]
        if before is None or (before["confirmed_at"] is None and row["confirmed_at"] is not None):
            self._rows[key] = row

    def store(self) -> Written:
        """Store them; those that are there are confirmed."""
        tx, rows = self._tx, self._rows
        fresh: dict[int, list[StoredScan]] = defaultdict(list)
        pushed = {key: row["account"] for key, row in rows.items() if row["pushed_at"] is not None}
        for written in queries.put(tx.connection, scans, list(rows.values()), _told_again, returning=_WRITTEN):
            new = stored_scan(written)
            fresh[written[0]].append(new)
            key = (written[0], new.fingerprint)
            if written[-1] == rows[key]["inbox_id"]:  # it was not told before
                pushed.pop(key, None)
                if new.fingerprint in self._unclear:
                    self.poll_now.add((written[0], rows[key]["account"]))
                if new.meaning.reason is Reason.UNMAPPED:
                    tx.ctx.count("tracker_unmapped_codes_total", carrier=self._shipments[written[0]].carrier)
        return Written(fresh, pushed)

    def _row(self, p: Parsed, report: Report, number: str, one: Placed, prints: Prints) -> dict[str, Any]:
        """Return what is stored of a scan."""
        account, payload = p.account, p.payload
        assert account is not None and payload is not None
        instant, zone, printed, scan = one
        parcel = home(self._tx, self._shipments, self._watches, report.carrier, number, instant, report.piece)
        code, place = scan.code, scan.place
        meaning = look_up(account, code) or UNMAPPED
        if scan.leg is not None:
            meaning = replace(meaning, leg=scan.leg)
        shared = payload.kind == "webhook" and account.carrier.trust is Trust.SHARED
        if meaning.status is not None and meaning.status is not ShippingStatus.UNKNOWN:
            told = StoredScan(printed, code.space, code.code, meaning, instant, zone, scan.precision, place, not shared)
            parcel = self._next_generation(parcel, told, prints)
        self.touched.add(parcel.id)
        if shared:
            self.poll_now.add((parcel.id, account.name))
        if payload.kind == "sweep" and (meaning.status is None or meaning.status is ShippingStatus.UNKNOWN):
            self._unclear.add(printed)
        return {
            "shipment_id": parcel.id,
            "fingerprint": printed,
            "account": account.name,
            "space": code.space,
            "code": code.code,
            "text": ERASED if parcel.erased and code.text else code.text,
            "status": meaning.status,
            "reason": meaning.reason,
            "leg": meaning.leg,
            "correction": meaning.correction,
            "local": scan.local.isoformat() if scan.local else None,
            "instant": instant,
            "zone": zone,
            "precision": scan.precision,
            "city": place.city,
            "region": place.region,
            "postcode": place.postcode,
            "country": place.country,
            "inbox_id": p.row.id,
            "first_seen_at": self._tx.now,
            "pushed_at": self._tx.now if payload.kind == "webhook" else None,
            "confirmed_at": None if shared else min(payload.received_at, self._tx.now),
        }

    def _next_generation(self, parcel: LockedShipment, told: StoredScan, prints: Prints) -> LockedShipment:
        """Open a generation where a scan shows that an ended journey's number was given to another parcel."""
        status, summary = told.meaning.status, parcel.summary
        assert status is not None
        if status.terminal and told.confirmed:
            self._ends[parcel.id] = min(told.instant, self._ends.get(parcel.id, told.instant))
        if not status.custody and status is not ShippingStatus.PRE_TRANSIT:
            return parcel
        ends = [summary.since if summary.status.terminal else None, self._ends.get(parcel.id)]
        if summary.taken_back is not None:  # by what may have been another parcel's
            ends.append(summary.taken_back.told_at)
        if all(end is None or told.instant - end < ANEW_AFTER for end in ends):
            return parcel
        if not begins_anew(summarize(self._told_before(parcel, told.instant)), told):
            return parcel
        generations = self._shipments.generations(parcel.carrier, parcel.number)
        later = [p for p in generations if p.generation > parcel.generation]
        return later[-1] if later else self._begin_anew(parcel, told.instant, prints)

    def _told_before(self, parcel: LockedShipment, instant: datetime) -> list[StoredScan]:
        """Return what was told of a parcel that happened before a moment, in this batch too."""
        rows = self._tx.connection.execute(select_stored_scans(self._tx.sqlite), {"ids": [parcel.id]})
        stored = [one for row in rows if (one := stored_scan_whole(row)).instant < instant]
        fresh = [
            stored_scan([row.get(column.name, parcel.id) for column in STORED_SCAN])
            for (shipment_id, _), row in self._rows.items()
            if shipment_id == parcel.id and row["instant"] < instant
        ]
        return [*fresh, *stored][:MOST_SCANS]

    def _begin_anew(self, parcel: LockedShipment, starts_at: datetime, prints: Prints) -> LockedShipment:
        """Open the next generation of a number; what was taken for the old parcel's since then is the new one's."""
        fresh = self._shipments.create(parcel.carrier, parcel.number, parcel.generation + 1, starts_at, None)
        s = scans.c
        here = sa.and_(s.shipment_id == parcel.id, s.instant >= starts_at)
        moved = set(
            self._tx.connection.execute(
                scans.update().where(here).values(shipment_id=fresh.id).returning(s.fingerprint)
            ).scalars()
        )
        if moved:
            self.anew |= {parcel.id, fresh.id}
            self.touched |= {parcel.id, fresh.id}
            self._histories.move(parcel.id, fresh.id, moved)
        for key, row in list(self._rows.items()):
            if key[0] == parcel.id and row["instant"] >= starts_at:
                self._rows[fresh.id, key[1]] = self._rows.pop(key) | {"shipment_id": fresh.id}
                moved.add(key[1])
                self.touched.add(fresh.id)
        if mine := moved & prints.get(parcel.id, set()):
            prints[parcel.id] -= mine
            prints[fresh.id] |= mine
        return fresh


def _told_again(insert: Any) -> Any:
    """Confirm a scan that is there, and let one that was missed count again where it was asked for after that.

    `confirmed_at` is when what tells it was asked for. A webhook that nobody vouches for brings nothing back: the poll that
    it causes does.
    """
    missed = sa.func.coalesce(scans.c.missing_since, scans.c.withdrawn_at)
    newer = missed < insert.excluded.confirmed_at
    return insert.on_conflict_do_update(
        index_elements=["shipment_id", "fingerprint"],
        set_={
            "confirmed_at": sa.func.coalesce(scans.c.confirmed_at, insert.excluded.confirmed_at),
            "withdrawn_at": sa.case((newer, None), else_=scans.c.withdrawn_at),
            "missing_since": sa.case((newer, None), else_=scans.c.missing_since),
        },
        where=sa.or_(
            sa.and_(missed.isnot(None), newer),
            sa.and_(scans.c.confirmed_at.is_(None), insert.excluded.confirmed_at.isnot(None)),
        ),
    )
