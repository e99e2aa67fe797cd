"""The one module that reads the system's clock. Business time is injected; the sandbox drives its own."""

from __future__ import annotations

import threading
from datetime import UTC, datetime


def system_now() -> datetime:
    """Return the system's time, aware."""
    return datetime.now(UTC)


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
