"""What accounts know of a shipment, and when who is asked about it is asked again."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from tracker.config.recognized import may_be_asked
from tracker.domain.cadence import is_urgent, next_poll
from tracker.domain.choice import DOES_NOT_KNOW
from tracker.domain.facts import EPOCH, Report
from tracker.domain.vocabulary import TrackingState
from tracker.pipeline import feeds, registration, whose
from tracker.pipeline.ingest.shipments import LockedShipment, Shipments, is_over
from tracker.pipeline.ingest.transaction import Transaction
from tracker.plugin.contracts import Carrier
from tracker.store import queries
from tracker.store.codec import plain
from tracker.store.tables import accounts, watches

Key = tuple[int, str]  # a shipment and an account


@dataclass
class _Watch:
    """What one account knows of one shipment; `id` is None where that is not stored yet, `chosen` where it is only heard."""

    id: int | None
    state: str
    as_of: datetime | None
    next_poll_at: datetime | None
    chosen: str | None = None
    store: str | None = None
    urgent: bool = False
    registered_at: datetime | None = None
    rejected_reason: str | None = None
    fed_at: datetime | None = None
    said: str | None = None
    well_since: datetime | None = None  # when its account told again after a long absence, or we were back
    changed: bool = False
    told_again: bool = False  # only what was sent while we were away is told just now: that moves no look
    found: bool = False  # it knows the parcel now, and did not before


class Watches:
    """What accounts know of the shipments of a batch; stored once, at its end."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._known: dict[Key, _Watch] = {}
        self._choose: set[int] = set()
        self._over: set[int] = set()

    def begin(self, parcel: LockedShipment, store: str | None = None, country: str = "") -> bool:
        """Have somebody chosen who is asked about this shipment, at once. Returns whether a store has an account for it."""
        self._choose.add(parcel.id)
        if store is None:
            return True
        carrier = whose.known_carrier(parcel.carrier)
        return bool(may_be_asked(self._tx.ctx.config, carrier, parcel.number, store, country))

    def register(self, parcel: LockedShipment) -> None:
        """Have who was asked about a shipment told of it, now that its carrier is known: it could have been another's."""
        mine = self._tx.ctx.config.carrier_accounts()
        tells = [one.name for one in mine if one.carrier.registers and not one.carrier.registers_first]
        w = watches.c
        asked = (w.shipment_id == parcel.id, w.chosen.isnot(None), w.account.in_(tells))
        new = (w.registered_at.is_(None), w.rejected_reason.is_(None))
        self._tx.connection.execute(watches.update().where(*asked, *new).values(register_at=self._tx.now))

    def end(self, parcel: LockedShipment) -> None:
        """Have nobody asked about this shipment any more; who can stop tracking it is told to."""
        self._over.add(parcel.id)

    def choose(self) -> None:
        """Choose who is asked about the shipments that began, lost a link, or are not known to whom was asked."""
        if self._choose:
            whose.choose_among(self._tx.ctx, self._tx.connection, self._choose, self._tx.now)
        for shipment_id in sorted(self._over):
            w, nobody = (
                watches.c,
                {"chosen": None, "store": None, "next_poll_at": None, "overdue_since": None, "urgent": False},
            )
            here = sa.select(w.id, w.account, w.registered_at).where(w.shipment_id == shipment_id).order_by(w.id)
            for watch in self._tx.connection.execute(here).all():
                carrier = self._carrier(watch.account)
                stops = carrier is not None and carrier.stops and watch.registered_at is not None
                values = nobody | {"register_at": self._tx.now if stops else None}
                self._tx.connection.execute(watches.update().where(w.id == watch.id).values(**values))

    def read(self, shipment_ids: Iterable[int]) -> None:
        """Read what accounts know of shipments."""
        ids = {"ids": list(set(shipment_ids))}
        for shipment_id, account, *watch in self._tx.connection.execute(_watching(self._tx.sqlite), ids).all():
            self._known[shipment_id, account] = _Watch(*watch)

    def asks(self, parcel: LockedShipment, account: str) -> bool:
        """Say whether an account is the one that is asked about a shipment that was read."""
        watch = self._known.get((parcel.id, account))
        return watch is not None and watch.chosen is not None

    def news_since(self, parcel: LockedShipment, account: str) -> datetime | None:
        """Return from when on what an account tells of a shipment that was read is news; None: it is catching up, or no order names it.

        The first that it tells after it, or we, had been away catches up: where the parcel stood meanwhile nobody told.
        """
        if not parcel.linked:
            return None
        watch, linked_at = self._known.get((parcel.id, account)), parcel.linked_at or EPOCH
        if watch is None or watch.well_since is None:
            return linked_at
        if watch.as_of is None:
            return max(linked_at, watch.well_since)
        return linked_at if watch.as_of >= watch.well_since else None

    def tell(
        self,
        parcel: LockedShipment,
        account: str,
        report: Report,
        as_of: datetime,
        *,
        fed: bool = False,
        again: bool = False,
    ) -> bool:
        """Take an account's word for a shipment that was read. Returns False where the account told a newer one before.

        `fed`: its feed told so. `again`: it was sent while we were away; the look that is due since we are back is still wanted.
        """
        watch = self._known.get((parcel.id, account))
        fed_at = self._tx.now if fed else None
        said = plain(report.said) or None
        if watch is None:
            self._known[parcel.id, account] = _Watch(
                None, report.tracking, as_of, None, fed_at=fed_at, said=said, changed=True
            )
            return True
        watch.told_again = again
        if fed_at is not None:
            watch.fed_at, watch.changed = fed_at, True
        if watch.as_of is not None and as_of < watch.as_of:
            return False
        state: str = report.tracking
        carrier = self._carrier(account)
        if carrier is not None and carrier.stops and watch.state == TrackingState.STOPPED:
            state, said = watch.state, watch.said  # whatever was told before; it is tracked again where we ask for that
        elif state == TrackingState.NOT_FOUND and parcel.summary.scans:
            state, said = watch.state, watch.said  # they told of it before: one "not found" does not unsay that
        elif (
            state == TrackingState.NOT_FOUND
            and carrier is not None
            and registration.settles(carrier, watch.registered_at, self._tx.now)
        ):
            state = TrackingState.PENDING
        watch.changed |= (watch.state, watch.as_of, watch.said) != (state, as_of, said)
        watch.found |= watch.state in DOES_NOT_KNOW and state not in DOES_NOT_KNOW
        watch.state, watch.as_of, watch.said = state, as_of, said
        return True

    def store(
        self,
        shipments: Shipments,
        touched: Iterable[int],
        poll_now: set[Key],
        ask_again: Mapping[Key, datetime | None],
        beside: Container[int] = (),
    ) -> None:
        """Store what accounts know of touched shipments, and when who is asked about each is asked again.

        `poll_now`: shipments with the account that told of them, about which is asked at once; of those in `ask_again` the
        next answer counts even if it is the same, by the moment that is given. `beside`: others tell of the same parcel, which
        puts no look off.
        """
        if unread := set(touched) - {shipment_id for shipment_id, _ in self._known}:
            self.read(unread)
        sooner = {shipment_id for shipment_id, _ in poll_now}
        fresh, changed = [], []
        again: list[int] = []
        fed = self._fed()
        asked = {shipment_id for (shipment_id, _), watch in self._known.items() if watch.chosen is not None}
        for key, watch in self._known.items():
            shipment_id, account = key
            parcel = shipments[shipment_id]
            if parcel.linked and (shipment_id not in asked or (watch.changed and self._doubts(parcel, watch))):
                self._choose.add(shipment_id)
            at, urgent = watch.next_poll_at, watch.urgent
            if watch.chosen is not None and self._is_asked(account):  # the others tell by webhooks or files only
                at_once, soon = shipment_id in sooner, ask_again.get(key)
                at, urgent = self._next_poll(parcel, account, watch, at_once=at_once, soon=soon, fed=key in fed)
                if parcel.leg_of is not None and _told_enough(shipments, parcel):
                    at = None
                if shipment_id in beside and at is not None:
                    at, urgent = min(at, watch.next_poll_at or at), urgent or watch.urgent
                again += [watch.id] if watch.id is not None and self._tracked_again(parcel, account, watch) else []
            if watch.told_again and watch.next_poll_at is not None:
                at, urgent = min(at or watch.next_poll_at, watch.next_poll_at), urgent or watch.urgent
            if not watch.changed and (at, urgent) == (watch.next_poll_at, watch.urgent):
                continue
            values = {
                "tracking_state": watch.state, "as_of": watch.as_of, "next_poll_at": at, "urgent": urgent,
                "fed_at": watch.fed_at, "said": watch.said,
            }  # fmt: skip
            if watch.id is None:
                named = {"shipment_id": shipment_id, "account": account}
                fresh.append({**named, **values, "attempts": 0, "failures": 0})
            else:
                changed.append({"b_id": watch.id, **values})
        connection = self._tx.connection
        queries.put(connection, watches, fresh)
        queries.change(connection, watches, changed)
        if again:
            here = queries.in_order(connection, watches.c.id, queries.among(connection, watches.c.id, again))
            connection.execute(
                watches.update().where(here, watches.c.register_at.is_(None)).values(register_at=self._tx.now)
            )
        if ask_again:
            self._ask_again(ask_again)
        if poll_now or again:
            self._tx.ctx.notify("poll")

    def _ask_again(self, keys: Container[Key]) -> None:
        """Have an answer stored that is the same as the last one, which it is not else."""
        anew = [watch.id for key, watch in self._known.items() if key in keys and watch.id is not None]
        here = queries.among(self._tx.connection, watches.c.id, anew)
        self._tx.connection.execute(watches.update().where(here).values(response_hash=None))

    def _is_asked(self, name: str) -> bool:
        account = self._tx.ctx.account(name)
        return account is None or account.is_asked

    def _fed(self) -> set[Key]:
        """Return which accounts' feeds tell what becomes of which parcels: those that are whole, of what they told of before.

        Not of parcels of which they told what an answer must explain and none did.
        """
        if not any(watch.fed_at is not None and watch.chosen is not None for watch in self._known.values()):
            return set()
        whole = feeds.whole(self._tx.ctx, self._tx.connection, self._tx.now)
        told = {key for key, watch in self._known.items() if watch.fed_at is not None and key[1] in whole}
        open_ = feeds.unexplained(self._tx.connection, sorted({shipment_id for shipment_id, _ in told})) if told else ()
        return {key for key in told if key[0] not in open_}

    def _doubts(self, parcel: LockedShipment, watch: _Watch) -> bool:
        """Say whether what an account told may have another be asked: it does not know the parcel, or it does and was passed over."""
        if watch.chosen is None:
            return watch.found
        config, carrier = self._tx.ctx.config, parcel.carrier
        return whose.does_not_know(config, carrier, watch.store, watch.state, parcel.starts_at, self._tx.now)

    def _carrier(self, account: str) -> Carrier | None:
        known = self._tx.ctx.config.accounts.get(account)
        return known.carrier if known is not None and not known.is_store else None

    def _tracked_again(self, parcel: LockedShipment, account: str, watch: _Watch) -> bool:
        """Say whether the source shall be asked to track again what it stopped: an order still waits for the parcel."""
        stopped = watch.state == TrackingState.STOPPED and watch.rejected_reason is None
        if not stopped or not watch.changed or not parcel.linked or parcel.summary.status.terminal:
            return False
        carrier = self._carrier(account)
        return carrier is not None and carrier.stops

    def _next_poll(
        self,
        parcel: LockedShipment,
        account: str,
        watch: _Watch,
        *,
        at_once: bool,
        soon: datetime | None,
        fed: bool,
    ) -> tuple[datetime | None, bool]:
        """Return when an account is asked again, and whether before others. What a feed tells puts no look off."""
        now, cadence = self._tx.now, self._tx.ctx.config.cadence(account, parcel.carrier)
        urgent = at_once or is_urgent(parcel.summary, cadence, now, edd=parcel.edd, fed=fed)
        if (carrier := self._carrier(account)) is not None and registration.waits(carrier, watch.registered_at):
            return None, urgent
        if at_once and watch.state != TrackingState.STOPPED:
            return now, urgent
        began = parcel.starts_at  # of a last mile: since it is asked about, its parcel was on its way long before
        if parcel.leg_of is not None and parcel.linked_at is not None:
            began = max(began, parcel.linked_at)
        at = next_poll(
            parcel.summary, TrackingState(watch.state), cadence, now,
            number=parcel.number, began=began, edd=parcel.edd, fed=fed,
        )  # fmt: skip
        if fed and at is not None and watch.next_poll_at is not None:
            at, urgent = min(at, watch.next_poll_at), urgent or watch.urgent
        return (min(at or soon, soon) if soon is not None else at), urgent


def _told_enough(shipments: Shipments, leg: LockedShipment) -> bool:
    """Say whether a last mile need not be asked about: the whole parcel's journey is over, and not by its own word."""
    return not leg.summary.status.terminal and is_over(shipments, leg)


@cache
def _watching(sqlite: bool) -> sa.Select[Any]:
    t = watches.c
    here = queries.one_of(sqlite, t.shipment_id, "ids")
    return sa.select(
        t.shipment_id, t.account, t.id, t.tracking_state, t.as_of, t.next_poll_at, t.chosen, t.store, t.urgent,
        t.registered_at, t.rejected_reason, t.fed_at, t.said, accounts.c.well_since,
    ).outerjoin(accounts, accounts.c.name == t.account).where(here)  # fmt: skip
