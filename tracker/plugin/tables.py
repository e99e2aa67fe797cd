"""Read files that are tables: a head names the columns, a line is a record. RFC 4180 (read 2026-11), but no quoted line feeds.

A file is cut after each hundred lines; each payload holds the head too. Both are the bytes as they came.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Payload
from tracker.plugin.files import LINE, MOST_LINE, Cut, lines
from tracker.plugin.payloads import BOM, MARK

LINES = 100  # of a payload: what is read, and written, at once


class Form(NamedTuple):
    """How a table is written. `quote`: empty where there is none; a line is decoded by the first of `encodings` that fits it."""

    delimiter: str = ";"
    quote: str = '"'
    encodings: tuple[str, ...] = ("utf-8",)


class Head:
    """The columns of a table, by their names."""

    def __init__(self, form: Form, head: bytes) -> None:
        """Read a head. Raises BadPayload for one that names a column twice."""
        self._form = form
        names = [name.strip() for name in self._split(self._decoded(head.removeprefix(BOM)), "$")]
        while names and not names[-1]:  # a delimiter at the end of each line
            names.pop()
        if twice := next((name for name in names if name and names.count(name) > 1), None):
            raise BadPayload("$.head", f"names the column {twice[:40]} twice")
        self.names = names

    def place(self, *wanted: str) -> int | None:
        """Return where the first of these columns that is there stands, None where none is."""
        return next((self.names.index(name) for name in wanted if name in self.names), None)

    def needed(self, what: str, *wanted: str) -> int:
        """Return where one of these columns stands. Raises BadPayload where none does: what it says would be lost."""
        if (found := self.place(*wanted)) is None:
            there = ", ".join(self.names)[:200]
            raise BadPayload("$.head", f"has no column {' or '.join(wanted)} ({what}); it has {there}")
        return found

    def fields(self, line: bytes, where: str) -> list[str]:
        """Return what a line says, by column. Raises BadPayload for one that was cut off, is too long, or has a delimiter too many."""
        if len(line) > MOST_LINE:
            raise BadPayload(where, f"is longer than {MOST_LINE} bytes")
        found = self._split(self._decoded(line), where)
        if len(found) < len(self.names) or any(found[len(self.names) :]):
            raise BadPayload(where, f"has {len(found)} columns, and the head has {len(self.names)}")
        return found

    def _decoded(self, line: bytes) -> str:
        """Decode a line by the first encoding that fits; where none does, what is odd is marked."""
        for name in self._form.encodings:
            try:
                return line.decode(name).replace("\0", MARK)
            except UnicodeDecodeError:
                continue
        return line.decode(self._form.encodings[0], "replace").replace("\0", MARK)

    def _split(self, line: str, where: str) -> list[str]:
        quote = self._form.quote
        if not quote or quote not in line:
            return line.split(self._form.delimiter)
        try:
            return next(csv.reader((line,), delimiter=self._form.delimiter, quotechar=quote, strict=True))
        except csv.Error as error:
            raise BadPayload(where, f"is no CSV: {error}") from None


def cut(file: BinaryIO, check: Callable[[bytes], object]) -> Iterator[Cut]:
    """Cut a table after each hundred lines; the first part of each payload is the head.

    Raises what `check(head)` raises: nothing of a file can be read whose head lacks a column.
    """
    head, held, begins, end = b"", list[bytes](), 0, 0
    for line in lines(file):
        if not head:
            if line.text.strip():
                head = line.text
                check(head)
            continue
        if not held:
            begins = line.number
        held.append(line.text + b"?" if line.long else line.text)
        end = line.end
        if len(held) == LINES:
            yield Cut((head, b"\n".join(held)), begins, len(held), end)
            held = []
    if any(map(bytes.strip, held)):
        yield Cut((head, b"\n".join(held)), begins, len(held), end)


def records(payload: Payload) -> tuple[bytes, Iterator[tuple[int, bytes]]]:
    """Return the head of a payload that `cut` made, and its lines with their numbers in the file. Raises BadPayload for any other."""
    if len(payload.parts) != 2:
        raise BadPayload("$", "is no part of a CSV file: its head, and lines")
    head, body = payload.parts
    first = payload.headers.get(LINE, "2")
    begins = int(first) if first.isdecimal() and len(first) < 18 else 2
    listed = enumerate(body.removeprefix(BOM).split(b"\n"), begins)
    return head, ((at, line) for at, line in listed if line.strip() and line != head)  # joined files have two heads
