"""Who is asked next: of the accounts that may be asked and have something due each in its turn, of each its stores in theirs.

As much is claimed as there are places, and as the account's budget gives. Of an account that is spent, suspended or away not one row is
read or written: it waits as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.facts import UNIDENTIFIED, Page, Parcel, Parcels
from tracker.pipeline import budgets
from tracker.pipeline.context import AppContext
from tracker.pipeline.places import POLLS, Place, Room
from tracker.pipeline.poll import registering
from tracker.pipeline.poll.calls import POLL, REGISTRATION, Call, chunks, hold
from tracker.pipeline.poll.registering import NAMED
from tracker.plugin.answers import holding
from tracker.store import queries
from tracker.store.tables import accounts, shipments, watches

UNBOUNDED = 1 << 30  # calls of an account that has no budget


@dataclass
class Ready:
    """An account that may be asked now: its row with what is due, how many calls are left to it, and how many of them to what is not urgent."""

    account: Account
    row: Row[Any]
    left: int = UNBOUNDED
    others: int = UNBOUNDED
    registers: bool = True  # a registration may begin: its requests fit in what is left

    @property
    def for_parcels(self) -> int:
        """How many calls are left to what is asked about parcels: the feed's next one is kept."""
        return max(0, self.left - self.account.has_feed)


def look(
    ctx: AppContext, connection: Connection, now: datetime, business: datetime, *, blocked: bool = False
) -> tuple[dict[str, Ready], dict[str, datetime]]:
    """Return the accounts that may be asked now and have something due, by name; and of whom a budget forbids it, until when.

    `blocked`: those too that rest by the database's clock.
    """
    ready: dict[str, Ready] = {}
    held: dict[str, datetime] = {}
    with queries.by_index(connection):
        rows = connection.execute(queries.accounts_that_wait(blocked=blocked), {"now": now, "business": business}).all()
    for row in rows:
        if (account := ctx.account(row.name)) is None:
            continue
        one = ready[row.name] = Ready(account, row)
        if (given := budgets.calls(account, row.spent, business)) is None:
            continue
        under_way = ctx.places.in_flight(row.name)  # whether they are charged yet nobody knows
        one.left = given.left - under_way
        kept = int(account.has_feed and not row.sweeps)
        if given.left <= kept:
            held[row.name] = given.free_at(kept + 1)
        elif row.ordinary:
            every = budgets.urgent_every(ctx.config.cadence(row.name))
            one.others = given.others(row.known, every, -(-row.urgent // account.carrier.batch)) - under_way
            more = row.urgent or row.notices or row.sweeps or row.resends or row.audits or row.wanted or _registers(one)
            if not (more or given.others(row.known, every)):
                held[row.name] = given.others_at(row.known, every)
        needs = _requests(account)
        one.registers = one.left >= needs
        if row.name not in held and not one.registers and one.left > 0 and _nothing_else(row):
            if given.left < needs:
                held[row.name] = given.free_at(needs)
            else:
                one.left = 0  # until what is under way is charged
        if row.name in held or one.left <= 0:
            del ready[row.name]
    return ready, held


def held_back(ctx: AppContext, connection: Connection, now: datetime, business: datetime) -> dict[str, datetime]:
    """Return the accounts whose budgets forbid what is due, and until when; of those that are spent, whether anything is due or not."""
    held: dict[str, datetime] = {}
    scarce = False
    a = accounts.c
    for name, spent in connection.execute(sa.select(a.name, a.spent).where(a.spent.isnot(None))):
        account = ctx.account(name)
        given = budgets.calls(account, spent, business) if account is not None else None
        if account is None or given is None or account.budget is None:
            continue
        if not given.left:
            held[name] = given.free_at()
        scarce |= given.left <= account.budget.calls // 2 + 1  # some may be kept
    return {**look(ctx, connection, now, business, blocked=True)[1], **held} if scarce else held


def _registers(one: Ready) -> int:
    can = not one.account.is_store and one.account.carrier.registers and one.registers
    return one.row.registrations if can else 0


def _requests(account: Account) -> int:
    """Return how many calls of the budget must be left where a registration begins: one that ends half-way is made once more as a whole."""
    if account.is_store or account.budget is None:
        return 0
    return min(account.carrier.register_calls, account.budget.calls)


def _nothing_else(row: Row[Any]) -> bool:
    """Say whether registrations are all that is due of an account."""
    others = (row.urgent, row.ordinary, row.notices, row.sweeps, row.resends, row.wanted, row.proofs)
    return bool(row.registrations) and not any(others)


def places_in_turn(
    ctx: AppContext, room: Room, kind: str, queue: str, urgent: Mapping[str, int], ordinary: Mapping[str, int]
) -> dict[str, list[Place]]:
    """Take places for calls of accounts, of which so many wait, in turns between them. Who gets none has waited in vain."""
    dealt = ctx.turns[queue].deal(room.free(kind), urgent, ordinary)
    found = {name: places for name, both in dealt.items() if (places := room.take_all(kind, name, sum(both)))}
    for name in {**urgent, **ordinary}:
        waits = urgent.get(name, 0) + ordinary.get(name, 0) - len(found.get(name, ()))
        if waits > 0 and (place := room.take(kind, name)) is not None:  # it was given back just now
            found.setdefault(name, []).append(place)
    return found


def claim_polls(
    ctx: AppContext,
    connection: Connection,
    ready: Mapping[str, Ready],
    room: Room,
    now: datetime,
    business: datetime,
) -> list[Call]:
    """Claim parcels to be asked about, and those of which an account shall be told, as many as there are places and calls."""
    claim = _Claim(ctx, connection, {"now": now, "business": business})
    urgent, ordinary = {}, {}
    for name, one in ready.items():
        if one.account.is_store or not (one.row.urgent or one.row.ordinary or one.row.registrations):
            continue
        if most := min(room.left(POLLS, name), one.for_parcels):
            first, second, told = _wanted(one, most)
            urgent[name] = min(first, most)
            ordinary[name] = min(second + told, most - urgent[name])
    for name, places in places_in_turn(ctx, room, POLLS, "poll", urgent, ordinary).items():
        claim.take(ready[name], places)
    calls = claim.calls(room)
    hold(connection, watches, [row for call in calls for row in call.rows], now)
    return calls


def _wanted(one: Ready, most: int) -> tuple[int, int, int]:
    """Return how many calls are wanted for urgent polls, for others as far as they may be made, and for registrations."""
    batch, row = one.account.carrier.batch, one.row
    first, second = _calls(row.urgent, batch, most), _calls(row.ordinary, batch, most)
    return first, min(second, max(0, one.others)), _calls(_registers(one), one.account.carrier.register_batch, most)


def _calls(rows: int, batch: int, most: int) -> int:
    """Return how many calls so many rows need; where they were not counted to their end, as many as there may be."""
    return most if rows >= queries.FEW else min(most, -(-rows // batch))


class _Claim:
    """The watches that are claimed in one round."""

    def __init__(self, ctx: AppContext, connection: Connection, times: dict[str, datetime]) -> None:
        self._ctx, self._connection, self._times = ctx, connection, times
        self._sqlite = ctx.store.sqlite
        self._places: dict[tuple[str, str], list[Place]] = {}
        self._ids: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._rows_of: dict[str, Row[Any]] = {}
        self._few: dict[str, list[str]] = {POLL: [], REGISTRATION: []}

    def take(self, one: Ready, places: list[Place]) -> None:
        """Choose an account's watches for its places: polls and registrations in turns, each in turns between stores."""
        name, row, carrier = one.account.name, one.row, one.account.carrier
        self._rows_of[name] = row
        first, second, told = _wanted(one, len(places))
        polls = min(first + second, len(places))
        if polls and told:
            kinds = self._ctx.turns[f"kinds of {name}"]
            dealt = kinds.deal(len(places), {POLL: first}, {POLL: polls - first, REGISTRATION: told})
            polls, told = (sum(dealt.get(kind, (0, 0))) for kind in (POLL, REGISTRATION))
        self._places[name, POLL], self._places[name, REGISTRATION] = places[:polls], places[polls:]
        if polls:
            others = max(0, one.others) * carrier.batch
            self._choose(POLL, name, (row.urgent, row.ordinary), polls * carrier.batch, others)
        if told:
            self._choose(REGISTRATION, name, (0, row.registrations), told * carrier.register_batch, UNBOUNDED)

    def _choose(self, kind: str, name: str, counted: tuple[int, int], room: int, others: int) -> None:
        """Choose watches of an account: all of few, else those whose turn it is."""
        if max(counted) < queries.FEW and sum(counted) <= room and counted[1] <= others:
            self._few[kind].append(name)
            return
        column = _COLUMN[kind]
        given = {**self._times, "account": name}
        with queries.by_index(self._connection):
            waits = self._connection.execute(queries.stores_that_wait(column), given).all()
            urgent, ordinary = (
                {row[0] or "": room if row[which] >= queries.FEW else row[which] for row in waits} for which in (1, 2)
            )
            dealt = self._ctx.turns[f"{kind} of {name}"].deal(room, urgent, ordinary, others=others)
            for store, both in dealt.items():
                for is_urgent, most in zip((True, False), both, strict=True):
                    if most:
                        oldest = queries.oldest_watches(self._sqlite, column, store=bool(store))
                        these = {**given, "store": store, "urgent": is_urgent, "most": most}
                        self._ids[name, kind] += self._connection.execute(oldest, these).scalars()

    def calls(self, room: Room) -> list[Call]:
        """Return the calls for what was chosen; places that nobody needs are given back."""
        for kind, names in self._few.items():
            if names:
                few = queries.few_watches(self._sqlite, _COLUMN[kind])
                for watch in self._connection.execute(few, {**self._times, "accounts": names}):
                    self._ids[watch.account, kind].append(watch.id)
        known = {row.id: row for row in self._rows([i for ids in self._ids.values() for i in ids])}
        calls: list[Call] = []
        for (name, kind), places in self._places.items():
            account = self._ctx.config.accounts[name]
            batch = account.carrier.batch if kind == POLL else account.carrier.register_batch
            parts = list(chunks([known[i] for i in self._ids[name, kind] if i in known], batch))
            make = _poll_call if kind == POLL else partial(_register_call, self._rows_of[name])
            calls += [make(self._ctx, account, part, place) for part, place in zip(parts, places, strict=False)]
            room.back(places[len(parts) :])
        return calls

    def _rows(self, ids: Sequence[int]) -> Sequence[Row[Any]]:
        if not ids:
            return ()
        s = shipments.c
        return self._connection.execute(
            sa.select(watches, s.carrier, s.number, s.starts_at, s.last_scan_at, NAMED.label("named"))
            .join(shipments, s.id == watches.c.shipment_id)
            .where(queries.among(self._connection, watches.c.id, ids))
        ).all()


_COLUMN: dict[str, sa.Column[Any]] = {POLL: watches.c.next_poll_at, REGISTRATION: watches.c.register_at}


def _parcel(row: Row[Any]) -> Parcel:
    carrier = None if row.carrier.startswith(UNIDENTIFIED) else row.carrier
    return Parcel(carrier, row.number, their_ref=row.their_ref, last_scan_at=row.last_scan_at)


def _poll_call(ctx: AppContext, account: Account, rows: Sequence[Row[Any]], place: Place) -> Call:
    ask = Parcels(tuple(_parcel(row) for row in rows))
    place.urgent = any(row.urgent for row in rows)
    return Call(POLL, account, rows, lambda: _look(ctx, account, ask), place)


def _look(ctx: AppContext, account: Account, ask: Parcels) -> list[Page]:
    """Ask a carrier. Raises Transient where an answer does not hold what every answer holds: an error with a good status."""
    pages = list(account.carrier.fetch(ctx.client(account), ask))
    for page in pages:
        for part in page.parts:
            holding(part, *account.carrier.response_keys)
    return pages


def _register_call(state: Row[Any], ctx: AppContext, account: Account, rows: Sequence[Row[Any]], place: Place) -> Call:
    parcels = [(row, _parcel(row)) for row in rows]
    told = registering.Told()
    ask = partial(registering.ask, ctx, account, state, parcels, told)
    return Call(REGISTRATION, account, rows, ask, place, result=told)  # what was learnt before an error counts
