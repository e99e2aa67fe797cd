"""Read untrusted JSON: decode once, and name the path where it is not what it must be."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import repeat
from typing import Any, TypeVar, TypeVarTuple

import orjson

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Code, Edd, Meaning, Place, Scan, Unread
from tracker.domain.numbers import is_rounded
from tracker.domain.vocabulary import Precision, Zone

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
MOST_TEXT = 500
MOST_TOLD = 1_000  # pieces of a payload that could not be read, by their places; of the others the number
MARK = "\ufffd"  # stands for a character, and before a number, that cannot be what it says
BOM = b"\xef\xbb\xbf"
_ODD = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL refuses NUL in texts, UTF-8 lone surrogates
_NUL = b"\\u0000"
_OBJECT = {dict}
_MIDNIGHT = time()
_LONG_AGO = datetime(1, 1, 3, tzinfo=UTC)
_iso, _combine = datetime.fromisoformat, datetime.combine
_DATE, _SECOND, _OFFSET, _UNKNOWN = Precision.DATE, Precision.SECOND, Zone.OFFSET, Zone.UNKNOWN  # 0.08 us a look-up
_NEVER = (None, None, _UNKNOWN, _SECOND)


def decode(body: bytes) -> dict[str, Any]:
    """Decode a JSON object; one odd character or number takes nothing from the rest of the document.

    A character that cannot be kept (not UTF-8, a lone surrogate, NUL) becomes U+FFFD; a number that is none (NaN, 1e400)
    the text of it, marked with U+FFFD; one of more than 18 digits its text. A byte-order mark is skipped. Raises
    BadPayload on anything else: no JSON, nested too deep, a list.
    """
    try:  # as in `document`: a call less for each payload
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        value = _patiently(body, _refused(error))
    if b"\\" in body and _NUL in body:  # the first is found much faster
        value = _marked(value)
    return value if value.__class__ is dict else mapping(value, "$")


def document(body: bytes) -> Any:
    """Decode any JSON document, as `decode` does an object."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _patiently(body, _refused(error))
    return _marked(value) if _NUL in body else value


def leniently(body: bytes) -> dict[str, Any]:
    """Decode a body that may be an error of anybody's: empty where it is no JSON object."""
    try:
        return decode(body)
    except BadPayload:
        return {}


def _refused(error: orjson.JSONDecodeError) -> str:
    return f"not JSON: {error.msg} at character {error.pos}"


def _patiently(body: bytes, problem: str) -> Any:
    """Read what orjson refuses whole for one odd piece."""
    try:
        printed = body.removeprefix(BOM).decode("utf-8", "replace")
        value = json.loads(printed, parse_float=_float, parse_int=_int, parse_constant=_mark, strict=False)
        return _marked(value)
    except (ValueError, RecursionError):
        raise BadPayload("$", problem) from None


def _marked(value: Any) -> Any:
    """Mark the characters that nobody can store."""
    if isinstance(value, str):
        return _ODD.sub(MARK, value)
    if isinstance(value, dict):
        return {_marked(name): _marked(inner) for name, inner in value.items()}
    return [_marked(inner) for inner in value] if isinstance(value, list) else value


def _mark(printed: str) -> str:
    return f"{MARK}{printed[:40]}"


def _float(printed: str) -> float | str:
    value = float(printed)
    return value if math.isfinite(value) else _mark(printed)


def _int(printed: str) -> int | str:
    if len(printed) <= 18:
        return int(printed)
    return printed if len(printed) <= 100 else _mark(printed)


def mapping(value: Any, where: str) -> dict[str, Any]:
    """Return `value` as an object; raises BadPayload with its path."""
    if isinstance(value, dict):
        return value
    raise BadPayload(where, f"must be an object, is {kind(value)}")


def listing(value: Any, where: str) -> list[Any]:
    """Return `value` as a list; None is empty; raises BadPayload with its path."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise BadPayload(where, f"must be a list, is {kind(value)}")


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
    (see Unread). Of very many that cannot be read the first are told one by one. Raises nothing: a list that is none is
    told, and empty.
    """  # fmt: skip
    if value is None:
        return []
    if not isinstance(value, list):
        unread.append(Unread(where, f"must be a list, is {kind(value)}", lacks=lacks))
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
    left = 0
    for index, item in enumerate(value):
        if len(unread) < MOST_TOLD:
            one = piece(item, f"{where}[{index}]", read, unread, *more, lacks=lacks)
        elif isinstance(item, dict):
            more_missed: list[Unread] = []
            one = piece(item, where, read, more_missed, *more, lacks=lacks)
            left += len(more_missed)
        else:
            one, left = None, left + 1
        if one is not None:
            found.append(one)
    if left:
        unread.append(Unread(where, f"{left} more pieces could not be read", lacks=lacks))
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
    if missed:
        unread.extend(replace(one, where=f"{where}{one.where[1:]}") for one in missed)
    return found


def optional(read: Callable[[Any, str], T], value: Any, where: str, unread: list[Unread]) -> T | None:
    """Read a value that its object can do without: None where it is missing, or told in `unread` where it cannot be read."""
    if absent(value):
        return None
    try:
        return read(value, where)
    except BadPayload as error:
        unread.append(Unread(error.where, error.problem))
        return None


def section(value: Any, where: str, unread: list[Unread]) -> dict[str, Any]:
    """Return an object that its owner can do without: empty where it is missing, or no object, which is told."""
    if isinstance(value, dict):
        return value
    if not absent(value):
        unread.append(Unread(where, f"must be an object, is {kind(value)}"))
    return {}


def absent(value: Any) -> bool:
    """Say whether a value is missing: carriers print null or an empty text for what they do not know."""
    return value is None or value == ""


def several(value: Any) -> Any:
    """Return a list, of the one object that is printed instead of it; None for null, an empty text or object."""
    if isinstance(value, dict):
        return [value] if value else None
    return None if value == "" else value


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, or the one that is printed instead; what is none is left out: nothing depends on it."""
    listed = several(value)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def about(subject: str, unread: list[Unread]) -> None:
    """Say whose pieces these are: the order's ref, or the parcel's number."""
    unread[:] = [one if one.subject else replace(one, subject=subject) for one in unread]


def told(read: Sequence[T], unread: Sequence[Unread]) -> list[T | Unread]:
    """Return what was read of a payload, and what was not; raises BadPayload where nothing was read of something there."""
    if not unread:
        return list(read)
    if not read:
        raise BadPayload(unread[0].where, unread[0].problem)
    return [*read, *unread]


def text(value: Any) -> str:
    """Return a text of a decoded document that nothing depends on: trimmed and clipped; what is no text is empty."""
    if value.__class__ is str:
        return value.strip() if len(value) <= MOST_TEXT else value.strip()[:MOST_TEXT]
    return ""


def term(value: Any, where: str, unread: list[Unread]) -> str:
    """Return a text on which something depends that can be missing: a code, a service. What is no text is told, and empty."""
    if not isinstance(value, str) and value is not None:
        unread.append(Unread(where, f"must be a text, is {kind(value)}"))
    return text(value)


@lru_cache(maxsize=4_000)
def coded(space: str, code: Any, words: Any) -> Code | None:
    """Return a code with its words, kept as carriers say the same again and again; None for what is no code.

    Raises TypeError for an object or a list, which cannot be kept.
    """
    return Code(space, code.strip(), text(words)) if isinstance(code, str) and 0 < len(code.strip()) <= 100 else None


def odd_code(value: Any, where: str, unread: list[Unread]) -> str:
    """Return a code that `coded` does not take, `missing` where there is none: its scan is kept, as UNKNOWN, and what is wrong is told."""
    code = optional(word, value, where, unread)
    if code is None and not unread:
        unread.append(Unread(where, "is missing"))
    return code or "missing"


@lru_cache(maxsize=4_000)
def located(city: Any, region: Any = None, postcode: Any = None, country: Any = None) -> Place:
    """Return a place, kept likewise; a country that is no two letters is left out. Raises TypeError for an object or a list."""
    land = text(country).upper()
    return Place(text(city), text(region), text(postcode), land if len(land) == 2 else "")


def word(value: Any, where: str) -> str:
    """Return a code or id that everything depends on: 1 to 100 characters; integers become text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise BadPayload(where, f"must be a text, is {kind(value)}")
    found: str = value.strip()
    if not 0 < len(found) <= 100:
        raise BadPayload(where, f"must have 1 to 100 characters, has {len(found)}")
    return found


def number(value: Any, where: str) -> str:
    """Return a tracking number: 1 to 64 printable ASCII characters, no white space inside."""
    found = word(value, where).upper()
    if len(found) > 64 or not found.isascii() or not found.isprintable() or " " in found:
        raise BadPayload(where, "is no tracking number: 1 to 64 printable ASCII characters")
    if not found.isalnum() and is_rounded(found):
        raise BadPayload(where, f"is a number that a spreadsheet rounded, its other digits are lost: {found}")
    return found


_YES, _NO = frozenset({"true", "1", "yes", "y"}), frozenset({"false", "0", "no", "n"})


def flag(value: Any, where: str, unread: list[Unread]) -> bool:
    """Say whether a flag stands, however it is printed: `true`, 1, `"1"`, `"Yes"`. What is neither yes nor no is told in `unread`, and False."""
    if value is None or value.__class__ is bool:
        return bool(value)
    said = str(value).strip().casefold() if isinstance(value, str | int) else ""
    if said in _YES:
        return True
    if not absent(value) and said not in _NO:
        unread.append(
            Unread(
                where,
                f"is no yes or no: {value[:40]!r}" if isinstance(value, str) else f"is no yes or no, is {kind(value)}",
            )
        )
    return False


def moment(value: Any, where: str) -> datetime:
    """Return an ISO 8601 date or date and time, aware or naive as it was printed."""
    if not isinstance(value, str):
        raise BadPayload(where, f"must be a date and time, is {kind(value)}")
    try:
        at = datetime.fromisoformat(value.strip())
    except ValueError:
        raise BadPayload(where, f"is no ISO 8601 date and time: {value[:40]!r}") from None
    if not 1 < at.year < 9999:  # beside an offset these are outside of what a clock can say
        raise BadPayload(where, f"is no year that can be: {value[:40]!r}")
    return at


def printed(value: Any, where: str, unread: list[Unread]) -> tuple[datetime | None, datetime | None, Zone, Precision]:
    """Return a moment as a scan holds it: local time, the instant where an offset was printed, its zone, how fine it is.

    Without any time where none is printed; and where it cannot be read, which is told in `unread`.
    """  # fmt: skip
    try:
        return _clocked(value)
    except (TypeError, ValueError):
        if absent(value):
            return _NEVER
        read = optional(moment, value, where, unread)  # white space around it; or its error
        return _NEVER if read is None else _clocked(value.strip())


@lru_cache(maxsize=8_192)  # a history is told again at each look: a hit takes a fifth of 0.5 us, a miss 0.1 us more
def _clocked(value: str) -> tuple[datetime | None, datetime | None, Zone, Precision]:
    """Read a moment. Raises TypeError or ValueError for what is none."""
    at = _iso(value)
    if not 1 < at.year < 9999:
        raise ValueError
    if at.tzinfo is None:
        return at, None, _UNKNOWN, _DATE if len(value) == 10 else _SECOND
    return _combine(at, at.time()), at, _OFFSET, _SECOND  # at.replace(tzinfo=None) takes 0.7 us, this 0.1


def estimate(begins: datetime, ends: datetime | None = None) -> Edd:
    """Return an estimate: a window, or one moment. Midnight means the whole day, in its own offset; naive is read as UTC."""
    begins, ends = (at if at.tzinfo else at.replace(tzinfo=UTC) for at in (begins, ends or begins))
    if ends <= begins:
        ends = begins + timedelta(days=1) if begins.time() == _MIDNIGHT else begins
    return Edd(begins, ends)


def with_head(scans: Sequence[Scan], head: Scan, meaning: Callable[[Code], Meaning | None]) -> tuple[Scan, ...]:
    """Add the status at the head of an answer as a scan, where no scan carries it.

    Nothing is added where it says nothing about where the parcel is, where a scan says the same (of a code without a
    meaning: has the same code), or, where the head has a time, unless it is later than all scans and the newest says
    something else: a second attempt of which only the head tells.
    """
    says = meaning(head.code)
    if says is not None and says.status is None:
        return tuple(scans)

    def same(scan: Scan) -> bool:
        if says is None:
            return scan.code.code == head.code.code
        other = meaning(scan.code)
        return other is not None and other.status is says.status

    carrying = [scan for scan in scans if same(scan)]
    if carrying:
        at, times = _clock(head), [_clock(scan) for scan in scans]
        newest = max((time for time in times if time is not None), default=None)
        if at is None or newest is None or at <= newest or any(_clock(scan) in (None, newest) for scan in carrying):
            return tuple(scans)
    return (*scans, head)


def _clock(scan: Scan) -> datetime | None:
    """Return what a clock at the place of a scan showed, as far as it is told."""
    return scan.local or (scan.occurred_at.replace(tzinfo=None) if scan.occurred_at else None)


def scanned_at(scan: Scan) -> datetime:
    """Return when a scan was, to compare it with others: a time without an offset as if it were UTC, long ago where it has none."""
    return scan.occurred_at or (scan.local.replace(tzinfo=UTC) if scan.local else _LONG_AGO)


def kind(value: Any) -> str:
    """Say what a decoded value is, for a problem."""
    return {dict: "an object", list: "a list", str: "a text", type(None): "missing"}.get(
        type(value), f"a {type(value).__name__}"
    )
