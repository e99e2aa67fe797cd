"""EasyPost: trackers and signed events."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier, Clock, Outgoing, as_json
from tracker.sandbox.scenario import Scan

EVENTS_A_PAGE = 3


class EasyPostServer(Carrier):
    """Trackers and signed events."""

    def __init__(self, account: str, clock: Clock, *, key: str = "right", hook: str = "") -> None:
        """Nobody has a tracker yet."""
        super().__init__(account, clock, key=key, hook=hook)
        self.trackers: dict[str, dict[str, str]] = {}
        self.carriers: dict[str, str] = {}
        self.events: list[tuple[str, datetime, bytes]] = []  # each that was made: its id, when, and its body

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/trackers", self._create, methods=["POST"]),
            Route("/trackers", self._list),
            Route("/trackers/{ref}", self._get),
            Route("/events", self._list_events),
            Route("/events/{ref}/payloads", self._payloads),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": base_url, "api_key": key}

    def _refused(self, request: Request) -> Response | None:
        given = base64.b64encode(f"{self.key}:".encode()).decode()
        if request.headers.get("authorization") != f"Basic {given}":
            return as_json({"error": {"code": "APIKEY.INACTIVE", "message": "This api key is no longer active."}}, 401)
        return self.trouble()

    def _tracker(self, number: str) -> dict[str, Any]:
        scans = sorted(self.history[number], key=lambda s: s["at"])
        details = [
            {
                "object": "TrackingDetail", "message": scan["text"], "description": None, "status": scan["type"],
                "status_detail": scan["code"], "datetime": scan["at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "source": self.carriers.get(number, "USPS"), "carrier_code": None,
                "tracking_location": {
                    "object": "TrackingLocation", "city": scan["city"] or None, "state": scan["region"] or None,
                    "country": scan["country"] or None, "zip": None,
                },
            }
            for scan in scans
            if not scan.get("head")
        ]  # fmt: skip
        last = scans[-1] if scans else None
        return {
            "id": self.trackers.get(number, {}).get("id", "trk_unregistered"), "object": "Tracker", "mode": "test",
            "tracking_code": number, "status": last["type"] if last else "unknown",
            "status_detail": last["code"] if last else "unknown",
            "created_at": "2026-01-01T00:00:00Z", "updated_at": self.clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "signed_by": None, "weight": 17.6, "est_delivery_date": None, "shipment_id": None,
            "carrier": self.carriers.get(number, "USPS"), "tracking_details": details, "finalized": False,
            "is_return": False, "public_url": "https://track.easypost.com/x",
        }  # fmt: skip

    async def _create(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        asked = orjson.loads(await request.body())["tracker"]
        number = asked["tracking_code"]
        self.carriers.setdefault(number, asked.get("carrier", "USPS"))
        self.trackers.setdefault(number, {"id": f"trk_{next(self._ids)}"})
        return as_json(self._tracker(number), 201)

    async def _get(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        for number, tracker in self.trackers.items():
            if tracker["id"] == request.path_params["ref"]:
                return as_json(self._tracker(number))
        return as_json({"error": {"code": "NOT_FOUND", "message": "The requested resource could not be found."}}, 404)

    async def _list(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        number = request.query_params.get("tracking_code", "")
        known = [self._tracker(number)] if number in self.trackers or self.history.get(number) else []
        return as_json({"trackers": known, "has_more": False})

    async def _list_events(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["events"] += 1
        asked = request.query_params
        since, until = (datetime.fromisoformat(asked[f"{name}_datetime"]) for name in ("start", "end"))
        newest = [event for event in reversed(self.events) if since <= event[1] <= until]
        if "before_id" in asked:
            newest = newest[[event[0] for event in newest].index(asked["before_id"]) + 1 :]
        most = min(int(asked.get("page_size", "20")), EVENTS_A_PAGE)
        told = [
            {
                "id": ref, "object": "Event", "description": "tracker.updated", "mode": "test", "status": "pending",
                "created_at": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"), "user_id": "user_1",
            }
            for ref, at, _ in newest[:most]
        ]  # fmt: skip
        return as_json({"events": told, "has_more": len(newest) > most})

    async def _payloads(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["payloads"] += 1
        bodies = [body.decode() for ref, _, body in self.events if ref == request.path_params["ref"]]
        if not bodies:
            return as_json(
                {"error": {"code": "NOT_FOUND", "message": "The requested resource could not be found."}}, 404
            )
        told = {
            "object": "Payload",
            "id": "payload_1",
            "request_body": bodies[0],
            "response_code": 503,
            "total_time": 34,
        }
        return as_json({"payloads": [told]})

    def event(self, number: str) -> Outgoing:
        """Make the signed event that holds the whole tracker; it is kept, to be told again."""
        ref = f"evt_{next(self._ids)}"
        body = orjson.dumps(
            {
                "description": "tracker.updated", "mode": "test", "previous_attributes": {"status": "unknown"},
                "created_at": self.clock().isoformat(), "pending_urls": [], "completed_urls": [],
                "id": ref, "user_id": "user_1", "status": "pending", "object": "Event",
                "result": self._tracker(number),
            }
        )  # fmt: skip
        self.events.append((ref, self.clock(), body))
        return self.signed(body)

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the event that holds a scan; a forger's holds one that no poll ever tells."""
        told_alone = action.via == "webhook"
        if told_alone:
            self.history[action.number].append(scan)
        self.carriers.setdefault(action.number, "USPS")
        outgoing = self.event(action.number)
        if told_alone and action.webhook.signed != "right":
            self.history[action.number].remove(scan)
            self.events.pop()  # a forger's is none of theirs
        return outgoing

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Sign any body as EasyPost does."""
        key = unicodedata.normalize("NFKD", secret or self.hook).encode()
        signature = hmac.new(key, body, hashlib.sha256).hexdigest()
        headers = {"content-type": "application/json", "x-hmac-signature": f"hmac-sha256-hex={signature}"}
        return Outgoing(self.account, body, headers)
