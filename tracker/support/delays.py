"""How long things take: from a webhook's arrival to the status it tells, from a scan to the write, and how late looks are.

Of the newest `MOST` of the last hours, found by walking back from the newest row; nothing is kept for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.clock import moment
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import OVERDUE, inbox, outbox, watches

MOST = 1_000  # rows that are measured
LOOKED_AT = 5_000  # newest rows among which they are looked for
LATELY = timedelta(hours=2)
SHARES = (("p50", 2), ("p95", 20), ("p99", 100))  # one in so many takes longer
_I, _W, _T = inbox.c, outbox.c, watches.c


def delays(ctx: AppContext, connection: Connection, store: queries.Stores = None) -> list[dict[str, Any]]:
    """Return p50, p95 and p99 in seconds of each way that news goes, of how many, and since when; none where nothing went it lately.

    `store`: only what is of some stores; a carrier's webhook is of none.
    """
    since = ctx.now() - LATELY
    ways: list[tuple[str, str, list[tuple[datetime, float]]]] = []
    if store is None:
        ways.append(("webhook received to status applied", "tracker inbox --state done", _applied(connection, since)))
    decided, scanned = _written(connection, since, store)
    ways.append(("decision to write", "tracker outbox --state sent", decided))
    ways.append(("scan to write", "tracker outbox --state sent", scanned))
    return [
        {"way": way, "of": len(took), "since": min((at for at, _ in took), default=None), **shares([s for _, s in took]), "see": see}
        for way, see, took in ways
    ]  # fmt: skip


def shares(seconds: Sequence[float]) -> dict[str, float | None]:
    """Return p50, p95 and p99 of some values (the smallest that so many do not exceed), None where there is none."""
    ordered = sorted(seconds)
    return {
        f"{name}_seconds": round(ordered[len(ordered) - 1 - len(ordered) // of], 3) if ordered else None
        for name, of in SHARES
    }


def _applied(connection: Connection, since: datetime) -> list[tuple[datetime, float]]:
    newest = connection.execute(sa.select(sa.func.max(_I.id))).scalar() or 0
    rows = connection.execute(
        sa.select(_I.received_at, _I.ended_at)
        .where(
            _I.id > newest - LOOKED_AT, _I.kind == "webhook", _I.state == "done", _I.attempts <= 1,
            _I.ended_at.isnot(None), _I.received_at >= since,
        )
        .order_by(_I.id.desc())
        .limit(MOST)
    )  # fmt: skip
    return [(row.received_at, max(0.0, (row.ended_at - row.received_at).total_seconds())) for row in rows]


def _written(
    connection: Connection, since: datetime, store: queries.Stores
) -> tuple[list[tuple[datetime, float]], list[tuple[datetime, float]]]:
    newest = connection.execute(sa.select(sa.func.max(_W.id))).scalar() or 0
    rows = connection.execute(
        sa.select(_W.created_at, _W.ended_at, _W.action)
        .where(
            _W.id > newest - LOOKED_AT, _W.state == "sent", _W.ended_at >= since, *queries.of_stores(_W.store, store)
        )
        .order_by(_W.id.desc())
        .limit(MOST)
    ).all()
    decided = [(row.created_at, max(0.0, (row.ended_at - row.created_at).total_seconds())) for row in rows]
    scanned = []
    for row in rows:
        happened = row.action.get("happened_at")
        if happened:
            scanned.append((row.created_at, max(0.0, (row.ended_at - moment(happened)).total_seconds())))
    return decided, scanned


def lateness(ctx: AppContext, connection: Connection, store: queries.Stores = None) -> dict[str | None, dict[str, Any]]:
    """Return by account, and of all (None), how late looks at open parcels are: `open`, `late`, p50, p95 and p99 in seconds.

    A parcel whose next look is still to come is not late: it counts with 0.
    """
    now, mine = ctx.now(), queries.of_stores(_T.store, store)  # for which they are asked about: found by an index
    opened = sa.select(_T.account, sa.func.count().label("open")).where(_T.next_poll_at.isnot(None), *mine)
    by_account = opened.group_by(_T.account)
    open_: dict[str, int] = dict(connection.execute(by_account).all())
    held = sa.text(OVERDUE)  # as its index says it
    late = sa.union_all(
        sa.select(_T.account, _T.next_poll_at.label("since")).where(_T.next_poll_at < now, _T.overdue_since.is_(None), *mine),
        sa.select(_T.account, _T.overdue_since.label("since")).where(held, _T.overdue_since < now, *mine),
    ).subquery()  # fmt: skip
    counts: dict[str, int] = dict(
        connection.execute(sa.select(late.c.account, sa.func.count()).group_by(late.c.account)).all()
    )
    found: dict[str | None, dict[str, Any]] = {
        name: {"open": count, "late": counts.get(name, 0), **_seconds({}, count, now)} for name, count in open_.items()
    }
    total = sum(open_.values())
    found[None] = {"open": total, "late": sum(counts.values()), **_seconds({}, total, now)}
    if not counts:
        return found
    n, last = by_account.subquery(), sa.func.row_number()
    placed = sa.select(late, last.over(partition_by=late.c.account, order_by=late.c.since).label("place")).subquery()
    here = sa.or_(*(placed.c.place == n.c.open // of + 1 for _, of in SHARES))
    each: dict[str, dict[int, datetime]] = {}
    for row in connection.execute(sa.select(placed).join(n, n.c.account == placed.c.account).where(here)):
        each.setdefault(row.account, {})[row.place] = row.since
    for name, places in each.items():
        found[name] |= _seconds(places, open_[name], now)
    ranked = sa.select(late.c.since, last.over(order_by=late.c.since).label("place")).subquery()
    some = sa.select(ranked).where(ranked.c.place.in_([total // of + 1 for _, of in SHARES]))
    found[None] |= _seconds({row.place: row.since for row in connection.execute(some)}, total, now)
    return found


def _seconds(places: dict[int, datetime], count: int, now: datetime) -> dict[str, float | None]:
    """Return the shares of so many looks, by the moments since when those at some places (1: the latest) are due."""
    at = {name: places.get(count // of + 1) for name, of in SHARES}
    return {f"{name}_seconds": round((now - since).total_seconds(), 1) if since else 0.0 for name, since in at.items()}
