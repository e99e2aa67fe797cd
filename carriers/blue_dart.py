"""Blue Dart (India): the waybill query of its API gateway, in JSON or XML, and its periodic push as news to be confirmed.

There is no contract of the carrier to read: developer.dhl.com names the product (Shipment Tracking, DHL eCommerce India) without its
pages. What stands here is what public code of others does and what answers look like that it prints, read 2026-11. So each address,
header, word and code is a setting with a default or a row of `blue_dart.csv`, and an end of a journey is believed only where the
scan's own words say so plainly: `DL` means closed, which lost and destroyed are too.

A code means nothing without its group (`S`, scans of hubs; `T`, statuses): S/002 is out for delivery, T/002 out of the delivery area.
A scan of the type `RT` travels back to the sender: what is delivered from then on is returned. It may do so under another waybill:
`NewWaybillNo` of the first names it, and its own `RefNo` is `074 - ` and the first, as recorded answers print them. Dates and times are printed apart, in
Indian time without an offset. An unknown waybill is left out of an answer in silence, so who was asked about is kept beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr

from tracker.domain.errors import BadPayload, CredentialsRejected, Transient
from tracker.domain.facts import (
    NOWHERE,
    Code,
    Edd,
    Link,
    Meaning,
    Page,
    Parcels,
    Payload,
    Place,
    Proof,
    Query,
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import Leg, Precision, Reason, ShippingStatus, TrackingState, Trust, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import begins_as_xml, holding, not_html, raise_by_status, said_by
from tracker.plugin.asked import ASKED, asked, beside, left_out
from tracker.plugin.calls import Client, Request, Response, Token
from tracker.plugin.codes import meant, read_codes
from tracker.plugin.contracts import Secrets
from tracker.plugin.oauth import Tokens, ask_token
from tracker.plugin.payloads import (
    about,
    absent,
    decode,
    estimate,
    mapping,
    number,
    optional,
    piece,
    pieces,
    section,
    several,
    term,
    text,
    told,
    with_head,
)
from tracker.plugin.signatures import shared_secret
from tracker.plugin.xml import decode_xml

S = ShippingStatus
_ZONE = ZoneInfo("Asia/Kolkata")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")  # fmt: skip
_DAY = re.compile(r"(\d{1,2})[- ]([A-Za-z]{3,9})[- ](\d{4})")
_DIGITS = re.compile(r"(\d{2})-(\d{2})-(\d{4})")  # a push prints the day first, as public receivers of it read
_CLOCK = re.compile(r"(\d{1,2}):?(\d{2})(?::(\d{2}))?")
_INDIAN = frozenset({"", "ist", "+05:30", "+0530", "gmt+5:30", "gmt+05:30", "asia/kolkata"})
_NEW_NUMBER = re.compile(r"(?<!\d)\d{8,11}(?!\d)")
_RETURN_OF = re.compile(r"074\s*-\s*\d{8,11}")  # RefNo of a waybill on which another goes back
_CONTINUES = {"027": "replaces", "132": "replaces", "123": "return"}  # T: goes on under a new waybill
# words with which no end is plain
_BUT = re.compile(r"\b(un|not|non|never|be|partial\w*|attempt\w*|fail\w*|wrong|locker|parcel ?shop|pick ?up point)\b")
_BACK = re.compile(
    r"\bdelivered\b.*\b(back|rto|shipper|sender|consignor|seller|origin|return\w*)\b"
    r"|\breturned to (the )?(shipper|sender|consignor|seller)\b"
)
_PLAIN = {  # the first that fits
    S.RETURNED: _BACK, S.DELIVERED: re.compile(r"\bdelivered\b"), S.LOST: re.compile(r"\blost\b"),
    S.DESTROYED: re.compile(r"\bdestroyed\b"), S.CANCELLED: re.compile(r"\bcancell?ed\b"),
}  # fmt: skip
_ENDS = frozenset({S.DELIVERED, S.RETURNED, S.CANCELLED, S.LOST, S.DESTROYED})  # an estimate is of others
_REASONS = {
    S.RETURNED: Reason.RECEIVED_BY_SENDER,
    S.DELIVERED: Reason.DELIVERED,
    S.LOST: Reason.LOST,
    S.DESTROYED: Reason.DESTROYED,
}
NOBODYS = "00000000000"


class Settings(contracts.Settings):
    """One customer of Blue Dart: the application's `client_id` and `client_secret`, and the `login_id` with the `licence_key` of tracking.

    The licence key of tracking may be another than that of shipping. Everything below is unverified, as third parties do it.
    `base_url`: https://apigateway-sandbox.bluedart.com/in/transportation is the sandbox; https://api.bluedart.com with `tracking_path`
    /servlet/RoutingServlet and no `client_id` is the older query, which needs no token. `tracking_path`: others use
    /tracking/v1/shipment. `token_path`, `client_id_header`, `client_secret_header`, `token_header` (also what the answer calls the
    token) and `token_hours`: how a token is asked for, goes into calls, and how long it is used. `verno` (also 1.3), `format` and
    `numbers_per_call` (25 or 50, by whom one asks) are parameters of the query. `unknown_words`: what an answer says of a waybill that
    is not known yet, `refused_words`: of a licence or login that is wrong. Push: whoever holds `webhook_secrets` in the header
    `webhook_header` is heard; its chapter on security is not public.
    """

    base_url: str = "https://apigateway.bluedart.com/in/transportation"
    client_id: str = ""
    client_secret: SecretStr | None = None
    login_id: str
    licence_key: SecretStr
    token_path: str = "/token/v1/login"
    client_id_header: str = "ClientID"
    client_secret_header: str = "clientSecret"
    token_header: str = "JWTToken"
    token_hours: int = Field(12, ge=1, le=720)
    tracking_path: str = "/tracking/v1"
    verno: str = "1"
    format: Literal["json", "xml"] = "json"
    numbers_per_call: int = Field(25, ge=1, le=50)
    unknown_words: tuple[str, ...] = ("incorrect waybill", "no information")
    refused_words: tuple[str, ...] = ("licen", "login", "unauthori", "not authori")
    webhook_header: str = "Authorization"
    webhook_secrets: Secrets = ()


class BlueDart(contracts.Carrier):
    """Blue Dart parcels."""

    docs = "https://developer.dhl.com/api-reference/bd-tracking-shipment"
    unverified = (
        "every address, header and parameter: `base_url`, `token_path`, `client_id_header`, `client_secret_header`, `token_header`,"
        " `token_hours`, `tracking_path`, `verno`, `format`, `numbers_per_call`",
        "what it says of unknown waybills and wrong keys: `unknown_words`, `refused_words`",
        "how its push is proved: `webhook_header`",
        "all its codes, which third parties list: none ends a journey unless the scan's words do",
        "that every scan is printed in Indian time, and a date of digits with the day first",
    )
    trust = Trust.SHARED
    asks = frozenset({Parcels})
    webhooks = True
    carriers = ("bluedart",)
    response_keys = ("ShipmentData", ASKED)
    batch = 25
    max_body = 8 << 20  # a push may hold the image of a proof of delivery
    codes = read_codes(__file__)
    default_zone = "Asia/Kolkata"
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account: how many numbers a call takes is its own, and whether it needs a token."""
        super().__init__(account, settings)
        self.batch = self.settings.numbers_per_call
        self.token_lasts = timedelta(hours=self.settings.token_hours) if self.settings.client_id else None
        self._tokens = Tokens(self._grant)

    def verify(self, payload: Payload) -> int:
        """Check the header that was agreed upon: it says who speaks, and proves nothing of what is said."""
        name = self.settings.webhook_header.lower()
        return shared_secret(self.settings.webhook_secrets, payload.headers.get(name), name=name)

    def meaning(self, code: Code) -> Meaning | None:
        """Read a code in its group, else the exact words of a scan, else its type. None of it ends a journey but by plain words."""
        return _read(code)

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer in JSON or XML, or a push. Of the numbers that were asked about, those that are left out are not known."""
        unread: list[Unread] = []
        body, unknown = _decoded(payload.body), self.settings.unknown_words
        if "statustracking" in body:
            return told(_wrapped(several(body["statustracking"]), "$.statustracking", unread, unknown), unread)
        data = body.get("ShipmentData")
        if data is None:  # it says nothing, which is not "no news"
            raise BadPayload("$.ShipmentData", "is missing")
        if data.__class__ is list:
            found = _wrapped(data, "$.ShipmentData", unread, unknown)
            error = ""
        else:
            data = {} if absent(data) else mapping(data, "$.ShipmentData")
            found = pieces(
                several(data.get("Shipment")), "$.ShipmentData.Shipment", _shipment, unread, unknown, lacks="all"
            )
            error = text(data.get("Error"))
            if data and "Shipment" not in data and "Error" not in data:
                raise BadPayload("$.ShipmentData.Shipment", "is missing")
        mine = asked(payload)
        if len(mine) == 1 and len(found) > 1:  # a second waybill, of one who asked for one, is that of the way back
            back = tuple(Link(one.number, "bluedart", "return") for one in found if one.number != mine[0])
            found = [_linked(one, back) if one.number == mine[0] else one for one in found]
        rest = left_out(payload, found, unread)
        found += [Report("bluedart", one, tracking=TrackingState.NOT_FOUND, said=error) for one in rest]
        if not found and not unread:
            if error and any(words in error.casefold() for words in unknown):
                return ()
            raise BadPayload("$.ShipmentData", error or "is empty")
        return told(found, unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says, in the carrier's words; an error in the answer's own shape comes with 200 (`ShipmentData.Error`)."""
        not_html(response)
        if response.status in (401, 403):
            raise CredentialsRejected(f"Blue Dart: HTTP {response.status}: {said_by(response.body)}")
        if response.status == 404:  # an unknown waybill is left out of an answer
            raise Transient("Blue Dart: HTTP 404: nothing answers there (`base_url`, `token_path`, `tracking_path`)")
        raise_by_status(response)
        error = _error(response.body)
        if error and not any(words in error.casefold() for words in self.settings.unknown_words):
            if any(words in error.casefold() for words in self.settings.refused_words):
                hint = "is `licence_key` that of tracking, and `verno` the one that it was made for?"
                raise CredentialsRejected(f"Blue Dart: {error} ({hint})")
            raise Transient(f"HTTP {response.status} with an error: {error}")

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET the waybill query with all scans; who was asked about is kept beside the answer."""
        assert isinstance(query, Parcels)
        numbers = [one for parcel in query.parcels if (one := clean(parcel.number)) and "," not in one]
        for start in range(0, len(numbers), self.batch):
            some = numbers[start : start + self.batch]
            yield Page((self._query(client, some).body, beside(some)))

    def ping(self, client: Client) -> None:
        """Ask about a waybill that nobody has: that it is not known, in the answer's own shape, proves login, licence and token."""
        if self.settings.client_id:
            self._grant(client)
        holding(self._query(client, [NOBODYS]).body or b"{}", "ShipmentData")

    def _query(self, client: Client, numbers: Sequence[str]) -> Response:
        settings = self.settings
        params = {
            "handler": "tnt", "action": "custawbquery", "loginid": settings.login_id, "awb": "awb", "numbers": ",".join(numbers),
            "format": settings.format, "lickey": settings.licence_key.get_secret_value(), "verno": settings.verno, "scan": "1",
        }  # fmt: skip
        request = Request("GET", f"{settings.base_url}{settings.tracking_path}", params)
        if not settings.client_id:
            return client.send(request)
        return self._tokens.send(client, request, lambda token: {settings.token_header: token})

    def _grant(self, client: Client) -> Token:
        """GET the token with the application's id and secret in headers."""
        settings = self.settings
        if settings.client_secret is None:
            raise CredentialsRejected("client_secret is missing: a token is asked for with both")
        headers = {
            settings.client_id_header: settings.client_id,
            settings.client_secret_header: settings.client_secret.get_secret_value(),
        }
        request = Request("GET", f"{settings.base_url}{settings.token_path}", headers=headers)
        token, _ = ask_token(client, request, named=settings.token_header)
        return Token(token.value, token.ends_at or client.now() + timedelta(hours=settings.token_hours))


@lru_cache(maxsize=4_000)
def _meaning(group: str, code: str, words: str) -> Meaning | None:
    get = BlueDart.codes.get
    said = get(("wording", words))
    says = (said or get((group, code))) if group == "type" else (get((group, code)) or said)
    closed = says is None and (group, code) == ("type", "DL")
    if not closed and (says is None or says.status not in _ENDS):
        return says
    plainly = None if _BUT.search(words) else next((end for end, form in _PLAIN.items() if form.search(words)), None)
    if plainly is not None:
        return says if says is not None and says.status is plainly else meant(plainly, _REASONS.get(plainly))
    if says is None or (
        says.status is not S.LOST and says.status is not S.DESTROYED and says.reason is not Reason.DAMAGED
    ):
        return None  # counted and seen: a person says what it means
    return replace(says, status=S.EXCEPTION)


def _decoded(body: bytes) -> dict[str, Any]:
    return decode_xml(body, "WaybillNo", "RefNo", rows="ScanDetail") if begins_as_xml(body) else decode(body)


def _error(body: bytes) -> str:
    """Return what an answer says instead of telling of any shipment; empty for any other."""
    if b"Error" not in body or b"WaybillNo" in body:
        return ""
    try:
        data = _decoded(body).get("ShipmentData")
    except BadPayload:
        return ""  # it is stored, and told by the parser
    return text(data.get("Error")) if isinstance(data, dict) else ""


def _linked(report: Report, more: Sequence[Link]) -> Report:
    known = {link.number for link in report.links}
    return replace(report, links=report.links + tuple(link for link in more if link.number not in known))


def _wrapped(listed: Any, where: str, unread: list[Unread], unknown: Sequence[str]) -> list[Report]:
    """Read a list of objects of which each holds its shipment under that name."""
    found = pieces(listed, where, _inner, unread, unknown, lacks="all")
    return [report for report in found if report is not None]


def _inner(item: dict[str, Any], unread: list[Unread], unknown: Sequence[str]) -> Report | None:
    return piece(item.get("Shipment"), "$.Shipment", _shipment, unread, unknown, lacks="all")


def _shipment(item: dict[str, Any], unread: list[Unread], unknown: Sequence[str]) -> Report:
    get = item.get
    mine = number(get("WaybillNo") or get("@WaybillNo"), "$.WaybillNo")
    where, details, holder = _details(get("Scans"), unread)
    scans: Sequence[Scan] = pieces(details, where, _scan, unread)
    returns = _RETURN_OF.fullmatch(text(get("RefNo") or get("@RefNo"))) is not None
    words, kind = text(get("Status")), term(get("StatusType"), "$.StatusType", unread).upper()
    said = words.casefold()
    if not scans and not unread and (not words or any(known in said for known in unknown)):
        return Report("bluedart", mine, tracking=TrackingState.NOT_FOUND, said=words)
    if (words or kind) and not any(scan.code.text.casefold() == said for scan in scans):
        at = _when(get("StatusDate"), get("StatusTime"), "$.StatusDate", unread)
        head = Scan(Code("type", kind[:20] or "missing", words), *at, leg=_leg(kind))
        scans = with_head(scans, head, _read) or [head]  # what is told alone is kept, though it moves nothing
    if returns:
        scans = [replace(scan, leg=Leg.RETURN_TO_SENDER) for scan in scans]
    given = section(holder.get("DeliveryDetails"), "$.Scans.DeliveryDetails", unread)
    received = text(get("ReceivedBy")) or text(given.get("ReceivedBy"))
    image = text(section(holder.get("PODDCImages"), "$.Scans.PODDCImages", unread).get("PODImage"))
    expected, edd, proof = get("ExpectedDeliveryDate"), None, None
    if expected or received or image:
        over = {says.status for scan in scans if (says := _read(scan.code)) is not None}
        back = S.RETURNING in over or any(scan.leg is not None for scan in scans)
        if not back and not over & _ENDS:
            edd = _day(expected, unread)
        if not back and S.DELIVERED in over and (received or image):
            proof = Proof(signed=bool(received), photo=bool(image))
    links = [link for scan in scans if scan.code.code in _CONTINUES for link in _links(scan, mine)]
    new = optional(number, get("NewWaybillNo"), "$.NewWaybillNo", unread)
    if new is not None and new != mine and all(new != link.number for link in links):
        links.append(Link(new, "bluedart", "return" if any(scan.leg is not None for scan in scans) else "replaces"))
    if unread:
        about(mine, unread)
    return Report("bluedart", mine, tuple(scans), edd=edd, proof=proof, links=tuple(links))


def _read(code: Code) -> Meaning | None:
    return _meaning(code.space, code.code, code.text.casefold())


def _details(scans: Any, unread: list[Unread]) -> tuple[str, Any, Mapping[str, Any]]:
    """Return the scans, where they stand, and what stands beside them: `Scans` is a list of them, or an object that has one."""
    if scans.__class__ is list:
        inner = [one.get("ScanDetail") if one.__class__ is dict else one for one in scans]
        if list in map(type, inner):
            inner = [each for one in inner for each in (one if one.__class__ is list else [one])]
        return "$.Scans", inner, {}
    holder = section(scans, "$.Scans", unread)
    if holder and "ScanDetail" not in holder:
        unread.append(Unread("$.Scans.ScanDetail", "is missing"))
    return "$.Scans.ScanDetail", several(holder.get("ScanDetail")), holder


def _scan(detail: dict[str, Any], unread: list[Unread]) -> Scan:
    get = detail.get
    kind, group, code, words, spot = (
        get("ScanType"), get("ScanGroupType"), get("ScanCode"), get("Scan"), get("ScannedLocation"),
    )  # fmt: skip
    if not kind and not code and not words:
        raise BadPayload("$", "is no scan: it has neither Scan nor ScanCode nor ScanType")
    try:
        told_so, place, leg = _code(kind, group, code, words, spot)
    except TypeError:  # slowly, with what is no text
        if isinstance(code, int) and not isinstance(code, bool):
            code = str(code)
        names = ("ScanType", "ScanGroupType", "ScanCode", "Scan", "ScannedLocation")
        values = (kind, group, code, words, spot)
        told_so, place, leg = _code(*(term(v, f"$.{n}", unread) for n, v in zip(names, values, strict=True)))
    zone = get("StatusTimeZone")
    if zone and text(zone).casefold() not in _INDIAN:
        unread.append(Unread("$.StatusTimeZone", f"is {text(zone)!r:.40}, and no known name of Indian time"))
    local, instant, how, precision = _when(get("ScanDate"), get("ScanTime"), "$.ScanDate", unread)
    return Scan(told_so, local, instant, how, precision, place, None, leg)


@lru_cache(maxsize=4_000)  # scans of all parcels say the same few hundred things
def _code(kind: Any, group: Any, code: Any, words: Any, spot: Any) -> tuple[Code, Place, Leg | None]:
    """Return the code of a scan in its group (three digits), its place and its leg. Raises TypeError for what is no text."""
    for one in (kind, group, code, words, spot):
        if one is not None and one.__class__ is not str:
            raise TypeError
    kind, group, code = text(kind).upper()[:20], text(group).upper()[:20], text(code)[:40]
    place = Place(text(spot), country="IN") if text(spot) else NOWHERE
    if not code:
        return Code("type", kind or "missing", text(words)), place, _leg(kind)
    printed = code.zfill(3) if code.isdecimal() else code.upper()
    return Code(group or "none", printed, text(words)), place, _leg(kind)


def _leg(kind: str) -> Leg | None:
    return Leg.RETURN_TO_SENDER if kind == "RT" else None


def _links(scan: Scan, mine: str) -> list[Link]:
    """Read the new waybill out of the words of a scan that says that the parcel goes on under one."""
    relation, found = _CONTINUES[scan.code.code], _NEW_NUMBER.findall(scan.code.text)
    return [Link(other, "bluedart", relation) for other in found if other != mine and scan.code.space == "T"]


def _when(
    day: Any, hour: Any, where: str, unread: list[Unread]
) -> tuple[datetime | None, datetime | None, Zone, Precision]:
    """Read a date and a time that are printed apart. A time that cannot be read leaves the day; a date, nothing."""
    try:
        return _moment(day, hour)
    except (ValueError, TypeError):
        pass
    if absent(day):
        return None, None, Zone.UNKNOWN, Precision.SECOND
    try:
        found = _moment(day, None)
    except (ValueError, TypeError):
        unread.append(Unread(where, f"is no date such as 07-Jun-2026: {day!r:.40}"))
        return None, None, Zone.UNKNOWN, Precision.SECOND
    unread.append(Unread(where.replace("Date", "Time"), f"is no time such as 13:05: {hour!r:.40}"))
    return found


@lru_cache(maxsize=4_000)
def _moment(day: Any, hour: Any) -> tuple[datetime, None, Zone, Precision]:
    """Read `07-Jun-2026`, `07 June 2026` or `07-06-2026`, and `13:05`, `13:05:09` or 1305. Raises ValueError and TypeError."""
    at = _date(day.strip()) if day.__class__ is str else None
    if at is None or not 1 < at.year < 9999:  # beside India's zone these are outside of what a clock can say
        raise ValueError
    if absent(hour):
        return datetime.combine(at, clock_time()), None, Zone.UNKNOWN, Precision.DATE
    if hour.__class__ is int and hour >= 0:  # a number has lost its zeros
        hour = f"{hour:04}"
    found = _CLOCK.fullmatch(hour.strip()) if hour.__class__ is str else None
    if found is None:
        raise ValueError
    seconds = found[3]
    told = clock_time(int(found[1]), int(found[2]), int(seconds or 0))
    return datetime.combine(at, told), None, Zone.UNKNOWN, Precision.SECOND if seconds else Precision.MINUTE


def _date(printed: str) -> date | None:
    found = _DAY.fullmatch(printed)
    if found is None:
        if (digits := _DIGITS.fullmatch(printed)) is not None:
            printed = f"{digits[3]}-{digits[2]}-{digits[1]}"
        return date.fromisoformat(printed) if len(printed) == 10 else None
    name = found[2].casefold()
    month = next((i for i, known in enumerate(_MONTHS, start=1) if name in (known, known[:3])), 0)
    return date(int(found[3]), month, int(found[1]))  # month 0: ValueError


def _day(value: Any, unread: list[Unread]) -> Edd | None:
    """Read the expected day, as a whole day of India."""
    local = _when(value, None, "$.ExpectedDeliveryDate", unread)[0]
    return None if local is None else estimate(local.replace(tzinfo=_ZONE))
