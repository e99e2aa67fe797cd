"""Saleor: conformance, both signatures, what a hook says, orders, judging, writing, sweeping."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.key_pairs import detached, jwks
from tests.plugins.signing import digest
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    KeyUnknown,
    NotFound,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
    WebhookRejected,
)
from tracker.domain.facts import Action, ChangeNotice, Order, Parcel, Payload, Refs, Since, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, ShippingStatus
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, Recorder, for_platform
from tracker.plugin.public_keys import read_jwks

FIXTURES = Path(__file__).parents[1] / "fixtures" / "saleor"
TestConformance = for_platform("adapters.saleor", fixtures=FIXTURES)
BASE = "https://acme.saleor.cloud"
URL = f"{BASE}/graphql/"
REF = base64.b64encode(b"Order:7f2f0f8e-0000-4000-8000-000000000001").decode()
BODY = json.dumps({"issuedAt": "2026-11-02T10:01:00Z", "order": {"id": REF}}).encode()
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


def signed(body: bytes) -> dict[str, str]:
    return {"saleor-signature": digest(body).hex()}


def shop(make: Any, **more: Any) -> Any:
    return make("adapters.saleor", **{"base_url": BASE, "company_key": "carrier", "webhook_secrets": [], **more})


def node(**more: Any) -> dict[str, Any]:
    return {**json.loads((FIXTURES / "order.read.json").read_text())["data"]["order"], **more}


def read(source: Any, **more: Any) -> Order:
    body = json.dumps({"data": {"order": node(**more)}}).encode()
    (one,) = source.normalize(Payload("s", "read", (body,), AT))
    return one


def hook(source: Any, body: Any) -> list[Any]:
    return list(source.normalize(Payload("s", "webhook", (json.dumps(body).encode(),), AT)))


def page(*nodes: dict[str, Any], more: bool = False, cursor: str | None = None) -> dict[str, Any]:
    info = {"hasNextPage": more, "endCursor": cursor}
    return {"data": {"orders": {"pageInfo": info, "edges": [{"node": one} for one in nodes]}}}


# who sent it


def test_a_hook_is_proved_by_the_key_pair_of_the_shop(make) -> None:
    source, _ = shop(make)
    payload = Payload("s", "webhook", (BODY,), AT, {"saleor-signature": detached(BODY, "a")})
    with pytest.raises(KeyUnknown):
        source.verify(payload)
    source.keys = read_jwks(jwks("a"))

    assert source.verify(payload) == 0
    assert source.verify(replace(payload, headers={"x-saleor-signature": detached(BODY, "a")})) == 0  # until version 4
    with pytest.raises(WebhookRejected):
        source.verify(replace(payload, parts=(BODY + b" ",)))


def test_where_the_hook_has_a_secret_a_key_pair_proves_nothing(make) -> None:
    source, _ = shop(make, webhook_secrets=["topsecret"])
    source.keys = read_jwks(jwks("a"))
    body = b'[{"type":"Order","id":"T3JkZXI6MQ=="}]'
    good = "8897b40e0eaabe36531ebc05e21d88f91cec8d1b3081f2913412c35623a5cd34"  # by the documented rule; the secret is invented

    assert source.verify(Payload("s", "webhook", (body,), AT, {"saleor-signature": good})) == 0
    for wrong in (detached(body, "a"), "eyJhbGciOiJub25lIn0..", base64.b64encode(bytes.fromhex(good)).decode()):
        with pytest.raises(WebhookRejected):
            source.verify(Payload("s", "webhook", (body,), AT, {"saleor-signature": wrong}))


def test_the_keys_are_asked_for_where_the_settings_say_and_without_our_token(make) -> None:
    source, _ = shop(make)
    client = Recorder(jwks("a"))

    assert set(source.fetch_keys(client, "https://evil.example/x")) == {"a"}
    (request,) = client.sent
    assert (request.method, request.url, dict(request.headers)) == ("GET", f"{BASE}/.well-known/jwks.json", {})
    with pytest.raises(BadPayload):
        source.fetch_keys(Recorder(b'{"keys": []}'), "a")


# what a hook says


def test_a_hook_names_its_order_and_nothing_else_is_taken_from_it(make) -> None:
    source, _ = shop(make)
    assert hook(source, {"order": {"id": REF, "status": "CANCELED"}}) == [ChangeNotice(REF)]
    assert hook(source, {"fulfillment": {"id": "x"}, "order": {"id": REF}}) == [ChangeNotice(REF)]
    assert hook(source, [{"type": "Order", "id": REF}]) == [ChangeNotice(REF)]  # a hook without a subscription
    several = hook(source, [{"id": REF}, {"id": "T3JkZXI6Mg=="}])
    assert several == [ChangeNotice(REF), ChangeNotice("T3JkZXI6Mg==")]


def test_a_change_of_ours_is_known_by_who_caused_it(make) -> None:
    source, _ = shop(make, app_id="QXBwOjE=")
    assert hook(source, {"issuingPrincipal": {"id": "QXBwOjE="}, "order": {"id": REF}}) == []
    for other in ({"id": "VXNlcjox"}, None, {}, "QXBwOjE="):
        assert hook(source, {"issuingPrincipal": other, "order": {"id": REF}}) == [ChangeNotice(REF)]
    assert hook(shop(make)[0], {"issuingPrincipal": {"id": None}, "order": {"id": REF}}) == [ChangeNotice(REF)]


@pytest.mark.parametrize(
    "body",
    [
        {"order": None}, {"order": {"id": "x"}}, {"order": {"id": base64.b64encode(b"Fulfillment:1").decode()}}, {}, [], [1],
        {"order": {"id": 7}}, {"order": REF},
    ],
)  # fmt: skip
def test_a_hook_that_names_no_order_cannot_be_read(make, body: Any) -> None:
    with pytest.raises(BadPayload):
        hook(shop(make)[0], body)


def test_a_hook_of_another_kind_concerns_no_order(make) -> None:
    (told,) = hook(shop(make)[0], {"issuedAt": "2026-11-02T10:01:00Z", "product": {"id": "UHJvZHVjdDox"}})
    assert isinstance(told, Unread)
    assert told.lacks == "nothing"


def test_two_changes_of_one_order_are_two_hooks_and_a_repeated_one_is_the_same(make) -> None:
    source, _ = shop(make)

    def key(body: bytes, at: datetime = AT) -> str:
        return source.dedupe_key(Payload("s", "webhook", (body,), at))

    assert key(BODY) == key(BODY, AT + timedelta(minutes=1))
    bare = b'{"order": {"id": "x"}}'
    assert key(bare) != key(bare, AT + timedelta(minutes=1))  # without issuedAt nobody can tell


# orders


def test_an_order_is_read_with_its_lines_its_refunds_and_what_is_not_shipped(make) -> None:
    source, _ = shop(make)
    source.status_field = "shipping_status"
    told = read(source)

    assert [(i.ordered, i.removed, i.shippable) for i in told.items] == [(2, 1, True), (1, 0, True), (1, 0, False)]
    assert [f.live for f in told.fulfilments] == [True, True, False]
    assert told.fulfilments[0].quantities == ((told.items[0].ref, 1),)
    assert told.fulfilments[1].parcels[0].company == "Royal Mail"
    assert (told.ships_to, told.locale, told.method, told.shown) == ("AT", "de-at", "Standard", "in_transit")
    assert not told.partial
    assert read(shop(make)[0]).shown == ""  # no policy names a field


@pytest.mark.parametrize(
    ("more", "status", "payment"),
    [
        ({"status": "DRAFT"}, OrderStatus.AWAITING_CONFIRMATION, PaymentStatus.PAID),
        ({"status": "UNCONFIRMED"}, OrderStatus.AWAITING_CONFIRMATION, PaymentStatus.PAID),
        ({"status": "EXPIRED"}, OrderStatus.CANCELLED, PaymentStatus.PAID),
        ({"status": "RETURNED"}, OrderStatus.RETURNED, PaymentStatus.PAID),
        ({"status": "NEW_WORD"}, OrderStatus.UNKNOWN, PaymentStatus.PAID),
        ({"paymentStatus": "NOT_CHARGED", "chargeStatus": "OVERCHARGED"}, OrderStatus.SHIPPED, PaymentStatus.PAID),
        ({"paymentStatus": "NOT_CHARGED", "chargeStatus": "PARTIAL"}, OrderStatus.SHIPPED, PaymentStatus.AUTHORIZED),
        ({"paymentStatus": "PENDING", "chargeStatus": None, "authorizeStatus": None}, OrderStatus.SHIPPED, PaymentStatus.PENDING),
        ({"paymentStatus": "FULLY_REFUNDED"}, OrderStatus.SHIPPED, PaymentStatus.REFUNDED),
        ({"paymentStatus": "REFUSED", "chargeStatus": "NONE"}, OrderStatus.SHIPPED, PaymentStatus.FAILED),
        ({"paymentStatus": "A_NEW_ONE", "chargeStatus": "FULL"}, OrderStatus.SHIPPED, PaymentStatus.PAID),
        ({"paymentStatus": "", "chargeStatus": "", "authorizeStatus": ""}, OrderStatus.SHIPPED, PaymentStatus.PENDING),
    ],
)  # fmt: skip
def test_status_and_money_are_read_in_our_words(make, more: dict[str, Any], status: Any, payment: Any) -> None:
    told = read(shop(make)[0], **more)
    assert (told.status, told.payment) == (status, payment)


@pytest.mark.parametrize("field", ["paymentStatus", "chargeStatus", "authorizeStatus"])
def test_a_word_of_money_that_nobody_knows_is_read_as_unknown_and_told_as_it_stands(make, field: str) -> None:
    words = {"paymentStatus": "NOT_CHARGED", "chargeStatus": "NONE", "authorizeStatus": "NONE", field: "A_NEW_ONE"}
    body = json.dumps({"data": {"order": node(**words)}}).encode()
    found, unread = shop(make)[0].normalize(Payload("s", "read", (body,), AT))

    assert (found.payment, found.raw_payment, found.partial) == (PaymentStatus.UNKNOWN, "A_NEW_ONE", False)
    assert unread.where.endswith(field)
    assert unread.problem == "the word 'A_NEW_ONE' has no meaning: it is read as unknown"


@pytest.mark.parametrize(
    "more", [{"status": None}, {"created": "2026-11-01T10:00:00"}, {"updatedAt": None}, {"paymentStatus": []}]
)
def test_an_order_without_what_a_write_depends_on_is_not_told(make, more: dict[str, Any]) -> None:
    body = json.dumps({"data": {"order": node(**more)}}).encode()
    (told,) = shop(make)[0].normalize(Payload("s", "read", (body,), AT))
    assert isinstance(told, Unread)
    assert told.subject == REF


def test_an_odd_line_makes_the_order_partial_and_costs_itself_only(make) -> None:
    body = json.dumps({"data": {"order": node(lines=[{"id": "x", "quantity": "many"}, *node()["lines"]])}}).encode()
    one, told = shop(make)[0].normalize(Payload("s", "read", (body,), AT))
    assert one.partial
    assert len(one.items) == 3
    assert told.lacks == "line"


def test_an_order_that_is_not_there_is_left_out(make) -> None:
    assert list(shop(make)[0].normalize(Payload("s", "read", (b'{"data": {"order": null}}',), AT))) == []


# asking


def test_orders_are_swept_oldest_change_first_and_the_mark_is_the_shops(make, outside) -> None:
    source, client = shop(make)
    one, two = node(updatedAt="2026-11-02T09:00:00+00:00"), node(updatedAt="2026-11-02T09:30:00+00:00")
    asked: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["variables"])
        return httpx.Response(200, json=page(one, more=True, cursor="c1") if len(asked) == 1 else page(two))

    outside.post(URL).mock(side_effect=answer)
    pages = list(source.fetch(client, Since("2026-11-02T08:00:00+00:00|")))

    assert [p.next_cursor for p in pages] == ["2026-11-02T08:00:00+00:00|c1", "2026-11-02T09:30:00+00:00|"]
    assert [told["after"] for told in asked] == [None, "c1"]
    assert asked[0]["filter"] == {"updatedAt": {"gte": "2026-11-02T07:50:00+00:00"}}
    assert all(told["first"] <= 100 for told in asked)  # the schema: at most 100


def test_a_first_sweep_takes_what_moved_in_90_days_and_a_whole_one_everything(make, outside) -> None:
    source, client = shop(make)
    route = outside.post(URL).mock(return_value=httpx.Response(200, json=page()))
    list(source.fetch(client, Since(None, open_only=True)))
    list(source.fetch(client, Since(None)))
    first, whole = (json.loads(call.request.content)["variables"]["filter"] for call in route.calls)

    assert set(first) == {"updatedAt"}
    assert whole == {}


@pytest.mark.parametrize(
    "answer", [{}, {"data": None}, {"data": {}}, {"data": {"orders": None}}, {"data": {"orders": {"edges": None}}},
               {"data": {"orders": {"edges": [], "pageInfo": None}}},
               {"data": {"orders": {"edges": [], "pageInfo": {"hasNextPage": True, "endCursor": None}}}}],
)  # fmt: skip
def test_an_answer_without_its_list_is_no_empty_one(make, outside, answer: Any) -> None:
    source, client = shop(make)
    outside.post(URL).mock(return_value=httpx.Response(200, json=answer))
    with pytest.raises(Unavailable):
        list(source.fetch(client, Since(None)))


def test_orders_are_read_one_by_one_and_what_is_no_order_is_not_asked_about(make, outside) -> None:
    source, client = shop(make)
    route = outside.post(URL).mock(return_value=httpx.Response(200, json={"data": {"order": None}}))

    assert list(source.fetch(client, Refs((REF, "x", base64.b64encode(b"Product:1").decode())))) == []
    assert route.call_count == 1


def error(code: str, message: str = "no") -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": {"exception": {"code": code}}}], "data": None}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, error("PermissionDenied"), CredentialsRejected), (200, error("ExpiredSignatureError"), CredentialsRejected),
        (200, error("GraphQLError"), Refused), (200, error("QueryCostError"), Refused), (200, error("OperationalError"), Transient),
        (200, {"errors": [{"message": "x"}]}, Transient), (200, {"errors": "x"}, Unavailable), (200, {"errors": [7]}, Unavailable),
        (200, {"errors": [{"message": "x", "extensions": 7}]}, Transient), (401, {}, CredentialsRejected), (404, {}, NotFound),
        (429, {}, RateLimited), (400, error("GraphQLSyntaxError"), Refused), (503, {}, Transient),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_judged_by_what_to_do_next(make, status: int, body: Any, kind: Any) -> None:
    source, _ = shop(make)
    with pytest.raises(kind):
        source.raise_for_status(Response(status, {}, json.dumps(body).encode(), AT))
    source.raise_for_status(Response(200, {}, b'{"errors": []}', AT))
    source.raise_for_status(Response(200, {}, b'{"errors"', AT))


# writing

FIELD = Action("field", "k", "s", REF, status=ShippingStatus.DELIVERED, field="shipping_status", text="delivered")
NOTE = Action("order_note", "k", "s", REF, text="Rang twice")


def test_the_shipping_status_is_set_in_the_field_that_is_named(make, outside) -> None:
    source, client = shop(make)
    made = {"updateMetadata": {"item": {"metafield": "delivered"}, "errors": []}}
    route = outside.post(URL).mock(return_value=httpx.Response(200, json={"data": made}))

    receipt = source.push(client, FIELD, read(source))
    sent = json.loads(route.calls[0].request.content)
    assert (receipt.ref, receipt.already_there, receipt.proof) == ("shipping_status", False, "delivered")
    assert sent["variables"] == {"id": REF, "key": "shipping_status", "value": "delivered"}
    assert "notify" not in sent["query"].lower()
    assert route.calls[0].request.headers["authorization"].startswith("Bearer ")
    assert source.push(client, FIELD, replace(read(source), shown="delivered")).already_there
    assert route.call_count == 1


def test_a_note_is_added_once_whatever_became_of_the_answer(make, outside) -> None:
    source, client = shop(make)
    there = {"id": "e1", "type": "NOTE_ADDED", "message": "Rang twice"}
    answers = [
        {"order": {"events": [{"id": "e0", "type": "PLACED", "message": "Rang twice"}]}},
        {"orderNoteAdd": {"event": {"id": "e1"}, "errors": []}},
        {"order": {"events": [there]}},
    ]
    outside.post(URL).mock(side_effect=[httpx.Response(200, json={"data": one}) for one in answers])

    assert source.push(client, NOTE, read(source)).ref == "e1"
    again = source.push(client, NOTE, read(source))
    assert (again.ref, again.already_there) == ("e1", True)


@pytest.mark.parametrize(
    ("action", "answer", "kind"),
    [
        (FIELD, {"updateMetadata": {"item": None, "errors": [{"code": "NOT_FOUND", "message": "no node"}]}}, Refused),
        (FIELD, {"updateMetadata": {"item": {"metafield": "other"}, "errors": []}}, Transient),
        (FIELD, {"updateMetadata": {"item": None, "errors": []}}, Transient), (FIELD, {"updateMetadata": None}, Transient),
        (FIELD, {}, Unavailable), (NOTE, {"order": None}, Refused), (NOTE, {"order": {"events": "x"}}, BadPayload),
        (replace(NOTE, kind="order_status"), {}, Refused),
    ],
)  # fmt: skip
def test_a_write_that_shows_nothing_is_no_write(make, outside, action: Action, answer: Any, kind: Any) -> None:
    source, client = shop(make)
    outside.post(URL).mock(return_value=httpx.Response(200, json={"data": answer}))
    with pytest.raises(kind):
        source.push(client, action, read(source))


PART, OLD, NEW = "RnVsZmlsbG1lbnQ6MQ==", "1ZR589390357567121", "1ZR589400357568494"
NUMBER = Action("number", "k", "s", REF, PART, parcels=(Parcel("ups", OLD), Parcel("ups", NEW)))


def tracked(number: str, status: str = "FULFILLED", ref: str = PART) -> dict:
    return {"order": {"fulfillments": [7, {"id": ref, "status": status, "trackingNumber": number}]}}


def retracked(number: str | None, *problems: str) -> dict:
    errors = [{"code": "INVALID", "message": said} for said in problems]
    part = {"id": PART, "trackingNumber": number} if number else None
    return {"orderFulfillmentUpdateTracking": {"fulfillment": part, "errors": errors}}


def test_a_number_that_a_person_corrects_is_written_once_and_mails_nobody(make, outside) -> None:
    source, client = shop(make)
    answers = [tracked(OLD), retracked(NEW), tracked(NEW)]
    route = outside.post(URL).mock(side_effect=[httpx.Response(200, json={"data": one}) for one in answers])

    assert source.push(client, NUMBER, read(source)).proof == NEW
    assert json.loads(route.calls[1].request.content)["variables"] == {"id": PART, "number": NEW, "notify": False}
    assert source.push(client, NUMBER, read(source)).already_there


@pytest.mark.parametrize(
    ("answers", "kind", "said"),
    [
        ([{"order": None}], Refused, "not there any more"),
        ([tracked(OLD, ref="other")], Refused, "not there any more"),
        ([tracked(OLD, "CANCELED")], Refused, "cancelled"),
        ([tracked("1Z999AA10123456784")], Refused, "does not stand there any more"),
        ([tracked(OLD), retracked(None, "no such number")], Refused, "no such number"),
        ([tracked(OLD), retracked(OLD)], Transient, "does not show it"),
    ],
)
def test_a_number_that_cannot_be_corrected_is_refused_in_words(make, outside, answers, kind, said) -> None:
    source, client = shop(make)
    outside.post(URL).mock(side_effect=[httpx.Response(200, json={"data": one}) for one in answers])
    with pytest.raises(kind, match=said):
        source.push(client, NUMBER, read(source))


def test_the_token_is_proved_by_an_order(make, outside) -> None:
    source, client = shop(make)
    outside.post(URL).mock(return_value=httpx.Response(200, json=error("PermissionDenied")))
    with pytest.raises(CredentialsRejected):
        source.ping(client)
    outside.post(URL).mock(return_value=httpx.Response(200, json={"data": {"orders": {"edges": []}}}))
    source.ping(client)


def test_hooks_need_no_secret(make) -> None:
    assert shop(make)[0].webhooks_need() == ""


def test_a_page_whose_orders_are_no_list_cannot_be_read(make) -> None:
    body = json.dumps({"data": {"orders": {"edges": {"node": node()}}}}).encode()
    with pytest.raises(BadPayload, match="edges"):
        list(shop(make)[0].normalize(Payload("s", "sweep", (body,), AT)))
