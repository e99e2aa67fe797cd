"""What a scrape of /metrics reads of the database: each by an index, counted up to a bound, so that it costs the same at any size.

A name of an account or store is a label only while there are few of its kind. Where there are more than `MOST_NAMED`, the `MOST_NAMED`
worst of each metric are named, and `tracker_accounts` counts all of them; no order, parcel or person is ever named.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.vocabulary import FindingKind, Severity
from tracker.pipeline import budgets
from tracker.pipeline.context import AppContext
from tracker.pipeline.mails import queue as mails
from tracker.pipeline.state import OVERDUE_AFTER
from tracker.store import queries
from tracker.store.engine import Store, database_now
from tracker.store.tables import (
    accounts,
    change_notices,
    findings,
    heartbeats,
    inbox,
    orders,
    outbox,
    processes,
    tokens,
    watches,
)

MOST_NAMED = 100  # accounts of a kind that a metric names
MOST_COUNTED = 10_000  # rows that are counted: 10,000 says "at least"
ROLES = ("web", "worker", "scheduler")
STATES = ("suspended", "paused", "resting", "failing", "working")  # an account is in the first of them that holds
_A = accounts.c
_READ = (
    _A.name, _A.kind, _A.mode, _A.suspended_reason, _A.paused_at, _A.failing_since, _A.rests_until, _A.spent,
    _A.last_webhook_at, _A.next_sweep_at, _A.swept_at, _A.files_at, _A.quota_left, _A.brakes,
)  # fmt: skip


class Sample(NamedTuple):
    """One line of a scrape."""

    name: str
    labels: Mapping[str, str]
    value: float


class Measured(NamedTuple):
    """When and of what it is read: business time, the database's time, and the rows of the accounts that are configured."""

    ctx: AppContext
    connection: Connection
    now: datetime
    database: datetime
    rows: list[Any]

    def in_service(self, kind: str) -> list[Any]:
        """Return the accounts of a kind of which something may be asked: what waits for the others is told by their state."""
        return [row for row in self.rows if row.kind == kind and state_of(row, self.now) in ("failing", "working")]


def measure(ctx: AppContext, *, alive: timedelta) -> list[Sample]:
    """Read the gauges of the installation; a process is alive when it was seen within `alive`. Raises SQLAlchemyError."""
    with ctx.store.read() as connection, queries.by_index(connection):
        config = ctx.config
        rows: list[Any] = [
            row
            for row in connection.execute(sa.select(*_READ).order_by(_A.name))
            if row.name in config.accounts or row.name in config.suspended
        ]
        seen = Measured(ctx, connection, ctx.now(), database_now(connection), rows)
        found = [Sample("tracker_rows", {"what": what}, count) for what, count in queries.counts(connection).items()]
        for part in (_queues, _looks, _states, _accounts, _budgets, _tokens, _findings, _heartbeats):
            found += part(seen)
        found += _alive(connection, seen.database - alive)
    return found


def state_of(row: Row[Any], now: datetime) -> str:
    """Say how an account is, by its row: one of STATES."""
    if row.suspended_reason is not None:
        return "suspended"
    if row.paused_at is not None:
        return "paused"
    if row.rests_until is not None and row.rests_until > now:
        return "resting"
    return "failing" if row.failing_since is not None else "working"


# What waits, and since when


def oldest_rows(seen: Measured) -> dict[str, datetime | None]:
    """Return since when the oldest row of each queue is due; None: nothing is. Of accounts out of service nothing is looked at."""
    return {queue: look(seen) for queue, look in QUEUES.items()}


def _first(seen: Measured, column: sa.Column[Any], until: datetime, *where: sa.ColumnElement[bool]) -> datetime | None:
    due = sa.select(column).where(column <= until, *where).order_by(column).limit(1)
    found: datetime | None = seen.connection.execute(due).scalar_one_or_none()
    return found


def _firsts(seen: Measured, kind: str, *parts: sa.Select[Any]) -> dict[str, datetime]:
    """Return the oldest moment that parts, each one row of an account (`accounts.name`), find of each account in service."""
    names = [row.name for row in seen.in_service(kind)]
    here = queries.among(seen.connection, _A.name, names)
    columns = [part.limit(1).correlate(accounts).scalar_subquery() for part in parts]
    told = seen.connection.execute(sa.select(_A.name, *columns).where(_A.kind == kind, here))
    found = {name: [at for at in moments if at is not None] for name, *moments in told}
    return {name: min(moments) for name, moments in found.items() if moments}


def _least(moments: Iterable[datetime | None]) -> datetime | None:
    return min((at for at in moments if at is not None), default=None)


def late_looks(seen: Measured) -> dict[str, datetime]:
    """Return since when the first parcel of each carrier account that is due was to be looked at."""
    t = watches.c
    parts = [
        sa.select(t.next_poll_at)
        .where(t.account == _A.name, t.urgent == urgent, t.next_poll_at <= seen.now)
        .order_by(t.next_poll_at)
        for urgent in (sa.true(), sa.false())
    ]
    failed = sa.select(t.overdue_since).where(
        t.account == _A.name, t.overdue_since.isnot(None), t.next_poll_at.isnot(None)
    )
    return _firsts(seen, "carrier", *parts, failed.order_by(t.overdue_since))


def _registrations(seen: Measured) -> datetime | None:
    t = watches.c
    due = sa.select(t.register_at).where(t.account == _A.name, t.register_at <= seen.now).order_by(t.register_at)
    return _least(_firsts(seen, "carrier", due).values())


def _reads(seen: Measured) -> datetime | None:
    r = change_notices.c
    waits = sa.or_(r.not_before.is_(None), r.not_before <= seen.now)
    due = sa.select(r.due_at).where(r.account == _A.name, r.due_at <= seen.database, waits).order_by(r.due_at)
    return _business(seen, _least(_firsts(seen, "store", due).values()))


def _writes(seen: Measured) -> datetime | None:
    o = outbox.c
    due = sa.select(o.due_at).where(o.store == _A.name, o.state == "pending", o.due_at <= seen.database)
    return _business(seen, _least(_firsts(seen, "store", due.order_by(o.due_at)).values()))


def _sweeps(seen: Measured) -> datetime | None:
    rows = [*seen.in_service("store"), *seen.in_service("carrier")]
    return _least(row.next_sweep_at for row in rows if row.next_sweep_at is not None and row.next_sweep_at <= seen.now)


def _files(seen: Measured) -> datetime | None:
    there = {account.name for account in seen.ctx.config.file_accounts}
    due = (row.files_at for row in seen.in_service("carrier") if row.name in there)
    return _least(at for at in due if at is not None and at <= seen.now)


def _business(seen: Measured, at: datetime | None) -> datetime | None:
    """Return a moment of the database's clock as one of business time, by how long ago it is."""
    return seen.now - (seen.database - at) if at is not None else None


QUEUES: dict[str, Callable[[Measured], datetime | None]] = {
    "ingest": lambda seen: _business(seen, _first(seen, inbox.c.due_at, seen.database, inbox.c.state == "pending")),
    "decide": lambda seen: _first(seen, orders.c.reconcile_at, seen.now),
    "poll": lambda seen: _least(late_looks(seen).values()),
    "register": _registrations,
    "read": _reads,
    "sweep": _sweeps,
    "push": _writes,
    "files": _files,
    "mail": lambda seen: _business(seen, mails.oldest(seen.connection, seen.database, seen.now)),
}


def _queues(seen: Measured) -> Iterator[Sample]:
    for queue, since in oldest_rows(seen).items():
        yield Sample("tracker_queue_age_seconds", {"queue": queue}, _age(seen, since))


def _age(seen: Measured, since: datetime | None) -> float:
    return max(0.0, (seen.now - since).total_seconds()) if since is not None else 0.0


def _looks(seen: Measured) -> list[Sample]:
    """Say how late looks at parcels are: the first of each account, and how many are later than is usual."""
    t, carriers = watches.c, seen.in_service("carrier")
    late = seen.now - OVERDUE_AFTER
    parts = [
        sa.select(t.id).where(t.account == _A.name, t.urgent == urgent, t.next_poll_at < late)
        for urgent in (sa.true(), sa.false())
    ]
    counted = [
        sa.select(sa.func.count())
        .select_from(part.limit(MOST_COUNTED).correlate(accounts).subquery())
        .scalar_subquery()
        for part in parts
    ]
    here = queries.among(seen.connection, _A.name, [row.name for row in carriers])
    overdue = {name: sum(told) for name, *told in seen.connection.execute(sa.select(_A.name, *counted).where(here))}
    first = late_looks(seen)
    ages = [(row.name, _age(seen, first.get(row.name))) for row in carriers]
    return [
        *_named("tracker_look_lag_seconds", ages, worst=lambda age: -age),
        *_named("tracker_overdue_parcels", overdue.items(), worst=lambda count: -count),
    ]


# Accounts


def _states(seen: Measured) -> Iterator[Sample]:
    """Count accounts by how they are, and name those that do not work, those first that have not for longest."""
    f = findings.c
    kinds = f.kind.in_((FindingKind.ACCOUNT_PARKED, FindingKind.ENTRY_WRONG))
    told = seen.connection.execute(sa.select(f.subject, f.opened_at).where(kinds, f.closed_at.is_(None)))
    parked = {subject.partition("/")[2]: at for subject, at in told}
    counted: Counter[tuple[str, str]] = Counter()
    away: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for row in seen.rows:
        state = state_of(row, seen.now)
        counted[row.kind, state] += 1
        if state != "working":
            since = {"suspended": parked.get(row.name), "paused": row.paused_at}.get(state, row.failing_since)
            away.setdefault((row.kind, state), []).append((row.name, _age(seen, since)))
    for kind in ("carrier", "store"):
        for state in STATES:
            yield Sample("tracker_accounts", {"kind": kind, "state": state}, counted[kind, state])
    for (kind, state), some in sorted(away.items()):
        worst = _named("tracker_account_away_seconds", some, worst=lambda age: -age)
        yield from (one._replace(labels={**one.labels, "kind": kind, "state": state}) for one in worst)


def _accounts(seen: Measured) -> Iterator[Sample]:
    for kind in ("carrier", "store"):
        mine = [row for row in seen.rows if row.kind == kind]
        heard = [(row.name, row.last_webhook_at.timestamp()) for row in mine if row.last_webhook_at is not None]
        yield from _named("tracker_last_webhook_timestamp_seconds", heard, worst=lambda at: at)
        swept = [(row.name, row.swept_at.timestamp()) for row in mine if row.swept_at is not None]
        yield from _named("tracker_last_sweep_timestamp_seconds", swept, worst=lambda at: at)
        left = [(row.name, float(row.quota_left)) for row in mine if row.quota_left is not None]
        yield from _named("tracker_quota_left", left, worst=lambda some: some)
    for row in seen.rows:
        for carrier in sorted(row.brakes or ()):
            yield Sample("tracker_brake_on", {"account": row.name, "carrier": carrier}, 1)


def _budgets(seen: Measured) -> Iterator[Sample]:
    """Say what is left of the budgets of which something was ever spent."""
    left: list[tuple[str, tuple[int, int]]] = []
    for row in seen.rows:
        account = seen.ctx.account(row.name) if row.spent is not None else None
        given = budgets.calls(account, row.spent, seen.now) if account is not None else None
        if account is not None and account.budget is not None and given is not None:
            left.append((row.name, (given.left, account.budget.calls)))
    for name, (calls, most) in sorted(left, key=lambda one: (one[1][0] / one[1][1], one[0]))[:MOST_NAMED]:
        yield Sample("tracker_budget_left", {"account": name}, calls)
        yield Sample("tracker_budget_limit", {"account": name}, most)


def _tokens(seen: Measured) -> Iterator[Sample]:
    t, known = tokens.c, {row.name for row in seen.rows}
    held = sa.select(t.account, t.ends_at).where(t.ends_at.isnot(None), t.value.isnot(None))
    ends = [(row.account, row.ends_at.timestamp()) for row in seen.connection.execute(held) if row.account in known]
    yield from _named("tracker_token_expiry_timestamp_seconds", ends, worst=lambda at: at)


def _named(name: str, some: Iterable[tuple[str, float]], *, worst: Callable[[float], float]) -> Iterator[Sample]:
    for account, value in sorted(some, key=lambda one: (worst(one[1]), one[0]))[:MOST_NAMED]:
        yield Sample(name, {"account": account}, value)


# The installation


def _findings(seen: Measured) -> Iterator[Sample]:
    """Count open findings by kind and severity, without those that are snoozed and those that a first sync found."""
    f = findings.c
    awake = sa.or_(f.snoozed_until.is_(None), f.snoozed_until <= seen.now)
    for severity in Severity:
        open_now = sa.select(f.kind).where(f.closed_at.is_(None), f.severity == severity, f.digest.is_(False), awake)
        some = open_now.limit(MOST_COUNTED).subquery()
        counted = sa.select(some.c.kind, sa.func.count()).group_by(some.c.kind).order_by(some.c.kind)
        for kind, count in seen.connection.execute(counted):
            yield Sample("tracker_findings_open", {"kind": kind, "severity": severity.value}, count)


def _heartbeats(seen: Measured) -> Iterator[Sample]:
    for row in seen.connection.execute(sa.select(heartbeats).order_by(heartbeats.c.name)):
        yield Sample("tracker_heartbeat_timestamp_seconds", {"work": row.name}, row.at.timestamp())


def _alive(connection: Connection, since: datetime) -> Iterator[Sample]:
    counted: Counter[str] = Counter()
    for roles in connection.execute(sa.select(processes.c.role).where(processes.c.seen_at >= since)).scalars():
        counted.update(roles.split(","))
    for role in ROLES:
        yield Sample("tracker_processes", {"role": role}, counted[role])


def disk(store: Store) -> Iterator[Sample]:
    """Say how large the database's file is, and what its disk has left; nothing of a database that is a server."""
    path = Path(store.url.database or "")
    if not store.sqlite or not path.exists():
        return
    room = os.statvfs(path.parent)
    beside = path.with_name(f"{path.name}-wal")
    size = sum(file.stat().st_size for file in (path, beside) if file.exists())
    yield Sample("tracker_database_bytes", {}, size)
    yield Sample("tracker_disk_free_bytes", {}, room.f_bavail * room.f_frsize)
    yield Sample("tracker_disk_size_bytes", {}, room.f_blocks * room.f_frsize)
