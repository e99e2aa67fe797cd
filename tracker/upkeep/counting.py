"""Keep what reports count: how each parcel fared, and the counts of each day; changed as parcels change, a batch a transaction.

What a parcel counted before is taken out and what it counts now is put in, in one transaction with its mark (`shipments.recount`): a
process may die at any instruction. Beside that all parcels are walked, again and again: the first round counts what is there already,
later ones find what left no mark, such as a service that the shop changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Config
from tracker.domain.facts.sources import UNIDENTIFIED
from tracker.domain.performance import RULES, Course, Estimate, Fared, Told, counts_of, fared, whole_day
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import Leg, Precision, Reason, ShippingStatus, Zone
from tracker.hashing import digest
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.codec import SUMMARY, plain
from tracker.store.tables import (
    estimates,
    fulfilment_shipments,
    fulfilments,
    orders,
    parcel_facts,
    report_days,
    report_state,
    scans,
    shipments,
)

ALL = "*"  # the store of the counts of all stores
NAME = "parcels"
OURS = ""  # the key of the rules of this version among those of stores
WALKED_AT_ONCE = 50  # a minute, once all are counted: three million parcels are looked at again in forty days
MOST_WORD = 60  # characters of the shop's word for a service
Key = tuple[str, str, str, str, str, str, str]  # store, day, carrier, account, service, origin, destination
_DIMENSIONS = ("store", "day", "carrier", "account", "service", "origin", "destination")
_F, _S = parcel_facts.c, shipments.c


def count(ctx: AppContext) -> bool:
    """Count a batch of what changed and of what was not counted yet. Returns whether more waits; False where another process does it."""
    with ctx.store.write() as connection:
        state = _own(connection)
        if state is None:
            return False
        now, batch = ctx.now(), ctx.store.batch
        walk = _begin(ctx.config, connection, state)
        marked = queries.skip_locked(
            connection, sa.select(_S.id).where(_S.recount.is_(True)).order_by(_S.id).limit(batch)
        )
        flagged = list(connection.execute(marked).scalars())
        due = sa.select(_F.shipment_id).where(_F.again_at <= now).order_by(_F.again_at).limit(batch)
        again = list(connection.execute(due).scalars())
        left = batch if walk["whole_at"] is None else WALKED_AT_ONCE
        ahead = (
            sa.select(_S.id).where(_S.id > walk["walked_to"], _S.id <= walk["walk_ends"]).order_by(_S.id).limit(left)
        )
        walked = list(connection.execute(ahead).scalars())
        to = walked[-1] if len(walked) == left else walk["walk_ends"]
        _recount(ctx, connection, {*flagged, *again, *walked}, (walk["walked_to"], to), now)
        connection.execute(shipments.update().where(queries.among(connection, _S.id, flagged)).values(recount=None))
        walk["walked_to"] = to
        if to == walk["walk_ends"] and walk["whole_at"] is None:
            walk["whole_at"] = now
        more = len(flagged) == batch or len(again) == batch or walk["whole_at"] is None
        if not more:
            walk["counted_at"] = now
        connection.execute(report_state.update().where(report_state.c.name == NAME).values(**walk))
        return more


def _own(connection: Connection) -> Row[Any] | None:
    """Lock how far was counted: one process counts at a time. None where another does."""
    row = {"name": NAME, "walked_to": 0, "walk_ends": 0, "rules": {}}
    connection.execute(queries.upsert(connection, report_state).on_conflict_do_nothing(), row)
    here = sa.select(report_state).where(report_state.c.name == NAME)
    return connection.execute(queries.skip_locked(connection, here)).first()


def _begin(config: Config, connection: Connection, state: Row[Any]) -> dict[str, Any]:
    """Return how far the walk is, begun anew where it came to its end, or where what stores count by changed."""
    walk = {"walked_to": state.walked_to, "walk_ends": state.walk_ends, "whole_at": state.whole_at}
    stores = {name: config.account(name) for name in config.store_names()}
    rules = {OURS: str(RULES), **{name: rules_of(one.policy) for name, one in stores.items() if one is not None}}
    known = {name: state.rules.get(name) for name in rules}
    other = known[OURS] is None or any(was not in (None, rules[name]) for name, was in known.items())
    if other:
        walk["whole_at"] = None
    if other or walk["walked_to"] >= walk["walk_ends"]:
        newest = connection.execute(sa.select(sa.func.max(_S.id))).scalar_one_or_none()
        walk |= {"walked_to": 0, "walk_ends": newest or 0}
    return walk if known == rules else walk | {"rules": {**state.rules, **rules}}


def rules_of(policy: Policy) -> str:
    """Return a hash of what a store's parcels are counted by: its business days, and how long silence is normal."""
    return _hashed(policy.calendar, policy.silence, policy.stuck_after)


@lru_cache(maxsize=1000)
def _hashed(calendar: Any, silence: Any, stuck_after: timedelta) -> str:
    days = sorted(map(str, calendar.holidays))
    return digest([calendar.zone, sorted(calendar.weekend), days, repr(silence), str(stuck_after)])


def _recount(ctx: AppContext, connection: Connection, ids: set[int], walked: tuple[int, int], now: datetime) -> None:
    """Count shipments as they are now instead of as they were; `walked`: and take out what is gone between these ids."""
    legs_of = sa.select(_S.id, _S.leg_of).where(queries.among(connection, _S.id, ids))
    ids = ids | {row.leg_of for row in connection.execute(legs_of) if row.leg_of is not None}
    ours = queries.among(connection, _F.shipment_id, ids)
    between = sa.and_(_F.shipment_id > walked[0], _F.shipment_id <= walked[1])
    before: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in connection.execute(
        sa.select(parcel_facts).where(sa.or_(ours, between)).order_by(_F.shipment_id, _F.store)
    ):
        before[row.shipment_id].append(dict(row._mapping))
    after = _facts(ctx.config, connection, ids, now)
    changed = [one for one in sorted(before.keys() | after.keys()) if before.get(one) != after.get(one)]
    if not changed:
        return
    delta: dict[Key, Counter[str]] = defaultdict(Counter)
    for one in changed:
        for was in before.get(one, ()):
            _add(delta, was, -1)
        for now_ in after.get(one, ()):
            _add(delta, now_, 1)
    connection.execute(parcel_facts.delete().where(queries.among(connection, _F.shipment_id, changed)))
    queries.put(connection, parcel_facts, [row for one in changed for row in after.get(one, ())])
    _apply(connection, delta)


def _add(delta: dict[Key, Counter[str]], row: Mapping[str, Any], sign: int) -> None:
    """Add what a parcel counts to its day: for its store and, where it is the one that counts, for all stores."""
    names = Fared.__dataclass_fields__
    told = {name: row[name] for name in names if name in row}
    told |= {"day": date.fromisoformat(row["day"]), "first": row["on_first"], "last": row["on_last"]}
    counts = counts_of(Fared(**told))
    for store in (row["store"], ALL) if row["counts"] else (row["store"],):
        key: Key = (store, *(row[name] for name in _DIMENSIONS[1:]))
        for name, many in counts.items():
            delta[key][name] += sign * many
        for account, delays in row["delays"].items():
            for bound, many in delays.items():
                delta[(*key[:3], account, *key[4:])][f"delay/{bound}"] += sign * many


def _apply(connection: Connection, delta: Mapping[Key, Counter[str]]) -> None:
    """Add differences to the counts of days; what counts nothing any more is dropped."""
    keys = {digest(list(key)): key for key, counts in delta.items() if any(counts.values())}
    d = report_days.c
    here = sa.select(d.key, d.counts).where(queries.among(connection, d.key, sorted(keys)))
    known = {row.key: row.counts for row in connection.execute(here)}
    rows, empty = [], []
    for hashed, key in sorted(keys.items()):
        total = Counter(known.get(hashed, {}))
        total.update(delta[key])
        if counts := {name: many for name, many in sorted(total.items()) if many}:
            rows.append({"key": hashed, **dict(zip(_DIMENSIONS, key, strict=True)), "counts": counts})
        else:
            empty.append(hashed)
    queries.put(connection, report_days, rows, _replaced)
    if empty:
        connection.execute(report_days.delete().where(queries.among(connection, d.key, empty)))


def _replaced(insert: Any) -> Any:
    return insert.on_conflict_do_update(index_elements=["key"], set_={"counts": insert.excluded.counts})


def _facts(
    config: Config, connection: Connection, ids: Iterable[int], now: datetime
) -> dict[int, list[dict[str, Any]]]:
    """Return how parcels fared, one row a store: of those that an order names, with their last miles."""
    mine = sa.or_(queries.among(connection, _S.id, ids), queries.among(connection, _S.leg_of, ids))
    columns = (_S.id, _S.carrier, _S.summary, _S.starts_at, _S.linked, _S.leg_of)
    rows = connection.execute(sa.select(*columns).where(mine)).all()
    wholes = {row.id: row for row in rows if row.leg_of is None and row.linked}
    whole_of = {row.id: row.leg_of or row.id for row in rows if (row.leg_of or row.id) in wholes}
    told: dict[int, list[Told]] = defaultdict(list)
    for shipment_id, one in _scans(connection, whole_of):
        told[whole_of[shipment_id]].append(one)
    promised = _estimates(connection, whole_of)
    found: dict[int, list[dict[str, Any]]] = {}
    for shipment_id, links in _links(connection, wholes).items():
        row, stores = wholes[shipment_id], {link.store: link for link in reversed(links)}
        for store, link in sorted(stores.items()):
            course = Course(
                SUMMARY.validate_python(row.summary), told[shipment_id], promised[shipment_id], row.starts_at,
                link.facts.get("ships_to") or "",
            )  # fmt: skip
            values = _row(config, row.carrier, course, link, now)
            counts = store == links[0].store
            found.setdefault(shipment_id, []).append(
                {"shipment_id": shipment_id, "store": store, "counts": counts, **values}
            )
    return found


def _row(config: Config, carrier: str, course: Course, link: Any, now: datetime) -> dict[str, Any]:
    """Return what is kept of how a parcel fared, by the rules of the store that ships it."""
    account = config.account(link.store)
    policy = account.policy if account is not None else Policy()
    part: Mapping[str, Any] = next((one for one in link.facts.get("fulfilments", ()) if one["ref"] == link.ref), {})
    word = part.get("service") or link.facts.get("service") or link.facts.get("method") or ""
    carrier = carrier if not carrier.startswith(UNIDENTIFIED) else UNIDENTIFIED[:-1]
    lane = f"{course.summary.origin}-{course.ships_to}"
    silent_after = policy.silence_for(carrier, word, lane).stuck_after or policy.stuck_after
    one = fared(course, policy.calendar, silent_after, now)
    return {
        "day": str(one.day), "carrier": carrier, "account": one.account, "service": plain(word, MOST_WORD), "origin": one.origin,
        "destination": one.destination, "handed_over": one.handed_over, "end": str(one.end), "days": one.days, "on_first": one.first,
        "on_last": one.last, "attempt": one.attempt, "problems": list(one.problems), "returned": one.returned, "silent": one.silent,
        "delays": {name: {str(bound): many for bound, many in of.items()} for name, of in one.delays.items()},
        "again_at": one.again_at,
    }  # fmt: skip


def _scans(connection: Connection, ids: Iterable[int]) -> list[tuple[int, Told]]:
    s = scans.c
    columns = (
        s.shipment_id, s.status, s.reason, s.leg, s.instant, s.zone, s.precision, s.country, s.account, s.first_seen_at, s.pushed_at,
        s.inbox_id, s.local,
    )  # fmt: skip
    here = queries.among(connection, s.shipment_id, ids)
    rows = connection.execute(sa.select(*columns).where(here, s.withdrawn_at.is_(None)))
    return [
        (row.shipment_id, Told(ShippingStatus(row.status) if row.status else None, Reason(row.reason) if row.reason else None, Leg(row.leg),
                               row.instant, Zone(row.zone), Precision(row.precision), row.country, row.account, row.first_seen_at,
                               row.pushed_at, row.inbox_id, date.fromisoformat(row.local[:10]) if row.local else None))
        for row in rows
    ]  # fmt: skip


def _estimates(connection: Connection, whole_of: Mapping[int, int]) -> dict[int, list[Estimate]]:
    """Return the estimates of parcels as they were heard; one that a version before kept was not the first for sure."""
    e = estimates.c
    here = sa.select(e.shipment_id, e.begins, e.ends, e.told_at, e.account).where(
        queries.among(connection, e.shipment_id, whole_of)
    )
    found: dict[int, list[Estimate]] = defaultdict(list)
    for row in connection.execute(here.order_by(e.told_at, e.id)):
        day = whole_day(row.begins, row.ends)
        found[whole_of[row.shipment_id]].append(Estimate(row.ends, row.told_at, row.account is not None, day))
    return found


def _links(connection: Connection, ids: Iterable[int]) -> Mapping[int, Sequence[Any]]:
    """Return which orders name parcels, the first that did so first; test orders name none."""
    fs, f, o = fulfilment_shipments.c, fulfilments.c, orders.c
    select = (
        sa.select(fs.shipment_id, f.ref, o.store, o.facts)
        .join(fulfilments, f.id == fs.fulfilment_id)
        .join(orders, o.id == f.order_id)
        .where(queries.among(connection, fs.shipment_id, ids))
        .order_by(fs.shipment_id, fs.linked_at, fs.fulfilment_id)
    )
    found: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(select):
        if not row.facts.get("test"):
            found[row.shipment_id].append(row)
    return found
