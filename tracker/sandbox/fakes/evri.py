"""Evri: the token call of its tenant, the lookup of a number and its parcels, as public code shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import OAuthCarrier, as_json

_API = "/client-tracking-api/v1"


class EvriServer(OAuthCarrier):
    """One number a call: a scan's `type` is its stage, its `code` the point; `letters: return` says that the parcel is a return from then on."""

    pushes = False

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/oauth/token", self._token, methods=["POST"]),
            Route(f"{_API}/parcels/reference/{{number}}", self._lookup),
            Route(f"{_API}/parcels", self._parcels),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {
            "base_url": f"{base_url}{_API}", "token_url": f"{base_url}/oauth/token", "client_id": self._client, "client_secret": key,
        }  # fmt: skip

    async def _token(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        wanted = {"grant_type": ["client_credentials"], "client_id": [self._client], "client_secret": [self.key]}
        if form != wanted:
            return as_json({"error": "access_denied", "error_description": "Unauthorized"}, 401)
        return as_json({"access_token": self.new_token(), "token_type": "Bearer", "expires_in": 86400})

    def _refused(self, request: Request) -> Response | None:
        if not self.bears_token(request):
            return as_json({"message": "Unauthorized"}, 401)
        return self.trouble()

    async def _lookup(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["lookup"] += 1
        number = request.path_params["number"]
        found = [{"urn": f"urn:evri:{number}"}] if self.history.get(number) else []
        return as_json({"parcelIdentifiers": found})

    async def _parcels(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        number = request.query_params.get("uniqueIds", "").removeprefix("urn:evri:")
        scans = self.newest_first(number)
        if not scans:
            self.complaints.append(f"a parcel that no lookup found: {number}")
            return as_json({"message": "Not Found"}, 404)
        returning = any(scan["letters"] == "return" for scan in scans)
        result = {
            "urn": f"urn:evri:{number}", "discriminator": "PARCEL", "returnParcel": returning,
            "trackingEvents": [_event(scan) for scan in scans],
        }  # fmt: skip
        return as_json({"results": [result]})


def _event(scan: dict[str, Any]) -> dict[str, Any]:
    at: datetime = scan["at"].astimezone(UTC)
    return {
        "dateTime": f"{at:%Y-%m-%dT%H:%M:%SZ}", "trackingStage": {"trackingStageCode": scan["type"]},
        "trackingPoint": {"trackingPointCode": scan["code"], "description": scan["text"]}, "eta": None,
    }  # fmt: skip
