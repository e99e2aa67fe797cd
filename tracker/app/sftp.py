"""A carrier's server of files: SFTP by asyncssh, to the host whose key the YAML names and to no other.

Nothing of this machine's SSH counts: no configuration, known hosts, keys or agent of its user. Where it leads is checked as for
HTTP (`app.connections`), each step has a time, and a file is fetched into a nameless temporary file before any of it is read:
then what it holds is known by its hash, and one that was left half-way is gone on with. Errors say what happened, and nothing
that the server or the YAML said.
"""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
import socket
import tempfile
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from tracker.app.connections import is_public
from tracker.config.places import SftpPart
from tracker.domain.errors import CredentialsRejected, Refused, Transient
from tracker.pipeline.files.place import Entry, is_file, odd_folder, semaphore_of

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")
FETCHED = 1 << 20  # bytes asked for at once
FETCH_SECONDS = 600.0  # that a file may take
MOST_LISTED = 20_000
MOST_CLASHES = 100
FILE, FOLDER, LINK = 1, 2, 3  # kinds of what is listed (SFTP 5: SSH_FILEXFER_TYPE_REGULAR, _DIRECTORY, _SYMLINK)


@contextmanager
def open_server(part: SftpPart, *, allow: Iterable[str], timeout: float) -> Iterator[Server]:
    """Open the folder of a server. `allow`: hosts that may be private. Raises from the error tree."""
    server = Server(part, frozenset(allow), timeout)
    try:
        server.connect()
        yield server
    finally:
        server.close()


class Server:
    """The folder of a server, on one connection for all that a look does there."""

    def __init__(self, part: SftpPart, allow: frozenset[str], timeout: float) -> None:
        """Nothing is connected yet; `timeout` seconds are for each step but for fetching."""
        self.place = f"sftp://{part.host}:{part.port}/{part.path.lstrip('/')}"
        self._part, self._allow, self._timeout = part, allow, timeout
        self._loop = asyncio.new_event_loop()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: Any = None

    def connect(self) -> None:
        """Connect and log in. Raises CredentialsRejected for a host key that the YAML does not name, too."""
        self._sftp = self._run(self._connected(), self._timeout)

    def close(self) -> None:
        """Close the connection, whatever it says."""
        with suppress(Exception):
            if self._connection is not None:
                self._connection.abort()
                self._loop.run_until_complete(asyncio.wait_for(self._connection.wait_closed(), 2))
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        with suppress(Exception):
            self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def entries(self) -> Sequence[Entry]:
        """List the files of the folder. Raises Refused where they are too many to be looked at."""
        listed = self._run(self._listed(), self._timeout)
        names = {name for name, _ in listed}
        found = []
        for name, attrs in listed:
            folder = odd_folder(name) if attrs.type == FOLDER else ""
            if not is_file(self._part, name) or not (folder or attrs.type in (FILE, LINK)):
                continue
            size, modified = int(attrs.size or 0), int(attrs.mtime or 0)
            odd = folder
            if attrs.type == LINK:
                odd = "is a link: it is not followed"
            elif not name.isprintable() or "/" in name:
                odd = "its name is no text that can be printed"
            elif not odd and size > self._part.largest:
                odd = f"has {size} bytes, more than `largest` ({self._part.largest})"
            found.append(Entry(name, size, modified, odd, semaphore_of(self._part, name) in names))
        return found

    def open(self, entry: Entry) -> BinaryIO:
        """Fetch a file into a temporary one, no further than it was listed. Raises FileNotFoundError where it is gone."""
        spool = tempfile.TemporaryFile()  # noqa: SIM115  # its reader closes it
        try:
            self._run(self._fetched(entry, spool), FETCH_SECONDS)
            spool.seek(0)
        except BaseException:
            spool.close()
            raise
        return spool

    def same(self, entry: Entry) -> bool:
        """Say whether a file is still as it was listed."""
        try:
            attrs = self._run(self._sftp.lstat(self._at(entry.name)), self._timeout)
        except FileNotFoundError:
            return False
        return (int(attrs.size or 0), int(attrs.mtime or 0)) == (entry.size, entry.modified)

    def after(self, entry: Entry, *, failed: bool) -> None:
        """Move or delete a file that was read, where the YAML says so, and its semaphore with it; one that failed is left."""
        if self._part.after == "leave" or failed or not self.same(entry):
            return
        self._aside(entry.name)
        if (semaphore := semaphore_of(self._part, entry.name)) is not None:
            with suppress(FileNotFoundError):
                self._aside(semaphore)

    def _aside(self, name: str) -> None:
        folder = self._part.aside
        if folder is None:
            self._run(self._sftp.remove(self._at(name)), self._timeout)
            return
        there = posixpath.join(folder, name)
        for count in range(MOST_CLASHES):  # a rename of SFTP 3 writes over nothing
            target = f"{there}.{count}" if count else there
            if not self._run(self._sftp.lexists(target), self._timeout):
                self._run(self._sftp.rename(self._at(name), target), self._timeout)
                return
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _at(self, name: str) -> str:
        return posixpath.join(self._part.path, name)

    def _run(self, step: Awaitable[T], seconds: float) -> T:
        """Take a step. Raises OSError for what the server says of a file, else from the error tree."""
        import asyncssh

        host = self._part.host
        try:
            return self._loop.run_until_complete(asyncio.wait_for(step, seconds))
        except (CredentialsRejected, Refused, Transient):
            raise
        except asyncssh.SFTPNoSuchFile:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        except asyncssh.SFTPPermissionDenied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as error:
            raise Transient(f"{host}: {type(error).__name__}") from None
        except asyncssh.SFTPError as error:
            raise OSError(errno.EIO, f"the server says {type(error).__name__}") from None
        except asyncssh.HostKeyNotVerifiable:
            raise CredentialsRejected(f"{host}: its host key is none of `sftp.host_key`") from None
        except asyncssh.PermissionDenied:
            raise CredentialsRejected(f"{host} refuses the user {self._part.user!r:.60}") from None
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
            raise CredentialsRejected("sftp.key is no private key without a passphrase") from None
        except (asyncssh.Error, ConnectionError, TimeoutError, EOFError) as error:
            raise Transient(f"{host}: {type(error).__name__}") from None

    async def _connected(self) -> Any:
        import asyncssh

        part = self._part
        wanted, seen = set(part.host_key), list[str]()

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                seen.append(key.get_fingerprint())
                return key.get_fingerprint() in wanted

        keys = [asyncssh.import_private_key(part.key.get_secret_value())] if part.key is not None else None
        try:
            connection, _ = await asyncssh.create_connection(
                Client, sock=await self._socket(), config=None, known_hosts=((), (), ()), username=part.user,
                password=part.password.get_secret_value() if part.password is not None else None, client_keys=keys,
                preferred_auth="publickey" if keys else "password,keyboard-interactive", agent_path=None, gss_host=None,
                x509_trusted_certs=None, login_timeout=self._timeout,
            )  # fmt: skip
        except asyncssh.HostKeyNotVerifiable:
            if not seen:
                raise
            said = f"{part.host}: its host key is {seen[-1]}, which is none of `sftp.host_key`: it changed, or is another host"
            raise CredentialsRejected(said) from None
        self._connection = connection
        return await connection.start_sftp_client(path_errors="surrogateescape")

    async def _socket(self) -> socket.socket:
        """Resolve the host once, check it, and connect to that very address."""
        part = self._part
        try:
            found = await self._loop.getaddrinfo(part.host, part.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Transient(f"{part.host} cannot be resolved") from None
        family, _, _, _, where = found[0]
        if part.host not in self._allow and not is_public(str(where[0])):
            raise Refused(f"{part.host} resolves to {where[0]}, which is not public: name it under network.allow")
        peer = socket.socket(family, socket.SOCK_STREAM)
        try:
            peer.setblocking(False)
            await self._loop.sock_connect(peer, where)
        except BaseException:
            peer.close()
            raise
        return peer

    async def _listed(self) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        async for one in self._sftp.scandir(self._part.path):
            if (name := str(one.filename)) not in (".", ".."):
                found.append((name, one.attrs))
            if len(found) > MOST_LISTED:
                raise Refused(f"more than {MOST_LISTED} files lie there: have them moved or deleted (`after`)")
        return found

    async def _fetched(self, entry: Entry, spool: BinaryIO) -> None:
        async with self._sftp.open(self._at(entry.name), "rb") as file:
            left = entry.size + 1  # a byte more says that it grows
            while left > 0 and (some := await file.read(min(left, FETCHED))):
                spool.write(some)
                left -= len(some)
