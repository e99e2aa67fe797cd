"""Full histories: what is stored of them already, and what two of them do not tell any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Row

from tracker.config.model import Account
from tracker.domain.facts import Report, Scan
from tracker.domain.numbers import clean
from tracker.domain.timeline import Kept, missing_of
from tracker.domain.vocabulary import Precision, ShippingStatus, Zone
from tracker.pipeline.ingest.parse import Parsed
from tracker.pipeline.ingest.scans import look_up
from tracker.pipeline.ingest.shipments import Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.pipeline.ingest.watches import Key
from tracker.store import queries
from tracker.store.tables import scans


class Stored(NamedTuple):
    """A scan as it is stored: who told it first, whether somebody vouches for it, a look missed it, a webhook told it."""

    id: int
    account: str
    sure: bool
    missed: bool
    pushed: bool


class Full(NamedTuple):
    """A full history as an account told it: the fingerprints of its scans, when it was asked for, whose it is."""

    prints: set[str]
    asked: datetime
    account: Account
    scans: Sequence[Scan]


@dataclass
class Histories:
    """The full histories of a batch, and what was stored of their shipments before."""

    stored: dict[int, dict[str, Stored]] = field(default_factory=dict)  # by shipment and fingerprint
    told: dict[Key, Full] = field(default_factory=dict)  # the last one of each account
    again: dict[int, datetime] = field(default_factory=dict)  # scans a look missed, told again: when that was asked

    def move(self, old: int, new: int, prints: set[str]) -> None:
        """Follow scans that were given to another shipment."""
        known = self.stored.get(old, {})
        self.stored[new] = {printed: known.pop(printed) for printed in prints & known.keys()}


class Withdrawn(NamedTuple):
    """What came of withdrawing: whose stored scans changed, and whose next answer counts, by when."""

    shipments: set[int]
    ask_again: dict[Key, datetime | None]


def recall(tx: Transaction, shipments: Shipments, reports: Sequence[tuple[Parsed, Report]]) -> Histories:
    """Read which scans are stored of the parcels whose full histories come: most of what they tell was told before."""
    histories = Histories()
    numbers = {clean(report.number) for _, report in reports if report.complete}
    ids = [parcel.id for number in numbers for parcel in shipments.under(number)]
    if ids:
        histories.stored = {shipment_id: {} for shipment_id in ids}
        for shipment_id, printed, *stored in tx.connection.execute(_stored(tx.sqlite), {"ids": ids}).all():
            histories.stored[shipment_id][printed] = Stored(*stored)
    return histories


def withdraw(tx: Transaction, histories: Histories) -> Withdrawn:
    """Withdraw what two full histories of its account, an hour apart or more, do not tell any more.

    Each of them must still tell all of the account's older scans, and was asked for after the scan was told. The first
    notes what it misses (`missing_since`); a scan that is told in between is missed no more. What the history tells
    better is withdrawn at once.
    """
    _found(tx, histories.again)
    done = Withdrawn(set(), {})
    missed = {
        shipment_id
        for (shipment_id, account), (prints, *_) in histories.told.items()
        if prints
        and any(one.account == account and p not in prints for p, one in histories.stored.get(shipment_id, {}).items())
    }
    if not missed:
        return done
    told, gone = _missed(tx, missed, histories)
    done.shipments.update(row.shipment_id for row in gone)
    ids = [row.id for row in gone]
    noted: dict[datetime, list[int]] = defaultdict(list)
    for (shipment_id, account), (prints, asked, *_) in histories.told.items():
        missing = missing_of(told[shipment_id, account], prints, asked)
        if missing.gone:
            ids += missing.gone
            done.shipments.add(shipment_id)
        noted[asked] += missing.noted
        if missing.again_at is not None:
            done.ask_again[shipment_id, account] = missing.again_at if missing.an_end else None
    for asked, some in noted.items():
        if some:
            here = queries.among(tx.connection, scans.c.id, some)
            tx.connection.execute(scans.update().where(here).values(missing_since=asked))
    if ids:
        here = queries.among(tx.connection, scans.c.id, ids)
        tx.connection.execute(scans.update().where(here).values(withdrawn_at=tx.now))
        tx.ctx.count("tracker_scans_withdrawn_total", len(ids))
    return done


def _found(tx: Transaction, again: dict[int, datetime]) -> None:
    """Note of scans that are told again that they are missed no more."""
    s = scans.c
    for asked in sorted(set(again.values())):
        ids = [i for i, at in again.items() if at == asked]
        here = sa.and_(queries.among(tx.connection, s.id, ids), s.missing_since < asked)
        tx.connection.execute(scans.update().where(here).values(missing_since=None))


def _missed(
    tx: Transaction, shipment_ids: set[int], histories: Histories
) -> tuple[dict[Key, list[Kept]], list[Row[Any]]]:
    """Read the stored scans of shipments whose histories lack some: those that stand, by account, and those told better."""
    told: dict[Key, list[Kept]] = defaultdict(list)
    gone = []
    for row in tx.connection.execute(_history(tx.sqlite), {"ids": list(shipment_ids)}):
        full = histories.told.get((row.shipment_id, row.account))
        if full is not None and row.first_seen_at <= full.asked and _told_better(row, full):
            gone.append(row)
            continue
        end = row.status is not None and ShippingStatus(row.status).terminal
        one = Kept(row.id, row.fingerprint, row.instant, row.first_seen_at, row.missing_since, end)
        told[row.shipment_id, row.account].append(one)
    return told, gone


def _told_better(row: Row[Any], full: Full) -> bool:
    """Say whether a full history tells a scan anew that it lacks: the head of an answer, or one whose time was unreadable.

    It has another scan of the same code or status, at the same time, or with a time where that one had none of its own.
    """
    if row.fingerprint in full.prints:
        return False
    fine = 10 if row.precision == Precision.DATE else 19  # characters of a local time
    for scan in full.scans:
        code, local = scan.code, scan.local.isoformat() if scan.local else ""
        timeless = row.zone == Zone.UNKNOWN and bool(local or scan.occurred_at)
        if timeless or (local and row.local and local[:fine] == row.local[:fine]):
            meaning = look_up(full.account, code)
            same = meaning is not None and meaning.status is not None and meaning.status == row.status
            if same or (code.space, code.code) == (row.space, row.code):
                return True
    return False


@cache
def _stored(sqlite: bool) -> sa.Select[Any]:
    s = scans.c
    sure = sa.type_coerce(s.confirmed_at.is_not(None), sa.Integer)  # as it comes: rows are many
    missed = sa.type_coerce(s.missing_since.is_not(None), sa.Integer)
    here = queries.one_of(sqlite, s.shipment_id, "ids")
    pushed = sa.type_coerce(s.pushed_at.is_not(None), sa.Integer)
    columns = (s.shipment_id, s.fingerprint, s.id, s.account, sure, missed, pushed)
    return sa.select(*columns).where(here, s.withdrawn_at.is_(None))


@cache
def _history(sqlite: bool) -> sa.Select[Any]:
    s = scans.c
    here = queries.one_of(sqlite, s.shipment_id, "ids")
    columns = (
        s.shipment_id, s.account, s.status, s.id, s.fingerprint, s.instant, s.first_seen_at, s.missing_since, s.space, s.code,
        s.zone, s.local, s.precision,
    )  # fmt: skip
    return sa.select(*columns).where(here, s.withdrawn_at.is_(None))
