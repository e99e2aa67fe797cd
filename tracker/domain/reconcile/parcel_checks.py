"""What a person must look at in a parcel: a table of checks, and the answer of each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from tracker.domain.facts import UNIDENTIFIED, Finding, Shipment, Summary
from tracker.domain.numbers import doubtful
from tracker.domain.policy import Silence
from tracker.domain.reconcile.case import INFO, URGENT, WARNING, Case, K, O, P, S
from tracker.domain.reconcile.findings import Stands, finding, minute
from tracker.domain.reconcile.orders import still_moves
from tracker.domain.vocabulary import Act, FindingKind, Reason, Severity, ShippingStatus, StatementKind, TrackingState

LOOK_AGAIN = timedelta(hours=6)  # at a silence that nobody has heard yet
ALL_STATUSES = frozenset(S)
UNDER_WAY = frozenset(s for s in S if not s.terminal)
NOT_HANDED_OVER = frozenset({S.UNKNOWN, S.PRE_TRANSIT})
WAITS = frozenset({S.AVAILABLE_FOR_PICKUP})
_NOT_KNOWN = {
    TrackingState.NOT_FOUND: "not found", TrackingState.INVALID_NUMBER: "no number can be so",
    TrackingState.ERROR: "it cannot tell of it",
}  # fmt: skip


class ParcelCheck(NamedTuple):
    """A standing finding about a parcel: it stands as long as `look` answers, in these statuses of it.

    `platform`: the platform does it for its own orders (KE-13). `unless`: not asked where this one stands, which says
    more of the same. `due`: it is asked once this moment has passed (None: never). `silence`: and only where somebody
    asked later than that who could have heard more; `unless_slow`: and not while the carrier is known to be slow.
    """

    kind: FindingKind
    severity: Severity
    act: Act
    look: Callable[[Case, Shipment], Stands | None]
    of: frozenset[ShippingStatus] = ALL_STATUSES
    platform: bool = False
    unless: FindingKind | None = None
    due: Callable[[Case, Shipment], datetime | None] | None = None
    silence: bool = False
    unless_slow: bool = False


def parcel_checks(case: Case, parcel: Shipment) -> Iterator[Finding | datetime]:
    """Find what a person must know about one parcel, and when time alone would change that."""
    stood: list[FindingKind] = []
    for check in _OF[parcel.summary.status]:
        if check.unless is not None and check.unless in stood:
            continue
        if check.due is not None and not (yield from _over(case, parcel, check, check.due(case, parcel))):
            continue
        stands = check.look(case, parcel)
        if stands is None:
            continue
        stood.append(check.kind)
        act = case.hands(check.act) if check.platform else check.act
        yield finding(
            case, check.kind, check.severity, act, stands.evidence,
            since=stands.since, parcel=parcel, proposal=stands.proposal,
        )  # fmt: skip


def _over(case: Case, parcel: Shipment, check: ParcelCheck, due: datetime | None) -> Generator[datetime, None, bool]:
    """Say whether a moment has passed, and a silence until then was heard; if not, look again."""
    if due is None:
        return False
    if case.now < due:
        yield due
        return False
    if not check.silence:
        return True
    if parcel.asked_until is None:
        return False  # nobody asked: that is no word of the carrier
    if parcel.asked_until < due:
        yield case.now + LOOK_AGAIN
        return False
    return not (check.unless_slow and parcel.slow)


def _last(summary: Summary) -> dict[str, str]:
    return {"status": summary.status, "last_place": str(summary.place)}


# the order went another way


def _cancelled(case: Case, parcel: Shipment) -> Stands | None:
    order = case.order
    if order.status is not O.CANCELLED or not still_moves(order, parcel):
        return None
    return Stands(_last(parcel.summary), order.cancelled_at)


def _refunded(case: Case, parcel: Shipment) -> Stands | None:
    summary = parcel.summary
    if case.order.payment is not P.REFUNDED or summary.custody_at is None:
        return None
    if case.checked(K.REMEDY_IN_CUSTODY) and case.remedies_closed():
        return None  # the remedy is what is told
    return Stands(_last(summary), summary.since)


# what the carrier tells


def _told(_case: Case, parcel: Shipment) -> Stands | None:
    summary = parcel.summary
    return Stands({"reason": summary.reason or "", **_last(summary)}, summary.since)


def _returned(case: Case, parcel: Shipment) -> Stands | None:
    """KE-10: only a person's record of the inspection ends the wait."""
    said, since = case.said(StatementKind.INSPECTED), parcel.summary.since
    inspected = said is not None and since is not None and said.at >= since
    return None if inspected else _told(case, parcel)


def _address(_case: Case, parcel: Shipment) -> Stands | None:
    summary = parcel.summary
    return Stands(_last(summary), summary.since) if summary.reason is Reason.ADDRESS_INCORRECT else None


def _unmapped(_case: Case, parcel: Shipment) -> Stands | None:
    summary = parcel.summary
    return Stands({"scans": summary.unmapped}, summary.last_scan_at) if summary.unmapped else None


def _taken_back(_case: Case, parcel: Shipment) -> Stands | None:
    back = parcel.summary.taken_back
    if back is None:
        return None
    evidence = {  # whatever the policy writes; what is evidence never changes again
        "told": back.status, "told_at": minute(back.told_at),
        "gone_since": minute(back.gone_since), "contradicted_by": back.by, "at": minute(back.by_at),
    }  # fmt: skip
    return Stands(evidence, back.gone_since or back.by_at)


def _disputed(_case: Case, parcel: Shipment) -> Stands | None:
    summary = parcel.summary
    return Stands(_last(summary), summary.since) if summary.disputed else None


# the number


def _doubtful(case: Case, parcel: Shipment) -> Stands | None:
    """Doubt a number that the carrier does not know where its check digit is wrong, or the carrier says that none is so."""
    if parcel.tracking not in _NOT_KNOWN or parcel.summary.scans:
        return None
    wrong = doubtful(None if parcel.carrier.startswith(UNIDENTIFIED) else parcel.carrier, parcel.number)
    impossible = parcel.tracking is TrackingState.INVALID_NUMBER
    if not wrong and not impossible:
        return None
    typed = {p.typed for f in case.order.fulfilments for p in f.parcels if p.number == parcel.number}
    evidence = {
        "carrier_says": _NOT_KNOWN[parcel.tracking],
        "check_digit": "wrong" if wrong else "", "typed": ", ".join(sorted(typed - {""})),
    }  # fmt: skip
    return Stands(evidence, parcel.linked_at, proposal="put the right number in the shop")


def _expired(_case: Case, parcel: Shipment) -> Stands | None:
    if parcel.tracking is not TrackingState.EXPIRED:
        return None
    return Stands(_last(parcel.summary), parcel.summary.last_scan_at or parcel.linked_at)


# clocks of the parcel


def _scan_due(case: Case, parcel: Shipment) -> datetime | None:
    start = _labelled(case, parcel)
    return start + (_silence(case, parcel).unscanned_after or case.policy.unscanned_after) if start else None


def _never_scanned(case: Case, parcel: Shipment) -> Stands:
    evidence = {**_last(parcel.summary), "silence": _silence(case, parcel).name}
    return Stands(evidence, _labelled(case, parcel))


def _labelled(case: Case, parcel: Shipment) -> datetime | None:
    """Return since when the carrier ought to have scanned a parcel: a person may have said that it was handed over."""
    start = parcel.summary.since or parcel.linked_at
    handed = case.said(StatementKind.HANDED_OVER)
    return max(start, handed.at) if handed and start else start


def _pickup_due(case: Case, parcel: Shipment) -> datetime | None:
    since = parcel.summary.since
    return since + case.policy.pickup_expires_after if since else None


def _pickup(_case: Case, parcel: Shipment) -> Stands:
    return Stands(_last(parcel.summary), parcel.summary.since)


def _news_due(case: Case, parcel: Shipment) -> datetime | None:
    news = parcel.summary.last_scan_at
    return news + (_silence(case, parcel).stuck_after or case.policy.stuck_after) if news else None


def _stuck(case: Case, parcel: Shipment) -> Stands:
    evidence = {**_last(parcel.summary), "silence": _silence(case, parcel).name}
    return Stands(evidence, parcel.summary.last_scan_at)


def _delivery_due(case: Case, parcel: Shipment) -> datetime | None:
    return parcel.edd.ends + case.policy.overdue_after if parcel.edd else None


def _overdue(_case: Case, parcel: Shipment) -> Stands:
    return Stands(_last(parcel.summary), parcel.edd.ends if parcel.edd else None)


def _silence(case: Case, parcel: Shipment) -> Silence:
    """Return how long silence is normal for a parcel."""
    order = case.order
    service = next((f.service for f in order.fulfilments for p in f.parcels if p.number == parcel.number), "")
    return case.policy.silence_for(parcel.carrier, service, f"{parcel.summary.origin}-{order.ships_to}")


PARCEL_CHECKS = (
    ParcelCheck(K.CANCELLED_BUT_MOVING, URGENT, Act.ACT, _cancelled),
    ParcelCheck(K.REFUNDED_BUT_MOVING, WARNING, Act.ACT, _refunded, UNDER_WAY, unless=K.CANCELLED_BUT_MOVING),
    ParcelCheck(K.ATTEMPT_FAILED, WARNING, Act.FOLLOW_UP, _told, frozenset({S.DELIVERY_ATTEMPTED, S.DELIVERY_FAILED}),
                platform=True),
    ParcelCheck(K.RETURNED_AWAITING_INSPECTION, WARNING, Act.ACT, _returned, frozenset({S.RETURNED})),
    ParcelCheck(K.LOST_OR_DESTROYED, URGENT, Act.ACT, _told, frozenset({S.LOST, S.DESTROYED})),
    ParcelCheck(K.ADDRESS_PROBLEM, WARNING, Act.ACT, _address, UNDER_WAY, platform=True),
    ParcelCheck(K.UNMAPPED_CODE, INFO, Act.ACT, _unmapped),
    ParcelCheck(K.CORRECTION_AFTER_DELIVERED, WARNING, Act.ACT, _taken_back),
    ParcelCheck(K.SOURCES_DISAGREE, WARNING, Act.FOLLOW_UP, _disputed),
    ParcelCheck(K.TRACKING_NUMBER_DOUBTFUL, WARNING, Act.ACT, _doubtful, platform=True),
    ParcelCheck(K.TRACKING_EXPIRED, WARNING, Act.ACT, _expired),
    ParcelCheck(K.LABEL_NEVER_SCANNED, WARNING, Act.ACT, _never_scanned, NOT_HANDED_OVER, platform=True, due=_scan_due,
                silence=True),
    ParcelCheck(K.PICKUP_EXPIRING, WARNING, Act.FOLLOW_UP, _pickup, WAITS, due=_pickup_due),
    ParcelCheck(K.STUCK, WARNING, Act.ACT, _stuck, UNDER_WAY - NOT_HANDED_OVER - WAITS, platform=True, due=_news_due,
                silence=True, unless_slow=True),
    ParcelCheck(K.DELIVERY_OVERDUE, INFO, Act.MONITOR, _overdue, UNDER_WAY - WAITS, due=_delivery_due, silence=True,
                unless_slow=True),
)  # fmt: skip
_OF = {status: tuple(check for check in PARCEL_CHECKS if status in check.of) for status in S}
