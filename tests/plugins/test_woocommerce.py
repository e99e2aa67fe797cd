"""WooCommerce: conformance, who sent a hook, what is read from each place that holds tracking, what an order says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.woocommerce.tracking import plugin_of
from tests.plugins.signing import digest
from tracker.config.load import load_text
from tracker.domain.errors import BadPayload, ConfigError, WebhookRejected
from tracker.domain.facts import ChangeNotice, Checkout, Order, Payload, Unread
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus
from tracker.plugin.conformance import AT, example_settings, for_platform
from tracker.plugin.conformance import plugin_of as loaded

FIXTURES = Path(__file__).parents[1] / "fixtures" / "woocommerce"
TestConformance = for_platform("adapters.woocommerce", fixtures=FIXTURES)
O, P = OrderStatus, PaymentStatus


def signed(body: bytes) -> dict[str, str]:
    return {"x-wc-webhook-signature": base64.b64encode(digest(body)).decode()}


def shop(**settings: Any) -> Any:
    plugin = loaded("adapters.woocommerce")
    return plugin("s", example_settings(plugin, **settings))


def row(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / "fulfilments-three.read.parts.json").read_text())[0]
    return {**found, "refunds": [], **more}


def read_all(source: Any, *parts: Any, kind: str = "read") -> list[Any]:
    bodies = tuple(json.dumps(part).encode() for part in parts)
    return list(source.normalize(Payload("s", kind, bodies, AT)))


def read(source: Any, *parts: Any, **more: Any) -> Order:
    (one,) = read_all(source, row(**more), *parts)
    assert isinstance(one, Order), one
    return one


# who sent it


def test_a_hook_is_signed_by_the_secret_with_its_entities_decoded() -> None:
    body = b'{"id": 1}'
    key = 's3cr&t<"it\'s">&amp'  # what is no entity stays as it is
    source = shop(webhook_secrets=["s3cr&amp;t&lt;&quot;it&#39;s&#x22;&gt;&amp".replace("&#x22;", '"')])
    right = base64.b64encode(hmac.new(key.encode(), body, hashlib.sha256).digest()).decode()

    assert source.verify(Payload("s", "webhook", (body,), AT, {"x-wc-webhook-signature": right})) == 0
    with pytest.raises(WebhookRejected):
        source.verify(Payload("s", "webhook", (body + b" ",), AT, {"x-wc-webhook-signature": right}))


@pytest.mark.parametrize(
    ("named", "settings", "fits"),
    [
        ("https://acme.example/", {}, True), ("http://www.acme.example", {}, True), ("https://staging.acme.example/", {}, False),
        ("https://acme.example/outlet/", {}, False), ("", {}, False), ("http://[", {}, False),
        ("https://shop.example/", {"hook_source": "https://shop.example"}, True),
    ],
)  # fmt: skip
def test_a_copy_of_the_shop_that_holds_the_same_secret_is_another_shop(named: str, settings: Any, fits: bool) -> None:
    headers = {**signed(b"{}"), "x-wc-webhook-topic": "order.updated", "x-wc-webhook-source": named}
    payload = Payload("s", "webhook", (b"{}",), AT, headers)
    if fits:
        assert shop(**settings).verify(payload) == 0
        return
    with pytest.raises(WebhookRejected, match="another shop"):
        shop(**settings).verify(payload)


def test_the_ping_of_a_new_hook_is_answered_and_nothing_else_is() -> None:
    def answered(body: bytes) -> Any:
        return shop().handshake(Payload("s", "webhook", (body,), AT))

    assert answered(b"webhook_id=42") is not None
    assert [answered(body) for body in (b"webhook_id=42&x=1", b"webhook_id=", b'{"id": 42}', b"")] == [None] * 4


def test_two_hooks_of_one_change_are_one_and_a_deleted_order_is_told_each_time() -> None:
    def key(body: Any, at: datetime = AT, **headers: str) -> str:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return str(shop().dedupe_key(Payload("s", "webhook", (raw,), at, headers)))

    later = datetime(2026, 11, 3, tzinfo=UTC)
    one = row()
    assert key(one) == key(one, later)  # whatever X-WC-Webhook-Delivery-ID says
    assert key(one) != key({**one, "status": "on-hold"})
    assert key(one) != key({**one, "meta_data": []})
    assert key({"id": 7}) != key({"id": 7}, later)
    assert key(b"[") != key(b"[", later)


def hook(body: Any, topic: str = "order.updated") -> list[Any]:
    headers = {"x-wc-webhook-topic": topic} if topic else {}
    return list(shop().normalize(Payload("s", "webhook", (json.dumps(body).encode(),), AT, headers)))


def test_a_hook_names_its_order_by_its_topic_alone() -> None:
    assert hook({"id": 7}, "order.deleted") == [ChangeNotice("7")]
    assert hook(row()) == hook(row(), "") == [ChangeNotice("727")]
    (other,) = hook({"id": 7, "line_items": [], "order_key": "x"}, "product.updated")
    assert other.lacks == "nothing"
    for body, topic in (({"id": 7}, ""), ({"status": "x"}, "order.updated")):
        with pytest.raises(BadPayload):
            hook(body, topic)


# what an order says


@pytest.mark.parametrize(
    ("more", "status", "payment"),
    [
        ({}, O.PROCESSING, P.PAID), ({"status": "completed"}, O.SHIPPED, P.PAID), ({"status": "on-hold"}, O.ON_HOLD, P.PAID),
        ({"status": "pending", "date_paid_gmt": None}, O.AWAITING_CONFIRMATION, P.PENDING),
        ({"status": "failed", "date_paid_gmt": ""}, O.AWAITING_CONFIRMATION, P.FAILED),
        ({"status": "cancelled"}, O.CANCELLED, P.PAID), ({"status": "refunded"}, O.CONFIRMED, P.REFUNDED),
        ({"status": "ready-for-pickup"}, O.READY_FOR_DISPATCH, P.PAID), ({"status": "packed"}, O.UNKNOWN, P.PAID),
        ({"status": "shipped"}, O.SHIPPED, P.PAID), ({"status": "checkout-draft-2"}, O.UNKNOWN, P.PAID),
    ],
)  # fmt: skip
def test_statuses_are_woocommerces_and_those_that_the_merchant_maps(more: Any, status: Any, payment: Any) -> None:
    one = read(shop(statuses={"shipped": "shipped"}), [], [], **more)
    assert (one.status, one.raw_status, one.payment) == (status, more.get("status", "processing"), payment)


def test_a_refunded_order_was_shipped_where_something_of_it_travels() -> None:
    tracking = [
        {"tracking_id": "a", "tracking_number": "1Z999AA10123456784", "tracking_provider": "UPS", "date_shipped": ""}
    ]
    assert read(shop(), [], tracking, status="refunded").status is O.SHIPPED


@pytest.mark.parametrize(
    ("refunds", "payment"),
    [([("-35.00", -1)], P.REFUNDED), ([("-10.00", -1), ("-5", 0)], P.PARTIALLY_REFUNDED), ([(-35, 0)], P.REFUNDED)],
)
def test_money_that_was_given_back_is_read_from_the_refunds(refunds: Any, payment: Any) -> None:
    named = [{"id": at, "total": total} for at, (total, _) in enumerate(refunds)]
    meta = [{"id": 1, "key": "_refunded_item_id", "value": "315"}]
    lines = [
        {"id": at, "line_items": [{"id": 9, "quantity": pieces, "meta_data": meta}] if pieces else []}
        for at, (_, pieces) in enumerate(refunds)
    ]
    one = read(shop(), [], [], lines, refunds=named)
    assert one.payment is payment
    assert [item.removed for item in one.items] == [int(any(pieces for _, pieces in refunds)), 0, 0]


def test_refunds_whose_lines_were_not_all_read_make_the_order_partial() -> None:
    one, told = read_all(
        shop(), row(refunds=[{"id": 1, "total": "-1"}, {"id": 2, "total": "-1"}]), [], [], [{"id": 1, "line_items": []}]
    )
    assert (one.partial, told.lacks, told.problem) == (True, "rest", "2 refunds, and the lines of 1")
    without = {"id": 1, "line_items": [{"quantity": -1, "meta_data": []}]}
    one, told = read_all(shop(), row(refunds=[{"id": 1, "total": "-1"}]), [], [], [without])
    assert (one.partial, told.lacks) == (True, "line")


def test_only_times_of_gmt_are_read_and_what_is_collected_or_downloaded_needs_no_parcel() -> None:
    one = read(shop(), [], [])
    assert one.placed_at == datetime(2026, 11, 2, 8, tzinfo=UTC)  # date_created says 03:00, in the site's zone
    assert (one.updated_at, one.owner, one.ships_to) == (datetime(2026, 11, 2, 9, tzinfo=UTC), Owner.UNKNOWN, "US")
    assert all(item.shippable for item in one.items)
    collected = read(shop(), [], [], shipping_lines=[{"method_id": "local_pickup:3", "method_title": "Pick up"}])
    downloaded = read(shop(), [], [], needs_processing=False, shipping_lines=[])
    assert (collected.owner, collected.method, collected.service) == (Owner.SELLER, "local_pickup:3", "Pick up")
    assert not any(item.shippable for item in (*collected.items, *downloaded.items))
    done = read(shop(), [], [], status="completed", date_completed_gmt="2026-11-03T08:00:00")
    assert done.status_at == datetime(2026, 11, 3, 8, tzinfo=UTC)
    assert read(shop(), [], [], shipping={"country": ""}, billing={"country": "gb"}).ships_to == "GB"
    assert read(shop(), [], [], shipping=None, billing=None).ships_to == ""


@pytest.mark.parametrize(
    "more",
    [
        {"status": None}, {"number": None}, {"date_created_gmt": None}, {"date_modified_gmt": "yesterday"}, {"total": "much", "refunds": [{"total": "-1"}]},
        {"total": True, "refunds": [{"total": "-1"}]}, {"refunds": [{"total": []}]}, {"refunds": [7]}, {"date_paid_gmt": "soon"},
        {"payment_method": 7}, {"needs_processing": "no"}, {"shipping_lines": [7]},
    ],
)  # fmt: skip
def test_an_order_without_what_a_write_depends_on_is_not_told(more: dict[str, Any]) -> None:
    told = read_all(shop(), row(**more), [], [])
    assert all(isinstance(one, Unread) and one.subject == "727" for one in told)


def test_the_field_that_shows_the_shipping_status_is_a_meta_key() -> None:
    source = shop()
    source.status_field = "_trackwright_status"
    assert read(source, [], []).shown == "in_transit"


def test_an_order_in_the_trash_is_gone_and_a_draft_is_a_checkout() -> None:
    assert read(shop(), [], [], status="trash").gone == "deleted"
    draft = row(status="checkout-draft", billing={"email": "a@example.com"})
    assert read_all(shop(), draft, [], []) == [
        Checkout("s", "727", AT.replace(hour=8), AT.replace(hour=9), contact=True)
    ]
    order, taken_up = read_all(shop(), row(created_via="store-api"), [], [])
    assert (order.ref, taken_up.ref, taken_up.recovered) == ("727", "727", True)
    (odd,) = read_all(shop(), row(status="checkout-draft", id=None), [], [])
    assert odd.lacks == "nothing"


# where tracking lies


def fulfilment(**meta: Any) -> dict[str, Any]:
    rows = [{"id": at, "key": key, "value": value} for at, (key, value) in enumerate(meta.items())]
    return {"id": 1, "status": "fulfilled", "date_deleted": None, "meta_data": rows}


@pytest.mark.parametrize("key", ["_shipment_provider", "_shipping_provider", "_tracking_provider"])
def test_the_provider_is_found_under_each_key_that_builds_wrote(key: str) -> None:
    told = fulfilment(_tracking_number="1Z999AA10123456784", _items=[{"item_id": "315", "qty": "2"}], **{key: "ups"})
    (one,) = read(shop(), [told], []).fulfilments
    assert [(p.carrier, p.company) for p in one.parcels] == [("ups", "ups")]
    assert one.quantities == (("315", 2),)


def test_another_provider_has_its_name_and_times_of_either_form_are_utc() -> None:
    for printed in ("2026-03-28 15:00:00", "2026-03-28T15:00:00Z"):
        told = fulfilment(
            _tracking_number="X1234567890",
            _shipment_provider="other",
            _provider_name="Acme Post",
            _date_fulfilled=printed,
            _items=[{"item_id": 315, "qty": 1}],
        )
        (one,) = read(shop(carriers={"Acme Post": "acme"}), [told], []).fulfilments
        assert (one.parcels[0].carrier, one.shipped_at) == ("acme", datetime(2026, 3, 28, 15, tzinfo=UTC))


@pytest.mark.parametrize("items", [None, [], "MISSING"])
def test_a_fulfilment_that_names_no_line_is_never_the_whole_order(items: Any) -> None:
    meta = {} if items == "MISSING" else {"_items": items}
    one, unread = read_all(shop(), row(), [fulfilment(_tracking_number="X1234567890", **meta)], [])

    assert one.partial
    assert (unread.problem, unread.lacks) == ("no fulfilment names a line of the order", "line")


def test_what_is_no_entry_of_the_meta_of_a_fulfilment_is_told_as_a_number_may_stand_there() -> None:
    there = fulfilment(_items=[{"item_id": 315, "qty": 1}])
    one, unread = read_all(shop(), row(), [{**there, "meta_data": [*there["meta_data"], "X1234567890"]}], [])

    assert one.partial
    assert unread.where == "$.fulfillments[0].meta_data"


def test_of_an_order_of_two_packages_of_which_one_is_picked_up_the_other_travels() -> None:
    shelf = {"method_id": "local_pickup:3", "method_title": "At the shop"}
    ways = [shelf, {"method_id": "flat_rate", "method_title": "Flat"}]
    mixed, collected = read(shop(), [], [], shipping_lines=ways), read(shop(), [], [], shipping_lines=[shelf, shelf])

    assert (mixed.method, mixed.service, mixed.owner) == ("flat_rate", "Flat", Owner.UNKNOWN)
    assert all(item.shippable for item in mixed.items)
    assert (collected.owner, any(item.shippable for item in collected.items)) == (Owner.SELLER, False)


def tracking(at: Any, **more: Any) -> dict[str, Any]:
    return {
        "tracking_id": "a1",
        "tracking_provider": "UPS",
        "tracking_number": "1Z999AA10123456784",
        "date_shipped": at,
        **more,
    }


@pytest.mark.parametrize(
    ("printed", "order", "day"),
    [
        ("2026-07-10", "ymd", (7, 10)), ("1783641600", "ymd", (7, 10)), (1783641600, "ymd", (7, 10)), ("10-07-2026", "dmy", (7, 10)),
        ("07-10-2026", "mdy", (7, 10)), ("07/13/2026", "ymd", (7, 13)), ("13.07.2026", "ymd", (7, 13)), ("10-10-2026", "ymd", (10, 10)),
        ("10-07-2026", "ymd", None), ("45-45-2026", "dmy", None), ("01-01-9999", "dmy", None), ("soon", "ymd", None), ([], "ymd", None), (True, "ymd", None),
    ],
)  # fmt: skip
def test_days_are_read_in_the_order_that_the_shop_prints_and_never_guessed(printed: Any, order: Any, day: Any) -> None:
    found = read_all(shop(date_order=order), row(), [], [tracking(printed)])
    at = found[0].fulfilments[0].shipped_at
    assert at == (datetime(2026, day[0], day[1], tzinfo=UTC) if day else None)
    assert len(found) == (1 if day else 2)  # what cannot be read is told
    assert not found[0].partial


def test_a_number_that_two_places_tell_is_told_by_the_one_that_knows_its_pieces() -> None:
    told = fulfilment(
        _tracking_number="1Z999AA10123456784", _shipment_provider="ups", _items=[{"item_id": 315, "qty": 2}]
    )
    both = read(shop(), [told], [tracking("2026-07-10"), tracking("", tracking_id="b", tracking_number="none yet")])
    assert [one.ref for one in both.fulfilments] == ["1", "t-b"]  # a text without a number is shown as it is


def test_meta_keys_that_the_merchant_names_are_read_of_the_order_and_of_its_lines() -> None:
    source = shop(number_key="_wot_tracking_number", carrier_key="_wot_tracking_carrier")

    def meta(number: Any) -> list[Any]:
        return [
            {"key": "_wot_tracking_number", "value": number},
            {"key": "_wot_tracking_carrier", "value": "UPS"},
            7,
            {"key": None},
        ]

    lines = [
        {"id": 1, "quantity": 2, "meta_data": meta("1Z999AA10123456784")},
        {"id": 2, "quantity": 1, "meta_data": []},
    ]
    one = read(source, [], [], line_items=lines)
    assert [(f.ref, f.quantities, f.parcels[0].carrier) for f in one.fulfilments] == [("m-1", (("1", 2),), "ups")]
    whole = read(source, [], [], meta_data=meta("1Z999AA10123456784, 1Z999AA10123456783"))
    assert [(f.ref, f.quantities, len(f.parcels)) for f in whole.fulfilments] == [("m-727", (), 2)]
    kept = read(shop(number_key="_wc_shipment_tracking_items"), [], [],
                meta_data=[{"key": "_wc_shipment_tracking_items", "value": [tracking("1783641600")]}])  # fmt: skip
    assert [f.ref for f in kept.fulfilments] == ["t-a1"]
    for more in ({"meta_data": {"a": 1}}, {"line_items": [7]}):
        odd, *_ = read_all(source, row(**more), [], [])
        assert odd.partial


def test_tracking_that_cannot_be_read_makes_the_order_partial() -> None:
    for core, plugin in (
        ([{"id": None}], []),
        ([], [{"tracking_number": "x"}]),
        ([fulfilment(_items="all")], []),
        ([7], []),
    ):
        one, *told = read_all(shop(), row(), core, plugin)
        assert one.partial
        assert told[0].lacks == "line"


@pytest.mark.parametrize(
    ("namespaces", "found"),
    [
        (["wc/v3", "wc-shipment-tracking/v3"], ("shipment_tracking", "wc-shipment-tracking/v3")),
        (["wc-ast/v3", "wc-shipment-tracking/v3"], ("ast", "wc-ast/v3")), (["wc-ast/v1", "wc-ast/v2"], ("ast", "wc-ast/v2")),
        (["wc/v3", "wc-asterisk/v3", 7], None),
    ],
)  # fmt: skip
def test_the_two_plugins_are_told_apart_by_their_namespaces(namespaces: Any, found: Any) -> None:
    assert plugin_of(namespaces) == found


# lists


def test_a_row_of_the_list_tells_its_order_only_where_nothing_else_holds_tracking() -> None:
    rows = [
        row(),
        row(id=728, number="728", refunds=[{"id": 1, "total": "-1"}]),
        7,
        row(id=None),
        row(status="checkout-draft", id=9),
    ]
    notices = read_all(shop(), rows, kind="sweep")
    told = read_all(shop(tracking=[]), rows, kind="sweep")

    assert notices[:3] == [
        ChangeNotice("727"),
        ChangeNotice("728"),
        Checkout("s", "9", AT.replace(hour=8), AT.replace(hour=9)),
    ]
    assert isinstance(told[0], Order)
    assert (told[0].ref, told[1]) == ("727", ChangeNotice("728"))
    assert [one.where for one in notices if isinstance(one, Unread)] == ["$[2]", "$[3].id"]


def test_what_may_be_written_are_the_merchants_own_words_and_completed() -> None:
    words = {"shipped": "shipped", "packed": "ready_for_dispatch", "completed": "delivered", "done": "delivered", "pending": "delivered", "new-step": "confirmed",
             "held": "on_hold", "refunded": "returned"}  # fmt: skip
    assert shop(statuses=words).order_status_map() == {
        O.SHIPPED: "shipped",
        O.READY_FOR_DISPATCH: "packed",
        O.DELIVERED: "done",
    }
    assert shop().order_status_map() == {O.SHIPPED: "completed"}
    assert {O.ON_HOLD, O.DELIVERED} <= shop(statuses=words).says()


def test_completed_waits_to_be_named_as_it_mails_and_may_capture_money() -> None:
    beside = shop().beside("order_status", "completed")
    assert (beside.asks, "capture" in beside.said) == (True, True)
    assert not shop().beside("order_status", "delivered").asks
    assert shop().beside("field", "x") is None


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        ({"base_url": "http://acme.example"}, [("base_url",)]), ({"base_url": "http://127.0.0.1:8080"}, []), ({}, []),
        ({"statuses": {"sent": "shipped", "wc-shipped": "shipped"}}, [("statuses", "wc-shipped")]),
        ({"statuses": {"cancelled": "delivered"}}, [("statuses", "cancelled")]), ({"statuses": {"cancelled": "returned"}}, []),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_told_with_their_key(settings: Any, places: Any) -> None:
    assert [remark.place for remark in shop(**settings).examine(lambda _: b"", {})] == places


def test_a_store_over_plain_http_is_refused_by_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", "canary-0123456789")
    entry = "uses: woocommerce, base_url: 'http://acme.example', consumer_key: '${env:S}', consumer_secret: '${env:S}'"
    with pytest.raises(ConfigError, match=r"stores\.a\.base_url: must begin with https://"):
        load_text(f"stores:\n  a: {{{entry}}}")
