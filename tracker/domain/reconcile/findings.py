"""How a finding is made, and which finding tells another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from tracker.domain.facts import Finding, Shipment
from tracker.domain.reconcile.case import Case, K
from tracker.domain.texts import command
from tracker.domain.vocabulary import Act, FindingKind, Owner, Severity

Found = dict[tuple[str, FindingKind], Finding]  # by subject and kind

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
# of these the platform's own orders have one next step: its support is asked (KE-22)
_SUPPORTED = frozenset({K.SYSTEM_CONTROLLED_EDIT, K.STUCK, K.ORDER_AHEAD, K.ORDER_BEHIND, K.DELIVERY_OVERDUE,
                        K.LABEL_NEVER_SCANNED, K.SHIPPED_WITHOUT_TRACKING, K.CORRECTION_AFTER_DELIVERED})  # fmt: skip


class Stands(NamedTuple):
    """What a check saw: what it rests on, since when, and what to do. `severity`: another one than its kind's."""

    evidence: Mapping[str, object]
    since: datetime | None
    severity: Severity | None = None
    proposal: str = ""


def finding(
    case: Case,
    kind: FindingKind,
    severity: Severity,
    act: Act,
    evidence: Mapping[str, object],
    *,
    since: datetime | None = None,
    parcel: Shipment | None = None,
    proposal: str = "",
) -> Finding:
    """Make a finding about the order, or about one of its parcels. What is empty in the evidence is left out."""
    order = case.order
    subject = f"{order.store}/{order.number}"
    facts = {"order": order.number, "owner": str(case.owner), "method": order.method}
    if parcel is not None:
        subject += f"/{parcel.carrier}/{parcel.number}"
        facts["parcel"] = f"{parcel.carrier} {parcel.number}"
    facts |= {name: str(value) for name, value in evidence.items()}
    if not proposal and case.owner is Owner.PLATFORM and kind in _SUPPORTED:
        proposal = f"send the support packet: `{command('tracker', 'evidence', order.number, '-o', 'pack.zip')}`"
    return Finding(kind, subject, severity, act, {k: v for k, v in facts.items() if v}, since, proposal)


def add(found: Found, one: Finding) -> None:
    """Add a finding to those of an order; the worst of two of a kind stays."""
    key = one.subject, one.kind
    known = found.get(key)
    if known is None or one.severity.rank > known.severity.rank:
        found[key] = one


def told_once(found: Found) -> Iterable[Finding]:
    """Make what another finding tells a part of its evidence."""
    if len(found) < 2:
        return found.values()
    for big, smalls in TOLD_BY:
        for subject in [subject for subject, kind in found if kind is big]:
            also = [found.pop((subject, small)) for small in smalls if (subject, small) in found]
            if also:
                words = ", ".join(
                    f"{f.kind} ({f.evidence['reason']})" if "reason" in f.evidence else f.kind for f in also
                )
                told = found[subject, big]
                found[subject, big] = replace(told, evidence={**told.evidence, "also": words})
    return found.values()


def minute(at: datetime | None) -> str:
    """Write a moment as evidence."""
    return f"{at:%Y-%m-%d %H:%M}Z" if at else ""
