"""Read a GraphQL API: what an answer holds or complains of, and a list sorted by change, by a cursor that loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tracker.domain.errors import BadPayload, Unavailable
from tracker.plugin.answers import said_by
from tracker.plugin.calls import Response
from tracker.plugin.payloads import decode, mapping, moment


@dataclass(frozen=True)
class Listed:
    """An answer: its bytes, the list's object (`pageInfo` in it), and the orders of the page."""

    body: bytes
    connection: dict[str, Any]
    nodes: list[Any]


def first_error(response: Response) -> dict[str, Any] | None:
    """Return the first error of an answer, which comes with HTTP 200; empty where it has another shape, None where there is none."""
    if b'"errors"' not in response.body:
        return None
    try:
        errors = decode(response.body).get("errors")
    except BadPayload:
        return None  # an answer that cannot be read: told as such
    if not errors:
        return None
    return errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}


def data_of(response: Response, name: str) -> dict[str, Any]:
    """Return the data of an answer that holds what was asked for. Raises Unavailable where it does not: that is never "nothing"."""
    try:
        data = mapping(decode(response.body).get("data"), "$.data")
    except BadPayload:
        data = {}
    if name not in data:
        raise Unavailable(f"GraphQL answered without {name}: {said_by(response.body)}")
    return data


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
