"""What is known, as of when, and what is not, in values and in sentences: so that nobody reads silence as agreement.

A gap is a group of orders, parcels, payloads or writes of which nobody knows how they stand: why, since when, and what
would end that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

COUNTED_TO = 10_000  # from so many on it is "or more"
NEVER_READ = ("not_taken", "first_sync")  # gaps about stores of which nobody has read all orders yet
FEW = 3  # stores that are named
ONE = {"orders": "order", "parcels": "parcel", "payloads": "payload", "writes": "write", "stores": "store"}


@dataclass(frozen=True)
class Gap:
    """Something nobody knows: how many of what, where, why, since when, and what would end it."""

    what: str
    where: str
    count: int
    of: str
    why: str
    since: datetime | None = None
    until: str = ""
    told: bool = False  # worth telling; how the order stands is known all the same

    @property
    def many(self) -> str:
        """Say how many of what it is about."""
        return f"{self.count:,}{' or more' if self.count >= COUNTED_TO else ''} {self.of if self.count != 1 else self.of[:-1]}"

    def row(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "what": self.what, "where": self.where, "count": self.count, "of": self.of, "why": self.why,
            "since": self.since, "until": self.until or None, "said": str(self),
        }  # fmt: skip

    def __str__(self) -> str:
        """Say it in one line."""
        since = f" since {self.since:%Y-%m-%d %H:%M}Z" if self.since else ""
        until = f"; it takes {self.until}" if self.until else ""
        if not self.count:  # nothing waits for it yet
            return f"{self.where}: {self.why}{since}{until}"
        return f"{self.where}: {self.many}{since}: {self.why}{until}"


@dataclass
class Knowledge:
    """What is known of all orders, or of a store's: as of when, and the gaps."""

    orders: int = 0
    as_of: datetime | None = None
    gaps: list[Gap] = field(default_factory=list)
    unknown: int = 0  # orders that the gaps concern

    @property
    def whole(self) -> bool:
        """Say whether all is known."""
        return all(gap.told for gap in self.gaps)

    def row(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "orders": self.orders, "unknown_orders": self.unknown, "as_of": self.as_of, "all_known": self.whole,
            "unknown": [gap.row() for gap in self.gaps],
        }  # fmt: skip

    def sentence(self, none: str) -> str:
        """Say that there is none of something, of what is known: `no drift: of 12 orders, all known as of ...`."""
        if not self.whole:
            left = max(0, self.orders - self.unknown)
            never = [gap.where for gap in self.gaps if gap.what in NEVER_READ]  # how many orders they have nobody knows
            named = ", ".join(never) if len(never) <= FEW else f"{len(never):,} stores"
            others = f", and what was not read yet of {named}" if never else ""
            return f"{none} among the orders that are known: {left:,}; not known: {self.unknown:,}{others}"
        if not self.orders:
            return f"{none}: no order is known yet"
        as_of = f" as of {self.as_of:%Y-%m-%d %H:%M}Z" if self.as_of else ""
        return f"{none}: of {_many(self.orders, 'orders')}, all known{as_of}"


def _many(count: int, of: str) -> str:
    return f"{count:,}{' or more' if count == COUNTED_TO else ''} {of if count != 1 else ONE.get(of, of)}"
