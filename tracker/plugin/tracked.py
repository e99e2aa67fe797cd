"""Read the tracking fields of shops: the parcels that people typed into them, and what is no number."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Parcel, Unread
from tracker.domain.numbers import Printed, numbers_in
from tracker.plugin.payloads import decode, mapping

T = TypeVar("T")
MOST_TYPED = 200


class _Rounded(Exception):
    """A tracking number was printed as a number that the fast reader rounds."""


def exactly(read: Callable[[Callable[[bytes], dict[str, Any]]], T]) -> T:
    """Read a payload with `read(decode)`; where that rounded a tracking number, once more with all of its digits."""
    try:
        return read(decode)
    except _Rounded:
        return read(_decode_exactly)


def parcels(
    value: Any, carrier: str | None, company: str, where: str, unread: list[Unread]
) -> tuple[list[Parcel], list[str]]:
    """Read one tracking field: its parcels, and the texts in it that are no number. `company` is the shop's own word.

    What was not read of the field (more than 50 numbers, a text of more than 5,000 characters) is told in `unread`. To be
    called inside of `exactly`.
    """
    if isinstance(value, str):
        value = value.strip()
    elif any(isinstance(one, float) and not isinstance(one, Printed) for one in _flat(value)):
        raise _Rounded
    typed = numbers_in(value, carrier)
    if typed.rest:
        unread.append(Unread(where, typed.rest, lacks="line"))
    found = [
        Parcel(carrier, number, company, typed="" if text == number else _shown(text))
        for number, text in typed.numbers.items()
    ]
    return found, [_shown(text) for text in typed.unreadable]


def _flat(value: Any) -> list[Any]:
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop()
        waiting.extend(one if isinstance(one, list) else ())
        found.append(one)
    return found


def _shown(text: str) -> str:
    """Keep what people typed as a database can: clipped, without NUL and lone surrogates."""
    return text[:MOST_TYPED].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _decode_exactly(body: bytes) -> dict[str, Any]:
    """Decode a JSON object as `decode` does, ten times slower: numbers keep their digits."""
    try:
        value = json.loads(
            body.decode("utf-8-sig", "replace"),
            parse_float=Printed,
            parse_int=lambda printed: int(printed) if len(printed) <= 65 else Printed(printed),
        )
    except (ValueError, RecursionError):  # the fast reader took it
        raise BadPayload("$", "not JSON") from None
    return mapping(value, "$")
