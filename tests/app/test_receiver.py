"""The receiver's own HTTP: answers in order, whatever the pieces, and no sender that holds it up or brings it down."""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import threading
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.app.test_web import BODY, WEB, Receiver
from tests.fuzz.targets import Wire, connect, http
from tracker.store import tables as t

SIGNATURE = "hmac-sha256-hex=" + hmac.new(b"hook", BODY, hashlib.sha256).hexdigest()
LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
NOWHERE = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
FORGED = b"POST /webhooks/nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = (
    b"POST /webhooks/nobody HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
)
KNOWN = {LIVE: 200, NOWHERE: 404, FORGED: 401, CHUNKED: 401}


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", said)]


def post(body: bytes = BODY, path: str = "/webhooks/easypost", *headers: str, signature: str = SIGNATURE) -> bytes:
    told = "".join(f"{header}\r\n" for header in headers)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Hmac-Signature: {signature}\r\nContent-Length: {len(body)}\r\n{told}\r\n"
    )
    return head.encode() + body


@pytest.fixture
def receiver(make_lab: Any) -> Any:
    lab = make_lab(yaml=WEB)
    with ExitStack() as stack:
        yield Receiver(lab, stack)


def read(peer: socket.socket, answers: int) -> bytes:
    """Read until so many answers are complete, or the connection ends."""
    said = b""
    while True:
        heads = list(re.finditer(rb"content-length: (\d+)\r\n(?:connection: close\r\n)?\r\n", said))
        if len(heads) >= answers and len(said) >= heads[answers - 1].end() + int(heads[answers - 1][1]):
            return said
        try:
            part = peer.recv(65536)
        except ConnectionResetError:
            return said
        if not part:
            return said
        said += part


JSON, TEXT = "application/json", "text/plain; charset=utf-8"
WEBHOOK = b" /webhooks/nobody HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "kind", "body"),
    [
        (LIVE, 200, TEXT, b"ok"), (FORGED, 401, JSON, b'{"error":"unauthorized"}'), (NOWHERE, 404, None, b""),
        (b"GET" + WEBHOOK + b"\r\n", 401, JSON, b'{"error":"unauthorized"}'), (b"HEAD" + WEBHOOK + b"\r\n", 200, None, b""),
        (b"PUT" + WEBHOOK + b"\r\n", 405, None, b""), (b"this is no HTTP\r\n\r\n", 400, None, b""),
        (b"POST" + WEBHOOK + b"Content-Length: 99999999\r\n\r\n", 413, None, b""),
        (b"POST" + WEBHOOK + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n", 415, None, b""),
    ],
)  # fmt: skip
def test_the_type_of_each_answer_is_that_of_its_body(
    request_: bytes, status: int, kind: str | None, body: bytes
) -> None:
    wire = Wire()
    connect(wire).data_received(request_)
    head, _, told = wire.said.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])

    assert statuses(wire.said) == [status]
    assert (headers.get("content-type"), told) == (kind, body)
    assert headers.get("allow") == ("POST, GET" if status == 405 else None)


def test_of_a_webhook_that_is_stored_and_of_readiness_too(receiver: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port)) as peer:
        peer.sendall(post() + b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        said = read(peer, 2)

    assert said == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 5\r\n\r\nready"
    )


@given(st.lists(st.sampled_from(sorted(KNOWN)), min_size=1, max_size=8), st.data())
def test_any_requests_in_any_pieces_are_answered_in_their_order(requests: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    wire = Wire()
    connection = connect(wire)
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        if begin < end:
            connection.data_received(whole[begin:end])

    assert statuses(wire.said) == [KNOWN[request] for request in requests]
    assert not wire.closed


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([*KNOWN, b"GET", b" ", b"\r\n", b"\x00", b"HTTP/1.1", b":"])).map(b"".join)
)
def test_any_bytes_are_answered_or_cut_and_raise_nothing(data: bytes) -> None:
    http(data)


def test_requests_sent_at_once_are_stored_and_answered_in_their_order(receiver: Receiver) -> None:
    with receiver.socket() as peer:
        peer.sendall(post() + LIVE + post(signature="x") + NOWHERE + post())
        said = read(peer, 5)

    assert statuses(said) == [200, 200, 401, 404, 200]
    assert len(receiver.lab.rows(t.inbox)) == 1  # the same payload twice


def test_a_sender_that_asks_before_it_sends_its_body_is_told_to_go_on(receiver: Receiver) -> None:
    head, _, body = post(BODY, "/webhooks/easypost", "Expect: 100-continue").partition(b"\r\n\r\n")
    with receiver.socket() as peer:
        peer.sendall(head + b"\r\n\r\n")
        assert peer.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(body)
        assert statuses(read(peer, 1)) == [200]


def test_a_body_in_chunks_is_whole(receiver: Receiver) -> None:
    half = len(BODY) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:half], BODY[half:])) + b"0\r\n\r\n"
    head = f"POST /webhooks/easypost HTTP/1.1\r\nHost: x\r\nX-Hmac-Signature: {SIGNATURE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with receiver.socket() as peer:
        peer.sendall(head.encode() + chunks)
        assert statuses(read(peer, 1)) == [200]

    assert receiver.lab.one(t.inbox).body == BODY


@pytest.mark.parametrize(
    "sent",
    [
        b"this is no HTTP\r\n\r\n",
        b"POST /webhooks/easypost HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /webhooks/easypost HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /webhooks/easypost HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused_and_the_connection_ends(receiver: Receiver, sent: bytes) -> None:
    with receiver.socket() as peer:
        peer.sendall(LIVE + sent)
        said = read(peer, 3)

    assert statuses(said) == [200, 400]
    assert receiver.lab.rows(t.inbox) == []


def test_who_sends_ahead_without_end_is_cut(receiver: Receiver) -> None:
    with receiver.socket() as peer:
        peer.sendall(post() + LIVE * 1000)
        assert len(statuses(read(peer, 1001))) < 1001

    assert receiver.http.get("/livez").status_code == 200


def test_an_old_sender_is_answered_once(receiver: Receiver) -> None:
    with receiver.socket() as peer:
        peer.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        said = read(peer, 2)
    assert statuses(said) == [200]
    assert b"connection: close" in said

    with receiver.socket() as peer:
        peer.sendall(b"GET /livez HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + LIVE)
        assert statuses(read(peer, 2)) == [200]


def test_a_refused_sender_reads_its_answer_though_it_still_sends(receiver: Receiver) -> None:
    with receiver.socket() as peer:
        peer.sendall(b"POST /webhooks/easypost HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        for _ in range(20):
            peer.sendall(b"x" * 4096)
        assert statuses(read(peer, 2)) == [413]


def test_a_body_that_is_too_large_is_told_so_in_whatever_pieces_it_comes() -> None:
    wire = Wire()
    connection = connect(wire)
    connection.data_received(
        b"POST /webhooks/nobody HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\n"
    )
    connection.data_received(b"x" * 0x1000000)

    assert statuses(wire.said) == [413]


def test_a_head_request_has_no_body_and_a_token_may_be_encoded(receiver: Receiver) -> None:
    with receiver.socket() as peer:
        peer.sendall(b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /%6Civez?now HTTP/1.1\r\nHost: x\r\n\r\n")
        said = read(peer, 2)
    first, _, second = said.partition(b"\r\n\r\n")

    assert first.endswith(b"content-length: 2")
    assert second.startswith(b"HTTP/1.1 200 OK")
    assert second.endswith(b"\r\n\r\nok")


def test_an_unexpected_error_is_a_503_and_the_connection_goes_on(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = receiver.lab.ctx.config.accounts["easypost"]

    def broken(_payload: Any) -> int:
        raise KeyError("a defect of ours")

    monkeypatch.setattr(account.source, "verify", broken)
    with receiver.socket() as peer:
        peer.sendall(post() + LIVE)
        assert statuses(read(peer, 2)) == [503, 200]


def test_trailers_without_end_are_cut(receiver: Receiver) -> None:
    head = b"POST /webhooks/easypost HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: "
    with receiver.socket() as peer:
        peer.sendall(head)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(1000):  # 64 MB
                peer.sendall(b"t" * 65536)


def test_a_sender_that_reads_no_answers_is_not_read_either() -> None:
    wire = Wire()
    connection = connect(wire)
    connection.pause_writing()
    connection.data_received(LIVE)
    assert wire.reading == [False]  # paused, and answering did not read on
    connection.resume_writing()
    connection.data_received(LIVE)

    assert wire.reading == [False, True]
    assert statuses(wire.said) == [200, 200]


def test_who_is_answered_for_the_last_time_is_not_kept() -> None:
    wire = Wire()
    connection = connect(wire)
    connection.data_received(b"GET /livez HTTP/1.0\r\n\r\nGET /li")

    assert statuses(wire.said) == [200]
    assert wire.closed


def test_stopping_lets_who_is_being_answered_have_the_answer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracker.pipeline import receive

    storing, may = threading.Event(), threading.Event()
    commit = receive.commit

    def slowly(*given: Any) -> None:
        storing.set()
        may.wait(10)
        commit(*given)

    monkeypatch.setattr(receive, "commit", slowly)
    idle, busy = receiver.socket(), receiver.socket()
    idle.sendall(LIVE)
    read(idle, 1)
    busy.sendall(post())
    assert storing.wait(10)
    receiver.servers.stop()
    assert idle.recv(10) == b""
    may.set()
    said = read(busy, 2)
    idle.close()
    busy.close()

    assert statuses(said) == [200]
    assert b"connection: close" in said
    assert len(receiver.lab.rows(t.inbox)) == 1
    with pytest.raises(OSError, match="refused"):
        receiver.socket()


def test_a_server_that_was_restarted_costs_no_503(receiver: Receiver) -> None:
    if receiver.lab.daemon.store.sqlite:
        return  # there is no server
    assert receiver.post(BODY).status_code == 200
    with receiver.lab.daemon.store.engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        connection.execute(sa.text(others))

    other = BODY.replace(b"in_transit", b"delivered")
    assert other != BODY
    assert receiver.post(other).status_code == 200
    assert len(receiver.lab.rows(t.inbox)) == 2
