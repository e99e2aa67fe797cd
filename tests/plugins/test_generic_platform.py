"""A described platform: conformance on the example of deploy/, sweeps of every kind of page, writes that are looked at first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.generic import Generic
from tests.plugins.generic import described
from tests.plugins.signing import standard
from tracker.domain.errors import BadPayload, NotFound, Refused, SourceError, Transient, Unavailable
from tracker.domain.facts import Action, ChangeNotice, Order, Payload, Published, Refs, Since, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, ShippingStatus
from tracker.plugin.calls import Request, Response
from tracker.plugin.conformance import AT, Recorder, example_settings, for_platform

FIXTURES = Path(__file__).parents[1] / "fixtures" / "generic" / "adapters"
ECWID = described("ecwid", "stores")
TestConformance = for_platform(
    "adapters.generic", fixtures=FIXTURES, settings={**ECWID, "secrets": {"key": "canary-secrets"}}
)
TestConformanceOfAcme = for_platform("adapters.generic", fixtures=FIXTURES / "acme", shop=False)
ACME: Mapping[str, Any] = Generic.example
signed = standard  # of the invented API
ROW = {
    "ref": "R1", "number": "#1", "status": "processing", "payment": "paid", "placed": "2026-11-02T08:00:00Z",
    "updated": "2026-11-02T09:00:00Z", "tags": ["vip", {}], "to": {"country": "us"}, "method": "post", "by": "Seller",
    "items": [{"ref": 1, "count": 2, "removed": 1, "ships": True, "name": "Toys"}],
    "parcels": [{"ref": "P1", "numbers": ["1Z12345E0205271688"], "carrier": "UPS", "at": "2026-11-02T08:30:00Z",
                 "items": [{"ref": 1, "count": 1}], "shown": {"word": "done", "at": "2026-11-02T09:00:00Z"}}],
}  # fmt: skip


def shop(**more: Any) -> Generic:
    return Generic("shop", example_settings(Generic, **more))


def sweep(**more: Any) -> dict[str, Any]:
    return {**ACME["sweep"], **more}


def read(source: Generic, body: Any, kind: str = "read") -> list[Any]:
    return list(source.normalize(Payload("shop", kind, (json.dumps(body).encode(),), AT, {})))


def order(**more: Any) -> Order:
    found = read(shop(), {"order": {**ROW, "tags": [], **more}})
    assert isinstance(found[0], Order), found
    return found[0]


# what is read


def test_an_order_is_read_by_its_paths() -> None:
    one, odd = read(shop(), {"order": ROW})

    assert (one.ref, one.number, one.status, one.payment, one.ships_to, one.method, one.actor, one.tags) == (
        "R1", "#1", OrderStatus.PROCESSING, PaymentStatus.PAID, "US", "post", "seller", ("vip",),
    )  # fmt: skip
    assert [(item.ref, item.ordered, item.removed, item.shippable, item.name) for item in one.items] == [
        ("1", 2, 1, True, "Toys")
    ]
    (parcel,) = one.fulfilments
    assert [(p.carrier, p.number) for p in parcel.parcels] == [("ups", "1Z12345E0205271688")]
    assert (parcel.quantities, parcel.live) == ((("1", 1),), True)
    assert parcel.published == Published(ShippingStatus.DELIVERED, "done", datetime(2026, 11, 2, 9, tzinfo=UTC))
    assert isinstance(odd, Unread) and (odd.where, odd.subject) == ("$.order.tags[1]", "R1")


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"status": 7.5}, "$.order.status"), ({"status": None}, "$.order.status"), ({"payment": []}, "$.order.payment"),
        ({"placed": "soon"}, "$.order.placed"), ({"updated": "2026-11-02T09:00:00"}, "$.order.updated"), ({"ref": {}}, "$.order.ref"),
        ({"method": 7}, "$.order.method"), ({"by": []}, "$.order.by"), ({"tags": "vip"}, "$.order.tags"),
    ],
)  # fmt: skip
def test_an_order_is_not_told_without_what_a_write_depends_on(more: dict[str, Any], where: str) -> None:
    try:
        told = [one for one in read(shop(), {"order": {**ROW, "tags": [], **more}}) if isinstance(one, Unread)]
        places = [one.where for one in told]
        assert not any(isinstance(one, Order) for one in told)
    except BadPayload as error:
        places = [error.where]
    assert where in places


@pytest.mark.parametrize(
    "more",
    [
        {"items": [{"ref": 1, "count": "two"}]}, {"items": {"x": 1}}, {"items": [7]}, {"parcels": [{"ref": {}, "numbers": "1Z12345E0205271688"}]},
        {"parcels": "none"}, {"parcels": [{"numbers": "1Z12345E0205271688"}]},
    ],
)  # fmt: skip
def test_a_line_or_fulfilment_that_cannot_be_read_makes_the_order_partial(more: dict[str, Any]) -> None:
    one, *odd = read(shop(), {"order": {**ROW, "tags": [], **more}})

    assert isinstance(one, Order) and one.partial
    assert odd and all(unread.subject == "R1" for unread in odd)


def test_a_word_that_the_tables_do_not_know_is_unknown_and_kept() -> None:
    one = order(status="frozen", payment="odd")

    assert (one.status, one.raw_status, one.payment, one.raw_payment) == ("unknown", "frozen", "unknown", "odd")


def test_a_shop_without_words_of_its_own_speaks_ours() -> None:
    (one, _) = read(shop(statuses={}, writes={}), {"order": {**ROW, "status": "delivered"}})

    assert one.status == "delivered"
    assert shop(statuses={}, writes={}).says() == frozenset(OrderStatus)
    assert shop().says() == {"processing", "shipped", "delivered"}


def test_a_hook_names_a_ref_one_of_another_kind_none_and_one_that_cannot_be_read_is_told() -> None:
    assert read(shop(), {"type": "order", "order": 12}, "webhook") == [ChangeNotice("12")]
    (other,) = read(shop(), {"type": "product", "order": 12}, "webhook")
    assert other.lacks == "nothing"
    for body in ({"type": "order"}, {"type": "order", "order": []}, {"type": 7, "order": 12}):
        with pytest.raises(BadPayload):
            read(shop(), body, "webhook")


@pytest.mark.parametrize("body", [{}, {"orders": None}, {"order": {}}])
def test_a_page_without_its_list_is_never_an_empty_one(body: Any) -> None:
    with pytest.raises(BadPayload):
        read(shop(), body, "sweep")
    with pytest.raises(Unavailable, match="without its list"):
        list(shop().fetch(Recorder(json.dumps(body).encode()), Since(None)))


# how it is swept


def rows(*updated: str) -> list[dict[str, Any]]:
    return [{**ROW, "ref": f"R{n}", "updated": at} for n, at in enumerate(updated)]


class Shop(Recorder):
    """Answers with one response after the other, headers too."""

    def __init__(self, *answers: tuple[dict[str, Any], Mapping[str, str]]) -> None:
        super().__init__(b"{}")
        self._answers = list(answers)

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        body, headers = self._answers[min(len(self.sent), len(self._answers)) - 1]
        return Response(200, headers, json.dumps(body).encode(), AT)


def swept(source: Generic, client: Shop, cursor: str | None = None) -> tuple[list[Request], dict[str, str]]:
    pages = list(source.fetch(client, Since(cursor)))
    return client.sent, json.loads(pages[-1].next_cursor or "{}")


def test_the_mark_is_the_newest_change_never_past_our_clock_and_is_asked_from_with_an_overlap() -> None:
    client = Shop(({"orders": rows("2026-11-02T09:00:00Z", "2026-11-02T08:00:00+00:00", "soon")}, {}))
    sent, cursor = swept(shop(), client)
    assert (sent[0].params, cursor) == ({}, {"mark": "2026-11-02T09:00:00+00:00"})

    sent, cursor = swept(shop(), Shop(({"orders": rows("2026-12-02T09:00:00Z")}, {})), json.dumps(cursor))
    assert sent[0].params == {"since": "2026-11-02T08:50:00+00:00"}
    assert cursor == {"mark": AT.isoformat()}

    sent, _ = swept(shop(), Shop(({"orders": []}, {})), '{"mark": "2027-01-01T00:00:00+00:00"}')
    assert sent[0].params == {}, "a mark ahead of our clock is not believed"


@pytest.mark.parametrize(
    "cursor", ["../../x?a=b", "{", '{"mark": "soon"}', '{"mark": "2026-11-02"}', '{"other": 1}', "[1]", "7"]
)
def test_a_cursor_that_is_none_of_ours_is_the_beginning(cursor: str) -> None:
    assert swept(shop(), Shop(({"orders": []}, {})), cursor)[0][0].params == {}


@pytest.mark.parametrize(
    ("pages", "asked"), [({"by": "page", "size": 5}, "1"), ({"by": "offset", "size": 5}, "0"), ({"by": "link"}, "")]
)
def test_a_page_that_another_description_left_is_the_first(pages: dict[str, Any], asked: str) -> None:
    left = json.dumps({"page": "https://evil.example/abc", "began": AT.isoformat()})
    sent, _ = swept(shop(sweep=sweep(pages=pages)), Shop(({"orders": []}, {})), left)

    assert sent[0].url == "https://api.acme.example/orders"
    assert sent[0].params.get("cursor", "") == asked


PAGES: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"by": "cursor", "next": "next"}, [("a", {}), (7, {}), (None, {})], [None, "a", "7"]),
    ({"by": "page", "size": 1}, [1, 1, 0], ["1", "2", "3"]),
    ({"by": "offset", "size": 2}, [2, 2, 1], ["0", "2", "4"]),
]


@pytest.mark.parametrize(("pages", "answers", "asked"), PAGES, ids=["cursor", "page", "offset"])
def test_pages_follow_each_other(pages: dict[str, Any], answers: list[Any], asked: list[Any]) -> None:
    told = [
        ({"orders": rows("2026-11-02T09:00:00Z"), "next": one[0]}, {}) if isinstance(one, tuple)
        else ({"orders": rows(*["2026-11-02T09:00:00Z"] * one)}, {}) for one in answers
    ]  # fmt: skip
    sent, cursor = swept(shop(sweep=sweep(pages=pages)), Shop(*told))

    assert [request.params.get("cursor") for request in sent] == asked
    assert cursor == {"mark": "2026-11-02T09:00:00+00:00"}


@pytest.mark.parametrize("by_header", [True, False])
def test_a_link_to_the_next_page_is_followed_on_the_shops_own_host_only(by_header: bool) -> None:
    pages = {"by": "link"} if by_header else {"by": "link", "next": "links.next"}

    def told(link: str | None) -> tuple[dict[str, Any], Mapping[str, str]]:
        body: dict[str, Any] = {"orders": [], "links": {"next": None if by_header else link}}
        return body, {"link": f'<{link}>; rel="next", <x>; rel="last"'} if by_header and link else {}

    good = ("https://api.acme.example/orders?p=2&k=1", "/orders?p=3")
    sent, _ = swept(shop(sweep=sweep(pages=pages)), Shop(told(good[0]), told(good[1]), told(None)))
    assert [request.url for request in sent[1:]] == [good[0], "https://api.acme.example/orders?p=3"]
    assert all(
        not request.params and request.headers["Authorization"] == "Bearer canary-secrets" for request in sent[1:]
    )
    for bad in (
        "https://evil.example/orders",
        "http://api.acme.example/orders",
        "//evil.example/x",
        "https://api.acme.example@evil.example/",
    ):
        client = Shop(told(bad))
        with pytest.raises(Unavailable, match="on another host"):
            swept(shop(sweep=sweep(pages=pages)), client)
        assert len(client.sent) == 1


@pytest.mark.parametrize("value", [True, {}, [1], "9" * 2001])
def test_a_next_page_that_is_none_is_a_failed_answer(value: Any) -> None:
    with pytest.raises(Unavailable, match="next page that is none"):
        swept(shop(), Shop(({"orders": [], "next": value}, {})))


def test_the_moment_may_stand_in_a_body_where_the_first_sweep_asks_from_1970() -> None:
    described_ = sweep(method="POST", query={}, body={"filter": {"gte": "{since}"}, "page": "{page}"}, since_format="unix", pages={"by": "page", "size": 100})  # fmt: skip
    sent, cursor = swept(shop(sweep=described_), Shop(({"orders": rows("2026-11-02T09:00:00Z")}, {})))
    assert json.loads(sent[0].content or b"") == {"filter": {"gte": "0"}, "page": "1"}
    sent, _ = swept(shop(sweep=described_), Shop(({"orders": []}, {})), json.dumps(cursor))
    assert json.loads(sent[0].content or b"")["filter"] == {"gte": "1793609400"}


def test_orders_are_read_one_by_one_and_one_that_is_not_there_is_left_out() -> None:
    class Half(Shop):
        def send(self, request: Request) -> Response:
            response = super().send(request)
            if request.url.endswith("gone"):
                raise NotFound("HTTP 404")
            return response

    client = Half(({"order": ROW}, {}))
    pages = list(shop().fetch(client, Refs(("R1", "gone", "a/b"))))

    assert len(pages) == 2
    assert [request.url.rpartition("/")[2] for request in client.sent] == ["R1", "gone", "a%2Fb"]
    for source in (shop(), shop(read={**ACME["read"], "order": "@"})):
        with pytest.raises(Transient, match="holds no order"):
            list(source.fetch(Shop(({"message": "soon"}, {})), Refs(("R1",))))


# what is written


def action(kind: str, **more: Any) -> Action:
    one = Action(
        kind,
        "k",
        "shop",
        "R1",
        "P1",
        ShippingStatus.DELIVERED,
        target=OrderStatus.SHIPPED,
        number="#1",
        text="hello",
        happened_at=AT,
    )
    return replace(one, **more)


@pytest.mark.parametrize(
    ("kind", "url", "body"),
    [
        ("order_status", "/orders/R1/status", {"to": "sent"}),
        ("fulfilment_event", "/orders/R1/parcels/P1", {"shows": "done"}),
        ("order_note", "/orders/R1/notes", {"text": "hello"}),
    ],
)
def test_a_write_is_the_one_that_the_description_says(kind: str, url: str, body: dict[str, Any]) -> None:
    client = Shop(({"ok": True}, {}))
    receipt = shop().push(client, action(kind), order(parcels=[]))

    (request,) = client.sent
    assert request.url == f"https://api.acme.example{url}"
    told = json.loads(request.content or b"")
    assert {name: told[name] for name in body} == body
    assert (receipt.ref, receipt.already_there) == ("R1", False)
    again = Shop(({"ok": True}, {}))
    shop().push(again, action(kind), order(parcels=[]))
    assert again.sent == client.sent, "the same write twice is the same call"
    with pytest.raises(Transient, match="does not show that it is done"):
        shop().push(Shop(({"ok": False}, {})), action(kind), order(parcels=[]))


def test_what_is_there_already_is_not_written_again() -> None:
    client = Shop(({"ok": True}, {}))
    assert shop().push(client, action("order_status"), order(status="sent")).already_there
    assert shop().push(client, action("fulfilment_event"), order()).already_there
    assert client.sent == []


def test_a_note_that_the_order_holds_is_not_written_twice() -> None:
    note = {**ACME["writes"]["note"], "headers": {}, "there": "notes[].text"}
    source = shop(writes={"note": note})
    assert source.push(Shop(({"notes": [{"text": "hello"}, 7]}, {})), action("order_note"), order()).already_there
    client = Shop(({"notes": []}, {}), ({"ok": True}, {}))
    assert not source.push(client, action("order_note"), order()).already_there
    assert [request.method for request in client.sent] == ["GET", "POST"]
    assert not client.sent[1].idempotent, "half a write is not sent again before it is looked at"


def test_what_the_description_does_not_say_is_never_written() -> None:
    source, client = shop(writes={}), Shop(({"ok": True}, {}))

    assert (source.order_status_map(), source.status_map(), source.takes_notes) == ({}, {}, False)
    for kind in ("order_status", "fulfilment_event", "order_note"):
        with pytest.raises(Refused, match="says nothing of"):
            source.push(client, action(kind), order())
    with pytest.raises(Refused, match="no word"):
        shop().push(client, action("order_status", target=OrderStatus.CANCELLED), order())
    assert client.sent == []


@pytest.mark.parametrize("status", ["cancelled", "on_hold", "unknown"])
def test_a_word_that_ends_or_holds_an_order_cannot_be_described(status: str) -> None:
    with pytest.raises(ValidationError, match="is never written"):
        shop(writes={"status": {**ACME["writes"]["status"], "words": {status: "x"}}})


def test_a_refusal_is_told_in_the_shops_words() -> None:
    source = shop(error="problem.title")
    with pytest.raises(Refused, match="locked"):
        source.raise_for_status(Response(409, {}, b'{"problem": {"title": "locked"}}', AT))
    with pytest.raises(Transient, match="down"):
        source.raise_for_status(Response(200, {}, b'{"problem": {"title": "down"}}', AT))
    with pytest.raises(SourceError):
        source.raise_for_status(Response(500, {}, b"{}", AT))


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ({"by": "cursor"}, "next: is of cursor"), ({"by": "page"}, "size: is of page and offset"),
        ({"by": "offset", "size": 5, "next": "x"}, "next: is of cursor"), ({"by": "link", "size": 5}, "size: is of page"),
    ],
)  # fmt: skip
def test_pages_that_cannot_be_are_refused(pages: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        shop(sweep=sweep(pages=pages))
