"""A heartbeat, so that an outage of ours is known; indexes that retention and the catch-up need at thirty million scans."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Expand the schema: the version before neither reads nor minds what is new."""
    op.create_table(
        "heartbeats",
        sa.Column("name", sa.String(), primary_key=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    proof = sa.text("status IN ('delivered', 'returned')")
    op.create_index("scans_proof", "scans", ["inbox_id"], postgresql_where=proof, sqlite_where=proof)
    op.create_index("scans_seen", "scans", ["first_seen_at"], postgresql_using="brin")
    kept = sa.text("body IS NOT NULL AND state IN ('done', 'ignored')")
    op.create_index("inbox_bodies", "inbox", ["received_at"], postgresql_where=kept, sqlite_where=kept)
    loose = sa.text("linked IS FALSE")
    op.create_index("shipments_unmatched", "shipments", ["starts_at"], postgresql_where=loose, sqlite_where=loose)
