"""What /readyz says: whether this process can store, and what is wrong with the installation, as `tracker status` tells it.

Probes are many: what the database is asked for them is asked once a second, and what takes longer once in ten, whoever probes.
Others' words (of carriers and shops) are not in it: this port may be public.
"""

from __future__ import annotations

import threading
import time

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import accounts
from tracker.support import status

KEPT = 1.0
LOOK_EVERY = 10.0
AWAY, UNWRITTEN = "database away", "the database takes no writes"
CANNOT_STORE = (AWAY, UNWRITTEN)  # the only reasons why a process is not ready
AS_BEFORE = "goes on by its settings of before, until a process starts"
MOST_TOLD = 20  # suspended accounts that are told one by one, and other troubles
# of these each process tells its own, or they are told here one by one
BESIDE = ("config_kept", "suspended", "entry_wrong", "database_away")


class Readiness:
    """What was found last, for as many probes as there are."""

    def __init__(self, ctx: AppContext, roles: frozenset[str]) -> None:
        """Nothing is looked at yet."""
        self._ctx, self._roles = ctx, roles
        self._lock = threading.Lock()
        self._asked, self._looked = float("-inf"), float("-inf")
        self._said: list[str] = []
        self._troubles: list[str] = []
        self._unwritten = False

    def written(self, done: bool) -> None:
        """Take that this process could write to the database just now, or could not."""
        self._unwritten = not done

    def said(self) -> list[str]:
        """Return what is wrong, that this process cannot store first; an empty list: nothing."""
        with self._lock:  # one asks, and the others have the same
            now = time.monotonic()
            if now - self._asked >= KEPT:
                self._said = self._ask(now)
                self._asked = time.monotonic()
            return ([UNWRITTEN] if self._unwritten and AWAY not in self._said else []) + self._said

    def forget(self) -> None:
        """Forget what was found: the configuration is another."""
        self._asked = self._looked = float("-inf")

    def _ask(self, now: float) -> list[str]:
        try:
            told = self._suspended()
            if now - self._looked >= LOOK_EVERY:
                self._troubles = self._look()
                self._looked = now
        except SQLAlchemyError:
            return [AWAY]
        return told + self._troubles

    def _suspended(self) -> list[str]:
        a, config = accounts.c, self._ctx.config
        with self._ctx.store.read() as connection:
            rows = connection.execute(
                sa.select(a.name, a.suspended_reason).where(a.suspended_reason.isnot(None)).order_by(a.name)
            ).all()
        reasons = {row.name: _suspension(row.name, row.suspended_reason) for row in rows}
        reasons |= {name: str(wrong) for name, wrong in config.suspended.items()}
        reasons |= {name: wrong.says(AS_BEFORE) for name, wrong in config.as_before.items()}
        told = [*reasons.values()][:MOST_TOLD]
        if len(reasons) > MOST_TOLD:
            told.append(f"{len(reasons) - MOST_TOLD} more accounts are suspended: tracker findings")
        return told

    def _look(self) -> list[str]:
        found = [
            f"{row['said']}; {row['do']}"
            for row in status.troubles(self._ctx)
            if row["what"] not in BESIDE and not (row["what"] == "role_away" and row["where"] in {"up", *self._roles})
        ]
        more = [f"and {len(found) - MOST_TOLD:,} more: tracker status"] if len(found) > MOST_TOLD else []
        return found[:MOST_TOLD] + more


def _suspension(name: str, reason: str) -> str:
    by_entry = reason.startswith(queries.BY_ENTRY)
    return f"account {name} is suspended: {reason if by_entry else 'its credentials are refused'}"
