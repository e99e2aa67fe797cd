"""A database of before is migrated with all that it holds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import alembic_config, migrate


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_was_watched_noticed_and_read_before_the_tables_were_renamed_is_there_after(
    database: str, empty_postgres: str, tmp_path: Path
) -> None:
    store = Store(f"sqlite:///{tmp_path}/old.db" if database == "sqlite" else empty_postgres)
    config = alembic_config()
    at, summary = "'2026-11-02 08:00:00'", '{"status": "in_transit", "mark": {"last": [1, "a"], "rules": 3}}'
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for statement in (
            "INSERT INTO shipments (id, carrier, number, generation, status, summary, starts_at, linked)"
            f" VALUES (7, 'ups', '1Z', 0, 'in_transit', '{summary}', {at}, true)",
            "INSERT INTO shipments (id, carrier, number, generation, status, summary, starts_at, linked)"
            f" VALUES (8, 'ups', '2Z', 0, 'unknown', '{{}}', {at}, true)",
            "INSERT INTO trackings (id, shipment_id, account, tracking_state, next_poll_at, attempts, failures, answer_hash)"
            f" VALUES (5, 7, 'ups', 'active', {at}, 2, 1, 'h')",
            f"INSERT INTO rereads (id, account, ref, hinted_at, due_at, attempts) VALUES (3, 'shop', 'R1', {at}, {at}, 4)",
            "INSERT INTO accounts (name, kind, parked_reason, attempts) VALUES ('ups', 'carrier', '401', 0)",
            "INSERT INTO findings (kind, subject, severity, act, evidence, evidence_hash, opened_by, opened_at, digest, proposal)"
            f" VALUES ('k', 's', 'info', 'look', '{{}}', 'h', 'facts', {at}, false, '')",
            "INSERT INTO unmapped_codes VALUES ('ups', 's', 'c', 't', '2026-11-02', '2026-11-02', 1, NULL)",
        ):
            connection.exec_driver_sql(statement)
    migrate(store)
    with store.write() as connection:
        watched = connection.execute(sa.select(t.watches)).mappings().one()
        noticed = connection.execute(sa.select(t.change_notices)).mappings().one()
        summaries = connection.execute(sa.select(t.shipments.c.summary).order_by(t.shipments.c.id)).scalars().all()
        suspended = connection.execute(sa.select(t.accounts.c.suspended_reason)).scalar_one()
        opened_by = connection.execute(sa.select(t.findings.c.opened_by)).scalar_one()
        more = {"shipment_id": 8, "account": "ups", "tracking_state": "pending", "attempts": 0, "failures": 0}
        new = connection.execute(t.watches.insert().values(more).returning(t.watches.c.id)).scalar_one()
        tables = set(sa.inspect(connection).get_table_names())
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(t.watches.insert().values(more | {"shipment_id": 999}))
    store.close()

    moment = datetime(2026, 11, 2, 8, tzinfo=UTC)
    assert (watched["id"], watched["shipment_id"], watched["next_poll_at"], watched["response_hash"]) == (
        5,
        7,
        moment,
        "h",
    )
    assert (noticed["id"], noticed["ref"], noticed["noticed_at"], noticed["attempts"]) == (3, "R1", moment, 4)
    assert summaries == [{"status": "in_transit", "checkpoint": {"last": [1, "a"], "rules": 3}}, {}]
    assert (suspended, opened_by) == ("401", "ingest")
    assert new not in (5, None)
    assert tables >= {"watches", "change_notices"} and not tables & {"trackings", "rereads", "unmapped_codes"}
