"""What it means for a watch that its source must be told of a number before it tells anything itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Row

from tracker.config.model import Config
from tracker.domain.vocabulary import TrackingState
from tracker.plugin.contracts import Carrier

FIRST_LOOK = timedelta(minutes=10)  # after a registration: the source asks the carrier meanwhile
SETTLING = timedelta(days=1)  # so long after it "not found" says that the source has nothing yet, not that nobody has


def waits(carrier: Carrier, registered_at: datetime | None) -> bool:
    """Say whether nobody asks about a parcel, as its number is not registered yet."""
    return carrier.registers_first and registered_at is None


def settles(carrier: Carrier, registered_at: datetime | None, now: datetime) -> bool:
    """Say whether an empty answer is no news of a parcel: its number was registered just now."""
    return carrier.registers_first and registered_at is not None and now - registered_at < SETTLING


def settled(carrier: Carrier, watch: Row[Any], now: datetime) -> bool:
    """Say whether an answer counts that was no news while its number was new: it is read again, also where it is the same."""
    return (
        carrier.registers_first
        and watch.tracking_state == TrackingState.PENDING
        and not settles(carrier, watch.registered_at, now)
    )


def told_at(
    carrier: Carrier, watch: Row[Any], named: bool | None, now: datetime, patience: timedelta
) -> datetime | None:
    """Return when a source is told next about a parcel that it was told of before.

    What it stopped and an order names again it tracks again at once, where it did not refuse that. What no order names any more it
    stops after a while: an order may name it again.
    """
    at: datetime | None = watch.register_at
    stopped: bool = watch.tracking_state == TrackingState.STOPPED
    if not carrier.stops or watch.registered_at is None or watch.rejected_reason is not None or stopped != named:
        return at
    return at or (now if named else now + patience)


def refused(config: Config, watch: Row[Any]) -> bool:
    """Say whether an account tells nothing of a parcel any more, as it does not take its number: another may."""
    account = config.accounts.get(watch.account)
    return (
        account is not None
        and not account.is_store
        and account.carrier.registers_first
        and watch.rejected_reason is not None
    )
