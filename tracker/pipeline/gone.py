"""Orders that a shop holds no more, or lets us read no more.

One answer that does not hold an order says little: an order may be read before it is written everywhere, a shop may be half
away. So an order is gone that two reads did not find, some minutes apart, while the shop told of others in between; or that
the shop itself says was deleted. Nothing is written to it any more, a person is told, and its parcels are tracked to their end.
One that is read again is there again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.pipeline.context import AppContext
from tracker.pipeline.ingest.versions import save
from tracker.store import queries
from tracker.store.codec import ORDER
from tracker.store.tables import accounts, change_notices, orders

LOOK_AGAIN = timedelta(minutes=10)  # after a read that did not find an order
APART = timedelta(minutes=5)  # the two reads, at least


def lock_orders(connection: Connection, store: str, refs: list[str]) -> dict[str, Row[Any]]:
    """Lock some orders of a store, by ref: orders come before change notices in the order of locks."""
    o = orders.c
    here = sa.and_(o.store == store, queries.among(connection, o.ref, refs))
    rows = connection.execute(queries.locked(connection, sa.select(orders).where(here).order_by(o.id)))
    return {row.ref: row for row in rows}


def answers_since(connection: Connection, store: str, since: datetime) -> bool:
    """Say whether the shop told of its orders since then (business time)."""
    a = accounts.c
    return connection.execute(sa.select(a.name).where(a.name == store, a.answered_at > since)).first() is not None


def miss(connection: Connection, store: str, ref: str, now: datetime, business: datetime) -> None:
    """Note that a read did not find an order, and have it looked for once more (`now`: the database's time)."""
    insert = queries.upsert(connection, change_notices)
    row = {
        "account": store, "ref": ref, "noticed_at": now, "due_at": now, "attempts": 0, "missed_at": business,
        "not_before": business + LOOK_AGAIN,
    }  # fmt: skip
    first = sa.func.coalesce(change_notices.c.missed_at, insert.excluded.missed_at)
    values = {"missed_at": first, "not_before": insert.excluded.not_before}
    connection.execute(insert.on_conflict_do_update(index_elements=["account", "ref"], set_=values), row)


def leave(ctx: AppContext, connection: Connection, account: Account, row: Row[Any], business: datetime) -> None:
    """Take an order, locked, as gone: a version of its own, decided again.

    What lies further back than the shop's permission lets us read is out of sight, not gone.
    """
    if row.gone_at is not None:
        return
    reach = account.platform.reads_back()
    why = "out_of_sight" if reach is not None and business - row.placed_at > reach else "not_found"
    order = replace(ORDER.validate_python(row.facts), gone=why)
    save(connection, row, order, business, decide=True)
    ctx.log.info("order_gone", store=account.name, order=row.number, why=why)
    ctx.notify("decide")


def found(connection: Connection, row: Row[Any], business: datetime) -> None:
    """Take an order, locked, that was missed once as there: what was to be written is decided again."""
    connection.execute(orders.update().where(orders.c.id == row.id).values(decision_hash=None))
    queries.decide_now(connection, orders.c.id == row.id, business)
