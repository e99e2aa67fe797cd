"""Royal Mail: summaries, events and signatures of Tracking API v2."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier, as_json

_CLIENT = "sandbox"
SIGNATURE = '<svg height="530" width="660"><polyline style="fill:none; stroke:#000000" points=" 372.4,213.4 372.4,210.4"/></svg>'


class RoyalMailServer(Carrier):
    """Up to 30 numbers a summary, one number a call for the rest. `type` of a scan that has one is what the summary goes on telling."""

    pushes = False

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/mailpieces/v2/summary", self._summary),
            Route("/mailpieces/v2/{number}/events", self._events),
            Route("/mailpieces/v2/{number}/signature", self._signature),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": base_url, "client_id": _CLIENT, "client_secret": key}

    def _refused(self, request: Request) -> Response | None:
        headers = request.headers
        if (headers.get("x-ibm-client-id"), headers.get("x-ibm-client-secret")) != (_CLIENT, self.key):
            said = {"httpCode": "401", "httpMessage": "Unauthorized", "moreInformation": "Invalid client id or secret."}
            return as_json(said, 401)
        if headers.get("x-accept-rmg-terms") != "yes":
            self.complaints.append("a call without X-Accept-RMG-Terms")
            return _wrong(400, "E0004", "Failed header validation for X-Accept-RMG-Terms")
        return self.trouble()

    async def _summary(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        self.calls["summary"] += 1
        numbers = request.query_params.get("mailPieceId", "").split(",")
        if len(numbers) > 30:
            self.complaints.append(f"a summary of {len(numbers)} numbers")
            return _wrong(400, "E0013", "Too many mail pieces were supplied")
        return as_json({"mailPieces": [self._piece(number) for number in numbers]})

    def _piece(self, number: str) -> dict[str, Any]:
        if not self.newest_first(number):
            error = {"errorCode": "E1142", "errorDescription": f"Barcode reference {number} isn't recognised"}
            return {"mailPieceId": number, "status": "404", "error": error}
        return {
            "mailPieceId": number, "status": "200", "carrierShortName": "RM", "carrierFullName": "Royal Mail Group Ltd",
            "summary": self._head(number),
        }  # fmt: skip

    async def _events(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        self.calls["events"] += 1
        number = request.path_params["number"]
        if not (scans := self.newest_first(number)):
            return _wrong(404, "E1142", f"Barcode reference {number} isn't recognised")
        piece: dict[str, Any] = {
            "mailPieceId": number, "carrierShortName": "RM", "carrierFullName": "Royal Mail Group Ltd", "summary": self._head(number),
            "events": [
                {"eventCode": scan["code"], "eventName": scan["text"], "eventDateTime": _printed(scan), "locationName": scan["city"] or None}
                for scan in scans
            ],
        }  # fmt: skip
        if scans[0].get("edd"):
            piece["estimatedDelivery"] = {"date": f"{scans[0]['edd']:%Y-%m-%d}"}
        return as_json({"mailPieces": piece})

    async def _signature(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["signature"] += 1
        number = request.path_params["number"]
        delivered = next((scan for scan in self.newest_first(number) if scan["code"] == "EVKSP"), None)
        if delivered is None:
            return _wrong(404, "E1145", f"Proof of delivery is not available for barcode reference {number}")
        signature = {"imageFormat": "image/svg+xml", "image": SIGNATURE, "signatureDateTime": _printed(delivered)}
        return as_json({"mailPieces": {"mailPieceId": number, "signature": signature}})

    def _head(self, number: str) -> dict[str, Any]:
        scans = self.newest_first(number)
        newest = next((scan for scan in scans if scan["type"]), scans[0])
        head = {
            "lastEventCode": newest["code"], "lastEventName": newest["text"], "lastEventDateTime": _printed(newest),
            "lastEventLocationName": newest["city"] or None, "statusCategory": newest["type"] or "IN TRANSIT",
        }  # fmt: skip
        if abroad := next((scan["last_mile"] for scan in scans if scan.get("last_mile")), ""):
            head["internationalPostalProvider"] = {
                "url": "https://post.example/",
                "title": abroad,
                "description": abroad,
            }
        return head


def _printed(scan: dict[str, Any]) -> str:
    at: datetime = scan["at"]
    return at.replace(microsecond=0).isoformat()


def _wrong(status: int, code: str, said: str) -> Response:
    body = {"httpCode": str(status), "httpMessage": "", "errors": [{"errorCode": code, "errorDescription": said}]}
    return as_json(body, status)
