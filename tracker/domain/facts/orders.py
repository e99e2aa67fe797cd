"""An order as its shop tells it, in our words beside its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tracker.domain.facts.sources import Parcel
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus, ShippingStatus, StatementKind


@dataclass(frozen=True, slots=True)
class Item:
    """A line of an order, in whole units."""

    ref: str
    ordered: int
    removed: int = 0  # cancelled or refunded
    shippable: bool = True
    name: str = ""
    short: bool = False  # the shop says that it is out of stock


@dataclass(frozen=True, slots=True)
class Published:
    """The last shipping status that the shop shows for a fulfilment. `status` None: a word we do not know."""

    status: ShippingStatus | None
    raw: str
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class Fulfilment:
    """The part of an order that travels together."""

    ref: str
    status: str
    parcels: tuple[Parcel, ...] = ()
    quantities: tuple[tuple[str, int], ...] = ()
    published: Published | None = None
    live: bool = True  # false: cancelled there; its parcels leave the coverage
    shipped_at: datetime | None = None
    service: str = ""  # the shop's own word for the shipping service
    unreadable: tuple[str, ...] = ()  # what stands in its tracking field and is no number


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """What an order said from `at` on; it still said something else at `read_before` (None: the first read)."""

    at: datetime
    status: OrderStatus
    raw: str
    payment: PaymentStatus
    actor: str = "unknown"
    read_before: datetime | None = None
    numbers: tuple[str, ...] = ()  # tracking numbers it named


@dataclass(frozen=True, slots=True)
class Statement:
    """What a person said of an order: audited, never unsaid."""

    kind: StatementKind
    text: str
    by: str
    at: datetime
    status: OrderStatus | None = None
    override: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """The shop's order, in our words beside its own."""

    store: str
    ref: str
    number: str
    status: OrderStatus
    raw_status: str
    payment: PaymentStatus
    raw_payment: str
    placed_at: datetime
    updated_at: datetime
    cancelled_at: datetime | None = None
    owner: Owner = Owner.UNKNOWN
    items: tuple[Item, ...] = ()
    fulfilments: tuple[Fulfilment, ...] = ()
    actor: str = "unknown"  # who set the status: system | seller | admin | customer | trackwright | unknown ...
    status_at: datetime | None = None  # when the status was set, where the shop tells
    status_reason: str = ""  # unverified_payment | awaiting_seller
    method: str = ""  # delivery method, in the shop's own word
    service: str = ""  # fulfilment service
    location: str = ""
    tags: tuple[str, ...] = ()
    pays_by: str = ""  # payment method, in the shop's own word: cod, bank_transfer, card ...
    address: str = ""  # confirmed | unconfirmed | flagged | missing | "" (the shop does not tell)
    ships_to: str = ""  # ISO 3166 alpha-2
    verified: bool = False  # the shop says that the order was verified
    locale: str = ""  # of the customer, such as en or de
    shown: str = ""  # what the field says that shows its shipping status (`Platform.status_field`)
    label: str = (
        ""  # what the shop calls its status, where the merchant renamed it: shown only, decided by `raw_status`
    )
    test: bool = False  # placed to try the shop: nobody waits for it, and nothing is ever written to it
    cancel_reason: str = ""  # why it was cancelled, in the shop's own word
    channel: str = ""  # where it was placed, in the shop's own word: online store, pos, an app or marketplace
    risk: str = ""  # of fraud, in the shop's own word: low, medium, high ...
    closed_at: datetime | None = None  # when the shop closed or archived it: work on it is over there
    gone: str = ""  # deleted | not_found | out_of_sight: the shop holds it no more, or lets us read it no more
    partial: bool = False  # a line, a fulfilment or a number of it could not be read: nothing is true of "all" of it
    history: tuple[StatusSnapshot, ...] = ()  # filled from the order's versions, oldest first; not part of a read
    statements: tuple[Statement, ...] = ()  # filled from what people said, oldest first; not part of a read

    def shown_by(self, prefix: str) -> tuple[str, ...]:
        """Return its tags that show a shipping status: `<prefix>:<status>`, in any case; of other tags none."""
        ours = {f"{prefix}:{status}".casefold() for status in ShippingStatus}
        return tuple(tag for tag in self.tags if tag.casefold() in ours)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout that was left: not an order, never tracked. `contact`: whether the customer left a way to be asked."""

    store: str
    ref: str
    began_at: datetime
    updated_at: datetime
    contact: bool = False
    recovered: bool = False  # it became an order, or was removed
