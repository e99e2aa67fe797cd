"""ShipRocket, the courier service of KartRocket shops: parcels of many couriers, by poll, and by a push that proves nothing of what it says.

Contract: apidocs.shiprocket.in (its Postman collection, as api-evangelist/shiprocket @ 5e8ec33 converted it on 2026-09-18): login, tracking by
AWB and of 50 AWBs a call, the webhook and its rules of addresses, answers and errors; support.shiprocket.in 43000337456 (a token lives ten days);
all read 2026-11. Codes: `shiprocket.csv`; their numbers are told by public programs, their words by the samples.

Two lists of statuses share their numbers: 7 is delivered in both, 12 is Lost in the one and Pickup Queue in the other. `shipment_status_id`,
`shipment_status` of polls and `sr-status` of scans are of shipments; `current_status_id` is of orders and speaks only where nothing else
does. A number and the word beside it must say the same, or what they say is unknown, as a pair. Of a return (`is_return`) "Delivered" means that
the seller has it again: such codes have a space of their own. Times are Indian, and never say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import orjson
from pydantic import Field, SecretStr, field_validator

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, Transient
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
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import Leg, Precision, ShippingStatus, TrackingState, Trust, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import holding, not_html, raise_unless_json, retry_after, said_by
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Secrets
from tracker.plugin.oauth import Tokens, ask_token, bearer
from tracker.plugin.payloads import (
    about,
    absent,
    decode,
    document,
    estimate,
    kind,
    listing,
    mapping,
    number,
    optional,
    piece,
    pieces,
    section,
    term,
    text,
    told,
    with_head,
    word,
)
from tracker.plugin.proofs import MOST_DOCUMENT, bytes_document
from tracker.plugin.signatures import shared_secret
from tracker.plugin.times import Told, ZoneName

MOST_AWBS = 50  # of a call: "Maximum of 50 AWB codes is supported at a time"
MODULES = "the panel (Settings > API) says which modules an API user may use: it needs tracking"
NOTHING = frozenset({"", "NA", "N/A"})  # printed for what is not there
ZERO = "0000-00-00"  # likewise, for a date
EMPTY = (b"{}", b"[]")  # of nobody
_iso = datetime.fromisoformat
_APART, _PARTS, _RETURN = re.compile(r"[-_\s]+"), re.compile(r" - |[:;,(){}]"), re.compile(r"return[-_\s]", re.I)
# what follows a courier's name in those of its services; a weight may follow too
_SERVICE = re.compile(
    r"(?:[ _-]+(?:surface|air|reverse|qc|stressed|essential|ros|flash|local|flat rate|international"
    r"|(?:\d+(?:\.\d+)? ?)?(?:kgs?|gms?|g)))+#*$",
    re.IGNORECASE,
)
_NEVER: Told = (None, None, Zone.UNKNOWN, Precision.SECOND)


class Settings(contracts.Settings):
    """One API user of ShipRocket (its e-mail is another than that of the panel's login).

    `numbers_per_call`: 1 asks about each AWB alone. `webhook_header`: some accounts send `anx-api-key`. `zone`: of all times.
    `pod_urls`: proofs of delivery are fetched from addresses that begin so.
    """

    base_url: str = "https://apiv2.shiprocket.in/v1/external"
    email: str
    password: SecretStr
    numbers_per_call: int = Field(MOST_AWBS, ge=1, le=MOST_AWBS)
    webhook_header: str = "x-api-key"
    webhook_secrets: Secrets = ()
    zone: ZoneName = "Asia/Kolkata"
    pod_urls: tuple[str, ...] = ("https://s3-ap-southeast-1.amazonaws.com/kr-shipmultichannel/",)

    @field_validator("pod_urls")
    @classmethod
    def _whole(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse what would let other hosts in: an address without a path begins that of a longer name too."""
        for one in value:
            if not re.fullmatch(r"https?://[^/?#@\s]+/[^?#@\s]*", one):
                raise ValueError(f"{one!r:.80} is no https://host/ of which an address can begin")
        return value


class ShipRocket(contracts.Carrier):
    """Parcels of many couriers, told by ShipRocket."""

    docs = "https://apidocs.shiprocket.in/"
    unverified = (
        "that 50 AWBs may be asked about in a call: `numbers_per_call`",
        "the header of its token: `webhook_header`",
        "that its times are Indian: `zone`",
        "where proofs are kept: `pod_urls`",
        "what the numbers of statuses mean: told by public programs, and by the words beside them",
    )
    trust = Trust.SHARED  # at most a token that its sender knows: what a push tells waits for the poll that it causes
    shuns = ("shiprocket", "kartrocket", "sr", "kr")  # its panel takes no address of a webhook that holds one
    asks = frozenset({Parcels})
    webhooks = True
    response_keys = ("tracking_data", "asked")
    vocabulary = ("shiprocket",)
    codes = read_codes(__file__)
    default_zone = "Asia/Kolkata"
    proves = True
    token_lasts = timedelta(days=10)
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self.batch = self.settings.numbers_per_call
        self.default_zone = self.settings.zone
        self.stream_hosts = tuple(urlsplit(one).hostname or "" for one in self.settings.pod_urls)
        self._tokens = Tokens(self._grant)

    def verify(self, payload: Payload) -> int:
        """Check the token that was typed into the panel beside our address (`x-api-key`): it proves who speaks, not what is said."""
        name = self.settings.webhook_header.lower()
        return shared_secret(self.settings.webhook_secrets, payload.headers.get(name), name=name)

    def carrier_of(self, word: str) -> str | None:
        """Return the carrier that a courier's name means: `Acme Surface 5 Kgs` is a service of Acme."""
        return super().carrier_of(word) or super().carrier_of(_SERVICE.sub("", word))

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read what is told of one AWB, of several by their AWBs, of an order's (a list), or a push."""
        body = document(payload.body)
        unread: list[Unread] = []
        if isinstance(body, list):
            return told(pieces(body, "$", _answer, unread, self, None, lacks="all"), unread)
        body = mapping(body, "$")
        if payload.kind == "webhook":
            return _pushed(body, unread, self)
        asked = [awb for awb in listing(decode(payload.parts[-1]).get("asked"), "$.asked") if isinstance(awb, str)]
        if "tracking_data" in body:
            alone = piece(body, "$", _answer, unread, self, asked[0] if asked else None, lacks="all")
            return told([alone], unread) if alone is not None else _of_none(body, unread)
        parcels = [(awb, one) for awb, one in body.items() if awb != "asked"]
        found = [piece(one, f"$.{awb}", _answer, unread, self, awb, lacks="all") for awb, one in parcels]
        reports = [report for report in found if report is not None]
        missing = sorted({*map(clean, asked)} - {clean(awb) for awb, _ in parcels})
        unknown = [Report("unknown", number(awb, "$.asked"), tracking=TrackingState.NOT_FOUND) for awb in missing]
        return told([*reports, *unknown], unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says, or as a body says that comes with 200: `message` and `status_code` instead of what was asked for."""
        not_html(response)
        if response.status in (401, 403):
            _raise(response.status, response)
        raise_unless_json(response)
        if b'"message"' in response.body and b'"tracking_data"' not in response.body:
            body = decode(response.body) if response.body[:1] == b"{" else {}
            if not absent(body.get("message")):
                _raise(body.get("status_code"), response)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """POST /courier/track/awbs with up to 50, or GET /courier/track/awb/{awb}. A refusal of several does not say whose: each is asked about alone."""
        assert isinstance(query, Parcels)
        awbs = [clean(parcel.number) for parcel in query.parcels]
        for start in range(0, len(awbs), self.batch):
            some = awbs[start : start + self.batch]
            if self.batch > 1:
                try:
                    yield _page(self._several(client, some), some)
                    continue
                except Refused:
                    if len(some) == 1:
                        raise
            for awb in some:
                try:
                    yield _page(self._alone(client, awb), [awb])
                except NotFound:
                    yield _page(b"{}", [awb])

    def _alone(self, client: Client, awb: str) -> bytes:
        return self._send(client, Request("GET", f"{self.settings.base_url}/courier/track/awb/{segment(awb)}"))

    def _several(self, client: Client, awbs: Sequence[str]) -> bytes:
        """Ask about several: the answer lacks those that are not known. Raises Transient for 404, which speaks of none of them."""
        url, headers = f"{self.settings.base_url}/courier/track/awbs", {"Content-Type": "application/json"}
        try:
            return self._send(client, Request("POST", url, headers=headers, content=orjson.dumps({"awbs": awbs})))
        except NotFound as error:
            raise Transient(f"for {len(awbs)} AWBs together: {error}") from None

    def _send(self, client: Client, request: Request) -> bytes:
        try:
            return self._tokens.send(client, request, bearer).body
        except _NotAllowed as error:
            raise CredentialsRejected(f"{error}: {MODULES}") from None

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """Fetch the picture that the answer about an AWB names, from where ShipRocket keeps them and nowhere else."""
        body = decode(holding(self._alone(client, clean(parcel.number)), "tracking_data"))
        url = _picture(_track(section(body.get("tracking_data"), "$.tracking_data", []), []))
        if not url:
            raise NotFound("no proof of delivery is told")
        if not url.startswith(self.settings.pod_urls):
            raise Refused(
                f"the proof lies at {ascii(urlsplit(url).netloc)[1:60]}, from where none is fetched: pod_urls"
            )
        with client.stream(url) as file:
            return bytes_document(file.read(MOST_DOCUMENT + 1), "$")

    def ping(self, client: Client) -> None:
        """Log in, and ask about an AWB that nobody has: the answer proves that the API user may ask."""
        try:
            body = self._alone(client, "0") if self.batch == 1 else self._several(client, ["0"])
        except NotFound:
            return
        if body.strip() not in EMPTY:
            holding(body, "tracking_data")

    def _grant(self, client: Client) -> Token:
        """POST /auth/login. Whatever refuses it says that the credentials are wrong: tried again and again, they lock the API user."""
        settings = self.settings
        login = {"email": settings.email, "password": settings.password.get_secret_value()}
        url, headers = f"{settings.base_url}/auth/login", {"Content-Type": "application/json"}
        request = Request("POST", url, headers=headers, content=orjson.dumps(login), idempotent=False)
        try:
            token, _ = ask_token(client, request, named="token")
        except (CredentialsRejected, NotFound, _Words) as error:
            raise CredentialsRejected(f"ShipRocket refuses the login of {settings.email}: {error}") from None
        return Token(token.value, client.now() + timedelta(days=10))


class _NotAllowed(Refused):
    """A call that the API user may not make."""


class _Words(Transient):
    """An error that only words tell, with a good status."""


def _raise(status: Any, response: Response) -> NoReturn:
    """Raise what a status says, that of HTTP or of a body that comes with 200; with none it is an error all the same."""
    said = f"HTTP {response.status}: {said_by(response.body)}"
    if not isinstance(status, int):
        raise _Words(said)
    if status == 429:
        raise RateLimited(said, retry_after(response))
    known = {401: CredentialsRejected, 403: _NotAllowed, 404: NotFound}
    raise known.get(status, Refused if 400 <= status < 500 else Transient)(said)


def _page(answer: bytes, asked: Sequence[str]) -> Page:
    """Return a page that says what was asked, too: an answer leaves out whom it does not know, or does not say of whom it tells."""
    said = orjson.dumps({"asked": asked})
    return Page((said,) if answer.strip() in EMPTY else (answer, said))


# what they tell


def _of_none(body: dict[str, Any], unread: list[Unread]) -> list[Report | Unread]:
    """Say that an answer tells nothing, and not of whom; raises BadPayload where it is another one that cannot be read."""
    data = body["tracking_data"]
    if isinstance(data, dict) and _is_nothing(data):
        said = text(data.get("error")) or "nothing yet"
        return [Unread("$.tracking_data", f"tells of no AWB: {said}", lacks="nothing")]
    return told([], unread)


def _is_nothing(data: dict[str, Any]) -> bool:
    """Say whether nothing is told yet: `track_status` 0 or an error, no scan, no status."""
    nothing = data.get("track_status") in (0, "0") or not absent(data.get("error"))
    return nothing and not data.get("shipment_track_activities") and _printed(data.get("shipment_status")) in NOTHING


def _track(data: dict[str, Any], unread: list[Unread]) -> dict[str, Any]:
    """Return the head of an answer: the first of a list, or the object alone."""
    track = data.get("shipment_track")
    if isinstance(track, list):
        track = track[0] if track else None
    return section(track, "$.tracking_data.shipment_track[0]", unread)


def _answer(body: dict[str, Any], unread: list[Unread], source: ShipRocket, asked: str | None) -> Report:
    """Read what a poll tells of one AWB: its history, newest first, and the status at its head."""
    at, first = "$.tracking_data", "$.tracking_data.shipment_track[0]"
    data = mapping(body.get("tracking_data"), at)
    track = _track(data, unread)
    get, awb = track.get, track.get("awb_code")
    mine = number(asked or awb, f"{first}.awb_code")
    other = optional(number, awb, f"{first}.awb_code", unread)
    carrier = _carrier(track, first, unread, source)
    activities, back = data.get("shipment_track_activities"), _back(data, track)
    head = _code(data.get("shipment_status"), get("current_status"), f"{at}.shipment_status", unread, back)
    if head is None and _is_nothing(data):
        return Report(carrier, mine, tracking=TrackingState.NOT_FOUND, said=text(data.get("error")))
    if head is None and absent(activities):
        raise BadPayload(f"{at}.shipment_track_activities", "is missing")
    scans: Sequence[Scan] = pieces(activities or None, f"{at}.shipment_track_activities", _scan, unread, back)
    whole = bool(scans) and not unread  # a history that lacks a scan, or the time of one, withdraws none
    if head is not None and not _contradicted(head, scans):
        ended = _printed_at(get("delivered_date"), f"{first}.delivered_date", unread)
        says = source.meaning(head)
        when = ended if says is not None and says.status is ShippingStatus.DELIVERED else _NEVER
        scans = with_head(scans, Scan(head, *when, leg=_leg(head, back)), source.meaning)
    day = _estimated(data.get("etd"), f"{at}.etd", unread, source)
    day = day or _estimated(get("edd"), f"{first}.edd", unread, source)
    links = [Link(other, None, "replaces")] if other is not None and other != clean(mine) else []
    if (rto := optional(number, get("rto_awb"), f"{first}.rto_awb", unread)) is not None and rto != mine:
        links.append(Link(rto, None, "return"))
    if unread:
        about(mine, unread)
    proof = Proof(photo=True) if _picture(track) else None
    return Report(carrier, mine, tuple(scans), complete=whole, edd=day, links=tuple(links), proof=proof)


def _pushed(body: dict[str, Any], unread: list[Unread], source: ShipRocket) -> list[Report | Unread]:
    """Read a push: scans, and the status at their head. Nobody vouches for it: its proof is left to the poll that it causes."""
    get = body.get
    if absent(get("awb")) and not absent(get("sr_order_id")):
        return [Unread("$.awb", "is empty: its order has no parcel yet", lacks="nothing")]
    mine = number(get("awb"), "$.awb")
    carrier, back = _carrier(body, "$", unread, source), _back(body, body)
    scans: Sequence[Scan] = pieces(get("scans"), "$.scans", _scan, unread, back)
    head = _code(get("shipment_status_id"), get("shipment_status"), "$.shipment_status_id", unread, back)
    if head is None and not scans:
        head = _code(get("current_status_id"), get("current_status"), "$.current_status_id", unread, back, "order")
        if head is None:
            raise BadPayload("$.shipment_status_id", "is missing")
    if head is not None and not _contradicted(head, scans):
        when = _printed_at(get("current_timestamp"), "$.current_timestamp", unread)
        scans = with_head(scans, Scan(head, *when, leg=_leg(head, back)), source.meaning)
    day = _estimated(get("etd"), "$.etd", unread, source)
    if unread:
        about(mine, unread)
    return told([Report(carrier, mine, tuple(scans), edd=day)], unread)


def _carrier(track: dict[str, Any], where: str, unread: list[Unread], source: ShipRocket) -> str:
    """Return the carrier of a courier's name, else of its number at ShipRocket; `unknown` where neither is told."""
    named = term(track.get("courier_name"), f"{where}.courier_name", unread)
    if named:
        return source.carrier_of(named) or named.lower()
    theirs = optional(word, track.get("courier_company_id"), f"{where}.courier_company_id", unread)
    return (source.carrier_of(theirs) if theirs is not None else None) or "unknown"


def _back(data: dict[str, Any], track: dict[str, Any]) -> bool:
    """Say whether a customer sends it back: then "Delivered" means to the seller."""
    return data.get("is_return", track.get("is_return")) in (1, "1")


def _leg(code: Code, back: bool) -> Leg | None:
    return Leg.CUSTOMER_RETURN if back or _RETURN.match(code.code) or _RETURN.match(code.text) else None


def _scan(scan: dict[str, Any], unread: list[Unread], back: bool) -> Scan:
    """Read a scan. ShipRocket gives some none of its statuses (`NA`): those move nothing; what says none at all is UNKNOWN."""
    get = scan.get
    given, label, said = get("sr-status"), get("sr-status-label"), text(get("activity"))
    code = _code(given, label, "$.sr-status", unread, back)
    if code is None:
        none = absent(given) and absent(label)
        code = Code("courier", text(get("status"))[:100] or "missing") if none else Code("shipment", "NA")
    elif (code.space, code.code) == ("shipment", "21") and (why := _reason(said)):
        code = Code("ndr", why)
    location = text(get("location"))
    place = NOWHERE if location.upper() in NOTHING else Place(location)
    told_ = Code(code.space, code.code, said) if said else code
    return Scan(told_, *_printed_at(get("date"), "$.date", unread), place=place, leg=_leg(code, back))


def _contradicted(head: Code, scans: Sequence[Scan]) -> bool:
    """Say whether a scan has the number of the head beside a word that says otherwise: `Delivered` at the head of `RTO DELIVERED`."""
    return any(scan.code.space == "pair" and scan.code.code.startswith(f"{head.code} ") for scan in scans)


# statuses


def _code(given: Any, label: Any, where: str, unread: list[Unread], back: bool, space: str = "shipment") -> Code | None:
    """Return the code of a status: its number where the word beside it says the same, or its word alone; None: there is neither."""
    if given.__class__ not in (str, int) and given is not None:
        unread.append(Unread(where, f"must be a text or a number, is {kind(given)}"))
        given = None
    if label.__class__ is not str and label is not None:
        unread.append(Unread(where, f"has beside it {kind(label)}, which is no word"))
        label = None
    return _found(given, label or "", back, space)


@lru_cache(maxsize=4000)
def _found(given: str | int | None, label: str, back: bool, space: str) -> Code | None:
    """Look up a number and its word. What ends a journey needs its word, where there is one, to be known: else the pair is unknown."""
    shown, spelt, codes = _printed(given), _spelt(label), ShipRocket.codes
    turned = f"RETURN {spelt}"[:100] if back and not spelt.startswith(("RETURN", "RTO")) else spelt
    if shown in NOTHING:
        return None if spelt in NOTHING else Code("label", turned, label.strip())
    if not shown.isdecimal():
        return Code("label", shown, label.strip())
    space = "return" if back and space == "shipment" else space
    says = codes.get((space, shown))
    if spelt in NOTHING or says is None:
        return Code(space, shown, label.strip())
    beside = codes.get(("label", turned)) or codes.get(("label", spelt))
    ends = says.status is not None and says.status.terminal
    if (beside is None and ends) or (beside is not None and beside.status is not says.status):
        return Code("pair", f"{shown} {spelt}"[:100], label.strip())
    return Code(space, shown, label.strip())


def _printed(given: Any) -> str:
    """Return a number of a status as our table spells it."""
    shown = str(given).strip()[:40] if given.__class__ in (str, int) else ""
    return shown.lstrip("0") if shown.isdecimal() and shown.isascii() else _spelt(shown)


def _spelt(label: str) -> str:
    """Return a word of a status as our table spells it: in capitals, with single spaces (`REACHED_BACK AT-SELLER_CITY`)."""
    return _APART.sub(" ", label[:100]).strip().upper()


@lru_cache(maxsize=2000)
def _reason(said: str) -> str:
    """Return why a delivery failed, where a part of what is said is one of the reasons of ShipRocket's list (NDR)."""
    parts = [_spelt(part) for part in _PARTS.split(said)]
    return next((part for part in parts if ("ndr", part) in ShipRocket.codes), "")


# times


def _printed_at(value: Any, where: str, unread: list[Unread]) -> Told:
    """Return a time as a scan holds it: local, of a zone that nobody printed. `YYYY-MM-DD HH:MM:SS`, in pushes `DD MM YYYY HH:MM:SS` too."""
    at = _read_time(value, where, unread)
    if at is None:
        return _NEVER
    if at.tzinfo is not None:  # not seen yet
        return at.replace(tzinfo=None), at, Zone.OFFSET, Precision.SECOND
    return at, None, Zone.UNKNOWN, Precision.DATE if len(value.strip()) == 10 else Precision.SECOND


def _read_time(value: Any, where: str, unread: list[Unread]) -> datetime | None:
    """Read a time. With spaces the day comes first, as the documents show it; of any other form which is the month is not guessed."""
    if absent(value) or (value.__class__ is str and (value.startswith(ZERO) or value.upper() in NOTHING)):
        return None
    try:
        if value[2:3] == " " and value[5:6] == " ":
            day, month, year, *clock = value.split()
            if len(year) == 4:
                value = f"{year}-{month}-{day} {clock[0]}" if clock else f"{year}-{month}-{day}"
        at = _iso(value.strip())
        if 1 < at.year < 9999 and value.strip()[4:5] == "-":
            return at
    except (TypeError, ValueError, AttributeError):
        pass
    unread.append(Unread(where, f"is no time of a form that ShipRocket's documents show: {str(value)[:40]!r}"))
    return None


def _estimated(value: Any, where: str, unread: list[Unread], source: ShipRocket) -> Edd | None:
    """Return when it is expected; at midnight: that day."""
    at = _read_time(value, where, unread)
    return estimate(at if at.tzinfo else at.replace(tzinfo=ZoneInfo(source.settings.zone))) if at is not None else None


def _picture(track: dict[str, Any]) -> str:
    """Return the address of the proof: it stands in `pod_status` beside `pod: Available`, or in `pod`."""
    for name in ("pod_status", "pod"):
        if (found := text(track.get(name))).startswith(("https://", "http://")):
            return found
    return ""
