"""What a Shopify shop tells of its orders, by page and by id."""

from __future__ import annotations

from typing import Any

from tracker.sandbox.base import next_page
from tracker.sandbox.fakes.shopify.people import People


class Reads(People):
    """Answers to what reads orders."""

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
