"""Where an export is written: lines to a file that is gone on with, or parts of Parquet in a folder; always whole ones.

A cursor lies beside it (`FILE.cursor`, `FOLDER/cursor.json`), written after what it speaks of. Whatever comes between, going on
cuts the file to what the cursor knows, or writes the part of that number again: nothing is lost, doubled or half.
"""

from __future__ import annotations

import csv
import fcntl
import importlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson

from tracker.config.files import write_private
from tracker.domain.errors import TrackerError
from tracker.domain.masking import mask_bytes
from tracker.support.exports import SCHEMA, Column, Cursor, Wanted
from tracker.support.report_forms import safe_cell

PART_ROWS = 500_000  # of a file of Parquet
GROUP_ROWS = 50_000  # held in memory
_JSON = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
Row = Mapping[str, Any]


class Unwritable(TrackerError):
    """An export that cannot be written there, or not gone on with: why, and what to do."""


class Target(Protocol):
    """Where rows go. What `put` was given last may be lost; what was before is not. `cursor`: what it goes on with; `since`: its first moment.

    `ended`: where what is there ends; None: behind what was put.
    """

    cursor: Cursor | None
    since: datetime | None
    ended: Cursor | None

    def put(self, rows: Sequence[Row], cursor: Cursor) -> None:
        """Write rows; `cursor` stands behind them."""

    def close(self) -> None:
        """End it: what was put is there."""


def lines_of(form: str, columns: Sequence[Column]) -> Callable[[Sequence[Row]], str]:
    """Return what makes whole lines of rows, as `ndjson` or `csv`."""
    if form == "ndjson":
        return lambda rows: b"".join(orjson.dumps(row, option=_JSON, default=str) for row in rows).decode()

    def cells(rows: Sequence[Row]) -> str:
        page = io.StringIO()
        writer = csv.writer(page, lineterminator="\n")
        writer.writerows([_cell(column, row[column.name]) for column in columns] for row in rows)
        return page.getvalue()

    return cells


def head_of(form: str, columns: Sequence[Column]) -> str:
    """Return the head of lines: the names of the columns in CSV, nothing in NDJSON."""
    return ",".join(column.name for column in columns) + "\n" if form == "csv" else ""


def _cell(column: Column, value: Any) -> Any:
    if column.kind == "json":
        value = _json(value)
    if column.kind == "bool":
        return str(bool(value)).lower()
    return safe_cell(value)


def _json(value: Any) -> str | None:
    return orjson.dumps(value, default=str).decode() if value is not None else None


class Lines:
    """Lines that are shown as they come."""

    cursor: Cursor | None = None
    ended: Cursor | None = None

    def __init__(self, form: str, wanted: Wanted, show: Callable[[str], None]) -> None:
        """`show` takes whole lines."""
        self.since = wanted.since
        self._show, self._lines = show, lines_of(form, wanted.columns)
        self._show(head_of(form, wanted.columns))

    def put(self, rows: Sequence[Row], cursor: Cursor) -> None:
        """Show rows."""
        del cursor
        if rows:
            self._show(self._lines(rows))

    def close(self) -> None:
        """Nothing is held back."""


class _Noted:
    """A cursor beside an export, and what the export is of: another one does not go on there."""

    def __init__(self, path: Path, form: str, wanted: Wanted) -> None:
        self.path = path
        self.of = {
            "kind": wanted.kind, "format": form, "schema": SCHEMA, "store": wanted.store, "personal_data": wanted.personal,
            "since": wanted.said, "restored": wanted.restored,
        }  # fmt: skip
        self.since = wanted.since

    def read(self) -> dict[str, Any] | None:
        """Return what is noted, None where nothing is. Raises Unwritable where it is of something else."""
        try:
            told: dict[str, Any] = orjson.loads(self.path.read_bytes())
            cursor, of, begun = told["cursor"], told["of"], told["begun"]
            since = datetime.fromisoformat(begun) if begun is not None else None
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            raise Unwritable(f"{self.path} is no cursor of an export: move it away, and begin anew") from None
        if of.get("restored") != self.of["restored"]:
            raise Unwritable(
                f"{self.path}: a backup was put back since, and ids behind it are other rows' now: begin anew"
            )
        for name, value in self.of.items():
            if of.get(name) != value and (name != "since" or value is not None):
                raise Unwritable(
                    f"{self.path}: that export was made with {name} {of.get(name)}, not {value}: it cannot be gone on with"
                )
        self.since = since  # that of its beginning: the same words mean a later one now
        return {**told, "cursor": Cursor({str(k): int(v) for k, v in cursor["after"].items()}, int(cursor["rows"]))}

    def write(self, cursor: Cursor, **more: Any) -> None:
        """Note it."""
        begun = self.since.isoformat() if self.since is not None else None
        told = {"of": self.of, "begun": begun, "cursor": {"after": cursor.after, "rows": cursor.rows}, **more}
        write_private(self.path, orjson.dumps(told, option=orjson.OPT_INDENT_2))


class LinesFile:
    """A file of lines that only we can read."""

    ended: Cursor | None = None

    def __init__(self, path: Path, form: str, wanted: Wanted, *, resume: bool) -> None:
        """Begin it, or (`resume`) go on with it: `cursor` says from where. Raises Unwritable, and OSError with the name."""
        self._path, self._lines = path, lines_of(form, wanted.columns)
        self._noted = _Noted(path.with_name(f"{path.name}.cursor"), form, wanted)
        known = self._noted.read() if resume else None
        if known is None and os.path.lexists(path) and not (resume and path.is_file() and not path.stat().st_size):
            raise Unwritable(f"{path} is there already: --resume goes on with an export, any other file stays as it is")
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            self._file = os.fdopen(handle, "r+b", buffering=0)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        _alone(handle, path, self._file.close)
        known = self._noted.read() if known is not None else None  # as who wrote it until now left it
        self.cursor: Cursor | None = None
        self.since = self._noted.since
        self._whole = 0  # bytes, up to the last whole line
        if known is None:
            self._noted.write(Cursor(), bytes=0)  # before there is anything in it: what is cut off can be gone on with
        else:
            self.cursor = known["cursor"]
            if os.fstat(handle).st_size < known["bytes"]:
                self._file.close()
                raise Unwritable(f"{path} is shorter than when it was left: it was changed, and cannot be gone on with")
            self._whole = known["bytes"]
            self._file.truncate(self._whole)
            self._file.seek(self._whole)
        if not self._whole:
            self._file.truncate(0)
            self._write(head_of(form, wanted.columns))

    def put(self, rows: Sequence[Row], cursor: Cursor) -> None:
        """Write rows, and note how far that is."""
        self._write(self._lines(rows))
        self._noted.write(cursor, bytes=self._whole)

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def _write(self, text: str) -> None:
        body = memoryview(mask_bytes(text.encode()))
        size = len(body)
        try:
            while body:
                body = body[self._file.write(body) :]
            os.fsync(self._file.fileno())
            self._whole += size
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._whole)
            raise OSError(error.errno, error.strerror, str(self._path)) from None


def _alone(handle: int, path: Path, close: Callable[[], None]) -> None:
    """Keep others from writing an export until it is closed. Raises Unwritable where another writes it; it is closed then."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        close()
        raise Unwritable(f"{path} is being written by another export: wait for its end") from None


class ParquetFolder:
    """A folder with parts of Parquet: each is written beside, and then given its name."""

    def __init__(self, folder: Path, wanted: Wanted, *, resume: bool) -> None:
        """Begin it, or (`resume`) go on with it. Raises Unwritable where it cannot be, and OSError with the name."""
        self._arrow, self._parquet = _arrow()
        self._folder, self._wanted = folder, wanted
        self._noted = _Noted(folder / "cursor.json", "parquet", wanted)
        known = self._noted.read() if resume else None
        folder.mkdir(mode=0o700, exist_ok=True)
        self._handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        _alone(self._handle, folder, partial(os.close, self._handle))
        if known is None and any(folder.iterdir()):
            os.close(self._handle)
            raise Unwritable(f"{folder} is not empty: --resume goes on with an export; else name a new folder")
        if known is None:
            self._noted.write(Cursor(), parts=0)  # before there is anything in it: what is cut off can be gone on with
        else:
            known = self._noted.read()  # as who wrote it until now left it
        self.cursor: Cursor | None = known["cursor"] if known else None
        self.since = self._noted.since
        self._part = int(known["parts"]) if known else 0
        self._schema = self._arrow.schema(
            [(column.name, _types(self._arrow)[column.kind]) for column in wanted.columns],
            metadata={"trackwright.export": wanted.kind, "trackwright.schema": str(SCHEMA)},
        )
        self._held: list[Row] = []
        self._writer: Any = None
        self._written = 0
        self._behind = Cursor()
        self._failed = False
        self.ended: Cursor | None = self.cursor or Cursor()

    def put(self, rows: Sequence[Row], cursor: Cursor) -> None:
        """Hold rows until they make a group, and groups until they make a part. Raises OSError with the name where none can be written."""
        self._held += rows
        self._behind = Cursor(dict(cursor.after), cursor.rows)
        with self._whole():
            if len(self._held) >= GROUP_ROWS:
                self._group()
            if self._written >= PART_ROWS:
                self._end()

    def close(self) -> None:
        """End the part that is begun; where there is none at all, make an empty one, so that its columns can be read."""
        try:
            if not self._failed:
                with self._whole():
                    self._group()
                    if self._writer is None and not self._part:
                        self._begin()
                    self._end()
        finally:
            os.close(self._handle)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Where something fails, leave no half part, which nobody could end: it is made again by who goes on."""
        try:
            yield
        except BaseException as error:
            self._failed = True
            if self._writer is not None:
                with suppress(Exception):
                    self._writer.close()
            self._draft.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno is not None:
                raise OSError(error.errno, os.strerror(error.errno), str(self._folder)) from None
            raise

    @property
    def _draft(self) -> Path:
        return self._folder / f".{self._wanted.kind}-{self._part + 1:06}.parquet.part"

    def _begin(self) -> None:
        self._writer = self._parquet.ParquetWriter(self._draft, self._schema, compression="zstd")

    def _group(self) -> None:
        if not self._held:
            return
        columns = {
            column.name: [_value(column, row[column.name]) for row in self._held] for column in self._wanted.columns
        }
        if self._writer is None:
            self._begin()
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))
        self._written += len(self._held)
        self._held = []

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            os.chmod(self._draft, 0o600)
            os.replace(self._draft, self._folder / f"{self._wanted.kind}-{self._part + 1:06}.parquet")
            self._writer, self._written, self._part = None, 0, self._part + 1
        if self._behind.after:
            self._noted.write(self._behind, parts=self._part)
            self.ended = self._behind


def _value(column: Column, value: Any) -> Any:
    if column.kind == "json":
        return mask_bytes((_json(value) or "null").encode()).decode()
    if column.kind == "moment" and isinstance(value, datetime):
        return value.astimezone(UTC)
    return mask_bytes(value.encode()).decode() if isinstance(value, str) else value


def _arrow() -> tuple[Any, Any]:
    """Return pyarrow and its Parquet. Raises Unwritable where it is not installed."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise Unwritable(
            "Parquet needs pyarrow, which is not installed: pip install 'trackwright[parquet]'; or --format ndjson"
        ) from None


def _types(arrow: Any) -> dict[str, Any]:
    text = arrow.string()
    return {"int": arrow.int64(), "text": text, "json": text, "bool": arrow.bool_(), "list": arrow.list_(text),
            "moment": arrow.timestamp("us", "UTC")}  # fmt: skip
