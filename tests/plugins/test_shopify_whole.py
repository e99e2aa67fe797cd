"""Lists of a Shopify order that are longer than a page holds: asked on until they are whole; what cannot be had is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.plugins.shopify import GID, LINE, answering, by_id, line, node, odd, page, part, route, rows, shop
from tracker.domain.errors import RateLimited
from tracker.domain.facts import ChangeNotice, Order, Payload, Refs, Since, Unread
from tracker.plugin.conformance import AT


class Large:
    """A shop of one order, of which the lists are cut as the queries ask; `lost` is what answers nothing."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = {"lines": 1, "parts": 0, "numbers": 1, "held": 1, "routes": 1, "routed": 1, **sizes}
        self.asked: list[str] = []
        self.lost: dict[str, Any] = {}

    def cut(self, some: list[Any], first: int, after: str | None = None) -> dict:
        begins = int(after or 0)
        ends = begins + first
        return rows(*some[begins:ends], after=str(ends) if ends < len(some) else None)

    def part(self, number: int, numbers: int, held: int, after: str | None = None) -> dict:
        lines = [{"quantity": 1, "lineItem": {"id": f"{LINE}{n}"}} for n in range(self.sizes["held"])]
        told = [f"P{number}N{n}" for n in range(self.sizes["numbers"])][:numbers]
        return part(number, *told, fulfillmentLineItems=self.cut(lines, held, after))

    def route(self, number: int, lines: int, after: str | None = None) -> dict:
        routed = [
            {"totalQuantity": 1, "remainingQuantity": 0, "lineItem": {"id": f"{LINE}{n}"}}
            for n in range(self.sizes["routed"])
        ]
        return {**route(number, []), "lineItems": self.cut(routed, lines, after)}

    def answer(self, operation: str, v: dict) -> dict:
        if operation in ("Orders", "Read"):
            parts = [self.part(n, 3, 5) for n in range(self.sizes["parts"])]
            one = node(
                1, fulfillments=parts[:2], fulfillmentsCount={"count": len(parts)}, lineItems=self.cut(self.lines, 10),
                fulfillmentOrders=self.cut([self.route(n, 5) for n in range(self.sizes["routes"])], 3),
            )  # fmt: skip
            return page([one, node(2)]) if operation == "Orders" else by_id(one, node(2))
        self.asked.append(operation)
        if operation in self.lost:
            return self.lost[operation]
        return {"data": getattr(self, f"on_{operation.lower()}")(v)}

    @property
    def lines(self) -> list[dict]:
        return [line(n) for n in range(self.sizes["lines"])]

    def on_lines(self, v: dict) -> dict:
        return {"order": {"id": v["id"], "lineItems": self.cut(self.lines, 250, v["after"])}}

    def on_routes(self, v: dict) -> dict:
        return {
            "order": {
                "id": v["id"],
                "fulfillmentOrders": self.cut([self.route(n, 50) for n in range(self.sizes["routes"])], 4, v["after"]),
            }
        }

    def on_routelines(self, v: dict) -> dict:
        whole = self.route(int(v["id"].rsplit("/", 1)[1]), 250, v["after"])
        return {"fulfillmentOrder": {"id": v["id"], "lineItems": whole["lineItems"]}}

    def on_partids(self, v: dict) -> dict:
        return {
            "order": {
                "id": v["id"],
                "fulfillments": [{"id": self.part(n, 0, 0)["id"]} for n in range(self.sizes["parts"])][:250],
            }
        }

    def on_parts(self, v: dict) -> dict:
        return {"parts": [self.part(int(ref.rsplit("/", 1)[1]), 10, 10) for ref in v["ids"]]}

    def on_part(self, v: dict) -> dict:
        return {"fulfillment": self.part(int(v["id"].rsplit("/", 1)[1]), 250, 100, v["after"])}


def read(make: Any, outside: Any, large: Large, kind: str = "sweep") -> tuple[Order, list[Any]]:
    answering(outside, large.answer)
    source, client = shop(make)
    (found,) = source.fetch(client, Since(None) if kind == "sweep" else Refs((f"{GID}1", f"{GID}2")))
    items = list(source.normalize(Payload("s", kind, found.parts, AT)))
    one, other = (item for item in items if isinstance(item, Order))
    assert (other.number, other.partial) == ("#2", False)
    return one, [item for item in items if not isinstance(item, Order)]


@pytest.mark.parametrize("kind", ["read", "sweep"])
@pytest.mark.parametrize(
    ("sizes", "asked"),
    [
        ({"lines": 10, "parts": 2, "numbers": 2, "held": 5, "routes": 3, "routed": 5}, []),
        ({"lines": 11}, ["Lines"]), ({"lines": 511}, ["Lines"] * 3), ({"routes": 4}, ["Routes"]), ({"routes": 12}, ["Routes"] * 3),
        ({"routed": 6}, ["RouteLines"]), ({"routes": 5, "routed": 51}, ["Routes"] + ["RouteLines"] * 5),
        ({"parts": 3}, ["PartIds", "Parts"]), ({"parts": 60}, ["PartIds", *["Parts"] * 5]), ({"parts": 250}, ["PartIds", *["Parts"] * 21]),
        ({"parts": 1, "numbers": 3}, ["Part"]), ({"parts": 2, "numbers": 12}, ["Part"] * 2), ({"parts": 3, "numbers": 9, "held": 11}, ["PartIds", "Parts"] + ["Part"] * 3),
        ({"parts": 1, "held": 300}, ["Part"] * 3),
    ],
    ids=str,
)  # fmt: skip
def test_a_list_that_is_longer_is_asked_on_until_it_is_whole(
    make, outside, kind: str, sizes: dict, asked: list[str]
) -> None:
    large = Large(**sizes)
    one, rest = read(make, outside, large, kind)

    assert (large.asked, rest, one.partial) == (asked, [], False)
    assert len(one.items) == large.sizes["lines"]
    assert len(one.fulfilments) == large.sizes["parts"]
    for fulfilment in one.fulfilments:
        assert len(fulfilment.parcels) == large.sizes["numbers"]
        assert [count for _, count in fulfilment.quantities] == [1] * large.sizes["held"]
        assert len(set(fulfilment.quantities)) == large.sizes["held"]


@pytest.mark.parametrize(
    ("sizes", "where", "problem"),
    [
        ({"parts": 260}, ".fulfillments", "incomplete: 250 fulfilments came, and the shop holds more"),
        ({"parts": 1, "numbers": 250}, ".fulfillments[0].trackingInfo", "incomplete: 250 numbers came, and the shop holds more"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_more_than_the_shop_tells_is_told_as_such(make, outside, sizes: dict, where: str, problem: str) -> None:
    one, (unread,) = read(make, outside, Large(**sizes), "read")

    assert one.partial
    assert (unread.where, unread.problem, unread.subject, unread.lacks) == (
        f"$.data.nodes[0]{where}",
        problem,
        f"{GID}1",
        "rest",
    )


@pytest.mark.parametrize(
    "failure",
    [odd("MAX_COST_EXCEEDED"), odd(), {"data": None}, {"data": {"order": None}}, {"data": {"order": {"id": 7}}}, {}],
)
@pytest.mark.parametrize(
    ("operation", "sizes", "where"),
    [
        ("Lines", {"lines": 11}, ".lineItems"), ("Routes", {"routes": 4}, ".fulfillmentOrders"), ("PartIds", {"parts": 3}, ".fulfillments"),
        ("RouteLines", {"routed": 6}, ".fulfillmentOrders.nodes[0].lineItems"), ("Part", {"parts": 1, "held": 6}, ".fulfillments[0].fulfillmentLineItems"),
        ("Part", {"parts": 1, "numbers": 3}, ".fulfillments[0].trackingInfo"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_whole_is_told_and_in_a_sweep_asked_again_alone(
    make, outside, failure: dict, operation: str, sizes: dict, where: str
) -> None:
    large = Large(**sizes)
    large.lost[operation] = failure
    one, rest = read(make, outside, large)

    assert (one.partial, large.asked) == (True, [operation])  # once: what answers nothing is not asked again and again
    assert [item for item in rest if isinstance(item, ChangeNotice)] == [ChangeNotice(f"{GID}1")]
    (unread,) = (item for item in rest if isinstance(item, Unread))
    assert (unread.where, unread.subject, unread.lacks) == (f"$.data.orders.nodes[0]{where}", f"{GID}1", "rest")


def test_fulfilments_that_were_named_and_not_told_are_missing_lines(make, outside) -> None:
    large = Large(parts=4)
    large.lost["Parts"] = {"data": {"parts": [None, {}, 7]}}
    one, rest = read(make, outside, large, "read")

    assert (len(one.fulfilments), one.partial, large.asked) == (2, True, ["PartIds", "Parts"])
    assert {(item.lacks, item.subject) for item in rest} == {("line", f"{GID}1")}


def test_a_throttle_while_a_list_is_asked_on_keeps_the_page_from_being_stored(make, outside) -> None:
    large = Large(lines=11)
    large.lost["Lines"] = odd("THROTTLED")
    answering(outside, large.answer)
    source, client = shop(make)
    with pytest.raises(RateLimited):
        list(source.fetch(client, Since(None)))


def test_a_connection_that_repeats_its_cursor_ends(make, outside) -> None:
    large = Large(lines=11)
    large.lost["Lines"] = {"data": {"order": {"id": f"{GID}1", "lineItems": rows(line(1), after="10")}}}
    one, rest = read(make, outside, large)

    assert (one.partial, large.asked) == (True, ["Lines"])
    assert [item.where for item in rest] == ["$.data.orders.nodes[0].lineItems"]  # asked on already: nobody asks again


@pytest.mark.parametrize(
    "more", [None, {"order": {"id": f"{GID}1", "lineItems": {"nodes": None, "pageInfo": None}}}], ids=str
)
def test_an_odd_answer_to_what_was_asked_on_adds_nothing(make, more) -> None:
    first = by_id(node(1, lineItems=rows(line(1), after="10"), fulfillmentOrders=rows()))
    parts = tuple(json.dumps(body).encode() for body in (first, {"data": more}))
    one, unread = shop(make)[0].normalize(Payload("s", "read", parts, AT))

    assert (len(one.items), one.partial, unread.where) == (1, True, "$.data.nodes[0].lineItems")


def test_what_was_stored_before_lists_were_counted_is_read_as_it_was(make) -> None:
    """Answers of before 0.1.0: twenty fulfilments and numbers at once, the whole list in a part of its own, no lines."""

    def bare(count: int) -> list[dict]:
        return [{k: v for k, v in part(n, f"X{n}").items() if k != "fulfillmentLineItems"} for n in range(count)]

    old = {
        k: node(1)[k]
        for k in (
            "id",
            "name",
            "createdAt",
            "updatedAt",
            "cancelledAt",
            "displayFulfillmentStatus",
            "displayFinancialStatus",
            "tags",
        )
    }
    source, _ = shop(make)

    def told(parts: list[dict], *more: list[dict]) -> list[Any]:
        bodies = [
            by_id({**old, "fulfillments": parts}),
            *({"data": {"order": {"id": old["id"], "fulfillments": some}}} for some in more),
        ]
        return list(source.normalize(Payload("s", "read", tuple(json.dumps(body).encode() for body in bodies), AT)))

    (one,) = told(bare(19))
    assert (len(one.fulfilments), one.items, one.partial, one.method) == (19, (), False, "")
    one, unread = told(bare(20))
    assert (one.partial, unread.where) == (True, "$.data.nodes[0].fulfillments")
    (one,) = told(bare(20), bare(100), bare(130))
    assert (len(one.fulfilments), one.partial) == (130, False)
