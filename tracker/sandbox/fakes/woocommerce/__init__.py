"""WooCommerce: the REST API wc/v3 of one site, with order fulfilments, Shipment Tracking or AST, and hooks that are sent once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import as_json
from tracker.sandbox.fakes.woocommerce.people import PLUGINS, ZONE, error
from tracker.sandbox.fakes.woocommerce.places import Places
from tracker.sandbox.shop import StatusShop

OVER = timedelta(seconds=30)  # so long after our write an old order is saved over it
RESTOCKS = ("refunded", "cancelled")


class WooCommerceServer(Places):
    """A site whose tracking lies where the scenario says (`tracking`); its hooks are sent only where somebody made them."""

    contract = "woocommerce"
    knows = StatusShop.knows | {
        "fault lose_hook", "fault stop_hook", "fault refuse_hooks", "fault sign_wrongly", "fault save_over",
    }  # fmt: skip

    def routes(self) -> list[Route]:
        """Return what it answers to; the rest is no route, and so is what it has no plugin or feature for."""
        order = "/wp-json/wc/v3/orders/{id}"
        found = [
            Route("/wp-json/", self._index),
            Route("/wp-json/wc/v3/orders", self._list),
            Route(order, self._one, methods=["GET", "PUT"]),
            Route(f"{order}/notes", self._notes, methods=["GET", "POST"]),
            Route(f"{order}/refunds", self._refunds),
            Route(f"{order}/fulfillments", self._fulfillments),
            Route(f"{order}/fulfillments/{{part}}", self._fulfillment, methods=["GET", "PUT"]),
            Route("/wp-json/wc/v3/reports/orders/totals", self._totals),
            Route("/wp-json/wc/v3/webhooks", self._hook_list, methods=["GET", "POST"]),
            Route("/wp-json/wc/v3/webhooks/{hook}", self._hook, methods=["PUT", "DELETE"]),
        ]
        for namespace in PLUGINS["ast"]:
            path = f"/wp-json/{namespace}/orders/{{id}}/shipment-trackings"
            found.append(Route(path, self._trackings, methods=["GET", "POST"]))
            found.append(Route(f"{path}/{{part}}", self._tracking, methods=["DELETE"]))
        return [*found, Route("/wp-json/{rest:path}", self._no_route, methods=["GET", "POST", "PUT", "DELETE"])]

    def invalid(self, problems: list[str], request: Request) -> Response:
        """Refuse arguments as WordPress does."""
        return error(
            "rest_invalid_param",
            f"Invalid parameter(s): {problems[0]}",
            400,
            params={str(at): said for at, said in enumerate(problems)},
        )

    # what it answers

    async def _index(self, request: Request) -> Response:
        if (trouble := self.trouble()) is not None:
            return trouble
        self.calls["index"] += 1
        return as_json({"namespaces": ["oembed/1.0", "wp/v2", "wc/v3", *self._namespaces()]})

    async def _list(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["orders"] += 1
        asked = request.query_params
        size, page = int(asked.get("per_page", 10)), int(asked.get("page", 1))
        if size > 100:
            return _invalid("per_page", "per_page must be between 1 (inclusive) and 100 (inclusive)")
        found = sorted(
            self.orders.values(), key=lambda order: order["id"], reverse=asked.get("order", "desc") == "desc"
        )
        words = set(asked.get("status", "any").split(","))
        found = [
            order for order in found if order["status"] in words or ("any" in words and order["status"] != "trash")
        ]
        if since := asked.get("modified_after"):
            begins = datetime.fromisoformat(since).replace(tzinfo=UTC) - (
                ZONE if asked.get("dates_are_gmt") != "true" else timedelta(0)
            )
            found = [order for order in found if order["modified"].replace(microsecond=0) > begins]
        shown = [self._show(order) for order in found[(page - 1) * size : page * size]]
        return as_json(shown, 200, **{"X-WP-Total": str(len(found)), "X-WP-TotalPages": str(-(-len(found) // size))})

    async def _one(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        name, order = self._find(request)
        if not order:
            return error("woocommerce_rest_shop_order_invalid_id", "Invalid ID.", 404)
        if request.method == "GET":
            self.calls["read"] += 1
            shown = self._show(order)
            return as_json({**shown, "billing": {**shown["billing"], "email": self.address(name) or ""}})
        body = orjson.loads(await request.body())
        if more := set(body) - {"status", "meta_data"}:
            self.complaints.append(f"a write of {', '.join(sorted(more))}: the order is calculated anew")
        if "status" in body and body["status"] not in self.registered:
            return _invalid("status", f"status is not one of {', '.join(self.registered)}.")
        if self.faults.take("refuse_write"):
            return error("woocommerce_rest_invalid_order", "A plugin does not let the order be changed.", 400)
        was = order["status"]
        self._write(name, order, body)
        if was != order["status"] and self.faults.take("save_over"):
            self._saved_over.append((self.clock() + OVER, name, was))
        return self._done(as_json(self._show(order)))

    def _write(self, name: str, order: dict[str, Any], body: dict[str, Any]) -> None:
        """Do a write of ours."""
        for row in body.get("meta_data", ()):
            self._put(order, row["key"], row["value"], row.get("id"))
            self._wrote(name, f"{row['key']}={row['value']}", None)
        if "status" in body:
            if body["status"] in RESTOCKS:
                self.complaints.append(f"{body['status']} restocks")
            self._wrote(name, body["status"], None, was=order["status"])
            self._into(order, body["status"])
        self.touch(name)

    async def _notes(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        name, order = self._find(request)
        if not order:
            return error("woocommerce_rest_order_invalid_id", "Invalid order ID.", 404)
        if request.method == "GET":
            return as_json(order["notes"][::-1])
        body = orjson.loads(await request.body())
        if body.get("customer_note"):
            self.mails.append((name, "note"))
        note = {
            "id": next(self._ids),
            "author": "system",
            "note": body["note"],
            "customer_note": bool(body.get("customer_note")),
        }
        order["notes"].append(note)
        self._wrote(name, "note", None)
        return self._done(as_json(note, 201))

    async def _refunds(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        rows = self._find(request)[1].get("refunds", [])
        return as_json([{"id": one["id"], "amount": f"{one['amount']}.00", "line_items": one["lines"]} for one in rows])

    async def _totals(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        return as_json([{"slug": slug, "name": slug.capitalize(), "total": "0"} for slug in self.registered])


def _invalid(name: str, said: str) -> Response:
    return error("rest_invalid_param", f"Invalid parameter(s): {name}", 400, params={name: said})
