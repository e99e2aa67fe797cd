"""Whose parcel is it: which account is asked about each parcel, chosen anew whenever what the choice rests on changed.

The watch of that account says why (`watches.chosen`), and for which store (`watches.store`); it alone has a next look. What
other accounts push is heard and kept in watches of theirs, which nobody asks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account, Config
from tracker.config.recognized import may_be_asked
from tracker.domain.choice import DOES_NOT_KNOW, Candidate, choose
from tracker.domain.facts import UNIDENTIFIED
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import TrackingState
from tracker.pipeline import registration, unwatched
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import accounts, fulfilment_shipments, orders, shipments, watches

AT_ONCE = 500
HABIT = 100  # open parcels of an account and a store that are looked at to know what the store ships with
ANY = "*"
_ENDED = frozenset(
    {TrackingState.EXPIRED, TrackingState.INVALID_NUMBER, TrackingState.UNSUPPORTED, TrackingState.STOPPED}
)
_T = watches.c
ASKED = sa.or_(_T.chosen.isnot(None), _T.next_poll_at.isnot(None), _T.register_at.isnot(None))


def known_carrier(carrier: str) -> str | None:
    """Return the carrier of a shipment, None where nobody knows it."""
    return None if carrier.startswith(UNIDENTIFIED) else carrier


def does_not_know(
    config: Config, carrier: str, store: str | None, state: str, starts_at: datetime, now: datetime
) -> bool:
    """Say whether an account's word is that it does not know a parcel, later than the carrier usually takes to a first scan.

    That time is the merchant's own: the `unscanned_after` of the store's policy. What is not supported never will be. Where
    nobody knows the carrier it is so at once: the next one that it could be of is asked, in turns.
    """
    if state not in DOES_NOT_KNOW:
        return False
    if known_carrier(carrier) is None:
        return True
    account = config.accounts.get(store) if store is not None else None
    policy = account.policy if account is not None else Policy()
    usual = policy.silence_for(carrier, "", "").unscanned_after
    return state == TrackingState.UNSUPPORTED or usual is None or now >= starts_at + usual


def choose_anew(ctx: AppContext, shipment_ids: Collection[int]) -> None:
    """Choose anew who is asked about some shipments, in a transaction of its own."""
    if not shipment_ids:
        return
    with ctx.store.write() as connection:
        _lock(connection, shipment_ids)
        choose_among(ctx, connection, shipment_ids, ctx.now())
    ctx.notify("poll")


def _lock(connection: Connection, shipment_ids: Collection[int]) -> None:
    """Lock shipments and their watches in the order in which everybody does."""
    if queries.is_sqlite(connection):
        return
    s = shipments.c
    watched = queries.among(connection, _T.shipment_id, shipment_ids)
    connection.execute(queries.locked(connection, sa.select(_T.id).where(watched).order_by(_T.id))).all()
    mine = sa.select(s.id).where(queries.among(connection, s.id, shipment_ids))
    connection.execute(queries.locked(connection, mine.order_by(s.carrier, s.number, s.generation))).all()


def choose_among(ctx: AppContext, connection: Connection, shipment_ids: Collection[int], now: datetime) -> None:
    """Choose who is asked about shipments that are locked, those that an order names."""
    s = shipments.c
    here = sa.and_(queries.among(connection, s.id, shipment_ids), s.linked.is_(True))
    columns = sa.select(s.id, s.carrier, s.number, s.starts_at, s.closed_at)
    parcels = connection.execute(columns.where(here).order_by(s.id)).all()
    known: dict[int, list[Row[Any]]] = defaultdict(list)
    watched = sa.select(watches).where(queries.among(connection, _T.shipment_id, shipment_ids)).order_by(_T.id)
    for row in connection.execute(watched):
        known[row.shipment_id].append(row)
    stores, suspended = _stores(connection, shipment_ids), queries.suspended(connection)
    written = _Written()
    loose = _Loose(ctx.config, connection, [p.id for p in parcels if known_carrier(p.carrier) is None])
    for parcel in parcels:
        mine = known[parcel.id]
        candidates, store = _candidates(ctx.config, parcel, stores[parcel.id], mine, loose)
        unknown = {
            w.account: w.checked_at or w.as_of or now
            for w in mine
            if does_not_know(ctx.config, parcel.carrier, store, w.tracking_state, parcel.starts_at, now)
            or registration.refused(ctx.config, w)
        }
        nameless = known_carrier(parcel.carrier) is None
        choice = choose(candidates, suspended, unknown, in_turn=nameless)
        named = bool(stores[parcel.id]) if parcel.closed_at is None else None
        written.take(ctx.config, parcel.id, mine, choice, store, unknown, now, named, registers=not nameless)
    written.store(connection)


def _stores(connection: Connection, shipment_ids: Collection[int]) -> Mapping[int, Sequence[str]]:
    """Return the stores that link shipments, who linked first comes first."""
    fs, found = fulfilment_shipments.c, defaultdict[int, list[str]](list)
    linked = queries.linked_to(connection, shipment_ids, orders.c.store)
    for shipment_id, store in connection.execute(linked.order_by(fs.linked_at, fs.fulfilment_id)):
        if store not in found[shipment_id]:
            found[shipment_id].append(store)
    return found


def habit_of(config: Config, connection: Connection, store: str) -> dict[str, int]:
    """Count the open parcels of a store by carrier, some of each account: by the index of turns."""
    s, habit = shipments.c, defaultdict[str, int](int)
    for account in config.carrier_accounts():
        if not account.speaks:
            continue
        some = sa.select(_T.shipment_id).where(
            _T.account == account.name, _T.store == store, _T.next_poll_at.isnot(None)
        )
        page = some.limit(HABIT).subquery()
        told = sa.select(s.carrier, sa.func.count()).join(page, page.c.shipment_id == s.id).group_by(s.carrier)
        for carrier, many in connection.execute(told):
            if known_carrier(carrier) is not None:
                habit[carrier] += many
    return habit


class _Loose:
    """What is known of parcels whose carrier nobody told: where their orders go, and what their stores ship with now."""

    def __init__(self, config: Config, connection: Connection, ids: Sequence[int]) -> None:
        self._config, self._connection = config, connection
        self._habits: dict[str, dict[str, int]] = {}
        self._orders: dict[int, tuple[str, str]] = {}
        if ids:
            facts = (orders.c.facts[name].as_string() for name in ("ships_to", "method"))
            linked = connection.execute(queries.linked_to(connection, ids, *facts))
            self._orders = {shipment_id: (country or "", method or "") for shipment_id, country, method in linked}

    def of(self, parcel: Row[Any], store: str) -> tuple[str, str, Mapping[str, int]]:
        """Return where the order of such a parcel goes, its service, and the store's habit."""
        if store not in self._habits:
            self._habits[store] = habit_of(self._config, self._connection, store)
        return *self._orders.get(parcel.id, ("", "")), self._habits[store]


def _candidates(
    config: Config, parcel: Any, stores: Sequence[str], mine: Sequence[Row[Any]], loose: _Loose
) -> tuple[Sequence[Candidate], str | None]:
    """Return who may be asked about a parcel, and for which store: the first one that has an account for it.

    Where none has, whoever was asked or tells of it goes on: a parcel that somebody watches is never left alone.
    """
    carrier = known_carrier(parcel.carrier)
    before = next((w.store for w in mine if w.store is not None), None)
    for store in stores or filter(None, [before]):  # an order that names it no more: as it was
        said = loose.of(parcel, store) if carrier is None else ()
        if found := may_be_asked(config, carrier, parcel.number, store, *said):
            return found, store
    asked_first = sorted(mine, key=lambda w: (w.chosen is None, w.next_poll_at is None, w.id))
    still = [w for w in asked_first if w.account in config.accounts and not config.accounts[w.account].is_store]
    none = f"no account of the store covers {carrier or 'it'}"
    found = tuple(
        Candidate(w.account, f"{'it was asked before' if _asked(w) else 'it tells of it'}, and {none}") for w in still
    )
    return found, before or (stores[0] if stores else None)


class _Written:
    """What becomes of watches by a choice; written at once."""

    def __init__(self) -> None:
        self._fresh: list[dict[str, Any]] = []
        self._changed: list[dict[str, Any]] = []
        self._gone: list[int] = []
        self._covered: list[int] = []

    def take(
        self,
        config: Config,
        shipment_id: int,
        mine: Sequence[Row[Any]],
        choice: Candidate | None,
        store: str | None,
        unknown: Mapping[str, datetime],
        now: datetime,
        named: bool | None,
        *,
        registers: bool = True,
    ) -> None:
        """Take a choice for a parcel; what is as it was is not written. `named`: an order names it still (None: it ended)."""
        others = [w for w in mine if choice is None or w.account != choice.account]
        for w in others:
            if choice is None and w.account in config.suspended:
                continue  # an entry that is wrong: it goes on once that is mended
            if w.account not in config.accounts and w.account not in config.suspended and _asked(w):
                self._gone.append(w.id)  # it would be asked by nobody, and look watched
            elif _asked(w) or w.store is not None:
                self._change(
                    w, chosen=None, store=None, next_poll_at=None, register_at=None, overdue_since=None, urgent=False
                )
        if choice is None:
            return
        self._covered.append(shipment_id)
        account = config.accounts[choice.account]
        before = [w.next_poll_at for w in others if w.next_poll_at is not None and w.account not in unknown]
        before += [w.next_poll_at for w in others if w.next_poll_at is not None and choice.account in unknown]
        urgent = any(w.urgent and w.next_poll_at is not None for w in others)
        # its turn comes when the other's would have: nobody asks all of them at once
        at = min(before, default=now) if account.is_asked else None
        row = next((w for w in mine if w.account == choice.account), None)
        first = account.carrier.registers_first
        registers = account.carrier.registers and (registers or first)
        if row is None:
            self._fresh.append(
                queries.polled_from(
                    shipment_id, account.name, None if first else at, now, store=store, why=choice.why,
                    registers=registers, urgent=urgent,
                )
            )  # fmt: skip
        elif row.chosen is not None or row.next_poll_at is not None:
            at = registration.told_at(account.carrier, row, named, now, config.root.watch.unmatched_after)
            self._change(row, chosen=choice.why, store=store, register_at=at)
        else:
            waits = registration.waits(account.carrier, row.registered_at)
            next_poll_at = None if waits or row.tracking_state in _ENDED else at
            register_at = now if registers and not row.rejected_reason else None
            self._change(
                row, chosen=choice.why, store=store, next_poll_at=next_poll_at, register_at=register_at, urgent=urgent
            )

    def _change(self, row: Row[Any], **values: Any) -> None:
        names = ("chosen", "store", "next_poll_at", "register_at", "overdue_since", "urgent")
        before = {name: getattr(row, name) for name in names}
        if (after := {**before, **values}) != before:
            self._changed.append({"b_id": row.id, **after})

    def store(self, connection: Connection) -> None:
        """Write all of it."""
        queries.change(connection, watches, self._changed)
        queries.put(connection, watches, self._fresh)
        if self._gone:
            connection.execute(watches.delete().where(queries.among(connection, _T.id, self._gone)))
        if self._covered:
            fs = fulfilment_shipments.c
            here = sa.and_(fs.unwatched.isnot(None), queries.among(connection, fs.shipment_id, self._covered))
            connection.execute(fulfilment_shipments.update().where(here).values(unwatched=None))


def _asked(row: Row[Any]) -> bool:
    return row.chosen is not None or row.next_poll_at is not None or row.register_at is not None


# after a change of the configuration, or of who is suspended


def settle(ctx: AppContext) -> None:
    """Choose anew for the parcels that are concerned by a change of who may be asked, in one walk.

    `accounts.speaks` says what was settled before: the carriers of an account (of none while it is suspended), the accounts
    of a store.
    """
    a = accounts.c
    with ctx.store.read() as connection:
        rows = connection.execute(sa.select(a.name, a.kind, a.speaks, a.suspended_reason)).all()
    suspended = {row.name for row in rows if row.suspended_reason is not None}
    before = {row.name: row.speaks for row in rows}
    words = {a.name: "" if a.name in suspended else speaks_for(a) for a in ctx.config.carrier_accounts()}
    stores = {name: ships_with(ctx.config.accounts[name]) for name in ctx.config.store_names()}
    for name, wrong in ctx.config.suspended.items():  # an entry that is wrong asks nobody; its store is as it was
        if wrong.is_store:
            stores[name] = before.get(name) or ANY
        else:
            words[name] = ""
    now = {**words, **stores}
    changed = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    if not changed:
        return
    lost, gained = set[str](), dict[str, set[str]]()
    for name in changed - stores.keys():
        old, new = set((before.get(name) or "").split()), set(words.get(name, "").split())
        if old - new:
            lost.add(name)
        if new - old:
            gained[name] = new - old
    listed = _concerned_stores(ctx, changed & stores.keys(), gained)
    left = any(name not in now for name in lost)
    walk(ctx, lost=lost, stores=listed, nobody=bool(gained or changed & stores.keys()), mark=left or bool(gained))
    kinds = {row.name: row.kind for row in rows}
    ordered = sorted(changed, key=lambda name: (kinds.get(name, ""), name))  # accounts are locked so, everywhere
    named = accounts.update().where(a.name == sa.bindparam("b_name")).values(speaks=sa.bindparam("b_speaks"))
    for start in range(0, len(ordered), AT_ONCE):
        with ctx.store.write() as connection:
            connection.execute(named, [{"b_name": x, "b_speaks": now.get(x)} for x in ordered[start : start + AT_ONCE]])


def speaks_for(account: Account) -> str:
    """Return for which carriers an account may be asked, in words that can be compared: `dhl ups`, or `*` for any."""
    return " ".join(sorted(account.speaks)) or ANY


def ships_with(store: Account) -> str:
    """Return which accounts a store names, in words that can be compared; `*` where it names none."""
    return ", ".join(store.ships_with) or ANY


def _concerned_stores(ctx: AppContext, relisted: set[str], gained: Mapping[str, set[str]]) -> set[str]:
    """Return the stores whose list changed, and those that an account which may be asked now is a candidate of."""
    if not gained:
        return relisted
    s = shipments.c
    with ctx.store.read() as connection:
        if connection.execute(sa.select(s.id).where(s.linked.is_(True)).limit(1)).first() is None:
            return set()  # a new installation: nothing is concerned
    carriers = {None if word == ANY else word for words in gained.values() for word in words}
    found = set(relisted)
    for store in ctx.config.store_names():
        if store not in found and any(
            one.account in gained for carrier in carriers for one in ctx.config.candidates(carrier, store)
        ):
            found.add(store)
    return found


def several(config: Config) -> list[str]:
    """Say which carriers have several accounts where stores name none of them, and what that costs: a line a carrier."""
    silent = [name for name in config.store_names() if not config.accounts[name].ships_with]
    carriers = sorted({carrier for account in config.carrier_accounts() for carrier in account.speaks})
    found = []
    for carrier in (*carriers, None) if silent else ():
        direct, general = config.speakers(carrier)
        names, what = (direct, carrier) if carrier is not None else (general, "any carrier")
        plugins = {config.accounts[name].uses for name in names}  # one of each plugin is asked in turns
        if len(names) > (len(plugins) if carrier is not None else 1):
            found.append(
                f"{what}: {len(names)} accounts ({unwatched.some_of(names)}), and {unwatched.some_of(silent, 'stores')} name none: "
                "each is given one by a stable rule; where it ships with another, its parcels are not asked about there: "
                "their news come by webhooks alone (stores.NAME.accounts: [first, next])"
            )
    return found


def walk(
    ctx: AppContext, *, lost: Collection[str] = (), stores: Collection[str] = (), nobody: bool = True, mark: bool = True
) -> None:
    """Choose anew for what these accounts are asked and these stores linked, and (`nobody`) for what nobody is asked about.

    `mark`: look for parcels that nobody watches afterwards.
    """
    for ids in _pages(ctx, lost, stores, nobody):
        choose_anew(ctx, ids)
    if mark:
        unwatched.bring_in_line(ctx)


def _pages(ctx: AppContext, lost: Collection[str], stores: Collection[str], nobody: bool) -> Iterator[list[int]]:
    """Give the shipments that are concerned, a page at a time: open ones, those whose aftercare still runs too."""
    s, last = shipments.c, 0
    while True:
        with ctx.store.read() as connection:
            looked_at = sa.or_(
                s.closed_at.is_(None), s.closed_at > ctx.now() - ctx.config.aftercare, _T.next_poll_at.isnot(None)
            )
            concerned = [sa.and_(_T.id.isnot(None), _T.chosen.is_(None))]  # asked by an older version
            concerned += [queries.among(connection, _T.account, lost)] if lost else []
            concerned += [queries.among(connection, _T.store, stores)] if stores else []
            concerned += [_T.id.is_(None)] if nobody else []
            page = (
                sa.select(s.id)
                .outerjoin(watches, sa.and_(_T.shipment_id == s.id, ASKED))
                .where(s.id > last, s.linked.is_(True), looked_at, sa.or_(*concerned))
                .distinct()
                .order_by(s.id)
                .limit(AT_ONCE)
            )
            ids = list(connection.execute(page).scalars())
        if ids:
            yield ids
            last = ids[-1]
        if len(ids) < AT_ONCE:
            return
