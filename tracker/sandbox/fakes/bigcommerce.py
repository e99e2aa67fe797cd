"""BigCommerce: orders V2 and thin V3 hooks."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Clock, Outgoing, as_json
from tracker.sandbox.scenario import Place
from tracker.sandbox.shop import AS_USUAL, StatusShop, items_of
from tracker.sandbox.used import StoreUsed

QUOTA = 450  # calls in a window
LABELS = {
    0: "Incomplete", 1: "Pending", 2: "Shipped", 3: "Partially Shipped", 4: "Refunded", 5: "Cancelled", 6: "Declined",
    7: "Awaiting Payment", 8: "Awaiting Pickup", 9: "Awaiting Shipment", 10: "Completed", 11: "Awaiting Fulfillment",
    12: "Manual Verification Required", 13: "Disputed", 14: "Partially Refunded",
}  # fmt: skip


class BigCommerceServer(StatusShop):
    """Orders V2 (orders, products, shipments) and thin V3 hooks, with the rate headers of a store."""

    contract = "bigcommerce"
    knows = StatusShop.knows | {"fault rate_limit", "fault lose_hook", "fault stop_hook", "fault refuse_hooks"}

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", used: StoreUsed = AS_USUAL
    ) -> None:
        """Begin with a full window of calls."""
        super().__init__(account, clock, key=key, hook=hook, used=used)
        self._left = QUOTA
        self._window = clock()
        self.hooks: dict[int, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """Return what it answers to, under the store's hash."""
        base = "/stores/{store}/v2"
        return [
            Route(f"{base}/orders", self._list),
            Route(f"{base}/order_statuses", self._statuses),
            Route(f"{base}/orders/{{id}}", self._one, methods=["GET", "PUT"]),
            Route(f"{base}/orders/{{id}}/products", self._products),
            Route(f"{base}/orders/{{id}}/shipments", self._shipments),
            Route("/stores/{store}/v3/hooks", self._hooks_list, methods=["GET", "POST"]),
            Route("/stores/{store}/v3/hooks/{id}", self._hook, methods=["PUT"]),
        ]

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML."""
        return {"base_url": base_url, "store_hash": "sandbox", "access_token": key, "hook_key": hook}

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order: captured, awaiting fulfilment and of one item, unless it says more."""
        self.place(
            action.order, at, status=action.status or "11", payment=action.payment or "captured",
            items=items_of(action) or [{"ref": "item", "name": "", "ordered": 1, "cancelled": 0, "refunded": 0}],
            payment_method=action.pays_by,
        )  # fmt: skip

    def place(self, name: str, at: datetime, *, status: str, actor: str = "", **more: Any) -> None:
        """Place an order; `status` is a label or an id."""
        id_ = int(name.lstrip("#")) if name.lstrip("#").isdigit() else next(self._ids) + 100
        self.orders[name] = {
            "id": id_, "status_id": _status_id(status), "payment_status": more.pop("payment", "captured"),
            "payment_method": more.pop("payment_method", "Credit Card"), "placed": at, "modified": at,
            "products": [
                {"id": 500 + n, "ref": i["ref"], "name": i["name"] or i["ref"], "quantity": i["ordered"],
                 "quantity_refunded": i["refunded"] + i["cancelled"], "quantity_shipped": 0, "type": "physical"}
                for n, i in enumerate(more.get("items", ()))
            ],
            "shipments": [], "country": more.get("country", "US"),
        }  # fmt: skip
        self.touch(name, "store/order/created")

    def ship(
        self, name: str, at: datetime, parcels: list[dict[str, str]], *, items: dict[str, int], service: str = ""
    ) -> None:
        """Add a shipment for each number; the order moves to (Partially) Shipped by itself, as the real one does."""
        order = self.orders[name]
        for number, parcel in enumerate(parcels):
            pieces = []
            for product in order["products"]:
                left = product["quantity"] - product["quantity_refunded"] - product["quantity_shipped"]
                count = (items.get(product["ref"], 0) if items else left) if number == 0 else 0
                if count:
                    product["quantity_shipped"] += count
                    pieces.append({"order_product_id": product["id"], "quantity": count})
            order["shipments"].append(
                {"id": next(self._ids) + 9000, "at": at, "tracking_number": parcel["number"],
                 "tracking_carrier": parcel["company"].lower(), "shipping_provider": "", "items": pieces,
                 "shipping_method": service}
            )  # fmt: skip
        if order["status_id"] in (7, 8, 9, 11, 3):
            whole = all(p["quantity_shipped"] >= p["quantity"] - p["quantity_refunded"] for p in order["products"])
            order["status_id"] = 2 if whole else 3
        self.touch(name, "store/shipment/created")

    def set(self, name: str, by: str, **values: Any) -> None:
        """Change fields of an order in the control panel."""
        order = self.orders[name]
        if "status" in values:
            order["status_id"] = _status_id(str(values.pop("status")))
        if isinstance(payment := values.pop("payment", None), dict):
            order["payment_status"] = payment.get("status", order["payment_status"])
        order |= values
        self.touch(name, "store/order/statusUpdated")

    def cancel(self, name: str, by: str) -> None:
        """Cancel the whole order."""
        self.set(name, by, status="Cancelled")

    def remove(self, name: str, item: str, quantity: int | None, how: str) -> None:
        """Refund pieces of an item: the only way to take them out here."""
        for row in self.orders[name]["products"]:
            if row["ref"] == item:
                row["quantity_refunded"] += row["quantity"] - row["quantity_refunded"] if quantity is None else quantity
        self.touch(name, "store/order/refund/created")

    def retrack(self, name: str, parcels: list[dict[str, str]]) -> None:
        """Replace the tracking number of the newest shipment."""
        self.orders[name]["shipments"][-1] |= {
            "tracking_number": parcels[0]["number"], "tracking_carrier": parcels[0]["company"].lower(),
        }  # fmt: skip
        self.touch(name, "store/shipment/updated")

    def touch(self, name: str, scope: str = "store/order/updated") -> None:
        """Mark an order as changed now and tell by hook."""
        order = self.orders[name]
        order["modified"] = self.clock()
        if not self._hooks:
            return
        data: dict[str, Any] = {"type": "order", "id": order["id"]}
        if scope.startswith("store/shipment"):
            data = {"type": "shipment", "id": 1, "orderId": order["id"]}
        body = {
            "scope": scope, "store_id": "1025646", "data": data, "hash": hashlib.sha1(scope.encode()).hexdigest(),  # noqa: S324
            "created_at": int(self.clock().timestamp()), "producer": "stores/sandbox",
        }  # fmt: skip
        self.outgoing.append(self.signed(orjson.dumps(body)))

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Sign a hook, and give back the header that was asked for when it was made."""
        outgoing = super().signed(body, secret=secret)
        return Outgoing(self.account, body, {**outgoing.headers, "x-trackwright": secret or self.hook})

    def invalid(self, problems: list[str], request: Request) -> Response:
        """Refuse a request: V2 with a list of errors, V3 with one."""
        if "/v3/" in request.url.path:
            title = "JSON data is missing or invalid"
            return as_json(
                {"status": 422, "title": title, "errors": {str(i): one for i, one in enumerate(problems)}}, 422
            )
        return as_json([{"status": 400, "message": one} for one in problems], 400)

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("x-auth-token") != self.key:
            return as_json({"status": 401, "title": "Unauthorized"}, 401)
        if (trouble := self.trouble()) is not None:
            return trouble
        now = self.clock()
        if now - self._window >= timedelta(seconds=30):
            self._left, self._window = QUOTA, now
        self._left -= 1
        if self.faults.take("rate_limit"):
            return as_json({"status": 429}, 429, **self._rate(0, 200))
        return None

    def _rate(self, left: int, reset: int = 30000) -> dict[str, str]:
        return {
            "X-Rate-Limit-Requests-Left": str(max(0, left)), "X-Rate-Limit-Requests-Quota": str(QUOTA),
            "X-Rate-Limit-Time-Reset-Ms": str(reset), "X-Rate-Limit-Time-Window-Ms": "30000",
        }  # fmt: skip

    def _answer(self, body: Any) -> Response:
        if body == []:
            return Response(status_code=204, headers=self._rate(max(self._left, 50)))
        return as_json(body, 200, **self._rate(max(self._left, 50)))

    def _show(self, order: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": order["id"], "status_id": order["status_id"], "status": LABELS[order["status_id"]],
            "date_created": format_datetime(order["placed"].astimezone(UTC)),
            "date_modified": format_datetime(order["modified"].astimezone(UTC)), "date_shipped": "",
            "payment_status": order["payment_status"], "payment_method": order["payment_method"], "is_deleted": False,
            "items_total": sum(p["quantity"] for p in order["products"]),
            "items_shipped": sum(p["quantity_shipped"] for p in order["products"]),
            "geoip_country_iso2": order["country"], "order_is_digital": False, "customer_locale": "en",
        }  # fmt: skip

    async def _statuses(self, request: Request) -> Response:
        return self._refused(request) or self._answer([{"id": i, "name": n} for i, n in LABELS.items()])

    async def _list(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["orders"] += 1
        rows = sorted(self.orders.values(), key=lambda o: o["id"])
        if since := request.query_params.get("min_date_modified"):
            begin = parsedate_to_datetime(since) if "," in since else datetime.fromisoformat(since)
            rows = [o for o in rows if o["modified"].replace(microsecond=0) >= begin]
        return self._answer(_page(request, [self._show(o) for o in rows]))

    async def _hooks_list(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if self.faults.take("refuse_hooks"):
            return as_json({"status": 403, "title": "You don't have a required scope to access the endpoint"}, 403)
        if request.method == "POST":
            return self._made(orjson.loads(await request.body()))
        self.calls["hooks"] += 1
        if self.hooks and self.faults.take("lose_hook"):
            del self.hooks[min(self.hooks)]
        if self.hooks and self.faults.take("stop_hook"):
            self.hooks[max(self.hooks)]["is_active"] = False
        page, limit = int(request.query_params.get("page", 1)), int(request.query_params.get("limit", 50))
        rows = [*self.hooks.values()]
        shown = rows[(page - 1) * limit : page * limit]
        pages = {
            "total": len(rows),
            "count": len(shown),
            "per_page": limit,
            "current_page": page,
            "total_pages": -(-len(rows) // limit),
        }
        return as_json({"data": shown, "meta": {"pagination": pages}}, 200, **self._rate(self._left))

    def _made(self, body: dict[str, Any]) -> Response:
        """Make a hook: on port 443, ten a scope, one a destination, as the webhooks pages say."""
        scope, destination = body["scope"], body["destination"]
        alike = [hook for hook in self.hooks.values() if hook["scope"] == scope]
        if (
            not destination.startswith("https://")
            or len(alike) >= 10
            or any(h["destination"] == destination for h in alike)
        ):
            return as_json(
                {"status": 422, "title": "JSON data is missing or invalid", "errors": {"destination": "no"}}, 422
            )
        id_ = next(self._ids) + 20_000
        self.calls["hook made"] += 1
        self.hooks[id_] = {
            "id": id_,
            "client_id": "c",
            "store_hash": "sandbox",
            "headers": None,
            "is_active": True,
            **body,
        }
        return as_json({"data": self.hooks[id_], "meta": {}}, 200, **self._rate(self._left))

    async def _hook(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        id_ = int(request.path_params["id"])
        if id_ not in self.hooks:
            return as_json({"status": 404, "title": f"Webhook with id [{id_}] not found"}, 404)
        self.calls["hook mended"] += 1
        self.hooks[id_] |= orjson.loads(await request.body())
        return as_json({"data": self.hooks[id_], "meta": {}}, 200, **self._rate(self._left))

    def _find(self, request: Request) -> dict[str, Any] | None:
        return next((o for o in self.orders.values() if str(o["id"]) == request.path_params["id"]), None)

    async def _one(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        order = self._find(request)
        if order is None:
            return as_json([{"status": 404, "message": "The requested resource was not found."}], 404)
        if request.method == "GET":
            self.calls["read"] += 1
            return self._answer(self._show(order))
        body = orjson.loads(await request.body())
        if set(body) != {"status_id"} or body["status_id"] not in LABELS:
            return as_json([{"status": 400, "message": "The field 'status_id' is invalid."}], 400)
        if self.faults.take("refuse_write"):
            return as_json([{"status": 422, "message": "The order cannot be changed."}], 422)
        number = next(name for name, o in self.orders.items() if o is order)
        before, order["status_id"] = order["status_id"], body["status_id"]
        self._wrote(number, LABELS[body["status_id"]], None, was=LABELS[before])
        self.touch(number, "store/order/statusUpdated")
        if self.faults.take("apply_then_fail"):
            return Response("", 502)
        return self._answer(self._show(order))

    async def _products(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        order = self._find(request)
        rows = [{k: v for k, v in p.items() if k != "ref"} for p in order["products"]] if order else []
        return self._answer(_page(request, rows))

    async def _shipments(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        order = self._find(request)
        rows = [
            {**{k: v for k, v in s.items() if k != "at"}, "order_id": order["id"],
             "date_created": format_datetime(s["at"].astimezone(UTC))}
            for s in order["shipments"]
        ] if order else []  # fmt: skip
        return self._answer(_page(request, rows))


def _page(request: Request, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    page, limit = int(request.query_params.get("page", 1)), int(request.query_params.get("limit", 50))
    return rows[(page - 1) * limit : page * limit]


def _status_id(status: str) -> int:
    return int(status) if status.isdigit() else next(i for i, label in LABELS.items() if label == status)
