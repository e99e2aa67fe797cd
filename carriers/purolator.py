"""Purolator Courier: TrackPackagesByPin of the E-Ship web services (SOAP 1.1, polls only; several PINs a call).

Contract: TrackingService.xsd, and the sample envelopes of Purolator's own example code (Client Services,
TrackPackagesByPin); read 2026-11. What no document of Purolator's tells is a setting (address, version, PINs a call, the
error codes of a number that is not known), or has no meaning: there is no published list of ScanType or of its limits.

`Other` and `Undeliverable` say nothing by themselves ("Arrived at sort facility" comes as either): their Description is
the code. `purolator.csv` holds those that are documented, where `*` stands for the place or number at the end; any other is
UNKNOWN. Times are local to the depot, without a zone. That an answer holds the whole history is nowhere said: none does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr

from tracker.domain.errors import BadPayload, Transient
from tracker.domain.facts import (
    NOWHERE,
    Code,
    Edd,
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
from tracker.domain.timeline import zone_of
from tracker.domain.vocabulary import Precision, ShippingStatus, TrackingState, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import holding
from tracker.plugin.calls import Client, Request, Response
from tracker.plugin.codes import read_codes
from tracker.plugin.payloads import (
    about,
    absent,
    estimate,
    mapping,
    moment,
    number,
    optional,
    pieces,
    section,
    term,
    text,
    told,
    word,
)
from tracker.plugin.soap import raise_unless_soap, soap_call
from tracker.plugin.xml import XSI_TYPE, decode_xml, many

Read = tuple[Scan, Edd | None, bool]  # a scan, the day that it promises, whether somebody signed

TYPES = "http://purolator.com/pws/datatypes/v1"
ACTION = "http://purolator.com/pws/service/v1/TrackPackagesByPin"
ANSWER = "$.Envelope.Body.TrackPackagesByPinResponse"
_DETAILS = frozenset(
    {"DeliveryScan", "UndeliverableScan", "OnDeliveryScan", "ProofOfPickUpScan", "InternationalOutboundScan"}
)  # TrackingService.xsd: the types of a scan that have details
_BY_WORDING = frozenset({"Other", "Undeliverable"})
_PROVINCES = {"PQ": "QC", "NF": "NL", "PEI": "PE"}  # as depots may be spelt; "PQ" is in Purolator's own sample
_DEPOT = re.compile(r"(.*?),\s*([A-Z]{2,3})")
_CA = frozenset(["AB", "BC", "MB", "NB", "NL", "NS", "NT", "NU", "ON", "PE", "QC", "SK", "YT"])
_MOSTLY = {  # provinces that several zones share: by their largest city; the core places the others
    name: ZoneInfo(zone)
    for name, zone in {
        "BC": "America/Vancouver", "NL": "America/St_Johns", "NT": "America/Yellowknife", "NU": "America/Iqaluit",
        "ON": "America/Toronto", "YT": "America/Whitehorse",
    }.items()
}  # fmt: skip
_IMAGE = re.compile(rb"(<(?:[\w.-]+:)?SignatureImage(?:\s[^<>]*[^<>/])?>)")


class Settings(contracts.Settings):
    """One account of the E-Ship web services: its production `key` and `password`.

    `url` is the tracking service; https://devwebservices.purolator.com/... takes development keys. `version`, `group_id`
    and `user_token` go into the RequestContext. `pins_per_call`: how many numbers a call asks about; Purolator publishes no
    limit. `unknown_codes`: error codes that say "nothing is known of this number" (yet): 2300003 is what others see. `language`:
    with `fr` the descriptions are French.
    """

    url: str = "https://webservices.purolator.com/PWS/V1/Tracking/TrackingService.asmx"
    key: SecretStr
    password: SecretStr
    version: str = "1.2"
    language: Literal["en", "fr"] = "en"
    group_id: str = ""
    user_token: SecretStr | None = None
    pins_per_call: int = Field(10, ge=1, le=50)
    unknown_codes: tuple[str, ...] = ("2300003",)


class Purolator(contracts.Carrier):
    """Purolator Courier parcels."""

    docs = "https://eship.purolator.com/site/en/resourcecentre/resourcecentremain.aspx"
    asks = frozenset({Parcels})
    carriers = ("purolator",)
    response_keys = ("TrackingInformationList",)
    codes = read_codes(__file__)
    default_zone = "America/Toronto"
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account: it is asked about as many numbers at once as its settings say."""
        super().__init__(account, settings)
        self.batch = self.settings.pins_per_call

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the type of a scan; of `Other` and `Undeliverable`, and of some deliveries, the wording."""
        if code.space != "ScanType":
            return _by_wording(code.space, code.code)
        return _by_wording(code.code, _wording(code.text)) or self.codes.get(("ScanType", code.code))

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer of TrackPackagesByPin: one report a PIN; what is wrong with one of them is said inside of it."""
        answer: Any = decode_xml(payload.body, XSI_TYPE, rows="Scan")
        for name in ("Envelope", "Body", "TrackPackagesByPinResponse"):
            answer = mapping(answer.get(name), f"{ANSWER.partition(name)[0]}{name}")
        where, unread = f"{ANSWER}.TrackingInformationList", list[Unread]()
        if answer.get("TrackingInformationList") is None:  # it says nothing, which is not "no news"
            raise BadPayload(where, "is missing")
        listed = section(answer["TrackingInformationList"], where, unread).get("TrackingInformation")
        at = f"{where}.TrackingInformation"
        return told(pieces(many(listed), at, self._information, unread, lacks="all"), unread)

    def raise_for_status(self, response: Response) -> None:
        """As SOAP says; an answer that holds errors and no parcel is an error that comes with 200, unless it knows no number."""
        raise_unless_soap(response)
        if b"<Error>" not in response.body and b":Error>" not in response.body:
            return
        try:
            holding(response.body, "TrackingInformation")
        except Transient:
            code, said = _first_error(response.body)
            if code not in self.settings.unknown_codes:
                raise Transient(f"HTTP {response.status} with an error: {code}: {said}"[:300]) from None

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """POST TrackPackagesByPin with Basic key:password; images of signatures are left out before anybody keeps them."""
        assert isinstance(query, Parcels)
        asked = [pin for parcel in query.parcels if (pin := clean(parcel.number))]
        for start in range(0, len(asked), self.batch):
            answer = client.send(self._ask(asked[start : start + self.batch])).body
            yield Page((_without_images(answer),))

    def ping(self, client: Client) -> None:
        """Ask about a number that nobody has; whatever is said of it, the key works."""
        client.send(self._ask(["000000000000"]))

    def _ask(self, pins: list[str]) -> Request:
        settings = self.settings
        context = {
            "@xmlns": TYPES, "Version": settings.version, "Language": settings.language, "GroupID": settings.group_id,
            "RequestReference": "trackwright",
        }  # fmt: skip
        if settings.user_token is not None:
            context["UserToken"] = settings.user_token.get_secret_value()
        body = {"TrackPackagesByPinRequest": {"@xmlns": TYPES, "PINs": {"PIN": [{"Value": pin} for pin in pins]}}}
        basic = (settings.key.get_secret_value(), settings.password.get_secret_value())
        return soap_call(settings.url, ACTION, body, {"RequestContext": context}, basic=basic)

    def _information(self, information: dict[str, Any], unread: list[Unread]) -> Report:
        mine = number(section(information.get("PIN"), "$.PIN", unread).get("Value"), "$.PIN.Value")
        scans = section(information.get("Scans"), "$.Scans", unread).get("Scan")
        read = _in_their_zones(pieces(many(scans), "$.Scans.Scan", _scan, unread, mine))
        errors = _errors(information, unread)
        state = TrackingState.ACTIVE
        if not read and not unread and not errors:
            state = TrackingState.NOT_FOUND  # no scan and no error: nothing is known of it
        elif not read and errors:
            known = errors[0][0] not in self.settings.unknown_codes
            state = TrackingState.ERROR if known else TrackingState.NOT_FOUND
        elif errors:
            unread.append(Unread("$.ResponseInformation.Errors", f"says {errors[0][0]} beside scans"))
        edds = [edd for _, edd, _ in read if edd is not None]
        over = any((says := self.meaning(scan.code)) and says.status is ShippingStatus.DELIVERED for scan, _, _ in read)
        if unread:
            about(mine, unread)
        return Report(
            "purolator",
            mine,
            tuple(scan for scan, _, _ in read),
            tracking=state,
            said="" if read or not errors else ": ".join(filter(None, errors[0])),
            edd=edds[0] if edds and not over else None,
            proof=Proof(signed=True) if any(signed for _, _, signed in read) else None,
        )


def _without_images(answer: bytes) -> bytes:
    """Return an answer whose images of signatures say that there was one, and nothing else."""
    if answer[:2] in (b"\xff\xfe", b"\xfe\xff"):
        answer = answer.decode("utf-16", "replace").encode()
    first, *rest = _IMAGE.split(answer)
    for at in range(1, len(rest), 2):
        image, end, after = rest[at].partition(b"]]>" if rest[at].startswith(b"<![CDATA[") else b"<")
        if image.strip():
            rest[at] = b"left out" + (end if end == b"<" else b"") + after
    return b"".join((first, *rest))


def _scan(scan: dict[str, Any], unread: list[Unread], mine: str) -> Read:
    """Read a scan, the day that it promises, and whether somebody signed."""
    get = scan.get
    pin, depot, date, time = get("PIN"), get("Depot"), get("ScanDate"), get("ScanTime")
    if pin.__class__ is not dict or pin.get("Value") != mine:
        _must_be(mine, pin, unread)
    kind, said = term(get("ScanType"), "$.ScanType", unread), term(get("Description"), "$.Description", unread)
    name = term(section(depot, "$.Depot", unread).get("Name"), "$.Depot.Name", unread)
    local, precision = _printed(date, time, unread)
    edd, signed = None, False
    if (details := get("ScanDetails")) is not None:
        edd, signed = _details(details, text(get("@type")), unread)
    return Scan(_code(kind, said), local, precision=precision, place=_place(name)), edd, signed


def _must_be(mine: str, value: Any, unread: list[Unread]) -> None:
    """Raise BadPayload where a scan is of another number than its parcel: nothing says that it is of this one too."""
    pin = optional(number, section(value, "$.PIN", unread).get("Value"), "$.PIN.Value", unread)
    if pin not in (None, mine):
        raise BadPayload("$.PIN.Value", f"is another number than that of its parcel: {pin}")


@lru_cache(maxsize=2_000)  # scans of all parcels say the same few hundred things
def _code(kind: str, said: str) -> Code:
    if kind in _BY_WORDING:
        return Code(kind, _wording(said) or "missing", said)
    return Code("ScanType", kind[:100] or "missing", said)


def _in_their_zones(read: list[Read]) -> list[Read]:
    """Place what the core cannot: scans of provinces that zones share, and those without one, beside the newest that has one.

    Deliveries come without a depot: by the time of Toronto one of Calgary would end before it was out for delivery.
    """
    zones = [_MOSTLY.get(scan.place.region) or zone_of(scan.place) for scan, _, _ in read]
    near = next(filter(None, zones), None)
    return [
        one
        if one[0].place.region and one[0].place.region not in _MOSTLY
        else (_assumed(one[0], zone or near), *one[1:])
        for one, zone in zip(read, zones, strict=True)
    ]


def _assumed(scan: Scan, zone: ZoneInfo | None) -> Scan:
    if scan.local is None or zone is None:
        return scan
    instant = scan.local.replace(tzinfo=zone).astimezone(UTC)
    return replace(scan, occurred_at=instant, zone=Zone.ASSUMED)


@lru_cache(maxsize=2_000)
def _place(depot: str) -> Place:
    """Read a depot, such as `MONTREAL SORT CTR/CTR TRIE, PQ`: its province, where its name ends with one."""
    if not depot:
        return NOWHERE
    found = _DEPOT.fullmatch(depot)
    province = _PROVINCES.get(found[2], found[2]) if found else ""
    return Place(found[1], province, country="CA") if found and province in _CA else Place(depot)


def _printed(date: Any, time: Any, unread: list[Unread]) -> tuple[datetime | None, Precision]:
    """Read ScanDate (YYYY-MM-DD) and ScanTime (HHMMSS, which some print without its leading zeros)."""
    try:
        at = datetime.fromisoformat(f"{date}T{time:0>6}")
        if len(date) == 10 and 0 < len(time) <= 6 and 1 < at.year < 9999 and at.tzinfo is None:
            return at, Precision.SECOND
    except (TypeError, ValueError):
        pass  # slowly, with what is wrong
    day = optional(moment, date, "$.ScanDate", unread)
    if day is None:
        return None, Precision.SECOND
    day = day.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if absent(time):
        return day, Precision.DATE
    printed = text(time).zfill(6)
    try:
        if len(printed) != 6 or not (printed.isascii() and printed.isdigit()):
            raise ValueError
        return day.replace(hour=int(printed[:2]), minute=int(printed[2:4]), second=int(printed[4:])), Precision.SECOND
    except ValueError:
        unread.append(Unread("$.ScanTime", f"is no time HHMMSS: {printed[:20]!r}"))
        return day, Precision.DATE


def _details(value: Any, kind: str, unread: list[Unread]) -> tuple[Edd | None, bool]:
    """Read what the type of a scan adds: a delivery's signature, and the day that a pick-up promises."""
    get = section(value, "$.ScanDetails", unread).get
    kind = kind.rpartition(":")[2]
    if not absent(value) and kind not in _DETAILS:
        unread.append(Unread("$.ScanDetails", f"are of a type that TrackingService.xsd does not know: {kind[:40]!r}"))
    if kind == "ProofOfPickUpScan":
        at = "$.ScanDetails.CommitedDeliveryDate"  # spelt so
        day = optional(moment, get("CommitedDeliveryDate"), at, unread)
        return estimate(day) if day is not None else None, False
    return None, kind == "DeliveryScan" and not (absent(get("DeliverySignature")) and absent(get("SignatureImage")))


def _errors(holder: dict[str, Any], unread: list[Unread]) -> list[tuple[str, str]]:
    """Return code and description of each error of an answer, or of a parcel in it."""
    where = "$.ResponseInformation"
    information = section(holder.get("ResponseInformation"), where, unread)
    listed = section(information.get("Errors"), f"{where}.Errors", unread).get("Error")
    return pieces(many(listed), f"{where}.Errors.Error", _error, unread)


def _error(error: dict[str, Any], unread: list[Unread]) -> tuple[str, str]:
    return optional(word, error.get("Code"), "$.Code", unread) or "no code", text(error.get("Description"))


def _first_error(body: bytes) -> tuple[str, str]:
    try:
        envelope: Any = decode_xml(body)
        errors = _errors(envelope["Envelope"]["Body"]["TrackPackagesByPinResponse"], [])
    except (BadPayload, KeyError, TypeError, AttributeError):
        errors = []
    return errors[0] if errors else ("no code", "no reason given")


@lru_cache(maxsize=2_000)
def _wording(said: str) -> str:
    """Return a description as a code: its words, in lower case, without numbers."""
    return re.sub(r"[\W\d_]+", " ", said.casefold()).strip()[:100].strip()


@lru_cache(maxsize=2_000)
def _by_wording(space: str, wording: str) -> Meaning | None:
    codes = Purolator.codes
    if (exact := codes.get((space, wording))) is not None:
        return exact
    begins = [code for among, code in codes if among == space and code[-1:] == "*" and wording.startswith(code[:-1])]
    return codes[space, max(begins, key=len)] if begins else None
