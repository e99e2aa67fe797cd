"""What operators ask of the whole installation: drift, findings, what is stuck, freshness, queues, codes.

Each answers from an index, in pages (`after` is the id of the last row seen), as plain rows for a table, for JSON and
for the read API. `tests/bench_data.py` measures them on a million orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.domain.errors import TrackerError
from tracker.domain.facts import Code
from tracker.domain.sentences import Fields, say, spoken
from tracker.domain.texts import command
from tracker.domain.vocabulary import DriftKind, FindingKind, Severity, ShippingStatus
from tracker.pipeline import drifts, feeds
from tracker.pipeline.context import AppContext
from tracker.pipeline.ingest.scans import look_up
from tracker.store import queries
from tracker.store.tables import (
    UNMAPPED_SCANS,
    files,
    findings,
    inbox,
    orders,
    outbox,
    scans,
    shipments,
    watches,
)
from tracker.support import written
from tracker.support.delays import lateness
from tracker.support.knowledge import unwatched_of
from tracker.support.many import Filter, about_findings

K = FindingKind
DRIFT = tuple(DriftKind)
drift = drifts.list_drifts
AGES = (timedelta(hours=1), timedelta(hours=3), timedelta(hours=6), timedelta(hours=12), timedelta(days=1))
NEWEST = 10_000  # payloads among which an account's are looked for


def list_findings(
    ctx: AppContext,
    *,
    kinds: Sequence[str] = (),
    store: queries.Stores = None,
    severity: str | None = None,
    carrier: str | None = None,
    assigned: str | None = None,
    since: datetime | None = None,
    closed: bool = False,
    snoozed: bool = False,
    digest: bool | None = None,
    after: int | None = None,
    limit: int = 50,
    urgent_first: bool = False,
) -> list[dict[str, Any]]:
    """Return findings, newest first, or the urgent ones before the others (`after`: the last row of the page before, in that order).

    Checkouts stand apart: only by their own kind. Snoozed ones only when asked for.
    """
    f = findings.c
    wanted = Filter((), store, carrier, since, severity, assigned, snoozed)
    conditions = about_findings(wanted, ctx.now())
    if not closed:
        conditions.append(f.closed_at.is_(None))
    if digest is not None:
        conditions.append(f.digest.is_(digest))
    with ctx.store.read() as connection:
        rows: list[Any] = []
        for part in _by_urgency(connection, after, store) if urgent_first else _older(after):
            if len(rows) < limit:
                rows += _newest(connection, [*conditions, *part], kinds, limit - len(rows))
        named = _orders(connection, {row.order_id for row in rows if row.order_id is not None})
    return [
        {
            "id": row.id, "kind": row.kind, "severity": row.severity, "act": row.act, "store": row.store,
            "order": named[row.order_id].number if row.order_id in named else None, "subject": row.subject,
            "since": row.since, "opened_at": row.opened_at, "snoozed_until": row.snoozed_until,
            "closed_at": row.closed_at, "closed_by": row.closed_by, "closed_reason": row.closed_reason,
            "evidence": row.evidence, "proposal": row.proposal or None, "digest": row.digest,
            "assigned_to": row.assigned_to, "assigned_at": row.assigned_at,
        }
        for row in rows
    ]  # fmt: skip


def _older(after: int | None) -> list[list[sa.ColumnElement[bool]]]:
    return [[] if after is None else [findings.c.id < after]]


def _by_urgency(connection: Connection, after: int | None, store: queries.Stores) -> list[list[sa.ColumnElement[bool]]]:
    """Return the conditions of each severity that comes behind a finding, or of all: the worst first."""
    f = findings.c
    ranked = sorted(Severity, key=lambda severity: -severity.rank)
    before = sa.select(f.severity).where(f.id == after, *queries.of_stores(f.store, store))  # not of others
    at = connection.execute(before).scalar() if after is not None else None
    if at is None:
        return [[f.severity == severity, *_older(after)[0]] for severity in ranked]
    behind = [severity for severity in ranked if severity.rank < Severity(at).rank]
    return [[f.severity == at, f.id < after], *([f.severity == severity] for severity in behind)]


def _newest(
    connection: Connection, conditions: Sequence[sa.ColumnElement[bool]], kinds: Sequence[str], limit: int
) -> list[Any]:
    f = findings.c
    rows: list[Any] = []
    for kind in kinds or ("",):  # a few short index scans beat one long one
        mine = [f.kind == kind] if kind else [f.kind != K.ABANDONED_CHECKOUT]
        select = sa.select(findings).where(*conditions, *mine).order_by(f.id.desc()).limit(limit)
        rows += connection.execute(select).all()
    return sorted(rows, key=lambda row: -row.id)[:limit]


def next_step(row: Mapping[str, Any]) -> str:
    """Say what heals a finding, or where that is told, of one that proposes nothing too."""
    if row["proposal"]:
        return str(row["proposal"])
    if row["order"]:
        return f"`{command('tracker', 'explain', row['order'])}` tells"
    if row["kind"] == K.ACCOUNT_PARKED:
        return "put new credentials into the configuration, then `tracker reload`"
    return f"deploy/RUNBOOK.md tells what to do: {row['kind']}"


def findings_in_short(rows: Sequence[Mapping[str, Any]], _now: datetime) -> str:
    """Say rows of findings, the most urgent first, in short: how many of which severity, and the first with what heals it."""
    many, first = Counter(row["severity"] for row in rows), rows[0]
    said = ", ".join(f"{count} {severity}" for severity, count in many.items())
    whose = f"order {first['order']} in {first['store']}" if first["order"] else f"{first['subject'].partition('/')[2]}"
    what = say(f"finding:{first['kind']}", Fields(whose, time=first["since"] or first["opened_at"]))
    return f"{len(rows)} {'finding' if len(rows) == 1 else 'findings'} here ({said}). First: {what} What heals it: {next_step(first)}."


def drift_in_short(found: Sequence[Mapping[str, Any]], _now: datetime) -> str:
    """Say rows of the ledger in short: how many orders, in which way, and the worst of them with what heals it."""
    kinds = Counter(spoken(row["drift"]) for row in found)
    worst = max(found, key=lambda row: (Severity(row["severity"]).rank, row["age"]))
    count = len({(row["store"], row["order"]) for row in found})
    said = ", ".join(f"{many} {kind}" for kind, many in kinds.most_common())
    who = "order disagrees with what its carrier says" if count == 1 else "orders disagree with what their carriers say"
    return f"{count} {who} ({said}). First: {worst['sentence']} What heals it: {worst['would_heal']}."


def freshness(ctx: AppContext, *, store: queries.Stores = None) -> list[dict[str, Any]]:
    """Return, by account, how many open parcels (of some stores) it watches and how many of them it checked within 1, 3, 6, 12, 24 h.

    Those that nobody watches come last, by store and carrier. What a feed tells of counts as checked when it was whole last. How
    late looks are (`late`: how many, p50, p95, p99 in seconds) counts a parcel whose look is still to come with 0.
    """
    t = watches.c
    now = ctx.now()
    with ctx.store.read() as connection:
        known = feeds.known_at(feeds.whole(ctx, connection, now))
        within = [sa.func.sum(sa.case((known >= now - age, 1), else_=0)).label(f"w{i}") for i, age in enumerate(AGES)]
        rows = connection.execute(
            sa.select(t.account, sa.func.count().label("open"), *within, sa.func.min(known).label("oldest"))
            .where(t.next_poll_at.isnot(None), *queries.parcels_of(t.shipment_id, store))
            .group_by(t.account)
            .order_by(t.account)
        ).all()
        nobody, late = unwatched_of(ctx, connection, store), lateness(ctx, connection, store)
    shown = []
    for row in rows:
        shares = {
            f"within_{int(age.total_seconds() // 3600)}h": round(100 * row[i + 2] / row.open, 1)
            for i, age in enumerate(AGES)
        }
        shown.append(
            {
                **late.get(row.account, {}),
                "account": row.account,
                "open": row.open,
                **shares,
                "oldest_check": row.oldest,
            }
        )
    for one in nobody:
        shares = {f"within_{int(age.total_seconds() // 3600)}h": 0.0 for age in AGES}
        who = f"nobody ({one.store}: {one.carrier})"
        shown.append({"account": who, "open": one.parcels, **shares, "oldest_check": None})
    return shown


def list_outbox(
    ctx: AppContext,
    *,
    state: str | None = None,
    store: queries.Stores = None,
    since: datetime | None = None,
    after: int | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Return writes and notices, newest first; `since`: that ended since then, or wait still."""
    o = outbox.c
    select = sa.select(
        o.id, o.store, o.kind, o.key, o.state, o.attempts, o.error, o.created_at, o.due_at, o.attempted_at, o.ended_at, o.rules, o.action
    )  # fmt: skip
    for condition in (
        o.state == state if state else None, *queries.of_stores(o.store, None if store == "" else store), o.id < after if after else None,
        *(written.since(since) if since is not None else ()),
    ):  # fmt: skip
        if condition is not None:
            select = select.where(condition)
    with ctx.store.read() as connection:
        rows = [dict(row._mapping) for row in connection.execute(select.order_by(o.id.desc()).limit(limit))]
    for row in rows:  # of the action what it says, and of which order; the rest is in `tracker show`
        action = row.pop("action")
        row["order"] = action.get("number") or action.get("order")
        row["says"] = action.get("target") or action.get("notice") or action.get("status")
    return rows


def list_inbox(
    ctx: AppContext,
    *,
    state: str | None = None,
    account: queries.Stores = None,
    partly: bool = False,
    after: int | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Return payloads, newest first; those of one account among the newest 10,000 (of dead and partly read ones, among all).

    `partly`: those of which something could not be read, each with its `unread`: path, problem and subject of each piece.
    """
    t = inbox.c
    select = sa.select(
        t.id, t.account, t.kind, t.state, t.reason, t["size"], t.attempts, t.times, t.received_at, t.due_at
    )
    with ctx.store.read() as connection:
        if partly:
            select = select.add_columns(t.unread).where(t.unread.is_not(sa.null()))
        if state:
            select = select.where(t.state == state)
        if after:
            select = select.where(t.id < after)
        if account is not None and account != "":
            select = select.where(*queries.of_stores(t.account, account))
            if not partly and state != "dead":  # those have an index of their own
                newest = after or connection.execute(sa.select(sa.func.max(t.id))).scalar() or 0
                select = select.where(t.id > newest - NEWEST)
        rows = [dict(row._mapping) for row in connection.execute(select.order_by(t.id.desc()).limit(limit))]
    for row in rows if partly else ():
        row["unread"] = [dict(zip(("path", "problem", "subject"), piece, strict=True)) for piece in row["unread"]]
    return rows


def list_files(
    ctx: AppContext, *, account: str | None = None, state: str | None = None, after: int | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Return the files that came, newest first: those that wait to be whole, are being read, were read or failed."""
    f = files.c
    select = sa.select(
        f.id, f.account, f.place, f.name, f.state, f["size"], f.read_to, f.lines, f.stored, f.known, f.unread, f.problem,
        f.seen_at, f.ended_at,
    )  # fmt: skip
    for condition in (
        f.account == account if account else None, f.state == state if state else None, f.id < after if after else None,
    ):  # fmt: skip
        if condition is not None:
            select = select.where(condition)
    with ctx.store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(select.order_by(f.id.desc()).limit(limit))]


def put_aside(ctx: AppContext, ids: Sequence[int]) -> list[str]:
    """Return where those of these files lie that failed and were moved aside: no look finds them there."""
    with ctx.store.read() as connection:
        failed = sa.select(files.c.place, files.c.name).where(files.c.id.in_(list(ids)), files.c.state == "failed")
        there = [(Path(row.place, "failed"), row.name) for row in connection.execute(failed)]
    return sorted(
        {str(folder) for folder, name in there if (folder / name).exists() and not (folder.parent / name).exists()}
    )


def retry_files(ctx: AppContext, ids: Sequence[int]) -> int:
    """Forget files that failed: what lies in its place is read again, by the next look or `tracker ingest`. Returns how many."""
    with ctx.store.write() as connection:
        failed = sa.and_(files.c.id.in_(list(ids)), files.c.state == "failed")
        return int(connection.execute(files.delete().where(failed)).rowcount)


def list_codes(ctx: AppContext, *, limit: int = 50, mapped: bool = False) -> list[dict[str, Any]]:
    """Return codes of stored scans that have no meaning now, most frequent first; a scan counts once, whoever tells it again.

    What the YAML or a newer plugin maps is left out at once. `mapped`: those instead, as long as their scans wait for
    `tracker remap`.
    """
    s = scans.c
    with ctx.store.read() as connection:  # from an index that holds these scans alone: a few in a thousand
        counted = connection.execute(
            sa.select(s.account, s.space, s.code, sa.func.count(), sa.func.min(s.id), sa.func.max(s.id))
            .where(sa.text(UNMAPPED_SCANS))
            .group_by(s.account, s.space, s.code)
        ).all()
        ends = sorted({end for row in counted for end in row[4:]})
        told = {
            row.id: row
            for row in connection.execute(
                sa.select(s.id, s.text, s.first_seen_at, s.inbox_id, shipments.c.carrier)
                .join(shipments, shipments.c.id == s.shipment_id)
                .where(queries.among(connection, s.id, ends))
            )
        }
    found = []
    for account, space, code, number, first, last in counted:
        newest, known, meaning = told[last], ctx.account(account), None
        if known is not None and not known.is_store:
            meaning = look_up(known, Code(space, code, newest.text))
        if mapped == (meaning is not None):
            found.append(
                {
                    "account": account, "carrier": newest.carrier, "space": space, "code": code,
                    "code_key": f"{space}/{code}", "text": newest.text, "count": number,
                    "first_seen_at": told[first].first_seen_at, "last_seen_at": newest.first_seen_at,
                    "sample": newest.inbox_id,
                }
            )  # fmt: skip
    return sorted(found, key=lambda row: (-row["count"], row["account"], row["code_key"]))[:limit]


# wording -> meaning, most telling first; a suggestion is only that: a person accepts it
_HINTS: tuple[tuple[tuple[str, ...], ShippingStatus, str | None], ...] = (
    (("return", "sender"), ShippingStatus.RETURNING, "return_in_transit"),
    (("out for delivery",), ShippingStatus.OUT_FOR_DELIVERY, None),
    (("on vehicle",), ShippingStatus.OUT_FOR_DELIVERY, "on_vehicle"),
    (("attempt",), ShippingStatus.DELIVERY_ATTEMPTED, None),
    (("not home",), ShippingStatus.DELIVERY_ATTEMPTED, "recipient_unavailable"),
    (("ready for", "pick"), ShippingStatus.AVAILABLE_FOR_PICKUP, None),
    (("delivered",), ShippingStatus.DELIVERED, None),
    (("customs",), ShippingStatus.ON_HOLD, "customs_hold"),
    (("hold",), ShippingStatus.ON_HOLD, None),
    (("delay",), ShippingStatus.DELAYED, None),
    (("weather",), ShippingStatus.DELAYED, "weather"),
    (("lost",), ShippingStatus.LOST, None),
    (("address",), ShippingStatus.EXCEPTION, "address_incorrect"),
    (("damag",), ShippingStatus.EXCEPTION, "damaged"),
    (("label",), ShippingStatus.PRE_TRANSIT, "label_created"),
    (("picked up",), ShippingStatus.PICKED_UP, "picked_up"),
    (("accepted",), ShippingStatus.PICKED_UP, "accepted"),
    (("depart",), ShippingStatus.IN_TRANSIT, "departed_facility"),
    (("arriv",), ShippingStatus.IN_TRANSIT, "arrived_facility"),
    (("handed",), ShippingStatus.IN_TRANSIT, "handed_to_partner"),
    (("transit",), ShippingStatus.IN_TRANSIT, "moving"),
)


def suggest(ctx: AppContext, *, limit: int = 50) -> list[dict[str, Any]]:
    """Return codes without a meaning, each with what its own words suggest, and why.

    A suggestion is only that: it means nothing before a person accepts it (`tracker codes --accept`).
    """
    shown = []
    for row in list_codes(ctx, limit=limit):
        status, reason, why = _by_text(row["text"])
        meaning = {"status": str(status), **({"reason": reason} if reason else {})} if status else None
        shown.append({**row, "suggested": meaning, "why": why or "nothing to go by"})
    return shown


def _by_text(text: str) -> tuple[ShippingStatus | None, str | None, str]:
    words = text.casefold()
    if "not delivered" in words or "undelivered" in words:
        return None, None, ""
    for needles, status, reason in _HINTS:
        if all(needle in words for needle in needles):
            return status, reason, f"its text says {' ... '.join(needles)!r}"
    return None, None, ""


def _orders(connection: Connection, ids: Iterable[int]) -> dict[int, Any]:
    wanted = list(ids)
    if not wanted:
        return {}
    return {
        row.id: row
        for row in connection.execute(sa.select(orders.c.id, orders.c.number).where(orders.c.id.in_(wanted)))
    }


def close(ctx: AppContext, ids: Sequence[int], *, by: str, reason: str) -> int:
    """Dismiss open findings; each stays closed until its evidence changes. Raises TrackerError without a reason."""
    if not reason.strip():
        raise TrackerError("say why: --reason")
    with ctx.store.write() as connection:
        return queries.close_findings(connection, findings.c.id.in_(list(ids)), ctx.now(), f"person: {by}", reason)


def snooze(ctx: AppContext, ids: Sequence[int], span: timedelta) -> int:
    """Hide open findings for a while; they stay open, and come back by themselves."""
    with ctx.store.write() as connection:
        return int(
            connection.execute(
                findings.update()
                .where(findings.c.id.in_(list(ids)), findings.c.closed_at.is_(None))
                .values(snoozed_until=ctx.now() + span)
            ).rowcount
        )
