"""Place scans in time and fold them into a summary.

A summary is a function of the *set* of scans: sorted by a total key, then one pass. The order of arrival,
duplication and batching never matter (proved by Hypothesis in tests/domain/test_timeline.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tracker.domain.facts import EPOCH, NOWHERE, Checkpoint, Meaning, Place, Scan, StoredScan, Summary, TakenBack
from tracker.domain.vocabulary import Leg, Precision, Reason, ShippingStatus, Zone
from tracker.domain.zones import MOSTLY, ONE_ZONE

S = ShippingStatus
VETO = timedelta(hours=26)  # the widest gap between two zones on earth: UTC-12 to UTC+14
MOST_AHEAD = timedelta(minutes=10)  # more than a carrier's clock may be ahead of ours
MOST_SCANS = 500
RULES = 3  # a change of what follows adds one: summaries of before are then made anew instead of being read on
ANEW_AFTER = timedelta(days=3)  # so long after an end a label or a pick-up is of another parcel
LONG_AFTER = timedelta(days=30)  # ... and whatever its carrier does with it
LOOKS_APART = timedelta(hours=1)  # two full histories that lack a scan, so far apart, withdraw it
_UNSURE = frozenset({Zone.ASSUMED, Zone.UNKNOWN, Zone.FUTURE})
_NEAR = frozenset({S.OUT_FOR_DELIVERY, S.DELIVERY_ATTEMPTED, S.AVAILABLE_FOR_PICKUP})
_LEFT_AT_ONCE = frozenset({S.LOST, S.CANCELLED})  # by one custody scan
_ENDS = frozenset({S.DELIVERED, S.RETURNED, S.DESTROYED})  # what must not be taken back unnoticed; lost may reappear
_TO_THE_SENDER = frozenset({S.RETURNING, S.RETURNED})
_UNREAD = Checkpoint((EPOCH, 0, "", "", ""), None, False, False, None, RULES)  # of a summary that has read nothing

_REGIONS = {  # of countries with several zones those with one throughout; states that two zones share are left out
    "US": {
        "America/New_York": "CT DC DE GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV",
        "America/Chicago": "AL AR IA IL LA MN MO MS OK WI",
        "America/Denver": "CO MT NM UT WY", "America/Phoenix": "AZ",
        "America/Los_Angeles": "CA WA", "Pacific/Honolulu": "HI", "America/Puerto_Rico": "PR", "America/St_Thomas": "VI",
    },
    "CA": {
        "America/Toronto": "QC", "America/Winnipeg": "MB", "America/Edmonton": "AB",
        "America/Halifax": "NS NB PE", "America/Regina": "SK",
    },
    "AU": {
        "Australia/Sydney": "NSW ACT", "Australia/Melbourne": "VIC", "Australia/Brisbane": "QLD",
        "Australia/Adelaide": "SA", "Australia/Perth": "WA", "Australia/Hobart": "TAS", "Australia/Darwin": "NT",
    },
}  # fmt: skip
_BY_REGION = {
    (country, region): zone
    for country, zones in _REGIONS.items()
    for zone, regions in zones.items()
    for region in regions.split()
}


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def zone_of(place: Place) -> ZoneInfo | None:
    """Return the only zone a place can have, or None where it could have several or is not known."""
    name = ONE_ZONE.get(place.country) or _BY_REGION.get((place.country, place.region.upper()))
    return _zone(name) if name else None


def assumed_zone(place: Place, default_zone: str) -> str:
    """Return the zone that is assumed of a place which does not say it: that of most of its country, else the carrier's."""
    return MOSTLY.get(place.country) or default_zone


def place_in_time(scan: Scan, default_zone: str, received_at: datetime) -> tuple[datetime, Zone]:
    """Answer the instant of a scan (aware, UTC) and how it is known.

    By what the carrier sent, else by place, else by the zone that most of its country has, or the carrier's default (flagged `assumed`). A scan without
    any time gets the moment it was received, flagged `unknown`; one from the future is bounded to it, flagged `future`.
    """
    instant, how = _told_time(scan, default_zone, received_at)
    if instant - received_at > MOST_AHEAD:  # a clock that is ahead, or a plan told as a fact: it orders nothing
        return received_at.astimezone(UTC), Zone.FUTURE
    return instant, how


def _told_time(scan: Scan, default_zone: str, received_at: datetime) -> tuple[datetime, Zone]:
    try:
        if scan.occurred_at is not None:
            if scan.occurred_at.tzinfo is None:  # a plugin's defect: a guess that looks like knowledge
                raise ValueError("Scan.occurred_at must be aware")
            instant, how = scan.occurred_at.astimezone(UTC), scan.zone
        elif scan.local is not None:
            by_place = zone_of(scan.place)
            assumed = assumed_zone(scan.place, default_zone)
            zone, how = (by_place, Zone.BY_PLACE) if by_place else (_zone(assumed), Zone.ASSUMED)
            instant = scan.local.replace(tzinfo=zone).astimezone(UTC)
        else:
            return received_at.astimezone(UTC), Zone.UNKNOWN
        if instant.year > 1:
            return instant, how
    except OverflowError:
        pass
    return received_at.astimezone(UTC), Zone.UNKNOWN  # year 1 or 9999 beside a zone: a clock that was never set


_MOVING = "picked_up in_transit on_hold delayed exception"
_USUAL = {
    S(a): frozenset(S(b) for b in more.split())
    for a, more in {
        "unknown": " ".join(S),
        "pre_transit": "picked_up in_transit on_hold delayed exception out_for_delivery available_for_pickup delivered"
        " delivery_failed returning lost cancelled",
        **dict.fromkeys(
            _MOVING.split(),
            f"{_MOVING} out_for_delivery delivery_attempted available_for_pickup delivered delivery_failed returning"
            " returned lost destroyed",
        ),
        "out_for_delivery": "in_transit delivery_attempted available_for_pickup delivered exception on_hold delayed"
        " delivery_failed returning lost",
        "delivery_attempted": "out_for_delivery in_transit available_for_pickup delivered exception delivery_failed"
        " returning on_hold",
        "available_for_pickup": "delivered out_for_delivery delivery_attempted returning exception delivery_failed",
        "delivery_failed": "returning returned destroyed out_for_delivery available_for_pickup delivered",
        "returning": "returned lost destroyed exception on_hold",
        "lost": f"{_MOVING} out_for_delivery delivery_attempted available_for_pickup returning",
        "cancelled": "picked_up in_transit",
        "delivered": "delivery_attempted out_for_delivery available_for_pickup returning exception",
        "returned": "",
        "destroyed": "",
    }.items()
}

# On the way back, the carrier's words mean something else: "delivered" is delivered to the sender.
_ON_RETURN = {
    S.OUT_FOR_DELIVERY: (S.RETURNING, Reason.RETURN_OUT_FOR_DELIVERY),
    S.DELIVERY_ATTEMPTED: (S.RETURNING, Reason.RETURN_DELIVERY_FAILED),
    S.DELIVERED: (S.RETURNED, Reason.RECEIVED_BY_SENDER),
    S.IN_TRANSIT: (S.RETURNING, Reason.RETURN_IN_TRANSIT),
    S.PICKED_UP: (S.RETURNING, Reason.RETURN_IN_TRANSIT),
}


def _key(told: StoredScan) -> tuple[datetime, int, str, str, str]:
    status = told.meaning.status
    return (told.instant, status.rank if status else 0, told.space, told.code, told.fingerprint)


def _read(meaning: Meaning, returning: bool) -> tuple[ShippingStatus, Reason | None]:
    """Read a meaning on the leg it is on."""
    status = meaning.status or S.UNKNOWN
    if returning and status in _ON_RETURN and not meaning.correction:
        return _ON_RETURN[status]
    return status, meaning.reason


def summarize(scans: Iterable[StoredScan]) -> Summary:
    """Fold a set of scans into where the parcel is.

    Every move is legal but two: back to `pre_transit`, and out of a terminal status without a correction. A correction
    is a meaning that says so, or a second custody scan of sure zone after a terminal one; `lost` is left by any
    custody scan and `cancelled` by any custody scan (the void label was used anyway). A scan nearer than 26 h to the
    head, with either zone unsure, may not lower the rank. An unconfirmed terminal scan moves nothing. A scan that is gone
    moves nothing either; but an end that it told is `taken_back`, unless another scan of then tells the same.
    """
    return _fold(Summary(), sorted({told.fingerprint: told for told in scans}.values(), key=_key))


def read_on(summary: Summary, more: Iterable[StoredScan]) -> Summary | None:
    """Return the summary of the scans that `summary` was made of and of more, none of which it has read.

    None where it must be made from all scans: one of the new is not later than all that were read, or another version
    read them, or they are too many. Otherwise it is what `summarize` makes of all of them.
    """
    ordered = sorted(more, key=_key)
    if not ordered:
        return summary
    checkpoint = summary.checkpoint
    if checkpoint is None:
        if summary.scans:
            return None
    elif checkpoint.rules != RULES or _key(ordered[0]) <= checkpoint.last:
        return None
    if summary.scans + len(ordered) > MOST_SCANS:
        return None
    return _fold(summary, ordered)


class Run(NamedTuple):
    """What a scan began: the status from it on, why, and the status before; None: it was the first."""

    fingerprint: str
    before: ShippingStatus | None
    status: ShippingStatus
    reason: Reason | None


def runs(scans: Iterable[StoredScan]) -> list[Run]:
    """Return the runs of a parcel's journey, of the scans that stand; the last is that of its summary."""
    reading = _Reading(Summary())
    found: list[Run] = []
    for told in sorted({told.fingerprint: told for told in scans if told.gone is None}.values(), key=_key):
        before, run = reading.status if found else None, reading.run
        reading.scan(told)
        if reading.run != run:
            found.append(Run(told.fingerprint, before, reading.status, reading.reason))
    return found


def _fold(summary: Summary, ordered: Sequence[StoredScan]) -> Summary:
    """Read scans, sorted by their keys, after those that a summary has read."""
    if not ordered:
        return summary
    reading = _Reading(summary)
    for told in ordered:
        if told.gone is None:
            reading.scan(told)
        else:
            reading.gone(told, told.gone)
    return reading.summary(ordered[-1])


class _Reading:
    """A summary in the making: its fields as the scans read so far make them, and what the next scan must know of them."""

    __slots__ = (
        "attempts", "confirmed", "corrected", "custody_at", "delivered_at", "disputed", "doubted_at", "head_at",
        "head_unsure", "last_scan_at", "leg", "neared", "origin", "place", "reason", "refused", "returning", "run",
        "run_place", "scans", "since", "status", "taken_back", "undoubted", "unmapped", "unusual",
    )  # fmt: skip

    def __init__(self, before: Summary) -> None:
        self.status, self.reason, self.leg = before.status, before.reason, before.leg
        self.run, self.since, self.run_place = before.run, before.since, before.run_place
        self.last_scan_at, self.place, self.neared = before.last_scan_at, before.place, before.neared
        self.custody_at, self.origin = before.custody_at, before.origin
        self.confirmed, self.disputed, self.corrected = before.confirmed, before.disputed, before.corrected
        self.taken_back, self.doubted_at = before.taken_back, before.doubted_at
        self.unmapped, self.unusual, self.refused = before.unmapped, before.unusual, before.refused
        self.attempts, self.scans = before.attempts, before.scans
        checkpoint = before.checkpoint or _UNREAD
        self.head_at, self.head_unsure, self.returning = (
            checkpoint.head_at,
            checkpoint.head_unsure,
            checkpoint.returning,
        )
        self.delivered_at, self.undoubted = checkpoint.delivered_at, checkpoint.undoubted

    def summary(self, last: StoredScan) -> Summary:
        """Return what was read, up to and with the last scan."""
        return Summary(
            status=self.status,
            reason=self.reason,
            leg=self.leg,
            run=self.run,
            since=self.since,
            run_place=self.run_place,
            last_scan_at=self.last_scan_at,
            place=self.place,
            custody_at=self.custody_at,
            delivered_at=self.delivered_at if self.status is S.DELIVERED else None,
            confirmed=self.confirmed,
            disputed=self.disputed,
            corrected=self.corrected,
            taken_back=self.taken_back,
            doubted_at=self.doubted_at,
            unmapped=self.unmapped,
            unusual=self.unusual,
            refused=self.refused,
            attempts=self.attempts,
            neared=self.neared,
            scans=self.scans,
            origin=self.origin,
            checkpoint=Checkpoint(
                _key(last), self.head_at, self.head_unsure, self.returning, self.delivered_at, RULES, self.undoubted
            ),
        )

    def gone(self, told: StoredScan, since: datetime) -> None:
        """Read a scan that is gone since then: it moves nothing, but an end that it told is taken back."""
        to = _ended(told, self.returning, self.delivered_at)
        left = not self.status.terminal or told.meaning.correction or self.status in _LEFT_AT_ONCE
        if to is None or to is self.status or not left:
            return
        if not _same(self.taken_back, to, told):
            self.taken_back, self.undoubted = TakenBack(to, told.instant, since), self.doubted_at
        self.corrected, self.doubted_at = not self.status.terminal, _later(self.doubted_at, since)

    def scan(self, told: StoredScan) -> None:
        """Read a scan: what it says whatever its status, then what it says of the head."""
        meaning, place = told.meaning, told.place
        self.scans += 1
        self.last_scan_at = told.instant
        if place is not NOWHERE and (place.city or place.country):
            self.place = place
        if meaning.status is None:
            return
        if meaning.status is S.UNKNOWN:
            self.unmapped += meaning.reason is Reason.UNMAPPED
            return
        if self.delivered_at is not None and meaning.leg is Leg.CUSTOMER_RETURN:
            return  # a later return of the customer never changes that it was delivered
        to, why = _read(meaning, self.returning or meaning.leg is Leg.RETURN_TO_SENDER)
        if to.terminal and not told.confirmed:
            return
        if to.custody and self.custody_at is None:
            self.custody_at, self.origin = told.instant, place.country
        unsure = told.zone in _UNSURE or told.precision is Precision.DATE
        if to is not self.status:
            if self.head_at is not None:
                if self._out_of_order(to, told, unsure, self.head_at) or self._end_stands(to, told):
                    self.refused += 1
                    return
                self._leave(to, told)
            self._begin(to, why, told)
        self.head_at, self.head_unsure = told.instant, unsure
        if told.confirmed:
            self.confirmed = True
        if to is S.DELIVERY_ATTEMPTED:
            self.attempts += 1

    def _out_of_order(self, to: ShippingStatus, told: StoredScan, unsure: bool, head_at: datetime) -> bool:
        """Say whether a status may lie before the head: a label does; a lower rank may, nearer than two zones are apart."""
        if to is S.PRE_TRANSIT:
            return True
        return (unsure or self.head_unsure) and to.rank < self.status.rank and told.instant - head_at < VETO

    def _end_stands(self, to: ShippingStatus, told: StoredScan) -> bool:
        """Say whether the head is an end and this scan does not get past it; the first that contradicts it disputes it."""
        if not self.status.terminal or told.meaning.correction:
            return False
        if not _contradicts(self.status, to, told):
            return True
        self.doubted_at = _later(self.doubted_at, told.instant)
        if self.disputed or self.status in _LEFT_AT_ONCE:
            return False
        self.disputed = True
        return True

    def _leave(self, to: ShippingStatus, told: StoredScan) -> None:
        """Leave the head for another status: an end is taken back by it."""
        if self.status in _ENDS and self.since is not None:
            self.taken_back = TakenBack(self.status, self.since, by=to, by_at=told.instant)
            self.doubted_at = _later(self.doubted_at, told.instant)
        self.unusual += to not in _USUAL[self.status]

    def _begin(self, to: ShippingStatus, why: Reason | None, told: StoredScan) -> None:
        """Begin a run: the head's status is told for the first time."""
        meaning, back = told.meaning, to in _TO_THE_SENDER
        self.corrected = (self.corrected or self.status in _ENDS) and not to.terminal
        self.status, self.reason, self.leg = to, why, Leg.RETURN_TO_SENDER if back else meaning.leg
        self.run, self.since, self.run_place = told.fingerprint, told.instant, told.place
        self.neared = self.neared or to in _NEAR
        self.confirmed, self.disputed = told.confirmed, False
        self.returning = back or (self.returning and not meaning.correction and to is not S.DELIVERED)
        if to is S.DELIVERED:
            self.delivered_at = told.instant
        if self.taken_back is not None and _same(self.taken_back, to, told):
            # another scan of then tells the end: it was only told anew
            self.doubted_at = self.undoubted if self.doubted_at == self.taken_back.gone_since else self.doubted_at
            self.taken_back = None


def _ended(told: StoredScan, returning: bool, delivered_at: datetime | None) -> ShippingStatus | None:
    """Return the end of a journey that a scan tells, if it tells one and somebody vouches for it."""
    meaning = told.meaning
    if not told.confirmed or (meaning.leg is Leg.CUSTOMER_RETURN and delivered_at is not None):
        return None
    status, _ = _read(meaning, returning or meaning.leg is Leg.RETURN_TO_SENDER)
    return status if status in _ENDS else None


def _same(gone: TakenBack | None, to: ShippingStatus, told: StoredScan) -> bool:
    """Say whether a scan tells the end that disappeared: the same status, before anybody saw that it was gone."""
    return gone is not None and gone.gone_since is not None and gone.status is to and told.instant <= gone.gone_since


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None or other > one else one


def _contradicts(status: ShippingStatus, to: ShippingStatus, told: StoredScan) -> bool:
    """Say whether a scan speaks against a terminal status: of `lost` and `cancelled` any custody scan does, of others a sure one."""
    if not to.custody:
        return False
    return status in _LEFT_AT_ONCE or not (to.terminal or told.zone in _UNSURE or not told.confirmed)


# one number, several journeys


def begins_anew(before: Summary, told: StoredScan) -> bool:
    """Say whether a scan shows that an ended journey's number was given to another parcel.

    `before`: the summary of all scans before it. A label (pre-transit) or a pick-up shows it, ANEW_AFTER or more after the
    end and all that speaks against the end; any custody scan does LONG_AFTER it. Never a scan on the way back, a
    correction, one whose day is not known, or a pick-up where the parcel was delivered: that may be a return. A void label
    may be used anyway and what was lost may reappear: only LONG_AFTER shows more.
    """
    meaning, checkpoint = told.meaning, before.checkpoint
    status = meaning.status
    if not before.status.terminal or checkpoint is None or checkpoint.head_at is None or status is None:
        return False
    if meaning.leg is not Leg.OUTBOUND or meaning.correction or told.zone in (Zone.UNKNOWN, Zone.FUTURE):
        return False
    quiet = told.instant - (
        checkpoint.head_at if before.doubted_at is None else max(checkpoint.head_at, before.doubted_at)
    )
    if quiet > LONG_AFTER:
        return status.custody
    if quiet < ANEW_AFTER or before.status not in _ENDS:
        return False
    if status is S.PICKED_UP:
        here = told.place
        same = here.city != "" and (here.city.casefold(), here.country) == (
            before.place.city.casefold(),
            before.place.country,
        )
        return meaning.reason is not Reason.HANDED_TO_PARTNER and not same
    return status is S.PRE_TRANSIT


def first_of(starts_at: datetime, before: Summary) -> datetime:
    """Return from when on scans are of a journey that is known to start at `starts_at`, after the one that ended `before`.

    A journey's first scans may come some days before it is known to start, but not in the days after the end of the other.
    """
    begins = starts_at - ANEW_AFTER
    if before.status.terminal and before.since is not None:
        return max(begins, min(before.since + ANEW_AFTER, starts_at))
    return begins


# what full histories do not tell any more


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored scan that an account told first; `missing_since`: the first full history that lacked it."""

    id: int
    fingerprint: str
    instant: datetime
    first_seen_at: datetime
    missing_since: datetime | None
    end: bool  # it tells a terminal status


@dataclass(frozen=True, slots=True)
class Missing:
    """What a full history lacks: scans to note, scans that are gone, and when the next look can confirm it."""

    noted: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()
    again_at: datetime | None = None
    an_end: bool = False  # what waits for the next look is a terminal status


def missing_of(told: Iterable[Kept], prints: Collection[str], asked: datetime) -> Missing:
    """Compare what one account told of a parcel with its full history, asked for at `asked`.

    A scan is missed where all that happened before it is still told, and something is: a history that begins later than
    it did was cut, and an empty one says nothing. It is gone where another look, LOOKS_APART or more before this one,
    missed it too. What was told after the question was put is none of the answer's business.
    """
    noted: list[int] = []
    gone: list[int] = []
    held = False
    before = sorted((one for one in told if one.first_seen_at <= asked), key=lambda one: one.instant)
    for instant, group in groupby(before, key=lambda one: one.instant):
        here = list(group)
        absent = [one for one in here if one.fingerprint not in prints]
        if absent and not held:
            break
        over = {one.id for one in absent if one.missing_since and asked - one.missing_since >= LOOKS_APART}
        gone += sorted(over)
        if waiting := [one for one in absent if one.id not in over]:
            noted += sorted(one.id for one in waiting if one.missing_since is None)
            again_at = min(one.missing_since or asked for one in waiting) + LOOKS_APART
            an_end = any(one.end for one in before if one.instant >= instant and one.fingerprint not in prints)
            return Missing(tuple(noted), tuple(gone), again_at, an_end)
        held = held or len(absent) < len(here)
    return Missing(tuple(noted), tuple(gone))
