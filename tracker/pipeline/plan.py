"""Whether budgets suffice: what open parcels need of each account, counted by the database, and one finding while they do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.model import Account
from tracker.config.plugins import carriers
from tracker.config.presets import spell
from tracker.domain.cadence import DEFAULT, NEAR, Cadence, Pace
from tracker.domain.facts import Finding
from tracker.domain.plan import DAY, Group, Verdict, amount, span, verdict
from tracker.domain.vocabulary import Act, FindingKind, Severity, ShippingStatus
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import Utc, findings, shipments, watches

_KIND = FindingKind.BUDGET_TOO_SMALL
_CUSTODY = [str(status) for status in ShippingStatus if status.custody]


def groups(
    ctx: AppContext, connection: Connection, names: Collection[str] | None = None
) -> Mapping[str, Sequence[tuple[Group, Cadence, int]]]:
    """Count the parcels that accounts are asked about, by what says how often; of all accounts, or of some.

    An end that is in doubt, which is rare, is counted as an end.
    """
    s, t, now = shipments.c, watches.c, ctx.now()
    since = _quiet_since(ctx, now)
    quiet = sa.and_(sa.func.coalesce(s.last_scan_at, s.starts_at) <= since, s.starts_at <= since)
    near = sa.and_(
        s.edd_begins.isnot(None), s.edd_begins <= now + NEAR, s.edd_ends >= now - NEAR, s.status.in_(_CUSTODY)
    )
    ended = sa.and_(s.closed_at.isnot(None), s.status != ShippingStatus.LOST)
    parts = [
        sa.case((part, 1), else_=0).label(name) for name, part in (("quiet", quiet), ("near", near), ("ended", ended))
    ]
    by_carrier = sorted(ctx.config.root.cadence.carriers)
    carrier = sa.case((s.carrier.in_(by_carrier), s.carrier)) if by_carrier else sa.null()
    counted = (
        sa.select(t.account, carrier.label("carrier"), s.status, *parts)
        .join(shipments, s.id == t.shipment_id)
        .where(t.next_poll_at.isnot(None), *([] if names is None else [queries.among(connection, t.account, names)]))
        .subquery()
    )
    by = list(counted.c)
    found: dict[str, list[tuple[Group, Cadence, int]]] = defaultdict(list)
    for row in connection.execute(sa.select(*by, sa.func.count().label("many")).group_by(*by)):
        pace = Pace(ShippingStatus(row.status), quiet=bool(row.quiet), near=bool(row.near))
        cadence = ctx.config.cadence(row.account, row.carrier)
        found[row.account].append((Group(pace, ended=bool(row.ended)), cadence, int(row.many)))
    return found


def _quiet_since(ctx: AppContext, now: datetime) -> sa.ColumnElement[datetime]:
    """Return since when a parcel must have been silent to be quiet: mostly one moment, else by account and carrier."""
    cadence = ctx.config.root.cadence
    own = defaultdict[timedelta, list[str]](list)
    for account in ctx.config.carrier_accounts():
        if account.cadence.quiet_after is not None:
            own[account.cadence.quiet_after].append(account.name)
    cases: list[Any] = [(watches.c.account.in_(names), _moment(now - after)) for after, names in own.items()]
    cases += [
        (shipments.c.carrier == carrier, _moment(now - part.quiet_after))
        for carrier, part in cadence.carriers.items()
        if part.quiet_after is not None
    ]
    otherwise = _moment(now - (cadence.quiet_after or DEFAULT.quiet_after))
    return sa.case(*cases, else_=otherwise) if cases else otherwise


def _moment(at: datetime) -> sa.ColumnElement[datetime]:
    return sa.literal(at, Utc)


def verdicts(ctx: AppContext, connection: Connection, *, budgeted: bool = False) -> dict[str, Verdict]:
    """Judge the budget of each carrier account; of those that have one only (`budgeted`)."""
    mine = [a for a in ctx.config.carrier_accounts() if a.budget is not None or not budgeted]
    counted = groups(ctx, connection, [a.name for a in mine] if budgeted else None) if mine else {}
    return {
        a.name: verdict(
            counted.get(a.name, ()), batch=a.carrier.batch,
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
        if plugin.carriers and speaks and plugin.batch > account.carrier.batch:
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
