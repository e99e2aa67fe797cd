"""Purolator: TrackPackagesByPin, SOAP 1.1 with Basic key:password."""

from __future__ import annotations

import base64
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Carrier

PATH = "/PWS/V1/Tracking/TrackingService.asmx"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
TYPES = "http://purolator.com/pws/datatypes/v1"
ACTIONS = {
    f'"http://purolator.com/pws/service/v1/{name}"': name for name in ("TrackPackagesByPin", "GetDeliveryDetails")
}
DETAILS = {
    "Delivery": (
        "<DeliverySignature>{text}</DeliverySignature><SignatureImage>R0lGODlhAQABAAAAACw=</SignatureImage>"
        "<SignatureImageSize>20</SignatureImageSize><SignatureImageFormat>GIF</SignatureImageFormat>"
    ),
    "Undeliverable": "<AttemptedDeliveryAddress>1 EXAMPLE ST</AttemptedDeliveryAddress><DeliveryCompanyName/>",
    "OnDelivery": "<DeliveryAddress/>",
    "ProofOfPickUp": "<CommitedDeliveryDate>{edd}</CommitedDeliveryDate>",
    "InternationalOutbound": "<DestinationPostalCode/><AirportCode/>",
}


class PurolatorServer(Carrier):
    """TrackPackagesByPin: several PINs a call, what is wrong with one of them said inside of its part; and GetDeliveryDetails."""

    pushes = False
    knows = frozenset({"fault refuse_number"})

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [Route(PATH, self._track, methods=["POST"])]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"url": f"{base_url}{PATH}", "key": key, "password": key}

    async def _track(self, request: Request) -> Response:
        proof = base64.b64encode(f"{self.key}:{self.key}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {proof}":
            return Response("", 401, {"WWW-Authenticate": "Basic"})
        if (trouble := self.trouble()) is not None:
            return trouble
        if (operation := ACTIONS.get(request.headers.get("soapaction", ""))) is None:
            return _fault("s:Client", "SOAPAction is no operation of this service")
        try:
            envelope = etree.fromstring(await request.body())
        except etree.XMLSyntaxError:
            return _fault("s:Client", "The message is not well-formed")
        context = envelope.find(f"{{{SOAP}}}Header/{{{TYPES}}}RequestContext")
        order = [] if context is None else [etree.QName(child).localname for child in context]
        if order[:4] != ["Version", "Language", "GroupID", "RequestReference"]:
            return _fault("s:Client", "RequestContext is missing or incomplete")
        asked = envelope.find(f"{{{SOAP}}}Body/{{{TYPES}}}{operation}Request")
        if asked is None:
            return _fault("s:Client", "The body is not of this operation")
        if operation == "GetDeliveryDetails":
            return self._details(asked.findtext(f"{{{TYPES}}}PIN/{{{TYPES}}}Value") or "")
        where = f"{{{TYPES}}}PINs/{{{TYPES}}}PIN/{{{TYPES}}}Value"
        pins = [str(value.text or "").strip() for value in asked.findall(where)]
        if not pins:
            return _fault("s:Client", "PINs is missing")
        self.calls["track"] += 1
        return _answer(
            operation, f"<TrackingInformationList>{''.join(map(self._information, pins))}</TrackingInformationList>"
        )

    def _details(self, pin: str) -> Response:
        self.calls["details"] += 1
        scan = next((scan for scan in self.history[pin] if scan["type"] == "Delivery"), None)
        told = "" if scan is None else _scan(pin, scan).partition(">")[2].removesuffix("</Scan>")
        return _answer("GetDeliveryDetails", f"<DeliveryDetails>{told}</DeliveryDetails>" if told else "")

    def _information(self, pin: str) -> str:
        scans = self.newest_first(pin)
        error = ("2300003", "No scanning details available") if not scans else None
        if self.faults.take("refuse_number"):
            scans, error = [], ("1000007", "The PIN cannot be shown")
        listed = "".join(_scan(pin, scan) for scan in scans)
        said = _OK
        if error is not None:
            said = (
                f"<ResponseInformation><Errors><Error><Code>{error[0]}</Code><Description>{error[1]}</Description>"
                '<AdditionalInformation/></Error></Errors><InformationalMessages i:nil="true"/></ResponseInformation>'
            )
        return (
            f"<TrackingInformation><PIN><Value>{escape(pin)}</Value></PIN>"
            f"<Scans>{listed}</Scans>{said}</TrackingInformation>"
        )


_OK = '<ResponseInformation><Errors/><InformationalMessages i:nil="true"/></ResponseInformation>'


def _scan(pin: str, scan: dict[str, Any]) -> str:
    kind = scan["type"]
    depot = ", ".join(filter(None, (scan["city"], scan["region"])))
    told = DETAILS.get(kind, "").format(
        text=escape(scan["text"]), edd=f"{scan['edd']:%Y-%m-%d}" if scan.get("edd") else ""
    )
    return (
        f'<Scan{f""" i:type="{kind}Scan" """ if told else ""}><ScanType>{escape(kind)}</ScanType>'
        f"<PIN><Value>{escape(pin)}</Value></PIN>"
        f"<Depot><Name>{escape(depot)}</Name></Depot><ScanDate>{scan['at']:%Y-%m-%d}</ScanDate>"
        f"<ScanTime>{scan['at']:%H%M%S}</ScanTime><Description>{escape(scan['text'])}</Description><Comment/>"
        f"<SummaryScanIndicator>false</SummaryScanIndicator>"
        f"{f'<ScanDetails>{told}</ScanDetails>' if told else ''}</Scan>"
    )


def _answer(operation: str, inner: str) -> Response:
    instance = "http://www.w3.org/2001/XMLSchema-instance"
    return _envelope(f'<{operation}Response xmlns="{TYPES}" xmlns:i="{instance}">{_OK}{inner}</{operation}Response>')


def _fault(code: str, words: str) -> Response:
    inner = f"<s:Fault><faultcode>{code}</faultcode><faultstring>{words}</faultstring></s:Fault>"
    return _envelope(inner, 500)


def _envelope(body: str, status: int = 200) -> Response:
    envelope = f'<s:Envelope xmlns:s="{SOAP}"><s:Body>{body}</s:Body></s:Envelope>'
    return Response(envelope, status, media_type="text/xml; charset=utf-8")
