"""Webhooks signed by public keys: asked for by the worker, seen by who receives, no news lost, no fetch at a sender's will."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.app.peer import Peer, says
from tests.app.test_web import BODY, WEB, Receiver
from tests.conftest import wait_for
from tests.key_pairs import detached, jwk, jwks
from tracker.app import keys as app_keys
from tracker.app import receiver as app_receiver
from tracker.app.keys import Keys
from tracker.domain.facts import Payload
from tracker.pipeline import keys
from tracker.pipeline.poll import due
from tracker.plugin.calls import Client, Request
from tracker.plugin.public_keys import detached_jws, read_jwks
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.upkeep import maintenance

MINUTE = timedelta(minutes=1)
A = t.accounts.c


class Sender:
    """An account whose webhooks are signed by keys, and where its sender publishes them."""

    def __init__(self, receiver: Receiver, peer: Peer) -> None:
        self.receiver, self.lab, self.peer = receiver, receiver.lab, peer
        self.publishes(jwks("a"))

    def publishes(self, body: bytes, status: str = "200 OK") -> None:
        self.peer.script[:] = [says(body, status)]

    def posts(self, name: str, body: bytes = BODY) -> int:
        headers = {"x-jws": detached(body, name)}
        return self.receiver.http.post("/webhooks/easypost", content=body, headers=headers).status_code

    def worker(self) -> None:
        """Let a worker ask, once: later than what came before, also by a clock of milliseconds (SQLite's)."""
        came = self._clock()
        wait_for(lambda: self._clock() > came)
        self.lab.work("poll")

    def _clock(self) -> datetime:
        with self.lab.ctx.store.read() as connection:
            return database_now(connection)

    def asked(self) -> int:
        return sum(b"GET /keys" in request for request in self.peer.requests)

    def later(self, by: timedelta = MINUTE) -> None:
        """Let so much of the database's time pass for the keys of the account: what happened is so much longer ago."""
        with self.lab.ctx.store.write() as connection:
            row = connection.execute(t.accounts.select().where(A.name == "easypost")).one()
            moved = {n: v - by for n in ("keys_due_at", "keys_failing_since") if (v := getattr(row, n)) is not None}
            if moved:
                connection.execute(t.accounts.update().where(A.name == "easypost").values(moved))
            for key in connection.execute(t.public_keys.select()).all():
                where = t.public_keys.c.key_id == key.key_id
                connection.execute(t.public_keys.update().where(where).values(asked_at=key.asked_at - by))

    def stored(self) -> int:
        return len(self.lab.rows(t.inbox, t.inbox.c.account == "easypost"))

    def held(self) -> Keys:
        """Return what the process that receives knows."""
        return next(one.keys for _, one, *_ in self.receiver.servers._places if isinstance(one, app_receiver.Receiver))

    def account(self) -> Any:
        return self.lab.one(t.accounts, A.name == "easypost")


@pytest.fixture
def sender(make_lab: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    lab, peer = make_lab(yaml=WEB), Peer()
    source = type(lab.ctx.config.accounts["easypost"].source)

    def verify(self: Any, payload: Payload) -> int:
        detached_jws(self.keys, payload.body, payload.headers.get("x-jws"), name="x-jws")
        return 0

    def fetch_keys(_self: Any, client: Client, _key_id: str) -> dict[str, str]:
        return read_jwks(client.send(Request("GET", f"http://127.0.0.1:{peer.port}/keys")).body)

    monkeypatch.setattr(source, "verify", verify)
    monkeypatch.setattr(source, "fetch_keys", fetch_keys)
    monkeypatch.setattr(app_keys, "EVERY", 0.0)  # the next message looks again: seconds are of no concern here
    with ExitStack() as stack:
        stack.callback(peer.close)
        yield Sender(Receiver(lab, stack), peer)


def test_a_message_of_a_key_nobody_knows_waits_for_the_worker_and_is_taken_when_it_comes_again(sender: Sender) -> None:
    assert sender.posts("a") == 503
    assert (sender.stored(), sender.asked()) == (0, 0)  # who receives asks nobody
    assert "poll" in sender.lab.notifier.notified
    sender.worker()

    assert sender.posts("a") == 200
    assert (sender.stored(), sender.asked()) == (1, 1)
    assert sender.posts("a", BODY + b" ") == 200  # and from then on at once
    assert sender.asked() == 1


def test_a_message_is_refused_only_by_an_answer_that_was_asked_for_after_it_came(sender: Sender) -> None:
    assert sender.posts("b") == 503
    sender.worker()
    assert sender.posts("b") == 401  # the same one, again: its key was asked for since
    assert sender.posts("b", b"another") == 503  # this one came after the answer: its key may be new
    sender.worker()
    assert sender.posts("b", b"another") == 503  # not asked again within a minute
    assert sender.asked() == 1
    sender.later()
    sender.publishes(jwks("a", "b"))
    sender.worker()
    assert sender.posts("b", b"another") == 200
    assert sender.posts("b") == 200  # refused before its key was published: true again


def test_no_sender_makes_us_ask_at_will(sender: Sender) -> None:
    for number in range(30):
        assert sender.posts("b", b"%d" % number) == 503
        sender.worker()
    assert sender.asked() == 1
    sender.later()
    for number in range(30):
        assert sender.posts("b", b"again %d" % number) == 503
        sender.worker()
    assert sender.asked() == 2
    assert sender.stored() == 0


def test_who_receives_looks_into_the_database_once_a_second_however_much_comes(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str | None] = []
    real = keys.look

    def look(ctx: Any, account: Any, key_id: str | None) -> keys.Known:
        looks.append(key_id)
        return real(ctx, account, key_id)

    monkeypatch.setattr(app_keys, "EVERY", 3600.0)
    monkeypatch.setattr(keys, "look", look)
    for number in range(20):
        assert sender.posts("b", b"%d" % number) == 503

    assert looks == ["b"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html><body>shop</body></html>", "200 OK"), (jwks(), "200 OK"), (jwks(jwk("a", use="enc")), "200 OK"),
        (b"x" * (6 << 20), "200 OK"), (b"", "200 OK"), (b"{}", "404 Not Found"), (b"{}", "500 Internal Server Error"),
        (b"", "302 Found"), (jwks("a").replace(b'"a"', b'"a\\u0000"'), "200 OK"),
        (b'{"keys": [{"kty": "EC", "kid": "a", "crv": "P-256", "x": "AA", "y": "AA"}]}', "200 OK"),
    ],
    ids=["html", "empty", "enc", "6 MB", "nothing", "404", "500", "redirect", "NUL", "EC"],
)  # fmt: skip
def test_an_answer_that_tells_nothing_refuses_nobody(sender: Sender, body: bytes, status: str) -> None:
    sender.publishes(body, status)
    assert sender.posts("a") == 503
    sender.worker()
    assert sender.posts("a") == 503
    assert sender.lab.rows(t.public_keys) == []
    sender.later()
    sender.publishes(jwks("a"))
    sender.worker()

    assert sender.posts("a") == 200
    assert sender.account().failures is None  # the account itself rests for none of it


def test_a_sender_that_asks_to_wait_is_not_asked_for_its_keys_before(sender: Sender) -> None:
    sender.peer.script[:] = [says(b"", "429 Too Many Requests", "Retry-After: 600")]
    sender.posts("a")
    sender.worker()
    assert sender.asked() == 1
    sender.later(timedelta(minutes=9))
    sender.worker()
    assert sender.asked() == 1
    sender.publishes(jwks("a"))
    sender.later(timedelta(minutes=2))
    sender.worker()

    assert sender.posts("a") == 200


def test_keys_that_cannot_be_had_for_long_are_a_finding_that_ends_with_them(sender: Sender) -> None:
    sender.publishes(b"<html></html>")
    sender.posts("a")
    sender.worker()
    assert "keys_missing" not in sender.lab.open_findings()
    waits = []
    for _ in range(3):
        sender.later(timedelta(minutes=6))
        sender.worker()
        row = sender.account()
        waits.append(row.keys_due_at - row.keys_failing_since)
    (finding,) = sender.lab.rows(t.findings, t.findings.c.kind == "keys_missing")
    assert finding.subject == "account/easypost"
    assert "HTML" in finding.evidence["why"] or "page" in finding.evidence["why"]
    assert waits == sorted(waits)
    sender.later(timedelta(minutes=20))
    sender.publishes(jwks("a"))
    sender.worker()

    assert "keys_missing" not in sender.lab.open_findings()
    assert sender.posts("a") == 200


def test_a_key_is_asked_for_again_after_a_day_and_goes_when_its_sender_took_it_away(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_keys, "OLD", 0.0)
    sender.publishes(jwks("a", "b"))
    sender.posts("a")
    sender.worker()
    sender.publishes(jwks("b"))
    assert sender.posts("a", b"within a day") == 200
    sender.worker()
    assert sender.asked() == 1
    sender.later(timedelta(days=1))
    assert sender.posts("a", b"the day is over, and nobody knows yet") == 200
    sender.publishes(b"away", "503 Service Unavailable")
    sender.worker()
    assert sender.posts("a", b"nobody answers: it stays good") == 200
    sender.publishes(jwks("b"))
    sender.later()
    sender.worker()

    assert sender.posts("a", b"taken away") == 503
    sender.later()
    sender.worker()
    assert sender.posts("a", b"taken away") == 401
    assert sender.posts("b") == 200
    assert sender.asked() >= 3


def test_a_wanted_key_that_nobody_gives_makes_way_for_another(sender: Sender) -> None:
    sender.publishes(b"{}", "500 Internal Server Error")
    sender.posts("forged")
    sender.worker()
    sender.posts("a")

    assert sender.account().keys_wanted == "a"


def test_keys_asked_for_by_other_settings_are_not_used(sender: Sender) -> None:
    sender.posts("a")
    sender.worker()
    assert sender.posts("a") == 200
    with sender.lab.ctx.store.write() as connection:
        connection.execute(t.public_keys.update().values(credentials="of another shop"))
    sender.lab.ctx.config.accounts["easypost"].source.keys = {}

    assert sender.posts("a", b"after a change") == 503


def test_few_keys_are_kept_of_an_account(sender: Sender) -> None:
    account = sender.lab.ctx.config.accounts["easypost"]
    with sender.lab.ctx.store.write() as connection:
        now = sender.account().connected_at or sender.lab.clock()
        for step in range(3):
            told = {f"{step}-{i}": "{}" for i in range(30)}
            keys._keep(sender.lab.ctx, connection, account, told, now + step * MINUTE)
            keys._keep(sender.lab.ctx, connection, account, {f"lacking {step}": None}, now + step * timedelta(hours=1))
    rows = sender.lab.rows(t.public_keys)

    assert len([row for row in rows if row.key is not None]) == keys.MOST_KEYS
    assert {row.key_id for row in rows if row.key is None} == {"lacking 1", "lacking 2"}


def test_two_workers_that_looked_at_the_same_moment_ask_once(sender: Sender) -> None:
    sender.posts("a")
    ctx = sender.lab.ctx
    claimed = []
    with ctx.store.read() as connection:
        now = database_now(connection)
        ready = [one for one in due.look(ctx, connection, now, ctx.now())[0].values() if one.row.wanted]
    for _ in range(2):
        with ctx.places.reserving() as room, ctx.store.write() as connection:
            claimed += keys.claim(ctx, connection, ready, room, now)

    assert len(ready) == len(claimed) == 1


def test_keys_that_nobody_uses_any_more_are_dropped(sender: Sender) -> None:
    sender.posts("a")
    sender.worker()
    maintenance.prune(sender.lab.ctx)
    assert len(sender.lab.rows(t.public_keys)) == 1
    sender.later(sender.lab.ctx.config.root.retention.rows + MINUTE)
    maintenance.prune(sender.lab.ctx)
    assert sender.lab.rows(t.public_keys) == []


def test_what_is_remembered_of_messages_is_bounded(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_keys, "MOST_REMEMBERED", 5)
    for number in range(12):
        sender.posts("b", b"%d" % number)
    held: Keys = sender.held()
    assert len(held._came) == 5
    sender.worker()

    assert sender.posts("b", b"11") == 401
    assert sender.posts("b", b"0") == 503  # forgotten: it is told once more to come again


@pytest.mark.parametrize("odd", ["a\0b", "x" * 201, "", "é", "a b"])
def test_an_id_that_can_be_none_reaches_no_database(sender: Sender, odd: str) -> None:
    headers = {"x-jws": detached(BODY, "a", kid=odd)}
    answer = sender.receiver.http.post("/webhooks/easypost", content=BODY, headers=headers)

    assert answer.status_code == 401
    assert sender.account().keys_wanted is None


def test_a_database_that_is_away_is_a_503_and_the_connection_goes_on(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(keys, "look", away)
        assert sender.posts("a") == 503
    assert sender.posts("a") == 503
    sender.worker()
    assert sender.posts("a") == 200


def test_requests_sent_at_once_share_a_look_and_are_answered_in_their_order(sender: Sender) -> None:
    sender.posts("a")
    sender.worker()
    sender.held()._rings.clear()
    sender.lab.ctx.config.accounts["easypost"].source.keys = {}  # as of a process that begins

    def post(name: str, body: bytes) -> bytes:
        head = f"POST /webhooks/easypost HTTP/1.1\r\nHost: x\r\nX-JWS: {detached(body, name)}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    peers = [sender.receiver.socket() for _ in range(3)]
    for number, peer in enumerate(peers):
        peer.sendall(post("a", b"%d" % number) + post("b", b"%d" % number) + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [_statuses(peer, 3) for peer in peers] == [[200, 503, 200]] * 3
    assert sender.stored() == 3


def _statuses(peer: socket.socket, answers: int) -> list[int]:
    said = b""
    while said.count(b"HTTP/1.1 ") < answers or not said.endswith(b"ok"):
        said += peer.recv(65536)
    peer.close()
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]
