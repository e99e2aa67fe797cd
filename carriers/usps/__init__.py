"""USPS: Tracking v3 (GET, one number) or v3r2 (POST, 35 numbers) for polls, Subscriptions-Tracking for push.

Contract of v3: tracking.yaml 3.2.6 (developers.usps.com). Of v3r2 and of the subscriptions: types that others generated from the
official files (github.com/Thecodergabe/shipstack), and what third parties tell; all read 2026-11. What they leave open or contradict
each other in is a setting, named so below. Codes: copies of Publication 199, appendices G-4 and G-5, in `usps.csv`; the official list
was not at hand.

USPS allows an application some 60 requests an hour, of all its products and with its requests for tokens together. The event's code
says what happened. `statusCategory` at the head is read where the newest event that says anything has a code that is not known, and
arbitrates 17 and 43, which say "picked up" of the recipient and of a partner alike. Times are local, whatever `Z` they end with;
`GMTTimestamp` is the instant. v3r2 spells a few names in another way and puts its estimates into an object of their own. A parcel
goes back under its own number: no answer names another one, and USPS mails its proof of delivery to people instead of handing it out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
from pydantic import SecretStr

from carriers.usps.answers import (
    NOT_YET,
    OF_A_NUMBER,
    REFUSED,
    as_asked,
    asked,
    body_of,
    codes_of,
    page,
    said,
    signed_of,
)
from carriers.usps.reading import inside, parcel
from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Transient, WebhookRejected
from tracker.domain.facts import Code, Meaning, Page, Parcel, Parcels, Payload, Query, Refs, Registered, Report, Unread
from tracker.domain.numbers import clean
from tracker.plugin import contracts
from tracker.plugin.answers import not_html, raise_unless_json
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits, Remark, Reply, Secrets
from tracker.plugin.oauth import Tokens, ask_token, bearer
from tracker.plugin.payloads import absent, document, leniently, mapping, pieces, text, told
from tracker.plugin.signatures import hmac_base64

TAKEN = re.compile(r"[0-9A-Z]{4,34}")  # v3r2, TrackingRequestBody: anything else refuses the numbers beside it, too
NOBODYS = "9400100000000000000006"  # asked about by a ping
SUBSCRIBED_FOR = timedelta(days=30)  # without traffic for so long a listener is dropped
SECRET_LENGTH = 32
LONGEST_CHALLENGE = 200
TRACKING, SUBSCRIPTIONS = "Tracking", "Subscriptions - Tracking"  # the API products, as the portal calls them
OF_TOKENS = "token endpoint"  # begins what the token call says
ASK = "ask USPS for the API product {}: developers.usps.com, your application, or its support form"


class Settings(contracts.Settings):
    """One USPS application: its `client_id` and `client_secret`.

    `base_url`: https://apis-tem.usps.com is the test environment. `version`: which Tracking API the application was given: `v3` asks
    about one number a call, `v3r2` about 35 (unverified: that 404 for several numbers speaks of all of them, as 207 tells of some).
    `scope`: what the token is asked for; by default tracking, and subscriptions-tracking where news are pushed.

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
        "what v3r2 answers, by copies of its contract: `version`",
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
        self._scopes: list[str] | None = None  # of the token that was asked for last, where its answer names them

    def examine(self, read: Callable[[str], bytes], codes: Mapping[tuple[str, str], Meaning]) -> Iterator[Remark]:
        """Say that a secret is none that USPS takes, before each number is refused for it."""
        secrets = self.settings.webhook_secrets if self.settings.callback_url else ()
        if secrets and len(secrets[0].get_secret_value()) != SECRET_LENGTH:
            said = f"USPS takes a secret of exactly {SECRET_LENGTH} characters: no number is subscribed, so nothing is pushed"
            yield Remark(("webhook_secrets",), said, wrong=False)

    def verify(self, payload: Payload) -> int:
        """Check the base64 HMAC-SHA256 over `timestamp` + `payload`, both as the envelope holds them; nothing covers the rest of it."""
        try:
            covered = signed_of(payload.body)
        except BadPayload as error:
            raise WebhookRejected(f"no envelope: {error}") from None
        if covered is None:
            raise WebhookRejected("an envelope without timestamp and payload")
        name = self.settings.webhook_header.lower()
        given = payload.headers.get(name) or payload.headers.get("hmac-header")
        return hmac_base64(self.settings.webhook_secrets, covered, given, name=name)

    def handshake(self, payload: Payload) -> Reply | None:
        """Echo the challenge of a listener that is being registered: a parameter of a GET, or a key of a POST without news."""
        key = self.settings.challenge_key
        challenge: Any = payload.query.get(key) if not payload.body else None
        if payload.body and b'"payload"' not in payload.body and f'"{key}"'.encode() in payload.body:
            challenge = leniently(payload.body).get(key)
        if not isinstance(challenge, str) or not 0 < len(challenge) <= LONGEST_CHALLENGE or not challenge.isascii():
            return None
        if self.settings.challenge_reply == "json":
            return Reply(orjson.dumps({key: challenge}), "application/json")
        return Reply(challenge.encode())

    def dedupe_key(self, payload: Payload) -> str:
        """Identify a delivery by what is signed of it: an envelope that is written again is the same."""
        covered = None
        with suppress(BadPayload):
            covered = signed_of(payload.body)
        return super().dedupe_key(payload) if covered is None else hashlib.sha256(covered).hexdigest()

    def meaning(self, code: Code) -> Meaning | None:
        """Say what a code means; of a delivery, where the parcel was left, and of a code that nobody knows, by its own words."""
        says = self.codes.get((code.space, code.code))
        if code.space == "event" and code.text and (says is None or code.code == "01"):
            printed = code.text.casefold()
            return next(
                (m for words, m in _WORDINGS["event" if says is None else "delivered"] if words in printed), says
            )
        return says

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read the answer about one number, a list of them, or a callback, whose payload is JSON in a text."""
        body, numbers = document(payload.body), asked(payload.parts)
        unread: list[Unread] = []
        if isinstance(body, list):
            return as_asked(pieces(body, "$", parcel, unread, self.meaning, True, lacks="all"), numbers, unread)
        body = mapping(body, "$")
        if isinstance(inner := body.get("payload"), str):
            return told([parcel(inside(inner), unread, self.meaning)], unread)
        if len(numbers) == 1 and absent(body.get("trackingNumber")):  # an error says nothing of its number
            body = {**body, "trackingNumber": numbers[0]}
        return as_asked([parcel(body, unread, self.meaning, True)], numbers, unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; 400, and an error that came with 200, say by their code what is with the number.

        v3r2 tells of a number that is not known yet by 404 (USPS/api-examples, issues 82 and 102). 401 and 403 that speak of the
        scope say that the application lacks a product; fraud and what else is told of a number are news of it, and no error.
        """
        status = response.status
        if status in (200, 400) and b'"error' in response.body:
            not_html(response)
            codes = codes_of(response.body)
            if codes & NOT_YET:
                raise _NotYet(f"USPS: {said(response.body)}")
            if codes & OF_A_NUMBER.keys():
                return
        if status == 400:
            not_html(response)
            if b"OASValidation" in response.body:  # of the gateway: told by one client of v3r2
                raise CredentialsRejected("USPS does not take this call of the application: try the other `version`")
            raise Refused(f"USPS: {said(response.body, 'HTTP 400')}")
        if status == 404 and codes_of(response.body):
            raise NotFound(f"USPS: {said(response.body)}")
        if status == 404:
            not_html(response)
            raise Transient("HTTP 404 without an error of USPS: is the `base_url` right?")
        if status in (401, 403):
            not_html(response)
            words = said(response.body, f"HTTP {status}")
            raise (_NoScope if "scope" in words.casefold() else CredentialsRejected)(f"USPS: {words}")
        raise_unless_json(response, errors=("error",))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /tracking/v3/tracking/{number}?expand=DETAIL, or POST /tracking/v3r2/tracking with up to 35 numbers."""
        assert isinstance(query, Parcels)
        numbers = [clean(parcel.number) for parcel in query.parcels]
        try:
            if self.settings.version == "v3":
                for mine in numbers:
                    yield self._one(client, mine)
                return
            for start in range(0, len(numbers), self.batch):
                yield from self._many(client, numbers[start : start + self.batch])
        except _NoScope as error:
            raise CredentialsRejected(f"{error}: {ASK.format(TRACKING)}") from None
        except CredentialsRejected as error:
            if OF_TOKENS in str(error) or "`version`" in str(error):
                raise
            raise CredentialsRejected(
                f"{error}; the token was given, so the product may be missing: {ASK.format(TRACKING)}"
            ) from None

    def _one(self, client: Client, mine: str) -> Page:
        url = f"{self.settings.base_url}/tracking/v3/tracking/{segment(mine)}"
        return page(self._tokens.send(client, Request("GET", url, params={"expand": "DETAIL"}), bearer), [mine])

    def _many(self, client: Client, numbers: list[str]) -> Iterator[Page]:
        """Ask about several; the body is checked strictly (third parties), so it holds nothing else, and no number that is none."""
        takes = [mine for mine in numbers if TAKEN.fullmatch(mine)]
        for mine in numbers:
            if mine not in takes:
                yield Page((REFUSED, body_of([mine])))
        if not takes:
            return
        request = Request(
            "POST",
            f"{self.settings.base_url}/tracking/v3r2/tracking",
            headers={"Content-Type": "application/json"},
            content=body_of(takes),
        )
        try:
            response = self._tokens.send(client, request, bearer)
        except _NotYet as error:
            if len(takes) > 1:  # of whom it speaks is not said: nobody is unknown by it
                raise Transient(f"for {len(takes)} numbers together: {error}") from None
            raise
        if response.status == 400 and len(takes) > 1:
            raise Transient(f"for {len(takes)} numbers together: {said(response.body)}")
        yield page(response, takes)

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
        ref = text(leniently(response.body).get("subscriptionId"))  # what it answers is not known for sure
        return Registered(mine, their_ref=ref or None, until=client.now() + SUBSCRIBED_FOR)

    def webhooks_need(self) -> str:
        """Pushes need our address, and the secret that proves them."""
        return super().webhooks_need() or ("" if self.settings.callback_url else "callback_url")

    def ping(self, client: Client) -> None:
        """Ask for a token, which tells its scopes, and about a number that nobody has: two of the sixty requests, or three."""
        self._grant(client)
        try:
            for page in self.fetch(client, Parcels((Parcel("usps", NOBODYS),))):
                self.normalize(Payload(self.account, "poll", page.parts, client.now()))
        except NotFound:
            pass  # by an error of USPS: the product, its version and the address are right

    def look_around(self, client: Client) -> Iterator[str]:
        """Say that pushes are wanted for which the application has no product."""
        if self.settings.callback_url and self._scopes is not None and "subscriptions-tracking" not in self._scopes:
            yield (
                "the token has no scope subscriptions-tracking: nothing is pushed, polls go on; "
                f"{ASK.format(SUBSCRIPTIONS)}"
            )

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
        try:
            token, answer = ask_token(client, request)
        except CredentialsRejected as error:
            raise CredentialsRejected(f"{OF_TOKENS}: {str(error).removeprefix(f'{OF_TOKENS}: ')}") from None
        given = answer.get("scope")
        self._scopes = given.split() if isinstance(given, str) else None
        if self._scopes is not None and "tracking" not in self._scopes:
            scopes = f"only the scope {' '.join(self._scopes)}" if self._scopes else "no scope at all"
            raise CredentialsRejected(
                f"{OF_TOKENS}: USPS gives this application {scopes}, not tracking: {ASK.format(TRACKING)}"
            )
        return token


class _NotYet(NotFound):
    """A 400, or a 200, that says that a number is not known yet."""


class _NoScope(Refused):
    """A call for which the application was given no scope."""


_WORDINGS = {
    space: tuple((words, says) for (of, words), says in USPS.codes.items() if of == table)
    for space, table in (("delivered", "delivered"), ("event", "wording"))
}
