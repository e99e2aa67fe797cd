"""Read what Shopify tells: orders with their fulfilments, the order that a webhook speaks of, and what came in full."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from adapters.shopify.queries import MOST
from adapters.shopify.words import PAYMENTS, READS, UNSHIPPED
from tracker.domain.errors import BadPayload
from tracker.domain.facts import ChangeNotice, Fulfilment, Order, Parcel, Published, Unread
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus
from tracker.plugin.contracts import Platform
from tracker.plugin.payloads import mapping, moment, optional, piece, pieces, term, word
from tracker.plugin.tracked import parcels, strict, tags

GID = re.compile(r"gid://shopify/Order/[0-9]{1,20}")
_NO_EVENTS: dict[str, Any] = {"nodes": []}


def nodes_of(data: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return the orders of an answer, read by id or by page, and where they stand. Raises BadPayload where there is no list."""
    where, nodes = "$.data.nodes", data.get("nodes")
    if "nodes" not in data:
        where, nodes = "$.data.orders.nodes", mapping(data.get("orders"), "$.data.orders").get("nodes")
    if not isinstance(nodes, list):
        raise BadPayload(where, "must be a list")
    return where, nodes


def asked_on(parts: list[dict[str, Any]]) -> dict[str, tuple[int, Any]]:
    """Return the lists that were asked on: order -> how many may have come, and the list."""
    found: dict[str, tuple[int, Any]] = {}
    for part in parts:
        data = part.get("data")
        whole = data.get("order") if isinstance(data, dict) else None
        if isinstance(whole, dict) and isinstance(ref := whole.get("id"), str):
            found[ref] = (MOST[2] if ref in found else MOST[1], whole.get("fulfillments"))
    return found


def whole_of(nodes: list[Any]) -> dict[str, tuple[int, Any]]:
    """Return the lists of the orders of a bulk operation: they came as long as lists may be."""
    return {
        n["id"]: (MOST[2], n.get("fulfillments")) for n in nodes if isinstance(n, dict) and isinstance(n.get("id"), str)
    }


def is_full(order_: Any, most: int) -> bool:
    """Say whether a list of an order, or of its fulfilments, holds as many as were asked for: there may be more."""
    rows = order_.get("fulfillments") if isinstance(order_, dict) else None
    if not isinstance(rows, list) or len(rows) >= most:
        return isinstance(rows, list)
    for row in rows:
        told_ = row.get("trackingInfo") if isinstance(row, dict) else None
        if isinstance(told_, list) and len(told_) >= most:
            return True
    return False


def order_of(node: dict[str, Any], unread: list[Unread], shop: Platform, more: Mapping[str, tuple[int, Any]]) -> Order:
    """Read an order. It is not told without what a write depends on: its status, its money, its times."""
    ref = word(node.get("id"), "$.id")
    raw = word(node.get("displayFulfillmentStatus"), "$.displayFulfillmentStatus")
    paid = strict(node.get("displayFinancialStatus"), "$.displayFinancialStatus")
    cancelled = node.get("cancelledAt")
    cancelled_at = moment(cancelled, "$.cancelledAt") if cancelled is not None else None
    raw = "CANCELLED" if cancelled_at else raw
    most, told_ = more.get(ref, (MOST[0], node.get("fulfillments")))
    if is_full({"fulfillments": told_}, most):
        problem = f"incomplete: {most} fulfilments or numbers came, which is as many as may come at once"
        unread.append(Unread("$.fulfillments", problem, lacks="rest"))
    return Order(
        store=shop.account,
        ref=ref,
        number=word(node.get("name"), "$.name"),
        status=shop.statuses.get(raw, OrderStatus.UNKNOWN),
        raw_status=raw,
        payment=PAYMENTS.get(paid, PaymentStatus.PENDING),
        raw_payment=paid,
        placed_at=moment(node.get("createdAt"), "$.createdAt"),
        updated_at=moment(node.get("updatedAt"), "$.updatedAt"),
        cancelled_at=cancelled_at,
        owner=Owner.COURIER,
        tags=tuple(sorted(tags(node.get("tags"), unread))),
        shown=_field(node.get("shown")) if shop.status_field else "",
        fulfilments=tuple(pieces(told_, "$.fulfillments", _fulfilment, unread, shop, lacks="line")),
    )


def _field(value: Any) -> str:
    """Read the metafield that shows the shipping status; empty where there is none."""
    return "" if value is None else strict(mapping(value, "$.shown").get("value"), "$.shown.value")


def _fulfilment(node: dict[str, Any], unread: list[Unread], shop: Platform) -> Fulfilment:
    """Read a fulfilment: never without whether it is live. Where what it shows cannot be read, nothing new is shown."""
    status = word(node.get("status"), "$.status")
    events = node.get("events")
    shown = None if events == _NO_EVENTS else piece(events, "$.events", _shown, unread, lacks="line")
    unreadable: list[str] = []
    found = pieces(node.get("trackingInfo"), "$.trackingInfo", _tracking, unread, shop, unreadable, lacks="line")
    return Fulfilment(
        ref=word(node.get("id"), "$.id"),
        status=status,
        parcels=tuple(parcel for parcels_ in found for parcel in parcels_),
        published=shown[0] if shown else None,
        live=status not in UNSHIPPED,
        shipped_at=optional(moment, node.get("createdAt"), "$.createdAt", unread),
        unreadable=tuple(unreadable),
    )


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
    return Published(READS.get(raw), raw, moment(node.get("happenedAt"), "$.happenedAt"))


# Where the body of a topic names its order (shopify.dev, webhook topics 2026-04); the first beginning that fits counts.
# A body without its topic is looked through in every place; one of another topic never by its own `id`.
TOPICS = {
    "orders/edited": ("order_edit.order_id",),
    "orders/": ("order_id", "id"),
    "fulfillments/": ("order_id",),
    "fulfillment_events/": ("order_id",),
    "refunds/": ("order_id",),
    "returns/": ("order.id", "order_id"),
    "": ("order_edit.order_id", "order_id", "order.id", "fulfillment_order.order_id"),
}


def change_notices(body: dict[str, Any], topic: str) -> Iterable[ChangeNotice | Unread]:
    """Find the order that a webhook speaks of."""
    begins = next(begins for begins in TOPICS if topic.startswith(begins))
    for path in (*TOPICS[begins], *(() if topic else ("id",))):
        value: Any = body
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        ref = f"gid://shopify/Order/{value}" if isinstance(value, int) else value
        if isinstance(ref, str) and not isinstance(value, bool):
            ref = f"gid://shopify/Order/{ref}" if ref.isdecimal() else ref
            if GID.fullmatch(ref):
                return (ChangeNotice(ref),)
    if topic and not begins:
        return (Unread("$", f"a webhook of the topic {topic!r:.60} names no order", lacks="nothing"),)
    raise BadPayload("$", f"names no order{f', as {topic} does' if topic else ''}")
