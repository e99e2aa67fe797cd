"""The one module that reads the system's clock. Business time is injected; the sandbox drives its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

TOLERATED = timedelta(seconds=2)


def system_now() -> datetime:
    """Return the system's time, aware."""
    return datetime.now(UTC)


def moment(text: str) -> datetime:
    """Read a moment such as 2026-11-02T09:00Z; without a zone it is UTC. Raises ValueError, also for one beyond all calendars."""
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a moment such as 2026-11-02T09:00Z") from None


class SharedClock:
    """The machine's clock, set right by the database's: the processes of one installation agree on what is due.

    A clock that is off by minutes would otherwise try early what failed, find due late what another process planned,
    and refuse signed webhooks.
    """

    def __init__(self) -> None:
        """Trust the machine until the database was asked."""
        self._off = timedelta(0)

    def __call__(self) -> datetime:
        """Return the agreed time, aware."""
        return system_now() - self._off

    @property
    def off(self) -> timedelta:
        """How far the machine's clock is ahead of the database's; zero within TOLERATED."""
        return self._off

    def settle(self, ask: Callable[[], datetime]) -> None:
        """Ask the database for its time; what the way there may have cost is no difference."""
        before = system_now()
        told = ask()
        after = system_now()
        off = before - told if before > told else min(after - told, timedelta(0))
        self._off = off if abs(off) >= TOLERATED else timedelta(0)


PLAYED = "TRACKER_PLAYED"


def played() -> tuple[datetime, timedelta] | None:
    """Return the moment that a play handed down to a command it runs, and how far the database counts as ahead.

    Only commands that look ask for it, and only a play sets it (`says`, tests/scenarios/README.md): no daemon, no worker
    and no receiver does.
    """
    moment, _, ahead = os.environ.get(PLAYED, "").partition(" ")
    return (datetime.fromisoformat(moment), timedelta(seconds=float(ahead or 0))) if moment else None


class PlayClock:
    """A clock that stands still until it is moved, and never goes back."""

    def __init__(self, start: datetime) -> None:
        """Start at a moment (aware)."""
        self._at = start
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        """Return the moment it shows."""
        with self._lock:
            return self._at

    def move_to(self, at: datetime) -> None:
        """Move forward; an earlier moment changes nothing."""
        with self._lock:
            self._at = max(self._at, at)
