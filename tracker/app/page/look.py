"""Who looks, at what, and what a view answers. Who sees some stores only is shown nothing else.

A view raises Missing for what is not there, or not for who asks: both in the same words; and Wrong for what cannot be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tracker.app.tokens import Holder
from tracker.domain.errors import TrackerError
from tracker.pipeline.context import AppContext
from tracker.store.queries import Stores
from tracker.store.tables import accounts

ROWS = 50  # of a page of a list
MOST_STORES = 200  # that are offered to choose from
UNNAMED = "Nothing of this name is here."


class Missing(TrackerError):
    """What is not there, or not for who asks."""


class Wrong(TrackerError):
    """What cannot be meant: what it is, and what would be right."""


@dataclass(frozen=True)
class Look:
    """Who looks, at what: the token's holder, the parameters of the address, and the number in its path."""

    holder: Holder
    query: Mapping[str, str]
    id: int = 0

    @property
    def stores(self) -> Stores:
        """Return the stores that are meant: the one that is chosen, or all that may be seen; None: all. Raises Missing."""
        chosen, seen = self.query.get("store"), self.holder.stores
        if not chosen:
            return seen
        if seen is not None and chosen not in seen:
            raise Missing(UNNAMED)
        return chosen if seen is None else frozenset({chosen})

    def sees(self, store: str | None) -> bool:
        """Say whether what is of a store may be seen."""
        return self.holder.stores is None or store in self.holder.stores

    def one_of(self, name: str, choices: list[str]) -> str | None:
        """Return a parameter that is one of some words, None where it is not given. Raises Wrong."""
        value = self.query.get(name) or None
        if value is not None and value not in choices:
            raise Wrong(f"{name}: must be one of {', '.join(choices)}")
        return value

    def number(self, name: str) -> int | None:
        """Return a parameter that is a whole number, None where it is not given. Raises Wrong."""
        value = self.query.get(name) or None
        if value is not None and not (value.isascii() and value.isdigit() and len(value) < 19):
            raise Wrong(f"{name}: must be a whole number")
        return int(value) if value is not None else None


@dataclass(frozen=True)
class Shown:
    """A template and what it is given; or where to look instead."""

    template: str
    values: Mapping[str, Any]
    instead: str | None = None


View = Callable[[AppContext, Look], Shown]


def listed(ctx: AppContext, look: Look) -> dict[str, Any]:
    """Return what a list with a filter is shown with: the stores to choose from (not thousands), and how long a page is.

    Raises Missing where a store is chosen that is not configured and never was: of one that nobody knows, nothing is fine.
    """
    chosen, a = look.query.get("store"), accounts.c
    if chosen and chosen not in ctx.config.store_names():
        with ctx.store.read() as connection:
            if connection.execute(sa.select(a.name).where(a.name == chosen, a.kind == "store")).first() is None:
                raise Missing(UNNAMED)
    names = sorted(ctx.config.store_names() if look.holder.stores is None else look.holder.stores)
    return {"stores": names if len(names) <= MOST_STORES else [], "limit": ROWS}
