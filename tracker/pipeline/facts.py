"""Stage A: payloads become facts (scans, summaries, orders). It never reconciles; it marks orders that must be.

Parsing is pure and happens between claim and transaction. A batch that fails is run again row by row, so one poisoned
payload holds back nobody.
"""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.cadence import next_poll
from tracker.domain.errors import BadPayload
from tracker.domain.facts import (
    UNMAPPED,
    Checkout,
    Code,
    Edd,
    Finding,
    Fulfilment,
    Hint,
    Meaning,
    Order,
    Payload,
    Place,
    Report,
    Scan,
    Summary,
    Told,
    Unread,
    fingerprint,
)
from tracker.domain.numbers import candidates, clean
from tracker.domain.timeline import (
    ANEW_AFTER,
    MOST_SCANS,
    Kept,
    begins_anew,
    first_of,
    missing_of,
    place_in_time,
    read_on,
    summarize,
)
from tracker.domain.vocabulary import (
    Act,
    FindingKind,
    Leg,
    Precision,
    Reason,
    Severity,
    ShippingStatus,
    TrackingState,
    Trust,
    Zone,
)
from tracker.pipeline import covered, journeys, tell, unread
from tracker.pipeline.covered import UNIDENTIFIED
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.world import World
from tracker.plugin.payloads import mapping
from tracker.store import queries
from tracker.store.codec import PROOF, SUMMARY, dump, dump_order, plain
from tracker.store.engine import database_now
from tracker.store.tables import (
    accounts,
    findings,
    fulfilment_shipments,
    fulfilments,
    inbox,
    order_versions,
    orders,
    outbox,
    scans,
    shipment_links,
    shipments,
    trackings,
)

ECHO = timedelta(minutes=15)  # of the database's time: a change this soon after our attempt is ours
AHEAD = timedelta(minutes=10)  # so far ahead of ours a shop's clock may be
NO_SHOPS_YET = datetime(2000, 1, 1, tzinfo=UTC)  # a date before that is a missing one: 1970, year 1
US = "trackwright"
REMAP = "remap"  # an inbox row of ours: read these shipments' codes again
_EMPTY = dump(SUMMARY, Summary())
_ITEMS = (Report, Order, Hint, Checkout)


@dataclass
class Parsed:
    """An inbox row and what it says; `dead` says why it says nothing."""

    row: Row[Any]
    account: Account | None
    payload: Payload | None = None
    items: list[Report | Order | Hint | Checkout] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    dead: str | None = None
    failed: Exception | None = None  # not by what it says: it is tried again
    remap: list[int] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)  # numbers under which several shipments stand


@dataclass
class _Parcel:
    """A shipment as this batch works on it."""

    id: int
    carrier: str
    number: str
    generation: int
    starts_at: datetime
    piece: str | None
    linked: bool
    summary: Summary
    edd: Edd | None
    stored: dict[str, Any]
    closed_at: datetime | None


class _Stored(NamedTuple):
    """A scan as it is stored: who told it first, whether somebody vouches for it, a look missed it, a webhook told it."""

    id: int
    account: str
    sure: bool
    missed: bool
    pushed: bool


class _Full(NamedTuple):
    """A full history as an account told it."""

    prints: set[str]
    asked: datetime
    account: Account
    scans: Sequence[Scan]


@dataclass
class _Watch:
    """What one account knows of one shipment; `id` is None where that is not stored yet."""

    id: int | None
    state: str
    as_of: datetime | None
    next_poll_at: datetime | None
    changed: bool = False


def run(world: World) -> int:
    """Work one batch of the inbox. Returns how many rows were taken."""
    with world.store.write() as connection:
        rows = queries.claim(connection, inbox, world.store.batch, died=lambda dead: _died(world, connection, dead))
    if not rows:
        return 0
    crash_at("inbox_claimed")
    with world.held.reading():
        parsed = [parse(world, row) for row in rows]
    for one in parsed:
        if one.failed is not None:
            _failed(world, one, one.failed)
    _work(world, [one for one in parsed if one.failed is None])
    world.ring("reconcile")
    return len(rows)


def _work(world: World, parsed: Sequence[Parsed]) -> None:
    """Commit what payloads say; where that fails, in halves, until the row that did it stands alone: it costs itself only."""
    if not parsed:
        return
    try:
        _commit(world, parsed)
    except Exception as error:  # whatever it was
        if len(parsed) == 1:
            _failed(world, parsed[0], error)
            return
        middle = len(parsed) // 2
        _work(world, parsed[:middle])
        _work(world, parsed[middle:])


def parse(world: World, row: Row[Any]) -> Parsed:
    """Read one payload with its plugin; raises nothing: what goes wrong is this row's alone.

    A BadPayload ends the row `dead` with its path, any other exception with the place where it was raised: a parser is pure
    and fails the same way each time, so trying again is in vain. Both can be replayed.
    """
    account = world.account(row.account)
    if account is None:
        return Parsed(row, None, dead=f"no account {row.account!r} in the configuration")
    if row.body is None:
        return Parsed(row, account, dead="the body is past its retention")
    parsed = Parsed(row, account)
    try:
        parts, start = [], 0
        for size in row.part_sizes or [len(row.body)]:
            parts.append(row.body[start : start + size])
            start += size
        parsed.payload = payload = Payload(row.account, row.kind, tuple(parts), row.received_at, row.headers)
        if row.kind == REMAP:
            parsed.remap = _shipments_of(row.body)
            return parsed
        for item in account.source.normalize(payload):
            if isinstance(item, Unread):
                parsed.unread.append(unread.piece(item))
            elif isinstance(item, _ITEMS):
                parsed.items.append(item)
            else:
                raise TypeError(f"a parser yields a {type(item).__name__}")
    except BadPayload as error:
        parsed.dead = plain(f"bad_payload: {error}", 500)
    except MemoryError as error:  # the machine's fault, not the payload's
        parsed.failed = error
    except Exception as error:
        parsed.dead = f"parser_failed: {_fault(error, type(account.source).__module__)}"
        world.log.warning("parser_failed", inbox=row.id, account=row.account, error=parsed.dead)
        world.count("tracker_inbox_failures_total", account=row.account)
    lost = [one for one in parsed.unread if one.lacks != "nothing"]
    if lost and not parsed.items and parsed.dead is None:  # nothing of it was read
        parsed.dead = f"unread: {lost[0].where}: {lost[0].problem}"
    return parsed


def _shipments_of(body: bytes) -> list[int]:
    """Return the shipments of a row of ours that asks for their codes to be read again."""
    told = mapping(orjson.loads(body), "$").get("shipments")
    if not isinstance(told, list) or any(type(one) is not int or not 0 < one < 1 << 63 for one in told):
        raise BadPayload("$.shipments", "must be ids of shipments")
    return told


def _died(world: World, connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Tell of rows that crashed too often."""
    for row in rows:
        world.count("tracker_inbox_dead_total", account=row.account)
    unread.died(world, connection, [(row, row.reason) for row in rows], world.now())


def _failed(world: World, parsed: Parsed, error: Exception) -> None:
    fault = _fault(error)
    world.log.warning("inbox_row_failed", inbox=parsed.row.id, account=parsed.row.account, error=fault)
    world.count("tracker_inbox_failures_total", account=parsed.row.account)
    with world.store.write() as connection:
        now = database_now(connection)
        due_at = now + queries.backoff(parsed.row.attempts)
        queries.release(connection, inbox, parsed.row, due_at, fault, crashed=True)


def _fault(error: Exception, module: str = "") -> str:
    """Say what an error is and where it was raised, without what it carries: errors quote what they are about.

    The place is the deepest line of `module`, else of ours; that of a database error tells nothing.
    """
    name = type(error).__name__
    if (origin := getattr(error, "orig", None)) is not None:
        return f"{name} ({type(origin).__name__})"
    told = [(frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [at for at in told if at[0] == module] or [at for at in told if at[0].partition(".")[0] == "tracker"]
    place = f" at {ours[-1][0].replace('.', '/')}.py:{ours[-1][1]}" if ours else ""
    return f"{name}{place}"


def _commit(world: World, parsed: Sequence[Parsed]) -> None:
    with world.store.write() as connection:
        now = world.now()
        database = database_now(connection)
        ours = queries.still_ours(connection, inbox, [p.row for p in parsed])
        mine = [p for p in parsed if p.row.id in ours]
        _Batch(world, connection, now, database).take(mine)
        crash_at("inbox_before_commit")
    crash_at("inbox_after_commit")


class _Batch:
    """One transaction of stage A."""

    def __init__(self, world: World, connection: Connection, now: datetime, database: datetime) -> None:
        self.world, self.connection, self.now, self.database = world, connection, now, database
        self.sqlite = world.store.sqlite
        self.parcels: dict[int, _Parcel] = {}
        self.by_number: dict[str, list[_Parcel]] = defaultdict(list)
        self.loaded: set[str] = set()  # numbers whose shipments are known here
        self.touched: set[int] = set()
        self.known: dict[int, dict[str, _Stored]] = {}  # the stored scans of parcels with a full history here
        self.fresh: dict[int, list[Told]] = defaultdict(list)  # scans that were not stored before, by shipment
        self.anew: set[int] = set()  # shipments whose stored scans changed: their summaries are made from all of them
        self.watches: dict[tuple[int, str], _Watch] = {}  # what accounts know of shipments
        self.orders: set[int] = set()
        self.poll_now: set[tuple[int, str]] = set()
        self.seen: dict[int, datetime] = {}  # scans that a look missed and that are told again: when that was asked
        self.ask_again: dict[tuple[int, str], datetime | None] = {}  # whose next answer matters even if it is the same
        self.complete: dict[tuple[int, str], _Full] = {}  # full histories, by shipment and account
        self.loud: set[int] = set()  # touched by something that is not replayed
        self.moved: set[int] = set()  # whose summary changed
        self.news: dict[str, int] = defaultdict(int)  # parcels of which a poll told first, by account with webhooks
        self.links: set[int] = set()  # what the fulfilment linked last names
        self.rows: dict[tuple[int, str], dict[str, Any]] = {}  # scans to store, by shipment and fingerprint
        self.ends: dict[int, datetime] = {}  # the first end among them, by shipment
        self.unwatched: set[str] = set()  # marks of links whose parcels nobody watches
        self.pushed: set[int] = set()  # stored scans that a webhook tells now and none did before
        self.ahead: set[int] | None = None  # orders whose last read was ahead of its time

    def take(self, parsed: Sequence[Parsed]) -> None:
        """Write what the payloads say and end their rows."""
        reports = [(p, item) for p in parsed for item in p.items if isinstance(item, Report)]
        read = [(p, item) for p in parsed for item in p.items if isinstance(item, Order)]
        numbers = {clean(report.number) for _, report in reports}
        numbers |= {clean(parcel.number) for _, o in read for f in o.fulfilments for parcel in f.parcels}
        self._load(numbers)
        for p in parsed:
            if p.remap:
                self._remap(p)
        if reports:
            self._reports(reports)
        for p, order in read:
            self._order(p, order)
        for p in parsed:
            for item in p.items:
                if isinstance(item, Checkout):
                    self._checkout(item)
        self._summaries()
        self._mark_orders()
        if self.unwatched:
            covered.tell_at_once(self.world, self.connection, self.unwatched, self.now)
        for p in parsed:
            refs = [item.ref for item in p.items if isinstance(item, Hint)]
            queries.hint(self.connection, p.row.account, refs, self.database)
            if refs:
                self.world.ring("poll")
        unread.told(self.world, self.connection, parsed, self.now, self.database)
        self._end(parsed)
        unread.count(self.world, self.connection, parsed)  # counters are locked last, everywhere
        for name in sorted(name for name, count in self.news.items() if count):
            held = accounts.c.name == name
            count = sa.func.coalesce(accounts.c.poll_news, 0) + self.news[name]
            self.connection.execute(accounts.update().where(held).values(poll_news=count))

    def _end(self, parsed: Sequence[Parsed]) -> None:
        groups: dict[tuple[str, str | None], list[int]] = defaultdict(list)
        dead: list[tuple[Row[Any], str]] = []
        for p in parsed:
            if p.dead:
                groups["dead", p.dead].append(p.row.id)
                self.world.count("tracker_inbox_dead_total", account=p.row.account)
                if not p.unread:  # what those lack is told piece by piece
                    dead.append((p.row, p.dead))
            elif not p.items and not p.remap:
                why = f"{p.unread[0].where}: {p.unread[0].problem}" if p.unread else "says nothing"
                groups["ignored", why].append(p.row.id)
            else:
                count = len(p.unread)
                groups["done", f"partly: {count} could not be read" if count else None].append(p.row.id)
        for (state, reason), ids in groups.items():
            queries.end(self.connection, inbox, ids, state, self.database, reason)
        unread.keep(self.connection, parsed)
        unread.died(self.world, self.connection, dead, self.now)

    # shipments

    def _load(self, numbers: Iterable[str]) -> None:
        wanted = sorted(set(numbers) - self.loaded)
        if not wanted:
            return
        self.loaded |= set(wanted)
        if not self.sqlite:  # lock order: trackings by id, then shipments by key
            ids = self.connection.execute(_numbered(), {"numbers": wanted}).scalars().all()
            self.connection.execute(_tracked(), {"ids": ids}).all()
        for row in self.connection.execute(_shipped(self.sqlite), {"numbers": wanted}).all():
            self._know(row)

    def _know(self, row: Row[Any]) -> _Parcel:
        edd = Edd(row.edd_begins, row.edd_ends) if row.edd_begins and row.edd_ends else None
        summary = SUMMARY.validate_python(row.summary)
        parcel = _Parcel(
            row.id, row.carrier, row.number, row.generation, row.starts_at, row.piece, row.linked, summary, edd,
            row.summary, row.closed_at,
        )  # fmt: skip
        self.parcels[row.id] = parcel
        self.by_number[row.number].append(parcel)
        return parcel

    def _generations(self, carrier: str, number: str) -> list[_Parcel]:
        return sorted(
            (p for p in self.by_number[number] if p.carrier == carrier), key=lambda p: p.generation, reverse=True
        )

    def _create(self, carrier: str, number: str, generation: int, starts_at: datetime, piece: str | None) -> _Parcel:
        values = {
            "carrier": carrier, "number": number, "generation": generation, "status": "unknown", "summary": _EMPTY,
            "starts_at": starts_at, "piece": piece, "linked": False,
        }  # fmt: skip
        self.connection.execute(queries.upsert(self.connection, shipments).on_conflict_do_nothing(), values)
        key = (shipments.c.carrier == carrier, shipments.c.number == number, shipments.c.generation == generation)
        return self._know(
            self.connection.execute(queries.locked(self.connection, sa.select(shipments).where(*key))).one()
        )

    def _home(self, carrier: str, number: str, scan_at: datetime | None, piece: str | None) -> _Parcel:
        """Choose the generation a scan belongs to; open the first one where the number was never seen."""
        known = self._generations(carrier, number)
        if not known:
            adopted = self._adopt(carrier, number)
            return adopted or self._create(carrier, number, 1, scan_at or self.now, piece)
        if piece is not None:
            same = next((p for p in known if p.piece == piece), None)
            if same is not None:
                return same
        if scan_at is None:
            return known[0]
        older = (*known[1:], None)
        return next(
            p for p, q in zip(known, older, strict=True) if q is None or first_of(p.starts_at, q.summary) <= scan_at
        )

    def _adopt(self, carrier: str, number: str) -> _Parcel | None:
        """Give the carrier to the one shipment of this number that had none; several are a person's question."""
        nameless = [p for p in self.by_number[number] if p.carrier.startswith(UNIDENTIFIED) and p.closed_at is None]
        if len(nameless) > 1:
            subject = f"number/{number}"
            finding = Finding(
                FindingKind.SOURCES_DISAGREE, subject, Severity.WARNING, Act.ACT,
                {"number": number, "orders": ", ".join(sorted(p.carrier.removeprefix(UNIDENTIFIED) for p in nameless))},
            )  # fmt: skip
            tell.open_findings(self.world, self.connection, [(None, finding)], self.now, by="facts")
            return None
        if not nameless:
            return None
        parcel = nameless[0]
        self.connection.execute(shipments.update().where(shipments.c.id == parcel.id).values(carrier=carrier))
        parcel.carrier = carrier
        self._watch(parcel)
        return parcel

    def _watch(self, parcel: _Parcel) -> bool:
        """Let every account that speaks for the carrier watch this shipment, at once. Returns whether there is one."""
        carrier = None if parcel.carrier.startswith(UNIDENTIFIED) else parcel.carrier
        accounts_ = self.world.config.watchers(carrier)
        rows = [
            {
                "shipment_id": parcel.id, "account": account.name, "tracking_state": TrackingState.PENDING,
                "next_poll_at": self.now, "register_at": self.now if account.carrier.registers else None,
                "attempts": 0, "failures": 0,
            }
            for account in accounts_
            if (parcel.id, account.name) not in self.watches
        ]  # fmt: skip
        if rows:
            self.connection.execute(queries.upsert(self.connection, trackings).on_conflict_do_nothing(), rows)
        return bool(accounts_)

    # reports

    def _reports(self, reports: Sequence[tuple[Parsed, Report]]) -> None:
        rows = self.rows
        knowing: list[tuple[Parsed, Report, _Parcel, set[str]]] = []
        reports = self._apart(reports)
        self._recall(reports)
        for p, report in reports:
            assert p.account is not None and p.payload is not None
            number = clean(report.number)
            told: dict[int, set[str]] = defaultdict(set)
            if not report.scans:
                parcel = self._silent(report, number)
                if parcel is not None:
                    told[parcel.id] = set()
            known = [
                (one.id, self.known[one.id])
                for one in self.by_number[number]
                if one.id in self.known and one.carrier == report.carrier
            ]
            pushes = p.row.kind == "webhook"
            fresh: list[tuple[datetime, Zone, str, Scan]] = []
            for scan in report.scans:
                printed = fingerprint(scan, text_matters=p.account.carrier.text_matters)
                for shipment_id, stored in known:
                    if printed in stored and stored[printed].sure:
                        told[shipment_id].add(printed)
                        if stored[printed].missed:
                            self.seen[stored[printed].id] = p.payload.received_at
                        if pushes and not stored[printed].pushed and stored[printed].account == p.account.name:
                            self.pushed.add(stored[printed].id)
                        break
                else:
                    zone = p.account.carrier.default_zone
                    fresh.append((*place_in_time(scan, zone, p.payload.received_at), printed, scan))
            for instant, how, printed, scan in sorted(fresh, key=itemgetter(0)):  # one journey after the other
                row = self._scan_row(p, report, number, scan, printed, instant, how, told)
                told[row["shipment_id"]].add(printed)
                before = rows.get((row["shipment_id"], printed))
                if before is not None and before["account"] == row["account"]:
                    row["pushed_at"] = before["pushed_at"] = before["pushed_at"] or row["pushed_at"]
                if before is None or (before["confirmed_at"] is None and row["confirmed_at"] is not None):
                    rows[row["shipment_id"], printed] = row
            if not p.row.quiet:
                self.loud |= set(told)
            if p.row.kind == "poll" and p.account.source.webhooks:
                self.news[p.account.name] += self._news(report, number)
            newest = max(told, key=lambda shipment_id: self.parcels[shipment_id].generation, default=0)
            older = replace(report, edd=None, proof=None, links=(), piece=None) if len(told) > 1 else report
            knowing += [
                (p, report if shipment_id == newest else older, self.parcels[shipment_id], prints)
                for shipment_id, prints in told.items()
            ]
        if knowing:
            self._trackings(knowing)
        pushed = {key: row["account"] for key, row in rows.items() if row["pushed_at"] is not None}
        for written in queries.put(self.connection, scans, list(rows.values()), _told_again, returning=_WRITTEN):
            new = told_of(written)
            self.fresh[written[0]].append(new)
            if written[-1] == rows[written[0], new.fingerprint]["inbox_id"]:  # it was not told before
                pushed.pop((written[0], new.fingerprint), None)
            if new.meaning.reason is Reason.UNMAPPED and written[-1] == rows[written[0], new.fingerprint]["inbox_id"]:
                self.world.count(
                    "tracker_unmapped_codes_total", carrier=self.parcels[written[0]].carrier
                )  # not told before
        self._pushed(pushed)

    def _apart(self, reports: Sequence[tuple[Parsed, Report]]) -> list[tuple[Parsed, Report]]:
        """Leave out what answers tell of other shipments under the same number: see `journeys`."""
        groups: dict[tuple[int, str, str], list[tuple[Parsed, Report]]] = {}
        for p, report in reports:
            number = clean(report.number)
            if report.carrier == "unknown" and self.by_number[number]:
                report = replace(report, carrier=self.by_number[number][0].carrier)
            groups.setdefault((p.row.id, report.carrier, number), []).append((p, report))
        kept: list[tuple[Parsed, Report]] = []
        for (_, carrier, number), some in groups.items():
            p, report = some[0]
            known = {one.piece for one in self.by_number[number] if one.carrier == carrier} if report.piece else set()
            if len(some) == 1 and (not known or None in known or report.piece in known):
                kept += some
            else:
                kept += [(p, one) for one in self._fitting(p, carrier, number, [one for _, one in some])]
        return kept

    def _fitting(self, p: Parsed, carrier: str, number: str, reports: Sequence[Report]) -> Sequence[Report]:
        """Return what is told of the parcel that the shop means, and of other generations of its number."""
        assert p.account is not None
        scanned = [report for report in reports if report.scans]
        found = journeys.apart(scanned, lambda scan: _as_told(p, scan))
        known = self._generations(carrier, number)
        known = known or [one for one in self.by_number[number] if one.carrier.startswith(UNIDENTIFIED)]
        held = self._held(known, found)
        homes = {
            one: next((g for g in known if (one.piece and g.piece == one.piece) or held[g.id] & one.prints), None)
            for one in found
        }
        meant = next((one for one in known if one.linked), known[0] if known else None)  # which the shop means
        kept = [one for one in found if (home := homes[one]) and home is not meant and home.piece == one.piece]
        rivals = [one for one in found if one not in kept]
        if not found or (len(rivals) == 1 and homes[rivals[0]] is meant):  # told in parts, or under another id
            return scanned or reports
        order = journeys.order_of(self.connection, meant.id, number) if meant is not None else None
        chosen, sure = journeys.choose(
            rivals, order.words if order else frozenset(),
            meant.starts_at - ANEW_AFTER if meant is not None and meant.linked else None,
            [one for one in rivals if homes[one] is not None],
            (meant.piece if meant is not None else None) or "",
        )  # fmt: skip
        left_out = False
        for one in rivals:
            if one is chosen:
                self._is_piece(meant, one.piece)
            elif meant is not None and meant.carrier == carrier and _ended_before(meant, one.first):
                newest = self._generations(carrier, number)[0]
                self._create(carrier, number, newest.generation + 1, one.first, one.piece or None)
            else:
                left_out = True
                if meant is not None:
                    self._another_told(meant, held[meant.id] & one.prints)
                continue
            kept.append(one)
        if left_out and not sure:
            finding = journeys.disagree(p.row.account, carrier, number, found, chosen, order)
            self._doubt(p, meant, number, finding, order)
        return [report for one in kept for report in one.reports]

    def _held(self, known: Sequence[_Parcel], found: Sequence[journeys.Journey]) -> dict[int, set[str]]:
        """Read which scans of journeys are stored, by shipment."""
        held: dict[int, set[str]] = {one.id: set() for one in known}
        prints = {printed for one in found for printed in one.prints}
        s = scans.c
        here = sa.and_(
            s.shipment_id.in_(held), s.withdrawn_at.is_(None), queries.among(self.connection, s.fingerprint, prints)
        )
        for shipment_id, printed in self.connection.execute(sa.select(s.shipment_id, s.fingerprint).where(here)):
            held[shipment_id].add(printed)
        return held

    def _is_piece(self, parcel: _Parcel | None, piece: str) -> None:
        """Remember which shipment of its number a parcel is."""
        if parcel is not None and piece and parcel.piece != piece:
            parcel.piece = piece
            here = shipments.c.id == parcel.id
            self.connection.execute(shipments.update().where(here).values(piece=piece))

    def _another_told(self, parcel: _Parcel, prints: set[str]) -> None:
        """Withdraw scans that were taken for this parcel's and are another shipment's."""
        if prints:
            here = (scans.c.shipment_id == parcel.id, queries.among(self.connection, scans.c.fingerprint, prints))
            self.connection.execute(
                scans.update().where(*here, scans.c.withdrawn_at.is_(None)).values(withdrawn_at=self.now)
            )
            self.touched.add(parcel.id)
            self.anew.add(parcel.id)

    def _doubt(
        self, p: Parsed, parcel: _Parcel | None, number: str, finding: Finding, order: journeys.Named | None
    ) -> None:
        """Open the finding that several shipments stand under one number; the next answer counts even if it is the same."""
        p.doubtful.add(number)
        stores = {order.id: order.store} if order else {}
        wanted = [(order.id if order else None, finding)]
        tell.open_findings(self.world, self.connection, wanted, self.now, by="facts", stores=stores)
        if parcel is not None:
            self.touched.add(parcel.id)
            self.ask_again[parcel.id, p.row.account] = None

    def _pushed(self, told: Mapping[tuple[int, str], str]) -> None:
        """Note that webhooks told scans that a poll of their account told first: those are not missing."""
        if told:
            s = scans.c
            here = queries.among(self.connection, s.shipment_id, sorted({shipment_id for shipment_id, _ in told}))
            columns = sa.select(s.id, s.shipment_id, s.fingerprint, s.account).where(here, s.pushed_at.is_(None))
            for row in self.connection.execute(columns):
                if told.get((row.shipment_id, row.fingerprint)) == row.account:
                    self.pushed.add(row.id)
        if self.pushed:
            here = queries.among(self.connection, scans.c.id, sorted(self.pushed))
            self.connection.execute(scans.update().where(here).values(pushed_at=self.now))

    def _recall(self, reports: Sequence[tuple[Parsed, Report]]) -> None:
        """Read which scans are stored of the parcels whose full histories come: most of what they tell was told before."""
        numbers = {clean(report.number) for _, report in reports if report.complete}
        ids = [parcel.id for number in numbers for parcel in self.by_number[number]]
        if not ids:
            return
        self.known = {shipment_id: {} for shipment_id in ids}
        for shipment_id, printed, *stored in self.connection.execute(_stored(self.sqlite), {"ids": ids}).all():
            self.known[shipment_id][printed] = _Stored(*stored)

    def _news(self, report: Report, number: str) -> int:
        """Say whether a poll tells something newer of a parcel than anybody told before."""
        newest = max((s.occurred_at for s in report.scans if s.occurred_at is not None), default=None)
        known = [p.summary.last_scan_at for p in self.by_number[number] if p.summary.last_scan_at is not None]
        return int(newest is not None and all(newest > at for at in known))

    def _silent(self, report: Report, number: str) -> _Parcel | None:
        """Find the shipment of a report without scans; one for a number never seen creates nothing."""
        known = self._generations(report.carrier, number) or sorted(self.by_number[number], key=lambda p: -p.generation)
        return known[0] if known else None

    def _scan_row(
        self,
        p: Parsed,
        report: Report,
        number: str,
        scan: Scan,
        printed: str,
        instant: datetime,
        zone: Zone,
        prints: dict[int, set[str]],
    ) -> dict[str, Any]:
        """Return what is stored of a scan. `prints`: what its report tells of each shipment so far."""
        account, payload = p.account, p.payload
        assert account is not None and payload is not None
        parcel = self._home(report.carrier, number, instant, report.piece)
        code, place = scan.code, scan.place
        meaning = look_up(account, code) or UNMAPPED
        if scan.leg is not None:
            meaning = replace(meaning, leg=scan.leg)
        shared = payload.kind == "webhook" and account.carrier.trust is Trust.SHARED
        if meaning.status is not None and meaning.status is not ShippingStatus.UNKNOWN:
            told = Told(printed, code.space, code.code, meaning, instant, zone, scan.precision, place, not shared)
            parcel = self._next_generation(parcel, told, prints)
        self.touched.add(parcel.id)
        if shared:
            self.poll_now.add((parcel.id, account.name))
        return {
            "shipment_id": parcel.id,
            "fingerprint": printed,
            "account": account.name,
            "space": code.space,
            "code": code.code,
            "text": code.text,
            "status": meaning.status,
            "reason": meaning.reason,
            "leg": meaning.leg,
            "correction": meaning.correction,
            "local": scan.local.isoformat() if scan.local else None,
            "instant": instant,
            "zone": zone,
            "precision": scan.precision,
            "city": place.city,
            "region": place.region,
            "postcode": place.postcode,
            "country": place.country,
            "inbox_id": p.row.id,
            "first_seen_at": self.now,
            "pushed_at": self.now if payload.kind == "webhook" else None,
            "confirmed_at": None if shared else min(payload.received_at, self.now),
        }

    def _remap(self, p: Parsed) -> None:
        """Give stored scans the meaning that their codes have now."""
        rows = self.connection.execute(
            sa.select(scans, shipments.c.number)
            .join(shipments, shipments.c.id == scans.c.shipment_id)
            .where(scans.c.shipment_id.in_(p.remap))
        ).all()
        self._load({row.number for row in rows})
        updates = []
        for row in rows:
            account = self.world.account(row.account)
            if account is None or account.is_store:
                continue
            meaning = look_up(account, Code(row.space, row.code, row.text)) or UNMAPPED
            values = {"status": meaning.status, "reason": meaning.reason, "correction": meaning.correction}
            if (row.status, row.reason, row.correction) != tuple(values.values()):
                leg = meaning.leg if row.leg != Leg.CUSTOMER_RETURN else row.leg
                updates.append({"b_id": row.id, **values, "leg": leg})
                self.touched.add(row.shipment_id)
                self.anew.add(row.shipment_id)
        queries.change(self.connection, scans, updates)
        if not p.row.quiet:
            self.loud |= set(p.remap)

    def _next_generation(self, parcel: _Parcel, told: Told, prints: dict[int, set[str]]) -> _Parcel:
        """Open a generation where a scan shows that an ended journey's number was given to another parcel."""
        status, summary = told.meaning.status, parcel.summary
        assert status is not None
        if status.terminal and told.confirmed:
            self.ends[parcel.id] = min(told.instant, self.ends.get(parcel.id, told.instant))
        if not status.custody and status is not ShippingStatus.PRE_TRANSIT:
            return parcel
        ends = [summary.since if summary.status.terminal else None, self.ends.get(parcel.id)]
        if summary.taken_back is not None:  # by what may have been another parcel's
            ends.append(summary.taken_back.told_at)
        if all(end is None or told.instant - end < ANEW_AFTER for end in ends):
            return parcel
        if not begins_anew(summarize(self._told_before(parcel, told.instant)), told):
            return parcel
        later = [p for p in self._generations(parcel.carrier, parcel.number) if p.generation > parcel.generation]
        return later[-1] if later else self._begin_anew(parcel, told.instant, prints)

    def _told_before(self, parcel: _Parcel, instant: datetime) -> list[Told]:
        """Return what was told of a parcel that happened before a moment, in this batch too."""
        rows = self.connection.execute(_told_of(self.sqlite), {"ids": [parcel.id]})
        stored = [one for row in rows if (one := _told_all(row)).instant < instant]
        fresh = [
            told_of([row.get(column.name, parcel.id) for column in TOLD])
            for (shipment_id, _), row in self.rows.items()
            if shipment_id == parcel.id and row["instant"] < instant
        ]
        return [*fresh, *stored][:MOST_SCANS]

    def _begin_anew(self, parcel: _Parcel, starts_at: datetime, prints: dict[int, set[str]]) -> _Parcel:
        """Open the next generation of a number; what was taken for the old parcel's since then is the new one's."""
        fresh = self._create(parcel.carrier, parcel.number, parcel.generation + 1, starts_at, None)
        s = scans.c
        here = sa.and_(s.shipment_id == parcel.id, s.instant >= starts_at)
        moved = set(
            self.connection.execute(
                scans.update().where(here).values(shipment_id=fresh.id).returning(s.fingerprint)
            ).scalars()
        )
        if moved:
            self.anew |= {parcel.id, fresh.id}
            self.touched |= {parcel.id, fresh.id}
            known = self.known.get(parcel.id, {})
            self.known[fresh.id] = {printed: known.pop(printed) for printed in moved & known.keys()}
        for key, row in list(self.rows.items()):
            if key[0] == parcel.id and row["instant"] >= starts_at:
                self.rows[fresh.id, key[1]] = self.rows.pop(key) | {"shipment_id": fresh.id}
                moved.add(key[1])
                self.touched.add(fresh.id)
        if mine := moved & prints.get(parcel.id, set()):
            prints[parcel.id] -= mine
            prints[fresh.id] |= mine
        return fresh

    def _trackings(self, told: Sequence[tuple[Parsed, Report, _Parcel, set[str]]]) -> None:
        """Take what accounts say of shipments: state, estimate, proof, links."""
        self._watched(parcel.id for _, _, parcel, _ in told)
        parcels: dict[int, dict[str, Any]] = {}
        links: list[dict[str, Any]] = []
        for p, report, parcel, prints in told:
            assert p.account is not None and p.payload is not None
            self.touched.add(parcel.id)
            key = (parcel.id, p.account.name)
            watch = self.watches.get(key)
            as_of = report.as_of or p.payload.received_at
            stale = watch is not None and watch.as_of is not None and as_of < watch.as_of
            if not stale:
                state: str = report.tracking
                if watch is None:
                    self.watches[key] = _Watch(None, state, as_of, None, changed=True)
                else:
                    if state == TrackingState.NOT_FOUND and parcel.summary.scans:
                        state = watch.state  # they told of it before: one "not found" does not unsay that
                    watch.changed |= (watch.state, watch.as_of) != (state, as_of)
                    watch.state, watch.as_of = state, as_of
                if report.complete and not _partly(p, report):
                    self.complete[key] = _Full(prints, p.payload.received_at, p.account, report.scans)
            values = parcels.setdefault(parcel.id, {})
            if not stale and report.edd is not None and report.edd != parcel.edd:
                parcel.edd = report.edd
                values |= {"edd_begins": report.edd.begins, "edd_ends": report.edd.ends, "edd_told_at": self.now}
            if report.proof is not None and (report.proof.signed or report.proof.photo):
                values["proof"] = dump(PROOF, report.proof)
            if report.piece and not parcel.piece:
                values["piece"] = parcel.piece = report.piece
            links += [
                {"shipment_id": parcel.id, "carrier": link.carrier or "", "number": link.number,
                 "relation": link.relation, "first_seen_at": self.now}
                for link in report.links
            ]  # fmt: skip
        for shipment_id, values in parcels.items():
            if values:
                self.connection.execute(shipments.update().where(shipments.c.id == shipment_id).values(**values))
        if links:
            self.connection.execute(queries.upsert(self.connection, shipment_links).on_conflict_do_nothing(), links)

    def _watched(self, shipment_ids: Iterable[int]) -> None:
        """Read what accounts know of shipments."""
        rows = self.connection.execute(_watching(self.sqlite), {"ids": list(set(shipment_ids))}).all()
        for shipment_id, account, *watch in rows:
            self.watches[shipment_id, account] = _Watch(*watch)

    # summaries

    def _withdraw(self) -> None:
        """Withdraw what two full histories of its account, an hour apart or more, do not tell any more.

        Each of them must still tell all of the account's older scans, and was asked for after the scan was told. The first
        notes what it misses (`missing_since`); a scan that is told in between is missed no more. What the history tells
        better is withdrawn at once.
        """
        if self.seen:
            s = scans.c
            for asked in sorted(set(self.seen.values())):
                ids = [i for i, at in self.seen.items() if at == asked]
                here = sa.and_(queries.among(self.connection, s.id, ids), s.missing_since < asked)
                self.connection.execute(scans.update().where(here).values(missing_since=None))
        missed = {
            shipment_id
            for (shipment_id, account), (prints, *_) in self.complete.items()
            if prints
            and any(one.account == account and p not in prints for p, one in self.known.get(shipment_id, {}).items())
        }
        if not missed:
            return
        told: dict[tuple[int, str], list[Kept]] = defaultdict(list)
        noted: dict[datetime, list[int]] = defaultdict(list)
        gone: list[int] = []
        for row in self.connection.execute(_history(self.sqlite), {"ids": list(missed)}):
            full = self.complete.get((row.shipment_id, row.account))
            if full is not None and row.first_seen_at <= full.asked and _told_better(row, full):
                gone.append(row.id)
                self.anew.add(row.shipment_id)
                continue
            end = row.status is not None and ShippingStatus(row.status).terminal
            one = Kept(row.id, row.fingerprint, row.instant, row.first_seen_at, row.missing_since, end)
            told[row.shipment_id, row.account].append(one)
        for (shipment_id, account), (prints, asked, *_) in self.complete.items():
            missing = missing_of(told[shipment_id, account], prints, asked)
            if missing.gone:
                gone += missing.gone
                self.anew.add(shipment_id)
            noted[asked] += missing.noted
            if missing.again_at is not None:
                self.ask_again[shipment_id, account] = missing.again_at if missing.an_end else None
        for asked, ids in noted.items():
            if ids:
                here = queries.among(self.connection, scans.c.id, ids)
                self.connection.execute(scans.update().where(here).values(missing_since=asked))
        if gone:
            here = queries.among(self.connection, scans.c.id, gone)
            self.connection.execute(scans.update().where(here).values(withdrawn_at=self.now))
            self.world.count("tracker_scans_withdrawn_total", len(gone))

    def _summaries(self) -> None:
        """Read on in the summary of every touched shipment; where that cannot be, make it from all its scans."""
        if not self.touched:
            return
        self._withdraw()
        found: dict[int, Summary] = {}
        for shipment_id in self.touched - self.anew:
            summary = read_on(self.parcels[shipment_id].summary, self.fresh[shipment_id])
            if summary is None:
                self.anew.add(shipment_id)
            else:
                found[shipment_id] = summary
        found |= self._made_anew()
        changed = []
        for shipment_id, summary in sorted(found.items()):
            parcel = self.parcels[shipment_id]
            before, parcel.summary = parcel.summary, summary
            if summary != before:
                self.moved.add(shipment_id)
            elif summary.mark == before.mark:
                continue
            ended = summary.status.terminal and not summary.disputed
            changed.append(
                {"b_id": shipment_id, "summary": dump(SUMMARY, summary), "status": summary.status,
                 "last_scan_at": summary.last_scan_at,
                 "closed_at": (parcel.closed_at or self.now) if ended else None}
            )  # fmt: skip
        queries.change(self.connection, shipments, changed)
        self._watches()

    def _made_anew(self) -> dict[int, Summary]:
        if not self.anew:
            return {}
        told: dict[int, list[Told]] = {shipment_id: [] for shipment_id in self.anew}
        rows = self.connection.execute(_told_of(self.sqlite), {"ids": list(self.anew)})
        for row in (row for part in rows.partitions(500) for row in part):
            if len(known := told[row[0]]) < MOST_SCANS:
                known.append(_told_all(row))
        return {shipment_id: summarize(known) for shipment_id, known in told.items()}

    def _watches(self) -> None:
        """Store what accounts know of shipments, and when each is asked again."""
        if unread := self.touched - {shipment_id for shipment_id, _ in self.watches}:
            self._watched(unread)
        fresh, changed, told = [], [], []
        for (shipment_id, account), watch in self.watches.items():
            parcel = self.parcels[shipment_id]
            at = watch.next_poll_at
            if parcel.linked:  # nobody ordered the others: told by webhooks only
                at = next_poll(
                    parcel.summary, TrackingState(watch.state), self.world.config.cadence, self.now,
                    number=parcel.number, began=parcel.starts_at, edd=parcel.edd,
                )  # fmt: skip
                if (shipment_id, account) in self.poll_now and parcel.summary.scans:
                    at = self.now
                if (soon := self.ask_again.get((shipment_id, account))) is not None:
                    at = min(at or soon, soon)
            if not watch.changed and at == watch.next_poll_at:
                continue
            values = {"tracking_state": watch.state, "as_of": watch.as_of, "next_poll_at": at}
            if watch.id is None:
                key = {"shipment_id": shipment_id, "account": account}
                fresh.append({**key, **values, "attempts": 0, "failures": 0})
                if parcel.linked:  # nobody was to ask about it, and this account told
                    told.append(shipment_id)
            else:
                changed.append({"b_id": watch.id, **values})
        queries.put(self.connection, trackings, fresh)
        queries.change(self.connection, trackings, changed)
        if told:
            fs = fulfilment_shipments.c
            here = sa.and_(queries.among(self.connection, fs.shipment_id, told), fs.unwatched.isnot(None))
            self.connection.execute(fulfilment_shipments.update().where(here).values(unwatched=None))
        if self.ask_again:  # an answer that is the same as the last one is not stored: this one must be
            again = [watch.id for key, watch in self.watches.items() if key in self.ask_again and watch.id is not None]
            here = queries.among(self.connection, trackings.c.id, again)
            self.connection.execute(trackings.update().where(here).values(answer_hash=None))
        if self.poll_now:
            self.world.ring("poll")

    def _mark_orders(self) -> None:
        """Have every order that something touched looked at again; hold back the writes of what was only replayed."""
        if self.touched:
            linked = self.connection.execute(_ordered(self.sqlite), {"ids": list(self.touched)})
            self.orders.update(linked.scalars())
        if not self.orders:
            return
        ids = sorted(self.orders)
        if not self.sqlite:
            self.connection.execute(_orders_locked(), {"ids": ids}).all()
        self.connection.execute(_marked(self.sqlite), {"ids": ids, "now": self.now})
        if quiet := self.moved - self.loud:
            held = orders.c.id.in_(queries.orders_of(self.connection, quiet))
            self.connection.execute(orders.update().where(held).values(quiet_before=self.now))

    # orders

    def _order(self, p: Parsed, order: Order) -> None:
        """Take a read of an order, unless we knew a newer one before it was asked for."""
        asked_at = p.row.asked_at or p.row.due_at
        where = sa.and_(orders.c.store == order.store, orders.c.ref == order.ref)
        known = self.connection.execute(queries.locked(self.connection, sa.select(orders).where(where))).one_or_none()
        if known is not None and asked_at < known.read_at:
            queries.hint(self.connection, order.store, [order.ref], self.database)
            self.world.ring("poll")
            return None
        order = self._whose(as_taken(order, known), known)
        stored = dump_order(order)
        values = {
            "number": order.number, "status": order.status, "raw_status": order.raw_status, "payment": order.payment,
            "raw_payment": order.raw_payment, "owner": order.owner, "placed_at": order.placed_at, "facts": stored,
            "read_at": asked_at, "gone_at": None, "gone_why": order.gone or None,
        }  # fmt: skip
        if order.gone:
            before = known if known is not None and known.gone_why == order.gone else None
            values["gone_at"] = before.gone_at if before is not None else self.now
        if known is None:
            key = {"store": order.store, "ref": order.ref, "version": 1, "reconcile_at": self.now}
            insert = queries.upsert(self.connection, orders).on_conflict_do_nothing()
            if not self.connection.execute(insert, {**key, **values}).rowcount:
                return self._order(p, order)  # another process was first: now it is known
            known = self.connection.execute(sa.select(orders).where(where)).one()
            version, previous, changed = 1, None, True
        else:
            changed = known.facts != stored
            version, previous = known.version + changed, known.read_at
            self.connection.execute(orders.update().where(orders.c.id == known.id).values(version=version, **values))
        if changed:
            self.connection.execute(
                order_versions.insert(),
                {"order_id": known.id, "version": version, "seen_at": self.now, "previous_read_at": previous,
                 "inbox_id": p.row.id, "facts": stored, **stand_columns(order)},
            )  # fmt: skip
            self.orders.add(known.id)
            self._fulfilments(known.id, order)
        self._clock_of(p, order, known.id)
        return None

    def _clock_of(self, p: Parsed, order: Order, order_id: int) -> None:
        """Tell of an order that changed in the future, by the clock of the read; a later read that is right ends it.

        Nothing else depends on that time: which of two reads is newer, their `asked_at` says.
        """
        kind, ahead = FindingKind.ORDER_TIME_WRONG, order.updated_at - p.row.received_at
        f = findings.c
        if ahead <= AHEAD:
            if order_id in self._clocks_wrong():
                over = sa.and_(f.order_id == order_id, f.kind == kind)
                queries.close_findings(self.connection, over, self.now, "facts", "a later read is right")
            return
        said = order.updated_at.isoformat()
        told = self.connection.execute(
            sa.select(f.evidence).where(f.order_id == order_id, f.kind == kind).order_by(f.id.desc()).limit(1)
        ).scalar_one_or_none()
        if told is None or told.get("updated_at") != said:  # else it is that much less ahead now, and the same fact
            told = {"order": order.number, "updated_at": said, "ahead": _roughly(ahead)}
        subject = f"{order.store}/{order.number}"
        finding = Finding(kind, subject, Severity.WARNING, Act.ACT, told, proposal="set the shop's clock right")
        tell.open_findings(self.world, self.connection, [(order_id, finding)], self.now, by="facts")
        self._clocks_wrong().add(order_id)

    def _clocks_wrong(self) -> set[int]:
        """Return the orders whose last read was ahead of its time: read once a batch."""
        if self.ahead is None:
            f = findings.c
            open_now = sa.select(f.order_id).where(f.kind == FindingKind.ORDER_TIME_WRONG, f.closed_at.is_(None))
            self.ahead = {order_id for order_id in self.connection.execute(open_now).scalars() if order_id is not None}
        return self.ahead

    def _whose(self, order: Order, known: Row[Any] | None) -> Order:
        """Say whose change a read shows: ours, when it equals a write we attempted and have not seen yet (echo)."""
        if known is None:
            return order
        if known.raw_status == order.raw_status:
            return order
        o = outbox.c
        echo = self.connection.execute(
            sa.select(o.id)
            .where(
                o.order_id == known.id, o.kind == "order_status", o.action["target"].as_string() == order.status,
                o.attempted_at >= self.database - ECHO, o.echoed_at.is_(None),
            )
            .order_by(o.id)
            .limit(1)
        ).scalar_one_or_none()  # fmt: skip
        if echo is None:
            return order
        self.connection.execute(outbox.update().where(o.id == echo).values(echoed_at=self.database))
        return replace(order, actor=US)

    def _checkout(self, checkout: Checkout) -> None:
        """Keep a checkout that was left apart (KR-07): no order, never tracked; one that was taken up again is closed."""
        subject = f"{checkout.store}/checkout/{checkout.ref}"
        if checkout.recovered:
            queries.close_findings(self.connection, findings.c.subject == subject, self.now, "shop")
            return
        evidence = {
            "store": checkout.store, "checkout": checkout.ref, "began": f"{checkout.began_at:%Y-%m-%d %H:%M}Z",
            "contact": "left in the shop" if checkout.contact else "none was left",
        }  # fmt: skip
        finding = Finding(
            FindingKind.ABANDONED_CHECKOUT, subject, Severity.INFO, Act.FOLLOW_UP, evidence, checkout.began_at
        )
        tell.open_findings(self.world, self.connection, [(None, finding)], self.now, by="checkout")

    def _replaced(self, order_id: int, order: Order, gone: Iterable[int]) -> None:
        """Tell when the shop replaces a number that the carrier already has."""
        told = []
        for shipment_id in gone:
            parcel = self.parcels.get(shipment_id)
            if parcel is None:
                row = self.connection.execute(sa.select(shipments).where(shipments.c.id == shipment_id)).one()
                parcel = self._know(row)
            if parcel.summary.custody_at is not None:
                numbers = ", ".join(p.number for f in order.fulfilments for p in f.parcels) or "none"
                evidence = {
                    "order": order.number, "was": f"{parcel.carrier} {parcel.number}", "now": numbers,
                    "status": str(parcel.summary.status),
                }  # fmt: skip
                subject = f"{order.store}/{order.number}/{parcel.carrier}/{parcel.number}"
                told.append(
                    (
                        order_id,
                        Finding(FindingKind.TRACKING_CHANGED, subject, Severity.WARNING, Act.FOLLOW_UP, evidence),
                    )
                )
        tell.open_findings(self.world, self.connection, told, self.now, by="facts")

    def _fulfilments(self, order_id: int, order: Order) -> None:
        known = {
            row.ref: row
            for row in self.connection.execute(sa.select(fulfilments).where(fulfilments.c.order_id == order_id))
        }
        gone: set[int] = set()
        linked: set[int] = set()
        for fulfilment in order.fulfilments:
            row = known.get(fulfilment.ref)
            if row is None:
                result = self.connection.execute(
                    fulfilments.insert().returning(fulfilments.c.id),
                    {"order_id": order_id, "ref": fulfilment.ref, "status": fulfilment.status, "live": fulfilment.live},
                )
                fulfilment_id = result.scalar_one()
            else:
                fulfilment_id = row.id
                if (row.status, row.live) != (fulfilment.status, fulfilment.live):
                    self.connection.execute(
                        fulfilments.update()
                        .where(fulfilments.c.id == row.id)
                        .values(status=fulfilment.status, live=fulfilment.live)
                    )
            gone |= self._link(fulfilment_id, order, self._began(order, fulfilment), fulfilment.parcels)
            linked |= self.links
        self._replaced(order_id, order, gone - linked)

    def _began(self, order: Order, fulfilment: Fulfilment) -> datetime:
        """Return when a fulfilment's journey began, as well as the shop tells: never before there were shops, nor ahead of us."""
        at = fulfilment.shipped_at or order.placed_at
        return min(at, self.now) if at >= NO_SHOPS_YET else self.now

    def _link(self, fulfilment_id: int, order: Order, shipped_at: datetime, parcels: Iterable[Any]) -> set[int]:
        """Link a fulfilment to what its numbers mean; returns the shipments that it names no more."""
        linked = {
            row.shipment_id
            for row in self.connection.execute(
                sa.select(fulfilment_shipments.c.shipment_id).where(
                    fulfilment_shipments.c.fulfilment_id == fulfilment_id
                )
            )
        }
        wanted: dict[int, str] = {}  # and the shop's word for the carrier
        for told in parcels:
            number = clean(told.number)
            carrier = told.carrier
            if carrier is None:
                guesses = candidates(number)
                carrier = guesses[0] if len(guesses) == 1 else None
            kept = [
                p.id for p in self.by_number[number] if p.id in linked and (carrier is None or p.carrier == carrier)
            ]  # a link, once made, is not moved to another generation by a later read
            parcel_id = kept[0] if kept else self._ordered(carrier, number, order, shipped_at).id
            wanted[parcel_id] = told.company
        self.links = set(wanted)
        gone = set() if order.partial else linked - set(wanted)  # a number that could not be read is not taken out
        if gone:
            self.connection.execute(
                fulfilment_shipments.delete().where(
                    fulfilment_shipments.c.fulfilment_id == fulfilment_id, fulfilment_shipments.c.shipment_id.in_(gone)
                )
            )
        if fresh := [i for i in wanted if i not in linked]:
            rows = []
            for i in fresh:
                parcel = self.parcels[i]
                if not parcel.linked:
                    parcel.linked = True
                    self.connection.execute(shipments.update().where(shipments.c.id == i).values(linked=True))
                nobody = None if self._watch(parcel) else covered.mark(order.store, parcel.carrier, wanted[i])
                if nobody is not None:
                    self.unwatched.add(nobody)
                row = {"fulfilment_id": fulfilment_id, "shipment_id": i, "linked_at": self.now, "unwatched": nobody}
                rows.append(row)
            insert = queries.upsert(self.connection, fulfilment_shipments).on_conflict_do_nothing()
            self.connection.execute(insert, rows)
            self.world.ring("poll")
        return gone

    def _ordered(self, carrier: str | None, number: str, order: Order, shipped_at: datetime) -> _Parcel:
        """Find or open the shipment that an order's number means: the newest that had not ended when it was shipped."""
        if carrier is None:
            named = [p for p in self.by_number[number] if not p.carrier.startswith(UNIDENTIFIED)]
            if len({p.carrier for p in named}) == 1:
                carrier = named[0].carrier
        carrier = carrier or f"{UNIDENTIFIED}{order.store}/{order.ref}"
        known = self._generations(carrier, number)
        if not known:
            return self._create(carrier, number, 1, shipped_at, None)
        goes_on = [p for p in known if not self._over(p, order, shipped_at)]
        if not goes_on:
            return self._create(carrier, number, known[0].generation + 1, shipped_at, None)
        return next((p for p in goes_on if p.starts_at - ANEW_AFTER <= shipped_at), goes_on[-1])

    @staticmethod
    def _over(parcel: _Parcel, order: Order, shipped_at: datetime) -> bool:
        """Say whether a journey had ended when an order was shipped: then its number means another parcel.

        A shop may say late that it shipped: a parcel that no order names and that went on after the order was placed is its.
        """
        ended = parcel.summary.last_scan_at if parcel.summary.status.terminal else None
        if ended is None or shipped_at <= ended:
            return False
        return parcel.linked or order.placed_at > ended or shipped_at - ended > ANEW_AFTER


def _as_told(p: Parsed, scan: Scan) -> Told:
    """Read a scan as the summary would read it, before it is stored."""
    assert p.account is not None and p.payload is not None
    source, code = p.account.carrier, scan.code
    instant, zone = place_in_time(scan, source.default_zone, p.payload.received_at)
    meaning = look_up(p.account, code) or UNMAPPED
    printed = fingerprint(scan, text_matters=source.text_matters)
    return Told(printed, code.space, code.code, meaning, instant, zone, scan.precision, scan.place)


def _ended_before(parcel: _Parcel, at: datetime) -> bool:
    summary = parcel.summary
    return summary.status.terminal and summary.since is not None and summary.since < at


def _told_better(row: Row[Any], full: _Full) -> bool:
    """Say whether a full history tells a scan anew that it lacks: the head of an answer, or one whose time was unreadable.

    It has another scan of the same code or status, at the same time, or with a time where that one had none of its own.
    """
    if row.fingerprint in full.prints:
        return False
    fine = 10 if row.precision == Precision.DATE else 19  # characters of a local time
    for scan in full.scans:
        code, local = scan.code, scan.local.isoformat() if scan.local else ""
        timeless = row.zone == Zone.UNKNOWN and bool(local or scan.occurred_at)
        if timeless or (local and row.local and local[:fine] == row.local[:fine]):
            meaning = look_up(full.account, code)
            same = meaning is not None and meaning.status is not None and meaning.status == row.status
            if same or (code.space, code.code) == (row.space, row.code):
                return True
    return False


def _partly(p: Parsed, report: Report) -> bool:
    """Say whether a piece of what a payload tells of a number could not be read: what it lacks proves nothing then."""
    return any(unread.subject in ("", report.number) for unread in p.unread)


def _told_again(insert: Any) -> Any:
    """Confirm a scan that is there, and let one that was missed count again where it was asked for after that.

    `confirmed_at` is when what tells it was asked for. A webhook that nobody vouches for brings nothing back: the poll that
    it causes does.
    """
    missed = sa.func.coalesce(scans.c.missing_since, scans.c.withdrawn_at)
    newer = missed < insert.excluded.confirmed_at
    return insert.on_conflict_do_update(
        index_elements=["shipment_id", "fingerprint"],
        set_={
            "confirmed_at": sa.func.coalesce(scans.c.confirmed_at, insert.excluded.confirmed_at),
            "withdrawn_at": sa.case((newer, None), else_=scans.c.withdrawn_at),
            "missing_since": sa.case((newer, None), else_=scans.c.missing_since),
        },
        where=sa.or_(
            sa.and_(missed.isnot(None), newer),
            sa.and_(scans.c.confirmed_at.is_(None), insert.excluded.confirmed_at.isnot(None)),
        ),
    )


# Statements that every batch says are made once. Those without `sqlite` lock rows, which PostgreSQL alone does.


@cache
def _numbered() -> sa.Select[Any]:
    return sa.select(shipments.c.id).where(queries.one_of(False, shipments.c.number, "numbers"))


@cache
def _tracked() -> sa.Select[Any]:
    here = queries.one_of(False, trackings.c.shipment_id, "ids")
    return sa.select(trackings.c.id).where(here).order_by(trackings.c.id).with_for_update()


@cache
def _shipped(sqlite: bool) -> sa.Select[Any]:
    select = sa.select(shipments).where(queries.one_of(sqlite, shipments.c.number, "numbers"))
    order = (shipments.c.carrier, shipments.c.number, shipments.c.generation)
    return select if sqlite else select.order_by(*order).with_for_update()


@cache
def _watching(sqlite: bool) -> sa.Select[Any]:
    t = trackings.c
    here = queries.one_of(sqlite, t.shipment_id, "ids")
    return sa.select(t.shipment_id, t.account, t.id, t.tracking_state, t.as_of, t.next_poll_at).where(here)


@cache
def _stored(sqlite: bool) -> sa.Select[Any]:
    s = scans.c
    sure = sa.type_coerce(s.confirmed_at.is_not(None), sa.Integer)  # as it comes: rows are many
    missed = sa.type_coerce(s.missing_since.is_not(None), sa.Integer)
    here = queries.one_of(sqlite, s.shipment_id, "ids")
    pushed = sa.type_coerce(s.pushed_at.is_not(None), sa.Integer)
    columns = (s.shipment_id, s.fingerprint, s.id, s.account, sure, missed, pushed)
    return sa.select(*columns).where(here, s.withdrawn_at.is_(None))


@cache
def _history(sqlite: bool) -> sa.Select[Any]:
    s = scans.c
    here = queries.one_of(sqlite, s.shipment_id, "ids")
    columns = (
        s.shipment_id, s.account, s.status, s.id, s.fingerprint, s.instant, s.first_seen_at, s.missing_since, s.space, s.code,
        s.zone, s.local, s.precision,
    )  # fmt: skip
    return sa.select(*columns).where(here, s.withdrawn_at.is_(None))


@cache
def _ordered(sqlite: bool) -> sa.Select[Any]:
    linked = fulfilment_shipments.c
    return (
        sa.select(fulfilments.c.order_id)
        .join(fulfilment_shipments, linked.fulfilment_id == fulfilments.c.id)
        .where(queries.one_of(sqlite, linked.shipment_id, "ids"))
    )


@cache
def _orders_locked() -> sa.Select[Any]:
    return (
        sa.select(orders.c.id).where(queries.one_of(False, orders.c.id, "ids")).order_by(orders.c.id).with_for_update()
    )


@cache
def _marked(sqlite: bool) -> sa.Update:
    here = queries.one_of(sqlite, orders.c.id, "ids")
    return orders.update().where(here).values(reconcile_at=sa.bindparam("now"))


def as_taken(order: Order, known: Row[Any] | None) -> Order:
    """Return an order as it is stored: a ship date before the order is none, and a status that we set is still ours."""
    earliest = max(order.placed_at, NO_SHOPS_YET)
    if any(f.shipped_at is not None and f.shipped_at < earliest for f in order.fulfilments):
        parts = (
            replace(f, shipped_at=None) if f.shipped_at is not None and f.shipped_at < earliest else f
            for f in order.fulfilments
        )
        order = replace(order, fulfilments=tuple(parts))
    if known is not None and known.raw_status == order.raw_status and known.facts.get("actor") == US:
        return replace(order, actor=US)
    return order


def _roughly(span: timedelta) -> str:
    """Say how long something is, in the unit that fits."""
    for unit, size in (("days", timedelta(days=1)), ("hours", timedelta(hours=1))):
        if span >= 2 * size:
            return f"{span // size} {unit}"
    return f"{span // timedelta(minutes=1)} minutes"


def look_up(account: Account, code: Code) -> Meaning | None:
    """Return what a code means: the merchant's word first, then the plugin's table; None is UNKNOWN."""
    return account.codes.get((code.space, code.code)) or account.carrier.meaning(code)


TOLD = tuple(
    scans.c[name]
    for name in (
        "shipment_id", "fingerprint", "space", "code", "status", "reason", "leg", "correction", "instant", "zone", "precision",
        "city", "region", "postcode", "country", "confirmed_at",
    )
)  # fmt: skip


_WRITTEN = (*TOLD, scans.c.inbox_id)


def told_of(row: Any, gone: datetime | None = None) -> Told:
    """Read a stored scan, whose first columns are TOLD, as the summary needs it; `gone`: since when it is withdrawn."""
    # by place: a look-up by name takes 0.1 us, and an event reads some ten scans of 16 columns
    (_, fingerprint, space, code, status, reason, leg, correction, instant, zone, precision, city, region, postcode, country,
     confirmed_at, *_) = row  # fmt: skip
    return Told(
        fingerprint, space, code, _meaning(status, reason, leg, correction), instant, _ZONES[zone], _PRECISIONS[precision],
        _place(city, region, postcode, country), confirmed_at is not None, gone,
    )  # fmt: skip


@cache
def _told_of(sqlite: bool) -> sa.Select[Any]:
    """Select all scans of shipments, newest first, and since when those are gone that are."""
    s = scans.c
    columns = (*TOLD, s.withdrawn_at, s.missing_since)
    return (
        sa.select(*columns)
        .where(queries.one_of(sqlite, s.shipment_id, "ids"))
        .order_by(s.shipment_id, s.instant.desc())
    )


def _told_all(row: Any) -> Told:
    withdrawn_at, missing_since = row[-2:]
    return told_of(row, withdrawn_at and (missing_since or withdrawn_at))


_ZONES = {zone.value: zone for zone in Zone}  # 0.3 us less a look-up than Zone(value)
_PRECISIONS = {precision.value: precision for precision in Precision}


_place = lru_cache(maxsize=10_000)(Place)  # parcels meet at the same depots


@lru_cache(maxsize=2_000)
def _meaning(status: str | None, reason: str | None, leg: str, correction: bool) -> Meaning:
    return Meaning(ShippingStatus(status) if status else None, Reason(reason) if reason else None, Leg(leg), correction)


def stand_columns(order: Order) -> dict[str, Any]:
    """Return what a version keeps beside its facts, for the order's history."""
    return {
        "actor": order.actor,
        "status": order.status,
        "raw_status": order.raw_status,
        "payment": order.payment,
        "numbers": [p.number for f in order.fulfilments for p in f.parcels],
    }
