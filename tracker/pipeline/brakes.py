"""The brakes: where an account's news are too strange to be written, what ends a journey is held until a person looked.

A brake is of an account and a carrier of whose parcels it tells. It is put on in the transaction of the scans that leapt, so
before anything is decided on them. What it holds stays in the outbox in the state `held`: it is sent in its order once the
brake is released, and falls away where it is not wanted any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.brake import ENDS, WITHDRAWN, Leap
from tracker.domain.facts import Action, Finding
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import Act, FindingKind, NoticeClass, OrderStatus, Severity
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.codec import ACTION
from tracker.store.engine import database_now
from tracker.store.tables import (
    accounts,
    endings,
    findings,
    fulfilment_shipments,
    fulfilments,
    outbox,
    scans,
    shipments,
    watches,
)

MOST_SAMPLES = 20
TRUE_FOR = timedelta(hours=24)  # what a person called true is not asked about again before it is a part of the past
HELD = "held"
_O = OrderStatus
_ORDER_ENDS = frozenset({_O.DELIVERED, _O.RETURNED, _O.DELIVERY_FAILED})
_TOLD_ENDS = frozenset({NoticeClass.DELIVERED, NoticeClass.RETURNING, NoticeClass.REVIEW_REQUEST})
_BY_PERSON = "correction:"  # how the rule begins of a status that a person asked for


class Sample(NamedTuple):
    """A parcel that ended, and by which code."""

    shipment_id: int
    number: str
    code: str


class On(NamedTuple):
    """A brake that is on."""

    account: str
    carrier: str
    since: datetime
    stood: tuple[str, ...] = ()
    parcels: tuple[int, ...] = ()  # samples, as ids of shipments

    @property
    def key(self) -> str:
        """Return how a write names it."""
        return f"{self.account}/{self.carrier}"

    @property
    def said(self) -> str:
        """Say it in a line, with what ends it."""
        of = "" if self.carrier == self.account else f" for {self.carrier}"
        return (
            f"held by the brake of account {self.account}{of} since {self.since:%Y-%m-%d %H:%M}Z: its ends leapt; "
            f"`tracker resume {self.account}` where they are true"
        )


def of_account(name: str, brakes: Mapping[str, Any] | None) -> list[On]:
    """Return the brakes of an account that are on, by the column of its row."""
    return [
        On(name, carrier, datetime.fromisoformat(told["since"]), tuple(told["stood"]), tuple(told["parcels"]))
        for carrier, told in sorted((brakes or {}).items())
        if "released" not in told
    ]


def on(states: Iterable[Any]) -> dict[tuple[str, str], On]:
    """Return all brakes that are on, by account and carrier, of accounts' rows."""
    return {(one.account, one.carrier): one for row in states if row.brakes for one in of_account(row.name, row.brakes)}


# put on


def put_on(
    ctx: AppContext,
    connection: Connection,
    whose: tuple[str, str],
    found: Sequence[Leap],
    look: Callable[[], Sequence[Sample]],
    now: datetime,
) -> None:
    """Put a brake on, and tell a person; not where it is on, or a person called it true a while ago. `look` finds the samples."""
    account, carrier = whose
    row = _locked(connection, account)
    if row is None:
        return
    before = (row.brakes or {}).get(carrier)
    if before is not None and ("released" not in before or now - datetime.fromisoformat(before["released"]) < TRUE_FOR):
        return
    samples = look()
    told = {
        "since": now.isoformat(),
        "stood": [leap.stood for leap in found],
        "parcels": [s.shipment_id for s in samples],
    }
    _change(connection, row, carrier, told)
    ends, steps = sum(leap.ends for leap in found), sum(leap.steps for leap in found)
    usual = sum(leap.usual for leap in found)
    codes = Counter(sample.code for sample in samples if sample.code)
    evidence = {
        "account": account, "carrier": carrier, "stood": ", ".join(leap.stood for leap in found),
        "ended": f"{ends} of {steps} ({_percent(ends, steps)})", "usual": f"{usual:.1f} of {steps} ({_percent(usual, steps)})",
        "codes": ", ".join(f"{code} ({many})" for code, many in codes.most_common(5)),
        "parcels": ", ".join(sample.number for sample in samples),
    }  # fmt: skip
    finding = Finding(
        FindingKind.ENDS_LEAPT, _subject(account, carrier), Severity.URGENT, Act.ACT, evidence, now,
        f"look at these parcels. It is true: `tracker resume {account}`. It is not: mend the code's meaning or the parser, then "
        f"`tracker remap {account}` (or replay), then `tracker resume {account}`",
    )  # fmt: skip
    tell.report_findings(ctx, connection, [(None, finding)], now, by="brake")
    ctx.count("tracker_brakes_total", account=account)
    ctx.log.warning("brake_on", account=account, carrier=carrier, count=ends)


def _percent(part: float, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


# what rests on it


def ends(action: Action) -> bool:
    """Say whether a write or notice tells that a journey ended, or takes that back in the shop; not what a person asked for."""
    if action.rules and action.rules[0].startswith(_BY_PERSON):
        return False
    if action.kind == "notice":
        return action.notice in _TOLD_ENDS
    if action.kind == "order_status":
        return action.target in _ORDER_ENDS or action.before in _ORDER_ENDS
    # what a field or tag shows may stand in the place of an end; an event never does
    return action.kind in {"field", "tag"} or (action.kind == "fulfilment_event" and action.status in ENDS)


def resting(
    connection: Connection, brakes: Mapping[tuple[str, str], On], actions: Sequence[tuple[int, Action]]
) -> dict[str, On]:
    """Return the actions (with their orders' ids) that rest on a brake that is on, by their keys.

    An end rests on an account where nobody else tells it; one that was taken back, on all who watch the parcel.
    """
    asked = [(order_id, action) for order_id, action in actions if brakes and ends(action)]
    if not asked:
        return {}
    parcels: dict[int, list[_Parcel]] = defaultdict(list)
    ids = {"ids": sorted({order_id for order_id, _ in asked})}
    for row in connection.execute(_parcels(queries.is_sqlite(connection)), ids):
        parcels[row.order_id].append(_Parcel(row))
    told: dict[int, set[str]] = defaultdict(set)
    watched: dict[int, set[str]] = defaultdict(set)
    here = {"ids": sorted({one.id for some in parcels.values() for one in some})}
    for shipment_id, account in connection.execute(_tellers(queries.is_sqlite(connection)), here):
        told[shipment_id].add(account)
    for shipment_id, account in connection.execute(_watchers(queries.is_sqlite(connection)), here):
        watched[shipment_id].add(account)
    found: dict[str, On] = {}
    for order_id, action in asked:
        for one in parcels[order_id]:
            if not _speaks_of(action, one):
                continue
            if one.ended and _is_end(action):
                by = [brakes.get((account, one.carrier)) for account in told[one.id]]
                held = by[0] if by and all(by) else None
            else:
                by = [brakes.get((account, one.carrier)) for account in watched[one.id] | told[one.id]]
                held = next(filter(None, by), None) if one.taken_back else None
            if held is not None:
                found[action.key] = held
    return found


class _Parcel:
    """A parcel of an order, as far as a brake asks."""

    __slots__ = ("carrier", "ended", "fulfilment", "id", "number", "taken_back")

    def __init__(self, row: Row[Any]) -> None:
        self.id, self.fulfilment, self.carrier, self.number = row.id, row.ref, row.carrier, row.number
        self.ended = row.status in ENDS
        self.taken_back = not self.ended and row.summary.get("taken_back") is not None


def _is_end(action: Action) -> bool:
    if action.kind == "order_status":
        return action.target in _ORDER_ENDS
    return action.kind == "notice" or action.status in ENDS


def _speaks_of(action: Action, parcel: _Parcel) -> bool:
    if action.fulfilment:
        return bool(parcel.fulfilment == action.fulfilment)
    named = clean(action.parcels[0].number) if action.kind == "notice" and action.parcels else parcel.number
    return bool(named == parcel.number)


def in_force(ctx: AppContext, store: str) -> tuple[bool, dict[tuple[str, str], On]]:
    """Look once more before each write: whether its store is paused (within one call), and which brakes are on."""
    a = accounts.c
    columns = sa.select(a.name, a.paused_at, a.suspended_reason, a.brakes)
    with ctx.store.read() as connection:
        rows = connection.execute(columns.where(sa.or_(a.name == store, a.brakes.isnot(None)))).all()
    mine = next((row for row in rows if row.name == store), None)
    return mine is None or mine.paused_at is not None or mine.suspended_reason is not None, on(rows)


def hold(ctx: AppContext, row: Row[Any], brakes: Mapping[tuple[str, str], On]) -> bool:
    """Hold a claimed write that rests on a brake. Returns whether it does."""
    if not brakes:
        return False
    with ctx.store.write() as connection:
        found = resting(connection, brakes, [(row.order_id, ACTION.validate_python(row.action))])
        if not found:
            return False
        ((_, brake),) = found.items()
        if row.id in queries.still_ours(connection, outbox, [row]):
            values = {"state": HELD, "held_by": brake.key, "error": brake.said, "claimed_until": None, "crashes": 0}
            connection.execute(outbox.update().where(outbox.c.id == row.id).values(values))
    ctx.count("tracker_writes_total", store=row.store, state=HELD)
    return True


# release


class Released(NamedTuple):
    """A brake that was released: how many writes go on, and whether its samples ended no more (it was mended)."""

    brake: On
    writes: int
    mended: bool


def release(ctx: AppContext, account: str) -> list[Released]:
    """Release the brakes of an account by a person's word; what they held is due again, in its order.

    Where most samples still stand as they were told, it is true: the weeks before count no more for what leapt, and today
    does. Where most do not any more, it was mended: what was counted since is forgotten.
    """
    done: list[Released] = []
    with ctx.store.write() as connection:
        now = ctx.now()
        known = connection.execute(sa.select(accounts.c.brakes).where(accounts.c.name == account)).scalar()
        for brake in of_account(account, known):
            standing = sa.select(sa.func.count()).select_from(shipments).where(
                queries.among(connection, shipments.c.id, brake.parcels), shipments.c.status.in_(ENDS)
            )  # fmt: skip
            gone = connection.execute(standing).scalar_one() * 2 < len(brake.parcels)
            mended = gone != (brake.stood == (WITHDRAWN,))
            done.append(Released(brake, _let_go(connection, brake.key), mended))
            queries.close_findings(
                connection,
                findings.c.subject == _subject(account, brake.carrier),
                now,
                "person",
                "the brake was released",
            )
        for brake, _, mended in done:
            e, since = endings.c, f"{brake.since:%Y-%m-%d}"
            wrong = e.day >= since if mended else e.day < since
            here = (e.account == account, e.carrier == brake.carrier, e.stood.in_(brake.stood), wrong)
            connection.execute(endings.delete().where(*here))
            row = _locked(connection, account)
            _change(connection, row, brake.carrier, None if mended else {"released": now.isoformat()})
    for brake, writes, mended in done:
        ctx.log.info(
            "brake_off", account=account, carrier=brake.carrier, count=writes, said="mended" if mended else "true"
        )
    ctx.notify("push")
    return done


def look(connection: Connection) -> None:
    """Let go what is held by a brake that is on no more: whoever decided just then did not know."""
    held = connection.execute(sa.select(outbox.c.held_by).where(outbox.c.state == HELD).distinct()).scalars().all()
    if not held:
        return
    known = connection.execute(sa.select(accounts.c.name, accounts.c.brakes).where(accounts.c.brakes.isnot(None)))
    stands = {one.key for one in on(known.all()).values()}
    for key in held:
        if key not in stands:
            _let_go(connection, key)


def count_held(connection: Connection, key: str, store: queries.Stores = None) -> int:
    """Return how many writes a brake holds, of some stores."""
    o = outbox.c
    mine = (o.state == HELD, o.held_by == key, *queries.of_stores(o.store, store))
    return int(connection.execute(sa.select(sa.func.count()).select_from(outbox).where(*mine)).scalar_one())


def _let_go(connection: Connection, key: str | None) -> int:
    o = outbox.c
    values = {"state": "pending", "held_by": None, "error": None, "due_at": database_now(connection)}
    return connection.execute(outbox.update().where(o.state == HELD, o.held_by == key).values(values)).rowcount


def _locked(connection: Connection, account: str) -> Any:
    return connection.execute(
        queries.locked(connection, sa.select(accounts).where(accounts.c.name == account))
    ).one_or_none()


def _change(connection: Connection, row: Any, carrier: str, told: Mapping[str, Any] | None) -> None:
    others = {name: one for name, one in (row.brakes or {}).items() if name != carrier}
    changed = {**others, carrier: told} if told is not None else others
    connection.execute(accounts.update().where(accounts.c.name == row.name).values(brakes=changed or sa.null()))


def _subject(account: str, carrier: str) -> str:
    return f"account/{account}/ends/{carrier}"


@cache
def _parcels(sqlite: bool) -> sa.Select[Any]:
    s, f, fs = shipments.c, fulfilments.c, fulfilment_shipments.c
    whole = shipments.alias()  # a write speaks of a parcel by its first number, whoever told its end
    number = sa.func.coalesce(whole.c.number, s.number).label("number")
    return (
        sa.select(f.order_id, f.ref, s.id, s.carrier, number, s.status, s.summary)
        .join(fulfilment_shipments, fs.fulfilment_id == f.id)
        .join(shipments, s.id == fs.shipment_id)
        .outerjoin(whole, whole.c.id == s.leg_of)
        .where(queries.one_of(sqlite, f.order_id, "ids"))
        .order_by(f.order_id, s.id)
    )


@cache
def _tellers(sqlite: bool) -> sa.Select[Any]:
    s = scans.c
    here = queries.one_of(sqlite, s.shipment_id, "ids")
    return sa.select(s.shipment_id, s.account).where(here, s.status.in_(ENDS), s.withdrawn_at.is_(None)).distinct()


@cache
def _watchers(sqlite: bool) -> sa.Select[Any]:
    return sa.select(watches.c.shipment_id, watches.c.account).where(
        queries.one_of(sqlite, watches.c.shipment_id, "ids")
    )
