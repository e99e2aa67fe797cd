"""Blue Dart: the token call, the waybill query in JSON and XML, and the push under a header that was agreed upon."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import OAuthCarrier, Outgoing, as_json
from tracker.sandbox.scenario import Scan

_ZONE = ZoneInfo("Asia/Kolkata")
_UNKNOWN = "Incorrect waybill number or No information"
_QUERY = {"handler": "tnt", "action": "custawbquery", "awb": "awb", "scan": "1", "verno": "1", "loginid": "BOM00001"}


class BlueDartServer(OAuthCarrier):
    """A scan's `type` is its ScanType, its `letters` the group (S or T), its `code` the ScanCode, its `text` the words."""

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [Route("/token/v1/login", self._token), Route("/tracking/v1", self._track)]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {
            "base_url": base_url, "client_id": self._client, "client_secret": key, "login_id": "BOM00001", "licence_key": key,
        }  # fmt: skip

    async def _token(self, request: Request) -> Response:
        given = request.headers.get("clientid"), request.headers.get("clientsecret")
        if given != (self._client, self.key):
            return as_json({"status": 401, "title": "Unauthorized"}, 401)
        return as_json({"JWTToken": self.new_token()})

    async def _track(self, request: Request) -> Response:
        if request.headers.get("jwttoken") not in self._tokens:
            return as_json({"status": 401, "title": "Unauthorized"}, 401)
        if (trouble := self.trouble()) is not None:
            return trouble
        self.calls["track"] += 1
        asked = dict(request.query_params)
        if {name: asked.get(name) for name in _QUERY} != _QUERY:
            return self._error(asked, "Invalid request")
        if asked.get("lickey") != self.key:
            return self._error(asked, "License Mismatch")
        numbers = [one for one in asked.get("numbers", "").split(",") if one]
        if not 0 < len(numbers) <= 25:
            return self._error(asked, "Too many waybills")
        known = [number for number in numbers if self.history.get(number)]
        if not known:
            return self._error(asked, _UNKNOWN)
        shipments = [self._shipment(number) for number in known]
        if asked.get("format") == "xml":
            return Response(f"<ShipmentData>{''.join(map(_as_xml, shipments))}</ShipmentData>", media_type="text/xml")
        return as_json({"ShipmentData": {"Shipment": shipments if len(shipments) > 1 else shipments[0]}})

    @staticmethod
    def _error(asked: dict[str, str], said: str) -> Response:
        if asked.get("format") == "xml":
            return Response(f"<ShipmentData><Error>{said}</Error></ShipmentData>", media_type="text/xml")
        return as_json({"ShipmentData": {"Error": said}})

    def _shipment(self, number: str) -> dict[str, Any]:
        scans = self.newest_first(number)
        last, at = scans[0], scans[0]["at"].astimezone(_ZONE)
        expected = next((scan["edd"] for scan in scans if scan.get("edd")), None)
        return {
            "WaybillNo": number, "RefNo": "", "Status": last["text"], "StatusType": last["type"],
            "StatusDate": f"{at:%d %B %Y}", "StatusTime": f"{at:%H:%M}",
            "ExpectedDeliveryDate": f"{expected.astimezone(_ZONE):%d %B %Y}" if expected else "",
            "Scans": [{"ScanDetail": _told(scan)} for scan in scans if not scan.get("head")],
        }  # fmt: skip

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the push of a scan."""
        told = {"WaybillNo": action.number, "Scans": {"ScanDetail": [{**_told(scan), "StatusTimeZone": "IST"}]}}
        return self.signed(orjson.dumps({"statustracking": [{"Shipment": told}]}))

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Send the header along that was agreed upon: it proves who speaks, not what is said."""
        return Outgoing(self.account, body, {"content-type": "application/json", "Authorization": secret or self.hook})


def _told(scan: dict[str, Any]) -> dict[str, str]:
    at = scan["at"].astimezone(_ZONE)
    return {
        "Scan": scan["text"], "ScanCode": scan["code"], "ScanType": scan["type"], "ScanGroupType": scan["letters"],
        "ScanDate": f"{at:%d-%b-%Y}", "ScanTime": f"{at:%H:%M}", "ScannedLocation": scan["city"], "ScannedLocationCode": "",
    }  # fmt: skip


def _as_xml(shipment: dict[str, Any]) -> str:
    inner = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in shipment.items() if k not in ("WaybillNo", "RefNo", "Scans"))
    scans = "".join(
        f"<ScanDetail>{''.join(f'<{k}>{escape(v)}</{k}>' for k, v in one['ScanDetail'].items())}</ScanDetail>"
        for one in shipment["Scans"]
    )
    return f'<Shipment WaybillNo="{shipment["WaybillNo"]}" RefNo="">{inner}<Scans>{scans}</Scans></Shipment>'
