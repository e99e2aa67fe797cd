"""What a WooCommerce site answers about its tracking and its hooks."""

from __future__ import annotations

import html
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tracker.sandbox.base import Outgoing, as_json
from tracker.sandbox.fakes.woocommerce.people import People, error


class Places(People):
    """Order fulfilments, the trackings of a plugin, and the list of hooks."""

    # where tracking lies

    async def _fulfillments(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if "fulfillments" not in self.place_:
            return await self._no_route(request)
        self.calls["fulfillments"] += 1
        order = self._find(request)[1]
        if not order:
            return error("woocommerce_rest_order_invalid_id", "Invalid order ID.", 404)
        return as_json([self._fulfilled(order, one) for one in order["fulfillments"]])

    def _fulfilled(self, order: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": one["id"], "entity_type": "WC_Order", "entity_id": str(order["id"]), "status": one["status"], "is_fulfilled": True,
            "date_updated": f"{self.clock().astimezone(UTC):%Y-%m-%d %H:%M:%S}", "date_deleted": one["deleted"], "meta_data": one["meta"],
        }  # fmt: skip

    async def _fulfillment(self, request: Request) -> Response:
        """Show one, or replace all of its meta: what is left out is gone, and a locked one refuses."""
        if (refused := self._refused(request)) is not None:
            return refused
        name, order = self._find(request)
        one = next(
            (one for one in order.get("fulfillments", ()) if str(one["id"]) == request.path_params["part"]), None
        )
        if one is None:
            return error("woocommerce_rest_fulfillment_invalid_id", "Invalid fulfillment ID.", 404)
        if request.method == "PUT":
            body = orjson.loads(await request.body())
            meta = {row["key"]: row["value"] for row in body.get("meta_data", ())}
            locked = next((row["value"] for row in one["meta"] if row["key"] == "_lock_message"), "")
            if locked or "_items" not in meta or "_shipment_provider" not in meta:
                return error("woocommerce_rest_fulfillment_error", locked or "The fulfillment items are required.", 400)
            if "true" in (request.query_params.get("notify_customer"), str(body.get("notify_customer")).lower()):
                self.mails.append((name, "fulfillment"))
            one["meta"] = self._rows(meta)
            self._wrote(name, "number", None, numbers=[meta.get("_tracking_number", "")])
            self.touch(name)
        return as_json(self._fulfilled(order, one))

    async def _trackings(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if not any(f"/{namespace}/" in request.url.path for namespace in self._namespaces()):
            return await self._no_route(request)
        self.calls["trackings"] += 1
        name, order = self._find(request)
        if not order:
            return error("woocommerce_rest_order_invalid_id", "Invalid order ID.", 404)
        if request.method == "GET":
            return as_json(order["trackings"])
        body = orjson.loads(await request.body())
        made = {
            "tracking_id": f"{next(self._ids):x}",
            "tracking_provider": "",
            "tracking_link": "",
            "date_shipped": "",
            **body,
        }
        order["trackings"].append(made)
        self._wrote(name, "number", None, numbers=[made["tracking_number"]])
        self.touch(name)
        return as_json(made, 201)

    async def _tracking(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        _, order = self._find(request)
        there = [one for one in order.get("trackings", ()) if one["tracking_id"] == request.path_params["part"]]
        if not there:
            return error("woocommerce_shipment_tracking_rest_invalid_id", "Invalid shipment tracking ID.", 404)
        order["trackings"].remove(there[0])
        return as_json(there[0])

    # its list of hooks

    async def _hook_list(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if self.faults.take("refuse_hooks"):
            return error("woocommerce_rest_cannot_view", "Sorry, you cannot list resources.", 403)
        if request.method == "POST":
            return self._made(orjson.loads(await request.body()))
        self.calls["hooks"] += 1
        if self.hooks and self.faults.take("lose_hook"):
            del self.hooks[min(self.hooks)]
        if self.hooks and self.faults.take("stop_hook"):
            self.hooks[max(self.hooks)]["status"] = "disabled"
        return as_json([*map(_told, self.hooks.values())])

    def _made(self, body: dict[str, Any]) -> Response:
        """Make a hook and ping its address. A secret is kept with its entities encoded."""
        if urlsplit(body["delivery_url"]).scheme not in ("http", "https"):
            return error(
                "woocommerce_rest_webhook_invalid_delivery_url", "Webhook delivery URL must be a valid URL.", 400
            )
        if not body.get("secret"):
            self.complaints.append("a hook without a secret of its own")
        number = next(self._ids)
        self.hooks[number] = {"id": number, "failures": 0, **body, "secret": html.escape(body.get("secret", ""))}
        self.calls["hook made"] += 1
        self.outgoing.append(
            Outgoing(
                self.account, f"webhook_id={number}".encode(), {"content-type": "application/x-www-form-urlencoded"}
            )
        )
        return as_json(_told(self.hooks[number]), 201)

    async def _hook(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        number = int(request.path_params["hook"])
        if number not in self.hooks:
            return error("woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.", 404)
        if request.method == "DELETE":
            return as_json(_told(self.hooks.pop(number)))
        body = orjson.loads(await request.body())
        self.calls["hook mended"] += 1
        self.hooks[number] |= {key: body[key] for key in ("name", "status", "secret") if key in body} | {"failures": 0}
        return as_json(_told(self.hooks[number]))


def _told(hook: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in hook.items() if key not in ("secret", "failures")}
