"""Find what silence hid, and keep the house: due queues, expiries, retention."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from tracker.config.model import Retention
from tracker.domain.cadence import DEFAULT
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity, TrackingState
from tracker.pipeline import brakes, dead_writes, feeds, plan, proofs, tell, unread, unwatched, whose
from tracker.pipeline.context import AppContext
from tracker.pipeline.ingest import endings
from tracker.pipeline.mails import queue as mails
from tracker.pipeline.poll import due as asked
from tracker.pipeline.poll import resends
from tracker.pipeline.telling import send, standing
from tracker.store import queries, tables
from tracker.store.engine import database_now
from tracker.store.tables import (
    accounts,
    change_notices,
    files,
    findings,
    fresh_reads,
    fulfilment_shipments,
    fulfilments,
    heartbeats,
    inbox,
    orders,
    outbox,
    public_keys,
    scans,
    shipment_links,
    shipments,
    tokens,
    watches,
)
from tracker.upkeep import webhooks
from tracker.upkeep.order_counts import count_orders

AT_ONCE = 500
PAYLOADS = 50_000  # a minute: some 800 a second
COMPARED_AT_ONCE = 5_000  # a minute: a million orders take three hours, beside everything else
ALIVE = "scheduler"
UNLINKED = sa.text("shipments.linked IS FALSE")  # as the index says it


def release_claims(ctx: AppContext) -> None:
    """Give back what a process that died held: only where this process is the only one (SQLite)."""
    with ctx.store.write() as connection:
        for table in (
            inbox,
            outbox,
            watches,
            change_notices,
            tables.resends,
            tables.proofs,
            tables.mails,
            accounts,
            tokens,
            tables.messages,
        ):
            connection.execute(table.update().where(table.c.claimed_until.isnot(None)).values(claimed_until=None))


def due_queues(ctx: AppContext) -> set[str]:
    """Say which queues have something due: the scheduler notifies their workers."""
    with ctx.store.read() as connection:
        now, business = database_now(connection), ctx.now()
        due: set[str] = set()
        if _any(connection, sa.select(inbox.c.id).where(inbox.c.state == "pending", inbox.c.due_at <= now)):
            due.add("ingest")
        if connection.execute(queries.in_turn().limit(1), {"now": now, "business": business}).first():
            due.add("push")
        if send.is_due(ctx, connection, now):
            due.add("tell")
        if _any(connection, sa.select(orders.c.id).where(orders.c.reconcile_at <= business)):
            due.add("decide")
        if asked.look(ctx, connection, now, business)[0]:
            due.add("poll")
        names = [account.name for account in ctx.config.file_accounts]
        if names and _any(connection, queries.files_due(names, now, business)):
            due.add("files")
        if mails.due(ctx, connection, now, business):
            due.add("mail")
        return due


def _any(connection: sa.Connection, statement: sa.Select[tuple[object]]) -> bool:
    return connection.execute(statement.limit(1)).first() is not None


def next_business_time(ctx: AppContext) -> datetime | None:
    """Return the next moment, after now, at which business time alone makes something due (the sandbox jumps there)."""
    now = ctx.now()
    with ctx.store.read() as connection:
        moments = [
            connection.execute(sa.select(sa.func.min(column)).where(column > now)).scalar()
            for column in (
                watches.c.next_poll_at,
                watches.c.register_at,
                orders.c.reconcile_at,
                accounts.c.next_sweep_at,
                accounts.c.hooks_due_at,
                accounts.c.rests_until,
                accounts.c.files_at,
                change_notices.c.not_before,
                tables.resends.c.next_at,
                tables.proofs.c.next_at,
                tables.mails.c.not_before,
            )
        ]
        moments += [at for at in asked.held_back(ctx, connection, database_now(connection), now).values() if at > now]
    return min((moment for moment in moments if moment is not None), default=None)


def expire(ctx: AppContext) -> int:
    """Stop tracking what said nothing for too long: state `expired`, status unchanged, the order looked at again."""
    after = DEFAULT.expired_after
    with ctx.store.write() as connection:
        now = ctx.now()
        rows = connection.execute(
            sa.select(watches.c.id, watches.c.shipment_id)
            .join(shipments, shipments.c.id == watches.c.shipment_id)
            .where(
                watches.c.next_poll_at.is_(None),
                watches.c.chosen.isnot(None),  # who is only heard ends nothing
                watches.c.tracking_state.in_(
                    [TrackingState.ACTIVE, TrackingState.PENDING, TrackingState.NOT_FOUND, TrackingState.ERROR]
                ),
                shipments.c.closed_at.is_(None),
                shipments.c.linked.is_(True),
                shipments.c.starts_at <= now - after,
            )
            .limit(AT_ONCE)
        ).all()
        if not rows:
            return 0
        ids = queries.among(connection, watches.c.id, [row.id for row in rows])
        here = queries.in_order(connection, watches.c.id, ids)
        connection.execute(watches.update().where(here).values(tracking_state=TrackingState.EXPIRED))
        touched = queries.orders_of(connection, {row.shipment_id for row in rows})
        queries.decide_now(connection, orders.c.id.in_(touched), now)
    ctx.notify("decide")
    return len(rows)


def prune(ctx: AppContext) -> dict[str, int]:
    """Drop what is past its retention, a bounded number at a time. Scans, orders and decisions are never dropped."""
    keep = ctx.config.root.retention
    done = _prune_payloads(ctx, keep)
    with ctx.store.write() as connection:
        now = ctx.now()
        told = database_now(connection) - keep.rows  # of a key that is used an answer tells each day
        long_ago = database_now(connection) - queries.LONGEST
        connection.execute(fresh_reads.delete().where(fresh_reads.c.read_at < long_ago))
        connection.execute(public_keys.delete().where(public_keys.c.asked_at < told))
        unmatched = list(
            connection.execute(
                sa.select(shipments.c.id).where(UNLINKED, shipments.c.starts_at < now - keep.unmatched).limit(AT_ONCE)
            ).scalars()
        )
        if unmatched:
            for table in (scans, shipment_links, watches, fulfilment_shipments, tables.proofs, tables.estimates):
                connection.execute(table.delete().where(table.c.shipment_id.in_(unmatched)))
            connection.execute(shipments.update().where(shipments.c.leg_of.in_(unmatched)).values(leg_of=None))
            connection.execute(shipments.delete().where(shipments.c.id.in_(unmatched)))
        done["unmatched"] = len(unmatched)
        unread.prune(connection, now)
        endings.prune(connection, now)
        done["proofs"] = proofs.prune(connection, now - keep.proof_bodies)
        standing.prune(connection, database_now(connection), keep)
        gone = files.c.listed_at < now - keep.rows  # it lies nowhere any more
        done["files"] = connection.execute(files.delete().where(gone)).rowcount
    return done


def _prune_payloads(ctx: AppContext, keep: Retention) -> dict[str, int]:
    """Drop bodies, then rows without one: as many as may come in the minute between two times, some a transaction."""
    i, now = inbox.c, ctx.now()
    ends = sa.text("scans.status IN ('delivered', 'returned')")  # as the index says it: SQLite takes no other for it
    proving = sa.select(scans.c.inbox_id).where(scans.c.inbox_id == i.id, ends).exists()
    ended = sa.text("inbox.body IS NOT NULL AND inbox.state IN ('done', 'ignored')")  # as the index says it
    over = sa.or_(i.received_at < now - keep.proof_bodies, sa.and_(i.received_at < now - keep.bodies, ~proving))
    bodies = sa.select(i.id).where(ended, over).order_by(i.received_at)
    empty = sa.and_(i.state.in_(["done", "ignored"]), i.body.is_(None))
    old = sa.select(i.id).where(empty, i.received_at < now - keep.rows)
    done = {"bodies": 0, "rows": 0}
    for kind, which, still, drop in (
        ("bodies", bodies, ended, inbox.update().values(body=None, part_sizes=None)), ("rows", old, empty, inbox.delete()),
    ):  # fmt: skip
        with ctx.store.read() as connection:
            ids = connection.execute(which.limit(PAYLOADS)).scalars().all()
        for first in range(0, len(ids), AT_ONCE):
            with ctx.store.write() as connection:
                here = queries.among(connection, i.id, ids[first : first + AT_ONCE])
                done[kind] += connection.execute(drop.where(here, still)).rowcount
    return done


def backfill(ctx: AppContext, store: str) -> int:
    """Let what happened before a store was connected cause writes too. Returns how many orders are looked at again."""
    with ctx.store.write() as connection:
        now = ctx.now()
        count = queries.decide_now(connection, orders.c.store == store, now)  # lock order: orders before accounts
        connection.execute(
            accounts.update().where(accounts.c.name == store).values(connected_at=now - timedelta(days=3650))
        )
        return count


def run_monitors(ctx: AppContext) -> None:
    """Find what no single order shows: silent or missing webhooks, a slow carrier, parcels without an order, changed answers, what died."""
    with ctx.store.write() as connection:
        now = ctx.now()
        feeds.look(ctx, connection, now)  # watches are locked before counters, everywhere
        webhooks.look(ctx, connection, now)
        moved = _slow_carriers(ctx, connection, now)
        _without_order(ctx, connection, now)
        _caught_up(ctx, connection, now)
        unread.look(ctx, connection, now)
        dead_writes.look_for_dead(ctx, connection)
        brakes.look(connection)
        count_orders(ctx, connection)
        moved = _not_compared(ctx, connection, now) or moved
        left = unwatched.look(ctx, connection, now)
    plan.look(ctx)
    whose.settle(ctx)  # where a process died between a suspension and what follows from it
    if left:  # an account covers what nobody watches: the configuration changed under a batch's feet
        whose.walk(ctx)
    if moved:
        ctx.notify("decide")


def _not_compared(ctx: AppContext, connection: sa.Connection, now: datetime) -> bool:
    """Have orders that the ledger never saw, because a version before read them, looked at: a part of them at a time."""
    o, stores = orders.c, ctx.config.store_names()
    never = (
        sa.select(o.id).where(o.drift.is_(None), o.reconcile_at.is_(None), o.store.in_(stores)).limit(COMPARED_AT_ONCE)
    )
    ids = connection.execute(never).scalars().all()
    if ids:
        queries.decide_now(connection, queries.among(connection, o.id, ids), now)
    return bool(ids)


def heartbeat(ctx: AppContext, alive: datetime) -> None:
    """Say that we live, once a minute; after a gap, find the outage, have every open parcel asked about, and senders tell again.

    `alive` is the time of the machine, not the business time: a play that jumps a day is no outage.

    Carriers retry for 15 minutes (FedEx) or 7 hours (DHL eCommerce) and then drop what they had to tell: what was missed
    comes by polls only. An account whose plugin has no webhooks missed nothing that its own cadence does not bring.
    """
    with ctx.store.write() as connection:
        now = ctx.now()
        last = connection.execute(sa.select(heartbeats.c.at).where(heartbeats.c.name == ALIVE)).scalar_one_or_none()
        insert = queries.upsert(connection, heartbeats)
        connection.execute(
            insert.on_conflict_do_update(index_elements=["name"], set_={"at": insert.excluded.at}),
            {"name": ALIVE, "at": alive},
        )
        if last is None or alive - last < ctx.config.root.watch.outage_after:
            return
        told_again = resends.begin(ctx, connection, last, alive, now)
        asked = queries.poll_now(connection, watches.c.account.in_(_told_by_webhooks(ctx)), now, urgent=False)
        connection.execute(accounts.update().where(accounts.c.kind == "carrier").values(well_since=now))
        evidence = {"from": last.isoformat(), "until": alive.isoformat(), "asked": str(asked)}
        if told_again:
            evidence["told_again"] = ", ".join(told_again)
        finding = Finding(
            FindingKind.OUTAGE, f"outage/{last:%Y-%m-%dT%H:%M}", Severity.WARNING, Act.MONITOR, evidence, last
        )
        tell.report_findings(ctx, connection, [(None, finding)], now, by="watch")
        ctx.log.warning("outage_over", seconds=round((alive - last).total_seconds()), rows=asked)
    ctx.notify("poll")


def _caught_up(ctx: AppContext, connection: sa.Connection, now: datetime) -> None:
    """Close an outage once every open parcel was asked about since."""
    open_now = sa.and_(findings.c.kind == FindingKind.OUTAGE, findings.c.closed_at.is_(None))
    for row in connection.execute(sa.select(findings).where(open_now)).all():
        until = datetime.fromisoformat(row.evidence["until"])
        left = (
            sa.select(watches.c.id)
            .where(
                watches.c.account.in_(_told_by_webhooks(ctx)),
                watches.c.next_poll_at.isnot(None),
                sa.or_(watches.c.checked_at.is_(None), watches.c.checked_at < until),
            )
            .limit(1)
        )
        if connection.execute(left).first() is None and not resends.unfinished(ctx, connection, until):
            queries.close_findings(
                connection,
                findings.c.id == row.id,
                now,
                "watch",
                "every open parcel was asked about, and what senders tell again is there",
            )


def _told_by_webhooks(ctx: AppContext) -> list[str]:
    return [account.name for account in ctx.config.carrier_accounts() if account.source.webhooks]


def _slow_carriers(ctx: AppContext, connection: sa.Connection, now: datetime) -> bool:
    """KE-14: many silent parcels of one carrier are one finding; their orders are looked at again when it changes."""
    watch = ctx.config.root.watch
    s = shipments.c
    silent = sa.func.sum(sa.case((s.last_scan_at < now - watch.slow_after, 1), else_=0))
    rows = connection.execute(
        sa.select(s.carrier, sa.func.count().label("total"), silent.label("silent"))
        .where(s.closed_at.is_(None), s.last_scan_at.isnot(None), s.linked.is_(True))
        .group_by(s.carrier)
    ).all()
    known = {
        row.subject.removeprefix("carrier/")
        for row in connection.execute(
            sa.select(findings.c.subject).where(
                findings.c.kind == FindingKind.CARRIER_SLOWDOWN, findings.c.closed_at.is_(None)
            )
        )
    }
    slow = {r.carrier: r for r in rows if r.silent >= watch.slow_parcels and r.silent >= watch.slow_share * r.total}
    for carrier in sorted(set(slow) - known):
        row = slow[carrier]
        evidence = {"carrier": carrier, "silent": str(row.silent), "open": str(row.total)}
        finding = Finding(
            FindingKind.CARRIER_SLOWDOWN, f"carrier/{carrier}", Severity.WARNING, Act.MONITOR, evidence, now
        )
        tell.report_findings(ctx, connection, [(None, finding)], now, by="watch")
    for carrier in sorted(known - set(slow)):
        over = sa.and_(findings.c.subject == f"carrier/{carrier}", findings.c.kind == FindingKind.CARRIER_SLOWDOWN)
        queries.close_findings(connection, over, now, "watch")
    for carrier in sorted(known ^ set(slow)):
        open_ = sa.select(s.id).where(s.carrier == carrier, s.closed_at.is_(None))
        touched = (
            sa.select(fulfilments.c.order_id)
            .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
            .where(fulfilment_shipments.c.shipment_id.in_(open_))
        )
        queries.decide_now(connection, orders.c.id.in_(touched), now)
    return bool(known ^ set(slow))


def _without_order(ctx: AppContext, connection: sa.Connection, now: datetime) -> None:
    """WS-11: parcels that webhooks tell of and no order names, one finding each after a while; closed once linked.

    A feed tells of all parcels of its account, also of those that were never for a shop of ours: they are no finding.
    """
    after = ctx.config.root.watch.unmatched_after
    s = shipments.c
    rows = connection.execute(
        sa.select(shipments)
        .where(
            UNLINKED,
            s.closed_at.is_(None),
            s.last_scan_at.isnot(None),
            s.starts_at < now - after,
            ~sa.exists().where(watches.c.shipment_id == s.id, watches.c.fed_at.isnot(None)),
        )
        .order_by(s.starts_at.desc(), s.id.desc())
        .limit(AT_ONCE)
    ).all()
    told = [
        (None, Finding(
            FindingKind.PARCEL_WITHOUT_ORDER, f"parcel/{row.carrier}/{row.number}", Severity.INFO, Act.MONITOR,
            {"parcel": f"{row.carrier} {row.number}", "status": row.status}, row.starts_at,
        ))
        for row in rows
    ]  # fmt: skip
    tell.report_findings(ctx, connection, told, now, by="watch")
    kind = sa.and_(findings.c.kind == FindingKind.PARCEL_WITHOUT_ORDER, findings.c.closed_at.is_(None))
    other = shipments.alias()  # a number that is used again: its newer parcel may still have no order
    same = sa.and_(other.c.carrier == s.carrier, other.c.number == s.number)
    loose = sa.exists().where(same, other.c.linked.is_(False), other.c.closed_at.is_(None))
    stands = sa.select(sa.literal("parcel/") + s.carrier + "/" + s.number).where(s.linked.is_(True), ~loose)
    open_now = connection.execute(sa.select(findings.c.id, findings.c.subject).where(kind)).all()
    if open_now:
        numbers = {row.subject.rpartition("/")[2]: row.id for row in open_now}
        linked = connection.execute(stands.where(s.number.in_(list(numbers)))).scalars().all()
        over = [row.id for row in open_now if row.subject in set(linked)]
        if over:
            queries.close_findings(connection, findings.c.id.in_(over), now, "watch")
