"""What is not proved is not stored; what is proved and cannot be read is stored, visible, and holds back nobody."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.lab import START, USPS, H, detail, shipped, tracker_body
from tracker.domain.errors import BadPayload, WebhookRejected
from tracker.pipeline import receive
from tracker.store import tables as t
from tracker.upkeep import replay

BAD = [
    b"",
    b"null",
    b"[" * 100_000,
    b'{"a": 1e',
    b"\xff\xfe",
    b'{"id": "evt", "result": 7}',
    b'{"a": ' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize("body", BAD)
def test_an_authentic_body_that_cannot_be_read_is_stored_visible_and_holds_back_nobody(make_lab, body: bytes) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.post_raw("easypost", body)
    lab.post(lab.easypost.event(USPS))
    lab.work()

    (dead,) = lab.rows(t.inbox, t.inbox.c.state == "dead")
    assert dead.reason.startswith("bad_payload: $")
    assert dead.body == body
    assert lab.parcel(USPS).status == "in_transit"


@pytest.mark.parametrize(
    "text", ["\u0000", "a\u0000b", "\r\n\x1b[31m", "'; DROP TABLE scans; --", "x" * 4096, "\u202e\u200f"]
)
def test_hostile_texts_are_kept_as_texts(make_lab, text: str) -> None:
    lab = make_lab()
    place = {"city": text, "state": text, "country": text[:2], "zip": text}
    step = detail("in_transit", "2026-11-01T00:00:00Z", message=text, status_detail=text[:60], tracking_location=place)
    lab.post_raw("easypost", tracker_body(USPS, step))
    lab.work()

    assert lab.parcel(USPS).status == "in_transit"
    assert {row.state for row in lab.rows(t.inbox)} == {"done", "ignored"}


@pytest.mark.parametrize("number", ["", " ", "１２３", "a b", "x" * 65, "\u202e1", "1\r\n2", None, [], 1.5])
def test_what_is_no_tracking_number_is_a_bad_payload(make_lab, number: Any) -> None:
    lab = make_lab()
    lab.post_raw("easypost", orjson.dumps({"tracking_code": number, "carrier": "USPS", "tracking_details": []}))
    lab.work("ingest")

    assert lab.one(t.inbox).state == "dead"
    assert lab.rows(t.shipments) == []


def test_a_mended_parser_reads_dead_payloads_again_without_writing_unless_asked(make_lab, monkeypatch) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    source = lab.ctx.config.accounts["easypost"].source
    monkeypatch.setattr(source, "normalize", lambda payload: (_ for _ in ()).throw(BadPayload("$.x", "odd")))
    lab.post(lab.easypost.event(USPS))
    lab.work("ingest")
    monkeypatch.undo()
    assert lab.rows(t.inbox)[-1].state == "dead"

    lab.clock.move_to(START + H)
    assert replay.replay(lab.ctx, state="dead") == 1
    lab.work("ingest", "decide", "push")
    assert lab.parcel(USPS).status == "in_transit"
    assert lab.writes() == []

    assert replay.replay(lab.ctx, state="done", account="easypost", write=True) >= 1
    assert replay.replay(lab.ctx, ids=[10**9]) == 0
    lab.work()
    assert lab.writes() == []  # it began before the replay: news since then is written again
    lab.later(1)
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.later(5)
    assert lab.writes() == [("#1001", "OUT_FOR_DELIVERY")]


@pytest.mark.parametrize("account", [None, "easypost", "ups"])
def test_who_does_not_prove_itself_is_rejected_and_nothing_is_stored(make_lab, account: str | None) -> None:
    lab = make_lab()
    known = lab.ctx.config.accounts[account] if account else None
    for token in ("", "wrong", "é"):
        with pytest.raises(WebhookRejected):
            receive.check(known, token, {}, b"{}", START)

    assert lab.rows(t.inbox) == []


def test_no_credential_or_signature_is_stored_with_a_payload(make_lab) -> None:
    lab = make_lab()
    lab.post(lab.shop.signed(b'{"id": 1}', "orders/updated"))

    headers = lab.one(t.inbox).headers
    assert "x-shopify-topic" in headers
    assert not {name for name in headers if "hmac" in name or "authorization" in name}


def test_F26_rows_of_a_kind_that_a_newer_version_stores_are_left_alone(make_lab) -> None:
    lab = make_lab()
    lab.order("#1001", USPS)
    lab.work()
    lab.post_raw("easypost", tracker_body(USPS))
    lab.change(t.inbox.update().where(t.inbox.c.state == "pending").values(kind="hologram"))
    lab.work()

    (left,) = lab.rows(t.inbox, t.inbox.c.kind == "hologram")
    assert (left.state, left.attempts) == ("pending", 0)
