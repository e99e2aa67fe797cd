"""What was not read, what came in a day, which policy was in force, what is gone, what fails: nothing is silent any more."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Expand the schema: the version before neither reads nor minds what is new."""
    op.add_column("inbox", sa.Column("unread", JSON, nullable=True))
    partly = sa.text("unread IS NOT NULL")
    op.create_index("inbox_partly", "inbox", ["id"], postgresql_where=partly, sqlite_where=partly)
    op.create_table(
        "unread_paths",
        sa.Column("account", sa.String(), primary_key=True, nullable=False),
        sa.Column("path", sa.String(), primary_key=True, nullable=False),
        sa.Column("day", sa.String(), primary_key=True, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("sample", BIG, nullable=True),
    )
    op.create_index("unread_paths_day", "unread_paths", ["day"])
    unmapped = sa.text("reason = 'unmapped' AND withdrawn_at IS NULL")
    told = ["account", "space", "code", "id"]
    op.create_index("scans_unmapped", "scans", told, postgresql_where=unmapped, sqlite_where=unmapped)
    op.create_index("findings_subject", "findings", ["subject"])
    op.create_table(
        "account_days",
        sa.Column("account", sa.String(), primary_key=True, nullable=False),
        sa.Column("day", sa.String(), primary_key=True, nullable=False),
        sa.Column("payloads", sa.Integer(), nullable=False),
        sa.Column("polled_first", sa.Integer(), nullable=False),
        sa.Column("pushed_first", sa.Integer(), nullable=False),
    )
    op.create_table(
        "policy_uses",
        sa.Column("store", sa.String(), primary_key=True, nullable=False),
        sa.Column("since", MOMENT, primary_key=True, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
    )
    op.add_column("shipments", sa.Column("edd_told_at", MOMENT, nullable=True))
    op.add_column("orders", sa.Column("gone_at", MOMENT, nullable=True))
    op.add_column("orders", sa.Column("gone_why", sa.String(), nullable=True))
    op.add_column("scans", sa.Column("missing_since", MOMENT, nullable=True))
    op.add_column("rereads", sa.Column("missed_at", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("rests_until", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("sweep_failing_since", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("sweep_from", sa.String(), nullable=True))
    op.add_column("accounts", sa.Column("pages", JSON, nullable=True))
    op.add_column("accounts", sa.Column("answered_at", MOMENT, nullable=True))
    op.add_column("rereads", sa.Column("error", sa.String(), nullable=True))
    op.add_column("scans", sa.Column("pushed_at", MOMENT, nullable=True))
    op.add_column("trackings", sa.Column("looked_since", MOMENT, nullable=True))
    op.add_column("rereads", sa.Column("not_before", MOMENT, nullable=True))
    op.add_column("fulfilment_shipments", sa.Column("unwatched", sa.String(), nullable=True))
    unwatched = sa.text("unwatched IS NOT NULL")
    op.create_index(
        "fulfilment_shipments_unwatched", "fulfilment_shipments", ["unwatched", "linked_at"],
        postgresql_where=unwatched, sqlite_where=unwatched,
    )  # fmt: skip
    op.add_column("accounts", sa.Column("speaks", sa.String(), nullable=True))
    op.add_column("accounts", sa.Column("failures", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("failing_since", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("failing_why", sa.String(), nullable=True))
    op.add_column("orders", sa.Column("drift", sa.String(), nullable=True))
    op.add_column("orders", sa.Column("drift_at", MOMENT, nullable=True))
    never = sa.text("drift IS NULL")
    op.create_index("orders_not_compared", "orders", ["id"], postgresql_where=never, sqlite_where=never)
    op.create_table(
        "drifts",
        sa.Column("id", BIG, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("order_id", BIG, sa.ForeignKey("orders.id"), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("shop_said", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("carrier", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("fulfilment", sa.String(), nullable=False),
        sa.Column("wanted", sa.String(), nullable=True),
        sa.Column("caused_by", sa.String(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
    )
    op.create_index("drifts_order", "drifts", ["order_id"])
    op.create_index("drifts_kind", "drifts", ["kind", "id"])
    op.create_index("drifts_store", "drifts", ["store", "id"])
    op.add_column("trackings", sa.Column("overdue_since", MOMENT, nullable=True))
    overdue = sa.text("overdue_since IS NOT NULL AND next_poll_at IS NOT NULL")
    columns = ["account", "overdue_since"]
    op.create_index("trackings_overdue", "trackings", columns, postgresql_where=overdue, sqlite_where=overdue)
    given_up = sa.text("tracking_state IN ('invalid_number', 'unsupported', 'stopped')")
    op.create_index("trackings_given_up", "trackings", ["account"], postgresql_where=given_up, sqlite_where=given_up)
    op.add_column("accounts", sa.Column("swept_at", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("orders_counted", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("orders_counted_to", BIG, nullable=True))
