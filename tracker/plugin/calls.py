"""One outgoing call: what is asked, what came back, and the client that asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol
from urllib.parse import quote

from tracker.domain.errors import Refused


@dataclass(frozen=True, slots=True)
class Request:
    """One outgoing call. `url` is absolute; `idempotent` calls are tried again within the request."""

    method: str
    url: str
    params: Mapping[str, str | tuple[str, ...]] = field(
        default_factory=dict
    )  # several values: the name is said as often
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    basic: tuple[str, str] | None = None
    idempotent: bool = True


def segment(value: str) -> str:
    """Return what somebody else wrote (a number, a ref, an id) as one percent-encoded segment of a path (RFC 3986 3.3).

    Raises Refused for `.`, `..` and nothing at all, where encoding does not help, and for what is no text.
    """
    if value in ("", ".", ".."):
        raise Refused(f"{value!r} can be no part of an address")
    try:
        return quote(value, safe="=")
    except UnicodeEncodeError:  # a lone surrogate
        raise Refused(f"{value!r:.80} can be no part of an address") from None


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: headers in lower case, the whole body. `received_at` is wall time, aware."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


class Vault(Protocol):
    """Where a token that rotates lives, encrypted, one an account."""

    def load(self) -> str | None:
        """Return what was stored last, None at first."""

    def store(self, value: str) -> None:
        """Store it durably before it is used."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and when it ends; None: it does not."""

    value: str = field(repr=False)
    ends_at: datetime | None


class Client(Protocol):
    """The core's outgoing HTTP: total deadline, size caps, no redirects; it calls `raise_for_status` on each response."""

    vault: Vault

    def send(self, request: Request) -> Response:
        """Send one request; raises what `raise_for_status` raises, and Transient when the wire fails."""

    def stream(self, url: str, size: int | None = None) -> AbstractContextManager[BinaryIO]:
        """Fetch a large result by GET, without any credential, and open it: whole, on disk, each line shorter than 1 MiB.

        Only from a host that `stream_hosts` names, over https; redirects are not followed. `size`: how many bytes it has, where
        the source told it; without it the answer must tell where it ends. Nothing of it is kept when it is closed.
        Raises NotFound where it is not there any more, Refused for another host, Transient for what was cut off or is too long.
        """

    def token(self, ask: Callable[[], Token], refused: str | None = None) -> str:
        """Return the account's access token, one for all threads and processes; `ask` asks for a new one where there is none.

        `refused`: the one that the other side does not take. Raises what `ask` raises; CredentialsRejected where a new one was
        refused at once; Transient where another asks for too long.
        """

    def now(self) -> datetime:
        """Return the wall time, aware."""
