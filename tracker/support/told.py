"""What people ask of those whom we tell, endpoints and targets: how each takes it, which messages wait or died, and what to send again."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import orjson
import sqlalchemy as sa

from tracker.config.telling import EndpointPart, TargetPart
from tracker.domain.masking import mask
from tracker.domain.texts import printable
from tracker.pipeline.context import AppContext
from tracker.pipeline.telling import samples, send, standing
from tracker.plugin.calls import Response
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import destinations, messages

COUNTED = 10_000  # messages that are counted; more are "10000 or more"
AT_ONCE = 500
FINE = ("fine", "new")
_M, _D = messages.c, destinations.c


def list_destinations(ctx: AppContext) -> list[dict[str, Any]]:
    """Return a row an endpoint and target: how it takes what it is told, what waits for it since when, and what died.

    `state`: fine, new (nothing was sent yet), failing, or gone (it said so, and nothing is sent any more).
    """
    if not send.destinations_of(ctx):
        return []
    with ctx.store.read() as connection:
        known = {row.name: row for row in connection.execute(sa.select(destinations))}
        now = database_now(connection)
        rows = []
        for name, whom in send.destinations_of(ctx).items():
            waits, dead = (
                connection.execute(
                    sa.select(sa.func.count()).select_from(
                        sa.select(_M.id).where(_M.destination == name, _M.state == state).limit(COUNTED).subquery()
                    )
                ).scalar_one()
                for state in ("pending", "dead")
            )
            oldest = sa.select(_M.created_at).where(_M.destination == name, _M.state == "pending").order_by(_M.id)
            first = connection.execute(oldest.limit(1)).scalar_one_or_none() if waits else None
            due = sa.select(_M.due_at).where(_M.destination == name, _M.state == "pending").order_by(_M.due_at).limit(1)
            next_at = connection.execute(due).scalar_one_or_none() if waits else None
            rows.append(_row(name, whom, known.get(name), waits, dead, first, next_at, now))
    return rows


def notes(ctx: AppContext) -> list[tuple[str, bool]]:
    """Say of each whom we tell what it is told and how it takes it, each with whether that is a problem (`tracker check`)."""
    told = []
    for row in list_destinations(ctx):
        wrong = row["state"] not in FINE
        said = f"telling: {row['name']} ({row['form']}) is told {row['told']}"
        said += (
            f": {row['state']} since {row['since']:%Y-%m-%d %H:%M}Z ({row['why']}), {row['waiting']} wait"
            if wrong
            else ""
        )
        told.append((said, wrong))
        if (row["secrets"] or 1) > 1 and row["signs_since"] is not None:
            age = row["signs_since"]
            told.append(
                (
                    f"telling: {row['name']}: {row['secrets']} secrets sign, as they are since {age:%Y-%m-%d}: take the old one out once "
                    "they check by the new one", False,
                )
            )  # fmt: skip
    return told


def _row(
    name: str, whom: EndpointPart | TargetPart, row: Any, waits: int, dead: int, first: datetime | None, next_at: datetime | None, now: datetime
) -> dict[str, Any]:  # fmt: skip
    state = "new" if row is None or row.answered_at is None else "fine"
    if row is not None and row.failures:
        state = "failing"
        next_at = max(filter(None, (next_at, row.blocked_until)), default=None)
    if row is not None and row.disabled_at is not None:
        state, next_at = "gone", None
    form = "webhook" if isinstance(whom, EndpointPart) else whom.form
    told = ", ".join(whom.events) if isinstance(whom, EndpointPart) else f"findings from {whom.least}"
    secrets = len(whom.secrets) if isinstance(whom, EndpointPart) else None
    return {
        "name": name, "form": form, "state": state, "why": row.failing_why if row is not None else None,
        "since": (row.disabled_at or row.failing_since) if row is not None else None, "waiting": waits,
        "oldest": now - first if first is not None else None, "dead": dead,
        "answered_at": row.answered_at if row is not None else None,
        "signs_since": row.signs_since if row is not None else None,
        "next_at": next_at, "told": told, "secrets": secrets,
    }  # fmt: skip


def list_messages(
    ctx: AppContext,
    *,
    destination: str | None = None,
    state: str | None = None,
    after: int | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Return messages, newest first: to whom, what, how often it was tried and what came back; `body` is what is sent."""
    wanted = [] if destination is None else [_M.destination == destination]
    wanted += [] if state is None else [_M.state == state]
    wanted += [] if after is None else [_M.id < after]
    with ctx.store.read() as connection:
        rows = connection.execute(sa.select(messages).where(*wanted).order_by(_M.id.desc()).limit(limit)).all()
    told = []
    for row in rows:
        body = orjson.loads(row.body)
        told.append(
            {
                "id": row.id, "to": row.destination, "event": row.event, "state": row.state, "attempts": row.attempts,
                "error": row.error, "answer": row.answer, "says": _says(body), "created_at": row.created_at,
                "due_at": row.due_at if row.state == "pending" else None, "ended_at": row.ended_at, "key": row.key,
                "body": body,
            }
        )  # fmt: skip
    return told


def _says(body: dict[str, Any]) -> str:
    """Return the sentence of a message, whatever its form."""
    data = body.get("data") or body.get("payload") or body
    said = data.get("why") or data.get("summary") or data.get("subject") or data.get("text") or data.get("dedup_key")
    return str(said or "").splitlines()[0] if said else ""


@dataclass(frozen=True)
class Again:
    """Messages that would be sent again: their ids, and how many of each kind there are, by destination and event."""

    ids: Sequence[int]
    counts: Counter[tuple[str, str]]
    missing: int = 0  # of those named by id


def find_again(
    ctx: AppContext, *, destination: str | None = None, ids: Sequence[int] = (), since: datetime | None = None
) -> Again:
    """Find what can be sent again: those named; else all that were made `since`, sent or dead; else those that are dead."""
    wanted = [] if destination is None else [_M.destination == destination]
    if ids:
        wanted.append(_M.state != "pending")
    elif since is not None:
        wanted += [_M.state != "pending", _M.created_at >= since]
    else:
        wanted.append(_M.state == "dead")
    with ctx.store.read() as connection:
        if ids:
            wanted.append(queries.among(connection, _M.id, sorted(set(ids))))
        found = connection.execute(sa.select(_M.id, _M.destination, _M.event).where(*wanted).order_by(_M.id)).all()
    known = send.destinations_of(ctx)
    rows = [row for row in found if row.destination in known]
    counts = Counter((row.destination, row.event) for row in rows)
    return Again([row.id for row in rows], counts, len(set(ids)) - len(rows) if ids else 0)


def send_again(ctx: AppContext, ids: Sequence[int]) -> int:
    """Have messages sent again, under the ids that they had. Returns how many; those that wait meanwhile are left."""
    done = 0
    for start in range(0, len(ids), AT_ONCE):
        with ctx.store.write() as connection:
            here = queries.among(connection, _M.id, ids[start : start + AT_ONCE])
            again = {
                "state": "pending",
                "attempts": 0,
                "due_at": database_now(connection),
                "ended_at": None,
                "error": None,
            }
            done += connection.execute(messages.update().where(here, _M.state != "pending").values(**again)).rowcount
    ctx.notify("tell")
    return done


def enable(ctx: AppContext, name: str) -> bool:
    """Send to a destination again that said it was gone, or that rests. Says whether there was something to undo."""
    return standing.enable(ctx, name)


@dataclass(frozen=True)
class Tried:
    """What came of a sample: the status of the answer, how it begins, and how long it took."""

    key: str
    status: int
    said: str
    took: timedelta
    body: str

    @property
    def taken(self) -> bool:
        """Whether it was taken."""
        return 200 <= self.status < 300


def try_sample(ctx: AppContext, name: str, event: str | None) -> Tried:
    """Send a sample to an endpoint or target, as what happens is sent, and say what came back. Nothing is kept.

    Raises what the way out raises: Transient where nobody answers, Refused for an address that must not be called.
    """
    whom = send.destinations_of(ctx)[name]
    now = ctx.now()
    body = samples.sample(name, whom, event, now)
    key = f"msg_test_{uuid.uuid4().hex}"
    answer: Response = send.send(ctx, whom, SimpleNamespace(key=key, body=body))
    said = answer.body.decode("utf-8", "replace").split("\n")[0][:200]
    return Tried(key, answer.status, printable(mask(said)), answer.received_at - now, body)
