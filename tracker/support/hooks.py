"""What people ask of hooks: which are wanted, which are there, since when that is known, and what was done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from tracker.config.model import Account
from tracker.domain.masking import mask
from tracker.pipeline.context import AppContext
from tracker.pipeline.poll.hooks import wanted_of
from tracker.store import queries
from tracker.store.tables import accounts

FINE = ("there", "made", "mended")
_A = accounts.c


def list_hooks(ctx: AppContext, name: str | None = None) -> list[dict[str, Any]]:
    """Return a row a hook that an account wants: its topic, address (without its token), how it is there, since when, and when that was looked at.

    An account whose hooks could not be looked at, or were not yet, has rows that say so.
    """
    select = sa.select(_A.name, _A.hooks, _A.hooks_checked_at, _A.hooks_due_at, _A.suspended_reason)
    here = sa.or_(_A.hooks_due_at.isnot(None), _A.name == name)
    with ctx.store.read() as connection:
        rows: list[Any] = list(connection.execute(select.where(here).order_by(_A.name)))
        known = set(connection.execute(sa.select(_A.name)).scalars())
    never = (
        set(ctx.config.accounts) - known if name is None else {name} - {row.name for row in rows}
    )  # no process ran with it
    rows += [
        SimpleNamespace(name=one, hooks=None, hooks_checked_at=None, suspended_reason=None) for one in sorted(never)
    ]
    found = []
    for row in rows:
        if name in (None, row.name) and (account := ctx.account(row.name)) is not None:
            found += _of(ctx, account, row)
    return found


def _of(ctx: AppContext, account: Account, row: Any) -> list[dict[str, Any]]:
    wanted = wanted_of(ctx.config, account)
    if wanted is None:
        return []
    kept: Mapping[str, Any] = row.hooks or {}
    old = kept.get("wanted") != wanted.hashed or bool(kept.get("mend"))
    known = {one["topic"]: one for one in kept.get("hooks", ())}
    trouble = wanted.problem or kept.get("said", "")
    told = []
    for topic in [hook.topic for hook in wanted.hooks] or [""]:
        one = known.get(topic, {})
        state, said = one.get("state", "unknown"), one.get("said", "")
        if old or not one:
            state = "unknown"
            said = "waits for the account, which is suspended" if row.suspended_reason else "compared at the next look"
        if trouble:
            state, said = "unknown", mask(trouble)
        told.append(
            {
                "account": account.name, "topic": topic or None, "address": one.get("address") or wanted.base, "state": state,
                "said": said, "since": _moment(one.get("since")), "checked_at": row.hooks_checked_at, "ref": one.get("ref") or None,
                "others": kept.get("others", 0),
            }
        )  # fmt: skip
    return told


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def why_none(ctx: AppContext, name: str) -> str:
    """Say why an account has no hooks that we make."""
    account = ctx.config.accounts[name]
    token = "/<webhook_token>" if account.webhook_tokens else ""
    by_hand = f"made by hand, to post to {ctx.config.hook_address(account)}{token}"
    if ctx.config.root.web.public_url is None:
        return f"web.public_url is not set: hooks are {by_hand}"
    if missing := account.source.webhooks_need():
        return f"{missing} unset: no hook would be taken"
    if wanted_of(ctx.config, account) is not None:
        return "no process has run with it yet: `tracker up`, or a worker, makes its hooks"
    if not account.source.webhooks:
        return f"{account.uses} takes no webhooks"
    return f"{account.uses} states no hooks: they are {by_hand}"


def mend(ctx: AppContext, name: str) -> bool:
    """Have an account's hooks compared at once, and mended also where somebody undid what we did. Returns whether it has any."""
    with ctx.store.write() as connection:
        select = sa.select(_A.hooks).where(_A.name == name, _A.hooks_due_at.isnot(None))
        held = connection.execute(queries.locked(connection, select)).one_or_none()
        if held is None:
            return False
        values = {"hooks_due_at": ctx.now(), "hooks": {**held.hooks, "mend": True} if held.hooks else None}
        connection.execute(accounts.update().where(_A.name == name).values(**values))
    ctx.notify("poll")
    return True
