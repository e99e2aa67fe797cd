"""What a decision is asked about, and what its parts may say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tracker.domain import gates
from tracker.domain.facts import Action, Finding, Fulfilment, Order, Shipment, Statement
from tracker.domain.policy import Policy
from tracker.domain.reconcile.orders import by_number
from tracker.domain.vocabulary import (
    Act,
    FindingKind,
    OrderStatus,
    Owner,
    PaymentStatus,
    Reason,
    Severity,
    ShippingStatus,
    StatementKind,
)

S, K, O, P = ShippingStatus, FindingKind, OrderStatus, PaymentStatus
URGENT, WARNING, INFO = Severity.URGENT, Severity.WARNING, Severity.INFO
US = "trackwright"
SHIPPING = frozenset(s for s in O if s.rank is not None and s.rank >= 30)
SHIPPED = frozenset(s for s in O if s.rank is not None and s.rank >= 40)
_CUSTOMS = frozenset({
    Reason.CUSTOMS_HOLD, Reason.EXPORT_CUSTOMS_HOLD, Reason.CUSTOMS_PROCESSING, Reason.EXPORT_CUSTOMS_PROCESSING,
    Reason.DUTIES_UNPAID, Reason.DOCUMENTS_REQUIRED, Reason.CUSTOMS_INSPECTION, Reason.CUSTOMS, Reason.PRE_CLEARANCE_HOLD,
})  # fmt: skip

# What a part of a decision says, in order: a rule that fired, a write, a finding, or a moment of which time alone would
# change the answer.
Said = str | Action | Finding | datetime


@dataclass(slots=True)
class Case:
    """One order on the table. The parts read it and never change it.

    `numbered`: its shipments by their numbers; `owner`: who dispatches it, by the rule `owned_by`.
    """

    order: Order
    shipments: Sequence[Shipment]
    policy: Policy
    now: datetime
    connected_at: datetime | None
    owner: Owner
    owned_by: str
    numbered: dict[str, list[Shipment]]

    @classmethod
    def of(
        cls, order: Order, shipments: Sequence[Shipment], policy: Policy, now: datetime, connected_at: datetime | None
    ) -> Case:
        """Lay an order on the table."""
        owner, owned_by = policy.owner_of(order)
        return cls(order, shipments, policy, now, connected_at, owner, owned_by, by_number(shipments))

    def hands(self, act: Act = Act.ACT) -> Act:
        """KE-13: what a seller must do himself, the platform does for its own orders; there a person only watches."""
        return Act.MONITOR if self.owner is Owner.PLATFORM else act

    def decided_by_people(self) -> bool:
        """Say whether people hold, cancelled, refunded or dispute the order: then nothing is written and nobody is told."""
        return self.order.status in gates.HELD or self.order.payment in gates.MONEY_BACK

    def checked(self, kind: FindingKind) -> bool:
        """Say whether the policy asks for a check."""
        return kind in self.policy.checks

    def parcels_of(self, fulfilment: Fulfilment) -> list[Shipment]:
        """Return the journeys of a fulfilment's parcels."""
        return [s for p in fulfilment.parcels for s in self.numbered.get(p.number, ())]

    def too_old(self, at: datetime | None) -> bool:
        """Say whether something happened before the store was connected."""
        return self.connected_at is not None and (at is None or at < self.connected_at)

    def said(self, kind: StatementKind) -> Statement | None:
        """Return the last thing of a kind that a person said."""
        return next((s for s in reversed(self.order.statements) if s.kind is kind), None)

    def corrected(self) -> bool:
        """Say whether a carrier took back an end of one of the parcels."""
        return any(p.summary.corrected for p in self.shipments)

    def remedies_closed(self) -> bool:
        """KE-14, KE-09: no remedy is proposed for P in custody, in customs or in a slowdown."""
        held = gates.in_custody(self.order, self.shipments) is not None
        return (self.owner is Owner.PLATFORM and held) or any(
            p.slow or (p.summary.reason in _CUSTOMS and not p.summary.status.terminal) for p in self.shipments
        )


def estimate(parcel: Shipment | None) -> datetime | None:
    """Return when a parcel is estimated to arrive, while it is under way."""
    return parcel.edd.ends if parcel and parcel.edd and not parcel.summary.status.terminal else None
