"""Applications that speak ASGI, behind our own listener: whole answers, streams, those who go away, and what goes wrong."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.exc import InterfaceError

from tracker.app.asgi import App, Asgi
from tracker.app.telemetry import logs_to
from tracker.config.model import Web
from tracker.domain.masking import hide

STRICT = (
    b"\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\ncontent-security-policy: default-src 'none'\r\n"
)
WEB = Web.model_validate({"header_timeout": "1s", "request_timeout": "2s"})


async def say(send: Any, body: bytes, *, status: int = 200, more: bool = False, **headers: str) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": more})


class Site:
    """An application of a few paths, and what it saw."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.gone, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for word in ("startup", "shutdown"):
                self.seen.append((await receive())["type"])
                await send({"type": f"lifespan.{word}.complete"})
            return
        await getattr(self, f"on_{scope['path'].strip('/')}")(scope, receive, send)

    async def on_echo(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope)
        await say(send, (await receive())["body"] or b"100 %", **{"x-kind": "50 % of it"})

    async def on_stream(self, scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"one ", more=True)
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b"two", "more_body": False})

    async def on_endless(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await say(send, b"begun", more=True)
        self.seen.append((await receive())["type"])
        self.gone.set()
        await send({"type": "http.response.body", "body": b"nobody hears", "more_body": False})

    async def on_flood(self, scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"x", more=True)
        for _ in range(200):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            self.seen.append("sent")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def on_broken(self, scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("canary")

    async def on_half(self, scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"half", more=True)
        raise KeyError("canary")

    async def on_away(self, scope: Any, receive: Any, send: Any) -> None:
        raise InterfaceError("canary", {}, Exception())

    async def on_silent(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer nothing."""

    async def on_twice(self, scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"first")
        await say(send, b"second")

    async def on_split(self, scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"", location="/a\r\nx-evil: 1")

    async def on_secret(self, scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"it is open-sesame-canary")

    async def on_slow(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append("waits")
        await self.go_on.wait()
        await say(send, b"late")


Play = Callable[[Site, Asgi], Awaitable[Any]]


def play(what: Play, *, app: App | None = None, within: float = 4.0) -> tuple[Site, list[dict[str, Any]]]:
    """Let a site listen while something is played; returns it and the lines of the log."""
    stream = io.StringIO()

    async def run() -> Site:
        site = Site()
        port = Asgi(lambda: WEB, app or site, most_body=1 << 20)
        await port.listen("127.0.0.1", 0)
        try:
            await what(site, port)
        finally:
            await port.close(within)
        return site

    with logs_to(stream):
        site = asyncio.run(run())
    return site, [json.loads(line) for line in stream.getvalue().splitlines()]


async def ask(port: Asgi, path: str, method: str = "GET", body: bytes = b"", *, close: bool = True) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    ends = "Connection: close\r\n" if close else ""
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{ends}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def test_what_is_answered_at_once_has_its_length_and_the_application_sees_the_request() -> None:
    async def asked(site: Site, port: Asgi) -> None:
        said = await ask(port, "/echo?a=%20b", "POST", b"hello" * 10_000)
        assert said.startswith(
            b"HTTP/1.1 200 OK\r\nx-kind: 50 % of it\r\ncontent-length: 50000\r\nconnection: close\r\n\r\nhello"
        )
        assert (await ask(port, "/echo", "HEAD")).endswith(b"content-length: 5\r\nconnection: close\r\n\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
        writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        for _ in range(3):  # one connection, in their order
            assert await reader.readuntil(b"100 %")
        writer.close()

    site, log = play(asked)

    assert site.seen[0] == "lifespan.startup"
    assert site.seen[-1] == "lifespan.shutdown"
    scope = site.seen[1]
    assert (scope["method"], scope["path"], scope["query_string"]) == ("POST", "/echo", b"a=%20b")
    assert (b"host", b"x") in scope["headers"]
    assert scope["client"][0] == "127.0.0.1"
    assert scope["server"][0] == "127.0.0.1"
    assert log == []


def test_what_is_told_piece_by_piece_comes_in_chunks_and_ends_the_connection() -> None:
    async def asked(site: Site, port: Asgi) -> None:
        said = await ask(port, "/stream", close=False)
        assert b"\r\ntransfer-encoding: chunked\r\nconnection: close\r\n" in said
        assert said.endswith(b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")
        assert (await ask(port, "/stream", "HEAD", close=False)).endswith(b"connection: close\r\n\r\n")

    play(asked)


def test_an_application_hears_that_who_asked_is_gone_and_that_we_stop() -> None:
    async def gone(site: Site, port: Asgi) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
        writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"begun")
        writer.close()
        await asyncio.wait_for(site.gone.wait(), 10)

    async def stopped(site: Site, port: Asgi) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
        writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"begun")
        await port.close()
        assert (await reader.read()).endswith(b"nobody hears\r\n0\r\n\r\n")
        writer.close()

    assert "http.disconnect" in play(gone)[0].seen
    assert "http.disconnect" in play(stopped)[0].seen


def test_an_application_waits_for_who_does_not_read_its_answer() -> None:
    async def asked(site: Site, port: Asgi) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
        writer.write(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != len(site.seen):  # until it stands
            before = len(site.seen)
            for _ in range(200):
                await asyncio.sleep(0)
        assert len(site.seen) < 190
        rest = await reader.read()
        assert rest.endswith(b"0\r\n\r\n")
        assert len(rest) > 200 * 100_000
        writer.close()

    play(asked)


def test_a_defect_is_told_with_an_id_and_what_is_half_said_is_cut() -> None:
    async def asked(site: Site, port: Asgi) -> None:
        broken = await ask(port, "/broken")
        assert broken.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert b"a defect of ours: the log tells of it as " in broken
        assert STRICT in broken
        assert b" 503 " in await ask(port, "/away")
        assert b" 500 " in await ask(port, "/silent")
        assert (await ask(port, "/twice")).endswith(b"first")
        split = await ask(port, "/split")
        assert b" 500 " in split
        assert b"x-evil" not in split
        assert not (await ask(port, "/half")).endswith(b"0\r\n\r\n")

    _, log = play(asked)

    assert [line["event"] for line in log] == ["request_failed"] * 6
    assert ":" in log[0]["at"]
    assert "canary" not in json.dumps(log)


def test_what_is_too_large_or_no_http_is_refused_before_the_application_sees_it() -> None:
    async def asked(site: Site, port: Asgi) -> None:
        assert b" 413 " in await ask(port, "/echo", "POST", b"x" * (2 << 20))
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
        writer.write(b"this is no HTTP\r\n\r\n")
        said = await reader.read()
        assert said.endswith(b'{"error":"malformed"}')
        assert STRICT in said
        writer.close()

    site, log = play(asked)

    assert site.seen == ["lifespan.startup", "lifespan.shutdown"]
    assert [(line["event"], line["status"]) for line in log] == [("request_refused", 413), ("request_refused", 400)]


def test_secrets_are_masked_in_what_an_application_says() -> None:
    hidden = hide("open-sesame-canary")

    async def asked(site: Site, port: Asgi) -> None:
        assert (await ask(port, "/secret")).endswith(b"it is ********")

    play(asked)
    assert hidden


def test_who_waits_when_we_stop_has_his_answer_and_who_waits_too_long_is_cut() -> None:
    async def answered(site: Site, port: Asgi) -> None:
        asking = asyncio.create_task(ask(port, "/slow"))
        while "waits" not in site.seen:
            await asyncio.sleep(0)
        closing = asyncio.create_task(port.close())
        site.go_on.set()
        assert (await asking).endswith(b"late")
        await closing

    async def cut(site: Site, port: Asgi) -> None:
        asking = asyncio.create_task(ask(port, "/slow"))
        while "waits" not in site.seen:
            await asyncio.sleep(0)
        await port.close(0.0)
        assert b" 200 " not in await asking

    play(answered)
    play(cut)


def test_an_application_that_does_not_start_says_so_and_one_that_knows_no_start_is_served() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no session"})

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await say(send, b"plain")

    async def served(site: Site, port: Asgi) -> None:
        assert (await ask(port, "/")).endswith(b"plain")

    with pytest.raises(RuntimeError, match="it does not start: no session"):
        play(served, app=fails)
    play(served, app=plain)
