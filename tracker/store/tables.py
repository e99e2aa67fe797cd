"""Every table.

Times are aware UTC; `due_at`, `claimed_until`, `asked_at` and `read_at` are the database's clock, the rest is business
time. The migrations create exactly this (a test compares them).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlmodel import Field, SQLModel

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Pieces = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Json = sa.JSON().with_variant(JSONB(), "postgresql")


def moment_text(value: datetime) -> str:
    """Return an aware moment as SQLite stores it."""
    return (value if value.tzinfo is UTC else value.astimezone(UTC)).isoformat(" ", "microseconds")[:26]


class Utc(sa.types.TypeDecorator[datetime]):
    """An aware moment: timestamptz in PostgreSQL; in SQLite the text that sorts, `2026-11-02 08:00:00.000000`, of UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """Read and write SQLite's text ourselves: a worker turns some thirty moments an event, and `replace` takes 0.7 us."""
        return dialect.type_descriptor(sa.String() if dialect.name == "sqlite" else self.impl)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """Refuse naive moments."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive moment must not reach the database")
        return moment_text(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give back aware UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return datetime.fromisoformat(value + "+00:00")
        found: datetime = value
        return found if found.tzinfo is UTC else found.astimezone(UTC)


def _id() -> Any:
    return Field(default=None, sa_column=sa.Column(Big, primary_key=True, autoincrement=True))


def _at(*, null: bool = True) -> Any:
    return Field(default=None, sa_type=Utc, nullable=null)


def _json(*, null: bool = False) -> Any:
    return Field(default=None, sa_type=Json, nullable=null)


def _ref(column: str, *, null: bool = False, index: bool = False) -> Any:
    return Field(default=None, sa_column_args=[sa.ForeignKey(column)], sa_type=Big, nullable=null, index=index)


PENDING = "state = 'pending'"
WAITED_FOR = "kind IN ('webhook', 'read')"  # a poll's answer, a sweep's page and a remap are in no hurry
DEAD = "state = 'dead'"
OPEN = "closed_at IS NULL"
PARTLY = "unread IS NOT NULL"
UNMAPPED_SCANS = "reason = 'unmapped' AND withdrawn_at IS NULL"
POLLED, REGISTERED = "next_poll_at IS NOT NULL", "register_at IS NOT NULL"
OVERDUE = "overdue_since IS NOT NULL AND next_poll_at IS NOT NULL"
GIVEN_UP = "tracking_state IN ('invalid_number', 'unsupported', 'stopped')"
REFUSED = "tracking_state = 'error'"
# findings that say that we, an account or a part of it was away (support/away.py)
AWAY = "kind IN ('outage', 'source_unavailable', 'account_parked', 'feed_gap', 'webhooks_silent', 'webhooks_missing', 'keys_missing', 'hook_wrong')"
RECOUNT = "recount IS TRUE"
COUNTS = "counts IS TRUE"


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


class Inbox(SQLModel, table=True):
    """Every payload that arrived, stored before it is acknowledged."""

    __tablename__ = "inbox"
    __table_args__ = (
        sa.UniqueConstraint("account", "dedupe_key"),
        sa.Index("inbox_due", "due_at", "id", **_where(PENDING)),
        sa.Index("inbox_waited_for", "account", "due_at", "id", **_where(f"{PENDING} AND {WAITED_FOR}")),
        sa.Index("inbox_in_no_hurry", "account", "due_at", "id", **_where(f"{PENDING} AND NOT ({WAITED_FOR})")),
        sa.Index("inbox_dead", "id", **_where(DEAD)),
        sa.Index("inbox_partly", "id", **_where(PARTLY)),
        sa.Index("inbox_received", "received_at"),
        sa.Index("inbox_bodies", "received_at", **_where("body IS NOT NULL AND state IN ('done', 'ignored')")),
    )
    id: int | None = _id()
    account: str
    kind: str
    times: int | None = None  # of a handshake: how often it came that day
    dedupe_key: str | None = None
    headers: dict[str, str] = _json()
    body: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    part_sizes: list[int] | None = _json(null=True)
    size: int
    state: str = "pending"
    reason: str | None = None
    attempts: int = 0
    crashes: int = 0
    asked_at: datetime | None = _at()
    quiet: bool = False  # replayed: its news causes no write
    due_at: datetime = _at(null=False)
    claimed_until: datetime | None = _at()
    received_at: datetime = _at(null=False)
    ended_at: datetime | None = _at()
    unread: list[list[str]] | None = Field(
        default=None, sa_type=Pieces
    )  # [where, problem, subject] of what was not read
    trace: str | None = None  # the traceparent of what it came of, where traces are sent


class UnreadPaths(SQLModel, table=True):
    """How often a path could not be read, by account and day: a new one that is frequent is a changed shape."""

    __tablename__ = "unread_paths"
    __table_args__ = (sa.Index("unread_paths_day", "day"),)
    account: str = Field(primary_key=True)
    path: str = Field(primary_key=True)  # without indexes: $.orders[].items[].ref
    day: str = Field(primary_key=True)  # 2026-11-26, UTC
    count: int  # payloads in which it stood
    problem: str
    sample: int | None = Field(default=None, sa_type=Big)  # an inbox row


class AccountDays(SQLModel, table=True):
    """What came from an account in a day: the measure for shares of it."""

    __tablename__ = "account_days"
    account: str = Field(primary_key=True)
    day: str = Field(primary_key=True)  # 2026-11-26, UTC
    payloads: int = 0
    polled_first: int = 0  # scans that a poll told first although the account pushes
    pushed_first: int = 0  # scans that a webhook told first


class ParcelFacts(SQLModel, table=True):
    """How each parcel fared, as reports counted it: one row a store that ships it, `counts` the one that the total counts."""

    __tablename__ = "parcel_facts"
    __table_args__ = (
        sa.Index("parcel_facts_day", "day", "shipment_id", **_where(COUNTS)),
        sa.Index("parcel_facts_carrier", "carrier", "day", "shipment_id", **_where(COUNTS)),
        sa.Index("parcel_facts_store", "store", "day", "shipment_id"),
        sa.Index("parcel_facts_again", "again_at", **_where("again_at IS NOT NULL")),
    )
    shipment_id: int = Field(sa_type=Big, primary_key=True)
    store: str = Field(primary_key=True)
    counts: bool
    day: str  # 2026-11-26, of the store's zone: when its carrier took it over, before that when it began
    carrier: str
    account: str  # that told most of it; empty: nobody did yet
    service: str
    origin: str  # countries; empty: not known
    destination: str
    handed_over: bool
    end: str
    days: int | None = None  # business days from the hand-over to the delivery
    on_first: str  # against the first estimate: domain/performance.py
    on_last: str
    attempt: str
    problems: list[str] = _json()
    returned: bool
    silent: bool
    delays: dict[str, dict[str, int]] = _json()
    again_at: datetime | None = _at()  # business time: when time alone may change it


class ReportDays(SQLModel, table=True):
    """What reports count, by day, store (`*`: all of them) and what else they tell apart; kept as parcels change."""

    __tablename__ = "report_days"
    __table_args__ = (sa.Index("report_days_store", "store", "day"),)
    key: str = Field(primary_key=True)  # hash of the seven that follow
    store: str
    day: str
    carrier: str
    account: str
    service: str
    origin: str
    destination: str
    counts: dict[str, int] = _json()


class ReportState(SQLModel, table=True):
    """How far reports have counted."""

    __tablename__ = "report_state"
    name: str = Field(primary_key=True)
    walked_to: int = Field(default=0, sa_type=Big)  # the shipment up to which all were looked at in this round
    walk_ends: int = Field(default=0, sa_type=Big)  # the newest when this round began
    whole_at: datetime | None = _at()  # since when every parcel is counted by the rules below
    counted_at: datetime | None = _at()  # when nothing was left to count last
    rules: dict[str, str] = _json()  # what stores count by, hashed: calendar and silence


class Endings(SQLModel, table=True):
    """What scans of an account said of parcels in a day: of how many steps from where they stood the journey ended."""

    __tablename__ = "endings"
    account: str = Field(primary_key=True)
    carrier: str = Field(primary_key=True)
    day: str = Field(primary_key=True)  # 2026-11-26, UTC: when we heard of it
    stood: str = Field(primary_key=True)  # a shipping status, near, or ended (what is counted then are ends taken back)
    hours: int = Field(primary_key=True)  # since its carrier had the parcel
    steps: int
    ends: int


class PolicyUses(SQLModel, table=True):
    """Which policy was in force for a store since when."""

    __tablename__ = "policy_uses"
    store: str = Field(primary_key=True)
    since: datetime = Field(sa_type=Utc, primary_key=True)
    hash: str
    mode: str


class Orders(SQLModel, table=True):
    """The shop's orders as last read."""

    __tablename__ = "orders"
    __table_args__ = (
        sa.UniqueConstraint("store", "ref"),
        sa.Index("orders_number", "number"),
        sa.Index("orders_store", "store", "id"),
        sa.Index("orders_due", "reconcile_at", "id", **_where("reconcile_at IS NOT NULL")),
        sa.Index("orders_turn", "store", "reconcile_at", "id", **_where("reconcile_at IS NOT NULL")),
        sa.Index("orders_not_compared", "id", **_where("drift IS NULL")),
        sa.Index("orders_to_erase", "placed_at", **_where("erased_at IS NULL")),
    )
    id: int | None = _id()
    store: str
    ref: str
    number: str
    status: str
    raw_status: str
    payment: str
    raw_payment: str
    owner: str
    placed_at: datetime = _at(null=False)
    facts: dict[str, Any] = _json()
    version: int
    read_at: datetime = _at(null=False)
    reconcile_at: datetime | None = _at()
    quiet_before: datetime | None = _at()  # what began before this causes no write (replay, remap)
    decision_hash: str | None = None
    urgent: str | None = None
    gone_at: datetime | None = _at()  # since when the shop holds it no more
    gone_why: str | None = None  # deleted | not_found | out_of_sight
    drift: str | None = None  # how shop and carriers disagree, in short; "": they agree; None: nobody compared them yet
    drift_at: datetime | None = _at()  # since when we know that
    trace: str | None = None  # of what its next decision came of, one space between two
    erased_at: datetime | None = _at()  # when its personal texts were erased; what comes later is not kept either
    erased: dict[str, Any] | None = _json(null=True)  # who did it, and how much of what


class OrderVersions(SQLModel, table=True):
    """What an order said, each time it said something new."""

    __tablename__ = "order_versions"
    __table_args__ = (sa.UniqueConstraint("order_id", "version"),)
    id: int | None = _id()
    order_id: int = _ref("orders.id")
    version: int
    seen_at: datetime = _at(null=False)
    previous_read_at: datetime | None = _at()
    inbox_id: int | None = Field(default=None, sa_type=Big)
    actor: str
    status: str | None = None
    raw_status: str | None = None
    payment: str | None = None
    numbers: list[str] | None = _json(null=True)
    facts: dict[str, Any] = _json()


class Fulfilments(SQLModel, table=True):
    """The parts of an order that travel together."""

    __tablename__ = "fulfilments"
    __table_args__ = (sa.UniqueConstraint("order_id", "ref"),)
    id: int | None = _id()
    order_id: int = _ref("orders.id")
    ref: str
    status: str
    live: bool


class Shipments(SQLModel, table=True):
    """One parcel's journey under one number; `unidentified:<store>/<order>` as carrier until a scan says whose it is."""

    __tablename__ = "shipments"
    __table_args__ = (
        sa.UniqueConstraint("carrier", "number", "generation"),
        sa.Index("shipments_number", "number"),
        sa.Index("shipments_silent", "carrier", "last_scan_at", **_where(OPEN)),
        sa.Index("shipments_unmatched", "starts_at", **_where("linked IS FALSE")),
        sa.Index("shipments_leg", "leg_of", **_where("leg_of IS NOT NULL")),
        sa.Index("shipments_recount", "id", **_where(RECOUNT)),
    )
    id: int | None = _id()
    carrier: str
    number: str
    generation: int = 1
    status: str = "unknown"
    summary: dict[str, Any] = _json()
    edd_begins: datetime | None = _at()
    edd_ends: datetime | None = _at()
    edd_told_at: datetime | None = _at()  # since when we know of this estimate
    piece: str | None = None
    proof: dict[str, Any] | None = _json(null=True)
    starts_at: datetime = _at(null=False)
    linked: bool = False
    linked_at: datetime | None = _at()  # when an order first named it; None: before that was noted, or none does
    last_scan_at: datetime | None = _at()
    closed_at: datetime | None = _at()
    leg_of: int | None = Field(default=None, sa_type=Big)  # the parcel of whose journey this number is the last mile
    erased_at: datetime | None = _at()  # when what carriers wrote of it was erased; of later scans it is not kept
    recount: bool | None = None  # reports have not counted it since it changed


class Estimates(SQLModel, table=True):
    """When a parcel was estimated to arrive, each time that changed: `shipments` holds the last."""

    __tablename__ = "estimates"
    __table_args__ = (sa.Index("estimates_shipment", "shipment_id", "id"),)
    id: int | None = _id()
    shipment_id: int = Field(
        sa_type=Big, sa_column_args=[sa.ForeignKey("shipments.id", ondelete="CASCADE")]
    )  # an older version drops parcels that no order names, and does not know this table
    begins: datetime = _at(null=False)
    ends: datetime = _at(null=False)
    account: str | None = None  # who told it; None: that was not kept yet
    told_at: datetime = _at(null=False)  # when we heard of it
    inbox_id: int | None = Field(default=None, sa_type=Big)


class ShipmentLinks(SQLModel, table=True):
    """Other numbers of the same journey."""

    __tablename__ = "shipment_links"
    __table_args__ = (sa.UniqueConstraint("shipment_id", "carrier", "number", "relation"),)
    id: int | None = _id()
    shipment_id: int = _ref("shipments.id")
    carrier: str = ""
    number: str
    relation: str
    first_seen_at: datetime = _at(null=False)


class FulfilmentShipments(SQLModel, table=True):
    """Which parcels carry which fulfilment; n to m."""

    __tablename__ = "fulfilment_shipments"
    __table_args__ = (
        sa.Index("fulfilment_shipments_shipment", "shipment_id"),
        sa.Index("fulfilment_shipments_unwatched", "unwatched", "linked_at", **_where("unwatched IS NOT NULL")),
    )
    fulfilment_id: int = Field(sa_type=Big, primary_key=True, foreign_key="fulfilments.id")
    shipment_id: int = Field(sa_type=Big, primary_key=True, foreign_key="shipments.id")
    linked_at: datetime = _at(null=False)
    unwatched: str | None = None  # store/carrier, where no account watches the parcel


class Watches(SQLModel, table=True):
    """One account watching one shipment."""

    __tablename__ = "watches"
    __table_args__ = (
        sa.UniqueConstraint("shipment_id", "account"),
        sa.Index("watches_poll", "account", "urgent", "next_poll_at", **_where(POLLED)),
        sa.Index("watches_poll_turn", "account", "store", "urgent", "next_poll_at", "id", **_where(POLLED)),
        sa.Index("watches_register", "account", "register_at", **_where(REGISTERED)),
        sa.Index("watches_register_turn", "account", "store", "urgent", "register_at", "id", **_where(REGISTERED)),
        sa.Index("watches_account", "account", "checked_at", **_where(POLLED)),
        sa.Index("watches_overdue", "account", "overdue_since", **_where(OVERDUE)),
        sa.Index("watches_given_up", "account", **_where(GIVEN_UP)),
        sa.Index("watches_refused", "account", **_where(REFUSED)),
    )
    id: int | None = _id()
    shipment_id: int = _ref("shipments.id")
    account: str
    store: str | None = None  # for which it is asked: stores have turns
    chosen: str | None = None  # why this account is the one that is asked about the parcel; None: it is only heard
    urgent: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})  # its next look is
    tracking_state: str = "pending"
    said: str | None = None  # why it tells nothing of the parcel, in its words
    their_ref: str | None = None
    registered_at: datetime | None = _at()
    registered_until: datetime | None = _at()
    register_at: datetime | None = _at()
    rejected_reason: str | None = None
    next_poll_at: datetime | None = _at()
    claimed_until: datetime | None = _at()
    attempts: int = 0
    failures: int = 0
    checked_at: datetime | None = _at()
    looked_since: datetime | None = _at()  # when a look was first answered: what came later happened while we watched
    overdue_since: datetime | None = (
        _at()
    )  # when it ought to have been asked, where its polls fail: else `next_poll_at` tells
    response_hash: str | None = None
    as_of: datetime | None = _at()
    fed_at: datetime | None = (
        _at()
    )  # when its feed last told of the parcel: what it never told of is asked about as ever


class Scans(SQLModel, table=True):
    """One thing a carrier says happened to a parcel: its code and, beside it, our meaning. Never deleted."""

    __tablename__ = "scans"
    __table_args__ = (
        sa.UniqueConstraint("shipment_id", "fingerprint"),
        sa.Index("scans_unmapped", "account", "space", "code", "id", **_where(UNMAPPED_SCANS)),
        sa.Index("scans_proof", "inbox_id", **_where("status IN ('delivered', 'returned')")),
        sa.Index("scans_seen", "first_seen_at", postgresql_using="brin"),  # arrives in order: a few pages in all
    )
    id: int | None = _id()
    shipment_id: int = _ref("shipments.id")
    fingerprint: str
    account: str
    space: str
    code: str
    text: str
    status: str | None
    reason: str | None
    leg: str
    correction: bool = False
    local: str | None
    instant: datetime = _at(null=False)
    zone: str
    precision: str
    city: str
    region: str
    postcode: str
    country: str
    inbox_id: int | None = Field(default=None, sa_type=Big)
    first_seen_at: datetime = _at(null=False)
    confirmed_at: datetime | None = _at()
    withdrawn_at: datetime | None = _at()
    pushed_at: datetime | None = _at()  # when a webhook of its account told it, first or later
    missing_since: datetime | None = _at()  # the first complete history that did not hold it any more


class Decisions(SQLModel, table=True):
    """What reconcile answered, each time it answered something new."""

    __tablename__ = "decisions"
    __table_args__ = (sa.Index("decisions_order", "order_id", "id"),)
    id: int | None = _id()
    order_id: int = _ref("orders.id")
    at: datetime = _at(null=False)
    order_version: int
    policy_hash: str
    because: list[str] = _json()
    actions: list[Any] = _json()
    findings: list[Any] = _json()


class Policies(SQLModel, table=True):
    """The policies that were ever in force."""

    __tablename__ = "policies"
    hash: str = Field(primary_key=True)
    body: dict[str, Any] = _json()
    first_seen_at: datetime = _at(null=False)


FINAL_KEYS = "state NOT IN ('observed', 'superseded')"


class Outbox(SQLModel, table=True):
    """Every write: wanted, held by a brake, sent, refused, dead, superseded, or only observed."""

    __tablename__ = "outbox"
    __table_args__ = (
        sa.Index("outbox_key", "key", unique=True, **_where(FINAL_KEYS)),
        sa.Index("outbox_turn", "store", "due_at", "id", **_where(PENDING)),
        sa.Index("outbox_dead", "id", **_where(DEAD)),
        sa.Index("outbox_order", "order_id", "id"),
        sa.Index("outbox_store", "store", "id"),
        sa.Index("outbox_ended", "ended_at", "store", **_where("ended_at IS NOT NULL")),
        sa.Index("outbox_refused", "id", **_where("state = 'refused'")),
        sa.Index("outbox_held", "held_by", "id", **_where("state = 'held'")),
    )
    id: int | None = _id()
    key: str
    kind: str
    store: str
    order_id: int = _ref("orders.id")
    action: dict[str, Any] = _json()
    state: str
    attempts: int = 0
    crashes: int = 0
    attempted_at: datetime | None = _at()
    due_at: datetime = _at(null=False)
    claimed_until: datetime | None = _at()
    receipt: dict[str, Any] | None = _json(null=True)
    echoed_at: datetime | None = _at()
    error: str | None = None
    rules: list[str] = _json()
    created_at: datetime = _at(null=False)
    ended_at: datetime | None = _at()
    held_by: str | None = None  # account/carrier, whose brake holds it
    trace: str | None = None  # the traceparent of what it came of, where traces are sent


class Statements(SQLModel, table=True):
    """What people say of an order: notes and the like."""

    __tablename__ = "statements"
    __table_args__ = (sa.Index("statements_order", "order_id"),)
    id: int | None = _id()
    order_id: int = _ref("orders.id")
    kind: str
    status: str | None = None
    text: str
    by: str
    at: datetime = _at(null=False)
    override: bool = False


class Findings(SQLModel, table=True):
    """What a person must look at: opened once, closed by itself or by a person."""

    __tablename__ = "findings"
    __table_args__ = (
        sa.Index("findings_open", "subject", "kind", unique=True, **_where(OPEN)),
        sa.Index("findings_subject", "subject"),
        sa.Index("findings_order", "order_id"),
        sa.Index("findings_opened", "opened_at"),
        sa.Index("findings_alerts", "alert_due_at", **_where("alert_due_at IS NOT NULL")),
        sa.Index("findings_newest", "id", **_where(OPEN)),
        sa.Index("findings_kind", "kind", "id", **_where(OPEN)),
        sa.Index("findings_store", "store", "id", **_where(OPEN)),
        sa.Index("findings_away", "id", **_where(AWAY)),
        sa.Index("findings_assigned", "assigned_to", "id", **_where(f"{OPEN} AND assigned_to IS NOT NULL")),
        sa.Index("findings_urgent", "severity", "id", **_where(OPEN)),
        sa.Index("findings_severity", "severity", "kind", "digest", "snoozed_until", **_where(OPEN)),
    )
    id: int | None = _id()
    order_id: int | None = _ref("orders.id", null=True)
    store: str | None = None
    subject: str
    kind: str
    severity: str
    act: str
    evidence: dict[str, str] = _json()
    evidence_hash: str
    opened_by: str
    opened_at: datetime = _at(null=False)
    since: datetime | None = _at()
    digest: bool = False
    snoozed_until: datetime | None = _at()
    closed_at: datetime | None = _at()
    closed_by: str | None = None
    closed_reason: str | None = None
    proposal: str | None = None
    alert_due_at: datetime | None = _at()  # something new of it is to be given to those who are told of findings
    told_at: datetime | None = _at()  # when it was first given to them (the database's clock)
    assigned_to: str | None = None  # who looks after it
    assigned_at: datetime | None = _at()


class Drifts(SQLModel, table=True):
    """The ledger: how shop and carriers disagree about an order, one row a kind; replaced when that changes."""

    __tablename__ = "drifts"
    __table_args__ = (
        sa.Index("drifts_order", "order_id"),
        sa.Index("drifts_kind", "kind", "id"),
        sa.Index("drifts_store", "store", "id"),
    )
    id: int | None = _id()
    order_id: int = _ref("orders.id")
    store: str
    kind: str
    shop: str  # the shop's status in the shared words
    shop_said: str
    status: str  # the carrier's
    carrier: str
    number: str
    fulfilment: str = ""  # where the shop shows a shipping status, and that one differs
    wanted: str | None = (
        None  # what the shop would say if it agreed: an order status, of a fulfilment a shipping status
    )
    caused_by: str
    since: datetime = _at(null=False)  # both said so
    opened_at: datetime = _at(null=False)  # and we knew it


class Accounts(SQLModel, table=True):
    """What we know of an account beside its configuration."""

    __tablename__ = "accounts"
    name: str = Field(primary_key=True)
    kind: str
    mode: str | None = None
    credentials: str | None = None
    policy_hash: str | None = None
    connected_at: datetime | None = _at()
    synced_at: datetime | None = _at()
    cursor: str | None = None
    next_sweep_at: datetime | None = _at()
    claimed_until: datetime | None = _at()
    attempts: int = 0
    token: str | None = None
    speaks: str | None = None  # for which carriers it was asked when parcels were last given to accounts
    blocked_until: datetime | None = _at()
    spent: list[list[int]] | None = Field(
        default=None, sa_type=sa.JSON(none_as_null=True)
    )  # calls of its budget, as domain/budget.py counts them
    writes_left: int | None = None
    writes_reset_at: datetime | None = _at()
    turn_at: datetime | None = _at()  # when writes of this store were last claimed
    suspended_reason: str | None = None
    paused_at: datetime | None = _at()
    last_webhook_at: datetime | None = _at()
    poll_news: int | None = None  # parcels of which a poll told first, since the last webhook
    failures: int | None = None  # answers in a row that were none; the rest grows with them
    failing_since: datetime | None = _at()
    failing_why: str | None = None
    rests_until: datetime | None = _at()  # business time: all of it is away, so nothing is asked before
    sweep_failing_since: datetime | None = _at()  # of the list alone: everything else may answer
    sweep_from: str | None = None  # the cursor at which the sweep under way began
    pages: list[str] | None = _json(null=True)  # hashes of what the last sweep told, page by page
    answered_at: datetime | None = _at()  # when a page of its orders was last read
    swept_at: datetime | None = _at()  # when the last sweep that came to its end began: its orders are known as of then
    orders_counted: int | None = (
        None  # its orders up to the id `orders_counted_to`: a million are not counted each time
    )
    orders_counted_to: int | None = Field(default=None, sa_type=Big)
    files_at: datetime | None = _at()  # business time: when its folder or its sftp is looked at next
    keys_due_at: datetime | None = (
        _at()
    )  # before it nobody asks for the public keys of its senders (the database's clock)
    keys_wanted: str | None = None  # the id of the key that is to be asked for
    keys_failing_since: datetime | None = _at()  # since when that brings no answer (the database's clock)
    quota_left: int | None = None  # numbers that may still be registered
    quota_of: int | None = None
    quota_at: datetime | None = _at()  # when it was last asked how many
    hooks_due_at: datetime | None = _at()  # business time: when its hooks are compared next
    hooks_checked_at: datetime | None = _at()  # when they last were
    hooks: dict[str, Any] | None = _json(null=True)  # what came of that (pipeline/poll/hooks.py)
    well_since: datetime | None = _at()  # when it told again after it, or we, had been away for long
    restored_at: datetime | None = (
        _at()
    )  # when a backup was put back: what happened before may have been told to customers
    brakes: dict[str, Any] | None = Field(
        default=None, sa_type=Pieces
    )  # by carrier: since when its ends are not written, and why (pipeline/brakes.py)


class Heartbeats(SQLModel, table=True):
    """When we last lived: a gap is an outage of ours, to be caught up."""

    __tablename__ = "heartbeats"
    name: str = Field(primary_key=True)
    at: datetime = _at(null=False)


class Processes(SQLModel, table=True):
    """The processes that run now, and what came of the last wish to reload; all moments are the database's."""

    __tablename__ = "processes"
    name: str = Field(primary_key=True)
    role: str
    host: str
    pid: int
    started_at: datetime = _at(null=False)
    seen_at: datetime = _at(null=False)
    version: str | None = None  # of the program
    asked_at: datetime | None = _at()  # when somebody last wished that it takes the configuration again
    answered_at: datetime | None = _at()  # the wish that `told` answers
    told: dict[str, Any] | None = _json(null=True)


class Tokens(SQLModel, table=True):
    """The access token of an account, shared by all processes; `given_at` and `ends_at` are business time."""

    __tablename__ = "tokens"
    account: str = Field(primary_key=True)
    credentials: str | None = None  # hash of those it was given for: others need another token
    value: str | None = None  # encrypted by `vault_key`
    given_at: datetime | None = _at()
    ends_at: datetime | None = _at()  # None: it does not end
    again: bool = False  # given because the one before was refused
    claimed_until: datetime | None = _at()  # the database's clock: somebody asks for a new one
    attempts: int = 0  # who asks is told by it


class PublicKeys(SQLModel, table=True):
    """The keys by which senders of an account sign; moments are the database's."""

    __tablename__ = "public_keys"
    account: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    key: str | None = None  # a JWK or PEM, as it was published; None: an answer lacked it
    credentials: str  # hash of the settings it was asked for by: with others it may be another sender's
    asked_at: datetime = _at(null=False)  # when the question was put whose answer said so


class Files(SQLModel, table=True):
    """Each file that was read, or is being read: where it lay and what it was."""

    __tablename__ = "files"
    __table_args__ = (sa.UniqueConstraint("account", "place", "name", "size", "sha256"),)
    id: int | None = _id()
    account: str
    place: str  # the folder, or sftp://host:port/path
    name: str
    size: int = Field(sa_type=Big)
    modified: int = Field(default=0, sa_type=Big)  # as its place tells it: nanoseconds, or seconds
    sha256: str = ""  # empty while it is not whole
    state: str = "waiting"  # waiting | reading | done | failed
    problem: str | None = None  # why it failed, or what is wrong beside it
    seen_at: datetime = _at(null=False)  # since when it is of this size and time
    listed_at: datetime = _at(null=False)  # when it was seen in its place last, to a day
    read_to: int = Field(default=0, sa_type=Big)  # bytes of it that are stored
    lines: int = 0
    stored: int = 0  # payloads of it that were new
    known: int = 0
    unread: int = 0  # pieces of it that could not be read
    attempts: int = 0
    claimed_until: datetime | None = _at()
    ended_at: datetime | None = _at()


class Resends(SQLModel, table=True):
    """What an account's sender is asked to tell again after an outage of ours."""

    __tablename__ = "resends"
    __table_args__ = (
        sa.UniqueConstraint("account", "since"),
        sa.Index("resends_due", "account", "next_at", **_where("ended_at IS NULL")),
    )
    id: int | None = _id()
    account: str
    since: datetime = _at(null=False)  # of the machine's time, as `until`: when we were away
    until: datetime = _at(null=False)
    short: bool = False  # the sender does not keep, or did not tell, all of it
    cursor: str | None = None  # behind what is stored
    told: int = 0  # webhooks
    new: int = 0  # of them, that did not come before
    next_at: datetime = _at(null=False)
    claimed_until: datetime | None = _at()
    attempts: int = 0
    failures: int = 0  # in a row
    error: str | None = None
    ended_at: datetime | None = _at()


class Proofs(SQLModel, table=True):
    """The document that proves the delivery of a parcel: wanted, kept, or why there is none."""

    __tablename__ = "proofs"
    __table_args__ = (
        sa.UniqueConstraint("shipment_id"),
        sa.Index("proofs_due", "account", "next_at", **_where("next_at IS NOT NULL")),
        sa.Index("proofs_kept", "fetched_at", **_where("document IS NOT NULL")),
    )
    id: int | None = _id()
    shipment_id: int = _ref("shipments.id")
    account: str  # who is asked for it
    state: str  # wanted, kept, none (its carrier has none), refused, too_large, dropped (past its retention)
    next_at: datetime | None = _at()  # business time
    claimed_until: datetime | None = _at()
    fetched_at: datetime | None = _at()
    attempts: int = 0
    failures: int = 0
    error: str | None = None
    kind: str | None = None  # media type
    sha256: str | None = None
    size: int | None = None  # bytes
    document: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class ChangeNotices(SQLModel, table=True):
    """Hints that wait to be asked about, one a ref."""

    __tablename__ = "change_notices"
    __table_args__ = (sa.UniqueConstraint("account", "ref"), sa.Index("change_notices_due", "account", "due_at", "id"))
    id: int | None = _id()
    account: str
    ref: str
    noticed_at: datetime = _at(null=False)
    due_at: datetime = _at(null=False)
    claimed_until: datetime | None = _at()
    attempts: int = 0
    error: str | None = None  # why the last read of it failed: it is asked alone
    not_before: datetime | None = _at()  # business time, as missed_at: it was not there, and is looked for once more
    missed_at: datetime | None = _at()  # the first read that did not find it while others of the account answered
    again_at: datetime | None = _at()  # business time: it is read once more then, whatever reads come before


class Mails(SQLModel, table=True):
    """A mail to a customer: what it tells of which parcel, and what became of it. Its address is never kept."""

    __tablename__ = "mails"
    __table_args__ = (
        sa.UniqueConstraint("key"),
        sa.Index("mails_due", "due_at", "id", **_where(PENDING)),
        sa.Index("mails_order", "order_id", "id"),
        sa.Index("mails_store", "store", "id"),
    )
    id: int | None = _id()
    key: str  # of its notice: once a parcel and class
    store: str
    order_id: int = _ref("orders.id")
    action: dict[str, Any] = _json()  # the notice as it was decided
    state: str  # pending, sent, superseded, refused, dead
    attempts: int = 0
    crashes: int = 0
    due_at: datetime = _at(null=False)
    not_before: datetime | None = _at()  # business time: the end of quiet hours
    claimed_until: datetime | None = _at()
    reason: str | None = None  # why it was not sent, or what the server said that took it
    created_at: datetime = _at(null=False)
    ended_at: datetime | None = _at()


class MailServers(SQLModel, table=True):
    """How the server that takes mails answers: `server` as a whole, `store/NAME` where it refuses a store's own sender."""

    __tablename__ = "mail_servers"
    name: str = Field(primary_key=True)
    credentials: str = ""  # a hash of the settings that were refused
    suspended_reason: str | None = None
    blocked_until: datetime | None = _at()  # database time: it was away
    failures: int = 0  # in a row
    failing_since: datetime | None = _at()
    minute_at: datetime | None = _at()  # database time: when the minute began of which `minute_sent` are counted
    minute_sent: int = 0


class Destinations(SQLModel, table=True):
    """How an endpoint or a target that we tell takes it; moments are the database's."""

    __tablename__ = "destinations"
    name: str = Field(primary_key=True)
    address: str | None = None  # a hash of where it is: another address begins anew
    failures: int = 0  # in a row
    failing_since: datetime | None = _at()
    failing_why: str | None = None
    blocked_until: datetime | None = _at()  # it failed, or asked for a rest: nothing is tried before
    disabled_at: datetime | None = _at()  # it said that it is gone (410): nothing is sent until a person says so
    answered_at: datetime | None = _at()  # when it last took something
    turn_at: datetime | None = _at()  # when messages of it were last claimed
    tells_at: datetime | None = _at()  # of a target: no message about findings is made before
    signs: str | None = None  # a hash of the secrets of an endpoint
    signs_since: datetime | None = _at()  # when these secrets were first seen: an old one beside a new one is told


class Messages(SQLModel, table=True):
    """What is to be told to an endpoint or a target, in its own words; one subject's are told in their order."""

    __tablename__ = "messages"
    __table_args__ = (
        sa.UniqueConstraint("destination", "key"),
        sa.Index("messages_due", "destination", "due_at", "id", **_where(PENDING)),
        sa.Index("messages_subject", "destination", "subject", "id", **_where(PENDING)),
        sa.Index("messages_dead", "destination", "id", **_where(DEAD)),
        sa.Index("messages_order", "order_id", **_where("order_id IS NOT NULL")),
        sa.Index("messages_ended", "ended_at", **_where("ended_at IS NOT NULL")),
        sa.Index("messages_listed", "destination", "id"),
    )
    id: int | None = _id()
    destination: str
    key: str  # the id that it has there: the same at each try
    event: str
    subject: str  # parcel/7, order/7, finding/7: a later one waits for an earlier one
    order_id: int | None = Field(default=None, sa_type=Big)
    body: str
    state: str = "pending"  # pending | sent | dead
    attempts: int = 0
    due_at: datetime = _at(null=False)
    claimed_until: datetime | None = _at()
    created_at: datetime = _at(null=False)  # the database's clock, as all of them
    ended_at: datetime | None = _at()
    answer: int | None = None  # the status of the last answer
    error: str | None = None


class Tellings(SQLModel, table=True):
    """Of which finding a target is told, or is to be; moments are the database's."""

    __tablename__ = "tellings"
    __table_args__ = (
        sa.Index("tellings_due", "destination", "due_at", **_where("due_at IS NOT NULL")),
        sa.Index("tellings_told", "destination", "told_at"),
        sa.Index("tellings_finding", "finding_id"),
        sa.Index("tellings_incident", "destination", "told_as", **_where("told_as IS NOT NULL")),
    )
    destination: str = Field(primary_key=True)
    finding_id: int = Field(sa_column=sa.Column(Big, primary_key=True, autoincrement=False))
    due_at: datetime | None = _at()  # when what is new of it is to be told; None: nothing is
    told_at: datetime | None = _at()  # when its opening was told
    told_as: str | None = None  # the incident under which that was: its own, or that of a storm


class FreshReads(SQLModel, table=True):
    """When an order was read again that a webhook named: what follows at once waits until the storm is over."""

    __tablename__ = "fresh_reads"
    account: str = Field(primary_key=True)
    ref: str = Field(primary_key=True)
    read_at: datetime = _at(null=False)


def table(model: type[SQLModel]) -> sa.Table:
    """Return the core table of a model: hot writes go through core."""
    found: sa.Table = model.__table__  # type: ignore[attr-defined]
    return found


inbox, orders, order_versions = table(Inbox), table(Orders), table(OrderVersions)
fulfilments, shipments, shipment_links = table(Fulfilments), table(Shipments), table(ShipmentLinks)
fulfilment_shipments, watches, scans = table(FulfilmentShipments), table(Watches), table(Scans)
decisions, policies, outbox = table(Decisions), table(Policies), table(Outbox)
statements, findings, accounts = table(Statements), table(Findings), table(Accounts)
change_notices, heartbeats, processes = table(ChangeNotices), table(Heartbeats), table(Processes)
fresh_reads = table(FreshReads)
destinations, messages, tellings = table(Destinations), table(Messages), table(Tellings)
unread_paths, account_days, policy_uses = table(UnreadPaths), table(AccountDays), table(PolicyUses)
endings, estimates = table(Endings), table(Estimates)
parcel_facts, report_days, report_state = table(ParcelFacts), table(ReportDays), table(ReportState)
drifts, resends, proofs = table(Drifts), table(Resends), table(Proofs)
tokens, public_keys, files = table(Tokens), table(PublicKeys), table(Files)
mails, mail_servers = table(Mails), table(MailServers)
METADATA = SQLModel.metadata
