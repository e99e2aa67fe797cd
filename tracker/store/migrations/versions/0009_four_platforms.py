"""What the four big platforms need to be written to safely."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Add what is known of a store, an account and a write beside what 0008 held."""
    op.add_column("change_notices", sa.Column("again_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "fresh_reads",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("account", "ref")),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "ref"),
    )
    op.create_table(
        "endings",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("account", "carrier", "day", "stood")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("hours", "steps", "ends")),
        sa.PrimaryKeyConstraint("account", "carrier", "day", "stood", "hours"),
    )
    op.add_column("accounts", sa.Column("well_since", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("brakes", JSON, nullable=True))
    op.add_column("shipments", sa.Column("linked_at", MOMENT, nullable=True))
    op.add_column("outbox", sa.Column("held_by", sa.String(), nullable=True))
    held = sa.text("state = 'held'")
    op.create_index("outbox_held", "outbox", ["held_by", "id"], postgresql_where=held, sqlite_where=held)
