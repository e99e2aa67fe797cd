"""A Shopify store for tests, and what may stand in an answer of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx

SHOP = "acme.myshopify.com"
GID = "gid://shopify/Order/"
LINE = "gid://shopify/LineItem/"
URL = f"https://{SHOP}/admin/api/2026-04/graphql.json"
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


def shop(make, **more):
    return make("adapters.shopify", shop=SHOP, **more)


def page(nodes: list[dict], *, more: bool = False, cursor: str | None = "c1") -> dict:
    return {"data": {"orders": {"pageInfo": {"hasNextPage": more, "endCursor": cursor}, "nodes": nodes}}}


def rows(*nodes: dict, after: str | None = None) -> dict:
    """A connection; `after` is the cursor of what follows."""
    return {"nodes": list(nodes), "pageInfo": {"hasNextPage": after is not None, "endCursor": after}}


def node(number: int, **more) -> dict:
    """An order as the queries of `reads` ask for it: one line that is fulfilled."""
    parts = more.get("fulfillments", [])
    return {
        "id": f"{GID}{number}", "name": f"#{number}", "createdAt": "2026-11-01T10:00:00Z", "updatedAt": "2026-11-02T10:00:00Z",
        "cancelledAt": None, "displayFulfillmentStatus": "FULFILLED", "displayFinancialStatus": "PAID", "tags": [], "fulfillments": [],
        "cancelReason": None, "closedAt": None, "test": False, "customerLocale": "en", "sourceName": "web",
        "paymentGatewayNames": ["shopify_payments"], "requiresShipping": True, "risk": {"recommendation": "ACCEPT"},
        "shippingLine": {"title": "Standard"}, "shippingAddress": {"countryCodeV2": "US", "validationResultSummary": "NO_ISSUES"},
        "fulfillmentsCount": {"count": len(parts) if isinstance(parts, list) else 0},
        "lineItems": rows(line(10 * number + 1)), "fulfillmentOrders": rows(route(number, [(10 * number + 1, 1, 0)], "CLOSED")),
        "events": {"nodes": []}, **more,
    }  # fmt: skip


def line(number: int, ordered: int = 1, wanted: int | None = None, left: int = 0, **more) -> dict:
    """A line: pieces ordered, still wanted, and left to be fulfilled."""
    wanted = ordered if wanted is None else wanted
    return {
        "id": f"{LINE}{number}", "name": f"item {number}", "quantity": ordered, "currentQuantity": wanted,
        "refundableQuantity": wanted, "unfulfilledQuantity": left, "requiresShipping": True, "isGiftCard": False, **more,
    }  # fmt: skip


def route(
    number: int, lines: list[tuple[int, int, int]], status: str = "OPEN", method: str = "SHIPPING", **more
) -> dict:
    """A fulfilment order, of lines with their pieces in all and left."""
    held = [
        {"totalQuantity": n, "remainingQuantity": left, "lineItem": {"id": f"{LINE}{ref}"}} for ref, n, left in lines
    ]
    return {
        "id": f"gid://shopify/FulfillmentOrder/{number}", "status": status, "fulfillAt": None,
        "deliveryMethod": {"methodType": method}, "assignedLocation": {"name": "Reno"}, "fulfillmentHolds": [],
        "lineItems": rows(*held), **more,
    }  # fmt: skip


def part(number: int, *numbers: str, **more) -> dict:
    return {
        "id": f"gid://shopify/Fulfillment/{number}", "status": "SUCCESS", "createdAt": "2026-11-01T12:00:00Z",
        "trackingInfo": [{"company": "UPS", "number": one} for one in numbers], "events": {"nodes": []},
        "fulfillmentLineItems": rows(), **more,
    }  # fmt: skip


def odd(code: str = "", message: str = "Internal error. Looks like something went wrong on our end.") -> dict:
    return {"errors": [{"message": message, **({"extensions": {"code": code}} if code else {})}]}


def by_id(*found: dict) -> dict:
    return {"data": {"nodes": list(found)}}


def answering(outside, answer):
    """Have the shop answer each call by its operation and variables."""

    def respond(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        return httpx.Response(200, json=answer(asked["query"].split()[1].partition("(")[0], asked["variables"]))

    return outside.post(URL).mock(side_effect=respond)
