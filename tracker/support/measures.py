"""What a scrape of /metrics reads of the database: each by an index, counted up to a bound, so that it costs the same at any size.

A name of an account or store is a label only while there are few of its kind. Where there are more than `MOST_NAMED`, the `MOST_NAMED`
worst of each metric are named, and `tracker_accounts` counts all of them; no order, parcel or person is ever named.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.domain.vocabulary import FindingKind, Severity
from tracker.pipeline import budgets
from tracker.pipeline.context import AppContext
from tracker.pipeline.state import OVERDUE_AFTER, account_rows
from tracker.store import queries
from tracker.store.engine import Store, database_now
from tracker.store.tables import accounts, findings, heartbeats, tokens, watches
from tracker.support.gaps import COUNTED_TO
from tracker.support.queues import BY_ACCOUNT, Waiting
from tracker.support.roles import ROLES, list_processes
from tracker.support.standing import Standing

MOST_NAMED = 100  # accounts of a kind that a metric names
STATES = ("fine", "first_sync", "away", "paused", "suspended")  # as `Standing.state` tells them
_A, _T = accounts.c, watches.c


class Sample(NamedTuple):
    """One line of a scrape."""

    name: str
    labels: Mapping[str, str]
    value: float


class Measured(NamedTuple):
    """When and of what it is read: business time, and the rows of the accounts that are configured with how each is."""

    ctx: AppContext
    connection: Connection
    now: datetime
    rows: list[Any]
    states: Mapping[str, tuple[str, datetime | None]]
    waiting: Waiting

    def works(self, name: str) -> bool:
        """Say whether something is asked of an account: what waits for another is told by its state."""
        return name in self.states and self.states[name][0] in ("fine", "first_sync")

    def age(self, since: datetime | None) -> float:
        """Return how long ago a moment of business time is; 0 where there is none."""
        return max(0.0, (self.now - since).total_seconds()) if since is not None else 0.0


def measure(ctx: AppContext) -> list[Sample]:
    """Read the gauges of the installation. Raises SQLAlchemyError."""
    with ctx.store.read() as connection, queries.by_index(connection):
        database, known, waiting = database_now(connection), account_rows(connection), Waiting(ctx, connection)
        standing = Standing(ctx, connection, known, waiting, database)
        rows = [row for row in known.values() if standing.known(row.name)]
        told = {row.name: standing.state(row) for row in rows}
        states = {name: (state, since) for name, (state, _, since) in told.items()}
        seen = Measured(ctx, connection, ctx.now(), rows, states, waiting)
        found = [Sample("tracker_rows", {"what": what}, count) for what, count in queries.counts(connection).items()]
        for part in (_queues, _looks, _states, _accounts, _budgets, _tokens, _findings, _heartbeats):
            found += part(seen)
        found += _alive(connection, database)
    return found


def _queues(seen: Measured) -> Iterator[Sample]:
    """Say for how long the oldest row of each queue is due, of accounts that work."""
    for queue in seen.waiting.names:
        if " " in queue:  # what stands until a person acts, such as `push dead`: `tracker_rows` counts it
            continue
        yield Sample("tracker_queue_age_seconds", {"queue": queue}, seen.waiting.age(queue, _since(seen, queue)) or 0.0)


def _since(seen: Measured, queue: str) -> datetime | None:
    if queue == "sweeps":
        due = [row.next_sweep_at for row in seen.rows if seen.works(row.name)]
        return min((at for at in due if at is not None and at <= seen.now), default=None)
    if queue in BY_ACCOUNT:
        waits = [one.since for (of, name), one in seen.waiting.by_account.items() if of == queue and seen.works(name)]
        return min((at for at in waits if at is not None), default=None)
    return seen.waiting.of[queue].since


def _looks(seen: Measured) -> list[Sample]:
    """Say how late looks at parcels are: the first of each account, and how many are later than is usual."""
    late = seen.now - OVERDUE_AFTER
    due = [
        sa.select(_T.id).where(_T.account == _A.name, _T.urgent == urgent, _T.next_poll_at < late)
        for urgent in (sa.true(), sa.false())
    ]
    counted = [
        sa.select(sa.func.count()).select_from(some.limit(COUNTED_TO).correlate(accounts).subquery()).scalar_subquery()
        for some in due
    ]
    failed = sa.select(_T.overdue_since).where(
        _T.account == _A.name, _T.overdue_since.isnot(None), _T.next_poll_at.isnot(None)
    )
    first = failed.order_by(_T.overdue_since).limit(1).correlate(accounts).scalar_subquery()
    lags, overdue = [], []
    for name, failing, *many in seen.connection.execute(
        sa.select(_A.name, first, *counted).where(_A.kind == "carrier")
    ):
        if seen.works(name):
            waits = seen.waiting.by_account.get(("poll", name))
            since = min((at for at in (failing, waits.since if waits else None) if at is not None), default=None)
            lags.append((name, seen.age(since)))
            overdue.append((name, float(sum(many))))
    return [
        *_named("tracker_look_lag_seconds", lags, worst=lambda age: -age),
        *_named("tracker_overdue_parcels", overdue, worst=lambda count: -count),
    ]


def _states(seen: Measured) -> Iterator[Sample]:
    """Count accounts by how they are, and name those that do not work, those first that have not for longest."""
    f = findings.c
    kinds = f.kind.in_((FindingKind.ACCOUNT_PARKED, FindingKind.ENTRY_WRONG))
    told = seen.connection.execute(sa.select(f.subject, f.opened_at).where(kinds, f.closed_at.is_(None)))
    parked = {subject.partition("/")[2]: at for subject, at in told}
    counted: Counter[tuple[str, str]] = Counter()
    away: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for row in seen.rows:
        state, since = seen.states[row.name]
        counted[row.kind, state] += 1
        if not seen.works(row.name):
            since = parked.get(row.name) if state == "suspended" else since
            away.setdefault((row.kind, state), []).append((row.name, seen.age(since)))
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


def _findings(seen: Measured) -> Iterator[Sample]:
    """Count open findings by kind and severity, without those that are snoozed and those that a first sync found."""
    f = findings.c
    awake = sa.or_(f.snoozed_until.is_(None), f.snoozed_until <= seen.now)
    for severity in Severity:
        open_now = sa.select(f.kind).where(f.closed_at.is_(None), f.severity == severity, f.digest.is_(False), awake)
        some = open_now.limit(COUNTED_TO).subquery()
        counted = sa.select(some.c.kind, sa.func.count()).group_by(some.c.kind).order_by(some.c.kind)
        for kind, count in seen.connection.execute(counted):
            yield Sample("tracker_findings_open", {"kind": kind, "severity": severity.value}, count)


def _heartbeats(seen: Measured) -> Iterator[Sample]:
    for row in seen.connection.execute(sa.select(heartbeats).order_by(heartbeats.c.name)):
        yield Sample("tracker_heartbeat_timestamp_seconds", {"work": row.name}, row.at.timestamp())


def _alive(connection: Connection, now: datetime) -> Iterator[Sample]:
    alive = [row["role"].split(",") for row in list_processes(connection, now) if row["alive"]]
    for role in ROLES:
        yield Sample("tracker_processes", {"role": role}, sum(role in roles for roles in alive))


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
