"""Times as a description says that they are printed: ISO 8601, seconds since 1970, or a pattern of strptime."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Unread
from tracker.domain.vocabulary import Precision, Zone
from tracker.plugin.payloads import kind, moment, optional, printed

MOST_TIME = 64  # characters of a printed time
_NEVER = (None, None, Zone.UNKNOWN, Precision.SECOND)
_strptime = datetime.strptime  # without an offset what is printed stays naive, and is marked


def _time_format(value: Any) -> Any:
    if isinstance(value, str) and value not in ("iso", "unix", "unix_ms"):
        if "%" not in value:
            raise ValueError("must be iso, unix, unix_ms or a pattern such as %d.%m.%Y %H:%M (of strptime)")
        try:
            _strptime(datetime(2026, 11, 2, 12, 30, tzinfo=UTC).strftime(value), value)
        except ValueError as error:
            raise ValueError(f"is no pattern of strptime: {error}") from None
    return value


TimeFormat = Annotated[str, BeforeValidator(_time_format)]


def time_of(value: Any, where: str, form_: str) -> datetime:
    """Read a time as it is printed: `iso`, `unix`, `unix_ms`, or a pattern of strptime. Raises BadPayload."""
    if form_ == "iso":
        return moment(value, where)
    try:
        if form_.startswith("unix"):
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float | str)
                or (isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) < 16))
            ):
                raise ValueError
            at = datetime.fromtimestamp(float(value) / (1000 if form_ == "unix_ms" else 1), UTC)
        else:
            if not isinstance(value, str) or not value.isascii() or len(value) > MOST_TIME:
                raise ValueError
            at = _strptime(value.strip(), form_)
    except (ValueError, OverflowError, OSError):
        shown = repr(value[:40]) if isinstance(value, str) else kind(value)
        raise BadPayload(where, f"is no time of the format {form_}: {shown}") from None
    if not 1 < at.year < 9999:
        raise BadPayload(where, "is no year that can be")
    return at


def printed_as(
    form_: str, value: Any, where: str, unread: list[Unread]
) -> tuple[datetime | None, datetime | None, Zone, Precision]:
    """Return a moment as a scan holds it, as `printed` does, of the format that the description says."""
    if form_ == "iso":
        return printed(value, where, unread)
    at = optional(partial(time_of, form_=form_), value, where, unread)
    if at is None:
        return _NEVER
    if at.tzinfo is None:
        return at, None, Zone.UNKNOWN, Precision.SECOND if "%H" in form_ or "%I" in form_ else Precision.DATE
    return at.replace(tzinfo=None), at, Zone.OFFSET, Precision.SECOND
