"""What an order's fulfilment orders say: how and from where its pieces go, what holds them, and whether we see all of them.

Shopify makes them in the background, shows each app only those that its scopes cover, and tells by the delivery method what is a parcel:
SHIPPING and PICKUP_POINT; what is picked up, sold in the shop, delivered by the merchant or of no matter is none (Admin schema 2026-04).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Unread
from tracker.plugin.payloads import mapping, optional, pieces, term, word
from tracker.plugin.tracked import aware, count, strict

BY_PARCEL = frozenset({"SHIPPING", "PICKUP_POINT"})
NO_PARCEL = frozenset({"PICK_UP", "LOCAL", "RETAIL", "NONE"})
OVER = frozenset({"CLOSED", "CANCELLED"})  # FulfillmentOrderStatus: nothing of it is to be done
SCOPES = "read_merchant_managed_, read_third_party_ or read_assigned_fulfillment_orders"


@dataclass(frozen=True, slots=True)
class Route:
    """A fulfilment order: where its pieces go from and how. `lines`: line -> pieces in all, and left to be fulfilled."""

    status: str
    method: str
    location: str
    holds: tuple[str, ...]
    fulfil_at: datetime | None
    lines: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Routing:
    """What all fulfilment orders of an order say together."""

    routes: tuple[Route, ...] = ()
    told: bool = False  # whether they were told at all

    @property
    def _counted(self) -> list[Route]:
        return [one for one in self.routes if one.status != "CANCELLED"]

    @property
    def method(self) -> str:
        """How it goes, in Shopify's word: by parcel where anything of it does."""
        words = sorted({one.method for one in self._counted if one.method})
        return next((one for one in words if one in BY_PARCEL), "") or " + ".join(words)

    @property
    def location(self) -> str:
        """Where it goes from; several are named together, and no rule of one fits them."""
        return " + ".join(sorted({one.location for one in self._counted if one.location}))

    def by_parcel(self, line: str) -> bool:
        """Say whether a line goes by parcel as far as the methods tell: only where all of it goes otherwise it does not."""
        methods = {one.method for one in self._counted for ref, *_ in one.lines if ref == line}
        return not methods or not methods <= NO_PARCEL

    def reason(self) -> str:
        """Say what holds it, or until when it is put off: the reasons of the holds, in lower case."""
        left = [one for one in self.routes if one.status not in OVER]
        if held := sorted({reason.lower() for one in left for reason in one.holds}):
            return ", ".join(held)
        waits = [one.fulfil_at for one in left if one.status == "SCHEDULED" and one.fulfil_at is not None]
        return f"scheduled for {min(waits).astimezone(UTC):%Y-%m-%d}" if waits else ""

    def holds(self, reason: str) -> bool:
        """Say whether a hold of that reason stands."""
        return any(reason in one.holds for one in self.routes if one.status not in OVER)

    def unseen(self, unfulfilled: Mapping[str, int]) -> int:
        """Return how many pieces that are to be fulfilled stand in no fulfilment order that we see."""
        left: dict[str, int] = {}
        for one in self.routes:
            for ref, _, remaining in one.lines if one.status != "CANCELLED" else ():
                left[ref] = left.get(ref, 0) + remaining
        return sum(max(0, pieces_ - left.get(ref, 0)) for ref, pieces_ in unfulfilled.items())

    def fulfilled(self) -> dict[str, int]:
        """Return how many pieces of each line were fulfilled."""
        there: dict[str, int] = {}
        for one in self.routes:
            for ref, total, remaining in one.lines if one.status != "CANCELLED" else ():
                there[ref] = there.get(ref, 0) + max(0, total - remaining)
        return {ref: pieces_ for ref, pieces_ in there.items() if pieces_}


def routing_of(node: Mapping[str, Any], unread: list[Unread]) -> Routing:
    """Read the fulfilment orders of an order; one that cannot be read makes it partial, as its holds are not known."""
    if "fulfillmentOrders" not in node:
        return Routing()
    told = mapping(node["fulfillmentOrders"], "$.fulfillmentOrders")
    if not isinstance(told.get("nodes"), list):
        raise BadPayload("$.fulfillmentOrders.nodes", "must be a list")
    return Routing(tuple(pieces(told["nodes"], "$.fulfillmentOrders.nodes", _route, unread, lacks="line")), told=True)


def _route(row: dict[str, Any], unread: list[Unread]) -> Route:
    method, place, lines = row.get("deliveryMethod"), row.get("assignedLocation"), row.get("lineItems")
    held = pieces(row.get("fulfillmentHolds"), "$.fulfillmentHolds", _hold, unread, lacks="line")
    return Route(
        status=_code(row.get("status"), "$.status"),
        method=""
        if method is None
        else _code(mapping(method, "$.deliveryMethod").get("methodType"), "$.deliveryMethod.methodType"),
        location=""
        if place is None
        else term(mapping(place, "$.assignedLocation").get("name"), "$.assignedLocation.name", unread),
        holds=tuple(held),
        fulfil_at=optional(aware, row.get("fulfillAt"), "$.fulfillAt", unread),
        lines=tuple(
            pieces(mapping(lines, "$.lineItems").get("nodes"), "$.lineItems.nodes", _line, unread, lacks="line")
        ),
    )


def _hold(row: dict[str, Any], _unread: list[Unread]) -> str:
    return _code(row.get("reason"), "$.reason")


def _line(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, int, int]:
    ref = word(mapping(row.get("lineItem"), "$.lineItem").get("id"), "$.lineItem.id")
    return (
        ref,
        count(row.get("totalQuantity"), "$.totalQuantity"),
        count(row.get("remainingQuantity"), "$.remainingQuantity"),
    )


def _code(value: Any, where: str) -> str:
    """Return a word of one of Shopify's enumerations."""
    if not (said := strict(value, where)):
        raise BadPayload(where, "is missing")
    return said
