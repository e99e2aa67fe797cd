"""The receiver: `POST /webhooks/{account}[/{token}]`, `/livez`, `/readyz`; on its own port `/metrics`.

Group commit without a timer: requests that arrive while a commit runs share the next one. Exactly 200, after the commit;
503 when the database is away; 401 with one body for unknown account, wrong token and wrong signature.

uvicorn has no time-out for a request that arrives slowly (RELIABILITY 3.5), so `Protocol` cuts slow senders itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
import uvicorn
from sqlalchemy.exc import SQLAlchemyError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tracker.config.model import Account, Web
from tracker.domain.errors import WebhookRejected
from tracker.domain.facts import Payload
from tracker.pipeline import receive
from tracker.pipeline.world import World

log = structlog.get_logger()
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
MOST_HEADERS = 16 << 10
MOST_GROUP = 200
TELL_EVERY = 10.0
_REJECTED = b'{"error":"unauthorized"}'


class GroupCommit:
    """Writes what waits in one transaction; whoever comes meanwhile waits for the next."""

    def __init__(self, world: World) -> None:
        """Nothing runs before the first payload."""
        self._world = world
        self._waiting: list[tuple[Account, Payload, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(1, "receiver")

    async def store(self, account: Account, payload: Payload) -> None:
        """Return once the payload is committed. Raises what the database raises."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((account, payload, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        await done

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting[:MOST_GROUP], self._waiting[MOST_GROUP:]
            error: BaseException | None = None
            try:
                await loop.run_in_executor(
                    self._writer, receive.commit, self._world, [(account, payload) for account, payload, _ in group]
                )
            except Exception as problem:
                error = problem
            for _, _, done in group:
                if done.done():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
            if error is None:
                self._world.ring("inbox")


class App:
    """The ASGI application of the receiver."""

    def __init__(self, world: World, ready: Callable[[], list[str]]) -> None:
        """`ready` says why not; an empty list is ready."""
        self._world, self._ready = world, ready
        self._group = GroupCommit(world)
        self._rejections: dict[str, tuple[float, int]] = {}

    async def __call__(self, scope: Scope, receive_: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        if path.startswith("/webhooks/"):
            if method == "POST":
                await self._webhook(scope, receive_, send)
            else:
                await _answer(send, 200 if method == "HEAD" else 405)  # some senders probe with HEAD
        elif path == "/livez":
            await _answer(send, 200, b"ok")
        elif path == "/readyz":
            await self._readyz(send)
        else:
            await _answer(send, 404)

    async def _readyz(self, send: Send) -> None:
        try:
            why = await asyncio.get_running_loop().run_in_executor(None, self._ready)
        except SQLAlchemyError:
            why = ["database away"]
        fatal = any(reason.startswith("database") for reason in why)
        await _answer(send, 503 if fatal else 200, ("\n".join(why) or "ready").encode())

    async def _webhook(self, scope: Scope, receive_: Receive, send: Send) -> None:
        world, web = self._world, self._world.config.root.web
        name, _, token = scope["path"].removeprefix("/webhooks/").partition("/")
        account = world.account(name)
        label = name if account is not None else "unknown"
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        most = max(web.max_body, account.source.max_body) if account is not None else web.max_body
        if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            return await self._refuse(send, 415, label, "encoded")
        if (told := headers.get("content-length", "0")).isdigit() and int(told) > most:
            return await self._refuse(send, 413, label, "too_large")
        try:
            async with asyncio.timeout(web.request_timeout.total_seconds()):
                body = await _body(receive_, most)
        except TimeoutError:
            return await self._refuse(send, 408, label, "too_slow")
        if body is None:
            return await self._refuse(send, 413, label, "too_large")
        try:
            payload, aged = receive.check(account, token, headers, body, world.now())
            assert account is not None
        except WebhookRejected as error:
            self._tell_rejection(label, str(error))
            return await self._refuse(send, 401, label, "rejected", _REJECTED)
        try:
            await self._group.store(account, payload)
        except Exception as error:  # not stored: never say 200
            log.warning("webhook_not_stored", account=label, error=type(error).__name__)
            return await self._refuse(send, 503, label, "not_stored")
        world.count("tracker_webhooks_total", account=label, result="stored")
        if aged:
            world.count("tracker_webhooks_old_secret_total", account=label)
        await _answer(send, 200, account.source.reply(payload) or b"")
        return None

    def _tell_rejection(self, account: str, reason: str) -> None:
        """Log a rejection, at most one an account in TELL_EVERY: a flood must not fill the disk. The counter has all."""
        now = time.monotonic()
        told_at, untold = self._rejections.get(account, (float("-inf"), 0))
        if now - told_at < TELL_EVERY:
            self._rejections[account] = (told_at, untold + 1)
            return
        self._rejections[account] = (now, 0)
        log.info("webhook_rejected", account=account, reason=reason, count=untold + 1)

    async def _refuse(self, send: Send, status: int, account: str, result: str, body: bytes = b"") -> None:
        self._world.count("tracker_webhooks_total", account=account, result=result)
        await _answer(send, status, body)


async def _body(receive_: Receive, most: int) -> bytes | None:
    """Read the whole body; None when it is larger than allowed."""
    chunks, size = [], 0
    while True:
        message = await receive_()
        if message["type"] != "http.request":
            raise TimeoutError  # the sender went away
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            return None
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


async def _answer(send: Send, status: int, body: bytes = b"", kind: bytes = b"text/plain; charset=utf-8") -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class OpsApp:
    """`/metrics`, on a port of its own."""

    def __init__(self, render: Callable[[], bytes]) -> None:
        """`render` returns the exposition text."""
        self._render = render

    async def __call__(self, scope: Scope, receive_: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["path"] != "/metrics":
            await _answer(send, 404)
            return
        try:
            text = await asyncio.get_running_loop().run_in_executor(None, self._render)
        except SQLAlchemyError:
            await _answer(send, 503, b"database away")
            return
        await _answer(send, 200, text, b"text/plain; version=0.0.4; charset=utf-8")


def protocol(web: Web) -> type[HttpToolsProtocol]:
    """Return a protocol that cuts senders whose headers come too slowly, are too large, or that open too many."""
    deadline = web.header_timeout.total_seconds()
    per_address: dict[str, int] = {}

    class Protocol(HttpToolsProtocol):
        """uvicorn's, with a header deadline, a header cap and a cap of connections an address."""

        _watch: asyncio.TimerHandle | None = None
        _head = 0
        _address = ""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            peer = transport.get_extra_info("peername")
            self._address = str(peer[0]) if peer else ""
            per_address[self._address] = per_address.get(self._address, 0) + 1
            if per_address[self._address] > web.connections_per_address:
                transport.abort()
                return
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            left = per_address.get(self._address, 1) - 1
            per_address[self._address] = left
            if left <= 0:
                per_address.pop(self._address, None)
            self._forget()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._watch is None and (self.cycle is None or self.cycle.response_complete):
                self._expect_head()
            if self._watch is not None:
                self._head += len(data)
                body_at = data.find(b"\r\n\r\n")
                head = self._head if body_at < 0 else self._head - len(data) + body_at
                if head > MOST_HEADERS:
                    self._cut()
                    return
            super().data_received(data)

        def on_headers_complete(self) -> None:
            self._forget()
            super().on_headers_complete()

        def _expect_head(self) -> None:
            self._head = 0
            self._watch = self.loop.call_later(deadline, self._cut)

        def _forget(self) -> None:
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None

        def _cut(self) -> None:
            self._forget()
            with contextlib.suppress(Exception):
                self.transport.abort()

    return Protocol


class Servers:
    """The receiver and the ops endpoint on one event loop, in a thread of their own."""

    def __init__(self, world: World, ready: Callable[[], list[str]], render: Callable[[], bytes]) -> None:
        """Configure both; nothing listens yet."""
        web = world.config.root.web
        common: dict[str, Any] = {
            "log_config": None, "access_log": False, "lifespan": "off", "server_header": False, "date_header": False,
            "ws": "none", "timeout_keep_alive": 30, "backlog": 1024,
        }  # fmt: skip
        self._failed = False
        self._servers = [
            uvicorn.Server(
                uvicorn.Config(App(world, ready), host=web.host, port=web.port, http=protocol(web), **common)
            ),
            uvicorn.Server(uvicorn.Config(OpsApp(render), host=web.ops_host, port=web.ops_port, **common)),
        ]
        api = world.config.root.api
        if api.token is not None:
            from tracker.daemon.api import make

            self._servers.append(uvicorn.Server(uvicorn.Config(make(world), host=api.host, port=api.port, **common)))

    async def serve(self) -> None:
        """Serve until told to stop."""
        for server in self._servers:
            server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        await asyncio.gather(*(server.serve() for server in self._servers))

    def run(self) -> None:
        """Serve, in this thread, until told to stop; an address that is taken ends it (uvicorn exits there)."""
        try:
            asyncio.run(self.serve())
        except SystemExit:
            self._failed = True

    def started(self, timeout: float = 10.0) -> bool:
        """Wait until both listen."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if all(server.started for server in self._servers):
                return True
            if self._failed:
                return False
            time.sleep(0.01)
        return False

    def ports(self) -> tuple[int, ...]:
        """Return the ports they listen on: the receiver, the ops endpoint, and the read API where it is on."""
        return tuple(server.servers[0].sockets[0].getsockname()[1] for server in self._servers)

    def stop(self) -> None:
        """Finish the requests at hand and stop."""
        for server in self._servers:
            server.should_exit = True
