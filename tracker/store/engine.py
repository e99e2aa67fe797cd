"""Open the database and keep its write discipline.

SQLite: WAL, synchronous FULL, every write of the process behind one lock (the receiver first), BEGIN IMMEDIATE.
PostgreSQL: plain transactions with time-outs; row locks do the rest.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.util import LRUCache


class _FirstLock:
    """A lock where some may go first."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._held = False
        self._first = 0

    def acquire(self, *, first: bool) -> None:
        with self._free:
            self._first += first
            self._free.wait_for(lambda: not self._held and (first or not self._first))
            self._first -= first
            self._held = True

    def release(self) -> None:
        with self._free:
            self._held = False
            self._free.notify_all()


class _Compiled(LRUCache[Any, Any]):
    """Statements as they were compiled, for all databases of one kind: a process that opens several compiles each once."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_kind(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_kind(key), value)


def _of_kind(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Put the kind of the dialect in the place of the dialect of one database."""
    return (type(key[0]), *key[1:])


_COMPILED = _Compiled(1000)


class Store:
    """One database. `batch` is how many rows a transaction may take."""

    def __init__(self, url: str, *, pool_size: int = 10, ahead: Callable[[], timedelta] | None = None) -> None:
        """Open lazily: nothing is connected yet. `url` is a SQLAlchemy URL (`sqlite:///path`, `postgresql://...`).

        `ahead`: how far the database's clock counts as being ahead. Only a play moves it: there, days pass in seconds.
        """
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.url: URL = parsed
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self.batch = 100 if self.sqlite else 200  # SQLite: the receiver waits while a batch is written
        self._lock = _FirstLock()
        self._kept: dict[int, Connection] = {}
        self._then: dict[
            int, list[Callable[[], None]]
        ] = {}  # by thread: what its transaction does once it is committed
        self.engine = self._sqlite(parsed) if self.sqlite else self._postgres(parsed, pool_size)
        self.engine.update_execution_options(compiled_cache=_COMPILED)
        if ahead is not None:
            self.engine.update_execution_options(ahead=ahead)

    def _sqlite(self, url: URL) -> Engine:
        path = Path(url.database or "")
        engine = sa.create_engine(
            url,
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            connect_args={"timeout": 10, "check_same_thread": False},
            pool_size=20,
            max_overflow=20,
        )

        @sa.event.listens_for(engine, "do_connect")
        def _make(*_: Any) -> None:
            if not path.parent.exists():
                path.parent.mkdir(parents=True, mode=0o700)
            if not path.exists():  # a file that only we can read, before there is anything in it
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))

        @sa.event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # we say BEGIN ourselves
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA temp_store=MEMORY")
            # as Debian builds it: what was erased is not left in free pages
            connection.execute("PRAGMA secure_delete=ON")

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            write = connection.get_execution_options().get("write")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

        return engine

    def _postgres(self, url: URL, pool_size: int) -> Engine:
        options = "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000"
        return sa.create_engine(
            url,
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            connect_args={"options": options, "connect_timeout": 5},
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
        )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read a consistent view; nothing is kept."""
        with self.engine.connect() as connection:
            if not self.sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def write(self, *, first: bool = False) -> Iterator[Connection]:
        """Open a transaction: committed at the end, rolled back on any exception. `first`: before other writers."""
        mine = threading.get_ident()
        then: list[Callable[[], None]] = []
        self._then[mine] = then
        try:
            with self._transaction(first) as connection:
                yield connection
        finally:
            self._then.pop(mine, None)
        for act in then:
            act()

    def when_committed(self, act: Callable[[], None]) -> None:
        """Act once this thread's transaction is committed, never where it is rolled back; at once where it has none.

        Who is woken before would look, see nothing, and sleep again.
        """
        then = self._then.get(threading.get_ident())
        if then is None:
            act()
        else:
            then.append(act)

    @contextmanager
    def _transaction(self, first: bool) -> Iterator[Connection]:
        if first:
            with self._received() as connection:
                yield connection
            return
        if not self.sqlite:
            with self.engine.begin() as connection:
                yield connection
            return
        self._lock.acquire(first=False)
        try:
            with self.engine.connect() as connection:
                connection = connection.execution_options(write=True)
                with connection.begin():
                    yield connection
        finally:
            self._lock.release()

    @contextmanager
    def _received(self) -> Iterator[Connection]:
        """Open a transaction of the receiver, on a connection that its thread keeps: half of a small commit is to get one."""
        if self.sqlite:
            self._lock.acquire(first=True)
        mine = threading.get_ident()
        try:
            kept = self._kept.get(mine)
            if kept is None:
                kept = self._kept[mine] = self.engine.connect().execution_options(write=True)
            try:
                with kept.begin():
                    yield kept
            except BaseException:
                del self._kept[mine]  # it may be broken: the next one is new
                kept.close()
                raise
        finally:
            if self.sqlite:
                self._lock.release()

    def overwrite(self) -> bool:
        """Have what was deleted stand nowhere in SQLite's files: what its log holds goes into the file, and the log is emptied.

        Returns False where somebody reads for longer than we may wait, as nobody writes meanwhile: the log stays until the next
        time, or until all processes have stopped. PostgreSQL does so by itself, with its next vacuum.
        """
        if not self.sqlite:
            return True
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout=500")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            said = cursor.fetchone()  # whether it was held up, and how many pages
            return said is not None and said[0] == 0
        finally:
            connection.invalidate()  # the next one waits as long as all others do

    def close(self) -> None:
        """Close every connection."""
        while self._kept:
            self._kept.popitem()[1].close()
        self.engine.dispose()


def clock(sqlite: bool) -> sa.ColumnElement[Any]:
    """Return the database's clock as it stores a moment; SQLite's has milliseconds."""
    if sqlite:
        return sa.func.strftime("%Y-%m-%d %H:%M:%f000", "now")
    return sa.func.clock_timestamp()


_NOW = {sqlite: sa.select(clock(sqlite)) for sqlite in (True, False)}


def database_now(connection: Connection) -> datetime:
    """Read the database's clock: the only place that does."""
    value: Any = connection.execute(_NOW[connection.dialect.name == "sqlite"]).scalar_one()
    moment: datetime = datetime.fromisoformat(value + "+00:00") if isinstance(value, str) else value
    return moment.astimezone(UTC) + ahead(connection)


def ahead(connection: Connection) -> timedelta:
    """Return how far a play counts the database's clock as being ahead; nothing outside of plays."""
    told: Callable[[], timedelta] | None = connection.get_execution_options().get("ahead")
    return told() if told is not None else timedelta(0)


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
