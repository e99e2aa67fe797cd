"""One parcel under two numbers: who picked it up hands it to another carrier, which delivers it. Both tell one story.

The last carrier has the parcel, so its word comes first: what the first one still tells of moving it is an echo of what both
know, and its "delivered" means handed over where the last one moves the parcel on after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from tracker.domain.facts import Meaning, StoredScan
from tracker.domain.vocabulary import Reason, ShippingStatus

S = ShippingStatus
_MOVES: Final = frozenset({S.PRE_TRANSIT, S.PICKED_UP, S.IN_TRANSIT})
_HANDED_OVER: Final = Meaning(S.IN_TRANSIT, Reason.HANDED_TO_PARTNER)
_AT_THE_DOOR: Final = frozenset({S.OUT_FOR_DELIVERY, S.DELIVERY_ATTEMPTED, S.AVAILABLE_FOR_PICKUP})


def as_one(first: Iterable[StoredScan], last: Sequence[StoredScan]) -> list[StoredScan]:
    """Put the scans of both carriers together; those of the first one mean less from when on the last one had the parcel.

    Before that nothing changes: a number of the last carrier that tells nothing, or only that it was announced, takes no
    word from the first.
    """
    held = [told.instant for told in last if told.gone is None and _holds(told)]
    if not held:
        return [*first, *last]
    return [*(_heard(told, min(held), max(held)) for told in first), *last]


def _holds(told: StoredScan) -> bool:
    """Say whether a scan of the last carrier shows that it has the parcel, and has not ended its journey."""
    status = told.meaning.status
    return status is not None and status.custody and not status.terminal


def _heard(told: StoredScan, since: datetime, until: datetime) -> StoredScan:
    """Return a scan of the first carrier as far as it counts; `since`, `until`: the last one had the parcel."""
    status = told.meaning.status
    if status is S.DELIVERED and told.instant < until:
        told, status = replace(told, meaning=_HANDED_OVER), S.IN_TRANSIT
    if told.instant < since:
        return told
    if status in _MOVES:
        return replace(told, meaning=replace(told.meaning, status=None))
    return replace(told, confirmed=False) if status in _AT_THE_DOOR else told
