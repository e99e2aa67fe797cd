"""The way out, against servers that misbehave on real sockets."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from tests.app.peer import Peer, get, keeps, says
from tracker.app.client import MOST_BYTES, AccountClient
from tracker.app.connections import is_public
from tracker.domain.errors import BadPayload, NotFound, RateLimited, Refused, SourceError, Transient, Unavailable
from tracker.plugin.answers import retry_after
from tracker.plugin.calls import Request, Response


def test_an_answer_comes_whole_with_small_header_names(peer: Peer, client: AccountClient) -> None:
    peer.script = [says(b"hello", "200 OK", "X-Some: Thing")]

    answer = get(client, peer, params={"a": "b c"}, basic=("u", ""))

    assert (answer.status, answer.body, answer.headers["x-some"]) == (200, b"hello", "Thing")
    sent = peer.requests[0].lower()
    assert b"get /x?a=b" in sent
    assert b"accept-encoding: identity" in sent
    assert b"authorization: basic" in sent


def test_a_server_that_drips_its_body_ends_at_the_deadline(peer: Peer, hasty: AccountClient) -> None:
    def drip(conn: socket.socket) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            conn.sendall(b"x")
            time.sleep(0.1)

    peer.script = [drip]
    with pytest.raises(Transient, match="Timeout"):
        get(hasty, peer, idempotent=False)


def test_a_server_that_drips_its_headers_ends_at_the_deadline(peer: Peer, hasty: AccountClient) -> None:
    def drip(conn: socket.socket) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 500:
            conn.sendall(bytes([byte]))
            time.sleep(0.05)

    peer.script = [drip]
    with pytest.raises(Transient):
        get(hasty, peer, idempotent=False)


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
