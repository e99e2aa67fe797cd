"""Where files lie: what is told of each there, and which names are files at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from tracker.config.places import FilesPart


@dataclass(frozen=True)
class Entry:
    """A file as its place lists it; `odd` says why it is left where it is, `whole` that its semaphore is there."""

    name: str
    size: int = 0
    modified: int = 0
    odd: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Left:
    """Something that a person must put right, and what to do; `name`: of which file, empty of the place."""

    name: str
    said: str


class Place(Protocol):
    """A folder of this machine, or of a server, while it is looked at. Its methods raise OSError, or from the error tree."""

    place: str

    def entries(self) -> Sequence[Entry]:
        """List what lies there under a name that a file may have."""

    def open(self, entry: Entry) -> BinaryIO:
        """Open a file to be read. Raises FileNotFoundError where it is gone."""

    def same(self, entry: Entry) -> bool:
        """Say whether it is still as it was listed."""

    def after(self, entry: Entry, *, failed: bool) -> None:
        """Do what is to be done with a file that was read."""


def is_file(part: FilesPart, name: str) -> bool:
    """Say whether a name is one of a file that is wanted: not of one that is not whole yet, and of no semaphore."""
    if part.semaphore is not None and fnmatchcase(name, part.semaphore.replace("{name}", "*").replace("{stem}", "*")):
        return False
    fits = any(fnmatchcase(name, pattern) for pattern in part.only)
    return fits and not any(fnmatchcase(name, pattern) for pattern in part.skip)


def odd_folder(name: str) -> str:
    """Say why a folder that lies among the files is left, where its name is that of a file; empty for any other: it is none of ours."""
    return "is a folder: what lies in it is not read" if PurePosixPath(name).suffix else ""


def semaphore_of(part: FilesPart, name: str) -> str | None:
    """Return the name of the file which says that this one is whole; None where looks tell it."""
    if part.semaphore is None:
        return None
    return part.semaphore.replace("{name}", name).replace("{stem}", name.rpartition(".")[0] or name)
