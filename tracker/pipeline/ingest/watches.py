"""Which accounts watch a shipment, what each of them knows of it, and when it is asked again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from tracker.domain.cadence import next_poll
from tracker.domain.facts import UNIDENTIFIED, Report
from tracker.domain.vocabulary import TrackingState
from tracker.pipeline.ingest.shipments import LockedShipment, Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.store import queries
from tracker.store.tables import fulfilment_shipments, watches

Key = tuple[int, str]  # a shipment and an account


@dataclass
class _Watch:
    """What one account knows of one shipment; `id` is None where that is not stored yet."""

    id: int | None
    state: str
    as_of: datetime | None
    next_poll_at: datetime | None
    changed: bool = False


class Watches:
    """What accounts know of the shipments of a batch; stored once, at its end."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._known: dict[Key, _Watch] = {}

    def begin(self, parcel: LockedShipment) -> bool:
        """Let every account that speaks for the carrier watch this shipment, at once. Returns whether there is one."""
        carrier = None if parcel.carrier.startswith(UNIDENTIFIED) else parcel.carrier
        watchers = self._tx.ctx.config.watchers(carrier)
        rows = [
            queries.polled_now(parcel.id, account.name, self._tx.now, registers=account.carrier.registers)
            for account in watchers
            if (parcel.id, account.name) not in self._known
        ]
        if rows:
            connection = self._tx.connection
            connection.execute(queries.upsert(connection, watches).on_conflict_do_nothing(), rows)
        return bool(watchers)

    def read(self, shipment_ids: Iterable[int]) -> None:
        """Read what accounts know of shipments."""
        ids = {"ids": list(set(shipment_ids))}
        for shipment_id, account, *watch in self._tx.connection.execute(_watching(self._tx.sqlite), ids).all():
            self._known[shipment_id, account] = _Watch(*watch)

    def tell(self, parcel: LockedShipment, account: str, report: Report, as_of: datetime) -> bool:
        """Take an account's word for a shipment that was read. Returns False where the account told a newer one before."""
        watch = self._known.get((parcel.id, account))
        if watch is None:
            self._known[parcel.id, account] = _Watch(None, report.tracking, as_of, None, changed=True)
            return True
        if watch.as_of is not None and as_of < watch.as_of:
            return False
        state: str = report.tracking
        if state == TrackingState.NOT_FOUND and parcel.summary.scans:
            state = watch.state  # they told of it before: one "not found" does not unsay that
        watch.changed |= (watch.state, watch.as_of) != (state, as_of)
        watch.state, watch.as_of = state, as_of
        return True

    def store(
        self,
        shipments: Shipments,
        touched: Iterable[int],
        poll_now: set[Key],
        ask_again: Mapping[Key, datetime | None],
    ) -> None:
        """Store what accounts know of touched shipments, and when each is asked again.

        `poll_now` are asked at once; of those in `ask_again` the next answer counts even if it is the same, by the moment
        that is given.
        """
        if unread := set(touched) - {shipment_id for shipment_id, _ in self._known}:
            self.read(unread)
        fresh, changed, told = [], [], []
        for key, watch in self._known.items():
            shipment_id, account = key
            parcel = shipments[shipment_id]
            at = watch.next_poll_at
            if parcel.linked:  # nobody ordered the others: told by webhooks only
                at = self._next_poll(parcel, watch, at_once=key in poll_now, soon=ask_again.get(key))
            if not watch.changed and at == watch.next_poll_at:
                continue
            values = {"tracking_state": watch.state, "as_of": watch.as_of, "next_poll_at": at}
            if watch.id is None:
                named = {"shipment_id": shipment_id, "account": account}
                fresh.append({**named, **values, "attempts": 0, "failures": 0})
                if parcel.linked:  # nobody was to ask about it, and this account told
                    told.append(shipment_id)
            else:
                changed.append({"b_id": watch.id, **values})
        connection = self._tx.connection
        queries.put(connection, watches, fresh)
        queries.change(connection, watches, changed)
        if told:
            fs = fulfilment_shipments.c
            here = sa.and_(queries.among(connection, fs.shipment_id, told), fs.unwatched.isnot(None))
            connection.execute(fulfilment_shipments.update().where(here).values(unwatched=None))
        if ask_again:  # an answer that is the same as the last one is not stored: this one must be
            again = [watch.id for key, watch in self._known.items() if key in ask_again and watch.id is not None]
            here = queries.among(connection, watches.c.id, again)
            connection.execute(watches.update().where(here).values(response_hash=None))
        if poll_now:
            self._tx.ctx.notify("poll")

    def _next_poll(
        self, parcel: LockedShipment, watch: _Watch, *, at_once: bool, soon: datetime | None
    ) -> datetime | None:
        if at_once and parcel.summary.scans:
            at: datetime | None = self._tx.now
        else:
            at = next_poll(
                parcel.summary, TrackingState(watch.state), self._tx.ctx.config.cadence, self._tx.now,
                number=parcel.number, began=parcel.starts_at, edd=parcel.edd,
            )  # fmt: skip
        return min(at or soon, soon) if soon is not None else at


@cache
def _watching(sqlite: bool) -> sa.Select[Any]:
    t = watches.c
    here = queries.one_of(sqlite, t.shipment_id, "ids")
    return sa.select(t.shipment_id, t.account, t.id, t.tracking_state, t.as_of, t.next_poll_at).where(here)
