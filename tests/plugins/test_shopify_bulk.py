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
from tests.plugins.shopify import GID, T0, node, part, shop
from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Transient, Unavailable
from tracker.domain.facts import ChangeNotice, Order, Page, Payload, Since, Unread
from tracker.domain.vocabulary import ShippingStatus
from tracker.plugin.calls import Response

OPERATION = "gid://shopify/BulkOperation/7"
BEGAN = "2026-11-02T07:00:00+00:00"
CURSOR = f"bulk|{OPERATION}|{BEGAN}|"
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


def line(number: int, order: int) -> dict[str, Any]:
    return {"id": f"gid://shopify/LineItem/{number}", "quantity": 1, "__parentId": f"{GID}{order}"}


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

    assert (page.parts, page.next_cursor, page.not_yet.after) == ((), f"{CURSOR}0", timedelta(minutes=1))
    query = client.asked[1][1]["q"]
    assert 'query: "status:open"' in query
    assert 'metafield(namespace: "acme", key: "shipping")' in query


def test_an_operation_of_ours_that_runs_is_not_started_twice(make: Any) -> None:
    source, client = bulk_shop(make), Client(Running=running(), Start=started())
    list(source.fetch(client, FIRST))
    query = client.asked[1][1]["q"]
    again = Client(Running=running({"id": OPERATION, "query": query, "createdAt": "2026-11-02T07:00:00Z"}))
    (page,) = source.fetch(again, FIRST)

    assert page.next_cursor == f"{CURSOR}0"
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

    assert (page.parts, page.next_cursor) == ((), f"{CURSOR}0")
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


@pytest.mark.parametrize(
    "answer",
    [told("FAILED", errorCode="TIMEOUT", partialDataUrl="https://x"), told("FAILED", errorCode="INTERNAL_SERVER_ERROR"), told("CANCELED")],
)  # fmt: skip
def test_of_an_operation_that_failed_nothing_is_taken_and_orders_are_read_page_by_page(make: Any, answer: Any) -> None:
    source, client = bulk_shop(make), Client(Operation=answer)
    (page,) = source.fetch(client, Since(f"{CURSOR}0", open_only=True))
    assert (page.parts, page.next_cursor) == ((), "|")
    assert page.not_yet.why.endswith("orders are read page by page")
    assert [name for name, _ in client.asked] == ["Operation"]  # a partial result is not fetched

    orders = {"orders": {"pageInfo": {"hasNextPage": False}, "nodes": [node(1)]}}
    (listed,) = source.fetch(client := Client(Orders=orders), Since("|", open_only=True))
    assert (client.asked[0][1]["q"], client.asked[0][1]["after"]) == ("status:open", None)
    assert len(read(source, listed)) == 1


def test_orders_are_put_together_with_their_lines_in_whatever_order_they_come(make: Any) -> None:
    source = bulk_shop(make)
    client = done(jsonl(line(11, 1), node(1), node(2), line(21, 2), line(12, 1), node(3)))
    (page,) = source.fetch(client, Since(f"{CURSOR}0", open_only=True))

    nodes = json.loads(page.parts[0])["data"]["orders"]["nodes"]
    lines = [[one["id"].rsplit("/", 1)[1] for one in node["lineItems"]["nodes"]] for node in nodes]
    assert (lines, page.next_cursor) == ([["11", "12"], ["21"], []], f"{BEGAN}|")
    assert [one.ref for one in read(source, page)] == [f"{GID}1", f"{GID}2", f"{GID}3"]
    assert client.asked[1] == ("https://storage.googleapis.com/x?Signature=s", len(client.result))


def test_the_ordinary_sweep_goes_on_from_the_moment_at_which_the_operation_began(make: Any) -> None:
    client = Client(Orders={"orders": {"pageInfo": {"hasNextPage": False}, "nodes": []}})
    list(bulk_shop(make).fetch(client, Since(f"{BEGAN}|")))

    assert client.asked[0][1]["q"] == "updated_at:>='2026-11-02T06:50:00Z'"


def test_a_killed_process_goes_on_with_the_order_behind_its_last_page(make: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bulk, "PAGE", 2)
    source, result = bulk_shop(make), jsonl(node(1), line(11, 1), node(2), node(3), line(31, 3), node(4), node(5))
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
    parts = {
        1: part(1, "1Z999AA10123456784", displayStatus="IN_TRANSIT", deliveredAt=None),
        2: part(2, "1Z999AA10123456784", displayStatus="DELIVERED", deliveredAt="2026-11-02T09:00:00Z"),
        3: part(3, status="CANCELLED", displayStatus="CANCELED", deliveredAt=None),
        4: part(4, displayStatus="DELIVERED", deliveredAt=None),
    }
    for one in parts.values():
        del one["events"]  # a connection below a plain list is refused
    source = bulk_shop(make)
    client = done(jsonl(*(node(number, fulfillments=[one]) for number, one in parts.items())))
    (page,) = source.fetch(client, Since(f"{CURSOR}0", open_only=True))
    noticed, delivered, cancelled, odd = read(source, page)

    assert (noticed, odd) == (ChangeNotice(f"{GID}1"), ChangeNotice(f"{GID}4"))
    assert delivered.fulfilments[0].published.status is ShippingStatus.DELIVERED
    assert (cancelled.fulfilments[0].published, cancelled.fulfilments[0].live) == (None, False)


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
    client = done(jsonl(node(1, fulfillments=[7, cancelled])))
    (page,) = bulk_shop(make).fetch(client, Since(f"{CURSOR}0", open_only=True))

    (order,) = [one for one in read(bulk_shop(make), page) if isinstance(one, Order)]
    assert [one.live for one in order.fulfilments] == [False]
