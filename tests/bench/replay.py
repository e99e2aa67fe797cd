"""The floor of the worker: the very statements that it sent, said again by a bare cursor to a copy of the same database.

What is left of the worker's time is what it does itself: reading, deciding, making the statements. And the peer: what one writes
first, a Dramatiq message and a SQLModel session for each webhook, which keeps much less than we do.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dramatiq
import psycopg
import sqlalchemy as sa
from dramatiq.brokers.redis import RedisBroker
from sqlmodel import Field, Session, SQLModel, select

from tests.bench.events import apply
from tracker.store.engine import Store

PEER_THREADS = 8
_META = sa.MetaData()


@dataclass
class Cost:
    """What a round cost the database."""

    statements: int = 0
    written: int = 0
    read: int = 0
    updates: int = 0
    hot: int = 0

    def told(self, payloads: int) -> str:
        """Say it for one payload."""
        hot = f", {self.hot:,} of {self.updates:,} updates HOT" if self.updates else ""
        each = [count / payloads for count in (self.statements, self.written, self.read)]
        return "{:.2f} statements, {:.1f} rows written, {:.1f} read a payload".format(*each) + hot


@dataclass
class Recorded:
    """What was sent on each connection, in its order; None is a commit."""

    sent: list[tuple[str, Any] | None] = field(default_factory=list)


@contextmanager
def copies(url: str, count: int) -> Iterator[list[str]]:
    """Make copies of a database to which nobody is connected; they are gone afterwards."""
    parsed = sa.make_url(url)
    names = [f"{parsed.database}_copy{i}" for i in range(count)]
    if parsed.get_backend_name() == "sqlite":
        for name in names:
            shutil.copy(str(parsed.database), name)
        yield [f"sqlite:///{name}" for name in names]
        for name in names:
            for file in Path(name).parent.glob(f"{Path(name).name}*"):
                file.unlink()
        return
    with psycopg.connect(_plain(parsed.set(database="postgres")), autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {parsed.database}".encode())
        yield [_plain(parsed.set(database=name)) for name in names]
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _plain(url: sa.URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def at_rest(store: Store) -> None:
    """Let go of a database, so that it can be copied."""
    if store.sqlite:
        with store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()


def record(lab: Any, url: str) -> Recorded:
    """Have the house apply what waits in a copy, by one thread, and note each statement."""
    recorded = Recorded()
    store = Store(url)

    def sent(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        assert not many
        if not statement.startswith("BEGIN"):
            recorded.sent.append((statement, parameters))

    sa.event.listen(store.engine, "before_cursor_execute", sent)
    sa.event.listen(store.engine, "commit", lambda _c: recorded.sent.append(None))
    sa.event.listen(store.engine, "rollback", lambda _c: recorded.sent.append(None))
    ctx, lab.ctx = lab.ctx, replace(lab.ctx, store=store)
    try:
        apply(lab, checked=False)
    finally:
        lab.ctx = ctx
        store.close()
    return recorded


def replay(recorded: Recorded, url: str) -> tuple[float, Cost]:
    """Say it again to another copy by a bare cursor. Returns the seconds, and what it cost."""
    cost = Cost()
    parsed = sa.make_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    connection: Any
    if sqlite:
        import sqlite3

        connection = sqlite3.connect(str(parsed.database), isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
    else:
        connection = psycopg.connect(url)
    cursor = connection.cursor()
    began = time.perf_counter()
    for one in recorded.sent:
        if one is None:
            if not sqlite or connection.in_transaction:
                connection.commit()
            continue
        if sqlite and not connection.in_transaction:
            cursor.execute("BEGIN IMMEDIATE")
        cursor.execute(*one)
        cost.statements += 1
        if cursor.description is not None:
            cost.read += len(cursor.fetchall())
        if not one[0].startswith(("SELECT", "SET", "RESET", "select")):
            cost.written += max(cursor.rowcount, 0)
    took = time.perf_counter() - began
    if not sqlite:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        connection.commit()
        cursor.execute("SELECT sum(n_tup_upd), sum(n_tup_hot_upd) FROM pg_stat_user_tables")
        cost.updates, cost.hot = map(int, cursor.fetchone())
    connection.close()
    return took, cost


# the peer


class PeerHook(SQLModel, table=True):
    metadata = _META
    __tablename__ = "peer_hooks"
    id: int | None = Field(default=None, primary_key=True)
    body: str
    state: str = "new"


class PeerParcel(SQLModel, table=True):
    metadata = _META
    __tablename__ = "peer_parcels"
    id: int | None = Field(default=None, primary_key=True)
    number: str = Field(unique=True)
    status: str = ""


class PeerScan(SQLModel, table=True):
    metadata = _META
    __tablename__ = "peer_scans"
    id: int | None = Field(default=None, primary_key=True)
    parcel_id: int = Field(foreign_key="peer_parcels.id", index=True)
    at: str
    status: str


def peer(url: str, redis_url: str, bodies: Sequence[str]) -> float:
    """Return the seconds in which a naive worker applies so many webhooks that it stored."""
    parsed = sa.make_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    engine = sa.create_engine(
        parsed if sqlite else parsed.set(drivername="postgresql+psycopg"),
        connect_args={"timeout": 60} if sqlite else {},
        pool_size=PEER_THREADS,
    )
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        _META.create_all(engine)
        stack.callback(lambda: _META.drop_all(engine))
        with Session(engine) as session:
            session.add_all(PeerHook(body=body) for body in bodies)
            session.commit()
            ids = list(session.exec(select(PeerHook.id)))
        return _work(engine, redis_url, ids)


def _work(engine: sa.Engine, redis_url: str, ids: Sequence[int | None]) -> float:
    broker = RedisBroker(url=redis_url)  # type: ignore[no-untyped-call]
    broker.flush_all()
    done = threading.Semaphore(0)

    def take(hook: int) -> None:
        with Session(engine) as session:
            row = session.get_one(PeerHook, hook)
            told = json.loads(row.body)
            parcel = session.exec(select(PeerParcel).where(PeerParcel.number == told["tracking_code"])).first()
            if parcel is None:
                parcel = PeerParcel(number=told["tracking_code"])
                session.add(parcel)
                session.flush()
            known = set(session.exec(select(PeerScan.at).where(PeerScan.parcel_id == parcel.id)))
            for detail in told["tracking_details"]:
                if detail["datetime"] not in known:
                    session.add(PeerScan(parcel_id=parcel.id, at=detail["datetime"], status=detail["status"]))
            parcel.status, row.state = told["status"], "done"
            session.commit()
        done.release()

    actor = dramatiq.Actor(take, broker=broker, actor_name="take", queue_name="default", priority=0, options={})
    for one in ids:
        actor.send(one)
    worker = dramatiq.Worker(broker, worker_threads=PEER_THREADS)  # type: ignore[no-untyped-call]
    began = time.perf_counter()
    worker.start()
    for _ in ids:
        done.acquire()
    took = time.perf_counter() - began
    worker.stop()  # type: ignore[no-untyped-call]
    broker.close()
    return took
