"""UPS: Tracking API v1 (poll) and Track Alert v2 (push).

Contracts: github.com/UPS-API/api-documentation @ e6f36df (Tracking.yaml, OAuthClientCredentials.yaml,
UPSTrackAlert.yaml), read 2026-11. Codes: developer-portal appendix, `ups.csv`.

Two letters mean different things under different activity types, so the 3-digit status code leads; only without it the
pair (type, code) speaks. Type D is *not* "delivered". Freight has another 3-digit list (011 is out for delivery there
and delivered here) and other exceptions, Mail Innovations another list of letters: which product a package is of, its
service says, an activity of the freight types DO, DD and W, or the number of a post (`product`). A package's
currentStatus is the status at its head (Tracking.yaml, Package); its time is told for a delivery only (deliveryDate,
deliveryTime: DEL). A number of type USPS_PIC is the post's own for the same parcel, which delivers it.

Track Alert is asked for by v2: v1 holds our address and credential in each request, v2 takes them from the portal; the
events are the same (UPSTrackAlert_v1.yaml). Quantum View is not read: it tells by whole accounts what both others tell.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound, Transient
from tracker.domain.facts import (
    NOWHERE,
    Code,
    Edd,
    Link,
    Page,
    Parcel,
    Parcels,
    Payload,
    Place,
    Proof,
    ProofDocument,
    Query,
    Refs,
    Registered,
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.timeline import zone_of
from tracker.domain.vocabulary import Precision, TrackingState, Trust, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import holding, not_html, raise_unless_json, said_by
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Secrets
from tracker.plugin.oauth import Tokens, ask_token, bearer, token_call
from tracker.plugin.payloads import (
    about,
    absent,
    decode,
    estimate,
    listing,
    located,
    mapping,
    number,
    objects,
    piece,
    pieces,
    section,
    term,
    text,
    told,
    with_head,
)
from tracker.plugin.proofs import read_document
from tracker.plugin.signatures import shared_secret

Names = tuple[str, str]  # where the local and the GMT date stand

_UTC, _iso = Zone.UTC, datetime.fromisoformat
_made = lru_cache(maxsize=4_000)(Code)  # a carrier says the same again and again
_POLLED, _PUSHED = ("$.date", "$.gmtDate"), ("$.localActivityDate", "$.gmtActivityDate")
FREIGHT: Final = frozenset({"DO", "DD", "W"})
_OF_FREIGHT: Final = FREIGHT | {"freight"}
SUBSCRIBED_FOR = timedelta(days=14)  # UPSTrackAlert.yaml: a subscription lives 14 days
_WINDOWS: Final = frozenset({"EDW", "CDW", "IDW"})  # Tracking.yaml, DeliveryTime: estimated, confirmed, imminent window
ALERTABLE = ("1Z", "1R")  # UPSTrackAlert.yaml, TrackingNumber pattern


class Settings(contracts.Settings):
    """One UPS client id. `base_url`: https://wwwcie.ups.com is the test environment (canned data).

    `mail_innovations` and `freight` are words in the description of a package's service, in small letters: the codes of
    such a package are read by the list of that product.
    """

    base_url: str = "https://onlinetools.ups.com"
    client_id: str
    client_secret: SecretStr
    merchant_id: str | None = None
    locale: str = "en_US"
    country: str = "US"
    webhook_header: str = "credential"
    webhook_secrets: Secrets = ()
    mail_innovations: tuple[str, ...] = ("mail innovations",)
    freight: tuple[str, ...] = ("ups freight", "ltl", "tforce")


class UPS(contracts.Carrier):
    """UPS parcels."""

    docs = "https://developer.ups.com/api/reference"
    unverified = (
        "which words of a service name Mail Innovations: `mail_innovations`",
        "which words of a service name freight: `freight`",
    )
    trust = Trust.SHARED  # Track Alert sends a stored credential; nothing covers the body
    asks = frozenset({Parcels})
    webhooks = True
    max_body = 8 << 20  # an event may hold the photo of a delivery (UPSTrackAlert.yaml, deliveryPhoto)
    registers = True
    register_batch = 100
    carriers = ("ups",)
    response_keys = ("trackResponse",)
    codes = read_codes(__file__)
    default_zone = "America/New_York"
    proves = True
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
        reports = _answer(body, unread, self) if "trackResponse" in body else [_alert(body, unread)]
        return told(reports, unread)

    def product(self, package: dict[str, Any], mine: str) -> str:
        """Return by which lists the codes of a package are read: `mi`, `freight`, or those of small packages (empty).

        The number of a post (20 to 34 digits) is no number of UPS's own: who tracks by it ships by Mail Innovations.
        """
        service = package.get("service")
        words = text(service.get("description")).lower() if isinstance(service, dict) else ""
        if any(word in words for word in self.settings.mail_innovations) or (len(mine) >= 20 and mine.isdecimal()):
            return "mi"
        return "freight" if any(word in words for word in self.settings.freight) else ""

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says, but a subscription refused for all its numbers (400) is an answer about each number.

        An error body (`response.errors`, Tracking.yaml) stays one when it comes with 200. A 404 without one is somebody else's.
        """
        if response.status == 404 and not said_by(response.body, ""):
            not_html(response)
            raise Transient("HTTP 404 without an error of UPS: is the `base_url` right?")
        if response.status == 400 and b'"invalidTrackingNumbers"' in response.body:
            return
        raise_unless_json(response, errors=("response", "errors"))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /track/v1/details/{number}; one number a call."""
        assert isinstance(query, Parcels)
        for parcel in query.parcels:
            yield Page((self._details(client, parcel.number, {}).body,))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """Ask for the number again, with what proves its delivery: the document, else the signature, else the photo.

        Tracking.yaml: returnPOD, returnSignature; both are base64, and left out for who has no rights to the package.
        """
        body = decode(self._details(client, parcel.number, {"returnPOD": "true", "returnSignature": "true"}).body)
        unread: list[Unread] = []
        shipments = objects(section(body.get("trackResponse"), "$.trackResponse", unread).get("shipment"))
        packages = [package for shipment in shipments for package in objects(shipment.get("package"))]
        mine = [one for one in packages if clean(text(one.get("trackingNumber"))) == clean(parcel.number)] or packages
        for package in mine[:1]:
            information = section(package.get("deliveryInformation"), "$.deliveryInformation", unread)
            for name, field in (("pod", "content"), ("signature", "image"), ("deliveryPhoto", "photo")):
                document = section(information.get(name), f"$.deliveryInformation.{name}", unread).get(field)
                if not absent(document):
                    return read_document(document, f"$.deliveryInformation.{name}.{field}")
        raise NotFound("the answer holds no document, no signature and no photo")

    def register(self, client: Client, query: Parcels | Refs) -> list[Registered]:
        """POST /track/v2/subscription/standard/package; up to 100 numbers, partial success is 200."""
        assert isinstance(query, Parcels)
        fit = [p.number for p in query.parcels if clean(p.number).startswith(ALERTABLE)]
        unfit = [p.number for p in query.parcels if p.number not in fit]
        registered = [Registered(n, refused="Track Alert takes 1Z and 1R numbers only") for n in unfit]
        if not fit:
            return registered
        asked = {
            "locale": self.settings.locale, "countryCode": self.settings.country,
            "trackingNumberList": [clean(n) for n in fit],
        }  # fmt: skip
        headers = {"transId": uuid.uuid4().hex, "transactionSrc": "trackwright", "Content-Type": "application/json"}
        url = f"{self.settings.base_url}/api/track/v2/subscription/standard/package"
        response = self._tokens.send(client, Request("POST", url, headers=headers, content=orjson.dumps(asked)), bearer)
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

    def _details(self, client: Client, number: str, more: dict[str, str | tuple[str, ...]]) -> Response:
        request = Request(
            "GET",
            f"{self.settings.base_url}/api/track/v1/details/{segment(clean(number))}",
            params={"locale": self.settings.locale, **more},
            headers={"transId": uuid.uuid4().hex, "transactionSrc": "trackwright"},
        )
        return self._tokens.send(client, request, bearer)

    def _grant(self, client: Client) -> Token:
        """POST /security/v1/oauth/token, Basic client_id:client_secret (OAuthClientCredentials.yaml)."""
        settings = self.settings
        url, form = f"{settings.base_url}/security/v1/oauth/token", {"grant_type": "client_credentials"}
        headers = {"x-merchant-id": settings.merchant_id} if settings.merchant_id else {}
        basic = (settings.client_id, settings.client_secret.get_secret_value())
        return ask_token(client, token_call(url, form, headers=headers, basic=basic))[0]


def _answer(body: dict[str, Any], unread: list[Unread], ups: UPS) -> list[Report]:
    response = mapping(body["trackResponse"], "$.trackResponse")
    if response.get("shipment") in (None, []):  # it says nothing, which is not "no news"
        raise BadPayload("$.trackResponse.shipment", "is missing")
    shipments = pieces(
        _listed(response["shipment"], "inquiryNumber"), "$.trackResponse.shipment", _shipment, unread, ups, lacks="all"
    )
    return [report for of_one_shipment in shipments for report in of_one_shipment]


def _shipment(shipment: dict[str, Any], unread: list[Unread], ups: UPS) -> list[Report]:
    inquiry, packages = shipment.get("inquiryNumber"), _listed(shipment.get("package"), "trackingNumber")
    if absent(packages) or packages == []:
        # TW0001 "Tracking Information Not Found" comes as 200 (issues 102, 198); it can be false, so keep asking
        warnings = [f"{text(w.get('code'))} {text(w.get('message'))}" for w in objects(shipment.get("warnings"))]
        mine = number(inquiry, "$.inquiryNumber")
        return [Report("ups", mine, tracking=TrackingState.NOT_FOUND, said=", ".join(warnings))]
    alone = inquiry if isinstance(packages, list) and len(packages) == 1 else None
    main = text(inquiry) if isinstance(packages, list) and len(packages) > 1 else ""
    reports = pieces(packages, "$.package", _package, unread, alone, main, ups, lacks="all")
    asked, lost = clean(text(inquiry)), any(one.lacks for one in unread)
    if reports and asked and not lost and asked not in {report.number for report in reports}:  # such as an InfoNotice
        unread.append(Unread("$.package", "tells of other numbers than the one that was asked about", asked))
    return reports


def _package(package: dict[str, Any], unread: list[Unread], inquiry: Any, main: str, ups: UPS) -> Report:
    get = package.get
    mine = get("trackingNumber")
    mine = number(inquiry if absent(mine) else mine, "$.trackingNumber")
    product = ups.product(package, mine)
    done = _listed(get("activity"), "status")
    before = len(unread)
    scans: Sequence[Scan] = pieces(done, "$.activity", _activity, unread, product)
    if not product and any(scan.code.space in _OF_FREIGHT for scan in scans):
        product = "freight"
        del unread[before:]
        scans = pieces(done, "$.activity", _activity, unread, product)
    whole = not unread  # a history that lacks a scan, or the time of one, withdraws none
    days: dict[str, datetime | None] = {}
    if (dates := get("deliveryDate")) is not None:
        days = dict(pieces(_listed(dates, "date"), "$.deliveryDate", _dated, unread))
    when = get("deliveryTime")
    if (current := get("currentStatus")) is not None and not _says_nothing(current):
        time = _delivered(days.get("DEL"), when, unread)
        head = piece(current, "$.currentStatus", _head, unread, time, ups, product)
        scans = with_head(scans, head, ups.meaning) if head is not None else scans
    proof = None
    if (information := get("deliveryInformation")) is not None:
        proof = _proof(section(information, "$.deliveryInformation", unread))
    day = days.get("RDD") or days.get("SDD")  # a rescheduled date beats the scheduled one
    edd = _estimate(day, when, get("packageAddress"), unread) if day is not None and "DEL" not in days else None
    links: list[Link] = []
    if (others := get("alternateTrackingNumber")) is not None:
        links = [
            link
            for link in pieces(_listed(others, "number"), "$.alternateTrackingNumber", _link, unread)
            if link.number
        ]
    if main and clean(main) != mine:
        links.append(Link(main, "ups", "main"))
    if unread:
        about(mine, unread)
    return Report("ups", mine, tuple(scans), complete=whole, edd=edd, proof=proof, links=tuple(links))


def _says_nothing(current: Any) -> bool:
    """Say whether the head is printed with nothing in it: empty texts are normal."""
    return isinstance(current, dict) and all(absent(current.get(key)) for key in ("type", "code", "statusCode"))


def _listed(value: Any, key: str) -> Any:
    """Return a list of the one object, known by a key, that is printed instead of it, and anything else as it is."""
    return [value] if isinstance(value, dict) and key in value else value


def _proof(information: dict[str, Any]) -> Proof:
    """Say what proves a delivery. A photo that is no capture, not viewable or not stored (Tracking.yaml: N, U) is none."""
    signature, photo = information.get("signature"), information.get("deliveryPhoto")
    seen = photo.get if isinstance(photo, dict) else {}.get
    captured = text(seen("photoCaptureInd")).upper() == "Y" and text(seen("photoDispositionCode")).upper() in ("", "V")
    return Proof(
        signed=bool(text(information.get("receivedBy")) or (isinstance(signature, dict) and signature.get("image"))),
        photo=bool(seen("photo")) or captured,
    )


def _estimate(day: datetime, time: Any, addresses: Any, unread: list[Unread]) -> Edd:
    """Read when a package is expected: a day, or the hours of it that deliveryTime tells, where one zone can be meant.

    Tracking.yaml: CMT is by an hour, EDW, CDW and IDW are windows, EOD is the end of the day. They are local there.
    """
    when = section(time, "$.deliveryTime", unread).get
    kind, ends = text(when("type")), when("endTime")
    windowed = kind in _WINDOWS and not absent(when("startTime"))
    if not (windowed or kind == "CMT") or absent(ends):
        return estimate(day)
    to = next((one for one in objects(addresses) if text(one.get("type")).upper() == "DESTINATION"), {})
    zone = zone_of(_place(to.get("address"), "countryCode"))
    date = f"{day:%Y%m%d}"
    begins = _read(date, when("startTime"), "$.deliveryTime.startTime", unread) if windowed else day
    end = _read(date, ends, "$.deliveryTime.endTime", unread)
    if zone is None or begins is None or end is None:
        return estimate(day)
    return estimate(begins.replace(tzinfo=zone).astimezone(UTC), end.replace(tzinfo=zone).astimezone(UTC))


def _link(other: dict[str, Any], unread: list[Unread]) -> Link:
    """Read an alternate number. Tracking.yaml: USPS_PIC is the post's own, "non-typed numbers are typically UPS"."""
    found, of = term(other.get("number"), "$.number", unread), text(other.get("type")).upper()
    if of.startswith("USPS"):
        return Link(found, "usps", "last_mile")
    return Link(found, None, "last_mile") if of else Link(found, "ups", "alternate")


def _dated(entry: dict[str, Any], unread: list[Unread]) -> tuple[str, datetime | None]:
    return text(entry.get("type")), _read(entry.get("date"), None, "$.date", unread)


def _place(address: Any, country: str) -> Place:
    if not isinstance(address, dict):
        return NOWHERE
    at = address.get
    told = at("city"), at("stateProvince"), at("postalCode"), at(country) or at("country")
    try:
        return located(*told)
    except TypeError:
        return located(*map(text, told))


def _activity(activity: dict[str, Any], unread: list[Unread], product: str) -> Scan:
    get = activity.get
    place = NOWHERE
    if isinstance(location := get("location"), dict) and isinstance(address := location.get("address"), dict):
        place = _place(address, "countryCode")
    elif location is not None:
        section(section(location, "$.location", unread).get("address"), "$.location.address", unread)
    code = _code(get("status"), "statusCode", "$.status", product, unread)
    return _scan(
        code, place, get("date"), get("time"), get("gmtDate"), get("gmtTime"), get("gmtOffset"), _POLLED, unread
    )


def _delivered(day: datetime | None, time: Any, unread: list[Unread]) -> tuple[datetime | None, Precision]:
    """Read when the package was delivered: a day (deliveryDate, DEL), and its hour where deliveryTime is of type DEL."""
    when = section(time, "$.deliveryTime", unread).get
    if day is not None and text(when("type")) == "DEL":
        at = _read(f"{day:%Y%m%d}", when("endTime"), "$.deliveryTime.endTime", unread)
        if at is not None:
            return at, Precision.SECOND
    return day, Precision.DATE


def _head(
    current: dict[str, Any], unread: list[Unread], delivered: tuple[datetime | None, Precision], ups: UPS, product: str
) -> Scan:
    """Read the status of a package. Its code may be the 3-digit one, and then stands where an activity has letters."""
    letters = text(current.get("code"))
    digits = "code" if len(letters) == 3 and letters.isdecimal() else "statusCode"
    code = _code(current, digits, "$", product, unread)
    says = ups.meaning(code)
    if says is None or says.status is None or not says.status.terminal:
        return Scan(code)
    return Scan(code, delivered[0], precision=delivered[1])


def _alert(body: dict[str, Any], unread: list[Unread]) -> Report:
    get = body.get
    mine = number(get("trackingNumber"), "$.trackingNumber")
    if absent(get("activityStatus")):
        raise BadPayload("$.activityStatus", "is missing")
    place = _place(section(get("activityLocation"), "$.activityLocation", unread), "country")
    code = _code(get("activityStatus"), "descriptionCode", "$.activityStatus", "", unread)
    scan = _scan(
        code, place, get("localActivityDate"), get("localActivityTime"), get("gmtActivityDate"), get("gmtActivityTime"),
        get("gmtOffset"), _PUSHED, unread,
    )  # fmt: skip
    proof = Proof(signed=bool(text(get("receivedBy"))), photo=bool(get("deliveryPhoto")))
    day = _read(get("scheduledDeliveryDate"), None, "$.scheduledDeliveryDate", unread)
    edd = estimate(day) if day is not None and absent(get("actualDeliveryDate")) else None
    other = term(get("alternateTrackingNumber"), "$.alternateTrackingNumber", unread)
    if unread:
        about(mine, unread)
    return Report("ups", mine, (scan,), edd=edd, proof=proof, links=(Link(other, "ups", "alternate"),) if other else ())


def _code(status: Any, digits: str, where: str, product: str, unread: list[Unread]) -> Code:
    """Take the 3-digit code, else type and letters, by the lists of its product; a scan without any is kept, as UNKNOWN."""
    get = (status if isinstance(status, dict) else section(status, where, unread)).get
    kind, three = text(get("type")).upper(), get(digits)
    if three.__class__ is int:
        three = str(three)
    if three and three.__class__ is str:
        three = three if len(three) == 3 and three.isalnum() else text(three).zfill(3)
        return _made(
            "freight" if product == "freight" or kind in FREIGHT else "status", three, text(get("description"))
        )
    if not absent(three):
        unread.append(Unread(f"{where}.{digits}", f"must be three digits, is {three!r:.20}"))
    letters, said = get("code"), text(get("description"))
    letters = str(letters) if letters.__class__ is int else text(letters).upper()
    if not letters:
        return _made(kind or "none", "missing", said)
    letters = letters.zfill(2)
    if product == "mi" and ("mi", letters) in UPS.codes:
        return _made("mi", letters, said)
    if product == "freight" and kind not in FREIGHT:
        return _made("freight_exception" if kind == "X" else kind or "none", letters, said)
    return _made(kind or "none", letters, said)


def _scan(
    code: Code, place: Place, date: Any, time: Any, gmt_date: Any, gmt_time: Any, offset: Any, names: Names,
    unread: list[Unread],
) -> Scan:  # fmt: skip
    """Place a scan in time: by the GMT fields, else by the local time and its offset, else the local time stays naive."""
    local = _read(date, time, names[0], unread)
    if gmt_date and gmt_time and (instant := _read(gmt_date, gmt_time, names[1], unread, "Z")) is not None:
        return Scan(code, local, instant, _UTC, place=place)
    if local is not None and time and offset and (shift := _offset(offset)) is not None:
        return Scan(code, local, (local - shift).replace(tzinfo=UTC), Zone.OFFSET, place=place)
    # a day without an hour is no midnight
    fine = Precision.DATE if local is not None and absent(time) else Precision.SECOND
    return Scan(code, local, precision=fine, place=place)


def _offset(value: Any) -> timedelta | None:
    """Read an offset: -05:00 of an answer, -04.00 of an event (always with a dot); None: it is none."""
    try:
        return _iso("2026-01-01T00:00:00" + value.replace(".", ":")).utcoffset()
    except (ValueError, AttributeError):
        return None


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
