"""HTTP/1.1 for whoever connects: bounds on its head, body, time, on what is sent ahead and on connections of an address.

HTTP is read by httptools (llhttp, the parser of Node.js) and answered here: a server for applications makes a task, a scope
and two packets of each request, which takes longer than to verify and to store it, and has no deadline for a request that
arrives slowly (uvicorn closed none of 600 connections that sent a byte now and then). One request of a connection is worked
at a time; what follows waits, unread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import unquote, unquote_to_bytes

import httptools
import structlog

from tracker.app.telemetry import place
from tracker.config.model import Web

log = structlog.get_logger()
MOST_HEADERS = 16 << 10
MOST_AROUND = 8  # bytes sent for each that a body may have: a chunk of one byte has six
MOST_PAIRS = 50  # parameters of an address that are looked at
MOST_PIPELINED = 32  # requests that a sender may send before it has its answers
LINGER = 2.0  # seconds that a refused sender has to read our answer
KEEP_ALIVE = 30.0  # seconds that a connection may stay without a request
TELL_EVERY = 10.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request(NamedTuple):
    """A request that is to be answered; `refused` says with what, where its head or its time decided."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool
    refused: tuple[int, str] | None = None
    url: bytes = b""


class Listener:
    """What all connections to a port share: its bounds, and one timer for every deadline."""

    def __init__(
        self, web: Callable[[], Web], connect: Callable[[asyncio.AbstractEventLoop], asyncio.Protocol]
    ) -> None:
        """`web` are the bounds, as configured now; `connect` makes a connection's protocol."""
        self.web, self._connect = web, connect
        self.head_within = web().header_timeout.total_seconds()
        self.all_within = web().request_timeout.total_seconds()
        self.per_address: Counter[str] = Counter()
        self.connections: set[Connection] = set()
        self.until: dict[Connection, float] = {}  # who is cut when (of the loop's time), unless something comes
        self.port = 0
        self.stopping = False
        self._told: dict[str, tuple[float, int]] = {}
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> None:
        """Listen; `port` tells where, once it does. Raises OSError where the address is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._connect(loop), host, port, backlog=1024)
        self._look(loop)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self, within: float = 4.0) -> None:
        """Take no more connections, end those that wait for a request, and let the others have their answers."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.until):
            connection.end_if_idle()
        for _ in range(int(within / 0.02)):
            if not self.per_address:
                break
            await asyncio.sleep(0.02)
        for connection in list(self.connections):  # who waits for us yet, or came as we stopped
            connection.abort()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cut who is late; one timer for all, for two a request would take as long as its parsing."""
        if not self.stopping or self.per_address:
            loop.call_later(min(1.0, self.head_within / 4, self.all_within / 4), self._look, loop)
        now = loop.time()
        for connection in [one for one, until in self.until.items() if until <= now]:
            connection.late()

    def tell(self, event: str, about: str, **values: object) -> None:
        """Log a refusal, at most one of its kind in TELL_EVERY, with how many there were: a flood must not fill the disk."""
        now, kind = time.monotonic(), f"{event} {about}"
        told_at, untold = self._told.get(kind, (float("-inf"), 0))
        if now - told_at < TELL_EVERY:
            self._told[kind] = (told_at, untold + 1)
            return
        self._told[kind] = (now, 0)
        log.info(event, count=untold + 1, **values)

    def cut(self, reason: str) -> None:
        """Tell of a connection that is ended without an answer."""
        self.tell("connection_cut", reason, port=self.port, reason=reason)


class Connection(asyncio.Protocol):
    """One sender: its requests are answered in their order, one at a time."""

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is connected yet."""
        self._of, self._loop = listener, loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._complete: deque[Request] = deque()  # and not yet answered
        self._current: Request | None = None  # being answered
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
        self._of.connections.add(self)
        if self._of.per_address[self._address] > self._of.web().connections_per_address:
            self._cut("too many connections")
        else:
            self._await(self._of.head_within)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the sender."""
        self._deaf, self._transport = True, None
        self._complete.clear()
        self._of.until.pop(self, None)
        self._of.connections.discard(self)
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
                self._cut("too large a head")
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
            self._cut("more around than in the body")  # chunks of nothing, trailers without end
        if self._current is None:
            self.go_on()
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
        self._most = self.most_body(self._path)
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
        keep_alive = self._parser.should_keep_alive()
        self._complete.append(Request(method, self._path, self._headers, body, keep_alive, None, self._url))
        if len(self._complete) > MOST_PIPELINED:
            self._cut("too much sent ahead")

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
            if self._head and not self._deaf:
                self._of.cut("too slow a head")
            self.abort()
        else:
            self._refuse(408, "too_slow")
            self.go_on()

    def end_if_idle(self) -> None:
        """End a connection that waits for a request."""
        if self._current is None and not self._complete and self._in_head and self._transport is not None:
            self._transport.close()

    def _cut(self, reason: str) -> None:
        self._of.cut(reason)
        self.abort()

    def abort(self) -> None:
        """End it at once, without an answer."""
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
            self._complete.append(Request("", self._path, {}, b"", False, (status, result)))

    def go_on(self) -> None:
        """Answer what is complete until one has to wait; then wait for more."""
        while self._complete and self._current is None:
            self._current = self._complete.popleft()
            try:
                self.work(self._current)
            except Exception as error:  # ours; the sender tries again
                log.error("request_failed", error=type(error).__name__, at=place(error))
                self.say(503)
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

    def most_body(self, path: str) -> int:
        """Return how many bytes the body of a request to a path may have."""
        return MOST_HEADERS

    def work(self, request: Request) -> None:
        """Answer a request by `say`, now or later; what is later goes on by `go_on`."""
        raise NotImplementedError

    def say(self, status: int, body: bytes = b"", head: bytes | None = None) -> None:
        """Answer the current request, in one packet: plain text, or nothing. `head`: of another body (`head_of`)."""
        request, self._current = self._current, None
        if self._transport is None or request is None:
            return  # the sender went away
        said = (head or (_TEXTS if body else _HEADS)[status]) % len(body)
        if request.keep_alive and not self._of.stopping and (self._complete or not self._deaf):
            said += b"\r\n"
        else:
            self._deaf = True
            self._complete.clear()
            said += b"connection: close\r\n\r\n"
        self._transport.write(said if request.method == "HEAD" else said + body)


def query(url: bytes) -> dict[str, str]:
    """Return the parameters of an address as text, whatever bytes they hold; of two with one name the later counts.

    The head bounds how long they are, MOST_PAIRS how many are looked at.
    """
    if b"?" not in url:
        return {}
    pairs = (httptools.parse_url(url).query or b"").split(b"&", MOST_PAIRS)[:MOST_PAIRS]
    told = (pair.replace(b"+", b" ").decode("latin-1").partition("=") for pair in pairs if pair)
    return {_text(name): _text(value) for name, _, value in told}


def _text(part: str) -> str:
    return unquote_to_bytes(part.encode("latin-1")).decode("utf-8", "replace")


def _path(url: bytes) -> str:
    path = (httptools.parse_url(url).path or b"").decode("ascii", "replace")
    return unquote(path) if "%" in path else path


def head_of(status: int, kind: str = "", **more: str) -> bytes:
    """Return the first lines of an answer, with `%d` for the length of its body. `kind`: its type; of no body there is none."""
    headers = {"content-type": kind, **more} if kind else more
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{told}content-length: %d\r\n".encode()


_HEADS = {status: head_of(status) for status in (200, 400, 401, 404, 405, 408, 413, 415, 503)}
_TEXTS = {status: head_of(status, "text/plain; charset=utf-8") for status in (200, 503)}
