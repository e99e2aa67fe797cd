"""The calls of an account: how many its budget still gives, and the charge for each request, shared by all processes."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from tracker.config.model import Account
from tracker.domain.budget import Calls, Spent
from tracker.domain.cadence import Cadence
from tracker.domain.errors import BudgetSpent, Transient
from tracker.domain.vocabulary import ShippingStatus
from tracker.pipeline.context import AppContext
from tracker.pipeline.places import here
from tracker.store.tables import accounts


def calls(account: Account, spent: Spent | None, business: datetime) -> Calls | None:
    """Return what an account's budget gives now, by its row's `spent`: how many calls are left, when the next is free. None: no budget."""
    budget = account.budget
    return Calls(budget.calls, budget.per, spent, business) if budget is not None else None


def held(cadence: Cadence, account: Account, spent: Spent | None, business: datetime) -> tuple[str, datetime] | None:
    """Say why an account's budget lets nobody ask about what is not urgent, and until when; None where it does not forbid it."""
    given, every = calls(account, spent, business), urgent_every(cadence)
    if given is None or given.others(0, every):
        return None
    if not given.left:
        return "the account's budget is spent", given.free_at()
    return "the account's budget is nearly spent, and the rest kept for urgent parcels", given.others_at(0, every)


def urgent_every(cadence: Cadence) -> timedelta:
    """Return how often a parcel that is out for delivery is asked about."""
    return cadence.intervals[ShippingStatus.OUT_FOR_DELIVERY] * cadence.pace


def charge(ctx: AppContext, name: str) -> None:
    """Take one call from the budget that an account has by now, in a transaction of its own: none may be open in this thread.

    Raises BudgetSpent where it gives none; Transient where the database is away, as nobody may ask without knowing.
    """
    account = ctx.account(name)
    if account is None or account.budget is None:
        return
    try:
        with ctx.store.write() as connection:
            row = connection.execute(_spent(ctx.store.sqlite), {"account": name}).one_or_none()
            if row is None:
                return
            business = ctx.now()  # by now: the row may have been waited for
            given = Calls(account.budget.calls, account.budget.per, row.spent, business)
            if given.left:
                place = here()
                taken = given.take(urgent=place is None or place.urgent)
                connection.execute(_take(), {"account": name, "taken": taken})
                return
    except SQLAlchemyError as error:
        raise Transient(f"its budget cannot be read: {type(error).__name__}") from None
    free = given.free_at()
    raise BudgetSpent(f"the account's budget is spent until {free:%Y-%m-%d %H:%M:%S}Z", free - business)


@cache
def _spent(sqlite: bool) -> sa.Select[tuple[object]]:
    kept = sa.select(accounts.c.spent).where(accounts.c.name == sa.bindparam("account"))
    return kept if sqlite else kept.with_for_update()


@cache
def _take() -> sa.Update:
    taken = sa.bindparam("taken", type_=accounts.c.spent.type)
    return accounts.update().where(accounts.c.name == sa.bindparam("account")).values(spent=taken)
