"""Claims that are being worked: prolonged while their process lives, so that a lease can be short.

A process that is killed loses its claims within LEASE; one that works slowly keeps them; one that was frozen finds itself
fenced. Nothing is prolonged for ever: after MOST a claim ends although somebody still holds it.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import sqlalchemy as sa

from tracker.store.engine import Store, database_now
from tracker.store.queries import LEASE, in_order

RENEW_EVERY = LEASE / 3
HELD_FOR = timedelta(minutes=5)


class Leases:
    """What this process has claimed and is working on."""

    def __init__(self) -> None:
        """Nothing is held."""
        self._lock = threading.Lock()
        self._claims: dict[int, tuple[float, sa.Table, Mapping[int | str, int]]] = {}
        self._next = 0
        self._reading: dict[int, float] = {}

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Say that this thread runs a plugin's parser, which nothing bounds but the watchdog."""
        mine = threading.get_ident()
        self._reading[mine] = time.monotonic()
        try:
            yield
        finally:
            del self._reading[mine]

    def reading_for(self) -> float:
        """Return how long the slowest parser has been at it, in seconds."""
        now = time.monotonic()
        return max((now - since for since in list(self._reading.values())), default=0.0)

    @contextmanager
    def holding(self, table: sa.Table, attempts: Mapping[int | str, int]) -> Iterator[None]:
        """Hold rows of a table: key to the number of attempts that the claim made of it (the fence)."""
        with self._lock:
            self._next += 1
            mine = self._next
            self._claims[mine] = (time.monotonic() + HELD_FOR.total_seconds(), table, attempts)
        try:
            yield
        finally:
            with self._lock:
                del self._claims[mine]

    def renew(self, store: Store) -> int:
        """Prolong what is held and still ours. Returns how many rows."""
        now = time.monotonic()
        with self._lock:
            claims = [(table, attempts) for until, table, attempts in self._claims.values() if until > now]
        held: dict[sa.Table, dict[int, list[int | str]]] = defaultdict(lambda: defaultdict(list))
        for table, attempts in claims:
            for row, count in attempts.items():
                held[table][count].append(row)
        renewed = 0
        for table, by_attempts in held.items():  # a transaction a table: claims are as many as calls
            (key,) = table.primary_key.columns
            fence = sa.or_(*(sa.and_(key.in_(rows), table.c.attempts == n) for n, rows in sorted(by_attempts.items())))
            with store.write() as connection:
                ours = in_order(connection, key, sa.and_(fence, table.c.claimed_until.isnot(None)))
                until_ = database_now(connection) + LEASE
                renewed += connection.execute(table.update().where(ours).values(claimed_until=until_)).rowcount
        return renewed
