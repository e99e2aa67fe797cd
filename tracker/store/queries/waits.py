"""Which accounts have something to be asked now, and of which stores: probes of an index each, never a walk over what is due."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa

from tracker.store.queries.dialect import one_of
from tracker.store.tables import accounts, change_notices, proofs, resends, watches

FEW = 8  # so far what waits is counted: who has so many has enough for his turn
_A, _T, _R, _S, _P = accounts.c, watches.c, change_notices.c, resends.c, proofs.c
_WAITS = ("urgent", "ordinary", "registrations", "notices", "sweeps", "resends", "proofs", "wanted", "audits")
_NOW = sa.bindparam("now", type_=_A.claimed_until.type)
_BUSINESS = sa.bindparam("business", type_=_T.next_poll_at.type)


def free(table: sa.Table) -> sa.ColumnElement[bool]:
    """Return the condition that nobody holds a row at `now`."""
    return sa.or_(table.c.claimed_until.is_(None), table.c.claimed_until < _NOW)


def noticed() -> tuple[sa.ColumnElement[bool], ...]:
    """Return what a change notice must be to be asked about at `now` and `business`."""
    return (
        _R.due_at <= _NOW, sa.or_(_R.not_before.is_(None), _R.not_before <= _BUSINESS), free(change_notices),
    )  # fmt: skip


def _few(of: sa.Select[Any], outer: sa.FromClause) -> Any:
    """Count what is selected, up to FEW, for each row of `outer`."""
    return sa.select(sa.func.count()).select_from(of.limit(FEW).correlate(outer).subquery()).scalar_subquery()


@cache
def accounts_that_wait(*, blocked: bool = False) -> sa.Select[Any]:
    """Select the accounts that may be asked at `now` and `business` for all that their rows say, and have something due.

    With each: how many polls (`urgent`, `ordinary`), `registrations`, `notices`, `sweeps`, `resends`, `proofs` and `audits` of hooks are due, whether a public key
    is `wanted`, and of one with a budget how many
    parcels are `known` to be urgent; up to FEW. `blocked`: also who rests by the
    database's clock. Of suspended, paused and resting accounts not one row is looked at (of a store a pause stops the writes only).
    """
    carrier = _A.kind == "carrier"

    def due(column: sa.Column[Any], *where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        some = sa.select(_T.id).where(_T.account == _A.name, column <= _BUSINESS, free(watches), *where)
        return sa.case((carrier, _few(some.order_by(column), accounts)), else_=0)

    known = sa.select(_T.id).where(_T.account == _A.name, _T.urgent == sa.true(), _T.next_poll_at.isnot(None))
    rested = sa.or_(_A.rests_until.is_(None), _A.rests_until <= _BUSINESS)
    unblocked = sa.true() if blocked else sa.or_(_A.blocked_until.is_(None), _A.blocked_until <= _NOW)
    never = sa.and_(_A.kind == "store", _A.next_sweep_at.is_(None))  # a carrier without it has no feed
    swept = sa.or_(never, _A.next_sweep_at <= _BUSINESS)
    again = (
        sa.select(_S.id)
        .where(_S.account == _A.name, _S.ended_at.is_(None), _S.next_at <= _BUSINESS, free(resends))
        .order_by(_S.next_at)
    )
    proving = sa.select(_P.id).where(_P.account == _A.name, _P.next_at <= _BUSINESS, free(proofs)).order_by(_P.next_at)
    keys = sa.or_(_A.keys_due_at.is_(None), _A.keys_due_at <= _NOW)
    counted = (
        sa.select(
            _A.name,
            due(_T.next_poll_at, _T.urgent == sa.true()).label("urgent"),
            due(_T.next_poll_at, _T.urgent == sa.false()).label("ordinary"),
            due(_T.register_at).label("registrations"),
            sa.case((sa.and_(carrier, _A.spent.isnot(None)), _few(known, accounts)), else_=0).label("known"),
            _few(sa.select(_R.id).where(_R.account == _A.name, *noticed()).order_by(_R.due_at), accounts).label(
                "notices"
            ),
            sa.case((sa.and_(swept, free(accounts)), 1), else_=0).label("sweeps"),
            sa.case((carrier, _few(again, accounts)), else_=0).label("resends"),
            sa.case((carrier, _few(proving, accounts)), else_=0).label("proofs"),
            sa.case((sa.and_(_A.keys_wanted.isnot(None), keys), 1), else_=0).label("wanted"),
            sa.case((sa.and_(_A.hooks_due_at <= _BUSINESS, _A.paused_at.is_(None)), 1), else_=0).label("audits"),
        )
        .where(_A.suspended_reason.is_(None), sa.or_(_A.paused_at.is_(None), _A.kind == "store"), rested, unblocked)
        .cte("counted")
        .prefix_with("MATERIALIZED")
    )
    waits = [counted.c[name] for name in _WAITS]
    some = sum(waits[1:], waits[0]) > 0
    return (
        sa.select(accounts, *waits, counted.c.known)
        .join(counted, counted.c.name == _A.name)
        .where(some)
        .order_by(_A.name)
    )


@cache
def stores_that_wait(column: sa.Column[Any]) -> sa.CompoundSelect[Any]:
    """Select the stores for which an account has watches due by a column, and how many: `urgent`, `ordinary`, up to FEW; None is one too."""
    mine = (_T.account == sa.bindparam("account", type_=_T.account.type), column.isnot(None))
    first = sa.select(sa.select(sa.func.min(_T.store)).where(*mine, _T.store > "").scalar_subquery().label("store"))
    seen = first.cte("stores", recursive=True)
    after = sa.select(sa.func.min(_T.store)).where(*mine, _T.store > seen.c.store).scalar_subquery()
    seen = seen.union_all(sa.select(after).where(seen.c.store.isnot(None)))

    def due(which: sa.ColumnElement[bool], urgent: sa.ColumnElement[bool]) -> Any:
        some = sa.select(_T.id).where(*mine, which, _T.urgent == urgent, column <= _BUSINESS, free(watches))
        return _few(some.order_by(column, _T.id), seen)  # in this order only the index by stores gives them

    none, one = _T.store.is_(None), _T.store == seen.c.store
    named = sa.select(seen.c.store, due(one, sa.true()).label("urgent"), due(one, sa.false()).label("ordinary"))
    unnamed = sa.select(sa.null(), due(none, sa.true()), due(none, sa.false()))
    return named.where(seen.c.store.isnot(None)).union_all(unnamed)


@cache
def oldest_watches(sqlite: bool, column: sa.Column[Any], *, store: bool) -> sa.Select[Any]:
    """Select the watches of an `account` and a `store` (not `store`: of none) that are due by a column, oldest first, `most` at most."""
    due = sa.select(_T.id).where(
        _T.account == sa.bindparam("account", type_=_T.account.type),
        _T.store == sa.bindparam("store", type_=_T.store.type) if store else _T.store.is_(None),
        _T.urgent == sa.bindparam("urgent", type_=_T.urgent.type),
        column <= _BUSINESS,
        free(watches),
    )
    due = due.order_by(column, _T.id).limit(sa.bindparam("most", type_=sa.Integer()))
    return due if sqlite else due.with_for_update(skip_locked=True)


@cache
def few_watches(sqlite: bool, column: sa.Column[Any]) -> sa.Select[Any]:
    """Select all watches of some `accounts` that are due by a column: where so few are due that all have room."""
    due = sa.select(_T.id, _T.account).where(
        one_of(sqlite, _T.account, "accounts"),
        _T.urgent.in_([sa.false(), sa.true()]),
        column <= _BUSINESS,
        free(watches),
    )
    return due if sqlite else due.with_for_update(skip_locked=True)
