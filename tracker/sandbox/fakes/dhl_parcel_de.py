"""DHL Parcel DE Tracking: an XML query in the address, attributes in the answer, errors with 200."""

from __future__ import annotations

import base64
from typing import Any
from xml.sax.saxutils import quoteattr

from lxml import etree
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier, as_json

PATH = "/parcel/de/tracking/v0/shipments"
WORDS = {"appname", "password", "request", "language-code", "piece-code"}


class DHLParcelDEServer(Carrier):
    """d-get-piece-detail for twenty numbers, d-get-signature for one; Basic, and a user inside of the XML.

    Of a scan `code` is the standard event code, `letters` ICE/RIC, `type: return` that it was on the way back.
    """

    pushes = False

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [Route(PATH, self._ask)]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        base = f"{base_url}{PATH.removesuffix('/shipments')}"
        return {"base_url": base, "api_key": key, "api_secret": key, "appname": "zt12345", "password": key}

    async def _ask(self, request: Request) -> Response:
        proof = base64.b64encode(f"{self.key}:{self.key}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {proof}":
            return as_json({"status": 401, "title": "Unauthorized"}, 401)
        if (trouble := self.trouble()) is not None:
            return trouble
        try:
            query = etree.fromstring(request.query_params["xml"].encode())
        except (KeyError, etree.XMLSyntaxError):
            return as_json({"status": 400, "title": "Bad Request", "detail": "xml is missing, or no XML"}, 400)
        said = {str(name): str(value) for name, value in query.attrib.items()}
        if query.tag != "data" or set(said) != WORDS or said["language-code"] not in ("de", "en"):
            return _error("1", "Malformed request")
        if (said["appname"], said["password"]) != ("zt12345", self.key):
            return _error("5", "Login failed")
        asked = said["piece-code"].split(";")
        if said["request"] == "d-get-signature" and len(asked) == 1:
            return self._signature(asked[0])
        if said["request"] != "d-get-piece-detail" or len(asked) > 20:
            return _error("2", "No such request, or too many numbers")
        self.calls["track"] += 1
        found = [number for number in asked if self.history[number]]
        if not found:
            return _error("100", "No data found")
        return _answer("piece-shipment-list", "".join(map(self._piece, asked)))

    def _signature(self, number: str) -> Response:
        self.calls["signature"] += 1
        if not any(scan["code"] == "ZU" for scan in self.history[number]):
            return _error("100", "No data found")
        return _answer(
            "signaturelist", _data({"name": "signature", "mime-type": "image/gif", "image": b"GIF89a".hex()})
        )

    def _piece(self, number: str) -> str:
        scans = sorted(self.history[number], key=lambda scan: scan["at"])
        mine = {"name": "piece-shipment", "piece-code": number, "searched-piece-code": number}
        if not scans:
            return _data({**mine, "error-status": "100", "status": "No data found"})
        last, events = _event(scans[-1]), "".join(_data({"name": "piece-event", **_event(scan)}) for scan in scans)
        head = {
            **mine, "error-status": "0", "status": last["event-status"], "status-timestamp": last["event-timestamp"], "event-location": "",
            "event-country": "DE", "delivery-event-flag": str(int(last["standard-event-code"] == "ZU")), "recipient-name": "Kraemer",
            **{name: last[name] for name in ("standard-event-code", "ice", "ric", "ruecksendung")},
            "delivery-date": f"{edd:%d.%m.%Y}" if (edd := scans[-1].get("edd")) else "",
        }  # fmt: skip
        return _data(head, _data({"name": "piece-event-list", "ruecksendung": last["ruecksendung"]}, events))


def _event(scan: dict[str, Any]) -> dict[str, str]:
    ice, _, ric = scan["letters"].partition("/")
    return {
        "event-timestamp": f"{scan['at']:%d.%m.%Y %H:%M}", "event-status": scan["text"], "event-text": scan["text"],
        "event-location": scan["city"], "event-country": "Germany" if scan["country"] == "DE" else scan["country"],
        "standard-event-code": scan["code"], "ice": ice, "ric": ric, "ruecksendung": str(scan["type"] == "return").lower(),
    }  # fmt: skip


def _data(attributes: dict[str, str], inner: str = "") -> str:
    return f"<data {' '.join(f'{name}={quoteattr(value)}' for name, value in attributes.items())}>{inner}</data>"


def _error(code: str, words: str) -> Response:
    return _answer("piece-shipment-list", "", code, words)


def _answer(name: str, inner: str, code: str = "0", words: str = "") -> Response:
    root = {"name": name, "code": code, "request-id": "1", **({"error": words} if words else {})}
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{_data(root, inner)}', media_type="application/xml")
