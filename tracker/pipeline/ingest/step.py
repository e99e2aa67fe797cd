"""Stage A: payloads become facts (scans, summaries, orders). It never reconciles; it marks orders that must be.

Parsing is pure and happens between claim and transaction. A batch that fails is run again in halves, so one poisoned
payload holds back nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.facts import ChangeNotice, Checkout, Order, Report
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import ShippingStatus
from tracker.pipeline import feeds, oddities, proofs, unread, unwatched
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.ingest import endings, histories, legs, orders, reports, scans, summaries
from tracker.pipeline.ingest.parse import Parsed, fault, parse
from tracker.pipeline.ingest.shipments import Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.pipeline.ingest.watches import Watches
from tracker.pipeline.telling import events
from tracker.pipeline.traces import Span, hand_on, spans_of
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import accounts, inbox


def run(ctx: AppContext) -> int:
    """Work one batch of the inbox. Returns how many rows were taken."""
    with ctx.store.write() as connection:
        rows = queries.claim(
            connection,
            inbox,
            ctx.store.batch,
            died=lambda dead: _died(ctx, connection, dead),
            turns=ctx.turns["ingest"],
        )
    if not rows:
        return 0
    crash_at("inbox_claimed")
    with ctx.leases.reading():
        parsed = [_parse(ctx, row) for row in rows]
    for one in parsed:
        if one.failed is not None:
            _failed(ctx, one, one.failed)
    if waiting := [one.row for one in parsed if one.waits]:
        with ctx.store.write() as connection:
            queries.set_aside(connection, waiting)
    _work(ctx, [one for one in parsed if one.failed is None and not one.waits])
    ctx.notify("decide")
    return len(rows)


def _parse(ctx: AppContext, row: Row[Any]) -> Parsed:
    if ctx.traces is None:
        return parse(ctx, row)
    with ctx.traces.within(row.trace):
        return parse(ctx, row)


def _work(ctx: AppContext, parsed: Sequence[Parsed]) -> None:
    """Commit what payloads say; where that fails, in halves, until the row that did it stands alone: it costs itself only."""
    if not parsed:
        return
    try:
        _commit(ctx, parsed)
    except Exception as error:  # whatever it was
        if len(parsed) == 1:
            _failed(ctx, parsed[0], error)
            return
        middle = len(parsed) // 2
        _work(ctx, parsed[:middle])
        _work(ctx, parsed[middle:])


def _died(ctx: AppContext, connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Tell of rows that crashed too often."""
    for row in rows:
        ctx.count("tracker_inbox_dead_total", account=row.account)
    unread.died(ctx, connection, [(row, row.reason) for row in rows], ctx.now())


def _failed(ctx: AppContext, parsed: Parsed, error: Exception) -> None:
    said = fault(error)
    ctx.log.warning("inbox_row_failed", inbox=parsed.row.id, account=parsed.row.account, error=said)
    ctx.count("tracker_inbox_failures_total", account=parsed.row.account)
    with ctx.store.write() as connection:
        now = database_now(connection)
        due_at = now + queries.backoff(parsed.row.attempts)
        queries.release(connection, inbox, parsed.row, due_at, said, crashed=True)


def _commit(ctx: AppContext, parsed: Sequence[Parsed]) -> None:
    about, rows = {"account": "account", "kind": "kind"}, [p.row for p in parsed]
    with spans_of(ctx.traces, "ingest", rows, about, roots=True) as spans, ctx.store.write() as connection:
        now = ctx.now()
        database = database_now(connection)
        ours = queries.still_ours(connection, inbox, [p.row for p in parsed])
        mine = [p for p in parsed if p.row.id in ours]
        _take(Transaction(ctx, connection, now, database), mine, spans)
        crash_at("inbox_before_commit")
    crash_at("inbox_after_commit")
    for p in mine:
        if (
            p.row.kind == "webhook" and p.row.ended_at is None and p.dead is None and not _of_a_shop(p)
        ):  # and not a replay
            ctx.observe("tracker_webhook_applied_seconds", (now - p.row.received_at).total_seconds(), p.row.account)


def _of_a_shop(parsed: Parsed) -> bool:
    """Say whether a payload is a shop's: it tells no status, the order is read again."""
    return parsed.account is None or parsed.account.is_store


def _take(tx: Transaction, parsed: Sequence[Parsed], spans: Mapping[int, Span]) -> None:
    """Write what the payloads say and end their rows."""
    reported = [(p, item) for p in parsed for item in p.items if isinstance(item, Report)]
    read = [(p, item) for p in parsed for item in p.items if isinstance(item, Order)]
    numbers = {clean(report.number) for _, report in reported}
    numbers |= {
        clean(link.number) for _, report in reported for link in report.links if link.relation == legs.LAST_MILE
    }
    numbers |= {clean(parcel.number) for _, o in read for f in o.fulfilments for parcel in f.parcels}
    odd = _odd_in_feeds(parsed)
    shipments, watches = Shipments(tx), Watches(tx)
    shipments.load(numbers.union(*odd.values()))
    remapped = {i for p in parsed if p.remap for i in scans.remap(tx, shipments, p.remap)}
    loud = {i for p in parsed if p.remap and not p.row.quiet for i in p.remap}
    heard = reports.take_reports(tx, shipments, watches, reported)
    taken = orders.take_orders(tx, shipments, watches, read)
    for p in parsed:
        for item in p.items:
            if isinstance(item, Checkout):
                orders.checkout(tx, item)
    touched, moved = shipments.families(heard.touched | remapped), set()
    before = {i: shipments[i].summary for i in heard.tells}
    if touched:
        gone = histories.withdraw(tx, heard.histories)
        moved = summaries.update_summaries(tx, shipments, touched, heard.anew | remapped | gone.shipments, heard.fresh)
        followed = legs.follow(tx, shipments, watches, touched, heard.named)
        if followed.anew:
            touched |= followed.anew
            moved |= summaries.update_summaries(tx, shipments, followed.anew, followed.anew, {})
        taken.unwatched |= followed.unwatched
        beside = touched - heard.touched - remapped
        watches.store(shipments, touched, heard.poll_now, heard.ask_again | gone.ask_again, beside)
    watches.choose()
    for name, untold in odd.items():
        feeds.ask_about(tx.connection, name, untold, tx.now)
    delivered = [i for i in moved if shipments[i].summary.status is ShippingStatus.DELIVERED]
    proofs.want(tx.ctx, tx.connection, delivered, taken.changed, tx.now)
    events.moved(tx, shipments)
    orders.schedule_decisions(tx, taken.changed, touched, moved - shipments.families(heard.loud | loud))
    if spans and (heard.by or taken.by):
        hand_on(tx.connection, spans, heard.by, taken.by)
    if taken.unwatched:
        unwatched.tell_at_once(tx.ctx, tx.connection, taken.unwatched, tx.now)
    hints: dict[str, list[str]] = defaultdict(list)
    for p in parsed:
        hints[p.row.account] += [item.ref for item in p.items if isinstance(item, ChangeNotice)]
    for name in sorted(hints):
        queries.note_hints(tx.connection, name, hints[name], tx.database)
    if any(hints.values()):
        tx.ctx.notify("poll")
    unread.told(tx.ctx, tx.connection, parsed, tx.now, tx.database)
    for p in parsed:
        if p.account is not None and p.row.kind == "webhook":
            oddities.came(tx.ctx, tx.connection, p.account, p.row.headers)
    _end(tx, parsed)
    unread.count(tx.ctx, tx.connection, parsed)  # counters are locked last, everywhere
    endings.count(tx, shipments, heard.tells, before, heard.fresh)
    _count_news(tx, heard.news)


def _odd_in_feeds(parsed: Sequence[Parsed]) -> dict[str, set[str]]:
    """Return the numbers of which feeds told something that could not be read, by account: nothing else tells it."""
    odd: dict[str, set[str]] = defaultdict(set)
    for p in parsed:
        if p.row.kind == "sweep" and p.account is not None and p.account.has_feed:
            odd[p.account.name] |= {clean(one.subject) for one in p.unread if one.subject}
    return odd


def _count_news(tx: Transaction, news: Mapping[str, int]) -> None:
    for name in sorted(name for name, count in news.items() if count):
        held = accounts.c.name == name
        count = sa.func.coalesce(accounts.c.poll_news, 0) + news[name]
        tx.connection.execute(accounts.update().where(held).values(poll_news=count))


def _end(tx: Transaction, parsed: Sequence[Parsed]) -> None:
    groups: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    dead: list[tuple[Row[Any], str]] = []
    for p in parsed:
        if p.dead:
            groups["dead", p.dead].append(p.row.id)
            tx.ctx.count("tracker_inbox_dead_total", account=p.row.account)
            if not p.unread:  # what those lack is told piece by piece
                dead.append((p.row, p.dead))
        elif not p.items and not p.remap:
            why = f"{p.unread[0].where}: {p.unread[0].problem}" if p.unread else "says nothing"
            groups["ignored", why].append(p.row.id)
        else:
            count = len(p.unread)
            groups["done", f"partly: {count} could not be read" if count else None].append(p.row.id)
    for (state, reason), ids in groups.items():
        queries.end(tx.connection, inbox, ids, state, tx.now, reason)
    unread.store_unread(tx.connection, parsed)
    unread.died(tx.ctx, tx.connection, dead, tx.now)
