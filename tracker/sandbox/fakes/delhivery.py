"""Delhivery: the packages call by waybill, and Scan Push under a fixed header."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier, Outgoing, as_json
from tracker.sandbox.scenario import Scan

_ZONE = ZoneInfo("Asia/Kolkata")
_HIDDEN = "There has been an error but we were asked to not let you see that. Please contact the dev team."


class DelhiveryServer(Carrier):
    """A scan's `type` is its StatusType, its `text` the status, its `code` the NSL code."""

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [Route("/api/v1/packages/json/", self._packages)]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": base_url, "token": key}

    async def _packages(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Token {self.key}":
            return as_json(_HIDDEN, 401)
        if (trouble := self.trouble()) is not None:
            return trouble
        self.calls["track"] += 1
        numbers = [one for one in request.query_params.get("waybill", "").split(",") if one]
        if not numbers:
            return as_json({"Error": "parameter ref_ids/ref_nos or waybill is required"}, 400)
        if len(numbers) > 50:
            self.complaints.append(f"{len(numbers)} waybills in one call")
            return as_json({"Success": False, "Error": "Package handler limit exceeded"})
        known = [number for number in numbers if self.history.get(number)]
        if not known:
            said = "Data does not exists for provided Waybill(s)"
            return as_json({"Success": False, "Error": said, "rmk": f"Some error has occurred. {said}"})
        return as_json({"ShipmentData": [{"Shipment": self._shipment(number)} for number in known]})

    def _shipment(self, number: str) -> dict[str, Any]:
        scans = sorted(self.history[number], key=lambda scan: scan["at"])
        last = scans[-1]
        back = next((scan for scan in scans if scan["type"] == "RT"), None)
        expected = next((scan["edd"] for scan in reversed(scans) if scan.get("edd")), None)
        return {
            "AWB": number, "ReferenceNo": "", "Consignee": {"City": "", "Country": "India", "Address1": []},
            "ReverseInTransit": back is not None, "RTOStartedDate": _printed(back) if back else None,
            "ExpectedDeliveryDate": f"{expected.astimezone(_ZONE):%Y-%m-%d}T23:59:59" if expected else None,
            "Scans": [{"ScanDetail": _told(scan, "Scan", "Scanned")} for scan in scans if not scan.get("head")],
            "Status": {**_told(last, "Status", "Status"), "RecievedBy": ""},
        }  # fmt: skip

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the push of a scan."""
        told = _told(scan, "Status", "Status")
        nsl = told.pop("StatusCode")
        shipment = {
            "Status": told,
            "PickUpDate": None,
            "NSLCode": nsl,
            "Sortcode": "",
            "ReferenceNo": "",
            "AWB": action.number,
        }
        return self.signed(orjson.dumps({"Shipment": shipment}))

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Send the header along that was agreed upon: it proves who speaks, not what is said."""
        return Outgoing(self.account, body, {"content-type": "application/json", "Authorization": secret or self.hook})


def _printed(scan: dict[str, Any]) -> str:
    printed: str = scan["at"].astimezone(_ZONE).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return printed


def _told(scan: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    """Print a scan as an entry of the history (`Scan`) or as the status at the head."""
    kind = "ScanType" if name == "Scan" else "StatusType"
    return {
        name: scan["text"], kind: scan["type"], f"{name}DateTime": _printed(scan), "StatusCode": scan["code"],
        f"{place}Location": f"{scan['city']} ({scan['region']})" if scan["city"] else "", "Instructions": "",
    }  # fmt: skip
