"""What people do in a WooCommerce shop: they place, ship and change orders, and the site tells it by hooks that it sends once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tracker.sandbox.base import Clock, Outgoing, as_json
from tracker.sandbox.scenario import Place
from tracker.sandbox.shop import AS_USUAL, StatusShop, items_of
from tracker.sandbox.used import StoreUsed

ZONE = timedelta(hours=-5)  # of the site, in times without _gmt
PRICE = 10
MOST_FAILURES = 5
Core = Literal["pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed"]
PLUGINS = {"shipment_tracking": ("wc-shipment-tracking/v3",), "ast": ("wc-shipment-tracking/v3", "wc-ast/v3")}


class People(StatusShop):
    """A site's orders and hooks, and what people do with them."""

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", used: StoreUsed = AS_USUAL
    ) -> None:
        """Open it: with the statuses of WooCommerce and those that the scenario maps."""
        super().__init__(account, clock, key=key, hook=hook, used=used)
        self.place_, self.number_key = used.tracking, str(used.settings.get("number_key", ""))
        own = {**used.statuses, **used.settings.get("statuses", {})}
        self.registered = [*get_args(Core), "packed", *(word for word in own if word not in get_args(Core))]
        self.hooks: dict[int, dict[str, Any]] = {}
        self.mails: list[tuple[str, str]] = []
        self._saved_over: list[tuple[datetime, str, str]] = []
        self._base = ""
        self._ids = itertools.count(700)

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML."""
        self._base = base_url
        return {"base_url": base_url, "consumer_key": key, "consumer_secret": key}

    def _namespaces(self) -> list[str]:
        return [name for plugin in self.place_ for name in PLUGINS.get(plugin, ())]

    # what people do in the shop

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order: paid and in processing, of one item, unless it says more."""
        lines = items_of(action) or [{"ref": "item", "name": "", "ordered": 1, "shippable": True}]
        self.place(action, at, lines)

    def place(self, action: Place, at: datetime, lines: list[dict[str, Any]]) -> None:
        """Place an order."""
        number = int(action.order.lstrip("#")) if action.order.lstrip("#").isdigit() else next(self._ids)
        paid = (action.payment or "paid") == "paid"
        self.orders[action.order] = {
            "id": number, "status": action.status or "processing", "placed": at, "modified": at, "paid": at if paid else None,
            "completed": None, "method": action.method or "flat_rate", "pays_by": action.pays_by, "country": action.country or "US",
            "lines": [
                {"id": next(self._ids), "ref": line["ref"], "name": line["name"] or line["ref"], "quantity": line["ordered"]}
                for line in lines
            ],
            "needs_processing": any(line["shippable"] for line in lines),
            "refunds": [], "notes": [], "meta": [], "fulfillments": [], "trackings": [],
        }  # fmt: skip
        self.touch(action.order, "order.created")
        self.touch(action.order)

    def ship(
        self, name: str, at: datetime, parcels: list[dict[str, str]], *, items: dict[str, int], service: str = ""
    ) -> None:
        """Add tracking where this shop keeps it. The status stays: nothing in WooCommerce moves it by that."""
        order = self.orders[name]
        if self.number_key:
            self._put(order, self.number_key, ", ".join(parcel["number"] for parcel in parcels))
        elif "fulfillments" in self.place_:
            self._fulfil(order, at, parcels, items)
        else:
            order["trackings"] += [
                {"tracking_id": f"{next(self._ids):x}", "tracking_provider": parcel["company"], "tracking_number": parcel["number"],
                 "tracking_link": "", "date_shipped": f"{at:%Y-%m-%d}"} for parcel in parcels
            ]  # fmt: skip
        self.touch(name)

    def _fulfil(
        self, order: dict[str, Any], at: datetime, parcels: list[dict[str, str]], items: dict[str, int]
    ) -> None:
        """Fulfil pieces: a fulfilment a number, the pieces in the first."""
        pieces = [
            {"item_id": line["id"], "qty": items.get(line["ref"], 0) if items else line["quantity"]}
            for line in order["lines"]
        ]
        for parcel in parcels:
            meta = {
                "_tracking_number": parcel["number"], "_shipment_provider": parcel["company"].lower(),
                "_items": [one for one in pieces if one["qty"]], "_date_fulfilled": f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            }  # fmt: skip
            order["fulfillments"].append(
                {"id": next(self._ids), "status": "fulfilled", "deleted": None, "meta": self._rows(meta)}
            )
            pieces = []

    def set(self, name: str, by: str, **values: Any) -> None:
        """Change fields of an order in the admin."""
        order = self.orders[name]
        payment = (values.pop("payment", None) or {}).get("status")
        if payment == "refunded":
            self._give_back(order, [])
            order["status"] = "refunded"
        elif payment == "failed":
            order |= {"status": "failed", "paid": None}
        elif payment:
            order["paid"] = self.clock()
        self._into(order, values.pop("status", order["status"]))
        order |= values
        self.touch(name)

    def cancel(self, name: str, by: str) -> None:
        """Cancel the whole order."""
        self.set(name, by, status="cancelled")

    def remove(self, name: str, item: str, quantity: int | None, how: str) -> None:
        """Refund pieces of an item: the only way to take them out here."""
        order = self.orders[name]
        line = next(line for line in order["lines"] if line["ref"] == item)
        self._give_back(order, [(line, line["quantity"] if quantity is None else quantity)])
        self.touch(name)

    def retrack(self, name: str, parcels: list[dict[str, str]]) -> None:
        """Replace the number of what was shipped last."""
        order, number = self.orders[name], parcels[0]["number"]
        if order["fulfillments"]:
            next(row for row in order["fulfillments"][-1]["meta"] if row["key"] == "_tracking_number")["value"] = number
        elif order["trackings"]:
            order["trackings"][-1]["tracking_number"] = number
        self.touch(name)

    def _give_back(self, order: dict[str, Any], lines: list[tuple[dict[str, Any], int]]) -> None:
        """Give money back: for pieces, or all that is left."""
        amount = PRICE * sum(pieces for _, pieces in lines) or total(order) - sum(
            one["amount"] for one in order["refunds"]
        )
        order["refunds"].append(
            {"id": next(self._ids), "amount": amount, "lines": [
                {"id": next(self._ids), "quantity": -pieces, "total": f"-{PRICE * pieces}.00",
                 "meta_data": [{"id": next(self._ids), "key": "_refunded_item_id", "value": str(line["id"])}]}
                for line, pieces in lines
            ]}
        )  # fmt: skip

    def _into(self, order: dict[str, Any], status: str) -> None:
        if status == "completed" and order["status"] != status:
            order["completed"] = self.clock()
            self.mails.append((str(order["id"]), status))
        order["status"] = status

    # its hooks

    def touch(self, name: str, topic: str = "order.updated") -> None:
        """Mark an order as changed now. A save raises order.updated more than once."""
        order = self.orders[name]
        order["modified"] = self.clock()
        body = {"id": order["id"]} if topic == "order.deleted" else self._show(order)
        for _ in range(2 if topic == "order.updated" else 1):
            self._tell(topic, orjson.dumps(body))

    def _tell(self, topic: str, body: bytes) -> None:
        for hook in self.hooks.values():
            if self._hooks and hook["topic"] == topic and hook["status"] == "active":
                wrong = "another secret" if self.faults.take("sign_wrongly") else None
                self.outgoing.append(self.signed(body, secret=wrong or hook["secret"], hook=hook))

    def signed(self, body: bytes, *, secret: str | None = None, hook: dict[str, Any] | None = None) -> Outgoing:
        """Sign a body by a hook's secret, as it is once its entities are decoded."""
        hook = hook or {"id": 0, "topic": "order.updated"}
        key = html.unescape(secret or self.hook).encode()
        digest = base64.b64encode(hmac.new(key, body, hashlib.sha256).digest()).decode()
        resource, event = hook["topic"].split(".")
        stamp = f"{hook['id']}{int(self.clock().timestamp())}"
        headers = {
            "content-type": "application/json", "x-wc-webhook-source": f"{self._base}/", "x-wc-webhook-topic": hook["topic"],
            "x-wc-webhook-resource": resource, "x-wc-webhook-event": event, "x-wc-webhook-signature": digest,
            "x-wc-webhook-id": str(hook["id"]), "x-wc-webhook-delivery-id": hashlib.md5(stamp.encode()).hexdigest(),  # noqa: S324
        }  # fmt: skip
        return Outgoing(self.account, body, headers)

    def heard(self, outgoing: Outgoing, status: int) -> None:
        """Count failures in a row: nothing is sent again, and the one that comes with five behind it switches the hook off."""
        hook = self.hooks.get(int(outgoing.headers.get("x-wc-webhook-id", 0)))
        if hook is None:
            if status != 200:
                self.complaints.append(f"the ping of a hook was answered {status}")
            return
        failed = not (200 <= status < 300 or status in (301, 302))
        if failed and hook["failures"] >= MOST_FAILURES:
            hook["status"] = "disabled"
        hook["failures"] = hook["failures"] + 1 if failed else 0

    # what all of its answers share

    def _refused(self, request: Request) -> Response | None:
        """Refuse who may not ask, and give an injected failure."""
        if (trouble := self.trouble()) is not None:
            return trouble
        wanted = f"Basic {base64.b64encode(f'{self.key}:{self.key}'.encode()).decode()}"
        given = request.headers.get("authorization")
        query = (request.query_params.get("consumer_key"), request.query_params.get("consumer_secret"))
        if given != wanted and query != (self.key, self.key):
            if given or any(query):
                return error("woocommerce_rest_authentication_error", "Consumer key is invalid.", 401)
            return error("woocommerce_rest_cannot_view", "Sorry, you cannot list resources.", 401)
        self._save_over()
        return None

    def _save_over(self) -> None:
        """Save old orders over what was written since, where they are due."""
        due = [one for one in self._saved_over if one[0] <= self.clock()]
        self._saved_over = [one for one in self._saved_over if one not in due]
        for _, name, status in due:
            self.orders[name]["status"] = status
            self.touch(name)

    def _find(self, request: Request) -> tuple[str, dict[str, Any]]:
        found = [(name, order) for name, order in self.orders.items() if str(order["id"]) == request.path_params["id"]]
        return found[0] if found else ("", {})

    def _put(self, order: dict[str, Any], key: str, value: Any, id_: int | None = None) -> None:
        """Set a meta key in place, or add it: without its id it may stand there twice."""
        there = next((row for row in order["meta"] if id_ is not None and row["id"] == id_), None)
        if there is None:
            if any(row["key"] == key for row in order["meta"]):
                self.complaints.append(f"meta key {key} stands there twice now")
            there = {"id": next(self._ids), "key": key, "value": ""}
            order["meta"].append(there)
        there["value"] = value

    def _rows(self, meta: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"id": next(self._ids), "key": key, "value": value} for key, value in meta.items()]

    def _show(self, order: dict[str, Any]) -> dict[str, Any]:
        times: dict[str, Any] = {}
        for key, name in (
            ("placed", "created"),
            ("modified", "modified"),
            ("paid", "paid"),
            ("completed", "completed"),
        ):
            at = order[key]
            times[f"date_{name}_gmt"] = at and f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
            times[f"date_{name}"] = at and f"{at.astimezone(UTC) + ZONE:%Y-%m-%dT%H:%M:%S}"
        refunds = [{"id": one["id"], "reason": "", "total": f"-{one['amount']}.00"} for one in order["refunds"]]
        return {
            "id": order["id"], "parent_id": 0, "number": str(order["id"]), "order_key": f"wc_order_{order['id']}",
            "created_via": "checkout", "status": order["status"], "currency": "USD", "total": f"{total(order)}.00", **times,
            "billing": {"country": order["country"]}, "shipping": {"country": order["country"]}, "payment_method": order["pays_by"],
            "meta_data": order["meta"], "refunds": refunds, "needs_processing": order["needs_processing"],
            "line_items": [{k: v for k, v in line.items() if k != "ref"} | {"meta_data": []} for line in order["lines"]],
            "shipping_lines": [{"id": 1, "method_id": order["method"], "method_title": order["method"]}],
        }  # fmt: skip

    async def _no_route(self, _request: Request) -> Response:
        return error("rest_no_route", "No route was found matching the URL and request method.", 404)


def total(order: dict[str, Any]) -> int:
    """Return what an order costs."""
    return PRICE * sum(int(line["quantity"]) for line in order["lines"])


def error(code: str, message: str, status: int, **more: Any) -> Response:
    """Refuse as WordPress does."""
    return as_json({"code": code, "message": message, "data": {"status": status, **more}}, status)
