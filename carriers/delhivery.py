"""Delhivery Express (B2C, India): the packages call by waybill, and Scan Push as a hint.

Documents: the B2C pages of one.delhivery.com/developer-portal and delhivery-express-api-doc.readme.io (public copies), read 2026-11.
The list of NSL codes is a reseller's, and the shape of answers is that of answers printed in public: the carrier publishes neither.

A scan says three things: its type (`UD` on its way, `DL` ended, `RT` back to the seller; `PP`, `PU`, `CN` of a pick-up at the customer), its
status, and an NSL code. Type and status lead: `DL` is an end of either way, `RTO` and `DTO` end at the seller. The NSL code refines the
reason; only where the status is a common one (In Transit and Pending, which failed attempts are too, and Delivered) it says more. So a scan's
code is `Pending:EOD-11` in the space of its type. Once an answer says that the parcel goes back, a later end is one at the seller.

Times are Indian and have no offset. Scan Push proves nothing of what it tells, so it only has the parcel asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import (
    NOWHERE,
    Code,
    Edd,
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
from tracker.domain.vocabulary import Leg, Reason, ShippingStatus, TrackingState, Trust
from tracker.plugin import contracts
from tracker.plugin.answers import holding, raise_unless_json, retry_after
from tracker.plugin.asked import ASKED, beside, left_out
from tracker.plugin.calls import Client, Request, Response
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits, Secrets
from tracker.plugin.payloads import (
    about,
    absent,
    decode,
    estimate,
    flag,
    leniently,
    listing,
    mapping,
    moment,
    number,
    optional,
    pieces,
    printed,
    section,
    several,
    term,
    text,
    told,
    with_head,
)
from tracker.plugin.payloads import kind as kind_of
from tracker.plugin.proofs import kept_document
from tracker.plugin.signatures import shared_secret

S = ShippingStatus
_ZONE = ZoneInfo("Asia/Kolkata")
_REST = timedelta(
    seconds=30
)  # FAQ "Track Shipment API": wait at least so long after a 403, until the firewall looks again
# FAQ, "Common Remarks": not manifested yet, or of another account than the token's
_NOTHING_KNOWN = ("data does not exist", "no such waybill")
_LONGEST_ERROR = 4_000  # bytes; an answer that tells of a shipment may be as short
_END_OF_DAY = time(23, 59, 59)
_GENERIC = frozenset(
    {("ud", "in transit"), ("ud", "pending"), ("dl", "delivered")}
)  # the NSL code says more than these
_BACK = frozenset({"rt", "pu"})  # types whose NSL codes are listed under UD too: of them only the reason holds
_CUSTOMERS = frozenset({"PP", "PU", "CN"})  # types of a pick-up at the customer's
_ALWAYS = datetime(1970, 1, 1)  # local, as scans are printed
_NO_ESTIMATE = frozenset({S.DELIVERED, S.RETURNING, S.RETURNED, S.CANCELLED, S.LOST})
# where an entry of the history and the head have their type, status, place and time
_SCAN = ("$.ScanDetail", "ScanType", "Scan", "ScannedLocation", "ScanDateTime")
_HEAD = ("$.Shipment.Status", "StatusType", "Status", "StatusLocation", "StatusDateTime")
_PLACE = re.compile(r"(.*)\(([^()]*)\)")


class Settings(contracts.Settings):
    """One client of Delhivery: its static API token, which does not expire (staging has one of its own).

    `base_url`: https://staging-express.delhivery.com is staging. `webhook_header`: the header that Delhivery was told to send with Scan Push; its
    whole value is the secret. `document_hosts`: from where proofs of delivery are fetched; the hosts of its signed links are not told (unverified).
    """

    base_url: str = "https://track.delhivery.com"
    token: SecretStr
    webhook_header: str = "Authorization"
    webhook_secrets: Secrets = ()
    document_hosts: tuple[str, ...] = ()


class NothingThere(Transient):
    """404: of tracking no answer at all, which comes with 200 for a waybill that nobody knows; of documents there is none."""


class Delhivery(contracts.Carrier):
    """Delhivery parcels."""

    docs = "https://one.delhivery.com/developer-portal/documents"
    unverified = (
        "the NSL codes, which a reseller lists",
        "that an answer about several waybills leaves out the unknown ones only",
        "that an end after ReverseInTransit or RTOStartedDate is one at the seller",
        "the hosts of its documents: `document_hosts`",
    )
    trust = Trust.SHARED  # a fixed header, agreed upon by mail; nothing covers the body
    asks = frozenset({Parcels})
    webhooks = True
    pushes_scans = False
    carriers = ("delhivery",)
    response_keys = ("ShipmentData", ASKED)
    batch = 50
    limits = Limits(750, timedelta(minutes=5))  # an IP (Track Shipment API, Q2)
    codes = read_codes(__file__)
    default_zone = "Asia/Kolkata"
    proves = True
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account: its documents come from the hosts that its settings name."""
        super().__init__(account, settings)
        self.stream_hosts = self.settings.document_hosts

    def verify(self, payload: Payload) -> int:
        """Check the header that was agreed upon."""
        name = self.settings.webhook_header.lower()
        return shared_secret(self.settings.webhook_secrets, payload.headers.get(name), name=name)

    def meaning(self, code: Code) -> Meaning | None:
        """Read type and status of a scan; its NSL code refines the reason, and says more where the status is a common one."""
        return _meaning(code.space.casefold(), code.code.casefold())

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer about waybills; a push says only that there is news of one."""
        body, unread = decode(payload.body), list[Unread]()
        if payload.kind == "webhook":
            pushed = body.get("Shipment")  # one, or, as a public receiver reads them, a list
            return told(pieces(several(pushed) or [pushed], "$.Shipment", _news, unread, lacks="all"), unread)
        if body.get("ShipmentData") is None:
            if _says_unknown(_error(payload.body)):
                return ()
            raise BadPayload("$.ShipmentData", "is missing")  # it says nothing, which is not "no news"
        found = pieces(several(body["ShipmentData"]), "$.ShipmentData", self._shipment, unread, lacks="all")
        if not unread:  # what is left out is not known
            rest = left_out(payload, found, unread)
            found += [Report("delhivery", one, tracking=TrackingState.NOT_FOUND) for one in rest]
        return told(found, unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says, but 403 is the firewall's throttle (FAQ), and that nothing is known is said with 200 or 400.

        Raises NotFound for it: an error of that kind, or a list without any shipment. Any other error is one with 200, too.
        """
        if response.status == 403:
            said = "HTTP 403: more than 750 requests in 5 minutes from this address, or the token may not do this"
            raise RateLimited(said, max(retry_after(response) or _REST, _REST))
        error = _error(response.body) if response.status in (200, 400) else None
        if _says_unknown(error):
            raise NotFound(error or "no shipment")
        if response.status == 404:
            raise NothingThere("HTTP 404: no API of Delhivery answers there")
        raise_unless_json(response)
        if error:
            raise Transient(f"HTTP {response.status} with an error: {error}")

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /api/v1/packages/json/, up to 50 waybills a call."""
        assert isinstance(query, Parcels)
        numbers = [one for parcel in query.parcels if (one := clean(parcel.number)) and "," not in one]
        for start in range(0, len(numbers), self.batch):
            some = numbers[start : start + self.batch]
            yield Page((self._track(client, some).body, beside(some)))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """GET /api/rest/fetch/pkg/document/?doc_type=EPOD (Download Document API): a signed link to the image, which is fetched."""
        asked = {"doc_type": "EPOD", "waybill": clean(parcel.number)}
        try:
            answer = decode(self._get(client, "/api/rest/fetch/pkg/document/", asked).body)
        except NothingThere as error:
            raise NotFound(str(error)) from None
        links = listing(mapping(answer.get("data"), "$.data").get("EPOD"), "$.data.EPOD")
        if not links:
            raise NotFound(text(answer.get("message")) or "no document, or it was archived")
        link, where = text(links[0]), "$.data.EPOD[0]"
        try:
            host = urlsplit(link).hostname
        except ValueError:
            host = None
        if host is None:
            raise BadPayload(where, f"must be an address, is {kind_of(links[0])}")
        if host not in self.stream_hosts:
            raise Refused(f"the document lies at {host:.100}: name it in document_hosts, if it is Delhivery's")
        return kept_document(client, link, where)

    def ping(self, client: Client) -> None:
        """Ask about a waybill that nobody has: that it is not known proves the token."""
        with suppress(NotFound):
            holding(self._track(client, ["00000000000000"]).body, "ShipmentData")

    def _track(self, client: Client, numbers: Sequence[str]) -> Response:
        return self._get(client, "/api/v1/packages/json/", {"waybill": ",".join(numbers)})

    def _get(self, client: Client, path: str, params: Mapping[str, str]) -> Response:
        headers = {"Accept": "application/json", "Authorization": f"Token {self.settings.token.get_secret_value()}"}
        return client.send(Request("GET", f"{self.settings.base_url}{path}", params, headers))

    def _shipment(self, item: dict[str, Any], unread: list[Unread]) -> Report:
        if not isinstance(item.get("Shipment"), dict) and (said := text(item.get("Error"))):
            raise BadPayload("$.Error", f"it says {said!r:.80}")
        get = mapping(item.get("Shipment"), "$.Shipment").get
        mine = number(get("AWB"), "$.Shipment.AWB")
        since = _going_back(get("ReverseInTransit"), get("RTOStartedDate"), unread)
        abroad = _abroad(get("Consignee"), unread)
        scans: Sequence[Scan] = pieces(several(get("Scans")), "$.Shipment.Scans", _scan, unread, since, abroad)
        status = section(get("Status"), "$.Shipment.Status", unread)
        over, received = None, ""
        if status:
            head = _read(status, _HEAD, unread, since, abroad)
            scans = with_head(scans, head, self.meaning)
            says = self.meaning(head.code)
            over, received = says.status if says is not None else None, text(status.get("RecievedBy"))  # spelt so
            if head.leg is Leg.RETURN_TO_SENDER:
                over = S.RETURNED
        edd = None
        if over not in _NO_ESTIMATE and since is None:
            edd = _estimate(get("ExpectedDeliveryDate"), get("PromisedDeliveryDate"), unread)
        if unread:
            about(mine, unread)
        proof = Proof(signed=True) if received and over is S.DELIVERED else None
        return Report("delhivery", mine, tuple(scans), edd=edd, proof=proof)


_TABLE = {(space.casefold(), code.casefold()): meaning for (space, code), meaning in Delhivery.codes.items()}


@lru_cache(maxsize=4_000)
def _meaning(kind: str, printed: str) -> Meaning | None:
    """Read a type, and a status with its NSL code, in small letters."""
    status, _, nsl = printed.partition(":")
    get = _TABLE.get
    says, why = get((kind, status)), get((f"nsl {kind}", nsl))
    if why is None and kind in _BACK:
        why = get(("nsl ud", nsl))
    if says is None:
        says = get(("word", status))  # words that the documents name without a type; what was returned is no pick-up
        if says is not None and kind in ("dl", "rt") and says.status is not S.LOST:
            says = None
    if says is None or why is None:
        return why if says is None and kind == "lt" else says
    if (kind, status) in _GENERIC and why.status is not None:
        return says if why.status is S.PRE_TRANSIT else why
    assert says.status is not None
    if why.reason is Reason.INFORMATION_ONLY or (says.status.terminal and why.status is not says.status):
        return says
    return replace(says, reason=why.reason)


def _error(body: bytes) -> str | None:
    """Return what an answer without any shipment says instead, empty where its list is; None for any other answer."""
    if len(body) > _LONGEST_ERROR:
        return None
    answer = leniently(body)
    if answer.get("ShipmentData"):
        return None
    said = filter(None, (text(answer.get(name)) for name in ("Error", "error", "rmk")))
    return next(said, "" if answer.get("ShipmentData") is not None else None)


def _says_unknown(error: str | None) -> bool:
    """Say whether an answer without any shipment says that it knows none of the waybills."""
    return error is not None and (not error or any(words in error.casefold() for words in _NOTHING_KNOWN))


def _news(shipment: dict[str, Any], _unread: list[Unread]) -> Report:
    return Report("delhivery", number(shipment.get("AWB"), "$.AWB"))


def _scan(item: dict[str, Any], unread: list[Unread], since: datetime | None, abroad: bool) -> Scan:
    detail = item.get("ScanDetail")
    if detail.__class__ is not dict:
        raise BadPayload("$.ScanDetail", f"must be an object, is {kind_of(detail)}")
    return _read(detail, _SCAN, unread, since, abroad)


def _read(
    detail: dict[str, Any], names: tuple[str, ...], unread: list[Unread], since: datetime | None, abroad: bool
) -> Scan:
    """Read an entry of the history, or the status at the head: its type, status, NSL code, words and place, and when it was."""
    get = detail.get
    where, of_type, of_status, of_place, of_time = names
    try:
        code, leg = _code(get(of_type), get(of_status), get("StatusCode"), get("Instructions"))
        place = _place(get(of_place), abroad)
    except TypeError:  # slowly, with what is no text
        words = [term(get(one), f"{where}.{one}", unread) for one in (of_type, of_status, "StatusCode", "Instructions")]
        code, leg = _code(*words)
        place = _place(term(get(of_place), f"{where}.{of_place}", unread), abroad)
    at = get(of_time)
    if absent(at):
        at, of_time = get("StatusDateTime"), "StatusDateTime"
    local, instant, zone, precision = printed(at, f"{where}.{of_time}", unread)
    if since is not None and leg is None and code.space == "DL" and (local is None or local >= since):
        leg = Leg.RETURN_TO_SENDER
    return Scan(code, local, instant, zone, precision, place, None, leg)


@lru_cache(maxsize=4_000)  # scans of all parcels say the same few hundred things
def _code(kind: Any, status: Any, nsl: Any, said: Any) -> tuple[Code, Leg | None]:
    """Return the code of a scan, and its leg where its type says that the customer sends the parcel. Raises TypeError for what is no text."""
    if not {kind.__class__, status.__class__, nsl.__class__, said.__class__} == {str}:
        raise TypeError
    kind, status, nsl = kind.strip().upper()[:20], status.strip()[:50], "".join(nsl.split()).upper()[:40]
    leg = Leg.CUSTOMER_RETURN if kind in _CUSTOMERS or status.upper() == "DTO" else None
    printed = f"{status or 'missing'}:{nsl}" if nsl else status or "missing"
    return Code(kind or "none", printed, text(said)), leg


@lru_cache(maxsize=4_000)
def _place(said: Any, abroad: bool) -> Place:
    """Read a place, such as `Delhi_Airport_GW (Delhi)`: a facility, and its state. Raises TypeError for what is no text."""
    if said.__class__ is not str:
        raise TypeError
    said = text(said)
    if not said:
        return NOWHERE
    found = _PLACE.fullmatch(said)
    country = "" if abroad else "IN"
    return Place(found[1].rstrip(), found[2], country=country) if found else Place(said, country=country)


def _abroad(consignee: Any, unread: list[Unread]) -> bool:
    """Say whether the parcel goes to another country: its scans may be there, and the country of a scan is not told."""
    where = "$.Shipment.Consignee"
    country = term(section(consignee, where, unread).get("Country"), f"{where}.Country", unread)
    return country.casefold() not in ("", "india", "in")


def _going_back(reverse: Any, started: Any, unread: list[Unread]) -> datetime | None:
    """Return from when on the parcel goes back to the seller, in local time: RTOStartedDate, else always where ReverseInTransit says so."""
    since = optional(moment, started, "$.Shipment.RTOStartedDate", unread)
    if since is not None:
        return since.replace(tzinfo=None)
    return _ALWAYS if flag(reverse, "$.Shipment.ReverseInTransit", unread) else None


def _estimate(expected: Any, promised: Any, unread: list[Unread]) -> Edd | None:
    """Take the day that is expected, else that which was promised. Its last second means the day, as midnight does."""
    day = optional(moment, expected, "$.Shipment.ExpectedDeliveryDate", unread)
    day = day or optional(moment, promised, "$.Shipment.PromisedDeliveryDate", unread)
    if day is None:
        return None
    day = day if day.tzinfo else day.replace(tzinfo=_ZONE)
    if day.time().replace(microsecond=0) == _END_OF_DAY:
        return estimate(day.replace(hour=0, minute=0, second=0, microsecond=0), day)
    return estimate(day)
