"""What we decide: what to write, what a person must look at, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tracker.domain.facts.sources import EPOCH, NOWHERE, Parcel, Place
from tracker.domain.vocabulary import Act, FindingKind, NoticeClass, OrderStatus, Reason, Severity, ShippingStatus


@dataclass(frozen=True, slots=True)
class Action:
    """A write to do. `key` makes it happen once; `rules` are the rules that asked for it.

    `kind`: `fulfilment_event` shows `status` on a fulfilment; `order_status` sets `target` on the order; `order_note`
    attaches `text`; `field` sets the field of that name to `text`, which shows `status`; `tag` puts the tag `text` in the place of
    those that begin with `field` and show another status; `number`, which only a person asks for, puts the second of `parcels` in
    the place of the first in `fulfilment`; `notice` tells the customer `notice` of `parcel`.
    """

    kind: str
    key: str
    store: str
    order: str
    fulfilment: str = ""
    status: ShippingStatus = ShippingStatus.UNKNOWN
    reason: Reason | None = None
    happened_at: datetime = EPOCH
    place: Place = NOWHERE
    edd: datetime | None = None
    rules: tuple[str, ...] = ()
    target: OrderStatus | None = None
    before: OrderStatus | None = None
    notice: NoticeClass | None = None
    parcels: tuple[Parcel, ...] = ()
    number: str = ""  # the order's number, as people know it
    text: str = ""
    field: str = ""  # the name of the order's field; of a tag what it begins with


@dataclass(frozen=True, slots=True)
class Receipt:
    """The shop's answer to a write. `already_there`: it stood there before; `proof` is what it returned."""

    ref: str
    already_there: bool = False
    proof: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a person must look at, about one subject (`order/<number>` or `parcel/<carrier>/<number>`)."""

    kind: FindingKind
    subject: str
    severity: Severity
    act: Act
    evidence: Mapping[str, str]
    since: datetime | None = None
    proposal: str = ""  # the write that would heal it, or the one next step; never a remedy where policy forbids it


@dataclass(frozen=True, slots=True)
class Decision:
    """What reconcile answers: the whole wanted set of actions and findings, and the rules that fired, in order."""

    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()
    because: tuple[str, ...] = ()
    look_again_at: datetime | None = None
