"""USPS: Tracking v3 (GET, one number) or v3r2 (POST, 35 numbers) for polls, Subscriptions-Tracking for push.

Contract of v3: tracking.yaml 3.2.6 (developers.usps.com, read 2026-11). Of v3r2, the subscriptions and their callbacks only third
parties tell (read 2026-11): what they leave open or contradict each other in is a setting, named so below. Codes: copies of
Publication 199, appendices G-4 and G-5, in `usps.csv`; the official list was not at hand.

USPS allows an application some 60 requests an hour, of all its products and with its requests for tokens together. The event's code
says what happened. `statusCategory` at the head is read where the newest event's code is not known, and arbitrates 17 and 43, which
say "picked up" of the recipient and of a partner alike. Times are local, whatever `Z` they end with; `GMTTimestamp` is the instant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Transient, WebhookRejected
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
    Query,
    Refs,
    Registered,
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.timeline import zone_of
from tracker.domain.vocabulary import TrackingState, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import not_html, raise_unless_json, said_by
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits, Remark, Reply, Secrets
from tracker.plugin.oauth import Tokens, ask_token, bearer
from tracker.plugin.payloads import (
    about,
    absent,
    decode,
    document,
    estimate,
    moment,
    number,
    optional,
    pieces,
    term,
    text,
    told,
)
from tracker.plugin.signatures import hmac_base64

# Error Inventory (USPS/api-examples, read 2026-11), all with HTTP 400: the number may come to be known
NOT_YET = frozenset({"150001", "150002", "150003", "150004", "150009"})
FRAUD = "150012"  # the postage is fraudulent: USPS keeps the parcel
QUARTER = timedelta(minutes=15)  # by which zones differ
BY_CATEGORY = frozenset({"17", "43"})
SUBSCRIBED_FOR = timedelta(days=30)  # without traffic for so long a listener is dropped
SECRET_LENGTH = 32
LONGEST_CHALLENGE = 200
TRACKING, SUBSCRIPTIONS = "Tracking", "Subscriptions - Tracking"  # the API products, as the portal calls them
ASK = "ask USPS for the API product {}: developers.usps.com, your application, or its support form"


class Settings(contracts.Settings):
    """One USPS application: its `client_id` and `client_secret`.

    `base_url`: https://apis-tem.usps.com is the test environment. `version`: which Tracking API the application was given: `v3` asks
    about one number a call, `v3r2` about 35 (unverified: what it answers is read as v3's events, in a list). `scope`: what the token
    is asked for; by default tracking, and subscriptions-tracking where news are pushed.

    Push: `callback_url` is our address, `webhook_secrets` hold a secret of 32 characters. `mid` subscribes to all parcels of a Mailer
    ID by one call; without it each parcel costs a call of the sixty. `admin_email` gets USPS' warnings. Unverified, because their
    sources differ: `subscriptions_path` (also /subscriptions-tracking/v3r2/subscriptions, /subscriptions/v3), `mid_key` (also
    mailerID), `event_types` (also ALL_UPDATES), `webhook_header` (older: hmac-header, which is read too), `challenge_key` and
    `challenge_reply`: under which name the listener's challenge comes, and whether it is echoed as text or as JSON.
    """

    base_url: str = "https://apis.usps.com"
    client_id: str
    client_secret: SecretStr
    version: Literal["v3", "v3r2"] = "v3"
    scope: str | None = None
    callback_url: str | None = None
    mid: str | None = None
    admin_email: str | None = None
    webhook_secrets: Secrets = ()
    webhook_header: str = "X-HMAC"
    subscriptions_path: str = "/subscriptions-tracking/v3/subscriptions"
    mid_key: str = "MID"
    event_types: tuple[str, ...] = ("ALL",)
    challenge_key: str = "challenge"
    challenge_reply: Literal["text", "json"] = "text"


class USPS(contracts.Carrier):
    """USPS parcels."""

    docs = "https://developers.usps.com/trackingv3"
    unverified = (
        "what v3r2 answers is read as v3's: `version`",
        "how its pushes are asked for and proved: `subscriptions_path`, `mid_key`, `event_types`, `webhook_header`, `challenge_key`, `challenge_reply`",
    )
    asks = frozenset({Parcels})
    webhooks = True
    registers = True
    carriers = ("usps",)
    response_keys = ("trackingNumber", "errors")
    codes = read_codes(__file__)
    default_zone = "America/New_York"
    limits = Limits(60, timedelta(hours=1), tokens="counted")
    token_lasts = timedelta(hours=8)  # expires_in 28799
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)
        self.batch = 35 if self.settings.version == "v3r2" else 1
        self.register_batch = 500 if self.settings.mid else 1
        self._subscribed_until: datetime | None = None  # by its Mailer ID, as this process knows

    def examine(self, read: Callable[[str], bytes], codes: Mapping[tuple[str, str], Meaning]) -> Iterator[Remark]:
        """Say that a secret is none that USPS takes, before each number is refused for it."""
        secrets = self.settings.webhook_secrets if self.settings.callback_url else ()
        if secrets and len(secrets[0].get_secret_value()) != SECRET_LENGTH:
            said = f"USPS takes a secret of exactly {SECRET_LENGTH} characters: no number is subscribed, so nothing is pushed"
            yield Remark(("webhook_secrets",), said, wrong=False)

    def verify(self, payload: Payload) -> int:
        """Check the base64 HMAC-SHA256 over `timestamp` + `payload`, both as the envelope holds them; nothing covers the rest of it."""
        try:
            envelope = decode(payload.body)
        except BadPayload as error:
            raise WebhookRejected(f"no envelope: {error}") from None
        at, inner = envelope.get("timestamp"), envelope.get("payload")
        if not isinstance(at, str) or not isinstance(inner, str):
            raise WebhookRejected("an envelope without timestamp and payload")
        name = self.settings.webhook_header.lower()
        given = payload.headers.get(name) or payload.headers.get("hmac-header")
        return hmac_base64(self.settings.webhook_secrets, f"{at}{inner}".encode("utf-8", "replace"), given, name=name)

    def handshake(self, payload: Payload) -> Reply | None:
        """Echo the challenge of a listener that is being registered: a parameter of a GET, or a key of a POST without news."""
        key = self.settings.challenge_key
        challenge: Any = payload.query.get(key) if not payload.body else None
        if payload.body and b'"payload"' not in payload.body and f'"{key}"'.encode() in payload.body:
            try:
                challenge = decode(payload.body).get(key)
            except BadPayload:
                return None
        if not isinstance(challenge, str) or not 0 < len(challenge) <= LONGEST_CHALLENGE or not challenge.isascii():
            return None
        if self.settings.challenge_reply == "json":
            return Reply(orjson.dumps({key: challenge}), "application/json")
        return Reply(challenge.encode())

    def dedupe_key(self, payload: Payload) -> str:
        """Identify a delivery by what is signed of it: an envelope that is written again is the same."""
        try:
            envelope = decode(payload.body)
        except BadPayload:
            return super().dedupe_key(payload)
        at, inner = envelope.get("timestamp"), envelope.get("payload")
        if not isinstance(at, str) or not isinstance(inner, str):
            return super().dedupe_key(payload)
        return hashlib.sha256(f"{at}{inner}".encode("utf-8", "replace")).hexdigest()

    def meaning(self, code: Code) -> Meaning | None:
        """Say what a code means; of a delivery, where the parcel was left, by its own words."""
        says = self.codes.get((code.space, code.code))
        if code.code == "01" and code.text and code.space == "event":
            said = code.text.casefold()
            fine = (m for (space, words), m in self.codes.items() if space == "delivered" and words in said)
            return next(fine, says)
        return says

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read the answer about one number, a list of them, or a callback, whose payload is JSON in a text."""
        body = document(payload.body)
        unread: list[Unread] = []
        if isinstance(body, list):
            return told(pieces(body, "$", _parcel, unread, self, True, lacks="all"), unread)
        body = decode(payload.body)
        if isinstance(inner := body.get("payload"), str):
            return told([_parcel(_inside(inner), unread, self)], unread)
        if len(payload.parts) > 1:  # an error says nothing of its number: that is told beside it
            body = {**body, "trackingNumber": decode(payload.parts[1]).get("trackingNumber")}
        return told([_parcel(body, unread, self, complete=True)], unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; 400 says by its code whether a number is not known yet. Fraud is news of the parcel, and no error."""
        if response.status == 400:
            not_html(response)
            codes = _codes_of(response.body)
            if FRAUD in codes:
                return
            if codes & NOT_YET:
                raise NotFound(f"USPS: {said_by(response.body)}")
            if b"OASValidation" in response.body:  # of the gateway: told by one client of v3r2
                raise CredentialsRejected("USPS does not take this call of the application: try the other `version`")
            raise Refused(f"USPS: {said_by(response.body, 'HTTP 400')}")
        if response.status == 401:
            said = said_by(response.body, "HTTP 401")
            if "scope" in said.casefold():
                raise _NoScope(f"USPS: {said}")
            raise CredentialsRejected(f"USPS: {said}")
        raise_unless_json(response, errors=("error",))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /tracking/v3/tracking/{number}?expand=DETAIL, or POST /tracking/v3r2/tracking with up to 35 numbers."""
        assert isinstance(query, Parcels)
        try:
            if self.settings.version == "v3":
                for parcel in query.parcels:
                    yield self._one(client, clean(parcel.number))
            else:
                for start in range(0, len(query.parcels), self.batch):
                    yield self._many(client, query.parcels[start : start + self.batch])
        except _NoScope as error:
            raise CredentialsRejected(f"{error}: {ASK.format(TRACKING)}") from None

    def _one(self, client: Client, mine: str) -> Page:
        url = f"{self.settings.base_url}/tracking/v3/tracking/{segment(mine)}"
        response = self._tokens.send(client, Request("GET", url, params={"expand": "DETAIL"}), bearer)
        if response.status == 400:
            return Page((response.body, orjson.dumps({"trackingNumber": mine})))
        return Page((response.body,))

    def _many(self, client: Client, parcels: tuple[Parcel, ...]) -> Page:
        """Ask about several; the body is checked strictly (third parties), so it holds nothing else."""
        request = Request(
            "POST",
            f"{self.settings.base_url}/tracking/v3r2/tracking",
            headers={"Content-Type": "application/json"},
            content=orjson.dumps([{"trackingNumber": clean(parcel.number)} for parcel in parcels]),
        )
        try:
            return Page((self._tokens.send(client, request, bearer).body,))
        except NotFound as error:
            if len(parcels) > 1:  # of whom it speaks is not said: nobody is unknown by it
                raise Transient(f"for {len(parcels)} numbers together: {error}") from None
            raise

    def register(self, client: Client, query: Parcels | Refs) -> list[Registered]:
        """POST a subscription of the Mailer ID, or of each number; USPS takes a second one as the first (third parties)."""
        if isinstance(query, Refs):
            return []
        settings = self.settings
        numbers = [parcel.number for parcel in query.parcels]
        if not settings.callback_url or not settings.webhook_secrets:
            return [Registered(mine) for mine in numbers]  # polls only
        if len(settings.webhook_secrets[0].get_secret_value()) != SECRET_LENGTH:
            raise Refused(f"webhook_secrets: USPS takes a secret of exactly {SECRET_LENGTH} characters")
        if settings.mid is None:
            return [self._subscribe(client, mine, {"trackingNumber": clean(mine)}) for mine in numbers]
        if self._subscribed_until is None or self._subscribed_until - timedelta(days=2) < client.now():
            self._subscribed_until = self._subscribe(client, settings.mid, {settings.mid_key: settings.mid}).until
        return [Registered(mine, until=self._subscribed_until) for mine in numbers]

    def _subscribe(self, client: Client, mine: str, which: dict[str, str]) -> Registered:
        settings = self.settings
        body: dict[str, Any] = {
            "listenerURL": settings.callback_url,
            "secret": settings.webhook_secrets[0].get_secret_value(),
            "filterProperties": {**which, "trackingEventTypes": list(settings.event_types)},
        }
        if settings.admin_email:
            body["adminNotification"] = [{"email": settings.admin_email}]
        request = Request(
            "POST",
            f"{settings.base_url}{settings.subscriptions_path}",
            headers={"Content-Type": "application/json"},
            content=orjson.dumps(body),
        )
        try:
            response = self._tokens.send(client, request, bearer)
        except _NoScope as error:
            raise Refused(f"{error}: {ASK.format(SUBSCRIPTIONS)}") from None
        try:
            ref = text(decode(response.body).get("subscriptionId"))
        except BadPayload:  # what it answers is not known for sure
            ref = ""
        return Registered(mine, their_ref=ref or None, until=client.now() + SUBSCRIBED_FOR)

    def ping(self, client: Client) -> None:
        """Ask for a token, which also tells whether it has the scope: one of the sixty requests."""
        self._grant(client)

    def _grant(self, client: Client) -> Token:
        """POST /oauth2/v3/token. A token without the scope for tracking comes with 200, and every later call is 401."""
        settings = self.settings
        wanted = settings.scope or ("tracking subscriptions-tracking" if settings.callback_url else "tracking")
        request = Request(
            "POST",
            f"{settings.base_url}/oauth2/v3/token",
            headers={"Content-Type": "application/json"},
            content=orjson.dumps(
                {
                    "client_id": settings.client_id,
                    "client_secret": settings.client_secret.get_secret_value(),
                    "grant_type": "client_credentials",
                    "scope": wanted,
                }
            ),
        )
        token, answer = ask_token(client, request)
        if isinstance(given := answer.get("scope"), str) and "tracking" not in given.split():
            scopes = f"only the scope {given.strip()}" if given.strip() else "no scope at all"
            raise CredentialsRejected(f"USPS gives this application {scopes}, not tracking: {ASK.format(TRACKING)}")
        return token


class _NoScope(Refused):
    """A call for which the application was given no scope."""


def _codes_of(body: bytes) -> frozenset[str]:
    try:
        return _codes(decode(body))
    except BadPayload:
        return frozenset()


def _codes(body: dict[str, Any]) -> frozenset[str]:
    """Return the codes of an error: that of its own, and of each of its errors."""
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    many = error.get("errors") if isinstance(error.get("errors"), list) else body.get("errors")
    found = [error, *(one for one in many if isinstance(one, dict))] if isinstance(many, list) else [error]
    return frozenset(str(code) for one in found if isinstance(code := one.get("code"), str | int))


def _inside(payload: str) -> dict[str, Any]:
    try:
        return decode(payload.encode("utf-8", "replace"))
    except BadPayload as error:
        raise BadPayload(f"$.payload{error.where[1:]}", error.problem) from None


def _parcel(body: dict[str, Any], unread: list[Unread], source: USPS, complete: bool = False) -> Report:
    """Read what is told of one number: its history, one event of it, or that there is none."""
    get = body.get
    mine = number(get("trackingNumber"), "$.trackingNumber")
    if codes := _codes(body):
        return _without_history(mine, codes, body)
    events: Any = get("trackingEvents")
    category = term(get("statusCategory"), "$.statusCategory", unread)
    alone = absent(events) and not absent(get("eventCode"))
    scans = [_event(body, unread)] if alone else pieces(events, "$.trackingEvents", _event, unread)
    whole = bool(scans) and not alone and not unread  # a history that lacks a scan, or the time of one, withdraws none
    if category and (not scans or _unsure(scans[0], source)):
        newest = scans[0] if scans else Scan(Code("category", category))
        code = Code("category", category[:100], text(get("status")))
        scans = [*scans, Scan(code, newest.local, newest.occurred_at, newest.zone, newest.precision, newest.place)]
    elif not scans and absent(events):
        raise BadPayload("$.trackingEvents", "is missing")
    piece = term(get("uniqueMailPieceId"), "$.uniqueMailPieceId", unread)
    edd = _estimate(body, unread)
    if unread:
        about(mine, unread)
    signed = any(
        isinstance(one, dict) and text(one.get("name")) for one in (events if isinstance(events, list) else [body])
    )
    return Report(
        "usps", mine, tuple(scans), complete=whole and complete, edd=edd, proof=Proof(signed=True) if signed else None,
        piece=piece or None,
    )  # fmt: skip


def _without_history(mine: str, codes: frozenset[str], body: dict[str, Any]) -> Report:
    if FRAUD in codes:
        words = said_by(orjson.dumps(body, default=str), "fraudulent postage")
        return Report("usps", mine, (Scan(Code("error", FRAUD, words)),), tracking=TrackingState.ERROR, said=words)
    words = said_by(orjson.dumps(body, default=str), ", ".join(sorted(codes)))
    state = TrackingState.NOT_FOUND if codes & NOT_YET else TrackingState.ERROR
    return Report("usps", mine, tracking=state, said=words)


def _unsure(newest: Scan, source: USPS) -> bool:
    return newest.code.code in BY_CATEGORY or source.meaning(newest.code) is None


def _event(event: dict[str, Any], unread: list[Unread]) -> Scan:
    get = event.get
    code = term(get("eventCode"), "$.eventCode", unread)[:20] or "missing"
    city, state, postal = text(get("eventCity")), text(get("eventState")), text(get("eventZIP"))
    country = text(get("eventCountry"))
    if country.upper() in ("", "US", "USA", "UNITED STATES"):  # USPS names a country where it is another one
        country = "US" if city or state or postal else ""
    place = Place(city, state, postal, country) if city or state or postal or country else NOWHERE
    return Scan(Code("event", code, text(get("eventType"))), *_times(event, unread), place=place)


def _times(event: dict[str, Any], unread: list[Unread]) -> tuple[datetime | None, datetime | None, Zone]:
    """Return the local time, the instant and how it is known. A time without a date is none: USPS has printed such (issue 15)."""
    printed = optional(moment, event.get("eventTimestamp"), "$.eventTimestamp", unread)
    offset = optional(_offset, event.get("GMTOffset"), "$.GMTOffset", unread)
    gmt = optional(moment, event.get("GMTTimestamp"), "$.GMTTimestamp", unread)
    local = printed.replace(tzinfo=None) if printed is not None else None
    if gmt is not None:
        instant = gmt if gmt.tzinfo is not None else gmt.replace(tzinfo=UTC)
        if local is None and offset is not None:
            local = (instant + offset).replace(tzinfo=None)
        return local, instant, Zone.UTC
    if local is not None and offset is not None:
        return local, (local - offset).replace(tzinfo=UTC), Zone.OFFSET
    if printed is not None and printed.utcoffset():  # an offset of its own; Z is none
        return local, printed, Zone.OFFSET
    return local, None, Zone.UNKNOWN


def _offset(value: Any, where: str) -> timedelta:
    """Read how far local time is from GMT: minutes (-420, tracking.yaml), or hours and minutes ("-7:00", older documents)."""
    printed = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    sign = -1 if printed.startswith("-") else 1
    hours, colon, minutes = printed.lstrip("+-").partition(":")
    if hours.isascii() and hours.isdigit() and (not colon or (minutes.isascii() and minutes.isdigit())):
        if len(hours) <= 4 and len(minutes) <= 2:
            found = timedelta(hours=int(hours), minutes=int(minutes)) if colon else timedelta(minutes=int(hours))
            if found <= timedelta(hours=14) and not found % QUARTER:  # "-5" may be five hours: no zone is that near
                return sign * found
    raise BadPayload(where, f"is no offset from GMT: {str(value)[:40]!r}")


def _estimate(body: dict[str, Any], unread: list[Unread]) -> Edd | None:
    """Read when it is expected, in the time of its destination where that has one zone: a window, a moment, a day."""
    get = body.get
    zone = (
        zone_of(Place(region=text(get("destinationState")), country=text(get("destinationCountryCode")) or "US")) or UTC
    )
    if (day := optional(moment, get("predictedDeliveryDate"), "$.predictedDeliveryDate", unread)) is not None:
        begins, ends = (
            optional(_clock, get(name), f"$.{name}", unread)
            for name in ("predictedDeliveryWindowStartTime", "predictedDeliveryWindowEndTime")
        )
        day = datetime.combine(day, time(), zone)
        if begins is not None and ends is not None and begins < ends:
            return Edd(datetime.combine(day, begins, zone), datetime.combine(day, ends, zone))
        if ends is not None:
            return Edd(day, datetime.combine(day, ends, zone))
        return estimate(day)
    for name in ("expectedDeliveryTimeStamp", "guaranteedDeliveryTimeStamp"):
        if (at := optional(moment, get(name), f"$.{name}", unread)) is not None:
            return estimate(at.replace(tzinfo=zone))  # local, whatever Z it ends with
    return None


def _clock(value: Any, where: str) -> time:
    """Read a time of the day: 13:30, 13:30:00, 1:30 pm, 1:30PM."""
    printed = text(value).upper().replace(".", "")
    for form in ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M%p", "%I %p", "%I%p"):
        try:
            return datetime.strptime(printed, form).time()  # noqa: DTZ007
        except ValueError:
            continue
    raise BadPayload(where, f"is no time of the day: {str(value)[:40]!r}")
