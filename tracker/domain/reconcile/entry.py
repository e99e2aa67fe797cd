"""Decide for one order: ask each part, and put together what they say.

Pure and total. Proved in tests/domain over the whole state space: applying the actions and reconciling again asks for
nothing more; no step back but a restore or an accepted correction; nothing is written out of cancelled, held, refunded
or disputed; Delivered only when every piece that is still wanted is delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from tracker.domain.facts import Action, Decision, Finding, Order, Published, Shipment, StatusSnapshot
from tracker.domain.policy import Policy
from tracker.domain.reconcile.case import INFO, US, WARNING, Case, K, Said
from tracker.domain.reconcile.clocks import deadlines
from tracker.domain.reconcile.customer import notices
from tracker.domain.reconcile.findings import Found, add, finding, told_once
from tracker.domain.reconcile.order_checks import order_checks
from tracker.domain.reconcile.order_status import order_status
from tracker.domain.reconcile.parcel_checks import parcel_checks
from tracker.domain.reconcile.shown import publish, show_in_field, show_in_tag
from tracker.domain.vocabulary import Act


def reconcile(
    order: Order,
    shipments: Sequence[Shipment],
    policy: Policy,
    now: datetime,
    *,
    connected_at: datetime | None = None,
) -> Decision:
    """Decide for one order.

    `shipments` are all that are linked to it; `now` is business time. Nothing that happened before `connected_at`
    (the moment the store was connected; None: no such limit) causes a write or a notice. Never raises.
    """
    case = Case.of(order, shipments, policy, now, connected_at)
    actions: list[Action] = []
    found: Found = {}
    because: list[str] = []
    later: list[datetime] = []
    for part in _parts(case):
        for said in part:
            if isinstance(said, Finding):
                add(found, said)
            elif isinstance(said, Action):
                actions.append(said)
            elif isinstance(said, datetime):
                later.append(said)
            else:
                because.append(said)
    if policy.notices and not order.gone and not order.test:
        actions += notices(case, found)
    return Decision(
        actions=tuple(actions),
        findings=tuple(told_once(found)),
        because=tuple(because),
        look_again_at=min(later, default=None),
    )


def _parts(case: Case) -> Iterator[Iterable[Said]]:
    """Ask the parts, in the order in which their words are read."""
    order, policy = case.order, case.policy
    if order.test:  # it tries the shop: nothing is written, and nobody is asked to look
        yield ("test_order",)
        return
    if order.gone:  # nothing is written, and nothing is asked of an order that is not there
        yield _gone(case)
    else:
        if policy.words:
            for fulfilment in order.fulfilments:
                yield publish(case, fulfilment)
        if policy.status_field:
            yield show_in_field(case)
        if policy.status_tag:
            yield show_in_tag(case)
        if policy.means:  # the policy knows order statuses, beyond what is shown
            yield order_status(case)
        yield order_checks(case)
    for parcel in case.shipments:
        yield parcel_checks(case, parcel)
    if policy.deadlines and not order.gone:
        yield deadlines(case)


def _gone(case: Case) -> Iterator[str | Finding]:
    """Tell that the shop holds the order no more, or that its permission lets us read it no more."""
    order = case.order
    moving = [f"{p.carrier} {p.number}" for p in case.shipments if not p.summary.status.terminal]
    evidence = {"why": order.gone, "shop": order.raw_status, "under_way": ", ".join(moving)}
    if order.gone == "out_of_sight":
        yield "order_out_of_sight"
        remedy = "give the app the shop's permission to read all orders"
        yield finding(case, K.ORDER_OUT_OF_SIGHT, INFO, Act.ACT, evidence, proposal=remedy)
        return
    yield "order_gone"
    remedy = "a person decides: restore the order in the shop, or have its parcels come back" if moving else ""
    yield finding(case, K.ORDER_GONE, WARNING if moving else INFO, Act.ACT, evidence, proposal=remedy)


def apply(order: Order, action: Action, word: str) -> Order:
    """Return the order as it stands once the shop has taken the action; `word` is what the shop shows."""
    if action.kind == "order_status" and action.target is not None:
        before = order.history[-1].at if order.history else order.placed_at
        at = max(
            before, action.happened_at, *(said.at for said in order.statements)
        )  # a write comes after all of these
        snapshot = StatusSnapshot(at, action.target, word, order.payment, US, before)
        return replace(
            order, status=action.target, raw_status=word, actor=US, status_at=at, history=(*order.history, snapshot)
        )
    if action.kind == "field":
        return replace(order, shown=action.text)
    if action.kind == "tag":
        former = order.shown_by(action.field)
        return replace(order, tags=tuple(sorted({*order.tags, action.text} - ({*former} - {action.text}))))
    if action.kind != "fulfilment_event":
        return order
    return replace(
        order,
        fulfilments=tuple(
            replace(f, published=Published(action.status, word, action.happened_at))
            if f.ref == action.fulfilment
            else f
            for f in order.fulfilments
        ),
    )
