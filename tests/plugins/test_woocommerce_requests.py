"""WooCommerce: what is asked and written, where tracking is looked for, what answers mean, hooks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from adapters.woocommerce.hooks import MOST_PAGES
from adapters.woocommerce.reading import TOPICS
from tests.plugins.test_woocommerce import read, row, shop
from tracker.domain.errors import CredentialsRejected, NotFound, RateLimited, Refused, Transient, Unavailable
from tracker.domain.facts import Action, Refs, Since
from tracker.domain.vocabulary import OrderStatus, ShippingStatus
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, Recorder
from tracker.plugin.hooks import Hook

API = "https://acme.example/wp-json"
ORDER = f"{API}/wc/v3/orders/727"
ADDRESS = "https://t.example/webhooks/shop/x"
NO_ROUTE = {
    "code": "rest_no_route",
    "message": "No route was found matching the URL and request method.",
    "data": {"status": 404},
}
NO_ORDER = {"code": "woocommerce_rest_shop_order_invalid_id", "message": "Invalid ID.", "data": {"status": 404}}


def made(make: Any, **settings: Any) -> Any:
    return make("adapters.woocommerce", **settings)


def site(outside: Any, *, core: bool = True, namespaces: Any = ("wc/v3", "wc-shipment-tracking/v3")) -> Any:
    """A site with these places; returns the routes of its probes."""
    probe = outside.get(f"{API}/wc/v3/orders/0/fulfillments").respond(404, json=NO_ORDER if core else NO_ROUTE)
    return probe, outside.get(f"{API}/").respond(json={"namespaces": list(namespaces)})


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "message": "no", "data": {"status": 400, **more}}


# reading one


def test_an_order_is_read_with_its_tracking_from_each_place_and_its_refunds(make, outside) -> None:
    source, client = made(make)
    probes = site(outside)
    outside.get(ORDER).respond(json=row(refunds=[{"id": 1, "total": "-1"}]))
    core = outside.get(f"{ORDER}/fulfillments").respond(json=[])
    plugin = outside.get(f"{API}/wc-shipment-tracking/v3/orders/727/shipment-trackings").respond(json=[])
    pages = [[{"id": at, "line_items": []} for at in range(100)], []]
    refunds = outside.get(f"{ORDER}/refunds").mock(side_effect=[httpx.Response(200, json=page) for page in pages])

    for _ in range(2):
        refunds.side_effect = [httpx.Response(200, json=page) for page in pages]
        (page,) = source.fetch(client, Refs(("727", "x", "../1")))
        assert len(page.parts) == 5
    assert [route.call_count for route in (core, plugin, *probes)] == [2, 2, 1, 1]  # which places there are is kept
    assert probes[1].calls[0].request.url.params["_fields"] == "namespaces"
    assert [call.request.url.params["page"] for call in refunds.calls][:2] == ["1", "2"]


def test_which_places_there_are_is_looked_for_once_a_day() -> None:
    source, client = shop(), Recorder(b'{"namespaces": []}')
    assert [one.name for one in source.places(client)] == ["fulfillments"]
    source.places(client)
    assert len(client.sent) == 2
    source._found = AT - timedelta(days=1), ()
    source.places(client)
    assert len(client.sent) == 4


def test_places_that_the_settings_name_are_not_looked_for(make, outside) -> None:
    source, client = made(make, tracking=["ast"])
    outside.get(ORDER).respond(json=row())
    outside.get(f"{API}/wc-ast/v3/orders/727/shipment-trackings").respond(json=[])
    (page,) = source.fetch(client, Refs(("727",)))
    assert page.parts[1:] == (b"[]", b"[]")


def test_a_site_whose_index_is_closed_says_which_setting_helps(make, outside) -> None:
    source, client = made(make)
    for answer in ({"status": 401, "json": error("rest_login_required")}, {"json": {"name": "x"}}, {"json": [1]}):
        site(outside, core=False)
        outside.get(f"{API}/").respond(status_code=answer.get("status", 200), json=answer["json"])
        outside.get(ORDER).respond(json=row())
        with pytest.raises(Unavailable, match="say it under `tracking`"):
            list(source.fetch(client, Refs(("727",))))


def test_a_place_that_answers_no_more_is_looked_for_again(make, outside) -> None:
    source, client = made(make)
    probe, _ = site(outside, namespaces=("wc/v3",))
    outside.get(ORDER).respond(json=row())
    outside.get(f"{ORDER}/fulfillments").respond(404, json=NO_ROUTE)
    with pytest.raises(Transient, match="does not answer any more"):
        list(source.fetch(client, Refs(("727",))))
    probe.respond(404, json=NO_ROUTE)
    (page,) = source.fetch(client, Refs(("727",)))
    assert page.parts[1:] == (b"[]", b"[]")


def test_an_order_that_is_not_there_is_left_out_and_a_site_without_woocommerce_loses_none(make, outside) -> None:
    source, client = made(make, tracking=["fulfillments"])
    outside.get(ORDER).respond(404, json=NO_ORDER)
    assert list(source.fetch(client, Refs(("727",)))) == []
    outside.get(ORDER).respond(404, json=NO_ROUTE)
    with pytest.raises(Unavailable, match="Permalinks"):
        list(source.fetch(client, Refs(("727",))))
    outside.get(ORDER).respond(json=row())
    outside.get(f"{ORDER}/fulfillments").respond(404, json=NO_ORDER)
    with pytest.raises(Transient, match="though the order is"):
        list(source.fetch(client, Refs(("727",))))
    for odd in ("<br />\n<b>Warning</b>: Undefined array key", '{"a": [', "[]"):
        outside.get(ORDER).respond(200, text=odd)
        with pytest.raises(Transient):
            list(source.fetch(client, Refs(("727",))))
    outside.get(ORDER).respond(200, text="{}]")
    outside.get(f"{ORDER}/fulfillments").respond(json=[])
    (page,) = source.fetch(client, Refs(("727",)))  # the parser tells
    assert page.parts[0] == b"{}]"


# sweeping


def test_what_changed_is_listed_by_id_in_gmt_and_the_mark_is_the_shops(make, outside) -> None:
    source, client = made(make)
    one, two = row(date_modified_gmt="2026-11-02T09:00:00"), row(date_modified_gmt="2026-11-02T09:30:00")
    answers = [httpx.Response(200, json=[one, 7], headers={"X-WP-Total": "3", "X-WP-TotalPages": "2"}),
               httpx.Response(200, json=[two], headers={"X-WP-Total": "3", "X-WP-TotalPages": "2"})]  # fmt: skip
    asked = outside.get(f"{API}/wc/v3/orders").mock(side_effect=answers)
    pages = list(source.fetch(client, Since("2026-11-02T08:00:00+00:00||")))

    params = asked.calls[0].request.url.params
    assert dict(params) == {
        "status": "any", "orderby": "id", "order": "asc", "per_page": "100", "page": "1",
        "modified_after": "2026-11-02T07:50:00", "dates_are_gmt": "true",
    }  # fmt: skip
    assert [page.total for page in pages] == [3, 3]
    assert pages[0].next_cursor.startswith("2026-11-02T08:00:00+00:00|2026-11-02T09:00:00+00:00|2|")
    assert pages[1].next_cursor == "2026-11-02T09:30:00+00:00||"


def test_a_mark_is_never_later_than_when_the_list_began_and_one_ahead_of_us_is_not_believed(make, outside) -> None:
    source, client = made(make, swept_statuses=["any", "packed"])
    asked = outside.get(f"{API}/wc/v3/orders").respond(json=[row(date_modified_gmt="2031-01-01T00:00:00")])
    (page,) = source.fetch(client, Since("2030-01-01T00:00:00+00:00||"))

    assert page.next_cursor == "2026-11-02T12:00:00+00:00||"
    assert "modified_after" not in asked.calls[0].request.url.params
    assert asked.calls[0].request.url.params["status"] == "any,packed"
    list(source.fetch(client, Since(None, open_only=True)))
    assert asked.calls[1].request.url.params["modified_after"] == "2026-09-03T11:50:00"


@pytest.mark.parametrize("answer", [{}, {"orders": []}, None, "x"])
def test_an_answer_without_its_list_is_no_empty_one(make, outside, answer: Any) -> None:
    source, client = made(make)
    outside.get(f"{API}/wc/v3/orders").respond(json=answer)
    with pytest.raises(Unavailable, match="without its list"):
        list(source.fetch(client, Since(None)))


# who asks


@pytest.mark.parametrize("where", ["header", "query"])
def test_keys_go_into_the_header_or_into_the_query_and_into_nothing_that_is_kept(make, outside, where: str) -> None:
    source, client = made(make, keys_in=where)
    asked = outside.get(f"{API}/wc/v3/orders").respond(json=[])
    (page,) = source.fetch(client, Since(None))
    request = asked.calls[0].request

    assert ("authorization" in request.headers) == (where == "header")
    assert ("consumer_secret" in request.url.params) == (where == "query")
    assert "canary" not in f"{page}{source!r}{source.settings!r}"
    outside.get(f"{API}/wc/v3/orders").mock(side_effect=httpx.ConnectError(f"cannot reach {request.url}"))
    with pytest.raises(Transient) as caught:
        list(source.fetch(client, Since(None)))
    assert "canary" not in f"{caught.value}{caught.value.__cause__}"


def test_plain_http_is_refused_with_a_sentence(make) -> None:
    source, client = made(make, base_url="http://acme.example")
    with pytest.raises(Refused, match="only https"):
        source.ping(client)


# what answers mean


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (404, NO_ORDER, NotFound, "invalid_id"), (404, NO_ROUTE, Unavailable, "Permalinks"), (404, "gone", Unavailable, "Permalinks"),
        (404, "<html>Not Found</html>", Unavailable, "Permalinks"), (401, {}, CredentialsRejected, "asks for a password"),
        (401, error("woocommerce_rest_cannot_view"), CredentialsRejected, "shop manager"),
        (403, error("woocommerce_rest_cannot_view"), CredentialsRejected, "keys_in: query"),
        (401, {**error("woocommerce_rest_authentication_error"), "message": "The API key provided does not have write permissions."},
         Refused, "Read/Write"),
        (403, error("woocommerce_rest_cannot_edit"), Refused, "shop manager"), (403, "Access denied", Unavailable, "firewall"),
        (403, "<html>Blocked</html>", Transient, "page of HTML"), (429, {}, RateLimited, "429"), (503, "Briefly unavailable", Transient, "503"),
        (400, error("rest_invalid_param", params={"status": "status is not one of pending, processing."}), Refused, "is not one of"),
        (400, error("rest_invalid_param", params=[]), Refused, "rest_invalid_param"), (400, {"code": 7, "message": "m"}, Refused, "m"),
        (400, [], Refused, "400"), (500, error("internal_server_error"), Transient, "500"), (200, "<html></html>", Unavailable, "page"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_told_by_what_to_do_next(status: int, body: Any, kind: Any, said: str) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    with pytest.raises(kind, match=said):
        shop().raise_for_status(Response(status, {}, raw, AT))
    shop().raise_for_status(Response(200, {}, b"[]", AT))


def test_check_tells_where_tracking_is_and_which_statuses_have_no_meaning(make, outside) -> None:
    source, client = made(make, number_key="_number", statuses={"shipped": "shipped"})
    site(outside, namespaces=("wc-ast/v3",))
    slugs = [
        {"slug": slug, "name": slug.title(), "total": 1} for slug in ("processing", "shipped", "packed", "refunded", "")
    ]
    outside.get(f"{API}/wc/v3/reports/orders/totals").respond(json=slugs)

    where, unmapped = source.look_around(client)
    assert (
        where
        == "tracking is read from order fulfilments (WooCommerce) (wc/v3), AST (wc-ast/v3), meta key _number (found)"
    )
    assert unmapped.startswith("its status packed (Packed) has no meaning")
    assert "`statuses: {packed: ...}`" in unmapped
    none, client = made(make, tracking=[])
    assert next(none.look_around(client)).startswith("no place holds tracking")


# writing

SHIPPED = Action("order_status", "k", "s", "727", target=OrderStatus.SHIPPED)
NOTE = Action("order_note", "k", "s", "727", text="Rang twice")
FIELD = Action("field", "k", "s", "727", status=ShippingStatus.DELIVERED, field="_shipping", text="delivered")


def test_a_status_is_sent_alone_and_only_where_an_order_waits_for_its_parcels(make, outside) -> None:
    source, client = made(make, statuses={"shipped": "shipped", "partial-shipped": "partially_shipped"})
    put = outside.put(ORDER).respond(json=row(status="shipped"))

    assert source.push(client, SHIPPED, read(source, [], [])).proof == "shipped"
    assert source.push(client, SHIPPED, read(source, [], [], status="partial-shipped")).proof == "shipped"
    assert [json.loads(call.request.content) for call in put.calls] == [{"status": "shipped"}] * 2
    assert source.push(client, SHIPPED, read(source, [], [], status="shipped")).already_there
    for status in ("pending", "on-hold", "failed", "cancelled", "refunded", "trash", "completed", "packed"):
        with pytest.raises(Refused, match=f"{status} is not left for shipped"):
            source.push(client, SHIPPED, replace(read(source, [], []), raw_status=status))
    assert put.call_count == 2
    with pytest.raises(Refused, match=r"`statuses: \{completed: shipped\}` lets it be left"):
        source.push(client, SHIPPED, read(source, [], [], status="completed"))


def test_a_note_is_added_once_for_the_shops_own_people_whatever_became_of_the_answer(make, outside) -> None:
    source, client = made(make)
    outside.get(f"{ORDER}/notes").mock(
        side_effect=[
            httpx.Response(200, json=[7, {"id": 1, "note": "Other"}]),
            httpx.Response(200, json=[{"id": 2, "note": "Rang twice"}]),
        ]
    )
    posted = outside.post(f"{ORDER}/notes").respond(201, json={"id": 2})

    assert source.push(client, NOTE, read(source, [], [])).ref == "2"
    assert json.loads(posted.calls[0].request.content) == {
        "note": "Rang twice",
        "customer_note": False,
        "added_by_user": False,
    }
    again = source.push(client, NOTE, read(source, [], []))
    assert (again.ref, again.already_there, posted.call_count) == ("2", True, 1)


def test_a_meta_key_is_set_in_place_by_its_id(make, outside) -> None:
    source, client = made(make)
    before = read(source, [], [])
    outside.get(ORDER).respond(json=row(meta_data=[{"id": 5, "key": "_shipping", "value": "x"}, 7]))
    after = row(meta_data=[{"id": 5, "key": "_shipping", "value": "delivered"}])
    put = outside.put(ORDER).respond(json=after)

    assert source.push(client, FIELD, before).proof == "delivered"
    outside.get(ORDER).respond(json=row())
    source.push(client, FIELD, before)
    sent = [json.loads(call.request.content)["meta_data"] for call in put.calls]
    assert sent == [[{"key": "_shipping", "value": "delivered", "id": 5}], [{"key": "_shipping", "value": "delivered"}]]
    assert source.push(client, FIELD, replace(before, shown="delivered")).already_there


@pytest.mark.parametrize(
    ("action", "answer", "kind"),
    [
        (SHIPPED, row(status="processing"), Transient), (SHIPPED, "", Transient), (FIELD, row(), Transient), (FIELD, [], Transient),
        (NOTE, [], Transient), (replace(SHIPPED, kind="fulfilment_event"), {}, Refused), (replace(SHIPPED, target=None), {}, Refused),
    ],
)  # fmt: skip
def test_a_write_whose_answer_does_not_show_it_is_none(make, outside, action: Action, answer: Any, kind: Any) -> None:
    source, client = made(make, statuses={"shipped": "shipped"})
    outside.get(ORDER).respond(json=row())
    outside.get(f"{ORDER}/notes").respond(json=[])
    outside.put(ORDER).respond(200, json=answer) if answer != "" else outside.put(ORDER).respond(200, text="")
    outside.post(f"{ORDER}/notes").respond(200, json=answer)
    with pytest.raises(kind):
        source.push(client, action, read(source, [], []))


def test_no_write_is_repeated_by_the_wire() -> None:
    source = shop(statuses={"shipped": "shipped"})
    client = Recorder(json.dumps(row(status="shipped")).encode())
    source.push(client, SHIPPED, read(source, [], []))
    assert [request.idempotent for request in client.sent] == [False]


# hooks


def test_a_hook_a_topic_is_wanted_and_a_new_secret_is_seen_by_its_name() -> None:
    wanted = shop().hooks_wanted(ADDRESS)
    other = shop(webhook_secrets=["another-secret-0123456789"]).hooks_wanted(ADDRESS)

    assert [one.topic for one in wanted] == [*TOPICS]
    assert {one.address for one in wanted} == {ADDRESS}
    assert all(one.headers != two.headers for one, two in zip(wanted, other, strict=True))
    assert "secret" not in repr([one.headers for one in wanted])
    assert shop(webhook_secrets=[]).hooks_wanted(ADDRESS)[0].headers == {"name": "Trackwright order.created"}


def test_hooks_are_listed_whatever_their_status(make, outside) -> None:
    source, client = made(make)
    rows = [
        {"id": at, "topic": "order.updated", "delivery_url": ADDRESS, "name": "n", "status": "disabled"}
        for at in range(100)
    ]
    asked = outside.get(f"{API}/wc/v3/webhooks").mock(
        side_effect=[httpx.Response(200, json=rows), httpx.Response(200, json=[{**rows[0], "status": "active"}])]
    )
    found = source.hooks_there(client)
    assert [found[0], found[100]] == [
        Hook("order.updated", ADDRESS, {"name": "n"}, "0", active) for active in (False, True)
    ]
    assert asked.calls[0].request.url.params["status"] == "all"
    endless = outside.get(f"{API}/wc/v3/webhooks").respond(json=rows)
    assert len(source.hooks_there(client)) == 100 * MOST_PAGES
    assert endless.call_count
    outside.get(f"{API}/wc/v3/webhooks").respond(json={"message": "x"})
    with pytest.raises(Transient):
        source.hooks_there(client)


def test_a_hook_is_made_with_our_secret_and_mended_by_its_id(make, outside) -> None:
    source, client = made(make)
    posted = outside.post(f"{API}/wc/v3/webhooks").respond(201, json={"id": 9})
    put = outside.put(f"{API}/wc/v3/webhooks/8").respond(json={"id": 8, "delivery_url": ADDRESS})
    deleted = outside.delete(f"{API}/wc/v3/webhooks/8", params={"force": "true"}).respond(json={"id": 8})
    hook = source.hooks_wanted(ADDRESS)[1]
    secret = {"secret": "new-secret-0123456789abcdef", "status": "active", "name": hook.headers["name"]}

    assert source.make_hook(client, hook) == "9"
    assert json.loads(posted.calls[0].request.content) == {"topic": "order.updated", "delivery_url": ADDRESS, **secret}
    source.mend_hook(client, replace(hook, ref="8"))
    assert json.loads(put.calls[0].request.content) == secret
    assert (posted.call_count, deleted.call_count) == (1, 0)
    put.respond(json={"id": 8, "delivery_url": "https://t.example/old"})  # which nobody can change
    source.mend_hook(client, replace(hook, ref="8"))
    assert (posted.call_count, deleted.call_count) == (2, 1)
    with pytest.raises(Refused, match="can be guessed"):
        made(make, webhook_secrets=[])[0].make_hook(client, hook)


def test_the_key_is_proved_by_an_order(make, outside) -> None:
    source, client = made(make)
    outside.get(f"{API}/wc/v3/orders").respond(json=[row()])
    source.ping(client)
