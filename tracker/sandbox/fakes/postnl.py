"""PostNL: answers about a number, signatures, and the feed of what changed."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier, as_json

_ZONE = ZoneInfo("Europe/Amsterdam")
_LONGEST, _FARTHEST = timedelta(hours=2), timedelta(hours=48)
_CUSTOMER = "11223344"
SIGNATURE = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"


class PostNLServer(Carrier):
    """Polls and a feed: a scan's `code` is its event, its `type` the status that it makes."""

    pushes = False

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/shipment/v2/status/barcode/{number}", self._barcode),
            Route("/shipment/v2/status/signature/{number}", self._signature),
            Route("/shipment/v2/status/{customer}/updatedshipments", self._updated),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": base_url, "api_key": key, "customer_number": _CUSTOMER}

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("apikey") != self.key:
            said = "Failed to resolve API Key variable 'request.header.apikey'"
            return as_json({"message": said, "http_status_code": 401}, 401)
        return self.trouble()

    async def _barcode(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        scans = self.newest_first(request.path_params["number"])
        if not scans:
            return as_json({"CompleteStatus": {}, "Warnings": [{"Message": "No shipment found", "Code": "2"}]})
        events = [
            {
                "Code": scan["code"], "Description": scan["text"], "DestinationLocationCode": {}, "LocationCode": "171966",
                "RouteCode": {}, "TimeStamp": f"{_local(scan):%d-%m-%Y %H:%M:%S}",
            }
            for scan in scans if not scan.get("head")
        ]  # fmt: skip
        number = request.path_params["number"]
        expected = {"ETAFrom": scans[0]["edd"].isoformat(), "ETATo": {}} if scans[0].get("edd") else {}
        shipment = {
            "MainBarcode": number, "Barcode": number, "Reference": {}, "DeliveryDate": {}, "Expectation": expected,
            "Event": events[0] if len(events) == 1 else events, "Status": _status(scans[0], "TimeStamp", "%d-%m-%Y %H:%M:%S"),
        }  # fmt: skip
        return as_json({"CompleteStatus": {"Shipment": shipment}})

    async def _signature(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["signature"] += 1
        number = request.path_params["number"]
        delivered = next((scan for scan in self.newest_first(number) if scan["type"] == "11"), None)
        if delivered is None:
            return as_json({"Warnings": {"Warning": {"Message": "No signature found", "Code": "2"}}})
        at = f"{_local(delivered):%Y-%m-%dT%H:%M:%S}"
        return as_json(
            {
                "Signature": {
                    "Barcode": number,
                    "SignatureDate": at,
                    "SignatureImage": base64.b64encode(SIGNATURE).decode(),
                }
            }
        )

    async def _updated(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["feed"] += 1
        try:
            since, until = (
                datetime.fromisoformat(at).replace(tzinfo=_ZONE) for at in request.query_params.getlist("period")
            )
        except ValueError:
            return _fault("period must be two moments")
        if request.path_params["customer"] != _CUSTOMER or not timedelta(0) <= until - since <= _LONGEST:
            return _fault("invalid customer number or period")
        if self.clock() - since > _FARTHEST:
            return _fault("the period lies too far back")
        changed = []
        for number in self.history:
            mine = [scan for scan in self.newest_first(number) if since <= scan["at"] <= until]
            if mine:
                status = _status(mine[0], "Timestamp", "%Y-%m-%dT%H:%M:%S")
                changed.append(
                    {"Barcode": number, "CreationDate": f"{_local(mine[0]):%Y-%m-%d}T00:00:00", "CustomerNumber": _CUSTOMER,
                     "CustomerCode": "DEVC", "Status": status}
                )  # fmt: skip
        return as_json(changed)


def _local(scan: dict[str, Any]) -> datetime:
    at: datetime = scan["at"].astimezone(_ZONE)
    return at


def _status(scan: dict[str, Any], name: str, form: str) -> dict[str, str]:
    return {
        name: f"{_local(scan):{form}}", "StatusCode": scan["type"], "StatusDescription": scan["text"],
        "PhaseCode": "1", "PhaseDescription": "Collection",
    }  # fmt: skip


def _fault(said: str) -> Response:
    return as_json({"fault": {"faultstring": said, "detail": {"errorcode": "Validation Fault"}}}, 400)
