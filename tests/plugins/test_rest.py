"""The order API: conformance, words, signatures, requests that its published document allows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jsonschema
import pytest
import yaml

from adapters.rest import KARTROCKET, KINGSTON
from tests.plugins.signing import standard
from tracker.domain.errors import BadPayload, CredentialsRejected, Refused, Transient, Unavailable, WebhookRejected
from tracker.domain.facts import Action, ChangeNotice, Order, Parcel, Payload, Place, Refs, Since, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, Reason, ShippingStatus
from tracker.plugin.conformance import AT, for_platform
from tracker.plugin.signatures import whsec_key

FIXTURES = Path(__file__).parents[1] / "fixtures" / "rest"
DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "order-api.openapi.yaml").read_text(encoding="utf-8"))
TestConformance = for_platform("adapters.rest", fixtures=FIXTURES)
BASE = "https://shop.example/api"
signed = standard
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
BEFORE = Order("s", "R/1", "#1", OrderStatus.PROCESSING, "Processing", PaymentStatus.PAID, "paid", T0, T0)
ACTION = Action(
    "order_status", "s/R/1/status/shipped/1", "s", "R/1", status=ShippingStatus.DELIVERY_ATTEMPTED, reason=Reason.NOTICE_LEFT,
    happened_at=T0, place=Place("Austin", "TX", "", "US"), edd=T0 + timedelta(days=1), target=OrderStatus.SHIPPED,
    parcels=(Parcel("ups", "1Z", "UPS"),),
)  # fmt: skip


def shop(make, **more):
    return make("adapters.rest", **{"base_url": BASE, "words": "kingston", **more})


def schema(name: str) -> dict:
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def order_row(**more) -> dict:
    row = {
        "ref": "R1",
        "number": "#1",
        "status": "Processing",
        "placed_at": "2026-11-01T08:00:00Z",
        "updated_at": "2026-11-02T08:00:00Z",
    }
    return {**row, **more}


def read(source, **more) -> Order:
    body = json.dumps({"order": order_row(**more)}).encode()
    (order,) = source.normalize(Payload("s", "read", (body,), AT))
    return order


# words


@pytest.mark.parametrize(
    ("words", "raw", "payment", "status", "paid", "reason"),
    [
        ("kartrocket", "Pending", "pending", "awaiting_confirmation", "pending", "unverified_payment"),
        ("kartrocket", "COD Confirmed", "pending", "confirmed", "pending", ""),
        ("kartrocket", "ePayment Received", "pending", "confirmed", "paid", ""),
        ("kartrocket", "ePayment Received", "refunded", "confirmed", "refunded", ""),
        ("kartrocket", "ePayment Failed", None, "awaiting_confirmation", "failed", "unverified_payment"),
        ("kartrocket", "Canceled", "paid", "cancelled", "paid", ""),
        ("kingston", "Dispatched/Shipped", "paid", "shipped", "paid", ""),
        ("kingston", "Failed Delivery", "paid", "delivery_failed", "paid", ""),
        ("marketplace-guide", "Pending", "unpaid", "awaiting_confirmation", "pending", "awaiting_seller"),
        ("marketplace-guide", "Versandt", "chargeback", "unknown", "disputed", ""),
    ],
)  # fmt: skip
def test_the_known_lists_read_as_the_requirements_say(make, words, raw, payment, status, paid, reason) -> None:
    source, _ = shop(make, words=words)
    order = read(source, status=raw, payment={"status": payment} if payment else None)

    assert (order.status, order.payment, order.status_reason, order.raw_status) == (status, paid, reason, raw)


def test_the_merchants_words_beat_the_known_list_and_the_first_word_is_written(make) -> None:
    source, _ = shop(
        make,
        statuses={"Versandt": "shipped", "Processing": "confirmed"},
        payments={"bezahlt": "paid"},
        carriers={"Van": "ups"},
    )

    order = read(
        source, payment={"status": "bezahlt"},
        fulfilments=[{"ref": "F", "tracking": [{"carrier": "Van", "number": "1"}]}],
    )  # fmt: skip
    assert (order.status, order.payment) == ("confirmed", "paid")
    assert order.fulfilments[0].parcels[0].carrier == "ups"
    assert source.order_status_map()[OrderStatus.SHIPPED] == "Versandt"
    assert OrderStatus.CANCELLED not in source.order_status_map()
    assert source.status_map() == {}


def test_a_shop_that_names_no_list_speaks_ours(make) -> None:
    source, _ = shop(make, words=None)

    assert source.order_status_map()[OrderStatus.DELIVERED] == "delivered"
    assert {s for s, _, _ in KINGSTON.values()} <= set(OrderStatus)
    assert {s for s, _, _ in KARTROCKET.values()} <= set(OrderStatus)


def test_a_cancelled_order_was_cancelled_when_its_status_changed(make) -> None:
    source, _ = shop(make)

    assert read(source, status="Cancelled", status_changed_at="2026-11-02T09:00:00Z").cancelled_at == T0 + timedelta(
        hours=1
    )


def told(source, **more) -> tuple[Order | None, list[Unread]]:
    """Read one order: what was told of it, and what could not be read."""
    body = json.dumps({"order": order_row(**more)}).encode()
    found = list(source.normalize(Payload("s", "read", (body,), AT)))
    return next((one for one in found if isinstance(one, Order)), None), [
        one for one in found if isinstance(one, Unread)
    ]


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"placed_at": "2026-11-01T08:00:00"}, "$.order.placed_at"), ({"updated_at": None}, "$.order.updated_at"),
        ({"number": None}, "$.order.number"), ({"status": None}, "$.order.status"), ({"status": []}, "$.order.status"),
        ({"payment": []}, "$.order.payment"), ({"payment": {"status": 7}}, "$.order.payment.status"),
        ({"payment": {"method": 7}}, "$.order.payment.method"), ({"delivery": []}, "$.order.delivery"),
        ({"delivery": {"method": 7}}, "$.order.delivery.method"), ({"delivery": {"service": 7}}, "$.order.delivery.service"),
        ({"delivery": {"location": []}}, "$.order.delivery.location"), ({"delivery": {"address": {}}}, "$.order.delivery.address"),
        ({"status_actor": 7}, "$.order.status_actor"), ({"verified": "no"}, "$.order.verified"), ({"tags": 7}, "$.order.tags"),
    ],
)  # fmt: skip
def test_an_order_is_not_told_without_what_a_write_depends_on(make, broken, where) -> None:
    order, unread = told(shop(make)[0], **broken)

    assert order is None
    assert [(one.where, one.subject) for one in unread] == [(where, "R1")]


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"items": [{"ref": "a", "ordered": -1}]}, "$.order.items[0].ordered"), ({"items": 7}, "$.order.items"),
        ({"items": [{"ref": "a", "ordered": True}]}, "$.order.items[0].ordered"),
        ({"items": [{"ref": "a", "ordered": 1, "shippable": 0}]}, "$.order.items[0].shippable"),
        ({"items": [{"ref": "a", "ordered": 1, "refunded": "1"}]}, "$.order.items[0].refunded"),
        ({"fulfilments": {}}, "$.order.fulfilments"), ({"fulfilments": [7]}, "$.order.fulfilments[0]"),
        ({"fulfilments": [{"ref": None}]}, "$.order.fulfilments[0].ref"),
        ({"fulfilments": [{"ref": "F", "cancelled": "yes"}]}, "$.order.fulfilments[0].cancelled"),
        ({"fulfilments": [{"ref": "F", "items": [{"ref": "a", "quantity": 1.5}]}]}, "$.order.fulfilments[0].items[0].quantity"),
        ({"fulfilments": [{"ref": "F", "tracking": [7]}]}, "$.order.fulfilments[0].tracking[0]"),
        ({"fulfilments": [{"ref": "F", "tracking": 7}]}, "$.order.fulfilments[0].tracking"),
    ],
)  # fmt: skip
def test_a_line_a_fulfilment_or_a_number_that_cannot_be_read_makes_the_order_partial(make, broken, where) -> None:
    order, unread = told(shop(make)[0], **broken)

    assert order.partial
    assert [(one.where, one.subject, one.lacks) for one in unread] == [(where, "R1", "line")]


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"locale": 7}, "$.order.locale"), ({"delivery": {"country": 7}}, "$.order.delivery.country"),
        ({"cancelled_at": "soon"}, "$.order.cancelled_at"), ({"status_changed_at": "soon"}, "$.order.status_changed_at"),
        ({"tags": [[]]}, "$.order.tags[0]"), ({"items": [{"ref": "a", "ordered": 1, "name": 7}]}, "$.order.items[0].name"),
        ({"items": [{"ref": "a", "ordered": 1, "in_stock": 7}]}, "$.order.items[0].in_stock"),
        ({"fulfilments": [{"ref": "F", "shipped_at": "soon"}]}, "$.order.fulfilments[0].shipped_at"),
        ({"fulfilments": [{"ref": "F", "service": 7}]}, "$.order.fulfilments[0].service"),
        ({"fulfilments": [{"ref": "F", "status": 7}]}, "$.order.fulfilments[0].status"),
        ({"fulfilments": [{"ref": "F", "tracking": [{"number": "X1", "carrier": 7}]}]}, "$.order.fulfilments[0].tracking[0].carrier"),
    ],
)  # fmt: skip
def test_a_detail_that_cannot_be_read_is_left_out_and_told(make, broken, where) -> None:
    order, unread = told(shop(make)[0], **broken)

    assert not order.partial
    assert [(one.where, one.subject, one.lacks) for one in unread] == [(where, "R1", "")]


def test_an_odd_piece_takes_nothing_from_its_neighbours(make) -> None:
    lines = [{"ref": "a", "ordered": 1}, {"ref": None, "ordered": 1}, {"ref": "c", "ordered": 3}]
    parts = [{"ref": f"F{i}", "tracking": [{"number": f"X{i}"}]} for i in range(3)]
    parts[1]["ref"] = []
    parts[2]["tracking"] += [7, {"number": "X9"}]
    order, unread = told(shop(make)[0], items=lines, fulfilments=parts)

    assert [item.ref for item in order.items] == ["a", "c"]
    assert [(f.ref, [p.number for p in f.parcels]) for f in order.fulfilments] == [("F0", ["X0"]), ("F2", ["X2", "X9"])]
    assert [one.where for one in unread] == [
        "$.order.items[1].ref", "$.order.fulfilments[1].ref", "$.order.fulfilments[2].tracking[1]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [{"order": 7}, {"order": {"number": "#1"}}, {"orders": None}, {"orders": [7, {}]}, {"checkouts": {}}, {"other": 1}],
)
def test_a_payload_of_which_nothing_can_be_told_is_a_bad_payload(make, body) -> None:
    source, _ = shop(make)
    with pytest.raises(BadPayload):
        source.normalize(Payload("s", "read", (json.dumps(body).encode(),), AT))


def test_a_checkout_that_cannot_be_read_is_no_order(make) -> None:
    source, _ = shop(make)
    rows = [
        {"ref": "C1", "began_at": "soon"},
        {"ref": "C2", "began_at": "2026-11-02T08:00:00Z", "updated_at": "2026-11-02T08:00:00Z"},
    ]

    unread, left = sorted(
        source.normalize(Payload("s", "sweep", (json.dumps({"checkouts": rows}).encode(),), AT)), key=str
    )[::-1]

    assert left.ref == "C2"
    assert unread == Unread("$.checkouts[0].began_at", "is no ISO 8601 date and time: 'soon'", lacks="nothing")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"type": "order.updated", "data": {"order": "R1"}}, ChangeNotice("R1")), ({"data": {"order": 7}}, ChangeNotice("7")),
        ({"type": "stock.changed", "data": {"order": "R1"}}, ChangeNotice("R1")),
        ({"type": "stock.changed", "data": {}}, Unread("$.type", "a hook of the type 'stock.changed' names no order", lacks="nothing")),
        ({"type": "stock.changed"}, Unread("$.type", "a hook of the type 'stock.changed' names no order", lacks="nothing")),
    ],
)  # fmt: skip
def test_a_hook_hints_at_its_order_and_one_of_another_kind_is_told(make, body, said) -> None:
    source, _ = shop(make)
    assert list(source.normalize(Payload("s", "webhook", (json.dumps(body).encode(),), AT))) == [said]


@pytest.mark.parametrize("body", [{"type": "order.updated"}, {"type": "order.updated", "data": {}}, {}, {"type": 7}])
def test_a_hook_about_an_order_that_names_none_is_a_bad_payload(make, body) -> None:
    source, _ = shop(make)
    with pytest.raises(BadPayload):
        source.normalize(Payload("s", "webhook", (json.dumps(body).encode(),), AT))


# the signature; the vector is the published one of standard-webhooks (libraries/python/tests @ b2fa7b8719fb)

BODY = b'{"test": 2432232314}'
SIGNED = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,bm9ldHUjKzFob2VudXRob2VodWUzMjRvdWVvdW9ldQo= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}  # fmt: skip
SIGNED_AT = datetime.fromtimestamp(1614265330, UTC)


def test_the_published_vector_verifies_within_five_minutes_and_no_other_body_does(make) -> None:
    source, _ = shop(make, webhook_secrets=["old", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])

    source.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED))
    assert source.dedupe_key(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED)) == SIGNED["webhook-id"]
    for body, at, headers in (
        (BODY + b" ", SIGNED_AT, SIGNED),
        (BODY, SIGNED_AT + timedelta(minutes=6), SIGNED),
        (BODY, SIGNED_AT - timedelta(minutes=6), SIGNED),
        (BODY, SIGNED_AT, {**SIGNED, "webhook-timestamp": "soon"}),
        (BODY, SIGNED_AT, {**SIGNED, "webhook-timestamp": "9" * 11}),
        (BODY, SIGNED_AT, {**SIGNED, "webhook-timestamp": "9" * 12}),
        (BODY, SIGNED_AT, {**SIGNED, "webhook-id": "other"}),
        (BODY, SIGNED_AT, {**SIGNED, "webhook-signature": "v1"}),
    ):
        with pytest.raises(WebhookRejected):
            source.verify(Payload("s", "webhook", (body,), at, headers))


def test_a_broken_whsec_secret_verifies_nothing(make) -> None:
    source, _ = shop(make, webhook_secrets=["whsec_***"])

    assert whsec_key(source.settings.webhook_secrets[0]) == b""
    with pytest.raises(WebhookRejected, match="empty secret"):
        source.verify(Payload("s", "webhook", (BODY,), SIGNED_AT, SIGNED))


# requests


def test_a_sweep_reads_orders_then_checkouts_and_goes_on_with_an_overlap(outside, make) -> None:
    orders = iter([
        {"orders": [order_row()], "next": "2", "total": 2}, {"orders": [order_row(updated_at="2026-11-02T10:00:00+01:00")], "next": None},
    ])  # fmt: skip
    asked = outside.get(f"{BASE}/orders").mock(side_effect=lambda _: httpx.Response(200, json=next(orders)))
    left = outside.get(f"{BASE}/checkouts").respond(
        json={"checkouts": [{"updated_at": "2026-11-02T08:30:00Z"}], "total": True}
    )
    source, client = shop(make)

    pages = list(source.fetch(client, Since("2026-11-02T08:00:00+00:00||", open_only=True)))

    assert [c.request.url.params.get("cursor") for c in asked.calls] == [None, "2"]
    assert {c.request.url.params["updated_since"] for c in asked.calls} == {"2026-11-02T07:50:00+00:00"}
    assert left.calls[0].request.url.params["open"] == "true"
    eight, nine, noon = (f"2026-11-02T{hour}:00:00+00:00" for hour in ("08", "09", "12"))
    assert [json.loads(p.next_cursor) for p in pages] == [
        {"orders": eight, "checkouts": eight, "kind": "orders", "page": "2", "best": eight, "began": noon},
        {"orders": nine, "checkouts": eight, "kind": "checkouts"},
        {"orders": nine, "checkouts": "2026-11-02T08:30:00+00:00", "kind": "orders"},
    ]  # fmt: skip
    assert (pages[0].total, pages[2].total) == (2, None)


def test_a_sweep_that_was_cut_goes_on_where_it_was(outside, make) -> None:
    left = outside.get(f"{BASE}/checkouts").respond(json={"checkouts": [], "next": None})
    source, client = shop(make)

    (page,) = source.fetch(client, Since("2026-11-02T08:00:00+00:00|checkouts|3"))

    assert left.calls[0].request.url.params["cursor"] == "3"
    eight = "2026-11-02T08:00:00+00:00"
    assert json.loads(page.next_cursor) == {"orders": eight, "checkouts": eight, "kind": "orders"}


def sweep(outside, make, orders=(), checkouts=(), cursor=None) -> tuple[list[str], dict]:
    """Sweep a shop whose lists have one page each; return what was asked for and the cursor at the end."""
    asked = {}
    for kind, rows in (("orders", orders), ("checkouts", checkouts)):
        asked[kind] = outside.get(f"{BASE}/{kind}").respond(json={kind: list(rows), "next": None})
    source, client = shop(make)
    *_, last = source.fetch(client, Since(cursor))
    since = [asked[kind].calls.last.request.url.params.get("updated_since", "") for kind in asked]
    return since, json.loads(last.next_cursor)


def test_each_list_has_its_own_cursor(outside, make) -> None:
    """What is new in one list says nothing of the other."""
    cursor = json.dumps({"orders": "2026-11-01T08:00:00+00:00", "checkouts": "2026-11-02T08:00:00+00:00"})
    since, end = sweep(outside, make, checkouts=[{"updated_at": "2026-11-02T10:00:00Z"}], cursor=cursor)

    assert since == ["2026-11-01T07:50:00+00:00", "2026-11-02T07:50:00+00:00"]
    assert (end["orders"], end["checkouts"]) == ("2026-11-01T08:00:00+00:00", "2026-11-02T10:00:00+00:00")


@pytest.mark.parametrize("at", ["2026-12-02T09:00:00Z", "9998-12-31T23:59:59-14:00", "2026-11-02T12:00:01Z"])
def test_a_cursor_never_passes_our_own_clock(outside, make, at) -> None:
    _, end = sweep(outside, make, orders=[order_row(updated_at=at)])

    assert end["orders"] == "2026-11-02T12:00:00+00:00"


def test_an_order_whose_time_cannot_be_read_moves_no_cursor(outside, make) -> None:
    _, end = sweep(
        outside,
        make,
        orders=[7, order_row(updated_at=None), order_row(), order_row(updated_at="9999-12-31T23:59:59-14:00")],
    )

    assert end["orders"] == "2026-11-02T08:00:00+00:00"


def test_a_cursor_that_stood_in_the_future_is_given_up_and_the_list_is_read_from_its_start(outside, make) -> None:
    since, end = sweep(outside, make, orders=[order_row()], cursor="2026-12-02T09:00:00+00:00||")

    assert since == ["", ""]
    assert end["orders"] == "2026-11-02T08:00:00+00:00"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "database is being upgraded"}, "without its list: database is being upgraded"),
        ({"error": {"code": "down", "message": "soon"}}, "without its list: down: soon"), ({"error": "down"}, "without its list: down"),
        ({"orders": None, "next": None}, "without its list"), ({"orders": {}}, "without its list"), ([], "without its list"),
        ({"orders": [], "next": {}}, "no cursor"), ({"orders": [], "next": True}, "no cursor"), ({"orders": [], "next": "9" * 2001}, "no cursor"),
    ],
)  # fmt: skip
def test_an_answer_without_its_list_is_a_failed_answer(outside, make, body, said) -> None:
    outside.get(f"{BASE}/orders").respond(json=body)
    source, client = shop(make)
    with pytest.raises(Unavailable, match=said):
        list(source.fetch(client, Since(None)))


def test_a_cursor_may_be_a_number(outside, make) -> None:
    answers = iter([{"orders": [], "next": 2}, {"orders": [], "next": None}])
    asked = outside.get(f"{BASE}/orders").mock(side_effect=lambda _: httpx.Response(200, json=next(answers)))
    outside.get(f"{BASE}/checkouts").respond(json={"checkouts": []})
    source, client = shop(make)
    list(source.fetch(client, Since(None)))

    assert asked.calls[1].request.url.params["cursor"] == "2"


def test_one_order_that_cannot_be_read_keeps_no_other_from_being_read(outside, make) -> None:
    """The pages come first; then what went wrong is raised, so that the one is asked again."""
    outside.get(f"{BASE}/orders/odd").respond(500)
    outside.get(f"{BASE}/orders/bare").respond(json={"message": "oops"})
    for ref in ("R1", "R2", "R3"):
        outside.get(f"{BASE}/orders/{ref}").respond(json={"order": order_row(ref=ref)})
    source, client = shop(make)
    pages = []
    with pytest.raises(Transient):
        for page in source.fetch(client, Refs(("odd", "R1", "..", "bare", "R2", "R3"))):
            pages.append(page)

    assert len(pages) == 3


@pytest.mark.parametrize(
    ("status", "kind"), [(402, Unavailable), (423, Unavailable), (430, Unavailable), (401, CredentialsRejected)]
)
def test_what_speaks_for_the_whole_shop_ends_a_read_at_once(outside, make, status, kind) -> None:
    asked = outside.get(f"{BASE}/orders/R1").respond(status)
    source, client = shop(make)
    with pytest.raises(kind):
        list(source.fetch(client, Refs(("R1", "R1"))))

    assert asked.call_count == 1


def test_a_second_failure_in_a_row_ends_a_read_and_a_refusal_of_one_is_told_as_one(outside, make) -> None:
    outside.get(f"{BASE}/orders/R1").respond(500)
    refused = outside.get(f"{BASE}/orders/R2").respond(422)
    source, client = shop(make)
    with pytest.raises(Refused):
        list(source.fetch(client, Refs(("R1", "R2", "R2"))))
    with pytest.raises(Refused, match="HTTP 422"):
        list(source.fetch(client, Refs(("R2",))))

    assert refused.call_count == 2


@pytest.mark.parametrize("path", ["status", "notes"])
def test_a_write_whose_answer_shows_nothing_may_have_been_done(outside, make, path) -> None:
    outside.put(f"{BASE}/orders/R%2F1/status").respond(json={"message": "oops"})
    outside.post(f"{BASE}/orders/R%2F1/notes").respond(200, json=[])
    source, client = shop(make)
    with pytest.raises(Transient, match=path):
        source.push(client, ACTION if path == "status" else Action("order_note", "k", "s", "R/1", text="x"), BEFORE)


def test_orders_are_read_one_by_one_and_one_that_is_gone_hides_nobody(outside, make) -> None:
    outside.get(f"{BASE}/orders/gone").respond(404)
    outside.get(f"{BASE}/orders/R%2F1").respond(json={"order": order_row()})
    source, client = shop(make)

    assert len(list(source.fetch(client, Refs(("gone", "R/1"))))) == 1


def test_a_status_is_set_once_with_what_the_document_allows(outside, make) -> None:
    asked = outside.put(f"{BASE}/orders/R%2F1/status").respond(json={"order": order_row(status="Dispatched/Shipped")})
    source, client = shop(make)

    receipt = source.push(client, ACTION, BEFORE)

    body = json.loads(asked.calls[0].request.content)
    jsonschema.validate(body, schema("SetStatus"))
    assert body == {
        "status": "Dispatched/Shipped", "from": "Processing", "key": ACTION.key, "happened_at": "2026-11-02T08:00:00+00:00",
        "reason": Reason.NOTICE_LEFT.sentence, "place": "Austin, TX, US", "tracking": [{"carrier": "ups", "number": "1Z"}],
        "estimated_delivery_at": "2026-11-03T08:00:00+00:00",
    }  # fmt: skip
    assert asked.calls[0].request.headers["authorization"].startswith("Bearer ")
    assert (receipt.ref, receipt.already_there, receipt.proof) == ("R1", False, "Dispatched/Shipped")


def test_a_status_that_stands_there_is_not_written_again(make) -> None:
    source, client = shop(make)
    there = Order("s", "R/1", "#1", OrderStatus.SHIPPED, "Dispatched/Shipped", PaymentStatus.PAID, "paid", T0, T0)

    assert source.push(client, ACTION, there).already_there


def test_a_note_is_attached(outside, make) -> None:
    asked = outside.post(f"{BASE}/orders/R%2F1/notes").respond(201, json={"id": "N1"})
    source, client = shop(make)

    receipt = source.push(client, Action("order_note", "k", "s", "R/1", text="fragile"), BEFORE)

    assert json.loads(asked.calls[0].request.content) == {"text": "fragile", "key": "k"}
    assert receipt.ref == "N1"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(409, json={"error": {"code": "final", "message": "no"}}), "final: no"),
        (httpx.Response(422, json={"error": "x"}), "x"),
        (httpx.Response(422, json={}), "HTTP 422"),
        (httpx.Response(400, text="nginx"), "HTTP 400"),
    ],
)
def test_a_refusal_is_told_in_the_shops_words(outside, make, answer, said) -> None:
    outside.put(f"{BASE}/orders/R%2F1/status").mock(return_value=answer)
    source, client = shop(make)

    with pytest.raises(Refused, match=said):
        source.push(client, ACTION, BEFORE)


def test_a_ping_asks_whether_the_token_is_known(outside, make) -> None:
    asked = outside.get(f"{BASE}/ping").respond(json={})
    source, client = shop(make)
    source.ping(client)

    assert asked.called


def test_the_fixtures_and_the_sandbox_speak_the_published_document() -> None:
    from tracker.clock import PlayClock
    from tracker.sandbox.fakes.rest import RestServer
    from tracker.sandbox.used import StoreUsed

    jsonschema.validate(
        json.loads((FIXTURES / "order.read.json").read_text(encoding="utf-8"))["order"] | {"tags": []}, schema("Order")
    )
    server = RestServer("shop", PlayClock(T0), used=StoreUsed(uses="rest", words="kingston"))
    server.place("#1", T0, status="Processing", items=[{"ref": "a", "ordered": 1, "cancelled": 0, "refunded": 0}])
    server.ship("#1", T0, [{"company": "UPS", "number": "1Z"}], items={})
    server.checkout("C1", contact=False, recovered=False)
    jsonschema.validate(server.orders["#1"], schema("Order"))
    jsonschema.validate(server.checkouts["C1"], schema("Checkout"))
