"""What listens: the receiver, `/metrics` on a port of its own, and the read API, the page and what assistants ask on others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from tracker.app.asgi import Asgi
from tracker.app.private import Private, metrics
from tracker.app.receiver import Receiver
from tracker.app.telemetry import place
from tracker.app.wire import Listener
from tracker.domain.errors import ConfigError
from tracker.pipeline.context import AppContext

log = structlog.get_logger()
NO_PROTOCOL = "needs a package that is not installed: pip install 'trackwright[mcp]'"
MOST_ASKED = 64 << 10  # bytes of what an assistant asks


class Servers:
    """All that listens, on one event loop, in a thread of its own."""

    def __init__(
        self,
        ctx: AppContext,
        ready: Callable[[], list[str]] | None,
        render: Callable[[], bytes],
        *,
        ops: tuple[str, int] | None = None,
    ) -> None:
        """Configure all; nothing listens yet. `ready` None: /metrics alone, as of a role that receives nothing."""
        web, api = ctx.config.root.web, ctx.config.root.api
        host, port = ops or (web.ops_host, web.ops_port)
        measured = Private(lambda: ctx.config.root.web, metrics(render))
        self._places: list[tuple[str, Listener, str, int]] = [("web.ops_port: /metrics", measured, host, port)]
        if ready is not None:
            self._places.insert(0, ("web: the receiver", Receiver(ctx, ready), web.host, web.port))
        if ready is not None and (api.token is not None or api.tokens):
            from tracker.app.api import make_api

            self._places.append(
                ("api: the read API", Private(lambda: ctx.config.root.web, make_api(ctx)), api.host, api.port)
            )
        page = ctx.config.root.page
        if page.token is not None or page.tokens:
            from tracker.app.page.site import Site  # templates and their engine are for who has a page

            site = Asgi(lambda: ctx.config.root.web, Site(ctx).app)
            self._places.append(("page: the page", site, page.host, page.port))
        mcp = ctx.config.root.mcp
        if mcp.token is not None or mcp.tokens:
            self._places.append(("mcp: what assistants ask", _assistants(ctx), mcp.host, mcp.port))
        self.problem: str | None = None  # why it does not listen
        self.ended = False  # although nobody told it to
        self._up = threading.Event()  # it listens, or never will
        self._stopping = False
        self._stop: Callable[[], object] | None = None

    async def serve(self) -> None:
        """Serve until told to stop. Raises OSError where an address is taken."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(_tell)
        try:
            for what, listener, host, port in self._places:
                try:
                    await listener.listen(host, port)
                except OSError as error:
                    why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
                    self.problem = f"{what} cannot listen on {host}:{port}: {why}"
                    raise
            self._stop = partial(loop.call_soon_threadsafe, stopped.set)
            if self._stopping:
                stopped.set()
            self._up.set()
            await stopped.wait()
        finally:
            await asyncio.gather(*(listener.close() for _, listener, _, _ in self._places))

    def run(self) -> None:
        """Serve, in this thread, until told to stop."""
        try:
            asyncio.run(self.serve())
        except Exception as error:
            log.error("listening_failed", error=type(error).__name__, at=place(error), said=self.problem)
            self.problem = self.problem or f"web: cannot listen: {type(error).__name__}"
        self.ended = not self._stopping
        self._up.set()

    def started(self, timeout: float = 10.0) -> bool:
        """Wait until all listen."""
        return self._up.wait(timeout) and self.problem is None

    def ports(self) -> tuple[int, ...]:
        """Return the ports they listen on: the receiver, the ops endpoint, and where they are on the read API and the page."""
        return tuple(listener.port for _, listener, _, _ in self._places)

    def stop(self) -> None:
        """Finish the requests at hand and stop; also before they serve, and when they have stopped."""
        self._stopping = True
        if self._stop is not None:
            with contextlib.suppress(RuntimeError):  # their loop is closed
                self._stop()


def _assistants(ctx: AppContext) -> Asgi:
    """Return what answers assistants. Raises ConfigError where the package that speaks their protocol is not there."""
    try:
        from tracker.app.assistants import Site
    except ImportError:
        raise ConfigError(f"mcp: {NO_PROTOCOL}") from None
    return Asgi(lambda: ctx.config.root.web, Site(ctx).app, most_body=MOST_ASKED)


def _tell(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what a connection raised, in one line; asyncio would print all its values."""
    error = context.get("exception")
    where = place(error) if isinstance(error, BaseException) else None
    log.error("connection_failed", error=type(error).__name__, at=where)
