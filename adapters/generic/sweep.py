"""How far a shop was swept, and how one page leads to the next."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from adapters.generic.settings import Settings
from tracker.domain.errors import BadPayload, Unavailable
from tracker.plugin.calls import Response
from tracker.plugin.paths import Reading
from tracker.plugin.payloads import decode
from tracker.plugin.sweeps import believed, since
from tracker.plugin.times import time_of

MOST_CURSOR = 2000
_NEXT = re.compile(r'<([^<>]{1,2000})>\s*;[^,]{0,200}\brel="?next"?')  # RFC 8288


@dataclass(frozen=True, slots=True)
class Cursor:
    """The mark up to which all is known; while a list is read, its page, its newest change, and when it was begun by our clock."""

    mark: str = ""
    page: str = ""
    best: str = ""
    began: str = ""

    @classmethod
    def of(cls, cursor: str | None) -> Cursor:
        """Read a cursor; one that is none of ours is the beginning."""
        try:
            given = orjson.loads(cursor or "{}")
            found = cls(**{name: str(value) for name, value in given.items()})
            for at in (found.mark, found.best, found.began):
                assert not at or datetime.fromisoformat(at).tzinfo
            return found
        except (ValueError, TypeError, AttributeError, AssertionError):
            return cls()

    def __str__(self) -> str:
        return orjson.dumps({name: value for name, value in asdict(self).items() if value}).decode()

    @property
    def done(self) -> bool:
        """Say whether the sweep is over."""
        return not self.began

    @property
    def since(self) -> datetime | None:
        """Return the moment to ask from: the mark, with an overlap."""
        return since(self.mark)

    def begin(self, now: datetime) -> Cursor:
        """Begin the list, unless it was begun. A mark ahead of our clock is not believed: the list is read from its start."""
        if self.began:
            return self
        return replace(self, mark=believed(self.mark, now), began=now.astimezone(UTC).isoformat())

    def after(self, changed: Iterable[str], page: str) -> Cursor:
        """Return the cursor that follows a page; an odd row moves nothing."""
        best = max([self.best, *changed])
        if page:
            return replace(self, best=best, page=page)
        return Cursor(mark=min(max(self.mark, best), self.began))


def stamp(settings: Settings, row: Any) -> str:
    """Return when an order changed; empty where that cannot be read."""
    facts = settings.facts
    try:
        at = time_of(Reading().one(facts.updated, row, []), "$", facts.time_format)
        return at.astimezone(UTC).isoformat() if at.tzinfo is not None else ""
    except (BadPayload, OverflowError):
        return ""


def said_as(form: str, at: datetime | None) -> str:
    """Write a moment as the shop reads it; nothing where there is none."""
    if at is None:
        return ""
    at = at.astimezone(UTC)
    if form == "iso":
        return at.isoformat()
    if form.startswith("unix"):
        return str(int(at.timestamp() * (1000 if form == "unix_ms" else 1)))
    return at.strftime(form)


def this_page(settings: Settings, cursor: Cursor) -> str:
    """Return what `{page}` is now, or the address of the page. One that another description left is the first."""
    pages = settings.sweep.pages
    if pages.size is not None:
        given = cursor.page if cursor.page.isascii() and cursor.page.isdigit() and len(cursor.page) < 10 else ""
        return given or ("1" if pages.by == "page" else "0")
    if pages.by == "link" and cursor.page:
        try:
            return _ours(settings.base_url, cursor.page)
        except Unavailable:
            return ""
    return cursor.page


def next_page(settings: Settings, response: Response, cursor: Cursor, rows: int) -> str:
    """Return what `{page}` is next, or the address of the next page; nothing: this was the last.

    Raises Unavailable for a cursor that is none, and for an address that is not the shop's own.
    """
    pages = settings.sweep.pages
    if pages.size is not None:
        step = 1 if pages.by == "page" else pages.size
        return str(int(this_page(settings, cursor)) + step) if rows >= pages.size else ""
    if pages.next is None:
        found = _NEXT.search(response.headers.get("link", "")[:10_000])
        value: Any = found[1] if found is not None else None
    else:
        value = Reading().one(pages.next, decode(response.body), [])
    if value is None or value == "" or value is False:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > MOST_CURSOR:
        raise Unavailable("the answer names a next page that is none")
    if pages.by == "link":
        return _ours(settings.base_url, str(value))
    return str(value)


def _ours(base_url: str, link: str) -> str:
    """Return the address of a page. Raises Unavailable where it is not on the shop's own host: our key goes with it."""
    try:
        base, parts = urlsplit(base_url), urlsplit(link)
    except ValueError:
        raise Unavailable("the answer names a next page that is no address") from None
    if not parts.netloc and link.startswith("/") and not link.startswith("//"):
        return f"{base.scheme}://{base.netloc}{link}"
    if (
        (parts.scheme, parts.netloc) != (base.scheme, base.netloc)
        or not link.isascii()
        or not link.isprintable()
        or " " in link
    ):
        raise Unavailable("the answer names a next page on another host")
    return link
