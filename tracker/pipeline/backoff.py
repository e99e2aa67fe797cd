"""What answers say of an account: it answers, it rests for a while, or it is suspended until its credentials change.

Polls, registrations, reads of changed orders, sweeps and writes all end here, so that an account that is away is asked seldom, whoever asks,
and one finding says so for as long as it lasts. Nothing is refused for it: what was to be asked or written waits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.model import Account
from tracker.domain.errors import (
    BudgetSpent,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Resting,
    SourceError,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import accounts, findings

QUICK = timedelta(minutes=1)  # the longest rest after a broken wire while it is new: it may work again at any moment
SLOWEST = timedelta(minutes=15)  # and at all: an eighth of how long it is broken
FIRST = timedelta(minutes=30)  # after "all of it is away": a frozen shop is frozen for hours
LONGEST = timedelta(hours=4)  # so that nothing waits a working day after it came back
TOLD_AFTER = timedelta(minutes=5)  # what passes sooner needs nobody
AWAY = timedelta(minutes=15)  # so long and longer: what it tells then is catching up
FEW_STORES = 8  # as many as may be swept side by side need not be spread
SOONEST = timedelta(
    seconds=8
)  # between two tries of a sweep; the longest is its interval, or FIRST where that is longer
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hear(
    ctx: AppContext,
    connection: Connection,
    account: Account,
    errors: Sequence[SourceError | None],
    now: datetime,
    business: datetime,
    *,
    failing: bool = True,
) -> None:
    """Take what the calls of one round say of their account; None, NotFound and Refused are answers.

    `now` is the database's time, for the rest after a broken wire or a limit; `business` time is for all that lasts longer.
    `failing`: whether the account's row said so when the calls were claimed; where not, an answer changes nothing.
    """
    for error in errors:
        if isinstance(error, Resting):  # it answered just before, and asked for it
            queries.block(connection, account.name, now + (error.after or queries.backoff(1)))
    if not (errors := [error for error in errors if not isinstance(error, BudgetSpent | Resting)]):
        return  # nobody was asked
    for error in errors:
        if error is not None:
            _count(ctx, account, error)
    if not (wrong := [error for error in errors if error is not None and not isinstance(error, NotFound | Refused)]):
        if failing:
            _answers(connection, account, business)
        return
    worst = min(wrong, key=_weight)
    answered = len(wrong) < len(errors)
    if isinstance(worst, CredentialsRejected):
        suspend_and_report(ctx, connection, account, str(worst))
    elif isinstance(worst, Unavailable) or not answered:
        _fails(ctx, connection, account, worst, now, business)
    else:
        if failing:
            _answers(connection, account, business)
        if isinstance(worst, RateLimited):
            queries.block(connection, account.name, now + (worst.after or queries.backoff(1)))


def grown(lasts: timedelta, first: timedelta, longest: timedelta) -> timedelta:
    """Return how long to rest after it failed for so long: as long again, within bounds. So the rests double."""
    return max(first, min(lasts, longest))


def share(text: str) -> float:
    """Return a number from 0 to 1 that is always the same of a text, and of two texts as good as never."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / (1 << 48)


def jittered(rest: timedelta, name: str, count: int) -> timedelta:
    """Return a rest with up to a quarter more, by who rests and for which time: who failed together is not asked together."""
    return rest * (1 + share(f"{name}/{count}") / 4)


def next_sweep(account: Account, stores: int, business: datetime) -> datetime:
    """Return when one of so many stores is swept next: a few after the interval, many each at a moment of its own within it."""
    if not account.is_store or stores <= FEW_STORES:
        return business + account.sweep_every
    seconds = max(1, int(account.sweep_every.total_seconds()))
    moment = EPOCH + timedelta(seconds=int(share(account.name) * seconds))
    return business + ((moment - business) % account.sweep_every or account.sweep_every)


def sweep_fails(
    ctx: AppContext,
    connection: Connection,
    account: Account,
    error: SourceError,
    pages: int,
    now: datetime,
    business: datetime,
) -> datetime:
    """Take that a sweep failed after some pages. Returns when to sweep again (business time).

    A list that fails while the account answers everything else costs the sweep only, and has a finding of its own.
    """
    if isinstance(error, BudgetSpent):  # nobody was asked
        return business + (error.after or SOONEST)
    state = _state(connection, account)
    if state is None:
        return business
    since = state.sweep_failing_since or business
    if isinstance(error, RateLimited) and error.after is not None and (pages or business - since < TOLD_AFTER):
        _count(ctx, account, error)  # it goes on where it is, when it was told to: nobody failed
        if not pages:
            connection.execute(accounts.update().where(_of(account)).values(sweep_failing_since=since))
        queries.block(connection, account.name, now + error.after)
        return business + error.after
    alone = pages > 0 or (state.sweep_failing_since is not None and state.failing_since is None)
    connection.execute(accounts.update().where(_of(account)).values(sweep_failing_since=since))
    if isinstance(error, Unavailable):
        rest = error.after or grown(business - since, FIRST, LONGEST)
    else:
        rest = grown(business - since, SOONEST, max(account.sweep_every, FIRST))
    rest = jittered(rest, account.name, state.attempts)
    _count(ctx, account, error)
    if isinstance(error, CredentialsRejected):
        suspend_and_report(ctx, connection, account, str(error))
    elif not alone or isinstance(error, RateLimited):
        _fails(ctx, connection, account, error, now, business, wire=False)
    elif business - since >= TOLD_AFTER and (account.is_store or state.swept_at is None):  # of a feed its gap is told
        _tell(ctx, connection, account, f"{_subject(account)}/sweep", _why(error), since, business + rest, business)
    return business + rest


def sweep_answers(connection: Connection, account: Account, business: datetime) -> None:
    """Take that a sweep came to its end."""
    _answers(connection, account, business)
    failed = accounts.c.sweep_failing_since.isnot(None)
    held = accounts.update().where(_of(account), failed).values(sweep_failing_since=None)
    if connection.execute(held).rowcount:
        _close(connection, f"{_subject(account)}/sweep", business)


def suspend_and_report(ctx: AppContext, connection: Connection, account: Account, said: str) -> None:
    """Stop using an account whose credentials are refused, and tell a person."""
    queries.suspend(connection, account.name, said)
    finding = Finding(
        FindingKind.ACCOUNT_PARKED, _subject(account), Severity.URGENT, Act.ACT,
        {"account": account.name, "said": said[:200]},
    )  # fmt: skip
    tell.report_findings(ctx, connection, [(None, finding)], ctx.now(), by="account")
    ctx.log.warning("account_parked", account=account.name)


def _weight(error: SourceError) -> int:
    """Order errors by what they say of an account: the heaviest first."""
    kinds = (CredentialsRejected, Unavailable, RateLimited, Transient)
    return next((i for i, kind in enumerate(kinds) if isinstance(error, kind)), len(kinds))


def _count(ctx: AppContext, account: Account, error: SourceError) -> None:
    ctx.count("tracker_source_errors_total", account=account.name, error=type(error).__name__)
    if not isinstance(error, NotFound | RateLimited):
        ctx.log.info("source_failed", account=account.name, error=type(error).__name__, said=str(error)[:200])


def _fails(
    ctx: AppContext,
    connection: Connection,
    account: Account,
    error: SourceError,
    now: datetime,
    business: datetime,
    *,
    wire: bool = True,
) -> None:
    """Note that an account did not answer. `wire`: whether it rests after a broken wire; a sweep waits for its own time."""
    state = _state(connection, account)
    if state is None:
        return
    together = (
        state.failures and state.blocked_until is not None and state.blocked_until > now
    )  # with one that failed just before
    failures = state.failures if together else (state.failures or 0) + 1
    since, why = state.failing_since or business, state.failing_why or _why(error)
    values: dict[str, Any] = {}
    again = None
    rest = min(queries.backoff(failures), QUICK)
    if isinstance(error, Unavailable):
        rest = jittered(grown(business - since, FIRST, LONGEST), account.name, failures)
        again = business + (error.after or rest)
        why = why if state.rests_until else _why(error)  # the first word stays: what was dismissed stays dismissed
        values["rests_until"] = max(again, state.rests_until or again)
    elif isinstance(error, RateLimited):
        queries.block(connection, account.name, now + (error.after or queries.backoff(failures)))
    elif isinstance(error, Transient) and wire:
        rest = jittered(max(rest, min((business - since) / 8, SLOWEST)), account.name, failures)
        queries.block(connection, account.name, now + rest)
    values |= {"failures": failures, "failing_since": since, "failing_why": why}
    connection.execute(accounts.update().where(_of(account)).values(**values))
    if again is not None or business - since >= TOLD_AFTER:
        _tell(ctx, connection, account, _subject(account), why, since, again or rest, business)


def _tell(
    ctx: AppContext,
    connection: Connection,
    account: Account,
    subject: str,
    why: str,
    since: datetime,
    again: datetime | timedelta,
    business: datetime,
) -> None:
    evidence = {"account": account.name, "why": why, "since": f"{since:%Y-%m-%d %H:%M}Z"}
    if isinstance(again, datetime):
        when = f"at {again:%Y-%m-%d %H:%M}Z (`tracker heal`: now)"
    else:  # by the database's clock
        minutes = math.ceil(again / timedelta(minutes=1))
        when = "within a minute" if minutes <= 1 else f"within {minutes} minutes"
    finding = Finding(
        FindingKind.SOURCE_UNAVAILABLE, subject, Severity.WARNING, Act.ACT, evidence, since,
        f"asked again {when}; what is to be asked or written waits",
    )  # fmt: skip
    tell.report_findings(ctx, connection, [(None, finding)], business, by="account")


def _answers(connection: Connection, account: Account, business: datetime) -> None:
    failed = accounts.c.failures.isnot(None)
    back = sa.case((accounts.c.failing_since <= business - AWAY, business), else_=accounts.c.well_since)
    values = {"failures": None, "failing_since": None, "failing_why": None, "rests_until": None, "well_since": back}
    if connection.execute(accounts.update().where(_of(account), failed).values(**values)).rowcount:
        _close(connection, _subject(account), business)


def _close(connection: Connection, subject: str, business: datetime) -> None:
    over = sa.and_(findings.c.subject == subject, findings.c.kind == FindingKind.SOURCE_UNAVAILABLE)
    queries.close_findings(connection, over, business, "account", "it answers again")


def _state(connection: Connection, account: Account) -> Any:
    return connection.execute(queries.locked(connection, sa.select(accounts).where(_of(account)))).one_or_none()


def _of(account: Account) -> sa.ColumnElement[bool]:
    return accounts.c.name == account.name


def _subject(account: Account) -> str:
    return f"account/{account.name}"


def _why(error: SourceError) -> str:
    return (str(error) or type(error).__name__)[:200]
