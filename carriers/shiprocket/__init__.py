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
from datetime import timedelta
from typing import Any, NoReturn
from urllib.parse import urlsplit

import orjson
from pydantic import Field, SecretStr, field_validator

from carriers.shiprocket.reading import answer, head_of, of_none, picture, pushed
from carriers.shiprocket.statuses import CODES
from tracker.domain.errors import CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import Page, Parcel, Parcels, Payload, ProofDocument, Query, Report, Unread
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import TrackingState, Trust
from tracker.plugin import contracts
from tracker.plugin.answers import holding, not_html, raise_unless_json, retry_after, said_by
from tracker.plugin.asked import ASKED, asked, beside
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.contracts import Secrets
from tracker.plugin.oauth import Tokens, ask_token, bearer
from tracker.plugin.payloads import absent, decode, document, mapping, piece, pieces, section, told
from tracker.plugin.proofs import kept_document
from tracker.plugin.signatures import shared_secret
from tracker.plugin.times import ZoneName

MOST_AWBS = 50  # of a call: "Maximum of 50 AWB codes is supported at a time"
MODULES = "the panel (Settings > API) says which modules an API user may use: it needs tracking"
MOST_COURIERS = 500  # names of couriers that are remembered
EMPTY = (b"{}", b"[]")  # an answer of nobody
# what follows a courier's name in those of its services; a weight may follow too
_SERVICE = re.compile(
    r"[ _-](?:surface|air|reverse|qc|stressed|essential|ros|flash|local|flat rate|international"
    r"|(?:\d{1,4}(?:\.\d{1,3})? ?)?(?:kgs?|gms?|g))\Z",
    re.IGNORECASE,
)


def _alone(courier: str) -> str:
    """Return a courier's name without what follows it in the names of its services: `Delhivery Surface 2 Kgs` is Delhivery."""
    name = courier[:200].rstrip("#")
    while (found := _SERVICE.search(name)) is not None:
        name = name[: found.start()].rstrip(" _-")
    return name


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
        "that an answer says of a return that it is one, as pushes do",
    )
    trust = Trust.SHARED  # at most a token that its sender knows: what a push tells waits for the poll that it causes
    shuns = ("shiprocket", "kartrocket", "sr", "kr")  # its panel takes no address of a webhook that holds one
    asks = frozenset({Parcels})
    webhooks = True
    batch = MOST_AWBS
    response_keys = ("tracking_data", ASKED)
    vocabulary = ("shiprocket",)
    codes = CODES
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
        self._couriers: dict[str, str | None] = {}  # by the names that were asked for

    def verify(self, payload: Payload) -> int:
        """Check the token that was typed into the panel beside our address (`x-api-key`): it proves who speaks, not what is said."""
        name = self.settings.webhook_header.lower()
        return shared_secret(self.settings.webhook_secrets, payload.headers.get(name), name=name)

    def carrier_of(self, word: str) -> str | None:
        """Return the carrier that a courier's name means: `Acme Surface 5 Kgs` is a service of Acme."""
        if word not in self._couriers:
            if len(self._couriers) > MOST_COURIERS:
                self._couriers.clear()
            self._couriers[word] = super().carrier_of(word) or super().carrier_of(_alone(word))
        return self._couriers[word]

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read what is told of one AWB, of several by their AWBs, of an order's (a list), or a push."""
        body = document(payload.body)
        unread: list[Unread] = []
        if isinstance(body, list):
            return told(pieces(body, "$", answer, unread, self, None, lacks="all"), unread)
        body = mapping(body, "$")
        if payload.kind == "webhook" or "awb" in body:  # one that was saved comes as a file
            return pushed(body, unread, self)
        wanted = asked(payload)
        if "tracking_data" in body:
            alone = piece(body, "$", answer, unread, self, wanted[0] if wanted else None, lacks="all")
            return told([alone], unread) if alone is not None else of_none(body, unread)
        parcels = [(awb, one) for awb, one in body.items() if awb != ASKED]
        found = [piece(one, f"$.{awb}", answer, unread, self, awb, lacks="all") for awb, one in parcels]
        reports = [report for report in found if report is not None]
        missing = sorted({*map(clean, wanted)} - {clean(awb) for awb, _ in parcels})
        unknown = [Report("unknown", awb, tracking=TrackingState.NOT_FOUND) for awb in missing]
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
            refused: list[tuple[str, Refused]] = []
            for awb in some:
                try:
                    yield _page(self._alone(client, awb), [awb])
                except NotFound:
                    yield _page(b"{}", [awb])
                except Refused as error:
                    refused.append((awb, error))
            if len(refused) == len(some):  # nothing says that it is about them
                raise refused[0][1]
            for awb, why in refused:  # of the others it was none: it costs itself only
                said = {"tracking_data": {"track_status": 0, "error": str(why)}}
                yield _page(orjson.dumps(said), [awb])

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
        url = picture(head_of(section(body.get("tracking_data"), "$.tracking_data", []), []))
        if not url:
            raise NotFound("no proof of delivery is told")
        if not url.startswith(self.settings.pod_urls):
            raise Refused(
                f"the proof lies at {ascii(urlsplit(url).netloc)[1:60]}, from where none is fetched: pod_urls"
            )
        return kept_document(client, url, "$")

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
        except (CredentialsRejected, _Words) as error:
            raise CredentialsRejected(f"ShipRocket refuses the login of {settings.email}: {error}") from None
        return Token(token.value, client.now() + timedelta(days=10))


class _NotAllowed(Refused):
    """A call that the API user may not make."""


class _Words(Transient):
    """An error that only words tell, with a good status."""


def _raise(status: Any, response: Response) -> NoReturn:
    """Raise what a status says, that of HTTP or of a body that comes with 200; with none it is an error all the same."""
    said = f"HTTP {response.status}: {said_by(response.body)}"
    if isinstance(status, str) and re.fullmatch(r"[1-5]\d\d", status, re.ASCII):
        status = int(status)
    if not isinstance(status, int):
        raise _Words(said)
    if status == 429:
        raise RateLimited(said, retry_after(response))
    known = {401: CredentialsRejected, 403: _NotAllowed, 404: NotFound}
    raise known.get(status, Refused if 400 <= status < 500 else Transient)(said)


def _page(answer: bytes, awbs: Sequence[str]) -> Page:
    """Return a page that says who was asked, too: an answer leaves out whom it does not know, or does not say of whom it tells."""
    said = beside(awbs)
    return Page((said if answer.strip() in EMPTY else answer, said))
