"""Look where the files of accounts come: one that is whole is read, what was read is put aside, what cannot be is told.

An account is looked at by one process at a time. A file is whole when two looks, one after the other, find it as it was, or when
its semaphore is there; until then it waits, as a row of `files`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import Refused, SourceError
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import backoff, tell
from tracker.pipeline.context import AppContext
from tracker.pipeline.files import folder
from tracker.pipeline.files.place import Entry, Left, Place
from tracker.pipeline.files.read import DONE, FAILED, READING, WAITING, Came, File, ReadElsewhere, hashed, read_file
from tracker.store import queries
from tracker.store.codec import plain
from tracker.store.engine import database_now
from tracker.store.tables import accounts, files, findings

MOST_TOLD = 20  # names in one finding
SEEN_EVERY = timedelta(days=1)
_F = files.c
_KIND = FindingKind.FILE_FAILED


def run(ctx: AppContext) -> int:
    """Look for the files of one account whose time it is. Returns how many accounts were looked at."""
    for account in _due(ctx):
        if _claim(ctx, account):
            look(ctx, account)
            return 1
    return 0


def _due(ctx: AppContext) -> list[Account]:
    known = {account.name: account for account in ctx.config.file_accounts}
    if not known:
        return []
    with ctx.store.read() as connection:
        due = queries.files_due(list(known), database_now(connection), ctx.now())
        return [known[name] for name in connection.execute(due).scalars()]


def _claim(ctx: AppContext, account: Account) -> bool:
    """Say when it is looked at next; False where another process was first."""
    assert account.files is not None
    with ctx.store.write() as connection:
        business = ctx.now()
        due = queries.files_due([account.name], database_now(connection), business).scalar_subquery()
        later = accounts.update().where(accounts.c.name == due).values(files_at=business + account.files.every)
        return bool(connection.execute(later).rowcount)


def prove(ctx: AppContext, account: Account) -> str:
    """Look at the place of an account and change nothing. Returns what is there. Raises from the error tree, with what to do."""
    where = _where(account)
    try:
        with _opened(ctx, account) as place:
            there = place.entries()
            if account.folder is not None and not os.access(account.folder.path, os.W_OK):
                raise Refused(f"{where}: what was read cannot be moved aside: have its user write there")
    except OSError as error:
        raise Refused(f"{where}: {_said(account, error)}") from None
    left = [f"{one.name if one.name.isprintable() else ascii(one.name)} {one.odd}" for one in there if one.odd]
    more = f", and {len(left) - MOST_TOLD} more" if len(left) > MOST_TOLD else ""
    told = f"; left: {', '.join(left[:MOST_TOLD])}{more}" if left else ""
    return f"{where}: fine, {len(there) - len(left)} files lie there{told}"


def _opened(ctx: AppContext, account: Account) -> AbstractContextManager[Place]:
    if account.folder is not None:
        return folder.opened(account.folder)
    assert account.sftp is not None
    assert ctx.sftp is not None
    return ctx.sftp(account.sftp)


def _where(account: Account) -> str:
    if account.folder is not None:
        return account.folder.path
    assert account.sftp is not None
    return f"{account.sftp.host}: {account.sftp.path}"


def _said(account: Account, error: OSError) -> str:
    """Say why a place cannot be used, and who can change that."""
    who = "the worker's user" if account.folder is not None else "our user there"
    said = error.strerror or type(error).__name__
    if isinstance(error, NotADirectoryError):
        return f"{said}: name the folder in which the files come"
    make = "make it, and " if isinstance(error, FileNotFoundError) else ""
    return f"{said}: {make}have {who} read and write it"


def look(ctx: AppContext, account: Account) -> None:
    """Look at the place of an account once. Raises nothing that the place or a file is the cause of: that is a finding."""
    left: list[Left] = []
    failed: SourceError | None = None
    try:
        with _opened(ctx, account) as place:
            _Look(ctx, account, place, left).all()
    except OSError as error:
        left.append(Left("", _said(account, error)))
    except Refused as error:
        left.append(Left("", str(error)))
    except SourceError as error:
        failed = error
    if account.sftp is not None:
        with ctx.store.write() as connection:
            backoff.hear(ctx, connection, account, [failed], database_now(connection), ctx.now())
    if failed is None:
        _tell(ctx, account, _where(account), left)


class _Look:
    """One look at a place."""

    def __init__(self, ctx: AppContext, account: Account, place: Place, left: list[Left]) -> None:
        self._ctx, self._account, self._place, self._left = ctx, account, place, left

    def all(self) -> None:
        """Take each file that is whole, by name."""
        entries = sorted(self._place.entries(), key=lambda one: one.name)
        self._left += [Left(one.name, one.odd) for one in entries if one.odd]
        entries = [one for one in entries if not one.odd]
        for entry, row in self._whole(entries):
            if self._ctx.stopping():
                return
            try:
                self._take(entry, row)
            except FileNotFoundError:
                continue  # somebody took it away meanwhile
            except OSError as error:
                self._left.append(Left(entry.name, error.strerror or type(error).__name__))
            except ReadElsewhere as error:
                self._ctx.log.info("file_left", account=self._account.name, said=str(error))

    def _whole(self, entries: Sequence[Entry]) -> list[tuple[Entry, Row[Any] | None]]:
        """Note what is seen, and return what is whole with what is known of it."""
        found: list[tuple[Entry, Row[Any] | None]] = []
        with self._ctx.store.write() as connection:
            now, database = self._ctx.now(), database_now(connection)
            known = self._known(connection, entries)
            fresh, seen = [], []
            for entry in entries:
                rows = known.get(entry.name, [])
                same = next((r for r in rows if (r.size, r.modified) == (entry.size, entry.modified)), None)
                waits = next((r for r in rows if r.state == WAITING), None)
                if same is not None and same.listed_at <= now - SEEN_EVERY:
                    seen.append(same.id)
                if same is not None and same.state != WAITING:
                    if same.claimed_until is None or same.claimed_until < database:
                        found.append((entry, same))
                elif same is not None or entry.whole:
                    if entry.whole or (same is not None and same.seen_at < now):
                        found.append((entry, None))
                elif waits is not None:
                    changed = {"size": entry.size, "modified": entry.modified, "seen_at": now, "listed_at": now}
                    connection.execute(files.update().where(_F.id == waits.id).values(changed))
                else:
                    fresh.append(self._waiting(entry, now))
            queries.put(connection, files, fresh)
            names = queries.among(connection, _F.name, [entry.name for entry in entries])
            here = (_F.account == self._account.name, _F.place == self._place.place, _F.state == WAITING)
            connection.execute(files.delete().where(*here, ~names))  # taken away before it was whole
            connection.execute(files.update().where(queries.among(connection, _F.id, seen)).values(listed_at=now))
        return found

    def _known(self, connection: Connection, entries: Sequence[Entry]) -> dict[str, list[Row[Any]]]:
        names = queries.among(connection, _F.name, [entry.name for entry in entries])
        here = sa.select(files).where(_F.account == self._account.name, _F.place == self._place.place, names)
        found = defaultdict[str, list[Row[Any]]](list)
        for row in connection.execute(here.order_by(_F.id)):
            found[row.name].append(row)
        return found

    def _waiting(self, entry: Entry, now: datetime) -> dict[str, Any]:
        return {
            "account": self._account.name, "place": self._place.place, "name": entry.name, "size": entry.size,
            "modified": entry.modified, "sha256": "", "state": WAITING, "seen_at": now, "listed_at": now, "read_to": 0, "lines": 0,
            "stored": 0, "known": 0, "unread": 0, "attempts": 0,
        }  # fmt: skip

    def _take(self, entry: Entry, row: Row[Any] | None) -> None:
        """Read a file and put it aside; one that was read before is put aside only."""
        if row is not None and row.state != READING:
            self._aside(entry, failed=row.state == FAILED)
            return
        with self._place.open(entry) as file:
            size, sha256 = hashed(file)
            if size != entry.size or not self._place.same(entry):
                return  # it is being written: the next look finds it changed
            what = File(self._place.place, entry.name, size, entry.modified, sha256)
            came = read_file(self._ctx, self._account, file, what)
        if came.state == FAILED or came.unread:
            self._ctx.log.warning(
                "file_not_whole", account=self._account.name, file=entry.name, state=came.state, unread=came.unread
            )
        _failed(self._ctx, self._account, self._place.place, came)
        self._aside(entry, failed=came.state == FAILED)

    def _aside(self, entry: Entry, *, failed: bool) -> None:
        try:
            self._place.after(entry, failed=failed)
        except FileNotFoundError:
            return
        except OSError as error:
            said = error.strerror or type(error).__name__
            self._left.append(Left(entry.name, f"was read, and cannot be moved aside: {said}; it is not read again"))


def _failed(ctx: AppContext, account: Account, place: str, came: Came) -> None:
    """Tell of a file of which nothing could be read; it is over once one of its name is read."""
    subject = plain(f"account/{account.name}/file/{came.name}", 300)
    if came.state == DONE:
        _close(ctx, subject, "a file of this name was read")
        return
    evidence = {"file": came.name, "place": place, "problem": came.problem or ""}
    _open(
        ctx,
        account,
        subject,
        evidence,
        f"mend it, or the account's entry; then: `tracker ingest --account {account.name} FILE`",
    )


def _tell(ctx: AppContext, account: Account, place: str, left: Sequence[Left]) -> None:
    """Tell what is wrong with a place, in one finding; it is over when a look finds nothing wrong."""
    subject = f"account/{account.name}/files"
    if not left:
        _close(ctx, subject, "nothing is wrong with its place any more")
        return
    told = [f"{one.name}: {one.said}" if one.name else one.said for one in left[:MOST_TOLD]]
    more = [f"and {len(left) - MOST_TOLD} more"] if len(left) > MOST_TOLD else []
    evidence = {"place": place, "problem": "; ".join([*told, *more])}
    _open(ctx, account, subject, evidence, f"put it right in {place}; it is looked at again by itself")


def _open(ctx: AppContext, account: Account, subject: str, evidence: dict[str, str], proposal: str) -> None:
    said = {"account": account.name, **{name: plain(value, 2_000) for name, value in evidence.items()}}
    with ctx.store.write() as connection:
        now = ctx.now()
        finding = Finding(_KIND, subject, Severity.WARNING, Act.ACT, said, now, plain(proposal, 500))
        tell.report_findings(ctx, connection, [(None, finding)], now, by="files")


def _close(ctx: AppContext, subject: str, why: str) -> None:
    f = findings.c
    stands = sa.and_(f.subject == subject, f.kind == _KIND, f.closed_at.is_(None))
    with ctx.store.read() as connection:
        if connection.execute(sa.select(f.id).where(stands)).first() is None:
            return
    with ctx.store.write() as connection:
        queries.close_findings(connection, stands, ctx.now(), "files", why)
