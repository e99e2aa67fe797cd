"""Read a list of a GraphQL API that is sorted by change, page by page, with a cursor that loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tracker.domain.errors import BadPayload, Unavailable
from tracker.plugin.payloads import mapping, moment


@dataclass(frozen=True)
class Listed:
    """An answer: its bytes, the list's object (`pageInfo` in it), and the orders of the page."""

    body: bytes
    connection: dict[str, Any]
    nodes: list[Any]


def sweep(
    cursor: str | None, now: datetime, overlap: timedelta, ask: Callable[[datetime | None, str | None], Listed]
) -> Iterator[tuple[Listed, str]]:
    """Ask for all that changed since the cursor, oldest change first; returns each page with the cursor that follows it.

    `ask(since, after)` asks for what changed since then (None: for all), behind a page of that list. The next mark is the newest
    change of the list by the shop's clock, never later than `now`; the list is asked from `overlap` before it, where an index may lag.
    A cursor is `<mark>|<page>`; the page is set while a sweep is under way. Raises Unavailable for a page that does not say whether one follows.
    """
    mark, after = _cursor(cursor)
    if mark is not None and mark > now + overlap:
        mark, after = None, None  # a mark ahead of our clock is not believed: everything is read again
    latest = mark
    while True:
        listed = ask(mark - overlap if mark else None, after)
        info = listed.connection.get("pageInfo")
        next_ = info.get("hasNextPage") if isinstance(info, dict) else None
        after = info.get("endCursor") if isinstance(info, dict) and next_ else None
        if not isinstance(next_, bool) or (next_ and not (isinstance(after, str) and after)):
            raise Unavailable("GraphQL answered without what comes after this page")
        latest = max([*filter(None, map(_stamp, listed.nodes)), *([latest] if latest else [])], default=None)
        ends = mark if after else min(latest, now) if latest else None
        yield listed, f"{ends.astimezone(UTC).isoformat() if ends else ''}|{after or ''}"
        if not after:
            return


def _stamp(node: Any) -> datetime | None:
    """Return when an order changed; None where it cannot be read."""
    try:
        at = moment(mapping(node, "$").get("updatedAt"), "$.updatedAt")
        return at.astimezone(UTC) if at.tzinfo else None
    except (BadPayload, OverflowError):
        return None


def _cursor(cursor: str | None) -> tuple[datetime | None, str | None]:
    if not cursor:
        return None, None
    mark, _, page = cursor.partition("|")
    return (datetime.fromisoformat(mark) if mark else None), page or None
