"""How the whole installation stands at one moment, as plain data: for `tracker status`, `/readyz`, the read API, pages and metrics.

Everything is found by indexes, counted exactly up to `COUNTED_TO`. Spans are seconds, moments aware UTC. Each number has
beside it, as `see`, the command that lists what it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker import __version__
from tracker.config.presets import spell
from tracker.domain.texts import named
from tracker.domain.vocabulary import DriftKind, FindingKind, Severity
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.migrate import head, revision, revisions
from tracker.store.tables import drifts, findings
from tracker.support import roles
from tracker.support.delays import delays, lateness
from tracker.support.gaps import COUNTED_TO, Gap
from tracker.support.knowledge import Look
from tracker.support.queues import Waiting
from tracker.support.standing import ENTRY_WRONG, Standing
from tracker.support.troubles import OF_MACHINES, TOLD_BESIDE, Trouble, in_order

K = FindingKind
MOST_FINDINGS = 2_000  # findings of accounts and stores that are troubles of their own
# gaps (`support.knowledge`) that are troubles; what else nobody knows is a note
GAPS = ("nobody_works", "files_wait", "payloads_wait", "orders_wait", "writes_wait", "orders_unread", "parcels_overdue")
TOLD = (
    "not_taken",
    "store_parked",
    "store_paused",
    "brake",
    str(K.PAYLOAD_DEAD),
    str(K.FILE_FAILED),
    str(K.SWEEP_ENDED),
)
COUNTED = {  # findings that are told together: one of them, several, and what became of them
    K.WRITE_DEAD: ("write", "writes", "given up"),
    K.PAYLOAD_DEAD: ("kind of payload", "kinds of payloads", "not read"),
    K.FILE_FAILED: ("file", "files", "not read"),
}
_F = findings.c
_BESIDE = [str(kind) for kind in (*OF_MACHINES, *TOLD_BESIDE)]  # findings that another trouble tells of


def status(ctx: AppContext, *, store: queries.Stores = None) -> dict[str, Any]:
    """Return how all stands, or what is of some stores (a set of them: to who may know of no others).

    * `well`, `said` (the first line), `as_of`, `troubles`: the most urgent first, each `what`, `where`, `said`, `since`, `count`,
      `do`, `see`; `notes`: what nobody knows of single orders and parcels, as gaps (`support.gaps`).
    * `build`: `version`, `schema` (the database's), `newest` (this version's); `processes`, `missing`: `support.roles`.
    * `queues`, `delays`, `lateness`: `support.queues`, `support.delays`; `findings` by severity and `drift` by kind: `open`, `oldest`, `see`.
    * `accounts`: `state` (fine, suspended, paused, away), `why`, `since`, `rests_until`, `brakes`, `token_until`, `budget` (`left`,
      `calls`, `per_seconds`, `free_at`, `verdict`; None: none, or nothing charged yet), `last_webhook`, `last_answer`, `failures`, `hooks`
      (`wanted`, `there`), `feed`, `due`.
    * `stores`: the same, and `mode`, `paused_at`, `last_sweep`, `cursor_seconds`, `writes_hour` (`done`, `of`), `waiting`, `held`, `refused`, `dead`.

    Raises SQLAlchemyError where the database is away: `away` says that.
    """
    with ctx.store.read() as connection:
        one = Moment(ctx, connection, store)
        told = one.troubles()
        rows = [trouble.row() for trouble in told]
        if isinstance(store, frozenset):  # others' words and places are not for them
            rows = [{**row, "detail": None} for row in rows]
        found: dict[str, Any] = {
            "well": not told, "said": said(rows, one), "as_of": one.look.now, "troubles": rows,
            "notes": [gap.row() for gap in one.gaps if not one.is_told(gap)],
            "queues": one.waiting.rows(), "findings": one.findings, "drift": one.drift,
            "lateness": _named(lateness(ctx, connection, store)), "delays": delays(ctx, connection, store),
            "stores": one.stores,
        }  # fmt: skip
        if not one.limited:
            found |= {
                "build": one.build, "processes": one.processes, "missing": one.missing, "accounts": one.accounts,
            }  # fmt: skip
        return found


def troubles(ctx: AppContext) -> list[dict[str, Any]]:
    """Return what is wrong only, the most urgent first, as rows of `status`: for health checks. Raises SQLAlchemyError."""
    with ctx.store.read() as connection:
        return [trouble.row() for trouble in Moment(ctx, connection, None).troubles()]


def away(problem: str) -> dict[str, Any]:
    """Return the status where the database cannot be used: that alone is known."""
    do = "tracker migrate, or the right address in `database:`" if "tracker migrate" in problem else ""
    trouble = Trouble("database_away", "database", f"the database cannot be used: {problem}", do=do).row()
    return {"well": False, "said": said([trouble], None), "troubles": [trouble]}


def said(rows: list[dict[str, Any]], one: Moment | None) -> str:
    """Say in a line whether all is well, or what is wrong first and what to do about it."""
    if rows:
        first = rows[0]
        begins = "WRONG" if len(rows) == 1 else f"WRONG, {len(rows):,} things; first"
        return f"{begins}: {first['said']}; do: {first['do']}"
    assert one is not None
    of = f"{_many(len(one.stores), 'store')}"
    if not one.limited:
        running = sum(row["alive"] for row in one.processes)
        of = f"{_many(running, 'process', 'processes')}, {_many(len(one.accounts), 'account')}, {of}"
    open_ = one.to_look_at()
    begins, ends = ("all runs", f"; to look at: {', '.join(open_)}") if open_ else ("all is well", "")
    return f"{begins}: {of}, as of {one.look.now:%Y-%m-%d %H:%M}Z{ends}"


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def _named(found: dict[str | None, dict[str, Any]]) -> dict[str, Any]:
    every = found.pop(None)
    rows = [{"account": name, **told, "see": f"tracker plan {name}"} for name, told in sorted(found.items(), key=str)]
    return {**every, "accounts": rows, "see": "tracker freshness"}


class Moment:
    """One look at an installation, or at what is of some stores."""

    def __init__(self, ctx: AppContext, connection: Connection, store: queries.Stores) -> None:
        """Look."""
        self.ctx, self.connection, self.store = ctx, connection, store
        self.limited = store is not None
        self.look = look = Look(ctx, connection, store)
        self.gaps: list[Gap] = list(look.find_gaps())
        self.waiting = Waiting(ctx, connection, store)
        standing = Standing(ctx, connection, look.states, self.waiting, look.database)
        names = [row.name for row in look.stores if standing.known(row.name)]
        self.stores = standing.stores(names, limited=isinstance(store, frozenset))
        self.accounts: list[dict[str, Any]] = []
        self.processes: list[dict[str, Any]] = []
        self.missing: list[str] = []
        if not self.limited:
            self.accounts = standing.accounts()
            self.processes = roles.list_processes(connection, look.database)
            self.missing = roles.missing(ctx.config, self.processes)
            self.build = {"version": __version__, "schema": revision(connection), "newest": head()}

    def troubles(self) -> list[Trouble]:
        """Find what is wrong, the most urgent first."""
        found = [*self._of_rows(), *self._of_gaps(), *self._of_findings()]
        if not self.limited:
            found += self._of_processes()
        return in_order(found)

    def is_told(self, gap: Gap) -> bool:
        """Say whether a gap is told as a trouble, or by one."""
        here = gap.what == "store_unknown" and (not gap.count or gap.where in {row["store"] for row in self.stores})
        return here or gap.what in GAPS or gap.what in TOLD

    def _of_processes(self) -> Iterator[Trouble]:
        schema = self.build["schema"]
        if schema in revisions() and schema != head():
            yield Trouble("schema_older", "database", f"the database's schema is {schema}, this version needs {head()}")
        for role in self.missing:
            seen = [row["seen_at"] for row in self.processes if role == "up" or role in row["role"].split(",")]
            last = f"; last seen {max(seen):%Y-%m-%d %H:%M}Z" if seen else ""
            what = "no process runs" if role == "up" else f"no {role} runs"
            yield Trouble("role_away", role, f"{what}{last}", max(seen, default=None))
        for row in self.processes:
            if row["kept"] and row["alive"]:
                whose = f"{row['role']} at {row['host']}, process {row['pid']}"
                said = f"a process ({row['role']}) goes on by its old configuration"
                yield Trouble("config_kept", whose, said, row["seen_at"], detail=f"{whose}: {row['kept']}")

    def _of_rows(self) -> Iterator[Trouble]:
        """Find what the rows of accounts and stores tell: suspended, paused, away, a brake, a budget that is spent."""
        new = [gap.where for gap in self.gaps if gap.what == "not_taken"]
        if not isinstance(self.store, frozenset):  # carriers' accounts too, or the one that is asked for
            new = [self.store] if self.store is not None else list(self.ctx.config.accounts)
        for name in (one for one in new if one not in self.look.states):
            yield Trouble("not_taken", name, f"{name} stands in the configuration, and no process has taken it up")
        if isinstance(self.store, str) and self.look.stores and not self.stores:
            said = f"{self.store} is not in the configuration: nothing of it is read or written"
            yield Trouble("not_configured", self.store, said)
        for kind, row in self._rows():
            name, why, since = row[kind], row["why"], row["since"]
            if row["state"] == "suspended":
                what = "entry_wrong" if why.startswith(ENTRY_WRONG) else "suspended"
                said, _, problem = why.partition(": ")
                yield Trouble(what, name, f"{name} is suspended: {said}", since, detail=problem)
            elif row["state"] == "paused":
                waits = f"; {_many(row['waiting'], 'write')} waiting" if row.get("waiting") else ""
                yield Trouble(f"{kind}_paused", name, f"{name} is paused{_since(since)}{waits}", since)
            elif row["state"] == "away":
                until = f"; asked again {row['rests_until']:%H:%M}Z" if row["rests_until"] else ""
                yield Trouble("away", name, f"{name} does not answer{_since(since)}{until}", since, detail=why)
            for brake in row.get("brakes", ()):
                of = "" if brake["carrier"] == name else f" for {brake['carrier']}"
                said = f"the brake of {name}{of} is on{_since(brake['since'])}: its ends leapt, and are held"
                yield Trouble("brake", name, said, brake["since"])
            budget = row.get("budget")
            if budget is not None and not budget["left"]:
                per = spell(timedelta(seconds=budget["per_seconds"]))
                said = f"the budget of {name} is spent: {budget['calls']:,} calls in {per}"
                yield Trouble("budget_spent", name, f"{said}; a call is free at {budget['free_at']:%Y-%m-%d %H:%M}Z")

    def _rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from (("account", row) for row in self.accounts)
        yield from (("store", row) for row in self.stores)

    def _of_gaps(self) -> Iterator[Trouble]:
        """Find what waits for too long; not for an account of which it is told that it is suspended, paused or away."""
        told = {row[kind] for kind, row in self._rows() if row["state"] not in ("fine", "first_sync")}
        states = self.look.states
        late = {row["store"] for row in self.stores if states[row["store"]].failing_since is None} - told
        for gap in self.gaps:
            if gap.what == "nobody_works" and self.missing:  # told by its role
                continue
            if gap.what in GAPS and gap.where not in told:
                said = f"{gap.where}: {gap.many} {'wait' if gap.count != 1 else 'waits'}{_since(gap.since)}"
                if not gap.count:
                    said = f"{gap.where}: {gap.why}{_since(gap.since)}"
                yield Trouble(gap.what, gap.where, said, gap.since, gap.count, gap.why if gap.count else "")
            elif gap.what == "store_unknown" and gap.where in late and not states[gap.where].sweep_failing_since:
                yield Trouble("sweep_late", gap.where, f"{gap.where}: {gap.why}", gap.since)
            elif gap.what == "brake" and self.limited and gap.count:
                yield Trouble(
                    "brake",
                    gap.where,
                    f"{_many(gap.count, 'write')} held by a brake{_since(gap.since)}",
                    gap.since,
                    gap.count,
                )

    def _of_findings(self) -> Iterator[Trouble]:
        """Find what the open findings about accounts, stores, writes and payloads tell, and how many others are urgent."""
        kinds = [str(kind) for kind in OF_MACHINES]
        select = sa.select(findings).where(*self._open(), _F.kind.in_(kinds)).order_by(_F.kind, _F.id.desc())
        rows = self.connection.execute(select.limit(MOST_FINDINGS)).all()
        suspended = {row[kind] for kind, row in self._rows() if row["state"] == "suspended"}
        for kind in OF_MACHINES:
            alike = [row for row in rows if row.kind == kind]
            if kind in COUNTED and alike:
                one, more, done = COUNTED[kind]
                said = f"{_many(len(alike), one, more)} {'was' if len(alike) == 1 else 'were'} {done}, such as of {_whose(alike[0])}"
                since = min(row.since or row.opened_at for row in alike)
                yield Trouble(str(kind), _whose(alike[0]), said, since, len(alike), _evidence(alike[0]))
                continue
            for row in alike:
                if kind is K.ENTRY_WRONG and _whose(row) in suspended:  # told by its row
                    continue
                said = f"{_whose(row)}: {kind.sentence}"
                yield Trouble(str(kind), _whose(row), said, row.since or row.opened_at, detail=_evidence(row))
        for told in self.findings:
            if told["severity"] == Severity.URGENT and told["beside"]:
                count = told["beside"]
                more = " or more" if count >= COUNTED_TO else ""
                said = f"{_many(count, 'urgent finding')}{more} {'is' if count == 1 else 'are'} open{_since(told['oldest'])}"
                said += f"{':' if count == 1 else ', such as'} {self._oldest_urgent()}"
                yield Trouble("urgent", "findings", said, told["oldest"], count)

    def _oldest_urgent(self) -> str:
        """Say the oldest of the urgent findings that no other trouble tells of: whose it is, and what it means."""
        mine = (_F.severity == Severity.URGENT, _F.kind.notin_(_BESIDE), _F.digest.is_(False))
        rows = sa.select(findings).where(*self._open(), *mine).order_by(_F.opened_at, _F.id).limit(1)
        row = self.connection.execute(rows).one()
        return f"{_whose(row)}: {FindingKind(row.kind).sentence.rstrip('.')}"

    def to_look_at(self) -> list[str]:
        """Say how much is open that a person should look at, though nothing is wrong with the installation: nothing is urgent then."""
        warnings = next(row for row in self.findings if row["severity"] == Severity.WARNING)
        count = sum(row["open"] for row in self.drift)
        more = " or more" if any(row["more"] for row in self.drift) else ""
        said = []
        if warnings["open"]:
            many = " or more" if warnings["more"] else ""
            said.append(f"{_many(warnings['open'], 'finding')}{many} (tracker findings)")
        if count:
            said.append(f"{_many(count, 'difference')}{more} between shop and carrier (tracker drift)")
        if any(not gap.told and not self.is_told(gap) for gap in self.gaps):
            said.append("what is not known of orders and parcels (tracker drift)")
        return said

    def _open(self) -> list[sa.ColumnElement[bool]]:
        awake = sa.or_(_F.snoozed_until.is_(None), _F.snoozed_until <= self.look.now)
        return [_F.closed_at.is_(None), awake, *queries.of_stores(_F.store, self.store)]

    @cached_property
    def findings(self) -> list[dict[str, Any]]:
        """Count open findings by severity, as `tracker findings --severity` lists them; `beside`: those that no other trouble tells of."""
        asked = []
        for severity in map(str, Severity):
            open_ = (*self._open(), _F.severity == severity, _F.digest.is_(False), _F.kind != K.ABANDONED_CHECKOUT)
            some = sa.select(_F.kind, _F.opened_at).where(*open_).order_by(_F.id).limit(COUNTED_TO).subquery()
            beside = sa.func.sum(sa.case((some.c.kind.in_(_BESIDE), 0), else_=1)).label("beside")
            asked.append(sa.select(sa.literal(severity).label("name"), *_counted(some.c.opened_at), beside))
        return [
            {
                "severity": row.name, "open": row.many, "more": row.many >= COUNTED_TO, "beside": int(row.beside or 0),
                "oldest": row.oldest, "see": f"tracker findings --severity {row.name}",
            }
            for row in self.connection.execute(sa.union_all(*asked))
        ]  # fmt: skip

    @cached_property
    def drift(self) -> list[dict[str, Any]]:
        """Count where shop and carrier disagree, by kind."""
        d, asked = drifts.c, []
        for kind in map(str, DriftKind):
            mine = d.kind == kind, *queries.of_stores(d.store, self.store)
            first = sa.select(d.since).where(*mine).order_by(d.id).limit(1).scalar_subquery().label("oldest")
            some = sa.select(d.id).where(*mine).order_by(d.id).limit(COUNTED_TO).subquery()
            counted = sa.func.count().label("many")
            asked.append(sa.select(sa.literal(kind).label("name"), counted, first).select_from(some))
        return [
            {
                "kind": row.name, "open": row.many, "more": row.many >= COUNTED_TO, "oldest": row.oldest,
                "see": f"tracker drift --kind {row.name}",
            }
            for row in self.connection.execute(sa.union_all(*asked))
            if row.many
        ]  # fmt: skip


def _counted(at: sa.ColumnElement[datetime]) -> tuple[sa.ColumnElement[Any], ...]:
    return sa.func.count().label("many"), sa.func.min(at).label("oldest")


def _since(at: datetime | None) -> str:
    return f" since {at:%Y-%m-%d %H:%M}Z" if at is not None else ""


def _whose(row: Row[Any]) -> str:
    """Return of which account, store, order or file a finding is."""
    kind, _, name = row.subject.partition("/")
    if kind in ("account", "store"):
        return str(name.partition("/")[0])
    order = row.evidence.get("order")
    return named(f"{row.store} {order}" if order and row.store else str(row.subject))


def _evidence(row: Row[Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in row.evidence.items() if value)
