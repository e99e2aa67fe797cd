"""What reconciling order statuses needs: an order's stands, statements by people, silence by carrier, alerts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
OPEN = sa.text("closed_at IS NULL")


def upgrade() -> None:
    """Expand the schema: every new column may be missing, so the version before goes on beside this one."""
    for name, kind in (
        ("status", sa.String()),
        ("raw_status", sa.String()),
        ("payment", sa.String()),
        ("numbers", JSON),
    ):
        op.add_column("order_versions", sa.Column(name, kind, nullable=True))
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(
        "UPDATE order_versions SET status = json_extract(facts, '$.status'), "
        "raw_status = json_extract(facts, '$.raw_status'), payment = json_extract(facts, '$.payment')"
        if sqlite
        else "UPDATE order_versions SET status = facts->>'status', raw_status = facts->>'raw_status', payment = facts->>'payment'"
    )
    op.add_column("shipments", sa.Column("last_scan_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "shipments_silent", "shipments", ["carrier", "last_scan_at"], postgresql_where=OPEN, sqlite_where=OPEN
    )
    for name in ("store", "proposal", "closed_reason"):
        op.add_column("findings", sa.Column(name, sa.String(), nullable=True))
    op.add_column("findings", sa.Column("alert_due_at", sa.DateTime(timezone=True), nullable=True))
    due = sa.text("alert_due_at IS NOT NULL")
    op.create_index("findings_alerts", "findings", ["alert_due_at"], postgresql_where=due, sqlite_where=due)
    op.create_index("findings_newest", "findings", ["id"], postgresql_where=OPEN, sqlite_where=OPEN)
    op.create_index("findings_kind", "findings", ["kind", "id"], postgresql_where=OPEN, sqlite_where=OPEN)
    op.create_index("findings_store", "findings", ["store", "id"], postgresql_where=OPEN, sqlite_where=OPEN)
    op.add_column("accounts", sa.Column("poll_news", sa.Integer(), nullable=True))
    polled = sa.text("next_poll_at IS NOT NULL")
    op.create_index(
        "trackings_account", "trackings", ["account", "checked_at"], postgresql_where=polled, sqlite_where=polled
    )
    op.create_index("outbox_store", "outbox", ["store", "id"])
    op.create_index("orders_store", "orders", ["store", "id"])
    failed = sa.text("state = 'refused'")
    op.create_index("outbox_refused", "outbox", ["id"], postgresql_where=failed, sqlite_where=failed)
