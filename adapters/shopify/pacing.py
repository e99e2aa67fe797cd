"""The bucket of cost points of an app in a shop (shopify.dev, GraphQL Admin API rate limits, read 2026-11).

A query's requested cost is reserved when it is sent, and what it did not cost is given back; the bucket fills at the plan's rate. Each
answer says how it stands, so nothing of it is written down here: an operation waits until the bucket holds what it was said to cost last.
A piece of work begins by reading an order, and begins only when the bucket holds what follows too: pieces that wait in their midst
would spend on reading again what the bucket is filled with, and none would come to its end.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tracker.domain.errors import BadPayload, BudgetSpent, Resting
from tracker.plugin.calls import Response
from tracker.plugin.payloads import decode

FOLLOWS = 60  # points that must be left for what follows the reading of an order, until its costs are known; of a small bucket half at most
CALLS = 3  # as many follow one reading, mostly: to look, to write, to look again
AT_ONCE = 5  # where a piece must wait, all wait until so many may follow each other: few long rests instead of many short ones
_REQUESTED = re.compile(rb'"requestedQueryCost":\s*(\d{1,9}(?:\.\d+)?)')


class Status(NamedTuple):
    """How a bucket stood, in points and points a second."""

    left: float
    most: float
    rate: float

    def rest(self, need: float) -> timedelta | None:
        """Return how long until it holds so many points, or all that it can hold; None where it does."""
        missing = min(need, self.most) - self.left
        return timedelta(seconds=missing / self.rate) if missing > 0 else None


def status_of(response: Response) -> Status | None:
    """Return how the bucket stands, where an answer tells."""
    if b"throttleStatus" not in response.body:
        return None
    try:
        said: Any = decode(response.body)["extensions"]["cost"]["throttleStatus"]
        status = Status(*(float(said[name]) for name in ("currentlyAvailable", "maximumAvailable", "restoreRate")))
    except (BadPayload, KeyError, TypeError, ValueError):
        return None
    return status if status.rate > 0 else None


def requested(response: Response) -> float | None:
    """Return what an operation was said to cost, where its answer tells: at its end, beside the data."""
    found = _REQUESTED.search(response.body, max(0, len(response.body) - 2000))
    return float(found[1]) if found else None


class Pace:
    """What is known of one shop's bucket, and of what each operation costs. Threads may share it: each answer says it all anew."""

    def __init__(self) -> None:
        """Know nothing: what is asked first is answered or throttled, and tells."""
        self._status: Status | None = None
        self._at: datetime | None = None
        self._costs: dict[Hashable, float] = {}
        self._follows = float(FOLLOWS)

    def wait(self, operation: Hashable, now: datetime, *, begins: bool = False, follows: bool = False) -> None:
        """Raise while the bucket does not hold what an operation of this name and size cost last: BudgetSpent.

        `begins`: it begins a piece of work. Then what follows must be there too; Resting is raised, and the whole account waits.
        `follows`: it stands in the midst of one, which begins anew, and waits for it then.
        """
        need, status, at = self._costs.get(operation), self._status, self._at
        if need is None or status is None or at is None:
            return
        since = max(0.0, (now - at).total_seconds())
        filled = status._replace(left=min(status.most, status.left + status.rate * since))
        if begins:
            need += min(self._follows, status.most / 2)
        if (rest := filled.rest(need)) is None:
            return
        if not follows:
            # who comes again has waited: where others took the points meanwhile, Shopify says so, and all rest
            self._status = None
        said = f"it costs {need:g} points, and {filled.left:.0f} are there"
        if begins:
            raise Resting(said, filled.rest(max(need, min(AT_ONCE * need, status.most / 2))))
        raise BudgetSpent(said, rest)

    def heard(self, response: Response) -> None:
        """Take what an answer says of the bucket."""
        if (status := status_of(response)) is not None:
            self._status, self._at = status, response.received_at

    def took(self, operation: Hashable, response: Response, *, follows: bool = False) -> None:
        """Remember what an operation was said to cost; `follows`: it stands in the midst of a piece of work."""
        if (cost := requested(response)) is not None:
            self._costs[operation] = cost
            if follows:
                self._follows = max(self._follows, CALLS * cost)
