"""What operators are told: the history of estimates, and who looks after a finding."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

MOMENT = sa.DateTime(timezone=True)
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add what each part of it keeps."""
    _assigned()


def _assigned() -> None:
    op.add_column("findings", sa.Column("assigned_to", sa.String(), nullable=True))
    op.add_column("findings", sa.Column("assigned_at", MOMENT, nullable=True))
