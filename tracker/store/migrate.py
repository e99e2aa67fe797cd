"""Bring a database to the newest schema. Migrations expand, then contract: old and new versions run side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.store.engine import Store

if TYPE_CHECKING:
    from alembic.config import Config  # loaded where there is something to migrate: a role starts without it

MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config() -> Config:
    """Return Alembic's configuration, without a file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def migrate(store: Store) -> str:
    """Upgrade to the newest revision and return it. Several processes may try at once: one does it.

    A schema of a newer version is left as it is: schemas only expand, so this version works on it.
    """
    from alembic import command

    config = alembic_config()
    with store.write() as connection:
        if not store.sqlite:
            # an index of a table of millions takes longer than any statement of a process that runs
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7234001)")
        found = revision(connection)
        if found is not None and found not in revisions():
            return found
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return head()


def revisions() -> list[str]:
    """List the revisions that this version has, the newest last; one that it lacks was made by a newer version beside us."""
    return sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def head() -> str:
    """Return the newest revision that this version has."""
    return revisions()[-1]


def current(store: Store) -> str | None:
    """Return the revision a database is at, None for an empty one."""
    with store.read() as connection:
        return revision(connection)


def revision(connection: Connection) -> str | None:
    """Return the revision of the database that a connection is to, None for an empty one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found
