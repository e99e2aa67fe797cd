"""ShipRocket: login by e-mail and password, tracking by AWB and of fifty at once, pushes that carry a token and no signature."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Clock, OAuthCarrier, Outgoing, as_json
from tracker.sandbox.scenario import Scan

INDIA = timezone(timedelta(hours=5, minutes=30))
LOCKED_AFTER = 5  # wrong passwords in a row
NOTHING = "Aahh! There is no activities found in our DB. Please have some patience it will be updated soon."
ORDERS = {
    "7": 7,
    "17": 19,
    "18": 20,
    "21": 36,
    "9": 15,
    "10": 16,
    "42": 51,
    "6": 6,
}  # of a shipment's status the order's
PICTURE = b"\x89PNG\r\n\x1a\nsigned in Chittoor"


class ShipRocketServer(OAuthCarrier):
    """API v1/external and the webhook of its panel. A scan's `code` is the number of its status, `type` the word, `letters` the courier's own."""

    def __init__(self, account: str, clock: Clock, *, key: str = "right", hook: str = "") -> None:
        """Nobody tried to log in yet."""
        super().__init__(account, clock, key=key, hook=hook, client_id="api@shop.example")
        self._wrong = 0
        self._kept_at = ""  # where proofs of delivery are

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/auth/login", self._login, methods=["POST"]),
            Route("/courier/track/awb/{awb}", self._one),
            Route("/courier/track/awbs", self._several, methods=["POST"]),
            Route("/kept/{awb}.png", self._kept),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        self._kept_at = f"{base_url}/kept/"
        return {"base_url": base_url, "email": self._client, "password": key, "pod_urls": [self._kept_at]}

    async def _login(self, request: Request) -> Response:
        self.calls["login"] += 1
        body = orjson.loads(await request.body())
        if request.headers.get("content-type") != "application/json" or set(body) != {"email", "password"}:
            return as_json({"message": "Oops! Invalid Data.", "errors": {}, "status_code": 422}, 422)
        if self._wrong >= LOCKED_AFTER:
            self.complaints.append("the API user is locked: a wrong password was tried again and again")
            return as_json({"message": "User blocked due to too many failed login attempts", "status_code": 400}, 400)
        if (body["email"], body["password"]) != (self._client, self.key):
            self._wrong += 1
            return as_json({"message": "Invalid email and password combination.", "status_code": 400}, 400)
        self._wrong = 0
        return as_json(
            {
                "id": 1,
                "first_name": "API",
                "last_name": "USER",
                "email": self._client,
                "company_id": 2,
                "token": self.new_token(),
            }
        )

    def _refused(self, request: Request) -> Response | None:
        if not self.bears_token(request):
            return as_json({"message": "Token has expired", "status_code": 401}, 401)
        return self.trouble()

    async def _one(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        return as_json(self._told(request.path_params["awb"]))

    async def _several(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        body = orjson.loads(await request.body())
        awbs = body.get("awbs")
        if not isinstance(awbs, list) or not all(isinstance(awb, str) for awb in awbs):
            return as_json({"message": "Invalid argument supplied for foreach()", "status_code": 500}, 500)
        if len(awbs) > 50:
            self.complaints.append(f"{len(awbs)} AWBs in a call")
            return as_json({"message": "Maximum of 50 AWB codes is supported at a time", "status_code": 422}, 422)
        return as_json({awb: self._told(awb) for awb in awbs if self.history.get(awb)})

    async def _kept(self, request: Request) -> Response:
        if "authorization" in request.headers:
            self.complaints.append("a credential came with the call for a proof of delivery")
        return Response(PICTURE, media_type="image/png")

    def _told(self, awb: str) -> dict[str, Any]:
        scans = self.newest_first(awb)
        if not scans:
            return {"tracking_data": {"track_status": 0, "error": NOTHING}}
        latest = scans[0]
        delivered = latest["code"] == "7"
        track = {
            "id": 1, "awb_code": awb, "courier_company_id": 43, "shipment_id": 1, "order_id": 2, "pickup_date": None,
            "delivered_date": _printed(latest["at"]) if delivered else None, "weight": "0.30", "packages": 1,
            "current_status": latest["type"], "delivered_to": "Chittoor", "destination": "Chittoor", "consignee_name": "",
            "origin": "Banglore", "courier_agent_details": None, "courier_name": _courier(latest), "edd": None,
            "pod": "Available" if delivered else "Not Available", "pod_status": f"{self._kept_at}{awb}.png" if delivered else "",
        }  # fmt: skip
        edds = [scan["edd"] for scan in reversed(scans) if scan.get("edd")]
        return {
            "tracking_data": {
                "track_status": 1, "shipment_status": int(latest["code"] or 0), "shipment_track": [track],
                "shipment_track_activities": [_activity(scan) for scan in scans if not scan.get("head")],
                "track_url": f"https://shiprocket.co//tracking/{awb}", "etd": _printed(edds[-1]) if edds else "",
                "qc_response": {"qc_image": "", "qc_failed_reason": ""}, "is_return": _is_return(latest),
            },
        }  # fmt: skip

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the push of a scan, with those before it; one that only a push tells is in no answer of the API."""
        scans = [one for one in self.history[action.number] if one is not scan] + [scan]
        scans.sort(key=lambda s: s["at"])
        status = ORDERS.get(scan["code"], 0)
        body = {
            "awb": action.number, "courier_name": _courier(scan), "current_status": scan["type"], "current_status_id": status,
            "shipment_status": scan["type"], "shipment_status_id": int(scan["code"] or 0),
            "current_timestamp": scan["at"].astimezone(INDIA).strftime("%d %m %Y %H:%M:%S"), "order_id": "1373900_150876814",
            "sr_order_id": 348456385, "awb_assigned_date": _printed(scans[0]["at"]), "pickup_scheduled_date": _printed(scans[0]["at"]),
            "etd": _printed(scan["edd"]) if scan.get("edd") else "", "scans": [_activity(one) for one in scans if not one.get("head")],
            "is_return": _is_return(scan), "channel_id": 3422553, "pod_status": "", "pod": "Not Available",
        }  # fmt: skip
        return self.signed(orjson.dumps(body))

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Send the token along: it proves who speaks, not what is said."""
        return Outgoing(self.account, body, {"content-type": "application/json", "x-api-key": secret or self.hook})


def _activity(scan: dict[str, Any]) -> dict[str, Any]:
    return {
        "date": _printed(scan["at"]), "status": scan["letters"] or "X", "activity": scan["text"] or scan["type"].title(),
        "location": scan["city"] or "NA", "sr-status": scan["code"] or "NA", "sr-status-label": scan["type"] or "NA",
    }  # fmt: skip


def _courier(scan: dict[str, Any]) -> str:
    """Return the courier's name: Delhivery's unless the scenario says another (`service`)."""
    return "Delhivery Surface" if scan["service"] == "parcel-de" else str(scan["service"])


def _is_return(scan: dict[str, Any]) -> int:
    return int(_courier(scan).endswith("Reverse"))


def _printed(at: datetime) -> str:
    return at.astimezone(INDIA).strftime("%Y-%m-%d %H:%M:%S")
