"""What a store allows and wants, as data. Presets and the merchant's YAML become this; reconcile and the gates read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from tracker.domain.facts import Order
from tracker.domain.vocabulary import FindingKind, NoticeClass, OrderStatus, Owner, ShippingStatus

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ANY = "*"


def _none() -> Mapping[Any, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Owns:
    """A rule of ownership: all it names must fit. Words are compared without case; `*` fits whatever is told."""

    name: str
    owner: Owner
    service: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    location: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    carrier: tuple[str, ...] = ()

    def fits(self, order: Order) -> bool:
        """Say whether the rule speaks of this order."""
        told = {
            "service": (order.service,),
            "method": (order.method,),
            "location": (order.location,),
            "tag": order.tags,
            "carrier": tuple(p.carrier or p.company for f in order.fulfilments for p in f.parcels),
        }
        return all(_one_of(getattr(self, name), words) for name, words in told.items())


def _one_of(wanted: tuple[str, ...], told: tuple[str, ...]) -> bool:
    if not wanted:
        return True
    words = {word.casefold() for word in told if word}
    return bool(words) if ANY in wanted else any(word.casefold() in words for word in wanted)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The business days of a store: its zone, its weekend (0 is Monday) and its holidays, expanded into dates."""

    zone: str = "UTC"
    weekend: frozenset[int] = frozenset({5, 6})
    holidays: frozenset[date] = frozenset()

    def works(self, day: date) -> bool:
        """Say whether a day is a business day."""
        return day.weekday() not in self.weekend and day not in self.holidays

    def end(self, began: datetime, days: int) -> datetime:
        """Return the local midnight, in UTC, that closes the n-th business day after the day of `began` (MG-02)."""
        zone = ZoneInfo(self.zone)
        day, left = began.astimezone(zone).date(), days
        while left > 0:
            day += timedelta(days=1)
            left -= self.works(day)
        return datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time: elapsed, or in business days."""

    elapsed: timedelta | None = None
    business_days: int | None = None

    def end(self, began: datetime, calendar: Calendar) -> datetime:
        """Return when it is over."""
        if self.business_days is not None:
            return calendar.end(began, self.business_days)
        return began + (self.elapsed or timedelta(0))


@dataclass(frozen=True, slots=True)
class Deadline:
    """A clock of an order: from a status (None: from placing) until another one; a warning and a breach."""

    name: str
    kind: FindingKind
    begins: OrderStatus | None
    until: OrderStatus
    warn: Span | None = None
    breach: Span | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """How long silence is normal for a carrier, a service, a lane (`US-DE`); the first one that fits counts."""

    name: str
    carrier: str = ""
    service: str = ""
    lane: str = ""
    stuck_after: timedelta | None = None
    unscanned_after: timedelta | None = None


Means = Mapping[Owner, Mapping[ShippingStatus, OrderStatus]]


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one store. Durations are elapsed time unless a calendar counts.

    `words`: the shop's word for each shipping status it can show; `order_words`: its word for each order status that can
    be written. What has no word is not written in another one. `says`: the order statuses that the shop has words for.
    """

    name: str = "mirror"
    words: Mapping[ShippingStatus, str] = field(default_factory=_none)
    order_words: Mapping[OrderStatus, str] = field(default_factory=_none)
    says: frozenset[OrderStatus] = frozenset()
    # who dispatches
    ownership: tuple[Owns, ...] = ()
    otherwise: Owner = Owner.UNKNOWN
    # what a shipping status means for the order, and which of these the worker writes
    means: Means = field(default_factory=_none)
    writes: Mapping[Owner, frozenset[OrderStatus]] = field(default_factory=_none)
    only_from: Mapping[OrderStatus, tuple[OrderStatus, ...]] = field(
        default_factory=_none
    )  # out of which an order status is written; one that is not named here out of any that lies before it
    side_effects: frozenset[OrderStatus] = (
        frozenset()
    )  # written though the platform does more then: it mails, or moves money
    withheld: Mapping[OrderStatus, str] = field(default_factory=_none)  # not written for that, with what it does
    system: frozenset[str] = frozenset({"system", "trackwright"})
    restore_from: frozenset[str] = frozenset()
    restore_processing: bool = False
    corrections: bool = False
    rewrites: bool = (
        True  # a status of ours that did not stay is written again; false: it is told (`Platform.looks_again`)
    )
    status_field: str = ""  # the name of the order's field (metadata) that shows its shipping status; empty: none does
    status_tag: str = ""  # what the order's tag begins with that shows it, before a colon; empty: none does
    wait_for_confirmation: bool = True
    # gates
    paid_for: frozenset[OrderStatus] = frozenset()
    pay_later: frozenset[str] = frozenset()
    verified_for: frozenset[OrderStatus] = frozenset()
    courier_for: frozenset[OrderStatus] = frozenset()
    address_for: frozenset[OrderStatus] = frozenset()
    cancel_closes: Mapping[Owner, OrderStatus | None] = field(default_factory=_none)
    tracking: Mapping[Owner, str] = field(default_factory=_none)  # required | warned | none
    tracking_grace: Mapping[Owner, timedelta] = field(default_factory=_none)
    # what is looked at, beyond what every store gets
    checks: frozenset[FindingKind] = frozenset()
    ahead_after: timedelta | None = None
    deadlines: tuple[Deadline, ...] = ()
    calendar: Calendar = Calendar()
    silence: tuple[Silence, ...] = ()
    stuck_after: timedelta = timedelta(days=7)
    unscanned_after: timedelta = timedelta(days=7)
    overdue_after: timedelta = timedelta(days=1)
    pickup_expires_after: timedelta = timedelta(days=5)
    expired_after: timedelta = timedelta(days=30)
    # who tells the customer
    notices: frozenset[NoticeClass] = frozenset()
    language: str = "en"

    def owner_of(self, order: Order) -> tuple[Owner, str]:
        """Say who dispatches an order, and by which rule: the first rule that fits, the shop's word, the fallback."""
        for rule in self.ownership:
            if rule.fits(order):
                return rule.owner, f"owner:{rule.name}"
        if order.owner is not Owner.UNKNOWN:
            return order.owner, "owner:told_by_shop"
        return self.otherwise, "owner:otherwise"

    def leads_to(self, here: OrderStatus, there: OrderStatus) -> bool:
        """Say whether the worker may write a status where another one stands (`only_from`)."""
        return there not in self.only_from or here in self.only_from[there]

    def silence_for(self, carrier: str, service: str, lane: str) -> Silence:
        """Return how long silence is normal for a parcel, with every threshold set."""
        stuck, unscanned, name = self.stuck_after, self.unscanned_after, "default"
        for rule in self.silence:
            wanted = ((rule.carrier, carrier), (rule.service, service), (rule.lane, lane))
            if all(not want or want.casefold() == is_.casefold() for want, is_ in wanted):
                stuck, unscanned = rule.stuck_after or stuck, rule.unscanned_after or unscanned
                name = rule.name
                break
        return Silence(name, carrier, service, lane, stuck, unscanned)
