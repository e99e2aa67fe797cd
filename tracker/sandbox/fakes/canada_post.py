"""Canada Post: the developer portal's token, tracking details and certificate, and the XML of before with Basic."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import OAuthCarrier, as_json

XML = "application/vnd.cpc.track-v2+xml"
CERTIFICATE = b"%PDF-1.4 delivery confirmation certificate"
ABBREVIATIONS = {"-03:30": "NST", "-04:00": "AST", "-05:00": "EST", "-06:00": "CST", "-07:00": "MST", "-08:00": "PST"}
NAMES = (
    "event-identifier", "event-date", "event-time", "event-time-zone", "event-description", "signatory-name", "event-site",
    "event-province", "event-retail-location-id", "event-retail-name",
)  # fmt: skip


class CanadaPostServer(OAuthCarrier):
    """Polls of one number: a scan's `code` is its identifier, `letters` who signed, `service` the number of the return."""

    pushes = False

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/cpc-api-native-oauth-provider/oauth2/token", self._token, methods=["POST"]),
            Route("/tracking/v1/pins/{number}/details", self._details),
            Route("/tracking/v1/create-certificate", self._certificate, methods=["POST"]),
            Route("/vis/track/pin/{number}/detail", self._detail),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": base_url, "key": self._client, "secret": key}

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        wanted = {
            "grant_type": "client_credentials", "scope": "merchant", "client_id": self._client, "client_secret": self.key,
        }  # fmt: skip
        if request.headers.get("content-type") != "application/x-www-form-urlencoded" or form != wanted:
            return as_json({"error": "invalid_client"}, 401)
        return as_json(
            {"token_type": "Bearer", "access_token": self.new_token(), "expires_in": 3600, "scope": "merchant"}
        )

    def _refused(self, request: Request) -> Response | None:
        if not self.bears_token(request) or request.headers.get("accept-language") != "en-CA":
            return as_json({"httpCode": "401", "httpMessage": "Unauthorized", "moreInformation": "Invalid token"}, 401)
        if self.faults.take("throttle"):
            return as_json({"messages": [{"code": "Server", "description": "Rejected by SLM Monitor"}]}, 500)
        return self.trouble()

    async def _details(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        number = request.path_params["number"]
        scans = self.newest_first(number)
        if not scans:
            return as_json(
                {"pin": number, "error": {"code": "004", "descEn": "No Pin History", "descFr": "Aucun historique"}}
            )
        back = next((scan["service"] for scan in scans if scan["service"].isdigit()), "")
        events = [{_camel(name): value for name, value in zip(NAMES, _event(scan), strict=True)} for scan in scans]
        return as_json(
            {"pin": number, "destinationProvince": "ON", "expectedDeliveryDate": _edd(scans), "changedExpectedDate": "",
             "returnPin": back, "signatureImageExists": "false", "significantEvents": events}
        )  # fmt: skip

    async def _certificate(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["certificate"] += 1
        asked = orjson.loads(await request.body())
        delivered = any("elivered" in scan["text"] for scan in self.newest_first(str(asked["pin"])))
        if asked.get("language") not in ("en", "fr") or not delivered:
            return as_json({"messages": [{"code": "007", "description": "No Delivery Information Available"}]}, 404)
        return Response(CERTIFICATE, media_type="application/pdf")

    async def _detail(self, request: Request) -> Response:
        proof = base64.b64encode(f"{self._client}:{self.key}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {proof}":
            return _messages("E002", "AAA Authentication Failure", 401)
        if request.headers.get("accept") != XML:
            return Response("", 406)
        if self.faults.take("throttle"):
            return _messages("Server", "Rejected by SLM Monitor", 500)
        if (trouble := self.trouble()) is not None:
            return trouble
        self.calls["track"] += 1
        number = request.path_params["number"]
        scans = self.newest_first(number)
        if not scans:
            return _messages("004", "No Pin History", 404)
        listed = "".join(f"<occurrence>{''.join(map(_element, NAMES, _event(scan)))}</occurrence>" for scan in scans)
        head = f"{_element('pin', number)}{_element('destination-postal-id', 'K1A')}{_element('expected-delivery-date', _edd(scans))}"
        return _xml(
            f'<tracking-detail xmlns="http://www.canadapost.ca/ws/track">{head}<significant-events>{listed}'
            "</significant-events></tracking-detail>"
        )


def _event(scan: dict[str, Any]) -> tuple[str, ...]:
    at = scan["at"]
    zone = ABBREVIATIONS.get(at.isoformat()[-6:], "") if scan.get("zoned", True) else ""
    return (
        scan["code"], f"{at:%Y-%m-%d}", f"{at:%H:%M:%S}", zone, scan["text"], scan.get("letters") or "", scan["city"],
        scan["region"], "", "",
    )  # fmt: skip


def _edd(scans: list[dict[str, Any]]) -> str:
    return f"{scans[0]['edd']:%Y-%m-%d}" if scans[0].get("edd") else ""


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


def _element(name: str, value: str) -> str:
    return f"<{name}>{escape(value)}</{name}>" if value else f"<{name}/>"


def _messages(code: str, words: str, status: int) -> Response:
    inner = f"<message><code>{code}</code><description>{words}</description></message>"
    return _xml(f'<messages xmlns="http://www.canadapost.ca/ws/messages">{inner}</messages>', status)


def _xml(body: str, status: int = 200) -> Response:
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{body}', status, media_type=XML)
