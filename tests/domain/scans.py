"""Scans as the summary reads them, some hours after a Monday morning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tracker.domain.facts import Meaning, Place, StoredScan
from tracker.domain.vocabulary import Leg, Precision, Reason, ShippingStatus, Zone

S = ShippingStatus
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
H = timedelta(hours=1)
_COUNT = iter(range(10**9))


def told(
    status: S | None,
    hours: float,
    *,
    reason: Reason | None = None,
    zone: Zone = Zone.UTC,
    leg: Leg = Leg.OUTBOUND,
    correction: bool = False,
    confirmed: bool = True,
    precision: Precision = Precision.SECOND,
    place: Place | None = None,
    gone: float | None = None,
) -> StoredScan:
    meaning = Meaning(status, reason, leg, correction)
    name = f"{next(_COUNT):032x}"
    since = None if gone is None else T0 + gone * H
    return StoredScan(
        name, "s", str(status), meaning, T0 + hours * H, zone, precision, place or Place(), confirmed, since
    )
