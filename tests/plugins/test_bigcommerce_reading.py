"""BigCommerce: refunds by line, renamed statuses, where it goes, and what its metafield shows."""

from __future__ import annotations

import json

import pytest

from tests.plugins.bigcommerce import PRODUCTS, ROW, SHIPMENTS, read, store
from tracker.domain.errors import BadPayload
from tracker.domain.facts import Order, Payload, Unread
from tracker.plugin.conformance import AT

SHIPPING = {
    "street_1": "1 Main Street",
    "city": "Austin",
    "zip": "78726",
    "country_iso2": "de",
    "shipping_method": "Express",
}


def refund(*lines, declined=(False,), **more):
    items = [{"item_type": "PRODUCT", "item_id": ref, "quantity": many} for ref, many in lines]
    return {"id": 1, "items": items, "payments": [{"is_declined": one} for one in declined], **more}


def removed(make, refunds, refunded=1):
    line = {**PRODUCTS[0], "quantity": 5, "quantity_refunded": refunded}
    found, *_ = read(store(make)[0], products=[line], told=[refunds])
    return found.items[0].removed


# refunds by line


@pytest.mark.parametrize(
    ("refunds", "counted", "is_removed"),
    [
        ([], 2, 2),  # a refund of before V3, or of the control panel
        ([refund((501, 2))], 2, 2),
        ([refund((501, 1)), refund((501, 2))], 3, 3),
        ([refund((501, 2), declined=(True,))], 2, 0),  # V2 counts it, and it did not happen
        ([refund((501, 2), declined=(True,))], 0, 0),  # V2 counts it not
        ([refund((501, 1)), refund((501, 2), declined=(True, True))], 3, 1),
        ([refund((501, 1)), refund((501, 2), declined=(True, True))], 1, 1),
        ([refund((501, 2), declined=(True, False))], 2, 2),  # one payment of two went through
        ([refund((501, 2), declined=())], 2, 2),
        ([refund((501, 9))], 0, 5),  # never more than were ordered
        ([refund((999, 2))], 0, 0),
        ([refund()], 1, 1),  # of taxes alone
    ],
)  # fmt: skip
def test_a_refund_that_every_payment_declined_takes_no_piece_off(make, refunds, counted, is_removed) -> None:
    assert removed(make, refunds, counted) == is_removed


def test_a_refund_of_shipping_wrapping_fees_or_the_order_takes_no_piece_off(make) -> None:
    kinds = ("GIFT_WRAPPING", "SHIPPING", "HANDLING", "ORDER", "FEE")
    items = [{"item_type": kind, "item_id": 501, "requested_amount": 1.0} for kind in kinds]

    assert removed(make, [{"id": 1, "items": items, "payments": []}], refunded=0) == 0


@pytest.mark.parametrize(
    ("odd", "where"),
    [
        (7, ""), ({"id": 1, "payments": 7}, ".payments"), ({"id": 1, "payments": [7]}, ".payments[]"),
        (refund((501, "2")), ".items[0].quantity"), (refund((501, 2), declined=("no",)), ".payments[].is_declined"),
        (refund((None, 2)), ".items[0].item_id"), ({**refund(), "items": [{"item_type": 7}]}, ".items[0].item_type"),
    ],
)  # fmt: skip
def test_a_refund_that_cannot_be_read_makes_the_order_partial_and_is_told(make, odd, where) -> None:
    found, *rest = read(store(make)[0], told=[[refund(), odd]])

    assert found.partial
    assert [(one.where, one.lacks) for one in rest if isinstance(one, Unread)] == [(f"$[3].data[1]{where}", "line")]


@pytest.mark.parametrize("product", [
    {"type": "digital"}, {"type": "giftcertificate"}, {"type": "physical", "order_pickup_method_id": 3},
])  # fmt: skip
def test_what_goes_by_no_parcel_is_waited_for_by_nobody(make, product) -> None:
    found, *_ = read(
        store(make)[0],
        products=[{"id": 1, "quantity": 1, **product}, {"id": 2, "quantity": 1, "order_pickup_method_id": 0}],
    )

    assert [item.shippable for item in found.items] == [False, True]


# statuses that were renamed


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({"status": "Warten auf Versand"}, "Warten auf Versand"), ({"status": "Awaiting Fulfillment"}, ""), ({"status": None}, ""),
        ({"status": "Awaiting Fulfillment", "custom_status": "Wird gepackt"}, "Wird gepackt"), ({"status": ""}, ""),
        ({"status": "Awaiting Fulfillment", "custom_status": "Awaiting Fulfillment"}, ""),
    ],
)  # fmt: skip
def test_a_renamed_status_is_decided_by_its_id_and_shown_as_the_merchant_calls_it(make, more, label) -> None:
    found, *_ = read(store(make)[0], **more)

    assert (found.status, found.raw_status, found.label) == ("confirmed", "Awaiting Fulfillment", label)


def test_a_status_that_nobody_knows_has_no_other_name(make) -> None:
    found, *_ = read(store(make)[0], status_id=99, status="New word")

    assert (found.status, found.raw_status, found.label) == ("unknown", "99 New word", "")


# where it goes, where it came from


def test_the_country_is_that_of_the_parcel_and_not_that_of_the_browser(make) -> None:
    shipped = [{**SHIPMENTS[0], "shipping_address": {"country_iso2": "AT"}}]

    assert read(store(make)[0], consignments={"shipping": [SHIPPING]}, shipments=shipped)[0].ships_to == "DE"
    assert read(store(make)[0], shipments=shipped)[0].ships_to == "AT"
    assert (
        read(store(make)[0], consignments={"url": "https://x", "resource": "/orders/250/consignments"})[0].ships_to
        == "US"
    )


def test_how_it_is_shipped_and_where_it_is_picked_up_is_read_from_its_consignments(make) -> None:
    pickup = {"location": {"name": "Austin store"}}
    found, *_ = read(store(make)[0], consignments=[{"shipping": [SHIPPING], "pickups": [7, {}, pickup]}])

    assert (found.method, found.location, found.address) == ("Express", "Austin store", "")


@pytest.mark.parametrize("lacks", ["street_1", "country_iso2", ("city", "zip")])
def test_an_address_that_is_not_whole_is_missing_unless_nothing_is_shipped(make, lacks) -> None:
    broken = {**SHIPPING, **dict.fromkeys((lacks,) if isinstance(lacks, str) else lacks, "")}
    source = store(make)[0]

    assert read(source, consignments={"shipping": [SHIPPING, broken]})[0].address == "missing"
    digital = [{"id": 1, "quantity": 1, "type": "digital"}]
    assert read(source, consignments={"shipping": [broken]}, products=digital)[0].address == ""
    assert read(source, consignments={"shipping": [{**SHIPPING, "city": ""}]})[0].address == ""


@pytest.mark.parametrize(
    ("consignments", "where"),
    [
        ({"shipping": 7}, "$.consignments.shipping"), ({"shipping": [{**SHIPPING, "shipping_method": 7}]}, "$.shipping_method"),
        ({"shipping": [{**SHIPPING, "city": 7}]}, "$.consignments.shipping[].city"),
        ({"pickups": [{"location": {"name": 7}}]}, "$.consignments.pickups[].location.name"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_of_where_it_goes_is_left_out_and_told(make, consignments, where) -> None:
    found, *rest = read(store(make)[0], consignments=consignments)

    assert isinstance(found, Order)
    assert not found.partial
    assert [one.where for one in rest if isinstance(one, Unread)] == [where]


def test_an_order_without_consignments_says_nothing_of_where_it_goes(make) -> None:
    for none in (None, [], "x"):
        found, *_ = read(store(make)[0], consignments=none)
        assert (found.method, found.location, found.address, found.ships_to) == ("", "", "", "US")


def test_an_order_that_was_paid_by_the_test_gateway_tries_the_shop(make) -> None:
    assert read(store(make)[0], payment_method="Test Payment Gateway")[0].test
    assert not read(store(make)[0])[0].test
    assert not read(store(make, test_gateways=[])[0], payment_method="Test Payment Gateway")[0].test
    assert read(store(make, test_gateways=["Bogus"])[0], payment_method="Bogus")[0].test


def test_the_channel_is_the_system_that_made_it_or_where_it_was_placed(make) -> None:
    assert read(store(make)[0], order_source="www")[0].channel == "www"
    assert read(store(make)[0], order_source="external", external_source="ERP")[0].channel == "ERP"
    found, *rest = read(store(make)[0], order_source=7)
    assert (found.channel, [one.where for one in rest if isinstance(one, Unread)]) == ("", ["$.order_source"])


# the metafield that the policy names


def shown(make, *rows, field="shipping_status"):
    source, _ = store(make)
    source.status_field = field
    return read(source, told=[list(rows)])


def row(value, at="2026-11-02T08:00:00+00:00", **more):
    return {"id": 1, "namespace": "trackwright", "key": "shipping_status", "value": value, "date_modified": at, **more}


def test_the_metafield_of_the_policy_is_read_of_several_apps_the_newest(make) -> None:
    assert shown(make)[0].shown == ""
    assert shown(make, row("delivered"))[0].shown == "delivered"
    assert (
        shown(make, row("delivered", "2026-11-02T08:00:00+00:00"), row("in_transit", "2026-11-01T08:00:00+00:00"))[
            0
        ].shown
        == "delivered"
    )
    assert shown(make, row("delivered"), field="")[0].shown == ""


def test_a_metafield_that_cannot_be_read_is_told_and_shows_nothing(make) -> None:
    found, *rest = shown(make, row(7))

    assert (found.shown, found.partial) == ("", False)
    assert [one.where for one in rest if isinstance(one, Unread)] == ["$[3].data[0].value"]


@pytest.mark.parametrize("body", [{"data": None}, {}, {"data": {"id": 1}}])
def test_a_list_of_v3_that_is_none_is_refused_whole(make, body) -> None:
    parts = tuple(json.dumps(part).encode() for part in (ROW, [], [], body))
    with pytest.raises(BadPayload):
        list(store(make)[0].normalize(Payload("s", "read", parts, AT)))


def test_lists_that_go_on_behind_what_v3_told_are_read_by_their_turns(make) -> None:
    source, _ = store(make)
    found, *_ = read(source, told=[[], [refund((501, 1))]])

    assert [item.ref for item in found.items] == ["501", "502"]
