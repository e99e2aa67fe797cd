"""A local server that speaks the Fast Fox API v2, for plays: shipments, and signed webhooks."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier, Outgoing, as_json
from tracker.sandbox.scenario import Scan


class FastFoxServer(Carrier):
    """Shipments by number; an event holds the whole shipment."""

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [Route("/v2/shipments/{number}", self._read), Route("/v2/me", self._me)]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return the account's own settings in our YAML."""
        return {"base_url": base_url, "api_key": key}

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("x-fox-key") != self.key:
            return as_json({"error": {"code": "UNAUTHORIZED"}}, 401)
        return self.trouble()

    def _shipment(self, number: str) -> dict[str, Any]:
        events = [
            {"status": scan["code"], "message": scan["text"], "timestamp": scan["at"].replace(tzinfo=None).isoformat(),
             "location": {"town": scan["city"]}}
            for scan in self.history[number]
        ]  # fmt: skip
        return {"trackingNo": number, "events": events}

    async def _me(self, request: Request) -> Response:
        return self._refused(request) or as_json({"name": self.account})

    async def _read(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        number = request.path_params["number"]
        if not self.history[number]:
            return as_json({"error": {"code": "NOT_FOUND"}}, 404)
        return as_json({"shipment": self._shipment(number)})

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the event that tells of a scan; one that only a webhook tells is in no answer."""
        shipment = self._shipment(action.number)
        if action.via == "webhook":
            self.history[action.number].append(scan)
            shipment = self._shipment(action.number)
            self.history[action.number].pop()
        body = {"event": "shipment.updated", "id": f"evt_{next(self._ids)}", "shipment": shipment}
        return self.signed(orjson.dumps(body))

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Sign a body and the time."""
        stamp = str(int(self.clock().timestamp()))
        proof = hmac.new((secret or self.hook).encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        return Outgoing(self.account, body, {"x-fox-time": stamp, "x-fox-signature": proof})

    def sent(self, outgoing: Outgoing) -> Outgoing:
        """Sign the time at which it is sent."""
        return self.signed(outgoing.body)
