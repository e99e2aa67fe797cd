"""How many orders each store has: a number that is kept, for counting a million takes a second."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.pipeline.context import AppContext
from tracker.store.engine import database_now
from tracker.store.tables import accounts, orders

A_MINUTE = timedelta(minutes=1)


def count_orders(ctx: AppContext, connection: Connection) -> None:
    """Keep how many orders each store has, up to one that was the newest a minute ago: so a count of a million stays short.

    By then every transaction that took a lower number has ended.
    """
    now = database_now(connection)
    newest, at = ctx.newest_order or (0, None)
    if at is not None and now - at < A_MINUTE:
        return
    for row in connection.execute(sa.select(accounts).where(accounts.c.kind == "store")).all():
        known = row.orders_counted_to or 0
        if newest > known:
            more = sa.and_(orders.c.store == row.name, orders.c.id > known, orders.c.id <= newest)
            count = connection.execute(sa.select(sa.func.count()).select_from(orders).where(more)).scalar_one()
            mine = accounts.update().where(accounts.c.name == row.name)
            connection.execute(mine.values(orders_counted=(row.orders_counted or 0) + count, orders_counted_to=newest))
    ctx.newest_order = (connection.execute(sa.select(sa.func.max(orders.c.id))).scalar() or 0, now)
