"""The way out, against servers that misbehave on real sockets."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tracker.app.client import MOST_BYTES, AccountClient, Clients, NoVault
from tracker.app.connections import KEEP_IDLE, Connections, _trust, is_public
from tracker.clock import system_now
from tracker.config.model import Account
from tracker.domain.errors import BadPayload, NotFound, RateLimited, Refused, SourceError, Transient, Unavailable
from tracker.plugin.conformance import example_settings, plugin_of
from tracker.plugin.contracts import Request, Response, retry_after


class Peer:
    """A server that does to each connection what it is told."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.script: list[Callable[[socket.socket], None]] = []
        self.requests: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            action = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            threading.Thread(target=self._one, args=(peer, action), daemon=True).start()

    def _one(self, peer: socket.socket, action: Callable[[socket.socket], None]) -> None:
        try:
            self.requests.append(peer.recv(65536))
            action(peer)
        except OSError:
            pass
        finally:
            peer.close()

    def close(self) -> None:
        self._listener.close()


def says(body: bytes, status: str = "200 OK", *headers: str) -> Callable[[socket.socket], None]:
    head = (
        "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]) + "\r\n\r\n"
    )
    return lambda peer: peer.sendall(head.encode() + body)


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = Peer()
    yield server
    server.close()


@pytest.fixture
def connections() -> Iterator[Connections]:
    made = Connections({"127.0.0.1"})
    yield made
    made.close()


@pytest.fixture
def client(connections: Connections) -> AccountClient:
    plugin = plugin_of("carriers.dhl")
    source: Any = plugin("account", example_settings(plugin))
    return AccountClient(
        Account("account", "dhl", source), NoVault(), connections=connections, timeout=1.5, now=system_now
    )


def get(client: AccountClient, peer: Peer, **more: Any) -> Response:
    return client.send(Request("GET", f"http://127.0.0.1:{peer.port}/x", **more))


def test_an_answer_comes_whole_with_small_header_names(peer: Peer, client: AccountClient) -> None:
    peer.script = [says(b"hello", "200 OK", "X-Some: Thing")]

    answer = get(client, peer, params={"a": "b c"}, basic=("u", ""))

    assert (answer.status, answer.body, answer.headers["x-some"]) == (200, b"hello", "Thing")
    sent = peer.requests[0].lower()
    assert b"get /x?a=b" in sent
    assert b"accept-encoding: identity" in sent
    assert b"authorization: basic" in sent


def test_a_server_that_drips_its_body_ends_at_the_deadline(peer: Peer, client: AccountClient) -> None:
    def drip(conn: socket.socket) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            conn.sendall(b"x")
            time.sleep(0.1)

    peer.script = [drip]
    with pytest.raises(Transient, match="Timeout"):
        get(client, peer, idempotent=False)


def test_a_server_that_drips_its_headers_ends_at_the_deadline(peer: Peer, client: AccountClient) -> None:
    def drip(conn: socket.socket) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 500:
            conn.sendall(bytes([byte]))
            time.sleep(0.05)

    peer.script = [drip]
    with pytest.raises(Transient):
        get(client, peer, idempotent=False)


def test_a_connection_that_is_reset_is_tried_again_where_that_is_safe(peer: Peer, client: AccountClient) -> None:
    peer.script = [lambda conn: conn.close(), says(b"fine")]

    assert get(client, peer).body == b"fine"


def test_a_write_is_not_tried_again(peer: Peer, client: AccountClient) -> None:
    peer.script = [lambda conn: conn.close()]

    with pytest.raises(Transient):
        get(client, peer, idempotent=False)
    assert len(peer.requests) == 1


def test_three_tries_and_no_more(peer: Peer, client: AccountClient) -> None:
    peer.script = [says(b"", "503 Service Unavailable")]

    with pytest.raises(Transient, match="503"):
        get(client, peer)
    assert len(peer.requests) == 3


def test_a_server_that_names_a_time_is_not_asked_again_before(peer: Peer, client: AccountClient) -> None:
    peer.script = [says(b"", "503 Service Unavailable", "Retry-After: 3")]

    with pytest.raises(RateLimited) as error:
        get(client, peer)
    assert error.value.after == timedelta(seconds=3)
    assert len(peer.requests) == 1


def test_a_redirect_is_not_followed(peer: Peer, client: AccountClient) -> None:
    peer.script = [says(b"", "302 Found", "Location: http://169.254.169.254/latest/meta-data")]

    with pytest.raises(Refused, match="redirect"):
        get(client, peer)


def test_a_compressed_answer_that_nobody_asked_for_is_refused(peer: Peer, client: AccountClient) -> None:
    bomb = gzip.compress(b"\0" * (50 << 20))
    peer.script = [says(bomb, "200 OK", "Content-Encoding: gzip")]

    with pytest.raises(BadPayload, match="compressed"):
        get(client, peer)


def test_an_endless_answer_is_cut(peer: Peer, client: AccountClient) -> None:
    def flood(conn: socket.socket) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            conn.sendall(b"x" * 65536)

    peer.script = [flood]
    with pytest.raises(BadPayload, match=str(MOST_BYTES)):
        get(client, peer)


def test_half_an_answer_is_no_answer(peer: Peer, client: AccountClient) -> None:
    peer.script = [lambda conn: conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")]

    with pytest.raises(Transient):
        get(client, peer)


def test_a_404_is_judged_by_the_plugin(peer: Peer, client: AccountClient) -> None:
    peer.script = [says(b"{}", "404 Not Found")]

    with pytest.raises(NotFound):
        get(client, peer)


def test_plain_http_needs_the_host_to_be_named(client: AccountClient) -> None:
    with pytest.raises(Refused, match="https"):
        client.send(Request("GET", "http://api.example.com/x"))


def test_a_name_that_resolves_to_a_private_address_is_not_called(peer: Peer, client: AccountClient) -> None:
    with pytest.raises(Transient, match="not public"):
        client.send(Request("GET", f"https://localhost:{peer.port}/x"))
    with pytest.raises(Transient, match="resolved"):
        client.send(Request("GET", "https://no-such-host.invalid/x", idempotent=False))
    assert peer.requests == []


ODD_URLS = (
    "http://[::1", "http://127.0.0.1:abc/", "http://127.0.0.1:-1/", "http://127.0.0.1/\x00", "http://127.0.0.1/\ud800",
    "https://\ud800/", f"https://{'a' * 70}.invalid/", "https://xn--a/", "https://a..b/", "https:///x", "https://", "", "x",
    "//127.0.0.1/", "ftp://127.0.0.1/", "https://\u2603.invalid/", f"http://127.0.0.1/{'a' * 70_000}",
    "https://user:p\ud800@127.0.0.1/", "http://127.0.0.1/\r\nX: y", "https://[v1.x]/", "http://127.0.0.1\x00/",
)  # fmt: skip


@pytest.mark.parametrize("url", ODD_URLS, ids=lambda url: ascii(url)[:30])
def test_an_odd_url_is_an_error_of_the_tree_that_can_be_stored(client: AccountClient, url: str) -> None:
    with pytest.raises(SourceError) as told:
        client.send(Request("GET", url, idempotent=False))
    assert str(told.value).isascii()
    assert str(told.value).isprintable()
    assert "user" not in str(told.value)


@pytest.mark.parametrize(
    "odd",
    [
        {"headers": {"X-Key": "\xfc"}}, {"headers": {"X-Key": "\ud800"}}, {"headers": {"X-Key": "a\r\nb: c"}},
        {"headers": {"X-Key": "\x00"}}, {"headers": {"X-Key": 5}}, {"headers": {"a b": "c"}}, {"headers": {"": "c"}},
        {"headers": {"\xfc": "c"}}, {"headers": {"Content-Length": "abc"}}, {"params": {"a": "\ud800"}},
        {"basic": ("\ud800", "b")},
    ],
    ids=str,
)  # fmt: skip
def test_a_request_that_cannot_be_written_is_refused_before_the_call(
    peer: Peer, client: AccountClient, odd: dict[str, Any]
) -> None:
    peer.script = [says(b"{}")]
    with pytest.raises(Refused, match="cannot be made"):
        get(client, peer, **odd)
    assert b"HTTP" not in b"".join(peer.requests)


def test_what_the_libraries_raise_beside_their_errors_may_pass(peer: Peer, client: AccountClient) -> None:
    peer.script = [says(b"{}")]
    with pytest.raises(Transient, match=r"127\.0\.0\.1: LocalProtocolError"):
        get(client, peer, headers={"Content-Length": "1"}, content=b"more than one")
    with pytest.raises(Transient, match="TypeError"):
        client.send(Request("G\xcbT", f"http://127.0.0.1:{peer.port}/x"))


def test_a_cookie_has_no_say_in_the_next_request(peer: Peer, client: AccountClient) -> None:
    peer.script = [says(b"{}", "200 OK", "Set-Cookie: a=\xff"), says(b"{}")]
    get(client, peer)
    get(client, peer)

    assert b"cookie" not in peer.requests[1].lower()


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>Back soon", b"\xef\xbb\xbf \n<HTML lang=en>Back soon"])
def test_a_page_for_people_is_no_answer(peer: Peer, client: AccountClient, page: bytes) -> None:
    peer.script = [says(page)]
    with pytest.raises(Unavailable, match="page of HTML"):
        get(client, peer)
    peer.script = [says(page, "404 Not Found")]  # of a proxy: it says nothing of the parcel
    with pytest.raises(Transient, match="page of HTML"):
        get(client, peer)


INSIDE = {  # block -> an address of it (RFC 6890 and the IANA special-purpose registries)
    "this network": "0.0.0.0", "private": "10.0.0.1", "private 12": "172.16.0.1", "private 16": "192.168.1.1",
    "shared": "100.64.0.1", "loopback": "127.0.0.1", "link-local": "169.254.169.254", "protocols": "192.0.0.8",
    "PCP anycast": "192.0.0.9", "documentation": "192.0.2.1", "documentation 2": "198.51.100.1", "documentation 3": "203.0.113.1",
    "6to4 relays": "192.88.99.1", "benchmarking": "198.18.0.1", "multicast": "224.0.0.1", "multicast documentation": "233.252.0.1",
    "reserved": "240.0.0.1", "broadcast": "255.255.255.255",
    "unspecified 6": "::", "loopback 6": "::1", "IPv4-compatible": "::127.0.0.1", "IPv4-compatible public": "::8.8.8.8",
    "IPv4-mapped": "::ffff:10.0.0.1", "IPv4-translated": "::ffff:0:10.0.0.1", "IPv4-translated public": "::ffff:0:8.8.8.8",
    "NAT64": "64:ff9b::a00:1", "NAT64 public": "64:ff9b::8.8.8.8", "NAT64 local": "64:ff9b:1::a00:1", "discard": "100::1",
    "dummy": "100:0:0:1::1", "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2", "benchmarking 6": "2001:2::1", "AMT": "2001:3::1",
    "ORCHID": "2001:10::1", "ORCHIDv2": "2001:20::1", "DETs": "2001:30::1", "documentation 6": "2001:db8::1",
    "documentation 6 new": "3fff::1", "6to4": "2002:a00:1::", "6to4 public": "2002:808:808::", "SRv6": "5f00::1",
    "unassigned": "4000::1", "unique local": "fd00::1", "unique local central": "fc00::1", "link-local 6": "fe80::1",
    "scoped": "fe80::1%eth0", "scoped public": "2606:4700::1111%eth0", "site-local": "fec0::1", "multicast 6": "ff0e::1",
}  # fmt: skip


@pytest.mark.parametrize("block", INSIDE)
def test_an_address_inside_is_not_public(block: str) -> None:
    assert not is_public(INSIDE[block])


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "100.63.255.255", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"],
)
def test_an_address_outside_is_public(address: str) -> None:
    assert is_public(address)


def test_an_account_that_must_rest_is_not_asked(
    peer: Peer, client: AccountClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.script = [says(b"{}")]
    monkeypatch.setattr(client._account.source, "throttle_delay", lambda response: timedelta(seconds=30))
    get(client, peer)

    with pytest.raises(RateLimited) as error:
        get(client, peer)
    assert error.value.after is not None
    assert error.value.after > timedelta(seconds=20)


def test_of_two_answers_at_once_the_longer_rest_holds(
    peer: Peer, client: AccountClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.script = [keeps(threading.Barrier(2), threading.Semaphore(0))]
    asked = iter([30, 1])
    monkeypatch.setattr(client._account.source, "throttle_delay", lambda response: timedelta(seconds=next(asked)))
    threads = [threading.Thread(target=get, args=(client, peer)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with pytest.raises(RateLimited) as error:
        get(client, peer)
    assert error.value.after is not None
    assert error.value.after > timedelta(seconds=20)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5), ("999999999999", 3600), ("Mon, 02 Nov 2026 12:00:10 GMT", 10), ("Mon, 02 Nov 2020 12:00:10 GMT", 0),
     ("soon", None), ("", None), ("-5", None), ("１", None)],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms_and_capped(value: str, seconds: int | None) -> None:
    from tracker.plugin.conformance import AT

    after = retry_after(Response(429, {"retry-after": value}, b"", AT))

    assert after == (None if seconds is None else timedelta(seconds=seconds))


def keeps(together: threading.Barrier, ended: threading.Semaphore) -> Callable[[socket.socket], None]:
    """Answer once all wait for an answer, and again what comes on the same connection; tell when the client ends it."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    def act(peer: socket.socket) -> None:
        together.wait(10)
        peer.sendall(answer)
        while peer.recv(65536):
            peer.sendall(answer)
        ended.release()

    return act


def at_once(client: AccountClient, peer: Peer, count: int) -> None:
    threads = [threading.Thread(target=get, args=(client, peer)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_there_are_as_many_connections_as_calls_ran_side_by_side_and_unused_ones_are_closed(
    peer: Peer, client: AccountClient, connections: Connections
) -> None:
    together, ended = threading.Barrier(3), threading.Semaphore(0)
    peer.script = [keeps(together, ended)]
    at_once(client, peer, 3)
    used_by_then = time.monotonic()
    for _ in range(5):  # in other threads, one at a time
        at_once(client, peer, 1)

    assert len(peer.requests) == 3  # connections
    assert connections.counts() == (3, 3)
    connections.drop_idle(used_by_then)
    assert ended.acquire(timeout=10)
    assert ended.acquire(timeout=10)
    assert connections.counts() == (1, 1)  # the one that the five calls used
    get(client, peer)
    assert len(peer.requests) == 3
    connections.close()
    assert ended.acquire(timeout=10)


def test_a_client_that_was_closed_amid_a_call_answers_it_and_keeps_no_connection(
    peer: Peer, client: AccountClient, connections: Connections
) -> None:
    asked, go, ended = threading.Event(), threading.Event(), threading.Event()

    def answer_late(connection: socket.socket) -> None:
        asked.set()
        go.wait(10)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        if not connection.recv(1):
            ended.set()

    peer.script = [answer_late]
    told: list[Response] = []
    calling = threading.Thread(target=lambda: told.append(get(client, peer)))
    calling.start()
    assert asked.wait(10)
    connections.close()
    go.set()
    calling.join()

    assert [answer.status for answer in told] == [200]
    assert ended.wait(10)
    assert connections.counts() == (0, 0)


def test_all_threads_have_one_client_an_account_and_new_settings_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = plugin_of("carriers.dhl")
    account = Account("a", "dhl", plugin("a", example_settings(plugin)))  # type: ignore[arg-type]
    changed = Account("a", "dhl", plugin("a", example_settings(plugin)))  # type: ignore[arg-type]
    clients = Clients(allow=(), timeout=1, now=system_now, vault=lambda _: NoVault())
    mine = clients(account)
    theirs: list[AccountClient] = []
    thread = threading.Thread(target=lambda: theirs.append(clients(account)))
    thread.start()
    thread.join()

    assert clients(account) is mine
    assert theirs == [mine]
    assert clients(changed) is not mine
    clients.connections.give_back("https://h", clients.connections.take("https://h"))
    clients.tidy()
    assert clients.connections.counts() == (1, 1)
    later = time.monotonic() + KEEP_IDLE
    monkeypatch.setattr("tracker.app.client.time.monotonic", lambda: later)
    clients.tidy()
    assert clients.connections.counts() == (0, 0)
    assert NoVault().load() is None
    with pytest.raises(Refused, match="vault_key"):
        NoVault().store("x")
    clients.close()


def test_all_clients_share_one_tls_context_that_no_handshake_changes() -> None:
    first, second = (Clients(allow=(), timeout=1, now=system_now, vault=lambda _: NoVault()) for _ in range(2))
    context = _trust()

    taken = [made.connections.take("https://h") for made in (first, first, second)]
    for http in taken:
        assert http._transport._pool._ssl_context is context  # type: ignore[attr-defined]
        http.close()
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) > 100
    context.set_alpn_protocols(["\0 not even a protocol \ud800"])  # an SSLContext of the library raises on this
    first.close()
    second.close()
