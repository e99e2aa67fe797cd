"""What people do in a Shopify shop: they place, ship and change orders, and the shop tells it by webhook."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson

from tracker.sandbox.base import Outgoing
from tracker.sandbox.scenario import Cancel, Edit, ItemPlaced, Pay, Place, Refund, Ship
from tracker.sandbox.shop import Shop, parcels

STORED = "%Y-%m-%dT%H:%M:%SZ"
GATEWAYS = {"card": "shopify_payments", "cod": "Cash on Delivery (COD)", "bank_transfer": "Bank Deposit"}
NOTHING: Mapping[str, int] = MappingProxyType({})
ANY_LINE = {
    "name": "any", "quantity": 10, "currentQuantity": 10, "refundableQuantity": 10, "unfulfilledQuantity": 10,
    "requiresShipping": True, "isGiftCard": False,
}  # fmt: skip
Lines = list[dict[str, Any]]


class People(Shop):
    """A shop's orders, and what people do with them."""

    # what a scenario says that people do

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order: paid, and nothing of it fulfilled, unless it says more. `method` is a word of DeliveryMethodType."""
        shown = {"": None, "confirmed": "NO_ISSUES", "unconfirmed": "WARNING", "flagged": "ERROR"}
        address = {"countryCodeV2": action.country or "US", "validationResultSummary": shown.get(action.address)}
        self.place(
            action.order, at, action.payment or "PAID", action.status or "UNFULFILLED",
            items=[_line_of(item) for item in action.items], method=action.method or "SHIPPING",
            location=action.location or "Warehouse", by=action.by, tags=list(action.tags),
            shippingAddress=None if action.address == "missing" else address,
            shippingLine={"title": action.service} if action.service else None,
            paymentGatewayNames=[GATEWAYS.get(action.pays_by, action.pays_by)],
        )  # fmt: skip

    def on_ship(self, action: Ship, at: datetime) -> None:
        """Create a fulfilment of the pieces named, or of all that are left (one, where that is a part)."""
        numbers = parcels(action.company, action.numbers)
        self.ship(action.order, at, numbers, partly=action.partly, items=action.items, by=action.by)

    def on_edit(self, action: Edit, at: datetime) -> None:
        """Change fields, then numbers, then let another app write an event. `holds` puts the order on hold for these reasons, or releases it."""
        changed = dict(action.set)
        if (holds := changed.pop("holds", None)) is not None:
            self.hold(action.order, holds)
        if changed:
            self.set(action.order, **changed)
        if action.numbers is not None:
            self.retrack(action.order, parcels(action.company, action.numbers))
        if action.event is not None:
            self.own_event(action.order, action.event)

    def on_cancel(self, action: Cancel, at: datetime) -> None:
        """Cancel the order, or take pieces of a line out of it."""
        if action.item is not None:
            self.remove(action.order, action.item, action.quantity)
            return
        self.orders[action.order]["cancelReason"] = "CUSTOMER"
        self.happened(action.order, "cancelled", action.by)
        self.set(action.order, cancelledAt=at.strftime(STORED))

    def on_refund(self, action: Refund, at: datetime) -> None:
        """Give the money of the order back, or that of pieces of a line."""
        if action.item is not None:
            self.remove(action.order, action.item, action.quantity)
        if action.item is None or action.status is not None:
            self.set(action.order, displayFinancialStatus=action.status or "REFUNDED")

    def on_pay(self, action: Pay, at: datetime) -> None:
        """Change the payment."""
        self.set(action.order, displayFinancialStatus=action.status or "PAID")

    # what people do in the shop

    def place(
        self, name: str, at: datetime, payment: str, status: str = "UNFULFILLED", *, items: Lines | None = None,
        method: str = "SHIPPING", location: str = "Warehouse", by: str = "system", **more: Any,
    ) -> None:  # fmt: skip
        """Place an order. Without lines it has one, of ten pieces; its pieces are routed at once."""
        ref = next(self._ids) + 1000
        stamp = at.strftime(STORED)
        lines = [
            {"id": f"gid://shopify/LineItem/{ref}{n:03}", **line} for n, line in enumerate(items or [dict(ANY_LINE)])
        ]
        self.orders[name] = {
            "id": f"gid://shopify/Order/{ref}", "number": ref, "name": name, "createdAt": stamp,
            "updatedAt": stamp, "cancelledAt": None, "displayFulfillmentStatus": status,
            "displayFinancialStatus": payment, "fulfillments": [], "tags": [], "metafields": {},
            "cancelReason": None, "closedAt": None, "test": False, "customerLocale": "en", "sourceName": "web",
            "paymentGatewayNames": ["shopify_payments"], "risk": {"recommendation": "ACCEPT"}, "shippingLine": None,
            "shippingAddress": {"countryCodeV2": "US", "validationResultSummary": None},
            "requiresShipping": any(line["requiresShipping"] for line in lines),
            "lines": lines, "routes": _routes(ref, lines, method, location), "events": [], **more,
        }  # fmt: skip
        self.happened(name, "placed", by)
        self._tell(name, "orders/create")

    def ship(
        self, name: str, at: datetime, parcels: list[dict[str, str]], *, partly: bool,
        items: Mapping[str, int] = NOTHING, by: str = "seller",
    ) -> None:  # fmt: skip
        """Create a fulfilment with its tracking numbers, of the pieces named (by the line's name) or of what is left."""
        order = self.orders[name]
        held = []
        for line in order["lines"]:
            wanted = items.get(line["name"], 0) if items else 1 if partly else line["unfulfilledQuantity"]
            pieces = min(wanted, line["unfulfilledQuantity"])
            line["unfulfilledQuantity"] -= pieces
            held += [{"quantity": pieces, "lineItem": {"id": line["id"]}}] if pieces else []
        if not held:  # what is sent beyond the order was added to it
            line = order["lines"][0]
            line |= {key: line[key] + 1 for key in ("quantity", "currentQuantity", "refundableQuantity")}
            held = [{"quantity": 1, "lineItem": {"id": line["id"]}}]
        _take(order["routes"], held)
        order["fulfillments"].append(
            {
                "id": f"gid://shopify/Fulfillment/{next(self._ids) + 5000}", "status": "SUCCESS",
                "createdAt": at.strftime(STORED), "trackingInfo": parcels, "events": [], "lines": held,
            }
        )  # fmt: skip
        left = any(line["unfulfilledQuantity"] for line in order["lines"])
        order["displayFulfillmentStatus"] = "PARTIALLY_FULFILLED" if left else "FULFILLED"
        self.happened(name, "fulfillment_success", by)
        self.touch(name, "fulfillments/create")

    def hold(self, name: str, reasons: list[str]) -> None:
        """Hold what is left to be fulfilled, for some reasons; release it where there is none."""
        order = self.orders[name]
        for route in order["routes"]:
            if route["status"] != "CLOSED":
                route["status"] = "ON_HOLD" if reasons else "OPEN"
                route["fulfillmentHolds"] = [{"reason": reason} for reason in reasons]
        partly = "PARTIALLY_FULFILLED" if order["fulfillments"] else "UNFULFILLED"
        self.set(name, displayFulfillmentStatus="ON_HOLD" if reasons else partly)

    def remove(self, name: str, item: str, quantity: int | None) -> None:
        """Take pieces of a line out of an order: cancelled, or refunded."""
        order = self.orders[name]
        line = next(line for line in order["lines"] if line["name"] == item)
        pieces = line["currentQuantity"] if quantity is None else quantity
        line |= {key: line[key] - pieces for key in ("currentQuantity", "refundableQuantity")}
        open_ = min(pieces, line["unfulfilledQuantity"])
        line["unfulfilledQuantity"] -= open_
        _take(order["routes"], [{"quantity": open_, "lineItem": {"id": line["id"]}}], gone=True)
        self.touch(name, "orders/updated")

    def happened(self, name: str, action: str, by: str) -> None:
        """Note an event of an order: by a person of the shop, by an app, or by Shopify itself."""
        self.orders[name]["events"].insert(
            0,
            {
                "action": action, "createdAt": self.clock().strftime(STORED), "attributeToApp": by.startswith("app"),
                "attributeToUser": by in ("seller", "admin"),
            },
        )  # fmt: skip

    def set(self, name: str, **values: Any) -> None:
        """Change fields of an order, as a person or another app does."""
        self.orders[name].update(values)
        self.touch(name, "orders/cancelled" if values.get("cancelledAt") else "orders/updated")

    def retrack(self, name: str, parcels: list[dict[str, str]]) -> None:
        """Replace the tracking numbers of the newest fulfilment."""
        self.orders[name]["fulfillments"][-1]["trackingInfo"] = parcels
        self.touch(name, "fulfillments/update")

    def touch(self, name: str, topic: str) -> None:
        """Mark an order as changed now and tell by webhook."""
        self.orders[name]["updatedAt"] = self.clock().strftime(STORED)
        self._tell(name, topic)

    def own_event(self, name: str, status: str) -> None:
        """Record an event that we did not write (another app, the shop itself)."""
        fulfilment = self.orders[name]["fulfillments"][-1]
        self._append(fulfilment, status, self.clock())
        self.touch(name, "fulfillment_events/create")

    def _append(self, fulfilment: dict[str, Any], status: str, happened_at: datetime) -> dict[str, Any]:
        event = {
            "id": f"gid://shopify/FulfillmentEvent/{next(self._ids)}", "status": status,
            "happenedAt": happened_at.astimezone(UTC).strftime(STORED),
        }  # fmt: skip
        fulfilment["events"].append(event)
        return event

    def _tell(self, name: str, topic: str) -> None:
        order = self.orders[name]
        body = orjson.dumps({"id": order["number"], "admin_graphql_api_id": order["id"], "name": name})
        if topic.startswith("fulfillment"):
            body = orjson.dumps({"id": 1, "order_id": order["number"], "status": "success"})
        self.outgoing.append(self.signed(body, topic))

    def signed(self, body: bytes, topic: str = "orders/updated", *, secret: str | None = None) -> Outgoing:
        """Sign a webhook as Shopify does."""
        digest = hmac.new((secret or self.hook).encode(), body, hashlib.sha256).digest()
        headers = {
            "content-type": "application/json", "x-shopify-topic": topic, "x-shopify-webhook-id": f"wh-{next(self._ids)}",
            "x-shopify-hmac-sha256": base64.b64encode(digest).decode(), "x-shopify-api-version": "2026-04",
            "x-shopify-shop-domain": f"{self.account}.myshopify.com",
        }  # fmt: skip
        return Outgoing(self.account, body, headers)

    def _by_id(self, ref: str) -> dict[str, Any] | None:
        return next((one for one in list(self.orders.values()) if one["id"] == ref), None)

    def _fulfilment(self, ref: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        for order in list(self.orders.values()):
            for fulfilment in order["fulfillments"]:
                if fulfilment["id"] == ref:
                    return order, fulfilment
        return None


def _line_of(item: ItemPlaced) -> dict[str, Any]:
    counts = ("quantity", "currentQuantity", "refundableQuantity", "unfulfilledQuantity")
    return {
        "name": item.ref,
        **dict.fromkeys(counts, item.quantity),
        "requiresShipping": item.shippable,
        "isGiftCard": "gift" in item.name.casefold(),
    }


def _routes(ref: int, lines: Lines, method: str, location: str) -> Lines:
    """Route the pieces of an order: those that are shipped by its method, the others by none."""
    found = []
    for at, (by, some) in enumerate(
        (
            (method, [x for x in lines if x["requiresShipping"]]),
            ("NONE", [x for x in lines if not x["requiresShipping"]]),
        )
    ):
        rows = [
            {"id": f"gid://shopify/FulfillmentOrderLineItem/{ref}{at}{n:03}", "totalQuantity": line["quantity"],
             "remainingQuantity": line["quantity"], "lineItem": {"id": line["id"]}}
            for n, line in enumerate(some)
        ]  # fmt: skip
        if rows:
            found.append(
                {"id": f"gid://shopify/FulfillmentOrder/{ref}{at}", "status": "OPEN", "fulfillAt": None,
                 "deliveryMethod": {"methodType": by}, "assignedLocation": {"name": location}, "fulfillmentHolds": [],
                 "lines": rows}
            )  # fmt: skip
    return found


def _take(routes: Lines, held: Lines, *, gone: bool = False) -> None:
    """Take pieces that were fulfilled, or are `gone`, from the fulfilment orders; one of which nothing is left is closed."""
    for one in held:
        left = one["quantity"]
        for route in routes:
            for line in route["lines"]:
                if line["lineItem"]["id"] == one["lineItem"]["id"]:
                    pieces = min(left, line["remainingQuantity"])
                    line["remainingQuantity"] -= pieces
                    line["totalQuantity"] -= pieces if gone else 0
                    left -= pieces
            if not any(line["remainingQuantity"] for line in route["lines"]):
                route["status"] = "CLOSED"
