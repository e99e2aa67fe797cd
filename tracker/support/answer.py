"""The answer about an order in sentences, with all that stands around it: writes, who asks its carriers, what would change it.

`explain.explanation` puts it together; what is said, and how, is `tracker.domain.answer` and `tracker.domain.sentences`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.answer import Look, Standing, Subject, Write, answer, plain, quoted, rules, where
from tracker.domain.facts import UNIDENTIFIED, Edd
from tracker.domain.sentences import minute, spoken
from tracker.domain.texts import named
from tracker.domain.vocabulary import Act
from tracker.pipeline import drifts
from tracker.pipeline.context import AppContext
from tracker.pipeline.decide import STALE_NEWS
from tracker.store.codec import ACTION
from tracker.store.tables import outbox
from tracker.support.gaps import FEW


def told(subject: Subject) -> dict[str, Any]:
    """Return the answer about one order, and each rule that fired with its sentence."""
    subject = replace(subject, order=replace(subject.order, number=named(subject.order.number)))
    return {
        "where": list(where(subject)),
        "answer": list(answer(subject)),
        "rules": [{"rule": rule, "sentence": sentence} for rule, sentence in rules(subject)],
    }


def not_told(row: Row[Any], order: Mapping[str, Any], at: datetime | None, *, read: bool) -> dict[str, Any]:
    """Say of an order that nothing can be decided about it: it was not `read` by then, or its store is not configured any more.

    `order` is what `explain` shows of it, as of then: what shop and carriers said last is told all the same.
    """
    if not read:
        none = [f"Nothing had been read of order {named(row.number)} in {row.store} at {minute(at)}."]
        return {"where": none, "answer": none, "rules": []}
    when = (
        f"when it was read at {minute(order['known']['shop_at'])}"
        if at is None
        else f"by what was known at {minute(at)}"
    )
    said = f"The shop ({row.store}) said that order {named(row.number)} was {spoken(order['status'])} ({quoted(order['raw_status'])}) {when}."
    sides = [said, *(_carried(parcel) for parcel in order["parcels"])]
    why = f"The store {row.store} is not in the configuration, or its entry is wrong, so nothing is decided or written: `tracker check` tells."
    return {"where": sides, "answer": [*sides, why], "rules": []}


def of_all(found: Mapping[str, Any], part: str = "answer") -> list[str]:
    """Return the answer to what was asked: whose number it is, where several orders have it, then each order's `part` of it."""
    what, orders, loose = found["asked"], found["orders"], found["parcels_without_order"]
    fitting = [order for order in orders if what.lstrip("#") in (order["number"].lstrip("#"), order["ref"])]
    said = []
    if not orders and not loose:
        could = f"; as a tracking number it could be of {' or '.join(found['could_be'])}" if found["could_be"] else ""
        known = f" of {minute(found['at'])}" if found.get("at") else ""
        return [
            f"Nothing is known of {quoted(what)}: no store that is read tells of such an order, and no carrier of such a number{could}{known and ', as' + known}{unread(found)}."
        ]
    if orders and not fitting:
        whose = " and ".join(f"order {named(order['number'])} in {order['store']}" for order in orders)
        said.append(f"The number {plain(what)} belongs to {whose}.")
    if len(orders) > 1:
        stores = ", ".join(
            f"{named(order['number'])} in {order['store']} ({spoken(order['status'])})" for order in orders
        )
        said.append(f"{len(orders)} orders fit {quoted(what)}: {stores}; each is told by itself.")
    for order in orders:
        said += order[part]
    return said + [sentence for parcel in loose for sentence in _loose(parcel)]


def unread(found: Mapping[str, Any]) -> str:
    """Say which stores may know all the same of what nothing is known of; empty where all are read, or of a past moment."""
    names = found["not_read"] if not found.get("at") else []
    if not names:
        return ""
    which = ", ".join(names) if len(names) <= FEW else f"{len(names):,} stores"
    return f"; not read now: {which} (`tracker drift` says why)"


def _loose(parcel: Mapping[str, Any]) -> Iterator[str]:
    """Say what is known of a parcel that no order names."""
    who = parcel["number"] if parcel["carrier"].startswith(UNIDENTIFIED) else f"{parcel['carrier']} {parcel['number']}"
    yield f"No order that is read names the parcel {who}."
    yield _carried(parcel)


def _carried(parcel: Mapping[str, Any]) -> str:
    """Say what carriers said last of a parcel."""
    who = parcel["number"] if parcel["carrier"].startswith(UNIDENTIFIED) else f"{parcel['carrier']} {parcel['number']}"
    since, last = (_moment(parcel[name]) for name in ("since", "last_scan_at"))
    if since is None:
        return f"No carrier has told anything of {who} that says where it is."
    place = f", last seen in {plain(parcel['place'])}" if parcel["place"] else ""
    return f"The carrier says that {who} is {spoken(parcel['status'])} since {minute(since)}{place}; its last scan was {minute(last)}."


def _moment(value: str | datetime | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def standing(
    ctx: AppContext,
    connection: Connection,
    row: Row[Any],
    order: Mapping[str, Any],
    store: Row[Any] | None,
    mode: str,
    quiet: datetime | None,
    at: datetime | None,
) -> Standing:
    """Return what stands around an order now, or at a moment; `order` is what `explain` shows of it, as of then."""
    known = order.get("known") or {}
    paused = store.paused_at if store is not None else None
    return Standing(
        now=at or ctx.now(),
        mode=mode,
        past=at is not None,
        read_at=known.get("as_of"),
        gone_at=order["gone"]["since"] if order["gone"] else None,
        connected_at=quiet,
        paused_at=paused if at is None else None,
        news_from=_news_from(at or ctx.now(), store),
        writes=_writes(connection, order["writes"]),
        unknown=known.get("unknown", ()),
        changes=tuple(_changes(ctx, connection, row, order, store)) if at is None else (),
        looks={(p["carrier"], p["number"], p["generation"]): _look(p) for p in order["parcels"]},
    )


def _news_from(now: datetime, store: Row[Any] | None) -> datetime:
    """Return since when what happens is news at a moment: not what is old, nor what was told before a backup was put back."""
    restored = store.restored_at if store is not None else None
    old = now - STALE_NEWS
    return max(old, restored) if restored is not None and restored <= now else old


def _writes(connection: Connection, shown: Sequence[Mapping[str, Any]]) -> list[Write]:
    """Return the writes of an order, newest first, each as it is shown: it may be as of an earlier moment."""
    o = outbox.c
    ids = [write["id"] for write in shown]
    actions = {row.id: row.action for row in connection.execute(sa.select(o.id, o.action).where(o.id.in_(ids)))}
    return [
        Write(ACTION.validate_python(actions[w["id"]]), w["state"], w["ended_at"] or w["created_at"], w["error"] or "")
        for w in shown
    ]  # fmt: skip


def _look(parcel: Mapping[str, Any]) -> Look:
    """Say who is asked about a parcel, when last and when next: of those who may be asked, the soonest."""
    asked = [w["checked_at"] for w in parcel["watched_by"] if w["checked_at"] is not None]
    may = [w for w in parcel["watched_by"] if w["next_poll_at"] is not None and not w["suspended"] and not w["paused"]]
    first = min(may, key=lambda w: w["next_poll_at"], default=None)
    held = next((w for w in parcel["watched_by"] if w["next_poll_at"] is not None), None) if first is None else None
    promised = parcel["estimates"][0] if parcel["estimates"] else None
    return Look(
        account=first["account"] if first is not None else "",
        asked_at=max(asked, default=None),
        next_at=first["next_poll_at"] if first is not None else None,
        said=_held(held) if held is not None else "",
        first_promise=Edd(promised["begins"], promised["ends"]) if promised is not None else None,
    )


def _held(watch: Mapping[str, Any]) -> str:
    """Say why an account is not asked about a parcel now, without its carrier's words: a shop may read them."""
    if watch["suspended"]:
        return f"{watch['account']} is suspended (`tracker status` says why)"
    return f"{watch['account']} is paused, until `tracker resume {watch['account']}`"


def _changes(
    ctx: AppContext, connection: Connection, row: Row[Any], order: Mapping[str, Any], store: Row[Any] | None
) -> Iterator[str]:
    """Say what would change how an order stands: a command, a person's decision, something in the shop."""
    if store is not None and store.suspended_reason is not None:
        yield f"Nothing is read from or written to {row.store}: its credentials or its entry are refused; `tracker check` says why."
    for drift in drifts.of_order(ctx, connection, row.id) if row.drift else ():
        yield f"What would heal it: {drift['would_heal']}."
    for write in order["writes"]:
        if write["state"] in ("refused", "dead"):
            yield f"Once its cause is mended, `tracker outbox retry {write['id']}` tries that write again."
        elif write["state"] == "held" and write["held_by"]:
            account = write["held_by"].partition("/")[0]
            yield f"What {account} tells was held: look at `tracker findings --kind ends_leapt`, then `tracker resume {account}` releases it."
    for finding in order["findings"]:
        if finding["closed_at"] is not None:
            continue
        if finding["proposal"]:
            yield f"Against the finding {spoken(finding['kind'])}: {finding['proposal']}."
        elif finding["act"] == Act.ACT:
            closes = f"`tracker dismiss {finding['id']} --reason WHY` closes it once a person saw to it"
            yield f"The finding {spoken(finding['kind'])} ({finding['severity']}) is open: {closes}."
