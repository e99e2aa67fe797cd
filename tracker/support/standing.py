"""How each carrier account and each store stands: from its row, and from what waits for it. An entry is read only where its row needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.vocabulary import FindingKind
from tracker.pipeline import brakes, budgets, feeds
from tracker.pipeline.backoff import TOLD_AFTER
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import accounts, findings, outbox, tokens, watches
from tracker.support.gaps import COUNTED_TO
from tracker.support.hooks import FINE
from tracker.support.queues import Waiting

FEW = 100  # accounts and stores whose entries may all be read: of thousands that takes longer than all else
ENTRY_WRONG = "its entry in the configuration is wrong"


class Standing:
    """What the rows of accounts are read with: all at one moment, by few statements for any number of them."""

    def __init__(
        self,
        ctx: AppContext,
        connection: Connection,
        states: Mapping[str, Row[Any]],
        waiting: Waiting,
        database: datetime,
    ) -> None:
        """`states`: the rows, by name; `database`: its time."""
        self.ctx, self.connection, self.states, self.waiting = ctx, connection, states, waiting
        self.now, self.database = ctx.now(), database

    def known(self, name: str) -> bool:
        """Say whether an account or store is in the configuration, be it wrong there."""
        return name in self.ctx.config.accounts or name in self.ctx.config.suspended

    def state(self, row: Row[Any], *, limited: bool = False) -> tuple[str, str | None, datetime | None]:
        """Return how an account is, why, and since when: fine, suspended, paused, away, first_sync, or gone from the configuration.

        `limited`: to who may not read the configuration.
        """
        if row.suspended_reason is not None:
            problem = row.suspended_reason.removeprefix(queries.BY_ENTRY)
            if problem != row.suspended_reason:
                return "suspended", ENTRY_WRONG if limited else f"{ENTRY_WRONG}: {problem}", None
            return "suspended", "its credentials are refused" + ("" if limited else f": {problem}"), None
        if not self.known(row.name):
            return "gone", "it is not in the configuration", None
        if row.paused_at is not None:
            return "paused", "a person paused it", row.paused_at
        if (since := self.away_since(row)) is not None:
            return "away", row.failing_why or "its list fails", since
        if row.kind == "store" and row.swept_at is None:
            return "first_sync", "its orders are read for the first time", row.connected_at
        return "fine", None, None

    def away_since(self, row: Row[Any]) -> datetime | None:
        """Return since when an account does not answer, None where it does; what passes within minutes needs nobody."""
        since = min((at for at in (row.failing_since, row.sweep_failing_since) if at is not None), default=None)
        rests = row.rests_until is not None and row.rests_until > self.now
        return since if since is not None and (rests or self.now - since >= TOLD_AFTER) else None

    def rests_until(self, row: Row[Any]) -> datetime | None:
        """Return until when an account is not asked, None where it may be now."""
        if row.rests_until is not None and row.rests_until > self.now:
            until: datetime = row.rests_until
            return until
        blocked: datetime | None = row.blocked_until
        return blocked if blocked is not None and blocked > self.database else None

    def accounts(self) -> list[dict[str, Any]]:
        """Return a row a carrier account, by name: its keys are documented at `support.status.status`."""
        until, asked, small = self._tokens(), self._asked(), self._too_small()
        rows = [row for name, row in sorted(self.states.items()) if row.kind == "carrier"]
        return [
            {
                "account": row.name, **self._how(row), "rests_until": self.rests_until(row), "brakes": _brakes(row),
                "token_until": until.get(row.name), "budget": self._budget(row, small),
                "last_webhook": row.last_webhook_at, "last_answer": asked.get(row.name),
                "failures": row.failures or 0, "failing_since": row.failing_since, "failing_why": row.failing_why,
                "hooks": _hooks(row), "feed": self._feed(row), "quota_left": row.quota_left, "quota_of": row.quota_of,
                "due": self._waits("poll", row.name), "unregistered": self._waits("register", row.name),
                "see": f"tracker plan {row.name}",
            }
            for row in rows
            if self.known(row.name)
        ]  # fmt: skip

    def stores(self, names: Iterable[str], *, limited: bool = False) -> list[dict[str, Any]]:
        """Return a row a store of these names: its keys are documented at `support.status.status`."""
        names = sorted(names)
        died, held, refused = (self._of_state(state, names) for state in ("dead", "held", "refused"))
        found = []
        for name in names:
            row = self.states[name]
            found.append(
                {
                    "store": name, **self._how(row, limited=limited), "mode": row.mode, "paused_at": row.paused_at,
                    "rests_until": self.rests_until(row), "last_sweep": row.swept_at, "next_sweep": row.next_sweep_at,
                    "cursor_seconds": (self.now - row.swept_at).total_seconds() if row.swept_at else None,
                    "last_webhook": row.last_webhook_at, "last_answer": row.answered_at, "failures": row.failures or 0,
                    "writes_hour": self._writes(row), "hooks": _hooks(row), "waiting": self._waits("push", name), "unread": self._waits("notices", name),
                    "held": held.get(name, 0), "refused": refused.get(name, 0), "dead": died.get(name, 0),
                    "see": f"tracker outbox --store {name} --today",
                }
            )  # fmt: skip
        return found

    def _how(self, row: Row[Any], *, limited: bool = False) -> dict[str, Any]:
        state, why, since = self.state(row, limited=limited)
        return {"state": state, "why": why, "since": since}

    def _waits(self, queue: str, name: str) -> int:
        told = self.waiting.by_account.get((queue, name))
        return told.count if told is not None else 0

    def _tokens(self) -> dict[str, datetime | None]:
        return dict(self.connection.execute(sa.select(tokens.c.account, tokens.c.ends_at)).all())

    def _asked(self) -> dict[str, datetime]:
        """Return when each account last answered about a parcel that is asked about still."""
        t, a = watches.c, accounts.c
        newest = sa.select(sa.func.max(t.checked_at)).where(t.account == a.name, t.next_poll_at.isnot(None))
        asked = sa.select(a.name, newest.correlate(accounts).scalar_subquery()).where(a.kind == "carrier")
        return {name: at for name, at in self.connection.execute(asked) if at is not None}

    def _too_small(self) -> dict[str, dict[str, str]]:
        f = findings.c
        here = f.kind == FindingKind.BUDGET_TOO_SMALL, f.closed_at.is_(None)
        found = self.connection.execute(sa.select(f.subject, f.evidence).where(*here))
        return {row.subject.removeprefix("account/"): row.evidence for row in found}

    def _budget(self, row: Row[Any], small: Mapping[str, dict[str, str]]) -> dict[str, Any] | None:
        """Return what an account's budget gives now, None where it has none; of one among many also where nobody charged it yet."""
        account = self.ctx.account(row.name) if row.spent or len(self.states) <= FEW else None
        if account is None or account.budget is None:
            return None
        given = budgets.calls(account, row.spent, self.now)
        assert given is not None
        verdict, told = "it suffices", small.get(row.name)
        if told is not None:
            verdict = f"too small: parcels are seen every {told['seen_every']} instead of {told['wanted_every']}"
        return {
            "calls": account.budget.calls, "per_seconds": account.budget.per.total_seconds(), "left": given.left,
            "free_at": None if given.left else given.free_at(), "verdict": verdict,
        }  # fmt: skip

    def _feed(self, row: Row[Any]) -> dict[str, Any] | None:
        """Return how an account's feed is, None where it has none."""
        account = self.ctx.account(row.name) if row.next_sweep_at is not None else None
        if account is None or not account.has_feed:
            return None
        whole = feeds.is_whole(account, row.swept_at, self.now)
        return {
            "whole": whole,
            "as_of": row.swept_at,
            "next": row.next_sweep_at,
            "failing_since": row.sweep_failing_since,
        }

    def _writes(self, row: Row[Any]) -> dict[str, int] | None:
        """Return what of a store's hourly budget is written, None where nothing was written in this hour."""
        begun = row.writes_left is not None and row.writes_reset_at is not None and row.writes_reset_at > self.database
        account = self.ctx.account(row.name) if begun else None
        if account is None:
            return None
        return {"done": max(0, account.writes_per_hour - row.writes_left), "of": account.writes_per_hour}

    def _of_state(self, state: str, names: Sequence[str]) -> dict[str, int]:
        """Count the writes in a state by store; where a few stores are asked about, no others use up what is counted."""
        o = outbox.c
        mine = [queries.among(self.connection, o.store, names)] if len(names) <= FEW else []
        some = sa.select(o.store).where(o.state == state, *mine).limit(COUNTED_TO).subquery()
        counted = sa.select(some.c.store, sa.func.count()).group_by(some.c.store)
        return dict(self.connection.execute(counted).all())


def _brakes(row: Row[Any]) -> list[dict[str, Any]]:
    return [{"carrier": one.carrier, "since": one.since} for one in brakes.of_account(row.name, row.brakes)]


def _hooks(row: Row[Any]) -> dict[str, Any] | None:
    """Return how many hooks an account wants and how many are there, as of when; None where we make none of them."""
    if row.hooks_due_at is None:
        return None
    told: Mapping[str, Any] = row.hooks or {}
    states = [one.get("state") for one in told.get("hooks", ())]
    return {
        "wanted": len(states), "there": sum(state in FINE for state in states), "checked_at": row.hooks_checked_at,
        "said": told.get("said") or None,
    }  # fmt: skip
