"""Stateful stand-ins for UPS, DHL, FedEx, EasyPost and Shopify on loopback.

They speak the wire formats of the contracts named in `carriers/` and `adapters/`: token calls, error bodies, rate-limit
headers, signed webhooks. They refuse what the real ones refuse, and they share no code with the plugins that read them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import itertools
import threading
import time
import unicodedata
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Clock = Callable[[], datetime]
Endpoint = Callable[[Request], Awaitable[Response]]


def _json(body: Any, status: int = 200, **headers: str) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


def next_page(
    rows: list[dict[str, Any]], key: Callable[[dict[str, Any]], tuple[str, str]], after: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None, bool]:
    """Return a page of rows sorted by their keys, the cursor behind it, and whether there are more.

    A cursor is the key of the last row, as a real shop's is: a count would pass over a row for each that changes
    meanwhile and moves to the end.
    """
    last = tuple(orjson.loads(after)) if after else ("", "")
    left = sorted((row for row in rows if key(row) > last), key=key)
    page = left[:limit]
    return page, orjson.dumps(key(page[-1])).decode() if page else None, len(left) > len(page)


@dataclass(frozen=True)
class Outgoing:
    """A webhook to send: where to (account), and the bytes as signed."""

    account: str
    body: bytes
    headers: dict[str, str]


@dataclass
class Told:
    """A whole answer that a server gives instead of its own (`hang`: none), so often or until then."""

    left: int | None = None
    until: datetime | None = None
    hang: bool = False
    path: str = ""
    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    def meets(self, path: str, now: datetime) -> bool:
        """Say whether it is given to a call now. Who hands out tokens is another host: it only hangs with the others."""
        lasts = self.left > 0 if self.left is not None else self.until is not None and now < self.until
        return lasts and self.path in path and (self.hang or bool(self.path) or not path.endswith("/oauth/token"))


class Faults:
    """What a server does wrong: how many times (`left`), or until when (`until`), by kind; and whole answers, first come."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is wrong."""
        self._clock = clock
        self.left: dict[str, int] = defaultdict(int)
        self.until: dict[str, datetime] = {}
        self.told: list[Told] = []

    def take(self, kind: str) -> bool:
        """Use up one occurrence of a fault; one that lasts is not used up."""
        if kind in self.until and self._clock() < self.until[kind]:
            return True
        if self.left[kind] <= 0:
            return False
        self.left[kind] -= 1
        return True

    def met(self, path: str) -> Told | None:
        """Return the answer that a call gets instead of the server's own, and use it up."""
        found = next((told for told in self.told if told.meets(path, self._clock())), None)
        if found is not None and found.left is not None:
            found.left -= 1
        return found


class Server:
    """What all of them share: a name, a clock, faults, and a count of calls."""

    def __init__(self, account: str, clock: Clock) -> None:
        """Bind the account it stands behind."""
        self.account, self.clock = account, clock
        self.faults = Faults(clock)
        self.calls: dict[str, int] = defaultdict(int)
        self.history: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._ids = itertools.count(1)

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        raise NotImplementedError

    def withdraw(self, number: str, code: str) -> int:
        """Forget the scans of a code (of a type or text, where they have no code). Returns how many there were."""
        known = self.history[number]
        kept = [s for s in known if code not in ((s["code"],) if s["code"] else (s["type"], s["text"]))]
        self.history[number] = kept
        return len(known) - len(kept)

    def trouble(self) -> Response | None:
        """Return an injected failure, if one is due."""
        if self.faults.take("throttle"):
            return _json({"message": "Too Many Requests"}, 429, **{"Retry-After": "1"})
        if self.faults.take("error"):
            return Response("<html>Service Unavailable</html>", 503, media_type="text/html")
        if self.faults.take("garbage"):
            return Response(b'{"truncated": [', 200, media_type="application/json")
        return None


class UPSServer(Server):
    """Token call, Track v1, Track Alert v2."""

    def __init__(self, account: str, clock: Clock, *, client_id: str, secret: str, credential: str) -> None:
        """Keep the credentials that are right."""
        super().__init__(account, clock)
        self._client, self._secret, self._credential = client_id, secret, credential
        self._tokens: set[str] = set()
        self.subscribed: dict[str, datetime] = {}

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/security/v1/oauth/token", self._token, methods=["POST"]),
            Route("/api/track/v1/details/{number}", self._track),
            Route("/api/track/v2/subscription/standard/package", self._subscribe, methods=["POST"]),
        ]

    def expire_tokens(self) -> None:
        """Let every token end now."""
        self._tokens.clear()

    async def _token(self, request: Request) -> Response:
        given = base64.b64encode(f"{self._client}:{self._secret}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {given}":
            return _json({"response": {"errors": [{"code": "10401", "message": "ClientId is Invalid"}]}}, 401)
        token = f"ups-{next(self._ids)}"
        self._tokens.add(token)
        self.calls["token"] += 1
        return _json(
            {
                "token_type": "Bearer",
                "issued_at": "0",
                "access_token": token,
                "expires_in": "14399",
                "status": "approved",
            }
        )

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self._tokens:
            return _json(
                {"response": {"errors": [{"code": "250002", "message": "Invalid Authentication Information."}]}}, 401
            )
        if "transid" not in request.headers or "transactionsrc" not in request.headers:
            return _json({"response": {"errors": [{"code": "VSS110", "message": "transId is required"}]}}, 400)
        return self.trouble()

    async def _track(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        number = request.path_params["number"]
        scans = self.history.get(number)
        if not scans:
            warning = {"code": "TW0001", "message": "Tracking Information Not Found"}
            return _json({"trackResponse": {"shipment": [{"inquiryNumber": number, "warnings": [warning]}]}})
        told = sorted(scans, key=lambda s: s["at"], reverse=True)
        latest = told[0]
        package: dict[str, Any] = {
            "trackingNumber": number, "activity": [self._activity(scan) for scan in told if not scan.get("head")],
            "currentStatus": {
                "description": latest["text"], "code": latest["letters"], "statusCode": latest["code"],
            },
            "packageCount": 1,
        }  # fmt: skip
        if any(scan["code"] == "011" for scan in scans):
            package["deliveryInformation"] = {"receivedBy": "DOE", "location": "Front Door"}
            if latest["code"] == "011":
                package["deliveryDate"] = [{"type": "DEL", "date": latest["at"].strftime("%Y%m%d")}]
                package["deliveryTime"] = {"type": "DEL", "endTime": latest["at"].strftime("%H%M%S")}
        elif scheduled := [scan["edd"] for scan in scans if scan.get("edd")]:
            package["deliveryDate"] = [{"type": "SDD", "date": scheduled[-1].strftime("%Y%m%d")}]
        return _json({"trackResponse": {"shipment": [{"inquiryNumber": number, "package": [package]}]}})

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
            return _json({"response": {"errors": [{"code": "VSS215", "message": "Invalid request"}]}}, 400)
        bad = [n for n in numbers if self.faults.take("refuse_number")]
        good = [n for n in numbers if n not in bad]
        for number in good:
            self.subscribed[number] = self.clock() + timedelta(days=14)
        return _json({"validTrackingNumbers": good, "invalidTrackingNumbers": bad}, 200 if good else 400)

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
            "credential": self._credential,
        }  # fmt: skip
        return Outgoing(self.account, orjson.dumps(event), headers)


class DHLServer(Server):
    """Shipment Tracking Unified and Unified Push with its handshake."""

    def __init__(self, account: str, clock: Clock, *, key: str) -> None:
        """Keep the key that is right."""
        super().__init__(account, clock)
        self._key = key
        self.subscriptions: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/track/shipments", self._track),
            Route("/tracking/push/v1/subscription", self._subscribe, methods=["POST"]),
            Route("/tracking/push/v1/subscription/{ref}", self._confirm, methods=["POST"]),
        ]

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("dhl-api-key") != self._key:
            return _json({"status": 401, "title": "Unauthorized", "detail": "Unauthorized for given resource."}, 401)
        return self.trouble()

    def _shipment(self, number: str) -> dict[str, Any]:
        scans = sorted(self.history[number], key=lambda s: s["at"], reverse=True)
        told = [
            {
                "timestamp": scan["at"].isoformat() if scan["zoned"] else scan["at"].replace(tzinfo=None).isoformat(),
                "location": {"address": {"countryCode": scan["country"], "addressLocality": scan["city"]}},
                "statusCode": scan["type"], "status": scan["code"] or scan["text"], "description": scan["text"],
            }
            for scan in scans
        ]  # fmt: skip
        events = [event for event, scan in zip(told, scans, strict=True) if not scan.get("head")]
        return {"id": number, "service": scans[0]["service"], "status": told[0], "details": {}, "events": events}

    async def _track(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        number = request.query_params["trackingNumber"]
        if not self.history.get(number):
            told = {
                "title": "No result found",
                "detail": "No shipment with given tracking number found.",
                "status": 404,
            }
            return _json(told, 404)
        return _json({"shipments": [self._shipment(number)]})

    async def _subscribe(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        body = orjson.loads(await request.body())
        if len(body.get("shipmentIDs", ())) > 10:
            return _json({"status": 400, "title": "Bad Request", "detail": "too many shipmentIDs"}, 400)
        ref = f"sub-{next(self._ids)}"
        secret = f"hook-{ref}"
        self.subscriptions[ref] = {**body, "secret": secret, "active": False}
        return _json({"subscriptionId": ref}, 202)

    async def _confirm(self, request: Request) -> Response:
        subscription = self.subscriptions.get(request.path_params["ref"])
        if subscription is None or request.headers.get("dhl-api-hook-secret") != subscription["secret"]:
            return _json({"status": 404, "title": "Not Found"}, 404)
        subscription["active"] = True
        return _json({}, 200)

    def validation(self, ref: str) -> Outgoing:
        """Make the message that asks for validation of a subscription."""
        subscription = self.subscriptions[ref]
        body = {
            "scope": "subscription.validate",
            "self": f"https://api-eu.dhl.com/tracking/push/v1/subscription/{ref}",
            "secret": subscription["secret"],
        }
        return self._send(body, subscription)

    def push(self, number: str) -> Outgoing | None:
        """Make the push for a number, where an active subscription holds it."""
        for subscription in self.subscriptions.values():
            if subscription["active"] and number in subscription["shipmentIDs"]:
                return self._send({"scope": "subscription.push", "shipments": [self._shipment(number)]}, subscription)
        return None

    def _send(self, body: dict[str, Any], subscription: dict[str, Any]) -> Outgoing:
        authentication = subscription["hook"]["authentication"]
        headers = {"content-type": "application/json", authentication["header"]: authentication["token"]}
        return Outgoing(self.account, orjson.dumps(body), headers)


class FedExServer(Server):
    """Token call and Track v1: up to 30 numbers a call, what is wrong with one of them said inside its result."""

    def __init__(self, account: str, clock: Clock, *, client_id: str, secret: str) -> None:
        """Keep the credentials that are right."""
        super().__init__(account, clock)
        self._client, self._secret = client_id, secret
        self._tokens: set[str] = set()

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/oauth/token", self._token, methods=["POST"]),
            Route("/track/v1/trackingnumbers", self._track, methods=["POST"]),
        ]

    def expire_tokens(self) -> None:
        """Let every token end now."""
        self._tokens.clear()

    async def _token(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        if (form.get("client_id"), form.get("client_secret")) != ([self._client], [self._secret]):
            return _wrong(401, "NOT.AUTHORIZED.ERROR", "The given client credentials were not valid.")
        token = f"fedex-{next(self._ids)}"
        self._tokens.add(token)
        self.calls["token"] += 1
        return _json({"access_token": token, "token_type": "bearer", "expires_in": 3599, "scope": "CXS"})

    async def _track(self, request: Request) -> Response:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self._tokens:
            return _wrong(
                401, "NOT.AUTHORIZED.ERROR", "Access token expired. Please modify your request and try again."
            )
        if (trouble := self.trouble()) is not None:
            return trouble
        self.calls["track"] += 1
        asked = [
            info["trackingNumberInfo"]["trackingNumber"] for info in orjson.loads(await request.body())["trackingInfo"]
        ]
        if not 0 < len(asked) <= 30:
            return _wrong(400, "TRACKING.TRACKINGINFO.LIMITEXCEEDED", "Please limit your inquiry to 30 references.")
        results = [{"trackingNumber": n, "trackResults": [self._result(n)]} for n in asked]
        return _json({"transactionId": f"t-{next(self._ids)}", "output": {"completeTrackResults": results}})

    def _result(self, number: str) -> dict[str, Any]:
        info = {"trackingNumber": number, "trackingNumberUniqueId": f"1~{number}~FDEG", "carrierCode": "FDXG"}
        scans = sorted(self.history[number], key=lambda s: s["at"], reverse=True)
        if not scans:
            said = "Tracking number cannot be found. Please correct the tracking number and try again."
            return {"trackingNumberInfo": info, "error": {"code": "TRACKING.TRACKINGNUMBER.NOTFOUND", "message": said}}
        latest, dates = scans[0], []
        if latest["type"] == "DL":
            dates = [{"type": "ACTUAL_DELIVERY", "dateTime": self._printed(latest)}]
        elif latest.get("edd"):
            dates = [{"type": "ESTIMATED_DELIVERY", "dateTime": latest["edd"].isoformat()}]
        why = [{"reason": latest["code"], "reasonDescription": latest["text"]}] if latest["code"] else []
        return {
            "trackingNumberInfo": info,
            "latestStatusDetail": {
                "code": latest["type"], "derivedCode": latest["type"], "statusByLocale": latest["text"],
                "description": latest["text"], "scanLocation": self._place(latest), "ancillaryDetails": why,
            },
            "dateAndTimes": dates,
            "scanEvents": [self._event(scan) for scan in scans if not scan.get("head")],
        }  # fmt: skip

    def _event(self, scan: dict[str, Any]) -> dict[str, Any]:
        return {
            "date": self._printed(scan), "eventType": scan["type"], "eventDescription": scan["text"],
            "exceptionCode": scan["code"], "exceptionDescription": scan["text"] if scan["code"] else "",
            "scanLocation": self._place(scan), "derivedStatusCode": scan["type"], "derivedStatus": scan["text"],
        }  # fmt: skip

    @staticmethod
    def _printed(scan: dict[str, Any]) -> str:
        at: datetime = scan["at"] if scan["zoned"] else scan["at"].replace(tzinfo=None)
        return at.isoformat()

    @staticmethod
    def _place(scan: dict[str, Any]) -> dict[str, str]:
        return {"city": scan["city"], "stateOrProvinceCode": scan["region"], "countryCode": scan["country"]}


def _wrong(status: int, code: str, message: str) -> Response:
    return _json({"transactionId": "t", "errors": [{"code": code, "message": message}]}, status)


class EasyPostServer(Server):
    """Trackers and signed events."""

    def __init__(self, account: str, clock: Clock, *, key: str, secret: str) -> None:
        """Keep the key and the webhook secret that are right."""
        super().__init__(account, clock)
        self._key, self._secret = key, secret
        self.trackers: dict[str, dict[str, str]] = {}
        self.carriers: dict[str, str] = {}

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/trackers", self._create, methods=["POST"]),
            Route("/trackers", self._list),
            Route("/trackers/{ref}", self._get),
        ]

    def _refused(self, request: Request) -> Response | None:
        given = base64.b64encode(f"{self._key}:".encode()).decode()
        if request.headers.get("authorization") != f"Basic {given}":
            return _json({"error": {"code": "APIKEY.INACTIVE", "message": "This api key is no longer active."}}, 401)
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
        return _json(self._tracker(number), 201)

    async def _get(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        for number, tracker in self.trackers.items():
            if tracker["id"] == request.path_params["ref"]:
                return _json(self._tracker(number))
        return _json({"error": {"code": "NOT_FOUND", "message": "The requested resource could not be found."}}, 404)

    async def _list(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.calls["track"] += 1
        number = request.query_params.get("tracking_code", "")
        known = [self._tracker(number)] if number in self.trackers or self.history.get(number) else []
        return _json({"trackers": known, "has_more": False})

    def event(self, number: str) -> Outgoing:
        """Make the signed event that holds the whole tracker."""
        body = orjson.dumps(
            {
                "description": "tracker.updated", "mode": "test", "previous_attributes": {"status": "unknown"},
                "created_at": self.clock().isoformat(), "pending_urls": [], "completed_urls": [],
                "id": f"evt_{next(self._ids)}", "user_id": "user_1", "status": "pending", "object": "Event",
                "result": self._tracker(number),
            }
        )  # fmt: skip
        return self.signed(body)

    def signed(self, body: bytes, secret: str | None = None) -> Outgoing:
        """Sign any body as EasyPost does."""
        key = unicodedata.normalize("NFKD", secret or self._secret).encode()
        signature = hmac.new(key, body, hashlib.sha256).hexdigest()
        headers = {"content-type": "application/json", "x-hmac-signature": f"hmac-sha256-hex={signature}"}
        return Outgoing(self.account, body, headers)


EVENTS = frozenset(
    [
        "LABEL_PURCHASED",
        "LABEL_PRINTED",
        "READY_FOR_PICKUP",
        "CONFIRMED",
        "CARRIER_PICKED_UP",
        "IN_TRANSIT",
        "OUT_FOR_DELIVERY",
        "ATTEMPTED_DELIVERY",
        "DELAYED",
        "DELIVERED",
        "FAILURE",
    ]
)
STORED = "%Y-%m-%dT%H:%M:%SZ"


class ShopifyServer(Server):
    """The Admin GraphQL API of one shop, as far as an order's tracking needs it, and its webhooks."""

    def __init__(self, account: str, clock: Clock, *, token: str, secret: str) -> None:
        """Keep the token and the app secret that are right."""
        super().__init__(account, clock)
        self._token, self._secret = token, secret
        self.orders: dict[str, dict[str, Any]] = {}
        self.log: list[dict[str, Any]] = []
        self.outgoing: list[Outgoing] = []
        self._bucket, self._bucket_at = 1000.0, self._elapsed()

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [Route("/admin/api/{version}/graphql.json", self._graphql, methods=["POST"])]

    # what people do in the shop

    def place(self, name: str, at: datetime, payment: str, status: str = "UNFULFILLED") -> None:
        """Place an order."""
        ref = next(self._ids) + 1000
        self.orders[name] = {
            "id": f"gid://shopify/Order/{ref}", "number": ref, "name": name, "createdAt": at.strftime(STORED),
            "updatedAt": at.strftime(STORED), "cancelledAt": None, "displayFulfillmentStatus": status,
            "displayFinancialStatus": payment, "fulfillments": [],
        }  # fmt: skip
        self._hook(name, "orders/create")

    def ship(self, name: str, at: datetime, parcels: list[dict[str, str]], *, partly: bool) -> None:
        """Create a fulfilment with its tracking numbers."""
        order = self.orders[name]
        order["fulfillments"].append(
            {
                "id": f"gid://shopify/Fulfillment/{next(self._ids) + 5000}", "status": "SUCCESS",
                "createdAt": at.strftime(STORED), "trackingInfo": parcels, "events": [],
            }
        )  # fmt: skip
        order["displayFulfillmentStatus"] = "PARTIALLY_FULFILLED" if partly else "FULFILLED"
        self.touch(name, "fulfillments/create")

    def set(self, name: str, **values: Any) -> None:
        """Change fields of an order, as a person or another app does."""
        self.orders[name].update(values)
        self.touch(name, "orders/cancelled" if values.get("cancelledAt") else "orders/updated")

    def retrack(self, name: str, parcels: list[dict[str, str]]) -> None:
        """Replace the tracking numbers of the newest fulfilment."""
        self.orders[name]["fulfillments"][-1]["trackingInfo"] = parcels
        self.touch(name, "fulfillments/update")

    def touch(self, name: str, topic: str) -> None:
        """Mark an order as changed now and tell by webhook."""
        self.orders[name]["updatedAt"] = self.clock().strftime(STORED)
        self._hook(name, topic)

    def own_event(self, name: str, status: str) -> None:
        """Record an event that we did not write (another app, the shop itself)."""
        fulfilment = self.orders[name]["fulfillments"][-1]
        self._append(fulfilment, status, self.clock())
        self.touch(name, "fulfillment_events/create")

    def _append(self, fulfilment: dict[str, Any], status: str, happened_at: datetime) -> dict[str, Any]:
        event = {
            "id": f"gid://shopify/FulfillmentEvent/{next(self._ids)}", "status": status,
            "happenedAt": happened_at.astimezone(UTC).strftime(STORED),
        }  # fmt: skip
        fulfilment["events"].append(event)
        return event

    def _hook(self, name: str, topic: str) -> None:
        order = self.orders[name]
        body = orjson.dumps({"id": order["number"], "admin_graphql_api_id": order["id"], "name": name})
        if topic.startswith("fulfillment"):
            body = orjson.dumps({"id": 1, "order_id": order["number"], "status": "success"})
        self.outgoing.append(self.signed(body, topic))

    def signed(self, body: bytes, topic: str, secret: str | None = None) -> Outgoing:
        """Sign a webhook as Shopify does."""
        digest = hmac.new((secret or self._secret).encode(), body, hashlib.sha256).digest()
        headers = {
            "content-type": "application/json", "x-shopify-topic": topic, "x-shopify-webhook-id": f"wh-{next(self._ids)}",
            "x-shopify-hmac-sha256": base64.b64encode(digest).decode(), "x-shopify-api-version": "2026-04",
            "x-shopify-shop-domain": f"{self.account}.myshopify.com",
        }  # fmt: skip
        return Outgoing(self.account, body, headers)

    # GraphQL

    async def _graphql(self, request: Request) -> Response:
        if request.headers.get("x-shopify-access-token") != self._token:
            return _json(
                {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}, 401
            )
        if (trouble := self.trouble()) is not None:
            return trouble
        body = orjson.loads(await request.body())
        query, variables = body["query"], body["variables"]
        operation = query.split()[1].partition("(")[0]
        cost = {"Orders": 42, "Read": 12, "Whole": 40, "Events": 5, "Create": 10, "Shop": 1}[operation]
        now = self._elapsed()
        self._bucket, self._bucket_at = min(1000.0, self._bucket + 100 * (now - self._bucket_at)), now
        if self.faults.take("graphql_throttle") or self._bucket < cost:
            errors = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]
            return _json({"errors": errors, "extensions": self._cost(cost, None)})
        self._bucket -= cost
        self.calls[operation] += 1
        answer = getattr(self, f"_{operation.lower()}")(variables)
        if operation == "Create" and self.faults.take("apply_then_fail"):
            return Response("", 502)  # it is done, and the answer is lost
        return _json({"data": answer, "extensions": self._cost(cost, cost)})

    def _elapsed(self) -> float:
        """Seconds that passed, in the play or for real: the bucket fills by both."""
        return time.monotonic() + self.clock().timestamp()

    def _cost(self, requested: int, actual: int | None) -> dict[str, Any]:
        status = {"maximumAvailable": 1000.0, "currentlyAvailable": int(self._bucket), "restoreRate": 100.0}
        return {"cost": {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": status}}

    def _node(self, order: dict[str, Any], most: int = 20) -> dict[str, Any]:
        def last(fulfilment: dict[str, Any]) -> dict[str, Any]:
            events = sorted(fulfilment["events"], key=lambda e: e["happenedAt"])[-1:]
            return {**fulfilment, "trackingInfo": fulfilment["trackingInfo"][:most], "events": {"nodes": events}}

        return {
            **{k: v for k, v in order.items() if k != "number"},
            "fulfillments": [last(f) for f in order["fulfillments"]][:most],
        }

    def _shop(self, _variables: dict[str, Any]) -> dict[str, Any]:
        return {"shop": {"name": self.account}}

    def _orders(self, variables: dict[str, Any]) -> dict[str, Any]:
        query = variables["q"]
        found = list(self.orders.values())
        if "updated_at:>='" in query:
            since = query.split("updated_at:>='")[1].split("'")[0]
            found = [o for o in found if o["updatedAt"] >= since]
        if "status:open" in query:
            found = [o for o in found if not o["cancelledAt"]]
        page, after, more = next_page(
            found, lambda o: (o["updatedAt"], o["id"]), variables["after"], variables["first"]
        )
        info = {"hasNextPage": more, "endCursor": after}
        return {"orders": {"pageInfo": info, "nodes": [self._node(o) for o in page]}}

    def _read(self, variables: dict[str, Any]) -> dict[str, Any]:
        by_id = {o["id"]: o for o in list(self.orders.values())}  # a storm places orders meanwhile
        return {"nodes": [self._node(by_id[i]) if i in by_id else None for i in variables["ids"]]}

    def _whole(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = next((o for o in list(self.orders.values()) if o["id"] == variables["id"]), None)
        return {"order": self._node(found, variables["most"]) if found else None}

    def _fulfilment(self, ref: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        for order in list(self.orders.values()):
            for fulfilment in order["fulfillments"]:
                if fulfilment["id"] == ref:
                    return order, fulfilment
        return None

    def _events(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self._fulfilment(variables["id"])
        if found is None:
            return {"fulfillment": None}
        events = sorted(found[1]["events"], key=lambda e: e["happenedAt"], reverse=True)[:20]
        return {"fulfillment": {"id": found[1]["id"], "status": found[1]["status"], "events": {"nodes": events}}}

    def _create(self, variables: dict[str, Any]) -> dict[str, Any]:
        event = variables["e"]
        found = self._fulfilment(event["fulfillmentId"])
        problem = None
        if found is None:
            problem = "Fulfillment does not exist."
        elif event["status"] not in EVENTS:
            problem = "Status is not included in the list"
        elif self.faults.take("refuse_write"):
            problem = "Fulfillment event could not be created."
        if problem is not None or found is None:
            errors = [{"field": ["fulfillmentEvent"], "message": problem}]
            return {"fulfillmentEventCreate": {"fulfillmentEvent": None, "userErrors": errors}}
        order, fulfilment = found
        happened = datetime.strptime(event["happenedAt"], STORED).replace(tzinfo=UTC)
        made = self._append(fulfilment, event["status"], happened)
        self.log.append(
            {
                "at": self.clock(), "store": self.account, "order": order["name"], "fulfilment": fulfilment["id"],
                "numbers": [p["number"] for p in fulfilment["trackingInfo"]], "event": event["status"],
                "happened_at": happened, "city": event.get("city"),
            }
        )  # fmt: skip
        self.touch(order["name"], "fulfillment_events/create")
        return {"fulfillmentEventCreate": {"fulfillmentEvent": made, "userErrors": []}}


class Town:
    """All servers on one port of loopback, each under its account's name."""

    def __init__(self, servers: list[Server]) -> None:
        """Mount them; nothing listens yet."""
        self.servers = {server.account: server for server in servers}
        self._stopping = False
        routes = [
            Route(
                f"/{server.account}{route.path}",
                self._faulty(server, route.endpoint),
                methods=sorted(route.methods or {"GET"}),
            )
            for server in servers
            for route in server.routes()
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            host="127.0.0.1",
            port=0,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def _faulty(self, server: Server, endpoint: Endpoint) -> Endpoint:
        """Answer as the server's faults say, else as it would."""

        async def answer(request: Request) -> Response:
            told = server.faults.met(request.url.path)
            if told is None:
                return await endpoint(request)
            server.calls["hang" if told.hang else "answer"] += 1
            while told.hang and not self._stopping and not await request.is_disconnected():
                await asyncio.sleep(0.01)
            return Response(told.body, told.status, told.headers, told.kind)

        return answer

    def start(self) -> int:
        """Listen, in a thread; returns the port."""
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), name="sandbox", daemon=True)
        self._thread.start()
        until = time.monotonic() + 10
        while not self._server.started:
            if time.monotonic() > until:
                raise RuntimeError("the sandbox did not start")
            time.sleep(0.005)
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Stop listening."""
        self._stopping = self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(5)
