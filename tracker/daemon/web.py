"""What listens: the receiver, `/metrics` on a port of its own, and the read API on another."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from tracker.daemon.receiver import Receiver
from tracker.pipeline.world import World

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def _answer(send: Send, status: int, body: bytes = b"", kind: bytes = b"text/plain; charset=utf-8") -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
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


class Servers:
    """The receiver and the ops endpoint on one event loop, in a thread of their own."""

    def __init__(self, world: World, ready: Callable[[], list[str]], render: Callable[[], bytes]) -> None:
        """Configure all; nothing listens yet."""
        self._web = web = world.config.root.web
        common: dict[str, Any] = {
            "log_config": None, "access_log": False, "lifespan": "off", "server_header": False, "date_header": False,
            "ws": "none", "timeout_keep_alive": 30, "backlog": 1024,
        }  # fmt: skip
        self._failed = False
        self._port = 0
        self._stopping = False
        self._stop: Callable[[], object] | None = None
        self._receiver = Receiver(world, ready)
        self._servers = [uvicorn.Server(uvicorn.Config(OpsApp(render), host=web.ops_host, port=web.ops_port, **common))]
        api = world.config.root.api
        if api.token is not None:
            from tracker.daemon.api import make

            self._servers.append(uvicorn.Server(uvicorn.Config(make(world), host=api.host, port=api.port, **common)))

    async def serve(self) -> None:
        """Serve until told to stop. Raises OSError where the receiver's address is taken."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._port = await self._receiver.listen(self._web.host, self._web.port)
        self._stop = partial(loop.call_soon_threadsafe, stopped.set)
        if self._stopping:
            stopped.set()
        for server in self._servers:
            server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]

        async def receive() -> None:
            await stopped.wait()
            await self._receiver.close()

        await asyncio.gather(receive(), *(server.serve() for server in self._servers))

    def run(self) -> None:
        """Serve, in this thread, until told to stop; an address that is taken ends it (uvicorn exits there)."""
        try:
            asyncio.run(self.serve())
        except (OSError, SystemExit):
            self._failed = True

    def started(self, timeout: float = 10.0) -> bool:
        """Wait until all listen."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self._port and all(server.started for server in self._servers):
                return True
            if self._failed:
                return False
            time.sleep(0.01)
        return False

    def ports(self) -> tuple[int, ...]:
        """Return the ports they listen on: the receiver, the ops endpoint, and the read API where it is on."""
        return (self._port, *(server.servers[0].sockets[0].getsockname()[1] for server in self._servers))

    def stop(self) -> None:
        """Finish the requests at hand and stop; also before they serve, and when they have stopped."""
        self._stopping = True
        for server in self._servers:
            server.should_exit = True
        if self._stop is not None:
            with contextlib.suppress(RuntimeError):  # their loop is closed
                self._stop()
