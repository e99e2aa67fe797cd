"""What operators are told: the history of estimates, and who looks after a finding."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add what each part of it keeps."""
    _assigned()
    _kept()
    _estimates()
    _reports()
    _measured()
    _traced()
    _status()
    _mails()
    _told()
    _urgent()


def _urgent() -> None:
    """Findings, the most urgent first."""
    still_open = sa.text("closed_at IS NULL")
    op.create_index(
        "findings_urgent", "findings", ["severity", "id"], postgresql_where=still_open, sqlite_where=still_open
    )


def _kept() -> None:
    for name in ("orders", "shipments"):
        op.add_column(name, sa.Column("erased_at", MOMENT, nullable=True))
    op.add_column("orders", sa.Column("erased", JSON, nullable=True))
    here = sa.text("erased_at IS NULL")
    op.add_column("accounts", sa.Column("restored_at", MOMENT, nullable=True))
    op.create_index("orders_to_erase", "orders", ["placed_at"], postgresql_where=here, sqlite_where=here)


def _assigned() -> None:
    op.add_column("findings", sa.Column("assigned_to", sa.String(), nullable=True))
    op.add_column("findings", sa.Column("assigned_at", MOMENT, nullable=True))
    given = sa.text("closed_at IS NULL AND assigned_to IS NOT NULL")
    op.create_index("findings_assigned", "findings", ["assigned_to", "id"], postgresql_where=given, sqlite_where=given)


def _reports() -> None:
    op.add_column("shipments", sa.Column("recount", sa.Boolean(), nullable=True))
    here = sa.text("recount IS TRUE")
    op.create_index("shipments_recount", "shipments", ["id"], postgresql_where=here, sqlite_where=here)
    op.create_table(
        "parcel_facts",
        sa.Column("shipment_id", BIG, primary_key=True, autoincrement=False),
        sa.Column("store", sa.String(), primary_key=True),
        sa.Column("counts", sa.Boolean(), nullable=False),
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("day", "carrier", "account", "service", "origin", "destination")
        ),
        sa.Column("handed_over", sa.Boolean(), nullable=False),
        sa.Column("end", sa.String(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("on_first", "on_last", "attempt")),
        sa.Column("problems", JSON, nullable=False),
        sa.Column("returned", sa.Boolean(), nullable=False),
        sa.Column("silent", sa.Boolean(), nullable=False),
        sa.Column("delays", JSON, nullable=False),
        sa.Column("again_at", MOMENT, nullable=True),
    )
    counts, again = sa.text("counts IS TRUE"), sa.text("again_at IS NOT NULL")
    for name, columns, where in (
        ("parcel_facts_day", ["day", "shipment_id"], counts),
        ("parcel_facts_carrier", ["carrier", "day", "shipment_id"], counts),
        ("parcel_facts_again", ["again_at"], again),
    ):
        op.create_index(name, "parcel_facts", columns, postgresql_where=where, sqlite_where=where)
    op.create_index("parcel_facts_store", "parcel_facts", ["store", "day", "shipment_id"])
    op.create_table(
        "report_days",
        sa.Column("key", sa.String(), primary_key=True),
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("store", "day", "carrier", "account", "service", "origin", "destination")
        ),
        sa.Column("counts", JSON, nullable=False),
    )
    op.create_index("report_days_store", "report_days", ["store", "day"])
    op.create_table(
        "report_state",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("walked_to", BIG, nullable=False),
        sa.Column("walk_ends", BIG, nullable=False),
        sa.Column("whole_at", MOMENT, nullable=True),
        sa.Column("counted_at", MOMENT, nullable=True),
        sa.Column("rules", JSON, nullable=False),
    )


def _estimates() -> None:
    op.create_table(
        "estimates",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("shipment_id", BIG, sa.ForeignKey("shipments.id", ondelete="CASCADE"), nullable=False),
        sa.Column("begins", MOMENT, nullable=False),
        sa.Column("ends", MOMENT, nullable=False),
        sa.Column("account", sa.String(), nullable=True),
        sa.Column("told_at", MOMENT, nullable=False),
        sa.Column("inbox_id", BIG, nullable=True),
    )
    # the one that was kept of each parcel is the first of its history
    op.execute(
        "INSERT INTO estimates (shipment_id, begins, ends, told_at) SELECT id, edd_begins, edd_ends, "
        "COALESCE(edd_told_at, starts_at) FROM shipments WHERE edd_begins IS NOT NULL AND edd_ends IS NOT NULL ORDER BY id"
    )
    op.create_index("estimates_shipment", "estimates", ["shipment_id", "id"])


def _measured() -> None:
    """Open findings by severity are counted at each scrape, from the index alone."""
    still_open = sa.text("closed_at IS NULL")
    columns = ["severity", "kind", "digest", "snoozed_until"]
    op.create_index("findings_severity", "findings", columns, postgresql_where=still_open, sqlite_where=still_open)


def _status() -> None:
    op.add_column("processes", sa.Column("version", sa.String(), nullable=True))


def _mails() -> None:
    op.create_table(
        "mails",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("order_id", BIG, sa.ForeignKey("orders.id"), nullable=False),
        sa.Column("action", JSON, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("not_before", MOMENT, nullable=True),
        sa.Column("claimed_until", MOMENT, nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.UniqueConstraint("key"),
    )
    pending = sa.text("state = 'pending'")
    op.create_index("mails_due", "mails", ["due_at", "id"], postgresql_where=pending, sqlite_where=pending)
    op.create_index("mails_order", "mails", ["order_id", "id"])
    op.create_index("mails_store", "mails", ["store", "id"])
    op.create_table(
        "mail_servers",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("credentials", sa.String(), nullable=False),
        sa.Column("suspended_reason", sa.String(), nullable=True),
        sa.Column("blocked_until", MOMENT, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("minute_at", MOMENT, nullable=True),
        sa.Column("minute_sent", sa.Integer(), nullable=False),
    )


def _told() -> None:
    op.add_column("findings", sa.Column("told_at", MOMENT, nullable=True))
    op.create_table(
        "destinations",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("failing_why", sa.String(), nullable=True),
        sa.Column("blocked_until", MOMENT, nullable=True),
        sa.Column("disabled_at", MOMENT, nullable=True),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("turn_at", MOMENT, nullable=True),
        sa.Column("tells_at", MOMENT, nullable=True),
        sa.Column("signs", sa.String(), nullable=True),
        sa.Column("signs_since", MOMENT, nullable=True),
    )
    op.create_table(
        "messages",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("order_id", BIG, nullable=True),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("claimed_until", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("answer", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.UniqueConstraint("destination", "key"),
    )
    waits, dead = "state = 'pending'", "state = 'dead'"
    for name, columns, where in (
        ("messages_due", ["destination", "due_at", "id"], waits),
        ("messages_subject", ["destination", "subject", "id"], waits),
        ("messages_dead", ["destination", "id"], dead),
        ("messages_order", ["order_id"], "order_id IS NOT NULL"),
        ("messages_ended", ["ended_at"], "ended_at IS NOT NULL"),
    ):
        op.create_index(name, "messages", columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
    op.create_index("messages_listed", "messages", ["destination", "id"])
    op.create_table(
        "tellings",
        sa.Column("destination", sa.String(), primary_key=True),
        sa.Column("finding_id", BIG, primary_key=True, autoincrement=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("told_at", MOMENT, nullable=True),
        sa.Column("told_as", sa.String(), nullable=True),
    )
    due = sa.text("due_at IS NOT NULL")
    op.create_index("tellings_due", "tellings", ["destination", "due_at"], postgresql_where=due, sqlite_where=due)
    op.create_index("tellings_told", "tellings", ["destination", "told_at"])
    op.create_index("tellings_finding", "tellings", ["finding_id"])
    named = sa.text("told_as IS NOT NULL")
    op.create_index(
        "tellings_incident", "tellings", ["destination", "told_as"], postgresql_where=named, sqlite_where=named
    )
    ended = sa.text("ended_at IS NOT NULL")
    away = sa.text(
        "kind IN ('outage', 'source_unavailable', 'account_parked', 'feed_gap', 'webhooks_silent', 'webhooks_missing', 'keys_missing', 'hook_wrong')"
    )
    op.create_index("findings_away", "findings", ["id"], postgresql_where=away, sqlite_where=away)
    op.create_index("outbox_ended", "outbox", ["ended_at", "store"], postgresql_where=ended, sqlite_where=ended)


def _traced() -> None:
    """What came of what, for who sends traces to a collector."""
    for table in ("inbox", "orders", "outbox"):
        op.add_column(table, sa.Column("trace", sa.String(), nullable=True))
