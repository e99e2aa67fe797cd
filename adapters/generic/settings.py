"""What a description of a platform says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from tracker.domain.vocabulary import OrderStatus, PaymentStatus, ShippingStatus
from tracker.plugin import contracts
from tracker.plugin.described import Call, Described, Hook, Part, Samples
from tracker.plugin.paths import Path
from tracker.plugin.times import TimeFormat

NEVER_WRITTEN = frozenset({OrderStatus.CANCELLED, OrderStatus.ON_HOLD, OrderStatus.UNKNOWN})


class ItemFacts(Part):
    """The lines of an order, and where the facts of each stand."""

    each: Path = Field(description="The list, from the order on.")
    ref: Path
    ordered: Path
    removed: Path | None = Field(None, description="Pieces that were cancelled or refunded.")
    name: Path | None = None
    shippable: Path | None = Field(None, description="false: it is not shipped.")


class PieceFacts(Part):
    """Which pieces travel in a fulfilment."""

    each: Path = Field(description="The list, from the fulfilment on.")
    ref: Path
    quantity: Path


class FulfilmentFacts(Part):
    """What travels together, and where the facts of each stand; `[@]` as `each` is the order itself."""

    each: Path = Field(description="The list, from the order on.")
    ref: Path
    status: Path | None = None
    cancelled: Path | None = Field(None, description="Something stands here where it does not travel any more.")
    numbers: Path = Field(description="The tracking number as people typed it, or a list of them.")
    company: Path | None = Field(None, description="The shop's word for the carrier.")
    service: Path | None = None
    shipped: Path | None = Field(None, description="A time.")
    items: PieceFacts | None = None
    shows: Path | None = Field(None, description="The word of the shipping status that it shows.")
    shows_at: Path | None = Field(None, description="Since when.")


class Facts(Part):
    """Where the facts of an order stand, from the order on."""

    ref: Path
    number: Path
    status: Path
    payment: Path
    placed: Path
    updated: Path
    cancelled: Path | None = Field(None, description="When it was cancelled.")
    status_at: Path | None = Field(None, description="When its status was set.")
    actor: Path | None = Field(None, description="Who set its status, in the shop's word.")
    method: Path | None = Field(None, description="The delivery method.")
    service: Path | None = None
    location: Path | None = None
    tags: Path | None = None
    pays_by: Path | None = None
    country: Path | None = Field(None, description="Where it goes, ISO 3166 alpha-2.")
    locale: Path | None = None
    email: Path | None = Field(None, description="To whom mails about it go: read as one is sent, and kept nowhere.")
    items: ItemFacts | None = None
    fulfilments: FulfilmentFacts | None = None
    time_format: TimeFormat = Field("iso", description="Of all times; they must say their offset.")


class Read(Call):
    """How one order is read: `{ref}`."""

    order: Path = Field(Path("@"), description="Where the order stands in the answer.")
    sample: Samples


class Pages(Part):
    """How one page leads to the next; it stands as `{page}` in the query or body."""

    by: Literal["cursor", "page", "offset", "link"]
    next: Path | None = Field(
        None, description="The cursor of the next page, or its address; without: the header Link."
    )
    size: int | None = Field(None, ge=1, le=1000, description="Of page and offset: a page with fewer is the last.")

    @model_validator(mode="after")
    def _fits(self) -> Pages:
        if (self.by in ("page", "offset")) is not (self.size is not None):
            raise ValueError("size: is of page and offset, and each of them needs it")
        if (self.by == "cursor" and self.next is None) or (self.by in ("page", "offset") and self.next is not None):
            raise ValueError("next: is of cursor (which needs it) and link")
        return self


class Sweep(Call):
    """How all orders that changed since a moment are read: `{since}`, and `{page}`.

    At a first sweep there is no moment: a parameter of the query that would be empty is not sent; in a body it is the year 1970.
    """

    orders: Path = Field(description="The list, from the answer on.")
    since_format: TimeFormat = Field("iso", description="How {since} is written, in UTC.")
    pages: Pages
    sample: Samples


class StatusWrite(Call):
    """How the order's status is written: `{word}`, beside `{ref}`, `{before}`, `{once}`, `{happened_at}`."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "PUT"
    words: Mapping[OrderStatus, str] = Field(
        min_length=1, description="What is written for each; nothing else ever is."
    )
    done: Path = Field(description="Something stands here in the answer where it is done.")
    sample: Samples

    @model_validator(mode="after")
    def _may_be_written(self) -> StatusWrite:
        if never := sorted(NEVER_WRITTEN & self.words.keys()):
            raise ValueError(f"words: {', '.join(never)} is never written")
        return self


class ShippingWrite(Call):
    """How a shipping status is shown on a fulfilment: `{word}`, `{fulfilment}`, `{ref}`, `{once}`, `{happened_at}`, `{number}`."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    words: Mapping[ShippingStatus, str] = Field(
        min_length=1, description="What shows each; nothing else is ever shown."
    )
    done: Path = Field(description="Something stands here in the answer where it is done.")
    sample: Samples


class NoteWrite(Call):
    """How a note is attached: `{text}`, `{ref}`, `{once}`."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    there: Path | None = Field(
        None, description="The texts of an order's notes, in the answer to `read`: one is not written twice."
    )
    done: Path
    sample: Samples


class Writes(Part):
    """What may be written. What is not here is never written."""

    status: StatusWrite | None = None
    shipping: ShippingWrite | None = None
    note: NoteWrite | None = None


class Webhook(Hook):
    """A hook says that an order changed; the order is read again."""

    ref: Path = Field(description="The order's ref, from the webhook on.")


class Settings(contracts.Settings, Described):
    """One shop's API: `read` an order, `sweep` those that changed, `facts` of each, and `writes`, which is all that is ever written.

    `base_url` is where; `secrets`, by name, go into the `headers` and the `query` of all calls, `basic` and `login`. `statuses` and
    `payments` say what the shop's words mean, `carriers` its words for carriers. `not_found` and `error` tell such answers with
    200; `webhook` and `webhook_secrets` are its hooks and what proves them.
    """

    read: Read
    sweep: Sweep
    facts: Facts
    statuses: Mapping[str, OrderStatus] = {}
    payments: Mapping[str, PaymentStatus] = {}
    carriers: Mapping[str, str] = {}
    writes: Writes = Writes()
    webhook: Webhook | None = None
