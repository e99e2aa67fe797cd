"""Why a play may differ: what the installation knows of itself and would tell its operator."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import Connection

from tracker.domain.facts import UNIDENTIFIED
from tracker.pipeline.context import AppContext
from tracker.store.tables import GIVEN_UP, accounts, fulfilment_shipments, shipments, watches
from tracker.support import lists

MOST = 20


def why(ctx: AppContext) -> list[str]:
    """Say what was refused, not read, not watched or not known, once each: the first places to look where something differs."""
    with ctx.store.read() as connection:
        said = [*_accounts(connection), *_parcels(connection)]
    return list(dict.fromkeys([*said, *_payloads(ctx), *_findings(ctx)]))[:MOST]


def _accounts(connection: Connection) -> Iterator[str]:
    a = accounts.c
    for row in connection.execute(sa.select(a.name, a.suspended_reason, a.failing_why).order_by(a.name)):
        if row.suspended_reason:
            yield f"account {row.name} is suspended: {row.suspended_reason}"
        elif row.failing_why:
            yield f"account {row.name} gives no good answer: {row.failing_why}"


def _parcels(connection: Connection) -> Iterator[str]:
    s, t, unwatched = shipments.c, watches.c, fulfilment_shipments.c.unwatched
    nobody = sa.select(s.number, unwatched).join(fulfilment_shipments).where(unwatched.is_not(None))
    for row in connection.execute(nobody.order_by(s.id)):
        carrier = row.unwatched.partition("/")[2].removeprefix(UNIDENTIFIED)
        yield f"parcel {row.number} is asked about nowhere: no account speaks for {carrier!r}"
    for carrier, number in connection.execute(sa.select(s.carrier, s.number).where(s.linked.is_(False)).order_by(s.id)):
        yield f"parcel {number} of {carrier} was told of, and no order names it"
    lost = sa.or_(sa.text(GIVEN_UP), t.tracking_state.in_(("not_found", "error")))
    told = (
        sa.select(t.account, s.number, t.tracking_state, sa.func.coalesce(t.rejected_reason, t.said))
        .join(shipments)
        .where(lost)
        .order_by(t.id)
    )
    for account, number, state, reason in connection.execute(told):
        yield f"{account} has parcel {number} as {state}: {reason or 'no reason given'}"


def _payloads(ctx: AppContext) -> Iterator[str]:
    for row in lists.list_inbox(ctx, state="dead", limit=MOST):
        yield f"a {row['kind']} of {row['account']} could not be read: {row['reason']}"
    for row in lists.list_inbox(ctx, partly=True, limit=MOST):
        for piece in row["unread"]:
            yield f"a {row['kind']} of {row['account']} was read in part: {piece['path']}: {piece['problem']}"


def _findings(ctx: AppContext) -> Iterator[str]:
    for row in lists.list_findings(ctx, limit=MOST):
        yield f"finding {row['kind']} of {row['order'] or row['subject']}: {row['proposal'] or row['evidence']}"
