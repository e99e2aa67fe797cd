"""Claims, fences and upserts: the statements that several parts of the pipeline share.

A claim is a commit of its own (T1): rows that are pending and due and that nobody holds get `attempts + 1` and a lease.
The work (T2) is fenced: it ends a row only while `(id, attempts)` is still the claim's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Row

from tracker.domain.facts import Finding
from tracker.domain.hashing import digest
from tracker.domain.vocabulary import FindingKind, Severity
from tracker.store.engine import clock, database_now
from tracker.store.tables import (
    account_days,
    accounts,
    findings,
    fulfilment_shipments,
    fulfilments,
    inbox,
    moment_text,
    outbox,
    rereads,
    scans,
    shipments,
)

LEASE = timedelta(seconds=30)  # a worker prolongs what it still works on (pipeline/held.py)
MOST_BYTES = 4 << 20
MOST_CRASHES = 5
# Evidence that is another each time, and no new one: how many, of how long.
GROWS = {FindingKind.CARRIER_NOT_COVERED: ("parcels", "since")}
# What this version can work: rows of a kind that a newer version stores are left to it.
INBOX_KINDS = ("webhook", "poll", "read", "sweep", "remap")
OUTBOX_KINDS = ("fulfilment_event", "order_status", "order_note", "notice")


def is_sqlite(connection: Connection) -> bool:
    """Tell which of the two dialects a connection speaks."""
    return connection.dialect.name == "sqlite"


def skip_locked(connection: Connection, statement: sa.Select[Any]) -> sa.Select[Any]:
    """Lock what is selected and pass over what others hold; SQLite's write lock does that already."""
    return statement if is_sqlite(connection) else statement.with_for_update(skip_locked=True)


def oldest(connection: Connection, due: sa.Select[Any], given: Mapping[str, Any] | None = None) -> sa.CursorResult[Any]:
    """Select what is due, oldest first, by walking its index only as far as the statement's limit.

    PostgreSQL takes a backlog that came since its last ANALYZE for some rows, and would read and sort all of it each time.
    """
    if is_sqlite(connection):
        return connection.execute(due, given)
    connection.execute(_BY_INDEX)
    found = connection.execute(due, given)
    connection.execute(_AS_IT_WAS)  # to find many rows by their ids a bitmap is right
    return found


_BY_INDEX, _AS_IT_WAS = sa.text("SET LOCAL enable_bitmapscan = off"), sa.text("RESET enable_bitmapscan")


def locked(connection: Connection, statement: sa.Select[Any]) -> sa.Select[Any]:
    """Lock what is selected, waiting for others."""
    return statement if is_sqlite(connection) else statement.with_for_update()


class _Listed(sa.types.TypeDecorator[list[Any]]):
    """Many values as one JSON text, for SQLite's `json_each`."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[int | str] | None, _dialect: Any) -> str:
        return orjson.dumps(list(value or ())).decode()


def one_of(
    sqlite_: bool, column: sa.ColumnElement[Any], name: str, values: Sequence[int | str] | None = None
) -> sa.ColumnElement[bool]:
    """Return `column IN name`, where all values are one parameter of that name: a list, given now or with each execution.

    The text of the statement then never changes: 200 placeholders cost more to render and to parse than the rows to find.
    And a statement can be made once for all values: making one costs 0.1 ms.
    """
    integer = isinstance(column.type, sa.Integer)
    kind: Any = _Listed() if sqlite_ else postgresql.ARRAY(sa.BigInteger() if integer else sa.Text())
    given: Any = (
        sa.bindparam(name, type_=kind) if values is None else sa.bindparam(name, values, type_=kind, unique=True)
    )
    if sqlite_:
        return column.in_(sa.select(sa.func.json_each(given).table_valued("value").c.value))
    return column == sa.any_(given)


def among(connection: Connection, column: sa.ColumnElement[Any], values: Iterable[int | str]) -> sa.ColumnElement[bool]:
    """Return `column IN values`, as `one_of`, for a statement that is made for these values only."""
    return one_of(is_sqlite(connection), column, "values", list(values))


def upsert(connection: Connection, table: sa.Table) -> Any:
    """Return an INSERT that knows ON CONFLICT in the connection's dialect."""
    return sqlite.insert(table) if is_sqlite(connection) else postgresql.insert(table)


def _nothing(insert: Any) -> Any:
    return insert.on_conflict_do_nothing()


def put(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    conflict: Callable[[Any], Any] = _nothing,
    returning: tuple[sa.Column[Any], ...] = (),
) -> Sequence[Any]:
    """Insert rows that have the same keys; `conflict` says what becomes of those that are there (nothing).

    Returns what was written of each row that was inserted or changed, in any order: its `returning`.
    """
    if not rows:
        return ()
    sqlite_ = is_sqlite(connection)
    done = connection.execute(_insert(sqlite_, table, tuple(rows[0]), conflict, returning), _given(sqlite_, rows))
    return done.all() if returning else ()


def change(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Update rows by their id, given as `b_id`; all have the same keys."""
    if rows:
        sqlite_ = is_sqlite(connection)
        connection.execute(_update(sqlite_, table, tuple(rows[0])), _given(sqlite_, rows))


# Many rows are one JSON parameter: a statement a row costs 50 us with PostgreSQL and 20 with SQLite, most of it in the driver
# and before it. The statements are made once: SQLAlchemy then knows them by their memoized key.


@lru_cache(maxsize=100)
def _insert(
    sqlite_: bool,
    table: sa.Table,
    names: tuple[str, ...],
    conflict: Callable[[Any], Any],
    returning: tuple[sa.Column[Any], ...],
) -> Any:
    told = _told(sqlite_, {name: table.c[name].type for name in names})
    chosen = sa.select(*(told[name] for name in names)).where(sa.true())  # SQLite wants a WHERE before ON CONFLICT
    insert = (sqlite if sqlite_ else postgresql).insert(table).from_select(list(names), chosen)
    return conflict(insert).returning(*returning) if returning else conflict(insert)


@lru_cache(maxsize=100)
def _update(sqlite_: bool, table: sa.Table, names: tuple[str, ...]) -> sa.Update:
    told = _told(sqlite_, {name: table.c["id" if name == "b_id" else name].type for name in names})
    values = {name: told[name] for name in names if name != "b_id"}
    return table.update().values(values).where(table.c.id == told["b_id"])


def _told(sqlite_: bool, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of the parameter that `_given` gives, by name."""
    rows = sa.bindparam("rows_", type_=sa.Text())
    if sqlite_:
        each = sa.func.json_each(rows).table_valued("value").c.value
        return {
            # a JSON column keeps the text of its value; of others the value itself is wanted
            name: each.op("->")(f"$.{name}") if isinstance(kind, sa.JSON) else sa.func.json_extract(each, f"$.{name}")
            for name, kind in types.items()
        }
    columns = (sa.column(name, kind) for name, kind in types.items())
    told = sa.func.jsonb_to_recordset(sa.cast(rows, postgresql.JSONB)).table_valued(*columns)
    return dict(told.render_derived(name="told", with_types=True).c)


def _given(sqlite_: bool, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    option = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS
    moment = moment_text if sqlite_ else datetime.isoformat

    def other(value: Any) -> str:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return moment(value)
        raise TypeError(f"a naive moment must not reach the database, nor a {type(value).__name__}")

    return {"rows_": orjson.dumps(list(rows), default=other, option=option).decode()}


def backoff(attempts: int) -> timedelta:
    """Wait 2 s, 4 s, 8 s ... 15 min: long enough for an outage, short enough for a person who watches."""
    return timedelta(seconds=min(2 ** min(attempts, 10), 900))


def _claimable(table: sa.Table, now: sa.ColumnElement[datetime]) -> tuple[sa.ColumnElement[bool], ...]:
    """Return what a row must be to be claimed at `now`: pending, due, held by nobody, of a kind that we know."""
    t = table.c
    free = sa.or_(t.claimed_until.is_(None), t.claimed_until < now)
    return t.state == "pending", t.due_at <= now, free, t.kind.in_(INBOX_KINDS if table is inbox else OUTBOX_KINDS)


@cache
def _due(sqlite_: bool, table: sa.Table) -> sa.Select[Any]:
    """Select what may be claimed at `now`, oldest first, `most` at most."""
    t, now = table.c, sa.bindparam("now", type_=table.c.due_at.type)
    size = t.size if "size" in t else sa.literal(0)
    due = (
        sa.select(t.id, t.crashes, size.label("size"))
        .where(*_claimable(table, now))
        .order_by(t.due_at, t.id)
        .limit(sa.bindparam("most", type_=sa.Integer()))
    )
    return due if sqlite_ else due.with_for_update(skip_locked=True)


@cache
def _take(sqlite_: bool, table: sa.Table) -> Any:
    """Claim `ids` until `until`; returns the rows."""
    values = {"attempts": table.c.attempts + 1, "crashes": table.c.crashes + 1, "claimed_until": sa.bindparam("until")}
    return table.update().where(one_of(sqlite_, table.c.id, "ids")).values(values).returning(table)


def claim(
    connection: Connection,
    table: sa.Table,
    limit: int,
    *more: sa.ColumnElement[bool],
    died: Callable[[Sequence[Row[Any]]], None] | None = None,
) -> Sequence[Row[Any]]:
    """Claim pending rows of the inbox or outbox, oldest first; a row that crashed before is claimed alone.

    Returns the rows as they were, with `attempts` as it is now. Rows past MOST_CRASHES end `dead`; `died` is told of them.
    """
    now = database_now(connection)
    due = _due(is_sqlite(connection), table).where(*more) if more else _due(is_sqlite(connection), table)
    while rows := oldest(connection, due, {"now": now, "most": limit}).all():
        crashed = [row.id for row in rows if row.crashes > MOST_CRASHES]
        if not crashed:
            break
        why = table.c[_reason(table)]
        said = sa.case((why.is_(None), "crashed too often"), else_="crashed too often (it said: " + why + ")")
        gone = connection.execute(  # and look again: others may wait behind them
            table.update()
            .where(table.c.id.in_(crashed))
            .values(state="dead", **{_reason(table): said}, ended_at=now, claimed_until=None)
            .returning(table)
        ).all()
        if died is not None:
            died(sorted(gone, key=lambda row: int(row.id)))
    suspect = next((row.id for row in rows if row.crashes), None)
    if suspect is not None and rows[0].id == suspect:
        ids = [suspect]
    else:
        ids, total = [], 0
        for row in rows:
            total += row.size
            if row.crashes or (ids and total > MOST_BYTES):
                break
            ids.append(row.id)
    if not ids:
        return ()
    taken = connection.execute(_take(is_sqlite(connection), table), {"ids": ids, "until": now + LEASE}).all()
    return sorted(taken, key=lambda row: (row.due_at, row.id))


def _reason(table: sa.Table) -> str:
    return "reason" if "reason" in table.c else "error"


@cache
def in_turn() -> sa.Select[Any]:
    """Select the stores that have a write to claim at `now` (`business` time): their names, who waited longest for a turn first.

    Paused, parked and resting stores are left out, and not one of the writes that wait for them is looked at.
    """
    a, o, now = accounts.c, outbox.c, sa.bindparam("now", type_=outbox.c.due_at.type)
    waits = sa.select(o.id).where(o.store == a.name, *_claimable(outbox, now)).order_by(o.due_at).limit(1)
    one_waits = waits.scalar_subquery().isnot(None)  # EXISTS could become a join with all that waits
    rested = sa.and_(
        sa.or_(a.blocked_until.is_(None), a.blocked_until <= now),
        sa.or_(a.rests_until.is_(None), a.rests_until <= sa.bindparam("business", type_=a.rests_until.type)),
    )
    return (
        sa.select(a.name)
        .where(a.kind == "store", a.paused_at.is_(None), a.parked_reason.is_(None), rested, one_waits)
        .order_by(sa.nulls_first(a.turn_at), a.name)
    )


def renew(connection: Connection, table: sa.Table, row: Row[Any], lease: timedelta) -> bool:
    """Prolong a claim before a network call; False: it ended, and somebody else may have the row."""
    held = connection.execute(
        table.update()
        .where(table.c.id == row.id, table.c.attempts == row.attempts, table.c.state == "pending")
        .values(claimed_until=database_now(connection) + lease)
    )
    return bool(held.rowcount)


@cache
def _held(sqlite_: bool, table: sa.Table) -> sa.Select[Any]:
    held = sa.select(table.c.id, table.c.attempts).where(one_of(sqlite_, table.c.id, "ids")).order_by(table.c.id)
    return held if sqlite_ else held.with_for_update()


def still_ours(connection: Connection, table: sa.Table, rows: Iterable[Row[Any]]) -> set[int]:
    """Lock the claimed rows that nobody claimed since: the fence of T2."""
    wanted = {row.id: row.attempts for row in rows}
    held = connection.execute(_held(is_sqlite(connection), table), {"ids": list(wanted)}).all()
    return {row.id for row in held if row.attempts == wanted[row.id]}


@cache
def _ended(sqlite_: bool, table: sa.Table) -> sa.Update:
    values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in ("state", _reason(table), "ended_at")}
    return table.update().where(one_of(sqlite_, table.c.id, "ids")).values(**values, claimed_until=None, crashes=0)


def end(
    connection: Connection, table: sa.Table, ids: Iterable[int], state: str, now: datetime, reason: str | None = None
) -> None:
    """End rows in a final state."""
    given = {"ids": list(ids), "new_state": state, f"new_{_reason(table)}": reason, "new_ended_at": now}
    connection.execute(_ended(is_sqlite(connection), table), given)


def release(
    connection: Connection, table: sa.Table, row: Row[Any], due_at: datetime, error: str, *, crashed: bool
) -> None:
    """Give a claimed row back for later. `crashed`: the count of crashes stays, so that poison ends."""
    values: dict[str, Any] = {"claimed_until": None, "due_at": due_at, _reason(table): error[:500]}
    if not crashed:
        values["crashes"] = 0
    connection.execute(table.update().where(table.c.id == row.id, table.c.attempts == row.attempts).values(**values))


def store_payloads(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert payloads; a webhook that was stored before changes nothing."""
    if not rows:
        return
    if connection.get_execution_options().get("ahead") is not None:  # a play's clock is not the one that SQL reads
        rows = [{"due_at": database_now(connection), **row} for row in rows]
    told, begins = [], 1  # JSON has no bytes: all bodies are one parameter, and each row says where its own begins
    for row in rows:
        told.append({name: value for name, value in row.items() if name != "body"} | {"begins": begins})
        begins += len(row["body"])
    sqlite_ = is_sqlite(connection)
    given = _given(sqlite_, told) | {"bodies": b"".join(row["body"] for row in rows)}
    connection.execute(_payloads(sqlite_, tuple(told[0])), given)


@cache
def _payloads(sqlite_: bool, names: tuple[str, ...]) -> Any:
    told = _told(sqlite_, {name: sa.Integer() if name == "begins" else inbox.c[name].type for name in names})
    body = sa.func.substr(sa.bindparam("bodies", type_=sa.LargeBinary()), told["begins"], told["size"])
    if sqlite_:  # whose `substr` of no bytes is NULL
        body = sa.func.coalesce(body, sa.func.zeroblob(0))
    columns = {name: told[name] for name in names if name != "begins"} | {"body": body}
    columns.setdefault("due_at", clock(sqlite_))
    chosen = sa.select(*columns.values()).where(sa.true())  # SQLite wants a WHERE before ON CONFLICT
    return _nothing((sqlite if sqlite_ else postgresql).insert(inbox).from_select(list(columns), chosen))


def payload_row(
    account: str,
    kind: str,
    parts: Sequence[bytes],
    received_at: datetime,
    due_at: datetime | None,
    *,
    headers: Mapping[str, str] | None = None,
    dedupe_key: str | None = None,
    asked_at: datetime | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Make an inbox row. `received_at` is business time, `due_at` (None: when it is stored) and `asked_at` the database's."""
    row = {
        "account": account,
        "kind": kind,
        "dedupe_key": dedupe_key,
        "headers": dict(headers or {}),
        "body": parts[0] if len(parts) == 1 else b"".join(parts),
        "part_sizes": None if len(parts) == 1 else [len(part) for part in parts],
        "size": sum(map(len, parts)),
        "state": "pending",
        "attempts": 0,
        "crashes": 0,
        "asked_at": asked_at,
        "quiet": quiet,
        "received_at": received_at,
    }
    return row if due_at is None else row | {"due_at": due_at}


def open_findings(
    connection: Connection,
    wanted: Sequence[tuple[int | None, Finding]],
    now: datetime,
    *,
    by: str,
    digest_before: Mapping[int, datetime] | None = None,
    alert_at: datetime | None = None,
    alert_from: Severity = Severity.WARNING,
    stores: Mapping[int, str] | None = None,
) -> None:
    """Open findings that are not open; refresh the evidence of those that are.

    One that a person closed stays closed while its evidence is the same. `digest_before`: per order, findings whose
    cause is older than this belong to the first sync's digest. `alert_at` (database time): tell the alert address of
    those that are at least `alert_from`; what a digest holds is told by nobody. `stores`: of orders whose finding's
    subject does not begin with their store.
    """
    if not wanted:
        return
    subjects = {finding.subject for _, finding in wanted}
    known = connection.execute(
        sa.select(findings).where(
            findings.c.subject.in_(subjects),
            sa.or_(findings.c.closed_at.is_(None), findings.c.closed_by.startswith("person")),
        )
    ).all()
    opened = {(row.subject, row.kind): row for row in known if row.closed_at is None}
    dismissed = {(row.subject, row.kind, row.evidence_hash) for row in known if row.closed_at is not None}
    fresh = []
    for order_id, finding in wanted:
        evidence = dict(finding.evidence)
        hashed = digest({name: value for name, value in evidence.items() if name not in GROWS.get(finding.kind, ())})
        row = opened.get((finding.subject, finding.kind))
        if row is not None:
            if row.evidence != evidence or row.severity != finding.severity or row.proposal != finding.proposal:
                connection.execute(
                    findings.update()
                    .where(findings.c.id == row.id)
                    .values(
                        evidence=evidence, evidence_hash=hashed, severity=finding.severity, act=finding.act,
                        proposal=finding.proposal,
                    )
                )  # fmt: skip
            continue
        if (finding.subject, finding.kind, hashed) in dismissed:
            continue
        since = finding.since
        limit = (digest_before or {}).get(order_id or 0)
        fresh.append(
            {
                "order_id": order_id,
                "store": _store_of(order_id, finding, stores),
                "subject": finding.subject,
                "kind": finding.kind,
                "severity": finding.severity,
                "act": finding.act,
                "evidence": evidence,
                "evidence_hash": hashed,
                "opened_by": by,
                "opened_at": now,
                "since": since,
                "digest": bool(limit and since and since < limit),
                "proposal": finding.proposal,
                "alert_due_at": alert_at if finding.severity.rank >= alert_from.rank else None,
            }
        )
    if fresh:
        for new in fresh:
            new["alert_due_at"] = None if new["digest"] else new["alert_due_at"]
        connection.execute(upsert(connection, findings).on_conflict_do_nothing(), fresh)


def _store_of(order_id: int | None, finding: Finding, stores: Mapping[int, str] | None) -> str | None:
    if order_id is None:
        place, _, name = finding.subject.partition("/")
        return name.partition("/")[0] if place == "store" else None
    return (stores or {}).get(order_id) or finding.subject.partition("/")[0]


def close_findings(
    connection: Connection, condition: sa.ColumnElement[bool], now: datetime, by: str, reason: str | None = None
) -> int:
    """Close the open findings that fit. Returns how many."""
    closed = connection.execute(
        findings.update()
        .where(findings.c.closed_at.is_(None), condition)
        .values(closed_at=now, closed_by=by, closed_reason=reason, alert_due_at=None)
    )
    return int(closed.rowcount)


def orders_of(connection: Connection, shipment_ids: Iterable[int]) -> sa.Select[tuple[int]]:
    """Select the ids of the orders that shipments are linked to, each once."""
    return (
        sa.select(fulfilments.c.order_id)
        .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
        .where(among(connection, fulfilment_shipments.c.shipment_id, shipment_ids))
        .distinct()
    )


def hint(connection: Connection, account: str, refs: Iterable[str], now: datetime) -> None:
    """Ask for a re-read of each ref, soon; hints coalesce."""
    new = {"hinted_at": now, "due_at": now}
    rows = [{"account": account, "ref": ref, "attempts": 0, **new} for ref in sorted(set(refs))]
    if rows:
        insert = upsert(connection, rereads)
        values = {name: insert.excluded[name] for name in new} | {
            "not_before": None
        }  # a new word is looked for at once
        connection.execute(insert.on_conflict_do_update(index_elements=["account", "ref"], set_=values), rows)


def ask_alone(
    connection: Connection, account: str, ref: str, now: datetime, not_before: datetime | None, why: str
) -> None:
    """Ask for a re-read of one ref in a call of its own, not before a moment (business time) unless somebody hints at it."""
    r, insert = rereads.c, upsert(connection, rereads)
    row = {
        "account": account, "ref": ref, "attempts": 0, "hinted_at": now, "due_at": now, "not_before": not_before,
        "error": why,
    }  # fmt: skip
    earlier = sa.case((r.not_before < insert.excluded.not_before, r.not_before), else_=insert.excluded.not_before)
    values = {
        "hinted_at": insert.excluded.hinted_at, "error": insert.excluded.error,
        "not_before": sa.case((r.not_before.is_(None), sa.null()), else_=earlier),
    }  # fmt: skip
    connection.execute(insert.on_conflict_do_update(index_elements=["account", "ref"], set_=values), row)


def count_days(connection: Connection, counted: Mapping[tuple[str, str], Mapping[str, int]]) -> None:
    """Add to what came from accounts on days: (account, day) to columns of `account_days`. The last lock but `accounts`."""
    rows = [
        {"account": account, "day": day, "payloads": 0, "polled_first": 0, "pushed_first": 0, **told}
        for (account, day), told in sorted(counted.items())
    ]
    put(connection, account_days, rows, _added)


def _added(insert: Any) -> Any:
    names = ("payloads", "polled_first", "pushed_first")
    more = {name: account_days.c[name] + insert.excluded[name] for name in names}
    return insert.on_conflict_do_update(index_elements=["account", "day"], set_=more)


def block(connection: Connection, account: str, until: datetime) -> None:
    """Let an account rest until a moment (database time)."""
    connection.execute(
        accounts.update()
        .where(
            accounts.c.name == account,
            sa.or_(accounts.c.blocked_until.is_(None), accounts.c.blocked_until < until),
        )
        .values(blocked_until=until)
    )


def park(connection: Connection, account: str, reason: str) -> None:
    """Stop using an account until its credentials change."""
    connection.execute(accounts.update().where(accounts.c.name == account).values(parked_reason=reason[:300]))


def recovered(connection: Connection, since: datetime, until: datetime) -> list[Any]:
    """List what an outage hid and was told within a day after it: (scan id, account, carrier, number, code, instant)."""
    told = scans.c.first_seen_at
    return list(connection.execute(
        sa.select(scans.c.id, scans.c.account, shipments.c.carrier, shipments.c.number, scans.c.code, scans.c.text,
                  scans.c.instant, told)
        .join(shipments, shipments.c.id == scans.c.shipment_id)
        .where(told >= until, told < until + timedelta(days=1), scans.c.instant >= since, scans.c.instant <= until)
        .order_by(scans.c.id)
    ))  # fmt: skip


def counts(connection: Connection) -> dict[str, int]:
    """Count what waits and what died, by name; each from a partial index or a small table."""
    found: dict[str, int] = {}
    for name, table in (("inbox", inbox), ("outbox", outbox)):
        rows = connection.execute(
            sa.select(table.c.state, sa.func.count())
            .where(table.c.state.in_(["pending", "dead"]))
            .group_by(table.c.state)
        )
        found.update({f"{name}_{state}": count for state, count in rows})
    found["rereads"] = connection.execute(sa.select(sa.func.count()).select_from(rereads)).scalar_one()
    found["findings_open"] = connection.execute(
        sa.select(sa.func.count()).select_from(findings).where(findings.c.closed_at.is_(None))
    ).scalar_one()
    return found
