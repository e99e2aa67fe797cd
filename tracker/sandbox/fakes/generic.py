"""The shop that deploy/examples/ecwid.yaml describes: Ecwid's REST API 3 as far as a play needs it.

By docs.ecwid.com, read 2026-11: orders by id, a search by `updatedFrom` with `offset` and `limit`, an update that answers with its count.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Outgoing, as_json
from tracker.sandbox.scenario import Place
from tracker.sandbox.shop import StatusShop

WORDS = (
    "AWAITING_PROCESSING", "PROCESSING", "SHIPPED", "DELIVERED", "WILL_NOT_DELIVER", "RETURNED", "READY_FOR_PICKUP",
    "OUT_FOR_DELIVERY",
)  # fmt: skip
MOST = 100  # orders of a page


class EcwidServer(StatusShop):
    """An Ecwid store."""

    parts = False  # an order has one number

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/orders", self._search),
            Route("/orders/{ref}", self._get),
            Route("/orders/{ref}", self._update, methods=["PUT"]),
        ]

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML, beside those of the entry that is played."""
        return {"base_url": base_url}

    # what people do in the shop

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order."""
        number = next(self._ids) + 1000
        items = action.items or ()
        self.orders[action.order] = {
            "id": f"E{number}", "internalId": number, "vendorOrderNumber": action.order, "paymentMethod": "Offline",
            "paymentStatus": action.payment or "PAID", "fulfillmentStatus": action.status or WORDS[0],
            "createDate": _printed(at), "shippingOption": {"shippingMethodName": action.method or "Standard"},
            "shippingPerson": {"countryCode": action.country or "US"},
            "items": [{"id": n, "sku": i.ref, "name": i.name, "quantity": i.quantity, "isShippingRequired": i.shippable}
                      for n, i in enumerate(items, 1)] or [{"id": 1, "quantity": 1, "name": "Toys", "isShippingRequired": True}],
        }  # fmt: skip
        self._touch(action.order, "order.created")

    def ship(
        self, name: str, at: datetime, parcels: list[dict[str, str]], *, items: dict[str, int], service: str = ""
    ) -> None:
        """Type the tracking number into the order: it has one."""
        self.retrack(name, parcels)

    def retrack(self, name: str, parcels: list[dict[str, str]]) -> None:
        """Replace the tracking number."""
        order = self.orders[name]
        order["trackingNumber"] = ", ".join(parcel["number"] for parcel in parcels)
        order["shippingOption"]["shippingCarrierName"] = parcels[0]["company"] if parcels else ""
        self._touch(name)

    def set(self, name: str, by: str, **values: Any) -> None:
        """Change fields of an order; `status` and `payment` are its two words."""
        order = self.orders[name]
        names = {"status": "fulfillmentStatus"}
        for key, value in values.items():
            if key == "payment":
                order["paymentStatus"] = {"paid": "PAID", "refunded": "REFUNDED"}.get(value["status"], value["status"])
            else:
                order[names.get(key, key)] = value
        self._touch(name)

    def cancel(self, name: str, by: str) -> None:
        """Cancel the whole order."""
        self.orders[name] |= {"paymentStatus": "CANCELLED", "fulfillmentStatus": "WILL_NOT_DELIVER"}
        self._touch(name)

    def remove(self, name: str, item: str, quantity: int | None, how: str) -> None:
        """Take pieces of an item out."""
        for row in self.orders[name]["items"]:
            if row.get("sku") == item:
                row["quantity"] -= row["quantity"] if quantity is None else quantity
        self._touch(name)

    def _touch(self, name: str, event: str = "order.updated") -> None:
        """Mark an order as changed now and tell by webhook."""
        order = self.orders[name]
        order["updateDate"] = _printed(self.clock())
        if self._hooks:
            body = {
                "eventId": f"ev-{next(self._ids)}", "eventCreated": int(self.clock().timestamp()), "storeId": 1003,
                "entityId": order["internalId"], "eventType": event, "data": {"orderId": order["id"]},
            }  # fmt: skip
            self.outgoing.append(self.signed(orjson.dumps(body)))

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Send the custom header that was agreed."""
        headers = {"content-type": "application/json", "x-trackwright-key": secret or self.hook}
        return Outgoing(self.account, body, headers)

    # the API

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(403, "Access denied")
        return self.trouble()

    async def _search(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["orders"] += 1
        asked = request.query_params
        if not {*asked} <= {"updatedFrom", "limit", "offset"}:
            return _error(400, "unknown parameter")
        since = datetime.fromtimestamp(int(asked.get("updatedFrom") or 0), UTC)
        rows = [order for order in self.orders.values() if _read(order["updateDate"]) >= since]
        rows.sort(key=lambda order: order["internalId"], reverse=True)
        start, limit = int(asked.get("offset", 0)), min(int(asked.get("limit", MOST)), MOST)
        page = rows[start : start + limit]
        return as_json({"total": len(rows), "count": len(page), "offset": start, "limit": limit, "items": page})

    def _find(self, request: Request) -> dict[str, Any] | None:
        return next((order for order in self.orders.values() if order["id"] == request.path_params["ref"]), None)

    async def _get(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["read"] += 1
        order = self._find(request)
        if order is None:
            return _error(404, "Order not found")
        return as_json({**order, "email": self.address(order["vendorOrderNumber"]) or ""})

    async def _update(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        order, body = self._find(request), orjson.loads(await request.body())
        if order is None:
            return _error(404, "Order not found")
        word = body.get("fulfillmentStatus")
        if word not in WORDS or {*body} != {"fulfillmentStatus"}:
            return _error(400, f"no such status {word!r}")
        if self.faults.take("refuse_write"):
            return _error(409, "The order is locked")
        before, order["fulfillmentStatus"] = order["fulfillmentStatus"], word
        self._wrote(order["vendorOrderNumber"], word, None, was=before)
        self._touch(order["vendorOrderNumber"])
        return self._done(as_json({"updateCount": 1}))


def _printed(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S +0000")


def _read(printed: str) -> datetime:
    return datetime.strptime(printed, "%Y-%m-%d %H:%M:%S %z")


def _error(status: int, said: str) -> Response:
    return as_json({"errorMessage": said}, status)
