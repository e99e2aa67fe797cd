"""A port for applications that speak ASGI 3, such as the page: behind the bounds and deadlines of the other ports.

What an application answers at once is one answer with its length; what it tells piece by piece is sent as it comes, in chunks, and ends
the connection. It hears (`http.disconnect`) when who asked went away, or when we stop. Secrets are masked in all that it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any

import httptools

from tracker.app import wire
from tracker.app.private import Reply, error_reply, failed
from tracker.app.wire import MOST_HEADERS, Listener, Request
from tracker.config.model import Web
from tracker.domain.masking import mask_bytes

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
STRICT = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'"),
)  # of errors
STARTS_WITHIN = 10.0  # seconds that an application may take to start, and to end


class Asgi(Listener):
    """A port where an application answers, on the event loop: what blocks belongs into threads of its own."""

    def __init__(self, web: Callable[[], Web], app: App, *, most_body: int = MOST_HEADERS) -> None:
        """`most_body`: bytes of a request's body."""
        super().__init__(web, lambda loop: Connection(self, loop))
        self.app, self.most_body, self.host = app, most_body, ""
        self.exchanges: dict[asyncio.Task[None], Exchange] = {}
        self._lifespan = _Lifespan(app)

    async def listen(self, host: str, port: int) -> None:
        """Start the application and listen. Raises OSError where the address is taken, RuntimeError where it does not start."""
        self.host = host
        await self._lifespan.start()
        await super().listen(host, port)

    async def close(self, within: float = 4.0) -> None:
        """Take no more, let those who wait have their answers, end what is told piece by piece, and end the application."""
        self.stopping = True
        for exchange in self.exchanges.values():
            exchange.end_if_streaming()
        await super().close(within)
        for task in list(self.exchanges):
            task.cancel()
        await asyncio.gather(*self.exchanges, return_exceptions=True)
        await self._lifespan.end()


class _Lifespan:
    """The start and the end of an application, as ASGI has them; one that knows none of it has none."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        said = await self._ask("lifespan.startup")
        if said["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"it does not start: {said.get('message', '')}")

    async def end(self) -> None:
        if self._task is not None and not self._task.done():
            await self._ask("lifespan.shutdown")
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self, what: str) -> Message:
        self._told.put_nowait({"type": what})
        return await asyncio.wait_for(self._said.get(), STARTS_WITHIN)

    async def _run(self) -> None:
        try:
            await self._app(
                {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, self._told.get, self._said.put
            )
        finally:
            self._said.put_nowait({"type": "lifespan.ended"})


class Exchange:
    """One request and its answer."""

    def __init__(self, connection: Connection, request: Request, client: str) -> None:
        """Begin; `client` is the address of who asks."""
        self._to, self._request, self._client = connection, request, client
        self._given = False
        self._gone = asyncio.Event()
        self._start: Message | None = None
        self._streams = self._ended = False

    def scope(self, host: str, port: int) -> Message:
        """Return the request as ASGI tells it, of where we listen."""
        request = self._request
        url = httptools.parse_url(request.url)
        return {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": request.method, "scheme": "http",
            "path": request.path, "raw_path": url.path or b"", "query_string": url.query or b"", "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()],
            "client": (self._client, 0), "server": (host, port), "state": {},
        }  # fmt: skip

    async def run(self, of: Asgi) -> None:
        """Have it answered, whatever the application does."""
        try:
            await of.app(self.scope(of.host, of.port), self.receive, self.send)
            if not self._ended:
                raise RuntimeError("the application ended before its answer")
        except Exception as error:
            self._fail(failed(of, error))
        except asyncio.CancelledError:
            self._fail(error_reply(503, "it stops"))
            raise

    def _fail(self, reply: Reply) -> None:
        """Say that it failed, or cut what is half said: nobody may take a part for the whole."""
        if self._streams and not self._ended:
            self._to.cut_short()
        elif not self._ended:
            self._ended = True
            self._to.whole(reply.status, [("content-type", reply.kind), *STRICT], reply.body)

    async def receive(self) -> Message:
        """Tell the application its request; and then, when it comes to that, that who asked is gone."""
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take the answer of the application. Raises ValueError for a header that would be two."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is None or self._ended:
            raise RuntimeError("an answer begins once, and ends once")
        status, more, body = (
            self._start["status"],
            message.get("more_body", False),
            mask_bytes(message.get("body", b"")),
        )
        if self._streams:
            await self._to.piece(body, last=not more)
        elif more:
            self._streams = True
            await self._to.begin(status, _headers(self._start), body)
        else:
            self._to.whole(status, _headers(self._start), body)
        self._ended = not more

    def leave(self) -> None:
        """Who asked is gone."""
        self._gone.set()

    def end_if_streaming(self) -> None:
        """Tell an application that tells without end that it is enough."""
        if self._streams:
            self._gone.set()


def _headers(start: Message) -> list[tuple[str, str]]:
    told = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", [])]
    if any(sign < " " for name, value in told for sign in name + value):
        raise ValueError("a header holds a control character")
    return [
        (name, value)
        for name, value in told
        if name.lower() not in ("content-length", "transfer-encoding", "connection")
    ]


def _head(status: int, headers: Iterable[tuple[str, str]], *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers), *more]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


class Connection(wire.Connection):
    """One who asks an application."""

    _of: Asgi
    _exchange: Exchange | None = None

    def __init__(self, listener: Asgi, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is connected yet."""
        super().__init__(listener, loop)
        self._room = asyncio.Event()  # whoever reads our answer keeps up with it
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that who asked is gone."""
        super().connection_lost(exc)
        self._room.set()
        if self._exchange is not None:
            self._exchange.leave()

    def pause_writing(self) -> None:
        """Let the application wait until what it told is read."""
        super().pause_writing()
        self._room.clear()

    def resume_writing(self) -> None:
        """Let it go on."""
        super().resume_writing()
        self._room.set()

    def most_body(self, path: str) -> int:
        """Return how many bytes a body may have."""
        return self._of.most_body

    def work(self, request: Request) -> None:
        """Have the application answer."""
        if request.refused is not None:
            status, why = request.refused[0], request.refused[1].replace("_", " ")
            self._of.tell("request_refused", f"{status}", port=self._of.port, status=status, reason=why)
            reply = error_reply(status, why)
            self.say(status, reply.body, _escaped(_head(status, [("content-type", reply.kind), *STRICT])))
            return
        exchange = self._exchange = Exchange(self, request, self._address)
        task = self._loop.create_task(exchange.run(self._of))
        self._of.exchanges[task] = exchange
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._of.exchanges[task]
        self._exchange = None
        if task.cancelled():
            self.abort()
        else:
            self.go_on()

    def whole(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Answer at once."""
        self.say(status, body, _escaped(_head(status, headers)))

    async def begin(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Begin an answer that comes piece by piece; with its end the connection ends."""
        if self._transport is not None:
            self._transport.write(_head(status, headers, "transfer-encoding: chunked", "connection: close") + b"\r\n")
        await self.piece(body, last=False)

    async def piece(self, body: bytes, *, last: bool) -> None:
        """Send a piece of an answer, once those before it are read."""
        if self._transport is None or self._current is None:
            return
        if self._current.method != "HEAD":
            self._transport.write(
                (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if last else b"")
            )
        if last:
            self._current, self._deaf = None, True
            self._complete.clear()
        await self._room.wait()

    def cut_short(self) -> None:
        """End the connection in the midst of an answer."""
        self.abort()


def _escaped(head: bytes) -> bytes:
    return head.replace(b"%", b"%%") + b"content-length: %d\r\n"
