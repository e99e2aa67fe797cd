"""Send what waits: a message a call, each destination in places of its own turn, one subject's messages in their order.

At least once: the id is the same at each try. A destination that fails rests, ever longer, and its messages wait; each is
tried for days. Whoever is slow or away holds up nobody else.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.telling import EndpointPart, TargetPart
from tracker.domain.errors import Refused, SourceError, Transient, Unanswered
from tracker.domain.masking import mask
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.mails.send import to_operators
from tracker.pipeline.places import READS
from tracker.pipeline.telling import findings, standing
from tracker.pipeline.telling.signing import headers
from tracker.plugin.answers import retry_after
from tracker.plugin.calls import Request, Response
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import destinations, messages

# How long after each failed try the next one is (Standard Webhooks' schedule, with a jitter of a tenth): ten tries, four days.
SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)  # fmt: skip
GIVES_UP = sum(SCHEDULE, timedelta(0))  # of messages to targets, for which people wait: they are tried each few minutes
AT_ONCE = 10  # messages of a place
MOST_PLACES = 8  # of one destination
MOST_REST = timedelta(hours=24)  # that an answer may ask for
GONE, BAD = 410, 400


def run(ctx: AppContext) -> int:
    """Give findings to those who are told of them, and send what is due, for who works queues by hand. Returns how many were taken up."""
    if not destinations_of(ctx):
        return 0
    worked = findings.give(ctx)
    for name in _waiting(ctx):
        rows = _claim(ctx, name, AT_ONCE)
        worked += len(rows)
        _work(ctx, name, rows)
    return worked


def begin(ctx: AppContext) -> int:
    """Do the same where nobody waits: each destination in places of its own, as many as it has shown to take."""
    if not destinations_of(ctx):
        return 0
    worked = findings.give(ctx)
    with ctx.tells.reserving() as room:
        for name in _waiting(ctx):
            places = room.take_all(READS, name, MOST_PLACES)
            for place in places:
                place.firm, place.what = True, "tell"
                if rows := _claim(ctx, name, AT_ONCE):
                    room.begin(place, partial(_work, ctx, name, rows), partial(_wake, ctx))
                    worked += len(rows)
                else:
                    room.back([place])
    return worked


def _wake(ctx: AppContext) -> None:
    """Look again: what came meanwhile found no place."""
    if ctx.tells.short():
        ctx.notify("tell")


def destinations_of(ctx: AppContext) -> dict[str, EndpointPart | TargetPart]:
    """Return everybody who is told, by name."""
    return {**ctx.config.root.telling.endpoints, **ctx.config.targets}


# what is due


def waiting(now: datetime) -> sa.Select[Any]:
    """Select the destinations that have a message to send at `now`, who waited longest for a turn first."""
    d, m = destinations.c, messages.c
    free = sa.or_(m.claimed_until.is_(None), m.claimed_until < now)
    one = sa.select(m.id).where(m.destination == d.name, m.state == "pending", m.due_at <= now, free).limit(1)
    rested = sa.or_(d.blocked_until.is_(None), d.blocked_until <= now)
    return (
        sa.select(d.name)
        .where(d.disabled_at.is_(None), rested, one.scalar_subquery().isnot(None))
        .order_by(sa.nulls_first(d.turn_at), d.name)
    )


def is_due(ctx: AppContext, connection: Connection, now: datetime) -> bool:
    """Say whether something is to be told: the scheduler wakes who tells."""
    if not destinations_of(ctx):
        return False
    return connection.execute(waiting(now).limit(1)).first() is not None or findings.is_due(ctx, connection, now)


def _waiting(ctx: AppContext) -> list[str]:
    known = destinations_of(ctx)
    with ctx.store.read() as connection:
        return [name for name in connection.execute(waiting(database_now(connection))).scalars() if name in known]


def _claim(ctx: AppContext, name: str, most: int) -> list[Row[Any]]:
    """Claim the oldest message of each subject of a destination, those that are due longest first."""
    m, older = messages.c, messages.alias("older")
    with ctx.store.write() as connection:
        now = database_now(connection)
        first = ~(
            sa.select(older.c.id)
            .where(
                older.c.destination == name, older.c.subject == m.subject, older.c.state == "pending", older.c.id < m.id
            )
            .exists()
        )
        free = sa.or_(m.claimed_until.is_(None), m.claimed_until < now)
        due = sa.select(m.id).where(m.destination == name, m.state == "pending", m.due_at <= now, free, first)
        ids = queries.oldest(
            connection, queries.skip_locked(connection, due.order_by(m.due_at, m.id).limit(most))
        ).scalars()
        claimed = {"attempts": m.attempts + 1, "claimed_until": now + queries.LEASE}
        here = queries.among(connection, m.id, ids)
        rows = connection.execute(messages.update().where(here).values(**claimed).returning(messages)).all()
        if rows:
            connection.execute(destinations.update().where(destinations.c.name == name).values(turn_at=now))
    crash_at("tell_claimed") if rows else None
    return sorted(rows, key=lambda row: (row.due_at, row.id))


# one message


def _work(ctx: AppContext, name: str, rows: Sequence[Row[Any]]) -> SourceError | None:
    """Send claimed messages of one destination, in their order. Where one fails the others wait with it. Returns what was wrong."""
    for i, row in enumerate(rows):
        with ctx.store.write() as connection:
            ours = queries.renew(connection, messages, row, queries.LEASE)
        whom = destinations_of(ctx).get(name)
        if not ours or whom is None:
            continue
        try:
            answer = send(ctx, whom, row)
        except SourceError as error:
            _failed(ctx, name, row, None, error)
            _hand_back(ctx, rows[i + 1 :])
            return error if isinstance(error, Transient) else None
        crash_at("tell_after_call")
        if 200 <= answer.status < 300:
            _sent(ctx, name, whom, row, answer)
            crash_at("tell_after_commit")
            continue
        _failed(ctx, name, row, answer, None)
        _hand_back(ctx, rows[i + 1 :])
        return None
    return None


def send(ctx: AppContext, whom: EndpointPart | TargetPart, row: Any) -> Response:
    """Post one message. Returns the answer, whatever its status. Raises what the way out raises.

    `row`: its `key` and `body`. The routing key of PagerDuty stands in the configuration only, and is put in here.
    """
    if isinstance(whom, TargetPart) and whom.form == "mail":
        return _mailed(ctx, whom, row)
    content = row.body.encode()
    kept = {"Content-Type": "application/json"}
    if isinstance(whom, EndpointPart):
        with ctx.store.read() as connection:
            now = database_now(connection)
        kept |= headers(whom.secrets, row.key, now, content)
        url = whom.url
    else:
        url = whom.address
        if whom.routing_key is not None:
            content = orjson.dumps({"routing_key": whom.routing_key.get_secret_value(), **orjson.loads(content)})
    assert ctx.poster is not None
    return ctx.poster(Request("POST", url, headers=kept, content=content, idempotent=False))


def _mailed(ctx: AppContext, whom: TargetPart, row: Any) -> Response:
    """Mail one message; sent again, it has the same Message-ID. Raises what the mail server makes of it."""
    told = orjson.loads(row.body)
    to_operators(ctx, whom.to, told["subject"], told["text"], key=row.key)
    return Response(200, {}, b"the mail server took it", ctx.now())


def _hand_back(ctx: AppContext, rows: Sequence[Row[Any]]) -> None:
    """Give back what was claimed and not tried: that was no try."""
    with ctx.store.write() as connection:
        for row in rows:
            _end(connection, row, attempts=messages.c.attempts - 1)


def whom_mails(ctx: AppContext, name: str) -> bool:
    """Say whether a destination is told by mail."""
    target = ctx.config.targets.get(name)
    return target is not None and target.form == "mail"


def _end(connection: Connection, row: Row[Any], **values: Any) -> bool:
    """Write what came of a claim, unless somebody else has the message now. Says whether it was ours."""
    m = messages.c
    mine = (m.id == row.id, m.attempts == row.attempts, m.state == "pending")
    return bool(connection.execute(messages.update().where(*mine).values(claimed_until=None, **values)).rowcount)


def _sent(ctx: AppContext, name: str, whom: EndpointPart | TargetPart, row: Row[Any], answer: Response) -> None:
    with ctx.store.write() as connection:
        now = database_now(connection)
        if _end(connection, row, state="sent", ended_at=now, answer=answer.status, error=None):
            standing.answered(ctx, connection, name, now)
    ctx.count("tracker_messages_total", destination=name, state="sent")
    if isinstance(whom, TargetPart):
        ctx.count("tracker_alerts_total")


def _failed(ctx: AppContext, name: str, row: Row[Any], answer: Response | None, error: SourceError | None) -> None:
    """Note a try that failed: when the next one is, or that it was the last. The destination rests."""
    said = f"HTTP {answer.status}" if answer is not None else mask(str(error))[:200]
    asked = retry_after(answer, MOST_REST) if answer is not None else None
    target = name in ctx.config.targets
    with ctx.store.write() as connection:
        now = database_now(connection)
        refused = isinstance(error, Refused) and whom_mails(ctx, name)  # of several addresses the others have it
        twice = isinstance(error, Unanswered) and row.error == said  # a mail that was handed over twice: it is there
        hopeless = (
            refused or twice or (answer is not None and answer.status == BAD and target)
        )  # it would be refused again
        tried = row.attempts > len(SCHEDULE) and (not target or now - row.created_at > GIVES_UP)
        last = hopeless or tried
        wait = SCHEDULE[min(row.attempts, len(SCHEDULE)) - 1] * random.uniform(0.9, 1.1)
        wait = min(wait, standing.LONGEST_REST) if target else wait
        values: dict[str, Any] = {"error": said, "answer": answer.status if answer is not None else None}
        if last:
            values |= {"state": "dead", "ended_at": now}
        else:
            values |= {"due_at": now + max(wait, asked or timedelta(0))}
        if _end(connection, row, **values):
            gone = answer is not None and answer.status == GONE
            standing.failed(ctx, connection, name, said, now, asked=asked, gone=gone)
    ctx.count("tracker_messages_total", destination=name, state="dead" if last else "failed")
    ctx.log.info("tell_later", account=name, id=row.key, said=said)
