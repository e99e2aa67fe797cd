"""A parcel's journey under one number: its stored scans, and where it is by all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from tracker.domain.facts.made import fact
from tracker.domain.facts.sources import ALWAYS, NOWHERE, Edd, Meaning, Place
from tracker.domain.vocabulary import Leg, Precision, Reason, ShippingStatus, TrackingState, Zone


@fact
class StoredScan:
    """A stored scan as the summary reads it: its meaning and its place in time."""

    fingerprint: str
    space: str
    code: str
    meaning: Meaning
    instant: datetime
    zone: Zone
    precision: Precision = Precision.SECOND
    place: Place = NOWHERE
    confirmed: bool = True
    gone: datetime | None = None  # withdrawn: since then its carrier's answers do not hold it any more


@dataclass(frozen=True, slots=True)
class TakenBack:
    """An end of a journey that was told and is not true any more: delivered, returned or destroyed."""

    status: ShippingStatus
    told_at: datetime  # the instant of the scan that told it
    gone_since: datetime | None = None  # the first look that did not hold it any more; None: words took it back
    by: str = ""  # the status that took it back, where words did
    by_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a summary has read, and what a later scan must know of those before it."""

    last: tuple[datetime, int, str, str, str]  # the key of the last scan read
    head_at: datetime | None  # when the head's status was last told
    head_unsure: bool  # by a scan whose hour is not sure
    returning: bool
    delivered_at: datetime | None  # also where the parcel has left `delivered`
    rules: int  # of the version that read
    undoubted: datetime | None = None  # what was doubted before the end that is `taken_back` disappeared


@dataclass(frozen=True, slots=True)
class Summary:
    """Where a parcel is, as a function of the set of its scans. A *run* is the head status since it last began."""

    status: ShippingStatus = ShippingStatus.UNKNOWN
    reason: Reason | None = None
    leg: Leg = Leg.OUTBOUND
    run: str = ""  # fingerprint of the first scan of the head's run
    since: datetime | None = None  # when that run began
    run_place: Place = NOWHERE  # where that run began
    last_scan_at: datetime | None = None
    place: Place = NOWHERE  # last known place
    custody_at: datetime | None = None
    delivered_at: datetime | None = None
    confirmed: bool = True  # false while only a shared secret vouches for the head's run
    disputed: bool = False  # a scan after a terminal one contradicts it; one alone moves nothing
    corrected: bool = False  # an end was taken back, and the journey goes on
    taken_back: TakenBack | None = None  # the last end that was told and taken back; a new end does not unsay it
    doubted_at: datetime | None = None  # when an end was contradicted or withdrawn last
    unmapped: int = 0
    unusual: int = 0
    refused: int = 0
    attempts: int = 0
    neared: bool = False  # it was out for delivery, tried or ready to be collected: it may be at a depot again
    scans: int = 0
    origin: str = ""  # country of the first custody scan
    checkpoint: Checkpoint | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Shipment:
    """One parcel's journey under one number, as reconcile reads it."""

    carrier: str
    number: str
    generation: int
    summary: Summary
    tracking: TrackingState = TrackingState.PENDING
    edd: Edd | None = None
    linked_at: datetime | None = None
    slow: bool = False  # its carrier is known to be slow just now: silence is no news
    asked_until: datetime | None = ALWAYS  # until when somebody asked, or may ask, about it; None: nobody ever did
