"""What every use case works with: made once by the daemon, handed down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from tracker.config.mail import MailPart
from tracker.config.model import Account, Config
from tracker.config.places import SftpPart
from tracker.domain.turns import Turns
from tracker.pipeline.leases import Leases
from tracker.pipeline.places import Places
from tracker.pipeline.traces import Traces
from tracker.plugin.calls import Client, Request, Response
from tracker.store.engine import Store

QUEUES = ("ingest", "decide", "poll", "push", "files", "mail", "tell")
TOLD_AT_ONCE = 32  # posts side by side to endpoints and targets


class Log(Protocol):
    """Structured lines: short snake_case facts with bound keys."""

    def info(self, event: str, **values: object) -> object:
        """Tell."""

    def warning(self, event: str, **values: object) -> object:
        """Warn."""


class MailSession(Protocol):
    """A connection to the server that takes mails, logged in."""

    def send(self, message: bytes, sender: str, recipient: str, *, utf8: bool = False) -> str:
        """Send one mail; returns what the server said that took it. Raises from the error tree (`app.smtp`)."""


class Counter(Protocol):
    """A metric that only grows."""

    def __call__(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""


def _uncounted(name: str, amount: float = 1, **labels: str) -> None:
    """Count nothing."""


class Histogram(Protocol):
    """Durations by how long they were."""

    def __call__(self, name: str, seconds: float, account: str) -> None:
        """Put a duration of an account or store into it."""


def _unobserved(name: str, seconds: float, account: str) -> None:
    """Put it nowhere."""


@dataclass
class AppContext:
    """The store, the configuration in force, the business clock, the wake-ups and the way out.

    `config` is replaced as a whole on reload. `client(account)` returns this thread's client for it; `places` are
    the calls that are made side by side.
    """

    store: Store
    config: Config
    now: Callable[[], datetime]
    notify: Callable[[str], None]
    client: Callable[[Account], Client]
    log: Log
    places: Places
    count: Counter = field(default=_uncounted)
    observe: Histogram = field(default=_unobserved)
    traces: Traces | None = None  # None: nobody collects them
    leases: Leases = field(default_factory=Leases)
    mailer: Callable[[MailPart], AbstractContextManager[MailSession]] | None = None  # connects to the mail server
    poster: Callable[[Request], Response] | None = None  # posts what is told; answers whatever the status is
    tells: Places = field(default_factory=lambda: Places(TOLD_AT_ONCE))  # a slow endpoint takes no place of a shop
    sftp: Callable[[SftpPart], AbstractContextManager[Any]] | None = None  # opens the folder of a server (a `Place`)
    stopping: Callable[[], bool] = lambda: False  # whether this process ends: what can be gone on with is left as it is
    turns: defaultdict[str, Turns] = field(default_factory=lambda: defaultdict(Turns))  # who had one, by queue
    heard: dict[str, datetime] = field(default_factory=dict)  # when each account's last webhook was noted
    endings: dict[tuple[str, str], Any] = field(default_factory=dict)  # how journeys ended today (ingest/endings.py)
    said_odd: dict[str, str | None] | None = None  # what is odd about accounts' answers, by subject (oddities.py)
    newest_order: tuple[int, datetime] | None = None  # the newest order's id, and when (database time) it was that

    def account(self, name: str) -> Account | None:
        """Return a configured account, None where the configuration lost it, or its entry is wrong."""
        return self.config.account(name)
