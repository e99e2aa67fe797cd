"""Who may look: sessions by a signed cookie, and failed tries that are slowed.

A session is by the token that was given: its signature is made with it, so that a token that is changed or taken out ends all of its own.
Nothing of it is stored but which sessions were ended before their time, in this process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from tracker.app.tokens import Holder, holders
from tracker.config.inside import Page

LASTS = timedelta(hours=8)
MOST_ENDED = 10_000
FREE = 5  # failed tries of an address before it has to wait
LONGEST = 300.0  # seconds that it waits at most
MOST_ADDRESSES = 1000
IN_ALL, EVERY = 60, 1.0  # failed tries of everybody together at once, and seconds until one more may be


class Sessions:
    """Cookies that are sessions: whose token, until when, and a name of its own, signed."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """Nobody looks yet."""
        self._now = now
        self._ended: OrderedDict[str, None] = OrderedDict()

    def begin(self, holder: Holder) -> str:
        """Return the cookie of a session that begins now."""
        name = base64.urlsafe_b64encode(holder.name.encode()).decode().rstrip("=")
        told = f"{name}.{int((self._now() + LASTS).timestamp())}.{secrets.token_hex(16)}"
        return f"{told}.{_sign(holder, told)}"

    def holder(self, part: Page, cookie: str) -> Holder | None:
        """Return by whose token a cookie is a session; None: it is none, or it ended."""
        told, _, signed = cookie.rpartition(".")
        found = [
            one
            for one in holders(part)
            if hmac.compare_digest(_sign(one, told).encode(), signed.encode("utf-8", "replace"))
        ]
        if not found or told in self._ended:
            return None
        name, until, _ = told.split(".")
        mine = base64.urlsafe_b64encode(found[0].name.encode()).decode().rstrip("=") == name
        return found[0] if mine and int(until) > self._now().timestamp() else None

    def end(self, cookie: str) -> None:
        """End a session before its time."""
        self._ended[cookie.rpartition(".")[0]] = None
        while len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)


def _sign(holder: Holder, told: str) -> str:
    key = hashlib.sha256(b"trackwright page session\0" + holder.secret.encode()).digest()
    return hmac.new(key, told.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


class Tries:
    """Failed tries: an address may fail five times, then it waits twice as long each time; everybody together may fail once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody failed yet."""
        self._clock = clock
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how often, and when it may try again
        self._left, self._at = float(IN_ALL), clock()

    def wait(self, address: str) -> float:
        """Return how many seconds an address must wait before it may try; 0: none."""
        now = self._clock()
        self._left, self._at = min(IN_ALL, self._left + (now - self._at) / EVERY), now
        alone = self._failed.get(_net(address), (0, now))[1] - now
        return max(0.0, alone, 0.0 if self._left >= 1 else (1 - self._left) * EVERY)

    def failed(self, address: str) -> int:
        """Note a try that failed. Returns how many the address had."""
        net = _net(address)
        times = self._failed.pop(net, (0, 0.0))[0] + 1
        rest = min(LONGEST, 2.0 ** (times - FREE)) if times >= FREE else 0.0
        self._failed[net] = (times, self._clock() + rest)
        self._left -= 1
        while len(self._failed) > MOST_ADDRESSES:
            self._failed.popitem(last=False)
        return times

    def succeeded(self, address: str) -> None:
        """Forget what an address got wrong before."""
        self._failed.pop(_net(address), None)


def _net(address: str) -> str:
    """Return what counts as one address: of IPv6 all that one line has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
