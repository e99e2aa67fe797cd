"""When to ask a carrier about a parcel again."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from tracker.domain.facts import Edd, Summary
from tracker.domain.vocabulary import ShippingStatus, TrackingState

S, H = ShippingStatus, timedelta(hours=1)
NEAR = 6 * H  # around an estimated delivery

_INTERVALS = {
    S.UNKNOWN: 3 * H,
    S.PRE_TRANSIT: 6 * H,
    S.PICKED_UP: 4 * H,
    S.IN_TRANSIT: 4 * H,
    S.ON_HOLD: 4 * H,
    S.DELAYED: 4 * H,
    S.EXCEPTION: 4 * H,
    S.OUT_FOR_DELIVERY: H / 2,
    S.DELIVERY_ATTEMPTED: 2 * H,
    S.AVAILABLE_FOR_PICKUP: 6 * H,
    S.DELIVERY_FAILED: 6 * H,
    S.RETURNING: 12 * H,
    S.LOST: 24 * H,
}


def looks_after(span: timedelta) -> tuple[timedelta, ...]:
    """Return when to look after an end, counted from it: ever rarer (12 h, 36 h, 84 h, ...), the last one at `span`."""
    looks: list[timedelta] = []
    step, gap = 12 * H, 12 * H
    while step <= span:
        looks.append(step)
        gap *= 2
        step += gap
    if span <= timedelta(0) or looks[-1:] == [span]:
        return tuple(looks)
    if looks and span - looks[-1] < gap / 2:  # too near to the one before it
        looks.pop()
    return (*looks, span)


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often to ask. `aftercare`: the looks after a terminal scan, because carriers correct themselves.

    `doubted_for`: so long is a parcel whose end was contradicted or withdrawn looked at as one on its way.
    """

    intervals: Mapping[ShippingStatus, timedelta] = field(default_factory=lambda: MappingProxyType(_INTERVALS))
    near_delivery: timedelta = H
    quiet_after: timedelta = timedelta(days=3)
    slowest: timedelta = timedelta(days=1)
    aftercare: tuple[timedelta, ...] = looks_after(timedelta(days=7))
    doubted_for: timedelta = timedelta(days=3)
    expired_after: timedelta = timedelta(days=30)
    pace: float = 1.0  # an account with webhooks may be asked less often


DEFAULT = Cadence()


def next_poll(
    summary: Summary,
    state: TrackingState,
    cadence: Cadence,
    now: datetime,
    *,
    number: str,
    began: datetime,
    edd: Edd | None,
    fed: bool = False,
) -> datetime | None:
    """Answer when to ask again, or None: never (it ended, or nothing was heard for `expired_after`).

    `began` is when we first heard of the parcel. Sooner when out for delivery or near the estimated delivery, slower
    when quiet. An end that is disputed is none; one that was contradicted or withdrawn counts as news. The interval is
    stretched by up to 10 % by a hash of the number, so parcels of one batch drift apart. `fed`: a feed that is whole tells
    what becomes of it, so that looks are rare: as slow as they get, and once after its end.
    """
    if state in (TrackingState.STOPPED, TrackingState.INVALID_NUMBER, TrackingState.UNSUPPORTED):
        return None
    spread = 1 + (zlib.crc32(number.encode()) % 1000) / 10_000
    doubted = summary.doubted_at
    news = max(summary.last_scan_at or began, began, doubted or began)
    settled = summary.status.terminal and summary.status is not S.LOST and not summary.disputed
    if settled and summary.since is not None:
        ended = summary.last_scan_at or summary.since
        looks = cadence.aftercare[-1:] if fed else cadence.aftercare
        return next((at for step in looks if (at := ended + step * spread) > now), None)
    if now - news >= cadence.expired_after:
        return None
    interval = pace_of(summary, cadence, now, began=began, edd=edd, fed=fed).interval(cadence)
    return now + interval * cadence.pace * spread


@dataclass(frozen=True, slots=True)
class Pace:
    """What says how often a parcel on its way is asked about."""

    status: ShippingStatus
    quiet: bool = False
    doubted: bool = False
    near: bool = False
    fed: bool = False

    def interval(self, cadence: Cadence) -> timedelta:
        """Return how long to wait for the next look."""
        if self.fed:
            return cadence.slowest
        interval = cadence.intervals.get(self.status, cadence.slowest)
        if self.quiet:
            interval = max(interval, min(interval * 2, cadence.slowest))
        if self.doubted:
            interval = min(interval, cadence.intervals[S.IN_TRANSIT])
        return min(interval, cadence.near_delivery) if self.near else interval

    def __str__(self) -> str:
        """Say it in words."""
        if self.fed:
            return f"{self.status}, and a feed tells what becomes of it"
        why = ((self.near, "near its estimate"), (self.doubted, "its end is in doubt"), (self.quiet, "quiet for days"))
        return ", ".join([str(self.status), *(words for holds, words in why if holds)])


def pace_of(
    summary: Summary, cadence: Cadence, now: datetime, *, began: datetime, edd: Edd | None, fed: bool = False
) -> Pace:
    """Tell how often a parcel on its way is asked about, and why. What is in doubt is asked about whatever a feed tells."""
    at = summary.doubted_at
    news = max(summary.last_scan_at or began, began, at or began)
    doubted = at is not None and now - at < cadence.doubted_for
    return Pace(
        summary.status,
        quiet=now - news >= cadence.quiet_after,
        doubted=doubted,
        near=_near(summary, now, edd),
        fed=fed and not doubted and not summary.disputed,
    )


def is_urgent(summary: Summary, cadence: Cadence, now: datetime, *, edd: Edd | None, fed: bool = False) -> bool:
    """Tell whether the next look at a parcel goes before others: on its last way, near its estimate, in doubt or disputed."""
    pace = pace_of(summary, cadence, now, began=now, edd=edd, fed=fed)
    return not pace.fed and (summary.status is S.OUT_FOR_DELIVERY or summary.disputed or pace.doubted or pace.near)


def _near(summary: Summary, now: datetime, edd: Edd | None) -> bool:
    # the span is laid about now: an estimate may stand in the year 1 or 9999, beyond which no date lies
    return edd is not None and summary.status.custody and edd.begins <= now + NEAR and now - NEAR <= edd.ends
