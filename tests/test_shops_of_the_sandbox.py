"""What sandbox shops do as the real ones do: they send webhooks again, give them up, and let only so many calls through."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tracker.clock import PlayClock
from tracker.sandbox.fakes.bigcommerce import BigCommerceServer
from tracker.sandbox.fakes.rest import RestServer
from tracker.sandbox.fakes.shopify import ShopifyServer
from tracker.sandbox.scenario import Fault, Place
from tracker.sandbox.servers import FakeServers
from tracker.sandbox.shop import Shop
from tracker.sandbox.used import StoreUsed

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
H = timedelta(hours=1)


def made(kind: type[Shop], **used: Any) -> Any:
    shop = kind("shop", PlayClock(START), key="k", hook="secret", used=StoreUsed(**used))
    shop.on_place(Place(order="#101"), START)
    return shop


# webhooks that are not taken


@pytest.mark.parametrize(
    ("kind", "tries", "whole"), [(ShopifyServer, 8, 4 * H), (BigCommerceServer, 11, timedelta(seconds=173_040))]
)
def test_a_webhook_is_sent_again_so_often_and_then_its_hook_is_given_up(
    kind: type[Shop], tries: int, whole: timedelta
) -> None:
    from dataclasses import replace

    shop = made(kind)
    outgoing, passed = shop.outgoing[0], timedelta(0)
    for _ in range(tries):
        again = shop.heard(outgoing, 503)
        assert again is not None
        passed, outgoing = passed + again, replace(outgoing, tries=outgoing.tries + 1)
    assert (passed, shop.calls["hook given up"]) == (whole, 0)
    assert shop.heard(outgoing, 200) is None, "taken at last"
    assert shop.calls["hook given up"] == 0
    assert shop.heard(outgoing, 0) is None
    assert shop.calls["hook given up"] == 1


def test_a_shop_that_sends_nothing_again_gives_nothing_up() -> None:
    shop = made(RestServer)
    assert shop.heard(shop.outgoing[0], 500) is None
    assert shop.calls["hook given up"] == 0


def test_a_webhook_that_is_sent_later_keeps_its_id_and_body_and_proves_its_new_time() -> None:
    shop = made(BigCommerceServer)
    first = shop.outgoing[0]
    shop.clock.move_to(START + H)
    later = shop.sent(first)
    signed = b".".join((first.headers["webhook-id"].encode(), later.headers["webhook-timestamp"].encode(), first.body))
    proof = base64.b64encode(hmac.new(b"secret", signed, hashlib.sha256).digest()).decode()

    assert (later.body, later.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])
    assert int(later.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 3600
    assert later.headers["webhook-signature"] == f"v1,{proof}"
    assert later.headers["x-trackwright"] == "secret", "the header that was asked for comes back"


@pytest.mark.parametrize(
    ("kind", "id_"),
    [(ShopifyServer, "x-shopify-webhook-id"), (BigCommerceServer, "webhook-id"), (RestServer, "webhook-id")],
)
def test_the_same_news_under_another_id(kind: type[Shop], id_: str) -> None:
    shop = made(kind)
    first = shop.outgoing[0]
    other = shop.afresh(first)

    assert other.body == first.body
    assert other.headers[id_] != first.headers[id_]


# how many calls they let through


@pytest.fixture
def client() -> Iterator[tuple[dict[str, Any], httpx.Client]]:
    shops = {
        "site": RestServer("site", PlayClock(START), key="k", used=StoreUsed(grants=2)),
        "free": RestServer("free", PlayClock(START), key="k"),
        "big": BigCommerceServer("big", PlayClock(START), key="k", used=StoreUsed(grants=3)),
        "shopify": ShopifyServer("shopify", PlayClock(START), key="k", used=StoreUsed(grants=1)),
    }
    served = FakeServers([*shops.values()])
    base = f"http://127.0.0.1:{served.start()}"
    headers = {"Authorization": "Bearer k", "X-Auth-Token": "k", "X-Shopify-Access-Token": "k"}
    with httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=5) as http:
        yield shops, http
    served.stop()


def test_a_hoster_lets_so_many_calls_of_a_minute_through(client: Any) -> None:
    shops, http = client
    got = [http.get("/site/orders") for _ in range(3)]
    assert [one.status_code for one in got] == [200, 200, 429]
    assert (got[2].text, got[2].headers["retry-after"]) == ("Too Many Requests", "60")
    shops["site"].clock.move_to(START + timedelta(seconds=60))
    assert http.get("/site/orders").status_code == 200
    assert (shops["site"].calls["throttled"], shops["free"].calls["throttled"]) == (1, 0)
    assert {http.get("/free/orders").status_code for _ in range(20)} == {200}


def test_bigcommerce_says_what_is_left_of_its_window_and_refuses_beyond_it(client: Any) -> None:
    shops, http = client
    got = [http.get("/big/stores/sandbox/v2/order_statuses") for _ in range(4)]
    assert [one.status_code for one in got] == [200, 200, 200, 429]
    assert [one.headers["x-rate-limit-requests-left"] for one in got] == ["2", "1", "0", "0"]
    assert got[0].headers["x-rate-limit-requests-quota"] == "3"
    shops["big"].clock.move_to(START + timedelta(seconds=30))
    assert http.get("/big/stores/sandbox/v2/order_statuses").status_code == 200


def test_the_bucket_of_shopify_holds_twenty_seconds_and_is_refilled(client: Any) -> None:
    shops, http = client
    body = {"query": "query Shop { shop { name } }", "variables": {}}

    def ask() -> dict[str, Any]:
        answer: dict[str, Any] = http.post("/shopify/admin/api/2026-04/graphql.json", json=body).json()
        return answer

    left = ask()["extensions"]["cost"]["throttleStatus"]
    assert (left["maximumAvailable"], left["restoreRate"], left["currentlyAvailable"] <= 20) == (20.0, 1.0, True)
    shops["shopify"]._bucket = 0.0
    refused = ask()
    assert (refused["errors"][0]["extensions"]["code"], shops["shopify"].calls["throttled"]) == ("THROTTLED", 1)
    assert refused["extensions"]["cost"]["actualQueryCost"] is None
    shops["shopify"].clock.move_to(START + timedelta(seconds=5))
    assert ask()["data"] == {"shop": {"name": "shopify"}}


# faults


def test_copies_are_asked_for_by_number_or_for_a_while() -> None:
    shop = made(RestServer)
    shop.on_fault(Fault(server="shop", kind="duplicate_hooks", times=46), START)
    shop.on_fault(Fault.model_validate({"server": "shop", "kind": "unreachable", "for": "1h"}), START)

    assert shop.faults.left["duplicate_hooks"] == 46
    assert shop.faults.take("unreachable")
    shop.clock.move_to(START + H)
    assert not shop.faults.take("unreachable")
