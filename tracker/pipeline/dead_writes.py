"""Tell of writes that crashed too often: as they die, and by the watch, which sees those whose worker died with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import findings, orders, outbox

MOST_DEAD = 500  # dead writes, the newest, that are told one by one


def look_for_dead(ctx: AppContext, connection: Connection) -> None:
    """Tell of every write that is dead; close the finding of one that is tried again."""
    o, f = outbox.c, findings.c
    rows = connection.execute(sa.select(outbox).where(o.state == "dead").order_by(o.id.desc()).limit(MOST_DEAD)).all()
    told = tell_dead(ctx, connection, rows)
    held = sa.select(f.id, f.subject, f.evidence).where(f.kind == FindingKind.WRITE_DEAD, f.closed_at.is_(None))
    open_now = {int(row.evidence["write"]): row for row in connection.execute(held) if row.subject not in told}
    still = sa.select(o.id).where(queries.among(connection, o.id, sorted(open_now)), o.state == "dead")
    if over := [open_now[i].id for i in open_now.keys() - set(connection.execute(still).scalars())]:
        queries.close_findings(connection, queries.among(connection, f.id, over), ctx.now(), "watch", "tried again")


def tell_dead(ctx: AppContext, connection: Connection, rows: Sequence[Row[Any]]) -> set[str]:
    """Open a finding for each order and kind of write; returns their subjects. The action may be what raises: it is not read."""
    of_them = queries.among(connection, orders.c.id, sorted({row.order_id for row in rows}))
    numbers = {row.id: row.number for row in connection.execute(sa.select(orders.c.id, orders.c.number).where(of_them))}
    found: dict[str, tuple[int | None, Finding]] = {}
    for row in sorted(rows, key=lambda row: int(row.id)):
        number, action = numbers[row.order_id], row.action
        what = action.get("fulfilment") or action.get("target") or row.kind
        subject = f"{row.store}/{number}/{what}"
        evidence = {
            "order": number, "status": str(action.get("target") or action.get("status")), "tries": str(row.attempts),
            "said": (row.error or "")[:200], "write": str(row.id),
        }  # fmt: skip
        finding = Finding(
            FindingKind.WRITE_DEAD, subject, Severity.WARNING, Act.ACT, evidence, row.created_at,
            f"once its cause is mended: `tracker outbox retry {row.id}`",
        )  # fmt: skip
        found[subject] = row.order_id, finding
    tell.report_findings(ctx, connection, list(found.values()), ctx.now(), by="push")
    return set(found)
