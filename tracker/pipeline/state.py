"""What is known of orders and their parcels, as reconcile reads it: now, or at an earlier moment.

An order comes with its history (from its versions) and with what people said of it; a parcel with its summary. The state
of an earlier moment is made from what was stored by then: nothing is guessed, nothing newer leaks in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.facts import ALWAYS, Edd, Meaning, Order, Shipment, Statement, StatusSnapshot, StoredScan, Summary
from tracker.domain.legs import as_one
from tracker.domain.policy import Policy
from tracker.domain.timeline import MOST_SCANS, summarize
from tracker.domain.vocabulary import FindingKind, OrderStatus, PaymentStatus, StatementKind, TrackingState
from tracker.pipeline.ingest.scans import STORED_SCAN, stored_scan
from tracker.store import queries
from tracker.store.codec import EXACT, ORDER, POLICY, SUMMARY
from tracker.store.tables import (
    accounts,
    estimates,
    findings,
    fulfilment_shipments,
    fulfilments,
    order_versions,
    policies,
    policy_uses,
    scans,
    shipments,
    statements,
    watches,
)

MOST_SNAPSHOTS = 200
OVERDUE_AFTER = timedelta(minutes=15)  # what is due for longer does not happen by itself


def read_orders(
    connection: Connection, rows: Sequence[Row[Any]], *, until: datetime | None = None, version: int | None = None
) -> dict[int, Order]:
    """Return the orders of some rows with their history and statements; `until`: as of then (None: now).

    `version`: no later version than this, for what happened within one moment.

    Two queries for all rows. With `until`, an order that was not seen by then is missing.
    """
    ids = [row.id for row in rows]
    snapshots: dict[int, list[StatusSnapshot]] = defaultdict(list)
    facts: dict[int, Any] = {}
    v = order_versions.c
    select = _versions(queries.is_sqlite(connection))
    if until is not None:
        select = select.add_columns(v.facts).where(v.seen_at <= until)
    if version is not None:
        select = select.where(v.version <= version)
    for row in connection.execute(select, {"ids": ids}).all():
        if until is not None:
            facts[row.order_id] = row.facts
        if row.status is None:
            continue  # written before stands were kept
        known = snapshots[row.order_id]
        snapshot = StatusSnapshot(
            row.seen_at, OrderStatus(row.status), row.raw_status, PaymentStatus(row.payment), row.actor,
            row.previous_read_at, tuple(row.numbers or ()),
        )  # fmt: skip
        if known and (known[-1].status, known[-1].payment, known[-1].raw) == (
            snapshot.status,
            snapshot.payment,
            snapshot.raw,
        ):
            continue
        known.append(snapshot)
    said: dict[int, list[Statement]] = defaultdict(list)
    spoken = _spoken(queries.is_sqlite(connection))
    if until is not None:
        spoken = spoken.where(statements.c.at <= until)
    for row in connection.execute(spoken, {"ids": ids}):
        status = OrderStatus(row.status) if row.status else None
        said[row.order_id].append(Statement(StatementKind(row.kind), row.text, row.by, row.at, status, row.override))
    found = {}
    for row in rows:
        told = row.facts if until is None else facts.get(row.id)
        if told is not None:
            order = ORDER.validate_python(told)
            history = tuple(snapshots[row.id][-MOST_SNAPSHOTS:])
            found[row.id] = replace(order, history=history, statements=tuple(said[row.id]))
    return found


def slow_carriers(connection: Connection) -> frozenset[str]:
    """Return the carriers that are known to be slow just now: one finding each."""
    rows = connection.execute(_SLOW)
    return frozenset(row.subject.removeprefix("carrier/") for row in rows)


def read_shipments(connection: Connection, order_ids: Sequence[int]) -> dict[int, list[Shipment]]:
    """Read the shipments linked to orders, in one query; the state is the best any account knows.

    A last mile is none of its own beside the parcel whose it is: that one's summary holds what it tells.
    """
    found: dict[int, dict[int, Shipment]] = defaultdict(dict)
    slow = slow_carriers(connection)
    rows = connection.execute(_parcels(queries.is_sqlite(connection)), {"ids": list(order_ids)}).all()
    here = {(row.order_id, row.id) for row in rows}
    told_by: dict[tuple[int, int], list[Row[Any]]] = defaultdict(list)  # a row an account
    for row in rows:
        whole = (row.order_id, row.leg_of)
        told_by[whole if whole in here else (row.order_id, row.id)].append(row)
    for (order_id, shipment_id), told in told_by.items():
        row = next(one for one in told if one.id == shipment_id)
        edd = next((one for one in [row, *told] if one.edd_begins and one.edd_ends), None)
        states = [watch.tracking_state for watch in told if watch.tracking_state]
        summary = SUMMARY.validate_python(row.summary)
        found[order_id][shipment_id] = Shipment(
            carrier=row.carrier,
            number=row.number,
            generation=row.generation,
            summary=summary,
            tracking=TrackingState(min(states)) if states else TrackingState.PENDING,
            edd=Edd(edd.edd_begins, edd.edd_ends) if edd is not None else None,
            linked_at=row.linked_at,
            slow=row.carrier in slow,
            asked_until=_asked_until(summary, told),
        )
    return {order_id: list(found[order_id].values()) for order_id in order_ids}


def _asked_until(summary: Summary, told: Sequence[Row[Any]]) -> datetime | None:
    """Return until when accounts asked about a parcel: ALWAYS where one still does, None where none ever did or told.

    An account with a budget asks until its next look is overdue; so does one that tells by files, of its folder.
    """
    asked: list[datetime] = [at for w in told for at in (w.checked_at, w.as_of) if at is not None]
    if summary.last_scan_at is not None:
        asked.append(summary.last_scan_at)
    if not asked:
        return None
    for w in told:
        if w.files_at and not w.suspended_reason and not w.paused_at:
            asked.append(w.files_at + OVERDUE_AFTER)
        if w.next_poll_at and not w.suspended_reason and not w.paused_at and not w.overdue_since:
            if not w.spent:
                return ALWAYS
            asked.append(w.next_poll_at + OVERDUE_AFTER)  # its budget may forbid to ask when it is due
    return max(asked)


def slow_at(connection: Connection, at: datetime) -> frozenset[str]:
    """Return the carriers that were known to be slow at a moment."""
    f = findings.c
    then = sa.and_(
        f.kind == FindingKind.CARRIER_SLOWDOWN, f.opened_at <= at, sa.or_(f.closed_at.is_(None), f.closed_at > at)
    )
    return frozenset(s.removeprefix("carrier/") for s in connection.execute(sa.select(f.subject).where(then)).scalars())


@dataclass(frozen=True)
class InForce:
    """A policy and a mode as they were in force. `kept`: false where an older version stored the policy in part only."""

    policy: Policy
    hash: str
    mode: str
    kept: bool = True


class Past:
    """The policies of then: each is read once."""

    def __init__(self, connection: Connection) -> None:
        """Read on this connection."""
        self._connection = connection
        self._uses: dict[str, list[Row[Any]]] = {}
        self._policies: dict[str, Policy | None] = {}

    def in_force(self, account: Account, at: datetime) -> InForce:
        """Return what was in force in a store at a moment; before the first that is kept, the first."""
        if account.name not in self._uses:
            u = policy_uses.c
            told = sa.select(policy_uses).where(u.store == account.name).order_by(u.since)
            self._uses[account.name] = list(self._connection.execute(told))
        uses = self._uses[account.name]
        use = next((one for one in reversed(uses) if one.since <= at), uses[0] if uses else None)
        if use is None or use.hash == account.policy_hash:
            return InForce(account.policy, account.policy_hash, use.mode if use else account.mode)
        policy = self._policy(use.hash)
        return InForce(policy or account.policy, use.hash, use.mode, policy is not None)

    def _policy(self, hash_: str) -> Policy | None:
        if hash_ not in self._policies:
            body = self._connection.execute(sa.select(policies.c.body).where(policies.c.hash == hash_)).scalar()
            try:
                self._policies[hash_] = POLICY.validate_python((body or {})[EXACT])
            except (KeyError, ValueError):  # of a version that kept it for reading only, or of a newer one
                self._policies[hash_] = None
        return self._policies[hash_]


Reading = Callable[[Row[Any]], Meaning | None]


def shipments_at(
    connection: Connection,
    order_ids: Sequence[int],
    until: datetime,
    *,
    reading: Reading | None = None,
) -> dict[int, list[Shipment]]:
    """Return the shipments of orders as of a moment, from the scans that were known by then.

    `reading` gives a scan row another meaning (a new mapping); None where it has none. The estimate is the one of then.
    """
    slow = slow_at(connection, until)
    present: dict[int, list[tuple[int, Shipment]]] = defaultdict(list)
    rows = connection.execute(
        sa.select(fulfilments.c.order_id, fulfilment_shipments.c.linked_at, shipments)
        .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
        .join(shipments, shipments.c.id == fulfilment_shipments.c.shipment_id)
        .where(fulfilments.c.order_id.in_(order_ids), fulfilment_shipments.c.linked_at <= until)
        .order_by(fulfilments.c.order_id, shipments.c.id)
    ).all()
    ids = {row.id for row in rows}
    told = _told(connection, ids, until, reading)
    promised = _promised(connection, rows, until)
    watched = sa.select(watches.c.shipment_id).where(watches.c.shipment_id.in_(list(ids)))
    asked = set(connection.execute(watched).scalars())
    here = {(row.order_id, row.id) for row in rows}
    for row in rows:
        if (row.order_id, row.leg_of) in here:
            continue
        legs = [leg.id for leg in rows if (leg.order_id, leg.leg_of) == (row.order_id, row.id)]
        summary = summarize(as_one(told[row.id], [one for leg in legs for one in told[leg]]))
        edd = next((promised[id_] for id_ in (row.id, *legs) if id_ in promised), None)
        state = TrackingState.ACTIVE if summary.scans else TrackingState.PENDING
        until_ = ALWAYS if row.id in asked or summary.scans else None
        shipment = Shipment(
            row.carrier, row.number, row.generation, summary, state, edd, row.linked_at, row.carrier in slow,
            asked_until=until_,
        )  # fmt: skip
        if all(row.id != known for known, _ in present[row.order_id]):
            present[row.order_id].append((row.id, shipment))
    return {order_id: [shipment for _, shipment in present[order_id]] for order_id in order_ids}


def _promised(connection: Connection, rows: Sequence[Row[Any]], until: datetime) -> dict[int, Edd]:
    """Return the estimate of a moment of each shipment that had one."""
    e = estimates.c
    found = {}
    known = sa.and_(queries.among(connection, e.shipment_id, sorted({row.id for row in rows})), e.told_at <= until)
    for one in connection.execute(sa.select(e.shipment_id, e.begins, e.ends).where(known).order_by(e.id)):
        found[one.shipment_id] = Edd(one.begins, one.ends)
    for row in rows:  # the newest stands here too: an older version beside us keeps no other
        if row.edd_begins and row.edd_ends and (row.edd_told_at is None or row.edd_told_at <= until):
            found[row.id] = Edd(row.edd_begins, row.edd_ends)
    return found


def _told(
    connection: Connection, ids: Iterable[int], until: datetime, reading: Reading | None
) -> Mapping[int, list[StoredScan]]:
    found: dict[int, list[StoredScan]] = defaultdict(list)
    s = scans.c
    select: sa.Select[Any] = (
        sa.select(*STORED_SCAN, s.account, s.text, s.withdrawn_at, s.missing_since)
        .where(s.shipment_id.in_(list(ids)), s.first_seen_at <= until)
        .order_by(s.shipment_id, s.instant.desc())
    )  # fmt: skip
    for row in connection.execute(select):
        if len(found[row.shipment_id]) >= MOST_SCANS:
            continue
        withdrawn = row.withdrawn_at is not None and row.withdrawn_at <= until
        one = stored_scan(row, (row.missing_since or row.withdrawn_at) if withdrawn else None)
        confirmed = row.confirmed_at is not None and row.confirmed_at <= until
        if reading is not None:
            from tracker.domain.facts import UNMAPPED

            one = replace(one, meaning=reading(row) or UNMAPPED)
        found[row.shipment_id].append(replace(one, confirmed=confirmed))
    return found


def quiet_until(states: Mapping[str, Row[Any]], order: Row[Any]) -> datetime | None:
    """Return the moment before which nothing of an order is written: its store's connection, or a replay."""
    state = states.get(order.store)
    moments = [m for m in (state.connected_at if state is not None else None, order.quiet_before) if m is not None]
    return max(moments, default=None)


def account_rows(connection: Connection) -> dict[str, Row[Any]]:
    """Read every account's row, by name."""
    return {row.name: row for row in connection.execute(_ACCOUNTS)}


# Statements that every batch says are made once.

_ACCOUNTS = sa.select(accounts)
_SLOW = sa.select(findings.c.subject).where(
    findings.c.kind == FindingKind.CARRIER_SLOWDOWN, findings.c.closed_at.is_(None)
)


@cache
def _versions(sqlite: bool) -> sa.Select[Any]:
    v = order_versions.c
    columns = (
        v.order_id,
        v.version,
        v.seen_at,
        v.previous_read_at,
        v.actor,
        v.status,
        v.raw_status,
        v.payment,
        v.numbers,
    )
    return sa.select(*columns).where(queries.one_of(sqlite, v.order_id, "ids")).order_by(v.order_id, v.version)


@cache
def _spoken(sqlite: bool) -> sa.Select[Any]:
    return sa.select(statements).where(queries.one_of(sqlite, statements.c.order_id, "ids")).order_by(statements.c.id)


@cache
def _parcels(sqlite: bool) -> sa.Select[Any]:
    """Select the shipments of orders, each once for every account that watches it."""
    here = queries.one_of(sqlite, fulfilments.c.order_id, "ids")
    s, t = shipments.c, watches.c
    columns = (s.id, s.carrier, s.number, s.generation, s.summary, s.edd_begins, s.edd_ends, s.leg_of)
    watch = (
        t.tracking_state,
        t.next_poll_at,
        t.checked_at,
        t.as_of,
        t.overdue_since,
        accounts.c.suspended_reason,
        accounts.c.paused_at,
        accounts.c.spent,
        accounts.c.files_at,
    )
    return (
        sa.select(fulfilments.c.order_id, fulfilment_shipments.c.linked_at, *columns, *watch)
        .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
        .join(shipments, s.id == fulfilment_shipments.c.shipment_id)
        .outerjoin(watches, t.shipment_id == s.id)
        .outerjoin(accounts, accounts.c.name == t.account)
        .where(here)
        .order_by(fulfilments.c.order_id, s.carrier, s.number, s.generation, s.id)
    )
