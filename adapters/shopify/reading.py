"""Read what Shopify tells of an order: its lines, its fulfilments, how it goes, who set its status; and what in the shop it is not told of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from adapters.shopify.routing import SCOPES, Routing, routing_of
from adapters.shopify.whole import Whole
from adapters.shopify.words import FULFILMENTS, PAYMENTS, READS, UNSHIPPED
from tracker.domain.errors import BadPayload
from tracker.domain.facts import Fulfilment, Item, Order, Parcel, Published, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin.contracts import Platform
from tracker.plugin.payloads import listing, mapping, optional, piece, pieces, term, word
from tracker.plugin.tracked import aware, count, flag, known, money, parcels, strict, tags, with_lines

GID = re.compile(r"gid://shopify/Order/[0-9]{1,20}")
ROUTED_WITHIN = timedelta(
    minutes=10
)  # the overlap of a sweep: a young order is read again, so nothing is concluded of it
COD = frozenset({"cash on delivery (cod)", "cash on delivery"})
ADDRESSES = {"NO_ISSUES": "confirmed", "WARNING": "unconfirmed", "ERROR": "flagged"}  # MailingAddressValidationResult
_NO_EVENTS: dict[str, Any] = {"nodes": []}


class Reading(NamedTuple):
    """What the reading of an order needs beside it: the shop, all that was asked on, and when it was told."""

    shop: Platform
    whole: Whole
    at: datetime


def nodes_of(data: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return the orders of an answer, read by id or by page, and where they stand. Raises BadPayload where there is no list."""
    where, nodes = "$.data.nodes", data.get("nodes")
    if "nodes" not in data:
        where, nodes = "$.data.orders.nodes", mapping(data.get("orders"), "$.data.orders").get("nodes")
    if not isinstance(nodes, list):
        raise BadPayload(where, "must be a list")
    return where, nodes


def order_of(node: dict[str, Any], unread: list[Unread], read: Reading) -> Order:
    """Read an order. It is not told without what a write depends on: its status, its money, its times."""
    shop, ref = read.shop, word(node.get("id"), "$.id")
    raw = word(node.get("displayFulfillmentStatus"), "$.displayFulfillmentStatus")
    paid = strict(node.get("displayFinancialStatus"), "$.displayFinancialStatus")
    known(paid, PAYMENTS, "$.displayFinancialStatus", unread, PaymentStatus.UNKNOWN)
    cancelled = node.get("cancelledAt")
    cancelled_at = aware(cancelled, "$.cancelledAt") if cancelled is not None else None
    raw = "CANCELLED" if cancelled_at else raw
    status = shop.statuses.get(raw, OrderStatus.UNKNOWN)
    unread += read.whole.cut(node)
    routing = routing_of(node, unread)
    service = term(_part(node, "shippingLine").get("title"), "$.shippingLine.title", unread)
    fulfilments = tuple(
        pieces(node.get("fulfillments"), "$.fulfillments", _fulfilment, unread, shop, service, lacks="line")
    )
    placed_at = aware(node.get("createdAt"), "$.createdAt")
    lines = _lines(node, unread)
    if status is not OrderStatus.CANCELLED and read.at - placed_at >= ROUTED_WITHIN:
        _look_for_unseen(node, lines, routing, unread)
    items = tuple(line.item(routing) for line in lines)
    with_lines(items, fulfilments, unread)
    ships = any(line.ships for line in lines) if lines else node.get("requiresShipping") is not False
    actor, since = set_by(node, status, unread)
    return Order(
        store=shop.account,
        ref=ref,
        number=word(node.get("name"), "$.name"),
        status=status,
        raw_status=raw,
        payment=money(paid, PAYMENTS),
        raw_payment=paid,
        placed_at=placed_at,
        updated_at=aware(node.get("updatedAt"), "$.updatedAt"),
        cancelled_at=cancelled_at,
        items=items,
        fulfilments=fulfilments,
        actor=actor,
        status_at=since or cancelled_at or _shipped_at(status, fulfilments),
        status_reason=routing.reason(),
        method=routing.method,
        service=service,
        location=routing.location,
        tags=tuple(sorted(tags(node.get("tags"), unread))),
        pays_by=_pays_by(node, unread),
        address="flagged" if routing.holds("INCORRECT_ADDRESS") else _address(node, ships, unread),
        ships_to=term(_part(node, "shippingAddress").get("countryCodeV2"), "$.shippingAddress.countryCodeV2", unread)[
            :2
        ],
        locale=term(node.get("customerLocale"), "$.customerLocale", unread),
        shown=_field(node.get("shown")) if shop.status_field else "",
        test=flag(node.get("test"), "$.test") is True,
        cancel_reason=term(node.get("cancelReason"), "$.cancelReason", unread).lower(),
        channel=term(node.get("sourceName"), "$.sourceName", unread),
        risk=term(_part(node, "risk").get("recommendation"), "$.risk.recommendation", unread).lower(),
        closed_at=optional(aware, node.get("closedAt"), "$.closedAt", unread),
    )


def _part(node: dict[str, Any], name: str) -> dict[str, Any]:
    value = node.get(name)
    return {} if value is None else mapping(value, f"$.{name}")


def _field(value: Any) -> str:
    """Read the metafield that shows the shipping status; empty where there is none."""
    return "" if value is None else strict(mapping(value, "$.shown").get("value"), "$.shown.value")


# lines


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an order. `left`: pieces that are still wanted and not fulfilled."""

    ref: str
    name: str
    ordered: int
    wanted: int
    left: int
    ships: bool  # neither digital nor a gift card

    def item(self, routing: Routing) -> Item:
        """Return it in our words: shippable is what goes by parcel."""
        goes = self.ships and routing.by_parcel(self.ref)
        return Item(self.ref, self.ordered, self.ordered - self.wanted, goes, self.name)


def _lines(node: dict[str, Any], unread: list[Unread]) -> list[Line]:
    """Read the lines of an order; answers that were stored before they were asked for hold none."""
    if "lineItems" not in node and "fulfillmentsCount" not in node:
        return []
    told = mapping(node.get("lineItems"), "$.lineItems")
    if not isinstance(told.get("nodes"), list):
        raise BadPayload("$.lineItems.nodes", "must be a list")
    return pieces(told["nodes"], "$.lineItems.nodes", _line, unread, lacks="line")


def _line(row: dict[str, Any], unread: list[Unread]) -> Line:
    ordered = count(row.get("quantity"), "$.quantity")
    current = count(row.get("currentQuantity"), "$.currentQuantity")
    wanted = min(ordered, current, count(row.get("refundableQuantity"), "$.refundableQuantity"))
    card = flag(row.get("isGiftCard"), "$.isGiftCard")
    return Line(
        ref=word(row.get("id"), "$.id"),
        name=term(row.get("name"), "$.name", unread),
        ordered=ordered,
        wanted=wanted,
        left=min(wanted, count(row.get("unfulfilledQuantity"), "$.unfulfilledQuantity")),
        ships=flag(row.get("requiresShipping"), "$.requiresShipping") is not False and card is not True,
    )


def _look_for_unseen(node: dict[str, Any], lines: list[Line], routing: Routing, unread: list[Unread]) -> None:
    """Tell where pieces are to be fulfilled and no fulfilment order of them is seen: that is never "nothing to ship"."""
    if not routing.told or node.get("closedAt") is not None:
        return
    missing = routing.unseen({line.ref: line.left for line in lines if line.ships and line.left})
    if missing:
        problem = (
            f"{missing} pieces are unfulfilled and stand in no fulfilment order that the app may see: grant {SCOPES}"
        )
        unread.append(Unread("$.fulfillmentOrders", problem))


# money, address, people


def _pays_by(node: dict[str, Any], unread: list[Unread]) -> str:
    """Return how it is paid, in the gateway's own word, `cod` for cash on delivery; of several all, but `cod` alone says what is open."""
    gateways = listing(node.get("paymentGatewayNames"), "$.paymentGatewayNames")
    read = (optional(word, one, f"$.paymentGatewayNames[{at}]", unread) for at, one in enumerate(gateways))
    told = [one for one in read if one]
    return "cod" if any(one.casefold() in COD for one in told) else " + ".join(dict.fromkeys(told))


def _address(node: dict[str, Any], ships: bool, unread: list[Unread]) -> str:
    """Return the state of the address by Shopify's own check: the address itself is never asked for."""
    if "shippingAddress" not in node or not ships:
        return ""
    if node["shippingAddress"] is None:
        return "missing"
    told = mapping(node["shippingAddress"], "$.shippingAddress")
    if told.get("countryCodeV2") is None:
        return "missing"
    said = term(told.get("validationResultSummary"), "$.shippingAddress.validationResultSummary", unread)
    return ADDRESSES.get(said, "")


# What of an order's events says who set its status, by status; the newest counts. An open list (Admin schema, Event.action).
_SETS = {
    OrderStatus.CANCELLED: ("cancelled",),
    OrderStatus.SHIPPED: ("fulfillment_success", "fulfillment_cancelled"),
    OrderStatus.PARTIALLY_SHIPPED: ("fulfillment_success", "fulfillment_cancelled"),
    OrderStatus.CONFIRMED: ("fulfillment_cancelled", "placed"),
}


def set_by(node: dict[str, Any], status: OrderStatus, unread: list[Unread]) -> tuple[str, datetime | None]:
    """Return who set the order's status, and when, as far as its newest events tell: a person of the shop, an app, Shopify itself."""
    if (told := node.get("events")) is None:
        return "unknown", None
    wanted = _SETS.get(status, ())
    for event in pieces(mapping(told, "$.events").get("nodes"), "$.events.nodes", _event_of, unread):
        if event.action in wanted:  # newest first
            return event.by, event.at
    return "unknown", None


class _Event(NamedTuple):
    action: str
    at: datetime
    by: str


def _event_of(row: dict[str, Any], _unread: list[Unread]) -> _Event:
    by = "system"
    if flag(row.get("attributeToUser"), "$.attributeToUser"):
        by = "seller"
    elif flag(row.get("attributeToApp"), "$.attributeToApp"):
        by = "app"
    return _Event(word(row.get("action"), "$.action"), aware(row.get("createdAt"), "$.createdAt"), by)


def _shipped_at(status: OrderStatus, fulfilments: tuple[Fulfilment, ...]) -> datetime | None:
    """Return when the newest fulfilment was made, of an order that is fulfilled in part or whole."""
    if status not in (OrderStatus.SHIPPED, OrderStatus.PARTIALLY_SHIPPED):
        return None
    return max((f.shipped_at for f in fulfilments if f.live and f.shipped_at is not None), default=None)


# fulfilments


def _fulfilment(node: dict[str, Any], unread: list[Unread], shop: Platform, service: str) -> Fulfilment:
    """Read a fulfilment: never without whether it is live. Where what it shows cannot be read, nothing new is shown."""
    status = word(node.get("status"), "$.status")
    events = node.get("events")
    shown = None if events == _NO_EVENTS else piece(events, "$.events", _shown, unread, lacks="line")
    unreadable: list[str] = []
    found = pieces(node.get("trackingInfo"), "$.trackingInfo", _tracking, unread, shop, unreadable, lacks="line")
    held = node.get("fulfillmentLineItems")
    lines = [] if held is None else mapping(held, "$.fulfillmentLineItems").get("nodes")
    if status not in FULFILMENTS:
        said = f"the status {status!r:.60} has no meaning: nobody knows whether its pieces are shipped"
        unread.append(Unread("$.status", said, lacks="line"))
    return Fulfilment(
        ref=word(node.get("id"), "$.id"),
        status=status,
        parcels=tuple(parcel for parcels_ in found for parcel in parcels_),
        quantities=tuple(pieces(lines, "$.fulfillmentLineItems.nodes", _quantity, unread, lacks="line")),
        published=shown[0] if shown else None,
        live=status not in UNSHIPPED,
        shipped_at=optional(aware, node.get("createdAt"), "$.createdAt", unread),
        service=service,
        unreadable=tuple(unreadable),
    )


def _quantity(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, int]:
    ref = word(mapping(row.get("lineItem"), "$.lineItem").get("id"), "$.lineItem.id")
    return ref, count(row.get("quantity"), "$.quantity")


def _tracking(row: dict[str, Any], unread: list[Unread], shop: Platform, unreadable: list[str]) -> list[Parcel]:
    company = term(row.get("company"), "$.company", unread)
    found, strange = parcels(row.get("number"), shop.carrier_of(company), company, "$.number", unread)
    unreadable += strange
    return found


def _shown(events: dict[str, Any], unread: list[Unread]) -> list[Published]:
    """Read the newest event of a fulfilment; the list is empty where there is none."""
    if not isinstance(events.get("nodes"), list):
        raise BadPayload("$.nodes", "must be a list")
    return pieces(events["nodes"], "$.nodes", _event, unread, lacks="line")


def _event(node: dict[str, Any], _unread: list[Unread]) -> Published:
    raw = word(node.get("status"), "$.status")
    return Published(READS.get(raw), raw, aware(node.get("happenedAt"), "$.happenedAt"))
