"""What an order of Shopify says: its lines, how and from where it goes, what holds it, who set its status; never whose it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.plugins.shopify import GID, LINE, by_id, line, node, part, route, rows, shop
from tracker.domain.facts import Item, Order, Payload, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin.conformance import AT


def told(make, *nodes: dict, kind: str = "read", at: datetime = AT) -> tuple[list[Order], list[Unread]]:
    items = list(shop(make)[0].normalize(Payload("s", kind, (json.dumps(by_id(*nodes)).encode(),), at)))
    return [i for i in items if isinstance(i, Order)], [i for i in items if isinstance(i, Unread)]


def one(make, **more) -> Order:
    (found,), unread = told(make, node(1, **more))
    assert unread == []
    return found


# lines and pieces


def test_gift_cards_digital_lines_and_what_was_taken_out_are_not_waited_for(make) -> None:
    lines = [
        line(1, 3), line(2, 3, 1), line(3, requiresShipping=False), line(4, isGiftCard=True), line(5, 2, currentQuantity=1),
        line(6, 2, refundableQuantity=0),
    ]  # fmt: skip
    found = one(make, lineItems=rows(*lines), fulfillmentOrders=rows())

    assert [(i.ordered, i.removed, i.shippable) for i in found.items] == [
        (3, 0, True), (3, 2, True), (1, 0, False), (1, 0, False), (2, 1, True), (2, 2, True),
    ]  # fmt: skip
    assert found.items[0] == Item(f"{LINE}1", 3, name="item 1")


def test_a_fulfilment_says_which_pieces_it_holds(make) -> None:
    held = rows({"quantity": 2, "lineItem": {"id": f"{LINE}11"}}, {"quantity": 1, "lineItem": {"id": f"{LINE}12"}})
    found = one(make, fulfillments=[part(1, "X1", fulfillmentLineItems=held)], shippingLine={"title": "Express"})

    (fulfilment,) = found.fulfilments
    assert fulfilment.quantities == ((f"{LINE}11", 2), (f"{LINE}12", 1))
    assert (found.service, fulfilment.service) == ("Express", "Express")


@pytest.mark.parametrize(
    ("method", "by_parcel"),
    [("SHIPPING", True), ("PICKUP_POINT", True), ("PICK_UP", False), ("LOCAL", False), ("RETAIL", False), ("NONE", False), ("DRONE", True)],
)  # fmt: skip
def test_what_is_picked_up_or_brought_by_the_merchant_is_no_parcel(make, method: str, by_parcel: bool) -> None:
    found = one(make, fulfillmentOrders=rows(route(1, [(11, 1, 0)], method=method)))

    assert (found.method, found.items[0].shippable) == (method, by_parcel)


def test_a_line_that_goes_both_ways_is_waited_for_and_one_of_a_cancelled_route_too(make) -> None:
    lines = rows(line(11, 2), line(12), line(13))
    routes = rows(
        route(1, [(11, 1, 0), (12, 1, 0)], method="PICK_UP", assignedLocation={"name": "Shop"}),
        route(2, [(11, 1, 0)]),
        route(3, [(13, 1, 0)], "CANCELLED", "LOCAL", assignedLocation={"name": "Barn"}),
    )
    found = one(make, lineItems=lines, fulfillmentOrders=routes)

    assert [i.shippable for i in found.items] == [True, False, True]
    assert (found.method, found.location) == ("SHIPPING", "Reno + Shop")


def test_of_methods_that_are_no_parcel_all_are_named(make) -> None:
    routes = rows(
        route(1, [(11, 1, 0)], method="PICK_UP"),
        route(2, [(11, 1, 0)], method="LOCAL", assignedLocation=None),
        route(3, [], deliveryMethod=None),
    )

    assert one(make, fulfillmentOrders=routes).method == "LOCAL + PICK_UP"


# what holds it


def test_holds_say_why_and_an_address_that_holds_an_order_is_flagged(make) -> None:
    held = [{"reason": "HIGH_RISK_OF_FRAUD"}, {"reason": "AWAITING_PAYMENT"}, {"reason": "A_NEW_ONE"}]
    routes = rows(
        route(1, [(11, 1, 1)], "ON_HOLD", fulfillmentHolds=held),
        route(2, [], "CLOSED", fulfillmentHolds=[{"reason": "OTHER"}]),
    )
    found = one(make, displayFulfillmentStatus="ON_HOLD", fulfillmentOrders=routes, lineItems=rows(line(11, left=1)))

    assert (found.status, found.raw_status) == (OrderStatus.ON_HOLD, "ON_HOLD")
    assert (found.status_reason, found.address) == ("a_new_one, awaiting_payment, high_risk_of_fraud", "confirmed")
    wrong = rows(route(1, [(11, 1, 1)], "ON_HOLD", fulfillmentHolds=[{"reason": "INCORRECT_ADDRESS"}]))
    assert one(make, fulfillmentOrders=wrong).address == "flagged"


def test_what_is_put_off_says_until_when(make) -> None:
    routes = rows(
        route(1, [], "SCHEDULED", fulfillAt="2026-12-24T10:00:00Z"),
        route(2, [], "SCHEDULED", fulfillAt="2026-12-20T23:00:00-05:00"),
    )
    found = one(make, displayFulfillmentStatus="SCHEDULED", fulfillmentOrders=routes)

    assert (found.status, found.status_reason) == (OrderStatus.CONFIRMED, "scheduled for 2026-12-21")


@pytest.mark.parametrize(
    ("address", "ships", "state", "country"),
    [
        ({"countryCodeV2": "CA", "validationResultSummary": "NO_ISSUES"}, True, "confirmed", "CA"),
        ({"countryCodeV2": "CA", "validationResultSummary": "WARNING"}, True, "unconfirmed", "CA"),
        ({"countryCodeV2": "CA", "validationResultSummary": "ERROR"}, True, "flagged", "CA"),
        ({"countryCodeV2": "CA", "validationResultSummary": None}, True, "", "CA"),
        ({"countryCodeV2": None, "validationResultSummary": None}, True, "missing", ""),
        (None, True, "missing", ""), (None, False, "", ""),
    ],
)  # fmt: skip
def test_of_an_address_only_its_country_and_its_state_are_told(
    make, address, ships: bool, state: str, country: str
) -> None:
    found = one(make, shippingAddress=address, lineItems=rows(line(11, requiresShipping=ships)))

    assert (found.address, found.ships_to) == (state, country)


def test_no_query_asks_for_a_name_a_street_or_a_phone() -> None:
    from adapters.shopify import reads

    texts = " ".join(text for text in vars(reads).values() if isinstance(text, str))
    for field in (
        "address1",
        "city",
        "zip",
        "phone",
        "email",
        "firstName",
        "customer {",
        "billingAddress",
        "author",
    ):
        assert field not in texts


@pytest.mark.parametrize(
    ("gateways", "says"),
    [([], ""), (["shopify_payments"], "shopify_payments"), (["gift_card", "Bank Deposit", "gift_card"], "gift_card + Bank Deposit"),
     (["gift_card", "Cash on Delivery (COD)"], "cod"), (None, "")],
)  # fmt: skip
def test_how_it_is_paid_is_said_in_the_gateways_word_and_cash_on_delivery_in_ours(make, gateways, says: str) -> None:
    assert one(make, paymentGatewayNames=gateways).pays_by == says


@pytest.mark.parametrize(
    ("word", "means"),
    [("PARTIALLY_REFUNDED", PaymentStatus.PARTIALLY_REFUNDED), ("EXPIRED", PaymentStatus.FAILED), ("VOIDED", PaymentStatus.FAILED),
     (None, PaymentStatus.PENDING), (" ", PaymentStatus.PENDING)],
)  # fmt: skip
def test_words_of_money_keep_their_own_beside_ours(make, word, means: PaymentStatus) -> None:
    found = one(make, displayFinancialStatus=word)

    assert (found.payment, found.raw_payment) == (means, (word or "").strip())


def test_a_word_of_money_that_nobody_knows_is_read_as_unknown_and_told(make) -> None:
    (found,), (unread,) = told(make, node(1, displayFinancialStatus="A_NEW_ONE"))

    assert (found.payment, found.raw_payment, found.partial) == (PaymentStatus.UNKNOWN, "A_NEW_ONE", False)
    assert unread.problem == "the word 'A_NEW_ONE' has no meaning: it is read as unknown"


@pytest.mark.parametrize("lines", [None, rows(), {"nodes": None}])
def test_a_fulfilment_that_names_no_line_is_never_the_whole_order(make, lines) -> None:
    there = part(1, "X1", fulfillmentLineItems=lines)
    (found,), (unread,) = told(make, node(1, fulfillments=[there]))

    assert found.partial
    assert (unread.problem, unread.lacks) == ("no fulfilment names a line of the order", "line")


def test_lines_that_a_fulfilment_names_and_the_order_does_not_tell_make_it_partial(make) -> None:
    there = part(1, "X1", fulfillmentLineItems=rows({"quantity": 1, "lineItem": {"id": f"{LINE}11"}}))
    (found,), (unread,) = told(make, node(1, fulfillments=[there], lineItems=rows()))

    assert found.partial
    assert unread.problem == "fulfilments name lines, and the order tells none"


def test_a_fulfilment_of_a_status_that_nobody_knows_is_told_and_completes_nothing(make) -> None:
    named = rows({"quantity": 1, "lineItem": {"id": f"{LINE}11"}})
    (found,), (unread,) = told(
        make, node(1, fulfillments=[part(1, "X1", status="A_NEW_ONE", fulfillmentLineItems=named)])
    )

    assert found.partial
    assert found.fulfilments[0].live  # its parcel is asked about
    assert unread.where == "$.data.nodes[0].fulfillments[0].status"


def test_a_test_order_a_reason_a_channel_a_risk_and_an_end_are_told(make) -> None:
    found = one(
        make, test=True, cancelledAt="2026-11-02T09:00:00Z", cancelReason="INVENTORY", sourceName="pos", risk={"recommendation": "CANCEL"},
        closedAt="2026-11-02T09:30:00Z", customerLocale="fr-CA",
    )  # fmt: skip

    assert (found.test, found.cancel_reason, found.channel, found.risk, found.locale) == (
        True,
        "inventory",
        "pos",
        "cancel",
        "fr-CA",
    )
    assert (found.closed_at, found.status) == (datetime(2026, 11, 2, 9, 30, tzinfo=UTC), OrderStatus.CANCELLED)


# who set its status


def event(action: str, hour: int, *, app: bool = False, user: bool = False) -> dict:
    return {
        "action": action,
        "createdAt": f"2026-11-02T{hour:02}:00:00Z",
        "attributeToApp": app,
        "attributeToUser": user,
    }


@pytest.mark.parametrize(
    ("more", "actor", "hour"),
    [
        ({"cancelledAt": "2026-11-02T09:00:00Z", "events": [event("mail_sent", 9), event("cancelled", 8, user=True)]}, "seller", 8),
        ({"events": [event("closed", 9), event("fulfillment_success", 7, app=True), event("fulfillment_success", 6)]}, "app", 7),
        ({"displayFulfillmentStatus": "PARTIALLY_FULFILLED", "events": [event("fulfillment_cancelled", 5), event("placed", 4)]}, "system", 5),
        ({"displayFulfillmentStatus": "UNFULFILLED", "events": [event("placed", 4)]}, "system", 4),
        ({"events": [event("a_new_one", 9), event("placed", 4)]}, "unknown", None),
        ({"displayFulfillmentStatus": "ON_HOLD", "events": [event("placed", 4)]}, "unknown", None),
    ],
)  # fmt: skip
def test_who_set_the_status_is_told_by_the_newest_event_that_sets_it(
    make, more: dict, actor: str, hour: int | None
) -> None:
    found = one(make, **{**more, "events": {"nodes": more["events"]}})

    assert (found.actor, found.status_at) == (actor, None if hour is None else datetime(2026, 11, 2, hour, tzinfo=UTC))


def test_since_when_it_stands_so_is_told_without_events_too(make) -> None:
    made = [
        part(1, createdAt="2026-11-01T12:00:00Z"),
        part(2, createdAt="2026-11-01T15:00:00Z"),
        part(3, status="CANCELLED", createdAt="2026-11-01T18:00:00Z"),
    ]
    for events in ({}, {"events": None}):
        plain = {k: v for k, v in node(1, fulfillments=made).items() if k != "events"} | events
        (found,), _ = told(make, plain)
        assert (found.actor, found.status_at) == ("unknown", datetime(2026, 11, 1, 15, tzinfo=UTC))
    assert one(make, cancelledAt="2026-11-02T09:00:00Z").status_at == datetime(2026, 11, 2, 9, tzinfo=UTC)


def test_an_odd_event_is_told_and_costs_no_order(make) -> None:
    (found,), unread = told(make, node(1, events={"nodes": [7, event("fulfillment_success", 7, user=True)]}))

    assert (found.actor, found.partial) == ("seller", False)
    assert [u.where for u in unread] == ["$.data.nodes[0].events.nodes[0]"]


# fulfilment orders that are not seen


def test_pieces_that_stand_in_no_fulfilment_order_that_we_see_are_told_and_still_wanted(make) -> None:
    lines = rows(line(11, 2, left=2), line(12, 1, left=1, requiresShipping=False), line(13, 2, 1, left=2))
    (found,), (unread,) = told(
        make,
        node(
            1, displayFulfillmentStatus="UNFULFILLED", lineItems=lines, fulfillmentOrders=rows(route(1, [(11, 2, 1)]))
        ),
    )

    assert unread.where == "$.data.nodes[0].fulfillmentOrders"
    assert unread.problem.startswith(
        "2 pieces are unfulfilled and stand in no fulfilment order that the app may see: grant read_"
    )
    assert (unread.lacks, found.partial) == ("", False)
    assert [i.ordered - i.removed for i in found.items if i.shippable] == [2, 1]


@pytest.mark.parametrize("more", [{"cancelledAt": "2026-11-02T09:00:00Z"}, {"closedAt": "2026-11-02T09:00:00Z"}])
def test_of_an_order_that_is_over_nothing_is_missed(make, more: dict) -> None:
    assert told(make, node(1, lineItems=rows(line(11, left=1)), fulfillmentOrders=rows(), **more))[1] == []


def test_right_after_an_order_was_placed_its_routing_may_still_run_and_nothing_is_concluded(make) -> None:
    young = node(1, createdAt="2026-11-02T08:00:00Z", lineItems=rows(line(11, left=1)), fulfillmentOrders=rows())
    at = datetime(2026, 11, 2, 8, tzinfo=UTC)

    assert told(make, young, at=at + timedelta(minutes=9))[1] == []
    assert [u.where for u in told(make, young, at=at + timedelta(minutes=10))[1]] == [
        "$.data.nodes[0].fulfillmentOrders"
    ]


def test_an_answer_without_fulfilment_orders_or_addresses_says_so_once(make) -> None:
    bare = [{k: v for k, v in node(n).items() if k not in ("fulfillmentOrders", "shippingAddress")} for n in (1, 2)]
    found, unread = told(make, *bare)

    assert [(o.method, o.location, o.address, o.ships_to) for o in found] == [("", "", "", "")] * 2
    assert [(u.where, u.lacks) for u in unread] == [
        ("$.data.nodes.fulfillmentOrders", "nothing"),
        ("$.data.nodes.shippingAddress", "nothing"),
    ]


# odd pieces


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"lineItems": None}, ".lineItems"), ({"lineItems": {"nodes": None}}, ".lineItems.nodes"), ({"fulfillmentOrders": {}}, ".fulfillmentOrders.nodes"),
        ({"fulfillmentOrders": None}, ".fulfillmentOrders"), ({"test": "no"}, ".test"), ({"risk": 7}, ".risk"), ({"shippingAddress": 7}, ".shippingAddress"),
    ],
)  # fmt: skip
def test_an_order_without_its_lines_or_routes_is_not_told(make, broken: dict, where: str) -> None:
    found, (unread,) = told(make, node(1, **broken), node(2))

    assert ([o.number for o in found], unread.where, unread.subject) == (["#2"], f"$.data.nodes[0]{where}", f"{GID}1")


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"lineItems": rows(line(11, quantity="2"))}, ".lineItems.nodes[0].quantity"), ({"lineItems": rows(line(11, id=None))}, ".lineItems.nodes[0].id"),
        ({"lineItems": rows(line(11, requiresShipping="no"))}, ".lineItems.nodes[0].requiresShipping"),
        ({"fulfillmentOrders": rows(route(1, [(11, 1, 0)], status=7))}, ".fulfillmentOrders.nodes[0].status"),
        ({"fulfillmentOrders": rows(route(1, [], deliveryMethod={}))}, ".fulfillmentOrders.nodes[0].deliveryMethod.methodType"),
        ({"fulfillmentOrders": rows(route(1, [], fulfillmentHolds=[{}]))}, ".fulfillmentOrders.nodes[0].fulfillmentHolds[0].reason"),
        ({"fulfillmentOrders": rows(route(1, [], lineItems=rows({"lineItem": 7})))}, ".fulfillmentOrders.nodes[0].lineItems.nodes[0].lineItem"),
        ({"fulfillments": [part(1, fulfillmentLineItems=rows({"quantity": None, "lineItem": {"id": "x"}}))]},
         ".fulfillments[0].fulfillmentLineItems.nodes[0].quantity"),
    ],
)  # fmt: skip
def test_a_line_or_a_route_that_cannot_be_read_makes_the_order_partial(make, broken: dict, where: str) -> None:
    (found,), unread = told(make, node(1, **broken))

    assert found.partial
    assert (unread[0].where, unread[0].subject, unread[0].lacks) == (f"$.data.nodes[0]{where}", f"{GID}1", "line")
