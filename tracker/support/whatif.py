"""What would change under another policy, or another mapping of codes: replayed over history, writing nothing.

Each moment at which an order was decided is made again from what was known then, and decided twice: by the policy that was
in force then and by the new one. What differs is counted by store and change, with samples. Bodies are not needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from tracker.config.model import Account, Config
from tracker.domain.facts import Code, Decision, Meaning
from tracker.domain.personal import ERASED
from tracker.domain.reconcile import reconcile
from tracker.domain.sentences import minute, spoken
from tracker.domain.vocabulary import Leg
from tracker.pipeline import state
from tracker.pipeline.context import AppContext
from tracker.pipeline.ingest.scans import look_up, stored_scan_whole
from tracker.store.tables import decisions, orders

BATCH = 100
SAMPLES = 5


@dataclass
class Change:
    """One kind of difference in one store: how many orders, and some of them."""

    store: str
    change: str
    rule: str
    orders: set[str] = field(default_factory=set)
    samples: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Outcome:
    """What a replay found: how much was looked at, and what would change."""

    orders: int = 0
    moments: int = 0
    changes: dict[tuple[str, str, str], Change] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Return the changes, most orders first."""
        found = sorted(self.changes.values(), key=lambda c: (-len(c.orders), c.store, c.change, c.rule))
        return [
            {"store": c.store, "change": c.change, "rule": c.rule, "orders": len(c.orders), "samples": c.samples}
            for c in found
        ]


def in_short(answer: Outcome, since: datetime) -> str:
    """Say in a sentence what a change would do: in how many orders, and the largest part of it."""
    looked = f"of {answer.orders:,} {'order' if answer.orders == 1 else 'orders'} and {answer.moments:,} decisions since {minute(since)}"
    rows = answer.rows()
    if not rows:
        return f"Nothing would change: {looked}, each would be decided as it was."
    touched = {(change.store, number) for change in answer.changes.values() for number in change.orders}
    first = rows[0]
    return (
        f"It would change {len(touched):,} {looked}; "
        f"most often ({first['orders']:,}): {spoken(first['change'])}, in {first['store']}, as in order {first['samples'][0]['order']}."
    )


def what_if(
    ctx: AppContext,
    config: Config,
    since: datetime,
    *,
    store: str | None = None,
    mapping: bool = False,
    progress: Callable[[int], None] = lambda _done: None,
) -> Outcome:
    """Replay what was decided since a moment under another configuration's policies (and, `mapping`, its codes)."""
    answer = Outcome()
    reading = _reading(ctx, config)
    last = 0
    o, d = orders.c, decisions.c
    while True:
        with ctx.store.read() as connection:
            moved = sa.select(d.id).where(d.order_id == o.id, d.at >= since).exists()
            select = sa.select(orders).where(o.id > last, moved).order_by(o.id).limit(BATCH)
            rows = connection.execute(select.where(o.store == store) if store else select).all()
            if not rows:
                return answer
            states = state.account_rows(connection)
            past = state.Past(connection)
            moments: dict[int, list[tuple[datetime, int]]] = {}
            told = sa.select(d.order_id, d.at, d.order_version).where(
                d.order_id.in_([r.id for r in rows]), d.at >= since
            )
            for one in connection.execute(told.order_by(d.id)):
                known = moments.setdefault(one.order_id, [])
                if (one.at, one.order_version) not in known:
                    known.append((one.at, one.order_version))
            for row in rows:
                before, after = ctx.account(row.store), config.accounts.get(row.store)
                if before is None or after is None or not after.is_store:
                    continue
                answer.orders += 1
                quiet = state.quiet_until(states, row)
                for at, version in moments.get(row.id, ()):
                    answer.moments += 1
                    order = state.read_orders(connection, [row], until=at, version=version).get(row.id)
                    if order is None:
                        continue
                    parcels = state.shipments_at(connection, [row.id], at)[row.id]
                    old = reconcile(order, parcels, past.in_force(before, at).policy, at, connected_at=quiet)
                    if mapping:
                        parcels = state.shipments_at(connection, [row.id], at, reading=reading)[row.id]
                    new = reconcile(order, parcels, after.policy, at, connected_at=quiet)
                    _compare(answer, row, at, old, new)
        last = rows[-1].id
        progress(answer.orders)


def _reading(ctx: AppContext, config: Config) -> Callable[[Row[Any]], Meaning | None]:
    def read(row: Row[Any]) -> Meaning | None:
        account: Account | None = config.accounts.get(row.account) or ctx.account(row.account)
        if account is None or account.is_store:
            return None
        if row.text == ERASED:  # its meaning may rest on its words: it keeps the one it has
            return stored_scan_whole(row).meaning
        found = look_up(account, Code(row.space, row.code, row.text))
        if found is not None and row.leg == Leg.CUSTOMER_RETURN:
            return Meaning(found.status, found.reason, Leg.CUSTOMER_RETURN, found.correction)
        return found

    return read


def _said(decision: Decision) -> dict[str, str]:
    """Put a decision into words that can be compared: each with the rule behind it."""
    found = {}
    for action in decision.actions:
        what = action.target or action.notice or action.status
        found[f"{action.kind} {what}"] = action.rules[0] if action.rules else ""
    for finding in decision.findings:
        found[f"finding {finding.kind}"] = str(finding.kind)
    return found


def _compare(answer: Outcome, row: Row[Any], at: datetime, old: Decision, new: Decision) -> None:
    before, after = _said(old), _said(new)
    for what in sorted(set(before) ^ set(after)):
        word = "more" if what in after else "no more"
        rules = new.because if what in after else old.because
        rule = (after if what in after else before)[what]
        key = (row.store, f"{word}: {what}", rule)
        change = answer.changes.setdefault(key, Change(row.store, key[1], rule))
        if row.number not in change.orders and len(change.samples) < SAMPLES:
            change.samples.append({"order": row.number, "at": at, "because": list(rules)})
        change.orders.add(row.number)
