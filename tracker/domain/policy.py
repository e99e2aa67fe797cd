"""What a store allows and wants, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from tracker.domain.vocabulary import ShippingStatus


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one store. All durations are elapsed time.

    `words`: the shop's word for each shipping status that it can show; a status without a word is not written.
    """

    name: str = "mirror"
    words: Mapping[ShippingStatus, str] = field(default_factory=lambda: MappingProxyType({}))
    stuck_after: timedelta = timedelta(days=7)
    unscanned_after: timedelta = timedelta(days=7)
    overdue_after: timedelta = timedelta(days=1)
    pickup_expires_after: timedelta = timedelta(days=5)
    expired_after: timedelta = timedelta(days=30)
