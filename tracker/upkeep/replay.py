"""Replay re-parses bodies that are still kept; remap reads stored codes again, no body needed.

Both only mark rows: the workers do the work. What they change causes no write unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import sqlalchemy as sa

from tracker.pipeline import unread
from tracker.pipeline.context import AppContext
from tracker.pipeline.ingest.parse import REMAP
from tracker.pipeline.receive import HANDSHAKE
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import inbox, scans

AT_ONCE = 500
SHIPMENTS_A_ROW = 50


def replay(
    ctx: AppContext,
    *,
    ids: Sequence[int] = (),
    state: str | None = None,
    account: str | None = None,
    partly: bool = False,
    write: bool = False,
) -> int:
    """Mark ended payloads as pending again. Returns how many. Those whose body is gone stay as they are, and handshakes.

    `partly`: those of which something was not read. When they ended before stays with them: they are not counted again.
    """
    conditions = [inbox.c.state != "pending", inbox.c.body.isnot(None), inbox.c.kind != HANDSHAKE]
    if ids:
        conditions.append(inbox.c.id.in_(ids))
    if state:
        conditions.append(inbox.c.state == state)
    if account:
        conditions.append(inbox.c.account == account)
    if partly:
        conditions.append(inbox.c.unread.is_not(sa.null()))
    total, last = 0, 0
    while True:
        with ctx.store.write() as connection:
            batch = list(
                connection.execute(
                    sa.select(inbox.c.id).where(inbox.c.id > last, *conditions).order_by(inbox.c.id).limit(AT_ONCE)
                ).scalars()
            )
            if not batch:
                unread.count_dead(ctx, connection, ctx.now())  # none of them is dead any more
                return total
            now = database_now(connection)
            total += connection.execute(
                inbox.update()
                .where(inbox.c.id.in_(batch), inbox.c.state != "pending")
                .values(state="pending", reason=None, crashes=0, due_at=now, quiet=not write)
            ).rowcount
            last = batch[-1]
        ctx.notify("ingest")


def remap(ctx: AppContext, account: str, *, code: str | None = None, write: bool = False) -> int:
    """Mark the shipments that an account told of, for their codes to be read again; `code`: of space/code only. Returns how many."""
    conditions = [scans.c.account == account]
    if code is not None:
        conditions.append(scans.c.space + "/" + scans.c.code == code)
    total, last = 0, 0
    while True:
        with ctx.store.read() as connection:
            found = sa.select(scans.c.shipment_id).where(scans.c.shipment_id > last, *conditions).distinct()
            batch = list(connection.execute(found.order_by(scans.c.shipment_id).limit(AT_ONCE)).scalars())
        if not batch:
            return total
        with ctx.store.write() as connection:
            now, business = database_now(connection), ctx.now()
            queries.store_payloads(
                connection,
                [
                    queries.payload_row(
                        account, REMAP, [orjson.dumps({"shipments": batch[i : i + SHIPMENTS_A_ROW]})], business, now,
                        quiet=not write,
                    )
                    for i in range(0, len(batch), SHIPMENTS_A_ROW)
                ],
            )  # fmt: skip
        total, last = total + len(batch), batch[-1]
        ctx.notify("ingest")
