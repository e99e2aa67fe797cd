"""The story of an order: everything that was told, seen, decided and done, in one row of moments, each with its sentence.

Told as it stands in the tables, for a picture and the table beside it. A lane is who a moment belongs to: the shop, us, and each parcel
(its last mile, and its way back, are lanes of their own).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.reconcile import US
from tracker.domain.sentences import BOTH, Fields, estimated, key_of, minute, say, spoken
from tracker.domain.texts import printable
from tracker.domain.vocabulary import FindingKind, Leg, Precision, ShippingStatus, Zone
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.codec import ACTION
from tracker.store.tables import (
    decisions,
    estimates,
    findings,
    fulfilment_shipments,
    fulfilments,
    order_versions,
    orders,
    outbox,
    scans,
    shipments,
    statements,
)

MOST = 500  # of versions, decisions, writes, findings and statements each; of scans so many times four
MOST_TEXT = 300  # characters of a text of others
SHOP, OURS = "shop", "ours"
BACK_LEGS = frozenset({Leg.RETURN_TO_SENDER, Leg.CUSTOMER_RETURN})
BACK_STATUSES = frozenset({ShippingStatus.RETURNING, ShippingStatus.RETURNED})
STATES = {
    "pending": "it waits to be sent", "held": "a brake holds it", "sent": "sent", "refused": "the shop refused it", "dead": "given up",
    "superseded": "not sent, as it was not wanted any more", "observed": "only noted, as the store is in mode observe",
}  # fmt: skip
UNSURE = {
    Zone.ASSUMED: "; its zone is assumed", Zone.UNKNOWN: "; it tells no moment that can be placed: this is when we heard it",
    Zone.FUTURE: "; its time lay ahead of ours: this is when we heard it",
}  # fmt: skip
_BOTH = (
    f"; {BOTH.partition('{')[0]}"  # what each sentence of a rule ends with: the statuses, which stand beside it here
)
_PLAIN_QUOTES = str.maketrans("“”", '""')
# where carriers' words name a person, and what follows the same words and is none
_PERSON = re.compile(
    r"(?i)\b((?:signed|received|accepted|collected|taken in)(?: for)? by|unterschrieben von|empfangen von|(?:signatory|signature|recipient|signee"
    r"|empfänger):|(?:left with|handed to|released to|delivered to|given to)(?! *(?:the|an?|your|our|their|mail|mailbox|front|back|side|porch|garage"
    r"|agent|address|destination|recipient|neighbou?r|carrier|post|parcel|locker|access|pick|pickup|customs|courier|partner|local|delivery|in|at)\b))"
    r"([ :.-]*\S.*)"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened: when (UTC), in whose lane, what it is, its sentence, and the payload that told of it.

    `kind`: version, statement, decision, write, unsent, refused, finding, closed, scan, withdrawn or estimate. `at` is where it stands on the
    time axis; an estimate stands where it promises, and was `heard` before.
    """

    at: datetime
    lane: str
    kind: str
    sentence: str
    status: str | None = None
    payload: int | None = None
    heard: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """Who moments belong to, and how the status there went: each from when, and what it was; "": it goes on in another lane."""

    key: str
    title: str
    spans: tuple[tuple[datetime, str], ...] = ()
    parcel: int | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """An order, its lanes from top to bottom, its moments in their order, and what is left out."""

    order: Row[Any]
    lanes: tuple[Lane, ...]
    moments: tuple[Moment, ...]
    left_out: tuple[str, ...] = ()
    parcels: tuple[Row[Any], ...] = field(default=())


def words(name: str | None) -> str:
    """Say a name of ours as people do."""
    return spoken(name or "unknown")


def unnamed(text: str) -> str:
    """Return a carrier's words without what may be a person's name: who signed, with whom it was left."""
    return _PERSON.sub(r"\1 (a name, not shown)", text)


def story(ctx: AppContext, order_id: int, *, names: bool = False) -> Story | None:
    """Tell the story of an order, None: there is none of this id. `names`: carriers' words whole, also where they may name a person."""
    with ctx.store.read() as connection:
        order = connection.execute(sa.select(orders).where(orders.c.id == order_id)).one_or_none()
        if order is None:
            return None
        read = _Read(connection, names)
        parcels = _parcels(connection, order_id)
        seen = [*read.rows(order_versions, order_versions.c.order_id == order_id, "readings of the shop")]
        moments = [*_versions(seen), *read.ours(order_id, order.number)]
        lanes = [Lane(SHOP, f"shop: {order.store}", tuple(_spans(order, seen))), Lane(OURS, "what we did")]
        for parcel in parcels:
            told, mine = read.parcel(parcel)
            moments += told
            lanes += mine
    moments.sort(key=lambda one: (one.heard or one.at, one.lane != SHOP, one.lane == OURS))
    return Story(order, tuple(lanes), tuple(moments), tuple(read.left_out), tuple(parcels))


def _parcels(connection: Connection, order_id: int) -> Sequence[Row[Any]]:
    """Return the parcels of an order, each followed by its last miles."""
    fs, s = fulfilment_shipments.c, shipments.c
    linked = (
        sa.select(fs.shipment_id)
        .join(fulfilments, fulfilments.c.id == fs.fulfilment_id)
        .where(fulfilments.c.order_id == order_id)
    )
    ids = [row.id for row in connection.execute(sa.select(s.id).where(s.id.in_(linked)))]
    mine = sa.or_(s.id.in_(ids), s.leg_of.in_(ids))
    found = connection.execute(sa.select(shipments).where(mine)).all() if ids else []
    return sorted(found, key=lambda row: (row.leg_of or row.id, row.leg_of is not None, row.id))


class _Read:
    """Reads what stands in the tables, and notes what is left out of it."""

    def __init__(self, connection: Connection, names: bool) -> None:
        self.connection, self.names = connection, names
        self.left_out: list[str] = []

    def rows(self, table: sa.Table, which: sa.ColumnElement[bool], of: str, times: int = 1) -> list[Row[Any]]:
        """Return the newest rows, oldest first."""
        most = MOST * times
        found = self.connection.execute(sa.select(table).where(which).order_by(table.c.id.desc()).limit(most + 1)).all()
        if len(found) > most:
            self.left_out.append(f"the newest {most:,} {of} are shown; `tracker evidence` has the older ones too")
        return list(reversed(found[:most]))

    def ours(self, order_id: int, number: str) -> Iterator[Moment]:
        for row in self.rows(decisions, decisions.c.order_id == order_id, "decisions"):
            yield Moment(row.at, OURS, "decision", _decided(row, number))
        for row in self.rows(outbox, outbox.c.order_id == order_id, "writes"):
            yield _write(row)
        for row in self.rows(findings, findings.c.order_id == order_id, "findings"):
            yield from _finding(row)
        for row in self.rows(statements, statements.c.order_id == order_id, "statements"):
            to = f" {words(row.status)}" if row.status else ""
            said = f"{row.by} said: {words(row.kind)}{to}: {cut(row.text)}"
            yield Moment(row.at, SHOP, "statement", said)

    def parcel(self, row: Row[Any]) -> tuple[list[Moment], list[Lane]]:
        """Return what was told of a parcel, and its lanes: there, and where it went back, back."""
        title = f"{'last mile ' if row.leg_of is not None else ''}{row.carrier} {row.number}"
        told = self.rows(scans, scans.c.shipment_id == row.id, f"scans of {title}", 4)
        back = [one for one in told if _is_back(one)]
        key = f"p{row.id}"
        moments = [self._scan(one, f"{key}back" if _is_back(one) else key, title) for one in told]
        moments += [
            _estimate(one, key, title)
            for one in self.rows(estimates, estimates.c.shipment_id == row.id, f"estimates of {title}")
        ]
        there = _went([one for one in told if not _is_back(one)])
        if back and there:
            there = (*there, (max(there[-1][0], min(one.instant for one in back)), ""))
        lanes = [Lane(key, title, there, row.id)]
        if back:
            lanes.append(Lane(f"{key}back", f"{title}, on its way back", _went(back), row.id))
        return moments, lanes

    def _scan(self, row: Row[Any], lane: str, title: str) -> Moment:
        text = cut(row.text if self.names else unnamed(row.text))
        place = ", ".join(part for part in (row.city, row.region, row.country) if part)
        means = f"it is {words(row.status)}" if row.status else "it changes nothing"
        if row.reason == "unmapped":
            means = "nobody told us what this code means"
        elif row.reason:
            means += f" ({words(row.reason)})"
        gone = row.withdrawn_at is not None
        more = f"; the carrier took this back {minute(row.withdrawn_at)}" if gone else ""
        said = f"{title}: {quoted(text or row.code)}{f' at {cut(place)}' if place else ''}: {means}{_unsure(row)}{more}"
        status = "unmapped" if row.reason == "unmapped" else row.status
        return Moment(row.instant, lane, "withdrawn" if gone else "scan", said, status, row.inbox_id)


def _unsure(row: Row[Any]) -> str:
    """Say why the moment of a scan is not sure, where it is not."""
    said = UNSURE.get(row.zone, "; only its day was told" if row.precision == Precision.DATE else "")
    return f"{said} (printed: {cut(row.local)})" if row.zone in UNSURE and row.local else said


def _is_back(row: Row[Any]) -> bool:
    return row.leg in BACK_LEGS or row.status in BACK_STATUSES


def _versions(rows: Sequence[Row[Any]]) -> Iterator[Moment]:
    before: Row[Any] | None = None
    for row in rows:
        yield Moment(row.seen_at, SHOP, "version", _version(before, row), row.status, row.inbox_id)
        before = row


def _version(before: Row[Any] | None, row: Row[Any]) -> str:
    """Say what the shop said, or what of it changed since, and who changed it."""
    if before is None:
        return f"The shop says {words(row.status)} ({quoted(row.raw_status or '')}), {words(row.payment)}"
    changed, by = list[str](), f"; set by {words(row.actor)}"  # who set the status: of what else changes no shop tells
    if before.status != row.status:
        changed.append(
            f"its status from {words(before.status)} to {words(row.status)} ({quoted(row.raw_status or '')})"
        )
    elif before.raw_status != row.raw_status:
        changed.append(f"its word from {quoted(before.raw_status or '')} to {quoted(row.raw_status or '')}")
    else:
        by = ""
    if before.payment != row.payment:
        changed.append(f"its payment from {words(before.payment)} to {words(row.payment)}")
    if before.numbers != row.numbers:
        changed.append("its tracking numbers")
    if row.actor == US:
        return f"The shop took what we wrote: {', '.join(changed) or 'what it shows of the parcels'}"
    if not changed and {**before.facts, "updated_at": None} == {**row.facts, "updated_at": None}:
        return "The shop was read again and says the same"
    return f"The shop changed {', '.join(changed) or 'something else of the order'}{by}"


def _spans(order: Row[Any], rows: Sequence[Row[Any]]) -> Iterator[tuple[datetime, str]]:
    last = None
    for row in rows:
        if row.status is not None and row.status != last:
            yield (row.seen_at if last is not None else min(row.seen_at, order.placed_at)), row.status
            last = row.status
    if last != order.status:
        yield order.read_at, order.status


def _went(told: Sequence[Row[Any]]) -> tuple[tuple[datetime, str], ...]:
    """Say how the status went by what its scans say, in the order of their moments."""
    spans: list[tuple[datetime, str]] = []
    for row in sorted(told, key=lambda one: (one.instant, one.id)):
        counts = row.status not in (None, ShippingStatus.UNKNOWN) and row.withdrawn_at is None
        if counts and (not spans or spans[-1][1] != row.status):
            spans.append((row.instant, row.status))
    return tuple(spans)


def _decided(row: Row[Any], number: str) -> str:
    """Say what was decided: what was wanted, what is to be looked at, and the sentence of each rule."""
    wanted = [_what(action) for action in row.actions]
    found = [words(one["kind"]) for one in row.findings]
    parts = [f"We wanted to {', and to '.join(wanted)}"] if wanted else ["There was nothing to write"]
    parts += [f"to look at: {', '.join(found)}"] if found else []
    rules = [rule for rule in row.because if key_of(rule)[0] != "owner"] or row.because
    said = [say(rule, Fields(number)).partition(_BOTH)[0].rstrip(".") for rule in rules]
    return cut(f"{'; '.join(parts)}. {'. '.join(dict.fromkeys(said))}", 3 * MOST_TEXT)


def _what(stored: Mapping[str, Any]) -> str:
    """Say a write in words."""
    action = ACTION.validate_python(stored)
    if action.kind == "order_status":
        return f"set the order to {words(action.target)}"
    if action.kind == "fulfilment_event":
        return f"show {words(action.status)} in the shop"
    if action.kind == "notice":
        return f"tell the customer: {words(action.notice)}"
    if action.kind == "number":
        return f"put {' for '.join(parcel.number for parcel in reversed(action.parcels))}"
    if action.kind == "order_note":
        return "attach a note to the order"
    return f"show {words(action.status)} in the {action.kind} {cut(action.field)}".rstrip()


def _write(row: Row[Any]) -> Moment:
    kind = {"sent": "write", "refused": "refused", "dead": "refused"}.get(row.state, "unsent")
    error = f": {cut(row.error)}" if row.error and kind != "write" else ""
    tried = f" after {row.attempts} tries" if row.attempts > 1 else ""
    said = f"We wanted to {_what(row.action)}: {STATES.get(row.state, row.state)}{tried}{error}"
    return Moment(row.created_at, OURS, kind, said, row.state)


def _finding(row: Row[Any]) -> Iterator[Moment]:
    sentence = FindingKind(row.kind).sentence.rstrip(".")
    next_step = f"; what would heal it: {cut(row.proposal)}" if row.proposal else ""
    yield Moment(row.opened_at, OURS, "finding", f"To look at ({row.severity}): {sentence}{next_step}", row.severity)
    if row.closed_at is not None:
        reason = f": {cut(row.closed_reason)}" if row.closed_reason else ""
        said = f"No more to look at: {sentence}; closed by {row.closed_by or 'itself'}{reason}"
        yield Moment(row.closed_at, OURS, "closed", said)


def _estimate(row: Row[Any], lane: str, title: str) -> Moment:
    promised = estimated(row.begins, row.ends)
    said = (
        f"{title}: delivery is estimated for {promised}, as {row.account or 'the carrier'} told {minute(row.told_at)}"
    )
    return Moment(row.ends, lane, "estimate", said, None, row.inbox_id, row.told_at)


def cut(text: str, most: int = MOST_TEXT) -> str:
    """Return a text of others so that it can be shown: one line, nothing that moves or hides letters, not too long."""
    plain = " ".join(printable(text[: most * 2]).split())
    return plain if len(plain) <= most else f"{plain[:most]}…"


def quoted(text: str) -> str:
    """Return a text of others in quotes, which it cannot end: nobody takes what it says for ours."""
    return f"“{cut(text.translate(_PLAIN_QUOTES))}”"


def story_of_parcel(ctx: AppContext, shipment_id: int, *, names: bool = False) -> tuple[Row[Any], Story] | None:
    """Tell of one parcel alone, with its last miles: its row, and the story without an order's lanes; None: there is none."""
    with ctx.store.read() as connection:
        s = shipments.c
        row = connection.execute(sa.select(shipments).where(s.id == shipment_id)).one_or_none()
        if row is None:
            return None
        read, moments, lanes = _Read(connection, names), list[Moment](), list[Lane]()
        legs = connection.execute(sa.select(shipments).where(s.leg_of == row.id).order_by(s.id)).all()
        for one in (row, *legs):
            told, mine = read.parcel(one)
            moments += told
            lanes += mine
    moments.sort(key=lambda one: one.heard or one.at)
    return row, Story(row, tuple(lanes), tuple(moments), tuple(read.left_out), (row, *legs))


def orders_of_parcel(ctx: AppContext, shipment_id: int) -> list[Row[Any]]:
    """Return the orders that a parcel is linked to, itself or as somebody's last mile: id, store, number."""
    with ctx.store.read() as connection:
        leg = connection.execute(sa.select(shipments.c.leg_of).where(shipments.c.id == shipment_id)).scalar()
        ids = [one for one in (shipment_id, leg) if one is not None]
        o = orders.c
        linked = o.id.in_(queries.orders_of(connection, ids))
        return list(connection.execute(sa.select(o.id, o.store, o.number).where(linked).order_by(o.id)))
