"""Lists that are longer than a page of orders holds: what of an order is to be asked on, and what that brought.

The same code puts together what was asked on where it is fetched and where it is read. Nothing is cut in silence: what could not be had
is told by `cut`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from adapters.shopify import reads
from tracker.domain.facts import Unread

Node = dict[str, Any]
Ask = tuple[str, dict[str, Any]]  # a query, and its variables
OLDER = 20  # fulfilments, and numbers of each, that were asked for at once before 0.1.0 counted them


class Whole:
    """The orders of an answer with all that was asked on of them. Nodes are those of the answer, and grow."""

    def __init__(self, nodes: Iterable[Any], *, bulk: bool = False) -> None:
        """Take the orders of an answer. `bulk`: of a result that holds every list whole, but what a plain list cannot hold."""
        self.orders: dict[str, Node] = {}
        self._parts: dict[str, Node] = {}
        self._routes: dict[str, Node] = {}
        self._numbers: dict[
            str, int
        ] = {}  # how many numbers of a fulfilment were asked for, where that is not the usual
        self._listed: set[str] = set()  # orders of which all fulfilments were asked for
        self.asked_on: set[str] = set()  # orders of which more than the first lists came
        self._bulk = bulk
        for node in nodes:
            if isinstance(node, dict) and isinstance(ref := node.get("id"), str):
                self.orders[ref] = node
                self._know(node)

    def _know(self, order: Node) -> None:
        self._parts |= {one["id"]: one for one in _nodes(order.get("fulfillments")) if isinstance(one.get("id"), str)}
        self._routes |= {one["id"]: one for one in _rows(order, "fulfillmentOrders") if isinstance(one.get("id"), str)}

    def take(self, data: Any) -> None:
        """Take the answer to what was asked on. What is odd in it adds nothing, and is asked for no more."""
        if not isinstance(data, dict):
            return
        told = data.get("order")
        if isinstance(told, dict) and (order := self._of(self.orders, told.get("id"))) is not None:
            self.asked_on.add(order["id"])
            _goes_on(order, told, "lineItems")
            _goes_on(order, told, "fulfillmentOrders")
            self._list(order, told.get("fulfillments"))
            self._know(order)
        told = data.get("fulfillmentOrder")
        if isinstance(told, dict) and (route := self._of(self._routes, told.get("id"))) is not None:
            _goes_on(route, told, "lineItems")
        for told in _nodes(data.get("parts")):
            if (part := self._of(self._parts, told.get("id"))) is not None:
                part |= told
                self._numbers[told["id"]] = reads.CHUNK_NUMBERS
        told = data.get("fulfillment")
        if isinstance(told, dict) and (part := self._of(self._parts, told.get("id"))) is not None:
            part["trackingInfo"] = told.get("trackingInfo")
            self._numbers[told["id"]] = reads.MOST
            _goes_on(part, told, "fulfillmentLineItems")

    @staticmethod
    def _of(known: Mapping[str, Node], ref: Any) -> Node | None:
        return known.get(ref) if isinstance(ref, str) else None

    def _list(self, order: Node, told: Any) -> None:
        """Take the list of all fulfilments of an order: their ids, or (as it was stored before 0.1.0) all of each."""
        if not isinstance(told, list):
            return
        self._listed.add(order["id"])
        known = {one.get("id"): one for one in _nodes(order.get("fulfillments"))}
        order["fulfillments"] = [known.get(one.get("id"), one) if len(one) < 2 else one for one in _nodes(told)]
        for one in _nodes(told):
            if len(one) > 1 and isinstance(ref := one.get("id"), str):
                self._numbers[ref] = reads.MOST

    def lacking(self, order: Node) -> Ask | None:
        """Say what to ask next to have an order whole; None: it is, as far as it can be had."""
        ref = order.get("id")
        for name, query in (("lineItems", reads.LINES), ("fulfillmentOrders", reads.ROUTES)):
            if (after := _more(order, name)) is not None:
                return query, {"id": ref, "after": after}
        for route in _rows(order, "fulfillmentOrders"):
            if (after := _more(route, "lineItems")) is not None:
                return reads.ROUTE_LINES, {"id": route.get("id"), "after": after}
        if self._are_more(order) and ref not in self._listed:
            return reads.PART_IDS, {"id": ref}
        parts = _nodes(order.get("fulfillments"))
        if bare := [one["id"] for one in parts if isinstance(one.get("id"), str) and len(one) == 1]:
            return reads.PARTS_BY_ID, {"ids": bare[: reads.CHUNK]}
        for part in parts:
            after = _more(part, "fulfillmentLineItems")
            if after is not None or (self._full(part) and self._asked(part) < reads.MOST):
                return reads.PART, {"id": part.get("id"), "after": after}
        return None

    def _are_more(self, order: Node) -> bool:
        """Say whether an order has more fulfilments than came."""
        there, count = order.get("fulfillments"), order.get("fulfillmentsCount")
        if not isinstance(there, list):
            return False
        count = count.get("count") if isinstance(count, dict) else None
        if isinstance(count, int):
            return count > len(there)
        most = reads.MOST if self._bulk or order.get("id") in self._listed else OLDER
        return len(there) >= most

    def _asked(self, part: Node) -> int:
        """Return how many numbers of a fulfilment were asked for."""
        if isinstance(ref := part.get("id"), str) and ref in self._numbers:
            return self._numbers[ref]
        return reads.MOST if self._bulk else reads.NUMBERS if "fulfillmentLineItems" in part else OLDER

    def _full(self, part: Node) -> bool:
        told = part.get("trackingInfo")
        return isinstance(told, list) and len(told) >= self._asked(part)

    def cut(self, order: Node) -> Iterator[Unread]:
        """Tell which lists of an order did not come whole."""
        if self._are_more(order):
            yield _incomplete("$.fulfillments", f"{len(order['fulfillments'])} fulfilments")
        for at, part in enumerate(_nodes(order.get("fulfillments"))):
            where = f"$.fulfillments[{at}]"
            if self._full(part):
                yield _incomplete(f"{where}.trackingInfo", f"{self._asked(part)} numbers")
            yield from _not_whole(part, "fulfillmentLineItems", where, "lines")
        yield from _not_whole(order, "lineItems", "$", "lines")
        yield from _not_whole(order, "fulfillmentOrders", "$", "fulfilment orders")
        for at, route in enumerate(_rows(order, "fulfillmentOrders")):
            yield from _not_whole(route, "lineItems", f"$.fulfillmentOrders.nodes[{at}]", "lines")


def _incomplete(where: str, came: str) -> Unread:
    return Unread(where, f"incomplete: {came} came, and the shop holds more", lacks="rest")


def _not_whole(owner: Node, name: str, where: str, what: str) -> Iterator[Unread]:
    if _more(owner, name) is not None:
        yield _incomplete(f"{where}.{name}", f"{len(_rows(owner, name))} {what}")


def _nodes(value: Any) -> list[Node]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _rows(owner: Node, name: str) -> list[Node]:
    """Return the nodes of a connection; none where it is odd, which its reader tells."""
    told = owner.get(name)
    return _nodes(told.get("nodes")) if isinstance(told, dict) else []


def _more(owner: Node, name: str) -> str | None:
    """Return the cursor behind what came of a connection; None where nothing follows. Empty where it does not say from where."""
    told = owner.get(name)
    info = told.get("pageInfo") if isinstance(told, dict) else None
    if not isinstance(info, dict) or info.get("hasNextPage") is not True:
        return None
    after = info.get("endCursor")
    return after if isinstance(after, str) else ""


def _goes_on(owner: Node, told: Node, name: str) -> None:
    """Add what follows to a connection."""
    here, more = owner.get(name), told.get(name)
    if not isinstance(here, dict) or not isinstance(more, dict) or _more(owner, name) is None:
        return
    if isinstance(nodes := more.get("nodes"), list) and isinstance(here.get("nodes"), list):
        owner[name] = {"nodes": [*here["nodes"], *nodes], "pageInfo": more.get("pageInfo")}
