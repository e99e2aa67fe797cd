"""The contract between the core and its plugins: a carrier (or aggregator) or a selling platform.

A plugin module holds exactly one subclass of `Carrier` or `Platform`; its module name is the `uses:` word of the YAML.
`verify`, `normalize` and `meaning` are pure. `fetch`, `register` and `push` are the only methods that get a client;
they never sleep, log or catch HTTP errors.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SecretStr

from tracker.domain.errors import Refused, WebhookRejected
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
from tracker.domain.vocabulary import OrderStatus, ShippingStatus, Trust
from tracker.plugin.answers import not_html, raise_by_status
from tracker.plugin.calls import Client, Response

CONTRACT = 2  # the version of what stands between core and plugins; CONTRIBUTING says what changes it
Secrets = tuple[SecretStr, ...]  # several at once while one is being rotated, newest first


class Settings(BaseModel):
    """What the YAML says of one account. Secret fields are `SecretStr` or `Secrets`: references, never literals."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handshake is answered with, beside its 200. Raises ValueError for what is no content type."""

    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"

    def __post_init__(self) -> None:
        """Refuse what would be another header: a plugin may build it from what a stranger wrote."""
        if not _CONTENT_TYPE.fullmatch(self.content_type):
            raise ValueError("a content type is type/subtype, with a charset at most")


_CONTENT_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+(; ?charset=[a-zA-Z0-9-]+)?")


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

    def handshake(self, payload: Payload) -> Reply | None:
        """Answer what a sender asks of our address before it sends news; None where it is no such thing. Pure.

        A challenge comes by GET: `query` holds its parameters, the body is empty. A ping is a POST, signed or not: it is asked
        before `verify`, so the answer may hold nothing secret, and what is news must be None. It is counted, and never read.
        """
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
