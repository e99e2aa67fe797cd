"""The clocks of an order: the deadlines of its policy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tracker.domain.facts import Finding, Order
from tracker.domain.gates import MONEY_BACK
from tracker.domain.reconcile.case import INFO, WARNING, Case
from tracker.domain.reconcile.findings import finding
from tracker.domain.reconcile.orders import began
from tracker.domain.vocabulary import Act, OrderStatus


def deadlines(case: Case) -> Iterator[Finding | datetime]:
    """Run the deadlines: a warning, then a breach; never a cancel (MG-01, MG-02)."""
    order, policy = case.order, case.policy
    for clock in policy.deadlines:
        if order.status.rank is None or order.payment in MONEY_BACK or order.status.reaches(clock.until):
            continue
        start = order.placed_at if clock.begins is None else _reached(order, clock.begins)
        if start is None:
            continue
        for span, severity, step in ((clock.warn, INFO, "warning"), (clock.breach, WARNING, "breach")):
            if span is None:
                continue
            due = span.end(start, policy.calendar)
            if case.now < due:
                yield due
                continue
            evidence = {"clock": clock.name, "step": step, "due": f"{due:%Y-%m-%d %H:%M}Z"}
            yield finding(case, clock.kind, severity, Act.ACT, evidence, since=due)


def _reached(order: Order, status: OrderStatus) -> datetime | None:
    """Return when the order first stood at a status or past it."""
    for snapshot in order.history:
        if snapshot.status.reaches(status):
            current = snapshot is order.history[-1] and snapshot.status is order.status
            told = order.status_at if current else None
            return min(told, snapshot.at) if told else snapshot.at
    if order.status.reaches(status):
        return began(order)
    return None
