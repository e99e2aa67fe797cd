"""UPS: the token call, Track v1 and Track Alert v2."""

from __future__ import annotations

import base64
from datetime import UTC
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import OAuthCarrier, Outgoing, as_json
from tracker.sandbox.scenario import Scan


class UPSServer(OAuthCarrier):
    """Token call, Track v1, Track Alert v2."""

    knows = OAuthCarrier.knows | {"fault refuse_number"}

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/security/v1/oauth/token", self._token, methods=["POST"]),
            Route("/api/track/v1/details/{number}", self._track),
            Route("/api/track/v2/subscription/standard/package", self._subscribe, methods=["POST"]),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": base_url, "client_id": self._client, "client_secret": key}

    async def _token(self, request: Request) -> Response:
        given = base64.b64encode(f"{self._client}:{self.key}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {given}":
            return as_json({"response": {"errors": [{"code": "10401", "message": "ClientId is Invalid"}]}}, 401)
        return as_json(
            {
                "token_type": "Bearer",
                "issued_at": "0",
                "access_token": self.new_token(),
                "expires_in": "14399",
                "status": "approved",
            }
        )

    def _refused(self, request: Request) -> Response | None:
        if not self.bears_token(request):
            return as_json(
                {"response": {"errors": [{"code": "250002", "message": "Invalid Authentication Information."}]}}, 401
            )
        if "transid" not in request.headers or "transactionsrc" not in request.headers:
            return as_json({"response": {"errors": [{"code": "VSS110", "message": "transId is required"}]}}, 400)
        return self.trouble()

    async def _track(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        number = request.path_params["number"]
        scans = self.history.get(number)
        if not scans:
            warning = {"code": "TW0001", "message": "Tracking Information Not Found"}
            return as_json({"trackResponse": {"shipment": [{"inquiryNumber": number, "warnings": [warning]}]}})
        told = sorted(scans, key=lambda s: s["at"], reverse=True)
        latest = told[0]
        package: dict[str, Any] = {
            "trackingNumber": number, "activity": [self._activity(scan) for scan in told if not scan.get("head")],
            "currentStatus": {
                "description": latest["text"], "code": latest["letters"], "statusCode": latest["code"],
            },
            "packageCount": 1,
        }  # fmt: skip
        if last := next((scan["last_mile"] for scan in told if scan.get("last_mile")), ""):
            package["alternateTrackingNumber"] = [{"number": last, "type": "USPS_PIC"}]
        if any(scan["code"] == "011" for scan in scans):
            package["deliveryInformation"] = {"receivedBy": "DOE", "location": "Front Door"}
            if latest["code"] == "011":
                package["deliveryDate"] = [{"type": "DEL", "date": latest["at"].strftime("%Y%m%d")}]
                package["deliveryTime"] = {"type": "DEL", "endTime": latest["at"].strftime("%H%M%S")}
        elif scheduled := [scan["edd"] for scan in scans if scan.get("edd")]:
            package["deliveryDate"] = [{"type": "SDD", "date": scheduled[-1].strftime("%Y%m%d")}]
        return as_json({"trackResponse": {"shipment": [{"inquiryNumber": number, "package": [package]}]}})

    @staticmethod
    def _activity(scan: dict[str, Any]) -> dict[str, Any]:
        local, gmt = scan["at"], scan["at"].astimezone(UTC)
        return {
            "location": {
                "address": {
                    "city": scan["city"], "stateProvince": scan["region"], "countryCode": scan["country"],
                    "country": scan["country"],
                },
                "slic": "0761",
            },
            "status": {
                "type": scan["type"], "description": scan["text"], "code": scan["letters"], "statusCode": scan["code"],
            },
            "date": local.strftime("%Y%m%d"), "time": local.strftime("%H%M%S"),
            "gmtDate": gmt.strftime("%Y%m%d"), "gmtTime": gmt.strftime("%H:%M:%S").replace(":", ""),
            "gmtOffset": local.strftime("%z")[:3] + ":" + local.strftime("%z")[3:],
        }  # fmt: skip

    async def _subscribe(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["subscribe"] += 1
        body = orjson.loads(await request.body())
        numbers = body["trackingNumberList"]
        if len(numbers) > 100 or not body.get("locale"):
            return as_json({"response": {"errors": [{"code": "VSS215", "message": "Invalid request"}]}}, 400)
        bad = [n for n in numbers if self.faults.take("refuse_number")]
        good = [n for n in numbers if n not in bad]
        return as_json({"validTrackingNumbers": good, "invalidTrackingNumbers": bad}, 200 if good else 400)

    def alert(self, number: str, scan: dict[str, Any]) -> Outgoing:
        """Make the Track Alert event of a scan."""
        local, gmt = scan["at"], scan["at"].astimezone(UTC)
        event = {
            "trackingNumber": number,
            "localActivityDate": local.strftime("%Y%m%d"), "localActivityTime": local.strftime("%H%M%S"),
            "activityLocation": {
                "city": scan["city"], "stateProvince": scan["region"], "postalCode": "", "country": scan["country"],
            },
            "activityStatus": {
                "type": scan["type"], "code": scan["letters"], "description": scan["text"],
                "descriptionCode": scan["code"],
            },
            "scheduledDeliveryDate": scan["edd"].strftime("%Y%m%d") if scan.get("edd") else "",
            "actualDeliveryDate": local.strftime("%Y%m%d") if scan["code"] == "011" else "",
            "actualDeliveryTime": local.strftime("%H%M%S") if scan["code"] == "011" else "",
            "gmtActivityDate": gmt.strftime("%Y%m%d"), "gmtActivityTime": gmt.strftime("%H%M%S"),
            "gmtOffset": (local.strftime("%z")[:3] + "." + local.strftime("%z")[3:]),
        }  # fmt: skip
        headers = {
            "content-type": "application/json", "user-agent": "UPSPubSubTrackingService",
            "credential": self.hook,
        }  # fmt: skip
        return Outgoing(self.account, orjson.dumps(event), headers)

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the Track Alert event of a scan."""
        return self.alert(action.number, scan)

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Send the credential along: it proves who speaks, not what is said."""
        return Outgoing(self.account, body, {"credential": secret or self.hook})
