"""Scenario files: what happens in the outside world, when, and what must come of it.

`tests/scenarios/README.md` documents the format; the JSON schema is made from these models (`tracker sandbox schema`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from tracker.domain.vocabulary import (
    Act,
    DriftKind,
    FindingKind,
    NoticeClass,
    OrderStatus,
    Owner,
    PaymentStatus,
    ShippingStatus,
    StatementKind,
    TrackingState,
)
from tracker.sandbox.parts import Part, Span, When
from tracker.sandbox.used import CarrierUsed, StoreUsed


class Send(Part):
    """How the webhook of a scan travels."""

    times: int = Field(1, ge=0, le=100, description="Copies sent, byte for byte the same.")
    delay: Span = Field(timedelta(0), description="How late it is sent; the scan itself is known to polls at once.")
    signed: Literal["right", "wrong", "absent"] = Field("right", description="Whether its proof is right.")


class Scan(Part):
    """The carrier scans a parcel. `code` and its neighbours are the carrier's own words, as on its wire.

    UPS: `type` (I, D, X, M), `letters`, `code` (3 digits). DHL: `type` is statusCode, `code` the fine status, `service`.
    EasyPost: `type` is status, `code` is status_detail. FedEx: `type` is eventType, `code` the exception code.
    Purolator: `type` is ScanType, `text` the Description. USPS: `type` is statusCategory, `code` eventCode, `text` eventType.
    """

    account: str
    number: str
    code: str = ""
    type: str = ""
    letters: str = ""
    text: str = ""
    city: str = ""
    region: str = ""
    country: str = ""
    offset: str = Field("+00:00", pattern=r"^[+-]\d\d:\d\d$", description="Zone of the printed time.")
    zoned: bool = Field(True, description="DHL, FedEx, 17TRACK and Canada Post only: print the offset.")
    head: bool = Field(
        False, description="Only the status at the head of polls tells it: no event does, and no webhook."
    )
    service: str = "parcel-de"
    happened: When | None = Field(None, description="When it happened; the step's time by default.")
    last_mile: str = Field(
        "",
        description="UPS: the post's number for the parcel, told from now on. Royal Mail: the name of the post abroad.",
    )
    edd: When | None = None
    via: Literal["both", "poll", "webhook"] = Field("both", description="How it can be learnt.")
    webhook: Send = Send()
    body: Any = Field(
        None, description="Where the account has `serves`: the carrier's whole answer about the number from now on."
    )


class ItemPlaced(Part):
    """A line of an order. On Shopify `ref` is its title; a name with `gift` in it makes it a gift card."""

    ref: str
    name: str = ""
    quantity: int = Field(1, ge=1)
    in_stock: bool = True
    shippable: bool = True


class Place(Part):
    """Somebody places an order. What stands below `status` is for `rest` stores; `items` for BigCommerce too; Shopify takes all but `verified`."""

    order: str
    store: str = "shop"
    payment: str | None = Field(None, description="The platform's own word; paid by default.")
    status: str | None = Field(None, description="The platform's own word; its first one by default.")
    by: str = Field("system", description="Who set the status.")
    items: tuple[ItemPlaced, ...] = ()
    method: str = Field("", description="Delivery method, in the shop's word: it tells who dispatches (KE-01).")
    service: str = ""
    location: str = ""
    country: str = ""
    address: Literal["", "confirmed", "unconfirmed", "flagged", "missing"] = ""
    tags: tuple[str, ...] = ()
    pays_by: str = Field("card", description="Payment method: cod, bank_transfer, card ...")
    verified: bool = False


class Ship(Part):
    """Somebody ships an order: one fulfilment with its numbers. On a `rest` store it sets no status but `status`."""

    order: str
    store: str = "shop"
    company: str = ""
    numbers: tuple[str, ...] = ()
    partly: bool = False
    items: dict[str, int] = Field({}, description="Pieces by item; all that are left by default.")
    status: str | None = Field(None, description="The status that the shipper sets with it, in the platform's word.")
    by: str = "seller"
    service: str = ""


class Edit(Part):
    """Somebody changes an order in the shop. `set` holds the platform's own fields and words."""

    order: str
    store: str = "shop"
    by: str = "seller"
    set: dict[str, Any] = Field({})
    event: str | None = Field(None, description="A fulfilment event that another app writes.")
    numbers: tuple[str, ...] | None = Field(None, description="Replace the newest fulfilment's numbers.")
    company: str = ""


class Cancel(Part):
    """Somebody cancels an order, or pieces of one of its items (all that are left by default)."""

    order: str
    store: str = "shop"
    by: str = "seller"
    item: str | None = None
    quantity: int | None = Field(None, ge=1)


class Refund(Part):
    """Somebody gives money back: for the order (the payment's word changes), or for pieces of an item."""

    order: str
    store: str = "shop"
    by: str = "seller"
    item: str | None = None
    quantity: int | None = Field(None, ge=1)
    status: str | None = Field(None, description="The payment's word; refunded by default, nothing for an item.")


class Pay(Part):
    """The payment changes; `status` is the platform's own word."""

    order: str
    store: str = "shop"
    status: str | None = Field(None, description="Paid by default.")


class LeftCheckout(Part):
    """Somebody leaves a checkout of a `rest` store, or (recovered) takes it up again."""

    ref: str
    store: str = "shop"
    contact: bool = False
    recovered: bool = False


class Say(Part):
    """A person speaks, as `tracker note | record | correct` do."""

    order: str
    store: str = "shop"
    kind: StatementKind = StatementKind.NOTE
    status: OrderStatus | None = Field(None, description="Of a correction: what the order must be.")
    text: str = ""
    by: str = "ops"
    override: bool = False
    to_shop: bool = False


class May(Part):
    """A gate is asked, as `tracker may` does, and must answer so."""

    order: str
    to: OrderStatus
    store: str = "shop"
    reason: str = ""
    allowed: bool
    rule: str | None = None


class Dismiss(Part):
    """A person closes the open findings of a kind, with a reason, or snoozes them."""

    kind: FindingKind
    order: str | None = None
    reason: str = "looked at"
    by: str = "ops"


class Withdraw(Part):
    """The carrier's answers no longer hold the scans of that code; nothing stands in their place."""

    account: str
    number: str
    code: str = Field(description="As `scan` says it; where a scan has no code, its type or text.")


FaultKind = Literal[
    "throttle", "error", "garbage", "html", "hang", "answer", "expire_tokens", "graphql_throttle", "bulk_busy", "bulk_fails", "apply_then_fail",
    "refuse_write", "refuse_number", "rate_limit", "stop_tracking", "spend_quota", "new_key", "lose_hook", "stop_hook",
    "refuse_hooks", "fall_forward", "unreachable", "duplicate_hooks", "storm", "overloaded", "read_only", "decline_refund", "rename_statuses",
    "sign_wrongly", "save_over",
]  # fmt: skip


class Fault(Part):
    """A server does something wrong, `times` times or `for` a while."""

    server: str
    kind: FaultKind = "answer"
    times: int | None = Field(None, ge=1, le=1000, description="How often; once by default.")
    lasts: Span | None = Field(None, alias="for", description="How long, such as 8h; instead of times.")
    status: int = Field(200, ge=200, le=599, description="answer only: its HTTP status.")
    body: Any = Field("", description="answer only: a text is sent as it is, anything else as JSON.")
    headers: dict[str, str] = Field({}, description="answer only: more headers, such as Retry-After.")
    path: str = Field("", description="answer, html and hang only: calls whose path contains this; all by default.")

    @model_validator(mode="after")
    def _fits(self) -> Fault:
        if self.times is not None and self.lasts is not None:
            raise ValueError("takes times or for, not both")
        if self.kind in ("expire_tokens", "stop_tracking") and self.model_fields_set & {"times", "lasts"}:
            raise ValueError(f"{self.kind} happens at once: it takes neither times nor for")
        if self.kind != "answer" and (more := self.model_fields_set & {"status", "body", "headers"}):
            raise ValueError(f"{', '.join(sorted(more))}: only of kind answer")
        if self.kind == "answer" and not self.model_fields_set & {"status", "body"}:
            raise ValueError("answer needs a status or a body")
        if self.kind not in ("answer", "html", "hang") and "path" in self.model_fields_set:
            raise ValueError("path: only of the kinds answer, html and hang")
        return self


class Says(Part):
    """A command is run as a process at this moment, with the play's own configuration, and must end and say so."""

    run: str = Field(min_length=1, description="The arguments after `tracker`, as a shell takes them.")
    exit: int = Field(0, ge=0, le=255)
    holds: tuple[str, ...] = Field((), description="Texts that its output must contain.")
    lacks: tuple[str, ...] = Field((), description="Texts that its output must not contain.")

    @property
    def words(self) -> list[str]:
        """Return the arguments. Raises ValueError where the quotes do not match."""
        return shlex.split(self.run)

    @model_validator(mode="after")
    def _can_be_split(self) -> Says:
        try:
            shlex.split(self.run)
        except ValueError as error:
            raise ValueError(f"run: {error}") from None
        return self


class Wire(Part):
    """Post a body as it is, with the account's right (or wrong) proof."""

    account: str
    body: str
    signed: Literal["right", "wrong", "absent"] = "right"
    status: int = Field(200, description="The answer it must get.")


class File(Part):
    """A carrier that tells by files puts one into the folder of its account, which is looked at every half an hour."""

    account: str
    name: str = Field(pattern=r"^[^/]+$")
    body: str


class Many(Part):
    """A step that happens to many: once for each number, which stands in its texts for `{n}`, as 00001."""

    first: int = Field(1, ge=0)
    last: int = Field(ge=0, le=99_999)
    at_once: int = Field(100_000, ge=1, description="So many at one moment, and")
    every: Span = Field(timedelta(0), description="the next ones so much later.")


class Step(Part):
    """One thing that happens. Exactly one of the actions."""

    at: When
    many: Many | None = None
    place: Place | None = None
    ship: Ship | None = None
    scan: Scan | None = None
    withdraw: Withdraw | None = None
    edit: Edit | None = None
    cancel: Cancel | None = None
    pay: Pay | None = None
    fault: Fault | None = None
    wire: Wire | None = None
    file: File | None = None
    refund: Refund | None = None
    checkout: LeftCheckout | None = None
    say: Say | None = None
    may: May | None = None
    dismiss: Dismiss | None = None
    says: Says | None = None
    expect: Expect | None = None

    @model_validator(mode="after")
    def _one(self) -> Step:
        if len(self.model_fields_set - _NO_ACTIONS) != 1:
            actions = [name for name in type(self).model_fields if name not in _NO_ACTIONS]
            raise ValueError(f"needs exactly one of {', '.join(actions)}")
        return self

    @property
    def action(self) -> tuple[str, Any]:
        """Return what happens: the name of the one action, and the action."""
        (name,) = self.model_fields_set - _NO_ACTIONS
        return name, getattr(self, name)

    def each(self) -> Iterator[Step]:
        """Yield the steps that happen: this one, or one for each number of `many`."""
        if self.many is None:
            yield self
            return
        name, action = self.action
        for n in range(self.many.first, self.many.last + 1):
            later = (n - self.many.first) // self.many.at_once * self.many.every
            texts = {field: _numbered(getattr(action, field), n) for field in action.model_fields_set}
            yield self.model_copy(update={"at": self.at + later, name: action.model_copy(update=texts)})


_NO_ACTIONS = frozenset({"at", "many"})


def _numbered(value: Any, n: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_numbered(one, n) for one in value)
    return value.replace("{n}", f"{n:05d}") if isinstance(value, str) else value


class ParcelExpected(Part):
    """What must be known of a parcel."""

    status: ShippingStatus | None = None
    tracking: TrackingState | None = None
    scans: int | None = None
    place: str | None = Field(None, description="The last known place contains this.")


class OrderExpected(Part):
    """What must be known of an order."""

    status: OrderStatus | None = None
    payment: PaymentStatus | None = None
    raw_status: str | None = Field(None, description="The platform's own word, as it stands in the shop.")
    owner: Owner | None = None
    parcels: dict[str, ParcelExpected] = Field({})
    rules: tuple[str, ...] = Field((), description="Rules that the last decision must name.")
    shows: dict[str, Any] = Field({}, description="Parts of what `tracker show --json` shows of it.")
    urgent: Literal["urgent", "warning", "info", "none"] | None = Field(None, description="The worst open finding.")


class FindingExpected(Part):
    """A finding that must have been opened; `open` says whether it still is."""

    kind: FindingKind
    order: str | None = None
    parcel: str | None = None
    open: bool = True
    store: str | None = None
    act: Act | None = None
    evidence: dict[str, str] = Field({}, description="Parts that the evidence must hold.")
    proposal: str | None = Field(
        None, description="The proposal contains this, without the quotes of a shell; an empty text: there is none."
    )
    opened: When | None = Field(None, description="Opened at this time, to the hour.")
    closed: When | None = Field(None, description="Closed at this time, to the hour.")


class WriteExpected(Part):
    """A write that the platform must have logged; `may`: an unlucky order of arrival may skip it."""

    order: str
    event: str
    store: str = "shop"
    number: str | None = None
    happened: When | None = None
    place: str | None = Field(None, description="The place that was sent contains this.")
    may: bool = False
    times: int = Field(1, ge=1)


class NoticeExpected(Part):
    """A notice that the sink must hold, once."""

    order: str
    notice: NoticeClass
    number: str | None = None
    store: str = "shop"
    text: str = Field("", description="The text contains this.")


class DriftExpected(Part):
    """A row of `tracker drift`."""

    order: str
    shop: OrderStatus | None = Field(None, description="What the shop says, in the shared word.")
    carrier: ShippingStatus | None = Field(None, description="What the carrier says, in the shared word.")
    kind: DriftKind | None = None
    store: str | None = None
    parcel: str | None = Field(None, description="The parcel contains this: its carrier or number.")
    caused_by: str | None = Field(None, description="Who caused it contains this.")
    heal: str | None = Field(None, description="What would heal it contains this.")
    since: When | None = Field(None, description="Since this time, to the hour.")


class Expect(Part):
    """What must hold: now (as a step) or at the end. Lists are complete: what is not listed must not be there."""

    orders: dict[str, OrderExpected] = Field({})
    unmatched: dict[str, ParcelExpected] = Field({}, description="Parcels without an order, by number.")
    findings: tuple[FindingExpected, ...] | None = None
    writes: tuple[WriteExpected, ...] | None = None
    written: dict[str, tuple[int, int]] = Field({}, description="How often an event was written, at least and at most.")
    drift: tuple[DriftExpected, ...] | None = Field(None, description="Complete, as `tracker drift` lists it.")
    notices: tuple[NoticeExpected, ...] | None = Field(None, description="Complete.")
    checkouts: tuple[str, ...] | None = Field(None, description="Checkouts that stand apart, by ref. Complete.")
    unmapped: tuple[str, ...] | None = Field(None, description="carrier/space/code")
    rejected: int | None = Field(None, description="Webhooks answered with 401.")
    calls: dict[str, int] = Field({}, description="At least so many calls, by server/operation.")
    most_calls: dict[str, int] = Field({}, description="At most so many calls, by server/operation.")


class Scenario(Part):
    """A whole play."""

    scenario: str
    about: str = ""
    start: datetime = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
    accounts: dict[str, CarrierUsed] = Field({})
    stores: dict[str, StoreUsed] = Field({"shop": StoreUsed()})
    steps: tuple[Step, ...]
    watch: dict[str, Any] = Field({}, description="The section watch: of the YAML: slowdown, silent webhooks.")
    lasts: Span | None = Field(None, description="How long to go on after the last step; 1h by default.")
    expect: Expect = Expect()

    @property
    def happens(self) -> list[Step]:
        """Return every single thing that happens."""
        return [one for step in self.steps for one in step.each()]

    def moment(self, when: timedelta | datetime) -> datetime:
        """Return the moment that a `When` means."""
        return self.start + when if isinstance(when, timedelta) else when


Step.model_rebuild()
Scenario.model_rebuild()
