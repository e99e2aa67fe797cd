"""DHL Express - MyDHL API, tracking and electronic proof of delivery (polls).

Requests, answers and errors: MyDHL API 3.1.1 (mydhl-api-3.1.1-tracking-subset.json, released 2025-11-02); checkpoints: DHL's
status list by service, `dhl_express.csv`; both read 2026-11. The spec names no limit of calls.

`shipments[].status` is how the look-up went ("Success"), never where the parcel is. Offsets are told on the path of one
shipment only (`requestGMTOffsetPerEvent`): one that is asked about alone is asked about there, several on the other path,
whose times are local to the service area; numbers that an answer leaves out are not known. Each piece is a parcel of its own number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta, timezone
from functools import lru_cache
from typing import Any

from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound
from tracker.domain.facts import (
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
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.timeline import zone_of
from tracker.domain.vocabulary import Precision, TrackingState, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import holding, in_own_words, not_html, raise_by_problem
from tracker.plugin.asked import ASKED, beside, left_out
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.countries import area
from tracker.plugin.payloads import (
    MOST_TEXT,
    about,
    absent,
    decode,
    estimate,
    moment,
    number,
    objects,
    optional,
    pieces,
    printed,
    section,
    several,
    term,
    text,
    told,
)
from tracker.plugin.proofs import read_document

MARK = "express"  # the division, as Unified prints it; the space of the checkpoints too
_SHIPMENT, _PIECE = re.compile(r"\d{10}", re.ASCII), re.compile(r"J[A-Z]{1,3}[A-Z0-9]{8,30}", re.ASCII)
_NUMBER = re.compile(r"[A-Z0-9]{1,35}", re.ASCII)
_OFFSET = re.compile(r"([+-])(?:(\d{1,2})|(\d\d):?([0-5]\d))", re.ASCII)
_END_OF_DAY = time(23, 59)
_SECOND, _UNKNOWN, _WITH_OFFSET = Precision.SECOND, Zone.UNKNOWN, Zone.OFFSET
_iso, _combine = datetime.fromisoformat, datetime.combine


class Settings(contracts.Settings):
    """One MyDHL API user. `base_url`: https://express.api.dhl.com/mydhlapi/test knows a few waybills only.

    `account_number` is the shipper's, where DHL wants it for documents. `language` has three letters. `unknown_words`: what the
    status of a shipment says where nothing is known of it.
    """

    base_url: str = "https://express.api.dhl.com/mydhlapi"
    username: SecretStr
    password: SecretStr
    account_number: str | None = None
    language: str = "eng"
    unknown_words: tuple[str, ...] = ("no shipment", "no data found", "not data found", "no result found")


class DHLExpress(contracts.Carrier):
    """DHL Express parcels."""

    docs = "https://developer.dhl.com/api-reference/dhl-express-mydhl-api"
    unverified = ("in which words a look-up says that nothing is known of a number: `unknown_words`",)
    asks = frozenset({Parcels})
    batch = 200
    proves = True
    carriers = ("dhl",)
    shapes = re.compile(r"\d{10,11}|J[A-Z]{1,3}[A-Z0-9]{8,30}", re.ASCII)
    response_keys = ("shipments", ASKED)
    codes = read_codes(__file__)
    default_zone = "UTC"
    Settings = Settings

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read a tracking answer: a report a shipment, and one a piece of it."""
        body = decode(payload.body)
        if body.get("shipments") is None:  # it says nothing, which is not "no news"
            raise BadPayload("$.shipments", "is missing")
        unread: list[Unread] = []
        shipments = pieces(
            several(body["shipments"]), "$.shipments", _shipment, unread, self.settings.unknown_words, lacks="all"
        )
        found = [report for reports in shipments for report in reports]
        rest = left_out(payload, found, unread)
        found += [Report("dhl", one, tracking=TrackingState.NOT_FOUND) for one in rest]
        return told(found, unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; an error body (title, status) means the same when it comes with a good status."""
        not_html(response)
        raise_by_problem(response, "shipments", "documents")

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /tracking for up to 200 numbers; the path of one shipment, with offsets, for one that is asked about alone."""
        assert isinstance(query, Parcels)
        numbers = list(dict.fromkeys(clean(parcel.number) for parcel in query.parcels))
        if len(numbers) == 1 and _SHIPMENT.fullmatch(numbers[0]):
            yield Page((client.send(self._alone(numbers[0])).body,))
            return
        for start in range(0, len(numbers), self.batch):
            some = numbers[start : start + self.batch]
            known = [one for one in some if _NUMBER.fullmatch(one)]  # any other would have the others refused
            if not known:
                raise NotFound("no number of DHL Express: these are letters and digits")
            yield Page((client.send(self._several(known)).body, beside(some)))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """Fetch the electronic proof of delivery of a shipment; that of a piece is its shipment's, which is asked for first."""
        mine = parcel.number
        if _PIECE.fullmatch(mine):
            answer = decode(holding(client.send(self._several([mine])).body, "shipments"))
            first = next(iter(objects(answer.get("shipments"))), {})
            mine = optional(number, first.get("shipmentTrackingNumber"), "$.shipmentTrackingNumber", []) or ""
            if not mine:
                raise NotFound("DHL Express tells no shipment of this piece")
        params = {"shipperAccountNumber": self.settings.account_number} if self.settings.account_number else {}
        answer = decode(client.send(self._get(f"shipments/{segment(mine)}/proof-of-delivery", params)).body)
        documents = [one for one in objects(answer.get("documents")) if one.get("content")]
        if not documents:
            raise NotFound("DHL Express has no document that proves this delivery, or none yet")
        return read_document(documents[0]["content"], "$.documents[0].content")

    def ping(self, client: Client) -> None:
        """Ask about a number that nobody has: a 404 in DHL's own words proves the user."""
        try:
            holding(client.send(self._alone("0000000000")).body, "shipments")
        except NotFound as error:
            in_own_words(error, "DHL")

    def _several(self, numbers: Sequence[str]) -> Request:
        parts = tuple(one for one in numbers if _PIECE.fullmatch(one))
        shipments = tuple(one for one in numbers if one not in parts)
        asked = {"shipmentTrackingNumber": shipments, "pieceTrackingNumber": parts}
        return self._get("tracking", {**{name: some for name, some in asked.items() if some}, "levelOfDetail": "all"})

    def _alone(self, tracking: str) -> Request:
        more = {"levelOfDetail": "all", "requestGMTOffsetPerEvent": "true"}
        return self._get(f"shipments/{segment(tracking)}/tracking", more)

    def _get(self, path: str, params: Mapping[str, str | tuple[str, ...]]) -> Request:
        settings = self.settings
        headers = {
            "x-version": "3.1.0",
            "Accept-Language": settings.language,
        }  # the version: as the spec says, not to be changed
        basic = (settings.username.get_secret_value(), settings.password.get_secret_value())
        return Request("GET", f"{settings.base_url}/{path}", params=params, headers=headers, basic=basic)


def _shipment(shipment: dict[str, Any], unread: list[Unread], unknown: Sequence[str]) -> list[Report]:
    """Read a shipment, and each piece of it that has a number of its own."""
    get = shipment.get
    mine = number(get("shipmentTrackingNumber"), "$.shipmentTrackingNumber")
    scans, proof, whole = _events(get("events"), unread)
    looked_up, state = term(get("status"), "$.status", unread), TrackingState.ACTIVE
    failed = looked_up if looked_up.casefold() not in ("", "success") and not scans else ""
    if failed:
        known = not any(words in failed.casefold() for words in unknown)
        state = TrackingState.ERROR if known else TrackingState.NOT_FOUND
    receiver = section(get("receiverDetails"), "$.receiverDetails", unread).get("postalAddress")
    country = text(section(receiver, "$.receiverDetails.postalAddress", unread).get("countryCode")).upper()
    edd = _estimate(get("estimatedDeliveryDate"), country, unread)
    parts = pieces(several(get("pieces")), "$.pieces", _piece, unread, mine, edd)
    if unread:
        about(mine, unread)
    report = Report(
        "dhl", mine, scans, tracking=state, complete=whole and not failed, edd=edd, proof=proof, piece=None if failed else MARK, said=failed
    )  # fmt: skip
    return [report, *(part for part in parts if part is not None and part.number != mine)]


def _piece(part: dict[str, Any], unread: list[Unread], main: str, edd: Edd | None) -> Report | None:
    """Read a piece; one without a number of its own is told by its shipment alone."""
    if absent(part.get("trackingNumber")):
        return None
    mine = number(part.get("trackingNumber"), "$.trackingNumber")
    scans, proof, whole = _events(part.get("events"), unread)
    if unread:
        about(mine, unread)
    links = (Link(main, "dhl", "main"),) if mine != main else ()
    return Report("dhl", mine, scans, complete=whole, edd=edd, proof=proof, links=links, piece=MARK)


def _events(value: Any, unread: list[Unread]) -> tuple[tuple[Scan, ...], Proof | None, bool]:
    """Read checkpoints, oldest first as a rule: scans, whether somebody signed, and whether all of them could be read."""
    before = len(unread)
    read = pieces(several(value), "$.events", _event, unread)
    scans = tuple(scan for scan, _ in read)
    proof = next((Proof(scan.occurred_at, signed=True) for scan, signed in reversed(read) if signed), None)
    return scans, proof, bool(scans) and len(unread) == before


def _event(event: dict[str, Any], unread: list[Unread]) -> tuple[Scan, bool]:
    """Read a checkpoint, and whether it says that somebody signed: the name itself may be left out, and is not kept."""
    get = event.get
    kind: Any = get("typeCode")
    said, areas = get("description", ""), get("serviceArea")
    try:  # what has no length is no text, and a list fits in no cache; very long texts stay out of it
        code = _code(kind, said) if len(kind) + len(said) < MOST_TEXT else None
    except TypeError:
        code = None
    if code is None:
        code = _code(term(kind, "$.typeCode", unread), text(said))
    try:
        described = areas[0]["description"]  # type: ignore[index]  # as a rule there is one
        place = _place(described) if 0 < len(described) < MOST_TEXT else None
    except (IndexError, KeyError, TypeError):
        place = None
    if place is None:
        place = _somewhere(areas, unread)
    local, instant, zone, precision = _printed(get("date"), get("time"), get("GMTOffset"), unread)
    if local is None and absent(kind):
        raise BadPayload("$.typeCode", "is missing, and so is its day")
    return Scan(code, local, instant, zone, precision, place), bool(get("signedBy"))


@lru_cache(maxsize=2_000)  # checkpoints of all shipments say the same few hundred things
def _code(kind: str, said: str) -> Code:
    return Code(MARK, text(kind)[:100].upper() or "missing", text(said))


@lru_cache(maxsize=2_000)
def _place(described: str) -> Place:
    """Read a service area, such as `SYDNEY-AU`."""
    city, country = area(text(described))
    return Place(city, country=country)


def _somewhere(areas: Any, unread: list[Unread]) -> Place:
    """Read a service area that is printed otherwise: by its code alone, as one object, or not at all."""
    found = pieces(several(areas), "$.serviceArea", _area, unread)
    return found[0] if found else Place()


def _area(there: dict[str, Any], unread: list[Unread]) -> Place:
    described = term(there.get("description"), "$.description", unread)
    return _place(described) if described else Place(term(there.get("code"), "$.code", unread))


Told = tuple[datetime | None, datetime | None, Zone, Precision]


def _printed(day: Any, clock: Any, offset: Any, unread: list[Unread]) -> Told:
    """Read date, time, and the offset where the answer has one; a time that is none leaves the day, an offset that is none no zone."""
    try:
        at = _iso(f"{day}T{clock}")
        if at.tzinfo is not None or not 1 < at.year < 9999 or len(clock) < 5 or len(day) != 10:
            raise ValueError
    except (TypeError, ValueError):
        local, precision = _oddly(day, clock, unread)
        if local is None or precision is Precision.DATE:
            return local, None, _UNKNOWN, precision
        at = local
    zone = None
    if offset:
        zone = _zone(offset) if offset.__class__ is str else None
        if zone is None:
            unread.append(Unread("$.GMTOffset", f"is no offset such as +09:00: {str(offset)[:40]!r}"))
    if zone is None:
        return at, None, _UNKNOWN, _SECOND if len(clock) > 5 else Precision.MINUTE
    return at, _combine(at, at.time(), zone), _WITH_OFFSET, _SECOND


@lru_cache(maxsize=200)
def _zone(offset: str) -> timezone | None:
    """Read an offset: +09:00, as documented; -5 and +0530 can be nothing else, -420 can (hours, or minutes)."""
    found = _OFFSET.fullmatch(offset.strip()[:10])
    hours, minutes = (int(found[2] or found[3]), int(found[4] or 0)) if found else (99, 0)
    if found is None or hours > 14:
        return None
    return timezone(timedelta(hours=hours, minutes=minutes) * (-1 if found[1] == "-" else 1))


def _oddly(day: Any, clock: Any, unread: list[Unread]) -> tuple[datetime | None, Precision]:
    """Read a date and a time piece by piece, and tell what of it cannot be read."""
    at, _, _, precision = printed(day, "$.date", unread)
    if at is None or absent(clock):
        return at, precision
    try:
        hour = time.fromisoformat(clock.strip())
        if hour.tzinfo is not None:
            raise ValueError
    except (AttributeError, TypeError, ValueError):
        unread.append(Unread("$.time", f"is no time of a day: {str(clock)[:40]!r}"))
        return _combine(at, time()), Precision.DATE
    return _combine(at, hour), _SECOND


def _estimate(value: Any, country: str, unread: list[Unread]) -> Edd | None:
    """Read the estimated delivery: local to the receiver where his country has one zone; the end of a day is the day."""
    at = optional(moment, value, "$.estimatedDeliveryDate", unread)
    if at is None:
        return None
    if (at.hour, at.minute) == (_END_OF_DAY.hour, _END_OF_DAY.minute):
        at = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if at.tzinfo is None and (zone := zone_of(Place(country=country))) is not None:
        at = at.replace(tzinfo=zone)
    return estimate(at)
