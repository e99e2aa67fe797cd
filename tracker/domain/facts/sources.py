"""What arrives and what it says: payloads, scans and their meaning, reports, hints; and what a source is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from tracker.domain.facts.made import fact
from tracker.domain.vocabulary import Leg, Precision, Reason, ShippingStatus, TrackingState, Zone


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Payload:
    """Raw bytes that arrived, with headers (lower-case names) and where from; `received_at` is its clock."""

    account: str
    kind: str  # webhook | handshake | poll | read | sweep | file
    parts: tuple[bytes, ...]
    received_at: datetime
    headers: Mapping[str, str] = field(default_factory=_nothing)
    query: Mapping[str, str] = field(default_factory=_nothing)

    @property
    def body(self) -> bytes:
        """The first part: for most payloads the only one."""
        return self.parts[0]


@fact
class Code:
    """The carrier's own word for what happened. A code means nothing without its space."""

    space: str
    code: str
    text: str = ""


@fact
class Place:
    """Where a scan happened, as printed; `country` is ISO 3166 alpha-2 or empty."""

    city: str = ""
    region: str = ""
    postcode: str = ""
    country: str = ""

    def __str__(self) -> str:
        """`City, Region, Country`, without what is missing."""
        return ", ".join(part for part in (self.city, self.region, self.country) if part)


NOWHERE = Place()
UNIDENTIFIED = "unidentified:"  # begins the carrier of a parcel until a scan says whose it is
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ALWAYS = datetime(9999, 12, 31, tzinfo=UTC)


@fact
class Scan:
    """One thing a carrier says happened to a parcel. It holds the raw code and never a status.

    `local` is the time as printed (naive); `occurred_at` is aware or None, and `zone` says how it is known.
    """

    code: Code
    local: datetime | None = None
    occurred_at: datetime | None = None
    zone: Zone = Zone.UNKNOWN
    precision: Precision = Precision.SECOND
    place: Place = NOWHERE
    event_id: str | None = None
    leg: Leg | None = None


def fingerprint(scan: Scan, *, text_matters: bool = False) -> str:
    """Identify a scan by what the carrier said: never by the account that told it nor by when it arrived.

    Returns 32 hexadecimal digits (128 bit) of SHA-256 over the event id where there is one, else over code space,
    code, local time to its precision, city and country. `text_matters` adds the text.
    """
    if scan.event_id:
        parts: tuple[str, ...] = ("id", scan.event_id)
    else:
        local = scan.local or scan.occurred_at
        if local is None:
            when = ""
        elif scan.precision is Precision.DATE:
            when = local.strftime("%Y-%m-%d")
        else:
            when = local.replace(tzinfo=None, microsecond=0).isoformat()
            when = when[:16] if scan.precision is Precision.MINUTE else when
        place = scan.place
        parts = (scan.code.space, scan.code.code, when, place.city.casefold(), place.country)
        if text_matters:
            parts += (scan.code.text,)
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code says in our vocabulary. `status` None: it says nothing about where the parcel is."""

    status: ShippingStatus | None
    reason: Reason | None = None
    leg: Leg = Leg.OUTBOUND
    correction: bool = False  # the carrier takes back what it said: may leave a terminal status


UNMAPPED = Meaning(ShippingStatus.UNKNOWN, Reason.UNMAPPED)


@dataclass(frozen=True, slots=True)
class Edd:
    """Estimated delivery: both ends aware; `begins` may equal `ends`."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Proof:
    """Proof of delivery, without personal data: when, and where a document can be asked for."""

    at: datetime | None = None
    signed: bool = False
    photo: bool = False


@dataclass(frozen=True, slots=True)
class ProofDocument:
    """A document that proves a delivery, as its carrier gave it: personal data, kept only where a store wants it. `kind`: its media type."""

    content: bytes = field(repr=False)
    kind: str


@dataclass(frozen=True, slots=True)
class Link:
    """Another number of the same journey; relation: return | last_mile | replaces | main (of several pieces) | alternate.

    A `last_mile` is followed: who is asked about that number tells of the same parcel. `carrier`: ours, None: nobody says whose.
    """

    number: str
    carrier: str | None
    relation: str


@fact
class Report:
    """What one payload says of one number. `carrier` is the real one, also when an aggregator tells."""

    carrier: str
    number: str
    scans: tuple[Scan, ...] = ()
    tracking: TrackingState = TrackingState.ACTIVE
    complete: bool = False  # a full history: what this account told first and two of them lack is withdrawn
    as_of: datetime | None = None  # snapshot time; an older one never withdraws
    edd: Edd | None = None
    proof: Proof | None = None
    links: tuple[Link, ...] = ()
    piece: str | None = None  # tells re-used numbers apart: a unique id, or the division (DHL's `express`, `parcel-de`)
    said: str = ""  # why it tells nothing of the number, in the source's words: a code and a text


@dataclass(frozen=True, slots=True)
class Unread:
    """A piece of a payload that could not be read: where (`$.a[3].b`), and what was wrong. It costs itself only.

    `subject`: the order's ref or the tracking number whose piece it is, where that could be read. The core sees by it
    when an order or parcel was not told at all, which is a finding; a detail (an estimate, a place) is counted and listed.
    `lacks` is for what it cannot see: `line`, a line or part of an order that was told is missing; `rest`, the shop holds
    more of the order than it lets us read; `all`, an order or parcel was not told and its subject is not known; `nothing`,
    neither an order nor a parcel is concerned (a hook of another kind, a checkout): it is counted and listed only.
    """

    where: str
    problem: str
    subject: str = ""
    lacks: str = ""  # "" | line | rest | all | nothing


@dataclass(frozen=True, slots=True)
class ChangeNotice:
    """Something changed there: ask. Notices coalesce, one pending read a ref."""

    ref: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """A number to ask about. `company` is the shop's own word for the carrier; `their_ref` the source's handle.

    `last_scan_at` is when the newest scan was that is known of it, whoever told it: by it a carrier that tells the newest one cheaply
    knows whose whole history it must ask for.
    """

    carrier: str | None
    number: str
    company: str = ""
    their_ref: str | None = None
    typed: str = ""  # what people typed, where that is not the number itself
    last_scan_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Parcels:
    """Ask about these parcels."""

    parcels: tuple[Parcel, ...]


@dataclass(frozen=True, slots=True)
class Refs:
    """Ask about these refs: orders of a platform, handshakes of a carrier."""

    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Since:
    """Ask for all that changed since the cursor; None is the beginning: of a store all there is, of a carrier's feed now.

    `open_only`: a store's first sync. `until`: what our clock shows, for who is asked about a span of time.
    """

    cursor: str | None
    open_only: bool = False
    until: datetime | None = None


Query = Parcels | Refs | Since


@dataclass(frozen=True, slots=True)
class Missed:
    """Ask again for what was sent in a span while we were away; `cursor`: behind what was told so far."""

    since: datetime
    until: datetime
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class NotYet:
    """An answer that is still being made: ask again after so long. `why` is for the log."""

    after: timedelta
    why: str


@dataclass(frozen=True, slots=True)
class Page:
    """One answer, stored before its cursor. `parts` are the bytes as they came.

    `not_yet`: there is no answer (no parts) but the cursor by which it is to be asked for later; nothing follows.
    """

    parts: tuple[bytes, ...]
    next_cursor: str | None = None
    total: int | None = None
    not_yet: NotYet | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """What a source answered to a request to watch a number: watched until, or refused with a reason."""

    number: str
    their_ref: str | None = None
    until: datetime | None = None
    refused: str | None = None
    spent: bool = False  # it was not taken as the quota is used up: it waits, and is no refusal of the number


@dataclass(frozen=True, slots=True)
class Quota:
    """How many numbers may still be registered at a source, and of how many (None: it does not tell)."""

    left: int
    of: int | None = None
