"""Evri (Hermes UK) client tracking (poll, one number a call).

No document of Evri's was at hand: addresses, names and codes are those of public code (the client base and its token tenant; the shape
of ha-parcel-integrations/ha-evri), read 2026-11. So each of them is a setting with that default, or can be said in the account's `codes:`. Ask
Evri for client access: the key that its web site holds is nobody's to use. A number is looked up, then its parcels are read by their `urn`. An event
has a stage (`trackingStageCode`), which decides, and a point, which is only shown. `returnParcel` makes the stages 3 and 4 a return, and no other
stage, nor what was scanned before a stage A. Times are ISO 8601 with Z, or milliseconds since 1970, by their type. What shape an estimate
(`eta`) has is not known: it is not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import Field, SecretStr

from tracker.domain.errors import BadPayload, NotFound
from tracker.domain.facts import Code, Meaning, Page, Parcels, Payload, Query, Report, Scan, Unread
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import TrackingState
from tracker.plugin import contracts
from tracker.plugin.answers import raise_unless_json
from tracker.plugin.asked import ASKED, asked, beside, whose
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.oauth import Tokens, ask_token, token_call
from tracker.plugin.payloads import (
    about,
    coded,
    decode,
    flag,
    leniently,
    number,
    objects,
    odd_code,
    optional,
    pieces,
    printed,
    section,
    several,
    text,
    told,
)
from tracker.plugin.times import Told, printed_as

_BEGINS = "A"  # the stage with which a return begins
_NAMES = (
    "barcode",
    "trackingNumber",
    "value",
    "uniqueId",
    "urn",
)  # of a result or its identifier, where nobody says what was asked for
_UNKNOWN = "Invalid reference"  # how the message begins with which a lookup knows no parcel


class Settings(contracts.Settings):
    """Client access to Evri's tracking: `client_id` and `client_secret`. All else is what public code shows, and unverified.

    `base_url` and `token_url`: where parcels and tokens are asked for; `audience`: of the token, where Evri names one. `token_header` and
    `token_prefix`: how the token goes into a call. `lookup_path` finds the parcels of a number, `parcels_path` with the parameter
    `ids_parameter` reads one of them. `returning_stages`: which stages are a return where `returnParcel` is true. `test_number`: a number of yours that Evri
    knows, for `tracker check`, which proves the token alone without it.
    """

    base_url: str = "https://api.hermesworld.co.uk/client-tracking-api/v1"
    token_url: str = "https://hermes-client-integration-prod.eu.auth0.com/oauth/token"
    client_id: str
    client_secret: SecretStr
    audience: str | None = None
    token_header: str = Field("Authorization", pattern=r"^[A-Za-z0-9-]{1,60}$")
    token_prefix: str = "Bearer "
    lookup_path: str = Field("/parcels/reference/{number}", pattern=r"^/[^?#]*\{number\}[^?#]*$")
    parcels_path: str = Field("/parcels", pattern=r"^/[^?#]*$")
    ids_parameter: str = "uniqueIds"
    returning_stages: tuple[str, ...] = ("3", "4")
    test_number: str | None = None


class Evri(contracts.Carrier):
    """Evri's parcels in the United Kingdom."""

    docs = "https://www.evri.com/business"
    unverified = (
        "where it is asked: `base_url`, `token_url`, `lookup_path`, `parcels_path`, `ids_parameter`",
        "how a token is asked for and shown: `audience`, `token_header`, `token_prefix`",
        "what its stages mean, and which of them are a return: `returning_stages`",
        "its estimate, which is not read",
    )
    asks = frozenset({Parcels})
    carriers = ("evri",)
    response_keys = ("results", "parcelIdentifiers", ASKED)
    codes = read_codes(__file__)
    default_zone = "Europe/London"
    token_lasts = timedelta(hours=1)  # unless the answer says so
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)
        self._returning = frozenset(stage.upper() for stage in self.settings.returning_stages)

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the stage; a stage that a setting makes a return, and no row knows as one, is UNKNOWN."""
        return self.codes.get((code.space, code.code))

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read what is told of a number, which the second part names: its parcels, or that none was found."""
        body, unread = decode(payload.body), list[Unread]()
        mine = next(iter(asked(payload)), None)
        found = several(body.get("results"))
        if found is None and "parcelIdentifiers" in body:
            urns = _urns(payload.body)
            if "" in urns:  # there is a parcel, of which nobody can ask
                raise BadPayload(f"$.parcelIdentifiers[{urns.index('')}].urn", "is missing")
            if urns:
                raise BadPayload("$.results", "is missing: a lookup names its parcels, and tells nothing of them")
            found = []
        if found is None:  # it says nothing, which is not "no news"
            raise BadPayload("$.results", "is missing")
        if found == []:
            if mine is None:
                raise BadPayload("$.results", "is empty, and nothing says whom it is about")
            return [Report("evri", mine, tracking=TrackingState.NOT_FOUND, said="no parcel of this number")]
        many = isinstance(found, list) and len(found) > 1
        return told(
            pieces(found, "$.results", _parcel, unread, payload, mine, many, self._returning, lacks="all"), unread
        )

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET the parcels of a number, then each of them by its urn."""
        assert isinstance(query, Parcels)
        settings = self.settings
        for parcel in query.parcels:
            mine = clean(parcel.number)
            about_it = beside([mine])
            body = self._get(client, settings.lookup_path.replace("{number}", segment(mine)), {})
            urns = _urns(body)
            if not urns or not all(urns):
                yield Page((body, about_it))
            for urn in filter(None, urns):
                yield Page((self._get(client, settings.parcels_path, {settings.ids_parameter: urn}), about_it))

    def ping(self, client: Client) -> None:
        """Ask for a token, and about the `test_number`: it must be known."""
        self._grant(client)
        if self.settings.test_number is not None:
            mine = clean(self.settings.test_number)
            if not any(_urns(self._get(client, self.settings.lookup_path.replace("{number}", segment(mine)), {}))):
                raise BadPayload("$.parcelIdentifiers", "holds no parcel of the test_number")

    def look_around(self, client: Client) -> Iterator[str]:
        """Say how little a token proves."""
        if self.settings.test_number is None:
            yield "its token works; whether its addresses are right is proved by a `test_number`, a number of yours that Evri knows"

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; an `error` stays one when it comes with 200. A lookup says with 400 that it knows no parcel (ha-evri)."""
        if response.status == 400 and any(said.startswith(_UNKNOWN) for said in _messages(response.body)):
            raise NotFound("HTTP 400: no parcel of this number")
        raise_unless_json(response, errors=("error",))

    def _get(self, client: Client, path: str, params: dict[str, str | tuple[str, ...]]) -> bytes:
        request = Request("GET", f"{self.settings.base_url}{path}", params, {"Accept": "application/json"})
        return self._tokens.send(client, request, self._shown).body

    def _shown(self, token: str) -> Mapping[str, str]:
        return {self.settings.token_header: f"{self.settings.token_prefix}{token}"}

    def _grant(self, client: Client) -> Token:
        """POST the token call: client credentials in the form (RFC 6749 4.4)."""
        settings = self.settings
        form = {
            "grant_type": "client_credentials",
            "client_id": settings.client_id,
            "client_secret": settings.client_secret.get_secret_value(),
        }
        if settings.audience:
            form["audience"] = settings.audience
        return ask_token(client, token_call(settings.token_url, form))[0]


def _messages(body: bytes) -> list[str]:
    """Return what the errors of an error body say; nothing where it is none of theirs."""
    return [text(one.get("message")) for one in objects(leniently(body).get("errors"))]


def _urns(body: bytes) -> list[str]:
    """Return the parcels that a lookup found, empty for one that is not named. Raises BadPayload for an answer that does not list them."""
    found = several(decode(body).get("parcelIdentifiers"))
    if not isinstance(found, list):
        raise BadPayload("$.parcelIdentifiers", "is missing")
    return [text(one.get("urn")) if isinstance(one, dict) else "" for one in found]


def _parcel(
    result: dict[str, Any],
    unread: list[Unread],
    payload: Payload,
    mine: str | None,
    many: bool,
    returning: frozenset[str],
) -> Report:
    get = result.get
    own = next((value for name in _NAMES if (value := get(name))), None)
    if own is None and mine is None:
        own = _identified(get("parcelIdentifiers"))
    flipped = returning if flag(get("returnParcel"), "$.returnParcel", unread) else frozenset()
    events = several(get("trackingEvents"))
    if events is None:
        raise BadPayload("$.trackingEvents", "is missing")
    scans: Sequence[Scan] = pieces(events, "$.trackingEvents", _event, unread, flipped)
    if flipped:
        scans = _from_the_turn(scans)
    whole = bool(scans) and not unread  # a history that lacks a scan, or the time of one, withdraws none
    if mine is None:
        mine = number(own, "$.barcode") if own is not None else whose(payload, unread)
    piece = optional(number, own, "$.urn", unread) if many else None
    if unread:
        about(mine, unread)
    return Report("evri", mine, tuple(scans), complete=whole, piece=piece if piece != mine else None)


def _identified(value: Any) -> Any:
    """Return the number of a result that it tells among its identifiers, as ha-evri looks for it; None where none is."""
    return next((said for one in objects(value) for name in _NAMES if (said := one.get(name))), None)


def _from_the_turn(scans: Sequence[Scan]) -> Sequence[Scan]:
    """Keep what was scanned before the return began (stage A) as it was told then: the flag is one for the whole history."""
    began = min((scan.local for scan in scans if scan.code.code == _BEGINS and scan.local is not None), default=None)
    if began is None:
        return scans
    return [
        replace(scan, code=replace(scan.code, space="stage")) if scan.local is not None and scan.local < began else scan
        for scan in scans
    ]


def _event(event: dict[str, Any], unread: list[Unread], flipped: frozenset[str]) -> Scan:
    get = event.get
    stage = get("trackingStage")
    code = stage.get("trackingStageCode") if isinstance(stage, dict) else stage
    at = "$.trackingStage.trackingStageCode" if isinstance(stage, dict) else "$.trackingStage"
    point = section(get("trackingPoint"), "$.trackingPoint", unread)
    words = text(point.get("description")) or text(point.get("trackingPointCode"))
    said = coded("stage", code.upper(), words) if isinstance(code, str) else None
    if said is None:
        said = Code("stage", odd_code(code, at, unread), words)
    if said.code in flipped:
        said = Code("return", said.code, words)
    return Scan(said, *_when(get("dateTime"), unread))


def _when(value: Any, unread: list[Unread]) -> Told:
    if isinstance(value, int | float):
        return printed_as("unix_ms", value, "$.dateTime", unread)
    return printed(value, "$.dateTime", unread)
