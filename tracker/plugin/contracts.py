"""The contract between the core and its plugins: a carrier (or aggregator) or a selling platform.

A plugin module holds exactly one subclass of `Carrier` or `Platform`; its module name is the `uses:` word of the YAML.
`verify`, `normalize` and `meaning` are pure. `fetch`, `register` and `push` are the only methods that get a client;
they never sleep, log or catch HTTP errors.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, SecretStr

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
    WebhookRejected,
)
from tracker.domain.facts import (
    Action,
    ChangeNotice,
    Checkout,
    Code,
    Meaning,
    Order,
    Page,
    Parcels,
    Payload,
    Query,
    Receipt,
    Refs,
    Registered,
    Report,
    Unread,
)
from tracker.domain.vocabulary import Leg, OrderStatus, Reason, ShippingStatus, Trust
from tracker.plugin.payloads import BOM, document, text

Word = TypeVar("Word", bound=StrEnum)

CONTRACT = 1  # the version of what stands between core and plugins; CONTRIBUTING says what changes it
Secrets = tuple[SecretStr, ...]  # several at once while one is being rotated, newest first


@dataclass(frozen=True, slots=True)
class Request:
    """One outgoing call. `url` is absolute; `idempotent` calls are tried again within the request."""

    method: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    basic: tuple[str, str] | None = None
    idempotent: bool = True


def segment(value: str) -> str:
    """Return what somebody else wrote (a number, a ref, an id) as one percent-encoded segment of a path (RFC 3986 3.3).

    Raises Refused for `.`, `..` and nothing at all, where encoding does not help, and for what is no text.
    """
    if value in ("", ".", ".."):
        raise Refused(f"{value!r} can be no part of an address")
    try:
        return quote(value, safe="=")
    except UnicodeEncodeError:  # a lone surrogate
        raise Refused(f"{value!r:.80} can be no part of an address") from None


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: headers in lower case, the whole body. `received_at` is wall time, aware."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


class Vault(Protocol):
    """Where a token that rotates lives, encrypted, one an account."""

    def load(self) -> str | None:
        """Return what was stored last, None at first."""

    def store(self, value: str) -> None:
        """Store it durably before it is used."""


class Client(Protocol):
    """The core's outgoing HTTP: total deadline, size caps, no redirects; it calls `raise_for_status` on each response."""

    vault: Vault

    def send(self, request: Request) -> Response:
        """Send one request; raises what `raise_for_status` raises, and Transient when the wire fails."""

    def now(self) -> datetime:
        """Return the wall time, aware."""


class Settings(BaseModel):
    """What the YAML says of one account. Secret fields are `SecretStr` or `Secrets`: references, never literals."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Source(ABC):
    """What carriers and platforms share. Class attributes are the feature matrix (`tracker plugins`)."""

    docs: ClassVar[str]
    contract: ClassVar[int] = CONTRACT  # the version it was made for; a plugin of another package names it
    trust: ClassVar[Trust] = Trust.SIGNED
    asks: ClassVar[frozenset[type[Query]]] = frozenset()
    webhooks: ClassVar[bool] = False
    max_body: ClassVar[int] = 1 << 20
    budget: ClassVar[tuple[int, timedelta] | None] = None  # calls, and in what time, unless the YAML says otherwise

    Settings: ClassVar[type[Settings]]

    def __init__(self, account: str, settings: Any) -> None:
        """Bind an account: its name in the YAML and its settings."""
        self.account = account
        self.settings = settings

    def verify(self, payload: Payload) -> int:
        """Raise WebhookRejected unless the raw bytes prove who sent them. Refuses by default.

        Returns which of `webhook_secrets` proved it: 0 is the newest; an older one that is still used is counted.
        """
        raise WebhookRejected(f"{type(self).__module__} takes no webhooks")

    def reply(self, payload: Payload) -> bytes | None:
        """Echo a challenge, after verify; None for an empty answer."""
        return None

    def dedupe_key(self, payload: Payload) -> str:
        """Identify a webhook delivery: the sender's event id where there is one, else the hash of its body."""
        return hashlib.sha256(payload.body).hexdigest()

    @abstractmethod
    def normalize(self, payload: Payload) -> Iterable[Report | Order | ChangeNotice | Checkout | Unread]:
        """Turn bytes into facts, and tell what could not be read (`Unread`): a piece costs itself only. Pure; never guesses.

        Raises BadPayload with the path where nothing of the payload can be read.
        """

    @abstractmethod
    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Ask, and yield each answer as it came."""

    def ping(self, client: Client) -> None:
        """Prove that the credentials work, by the cheapest call there is. Raises from the error tree."""
        raise Refused("this plugin cannot be pinged")

    def raise_for_status(self, response: Response) -> None:
        """Raise from the error tree unless the answer is what was asked for. By HTTP status; override for oddities.

        A page of HTML is never an answer, whatever its status. See `judge_json` for sources that speak nothing but JSON.
        """
        not_html(response)
        raise_by_status(response)

    def throttle_delay(self, response: Response) -> timedelta | None:
        """Answer how long the account should rest before its next call, where the answer tells; None is no rest."""
        return None


AWAY = {402: "frozen or unpaid", 423: "locked", 430: "shut out for a while"}  # an account, as a whole


def raise_by_status(response: Response) -> None:
    """Raise from the error tree by HTTP status (RFC 9110; 429: RFC 6585)."""
    status = response.status
    if 200 <= status < 300:
        return
    said = f"HTTP {status}"
    if status in (401, 403):
        raise CredentialsRejected(said)
    if status == 404:
        raise NotFound(said)
    if status in AWAY:
        raise Unavailable(f"{said}: {AWAY[status]}", retry_after(response))
    if status == 429:
        raise RateLimited(said, retry_after(response))
    if status in (408, 425) or status >= 500:
        after = retry_after(response)
        raise RateLimited(said, after) if after else Transient(said)
    raise Refused(said)


_BY_STATUS = (401, 408, 414, 425, 429, 431, *range(500, 600))  # say enough, whatever comes with them


def not_html(response: Response) -> None:
    """Raise Transient where a page of HTML came: of a proxy, a firewall, a shop under repair. It is no answer to us.

    Where an answer was due (2xx) it is Unavailable: all of them get that page. So a page with 200 is never "no news", one
    with 404 never "no such parcel", one with 403 never "the key is wrong". 401, 429 and failures of the server keep what
    they say.
    """
    page = response.body[:1000].removeprefix(BOM).lstrip().lower()
    if page[:1] == b"<" and (b"<html" in page or b"<!doctype html" in page) and response.status not in _BY_STATUS:
        error = Unavailable if 200 <= response.status < 300 else Transient
        raise error(f"HTTP {response.status} with a page of HTML instead of an answer")


def holding(body: bytes, *names: str) -> bytes:
    """Return a body that has one of the names in it, that without which it tells nothing.

    Raises Transient where it has none: an error body of whatever shape with a good status, an empty one, a list. What is no
    JSON at all is stored as it came, and told by the parser.
    """
    if names and not any(f'"{name}"'.encode() in body for name in names) and _is_json(body):
        raise Transient(f"an answer without {' or '.join(names)}: {said_by(body)}")
    return body


def raise_unless_json(response: Response, errors: Sequence[str] = ()) -> None:
    """Raise unless it is the answer of a source that speaks nothing but JSON: by HTTP status, and by what came.

    Raises Transient for a body that is no JSON at all, and for an error body that comes with a good status: one that has
    something at the path `errors`. An empty body is fine here: `holding` refuses it where it must not be.
    """
    not_html(response)
    raise_by_status(response)
    body = response.body.removeprefix(BOM).lstrip()
    if body and body[:1] not in (b"{", b"["):
        raise Transient(f"HTTP {response.status} with something that is no JSON")
    if errors and f'"{errors[-1]}"'.encode() in body:
        try:
            said: Any = document(body)
        except BadPayload:
            return  # it is stored, and told by the parser
        for name in errors:
            said = said.get(name) if isinstance(said, dict) else None
        if said:
            raise Transient(f"HTTP {response.status} with an error: {_words(said) or 'no reason given'}")


def _is_json(body: bytes) -> bool:
    """Say whether a body is JSON, or nothing."""
    try:
        document(body.strip() or b"null")
    except BadPayload:
        return False
    return True


def said_by(body: bytes, otherwise: str = "no reason given") -> str:
    """Say what an error body of any shape says, and nothing else of it: its code and message, or those of its first error.

    `otherwise`: what is said where it says nothing.
    """
    try:
        said = document(body)
    except BadPayload:
        return otherwise
    inner = [said.get("error"), said.get("errors")] if isinstance(said, dict) else []
    return next(filter(None, map(_words, [*inner, said])), otherwise)


def _words(error: Any) -> str:
    """Return what an error says: the first one's code and message, or what there is."""
    first = error[0] if isinstance(error, list) and error else error
    parts = map(text, map(first.get, ("code", "message", "title"))) if isinstance(first, dict) else [text(first)]
    return ": ".join(filter(None, parts))[:200]


def retry_after(response: Response, most: timedelta = timedelta(hours=1)) -> timedelta | None:
    """Read Retry-After (seconds or HTTP date, RFC 9110 10.2.3), capped at `most`; None where it says nothing usable."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=min(int(value[:9]), 10**6)), most)
    try:
        at = parsedate_to_datetime(value)
        return max(timedelta(0), min(at - response.received_at, most))
    except (ValueError, TypeError):
        return None


class Carrier(Source):
    """A carrier, or an aggregator that tells of several."""

    carriers: ClassVar[tuple[str, ...]] = ()  # who it speaks for; () is any
    companies: ClassVar[Mapping[str, str]] = {}  # what shops call them beside these names, in lower case
    batch: ClassVar[int] = 1
    codes: ClassVar[Mapping[tuple[str, str], Meaning]] = {}
    codes_from_yaml: ClassVar[bool] = False  # there is no table: each account's `codes:` says what its codes mean
    default_zone: ClassVar[str] = "UTC"
    text_matters: ClassVar[bool] = False
    registers: ClassVar[bool] = False
    register_batch: ClassVar[int] = 1  # numbers that one `register` settles in one request
    response_keys: ClassVar[tuple[str, ...]] = ()  # a poll's answer holds one of these; one with none is an error body

    def meaning(self, code: Code) -> Meaning | None:
        """Say what a code means; None is UNKNOWN: stored, counted, shown, and it moves nothing."""
        return self.codes.get((code.space, code.code))

    def register(self, client: Client, query: Parcels | Refs) -> list[Registered]:
        """Ask the source to push news of these parcels, or answer its handshakes. "Already there" is success."""
        raise NotImplementedError


class Platform(Source):
    """A selling platform. Its webhooks are change notices: the order is read again, then reconciled."""

    statuses: ClassVar[Mapping[str, OrderStatus]] = {}
    companies: ClassVar[Mapping[str, str]] = {}  # its own words for carriers, in lower case, and which carrier each is
    known: Mapping[str, str] = {}  # what the carriers that are installed are called; given by the core
    takes_notes: ClassVar[bool] = False  # whether `push` takes the kind order_note

    def carrier_of(self, company: str) -> str | None:
        """Return the carrier that the shop calls so: by the store's `carriers` (a setting), else by its platform, else by name."""
        own: Mapping[str, str] = self.settings.carriers
        word = company.lower()
        return own.get(company) or self.companies.get(word) or self.known.get(word)

    def status_map(self) -> Mapping[ShippingStatus, str]:
        """Say which word of the platform shows each shipping status; what is missing cannot be shown."""
        return {}

    def order_status_map(self) -> Mapping[OrderStatus, str]:
        """Say which word of the platform an order status is written in; what is missing is never written."""
        return {}

    def says(self) -> frozenset[OrderStatus]:
        """Say which order statuses the platform has words for: what it can be read to say, and what may be written."""
        return frozenset({*self.statuses.values(), *self.order_status_map()})

    def reads_back(self) -> timedelta | None:
        """Say how old an order may be and still be read; None is no such limit. One beyond it is out of sight, not gone."""
        return None

    @abstractmethod
    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Do a write. Twice must equal once: look before you write. Refused is final."""


def defined_in(plugin: type, module: str) -> bool:
    """Say whether a class is defined in a module, or in one of its parts where it is a package; what it imports is not."""
    return f"{plugin.__module__}.".startswith(f"{module}.")


def read_codes(module: str) -> dict[tuple[str, str], Meaning]:
    """Load the code table beside a plugin module (`ups.py` -> `ups.csv`, `acme/__init__.py` -> `acme/acme.csv`).

    Columns: space, code, wording, status (empty: moves nothing), reason (may be empty), evidence. `returning` and
    `returned` travel on the leg back to the sender. Raises ValueError with file and line of each unknown word, missing
    evidence, duplicate, and row of another length.
    """
    path = Path(module)
    path = path.with_name(f"{path.parent.name if path.stem == '__init__' else path.stem}.csv")
    table: dict[tuple[str, str], Meaning] = {}
    wrong: list[str] = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            key = (row["space"], row["code"])
            try:
                if key in table:
                    raise ValueError(f"{key} is there twice")
                table[key] = _meaning(key, row)
            except ValueError as error:
                wrong.append(f"{path.name}:{line}: {error}")
    if wrong:
        raise ValueError("\n".join(wrong))
    return table


def _meaning(key: tuple[str, str], row: Mapping[str | None, Any]) -> Meaning:
    """Read a row of a code table. Raises ValueError for what it cannot mean."""
    if None in row or None in row.values():
        raise ValueError(
            f"{key} has more or fewer columns than the head of the table (a text with a comma stands in quotes)"
        )
    if not row["evidence"]:
        raise ValueError(f"{key} names no evidence")
    status = _word(ShippingStatus, row["status"]) if row["status"] else None
    reason = _word(Reason, row["reason"]) if row["reason"] else None
    back = status in (ShippingStatus.RETURNING, ShippingStatus.RETURNED)
    return Meaning(status, reason, Leg.RETURN_TO_SENDER if back else Leg.OUTBOUND)


def _word(words: type[Word], value: str) -> Word:
    """Return a word of the vocabulary. Raises ValueError with those that could be meant."""
    try:
        return words(value)
    except ValueError as error:
        known = [str(word) for word in words]
        near = difflib.get_close_matches(value, known, n=3, cutoff=0.5) or (known if len(known) < 20 else [])
        hint = f"one of {', '.join(near)}? " if near else ""
        raise ValueError(f"{error}: {hint}tracker/domain/vocabulary.py says when each is used") from None
