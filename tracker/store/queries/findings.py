"""Findings: one row a fact, opened once, kept up, closed by itself or by a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.facts import Finding
from tracker.domain.vocabulary import FindingKind, Severity
from tracker.hashing import digest
from tracker.store.queries.dialect import upsert
from tracker.store.tables import findings

# Evidence that is another each time, and no new one: how many, of how long.
GROWS = {
    FindingKind.CARRIER_NOT_COVERED: ("parcels", "since"),
    FindingKind.BUDGET_TOO_SMALL: ("parcels", "needs", "seen_every", "wanted_every"),
    FindingKind.QUOTA_LOW: ("left", "waits", "a_week"),
}


def open_findings(
    connection: Connection,
    wanted: Sequence[tuple[int | None, Finding]],
    now: datetime,
    *,
    by: str,
    digest_before: Mapping[int, datetime] | None = None,
    alert_at: datetime | None = None,
    alert_from: Severity = Severity.WARNING,
    stores: Mapping[int, str] | None = None,
) -> None:
    """Open findings that are not open; refresh the evidence of those that are.

    One that a person closed stays closed while its evidence is the same. `digest_before`: per order, findings whose
    cause is older than this belong to the first sync's digest. `alert_at` (database time): mark
    those that are at least `alert_from`, or get so bad while they are open, so that they are told of; what a digest holds is told by nobody. `stores`: of orders whose finding's
    subject does not begin with their store.
    """
    if not wanted:
        return
    subjects = {finding.subject for _, finding in wanted}
    known = connection.execute(
        sa.select(findings).where(
            findings.c.subject.in_(subjects),
            sa.or_(findings.c.closed_at.is_(None), findings.c.closed_by.startswith("person")),
        )
    ).all()
    opened = {(row.subject, row.kind): row for row in known if row.closed_at is None}
    dismissed = {(row.subject, row.kind, row.evidence_hash) for row in known if row.closed_at is not None}
    fresh = []
    for order_id, finding in wanted:
        evidence = dict(finding.evidence)
        hashed = digest({name: value for name, value in evidence.items() if name not in GROWS.get(finding.kind, ())})
        row = opened.get((finding.subject, finding.kind))
        if row is not None:
            worse = finding.severity.rank > Severity(row.severity).rank and finding.severity.rank >= alert_from.rank
            _keep_up(connection, row, finding, evidence, hashed, alert_at if worse and not row.digest else None)
        elif (finding.subject, finding.kind, hashed) not in dismissed:
            limit = (digest_before or {}).get(order_id or 0)
            past = bool(limit and finding.since and finding.since < limit)
            urgent = finding.severity.rank >= alert_from.rank and not past
            fresh.append(
                {
                    "order_id": order_id, "store": _store_of(order_id, finding, stores), "subject": finding.subject,
                    "kind": finding.kind, "severity": finding.severity, "act": finding.act, "evidence": evidence,
                    "evidence_hash": hashed, "opened_by": by, "opened_at": now, "since": finding.since, "digest": past,
                    "proposal": finding.proposal, "alert_due_at": alert_at if urgent else None,
                }
            )  # fmt: skip
    if fresh:
        connection.execute(upsert(connection, findings).on_conflict_do_nothing(), fresh)


def _keep_up(
    connection: Connection, row: Row[Any], finding: Finding, evidence: dict[str, Any], hashed: str, alert_at: datetime | None
) -> None:  # fmt: skip
    """Let a finding that is open say what is so now. `alert_at`: it got worse, which is told."""
    if row.evidence != evidence or row.severity != finding.severity or row.proposal != finding.proposal:
        connection.execute(
            findings.update()
            .where(findings.c.id == row.id)
            .values(
                evidence=evidence, evidence_hash=hashed, severity=finding.severity, act=finding.act,
                proposal=finding.proposal, **({"alert_due_at": alert_at} if alert_at is not None else {}),
            )
        )  # fmt: skip


def _store_of(order_id: int | None, finding: Finding, stores: Mapping[int, str] | None) -> str | None:
    if order_id is None:
        place, _, name = finding.subject.partition("/")
        return name.partition("/")[0] if place == "store" else None
    return (stores or {}).get(order_id) or finding.subject.partition("/")[0]


def close_findings(
    connection: Connection, condition: sa.ColumnElement[bool], now: datetime, by: str, reason: str | None = None
) -> int:
    """Close the open findings that fit. Returns how many. Whoever was told of one, or is to be, is told of that too."""
    f = findings.c
    closed = connection.execute(
        findings.update()
        .where(f.closed_at.is_(None), condition)
        .values(
            closed_at=now, closed_by=by, closed_reason=reason,
            alert_due_at=sa.case((f.told_at.isnot(None), sa.func.coalesce(f.alert_due_at, f.told_at)), else_=f.alert_due_at),
        )
    )  # fmt: skip
    return int(closed.rowcount)
