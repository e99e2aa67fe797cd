"""What is for those inside: `/metrics`, and the read API, each on a port of its own.

They are as hard as the public port: its bounds and deadlines, one answer in JSON for whatever is wrong, one line in the log for
refusals of a kind, sampled. A defect of ours is a 500 with an id, by which the log tells where it happened.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import httptools
import orjson
import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tracker.app import wire
from tracker.app.telemetry import place
from tracker.app.wire import Listener, Request
from tracker.config.model import Web
from tracker.domain.masking import mask_bytes

log = structlog.get_logger()
JSON = "application/json"
READS = ("GET", "HEAD")
THREADS = 4  # questions that are worked side by side: the others wait, and the workers keep their connections
MOST_TEXT = 500  # characters of a part of an address
MOST_PAIRS = 50
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)


class Refusal(Exception):
    """A request that gets another answer than it wants; what it says is shown to who asked."""

    def __init__(self, status: int, said: str, **headers: str) -> None:
        """`headers`: more of them, `_` for `-`."""
        super().__init__(said)
        self.status, self.said = status, said
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Reply(NamedTuple):
    """What is answered."""

    status: int
    body: bytes
    kind: str = JSON
    headers: dict[str, str] = {}  # noqa: RUF012 nobody changes it


class Asked:
    """What somebody inside asks for. Raises Refusal for texts that no order, store or account can have."""

    def __init__(self, request: Request) -> None:
        """Look at nothing yet: who asks comes first."""
        self.method, self.headers = request.method, request.headers
        self._url = httptools.parse_url(request.url)

    def path(self) -> tuple[str, ...]:
        """Return the parts of the path."""
        return tuple(_text("path", part) for part in (self._url.path or b"/").split(b"/")[1:])

    def query(self) -> dict[str, str]:
        """Return the parameters; of two with one name the later counts."""
        pairs = [pair.partition(b"=") for pair in (self._url.query or b"").split(b"&") if pair]
        if len(pairs) > MOST_PAIRS:
            raise Refusal(400, f"at most {MOST_PAIRS} parameters")
        plain = [(_text("query", name), value.replace(b"+", b" ")) for name, _, value in pairs]
        return {name: _text(name, value) for name, value in plain}


def _text(name: str, part: bytes) -> str:
    try:
        text = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(400, f"{name}: is not UTF-8") from None
    if len(text) > MOST_TEXT:
        raise Refusal(400, f"{name}: has more than {MOST_TEXT} characters")
    if any(sign < " " or sign == "\x7f" for sign in text):
        raise Refusal(400, f"{name}: holds a control character")
    return text


class Private(Listener):
    """A port where questions are answered, in threads of their own."""

    def __init__(self, web: Callable[[], Web], answer: Callable[[Asked], Reply]) -> None:
        """`answer` may raise Refusal; whatever else it raises is a 503 or a 500."""
        super().__init__(web, lambda loop: Connection(self, loop))
        self._answer = answer
        self.pool = ThreadPoolExecutor(THREADS, "private")

    async def close(self, within: float = 4.0) -> None:
        """Let those who wait have their answers, and end the threads."""
        await super().close(within)
        self.pool.shutdown(wait=False, cancel_futures=True)

    def answer(self, request: Request) -> Reply:
        """Answer a question, whatever happens."""
        try:
            if request.refused is not None:
                raise Refusal(request.refused[0], request.refused[1].replace("_", " "))
            asked = Asked(request)
            reply = self._answer(asked)
            return reply._replace(body=mask_bytes(reply.body))
        except Refusal as refusal:
            if refusal.status != HTTPStatus.NOT_FOUND:
                self.tell(
                    "request_refused", f"{refusal.status}", port=self.port, status=refusal.status, reason=refusal.said
                )
            return error_reply(refusal.status, refusal.said)._replace(headers=refusal.headers)
        except Exception as error:
            return failed(self, error)


def failed(of: Listener, error: Exception) -> Reply:
    """Tell the log why a question of a port could not be answered; return what its asker is told."""
    if isinstance(error, DATABASE_AWAY):
        of.tell("request_failed", "away", port=of.port, error=type(error).__name__)
        return error_reply(503, "database away")
    known_by = secrets.token_hex(6)
    log.error("request_failed", id=known_by, port=of.port, error=type(error).__name__, at=place(error))
    return error_reply(500, f"a defect of ours: the log tells of it as {known_by}")


def error_reply(status: int, said: str) -> Reply:
    """Say in JSON what is wrong, in words that are masked."""
    return Reply(status, mask_bytes(orjson.dumps({"error": said})))


class Connection(wire.Connection):
    """One who asks."""

    _of: Private

    def work(self, request: Request) -> None:
        """Answer a request in a thread."""
        self._loop.run_in_executor(self._of.pool, self._of.answer, request).add_done_callback(self._answered)

    def _answered(self, told: asyncio.Future[Reply]) -> None:
        if told.cancelled():
            self.abort()
            return
        reply = told.result()
        more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        head = (
            f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\ncontent-type: {reply.kind}\r\n"
            f"cache-control: no-store\r\nx-content-type-options: nosniff\r\n{more}content-length: %d\r\n"
        )
        self.say(reply.status, reply.body, head.encode())
        self.go_on()


def metrics(render: Callable[[], bytes]) -> Callable[[Asked], Reply]:
    """Return what answers `/metrics` with what `render` makes (Prometheus text format 0.0.4)."""

    def answer(asked: Asked) -> Reply:
        if asked.path() != ("metrics",):
            raise Refusal(404, "there is /metrics and nothing else")
        only_reads(asked)
        return Reply(200, render(), "text/plain; version=0.0.4; charset=utf-8")

    return answer


def only_reads(asked: Asked) -> None:
    """Refuse what is no question."""
    if asked.method not in READS:
        raise Refusal(405, "nothing is written here: GET", allow=", ".join(READS))
