"""Times as a description says that they are printed: ISO 8601, seconds since 1970, or a pattern of strptime."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Unread
from tracker.domain.vocabulary import Precision, Zone
from tracker.plugin.payloads import kind, moment, optional, printed

COMPACT = "%Y%m%d%H%M%S"
MOST_TIME = 64  # characters of a printed time
UNIX = {"unix": 1, "unix_ms": 1000}  # parts of a second
_SAMPLE = datetime(2026, 11, 27, 13, 45, 9, tzinfo=UTC)
_NEVER = (None, None, Zone.UNKNOWN, Precision.SECOND)
_strptime = datetime.strptime  # without an offset what is printed stays naive: the core places it, and marks it
Told = tuple[datetime | None, datetime | None, Zone, Precision]


def fineness(form: str) -> Precision:
    """Return how fine a form prints a time. Raises ValueError for one that does not print a whole date."""
    if form == "iso" or form in UNIX:
        return Precision.SECOND
    try:
        back = _strptime(_SAMPLE.strftime(form), form)
    except ValueError:
        raise ValueError(f"{form!r:.40} is no form of a time: iso, or such as %Y%m%d%H%M%S") from None
    if back.date() != date(_SAMPLE.year, _SAMPLE.month, _SAMPLE.day):
        raise ValueError(f"{form!r:.40} prints no whole date: it needs year, month and day")
    if back.hour != _SAMPLE.hour:
        if "%H" in form or "%I" in form:
            raise ValueError(f"{form!r:.40} prints no whole hour: %I needs %p")
        return Precision.DATE
    return Precision.SECOND if back.second == _SAMPLE.second else Precision.MINUTE


def _form(form: str) -> str:
    fineness(form)
    return form


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise ValueError(f"no time zone {name!r:.40}: such as Europe/Brussels") from None
    return name


TimeFormat = Annotated[str, AfterValidator(_form)]
ZoneName = Annotated[str, AfterValidator(_zone)]


def time_of(value: Any, where: str, form: str) -> datetime:
    """Read a time as it is printed: `iso`, `unix`, `unix_ms`, or a pattern of strptime. Raises BadPayload."""
    if form == "iso":
        return moment(value, where)
    try:
        if form in UNIX:
            at = datetime.fromtimestamp(_seconds(value) / UNIX[form], UTC)
        elif not isinstance(value, str) or not value.isascii() or len(value) > MOST_TIME:
            raise ValueError
        elif form == COMPACT and len(value) == 14 and value.isdecimal():
            at = datetime.fromisoformat(f"{value[:8]}T{value[8:]}")  # ten times faster
        else:
            at = _strptime(value.strip(), form)
    except (ValueError, OverflowError, OSError):
        shown = repr(value[:40]) if isinstance(value, str) else kind(value)
        raise BadPayload(where, f"is no time of the form {form}: {shown}") from None
    if not 1 < at.year < 9999:
        raise BadPayload(where, f"is no year that can be: {str(value)[:40]!r}")
    return at


def _seconds(value: Any) -> float:
    """Return a number, or the digits of one. Raises ValueError."""
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16
    if isinstance(value, bool) or not (digits or isinstance(value, int | float)):
        raise ValueError
    return float(value)


@cache
def clock(form: str) -> Callable[[Any, str], Told]:
    """Return what reads times of a form: local time, the instant where an offset is printed, its zone, how fine it is."""
    precision = fineness(form)

    def read(value: Any, where: str) -> Told:
        at = time_of(value, where, form)
        fine = Precision.DATE if form == "iso" and len(value.strip()) <= 10 else precision
        if at.tzinfo is None:
            return at, None, Zone.UNKNOWN, fine
        return at.replace(tzinfo=None), at, Zone.OFFSET, fine

    return read


def printed_as(form: str, value: Any, where: str, unread: list[Unread]) -> Told:
    """Return a moment as a scan holds it, as `printed` does, of the form that a description says."""
    if form == "iso":
        return printed(value, where, unread)
    return optional(clock(form), value, where, unread) or _NEVER
