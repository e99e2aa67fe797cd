"""Shopify: the Admin GraphQL API of one shop, and its webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Clock, Outgoing, as_json, next_page
from tracker.sandbox.scenario import Cancel, Edit, Pay, Place, Refund, Ship
from tracker.sandbox.shop import AS_USUAL, Shop, parcels
from tracker.sandbox.used import StoreUsed

EVENTS = frozenset(
    [
        "LABEL_PURCHASED",
        "LABEL_PRINTED",
        "READY_FOR_PICKUP",
        "CONFIRMED",
        "CARRIER_PICKED_UP",
        "IN_TRANSIT",
        "OUT_FOR_DELIVERY",
        "ATTEMPTED_DELIVERY",
        "DELAYED",
        "DELIVERED",
        "FAILURE",
    ]
)
WRITES = ("Create", "SetField", "AddTags", "RemoveTags")
COSTS = {
    "Start": 10,
    "Operation": 1,
    "Running": 2,
    "Orders": 42,
    "Read": 12,
    "Whole": 40,
    "Events": 5,
    "Shop": 1,
    **dict.fromkeys(WRITES, 10),
}
STORED = "%Y-%m-%dT%H:%M:%SZ"


class ShopifyServer(Shop):
    """The Admin GraphQL API of one shop, as far as an order's tracking needs it, and its webhooks."""

    knows = Shop.knows | {"fault graphql_throttle", "fault bulk_busy", "fault bulk_fails", "edit.event"}

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", used: StoreUsed = AS_USUAL
    ) -> None:
        """Begin with a full bucket."""
        super().__init__(account, clock, key=key, hook=hook, used=used)
        self._bucket, self._bucket_at = 1000.0, self._elapsed()
        self.operations: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/admin/api/{version}/graphql.json", self._graphql, methods=["POST"]),
            Route("/results/{number}.jsonl", self._jsonl, methods=["GET"]),
        ]

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML."""
        return {"base_url": base_url, "shop": f"{self.account}.myshopify.com", "access_token": key}

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

    # GraphQL

    async def _graphql(self, request: Request) -> Response:
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
        now = self._elapsed()
        self._bucket, self._bucket_at = min(1000.0, self._bucket + 100 * (now - self._bucket_at)), now
        if self.faults.take("graphql_throttle") or self._bucket < cost:
            errors = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]
            return as_json({"errors": errors, "extensions": self._cost(cost, None)})
        self._bucket -= cost
        self.calls[operation] += 1
        answer = getattr(self, f"_{operation.lower()}")(variables)
        if found := answer.get("bulkOperation"):
            answer["bulkOperation"] = {
                **found,
                "url": found["url"] and f"{str(request.url).partition('/admin/')[0]}/{found['url']}",
            }
        if operation in WRITES and self.faults.take("apply_then_fail"):
            return Response("", 502)  # it is done, and the answer is lost
        return as_json({"data": answer, "extensions": self._cost(cost, cost)})

    def _elapsed(self) -> float:
        """Seconds that passed, in the play or for real: the bucket fills by both."""
        return time.monotonic() + self.clock().timestamp()

    def _cost(self, requested: int, actual: int | None) -> dict[str, Any]:
        status = {"maximumAvailable": 1000.0, "currentlyAvailable": int(self._bucket), "restoreRate": 100.0}
        return {"cost": {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": status}}

    def _node(self, order: dict[str, Any], variables: dict[str, Any], most: int = 20) -> dict[str, Any]:
        def last(fulfilment: dict[str, Any]) -> dict[str, Any]:
            events = sorted(fulfilment["events"], key=lambda e: e["happenedAt"])[-1:]
            return {**fulfilment, "trackingInfo": fulfilment["trackingInfo"][:most], "events": {"nodes": events}}

        named = {}
        if variables.get("named"):
            value = order["metafields"].get(f"{variables['namespace']}.{variables['key']}")
            named = {"shown": None if value is None else {"value": value}}
        return {
            **{k: v for k, v in order.items() if k not in ("number", "metafields")},
            **named,
            "tags": sorted(order["tags"]),
            "fulfillments": [last(f) for f in order["fulfillments"]][:most],
        }

    def _shop(self, _variables: dict[str, Any]) -> dict[str, Any]:
        return {"shop": {"name": self.account}}

    def _orders(self, variables: dict[str, Any]) -> dict[str, Any]:
        query = variables["q"]
        found = list(self.orders.values())
        if "updated_at:>='" in query:
            since = query.split("updated_at:>='")[1].split("'")[0]
            found = [o for o in found if o["updatedAt"] >= since]
        if "status:open" in query:
            found = [o for o in found if not o["cancelledAt"]]
        page, after, more = next_page(
            found, lambda o: (o["updatedAt"], o["id"]), variables["after"], variables["first"]
        )
        info = {"hasNextPage": more, "endCursor": after}
        return {"orders": {"pageInfo": info, "nodes": [self._node(o, variables) for o in page]}}

    def _read(self, variables: dict[str, Any]) -> dict[str, Any]:
        by_id = {o["id"]: o for o in list(self.orders.values())}  # a storm places orders meanwhile
        return {"nodes": [self._node(by_id[i], variables) if i in by_id else None for i in variables["ids"]]}

    def _whole(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self._by_id(variables["id"])
        return {"order": self._node(found, {}, variables["most"]) if found else None}

    # bulk operations: one is made by the second look at it, and its result is that of the moment when it began

    async def _jsonl(self, request: Request) -> Response:
        self.calls["result"] += 1
        if "x-shopify-access-token" in request.headers:
            self.complaints.append("the result of a bulk operation was asked for with our token")
        made = self.operations.get(f"gid://shopify/BulkOperation/{request.path_params['number']}")
        if made is None:
            return Response("<Error><Code>ExpiredToken</Code></Error>", 400, media_type="application/xml")
        return Response(made["result"], media_type="application/jsonl")

    def _start(self, variables: dict[str, Any]) -> dict[str, Any]:
        if self.faults.take("bulk_busy"):
            busy = {"code": "LIMIT_REACHED", "field": None, "message": "Bulk operations limit reached."}
            return {"bulkOperationRunQuery": {"bulkOperation": None, "userErrors": [busy]}}
        number = next(self._ids)
        ref = f"gid://shopify/BulkOperation/{number}"
        found = [one for one in self.orders.values() if not one["cancelledAt"] or "status:open" not in variables["q"]]
        lines = b"".join(orjson.dumps(line) + b"\n" for order in found for line in self._lines(order))
        self.operations[ref] = {
            "id": ref, "status": "RUNNING", "query": variables["q"], "createdAt": self.clock().strftime(STORED),
            "errorCode": None, "objectCount": str(lines.count(b"\n")), "fileSize": None, "url": None, "result": lines,
        }  # fmt: skip
        return {"bulkOperationRunQuery": {"bulkOperation": self._told(ref), "userErrors": []}}

    def _lines(self, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
        node = self._node(order, {}, 250)
        for part in node["fulfillments"]:
            events = part.pop("events")["nodes"]
            shown = events[0]["status"] if events else "FULFILLED"
            part |= {"displayStatus": shown, "deliveredAt": events[0]["happenedAt"] if shown == "DELIVERED" else None}
        yield node
        yield {"id": f"{order['id']}1".replace("/Order/", "/LineItem/"), "quantity": 1, "__parentId": order["id"]}

    def _told(self, ref: str) -> dict[str, Any]:
        return {key: value for key, value in self.operations[ref].items() if key != "result"}

    def _operation(self, variables: dict[str, Any]) -> dict[str, Any]:
        ref = variables["id"]
        if ref not in self.operations:
            return {"bulkOperation": None}
        told, made = self._told(ref), self.operations[ref]
        if made["status"] == "RUNNING":
            made["status"] = "FAILED" if self.faults.take("bulk_fails") else "COMPLETED"
            made["errorCode"] = "TIMEOUT" if made["status"] == "FAILED" else None
            whole = made["status"] == "COMPLETED" and made["result"]
            made["fileSize"] = str(len(made["result"])) if whole else None
            made["url"] = f"results/{ref.rsplit('/', 1)[1]}.jsonl?Signature=secret" if whole else None
        return {"bulkOperation": told}

    def _running(self, _variables: dict[str, Any]) -> dict[str, Any]:
        nodes = [self._told(ref) for ref, made in self.operations.items() if made["status"] == "RUNNING"]
        return {"bulkOperations": {"nodes": nodes}}

    def _refused(self, mutation: str, shown: str, problem: str) -> dict[str, Any]:
        return {mutation: {shown: None, "userErrors": [{"field": ["id"], "message": problem}]}}

    def _by_id(self, ref: str) -> dict[str, Any] | None:
        return next((one for one in list(self.orders.values()) if one["id"] == ref), None)

    def _setfield(self, variables: dict[str, Any]) -> dict[str, Any]:
        (field,) = variables["m"]
        order = self._by_id(field["ownerId"])
        if order is None or self.faults.take("refuse_write"):
            return self._refused("metafieldsSet", "metafields", "Value must be one of the definition's choices.")
        name = f"{field['namespace']}.{field['key']}"
        if order["metafields"].get(name) != field["value"]:
            order["metafields"][name] = field["value"]
            self._wrote(order["name"], f"{name}={field['value']}", None, numbers=_numbers(order))
            self.touch(order["name"], "orders/updated")
        told = {key: field[key] for key in ("namespace", "key", "value")}
        return {"metafieldsSet": {"metafields": [told], "userErrors": []}}

    def _addtags(self, variables: dict[str, Any]) -> dict[str, Any]:
        order = self._by_id(variables["id"])
        if order is None or self.faults.take("refuse_write"):
            return self._refused("tagsAdd", "node", "Tags cannot be added to this order.")
        there = {tag.casefold() for tag in order["tags"]}
        if new := [tag for tag in variables["tags"] if tag.casefold() not in there]:
            order["tags"] += new
            for tag in new:
                self._wrote(order["name"], f"+{tag}", None, numbers=_numbers(order))
            self.touch(order["name"], "orders/updated")
        return {"tagsAdd": {"node": {"id": order["id"], "tags": sorted(order["tags"])}, "userErrors": []}}

    def _removetags(self, variables: dict[str, Any]) -> dict[str, Any]:
        order = self._by_id(variables["id"])
        if order is None:
            return self._refused("tagsRemove", "node", "The order does not exist.")
        gone = {tag.casefold() for tag in variables["tags"]}
        for tag in [tag for tag in order["tags"] if tag.casefold() in gone]:
            order["tags"].remove(tag)
            self._wrote(order["name"], f"-{tag}", None, numbers=_numbers(order))
            self.touch(order["name"], "orders/updated")
        return {"tagsRemove": {"node": {"id": order["id"], "tags": sorted(order["tags"])}, "userErrors": []}}

    def _fulfilment(self, ref: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        for order in list(self.orders.values()):
            for fulfilment in order["fulfillments"]:
                if fulfilment["id"] == ref:
                    return order, fulfilment
        return None

    def _events(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self._fulfilment(variables["id"])
        if found is None:
            return {"fulfillment": None}
        events = sorted(found[1]["events"], key=lambda e: e["happenedAt"], reverse=True)[:20]
        return {"fulfillment": {"id": found[1]["id"], "status": found[1]["status"], "events": {"nodes": events}}}

    def _create(self, variables: dict[str, Any]) -> dict[str, Any]:
        event = variables["e"]
        found = self._fulfilment(event["fulfillmentId"])
        problem = None
        if found is None:
            problem = "Fulfillment does not exist."
        elif event["status"] not in EVENTS:
            problem = "Status is not included in the list"
        elif self.faults.take("refuse_write"):
            problem = "Fulfillment event could not be created."
        if problem is not None or found is None:
            errors = [{"field": ["fulfillmentEvent"], "message": problem}]
            return {"fulfillmentEventCreate": {"fulfillmentEvent": None, "userErrors": errors}}
        order, fulfilment = found
        happened = datetime.strptime(event["happenedAt"], STORED).replace(tzinfo=UTC)
        made = self._append(fulfilment, event["status"], happened)
        self._wrote(
            order["name"], event["status"], happened, fulfilment=fulfilment["id"],
            numbers=[p["number"] for p in fulfilment["trackingInfo"]], city=event.get("city"),
        )  # fmt: skip
        self.touch(order["name"], "fulfillment_events/create")
        return {"fulfillmentEventCreate": {"fulfillmentEvent": made, "userErrors": []}}


def _numbers(order: dict[str, Any]) -> list[str]:
    return [one["number"] for fulfilment in order["fulfillments"] for one in fulfilment["trackingInfo"]]
