"""Stage B: lock due orders, read their shipments, reconcile, and keep what was decided.

The wanted set of writes replaces the pending one: what is no longer wanted is superseded. An order whose decision raises
gets a finding and another try, and holds back nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.drift import Compared, compare
from tracker.domain.facts import Action, Decision, Finding, Order
from tracker.domain.reconcile import reconcile
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.hashing import digest
from tracker.pipeline import brakes, drifts, state, tell
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.traces import Span, spans_of
from tracker.store import queries
from tracker.store.codec import ACTION, FINDING, dump
from tracker.store.engine import database_now
from tracker.store.tables import decisions, findings, orders, outbox

ALIKE = sa.false(), sa.true()  # no decision is more urgent than another
AGAIN_AFTER_ERROR = timedelta(minutes=5)
STALE_NEWS = timedelta(hours=48)
BROKEN = "reconcile"  # who opens the finding of an order that raises
STAYS = (FindingKind.CORRECTION_AFTER_DELIVERED,)  # until a person dismisses it: what was told wrongly was told
WAITS = ("pending", brakes.HELD)
BY_HAND = ("order_note", "number")  # asked for by a person: no decision wants it or takes it back


@dataclass(frozen=True)
class Decided:
    """One order and what was decided for it."""

    row: Row[Any]
    order: Order
    account: Account
    decision: Decision
    compared: Compared
    span: Span | None = None


def run(ctx: AppContext) -> int:
    """Decide for one batch of due orders; where one makes it fail, for each order apart. Returns how many."""
    ids: list[int] = []
    try:
        return _decide(ctx, ids)
    except Exception:  # whatever it was: find the order that did it
        if not ids:
            raise
        for order_id in ids:
            _apart(ctx, order_id)
        ctx.notify("push")
        return len(ids)


def _apart(ctx: AppContext, order_id: int) -> None:
    """Decide for one order; what it raises is told of it, and it is tried again later."""
    try:
        _decide(ctx, [], orders.c.id == order_id)
    except Exception as error:
        with ctx.store.write() as connection:
            select = queries.locked(connection, sa.select(orders).where(orders.c.id == order_id))
            for row in connection.execute(select).all():
                _report_broken(ctx, connection, row, type(error).__name__, ctx.now())


def _decide(ctx: AppContext, ids: list[int], *only: sa.ColumnElement[bool]) -> int:
    """Decide for the orders whose turn it is, or for one of them; `ids` gets which these are, whatever happens."""
    with ExitStack() as over, ctx.store.write() as connection:
        now = ctx.now()
        given = {"now": now}
        found = (
            connection.execute(_due(ctx.store.sqlite).where(*only), {**given, "most": 1}).all()
            if only
            else queries.in_turns(connection, ctx.turns["decide"], _due, orders.c.store, ALIKE, given, ctx.store.batch)
        )
        rows = sorted(found, key=lambda row: row.id)
        ids += [row.id for row in rows]
        if not rows:
            return 0
        spans = over.enter_context(spans_of(ctx.traces, "decide", rows, {"store": "store", "order": "number"}))
        parcels = state.read_shipments(connection, [row.id for row in rows])
        known = state.read_orders(connection, rows)
        states = state.account_rows(connection)
        decided: list[Decided] = []
        broken: list[tuple[Row[Any], str]] = []
        for row in rows:
            account = ctx.account(row.store)
            if account is None:
                later = queries.UNTIL_MENDED if row.store in ctx.config.suspended else None
                connection.execute(orders.update().where(orders.c.id == row.id).values(reconcile_at=later))
                continue
            try:
                order = known[row.id]
                quiet = state.quiet_until(states, row)
                decision = reconcile(order, parcels[row.id], account.policy, now, connected_at=quiet)
                compared = compare(order, parcels[row.id], account.policy, now)
                decided.append(Decided(row, order, account, decision, compared, spans.get(row.id)))
            except Exception as error:  # ours, whatever it is: it must not stop the others
                broken.append((row, type(error).__name__))
        for row, said in broken:
            _report_broken(ctx, connection, row, said, now)
        ask = store_decisions(ctx, connection, decided, states, now) if decided else []
        crash_at("reconcile_before_commit")
    crash_at("reconcile_after_commit")
    drifts.poll_now(ctx, ask)
    ctx.notify("push")
    return len(rows)


def store_decisions(
    ctx: AppContext, connection: Connection, decided: Sequence[Decided], states: Mapping[str, Row[Any]], now: datetime
) -> list[str]:
    """Write decisions, the ledger, findings and the outbox of a batch. Returns the numbers to ask carriers about at once."""
    fresh, updates, entries = [], [], []
    for one in decided:
        decision = one.decision
        said = {
            "because": list(decision.because),
            "actions": [dump(ACTION, action) for action in decision.actions],
            "findings": [dump(FINDING, finding) for finding in decision.findings],
        }
        hashed = digest([said, one.account.policy_hash, one.account.mode])
        if hashed != one.row.decision_hash:
            fresh.append(
                {
                    "order_id": one.row.id,
                    "at": now,
                    "order_version": one.row.version,
                    "policy_hash": one.account.policy_hash,
                    **said,
                }
            )
        worst = max((f.severity for f in decision.findings), key=lambda s: s.rank, default=None)
        entry = drifts.drift_row(one.row, one.compared, now)
        entries.append((one.row, entry))
        again = [at for at in (decision.look_again_at, entry.look_again_at) if at is not None]
        updates.append(
            {
                "b_id": one.row.id,
                "reconcile_at": min(again, default=None),
                "decision_hash": hashed,
                "urgent": worst,
                "drift": entry.drift,
                "drift_at": entry.drift_at,
            }
        )
    if any(one.row.trace is not None for one in decided):  # what it came of is told
        updates = [update | {"trace": None} for update in updates]
    queries.put(connection, decisions, fresh)
    drifts.store_drifts(ctx, connection, entries, states, now)
    queries.change(connection, orders, updates)
    changed = {row["order_id"] for row in fresh}
    moved = [one for one in decided if one.row.id in changed]
    if moved:
        _outbox(ctx, connection, moved, states, now)
        _findings(ctx, connection, moved, states, now)
    for store, count in Counter(one.order.store for one in moved).items():
        ctx.count("tracker_decisions_total", count, store=store)
    return [number for _, entry in entries for number in entry.ask]


def _outbox(
    ctx: AppContext, connection: Connection, decided: Sequence[Decided], states: Mapping[str, Row[Any]], now: datetime
) -> None:
    """Replace what was wanted of orders; what rests on a brake waits in the state `held`."""
    known = connection.execute(_written(queries.is_sqlite(connection)), {"ids": [one.row.id for one in decided]})
    by_order: dict[int, list[Any]] = defaultdict(list)
    for held_row in known:
        by_order[held_row.order_id].append(held_row)
    database = database_now(connection)
    fresh, superseded = [], []
    actions = [(one.row.id, action) for one in decided for action in one.decision.actions]
    braked = brakes.resting(connection, brakes.on(states.values()), actions)
    for one in decided:
        held = by_order[one.row.id]
        pending = {row.key for row in held if row.state in WAITS}
        sink = tell.has_sink(ctx, one.account)
        restored = getattr(states.get(one.order.store), "restored_at", None)
        wanted: dict[str, tuple[Action, str]] = {}
        for action in one.decision.actions:
            notice = action.kind == "notice"
            writes = one.account.mode == "write" and (sink or not notice)
            old = now - action.happened_at > STALE_NEWS or (restored is not None and action.happened_at <= restored)
            if notice and old and action.key not in pending:
                continue  # old news is no news: a replay, a long outage, a backup that was put back
            wanted[action.key] = (action, "pending" if writes else "observed")
        superseded += [
            row.id
            for row in held
            if row.state in WAITS
            and row.kind not in BY_HAND
            and (row.key not in wanted or wanted[row.key][1] == "observed")
        ]
        there = {row.key for row in held if row.state not in ("observed", *WAITS)}
        there |= {
            row.key for row in held if row.key in wanted and (row.state in WAITS) == (wanted[row.key][1] in WAITS)
        }
        fresh += [
            {
                "key": key,
                "kind": action.kind,
                "store": action.store,
                "order_id": one.row.id,
                "action": dump(ACTION, action),
                "state": brakes.HELD if key in braked and state_ == "pending" else state_,
                "attempts": 0,
                "crashes": 0,
                "due_at": database,
                "rules": list(action.rules),
                "created_at": now,
                "held_by": braked[key].key if key in braked else None,
                "error": braked[key].said if key in braked else None,
                "trace": one.span.parent if one.span is not None else None,
            }
            for key, (action, state_) in wanted.items()
            if key not in there
        ]
    if superseded:
        queries.end(connection, outbox, superseded, "superseded", now, "no longer wanted")
    queries.put(connection, outbox, fresh)


def _findings(
    ctx: AppContext, connection: Connection, decided: Sequence[Decided], states: Mapping[str, Row[Any]], now: datetime
) -> None:
    wanted: list[tuple[int | None, Finding]] = []
    before: dict[int, datetime] = {}
    stand: dict[int, set[tuple[str, str]]] = {}
    for one in decided:
        store = states.get(one.order.store)
        if store is not None and store.connected_at is not None:
            before[one.row.id] = store.connected_at
        stand[one.row.id] = {(finding.subject, finding.kind) for finding in one.decision.findings}
        wanted += [(one.row.id, finding) for finding in one.decision.findings]
    opened = connection.execute(_opened(queries.is_sqlite(connection)), {"ids": list(stand)})
    over = [row.id for row in opened if (row.subject, row.kind) not in stand[row.order_id] and row.kind not in STAYS]
    if over:
        queries.close_findings(connection, findings.c.id.in_(over), now, "decision")
    tell.report_findings(ctx, connection, wanted, now, by="decision", digest_before=before)


# Statements that every batch says are made once.


@cache
def _due(sqlite: bool) -> sa.Select[Any]:
    due = (
        sa.select(orders)
        .where(orders.c.reconcile_at <= sa.bindparam("now"))
        .order_by(orders.c.reconcile_at, orders.c.id)
        .limit(sa.bindparam("most", type_=sa.Integer()))
    )
    return due if sqlite else due.with_for_update(skip_locked=True)


@cache
def _written(sqlite: bool) -> sa.Select[Any]:
    o = outbox.c
    here = queries.one_of(sqlite, o.order_id, "ids")
    return sa.select(o.id, o.key, o.kind, o.order_id, o.state).where(here, o.state != "superseded").order_by(o.id)


@cache
def _opened(sqlite: bool) -> sa.Select[Any]:
    f = findings.c
    here = queries.one_of(sqlite, f.order_id, "ids")
    by = f.opened_by.in_(("decision", BROKEN))
    return sa.select(f.id, f.order_id, f.subject, f.kind).where(here, f.closed_at.is_(None), by)


def _report_broken(ctx: AppContext, connection: Connection, row: Row[Any], error: str, now: datetime) -> None:
    ctx.log.warning("reconcile_failed", store=row.store, order=row.number, error=error)
    finding = Finding(
        FindingKind.RECONCILE_FAILED, f"{row.store}/{row.number}", Severity.URGENT, Act.ACT,
        {"order": row.number, "error": error},
    )  # fmt: skip
    tell.report_findings(ctx, connection, [(row.id, finding)], now, by=BROKEN)
    again = {
        "reconcile_at": now + AGAIN_AFTER_ERROR,
        "decision_hash": None,
    }  # what is decided then is news: it closes this
    connection.execute(orders.update().where(orders.c.id == row.id).values(**again))
