"""What the order API is asked, and what it is told: sweeps, reads, writes; each as the published document says."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import jsonschema
import pytest

from tests.plugins.rest import BASE, FIXTURES, T0, order_row, schema, shop
from tracker.domain.errors import CredentialsRejected, Refused, Transient, Unavailable
from tracker.domain.facts import Action, Order, Parcel, Place, Refs, Since
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, Reason, ShippingStatus


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


BEFORE = Order("s", "R/1", "#1", OrderStatus.PROCESSING, "Processing", PaymentStatus.PAID, "paid", T0, T0)
ACTION = Action(
    "order_status", "s/R/1/status/shipped/1", "s", "R/1", status=ShippingStatus.DELIVERY_ATTEMPTED, reason=Reason.NOTICE_LEFT,
    happened_at=T0, place=Place("Austin", "TX", "", "US"), edd=T0 + timedelta(days=1), target=OrderStatus.SHIPPED,
    parcels=(Parcel("ups", "1Z", "UPS"),),
)  # fmt: skip


# requests


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
