"""Large results: whole on disk or not at all, from the hosts that a plugin declares, and without anything of ours."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.app.peer import Peer, says
from tracker.app import spool
from tracker.app.client import AccountClient, NoVault
from tracker.app.connections import Connections
from tracker.clock import system_now
from tracker.config.model import Account
from tracker.domain.errors import BudgetSpent, NotFound, RateLimited, Refused, SourceError, Transient
from tracker.plugin.conformance import example_settings, plugin_of

LINES = b'{"id": 1}\n{"id": 2}\n{"id": 3}'


def bound(connections: Connections, *hosts: str, **more: Any) -> AccountClient:
    plugin = plugin_of("adapters.shopify")
    source: Any = plugin("account", example_settings(plugin, shop="a.myshopify.com"))
    source.stream_hosts = hosts
    return AccountClient(
        Account("account", "shopify", source), NoVault(), connections=connections, timeout=30, now=system_now, **more
    )


@pytest.fixture
def streams(connections: Connections) -> AccountClient:
    return bound(connections, "127.0.0.1")


def url(peer: Peer) -> str:
    return f"http://127.0.0.1:{peer.port}/r.jsonl?Signature=secret"


def raw(answer: bytes) -> Callable[[socket.socket], None]:
    return lambda peer: peer.sendall(answer)


def test_a_result_is_opened_whole_line_by_line_and_nothing_of_ours_was_sent(peer: Peer, streams: AccountClient) -> None:
    peer.script = [says(LINES)]
    with streams.stream(url(peer), len(LINES)) as file:
        assert list(file) == [b'{"id": 1}\n', b'{"id": 2}\n', b'{"id": 3}']
        stat = os.fstat(file.fileno())
        assert (oct(stat.st_mode & 0o777), stat.st_nlink) == ("0o600", 0)  # nobody else's to read, and it has no name
    assert file.closed
    (request,) = peer.requests
    names = {line.split(b":")[0].lower() for line in request.split(b"\r\n")[1:] if line}
    assert names == {b"host", b"accept", b"accept-encoding", b"connection", b"user-agent"}


def chunked(*parts: bytes, ends: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return head + body + (b"0\r\n\r\n" if ends else b"")


def test_chunks_that_come_to_their_end_are_a_whole_result(peer: Peer, streams: AccountClient) -> None:
    peer.script = [raw(chunked(LINES[:4], LINES[4:]))]
    with streams.stream(url(peer)) as file:
        assert file.read() == LINES


@pytest.mark.parametrize(
    ("answer", "size", "error", "said"),
    [
        (says(LINES), len(LINES) + 1, Transient, f"{len(LINES)} of {len(LINES) + 1} bytes came"),
        (says(LINES), len(LINES) - 1, Transient, "is larger than"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + LINES), None, Transient, "RemoteProtocolError"),
        (raw(chunked(LINES, ends=False)), None, Transient, "RemoteProtocolError"),
        (raw(chunked(LINES, ends=False)), len(LINES), Transient, "RemoteProtocolError"),
        (raw(b"HTTP/1.1 200 OK\r\n\r\n" + LINES), None, Transient, "nobody tells where the result ends"),
        (raw(b"HTTP/1.1 200 OK\r\n\r\n" + LINES), 99, Transient, f"{len(LINES)} of 99 bytes came"),
        (says(LINES, "200 OK", "Content-Encoding: gzip"), None, Transient, "compressed"),
        (says(b"<html>", "200 OK", "Content-Type: text/html"), None, Transient, "a page of HTML"),
        (says(LINES, "206 Partial Content"), None, Transient, "HTTP 206"),
        (says(b"", "204 No Content"), None, Transient, "HTTP 204"),
        (says(b"", "302 Found", "Location: http://127.0.0.1/"), None, Refused, "redirects are not followed"),
        (says(b"<Error/>", "403 Forbidden"), None, NotFound, "not there any more"),
        (says(b"<Error/>", "400 Bad Request"), None, NotFound, "not there any more"),
        (says(b"", "429 Too Many Requests", "Retry-After: 9"), None, Transient, "HTTP 429"),
        (says(b"", "503 Service Unavailable"), None, Transient, "HTTP 503"),
        (says(b"x" * (1 << 20) + b"x\n"), None, Transient, "longer than"),
    ],
)
def test_what_is_no_whole_result_fails_and_names_no_secret(
    peer: Peer, streams: AccountClient, answer: Any, size: int | None, error: type[SourceError], said: str
) -> None:
    peer.script = [answer]
    with pytest.raises(error, match=said) as caught, streams.stream(url(peer), size):
        pass
    assert type(caught.value) is error  # its account is not to rest, nor to be suspended
    assert "secret" not in str(caught.value)


def test_a_line_may_be_as_long_as_the_cap_wherever_it_is_cut(peer: Peer, streams: AccountClient) -> None:
    body = b"\n".join([b"x" * (1 << 20)] * 2)
    peer.script = [says(body)]
    with streams.stream(url(peer)) as file:
        assert [len(line) for line in file] == [(1 << 20) + 1, 1 << 20]


def test_a_result_that_drips_ends_at_its_own_deadline(
    peer: Peer, streams: AccountClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "LASTS", 0.2)

    def drips(s: socket.socket) -> None:
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx")
        s.recv(1)

    peer.script = [drips]
    with pytest.raises(Transient, match=r"deadline|timed out"), streams.stream(url(peer)):
        pass


@pytest.mark.parametrize(
    "address",
    [
        "https://other.example/r", "https://storage.googleapis.com.evil.example/r", "https://me:pw@storage.googleapis.com/r",
        "https://storage.googleapis.com:8443/r", "http://storage.googleapis.com/r", "file:///etc/passwd", "https://[", "",
    ],
)  # fmt: skip
def test_only_declared_hosts_are_called_and_only_by_https(connections: Connections, address: str) -> None:
    client = bound(connections, "storage.googleapis.com")
    with pytest.raises(Refused), client.stream(address):
        pass


def test_a_declared_host_that_is_not_public_is_not_called() -> None:
    connections = Connections(())
    client = bound(connections, "localhost")
    with pytest.raises(Transient, match="not public"), client.stream("https://localhost/r"):
        pass
    connections.close()


def test_a_result_is_a_call_of_the_budget_and_is_not_fetched_while_the_account_rests(
    peer: Peer, connections: Connections
) -> None:
    def spent(_account: str) -> None:
        raise BudgetSpent("no call is left")

    with pytest.raises(BudgetSpent), bound(connections, "127.0.0.1", charge=spent).stream(url(peer)):
        pass
    resting = bound(connections, "127.0.0.1")
    resting._rest_until = 10.0**9
    with pytest.raises(RateLimited), resting.stream(url(peer)):
        pass
    assert peer.requests == []
