"""Who was away, since when, what was missed and what was caught up: we ourselves, carriers, shops, their feeds, webhooks and hooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.vocabulary import FindingKind
from tracker.pipeline import state
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import AWAY, findings, heartbeats, outbox, resends, scans
from tracker.support.knowledge import Look
from tracker.support.queues import Waiting, Waits
from tracker.support.standing import Standing

K = FindingKind
US = "us"
# which findings say that somebody, or a part of it, is away; what is away, and what it does and did then
KINDS: dict[FindingKind, tuple[str, str, str]] = {
    K.SOURCE_UNAVAILABLE: ("account", "does not answer", "did not answer"),
    K.ACCOUNT_PARKED: ("account", "refuses our credentials", "refused our credentials"),
    K.FEED_GAP: ("feed", "has a gap in its feed", "had a gap in its feed"),
    K.WEBHOOKS_SILENT: ("webhooks", "sends no webhooks", "sent no webhooks"),
    K.WEBHOOKS_MISSING: ("webhooks", "loses webhooks", "lost webhooks"),
    K.KEYS_MISSING: ("webhooks", "signs by a key that nobody has", "signed by a key that nobody had"),
    K.HOOK_WRONG: ("hook", "lacks a hook", "lacked a hook"),
}
NEXT_DAY = timedelta(days=1)  # so long after it what is told of that time counts as caught up
COUNTED_FOR = timedelta(days=7)  # what ended before is not counted again
_F, _S, _W = findings.c, scans.c, outbox.c
_AWAY = f"findings.{AWAY}"  # as its index says it


def outages(ctx: AppContext, *, limit: int = 50) -> list[dict[str, Any]]:
    """Return who is away first, then who was, newest first: we (`whose`: US), and accounts and stores by name.

    Each: `id` of its finding, `whose`, `part` (account, feed, webhooks, hook; us: all), `from`, `until` (None: it lasts), `state`,
    `why` (others' words), `waits` (parcels, writes and orders that wait now), `recovered` (scans of that time that were told within a
    day after it; None: not counted), `written` (writes that waited for its end), `asked`, `told_again`, and `said`, all in a sentence.
    """
    rows = _theirs(ctx, limit) + _now(ctx) + ours(ctx, limit=limit)
    rows.sort(key=lambda row: (row["until"] is None, row["from"]), reverse=True)
    return rows[:limit]


def ever_ran(ctx: AppContext) -> bool:
    """Say whether a scheduler of ours ever ran: else nobody looked who is away."""
    with ctx.store.read() as connection:
        return connection.execute(sa.select(heartbeats.c.at).limit(1)).first() is not None


def in_short(rows: Sequence[dict[str, Any]], now: datetime) -> str:
    """Say rows of `outages` in a sentence: who is away, and since when, or who was last."""
    away = [row for row in rows if row["until"] is None]
    if not away:
        return f"nobody is away now; the last: {rows[0]['said']}"
    named = ", ".join(f"{row['whose']} ({row['part']}, {_for(now - row['from'])})" for row in away[:5])
    more = f" and {len(away) - 5} more" if len(away) > 5 else ""
    if len(away) == 1:
        return str(away[0]["said"])
    return f"{len(away)} are away now: {named}{more}"


def _theirs(ctx: AppContext, limit: int) -> list[dict[str, Any]]:
    with ctx.store.read() as connection:
        found: list[Row[Any]] = []
        for open_ in (_F.closed_at.is_(None), _F.closed_at.isnot(None)):
            select = (
                sa.select(findings)
                .where(sa.text(_AWAY), _F.kind != K.OUTAGE, open_)
                .order_by(_F.id.desc())
                .limit(limit)
            )
            found += connection.execute(select).all()
        waiting, states = Waiting(ctx, connection), state.account_rows(connection)
        standing = Standing(ctx, connection, states, waiting, database_now(connection))
        rows = [_told(ctx, connection, waiting, row) for row in found]
        known = {row["whose"] for row in rows if row["until"] is None and row["part"] == "account"}
        for row in states.values():  # a finding that was dismissed, or is not opened yet
            how, why, since = standing.state(row)
            if row.name not in known and how in ("away", "suspended"):
                kind = K.SOURCE_UNAVAILABLE if how == "away" else K.ACCOUNT_PARKED
                rows.append(_row(kind, None, row.name, since or ctx.now(), None, why or "", _waits(waiting, row.name)))
    return rows


def _told(ctx: AppContext, connection: Connection, waiting: Waiting, row: Row[Any]) -> dict[str, Any]:
    whose = row.subject.split("/")[1]
    kind, since = FindingKind(row.kind), row.since or row.opened_at
    why = str(row.evidence.get("why") or row.evidence.get("said") or row.evidence.get("problem") or "")
    if row.closed_at is None:
        return _row(kind, row.id, whose, since, None, why, _waits(waiting, whose))
    told = _row(kind, row.id, whose, since, row.closed_at, why, {})
    if (row.closed_by or "").startswith("person"):
        told["state"] = "dismissed"
    elif ctx.now() - row.closed_at <= COUNTED_FOR:
        told["recovered"], told["written"] = _caught_up(connection, whose, since, row.closed_at)
        said = [_told_after(told["recovered"])]
        if told["written"]:
            many = "1 write that waited was" if told["written"] == 1 else f"{told['written']:,} writes that waited were"
            said.append(f"{many} sent")
        told["said"] += f"; {' and '.join(said)}"
    return told


def _row(
    kind: FindingKind,
    id_: int | None,
    whose: str,
    since: datetime,
    until: datetime | None,
    why: str,
    waits: dict[str, int],
) -> dict[str, Any]:
    part, does, did = KINDS[kind]
    begin = f"{since:%Y-%m-%d %H:%M}Z"
    said = (
        f"{whose} {does} since {begin}" if until is None else f"{whose} {did} from {begin} to {until:%Y-%m-%d %H:%M}Z"
    )
    if why:
        said += f" ({why})"
    if wait := said_waits(waits):
        said += f"; {wait} {'waits' if sum(waits.values()) == 1 else 'wait'}"
    return {
        "id": id_, "whose": whose, "part": part, "from": since, "until": until, "state": "away" if until is None else "back",
        "why": why or None, "waits": waits, "recovered": None, "written": None, "asked": None, "told_again": [], "said": said,
    }  # fmt: skip


def said_waits(waits: dict[str, int]) -> str:
    """Say what waits: `3 parcels, 1 write`."""
    return ", ".join(f"{count:,} {what if count != 1 else what[:-1]}" for what, count in waits.items() if count)


def _waits(waiting: Waiting, name: str) -> dict[str, int]:
    """Count what waits for an account or store now."""
    queues = {"parcels": ("poll", "register"), "orders": ("notices",), "writes": ("push",)}
    none = Waits(0, None)
    return {
        what: sum(waiting.by_account.get((queue, name), none).count for queue in names)
        for what, names in queues.items()
    }


def _told_after(scans: int) -> str:
    return "1 scan of that time was told after it" if scans == 1 else f"{scans:,} scans of that time were told after it"


def _now(ctx: AppContext) -> list[dict[str, Any]]:
    """Return a row where we are away ourselves: nobody has heard of our scheduler, so nothing is asked, read or written."""
    with ctx.store.read() as connection:
        gaps = Look(ctx, connection, None).find_gaps()
        since = next((gap.since for gap in gaps if gap.what == "nobody_works" and gap.since), None)
    if since is None:
        return []
    said = f"we are away since {since:%Y-%m-%d %H:%M}Z: nothing is asked, read or written; `tracker up` starts us"
    return [
        {
            "id": None, "whose": US, "part": "all", "from": since, "until": None, "state": "away", "why": "no scheduler of ours runs",
            "waits": {}, "recovered": None, "written": None, "asked": None, "told_again": [], "said": said,
        }
    ]  # fmt: skip


def _caught_up(connection: Connection, name: str, since: datetime, until: datetime) -> tuple[int, int]:
    """Count the scans of a span that an account told within a day after it, and the writes to a store that waited for its end."""
    told = sa.select(sa.func.count()).where(
        _S.first_seen_at >= until, _S.first_seen_at < until + NEXT_DAY, _S.account == name, _S.instant >= since, _S.instant <= until
    )  # fmt: skip
    sent = sa.select(sa.func.count()).where(
        _W.ended_at >= until, _W.ended_at < until + NEXT_DAY, _W.store == name, _W.state == "sent", _W.created_at < until,
        _W.created_at >= since,
    )  # fmt: skip
    return connection.execute(told).scalar_one(), connection.execute(sent).scalar_one()


def ours(ctx: AppContext, *, limit: int = 50) -> list[dict[str, Any]]:
    """Return our own outages, newest first, in the shape of `outages`, with how many scans were recovered after each."""
    shown = []
    with ctx.store.read() as connection:
        for row, since, until in _own(connection, limit):
            found, again = queries.recovered(connection, since, until), _told_again(connection, until)
            how = "asking"
            if row.closed_at:
                how = "caught up, in part by polls alone" if any(one["short"] for one in again) else "caught up"
            said = f"we were away from {since:%Y-%m-%d %H:%M}Z to {until:%Y-%m-%d %H:%M}Z"
            asked = int(row.evidence["asked"])
            done = (
                "all is caught up"
                if row.closed_at
                else f"{asked:,} {'parcel is' if asked == 1 else 'parcels are'} asked about"
            )
            shown.append(
                {
                    "id": row.id, "whose": US, "part": "all", "from": since, "until": until, "state": how, "why": None, "waits": {},
                    "recovered": len(found), "written": None, "asked": row.evidence["asked"], "told_again": again,
                    "said": f"{said}: {done}, {_told_after(len(found))}",
                }
            )  # fmt: skip
    return shown


def recovered_scans(ctx: AppContext, *, limit: int = 50) -> list[dict[str, Any]]:
    """Return the scans that were recovered after outages of ours, one a row."""
    with ctx.store.read() as connection:
        return [
            {
                "outage": row.id, "id": scan.id, "account": scan.account, "parcel": f"{scan.carrier} {scan.number}",
                "code": scan.code, "text": scan.text, "instant": scan.instant, "seen": scan.first_seen_at,
            }
            for row, since, until in _own(connection, limit)
            for scan in queries.recovered(connection, since, until)
        ][:limit]  # fmt: skip


def _own(connection: Connection, limit: int) -> list[tuple[Row[Any], datetime, datetime]]:
    select = sa.select(findings).where(sa.text(_AWAY), _F.kind == K.OUTAGE).order_by(_F.id.desc()).limit(limit)
    found = connection.execute(select).all()
    at = datetime.fromisoformat
    return [(row, at(row.evidence["from"]), at(row.evidence["until"])) for row in found]


def _told_again(connection: Connection, until: datetime) -> list[dict[str, Any]]:
    """Return what senders were asked to tell again after the outage that ended then: how many webhooks, and how far it came."""
    r = resends.c
    rows = connection.execute(sa.select(resends).where(r.until == until).order_by(r.account)).all()
    return [
        {
            "account": row.account, "since": row.since, "told": row.told, "new": row.new, "short": row.short,
            "ended": row.ended_at, "next": None if row.ended_at else row.next_at, "error": row.error,
        }
        for row in rows
    ]  # fmt: skip


def _for(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes} min" if minutes < 180 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} d"
