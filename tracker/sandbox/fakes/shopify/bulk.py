"""Bulk operations of a Shopify shop: one is made by the second look at it, and its result is that of the moment when it began."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tracker.sandbox.base import Clock
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
