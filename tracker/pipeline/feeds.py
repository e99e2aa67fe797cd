"""Feeds of carriers: what one that is whole spares, and what is asked instead while it has a gap.

A sweep of a carrier's account tells what changed among its parcels. A feed is *whole* while its sweeps come to their end; `accounts.swept_at`
says as of when. A parcel that it told of before is looked at rarely then; one that it never told of is asked about as ever: it may be of
another customer of the carrier. Where the feed is late, each parcel that it spared falls due by its ordinary cadence, counted from the last
moment of which the feed told. What a feed can tell no more, because it was not read for too long, is asked about in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.config.presets import spell
from tracker.domain.cadence import Cadence
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity, ShippingStatus
from tracker.pipeline import paces, tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import accounts, findings, inbox, scans, shipments, watches

LATE = 3  # intervals in which no sweep came to its end
_KIND = FindingKind.FEED_GAP
_A, _T, _S = accounts.c, watches.c, shipments.c


def is_whole(account: Account, swept_at: datetime | None, now: datetime) -> bool:
    """Say whether a feed tells all that becomes of its parcels: the last sweep that came to its end began not long ago."""
    return swept_at is not None and now - swept_at <= LATE * account.sweep_every


def whole(ctx: AppContext, connection: Connection, now: datetime) -> dict[str, datetime]:
    """Return the accounts whose feeds are whole, and as of when. The rows tell which have one: no other entry is read for it."""
    read = sa.select(_A.name, _A.swept_at).where(
        _A.kind == "carrier", _A.next_sweep_at.isnot(None), _A.swept_at.isnot(None), _A.suspended_reason.is_(None)
    )
    found = [(ctx.account(name), at) for name, at in connection.execute(read)]
    return {account.name: at for account, at in found if account is not None and is_whole(account, at, now)}


def known_at(whole: Mapping[str, datetime]) -> sa.ColumnElement[datetime]:
    """Return as of when an account knows a parcel (of `watches`): its last look, or how far its feed, which tells of it, was read since."""
    at: sa.ColumnElement[datetime] = _T.checked_at
    for name, swept in sorted(whole.items()):
        told = sa.and_(_T.account == name, _T.fed_at.isnot(None), _T.checked_at < swept)
        at = sa.case((told, sa.literal(swept, _T.checked_at.type)), else_=at)
    return at


def ask_about(connection: Connection, account: str, numbers: set[str], now: datetime) -> None:
    """Have an account asked at once about parcels of which its feed told something that could not be read."""
    here = sa.select(_S.id).where(queries.among(connection, _S.number, sorted(numbers)))
    queries.poll_now(connection, sa.and_(_T.account == account, _T.shipment_id.in_(here)), now, urgent=True)


def unexplained(connection: Connection, shipment_ids: Sequence[int]) -> set[int]:
    """Return the shipments of which a feed told a code without a meaning, and no answer about them tells anything as late."""
    one, other, i, j = scans.alias(), scans.alias(), inbox.alias(), inbox.alias()
    of_feed = sa.exists().where(i.c.id == one.c.inbox_id, i.c.kind == "sweep")
    of_other = sa.exists().where(
        other.c.shipment_id == one.c.shipment_id,
        other.c.instant >= one.c.instant,
        ~sa.exists().where(j.c.id == other.c.inbox_id, j.c.kind == "sweep"),
    )
    unclear = sa.or_(one.c.status.is_(None), one.c.status == ShippingStatus.UNKNOWN)
    here = queries.among(connection, one.c.shipment_id, shipment_ids)
    return set(connection.execute(sa.select(one.c.shipment_id).where(here, unclear, of_feed, ~of_other)).scalars())


def goes_on(
    ctx: AppContext, connection: Connection, account: Account, state: Row[Any], asked: datetime, business: datetime
) -> None:
    """Take that a sweep of a feed came to its end. What it can tell no more is asked about, and a person told."""
    since: datetime | None = state.swept_at
    if since is None or asked - since <= account.carrier.reaches_back:
        return
    fall_back(ctx, connection, account, since, business)
    until = asked - account.carrier.reaches_back
    why = f"it was not read for longer than the {spell(account.carrier.reaches_back)} that it tells of"
    _tell(ctx, connection, account, since, f"{until:%Y-%m-%d %H:%M}Z", why, business)


def look(ctx: AppContext, connection: Connection, now: datetime) -> None:
    """Have the parcels of feeds that are late asked about, and say so; close what is over."""
    feeds = {account.name: account for account in ctx.config.feeds}
    if not feeds:
        return
    rows = connection.execute(sa.select(accounts).where(_A.name.in_(sorted(feeds))).order_by(_A.name)).all()
    for row in rows:
        account = feeds[row.name]
        if is_whole(account, row.swept_at, now):
            _over(connection, account, now)
        elif row.swept_at is not None and row.suspended_reason is None and row.paused_at is None:
            fall_back(ctx, connection, account, row.swept_at, now)
            why = row.failing_why or ("it fails" if row.sweep_failing_since is not None else "it was not read")
            _tell(ctx, connection, account, row.swept_at, "", why, now)


def fall_back(ctx: AppContext, connection: Connection, account: Account, since: datetime, now: datetime) -> int:
    """Have each parcel that a feed spared asked about by its ordinary cadence, as it was known at `since`. Returns how many.

    Parcels that were looked at later are left as they are, so that it may be said again.
    """
    spared = (
        _T.account == account.name,
        _T.next_poll_at > now,
        _T.fed_at.isnot(None),
        sa.or_(_T.checked_at.is_(None), _T.checked_at < since),
    )
    asked = (
        sa.select(_T.id, *paces.columns(ctx, now)).join(shipments, _S.id == _T.shipment_id).where(*spared).subquery()
    )
    kinds, count = [column for column in asked.c if column.name != "id"], 0
    for row in connection.execute(sa.select(*kinds).distinct()).all():
        at = since + _ordinary(row, ctx.config.cadence(account.name, row.carrier))
        alike = sa.select(asked.c.id).where(
            *(column.is_not_distinct_from(row._mapping[column.name]) for column in kinds)
        )
        here = queries.in_order(connection, _T.id, sa.and_(*spared, _T.next_poll_at > at, _T.id.in_(alike)))
        urgent = not row.ended and (bool(row.near) or row.status == ShippingStatus.OUT_FOR_DELIVERY)
        count += connection.execute(watches.update().where(here).values(next_poll_at=at, urgent=urgent)).rowcount
    if count:
        ctx.log.warning("feed_gap", account=account.name, rows=count)
        ctx.notify("poll")
    return count


def _ordinary(row: Row[Any], cadence: Cadence) -> timedelta:
    if row.ended:
        return cadence.aftercare[0] if cadence.aftercare else cadence.slowest
    return paces.pace_of(row).interval(cadence) * cadence.pace


def _tell(
    ctx: AppContext, connection: Connection, account: Account, since: datetime, until: str, why: str, now: datetime
) -> None:
    evidence = {"account": account.name, "from": f"{since:%Y-%m-%d %H:%M}Z", "until": until, "why": why[:200]}
    finding = Finding(
        _KIND, _subject(account), Severity.WARNING, Act.MONITOR, {k: v for k, v in evidence.items() if v}, since,
        "its parcels are asked about one by one until it is whole again",
    )  # fmt: skip
    tell.report_findings(ctx, connection, [(None, finding)], now, by="watch")


def _over(connection: Connection, account: Account, now: datetime) -> None:
    """Close a gap once the feed is whole; one of which it can tell no more, once each parcel was looked at since."""
    f = findings.c
    mine = sa.and_(f.kind == _KIND, f.subject == _subject(account), f.closed_at.is_(None))
    row = connection.execute(sa.select(f.id, f.evidence, f.opened_at).where(mine)).first()
    if row is None:
        return
    if "until" in row.evidence:
        unseen = sa.or_(_T.checked_at.is_(None), _T.checked_at < row.opened_at)
        left = sa.select(_T.id).where(_T.account == account.name, _T.next_poll_at.isnot(None), unseen).limit(1)
        if connection.execute(left).first() is not None:
            return
    queries.close_findings(connection, f.id == row.id, now, "watch", "the feed is whole again")


def _subject(account: Account) -> str:
    return f"account/{account.name}/feed"
