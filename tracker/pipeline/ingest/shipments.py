"""The shipments of a batch: locked, read once, found by number and generation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from tracker.domain.facts import Edd, Summary
from tracker.pipeline.ingest.transaction import Transaction
from tracker.store import queries
from tracker.store.codec import SUMMARY, dump
from tracker.store.tables import shipments, watches

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


class Shipments:
    """The shipments that a batch knows."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._parcels: dict[int, LockedShipment] = {}
        self._by_number: dict[str, list[LockedShipment]] = defaultdict(list)
        self._loaded: set[str] = set()

    def load(self, numbers: Iterable[str]) -> None:
        """Lock and read all shipments under these numbers."""
        wanted = sorted(set(numbers) - self._loaded)
        if not wanted:
            return
        self._loaded |= set(wanted)
        connection = self._tx.connection
        if not self._tx.sqlite:  # lock order: watches by id, then shipments by key
            ids = connection.execute(_numbered(), {"numbers": wanted}).scalars().all()
            connection.execute(_tracked(), {"ids": ids}).all()
        for row in connection.execute(_shipped(self._tx.sqlite), {"numbers": wanted}).all():
            self._know(row)

    def __getitem__(self, shipment_id: int) -> LockedShipment:
        return self._parcels[shipment_id]

    def under(self, number: str) -> list[LockedShipment]:
        """Return the shipments of a number, of all carriers, as they came to be known."""
        return self._by_number[number]

    def generations(self, carrier: str, number: str) -> list[LockedShipment]:
        """Return a carrier's shipments of a number, the newest generation first."""
        mine = (p for p in self._by_number[number] if p.carrier == carrier)
        return sorted(mine, key=lambda p: p.generation, reverse=True)

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
        """Give a shipment another value in columns that are fields of its too."""
        for name, value in values.items():
            setattr(parcel, name, value)
        here = shipments.c.id == parcel.id
        self._tx.connection.execute(shipments.update().where(here).values(**values))

    def _know(self, row: Row[Any]) -> LockedShipment:
        edd = Edd(row.edd_begins, row.edd_ends) if row.edd_begins and row.edd_ends else None
        summary = SUMMARY.validate_python(row.summary)
        parcel = LockedShipment(
            row.id, row.carrier, row.number, row.generation, row.starts_at, row.piece, row.linked, summary, edd,
            row.closed_at, row.linked_at,
        )  # fmt: skip
        self._parcels[row.id] = parcel
        self._by_number[row.number].append(parcel)
        return parcel


# Statements that every batch says are made once. Those without `sqlite` lock rows, which PostgreSQL alone does.


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
