"""Magento: conformance, and how orders, shipments, quantities and money are read."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.key_pairs import pair, pem, signature
from tracker.domain.errors import BadPayload
from tracker.domain.facts import Order, Payload, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin.conformance import AT, for_platform

FIXTURES = Path(__file__).parents[1] / "fixtures" / "magento"
TestConformance = for_platform("adapters.magento", fixtures=FIXTURES)
O, P = OrderStatus, PaymentStatus


SIGNS_WITH = {"webhook_key": pem(pair("hook"))}


def signed(body: bytes) -> dict[str, str]:
    proof = base64.b64encode(signature(pair("hook"), base64.b64encode(body))).decode()
    return {"x-adobe-commerce-webhook-signature": proof}


def shop(make: Any, **more: Any) -> Any:
    return make("adapters.magento", **more)


def whole() -> tuple[dict[str, Any], dict[str, Any]]:
    told, shipments = json.loads((FIXTURES / "order.read.parts.json").read_text())
    return told, shipments


def read(source: Any, shipments: Any = None, **more: Any) -> tuple[Order, list[Unread]]:
    told, there = whole()
    parts = ({**told, **more}, there if shipments is None else {"items": shipments, "total_count": len(shipments)})
    found = list(source.normalize(Payload("s", "read", tuple(json.dumps(p).encode() for p in parts), AT)))
    (one,) = [item for item in found if isinstance(item, Order)]
    return one, [item for item in found if isinstance(item, Unread)]


def line(ref: int, **more: Any) -> dict[str, Any]:
    return {"item_id": ref, "product_type": "simple", "name": f"n{ref}", "qty_ordered": 1, **more}


def shipment(*quantities: tuple[int, float], number: str = "1ZR589390357567121", **more: Any) -> dict[str, Any]:
    rows = [{"order_item_id": ref, "qty": some} for ref, some in quantities]
    tracks = [{"entity_id": 7, "track_number": number, "title": "UPS", "carrier_code": "ups"}]
    return {
        "entity_id": 31,
        "order_id": 42,
        "created_at": "2026-11-02 08:00:00",
        "items": rows,
        "tracks": tracks,
        **more,
    }


# lines and quantities


def test_a_configurable_line_is_counted_once_and_what_is_downloaded_never_travels(make) -> None:
    told, unread = read(shop(make)[0])

    assert [(i.ref, i.ordered, i.removed, i.shippable) for i in told.items][:3] == [
        ("501", 2, 0, True), ("502", 2, 0, False), ("503", 1, 0, False),
    ]  # fmt: skip
    assert told.fulfilments[0].quantities == (("501", 1),)
    assert (told.method, told.service, told.ships_to, told.pays_by) == (
        "Flat Rate - Fixed",
        "flatrate_flatrate",
        "DE",
        "checkmo",
    )
    assert not unread
    assert not told.partial


def test_a_quantity_with_decimals_is_counted_exactly_in_its_own_finest_step(make) -> None:
    told, _ = read(shop(make)[0])
    ribbon = told.items[3]
    assert (ribbon.ordered, ribbon.removed, ribbon.name) == (25, 5, "Ribbon (in steps of 0.1)")

    told, _ = read(shop(make)[0], [shipment((504, 1.25))])
    assert (told.items[3].ordered, told.items[3].name) == (250, "Ribbon (in steps of 0.01)")
    assert told.fulfilments[0].quantities == (("504", 125),)


@pytest.mark.parametrize("quantity", [1.00001, -1, "2", True, None, 10**10])
def test_a_quantity_that_magento_could_not_keep_makes_the_order_partial(make, quantity: Any) -> None:
    told, unread = read(shop(make)[0], items=[line(1, qty_ordered=quantity), line(2)])
    assert [i.ref for i in told.items] == ["2"]
    assert told.partial
    assert unread[0].lacks == "line"
    assert unread[0].where == "$.items[0].qty_ordered"


def bundle() -> list[dict[str, Any]]:
    return [
        line(1, product_type="bundle"),
        line(2, parent_item_id=1, qty_ordered=2),
        line(3, parent_item_id=1),
        line(4),
    ]


def test_a_bundle_that_ships_as_one_is_its_own_line_and_one_that_ships_in_parts_is_its_parts(make) -> None:
    source, _ = shop(make)
    together, _ = read(source, [shipment((1, 1))], items=bundle())
    apart, _ = read(source, [shipment((2, 1), (1, 1))], items=bundle())
    counted, _ = read(source, [], items=[{**one, "qty_shipped": int(one["item_id"] == 3)} for one in bundle()])

    def ships(told: Order) -> list[str]:
        return [i.ref for i in told.items if i.shippable]

    assert (ships(together), together.fulfilments[0].quantities) == (["1", "4"], (("1", 1),))
    assert (ships(apart), apart.fulfilments[0].quantities) == (
        ["2", "3", "4"],
        (("2", 1),),
    )  # the parent's row says nothing
    assert ships(counted) == ["2", "3", "4"]


def test_what_must_not_be_shipped_is_not_waited_for(make) -> None:
    told, _ = read(shop(make)[0], [], items=[line(1, locked_do_ship=1), line(2, is_virtual=1), line(3)])
    assert [i.shippable for i in told.items] == [False, False, True]


@pytest.mark.parametrize("field", ["is_virtual", "locked_do_ship"])
def test_a_yes_or_no_that_is_none_costs_its_line(make, field: str) -> None:
    told, unread = read(shop(make)[0], [], items=[line(1, **{field: 7})])
    assert (told.items, told.partial, unread[0].problem) == ((), True, "must be 0 or 1")


def test_an_order_without_its_lines_is_partial(make) -> None:
    told, there = whole()
    del told["items"]
    parts = tuple(json.dumps(p).encode() for p in (told, there))
    one, unread = shop(make)[0].normalize(Payload("s", "read", parts, AT))
    assert (one.partial, unread.where) == (True, "$.items")


@pytest.mark.parametrize("named", [(), ((1, 0),)])
def test_a_shipment_that_names_no_line_is_never_the_whole_order(make, named) -> None:
    told, (unread,) = read(shop(make)[0], [shipment(*named)], items=[line(1), line(2)])
    assert told.partial
    assert (unread.problem, unread.lacks) == ("no fulfilment names a line of the order", "line")


def test_an_order_whose_lines_are_null_is_partial(make) -> None:
    told, unread = read(shop(make)[0], items=None)
    assert (told.partial, unread[0].where) == (True, "$.items")


# state against status


@pytest.mark.parametrize(
    ("state", "status", "shipped", "said"),
    [
        ("new", "pending", 0, O.AWAITING_CONFIRMATION), ("pending_payment", "pending_payment", 0, O.AWAITING_CONFIRMATION),
        ("processing", "processing", 0, O.PROCESSING), ("processing", "processing", 1, O.PARTIALLY_SHIPPED),
        ("processing", "processing", 2, O.SHIPPED), ("processing", "fraud", 0, O.ON_HOLD), ("payment_review", "fraud", 0, O.ON_HOLD),
        ("complete", "holded", 2, O.ON_HOLD), ("processing", "payment_review", 2, O.ON_HOLD),  # stopped, whatever the state
        ("complete", "complete", 2, O.SHIPPED), ("complete", "delivered", 2, O.DELIVERED), ("holded", "holded", 1, O.ON_HOLD),
        ("canceled", "canceled", 0, O.CANCELLED), ("closed", "closed", 0, O.CANCELLED), ("closed", "closed", 2, O.SHIPPED),
        # the state beats what the merchant's status would say
        ("canceled", "delivered", 0, O.CANCELLED), ("holded", "shipped", 0, O.ON_HOLD), ("pending_payment", "shipped", 0, O.AWAITING_CONFIRMATION),
        ("closed", "came_back", 2, O.RETURNED), ("canceled", "came_back", 0, O.RETURNED), ("a_new_state", "shipped", 0, O.UNKNOWN),
    ],
)  # fmt: skip
def test_the_state_decides_and_the_merchants_statuses_fill_in(
    make, state: str, status: str, shipped: int, said: Any
) -> None:
    source, _ = shop(make, statuses={"shipped": "shipped", "delivered": "delivered", "came_back": "returned"})
    told, unread = read(source, [], state=state, status=status, items=[line(1, qty_ordered=2, qty_shipped=shipped)])
    assert told.status is said
    assert told.raw_status == (status if said is not O.UNKNOWN else "shipped (state a_new_state)")
    assert not unread


@pytest.mark.parametrize("status", ["closed", "canceled"])
def test_an_order_whose_status_ends_it_and_whose_state_does_not_is_unknown(make, status: str) -> None:
    told, _ = read(shop(make)[0], [], state="complete", status=status, items=[line(1, qty_shipped=1)])
    assert (told.status, told.raw_status) == (O.UNKNOWN, f"{status} (state complete)")


def test_a_status_that_nobody_mapped_is_read_by_its_state_and_told(make) -> None:
    told, (unread,) = read(shop(make)[0], [], status="waiting_for_stock")
    assert (told.status, told.raw_status, told.partial) == (O.PARTIALLY_SHIPPED, "waiting_for_stock", False)
    assert "'waiting_for_stock' has no entry in `statuses`" in unread.problem
    assert (unread.subject, unread.lacks) == ("42", "")


def test_an_order_of_which_a_line_is_missing_is_never_wholly_shipped(make) -> None:
    told, _ = read(shop(make)[0], [], items=[line(1, qty_shipped=1), line(2, qty_ordered="x")])
    assert told.status is O.PARTIALLY_SHIPPED


def test_only_the_merchants_own_statuses_are_written_and_never_one_that_stops_or_ends(make) -> None:
    source, _ = shop(
        make, statuses={"shipped": "shipped", "sent": "shipped", "complete": "delivered", "stopped": "on_hold"}
    )
    assert source.order_status_map() == {O.SHIPPED: "shipped"}


@pytest.mark.parametrize("more", [{"state": None}, {"status": None}, {"updated_at": "2026-11-02T08:00:00Z"}, {"created_at": "0001-01-01 00:00:00"},
                                  {"grand_total": "12"}, {"total_paid": True}, {"shipping_description": 7}])  # fmt: skip
def test_an_order_without_what_a_write_depends_on_is_not_told(make, more: dict[str, Any]) -> None:
    told, there = whole()
    parts = tuple(json.dumps(p).encode() for p in ({**told, **more}, there))
    found = list(shop(make)[0].normalize(Payload("s", "read", parts, AT)))
    assert all(isinstance(one, Unread) for one in found)
    assert found[0].subject == "42"


@pytest.mark.parametrize(
    ("more", "payment", "raw"),
    [
        ({}, P.PAID, "paid 61.5 of 61.5"), ({"total_paid": None, "total_due": 61.5}, P.PENDING, "paid 0 of 61.5"),
        ({"total_refunded": 10}, P.PARTIALLY_REFUNDED, "paid 61.5 of 61.5, refunded 10"), ({"total_refunded": 61.5}, P.REFUNDED, "paid 61.5 of 61.5, refunded 61.5"),
        ({"state": "closed"}, P.REFUNDED, "paid 61.5 of 61.5"), ({"grand_total": 0, "total_paid": 0}, P.PAID, "paid 0 of 0"),
        ({"total_paid": 0, "total_due": 61.5, "payment": {"method": "x", "amount_authorized": 61.5}}, P.AUTHORIZED, "paid 0 of 61.5"),
        ({"state": "pending_payment"}, P.PENDING, "paid 61.5 of 61.5"), ({"total_paid": 20, "total_due": 41.5}, P.PENDING, "paid 20 of 61.5"),
    ],
)  # fmt: skip
def test_money_is_read_by_its_sums(make, more: dict[str, Any], payment: Any, raw: str) -> None:
    told, _ = read(shop(make)[0], **more)
    assert (told.payment, told.raw_payment) == (payment, raw)


def test_times_are_those_of_the_shops_zone(make) -> None:
    told, _ = read(shop(make, zone="Europe/Berlin")[0])
    assert told.placed_at.astimezone(UTC) == datetime(2026, 11, 1, 8, 15, tzinfo=UTC)
    with pytest.raises(ValueError, match="no time zone"):
        shop(make, zone="Mars/Base")


# shipments and tracks


def test_a_track_is_the_carriers_of_its_code_else_of_its_title(make) -> None:
    source, _ = shop(make, carriers={"mymodule": "postnl"})
    rows = [
        ("ups", "Express"),
        ("custom", "FedEx"),
        ("custom", "Our van"),
        ("mymodule", "PostNL 3S"),
        ("", ""),
        ("nobody", ""),
    ]
    tracks = [{"track_number": f"1Z{at}AA101234567", "carrier_code": c, "title": t} for at, (c, t) in enumerate(rows)]
    told, _ = read(source, [shipment((501, 1), tracks=tracks)])
    assert [(p.carrier, p.company) for p in told.fulfilments[0].parcels] == [
        ("ups", "Express"), ("fedex", "FedEx"), (None, "Our van"), ("postnl", "PostNL 3S"), (None, ""), (None, "nobody"),
    ]  # fmt: skip


def test_what_is_typed_into_a_track_and_is_no_number_is_kept_apart_and_one_number_stands_once(make) -> None:
    tracks = [
        {"track_number": t, "carrier_code": "ups"} for t in ("1ZR589390357567121", "1zr589390357567121", "see mail")
    ]
    told, _ = read(shop(make)[0], [shipment((501, 1), tracks=tracks)])
    assert [p.number for p in told.fulfilments[0].parcels] == ["1ZR589390357567121"]
    assert told.fulfilments[0].unreadable == ("see mail",)


def test_a_number_that_is_printed_as_a_number_keeps_its_digits(make) -> None:
    told, there = whole()
    body = json.dumps(there).replace('"9400111206206406260787"', "9400111206206406260787").encode()
    (one,) = shop(make)[0].normalize(Payload("s", "read", (json.dumps(told).encode(), body), AT))
    assert one.fulfilments[0].parcels[1].number == "9400111206206406260787"


def test_a_shipment_of_no_known_order_costs_the_order_that_lacks_one(make) -> None:
    good, odd = shipment((501, 1)), {**shipment((501, 1)), "order_id": None}
    told, unread = read(shop(make)[0], [good, odd])
    assert not told.partial  # what was shipped of it, it has
    assert [one.where for one in unread] == ["$[1].items[1].order_id"]
    told, _ = read(shop(make)[0], [odd, 7])
    assert told.partial


def test_a_shipment_whose_order_is_not_in_the_answer_is_told(make) -> None:
    _, (unread,) = read(shop(make)[0], [shipment((501, 1)), {**shipment((9, 1)), "order_id": 77}])
    assert unread.subject == "77"


@pytest.mark.parametrize(
    "more", [{"tracks": "x"}, {"items": [{"order_item_id": 501}]}, {"items": [{"qty": 1}]}, {"tracks": [7]}]
)
def test_an_odd_shipment_makes_its_order_partial(make, more: dict[str, Any]) -> None:
    told, unread = read(shop(make)[0], [shipment((501, 1), **more)])
    assert told.partial
    assert {one.lacks for one in unread} == {"line"}


def test_shipments_that_were_not_read_to_their_end_are_told(make) -> None:
    told, _ = whole()
    page = {"items": [], "total_count": 0}
    last = {"items": [shipment((501, 1))], "total_count": 3}
    parts = tuple(json.dumps(p).encode() for p in (told, *[{**last, "total_count": 3}] * 49, last))
    one, unread = shop(make)[0].normalize(Payload("s", "read", parts, AT))
    assert (one.partial, unread.lacks) == (True, "rest")
    (fine,) = shop(make)[0].normalize(Payload("s", "read", tuple(json.dumps(p).encode() for p in (told, page)), AT))
    assert not fine.partial


def test_a_list_whose_rows_are_none_cannot_be_read(make) -> None:
    with pytest.raises(BadPayload, match="items"):
        list(shop(make)[0].normalize(Payload("s", "sweep", (b'{"items": {}, "total_count": 1}',), AT)))
    told = list(
        shop(make)[0].normalize(
            Payload(
                "s",
                "sweep",
                (b'{"items": [7, {"state": "new"}], "total_count": 2}', json.dumps(whole()[0]).encode()),
                AT,
            )
        )
    )
    assert [type(one).__name__ for one in told] == ["Order", "Unread", "Unread"]


def test_what_is_odd_beside_the_order_is_left_out_and_told(make) -> None:
    told, unread = read(
        shop(make)[0], payment="x", extension_attributes={"shipping_assignments": [7], "pickup_location_code": 7}
    )
    assert (told.pays_by, told.ships_to, told.location, told.partial) == ("", "", "", False)
    assert len(unread) == 3
    told, _ = read(shop(make)[0], extension_attributes={"pickup_location_code": "store-7"}, shipping_description=None)
    assert (told.location, told.method) == ("store-7", "")
