"""How often parcels are asked about, as the database groups them: what `domain.cadence.pace_of` says of one, of many at once."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from tracker.domain.cadence import DEFAULT, NEAR, Pace
from tracker.domain.vocabulary import ShippingStatus
from tracker.pipeline.context import AppContext
from tracker.store.tables import Utc, shipments, watches

_CUSTODY = [str(status) for status in ShippingStatus if status.custody]


def columns(ctx: AppContext, now: datetime) -> list[sa.ColumnElement[Any]]:
    """Return what of `watches` joined with `shipments` says how often a parcel is asked about.

    `carrier` (where it has a cadence of its own), `status`, and whether it is `quiet`, `near` its estimate, `ended` (0 or 1). An end that is in doubt, which is rare, is taken for an end.
    """
    s = shipments.c
    since = _quiet_since(ctx, now)
    quiet = sa.and_(sa.func.coalesce(s.last_scan_at, s.starts_at) <= since, s.starts_at <= since)
    near = sa.and_(
        s.edd_begins.isnot(None), s.edd_begins <= now + NEAR, s.edd_ends >= now - NEAR, s.status.in_(_CUSTODY)
    )
    ended = sa.and_(s.closed_at.isnot(None), s.status != ShippingStatus.LOST)
    parts = [
        sa.case((part, 1), else_=0).label(name) for name, part in (("quiet", quiet), ("near", near), ("ended", ended))
    ]
    by_carrier = sorted(ctx.config.root.cadence.carriers)
    carrier = sa.case((s.carrier.in_(by_carrier), s.carrier)) if by_carrier else sa.null()
    return [carrier.label("carrier"), s.status, *parts]


def pace_of(row: Row[Any], *, fed: bool = False) -> Pace:
    """Return how often the parcels of a row of `columns` are asked about."""
    return Pace(ShippingStatus(row.status), quiet=bool(row.quiet), near=bool(row.near), fed=fed)


def _quiet_since(ctx: AppContext, now: datetime) -> sa.ColumnElement[datetime]:
    """Return since when a parcel must have been silent to be quiet: mostly one moment, else by account and carrier."""
    cadence = ctx.config.root.cadence
    own = defaultdict[timedelta, list[str]](list)
    for account in ctx.config.carrier_accounts():
        if account.cadence.quiet_after is not None:
            own[account.cadence.quiet_after].append(account.name)
    cases: list[Any] = [(watches.c.account.in_(names), _moment(now - after)) for after, names in own.items()]
    cases += [
        (shipments.c.carrier == carrier, _moment(now - part.quiet_after))
        for carrier, part in cadence.carriers.items()
        if part.quiet_after is not None
    ]
    otherwise = _moment(now - (cadence.quiet_after or DEFAULT.quiet_after))
    return sa.case(*cases, else_=otherwise) if cases else otherwise


def _moment(at: datetime) -> sa.ColumnElement[datetime]:
    return sa.literal(at, Utc)
