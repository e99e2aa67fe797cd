"""Magento: Adobe's signed I/O events, its synchronous webhooks, and a store that tells nothing by itself."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.key_pairs import pair, pem
from tracker.domain.errors import BadPayload, KeyUnknown, NotFound, Transient, WebhookRejected
from tracker.domain.facts import ChangeNotice, Payload, Unread
from tracker.plugin.calls import Request, Response
from tracker.plugin.conformance import AT, Recorder

CLIENT = "0123456789abcdef0123456789abcdef"
PATHS = "/prod/keys/pub-key-a.pem", "/prod/keys/pub-key-b.pem"
HOOK = "x-adobe-commerce-webhook-signature"


def shop(make: Any, **more: Any) -> Any:
    return make("adapters.magento", **more)[0]


def event(kind: str, who: str | None = CLIENT, **value: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "event_id": "e1",
        "event": {"type": f"com.adobe.commerce.observer.{kind}", "data": {"key": "k", "value": value}},
    }
    return {**told, "recipientclientid": who} if who is not None else told


ONE = event("sales_order_save_commit_after", entity_id="42")


def proof(body: bytes, name: str) -> str:
    return base64.b64encode(pair(name).sign(body, padding.PKCS1v15(), hashes.SHA256())).decode()


def sent(told: Any, first: str = "a", second: str = "b", paths: tuple[str, str] = PATHS) -> Payload:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    headers = {
        "x-adobe-digital-signature-1": proof(body, first), "x-adobe-public-key1-path": paths[0],
        "x-adobe-digital-signature-2": proof(body, second), "x-adobe-public-key2-path": paths[1],
    }  # fmt: skip
    return Payload("s", "webhook", (body,), AT, headers)


def keyed(source: Any, *names: str) -> Any:
    source.keys = {path: pem(pair(name)) for path, name in zip(PATHS, "ab", strict=True) if name in names}
    return source


# who sent it


def test_one_of_two_signatures_suffices_while_keys_rotate(make) -> None:
    source = keyed(shop(make), "a", "b")
    assert source.verify(sent(ONE)) == 0
    assert source.verify(sent(ONE, first="other")) == 0
    assert keyed(source, "b").verify(sent(ONE)) == 0  # the other cannot be had
    with pytest.raises(WebhookRejected, match="neither"):
        keyed(source, "a", "b").verify(sent(ONE, "other", "other"))


def test_keys_that_are_not_known_are_asked_for_both_at_once(make) -> None:
    source = shop(make)
    with pytest.raises(KeyUnknown) as told:
        source.verify(sent(ONE))
    assert told.value.key_id == ",".join(PATHS)
    assert KeyUnknown.can_be(told.value.key_id)
    with pytest.raises(KeyUnknown) as told:
        keyed(source, "a").verify(sent(ONE, first="other"))
    assert told.value.key_id == PATHS[1]


@pytest.mark.parametrize(
    "path", ["https://evil.example/prod/keys/pub-key-a.pem", "/prod/keys/../x/pub-key-a.pem", "//evil.example/keys/pub-key-a.pem", "", "/prod/keys/pub-key-a.pem?x",
             "/prod/keys/pub-key-a.pem\n", f"/prod/keys/pub-key-{'a' * 61}.pem"],
)  # fmt: skip
def test_a_path_of_another_shape_names_no_key_and_nothing_is_asked_for_it(make, path: str) -> None:
    source = shop(make)
    with pytest.raises(WebhookRejected) as told:
        source.verify(sent(ONE, paths=(path, path)))
    assert not isinstance(told.value, KeyUnknown)
    client = Recorder()
    assert source.fetch_keys(client, path) == {}
    assert client.sent == []


@pytest.mark.parametrize(
    "told", [{**ONE, "recipientclientid": "another"}, {k: v for k, v in ONE.items() if k != "recipientclientid"}, [ONE, event("x", "another")],
             {"recipient_client_id": "another", "events": [ONE]}, b"{", [], [7], {"events": []}, {"events": "x"}],
)  # fmt: skip
def test_a_genuine_event_for_another_client_is_refused_before_any_key_is_asked_for(make, told: Any) -> None:
    with pytest.raises(WebhookRejected) as error:
        shop(make).verify(sent(told))
    assert not isinstance(error.value, KeyUnknown)


def test_a_batch_is_proved_whole_however_it_is_wrapped(make) -> None:
    source = keyed(shop(make), "a", "b")
    for told in (
        [ONE, ONE],
        {"recipient_client_id": CLIENT, "events": [event("x", None), event("y", None)]},
        {**ONE, "recipient_client_id": CLIENT},
    ):
        assert source.verify(sent(told)) == 0


def test_a_webhook_of_commerce_is_proved_over_the_base64_text_of_its_body_by_the_key_in_the_settings(make) -> None:
    body = b'{"data":{"order":{"entity_id":42}}}'
    source = shop(make, webhook_key=pem(pair("hook")), events_client_id=None)
    good = Payload("s", "webhook", (body,), AT, {HOOK: proof(base64.b64encode(body), "hook")})
    assert source.verify(good) == 0
    for header in (
        proof(body, "hook"),
        proof(base64.b64encode(body), "other"),
        proof(base64.encodebytes(body), "hook"),
    ):
        with pytest.raises(WebhookRejected):
            source.verify(Payload("s", "webhook", (body,), AT, {HOOK: header}))
    with pytest.raises(WebhookRejected, match="neither events_client_id nor webhook_key"):
        source.verify(sent(ONE))
    with pytest.raises(WebhookRejected):
        shop(make).verify(good)  # no key in its settings


class Answers(Recorder):
    """A client that answers each address with what it is told, or raises it."""

    def __init__(self, **told: Any) -> None:
        super().__init__()
        self._told = told

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        answer = self._told[request.url[-5]]
        if isinstance(answer, Exception):
            raise answer
        return Response(200, {}, answer, AT)


def test_keys_are_asked_for_at_the_host_of_the_settings_without_our_token_and_one_of_two_suffices(make) -> None:
    source, both = shop(make), ",".join(PATHS)
    key = pem(pair("a")).encode()
    client = Answers(a=key, b=NotFound("gone"))
    assert source.fetch_keys(client, both) == {PATHS[0]: key.decode()}
    assert [(r.method, r.url, dict(r.headers)) for r in client.sent] == [
        ("GET", f"https://static.adobeioevents.com{path}", {}) for path in PATHS
    ]
    assert set(source.fetch_keys(Answers(a=Transient("down"), b=key), both)) == {PATHS[1]}
    assert source.fetch_keys(Answers(a=NotFound("gone"), b=NotFound("gone")), both) == {}
    for answer in (Transient("down"), b"<html>"):
        with pytest.raises(Transient):
            source.fetch_keys(Answers(a=answer, b=NotFound("gone")), both)


# the registration


def test_the_challenge_of_a_registration_is_answered_and_nothing_that_a_stranger_names_is_called(make) -> None:
    source = shop(make)
    told = source.handshake(Payload("s", "webhook", (b"",), AT, {}, {"challenge": "8ec8d794-e0ab"}))
    assert (told.body, told.content_type.partition(";")[0]) == (b"8ec8d794-e0ab", "text/plain")
    for challenge in ("", "<script>", "x" * 201, "a b"):
        assert source.handshake(Payload("s", "webhook", (b"",), AT, {}, {"challenge": challenge})) is None
    later = b'{"validationUrl": "https://csm.adobe.io/csm/registrations/validate?id=1&challenge=2"}'
    assert source.handshake(Payload("s", "webhook", (later,), AT, {}, {"challenge": "x"})) is None
    with pytest.raises(WebhookRejected):
        source.verify(sent(later))
    open_source = shop(make, events_client_id=None)
    assert open_source.handshake(Payload("s", "webhook", (b"",), AT, {}, {"challenge": "x"})) is None


def test_open_source_tells_nothing_by_itself(make) -> None:
    assert shop(make).webhooks
    assert shop(make, webhook_key="k", events_client_id=None).webhooks
    assert not shop(make, events_client_id=None).webhooks


# what it says


def notices(source: Any, told: Any) -> list[Any]:
    return list(source.normalize(Payload("s", "webhook", (json.dumps(told).encode(),), AT)))


@pytest.mark.parametrize(
    ("told", "ref"),
    [
        (ONE, "42"), (event("sales_order_shipment_save_after", entity_id="31", order_id="42"), "42"),
        (event("sales_order_shipment_track_save_after", entity_id=7, parent_id=31, order_id=42), "42"),
        (event("sales_order_status_history_save_after", entity_id=9, parent_id=42), "42"), (event("sales_order_invoice_save_after", entity_id=9, order_id=42), "42"),
        (event("sales_order_creditmemo_save_after", entity_id=9, order_id=42), "42"), (ONE["event"], "42"), ({"order": {"entity_id": 42}}, "42"),
        ({"data": {"shipment": {"entity_id": 31, "order_id": 42}}}, "42"), ({"data": {"track": {"order_id": 42}}}, "42"),
    ],
)  # fmt: skip
def test_every_event_names_its_order_where_its_kind_says(make, told: Any, ref: str) -> None:
    assert notices(shop(make), told) == [ChangeNotice(ref)]


def test_a_batch_tells_each_order_once_and_an_odd_event_takes_nothing_from_the_others(make) -> None:
    told = [
        ONE,
        event("sales_order_shipment_save_after", order_id="x"),
        event("customer_save_after", entity_id=3),
        ONE,
        event("sales_order_save_after", entity_id=43),
    ]
    found = notices(shop(make), told)
    assert [one.ref for one in found if isinstance(one, ChangeNotice)] == ["42", "43"]
    assert [(one.where, one.lacks) for one in found if isinstance(one, Unread)] == [
        ("$[1].event.data.value.order_id", "all"),
        ("$[2]", "nothing"),
    ]
    assert notices(shop(make), {"events": [event("customer_save_after")]}) == [
        Unread("$[0]", "an event of another kind, which names no order", lacks="nothing")
    ]


@pytest.mark.parametrize(
    "told", [{}, 7, [], [7], {"data": {"customer": {"id": 1}}}, {"data": {"order": {"increment_id": "1"}}}, {"data": {"order": {"entity_id": "4-2"}}},
             event("sales_order_save_after"), {"event": {"type": "sales_order", "data": {"value": 7}}}, {"events": {}}],
)  # fmt: skip
def test_what_names_no_order_cannot_be_read(make, told: Any) -> None:
    with pytest.raises(BadPayload):
        notices(shop(make), told)


def test_a_repeated_event_is_the_same_and_a_webhook_that_says_the_same_later_is_another(make) -> None:
    def key(body: bytes, minutes: int = 0) -> str:
        return shop(make).dedupe_key(Payload("s", "webhook", (body,), AT + timedelta(minutes=minutes)))

    told = json.dumps(ONE).encode()
    assert key(told) == key(told, 1)
    assert key(b'{"order": {"entity_id": 42}}') != key(b'{"order": {"entity_id": 42}}', 1)


def test_a_webhook_is_answered_so_that_the_merchants_action_goes_on(make) -> None:
    assert (shop(make).answer.body, shop(make).answer.content_type) == (b'{"op":"success"}', "application/json")
