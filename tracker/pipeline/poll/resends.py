"""After an outage of ours: have senders that can tell again what they sent while we were away.

A row of `resends` is an outage of one account. What comes is stored as the webhooks that it was, by their dedupe keys, so what arrived all
the same is not stored twice; each page together with the cursor behind it, so a process that dies goes on from there. Polls ask about
every open parcel beside it: what a sender does not keep any more, or will not tell, they tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import BadPayload, BudgetSpent, NotFound, RateLimited, Refused, SourceError
from tracker.domain.facts import Missed, Page, Payload
from tracker.pipeline import backoff
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.places import SWEEPS, GaveWay, Place, Room
from tracker.pipeline.poll.calls import hold_oldest
from tracker.pipeline.poll.due import Ready
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import inbox, resends

BEFORE = timedelta(
    minutes=2
)  # the last sign of life is a minute old at most; what was posted just then may be lost too
MOST_PAGES = 100  # a round; then others have their turn
MOST_FAILURES = 5  # in a row, of what an answer says: it will say the same again
_R = resends.c


def begin(ctx: AppContext, connection: Connection, since: datetime, until: datetime, now: datetime) -> list[str]:
    """Note what is to be asked for after an outage: of each carrier account whose sender tells again. Returns their names."""
    rows = []
    for account in ctx.config.carrier_accounts():
        if (kept := account.carrier.resends) is None or not account.source.webhooks:
            continue
        rows.append(
            {
                "account": account.name, "since": max(since - BEFORE, until - kept), "until": until,
                "short": until - kept > since - BEFORE, "next_at": now, "attempts": 0, "failures": 0, "told": 0, "new": 0,
            }
        )  # fmt: skip
    queries.put(connection, resends, sorted(rows, key=lambda row: str(row["account"])))
    return [str(row["account"]) for row in rows]


def claim(
    connection: Connection, ready: Mapping[str, Ready], room: Room, now: datetime, business: datetime
) -> list[tuple[Account, Row[Any], Place]]:
    """Claim what is due of the accounts that may be asked, the oldest of each, as much as there are places and calls."""
    claimed: list[tuple[Account, Row[Any], Place]] = []
    for name, one in ready.items():
        if not one.row.resends or one.left <= 0 or one.account.carrier.resends is None:
            continue
        if held := hold_oldest(connection, resends, name, room, SWEEPS, now, business, _R.ended_at.is_(None)):
            claimed.append((one.account, *held))
    return claimed


def _ours(row: Row[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a claimed row is still ours."""
    return sa.and_(_R.id == row.id, _R.attempts == row.attempts + 1)


def work(ctx: AppContext, account: Account, row: Row[Any]) -> SourceError | None:
    """Ask for what was sent, page by page. Returns what went wrong."""
    with ctx.leases.holding(resends, {row.id: row.attempts + 1}):
        pages, error, paused = 0, None, False
        try:
            for page in account.carrier.resend(ctx.client(account), Missed(row.since, row.until, row.cursor)):
                if not _store(ctx, account, row, page):
                    return None  # somebody else has it
                pages += 1
                crash_at("resend_after_page")
                if pages >= MOST_PAGES:
                    paused = True
                    break
        except SourceError as problem:
            error, paused = problem, isinstance(problem, GaveWay)
        except Exception as problem:  # a plugin's bug must not stop the others
            error = SourceError(type(problem).__name__)
        _end(ctx, account, row, pages, error, paused=paused)
    return error


def _store(ctx: AppContext, account: Account, row: Row[Any], page: Page) -> bool:
    """Store a page as the webhooks that it holds, with the cursor behind it. Returns whether the claim is still ours."""
    with ctx.store.write() as connection:
        now, business = database_now(connection), ctx.now()
        held = connection.execute(queries.locked(connection, sa.select(_R.id).where(_ours(row))))
        if held.first() is None:
            return False
        payloads = {account.source.dedupe_key(one): one for one in _payloads(account, page.parts, business)}
        i = inbox.c
        known = sa.and_(i.account == account.name, queries.among(connection, i.dedupe_key, list(payloads)))
        there = set(connection.execute(sa.select(i.dedupe_key).where(known)).scalars()) if payloads else set()
        queries.store_payloads(
            connection,
            [
                queries.payload_row(
                    account.name,
                    "webhook",
                    one.parts,
                    business,
                    now,
                    dedupe_key=key,
                    headers={queries.TOLD_AGAIN: f"{row.until:%Y-%m-%d %H:%M}Z"},
                )
                for key, one in payloads.items()
                if key not in there
            ],
        )
        fresh = len(payloads) - len(there)
        values = {
            "told": _R.told + len(page.parts), "new": _R.new + fresh, "failures": 0, "error": None,
            "claimed_until": now + queries.LEASE,
        }  # fmt: skip
        if page.next_cursor is not None:
            values["cursor"] = page.next_cursor
        connection.execute(resends.update().where(_R.id == row.id).values(**values))
    if fresh:
        ctx.notify("ingest")
    return True


def _payloads(account: Account, parts: Sequence[bytes], at: datetime) -> list[Payload]:
    return [Payload(account.name, "webhook", (part,), at) for part in parts]


def _end(
    ctx: AppContext, account: Account, row: Row[Any], pages: int, error: SourceError | None, *, paused: bool
) -> None:
    """Note how far it came: it is done, goes on, is tried again later, or is given up."""
    with ctx.store.write() as connection:
        now, business = database_now(connection), ctx.now()
        failures = 0 if pages else row.failures + 1
        values: dict[str, Any] = {"claimed_until": None}
        kept = account.carrier.resends
        if error is None and not paused:
            values |= {"ended_at": business, "error": None}
        elif paused or isinstance(error, BudgetSpent):
            values["next_at"] = business + ((error.after if isinstance(error, RateLimited) else None) or timedelta(0))
        else:
            final = isinstance(error, Refused | NotFound | BadPayload) and failures >= MOST_FAILURES
            gone = kept is not None and business - row.until > kept
            values |= {"failures": failures, "error": str(error)[:200] or type(error).__name__}
            if final or gone:
                values |= {"ended_at": business, "short": True}
                ctx.log.warning("resend_given_up", account=account.name, said=values["error"])
            else:
                values["next_at"] = business + queries.backoff(min(failures, 10) + 2)
        connection.execute(resends.update().where(_ours(row)).values(**values))
        if error is not None and not isinstance(error, GaveWay):
            backoff.hear(ctx, connection, account, [error], now, business)
    if paused:
        ctx.notify("poll")


def unfinished(ctx: AppContext, connection: Connection, until: datetime) -> bool:
    """Say whether something is still to be asked for after the outage that ended at `until`, of an account that is configured."""
    names = [account.name for account in ctx.config.carrier_accounts()]
    here = sa.and_(_R.until == until, _R.ended_at.is_(None), queries.among(connection, _R.account, names))
    return connection.execute(sa.select(_R.id).where(here).limit(1)).first() is not None
