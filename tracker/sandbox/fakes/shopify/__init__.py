"""Shopify: the Admin GraphQL API of one shop, and its webhooks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Clock, Outgoing, as_json
from tracker.sandbox.fakes.shopify.bulk import Bulk
from tracker.sandbox.fakes.shopify.hooks import Hooks
from tracker.sandbox.fakes.shopify.writing import Writes
from tracker.sandbox.shop import AS_USUAL, Shop
from tracker.sandbox.used import StoreUsed

WRITES = ("Create", "SetField", "AddTags", "RemoveTags", "Retrack", "AddNote")
WRITE_SCOPES = ("write_orders", "write_fulfillments", "write_merchant_managed_fulfillment_orders")
RESTORES, HOLDS = 100, 20  # points a second of a standard plan; its bucket holds those of twenty seconds
NEWER = "2026-07"  # that a shop answers in once the version that is asked for is retired
NOT_APPROVED = {  # shopify.dev, protected customer data, read 2026-11: the field is null, and the rest is told
    "data": {"order": None},
    "errors": [{
        "message": "This app is not approved to use the email field. See https://shopify.dev/docs/apps/launch/protected-customer-data for more details.",
        "path": ["order", "email"], "extensions": {"code": "ACCESS_DENIED"},
    }],
}  # fmt: skip
COSTS = {
    "Start": 10,
    "Operation": 1,
    "Running": 2,
    "Orders": 42,
    "Read": 12,
    **dict.fromkeys(("Lines", "Routes", "RouteLines", "PartIds", "Parts", "Part"), 20),
    "Events": 5,
    "Tracking": 2,
    "Note": 1,
    "Shop": 1,
    "Contact": 1,
    "Hooks": 12,
    "MakeHook": 10,
    "MendHook": 10,
    **dict.fromkeys(WRITES, 10),
}


class ShopifyServer(Hooks, Bulk, Writes):
    """The Admin GraphQL API of one shop, as far as an order's tracking needs it, and its webhooks."""

    contract = "shopify"
    by_host = False
    resends = tuple(
        timedelta(minutes=gap) for gap in (1, 2, 5, 12, 25, 45, 60, 90)
    )  # eight within four hours; the gaps are ours
    knows = Shop.knows | {
        "fault graphql_throttle",
        "fault bulk_busy",
        "fault bulk_fails",
        "fault refuse_hooks",
        "fault fall_forward",
        "edit.event",
        "cancel.item",
        "refund.item",
    }

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", used: StoreUsed = AS_USUAL
    ) -> None:
        """Begin with a full bucket."""
        super().__init__(account, clock, key=key, hook=hook, used=used)
        self._restores = self.grants or RESTORES
        self._bucket, self._bucket_at = float(HOLDS * self._restores), self.elapsed()
        self.hooks, self.scopes = {}, ["read_orders", "read_fulfillments", *WRITE_SCOPES]

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/admin/api/{version}/graphql.json", self._graphql, methods=["POST"]),
            Route("/results/{number}.jsonl", self._jsonl, methods=["GET"]),
        ]

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML."""
        return {"base_url": base_url, "shop": f"{self.account}.myshopify.com", "access_token": key}

    # its webhooks

    def afresh(self, outgoing: Outgoing) -> Outgoing:
        """Give it another id: the proof covers the body alone."""
        return replace(outgoing, headers={**outgoing.headers, "x-shopify-webhook-id": f"wh-{next(self._ids)}"})

    # GraphQL

    def invalid(self, problems: list[str], request: Request) -> Response:
        """Refuse a document or its variables, with 200 as GraphQL does."""
        return as_json({"errors": [{"message": problem} for problem in problems]})

    async def _graphql(self, request: Request) -> Response:
        answer = await self._answered(request)
        asked = request.path_params["version"]
        answer.headers["X-Shopify-API-Version"] = NEWER if self.faults.take("fall_forward") else asked
        return answer

    async def _answered(self, request: Request) -> Response:
        if request.headers.get("x-shopify-access-token") != self.key:
            return as_json(
                {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}, 401
            )
        if (trouble := self.trouble()) is not None:
            return trouble
        body = orjson.loads(await request.body())
        query, variables = body["query"], body["variables"]
        operation = query.split()[1].partition("(")[0]
        cost = COSTS[operation]
        now = self.elapsed()
        restored = self._bucket + self._restores * (now - self._bucket_at)
        self._bucket, self._bucket_at = min(float(HOLDS * self._restores), restored), now
        if self.faults.take("graphql_throttle") or self._bucket < cost:
            self.calls["throttled"] += 1
            errors = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]
            return as_json({"errors": errors, "extensions": self._cost(cost, None)})
        if scope := self.denied(operation, variables):
            said = {"code": "ACCESS_DENIED", "requiredAccess": f"`{scope}` access scope."}
            errors = [{"message": "Access denied for this topic.", "extensions": said}]
            return as_json(
                {"data": {"webhookSubscriptionCreate": None}, "errors": errors, "extensions": self._cost(cost, 0)}
            )
        self._bucket -= cost
        if operation == "Contact" and self.hides_addresses:
            return as_json({**NOT_APPROVED, "extensions": self._cost(cost, cost)})
        if name := self.refused(variables):
            denied = {"message": f"Access denied for {name} field.", "extensions": {"code": "ACCESS_DENIED"}}
            return as_json({"errors": [denied], "data": None, "extensions": self._cost(cost, 1)})
        self.calls[operation] += 1
        answer = getattr(self, f"_{operation.lower()}")(variables)
        if found := answer.get("bulkOperation"):
            answer["bulkOperation"] = {
                **found,
                "url": found["url"] and f"{str(request.url).partition('/admin/')[0]}/{found['url']}",
            }
        given = as_json({"data": answer, "extensions": self._cost(cost, cost)})
        return self._done(given) if operation in WRITES else given

    def _cost(self, requested: int, actual: int | None) -> dict[str, Any]:
        status = {
            "maximumAvailable": float(HOLDS * self._restores), "currentlyAvailable": int(self._bucket),
            "restoreRate": float(self._restores),
        }  # fmt: skip
        return {"cost": {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": status}}

    def _contact(self, variables: dict[str, Any]) -> dict[str, Any]:
        return self._of(variables, lambda order: {"email": self.address(order["name"])})

    def _shop(self, _variables: dict[str, Any]) -> dict[str, Any]:
        scopes = [{"handle": scope} for scope in self.scopes]
        return {"shop": {"name": self.account}, "currentAppInstallation": {"accessScopes": scopes}}
