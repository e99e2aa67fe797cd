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
POSTGRESQL_NAMES = (  # what it named by itself, after the tables' names of then
    ("watches", "trackings_pkey", "watches_pkey"),
    ("watches", "trackings_shipment_id_account_key", "watches_shipment_id_account_key"),
    ("watches", "trackings_shipment_id_fkey", "watches_shipment_id_fkey"),
    ("change_notices", "rereads_pkey", "change_notices_pkey"),
    ("change_notices", "rereads_account_ref_key", "change_notices_account_ref_key"),
)


def upgrade() -> None:
    """Rename, with all data. It does not expand: no version before it was released, so none runs beside it (DECISIONS.md 86)."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for before, now in TABLES.items():
        op.rename_table(before, now)
    for table, before, now in COLUMNS:
        op.alter_column(table, before, new_column_name=now)
    for before, now, table, columns, where in INDEXES:
        if sqlite:
            op.drop_index(before, table)
            op.create_index(now, table, columns, sqlite_where=sa.text(where) if where else None)
        else:
            op.execute(f"ALTER INDEX {before} RENAME TO {now}")
    if sqlite:
        op.execute(
            "UPDATE shipments SET summary = json_remove(json_set(summary, '$.checkpoint', json_extract(summary, '$.mark')), '$.mark')"
            " WHERE json_type(summary, '$.mark') IS NOT NULL"
        )
    else:
        for table, before, now in POSTGRESQL_NAMES:
            op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {before} TO {now}")
        for before, now in TABLES.items():
            op.execute(f"ALTER SEQUENCE {before}_id_seq RENAME TO {now}_id_seq")
        op.execute(
            "UPDATE shipments SET summary = (summary - 'mark') || jsonb_build_object('checkpoint', summary -> 'mark')"
            " WHERE summary ? 'mark'"
        )
    for column in ("opened_by", "closed_by"):  # the stage that takes facts is called ingest
        op.execute(f"UPDATE findings SET {column} = 'ingest' WHERE {column} = 'facts'")
    op.drop_table("unmapped_codes")  # nobody has read it since 0005
