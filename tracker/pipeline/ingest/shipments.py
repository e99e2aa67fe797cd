"""The shipments of a batch: locked, read once, found by number and generation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from tracker.domain.facts import Edd, Summary
from tracker.domain.personal import ERASED
from tracker.domain.vocabulary import ShippingStatus
from tracker.pipeline.ingest.transaction import Transaction
from tracker.store import queries
from tracker.store.codec import SUMMARY, dump
from tracker.store.tables import scans, shipments, watches

_EMPTY = dump(SUMMARY, Summary())


@dataclass
class LockedShipment:
    """A shipment as its batch works on it."""

    id: int
    carrier: str
    number: str
    generation: int
    starts_at: datetime
    piece: str | None
    linked: bool
    summary: Summary
    edd: Edd | None
    closed_at: datetime | None
    linked_at: datetime | None = None  # when an order first named it
    leg_of: int | None = None  # the parcel whose last mile this number is
    erased: bool = False  # what carriers write of it is not kept any more
    told: ShippingStatus = ShippingStatus.UNKNOWN  # its status before this batch, where an order named it then


class Shipments:
    """The shipments that a batch knows."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._parcels: dict[int, LockedShipment] = {}
        self._by_number: dict[str, list[LockedShipment]] = defaultdict(list)
        self._legs: dict[int, list[LockedShipment]] = {}  # of what is loaded, by the whole parcel
        self._loaded: set[str] = set()

    def load(self, numbers: Iterable[str]) -> None:
        """Lock and read all shipments under these numbers."""
        connection, sqlite = self._tx.connection, self._tx.sqlite
        wanted = sorted(set(numbers) - self._loaded)
        if not wanted:
            return
        more = connection.execute(_of_one_parcel(sqlite), {"numbers": wanted}).scalars().all()
        wanted = sorted({*wanted, *more} - self._loaded)
        self._loaded |= set(wanted)
        if not sqlite:  # lock order: watches by id, then shipments by key
            ids = connection.execute(_numbered(), {"numbers": wanted}).scalars().all()
            connection.execute(_tracked(), {"ids": ids}).all()
        found = [self._know(row) for row in connection.execute(_shipped(sqlite), {"numbers": wanted}).all()]
        if late := [p.leg_of for p in found if p.leg_of is not None and p.leg_of not in self._parcels]:
            here = queries.among(connection, shipments.c.id, late)  # it became one while we waited for the lock
            self.load(connection.execute(sa.select(shipments.c.number).where(here)).scalars())

    def __getitem__(self, shipment_id: int) -> LockedShipment:
        return self._parcels[shipment_id]

    def known(self) -> Collection[LockedShipment]:
        """Return all that this batch has read."""
        return self._parcels.values()

    def under(self, number: str) -> list[LockedShipment]:
        """Return the shipments of a number, of all carriers, as they came to be known."""
        return self._by_number[number]

    def generations(self, carrier: str, number: str) -> list[LockedShipment]:
        """Return a carrier's shipments of a number, the newest generation first."""
        mine = (p for p in self._by_number[number] if p.carrier == carrier)
        return sorted(mine, key=lambda p: p.generation, reverse=True)

    def whole(self, parcel: LockedShipment) -> LockedShipment:
        """Return the parcel whose last mile this number is, or itself."""
        return parcel if parcel.leg_of is None else self.find(parcel.leg_of)

    def legs(self, shipment_id: int) -> list[LockedShipment]:
        """Return the last miles of a parcel, as they came to be known."""
        return sorted(self._legs.get(shipment_id, ()), key=lambda p: p.id)

    def families(self, shipment_ids: Iterable[int]) -> set[int]:
        """Return shipments with those that tell of the same parcels under other numbers."""
        if not self._legs:
            return set(shipment_ids)
        wholes = [self.whole(self[shipment_id]) for shipment_id in shipment_ids]
        return {p.id for whole in wholes for p in (whole, *self.legs(whole.id))}

    def find(self, shipment_id: int) -> LockedShipment:
        """Return a shipment, also one under a number that this batch does not speak of."""
        known = self._parcels.get(shipment_id)
        if known is None:
            here = shipments.c.id == shipment_id
            known = self._know(self._tx.connection.execute(sa.select(shipments).where(here)).one())
        return known

    def create(
        self, carrier: str, number: str, generation: int, starts_at: datetime, piece: str | None
    ) -> LockedShipment:
        """Open a generation of a number; where another process was first, it is that one."""
        values = {
            "carrier": carrier, "number": number, "generation": generation, "status": "unknown", "summary": _EMPTY,
            "starts_at": starts_at, "piece": piece, "linked": False,
        }  # fmt: skip
        connection = self._tx.connection
        connection.execute(queries.upsert(connection, shipments).on_conflict_do_nothing(), values)
        key = (shipments.c.carrier == carrier, shipments.c.number == number, shipments.c.generation == generation)
        return self._know(connection.execute(queries.locked(connection, sa.select(shipments).where(*key))).one())

    def change(self, parcel: LockedShipment, **values: Any) -> None:
        """Give a shipment another value in columns that are fields of its too; reports count it anew."""
        if "leg_of" in values and parcel.leg_of is not None:
            self._legs[parcel.leg_of].remove(parcel)
        for name, value in values.items():
            setattr(parcel, name, value)
        if "leg_of" in values and parcel.leg_of is not None:
            self._legs.setdefault(parcel.leg_of, []).append(parcel)
        here = shipments.c.id == parcel.id
        self._tx.connection.execute(shipments.update().where(here).values(**values, recount=True))

    def erase(self, shipment_ids: Collection[int]) -> None:
        """Keep no more what carriers write of shipments, nor what they wrote: an order of which that was erased has them now."""
        fresh = [parcel for i in shipment_ids if not (parcel := self[i]).erased]
        for parcel in fresh:
            parcel.erased = True
        if ids := [parcel.id for parcel in fresh]:
            s, connection = scans.c, self._tx.connection
            connection.execute(shipments.update().where(shipments.c.id.in_(ids)).values(erased_at=self._tx.now))
            texts = sa.and_(s.shipment_id.in_(ids), s.text.not_in(["", ERASED]))
            connection.execute(scans.update().where(texts).values(text=ERASED))

    def _know(self, row: Row[Any]) -> LockedShipment:
        if row.id in self._parcels:
            return self._parcels[row.id]
        edd = Edd(row.edd_begins, row.edd_ends) if row.edd_begins and row.edd_ends else None
        summary = SUMMARY.validate_python(row.summary)
        parcel = LockedShipment(
            row.id, row.carrier, row.number, row.generation, row.starts_at, row.piece, row.linked, summary, edd,
            row.closed_at, row.linked_at, row.leg_of, row.erased_at is not None,
            summary.status if row.linked else ShippingStatus.UNKNOWN,
        )  # fmt: skip
        self._parcels[row.id] = parcel
        self._by_number[row.number].append(parcel)
        if parcel.leg_of is not None:
            self._legs.setdefault(parcel.leg_of, []).append(parcel)
        return parcel


def is_over(shipments: Shipments, parcel: LockedShipment) -> bool:
    """Say whether a journey ended, by its own scans or, of a last mile, by those of the whole parcel."""
    return any(one.summary.status.terminal and not one.summary.disputed for one in (parcel, shipments.whole(parcel)))


# Statements that every batch says are made once. Those without `sqlite` lock rows, which PostgreSQL alone does.


@cache
def _of_one_parcel(sqlite: bool) -> sa.CompoundSelect[Any]:
    """Select the numbers under which other carriers tell of the same parcels."""
    here = queries.one_of(sqlite, shipments.c.number, "numbers")
    mine, other, leg = shipments, shipments.alias(), shipments.alias()
    wholes = sa.select(other.c.number).join(mine, mine.c.leg_of == other.c.id).where(here)
    known = sa.select(sa.func.coalesce(mine.c.leg_of, mine.c.id)).where(here)
    return sa.union(wholes, sa.select(leg.c.number).where(leg.c.leg_of.is_not(None), leg.c.leg_of.in_(known)))


@cache
def _numbered() -> sa.Select[Any]:
    return sa.select(shipments.c.id).where(queries.one_of(False, shipments.c.number, "numbers"))


@cache
def _tracked() -> sa.Select[Any]:
    here = queries.one_of(False, watches.c.shipment_id, "ids")
    return sa.select(watches.c.id).where(here).order_by(watches.c.id).with_for_update()


@cache
def _shipped(sqlite: bool) -> sa.Select[Any]:
    select = sa.select(shipments).where(queries.one_of(sqlite, shipments.c.number, "numbers"))
    order = (shipments.c.carrier, shipments.c.number, shipments.c.generation)
    return select if sqlite else select.order_by(*order).with_for_update()
