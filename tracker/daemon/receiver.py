"""The receiver: `POST /webhooks/{account}[/{token}]`, `/livez`, `/readyz`.

Group commit without a timer: requests that arrive while a commit runs share the next one. Exactly 200, after the commit;
503 when the database is away; 401 with one body for unknown account, wrong token and wrong signature.

HTTP is read by httptools (llhttp, the parser of Node.js) and answered here: a server for applications makes a task, a scope
and two packets of each request, which takes longer than to verify and to store it, and has no deadline for a request that
arrives slowly (RELIABILITY 3.5). One request of a connection is worked at a time; what follows waits, unread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import unquote

import httptools
import structlog
from sqlalchemy.exc import SQLAlchemyError

from tracker.config.model import Account
from tracker.domain.errors import WebhookRejected
from tracker.domain.facts import Payload
from tracker.pipeline import receive
from tracker.pipeline.world import World

log = structlog.get_logger()
MOST_HEADERS = 16 << 10
MOST_AROUND = 8  # bytes sent for each that a body may have: a chunk of one byte has six
MOST_GROUP = 200
MOST_AHEAD = 32  # requests that a sender may send before it has its answers
LINGER = 2.0  # seconds that a refused sender has to read our answer
KEEP_ALIVE = 30.0  # seconds that a connection may stay without a request
TELL_EVERY = 10.0
_REJECTED = b'{"error":"unauthorized"}'
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Request(NamedTuple):
    """A request that is to be answered; `refused` says with what, where its head or its time decided."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool
    refused: tuple[int, str] | None = None


class Receiver:
    """What all connections share: the world, the group commit, and one timer for every deadline."""

    def __init__(self, world: World, ready: Callable[[], list[str]]) -> None:
        """`ready` says why not; an empty list is ready."""
        web = world.config.root.web
        self.world, self.ready = world, ready
        self.head_within = web.header_timeout.total_seconds()
        self.all_within = web.request_timeout.total_seconds()
        self.per_address: Counter[str] = Counter()
        self.until: dict[Connection, float] = {}  # who is cut when (of the loop's time), unless something comes
        self._waiting: list[tuple[Account, Payload, Connection]] = []
        self._committing = False
        self._writer = ThreadPoolExecutor(1, "receiver")
        self._rejections: dict[str, tuple[float, int]] = {}
        self._server: asyncio.Server | None = None
        self.stopping = False

    # serving

    async def listen(self, host: str, port: int) -> int:
        """Listen, and return the port. Raises OSError where the address is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self, loop), host, port, backlog=1024)
        self._look(loop)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self, within: float = 4.0) -> None:
        """Take no more connections, end those that wait for a request, and let the others have their answers."""
        self.stopping = True
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.until):
            connection.end_if_idle()
        for _ in range(int(within / 0.02)):
            if not self.per_address:
                break
            await asyncio.sleep(0.02)
        self._writer.shutdown(wait=False)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cut who is late; one timer for all, for two a request would take as long as its parsing."""
        if not self.stopping or self.per_address:
            loop.call_later(min(1.0, self.head_within / 4, self.all_within / 4), self._look, loop)
        now = loop.time()
        for connection in [one for one, until in self.until.items() if until <= now]:
            connection.late()

    # group commit

    def store(self, account: Account, payload: Payload, connection: Connection) -> None:
        """Commit a payload with others, and then tell its connection."""
        self._waiting.append((account, payload, connection))
        if not self._committing:
            self._commit(asyncio.get_running_loop())

    def _commit(self, loop: asyncio.AbstractEventLoop) -> None:
        group, self._waiting = self._waiting[:MOST_GROUP], self._waiting[MOST_GROUP:]
        self._committing = bool(group)
        if not group:
            return
        payloads = [(account, payload) for account, payload, _ in group]

        def work() -> None:
            try:
                receive.commit(self.world, payloads)
            except Exception as error:
                loop.call_soon_threadsafe(done, error)
            else:
                loop.call_soon_threadsafe(done, None)

        def done(error: Exception | None) -> None:
            self._commit(loop)
            if error is None:
                self.world.ring("inbox")
                for name, count in Counter(account.name for account, _ in payloads).items():
                    self.count(name, "stored", count)
            for account, payload, connection in group:
                connection.stored(account, payload, error)

        self._writer.submit(work)

    def account(self, path: str) -> tuple[Account | None, str, str]:
        """Return the account that a path addresses, the name it is counted by, and the token in the address."""
        name, _, token = path.removeprefix("/webhooks/").partition("/")
        account = self.world.account(name)
        return account, name if account is not None else "unknown", token

    # telling

    def count(self, account: str, result: str, count: int = 1) -> None:
        """Count webhooks by how they ended."""
        self.world.count("tracker_webhooks_total", count, account=account, result=result)

    def tell_rejection(self, account: str, reason: str) -> None:
        """Log a rejection, at most one an account in TELL_EVERY: a flood must not fill the disk. The counter has all."""
        now = time.monotonic()
        told_at, untold = self._rejections.get(account, (float("-inf"), 0))
        if now - told_at < TELL_EVERY:
            self._rejections[account] = (told_at, untold + 1)
            return
        self._rejections[account] = (now, 0)
        log.info("webhook_rejected", account=account, reason=reason, count=untold + 1)


class Connection(asyncio.Protocol):
    """One sender: its requests are answered in their order, one at a time."""

    def __init__(self, receiver: Receiver, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is connected yet."""
        self._of, self._loop = receiver, loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._complete: deque[_Request] = deque()  # and not yet answered
        self._current: _Request | None = None  # being answered
        self._aged = False  # the current one was proved by a secret that is not the newest
        self._deaf = False  # nothing that comes is looked at any more
        self._lingers = False  # a request was refused before all of it had come
        self._ended = False  # all is said
        self._paused = self._full = False  # reading; and what we write
        self._in_head, self._head, self._expects = True, 0, False
        self._begin()

    def _begin(self) -> None:
        self._url, self._path = b"", ""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size, self._most, self._raw = 0, 0, 0

    # the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the sender's connections, and wait for a request."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        self._of.per_address[self._address] += 1
        if self._of.per_address[self._address] > self._of.world.config.root.web.connections_per_address:
            self._abort()
        else:
            self._await(self._of.head_within)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the sender."""
        self._deaf, self._transport = True, None
        self._complete.clear()
        self._of.until.pop(self, None)
        self._of.per_address[self._address] -= 1
        if self._of.per_address[self._address] <= 0:
            del self._of.per_address[self._address]

    def pause_writing(self) -> None:
        """Read no more from who does not read our answers."""
        self._full = True
        self._pause()

    def resume_writing(self) -> None:
        """Read on."""
        self._full = False
        if not self._complete:
            self._resume()

    def _pause(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and self._paused and not self._full:
            self._paused = False
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and answer what is complete."""
        if self._deaf:
            return
        if self._in_head:
            ends = data.find(b"\r\n\r\n")
            self._head += len(data) if ends < 0 else ends
            if self._head > MOST_HEADERS:
                self._abort()
                return
        else:
            self._raw += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # its request is complete; what follows would be another protocol
            self._deaf = True
        except httptools.HttpParserError:
            self._refuse(400, "malformed")
        if not (self._deaf or self._in_head) and self._raw > MOST_AROUND * self._most + MOST_HEADERS:
            self._abort()  # chunks of nothing, trailers without end
        if self._current is None:
            self._next()
        if self._complete:
            self._pause()

    # the parser

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._begin()
        self._await(self._of.head_within)

    def on_url(self, url: bytes) -> None:
        """Read a part of the address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a header; of two with one name the later counts."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Refuse by its head what is too large or encoded; else wait for the body."""
        self._in_head = False
        self._await(self._of.all_within)
        try:
            self._path = _path(self._url)
        except httptools.HttpParserInvalidURLError:
            self._refuse(400, "malformed")
            return
        account, most = self._of.account(self._path)[0], self._of.world.config.root.web.max_body
        self._most = most if account is None else max(most, account.source.max_body)
        told = self._headers.get("content-length", "0")
        if self._headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            self._refuse(415, "encoded")
        elif told.isdecimal() and int(told) > self._most:
            self._refuse(413, "too_large")
        elif self._headers.get("expect", "").lower() == "100-continue":
            self._expects = True
            self._continue()

    def on_body(self, part: bytes) -> None:
        """Read a part of the body."""
        self._size += len(part)
        if self._size > self._most:
            self._refuse(413, "too_large")
        else:
            self._body.append(part)

    def on_message_complete(self) -> None:
        """Keep the request until those before it are answered."""
        self._in_head, self._head, self._expects = True, 0, False
        self._of.until.pop(self, None)
        if self._deaf:
            return
        method = self._parser.get_method().decode("ascii", "replace")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._complete.append(_Request(method, self._path, self._headers, body, self._parser.should_keep_alive()))
        if len(self._complete) > MOST_AHEAD:
            self._abort()

    def _continue(self) -> None:
        """Ask for the body of a request that waits to be asked, once those before it are answered."""
        if self._expects and self._current is None and not self._complete and self._transport is not None:
            self._expects = False
            self._transport.write(_CONTINUE)

    # deadlines

    def _await(self, seconds: float) -> None:
        self._of.until[self] = self._loop.time() + seconds

    def late(self) -> None:
        """End it: nothing came in time. Who had sent a head is told."""
        if self._current is not None:
            self._await(self._of.head_within)  # we are who is late
        elif self._in_head or self._deaf:
            self._abort()
        else:
            self._refuse(408, "too_slow")
            self._next()

    def end_if_idle(self) -> None:
        """End a connection that waits for a request."""
        if self._current is None and not self._complete and self._in_head and self._transport is not None:
            self._transport.close()

    def _abort(self) -> None:
        self._deaf = True
        self._complete.clear()
        self._of.until.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    # answering

    def _refuse(self, status: int, result: str) -> None:
        """Answer with a status, once those before it are answered, and read no more."""
        if not self._deaf:
            self._deaf = self._lingers = True
            self._of.until.pop(self, None)
            self._complete.append(_Request("", self._path, {}, b"", False, (status, result)))

    def _next(self) -> None:
        """Answer what is complete until one has to wait; then wait for more."""
        while self._complete and self._current is None:
            self._current = self._complete.popleft()
            try:
                self._work(self._current)
            except Exception as error:  # ours; the sender tries again
                log.error("request_failed", error=type(error).__name__)
                self._say(503)
        if self._current is not None or self._transport is None:
            return
        if self._ended:
            return
        if self._deaf:
            self._ended = True
            if self._lingers and self._transport.can_write_eof():  # else what still comes would reset our answer away
                self._transport.write_eof()
                self._await(LINGER)
            else:
                self._transport.close()
            return
        self._continue()
        self._resume()
        if self._in_head and self not in self._of.until:
            self._await(KEEP_ALIVE)

    def _work(self, request: _Request) -> None:
        path = request.path
        if request.refused is not None:
            status, result = request.refused
            self._of.count(self._of.account(path)[1], result)
            self._say(status)
        elif path.startswith("/webhooks/"):
            if request.method == "POST":
                self._webhook(request)
            else:
                self._say(200 if request.method == "HEAD" else 405)  # some senders probe with HEAD
        elif path == "/livez":
            self._say(200, b"ok")
        elif path == "/readyz":
            self._loop.run_in_executor(None, self._readiness).add_done_callback(self._ready)
        else:
            self._say(404)

    def _readiness(self) -> tuple[int, bytes]:
        try:
            why = self._of.ready()
        except SQLAlchemyError:
            why = ["database away"]
        fatal = "database away" in why  # we cannot store; a shop that hangs or is parked takes nobody's webhooks away
        return 503 if fatal else 200, ("\n".join(why) or "ready").encode()

    def _ready(self, told: asyncio.Future[tuple[int, bytes]]) -> None:
        status, text = (503, b"") if told.cancelled() or told.exception() else told.result()
        self._say(status, text)
        self._next()

    def _webhook(self, request: _Request) -> None:
        world = self._of.world
        account, label, token = self._of.account(request.path)
        try:
            payload, self._aged = receive.check(account, token, request.headers, request.body, world.now())
            assert account is not None
        except WebhookRejected as error:
            self._of.tell_rejection(label, str(error))
            self._of.count(label, "rejected")
            self._say(401, _REJECTED)
            return
        self._of.store(account, payload, self)

    def stored(self, account: Account, payload: Payload, error: Exception | None) -> None:
        """Answer the current request: its payload is committed; or it is not, and we never say 200."""
        if error is not None:
            log.warning("webhook_not_stored", account=account.name, error=type(error).__name__)
            self._of.count(account.name, "not_stored")
            self._say(503)
        else:
            if self._aged:
                self._of.world.count("tracker_webhooks_old_secret_total", account=account.name)
            try:
                reply = account.source.reply(payload) or b""
            except Exception as problem:  # a plugin's defect: it is stored, and others wait for their answers
                log.error("request_failed", error=type(problem).__name__)
                reply = b""
            self._say(200, reply)
        self._next()

    def _say(self, status: int, body: bytes = b"") -> None:
        """Answer the current request, in one packet."""
        request, self._current = self._current, None
        if self._transport is None or request is None:
            return  # the sender went away
        said = _HEADS[status] % len(body)
        if request.keep_alive and not self._of.stopping and (self._complete or not self._deaf):
            said += b"\r\n"
        else:
            self._deaf = True
            self._complete.clear()
            said += b"connection: close\r\n\r\n"
        self._transport.write(said if request.method == "HEAD" else said + body)


def _path(url: bytes) -> str:
    path = (httptools.parse_url(url).path or b"").decode("ascii", "replace")
    return unquote(path) if "%" in path else path


_HEADS = {
    status: (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    ).encode()
    for status in (200, 400, 401, 404, 405, 408, 413, 415, 503)
}
