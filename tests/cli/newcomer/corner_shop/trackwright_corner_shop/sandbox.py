"""A local shop that speaks the Corner Shop API v3, for plays. It refuses what the real shop refuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Outgoing, as_json, next_page
from tracker.sandbox.scenario import Place
from tracker.sandbox.shop import Parcels, Shop, StatusShop

WORDS = ("picking", "on the road", "done", "cancelled")


class CornerShopServer(StatusShop):
    """Orders whose status can be written; a webhook tells which one changed."""

    knows = Shop.knows  # pieces of an order cannot be taken out

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/v3/shop", self._shop),
            Route("/v3/orders", self._list),
            Route("/v3/orders/{ref}", self._read),
            Route("/v3/orders/{ref}/state", self._status, methods=["PUT"]),
        ]

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML."""
        return {"base_url": base_url, "api_token": key, "webhook_secrets": hook}

    # what people do in the shop

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order."""
        self.orders[action.order] = {
            "id": next(self._ids) + 1000, "code": action.order, "state": action.status or WORDS[0],
            "paid": action.payment in (None, "paid"), "placed_at": at.isoformat(), "updated_at": at.isoformat(),
            "lines": [{"id": item.ref, "name": item.name, "ordered": item.quantity} for item in action.items], "parcels": [],
        }  # fmt: skip
        self._tell(action.order)

    def ship(self, name: str, at: datetime, parcels: Parcels, *, items: dict[str, int], service: str = "") -> None:
        """Add parcels; the status is the seller's own business."""
        self.orders[name]["parcels"] += [
            {"id": f"F{next(self._ids)}", "carrier": parcel["company"], "number": parcel["number"]}
            for parcel in parcels
        ]
        self.set(name, "seller")

    def set(self, name: str, by: str, **values: Any) -> None:
        """Change fields of an order."""
        if payment := values.pop("payment", None):
            values["paid"] = payment["status"] == "paid"
        if "status" in values:
            values["state"] = values.pop("status")
        self.orders[name] |= {**values, "updated_at": self.clock().isoformat()}
        self._tell(name)

    def _tell(self, name: str) -> None:
        if self._hooks:
            body = orjson.dumps({"topic": "order.changed", "order": self.orders[name]["id"]})
            self.outgoing.append(self.signed(body))

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Sign a webhook with base64 of the HMAC-SHA256 of its body."""
        digest = hmac.new((secret or self.hook).encode(), body, hashlib.sha256).digest()
        return Outgoing(self.account, body, {"x-corner-signature": base64.b64encode(digest).decode()})

    def cancel(self, name: str, by: str) -> None:
        """Cancel the whole order."""
        self.set(name, by, state="cancelled")

    def retrack(self, name: str, parcels: Parcels) -> None:
        """Replace the numbers of the newest parcels."""
        del self.orders[name]["parcels"][-len(parcels) :]
        self.ship(name, self.clock(), parcels, items={})

    # the API

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("x-corner-token") != self.key:
            return as_json({"error": {"code": "unauthorized"}}, 401)
        return self.trouble()

    def _found(self, request: Request) -> dict[str, Any] | None:
        return next((order for order in self.orders.values() if str(order["id"]) == request.path_params["ref"]), None)

    async def _shop(self, request: Request) -> Response:
        return self._refused(request) or as_json({"name": self.account})

    async def _list(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["orders"] += 1
        since = request.query_params.get("since")
        ended = ("done", "cancelled") if "open" in request.query_params else ()
        rows = [
            order
            for order in self.orders.values()
            if order["state"] not in ended
            and (not since or datetime.fromisoformat(order["updated_at"]) >= datetime.fromisoformat(since))
        ]
        page, after, more = next_page(
            rows, lambda o: (o["updated_at"], str(o["id"])), request.query_params.get("page"), 50
        )
        return as_json({"orders": page, "next": after if more else None})

    async def _read(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["read"] += 1
        order = self._found(request)
        return as_json({"order": order}) if order else as_json({"error": {"code": "not_found"}}, 404)

    async def _status(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        order, body = self._found(request), orjson.loads(await request.body())
        if order is None:
            return as_json({"error": {"code": "not_found"}}, 404)
        if body.get("state") not in WORDS:
            return as_json({"error": {"code": "unknown_status"}}, 422)
        if order["state"] == "cancelled" or self.faults.take("refuse_write"):
            return as_json({"error": {"code": "refused"}}, 409)
        if order["state"] != body["state"]:
            self.set(order["code"], "app", state=body["state"])
            self._wrote(order["code"], body["state"], None)
        if self.faults.take("apply_then_fail"):
            return Response("", 502)  # it is done, and the answer is lost
        return as_json({"order": order})
