"""UPS: Tracking API v1 (poll) and Track Alert v2 (push).

Contracts: github.com/UPS-API/api-documentation @ e6f36df (Tracking.yaml, OAuthClientCredentials.yaml,
UPSTrackAlert.yaml), read 2026-11. Codes: developer-portal appendix, `ups.csv`.

Two letters mean different things under different activity types, so the 3-digit status code leads; only without it the
pair (type, code) speaks. Type D is *not* "delivered". Freight has another 3-digit list (011 is out for delivery there
and delivered here): activities of the freight types DO, DD and W are looked up in it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload
from tracker.domain.facts import (
    NOWHERE,
    Ask,
    Code,
    Edd,
    Link,
    Page,
    Parcels,
    Payload,
    Place,
    Proof,
    Refs,
    Registered,
    Report,
    Scan,
)
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import TrackingState, Trust, Zone
from tracker.plugin import contracts
from tracker.plugin.contracts import Answer, Client, Request, Secrets, judge_by_status, read_codes
from tracker.plugin.oauth import Token, Tokens, ask_token, bearer
from tracker.plugin.payloads import decode, each, listing, mapping, number, text
from tracker.plugin.signatures import shared_secret

_UTC = Zone.UTC
FREIGHT = frozenset({"DO", "DD", "W"})
SUBSCRIBED_FOR = timedelta(days=14)  # UPSTrackAlert.yaml: a subscription lives 14 days
ALERTABLE = ("1Z", "1R")  # UPSTrackAlert.yaml, TrackingNumber pattern


class Settings(contracts.Settings):
    """One UPS client id. `base_url`: https://wwwcie.ups.com is the test environment (canned data)."""

    base_url: str = "https://onlinetools.ups.com"
    client_id: str
    client_secret: SecretStr
    merchant_id: str | None = None
    locale: str = "en_US"
    country: str = "US"
    webhook_header: str = "credential"
    webhook_secrets: Secrets = ()


class UPS(contracts.Carrier):
    """UPS parcels."""

    docs = "https://developer.ups.com/api/reference"
    trust = Trust.SHARED  # Track Alert sends a stored credential; nothing covers the body
    asks = frozenset({Parcels})
    webhooks = True
    registers = True
    register_batch = 100
    carriers = ("ups",)
    codes = read_codes(__file__)
    default_zone = "America/New_York"
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)

    def verify(self, payload: Payload) -> int:
        """Check the credential that was stored with the subscription (Track Alert v2: no signature)."""
        name = self.settings.webhook_header.lower()
        prefix = "Bearer " if name == "authorization" else ""
        return shared_secret(self.settings.webhook_secrets, payload.headers.get(name), name=name, prefix=prefix)

    def normalize(self, payload: Payload) -> Iterable[Report]:
        """Read a Track answer or a Track Alert event."""
        body = decode(payload.body)
        if "trackResponse" in body:
            return _answer(body)
        return (_alert(body),)

    def judge(self, answer: Answer) -> None:
        """As HTTP says, but a subscription refused for all its numbers (400) is an answer about each number."""
        if answer.status == 400 and b'"invalidTrackingNumbers"' in answer.body:
            return
        judge_by_status(answer)

    def fetch(self, client: Client, ask: Ask) -> Iterator[Page]:
        """GET /track/v1/details/{number}; one number a call."""
        assert isinstance(ask, Parcels)
        for parcel in ask.parcels:
            request = Request(
                "GET",
                f"{self.settings.base_url}/api/track/v1/details/{clean(parcel.number)}",
                params={"locale": self.settings.locale},
                headers={"transId": uuid.uuid4().hex, "transactionSrc": "trackwright"},
            )
            yield Page((self._tokens.send(client, request, bearer).body,))

    def register(self, client: Client, ask: Parcels | Refs) -> list[Registered]:
        """POST /track/v2/subscription/standard/package; up to 100 numbers, partial success is 200."""
        assert isinstance(ask, Parcels)
        fit = [p.number for p in ask.parcels if clean(p.number).startswith(ALERTABLE)]
        unfit = [p.number for p in ask.parcels if p.number not in fit]
        registered = [Registered(n, refused="Track Alert takes 1Z and 1R numbers only") for n in unfit]
        if not fit:
            return registered
        request = Request(
            "POST",
            f"{self.settings.base_url}/api/track/v2/subscription/standard/package",
            headers={"transId": uuid.uuid4().hex, "transactionSrc": "trackwright", "Content-Type": "application/json"},
            content=orjson.dumps(
                {
                    "locale": self.settings.locale,
                    "countryCode": self.settings.country,
                    "trackingNumberList": [clean(n) for n in fit],
                }
            ),
        )
        body = decode(self._tokens.send(client, request, bearer).body)
        refused = {text(n) for n in listing(body.get("invalidTrackingNumbers"), "$.invalidTrackingNumbers")}
        until = client.now() + SUBSCRIBED_FOR
        for n in fit:
            if clean(n) in refused:
                registered.append(Registered(n, refused="UPS calls it an invalid tracking number"))
            else:
                registered.append(Registered(n, until=until))
        return registered

    def ping(self, client: Client) -> None:
        """Ask for a token."""
        self._grant(client)

    def _grant(self, client: Client) -> Token:
        """POST /security/v1/oauth/token, Basic client_id:client_secret (OAuthClientCredentials.yaml)."""
        settings = self.settings
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if settings.merchant_id:
            headers["x-merchant-id"] = settings.merchant_id
        token, _ = ask_token(
            client,
            Request(
                "POST",
                f"{settings.base_url}/security/v1/oauth/token",
                headers=headers,
                content=b"grant_type=client_credentials",
                basic=(settings.client_id, settings.client_secret.get_secret_value()),
            ),
        )
        return token


def _answer(body: dict[str, Any]) -> list[Report]:
    answer = mapping(body["trackResponse"], "$.trackResponse")
    shipments = each(answer.get("shipment"), "$.trackResponse.shipment", _shipment)
    return [report for of_one_shipment in shipments for report in of_one_shipment]


def _shipment(shipment: dict[str, Any]) -> list[Report]:
    inquiry = shipment.get("inquiryNumber")
    reports = each(shipment.get("package"), "$.package", _package, inquiry)
    if not reports and inquiry is not None:
        # TW0001 "Tracking Information Not Found" comes as 200 (issues 102, 198); it can be false, so keep asking
        reports.append(Report("ups", number(inquiry, "$.inquiryNumber"), tracking=TrackingState.NOT_FOUND))
    return reports


def _package(package: dict[str, Any], inquiry: Any) -> Report:
    mine = number(package.get("trackingNumber", inquiry), "$.trackingNumber")
    scans = tuple(each(package.get("activity"), "$.activity", _activity))
    proof = None
    information = package.get("deliveryInformation")
    if isinstance(information, dict):
        proof = Proof(
            signed=bool(information.get("signature") or information.get("receivedBy")),
            photo=bool(information.get("deliveryPhoto")),
        )
    links = tuple(
        Link(text(other.get("number")), None, "last_mile")
        for other in listing(package.get("alternateTrackingNumber"), "$.alternateTrackingNumber")
        if isinstance(other, dict) and text(other.get("number"))
    )
    return Report("ups", mine, scans, complete=True, edd=_estimate(package), proof=proof, links=links)


def _activity(activity: dict[str, Any]) -> Scan:
    get = activity.get
    status = mapping(get("status") or {}, "$.status")
    place = NOWHERE
    if isinstance(location := get("location"), dict) and isinstance(address := location.get("address"), dict):
        at = address.get
        place = Place(
            text(at("city")), text(at("stateProvince")), text(at("postalCode")),
            text(at("countryCode") or at("country")),
        )  # fmt: skip
    code = _code(status, status.get("statusCode"))
    return _scan(code, get("date"), get("time"), get("gmtDate"), get("gmtTime"), place)


def _alert(body: dict[str, Any]) -> Report:
    status = mapping(body.get("activityStatus"), "$.activityStatus")
    location = body.get("activityLocation")
    place = NOWHERE
    if isinstance(location, dict):
        get = location.get
        place = Place(text(get("city")), text(get("stateProvince")), text(get("postalCode")), text(get("country")))
    get = body.get
    scan = _scan(
        _code(status, status.get("descriptionCode")),
        get("localActivityDate"),
        get("localActivityTime"),
        get("gmtActivityDate"),
        get("gmtActivityTime"),
        place,
    )
    proof = Proof(signed=bool(text(get("receivedBy"))), photo=bool(get("deliveryPhoto")))
    scheduled = text(get("scheduledDeliveryDate"))
    edd = None
    if len(scheduled) == 8 and not text(get("actualDeliveryDate")):
        edd = _day(scheduled, "$.scheduledDeliveryDate")
    return Report("ups", number(get("trackingNumber"), "$.trackingNumber"), (scan,), edd=edd, proof=proof)


def _code(status: dict[str, Any], digits: Any) -> Code:
    """Take the 3-digit code, else type and letters; a scan without any is kept, as UNKNOWN."""
    kind, said = text(status.get("type")), text(status.get("description"))
    digits = str(digits) if isinstance(digits, int) else text(digits)
    if digits:
        return Code("freight" if kind in FREIGHT else "status", digits.zfill(3), said)
    return Code(kind or "none", text(status.get("code")) or "missing", said)


def _scan(code: Code, date: Any, time: Any, gmt_date: Any, gmt_time: Any, place: Place) -> Scan:
    local = _read(date, time, "$") if date else None
    if gmt_date and gmt_time:
        return Scan(code, local, _read(gmt_date, gmt_time, "$", "Z"), _UTC, place=place)
    return Scan(code, local, place=place)


def _read(date: Any, time: Any, where: str, zone: str = "") -> datetime:
    """Read YYYYMMDD and HHMMSS; the specification's own example drops a leading zero of the time."""
    try:
        if len(date) != 8:
            raise ValueError
        return datetime.fromisoformat(date + "T" + (time or "000000").zfill(6) + zone)
    except (TypeError, ValueError, AttributeError):
        raise BadPayload(where, f"has no date and time: {date!r:.20} {time!r:.20}") from None


def _day(date: Any, where: str) -> Edd:
    """Return the day as the widest span it can mean anywhere: UPS prints dates local to the destination."""
    day = _read(date, None, where, "Z")
    return Edd(day, day + timedelta(days=1))


def _estimate(package: dict[str, Any]) -> Edd | None:
    dates = {
        text(d.get("type")): d.get("date")
        for d in listing(package.get("deliveryDate"), "$.deliveryDate")
        if isinstance(d, dict)
    }
    day = dates.get("RDD") or dates.get("SDD")  # a rescheduled date beats the scheduled one
    if not day or dates.get("DEL"):
        return None
    return _day(day, "$.deliveryDate")
