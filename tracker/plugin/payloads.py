"""Read untrusted JSON: decode once, and name the path where it is not what it must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import repeat
from typing import Any, TypeVar, TypeVarTuple

import orjson

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Unread
from tracker.domain.vocabulary import Precision, Zone

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
MOST_TEXT = 500
_OBJECT = {dict}
_iso, _combine = datetime.fromisoformat, datetime.combine
_DATE, _SECOND, _OFFSET, _UNKNOWN = Precision.DATE, Precision.SECOND, Zone.OFFSET, Zone.UNKNOWN  # 0.08 us a look-up


def decode(body: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises BadPayload on anything else: not UTF-8, too deep, NaN, a list, a lone surrogate."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadPayload("$", f"not JSON: {error.msg} at character {error.pos}") from None
    return mapping(value, "$")


def mapping(value: Any, where: str) -> dict[str, Any]:
    """Return `value` as an object; raises BadPayload with its path."""
    if isinstance(value, dict):
        return value
    raise BadPayload(where, f"must be an object, is {_kind(value)}")


def listing(value: Any, where: str) -> list[Any]:
    """Return `value` as a list; None is empty; raises BadPayload with its path."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise BadPayload(where, f"must be a list, is {_kind(value)}")


def each(value: Any, where: str, read: Callable[[dict[str, Any], *Ts], T], *more: *Ts) -> list[T]:
    """Read the objects of a list; `read` names places from its own object on (`$`), what it raises tells the whole path."""
    found: list[T] = []
    try:
        items = listing(value, "$")
        objects = items if set(map(type, items)) <= _OBJECT else (mapping(item, "$") for item in items)
        found.extend(map(read, objects, *map(repeat, more)))  # type: ignore[arg-type]  # a loop in C, which leaves what was read before it raised
    except BadPayload as error:
        raise _under(f"{where}[{len(found)}]" if isinstance(value, list) else where, error) from None
    return found


def pieces(
    value: Any,
    where: str,
    read: Callable[[dict[str, Any], list[Unread], *Ts], T],
    unread: list[Unread],
    *more: *Ts,
    lacks: str = "",
) -> list[T]:
    """Read the objects of a list; one that cannot be read costs itself only and is told in `unread`, with its path.

    `read(object, unread, *more)` names places from its own object on (`$`), raises BadPayload where nothing of it can
    be read, and adds to `unread` what it left out. `lacks`: what is missing with an object of which nothing could be read
    (see Unread). Raises nothing: a list that is none is told, and empty.
    """  # fmt: skip
    if value is None:
        return []
    if not isinstance(value, list):
        unread.append(Unread(where, f"must be a list, is {_kind(value)}", lacks=lacks))
        return []
    found: list[T] = []
    missed: list[Unread] = []
    try:
        if set(map(type, value)) <= _OBJECT:
            found.extend(map(read, value, repeat(missed), *map(repeat, more)))  # type: ignore[arg-type]  # a loop in C
            if not missed:
                return found
    except BadPayload:
        pass
    found.clear()  # something was not read: once more, slowly, with the path of each piece (parsers are pure)
    for index, item in enumerate(value):
        one = piece(item, f"{where}[{index}]", read, unread, *more, lacks=lacks)
        if one is not None:
            found.append(one)
    return found


def piece(
    value: Any,
    where: str,
    read: Callable[[dict[str, Any], list[Unread], *Ts], T],
    unread: list[Unread],
    *more: *Ts,
    lacks: str = "",
) -> T | None:
    """Read one object, as `pieces` reads those of a list; None where nothing of it could be read."""
    missed: list[Unread] = []
    found: T | None = None
    try:
        found = read(mapping(value, "$"), missed, *more)
    except BadPayload as error:
        missed.append(Unread(error.where, error.problem, lacks=lacks))
    unread.extend(replace(one, where=f"{where}{one.where[1:]}") for one in missed)
    return found


def optional(read: Callable[[Any, str], T], value: Any, where: str, unread: list[Unread]) -> T | None:
    """Read a value that its object can do without: None where it is missing, or told in `unread` where it cannot be read."""
    if value is None:
        return None
    try:
        return read(value, where)
    except BadPayload as error:
        unread.append(Unread(error.where, error.problem))
        return None


def inside(value: Any, where: str, read: Callable[[dict[str, Any], *Ts], T], *more: *Ts) -> T:
    """Read one object, as `each` reads those of a list."""
    try:
        return read(mapping(value, "$"), *more)
    except BadPayload as error:
        raise _under(where, error) from None


def text(value: Any) -> str:
    """Return a text that nothing depends on: trimmed and clipped; what is no text is empty."""
    if value.__class__ is str:
        if "\x00" not in value and len(value) <= MOST_TEXT:
            return value.strip()
        return value.strip()[:MOST_TEXT].replace("\x00", "\ufffd")  # PostgreSQL refuses NUL in texts
    return ""


def word(value: Any, where: str) -> str:
    """Return a code or id that everything depends on: 1 to 100 characters; integers become text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise BadPayload(where, f"must be a text, is {_kind(value)}")
    found: str = value.strip()
    if not 0 < len(found) <= 100:
        raise BadPayload(where, f"must have 1 to 100 characters, has {len(found)}")
    return found.replace("\x00", "\ufffd")


def number(value: Any, where: str) -> str:
    """Return a tracking number: 1 to 64 printable ASCII characters, no white space inside."""
    found = word(value, where).upper()
    if len(found) > 64 or not found.isascii() or not found.isprintable() or " " in found:
        raise BadPayload(where, "is no tracking number: 1 to 64 printable ASCII characters")
    return found


def moment(value: Any, where: str) -> datetime:
    """Return an ISO 8601 date or date and time, aware or naive as it was printed."""
    if not isinstance(value, str):
        raise BadPayload(where, f"must be a date and time, is {_kind(value)}")
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        raise BadPayload(where, f"is no ISO 8601 date and time: {value[:40]!r}") from None


def printed(value: Any, where: str) -> tuple[datetime, datetime | None, Zone, Precision]:
    """Return a moment as a scan holds it: local time, the instant where an offset was printed, its zone, how fine it is."""
    try:
        at = _iso(value)
    except (TypeError, ValueError):
        at = moment(value, where)  # white space around it; or its error
    if at.tzinfo is None:
        return at, None, _UNKNOWN, _DATE if len(value.strip()) == 10 else _SECOND
    return _combine(at, at.time()), at, _OFFSET, _SECOND  # at.replace(tzinfo=None) takes 0.7 us, this 0.1


def _under(where: str, error: BadPayload) -> BadPayload:
    return BadPayload(f"{where}{error.where[1:]}", error.problem)


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text", type(None): "missing"}.get(
        type(value), f"a {type(value).__name__}"
    )
