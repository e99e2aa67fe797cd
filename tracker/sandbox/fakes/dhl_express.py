"""DHL Express: MyDHL API, tracking of one shipment and of several, and the electronic proof of delivery."""

from __future__ import annotations

import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier, as_json

ROOT = "/mydhlapi"
ALONE = {"trackingView", "levelOfDetail", "requestGMTOffsetPerEvent", "requestControlledAccessDataCodes"}
SEVERAL = {
    "shipmentTrackingNumber",
    "pieceTrackingNumber",
    "trackingView",
    "levelOfDetail",
    "requestControlledAccessDataCodes",
}
POD = base64.b64encode(b"%PDF-1.4 pod").decode()


class DHLExpressServer(Carrier):
    """MyDHL API: Basic, a version that must be said, 200 numbers a call, offsets on the path of one shipment only.

    A number with a piece of its own is `1234567890/JD0123456789` in a scan.
    """

    pushes = False

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route(f"{ROOT}/tracking", self._several),
            Route(f"{ROOT}/shipments/{{number}}/tracking", self._alone),
            Route(f"{ROOT}/shipments/{{number}}/proof-of-delivery", self._proof),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": f"{base_url}{ROOT}", "username": key, "password": key}

    def _refused(self, request: Request, allowed: set[str]) -> Response | None:
        proof = base64.b64encode(f"{self.key}:{self.key}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {proof}":
            return _problem(401, "Unauthorized", "Invalid credentials")
        if (trouble := self.trouble()) is not None:
            return trouble
        if request.headers.get("x-version") != "3.1.0":
            return _problem(400, "Bad request", "Missing mandatory headers: x-version")
        if unknown := set(request.query_params) - allowed:
            return _problem(400, "Wrong format", f"Parameters not allowed: {', '.join(sorted(unknown))}")
        return None

    async def _several(self, request: Request) -> Response:
        if (refused := self._refused(request, SEVERAL)) is not None:
            return refused
        asked = (
            request.query_params.getlist("shipmentTrackingNumber"),
            request.query_params.getlist("pieceTrackingNumber"),
        )
        if not any(asked) or any(len(some) > 200 for some in asked):
            return _problem(400, "Bad request", "Up to 200 tracking numbers")
        self.calls["track"] += 1
        found = [
            number for number in self._shipments() if number in asked[0] or set(self._parts(number)) & set(asked[1])
        ]
        return self._told(request, found, offsets=False)

    async def _alone(self, request: Request) -> Response:
        if (refused := self._refused(request, ALONE)) is not None:
            return refused
        self.calls["track"] += 1
        found = [number for number in self._shipments() if number == request.path_params["number"]]
        return self._told(request, found, offsets=request.query_params.get("requestGMTOffsetPerEvent") == "true")

    async def _proof(self, request: Request) -> Response:
        if (refused := self._refused(request, {"shipperAccountNumber", "content"})) is not None:
            return refused
        self.calls["proof"] += 1
        scans = self.history[request.path_params["number"]]
        if not any(scan["code"] == "OK" for scan in scans):
            return _problem(404, "Not Found", "No electronic proof of delivery found")
        return as_json({"documents": [{"encodingFormat": "PDF", "content": POD, "typeCode": "POD"}]})

    def _shipments(self) -> list[str]:
        return sorted({number.partition("/")[0] for number, scans in self.history.items() if scans})

    def _parts(self, shipment: str) -> list[str]:
        return sorted(
            number.partition("/")[2]
            for number, scans in self.history.items()
            if scans and number.startswith(f"{shipment}/")
        )

    def _told(self, request: Request, found: list[str], *, offsets: bool) -> Response:
        if not found:
            return _problem(404, "Not data found", "No data found")
        level = request.query_params.get("levelOfDetail", "shipment")
        return as_json({"shipments": [self._shipment(number, level, offsets) for number in found]})

    def _shipment(self, number: str, level: str, offsets: bool) -> dict[str, Any]:
        parts = self._parts(number)
        pieces = [
            {"number": i, "trackingNumber": part, "shipmentTrackingNumber": number, "events": self._events(f"{number}/{part}", offsets)}
            for i, part in enumerate(parts, 1)
        ]  # fmt: skip
        edds = [f"{scan['edd']:%Y-%m-%dT%H:%M:%S}" for scan in self.history[number] if scan.get("edd")]
        return {
            "shipmentTrackingNumber": number, "status": "Success", "numberOfPieces": len(parts) or 1,
            "events": self._events(number, offsets) if level != "piece" else [],
            **({"pieces": pieces} if level != "shipment" and pieces else {}),
            **({"estimatedDeliveryDate": edds[-1]} if edds else {}),
        }  # fmt: skip

    def _events(self, number: str, offsets: bool) -> list[dict[str, Any]]:
        return [
            {
                "date": f"{scan['at']:%Y-%m-%d}", "time": f"{scan['at']:%H:%M:%S}", "typeCode": scan["code"],
                "description": scan["text"], **({"GMTOffset": scan["at"].isoformat()[-6:]} if offsets else {}),
                "serviceArea": [{"code": scan["city"][:3], "description": f"{scan['city']}-{scan['country']}"}],
                **({"signedBy": ""} if scan["code"] == "OK" else {}),
            }
            for scan in sorted(self.history[number], key=lambda scan: scan["at"])
        ]  # fmt: skip


def _problem(status: int, title: str, detail: str) -> Response:
    return as_json(
        {"instance": "/expressapi", "detail": detail, "title": title, "message": title, "status": str(status)}, status
    )
