"""A list as a file, to be worked off elsewhere and given back: CSV or NDJSON, a row a line, its id first."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tracker.config.files import Unfit, read_bounded, write_private
from tracker.domain.errors import ConfigError
from tracker.domain.masking import mask

MOST_BYTES = 100_000_000
MOST_ID = (1 << 63) - 1
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


class Line(NamedTuple):
    """A line of a file that names a row: where it stands, and what it says in the columns that name it."""

    place: str
    values: Mapping[str, str]


def write(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows into a new file that only we can read, by its name's end. Returns how many. Raises ConfigError for another end, or where it is there."""
    names = ["id", *columns]
    if path.suffix not in (".csv", ".ndjson"):
        raise ConfigError(f"{path}: must end in .csv or .ndjson")
    if path.exists():
        raise ConfigError(f"{path} is there already")
    out, count = io.StringIO(newline=""), 0
    table = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    if path.suffix == ".csv":
        table.writeheader()
    for row in rows:
        count += 1
        if path.suffix == ".csv":
            table.writerow({name: _cell(row[name]) for name in names})
        else:
            out.write(mask(orjson.dumps({name: row[name] for name in names}, option=orjson.OPT_UTC_Z).decode()) + "\n")
    write_private(path, out.getvalue().encode())
    return count


def _cell(value: Any) -> str:
    """Return a value as a spreadsheet may hold it: a text that it would run begins with a quote."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    text = mask(str(value))
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def read(path: Path, column: str) -> list[Line]:
    """Return the lines of a file that has a column of this name. Raises ConfigError for a file that is no such list, with its place."""
    if path.suffix not in (".csv", ".ndjson"):
        raise ConfigError(f"{path}: must end in .csv or .ndjson")
    try:
        text = read_bounded(path, MOST_BYTES).decode("utf-8-sig")
    except Unfit as error:
        raise ConfigError(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8, at byte {error.start}") from None
    return list(_of_csv(path, text, column) if path.suffix == ".csv" else _of_ndjson(path, text, column))


def _of_csv(path: Path, text: str, column: str) -> Iterator[Line]:
    table = csv.reader(io.StringIO(text, newline=""))
    try:
        names = next(table, [])
        if column not in names:
            raise ConfigError(f"{path}:1: there is no column {column!r}: {', '.join(names)[:200] or 'it is empty'}")
        for values in table:
            if any(value.strip() for value in values):
                given = dict(zip(names, values, strict=False))
                yield Line(f"{path}:{table.line_num}", {k: v.strip() for k, v in given.items()})
    except csv.Error as error:
        raise ConfigError(f"{path}:{table.line_num}: {error}") from None


def _of_ndjson(path: Path, text: str, column: str) -> Iterator[Line]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except ValueError:
            raise ConfigError(f"{path}:{number}: is no JSON") from None
        if not isinstance(row, dict) or column not in row:
            raise ConfigError(f"{path}:{number}: is no object with {column!r}")
        yield Line(f"{path}:{number}", {k: str(v) for k, v in row.items() if v is not None})


def id_of(line: Line) -> int | None:
    """Return the id that a line names; None where what stands there can be none."""
    said = line.values.get("id", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 20 and int(said) <= MOST_ID else None
