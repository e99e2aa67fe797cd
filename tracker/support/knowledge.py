"""Find what is known, as of when, and what is not: each gap by an index, counted exactly up to `MOST`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.vocabulary import FindingKind, TrackingState
from tracker.pipeline import brakes, budgets, feeds, state
from tracker.pipeline.context import AppContext
from tracker.pipeline.state import OVERDUE_AFTER
from tracker.pipeline.unwatched import Uncovered, how_to_cover, uncovered
from tracker.store import queries
from tracker.store.engine import ahead, database_now
from tracker.store.tables import (
    GIVEN_UP,
    OVERDUE,
    REFUSED,
    accounts,
    change_notices,
    findings,
    fulfilment_shipments,
    fulfilments,
    heartbeats,
    inbox,
    orders,
    outbox,
    shipments,
    watches,
)
from tracker.support.gaps import COUNTED_TO, Gap, Knowledge

K = FindingKind
_A = accounts.c
_OVERDUE, _GIVEN_UP, _REFUSED = f"({OVERDUE})", f"watches.{GIVEN_UP}", f"watches.{REFUSED}"  # as the indexes say it
NO_REASON = "no reason given"
NOT_TAKEN = "it stands in the configuration, and no process has taken it up: nothing of it was read"
MENDED = "a mended entry, then `tracker reload`"
# Findings that say: of this we do not know how it stands. What would end it, in a few words.
UNKNOWN: dict[FindingKind, tuple[str, str]] = {
    K.TRACKING_NUMBER_UNREADABLE: ("orders", "a tracking number in the shop"),
    K.TRACKING_NUMBER_DOUBTFUL: ("parcels", "the right number in the shop"),
    K.TRACKING_EXPIRED: ("parcels", "news of the carrier; `tracker dismiss` where none is wanted"),
    K.ORDER_UNREADABLE: ("orders", "a mended parser, then `tracker replay`"),
    K.PARCEL_UNREADABLE: ("parcels", "a mended parser, then `tracker replay`"),
    K.ORDER_INCOMPLETE: ("orders", "the rest of it, which the shop does not let us read"),
    K.ORDER_OUT_OF_SIGHT: ("orders", "the right to read older orders"),
    K.PAYLOAD_DEAD: ("payloads", "`tracker inbox --state dead`, then `tracker replay`"),
    K.FILE_FAILED: ("files", "a file or folder that is put right: `tracker files`"),
    K.RECONCILE_FAILED: ("orders", "a newer version: it is an error of ours"),
    K.UNKNOWN_ORDER_STATUS: ("orders", "a translation of the shop's word (`statuses:`)"),
    K.UNKNOWN_PAYMENT: ("orders", "a translation of the shop's word (`payments:`)"),
    K.UNMAPPED_CODE: ("parcels", "a meaning for the code (`tracker codes --suggest`)"),
    K.SWEEP_ENDED: ("stores", "a list in the shop that comes to its end"),
}


def unwatched_of(ctx: AppContext, connection: Connection, store: queries.Stores) -> list[Uncovered]:
    """Return what nobody watches, of some stores."""
    if isinstance(store, frozenset):
        return [one for name in sorted(store) for one in uncovered(ctx, connection, store=name)]
    return uncovered(ctx, connection, store=store)


def _within(name: str, store: queries.Stores) -> bool:
    return store is None or (name == store if isinstance(store, str) else name in store)


def _by_entry(reason: str, limited: bool = False) -> str:
    """Say why nothing is asked of an account whose entry is wrong; empty where something else suspended it.

    `limited`: to who may not read the configuration.
    """
    problem = reason.removeprefix(queries.BY_ENTRY)
    if problem == reason:
        return ""
    return "its entry in the configuration is wrong" + ("" if limited else f" ({problem})")


def knowledge(ctx: AppContext, *, store: queries.Stores = None) -> Knowledge:
    """Say what is known of all orders, or of some stores'."""
    with ctx.store.read() as connection:
        return Look(ctx, connection, store).all()


def not_read(ctx: AppContext, connection: Connection, store: queries.Stores) -> list[str]:
    """Return the stores (of some) of whose orders nothing is known now, or not all: no process took them up, or they cannot be read."""
    look = Look(ctx, connection, store)
    return sorted([*look.not_taken(), *(row.name for row in look.stores if look.dark_for(row)[1])])


class Look:
    """One look at what is known."""

    def __init__(self, ctx: AppContext, connection: Connection, store: queries.Stores) -> None:
        self.ctx, self.connection, self.store = ctx, connection, store
        self.now, self.database = ctx.now(), database_now(connection)
        self.states = state.account_rows(connection)
        self.stores = [row for row in self.states.values() if row.kind == "store" and _within(row.name, store)]
        self.limited = isinstance(store, frozenset)  # to what a token of some stores may see
        self.dark: list[str] = []  # stores of which nothing is known
        self.waits: dict[tuple[str, str], tuple[int, datetime | None]] = {}
        self._counts: dict[str, int] | None = None

    def all(self) -> Knowledge:
        """Return what is known, and what is not."""
        told = Knowledge(gaps=list(self.find_gaps()))
        told.orders = sum(self.counts().values())
        told.as_of = self.as_of()
        if not told.whole:
            told.unknown = min(self.unknown(told.gaps), told.orders)
        return told

    def counts(self) -> Mapping[str, int]:
        """Count each store's orders: those counted before, and the newer ones."""
        if self._counts is None:
            o, newer = orders.c, sa.func.count()
            since = o.id > sa.func.coalesce(_A.orders_counted_to, 0)
            more = sa.select(newer).where(o.store == _A.name, since).correlate(accounts).scalar_subquery()
            told: dict[str, int] = dict(self.connection.execute(self.of_accounts("store", more)).all())
            self._counts = {row.name: (row.orders_counted or 0) + told.get(row.name, 0) for row in self.stores}
        return self._counts

    def as_of(self) -> datetime | None:
        """Return the oldest moment of which something is known: a store's last sweep, a parcel's last look."""
        t = watches.c
        moments = [row.swept_at for row in self.stores if row.name not in self.dark]
        whole = feeds.whole(self.ctx, self.connection, self.now)
        look = sa.select(sa.func.min(feeds.known_at(whole))).where(
            t.account == _A.name, t.next_poll_at.isnot(None), *self.of_some(t.shipment_id)
        )
        looks = self.of_accounts("carrier", look.correlate(accounts).scalar_subquery())
        moments += [at for _, at in self.connection.execute(looks)]
        return min((moment for moment in moments if moment is not None), default=None)

    def find_gaps(self) -> Iterable[Gap]:
        """Find the gaps, one kind after the other."""
        self.look()
        for name in self.not_taken():
            yield Gap(
                "not_taken", name, 0, "orders", NOT_TAKEN, None, "`tracker up`, or `tracker reload` where it runs"
            )
        for row in sorted(self.stores, key=lambda row: row.name):
            yield from self.of_store(row)
        yield from self.braked()
        yield from self.waiting()
        yield from self.parcels()
        yield from self.found()

    def not_taken(self) -> list[str]:
        """Return the stores of the configuration that no process has taken up yet."""
        names = self.ctx.config.store_names()
        return sorted(name for name in names if _within(name, self.store) and name not in self.states)

    def look(self) -> None:
        """Count all that may wait, and its oldest moment: each part walks an index, and there are as many statements for any number of stores."""
        o, i, r, f, late = outbox.c, inbox.c, change_notices.c, findings.c, self.database - OVERDUE_AFTER
        mine = queries.of_stores(f.store, self.store)
        parts: dict[tuple[str, str], sa.Select[Any]] = {
            ("payloads", ""): sa.select(i.received_at.label("at")).where(i.state == "pending", i.due_at < late),
            ("orders", ""): self.uncompared(),
        }
        for kind in UNKNOWN:
            parts["found", kind] = sa.select(f.opened_at.label("at")).where(
                f.kind == kind, f.closed_at.is_(None), *mine
            )
        asked = []
        for number, part in enumerate(parts.values()):
            some = part.limit(COUNTED_TO).subquery()
            counted = sa.func.count().label("many"), sa.func.min(some.c.at).label("at")
            asked.append(sa.select(sa.literal(number).label("part"), *counted).select_from(some))
        keys = list(parts)
        told = self.connection.execute(sa.union_all(*asked))
        self.waits = {keys[row.part]: (int(row.many), row.at) for row in told if row.many}
        old = sa.or_(_A.paused_at.isnot(None), o.created_at < self.now - OVERDUE_AFTER)
        writes = sa.select(o.created_at.label("at")).where(o.state == "pending", o.store == _A.name, old)
        notices = sa.select(r.noticed_at.label("at")).where(r.account == _A.name, r.noticed_at < late)
        self.count("writes", "store", writes)
        self.count("notices", "store", notices)
        self.count("parcels", "carrier", *self.overdue(watches.c.account == _A.name))

    def count(self, what: str, kind: str, *parts: sa.Select[Any]) -> None:
        """Count what parts find of each account (`accounts.name`), and its oldest moment."""
        columns: list[sa.ScalarSelect[Any]] = []
        for part in parts:
            some = part.limit(COUNTED_TO).correlate(accounts).subquery()
            for one in (sa.func.count(), sa.func.min(some.c.at)):
                columns.append(sa.select(one).select_from(some).scalar_subquery())
        for name, *told in self.connection.execute(self.of_accounts(kind, *columns)):
            if many := sum(told[::2]):
                oldest = min((at for at in told[1::2] if at is not None), default=None)
                self.waits[what, name] = min(many, COUNTED_TO), oldest

    def of_accounts(self, kind: str, *columns: sa.ScalarSelect[Any]) -> sa.Select[Any]:
        """Select what is asked of each account, by its name."""
        of = [queries.among(self.connection, _A.name, [row.name for row in self.stores])] if kind == "store" else []
        return sa.select(_A.name, *columns).where(_A.kind == kind, *of)

    def dark_for(self, row: Row[Any]) -> tuple[str, str, datetime | None, str]:
        """Say why nothing is known of a store's orders, since when, and what would end it; empty where they are known."""
        name, what = row.name, "store_unknown"
        why, since, until = "", row.swept_at, f"`tracker heal` once {name} answers"
        if row.suspended_reason is not None and (by_entry := _by_entry(row.suspended_reason, self.limited)):
            what, why, until = "store_parked", by_entry, MENDED
        elif name not in self.ctx.config.accounts:
            why, until = "the store is not in the configuration", "the store in the configuration again"
        elif row.suspended_reason is not None:
            what, until = "store_parked", f"new credentials of {name}"
            why = f"the shop refuses our credentials ({row.suspended_reason})"
        elif row.failing_since is not None or row.sweep_failing_since is not None:
            since = min(at for at in (row.failing_since, row.sweep_failing_since) if at is not None)
            why = f"the shop does not answer ({row.failing_why or 'its list of orders fails'})"
        elif row.swept_at is None:
            what, since, until = "first_sync", row.connected_at, "the end of the first sync"
            why = "its orders are read for the first time"
        elif row.next_sweep_at is not None and row.next_sweep_at < self.now - OVERDUE_AFTER:
            why = f"a sweep was due at {row.next_sweep_at:%Y-%m-%d %H:%M}Z and nobody made it"
            until = "a running worker and scheduler (`tracker up`)"
        return what, why, since, until

    def of_store(self, row: Row[Any]) -> Iterable[Gap]:
        """Find what is not known of a store, and its writes that wait."""
        name = row.name
        what, why, since, until = self.dark_for(row)
        if why:
            self.dark.append(name)
            yield Gap(what, name, self.counts()[name], "orders", why, since, until)
        waits, oldest = self.waits.get(("writes", name), (0, None))
        if row.paused_at is not None:
            yield Gap(
                "store_paused", name, waits, "writes", "the store is paused", row.paused_at, f"`tracker resume {name}`"
            )
        elif waits:
            o = outbox.c
            old = sa.and_(o.state == "pending", o.store == name, o.created_at < self.now - OVERDUE_AFTER)
            said = sa.select(o.error).where(old).order_by(o.due_at).limit(1)
            why = self.connection.execute(said).scalar() or "they wait for their turn"
            yield Gap("writes_wait", name, waits, "writes", why, oldest, self.rest(row))

    def braked(self) -> Iterable[Gap]:
        """Find the brakes that are on: what their accounts tell of ends is not written."""
        for brake in brakes.on(self.states.values()).values():
            count = brakes.count_held(self.connection, brake.key, self.store)
            if count or not self.limited:
                why = f"the ends that it tells of {brake.carrier} leapt: what rests on them is held"
                yield Gap(
                    "brake", brake.account, count, "writes", why, brake.since, f"`tracker resume {brake.account}`"
                )

    def rest(self, row: Row[Any]) -> str:
        """Say when an account that rests is asked again."""
        if row.suspended_reason is not None:
            return MENDED if _by_entry(row.suspended_reason) else f"new credentials of {row.name}"
        if row.rests_until is not None and row.rests_until > self.now:
            return f"the end of its rest at {row.rests_until:%Y-%m-%d %H:%M}Z"
        if row.blocked_until is not None and row.blocked_until > self.database:
            return f"the end of its rest at {row.blocked_until:%Y-%m-%d %H:%M}Z"
        return "a running worker (`tracker up`)"

    def waiting(self) -> Iterable[Gap]:
        """Find what arrived and was not read, what a change notice named and nobody read, what was read and not compared."""
        r, late = change_notices.c, self.database - OVERDUE_AFTER
        count, since = self.waits.get(("payloads", ""), (0, None))
        if count and self.limited:  # whose they are nobody knows before they are read, nor may be told how many
            of_some = "news that waits to be read may be of these stores"
            yield Gap("payloads_wait", "inbox", 0, "payloads", of_some, None, "a running worker")
        elif count:
            yield Gap("payloads_wait", "inbox", count, "payloads", "they were not read yet", since, "a running worker")
        for row in self.stores:
            count, since = self.waits.get(("notices", row.name), (0, None))
            if count and row.name not in self.dark:
                said = sa.select(r.error).where(r.account == row.name, r.error.isnot(None)).limit(1)
                why = self.connection.execute(said).scalar()
                why = "they changed in the shop and were not read again" + (f" ({why})" if why else "")
                yield Gap("orders_unread", row.name, count, "orders", why, since, self.rest(row))
        for name, row in sorted(self.states.items()) if not self.limited else ():
            if row.files_at is not None and row.files_at < self.now - OVERDUE_AFTER:
                why = "nobody looks for its files" + (f" ({row.failing_why})" if row.failing_why else "")
                yield Gap("files_wait", name, 1, "accounts", why, row.files_at, self.rest(row))
        heartbeat = self.connection.execute(
            sa.select(heartbeats.c.at).order_by(heartbeats.c.at.desc()).limit(1)
        ).scalar()
        seen = (
            heartbeat + ahead(self.connection) if heartbeat is not None else None
        )  # a play that jumps a day is no outage
        if seen is not None and seen < late:
            why = "nobody has heard of it, so nothing is asked, read or written by itself"
            yield Gap("nobody_works", "scheduler", 0, "roles", why, seen, "`tracker up`, or `tracker scheduler`")
        count, since = self.waits.get(("orders", ""), (0, None))
        if count:
            yield Gap("orders_wait", "ledger", count, "orders", "nobody compared them yet", since, "a running worker")

    def uncompared(self) -> sa.Select[Any]:
        """Select the orders that wait to be compared, with the moment since when."""
        o, late = orders.c, self.now - OVERDUE_AFTER
        mine = queries.of_stores(o.store, self.store)
        never = sa.select(o.id, o.reconcile_at.label("at")).where(
            o.drift.is_(None), sa.or_(o.reconcile_at.is_(None), o.reconcile_at < late), *mine
        )
        due = sa.select(o.id, o.reconcile_at.label("at")).where(o.reconcile_at < late, o.drift.isnot(None), *mine)
        return _either(never, due)

    def parcels(self) -> Iterable[Gap]:
        """Find parcels that an account ought to have asked about, and those that nobody asks about any more."""
        t = watches.c
        for row in sorted(self.states.values(), key=lambda row: row.name):
            count, since = self.waits.get(("parcels", row.name), (0, None))
            if not count:
                continue
            until = self.rest(row)
            if row.suspended_reason is not None and (by_entry := _by_entry(row.suspended_reason, self.limited)):
                why = by_entry
            elif row.name not in self.ctx.config.accounts:
                why, until = "the account is not in the configuration", "the account in the configuration again"
            elif row.suspended_reason is not None:
                why = f"the carrier refuses our credentials ({row.suspended_reason})"
            elif row.paused_at is not None:
                why, until = (
                    f"the account is paused since {row.paused_at:%Y-%m-%d %H:%M}Z",
                    f"`tracker resume {row.name}`",
                )
            elif row.failing_since is not None:
                why = f"the carrier does not answer ({row.failing_why})"
            elif row.quota_left == 0:
                why, until = "what the account may register is used up", "more of its quota"
            elif (held := self.held(row)) is not None:
                why, until = held[0], "a larger `budget:`, or its next turn"
            else:
                why = "they are overdue to be asked about"
            yield Gap("parcels_overdue", row.name, count, "parcels", why, since, until)
        for told in self.connection.execute(
            sa.select(t.account, t.tracking_state, sa.func.count().label("many"))
            .where(t.id.in_(self.given_up()))
            .group_by(t.account, t.tracking_state)
            .order_by(t.account, t.tracking_state)
        ):
            why = f"the carrier says {told.tracking_state}: nobody asks any more"
            yield Gap("parcels_given_up", told.account, told.many, "parcels", why, None, "the right number in the shop")
        mine, first = self.refused().subquery(), watches.alias()
        each = sa.select(mine.c.account, sa.func.count().label("many"), sa.func.min(mine.c.id).label("first"))
        by_account = each.group_by(mine.c.account).subquery()
        for told in self.connection.execute(
            sa.select(by_account, shipments.c.carrier, shipments.c.number, first.c.said)
            .join(first, first.c.id == by_account.c.first)
            .join(shipments, shipments.c.id == first.c.shipment_id)
            .order_by(by_account.c.account)
        ):
            which = f"{told.carrier} {told.number}" if told.many == 1 else f"such as {told.carrier} {told.number}"
            why = f"the carrier does not tell of them ({which}: {told.said or NO_REASON})"
            until = "the right number in the shop, or another account that may ask about them"
            yield Gap("parcels_refused", told.account, told.many, "parcels", why, None, until)

    def held(self, row: Row[Any]) -> tuple[str, datetime] | None:
        """Say why the budget of an account lets nobody ask now, and until when."""
        account = self.ctx.account(row.name)
        if not row.spent or account is None:
            return None
        return budgets.held(self.ctx.config.cadence(account.name), account, row.spent, self.now)

    def overdue(self, of: sa.ColumnElement[bool]) -> tuple[sa.Select[Any], ...]:
        """Select the parcels of some accounts that ought to have been asked about, with the moment since when: held, due, not registered yet."""
        t, late = watches.c, self.now - OVERDUE_AFTER
        held = sa.select(t.shipment_id, t.overdue_since.label("at")).where(
            of, sa.text(_OVERDUE), t.overdue_since < late, *self.of_mine(t.shipment_id)
        )
        due = sa.select(t.shipment_id, t.next_poll_at.label("at")).where(
            of,
            t.urgent.in_([sa.false(), sa.true()]),
            t.next_poll_at < late,  # as the index says it
            t.overdue_since.is_(None),
            *self.of_mine(t.shipment_id),
        )
        s = shipments.c
        waits = (
            sa.select(t.shipment_id, s.starts_at.label("at"))
            .join(shipments, s.id == t.shipment_id)
            .where(
                of, t.register_at.isnot(None), t.registered_at.is_(None), t.next_poll_at.is_(None), t.chosen.isnot(None),
                s.starts_at < late, *self.of_mine(t.shipment_id),
            )
        )  # fmt: skip
        return held, due, waits

    def of_mine(self, shipment_id: sa.ColumnElement[Any]) -> list[sa.ColumnElement[bool]]:
        """Return the condition that a parcel is of the stores that are asked about."""
        return queries.parcels_of(shipment_id, self.store)

    def of_some(self, shipment_id: sa.ColumnElement[Any]) -> list[sa.ColumnElement[bool]]:
        """Return it where who asks may know of no other stores."""
        return self.of_mine(shipment_id) if self.limited else []

    def given_up(self) -> sa.Select[Any]:
        """Select the watches whose carrier wants no more questions, of parcels that an order names and nobody else asks about."""
        t, other = watches.c, watches.alias()
        asked = sa.exists().where(other.c.shipment_id == t.shipment_id, other.c.next_poll_at.isnot(None))
        named = sa.exists().where(fulfilment_shipments.c.shipment_id == t.shipment_id)
        return (
            sa.select(t.id)
            .join(shipments, shipments.c.id == t.shipment_id)
            .where(
                sa.text(_GIVEN_UP),
                shipments.c.closed_at.is_(None),
                named,
                ~asked,
                *self.of_mine(t.shipment_id),
            )
            .limit(COUNTED_TO)
        )

    def refused(self) -> sa.Select[Any]:
        """Select the watches whose source, asked about an open parcel that an order names, says that it cannot tell of it, where nobody else does."""
        t, other = watches.c, watches.alias()
        knows = sa.exists().where(
            other.c.shipment_id == t.shipment_id, other.c.tracking_state == str(TrackingState.ACTIVE)
        )
        named = sa.exists().where(fulfilment_shipments.c.shipment_id == t.shipment_id)
        return (
            sa.select(t.id, t.account, t.shipment_id)
            .join(shipments, shipments.c.id == t.shipment_id)
            .where(sa.text(_REFUSED), t.chosen.isnot(None), shipments.c.closed_at.is_(None), named, ~knows)
            .where(*self.of_mine(t.shipment_id))
            .limit(COUNTED_TO)
        )

    def found(self) -> Iterable[Gap]:
        """Find what nobody watches, and what open findings say is not known."""
        for one in unwatched_of(self.ctx, self.connection, self.store):
            why = f"no account covers {one.carrier if one.known else repr(one.carrier)}: they are watched by nobody"
            ways = how_to_cover(self.ctx.config, one)
            yield Gap(str(K.CARRIER_NOT_COVERED), one.store, one.parcels, "parcels", why, one.since, ways)
        for kind, (of, until) in UNKNOWN.items():
            count, since = self.waits.get(("found", kind), (0, None))
            if count:
                said = kind.sentence.rstrip(".")
                yield Gap(str(kind), "findings", count, of, said, since, until, told=kind is K.UNMAPPED_CODE)

    # how many orders that concerns

    def unknown(self, told: Sequence[Gap]) -> int:
        """Count the orders that gaps concern: all of a store of which nothing is known, and others one by one."""
        dark = sum(self.counts()[name] for name in self.dark)
        fs, f = fulfilment_shipments, findings.c
        linked = sa.select(fulfilments.c.order_id.label("id")).join(fs, fs.c.fulfilment_id == fulfilments.c.id)
        kinds = {gap.what for gap in told}
        parts: list[sa.Select[Any]] = []
        if "orders_wait" in kinds:
            parts.append(sa.select(self.uncompared().subquery().c.id))
        if late := [gap.where for gap in told if gap.what == "parcels_overdue"]:
            overdue = _either(*self.overdue(queries.among(self.connection, watches.c.account, late))).subquery()
            parts.append(linked.where(fs.c.shipment_id.in_(sa.select(overdue.c.shipment_id))))
        if "parcels_given_up" in kinds:
            given_up = sa.select(watches.c.shipment_id).where(watches.c.id.in_(self.given_up()))
            parts.append(linked.where(fs.c.shipment_id.in_(given_up)))
        if "parcels_refused" in kinds:
            refused = sa.select(self.refused().subquery().c.shipment_id)
            parts.append(linked.where(fs.c.shipment_id.in_(refused)))
        if str(K.CARRIER_NOT_COVERED) in kinds:
            parts.append(linked.where(fs.c.unwatched.isnot(None)).limit(COUNTED_TO))
        if named := [kind for kind in UNKNOWN if kind in kinds and kind is not K.UNMAPPED_CODE]:
            open_now = sa.and_(f.kind.in_(named), f.closed_at.is_(None), f.order_id.isnot(None))
            parts.append(sa.select(f.order_id.label("id")).where(open_now).limit(COUNTED_TO))
        if "orders_unread" in kinds:
            noticed = sa.select(change_notices.c.id).where(
                change_notices.c.account == orders.c.store, change_notices.c.ref == orders.c.ref,
                change_notices.c.noticed_at < self.database - OVERDUE_AFTER,
            )  # fmt: skip
            stores = [gap.where for gap in told if gap.what == "orders_unread"]
            refs = sa.select(change_notices.c.ref).where(change_notices.c.account.in_(stores)).limit(COUNTED_TO)
            parts.append(
                sa.select(orders.c.id).where(orders.c.store.in_(stores), orders.c.ref.in_(refs), noticed.exists())
            )
        if not parts:
            return dark
        any_of = sa.union(*(sa.select(part.subquery()) for part in parts)).subquery()
        one_by_one = sa.select(sa.func.count()).select_from(any_of.join(orders, orders.c.id == any_of.c.id))
        if self.dark:
            one_by_one = one_by_one.where(orders.c.store.notin_(self.dark))
        one_by_one = one_by_one.where(*queries.of_stores(orders.c.store, self.store))
        return dark + int(self.connection.execute(one_by_one).scalar_one())


def _either(*some: sa.Select[Any]) -> sa.Select[Any]:
    """Select what any of them selects, MOST of each at most."""
    parts = (sa.select(part.limit(COUNTED_TO).subquery()) for part in some)
    return sa.select(sa.union_all(*parts).subquery())
