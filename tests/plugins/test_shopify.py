"""Shopify: conformance, signature vectors, requests, and what is its own."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.plugins.signing import digest
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
    WebhookRejected,
)
from tracker.domain.facts import Action, ChangeNotice, Order, Payload, Place, Refs, Since, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, Reason, ShippingStatus
from tracker.plugin.conformance import AT, for_platform
from tracker.plugin.contracts import Response

TestConformance = for_platform("adapters.shopify", fixtures=Path(__file__).parents[1] / "fixtures" / "shopify")
SHOP = "acme.myshopify.com"
GID = "gid://shopify/Order/"
URL = f"https://{SHOP}/admin/api/2026-04/graphql.json"
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
ORDER = Order("s", "gid://shopify/Order/1", "#1", OrderStatus.SHIPPED, "FULFILLED", PaymentStatus.PAID, "PAID", T0, T0)
ACTION = Action(
    "fulfilment_event", "k", "s", "gid://shopify/Order/1", "gid://shopify/Fulfillment/9", ShippingStatus.DELIVERED,
    Reason.DELIVERED, T0, Place("Austin", "TX", "78701", "US"), None,
)  # fmt: skip


def signed(body: bytes) -> dict[str, str]:
    return {"x-shopify-hmac-sha256": base64.b64encode(digest(body)).decode()}


def shop(make, **more):
    return make("adapters.shopify", shop=SHOP, **more)


# the vector is computed by the rule of shopify.dev (base64 of HMAC-SHA256 over the raw body); secret invented
SIGNED = b'{"id":820982911946154508,"admin_graphql_api_id":"gid://shopify/Order/820982911946154508","name":"#9999","note":"caf\xc3\xa9 / \xc3\xbcber"}'
SIGNATURE = "q1701ed8L7IoqVwB1MZQO22ZgK2w/S7hduR8JE0fYzo="


def test_the_signature_vector_verifies_and_a_reserialised_body_does_not(make) -> None:
    source, _ = shop(make, webhook_secrets=["new", "invented-shopify-client-secret"])
    headers = {"x-shopify-hmac-sha256": SIGNATURE, "x-shopify-webhook-id": "w1"}

    source.verify(Payload("s", "webhook", (SIGNED,), AT, headers))
    with pytest.raises(WebhookRejected):
        source.verify(Payload("s", "webhook", (json.dumps(json.loads(SIGNED)).encode(),), AT, headers))
    assert source.dedupe_key(Payload("s", "webhook", (SIGNED,), AT, headers)) == "w1"


def page(nodes: list[dict], *, more: bool = False, cursor: str | None = "c1") -> dict:
    return {"data": {"orders": {"pageInfo": {"hasNextPage": more, "endCursor": cursor}, "nodes": nodes}}}


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


def test_orders_are_read_fifty_at_a_time(outside, make) -> None:
    asked = outside.post(URL).respond(json={"data": {"nodes": []}})
    source, client = shop(make)

    ids = (*(f"{GID}{i}" for i in range(51)), "R1", "gid://shopify/Order/1/..", "..", "gid://shopify/Fulfillment/1")
    assert len(list(source.fetch(client, Refs(ids)))) == 2
    assert [len(json.loads(call.request.content)["variables"]["ids"]) for call in asked.calls] == [50, 1]


def odd(code: str = "", message: str = "Internal error. Looks like something went wrong on our end.") -> dict:
    return {"errors": [{"message": message, **({"extensions": {"code": code}} if code else {})}]}


def node(number: int, **more) -> dict:
    return {
        "id": f"{GID}{number}", "name": f"#{number}", "createdAt": "2026-11-01T10:00:00Z", "updatedAt": "2026-11-02T10:00:00Z",
        "cancelledAt": None, "displayFulfillmentStatus": "FULFILLED", "displayFinancialStatus": "PAID", "fulfillments": [], **more,
    }  # fmt: skip


def part(number: int, *numbers: str, **more) -> dict:
    return {
        "id": f"gid://shopify/Fulfillment/{number}", "status": "SUCCESS", "createdAt": "2026-11-01T12:00:00Z",
        "trackingInfo": [{"company": "UPS", "number": one} for one in numbers], "events": {"nodes": []}, **more,
    }  # fmt: skip


def by_id(*found: dict) -> dict:
    return {"data": {"nodes": list(found)}}


def answering(outside, answer):
    """Have the shop answer each call by its operation and variables."""

    def respond(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        return httpx.Response(200, json=answer(asked["query"].split()[1].partition("(")[0], asked["variables"]))

    return outside.post(URL).mock(side_effect=respond)


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


# lists that are full


def full(count: int, first: int = 0) -> list[dict]:
    return [part(i, f"X{i}") for i in range(first, first + count)]


@pytest.mark.parametrize("kind", ["read", "sweep"])
@pytest.mark.parametrize(
    ("there", "asked_for", "came", "rest"),
    [(19, [], 19, False), (20, [100], 20, False), (25, [100], 25, False), (130, [100, 250], 130, False), (300, [100, 250], 250, True)],
)  # fmt: skip
def test_a_full_list_of_fulfilments_is_asked_on(outside, make, kind, there, asked_for, came, rest) -> None:
    asked = []

    def answer(operation, variables):
        if operation == "Whole":
            asked.append(variables["most"])
            return {"data": {"order": {"id": variables["id"], "fulfillments": full(min(there, variables["most"]))}}}
        first, second = node(1, fulfillments=full(min(there, 20))), node(2, fulfillments=full(1))
        return by_id(first, second) if operation == "Read" else page([first, second])

    answering(outside, answer)
    source, client = shop(make)
    ask = Refs((f"{GID}1", f"{GID}2")) if kind == "read" else Since(None)
    (found,) = source.fetch(client, ask)
    items = list(source.normalize(Payload("s", kind, found.parts, AT)))

    assert asked == asked_for
    one, other = (item for item in items if isinstance(item, Order))
    assert (len(one.fulfilments), len(other.fulfilments), one.partial, other.partial) == (came, 1, rest, False)
    told = [item for item in items if not isinstance(item, Order)]
    assert [(u.where, u.subject, u.lacks, u.problem.split(":")[0]) for u in told] == (
        [("$.data.nodes[0].fulfillments" if kind == "read" else "$.data.orders.nodes[0].fulfillments", f"{GID}1", "rest", "incomplete")]
        if rest else []
    )  # fmt: skip


def test_a_fulfilment_with_a_full_list_of_numbers_is_asked_on(outside, make) -> None:
    numbers = [f"N{i}" for i in range(23)]

    def answer(operation, variables):
        here = [part(1, *numbers[: 20 if operation == "Read" else 100])]
        return (
            {"data": {"order": {"id": f"{GID}1", "fulfillments": here}}}
            if operation == "Whole"
            else by_id(node(1, fulfillments=here))
        )

    answering(outside, answer)
    source, client = shop(make)
    (found,) = source.fetch(client, Refs((f"{GID}1",)))
    (one,) = source.normalize(Payload("s", "read", found.parts, AT))

    assert [p.number for p in one.fulfilments[0].parcels] == numbers


@pytest.mark.parametrize("failure", [odd("MAX_COST_EXCEEDED"), odd(), {"data": None}, {"data": {"order": None}}])
def test_what_cannot_be_had_whole_is_told_and_in_a_sweep_asked_again_alone(outside, make, failure) -> None:
    answering(
        outside,
        lambda operation, _: failure if operation == "Whole" else page([node(1, fulfillments=full(20)), node(2)]),
    )
    source, client = shop(make)
    (found,) = source.fetch(client, Since(None))
    one, other, hint, unread = source.normalize(Payload("s", "sweep", found.parts, AT))

    assert (len(one.fulfilments), one.partial, other.partial, hint) == (20, True, False, ChangeNotice(f"{GID}1"))
    assert (unread.subject, unread.lacks) == (f"{GID}1", "rest")


def test_a_throttle_while_a_list_is_asked_on_keeps_the_page_from_being_stored(outside, make) -> None:
    answering(
        outside,
        lambda operation, _: odd("THROTTLED") if operation == "Whole" else page([node(1, fulfillments=full(20))]),
    )
    source, client = shop(make)
    with pytest.raises(RateLimited):
        list(source.fetch(client, Since(None)))


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
    here = part(1, "X1", createdAt="soon", trackingInfo=[{"company": 7, "number": "X1"}])
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


# answers that are none, and times that cannot be


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

    assert json.loads(asked.calls[0].request.content)["variables"] == {"first": 10, "after": None, "q": ""}
    assert found.next_cursor == "2026-11-02T10:00:00+00:00|"


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (402, {"errors": "Unavailable Shop"}, Unavailable, "HTTP 402: Unavailable Shop"),
        (423, {"errors": "Locked"}, Unavailable, "HTTP 423: Locked"), (430, {}, Unavailable, "HTTP 430: shut out for a while"),
        (402, None, Unavailable, "HTTP 402: frozen or unpaid"), (404, {"errors": "Not Found"}, Unavailable, "HTTP 404: Not Found"),
        (404, None, Unavailable, "HTTP 404: no shop"), (403, {"errors": "x"}, CredentialsRejected, "HTTP 403"),
        (200, {"errors": "Unavailable Shop"}, Unavailable, "GraphQL error: Unavailable Shop"),
        (200, odd(), Transient, "GraphQL error: Internal error. Looks like"), (200, odd("SHOP_INACTIVE", "no"), Unavailable, "SHOP_INACTIVE: no"),
        (200, odd("undefinedField", "no"), Refused, "undefinedField: no"), (200, {"errors": {"query": "Required"}}, Unavailable, "GraphQL error"),
        (200, {"errors": ["text"]}, Unavailable, "GraphQL error"), (200, {"errors": [{"message": "x", "extensions": 7}]}, Transient, "x"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_judged_by_what_a_person_should_read(make, status, body, error, said) -> None:
    source, _ = shop(make)
    with pytest.raises(error, match=said):
        source.raise_for_status(Response(status, {}, b"" if body is None else json.dumps(body).encode(), AT))


def test_an_answer_that_mentions_errors_and_cannot_be_read_is_no_answer_to_judge(make) -> None:
    shop(make)[0].raise_for_status(Response(200, {}, b'{"errors"', AT))


def test_orders_older_than_sixty_days_are_out_of_sight_without_the_right_to_read_all(make) -> None:
    assert shop(make)[0].reads_back() == timedelta(days=60)
    assert shop(make, read_all_orders=True)[0].reads_back() is None


def events(*nodes: dict) -> dict:
    return {"data": {"fulfillment": {"id": "f", "status": "SUCCESS", "events": {"nodes": list(nodes)}}}}


def test_a_push_looks_before_it_writes(outside, make) -> None:
    there = {"id": "e1", "status": "DELIVERED", "happenedAt": "2026-11-02T08:02:00Z"}
    asked = outside.post(URL).respond(
        json=events({"id": "e0", "status": "IN_TRANSIT", "happenedAt": "2026-11-02T08:00:00Z"}, there)
    )
    source, client = shop(make)

    receipt = source.push(client, ACTION, ORDER)

    assert (receipt.ref, receipt.already_there) == ("e1", True)
    assert asked.call_count == 1


def test_a_push_writes_the_event_with_place_and_time(outside, make) -> None:
    made = {"fulfillmentEventCreate": {"fulfillmentEvent": {"id": "e2", "status": "DELIVERED"}, "userErrors": []}}
    old = {"id": "e1", "status": "DELIVERED", "happenedAt": "2026-11-01T08:02:00Z"}
    answers = iter([events(old), {"data": made}])
    asked = outside.post(URL).mock(side_effect=lambda _: httpx.Response(200, json=next(answers)))
    source, client = shop(make)

    receipt = source.push(client, ACTION, ORDER)

    assert (receipt.ref, receipt.already_there) == ("e2", False)
    assert json.loads(asked.calls[1].request.content)["variables"]["e"] == {
        "fulfillmentId": "gid://shopify/Fulfillment/9", "status": "DELIVERED", "happenedAt": "2026-11-02T08:00:00Z",
        "message": "Delivered; nothing finer is told.", "city": "Austin", "province": "TX", "country": "US", "zip": "78701",
    }  # fmt: skip


def test_a_user_error_is_final(outside, make) -> None:
    refusal = {"fulfillmentEventCreate": {"fulfillmentEvent": None, "userErrors": [{"field": [], "message": "no"}]}}
    answers = iter([events(), {"data": refusal}])
    outside.post(URL).mock(side_effect=lambda _: httpx.Response(200, json=next(answers)))
    source, client = shop(make)

    with pytest.raises(Refused, match="no"):
        source.push(client, ACTION, ORDER)


def test_a_fulfilment_that_is_gone_cannot_be_written(outside, make) -> None:
    outside.post(URL).respond(json={"data": {"fulfillment": None}})
    source, client = shop(make)

    with pytest.raises(Transient, match="not there"):
        source.push(client, ACTION, ORDER)


def cost(available: float, rate: float = 50.0) -> dict:
    status = {"maximumAvailable": 1000.0, "currentlyAvailable": available, "restoreRate": rate}
    return {"extensions": {"cost": {"requestedQueryCost": 12, "throttleStatus": status}}}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}], **cost(10)}, RateLimited),
        ({"errors": [{"message": "x", "extensions": {"code": "ACCESS_DENIED"}}]}, CredentialsRejected),
        ({"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}, Transient),
        ({"errors": [{"message": "syntax", "extensions": {"code": "undefinedField"}}]}, Refused),
    ],
)
def test_errors_inside_http_200_are_judged(make, body: dict, error: type[Exception]) -> None:
    source, _ = shop(make)

    with pytest.raises(error):
        source.raise_for_status(Response(200, {}, json.dumps(body).encode(), AT))


def test_an_empty_list_of_errors_is_no_error(make) -> None:
    source, _ = shop(make)

    source.raise_for_status(Response(200, {}, b'{"errors": [], "data": {}}', AT))


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        (cost(10), timedelta(seconds=1)),
        (cost(60), None),
        (cost(1000), None),
        (cost(0, 0.0), None),
        ({"extensions": {"cost": {"throttleStatus": {}}}}, None),
        ({}, None),
    ],
)
def test_the_account_rests_until_its_bucket_holds_the_largest_call(make, body: dict, rest: timedelta | None) -> None:
    source, _ = shop(make)

    assert source.throttle_delay(Response(200, {}, json.dumps(body).encode(), AT)) == rest


def test_client_credentials_are_exchanged_for_a_token(outside, make) -> None:
    grant = outside.post(f"https://{SHOP}/admin/oauth/access_token").respond(
        json={"access_token": "t", "expires_in": 86399}
    )
    asked = outside.post(URL).respond(json={"data": {"shop": {"name": "x"}}})
    source, client = shop(make, access_token=None, client_id="id", client_secret="secret", refresh_token=None)

    source.ping(client)

    assert json.loads(grant.calls[0].request.content)["grant_type"] == "client_credentials"
    assert asked.calls[0].request.headers["x-shopify-access-token"] == "t"


class Vault:
    def __init__(self) -> None:
        self.value: str | None = None

    def load(self) -> str | None:
        return self.value

    def store(self, value: str) -> None:
        self.value = value


def test_a_refresh_token_rotates_and_is_stored_before_it_is_used(outside, make) -> None:
    import httpx

    tokens = iter(["r1", "r2"])
    grant = outside.post(f"https://{SHOP}/admin/oauth/access_token").mock(
        side_effect=lambda _: httpx.Response(
            200, json={"access_token": "t", "expires_in": 60, "refresh_token": next(tokens)}
        )
    )
    outside.post(URL).respond(json={"data": {"shop": {"name": "x"}}})
    source, client = shop(make, access_token=None, client_id="id", client_secret="secret", refresh_token="first")
    client.vault = Vault()

    source.ping(client)
    assert client.vault.value == "r1"
    source.ping(client)  # it ended: one more rotation

    sent = [json.loads(c.request.content) for c in grant.calls]
    assert [(s["grant_type"], s["refresh_token"]) for s in sent] == [
        ("refresh_token", "first"),
        ("refresh_token", "r1"),
    ]
    assert client.vault.value == "r2"


def test_without_any_credentials_it_says_so(make) -> None:
    source, client = shop(make, access_token=None, client_id=None, client_secret=None)

    with pytest.raises(CredentialsRejected, match="neither"):
        source.ping(client)


def test_words_can_be_changed_and_taken_away(make) -> None:
    source, _ = shop(make, words={"returning": "IN_TRANSIT", "pre_transit": None})

    assert source.status_map()[ShippingStatus.RETURNING] == "IN_TRANSIT"
    assert ShippingStatus.PRE_TRANSIT not in source.status_map()


def heard(make, topic: str, body: dict) -> list:
    headers = {"x-shopify-topic": topic} if topic else {}
    return list(shop(make)[0].normalize(Payload("s", "webhook", (json.dumps(body).encode(),), AT, headers)))


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("orders/updated", {"id": 1001}), ("Orders/Create ", {"id": "1001"}), ("orders/edited", {"order_edit": {"id": 7, "order_id": 1001}}),
        ("orders/risk_assessment_changed", {"order_id": 1001, "id": 7}), ("fulfillments/update", {"id": 7, "order_id": 1001}),
        ("fulfillment_events/create", {"id": 7, "order_id": 1001}), ("refunds/create", {"id": 7, "order_id": 1001}),
        ("returns/approve", {"id": 7, "order": {"id": 1001}}), ("returns/update", {"id": 7, "order": {"id": "gid://shopify/Order/1001"}}),
        ("returns/close", {"id": 7, "order_id": 1001}), ("order_transactions/create", {"id": 7, "order_id": 1001}),
        ("disputes/create", {"id": 7, "order_id": 1001}), ("something/new", {"id": 7, "order": {"id": 1001}}),
        ("fulfillment_orders/moved", {"fulfillment_order": {"id": 7, "order_id": 1001}}),
        ("", {"order_edit": {"id": 7, "order_id": 1001}}), ("", {"id": 7, "order_id": 1001}), ("", {"id": 7, "order": {"id": 1001}}), ("", {"id": 1001}),
    ],
)  # fmt: skip
def test_the_topic_says_where_a_webhook_names_its_order(make, topic, body) -> None:
    assert heard(make, topic, body) == [ChangeNotice(f"{GID}1001")]


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("", {"id": True}), ("", {"id": "abc"}), ("", {}), ("", {"order_id": "1; DROP"}), ("", {"id": -5}), ("", {"id": "gid://shopify/Order/1/../2"}),
        ("orders/updated", {"id": None}), ("orders/edited", {"id": 7, "order_edit": {}}), ("fulfillments/create", {"id": 7}),
        ("refunds/create", {"id": 7}), ("returns/request", {"id": 7, "order": []}),
    ],
)  # fmt: skip
def test_a_webhook_about_an_order_that_names_none_is_a_bad_payload(make, topic, body) -> None:
    with pytest.raises(BadPayload, match="names no order"):
        heard(make, topic, body)


@pytest.mark.parametrize(
    "topic",
    ["app/uninstalled", "shop/update", "bulk_operations/finish", "fulfillment_holds/added", "draft_orders/create"],
)
def test_a_webhook_of_another_topic_is_told_and_its_own_id_is_no_order(make, topic) -> None:
    assert heard(make, topic, {"id": 7}) == [
        Unread("$", f"a webhook of the topic {topic!r} names no order", lacks="nothing")
    ]


def test_what_is_no_fulfilment_event_is_refused_before_any_call(make) -> None:
    source, client = shop(make)
    with pytest.raises(Refused, match="fulfilment events only"):
        source.push(client, Action("order_note", "k", "s", "gid://shopify/Order/1", text="x"), ORDER)
