"""Correct a tracking number in the shop, by a person's word: looked at first, kept as a statement, written by the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tracker.domain.errors import TrackerError
from tracker.domain.facts import Action, Order, Parcel
from tracker.domain.numbers import clean, doubtful, is_plain
from tracker.domain.renumber import places_of, why_not
from tracker.domain.vocabulary import StatementKind
from tracker.hashing import digest
from tracker.pipeline.context import AppContext
from tracker.store.tables import accounts, fulfilment_shipments, fulfilments, orders, outbox, shipments
from tracker.support.statements import read_order, record_statement

KIND = "number"


@dataclass(frozen=True)
class Asked:
    """A correction that may be made: the numbers as carriers print them, the order, and what a person should know before."""

    order: Order
    old: str
    new: str
    remarks: tuple[str, ...]


def prepare(ctx: AppContext, row: sa.Row[Any], old: str, new: str) -> Asked:
    """Look whether a number may be corrected. Raises TrackerError with the sentence that says why not."""
    account = ctx.account(row.store)
    if account is None:
        raise TrackerError(f"no store {row.store!r} in the configuration")
    if not account.platform.takes_numbers:
        raise TrackerError(f"{row.store}: its platform takes no corrected numbers: correct it in the shop")
    if account.mode != "write":
        raise TrackerError(f"{row.store} only observes (mode: {account.mode}): correct it in the shop")
    old, new = clean(old), clean(new)
    if not is_plain(new):
        raise TrackerError(f"{new!r} is no tracking number")
    if old == new:
        raise TrackerError(f"{old} is the same number")
    order = read_order(ctx, row)
    if said := why_not(order, old, new):
        raise TrackerError(f"{row.number}: {said}")
    remarks = []
    with ctx.store.read() as connection:
        if others := connection.execute(_other(row.id, new)).first():
            raise TrackerError(f"{new} stands at {others.number} in {others.store} already")
        o = outbox.c
        waiting = sa.select(o.id, o.action).where(o.order_id == row.id, o.kind == KIND, o.state == "pending")
        for write in connection.execute(waiting):
            if old in (known := [parcel["number"] for parcel in write.action["parcels"]]):
                raise TrackerError(f"{' -> '.join(known)} waits to be written already: `tracker outbox`")
        held = sa.select(accounts.c.paused_at, accounts.c.suspended_reason).where(accounts.c.name == row.store)
        state = connection.execute(held).first()
    if state is None or state.paused_at is not None:
        remarks.append(f"{row.store} is paused: it is written once `tracker resume {row.store}` was said")
    elif state.suspended_reason is not None:
        remarks.append(f"{row.store} is suspended ({state.suspended_reason}): it is written once that is mended")
    carrier = next(p.carrier for part in places_of(order, old) for p in part.parcels if p.number == old)
    if doubtful(carrier, new):
        remarks.append(f"{new} has a check digit that does not fit{f' a number of {carrier}' if carrier else ''}")
    return Asked(order, old, new, tuple(remarks))


def ask_for(ctx: AppContext, row: sa.Row[Any], asked: Asked, by: str) -> None:
    """Keep who said so, and have the worker write it: once for each fulfilment that goes under the number."""
    now, order = ctx.now(), asked.order
    writes = [
        Action(
            KIND, f"{order.store}/{order.ref}/number/{digest([part.ref, asked.old, asked.new, by, now.isoformat()])[:16]}",
            order.store, order.ref, part.ref, happened_at=now, rules=(f"number:{by}",), number=order.number,
            parcels=tuple(replaced(part.parcels, asked)),
        )
        for part in places_of(order, asked.old)
        if part.live
    ]  # fmt: skip
    record_statement(ctx, row, StatementKind.NUMBER, f"{asked.old} -> {asked.new}", by, writes=writes)


def replaced(parcels: tuple[Parcel, ...], asked: Asked) -> tuple[Parcel, Parcel]:
    """Return the parcel that stands there, and the one that takes its place: of the same carrier, as the shop's word for it stays."""
    there = next(parcel for parcel in parcels if parcel.number == asked.old)
    return there, Parcel(there.carrier, asked.new, there.company)


def _other(order_id: int, number: str) -> sa.Select[Any]:
    """Select the other orders that name a number."""
    return (
        sa.select(orders.c.number, orders.c.store)
        .join(fulfilments, fulfilments.c.order_id == orders.c.id)
        .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
        .join(shipments, shipments.c.id == fulfilment_shipments.c.shipment_id)
        .where(shipments.c.number == number, orders.c.id != order_id)
        .limit(1)
    )
