"""UPS: Tracking API v1 (poll) and Track Alert v2 (push).

Contracts: github.com/UPS-API/api-documentation @ e6f36df (Tracking.yaml, OAuthClientCredentials.yaml,
UPSTrackAlert.yaml), read 2026-11. Codes: developer-portal appendix, `ups.csv`.

Two letters mean different things under different activity types, so the 3-digit status code leads; only without it the
pair (type, code) speaks. Type D is *not* "delivered". Freight has another 3-digit list (011 is out for delivery there
and delivered here): activities of the freight types DO, DD and W are looked up in it. A package's currentStatus is the
status at its head (Tracking.yaml, Package); its time is told for a delivery only (deliveryDate, deliveryTime: DEL).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload
from tracker.domain.facts import (
    NOWHERE,
    Code,
    Link,
    Meaning,
    Page,
    Parcels,
    Payload,
    Place,
    Proof,
    Query,
    Refs,
    Registered,
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import Precision, TrackingState, Trust, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import holding, raise_unless_json
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Secrets
from tracker.plugin.oauth import Tokens, ask_token, bearer
from tracker.plugin.payloads import (
    about,
    absent,
    decode,
    estimate,
    listing,
    mapping,
    number,
    piece,
    pieces,
    section,
    term,
    text,
    told,
    with_head,
)
from tracker.plugin.signatures import shared_secret

Reading = Callable[[Code], Meaning | None]
Names = tuple[str, str]  # where the local and the GMT date stand

_UTC, _iso = Zone.UTC, datetime.fromisoformat
_POLLED, _PUSHED = ("$.date", "$.gmtDate"), ("$.localActivityDate", "$.gmtActivityDate")
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
    response_keys = ("trackResponse",)
    codes = read_codes(__file__)
    default_zone = "America/New_York"
    token_lasts = timedelta(hours=4)  # OAuthClientCredentials.yaml: expires_in 14399
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

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read a Track answer or a Track Alert event."""
        body = decode(payload.body)
        unread: list[Unread] = []
        reports = _answer(body, unread, self.meaning) if "trackResponse" in body else [_alert(body, unread)]
        return told(reports, unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says, but a subscription refused for all its numbers (400) is an answer about each number.

        An error body (`response.errors`, Tracking.yaml) stays one when it comes with 200.
        """
        if response.status == 400 and b'"invalidTrackingNumbers"' in response.body:
            return
        raise_unless_json(response, errors=("response", "errors"))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /track/v1/details/{number}; one number a call."""
        assert isinstance(query, Parcels)
        for parcel in query.parcels:
            request = Request(
                "GET",
                f"{self.settings.base_url}/api/track/v1/details/{segment(clean(parcel.number))}",
                params={"locale": self.settings.locale},
                headers={"transId": uuid.uuid4().hex, "transactionSrc": "trackwright"},
            )
            yield Page((self._tokens.send(client, request, bearer).body,))

    def register(self, client: Client, query: Parcels | Refs) -> list[Registered]:
        """POST /track/v2/subscription/standard/package; up to 100 numbers, partial success is 200."""
        assert isinstance(query, Parcels)
        fit = [p.number for p in query.parcels if clean(p.number).startswith(ALERTABLE)]
        unfit = [p.number for p in query.parcels if p.number not in fit]
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
        response = self._tokens.send(client, request, bearer)
        body = decode(holding(response.body, "validTrackingNumbers", "invalidTrackingNumbers"))
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


def _answer(body: dict[str, Any], unread: list[Unread], meaning: Reading) -> list[Report]:
    response = mapping(body["trackResponse"], "$.trackResponse")
    if response.get("shipment") is None:  # it says nothing, which is not "no news"
        raise BadPayload("$.trackResponse.shipment", "is missing")
    shipments = pieces(response["shipment"], "$.trackResponse.shipment", _shipment, unread, meaning, lacks="all")
    return [report for of_one_shipment in shipments for report in of_one_shipment]


def _shipment(shipment: dict[str, Any], unread: list[Unread], meaning: Reading) -> list[Report]:
    inquiry, packages = shipment.get("inquiryNumber"), shipment.get("package")
    if absent(packages) or packages == []:
        # TW0001 "Tracking Information Not Found" comes as 200 (issues 102, 198); it can be false, so keep asking
        return [Report("ups", number(inquiry, "$.inquiryNumber"), tracking=TrackingState.NOT_FOUND)]
    alone = inquiry if isinstance(packages, list) and len(packages) == 1 else None
    return pieces(packages, "$.package", _package, unread, alone, meaning, lacks="all")


def _package(package: dict[str, Any], unread: list[Unread], inquiry: Any, meaning: Reading) -> Report:
    get = package.get
    mine = get("trackingNumber")
    mine = number(inquiry if absent(mine) else mine, "$.trackingNumber")
    scans: Sequence[Scan] = pieces(get("activity"), "$.activity", _activity, unread)
    whole = not unread  # a history that lacks a scan, or the time of one, withdraws none
    days: dict[str, datetime | None] = {}
    if (dates := get("deliveryDate")) is not None:
        days = dict(pieces(dates, "$.deliveryDate", _dated, unread))
    if (current := get("currentStatus")) is not None:
        time = _delivered(days.get("DEL"), get("deliveryTime"), unread)
        head = piece(current, "$.currentStatus", _head, unread, time, meaning)
        scans = with_head(scans, head, meaning) if head is not None else scans
    proof = None
    if (information := get("deliveryInformation")) is not None:
        stored_scan = section(information, "$.deliveryInformation", unread).get
        proof = Proof(
            signed=bool(stored_scan("signature") or stored_scan("receivedBy")), photo=bool(stored_scan("deliveryPhoto"))
        )
    day = days.get("RDD") or days.get("SDD")  # a rescheduled date beats the scheduled one
    edd = estimate(day) if day is not None and "DEL" not in days else None
    links: Sequence[Link] = ()
    if (others := get("alternateTrackingNumber")) is not None:
        links = [link for link in pieces(others, "$.alternateTrackingNumber", _link, unread) if link.number]
    if unread:
        about(mine, unread)
    return Report("ups", mine, tuple(scans), complete=whole, edd=edd, proof=proof, links=tuple(links))


def _link(other: dict[str, Any], unread: list[Unread]) -> Link:
    return Link(term(other.get("number"), "$.number", unread), None, "last_mile")


def _dated(entry: dict[str, Any], unread: list[Unread]) -> tuple[str, datetime | None]:
    return text(entry.get("type")), _read(entry.get("date"), None, "$.date", unread)


def _activity(activity: dict[str, Any], unread: list[Unread]) -> Scan:
    get = activity.get
    place = NOWHERE
    if isinstance(location := get("location"), dict) and isinstance(address := location.get("address"), dict):
        at = address.get
        place = Place(
            text(at("city")), text(at("stateProvince")), text(at("postalCode")),
            text(at("countryCode") or at("country")),
        )  # fmt: skip
    elif location is not None:
        section(section(location, "$.location", unread).get("address"), "$.location.address", unread)
    code = _code(get("status"), "statusCode", "$.status", unread)
    return _scan(code, place, get("date"), get("time"), get("gmtDate"), get("gmtTime"), _POLLED, unread)


def _delivered(day: datetime | None, time: Any, unread: list[Unread]) -> tuple[datetime | None, Precision]:
    """Read when the package was delivered: a day (deliveryDate, DEL), and its hour where deliveryTime is of type DEL."""
    when = section(time, "$.deliveryTime", unread).get
    if day is not None and text(when("type")) == "DEL":
        at = _read(f"{day:%Y%m%d}", when("endTime"), "$.deliveryTime.endTime", unread)
        if at is not None:
            return at, Precision.SECOND
    return day, Precision.DATE


def _head(
    current: dict[str, Any], unread: list[Unread], delivered: tuple[datetime | None, Precision], meaning: Reading
) -> Scan:
    """Read the status of a package. Its code may be the 3-digit one, and then stands where an activity has letters."""
    letters = text(current.get("code"))
    digits = "code" if len(letters) == 3 and letters.isdecimal() else "statusCode"
    code = _code(current, digits, "$", unread)
    says = meaning(code)
    if says is None or says.status is None or not says.status.terminal:
        return Scan(code)
    return Scan(code, delivered[0], precision=delivered[1])


def _alert(body: dict[str, Any], unread: list[Unread]) -> Report:
    get = body.get
    mine = number(get("trackingNumber"), "$.trackingNumber")
    if absent(get("activityStatus")):
        raise BadPayload("$.activityStatus", "is missing")
    location = section(get("activityLocation"), "$.activityLocation", unread).get
    place = Place(
        text(location("city")), text(location("stateProvince")), text(location("postalCode")),
        text(location("country")),
    )  # fmt: skip
    code = _code(get("activityStatus"), "descriptionCode", "$.activityStatus", unread)
    scan = _scan(
        code, place, get("localActivityDate"), get("localActivityTime"), get("gmtActivityDate"), get("gmtActivityTime"),
        _PUSHED, unread,
    )  # fmt: skip
    proof = Proof(signed=bool(text(get("receivedBy"))), photo=bool(get("deliveryPhoto")))
    day = _read(get("scheduledDeliveryDate"), None, "$.scheduledDeliveryDate", unread)
    edd = estimate(day) if day is not None and absent(get("actualDeliveryDate")) else None
    if unread:
        about(mine, unread)
    return Report("ups", mine, (scan,), edd=edd, proof=proof)


def _code(status: Any, digits: str, where: str, unread: list[Unread]) -> Code:
    """Take the 3-digit code, else type and letters; a scan without any is kept, as UNKNOWN."""
    get = (status if isinstance(status, dict) else section(status, where, unread)).get
    kind, said, three = text(get("type")), text(get("description")), get(digits)
    if three.__class__ is int:
        three = str(three)
    if three and three.__class__ is str:
        return Code(
            "freight" if kind in FREIGHT else "status",
            three if len(three) == 3 and three.isalnum() else text(three).zfill(3),
            said,
        )
    if not absent(three):
        unread.append(Unread(f"{where}.{digits}", f"must be three digits, is {three!r:.20}"))
    return Code(kind or "none", text(get("code")) or "missing", said)


def _scan(
    code: Code, place: Place, date: Any, time: Any, gmt_date: Any, gmt_time: Any, names: Names, unread: list[Unread]
) -> Scan:
    local = _read(date, time, names[0], unread)
    if gmt_date and gmt_time and (instant := _read(gmt_date, gmt_time, names[1], unread, "Z")) is not None:
        return Scan(code, local, instant, _UTC, place=place)
    return Scan(code, local, place=place)


def _read(date: Any, time: Any, where: str, unread: list[Unread], zone: str = "") -> datetime | None:
    """Read YYYYMMDD and HHMMSS; the specification's own example drops a leading zero of the time.

    None where there is no date, or where it cannot be read, which is told.
    """
    try:
        if len(date) != 8:
            raise ValueError
        at = _iso(date + "T" + (time or "000000").zfill(6) + zone)
        if 1 < at.year < 9999:
            return at
    except (TypeError, ValueError, AttributeError):
        if absent(date):
            return None
    unread.append(Unread(where, f"is no date and time: {date!r:.20} {time!r:.20}"))
    return None
