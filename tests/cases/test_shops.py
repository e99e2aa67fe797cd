"""The inputs of selling platforms, each with its right value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cases.script import KART, Script, finding, order, state, writing
from tests.lab import H, Lab
from tracker.domain.errors import Transient, Unavailable
from tracker.domain.facts import ChangeNotice, Fulfilment, Order, Page, Payload, Since, Unread
from tracker.plugin.calls import Request, Response
from tracker.plugin.conformance import AT, example_settings, plugin_of
from tracker.store import tables as t

HERE = Path(__file__).parent
NUMBERS = yaml.safe_load((HERE / "numbers.yaml").read_text(encoding="utf-8"))


def source(module: str, **settings: Any) -> Any:
    plugin = plugin_of(module)
    return plugin("shop", example_settings(plugin, **settings))


def read(module: str, *parts: bytes, kind: str = "read", headers: dict[str, str] | None = None) -> list[Any]:
    found: Iterable[Any] = source(module).normalize(Payload("shop", kind, parts, AT, headers or {}))
    return list(found)


def orders(module: str, *parts: bytes) -> list[Order]:
    return [item for item in read(module, *parts) if isinstance(item, Order)]


def case(name: str) -> bytes:
    return (HERE / name).read_bytes()


class Paper:
    """A shop that answers as its paper says, by method and path; its clock stands on 2026-11-02."""

    def __init__(self, plugin: Any, says: dict[str, dict[str, Any]]) -> None:
        self.plugin, self.says = plugin, says

    vault: Any = None

    def now(self) -> datetime:
        return datetime(2026, 11, 2, 12, 0, tzinfo=UTC)

    def send(self, request: Request) -> Response:
        said = self.says[f"{request.method} /{request.url.rpartition('/')[2]}"]
        answer = Response(said["status"], {}, json.dumps(said["body"]).encode(), self.now())
        self.plugin.raise_for_status(answer)
        return answer


def sweep(says: dict[str, dict[str, Any]], pages: int = 9) -> list[Page]:
    """Sweep a shop of the order API: so many pages at most."""
    rest = source("adapters.rest", base_url="https://shop.example")
    found: list[Page] = []
    for page in rest.fetch(Paper(rest, says), Since(None)):
        found.append(page)
        if len(found) == pages:
            break
    return found


def one_page(name: str) -> dict[str, dict[str, Any]]:
    empty = {"status": 200, "body": {"checkouts": [], "next": None}}
    return {"GET /orders": {"status": 200, "body": json.loads(case(name))}, "GET /checkouts": empty}


def tracks(fulfilment: Fulfilment) -> list[str]:
    return [f"{parcel.carrier} {parcel.number}" for parcel in fulfilment.parcels]


# numbers as people type them


def by_rest(typed: Any, company: str) -> Fulfilment:
    row = {
        "ref": "R1", "number": "#1", "status": "Shipped", "placed_at": "2026-11-02T08:00:00Z", "updated_at": "2026-11-02T08:00:00Z",
        "fulfilments": [{"ref": "F1", "tracking": [{"carrier": company, "number": typed}]}],
    }  # fmt: skip
    (one,) = orders("adapters.rest", json.dumps({"order": row}).encode())
    return one.fulfilments[0]


def by_shopify(typed: Any, company: str) -> Fulfilment:
    node = {
        "id": "gid://shopify/Order/1", "name": "#1", "createdAt": "2026-11-01T10:00:00Z", "updatedAt": "2026-11-02T10:00:00Z",
        "displayFulfillmentStatus": "FULFILLED", "displayFinancialStatus": "PAID",
        "fulfillments": [{"id": "gid://shopify/Fulfillment/9", "status": "SUCCESS", "createdAt": "2026-11-01T12:00:00Z",
                          "trackingInfo": [{"company": company, "number": typed}], "events": {"nodes": []}}],
    }  # fmt: skip
    (one,) = orders("adapters.shopify", json.dumps({"data": {"nodes": [node]}}).encode())
    return one.fulfilments[0]


def by_bigcommerce(typed: Any, company: str) -> Fulfilment:
    date = "Mon, 02 Nov 2026 08:00:00 +0000"
    row = {"id": 250, "status_id": 2, "date_created": date, "date_modified": date}
    carrier = {"DHL Express": "dhl"}.get(company, company.lower())
    shipment = {"id": 9, "date_created": date, "tracking_number": typed, "tracking_carrier": carrier}
    (one,) = orders("adapters.bigcommerce", json.dumps(row).encode(), b"[]", json.dumps([shipment]).encode())
    return one.fulfilments[0]


@pytest.mark.parametrize("by", [by_rest, by_shopify, by_bigcommerce])
@pytest.mark.parametrize("told", NUMBERS, ids=lambda told: repr(told["typed"])[:40])
def test_every_platform_reads_numbers_alike(by: Any, told: dict[str, Any]) -> None:
    found = by(told["typed"], told["company"])

    assert tracks(found) == told["tracks"]
    assert found.unreadable == (() if told["tracks"] else (told["typed"],))
    assert all(parcel.typed in ("", told["typed"]) for parcel in found.parcels)


@pytest.mark.parametrize("by", [by_rest, by_shopify, by_bigcommerce])
@pytest.mark.parametrize(
    ("printed", "tracks_", "unreadable"),
    [
        ("9400111206206406260787", ["usps 9400111206206406260787"], ()),
        ("1.23456789012e11", ["usps 123456789012"], ()),
        ("123456789012.0", ["usps 123456789012"], ()),
        ("[9400111206206406260787, 123456789012]", ["usps 9400111206206406260787", "usps 123456789012"], ()),
        ("1.23457e+11", [], ("1.23457e+11",)),
        ("9" * 70, [], ("9" * 64,)),
        ("1e400", [], ("1e400",)),
    ],
)  # fmt: skip
def test_a_number_keeps_all_of_its_digits(
    by: Any, printed: str, tracks_: list[str], unreadable: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps = json.dumps
    monkeypatch.setattr(json, "dumps", lambda value: dumps(value).replace('"PRINTED"', printed))

    found = by("PRINTED", "USPS")

    assert (tracks(found), found.unreadable) == (tracks_, unreadable)


def test_a_json_number_is_a_number() -> None:
    (one,) = orders("adapters.rest", case("rest-number-as-json-number.read.json"))

    assert tracks(one.fulfilments[0]) == ["fedex 123456789012"]


def test_a_character_that_nobody_sees_hides_no_number() -> None:
    (one,) = orders("adapters.shopify", case("shopify-invisible-character.read.json"))

    assert tracks(one.fulfilments[0]) == ["ups 1ZR589390357567121"]
    assert one.fulfilments[0].parcels[0].typed == "1ZR589390357567121\u200b"


# an odd order, an odd piece of one


def test_an_odd_order_of_a_page_is_told_with_its_path_and_the_good_ones_are_whole() -> None:
    *found, unread = read("adapters.rest", case("rest-page-one-odd-order.sweep.json"), kind="sweep")

    assert [(one.ref, one.partial) for one in found] == [("R1", False), ("R2", True), ("R3", False)]
    assert (unread.where, unread.subject) == ("$.orders[1].items[0].ref", "R2")


def test_an_odd_order_of_a_page_is_a_finding_and_is_asked_again_alone(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(rest=KART)
    shop = Script(lab)
    shop.says["GET /orders"] = (200, json.loads(case("rest-page-one-odd-order.sweep.json")))
    shop.says["GET /orders/R2"] = (200, {"order": order("R2", items=[{"ref": None, "ordered": 1}])})
    lab.work()

    assert {"R1", "R3"} <= {row.ref for row in lab.rows(t.orders)}
    assert finding(lab, "order_unreadable").evidence["path"] == "$.orders[1].items[0].ref"
    assert {path for path in shop.calls if path.startswith("GET /orders/")} == {"GET /orders/R2"}

    shop.says["GET /orders"] = (200, {"orders": [], "next": None})
    shop.says["GET /orders/R2"] = (200, {"order": order("R2", items=[{"ref": "a", "ordered": 1}])})
    lab.change(t.change_notices.update().values(due_at=lab.clock()))
    lab.later(1)
    assert "order_unreadable" not in lab.open_findings()
    assert {row.ref for row in lab.rows(t.orders)} == {"R1", "R2", "R3"}


@pytest.mark.parametrize("kind", ["sweep", "read"])
def test_an_odd_order_takes_nothing_from_the_others_on_shopify_either(kind: str) -> None:
    whole = json.loads(case("shopify-invisible-character.read.json"))["data"]["nodes"][0]
    nodes = [{**whole, "id": f"gid://shopify/Order/{i}"} for i in (1, 2, 3)]
    nodes[1]["updatedAt"] = None
    data = {"nodes": nodes} if kind == "read" else {"orders": {"pageInfo": {"hasNextPage": False}, "nodes": nodes}}
    *found, unread = read("adapters.shopify", json.dumps({"data": data}).encode(), kind=kind)

    assert [one.ref[-1] for one in found] == ["1", "3"]
    assert (unread.where[-9:], unread.subject[-1]) == ("updatedAt", "2")


def test_quantities_that_are_no_list_cost_themselves_only() -> None:
    parts = [json.dumps(part).encode() for part in json.loads(case("bigcommerce-shipment-items-no-list.parts.json"))]
    one, _, unread = read("adapters.bigcommerce", *parts)

    assert (one.partial, tracks(one.fulfilments[0])) == (True, ["None X1"])
    assert unread == Unread("$[2][0].items", "must be a list, is a int", "250", "line")


def test_a_partly_read_order_keeps_the_parcels_that_it_named_before(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.order("#1001", "9400111206206406260787")
    lab.work()
    before = [row.shipment_id for row in lab.rows(t.fulfilment_shipments)]
    lab.shop.orders["#1001"]["fulfillments"][0]["trackingInfo"] = [7]
    lab.shop.touch("#1001", "orders/updated")
    lab.work()

    assert lab.one(t.orders).facts["partial"] is True
    assert [row.shipment_id for row in lab.rows(t.fulfilment_shipments)] == before
    assert "tracking_changed" not in lab.open_findings()


def test_a_write_to_an_order_that_cannot_be_read_waits(make_lab: Callable[..., Lab]) -> None:
    """It is there: neither gone nor refused for good, and the shop is not blamed."""
    lab = make_lab(rest=KART)
    shop = Script(lab)
    writing(lab, shop)
    before = lab.open_findings()
    whole = shop.says["GET /orders/R1"]
    shop.says["GET /orders/R1"] = (200, {"order": {**whole[1]["order"], "payment": 7}})  # type: ignore[index]
    lab.work("push", "ingest")

    assert [row.state for row in lab.rows(t.outbox)] == ["pending"]
    assert lab.open_findings() - before == {"order_unreadable"}
    shop.says["GET /orders/R1"] = whole
    lab.change(t.outbox.update().values(due_at=lab.clock()))
    lab.change(t.change_notices.update().values(due_at=lab.clock()))
    lab.later(1)
    assert [row.state for row in lab.rows(t.outbox)] == ["sent"]
    assert "order_unreadable" not in lab.open_findings()


def test_an_archived_order_is_gone_on_bigcommerce() -> None:
    (one,) = orders("adapters.bigcommerce", case("bigcommerce-archived-order.read.json"))

    assert (one.gone, one.raw_status) == ("deleted", "Awaiting Fulfillment")


# sweeps


def test_an_answer_without_its_list_moves_no_cursor_though_another_list_is_newer(make_lab: Callable[..., Lab]) -> None:
    answers = json.loads(case("rest-error-with-200.answers.json"))
    with pytest.raises(Unavailable, match="database is being upgraded"):
        sweep(answers)

    lab = make_lab(rest=KART)
    shop = Script(lab)
    lab.work()
    before = state(lab).cursor
    shop.says |= {path: (said["status"], said["body"]) for path, said in answers.items()}
    lab.later(1)
    assert state(lab).cursor == before
    shop.says["GET /orders"] = lambda params: (
        (200, {"orders": [order("R1")], "next": None}) if params.get("updated_since", "") < "2026-11-02T08:00" else (200, {"orders": [], "next": None})
    )  # fmt: skip
    lab.later(2)
    assert [row.ref for row in lab.rows(t.orders)] == ["R1"]
    assert json.loads(state(lab).cursor)["checkouts"] > json.loads(state(lab).cursor)["orders"]


def test_a_cursor_never_passes_our_own_clock() -> None:
    *_, last = sweep(one_page("rest-updated-in-the-future.sweep.json"))

    assert json.loads(last.next_cursor or "")["orders"] == "2026-11-02T12:00:00+00:00"


def test_a_next_that_never_changes_is_a_cursor_that_repeats() -> None:
    first, second, third = sweep(one_page("rest-next-never-changes.sweep.json"), pages=3)

    assert first.next_cursor == second.next_cursor == third.next_cursor


def test_a_ship_date_is_told_as_it_is_and_one_that_no_clock_can_say_is_none() -> None:
    (one,) = orders("adapters.rest", case("rest-shipped-1970.read.json"))
    odd = case("rest-shipped-1970.read.json").replace(b"1970-01-01T00:00:00Z", b"0001-01-01T00:00:00+14:00")
    other, unread = read("adapters.rest", odd)

    assert one.fulfilments[0].shipped_at == datetime(1970, 1, 1, tzinfo=UTC)  # the core knows no shop so old
    assert (other.fulfilments[0].shipped_at, other.partial, unread.lacks) == (None, False, "")


# answers that are none


def judged(module: str, name: str) -> None:
    said = json.loads(case(name))
    source(module).raise_for_status(Response(said["status"], {}, json.dumps(said["body"]).encode(), AT))


def test_a_frozen_shop_is_away_and_a_person_can_read_why() -> None:
    with pytest.raises(Unavailable, match="HTTP 402: Unavailable Shop"):
        judged("adapters.shopify", "shopify-frozen-shop.answer.json")


def test_an_error_without_a_code_may_pass() -> None:
    with pytest.raises(Transient, match="Internal error"):
        judged("adapters.shopify", "shopify-internal-error.answer.json")


# bodies of webhooks, full lists


def test_a_hook_of_an_edited_order_names_it() -> None:
    for headers in ({"x-shopify-topic": "orders/edited"}, {}):
        assert read(
            "adapters.shopify", case("shopify-orders-edited.webhook.json"), kind="webhook", headers=headers
        ) == [ChangeNotice("gid://shopify/Order/1001")]


def test_a_hook_that_concerns_no_order_is_kept_and_no_finding(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.post(lab.shop.signed(b'{"id": 7}', "shop/update"))
    lab.work()

    row = lab.one(t.inbox, t.inbox.c.kind == "webhook")
    assert (row.state, [piece[1] for piece in row.unread]) == (
        "ignored",
        ["a webhook of the topic 'shop/update' names no order"],
    )
    assert lab.open_findings() == set()


def test_what_came_of_a_list_that_is_full_is_told_as_not_whole() -> None:
    one, unread = read("adapters.shopify", case("shopify-20-of-25-fulfilments.read.json"))

    assert (len(one.fulfilments), one.partial) == (20, True)
    assert (unread.where, unread.lacks) == ("$.data.nodes[0].fulfillments", "rest")


def test_all_of_twenty_five_fulfilments_are_read(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.shop.place("#1001", lab.clock(), "PAID")
    for number in range(25):
        lab.shop.ship(
            "#1001",
            lab.clock() + number * H / 60,
            [{"company": "UPS", "number": f"1ZR5893903{number:08}"}],
            partly=True,
        )
    lab.work()

    assert len(lab.one(t.orders).facts["fulfilments"]) == 25
    assert len(lab.rows(t.shipments)) == 25
    assert "order_incomplete" not in lab.open_findings()
