"""Find what silence hid, and keep the house: accounts as configured, due queues, expiries, retention."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from tracker.config.policy import policy_values
from tracker.domain.vocabulary import FindingKind, TrackingState
from tracker.pipeline.world import World
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import (
    accounts,
    findings,
    fulfilment_shipments,
    inbox,
    orders,
    outbox,
    policies,
    rereads,
    scans,
    shipment_links,
    shipments,
    trackings,
)

AT_ONCE = 500


def release_claims(world: World) -> None:
    """Give back what a process that died held: only where this process is the only one (SQLite)."""
    with world.store.write() as connection:
        for table in (inbox, outbox, trackings, rereads, accounts):
            connection.execute(table.update().where(table.c.claimed_until.isnot(None)).values(claimed_until=None))


def settle_accounts(world: World) -> None:
    """Bring the account rows in line with the configuration: at start, on reload, before each play.

    Changed credentials unpark an account. A new policy, or a store that may write now, has every order looked at again.
    """
    with world.store.write() as connection:
        now = world.now()
        known = {row.name: row for row in connection.execute(sa.select(accounts))}
        for account in sorted(world.config.accounts.values(), key=lambda a: a.name):
            row = known.get(account.name)
            kind = "store" if account.is_store else "carrier"
            mode = account.mode if account.is_store else None
            policy_hash = account.policy_hash or None
            values = {
                "kind": kind, "mode": mode, "credentials": account.credentials, "policy_hash": policy_hash,
            }  # fmt: skip
            if policy_hash:
                connection.execute(
                    queries.upsert(connection, policies).on_conflict_do_nothing(),
                    {"hash": policy_hash, "body": policy_values(account.policy), "first_seen_at": now},
                )
            if row is None:
                connection.execute(
                    queries.upsert(connection, accounts).on_conflict_do_nothing(),
                    {"name": account.name, "attempts": 0, **values},
                )
                continue
            if row.credentials != account.credentials:
                values["parked_reason"] = None
                subject = sa.and_(
                    findings.c.subject == f"account/{account.name}", findings.c.kind == FindingKind.ACCOUNT_PARKED
                )
                queries.close_findings(connection, subject, now, "new credentials")
            if (row.mode, row.policy_hash) != (mode, policy_hash):
                connection.execute(orders.update().where(orders.c.store == account.name).values(reconcile_at=now))
            connection.execute(accounts.update().where(accounts.c.name == account.name).values(**values))
    for queue in ("inbox", "reconcile", "poll", "push"):
        world.ring(queue)


def due_queues(world: World) -> set[str]:
    """Say which queues have something due: the scheduler rings their bells."""
    with world.store.read() as connection:
        now, business = database_now(connection), world.now()
        due: set[str] = set()
        for name, table in (("inbox", inbox), ("push", outbox)):
            if _any(connection, sa.select(table.c.id).where(table.c.state == "pending", table.c.due_at <= now)):
                due.add(name)
        if _any(connection, sa.select(orders.c.id).where(orders.c.reconcile_at <= business)):
            due.add("reconcile")
        polls = (
            sa.select(trackings.c.id).where(trackings.c.next_poll_at <= business),
            sa.select(trackings.c.id).where(trackings.c.register_at <= business),
            sa.select(rereads.c.id).where(rereads.c.due_at <= now),
            sa.select(accounts.c.name).where(
                accounts.c.kind == "store",
                sa.or_(accounts.c.next_sweep_at.is_(None), accounts.c.next_sweep_at <= business),
            ),
        )
        if any(_any(connection, statement) for statement in polls):
            due.add("poll")
        return due


def _any(connection: sa.Connection, statement: sa.Select[tuple[object]]) -> bool:
    return connection.execute(statement.limit(1)).first() is not None


def next_business_time(world: World) -> datetime | None:
    """Return the next moment, after now, at which business time alone makes something due (the sandbox jumps there)."""
    now = world.now()
    with world.store.read() as connection:
        moments = [
            connection.execute(sa.select(sa.func.min(column)).where(column > now)).scalar()
            for column in (
                trackings.c.next_poll_at,
                trackings.c.register_at,
                orders.c.reconcile_at,
                accounts.c.next_sweep_at,
            )
        ]
    return min((moment for moment in moments if moment is not None), default=None)


def expire(world: World) -> int:
    """Stop tracking what said nothing for too long: state `expired`, status unchanged, the order looked at again."""
    after = world.config.cadence.expired_after
    with world.store.write() as connection:
        now = world.now()
        rows = connection.execute(
            sa.select(trackings.c.id, trackings.c.shipment_id)
            .join(shipments, shipments.c.id == trackings.c.shipment_id)
            .where(
                trackings.c.next_poll_at.is_(None),
                trackings.c.tracking_state.in_(
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
        connection.execute(
            trackings.update()
            .where(trackings.c.id.in_([row.id for row in rows]))
            .values(tracking_state=TrackingState.EXPIRED)
        )
        touched = queries.orders_of({row.shipment_id for row in rows})
        connection.execute(orders.update().where(orders.c.id.in_(touched)).values(reconcile_at=now))
    world.ring("reconcile")
    return len(rows)


def prune(world: World) -> dict[str, int]:
    """Drop what is past its retention, a bounded number at a time. Scans, orders and decisions are never dropped."""
    keep = world.config.root.retention
    done: dict[str, int] = {}
    with world.store.write() as connection:
        now = world.now()
        proving = (
            sa.select(scans.c.inbox_id)
            .where(scans.c.inbox_id == inbox.c.id, scans.c.status.in_(["delivered", "returned"]))
            .exists()
        )
        over = sa.or_(
            inbox.c.received_at < now - keep.proof_bodies, sa.and_(inbox.c.received_at < now - keep.bodies, ~proving)
        )
        ended = inbox.c.state.in_(["done", "ignored"])
        ids = sa.select(inbox.c.id).where(ended, inbox.c.body.isnot(None), over).limit(AT_ONCE)
        done["bodies"] = connection.execute(
            inbox.update().where(inbox.c.id.in_(ids.scalar_subquery())).values(body=None, part_sizes=None)
        ).rowcount
        old = sa.select(inbox.c.id).where(ended, inbox.c.body.is_(None), inbox.c.received_at < now - keep.rows)
        done["rows"] = connection.execute(
            inbox.delete().where(inbox.c.id.in_(old.limit(AT_ONCE).scalar_subquery()))
        ).rowcount
        unmatched = list(
            connection.execute(
                sa.select(shipments.c.id)
                .where(shipments.c.linked.is_(False), shipments.c.starts_at < now - keep.unmatched)
                .limit(AT_ONCE)
            ).scalars()
        )
        if unmatched:
            for table in (scans, shipment_links, trackings, fulfilment_shipments):
                connection.execute(table.delete().where(table.c.shipment_id.in_(unmatched)))
            connection.execute(shipments.delete().where(shipments.c.id.in_(unmatched)))
        done["unmatched"] = len(unmatched)
    return done


def backfill(world: World, store: str) -> int:
    """Let what happened before a store was connected cause writes too. Returns how many orders are looked at again."""
    with world.store.write() as connection:
        now = world.now()
        connection.execute(
            accounts.update().where(accounts.c.name == store).values(connected_at=now - timedelta(days=3650))
        )
        return connection.execute(orders.update().where(orders.c.store == store).values(reconcile_at=now)).rowcount
