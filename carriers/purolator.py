"""Purolator Courier: TrackPackagesByPin of the E-Ship web services (SOAP 1.1, polls only; several PINs a call).

Contract: TrackingService.xsd, and the sample envelopes of Purolator's own example code (Client Services,
TrackPackagesByPin); read 2026-11. What no document of Purolator's tells is a setting (address, version, PINs a call, the
error codes of a number that is not known), or has no meaning: there is no published list of ScanType or of its limits.

`Other` and `Undeliverable` say nothing by themselves ("Arrived at sort facility" comes as either): their Description is
the code. `purolator.csv` holds those that are documented, where `*` stands for the place or number at the end; any other is
UNKNOWN. Times are local wall time of the scan's province, without a zone; a scan without a province is placed by the first zone
that is known of its parcel, and marked. That an answer holds the whole history is nowhere said: none does. An error of the whole
answer (ResponseInformation beside the list) is about the numbers that the list leaves out. The image of a signature is left out of
every poll; GetDeliveryDetails hands it out to who asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr

from tracker.domain.errors import BadPayload, NotFound, Transient
from tracker.domain.facts import (
    NOWHERE,
    Code,
    Edd,
    Link,
    Meaning,
    Page,
    Parcel,
    Parcels,
    Payload,
    Place,
    Proof,
    ProofDocument,
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
from tracker.plugin.asked import ASKED, beside, left_out
from tracker.plugin.calls import Client, Request, Response
from tracker.plugin.canada import MOSTLY, PROVINCES
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
from tracker.plugin.proofs import read_document
from tracker.plugin.soap import raise_unless_soap, soap_call
from tracker.plugin.xml import XSI_TYPE, decode_xml, many

Where = tuple[
    Place, ZoneInfo | None, bool
]  # a depot: its zone as far as it is known, whether the core finds that by itself
Read = tuple[
    Code, datetime | None, Precision, Where, Edd | None, bool
]  # a scan, the day that it promises, whether somebody signed

TYPES = "http://purolator.com/pws/datatypes/v1"
SERVICE = "http://purolator.com/pws/service/v1/"
TRACK, DETAILS = "TrackPackagesByPin", "GetDeliveryDetails"
_DETAILS = frozenset(
    {"DeliveryScan", "UndeliverableScan", "OnDeliveryScan", "ProofOfPickUpScan", "InternationalOutboundScan"}
)  # TrackingService.xsd: the types of a scan that have details
_BY_WORDING = frozenset({"Other", "Undeliverable"})
_PROVINCES = {"PQ": "QC", "NF": "NL", "PEI": "PE"}  # as depots may be spelt; "PQ" is in Purolator's own sample
_DEPOT = re.compile(r"(.*?),\s*([A-Z]{2,3})")
_NEW_NUMBER = re.compile(
    r"(?:New Tracking Number Assigned|Nouveau numéro de repérage attribué) - ([A-Z]{3}\d{9}|\d{12})\b", re.IGNORECASE
)
_RENUMBERED = ("new tracking number", "nouveau numéro de repérage")
_iso, _SECOND, _UNKNOWN = datetime.fromisoformat, Precision.SECOND, Zone.UNKNOWN  # 0.08 us a look-up
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
    batch = 10  # unless `pins_per_call` says otherwise
    carriers = ("purolator",)
    unverified = (
        "the address of its service: `url`, and the `version` of its RequestContext",
        "the action of GetDeliveryDetails",
        "how many numbers it takes at once: `pins_per_call`",
        "which errors say that nothing is known of a number: `unknown_codes`",
    )
    proves = True
    response_keys = ("TrackingInformationList", ASKED)
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
        answer, at = _response(payload.body, TRACK)
        where, unread = f"{at}.TrackingInformationList", list[Unread]()
        if answer.get("TrackingInformationList") is None:  # it says nothing, which is not "no news"
            raise BadPayload(where, "is missing")
        listed = section(answer["TrackingInformationList"], where, unread).get("TrackingInformation")
        found = pieces(many(listed), f"{where}.TrackingInformation", self._information, unread, lacks="all")
        errors = _errors(answer, unread, f"{at}.ResponseInformation") if answer.get("ResponseInformation") else []
        rest = left_out(payload, found, unread)
        if errors and not rest:
            unread.append(Unread(f"{at}.ResponseInformation.Errors", f"says {errors[0][0]}, and not of which number"))
        return told([*found, *(self._unheard(one, errors) for one in rest)], unread)

    def raise_for_status(self, response: Response) -> None:
        """As SOAP says; an answer that holds errors and no parcel is an error that comes with 200, unless it knows no number."""
        raise_unless_soap(response)
        if b"<Error>" not in response.body and b":Error>" not in response.body:
            return
        try:
            holding(response.body, "TrackingInformation", "DeliveryDetails")
        except Transient:
            code, said = _first_error(response.body)
            if code not in self.settings.unknown_codes:
                raise Transient(f"HTTP {response.status} with an error: {code}: {said}"[:300]) from None

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """POST TrackPackagesByPin with Basic key:password; images of signatures are left out before anybody keeps them."""
        assert isinstance(query, Parcels)
        asked = [pin for parcel in query.parcels if (pin := clean(parcel.number))]
        for start in range(0, len(asked), self.batch):
            some = asked[start : start + self.batch]
            yield Page((_without_images(client.send(self._ask(some)).body), beside(some)))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """POST GetDeliveryDetails: the image of the signature, base64 (TrackingService.xsd: a GIF, a bitmap, or as it was taken)."""
        request = {f"{DETAILS}Request": {"@xmlns": TYPES, "PIN": {"Value": clean(parcel.number)}}}
        answer, at = _response(client.send(self._call(DETAILS, request)).body, DETAILS, rows="")
        ignored: list[Unread] = []
        details = section(answer.get("DeliveryDetails"), f"{at}.DeliveryDetails", ignored)
        image = section(details.get("ScanDetails"), "$.ScanDetails", ignored).get("SignatureImage")
        if absent(image):
            raise NotFound("Purolator has no image of a signature")
        return read_document(image, f"{at}.DeliveryDetails.ScanDetails.SignatureImage")

    def ping(self, client: Client) -> None:
        """Ask about a number that nobody has; whatever is said of it, the key works: but it must be an answer to that."""
        _response(client.send(self._ask(["000000000000"])).body, TRACK)

    def _ask(self, pins: list[str]) -> Request:
        pin = [{"Value": pin} for pin in pins]
        return self._call(TRACK, {f"{TRACK}Request": {"@xmlns": TYPES, "PINs": {"PIN": pin}}})

    def _call(self, operation: str, body: dict[str, Any]) -> Request:
        settings = self.settings
        context = {
            "@xmlns": TYPES, "Version": settings.version, "Language": settings.language, "GroupID": settings.group_id,
            "RequestReference": "trackwright",
        }  # fmt: skip
        if settings.user_token is not None:
            context["UserToken"] = settings.user_token.get_secret_value()
        basic = (settings.key.get_secret_value(), settings.password.get_secret_value())
        return soap_call(settings.url, f"{SERVICE}{operation}", body, {"RequestContext": context}, basic=basic)

    def _information(self, information: dict[str, Any], unread: list[Unread]) -> Report:
        mine = number(section(information.get("PIN"), "$.PIN", unread).get("Value"), "$.PIN.Value")
        listed = section(information.get("Scans"), "$.Scans", unread).get("Scan")
        read = pieces(many(listed), "$.Scans.Scan", _scan, unread, mine)
        scans = _in_their_zones(read)
        errors = _errors(information, unread) if information.get("ResponseInformation") else []
        unheard = not read and (bool(errors) or not unread)
        if read and errors:
            unread.append(Unread("$.ResponseInformation.Errors", f"says {errors[0][0]} beside scans"))
        if unread:
            about(mine, unread)
        if unheard:
            return self._unheard(mine, errors)
        return Report(
            "purolator",
            mine,
            scans,
            edd=self._promised(read),
            proof=Proof(signed=True) if True in [one[5] for one in read] else None,
            links=_new_numbers([one.code for one in scans], mine),
        )

    def _unheard(self, mine: str, errors: list[tuple[str, str]]) -> Report:
        """Report a number of which nothing is told but an error, or not even that: nothing is known of it."""
        unknown = not errors or errors[0][0] in self.settings.unknown_codes
        state = TrackingState.NOT_FOUND if unknown else TrackingState.ERROR
        return Report("purolator", mine, tracking=state, said=": ".join(filter(None, errors[0])) if errors else "")

    def _promised(self, read: list[Read]) -> Edd | None:
        """Return the day that the newest pick-up promises, unless the parcel was delivered."""
        edds = [one[4] for one in read if one[4] is not None]
        if edds and any((says := self.meaning(code)) and says.status is ShippingStatus.DELIVERED for code, *_ in read):
            return None
        return edds[0] if edds else None


def _response(body: bytes, operation: str, rows: str = "Scan") -> tuple[dict[str, Any], str]:
    """Return the answer to an operation, and where it stands. Raises BadPayload for the answer to anything else."""
    answer: Any = decode_xml(body, XSI_TYPE, rows=rows)
    at = "$"
    for name in ("Envelope", "Body", f"{operation}Response"):
        at = f"{at}.{name}"
        answer = mapping({} if (inner := answer.get(name)) == "" else inner, at)
    return answer, at


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
    """Read a scan; its zone comes later, as it may be that of another."""
    get = scan.get
    pin, depot, kind, said = get("PIN"), get("Depot"), get("ScanType"), get("Description")
    if pin.__class__ is not dict or pin.get("Value") != mine:
        _must_be(mine, pin, unread)
    name = depot.get("Name") if depot.__class__ is dict else section(depot, "$.Depot", unread).get("Name")
    if not (kind.__class__ is said.__class__ is name.__class__ is str):
        kind, said = term(kind, "$.ScanType", unread), term(said, "$.Description", unread)
        name = term(name, "$.Depot.Name", unread)
    local, precision = _printed(get("ScanDate"), get("ScanTime"), unread)
    edd, signed = None, False
    if (details := get("ScanDetails")) is not None:
        edd, signed = _details(details, text(get("@type")), unread)
    return _code(kind, said), local, precision, _where(name), edd, signed


def _must_be(mine: str, value: Any, unread: list[Unread]) -> None:
    """Raise BadPayload where a scan is of another number than its parcel: nothing says that it is of this one too."""
    pin = optional(number, section(value, "$.PIN", unread).get("Value"), "$.PIN.Value", unread)
    if pin not in (None, mine):
        raise BadPayload("$.PIN.Value", f"is another number than that of its parcel: {pin}")


@lru_cache(maxsize=2_000)  # scans of all parcels say the same few hundred things
def _code(kind: str, said: str) -> Code:
    kind, said = text(kind), text(said)
    if kind in _BY_WORDING:
        return Code(kind, _wording(said) or "missing", said)
    return Code("ScanType", kind[:100] or "missing", said)


def _new_numbers(codes: list[Code], mine: str) -> tuple[Link, ...]:
    """Return what a parcel was numbered instead, where a description says so and names it (E-Ship Online help)."""
    found = [_NEW_NUMBER.search(code.text) for code in codes if code.code.startswith(_RENUMBERED)]
    numbers = dict.fromkeys(one[1].upper() for one in found if one)
    return tuple(Link(other, "purolator", "replaces") for other in numbers if other != mine)


def _in_their_zones(read: list[Read]) -> tuple[Scan, ...]:
    """Place what the core cannot: scans of provinces that zones share, and those without one, beside the newest that has one.

    Deliveries come without a depot: by the time of Toronto one of Calgary would end before it was out for delivery.
    """
    near = next((zone for _, _, _, (_, zone, _), _, _ in read if zone is not None), None)
    scans = []
    for code, local, precision, (place, zone, placed), _, _ in read:
        if placed or local is None or (zone := zone or near) is None:
            scans.append(Scan(code, local, None, _UNKNOWN, precision, place))
        else:
            instant = local.replace(tzinfo=zone).astimezone(UTC)
            scans.append(Scan(code, local, instant, Zone.ASSUMED, precision, place))
    return tuple(scans)


@lru_cache(maxsize=2_000)
def _where(depot: str) -> Where:
    """Read a depot, such as `MONTREAL SORT CTR/CTR TRIE, PQ`: its province, where its name ends with one."""
    depot = text(depot)
    found = _DEPOT.fullmatch(depot)
    province = _PROVINCES.get(found[2], found[2]) if found else ""
    if not depot:
        place = NOWHERE
    else:
        place = Place(found[1], province, country="CA") if found and province in PROVINCES else Place(depot)
    zone = MOSTLY.get(place.region) or zone_of(place)
    return place, zone, bool(place.region) and place.region not in MOSTLY


def _printed(date: Any, time: Any, unread: list[Unread]) -> tuple[datetime | None, Precision]:
    """Read ScanDate (YYYY-MM-DD) and ScanTime (HHMMSS, which some print without its leading zeros)."""
    try:
        if len(date) == 10 and 0 < len(time) <= 6 and time.isdecimal():
            at = _iso(f"{date}T{time if len(time) == 6 else time.zfill(6)}")
            if 1 < at.year < 9999:
                return at, _SECOND
    except (TypeError, ValueError, AttributeError):
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


def _errors(
    holder: dict[str, Any], unread: list[Unread], where: str = "$.ResponseInformation"
) -> list[tuple[str, str]]:
    """Return code and description of each error of an answer, or of a parcel in it."""
    information = section(holder.get("ResponseInformation"), where, unread)
    listed = section(information.get("Errors"), f"{where}.Errors", unread).get("Error")
    return pieces(many(listed), f"{where}.Errors.Error", _error, unread)


def _error(error: dict[str, Any], unread: list[Unread]) -> tuple[str, str]:
    return optional(word, error.get("Code"), "$.Code", unread) or "no code", text(error.get("Description"))


def _first_error(body: bytes) -> tuple[str, str]:
    try:
        envelope: Any = decode_xml(body)
        (answer,) = (value for name, value in envelope["Envelope"]["Body"].items() if name.endswith("Response"))
        errors = _errors(answer, [])
    except (BadPayload, KeyError, TypeError, AttributeError, ValueError):
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
