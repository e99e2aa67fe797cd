"""Cut a file into payloads: each holds what it needs to be read alone, and says which lines of the file it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from tracker.plugin.payloads import BOM

NAME, LINE = "file", "line"  # what a payload's headers say of the file that it was cut from, and where it began in it
MOST_LINE = 64 << 10  # of a longer line its beginning is kept: it cannot be read, and is told


@dataclass(frozen=True, slots=True)
class Cut:
    """A payload of a file: its parts, the line with which it begins (from 1), how many lines it is, where it ends in bytes."""

    parts: tuple[bytes, ...]
    line: int
    lines: int
    end: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file without its end: its number (from 1), and where it ends in bytes. `long`: only its beginning is here."""

    text: bytes
    number: int
    end: int
    long: bool = False


def lines(file: BinaryIO) -> Iterator[Line]:
    """Read a file line by line, in bounded memory: LF or CRLF, the last one with or without; a byte-order mark is skipped."""
    end = number = 0
    while text := file.readline(MOST_LINE):
        number += 1
        end += len(text)
        long = False
        last = text
        while not last.endswith(b"\n") and len(last) == MOST_LINE:
            last = file.readline(MOST_LINE)
            end += len(last)
            long = long or bool(last.strip(b"\r\n"))
        if number == 1:
            text = text.removeprefix(BOM)
        yield Line(text.rstrip(b"\r\n"), number, end, long)
