"""A Shopify store for tests, and what may stand in an answer of it."""

from __future__ import annotations

from datetime import UTC, datetime

SHOP = "acme.myshopify.com"
GID = "gid://shopify/Order/"
URL = f"https://{SHOP}/admin/api/2026-04/graphql.json"
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


def shop(make, **more):
    return make("adapters.shopify", shop=SHOP, **more)


def page(nodes: list[dict], *, more: bool = False, cursor: str | None = "c1") -> dict:
    return {"data": {"orders": {"pageInfo": {"hasNextPage": more, "endCursor": cursor}, "nodes": nodes}}}


def node(number: int, **more) -> dict:
    return {
        "id": f"{GID}{number}", "name": f"#{number}", "createdAt": "2026-11-01T10:00:00Z", "updatedAt": "2026-11-02T10:00:00Z",
        "cancelledAt": None, "displayFulfillmentStatus": "FULFILLED", "displayFinancialStatus": "PAID", "tags": [], "fulfillments": [], **more,
    }  # fmt: skip


def part(number: int, *numbers: str, **more) -> dict:
    return {
        "id": f"gid://shopify/Fulfillment/{number}", "status": "SUCCESS", "createdAt": "2026-11-01T12:00:00Z",
        "trackingInfo": [{"company": "UPS", "number": one} for one in numbers], "events": {"nodes": []}, **more,
    }  # fmt: skip


def odd(code: str = "", message: str = "Internal error. Looks like something went wrong on our end.") -> dict:
    return {"errors": [{"message": message, **({"extensions": {"code": code}} if code else {})}]}
