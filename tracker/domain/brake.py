"""When an account's news are too strange to be written: the share of journeys that end, leapt against its own last weeks.

Counted are steps: a parcel stood somewhere, so long after its carrier had it, and a scan said where it is now. Whether that
ended its journey is compared with what the same step did in the account's last weeks. So a day of five times the usual
orders, a weekend, or a shop whose parcels all arrive at once changes no share; and neither does catching up, as scans are
taken in the order in which they happened. Counted too is by which codes journeys end: one that ended none may not suddenly
end many. Pure: the counts come from `tracker.pipeline.brakes`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from typing import NamedTuple

from tracker.domain.facts import StoredScan, Summary
from tracker.domain.vocabulary import ShippingStatus

S = ShippingStatus
ENDS = frozenset(status for status in S if status.terminal) | {S.DELIVERY_FAILED}  # what a customer takes for the end
NEAR, WITHDRAWN = "near", "ended"  # where a parcel stood: at the door, on its way back; and where an end was taken back
BY, OTHERS = "by ", "others"  # before a code: of all journeys that ended, those by it; codes that are not told apart
MOST_CODE = 100  # characters of it that are kept
EDGES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 19, 23, 27, 32, 38, 45, 54, 64, 76, 91, 108, 128, 152, 181, 215, 256)  # fmt: skip
# hours, each about a fifth more than the one before: a step is counted by the last of them that it reached
FASTER = 1.25  # a carrier may become so much faster without being asked about it
SOON = 3  # hours within which hardly any parcel arrives that was never seen near its door
HARDLY = 0.02  # the share of such steps, and of ends that are taken back, where nothing is known yet
WEIGHT = 10  # for so many steps counts what is assumed of a share that is not known yet
WEEKS = timedelta(weeks=4)
ENOUGH_DAYS = 3  # on which journeys ended: before, an account has no usual share
ENOUGH_ENDS = 20  # so many by other codes on an earlier day show that a new code is one; its share is assumed to be
SELDOM = 0.1  # as long as not all that are usual may have been seen
_UNSAID = frozenset(
    {S.DELIVERED, S.RETURNED, S.DESTROYED}
)  # what is taken back; lost may reappear, a void label be used
_AT_THE_DOOR = frozenset({S.OUT_FOR_DELIVERY, S.DELIVERY_ATTEMPTED, S.AVAILABLE_FOR_PICKUP, S.RETURNING})


class Step(NamedTuple):
    """Where a parcel stood, and how many hours after its carrier had it (one of EDGES)."""

    stood: str
    hours: int


class Count(NamedTuple):
    """How many steps there were, and how many of them ended a journey (of WITHDRAWN: took an end back; of a code: by it)."""

    steps: int = 0
    ends: int = 0


Counts = Mapping[Step, Count]


@dataclass(frozen=True, slots=True)
class Leap:
    """Steps from one place (or ends by one code) that are far more than usual: how many, and how many would be."""

    stood: str
    steps: int
    ends: int
    usual: float


def step_at(stood: str, began: datetime, at: datetime) -> Step:
    """Return a step as it is counted; `began`: when its carrier had the parcel, or its journey began."""
    hours = (at - began) / timedelta(hours=1)
    return Step(stood, max(edge for edge in EDGES if edge <= max(hours, 0)))


def steps_of(
    before: Summary, after: Summary, fresh: Collection[StoredScan], began: datetime, since: datetime
) -> list[tuple[Step, bool]]:
    """Return the steps of a parcel that a batch tells, each with whether it ended the journey; of an ended parcel none.

    `fresh` are the scans that were not known before; what happened before `since` (when an order first named the parcel) is
    history and not counted. A label that was voided before its carrier had the parcel ended no journey.
    """
    if before.status in _UNSAID and not after.status.terminal:
        return [(Step(WITHDRAWN, 0), True)]
    if before.status in ENDS:
        return []
    ended_at = after.since if after.status in ENDS else None
    stood, near, custody = before.status, before.neared, before.custody_at
    found: list[tuple[Step, bool]] = []

    def take(at: datetime, ended: bool) -> None:
        if at >= since:
            where = NEAR if near or stood in _AT_THE_DOOR else str(stood)
            found.append((step_at(where, custody or began, at), ended))

    for told in sorted(fresh, key=lambda told: told.instant):
        status = told.meaning.status
        if (
            status is None
            or status is S.UNKNOWN
            or status in ENDS
            or (ended_at is not None and told.instant > ended_at)
        ):
            continue
        take(told.instant, False)
        stood, near = status, near or status in _AT_THE_DOOR
        custody = custody or (told.instant if status.custody else None)
    if ended_at is not None and ended_at >= since and not (after.status is S.CANCELLED and custody is None):
        take(ended_at, True)
        found.append((Step(WITHDRAWN, 0), False))  # it may be taken back
        by = next((f"{told.space}/{told.code}" for told in fresh if told.fingerprint == after.run), OTHERS)
        found.append((Step(BY + by[:MOST_CODE], 0), True))
    return found


def leaps(today: Counts, past: Counts, days: int, factor: float, unproven: Collection[str] = ()) -> list[Leap]:
    """Return what leapt today against the past; `days`: of the past, on which journeys ended.

    A share that is known from few steps is drawn to that of parcels of the same age, and this one to the share of journeys
    that had ended at that age. An account of fewer days than ENOUGH_DAYS has no usual share: it is asked only whether
    parcels end that were just handed over, by codes that are `unproven` or new, or whether ends are taken back.
    """
    usual = _Usual(past, days, unproven)
    found: dict[str, Leap] = {}
    so_far: dict[
        str, Leap
    ] = {}  # from one place, of parcels up to an age: those that are usual later hide no young ones
    for step in sorted(today):
        if not step.stood.startswith(BY):
            count, before = today[step], so_far.get(step.stood, Leap(step.stood, 0, 0, 0))
            more = before.usual + count.steps * usual.share(step, count)
            one = Leap(step.stood, before.steps + count.steps, before.ends + count.ends, more)
            so_far[step.stood] = one
            if one.ends and one.ends >= factor * one.usual:
                found[step.stood] = max(found.get(step.stood, one), one, key=_excess)
    ends = sum(count.ends for step, count in today.items() if step.stood.startswith(BY))
    for step in sorted(today):
        if step.stood.startswith(BY):
            one = Leap(step.stood, ends, today[step].ends, ends * usual.share_of_code(step))
            if one.ends >= factor * one.usual:
                found[step.stood] = one
    return list(found.values())


def excess(found: Iterable[Leap]) -> float:
    """Return how many parcels ended beyond what is usual, and beyond what chance brings (three standard deviations).

    Of where they stood or by which codes, whichever is more: they are the same parcels.
    """
    more = [(one.stood.startswith(BY), _excess(one)) for one in found]
    return max(sum(many for by_code, many in more if by_code is which) for which in (False, True))


def _excess(one: Leap) -> float:
    return max(one.ends - one.usual - 3 * sqrt(one.usual), 0)


class _Usual:
    """What an account's last weeks say of the share of steps that end a journey."""

    def __init__(self, past: Counts, days: int, unproven: Collection[str]) -> None:
        self._past, self._known, self._unproven = past, days >= ENOUGH_DAYS, unproven
        self._by_age: dict[int, Count] = defaultdict(Count)
        self._ended: dict[int, int] = defaultdict(int)  # journeys, by the age at which they did
        self._by_code = 0
        for step, count in past.items():
            if step.stood.startswith(BY):
                self._by_code += count.ends
            elif step.stood != WITHDRAWN:
                self._ended[step.hours] += count.ends
                if step.stood != NEAR:
                    self._by_age[step.hours] = _plus(self._by_age[step.hours], count)

    def share(self, step: Step, today: Count) -> float:
        """Return the usual share of a step; what did not end a journey today counts at once, what did only tomorrow."""
        assumed = self._assumed(step)
        if assumed is None:
            return 1.0
        known = self._past.get(step, Count())
        return (known.ends + WEIGHT * assumed) / (known.steps + WEIGHT + today.steps - today.ends)

    def share_of_code(self, step: Step) -> float:
        """Return the usual share of a code among those that end journeys."""
        assumed = HARDLY if self._known or step.stood.removeprefix(BY) in self._unproven else SELDOM
        if step.stood == BY + OTHERS or (assumed == SELDOM and self._by_code < ENOUGH_ENDS):
            return 1.0
        return (self._past.get(step, Count()).ends + WEIGHT * assumed) / (self._by_code + WEIGHT)

    def _assumed(self, step: Step) -> float | None:
        """Return the share of a step that was never seen; None: any may be true."""
        if step.stood == WITHDRAWN:
            return HARDLY
        soon = step.hours < SOON
        if step.stood == NEAR or not (self._known or soon):
            return None
        if not self._known:
            return HARDLY
        ended = self._ended_by(step.hours)
        same_age = self._by_age[step.hours]
        return (same_age.ends + WEIGHT * (min(ended, HARDLY) if soon else ended)) / (same_age.steps + WEIGHT)

    def _ended_by(self, hours: int) -> float:
        """Return the share of journeys that had ended at an age, or a little later: a carrier may become faster."""
        later = FASTER * min((edge for edge in EDGES if edge > hours), default=hours)
        return sum(many for age, many in self._ended.items() if age < later) / (sum(self._ended.values()) or 1)


def _plus(one: Count, other: Count) -> Count:
    return Count(one.steps + other.steps, one.ends + other.ends)
