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
    _estimates()
    _measured()
    _status()


def _assigned() -> None:
    op.add_column("findings", sa.Column("assigned_to", sa.String(), nullable=True))
    op.add_column("findings", sa.Column("assigned_at", MOMENT, nullable=True))


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
