"""Many stores on one worker: one account is asked about a parcel, and nobody waits for a stranger."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"

PENDING, WAITED_FOR = "state = 'pending'", "kind IN ('webhook', 'read')"
MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENTS = ("started_at", "seen_at", "asked_at", "answered_at")
DECIDED, POLLED, REGISTERED = "reconcile_at IS NOT NULL", "next_poll_at IS NOT NULL", "register_at IS NOT NULL"


def upgrade() -> None:
    """Add what says whom a parcel is asked of and for whom, and what finds the oldest row of each store and account."""
    op.add_column("watches", sa.Column("store", sa.String(), nullable=True))
    op.add_column("watches", sa.Column("urgent", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("watches", sa.Column("chosen", sa.String(), nullable=True))
    op.add_column("accounts", sa.Column("spent", sa.JSON(), nullable=True))
    op.drop_column("accounts", "budget_left")
    op.drop_column("accounts", "budget_resets_at")
    moments = [sa.Column(name, MOMENT, nullable=name in ("asked_at", "answered_at")) for name in MOMENTS]
    op.create_table(
        "processes",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("name", "role", "host")),
        sa.Column("pid", sa.Integer(), nullable=False),
        *moments,
        sa.Column("told", JSON, nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    for name, table in (
        ("watches_poll", "watches"),
        ("watches_register", "watches"),
        ("change_notices_due", "change_notices"),
    ):
        op.drop_index(name, table)
    op.create_index("change_notices_due", "change_notices", ["account", "due_at", "id"])
    for name, table, columns, where in (
        ("inbox_waited_for", "inbox", ["account", "due_at", "id"], f"{PENDING} AND {WAITED_FOR}"),
        ("inbox_in_no_hurry", "inbox", ["account", "due_at", "id"], f"{PENDING} AND NOT ({WAITED_FOR})"),
        ("watches_poll", "watches", ["account", "urgent", "next_poll_at"], POLLED),
        ("watches_poll_turn", "watches", ["account", "store", "urgent", "next_poll_at", "id"], POLLED),
        ("watches_register", "watches", ["account", "register_at"], REGISTERED),
        ("watches_register_turn", "watches", ["account", "store", "urgent", "register_at", "id"], REGISTERED),
        ("orders_turn", "orders", ["store", "reconcile_at", "id"], DECIDED),
    ):
        op.create_index(name, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
