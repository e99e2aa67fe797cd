"""Tell people: notices to customers into the JSON-lines sink, findings to the alert address. At least once, each with a key."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.model import Account
from tracker.domain.errors import SourceError, Transient
from tracker.domain.facts import Action, Finding
from tracker.domain.masking import mask_bytes
from tracker.domain.notices import render
from tracker.domain.vocabulary import Severity
from tracker.pipeline.context import AppContext
from tracker.plugin.calls import Request
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import findings, orders

ALERTS_AT_ONCE = 20
ALERT_LEASE = timedelta(seconds=60)


def report_findings(
    ctx: AppContext,
    connection: Connection,
    wanted: Sequence[tuple[int | None, Finding]],
    now: datetime,
    *,
    by: str,
    digest_before: Mapping[int, datetime] | None = None,
    stores: Mapping[int, str] | None = None,
) -> None:
    """Open findings (see `queries.open_findings`); those that are severe enough are due at the alert address."""
    notices = ctx.config.root.notices
    alert_at = database_now(connection) if notices.alert_url else None
    queries.open_findings(
        connection, wanted, now, by=by, digest_before=digest_before, alert_at=alert_at,
        alert_from=Severity(notices.alert_from), stores=stores,
    )  # fmt: skip


def has_sink(ctx: AppContext, account: Account) -> bool:
    """Say whether anybody takes notices of a store: the file, or its customers by mail."""
    root = ctx.config.root
    return root.notices.file is not None or (root.mail is not None and account.mail.send)


def notify(ctx: AppContext, account: Account, action: Action) -> str:
    """Append a notice to the file, where there is one: with its text, one line, durable. Returns the text. Raises Transient."""
    policy = account.policy
    said = render(action, policy.language, policy.calendar.zone)
    path = ctx.config.root.notices.file
    if path is None:
        if not has_sink(ctx, account):
            raise Transient("no sink is configured: notices.file or mail")
        return said
    line = {
        "key": action.key, "notice": action.notice, "store": action.store, "order": action.number,
        "parcels": [{"carrier": p.carrier or p.company, "number": p.number} for p in action.parcels],
        "status": action.status, "happened_at": action.happened_at, "estimate": action.edd, "language": policy.language,
        "text": said, "rules": list(action.rules), "at": ctx.now(),
    }  # fmt: skip
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):  # a FIFO would make us wait, and keeps nothing
                raise Transient(f"the sink {path} is no regular file")
            os.write(file, mask_bytes(orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)))
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise Transient(f"the sink {path} cannot be written: {error.strerror}") from None
    return said


def alert(ctx: AppContext) -> int:
    """Post findings that nobody told of yet to the alert address. Returns how many were tried."""
    url = ctx.config.root.notices.alert_url
    if url is None or ctx.poster is None:
        return 0
    with ctx.store.write() as connection:
        now = database_now(connection)
        f = findings.c
        due = sa.select(findings).where(f.alert_due_at <= now, f.closed_at.is_(None)).order_by(f.alert_due_at, f.id)
        rows = queries.oldest(connection, queries.skip_locked(connection, due.limit(ALERTS_AT_ONCE))).all()
        if rows:
            held = findings.update().where(f.id.in_([row.id for row in rows]))
            connection.execute(held.values(alert_due_at=now + ALERT_LEASE))
        numbers = {
            row.id: row.number
            for row in connection.execute(
                sa.select(orders.c.id, orders.c.number).where(orders.c.id.in_([r.order_id for r in rows if r.order_id]))
            )
        }
    told = []
    for row in rows:
        body = {
            "key": f"finding/{row.id}", "kind": row.kind, "severity": row.severity, "act": row.act, "store": row.store,
            "subject": row.subject, "order": numbers.get(row.order_id), "evidence": row.evidence,
            "proposal": row.proposal or None, "opened_at": row.opened_at,
        }  # fmt: skip
        content = mask_bytes(orjson.dumps(body, option=orjson.OPT_UTC_Z))
        request = Request("POST", url, headers={"Content-Type": "application/json"}, content=content)
        try:
            ctx.poster(request)
            told.append(row.id)
        except SourceError as error:
            ctx.log.warning("alert_failed", finding=row.id, error=type(error).__name__)
    if told:
        with ctx.store.write() as connection:
            connection.execute(findings.update().where(findings.c.id.in_(told)).values(alert_due_at=None))
    ctx.count("tracker_alerts_total", len(told))
    return len(rows)


def alert_all(ctx: AppContext) -> None:
    """Post every finding that is due at the alert address."""
    while alert(ctx):
        pass
