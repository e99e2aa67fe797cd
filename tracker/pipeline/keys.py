"""Public keys of senders: the worker asks for them, the database keeps them, whoever receives looks there.

A message that names an unknown key has it *wanted* (one id an account, `accounts.keys_wanted`); a worker asks, at most once a minute
an account by the database's clock, whoever sent how much. What an answer lacks is kept too, with the moment when it was asked for: only a
message that came before that moment is refused for it. A key is good for a day since an answer held it; then it is asked for
again, and one that its sender took away goes. Where nobody answers, it stays good. An account that rests, or is suspended, is not asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.model import Account
from tracker.domain.errors import BadPayload, BudgetSpent, KeyUnknown, RateLimited, SourceError, Unavailable
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.backoff import TOLD_AFTER
from tracker.pipeline.context import AppContext
from tracker.pipeline.places import READS, GaveWay, Place, Room, Work
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import accounts, findings, public_keys

if TYPE_CHECKING:
    from tracker.pipeline.poll.due import Ready

EVERY = timedelta(minutes=1)  # that an account's keys are asked for, at most
SLOWEST = timedelta(minutes=15)  # where nobody answers: an eighth of how long that lasts
GOOD_FOR = timedelta(days=1)
LACKING_FOR = timedelta(hours=1)  # that it is kept that an answer lacked a key: senders come again sooner
MOST_KEYS = 50  # of an account
MOST_KEY = 16 << 10  # characters of one
_A, _K = accounts.c, public_keys.c


@dataclass(frozen=True)
class Known:
    """What is known of an account's keys at a moment of the database's clock."""

    now: datetime
    keys: Mapping[str, str]
    lacking: Mapping[str, datetime]  # ids that an answer lacked, and when it was asked for
    wanted: str | None
    at: float  # of our monotonic clock, just before that moment


def look(ctx: AppContext, account: Account, key_id: str | None) -> Known:
    """Return what is known of an account's keys, and have `key_id` asked for where it is not among them: else one that is a day old."""
    with ctx.store.read() as connection:
        row = connection.execute(
            sa.select(_A.keys_wanted, _A.keys_failing_since).where(_A.name == account.name)
        ).first()
        mine = sa.and_(_K.account == account.name, _K.credentials == account.credentials)
        stored = connection.execute(sa.select(public_keys).where(mine)).all()
        at = time.monotonic()
        now = database_now(connection)
    keys = {one.key_id: one.key for one in stored if one.key is not None}
    lacking = {one.key_id: one.asked_at for one in stored if one.key is None}
    wanted = row.keys_wanted if row is not None else None
    old = min((one for one in stored if one.key is not None), key=lambda one: one.asked_at, default=None)
    if key_id is not None and key_id not in keys:
        if wanted is None or (row is not None and row.keys_failing_since and wanted != key_id):
            wanted = _want(
                ctx, account.name, key_id, sa.or_(_A.keys_wanted.is_(None), _A.keys_failing_since.isnot(None))
            )
    elif wanted is None and old is not None and now - old.asked_at >= GOOD_FOR:
        wanted = _want(ctx, account.name, old.key_id, _A.keys_wanted.is_(None))
    return Known(now, keys, lacking, wanted, at)


def _want(ctx: AppContext, account: str, key_id: str, where: sa.ColumnElement[bool]) -> str:
    """Have a key asked for, unless another one is wanted: whoever wants this one comes again."""
    with ctx.store.write(first=True) as connection:
        connection.execute(accounts.update().where(_A.name == account, where).values(keys_wanted=key_id))
    ctx.notify("poll")
    return key_id


def claim(
    ctx: AppContext, connection: Connection, ready: Iterable[Ready], room: Room, now: datetime
) -> list[tuple[Place, Work]]:
    """Claim the accounts whose keys are due, as many as there are places: when they may be asked for again is the claim."""
    claimed: list[tuple[Place, Work]] = []
    for one in ready:
        name, key_id = one.account.name, one.row.keys_wanted
        if not one.row.wanted or (place := room.take(READS, name)) is None:
            continue
        fence = accounts.update().where(_A.name == name, sa.or_(_A.keys_due_at.is_(None), _A.keys_due_at <= now))
        if connection.execute(fence.values(keys_due_at=now + EVERY)).rowcount:
            claimed.append((place, partial(ask, ctx, one.account, key_id, now)))
        else:
            room.back([place])
    return claimed


def ask(ctx: AppContext, account: Account, key_id: str, asked_at: datetime) -> SourceError | None:
    """Ask for a key and keep what was answered. Returns what went wrong, for the account's place: nothing rests for it."""
    error: SourceError | None = None
    told: Mapping[str, str] = {}
    try:
        told = _sound(account.source.fetch_keys(ctx.client(account), key_id))
    except SourceError as problem:
        error = problem
    except Exception as problem:  # a plugin's bug must not stop the others
        error = SourceError(type(problem).__name__)
    if isinstance(error, GaveWay | BudgetSpent):
        return error  # nothing was learnt: it is wanted still
    with ctx.store.write() as connection:
        if error is None:
            _keep(ctx, connection, account, {key_id: None, **told}, asked_at)
            mine = sa.and_(_A.name == account.name, _A.keys_wanted == key_id)
            connection.execute(accounts.update().where(mine).values(keys_wanted=None, keys_failing_since=None))
        else:
            _fails(ctx, connection, account, key_id, error, asked_at)
    return error


def _sound(told: Mapping[str, str]) -> Mapping[str, str]:
    """Return what a plugin read of an answer, where it can be kept."""
    if len(told) > MOST_KEYS:
        raise BadPayload("$", f"holds more than {MOST_KEYS} keys")
    if not all(KeyUnknown.can_be(key_id) for key_id in told):
        raise BadPayload("$", "holds a key whose id is none")
    if not all(key.isascii() and "\0" not in key and len(key) <= MOST_KEY for key in told.values()):
        raise BadPayload("$", "holds a key that is none")
    return told


def _keep(
    ctx: AppContext, connection: Connection, account: Account, told: Mapping[str, str | None], asked_at: datetime
) -> None:
    """Keep what an answer holds and lacks; it is newer than what is kept of the same ids, and few are kept."""
    rows = [
        {
            "account": account.name, "key_id": key_id, "key": key, "credentials": account.credentials, "asked_at": asked_at,
        }
        for key_id, key in sorted(told.items())
    ]  # fmt: skip
    queries.put(connection, public_keys, rows, _newer)
    mine = _K.account == account.name
    kept = sa.select(_K.key_id).where(mine, _K.key.isnot(None)).order_by(_K.asked_at.desc(), _K.key_id).limit(MOST_KEYS)
    old = sa.or_(
        sa.and_(_K.key.is_(None), _K.asked_at < asked_at - LACKING_FOR),
        sa.and_(_K.key.isnot(None), _K.key_id.not_in(kept.scalar_subquery())),
    )
    connection.execute(public_keys.delete().where(mine, old))
    over = sa.and_(findings.c.subject == f"account/{account.name}", findings.c.kind == FindingKind.KEYS_MISSING)
    queries.close_findings(connection, over, ctx.now(), "account", "its keys are there")
    ctx.log.info("keys_kept", account=account.name, count=sum(key is not None for key in told.values()))


def _newer(insert: Any) -> Any:
    changed = {name: insert.excluded[name] for name in ("key", "credentials", "asked_at")}
    return insert.on_conflict_do_update(
        index_elements=["account", "key_id"], set_=changed, where=_K.asked_at < insert.excluded.asked_at
    )


def _fails(
    ctx: AppContext, connection: Connection, account: Account, key_id: str, error: SourceError, asked_at: datetime
) -> None:
    """Tell that a key cannot be had: in the log, and a person where it lasts and the key is not known, so that webhooks are not taken."""
    ctx.count("tracker_source_errors_total", account=account.name, error=type(error).__name__)
    ctx.log.warning("keys_missing", account=account.name, error=type(error).__name__, said=str(error)[:200])
    mine = _A.name == account.name
    since = connection.execute(sa.select(_A.keys_failing_since).where(mine)).scalar() or asked_at
    lasts = asked_at - since
    known = sa.select(_K.key_id).where(_K.account == account.name, _K.key_id == key_id, _K.key.isnot(None))
    if lasts >= TOLD_AFTER and connection.execute(known).first() is None:
        began = ctx.now() - lasts
        why = (str(error) or type(error).__name__)[:200]
        evidence = {"account": account.name, "why": why, "since": f"{began:%Y-%m-%d %H:%M}Z"}
        finding = Finding(
            FindingKind.KEYS_MISSING, f"account/{account.name}", Severity.WARNING, Act.ACT, evidence, began,
            "its senders are told to come again (503), and polls and sweeps go on; look whether its settings name the right address",
        )  # fmt: skip
        tell.report_findings(ctx, connection, [(None, finding)], ctx.now(), by="account")
    told = error.after if isinstance(error, RateLimited | Unavailable) else None  # as they asked for
    again = asked_at + max(EVERY, min(lasts / 8, SLOWEST), told or EVERY)
    connection.execute(accounts.update().where(mine).values(keys_failing_since=since, keys_due_at=again))
