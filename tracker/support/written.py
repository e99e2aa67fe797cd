"""What was written to shops since a moment, in numbers and in a sentence, and how that is stopped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import accounts, outbox

MOST = 10_000  # writes that are counted: 10,000 says "or more"
WAITS = ("pending", "held")
ENDS = ("sent", "refused", "dead")  # the other ends never came to the shop
_W, _A = outbox.c, accounts.c


def since(moment: datetime) -> list[sa.ColumnElement[bool]]:
    """Return the condition that a write ended since a moment, or waits still."""
    parts = [_W.ended_at >= moment, *(_W.state == state for state in WAITS)]  # each has an index
    return [_W.id.in_(sa.union_all(*(sa.select(_W.id).where(part) for part in parts)))]


def midnight(ctx: AppContext, store: str | None) -> datetime:
    """Return when today began: by the calendar of a store, of several by UTC."""
    account = ctx.account(store) if store is not None else None
    zone = ZoneInfo(account.policy.calendar.zone) if account is not None and account.is_store else UTC
    return ctx.now().astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def written(ctx: AppContext, store: str | None, begin: datetime) -> dict[str, Any]:
    """Return what was written to a store (None: to all) since a moment.

    `sent`, `refused`, `dead`, `pending`, `held`: how many; `kinds`: of those that were sent, by kind; `orders`: of how many orders;
    `paused`: the stores that are paused, since when; `said`: all of it in a sentence; `stop`: how it is stopped, or goes on.
    """
    mine = queries.of_stores(_W.store, store)
    with ctx.store.read() as connection:
        rows: list[Any] = []
        for state in (*ENDS, *WAITS):
            ended = [_W.ended_at >= begin] if state in ENDS else []
            some = (
                sa.select(_W.state, _W.kind, _W.order_id, _W.store).where(_W.state == state, *ended, *mine).limit(MOST)
            )
            rows += connection.execute(some).all()
        kept = sa.select(_A.name, _A.mode, _A.paused_at, _A.suspended_reason, _A.failing_since).where(
            _A.kind == "store", *queries.of_stores(_A.name, store)
        )
        states = {row.name: row for row in connection.execute(kept.order_by(_A.name))}
    told: dict[str, Any] = {"store": store, "since": begin}
    told |= {state: sum(row.state == state for row in rows) for state in (*ENDS, *WAITS)}
    sent = [row for row in rows if row.state == "sent"]
    told["kinds"] = {kind: sum(row.kind == kind for row in sent) for kind in sorted({row.kind for row in sent})}
    told["orders"] = len({row.order_id for row in sent})
    told["stores"] = len({row.store for row in sent})
    told["paused"] = {name: row.paused_at for name, row in states.items() if row.paused_at is not None}
    told["said"], told["stop"] = _said(told), _stop(told, states)
    return told


def _said(told: dict[str, Any]) -> str:
    where = told["store"] or (f"{told['stores']:,} stores" if told["stores"] != 1 else "1 store")
    begin = f"since {told['since']:%Y-%m-%d %H:%M}Z"
    if not told["sent"]:
        said = f"nothing was written to {told['store'] or 'any store'} {begin}"
    else:
        more = " or more" if told["sent"] >= MOST else ""
        kinds = ", ".join(f"{count:,} {_kinds(kind, count)}" for kind, count in told["kinds"].items())
        orders = f"{told['orders']:,} order{'' if told['orders'] == 1 else 's'}"
        said = f"{told['sent']:,}{more} {'write' if told['sent'] == 1 else 'writes'} went to {where} {begin}, for {orders}: {kinds}"
    others = [
        (told["refused"], "refused"),
        (told["dead"], "given up"),
        (told["pending"], "waiting"),
        (told["held"], "held by a brake"),
    ]
    beside = ", ".join(f"{count:,} {how}" for count, how in others if count)
    return f"{said}; {beside}" if beside else said


def _stop(told: dict[str, Any], states: dict[str, Any]) -> str:
    """Say how writes are stopped now, or that they are."""
    store, paused = told["store"], told["paused"]
    if store is None:
        some = f"; paused now: {', '.join(paused)}" if paused else "; none is paused now"
        return f"`tracker pause` stops all writes to every store within 5 seconds, `tracker pause STORE` to one{some}"
    if store in paused:
        return f"{store} is paused since {paused[store]:%Y-%m-%d %H:%M}Z: nothing is written; `tracker resume {store}` goes on"
    if store not in states:
        return f"{store} was never started with (`tracker up`): nothing is written to it"
    if states[store].mode != "write":
        return f"{store} is in mode {states[store].mode}: nothing is written to it"
    stops = f"`tracker pause {store}` stops all writes to {store} within 5 seconds"
    if states[store].suspended_reason is not None:
        return f"{store} is suspended (`tracker check` says why): nothing is written to it now; once that is mended, {stops}"
    if states[store].failing_since is not None:
        return f"{stops}; it is not paused now, and does not answer since {states[store].failing_since:%Y-%m-%d %H:%M}Z"
    if told["held"]:
        return f"{stops}; it is not paused now; what a brake holds is not written before `tracker resume ACCOUNT` (`tracker status`)"
    return f"{stops}; it is not paused now"


def _kinds(kind: str, count: int) -> str:
    return kind.replace("_", " ") + ("" if count == 1 else "es" if kind.endswith("s") else "s")
