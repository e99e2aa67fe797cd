"""What is asked of carriers next: by account, and of one account or order parcel by parcel, with why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.config.presets import spell
from tracker.domain.cadence import Cadence, pace_of
from tracker.domain.facts import Edd
from tracker.domain.plan import amount, span
from tracker.domain.vocabulary import ShippingStatus
from tracker.pipeline import budgets, feeds, state
from tracker.pipeline.context import AppContext
from tracker.pipeline.plan import verdicts, ways
from tracker.pipeline.poll.registering import waiting
from tracker.pipeline.state import OVERDUE_AFTER
from tracker.store import queries
from tracker.store.codec import SUMMARY
from tracker.store.engine import database_now
from tracker.store.tables import fulfilment_shipments, fulfilments, orders, shipments, watches
from tracker.support.explain import find

MOST_STORES = 3  # of those that wait, the longest first
_T = watches.c


def by_account(ctx: AppContext) -> list[dict[str, Any]]:
    """Return, by carrier account, what is due and overdue, who waits, what its budget gives, and the verdict."""
    now = ctx.now()
    with ctx.store.read() as connection:
        database, rows = database_now(connection), state.account_rows(connection)
        judged, waits, unregistered = verdicts(ctx, connection), _waits(connection, now), waiting(connection)
    shown = []
    for account in sorted(ctx.config.carrier_accounts(), key=lambda account: account.name):
        one, mine = judged[account.name], waits.get(account.name, [])
        row, budget = rows.get(account.name), account.budget
        given = budgets.calls(account, row.spent if row is not None else None, now)
        shown.append(
            {
                "account": account.name, "open": one.parcels, "due": sum(w["parcels"] for w in mine),
                "overdue": sum(w["overdue"] for w in mine), "waits": mine[:MOST_STORES], "feed": _feed(account, row, now),
                "unregistered": unregistered.get(account.name, 0), "quota": _quota(row), "quota_left": row.quota_left if row is not None else None,
                "budget": f"{budget.calls} in {spell(budget.per)}" if budget is not None else None,
                "limits": account.limits, "left": given.left if given is not None else None, "held": _held(ctx, row, now, database),
                "needs": round(one.needs, 1), "gives": round(one.gives, 1) if one.gives is not None else None,
                "wanted_every": one.wanted, "seen_every": one.seen, "suffices": one.suffices,
                "verdict": one.sentence([] if one.suffices else ways(account, one)),
            }
        )  # fmt: skip
    return shown


def wrong(ctx: AppContext) -> list[str]:
    """Return the carrier accounts whose entries in the configuration are wrong: nothing is asked of them."""
    stores = frozenset(ctx.config.store_names())
    return [name for name in sorted(ctx.config.accounts) if name not in stores and ctx.account(name) is None]


def _quota(row: Row[Any] | None) -> str | None:
    """Say how many numbers an account may still register, as far as is known."""
    if row is None or row.quota_left is None:
        return None
    return f"{row.quota_left:,} of {row.quota_of:,} left" if row.quota_of is not None else f"{row.quota_left:,} left"


def _feed(account: Account, row: Row[Any] | None, now: datetime) -> str | None:
    """Say how an account's feed is, and when it is read next; None where it has none."""
    if not account.has_feed:
        return None
    if row is None or row.swept_at is None:
        return "not read yet"
    if not feeds.is_whole(account, row.swept_at, now):
        return f"a gap since {row.swept_at:%Y-%m-%d %H:%M}Z"
    again = f", next {row.next_sweep_at:%H:%M}Z" if row.next_sweep_at is not None else ""
    return f"whole as of {row.swept_at:%Y-%m-%d %H:%M}Z{again}"


def _waits(connection: Connection, now: datetime) -> Mapping[str, list[dict[str, Any]]]:
    """Count what is due, by account and store, who waited longest first."""
    since = sa.func.coalesce(_T.overdue_since, _T.next_poll_at)
    late = sa.func.sum(sa.case((since < now - OVERDUE_AFTER, 1), else_=0))
    held = sa.and_(_T.overdue_since.isnot(None), _T.next_poll_at.isnot(None))
    due = (
        sa.select(
            _T.account, _T.store, sa.func.count().label("many"), late.label("late"), sa.func.min(since).label("since")
        )
        .where(sa.or_(_T.next_poll_at <= now, held))
        .group_by(_T.account, _T.store)
        .order_by(sa.func.min(since), _T.store)
    )
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in connection.execute(due):
        told = {
            "store": row.store,
            "parcels": int(row.many),
            "overdue": int(row.late),
            "since": row.since,
            "for": now - row.since,
        }
        found[row.account].append(told)
    return found


def of_account(ctx: AppContext, name: str, limit: int) -> list[dict[str, Any]]:
    """Return when an account is asked about its parcels next, and why, the first ones."""
    with ctx.store.read() as connection:
        return [row for _, row in looks(ctx, connection, _T.account == name, limit)]


def of_order(ctx: AppContext, what: str, limit: int) -> list[dict[str, Any]]:
    """Return when accounts are asked about the parcels of an order, or of a number; empty where nothing is known of it."""
    with ctx.store.read() as connection:
        found, parcels = find(connection, what)
        fs = fulfilment_shipments.c
        linked = (
            sa.select(fs.shipment_id)
            .join(fulfilments, fulfilments.c.id == fs.fulfilment_id)
            .where(fulfilments.c.order_id.in_([row.id for row in found]))
        )
        mine = sa.or_(_T.shipment_id.in_(linked), _T.shipment_id.in_([row.id for row in parcels]))
        return [row for _, row in looks(ctx, connection, mine, limit)]


def looks(
    ctx: AppContext, connection: Connection, which: sa.ColumnElement[bool], limit: int
) -> list[tuple[int, dict[str, Any]]]:
    """Return when accounts are asked about parcels (of `watches`) next, and why, the first ones, each behind its shipment's id."""
    s, now = shipments.c, ctx.now()
    asked = (
        sa.select(watches, s.carrier, s.number, s.status, s.summary, s.starts_at, s.edd_begins, s.edd_ends)
        .join(shipments, s.id == _T.shipment_id)
        .where(which, _T.chosen.isnot(None))
        .order_by(sa.nulls_last(_T.next_poll_at), _T.id)
        .limit(limit)
    )
    rows = connection.execute(asked).all()
    database, accounts = database_now(connection), state.account_rows(connection)
    whole = feeds.whole(ctx, connection, now)
    numbers = _orders(connection, [row.shipment_id for row in rows])
    return [
        (row.shipment_id, {
            "account": row.account, "store": row.store, "order": ", ".join(numbers[row.shipment_id]) or None,
            "parcel": f"{row.carrier} {row.number}", "status": row.status, "asked": row.checked_at, "next": row.next_poll_at,
            "urgent": row.urgent, "why": _why(row, ctx.config.cadence(row.account, row.carrier), now, fed=_is_fed(row, whole)),
            "held": _held(ctx, accounts.get(row.account), now, database), "chosen": row.chosen,
        })
        for row in rows
    ]  # fmt: skip


def _orders(connection: Connection, shipment_ids: Sequence[int]) -> Mapping[int, list[str]]:
    found = defaultdict[int, list[str]](list)
    named = queries.linked_to(connection, shipment_ids, orders.c.number, orders.c.id)
    for row in connection.execute(named.order_by(orders.c.id).distinct()):
        found[row.shipment_id].append(row.number)
    return found


def _is_fed(row: Row[Any], whole: Mapping[str, datetime]) -> bool:
    return row.fed_at is not None and row.account in whole


def _why(row: Row[Any], cadence: Cadence, now: datetime, *, fed: bool) -> str:
    """Say why a parcel is asked about when it is."""
    if row.next_poll_at is None and row.register_at is not None and row.registered_at is None:
        return f"its source must be told of it first: at {row.register_at:%Y-%m-%d %H:%M}Z"
    if row.next_poll_at is None:
        return f"never again: {row.tracking_state if row.status != ShippingStatus.DELIVERED else 'delivered, and looked after'}"
    if row.failures:
        return f"the last {row.failures} looks failed: tried again"
    summary = SUMMARY.validate_python(row.summary)
    if summary.status.terminal and summary.status is not ShippingStatus.LOST and not summary.disputed:
        return f"{summary.status}: looked at ever more rarely, as carriers correct themselves"
    if row.checked_at is None:
        return "it is new"
    if row.fed_at is not None and row.fed_at > row.checked_at and row.next_poll_at <= now:
        return "its feed told something that an answer about it must explain"
    edd = Edd(row.edd_begins, row.edd_ends) if row.edd_begins and row.edd_ends else None
    pace = pace_of(summary, cadence, now, began=row.starts_at, edd=edd, fed=fed)
    return f"{pace}: every {span(pace.interval(cadence))}"


def _held(ctx: AppContext, row: Row[Any] | None, now: datetime, database: datetime) -> str | None:
    """Say why an account is asked nothing just now; None where it is."""
    if row is None:
        return "it was never started with (`tracker up`)"
    account = ctx.account(row.name)
    if account is None:
        return "it is not in the configuration"
    if row.suspended_reason is not None:
        return f"suspended: {row.suspended_reason}"
    if row.paused_at is not None:
        return f"paused since {row.paused_at:%Y-%m-%d %H:%M}Z: `tracker resume {row.name}` goes on"
    if row.rests_until is not None and row.rests_until > now:
        return f"it rests until {row.rests_until:%Y-%m-%d %H:%M}Z"
    if row.blocked_until is not None and row.blocked_until > database:
        return f"it rests until {row.blocked_until:%Y-%m-%d %H:%M}Z"
    held = budgets.held(ctx.config.cadence(account.name), account, row.spent, now)
    return f"{held[0]} until {held[1]:%Y-%m-%d %H:%M}Z" if held is not None else None


def wait(waits: Sequence[Mapping[str, Any]]) -> str:
    """Say in a table who waits and for how long."""
    return ", ".join(f"{w['store'] or 'nobody'}: {amount(w['parcels'])} for {span(w['for'])}" for w in waits)
