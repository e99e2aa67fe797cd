"""Magento: orders, shipments and comments by REST, its state machine, three ways in, and Adobe's signed events."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Clock, Outgoing, TokenServer, as_json
from tracker.sandbox.fakes.magento.lists import found, only
from tracker.sandbox.key_pairs import key_pair
from tracker.sandbox.scenario import Cancel, Edit, Pay, Place, Refund, Ship
from tracker.sandbox.shop import AS_USUAL, Shop
from tracker.sandbox.used import StoreUsed

DEFAULT = {
    "new": "pending", "pending_payment": "pending_payment", "processing": "processing", "complete": "complete", "closed": "closed",
    "canceled": "canceled", "holded": "holded", "payment_review": "payment_review",
}  # fmt: skip
SENT = ("processing", "complete")
OF_STATE = {  # the merchant's own statuses, and the states that they are assigned to
    "confirmed": ("new", "processing"), "packed": ("processing",), "partially_shipped": ("processing",), "shipped": SENT, "in_transit": SENT,
    "out_for_delivery": SENT, "delivery_failed": SENT, "delivered": ("complete",), "came_back": ("complete", "closed"),
}  # fmt: skip
UNSHIPPABLE = ("payment_review", "holded", "canceled", "closed")
KEY_PATH = "/prod/keys/pub-key-sandbox-{}.pem"


class MagentoServer(TokenServer, Shop):
    """As far as an order's tracking needs it. Open Source unless the settings name `events_client_id`; then it tells by I/O events."""

    by_secret = False
    contract = "magento"
    resends = tuple(timedelta(minutes=gap) for gap in (1, 2, 4, 8, 15, 30, 60, 120, 240, 480, 480))  # a day
    knows = Shop.knows | TokenServer.knows | {"cancel.item", "refund.item", "fault new_key"}

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", used: StoreUsed = AS_USUAL
    ) -> None:
        """Take whoever comes as the settings say: with a bearer token, signed (consumer_key), or with a token of IMS (client_id)."""
        super().__init__(account, clock, key=key, hook=hook, used=used)
        self._mine = used.settings
        self.pushes = used.webhooks and "events_client_id" in used.settings
        self._nonces: set[str] = set()

    def routes(self) -> list[Route]:
        """Return what it answers to, of Open Source and of the Cloud Service; anything else is complained of."""
        known: list[tuple[str, str, Callable[[Request], Any]]] = [
            ("GET", "/orders", self._list), ("GET", "/orders/{id}", self._one), ("GET", "/orders/{id}/comments", self._comments),
            ("POST", "/orders/{id}/comments", self._comment), ("GET", "/shipments", self._list),
            ("POST", "/shipment/track", self._track), ("DELETE", "/shipment/track/{id}", self._untrack),
        ]  # fmt: skip
        bases = ("/rest/{store}/V1", "/{tenant}/V1")
        return [
            Route("/{tenant}/V1/order-statuses", self._guarded(self._statuses)),
            Route("/ims/token/v3", self._ims, methods=["POST"]),
            Route("/prod/keys/{name}", self._public),
            *(Route(f"{base}{path}", self._guarded(go), methods=[how]) for base in bases for how, path, go in known),
            Route("/{path:path}", self._no_route, methods=["GET", "POST", "PUT", "DELETE"]),
        ]

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML, for the way in that the scenario's name."""
        told: dict[str, Any] = {"base_url": base_url, "statuses": {"shipped": "shipped", "delivered": "delivered"}}
        if "client_id" in self._mine:
            told |= {"client_secret": key, "ims_org_id": "org@AdobeOrg", "ims_url": f"{base_url}/ims/token/v3"}
            told["base_url"] = f"{base_url}/tenant"
        else:
            told["access_token"] = key
        if "consumer_key" in self._mine:
            told |= {"consumer_secret": key, "access_token_secret": key}
        return told | ({"events_keys_url": base_url} if self.pushes else {})

    # what a scenario says that people do

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order: paid and processing, unless it says more. `status` is a status, `payment` paid or anything else."""
        paid = (action.payment or "paid") == "paid"
        status = action.status or ("processing" if paid else "pending")
        self.place(
            action.order, at, status, [(item.ref, item.quantity, item.shippable) for item in action.items] or [("1", 1, True)],
            paid=paid, method=action.method or "Flat Rate - Fixed", country=action.country or "US", pays_by=action.pays_by,
        )  # fmt: skip

    def on_ship(self, action: Ship, at: datetime) -> None:
        """Ship what is said, or all that is left, with a track for each number; refused as Magento refuses it."""
        order = self.orders[action.order]
        if order["state"] in UNSHIPPABLE:
            raise ValueError(f"Magento refuses to ship an order that is {order['state']}")
        rows = []
        for item in order["items"]:
            left = item["qty_ordered"] - item["qty_canceled"] - item["qty_refunded"] - item["qty_shipped"]
            some = min(left, action.items.get(item["name"], 0) if action.items else left)
            if some > 0 and not item["is_virtual"]:
                item["qty_shipped"] += some
                rows.append({"order_item_id": item["item_id"], "qty": some})
        shipment = {
            "entity_id": next(self._ids) + 30, "order_id": order["entity_id"], "created_at": _printed(at), "updated_at": _printed(at),
            "items": rows, "tracks": [], "comments": [],
        }  # fmt: skip
        order["shipments"].append(shipment)
        self._put_tracks(shipment, action.company, action.numbers)
        if order["state"] == "new":
            order["state"], order["status"] = "processing", "processing"
        self._move(order)
        self.touch(action.order, "shipment_save_after", order_id=order["entity_id"], entity_id=shipment["entity_id"])
        if action.status is not None:
            order["status"] = action.status

    def on_edit(self, action: Edit, at: datetime) -> None:
        """Change fields of the order, or the tracks of its newest shipment: those move the shipment's time, and not the order's."""
        order = self.orders[action.order]
        if action.set:
            order.update(action.set)
            order["state"] = next(
                (state for state, status in DEFAULT.items() if status == order["status"]), order["state"]
            )
            self._move(order)
            self.touch(action.order)
        if action.numbers is not None:
            shipment = order["shipments"][-1]
            self._put_tracks(shipment, action.company, action.numbers)
            shipment["updated_at"] = _printed(self.clock())
            self._tell("shipment_track_save_after", order_id=order["entity_id"], parent_id=shipment["entity_id"])

    def on_cancel(self, action: Cancel, at: datetime) -> None:
        """Cancel the order, or pieces of an item."""
        order = self.orders[action.order]
        if action.item is None:
            order["state"], order["status"] = "canceled", "canceled"
        else:
            item = self._item(action.order, action.item)
            item["qty_canceled"] += action.quantity or item["qty_ordered"] - item["qty_shipped"]
            self._move(order)
        self.touch(action.order)

    def on_refund(self, action: Refund, at: datetime) -> None:
        """Give money back, of the order or of pieces of an item."""
        order = self.orders[action.order]
        items = order["items"] if action.item is None else [self._item(action.order, action.item)]
        for item in items:
            some = action.quantity or item["qty_ordered"] - item["qty_canceled"] - item["qty_refunded"]
            item["qty_refunded"] += some
            order["total_refunded"] += some * 10
        self._move(order)
        self.touch(action.order)

    def on_pay(self, action: Pay, at: datetime) -> None:
        """Invoice all that is left, and take the money."""
        order = self.orders[action.order]
        order["total_paid"], order["total_due"] = order["grand_total"], 0
        if order["state"] in ("new", "pending_payment"):
            order["state"], order["status"] = "processing", "processing"
        self._move(order)
        self.touch(action.order)

    # what people do in the shop

    def place(
        self, name: str, at: datetime, status: str, lines: list[tuple[str, float, bool]], *, paid: bool = True, method: str = "Flat Rate",
        country: str = "US", pays_by: str = "checkmo",
    ) -> dict[str, Any]:  # fmt: skip
        """Place an order of simple products, ten a piece; returns it as it is kept."""
        state = next(
            (state for state, default in DEFAULT.items() if default == status), OF_STATE.get(status, ("processing",))[0]
        )
        id_ = next(self._ids) + 100
        items: list[dict[str, Any]] = [
            {"item_id": id_ * 100 + at_, "product_type": "simple" if ships else "virtual", "name": name_, "qty_ordered": some,
             "qty_shipped": 0, "qty_refunded": 0, "qty_canceled": 0, "is_virtual": int(not ships)}
            for at_, (name_, some, ships) in enumerate(lines, start=1)
        ]  # fmt: skip
        total = sum(item["qty_ordered"] for item in items) * 10
        self.orders[name] = {
            "entity_id": id_, "increment_id": name, "state": state, "status": status, "created_at": _printed(at), "updated_at": _printed(at),
            "is_virtual": int(all(item["is_virtual"] for item in items)), "base_grand_total": total, "grand_total": total,
            "total_paid": total if paid else 0, "total_due": 0 if paid else total, "total_refunded": 0, "customer_email": "a@b.example",
            "shipping_description": method, "items": items, "payment": {"method": pays_by},
            "extension_attributes": {"shipping_assignments": [
                {"shipping": {"method": "flatrate_flatrate", "address": {"country_id": country, "firstname": "Ann", "city": "Austin"}}}]},
            "shipments": [], "status_histories": [],
        }  # fmt: skip
        self._tell("order_save_commit_after", entity_id=id_)
        return self.orders[name]

    def touch(self, name: str, event: str = "order_save_commit_after", **value: int) -> None:
        """Mark an order as changed now, and tell."""
        order = self.orders[name]
        order["updated_at"] = _printed(self.clock())
        self._tell(event, **(value or {"entity_id": order["entity_id"]}))

    def _put_tracks(self, shipment: dict[str, Any], company: str, numbers: tuple[str, ...]) -> None:
        code = company.lower() if company.lower() in ("ups", "usps", "fedex", "dhl") else "custom"
        shipment["tracks"] = [
            {"entity_id": next(self._ids), "parent_id": shipment["entity_id"], "order_id": shipment["order_id"], "track_number": number,
             "title": company or "Carrier", "carrier_code": code, "weight": 1, "qty": 1, "description": ""}
            for number in numbers
        ]  # fmt: skip

    def _item(self, name: str, item: str) -> dict[str, Any]:
        return next(one for one in self.orders[name]["items"] if one["name"] == item)

    def _move(self, order: dict[str, Any]) -> None:
        """Move the state by itself on a save, as Order/Handler/State does; the status becomes the new state's default one."""
        if order["state"] in ("canceled", "holded", "payment_review"):
            return
        before = order["state"]
        left = [
            item["qty_ordered"] - item["qty_canceled"] - item["qty_refunded"] - item["qty_shipped"]
            for item in order["items"] if not item["is_virtual"]
        ]  # fmt: skip
        if before == "processing" and not order["total_due"] and all(some <= 0 for some in left):
            order["state"] = "complete"
        back = all(item["qty_refunded"] + item["qty_canceled"] >= item["qty_ordered"] for item in order["items"])
        if order["state"] in ("processing", "complete") and order["total_refunded"] and back:
            order["state"] = "closed"
        if order["state"] != before:
            order["status"] = DEFAULT[order["state"]]

    # who may

    def _guarded(self, go: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            if (trouble := self.trouble()) is not None:
                return trouble
            if (refused := self._refused(request)) is not None:
                return refused
            told: Response = await go(request)
            return told

        return answer

    def _refused(self, request: Request) -> Response | None:
        """Refuse who is not allowed in, in Magento's words: whoever it does not know may see nothing."""
        given = request.headers.get("authorization", "")
        if "client_id" in self._mine:
            headers = (request.headers.get("x-api-key"), request.headers.get("x-gw-ims-org-id"))
            if self.bears_token(request) and headers == (self._mine["client_id"], "org@AdobeOrg"):
                return None
            return as_json({"message": "Oauth token is not valid"}, 401)
        if "consumer_key" in self._mine:
            return self._unsigned(request, given)
        if given == f"Bearer {self.key}":
            return None
        return as_json(
            {"message": "The consumer isn't authorized to access %resources.", "parameters": {"resources": "Magento_Sales::actions_view"}}, 401
        )  # fmt: skip

    def _unsigned(self, request: Request, given: str) -> Response | None:
        """Check a signature as RFC 5849 3.4 says, from what came."""
        told = {}
        for one in given.removeprefix("OAuth ").split(","):
            name, _, value = one.strip().partition("=")
            told[name] = unquote(value.strip('"'))
        if (
            not given.startswith("OAuth ")
            or told.get("oauth_consumer_key") != self._mine["consumer_key"]
            or told.get("oauth_token") != self.key
        ):
            return as_json({"message": "A consumer having the specified key does not exist"}, 401)
        signature = told.pop("oauth_signature", "")
        pairs = [*parse_qsl(request.url.query, keep_blank_values=True), *told.items()]
        sorted_ = "&".join(
            f"{name}={value}" for name, value in sorted((_enc(name), _enc(value)) for name, value in pairs)
        )
        address = f"{request.url.scheme}://{request.url.netloc}{request.url.path}"
        base = "&".join(map(_enc, (request.method, address, sorted_)))
        digest = hmac.new(f"{_enc(self.key)}&{_enc(self.key)}".encode(), base.encode(), hashlib.sha256).digest()
        if told.get("oauth_signature_method") != "HMAC-SHA256" or signature != base64.b64encode(digest).decode():
            return as_json({"message": "The signature is invalid. Verify and try again."}, 401)
        if not told[
            "oauth_timestamp"
        ].isdigit():  # how far off it may be is not compared: in a play the client's clock is the machine's
            return as_json({"message": "The oauth_timestamp value is incorrect."}, 401)
        if told["oauth_nonce"] in self._nonces:
            return as_json(
                {"message": "The nonce is already being used by the consumer with ID %1.", "parameters": [1]}, 401
            )
        self._nonces.add(told["oauth_nonce"])
        return None

    async def _ims(self, request: Request) -> Response:
        if (trouble := self.trouble()) is not None:
            return trouble
        form = dict(parse_qsl((await request.body()).decode()))
        if (form.get("client_id"), form.get("client_secret")) != (self._mine.get("client_id"), self.key):
            return as_json({"error": "invalid_client"}, 400)
        if form.get("grant_type") != "client_credentials" or "commerce.accs" not in form.get("scope", ""):
            return as_json({"error": "invalid_scope"}, 400)
        return as_json({"access_token": self.new_token(), "token_type": "bearer", "expires_in": 86399})

    # REST

    def invalid(self, problems: list[str], request: Request) -> Response:
        """Refuse a request that the official contract does not take."""
        return as_json({"message": "%1", "parameters": ["; ".join(problems)]}, 400)

    async def _no_route(self, request: Request) -> Response:
        self.complaints.append(f"{request.method} {request.url.path} was called: nothing of it may be touched")
        return as_json({"message": "Request does not match any route."}, 404)

    async def _list(self, request: Request) -> Response:
        what = request.url.path.rpartition("/")[2]
        self.calls[what] += 1
        orders = list(self.orders.values())
        rows = [self._show(o) for o in orders] if what == "orders" else [s for o in orders for s in o["shipments"]]
        return found(rows, request.query_params)

    async def _statuses(self, _request: Request) -> Response:
        told = [(status, state, True) for state, status in DEFAULT.items()]
        told += [(status, state, False) for status, states in OF_STATE.items() for state in states]
        return as_json(
            [{"status": status, "label": status.title(), "state": state, "default": default, "visible_on_front": True}
             for status, state, default in told]
        )  # fmt: skip

    async def _one(self, request: Request) -> Response:
        self.calls["read"] += 1
        order = self._by_id(request)
        if order is None:
            return _gone()
        told = {**self._show(order), "customer_email": self.address(order["increment_id"]) or ""}
        return as_json(only(told, request.query_params.get("fields")))

    async def _comments(self, request: Request) -> Response:
        order = self._by_id(request)
        if order is None:
            return _gone()
        rows = order["status_histories"]
        return as_json({"items": rows, "search_criteria": {"filter_groups": []}, "total_count": len(rows)})

    async def _comment(self, request: Request) -> Response:
        """Add a comment; its status must belong to the order's state. One that mails, or that the customer sees, is complained of."""
        order = self._by_id(request)
        told = orjson.loads(await request.body()).get("statusHistory")
        if order is None or not isinstance(told, dict):
            return (
                _gone()
                if order is None
                else as_json(
                    {"message": '"%fieldName" is required.', "parameters": {"fieldName": "statusHistory"}}, 400
                )
            )
        if told.get("is_customer_notified") != 0 or told.get("is_visible_on_front") != 0:
            self.complaints.append(f"a comment to {order['increment_id']} mails the customer, or is shown to them")
        if self.faults.take("refuse_write"):
            return as_json({"message": "The comment wasn't saved: %1", "parameters": ["the order is locked"]}, 400)
        status = told.get("status") or order["status"]
        if told.get("status") and status != DEFAULT[order["state"]] and order["state"] not in OF_STATE.get(status, ()):
            message = 'Unable to add comment: The status "%1" is not part of the order status history.'
            return as_json({"message": message, "parameters": [status]}, 400)
        order["status"] = status
        row = {
            "entity_id": next(self._ids), "parent_id": order["entity_id"], "comment": told["comment"], "status": status,
            "created_at": _printed(self.clock()), "is_customer_notified": 0, "is_visible_on_front": 0, "entity_name": "order",
        }  # fmt: skip
        order["status_histories"].append(row)
        numbers = [track["track_number"] for one in order["shipments"] for track in one["tracks"]]
        self._wrote(order["increment_id"], told.get("status") or "note", None, numbers=numbers)
        self.touch(order["increment_id"])
        self._tell("order_status_history_save_after", parent_id=order["entity_id"], entity_id=row["entity_id"])
        return self._done(as_json(True))

    async def _track(self, request: Request) -> Response:
        """Add a track to a shipment; with an id of one that is there nothing happens, and it is answered all the same."""
        told = orjson.loads(await request.body())["entity"]
        shipment = next(
            (s for o in self.orders.values() for s in o["shipments"] if s["entity_id"] == told.get("parent_id")), None
        )
        if shipment is None or shipment["order_id"] != told.get("order_id"):
            return as_json({"message": "Could not save the shipment tracking."}, 400)
        if told.get("entity_id") is None:
            told = {**told, "entity_id": next(self._ids)}
            shipment["tracks"].append(told)
            name = next(o["increment_id"] for o in self.orders.values() if o["entity_id"] == shipment["order_id"])
            self._wrote(name, f"+{told['track_number']}", None)
        return self._done(as_json(told))

    async def _untrack(self, request: Request) -> Response:
        wanted = request.path_params["id"]
        for order in self.orders.values():
            for shipment in order["shipments"]:
                for track in [one for one in shipment["tracks"] if str(one["entity_id"]) == wanted]:
                    shipment["tracks"].remove(track)
                    self._wrote(order["increment_id"], f"-{track['track_number']}", None)
                    return as_json(True)
        return _gone()

    def _by_id(self, request: Request) -> dict[str, Any] | None:
        wanted = request.path_params["id"]
        return next((order for order in list(self.orders.values()) if str(order["entity_id"]) == wanted), None)

    def _show(self, order: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in order.items() if name != "shipments"}

    # events

    _which = 0  # of its key pairs

    @cached_property
    def _key(self) -> tuple[str, rsa.RSAPrivateKey]:
        return KEY_PATH.format(next(self._ids)), key_pair(self._which)

    def _tell(self, event: str, **value: int) -> None:
        if not self.pushes:
            return
        id_ = f"{self.account}-{next(self._ids)}"
        told = {
            "event_id": id_, "recipientclientid": self._mine["events_client_id"],
            "event": {"id": id_, "type": f"com.adobe.commerce.observer.sales_{event}", "data": {"key": id_, "value": value}},
        }  # fmt: skip
        if event.startswith(("shipment", "order_status")):
            told["event"]["type"] = f"com.adobe.commerce.observer.sales_order_{event.removeprefix('order_')}"
        self.outgoing.append(self.signed(orjson.dumps(told)))

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Sign a body as Adobe does, twice; the first signature is by a key that was taken away. With `secret`: neither is right."""
        if self.faults.take("new_key"):
            self._which += 1
            vars(self).pop("_key", None)
        path, key = self._key
        proof = base64.b64encode(
            key.sign(body if secret is None else body + b" ", padding.PKCS1v15(), hashes.SHA256())
        ).decode()
        headers = {
            "content-type": "application/json", "x-adobe-digital-signature-1": proof, "x-adobe-public-key1-path": "/prod/keys/pub-key-gone.pem",
            "x-adobe-digital-signature-2": proof, "x-adobe-public-key2-path": path,
        }  # fmt: skip
        return Outgoing(self.account, body, headers)

    def given_up(self, outgoing: Outgoing) -> None:
        """Disable the registration."""
        self.pushes = False

    async def _public(self, request: Request) -> Response:
        self.calls["keys"] += 1
        path, key = self._key
        if not path.endswith(request.path_params["name"]):
            return as_json({"message": "not found"}, 404)
        return Response(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _gone() -> Response:
    return as_json({"message": "The entity that was requested doesn't exist. Verify the entity and try again."}, 404)


def _printed(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _enc(text: str) -> str:
    return quote(text, safe="~")
