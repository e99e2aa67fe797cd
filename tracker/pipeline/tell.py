"""Tell people: notices to customers into the JSON-lines sink, findings to whoever is told of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import orjson
from sqlalchemy.engine import Connection

from tracker.config.model import Account
from tracker.domain.errors import Transient
from tracker.domain.facts import Action, Finding
from tracker.domain.masking import mask_bytes
from tracker.domain.notices import render
from tracker.domain.vocabulary import Severity
from tracker.pipeline.context import AppContext
from tracker.pipeline.telling import events
from tracker.store import queries
from tracker.store.engine import database_now


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
    """Open findings (see `queries.open_findings`); those that are severe enough for anybody are marked, to be told of."""
    least = events.least(ctx.config)
    alert_at = database_now(connection) if wanted and least is not None else None
    queries.open_findings(
        connection, wanted, now, by=by, digest_before=digest_before, alert_at=alert_at,
        alert_from=least or Severity.URGENT, stores=stores,
    )  # fmt: skip
    if alert_at is not None:
        ctx.notify("tell")


def has_sink(ctx: AppContext, account: Account) -> bool:
    """Say whether anybody takes notices of a store: the file, its customers by mail, or an endpoint."""
    root = ctx.config.root
    heard = any(not one.stores or account.name in one.stores for _, one in events.wanted(ctx.config, "notice"))
    return root.notices.file is not None or (root.mail is not None and account.mail.send) or heard


def notify(ctx: AppContext, account: Account, action: Action) -> str:
    """Append a notice to the file, where there is one: with its text, one line, durable. Returns the text. Raises Transient."""
    policy = account.policy
    said = render(action, policy.language, policy.calendar.zone)
    path = ctx.config.root.notices.file
    if path is None:
        if not has_sink(ctx, account):
            raise Transient("no sink is configured: notices.file, mail, or an endpoint")
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
