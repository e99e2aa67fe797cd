"""Stage C: do the writes. Claim, read the order again, drop what no longer fits, push, keep what the receipt proves.

The push itself happens between two commits, so it may happen twice: platforms look before they write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import (
    BadPayload,
    NotFound,
    RateLimited,
    Refused,
    SourceError,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Action, Finding, Order, Receipt
from tracker.domain.reconcile import apply, reconcile
from tracker.domain.reconcile.case import US
from tracker.domain.renumber import why_not_now
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import backoff, brakes, budgets, gone, tell
from tracker.pipeline.context import AppContext
from tracker.pipeline.dead_writes import tell_dead
from tracker.pipeline.decide import BY_HAND
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.ingest.versions import save
from tracker.pipeline.mails import queue as mails
from tracker.pipeline.places import WRITES, GaveWay, staying
from tracker.pipeline.read_again import known, read_again
from tracker.pipeline.telling import events
from tracker.pipeline.traces import inside, spans_of
from tracker.store import queries
from tracker.store.codec import ACTION, ORDER, RECEIPT, dump
from tracker.store.engine import database_now
from tracker.store.tables import accounts, findings, orders, outbox

WRITES_AT_ONCE = 10
NOTICE, HOUR = "notice", timedelta(hours=1)
_ALONE = (*BY_HAND, "field", "tag")  # whether the shop takes one of these says nothing of its other writes
_FAILED = (FindingKind.WRITE_REFUSED, FindingKind.WRITE_DEAD)


def run(ctx: AppContext) -> int:
    """Push one batch and wait for it, for who works queues by hand. Returns how many writes were taken up."""
    rows = _claim(ctx)
    if rows:
        crash_at("push_claimed")
        _work(ctx, rows)
    return len(rows)


def begin(ctx: AppContext) -> int:
    """Begin the writes of as many stores as there are places for, those of a store one after the other; nobody waits for them.

    Returns how many writes were taken up.
    """
    taken = 0
    with ctx.places.reserving(writes=True) as room:
        with ctx.store.read() as connection:
            waiting = connection.execute(queries.in_turn(), _times(ctx, connection)).all()
        room.failing = frozenset(store.name for store in waiting if store.failures is not None)
        for store in waiting:
            if (place := room.take(WRITES, store.name)) is None:
                continue
            if rows := _turn(ctx, store.name):
                crash_at("push_claimed")
                room.begin(place, partial(_work, ctx, rows), partial(_wake, ctx))
                taken += len(rows)
            else:
                room.back([place])
    return taken


def _wake(ctx: AppContext) -> None:
    """Claim again where a store waited for a place, or for its own turn to end."""
    if ctx.places.short(writes=True):
        ctx.notify("push")


def _work(ctx: AppContext, rows: Sequence[Row[Any]]) -> SourceError | None:
    """Do claimed writes of one store, in their order. Returns what was wrong with its wire."""
    with ctx.leases.holding(outbox, {row.id: row.attempts for row in rows}):
        down: SourceError | None = None
        for row in rows:
            down = _hand_back(ctx, row, "the store is away", down) if down is not None else _try(ctx, row)
        return down


def _try(ctx: AppContext, row: Row[Any]) -> SourceError | None:
    """Do one write, unless it is ours no more or its store is paused. Returns what was wrong with the store's wire."""
    account = ctx.account(row.store)
    with ctx.store.write() as connection:
        ours = queries.renew(connection, outbox, row, queries.LEASE)
    if not ours:
        return None
    paused, braked = brakes.in_force(ctx, row.store)
    if account is None or paused:
        return _hand_back(ctx, row, "the store is paused")
    if brakes.hold(ctx, row, braked):
        return None
    try:
        about = {"store": "store", "kind": "kind"}
        with spans_of(ctx.traces, "push", [row], about, roots=True) as spans, inside(spans.get(row.id)):
            return _push(ctx, account, row)
    except Exception as error:  # a bug of ours or of a plugin: crashes stays counted, so poison ends
        ctx.log.warning("push_failed", outbox=row.id, store=row.store, error=type(error).__name__)
        with ctx.store.write() as connection:
            now = database_now(connection)
            due = now + queries.backoff(row.attempts)
            queries.release(connection, outbox, row, due, type(error).__name__, crashed=True)
    return None


def _hand_back(ctx: AppContext, row: Row[Any], why: str, down: SourceError | None = None) -> SourceError | None:
    """Give a write back; it is not done now. Returns `down`: who is away takes nobody's turn, and who gave way has his at once."""
    with ctx.store.write() as connection:
        due = database_now(connection) + timedelta(seconds=0 if isinstance(down, GaveWay) else 5)
        queries.release(connection, outbox, row, due, why, crashed=False)
    return down


def _claim(ctx: AppContext) -> list[Row[Any]]:
    """Claim the oldest pending write of each order of the store whose turn it is, within its hourly budget.

    A transaction a store: who waits for a store's row holds no other's.
    """
    with ctx.store.read() as connection:
        stores = connection.execute(queries.in_turn(), _times(ctx, connection)).scalars().all()
    for name in stores:
        if rows := _turn(ctx, name):
            return rows
    return []


def _times(ctx: AppContext, connection: Connection) -> dict[str, datetime]:
    return {"now": database_now(connection), "business": ctx.now()}


def _turn(ctx: AppContext, store: str) -> list[Row[Any]]:
    """Claim what a store may write now; nothing where it only observes."""
    account = ctx.account(store)
    if account is None or account.mode != "write":
        return []
    dead: list[Row[Any]] = []
    with ctx.store.write() as connection:
        rows = _take_turn(ctx, connection, account, dead)
    _died(ctx, dead)
    return rows


def _take_turn(ctx: AppContext, connection: Connection, account: Account, dead: list[Row[Any]]) -> list[Row[Any]]:
    """Claim a store's writes; `dead` gets those that crashed too often.

    The store's row is locked first here, and last elsewhere: so nothing else is waited for while it is held. Writes that
    somebody has are passed over, and what died is told in a transaction of its own, as a finding waits for its order.
    """
    now = database_now(connection)
    left = _writes_left(ctx, connection, account, now, ctx.now())
    if not left:
        return []
    older = outbox.alias("older")
    told = (older.c.kind == NOTICE) == (outbox.c.kind == NOTICE)  # a sink that is away holds back no write
    first = ~(
        sa.select(older.c.id)
        .where(older.c.order_id == outbox.c.order_id, older.c.state == "pending", older.c.id < outbox.c.id, told)
        .exists()
    )
    kept = []
    mine = (outbox.c.store == account.name, first)
    for row in queries.claim(connection, outbox, WRITES_AT_ONCE, *mine, died=dead.extend):
        if row.kind == NOTICE:
            kept.append(row)
        elif left > 0:
            left -= 1
            kept.append(row)
        else:
            queries.release(connection, outbox, row, now, "write budget", crashed=False)
    if kept:
        connection.execute(accounts.update().where(accounts.c.name == account.name).values(turn_at=now))
    return kept


def _died(ctx: AppContext, rows: Sequence[Row[Any]]) -> None:
    """Tell of writes that crashed too often. Whoever dies before that is told of by the watch."""
    if not rows:
        return
    for row in rows:
        ctx.count("tracker_writes_total", store=row.store, state="dead")
    with ctx.store.write() as connection:
        tell_dead(ctx, connection, rows)
        ids = queries.among(connection, outbox.c.id, [row.id for row in rows])  # lock order: orders before outbox
        connection.execute(outbox.update().where(ids).values(ended_at=ctx.now()))  # the claim told it by the database


def _writes_left(ctx: AppContext, connection: Connection, account: Account, now: datetime, business: datetime) -> int:
    state = connection.execute(
        queries.locked(connection, sa.select(accounts).where(accounts.c.name == account.name))
    ).one_or_none()
    if (
        state is None
        or state.paused_at
        or state.suspended_reason
        or (state.blocked_until and state.blocked_until > now)
    ):
        return 0
    if state.rests_until and state.rests_until > business:
        return 0
    given = budgets.calls(account, state.spent, business)
    if given is not None and not given.left:
        return 0
    left = state.writes_left
    if left is None or state.writes_reset_at is None or state.writes_reset_at <= now:
        left = account.writes_per_hour
        connection.execute(
            accounts.update()
            .where(accounts.c.name == account.name)
            .values(writes_left=left, writes_reset_at=now + HOUR)
        )
        subject = f"store/{account.name}"
        queries.close_findings(
            connection,
            sa.and_(findings.c.subject == subject, findings.c.kind == FindingKind.WRITES_HELD),
            business,
            "push",
        )
    if left <= 0:
        finding = Finding(
            FindingKind.WRITES_HELD, f"store/{account.name}", Severity.WARNING, Act.ACT,
            {"store": account.name, "writes_per_hour": str(account.writes_per_hour)},
        )  # fmt: skip
        tell.report_findings(ctx, connection, [(None, finding)], business, by="push")
        return 0
    return int(left)


def _push(ctx: AppContext, account: Account, row: Row[Any]) -> SourceError | None:
    """Do one write. Returns what was wrong with the store's wire."""
    action = ACTION.validate_python(row.action)
    if action.kind == NOTICE:
        _notify(ctx, account, row, action)
        return None
    client = ctx.client(account)
    try:
        try:
            before = read_again(ctx, account, action.order)
        except NotFound:
            _missed(ctx, account, row, action)
            return None
        except Refused as error:  # to tell of the order, not to take the write
            _later(ctx, account, row, error)
            return None
        if action.kind not in BY_HAND and not _still_fits(ctx, account, row, before, action):
            _finish(ctx, row, "superseded", error="the order moved on")
            return None
        if action.kind == "number" and (why := why_not_now(before, action, tried=row.attempted_at is not None)):
            raise Refused(why)
        crash_at("push_before_call")
        if not _attempted(ctx, row):
            return _hand_back(ctx, row, "write budget")
        with staying():
            receipt = account.platform.push(client, action, before)
        crash_at("push_after_call")
    except Refused as error:
        _refused(ctx, account, row, action, str(error))
    except NotFound:
        _refused(ctx, account, row, action, "what was to be written to is not there")
    except GaveWay as gave:
        return _hand_back(ctx, row, "others waited for its place", gave)
    except (SourceError, BadPayload) as error:
        _later(ctx, account, row, error)
        return error if isinstance(error, Transient) else None
    else:
        _sent(ctx, account, row, action, receipt)
        crash_at("push_after_commit")
    return None


def _missed(ctx: AppContext, account: Account, row: Row[Any], action: Action) -> None:
    """Take back a write to an order that was not found: it is looked for once more, and then it is decided again.

    What a person asked for is told at once.
    """
    if action.kind in BY_HAND:
        _refused(ctx, account, row, action, "the order is not there")
    with ctx.store.write() as connection:
        if row.id in queries.still_ours(connection, outbox, [row]) and action.kind not in BY_HAND:
            why = "the order was not there: it is read again"
            queries.end(connection, outbox, [row.id], "superseded", ctx.now(), why)
        gone.miss(connection, account.name, action.order, database_now(connection), ctx.now())
    ctx.count("tracker_writes_total", store=row.store, state="superseded")


def _notify(ctx: AppContext, account: Account, row: Row[Any], action: Action) -> None:
    """Tell a customer; a crash between the line and the commit tells twice, with one key."""
    try:
        said = tell.notify(ctx, account, action)
    except SourceError as error:
        return _later(ctx, account, row, error)
    receipt = {"ref": action.key, "already_there": False, "proof": said}
    return _finish(ctx, row, "sent", receipt=receipt, told=lambda c: _pass_on(ctx, c, account, row, action))


def _pass_on(ctx: AppContext, connection: Connection, account: Account, row: Row[Any], action: Action) -> None:
    """Give a notice to those who take it beside the file: the customer's mail, and endpoints."""
    mails.put(ctx, connection, account, row.order_id, action)
    if events.wanted(ctx.config, "notice"):
        order = connection.execute(sa.select(orders).where(orders.c.id == row.order_id)).one()
        events.put(ctx, connection, [events.noticed(order, action, ctx.now())])


def _attempted(ctx: AppContext, row: Row[Any]) -> bool:
    """Take one write from the hour's budget and note the attempt before the call. False: nothing is left of the budget.

    A change seen soon after an attempt is ours, whatever becomes of the answer (echo). What is handed back before its
    call takes nothing: a shop that throttles would use up its hour without a write.
    """
    left = accounts.c.writes_left
    with ctx.store.write() as connection:
        if row.id not in queries.still_ours(connection, outbox, [row]):  # lock order: outbox before accounts
            return False
        taken = connection.execute(
            accounts.update().where(accounts.c.name == row.store, left > 0).values(writes_left=left - 1)
        )
        if not taken.rowcount:
            return False
        connection.execute(
            outbox.update().where(outbox.c.id == row.id).values(attempted_at=database_now(connection), echoed_at=None)
        )
    return True


def _still_fits(ctx: AppContext, account: Account, row: Row[Any], before: Order, action: Action) -> bool:
    """Decide again on the order as it was just read: the write must still be wanted, whatever its key is now."""
    with ctx.store.read() as connection:
        about = known(connection, row.order_id)
    if (before.raw_status, before.payment) != (about.order.raw_status, about.order.payment):
        return False  # it changed meanwhile: stage A takes the read, and a new decision says what is wanted then
    now_is = about.as_read(before).order
    decision = reconcile(now_is, about.parcels, account.policy, ctx.now(), connected_at=about.quiet_before)
    return any(wanted.key == action.key for wanted in decision.actions)


def _finish(
    ctx: AppContext,
    row: Row[Any],
    state: str,
    *,
    error: str | None = None,
    receipt: dict[str, Any] | None = None,
    told: Callable[[Connection], None] | None = None,
) -> None:
    with ctx.store.write() as connection:
        if row.id in queries.still_ours(connection, outbox, [row]):
            queries.end(connection, outbox, [row.id], state, ctx.now(), error)
            if told is not None:
                told(connection)
            tried = database_now(connection)
            connection.execute(outbox.update().where(outbox.c.id == row.id).values(receipt=receipt, attempted_at=tried))
    ctx.count("tracker_writes_total", store=row.store, state=state)


def _sent(ctx: AppContext, account: Account, row: Row[Any], action: Action, receipt: Receipt) -> None:
    """Keep the receipt, and the order as it was known with this write in it: that much the receipt proves.

    What else was read just before is left to the read-back. An order is known only once stage A took it, with its parcels.
    """
    policy = account.policy
    word = policy.order_words.get(action.target, "") if action.target else policy.words.get(action.status, "")
    with ctx.store.write() as connection:
        # lock order everywhere: orders before outbox
        order = connection.execute(
            queries.locked(connection, sa.select(orders).where(orders.c.id == row.order_id))
        ).one()
        if row.id not in queries.still_ours(connection, outbox, [row]):
            return  # our claim ended while we wrote: whoever has it now looks before it writes
        now, database = ctx.now(), database_now(connection)
        known = ORDER.validate_python(order.facts)
        after = apply(known, action, word)
        if action.kind == "order_status":
            after = replace(after, status_at=max(now, known.status_at or now))
        save(connection, order, after, now, by=US, read_at=database, decide=True)
        queries.end(connection, outbox, [row.id], "sent", now)
        connection.execute(
            outbox.update().where(outbox.c.id == row.id).values(receipt=dump(RECEIPT, receipt), attempted_at=database)
        )
        f = findings.c
        held = sa.and_(f.order_id == row.order_id, f.kind.in_(_FAILED), f.opened_by == "push")
        subjects = [f"{row.store}/{order.number}/{kind}" for kind in _ALONE]
        own = f.subject == _subject(row.store, order.number, action)
        held = sa.and_(held, own if action.kind in _ALONE else f.subject.not_in(subjects))
        queries.close_findings(connection, held, now, "push")  # what the shop takes now, it refuses no more
        # The order is read again: that a shop took a write does not say what it shows now. Its own rules, another app or a person may
        # have changed it since, and what else differed in `before` is not known yet: that read was asked for before this write, so
        # stage A drops it as too old. The read-back is the first that tells both, and the one in which our own write is recognised.
        # Where an old copy of the order may be saved over the status, it is read once more a while later.
        if events.wanted(ctx.config, "order.written"):
            events.put(
                ctx,
                connection,
                [events.written(order, action, events.parcels_of(after, action), receipt.already_there, now)],
            )
        wait = account.platform.looks_again if action.kind == "order_status" else None
        queries.note_changes(connection, account.name, [action.order], database, now + wait if wait else None)
    ctx.log.info(
        "written", store=row.store, order=order.number, status=action.target or action.status,
        already=receipt.already_there,
    )  # fmt: skip
    ctx.count("tracker_writes_total", store=row.store, state="sent")
    if row.held_by is None:  # what a brake held was not slow
        ctx.observe("tracker_write_delay_seconds", (now - row.created_at).total_seconds(), row.store)
    ctx.notify("decide")
    ctx.notify("poll")


def _subject(store: str, number: str, action: Action) -> str:
    what = action.kind if action.kind in BY_HAND else action.fulfilment or action.target or action.kind
    return f"{store}/{number}/{what}"


def _refused(ctx: AppContext, account: Account, row: Row[Any], action: Action, said: str) -> None:
    with ctx.store.write() as connection:
        # lock order everywhere: orders before outbox; a finding locks its order too
        order = sa.select(orders.c.number).where(orders.c.id == row.order_id)
        number = connection.execute(queries.locked(connection, order)).scalar_one()
        if row.id not in queries.still_ours(connection, outbox, [row]):
            return
        queries.end(connection, outbox, [row.id], "refused", ctx.now(), said)
        finding = Finding(
            FindingKind.WRITE_REFUSED, _subject(account.name, number, action), Severity.WARNING, Act.ACT,
            {"order": number, "status": str(action.target or action.status), "said": said[:200]},
            proposal=f"once its cause is mended: `tracker outbox retry {row.id}`",
        )  # fmt: skip
        tell.report_findings(ctx, connection, [(row.order_id, finding)], ctx.now(), by="push")
    ctx.count("tracker_writes_total", store=row.store, state="refused")


def _later(ctx: AppContext, account: Account, row: Row[Any], error: SourceError) -> None:
    with ctx.store.write() as connection:
        now = database_now(connection)
        due = now + queries.backoff(row.attempts)
        if isinstance(error, RateLimited) and error.after:
            due = now + error.after
        elif isinstance(error, Unavailable):
            due = now  # its account rests
        queries.release(connection, outbox, row, due, f"{type(error).__name__}: {error}", crashed=False)
        if isinstance(error, Refused):
            queries.note_changes(connection, account.name, [row.action["order"]], now)  # the re-read tells of it
        if row.kind != NOTICE:  # a sink that is away says nothing of the store
            backoff.hear(ctx, connection, account, [error], now, ctx.now())
    ctx.log.info("push_later", store=account.name, outbox=row.id, error=type(error).__name__)
