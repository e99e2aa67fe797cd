"""What is due at a moment of a play: asked of the tables, by both clocks."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from tracker.pipeline.context import AppContext
from tracker.pipeline.decide import BY_HAND
from tracker.pipeline.poll.due import held_back
from tracker.pipeline.push import NOTICE
from tracker.store.engine import database_now
from tracker.store.tables import (
    accounts,
    change_notices,
    inbox,
    orders,
    outbox,
    resends,
    watches,
)

# what is due at a moment: asked some ten times a moment, so made once
_NOW, _BUSINESS = sa.bindparam("now", type_=inbox.c.due_at.type), sa.bindparam("business", type_=inbox.c.due_at.type)
_AT_WORK = sa.select(
    sa.or_(
        *(
            sa.exists().where(table.c.claimed_until > _NOW).select_from(table)
            for table in (inbox, outbox, watches, change_notices, resends, accounts)
        )
    ),
    sa.exists().where(orders.c.reconcile_at <= _BUSINESS).select_from(orders),
)
_UNREAD = sa.select(inbox.c.due_at).where(inbox.c.state == "pending")
_USABLE = sa.select(accounts).where(
    accounts.c.suspended_reason.is_(None),
    sa.or_(accounts.c.paused_at.is_(None), accounts.c.kind == "store"),
    sa.or_(accounts.c.rests_until.is_(None), accounts.c.rests_until <= _BUSINESS),
)
_UNSENT = (
    sa.select(outbox.c.order_id, outbox.c.kind, outbox.c.store, outbox.c.due_at)
    .where(outbox.c.state == "pending")
    .order_by(outbox.c.id)
)
_TO_READ = sa.select(change_notices.c.account, change_notices.c.due_at).where(
    sa.or_(change_notices.c.not_before.is_(None), change_notices.c.not_before <= _BUSINESS)
)
_LOOKS = (
    sa.select(watches.c.account)
    .where(sa.or_(watches.c.next_poll_at <= _BUSINESS, watches.c.register_at <= _BUSINESS))
    .distinct()
)


def due_work(ctx: AppContext) -> tuple[str | None, datetime | None]:
    """Name the queue that still has work at this moment, else say when the next work is due by the database's clock."""
    business = ctx.now()
    with ctx.store.read() as connection:
        now = database_now(connection)
        times = {"now": now, "business": business}
        at_work, undecided = connection.execute(_AT_WORK, times).one()
        if at_work or undecided:
            return ("poll" if at_work else "decide"), None
        due: list[tuple[datetime, str]] = [(at, "ingest") for at in connection.execute(_UNREAD).scalars()]
        held = held_back(ctx, connection, now, business)  # business time gives them their next call
        usable = {row.name: row for row in connection.execute(_USABLE, times) if row.name not in held}
        rests = {name: row.blocked_until or now for name, row in usable.items()}
        first: set[tuple[int, bool]] = set()  # the oldest of an order goes first
        for write in connection.execute(_UNSENT):
            shop, whose = usable.get(write.store), (write.order_id, write.kind == NOTICE)
            account = ctx.account(write.store)
            observed = account is None or account.mode != "write"  # a note waits there; nothing else may be pending
            waits = observed and write.kind in BY_HAND
            if shop is None or shop.paused_at is not None or waits or whose in first:
                continue
            first.add(whose)
            left, resets = shop.writes_left, shop.writes_reset_at
            spent = left is not None and left <= 0 and resets is not None
            due.append((max(write.due_at, rests[write.store], resets if spent else now), "push"))
        for read in connection.execute(_TO_READ, times):
            if read.account in usable:
                due.append((max(read.due_at, rests[read.account]), "poll"))
        for account in ctx.config.file_accounts:
            row = usable.get(account.name)
            if row is not None and (row.files_at is None or row.files_at <= business):
                due.append((rests[account.name], "files"))
        looks = connection.execute(_LOOKS, times).scalars()
        due += [(rests[name], "poll") for name in looks if name in usable]
        for name, row in usable.items():
            new = row.kind == "store" and row.next_sweep_at is None
            if new or (row.next_sweep_at is not None and row.next_sweep_at <= business):
                due.append((rests[name], "poll"))
    soonest = min(due, default=None)
    if soonest is None:
        return None, None
    return (soonest[1], None) if soonest[0] <= now else (None, soonest[0])
