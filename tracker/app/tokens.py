"""Who holds a token of those inside, and which stores he sees by it: of the read API and of the page."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

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
