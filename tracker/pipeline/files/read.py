"""Read a file into the inbox, in batches: each is stored with how far it goes, so that a process may end at any instruction.

A file is known by its account, place, name, size and SHA-256. What reads it is fenced as claims are: whoever began later has it.
Its payloads are known by what they hold, so that a file which comes again under another name adds nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import BadPayload, TrackerError
from tracker.domain.facts import Payload, Unread
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.ingest.parse import fault
from tracker.plugin.files import LINE, NAME, Cut
from tracker.store import queries
from tracker.store.codec import plain
from tracker.store.engine import database_now
from tracker.store.queries import LEASE
from tracker.store.tables import files

MOST_ROWS, MOST_BYTES = 100, 1 << 20  # of a transaction: the receiver waits as long at most
HASHED = 1 << 20
WAITING, READING, DONE, FAILED = "waiting", "reading", "done", "failed"
_F = files.c


class ReadElsewhere(TrackerError):
    """Another process began to read the file, or this one ends: it is gone on with from where it is."""


@dataclass(frozen=True)
class File:
    """A file as it lies there: where, its name, its size in bytes, when it was changed, the hash of what it holds."""

    place: str
    name: str
    size: int
    modified: int
    sha256: str


@dataclass
class Came:
    """What came of a file: how many lines it has, how many payloads of it are new and known, how many pieces were not read."""

    name: str
    state: str
    size: int = 0
    lines: int = 0
    stored: int = 0
    known: int = 0
    unread: int = 0
    problem: str | None = None
    before: bool = False  # it was read before: nothing was stored now

    @property
    def whole(self) -> bool:
        """Say whether all of it could be read."""
        return self.state == DONE and not self.unread


def hashed(file: BinaryIO) -> tuple[int, str]:
    """Return the size of a file and the SHA-256 of what it holds; it stands at its beginning again."""
    size, told = 0, hashlib.sha256()
    while some := file.read(HASHED):
        size += len(some)
        told.update(some)
    file.seek(0)
    return size, told.hexdigest()


def read_file(
    ctx: AppContext, account: Account, file: BinaryIO, what: File, *, progress: Callable[[int], None] | None = None
) -> Came:
    """Store what a file holds, from where it was left; a file that was read before changes nothing.

    `progress` is told how many bytes were stored. Raises ReadElsewhere.
    """
    row = _begin(ctx, account, what)
    if row.state == DONE:
        return Came(
            what.name, DONE, what.size, row.lines, 0, row.stored + row.known, row.unread, row.problem, before=True
        )
    reading = _Reading(ctx, account, what, row)
    try:
        for cut in account.carrier.cut(file):
            reading.take(cut)
            if reading.full:
                reading.store()
                if progress is not None:
                    progress(reading.came_to)
    except BadPayload as error:
        reading.problem = plain(f"{error.where}: {error.problem}", 500)
    except MemoryError:
        raise
    except (ReadElsewhere, sa.exc.SQLAlchemyError, OSError):
        raise
    except Exception as error:  # a plugin may raise anything; it would again
        reading.problem = f"cannot be cut: {fault(error, type(account.source).__module__)}"
        ctx.log.warning("file_not_cut", account=account.name, error=reading.problem)
    reading.end()
    return reading.came()


def _begin(ctx: AppContext, account: Account, what: File) -> Row[Any]:
    """Take the row of a file, made where there is none: from now on nobody else stores of it."""
    with ctx.store.write() as connection:
        now = ctx.now()
        mine = (
            _F.account == account.name, _F.place == what.place, _F.name == what.name, _F.size == what.size
        )  # fmt: skip
        connection.execute(files.delete().where(*mine, _F.sha256 == ""))  # it waited to be whole, and is
        fresh = {
            "account": account.name, "place": what.place, "name": what.name, "size": what.size, "modified": what.modified,
            "sha256": what.sha256, "state": READING, "seen_at": now, "listed_at": now, "read_to": 0, "lines": 0, "stored": 0,
            "known": 0, "unread": 0, "attempts": 0,
        }  # fmt: skip
        queries.put(connection, files, [fresh])
        this = sa.select(files).where(*mine, _F.sha256 == what.sha256)
        row = connection.execute(queries.locked(connection, this)).one()
        again = {"modified": what.modified, "listed_at": now}
        if row.state != DONE:
            again |= {"state": READING, "problem": None, "ended_at": None, "attempts": row.attempts + 1}
            again["claimed_until"] = database_now(connection) + LEASE
            if row.state == FAILED:  # once more from its beginning: its plugin, or the YAML, reads it otherwise now
                again |= {"read_to": 0, "lines": 0, "stored": 0, "known": 0, "unread": 0}
        connection.execute(files.update().where(_F.id == row.id).values(again))
        return connection.execute(sa.select(files).where(_F.id == row.id)).one()


class _Reading:
    """A file while it is read."""

    def __init__(self, ctx: AppContext, account: Account, what: File, row: Row[Any]) -> None:
        self._ctx, self._account, self._what, self._row = ctx, account, what, row
        self._waiting: list[tuple[Cut, Payload]] = []
        self._bytes = 0
        self._told = self._dead = 0  # payloads that say something, and those of which nothing can be read
        self._first = ""  # what is wrong with the first payload of which nothing can be read
        self.came_to: int = row.read_to
        self.problem: str | None = None
        self._counts = {name: getattr(row, name) for name in ("lines", "stored", "known", "unread")}

    @property
    def full(self) -> bool:
        """Say whether a batch is together."""
        return len(self._waiting) >= MOST_ROWS or self._bytes >= MOST_BYTES

    def take(self, cut: Cut) -> None:
        """Take a payload, unless it was stored before."""
        if cut.end <= self._row.read_to:
            return
        headers = {NAME: plain(self._what.name, 200), LINE: str(cut.line)}
        payload = Payload(self._account.name, "file", cut.parts, self._ctx.now(), headers)
        self._waiting.append((cut, payload))
        self._bytes += sum(map(len, cut.parts))

    def store(self) -> None:
        """Store what is together, and how far that is. Raises ReadElsewhere."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        if self._ctx.stopping():
            raise ReadElsewhere(f"{self._what.name}: left at byte {self.came_to}: this process ends")
        with self._ctx.leases.reading():
            unread = sum(self._unread(payload) for _, payload in waiting)
        rows = [
            queries.payload_row(
                self._account.name, "file", payload.parts, payload.received_at, None, headers=payload.headers,
                dedupe_key=_key(cut),
            )
            for cut, payload in waiting
        ]  # fmt: skip
        with self._ctx.store.write() as connection:
            stored = queries.store_payloads(connection, rows)
            self._counts["lines"] += sum(cut.lines for cut, _ in waiting)
            self._counts["stored"] += stored
            self._counts["known"] += len(rows) - stored
            self._counts["unread"] += unread
            self.came_to = waiting[-1][0].end
            until = database_now(connection) + LEASE
            self._keep(connection, read_to=self.came_to, claimed_until=until, **self._counts)
            crash_at("file_before_commit")
        crash_at("file_after_commit")
        self._ctx.notify("ingest")

    def end(self) -> None:
        """Store what is left, and what came of the file: it failed where nothing of it can be read."""
        self.store()
        failed = self.problem is not None or (self._dead > 0 and not self._told and not self._row.read_to)
        if failed and self.problem is None:
            self.problem = plain(f"nothing of it can be read{self._first}", 500)
        elif not failed and not self._what.size:
            self.problem = "is empty"
        self._state = FAILED if failed else DONE
        with self._ctx.store.write() as connection:
            self._keep(
                connection, state=self._state, problem=self.problem, ended_at=self._ctx.now(), claimed_until=None,
                **({"read_to": self._what.size} if not failed else {}),
            )  # fmt: skip

    def came(self) -> Came:
        """Say what came of it."""
        return Came(self._what.name, self._state, self._what.size, **self._counts, problem=self.problem)

    def _keep(self, connection: Connection, **values: Any) -> None:
        """Change its row while it is ours. Raises ReadElsewhere."""
        ours = (_F.id == self._row.id, _F.attempts == self._row.attempts, _F.state == READING)
        if not connection.execute(files.update().where(*ours).values(values)).rowcount:
            raise ReadElsewhere(f"{self._what.name}: another process reads it now")

    def _unread(self, payload: Payload) -> int:
        """Count what cannot be read of a payload, as stage A will find it."""
        try:
            items = list(self._account.source.normalize(payload))
        except MemoryError:
            raise
        except Exception as error:
            self._dead += 1
            said = f"{error.where}: {error.problem}" if isinstance(error, BadPayload) else type(error).__name__
            self._first = self._first or f": {said}"
            return 1
        pieces = [item for item in items if isinstance(item, Unread)]
        if len(items) > len(pieces):
            self._told += 1
        elif pieces:
            self._dead += 1
            self._first = self._first or f": {pieces[0].where}: {pieces[0].problem}"
        return len(pieces)


def _key(cut: Cut) -> str:
    """Identify a part of a file by what it holds and where it stands: a file that comes again has the same ones."""
    told = hashlib.sha256(b"%d" % cut.line)
    for part in cut.parts:
        told.update(b"/%d/" % len(part))
        told.update(part)
    return f"file/{told.hexdigest()}"
