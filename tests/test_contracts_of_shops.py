"""A sandbox shop is held against the official contract: what we send wrongly is refused and told, and so is what it would never answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.clock import PlayClock
from tracker.sandbox.base import as_json
from tracker.sandbox.fakes.bigcommerce import BigCommerceServer
from tracker.sandbox.fakes.shopify import ShopifyServer
from tracker.sandbox.player.player import Player, load_scenario
from tracker.sandbox.scenario import Place
from tracker.sandbox.servers import FakeServers
from tracker.sandbox.shop import Shop

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
BIG = "/big/stores/sandbox"
GRAPHQL = "/shopify/admin/api/2026-04/graphql.json"


class Untrue(ShopifyServer):
    """A fake that answers what Shopify never would."""

    given: Any = None

    def _shop(self, _variables: dict[str, Any]) -> dict[str, Any]:
        return {"shop": self.given}


class UntrueList(BigCommerceServer):
    """A fake whose orders have what no order of BigCommerce has."""

    given: Any = None

    def routes(self) -> list[Route]:
        async def answer(_request: Request) -> Response:
            return self.given if isinstance(self.given, Response) else as_json(self.given)

        return [Route("/stores/{store}/v2/orders", answer)]


@pytest.fixture
def shops() -> Iterator[tuple[dict[str, Any], httpx.Client]]:
    clock = PlayClock(START)
    servers: list[Shop] = [
        BigCommerceServer("big", clock, key="k"), ShopifyServer("shopify", clock, key="k"), Untrue("lies", clock, key="k"),
        UntrueList("list", clock, key="k"),
    ]  # fmt: skip
    made = FakeServers(list(servers))
    for server in servers:
        server.on_place(Place(order="#101", status="11" if server.account == "big" else None), START)
    headers = {"X-Auth-Token": "k", "X-Shopify-Access-Token": "k"}
    base = f"http://127.0.0.1:{made.start()}"
    with httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=5) as client:
        yield {server.account: server for server in servers}, client
    made.stop()


@pytest.mark.parametrize(
    ("method", "path", "sent", "said"),
    [
        ("PUT", "/v2/orders/101", {"json": {"status": "Shipped"}}, "body: Additional properties are not allowed ('status' was unexpected)"),
        ("PUT", "/v2/orders/101", {"json": {"status_id": "2"}}, "body.status_id: '2' is not of type 'integer'"),
        ("PUT", "/v2/orders/101", {"content": b"{"}, "body: is no JSON: b'{'"),
        ("GET", "/v2/orders", {"params": {"modified_after": "x"}}, "query.modified_after: the official contract has no such parameter"),
        ("GET", "/v2/orders", {"params": {"limit": "many"}}, "query.limit: 'many' is not of type 'number'"),
        ("GET", "/v2/orders/abc", {}, "path.id: 'abc' is not of type 'integer'"),
        ("GET", "/v2/orders/101", {"params": {"include": "consignments,fees,money"}}, "query.include[2]: 'money' is not one of"),
    ],
)  # fmt: skip
def test_bigcommerce_refuses_with_its_own_errors_what_its_contract_does_not_take(
    shops: Any, method: str, path: str, sent: dict[str, Any], said: str
) -> None:
    servers, client = shops
    headers = {"Content-Type": "application/json"}
    answer = client.request(method, BIG + path, headers=headers, **sent)

    assert answer.status_code == 400
    assert answer.json()[0]["message"].startswith(said)
    assert [one.startswith(f"{method} /stores/{{store}}{path[:10]}") for one in servers["big"].complaints] == [True]
    assert servers["big"].orders["#101"]["status_id"] == 11, "it never came to the shop"


def test_bigcommerce_refuses_a_hook_of_another_shape_as_v3_does(shops: Any) -> None:
    servers, client = shops
    answer = client.post(f"{BIG}/v3/hooks", json={"scope": "store/order/*", "address": "https://x"})

    assert (answer.status_code, len(answer.json()["errors"])) == (422, 2)
    assert "'destination' is a required property" in " ".join(servers["big"].complaints)
    assert servers["big"].hooks == {}


@pytest.mark.parametrize(
    ("query", "variables", "said"),
    [
        ("query Shop { shop { name colour } }", {}, "Shop: Cannot query field 'colour' on type 'Shop'"),
        ("query Shop { shop { name }", {}, "Syntax Error"),
        ("query Events($id: ID!) { fulfillment(id: $id) { id } }", {}, "Events: Variable '$id' has invalid value"),
        ("query Shop { shop { name } }", {"first": 1}, "Shop: variable $first is not declared"),
        (
            "mutation Create($e: FulfillmentEventInput!) { fulfillmentEventCreate(fulfillmentEvent: $e) { userErrors { message } } }",
            {"e": {"fulfillmentId": "gid://shopify/Fulfillment/1", "status": "ARRIVED"}},
            "Create: Variable '$e' has invalid value at .status: Value 'ARRIVED' does not exist in 'FulfillmentEventStatus' enum",
        ),
        (
            "mutation Start($q: String!) { bulkOperationRunQuery(query: $q) { bulkOperation { id } userErrors { message } } }",
            {"q": "{ orders { edges { node { id owner } } } }"},
            "Start: Cannot query field 'owner' on type 'Order'",
        ),
    ],
)
def test_shopify_refuses_with_200_a_document_that_its_schema_does_not_take(
    shops: Any, query: str, variables: dict[str, Any], said: str
) -> None:
    servers, client = shops
    answer = client.post(GRAPHQL, json={"query": query, "variables": variables})

    assert answer.status_code == 200
    assert answer.json()["errors"][0]["message"].startswith(said)
    assert servers["shopify"].complaints and servers["shopify"].calls == {}
    assert client.post(GRAPHQL, content=b"[").json() == {"errors": [{"message": "body: is no JSON with a query"}]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": None}, "Shop: data.shop.name: is null"),
        ({"name": 7}, "Shop: data.shop.name: is no String: 7"),
        ({}, "Shop: data.shop.name: was asked for and is missing"),
        ([], "Shop: data.shop: is no object: []"),
    ],
)
def test_an_answer_that_shopify_would_never_give_is_told(shops: Any, given: Any, said: str) -> None:
    servers, client = shops
    servers["lies"].given = given
    client.post(f"/lies{GRAPHQL[8:]}", json={"query": "query Shop { shop { name } }", "variables": {}})

    assert servers["lies"].untrue == [f"POST /admin/api/{{version}}/graphql.json: {said}"]


def test_graphql_answers_what_was_asked_and_no_more(shops: Any) -> None:
    servers, client = shops
    servers["lies"].given = {"name": "shop", "owner": "somebody"}
    answer = client.post(f"/lies{GRAPHQL[8:]}", json={"query": "query Shop { shop { name } }", "variables": {}})

    assert answer.json()["data"] == {"shop": {"name": "shop"}}
    assert servers["lies"].untrue == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"id": "7"}], "200: $[0].id: '7' is not of type 'integer'"),
        ([{"id": 7, "carrier": "ups"}], "200: $[0]: Additional properties are not allowed ('carrier' was unexpected)"),
        ([{"payment_status": "bartered"}], "200: $[0].payment_status: 'bartered' is not one of"),
        (Response(status_code=202), "status 202"),
        (Response(b"x", 200), "200: $: is no JSON: b'x'"),
        (as_json([], 204), "204: a body, where there is none"),
    ],
)
def test_an_answer_that_bigcommerce_would_never_give_is_told(shops: Any, given: Any, said: str) -> None:
    servers, client = shops
    servers["list"].given = given
    if not isinstance(given, Response) or given.status_code != 204:
        client.get("/list/stores/sandbox/v2/orders")
    else:  # no server of HTTP sends one: what judges it is asked itself
        from tracker.sandbox.contracts import contract_of

        _, found = contract_of("bigcommerce").judged("GET /stores/{store}/v2/orders", b"", given)
        servers["list"].untrue += [f"GET /stores/{{store}}/v2/orders: {one}" for one in found]

    assert len(servers["list"].untrue) == 1
    assert servers["list"].untrue[0].startswith(f"GET /stores/{{store}}/v2/orders: {said}")


@pytest.mark.parametrize("said", ["bartered", 7, None, ["paid"]])
def test_a_value_that_the_scenario_itself_says_is_its_own_business(shops: Any, said: Any) -> None:
    servers, client = shops
    servers["list"].given, servers["lies"].given = [{"payment_status": said}], {"name": said}
    for name in ("list", "lies"):
        servers[name].said.add(repr(said))
    client.get("/list/stores/sandbox/v2/orders")
    client.post(f"/lies{GRAPHQL[8:]}", json={"query": "query Shop { shop { name } }", "variables": {}})

    assert servers["list"].untrue == servers["lies"].untrue == []


def test_a_play_may_say_a_word_that_a_version_to_come_has(play: Any) -> None:
    assert (
        play("shopify", "#1", steps='{at: +0h, edit: {order: "#1", set: {displayFulfillmentStatus: TELEPORTED}}}') == []
    )


def test_a_failure_and_half_an_answer_of_a_fault_are_held_against_nothing(shops: Any) -> None:
    servers, client = shops
    for kind in ("garbage", "error", "throttle"):
        for name, ask in (("big", lambda: client.get(f"{BIG}/v2/orders")), ("shopify", lambda: _shop(client))):
            servers[name].faults.left[kind] = 1
            ask()
            assert servers[name].untrue == servers[name].complaints == [], kind


BULK = "{ orders { edges { node { id name tags lineItems { edges { node { id quantity } } } } } } }"
ORDER, LINE = "gid://shopify/Order/1", "gid://shopify/LineItem/2"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": ORDER, "name": "#1", "tags": []}, {"id": LINE, "quantity": 1, "__parentId": ORDER}], []),
        ([{"id": ORDER, "name": "#1"}], ["Order: data.tags: was asked for and is missing"]),
        ([{"id": LINE, "quantity": "1"}] * 2, ["LineItem: data.quantity: is no Int: '1'"]),
        ([{"id": "gid://shopify/Fulfillment/1"}, {}], ["a line of Fulfillment was not asked for", "a line of nothing was not asked for"]),
    ],
)  # fmt: skip
def test_the_lines_of_a_bulk_operation_are_the_nodes_that_its_document_asks_for(rows: Any, said: list[str]) -> None:
    from tracker.sandbox.contracts import contract_of

    contract: Any = contract_of("shopify")
    assert contract.untrue_lines(BULK, rows) == said
    assert contract.untrue_lines("{ orders { owner } }", rows)[0].startswith("Cannot query field 'owner'")


def _shop(client: httpx.Client) -> httpx.Response:
    return client.post(GRAPHQL, json={"query": "query Shop { shop { name } }", "variables": {}})


# in a play


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., list[str]]:
    def run(uses: str, order: str, watch: Callable[[Player], None] | None = None, steps: str = "") -> list[str]:
        (tmp_path / "s.yaml").write_text(
            f"scenario: one order\nstores: {{shop: {{uses: {uses}, sweep_every: 6h, mode: observe}}}}\n"
            f'steps: [{{at: +0h, place: {{order: "{order}"}}}}, {steps}]\nlasts: 7h\n'
        )
        return Player(load_scenario(tmp_path / "s.yaml"), watch=watch).play().differences

    return run


def test_a_play_fails_where_a_call_was_none_of_the_contract_and_names_operation_and_place(play: Any) -> None:
    def meddle(player: Player) -> None:
        port = player.stage._fake_servers._server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/shop/stores/sandbox/v2/orders/101"
        httpx.put(url, json={"status_id": 2, "mail": False}, trust_env=False)

    assert play("bigcommerce", "#101", meddle) == [
        "shop refused a call: PUT /stores/{store}/v2/orders/{id}: body: Additional properties are not allowed"
        " ('mail' was unexpected)"
    ], "said once, however often it was called"


def test_a_play_fails_where_a_fake_answered_what_its_platform_never_does(play: Any) -> None:
    def spoil(player: Player) -> None:
        for order in player.stage.shops["shop"].orders.values():
            order["name"] = 1

    (said,) = play("shopify", "#1", spoil)
    assert said.startswith(
        "the fake shop answered what the real one never does: POST /admin/api/{version}/graphql.json: "
    )
