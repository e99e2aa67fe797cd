"""A folder of this machine. Nothing outside of it is read or written: no link is followed, whatever stands in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

from tracker.config.places import FolderPart
from tracker.pipeline.files.place import Entry, is_file, odd_folder, semaphore_of

DONE, FAILED = "done", "failed"
MOST_CLASHES = 10_000


class Folder:
    """A folder that is open: whatever becomes of its path meanwhile, it is this one."""

    def __init__(self, part: FolderPart, handle: int) -> None:
        """`handle` is the open folder."""
        self.place = os.path.realpath(part.path)
        self._part, self._handle = part, handle

    def entries(self) -> Sequence[Entry]:
        """List the files; what is a link, a pipe, a folder named as a file or too large is odd. Other folders are none of ours."""
        with os.scandir(self._handle) as there:
            listed = {one.name: one for one in there}
        found = []
        for name, one in listed.items():
            if not is_file(self._part, name):
                continue
            try:
                told = one.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(told.st_mode) or odd_folder(name):
                whole = semaphore_of(self._part, name) in listed
                found.append(Entry(name, told.st_size, told.st_mtime_ns, self._odd(name, told), whole))
        return found

    def _odd(self, name: str, told: os.stat_result) -> str:
        if stat.S_ISDIR(told.st_mode):
            return odd_folder(name)
        if not stat.S_ISREG(told.st_mode):
            return "is a link: it is not followed" if stat.S_ISLNK(told.st_mode) else "is no file"
        if told.st_size > self._part.largest:
            return f"has {told.st_size} bytes, more than `largest` ({self._part.largest})"
        return "" if name.isprintable() else "its name is no text that can be printed"

    def open(self, entry: Entry) -> BinaryIO:
        """Open a file; never a link or a pipe that stands there by now. Raises OSError."""
        handle = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._handle)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise FileNotFoundError(entry.name)
        return os.fdopen(handle, "rb")

    def same(self, entry: Entry) -> bool:
        """Say whether a file is still as it was listed."""
        try:
            told = os.stat(entry.name, dir_fd=self._handle, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return stat.S_ISREG(told.st_mode) and (told.st_size, told.st_mtime_ns) == (entry.size, entry.modified)

    def after(self, entry: Entry, *, failed: bool) -> None:
        """Move a file aside, unless another stands under its name by now; its semaphore goes with it. Raises OSError."""
        if not self.same(entry):
            return
        name = FAILED if failed else DONE
        with suppress(FileExistsError):
            os.mkdir(name, 0o750, dir_fd=self._handle)
        aside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._handle)
        try:
            self._move(entry.name, aside)
            if (semaphore := semaphore_of(self._part, entry.name)) is not None:
                with suppress(FileNotFoundError):
                    self._move(semaphore, aside)
        finally:
            os.close(aside)

    def _move(self, name: str, aside: int) -> None:
        """Move a file under its name, or NAME.1, NAME.2, ... where that is taken: nothing there is written over."""
        for count in range(MOST_CLASHES):
            there = f"{name}.{count}" if count else name
            try:
                os.close(os.open(there, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=aside))
            except FileExistsError:
                continue
            try:
                os.rename(name, there, src_dir_fd=self._handle, dst_dir_fd=aside)
            except BaseException:
                os.unlink(there, dir_fd=aside)
                raise
            return
        raise FileExistsError(name)


@contextmanager
def opened(part: FolderPart) -> Iterator[Folder]:
    """Open a folder. Raises OSError."""
    handle = os.open(part.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Folder(part, handle)
    finally:
        os.close(handle)
