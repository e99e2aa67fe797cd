"""A contract for forty plugins: shared tokens, public keys of senders, files that were read, hooks that were compared."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables, and what is known of an account beside its configuration."""
    op.create_table(
        "tokens",
        sa.Column("account", sa.String(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=True) for name in ("credentials", "value")),
        *(sa.Column(name, MOMENT, nullable=True) for name in ("given_at", "ends_at", "claimed_until")),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "public_keys",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("account", "key_id", "credentials")),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("account", "key_id"),
    )
    op.create_table(
        "files",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("account", "place", "name", "sha256", "state")),
        *(sa.Column(name, BIG, nullable=False) for name in ("size", "modified", "read_to")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("lines", "stored", "known", "unread", "attempts")),
        sa.Column("problem", sa.String(), nullable=True),
        *(sa.Column(name, MOMENT, nullable=False) for name in ("seen_at", "listed_at")),
        *(sa.Column(name, MOMENT, nullable=True) for name in ("claimed_until", "ended_at")),
        sa.UniqueConstraint("account", "place", "name", "size", "sha256"),
    )
    op.add_column("inbox", sa.Column("times", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("files_at", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("keys_due_at", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("keys_wanted", sa.String(), nullable=True))
    op.add_column("accounts", sa.Column("keys_failing_since", MOMENT, nullable=True))
    op.create_table(
        "resends",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("account", sa.String(), nullable=False),
        *(sa.Column(name, MOMENT, nullable=False) for name in ("since", "until", "next_at")),
        *(sa.Column(name, MOMENT, nullable=True) for name in ("claimed_until", "ended_at")),
        sa.Column("short", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=True) for name in ("cursor", "error")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("told", "new", "attempts", "failures")),
        sa.UniqueConstraint("account", "since"),
    )
    unended = sa.text("ended_at IS NULL")
    op.create_index("resends_due", "resends", ["account", "next_at"], postgresql_where=unended, sqlite_where=unended)
    op.add_column("accounts", sa.Column("quota_left", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("quota_of", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("quota_at", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("hooks_due_at", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("hooks_checked_at", MOMENT, nullable=True))
    op.add_column("accounts", sa.Column("hooks", JSON, nullable=True))
    op.add_column("watches", sa.Column("fed_at", MOMENT, nullable=True))
    op.add_column("watches", sa.Column("said", sa.String(), nullable=True))
    refused = sa.text("tracking_state = 'error'")
    op.create_index("watches_refused", "watches", ["account"], postgresql_where=refused, sqlite_where=refused)
