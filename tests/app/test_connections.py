"""Connections are few, shared and closed in time; a call that hangs gives its place to who waits. On real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import pytest

from tests.app.peer import Peer, get, keeps
from tests.certificates import serving
from tracker.app.client import AccountClient, Clients, NoVault
from tracker.app.connections import DEADLINE, KEEP_IDLE, Connections, _trust
from tracker.clock import system_now
from tracker.config.model import Account
from tracker.domain.errors import Refused, SourceError, Transient
from tracker.pipeline.places import READS, GaveWay, Place, Places
from tracker.plugin.calls import Request, Response
from tracker.plugin.conformance import example_settings, plugin_of


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


# a call that gives way

Hangs = Callable[[socket.socket], None]


def until_closed(peer: socket.socket) -> None:
    while peer.recv(65536):
        pass


def half_an_answer(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    until_closed(peer)


def in_a_place(places: Places, call: Callable[[], object]) -> tuple[Place, Future[None]]:
    """Make a call in a place; it has had its time already."""
    place = places.take(READS, "account", failing=False)
    assert place is not None

    def work() -> SourceError | None:
        try:
            call()
        except SourceError as error:
            return error
        return None

    return place, places.start(place, work)


@pytest.mark.parametrize(
    ("scheme", "hangs"), [("http", until_closed), ("http", half_an_answer), ("https", until_closed)]
)
def test_a_read_that_hangs_gives_its_place_to_who_waits_and_a_write_does_not(
    peer: Peer, client: AccountClient, scheme: str, hangs: Hangs, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.script = [hangs]
    monkeypatch.setattr("tracker.pipeline.places.HASTE", 0.0)
    told: list[type[SourceError]] = []
    url = f"{scheme}://127.0.0.1:{peer.port}/x"

    def ask(idempotent: bool) -> None:
        try:
            client.send(Request("GET", url, idempotent=idempotent))
        except SourceError as error:
            told.append(type(error))

    for idempotent in (True, False):
        places = Places(1)
        client._timeout = 10 if idempotent else 0.3
        place, ended = in_a_place(places, lambda: ask(idempotent))  # noqa: B023
        with places.reserving() as room:
            assert room.take(READS, "another") is None
        ended.result()
        assert place.longest > 0
        places.close()

    assert told == [GaveWay, Transient]


def test_a_handshake_and_an_answer_may_take_many_slices(
    tmp_path: Path, client: AccountClient, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = serving(tmp_path, "localhost", system_now() + timedelta(days=1))
    listening = socket.create_server(("127.0.0.1", 0))
    slices: list[float] = []
    through = threading.Event()

    def looked_up(_deadline: object) -> None:
        slices.append(time.monotonic())
        if len(slices) in (3, 8):  # the peer goes on, once in its handshake, once before its answer
            through.set()

    def serve() -> None:
        peer, _ = listening.accept()
        through.wait(10)
        through.clear()
        with context.wrap_socket(peer, server_side=True) as secured:
            secured.recv(65536)
            through.wait(10)
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            secured.recv(1)

    monkeypatch.setattr("tracker.app.connections.SLICE", 0.01)
    monkeypatch.setattr("tracker.app.connections.Deadline.look_up", looked_up)
    connections.allow = frozenset({"localhost"})
    host = f"https://localhost:{listening.getsockname()[1]}"
    http = connections.take(host)
    http._transport._pool._ssl_context = ssl.create_default_context(cafile=tmp_path / "cert.pem")  # type: ignore[attr-defined]
    connections.give_back(host, http)
    serving_ = threading.Thread(target=serve, daemon=True)
    serving_.start()

    assert client.send(Request("GET", f"{host}/x")).body == b"hello"
    assert len(slices) >= 8
    connections.close()
    serving_.join(10)
    listening.close()


def test_at_the_cap_the_longest_unused_connection_makes_room_and_who_finds_none_waits_for_one(
    connections: Connections,
) -> None:
    connections.most = 2
    one, two = connections.take("https://one"), connections.take("https://two")
    connections.give_back("https://one", one)
    connections.give_back("https://two", two)
    assert connections.take("https://two") is two
    three = connections.take("https://three")
    assert one.is_closed
    assert connections.counts() == (2, 0)
    DEADLINE.at = time.monotonic()
    with pytest.raises(Transient, match="all 2 connections are used"):
        connections.take("https://four")
    DEADLINE.at = float("inf")
    waiting: list[object] = []
    thread = threading.Thread(target=lambda: waiting.append(connections.take("https://four")))
    thread.start()
    connections.give_back("https://three", three, keep=False)
    thread.join(10)

    assert len(waiting) == 1
    assert connections.counts() == (2, 0)
