"""Compare the shop's truth with the carriers', and answer what to write and what a person must look at.

Pure and total. Proved in tests/domain over the whole state space: applying the actions and reconciling again asks for
nothing more; no step back but a restore or an accepted correction; nothing is written out of cancelled, held, refunded
or disputed; Delivered only when every piece that is still wanted is delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tracker.domain import gates
from tracker.domain.facts import (
    NOWHERE,
    Action,
    Decision,
    Finding,
    Fulfilment,
    Order,
    Published,
    Shipment,
    Stand,
    Statement,
)
from tracker.domain.gates import HELD, MONEY_BACK
from tracker.domain.numbers import doubtful
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import (
    Act,
    FindingKind,
    NoticeClass,
    OrderStatus,
    Owner,
    PaymentStatus,
    Reason,
    Severity,
    ShippingStatus,
    StatementKind,
    TrackingState,
)

S, K, O, P, N = ShippingStatus, FindingKind, OrderStatus, PaymentStatus, NoticeClass
URGENT, WARNING, INFO = Severity.URGENT, Severity.WARNING, Severity.INFO
US = "trackwright"
MOST_TYPED = 200  # characters of what people typed that evidence shows
LOOK_AGAIN = timedelta(hours=6)  # at a silence that nobody has heard yet
BOUNCES = 3  # a status that did not stay so often within a day is not written again
A_DAY = timedelta(days=1)
_PROBLEMS = frozenset({S.ON_HOLD, S.DELAYED, S.EXCEPTION})
_BACK_OR_GONE = frozenset({S.RETURNED, S.LOST, S.DESTROYED, S.CANCELLED})
_NOT_FORWARD = _BACK_OR_GONE | {S.RETURNING, S.DELIVERY_FAILED}
_SHIPPING = frozenset(s for s in O if s.rank is not None and s.rank >= 30)
_SHIPPED = frozenset(s for s in O if s.rank is not None and s.rank >= 40)
_CUSTOMS = frozenset({
    Reason.CUSTOMS_HOLD, Reason.EXPORT_CUSTOMS_HOLD, Reason.CUSTOMS_PROCESSING, Reason.EXPORT_CUSTOMS_PROCESSING,
    Reason.DUTIES_UNPAID, Reason.DOCUMENTS_REQUIRED, Reason.CUSTOMS_INSPECTION, Reason.CUSTOMS, Reason.PRE_CLEARANCE_HOLD,
})  # fmt: skip

# status of the parcel -> finding that stands while the status does
_STANDING: dict[ShippingStatus, tuple[FindingKind, Severity, Act]] = {
    S.DELIVERY_ATTEMPTED: (K.ATTEMPT_FAILED, WARNING, Act.FOLLOW_UP),
    S.DELIVERY_FAILED: (K.ATTEMPT_FAILED, WARNING, Act.FOLLOW_UP),
    S.RETURNED: (K.RETURNED_AWAITING_INSPECTION, WARNING, Act.ACT),
    S.LOST: (K.LOST_OR_DESTROYED, URGENT, Act.ACT),
    S.DESTROYED: (K.LOST_OR_DESTROYED, URGENT, Act.ACT),
}
_NOTICE_OF = {
    S.OUT_FOR_DELIVERY: N.OUT_FOR_DELIVERY,
    S.DELAYED: N.DELAYED,
    S.DELIVERED: N.DELIVERED,
}


# One fact is one finding: what stands on the right is told by the finding on the left, of the same parcel or order.
_WHILE_IT_MOVES = (K.ATTEMPT_FAILED, K.ADDRESS_PROBLEM, K.STUCK, K.DELIVERY_OVERDUE, K.PICKUP_EXPIRING)
TOLD_BY: tuple[tuple[FindingKind, tuple[FindingKind, ...]], ...] = (
    (K.CANCELLED_BUT_MOVING, _WHILE_IT_MOVES),
    (K.REFUNDED_BUT_MOVING, _WHILE_IT_MOVES),
    (K.CORRECTION_AFTER_DELIVERED, (K.SOURCES_DISAGREE,)),
    (K.STUCK, (K.DELIVERY_OVERDUE,)),
    (K.LABEL_NEVER_SCANNED, (K.DELIVERY_OVERDUE,)),
    (K.TRACKING_NUMBER_DOUBTFUL, (K.LABEL_NEVER_SCANNED,)),
    (K.TRACKING_NUMBER_UNREADABLE, (K.SHIPPED_WITHOUT_TRACKING,)),
    (K.UNPAID_SHIPPED, (K.PAYMENT_FAILED,)),
    (K.UNPAID_PROCESSING, (K.PAYMENT_FAILED,)),
)


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
    case = _Case(order, shipments, policy, now, connected_at)
    if order.gone:  # nothing is written, and nothing is asked of an order that is not there
        case.gone()
    else:
        for fulfilment in order.fulfilments:
            case.publish(fulfilment)
        case.order_status()
        case.check()
    for shipment in shipments:
        case.look_at(shipment)
    if not order.gone:
        case.clocks()
        case.tell_customer()
    case.tell_once()
    return Decision(
        actions=tuple(case.actions),
        findings=tuple(case.findings.values()),
        because=tuple(case.because),
        look_again_at=min((at for at in case.wake if at > now), default=None),
    )


def apply(order: Order, action: Action, word: str) -> Order:
    """Return the order as it stands once the shop has taken the action; `word` is what the shop shows."""
    if action.kind == "order_status" and action.target is not None:
        before = order.history[-1].at if order.history else order.placed_at
        at = max(
            before, action.happened_at, *(said.at for said in order.statements)
        )  # a write comes after all of these
        stand = Stand(at, action.target, word, order.payment, US, before)
        return replace(
            order, status=action.target, raw_status=word, actor=US, status_at=at, history=(*order.history, stand)
        )
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


def aggregate(parcels: Sequence[Shipment]) -> Shipment | None:
    """Choose the parcel that speaks for a fulfilment of several.

    Voided labels do not count. Delivered only when all are; else the least advanced one, preferring one without a
    problem. None when nothing is known.
    """
    counted = [p for p in parcels if p.summary.status is not S.CANCELLED] or list(parcels)
    if not counted:
        return None
    under_way = [p for p in counted if p.summary.status is not S.DELIVERED]
    if not under_way:
        return max(counted, key=lambda p: (p.summary.since is not None and p.summary.since.timestamp(), p.number))
    pool = [p for p in under_way if p.summary.status not in _PROBLEMS] or under_way
    return min(pool, key=lambda p: (p.summary.status.rank, p.number))


def shipped_quantities(parts: Iterable[Fulfilment]) -> dict[str, int]:
    """Add up the pieces in some fulfilments, by item."""
    found: dict[str, int] = {}
    for part in parts:
        for ref, count in part.quantities:
            found[ref] = found.get(ref, 0) + count
    return found


def by_number(shipments: Iterable[Shipment]) -> dict[str, list[Shipment]]:
    """Return shipments by their numbers: a number may have had several journeys, and several carriers."""
    found: dict[str, list[Shipment]] = {}
    for shipment in shipments:
        found.setdefault(shipment.number, []).append(shipment)
    return found


def covers(order: Order, parts: Sequence[Fulfilment]) -> bool:
    """Say whether some fulfilments hold every piece that is still wanted: ordered - refunded - cancelled."""
    if not parts:
        return False
    wanted = {i.ref: i.ordered - i.removed for i in order.items if i.shippable and i.ordered > i.removed}
    live = [f for f in order.fulfilments if f.live]
    if not wanted or not any(f.quantities for f in live):
        # the shop tells no quantities: then every live fulfilment must be there, and the shop must not know of more
        gone = order.items and not wanted  # items are told, and none of them is wanted any more
        return len(parts) == len(live) and order.status is not OrderStatus.PARTIALLY_SHIPPED and not gone
    there = shipped_quantities(parts)
    return all(there.get(ref, 0) >= count for ref, count in wanted.items())


def still_moves(order: Order, parcel: Shipment) -> bool:
    """Say whether a parcel of a cancelled order was handed over and neither came back nor arrived before the cancel."""
    summary = parcel.summary
    if summary.custody_at is None or summary.status in _BACK_OR_GONE:
        return False
    delivered = summary.delivered_at
    return not (delivered and order.cancelled_at and delivered <= order.cancelled_at)


def began(order: Order) -> datetime:
    """Return when the order's present status began, as well as we know."""
    if order.status_at is not None:
        return order.status_at
    at = order.placed_at
    for stand in reversed(order.history):
        if stand.status is not order.status:
            break
        at = stand.at
    return at


@dataclass(frozen=True)
class _Goal:
    """Where the parcels say the order should be; `status` None: `rule` says why nowhere."""

    status: OrderStatus | None
    rule: str
    parcel: Shipment | None = None
    since: datetime | None = None
    parcels: tuple[Shipment, ...] = ()


@dataclass
class _Case:
    """One order on the table: facts in, decision out."""

    order: Order
    shipments: Sequence[Shipment]
    policy: Policy
    now: datetime
    connected_at: datetime | None
    actions: list[Action] = field(default_factory=list)
    findings: dict[tuple[str, FindingKind], Finding] = field(default_factory=dict)
    because: list[str] = field(default_factory=list)
    wake: list[datetime] = field(default_factory=list)
    goal: _Goal = field(default_factory=lambda: _Goal(None, "none"))

    def __post_init__(self) -> None:
        self.owner, self.owned_by = self.policy.owner_of(self.order)
        self.by_number = by_number(self.shipments)
        self.moves = bool(self.policy.means)  # the policy knows order statuses, beyond publishing

    # small words

    def rule(self, name: str) -> None:
        self.because.append(name)

    def after(self, moment: datetime) -> bool:
        """Say whether a moment has come; if not, look again then."""
        self.wake.append(moment)
        return self.now >= moment

    def silent(self, parcel: Shipment, due: datetime) -> bool:
        """Say whether a parcel's silence has lasted until `due`, and somebody asked who could have heard more."""
        if not self.after(due) or parcel.asked_until is None:
            return False  # nobody asked: that is no word of the carrier
        if parcel.asked_until < due:
            self.wake.append(self.now + LOOK_AGAIN)
            return False
        return True

    def find(
        self,
        kind: FindingKind,
        severity: Severity,
        act: Act,
        evidence: Mapping[str, object],
        *,
        since: datetime | None = None,
        parcel: Shipment | None = None,
        proposal: str = "",
    ) -> None:
        """Open a finding about the order, or about one of its parcels. The worst of two of a kind stays."""
        order = self.order
        subject = f"{order.store}/{order.number}"
        facts = {"order": order.number, "owner": str(self.owner), "method": order.method}
        if parcel is not None:
            subject += f"/{parcel.carrier}/{parcel.number}"
            facts["parcel"] = f"{parcel.carrier} {parcel.number}"
        facts |= {name: str(value) for name, value in evidence.items()}
        if not proposal and self.owner is Owner.PLATFORM and kind in _SUPPORTED:
            proposal = f"send the support packet: tracker evidence {order.number}"
        known = self.findings.get((subject, kind))
        if known is None or severity.rank > known.severity.rank:
            self.findings[subject, kind] = Finding(
                kind, subject, severity, act, {k: v for k, v in facts.items() if v}, since, proposal
            )

    def hands(self) -> Act:
        """KE-13: what the seller must do himself, and what the platform does for him."""
        return Act.MONITOR if self.owner is Owner.PLATFORM else Act.ACT

    def checked(self, kind: FindingKind) -> bool:
        return kind in self.policy.checks

    def parcels_of(self, fulfilment: Fulfilment) -> list[Shipment]:
        return [s for p in fulfilment.parcels for s in self.by_number.get(p.number, ())]

    def too_old(self, at: datetime | None) -> bool:
        return self.connected_at is not None and (at is None or at < self.connected_at)

    def said(self, kind: StatementKind) -> Statement | None:
        return next((s for s in reversed(self.order.statements) if s.kind is kind), None)

    def epoch(self) -> str:
        """Name the order's present stand: a write asked for again after a change has another key."""
        history = self.order.history
        return f"{len(history)}-{int(history[-1].at.timestamp())}" if history else "0"

    def gone(self) -> None:
        """Tell that the shop holds the order no more, or that its permission lets us read it no more."""
        moving = [f"{p.carrier} {p.number}" for p in self.shipments if not p.summary.status.terminal]
        evidence = {"why": self.order.gone, "shop": self.order.raw_status, "under_way": ", ".join(moving)}
        if self.order.gone == "out_of_sight":
            self.rule("order_out_of_sight")
            heal = "give the app the shop's permission to read all orders"
            self.find(K.ORDER_OUT_OF_SIGHT, INFO, Act.ACT, evidence, proposal=heal)
            return
        self.rule("order_gone")
        heal = "a person decides: restore the order in the shop, or have its parcels come back" if moving else ""
        self.find(K.ORDER_GONE, WARNING if moving else INFO, Act.ACT, evidence, proposal=heal)

    # what the shop shows of a fulfilment

    def publish(self, fulfilment: Fulfilment) -> None:
        """Show the shipping status of one fulfilment in the shop, or say by rule why not."""
        order, policy = self.order, self.policy
        if not policy.words:
            return None

        def rule(name: str) -> None:
            self.rule(f"{name}:{fulfilment.ref}")

        parcel = aggregate(self.parcels_of(fulfilment))
        if parcel is None:
            return rule("no_tracked_parcel")
        summary, shown = parcel.summary, fulfilment.published
        word = policy.words.get(summary.status)
        since = summary.since
        if since is None or summary.status is S.UNKNOWN:
            return rule("nothing_known")
        if not fulfilment.live:
            return rule("fulfilment_cancelled")
        if shown is not None and shown.raw == word:
            return rule("in_step")
        if order.status in HELD or order.payment in MONEY_BACK:
            return rule("human_wins")
        if not summary.confirmed and policy.wait_for_confirmation:
            return rule("waits_for_confirmation")
        if word is None:
            return rule("no_word")
        if shown is not None and shown.status is S.DELIVERED:
            rule("never_back_from_delivered")
            if not summary.corrected:  # else it is told as a correction, once
                evidence = {"shop": shown.raw, "carrier": summary.status}
                self.find(K.ORDER_AHEAD, WARNING, Act.ACT, evidence, since=since, parcel=parcel)
            return None
        if self.too_old(since):
            return rule("before_connected")
        if order.partial and (summary.status is S.DELIVERED or shown is None):  # what is shown may be what was not read
            return rule("partly_read")
        if shown is not None and shown.happened_at > since and not summary.status.terminal:
            return rule("shop_is_newer")
        rule("publish")
        self.actions.append(
            Action(
                kind="fulfilment_event",
                key=f"{order.store}/{order.ref}/{fulfilment.ref}/event/{summary.status}/{summary.run}",
                store=order.store,
                order=order.ref,
                fulfilment=fulfilment.ref,
                status=summary.status,
                reason=summary.reason,
                happened_at=since,
                place=summary.run_place,
                edd=_estimate(parcel),
                rules=(f"publish:{policy.name}",),
                number=order.number,
            )
        )
        return None

    # the order's own status

    def order_status(self) -> None:
        """Decide whether the order's status is written, by the first rule that speaks."""
        if not self.moves:
            return None
        order, policy = self.order, self.policy
        self.rule(self.owned_by)
        if self.owner is Owner.UNKNOWN:
            self.find(K.UNKNOWN_OWNER, WARNING, Act.ACT, {"rule": self.owned_by, "service": order.service})
            return self.rule("unknown_owner")
        if order.status is O.UNKNOWN:
            return self.rule("unknown_order_status")
        self.goal = self._goal()
        for parcel in self.shipments:
            if parcel.summary.unmapped:
                self.rule(f"unmapped_scan_moves_nothing:{parcel.number}")
            if parcel.summary.refused:
                self.rule(f"unsure_scan_moves_nothing:{parcel.number}")
        if order.status in HELD or order.payment in MONEY_BACK:
            return self.rule("human_wins")
        if self._correct() or self._restore():
            return None
        goal = self.goal
        if goal.status is None:
            self.rule(goal.rule)
            return self._ahead()
        if goal.status is order.status:
            return self.rule("in_step")
        if not _further(goal.status, order.status):
            if order.status is O.DELIVERED and any(p.summary.corrected for p in self.shipments):
                return self._carrier_correction(goal)
            self.rule("no_step_back")
            return self._ahead()
        stated = self.said(StatementKind.CORRECTION)
        if stated is not None and stated.status is order.status and goal.since and goal.since <= stated.at:
            return self.rule("corrected_by_person")
        blocked = self._blocked(goal)
        if blocked:
            self.rule(blocked)
            if blocked == "worker_writes_it_not":
                word = policy.order_words[goal.status]
                told = goal.parcel.summary.status if goal.parcel else ""
                evidence = {"shop": order.raw_status, "carrier": told, "means": goal.status}
                proposal = f"set the order to {word!r} in the shop" if not self.remedies_closed() else ""
                self.find(K.ORDER_BEHIND, WARNING, self.hands(), evidence, since=goal.since, proposal=proposal)
            return None
        if self._bounces(goal.status):
            return None
        return self._set(goal.status, f"carrier:{goal.rule}", goal.since, goal.parcel)

    def _blocked(self, goal: _Goal) -> str:
        """Name the rule that keeps a goal from being written; empty where it may be."""
        policy = self.policy
        assert goal.status is not None
        if any(not p.summary.confirmed for p in goal.parcels) and policy.wait_for_confirmation:
            return "waits_for_confirmation"
        if any(p.summary.disputed for p in goal.parcels):
            return "waits_sources_disagree"
        gate = gates.may(self.order, self.shipments, policy, goal.status, person=False)
        if not gate.allowed:
            return f"gate:{gate.rule}"
        if goal.status not in policy.order_words:
            return f"status_not_expressible:{goal.status}"
        written = policy.writes.get(self.owner, frozenset())
        if goal.status not in written and not (goal.status is O.PARTIALLY_SHIPPED and O.SHIPPED in written):
            return "worker_writes_it_not"
        return "before_connected" if self.too_old(goal.since) else ""

    def _or_goal(self, status: OrderStatus, after: datetime | None) -> OrderStatus:
        """Return the carriers' status where it is further than `status`, newer than `after`, and may be written."""
        goal = self.goal
        if goal.status is None or self._blocked(goal):
            return status
        back = status is O.DELIVERED and self.policy.corrections and any(p.summary.corrected for p in self.shipments)
        if not _further(goal.status, status) and not back:
            return status
        return goal.status if after is None or (goal.since is not None and goal.since > after) else status

    def _goal(self) -> _Goal:
        """Say where the parcels put the order: all or nothing (MG-13, KR-05, KE-08)."""
        table = self.policy.means.get(self.owner, {})
        if not table:
            return _Goal(None, "owner_sets_its_own_status")
        if self.order.partial:
            return _Goal(None, "partly_read")
        parts: list[tuple[Fulfilment, list[Shipment]]] = []
        for fulfilment in self.order.fulfilments:
            if fulfilment.live:
                told = self.parcels_of(fulfilment)
                parts.append((fulfilment, [p for p in told if p.summary.status is not S.CANCELLED]))
        every = tuple(p for _, parcels in parts for p in parcels)
        if not every:
            return _Goal(None, "no_tracked_parcel")
        delivered = [f for f, parcels in parts if parcels and all(p.summary.status is S.DELIVERED for p in parcels)]
        if covers(self.order, delivered):
            last = max(every, key=lambda p: (_stamp(p.summary.since), p.number))
            status = table.get(S.DELIVERED)
            return _Goal(status, "delivered" if status else "no_meaning:delivered", last, last.summary.since, every)
        custody = [f for f, parcels in parts if parcels and all(p.summary.custody_at for p in parcels)]
        if not covers(self.order, custody):
            some = [p for p in every if p.summary.custody_at is not None]
            if not some:
                return _Goal(None, "not_handed_over")
            partly = O.PARTIALLY_SHIPPED
            if partly not in self.policy.order_words or S.PICKED_UP not in table:
                return _Goal(None, "waits_for_all")
            first = min(some, key=lambda p: (_stamp(p.summary.custody_at), p.number))
            return _Goal(partly, "partly_handed_over", first, first.summary.custody_at, (first,))
        parcel = aggregate(every)
        assert parcel is not None
        status_now = parcel.summary.status
        if status_now is S.RETURNED and any(p.summary.status is not S.RETURNED for p in every):
            return _Goal(None, "mixed_ends", parcel)
        wanted = table.get(status_now)
        handed = max((p.summary.custody_at for p in every if p.summary.custody_at), default=None)
        if wanted is not None:
            since = handed if wanted is O.SHIPPED else parcel.summary.since
            return _Goal(wanted, str(status_now), parcel, since, every)
        if status_now in _NOT_FORWARD:
            return _Goal(None, f"no_meaning:{status_now}", parcel)
        handed_over = table.get(S.PICKED_UP)
        return _Goal(handed_over, "handed_over" if handed_over else f"no_meaning:{status_now}", parcel, handed, every)

    def _set(self, status: OrderStatus, rule: str, happened_at: datetime | None, parcel: Shipment | None) -> None:
        order = self.order
        self.rule(f"write:{rule}")
        summary = parcel.summary if parcel else None
        self.actions.append(
            Action(
                kind="order_status",
                key=f"{order.store}/{order.ref}/status/{status}/{self.epoch()}",
                store=order.store,
                order=order.ref,
                status=summary.status if summary else S.UNKNOWN,
                reason=summary.reason if summary else None,
                happened_at=happened_at or self.now,
                place=summary.place if summary else NOWHERE,
                edd=_estimate(parcel),
                rules=(rule, f"policy:{self.policy.name}", self.owned_by),
                target=status,
                before=order.status,
                parcels=tuple(p for f in order.fulfilments if f.live for p in f.parcels),
                number=order.number,
            )
        )

    def _correct(self) -> bool:
        """Let a person correct a status: once, and never out of what people decided."""
        said = self.said(StatementKind.CORRECTION)
        if said is None or said.status is None or said.status is self.order.status:
            return False
        if any(stand.at >= said.at for stand in self.order.history):
            return False  # the order moved since: it was done, or somebody's newer word stands
        if said.status not in self.policy.order_words:
            self.rule(f"status_not_expressible:{said.status}")
            return True
        if gates.into_processing(self.order, self.policy, said.status):
            self.rule("never_into_processing")
            return False
        gate = gates.may(self.order, self.shipments, self.policy, said.status, reason=said.text)
        if not gate.allowed and not said.override:  # held, refunded, disputed never come here
            self.rule(f"gate:{gate.rule}")
            return False
        self._set(self._or_goal(said.status, said.at), f"correction:{said.by}", said.at, None)
        return True

    def _restore(self) -> bool:
        """KE-03: put back the last status of the system where somebody changed it whom the policy does not let."""
        order, policy = self.order, self.policy
        if self.owner is not Owner.PLATFORM or not policy.restore_from or len(order.history) < 2:
            return False
        run = list(order.history)
        current = run.pop()
        while run and run[-1].status is order.status and run[-1].actor == order.actor:
            current = run.pop()
        if not run or run[-1].status is order.status:
            return False
        before = run[-1]
        if order.status not in _SHIPPING and before.status not in _SHIPPING:
            return False
        evidence = {
            "actor": order.actor, "from": before.raw, "to": order.raw_status,
            "read_before": f"{current.read_before:%Y-%m-%d %H:%M}Z" if current.read_before else "never",
            "read_at": f"{current.at:%Y-%m-%d %H:%M}Z",
        }  # fmt: skip
        if order.actor == "unknown":
            wrong = order.status in _SHIPPED and self.goal.status is not order.status
            if wrong:
                self.rule("unknown_actor_is_not_restored")
                self.find(K.SYSTEM_CONTROLLED_EDIT, WARNING, Act.MONITOR, evidence, since=current.at)
            return wrong
        if order.actor not in policy.restore_from:
            return False
        if self.goal.status is order.status:
            self.rule("edit_agrees_with_carrier")
            return False
        last = next((s for s in reversed(run) if s.actor in policy.system), None)
        newer = run[run.index(last) + 1 :] if last else run
        word = policy.order_words.get(last.status) if last else None
        undone = ""
        if last is None or any(s.status in HELD for s in newer):
            undone = "no_system_value_to_restore"
        elif word is None:
            undone = f"status_not_expressible:{last.status}"
        elif last.status is O.PROCESSING and not policy.restore_processing:
            undone = "no_restore_into_processing"
        elif not last.status.reaches(O.PROCESSING):
            undone = "no_restore_before_processing"
        elif self.too_old(current.at):
            undone = "before_connected"
        proposal = "" if undone or last is None else f"restore {word!r}"
        self.find(K.SYSTEM_CONTROLLED_EDIT, WARNING, Act.MONITOR, evidence, since=current.at, proposal=proposal)
        if undone or last is None:
            self.rule(undone)
        else:
            self._set(self._or_goal(last.status, None), "restore", current.at, None)
        return True

    def _carrier_correction(self, goal: _Goal) -> None:
        """Follow a carrier that took back its Delivered: written only where the policy accepts corrections."""
        assert goal.status is not None
        policy = self.policy
        sure = all(p.summary.confirmed and not p.summary.disputed for p in goal.parcels)
        ours = goal.status in policy.writes.get(self.owner, frozenset()) and goal.status in policy.order_words
        if policy.corrections and ours and sure and not self.too_old(goal.since) and not self._bounces(goal.status):
            return self._set(goal.status, "carrier_correction", goal.since, goal.parcel)
        return self.rule("no_step_back")

    def _ahead(self) -> None:
        """KE-06: the shop says more than the carrier; found after a grace, never taken back."""
        order, policy = self.order, self.policy
        if policy.ahead_after is None or self.owner is Owner.SELLER or not self.shipments:
            return None
        if order.status not in _SHIPPED or any(p.summary.status in _BACK_OR_GONE for p in self.shipments):
            return None
        delivered = all(p.summary.status is S.DELIVERED for p in self.shipments)
        custody = any(p.summary.custody_at is not None for p in self.shipments)
        if delivered or (custody and order.status is not O.DELIVERED):
            return None
        if all(p.asked_until is None for p in self.shipments):
            return self.rule("nobody_asked_the_carrier")
        since = began(order)
        stated = self.said(StatementKind.HANDED_OVER if order.status is not O.DELIVERED else StatementKind.PROOF)
        if stated is not None and stated.at >= since:
            return self.rule("stated_by_person")
        if order.status is O.DELIVERED and any(p.summary.corrected for p in self.shipments):
            return None  # it is told as a correction
        if self.after(since + policy.ahead_after):
            told = gates.last_scan(self.shipments)
            self.find(K.ORDER_AHEAD, WARNING, self.hands(), {"shop": order.raw_status, **told}, since=since)
        return None

    def _bounces(self, status: OrderStatus) -> bool:
        """Stop writing a status that the shop does not keep."""
        history = self.order.history
        ours = [
            i
            for i, stand in enumerate(history)
            if stand.actor == US and stand.status is status and self.now - stand.at < A_DAY and i + 1 < len(history)
        ]
        if len(ours) < BOUNCES:
            return False
        self.wake.append(history[ours[-BOUNCES]].at + A_DAY)
        self.rule("does_not_stay")
        evidence = {"status": status, "written": str(len(ours)), "shop": self.order.raw_status}
        self.find(K.WRITE_REFUSED, WARNING, Act.ACT, evidence, since=history[-1].at)
        return True

    def remedies_closed(self) -> bool:
        """KE-14, KE-09: no remedy is proposed for P in custody, in customs or in a slowdown."""
        held = gates.in_custody(self.order, self.shipments) is not None
        return (self.owner is Owner.PLATFORM and held) or any(
            p.slow or (p.summary.reason in _CUSTOMS and not p.summary.status.terminal) for p in self.shipments
        )

    # what is looked at in the order itself

    def check(self) -> None:
        """Find what is wrong with the order, as far as its policy asks."""
        order, policy = self.order, self.policy
        status = order.status
        since = began(order)
        shop = {"shop": order.raw_status}
        money = {"payment": order.raw_payment or order.payment}
        custody = [p for p in self.shipments if p.summary.custody_at is not None]
        moved = status in _SHIPPED or bool(custody)
        unpaid = not gates.paid(order, policy)
        if status is O.UNKNOWN and self.checked(K.UNKNOWN_ORDER_STATUS):
            self.find(K.UNKNOWN_ORDER_STATUS, WARNING, Act.ACT, shop, since=since)
        if order.payment is P.FAILED and status not in HELD:
            if self.checked(K.FAILED_PAYMENT_DISPATCHED) and (moved or status in _SHIPPING):
                self.find(K.FAILED_PAYMENT_DISPATCHED, URGENT, Act.ACT, {**shop, **money}, since=since)
            elif self.checked(K.PAYMENT_FAILED):
                self.find(K.PAYMENT_FAILED, WARNING, Act.ACT, {**shop, **money}, since=since)
        if unpaid and status not in HELD:
            if self.checked(K.UNPAID_SHIPPED) and moved:
                self.find(K.UNPAID_SHIPPED, URGENT, Act.ACT, {**shop, **money}, since=since)
            elif self.checked(K.UNPAID_PROCESSING) and (status.reaches(O.PROCESSING) or moved):
                self.find(K.UNPAID_PROCESSING, WARNING, Act.ACT, {**shop, **money}, since=since)
        dispatched = status in _SHIPPING or bool(custody)
        if self.checked(K.UNVERIFIED_DISPATCH) and dispatched and status not in HELD and not gates.verified(order):
            self.find(K.UNVERIFIED_DISPATCH, URGENT, Act.ACT, {**shop, "pays_by": order.pays_by}, since=since)
        if (
            self.checked(K.DISPATCH_WITHOUT_COURIER)
            and status is O.READY_FOR_DISPATCH
            and not gates.has_tracking(order)
        ):
            self.find(K.DISPATCH_WITHOUT_COURIER, WARNING, Act.ACT, shop, since=since)
        self._tracking(since)
        unreadable = [text for f in order.fulfilments if f.live for text in f.unreadable]
        if unreadable and status is not O.CANCELLED:
            typed = {"typed": " | ".join(unreadable)[:MOST_TYPED]}
            proposal = "put a tracking number in the shop"
            self.find(K.TRACKING_NUMBER_UNREADABLE, WARNING, self.hands(), typed, since=since, proposal=proposal)
        if self.checked(K.ADDRESS_UNCONFIRMED) and moved and order.address in ("missing", "flagged", "unconfirmed"):
            if not all(p.summary.status is S.DELIVERED for p in self.shipments) or not self.shipments:
                self.find(K.ADDRESS_UNCONFIRMED, WARNING, self.hands(), {"address": order.address, **shop}, since=since)
        self._quantities(since)
        if self.checked(K.OUT_OF_STOCK) and status not in HELD and status is not O.DELIVERED:
            short = [i.name or i.ref for i in order.items if i.short and i.ordered > i.removed]
            if short:
                self.find(K.OUT_OF_STOCK, WARNING, Act.ACT, {"items": ", ".join(short)}, since=since)
        if self.checked(K.DELIVERED_BEFORE_SHIPPED) and self.owner is Owner.SELLER and status is O.DELIVERED:
            stands = [s.status for s in order.history]
            if len(set(stands)) > 1 and not any(s in _SHIPPED and s is not O.DELIVERED for s in stands):
                self.find(K.DELIVERED_BEFORE_SHIPPED, WARNING, Act.ACT, shop, since=since)
        self._remedies(custody)

    def _tracking(self, since: datetime) -> None:
        """MG-04, KE-20: shipped without a number; required, warned or not asked, by owner."""
        order, policy = self.order, self.policy
        wanted = policy.tracking.get(self.owner, "none")
        if wanted == "none" or order.status not in _SHIPPED or gates.has_tracking(order):
            return
        if order.status is O.DELIVERED and self.said(StatementKind.PROOF):
            return
        if self.after(since + policy.tracking_grace.get(self.owner, timedelta(0))):
            severity = WARNING if wanted == "required" else INFO
            self.find(K.SHIPPED_WITHOUT_TRACKING, severity, self.hands(), {"shop": order.raw_status}, since=since)

    def _quantities(self, since: datetime) -> None:
        """MG-12: shipped pieces against ordered - cancelled - refunded."""
        order = self.order
        live = [f for f in order.fulfilments if f.live]
        if not self.checked(K.QUANTITY_MISMATCH) or order.status in HELD or not any(f.quantities for f in live):
            return
        if order.payment in MONEY_BACK or order.partial:
            return
        shipped = shipped_quantities(live)
        wanted = {i.ref: i.ordered - i.removed for i in order.items if i.shippable}
        more = {r: (n, wanted.get(r, 0)) for r, n in shipped.items() if n > wanted.get(r, 0)}
        whole = order.status in _SHIPPED and order.status is not O.PARTIALLY_SHIPPED
        fewer = {r: (shipped.get(r, 0), n) for r, n in wanted.items() if shipped.get(r, 0) < n} if whole else {}
        wrong = {**fewer, **more}
        if wrong:
            told = ", ".join(f"{ref}: {there} of {asked}" for ref, (there, asked) in sorted(wrong.items()))
            self.find(K.QUANTITY_MISMATCH, WARNING, Act.ACT, {"shipped": told}, since=since)

    def _remedies(self, custody: Sequence[Shipment]) -> None:
        """MG-09, KE-14: money due, and money or goods given while the carrier has the parcel."""
        order = self.order
        if self.checked(K.REFUND_DUE) and order.status is O.CANCELLED:
            if order.payment in (P.PAID, P.PARTIALLY_REFUNDED) and not self.remedies_closed():
                at = order.cancelled_at or began(order)
                self.find(K.REFUND_DUE, WARNING, Act.ACT, {"payment": order.raw_payment}, since=at)
        if not self.checked(K.REMEDY_IN_CUSTODY) or not self.remedies_closed():
            return
        moving = [p for p in custody if not p.summary.status.terminal]
        if not moving:
            return
        first = min(p.summary.custody_at for p in moving if p.summary.custody_at is not None)
        what = ""
        if order.payment in (P.REFUNDED, P.PARTIALLY_REFUNDED):
            paid_back = next((s.at for s in order.history if s.payment is order.payment), None)
            what = "refund" if paid_back is None or paid_back >= first else ""
        elif not order.partial and any(
            f.live and f.shipped_at and f.shipped_at > first and f.quantities for f in order.fulfilments
        ):
            shipped = shipped_quantities([f for f in order.fulfilments if f.live])
            wanted = {i.ref: i.ordered - i.removed for i in order.items}
            what = "resend" if any(n > wanted.get(ref, 0) for ref, n in shipped.items()) else ""
            if what:
                self.findings.pop((f"{order.store}/{order.number}", K.QUANTITY_MISMATCH), None)  # the very pieces
        if what:
            told = gates.last_scan(moving)
            self.find(K.REMEDY_IN_CUSTODY, WARNING, Act.FOLLOW_UP, {"remedy": what, **told}, since=first)

    # what is looked at in a parcel

    def look_at(self, parcel: Shipment) -> None:
        """Collect what a person must know about one parcel, and when time alone would change that."""
        order, policy, summary = self.order, self.policy, parcel.summary
        status, since = summary.status, summary.since
        last: dict[str, str] = {"status": status, "last_place": str(summary.place)}

        def add(
            kind: FindingKind,
            severity: Severity,
            act: Act,
            evidence: Mapping[str, object],
            at: datetime | None = since,
            proposal: str = "",
        ) -> None:
            self.find(kind, severity, act, evidence, since=at, parcel=parcel, proposal=proposal)

        if order.status is O.CANCELLED and still_moves(order, parcel):
            add(K.CANCELLED_BUT_MOVING, URGENT, Act.ACT, last, order.cancelled_at)
        elif (
            summary.custody_at is not None
            and order.payment is P.REFUNDED
            and not status.terminal
            and not (self.checked(K.REMEDY_IN_CUSTODY) and self.remedies_closed())
        ):
            add(K.REFUNDED_BUT_MOVING, WARNING, Act.ACT, last)
        if status in _STANDING and not (status is S.RETURNED and self._inspected(since)):
            kind, severity, act = _STANDING[status]
            act = Act.MONITOR if kind is K.ATTEMPT_FAILED and self.owner is Owner.PLATFORM else act
            add(kind, severity, act, {"reason": summary.reason or "", **last})
        if summary.reason is Reason.ADDRESS_INCORRECT and not status.terminal:
            add(K.ADDRESS_PROBLEM, WARNING, self.hands(), last)
        if summary.unmapped:
            add(K.UNMAPPED_CODE, INFO, Act.ACT, {"scans": str(summary.unmapped)}, summary.last_scan_at)
        if (back := summary.taken_back) is not None:  # whatever the policy writes; what is evidence never changes again
            how = {"gone_since": _minute(back.gone_since), "contradicted_by": back.by, "at": _minute(back.by_at)}
            facts = {"told": back.status, "told_at": _minute(back.told_at), **how}
            add(K.CORRECTION_AFTER_DELIVERED, WARNING, Act.ACT, facts, back.gone_since or back.by_at)
        if summary.disputed:
            add(K.SOURCES_DISAGREE, WARNING, Act.FOLLOW_UP, last)
        if parcel.tracking in (TrackingState.NOT_FOUND, TrackingState.INVALID_NUMBER) and not summary.scans:
            self._doubt(parcel)
        if parcel.tracking is TrackingState.EXPIRED:
            add(K.TRACKING_EXPIRED, WARNING, Act.ACT, last, summary.last_scan_at or parcel.linked_at)
        if status.terminal:
            return
        news = summary.last_scan_at
        fulfilment = next((f for f in order.fulfilments if any(p.number == parcel.number for p in f.parcels)), None)
        lane = f"{summary.origin}-{order.ships_to}"
        limit = policy.silence_for(parcel.carrier, fulfilment.service if fulfilment else "", lane)
        if status in (S.UNKNOWN, S.PRE_TRANSIT):
            start = since or parcel.linked_at
            handed = self.said(StatementKind.HANDED_OVER)
            start = max(start, handed.at) if handed and start else start
            if start is not None and self.silent(parcel, start + (limit.unscanned_after or policy.unscanned_after)):
                add(K.LABEL_NEVER_SCANNED, WARNING, self.hands(), {**last, "silence": limit.name}, start)
        elif status is S.AVAILABLE_FOR_PICKUP:
            if since is not None and self.after(since + policy.pickup_expires_after):
                add(K.PICKUP_EXPIRING, WARNING, Act.FOLLOW_UP, last)
        elif (
            news is not None
            and self.silent(parcel, news + (limit.stuck_after or policy.stuck_after))
            and not parcel.slow
        ):
            add(K.STUCK, WARNING, self.hands(), {**last, "silence": limit.name}, news)
        if (
            parcel.edd is not None
            and status is not S.AVAILABLE_FOR_PICKUP
            and self.silent(parcel, parcel.edd.ends + policy.overdue_after)
            and not parcel.slow
        ):
            add(K.DELIVERY_OVERDUE, INFO, Act.MONITOR, last, parcel.edd.ends)

    def _doubt(self, parcel: Shipment) -> None:
        """Doubt a number that the carrier does not know where its check digit is wrong, or the carrier says that none is so."""
        wrong = doubtful(None if parcel.carrier.startswith("unidentified:") else parcel.carrier, parcel.number)
        impossible = parcel.tracking is TrackingState.INVALID_NUMBER
        if not wrong and not impossible:
            return
        typed = {p.typed for f in self.order.fulfilments for p in f.parcels if p.number == parcel.number}
        evidence = {
            "carrier_says": "no number can be so" if impossible else "not found",
            "check_digit": "wrong" if wrong else "", "typed": ", ".join(sorted(typed - {""})),
        }  # fmt: skip
        proposal = "put the right number in the shop"
        self.find(
            K.TRACKING_NUMBER_DOUBTFUL, WARNING, self.hands(), evidence, since=parcel.linked_at, parcel=parcel,
            proposal=proposal,
        )  # fmt: skip

    def _inspected(self, since: datetime | None) -> bool:
        """KE-10: only a person's record of the inspection ends the wait."""
        said = self.said(StatementKind.INSPECTED)
        return said is not None and since is not None and said.at >= since

    # clocks of the order

    def clocks(self) -> None:
        """Run the deadlines: a warning, then a breach; never a cancel (MG-01, MG-02)."""
        order, policy = self.order, self.policy
        for clock in policy.deadlines:
            if order.status.rank is None or order.payment in MONEY_BACK or order.status.reaches(clock.until):
                continue
            start = order.placed_at if clock.begins is None else self._reached(clock.begins)
            if start is None:
                continue
            for span, severity, step in ((clock.warn, INFO, "warning"), (clock.breach, WARNING, "breach")):
                if span is None:
                    continue
                due = span.end(start, policy.calendar)
                if self.after(due):
                    evidence = {"clock": clock.name, "step": step, "due": f"{due:%Y-%m-%d %H:%M}Z"}
                    self.find(clock.kind, severity, Act.ACT, evidence, since=due)

    def _reached(self, status: OrderStatus) -> datetime | None:
        """Return when the order first stood at a status or past it."""
        order = self.order
        for stand in order.history:
            if stand.status.reaches(status):
                current = stand is order.history[-1] and stand.status is order.status
                told = order.status_at if current else None
                return min(told, stand.at) if told else stand.at
        if order.status.reaches(status):
            return began(order)
        return None

    def tell_once(self) -> None:
        """Make what another finding tells a part of its evidence."""
        for big, smalls in TOLD_BY:
            for subject, kind in [key for key in self.findings if key[1] is big]:
                also = [self.findings.pop((subject, small)) for small in smalls if (subject, small) in self.findings]
                if also:
                    words = ", ".join(
                        f"{f.kind} ({f.evidence['reason']})" if "reason" in f.evidence else f.kind for f in also
                    )
                    told = self.findings[subject, kind]
                    self.findings[subject, kind] = replace(told, evidence={**told.evidence, "also": words})

    # the customer

    def tell_customer(self) -> None:
        """Say once what a stored scan or order change says, where the store lets the worker tell (MG-05, WS-10)."""
        order, wanted = self.order, self.policy.notices
        if not wanted or order.status in HELD or order.payment in MONEY_BACK:
            return
        if N.PLACED in wanted:
            self._notice(N.PLACED, order.placed_at)
        if N.CONFIRMED in wanted:  # only where the shop said so: Shipped does not say that it was confirmed
            self._notice(N.CONFIRMED, next((s.at for s in order.history if s.status is O.CONFIRMED), None))
        for parcel in self.shipments:
            summary = parcel.summary
            if not summary.confirmed or summary.disputed or summary.leg.value != "outbound":
                continue
            if N.SHIPPED in wanted and summary.custody_at is not None and not summary.status.terminal:
                self._notice(N.SHIPPED, summary.custody_at, parcel)
            kind = _NOTICE_OF.get(summary.status)
            if kind is not None and kind in wanted:
                self._notice(kind, summary.since, parcel)
        if N.REVIEW_REQUEST in wanted and order.status is O.DELIVERED:
            if not any(f.kind in _UNHAPPY for f in self.findings.values()):
                self._notice(N.REVIEW_REQUEST, began(order))

    def _notice(self, kind: NoticeClass, at: datetime | None, parcel: Shipment | None = None) -> None:
        order = self.order
        if self.too_old(at) or at is None:
            return
        tail = f"/{parcel.carrier}/{parcel.number}/{parcel.generation}" if parcel else ""
        named = [
            replace(p, carrier=p.carrier or parcel.carrier)
            for f in order.fulfilments
            for p in f.parcels
            if parcel is not None and p.number == parcel.number
        ]
        summary = parcel.summary if parcel else None
        self.actions.append(
            Action(
                kind="notice",
                key=f"{order.store}/{order.ref}/notice/{kind}{tail}",
                store=order.store,
                order=order.ref,
                status=summary.status if summary else S.UNKNOWN,
                reason=summary.reason if summary else None,
                happened_at=at,
                place=summary.run_place if summary else NOWHERE,
                edd=_estimate(parcel),
                rules=(f"notice:{kind}", f"policy:{self.policy.name}"),
                notice=kind,
                parcels=tuple(named[:1]),
                number=order.number,
            )
        )


_SUPPORTED = frozenset({K.SYSTEM_CONTROLLED_EDIT, K.STUCK, K.ORDER_AHEAD, K.ORDER_BEHIND, K.DELIVERY_OVERDUE,
                        K.LABEL_NEVER_SCANNED, K.SHIPPED_WITHOUT_TRACKING, K.CORRECTION_AFTER_DELIVERED})  # fmt: skip
_UNHAPPY = frozenset({K.CORRECTION_AFTER_DELIVERED, K.SOURCES_DISAGREE, K.LOST_OR_DESTROYED, K.ORDER_AHEAD,
                      K.RETURNED_AWAITING_INSPECTION, K.REMEDY_IN_CUSTODY, K.REFUNDED_BUT_MOVING})  # fmt: skip


def _further(there: OrderStatus, here: OrderStatus) -> bool:
    """Say whether a status lies ahead of another; out for delivery and failed take turns."""
    if there.rank is None or here.rank is None or there is here:
        return False
    return there.rank > here.rank or there.rank == here.rank < 100


def _estimate(parcel: Shipment | None) -> datetime | None:
    """Return when a parcel is estimated to arrive, while it is under way."""
    return parcel.edd.ends if parcel and parcel.edd and not parcel.summary.status.terminal else None


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z" if at else ""


def _stamp(at: datetime | None) -> float:
    return at.timestamp() if at else float("-inf")
