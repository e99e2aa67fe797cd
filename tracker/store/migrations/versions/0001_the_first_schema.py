"""the first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Expand the schema."""
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=True),
        sa.Column("credentials", sa.String(), nullable=True),
        sa.Column("policy_hash", sa.String(), nullable=True),
        sa.Column("connected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cursor", sa.String(), nullable=True),
        sa.Column("next_sweep_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=True),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("budget_left", sa.Integer(), nullable=True),
        sa.Column("budget_resets_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("writes_left", sa.Integer(), nullable=True),
        sa.Column("writes_reset_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parked_reason", sa.String(), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_webhook_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "inbox",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("dedupe_key", sa.String(), nullable=True),
        sa.Column("headers", JSON, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("part_sizes", JSON, nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("quiet", sa.Boolean(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account", "dedupe_key"),
    )
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.create_index(
            "inbox_dead",
            ["id"],
            unique=False,
            postgresql_where=sa.text("state = 'dead'"),
            sqlite_where=sa.text("state = 'dead'"),
        )
        batch_op.create_index(
            "inbox_due",
            ["due_at", "id"],
            unique=False,
            postgresql_where=sa.text("state = 'pending'"),
            sqlite_where=sa.text("state = 'pending'"),
        )
        batch_op.create_index("inbox_received", ["received_at"], unique=False)

    op.create_table(
        "orders",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("raw_status", sa.String(), nullable=False),
        sa.Column("payment", sa.String(), nullable=False),
        sa.Column("raw_payment", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("facts", JSON, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reconcile_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("quiet_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decision_hash", sa.String(), nullable=True),
        sa.Column("urgent", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("store", "ref"),
    )
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.create_index(
            "orders_due",
            ["reconcile_at", "id"],
            unique=False,
            postgresql_where=sa.text("reconcile_at IS NOT NULL"),
            sqlite_where=sa.text("reconcile_at IS NOT NULL"),
        )
        batch_op.create_index("orders_number", ["number"], unique=False)

    op.create_table(
        "policies",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_table(
        "rereads",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account", "ref"),
    )
    with op.batch_alter_table("rereads", schema=None) as batch_op:
        batch_op.create_index("rereads_due", ["due_at"], unique=False)

    op.create_table(
        "shipments",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("carrier", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("summary", JSON, nullable=False),
        sa.Column("edd_begins", sa.DateTime(timezone=True), nullable=True),
        sa.Column("edd_ends", sa.DateTime(timezone=True), nullable=True),
        sa.Column("piece", sa.String(), nullable=True),
        sa.Column("proof", JSON, nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("linked", sa.Boolean(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("carrier", "number", "generation"),
    )
    with op.batch_alter_table("shipments", schema=None) as batch_op:
        batch_op.create_index("shipments_number", ["number"], unique=False)

    op.create_table(
        "unmapped_codes",
        sa.Column("carrier", sa.String(), nullable=False),
        sa.Column("space", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("sample", BIG, nullable=True),
        sa.PrimaryKeyConstraint("carrier", "space", "code"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("order_id", BIG, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("order_version", sa.Integer(), nullable=False),
        sa.Column("policy_hash", sa.String(), nullable=False),
        sa.Column("because", JSON, nullable=False),
        sa.Column("actions", JSON, nullable=False),
        sa.Column("findings", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.create_index("decisions_order", ["order_id", "id"], unique=False)

    op.create_table(
        "findings",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("order_id", BIG, nullable=True),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.Column("evidence_hash", sa.String(), nullable=False),
        sa.Column("opened_by", sa.String(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("digest", sa.Boolean(), nullable=False),
        sa.Column("snoozed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("findings", schema=None) as batch_op:
        batch_op.create_index(
            "findings_open",
            ["subject", "kind"],
            unique=True,
            postgresql_where=sa.text("closed_at IS NULL"),
            sqlite_where=sa.text("closed_at IS NULL"),
        )
        batch_op.create_index("findings_opened", ["opened_at"], unique=False)
        batch_op.create_index("findings_order", ["order_id"], unique=False)

    op.create_table(
        "fulfilments",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("order_id", BIG, nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("order_id", "ref"),
    )
    op.create_table(
        "order_versions",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("order_id", BIG, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous_read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("inbox_id", BIG, nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("facts", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("order_id", "version"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("order_id", BIG, nullable=False),
        sa.Column("action", JSON, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("receipt", JSON, nullable=True),
        sa.Column("echoed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("rules", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index(
            "outbox_dead",
            ["id"],
            unique=False,
            postgresql_where=sa.text("state = 'dead'"),
            sqlite_where=sa.text("state = 'dead'"),
        )
        batch_op.create_index(
            "outbox_due",
            ["due_at", "id"],
            unique=False,
            postgresql_where=sa.text("state = 'pending'"),
            sqlite_where=sa.text("state = 'pending'"),
        )
        batch_op.create_index(
            "outbox_key",
            ["key"],
            unique=True,
            postgresql_where=sa.text("state NOT IN ('observed', 'superseded')"),
            sqlite_where=sa.text("state NOT IN ('observed', 'superseded')"),
        )
        batch_op.create_index("outbox_order", ["order_id", "id"], unique=False)

    op.create_table(
        "scans",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("shipment_id", BIG, nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("space", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("leg", sa.String(), nullable=False),
        sa.Column("correction", sa.Boolean(), nullable=False),
        sa.Column("local", sa.String(), nullable=True),
        sa.Column("instant", sa.DateTime(timezone=True), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("precision", sa.String(), nullable=False),
        sa.Column("city", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("postcode", sa.String(), nullable=False),
        sa.Column("country", sa.String(), nullable=False),
        sa.Column("inbox_id", BIG, nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["shipment_id"],
            ["shipments.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("shipment_id", "fingerprint"),
    )
    op.create_table(
        "shipment_links",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("shipment_id", BIG, nullable=False),
        sa.Column("carrier", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("relation", sa.String(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["shipment_id"],
            ["shipments.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("shipment_id", "carrier", "number", "relation"),
    )
    op.create_table(
        "statements",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("order_id", BIG, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("override", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("statements", schema=None) as batch_op:
        batch_op.create_index("statements_order", ["order_id"], unique=False)

    op.create_table(
        "trackings",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("shipment_id", BIG, nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("tracking_state", sa.String(), nullable=False),
        sa.Column("their_ref", sa.String(), nullable=True),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("registered_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("register_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rejected_reason", sa.String(), nullable=True),
        sa.Column("next_poll_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer_hash", sa.String(), nullable=True),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["shipment_id"],
            ["shipments.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("shipment_id", "account"),
    )
    with op.batch_alter_table("trackings", schema=None) as batch_op:
        batch_op.create_index(
            "trackings_poll",
            ["next_poll_at", "id"],
            unique=False,
            postgresql_where=sa.text("next_poll_at IS NOT NULL"),
            sqlite_where=sa.text("next_poll_at IS NOT NULL"),
        )
        batch_op.create_index(
            "trackings_register",
            ["register_at", "id"],
            unique=False,
            postgresql_where=sa.text("register_at IS NOT NULL"),
            sqlite_where=sa.text("register_at IS NOT NULL"),
        )

    op.create_table(
        "fulfilment_shipments",
        sa.Column("fulfilment_id", BIG, nullable=False),
        sa.Column("shipment_id", BIG, nullable=False),
        sa.Column("linked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["fulfilment_id"],
            ["fulfilments.id"],
        ),
        sa.ForeignKeyConstraint(
            ["shipment_id"],
            ["shipments.id"],
        ),
        sa.PrimaryKeyConstraint("fulfilment_id", "shipment_id"),
    )
    with op.batch_alter_table("fulfilment_shipments", schema=None) as batch_op:
        batch_op.create_index("fulfilment_shipments_shipment", ["shipment_id"], unique=False)


def downgrade() -> None:
    """Contract the schema."""
    with op.batch_alter_table("fulfilment_shipments", schema=None) as batch_op:
        batch_op.drop_index("fulfilment_shipments_shipment")

    op.drop_table("fulfilment_shipments")
    with op.batch_alter_table("trackings", schema=None) as batch_op:
        batch_op.drop_index(
            "trackings_register",
            postgresql_where=sa.text("register_at IS NOT NULL"),
            sqlite_where=sa.text("register_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "trackings_poll",
            postgresql_where=sa.text("next_poll_at IS NOT NULL"),
            sqlite_where=sa.text("next_poll_at IS NOT NULL"),
        )

    op.drop_table("trackings")
    with op.batch_alter_table("statements", schema=None) as batch_op:
        batch_op.drop_index("statements_order")

    op.drop_table("statements")
    op.drop_table("shipment_links")
    op.drop_table("scans")
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_index("outbox_order")
        batch_op.drop_index(
            "outbox_key",
            postgresql_where=sa.text("state NOT IN ('observed', 'superseded')"),
            sqlite_where=sa.text("state NOT IN ('observed', 'superseded')"),
        )
        batch_op.drop_index(
            "outbox_due", postgresql_where=sa.text("state = 'pending'"), sqlite_where=sa.text("state = 'pending'")
        )
        batch_op.drop_index(
            "outbox_dead", postgresql_where=sa.text("state = 'dead'"), sqlite_where=sa.text("state = 'dead'")
        )

    op.drop_table("outbox")
    op.drop_table("order_versions")
    op.drop_table("fulfilments")
    with op.batch_alter_table("findings", schema=None) as batch_op:
        batch_op.drop_index("findings_order")
        batch_op.drop_index("findings_opened")
        batch_op.drop_index(
            "findings_open", postgresql_where=sa.text("closed_at IS NULL"), sqlite_where=sa.text("closed_at IS NULL")
        )

    op.drop_table("findings")
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.drop_index("decisions_order")

    op.drop_table("decisions")
    op.drop_table("unmapped_codes")
    with op.batch_alter_table("shipments", schema=None) as batch_op:
        batch_op.drop_index("shipments_number")

    op.drop_table("shipments")
    with op.batch_alter_table("rereads", schema=None) as batch_op:
        batch_op.drop_index("rereads_due")

    op.drop_table("rereads")
    op.drop_table("policies")
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_index("orders_number")
        batch_op.drop_index(
            "orders_due",
            postgresql_where=sa.text("reconcile_at IS NOT NULL"),
            sqlite_where=sa.text("reconcile_at IS NOT NULL"),
        )

    op.drop_table("orders")
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.drop_index("inbox_received")
        batch_op.drop_index(
            "inbox_due", postgresql_where=sa.text("state = 'pending'"), sqlite_where=sa.text("state = 'pending'")
        )
        batch_op.drop_index(
            "inbox_dead", postgresql_where=sa.text("state = 'dead'"), sqlite_where=sa.text("state = 'dead'")
        )

    op.drop_table("inbox")
    op.drop_table("accounts")
