"""Which numbers an answer is about, kept beside it: some sources leave those out that they do not know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from tracker.domain.facts import Payload, Report, Unread
from tracker.plugin.payloads import decode, listing, number

ASKED = "asked"  # belongs to the `response_keys` of who keeps it
NOT_TOLD = "NOT-TOLD"  # stands for the number of an answer that nobody says whom it is about


def beside(numbers: Sequence[str]) -> bytes:
    """Return the part of a page that says who was asked about: it follows the answer."""
    return orjson.dumps({ASKED: list(numbers)})


def asked(payload: Payload) -> list[str]:
    """Return the numbers that an answer is about, which `beside` kept; none where nothing was kept."""
    if len(payload.parts) < 2:
        return []
    return [number(one, f"$.{ASKED}[]") for one in listing(decode(payload.parts[1]).get(ASKED), f"$.{ASKED}")]


def whose(payload: Payload, unread: list[Unread]) -> str:
    """Return the number that an answer is about that names none: the one that was asked about.

    Where nothing was kept, as beside an answer that somebody recorded and tries, it is NOT_TOLD, and told as not read: what was
    asked for is not told then.
    """
    for one in asked(payload):
        return one
    unread.append(Unread("$", f'names no number: a second part may, {{"{ASKED}": ["..."]}}', lacks="all"))
    return NOT_TOLD


def left_out(payload: Payload, told: Iterable[Report], unread: Iterable[Unread]) -> list[str]:
    """Return the numbers that were asked about and of which an answer tells nothing: none where a parcel of it could not be read."""
    if len(payload.parts) < 2:
        return []
    unread = list(unread)
    if any(one.lacks for one in unread):
        return []
    heard = {report.number for report in told} | {one.subject for one in unread}
    return [one for one in asked(payload) if one not in heard]
