"""What a BigCommerce store tells: orders in their parts, statuses, refunds and metafields, within its limits."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tracker.sandbox.base import as_json
from tracker.sandbox.fakes.bigcommerce.people import LABELS, People

QUOTA = 450  # calls in a window
WINDOW = 30.0  # seconds of the play
MOST = 250
MISSING = [{"status": 404, "message": "The requested resource was not found."}]


class Reads(People):
    """Its answers to GET, and what it refuses whatever is asked."""

    key: str
    quota: int
    _left: int
    _window: float

    def _refused(self, request: Request) -> Response | None:
        """Refuse another store, a wrong key, and whoever asks too often."""
        if request.path_params["store"] != "sandbox":
            return as_json({"status": 404, "title": "The store was not found."}, 404)
        if request.headers.get("x-auth-token") != self.key:
            return as_json({"status": 401, "title": "Unauthorized"}, 401)
        if request.method != "GET" and self.faults.take("read_only"):
            return as_json({"status": 403, "title": "You don't have a required scope to access the endpoint"}, 403)
        if (trouble := self.trouble()) is not None:
            return trouble
        now = self.elapsed()
        if now - self._window >= WINDOW:
            self._left, self._window = self.quota, now
        self._left -= 1
        if self.faults.take("overloaded"):
            return as_json({"status": 429, "title": "Too many requests"}, 429)
        if self._left < 0 or self.faults.take("rate_limit"):
            self.calls["throttled"] += 1
            return as_json({"status": 429, "title": "Too many requests"}, 429, **self._rate())
        return None

    def _rate(self) -> dict[str, str]:
        return {
            "X-Rate-Limit-Requests-Left": str(max(0, self._left)), "X-Rate-Limit-Requests-Quota": str(self.quota),
            "X-Rate-Limit-Time-Reset-Ms": str(max(1, int(1000 * (self._window + WINDOW - self.elapsed())))), "X-Rate-Limit-Time-Window-Ms": "30000",
        }  # fmt: skip

    def _answer(self, body: Any, status: int = 200) -> Response:
        if body == []:
            return Response(status_code=204, headers=self._rate())
        return as_json(body, status, **self._rate())

    def _paged(self, request: Request, rows: list[Any]) -> Response:
        """Answer with a page of V2: nothing at all (204) where there is none."""
        page, limit = int(request.query_params.get("page", 1)), int(request.query_params.get("limit", 50))
        if limit > MOST:
            return as_json([{"status": 413, "message": "limit is too large"}], 413, **self._rate())
        return self._answer(rows[(page - 1) * limit : page * limit])

    def _collected(self, request: Request, rows: list[Any]) -> Response:
        """Answer with a page of V3."""
        page, limit = int(request.query_params.get("page", 1)), int(request.query_params.get("limit", 50))
        shown = rows[(page - 1) * limit : page * limit]
        pages = {
            "total": len(rows), "count": len(shown), "per_page": limit, "current_page": page, "total_pages": -(-len(rows) // limit),
        }  # fmt: skip
        return self._answer({"data": shown, "meta": {"pagination": pages}})

    def _show(self, order: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": order["id"], "status_id": order["status_id"], "status": self._called(order["status_id"]),
            "date_created": _printed(order["placed"]),
            "date_modified": _printed(order["modified"]), "date_shipped": "", "staff_notes": order["staff_notes"],
            "payment_status": order["payment_status"], "payment_method": order["payment_method"], "is_deleted": order["is_deleted"],
            "items_total": sum(p["quantity"] for p in order["products"]), "order_source": "www", "channel_id": 1,
            "items_shipped": sum(p["quantity_shipped"] for p in order["products"]), "refunded_amount": "0.0000",
            "geoip_country_iso2": order["country"], "order_is_digital": False, "customer_locale": "en",
        }  # fmt: skip

    def _consigned(self, order: dict[str, Any]) -> dict[str, Any]:
        address = {"street_1": "1 Main Street", "city": "Austin", "zip": "78726", "country_iso2": order["country"]}
        shipping = {"id": 1, **address, "shipping_method": order["method"] or "Ground"}
        return {"shipping": [shipping], "pickups": [], "downloads": [], "email": {"gift_certificates": []}}

    def _called(self, id_: int) -> str:
        return f"Our {LABELS[id_]}" if self.faults.until.get("rename_statuses") else LABELS[id_]

    async def _statuses(self, request: Request) -> Response:
        rows = [
            {"id": i, "name": n, "system_label": n, "custom_label": self._called(i), "system_description": n}
            for i, n in LABELS.items()
        ]
        return self._refused(request) or self._answer(rows)

    async def _list(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["orders"] += 1
        rows = sorted(self.orders.values(), key=lambda o: o["id"])
        if since := request.query_params.get("min_date_modified"):
            begin = parsedate_to_datetime(since) if "," in since else datetime.fromisoformat(since)
            rows = [o for o in rows if o["modified"].replace(microsecond=0) >= begin]
        return self._paged(request, [self._show(o) for o in rows])

    def _find(self, request: Request) -> tuple[str, dict[str, Any]] | None:
        return next(((name, o) for name, o in self.orders.items() if str(o["id"]) == request.path_params["id"]), None)

    async def _read(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if (found := self._find(request)) is None:
            return as_json(MISSING, 404, **self._rate())
        self.calls["read"] += 1
        more = {"consignments": self._consigned(found[1])} if "consignments" in request.query_params.get("include", "") else {}  # fmt: skip
        billing = {"billing_address": {"zip": "00000", "email": self.address(found[0]) or ""}}
        return self._answer({**self._show(found[1]), **billing, **more})

    async def _products(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        found = self._find(request)
        rows = found[1]["products"] if found else []
        return self._paged(
            request, [{k: v for k, v in p.items() if k != "ref"} | {"refund_amount": "0.0000"} for p in rows]
        )

    async def _shipments(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        found = self._find(request)
        return self._paged(request, [self._shipment(found[1], s) for s in found[1]["shipments"]] if found else [])

    def _shipment(self, order: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
        told = {k: v for k, v in one.items() if k != "at"}
        return {**told, "order_id": order["id"], "date_created": _printed(one["at"])}

    async def _refunds(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["refunds"] += 1
        found = self._find(request)
        return self._collected(request, found[1]["refunds"] if found else [])

    async def _fields(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        found, asked = self._find(request), request.query_params
        rows = found[1]["metafields"] if found else []
        rows = [f for f in rows if all(f[name] == asked[name] for name in ("namespace", "key") if name in asked)]
        return self._collected(request, rows)


def _printed(at: datetime) -> str:
    return format_datetime(at.astimezone(UTC))
