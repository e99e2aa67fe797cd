"""What people do in a Shopify shop: they place, ship and change orders, and the shop tells it by webhook."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import orjson

from tracker.sandbox.base import Outgoing
from tracker.sandbox.scenario import Cancel, Edit, Pay, Place, Refund, Ship
from tracker.sandbox.shop import Shop, parcels

STORED = "%Y-%m-%dT%H:%M:%SZ"


class People(Shop):
    """A shop's orders, and what people do with them."""

    # what a scenario says that people do

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order: paid, and nothing of it fulfilled, unless it says more."""
        self.place(action.order, at, action.payment or "PAID", action.status or "UNFULFILLED")

    def on_ship(self, action: Ship, at: datetime) -> None:
        """Create a fulfilment."""
        self.ship(action.order, at, parcels(action.company, action.numbers), partly=action.partly)

    def on_edit(self, action: Edit, at: datetime) -> None:
        """Change fields, then numbers, then let another app write an event."""
        if action.set:
            self.set(action.order, **action.set)
        if action.numbers is not None:
            self.retrack(action.order, parcels(action.company, action.numbers))
        if action.event is not None:
            self.own_event(action.order, action.event)

    def on_cancel(self, action: Cancel, at: datetime) -> None:
        """Cancel the order."""
        self.set(action.order, cancelledAt=at.strftime(STORED))

    def on_refund(self, action: Refund, at: datetime) -> None:
        """Give the money of the order back."""
        self.set(action.order, displayFinancialStatus=action.status or "REFUNDED")

    def on_pay(self, action: Pay, at: datetime) -> None:
        """Change the payment."""
        self.set(action.order, displayFinancialStatus=action.status or "PAID")

    # what people do in the shop

    def place(self, name: str, at: datetime, payment: str, status: str = "UNFULFILLED") -> None:
        """Place an order."""
        ref = next(self._ids) + 1000
        self.orders[name] = {
            "id": f"gid://shopify/Order/{ref}", "number": ref, "name": name, "createdAt": at.strftime(STORED),
            "updatedAt": at.strftime(STORED), "cancelledAt": None, "displayFulfillmentStatus": status,
            "displayFinancialStatus": payment, "fulfillments": [], "tags": [], "metafields": {},
        }  # fmt: skip
        self._tell(name, "orders/create")

    def ship(self, name: str, at: datetime, parcels: list[dict[str, str]], *, partly: bool) -> None:
        """Create a fulfilment with its tracking numbers."""
        order = self.orders[name]
        order["fulfillments"].append(
            {
                "id": f"gid://shopify/Fulfillment/{next(self._ids) + 5000}", "status": "SUCCESS",
                "createdAt": at.strftime(STORED), "trackingInfo": parcels, "events": [],
            }
        )  # fmt: skip
        order["displayFulfillmentStatus"] = "PARTIALLY_FULFILLED" if partly else "FULFILLED"
        self.touch(name, "fulfillments/create")

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
