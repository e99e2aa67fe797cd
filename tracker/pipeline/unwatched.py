"""Which parcels nobody watches: told at once, one finding a store and carrier, and watched as soon as an account covers them.

A link whose parcel no account watches says so (`fulfilment_shipments.unwatched`: store/carrier, or store/the shop's word
where nobody knows the carrier). What is counted is a month's: older ones would be expired if somebody had asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.model import Config
from tracker.config.plugins import carriers
from tracker.domain.cadence import DEFAULT
from tracker.domain.facts import UNIDENTIFIED, Finding
from tracker.domain.numbers import clean
from tracker.domain.texts import printable
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import (
    findings,
    fulfilment_shipments,
    fulfilments,
    orders,
    shipments,
    watches,
)

NO_WORD = "no company told"
AT_ONCE = 500
MOST_NAMED = 3  # of accounts that could be asked
_KIND = FindingKind.CARRIER_NOT_COVERED
_FS = fulfilment_shipments.c


@dataclass(frozen=True)
class Uncovered:
    """The parcels of one store and carrier that nobody watches. `known`: `carrier` is one of ours, else the shop's word."""

    store: str
    carrier: str
    known: bool
    parcels: int
    since: datetime

    def __str__(self) -> str:
        """Say it in one line."""
        whose = self.carrier if self.known else repr(self.carrier)
        return f"{self.parcels} of {whose} since {self.since:%Y-%m-%d %H:%M}Z are watched by nobody"


def some_of(names: Sequence[str], what: str = "") -> str:
    """Name the first of many, and say how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more {what}".rstrip() if more > 0 else "")


def carrier_key(store: str, carrier: str, company: str) -> str:
    """Name what a link's parcel would need: its store and carrier, or the shop's word where the carrier is not known."""
    if not carrier.startswith(UNIDENTIFIED):
        return f"{store}/{carrier}"
    word = " ".join(printable(company).split())[:60]
    return f"{store}/{UNIDENTIFIED}{word or NO_WORD}"


def uncovered(
    ctx: AppContext, connection: Connection, *, store: str | None = None, marks: Collection[str] | None = None
) -> list[Uncovered]:
    """Return what nobody watches, by store and carrier; of one store, or of some marks only."""
    since = ctx.now() - DEFAULT.expired_after
    many, first = sa.func.count(sa.distinct(_FS.shipment_id)), sa.func.min(_FS.linked_at)
    select = sa.select(_FS.unwatched, many, first).where(_FS.unwatched.isnot(None), _FS.linked_at >= since)
    if marks is not None:
        select = select.where(_FS.unwatched.in_(list(marks)))
    if store is not None:
        select = select.where(_FS.unwatched.startswith(f"{store}/", autoescape=True))
    found = []
    for name, parcels, at in connection.execute(select.group_by(_FS.unwatched).order_by(_FS.unwatched)):
        where, _, whose = name.partition("/")
        known = not whose.startswith(UNIDENTIFIED)
        found.append(Uncovered(where, whose.removeprefix(UNIDENTIFIED), known, parcels, at))
    return found


def tell_at_once(ctx: AppContext, connection: Connection, marks: Collection[str], now: datetime) -> None:
    """Open the findings of what was linked just now; those that are open are left to `look`."""
    f = findings.c
    known = sa.select(f.subject).where(f.kind == _KIND, f.closed_at.is_(None))
    there = set(connection.execute(known).scalars())
    if fresh := [one for one in marks if _subject_of(one) not in there]:
        _open(ctx, connection, uncovered(ctx, connection, marks=fresh), now)


def look(ctx: AppContext, connection: Connection, now: datetime) -> bool:
    """Bring the findings in line with what nobody watches. Returns whether an account covers some of it: then somebody is chosen for it."""
    found = uncovered(ctx, connection)
    _open(ctx, connection, found, now)
    stand = {_subject(one.store, one.carrier) for one in found}
    f = findings.c
    open_now = connection.execute(sa.select(f.id, f.subject).where(f.kind == _KIND, f.closed_at.is_(None)))
    if over := [row.id for row in open_now if row.subject not in stand]:
        queries.close_findings(
            connection, f.id.in_(over), now, "watch", "of the last month's parcels none is unwatched any more"
        )
    return any(_covered(ctx.config, one) for one in found)


def bring_in_line(ctx: AppContext) -> None:
    """Mark the links of open parcels that nobody watches, and no others; then tell of them."""
    with ctx.store.write() as connection:
        watched = sa.exists().where(watches.c.shipment_id == _FS.shipment_id, watches.c.chosen.isnot(None))
        mended = sa.and_(_FS.unwatched.isnot(None), watched)
        connection.execute(fulfilment_shipments.update().where(mended).values(unwatched=None))
    _mark(ctx)
    with ctx.store.write() as connection:
        look(ctx, connection, ctx.now())


def _mark(ctx: AppContext) -> None:
    """Mark the links of a month whose open parcels nobody watches."""
    s, o = shipments.c, orders.c
    since = ctx.now() - DEFAULT.expired_after
    watched = sa.exists().where(watches.c.shipment_id == s.id, watches.c.chosen.isnot(None))
    some = (
        sa.select(_FS.fulfilment_id, s.id, s.carrier, s.number, o.store, o.facts)
        .join(fulfilment_shipments, _FS.shipment_id == s.id)
        .join(fulfilments, fulfilments.c.id == _FS.fulfilment_id)
        .join(orders, o.id == fulfilments.c.order_id)
        .where(s.closed_at.is_(None), _FS.unwatched.is_(None), _FS.linked_at >= since, ~watched)
        .order_by(_FS.fulfilment_id, s.id)
        .limit(AT_ONCE)
    )
    after: sa.ColumnElement[bool] = sa.true()
    while True:
        with ctx.store.write() as connection:
            rows = connection.execute(some.where(after)).all()
            for row in rows:
                this = sa.and_(_FS.fulfilment_id == row.fulfilment_id, _FS.shipment_id == row.id)
                name = carrier_key(row.store, row.carrier, _company(row.facts, row.number))
                connection.execute(fulfilment_shipments.update().where(this).values(unwatched=name))
        if len(rows) < AT_ONCE:
            return
        after = sa.tuple_(_FS.fulfilment_id, s.id) > sa.tuple_(*map(sa.literal, (rows[-1].fulfilment_id, rows[-1].id)))


def _company(order: Mapping[str, Any], number: str) -> str:
    """Return the shop's word for the carrier of a number, from an order as it is stored."""
    parcels = (
        parcel for part in order["fulfilments"] for parcel in part["parcels"] if clean(parcel["number"]) == number
    )
    return next((parcel.get("company") or "" for parcel in parcels), "")


def _covered(config: Config, one: Uncovered) -> bool:
    return bool(config.candidates(one.carrier if one.known else None, one.store))


def _subject(store: str, carrier: str) -> str:
    return f"store/{store}/carrier/{carrier}"


def _subject_of(carrier_key: str) -> str:
    store, _, carrier = carrier_key.partition("/")
    return _subject(store, carrier.removeprefix(UNIDENTIFIED))


def _open(ctx: AppContext, connection: Connection, found: Collection[Uncovered], now: datetime) -> None:
    told = []
    for one in found:
        evidence = {
            "store": one.store, "carrier" if one.known else "company": one.carrier, "parcels": str(one.parcels),
            "since": f"{one.since:%Y-%m-%d %H:%M}Z", "would_cover": ", ".join(would_cover(one)) or "no plugin",
        }  # fmt: skip
        proposal = how_to_cover(ctx.config, one)
        subject = _subject(one.store, one.carrier)
        told.append((None, Finding(_KIND, subject, Severity.WARNING, Act.ACT, evidence, one.since, proposal)))
    tell.report_findings(ctx, connection, told, now, by="watch")


def would_cover(one: Uncovered) -> list[str]:
    """Name the plugins that could tell of a carrier: its own first, then those that tell of any.

    Not those whose entry names the carrier (`csv`, `generic`): they tell of any only where somebody describes it.
    """
    own, general = [], []
    for name, plugin in carriers():
        if one.known and one.carrier in plugin.carriers:
            own.append(name)
        elif not plugin.carriers and "carrier" not in plugin.Settings.model_fields:  # an entry names whose it tells
            general.append(f"{name} (any carrier)")
    return own + general


def how_to_cover(config: Config, one: Uncovered) -> str:
    """Say what would have these parcels watched."""
    carrier = one.carrier if one.known else None
    direct, general = config.speakers(carrier)  # the store names others: else one of them would be asked
    others = direct or general
    ways = [f"add {some_of(others)} to stores.{one.store}.accounts"] if others else []
    for account in config.carrier_accounts():
        if (
            account.tracks is not None
            and one.known
            and (not account.carrier.carriers or one.carrier in account.carrier.carriers)
        ):
            ways.append(f"add {one.carrier} to accounts.{account.name}.tracks")
    if not one.known:
        ways.append(f"name its carrier: stores.{one.store}.carriers: {{{one.carrier!r}: CARRIER}}")
    if plugins := would_cover(one):
        ways.append(f"add an account that uses {' or '.join(name.partition(' ')[0] for name in plugins)}")
    return f"{'; or '.join(ways)}; then reload (SIGHUP)" if ways else f"a plugin for {one.carrier}: carriers/README.md"


def named(config: Config) -> list[str]:
    """Say which carriers a store's words for companies name that no account covers."""
    found = []
    for store in config.store_accounts():
        words = getattr(store.source.settings, "carriers", None) or {}
        for word, carrier in sorted(words.items()):
            if not config.candidates(carrier, store.name):
                found.append(f"stores.{store.name}.carriers: {word!r} is {carrier}, which no account covers")
    return found


def left(ctx: AppContext, connection: Connection) -> list[str]:
    """Say which parcels nobody watches under a configuration, and which would lose an account that it does not name."""
    found = []
    for one in uncovered(ctx, connection):
        if _covered(ctx.config, one):
            found.append(f"{one.store}: {one}; by this file an account covers them: they are watched once it is read")
        else:
            found.append(f"{one.store}: {one}; {how_to_cover(ctx.config, one)}")
    t = watches.c
    watching = sa.select(t.account, sa.func.count()).where(t.next_poll_at.isnot(None)).group_by(t.account)
    for account, parcels in connection.execute(watching.order_by(t.account)):
        if account not in ctx.config.accounts:
            found.append(f"accounts.{account} is not in this file: it watches {parcels} open parcels, which lose it")
    return found
