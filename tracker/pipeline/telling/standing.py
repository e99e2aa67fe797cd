"""How a destination stands: it takes what it is told, it fails and rests, or it said that it is gone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.model import Retention
from tracker.config.telling import EndpointPart
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.hashing import digest
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import destinations, findings, messages, tellings

LONGEST_REST = timedelta(minutes=5)
WAITS_AT_MOST = timedelta(days=14)  # where a destination is away, or gone
AT_ONCE = 500
TOLD_AFTER = timedelta(minutes=30)  # of failing: shorter, it is a restart of theirs
FAILS = ("failing_since", "failing_why", "blocked_until", "disabled_at")
NOT_CONFIGURED = "it is not configured any more"
_D = destinations.c


def settle(ctx: AppContext) -> None:
    """Bring the rows in line with the configuration: a new address begins anew, and what waits for one that is gone ends."""
    endpoints = ctx.config.root.telling.endpoints
    known: dict[str, tuple[str, str | None]] = {n: (digest(one.url), _signs(one)) for n, one in endpoints.items()}
    known |= {name: (digest([one.address, *one.to]), None) for name, one in ctx.config.targets.items()}
    with ctx.store.read() as connection:
        select = sa.select(_D.name, _D.address, _D.signs)
        rows = {row.name: (row.address, row.signs) for row in connection.execute(select)}
    if rows == known:
        return
    with ctx.store.write() as connection:
        now = database_now(connection)
        if not rows:  # what closed while nobody was told
            old = (
                findings.c.alert_due_at.isnot(None),
                findings.c.told_at.isnot(None),
                findings.c.closed_at.isnot(None),
            )
            connection.execute(findings.update().where(*old).values(alert_due_at=None))
        for name in sorted(rows.keys() - known.keys()):
            m = messages.c
            waits = messages.update().where(m.destination == name, m.state == "pending")
            connection.execute(waits.values(state="dead", ended_at=now, error=NOT_CONFIGURED, claimed_until=None))
            connection.execute(tellings.delete().where(tellings.c.destination == name))  # back, it hears no old news
            connection.execute(destinations.delete().where(_D.name == name))
            _close(ctx, connection, name, NOT_CONFIGURED)
        for name, (address, signs) in sorted(known.items()):
            was_at, signed = rows.get(name, (None, None))
            if was_at != address:
                _begin(connection, name, address)
                _close(ctx, connection, name, "it has another address")
            if signed != signs:
                connection.execute(destinations.update().where(_D.name == name).values(signs=signs, signs_since=now))


def _begin(connection: Connection, name: str, address: str) -> None:
    anew = {**dict.fromkeys(FAILS), "name": name, "address": address, "failures": 0}
    insert = queries.upsert(connection, destinations).values(**anew)
    connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=anew))


def _signs(endpoint: EndpointPart) -> str:
    return digest([secret.get_secret_value() for secret in endpoint.secrets])


def enable(ctx: AppContext, name: str) -> bool:
    """Send to a destination again that said it was gone, or that rests, and all that waits for it now, however long it was to wait.

    Says whether there was anything of that.
    """
    with ctx.store.write() as connection:
        anew = {**dict.fromkeys(FAILS), "failures": 0}
        here = (_D.name == name, sa.or_(_D.disabled_at.isnot(None), _D.failures > 0))
        m, now = messages.c, database_now(connection)
        waits = messages.update().where(m.destination == name, m.state == "pending", m.due_at > now)
        sent = connection.execute(waits.values(due_at=now)).rowcount
        rested = connection.execute(destinations.update().where(*here).values(**anew)).rowcount
        if rested:
            _close(ctx, connection, name, "a person said so")
    ctx.notify("tell")
    return bool(rested or sent)


def answered(ctx: AppContext, connection: Connection, name: str, now: datetime) -> None:
    """Note that a destination took something."""
    failing = connection.execute(sa.select(_D.failing_since).where(_D.name == name)).scalar_one_or_none()
    values: dict[str, Any] = {"answered_at": now, "failures": 0, "blocked_until": None}
    if failing is not None:
        values |= {"failing_since": None, "failing_why": None}
        _close(ctx, connection, name, "it takes what it is told")
    connection.execute(destinations.update().where(_D.name == name).values(**values))


def failed(
    ctx: AppContext, connection: Connection, name: str, why: str, now: datetime, *, asked: timedelta | None, gone: bool
) -> None:
    """Have a destination rest: ever longer while it fails, or as long as it asked for. One that is gone is sent nothing more."""
    row = connection.execute(queries.locked(connection, sa.select(destinations).where(_D.name == name))).one_or_none()
    if row is None:
        return
    failures = row.failures + 1
    rest = min(timedelta(seconds=2 ** min(failures, 10)), LONGEST_REST)
    since = row.failing_since or now
    connection.execute(
        destinations.update()
        .where(_D.name == name)
        .values(
            failures=failures, failing_since=since, failing_why=why, blocked_until=now + max(rest, asked or rest),
            disabled_at=now if gone else row.disabled_at,
        )
    )  # fmt: skip
    if gone or now - since >= TOLD_AFTER:
        business = ctx.now()
        whom = "endpoint" if isinstance(ctx.config.root.telling.endpoints.get(name), EndpointPart) else "target"
        evidence = {whom: name, "because": why, "since": (business - (now - since)).isoformat()}
        again = f"`tracker hooks enable {name}`"
        proposal = f"nothing is sent there any more: {again}" if gone else "`tracker hooks endpoints`"
        kind = FindingKind.ENDPOINT_AWAY
        told = Finding(kind, f"told/{name}", Severity.WARNING, Act.ACT, evidence, business - (now - since), proposal)
        tell.report_findings(ctx, connection, [(None, told)], business, by="tell")


def prune(connection: Connection, now: datetime, keep: Retention) -> None:
    """Give up what waits for longer than anybody tries, and drop what ended long ago, a bounded number at a time."""
    m, t, f = messages.c, tellings.c, findings.c
    waits = sa.select(m.id).where(m.state == "pending", m.created_at < now - WAITS_AT_MOST).limit(AT_ONCE)
    ended = {
        "state": "dead",
        "ended_at": now,
        "error": sa.func.coalesce(m.error, "nobody took it"),
        "claimed_until": None,
    }
    connection.execute(messages.update().where(m.id.in_(waits.scalar_subquery())).values(**ended))
    old = sa.select(m.id).where(m.ended_at < now - keep.bodies).order_by(m.ended_at).limit(AT_ONCE)
    connection.execute(messages.delete().where(m.id.in_(old.scalar_subquery())))
    over = (
        sa.select(f.id)
        .join(tellings, t.finding_id == f.id)
        .where(t.told_at < now - keep.rows, t.due_at.is_(None), f.closed_at.isnot(None))
        .limit(AT_ONCE)
    )
    connection.execute(tellings.delete().where(t.finding_id.in_(over), t.due_at.is_(None)))


def _close(ctx: AppContext, connection: Connection, name: str, why: str) -> None:
    here = sa.and_(findings.c.subject == f"told/{name}", findings.c.kind == FindingKind.ENDPOINT_AWAY)
    queries.close_findings(connection, here, ctx.now(), "tell", why)
