"""Which processes run, by the rows in which they say so (`app.presence`): their roles, since when, and what they did not take."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.model import Config
from tracker.store.tables import processes

ALIVE = timedelta(seconds=30)  # who was not seen for so long runs no more, or hangs
ROLES = ("web", "worker", "scheduler")


def list_processes(connection: Connection, now: datetime) -> list[dict[str, Any]]:
    """Return a row a process, by role and host: alive or not, since when, when last seen, and why it kept its configuration.

    `now` is the database's. Ages are seconds. One that ended without a word is there until others run for a day.
    """
    p = processes.c
    rows = connection.execute(sa.select(processes).order_by(p.role, p.host, p.pid))
    return [
        {
            "role": row.role, "host": row.host, "pid": row.pid, "version": row.version, "alive": now - row.seen_at < ALIVE,
            "started_at": row.started_at, "up_seconds": (now - row.started_at).total_seconds(), "seen_at": row.seen_at,
            "seen_seconds": (now - row.seen_at).total_seconds(), "kept": _kept(row.told),
        }
        for row in rows
    ]  # fmt: skip


def _kept(told: dict[str, Any] | None) -> str | None:
    return str(told.get("said")) if told and told.get("taken") is False else None


def missing(config: Config, running: Sequence[dict[str, Any]]) -> list[str]:
    """Return the roles of which no process lives: all three, where one process has them all (`tracker up`), are told as one."""
    alive = {role for row in running if row["alive"] for role in row["role"].split(",")}
    away = [role for role in ROLES if role not in alive]
    apart = config.root.broker != "none" and not config.root.database.startswith("sqlite")
    return away if apart or not away else ["up"]
