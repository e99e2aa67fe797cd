"""BigCommerce's hooks: which are wanted, how they are listed, made and mended, and what is no list."""

from __future__ import annotations

import json

import httpx
import pytest

from adapters.bigcommerce.fetching import MOST_PAGES
from adapters.bigcommerce.words import SCOPES
from tests.plugins.bigcommerce import V3, store
from tracker.domain.errors import BadPayload, CredentialsRejected, Refused, Transient
from tracker.plugin.conformance import Recorder
from tracker.plugin.hooks import Hook

ADDRESS = "https://t.example/webhooks/big/x"
ROW = {"id": 7, "scope": "store/order/created", "destination": ADDRESS, "is_active": True, "headers": None}


def listed(*rows, page=1, pages=1):
    return {"data": list(rows), "meta": {"pagination": {"current_page": page, "total_pages": pages}}}


def test_a_hook_a_scope_is_wanted_with_the_header_that_we_check(make) -> None:
    source, _ = store(make, hook_key="a-key", hook_header="x-own")

    wanted = source.hooks_wanted(ADDRESS)
    assert [one.topic for one in wanted] == [*SCOPES]
    assert {(one.address, one.headers["x-own"], one.ref) for one in wanted} == {(ADDRESS, "a-key", "")}
    bare, _ = store(make, hook_key=None)
    assert all(one.headers == {} for one in bare.hooks_wanted("https://t.example:443/webhooks/big"))
    with pytest.raises(Refused, match="port 443 only"):
        source.hooks_wanted("https://t.example:8443/webhooks/big")


def test_the_list_is_read_page_by_page_and_ids_may_be_texts(outside, make) -> None:
    other = {
        "id": "bc/store/webhook/9",
        "scope": "store/cart/created",
        "destination": None,
        "is_active": False,
        "headers": {"a": "b"},
    }
    pages = iter([listed(ROW, pages=2), listed(other, page=2, pages=2)])
    asked = outside.get(f"{V3}/hooks").mock(side_effect=lambda _: httpx.Response(200, json=next(pages)))
    source, client = store(make)

    assert source.hooks_there(client) == [
        Hook("store/order/created", ADDRESS, {}, "7"),
        Hook("store/cart/created", "", {"a": "b"}, "bc/store/webhook/9", active=False),
    ]
    assert [call.request.url.params["page"] for call in asked.calls] == ["1", "2"]


def test_no_hooks_is_an_empty_list(outside, make) -> None:
    outside.get(f"{V3}/hooks").respond(json={"data": [], "meta": {"pagination": {"total_pages": 0}}})
    source, client = store(make)

    assert source.hooks_there(client) == []


@pytest.mark.parametrize("body", [{"title": "Down"}, {"data": None}, {"data": {"a": 1}}, []])
def test_an_answer_without_its_list_is_never_an_empty_one(outside, make, body) -> None:
    outside.get(f"{V3}/hooks").respond(json=body)
    source, client = store(make)

    with pytest.raises((Transient, BadPayload)):
        source.hooks_there(client)


@pytest.mark.parametrize("row", [7, {**ROW, "id": None}, {**ROW, "scope": 1.5}, {**ROW, "headers": ["x"]}])
def test_a_hook_that_cannot_be_read_is_not_taken_for_none(outside, make, row) -> None:
    outside.get(f"{V3}/hooks").respond(json=listed(row))
    source, client = store(make)

    with pytest.raises(BadPayload):
        source.hooks_there(client)


def test_a_hook_is_made_once_and_mended_by_its_id(outside, make) -> None:
    made = outside.post(f"{V3}/hooks").respond(json={"data": {**ROW, "id": 8}})
    mended = outside.put(f"{V3}/hooks/8").respond(json={"data": ROW})
    source, client = store(make)

    assert source.make_hook(client, Hook("store/order/created", ADDRESS, {"x": "y"})) == "8"
    source.mend_hook(client, Hook("store/order/created", ADDRESS, {"x": "y"}, "8"))
    told = {"destination": ADDRESS, "is_active": True, "headers": {"x": "y"}}
    assert json.loads(made.calls[0].request.content) == {"scope": "store/order/created", **told}
    assert json.loads(mended.calls[0].request.content) == told


def test_making_a_hook_is_not_repeated_by_the_wire(make) -> None:
    source, _ = store(make)
    client = Recorder(b'{"data": {"id": 8}}')
    source.make_hook(client, Hook("t", ADDRESS))

    assert [request.idempotent for request in client.sent] == [False]


@pytest.mark.parametrize(("status", "error"), [(401, CredentialsRejected), (403, CredentialsRejected), (422, Refused)])
def test_what_refuses_a_hook_says_why(outside, make, status, error) -> None:
    outside.post(f"{V3}/hooks").respond(status, json={"status": status, "title": "no"})
    source, client = store(make)

    with pytest.raises(error, match=str(status)):
        source.make_hook(client, Hook("t", ADDRESS))


def test_a_list_that_never_ends_is_told_and_never_taken_for_all_there_are(outside, make) -> None:
    """What is behind may be ours: they would all be made again."""
    ids = iter(range(1000))
    asked = outside.get(f"{V3}/hooks").mock(
        side_effect=lambda _: httpx.Response(200, json=listed({**ROW, "id": next(ids)}, pages=1000))
    )
    source, client = store(make)

    with pytest.raises(Refused, match="more than 5,000 hooks: whether ours are among the rest is not known"):
        source.hooks_there(client)
    assert asked.call_count == MOST_PAGES


def test_a_list_that_says_the_same_page_again_is_told(outside, make) -> None:
    asked = outside.get(f"{V3}/hooks").respond(json=listed(ROW, pages=1000))
    source, client = store(make)

    with pytest.raises(Refused, match="page 2 of the hooks says what page 1 said"):
        source.hooks_there(client)
    assert asked.call_count == 2


def test_a_hook_that_graphql_manages_is_mended_by_the_number_in_its_id(outside, make) -> None:
    mended = outside.put(f"{V3}/hooks/9").respond(json={"data": ROW})
    source, client = store(make)
    source.mend_hook(client, Hook("store/order/created", ADDRESS, {}, "bc/store/webhook/9", active=False))

    assert json.loads(mended.calls[0].request.content)["is_active"] is True
