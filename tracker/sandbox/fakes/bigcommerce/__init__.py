"""BigCommerce: orders V2, metafields and refunds V3, and thin V3 hooks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Clock, as_json
from tracker.sandbox.fakes.bigcommerce.hooks import Hooks
from tracker.sandbox.fakes.bigcommerce.reading import QUOTA
from tracker.sandbox.fakes.bigcommerce.writing import Writes
from tracker.sandbox.shop import AS_USUAL, StatusShop
from tracker.sandbox.used import StoreUsed

FAULTS = (
    "rate_limit", "overloaded", "read_only", "lose_hook", "stop_hook", "refuse_hooks", "decline_refund", "rename_statuses",
)  # fmt: skip


class BigCommerceServer(Writes, Hooks):
    """Orders with their products, shipments, refunds and metafields, and hooks, within the limits of a store."""

    contract = "bigcommerce"
    by_host = False
    resends = tuple(timedelta(seconds=gap) for gap in (60, 180, 300, 600, 900, 1800, 3600, 7200, 21600, 50400, 86400))
    knows = StatusShop.knows | {f"fault {kind}" for kind in FAULTS}

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", used: StoreUsed = AS_USUAL
    ) -> None:
        """Begin with a full window of calls."""
        super().__init__(account, clock, key=key, hook=hook, used=used)
        self.quota = self.grants or QUOTA
        self._left, self._window = self.quota, self.elapsed()
        self.hooks: dict[int, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """Return what it answers to, under the store's hash."""
        v2, v3 = "/stores/{store}/v2", "/stores/{store}/v3"
        return [
            Route(f"{v2}/orders", self._list),
            Route(f"{v2}/order_statuses", self._statuses),
            Route(f"{v2}/orders/{{id}}", self._read, methods=["GET"]),
            Route(f"{v2}/orders/{{id}}", self._change, methods=["PUT"]),
            Route(f"{v2}/orders/{{id}}/products", self._products),
            Route(f"{v2}/orders/{{id}}/shipments", self._shipments),
            Route(f"{v2}/orders/{{id}}/shipments/{{shipment}}", self._one_shipment, methods=["GET", "PUT"]),
            Route(f"{v3}/orders/{{id}}/payment_actions/refunds", self._refunds),
            Route(f"{v3}/orders/{{id}}/metafields", self._fields, methods=["GET"]),
            Route(f"{v3}/orders/{{id}}/metafields", self._make_field, methods=["POST"]),
            Route(f"{v3}/orders/{{id}}/metafields/{{field}}", self._change_field, methods=["PUT"]),
            Route(f"{v3}/hooks", self._hooks_list, methods=["GET", "POST"]),
            Route(f"{v3}/hooks/{{id}}", self._hook, methods=["PUT"]),
        ]

    def invalid(self, problems: list[str], request: Request) -> Response:
        """Refuse as V2 does, with a list of errors, or as V3 does, with one."""
        if "/v3/" in request.url.path:
            errors = {str(i): one for i, one in enumerate(problems)}
            return as_json({"status": 422, "title": "JSON data is missing or invalid", "errors": errors}, 422)
        return as_json([{"status": 400, "message": one} for one in problems], 400)

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML."""
        return {"base_url": base_url, "store_hash": "sandbox", "access_token": key, "hook_key": hook}
