"""Files that are nobody else's business: what is read must be a file, small, and ours; what is written nobody else can read."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tracker.domain.errors import TrackerError

OTHERS = (
    stat.S_IRWXO | stat.S_IRGRP | stat.S_IWGRP
)  # whoever is not the owner; a group that may only enter sees nothing


class Unfit(TrackerError):
    """A file that is not read: says what is wrong with it, as in "... is no regular file"."""


def read_bounded(path: Path, most: int, *, secret: bool = False) -> bytes:
    """Read a regular file of at most `most` bytes; nothing is read of any other, and none makes us wait.

    `secret`: nobody but its owner may read it, and nobody else may put another in its place. Links are followed: a mounted secret
    of Kubernetes is one, in a folder that is open to all and sticky. What root owns and we read by our group (or by an access list,
    which shows as the group's bits) is ours too: so Kubernetes (fsGroup) and systemd (LoadCredential) hand secrets to who is not root.
    Raises Unfit.
    """
    try:
        _must_be_file(os.stat(path))
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise Unfit(f"cannot be read: {getattr(error, 'strerror', None) or 'that is no file name'}") from None
    try:
        told = os.fstat(handle)
        _must_be_file(told)  # it may have been changed since
        if secret:
            _must_be_private(path, told)
        if told.st_size > most:
            raise Unfit(f"is larger than {most} bytes")
        body = b""
        while part := os.read(handle, most + 1 - len(body)):  # what the kernel makes up has no size
            body += part
        if len(body) > most:
            raise Unfit(f"is larger than {most} bytes")
        return body
    except OSError as error:
        raise Unfit(f"cannot be read: {error.strerror}") from None
    finally:
        os.close(handle)


def _must_be_file(told: os.stat_result) -> None:
    if not stat.S_ISREG(told.st_mode):
        raise Unfit("is no regular file")


def _must_be_private(path: Path, told: os.stat_result) -> None:
    handed = told.st_uid == 0 and os.geteuid() != 0  # by root: we could not read it otherwise
    if told.st_mode & (OTHERS & ~stat.S_IRGRP if handed else OTHERS):
        raise Unfit(f"can be read by others: chmod 600 {path}")
    folder = Path(os.path.realpath(path)).parent
    named_in = path.absolute().parent
    for place, allowed in ((folder, 0), (named_in, 0 if named_in.samefile(folder) else stat.S_ISVTX)):
        mode = place.stat().st_mode
        if mode & stat.S_IWOTH and not mode & allowed:
            raise Unfit(f"lies in a folder that everybody can write to: move it, or chmod go-w {place}")


def write_private(path: Path, body: bytes, *, replace: bool = True) -> None:
    """Write a file that only we can read, whole or not at all; an older one of that name is replaced, or (not `replace`) left.

    Raises OSError with the name and what is wrong with it; neither a device nor what a link leads to is written over.
    """
    try:
        if not replace and os.path.lexists(path):
            raise OSError(errno.EEXIST, "is there already")
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "is no regular file")
        handle, draft = tempfile.mkstemp(
            dir=path.absolute().parent, prefix=f".{path.name[:100]}."
        )  # 0600, new, no link
        try:
            with open(handle, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(handle)
            if replace:
                os.replace(draft, path)
            else:
                os.link(draft, path)  # where somebody wrote it meanwhile this fails
                os.unlink(draft)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def changeable(file: Path) -> bool:
    """Tell whether others may change a file."""
    with suppress(OSError):
        return bool(file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return False


def loose(*files: Path) -> Iterator[tuple[str, bool]]:
    """Say which modes of files of ours and of their folders let others in, and whether that gives something away.

    A folder that others can only look into is told too: we make ours for us alone. What is not there is not told.
    """
    for file in files:
        with suppress(OSError):
            if file.stat().st_mode & OTHERS:
                yield f"{file} can be read or changed by others: chmod 600 {file}", True
    for folder in dict.fromkeys(file.absolute().parent for file in files):
        with suppress(OSError):
            mode = folder.stat().st_mode
            if mode & (stat.S_IWGRP | stat.S_IWOTH):
                yield f"the folder {folder} can be changed by others: chmod 700 {folder}", True
            elif mode & OTHERS:
                yield f"the folder {folder} can be looked into by others: chmod 700 {folder}", False
