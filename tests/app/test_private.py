"""The private ports are as hard as the public one: bounds, deadlines, JSON for whatever is wrong, and no word too many."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy.exc import InterfaceError, OperationalError

from tests.app.test_web import WEB
from tests.lab import TOKEN, UPS, Lab
from tracker.app import api
from tracker.app.private import MOST_TEXT, Asked, Private, Reply, metrics
from tracker.app.servers import Servers
from tracker.app.telemetry import logs_to
from tracker.app.wire import Request

ONE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
RIGHT = {"authorization": f"Bearer {TOKEN}"}


def ask(port: Private, url: str, method: str = "GET", headers: dict[str, str] = RIGHT) -> tuple[int, Any]:
    """Ask without a socket in between."""
    reply = port.answer(Request(method, "", headers, b"", True, None, url.encode()))
    assert reply.kind == "application/json"
    return reply.status, json.loads(reply.body)


@pytest.fixture
def lab(make_lab: Any, tmp_path: Path) -> Lab:
    made: Lab = make_lab(yaml=f'{WEB}\napi: {{port: 0, token: "${{file:{tmp_path}/token}}"}}\n')
    made.work()
    made.order("#1001", UPS, company="UPS")
    made.work()
    return made


@pytest.fixture
def port(lab: Lab) -> Iterator[Private]:
    made = Private(lambda: lab.ctx.config.root.web, api.make_api(lab.ctx))
    yield made
    made.pool.shutdown()


@ONE
@pytest.mark.parametrize(
    ("url", "method", "status", "kind"),
    [
        ("/metrics", "GET", 200, "text/plain; version=0.0.4; charset=utf-8"), ("/nowhere", "GET", 404, "application/json"),
        ("/metrics", "POST", 405, "application/json"), ("/%ff", "GET", 400, "application/json"),
        ("/broken", "GET", 500, "application/json"), ("/away", "GET", 503, "application/json"),
    ],
)  # fmt: skip
def test_the_type_of_each_answer_is_that_of_its_body(lab: Lab, url: str, method: str, status: int, kind: str) -> None:
    def answer(asked: Asked) -> Reply:
        if url == "/broken":
            raise KeyError("x")
        if url == "/away":
            raise InterfaceError("x", {}, Exception())
        return metrics(lambda: b"a 1\n")(asked)

    port = Private(lambda: lab.ctx.config.root.web, answer)
    reply = port.answer(Request(method, "", {}, b"", True, None, url.encode()))
    port.pool.shutdown()

    assert (reply.status, reply.kind) == (status, kind)
    assert reply.body == b"a 1\n" if status == 200 else json.loads(reply.body)["error"]
    assert reply.headers == ({"allow": "GET, HEAD"} if status == 405 else {})


HOSTILE = [
    "%00", "a%00b", "%ed%a0%80", "%ff", "%", "%zz", "%0d%0aX:y", "%1b[31m", quote("😀" * 50), quote("'\"; DROP TABLE orders; --"),
    "a" * MOST_TEXT, "a" * (MOST_TEXT + 1), "9" * 18, "9" * 400, "-1", "1e9", "NaN", "%c2%85", "%e2%80%ae", "..%2f..", "true", "",
]  # fmt: skip
MOMENTS = [
    "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "0001-01-01", "9999-12-31T23:59:59Z", "10000-01-01", "2026-13-01",
    "2026-11-02T09:00:00+14:00", "-0001-01-01T00:00Z", "2026-W01-1", "20261102T090000Z",
]  # fmt: skip


def test_whatever_is_asked_with_the_token_is_answered_in_json_and_is_no_defect(port: Private) -> None:
    """Each parameter and each part of a path, with texts that a database, a calendar or a terminal stumbles over."""
    seen: dict[int, int] = {}
    for path, (_, parameters, _) in api.PATHS.items():
        fixed = path.replace("{store}", "shop").replace("{ref}", "1001")
        asked = [f"{fixed}?{name}={value}" for name in parameters for value in HOSTILE]
        asked += [path.replace(part, value) for part in ("{store}", "{ref}") if part in path for value in HOSTILE]
        asked += [f"{fixed}?{value}={value}" for value in HOSTILE]
        asked += [f"{fixed}?at={value}&to=cancelled" for value in MOMENTS if "{ref}" in path]
        for url in asked:
            status, body = ask(port, url)
            seen[status] = seen.get(status, 0) + 1
            assert status in (200, 400, 404), (url, status, body)
            assert status == 200 or len(body["error"]) < 4 * MOST_TEXT, url
            assert "input_value" not in str(body), url
    assert min(seen[200], seen[400], seen[404]) > 5, seen


@ONE
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/orders/shop/1001?at=0001-01-01T00:00:00%2B14:00", "at: must be a moment such as"),
        ("/orders/shop/1001?at=9999-12-31T23:59:59-14:00", "at: must be a moment such as"),
        ("/orders/shop/%00", "path: holds a control character"), ("/inbox?account=%00", "account: holds a control character"),
        ("/stuck?carrier=%ed%a0%80", "carrier: is not UTF-8"), ("/%ff", "path: is not UTF-8"),
        ("/stuck?carrier=" + "a" * 501, "carrier: has more than 500 characters"), ("/stuck?" + "a=b&" * 51, "at most 50 parameters"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_and_says_what(port: Private, url: str, said: str) -> None:
    status, body = ask(port, url)

    assert status == 400
    assert body["error"].startswith(said)


@ONE
def test_without_the_token_every_path_and_method_is_the_same_401(port: Private) -> None:
    for url in ("/drift", "/drift/", "/nothing", "/", "/%ff", "/openapi.json", "/drift?limit=x", "*"):
        for method in ("GET", "POST", "OPTIONS", "HEAD", "TRACE"):
            for headers in (
                {},
                {"authorization": "Bearer x"},
                {"authorization": "Bearer \xff"},
                {"authorization": f"Basic {TOKEN}"},
            ):
                assert ask(port, url, method, headers) == (401, {"error": "the token is missing or wrong"})


@ONE
def test_what_is_not_there_is_a_404_and_leads_nowhere(port: Private) -> None:
    for url in (
        "/drift/",
        "//drift",
        "/nothing",
        "/",
        "/orders/shop",
        "/orders//1001",
        "/orders/shop/",
        "/openapi.json/",
        "/Drift",
    ):
        reply = port.answer(Request("GET", "", {**RIGHT, "host": "evil.example"}, b"", True, None, url.encode()))
        assert (reply.status, reply.headers) == (404, {}), url
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        reply = port.answer(Request(method, "", RIGHT, b"", True, None, b"/drift"))
        assert (reply.status, reply.headers, json.loads(reply.body)) == (
            405, {"allow": "GET, HEAD"}, {"error": "nothing is written here: GET"},
        )  # fmt: skip


@ONE
def test_a_part_of_a_path_may_hold_what_is_encoded(port: Private, lab: Lab) -> None:
    assert ask(port, "/orders/shop/%231001")[0] == 200
    assert ask(port, "/orders/shop/a%2Fb")[0] == 404


@ONE
def test_a_token_that_is_changed_is_asked_for_after_a_reload(port: Private, lab: Lab, tmp_path: Path) -> None:
    from tracker.config.load import load_text

    (tmp_path / "token").write_text("another-token-of-22-characters")
    lab.daemon.reload(lambda: load_text(lab.yaml))
    assert ask(port, "/drift")[0] == 401
    assert ask(port, "/drift", headers={"authorization": "Bearer another-token-of-22-characters"})[0] == 200

    lab.daemon.reload(lambda: load_text(lab.yaml.partition("api:")[0]))
    assert ask(port, "/drift", headers={"authorization": "Bearer "})[0] == 401


@ONE
def test_a_defect_is_a_500_with_an_id_by_which_the_log_tells_where(
    port: Private, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("canary-in-a-value")

    monkeypatch.setattr(api.lists, "freshness", broken)
    stream = io.StringIO()
    with logs_to(stream):
        status, body = ask(port, "/freshness")

    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert status == 500
    assert body["error"] == f"a defect of ours: the log tells of it as {line['id']}"
    assert (line["event"], line["error"]) == ("request_failed", "ValueError")
    assert line["at"].startswith("tracker/app/api.py:")
    assert "canary" not in stream.getvalue() + str(body)


@ONE
def test_a_database_that_is_away_is_a_503(port: Private, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("SELECT canary", {}, Exception("canary"))

    monkeypatch.setattr(api.lists, "freshness", away)
    assert ask(port, "/freshness") == (503, {"error": "database away"})


# over sockets


class Ports:
    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self.lab = lab
        self.servers = Servers(lab.ctx, list, lambda: b"x 1\n")
        thread = threading.Thread(target=self.servers.run, daemon=True)
        thread.start()
        assert self.servers.started()
        stack.callback(thread.join, 5)
        stack.callback(self.servers.stop)
        _, self.ops, self.api = self.servers.ports()

    def socket(self, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout=10)

    def get(self, port: int, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
            return client.request(method, path, headers=headers)


@pytest.fixture
def ports(lab: Lab) -> Iterator[Ports]:
    with ExitStack() as stack:
        yield Ports(lab, stack)


def rest(peer: socket.socket) -> bytes:
    said = b""
    try:
        while part := peer.recv(65536):
            said += part
    except ConnectionResetError:
        pass
    return said


@ONE
def test_slow_large_and_malformed_requests_are_cut_or_refused_on_every_private_port(ports: Ports) -> None:
    stream, both = io.StringIO(), (ports.ops, ports.api)
    with logs_to(stream), ExitStack() as stack:

        def sent(port: int, data: bytes) -> socket.socket:
            peer = stack.enter_context(ports.socket(port))
            peer.sendall(data)
            return peer

        late = [sent(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab") for port in both]
        dripping = [sent(port, b"GET /metrics HTTP/1.1\r\nHost: ") for port in both for _ in range(10)]
        for port in both:
            assert b" 413 " in rest(
                sent(port, b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
            )
            said = rest(sent(port, b"this is no HTTP\r\n\r\n"))
            assert said.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n")
            assert said.endswith(b'{"error":"malformed"}')
            peer = sent(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                for i in range(10_000):
                    peer.sendall(f"X-{i}: {'a' * 1000}\r\n".encode())
            assert ports.get(port, "/metrics", Authorization=f"Bearer {TOKEN}").status_code in (200, 404)
        assert [rest(peer) for peer in dripping] == [b""] * 20
        assert all(b" 408 " in rest(peer) for peer in late)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [(line["event"], line["port"], line["reason"]) for line in lines]
    for port in (ports.ops, ports.api):
        for reason in ("too large", "malformed", "too slow"):
            assert told.count(("request_refused", port, reason)) == 1
        assert told.count(("connection_cut", port, "too slow a head")) == 1
        assert told.count(("connection_cut", port, "too large a head")) == 1


@ONE
def test_one_address_cannot_take_all_connections_of_a_private_port(ports: Ports) -> None:
    for port in (ports.ops, ports.api):
        peers = [ports.socket(port) for _ in range(53)]
        assert [rest(peer) for peer in peers[50:]] == [b""] * 3
        for peer in peers:
            peer.close()


@ONE
def test_a_flood_without_the_token_is_one_line(ports: Ports) -> None:
    stream = io.StringIO()
    with logs_to(stream), httpx.Client(base_url=f"http://127.0.0.1:{ports.api}", trust_env=False) as client:
        for _ in range(100):
            answer = client.get("/drift", headers={"Authorization": "Bearer canary"})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")

    lines = stream.getvalue().splitlines()
    assert len(lines) <= 10  # one in ten seconds
    assert json.loads(lines[0])["reason"] == "the token is missing or wrong"
    assert "canary" not in stream.getvalue()


@ONE
def test_a_head_is_an_answer_without_its_body_and_a_connection_serves_again(ports: Ports) -> None:
    head = ports.get(ports.ops, "/metrics", "HEAD")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "4")
    assert ports.get(ports.ops, "/metrics").text == "x 1\n"
    assert ports.get(ports.ops, "/metrics/").json() == {"error": "there is /metrics and nothing else"}
    assert ports.get(ports.ops, "/metrics", "POST").status_code == 405
    with ports.socket(ports.api) as peer:
        peer.sendall(f"GET /freshness HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode() * 3)
        peer.shutdown(socket.SHUT_WR)
        assert rest(peer).count(b"HTTP/1.1 200 OK\r\n") == 3


@ONE
def test_an_address_that_is_taken_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = taken.getsockname()[1]
        web = lab.ctx.config.root.web.model_copy(update={"ops_port": at})
        monkeypatch.setattr(
            lab.ctx, "config", type("C", (), {"root": lab.ctx.config.root.model_copy(update={"web": web})})()
        )
        servers = Servers(lab.ctx, list, lambda: b"")
        servers.run()

    assert not servers.started()
    assert servers.problem == f"web.ops_port: /metrics cannot listen on 127.0.0.1:{at}: Address already in use"
