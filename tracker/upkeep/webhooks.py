"""Find accounts whose webhooks stopped, or of which many do not arrive: polls bring their news, later."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import (
    account_days,
    accounts,
    findings,
    heartbeats,
    inbox,
    scans,
    watches,
)

SILENT_NEWS = 5  # parcels of which polls told first, since the last webhook
COUNTED = "webhooks"  # the heartbeat that says how far scans are counted
LATE_AFTER = timedelta(hours=1)  # so long after a poll told first, a webhook is no longer on its way
SAME_TIME = timedelta(hours=1)  # of scans, in one statement
OFTEN = timedelta(minutes=5)
FARTHEST = timedelta(days=2)  # what is older was caught up after an outage
DAY = timedelta(days=1)
MOST_STEPS = 60


def look(ctx: AppContext, connection: Connection, now: datetime) -> None:
    """Tell of accounts whose webhooks are silent, and of those of which many are missing; close what is over."""
    sending = [
        (account, row)
        for row in connection.execute(sa.select(accounts).where(accounts.c.last_webhook_at.isnot(None)))
        if (account := ctx.account(row.name)) is not None and not account.is_store and account.source.webhooks
    ]
    for account, row in sending:
        _silent(ctx, connection, account, row, now)
    telling = [account for account, _ in sending if account.carrier.pushes_scans]  # of others each scan comes by a poll
    _count(connection, telling, now)
    for account in telling:
        _missing(ctx, connection, account, now)


def _silent(ctx: AppContext, connection: Connection, account: Account, row: Row[Any], now: datetime) -> None:
    """Find an account whose webhooks stopped while its polls still bring news."""
    after = ctx.config.root.watch.webhooks_silent_after
    news = (row.poll_news or 0) if now - row.last_webhook_at >= after else 0
    if news >= SILENT_NEWS:
        evidence = {"account": row.name, "last_webhook": f"{row.last_webhook_at:%Y-%m-%d %H:%M}Z"}
        kind, since = FindingKind.WEBHOOKS_SILENT, row.last_webhook_at
        finding = Finding(kind, _subject(account), Severity.WARNING, Act.ACT, evidence, since)
        tell.report_findings(ctx, connection, [(None, finding)], now, by="watch")
    elif now - row.last_webhook_at < after:
        _close(connection, account, FindingKind.WEBHOOKS_SILENT, now)


def _count(connection: Connection, sending: list[Account], now: datetime) -> None:
    """Count, an hour after they were first told, the scans that a webhook told and those that only a poll told."""
    heartbeat = connection.execute(sa.select(heartbeats.c.at).where(heartbeats.c.name == COUNTED)).scalar_one_or_none()
    if heartbeat is None:  # what was told before nobody counted
        connection.execute(heartbeats.insert(), {"name": COUNTED, "at": now})
        return
    since = began = max(heartbeat, now - LATE_AFTER - FARTHEST)
    outages = _outages(connection, now) if now - LATE_AFTER - since >= OFTEN else ()
    for _ in range(MOST_STEPS):
        midnight = (since + DAY).replace(hour=0, minute=0, second=0, microsecond=0)
        until = min(now - LATE_AFTER, since + SAME_TIME, midnight)
        if until - since < OFTEN and until != midnight:
            break
        counted: dict[tuple[str, str], dict[str, int]] = {}
        for account in sending:
            total, missed = connection.execute(_told(account, since, until, outages)).one()
            if total:
                day = f"{since:%Y-%m-%d}"
                counted[account.name, day] = {"polled_first": missed or 0, "pushed_first": total - (missed or 0)}
        queries.count_days(connection, counted)
        since = until
    if since != began:
        connection.execute(heartbeats.update().where(heartbeats.c.name == COUNTED).values(at=since))


def _told(
    account: Account, since: datetime, until: datetime, outages: tuple[tuple[datetime, datetime], ...]
) -> sa.Select[int, Any]:
    """Count scans first told in a span by an account that watched their parcel with webhooks; and those no webhook told.

    Only what the first look did not show, so that it happened while we watched, and after the account was asked to push. Not
    what was read again, what is a day old (caught up), or what happened while we were away.
    """
    s, t, i = scans.c, watches.c, inbox.c
    asked: sa.ColumnElement[bool] = sa.true()
    if account.carrier.registers:
        asked = sa.and_(
            sa.or_(t.registered_at <= t.looked_since, t.registered_at <= s.instant),  # it is renewed now and then
            sa.or_(t.registered_until.is_(None), t.registered_until >= s.first_seen_at),
        )
    away = [sa.and_(s.instant >= left - LATE_AFTER, s.instant <= back) for left, back in outages]
    missed = sa.func.sum(sa.case((s.pushed_at.is_(None), 1), else_=0))
    return (
        sa.select(sa.func.count(), missed)
        .select_from(scans)
        .join(watches, sa.and_(t.shipment_id == s.shipment_id, t.account == s.account))
        .outerjoin(inbox, i.id == s.inbox_id)
        .where(
            s.first_seen_at > since, s.first_seen_at <= until, s.account == account.name, s.instant > since - DAY,
            s.confirmed_at.isnot(None), s.withdrawn_at.is_(None), sa.func.coalesce(i.quiet, sa.false()).is_(False),
            t.looked_since < s.first_seen_at, asked, *map(sa.not_, away),
        )
    )  # fmt: skip


def _outages(connection: Connection, now: datetime) -> tuple[tuple[datetime, datetime], ...]:
    f = findings.c
    rows = connection.execute(
        sa.select(f.evidence).where(f.kind == FindingKind.OUTAGE, f.opened_at > now - LATE_AFTER - FARTHEST - DAY)
    ).scalars()
    return tuple((datetime.fromisoformat(told["from"]), datetime.fromisoformat(told["until"])) for told in rows)


def _missing(ctx: AppContext, connection: Connection, account: Account, now: datetime) -> None:
    """Judge the last day of which enough is counted; its share stands since the first of the days before it that are as bad."""
    watch = ctx.config.root.watch
    d, f = account_days.c, findings.c
    days = connection.execute(
        sa.select(account_days)
        .where(
            d.account == account.name, d.day >= f"{now - 14 * DAY:%Y-%m-%d}",
            d.polled_first + d.pushed_first >= watch.webhooks_missing_scans,
        )
        .order_by(d.day.desc())
    ).all()  # fmt: skip
    bad = []
    for row in days:
        share = row.polled_first / (row.polled_first + row.pushed_first)
        if share < watch.webhooks_missing_share:
            break
        bad.append((row.day, share))
    silent = sa.and_(f.subject == _subject(account), f.kind == FindingKind.WEBHOOKS_SILENT, f.closed_at.is_(None))
    if not bad or connection.execute(sa.select(f.id).where(silent)).first() is not None:  # one fact, one finding
        _close(connection, account, FindingKind.WEBHOOKS_MISSING, now)
        return
    share, since = bad[0][1], bad[-1][0]
    evidence = {"account": account.name, "share": f"{round(share * 20) * 5} %", "since": since}
    finding = Finding(
        FindingKind.WEBHOOKS_MISSING, _subject(account), Severity.WARNING, Act.ACT, evidence,
        datetime.fromisoformat(f"{since}T00:00:00+00:00"),
        "polls bring what is missing; look for refused or lost deliveries at the carrier, at the proxy and in the log",
    )  # fmt: skip
    tell.report_findings(ctx, connection, [(None, finding)], now, by="watch")


def _close(connection: Connection, account: Account, kind: FindingKind, now: datetime) -> None:
    over = sa.and_(findings.c.subject == _subject(account), findings.c.kind == kind)
    queries.close_findings(connection, over, now, "watch")


def _subject(account: Account) -> str:
    return f"account/{account.name}"
