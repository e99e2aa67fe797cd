"""The contract between the core and its plugins: a carrier (or aggregator) or a selling platform.

A plugin module holds exactly one subclass of `Carrier` or `Platform`; its module name is the `uses:` word of the YAML.
`verify`, `normalize` and `meaning` are pure. `fetch`, `register` and `push` are the only methods that get a client;
they never sleep, log or catch HTTP errors.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from typing import Any, BinaryIO, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, SecretStr

from tracker.domain.errors import BadPayload, Refused, WebhookRejected
from tracker.domain.facts import (
    Action,
    ChangeNotice,
    Checkout,
    Code,
    Meaning,
    Missed,
    Order,
    Page,
    Parcel,
    Parcels,
    Payload,
    ProofDocument,
    Query,
    Quota,
    Receipt,
    Refs,
    Registered,
    Report,
    Unread,
)
from tracker.domain.vocabulary import OrderStatus, ShippingStatus, Trust
from tracker.plugin.answers import not_html, raise_by_status
from tracker.plugin.calls import Client, Response
from tracker.plugin.files import Cut
from tracker.plugin.hooks import Hook
from tracker.plugin.names import EVERYBODY, Names, Word, meanings, names, read_words, spelt

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


@dataclass(frozen=True, slots=True)
class Limits:
    """What a source allows an account, as its documents say; None: they tell no such limit."""

    calls: int | None = None  # requests, in any span of the length `per`
    per: timedelta | None = None
    side_by_side: int | None = None  # requests at once, in one process
    tokens: Literal["counted", "free"] = "counted"  # whether asking for an access token is one of `calls`


class Remark(NamedTuple):
    """What settings say that cannot be, and at which of their keys; `wrong` False: it can, and is worth knowing."""

    place: tuple[str | int, ...]
    said: str
    wrong: bool = True


class Beside(NamedTuple):
    """What a write does beside its effect: a sentence that goes on from "it ...", such as "mails the customer".

    `asks`: no preset switches such an order status on; it is written once the store's policy names it in `side_effects`.
    """

    said: str
    asks: bool = False


class Source(ABC):
    """What carriers and platforms share. Class attributes are the feature matrix (`tracker plugins`).

    Those that are no ClassVar may be an account's own: where its settings describe the API, they say it.
    """

    docs: ClassVar[str]
    contract: ClassVar[int] = CONTRACT  # the version it was made for; a plugin of another package names it
    # what no document of the platform or carrier tells and the code goes by, each in a few words; the setting that says otherwise in `backticks`
    unverified: ClassVar[tuple[str, ...]] = ()
    trust: Trust = Trust.SIGNED
    asks: frozenset[type[Query]] = frozenset()
    webhooks: bool = False
    max_body: ClassVar[int] = 1 << 20
    limits: Limits = Limits()  # what its documents allow; the YAML's `budget:` says otherwise, key by key
    vocabulary: ClassVar[tuple[str, ...]] = ()  # whose words for carriers it speaks: `said_by` in carriers.csv
    hooks_need: ClassVar[str] = ""  # what our credentials must be allowed so that hooks can be listed and made
    companies: ClassVar[Mapping[str, str]] = {}  # words that are not in that table: a package of its own has some
    shuns: ClassVar[
        tuple[str, ...]
    ] = ()  # it posts to no address that holds one of these, in whatever case (lower here)
    token_lasts: timedelta | None = None  # how long its access tokens live; None: it needs none

    stream_hosts: tuple[
        str, ...
    ] = ()  # where large results come from, beside the API: `Client.stream` calls no other host

    answer: Reply | None = None  # what a webhook is answered with that is stored; None: 200 and nothing
    keys: Mapping[str, str] = {}  # the public keys of its senders, by id: as `fetch_keys` told; given by the core

    Settings: ClassVar[type[Settings]]
    example: ClassVar[Mapping[str, Any]] = {}  # settings that tests bind it with, where invented words are none

    def __init__(self, account: str, settings: Any) -> None:
        """Bind an account: its name in the YAML and its settings."""
        self.account = account
        self.settings = settings

    def examine(self, read: Callable[[str], bytes], codes: Mapping[tuple[str, str], Meaning]) -> Iterator[Remark]:
        """Say what is wrong with settings that their types cannot see, with files that they name beside the YAML.

        `read` returns a file by its name, or raises OSError; `codes` are what the account's own `codes:` mean.
        """
        return iter(())

    def verify(self, payload: Payload) -> int:
        """Raise WebhookRejected unless the raw bytes prove who sent them. Refuses by default.

        Returns which of `webhook_secrets` proved it: 0 is the newest; an older one that is still used is counted.
        Raises KeyUnknown where it names a key that is not among `keys`: `fetch_keys` is asked for it, and the sender to come again.
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

    @cached_property
    def names(self) -> Names:
        """What carriers are called here. The core gives what every carrier that is installed says, too."""
        return _alone(type(self))

    def carrier_of(self, word: str) -> str | None:
        """Return the carrier that a word means: by its own vocabulary, else by everybody's; None: nobody knows it."""
        known, word = self.names.known, word.lower()
        return known.get(word) or known.get(spelt(word))

    def word_for(self, carrier: str | None) -> str | None:
        """Return the source's own word for a carrier, to be said in calls; None: let the source find out itself."""
        return self.names.words.get(carrier or "")

    @abstractmethod
    def normalize(self, payload: Payload) -> Iterable[Report | Order | ChangeNotice | Checkout | Unread]:
        """Turn bytes into facts, and tell what could not be read (`Unread`): a piece costs itself only. Pure; never guesses.

        Raises BadPayload with the path where nothing of the payload can be read.
        """

    @abstractmethod
    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Ask, and yield each answer as it came."""

    def webhooks_need(self) -> str:
        """Name the settings that must be set before a webhook comes, or is taken; empty: all are."""
        known = "webhook_secrets" in type(self.settings).model_fields
        return "webhook_secrets" if known and not self.settings.webhook_secrets else ""

    def fetch_keys(self, client: Client, key_id: str) -> Mapping[str, str]:
        """Ask for the public keys of its senders: a whole set, or the one that is named. Returns them by id, without it where it is none.

        From an address that only the settings say. `key_id` is what a stranger wrote. An answer that tells nothing (a page, an
        empty set, 404 of a whole set) raises: only one that lacks the key has its messages refused.
        """
        raise NotImplementedError

    def hooks_wanted(self, address: str) -> Sequence[Hook]:
        """State the hooks that tell all that an account needs, posted to `address`; none: whoever runs it makes them by hand.

        Pure. Raises Refused for an address that the source would not post to.
        """
        return ()

    def hooks_there(self, client: Client) -> Sequence[Hook]:
        """List the hooks that our credentials see, those of others too. A list that is missing raises Transient: it is never empty."""
        raise NotImplementedError

    def make_hook(self, client: Client, hook: Hook) -> str:
        """Make a hook that is not there; returns its ref."""
        raise NotImplementedError

    def mend_hook(self, client: Client, hook: Hook) -> None:
        """Give the hook of this ref this address and these headers, and switch it on."""
        raise NotImplementedError

    def ping(self, client: Client) -> None:
        """Prove that the credentials work, by the cheapest call there is. Raises from the error tree."""
        raise Refused("this plugin cannot be pinged")

    def look_around(self, client: Client) -> Iterator[str]:
        """Say what is found there that a person should know: where something is read, words without a meaning and the line to add.

        `tracker check` asks it where a ping went well, and tells each sentence as a note of the account. Raises from the error tree.
        """
        return iter(())

    def raise_for_status(self, response: Response) -> None:
        """Raise from the error tree unless the answer is what was asked for. By HTTP status; override for oddities.

        A page of HTML is never an answer, whatever its status. See `answers.raise_unless_json` for sources that speak nothing but JSON.
        """
        not_html(response)
        raise_by_status(response)

    def odd(self, headers: Mapping[str, str]) -> str | None:
        """Say what is odd about an answer, or a webhook, that is read all the same, such as the version it came in. Pure.

        Empty: nothing is; None: these headers (lower-case names) do not tell. The core tells a person when the words change, once.
        """
        return None

    def throttle_delay(self, response: Response) -> timedelta | None:
        """Answer how long the account should rest before its next call, where the answer tells; None is no rest."""
        return None


class Carrier(Source):
    """A carrier, or an aggregator that tells of several."""

    carriers: tuple[str, ...] = ()  # who it speaks for, by our ids; () is any.
    batch: int = 1
    shapes: ClassVar[re.Pattern[str] | None] = None  # numbers that it tells of, where others tell of its carrier too
    codes: ClassVar[Mapping[tuple[str, str], Meaning]] = {}
    codes_from_yaml: ClassVar[bool] = False  # there is no table: each account's `codes:` says what its codes mean
    default_zone: str = "UTC"
    text_matters: ClassVar[bool] = False
    registers: ClassVar[bool] = False
    register_batch: int = 1  # numbers that one `register` settles in one request
    register_calls: ClassVar[int] = 1  # requests that one `register` makes at most: it begins when so many may be made
    registers_first: ClassVar[bool] = False  # it tells of registered numbers only: nobody asks about one earlier
    resends: timedelta | None = None  # so long its sender keeps what it sent, and tells it again; None: it does not
    stops: ClassVar[bool] = False  # it can be told to stop, and to track again what was stopped (`stop`, `track_again`)
    response_keys: tuple[str, ...] = ()  # a poll's answer holds one of these; one with none is an error body
    proves: ClassVar[bool] = False  # it hands out documents that prove a delivery (`proof`)
    # whether its webhooks tell scans; False: they say only that there is news of a parcel, so that polls bring all and none is missed
    pushes_scans: bool = True
    files: ClassVar[bool] = False  # it tells by files, which `cut` knows: an account has a `folder:` or `sftp:`
    # of a feed (`asks` holds Since): how often it is read unless the YAML says otherwise, and at most; how far back it tells
    sweep_every: ClassVar[timedelta] = timedelta(minutes=10)
    sweep_least: ClassVar[timedelta] = timedelta(minutes=1)
    reaches_back: ClassVar[timedelta] = timedelta(days=1)

    def meaning(self, code: Code) -> Meaning | None:
        """Say what a code means; None is UNKNOWN: stored, counted, shown, and it moves nothing."""
        return self.codes.get((code.space, code.code))

    def cut(self, file: BinaryIO) -> Iterator[Cut]:
        """Cut a file into payloads of the kind `file`, in its order and in bounded memory; pure but for reading `file` on.

        The same file is cut the same way each time, wherever its name: so it can be read on after a crash, and twice changes
        nothing. What is wrong with the file as a whole (it is cut off, it counts wrong) is a payload too, which `normalize`
        tells as Unread. By default a file is one payload: an answer or a webhook that was saved.
        """
        body = file.read(self.max_body + 1)
        if len(body) > self.max_body:
            raise BadPayload("$", f"is larger than {self.max_body} bytes")
        if body:
            yield Cut((body,), 1, 1, len(body))

    def register(self, client: Client, query: Parcels | Refs) -> list[Registered]:
        """Ask the source to push news of these parcels, or answer its handshakes. "Already there" is success.

        An answer a number: one that is missing is asked for again. Twice must cost what once costs: a process may die between
        the call and its commit, so look before you register where a number costs something.
        """
        raise NotImplementedError

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """Fetch the document that proves a delivery, such as the image of a signature. `piece`: the id by which its carrier tells parcels of one number apart.

        Raises NotFound where there is none, or none yet. The core calls it once a delivery, where a store keeps documents, or when a person asks.
        """
        raise NotImplementedError

    def quota(self, client: Client) -> Quota | None:
        """Ask how many numbers may still be registered; None where nothing but the plan limits that."""
        return None

    def resend(self, client: Client, query: Missed) -> Iterator[Page]:
        """Ask for what was sent in a span, in any order: each part of a page is one webhook, the bytes as they were sent.

        A page goes on behind its `next_cursor` when the rest could not be had: its parts are stored with it, and not asked for again.
        """
        raise NotImplementedError

    def stop(self, client: Client, query: Parcels) -> list[Registered]:
        """End the tracking of numbers that no order names any more. "Not tracked" is success."""
        raise NotImplementedError

    def track_again(self, client: Client, query: Parcels) -> list[Registered]:
        """Track numbers again that were stopped and that an order still waits for; refused where that is not possible any more."""
        raise NotImplementedError


class Platform(Source):
    """A selling platform. Its webhooks are change notices: the order is read again, then reconciled."""

    statuses: ClassVar[Mapping[str, OrderStatus]] = {}
    actors: ClassVar[str] = (
        ""  # where it tells only in part who set an order's status (`Order.actor`): of what, and of what not
    )
    takes_notes: bool = False  # whether `push` takes the kind order_note
    takes_fields: bool = False  # whether `push` takes the kind field
    takes_tags: bool = False  # whether `push` takes the kind tag; its orders are read with all their tags
    takes_numbers: bool = False  # whether `push` takes the kind number: a person corrects a tracking number
    looks_again: timedelta | None = (
        None  # so long after a status was written it is looked once more whether it stayed: it may be saved over there
    )
    tells_address: bool = False  # whether `mail_address` can say to whom the mails of an order go
    address_needs: ClassVar[str] = ""  # what our credentials must be allowed so that it can be read
    status_field: str = ""  # the field that is to be read into `Order.shown`, by the store's policy; given by the core

    def carrier_of(self, word: str) -> str | None:
        """Return the carrier that a shop's word means: by the store's `carriers` (a setting, as the shop spells it), else as others do."""
        own: Mapping[str, str] = self.settings.carriers
        return own.get(word) or super().carrier_of(word)

    def status_map(self) -> Mapping[ShippingStatus, str]:
        """Say which word of the platform shows each shipping status; what is missing cannot be shown."""
        return {}

    def order_status_map(self) -> Mapping[OrderStatus, str]:
        """Say which word of the platform an order status is written in; what is missing is never written."""
        return {}

    def beside(self, kind: str, word: str) -> Beside | None:
        """Say what a write does beside its effect: mail the customer, move money; None: nothing that its documents tell.

        `kind` is an `Action`'s; `word` is the word of `order_status_map` (order_status) or `status_map` (fulfilment_event), the
        name of the field or tag, or the new number. `tracker check` and `tracker policy show` tell it of each write that a store's policy switches on.
        """
        return None

    def says(self) -> frozenset[OrderStatus]:
        """Say which order statuses the platform has words for: what it can be read to say, and what may be written."""
        return frozenset({*self.statuses.values(), *self.order_status_map()})

    def reads_back(self) -> timedelta | None:
        """Say how old an order may be and still be read; None is no such limit. One beyond it is out of sight, not gone."""
        return None

    def mail_address(self, client: Client, ref: str) -> str:
        """Ask to whom the mails of an order go, when one is to be sent; empty: the order names nobody.

        What is answered is used for that mail and kept nowhere: neither in the inbox nor in an error. Raises Refused, with what is
        needed, where our credentials may not read it (the rest of the order they may); NotFound where there is no such order.
        """
        raise Refused("this plugin cannot tell to whom mails of an order go")

    @abstractmethod
    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Do a write. Twice must equal once: look before you write. Refused is final."""


def defined_in(plugin: type, module: str) -> bool:
    """Say whether a class is defined in a module, or in one of its parts where it is a package; what it imports is not."""
    return f"{plugin.__module__}.".startswith(f"{module}.")


def declared(plugin: type[Source]) -> list[Word]:
    """Return the words that a plugin itself declares: of a carrier they are everybody's, of who tells of any carrier its own."""
    carriers = fixed(plugin)
    whose = EVERYBODY if carriers else plugin.__module__
    own = [Word(carrier, whose, word, plugin) for word, carrier in plugin.companies.items()]
    return [Word(carrier, EVERYBODY, carrier, plugin) for carrier in carriers] + own


def fixed(plugin: type[Source]) -> tuple[str, ...]:
    """Return the carriers that a plugin speaks for whoever uses it; none: of any, or of those that an account's entry names."""
    carriers: tuple[str, ...] = getattr(plugin, "carriers", ())
    return carriers


def spoken(plugin: type[Source], found: Mapping[tuple[str, str], Word]) -> Names:
    """Return what a plugin knows of a table of words."""
    return names(found, (plugin.__module__, *plugin.vocabulary))


@cache
def _alone(plugin: type[Source]) -> Names:
    """Return what a plugin knows that nobody gave more: the file of data, and what it declares."""
    return spoken(plugin, meanings((*read_words(), *declared(plugin))))
