"""PostNL ShippingStatus API v2 (poll, and a feed of what changed).

Contract: developer.postnl.nl ShippingStatus v2 openapi, status and event codes: `postnl.csv`; read 2026-11. What happened to a parcel is
told by its events; a status code alone says less: phase 4, "delivered", holds parcels that wait for their recipient, and 11 returns.
So a status counts where no event tells of it, and the feed, which tells status codes only, is believed where all events of a
code say the same (space `feed`); of anything else it says that the parcel must be asked about. Empty values are printed as `{}`, and a
list of one element may be that element. A number that is not found is a warning with code 2, in an answer with 200; a warning beside a shipment
is told. Where no event is told the earlier statuses (`OldStatus`) are the history. `I06` may be the last event that is ever told of a PO box (unverified):
it moves a parcel to nobody; an account's `codes:` may say otherwise. Times have no offset:
`08-11-2022 10:13:20` in an answer about a number, ISO 8601 in the feed, both of the Netherlands (the documents do not name the zone: unverified).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr

from tracker.domain.errors import BadPayload, NotFound, Refused, Transient
from tracker.domain.facts import (
    Code,
    Edd,
    Link,
    Page,
    Parcel,
    Parcels,
    Payload,
    ProofDocument,
    Query,
    Report,
    Scan,
    Since,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.plugin import contracts
from tracker.plugin.answers import not_html, raise_unless_json
from tracker.plugin.asked import ASKED, asked, beside
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.payloads import (
    about,
    decode,
    document,
    estimate,
    leniently,
    moment,
    number,
    objects,
    optional,
    pieces,
    printed,
    section,
    several,
    text,
    told,
    with_head,
    word,
)
from tracker.plugin.proofs import read_document

_ZONE = ZoneInfo("Europe/Amsterdam")
_NOT_FOUND = "2"  # Warnings[].Code: "No shipment found", "No signature found"
_EMPTY: tuple[Any, ...] = (None, "", {}, [])
_HOUR = timedelta(hours=1)
_LONGEST = 2 * _HOUR  # that may be asked for at once (openapi, updatedshipments)
_SECOND = timedelta(seconds=1)
_iso8601 = datetime.fromisoformat


class Settings(contracts.Settings):
    """One customer of PostNL.

    `base_url`: https://api-sandbox.postnl.nl is the sandbox. `customer_number`: the feed tells of its parcels. `language` of the words that
    come with scans. `customer_code`: with it a number that is no barcode is asked for as the customer's reference too (one of letters and digits). `overlap_minutes`: how far each reading of the feed goes back behind the one before; what PostNL takes to show an update there is
    not told (unverified).
    """

    base_url: str = "https://api.postnl.nl"
    api_key: SecretStr
    customer_number: str
    customer_code: str | None = None
    language: Literal["EN", "NL", "DE", "FR", "CN"] = "EN"
    overlap_minutes: int = Field(15, ge=1, le=30)


class PostNL(contracts.Carrier):
    """PostNL parcels."""

    docs = "https://developer.postnl.nl/docs/#/http/api-endpoints/shippingstatus"
    unverified = ("the zone of its times: the Netherlands", "how long an update takes to come: `overlap_minutes`")
    asks = frozenset({Parcels, Since})
    carriers = ("postnl",)
    response_keys = ("Shipment", ASKED)  # the second is our own part of a page: the reference that was asked about
    codes = read_codes(__file__)
    default_zone = "Europe/Amsterdam"
    proves = True
    # openapi, updatedshipments: read it every 5 to 15 minutes, up to 48 hours back
    sweep_every = timedelta(minutes=10)
    sweep_least = timedelta(minutes=5)
    reaches_back = timedelta(hours=48)
    Settings = Settings

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer about a number, which may tell of all pieces of its shipment; of a sweep, pages of the feed."""
        if payload.kind == "sweep":
            return self._changes(payload)
        answer, unread = decode(payload.body), list[Unread]()
        reports: list[Report] = []
        known = [name for name in ("CompleteStatus", "CurrentStatus") if answer.get(name) is not None]
        warnings = _warnings(answer) if answer.get("Warnings") else []
        if not known:
            if _NOT_FOUND in dict(warnings):
                return ()
            raise BadPayload("$.CompleteStatus", "is missing")  # it says nothing, which is not "no news"
        for name in known:
            shipments = section(answer[name], f"$.{name}", unread).get("Shipment")
            where, whole = f"$.{name}.Shipment", name == "CompleteStatus" and not warnings
            reports += pieces(several(shipments), where, self._shipment, unread, whole, lacks="all")
        for mine in asked(payload):  # a reference: each shipment of it is a journey under that number
            reports = [replace(report, number=mine, piece=report.number) for report in reports]
            unread = [replace(one, subject=mine) if one.subject else one for one in unread]
        if reports:
            unread += [Unread("$.Warnings", f"says {code}: {said}") for code, said in warnings]
        elif not unread and _NOT_FOUND not in dict(warnings):
            raise BadPayload(f"$.{known[0]}.Shipment", "is missing")
        return told(reports, unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; `fault` and `http_status_code` (openapi, shippingstatusResponseError) stay errors when they come with 200.

        Raises NotFound for a warning with code 2 and nothing beside it.
        """
        not_html(response)
        if said := _fault(response.body):
            if 200 <= response.status < 300:
                raise Transient(f"HTTP {response.status} with an error: {said}")
            if response.status == 400:
                raise Refused(f"HTTP 400: {said}")
        if response.status == 404:  # what is not found is said with 200
            raise Transient("HTTP 404: nothing of PostNL answers there: is `base_url` right?")
        raise_unless_json(response)
        if b'"Warnings"' in response.body:
            self._raise_warnings(response.body)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /shipment/v2/status/barcode/{barcode}, else /reference/{reference}, all events of it; or the feed from the cursor until now."""
        if isinstance(query, Since):
            yield from self._feed(client, query.cursor, query.until or client.now())
            return
        assert isinstance(query, Parcels)
        for parcel in query.parcels:
            mine = clean(parcel.number)
            params = {"detail": "true", "language": self.settings.language}
            try:
                yield Page((self._get(client, f"barcode/{segment(mine)}", params).body,))
            except NotFound:
                if self.settings.customer_code is None:
                    raise
                of = {"customerCode": self.settings.customer_code, "customerNumber": self.settings.customer_number}
                answer = self._get(client, f"reference/{segment(mine)}", {**params, **of})
                yield Page((answer.body, beside([mine])))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """GET /shipment/v2/status/signature/{barcode}: an image in base64 (openapi: a GIF; its own example is a PNG)."""
        response = self._get(client, f"signature/{segment(piece or clean(parcel.number))}", {})
        signature = decode(response.body).get("Signature")
        image = signature.get("SignatureImage") if isinstance(signature, dict) else None
        return read_document(image, "$.Signature.SignatureImage")

    def ping(self, client: Client) -> None:
        """Ask what changed in the last minutes, which is a list."""
        for page in self._feed(client, None, client.now()):
            if not all(isinstance(document(part), list) for part in page.parts):
                raise Transient("an answer that is no list of what changed")

    def _get(self, client: Client, path: str, params: dict[str, str | tuple[str, ...]]) -> Response:
        headers = {"Accept": "application/json", "apikey": self.settings.api_key.get_secret_value()}
        return client.send(Request("GET", f"{self.settings.base_url}/shipment/v2/status/{path}", params, headers))

    @staticmethod
    def _raise_warnings(body: bytes) -> None:
        """Raise NotFound where an answer has nothing but a warning that there is nothing."""
        answer = document(body)
        if not isinstance(answer, dict):
            return
        said = dict(_warnings(answer))
        if all(value in _EMPTY for name, value in answer.items() if name != "Warnings") and _NOT_FOUND in said:
            raise NotFound(said[_NOT_FOUND] or "not found")

    # the feed

    def _feed(self, client: Client, cursor: str | None, now: datetime) -> Iterator[Page]:
        """Ask for one period after the other, from a little before the cursor, of which the feed tells; at first from now on."""
        now = now.replace(microsecond=0)
        oldest = now - self.reaches_back + timedelta(minutes=5)
        since = max(min(_moment(cursor) if cursor is not None else now, now), oldest)
        begins = max(since - timedelta(minutes=self.settings.overlap_minutes), oldest)
        while True:
            ends = min(begins + _LONGEST, now)
            if _shown(ends) - _shown(begins) > _LONGEST:  # clocks were put forward meanwhile
                ends = begins + _HOUR
            path = f"{segment(self.settings.customer_number)}/updatedshipments"
            parts = [self._get(client, path, {"period": period}).body for period in _periods(begins, ends)]
            yield Page(tuple(parts), ends.astimezone(UTC).isoformat())
            if ends >= now:
                return
            begins = ends - _SECOND  # whether a period holds its ends is not told

    def _changes(self, payload: Payload) -> list[Report | Unread]:
        unread: list[Unread] = []
        reports: list[Report] = []
        for at, part in enumerate(payload.parts):
            where = "$" if at == 0 else f"$parts[{at}]"
            changes = document(part)
            if not isinstance(changes, list):  # an error body, of whatever shape
                raise BadPayload("$", "must be a list of what changed")
            reports += pieces(changes, where, _change, unread, lacks="all")
        return [*reports, *unread]

    # an answer about a number

    def _shipment(self, shipment: dict[str, Any], unread: list[Unread], whole: bool) -> Report:
        get = shipment.get
        mine = number(get("Barcode"), "$.Barcode")
        scans: Sequence[Scan] = pieces(several(get("Event")), "$.Event", _event, unread)
        complete = whole and bool(scans) and not unread
        if not scans and not unread and (old := get("OldStatus")) is not None:
            scans = pieces(several(old), "$.OldStatus", _old, unread)
        status = section(get("Status"), "$.Status", unread)
        if (code := _code(status.get("StatusCode"), "$.Status.StatusCode", unread)) != "":
            head = _scan(
                "status", _plain(code), status.get("StatusDescription"), status.get("TimeStamp"), "$.Status", unread
            )
            if not scans or self._tells_more(head, scans):
                scans = with_head(scans, head, self.meaning)
        elif not scans and not unread:
            unread.append(Unread("$.Status.StatusCode", "is missing"))
        main = _filled(get("MainBarcode"))
        links: tuple[Link, ...] = ()
        if main is not None and (other := optional(number, main, "$.MainBarcode", unread)) not in (None, mine):
            links = (Link(str(other), "postnl", "main"),)
        edd = _estimate(shipment, unread)
        if unread:
            about(mine, unread)
        return Report("postnl", mine, tuple(scans), complete=complete, edd=edd, links=links)

    def _tells_more(self, head: Scan, scans: Sequence[Scan]) -> bool:
        """Say whether the status is later than all events that mean something, and one that needs none of them to be understood."""
        clear = self.codes.get(("feed", head.code.code))
        if head.local is None or clear is None or clear.status is None:
            return False
        timed = [(scan.local, self.meaning(scan.code) is not None) for scan in scans if scan.local is not None]
        return all(head.local > at or (head.local == at and not known) for at, known in timed)


def _filled(value: Any) -> Any:
    """Return a value, None for what PostNL prints where there is none."""
    return None if value in _EMPTY else value


def _warnings(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """Return code and words of each warning: of a list, of one, or of `{"Warning": ...}`."""
    warnings = answer.get("Warnings")
    if isinstance(warnings, dict) and "Warning" in warnings:
        warnings = warnings["Warning"]
    return [
        (optional(word, one.get("Code"), "$", []) or "no code", text(one.get("Message"))) for one in objects(warnings)
    ]


def _fault(body: bytes) -> str:
    """Return what an error body says; empty where an answer is none."""
    if b'"fault"' not in body and b'"http_status_code"' not in body:
        return ""
    answer = leniently(body)
    if not (answer.get("fault") or answer.get("http_status_code")):
        return ""
    fault = answer.get("fault")
    return text(fault.get("faultstring") if isinstance(fault, dict) else answer.get("message")) or "no reason given"


def _code(value: Any, where: str, unread: list[Unread]) -> str:
    return optional(word, _filled(value), where, unread) or ""


def _plain(code: str) -> str:
    """Return a status code without the zero that the list of events prints before it."""
    return code.lstrip("0") or code


def _event(event: dict[str, Any], unread: list[Unread]) -> Scan:
    get = event.get
    try:
        return Scan(_event_code(get("Code"), get("Description")), _clock(get("TimeStamp")))
    except (TypeError, ValueError, LookupError):
        pass  # slowly, with what is odd
    code = _code(get("Code"), "$.Code", unread).upper()
    if not code and not unread:
        unread.append(Unread("$.Code", "is missing"))
    code = code or "missing"  # it is kept, as UNKNOWN
    return _scan("event", code, get("Description"), get("TimeStamp"), "$", unread)


@lru_cache(maxsize=4_000)
def _event_code(code: Any, words: Any) -> Code:
    """Return the code of an event. Raises TypeError or ValueError for one that is not a plain text with words."""
    if code.__class__ is not str or words.__class__ is not str or not 0 < len(code.strip()) <= 100:
        raise TypeError
    return Code("event", code.strip().upper(), text(words))


def _clock(value: Any) -> datetime:
    """Read `08-11-2022 10:13:20`. Raises TypeError or ValueError for anything else."""
    if value[2:6:3] != "--" or value[10] != " ":
        raise ValueError
    at = _iso8601(f"{value[6:10]}-{value[3:5]}-{value[:2]}T{value[11:]}")
    if not 1 < at.year < 9999 or at.tzinfo is not None:
        raise ValueError
    return at


def _old(status: dict[str, Any], unread: list[Unread]) -> Scan:
    """Read an earlier status."""
    code = _plain(_code(status.get("StatusCode"), "$.StatusCode", unread))
    if not code and not unread:
        unread.append(Unread("$.StatusCode", "is missing"))
    return _scan("status", code or "missing", status.get("StatusDescription"), status.get("TimeStamp"), "$", unread)


def _scan(space: str, code: str, words: Any, at: Any, where: str, unread: list[Unread]) -> Scan:
    return Scan(Code(space, code, text(words)), *printed(_iso(_filled(at)), f"{where}.TimeStamp", unread))


def _iso(value: Any) -> Any:
    """Return `08-11-2022 10:13:20` as ISO 8601; anything else as it is."""
    if isinstance(value, str) and len(value) >= 19 and value[2:6:3] == "--" and value[10] == " ":
        return f"{value[6:10]}-{value[3:5]}-{value[:2]}T{value[11:]}"
    return value


def _change(item: dict[str, Any], unread: list[Unread]) -> Report:
    """Read an item of the feed; one whose status cannot be read still tells which parcel changed."""
    mine = number(item.get("Barcode"), "$.Barcode")
    scans: tuple[Scan, ...] = ()
    status = section(item.get("Status"), "$.Status", unread)
    at = status.get("Timestamp", status.get("TimeStamp"))
    if code := _code(status.get("StatusCode"), "$.Status.StatusCode", unread):
        scans = (_scan("feed", _plain(code), status.get("StatusDescription"), at, "$.Status", unread),)
    elif not unread:
        unread.append(Unread("$.Status.StatusCode", "is missing"))
    if unread:
        about(mine, unread)
    return Report("postnl", mine, scans)


def _estimate(shipment: dict[str, Any], unread: list[Unread]) -> Edd | None:
    """Take the expected window, else the expected day."""
    at = "$.Expectation"
    window = section(_filled(shipment.get("Expectation")), at, unread)
    begins = optional(moment, _filled(window.get("ETAFrom")), f"{at}.ETAFrom", unread)
    ends = optional(moment, _filled(window.get("ETATo")), f"{at}.ETATo", unread)
    if begins is None and ends is None:
        begins = optional(moment, _filled(shipment.get("DeliveryDate")), "$.DeliveryDate", unread)
    begins = begins or ends
    return estimate(_local(begins), _local(ends) if ends else None) if begins else None


def _local(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=_ZONE)


def _moment(cursor: str) -> datetime:
    """Read a cursor of ours. Raises Refused for another."""
    try:
        at = datetime.fromisoformat(cursor)
    except ValueError:
        raise Refused("its cursor is no moment") from None
    if at.tzinfo is None or not 2000 < at.year < 9000:
        raise Refused("its cursor is no moment")
    return at


def _shown(at: datetime) -> datetime:
    return at.astimezone(_ZONE).replace(tzinfo=None)


@lru_cache(maxsize=4)
def _repeated(day: datetime) -> datetime | None:
    """Return the hour of a day (a local midnight) that the clocks show twice."""
    hours = (day + timedelta(hours=hour) for hour in range(24))
    return next((at for at in hours if _offset(at, 0) > _offset(at, 1)), None)


def _offset(at: datetime, fold: int) -> timedelta:
    return at.replace(tzinfo=_ZONE, fold=fold).utcoffset() or timedelta(0)


def _periods(begins: datetime, ends: datetime) -> list[tuple[str, str]]:
    """Print a period in the time of the Netherlands, which is no longer than two hours however it is understood.

    In the night in which an hour comes twice nobody knows which of both is meant: periods that touch it are asked for so that both are told.
    """
    since, until = _shown(begins), _shown(ends)
    hour = _repeated(until.replace(hour=0, minute=0, second=0))
    if hour is None or until < hour or since > hour + _HOUR:
        return [(since.isoformat(), until.isoformat())]
    parts = [(hour - _SECOND, hour + _HOUR - _SECOND), (hour, hour + _HOUR)]
    if since < hour - _SECOND:
        parts.insert(0, (since, hour - _SECOND))
    if until > hour + _HOUR:
        parts.append((hour + _HOUR, until))
    return [(first.isoformat(), last.isoformat()) for first, last in parts]
