"""How a parcel fared, as reports count it; pure: the same scans, estimates and calendar give the same facts.

A parcel counts on the day its carrier took it over, in its store's zone; before that on the day it began. Nothing is guessed: what
is not known has a word of its own and is counted as that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tracker.domain.facts import Summary
from tracker.domain.policy import Calendar
from tracker.domain.vocabulary import Leg, Precision, Reason, ShippingStatus, Zone

S = ShippingStatus
RULES = 2  # a change of what follows adds one: all parcels are then counted anew
MOST_DAYS = 400  # of a journey: more is not told apart
ON_TIME, LATE, NOT_DUE, NO_ESTIMATE, UNKNOWN = "on_time", "late", "not_due", "no_estimate", "unknown"
DELAYS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800, 604800)  # seconds
LONGER = 10**9  # than the last of them
SLOW_HOOK = 3600  # seconds: a webhook that told of a scan so late is one to be looked at
PROBLEMS = frozenset({S.ON_HOLD, S.DELAYED, S.EXCEPTION, S.DELIVERY_ATTEMPTED, S.DELIVERY_FAILED, S.LOST, S.DESTROYED})
WEST = timedelta(hours=12)  # so long after midnight UTC a day goes on at most
_BACK = frozenset({S.RETURNING, S.RETURNED})
_TIMELESS = frozenset({Zone.UNKNOWN, Zone.FUTURE})
_SURE = frozenset({Zone.OFFSET, Zone.UTC, Zone.BY_PLACE})


class Told(NamedTuple):
    """A scan that stands, as far as a report looks at it."""

    status: ShippingStatus | None
    reason: Reason | None
    leg: Leg
    instant: datetime
    zone: Zone
    precision: Precision
    country: str
    account: str
    heard_at: datetime
    pushed_at: datetime | None
    payload: int | None
    printed: date | None = None  # its day as the carrier prints it


class Estimate(NamedTuple):
    """When a parcel was said to be there at the latest, and when we heard that. `kept`: what was told before it is known too.

    `day`: the day, where one was told without an hour: it ends at midnight where the parcel is delivered.
    """

    ends: datetime
    told_at: datetime
    kept: bool = True
    day: date | None = None

    def kept_by(self, arrival: Told) -> bool:
        """Say whether a parcel was there in time."""
        if self.day is not None and arrival.printed is not None:
            return arrival.printed <= self.day
        return arrival.instant <= self.ends

    @property
    def over(self) -> datetime:
        """When it is over, wherever the parcel goes."""
        return self.ends + WEST if self.day is not None else self.ends


def whole_day(begins: datetime, ends: datetime) -> date | None:
    """Return the last day of an estimate that was told in days, as it is kept: from midnight to midnight of UTC; None of another."""
    if begins.astimezone(UTC).time() == ends.astimezone(UTC).time() == time() and begins < ends:
        return ends.astimezone(UTC).date() - timedelta(days=1)
    return None


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of a parcel's journey: its summary, its scans and its last miles', its estimates as they were heard."""

    summary: Summary
    scans: Sequence[Told]
    estimates: Sequence[Estimate]
    starts_at: datetime
    ships_to: str = ""


@dataclass(frozen=True, slots=True)
class Fared:
    """How a parcel fared.

    `day`: of the store's zone, when its carrier took it over or, where it did not yet, when it began. `days`: business days from
    then to its delivery. `first`, `last`: on_time | late | not_due | no_estimate | unknown, against the first and the last estimate
    that was heard before the delivery was. `attempt`: yes | no | "" (nobody knows yet). `problems`: `status/reason`. `delays`: how
    many scans a webhook told first within so many seconds, by account. `again_at`: when time alone may change something.
    """

    day: date
    account: str
    origin: str
    destination: str
    handed_over: bool
    end: str
    days: int | None
    first: str
    last: str
    attempt: str
    problems: tuple[str, ...]
    returned: bool
    silent: bool
    delays: Mapping[str, Mapping[int, int]]
    again_at: datetime | None


def fared(course: Course, calendar: Calendar, silent_after: timedelta, now: datetime) -> Fared:
    """Say how a parcel fared until now. `silent_after`: how long nothing may be told of it while its carrier has it."""
    summary, zone = course.summary, ZoneInfo(calendar.zone)
    arrival = _arrival(course)
    gaps, silent_at = _silence(course, silent_after, now)
    due = [one for one in course.estimates if arrival is None or one.told_at < arrival.heard_at]
    first = _against(due[0] if due else None, course, arrival, now, known=not due or due[0].kept)
    last = _against(due[-1] if due else None, course, arrival, now)
    back = summary.status in _BACK
    problems = {_named(one) for one in course.scans if one.status in PROBLEMS and one.leg is Leg.OUTBOUND}
    if back:
        problems.add(f"{S.RETURNED}/{_why_back(course.scans)}")
    waits = [one.over for one in due] if summary.status not in (S.DELIVERED, S.CANCELLED) else []
    waits += [silent_at] if silent_at is not None and not summary.status.terminal else []
    counted = summary.custody_at or course.starts_at
    return Fared(
        day=counted.astimezone(zone).date(),
        account=_teller(course.scans),
        origin=summary.origin,
        destination=(arrival.country if arrival is not None else "") or course.ships_to,
        handed_over=summary.custody_at is not None,
        end=summary.status if summary.status.terminal else "",
        days=_days(course, arrival, calendar, zone),
        first=first,
        last=last,
        attempt=_attempt(summary, problems),
        problems=tuple(sorted(problems)),
        returned=back,
        silent=gaps,
        delays=_delays(course.scans),
        again_at=min((at for at in waits if at > now), default=None),
    )


def _arrival(course: Course) -> Told | None:
    """Return the scan that told the delivery first, None where the parcel is not delivered."""
    at = course.summary.delivered_at
    told = [one for one in course.scans if at is not None and one.status is S.DELIVERED and one.instant == at]
    return min(told, key=lambda one: one.heard_at, default=None)


def _against(
    estimate: Estimate | None, course: Course, arrival: Told | None, now: datetime, *, known: bool = True
) -> str:
    """Compare a parcel with an estimate: one that is not there by then is late, whatever became of it."""
    if estimate is None or course.summary.status is S.CANCELLED:
        return NO_ESTIMATE
    if course.summary.status is S.DELIVERED:
        timed = arrival is not None and arrival.zone not in _TIMELESS
        in_time = arrival is not None and estimate.kept_by(arrival)
        return (ON_TIME if in_time else LATE) if timed and known else UNKNOWN
    if not known:
        return UNKNOWN
    return LATE if now > estimate.over else NOT_DUE


def _days(course: Course, arrival: Told | None, calendar: Calendar, zone: ZoneInfo) -> int | None:
    """Count the business days after the one of the hand-over, to the one of the delivery; None where one is not known.

    Of a parcel of which nothing but its delivery was told nobody knows when it was handed over.
    """
    custody_at = course.summary.custody_at
    if custody_at is None or arrival is None or arrival.zone in _TIMELESS:
        return None
    then = [one for one in course.scans if one.instant == custody_at and one.status is not S.DELIVERED]
    if all(one.zone in _TIMELESS for one in then):
        return None
    began, ended = custody_at.astimezone(zone).date(), arrival.instant.astimezone(zone).date()
    span = min((ended - began).days, MOST_DAYS)
    return sum(calendar.works(began + timedelta(days=more)) for more in range(1, span + 1))


def _silence(course: Course, silent_after: timedelta, now: datetime) -> tuple[bool, datetime | None]:
    """Say whether nothing was told of a parcel for too long while its carrier had it, and when that would be so next."""
    summary = course.summary
    if summary.custody_at is None:
        return False, None
    over = summary.since if summary.status.terminal and summary.since is not None else now
    heard = sorted({summary.custody_at, over, *(one.instant for one in course.scans)})
    within = [at for at in heard if summary.custody_at <= at <= over]
    silent = any(later - at >= silent_after for at, later in pairwise(within))
    last = max((at for at in within if at < over), default=summary.custody_at)
    return silent, last + silent_after


def _attempt(summary: Summary, problems: Iterable[str]) -> str:
    """Say whether the first attempt to deliver succeeded; empty where none is known yet."""
    failed = summary.attempts > 0 or any(one.startswith(f"{S.DELIVERY_FAILED}/") for one in problems)
    if failed:
        return "no"
    return "yes" if summary.status is S.DELIVERED else ""


def _named(one: Told) -> str:
    return f"{one.status}/{one.reason or Reason.UNSPECIFIED}"


def _why_back(scans: Sequence[Told]) -> str:
    """Return why a parcel goes back: the reason of the first scan that says so or that gave up."""
    told = [
        one
        for one in scans
        if one.status in _BACK or one.status is S.DELIVERY_FAILED or one.leg is Leg.RETURN_TO_SENDER
    ]
    first = min(told, key=lambda one: (one.instant, one.status or ""), default=None)
    return first.reason if first is not None and first.reason is not None else Reason.UNSPECIFIED


def _teller(scans: Sequence[Told]) -> str:
    """Return the account that told most of a parcel first."""
    told = Counter(one.account for one in scans)
    return min(told, key=lambda name: (-told[name], name), default="")


def _delays(scans: Sequence[Told]) -> dict[str, dict[int, int]]:
    """Count how late webhooks were: by the newest scan of each that it told first, where its moment is sure."""
    newest: dict[tuple[str, int | None], Told] = {}
    for one in scans:
        sure = one.zone in _SURE and one.precision is not Precision.DATE
        if not sure or one.pushed_at is None or one.pushed_at != one.heard_at:
            continue
        key = (one.account, one.payload)
        if key not in newest or newest[key].instant < one.instant:
            newest[key] = one
    found: dict[str, dict[int, int]] = {}
    for (account, _), one in newest.items():
        bucket = bucket_of((one.heard_at - one.instant).total_seconds())
        mine = found.setdefault(account, {})
        mine[bucket] = mine.get(bucket, 0) + 1
    return found


def bucket_of(seconds: float) -> int:
    """Return the bound under which a delay is counted: it took at most so many seconds; `LONGER` for more than all of them."""
    return next((bound for bound in DELAYS if seconds <= bound), LONGER)


def counts_of(one: Fared) -> dict[str, int]:
    """Return what a parcel adds to the counts of its day: names of counters with how many. Delays are its accounts' own."""
    told = {"parcels": 1, f"end/{one.end or 'open'}": 1, f"first/{one.first}": 1, f"last/{one.last}": 1}
    told |= {f"problem/{name}": 1 for name in one.problems}
    wrong = [name for name in one.problems if not name.startswith((f"{S.DELIVERY_ATTEMPTED}/", f"{S.RETURNED}/"))]
    flags = {"handed_over": one.handed_over, "returned": one.returned, "silent": one.silent, "exceptions": bool(wrong)}
    told |= {name: 1 for name, is_so in flags.items() if is_so}
    if one.attempt:
        told[f"attempt/{one.attempt}"] = 1
    if one.days is not None:
        told[f"days/{one.days}"] = 1
    return told


def percentile(counts: Mapping[int, int], share: float) -> int | None:
    """Return the value that at least this share of what was counted does not exceed (nearest rank); None where nothing was."""
    total, seen = sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= share * total:
            return value
    return None
