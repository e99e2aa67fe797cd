"""Entries of the configuration that are wrong: told, nothing asked or written by them, and taken up again once they are mended."""

from __future__ import annotations

import sqlalchemy as sa

from tracker.config.model import Suspended
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import accounts, findings, orders

AT_ONCE = 100
ROWS_AT_ONCE = 1_000
STANDS = "nothing of it is asked or written before"
GOES_ON = "until then, or until a process starts, it goes on by its settings of before"
TOLD = 20  # in the log; the findings tell all


def suspend_wrong_entries(ctx: AppContext) -> None:
    """Suspend the accounts whose entries are wrong, tell of each, and end the findings of those that are mended."""
    wrong = sorted(ctx.config.suspended.values(), key=lambda one: (one.is_store, one.name))
    as_before = sorted(ctx.config.as_before.values(), key=lambda one: (one.is_store, one.name))
    f, a = findings.c, accounts.c
    with ctx.store.read() as connection:
        told = sa.select(f.subject, f.evidence).where(f.kind == FindingKind.ENTRY_WRONG, f.closed_at.is_(None))
        there = {row.subject: row.evidence for row in connection.execute(told)}
        reasons = dict(connection.execute(sa.select(a.name, a.suspended_reason)).all()) if wrong else {}
    new = [one for one in wrong if reasons.get(one.name) != _reason(one)]
    for start in range(0, len(new), AT_ONCE):
        with ctx.store.write() as connection:
            _suspend(connection, new[start : start + AT_ONCE])
    all_of_them = [_finding(one, STANDS) for one in wrong] + [_finding(one, GOES_ON) for one in as_before]
    fresh = [(None, finding) for finding in all_of_them if finding.evidence != there.get(finding.subject)]
    for start in range(0, len(fresh), AT_ONCE):
        with ctx.store.write() as connection:
            tell.report_findings(ctx, connection, fresh[start : start + AT_ONCE], ctx.now(), by="settle")
    if over := sorted(there.keys() - {finding.subject for finding in all_of_them}):
        with ctx.store.write() as connection:
            mended = sa.and_(f.kind == FindingKind.ENTRY_WRONG, queries.among(connection, f.subject, over))
            queries.close_findings(connection, mended, ctx.now(), "settle", "its entry is mended")
    for one in wrong[:TOLD]:
        ctx.log.warning(
            "entry_wrong", account=one.name, said=one.problems[0], problems=len(one.problems), count=len(wrong)
        )


def take_up(ctx: AppContext) -> None:
    """Have done what waited for entries that are right now: payloads that nobody could read, orders that nobody could decide."""
    o = orders.c
    aside = o.reconcile_at >= queries.UNTIL_MENDED
    with ctx.store.read() as connection:
        names = {
            *queries.set_aside_for(connection),
            *connection.execute(sa.select(o.store).where(aside).distinct()).scalars(),
        }
    for name in sorted(names & ctx.config.accounts.keys()):
        some = sa.select(o.id).where(aside, o.store == name).order_by(o.id).limit(ROWS_AT_ONCE)
        left = True
        while left:
            with ctx.store.write() as connection:
                left = queries.take_up(connection, name, ROWS_AT_ONCE) == ROWS_AT_ONCE
        left = True
        while left:
            with ctx.store.write() as connection:
                ids = list(connection.execute(queries.locked(connection, some)).scalars())
                queries.decide_now(connection, queries.among(connection, o.id, ids), ctx.now())
                left = len(ids) == ROWS_AT_ONCE


def _suspend(connection: sa.Connection, some: list[Suspended]) -> None:
    a = accounts.c
    here = queries.among(connection, a.name, [one.name for one in some])
    held = set(
        connection.execute(queries.locked(connection, sa.select(a.name).where(here).order_by(a.kind, a.name))).scalars()
    )
    new = [
        {
            "name": one.name,
            "kind": "store" if one.is_store else "carrier",
            "attempts": 0,
            "suspended_reason": _reason(one),
        }
        for one in some
        if one.name not in held
    ]
    queries.put(connection, accounts, new)
    for one in some:
        if one.name in held:
            queries.suspend(connection, one.name, _reason(one))


def _reason(one: Suspended) -> str:
    return f"{queries.BY_ENTRY}{one.problems[0]}"[: queries.MOST_REASON]


def _subject(one: Suspended) -> str:
    return f"{'store' if one.is_store else 'account'}/{one.name}"


def _finding(one: Suspended, until: str) -> Finding:
    evidence = {"store" if one.is_store else "account": one.name, "problem": one.problems[0][:500]}
    if len(one.problems) > 1:
        evidence["more"] = str(len(one.problems) - 1)
    return Finding(
        FindingKind.ENTRY_WRONG, _subject(one), Severity.URGENT, Act.ACT, evidence,
        proposal=f"mend it, then `tracker check` and `tracker reload`; {until}",
    )  # fmt: skip
