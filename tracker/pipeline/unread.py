"""What could not be read: kept with its payload, counted by path and day, told to people, and asked again.

An order or parcel that a payload did not tell is a finding at once, closed by the next payload of its account that tells
it. A path that is new and frequent is an answer that changed its shape. Payloads that are dead are one finding an account
and reason.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.facts import Finding, Order, Report, Unread
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.plugin.files import NAME
from tracker.store import queries
from tracker.store.codec import plain
from tracker.store.tables import (
    account_days,
    findings,
    fulfilment_shipments,
    fulfilments,
    inbox,
    orders,
    shipments,
    unread_paths,
    watches,
)

if TYPE_CHECKING:
    from tracker.pipeline.ingest.parse import Parsed

K = FindingKind
MOST_PIECES = 50  # kept of one payload; how many more there were is said
MORE = "..."  # in place of a path: what follows is how many pieces are not kept
NEW_AFTER = timedelta(days=7)  # a path that was not seen for so long is new
FREQUENT, SHARE = 20, 0.01  # payloads of a day, and of all payloads of that day
KEPT_FOR = timedelta(days=30)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(days=7)
DAY = timedelta(days=1)
OF_ORDERS = (K.ORDER_UNREADABLE, K.ORDER_INCOMPLETE)
OF_PARCELS = (K.PARCEL_UNREADABLE,)
DOUBTFUL = K.SOURCES_DISAGREE  # several shipments under one number (facts): over once an answer is believed
_INDEX = re.compile(r"\[\d+\]")


def path_of(where: str) -> str:
    """Return a place without its indexes: `$.orders[1].items[0].ref` is `$.orders[].items[].ref`."""
    return _INDEX.sub("[]", where)


def piece(one: Unread) -> Unread:
    """Return a piece as it can be stored."""
    return Unread(plain(one.where), plain(one.problem), plain(one.subject), one.lacks)


def kept(unread: Iterable[Unread]) -> list[Unread]:
    """Choose the pieces that are kept with their payload: MOST_PIECES, and of each path one before others of it."""
    by_path: dict[str, list[Unread]] = defaultdict(list)
    for one in unread:
        by_path[path_of(one.where)].append(one)
    ranked = [some[0] for some in by_path.values()]
    for some in by_path.values():
        ranked += some[1:]
    return ranked[:MOST_PIECES]


def store_unread(connection: Connection, parsed: Sequence[Parsed]) -> None:
    """Keep with each payload what was not read of it; what is read by now is forgotten."""
    rows = []
    for p in parsed:
        if p.unread:
            pieces = [[one.where, one.problem, one.subject] for one in kept(p.unread)]
            if more := len(p.unread) - len(pieces):
                pieces.append([MORE, f"and {more} more", ""])
            rows.append({"b_id": p.row.id, "unread": pieces})
    queries.change(connection, inbox, rows)
    if mended := [p.row.id for p in parsed if p.row.unread and not p.unread]:
        here = queries.among(connection, inbox.c.id, mended)
        connection.execute(inbox.update().where(here).values(unread=sa.null()))


# orders and parcels


class _Lost(NamedTuple):
    """An order or parcel that a payload did not tell, or not whole."""

    p: Parsed
    piece: Unread
    alone: bool  # nothing else was in the payload


Key = tuple[FindingKind, str]


def told(ctx: AppContext, connection: Connection, parsed: Sequence[Parsed], now: datetime, database: datetime) -> None:
    """Open a finding for each order and parcel that its payload did not tell; close those of what is told by now."""
    if not any(p.unread for p in parsed) and connection.execute(_any_open()).first() is None:
        return
    last: dict[Key, _Lost | None] = {}  # what the last payload says that says anything
    for p in parsed:
        last |= _outcome(p)
    there = sorted({subject for (_, subject), lost in last.items() if lost is None})
    f = findings.c
    stands = sa.select(f.id, f.kind, f.subject).where(queries.among(connection, f.subject, there), _OPEN)
    over = [row.id for row in connection.execute(stands) if last.get((FindingKind(row.kind), row.subject), ()) is None]
    if over:
        here = queries.among(connection, f.id, over)
        queries.close_findings(connection, here, now, "ingest", "a later answer could be read")
    lost = {key: found for key, found in last.items() if found is not None}
    if lost := {key: found for key, found in lost.items() if key not in _known_later(connection, lost)}:
        _open(ctx, connection, lost, now, database)


def _outcome(p: Parsed) -> dict[Key, _Lost | None]:
    """Return which orders or parcels a payload tells (None), and which it should have told."""
    if p.account is None:
        return {}
    store = p.account.is_store
    there = {item.ref for item in p.items if isinstance(item, Order)} if store else {
        clean(item.number) for item in p.items if isinstance(item, Report)
    }  # fmt: skip
    subjects = {one.subject if store else clean(one.subject) for one in p.unread} | there
    alone = p.row.kind != "sweep" and len(subjects) <= 1
    found: dict[Key, _Lost | None] = {
        (kind, _subject(p, ref)): None for ref in there for kind in (OF_ORDERS if store else OF_PARCELS)
    }
    found |= {(DOUBTFUL, _subject(p, ref)): None for ref in there - p.doubtful if not store}
    for one in p.unread:
        name = one.subject if store else clean(one.subject)
        untold = name not in there if name else store or one.lacks == "all" or not p.items
        if one.lacks == "nothing" or not (untold or one.lacks):
            continue  # a detail of what was told, or of no order and no parcel
        incomplete = one.lacks == "rest" and bool(name)
        kind = K.ORDER_INCOMPLETE if incomplete else K.ORDER_UNREADABLE if store else K.PARCEL_UNREADABLE
        key = (kind, _subject(p, name) if name else _of_path(p.row.account, path_of(one.where)))
        if untold or found.get(key) is None:  # of several the last one says why it was not told
            found[key] = _Lost(p, one, alone)
    return found


def _subject(p: Parsed, name: str) -> str:
    assert p.account is not None
    return f"{p.row.account}/ref/{name}" if p.account.is_store else f"parcel/{p.row.account}/{name}"


def _open(
    ctx: AppContext, connection: Connection, lost: Mapping[Key, _Lost], now: datetime, database: datetime
) -> None:
    """Open the findings; have each order that could not be read asked for again alone, with growing pauses."""
    f = findings.c
    by_people = sa.or_(f.closed_at.is_(None), f.closed_by.startswith("person"))
    here = queries.among(connection, f.subject, sorted({subject for _, subject in lost}))
    known = {
        (FindingKind(row.kind), row.subject): row
        for row in connection.execute(sa.select(findings).where(here, by_people).order_by(f.id))
    }
    wanted: list[tuple[int | None, Finding]] = []
    stores: dict[int, str] = {}
    for key in sorted(lost):
        (kind, subject), one = key, lost[key]
        before, owner = known.get(key), _owner(connection, kind, one)
        finding = _finding(kind, subject, one, owner.number if owner else "")
        if before is not None and _same(before.evidence, finding.evidence):
            finding = replace(finding, evidence=before.evidence)  # another page holds it elsewhere: that is no news
        wanted.append((owner.id if owner else None, finding))
        if owner:
            stores[owner.id] = owner.store
        if kind is K.ORDER_UNREADABLE and one.piece.subject:
            later = now + FIRST_PAUSE if one.alone else None
            if before is not None:
                later = now + min(max(2 * (now - before.opened_at), FIRST_PAUSE), LONGEST_PAUSE)
            queries.ask_alone(connection, one.p.row.account, one.piece.subject, database, later, one.piece.problem)
            ctx.notify("poll")
    tell.report_findings(ctx, connection, wanted, now, by="ingest", stores=stores)


def left(connection: Connection, store: str, ref: str, now: datetime) -> bool:
    """Close what was told of an order that could not be read: the shop holds it no more. Returns whether something was."""
    f = findings.c
    held = sa.and_(f.subject == f"{store}/ref/{ref}", f.kind.in_(OF_ORDERS))
    return bool(queries.close_findings(connection, held, now, "shop", "the shop holds it no more"))


def _known_later(connection: Connection, lost: Mapping[Key, _Lost]) -> set[Key]:
    """Return what an answer told that was asked for later: an old payload that is read again says nothing of it."""
    o, s, t = orders.c, shipments.c, watches.c
    found: set[Key] = set()
    for (kind, subject), (p, piece, _) in lost.items():
        if kind in OF_ORDERS:
            select = sa.select(o.id).where(o.store == p.row.account, o.ref == piece.subject, o.read_at > _asked(p))
        else:
            select = (
                sa.select(t.id)
                .join(shipments, s.id == t.shipment_id)
                .where(s.number == clean(piece.subject), t.account == p.row.account, t.as_of > p.row.received_at)
            )
        if piece.subject and connection.execute(select.limit(1)).first() is not None:
            found.add((kind, subject))
    return found


def _asked(p: Parsed) -> datetime:
    at: datetime = p.row.asked_at or p.row.due_at
    return at


def _owner(connection: Connection, kind: FindingKind, one: _Lost) -> Any:
    """Find the order that we know already: (id, store, number), or None."""
    o, s, subject = orders.c, shipments.c, one.piece.subject
    select = sa.select(o.id, o.store, o.number)
    if kind in OF_ORDERS:
        select = select.where(o.store == one.p.row.account, o.ref == subject)
    else:
        select = (
            select.join(fulfilments, fulfilments.c.order_id == o.id)
            .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
            .join(shipments, s.id == fulfilment_shipments.c.shipment_id)
            .where(s.number == clean(subject))
            .order_by(s.generation.desc(), o.id.desc())
        )
    return connection.execute(select.limit(1)).first() if subject else None


def _finding(kind: FindingKind, subject: str, one: _Lost, number: str) -> Finding:
    account, piece = one.p.row.account, one.piece
    evidence = {"account": account}
    if kind in OF_PARCELS and piece.subject:
        evidence["parcel"] = piece.subject
    if number or kind in OF_ORDERS:
        evidence["order"] = number or piece.subject or "its ref could not be read"
    evidence |= {"path": piece.where, "problem": piece.problem, "payload": str(one.p.row.id)}
    if (file := one.p.row.headers.get(NAME)) is not None and one.p.row.kind == "file":
        evidence["file"] = file
    if kind is K.ORDER_INCOMPLETE:
        proposal = "look at the order in the shop: it holds more than it lets us read"
    else:
        proposal = (
            f"mend it where it stands wrong, or update Trackwright; then: `tracker replay --partly --account {account}`"
        )
    return Finding(kind, subject, Severity.WARNING, Act.ACT, evidence, one.p.row.received_at, proposal)


def _same(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Say whether two pieces have the same problem, whatever page and place they stood in."""
    (one, other) = ((told.get("problem"), told.get("path", "").rpartition(".")[2]) for told in (before, now))
    return one == other


# counters


def count(ctx: AppContext, connection: Connection, parsed: Sequence[Parsed]) -> None:
    """Count payloads by account and day, and those in which a path could not be read. A replay counts none again."""
    days: dict[tuple[str, str], dict[str, int]] = {}
    paths: dict[tuple[str, str, str], list[Any]] = {}  # account, path, day: how many more, problem, sample
    for p in parsed:
        row = p.row
        if p.account is None or row.kind == "remap":  # which is a row of ours
            continue
        fresh = row.ended_at is None
        day = _day(row.received_at)
        if fresh:
            counted = days.setdefault((row.account, day), {"payloads": 0})
            counted["payloads"] += 1
        if not p.unread and not row.unread:
            continue
        if fresh:
            ctx.count("tracker_unread_total", len(p.unread), account=row.account)
        now = {path_of(one.where): one.problem for one in kept(p.unread)}
        before = {path_of(where) for where, _, _ in row.unread or () if where != MORE}
        for path in now.keys() | before:
            told = paths.setdefault((row.account, path, day), [0, "", row.id])
            told[0] += (path in now) - (path in before)
            told[1] = now.get(path) or told[1]
    queries.count_days(connection, days)
    fewer = {key: told for key, told in paths.items() if told[0] < 0}
    rows = [
        {"account": account, "path": path, "day": day, "count": told[0], "problem": told[1], "sample": told[2]}
        for (account, path, day), told in sorted(paths.items())
        if told[0] > 0
    ]
    queries.put(connection, unread_paths, rows, _one_more)
    u = unread_paths.c
    for (account, path, day), told in sorted(fewer.items()):  # a mended parser reads it
        this = (u.account == account, u.path == path, u.day == day)
        connection.execute(unread_paths.update().where(*this).values(count=u.count + told[0]))
        connection.execute(unread_paths.delete().where(*this, u.count <= 0))


def _one_more(insert: Any) -> Any:
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=["account", "path", "day"],
        set_={"count": unread_paths.c.count + new.count, "problem": new.problem, "sample": new.sample},
    )


# what nobody sees in one payload


def look(ctx: AppContext, connection: Connection, now: datetime) -> None:
    """Find answers that changed their shape and count dead payloads; close what stands no more."""
    _changed_shapes(ctx, connection, now)
    count_dead(ctx, connection, now)


def _changed_shapes(ctx: AppContext, connection: Connection, now: datetime) -> None:
    """Tell of paths that are new and frequent; a path that did not stand for a day is over."""
    u, d, f = unread_paths.c, account_days.c, findings.c
    today, yesterday = _day(now), _day(now - DAY)
    seen: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)  # the days of each path
    told_in = u.count.label("told_in")
    recent = sa.select(u.account, u.path, u.day, told_in, u.problem, u.sample).where(
        u.day >= _day(now - DAY - NEW_AFTER)
    )
    for row in connection.execute(recent):
        seen[row.account, row.path][row.day] = row
    stands = {key: days for key, days in seen.items() if today in days or yesterday in days}
    subjects = {_of_path(*key) for key in stands}
    held = sa.select(f.id, f.subject).where(f.kind.in_(_OF_PATHS), _OPEN, f.subject.startswith("account/"))
    if over := [row.id for row in connection.execute(held) if row.subject not in subjects]:
        here = queries.among(connection, f.id, over)
        queries.close_findings(connection, here, now, "watch", "it did not stand for a day")
    counted = sa.select(d.account, d.day, d.payloads).where(d.day.in_((today, yesterday)))
    payloads = {(row.account, row.day): row.payloads for row in connection.execute(counted)} if stands else {}
    told = []
    for (account, _), days in sorted(stands.items()):
        start = now - DAY if yesterday in days else now
        if any(_day(start - NEW_AFTER) <= day < _day(start) for day in days):
            continue  # an old acquaintance
        for day in (today, yesterday):
            whole = payloads.get((account, day), 0)
            if day in days and days[day].told_in >= FREQUENT and days[day].told_in > SHARE * whole:
                told.append(_changed(days[day], whole, start))
                break
    dismissed = {
        (row.subject, row.evidence["since"])
        for row in connection.execute(
            sa.select(f.subject, f.evidence).where(
                queries.among(connection, f.subject, [one.subject for one in told]), f.kind == K.ANSWER_CHANGED_SHAPE,
                f.closed_by.startswith("person"),
            )
        )
    } if told else set()  # fmt: skip
    fresh = [(None, one) for one in told if (one.subject, one.evidence["since"]) not in dismissed]
    tell.report_findings(ctx, connection, fresh, now, by="watch")


def _changed(row: Any, payloads: int, start: datetime) -> Finding:
    evidence = {
        "account": row.account, "path": row.path, "problem": row.problem,
        "share": f"{row.told_in / max(payloads, 1):.0%} of the payloads of {row.day}", "since": _day(start),
        "payload": str(row.sample),
    }  # fmt: skip
    proposal = f"update Trackwright, or mend the parser; then: `tracker replay --partly --account {row.account}`"
    subject = _of_path(row.account, row.path)
    since = datetime.fromisoformat(f"{_day(start)}T00:00:00+00:00")
    return Finding(K.ANSWER_CHANGED_SHAPE, subject, Severity.WARNING, Act.ACT, evidence, since, proposal)


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _of_path(account: str, path: str) -> str:
    return f"account/{account}/{path}"


def prune(connection: Connection, now: datetime) -> None:
    """Drop the counts of days that nobody asks about any more."""
    over = _day(now - KEPT_FOR)
    connection.execute(unread_paths.delete().where(unread_paths.c.day < over))
    connection.execute(account_days.delete().where(account_days.c.day < over))


# payloads that are dead


@dataclass(frozen=True)
class _Dead:
    """Dead payloads of one account that died of the same: how many, the newest, when they arrived, in what words."""

    account: str
    count: int
    sample: int
    first: str
    last: str
    reason: str

    def more(self, other: _Dead) -> _Dead:
        return _Dead(
            self.account, self.count + other.count, max(self.sample, other.sample), min(self.first, other.first),
            max(self.last, other.last), min(self.reason, other.reason),
        )  # fmt: skip


def died(ctx: AppContext, connection: Connection, rows: Iterable[tuple[Row[Any], str]], now: datetime) -> None:
    """Open the finding of payloads that just died, each with its reason, or count them to it."""
    groups: dict[str, _Dead] = {}
    for row, reason in rows:
        at = _minute(row.received_at)
        _gather(groups, _Dead(row.account, 1, row.id, at, at, plain(reason)))
    if not groups:
        return
    f = findings.c
    here = queries.among(connection, f.subject, sorted(groups))
    held = sa.select(f.evidence).where(here, _OPEN, f.kind == K.PAYLOAD_DEAD)
    for told in connection.execute(held).scalars():
        _gather(
            groups,
            _Dead(
                told["account"],
                int(told["payloads"]),
                int(told["payload"]),
                told["first"],
                told["last"],
                told["reason"],
            ),
        )
    _tell_dead(ctx, connection, groups, now)


def count_dead(ctx: AppContext, connection: Connection, now: datetime) -> None:
    """Count the dead payloads, as they are; a finding of which none is dead any more is closed."""
    t, f = inbox.c, findings.c
    least, most = sa.func.min(t.received_at), sa.func.max(t.received_at)
    dead = (
        sa.select(t.account, t.reason, sa.func.count(), sa.func.max(t.id), least, most)
        .where(t.state == "dead", t.unread.is_(sa.null()))  # the others have findings of their own
        .group_by(t.account, t.reason)
    )
    groups: dict[str, _Dead] = {}
    for account, reason, number, sample, first, last in connection.execute(dead):
        _gather(groups, _Dead(account, number, sample, _minute(first), _minute(last), plain(reason or "")))
    held = connection.execute(sa.select(f.id, f.subject).where(f.kind == K.PAYLOAD_DEAD, _OPEN))
    if over := [row.id for row in held if row.subject not in groups]:
        queries.close_findings(connection, queries.among(connection, f.id, over), now, "watch", "none is dead any more")
    _tell_dead(ctx, connection, groups, now)


def _gather(groups: dict[str, _Dead], one: _Dead) -> None:
    word, _, rest = one.reason.partition(": ")
    what = f"{word} {path_of(rest.partition(': ')[0])}" if word == "bad_payload" else one.reason
    subject = f"account/{one.account}/dead/{what}"
    groups[subject] = groups[subject].more(one) if subject in groups else one


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"


def _tell_dead(ctx: AppContext, connection: Connection, groups: Mapping[str, _Dead], now: datetime) -> None:
    wanted: list[tuple[int | None, Finding]] = []
    for subject, one in sorted(groups.items()):
        evidence = {
            "account": one.account, "payloads": str(one.count), "reason": one.reason, "payload": str(one.sample),
            "first": one.first, "last": one.last,
        }  # fmt: skip
        proposal = (
            f"look: `tracker inbox --state dead --account {one.account}`; "
            f"once it can be read: `tracker replay --state dead --account {one.account}`"
        )
        since = datetime.fromisoformat(one.first)
        wanted.append((None, Finding(K.PAYLOAD_DEAD, subject, Severity.WARNING, Act.ACT, evidence, since, proposal)))
    tell.report_findings(ctx, connection, wanted, now, by="inbox")


# Statements that every batch says are made once.

_OPEN = findings.c.closed_at.is_(None)
_OF_PATHS = (K.ANSWER_CHANGED_SHAPE, K.ORDER_UNREADABLE, K.PARCEL_UNREADABLE)


@cache
def _any_open() -> sa.Select[Any]:
    f = findings.c
    doubtful = sa.and_(f.kind == DOUBTFUL, f.subject.startswith("parcel/"))
    return sa.select(f.id).where(sa.or_(f.kind.in_(OF_ORDERS + OF_PARCELS), doubtful), _OPEN).limit(1)
