"""Who holds a token of those inside, and which stores he sees by it: of the read API and of the page."""

from __future__ import annotations

import hmac
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from tracker.config.inside import Api


@dataclass(frozen=True)
class Holder:
    """A token that was given: its name in the configuration ("" is the one that sees all), and the stores it sees; None: all."""

    name: str
    secret: str = field(repr=False)
    stores: frozenset[str] | None = None


def holders(part: Api) -> list[Holder]:
    """Return all that a part of the configuration names."""
    whole = [Holder("", part.token.get_secret_value())] if part.token is not None else []
    return whole + [
        Holder(name, one.token.get_secret_value(), frozenset(one.stores)) for name, one in part.tokens.items()
    ]


def holder(part: Api, given: str) -> Holder | None:
    """Return whose token was given, None: nobody's. Each is compared, whichever it is, in a time that tells nothing."""
    said = given.encode("utf-8", "replace")
    found = [one for one in holders(part) if hmac.compare_digest(said, one.secret.encode())]
    return found[0] if found else None


def bearer(part: Api, authorization: str) -> Holder | None:
    """Return whose token a header brings (`Bearer ...`), None: nobody's."""
    return holder(part, authorization.removeprefix("Bearer ")) if authorization.startswith("Bearer ") else None


def leave_out(watched: Iterable[dict[str, Any]], stores: Container[str]) -> None:
    """Take out of what is told of who is asked about a parcel what a holder of some stores need not know: others' stores, and our configuration."""
    for watch in watched:
        watch["suspended"] = watch["suspended"] and "its account is suspended"
        if watch["asked_for"] is not None and watch["asked_for"] not in stores:
            watch |= {"asked_for": None, "asked_because": "another store linked it first"}
