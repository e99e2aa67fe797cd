"""The documents that prove deliveries, and the parcels that a carrier hands over to another."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

MOMENT = sa.DateTime(timezone=True)
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table of documents, and of which parcel another number is the last mile."""
    op.create_table(
        "proofs",
        sa.Column("id", BIG, primary_key=True),
        sa.Column("shipment_id", BIG, sa.ForeignKey("shipments.id"), nullable=False, unique=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("account", "state")),
        *(sa.Column(name, MOMENT, nullable=True) for name in ("next_at", "claimed_until", "fetched_at")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("attempts", "failures")),
        *(sa.Column(name, sa.String(), nullable=True) for name in ("error", "kind", "sha256")),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("document", sa.LargeBinary(), nullable=True),
    )
    due, kept = sa.text("next_at IS NOT NULL"), sa.text("document IS NOT NULL")
    op.create_index("proofs_due", "proofs", ["account", "next_at"], postgresql_where=due, sqlite_where=due)
    op.create_index("proofs_kept", "proofs", ["fetched_at"], postgresql_where=kept, sqlite_where=kept)
    op.add_column("shipments", sa.Column("leg_of", BIG, nullable=True))
    leg = sa.text("leg_of IS NOT NULL")
    op.create_index("shipments_leg", "shipments", ["leg_of"], postgresql_where=leg, sqlite_where=leg)
