"""A copy of the whole database in a file that only we can read, and what is to be done once one was put back.

SQLite is copied by its own online copy while others write, and the copy is checked; PostgreSQL by its own tools, which must be as new as
the server. A database that was put back knows nothing of what was done since: what was written to shops is looked at before it is
written again, and does no harm; what customers were told cannot be looked at, so what happened before is not told again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from tracker.domain.errors import TrackerError
from tracker.domain.masking import mask
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.engine import Store, database_now
from tracker.store.migrate import migrate
from tracker.store.tables import accounts, mails, outbox, processes, tokens
from tracker.support.roles import ALIVE

PAGES = 4096  # of SQLite, copied between two looks of others: the receiver waits no longer than that
OURS = (  # of tables that every version had
    "SELECT 1 FROM inbox LIMIT 1",
    "SELECT 1 FROM orders LIMIT 1",
    "SELECT 1 FROM outbox LIMIT 1",
    "SELECT 1 FROM accounts LIMIT 1",
)
NOT_TOLD = "a backup was put back: it may have been told before"


def backup(store: Store, path: Path) -> int:
    """Write a copy of the database. Returns its bytes. Raises TrackerError where it cannot be made, OSError where it cannot be written."""
    if not store.sqlite:
        with store.read() as connection:  # one that is away is told as everywhere
            connection.execute(sa.select(1))
    handle, draft = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name[:100]}.")  # 0600, new, no link
    os.close(handle)
    try:
        if store.sqlite:
            _copy(Path(store.url.database or ""), Path(draft))
            _check(Path(draft))
        else:
            _run(store, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={draft}")
        with open(draft, "rb") as file:
            os.fsync(file.fileno())
        size = os.stat(draft).st_size
        os.link(draft, path)  # where somebody wrote it meanwhile this fails
        return size
    finally:
        os.unlink(draft)


def restore(store: Store, path: Path, stamp: str) -> Path | None:
    """Put a copy back. Returns where the SQLite file is that was there before, if one was.

    Raises TrackerError where a process of ours runs, where the file is no whole backup, and where a PostgreSQL database is not empty.
    A SQLite file that is damaged is put aside like any other.
    """
    if not store.sqlite:
        with store.read() as connection:
            if sa.inspect(connection).get_table_names():
                raise TrackerError("the database is not empty: make a new one (createdb), and let `database:` name it")
        _run(store, "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", str(path))
        return None
    _check(path)
    there = Path(store.url.database or "")
    before = there.with_name(f"{there.name}.before-{stamp}")
    aside = there if there.exists() else None
    there.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, draft = tempfile.mkstemp(dir=there.absolute().parent, prefix=f".{there.name[:100]}.")
    os.close(handle)
    try:
        _copy(path, Path(draft))
        if aside is not None:
            _must_rest_if_it_can_tell(store)
            store.close()
            for end in ("", "-wal", "-shm"):  # what was not yet moved into the file goes with it
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{there}{end}", f"{before}{end}")
        os.rename(draft, there)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise
    return before if aside is not None else None


def _must_rest_if_it_can_tell(store: Store) -> None:
    """As `must_rest`; what is damaged cannot tell who runs, and is why a backup is put back."""
    try:
        must_rest(store)
    except (sa.exc.DatabaseError, UnicodeDecodeError) as error:
        if isinstance(error, sa.exc.OperationalError):
            raise  # it is locked, or cannot be opened


def must_rest(store: Store) -> None:
    """Raise TrackerError where a process of ours was seen in this database just now."""
    with store.read() as connection:
        if not sa.inspect(connection).has_table(processes.name):
            return
        lately = processes.c.seen_at >= database_now(connection) - ALIVE
        rows = connection.execute(sa.select(processes.c.role, processes.c.host, processes.c.pid).where(lately)).all()
    if rows:
        told = ", ".join(f"{row.role} at {row.host} (process {row.pid})" for row in rows)
        raise TrackerError(f"stop it first, and wait half a minute: {told}")


def put_back(ctx: AppContext) -> int:
    """Settle a database that was put back, by us or by others. Returns how many notices are not told because they may have been.

    The schema becomes the newest. Each store and feed is swept at once, access tokens are asked for
    anew. The heartbeat is as old as the backup: the first scheduler finds the outage, asks about every open parcel, and has senders tell
    again what they still have.
    """
    migrate(ctx.store)
    must_rest(ctx.store)
    with ctx.store.write() as connection:
        now, database = ctx.now(), database_now(connection)
        waits = sa.and_(outbox.c.kind == "notice", outbox.c.state.in_(["pending", "held"]))
        given = {"state": "superseded", "ended_at": database}
        told = connection.execute(outbox.update().where(waits).values(error=NOT_TOLD, **given)).rowcount
        told += connection.execute(
            mails.update().where(mails.c.state == "pending").values(reason=NOT_TOLD, **given)
        ).rowcount
        queries.sweep_now(connection, sa.true(), now)
        connection.execute(accounts.update().values(restored_at=now, rests_until=None, blocked_until=None))
        connection.execute(tokens.delete())
        connection.execute(processes.delete())
    return told


def _copy(source: Path, target: Path) -> None:
    """Copy a SQLite database that others may write to, as it was at one moment. Raises TrackerError for a file that is none."""
    if not source.exists():
        raise TrackerError(f"{source}: there is no such database")
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{source.absolute()}?mode=ro", uri=True)) as ours,
            contextlib.closing(sqlite3.connect(target)) as theirs,
        ):
            ours.backup(theirs, pages=PAGES, sleep=0)
            theirs.execute("PRAGMA journal_mode=DELETE")  # one file, whole in itself
    except sqlite3.Error as error:
        raise TrackerError(f"{source} cannot be copied: {error}") from None


def _check(path: Path) -> None:
    """Raise TrackerError for a file that is no whole database of ours."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)) as found:
            said = [row[0] for row in found.execute("PRAGMA integrity_check")]
            found.execute("SELECT version_num FROM alembic_version").fetchone()
            for one in OURS:
                found.execute(one).fetchone()
    except sqlite3.Error as error:
        raise TrackerError(f"{path} is no backup of ours: {error}") from None
    except UnicodeDecodeError:  # what is wrong with it is said with a part of it
        raise TrackerError(f"{path} is damaged: its schema is not UTF-8") from None
    if said != ["ok"]:
        raise TrackerError(f"{path} is damaged: {said[0]}")


def _run(store: Store, program: str, *options: str) -> None:
    """Run a tool of PostgreSQL on our database; its password is in the environment, where no list of processes shows it."""
    found = shutil.which(program)
    if found is None:
        raise TrackerError(
            f"{program} is not installed here; it must be as new as the server (Debian: postgresql-client)"
        )
    parts = {
        key: str(value) for key, value in store.url.translate_connect_args(username="user", database="dbname").items()
    }
    password = parts.pop("password", None)
    parts |= {key: value if isinstance(value, str) else ",".join(value) for key, value in store.url.query.items()}
    environment = {**os.environ, "PGCONNECT_TIMEOUT": "10"} | ({"PGPASSWORD": password} if password else {})
    command = [found, f"--dbname={make_conninfo(**parts)}", *options]
    done = subprocess.run(  # noqa: S603  # no shell
        command, capture_output=True, text=True, errors="replace", env=environment, check=False
    )
    if done.returncode:
        said = mask(done.stderr).strip().splitlines() or ["without a word"]
        raise TrackerError(f"{program} failed: {' '.join(said[:2])[:500]}")
