"""How journeys end by what an account tells, counted by day; and the look whether that leapt (`tracker.domain.brake`).

Counted is news only: what is read again, told again after an outage of ours, first heard after one, or of a time before an
order named the parcel is none. The counts are the last rows that a batch locks, but for the account itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.domain.brake import (
    BY,
    ENDS,
    MOST_CODE,
    OTHERS,
    WEEKS,
    WITHDRAWN,
    Count,
    Leap,
    Step,
    excess,
    leaps,
    steps_of,
)
from tracker.domain.facts import StoredScan, Summary
from tracker.pipeline import brakes
from tracker.pipeline.context import AppContext
from tracker.pipeline.ingest.shipments import Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.store import queries
from tracker.store.tables import endings, scans, shipments

MOST_CODES = 200  # told apart of an account in a day: where a code is a text, each may be another
_E = endings.c
Whose = tuple[str, str]  # an account, and a carrier of whose parcels it tells


class News(NamedTuple):
    """Who tells news of a parcel, and from when on that is news."""

    account: str
    since: datetime


@dataclass
class Known:
    """What this process knows of an account's day: the counts as it last saw them, and the weeks before."""

    day: str
    today: dict[Step, Count] = field(default_factory=dict)
    past: dict[Step, Count] | None = None
    days: int = 0  # of the past, on which journeys ended


class _Ended(NamedTuple):
    shipment_id: int
    stood: str


def count(
    tx: Transaction,
    parcels: Shipments,
    news: Mapping[int, News],
    before: Mapping[int, Summary],
    fresh: Mapping[int, Sequence[StoredScan]],
) -> None:
    """Count the steps that a batch tells of parcels, and put a brake on where their ends leap."""
    counted: dict[Whose, dict[Step, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    ended: dict[Whose, list[_Ended]] = defaultdict(list)
    day = day_of(tx.now)
    for shipment_id, (account, since) in news.items():
        parcel = parcels[shipment_id]
        told = steps_of(before[shipment_id], parcel.summary, fresh.get(shipment_id, ()), parcel.starts_at, since)
        for step, ends in told:
            step = _told_apart(tx.ctx, (account, parcel.carrier), day, step)
            many = counted[account, parcel.carrier][step]
            many[0], many[1] = many[0] + 1, many[1] + ends
            if ends:
                ended[account, parcel.carrier].append(_Ended(shipment_id, step.stood))
    if not counted:
        return
    rows = [
        {"account": account, "carrier": carrier, "day": day, "stood": step.stood, "hours": step.hours, "steps": steps, "ends": ends}
        for (account, carrier), of_them in sorted(counted.items())
        for step, (steps, ends) in sorted(of_them.items())
    ]  # fmt: skip
    for row in queries.put(tx.connection, endings, rows, _more, returning=tuple(_E)):
        known = _known(tx.ctx, (row.account, row.carrier), day)
        known.today[Step(row.stood, row.hours)] = Count(row.steps, row.ends)
    for whose in sorted(ended):
        if found := _leapt(tx, whose, day):
            stood = {leap.stood for leap in found}
            batch = [one.shipment_id for one in ended[whose] if one.stood in stood]
            brakes.put_on(tx.ctx, tx.connection, whose, found, partial(_samples, tx, whose, batch), tx.now)


def prune(connection: Connection, now: datetime) -> None:
    """Drop what is older than the weeks that are looked at."""
    connection.execute(endings.delete().where(_E.day < day_of(now - WEEKS)))


def day_of(now: datetime) -> str:
    """Return the day (UTC) to which a moment counts."""
    return f"{now:%Y-%m-%d}"


def _known(ctx: AppContext, whose: Whose, day: str) -> Known:
    known: Known | None = ctx.endings.get(whose)
    if known is None or known.day != day:
        known = ctx.endings[whose] = Known(day)
    return known


def _told_apart(ctx: AppContext, whose: Whose, day: str, step: Step) -> Step:
    """Return the step as it is counted: of too many codes the later ones are one."""
    if step.stood.startswith(BY):
        today = _known(ctx, whose, day).today
        if step not in today and len(today) > MOST_CODES:
            return Step(BY + OTHERS, 0)
    return step


def _leapt(tx: Transaction, whose: Whose, day: str) -> list[Leap]:
    """Say what leapt, by the counts in the database; these are read only where our own memory of them comes near it."""
    watch, known = tx.ctx.config.root.watch, _known(tx.ctx, whose, day)
    half, seen = watch.brake_parcels / 2, dict(known.today)  # a copy: other threads add to it
    if sum(count.ends for step, count in seen.items() if step.stood.startswith(BY) or step.stood == WITHDRAWN) < half:
        return []
    if known.past is None:
        _read_past(tx.connection, whose, known, tx.now)
    assert known.past is not None
    own = _unproven(tx.ctx, whose[0])
    if excess(leaps(seen, known.past, known.days, watch.brake_leap, own)) < half:
        return []
    rows = tx.connection.execute(sa.select(endings).where(*_of(whose), _E.day == day))
    known.today = exact = {Step(row.stood, row.hours): Count(row.steps, row.ends) for row in rows}
    found = leaps(dict(exact), known.past, known.days, watch.brake_leap, own)
    return found if excess(found) >= watch.brake_parcels else []


def _unproven(ctx: AppContext, name: str) -> set[str]:
    """Return the codes whose meaning the merchant gave himself: nobody but him looked at it."""
    account = ctx.account(name)
    return {f"{space}/{code}"[:MOST_CODE] for space, code in account.codes} if account is not None else set()


def _read_past(connection: Connection, whose: Whose, known: Known, now: datetime) -> None:
    """Add up the weeks before today: once a day and process."""
    past = (*_of(whose), _E.day >= day_of(now - WEEKS), _E.day < known.day)
    added = sa.select(_E.stood, _E.hours, sa.func.sum(_E.steps), sa.func.sum(_E.ends)).where(*past)
    found = connection.execute(added.group_by(_E.stood, _E.hours))
    known.past = {Step(stood, hours): Count(int(steps), int(ends)) for stood, hours, steps, ends in found}
    days = sa.select(sa.func.count(sa.distinct(_E.day))).where(*past, _E.ends > 0)
    known.days = int(connection.execute(days).scalar_one())


def _samples(tx: Transaction, whose: Whose, batch: Iterable[int]) -> list[brakes.Sample]:
    """Return parcels that ended today by the codes by which those of this batch did: the newest, these among them."""
    account, carrier = whose
    s, p, mine = scans.c, shipments.c, set(batch)
    today = datetime.combine(tx.now.date(), datetime.min.time(), tx.now.tzinfo)
    rows = tx.connection.execute(
        sa.select(s.shipment_id, p.number, s.space, s.code)
        .join(shipments, p.id == s.shipment_id)
        .where(s.account == account, p.carrier == carrier, s.status.in_(ENDS), s.first_seen_at >= today)
        .order_by(s.id.desc())
        .limit(brakes.MOST_SAMPLES * 10)
    ).all()
    codes = {(row.space, row.code) for row in rows if row.shipment_id in mine}
    found = {row.shipment_id: brakes.Sample(row.shipment_id, row.number, f"{row.space}/{row.code}")
             for row in reversed(rows) if (row.space, row.code) in codes}  # fmt: skip
    missing = mine - found.keys()  # what ended by a scan of another day, or was taken back
    if missing:
        others = sa.select(p.id, p.number).where(queries.among(tx.connection, p.id, sorted(missing)))
        found |= {row.id: brakes.Sample(row.id, row.number, "") for row in tx.connection.execute(others)}
    return list(found.values())[-brakes.MOST_SAMPLES :]


def _of(whose: Whose) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return _E.account == whose[0], _E.carrier == whose[1]


def _more(insert: Any) -> Any:
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=["account", "carrier", "day", "stood", "hours"],
        set_={"steps": _E.steps + new.steps, "ends": _E.ends + new.ends},
    )
