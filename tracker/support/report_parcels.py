"""The parcels behind each number of a report, with the dates that prove it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, cast

import sqlalchemy as sa

from tracker.domain.performance import (
    DELAYS,
    LATE,
    LONGER,
    NO_ESTIMATE,
    NOT_DUE,
    ON_TIME,
    SLOW_HOOK,
    UNKNOWN,
    whole_day,
)
from tracker.domain.vocabulary import ShippingStatus
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.codec import SUMMARY
from tracker.store.tables import estimates, fulfilment_shipments, fulfilments, orders, parcel_facts, shipments
from tracker.support.reports import Asked, WrongQuestion

_F = parcel_facts.c
_PROBLEM = sa.cast(_F.problems, sa.Text)
_DELAY = sa.cast(_F.delays, sa.Text)
S = ShippingStatus
_FIRST_WORDS = (S.ON_HOLD, S.DELAYED, S.EXCEPTION, S.DELIVERY_FAILED, S.LOST, S.DESTROYED)


def _slow(delays: sa.ColumnElement[str] = _DELAY) -> sa.ColumnElement[bool]:
    return sa.or_(*(delays.like(f'%"{bound}":%') for bound in (*DELAYS, LONGER) if bound > SLOW_HOOK))


# the number of a report -> which parcels it counts
SHOWS: dict[str, Callable[[], sa.ColumnElement[bool]]] = {
    "parcels": sa.true,
    "handed_over": lambda: _F.handed_over.is_(True),
    "open": lambda: _F.end == "",
    "delivered": lambda: _F.end == S.DELIVERED,
    "returned": lambda: _F.returned.is_(True),
    "lost": lambda: _F.end.in_([S.LOST, S.DESTROYED]),
    "cancelled": lambda: _F.end == S.CANCELLED,
    "estimated": lambda: _F.on_first.in_([ON_TIME, LATE, NOT_DUE]),
    "on_time": lambda: _F.on_first == ON_TIME,
    "late": lambda: _F.on_first == LATE,
    "not_due": lambda: _F.on_first == NOT_DUE,
    "no_estimate": lambda: _F.on_first == NO_ESTIMATE,
    "not_known": lambda: _F.on_first == UNKNOWN,
    "last_on_time": lambda: _F.on_last == ON_TIME,
    "last_late": lambda: _F.on_last == LATE,
    "days": lambda: _F.days.isnot(None),
    "days_of": lambda: _F.days.isnot(None),
    "first_attempt": lambda: _F.attempt == "yes",
    "first_attempt_of": lambda: _F.attempt != "",
    "failed_attempt": lambda: _F.attempt == "no",
    "exceptions": lambda: sa.or_(*(_PROBLEM.like(f'%"{status}/%') for status in _FIRST_WORDS)),
    "silent": lambda: _F.silent.is_(True),
    "slow_webhooks": _slow,
}
PROBLEMS = sorted({*_FIRST_WORDS, S.DELIVERY_ATTEMPTED, S.RETURNED})  # `--show exception/weather`: one of a reason


def parcels_of(
    ctx: AppContext, show: str, ask: Asked, *, after: int | None = None, limit: int = 50, slowest: bool = False
) -> list[dict[str, Any]]:
    """List the parcels that a number counts (`show`: of SHOWS, or a problem such as `exception/weather`), the newest day first.

    `after`: the id of the last row seen. `slowest`: those that took the most business days first, without a next page. Each row
    has the dates that a claim rests on: first custody, the first and the last estimate, attempts, the delivery. Raises WrongQuestion.
    """
    mine = [_F.counts.is_(True)] if ask.store is None else queries.of_stores(_F.store, ask.store)
    where = [_shown(show), _F.day >= str(ask.since), _F.day <= str(ask.until), *mine]
    where += [
        column == value for column, value in ((_F.carrier, ask.carrier), (_F.service, ask.service)) if value is not None
    ]
    if ask.account is not None:
        slow = show == "slow_webhooks"  # counted for who sent them, whoever told most of the parcel
        where.append(_slow(_F.delays[ask.account].as_string()) if slow else _F.account == ask.account)
    if ask.lane is not None:
        where += [_F.origin == ask.lane[0], _F.destination == ask.lane[1]]
    order = [_F.day.desc(), _F.shipment_id.desc()]
    if slowest:
        order = [_F.days.desc(), *order]
    with ctx.store.read() as connection:
        if after is not None:
            day = sa.select(sa.func.max(_F.day)).where(_F.shipment_id == after, *mine)
            last = connection.execute(day).scalar_one()
            if last is None:
                raise WrongQuestion(f"after {after}: no parcel of that id is counted")
            where.append(sa.or_(_F.day < last, sa.and_(_F.day == last, _F.shipment_id < after)))
        rows = connection.execute(sa.select(parcel_facts).where(*where).order_by(*order).limit(limit)).all()
        return _told(connection, rows)


def _shown(show: str) -> sa.ColumnElement[bool]:
    if show in SHOWS:
        return SHOWS[show]()
    status, _, reason = show.partition("/")
    if status in PROBLEMS and reason.replace("_", "").isalnum():
        return _PROBLEM.like(f'%"{status}/{reason}"%'.replace("_", "\\_"), escape="\\")
    raise WrongQuestion(f"show {show!r}: one of {', '.join(SHOWS)}; or a problem such as exception/weather")


def _told(connection: sa.Connection, rows: Any) -> list[dict[str, Any]]:
    """Put beside each parcel its number, its orders and its dates."""
    ids = sorted({row.shipment_id for row in rows})
    s, e = shipments.c, estimates.c
    here = queries.among(connection, s.id, ids)
    parcels = {row.id: row for row in connection.execute(sa.select(s.id, s.carrier, s.number, s.summary).where(here))}
    promised: dict[int, list[Any]] = defaultdict(list)
    legs = sa.select(s.id, s.leg_of).where(queries.among(connection, s.leg_of, ids))
    whole = {row.id: row.leg_of for row in connection.execute(legs)} | {one: one for one in ids}
    told = sa.select(e.shipment_id, e.begins, e.ends, e.told_at).where(queries.among(connection, e.shipment_id, whole))
    for row in connection.execute(told.order_by(e.told_at, e.id)):
        promised[whole[row.shipment_id]].append(row)
    named = _orders(connection, ids)
    found = []
    for row in rows:
        parcel = parcels.get(row.shipment_id)
        summary = SUMMARY.validate_python(parcel.summary) if parcel is not None else None
        dates = promised[row.shipment_id]
        found.append(
            {
                "id": row.shipment_id, "parcel": f"{row.carrier} {parcel.number}" if parcel is not None else None,
                "orders": named[row.shipment_id, row.store] if row.store else [], "store": row.store, "day": row.day, "account": row.account,
                "service": row.service, "lane": f"{row.origin or '?'}-{row.destination or '?'}",
                "status": summary.status if summary is not None else None, "began": summary.custody_at if summary is not None else None,
                "first_estimate": _until(dates[0]) if dates else None, "first_told_at": dates[0].told_at if dates else None,
                "last_estimate": _until(dates[-1]) if dates else None, "attempts": summary.attempts if summary is not None else None,
                "delivered": summary.delivered_at if summary is not None else None, "days": row.days, "against_first": row.on_first,
                "against_last": row.on_last, "problems": row.problems, "silent": row.silent,
            }
        )  # fmt: skip
    return found


def _until(row: Any) -> date | datetime:
    """Return the day of an estimate that was told without an hour, else the moment at which it ends."""
    return whole_day(row.begins, row.ends) or cast(datetime, row.ends)


def _orders(connection: sa.Connection, ids: list[int]) -> dict[tuple[int, str], list[str]]:
    fs, f, o = fulfilment_shipments.c, fulfilments.c, orders.c
    select = (
        sa.select(fs.shipment_id, o.store, o.number)
        .join(fulfilments, f.id == fs.fulfilment_id)
        .join(orders, o.id == f.order_id)
        .where(queries.among(connection, fs.shipment_id, ids))
        .order_by(o.id)
    )
    found: dict[tuple[int, str], list[str]] = defaultdict(list)
    for row in connection.execute(select):
        if row.number not in found[row.shipment_id, row.store]:
            found[row.shipment_id, row.store].append(row.number)
    return found
