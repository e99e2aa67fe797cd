"""Tell sources about parcels: register them, again before that ends, stop them, track them again. And the quota for it.

Where a number costs something nobody registers more than the quota gives: the others wait, each as it is, and one finding tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import BadPayload, NotFound, Refused
from tracker.domain.facts import Finding, Parcel, Parcels, Quota, Registered
from tracker.domain.vocabulary import Act, FindingKind, Severity, TrackingState
from tracker.pipeline import registration, tell
from tracker.pipeline.context import AppContext
from tracker.pipeline.poll.calls import REGISTRATION, Call
from tracker.plugin.calls import Client
from tracker.plugin.contracts import Carrier
from tracker.store import queries
from tracker.store.codec import SUMMARY
from tracker.store.tables import accounts, findings, fulfilment_shipments, fulfilments, orders, watches

RENEW_BEFORE = timedelta(days=1)
QUOTA_AGAIN = timedelta(hours=1)  # a quota that is used up is asked for again, and one that is known counts so long
A_WEEK = timedelta(days=7)
REGISTER, STOP, AGAIN, NOTHING = "register", "stop", "again", "nothing"
_T = watches.c
NAMED = sa.exists().where(fulfilment_shipments.c.shipment_id == _T.shipment_id)  # an order names the parcel

Ask = Callable[[Client, Parcels], list[Registered]]


@dataclass
class Told:
    """What a source answered, by number, and what its quota was before, where it was asked."""

    answers: dict[str, Registered] = field(default_factory=dict)
    quota: Quota | None = None


def act(carrier: Carrier, row: Row[Any]) -> str:
    """Say what a source is told about a parcel that is due: its row says too whether an order names it (`named`)."""
    if not carrier.stops:
        return REGISTER
    stopped = row.tracking_state == TrackingState.STOPPED
    if not row.named:
        return NOTHING if row.registered_at is None or stopped else STOP
    return AGAIN if stopped and row.registered_at is not None else REGISTER


def ask(
    ctx: AppContext, account: Account, state: Row[Any], parcels: Sequence[tuple[Row[Any], Parcel]], told: Told
) -> Told:
    """Tell a source of some parcels; what is learnt is in `told` at once. `state`: the account's row, with what is known of its quota."""
    client, carrier = ctx.client(account), account.carrier
    by: dict[str, list[Parcel]] = defaultdict(list)
    for row, parcel in parcels:
        by[act(carrier, row)].append(parcel)
    if by[STOP]:
        told.answers |= _each(carrier.stop, client, by[STOP])
    if by[AGAIN]:
        told.answers |= _each(carrier.track_again, client, by[AGAIN])
    if by[REGISTER]:
        left, told.quota = _left(carrier, client, state, len(by[REGISTER]), ctx.now())
        told.answers |= {parcel.number: Registered(parcel.number, spent=True) for parcel in by[REGISTER][left:]}
        if some := by[REGISTER][:left]:
            told.answers |= _each(carrier.register, client, some)
    return told


def _left(
    carrier: Carrier, client: Client, state: Row[Any], wanted: int, now: datetime
) -> tuple[int | None, Quota | None]:
    """Return how many numbers may be registered (None: any), and the quota where it was asked for just now."""
    known = state.quota_left if state.quota_at is not None and now - state.quota_at < QUOTA_AGAIN else None
    if known is not None and (known == 0 or known >= wanted):
        return known, None
    quota = carrier.quota(client)
    return (quota.left if quota is not None else None), quota


def _each(ask: Ask, client: Client, parcels: Sequence[Parcel]) -> dict[str, Registered]:
    """Ask about parcels at once; where that is refused as a whole, in halves, until the one that did it stands alone."""
    try:
        return {answer.number: answer for answer in ask(client, Parcels(tuple(parcels)))}
    except (Refused, NotFound) as error:
        if len(parcels) == 1:
            return {parcels[0].number: Registered(parcels[0].number, refused=str(error))}
    middle = len(parcels) // 2
    return _each(ask, client, parcels[:middle]) | _each(ask, client, parcels[middle:])


@dataclass
class Kept:
    """What the storing of registrations leaves to do: whose orders are decided anew, and about which another may be asked."""

    moved: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)


def store(ctx: AppContext, connection: Connection, call: Call, rows: Sequence[Row[Any]], now: datetime) -> Kept:
    """Keep what a source answered about rows that are still ours, with what is known of their parcels now."""
    told: Told = call.result or Told()
    kept, acts = Kept(), {row.id: act(call.account.carrier, row) for row in call.rows}
    for row in rows:
        answer = told.answers.get(row.number)
        if answer is None and isinstance(call.error, Refused | NotFound | BadPayload):
            answer = Registered(row.number, refused=str(call.error))
        values: dict[str, Any] = {"claimed_until": None}
        if acts[row.id] == NOTHING:
            values["register_at"] = None
        elif answer is None:
            again = now + queries.backoff(min(row.attempts, 10) + 4)
            values["register_at"] = again if row.chosen is not None or acts[row.id] == STOP else None
        elif answer.spent:
            values["register_at"] = now + QUOTA_AGAIN
        elif acts[row.id] == STOP:
            values |= {"tracking_state": TrackingState.STOPPED, "register_at": None, "next_poll_at": None}
        elif answer.refused is not None:
            values |= _refused(ctx, connection, call.account, row, answer.refused, acts[row.id], kept, now)
        else:
            values |= _taken(call.account.carrier, row, answer, acts[row.id], now)
        connection.execute(watches.update().where(_T.id == row.id).values(**values))
    return kept


def _taken(carrier: Carrier, row: Row[Any], answer: Registered, what: str, now: datetime) -> dict[str, Any]:
    """Return what a watch becomes whose number was taken; where a source tells nothing before, it is asked from now on."""
    summary = SUMMARY.validate_python(row.summary)
    ended = summary.status.terminal
    renew = answer.until - RENEW_BEFORE if answer.until and not ended and row.chosen is not None else None
    values: dict[str, Any] = {
        "registered_at": now, "registered_until": answer.until, "register_at": renew,
        "their_ref": answer.their_ref or row.their_ref, "rejected_reason": None,
    }  # fmt: skip
    if what == AGAIN:
        values["tracking_state"] = TrackingState.ACTIVE if summary.scans else TrackingState.PENDING
    if carrier.registers_first and row.next_poll_at is None and row.chosen is not None:
        values["next_poll_at"] = now + registration.FIRST_LOOK
    return values


def _refused(
    ctx: AppContext,
    connection: Connection,
    account: Account,
    row: Row[Any],
    said: str,
    what: str,
    kept: Kept,
    now: datetime,
) -> dict[str, Any]:
    """Return what a watch becomes whose number was not taken, and tell of it."""
    values: dict[str, Any] = {"rejected_reason": said[:200], "register_at": None}
    if account.carrier.registers_first:
        kept.refused.add(row.shipment_id)
        if what == REGISTER:
            values |= {"tracking_state": TrackingState.UNSUPPORTED, "next_poll_at": None}
            kept.moved.add(row.shipment_id)
    linked = connection.execute(
        sa.select(orders.c.id, orders.c.number)
        .join(fulfilments, fulfilments.c.order_id == orders.c.id)
        .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
        .where(fulfilment_shipments.c.shipment_id == row.shipment_id)
        .limit(1)
    ).one_or_none()
    kind, severity = FindingKind.REGISTRATION_REFUSED, Severity.INFO
    if what == AGAIN:
        kind, severity = FindingKind.TRACKING_STOPPED, Severity.WARNING
    finding = Finding(
        kind, f"{account.name}/{row.carrier}/{row.number}", severity, Act.MONITOR,
        {"account": account.name, "parcel": f"{row.carrier} {row.number}", "order": linked.number if linked else "",
         "said": said[:200]},
    )  # fmt: skip
    tell.report_findings(ctx, connection, [(linked.id if linked else None, finding)], now, by="registration")
    ctx.count("tracker_registrations_refused_total", account=account.name)
    return values


# the quota


def keep_quota(ctx: AppContext, connection: Connection, account: Account, calls: Sequence[Call], now: datetime) -> None:
    """Keep what is known of an account's quota after some registrations, and tell while it is low. Its row is locked last."""
    told = [call.result for call in calls if call.kind == REGISTRATION and isinstance(call.result, Told)]
    asked = [one.quota for one in told if one.quota is not None]
    a = accounts.c
    row = connection.execute(
        queries.locked(connection, sa.select(accounts).where(a.name == account.name))
    ).one_or_none()
    spent = any(answer.spent for one in told for answer in one.answers.values())
    if row is None or (row.quota_left is None and not asked and not spent):
        return
    taken = sum(answer.refused is None and not answer.spent for one in told for answer in one.answers.values())
    values: dict[str, Any] = {}
    if asked or spent:
        values = {"quota_of": asked[-1].of if asked else row.quota_of, "quota_at": now}
    before = min((quota.left for quota in asked), default=row.quota_left or 0)
    left = 0 if spent else max(0, before - taken)
    connection.execute(accounts.update().where(a.name == account.name).values(quota_left=left, **values))
    _tell_quota(ctx, connection, account, left, values.get("quota_of", row.quota_of), now)


def _tell_quota(
    ctx: AppContext, connection: Connection, account: Account, left: int, of: int | None, now: datetime
) -> None:
    """Open a finding while a quota is used up or lasts for less than another week like the last; close it else."""
    mine = sa.select(sa.func.count()).select_from(watches).where(_T.account == account.name)
    a_week = connection.execute(mine.where(_T.registered_at > now - A_WEEK)).scalar_one()
    subject = f"account/{account.name}"
    if left >= a_week and left > 0:
        over = sa.and_(findings.c.subject == subject, findings.c.kind == FindingKind.QUOTA_LOW)
        queries.close_findings(connection, over, now, "registration", "the quota suffices for a week")
        return
    waits = connection.execute(mine.where(_T.register_at.isnot(None), _T.registered_at.is_(None))).scalar_one()
    evidence = {
        "account": account.name, "state": "lasts for less than a week" if left else "used up", "left": str(left),
        "of": str(of) if of is not None else "not told", "a_week": str(a_week), "waits": str(waits),
    }  # fmt: skip
    proposal = (
        f"buy more at the source; what waits is registered within {QUOTA_AGAIN // timedelta(minutes=1)} minutes then"
    )
    finding = Finding(FindingKind.QUOTA_LOW, subject, Severity.WARNING, Act.ACT, evidence, now, proposal)
    tell.report_findings(ctx, connection, [(None, finding)], now, by="registration")


def put_off(ctx: AppContext, calls: Sequence[Call]) -> None:
    """Have all wait whose account's quota is used up, not only those that were asked for just now: each hour some try."""
    spent = sorted(
        {
            call.account.name
            for call in calls
            if call.kind == REGISTRATION and isinstance(call.result, Told)
            for answer in call.result.answers.values()
            if answer.spent
        }
    )
    for name in spent:
        with ctx.store.write() as connection:
            until = ctx.now() + QUOTA_AGAIN
            free = _T.claimed_until.is_(None)
            mine = sa.and_(_T.account == name, _T.register_at < until, _T.registered_at.is_(None), free)
            here = queries.in_order(connection, _T.id, mine)
            connection.execute(watches.update().where(here).values(register_at=until))


def try_now(ctx: AppContext) -> None:
    """Have what waits for a quota registered now: somebody knows that there is more."""
    with ctx.store.write() as connection:
        now = ctx.now()
        waits = sa.and_(_T.register_at > now, _T.registered_at.is_(None), _T.claimed_until.is_(None))
        connection.execute(watches.update().where(queries.in_order(connection, _T.id, waits)).values(register_at=now))
        connection.execute(accounts.update().where(accounts.c.quota_at.isnot(None)).values(quota_at=None))


def waiting(connection: Connection) -> Mapping[str, int]:
    """Count the parcels that wait to be registered, by account."""
    rows = sa.select(_T.account, sa.func.count()).where(_T.register_at.isnot(None), _T.registered_at.is_(None))
    return {name: int(many) for name, many in connection.execute(rows.group_by(_T.account))}
