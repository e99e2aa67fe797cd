"""What a cadence needs of an account, and what comes of it where its budget gives less: the verdict of `tracker plan`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tracker.domain.cadence import Cadence, Pace

DAY: Final = timedelta(days=1)
SPREAD: Final = 1.05  # intervals are stretched by up to a tenth, by the number: so much by and large
ENOUGH_AGAIN: Final = 0.9  # of what the budget gives: a need that goes up and down around it is told once


@dataclass(frozen=True, slots=True)
class Group:
    """Parcels that are asked about equally often; `ended`: those that are looked at afterwards only."""

    pace: Pace
    ended: bool = False

    def looks(self, cadence: Cadence) -> float:
        """Return how often one of them is looked at in a day."""
        if self.ended and self.pace.fed and cadence.aftercare:
            return DAY / (cadence.aftercare[-1] * SPREAD)
        if not self.ended:
            return DAY / (self.pace.interval(cadence) * cadence.pace * SPREAD)
        if not cadence.aftercare:
            return 0.0
        return len(cadence.aftercare) * DAY / (cadence.aftercare[-1] * SPREAD)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the parcels of an account need and get: calls a day, and how often one of them is seen."""

    parcels: int
    needs: float
    gives: float | None  # None: no budget
    wanted: timedelta | None  # None: nothing is asked about
    seen: timedelta | None

    @property
    def suffices(self) -> bool:
        """Tell whether each parcel is seen as often as the cadence wants."""
        return self.gives is None or self.needs <= self.gives

    def told(self, before: bool) -> bool:
        """Tell whether a budget that does not suffice is a finding, where it was one `before` or not."""
        return not self.suffices or (before and self.gives is not None and self.needs > self.gives * ENOUGH_AGAIN)

    def sentence(self, ways: Sequence[str] = ()) -> str:
        """Say it in one sentence; `ways`: what would have the parcels seen as often as is wanted."""
        needs = f"this cadence needs {amount(self.needs)} calls a day"
        if self.gives is None:
            return f"{needs}; the account has no budget"
        gives = f"{needs}, the budget gives {amount(self.gives)}"
        if self.suffices or self.wanted is None or self.seen is None:
            return f"{gives}: it suffices"
        said = f"{gives}: parcels will be seen every {span(self.seen)} instead of {span(self.wanted)}"
        return said + (f"; {', '.join(ways[:-1])}{' or ' if ways[:-1] else ''}{ways[-1]}" if ways else "")


def verdict(
    groups: Iterable[tuple[Group, Cadence, int]],
    *,
    batch: int,
    budget: tuple[int, timedelta] | None,
    sweeps: float = 0.0,
) -> Verdict:
    """Judge a budget (so many calls in a while) by the open parcels, so many of each kind; a call asks about `batch` of them.

    `sweeps`: so many calls a day read the account's feed; parcels have what is left.
    """
    counted = [(group.looks(cadence), count) for group, cadence, count in groups]
    parcels = sum(count for _, count in counted)
    looks = sum(each * count for each, count in counted)
    needs = looks / batch + sweeps
    gives = budget[0] * (DAY / budget[1]) if budget is not None else None
    if not looks:
        return Verdict(parcels, needs, gives, None, None)
    wanted = DAY * parcels / looks
    seen = wanted if gives is None or needs <= gives else DAY * parcels / (max(gives - sweeps, gives / 10) * batch)
    return Verdict(parcels, needs, gives, wanted, seen)


def amount(value: float) -> str:
    """Write a number of calls, to two digits that mean something where it is an estimate."""
    if value < 100:
        return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1g}"
    digits = len(str(int(value))) - 3
    return f"{round(value, -max(digits, 0)):,.0f}"


def span(value: timedelta) -> str:
    """Write how often a parcel is seen: minutes below two hours, hours below ten days, then days."""
    hours = value / timedelta(hours=1)
    if hours < 2:
        return f"{round(hours * 60)} min"
    return f"{hours:.0f} h" if hours < 240 else f"{hours / 24:.0f} d"
