"""Hermes Germany (not Evri, which was Hermes UK): the Shipment Info API of the Hermes Shipping Interface, and its POD API.

Documents: openapi-shipment.yaml (2025-12-08), openapi-auth.yaml (2025-07-28), openapi-POD.yaml (2025-11-28) and Hermes_Germany_Eventcodes.csv, read 2026-11.

Answers print 3x3 codes (`60-1-4`, each part of three digits); the list gives each of them a 2x2 code (`3710`), which is read too. "Back at the
depot" (40xx) is no return: returns begin at 60xx, but 6080 and 6086 to 6090 are processing and redirects, and end with 7500, which is at the client.
Codes that begin with 065 are a customer's return. Some scans take the one before them back; they undo it only where it is of the sort that they
correct: a return that was cancelled would turn "delivered" into "returned". An answer holds the whole history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Transient
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
    ProofDocument,
    Query,
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import Leg, ShippingStatus, TrackingState
from tracker.plugin import contracts
from tracker.plugin.answers import holding, not_html, raise_unless_json, said_by
from tracker.plugin.asked import ASKED, asked, beside, left_out
from tracker.plugin.calls import Client, Request, Response, Token
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Remark
from tracker.plugin.countries import alpha2
from tracker.plugin.oauth import Tokens, ask_token, bearer, token_call
from tracker.plugin.payloads import (
    about,
    decode,
    estimate,
    leniently,
    number,
    odd_code,
    optional,
    pieces,
    printed,
    section,
    several,
    term,
    text,
    told,
    word,
)
from tracker.plugin.proofs import bytes_document

S = ShippingStatus
_ZONE = ZoneInfo("Europe/Berlin")
_NOTHING = "e001"  # "There is no information for the entered value.", beside a number and of a whole answer
_NOT_ALLOWED = frozenset({"e900", "e902", "e903"})  # not authorized; the token is invalid, expired: with 400 too
_NOBODY = "H0000000000000000000"
_ON_ITS_WAY_BACK = (
    "115",
    "125",
    "100009",
    "1520",
    "7500",
    "6089",
)  # a customer's return too, where the history says that it is one
# what a correction takes back, by its first digits: the return to the client, the tour, what the ParcelShop told
_TAKES_BACK = {"100090": S.RETURNING, "050090": S.OUT_FOR_DELIVERY, "048090": S.DELIVERED}
Reason = Literal[
    "REQUESTED_BY_PAYMENT_PROVIDER", "REQUESTED_BY_HEALTH_INSURANCE", "REQUESTED_BY_RECEIVER", "REQUESTED_BY_AUTHORITY",
    "POSSIBLE_FRAUD_CASE",
]  # fmt: skip


class Settings(contracts.Settings):
    """One customer of Hermes, and the client (the software) that asks for them.

    Either `username` and `password` of the customer, or the `code` that Hermes hands out where they agree in a browser, with the `redirect_uri`
    that it was asked for with: it works once, then refresh tokens are kept in the vault (a new `code` begins anew). `base_url`: only that of
    integration is documented, https://de-api-int.hermesworld.com/services (unverified), with https://authme-int.myhermes.de as host of
    `token_url`. `pod_reason`: what Hermes is told a signature is wanted for; without it none is asked for.
    """

    base_url: str = "https://de-api.hermesworld.com/services"
    token_url: str = "https://authme.myhermes.de/authorization-facade/oauth2/access_token"
    client_id: str
    client_secret: SecretStr
    username: str | None = None
    password: SecretStr | None = None
    code: SecretStr | None = None
    redirect_uri: str | None = None
    language: Literal["EN", "DE"] = "EN"
    pod_reason: Reason | None = None


class HermesGermany(contracts.Carrier):
    """Parcels of Hermes Germany."""

    docs = "https://de-api.hermesworld.com/docs/applications/shipmentinfo"
    unverified = ("the host of production: `base_url`",)
    asks = frozenset({Parcels})
    carriers = ("hermes_germany",)
    response_keys = ("shipmentinfo", ASKED)
    batch = 100
    codes = read_codes(__file__)
    default_zone = "Europe/Berlin"
    proves = True
    token_lasts = timedelta(hours=1)
    Settings = Settings
    example: ClassVar[dict[str, Any]] = {"username": "customer", "code": None}

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)

    def examine(self, read: Any, codes: Any) -> Iterator[Remark]:
        """Say what is missing of a grant: a password of somebody, or a code and where it was sent."""
        settings = self.settings
        if (settings.password is None) == (settings.code is None):
            yield Remark((), "needs either username and password, or code and redirect_uri")
        elif settings.password is not None and settings.username is None:
            yield Remark(("password",), "is of whom? `username` is missing")
        elif settings.code is not None and settings.redirect_uri is None:
            yield Remark(("code",), "needs the redirect_uri that it was asked for with")

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the code; what a correction undoes is left, whatever it was."""
        meaning = self.codes.get((code.space, code.code))
        return replace(meaning, correction=True) if meaning is not None and code.space == "undoes" else meaning

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer: one report a shipment; what is not known is said inside of it."""
        body = decode(payload.body)
        if body.get("shipmentinfo") is None:
            if _result(payload.body)[0] == _NOTHING:
                return ()
            raise BadPayload("$.shipmentinfo", "is missing")  # it says nothing, which is not "no news"
        unread, wanted = list[Unread](), frozenset(asked(payload))
        infos = pieces(several(body["shipmentinfo"]), "$.shipmentinfo", self._shipment, unread, wanted, lacks="all")
        rest = left_out(payload, infos, unread)
        if rest and any(one.number not in wanted for one in infos):  # it may be of those, by another number
            return told(infos, [*unread, *(Unread("$.shipmentinfo", "tells of other numbers", one) for one in rest)])
        infos += [Report("hermes_germany", one, tracking=TrackingState.NOT_FOUND) for one in rest]
        return told(infos, unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says, but for `listOfResultCodes`: tokens are refused with 400, what is not known is said with 200 or 404.

        404 without such a code is no answer of theirs: nothing answers at that address.
        """
        if response.status == 200 and response.body.startswith(b"%PDF-"):
            return
        not_html(response)
        code, said = _result(response.body)
        if response.status in (400, 401, 403):
            if response.status != 400 or code in _NOT_ALLOWED:
                why = said or said_by(response.body, "")
                raise CredentialsRejected(f"HTTP {response.status}: {why}" if why else f"HTTP {response.status}")
            if code == "e002" and "not successful" in said:  # of a query; of the POD API it is a field that is missing
                raise Transient(f"HTTP 400: {said}")
            if said:
                raise Refused(f"HTTP 400: {said}")
        if response.status == 404 and not code:
            raise Transient("HTTP 404: no API of Hermes answers there")
        if code and response.status in (200, 404):
            if code == _NOTHING or response.status == 404:
                raise NotFound(said)
            raise Transient(f"HTTP 200 with an error: {said}")
        raise_unless_json(response)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /hsi/shipmentinfo, up to 100 numbers a call, each once."""
        assert isinstance(query, Parcels)
        numbers = list(dict.fromkeys(filter(None, (clean(parcel.number) for parcel in query.parcels))))
        for start in range(0, len(numbers), self.batch):
            some = numbers[start : start + self.batch]
            yield Page((self._info(client, some).body, beside(some)))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """POST /pod/signature: a PDF with the signature. How many may be asked for is limited by month (openapi-POD, e008)."""
        settings = self.settings
        if settings.pod_reason is None:
            raise Refused("pod_reason is not set: Hermes wants to be told what a signature is wanted for")
        asked = {"shipmentId": clean(parcel.number), "reason": settings.pod_reason}
        headers = {"Accept-Language": settings.language, "Content-Type": "application/json"}
        request = Request("POST", f"{settings.base_url}/pod/signature", headers=headers, content=orjson.dumps(asked))
        return bytes_document(self._tokens.send(client, request, bearer).body, "$")

    def ping(self, client: Client) -> None:
        """Ask about a number that nobody has: whatever is said of it, token and authorization hold."""
        with suppress(NotFound):
            holding(self._info(client, [_NOBODY]).body, "shipmentinfo")

    def _info(self, client: Client, numbers: Sequence[str]) -> Response:
        headers = {"Accept": "application/json", "Accept-Language": self.settings.language}
        request = Request("GET", f"{self.settings.base_url}/hsi/shipmentinfo", {"shipmentID": tuple(numbers)}, headers)
        return self._tokens.send(client, request, bearer)

    # access

    def _grant(self, client: Client) -> Token:
        """Ask for a token (openapi-auth): by password; else by the refresh token that is kept, at first by the code."""
        settings = self.settings
        if settings.password is not None:
            form = {
                "grant_type": "password", "username": settings.username or "",
                "password": settings.password.get_secret_value(),
            }  # fmt: skip
            return self._ask(client, form)[0]
        if settings.code is None:
            raise CredentialsRejected("neither password nor code is configured")
        code = settings.code.get_secret_value()
        mark = hashlib.sha256(code.encode()).hexdigest()[:16]  # of which code the kept token is
        kept, _, refresh = (client.vault.load() or "").partition(":")
        if kept == mark and refresh:
            form = {"grant_type": "refresh_token", "refresh_token": refresh}
        else:
            try:  # a code works once: it is not used up where its successor could not be kept
                client.vault.store(f"{mark}:")
            except Refused as error:
                raise CredentialsRejected(str(error)) from None  # of the account: no parcel is at fault
            form = {"grant_type": "authorization_code", "code": code, "redirect_uri": settings.redirect_uri or ""}
        try:
            token, answer = self._ask(client, form)
        except CredentialsRejected as error:
            raise CredentialsRejected(f"{error}; a new code is handed out at {self._consent()}") from None
        if renewed := text(answer.get("refresh_token")):
            client.vault.store(f"{mark}:{renewed}")
        return token

    def _ask(self, client: Client, form: dict[str, str]) -> tuple[Token, dict[str, Any]]:
        settings = self.settings
        form = {**form, "client_id": settings.client_id, "client_secret": settings.client_secret.get_secret_value()}
        return ask_token(client, token_call(settings.token_url, form, idempotent=False))

    def _consent(self) -> str:
        """Return where the customer agrees in a browser (openapi-auth, authorize)."""
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.redirect_uri or "",
        }
        return f"{self.settings.token_url.rpartition('/')[0]}/authorize?{urlencode(asked)}"

    # an answer

    def _shipment(self, info: dict[str, Any], unread: list[Unread], wanted: frozenset[str]) -> Report:
        get = info.get
        mine = number(get("shipmentID"), "$.shipmentID")
        if wanted and mine not in wanted and (other := text(get("internationalShipmentID")).upper()) in wanted:
            mine = other
        scans: Sequence[Scan] = pieces(several(get("status")), "$.status", _status, unread)
        whole = bool(scans) and not unread  # "Contains the whole status history for this shipment."
        if any(scan.code.code[3:6] == "090" or scan.leg is not None for scan in scans):
            scans = self._in_context(scans)
        edd = None
        if (forecast := get("deliveryForecast")) is not None and not self._over(scans):
            edd = _estimate(forecast, unread)
        state, said = TrackingState.ACTIVE, ""
        if (result := get("result")) is not None:
            result = section(result, "$.result", unread)
            code = optional(word, result.get("code"), "$.result.code", unread)
            said = ": ".join(filter(None, (code, text(result.get("message")))))
            if scans and code is not None and code.lower() != _NOTHING:
                unread.append(Unread("$.result", f"says {said:.80} beside a history"))
            elif not scans and code is not None:
                state = TrackingState.NOT_FOUND if code.lower() == _NOTHING else TrackingState.ERROR
        if not scans and not unread and state is TrackingState.ACTIVE:
            state = TrackingState.NOT_FOUND  # no history and no word why: nothing is known of it
        if unread:
            about(mine, unread)
        return Report("hermes_germany", mine, tuple(scans), state, complete=whole, edd=edd, said="" if scans else said)

    def _in_context(self, scans: Sequence[Scan]) -> list[Scan]:
        """Read what takes a scan back, and the way back of what a customer returns, by what was told before them."""
        found = list(scans)
        before: ShippingStatus | None = None
        ended = customers = False
        for at in sorted(range(len(found)), key=lambda i: (found[i].occurred_at or _NEVER, i)):
            scan = found[at]
            code = scan.code
            takes = _TAKES_BACK.get(code.code[:6])
            if takes is not None and takes is before and (not ended or takes is S.DELIVERED):
                found[at] = scan = replace(scan, code=replace(code, space="undoes"))
                ended = False
            elif customers and code.code.startswith(_ON_ITS_WAY_BACK):
                found[at] = replace(scan, leg=Leg.CUSTOMER_RETURN)
            customers = customers or scan.leg is not None
            meaning = self.meaning(scan.code)
            if meaning is not None and meaning.status is not None:
                before, ended = meaning.status, ended or meaning.status is S.DELIVERED
        return found

    def _over(self, scans: Sequence[Scan]) -> bool:
        """Say whether no delivery is to be expected any more."""
        meanings = map(self.meaning, (scan.code for scan in scans))
        return any(one is not None and one.status in (S.DELIVERED, S.RETURNING, S.RETURNED) for one in meanings)


_NEVER = datetime(1, 1, 2, tzinfo=UTC)


def _result(body: bytes) -> tuple[str, str]:
    """Return the first code of `listOfResultCodes`, and what it says; empty where an answer has none, or tells of shipments too."""
    if b'"listOfResultCodes"' not in body:
        return "", ""
    answer = leniently(body)
    listed = several(answer.get("listOfResultCodes"))
    first = listed[0] if isinstance(listed, list) and listed else None
    if not isinstance(first, dict) or answer.get("shipmentinfo"):
        return "", ""
    code = text(first.get("code")).lower()
    return code, ": ".join(filter(None, (code, text(first.get("message")))))


def _status(status: dict[str, Any], unread: list[Unread]) -> Scan:
    get = status.get
    try:
        code, leg = _code(get("code"), get("description"))
    except TypeError:  # slowly, with what is no text
        printed_code = odd_code(get("code"), "$.code", unread)
        code, leg = _code(printed_code, term(get("description"), "$.description", unread))
    place = NOWHERE
    if (unit := get("scanningUnit")) is not None:
        at = section(unit, "$.scanningUnit", unread).get
        city = term(at("city"), "$.scanningUnit.city", unread)
        place = _place(city, term(at("countryCode"), "$.scanningUnit.countryCode", unread))
    return Scan(code, *printed(get("timestamp"), "$.timestamp", unread), place, None, leg)


@lru_cache(maxsize=4_000)
def _place(city: str, country: str) -> Place:
    return Place(city, country=alpha2(country)) if city or country else NOWHERE


@lru_cache(maxsize=4_000)
def _code(code: Any, said: Any) -> tuple[Code, Leg | None]:
    """Read a code, and its leg where it is a customer's return: `60-1-4` and `060001004` are 3x3, `3710` is 2x2. Raises TypeError for what is no text."""
    if code.__class__ is not str or said.__class__ is not str or not code.strip():
        raise TypeError
    parts = code.strip().split("-")
    digits = all(part.isascii() and part.isdigit() for part in parts)
    if digits and len(parts) == 3 and all(len(part) <= 3 for part in parts):
        found = Code("3x3", "".join(part.zfill(3) for part in parts), text(said))
    elif digits and len(parts) == 1 and len(parts[0]) <= 4:
        found = Code("2x2", parts[0].zfill(4), text(said))
    elif digits and len(parts) == 1 and len(parts[0]) <= 9:
        found = Code("3x3", parts[0].zfill(9), text(said))
    else:
        found = Code("3x3", code.strip()[:100], text(said))
    returned = found.space == "3x3" and found.code.startswith("065")
    return found, Leg.CUSTOMER_RETURN if returned or (found.space == "2x2" and found.code in _CUSTOMERS) else None


_CUSTOMERS = frozenset({"3760", "3761", "4060", "4061", "4062"})  # the 2x2 codes of 065


def _estimate(forecast: Any, unread: list[Unread]) -> Edd | None:
    """Read the day of delivery and its time slot, which is in German time; without one it is the whole day."""
    where = "$.deliveryForecast"
    get = section(forecast, where, unread).get
    day = optional(_date, get("date"), f"{where}.date", unread)
    slot = section(get("timeSlot"), f"{where}.timeSlot", unread)
    begins = optional(_time, slot.get("from"), f"{where}.timeSlot.from", unread)
    ends = optional(_time, slot.get("to"), f"{where}.timeSlot.to", unread)
    if day is None:
        return None
    first = datetime.combine(day, begins or ends or time(), _ZONE)
    return estimate(first, datetime.combine(day, ends, _ZONE) if ends is not None else None)


def _date(value: Any, where: str) -> date:
    try:
        found = date.fromisoformat(word(value, where)[:10])
    except ValueError:
        raise BadPayload(where, f"is no date: {value!r:.40}") from None
    if not 1 < found.year < 9999:
        raise BadPayload(where, f"is no year that can be: {value!r:.40}")
    return found


def _time(value: Any, where: str) -> time:
    try:
        return time.fromisoformat(word(value, where)).replace(tzinfo=None)
    except ValueError:
        raise BadPayload(where, f"is no time of a day: {value!r:.40}") from None
