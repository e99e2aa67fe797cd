"""A shop that implements the order API (deploy/order-api.openapi.yaml), in one of three sets of words or its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Clock, as_json, next_page
from tracker.sandbox.scenario import LeftCheckout, Place
from tracker.sandbox.shop import AS_USUAL, StatusShop, items_of
from tracker.sandbox.used import StoreUsed

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


class RestServer(StatusShop):
    """A shop that implements the order API, in its own words."""

    knows = StatusShop.knows | {"checkout"}

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", used: StoreUsed = AS_USUAL
    ) -> None:
        """Know the words that a status may have."""
        super().__init__(account, clock, key=key, hook=hook, used=used)
        self._of = used.words
        self.words = list(dict.fromkeys([*WORDS[self._of], *used.statuses]))
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

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML."""
        words = {"words": self._of} if self._of != "own" else {}
        return {"base_url": base_url, "api_token": key, **words}

    # what people do in the shop

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order: paid by card, in the first status, unless it says more."""
        delivery = {
            "method": action.method, "service": action.service, "location": action.location,
            "address": action.address or None, "country": action.country,
        }  # fmt: skip
        self.place(
            action.order, at, status=action.status or self.words[0], actor=action.by, items=items_of(action),
            payment={"status": action.payment or "paid", "method": action.pays_by}, delivery=delivery,
            tags=list(action.tags), verified=action.verified,
        )  # fmt: skip

    def on_checkout(self, action: LeftCheckout, at: datetime) -> None:
        """Leave a checkout, or take it up again."""
        self.checkout(action.ref, contact=action.contact, recovered=action.recovered)

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
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return as_json({"error": {"code": "unauthorized", "message": "the token is wrong"}}, 401)
        return self.trouble()

    async def _ping(self, request: Request) -> Response:
        return self._refused(request) or as_json({"ok": True})

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
        return as_json({kind: page, "next": after if more else None, "total": len(rows)})

    def _find(self, request: Request) -> dict[str, Any] | None:
        ref = request.path_params["ref"]
        return next((o for o in self.orders.values() if o["ref"] == ref), None)

    async def _read(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["read"] += 1
        order = self._find(request)
        if order and request.query_params.get("include") == "contact" and not self.hides_addresses:
            order = {**order, "contact": {"email": self.address(order["number"])}}
        return as_json({"order": order}) if order else _error(404, "not_found", "no such order")

    async def _status(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        order, body = self._find(request), orjson.loads(await request.body())
        if order is None:
            return _error(404, "not_found", "no such order")
        if body.get("status") not in self.words:
            return _error(422, "unknown_status", f"no status {body.get('status')!r} here")
        if body.get("key") in self._keys:
            return as_json({"order": order})
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
        return self._done(as_json({"order": order}))

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
        return as_json({"id": self._keys[body["key"]]}, 201)


def _error(status: int, code: str, message: str) -> Response:
    return as_json({"error": {"code": code, "message": message}}, status)
