"""What is written to BigCommerce: one thing alone, looked at before, proved after; and what is never written."""

from __future__ import annotations

import json

import httpx
import pytest

from adapters.bigcommerce.words import IDS, LABELS, MAY_COME_FROM
from tests.plugins.bigcommerce import BASE, ROW, V3, order, store
from tracker.domain.errors import BadPayload, CredentialsRejected, Refused, Transient
from tracker.domain.facts import Action, Payload, Receipt, Refs
from tracker.domain.vocabulary import OrderStatus, ShippingStatus
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, Recorder
from tracker.plugin.contracts import Beside

O = OrderStatus
ORDER = f"{BASE}/orders/250"
FIELDS = f"{V3}/orders/250/metafields"
BEFORE = order(O.SHIPPED, "Shipped")
NOTE = Action("order_note", "k", "s", "250", text="Rang twice.\nLeft at the gate")
FIELD = Action("field", "k", "s", "250", status=ShippingStatus.DELIVERED, field="shipping_status", text="delivered")
STORED = {
    "id": 7,
    "namespace": "trackwright",
    "key": "shipping_status",
    "value": "in_transit",
    "permission_set": "read",
}


def to(target: OrderStatus) -> Action:
    return Action("order_status", "k", "s", "250", target=target)


# the status


@pytest.mark.parametrize("raw", LABELS.values())
@pytest.mark.parametrize("target", [O.SHIPPED, O.PARTIALLY_SHIPPED, O.DELIVERED])
def test_no_status_is_left_or_set_but_those_of_parcels(make, raw, target) -> None:
    """Money, stock and people: 0, 1, 4 to 7 and 12 to 14 are neither left nor set, whatever was asked for."""
    sent = []

    class Answers:
        def send(self, request):
            sent.append(json.loads(request.content))
            return Response(200, {}, json.dumps({"id": 250, **sent[-1]}).encode(), AT)

    source, _ = store(make, completed_is_delivered=True)
    here, wanted = IDS[raw], {O.SHIPPED: 2, O.PARTIALLY_SHIPPED: 3, O.DELIVERED: 10}[target]
    allowed = {(11, 2), (9, 2), (8, 2), (3, 2), (11, 3), (9, 3), (8, 3), (2, 10), (11, 10), (9, 10), (8, 10), (3, 10)}
    try:
        receipt = source.push(Answers(), to(target), order(O.UNKNOWN, raw))
    except Refused:
        assert sent == []
        assert (here, wanted) not in allowed
    else:
        assert receipt.already_there is (here == wanted)
        assert here == wanted or (here, wanted) in allowed
    assert all({*body} == {"status_id"} and body["status_id"] in MAY_COME_FROM for body in sent)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ({"status_id": 5, "status": "Cancelled"}, Refused, "set to Shipped, and the answer shows Cancelled"),
        ({"status_id": 11}, Refused, "shows Awaiting Fulfillment"), ({}, Transient, "shows no status"), ({"status_id": [2]}, Transient, "shows no status"),
        ([], BadPayload, "object"),
    ],
)  # fmt: skip
def test_a_status_that_the_answer_does_not_show_is_not_written_again(outside, make, answer, error, said) -> None:
    """Each write may mail: what the shop itself turned into something else is told."""
    asked = outside.put(ORDER).respond(json=answer)
    source, client = store(make, completed_is_delivered=True)

    with pytest.raises(error, match=said):
        source.push(client, to(O.DELIVERED), order(O.CONFIRMED, "Awaiting Fulfillment"))
    assert asked.call_count == 1  # Completed was not set


def test_what_bigcommerce_does_not_take_is_refused_before_a_call(make) -> None:
    source, client = store(make)
    with pytest.raises(Refused, match="status, staff notes, a metafield and a tracking number"):
        source.push(client, Action("tag", "k", "s", "250", text="x"), BEFORE)


# staff notes


def notes(outside, before, after=None):
    """Serve an order with staff notes; `after`: what the answer of a write shows, all that was written where None."""
    outside.get(ORDER).respond(json={**ROW, "staff_notes": before})

    def answer(request: httpx.Request) -> httpx.Response:
        written = json.loads(request.content)
        return httpx.Response(200, json={**ROW, "staff_notes": written["staff_notes"] if after is None else after})

    return outside.put(ORDER).mock(side_effect=answer)


@pytest.mark.parametrize(
    ("before", "written"),
    [
        ("Call first", "Call first\nRang twice.\nLeft at the gate"), ("", NOTE.text), (None, NOTE.text), (" \n", NOTE.text),
        ("Call first \n", "Call first\nRang twice.\nLeft at the gate"), ("Rang twice.", "Rang twice.\nRang twice.\nLeft at the gate"),
        ("He said: Rang twice.\nLeft at the gate, too", "He said: Rang twice.\nLeft at the gate, too\nRang twice.\nLeft at the gate"),
    ],
)  # fmt: skip
def test_a_note_stands_behind_what_the_merchant_wrote(outside, make, before, written) -> None:
    asked = notes(outside, before)
    source, client = store(make)

    assert source.push(client, NOTE, BEFORE) == Receipt("250", proof="note")
    assert [json.loads(call.request.content) for call in asked.calls] == [{"staff_notes": written}]


@pytest.mark.parametrize(
    "there",
    [
        "Rang twice.\nLeft at the gate",
        "Call\r\n Rang twice. \r\nLeft at the gate\r\nBye",
        "x\nRang twice.\nLeft at the gate",
    ],
)
def test_a_note_that_stands_there_is_not_written_again(outside, make, there) -> None:
    asked = notes(outside, there)
    source, client = store(make)

    assert source.push(client, NOTE, BEFORE).already_there
    assert asked.call_count == 0


def test_a_note_with_signs_that_a_shop_prints_its_own_way_is_known_again(outside, make) -> None:
    asked = notes(outside, "", after="Tom &amp; Jerry&#039;s")
    source, client = store(make)

    source.push(client, Action("order_note", "k", "s", "250", text="Tom & Jerry's"), BEFORE)
    assert asked.call_count == 1


def test_what_has_no_room_is_refused_and_nothing_of_the_merchants_text_is_cut(outside, make) -> None:
    asked = notes(outside, "x" * (100 - len(NOTE.text)))
    source, client = store(make, staff_notes_most=100)

    with pytest.raises(Refused, match="no room: 100 characters at most"):
        source.push(client, NOTE, BEFORE)
    assert asked.call_count == 0


@pytest.mark.parametrize("after", ["", "Rang twice."])
def test_a_note_that_the_answer_does_not_show_may_come_again_and_is_looked_for_first(outside, make, after) -> None:
    notes(outside, "", after)
    source, client = store(make)

    with pytest.raises(Transient, match="does not show them"):
        source.push(client, NOTE, BEFORE)


@pytest.mark.parametrize("body", [{**ROW, "staff_notes": 7}, {"staff_notes": ""}, []])
def test_notes_that_cannot_be_read_are_not_written_over(outside, make, body) -> None:
    outside.get(ORDER).respond(json=body)
    source, client = store(make)

    with pytest.raises(BadPayload):
        source.push(client, NOTE, BEFORE)


# the metafield


def fields(outside, *lists):
    answers = iter(lists)
    return outside.get(FIELDS).mock(side_effect=lambda _: httpx.Response(200, json={"data": next(answers), "meta": {}}))


def test_a_metafield_is_made_where_none_is_there(outside, make) -> None:
    looked = fields(outside, [])
    made = outside.post(FIELDS).respond(json={"data": {**STORED, "value": "delivered"}, "meta": {}})
    source, client = store(make, metafield_permission="app_only")

    assert source.push(client, FIELD, BEFORE) == Receipt("shipping_status", proof="delivered")
    assert dict(looked.calls[0].request.url.params) == {"namespace": "trackwright", "key": "shipping_status"}
    assert json.loads(made.calls[0].request.content) == {
        "permission_set": "app_only", "namespace": "trackwright", "key": "shipping_status", "value": "delivered",
    }  # fmt: skip


def test_a_metafield_that_is_there_is_changed_and_one_that_shows_it_is_not(outside, make) -> None:
    fields(
        outside,
        [{**STORED, "id": 6, "date_modified": "2026-11-01"}, {**STORED, "date_modified": "2026-11-02"}],
        [{**STORED, "value": "delivered"}],
    )
    changed = outside.put(f"{FIELDS}/7").respond(json={"data": {**STORED, "value": "delivered"}, "meta": {}})
    source, client = store(make)

    assert not source.push(client, FIELD, BEFORE).already_there
    assert source.push(client, FIELD, BEFORE).already_there
    assert changed.call_count == 1


def test_a_metafield_that_was_made_meanwhile_is_changed(outside, make) -> None:
    fields(outside, [], [STORED])
    outside.post(FIELDS).respond(409, json={"status": 409, "title": "The metafield conflicts with another metafield."})
    changed = outside.put(f"{FIELDS}/7").respond(json={"data": {**STORED, "value": "delivered"}, "meta": {}})
    source, client = store(make)

    source.push(client, FIELD, BEFORE)
    assert changed.call_count == 1


def test_a_metafield_that_is_refused_is_told_in_their_words(outside, make) -> None:
    fields(outside, [], [])
    outside.post(FIELDS).respond(422, json={"status": 422, "title": "250 metafields are the most", "errors": {}})
    source, client = store(make)

    with pytest.raises(Refused, match="HTTP 422: 250 metafields are the most"):
        source.push(client, FIELD, BEFORE)


def test_a_metafield_that_the_answer_does_not_show_is_looked_for_again(outside, make) -> None:
    fields(outside, [STORED])
    outside.put(f"{FIELDS}/7").respond(json={"data": STORED, "meta": {}})
    source, client = store(make)

    with pytest.raises(Transient, match="the answer does not show it"):
        source.push(client, FIELD, BEFORE)


@pytest.mark.parametrize(
    ("name", "space", "key"),
    [
        ("shipping_status", "trackwright", "shipping_status"),
        ("acme.shipping", "acme", "shipping"),
        ("acme.a.b", "acme", "a.b"),
    ],
)
def test_the_policy_names_a_key_or_a_namespace_and_a_key(outside, make, name, space, key) -> None:
    outside.get(ORDER).respond(json=ROW)
    for part in ("products", "shipments"):
        outside.get(f"{ORDER}/{part}").respond(204)
    asked = fields(outside, [{**STORED, "namespace": space, "key": key}])
    source, client = store(make)
    source.status_field = name

    (page,) = source.fetch(client, Refs(("250",)))
    found, *_ = source.normalize(Payload("s", "read", page.parts, AT))
    assert dict(asked.calls[0].request.url.params) == {"namespace": space, "key": key}
    assert found.shown == "in_transit"


@pytest.mark.parametrize("name", ["x" * 65, f"{'x' * 65}.key"])
def test_a_name_that_is_longer_than_a_metafield_may_have_is_refused_before_a_call(make, name) -> None:
    source, client = store(make)
    with pytest.raises(Refused, match="64 characters each at most"):
        source.push(client, Action("field", "k", "s", "250", field=name, text="delivered"), BEFORE)


# what a token may not do, and what writes do beside


def test_a_token_that_may_only_read_has_its_writes_refused_and_goes_on_reading(outside, make) -> None:
    outside.put(ORDER).respond(
        403, json={"status": 403, "title": "You don't have a required scope to access the endpoint"}
    )
    source, client = store(make)

    with pytest.raises(
        Refused, match=r"required scope to access the endpoint: the access_token lacks the scope store_v2_orders$"
    ):
        source.push(client, to(O.SHIPPED), order(O.CONFIRMED, "Awaiting Fulfillment"))


def test_a_token_that_is_none_of_the_store_says_of_which(outside, make) -> None:
    outside.put(ORDER).respond(401, json={"status": 401, "title": "Unauthorized"})
    source, client = store(make)

    with pytest.raises(CredentialsRejected, match="HTTP 401: Unauthorized: access_token is none of store_hash 'abc'"):
        source.push(client, to(O.SHIPPED), order(O.CONFIRMED, "Awaiting Fulfillment"))


def test_no_write_is_repeated_by_the_wire(make) -> None:
    source, _ = store(make)
    client = Recorder(b'{"data": [], "meta": {}}', b'{"data": {"value": "delivered"}}')
    source.push(client, FIELD, BEFORE)

    assert [(request.method, request.idempotent) for request in client.sent] == [("GET", True), ("POST", False)]


def test_a_status_may_mail_and_a_metafield_may_stand_in_the_storefront(make) -> None:
    private, public = store(make)[0], store(make, metafield_permission="write_and_sf_access")[0]

    assert private.beside("order_status", "Shipped") == Beside(
        "mails the customer where the store's Settings > Order notifications ticks Shipped"
    )
    assert private.beside("field", "x") is None
    assert public.beside("field", "x") == Beside("can be read by everybody, in the storefront")
    assert public.beside("order_note", "") is None
    assert "not documented" in (public.beside("number", "X1") or Beside("")).said
