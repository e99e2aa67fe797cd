"""Saleor: the GraphQL API of one shop, its key set, and its hooks, which are signed by its key pair."""

from __future__ import annotations

import base64
from datetime import datetime
from functools import cached_property
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Outgoing, as_json, next_page
from tracker.sandbox.key_pairs import key_pair
from tracker.sandbox.scenario import Cancel, Edit, Pay, Place, Refund, Ship
from tracker.sandbox.shop import Shop

APP = "QXBwOjE="


class SaleorServer(Shop):
    """As far as an order's tracking needs it. A hook tells ids only; a key pair made anew is published at once."""

    knows = Shop.knows | {"fault new_key"}

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/graphql/", self._graphql, methods=["POST"]),
            Route("/.well-known/jwks.json", self._jwks, methods=["GET"]),
        ]

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML: no secret of hooks, they are signed."""
        return {
            "base_url": base_url, "app_token": key, "app_id": APP, "company_key": "carrier", "webhook_secrets": [],
        }  # fmt: skip

    # what a scenario says that people do

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order of some lines."""
        self.place(
            action.order, at, action.payment or "FULLY_CHARGED", action.status or "UNFULFILLED",
            [(item.ref, item.quantity, item.shippable) for item in action.items] or [("1", 1, True)], action.method or "DHL",
        )  # fmt: skip

    def on_ship(self, action: Ship, at: datetime) -> None:
        """Create a fulfilment for each number: it has one field for one."""
        for number in action.numbers or ("",):
            self.ship(action.order, at, number, action.company, action.items, partly=action.partly)

    def on_edit(self, action: Edit, at: datetime) -> None:
        """Change fields, then the number of the newest fulfilment."""
        if action.set:
            self.orders[action.order].update(action.set)
            self.touch(action.order)
        if action.numbers is not None:
            newest = self.orders[action.order]["fulfillments"][-1]
            newest |= {"trackingNumber": action.numbers[0]}
            newest["metadata"] |= {"carrier": action.company} if action.company else {}
            self.touch(action.order)

    def on_cancel(self, action: Cancel, at: datetime) -> None:
        """Cancel the order."""
        self.orders[action.order]["status"] = "CANCELED"
        self.touch(action.order)

    def on_refund(self, action: Refund, at: datetime) -> None:
        """Give the money of the order back."""
        self.orders[action.order]["paymentStatus"] = action.status or "FULLY_REFUNDED"
        self.touch(action.order)

    def on_pay(self, action: Pay, at: datetime) -> None:
        """Change the payment."""
        self.orders[action.order]["paymentStatus"] = action.status or "FULLY_CHARGED"
        self.touch(action.order)

    # what people do in the shop

    def place(
        self,
        name: str,
        at: datetime,
        payment: str,
        status: str,
        lines: list[tuple[str, int, bool]],
        method: str = "DHL",
    ) -> None:
        """Place an order; one whose name is a number has that number."""
        number = int(name) if name.isdecimal() else next(self._ids)
        self.orders[name] = {
            "id": _gid("Order", number), "number": name, "created": at.isoformat(), "updatedAt": at.isoformat(),
            "status": status, "paymentStatus": payment, "chargeStatus": "NONE", "authorizeStatus": "NONE",
            "shippingMethodName": method, "collectionPointName": None, "languageCodeEnum": "EN",
            "shippingAddress": {"country": {"code": "US"}}, "fulfillments": [], "grantedRefunds": [],
            "lines": [
                {"id": _gid("OrderLine", f"{number}-{ref}"), "quantity": quantity, "isShippingRequired": shippable,
                 "productName": ref} for ref, quantity, shippable in lines
            ],
            "metadata": {}, "events": [],
        }  # fmt: skip
        self._tell(name, "order_created")

    def ship(self, name: str, at: datetime, number: str, company: str, items: dict[str, int], *, partly: bool) -> None:
        """Create a fulfilment with its number; all that is left where no pieces are said."""
        order = self.orders[name]
        wanted = [
            {"quantity": items.get(line["productName"], 0) if items else line["quantity"], "orderLine": {"id": line["id"]}}
            for line in order["lines"]
            if line["isShippingRequired"]
        ]  # fmt: skip
        order["fulfillments"].append(
            {
                "id": _gid("Fulfillment", next(self._ids)), "status": "FULFILLED", "trackingNumber": number,
                "created": at.isoformat(), "metadata": {"carrier": company} if company else {},
                "lines": [line for line in wanted if line["quantity"]],
            }
        )  # fmt: skip
        order["status"] = "PARTIALLY_FULFILLED" if partly or items else "FULFILLED"
        self.touch(name, "fulfillment_created")

    def touch(self, name: str, event: str = "order_updated", by: str = "VXNlcjox") -> None:
        """Mark an order as changed now and tell by a hook."""
        self.orders[name]["updatedAt"] = self.clock().isoformat()
        self._tell(name, event, by)

    def _tell(self, name: str, event: str, by: str = "VXNlcjox") -> None:
        issued = f"{self.clock().isoformat()}#{next(self._ids)}"
        body = {"issuedAt": issued, "issuingPrincipal": {"id": by}, "order": {"id": self.orders[name]["id"]}}
        self.outgoing.append(self.signed(orjson.dumps(body), event=event))

    # its key pair

    _which = 0  # of its key pairs

    @property
    def _key(self) -> rsa.RSAPrivateKey:
        return key_pair(self._which)

    @cached_property
    def _key_id(self) -> str:
        return f"key-{next(self._ids)}"

    def renew_key(self) -> None:
        """Sign by another key pair from now on; the one before is published no more."""
        self._which += 1
        vars(self).pop("_key_id", None)

    def signed(self, body: bytes, *, secret: str | None = None, event: str = "order_updated") -> Outgoing:
        """Sign a body as Saleor does; with `secret`, by a key that nobody publishes."""
        if self.faults.take("new_key"):
            self.renew_key()
        key_id = self._key_id if secret is None else "no-such-key"
        header = {"alg": "RS256", "b64": False, "crit": ["b64"], "kid": key_id, "typ": "JWT"}
        head = _b64(orjson.dumps(header))
        proof = _b64(self._key.sign(f"{head}.".encode() + body, padding.PKCS1v15(), hashes.SHA256()))
        headers = {
            "content-type": "application/json", "saleor-event": event, "saleor-signature": f"{head}..{proof}",
            "saleor-api-url": "https://somewhere.else.example/graphql/",
        }  # fmt: skip
        return Outgoing(self.account, body, headers)

    async def _jwks(self, _request: Request) -> Response:
        if (trouble := self.trouble()) is not None:
            return trouble
        self.calls["keys"] += 1
        numbers = self._key.public_key().public_numbers()
        n, e = (_b64(value.to_bytes((value.bit_length() + 7) // 8, "big")) for value in (numbers.n, numbers.e))
        key = {"kty": "RSA", "key_ops": ["verify"], "use": "sig", "alg": "RS256", "kid": self._key_id, "n": n, "e": e}
        return as_json({"keys": [key]})

    # GraphQL

    async def _graphql(self, request: Request) -> Response:
        if (trouble := self.trouble()) is not None:
            return trouble
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return as_json(
                {"errors": [_error("PermissionDenied", "You need one of: MANAGE_ORDERS")], "data": {"orders": None}}
            )
        body = orjson.loads(await request.body())
        operation = body["query"].split()[1].partition("(")[0]
        self.calls[operation] += 1
        answer = getattr(self, f"_{operation.lower()}")(body["variables"])
        given = as_json({"data": answer})
        return self._done(given) if operation in ("SetField", "AddNote", "Retrack") else given

    def _node(self, order: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
        fulfillments = [
            {**{k: v for k, v in one.items() if k != "metadata"}, "company": one["metadata"].get(names["company"])}
            for one in order["fulfillments"]
        ]
        told = {k: v for k, v in order.items() if k not in ("metadata", "events")}
        return {**told, "fulfillments": fulfillments, "shown": order["metadata"].get(names["field"])}

    def _orders(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = [order for order in self.orders.values() if order["status"] != "DRAFT"]
        if since := variables["filter"].get("updatedAt", {}).get("gte"):
            begins = datetime.fromisoformat(since)
            found = [order for order in found if datetime.fromisoformat(order["updatedAt"]) >= begins]
        page, after, more = next_page(
            found, lambda order: (order["updatedAt"], order["id"]), variables["after"], variables["first"]
        )
        edges = [{"node": self._node(order, variables)} for order in page]
        return {"orders": {"pageInfo": {"hasNextPage": more, "endCursor": after}, "edges": edges}}

    def _contact(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self._by_id(variables["id"])
        return {"order": {"id": found[1]["id"], "userEmail": self.address(found[0])} if found else None}

    def _ping(self, _variables: dict[str, Any]) -> dict[str, Any]:
        return {"orders": {"edges": []}}

    def _by_id(self, ref: str) -> tuple[str, dict[str, Any]] | None:
        return next(((name, order) for name, order in list(self.orders.items()) if order["id"] == ref), None)

    def _read(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self._by_id(variables["id"])
        return {"order": self._node(found[1], variables) if found else None}

    def _notes(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self._by_id(variables["id"])
        return {"order": {"events": found[1]["events"]} if found else None}

    def _addnote(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self._by_id(variables["id"])
        if found is None or self.faults.take("refuse_write"):
            return {
                "orderNoteAdd": {"event": None, "errors": [{"code": "REQUIRED", "message": "Message can't be empty."}]}
            }
        event = {"id": _gid("OrderEvent", next(self._ids)), "type": "NOTE_ADDED", "message": variables["message"]}
        found[1]["events"].append(event)
        self._wrote(found[0], "note", None)
        self.touch(found[0], by=APP)
        return {"orderNoteAdd": {"event": {"id": event["id"]}, "errors": []}}

    def _tracking(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self._by_id(variables["id"])
        told = (
            [{key: one[key] for key in ("id", "status", "trackingNumber")} for one in found[1]["fulfillments"]]
            if found
            else []
        )
        return {"order": {"fulfillments": told} if found else None}

    def _retrack(self, variables: dict[str, Any]) -> dict[str, Any]:
        if variables["notify"]:
            self.complaints.append("a customer was mailed about a number")
        parts = ((name, one) for name, order in self.orders.items() for one in order["fulfillments"])
        name, part = next(((name, one) for name, one in parts if one["id"] == variables["id"]), ("", None))
        if part is None or self.faults.take("refuse_write"):
            errors = [{"code": "NOT_FOUND", "message": "Couldn't resolve to a node."}]
            return {"orderFulfillmentUpdateTracking": {"fulfillment": None, "errors": errors}}
        part["trackingNumber"] = variables["number"]
        self._wrote(name, f"numbers={part['trackingNumber']}", None, numbers=[part["trackingNumber"]])
        self.touch(name, by=APP)
        told = {"id": part["id"], "trackingNumber": part["trackingNumber"]}
        return {"orderFulfillmentUpdateTracking": {"fulfillment": told, "errors": []}}

    def _setfield(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self._by_id(variables["id"])
        if found is None or self.faults.take("refuse_write"):
            return {
                "updateMetadata": {
                    "item": None,
                    "errors": [{"code": "NOT_FOUND", "message": "Couldn't resolve to a node."}],
                }
            }
        if found[1]["metadata"].get(variables["key"]) == variables["value"]:
            return {"updateMetadata": {"item": {"metafield": variables["value"]}, "errors": []}}
        found[1]["metadata"][variables["key"]] = variables["value"]
        numbers = [one["trackingNumber"] for one in found[1]["fulfillments"] if one["trackingNumber"]]
        self._wrote(found[0], f"{variables['key']}={variables['value']}", None, numbers=numbers)
        self.touch(found[0], by=APP)
        return {"updateMetadata": {"item": {"metafield": variables["value"]}, "errors": []}}


def _gid(kind: str, key: object) -> str:
    return base64.b64encode(f"{kind}:{key}".encode()).decode()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _error(code: str, message: str) -> dict[str, Any]:
    return {"message": message, "extensions": {"exception": {"code": code}}}
