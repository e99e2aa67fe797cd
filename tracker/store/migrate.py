"""Bring a database to the newest schema. Migrations expand, then contract: old and new versions run side by side."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from tracker.store.engine import Store


def alembic_config() -> Config:
    """Return Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(store: Store) -> str:
    """Upgrade to the newest revision and return it. Several processes may try at once: one does it.

    A schema of a newer version is left as it is: schemas only expand, so this version works on it.
    """
    config = alembic_config()
    with store.write() as connection:
        if not store.sqlite:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7234001)")
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and not known(found):
            return found
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return head()


def head() -> str:
    """Return the newest revision that this version knows."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def known(revision: str | None) -> bool:
    """Tell whether this version has a revision; one that it lacks was made by a newer version, which stands beside us."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return revision is None or revision in {script.revision for script in scripts.walk_revisions()}


def current(store: Store) -> str | None:
    """Return the revision a database is at, None for an empty one."""
    with store.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()
