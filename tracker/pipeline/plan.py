"""Whether budgets suffice: what open parcels need of each account, counted by the database, and one finding while they do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.model import Account
from tracker.config.plugins import carriers
from tracker.config.presets import spell
from tracker.domain.cadence import Cadence
from tracker.domain.facts import Finding
from tracker.domain.plan import DAY, Group, Verdict, amount, span, verdict
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import feeds, paces, tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import findings, shipments, watches

_KIND = FindingKind.BUDGET_TOO_SMALL


def groups(
    ctx: AppContext, connection: Connection, names: Collection[str] | None = None
) -> Mapping[str, Sequence[tuple[Group, Cadence, int]]]:
    """Count the parcels that accounts are asked about, by what says how often; of all accounts, or of some."""
    s, t, now = shipments.c, watches.c, ctx.now()
    told = sa.and_(
        t.fed_at.isnot(None), queries.among(connection, t.account, sorted(feeds.whole(ctx, connection, now)))
    )
    counted = (
        sa.select(t.account, *paces.columns(ctx, now), sa.case((told, 1), else_=0).label("fed"))
        .join(shipments, s.id == t.shipment_id)
        .where(t.next_poll_at.isnot(None), *([] if names is None else [queries.among(connection, t.account, names)]))
        .subquery()
    )
    by = list(counted.c)
    found: dict[str, list[tuple[Group, Cadence, int]]] = defaultdict(list)
    grouped: sa.Select[Any] = sa.select(*by, sa.func.count().label("many")).group_by(*by)
    for row in connection.execute(grouped):
        pace = paces.pace_of(row, fed=bool(row.fed))
        cadence = ctx.config.cadence(row.account, row.carrier)
        found[row.account].append((Group(pace, ended=bool(row.ended)), cadence, int(row.many)))
    return found


def verdicts(ctx: AppContext, connection: Connection, *, budgeted: bool = False) -> dict[str, Verdict]:
    """Judge the budget of each carrier account; of those that have one only (`budgeted`)."""
    mine = [a for a in ctx.config.carrier_accounts() if a.budget is not None or not budgeted]
    counted = groups(ctx, connection, [a.name for a in mine] if budgeted else None) if mine else {}
    return {
        a.name: verdict(
            counted.get(a.name, ()), batch=a.carrier.batch, sweeps=DAY / a.sweep_every if a.has_feed else 0.0,
            budget=(a.budget.calls, a.budget.per) if a.budget is not None else None,
        )
        for a in mine
    }  # fmt: skip


def ways(account: Account, judged: Verdict) -> list[str]:
    """Say what would have an account's parcels seen as often as the cadence wants."""
    assert account.budget is not None
    per = account.budget.per
    found = [f"raise the budget to {ceil(judged.needs * (per / DAY)):,} calls in {spell(per)}"]
    if account.source.webhooks:
        found.append("register for push, whose news wait for no look")
    for name, plugin in carriers():
        speaks = not account.speaks or set(plugin.carriers) & set(account.speaks)
        if plugin.carriers and speaks and plugin.shapes is None and plugin.batch > account.carrier.batch:
            found.append(f"use {name}'s batch, {plugin.batch} parcels a call")
    return found


def told(ctx: AppContext, connection: Connection) -> list[str]:
    """Say for `tracker check` which budgets do not suffice, and in a line that the others do."""
    judged = verdicts(ctx, connection, budgeted=True)
    short = {name: one for name, one in judged.items() if not one.suffices}
    found = [f"{name}: {one.sentence(ways(ctx.config.accounts[name], one))}" for name, one in sorted(short.items())]
    if fine := len(judged) - len(short):
        needs = sum(one.needs for name, one in judged.items() if name not in short)
        found.append(f"the budgets of {fine} accounts suffice: their parcels need {amount(needs)} calls a day")
    return found


def look(ctx: AppContext) -> None:
    """Open a finding for each budget that does not suffice, and close those that do again."""
    f = findings.c
    with ctx.store.read() as connection:
        judged = verdicts(ctx, connection, budgeted=True)
        open_now = sa.select(f.subject).where(f.kind == _KIND, f.closed_at.is_(None))
        before = set(connection.execute(open_now).scalars())
    short = {name: one for name, one in judged.items() if one.told(f"account/{name}" in before)}
    over = before - {f"account/{name}" for name in short}
    if not short and not over:
        return
    with ctx.store.write() as connection:
        now = ctx.now()
        wanted = [(None, _finding(ctx.config.accounts[name], short[name], now)) for name in sorted(short)]
        tell.report_findings(ctx, connection, wanted, now, by="watch")
        if over:
            gone = sa.and_(f.kind == _KIND, queries.among(connection, f.subject, sorted(over)))
            queries.close_findings(connection, gone, now, "watch", "the budget suffices")


def _finding(account: Account, judged: Verdict, now: datetime) -> Finding:
    evidence = {
        "account": account.name, "parcels": str(judged.parcels), "needs": f"{amount(judged.needs)} calls a day",
        "gives": f"{amount(judged.gives or 0)} calls a day", "seen_every": span(judged.seen or DAY),
        "wanted_every": span(judged.wanted or DAY),
    }  # fmt: skip
    proposal = ", or ".join(ways(account, judged))
    return Finding(_KIND, f"account/{account.name}", Severity.WARNING, Act.ACT, evidence, now, proposal)
