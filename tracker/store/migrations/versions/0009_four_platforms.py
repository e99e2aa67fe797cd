"""What the four big platforms need to be written to safely."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add what is known of a store, an account and a write beside what 0008 held."""
    op.add_column("change_notices", sa.Column("again_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "fresh_reads",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("account", "ref")),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "ref"),
    )
