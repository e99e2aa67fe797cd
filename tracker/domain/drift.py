"""The ledger: do shop and carriers say the same of an order? Facts, whatever the store's policy allows or wants.

Pure and total. Meanings are compared, not words: `Shipped` is true of whatever is under way, a label is no contradiction
of it before its time, and where the shop has no word for what the carrier says, its nearest earlier one agrees. How fine
its words are used while a parcel is under way (`In Transit`, `Out for Delivery`) is the merchant's habit, so it is read
from what the policy writes there; custody, delivery and return are no habit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tracker.domain.facts import Fulfilment, Order, Shipment, Statement
from tracker.domain.policy import Policy
from tracker.domain.reconcile import US, aggregate, began, by_number, covers, still_moves
from tracker.domain.vocabulary import (
    DriftKind,
    OrderStatus,
    ShippingStatus,
    StatementKind,
    TrackingState,
)

S, O, D = ShippingStatus, OrderStatus, DriftKind
# A difference that is younger may end by itself: a write of ours, a sweep, or a look at the carrier is on its way.
SETTLES = timedelta(minutes=15)

_LAST_MILE = frozenset({S.OUT_FOR_DELIVERY, S.DELIVERY_ATTEMPTED, S.AVAILABLE_FOR_PICKUP})
_BACK = frozenset({S.DELIVERY_FAILED, S.RETURNING, S.RETURNED, S.LOST, S.DESTROYED})
_ON_THE_DOORSTEP = frozenset({O.OUT_FOR_DELIVERY, O.DELIVERY_FAILED})
_UNDER_WAY = frozenset({O.SHIPPED, O.IN_TRANSIT, *_ON_THE_DOORSTEP})
_CAME_BACK = frozenset({S.RETURNED, S.DELIVERED, S.CANCELLED})  # delivered: the customer sent it back in another parcel
# what a source that was asked says; in the other states nobody has told us anything
_ANSWERED = frozenset({TrackingState.ACTIVE, TrackingState.NOT_FOUND, TrackingState.EXPIRED, TrackingState.FINAL})
_SHOWN_AS = {  # what a shop that shows a shipping status says by it
    S.PICKED_UP: O.SHIPPED, S.IN_TRANSIT: O.IN_TRANSIT, S.ON_HOLD: O.IN_TRANSIT, S.DELAYED: O.IN_TRANSIT,
    S.EXCEPTION: O.IN_TRANSIT, S.OUT_FOR_DELIVERY: O.OUT_FOR_DELIVERY, S.AVAILABLE_FOR_PICKUP: O.OUT_FOR_DELIVERY,
    S.DELIVERY_ATTEMPTED: O.DELIVERY_FAILED, S.DELIVERED: O.DELIVERED, S.DELIVERY_FAILED: O.DELIVERY_FAILED,
    S.RETURNING: O.DELIVERY_FAILED, S.RETURNED: O.RETURNED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between shop and carrier: both statuses in the shared words, and the shop's own word.

    `since`: from when on both said so. `caused_by`: whose word made the difference, an actor of the shop or a carrier.
    `wanted`: what the shop would say if it agreed, where one word of it does: an order status, or, with `fulfilment`,
    the shipping status that the shop shows of one.
    """

    kind: DriftKind
    shop: OrderStatus
    shop_said: str
    carrier: ShippingStatus
    parcel: Shipment
    since: datetime
    caused_by: str
    wanted: OrderStatus | ShippingStatus | None = None
    fulfilment: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """What the ledger says of an order, and when time alone would change that."""

    drifts: tuple[Drift, ...] = ()
    look_again_at: datetime | None = None


AGREED = Compared()


def compare(order: Order, shipments: Sequence[Shipment], policy: Policy, now: datetime) -> Compared:
    """Say how shop and carriers disagree about one order: one difference of a kind at most. Never raises.

    An order without parcels, or of whose parcels nobody told anything, disagrees with nobody: that is not knowledge
    either, and is told elsewhere. One that was placed to try the shop is nobody's.
    """
    if not shipments or order.gone or order.test or order.status is O.UNKNOWN:
        return AGREED
    case = _Case(order, shipments, policy, now)
    found: dict[DriftKind, Drift] = {}
    for drift in case.differences():
        found.setdefault(drift.kind, drift)
    if not found and not case.wake:
        return AGREED
    return Compared(tuple(found.values()), min((at for at in case.wake if at > now), default=None))


@dataclass
class _Case:
    """One order on the table."""

    order: Order
    shipments: Sequence[Shipment]
    policy: Policy
    now: datetime
    wake: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        numbered = by_number(self.shipments)
        self.parts = [
            (f, [s for p in f.parcels for s in numbered.get(p.number, ())]) for f in self.order.fulfilments if f.live
        ]
        self.every = [p for _, parcels in self.parts for p in parcels]
        # voided labels do not count, unless there is nothing else
        self.counted = [p for p in self.every if p.summary.status is not S.CANCELLED] or self.every

    def differences(self) -> Iterator[Drift]:
        if self.order.status is O.CANCELLED:
            yield from self.cancelled()
            return
        taken_back = [*self.taken_back()]
        yield from taken_back
        known = [p for p in self.counted if _told(p)]
        if not known:
            return
        if not taken_back:
            yield from self.ahead(known)
            yield from self.behind()
        if self.policy.words:
            for fulfilment, parcels in self.parts:
                yield from self.shown(fulfilment, parcels)

    def cancelled(self) -> Iterator[Drift]:
        for parcel in self.shipments:
            if still_moves(self.order, parcel):
                at = self.order.cancelled_at or began(self.order)
                since = max(at, parcel.summary.custody_at or at)
                if not self.accepted(since, parcel):
                    yield self.drift(D.CANCELLED_BUT_MOVING, parcel, since, self.order.actor)

    def taken_back(self) -> Iterator[Drift]:
        """Say where the carrier took back its Delivered, or its own later scan speaks against the end it told."""
        for fulfilment, parcels in self.parts:
            shown = fulfilment.published
            says_delivered = self.order.status is O.DELIVERED or (shown is not None and shown.status is S.DELIVERED)
            for parcel in parcels:
                if parcel.summary.disputed:
                    kind = D.CONTRADICTED
                elif parcel.summary.corrected and says_delivered:
                    kind = D.WITHDRAWN
                else:
                    continue
                at = shown.happened_at if shown is not None and self.order.status is not O.DELIVERED else None
                since = max(at or began(self.order), parcel.summary.doubted_at or _since(parcel, self.order))
                if not self.accepted(since, parcel) and not self.proved(at or began(self.order), parcel):
                    shop = O.DELIVERED if says_delivered else self.order.status
                    said = shown.raw if at is not None and shown is not None else self.order.raw_status
                    back = self.nearest(self.finer()) if kind is D.WITHDRAWN and at is None else None
                    yield Drift(kind, shop, said, parcel.summary.status, parcel, since, parcel.carrier, back)

    # the order's own status

    def ahead(self, known: Sequence[Shipment]) -> Iterator[Drift]:
        """Say where a carrier disproves the order's status."""
        status, since = self.order.status, began(self.order)
        if status is O.DELIVERED:
            wrong = [p for p in known if p.summary.status is not S.DELIVERED]
            settled = bool(wrong) and all(self.proved(since, p) for p in wrong)
        elif status is O.RETURNED:
            wrong = [p for p in known if p.summary.status not in _CAME_BACK]
            settled = self.said(StatementKind.INSPECTED, since)
        elif status.rank is None or status.rank < 40:
            return
        elif status in _ON_THE_DOORSTEP and self.order.actor != US:  # ours came from a scan that said so
            near = _LAST_MILE | _BACK | {S.DELIVERED}
            wrong = [] if any(p.summary.status in near or p.summary.neared for p in known) else list(known)
            settled = False
        else:
            wrong = [p for p in known if not _handed_over(p)]
            if status is O.PARTIALLY_SHIPPED and len(wrong) < len(known):
                wrong = []
            settled = self.said(StatementKind.HANDED_OVER, since)
            wrong = [] if settled else [p for p in wrong if self.unscanned(p, since, len(wrong) == len(known))]
        parcel = aggregate(wrong)
        if parcel is None or settled:
            return
        since = max(since, _since(parcel, self.order))
        if not self.accepted(since, parcel):
            back = self.nearest(self.finer()) if _handed_over(parcel) else None
            yield self.drift(D.SHOP_AHEAD, parcel, since, self.order.actor, back)

    def unscanned(self, parcel: Shipment, since: datetime, none_is: bool) -> bool:
        """Say whether a label waits for its first scan for longer than is normal, by the merchant's own measure."""
        fulfilment = next(f for f, parcels in self.parts if parcel in parcels)
        lane = f"{parcel.summary.origin}-{self.order.ships_to}"
        limit = self.policy.silence_for(parcel.carrier, fulfilment.service, lane).unscanned_after
        at = max(since, parcel.linked_at or since) + (limit or self.policy.unscanned_after)
        if none_is and self.policy.ahead_after is not None:
            at = min(at, since + self.policy.ahead_after)
        self.wake.append(at)
        return self.now >= at

    def behind(self) -> Iterator[Drift]:
        """Say where the carriers prove more than the order's status says: all or nothing, as for what is written."""
        order = self.order
        if order.status in (O.DELIVERED, O.RETURNED) or order.partial:  # read in part: nobody knows the whole
            return
        moved = [p for p in self.counted if _handed_over(p)]
        wanted = self.proven({p.summary.status for p in moved}) if moved else None
        here = -1 if order.status.rank is None else order.status.rank  # on hold: nothing was to leave
        parcel = aggregate(moved)
        if wanted is None or parcel is None or wanted.rank is None or here >= wanted.rank:
            return
        since = max(began(order), _since(parcel, order))
        if not self.accepted(since, parcel):
            yield self.drift(D.SHOP_BEHIND, parcel, since, parcel.carrier, wanted)

    def proven(self, told: set[ShippingStatus]) -> OrderStatus | None:
        """Return the least that the shop would say if it agreed, where some parcels were handed over; `told`: how these are."""
        if S.DELIVERED in told and self.whole(S.DELIVERED):
            return self.nearest(O.DELIVERED)
        if S.RETURNED in told and self.whole(S.RETURNED):
            return O.RETURNED if O.RETURNED in self.policy.says else self.nearest(O.SHIPPED)
        if self.order.status in _UNDER_WAY and not self.policy.writes:
            return None  # Shipped is true of the rest
        if self.whole(None):
            return self.nearest(self.finer())
        if self.order.status is not O.ON_HOLD and O.PARTIALLY_SHIPPED in self.policy.says:
            return O.PARTIALLY_SHIPPED
        return None

    def whole(self, status: ShippingStatus | None) -> bool:
        """Say whether every piece that is still wanted has a status; None: was handed over."""
        there = []
        for fulfilment, parcels in self.parts:
            live = [p for p in parcels if p.summary.status is not S.CANCELLED]
            if live and all(_handed_over(p) if status is None else p.summary.status is status for p in live):
                there.append(fulfilment)
        return covers(self.order, there)

    def finer(self) -> OrderStatus:
        """Return what a parcel under way is called in the shop, where the merchant has finer words than Shipped."""
        parcel = aggregate(self.counted)
        owner, _ = self.policy.owner_of(self.order)
        wanted = self.policy.means.get(owner, {}).get(parcel.summary.status) if parcel else None
        written = self.policy.writes.get(owner, frozenset()) & _UNDER_WAY
        return wanted if wanted is not None and wanted in written else O.SHIPPED

    def nearest(self, wanted: OrderStatus) -> OrderStatus | None:
        """Return the shop's word for a status, or its nearest earlier one: None where it has neither."""
        if wanted in self.policy.says or wanted.rank is None:
            return wanted
        earlier = [s for s in self.policy.says if s.rank is not None and s.rank < wanted.rank]
        return max(earlier, key=lambda s: (s.rank, s), default=None)

    # a shipping status that the shop shows

    def shown(self, fulfilment: Fulfilment, parcels: Sequence[Shipment]) -> Iterator[Drift]:
        """Compare what the shop shows of a fulfilment with the parcel that speaks for it."""
        parcel = aggregate([p for p in parcels if _told(p)])
        if parcel is None or parcel.summary.disputed:
            return
        shown, status = fulfilment.published, parcel.summary.status
        since = _since(parcel, self.order)
        if shown is None:
            # the order's status speaks for what is under way; that it arrived, or never will, it cannot say
            ended = _stage(status) in (ARRIVED, BACK) and status in self.policy.words
            if ended and not self.order.partial and not self.accepted(since, parcel):
                shop, said = self.order.status, self.order.raw_status
                yield Drift(D.SHOP_BEHIND, shop, said, status, parcel, since, parcel.carrier, status, fulfilment.ref)
            return
        if shown.status is None or shown.raw == self.policy.words.get(status):
            return  # a word of somebody else's that we cannot read, or the very word
        kind = self.differs(shown.status, status, newer=shown.happened_at >= since)
        since = max(shown.happened_at, since)
        if kind is None or self.accepted(since, parcel):
            return
        if kind is D.SHOP_AHEAD and shown.status is S.DELIVERED:
            if self.proved(shown.happened_at, parcel) or parcel.summary.corrected:
                return  # taken back: told as such
        by = "unknown" if kind is D.SHOP_AHEAD else parcel.carrier
        shop = _SHOWN_AS.get(shown.status, self.order.status)
        wanted = status if status in self.policy.words else None
        yield Drift(kind, shop, shown.raw, status, parcel, since, by, wanted, fulfilment.ref)

    def differs(self, shown: ShippingStatus, status: ShippingStatus, *, newer: bool) -> DriftKind | None:
        """Say how a shown status and the carrier's disagree; `newer`: the shop's word is the later one."""
        here, there = _stage(shown), _stage(status)
        if here == there:
            return None
        if there == BACK:
            if here == ARRIVED:
                return D.SHOP_AHEAD
            return D.SHOP_BEHIND if status in self.policy.words else None
        if here == BACK or here > there:
            return D.SHOP_AHEAD if newer or here == ARRIVED else D.SHOP_BEHIND
        can = [_stage(s) for s in self.policy.words if s.rank <= status.rank and _stage(s) <= there]
        return D.SHOP_BEHIND if here < max(can, default=BACK) else None

    # what people said of it

    def said(self, kind: StatementKind, since: datetime) -> bool:
        return any(s.kind is kind and s.at >= since for s in self.order.statements)

    def accepted(self, since: datetime, parcel: Shipment) -> bool:
        """Say whether a person took the difference as it stands, or set the very status that differs."""
        told = _since(parcel, self.order)
        return any(
            (s.kind is StatementKind.ACCEPTED and s.at >= since) or (_sets(s, self.order) and s.at >= told)
            for s in self.order.statements
        )

    def proved(self, since: datetime, parcel: Shipment) -> bool:
        """Say whether a person has a proof of delivery, given since the shop says Delivered; not of what went back since."""
        told = _since(parcel, self.order)
        return any(
            s.kind is StatementKind.PROOF and s.at >= since and (s.at >= told or parcel.summary.status not in _BACK)
            for s in self.order.statements
        )

    def drift(
        self, kind: DriftKind, parcel: Shipment, since: datetime, by: str, wanted: OrderStatus | None = None
    ) -> Drift:
        order = self.order
        return Drift(kind, order.status, order.raw_status, parcel.summary.status, parcel, since, by, wanted)


LABEL, MOVING, NEAR, ARRIVED, BACK = 0, 1, 2, 3, -1


def _stage(status: ShippingStatus) -> int:
    """Return how far a parcel is, as coarsely as words of different shops can be compared."""
    if status in _BACK:
        return BACK
    if status is S.DELIVERED:
        return ARRIVED
    if status in _LAST_MILE:
        return NEAR
    return LABEL if status in (S.UNKNOWN, S.PRE_TRANSIT, S.CANCELLED) else MOVING


def _told(parcel: Shipment) -> bool:
    """Say whether somebody who was asked, or who tells by himself, told of a parcel: if only that nobody knows it."""
    return parcel.summary.status is not S.UNKNOWN or (parcel.asked_until is not None and parcel.tracking in _ANSWERED)


def _handed_over(parcel: Shipment) -> bool:
    return parcel.summary.custody_at is not None


def _since(parcel: Shipment, order: Order) -> datetime:
    return parcel.summary.since or parcel.linked_at or order.placed_at


def _sets(said: Statement, order: Order) -> bool:
    return said.kind is StatementKind.CORRECTION and said.status is order.status
