"""What senders ask before they send news: answered by the plugin, counted, bounded, never read, and no way to find accounts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pydantic import SecretStr

from tests.app.test_web import BODY, WEB, Receiver
from tests.lab import TOKEN
from tracker.domain.facts import Payload
from tracker.plugin.contracts import Reply
from tracker.plugin.signatures import hashed_challenge
from tracker.store import tables as t
from tracker.support import lists
from tracker.upkeep.replay import replay

ADDRESS = "https://t.example/webhooks/ups"


class Asked:
    """The handshakes of a plugin: eBay's challenge, one that is echoed, and WooCommerce's ping."""

    @staticmethod
    def handshake(_source: Any, payload: Payload) -> Reply | None:
        if (code := payload.query.get("challenge_code")) is not None:
            return Reply(hashed_challenge(code, SecretStr("v"), ADDRESS).encode(), "application/json")
        if (word := payload.query.get("challenge")) is not None:
            return Reply(word.encode())
        return Reply() if payload.body.startswith(b"webhook_id=") else None


@pytest.fixture
def receiver(make_lab: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    lab = make_lab(yaml=WEB)
    for name in ("ups", "easypost"):
        monkeypatch.setattr(type(lab.ctx.config.accounts[name].source), "handshake", Asked.handshake)
    with ExitStack() as stack:
        yield Receiver(lab, stack)


def test_a_challenge_is_answered_by_the_plugin_in_its_own_content_type(receiver: Receiver) -> None:
    answer = receiver.http.get(f"/webhooks/ups/{TOKEN}", params={"challenge_code": "c0de"})

    assert answer.status_code == 200
    assert answer.text == hashlib.sha256(f"c0dev{ADDRESS}".encode()).hexdigest()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"  # it may echo what a stranger wrote


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("a%20b+c", "a b c"), ("%C3%A9", "é"), ("%ff", "\ufffd"), ("1&challenge=2", "2"), ("", ""), ("a=b", "a=b")],
)
def test_a_challenge_is_echoed_whatever_it_holds(receiver: Receiver, asked: str, answered: str) -> None:
    answer = receiver.http.get(f"/webhooks/easypost?challenge={asked}")
    assert (answer.status_code, answer.text) == (200, answered)


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks/nobody?challenge_code=x",  # no such account
        "/webhooks/ups?challenge_code=x",  # no token
        "/webhooks/ups/wrong?challenge_code=x",
        "/webhooks/easypost/some-token?challenge_code=x",
        "/webhooks/easypost?challenges=x",  # no such handshake
        "/webhooks/easypost",
        "/webhooks/shop?challenge_code=x",  # its plugin has none
        "/webhooks/easypost?" + "&".join(f"p{i}=" for i in range(60)) + "&challenge=x",  # beyond what is looked at
    ],
)
def test_no_account_is_found_by_asking(receiver: Receiver, path: str) -> None:
    answer = receiver.http.get(path)

    assert (answer.status_code, answer.content) == (401, b'{"error":"unauthorized"}')
    assert receiver.lab.rows(t.inbox) == []


def test_a_query_without_end_is_cut_as_any_head_is(receiver: Receiver) -> None:
    with receiver.socket() as peer:
        peer.sendall(b"GET /webhooks/easypost?challenge=" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n")
        try:
            said = peer.recv(1000)
        except ConnectionResetError:
            said = b""
    assert said == b""
    assert receiver.lab.rows(t.inbox) == []


def test_an_unsigned_ping_is_answered_and_never_read(receiver: Receiver) -> None:
    lab = receiver.lab
    answer = receiver.http.post("/webhooks/easypost", content=b"webhook_id=42")
    lab.work("ingest")
    row = lab.one(t.inbox)

    assert (answer.status_code, answer.content) == (200, b"")
    assert (row.kind, row.state, row.body, row.times) == ("handshake", "done", b"webhook_id=42", 1)
    assert (row.attempts, lab.rows(t.findings)) == (0, [])
    assert lab.one(t.accounts, t.accounts.c.name == "easypost").last_webhook_at is None  # no sign of life: anybody may
    assert replay(lab.ctx) == 0
    assert replay(lab.ctx, ids=[row.id]) == 0


def test_a_flood_of_pings_is_one_row_a_day_that_counts_them(receiver: Receiver) -> None:
    lab = receiver.lab
    for number in range(30):
        assert receiver.http.post("/webhooks/easypost", content=b"webhook_id=%d" % number).status_code == 200
    assert receiver.http.get(f"/webhooks/ups/{TOKEN}?challenge_code=x&secret=hush").status_code == 200
    lab.clock.move_to(lab.clock().replace(day=3))
    assert receiver.http.post("/webhooks/easypost", content=b"webhook_id=31" + b"x" * 4000).status_code == 200

    told = [(row["account"], row["kind"], row["times"], row["size"]) for row in lists.list_inbox(lab.ctx)]
    assert told == [("easypost", "handshake", 1, 4013), ("ups", "handshake", 1, 21), ("easypost", "handshake", 30, 12)]
    bodies = [row.body for row in lab.rows(t.inbox)]
    assert bodies[1] == b"challenge_code&secret"  # a sender's query may hold its own secrets
    assert 'result="handshake"} 31.0' in lab.daemon.metrics.render().decode()


def test_news_beside_pings_is_verified_and_stored_as_ever(receiver: Receiver) -> None:
    assert receiver.post(BODY, "/webhooks/easypost?challenges=1").status_code == 200
    assert receiver.http.post("/webhooks/easypost", content=b"webhook=1").status_code == 401
    assert [row.kind for row in receiver.lab.rows(t.inbox)] == ["webhook"]


def test_a_handshake_that_fails_is_told_and_comes_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_source: Any, _payload: Payload) -> Reply | None:
        raise RuntimeError("a plugin's defect")

    monkeypatch.setattr(type(receiver.lab.ctx.config.accounts["easypost"].source), "handshake", broken)
    assert receiver.http.get("/webhooks/easypost?challenge=1").status_code == 503
    assert receiver.post(BODY).status_code == 503  # nothing is lost: its sender comes again


@pytest.mark.parametrize("odd", ["text/plain\r\nset-cookie: a=b", "text", "", "text/plain; charset=utf-8; x=%d"])
def test_a_content_type_is_never_another_header(odd: str) -> None:
    with pytest.raises(ValueError, match="content type"):
        Reply(b"x", odd)
