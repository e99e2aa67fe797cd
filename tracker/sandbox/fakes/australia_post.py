"""Australia Post: the track call of the Shipping and Tracking API."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier, as_json

_ACCOUNT = "0001234567"
_SYDNEY = timezone(timedelta(hours=11))  # printed of scans abroad too
_A_MINUTE = 10


class AustraliaPostServer(Carrier):
    """Up to 10 ids a call, ten calls a minute: a scan's `text` is its event, its `type` the status that it makes, its `letters` the article."""

    pushes = False

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [Route("/shipping/v1/track", self._track)]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": base_url, "api_key": key, "password": key, "account_number": _ACCOUNT}

    async def _track(self, request: Request) -> Response:
        basic = base64.b64encode(f"{self.key}:{self.key}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            return _wrong(401, "API_001", "Unauthenticated")
        if request.headers.get("account-number") != _ACCOUNT:
            return _wrong(403, "API_003", "The account number is not yours")
        if (trouble := self.trouble()) is not None:
            return trouble
        now = self.clock()
        lately = sum(now - at < timedelta(minutes=1) for at in self.asked)
        left = {
            "X-RateLimit-Limit-minute": str(_A_MINUTE),
            "X-RateLimit-Remaining-minute": str(max(0, _A_MINUTE - lately)),
        }
        if lately > _A_MINUTE:
            self.calls["refused"] += 1
            return _wrong(429, "API_002", "Too many requests", **left)
        self.calls["track"] += 1
        ids = request.query_params.get("tracking_ids", "").split(",")
        if len(ids) > 10:
            self.complaints.append(f"a call about {len(ids)} ids")
            return _wrong(400, "44012", "Too many ids were supplied")
        return as_json({"tracking_results": [self._result(mine) for mine in ids]}, 200, **left)

    def _result(self, mine: str) -> dict[str, Any]:
        scans = self.newest_first(mine)
        if not scans:
            return {"tracking_id": mine, "errors": [{"code": "ESB-10001", "name": "Invalid tracking ID"}]}
        articles: dict[str, list[dict[str, Any]]] = {}
        for scan in scans:
            articles.setdefault(scan["letters"] or mine, []).append(scan)
        items = [
            {"article_id": article, "product_type": "eParcel", "status": _status(some), "events": [_event(scan) for scan in some]}
            for article, some in articles.items()
        ]  # fmt: skip
        whole = items[0]["status"] if len(items) == 1 else "Track items for detailed delivery information"
        return {"tracking_id": mine, "status": whole, "trackable_items": items}


def _status(scans: list[dict[str, Any]]) -> str:
    return next((scan["type"] for scan in scans if scan["type"]), "In transit")


def _event(scan: dict[str, Any]) -> dict[str, Any]:
    at: datetime = scan["at"].astimezone(_SYDNEY)
    where = " ".join(filter(None, (scan["city"], scan["region"])))
    return {"description": scan["text"], "date": at.replace(microsecond=0).isoformat()} | (
        {"location": where} if where else {}
    )


def _wrong(status: int, code: str, said: str, **headers: str) -> Response:
    return as_json({"errors": [{"code": code, "name": said}]}, status, **headers)
