"""The processes of one installation: each says that it lives, and takes the configuration again when `tracker reload` asks for it.

They meet in the database, as they are on several machines: a row a process, which looks at its own once a second. The moments
are the database's.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tracker import __version__
from tracker.store import queries
from tracker.store.engine import Store, database_now
from tracker.store.tables import processes
from tracker.support.roles import ALIVE

SEEN_EVERY = timedelta(seconds=10)
FORGOTTEN = timedelta(days=1)
_P = processes.c


class Presence:
    """The row of this process."""

    def __init__(self, store: Store, roles: Iterable[str]) -> None:
        """Nothing is written yet."""
        self._store = store
        self._row: dict[str, Any] = {
            "role": ",".join(sorted(roles)), "host": socket.gethostname(), "pid": os.getpid(), "name": secrets.token_hex(8),
            "version": __version__,
        }  # fmt: skip
        self._mine = _P.name == self._row["name"]
        self._seen: datetime | None = None

    def look(self) -> datetime | None:
        """Say that we live; returns the moment of a wish to reload that was not answered yet."""
        with self._store.read() as connection:
            now = database_now(connection)
            row = connection.execute(sa.select(processes).where(self._mine)).one_or_none()
        if self._seen is None or row is None or now - self._seen >= SEEN_EVERY:
            self._say(now)
        if row is None or row.asked_at is None or (row.answered_at is not None and row.answered_at >= row.asked_at):
            return None
        asked: datetime = row.asked_at
        return asked

    def _say(self, now: datetime) -> None:
        with self._store.write() as connection:
            if self._seen is None:
                connection.execute(processes.delete().where(_P.seen_at < now - FORGOTTEN))
            insert = queries.upsert(connection, processes)
            seen = insert.on_conflict_do_update(index_elements=["name"], set_={"seen_at": insert.excluded.seen_at})
            connection.execute(seen, {**self._row, "started_at": now, "seen_at": now})
        self._seen = now

    def answer(self, asked: datetime, told: dict[str, Any]) -> None:
        """Say what came of a wish to reload."""
        with self._store.write() as connection:
            connection.execute(processes.update().where(self._mine).values(answered_at=asked, told=told))

    def tell(self, told: dict[str, Any]) -> None:
        """Say what came of a reload that nobody wished for here (SIGHUP)."""
        with self._store.write() as connection:
            connection.execute(processes.update().where(self._mine).values(told=told))

    def end(self) -> None:
        """Say that we run no more."""
        with self._store.write() as connection:
            connection.execute(processes.delete().where(self._mine))


def ask(store: Store, within: float) -> list[dict[str, Any]]:
    """Have every process that lives take the configuration again, and wait for what comes of it. Returns one row a process.

    `state`: taken, kept (`said` tells why), stopped (it ended meanwhile), silent (it did not answer in time).
    """
    with store.write() as connection:
        now = database_now(connection)
        alive = sa.select(processes).where(_P.seen_at >= now - ALIVE).order_by(_P.role, _P.host, _P.pid)
        asked = connection.execute(queries.locked(connection, alive)).all()
        names = [row.name for row in asked]
        connection.execute(processes.update().where(queries.among(connection, _P.name, names)).values(asked_at=now))
    until = time.monotonic() + within
    there: dict[str, Any] = {}
    while asked:
        with store.read() as connection:
            found = connection.execute(sa.select(processes).where(queries.among(connection, _P.name, names)))
            there = {row.name: row for row in found}
        waits = any(row.answered_at is None or row.answered_at < now for row in there.values())
        if not waits or time.monotonic() >= until:
            break
        time.sleep(0.2)
    return [_outcome(row, there.get(row.name), now) for row in asked]


def _outcome(row: Any, found: Any, asked: datetime) -> dict[str, Any]:
    state, told = "stopped", dict[str, Any]()
    if found is not None:
        told = found.told or {} if found.answered_at is not None and found.answered_at >= asked else {}
        state = ("taken" if told.get("taken") else "kept") if told else "silent"
    return {
        "role": row.role, "host": row.host, "pid": row.pid, "state": state, "said": told.get("said"),
        "changes": told.get("changes"),
    }  # fmt: skip
