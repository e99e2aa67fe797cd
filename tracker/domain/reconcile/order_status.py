"""The order's own status: whether it is written, by the first rule that speaks."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import datetime, timedelta

from tracker.domain import gates
from tracker.domain.facts import NOWHERE, Action, Order, Shipment, StatusSnapshot
from tracker.domain.gates import HELD
from tracker.domain.reconcile.case import SHIPPED, SHIPPING, US, WARNING, Case, K, O, S, Said, estimate
from tracker.domain.reconcile.findings import finding, minute
from tracker.domain.reconcile.goal import Goal, goal_of
from tracker.domain.reconcile.orders import BACK_OR_GONE, began
from tracker.domain.vocabulary import Act, OrderStatus, Owner, StatementKind

NOT_FROM_HERE = "transition_not_named"
BOUNCES = 3  # a status that did not stay so often within a day is not written again
A_DAY = timedelta(days=1)
Spoke = Generator[Said, None, bool]  # what a rule says, then whether it settled the matter


def order_status(case: Case) -> Iterator[Said]:
    """Decide whether the order's status is written: people come first, then restores, then the carriers."""
    order = case.order
    yield case.owned_by
    if case.owner is Owner.UNKNOWN:
        evidence = {"rule": case.owned_by, "service": order.service}
        yield finding(case, K.UNKNOWN_OWNER, WARNING, Act.ACT, evidence)
        yield "unknown_owner"
        return
    if order.status is O.UNKNOWN:
        yield "unknown_order_status"
        return
    for parcel in case.shipments:
        if parcel.summary.unmapped:
            yield f"unmapped_scan_moves_nothing:{parcel.number}"
        if parcel.summary.refused:
            yield f"unsure_scan_moves_nothing:{parcel.number}"
    if case.decided_by_people():
        yield "human_wins"
        return
    goal = goal_of(case)
    if (yield from _correct(case, goal)) or (yield from _restore(case, goal)):
        return
    yield from _follow(case, goal)


def _set(
    case: Case, status: OrderStatus, rule: str, happened_at: datetime | None, parcel: Shipment | None = None
) -> Iterator[str | Action]:
    order = case.order
    summary = parcel.summary if parcel else None
    yield f"write:{rule}"
    yield Action(
        kind="order_status",
        key=f"{order.store}/{order.ref}/status/{status}/{_epoch(order)}",
        store=order.store,
        order=order.ref,
        status=summary.status if summary else S.UNKNOWN,
        reason=summary.reason if summary else None,
        happened_at=happened_at or case.now,
        place=summary.place if summary else NOWHERE,
        edd=estimate(parcel),
        rules=(rule, f"policy:{case.policy.name}", case.owned_by),
        target=status,
        before=order.status,
        parcels=tuple(p for f in order.fulfilments if f.live for p in f.parcels),
        number=order.number,
    )


def _epoch(order: Order) -> str:
    """Name the order's present stand: a write asked for again after a change has another key."""
    history = order.history
    return f"{len(history)}-{int(history[-1].at.timestamp())}" if history else "0"


def _further(there: OrderStatus, here: OrderStatus) -> bool:
    """Say whether a status lies ahead of another; out for delivery and failed take turns."""
    if there.rank is None or here.rank is None or there is here:
        return False
    return there.rank > here.rank or there.rank == here.rank < 100


# what people said


def _correct(case: Case, goal: Goal) -> Spoke:
    """Let a person correct a status: once, and never out of what people decided."""
    said = case.said(StatementKind.CORRECTION)
    if said is None or said.status is None or said.status is case.order.status:
        return False
    if any(snapshot.at >= said.at for snapshot in case.order.history):
        return False  # the order moved since: it was done, or somebody's newer word stands
    if said.status not in case.policy.order_words:
        yield f"status_not_expressible:{said.status}"
        return True
    if gates.into_processing(case.order, case.policy, said.status):
        yield "never_into_processing"
        return False
    gate = gates.may(case.order, case.shipments, case.policy, said.status, reason=said.text)
    if not gate.allowed and not said.override:  # held, refunded, disputed never come here
        yield f"gate:{gate.rule}"
        return False
    yield from _set(case, _or_goal(case, goal, said.status, said.at), f"correction:{said.by}", said.at)
    return True


def _or_goal(case: Case, goal: Goal, status: OrderStatus, after: datetime | None) -> OrderStatus:
    """Return the carriers' status where it is further than `status`, newer than `after`, and may be written."""
    if goal.status is None or _blocked(case, goal, goal.status):
        return status
    back = status is O.DELIVERED and case.policy.corrections and case.corrected()
    if not _further(goal.status, status) and not back:
        return status
    return goal.status if after is None or (goal.since is not None and goal.since > after) else status


# what somebody changed in the shop


def _restore(case: Case, goal: Goal) -> Spoke:
    """KE-03: put back the last status of the system where somebody changed it whom the policy does not let."""
    order, policy = case.order, case.policy
    if case.owner is not Owner.PLATFORM or not policy.restore_from:
        return False
    current, before = _edit(order)
    if current is None or (order.status not in SHIPPING and before[-1].status not in SHIPPING):
        return False
    evidence = {
        "actor": order.actor, "from": before[-1].raw, "to": order.raw_status,
        "read_before": minute(current.read_before) or "never", "read_at": minute(current.at),
    }  # fmt: skip
    if order.actor == "unknown":
        wrong = order.status in SHIPPED and goal.status is not order.status
        if wrong:
            yield "unknown_actor_is_not_restored"
            yield finding(case, K.SYSTEM_CONTROLLED_EDIT, WARNING, Act.MONITOR, evidence, since=current.at)
        return wrong
    if order.actor not in policy.restore_from:
        return False
    if goal.status is order.status:
        yield "edit_agrees_with_carrier"
        return False
    last = next((s for s in reversed(before) if s.actor in policy.system), None)
    left = _left_so(case, before, last, current.at)
    proposal = "" if left or last is None else f"restore {policy.order_words[last.status]!r}"
    yield finding(case, K.SYSTEM_CONTROLLED_EDIT, WARNING, Act.MONITOR, evidence, since=current.at, proposal=proposal)
    if left or last is None:
        yield left
    else:
        yield from _set(case, _or_goal(case, goal, last.status, None), "restore", current.at)
    return True


def _edit(order: Order) -> tuple[StatusSnapshot | None, list[StatusSnapshot]]:
    """Return where the order's present status was first read of its actor, and the stands before; None: it was never another."""
    before = list(order.history)
    if len(before) < 2:
        return None, before
    current = before.pop()
    while before and before[-1].status is order.status and before[-1].actor == order.actor:
        current = before.pop()
    if not before or before[-1].status is order.status:
        return None, before
    return current, before


def _left_so(case: Case, before: list[StatusSnapshot], last: StatusSnapshot | None, edited_at: datetime) -> str:
    """Name the rule by which an edit is not undone, though the policy restores; empty where the last status is put back."""
    newer = before[before.index(last) + 1 :] if last else before
    if last is None or any(s.status in HELD for s in newer):
        return "no_system_value_to_restore"
    if last.status not in case.policy.order_words:
        return f"status_not_expressible:{last.status}"
    if last.status is O.PROCESSING and not case.policy.restore_processing:
        return "no_restore_into_processing"
    if not last.status.reaches(O.PROCESSING):
        return "no_restore_before_processing"
    if last.status in case.policy.withheld:
        return f"side_effect_not_named:{last.status}"
    return "before_connected" if case.too_old(edited_at) else ""


# what the carriers say


def _follow(case: Case, goal: Goal) -> Iterator[Said]:
    """Write where the parcels are, or say by rule why not."""
    order, status = case.order, goal.status
    if status is None:
        yield goal.rule
        yield from _ahead(case)
        return
    if status is order.status:
        yield "in_step"
        return
    if not _further(status, order.status):
        if order.status is O.DELIVERED and case.corrected():
            yield from _carrier_correction(case, goal, status)
            return
        yield "no_step_back"
        yield from _ahead(case)
        return
    stated = case.said(StatementKind.CORRECTION)
    if stated is not None and stated.status is order.status and goal.since and goal.since <= stated.at:
        yield "corrected_by_person"
        return
    if blocked := _blocked(case, goal, status):
        yield blocked
        if blocked in ("worker_writes_it_not", "side_effect_not_named", NOT_FROM_HERE):
            yield from _behind(case, goal, status)
        return
    if not (yield from _bounces(case, status)):
        yield from _set(case, status, f"carrier:{goal.rule}", goal.since, goal.parcel)


def _blocked(case: Case, goal: Goal, status: OrderStatus) -> str:
    """Name the rule that keeps a goal from being written; empty where it may be."""
    policy = case.policy
    if any(not p.summary.confirmed for p in goal.parcels) and policy.wait_for_confirmation:
        return "waits_for_confirmation"
    if any(p.summary.disputed for p in goal.parcels):
        return "waits_sources_disagree"
    gate = gates.may(case.order, case.shipments, policy, status, person=False)
    if not gate.allowed:
        return f"gate:{gate.rule}"
    if status not in policy.order_words:
        return f"status_not_expressible:{status}"
    written = policy.writes.get(case.owner, frozenset())
    if status not in written and not (status is O.PARTIALLY_SHIPPED and O.SHIPPED in written):
        return "worker_writes_it_not"
    return _kept_back(case, status) or ("before_connected" if case.too_old(goal.since) else "")


def _kept_back(case: Case, status: OrderStatus) -> str:
    """Name the rule that keeps a status of those that the worker writes from this order; empty where none does."""
    policy = case.policy
    if status in policy.withheld:
        return "side_effect_not_named"
    return "" if policy.leads_to(case.order.status, status) else NOT_FROM_HERE


def _behind(case: Case, goal: Goal, status: OrderStatus) -> Iterator[Said]:
    """Tell that the parcels are further than the shop says, and that somebody else must say so there."""
    told = goal.parcel.summary.status if goal.parcel else ""
    beside, word = case.policy.withheld.get(status, ""), case.policy.order_words[status]
    evidence = {"shop": case.order.raw_status, "carrier": told, "means": status, "beside": beside}
    proposal = f"set the order to {word!r} in the shop" if not case.remedies_closed() else ""
    proposal += f", or name {status} in policy.side_effects" if proposal and beside else ""
    yield finding(case, K.ORDER_BEHIND, WARNING, case.hands(), evidence, since=goal.since, proposal=proposal)


def _carrier_correction(case: Case, goal: Goal, status: OrderStatus) -> Iterator[Said]:
    """Follow a carrier that took back its Delivered: written only where the policy accepts corrections."""
    policy = case.policy
    sure = all(p.summary.confirmed and not p.summary.disputed for p in goal.parcels)
    ours = status in policy.writes.get(case.owner, frozenset()) and status in policy.order_words
    ours = ours and not _kept_back(case, status)
    written = policy.corrections and ours and sure and not case.too_old(goal.since)
    if written and not (yield from _bounces(case, status)):
        yield from _set(case, status, "carrier_correction", goal.since, goal.parcel)
    else:
        yield "no_step_back"


def _ahead(case: Case) -> Iterator[Said]:
    """KE-06: the shop says more than the carrier; found after a grace, never taken back."""
    order, policy, shipments = case.order, case.policy, case.shipments
    if policy.ahead_after is None or case.owner is Owner.SELLER or not shipments:
        return
    if order.status not in SHIPPED or any(p.summary.status in BACK_OR_GONE for p in shipments):
        return
    delivered = all(p.summary.status is S.DELIVERED for p in shipments)
    custody = any(p.summary.custody_at is not None for p in shipments)
    if delivered or (custody and order.status is not O.DELIVERED):
        return
    if all(p.asked_until is None for p in shipments):
        yield "nobody_asked_the_carrier"
        return
    since = began(order)
    stated = case.said(StatementKind.HANDED_OVER if order.status is not O.DELIVERED else StatementKind.PROOF)
    if stated is not None and stated.at >= since:
        yield "stated_by_person"
        return
    if order.status is O.DELIVERED and case.corrected():
        return  # it is told as a correction
    if case.now < since + policy.ahead_after:
        yield since + policy.ahead_after
        return
    evidence = {"shop": order.raw_status, **gates.last_scan(shipments)}
    yield finding(case, K.ORDER_AHEAD, WARNING, case.hands(), evidence, since=since)


def _bounces(case: Case, status: OrderStatus) -> Spoke:
    """Stop writing a status that the shop does not keep: at the third time in a day, or at once where it is told and not fought."""
    history, fights = case.order.history, case.policy.rewrites
    most = BOUNCES if fights else 1
    ours = [
        i
        for i, snapshot in enumerate(history)
        if snapshot.actor == US
        and snapshot.status is status
        and i + 1 < len(history)
        and (
            case.now - snapshot.at < A_DAY if fights else history[i + 1].actor != US
        )  # what we wrote next undid nothing
    ]
    if len(ours) < most:
        return False
    if fights:
        yield history[ours[-most]].at + A_DAY
    yield "does_not_stay"
    evidence = {"status": status, "written": str(len(ours)), "shop": case.order.raw_status}
    proposal = (
        ""
        if fights
        else f"something there saved over it: set the order to {case.policy.order_words[status]!r} in the shop"
    )
    yield finding(case, K.WRITE_REFUSED, WARNING, Act.ACT, evidence, since=history[-1].at, proposal=proposal)
    return True
