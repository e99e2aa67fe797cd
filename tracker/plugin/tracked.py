"""Read what shops tell: orders, of which an odd one takes nothing from the others, and what people typed as numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    RateLimited,
    Refused,
    SourceError,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Action, Fulfilment, Item, Order, Parcel, Unread
from tracker.domain.numbers import Printed, is_plain, numbers_in
from tracker.domain.vocabulary import PaymentStatus
from tracker.plugin.answers import said_by
from tracker.plugin.calls import Response, segment
from tracker.plugin.payloads import BOM, MOST_TOLD, decode, listing, mapping, moment, optional, piece, term, text, word

T = TypeVar("T")
MOST_TYPED = 200


Reads = Callable[[dict[str, Any], list[Unread]], Order]


def orders(listed: Iterable[Any], where: str, read: Reads, key: str, unread: list[Unread]) -> list[Order]:
    """Read the orders of a list: see `order`."""
    found: list[Order] = []
    left = 0
    for at, row in enumerate(listed):
        if len(unread) >= MOST_TOLD and not isinstance(row, dict):  # an order, however odd, is told by its ref
            left += 1
        elif (one := order(row, f"{where}[{at}]", read, key, unread)) is not None:
            found.append(one)
    if left:
        unread.append(Unread(where, f"{left} more pieces could not be read", lacks="all"))
    return found


def order(row: Any, where: str, read: Reads, key: str, unread: list[Unread]) -> Order | None:
    """Read one order; what cannot be read of it is told in `unread`, about its ref, which stands at `key`.

    None where it cannot be told at all. Where a line, a fulfilment or a number is missing (`lacks`), the order is `partial`.
    """
    missed: list[Unread] = []
    found = piece(row, where, read, missed)
    if not missed:
        return found
    ref = _ref(row, key)
    unread.extend(replace(one, subject=ref, lacks=one.lacks or ("" if ref else "all")) for one in missed)
    return replace(found, partial=True) if found is not None and any(one.lacks for one in missed) else found


def told(found: Iterable[T], unread: Iterable[Unread]) -> list[T | Unread]:
    """Return what was read and what was not; raises BadPayload where that is nothing at all, not even of which order."""
    read, left = list(found), list(unread)
    if not read and left and not any(one.subject or one.lacks == "nothing" for one in left):
        raise BadPayload(left[0].where, left[0].problem)
    return [*read, *left]


def strict(value: Any, where: str) -> str:
    """Return a text on which a write depends: empty where it is missing. Raises BadPayload for what is no text."""
    if value is not None and not isinstance(value, str):
        raise BadPayload(where, "must be a text")
    return text(value)


def money(raw: str, meanings: Mapping[str, PaymentStatus]) -> PaymentStatus:
    """Say what a shop's word for the payment means: not paid where there is none, UNKNOWN where `meanings` lacks it."""
    return meanings.get(raw, PaymentStatus.UNKNOWN) if raw else PaymentStatus.PENDING


def flag(value: Any, where: str) -> bool | None:
    """Return a yes or no on which a write depends, None where it is missing. Raises BadPayload for anything else."""
    if value is not None and not isinstance(value, bool):
        raise BadPayload(where, "must be true or false")
    return value


def count(value: Any, where: str) -> int:
    """Return a number of pieces. Raises BadPayload for what is no whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise BadPayload(where, "must be a whole number of pieces")
    return value


def with_lines(items: Sequence[Item], fulfilments: Iterable[Fulfilment], unread: list[Unread]) -> None:
    """Tell where no fulfilment names a line, or the order tells no line that they name, of a platform that tells both: it is never whole."""
    live = [one for one in fulfilments if one.live]
    if live and bool(items) is not any(one.quantities for one in live) and not any(one.lacks for one in unread):
        said = (
            "no fulfilment names a line of the order" if items else "fulfilments name lines, and the order tells none"
        )
        unread.append(Unread("$", said, lacks="line"))


def known(said: str, words: Container[str], where: str, unread: list[Unread], read_as: str) -> str:
    """Return a word as it is; one without a meaning is told, with what it is read as. An empty one says nothing."""
    if said and said not in words:
        unread.append(Unread(where, f"the word {said!r:.60} has no meaning: it is read as {read_as}"))
    return said


def tags(value: Any, unread: list[Unread]) -> tuple[str, ...]:
    """Read the tags of an order. Raises BadPayload for what is no list; one that cannot be read is told."""
    read = (optional(word, one, f"$.tags[{at}]", unread) for at, one in enumerate(listing(value, "$.tags")))
    return tuple(tag for tag in read if tag)


def country(value: Any, where: str, unread: list[Unread]) -> str:
    """Read the two letters of a country (ISO 3166), in capitals; what is no text is told, and empty."""
    return term(value, where, unread).upper()[:2]


def aware(value: Any, where: str) -> datetime:
    """Return a moment that says where it is. Raises BadPayload for one without an offset."""
    at = moment(value, where)
    if at.tzinfo is None:
        raise BadPayload(where, "must carry an offset, such as Z")
    return at


def rows(body: bytes, decode: Callable[[bytes], dict[str, Any]]) -> list[Any]:
    """Decode a body that is a bare list, with the `decode` that `exactly` gives. Raises BadPayload for anything else."""
    found = decode(b'{"rows":' + body.removeprefix(BOM) + b"}").get("rows")
    if not isinstance(found, list):
        raise BadPayload("$", "must be a list")
    return found


def listed(response: Response, error: type[Transient]) -> list[Any]:
    """Return the bare list that was asked for. Raises `error` where something else came: that is never an empty one."""
    try:
        return rows(response.body, decode)
    except BadPayload:
        raise error(f"HTTP {response.status} without its list: {said_by(response.body)}") from None


def _ref(row: Any, key: str) -> str:
    try:
        return word(mapping(row, "$").get(key), "$")
    except BadPayload:
        return ""


def each_alone(refs: Iterable[str], read: Callable[[str], T | None]) -> Iterator[T]:
    """Read orders one by one with `read(ref)`, which answers None for one that is not there.

    One that fails takes nothing from the others: what it raised is raised when all were asked. What says that nobody can be
    asked, and a second failure in a row, is raised at once. A ref that can be no part of an address is not there.
    """
    failed: SourceError | None = None
    before = False
    for ref in refs:
        try:
            segment(ref)
        except Refused:
            continue
        try:
            page = read(ref)
        except (RateLimited, Unavailable, CredentialsRejected):
            raise
        except SourceError as error:
            if before:
                raise
            failed, before = failed or error, True
            continue
        before = False
        if page is not None:
            yield page
    if failed is not None:
        raise failed


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
        if is_plain(value):
            number = value.upper()
            return [Parcel(carrier, number, company, None, "" if number == value else value)], []
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


def renumbered(fields: Sequence[str], action: Action) -> list[str] | None:
    """Return what the tracking fields of a fulfilment say once the number of an action (kind `number`) is corrected.

    None: they say so already. Raises Refused where the number does not stand there, or is not to be told from what is typed around it.
    """
    old, new = (parcel.number for parcel in action.parcels)
    told = [numbers_in(field, action.parcels[0].carrier) for field in fields]
    held = [at for at, typed in enumerate(told) if old in typed.numbers]
    if any(new in typed.numbers for typed in told):
        if held:
            raise Refused(f"{new} stands beside {old}")
        return None
    if not held:
        raise Refused(f"{old} does not stand there any more")
    found = list(fields)
    for at in held:
        if len(told[at].numbers) == 1 and not told[at].unreadable:
            found[at] = new
        elif found[at].count(old) == 1:
            found[at] = found[at].replace(old, new)
        else:
            raise Refused(f"{old} stands in a text that only a person can correct: {_shown(found[at])!r}")
    return found


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
            parse_constant=Printed,  # Infinity and NaN, which are no numbers of anything
            parse_int=lambda printed: int(printed) if len(printed) <= 65 else Printed(printed),
        )
    except (ValueError, RecursionError):  # the fast reader took it
        raise BadPayload("$", "not JSON") from None
    return mapping(value, "$")
