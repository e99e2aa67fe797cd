"""What a Shopify shop tells of its orders: by page, by id, and what lists hold beyond their first pieces."""

from __future__ import annotations

from typing import Any

from tracker.sandbox.base import next_page
from tracker.sandbox.fakes.shopify.people import People

Node = dict[str, Any]
ALONE = ("number", "metafields", "lines", "routes", "events", "note")  # of an order: as we keep it, not as it is told


class Reads(People):
    """Answers to what reads orders. `unseen` are fields that the app may not see, as its scopes do not cover them."""

    unseen: frozenset[str] = frozenset()

    def _node(self, order: Node, variables: Node) -> Node:
        """Tell an order as the query asks for it: short lists, and what its variables include."""
        named = {}
        if variables.get("named"):
            value = order["metafields"].get(f"{variables['namespace']}.{variables['key']}")
            named = {"shown": None if value is None else {"value": value}}
        told = {key: value for key, value in order.items() if key not in ALONE}
        if not variables.get("addressed", True):
            del told["shippingAddress"]
        if variables.get("routed", True):
            told["fulfillmentOrders"] = _connection([_route(one, 5) for one in order["routes"]], 3)
        if variables.get("acted", True):
            told["events"] = {"nodes": order["events"][:8]}
        return {
            **told,
            **named,
            "tags": sorted(order["tags"]),
            "fulfillmentsCount": {"count": len(order["fulfillments"])},
            "lineItems": _connection(order["lines"], 10),
            "fulfillments": [_part(one, 3, 5) for one in order["fulfillments"][:2]],
        }

    def refused(self, variables: Node) -> str:
        """Name the field that is asked for and that the app may not see; empty where it sees all."""
        asked = {"fulfillmentOrders": "routed", "shippingAddress": "addressed", "events": "acted"}
        return next((name for name in sorted(self.unseen) if variables.get(asked[name])), "")

    def _orders(self, variables: Node) -> Node:
        found = self.found(variables["q"])
        page, after, more = next_page(
            found, lambda o: (o["updatedAt"], o["id"]), variables["after"], variables["first"]
        )
        info = {"hasNextPage": more, "endCursor": after}
        return {"orders": {"pageInfo": info, "nodes": [self._node(o, variables) for o in page]}}

    def found(self, query: str) -> list[Node]:
        """Return the orders that a search finds."""
        found = list(self.orders.values())
        for field, name in (("updated_at", "updatedAt"), ("created_at", "createdAt")):
            if f"{field}:>='" in query:
                since = query.split(f"{field}:>='")[1].split("'", maxsplit=1)[0]
                found = [o for o in found if o[name] >= since]
            if f"{field}:<'" in query:
                until = query.split(f"{field}:<'")[1].split("'", maxsplit=1)[0]
                found = [o for o in found if o[name] < until]
        if "status:open" in query:
            found = [o for o in found if not o["cancelledAt"] and not o["closedAt"]]
        return found

    def _read(self, variables: Node) -> Node:
        by_id = {o["id"]: o for o in list(self.orders.values())}  # a storm places orders meanwhile
        return {"nodes": [self._node(by_id[i], variables) if i in by_id else None for i in variables["ids"]]}

    # what an order holds beyond its first lists

    def _lines(self, variables: Node) -> Node:
        return self._of(variables, lambda o: {"lineItems": _connection(o["lines"], 250, variables["after"])})

    def _routes(self, variables: Node) -> Node:
        def routes(order: Node) -> Node:
            rows = [_route(one, 50) for one in order["routes"]]
            return {"fulfillmentOrders": _connection(rows, 4, variables["after"])}

        return self._of(variables, routes)

    def _routelines(self, variables: Node) -> Node:
        routes = {one["id"]: one for order in list(self.orders.values()) for one in order["routes"]}
        if (route := routes.get(variables["id"])) is None:
            return {"fulfillmentOrder": None}
        lines = _connection(route["lines"], 250, variables["after"])
        return {"fulfillmentOrder": {"id": route["id"], "lineItems": lines}}

    def _partids(self, variables: Node) -> Node:
        return self._of(variables, lambda o: {"fulfillments": [{"id": one["id"]} for one in o["fulfillments"][:250]]})

    def _parts(self, variables: Node) -> Node:
        found = [self._fulfilment(ref) for ref in variables["ids"]]
        return {"parts": [None if one is None else _part(one[1], 10, 10) for one in found]}

    def _part(self, variables: Node) -> Node:
        found = self._fulfilment(variables["id"])
        return {"fulfillment": None if found is None else _part(found[1], 250, 100, variables["after"])}

    def _of(self, variables: Node, told: Any) -> Node:
        found = self._by_id(variables["id"])
        return {"order": {"id": found["id"], **told(found)} if found else None}


def _connection(rows: list[Any], first: int, after: str | None = None) -> Node:
    begins = int(after) if after else 0
    ends = begins + first
    more = len(rows) > ends
    return {"nodes": rows[begins:ends], "pageInfo": {"hasNextPage": more, "endCursor": str(ends) if more else None}}


def _route(route: Node, lines: int) -> Node:
    told = {key: value for key, value in route.items() if key != "lines"}
    return {**told, "lineItems": _connection(route["lines"], lines)}


def _part(fulfilment: Node, numbers: int, lines: int, after: str | None = None) -> Node:
    newest = sorted(fulfilment["events"], key=lambda e: e["happenedAt"])[-1:]
    told = {key: value for key, value in fulfilment.items() if key != "lines"}
    return {
        **told,
        "trackingInfo": fulfilment["trackingInfo"][:numbers],
        "events": {"nodes": newest},
        "fulfillmentLineItems": _connection(fulfilment["lines"], lines, after),
    }
