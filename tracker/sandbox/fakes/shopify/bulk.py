"""Bulk operations of a Shopify shop: one is made by the second look at it, and its result is that of the moment when it began."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tracker.sandbox.base import Clock
from tracker.sandbox.contracts import contract_of
from tracker.sandbox.contracts.graphql import GraphQLContract
from tracker.sandbox.fakes.shopify.people import STORED
from tracker.sandbox.fakes.shopify.reading import Reads
from tracker.sandbox.shop import AS_USUAL
from tracker.sandbox.used import StoreUsed


class Bulk(Reads):
    """The operations that were started, and their results."""

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", used: StoreUsed = AS_USUAL
    ) -> None:
        """Begin without any."""
        super().__init__(account, clock, key=key, hook=hook, used=used)
        self.operations: dict[str, dict[str, Any]] = {}

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
        found = self.found(variables["q"])
        untrue = _contract().untrue_lines(variables["q"], (row for one in found for row in self._rows(one)))
        self.untrue += [f"a bulk operation: {said}" for said in untrue]
        lines = b"".join(orjson.dumps(line) + b"\n" for order in found for line in self._rows(order))
        self.operations[ref] = {
            "id": ref, "status": "RUNNING", "query": variables["q"], "createdAt": self.clock().strftime(STORED),
            "errorCode": None, "objectCount": str(lines.count(b"\n")), "rootObjectCount": str(len(found)), "fileSize": None, "url": None, "result": lines,
        }  # fmt: skip
        return {"bulkOperationRunQuery": {"bulkOperation": self._told(ref), "userErrors": []}}

    def _rows(self, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Tell an order and what hangs on it, each in a line of its own; what a plain list holds stays in the order."""
        node = self._node(order, {"acted": False})
        parts = []
        for one in order["fulfillments"]:
            shown = one["events"][-1] if one["events"] else {"status": "FULFILLED", "happenedAt": None}
            parts.append(
                {"id": one["id"], "status": one["status"], "createdAt": one["createdAt"],
                 "trackingInfo": one["trackingInfo"], "displayStatus": shown["status"],
                 "deliveredAt": shown["happenedAt"] if shown["status"] == "DELIVERED" else None,
                 "totalQuantity": sum(line["quantity"] for line in one["lines"])}
            )  # fmt: skip
        yield {key: v for key, v in node.items() if key not in ("lineItems", "fulfillmentOrders")} | {
            "fulfillments": parts
        }
        for line in order["lines"]:
            yield {**line, "__parentId": order["id"]}
        for route in order["routes"]:
            yield {**{k: v for k, v in route.items() if k != "lines"}, "__parentId": order["id"]}
            for line in route["lines"]:
                yield {**line, "__parentId": route["id"]}

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


def _contract() -> GraphQLContract:
    found = contract_of("shopify")
    assert isinstance(found, GraphQLContract)
    return found
