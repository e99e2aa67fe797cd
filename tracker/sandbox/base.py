"""What the fake servers share: faults, a log, pages, and what a carrier or a shop has.

Each of `fakes/` speaks the wire format of one plugin. They refuse what the real ones refuse, and they share no code with
the plugins that read them.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.clock import system_now
from tracker.sandbox.find import Kind
from tracker.sandbox.scenario import Fault, Scan

Clock = Callable[[], datetime]
PAGE = b"<!DOCTYPE html><html><head><title>Be right back</title></head><body>We are updating our shop.</body></html>"


def as_json(body: Any, status: int = 200, **headers: str) -> Response:
    """Return a body as JSON, with its status and headers."""
    return Response(orjson.dumps(body), status, headers, "application/json")


class Spoilt(Response):
    """An answer that a fault spoils: no contract is to be found in it."""


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
    """A webhook to send: where to (account), and the bytes as signed; `tries`: how often it was sent and not taken."""

    account: str
    body: bytes
    headers: dict[str, str]
    tries: int = 0


@dataclass
class FaultyResponse:
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
        self.told: list[FaultyResponse] = []

    def take(self, kind: str) -> bool:
        """Use up one occurrence of a fault; one that lasts is not used up."""
        if kind in self.until and self._clock() < self.until[kind]:
            return True
        if self.left[kind] <= 0:
            return False
        self.left[kind] -= 1
        return True

    def met(self, path: str) -> FaultyResponse | None:
        """Return the answer that a call gets instead of the server's own, and use it up."""
        found = next((told for told in self.told if told.meets(path, self._clock())), None)
        if found is not None and found.left is not None:
            found.left -= 1
        return found

    def begin(self, action: Fault, at: datetime) -> None:
        """Do wrong as a scenario says, from now on."""
        left = None if action.lasts is not None else action.times or 1
        until = at + action.lasts if action.lasts is not None else None
        if action.kind == "hang":
            self.told.append(FaultyResponse(left, until, hang=True, path=action.path, status=503))
        elif action.kind == "html":
            self.told.append(FaultyResponse(left, until, path=action.path, body=PAGE, kind="text/html"))
        elif action.kind == "answer":
            body = action.body.encode() if isinstance(action.body, str) else orjson.dumps(action.body)
            kind = "text/html" if body.lstrip().startswith(b"<") else "application/json"
            self.told.append(
                FaultyResponse(left, until, False, action.path, action.status, body, kind, dict(action.headers))
            )
        elif until is not None:
            self.until[action.kind] = max(until, self.until.get(action.kind, until))
        else:
            self.left[action.kind] += left or 1


class Server:
    """What all of them share: a name, a clock, faults, webhooks to send, and a count of calls.

    A scenario's action that happens at a server is its method `on_<action>`.
    """

    kind: ClassVar[Kind]
    knows: ClassVar[frozenset[str]] = frozenset()  # what only some servers know of what a scenario may say
    pushes: bool = True  # whether it sends webhooks at all
    contract: ClassVar[str] = (
        ""  # the extract in `contracts/` that each call and each answer is held against; nothing: none
    )

    def __init__(self, account: str, clock: Clock, *, key: str = "right", hook: str = "") -> None:
        """Bind the account it stands behind; `key` proves our calls to it, `hook` its webhooks to us."""
        self.account, self.clock, self._began_at = account, clock, clock()
        self.faults = Faults(clock)
        self.calls: dict[str, int] = defaultdict(int)
        self.asked: list[datetime] = []  # when each request came, of whatever kind and whatever it was answered
        self.outgoing: list[Outgoing] = []
        self.complaints: list[str] = []  # of calls that nobody should have made: each is a difference of the play
        self.said: set[str] = set()  # the values of what a scenario says that happened here, as Python spells them
        self.untrue: list[str] = []  # answers that the real one would never give: each is a difference too
        self.key, self.hook = key, hook
        self._ids = itertools.count(1)
        self.waited: Callable[[], timedelta] = timedelta  # how far a play has moved the database's clock on

    def elapsed(self) -> float:
        """Return the seconds that passed for who calls it: in the play, while it waited, and for real."""
        return time.monotonic() + self.clock().timestamp() + self.waited().total_seconds()

    def shown(self, at: datetime) -> datetime:
        """Return what the clock of who calls it shows at a moment of the play: the machine's, moved on with it."""
        return system_now() + (at - self._began_at) + self.waited()

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        raise NotImplementedError

    def busiest(self, per: timedelta) -> tuple[int, datetime | None]:
        """Return how many requests came in the span of that length that holds most, and when it began."""
        most, since, first = 0, None, 0
        for i, at in enumerate(self.asked):
            while at - self.asked[first] >= per:
                first += 1
            if i - first >= most:
                most, since = i - first + 1, self.asked[first]
        return most, since

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Prove a body as its sender does, or with another secret than the right one."""
        raise NotImplementedError

    def sent(self, outgoing: Outgoing) -> Outgoing:
        """Return a webhook as it is sent now, which may be later than it was made: a proof that covers the time is made again."""
        return outgoing

    def afresh(self, outgoing: Outgoing) -> Outgoing:
        """Return a hook that tells the same under an id of its own, as of another change in the same second."""
        return self.signed(outgoing.body)

    def heard(self, outgoing: Outgoing, status: int) -> timedelta | None:
        """Learn what a webhook of its own was answered (0: nothing). Returns after how long it is sent again; None: it is not."""

    def on_fault(self, action: Fault, at: datetime) -> None:
        """Do wrong from now on."""
        self.faults.begin(action, at)

    def invalid(self, problems: list[str], request: Request) -> Response:
        """Refuse a request that the official contract does not take, as the real one does."""
        return as_json({"message": problems[0]}, 400)

    def trouble(self) -> Response | None:
        """Return an injected failure, if one is due."""
        if self.faults.take("throttle"):
            return as_json({"message": "Too Many Requests"}, 429, **{"Retry-After": "1"})
        if self.faults.take("error"):
            return Spoilt("<html>Service Unavailable</html>", 503, media_type="text/html")
        if self.faults.take("garbage"):
            return Spoilt(b'{"truncated": [', 200, media_type="application/json")
        return None


class Carrier(Server):
    """A carrier: what it scanned, by number, and how it tells it."""

    kind = "carrier"

    def __init__(self, account: str, clock: Clock, *, key: str = "right", hook: str = "") -> None:
        """Nothing was scanned yet."""
        super().__init__(account, clock, key=key, hook=hook)
        self.history: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML: `key` and `hook` are references to secrets (`hook` None: polls only)."""
        raise NotImplementedError

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Prove nothing of who sends no webhooks, so that any body is somebody else's; who sends them says how it proves one."""
        if self.pushes:
            raise NotImplementedError
        return Outgoing(self.account, body, {})

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the webhook that tells of a scan; None where nobody is subscribed."""
        raise NotImplementedError

    def newest_first(self, number: str) -> list[dict[str, Any]]:
        """Return what was scanned of a number, the newest first: nothing of one that nobody scanned."""
        return sorted(self.history.get(number, ()), key=lambda scan: scan["at"], reverse=True)

    def withdraw(self, number: str, code: str) -> int:
        """Forget the scans of a code (of a type or text, where they have no code). Returns how many there were."""
        known = self.history[number]
        kept = [s for s in known if code not in ((s["code"],) if s["code"] else (s["type"], s["text"]))]
        self.history[number] = kept
        return len(known) - len(kept)


class TokenServer(Server):
    """A server whose calls need a token, which it hands out."""

    knows = frozenset({"fault expire_tokens"})

    def __init__(self, account: str, clock: Clock, **more: Any) -> None:
        """Nobody has a token yet."""
        super().__init__(account, clock, **more)
        self._tokens: set[str] = set()

    def on_fault(self, action: Fault, at: datetime) -> None:
        """Do wrong from now on; tokens end at once."""
        if action.kind == "expire_tokens":
            self._tokens.clear()
        else:
            super().on_fault(action, at)

    def new_token(self) -> str:
        """Hand out a token."""
        self.calls["token"] += 1
        token = f"{self.account}-{next(self._ids)}"
        self._tokens.add(token)
        return token

    def bears_token(self, request: Request) -> bool:
        """Say whether a call has a token that holds."""
        return request.headers.get("authorization", "").removeprefix("Bearer ") in self._tokens


class OAuthCarrier(TokenServer, Carrier):
    """A carrier that hands out tokens for a client id and a secret."""

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", client_id: str = "sandbox"
    ) -> None:
        """Know the client id."""
        super().__init__(account, clock, key=key, hook=hook)
        self._client = client_id
