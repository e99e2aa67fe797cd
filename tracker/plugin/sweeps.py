"""Sweep a list by a cursor that loses nothing: its mark is the newest change that was told, and the list is read from an overlap before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Page
from tracker.plugin.payloads import mapping

OVERLAP = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list: its bytes, when each row changed (see `stamp`), whether it is the last, and how many rows there are."""

    body: bytes
    changed: Iterable[str]
    ends: bool
    total: int | None = None


def by_id(
    cursor: str | None, now: datetime, first: datetime | None, ask: Callable[[datetime | None, int], Listed]
) -> Iterator[Page]:
    """Ask for all that changed since the cursor, by id: while the list is paged, rows enter behind and none is passed over.

    `ask(since, page)` asks for a page, from 1, of what changed since then (None: of all). `first` is from when a list without a mark
    is read; None: all of it. The next mark is the newest change of the list by the shop's clock, never later than when it was begun.
    A cursor is `<mark>|<newest change>|<page>|<begun>`; what is behind the mark is set while a sweep is under way.
    """
    mark, best, page_, began_ = (*(cursor or "").split("|"), "", "", "")[:4]
    if mark and not believed(mark, now):
        mark, best, page_ = "", "", ""
    if not mark and first is not None:
        mark = first.astimezone(UTC).isoformat()
    page, began = int(page_ or 1), began_ or now.astimezone(UTC).isoformat()
    while True:
        listed = ask(since(mark), page)
        best = max([best or mark, *listed.changed])
        page += 1
        yield Page(
            (listed.body,), f"{min(best, began)}||" if listed.ends else f"{mark}|{best}|{page}|{began}", listed.total
        )
        if listed.ends:
            return


def believed(mark: str, now: datetime) -> str:
    """Return a mark; empty where it is ahead of our clock: the list is read as if there were none."""
    return mark if mark and datetime.fromisoformat(mark) <= now + OVERLAP else ""


def since(mark: str) -> datetime | None:
    """Say from when on a list is read; None: all of it."""
    return datetime.fromisoformat(mark) - OVERLAP if mark else None


def stamp(row: Any, key: str, read: Callable[[Any, str], datetime]) -> str:
    """Return when a row of a list changed, in UTC; empty where that cannot be read: an odd row moves no mark."""
    try:
        return read(mapping(row, "$").get(key), f"$.{key}").astimezone(UTC).isoformat()
    except (BadPayload, OverflowError):
        return ""
