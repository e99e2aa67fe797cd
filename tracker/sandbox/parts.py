"""What every part of a scenario file has: no unknown keys, and how times are written."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

_OFFSET = re.compile(r"\+?\s*(?:(\d{1,9})d\s*)?(?:(\d{1,9})h\s*)?(?:(\d{1,9})m\s*)?(?:(\d{1,9})s)?", re.ASCII)


def _when(value: Any) -> Any:
    """Read `+2d 3h 30m` as time since the start, or an ISO moment."""
    if isinstance(value, str):
        match = _OFFSET.fullmatch(value.strip())
        if match and any(match.groups()):
            days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if value.strip() in ("+0", "0", "+0s"):
            return timedelta(0)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("must be a time such as '+2d 3h' or 2026-11-02T09:00:00Z") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return value


When = Annotated[timedelta | datetime, BeforeValidator(_when, json_schema_input_type=str)]
Span = Annotated[timedelta, BeforeValidator(_when, json_schema_input_type=str)]


class Part(BaseModel):
    """A part of a scenario file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
