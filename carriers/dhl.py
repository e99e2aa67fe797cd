"""DHL Shipment Tracking - Unified (poll) and Unified Push v1.

Samples and error bodies: netresearch dhl/sdk-api-unified-tracking; statuses: DHL's list by service, `dhl.csv`, those of
Express and Parcel DE `dhl_express.csv` and `dhl_parcel_de.csv`; limits and push body: developer.dhl.com and
support-developer.dhl.com; returnFlag and references: track_v1.5.8.yaml as public copies print it; all read 2026-11. The
push handshake and its scopes come from third parties: hence `push_url`.

`statusCode` is coarse and can be wrong for a merchant ("delivered" also means "at the parcel shop" or "back at the
sender"), so a status that the list knows for its service speaks first; the coarse code only where it does not, and no "delivered" of
it whose words say that the sender has it, or a parcel shop. A scan whose status is listed has the service as its space: so Express and
Parcel DE tell the same one under the same name. An answer may be about another number: that of the shipment whose `pieceIds` hold ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound, Refused
from tracker.domain.facts import (
    ChangeNotice,
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
    Refs,
    Registered,
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.timeline import zone_of
from tracker.domain.vocabulary import Leg, Precision, ShippingStatus, TrackingState, Trust
from tracker.plugin import contracts
from tracker.plugin.answers import holding, in_own_words, not_html, raise_by_problem
from tracker.plugin.asked import ASKED, beside, left_out
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits, Secrets
from tracker.plugin.countries import area, named
from tracker.plugin.payloads import (
    MOST_TEXT,
    about,
    decode,
    estimate,
    kind,
    moment,
    number,
    optional,
    piece,
    pieces,
    printed,
    section,
    several,
    term,
    text,
    told,
    with_head,
)
from tracker.plugin.proofs import bytes_document
from tracker.plugin.signatures import shared_secret

LOCAL = {"parcel-de": "DE", "post-de": "DE", "svb": "DE", "parcel-nl": "NL", "parcel-pl": "PL"}  # prints local times
SENTENCES = {  # parcel-de printed sentences for its codes until 2024-04, as the samples do
    "the instruction data for this shipment have been provided by the sender to dhl electronically": "VA",
    "the shipment has been loaded onto the delivery vehicle": "PO",
    "the shipment has been successfully delivered": "ZU",
}
LAST_MILE = frozenset({"local-tracking-number", "domestic-consignment-id"})  # types of references (track_v1.5.8.yaml)
_HERE = Path(__file__)
_SECOND, _MINUTE = Precision.SECOND, Precision.MINUTE  # a look-up takes 0.08 us
_NOT_THE_RECIPIENT = re.compile(  # words beside a coarse "delivered" that contradict it; English, as `language` asks by default, and German
    r"\b(?:to|at) (?:the |its |original |business )*(?:sender|shipper|consignor)\b|\breturned\b|absender|\bzur(?:ü|ue)ck"
    r"|\bdelivered (?:at|to|in) (?:an? |the )?(?:dhl )?(?:parcel ?shop|packstation|access ?point|service ?point|post ?office|parcel ?locker)\b"
)
_OWN = re.compile(r"https://(?:[a-z0-9-]+\.)+dhl\.(?:com|de)/[\x21-\x7e]*")
_IN_THE_US = re.compile(r"(.+), ([A-Z]{2}), US")  # sample 64888
_RETURN = re.compile(r"(?:JVGL|3S[A-Z]{2})[A-Z0-9]{8,24}")
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_NAMED = re.compile(rb'"id"\s*:\s*"?([^\s",}]+)"?\s*[,}]', re.IGNORECASE)  # whose parcels an answer tells of
_SECRET = re.compile(r"[\x21-\x7e]{1,500}")  # goes into a header


class Settings(contracts.Settings):
    """One DHL developer app. `service` is sent when known: another division's parcel may share the number."""

    base_url: str = "https://api-eu.dhl.com"
    push_url: str = "https://api-eu.dhl.com/tracking/push/v1"
    api_key: SecretStr
    service: str | None = None
    language: str = "en"
    callback_url: str | None = None
    webhook_header: str = "DHL-Hook-Token"
    webhook_secrets: Secrets = ()


class DHL(contracts.Carrier):
    """DHL parcels of all divisions."""

    docs = "https://developer.dhl.com/api-reference/shipment-tracking"
    unverified = ("how a subscription asks to be confirmed, and what its messages are called: `push_url`",)
    trust = Trust.SHARED  # a header that we chose ourselves; nothing covers the body
    asks = frozenset({Parcels})
    webhooks = True
    proves = True
    registers = True
    register_batch = 10
    carriers = ("dhl",)
    response_keys = ("shipments", ASKED)
    codes: ClassVar[Mapping[tuple[str, str], Meaning]] = {
        **read_codes(__file__),
        **read_codes(str(_HERE.with_name("dhl_express.py"))),
        **{
            key: says
            for key, says in read_codes(str(_HERE.with_name("dhl_parcel_de.py"))).items()
            if key[0] == "parcel-de"
        },
    }
    default_zone = "Europe/Berlin"
    limits = Limits(250, timedelta(days=1))  # starter quota (developer.dhl.com)
    Settings = Settings

    def verify(self, payload: Payload) -> int:
        """Check the header and token that we chose when we subscribed."""
        name = self.settings.webhook_header.lower()
        return shared_secret(self.settings.webhook_secrets, payload.headers.get(name), name=name)

    def webhooks_need(self) -> str:
        """Name what a subscription carries, our address and the token of its header: without both none is made."""
        needed = ("callback_url", "webhook_secrets")
        return " and ".join(name for name in needed if not getattr(self.settings, name))

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the status for its service, else the coarse statusCode (space is `service/statusCode`)."""
        return _meaning(code.space, code.code)

    def normalize(self, payload: Payload) -> Iterable[Report | ChangeNotice | Unread]:
        """Read a tracking answer or a push; a push that asks for validation becomes a change notice, so that it is answered."""
        body = decode(payload.body)
        scope = body.get("scope")
        if isinstance(scope, str) and scope != "subscription.push":
            if scope != "subscription.validate":
                return ()
            ref = text(body.get("self")).rstrip("/").rpartition("/")[2]
            secret = text(body.get("secret"))
            if not _ID.fullmatch(ref) or not _SECRET.fullmatch(secret):
                raise BadPayload("$.self", "names no subscription to validate")
            return (ChangeNotice(f"{ref}:{secret}"),)
        if body.get("shipments") is None:  # it says nothing, which is not "no news"
            raise BadPayload("$.shipments", "is missing")
        unread: list[Unread] = []
        full = payload.kind != "webhook"  # field sets of a push differ by division
        reports = pieces(body["shipments"], "$.shipments", _shipment, unread, full, lacks="all")
        for mine in left_out(payload, reports, unread):
            _as_asked(mine, body["shipments"], reports, unread)
        return told(self._ours(reports) if len(reports) > 1 else reports, unread)

    def _ours(self, reports: list[Report]) -> list[Report]:
        """Leave out other divisions' shipments of a number, where one is of the service that the account is set to."""
        service = self.settings.service
        mine = {report.number for report in reports if service and report.piece == service}
        return [report for report in reports if report.number not in mine or report.piece == service]

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; an error body (problem JSON: title, status) means the same when it comes with a good status."""
        not_html(response)
        raise_by_problem(response, "shipments")

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /track/shipments; one number a call."""
        assert isinstance(query, Parcels)
        for parcel in query.parcels:
            body, mine = client.send(self._ask(parcel.number)).body, clean(parcel.number)
            named = {one.upper() for one in _NAMED.findall(body)}
            yield Page((body,) if mine.encode() in named else (body, beside([mine])))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """Fetch the document that an answer names: two calls. It is asked for at DHL's own hosts only, without the key."""
        answer = decode(holding(client.send(self._ask(parcel.number)).body, "shipments"))
        found = pieces(answer.get("shipments"), "$.shipments", _proof_address, [])
        address = next((url for service, url in found if url and piece in (None, "", service)), "")
        if not address:
            raise NotFound("DHL names no document that proves this delivery, or none yet")
        if not _OWN.fullmatch(address) and not address.startswith(f"{self.settings.base_url}/"):
            raise Refused(f"the proof of this delivery is not at a host of DHL: {address.partition('?')[0]!r:.80}")
        return bytes_document(client.send(Request("GET", address)).body, "$")

    def register(self, client: Client, query: Parcels | Refs) -> list[Registered]:
        """Subscribe to pushes (10 numbers a call), or confirm a subscription that asked for validation."""
        if isinstance(query, Refs):
            for ref in query.refs:
                subscription, _, secret = ref.partition(":")
                if not _SECRET.fullmatch(secret):
                    raise Refused("a handshake whose secret can stand in no header")
                headers = {**self._key_header(), "DHL-API-Hook-Secret": secret}
                url = f"{self.settings.push_url}/subscription/{segment(subscription)}"
                client.send(Request("POST", url, headers=headers))
            return []
        settings = self.settings
        if not settings.callback_url or not settings.webhook_secrets:
            return [Registered(p.number) for p in query.parcels]  # polls only
        registered = []
        for start in range(0, len(query.parcels), self.register_batch):
            numbers = [p.number for p in query.parcels[start : start + self.register_batch]]
            response = client.send(
                Request(
                    "POST",
                    f"{settings.push_url}/subscription",
                    headers={**self._key_header(), "Content-Type": "application/json"},
                    content=orjson.dumps(self._subscription(numbers)),
                )
            )
            made = text(decode(holding(response.body, "subscriptionId")).get("subscriptionId")) or None
            registered += [Registered(n, their_ref=made) for n in numbers]
        return registered

    def ping(self, client: Client) -> None:
        """Ask about a number that nobody has: a 404 in DHL's own words proves the key."""
        try:
            holding(client.send(self._ask("00340434000000000000")).body, "shipments")
        except NotFound as error:
            in_own_words(error, "DHL")

    def _ask(self, tracking: str) -> Request:
        params = {"trackingNumber": tracking, "language": self.settings.language}
        if self.settings.service:
            params["service"] = self.settings.service
        return Request("GET", f"{self.settings.base_url}/track/shipments", params=params, headers=self._key_header())

    def _subscription(self, numbers: list[str]) -> dict[str, Any]:
        settings = self.settings
        body = {
            "hook": {
                "uri": settings.callback_url,
                "authentication": {
                    "type": "ApiKeyAuthentication",
                    "header": settings.webhook_header,
                    "token": settings.webhook_secrets[0].get_secret_value(),
                },
            },
            "format": "Default",
            "type": "Shipment",
            "events": ["Pre-Transit", "Transit", "Delivered", "Failure", "Unknown"],
            "shipmentIDs": numbers,
        }
        return {**body, "service": settings.service} if settings.service else body

    def _key_header(self) -> dict[str, str]:
        return {"DHL-API-Key": self.settings.api_key.get_secret_value()}


def _proof_address(shipment: dict[str, Any], unread: list[Unread]) -> tuple[str, str]:
    """Return the service of a shipment, and where the document is that proves its delivery, else the signature."""
    pod = section(section(shipment.get("details"), "$.details", unread).get("proofOfDelivery"), "$.details", unread)
    addresses = [pod.get(name) for name in ("documentUrl", "signatureUrl")]
    return text(shipment.get("service")).lower(), next((one for one in addresses if one and isinstance(one, str)), "")


def _as_asked(mine: str, shipments: list[Any], reports: list[Report], unread: list[Unread]) -> None:
    """Give the report of a shipment the number of its piece that was asked about; an answer without any shipment knows none."""
    if not shipments:
        reports.append(Report("dhl", mine, tracking=TrackingState.NOT_FOUND))
        return
    for at, shipment in enumerate(shipments):
        ids = section(shipment.get("details"), "$", []).get("pieceIds")
        if isinstance(ids, list) and mine in map(clean, map(text, ids)):
            main = reports[at]
            reports[at] = replace(main, number=mine, links=(*main.links, Link(main.number, "dhl", "main")))
            return
    unread.append(Unread("$.shipments", "tells nothing of the number that was asked about", mine))


@lru_cache(maxsize=1000)
def _meaning(space: str, code: str) -> Meaning | None:
    service, _, coarse = space.partition("/")
    if coarse == "delivered" and (service, code) not in DHL.codes and _elsewhere(code):
        return None
    return DHL.codes.get((service, code)) or DHL.codes.get(("statusCode", coarse))


def _elsewhere(words: str) -> str:
    """Return the words that say that somebody else than the recipient has it; none: nothing says so."""
    found = _NOT_THE_RECIPIENT.search(words.replace("_", " ").casefold())
    return found[0] if found else ""


def _reading(code: Code) -> Meaning | None:
    return _meaning(code.space, code.code)


def _shipment(shipment: dict[str, Any], unread: list[Unread], full: bool) -> Report:
    get = shipment.get
    mine = number(get("id"), "$.id")
    service = (text(get("service")) or term(get("service"), "$.service", unread)).lower()
    events: Any = get("events")
    scans: Sequence[Scan] = pieces(events, "$.events", _event, unread, service)
    whole = full and bool(scans) and not unread  # a history that lacks a scan, or the time of one, withdraws none
    status = get("status")
    if status is not None and not (scans and status == events[0]):  # newest first, as a rule
        head = piece(status, "$.status", _event, unread, service)
        scans = with_head(scans, head, _reading) if head is not None else scans
    if returned := get("returnFlag"):
        scans = _back(scans, returned, unread)
    details: Any = get("details")
    proof, links = _details(mine, details, unread) if details else (None, ())
    if service == "parcel-nl" and isinstance(events, list):
        links = (*links, *_returns(events))
    frame, at = get("estimatedDeliveryTimeFrame"), get("estimatedTimeOfDelivery")
    edd = _estimate(frame, at, service, get("destination"), unread) if frame is not None or at is not None else None
    if unread:
        about(mine, unread)
    return Report(
        "dhl", mine, tuple(scans), complete=whole, edd=edd, proof=proof, links=links, piece=service or None
    )  # fmt: skip


def _event(event: dict[str, Any], unread: list[Unread], service: str) -> Scan:
    get = event.get
    status, coarse, said, location = get("status", ""), get("statusCode", ""), get("description", ""), get("location")
    try:  # what has no length is no text, and a list fits in no cache; very long texts stay out of it
        code = _code(service, coarse, status, said) if len(status) + len(coarse) + len(said) < MOST_TEXT else None
    except TypeError:
        code = None
    if code is None:
        status = str(status) if type(status) is int else term(status, "$.status", unread)
        code = _code(service, term(coarse, "$.statusCode", unread), status, text(said))
    try:
        at = location["address"].get  # type: ignore[index]  # what is no object is told below
        city, postcode, country = at("addressLocality", ""), at("postalCode", ""), at("countryCode", "")
        place = (
            _place(service, city, postcode, country) if len(city) + len(postcode) + len(country) < MOST_TEXT else None
        )
    except (AttributeError, KeyError, TypeError):
        place = None
    if place is None:
        at = section(section(location, "$.location", unread).get("address"), "$.location.address", unread).get
        place = _place(service, text(at("addressLocality")), text(at("postalCode")), text(at("countryCode")))
    local, instant, zone, precision = printed(get("timestamp"), "$.timestamp", unread)
    if service == "parcel-de" and precision is _SECOND:  # it has no seconds of its own, nor has Parcel DE Tracking
        precision = _MINUTE
    return Scan(code, local, instant, zone, precision, place)


@lru_cache(maxsize=2_000)  # events of all parcels say the same few hundred things
def _code(service: str, coarse: str, status: str, description: str) -> Code:
    """Return what happened: the status, where the list knows it for its service; else beside the coarse code."""
    coarse, status, said = text(coarse)[:100].lower(), text(status), text(description)
    listed = status[:100].upper()
    if service == "parcel-de":
        listed = SENTENCES.get(status.casefold(), listed)
    if (service, listed) in DHL.codes:
        return Code(service, listed, said or status)
    # a code (`NOT_HOME`, `599`, `56-611`, `PU`), no sentence
    fine = "" if " " in status or status.islower() else status[:100]
    if coarse == "delivered" and not _elsewhere(fine) and (words := _elsewhere(status) or _elsewhere(said)):
        fine = f"{fine} {words}".strip()[:100]  # another code than that of true deliveries
    return Code(f"{service}/{coarse}", fine or coarse or "missing", said or status)


@lru_cache(maxsize=2_000)  # parcels meet at the same depots
def _place(service: str, locality: str, postcode: str, country: str) -> Place:
    """Read a place: a locality holds its country or state too (`Feucht, Germany`, `MILAN - ITALY`, `Wilmette, IL, US`)."""
    city, region, country = text(locality), "", text(country).upper()
    if service == "parcel-de":
        begin, comma, last = city.rpartition(", ")
        there = named(last)
        if there:
            city, country = begin, country or there
        elif comma and not country:
            return Place(city, "", text(postcode))  # in a country whose name is not known here
    elif service == "express":
        city, country = area(city, country)
    elif country == "US" and (found := _IN_THE_US.fullmatch(city)):
        city, region = found[1], found[2]
    return Place(city, region, text(postcode), country or LOCAL.get(service, ""))


def _back(scans: Sequence[Scan], returned: Any, unread: list[Unread]) -> Sequence[Scan]:
    """Put deliveries on the way back where a shipment is flagged as returned to its sender."""
    if returned is not True and text(returned).lower() != "true":
        unread.append(Unread("$.returnFlag", f"must be true or false, is {kind(returned)}"))
        return scans
    return [_returned(scan) for scan in scans]


def _returned(scan: Scan) -> Scan:
    says, code = _reading(scan.code), scan.code
    if says is None and code.space.endswith("/delivered"):  # its words say that the sender has it: the flag does too
        return replace(scan, code=Code(code.space, "delivered", code.text), leg=Leg.RETURN_TO_SENDER)
    delivered = says is not None and says.status is ShippingStatus.DELIVERED
    return replace(scan, leg=Leg.RETURN_TO_SENDER) if delivered else scan


def _details(mine: str, value: Any, unread: list[Unread]) -> tuple[Proof | None, tuple[Link, ...]]:
    """Read whether there is a proof of delivery, and the number under which somebody else delivers."""
    get = section(value, "$.details", unread).get
    pod, references = get("proofOfDelivery"), get("references")
    proof = None
    if pod is not None or get("proofOfDeliverySignedAvailable") is True:
        pod = section(pod, "$.details.proofOfDelivery", unread)
        signed = get("proofOfDeliverySignedAvailable") is True or bool(pod.get("signed") or pod.get("signatureUrl"))
        proof = Proof(printed(pod.get("timestamp"), "$.details.proofOfDelivery.timestamp", unread)[1], signed)
    told = pieces(several(references), "$.details.references", _reference, unread)
    return proof, tuple(link for link in told if link is not None and link.number != mine)


def _reference(reference: dict[str, Any], unread: list[Unread]) -> Link | None:
    if term(reference.get("type"), "$.type", unread) not in LAST_MILE:
        return None
    other = optional(number, reference.get("number"), "$.number", unread)
    return Link(other, None, "last_mile") if other is not None else None


def _returns(events: Sequence[Any]) -> list[Link]:
    """Return the numbers of returns: parcel-nl prints them as the remark of RETURNED_TO_SHIPPER (sample JVGL06048524783718330083)."""
    remarks = [
        text(one.get("remark"))
        for one in events
        if isinstance(one, dict) and one.get("status") == "RETURNED_TO_SHIPPER"
    ]
    return [Link(remark, "dhl", "return") for remark in dict.fromkeys(remarks) if _RETURN.fullmatch(remark)]


def _estimate(frame: Any, at: Any, service: str, to: Any, unread: list[Unread]) -> Edd | None:
    """Take the estimated frame, else the estimated moment; without an offset it is local to the service, or to the destination's country."""
    where = "$.estimatedDeliveryTimeFrame"
    get = section(frame, where, unread).get
    begins = optional(moment, get("estimatedFrom"), f"{where}.estimatedFrom", unread)
    ends = optional(moment, get("estimatedThrough"), f"{where}.estimatedThrough", unread)
    if begins is None or ends is None:
        begins, ends = optional(moment, at, "$.estimatedTimeOfDelivery", unread), None
    if begins is None:
        return None
    address = section(section(to, "$.destination", unread).get("address"), "$.destination.address", unread)
    zone = zone_of(Place(country=LOCAL.get(service) or text(address.get("countryCode")).upper()))
    return estimate(_local(begins, zone), _local(ends, zone) if ends is not None else None)


def _local(at: datetime, zone: ZoneInfo | None) -> datetime:
    return at.replace(tzinfo=zone) if at.tzinfo is None else at
