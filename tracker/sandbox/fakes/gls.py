"""GLS Group: the token call, Track And Trace V1 and its list of event codes."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import OAuthCarrier, as_json

_TRACK = "/track-and-trace-v1/tracking"


class GLSServer(OAuthCarrier):
    """Up to 10 numbers a call: a scan's `code` is its event, its `type` the status that it makes; what is wrong with one is said inside."""

    pushes = False

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/oauth2/v2/token", self._token, methods=["POST"]),
            Route(f"{_TRACK}/simple/trackids/{{numbers}}", self._track),
            Route(f"{_TRACK}/events/codes", self._codes),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": base_url, "client_id": self._client, "client_secret": key}

    async def _token(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        basic = base64.b64encode(f"{self._client}:{self.key}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            return as_json({"errors": [{"message": "Invalid client identifier", "type": "400"}]}, 400)
        if form.get("grant_type") != ["client_credentials"]:
            return as_json({"errors": [{"message": "grant_type is missing or invalid", "type": "400"}]}, 400)
        return as_json({"access_token": self.new_token(), "token_type": "Bearer", "expires_in": 14400})

    def _refused(self, request: Request) -> Response | None:
        if not self.bears_token(request):
            said = {
                "faultstring": "The Token has expired: policy(Verify-JWT)",
                "detail": {"errorcode": "steps.jwt.TokenExpired"},
            }
            return as_json({"fault": said}, 401)
        return self.trouble()

    async def _codes(self, request: Request) -> Response:
        known = {"CANCEL.NORMAL": "The parcel data have been deleted from the GLS IT system."}
        return self._refused(request) or as_json(
            {"eventsCodes": [{"code": code, "description": said} for code, said in known.items()]}
        )

    async def _track(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        numbers = request.path_params["numbers"].split(",")
        if len(numbers) > 10:
            said = f"Provided references of size '{len(numbers)}' is more than allowed limit of 10"
            self.complaints.append(said)
            return as_json({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": said}, 400)
        return as_json({"parcels": [self._parcel(number) for number in numbers]})

    def _parcel(self, number: str) -> dict[str, Any]:
        scans = self.newest_first(number)
        if not scans:
            return {"requested": number, "errorCode": "E_404_01", "errorMessage": "Resource Not Found"}
        events = [
            {
                "code": scan["code"], "city": scan["city"], "postalCode": "", "country": scan["country"],
                "description": scan["text"], "eventDateTime": _printed(scan),
            }
            for scan in scans if not scan.get("head")
        ]  # fmt: skip
        newest = next((scan for scan in scans if scan["type"]), scans[0])
        return {
            "requested": number, "unitno": number, "status": newest["type"], "statusDateTime": _printed(newest),
            "events": events,
        }  # fmt: skip


def _printed(scan: dict[str, Any]) -> str:
    at: datetime = scan["at"]
    return f"{at:%Y-%m-%dT%H:%M:%S%z}"
