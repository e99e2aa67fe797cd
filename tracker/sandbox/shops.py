"""Stateful shops on loopback whose order status can be written: the order API (`rest`) and BigCommerce.

The `rest` shop speaks deploy/order-api.openapi.yaml in one of three sets of words (kingston, kartrocket,
marketplace-guide) or in words of its own. Both refuse and throttle as the real ones do, log each write of ours, and share
no code with the plugins.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.servers import Clock, Outgoing, Server, _json, next_page

WORDS: dict[str, list[str]] = {
    "kingston": [
        "Processing", "Ready for Dispatch", "Dispatched/Shipped", "In Transit", "Out for Delivery", "Delivered",
        "Failed Delivery", "Returned", "Cancelled", "Shipped",
    ],
    "kartrocket": [
        "Pending", "COD Confirmed", "ePayment Received", "ePayment Failed", "Ready for Dispatch", "Shipped", "Delivered",
        "Canceled",
    ],
    "marketplace-guide": ["Pending", "Confirmed", "Processing", "Shipped", "Delivered", "Cancelled"],
    "own": [
        "awaiting_confirmation", "confirmed", "processing", "ready_for_dispatch", "partially_shipped", "shipped",
        "in_transit", "out_for_delivery", "delivery_failed", "delivered", "returned", "on_hold", "cancelled",
    ],
}  # fmt: skip
CANCELLED = frozenset({"Cancelled", "Canceled", "cancelled"})


class Shop(Server):
    """What both have: orders by the number people know, hooks to send, and a log of what we wrote."""

    def __init__(self, account: str, clock: Clock, *, token: str, secret: str, hooks: bool = True) -> None:
        """Keep the token and the secret that are right."""
        super().__init__(account, clock)
        self._token, self._secret, self._hooks = token, secret, hooks
        self.orders: dict[str, dict[str, Any]] = {}
        self.log: list[dict[str, Any]] = []
        self.outgoing: list[Outgoing] = []

    def signed(self, body: bytes, _topic: str = "", secret: str | None = None) -> Outgoing:
        """Sign a hook by Standard Webhooks."""
        id_, stamp = f"msg_{self.account}_{next(self._ids)}", str(int(self.clock().timestamp()))
        text = b".".join((id_.encode(), stamp.encode(), body))
        digest = base64.b64encode(hmac.new(self._key(secret), text, hashlib.sha256).digest()).decode()
        headers = {
            "content-type": "application/json", "webhook-id": id_, "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{digest}",
        }  # fmt: skip
        return Outgoing(self.account, body, headers)

    def _key(self, secret: str | None) -> bytes:
        return (secret or self._secret).encode()

    def _wrote(self, order: str, event: str, happened: datetime | None, **more: Any) -> None:
        self.log.append(
            {"at": self.clock(), "store": self.account, "order": order, "event": event, "numbers": [],
             "happened_at": happened or self.clock(), **more}
        )  # fmt: skip


class RestServer(Shop):
    """A shop that implements the order API, in its own words."""

    def __init__(
        self, account: str, clock: Clock, *, token: str, secret: str, words: str = "own", hooks: bool = True
    ) -> None:
        """Know the words that a status may have."""
        super().__init__(account, clock, token=token, secret=secret, hooks=hooks)
        self.words = list(WORDS.get(words, WORDS["own"]))
        self.checkouts: dict[str, dict[str, Any]] = {}
        self._keys: dict[str, Any] = {}

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/ping", self._ping),
            Route("/orders", self._list),
            Route("/checkouts", self._left),
            Route("/orders/{ref}", self._read),
            Route("/orders/{ref}/status", self._status, methods=["PUT"]),
            Route("/orders/{ref}/notes", self._note, methods=["POST"]),
        ]

    # what people do in the shop

    def place(self, name: str, at: datetime, *, status: str, actor: str = "system", **more: Any) -> None:
        """Place an order; `more` are fields of the order API."""
        ref = f"R{next(self._ids) + 1000}"
        self.orders[name] = {
            "ref": ref, "number": name, "status": status, "status_actor": actor, "status_changed_at": at.isoformat(),
            "placed_at": at.isoformat(), "cancelled_at": None, "payment": {"status": "paid", "method": "card"},
            "delivery": {}, "tags": [], "verified": False, "items": [], "fulfilments": [], "notes": [], **more,
        }  # fmt: skip
        self.touch(name)

    def ship(
        self, name: str, at: datetime, parcels: list[dict[str, str]], *, items: dict[str, int], service: str = ""
    ) -> None:
        """Add a fulfilment; the status is the seller's own business."""
        order = self.orders[name]
        pieces = items or {i["ref"]: i["ordered"] - i["cancelled"] - i["refunded"] for i in order["items"]}
        order["fulfilments"].append(
            {
                "ref": f"F{next(self._ids)}", "status": "open", "shipped_at": at.isoformat(), "cancelled": False,
                "service": service, "tracking": [{"carrier": p["company"], "number": p["number"]} for p in parcels],
                "items": [{"ref": ref, "quantity": count} for ref, count in pieces.items()],
            }
        )  # fmt: skip
        self.touch(name)

    def set(self, name: str, by: str, **values: Any) -> None:
        """Change fields of an order, as a person does; a status carries who set it."""
        order = self.orders[name]
        for key, value in values.items():
            if key in ("payment", "delivery") and isinstance(value, dict):
                order[key] = {**order[key], **value}
            else:
                order[key] = value
        if "status" in values:
            order["status_actor"], order["status_changed_at"] = by, self.clock().isoformat()
        self.touch(name)

    def cancel(self, name: str, by: str) -> None:
        """Cancel the whole order."""
        word = next(w for w in self.words if w in CANCELLED)
        self.set(name, by, status=word, cancelled_at=self.clock().isoformat())

    def remove(self, name: str, item: str, quantity: int | None, how: str) -> None:
        """Cancel or refund pieces of an item."""
        for row in self.orders[name]["items"]:
            if row["ref"] == item:
                left = row["ordered"] - row["cancelled"] - row["refunded"]
                row[how] += left if quantity is None else quantity
        self.touch(name)

    def retrack(self, name: str, parcels: list[dict[str, str]]) -> None:
        """Replace the tracking numbers of the newest fulfilment."""
        self.orders[name]["fulfilments"][-1]["tracking"] = [
            {"carrier": p["company"], "number": p["number"]} for p in parcels
        ]
        self.touch(name)

    def checkout(self, ref: str, *, contact: bool, recovered: bool) -> None:
        """Leave a checkout, or take it up again."""
        now = self.clock().isoformat()
        row = self.checkouts.setdefault(ref, {"ref": ref, "began_at": now})
        row |= {"updated_at": now, "contact": contact, "recovered": recovered}

    def touch(self, name: str) -> None:
        """Mark an order as changed now and tell by hook."""
        order = self.orders[name]
        order["updated_at"] = self.clock().isoformat()
        if self._hooks:
            body = {"type": "order.updated", "timestamp": order["updated_at"], "data": {"order": order["ref"]}}
            self.outgoing.append(self.signed(orjson.dumps(body)))

    # the API

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {self._token}":
            return _json({"error": {"code": "unauthorized", "message": "the token is wrong"}}, 401)
        return self.trouble()

    async def _ping(self, request: Request) -> Response:
        return self._refused(request) or _json({"ok": True})

    async def _list(self, request: Request) -> Response:
        rows = [o for o in self.orders.values() if not request.query_params.get("open") or o["status"] not in CANCELLED]
        return self._refused(request) or self._page(request, rows, "orders")

    async def _left(self, request: Request) -> Response:
        return self._refused(request) or self._page(request, list(self.checkouts.values()), "checkouts")

    def _page(self, request: Request, rows: list[dict[str, Any]], kind: str) -> Response:
        self.calls[kind] += 1
        if since := request.query_params.get("updated_since"):
            begin = datetime.fromisoformat(since)
            rows = [r for r in rows if datetime.fromisoformat(r["updated_at"]) >= begin]
        cursor, limit = request.query_params.get("cursor"), int(request.query_params.get("limit") or 50)
        page, after, more = next_page(rows, lambda r: (r["updated_at"], r["ref"]), cursor, limit)
        return _json({kind: page, "next": after if more else None, "total": len(rows)})

    def _find(self, request: Request) -> dict[str, Any] | None:
        ref = request.path_params["ref"]
        return next((o for o in self.orders.values() if o["ref"] == ref), None)

    async def _read(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["read"] += 1
        order = self._find(request)
        return _json({"order": order}) if order else _error(404, "not_found", "no such order")

    async def _status(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        order, body = self._find(request), orjson.loads(await request.body())
        if order is None:
            return _error(404, "not_found", "no such order")
        if body.get("status") not in self.words:
            return _error(422, "unknown_status", f"no status {body.get('status')!r} here")
        if body.get("key") in self._keys:
            return _json({"order": order})
        if order["status"] in CANCELLED:
            return _error(409, "final", "a cancelled order stays cancelled")
        if body.get("from") != order["status"]:
            return _error(409, "moved_on", f"the order is {order['status']}")
        if self.faults.take("refuse_write"):
            return _error(409, "refused", "the shop does not want that")
        before, order["status"] = order["status"], body["status"]
        order["status_actor"], order["status_changed_at"] = "app", self.clock().isoformat()
        self._keys[body["key"]] = True
        happened = datetime.fromisoformat(body["happened_at"]) if body.get("happened_at") else None
        numbers = [p["number"] for p in body.get("tracking", ())]
        self._wrote(
            order["number"], body["status"], happened, was=before, numbers=numbers, city=body.get("place"),
            reason=body.get("reason"),
        )  # fmt: skip
        self.touch(order["number"])
        if self.faults.take("apply_then_fail"):
            return Response("", 502)  # it is done, and the answer is lost
        return _json({"order": order})

    async def _note(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        order, body = self._find(request), orjson.loads(await request.body())
        if order is None:
            return _error(404, "not_found", "no such order")
        if body["key"] not in self._keys:
            self._keys[body["key"]] = f"N{next(self._ids)}"
            order["notes"].append(body["text"])
            self._wrote(order["number"], "note", None, text=body["text"])
        return _json({"id": self._keys[body["key"]]}, 201)


def _error(status: int, code: str, message: str) -> Response:
    return _json({"error": {"code": code, "message": message}}, status)


LABELS = {
    0: "Incomplete", 1: "Pending", 2: "Shipped", 3: "Partially Shipped", 4: "Refunded", 5: "Cancelled", 6: "Declined",
    7: "Awaiting Payment", 8: "Awaiting Pickup", 9: "Awaiting Shipment", 10: "Completed", 11: "Awaiting Fulfillment",
    12: "Manual Verification Required", 13: "Disputed", 14: "Partially Refunded",
}  # fmt: skip


class BigCommerceServer(Shop):
    """Orders V2 (orders, products, shipments) and thin V3 hooks, with the rate headers of a store."""

    def __init__(
        self, account: str, clock: Clock, *, token: str, secret: str, hooks: bool = True, quota: int = 450
    ) -> None:
        """Begin with a full window of calls."""
        super().__init__(account, clock, token=token, secret=secret, hooks=hooks)
        self._left = self._quota = quota
        self._window = clock()

    def routes(self) -> list[Route]:
        """Return what it answers to, under the store's hash."""
        base = "/stores/{store}/v2"
        return [
            Route(f"{base}/orders", self._list),
            Route(f"{base}/order_statuses", self._statuses),
            Route(f"{base}/orders/{{id}}", self._one, methods=["GET", "PUT"]),
            Route(f"{base}/orders/{{id}}/products", self._products),
            Route(f"{base}/orders/{{id}}/shipments", self._shipments),
        ]

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

    def signed(self, body: bytes, _topic: str = "", secret: str | None = None) -> Outgoing:
        """Sign a hook, and give back the header that was asked for when it was made."""
        outgoing = super().signed(body, _topic, secret)
        return Outgoing(self.account, body, {**outgoing.headers, "x-trackwright": secret or self._secret})

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("x-auth-token") != self._token:
            return _json({"status": 401, "title": "Unauthorized"}, 401)
        if (trouble := self.trouble()) is not None:
            return trouble
        now = self.clock()
        if now - self._window >= timedelta(seconds=30):
            self._left, self._window = self._quota, now
        self._left -= 1
        if self.faults.take("rate_limit"):
            return _json({"status": 429}, 429, **self._rate(0, 200))
        return None

    def _rate(self, left: int, reset: int = 30000) -> dict[str, str]:
        return {
            "X-Rate-Limit-Requests-Left": str(max(0, left)), "X-Rate-Limit-Requests-Quota": str(self._quota),
            "X-Rate-Limit-Time-Reset-Ms": str(reset), "X-Rate-Limit-Time-Window-Ms": "30000",
        }  # fmt: skip

    def _answer(self, body: Any) -> Response:
        if body == []:
            return Response(status_code=204, headers=self._rate(max(self._left, 50)))
        return _json(body, 200, **self._rate(max(self._left, 50)))

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

    def _find(self, request: Request) -> dict[str, Any] | None:
        return next((o for o in self.orders.values() if str(o["id"]) == request.path_params["id"]), None)

    async def _one(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        order = self._find(request)
        if order is None:
            return _json([{"status": 404, "message": "The requested resource was not found."}], 404)
        if request.method == "GET":
            self.calls["read"] += 1
            return self._answer(self._show(order))
        body = orjson.loads(await request.body())
        if set(body) != {"status_id"} or body["status_id"] not in LABELS:
            return _json([{"status": 400, "message": "The field 'status_id' is invalid."}], 400)
        if self.faults.take("refuse_write"):
            return _json([{"status": 422, "message": "The order cannot be changed."}], 422)
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
