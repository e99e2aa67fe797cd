"""When a tracking number may be corrected in the shop, by a person's word: pure, and asked again on the order just before it is written."""

from __future__ import annotations

from tracker.domain.facts import Action, Fulfilment, Order
from tracker.domain.vocabulary import OrderStatus


def places_of(order: Order, number: str) -> list[Fulfilment]:
    """Return the fulfilments in which a number stands."""
    return [part for part in order.fulfilments if any(parcel.number == number for parcel in part.parcels)]


def why_not(order: Order, old: str, new: str) -> str:
    """Say why a number of an order may not be corrected to another; empty: it may."""
    if said := _closed(order):
        return said
    places = places_of(order, old)
    if not places:
        known = ", ".join(parcel.number for part in order.fulfilments for parcel in part.parcels)
        return f"{old} stands in no fulfilment of it: it has {known or 'no number'}"
    if not any(part.live for part in places):
        return f"the fulfilment in which {old} stands is cancelled"
    if places_of(order, new):
        return f"{new} stands in it already"
    return ""


def why_not_now(order: Order, action: Action, *, tried: bool = False) -> str:
    """Say why a correction may not be written to the order as it was just read; empty: it may, or it is done.

    `tried`: we began to write it before, and may have come half the way where the platform takes two calls for it: its plugin looks.
    """
    if said := _closed(order):
        return said
    old, new = (parcel.number for parcel in action.parcels)
    part = next((one for one in order.fulfilments if one.ref == action.fulfilment), None)
    if part is None or not part.live:
        return f"the fulfilment in which {old} stood is {'cancelled' if part else 'not there any more'}"
    if tried:
        return ""
    there = {parcel.number for parcel in part.parcels}
    if old in there and new in there:
        return f"{new} stands beside {old} now"
    if old not in there and new not in there:
        return f"{old} does not stand there any more"
    return ""


def _closed(order: Order) -> str:
    if order.gone:
        return "the shop holds the order no more"
    if order.test:
        return "it is a test order"
    return "the order is cancelled" if order.status is OrderStatus.CANCELLED else ""
