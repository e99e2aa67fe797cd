"""Migrations, what a database holds, and the clock of a play."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from tests.conftest import wait_for
from tests.lab import Lab
from tracker.clock import PlayClock, system_now
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import alembic_config, current, head, migrate, revisions


def test_the_migrations_make_exactly_the_tables_of_the_code(database: str, empty_postgres: str, tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    url = f"sqlite:///{tmp_path}/new.db" if database.startswith("sqlite") else empty_postgres
    store = Store(url)
    limits = set()

    @sa.event.listens_for(store.engine, "before_cursor_execute")
    def _note(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if "CREATE INDEX" in statement and not store.sqlite:
            limits.add(cursor.connection.execute("SHOW statement_timeout").fetchone()[0])

    assert current(store) is None
    assert migrate(store) == head() == migrate(store)
    assert limits == (set() if store.sqlite else {"0"})  # an index of a large table takes as long as it takes
    assert head() == ScriptDirectory.from_config(alembic_config()).get_current_head(), (
        "the newest file is the newest revision"
    )
    assert revisions() == sorted(s.revision for s in ScriptDirectory.from_config(alembic_config()).walk_revisions())
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, t.METADATA) == []
    store.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_versions_kept_before_have_their_stand_after_the_migration(
    database: str, empty_postgres: str, tmp_path: Path
) -> None:
    from alembic import command

    from tracker.store.migrate import alembic_config

    store = Store(f"sqlite:///{tmp_path}/old.db" if database == "sqlite" else empty_postgres)
    config = alembic_config()
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        at = "'2026-11-02 08:00:00'"
        connection.exec_driver_sql(
            "INSERT INTO orders (id, store, ref, number, status, raw_status, payment, raw_payment, owner, placed_at, facts, version,"
            f" read_at) VALUES (1, 's', 'R', '#1', 'shipped', 'Shipped', 'paid', 'PAID', 'courier', {at}, '{{}}', 1, {at})"
        )
        facts = '{"status": "shipped", "raw_status": "Shipped", "payment": "paid"}'
        connection.exec_driver_sql(
            f"INSERT INTO order_versions (order_id, version, seen_at, actor, facts) VALUES (1, 1, {at}, 'seller', '{facts}')"
        )
    migrate(store)
    with store.read() as connection:
        row = connection.exec_driver_sql("SELECT status, raw_status, payment FROM order_versions").one()
    store.close()

    assert tuple(row) == ("shipped", "Shipped", "paid")


def test_two_processes_may_migrate_at_once(empty_postgres: str) -> None:
    stores = [Store(empty_postgres) for _ in range(3)]
    threads = [threading.Thread(target=migrate, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {current(store) for store in stores} == {head()}
    for store in stores:
        store.close()


def test_a_naive_moment_never_reaches_the_database(store: Store) -> None:
    from datetime import datetime

    with pytest.raises(Exception, match="naive"), store.write() as connection:
        connection.execute(t.policies.insert(), {"hash": "h", "body": {}, "first_seen_at": datetime(2026, 1, 1)})


def test_the_receiver_goes_first_at_the_lock() -> None:
    from tracker.store.engine import _FirstLock

    lock, order = _FirstLock(), []
    lock.acquire(first=False)
    threads = [
        threading.Thread(target=lambda first=first: (lock.acquire(first=first), order.append(first), lock.release()))
        for first in (False, False, True)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: lock._first == 1)
    lock.release()
    for thread in threads:
        thread.join()
    assert order[0] is True


def test_the_play_clock_never_goes_back() -> None:
    now = system_now()
    clock = PlayClock(now)
    clock.move_to(now.replace(year=2020))

    assert clock() == now


def test_F26_a_schema_of_a_newer_version_is_left_as_it_is(database: str, tmp_path: Path) -> None:
    store = Store(database)
    migrate(store)
    with store.write() as connection:  # what a newer version would have left: it only adds
        connection.execute(sa.text("ALTER TABLE orders ADD COLUMN hologram VARCHAR"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert migrate(store) == "9999"
    with store.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
    store.close()
    with ExitStack() as stack:
        lab = Lab(database, tmp_path, stack)
        lab.order("#1001", "9400111206206406260787")
        lab.scan(lab.easypost, "9400111206206406260787", "delivered", "arrived_at_destination")
        lab.work()
        assert ("#1001", "DELIVERED") in lab.writes()
