"""The queue of mails to customers: rows that are claimed, judged anew, addressed and sent, several on one connection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.mail import MailPart, quiet_of
from tracker.config.model import Account
from tracker.domain.facts import Action
from tracker.domain.mails import MAILED
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.mails import server
from tracker.pipeline.mails.deliver import Batch, Stop, tell_refused
from tracker.store import queries
from tracker.store.codec import ACTION, dump
from tracker.store.engine import database_now
from tracker.store.tables import accounts, mails

_M = mails.c


def put(ctx: AppContext, connection: Connection, account: Account, order_id: int, action: Action) -> None:
    """Queue the mail of a notice, where its store mails such; one that was queued before is never queued again."""
    mail = ctx.config.root.mail
    if mail is None or not account.mail.send or action.notice not in MAILED:
        return
    quiet = quiet_of(mail.quiet, account.mail.quiet, account.policy.calendar.zone)
    row = {
        "key": action.key, "store": account.name, "order_id": order_id, "action": dump(ACTION, action), "state": "pending",
        "attempts": 0, "crashes": 0, "due_at": database_now(connection), "created_at": ctx.now(),
        "not_before": quiet.until(ctx.now()) if quiet is not None else None,
    }  # fmt: skip
    connection.execute(queries.upsert(connection, mails).on_conflict_do_nothing(index_elements=["key"]), row)
    ctx.notify("mail")


def due(ctx: AppContext, connection: Connection, now: datetime, business: datetime) -> bool:
    """Say whether a mail is due at `now` (the database's time) and `business` time; whether the server takes it is seen then."""
    if ctx.config.root.mail is None:
        return False
    waits = sa.select(_M.id).where(_M.state == "pending", _M.due_at <= now, *ready(business))
    return connection.execute(waits.limit(1)).first() is not None


def waiting(now: datetime, business: datetime) -> sa.Select[tuple[datetime]]:
    """Select since when each mail waits, as `at`, where its store may be mailed for; those first that are due for longest."""
    since = sa.case((_M.not_before > _M.due_at, _M.not_before), else_=_M.due_at).label("at")
    waits = sa.select(since).where(_M.state == "pending", _M.due_at <= now, *ready(business))
    return waits.order_by(_M.due_at, _M.id)


def run(ctx: AppContext) -> int:
    """Send one batch. Returns how many mails were taken up."""
    mail = ctx.config.root.mail
    if mail is None or ctx.mailer is None:
        return 0
    given, rows = _claim(ctx, mail)
    if not rows:
        return 0
    crash_at("mail_claimed")
    with ctx.leases.holding(mails, {row.id: row.attempts for row in rows}), Batch(ctx, mail) as batch:
        for i, row in enumerate(rows):
            try:
                batch.deliver(row)
            except Stop as stop:
                _hand_back(ctx, given, rows[i + stop.kept :], stop)
                break
            except Exception as error:  # a bug of ours or of a text: crashes stays counted, so poison ends
                ctx.log.warning("mail_failed", store=row.store, error=type(error).__name__)
                with ctx.store.write() as connection:
                    at = database_now(connection) + queries.backoff(row.attempts)
                    queries.release(connection, mails, row, at, type(error).__name__, crashed=True)
    return len(rows)


def retry(ctx: AppContext, ids: Sequence[int], store: str | None) -> int:
    """Make mails due again that were refused or given up: those of these ids, or none: all of a store, or of all. Returns how many."""
    with ctx.store.write() as connection:
        which: list[sa.ColumnElement[bool]] = [_M.state.in_(["refused", "dead"])]
        which += [queries.among(connection, _M.id, list(ids))] if ids else []
        which += [_M.store == store] if store is not None else []
        again = {
            "state": "pending",
            "due_at": database_now(connection),
            "crashes": 0,
            "ended_at": None,
            "created_at": ctx.now(),
        }
        count = connection.execute(mails.update().where(*which).values(**again)).rowcount
    ctx.notify("mail")
    return int(count)


def ready(business: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """Return what a mail must be to be sent now: not in quiet hours, of a store that is neither paused, suspended nor resting."""
    a = accounts.c
    rested = sa.or_(a.rests_until.is_(None), a.rests_until <= business)
    up = sa.select(a.name).where(a.name == _M.store, a.paused_at.is_(None), a.suspended_reason.is_(None), rested)
    return sa.or_(_M.not_before.is_(None), _M.not_before <= business), up.exists()


def _claim(ctx: AppContext, mail: MailPart) -> tuple[server.Given, Sequence[Row[Any]]]:
    dead: list[Row[Any]] = []
    rows: Sequence[Row[Any]] = ()
    with ctx.store.write() as connection:
        given = server.take(ctx, connection, mail, mail.per_connection)
        if given.count:
            refused = server.refused_stores(ctx, connection, mail)
            rows = queries.claim(
                connection, mails, given.count, *ready(ctx.now()), _M.store.not_in(refused), died=dead.extend
            )
            server.give_back(connection, given, given.count - len(rows))
            ended = queries.among(connection, _M.id, [row.id for row in dead])
            connection.execute(
                mails.update().where(ended).values(ended_at=ctx.now())
            )  # the claim told it by the database
    for row in dead:
        tell_refused(ctx, row, "it failed again and again, and was given up", "")
    return given, rows


def _hand_back(ctx: AppContext, given: server.Given, rows: Sequence[Row[Any]], stop: Stop) -> None:
    """Give back what the server takes from nobody just now: it rests as a whole. What was said of each itself stays."""
    with ctx.store.write() as connection:
        now = database_now(connection)
        for row in rows:
            why = (row.reason or f"not tried yet: {stop}") if stop.kept else str(stop)
            queries.release(connection, mails, row, now, why, crashed=False)
        server.give_back(connection, given, len(rows))
