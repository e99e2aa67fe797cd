"""DHL Parcel DE Tracking (Post & Parcel Germany), the query for business customers (polls).

Requests, attributes and limits: developer.dhl.com, "DHL Parcel DE Shipment Tracking" (the specification in the portal holds a
placeholder only), and what its sandbox answers, as public libraries print both; codes: TTpro standard event codes and DHL's ICE x RIC
combinations (July 2024), `dhl_parcel_de.csv`; all read 2026-11. What only others tell is a setting, or stands in `unverified`.

The standard event code is what Unified prints too, so both tell of one scan; ICE and RIC beside it say why, or that the scan
ends otherwise (a parcel that was destroyed has the code of a delivery): then it is a scan of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Transient
from tracker.domain.facts import (
    Code,
    Edd,
    Meaning,
    Page,
    Parcel,
    Parcels,
    Payload,
    Place,
    ProofDocument,
    Query,
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import Leg, Precision, ShippingStatus, TrackingState, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import in_own_words, not_html, raise_by_status
from tracker.plugin.asked import ASKED, beside, left_out
from tracker.plugin.calls import Client, Request, Response
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits
from tracker.plugin.countries import alpha2, named
from tracker.plugin.payloads import (
    MOST_TEXT,
    about,
    absent,
    estimate,
    mapping,
    moment,
    number,
    optional,
    piece,
    pieces,
    printed,
    text,
    told,
    with_head,
)
from tracker.plugin.proofs import bytes_document
from tracker.plugin.xml import decode_xml, many, print_xml

MARK = "parcel-de"  # the division, as Unified prints it; the space of the standard codes too
_ATTRIBUTES = (
    "name", "code", "error", "error-status", "piece-code", "searched-piece-code", "delivery-event-flag", "delivery-date", "status",
    "status-timestamp", "event-timestamp", "event-status", "event-text", "event-location", "event-country", "standard-event-code",
    "ice", "ric", "ruecksendung",
)  # fmt: skip
_ROOT = re.compile(rb"<data(?=\s)[^>]{0,300}?\scode\s{0,9}=\s{0,9}[\"']0{0,9}[\"']")
_ICE = re.compile(r"\(([A-Z0-9]{1,9}/[A-Z0-9]{1,9})\)$")
_GERMAN = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
_BERLIN = ZoneInfo("Europe/Berlin")
_ENDS = frozenset({*(one for one in ShippingStatus if one.terminal), ShippingStatus.RETURNING})
_MINUTE, _UNKNOWN, _iso = Precision.MINUTE, Zone.UNKNOWN, datetime.fromisoformat


class Settings(contracts.Settings):
    """One application of the developer portal, and the user that it asks for.

    `api_key` and `api_secret` are the application's; `appname` and `password` the user's, who may see the shipments (of the
    Business Customer Portal, or a `zt...` of DHL). `base_url`: https://api-sandbox.dhl.com/parcel/de/tracking/v0 answers a few numbers.
    `unknown_codes`: what says that nothing is known of a number: 100 is what others see. `refused_words`: what the
    error of a query says where its user is refused. `language` is that of the texts.
    `calls_per_day`: others report 1000, for 10,000 numbers, and 3 a second.
    """

    base_url: str = "https://api-eu.dhl.com/parcel/de/tracking/v0"
    api_key: SecretStr
    api_secret: SecretStr
    appname: str
    password: SecretStr
    language: Literal["de", "en"] = "en"
    unknown_codes: tuple[str, ...] = ("100",)
    refused_words: tuple[str, ...] = (
        "login",
        "log-in",
        "passwor",
        "anmeld",
        "authori",
        "autoris",
        "berechtig",
        "kennung",
    )
    calls_per_day: int = Field(1000, ge=1)


class DHLParcelDE(contracts.Carrier):
    """DHL parcels of Germany."""

    docs = "https://developer.dhl.com/api-reference/dhl-parcel-de-shipment-tracking-post-parcel-germany"
    unverified = (
        "how many calls a day are allowed: `calls_per_day`",
        "which error codes say that nothing is known of a number: `unknown_codes`",
        "in which words the user of a query is refused: `refused_words`",
    )
    asks = frozenset({Parcels})
    batch = 20
    proves = True
    carriers = ("dhl",)
    shapes = re.compile(r"\d{12,20}|JJD[A-Z0-9]{8,30}|[A-Z]{2}\d{9}DE", re.ASCII)
    response_keys = ("data", ASKED)
    codes = read_codes(__file__)
    default_zone = "Europe/Berlin"
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account: its user may make as many calls a day as its settings say."""
        super().__init__(account, settings)
        self.limits = Limits(self.settings.calls_per_day, timedelta(days=1))

    def meaning(self, code: Code) -> Meaning | None:
        """Look up ICE and RIC, which the text of a standard code ends with, else the standard code."""
        return _meaning(code.space, code.code, code.text)

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer of d-get-piece-detail: a report a piece."""
        root = mapping(decode_xml(payload.body, *_ATTRIBUTES, rows="data").get("data"), "$.data")
        if root.get("data") is None:  # it says nothing, which is not "no news"
            raise BadPayload("$.data.data", "is missing")
        unread: list[Unread] = []
        found = pieces(many(root["data"]), "$.data.data", self._piece, unread, lacks="all")
        found += [Report("dhl", one, tracking=TrackingState.NOT_FOUND) for one in left_out(payload, found, unread)]
        return told(found, unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; then as the code at the root says, which comes with 200."""
        not_html(response)
        raise_by_status(response)
        if _ROOT.search(response.body[:2000]):
            return
        try:
            root = mapping(decode_xml(response.body, *_ATTRIBUTES).get("data"), "$.data")
        except BadPayload:
            raise Transient(f"HTTP {response.status} with something that is no answer of this interface") from None
        code, said = text(root.get("@code")), text(root.get("@error"))
        if code.strip("0") and code in self.settings.unknown_codes:
            raise NotFound(f"code {code}: {said}")
        if any(words in said.casefold() for words in self.settings.refused_words):
            raise CredentialsRejected(f"code {code}: {said}"[:200])
        if code.strip("0") or root.get("data") is None:
            raise Transient(
                f"HTTP {response.status} with an error: {code or 'no code'}: {said or 'no reason given'}"[:300]
            )

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /shipments?xml=...: the query is an XML document in the address, 20 numbers in it at most."""
        assert isinstance(query, Parcels)
        numbers = list(dict.fromkeys(filter(None, (clean(parcel.number) for parcel in query.parcels))))
        for start in range(0, len(numbers), self.batch):
            some = numbers[start : start + self.batch]
            yield Page((client.send(self._ask("d-get-piece-detail", some)).body, beside(some)))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """Fetch the image of the signature (d-get-signature): hexadecimal digits in an attribute."""
        answer = client.send(self._ask("d-get-signature", [parcel.number])).body
        image = _image(decode_xml(answer, "image"))
        if not image:
            raise NotFound("DHL has no signature of this delivery, or none yet")
        try:
            content = bytes.fromhex(image)
        except ValueError:
            raise BadPayload("$.data.data.@image", "holds no hexadecimal digits") from None
        return bytes_document(content, "$.data.data.@image")

    def ping(self, client: Client) -> None:
        """Ask about a number that nobody has: that the interface itself does not know it proves all four words."""
        try:
            client.send(self._ask("d-get-piece-detail", ["00340434000000000000"]))
        except NotFound as error:
            in_own_words(error, "DHL")

    def _ask(self, what: str, numbers: Sequence[str]) -> Request:
        settings = self.settings
        asked = {
            "@appname": settings.appname, "@language-code": settings.language, "@password": settings.password.get_secret_value(),
            # a `;` stands between numbers: one in a number would ask about two others
            "@piece-code": ";".join(one.replace(";", "_") for one in numbers), "@request": what,
        }  # fmt: skip
        basic = (settings.api_key.get_secret_value(), settings.api_secret.get_secret_value())
        document = f'<?xml version="1.0" encoding="UTF-8" standalone="no"?>{print_xml({"data": asked})}'
        return Request("GET", f"{settings.base_url}/shipments", params={"xml": document}, basic=basic)

    def _piece(self, shipment: dict[str, Any], unread: list[Unread]) -> Report:
        get = shipment.get
        asked, error = get("@searched-piece-code"), text(get("@error-status"))
        mine = number(get("@piece-code") if absent(asked) else asked, "$.@piece-code")
        events = _events(get("data"), unread)
        failed, whole, back = error.strip("0") != "", bool(events) and not unread, get("@ruecksendung")
        if failed and not events and not unread:
            state = TrackingState.NOT_FOUND if error in self.settings.unknown_codes else TrackingState.ERROR
            said = ": ".join(filter(None, (error, text(get("@status")))))
            return Report("dhl", mine, tracking=state, said=said)  # of which division it is nobody knows
        if failed:
            unread.append(Unread("$.@error-status", f"says {error[:40]!r} beside events"))
        scans: Sequence[Scan] = [scan if own == "false" else _directed(scan, own or back) for scan, own in events]
        head = {**shipment, "@event-timestamp": get("@status-timestamp"), "@event-status": get("@status")}
        if not (absent(get("@standard-event-code")) and absent(get("@ice"))):
            newest = piece(head, "$", _event, unread)
            scans = with_head(scans, _directed(newest[0], back), self.meaning) if newest is not None else scans
        over = text(get("@delivery-event-flag")) == "1"  # then it is the day on which it was delivered
        edd = optional(_day, None if over else get("@delivery-date"), "$.@delivery-date", unread)
        if unread:
            about(mine, unread)
        return Report("dhl", mine, tuple(scans), complete=whole, edd=edd, piece=MARK)


def _image(value: Any) -> str:
    """Return the first image in an answer, however deep."""
    if isinstance(value, list):
        return next(filter(None, map(_image, value)), "")
    if not isinstance(value, dict):
        return ""
    mine = value.get("@image")
    return mine if isinstance(mine, str) and mine else _image(list(value.values()))


@lru_cache(maxsize=5_000)
def _meaning(space: str, code: str, said: str) -> Meaning | None:
    codes = DHLParcelDE.codes
    if space == MARK and (found := _ICE.search(said)):
        finer = codes.get(("ice", f"{found[1]}/{code}"))
        return finer if finer is not None else codes.get((space, code))
    return codes.get((space, code))


def _events(value: Any, unread: list[Unread]) -> list[tuple[Scan, str]]:
    """Read the events of a piece: they stand in a list, which some answers leave out."""
    events: list[Any] = []
    for child in many(value):
        if isinstance(child, dict) and "@event-timestamp" not in child and "@standard-event-code" not in child:
            events += many(child.get("data"))
        elif not absent(child):
            events.append(child)
    return pieces(events, "$.data.data", _event, unread)


def _event(event: dict[str, Any], unread: list[Unread]) -> tuple[Scan, str]:
    """Read an event, and whether it says that it was on the way back."""
    get = event.get
    standard, ice, ric = get("@standard-event-code", ""), get("@ice", ""), get("@ric", "")
    said, at = get("@event-status") or get("@event-text", ""), get("@event-timestamp")
    if not (standard or ice or at):
        raise BadPayload("$.@event-timestamp", "is missing, and so is its code")
    city, country = get("@event-location", ""), get("@event-country", "")
    if len(standard) + len(ice) + len(ric) + len(said) + len(city) + len(country) >= MOST_TEXT:
        standard, ice, ric, said = (
            standard[:100],
            ice[:9],
            ric[:9],
            text(said)[:200],
        )  # very long texts stay out of the caches
        city, country = text(city)[:200], text(country)[:200]
    local, instant, zone, precision = _german(at) if at and len(at) < 20 else None, None, _UNKNOWN, _MINUTE
    if local is None:
        local, instant, zone, precision = _printed(at, unread)
    back = get("@ruecksendung", "")
    return Scan(_code(standard, ice, ric, said), local, instant, zone, precision, _place(city, country)), back


@lru_cache(maxsize=5_000)  # events of all parcels say the same few hundred things
def _code(standard: str, ice: str, ric: str, said: str) -> Code:
    """Return the standard code, with ICE and RIC behind its text; these alone where they say that a parcel ended otherwise."""
    standard, detail = standard.strip().upper(), f"{ice.strip().upper()}/{ric.strip().upper()}"
    codes = DHLParcelDE.codes
    finer, coarse = codes.get(("ice", f"{detail}/{standard}")), codes.get((MARK, standard))
    if not standard:
        return Code("ice", detail if detail != "/" else "missing", text(said))
    if finer is None:
        return Code(MARK, standard, text(said))
    if coarse is not None and finer.status is not coarse.status and not _ENDS.isdisjoint((finer.status, coarse.status)):
        return Code("ice", f"{detail}/{standard}", text(said))
    return Code(MARK, standard, f"{text(said)[:400]} ({detail})".lstrip())


@lru_cache(maxsize=2_000)
def _place(city: str, country: str) -> Place:
    """Read a place; without a country it is in Germany, as Unified prints it, too."""
    city, country = city.strip(), country.strip()
    return Place(city, country=named(country) or (alpha2(country) if country else "DE"))


def _directed(scan: Scan, back: Any) -> Scan:
    if back == "false" or not back:
        return scan
    return replace(scan, leg=Leg.RETURN_TO_SENDER) if text(back).lower() in ("true", "1") else scan


@lru_cache(maxsize=20_000)  # each poll tells the events of before once more
def _german(value: str) -> datetime | None:
    """Read `18.03.2016 10:02`; None for any other form."""
    try:
        at = _iso(f"{value[6:10]}-{value[3:5]}-{value[:2]}T{value[11:]}") if value[2] == value[5] == "." else None
    except (IndexError, ValueError):
        return None
    return at if at is not None and at.tzinfo is None and 1 < at.year < 9999 else None


def _printed(value: Any, unread: list[Unread]) -> tuple[datetime | None, datetime | None, Zone, Precision]:
    """Read a German time to the minute, which has no zone; other forms are ISO 8601."""
    local, instant, zone, precision = printed(_iso_of(value), "$.@event-timestamp", unread)
    return local, instant, zone, _MINUTE if local is not None and precision is Precision.SECOND else precision


def _iso_of(value: Any) -> Any:
    """Return a German date as ISO 8601 prints it; anything else as it is."""
    found = _GERMAN.fullmatch(value.strip()) if isinstance(value, str) else None
    return f"{found[3]}-{found[2]:0>2}-{found[1]:0>2}" if found else value


def _day(value: Any, where: str) -> Edd:
    """Read the day of a delivery: `18.03.2016`, or ISO 8601, German time."""
    at = moment(_iso_of(value), where)
    return estimate(at if at.tzinfo else at.replace(tzinfo=_BERLIN))
