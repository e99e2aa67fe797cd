"""USPS: the token call with its scopes, Tracking v3 and v3r2, subscriptions with their challenge, signed callbacks."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Clock, OAuthCarrier, Outgoing, as_json
from tracker.sandbox.scenario import Scan


class USPSServer(OAuthCarrier):
    """An application with the tracking and the subscription product, and sixty requests an hour."""

    def __init__(self, account: str, clock: Clock, *, key: str = "right", hook: str = "") -> None:
        """Nobody is subscribed yet."""
        super().__init__(account, clock, key=key, hook=hook)
        self.subscribed: dict[str, str] = {}

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/oauth2/v3/token", self._token, methods=["POST"]),
            Route("/tracking/v3/tracking/{number}", self._one),
            Route("/tracking/v3r2/tracking", self._many, methods=["POST"]),
            Route("/subscriptions-tracking/v3/subscriptions", self._subscribe, methods=["POST"]),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        push = {"callback_url": f"https://tracker.example/webhooks/{self.account}", "mid": "900000001"} if hook else {}
        return {"base_url": base_url, "client_id": self._client, "client_secret": key, **push}

    async def _token(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        if (body.get("client_id"), body.get("client_secret")) != (self._client, self.key):
            return _wrong(401, "", "The client application identifier is invalid.")
        scope = body.get("scope", "")
        return as_json(
            {"access_token": self.new_token(), "token_type": "Bearer", "expires_in": "28799", "scope": scope}
        )

    def _refused(self, request: Request) -> Response | None:
        if not self.bears_token(request):
            return _wrong(401, "", "")
        return self.trouble()

    async def _one(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        if request.query_params.get("expand") != "DETAIL":
            self.complaints.append("v3 was asked for the summary, which has prose only")
        details = self._details(request.path_params["number"])
        return as_json(details, 400 if "error" in details else 200)

    async def _many(self, request: Request) -> Response:
        """Answer about a list: 200, 207 where some failed, 404 where all did (their error alone); in the names of v3r2."""
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        asked = orjson.loads(await request.body())
        if not 0 < len(asked) <= 35 or not all(_is_request(one) for one in asked):
            return _wrong(400, "OASValidation", "the body does not conform to the definition")
        found = [self._element(one["trackingNumber"]) for one in asked]
        failed = [one for one in found if "error" in one]
        if len(failed) == len(found):
            return as_json({"apiVersion": "/tracking/v3r2", "error": failed[0]["error"]}, 404)
        return as_json(found, 207 if failed else 200)

    def _element(self, number: str) -> dict[str, Any]:
        plain = number[8:] if number.startswith("420") and len(number) == 30 else number  # 420 and a ZIP code before it
        details = self._details(plain)
        if "error" in details:
            said = details["error"]["message"]
            errors = [{"status": "404", "code": "150006", "title": "", "detail": f"{said}<SUP>&reg;</SUP>"}]
            return {
                "trackingNumber": plain, "statusCode": "404", "apiVersion": "/tracking/v3r2",
                "error": {"code": "404", "message": "", "errors": errors},
            }  # fmt: skip
        details["uniqueTrackingID"] = details.pop("uniqueMailPieceId")
        for event in details["trackingEvents"]:
            event["eventZIPCode"] = event.pop("eventZIP")
        return {"statusCode": "200", **details}

    def _details(self, number: str) -> dict[str, Any]:
        scans = self.newest_first(number)
        if not scans:
            return _error("400", "150001", "A status update is not yet available on your package.")
        return {
            "trackingNumber": number, "statusCategory": scans[0]["type"], "status": scans[0]["text"],
            "uniqueMailPieceId": f"P{number[-6:]}", "trackingEvents": [self._event(s) for s in scans if not s.get("head")],
        }  # fmt: skip

    @staticmethod
    def _event(scan: dict[str, Any]) -> dict[str, Any]:
        at: datetime = scan["at"]
        return {
            "eventType": scan["text"], "eventTimestamp": f"{at.replace(tzinfo=None).isoformat()}Z",  # local, whatever it says
            "GMTTimestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "eventCountry": None,
            "eventCity": scan["city"], "eventState": scan["region"], "eventZIP": "", "eventCode": scan["code"],
        }  # fmt: skip

    async def _subscribe(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["subscribe"] += 1
        body = orjson.loads(await request.body())
        if len(body.get("secret", "")) != 32 or not body.get("listenerURL", "").startswith("https://"):
            return _wrong(400, "invalid", "secret must have 32 characters, listenerURL must be https")
        which = orjson.dumps(body["filterProperties"]).decode()
        if which not in self.subscribed:
            self.subscribed[which] = f"sub-{next(self._ids)}"
            challenge = orjson.dumps({"challenge": f"prove-{self.subscribed[which]}"})
            self.outgoing.append(Outgoing(self.account, challenge, {"content-type": "application/json"}))
        return as_json({"subscriptionId": self.subscribed[which]}, 201)

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the callback of one event; None while nobody is subscribed."""
        if not self.subscribed:
            return None
        inner = {"trackingNumber": action.number, "statusCategory": scan["type"], **self._event(scan)}
        envelope = {
            "subscriptionId": next(iter(self.subscribed.values())), "subscriptionType": "TRACKING",
            "timestamp": self.clock().strftime("%Y-%m-%dT%H:%M:%SZ"), "payload": orjson.dumps(inner).decode(), "links": [],
        }  # fmt: skip
        return self.signed(orjson.dumps(envelope))

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Sign what an envelope holds; of any other body nothing."""
        try:
            envelope = orjson.loads(body)
            text = f"{envelope['timestamp']}{envelope['payload']}".encode()
        except (orjson.JSONDecodeError, KeyError, TypeError):
            text = body
        proof = base64.b64encode(hmac.new((secret or self.hook).encode(), text, hashlib.sha256).digest()).decode()
        return Outgoing(self.account, body, {"content-type": "application/json", "X-HMAC": proof})


def _is_request(one: Any) -> bool:
    """Say whether an element is as strict as the contract: a number of 4 to 34 letters and digits, and nothing else."""
    number = one.get("trackingNumber") if isinstance(one, dict) and set(one) == {"trackingNumber"} else None
    return isinstance(number, str) and number.isascii() and number.isalnum() and 4 <= len(number) <= 34


def _error(status: str, code: str, said: str) -> dict[str, Any]:
    errors = [{"status": status, "code": code, "title": said, "detail": said}]
    return {"apiVersion": "/tracking/v3", "error": {"code": status, "message": said, "errors": errors}}


def _wrong(status: int, code: str, said: str) -> Response:
    return as_json(_error(str(status), code, said), status)
