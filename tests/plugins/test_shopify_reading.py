"""How a Shopify store is read: pages and cursors, full lists, an odd order beside others, odd pieces of one."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from tests.plugins.shopify import GID, LINE, URL, answering, by_id, node, odd, page, part, rows, shop
from tracker.domain.errors import BadPayload, Transient, Unavailable
from tracker.domain.facts import Order, Payload, Refs, Since, Unread
from tracker.plugin.conformance import AT


def test_a_sweep_goes_on_from_the_newest_change_with_an_overlap(outside, make) -> None:
    pages = iter(
        [page([{"updatedAt": "2026-11-02T09:00:00Z"}], more=True), page([{"updatedAt": "2026-11-02T10:00:00Z"}])]
    )
    asked = outside.post(URL).mock(side_effect=lambda _: httpx.Response(200, json=next(pages)))
    source, client = shop(make)

    found = list(source.fetch(client, Since("2026-11-02T08:00:00+00:00|")))

    variables = [json.loads(c.request.content)["variables"] for c in asked.calls]
    assert variables[0]["q"] == "updated_at:>='2026-11-02T07:50:00Z'"
    assert (variables[0]["after"], variables[1]["after"]) == (None, "c1")
    assert [p.next_cursor for p in found] == ["2026-11-02T08:00:00+00:00|c1", "2026-11-02T10:00:00+00:00|"]
    assert asked.calls[0].request.headers["x-shopify-access-token"] == "canary-access_token"


def test_a_first_sync_reads_open_orders_and_resumes_at_its_page(outside, make) -> None:
    asked = outside.post(URL).respond(json=page([], cursor=None))
    source, client = shop(make)

    (only,) = source.fetch(client, Since("|c7", open_only=True))

    variables = json.loads(asked.calls[0].request.content)["variables"]
    assert (variables["q"], variables["after"]) == ("status:open", "c7")
    assert only.next_cursor == "|"


def test_orders_are_read_as_many_at_a_time_as_one_query_may_cost(outside, make) -> None:
    asked = outside.post(URL).respond(json={"data": {"nodes": []}})
    source, client = shop(make)

    ids = (*(f"{GID}{i}" for i in range(9)), "R1", "gid://shopify/Order/1/..", "..", "gid://shopify/Fulfillment/1")
    assert len(list(source.fetch(client, Refs(ids)))) == 2
    assert [len(json.loads(call.request.content)["variables"]["ids"]) for call in asked.calls] == [8, 1]


def test_one_order_that_cannot_be_read_keeps_no_other_from_being_read(outside, make) -> None:
    """Where a call of several fails they are asked one by one; then what went wrong is raised."""
    answering(
        outside, lambda _, v: odd() if f"{GID}2" in v["ids"] else by_id(*(node(int(i[len(GID) :])) for i in v["ids"]))
    )
    source, client = shop(make)
    pages = []
    with pytest.raises(Transient, match="Internal error"):
        for page_ in source.fetch(client, Refs(tuple(f"{GID}{i}" for i in (1, 2, 3)))):
            pages.append(page_)

    read = [one.ref for page_ in pages for one in source.normalize(Payload("s", "read", page_.parts, AT))]
    assert read == [f"{GID}1", f"{GID}3"]


def test_several_that_cannot_be_read_in_one_call_are_read_one_by_one(outside, make) -> None:
    answering(outside, lambda _, v: odd("MAX_COST_EXCEEDED") if len(v["ids"]) > 1 else by_id(node(1)))
    source, client = shop(make)

    assert len(list(source.fetch(client, Refs((f"{GID}1", f"{GID}2"))))) == 2


@pytest.mark.parametrize("ids", [1, 9])
def test_a_shop_that_answers_nothing_is_not_asked_for_each_order(outside, make, ids) -> None:
    asked = outside.post(URL).respond(json=odd())
    source, client = shop(make)
    with pytest.raises(Transient):
        list(source.fetch(client, Refs(tuple(f"{GID}{i}" for i in range(ids)))))

    assert asked.call_count == (1 if ids == 1 else 3)


# odd pieces


def told(source, *nodes, kind: str = "read") -> tuple[list[Order], list[Unread]]:
    items = list(source.normalize(Payload("s", kind, (json.dumps(by_id(*nodes)).encode(),), AT)))
    return [i for i in items if isinstance(i, Order)], [i for i in items if isinstance(i, Unread)]


@pytest.mark.parametrize(
    "broken",
    [
        {"name": None}, {"createdAt": 7}, {"updatedAt": "soon"}, {"cancelledAt": 7}, {"cancelledAt": ""},
        {"displayFulfillmentStatus": None}, {"displayFulfillmentStatus": {}}, {"displayFinancialStatus": 7},
    ],
    ids=str,
)  # fmt: skip
def test_an_order_is_not_told_without_what_a_write_depends_on_and_the_others_are(make, broken) -> None:
    found, (unread,) = told(shop(make)[0], node(1), node(2, **broken), node(3))

    assert [one.number for one in found] == ["#1", "#3"]
    assert (unread.where, unread.subject) == (f"$.data.nodes[1].{next(iter(broken))}", f"{GID}2")


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"id": None}, ".id"), ({"status": None}, ".status"), ({"status": 7.5}, ".status"), ({"events": None}, ".events"),
        ({"events": {"nodes": None}}, ".events.nodes"), ({"events": {"nodes": [None]}}, ".events.nodes[0]"),
        ({"events": {"nodes": [{"status": "DELIVERED", "happenedAt": 7}]}}, ".events.nodes[0].happenedAt"),
        ({"trackingInfo": 7}, ".trackingInfo"), ({"trackingInfo": [7]}, ".trackingInfo[0]"),
    ],
)  # fmt: skip
def test_a_fulfilment_or_a_number_that_cannot_be_read_makes_the_order_partial(make, broken, where) -> None:
    (one,), (unread,) = told(
        shop(make)[0], node(1, fulfillments=[part(1, "X1"), part(2, "X2", **broken), part(3, "X3")])
    )

    assert one.partial
    lost = {"X2"} if next(iter(broken)) in ("id", "status", "trackingInfo") else set()
    assert {p.number for f in one.fulfilments for p in f.parcels} == {"X1", "X2", "X3"} - lost
    assert (unread.where, unread.subject, unread.lacks) == (
        f"$.data.nodes[0].fulfillments[1]{where}",
        f"{GID}1",
        "line",
    )


def test_a_detail_that_cannot_be_read_is_left_out_and_told(make) -> None:
    named = rows({"quantity": 1, "lineItem": {"id": f"{LINE}11"}})
    tracking = [{"company": 7, "number": "X1"}]
    here = part(1, "X1", createdAt="soon", trackingInfo=tracking, fulfillmentLineItems=named)
    (one,), unread = told(shop(make)[0], node(1, fulfillments=[here]))

    assert not one.partial
    assert one.fulfilments[0].shipped_at is None
    assert [u.where[len("$.data.nodes[0].fulfillments[0]") :] for u in unread] == [
        ".trackingInfo[0].company",
        ".createdAt",
    ]


def test_null_by_id_is_not_there_and_null_in_a_page_is_told(make) -> None:
    source, _ = shop(make)
    assert told(source, None, {}, node(3))[1] == []
    items = list(source.normalize(Payload("s", "sweep", (json.dumps(page([None, node(2)])).encode(),), AT)))
    assert [one.lacks for one in items if isinstance(one, Unread)] == ["all"]


@pytest.mark.parametrize(
    "body",
    [
        {"data": None},
        {"data": {}},
        {"data": {"orders": None}},
        {"data": {"nodes": None}},
        {"data": {"nodes": {}}},
        {"data": {"nodes": [7]}},
    ],
)
def test_a_payload_of_which_nothing_can_be_told_is_a_bad_payload(make, body) -> None:
    source, _ = shop(make)
    with pytest.raises(BadPayload):
        source.normalize(Payload("s", "read", (json.dumps(body).encode(),), AT))


# answers without their orders, and times that cannot be


@pytest.mark.parametrize(
    "body",
    [
        {"data": None}, {}, {"data": {"orders": None}}, {"data": {"orders": {"nodes": None}}}, {"data": {"orders": {"nodes": []}}},
        {"data": {"orders": {"nodes": [], "pageInfo": {"hasNextPage": "no"}}}}, page([], more=True, cursor=None), page([], more=True, cursor=""), [],
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_without_its_orders_is_a_failed_answer(outside, make, body) -> None:
    outside.post(URL).respond(json=body)
    source, client = shop(make)
    with pytest.raises(Unavailable):
        list(source.fetch(client, Since(None)))


def test_a_read_without_its_orders_is_a_failed_answer(outside, make) -> None:
    outside.post(URL).respond(json={"data": {}})
    source, client = shop(make)
    with pytest.raises(Unavailable):
        list(source.fetch(client, Refs((f"{GID}1", f"{GID}2"))))


@pytest.mark.parametrize(("at", "mark"), [("2026-12-02T09:00:00Z", "2026-11-02T12:00:00+00:00|"), ("9998-12-31T23:59:59-14:00", "2026-11-02T12:00:00+00:00|"),
                                          ("soon", "2026-11-02T08:00:00+00:00|"), ("2026-11-02T11:00:00", "2026-11-02T08:00:00+00:00|"),
                                          ("9999-12-31T23:59:59-14:00", "2026-11-02T08:00:00+00:00|"), ("2026-11-02T09:00:00Z", "2026-11-02T09:00:00+00:00|")])  # fmt: skip
def test_a_cursor_never_passes_our_own_clock_and_an_odd_time_moves_none(outside, make, at, mark) -> None:
    outside.post(URL).respond(json=page([node(1, updatedAt=at), None]))
    source, client = shop(make)
    (found,) = source.fetch(client, Since("2026-11-02T08:00:00+00:00|"))

    assert found.next_cursor == mark


def test_a_cursor_that_stood_in_the_future_is_given_up_and_everything_is_read_again(outside, make) -> None:
    asked = outside.post(URL).respond(json=page([node(1)]))
    source, client = shop(make)
    (found,) = source.fetch(client, Since("2026-12-02T09:00:00+00:00|c7"))

    assert json.loads(asked.calls[0].request.content)["variables"] == {
        "first": 8, "after": None, "q": "", "namespace": "custom", "key": "", "named": False,
        "addressed": True, "routed": True, "acted": True,
    }  # fmt: skip
    assert found.next_cursor == "2026-11-02T10:00:00+00:00|"


def test_orders_older_than_sixty_days_are_out_of_sight_without_the_right_to_read_all(make) -> None:
    assert shop(make)[0].reads_back() == timedelta(days=60)
    assert shop(make, read_all_orders=True)[0].reads_back() is None


@pytest.mark.parametrize("key", ["createdAt", "updatedAt", "cancelledAt"])
def test_a_time_without_an_offset_is_no_moment_and_its_order_is_not_told(make, key: str) -> None:
    source, _ = shop(make)
    orders, unread = told(source, node(1, **{key: "2026-03-08T02:30:00"}), node(2))
    assert [order.number for order in orders] == ["#2"]
    assert any("must carry an offset" in one.problem for one in unread)
