"""All fake servers of a play on one port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Server, Spoilt
from tracker.sandbox.contracts import contract_of

Endpoint = Callable[[Request], Awaitable[Response]]


def _held(server: Server, route: Route) -> Endpoint:
    """Hold each request and each answer of a route against the official contract of the server, where it has one."""
    if not server.contract:
        return route.endpoint
    contract = contract_of(server.contract)

    async def answer(request: Request) -> Response:
        operation, body = f"{request.method} {route.path}", await request.body()
        if refused := contract.refuses(operation, request, body):
            server.complaints += [f"{operation}: {said}" for said in refused]
            return server.invalid(refused, request)
        given: Response = await route.endpoint(request)
        if not isinstance(given, Spoilt):
            given, untrue = contract.judged(operation, body, given, server.said)
            server.untrue += [f"{operation}: {said}" for said in untrue]
        return given

    return answer


class _Server(uvicorn.Server):
    """Ends as soon as it is told to; uvicorn's own looks ten times a second, and a suite stops a thousand."""

    _loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Serve until `end`."""
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        if not self.should_exit:
            await self._over.wait()

    async def all_of_it(self) -> None:
        """Serve, and end then whoever is connected yet: one may have come while it stopped."""
        await self.serve()
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if transport is not None:
                transport.abort()

    def end(self) -> None:
        """Stop serving; from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._over.set)


class FakeServers:
    """All servers on one port of loopback, each under its account's name."""

    def __init__(self, servers: list[Server]) -> None:
        """Mount them; nothing listens yet."""
        self.servers = {server.account: server for server in servers}
        self._stopping = False
        routes = [
            Route(
                f"/{server.account}{route.path}",
                self._faulty(server, _held(server, route)),
                methods=sorted(route.methods or {"GET"}),
            )
            for server in servers
            for route in server.routes()
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            host="127.0.0.1",
            port=0,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
        )
        self._server = _Server(config)
        self._thread: threading.Thread | None = None

    def _faulty(self, server: Server, endpoint: Endpoint) -> Endpoint:
        """Answer as the server's faults say, else as it would."""

        async def answer(request: Request) -> Response:
            server.asked.append(server.clock())
            told = server.faults.met(request.url.path)
            if told is None:
                return await endpoint(request)
            server.calls["hang" if told.hang else "answer"] += 1
            while told.hang and not self._stopping and not await request.is_disconnected():
                await asyncio.sleep(0.01)
            return Response(told.body, told.status, told.headers, told.kind)

        return answer

    def start(self) -> int:
        """Listen, in a thread; returns the port."""
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.all_of_it()), name="sandbox", daemon=True
        )
        self._thread.start()
        until = time.monotonic() + 10
        while not self._server.started:
            if time.monotonic() > until:
                raise RuntimeError("the sandbox did not start")
            time.sleep(0.005)
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Stop listening."""
        self._stopping = True
        self._server.end()
        if self._thread is not None:
            self._thread.join(5)
