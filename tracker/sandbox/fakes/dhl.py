"""DHL: Shipment Tracking Unified, and Unified Push with its handshake."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier, Clock, Outgoing, as_json
from tracker.sandbox.scenario import Scan


class DHLServer(Carrier):
    """Shipment Tracking Unified and Unified Push with its handshake."""

    def __init__(self, account: str, clock: Clock, *, key: str = "right", hook: str = "") -> None:
        """Nobody is subscribed yet."""
        super().__init__(account, clock, key=key, hook=hook)
        self.subscriptions: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/track/shipments", self._track),
            Route("/tracking/push/v1/subscription", self._subscribe, methods=["POST"]),
            Route("/tracking/push/v1/subscription/{ref}", self._confirm, methods=["POST"]),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        callback = {"callback_url": f"https://tracker.example/webhooks/{self.account}"} if hook else {}
        return {
            "base_url": base_url, "push_url": f"{base_url}/tracking/push/v1", "api_key": key,
            "budget": {"calls": 100000, "per": "1d"}, **callback,
        }  # fmt: skip

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("dhl-api-key") != self.key:
            return as_json({"status": 401, "title": "Unauthorized", "detail": "Unauthorized for given resource."}, 401)
        return self.trouble()

    def _shipment(self, number: str) -> dict[str, Any]:
        scans = self.newest_first(number)
        told = [
            {
                "timestamp": scan["at"].isoformat() if scan["zoned"] else scan["at"].replace(tzinfo=None).isoformat(),
                "location": {"address": {"countryCode": scan["country"], "addressLocality": scan["city"]}},
                "statusCode": scan["type"], "status": scan["code"] or scan["text"], "description": scan["text"],
            }
            for scan in scans
        ]  # fmt: skip
        events = [event for event, scan in zip(told, scans, strict=True) if not scan.get("head")]
        posts = [
            {"number": scan["last_mile"], "type": "local-tracking-number"} for scan in scans if scan.get("last_mile")
        ]
        details = {"references": [{"number": number, "type": "ecommerce-number"}, *posts[:1]]} if posts else {}
        return {"id": number, "service": scans[0]["service"], "status": told[0], "details": details, "events": events}

    async def _track(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        number = request.query_params["trackingNumber"]
        if not self.history.get(number):
            told = {
                "title": "No result found",
                "detail": "No shipment with given tracking number found.",
                "status": 404,
            }
            return as_json(told, 404)
        return as_json({"shipments": [self._shipment(number)]})

    async def _subscribe(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        body = orjson.loads(await request.body())
        if len(body.get("shipmentIDs", ())) > 10:
            return as_json({"status": 400, "title": "Bad Request", "detail": "too many shipmentIDs"}, 400)
        ref = f"sub-{next(self._ids)}"
        secret = f"hook-{ref}"
        self.subscriptions[ref] = {**body, "secret": secret, "active": False}
        self.outgoing.append(self.validation(ref))
        return as_json({"subscriptionId": ref}, 202)

    async def _confirm(self, request: Request) -> Response:
        subscription = self.subscriptions.get(request.path_params["ref"])
        if subscription is None or request.headers.get("dhl-api-hook-secret") != subscription["secret"]:
            return as_json({"status": 404, "title": "Not Found"}, 404)
        subscription["active"] = True
        return as_json({}, 200)

    def validation(self, ref: str) -> Outgoing:
        """Make the message that asks for validation of a subscription."""
        subscription = self.subscriptions[ref]
        body = {
            "scope": "subscription.validate",
            "self": f"https://api-eu.dhl.com/tracking/push/v1/subscription/{ref}",
            "secret": subscription["secret"],
        }
        return self._send(body, subscription)

    def push(self, number: str) -> Outgoing | None:
        """Make the push for a number, where an active subscription holds it."""
        for subscription in self.subscriptions.values():
            if subscription["active"] and number in subscription["shipmentIDs"]:
                return self._send({"scope": "subscription.push", "shipments": [self._shipment(number)]}, subscription)
        return None

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the push that tells of a scan."""
        return self.push(action.number)

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Send the token along that a subscription names."""
        return Outgoing(self.account, body, {"DHL-Hook-Token": secret or self.hook})

    def _send(self, body: dict[str, Any], subscription: dict[str, Any]) -> Outgoing:
        authentication = subscription["hook"]["authentication"]
        headers = {"content-type": "application/json", authentication["header"]: authentication["token"]}
        return Outgoing(self.account, orjson.dumps(body), headers)
