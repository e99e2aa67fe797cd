"""What people say of an order, and what the gates answer them. Every statement is kept, with who said it and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tracker.domain.answer import fields_of
from tracker.domain.errors import TrackerError
from tracker.domain.facts import Action, Order
from tracker.domain.gates import Gate
from tracker.domain.gates import may as gate_of
from tracker.domain.sentences import say, spoken
from tracker.domain.vocabulary import OrderStatus, StatementKind
from tracker.hashing import digest
from tracker.pipeline import state
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.codec import ACTION, dump
from tracker.store.engine import database_now
from tracker.store.tables import findings, orders, outbox, statements

RECORDS = (
    StatementKind.VERIFIED,
    StatementKind.INSPECTED,
    StatementKind.HANDED_OVER,
    StatementKind.PROOF,
    StatementKind.ACCEPTED,
)


def find_order(ctx: AppContext, number: str, store: str | None = None) -> sa.Row[Any]:
    """Return the one order that a number or ref names. Raises TrackerError for none, and for several (say --store)."""
    names = {number, f"#{number.lstrip('#')}"}
    o = orders.c
    statement = sa.select(orders).where(sa.or_(o.number.in_(names), o.ref == number))
    with ctx.store.read() as connection:
        rows = connection.execute(statement.where(o.store == store) if store else statement).all()
    if not rows:
        raise TrackerError(f"no order {number!r}{f' in store {store}' if store else ''} is known")
    if len(rows) > 1:
        raise TrackerError(f"{number!r} names an order in {', '.join(sorted(r.store for r in rows))}: say --store")
    return rows[0]


def open_findings(ctx: AppContext, order_ids: Sequence[int]) -> list[sa.Row[Any]]:
    """Return the open findings about orders: `id`, `kind`, `severity`, and the order's `number`, the newest first."""
    f = findings.c
    select = sa.select(f.id, f.kind, f.severity, orders.c.number).join(orders, orders.c.id == f.order_id)
    with ctx.store.read() as connection:
        here = queries.among(connection, f.order_id, order_ids)
        return list(connection.execute(select.where(here, f.closed_at.is_(None)).order_by(f.id.desc())))


def record_statement(
    ctx: AppContext,
    order: sa.Row[Any],
    kind: StatementKind,
    text: str,
    by: str,
    *,
    status: OrderStatus | None = None,
    override: bool = False,
    to_shop: bool = False,
    writes: Sequence[Action] = (),
) -> None:
    """Keep a statement and have the order looked at again. `to_shop`: attach a note to the order in the shop too.

    `writes` are what a person asks for with it. Raises TrackerError where the platform takes no notes.
    """
    account = ctx.account(order.store)
    if to_shop and (account is None or not account.platform.takes_notes):
        raise TrackerError(f"{order.store}: its platform takes no notes; without --to-shop the note is kept here")
    with ctx.store.write() as connection:
        now = ctx.now()
        queries.decide_now(connection, orders.c.id == order.id, now)
        connection.execute(
            statements.insert(),
            {"order_id": order.id, "kind": kind, "status": status, "text": text, "by": by, "at": now,
             "override": override},
        )  # fmt: skip
        if to_shop:
            key = f"{order.store}/{order.ref}/note/{digest([text, by, now.isoformat()])[:16]}"
            note = Action(
                "order_note",
                key,
                order.store,
                order.ref,
                happened_at=now,
                number=order.number,
                text=text,
                rules=(f"note:{by}",),
            )
            writes = (*writes, note)
        database = database_now(connection)
        for action in writes:
            connection.execute(
                queries.upsert(connection, outbox).on_conflict_do_nothing(),
                {"key": action.key, "kind": action.kind, "store": order.store, "order_id": order.id, "action": dump(ACTION, action),
                 "state": "pending", "attempts": 0, "crashes": 0, "due_at": database,
                 "rules": list(action.rules), "created_at": now},
            )  # fmt: skip
    ctx.notify("decide")
    ctx.notify("push")


def read_order(ctx: AppContext, order: sa.Row[Any]) -> Order:
    """Return the order of a row, with its history and statements."""
    with ctx.store.read() as connection:
        return state.read_orders(connection, [order])[order.id]


def may(
    ctx: AppContext,
    order: sa.Row[Any],
    to: OrderStatus,
    *,
    reason: str = "",
    by: str = "",
    at: datetime | None = None,
) -> Gate:
    """Ask a gate; an answer that took a reason keeps it (KE-11).

    `at`: what it answered at an earlier moment, by the policy, the order and the scans of then; nothing is kept.
    """
    account = ctx.account(order.store)
    if account is None:
        raise TrackerError(f"no store {order.store!r} in the configuration")
    with ctx.store.read() as connection:
        known = state.read_orders(connection, [order], until=at).get(order.id)
        if known is None:
            raise TrackerError(f"the order {order.number!r} was not known at {at:%Y-%m-%d %H:%M}Z")
        if at is None:
            parcels, policy = state.read_shipments(connection, [order.id])[order.id], account.policy
        else:
            parcels = state.shipments_at(connection, [order.id], at)[order.id]
            policy = state.Past(connection).in_force(account, at).policy
    answer = gate_of(known, parcels, policy, to, reason=reason)
    answer = replace(answer, sentence=say(f"gate:{answer.rule}", fields_of(known, parcels, to=spoken(to))))
    if reason and by and at is None:
        said = f"{to}: {'yes' if answer.allowed else 'no'} ({answer.rule}): {reason}"
        record_statement(ctx, order, StatementKind.GATE_REASON, said, by, status=to)
    return answer
