"""What the fake servers share: faults, a log, pages, and what a carrier or a shop has.

Each of `fakes/` speaks the wire format of one plugin. They refuse what the real ones refuse, and they share no code with
the plugins that read them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from starlette.responses import Response
from starlette.routing import Route

Clock = Callable[[], datetime]


def as_json(body: Any, status: int = 200, **headers: str) -> Response:
    """Return a body as JSON, with its status and headers."""
    return Response(orjson.dumps(body), status, headers, "application/json")


def next_page(
    rows: list[dict[str, Any]], key: Callable[[dict[str, Any]], tuple[str, str]], after: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None, bool]:
    """Return a page of rows sorted by their keys, the cursor behind it, and whether there are more.

    A cursor is the key of the last row, as a real shop's is: a count would pass over a row for each that changes
    meanwhile and moves to the end.
    """
    last = tuple(orjson.loads(after)) if after else ("", "")
    left = sorted((row for row in rows if key(row) > last), key=key)
    page = left[:limit]
    return page, orjson.dumps(key(page[-1])).decode() if page else None, len(left) > len(page)


@dataclass(frozen=True)
class Outgoing:
    """A webhook to send: where to (account), and the bytes as signed."""

    account: str
    body: bytes
    headers: dict[str, str]


@dataclass
class Told:
    """A whole answer that a server gives instead of its own (`hang`: none), so often or until then."""

    left: int | None = None
    until: datetime | None = None
    hang: bool = False
    path: str = ""
    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    def meets(self, path: str, now: datetime) -> bool:
        """Say whether it is given to a call now. Who hands out tokens is another host: it only hangs with the others."""
        lasts = self.left > 0 if self.left is not None else self.until is not None and now < self.until
        return lasts and self.path in path and (self.hang or bool(self.path) or not path.endswith("/oauth/token"))


class Faults:
    """What a server does wrong: how many times (`left`), or until when (`until`), by kind; and whole answers, first come."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is wrong."""
        self._clock = clock
        self.left: dict[str, int] = defaultdict(int)
        self.until: dict[str, datetime] = {}
        self.told: list[Told] = []

    def take(self, kind: str) -> bool:
        """Use up one occurrence of a fault; one that lasts is not used up."""
        if kind in self.until and self._clock() < self.until[kind]:
            return True
        if self.left[kind] <= 0:
            return False
        self.left[kind] -= 1
        return True

    def met(self, path: str) -> Told | None:
        """Return the answer that a call gets instead of the server's own, and use it up."""
        found = next((told for told in self.told if told.meets(path, self._clock())), None)
        if found is not None and found.left is not None:
            found.left -= 1
        return found


class Server:
    """What all of them share: a name, a clock, faults, and a count of calls."""

    def __init__(self, account: str, clock: Clock) -> None:
        """Bind the account it stands behind."""
        self.account, self.clock = account, clock
        self.faults = Faults(clock)
        self.calls: dict[str, int] = defaultdict(int)
        self.history: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._ids = itertools.count(1)

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        raise NotImplementedError

    def withdraw(self, number: str, code: str) -> int:
        """Forget the scans of a code (of a type or text, where they have no code). Returns how many there were."""
        known = self.history[number]
        kept = [s for s in known if code not in ((s["code"],) if s["code"] else (s["type"], s["text"]))]
        self.history[number] = kept
        return len(known) - len(kept)

    def trouble(self) -> Response | None:
        """Return an injected failure, if one is due."""
        if self.faults.take("throttle"):
            return as_json({"message": "Too Many Requests"}, 429, **{"Retry-After": "1"})
        if self.faults.take("error"):
            return Response("<html>Service Unavailable</html>", 503, media_type="text/html")
        if self.faults.take("garbage"):
            return Response(b'{"truncated": [', 200, media_type="application/json")
        return None


class Shop(Server):
    """What both have: orders by the number people know, hooks to send, and a log of what we wrote."""

    def __init__(self, account: str, clock: Clock, *, token: str, secret: str, hooks: bool = True) -> None:
        """Keep the token and the secret that are right."""
        super().__init__(account, clock)
        self._token, self._secret, self._hooks = token, secret, hooks
        self.orders: dict[str, dict[str, Any]] = {}
        self.log: list[dict[str, Any]] = []
        self.outgoing: list[Outgoing] = []

    def signed(self, body: bytes, _topic: str = "", secret: str | None = None) -> Outgoing:
        """Sign a hook by Standard Webhooks."""
        id_, stamp = f"msg_{self.account}_{next(self._ids)}", str(int(self.clock().timestamp()))
        text = b".".join((id_.encode(), stamp.encode(), body))
        digest = base64.b64encode(hmac.new(self._key(secret), text, hashlib.sha256).digest()).decode()
        headers = {
            "content-type": "application/json", "webhook-id": id_, "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{digest}",
        }  # fmt: skip
        return Outgoing(self.account, body, headers)

    def _key(self, secret: str | None) -> bytes:
        return (secret or self._secret).encode()

    def _wrote(self, order: str, event: str, happened: datetime | None, **more: Any) -> None:
        self.log.append(
            {"at": self.clock(), "store": self.account, "order": order, "event": event, "numbers": [],
             "happened_at": happened or self.clock(), **more}
        )  # fmt: skip
