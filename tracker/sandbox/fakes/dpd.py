"""DPD's Shipper web services: getAuth, ten times a day, and getTrackingData, one number a call, with stages that lie ahead."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import OAuthCarrier

SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
LOGIN = "http://dpd.com/common/service/types/LoginService/2.1"
LIFE = "http://dpd.com/common/service/types/ParcelLifeCycleService/2.0"
PROOF = "http://dpd.com/common/service/types/Authentication/2.0"
AHEAD = ("PickedUp", "Depot", "Courier", "Delivered")  # what a life has in its future, until it happened
MOST_LOGINS = 10


class DPDServer(OAuthCarrier):
    """A scan's `code` is its status, its `text` the label. The newest is current, and for once not said to be reached."""

    pushes = False
    knows = frozenset({"fault refuse_number", "fault expire_tokens"})

    def __init__(self, account: str, clock: Any, **more: Any) -> None:
        """Nobody has logged in yet."""
        super().__init__(account, clock, **more)
        self._logins: list[datetime] = []
        self._ends: dict[str, datetime] = {}

    def routes(self) -> list[Route]:
        """Return what it answers to."""
        return [
            Route("/soap/services/LoginService/V2_1", self._login, methods=["POST"]),
            Route("/soap/services/ParcelLifeCycleService/V2_0", self._track, methods=["POST"]),
        ]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return its account's own settings in our YAML."""
        return {"base_url": f"{base_url}/soap/services", "delis_id": self._client, "password": key}

    async def _login(self, request: Request) -> Response:
        envelope = await _read(request, "LoginService/2.1/getAuth")
        if envelope is None:
            return _fault("s:Client", "The message is no call of this operation")
        asked = envelope.find(f"{SOAP}Body/{{{LOGIN}}}getAuth")
        said = {child.tag: child.text for child in asked} if asked is not None else {}
        if (said.get("delisId"), said.get("password")) != (self._client, self.key) or not _language(said):
            return _refused("DELICOM_ERR_AUTHENTICATION", "Authentication failure, check delisId and password.")
        now = self.clock()
        self._logins = [at for at in self._logins if now - at < timedelta(days=1)]
        if len(self._logins) >= MOST_LOGINS:
            return _refused("DELICOM_ERR_AUTHENTICATION", "Too many logins, the limit of a day is reached.")
        self._logins.append(now)
        self.calls["login"] += 1
        token = next((token for token in self._tokens if self._ends[token] > now), "") or self.new_token()
        ends = self._ends.setdefault(token, now + timedelta(days=1))
        return _envelope(
            f'<getAuthResponse xmlns="{LOGIN}"><return><delisId>{self._client}</delisId><customerUid>{self._client}</customerUid>'
            f"<authToken>{token}</authToken><depot>0522</depot><authTokenExpires>{self.shown(ends):%Y-%m-%dT%H:%M:%S}.0000000</authTokenExpires>"
            "</return></getAuthResponse>"
        )

    async def _track(self, request: Request) -> Response:
        envelope = await _read(request, "ParcelLifeCycleService/2.0/getTrackingData")
        if envelope is None:
            return _fault("s:Client", "The message is no call of this operation")
        proof = envelope.find(f"{SOAP}Header/{{{PROOF}}}authentication")
        said = {child.tag: child.text or "" for child in proof} if proof is not None else {}
        if (
            list(said) != ["delisId", "authToken", "messageLanguage"]
            or said["delisId"] != self._client
            or not _language(said)
        ):
            return _refused("DELICOM_ERR_AUTHENTICATION", "The authentication is missing or incomplete.")
        token = said["authToken"]
        if token not in self._tokens or self._ends[token] <= self.clock():
            return _refused("ERR_DELICOM_TOKEN_EXPIRED", "The token is older than 24 hours.")
        if (trouble := self.trouble()) is not None:
            return trouble
        numbers = [
            one.text or "" for one in envelope.findall(f"{SOAP}Body/{{{LIFE}}}getTrackingData/parcelLabelNumber")
        ]
        if (
            len(numbers) != 1
            or not (len(numbers[0]) == 14 and numbers[0].isdecimal())
            or self.faults.take("refuse_number")
        ):
            return _refused("ERR_PLC_NUMBER", "The parcelLabelNumber must be one of 14 digits.", "faults")
        self.calls["track"] += 1
        scans = self.newest_first(numbers[0])
        if not scans:
            return _refused("ERR_PLC_DATA", "No data available for this parcel.", "faults")
        stages = [
            _stage(scan, "false" if at == 0 else "true", "true" if at == 0 else "false")
            for at, scan in enumerate(scans)
        ]
        met = {scan["code"] for scan in scans}
        ahead = [
            {"code": code, "text": code, "city": "", "country": "", "at": None} for code in AHEAD if code not in met
        ]
        stages += [_stage(one, "false", "false") for one in ahead]
        return _envelope(
            f'<getTrackingDataResponse xmlns="{LIFE}"><trackingresult>{"".join(stages)}</trackingresult></getTrackingDataResponse>'
        )


def _language(said: dict[str, Any]) -> bool:
    return len(said.get("messageLanguage") or "") == 5


async def _read(request: Request, action: str) -> Any:
    """Return the envelope of a call; None where it is no XML or has another action."""
    if request.headers.get("soapaction") != f'"http://dpd.com/common/service/{action}"':
        return None
    try:
        return etree.fromstring(await request.body())
    except etree.XMLSyntaxError:
        return None


def _stage(scan: dict[str, Any], reached: str, current: str) -> str:
    at = scan["at"]
    place = f"{scan['city']} ({scan['country']})" if scan["country"] else scan["city"]
    printed = f"{at.month}/{at.day}/{at.year} {at.hour % 12 or 12}:{at:%M:%S} {at:%p}" if at else ""
    return (
        f"<statusInfo><status>{escape(scan['code'])}</status><label>{_line(scan['text'])}</label><description/>"
        f"<statusHasBeenReached>{reached}</statusHasBeenReached><isCurrentStatus>{current}</isCurrentStatus>"
        f"<showContactInfo>false</showContactInfo>{f'<location>{_line(place)}</location>' if place else ''}"
        f"{f'<date>{_line(printed)}</date>' if printed else ''}</statusInfo>"
    )


def _line(words: str) -> str:
    return f"<content>{escape(words)}</content><bold>false</bold><paragraph>false</paragraph>"


def _refused(code: str, words: str, kind: str = "authenticationFault") -> Response:
    names = ("errorCode", "errorMessage") if kind == "authenticationFault" else ("faultCode", "message")
    told = f"<{names[0]}>{code}</{names[0]}><{names[1]}>{words}</{names[1]}>"
    space = PROOF if kind == "authenticationFault" else LIFE
    return _fault("s:Server", "Fault occured", f'<detail><d:{kind} xmlns:d="{space}">{told}</d:{kind}></detail>')


def _fault(code: str, words: str, detail: str = "") -> Response:
    return _envelope(f"<s:Fault><faultcode>{code}</faultcode><faultstring>{words}</faultstring>{detail}</s:Fault>", 500)


def _envelope(body: str, status: int = 200) -> Response:
    envelope = f'<s:Envelope xmlns:s="{SOAP[1:-1]}"><s:Body>{body}</s:Body></s:Envelope>'
    return Response(envelope, status, media_type="text/xml; charset=utf-8")
