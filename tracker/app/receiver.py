"""The receiver: `/webhooks/{account}[/{token}]` (POST; GET for handshakes), `/livez`, `/readyz`.

Group commit without a timer: requests that arrive while a commit runs share the next one. Exactly 200, after the commit;
503 when the database is away; 401 with one body for unknown account, wrong token, wrong signature and no handshake.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from tracker.app import wire
from tracker.app.keys import Keys
from tracker.app.readiness import AWAY, CANNOT_STORE
from tracker.app.telemetry import place
from tracker.app.wire import Listener, Request
from tracker.config.model import Account
from tracker.domain.errors import WebhookRejected
from tracker.domain.facts import Payload
from tracker.domain.masking import mask
from tracker.pipeline import receive
from tracker.pipeline.context import AppContext
from tracker.pipeline.traces import Span
from tracker.plugin.contracts import Reply

log = structlog.get_logger()
MOST_GROUP = 200
_RESULTS = {receive.HANDSHAKE: "handshake"}
_REJECTED, _REJECTION = b'{"error":"unauthorized"}', wire.head_of(401, "application/json")
_NOT_ALLOWED = wire.head_of(405, allow="POST, GET")
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nx-content-type-options: nosniff\r\ncontent-length: %%d\r\n"


class Receiver(Listener):
    """What all senders share: the context and the group commit."""

    def __init__(self, ctx: AppContext, ready: Callable[[], list[str]]) -> None:
        """`ready` says why not; an empty list is ready."""
        super().__init__(lambda: ctx.config.root.web, lambda loop: Connection(self, loop))
        self.ctx, self.ready, self.keys = ctx, ready, Keys(ctx)
        self._waiting: list[tuple[Account, Payload, Connection, Span | None]] = []
        self._committing = False
        self._writer = ThreadPoolExecutor(1, "receiver")

    async def close(self, within: float = 4.0) -> None:
        """Let those who wait have their answers, and end the writer."""
        await super().close(within)
        self._writer.shutdown(wait=False)

    def store(self, account: Account, payload: Payload, connection: Connection) -> None:
        """Commit a payload with others, and then tell its connection."""
        traces = self.ctx.traces
        span = traces.begin("receive", None, account=account.name) if traces is not None else None
        self._waiting.append((account, payload, connection, span))
        if not self._committing:
            self._commit(asyncio.get_running_loop())

    def _commit(self, loop: asyncio.AbstractEventLoop) -> None:
        group, self._waiting = self._waiting[:MOST_GROUP], self._waiting[MOST_GROUP:]
        self._committing = bool(group)
        if not group:
            return
        payloads = [(account, payload) for account, payload, _, _ in group]
        spans = [span for *_, span in group if span is not None]
        came = [span.parent if span is not None else None for *_, span in group] if spans else ()

        def work() -> None:
            try:
                receive.commit(self.ctx, payloads, came)
            except Exception as error:
                loop.call_soon_threadsafe(done, error)
            else:
                loop.call_soon_threadsafe(done, None)

        def done(error: Exception | None) -> None:
            self._commit(loop)
            for span in spans:
                span.end(type(error).__name__ if error is not None else None)
            if error is None:
                self.ctx.notify("ingest")
                ended = Counter((account.name, _RESULTS.get(payload.kind, "stored")) for account, payload in payloads)
                for (name, result), count in ended.items():
                    self.count(name, result, count)
            for account, payload, connection, _ in group:
                try:
                    connection.stored(account, payload, error)
                except Exception as problem:  # one that cannot be answered holds back no other answer
                    log.error("request_failed", error=type(problem).__name__, at=place(problem))

        self._writer.submit(work)

    def account(self, path: str) -> tuple[Account | None, str, str]:
        """Return the account that a path addresses, the name it is counted by, and the token in the address."""
        name, _, token = path.removeprefix("/webhooks/").partition("/")
        config = self.ctx.config
        account = config.receiver(name := config.addressed(name))
        return account, name if account is not None or name in config.suspended else "unknown", token

    def count(self, account: str, result: str, count: int = 1) -> None:
        """Count webhooks by how they ended."""
        self.ctx.count("tracker_webhooks_total", count, account=account, result=result)


class _Came(NamedTuple):
    """A request to the address of an account, and when it came."""

    account: Account | None
    label: str  # what it is counted by
    token: str
    request: Request
    at: float


class Connection(wire.Connection):
    """One sender of webhooks."""

    _of: Receiver

    def __init__(self, receiver: Receiver, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is connected yet."""
        super().__init__(receiver, loop)
        self._aged = False  # the current one was proved by a secret that is not the newest
        self._reply: Reply | None = None  # the current one is a handshake, and answered by it

    def most_body(self, path: str) -> int:
        """Return how large a body may be: an account that sends larger ones may."""
        account, most = self._of.account(path)[0], self._of.web().max_body
        return most if account is None else max(most, account.source.max_body)

    def work(self, request: Request) -> None:
        """Take a webhook in, or say how we are."""
        path = request.path
        if request.refused is not None:
            status, result = request.refused
            self._of.count(self._of.account(path)[1], result)
            self.say(status)
        elif path.startswith("/webhooks/"):
            if request.method in ("POST", "GET"):
                self._webhook(request)
            elif request.method == "HEAD":  # some senders probe with it
                self.say(200)
            else:
                self.say(405, head=_NOT_ALLOWED)
        elif path == "/livez":
            self.say(200, b"ok")
        elif path == "/readyz":
            self._loop.run_in_executor(None, self._readiness).add_done_callback(self._ready)
        else:
            self.say(404)

    def _readiness(self) -> tuple[int, bytes]:
        try:
            why = self._of.ready()
        except SQLAlchemyError:
            why = [AWAY]
        # a shop that hangs or is suspended takes nobody's webhooks away
        fatal = any(one in CANNOT_STORE for one in why)
        return 503 if fatal else 200, mask("\n".join(why) or "ready").encode()

    def _ready(self, told: asyncio.Future[tuple[int, bytes]]) -> None:
        error = None if told.cancelled() else told.exception()
        if error is not None:
            log.error("request_failed", error=type(error).__name__, at=place(error))
        self.say(*((503, b"") if error is not None or told.cancelled() else told.result()))
        self.go_on()

    def _webhook(self, request: Request) -> None:
        ctx = self._of.ctx
        account, label, token = self._of.account(request.path)
        if account is None and label in ctx.config.suspended:  # nobody can verify it: its sender shall come again
            self._later(label, "its entry is wrong")
            return
        came = _Came(account, label, token, request, time.monotonic())
        if account is not None and self._of.keys.old(account):
            self._look(account, came, None)
        else:
            self._take(came)

    def _take(self, came: _Came, *, looked: bool = False) -> bool:
        """Store what came and proves itself, or say that it does not. Returns whether its answer is said. `looked`: for its key."""
        account, label, token, request, arrived = came
        body = None if request.method == "GET" else request.body
        try:
            told = receive.check(account, token, request.headers, body, self._of.ctx.now(), wire.query(request.url))
            assert account is not None
            if told.key_id is not None:
                if not looked and self._of.keys.may_look(account, told.key_id):
                    self._look(account, came, told.key_id)
                    return False
                if not self._of.keys.lacks(account, told, arrived):
                    self._later(label, "its key is not known yet")
                    return True
                raise WebhookRejected("its sender has no such key")
        except WebhookRejected as error:
            self._of.tell("webhook_rejected", label, account=label, reason=str(error))
            self._of.count(label, "rejected")
            self.say(401, _REJECTED, _REJECTION)
            return True
        self._aged, self._reply = told.aged, told.reply
        self._of.store(account, told.payload, self)
        return False

    def _later(self, label: str, reason: str) -> None:
        """Have a sender come again."""
        self._of.tell("webhook_not_stored", label, account=label, reason=reason)
        self._of.count(label, "not_stored")
        self.say(503)

    def _look(self, account: Account, came: _Came, key_id: str | None) -> None:
        """Look for keys, and take the request then."""

        def seen(there: bool) -> None:
            said = True
            try:
                if there:
                    said = self._take(came, looked=key_id is not None)
                else:
                    self._later(came.label, "the database is away")
            except Exception as error:  # ours; the sender tries again
                log.error("request_failed", error=type(error).__name__, at=place(error))
                self.say(503)
            if said:
                self.go_on()

        self._of.keys.look(self._loop, account, key_id, seen)

    def stored(self, account: Account, payload: Payload, error: Exception | None) -> None:
        """Answer the current request: its payload is committed; or it is not, and we never say 200."""
        if error is not None:
            log.warning("webhook_not_stored", account=account.name, error=type(error).__name__)
            self._of.count(account.name, "not_stored")
            self.say(503)
        else:
            if self._aged:
                self._of.ctx.count("tracker_webhooks_old_secret_total", account=account.name)
            reply = self._reply or account.source.answer
            if reply is None:
                self.say(200)
            else:
                self.say(200, reply.body, _HEAD % reply.content_type.encode())
        self.go_on()
