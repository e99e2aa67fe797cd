"""Magento: who we are in three ways, sweeps that lose nothing, reads, and what its answers mean."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx
import pytest
from pydantic import ValidationError

from adapters.magento.answers import filled
from tracker.domain.errors import (
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Refs, Since
from tracker.plugin.calls import Request, Response
from tracker.plugin.conformance import AT, example_settings, plugin_of
from tracker.plugin.oauth import oauth1

BASE = "https://shop.example.com"
REST = f"{BASE}/rest/all/V1"
SIGNED = {"consumer_key": "ck", "consumer_secret": "cs", "access_token": "at", "access_token_secret": "ts"}
CLOUD = {
    "base_url": "https://na1.api.commerce.adobe.com/tenant", "access_token": None, "client_id": "c" * 32, "client_secret": "s",
    "ims_org_id": "o@AdobeOrg",
}  # fmt: skip
IMS = "https://ims-na1.adobelogin.com/ims/token/v3"
Asked = list[tuple[str, dict[str, str]]]


def shop(make: Any, **more: Any) -> Any:
    return make("adapters.magento", **more)


def stamp(minutes: int) -> str:
    return f"{datetime(2026, 11, 2, 8, 0) + timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S}"


def rows(name: str, *ids: int, total: int | None = None, **more: Any) -> httpx.Response:
    items = [
        {"entity_id": i, "updated_at": stamp(i), **({"order_id": i + 40} if name == "shipments" else {}), **more}
        for i in ids
    ]
    return httpx.Response(200, json={"items": items, "total_count": len(ids) if total is None else total})


def answering(outside: Any, told: Callable[[str, dict[str, str]], httpx.Response]) -> Asked:
    """Answer each list by `told`; returns what was asked: the list, its filters by field, and `size`."""
    asked: Asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        query = dict(parse_qsl(request.url.query.decode()))
        filters = {
            query[f"searchCriteria[filterGroups][{at}][filters][0][field]"]:
            f"{query[f'searchCriteria[filterGroups][{at}][filters][0][conditionType]']} {query[f'searchCriteria[filterGroups][{at}][filters][0][value]']}"
            for at in range(3) if f"searchCriteria[filterGroups][{at}][filters][0][field]" in query
        }  # fmt: skip
        assert query["searchCriteria[sortOrders][0][field]"] == "entity_id"
        assert query["searchCriteria[currentPage]"] == "1"
        assert int(query["searchCriteria[pageSize]"]) <= 300
        asked.append((request.url.path.rpartition("/")[2], filters))
        return told(*asked[-1])

    outside.get(url__startswith=REST).mock(side_effect=answer)
    return asked


# who we are


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"access_token": None}, "set access_token"), ({**CLOUD, "access_token": "t"}, "set access_token"),
        ({"consumer_key": "ck"}, "OAuth 1.0a takes"), ({"access_token_secret": "ts"}, "OAuth 1.0a takes"),
        ({"client_id": "c"}, "the Cloud Service takes"), ({**SIGNED, "access_token": None}, "OAuth 1.0a takes"),
    ],
)  # fmt: skip
def test_settings_that_prove_who_we_are_in_no_way_or_in_two_are_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        example_settings(plugin_of("adapters.magento"), **more)


def test_an_integrations_token_goes_as_bearer_and_a_401_says_that_a_merchant_must_enable_it(make, outside) -> None:
    source, client = shop(make, access_token="at")
    body = {
        "message": "The consumer isn't authorized to access %resources.",
        "parameters": {"resources": "Magento_Sales::actions_view"},
    }
    route = outside.get(url__startswith=f"{REST}/orders").mock(return_value=httpx.Response(401, json=body))

    with pytest.raises(CredentialsRejected, match=r"access Magento_Sales::actions_view.*enable_integration_as_bearer"):
        source.ping(client)
    assert route.calls[0].request.headers["authorization"] == "Bearer at"
    with pytest.raises(CredentialsRejected) as told:
        shop(make, **SIGNED)[0].raise_for_status(
            Response(401, {}, json.dumps({"message": "The signature is invalid."}).encode(), AT)
        )
    assert str(told.value) == "HTTP 401: The signature is invalid."


def test_requests_are_signed_with_every_bracket_of_the_search(make, outside) -> None:
    source, client = shop(make, **SIGNED)
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return rows("orders")

    outside.get(url__startswith=REST).mock(side_effect=answer)
    source.ping(client)
    for request in seen:
        told = dict(
            part.strip().split("=", 1) for part in request.headers["authorization"].removeprefix("OAuth ").split(",")
        )
        told = {name: httpx.QueryParams(f"v={value.strip(chr(34))}")["v"] for name, value in told.items()}
        given = told.pop("oauth_signature")
        pairs = [*parse_qsl(request.url.query.decode(), keep_blank_values=True), *told.items()]
        joined = "&".join(f"{n}={v}" for n, v in sorted((enc(n), enc(v)) for n, v in pairs))
        assert "searchCriteria%5BpageSize%5D=1" in joined
        address = f"https://shop.example.com{request.url.path}"
        assert given == sign(f"GET&{enc(address)}&{enc(joined)}", "cs", "ts")
        assert told["oauth_timestamp"] == str(int(client.now().timestamp()))
        assert (told["oauth_signature_method"], told["oauth_consumer_key"], told["oauth_token"]) == (
            "HMAC-SHA256",
            "ck",
            "at",
        )
    nonces = {request.headers["authorization"].partition('oauth_nonce="')[2][:32] for request in seen}
    assert len(nonces) == len(seen) == 2


def enc(text: str) -> str:
    return quote(text, safe="~")


def sign(base: str, consumer: str, token: str, how: str = "sha256") -> str:
    return base64.b64encode(hmac.new(f"{enc(consumer)}&{enc(token)}".encode(), base.encode(), how).digest()).decode()


def test_a_signature_is_over_the_base_string_of_rfc_5849() -> None:
    base = (  # RFC 5849 1.2: its parameters, which sign to its published HMAC-SHA1 value
        "GET&http%3A%2F%2Fphotos.example.net%2Fphotos&file%3Dvacation.jpg%26oauth_consumer_key%3Ddpf43f3p2l4k3l03%26oauth_nonce%3DchapoH"
        "%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131202%26oauth_token%3Dnnch734d00sl2jdk%26size%3Doriginal"
    )
    secrets = "kd94hf93k423kf44", "pfkkdhi9sl3r4s00"
    assert sign(base, *secrets, how="sha1") == "MdpQcU8iPSUjWoN/UDMsK2sui9I="

    request = Request(
        "GET", "http://photos.example.net/photos", {"file": "vacation.jpg", "size": "original"}, {"Accept": "x"}
    )
    signed = oauth1(
        request, ("dpf43f3p2l4k3l03", secrets[0]), ("nnch734d00sl2jdk", secrets[1]), datetime.fromtimestamp(137131202, UTC), "chapoH"
    )  # fmt: skip
    ours = base.replace("HMAC-SHA1", "HMAC-SHA256").replace("%26size", "%26oauth_version%3D1.0%26size")
    assert f'oauth_signature="{enc(sign(ours, *secrets))}"' in signed.headers["Authorization"]
    assert (signed.headers["Accept"], signed.url, signed.params) == ("x", request.url, request.params)


def test_several_values_of_one_name_are_signed_each() -> None:
    both = oauth1(Request("GET", "https://x.example/a", {"a": ("1", "2")}), ("c", "s"), ("t", "u"), AT, "n")
    one = oauth1(Request("GET", "https://x.example/a", {"a": "1"}), ("c", "s"), ("t", "u"), AT, "n")
    bare = oauth1(Request("POST", "https://x.example/a"), ("c", "s"), ("t", "u"), AT, "n")
    assert len({r.headers["Authorization"] for r in (both, one, bare)}) == 3


def test_a_nonce_that_is_used_says_that_an_earlier_try_arrived_and_nothing_of_our_keys(make) -> None:
    body = {"message": "The nonce is already being used by the consumer with ID %1.", "parameters": [3]}
    with pytest.raises(Transient, match="ID 3"):
        shop(make, **SIGNED)[0].raise_for_status(Response(401, {}, json.dumps(body).encode(), AT))


def test_the_cloud_service_takes_a_token_of_ims_which_is_asked_anew_once_where_it_ended(make, outside) -> None:
    source, client = shop(make, **CLOUD)
    tokens = iter(["one", "two"])
    grant = outside.post(IMS).mock(
        side_effect=lambda _: httpx.Response(200, json={"access_token": next(tokens), "expires_in": 86399})
    )
    ended = [httpx.Response(401, json={"message": "Oauth token is not valid"}), rows("orders"), rows("orders")]
    route = outside.get(url__startswith=f"{CLOUD['base_url']}/V1/").mock(side_effect=ended)

    source.ping(client)
    form = dict(parse_qsl(grant.calls[0].request.content.decode()))
    assert (form["grant_type"], form["client_id"], form["client_secret"]) == ("client_credentials", "c" * 32, "s")
    assert "commerce.accs" in form["scope"].split(",")
    headers = [call.request.headers for call in route.calls]
    assert [h["authorization"] for h in headers] == ["Bearer one", "Bearer two", "Bearer two"]
    assert {(h["x-api-key"], h["x-gw-ims-org-id"]) for h in headers} == {("c" * 32, "o@AdobeOrg")}
    assert "authorization" not in grant.calls[0].request.headers
    assert (source.token_lasts, shop(make)[0].token_lasts) == (timedelta(days=1), None)


# sweeping


def test_orders_then_shipments_are_swept_each_by_its_own_mark_and_every_order_with_its_shipments(make, outside) -> None:
    source, client = shop(make)

    def told(what: str, filters: dict[str, str]) -> httpx.Response:
        if what == "orders":
            return rows("orders", 41) if "updated_at" in filters else rows("orders", 42, 43)
        return rows("shipments", 2, 3) if "updated_at" in filters else rows("shipments", 9)

    asked = answering(outside, told)
    mark = json.dumps({"orders": "2026-11-02T08:30:00+00:00", "shipments": "2026-11-02T07:00:00+00:00"})
    pages = list(source.fetch(client, Since(mark)))

    assert asked == [
        ("orders", {"updated_at": "gteq 2026-11-02 08:20:00"}), ("shipments", {"order_id": "in 41"}),
        ("shipments", {"updated_at": "gteq 2026-11-02 06:50:00"}), ("orders", {"entity_id": "in 42,43"}), ("shipments", {"order_id": "in 42,43"}),
    ]  # fmt: skip
    assert [len(page.parts) for page in pages] == [2, 2]
    last = json.loads(pages[-1].next_cursor or "")
    # the newest change of each list by the shop's clock, never back
    assert last == {"orders": "2026-11-02T08:41:00+00:00", "shipments": "2026-11-02T08:03:00+00:00", "kind": "orders"}


def test_a_sweep_without_news_costs_one_request_a_list(make, outside) -> None:
    source, client = shop(make)
    asked = answering(outside, lambda what, _: rows(what))
    pages = list(
        source.fetch(
            client, Since(json.dumps({"orders": "2026-11-02T08:30:00+00:00", "shipments": "2026-11-02T08:30:00+00:00"}))
        )
    )
    assert [what for what, _ in asked] == ["orders", "shipments"]
    assert json.loads(pages[-1].next_cursor or "")["orders"] == "2026-11-02T08:30:00+00:00"


def test_a_long_list_goes_on_behind_the_last_id_and_from_there_after_a_failure(make, outside) -> None:
    source, client = shop(make)
    left = [[1, 2], [5, 8], [9]]

    def told(what: str, filters: dict[str, str]) -> httpx.Response:
        if what == "shipments":
            return rows(what)
        page = left.pop(0)
        return rows("orders", *page, total=len(page) + sum(map(len, left)))

    asked = answering(outside, told)
    pages = iter(source.fetch(client, Since(None)))
    first, second = next(pages), next(pages)
    assert json.loads(second.next_cursor or "")["after"] == 8
    assert json.loads(first.next_cursor or "")["after"] == 2
    list(source.fetch(client, Since(second.next_cursor)))
    ids = [filters.get("entity_id") for what, filters in asked if what == "orders"]
    assert ids == [None, "gt 2", "gt 8"]
    assert all("updated_at" not in filters for what, filters in asked if what == "orders")  # all there is


def test_a_first_sweep_reads_what_moved_in_so_many_days_by_the_shops_clock(make, outside) -> None:
    source, client = shop(make, first_sync_days=2, zone="Europe/Berlin")
    asked = answering(outside, lambda what, _: rows(what))
    list(source.fetch(client, Since(None, open_only=True)))
    assert [filters["updated_at"] for _, filters in asked] == [
        "gteq 2026-10-31 12:50:00"
    ] * 2  # 12:00Z is 13:00, less the overlap


def test_a_mark_is_never_later_than_our_clock_and_one_that_is_ahead_of_it_is_not_believed(make, outside) -> None:
    source, client = shop(make)
    asked = answering(
        outside, lambda what, _: rows(what, 500) if what == "orders" else rows(what)
    )  # 08:20 later: 16:20
    pages = list(source.fetch(client, Since(json.dumps({"orders": "2027-01-01T00:00:00+00:00"}))))
    assert "updated_at" not in asked[0][1]
    assert json.loads(pages[-1].next_cursor or "")["orders"] == "2026-11-02T12:00:00+00:00"


def test_orders_of_very_many_shipments_are_read_in_several_pages(make, outside) -> None:
    source, client = shop(make)
    shipments = [rows("shipments", 1, 2, total=3), rows("shipments", 3)]
    asked = answering(
        outside,
        lambda what, _: rows("orders", 41) if what == "orders" else (shipments.pop(0) if shipments else rows(what)),
    )
    first = next(iter(source.fetch(client, Since(None))))
    assert len(first.parts) == 3
    assert asked[2] == ("shipments", {"order_id": "in 41", "entity_id": "gt 2"})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, "without its list"), ([], "without its list"), ({"items": None, "total_count": 3}, "without its list"), ({"items": []}, "without its list"),
        ({"items": {}, "total_count": 1}, "without its list"), ({"items": [], "total_count": 3}, "tells none"), ({"items": [], "total_count": True}, "without"),
        ({"items": [{"entity_id": 2}, {"entity_id": 1}], "total_count": 2}, "out of order"),
    ],
)  # fmt: skip
def test_an_answer_without_its_list_is_no_empty_one(make, outside, answer: Any, said: str) -> None:
    source, client = shop(make)
    outside.get(url__startswith=REST).mock(return_value=httpx.Response(200, json=answer))
    with pytest.raises(Unavailable, match=said):
        list(source.fetch(client, Since(None)))


def test_a_list_that_says_null_where_there_is_nothing_is_empty(make, outside) -> None:
    source, client = shop(make)
    outside.get(url__startswith=REST).mock(return_value=httpx.Response(200, json={"items": None, "total_count": 0}))
    assert len(list(source.fetch(client, Since(None)))) == 2


def test_an_address_that_is_none_is_told_with_the_settings_that_make_it(make, outside) -> None:
    source, client = shop(make, store_code="nowhere")
    outside.get(url__startswith=BASE).mock(
        return_value=httpx.Response(404, json={"message": "Request does not match any route."})
    )
    with pytest.raises(Unavailable, match=r"rest/nowhere/V1/orders.*base_url or store_code is wrong"):
        list(source.fetch(client, Since(None)))


# reading one by one


def test_an_order_is_read_with_its_shipments_and_without_anybodys_name(make, outside) -> None:
    source, client = shop(make)
    route = outside.get(f"{REST}/orders/42").mock(return_value=httpx.Response(200, json={"entity_id": 42}))
    asked = answering(outside, lambda what, _: rows(what, 7))
    (page,) = source.fetch(client, Refs(("42", "x", "../9", "\u0664")))

    assert (len(page.parts), asked) == (2, [("shipments", {"order_id": "eq 42"})])
    fields = dict(route.calls[0].request.url.params)["fields"]
    assert not [
        name for name in ("customer", "firstname", "street", "telephone", "email", "postcode") if name in fields
    ]


def test_an_order_that_is_not_there_is_left_out_and_an_answer_without_it_is_none(make, outside) -> None:
    source, client = shop(make)
    outside.get(f"{REST}/orders/42").mock(return_value=httpx.Response(404, json={"message": "gone"}))
    assert list(source.fetch(client, Refs(("42",)))) == []
    outside.get(f"{REST}/orders/42").mock(return_value=httpx.Response(200, json=[]))
    with pytest.raises(Transient, match="without its order"):
        list(source.fetch(client, Refs(("42",))))


# what answers mean


@pytest.mark.parametrize(
    ("message", "parameters", "said"),
    [
        ('The status "%1" is not part', ["shipped"], 'The status "shipped" is not part'), ("%1 of %2", [1, "b"], "1 of b"),
        ("%fieldName is required", {"fieldName": "x"}, "x is required"), ("%10 %1", [*"abcdefghij"], "j a"), ("%1 and %2", ["a"], "a and %2"),
        ("%1", None, "%1"), (7, ["a"], ""), ("100%", ["a"], "100%"), ("%1", [["a"]], "%1"),
    ],
)  # fmt: skip
def test_a_message_is_filled_in(message: Any, parameters: Any, said: str) -> None:
    assert filled(message, parameters) == said


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "said"),
    [
        (400, {}, {"message": "%1 is wrong", "parameters": ["it"], "errors": [{"message": "as %a", "parameters": {"a": "b"}}, 7], "trace": "#0 /var"},
         Refused, "HTTP 400: it is wrong; as b"),
        (404, {}, {}, NotFound, "HTTP 404"), (405, {}, {}, Refused, "HTTP 405"), (503, {}, {"message": "Service Temporarily Unavailable"}, Transient, "503"),
        (503, {"retry-after": "60"}, {}, RateLimited, "503"), (403, {}, b"no", CredentialsRejected, "HTTP 403"), (500, {}, b"{", Transient, "500"),
        (401, {}, {"message": "x", "parameters": []}, CredentialsRejected, "HTTP 401: x"), (401, {}, b"x", CredentialsRejected, "HTTP 401"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_judged_by_what_to_do_next(
    make, status: int, headers: Any, body: Any, kind: Any, said: str
) -> None:
    source, _ = shop(make)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(kind, match=said) as told:
        source.raise_for_status(Response(status, headers, raw, AT))
    assert "trace" not in str(told.value)
    assert "/var" not in str(told.value)


def test_a_busy_host_is_waited_for_as_it_says_and_else_five_seconds(make) -> None:
    for headers, wait in (({}, 5), ({"retry-after": "17"}, 17)):
        with pytest.raises(RateLimited) as told:
            shop(make)[0].raise_for_status(Response(429, headers, b"{}", AT))
        assert told.value.after == timedelta(seconds=wait)


def test_at_most_four_requests_go_side_by_side(make) -> None:
    assert shop(make)[0].limits.side_by_side == 4


# what is there


def test_check_says_that_open_source_tells_nothing_by_itself(make, outside) -> None:
    source, client = shop(make, events_client_id=None)
    (said,) = source.look_around(client)
    assert "its sweeps do" in said
    assert list(shop(make)[0].look_around(client)) == []


def test_check_says_of_the_cloud_service_which_statuses_can_be_set_and_which_have_no_meaning(make, outside) -> None:
    statuses = {"shipped": "shipped", "delivered": "delivered", "lost_one": "returned"}
    source, client = shop(make, **CLOUD, statuses=statuses)
    outside.post(IMS).mock(return_value=httpx.Response(200, json={"access_token": "t", "expires_in": 60}))
    told = [
        {"status": "delivered", "state": "complete"}, {"status": "delivered", "state": "processing"}, {"status": "shipped", "state": None},
        {"status": "closed", "state": "closed"}, {"status": "on_backorder", "state": "processing"},
    ]  # fmt: skip
    outside.get(f"{CLOUD['base_url']}/V1/order-statuses").mock(return_value=httpx.Response(200, json=told))
    said = list(source.look_around(client))
    assert [one.partition(", so")[0].partition(":")[0] for one in said] == [
        "its status shipped is assigned to no state", "its status delivered can be set while an order is complete or processing",
        "its status lost_one is not there", "its status on_backorder has no meaning",
    ]  # fmt: skip


def test_a_change_whose_time_cannot_be_read_moves_no_mark(make, outside) -> None:
    source, client = shop(make)
    answering(outside, lambda what, _: rows(what, 5, updated_at="yesterday") if what == "orders" else rows(what))
    pages = list(source.fetch(client, Since(json.dumps({"orders": "2026-11-02T08:00:00+00:00"}))))
    assert json.loads(pages[-1].next_cursor or "")["orders"] == "2026-11-02T08:00:00+00:00"


def test_an_order_of_shipments_without_end_is_read_as_far_as_fifty_pages(make, outside) -> None:
    source, client = shop(make)
    outside.get(f"{REST}/orders/42").mock(return_value=httpx.Response(200, json={"entity_id": 42}))
    last = iter(range(1, 1000))
    asked = answering(outside, lambda what, _: rows(what, next(last), total=999))
    (page,) = source.fetch(client, Refs(("42",)))
    assert (len(asked), len(page.parts)) == (50, 51)  # and the parser tells that there are more


def test_shipments_that_are_young_are_read_anew_where_another_app_adds_numbers_late(make, outside) -> None:
    source, client = shop(make, late_tracks_hours=24)
    seen: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(dict(request.url.params))
        return rows("orders")

    outside.get(url__startswith=REST).mock(side_effect=answer)
    list(
        source.fetch(
            client, Since(json.dumps({"orders": "2026-11-02T08:00:00+00:00", "shipments": "2026-11-02T08:00:00+00:00"}))
        )
    )
    orders, shipments = ({n[14:]: v for n, v in one.items() if "[filters][1]" in n} for one in seen)
    assert orders == {}
    assert shipments == {  # in the same group: either is enough
        "[filterGroups][0][filters][1][field]": "created_at", "[filterGroups][0][filters][1][conditionType]": "gteq",
        "[filterGroups][0][filters][1][value]": "2026-11-01 12:00:00",
    }  # fmt: skip
