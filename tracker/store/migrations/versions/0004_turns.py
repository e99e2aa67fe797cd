"""Stores write in turn: who waited longest is next, and a store that is held back is not walked past."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Expand the schema. The version before sorts what is pending while it runs beside this one; it does not fail."""
    op.add_column("accounts", sa.Column("turn_at", sa.DateTime(timezone=True), nullable=True))
    pending = sa.text("state = 'pending'")
    op.create_index("outbox_turn", "outbox", ["store", "due_at", "id"], postgresql_where=pending, sqlite_where=pending)
    op.drop_index("outbox_due", "outbox")
