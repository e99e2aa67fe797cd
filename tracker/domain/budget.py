"""How many calls a budget still gives: so many in any span of its length, wherever that span begins.

Calls are counted in parts of the span. A call counts as made at the end of the part in which it may have come to the other side at the
latest, and from there for the whole span: by the carrier's own log no span ever holds more calls than the budget, and a call is free
again a sixtieth of the span (and the way there) after it might be.

Some calls are kept for parcels that are urgent, so that one that goes out for delivery is asked about in time although others could use
up all that is left: as many as it would be asked for until calls are free again, half of the budget at most. Others have a quarter of the
budget all the same, however much is urgent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

# [the end of a part in milliseconds since 1970, calls that were made in it, how many of these for what is not urgent], the oldest first
Spent = Sequence[Sequence[int]]

PARTS: Final = 60
# so long may a call take to come to the other side: the longest `network.timeout`, and what clocks of two processes may differ by
ON_ITS_WAY: Final = timedelta(seconds=30)
LAST_WAY: Final = timedelta(hours=8)  # so long are calls looked ahead for that urgent parcels will want
COSTS: Final = 1.25  # calls that an urgent look may cost, with its part of tokens and of further tries
OTHERS: Final = 4  # one in so many calls is for what is not urgent, whatever is kept
_EPOCH, _UNIT = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


class Calls:
    """What a budget of `calls` in any `per` gives at a moment, of which some are spent."""

    def __init__(self, calls: int, per: timedelta, spent: Spent | None, now: datetime) -> None:
        """Leave out what counts no more. A part that ends later than one could end now is one of a clock that was wrong."""
        self._calls, self._now, self._per = calls, (now - _EPOCH) // _UNIT, per // _UNIT
        self._part = max(1, self._per // PARTS)
        way = min(ON_ITS_WAY // _UNIT, self._per // 20)
        self._ends = -(-(self._now + way + 1) // self._part) * self._part
        at = ([min(end, self._ends), count, others] for end, count, others in spent or ())
        self._spent = [part for part in at if part[0] + self._per > self._now]

    @property
    def left(self) -> int:
        """How many calls may be made now."""
        return max(0, self._calls - sum(count for _, count, _ in self._spent))

    def free_at(self, wanted: int = 1) -> datetime:
        """Return when so many calls may be made: now, or when enough of those that were made count no more."""
        missing = wanted - (self._calls - sum(count for _, count, _ in self._spent))
        at = self._now
        for end, count, _ in self._spent:
            if missing <= 0:
                break
            missing, at = missing - count, end + self._per
        return _EPOCH + at * _UNIT

    def take(self, *, urgent: bool = True) -> list[list[int]]:
        """Return what is spent with one call more."""
        taken = [list(part) for part in self._spent]
        if not taken or taken[-1][0] != self._ends:
            taken.append([self._ends, 0, 0])
        taken[-1][1] += 1
        taken[-1][2] += not urgent
        return taken

    def kept(self, urgent: int, every: timedelta) -> int:
        """Return how many calls are kept for urgent parcels, of which so many are known (one may be any moment), each asked `every` so often."""
        rate, needs = COSTS * max(1, urgent) / (every // _UNIT), 0.0
        until, free = min(self._per, LAST_WAY // _UNIT), 0
        for end, count, _ in [*self._spent, (self._now + until - self._per, 0, 0)]:
            after = min(end + self._per - self._now, until)
            needs = max(needs, rate * after - free)
            free += count
        return min(ceil(needs), self._calls // 2)

    def others(self, urgent: int, every: timedelta, waiting: int = 0) -> int:
        """Return how many calls may be made for what is not urgent, while so many that are urgent wait."""
        theirs = -(-self._calls // OTHERS) - sum(others for _, _, others in self._spent)
        return max(0, self.left - waiting - self.kept(urgent, every), min(self.left, theirs))

    def others_at(self, urgent: int, every: timedelta) -> datetime:
        """Return when a call may be made for what is not urgent: now, or at the end of a part."""
        at = self
        while not at.others(urgent, every):
            later = (at._now // self._part + 1) * self._part
            at = Calls(self._calls, timedelta(milliseconds=self._per), self._spent, _EPOCH + later * _UNIT)
        return _EPOCH + at._now * _UNIT
