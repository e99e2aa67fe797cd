"""Answers of Shopify with errors beside their data, with a field that the app may not see, and queries that cost too much."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from tests.plugins.shopify import GID, URL, answering, by_id, node, odd, page, shop
from tracker.domain.errors import BadPayload, CredentialsRejected, Refused, SourceError, Transient
from tracker.domain.facts import Order, Payload, Refs, Since, Unread
from tracker.plugin.conformance import AT


def error(*path: object, code: str = "INTERNAL_SERVER_ERROR") -> dict:
    return {"message": "Internal error.", "path": list(path), "extensions": {"code": code}}


def read(make, outside, answer, ask=None):
    """Fetch and read; returns what was told of all pages, and the variables of each call."""
    source, client = shop(make)
    asked: list[dict] = []

    def noted(operation: str, variables: dict) -> dict:
        asked.append(variables)
        return answer(operation, variables)

    answering(outside, noted)
    ask = ask or Since(None)
    kind = "read" if isinstance(ask, Refs) else "sweep"
    items = [i for found in source.fetch(client, ask) for i in source.normalize(Payload("s", kind, found.parts, AT))]
    return [i for i in items if isinstance(i, Order)], [i for i in items if isinstance(i, Unread)], asked


def test_an_order_whose_node_errs_is_told_as_unread_and_the_others_are_read(make, outside) -> None:
    body = {
        **page([node(1), node(2, displayFinancialStatus=None), node(3)]),
        "errors": [error("orders", "nodes", 1, "displayFinancialStatus")],
    }
    found, (unread,), asked = read(make, outside, lambda *_: body)

    assert ([o.number for o in found], len(asked)) == (["#1", "#3"], 1)
    assert (unread.where, unread.subject, unread.lacks) == (
        "$.data.orders.nodes[1].displayFinancialStatus",
        f"{GID}2",
        "",
    )
    assert unread.problem == "INTERNAL_SERVER_ERROR: Internal error."


def test_a_detail_that_errs_is_told_and_its_order_is_read_without_it(make, outside) -> None:
    body = {
        **page([node(1, shippingAddress=None, risk=None)]),
        "errors": [error("orders", "nodes", 0, "risk", "recommendation")],
    }
    (found,), (unread,), _ = read(make, outside, lambda *_: body)

    assert (found.risk, found.partial, unread.where) == ("", False, "$.data.orders.nodes[0].risk")


@pytest.mark.parametrize(
    "errors",
    [
        [error()], [error("orders")], [error("orders", "nodes")], [error("orders", "nodes", "1")], [error("shop", "nodes", 1)], [7], 7,
        [error("orders", "nodes", 0), error("orders")], [{"message": "no path"}],
    ],
    ids=str,
)  # fmt: skip
def test_an_error_that_is_not_of_one_order_fails_the_whole_answer(make, outside, errors) -> None:
    with pytest.raises(SourceError):
        read(make, outside, lambda *_: {**page([node(1)]), "errors": errors})


def test_an_order_that_errs_among_others_by_id_is_asked_for_alone_and_never_taken_for_gone(make, outside) -> None:
    def answer(_: str, v: dict) -> dict:
        found = [node(int(ref[len(GID) :])) for ref in v["ids"]]
        if len(found) == 1:
            return by_id(*found)
        return {**by_id(found[0], None, found[2]), "errors": [error("nodes", 1)]}

    found, unread, asked = read(make, outside, answer, Refs(tuple(f"{GID}{n}" for n in (1, 2, 3))))

    assert ([o.number for o in found], unread) == (["#1", "#3", "#2"], [])
    assert [v["ids"] for v in asked] == [[f"{GID}1", f"{GID}2", f"{GID}3"], [f"{GID}2"]]


@pytest.mark.parametrize(
    ("code", "raised"), [("INTERNAL_SERVER_ERROR", Transient), ("ACCESS_DENIED", CredentialsRejected)]
)
def test_an_order_that_errs_alone_too_is_a_failed_read(make, outside, code: str, raised: type[Exception]) -> None:
    body = {**by_id(None), "errors": [error("nodes", 0, code=code)]}
    with pytest.raises(raised, match="Internal error"):
        read(make, outside, lambda *_: body, Refs((f"{GID}1",)))


def test_an_order_that_errs_alone_is_told_where_it_is_named(make, outside) -> None:
    body = {**by_id(node(1, tags=None)), "errors": [error("nodes", 0, "tags")]}
    found, (unread,), _ = read(make, outside, lambda *_: body, Refs((f"{GID}1",)))

    assert (found, unread.subject) == ([], f"{GID}1")


def test_a_stored_answer_whose_only_order_errs_tells_nothing(make) -> None:
    body = json.dumps({**by_id({}), "errors": [error("nodes", 0)]}).encode()
    with pytest.raises(BadPayload, match="Internal error"):
        shop(make)[0].normalize(Payload("s", "read", (body,), AT))


def test_several_that_cannot_be_read_in_one_call_are_read_one_by_one(make, outside) -> None:
    def answer(_: str, v: dict) -> dict:
        return odd() if len(v["ids"]) > 1 else by_id(node(int(v["ids"][0][len(GID) :])))

    found, unread, asked = read(make, outside, answer, Refs((f"{GID}1", f"{GID}2")))
    assert ([o.number for o in found], unread, len(asked)) == (["#1", "#2"], [], 3)


# what the app may not see


@pytest.mark.parametrize(
    ("field", "variable"), [("fulfillmentOrders", "routed"), ("shippingAddress", "addressed"), ("events", "acted")]
)
def test_a_field_that_the_app_may_not_see_is_left_out_and_told(make, outside, field: str, variable: str) -> None:
    def answer(_: str, v: dict) -> dict:
        if v[variable]:
            return odd("ACCESS_DENIED", f"Access denied for {field} field. Required access: ...")
        return page([{k: value for k, value in node(1).items() if k != field}])

    (found,), unread, asked = read(make, outside, answer)

    assert [v[variable] for v in asked] == [True, False]
    assert found.number == "#1"
    # who changed what is told by `tracker policy show`, of no order in particular
    assert [u.where for u in unread] == ([] if field == "events" else [f"$.data.orders.nodes.{field}"])


def test_what_was_refused_is_left_out_for_a_day(make, outside) -> None:
    source, client = shop(make)
    asked = []

    def answer(_: str, v: dict) -> dict:
        asked.append(v["routed"])
        return odd("ACCESS_DENIED", "Access denied for fulfillmentOrders field.") if v["routed"] else page([])

    answering(outside, answer)
    for at in (client.now(), client.now() + timedelta(hours=23), client.now() + timedelta(hours=25)):
        client.now = lambda at=at: at
        list(source.fetch(client, Since(None)))
    assert asked == [True, False, False, True, False]


def test_a_right_that_is_missing_for_orders_themselves_parks_the_account(make, outside) -> None:
    with pytest.raises(CredentialsRejected, match="orders field"):
        read(make, outside, lambda *_: odd("ACCESS_DENIED", "Access denied for orders field."))


def test_a_detail_that_is_refused_beside_the_data_is_not_asked_for_again(make, outside) -> None:
    source, client = shop(make)
    refused = [error("orders", "nodes", 0, "shippingAddress", code="ACCESS_DENIED")]
    asked = []

    def answer(_: str, v: dict) -> dict:
        asked.append(v["addressed"])
        return {**page([node(1, shippingAddress=None)]), "errors": refused} if v["addressed"] else page([])

    answering(outside, answer)
    for _ in range(2):
        list(source.fetch(client, Since(None)))
    assert asked == [True, False]


# cost


def test_a_page_that_costs_too_much_is_asked_for_in_smaller_ones_from_then_on(make, outside) -> None:
    source, client = shop(make)
    asked = []

    def answer(_: str, v: dict) -> dict:
        asked.append(v.get("first", len(v.get("ids", ()))))
        return odd("MAX_COST_EXCEEDED", "Query cost is 987") if asked[-1] > 2 else page([]) if "first" in v else by_id()

    answering(outside, answer)
    list(source.fetch(client, Since(None)))
    list(source.fetch(client, Refs(tuple(f"{GID}{n}" for n in range(5)))))
    assert asked == [8, 4, 2, 2, 2, 1]


def test_orders_by_id_that_cost_too_much_are_asked_for_in_smaller_calls(make, outside) -> None:
    def answer(_: str, v: dict) -> dict:
        if len(v["ids"]) > 3:
            return odd("MAX_COST_EXCEEDED")
        return by_id(*(node(int(ref[len(GID) :])) for ref in v["ids"]))

    found, _, asked = read(make, outside, answer, Refs(tuple(f"{GID}{n}" for n in range(8))))

    assert ([len(v["ids"]) for v in asked], len(found)) == ([8, 4, 2, 2, 2, 2], 8)


@pytest.mark.parametrize("ask", [Since(None), Refs((f"{GID}1",))])
def test_one_order_that_costs_too_much_is_refused(make, outside, ask) -> None:
    with pytest.raises(Refused, match="MAX_COST_EXCEEDED"):
        read(make, outside, lambda *_: odd("MAX_COST_EXCEEDED"), ask)


def test_a_sweep_without_news_costs_one_request(make, outside) -> None:
    asked = outside.post(URL).mock(side_effect=lambda _: httpx.Response(200, json=page([])))
    source, client = shop(make)
    (only,) = source.fetch(client, Since("2026-11-02T08:00:00+00:00|"))

    assert (asked.call_count, only.next_cursor) == (1, "2026-11-02T08:00:00+00:00|")


def test_a_first_sync_asks_for_no_events_as_nothing_before_it_is_anybodys_change(make, outside) -> None:
    _, _, asked = read(make, outside, lambda *_: page([]), Since(None, open_only=True))

    assert [v["acted"] for v in asked] == [False]
