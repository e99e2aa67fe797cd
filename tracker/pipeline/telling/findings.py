"""Findings: what is new of them is given to those who are told, and becomes messages when its time has come.

Whoever opens or closes a finding marks its row (`alert_due_at`), in its own transaction. Here the mark becomes an event for
each endpoint, and for each target a row that says when it is told: at once, which waits a little so that a storm is one
message, or with its digest. A target that is away is told of everything in one message when it is back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.telling import ALERT_URL, DigestPart, TargetPart
from tracker.domain.vocabulary import Severity
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.telling import events, forms
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import destinations, findings, messages, tellings

AT_ONCE = 500
MOST = 5_000  # of which one message tells; the next tells of the others
GATHERS = timedelta(seconds=20)  # what is told at once waits so long for what comes with it
PAUSE, LONG_PAUSE = timedelta(minutes=1), timedelta(minutes=15)  # after a message, and after one of many
SOONER = LONG_PAUSE - PAUSE  # so much of a pause is not for urgent ones
DAMPED = timedelta(minutes=15)  # the same again within so long waits: it may close by itself as it did before
_F, _T, _D = findings.c, tellings.c, destinations.c


def give(ctx: AppContext) -> int:
    """Give what is new to those who are told, and make the messages that are due. Returns how many findings and messages that were."""
    worked = _spread(ctx)
    if worked == AT_ONCE:  # of a storm more is to come: it is told as a whole
        return worked
    for name, target in ctx.config.targets.items():
        worked += compose(ctx, name, target)
    return worked


def is_due(ctx: AppContext, connection: Connection, now: datetime) -> bool:
    """Say whether there is something to give, or a message to make."""
    marked = sa.select(_F.id).where(_F.alert_due_at <= now).limit(1)
    if connection.execute(marked).first() is not None:
        return True
    return any(connection.execute(_due(name, now).limit(1)).first() for name in ctx.config.targets)


# what is new of them


def _spread(ctx: AppContext) -> int:
    with ctx.store.write() as connection:
        now = database_now(connection)
        due = sa.select(findings).where(_F.alert_due_at <= now).order_by(_F.alert_due_at, _F.id).limit(AT_ONCE)
        rows = queries.oldest(connection, queries.skip_locked(connection, due)).all()
        if not rows:
            return 0
        orders = events.open_orders(connection, rows)
        told = []
        for row in rows:
            about = orders.get(row.order_id) if row.order_id is not None else None
            if row.told_at is None:
                told.append(events.found(row, about, closed=False))
            if row.closed_at is not None:
                told.append(events.found(row, about, closed=True))
        events.put(ctx, connection, told)
        for name, target in ctx.config.targets.items():
            _note(connection, name, target, [row for row in rows if row.subject != f"told/{name}"], now)
        here = queries.among(connection, _F.id, [row.id for row in rows])
        connection.execute(
            findings.update().where(here).values(alert_due_at=None, told_at=sa.func.coalesce(_F.told_at, now))
        )
        crash_at("tell_before_commit")
    return len(rows)


def fits(target: TargetPart, row: Row[Any]) -> bool:
    """Say whether a target is told of a finding."""
    return (
        Severity(row.severity).rank >= target.least.rank
        and (not target.kinds or row.kind in target.kinds)
        and (not target.stores or row.store in target.stores)
        and (not target.carriers or not events.carriers_of(row).isdisjoint(target.carriers))
    )


def _note(connection: Connection, name: str, target: TargetPart, rows: Sequence[Row[Any]], now: datetime) -> None:
    """Note when a target is told what is new: of an opening in a row of its own, of a closing in the row of the opening.

    What got worse since others were told of it is news to whom it fits now. Who was told of one is told of its closing, whatever fits then.
    """
    new: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for row in rows:
        if row.closed_at is None and fits(target, row):
            told = {"destination": name, "finding_id": row.id, "due_at": _when(name, target, row, now), "told_at": None}
            new[row.told_at is None].append(told)
    queries.put(connection, tellings, new[True])
    if name != ALERT_URL:  # which is posted each finding once
        queries.put(connection, tellings, new[False], _again)
    else:
        queries.put(connection, tellings, new[False])
    over = [row for row in rows if row.told_at is not None and row.closed_at is not None]
    for due in sorted({_when(name, target, row, now) for row in over}) if target.closed else ():
        ids = [row.id for row in over if _when(name, target, row, now) == due]
        here = (_T.destination == name, queries.among(connection, _T.finding_id, ids), _T.told_at.isnot(None))
        connection.execute(tellings.update().where(*here).values(due_at=due))


def _again(insert: Any) -> Any:
    anew = {name: insert.excluded[name] for name in ("due_at", "told_at")}
    return insert.on_conflict_do_update(index_elements=["destination", "finding_id"], set_=anew)


def _when(name: str, target: TargetPart, row: Row[Any], now: datetime) -> datetime:
    if name == ALERT_URL:  # a program that is posted each by itself
        return now
    if target.digest is None or row.severity == Severity.URGENT:
        return now + GATHERS
    return next_digest(target.digest, now)


def next_digest(digest: DigestPart, now: datetime) -> datetime:
    """Return when a digest is told next, after `now` (UTC): at its time in its zone, or at the next full span since 1970."""
    if digest.every is not None:
        seconds = int(digest.every.total_seconds())
        past = int(now.timestamp()) % seconds
        return now.replace(microsecond=0) + timedelta(seconds=seconds - past)
    assert digest.at is not None
    zone = ZoneInfo(digest.zone)
    here = now.astimezone(zone)
    hour, minute = map(int, digest.at.split(":"))
    at = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if at <= here:
        at = (at.replace(tzinfo=None) + timedelta(days=1)).replace(
            tzinfo=zone
        )  # by the wall's clock, also where it is changed
    return at.astimezone(now.tzinfo)


# the messages


def _due(name: str, now: datetime, until: datetime | None = None) -> sa.Select[Any]:
    """Select what a target is to be told, where it is told anything now: nothing waits for it, and its pause is over.

    `until`: with what is due as late as that.
    """
    waits = sa.select(messages.c.id).where(messages.c.destination == name, messages.c.state == "pending").limit(1)
    t = tellings.alias()
    urgent = sa.select(t.c.finding_id).join(findings, _F.id == t.c.finding_id).where(
        t.c.destination == name, t.c.due_at <= now, t.c.told_at.is_(None), _F.severity == Severity.URGENT
    )  # fmt: skip
    pauses = sa.or_(_D.tells_at > now + SOONER, sa.and_(_D.tells_at > now, ~urgent.exists()))
    rests = sa.select(_D.name).where(_D.name == name, sa.or_(pauses, _D.disabled_at.isnot(None)))
    return (
        sa.select(_T.finding_id, _T.told_at, _T.told_as)
        .where(_T.destination == name, _T.due_at <= (until or now), ~waits.exists(), ~rests.exists())
        .order_by(_T.due_at, _T.finding_id)
    )


def compose(ctx: AppContext, name: str, target: TargetPart) -> int:
    """Make the messages for a target of what is due: in one transaction with the note that it was told. Returns how many."""
    with ctx.store.read() as connection:
        if connection.execute(_due(name, database_now(connection)).limit(1)).first() is None:
            return 0
    with ctx.store.write() as connection:
        locked = sa.select(destinations).where(_D.name == name)
        if connection.execute(queries.locked(connection, locked)).first() is None:
            return 0
        now = database_now(connection)
        with_it = now + GATHERS  # of a storm each has a moment of its own: it is one message all the same
        due = {row.finding_id: row for row in connection.execute(_due(name, now, with_it).limit(MOST))}
        rows = connection.execute(
            sa.select(findings).where(queries.among(connection, _F.id, list(due))).order_by(_F.id)
        ).all()
        orders = events.open_orders(connection, rows)
        news = [row for row in rows if row.closed_at is None and due[row.id].told_at is None]
        asleep = {row.id: _when(name, target, row, now + rest) for row in news if (rest := _rests(ctx, row))}
        news, later = _damped(connection, name, [row for row in news if row.id not in asleep], now)
        later |= asleep
        over = [row for row in rows if row.closed_at is not None and due[row.id].told_at is not None]
        known = {row.id: due[row.id].told_as for row in over}
        made = forms.compose(
            name, target, forms.News(news, over, orders, known, _stand(connection, name, {*known.values()}, over), target.details),
            ctx.now(),
        )  # fmt: skip
        queries.put(
            connection, messages,
            [
                {
                    "destination": name, "key": one.key, "event": one.event, "subject": one.key, "order_id": None,
                    "body": events.encoded(one.body), "state": "pending", "attempts": 0, "due_at": now, "created_at": now,
                }
                for one in made
            ],
        )  # fmt: skip
        _told(connection, name, made, due, later, now)
        pause = LONG_PAUSE if len(news) + len(over) > forms.MANY else PAUSE
        if sum(row.severity == Severity.URGENT for row in news) > forms.MANY:
            pause += SOONER  # a storm of urgent ones is one too
        if made and name != ALERT_URL:
            connection.execute(destinations.update().where(_D.name == name).values(tells_at=now + pause))
        crash_at("tell_before_commit")
    return len(made)


def _rests(ctx: AppContext, row: Row[Any]) -> timedelta | None:
    """Return how long a finding is snoozed yet; None: it is not."""
    left: timedelta | None = row.snoozed_until - ctx.now() if row.snoozed_until is not None else None
    return left if left is not None and left > timedelta(0) else None


def _damped(
    connection: Connection, name: str, rows: Sequence[Row[Any]], now: datetime
) -> tuple[list[Row[Any]], dict[int, datetime]]:
    """Return what is told now, and when the others are: the same was told shortly before, and may end by itself again."""
    before = findings.alias()
    subjects = sorted({row.subject for row in rows})
    recent = (
        sa.select(before.c.subject, before.c.kind, sa.func.max(_T.told_at).label("told_at"))
        .join(before, before.c.id == _T.finding_id)
        .where(_T.destination == name, _T.told_at > now - DAMPED, queries.among(connection, before.c.subject, subjects))
        .group_by(before.c.subject, before.c.kind)
    )
    last = {(row.subject, row.kind): row.told_at for row in connection.execute(recent)} if rows else {}
    later = {row.id: last[row.subject, row.kind] + DAMPED for row in rows if (row.subject, row.kind) in last}
    return [row for row in rows if row.id not in later], later


def _stand(connection: Connection, name: str, incidents: set[str | None], over: Iterable[Row[Any]]) -> frozenset[str]:
    """Return the incidents of which other findings still stand: only with the last of them one is over."""
    ended = [row.id for row in over]
    if not ended:
        return frozenset()
    named = queries.among(connection, _T.told_as, sorted(one for one in incidents if one))
    still = (
        sa.select(_T.told_as)
        .distinct()
        .join(findings, _F.id == _T.finding_id)
        .where(_T.destination == name, named, _F.closed_at.is_(None))
    )
    return frozenset(connection.execute(still).scalars())


def _told(
    connection: Connection, name: str, made: Sequence[forms.Made], due: Iterable[int], later: dict[int, datetime], now: datetime
) -> None:  # fmt: skip
    """Note what was told, and under which incident; what was not, as it closed before, is told never, and its row goes."""
    for one in made:
        if one.opened:
            here = (_T.destination == name, queries.among(connection, _T.finding_id, one.opened))
            connection.execute(tellings.update().where(*here).values(told_at=now, told_as=one.incident))
    over = (_T.destination == name, queries.among(connection, _T.finding_id, [i for i in due if i not in later]))
    connection.execute(tellings.delete().where(*over, _T.told_at.is_(None)))
    connection.execute(tellings.update().where(*over).values(due_at=None))
    for finding_id, at in later.items():
        mine = (_T.destination == name, _T.finding_id == finding_id)
        connection.execute(tellings.update().where(*mine).values(due_at=at))
