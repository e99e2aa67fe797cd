"""One word for one thing: what the code calls a watch, a change notice and a checkpoint the tables call so too. No row changes its meaning."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = {"trackings": "watches", "rereads": "change_notices"}
COLUMNS = (
    ("change_notices", "hinted_at", "noticed_at"),
    ("watches", "answer_hash", "response_hash"),
    ("accounts", "parked_reason", "suspended_reason"),
)
POLLED, OVERDUE = "next_poll_at IS NOT NULL", "overdue_since IS NOT NULL AND next_poll_at IS NOT NULL"
GIVEN_UP = "tracking_state IN ('invalid_number', 'unsupported', 'stopped')"
INDEXES = (  # name before, name, table, columns, where
    ("trackings_poll", "watches_poll", "watches", ["next_poll_at", "id"], POLLED),
    ("trackings_register", "watches_register", "watches", ["register_at", "id"], "register_at IS NOT NULL"),
    ("trackings_account", "watches_account", "watches", ["account", "checked_at"], POLLED),
    ("trackings_overdue", "watches_overdue", "watches", ["account", "overdue_since"], OVERDUE),
    ("trackings_given_up", "watches_given_up", "watches", ["account"], GIVEN_UP),
    ("rereads_due", "change_notices_due", "change_notices", ["due_at"], None),
)
RENAMED_ON_POSTGRESQL = (  # indexes, and what it named by itself after the tables' names of then
    "ALTER INDEX trackings_poll RENAME TO watches_poll",
    "ALTER INDEX trackings_register RENAME TO watches_register",
    "ALTER INDEX trackings_account RENAME TO watches_account",
    "ALTER INDEX trackings_overdue RENAME TO watches_overdue",
    "ALTER INDEX trackings_given_up RENAME TO watches_given_up",
    "ALTER INDEX rereads_due RENAME TO change_notices_due",
    "ALTER TABLE watches RENAME CONSTRAINT trackings_pkey TO watches_pkey",
    "ALTER TABLE watches RENAME CONSTRAINT trackings_shipment_id_account_key TO watches_shipment_id_account_key",
    "ALTER TABLE watches RENAME CONSTRAINT trackings_shipment_id_fkey TO watches_shipment_id_fkey",
    "ALTER TABLE change_notices RENAME CONSTRAINT rereads_pkey TO change_notices_pkey",
    "ALTER TABLE change_notices RENAME CONSTRAINT rereads_account_ref_key TO change_notices_account_ref_key",
    "ALTER SEQUENCE trackings_id_seq RENAME TO watches_id_seq",
    "ALTER SEQUENCE rereads_id_seq RENAME TO change_notices_id_seq",
)


def upgrade() -> None:
    """Rename, with all data. It does not expand: no version before it was released, so none runs beside it (DECISIONS.md 86)."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for before, now in TABLES.items():
        op.rename_table(before, now)
    for table, before, now in COLUMNS:
        op.alter_column(table, before, new_column_name=now)
    if sqlite:
        for before, now, table, columns, where in INDEXES:
            op.drop_index(before, table)
            op.create_index(now, table, columns, sqlite_where=sa.text(where) if where else None)
        op.execute(
            "UPDATE shipments SET summary = json_remove(json_set(summary, '$.checkpoint', json_extract(summary, '$.mark')), '$.mark')"
            " WHERE json_type(summary, '$.mark') IS NOT NULL"
        )
    else:
        for statement in RENAMED_ON_POSTGRESQL:
            op.execute(statement)
        op.execute(
            "UPDATE shipments SET summary = (summary - 'mark') || jsonb_build_object('checkpoint', summary -> 'mark')"
            " WHERE summary ? 'mark'"
        )
    op.execute("UPDATE findings SET opened_by = 'ingest' WHERE opened_by = 'facts'")  # the stage is called ingest
    op.execute("UPDATE findings SET closed_by = 'ingest' WHERE closed_by = 'facts'")
    op.drop_table("unmapped_codes")  # nobody has read it since 0005
