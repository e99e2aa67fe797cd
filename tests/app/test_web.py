"""The receiver over real sockets: exactly 200 after the commit, 401 that says nothing, slow senders cut."""

from __future__ import annotations

import hashlib
import hmac
import io
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lab import Lab, tracker_body
from tracker.app.servers import Servers
from tracker.app.telemetry import logs_to
from tracker.config.load import load_text
from tracker.store import tables as t

WEB = (
    "web: {port: 0, ops_port: 0, header_timeout: 1s, request_timeout: 2s, max_body: 4096, connections_per_address: 50}"
)


class Receiver:
    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self.lab = lab
        self.servers = Servers(lab.ctx, lab.daemon.not_ready, lambda: lab.daemon.metrics.render(lab.daemon.gauges()))
        self.thread = threading.Thread(target=self.servers.run, daemon=True)
        self.thread.start()
        assert self.servers.started()
        self.port, self.ops = self.servers.ports()
        stack.callback(self.thread.join, 5)
        stack.callback(self.servers.stop)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10, trust_env=False)
        stack.callback(self.http.close)

    def post(self, body: bytes, path: str = "/webhooks/easypost", **headers: str) -> httpx.Response:
        signature = hmac.new(b"hook", body, hashlib.sha256).hexdigest()
        return self.http.post(
            path, content=body, headers={"x-hmac-signature": f"hmac-sha256-hex={signature}", **headers}
        )

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@pytest.fixture
def receiver(make_lab: Any) -> Iterator[Receiver]:
    lab = make_lab(yaml=WEB)
    with ExitStack() as stack:
        yield Receiver(lab, stack)


BODY = tracker_body("9400111206206406260787")


def test_a_signed_webhook_is_stored_before_200_is_said(receiver: Receiver) -> None:
    receiver.lab.notifier.notified.clear()  # to start notifies every queue
    answer = receiver.post(BODY)

    assert (answer.status_code, answer.content) == (200, b"")
    assert receiver.lab.one(t.inbox).body == BODY
    assert receiver.lab.notifier.notified == ["ingest"]
    assert receiver.lab.one(t.accounts, t.accounts.c.name == "easypost").last_webhook_at is not None


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/webhooks/easypost", {"x-hmac-signature": "hmac-sha256-hex=0"}),
        ("/webhooks/nobody", {}),
        ("/webhooks/easypost/some-token", {}),
        ("/webhooks/ups", {"credential": "hook"}),
        ("/webhooks/ups/wrong", {"credential": "hook"}),
        ("/webhooks/shop", {}),
    ],
)
def test_every_rejection_is_the_same_401_and_stores_nothing(
    receiver: Receiver, path: str, headers: dict[str, str]
) -> None:
    answer = receiver.post(BODY, path, **headers)

    assert (answer.status_code, answer.content) == (401, b'{"error":"unauthorized"}')
    assert receiver.lab.rows(t.inbox) == []
    assert receiver.lab.daemon.metrics.total("tracker_webhooks_total") == 1


def test_F28_an_old_secret_still_proves_and_is_counted(make_lab: Any) -> None:
    lab = make_lab(yaml=WEB)
    before, easypost = lab.yaml.split("  easypost:")
    hook = re.search(r'"(\$\{file:\S+/)hook\}"', easypost)
    assert hook
    easypost = easypost.replace(hook[0], f'["{hook[1]}s}}", {hook[0]}]', 1)  # "s" is the newest
    lab.ctx.config = load_text(f"{before}  easypost:{easypost}")
    with ExitStack() as stack:
        receiver = Receiver(lab, stack)
        assert receiver.post(BODY).status_code == 200
        newest = hmac.new(b"s", BODY, hashlib.sha256).hexdigest()
        again = receiver.http.post(
            "/webhooks/easypost", content=BODY, headers={"x-hmac-signature": f"hmac-sha256-hex={newest}"}
        )

    assert again.status_code == 200
    assert lab.daemon.metrics.total("tracker_webhooks_old_secret_total") == 1


def test_many_at_once_share_commits_and_all_are_stored(receiver: Receiver) -> None:
    bodies = [
        tracker_body("9400111206206406260787", updated_at=f"2026-01-01T00:00:{i % 60:02}.{i:03}Z") for i in range(60)
    ]
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda part=part: statuses.extend(receiver.post(b).status_code for b in part))
        for part in (bodies[0::6], bodies[1::6], bodies[2::6], bodies[3::6], bodies[4::6], bodies[5::6])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * 60
    assert len(receiver.lab.rows(t.inbox)) == 60


def test_a_database_that_is_away_is_a_503_and_never_a_200(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    from tracker.pipeline import receive

    def away(*_: Any) -> None:
        raise OSError("away")

    monkeypatch.setattr(receive.queries, "store_payloads", away)
    assert receiver.post(BODY).status_code == 503
    monkeypatch.undo()
    assert receiver.post(BODY).status_code == 200
    assert len(receiver.lab.rows(t.inbox)) == 1


def test_a_large_body_is_refused(receiver: Receiver) -> None:
    most = 1 << 20
    assert receiver.post(b"x" * (most + 1)).status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * (1 << 16)

    with pytest.MonkeyPatch.context():
        answer = receiver.http.post("/webhooks/nobody", content=chunks())
    assert answer.status_code == 413


def test_an_encoded_body_is_refused(receiver: Receiver) -> None:
    assert receiver.post(BODY, **{"content-encoding": "gzip"}).status_code == 415


def test_a_body_that_never_ends_is_cut(receiver: Receiver) -> None:
    with receiver.socket() as peer:
        peer.sendall(b"POST /webhooks/easypost HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        assert b" 408 " in peer.recv(1000)


def test_headers_that_drip_are_cut_while_others_are_served(receiver: Receiver) -> None:
    peers = [receiver.socket() for _ in range(20)]
    for peer in peers:
        peer.sendall(b"POST /webhooks/easypost HTTP/1.1\r\nHost: ")
    assert receiver.post(BODY).status_code == 200

    for peer in peers:
        try:
            assert peer.recv(100) == b""
        except ConnectionResetError:
            pass
        peer.close()


def test_a_silent_connection_is_cut(receiver: Receiver) -> None:
    with receiver.socket() as peer:
        try:
            assert peer.recv(100) == b""
        except ConnectionResetError:
            pass


def test_endless_headers_are_cut(receiver: Receiver) -> None:
    with receiver.socket() as peer:
        peer.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for i in range(10_000):
                peer.sendall(f"X-{i}: {'a' * 1000}\r\n".encode())
                time.sleep(0)


def test_a_kept_alive_connection_serves_again(receiver: Receiver) -> None:
    with receiver.socket() as peer:
        for _ in range(3):
            peer.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok"):
                answer += peer.recv(1000)
            assert b" 200 " in answer


def test_one_address_cannot_take_all_connections(receiver: Receiver) -> None:
    peers = [receiver.socket() for _ in range(60)]
    cut = 0
    for peer in peers[50:]:
        try:
            cut += peer.recv(1) == b""
        except ConnectionResetError:
            cut += 1
    for peer in peers:
        peer.close()

    assert cut == 10


def test_health_says_what_it_is(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.app.readiness.KEPT", 0.0)
    assert receiver.http.get("/livez").text == "ok"
    assert receiver.http.get("/readyz").text == "ready"
    assert receiver.http.get("/nothing").status_code == 404
    assert receiver.http.put("/webhooks/easypost").status_code == 405
    assert receiver.http.head("/webhooks/easypost").status_code == 200

    receiver.lab.change(t.accounts.update().where(t.accounts.c.name == "ups").values(suspended_reason="401"))
    answer = receiver.http.get("/readyz")
    assert (answer.status_code, answer.text) == (200, "account ups is suspended: its credentials are refused")


def test_health_tells_what_is_wrong_and_stays_ready_for_webhooks(receiver: Receiver) -> None:
    receiver.lab.work()
    since = receiver.lab.clock() - timedelta(minutes=10)
    shop = t.accounts.update().where(t.accounts.c.name == "shop")
    receiver.lab.change(shop.values(failing_since=since, failing_why="canary"))
    answer = receiver.http.get("/readyz")

    assert answer.status_code == 200
    assert answer.text == (
        "shop does not answer since 2026-11-02 07:50Z; nothing, or `tracker heal` once shop answers: it is asked again by itself"
    )
    receiver.lab.change(shop.values(failing_since=None))
    assert receiver.http.get("/readyz").text == answer.text  # as of some seconds ago


def test_health_is_a_503_where_the_database_takes_no_writes(receiver: Receiver) -> None:
    receiver.lab.daemon._readiness.written(False)
    answer = receiver.http.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "the database takes no writes")
    receiver.lab.daemon._readiness.written(True)
    assert receiver.http.get("/readyz").status_code == 200


def test_metrics_are_on_a_port_of_their_own(receiver: Receiver) -> None:
    receiver.post(BODY)
    text = httpx.get(f"http://127.0.0.1:{receiver.ops}/metrics", trust_env=False).text

    assert 'tracker_webhooks_total{account="easypost",result="stored"} 1.0' in text
    assert 'tracker_rows{what="inbox_pending"} 1.0' in text
    assert receiver.http.get("/metrics").status_code == 404
    assert httpx.get(f"http://127.0.0.1:{receiver.ops}/x", trust_env=False).status_code == 404


def test_metrics_of_a_database_that_is_away_say_so_beside_what_this_process_counted(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def away() -> None:
        raise OperationalError("", {}, Exception())

    receiver.post(BODY)
    monkeypatch.setattr(receiver.lab.daemon.store, "read", away)
    answer = httpx.get(f"http://127.0.0.1:{receiver.ops}/metrics", trust_env=False)
    assert answer.status_code == 200
    assert "tracker_database_up 0.0" in answer.text
    assert 'tracker_webhooks_total{account="easypost",result="stored"} 1.0' in answer.text
    assert "tracker_rows" not in answer.text  # nobody knows
    assert receiver.http.get("/readyz").status_code == 503


def test_a_forged_flood_stores_nothing_and_fills_no_log(receiver: Receiver) -> None:
    stream = io.StringIO()
    with logs_to(stream):
        for _ in range(200):
            answer = receiver.http.post("/webhooks/easypost", content=BODY, headers={"x-hmac-signature": "x"})
            assert answer.status_code == 401

    assert 1 <= stream.getvalue().count("webhook_rejected") <= 20
    assert receiver.lab.rows(t.inbox) == []
    assert receiver.lab.daemon.metrics.total("tracker_webhooks_total") == 200


def test_the_receivers_own_file_is_private(receiver: Receiver) -> None:
    if receiver.lab.daemon.store.sqlite:
        path = Path(receiver.lab.daemon.store.url.database or "")
        assert oct(path.parent.stat().st_mode)[-3:] == "700"


def test_stopping_what_has_stopped_is_harmless(receiver: Receiver) -> None:
    receiver.servers.stop()
    receiver.thread.join(10)
    assert not receiver.thread.is_alive()

    receiver.servers.stop()


def test_who_is_stopped_before_it_serves_does_not_stay(make_lab: Any) -> None:
    lab = make_lab(yaml=WEB)
    servers = Servers(lab.ctx, lab.daemon.not_ready, lambda: b"")
    servers.stop()
    thread = threading.Thread(target=servers.run, daemon=True)
    thread.start()
    thread.join(10)

    assert not thread.is_alive()
