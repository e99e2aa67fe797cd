"""FedEx: the token call, Track v1, and signed pushes of Advanced Integrated Visibility."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import OAuthCarrier, Outgoing, as_json
from tracker.sandbox.scenario import Scan


class FedExServer(OAuthCarrier):
    """Token call and Track v1: up to 30 numbers a call, what is wrong with one of them said inside its result.

    A push counts the attempts to deliver it, so that no two of them are the same bytes.
    """

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/oauth/token", self._token, methods=["POST"]),
            Route("/track/v1/trackingnumbers", self._track, methods=["POST"]),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": base_url, "client_id": self._client, "client_secret": key}

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Make the push that tells what Track v1 tells now; a forger's holds a scan that no poll ever tells."""
        told_alone = action.via == "webhook"
        if told_alone:
            self.history[action.number].append(scan)
        results = [{"trackingNumber": action.number, "trackResults": [self._result(action.number)]}]
        body = {"transactionId": f"t-{next(self._ids)}", "output": {"completeTrackResults": results}}
        if told_alone and action.webhook.signed != "right":
            self.history[action.number].remove(scan)
        return self.signed(orjson.dumps(body))

    def sent(self, outgoing: Outgoing) -> Outgoing:
        """Count the attempt in the envelope, and sign it so."""
        self.calls["push"] += 1
        told = [{"timestamp": self.clock().isoformat(), "attempt": self.calls["push"]}]
        body = orjson.dumps({"outputMetaData": told, **orjson.loads(outgoing.body)})
        return replace(outgoing, body=body, headers=self.signed(body).headers)

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Sign any body as FedEx does."""
        digest = hmac.new((secret or self.hook).encode(), body, hashlib.sha256).digest()
        headers = {"content-type": "application/json", "fdx-signature": base64.b64encode(digest).decode()}
        return Outgoing(self.account, body, headers)

    async def _token(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        if form.get("grant_type") != ["client_credentials"]:
            return _wrong(
                400, "BAD.REQUEST.ERROR", "Missing or duplicate parameters. Please modify your request and try again."
            )
        if (form.get("client_id"), form.get("client_secret")) != ([self._client], [self.key]):
            return _wrong(401, "NOT.AUTHORIZED.ERROR", "The given client credentials were not valid.")
        return as_json({"access_token": self.new_token(), "token_type": "bearer", "expires_in": 3599, "scope": "CXS"})

    async def _track(self, request: Request) -> Response:
        if not self.bears_token(request):
            return _wrong(
                401, "NOT.AUTHORIZED.ERROR", "Access token expired. Please modify your request and try again."
            )
        if (trouble := self.trouble()) is not None:
            return trouble
        self.calls["track"] += 1
        body = orjson.loads(await request.body())
        if body.get("includeDetailedScans") is not True or request.headers.get("content-type") != "application/json":
            self.complaints.append(f"{self.account}: a call without detailed scans, or that is no JSON")
        asked = [info["trackingNumberInfo"]["trackingNumber"] for info in body["trackingInfo"]]
        if not 0 < len(asked) <= 30:
            return _wrong(400, "TRACKING.TRACKINGINFO.LIMITEXCEEDED", "Please limit your inquiry to 30 references.")
        results = [{"trackingNumber": n, "trackResults": [self._result(n)]} for n in asked]
        return as_json({"transactionId": f"t-{next(self._ids)}", "output": {"completeTrackResults": results}})

    def _result(self, number: str) -> dict[str, Any]:
        info = {"trackingNumber": number, "trackingNumberUniqueId": f"1~{number}~FDEG", "carrierCode": "FDXG"}
        scans = self.newest_first(number)
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
    return as_json({"transactionId": "t", "errors": [{"code": code, "message": message}]}, status)
