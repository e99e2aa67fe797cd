"""Bring the rows of accounts in line with the configuration: at start, on reload, before each play.

What is there is read once and compared; what differs is written, a bounded number of rows at a time. Posts and the other
processes take the same locks, and 2,000 stores must not make them wait. Each step may end in the middle: the next start finds
what is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.model import Account, Config
from tracker.config.presets import policy_values
from tracker.domain.facts import Finding
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell, whose
from tracker.pipeline.context import QUEUES, AppContext
from tracker.pipeline.poll import hooks
from tracker.pipeline.telling import standing
from tracker.store import queries
from tracker.store.codec import EXACT, dump_policy
from tracker.store.tables import accounts, findings, orders, policies, policy_uses, tokens
from tracker.upkeep.suspended import suspend_wrong_entries, take_up

AT_ONCE = 100  # accounts a transaction
ORDERS_AT_ONCE = 1_000
_A = accounts.c
_COLUMNS = (
    _A.name,
    _A.kind,
    _A.mode,
    _A.credentials,
    _A.policy_hash,
    _A.suspended_reason,
    _A.next_sweep_at,
    _A.well_since,
    _A.files_at,
)
_KIND = FindingKind.STATUS_NOT_EXPRESSIBLE


def settle_accounts(ctx: AppContext, before: Config | None = None) -> None:
    """Write what differs. `before`: the configuration by which this process decided until now.

    Changed credentials unpark an account. Who is asked about an open parcel is chosen anew where that changed. A new policy, or a store
    that may write now, has every order looked at again: by each process that decided otherwise, whoever wrote the row first.
    """
    suspend_wrong_entries(ctx)
    with ctx.store.read() as connection:
        known = _read(connection)
    configured = list(ctx.config.accounts.values())
    _keep_policies(ctx, known, configured)
    _tell(ctx, known, configured)
    decide_all(ctx, [account.name for account in configured if _decides_anew(account, known, before)])
    for some in _parts([account for account in configured if known.differs(account)]):
        _write(ctx, some)
    _drop_tokens(ctx)
    _forget_places(ctx, known)
    take_up(ctx)
    whose.settle(ctx)
    hooks.settle(ctx)
    standing.settle(ctx)
    for queue in QUEUES:
        ctx.notify(queue)


def _drop_tokens(ctx: AppContext) -> None:
    """Drop the access tokens of accounts that are gone, or have other credentials now."""
    t = tokens.c
    with ctx.store.read() as connection:
        kept = connection.execute(sa.select(t.account, t.credentials).order_by(t.account)).all()
    for row in kept:
        account = ctx.account(row.account)
        if row.account in ctx.config.suspended or (account is not None and account.credentials == row.credentials):
            continue
        with ctx.store.write() as connection:
            connection.execute(tokens.delete().where(t.account == row.account, t.credentials == row.credentials))


def _forget_places(ctx: AppContext, known: _Known) -> None:
    """Forget when the files of accounts were to be looked for that have no place for them any more: nobody will."""
    named = {account.name for account in ctx.config.file_accounts}
    if gone := [row.name for row in known.rows.values() if row.files_at is not None and row.name not in named]:
        with ctx.store.write() as connection:
            connection.execute(accounts.update().where(queries.among(connection, _A.name, gone)).values(files_at=None))


def decide_all(ctx: AppContext, stores: Collection[str]) -> None:
    """Have every order of some stores decided again: a store after the other, a bounded number at a time."""
    if not stores:
        return
    o = orders.c
    one = (
        sa.select(o.id).where(o.store == _A.name).limit(1).scalar_subquery()
    )  # EXISTS could become a join with all orders
    with ctx.store.read() as connection:
        some = sa.select(_A.name).where(queries.among(connection, _A.name, sorted(stores)), one.is_not(None))
        having = list(connection.execute(some.order_by(_A.name)).scalars())
    for store in having:
        here = sa.select(o.id).where(o.store == store).order_by(o.id).limit(ORDERS_AT_ONCE)
        after = 0
        while True:
            with ctx.store.write() as connection:
                ids = list(connection.execute(queries.locked(connection, here.where(o.id > after))).scalars())
                queries.decide_now(connection, queries.among(connection, o.id, ids), ctx.now())
            if len(ids) < ORDERS_AT_ONCE:
                break
            after = ids[-1]


@dataclass(frozen=True)
class _Known:
    """What the tables say of accounts."""

    rows: Mapping[str, Any]
    uses: Mapping[str, tuple[str, str]]  # the policy and the mode that a store has now
    policies: Collection[str]  # those that are kept whole
    told: Mapping[str, Mapping[str, str]]  # of which statuses it was told that a store cannot say them

    def differs(self, account: Account) -> bool:
        """Say whether an account's row must be written."""
        row = self.rows.get(account.name)
        if row is not None and _by_entry(row):
            return True
        if row is None or any(getattr(row, name) != value for name, value in _values(account).items()):
            return True
        if not account.is_store and account.has_feed != (row.next_sweep_at is not None):
            return True
        return account.is_store and self.uses.get(account.name) != (account.policy_hash, account.mode)


def _read(connection: Connection, names: Sequence[str] | None = None) -> _Known:
    """Read what is known, of all accounts or, locking them in everybody's order, of some."""
    p, u, f = policies.c, policy_uses.c, findings.c
    rows, last = sa.select(*_COLUMNS), sa.select(u.store, sa.func.max(u.since).label("since")).group_by(u.store)
    if names is not None:
        rows = queries.locked(
            connection, rows.where(queries.among(connection, _A.name, names)).order_by(_A.kind, _A.name)
        )
        last = last.where(queries.among(connection, u.store, names))
    found = {row.name: row for row in connection.execute(rows)}
    newest = last.subquery()
    same = sa.and_(u.store == newest.c.store, u.since == newest.c.since)
    now = sa.select(u.store, u.hash, u.mode).select_from(sa.join(policy_uses, newest, same))
    uses = connection.execute(now)
    told = connection.execute(sa.select(f.subject, f.evidence).where(f.kind == _KIND, f.closed_at.is_(None)))
    whole = sa.select(p.hash).where(p.body[(EXACT, "name")].as_string().is_not(None))
    return _Known(
        found,
        {use.store: (use.hash, use.mode) for use in uses},
        frozenset(connection.execute(whole).scalars()) if names is None else (),
        {row.subject: row.evidence for row in told} if names is None else {},
    )


def _by_entry(row: Any) -> bool:
    """Say whether an account was suspended because its entry was wrong."""
    return row.suspended_reason is not None and row.suspended_reason.startswith(queries.BY_ENTRY)


def _values(account: Account) -> dict[str, Any]:
    """Return what the row of an account says of its configuration."""
    return {
        "kind": "store" if account.is_store else "carrier", "mode": account.mode if account.is_store else None,
        "credentials": account.credentials, "policy_hash": account.policy_hash or None,
    }  # fmt: skip


def _decides_anew(account: Account, known: _Known, before: Config | None) -> bool:
    """Say whether a store's orders may be decided otherwise now than before."""
    row = known.rows.get(account.name)
    if not account.is_store or row is None:
        return False
    was = before.accounts.get(account.name) if before is not None else None
    now = (account.mode, account.policy_hash)
    return (row.mode, row.policy_hash or "") != now or (was is not None and (was.mode, was.policy_hash) != now)


def _parts(some: Sequence[Account]) -> Iterator[list[Account]]:
    """Return accounts in parts, in the order in which everybody locks their rows."""
    ordered = sorted(some, key=lambda account: (account.is_store, account.name))
    for start in range(0, len(ordered), AT_ONCE):
        yield ordered[start : start + AT_ONCE]


def _keep_policies(ctx: AppContext, known: _Known, configured: Sequence[Account]) -> None:
    """Keep each policy that is new, or was kept by a version that kept less of it."""
    new = {a.policy_hash: a for a in configured if a.policy_hash and a.policy_hash not in known.policies}
    for some in _parts(list(new.values())):
        now = ctx.now()
        rows = [
            {
                "hash": a.policy_hash,
                "body": {**policy_values(a.policy), EXACT: dump_policy(a.policy)},
                "first_seen_at": now,
            }
            for a in sorted(some, key=lambda a: a.policy_hash)
        ]
        with ctx.store.write() as connection:
            insert = queries.upsert(connection, policies)
            insert = insert.on_conflict_do_update(index_elements=["hash"], set_={"body": insert.excluded.body})
            connection.execute(insert, rows)


def _tell(ctx: AppContext, known: _Known, configured: Sequence[Account]) -> None:
    """Tell once a store what its platform cannot say; such a status is never written in another word (WS-07)."""
    missing: dict[tuple[str, str], list[str]] = {}
    told, over = [], []
    for account in configured:
        if not account.is_store:
            continue
        alike = account.uses, account.policy_hash
        if alike not in missing:
            missing[alike] = unspoken(account.policy)
        subject = f"store/{account.name}"
        if words := missing[alike]:
            evidence = {"store": account.name, "statuses": ", ".join(words), "policy": account.policy.name}
            if known.told.get(subject) != evidence:
                told.append((None, Finding(_KIND, subject, Severity.INFO, Act.MONITOR, evidence)))
        elif subject in known.told:
            over.append(subject)
    for start in range(0, len(told), AT_ONCE):
        with ctx.store.write() as connection:
            tell.report_findings(ctx, connection, told[start : start + AT_ONCE], ctx.now(), by="settle")
    if over:
        with ctx.store.write() as connection:
            gone = sa.and_(queries.among(connection, findings.c.subject, over), findings.c.kind == _KIND)
            queries.close_findings(connection, gone, ctx.now(), "settle")


def unspoken(policy: Policy) -> list[str]:
    """Return the order statuses that a store's policy writes and its platform has no word for."""
    wanted = {status for statuses in policy.writes.values() for status in statuses}
    return sorted(wanted - set(policy.order_words))


def _write(ctx: AppContext, some: Sequence[Account]) -> None:
    """Write the rows of some accounts, as they are under their locks: another process may have been there."""
    with ctx.store.write() as connection:
        now = ctx.now()
        known = _read(connection, [account.name for account in some])
        new, changed, mended = [], [], []
        for account in some:
            row = known.rows.get(account.name)
            values = _values(account)
            if row is None:
                new.append(
                    {"name": account.name, "attempts": 0, "next_sweep_at": now if account.has_feed else None, **values}
                )
                continue
            if again := row.credentials != account.credentials or _by_entry(row):
                mended.append(f"account/{account.name}")
            kept = None if again else row.suspended_reason
            swept = row.next_sweep_at
            if not account.is_store:  # by it a feed is known to be one
                swept = (swept or now) if account.has_feed else None
            well = now if row.suspended_reason is not None and kept is None else row.well_since
            told = {"suspended_reason": kept, "next_sweep_at": swept, "well_since": well}
            changed.append({"b_name": account.name, **told, **values})
        _note_uses(connection, known, [account for account in some if account.is_store], now)
        queries.put(connection, accounts, new)
        if changed:
            update = accounts.update().where(_A.name == sa.bindparam("b_name"))
            values = {name: sa.bindparam(name) for name in changed[0] if name != "b_name"}
            connection.execute(update.values(values), changed)
        if mended:
            f = findings.c
            parked = sa.and_(queries.among(connection, f.subject, mended), f.kind == FindingKind.ACCOUNT_PARKED)
            queries.close_findings(connection, parked, now, "new credentials, or a mended entry")
            names = [subject.removeprefix("account/") for subject in mended]
            here = sa.and_(queries.among(connection, _A.name, names), _A.quota_at.isnot(None))
            connection.execute(
                accounts.update().where(here).values(quota_at=None)
            )  # of other credentials it may be another


def _note_uses(connection: Connection, known: _Known, some: Sequence[Account], now: datetime) -> None:
    """Note since when a store's policy and mode are in force, so that a look back finds those of then."""
    new = [account for account in some if known.uses.get(account.name) != (account.policy_hash, account.mode)]
    before = {  # of a version before, which kept none
        account.name: account.policy_hash
        for account in new
        if account.name not in known.uses
        and (row := known.rows.get(account.name)) is not None
        and row.policy_hash == account.policy_hash
    }
    p = policies.c
    seen = dict(
        connection.execute(
            sa.select(p.hash, p.first_seen_at).where(queries.among(connection, p.hash, sorted(set(before.values()))))
        ).all()
        if before
        else ()
    )
    rows = [
        {
            "store": account.name, "since": seen.get(before.get(account.name, ""), now), "hash": account.policy_hash,
            "mode": account.mode,
        }
        for account in new
    ]  # fmt: skip
    queries.put(connection, policy_uses, rows, _in_force)


def _in_force(insert: Any) -> Any:
    changed = {"hash": insert.excluded.hash, "mode": insert.excluded.mode}
    return insert.on_conflict_do_update(index_elements=["store", "since"], set_=changed)
