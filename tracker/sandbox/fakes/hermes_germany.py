"""Hermes Germany: the token call by password, Shipment Info, and signatures."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import OAuthCarrier, as_json

_ZONE = ZoneInfo("Europe/Berlin")
_CUSTOMER = "customer"
_COUNTRIES = {"DE": "DEU", "AT": "AUT", "": ""}


class HermesGermanyServer(OAuthCarrier):
    """Polls only: a scan's `code` is its 3x3 code."""

    pushes = False

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/authorization-facade/oauth2/access_token", self._token, methods=["POST"]),
            Route("/services/hsi/shipmentinfo", self._info),
            Route("/services/pod/signature", self._signature, methods=["POST"]),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML: the password is what may be wrong."""
        return {
            "base_url": f"{base_url}/services", "token_url": f"{base_url}/authorization-facade/oauth2/access_token",
            "client_id": self._client, "client_secret": key, "username": _CUSTOMER, "password": key,
            "pod_reason": "REQUESTED_BY_RECEIVER",
        }  # fmt: skip

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if (form.get("client_id"), form.get("client_secret")) != (self._client, self.key):
            return as_json({"error": "invalid_client", "error_description": "Given client ID does not match"}, 401)
        if form.get("grant_type") != "password":
            return as_json({"error": "unsupported_grant_type", "error_description": "Unsupported grant type"}, 400)
        if (form.get("username"), form.get("password")) != (_CUSTOMER, self.key):
            return as_json({"error": "invalid_grant", "error_description": "The credentials are wrong"}, 400)
        token = self.new_token()
        return as_json(
            {"access_token": token, "refresh_token": f"r-{token}", "expires_in": "3600", "token_type": "Bearer"}
        )

    def _refused(self, request: Request) -> Response | None:
        return self.trouble() if self.bears_token(request) else _result(400, "e902", "Token is invalid.")

    async def _info(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        numbers = request.query_params.getlist("shipmentID")
        if not 0 < len(numbers) <= 100 or len(set(numbers)) < len(numbers):
            self.complaints.append(f"{len(numbers)} numbers in one call, {len(set(numbers))} of them different")
            return _result(400, "e005", "Syntax error during validation")
        return as_json({"shipmentinfo": [self._shipment(number) for number in numbers]})

    def _shipment(self, number: str) -> dict[str, Any]:
        scans = sorted(self.history.get(number, ()), key=lambda scan: scan["at"])
        if not scans:
            none = {"code": "e001", "message": "There is no information for the entered value."}
            return {"shipmentID": number, "result": none}
        expected: datetime | None = next((scan["edd"] for scan in reversed(scans) if scan.get("edd")), None)
        slot = {"from": "10:00", "to": "18:00"}
        forecast = (
            {"fixed": True, "date": f"{expected.astimezone(_ZONE):%Y-%m-%d}", "timeSlot": slot} if expected else None
        )
        return {
            "shipmentID": number, "clientReference": "AC/DC-42", "deliveryForecast": forecast,
            "status": [
                {"timestamp": scan["at"].astimezone(_ZONE).isoformat(), "code": scan["code"], "description": scan["text"],
                 "scanningUnit": {"name": "", "city": scan["city"], "countryCode": _COUNTRIES[scan["country"]]}}
                for scan in scans
            ],
        }  # fmt: skip

    async def _signature(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["signature"] += 1
        asked = orjson.loads(await request.body())
        if set(asked) != {"shipmentId", "reason"}:
            return _result(400, "e002", "The mandatory fields [shipmentId, reason] are not filled.")
        if not any(scan["code"].startswith("90-") for scan in self.history.get(asked["shipmentId"], ())):
            return _result(404, "e005", "There is no signature for the shipment number.")
        return Response(b"%PDF-1.4\n%%EOF\n", media_type="application/pdf")


def _result(status: int, code: str, said: str) -> Response:
    return as_json({"listOfResultCodes": [{"code": code, "message": said}]}, status)
