"""Shopify: the first sync by one bulk operation: started once, waited for, read in pages, told where it is not whole."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.shopify import bulk
from tests.plugins.shopify import GID, LINE, T0, node, part, route, shop
from tests.plugins.shopify import line as a_line
from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Transient, Unavailable
from tracker.domain.facts import ChangeNotice, Order, Page, Payload, Since, Unread
from tracker.domain.vocabulary import ShippingStatus
from tracker.plugin.calls import Response

OPERATION = "gid://shopify/BulkOperation/7"
BEGAN = "2026-11-02T07:00:00+00:00"
CURSOR = f"bulk|{OPERATION}|{BEGAN}|"  # as it was before there were spans
ALL = "||0|0"  # no span: all orders
FIRST = Since(None, open_only=True)


class Client:
    """Answers by the name of an operation, and opens a result."""

    def __init__(self, result: bytes = b"", **answers: Any) -> None:
        self.result, self.answers = result, answers
        self.asked: list[tuple[str, Any]] = []

    def now(self) -> datetime:
        return T0

    def send(self, request: Any) -> Response:
        body = json.loads(request.content)
        name = body["query"].split()[1].partition("(")[0]
        self.asked.append((name, body["variables"]))
        return Response(200, {}, json.dumps({"data": self.answers[name]}).encode(), T0)

    @contextmanager
    def stream(self, url: str, size: int | None = None) -> Iterator[Any]:
        self.asked.append((url, size))
        yield io.BytesIO(self.result)


def told(status: str, **more: Any) -> dict[str, Any]:
    return {
        "bulkOperation": {"id": OPERATION, "status": status, "errorCode": None, "objectCount": "3", "url": None, **more}
    }


def started(*refusals: dict[str, Any]) -> dict[str, Any]:
    made = None if refusals else {"id": OPERATION, "createdAt": "2026-11-02T07:00:00Z"}
    return {"bulkOperationRunQuery": {"bulkOperation": made, "userErrors": list(refusals)}}


def running(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"bulkOperations": {"nodes": list(nodes)}}


def jsonl(*rows: Any) -> bytes:
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def line(number: int, order: int, left: int = 0) -> dict[str, Any]:
    return {**a_line(number, left=left), "__parentId": f"{GID}{order}"}


def row(number: int, **more: Any) -> dict[str, Any]:
    """An order as a line of a result: what hangs on it stands in lines of its own."""
    return {k: v for k, v in node(number, **more).items() if k not in ("lineItems", "fulfillmentOrders", "events")}


def routed(number: int, order: int, lines: list[tuple[int, int, int]], **more: Any) -> list[dict[str, Any]]:
    """A fulfilment order with its lines, each in a line of its own."""
    one = route(number, lines, **more)
    held = one.pop("lineItems")["nodes"]
    ids = (f"gid://shopify/FulfillmentOrderLineItem/{number}{at}" for at in range(len(held)))
    return [
        {**one, "__parentId": f"{GID}{order}"},
        *({"id": i, **h, "__parentId": one["id"]} for i, h in zip(ids, held, strict=True)),
    ]


def done(result: bytes) -> Client:
    url = "https://storage.googleapis.com/x?Signature=s"
    return Client(result, Operation=told("COMPLETED", url=url, fileSize=str(len(result))))


def bulk_shop(make: Any, **more: Any) -> Any:
    return shop(make, backfill="bulk", **more)[0]


def read(source: Any, page: Page) -> list[Any]:
    return list(source.normalize(Payload("a", "sweep", page.parts, datetime(2026, 11, 3, tzinfo=UTC))))


def test_an_operation_is_started_and_its_cursor_is_kept_before_anything_else(make: Any) -> None:
    source, client = bulk_shop(make), Client(Running=running({"id": "x", "query": "another"}), Start=started())
    source.status_field = "acme.shipping"
    (page,) = source.fetch(client, FIRST)

    assert (page.parts, page.next_cursor, page.not_yet.after) == ((), f"{CURSOR}0{ALL}", timedelta(minutes=1))
    query = client.asked[1][1]["q"]
    assert 'query: "status:open"' in query
    assert 'metafield(namespace: "acme", key: "shipping")' in query


def test_an_operation_of_ours_that_runs_is_not_started_twice(make: Any) -> None:
    source, client = bulk_shop(make), Client(Running=running(), Start=started())
    list(source.fetch(client, FIRST))
    query = client.asked[1][1]["q"]
    again = Client(Running=running({"id": OPERATION, "query": query, "createdAt": "2026-11-02T07:00:00Z"}))
    (page,) = source.fetch(again, FIRST)

    assert page.next_cursor == f"{CURSOR}0{ALL}"
    assert [name for name, _ in again.asked] == ["Running"]


@pytest.mark.parametrize("code", ["LIMIT_REACHED", "OPERATION_IN_PROGRESS"])
def test_where_the_shop_runs_as_many_as_it_may_it_is_asked_later(make: Any, code: str) -> None:
    client = Client(Running=running(), Start=started({"code": code, "message": "..."}))
    (page,) = bulk_shop(make).fetch(client, FIRST)

    assert (page.next_cursor, page.not_yet.after) == (None, timedelta(minutes=5))


def test_a_query_that_the_shop_refuses_is_refused(make: Any) -> None:
    client = Client(Running=running(), Start=started({"code": "INVALID", "message": "Invalid bulk query"}))
    with pytest.raises(Refused, match="Invalid bulk query"):
        list(bulk_shop(make).fetch(client, FIRST))


@pytest.mark.parametrize("status", ["CREATED", "RUNNING", "CANCELING"])
def test_an_operation_that_is_not_done_is_looked_at_again(make: Any, status: str) -> None:
    (page,) = bulk_shop(make).fetch(Client(Operation=told(status)), Since(f"{CURSOR}0", open_only=True))

    assert (page.parts, page.next_cursor) == ((), f"{CURSOR}0{ALL}")
    assert page.not_yet.why == f"bulk operation {status}, 3 objects"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (told("FAILED", errorCode="ACCESS_DENIED", partialDataUrl="https://x"), CredentialsRejected),
        (told("EXPIRED"), NotFound),
        ({"bulkOperation": None}, NotFound),
        (told("NEW_WORD"), Unavailable),
        (told("COMPLETED", url="https://storage.googleapis.com/x", fileSize=None), Transient),
        ({}, Unavailable),
    ],
)
def test_what_has_no_result_is_told_by_what_it_asks_for(make: Any, answer: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(bulk_shop(make).fetch(Client(Operation=answer), Since(f"{CURSOR}0", open_only=True)))


@pytest.mark.parametrize("answer", [told("FAILED", errorCode="INTERNAL_SERVER_ERROR"), told("CANCELED")])
def test_an_operation_that_failed_in_the_shop_is_started_once_more_and_then_pages_are_read(
    make: Any, answer: Any
) -> None:
    source, client = bulk_shop(make), Client(Operation=answer, Running=running(), Start=started())
    (page,) = source.fetch(client, Since(f"{CURSOR}0", open_only=True))
    assert (page.parts, page.next_cursor) == ((), f"bulk||{BEGAN}|0||0|1")
    assert [name for name, _ in client.asked] == ["Operation"]  # a partial result is not fetched

    (again,) = source.fetch(client, Since(page.next_cursor, open_only=True))
    assert again.next_cursor == f"{CURSOR}0||0|1"
    (given_up,) = source.fetch(client, Since(again.next_cursor, open_only=True))
    assert (given_up.parts, given_up.next_cursor) == ((), "|")
    assert given_up.not_yet.why.endswith("orders are read page by page")

    orders = {"orders": {"pageInfo": {"hasNextPage": False}, "nodes": [node(1)]}}
    (listed,) = source.fetch(client := Client(Orders=orders), Since("|", open_only=True))
    assert (client.asked[0][1]["q"], client.asked[0][1]["after"]) == ("status:open", None)
    assert len(read(source, listed)) == 1


def test_an_operation_that_ran_out_of_time_asks_for_fewer_days_and_then_for_those_before(make: Any) -> None:
    source, late = bulk_shop(make), told("FAILED", errorCode="TIMEOUT", partialDataUrl="https://x")
    client = Client(Operation=late, Running=running(), Start=started())
    cursor, spans = f"{CURSOR}0", []
    while True:
        (page,) = source.fetch(client, Since(cursor, open_only=True))
        if page.next_cursor == "|":
            break
        cursor = page.next_cursor
        if client.asked[-1][0] == "Start":
            spans.append(client.asked[-1][1]["q"].split('"')[1])
    assert spans == [
        f"status:open created_at:>='{day}'"
        for day in ("2026-10-02", "2026-10-18", "2026-10-26", "2026-10-30", "2026-11-01", "2026-11-02")
    ]

    client.answers["Operation"] = told("COMPLETED")  # with nothing to tell: on to the days before, four times as many
    done_, next_ = source.fetch(client, Since(f"{CURSOR}0||32|0", open_only=True))
    assert (done_.next_cursor, next_.next_cursor) == (f"bulk||{BEGAN}|0|2026-10-02|128|0",) * 2
    (page,) = source.fetch(client, Since(next_.next_cursor, open_only=True))
    assert page.next_cursor == f"{CURSOR}0|2026-10-02|128|0"
    query = client.asked[-1][1]["q"]
    assert "created_at:>='2026-05-27' created_at:<'2026-10-02'" in query
    assert "sortKey: CREATED_AT" in query

    (last,) = source.fetch(client, Since(f"{CURSOR}0|2007-01-01|5000|0", open_only=True))
    assert last.next_cursor == f"{BEGAN}|"  # there was no shop before, and the sweep goes on from the first beginning
    client.answers["Start"] = started({"code": "LIMIT_REACHED", "message": "..."})
    (busy,) = source.fetch(client, Since(f"bulk||{BEGAN}|0|2007-01-01|5000|0", open_only=True))
    assert busy.next_cursor == f"bulk||{BEGAN}|0|2007-01-01|5000|0"
    assert "created_at:>=" not in client.asked[-1][1]["q"]


def test_orders_are_put_together_with_all_that_hangs_on_them_in_whatever_order_it_comes(make: Any) -> None:
    source = bulk_shop(make)
    first, held = routed(1, 1, [(11, 1, 1), (12, 1, 1)], method="LOCAL")[0], routed(1, 1, [(11, 1, 1), (12, 1, 1)])[1:]
    client = done(jsonl(held[0], line(11, 1, 1), row(1), row(2), line(21, 2), first, line(12, 1, 1), row(3), held[1]))
    (page,) = source.fetch(client, Since(f"{CURSOR}0", open_only=True))

    nodes = json.loads(page.parts[0])["data"]["orders"]["nodes"]
    lines = [[one["id"].rsplit("/", 1)[1] for one in node["lineItems"]["nodes"]] for node in nodes]
    assert (lines, page.next_cursor) == ([["11", "12"], ["21"], []], f"{BEGAN}|")
    orders = read(source, page)
    assert [one.ref for one in orders] == [f"{GID}1", f"{GID}2", f"{GID}3"]
    assert [orders[0].method, *(item.shippable for item in orders[0].items)] == ["LOCAL", False, False]
    assert client.asked[1] == ("https://storage.googleapis.com/x?Signature=s", len(client.result))


def test_an_order_of_a_result_says_what_the_same_order_of_a_page_says(make: Any) -> None:
    """All but what takes events: who set the status, and what a fulfilment under way shows."""
    delivered = part(
        1, "1Z999AA10123456784", displayStatus="DELIVERED", deliveredAt="2026-11-02T09:00:00Z", totalQuantity=3
    )
    events = {"nodes": [{"id": "e", "status": "DELIVERED", "happenedAt": "2026-11-02T09:00:00Z"}]}
    held = {"nodes": [{"quantity": n, "lineItem": {"id": f"{LINE}{ref}"}} for ref, n in ((11, 2), (12, 1))]}
    lines, routes = [a_line(11, 2), a_line(12, 1)], [(11, 2, 0), (12, 1, 0)]
    paged = node(
        1, test=True, tags=["vip"], fulfillments=[{**delivered, "events": events, "fulfillmentLineItems": held}],
        lineItems={"nodes": lines}, fulfillmentOrders={"nodes": [route(7, routes, "CLOSED")]},
    )  # fmt: skip
    for one in ("events", "fulfillmentLineItems"):  # connections below a plain list are refused
        del delivered[one]
    source = bulk_shop(make)
    result = jsonl(row(1, test=True, tags=["vip"], fulfillments=[delivered]),
                   *({**one, "__parentId": f"{GID}1"} for one in lines), *routed(7, 1, routes, status="CLOSED"))  # fmt: skip
    (page,) = source.fetch(done(result), Since(f"{CURSOR}0", open_only=True))
    body = json.dumps({"data": {"orders": {"nodes": [paged], "pageInfo": {}}}}).encode()
    (by_page,) = source.normalize(Payload("a", "sweep", (body,), datetime(2026, 11, 3, tzinfo=UTC)))

    assert read(source, page) == [by_page]


def test_the_ordinary_sweep_goes_on_from_the_moment_at_which_the_operation_began(make: Any) -> None:
    client = Client(Orders={"orders": {"pageInfo": {"hasNextPage": False}, "nodes": []}})
    list(bulk_shop(make).fetch(client, Since(f"{BEGAN}|")))

    assert client.asked[0][1]["q"] == "updated_at:>='2026-11-02T06:50:00Z'"


def test_a_killed_process_goes_on_with_the_order_behind_its_last_page(make: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bulk, "PAGE", 2)
    source, result = bulk_shop(make), jsonl(row(1), line(11, 1), row(2), row(3), line(31, 3), row(4), row(5))
    whole = list(source.fetch(done(result), Since(f"{CURSOR}0", open_only=True)))
    for at, page in enumerate(whole[:-1]):  # killed behind each page; whatever the settings say then
        rest = list(shop(make)[0].fetch(done(result), Since(page.next_cursor, open_only=True)))
        assert rest == whole[at + 1 :]
    refs = [one.ref.rsplit("/", 1)[1] for page in whole for one in read(source, page)]
    assert (refs, whole[-1].next_cursor) == (["1", "2", "3", "4", "5"], f"{BEGAN}|")


def test_an_odd_line_costs_itself_only_and_is_told(make: Any) -> None:
    source = bulk_shop(make)
    client = done(
        jsonl(node(1), b'{"id": "gid:', [], {"noid": 1}, line(91, 9), b"", node(2, displayFinancialStatus=[]))
    )
    (page,) = source.fetch(client, Since(f"{CURSOR}0", open_only=True))
    found = read(source, page)

    assert [one.ref for one in found if isinstance(one, Order)] == [f"{GID}1"]
    unread = [one for one in found if isinstance(one, Unread)]
    assert [one.where for one in unread] == [
        *(f"$.data.orders.nodes[{at}]" for at in (1, 2, 3, 4)), "$.data.orders.nodes[5].displayFinancialStatus",
    ]  # fmt: skip


@pytest.mark.parametrize("body", [b"<html><body>Sign in</body></html>", b"[]\n[]\n"])
def test_a_result_without_any_object_is_none(make: Any, body: bytes) -> None:
    with pytest.raises(Transient, match="no object"):
        list(bulk_shop(make).fetch(done(body), Since(f"{CURSOR}0", open_only=True)))


def test_a_shop_without_open_orders_is_done_at_once(make: Any) -> None:
    source = bulk_shop(make)
    (page,) = source.fetch(Client(Operation=told("COMPLETED")), Since(f"{CURSOR}0", open_only=True))

    assert (read(source, page), page.next_cursor) == ([], f"{BEGAN}|")


def test_what_is_under_way_is_read_by_its_id_and_what_is_certain_is_not(make: Any) -> None:
    at = {"displayStatus": "DELIVERED", "deliveredAt": "2026-11-02T09:00:00Z", "totalQuantity": 1}
    parts = {
        1: [part(1, "1Z999AA10123456784", displayStatus="IN_TRANSIT", deliveredAt=None)],
        2: [part(2, "1Z999AA10123456784", **at)],
        3: [part(3, status="CANCELLED", displayStatus="CANCELED", deliveredAt=None)],
        4: [part(4, displayStatus="DELIVERED", deliveredAt=None)],
        5: [part(5, "1Z999AA10123456784", **{**at, "totalQuantity": 2})],  # what it holds is not certain
        6: [part(6, **at), part(7, **at)],  # nor which of them holds what
    }
    for some in parts.values():
        for one in some:
            del one["events"], one["fulfillmentLineItems"]  # a connection below a plain list is refused
    source = bulk_shop(make)
    rows_ = [
        one
        for number, some in parts.items()
        for one in (
            row(number, fulfillments=some),
            line(number * 10, number),
            *routed(number, number, [(number * 10, 1, 0)]),
        )
    ]
    (page,) = source.fetch(done(jsonl(*rows_)), Since(f"{CURSOR}0", open_only=True))
    found = read(source, page)

    assert [one.ref for one in found if isinstance(one, ChangeNotice)] == [f"{GID}{n}" for n in (1, 4, 5, 6)]
    delivered, cancelled = (one for one in found if isinstance(one, Order))
    (only,) = delivered.fulfilments
    assert (only.published.status, only.quantities) == (ShippingStatus.DELIVERED, ((f"{LINE}20", 1),))
    assert (cancelled.fulfilments[0].published, cancelled.fulfilments[0].live) == (None, False)


def test_what_holds_odd_fulfilment_orders_is_read_by_its_id(make: Any) -> None:
    only = part(1, displayStatus="DELIVERED", deliveredAt="2026-11-02T09:00:00Z", totalQuantity=1)
    del only["events"], only["fulfillmentLineItems"]
    for broken in ({"status": None}, {"fulfillmentHolds": [7]}):
        odd = {**routed(1, 1, [(10, 1, 0)])[0], **broken}
        (page,) = bulk_shop(make).fetch(
            done(jsonl(row(1, fulfillments=[only]), odd)), Since(f"{CURSOR}0", open_only=True)
        )
        assert read(bulk_shop(make), page) == [ChangeNotice(f"{GID}1")]


@pytest.mark.parametrize("ref", ["gid://shopify/BulkOperation/7|x", "", None])
def test_an_operation_without_a_readable_id_is_not_waited_for(make: Any, ref: Any) -> None:
    answer = {
        "bulkOperationRunQuery": {"bulkOperation": {"id": ref, "createdAt": "2026-11-02T07:00:00Z"}, "userErrors": []}
    }
    with pytest.raises(BadPayload):
        list(bulk_shop(make).fetch(Client(Running=running(), Start=answer), FIRST))


def test_pages_are_what_a_first_sync_reads_unless_the_store_says_otherwise(make: Any) -> None:
    client = Client(Orders={"orders": {"pageInfo": {"hasNextPage": False}, "nodes": []}})
    list(shop(make)[0].fetch(client, FIRST))

    assert [name for name, _ in client.asked] == ["Orders"]


def test_results_come_from_the_host_of_shopify_only(make: Any) -> None:
    assert shop(make)[0].stream_hosts == ("storage.googleapis.com",)


def test_an_answer_without_its_data_starts_nothing(make: Any) -> None:
    client = Client(Running=None)
    with pytest.raises(Unavailable, match="without bulkOperations"):
        list(bulk_shop(make).fetch(client, FIRST))
    assert [name for name, _ in client.asked] == ["Running"]


def test_a_fulfilment_that_is_none_does_not_cost_the_one_beside_it(make: Any) -> None:
    cancelled = part(3, status="CANCELLED", displayStatus="CANCELED", deliveredAt=None)
    del cancelled["events"]
    client = done(jsonl(row(1, fulfillments=[7, cancelled])))
    (page,) = bulk_shop(make).fetch(client, Since(f"{CURSOR}0", open_only=True))

    (order,) = [one for one in read(bulk_shop(make), page) if isinstance(one, Order)]
    assert [one.live for one in order.fulfilments] == [False]
