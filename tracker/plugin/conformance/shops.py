"""What holds for whatever a platform writes: tried at its fake shop, in this process, without a socket.

The fake shop is the one that `tracker.sandboxes` names for the plugin (ours stand in `tracker/sandbox/fakes`). Where there is none, these
facts are skipped and say so.
"""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, BinaryIO, ClassVar

import httpx
import pytest

from tracker.domain.errors import RateLimited, Refused, SourceError, Transient
from tracker.domain.facts import Action, ChangeNotice, Order, Parcel, Payload, Receipt, Refs, Since, Unread
from tracker.domain.vocabulary import OrderStatus, ShippingStatus
from tracker.plugin.calls import Request, Response, Token
from tracker.plugin.conformance.given import AT, example_settings, plugin_of
from tracker.plugin.contracts import Platform

O = OrderStatus
COPIES = 46  # of one hook that a shop of ours was once sent
BASE = "https://shop.example"
KEY, HOOK = (
    "canary-secrets",
    "hook-0123456789abcdef",
)  # the first is what is invented for the secrets of a described shop
FIELD = "shipping_status"
MOST_CALLS = 3  # of one write that change something
NUMBER, OTHER = "1ZR589390357567121", "1ZR589400357568494"


class Counter:
    """A fake shop, the plugin that asks it, and the client between them: it carries each request, and tries none again."""

    def __init__(self, module: str, settings: Mapping[str, Any]) -> None:
        """Open the shop without orders."""
        name = module.rpartition(".")[2]
        # the conformance suite stands below the sandbox: it knows fake shops by their name only
        find, used = (importlib.import_module(f"tracker.sandbox.{part}") for part in ("find", "used"))
        if name not in find.fakes():
            pytest.skip(f"{module} has no fake shop (entry point {find.GROUP}): what it writes is not tried")
        self.now_ = AT
        self.fake = find.fakes()[name]("shop", self.now, key=KEY, hook=HOOK, used=used.StoreUsed(uses=name))
        kind = plugin_of(module)
        known = {"webhook_secrets": [HOOK]} if "webhook_secrets" in kind.Settings.model_fields else {}
        told = {**known, **settings, **self.fake.settings(f"{BASE}/shop", KEY, HOOK)}
        if isinstance(secret := told.get("webhook_secrets"), str):  # the YAML takes one alone
            told["webhook_secrets"] = [secret]
        plugin = kind("shop", example_settings(kind, **told))
        assert isinstance(plugin, Platform)
        self.plugin: Platform = plugin
        if plugin.takes_fields:
            plugin.status_field = FIELD
        self.lost = False  # whether the answer to the next write is lost
        self.asked: list[tuple[Request, Response]] = []
        self.vault = _Kept()
        self._token: str | None = None
        routing, applications = (importlib.import_module(f"starlette.{part}") for part in ("routing", "applications"))
        routes = [
            routing.Route(f"/shop{route.path}", route.endpoint, methods=sorted(route.methods or {"GET"}))
            for route in self.fake.routes()
        ]
        self._app = applications.Starlette(routes=routes)

    # the client

    def now(self) -> Any:
        """Return the shop's own time, which is ours."""
        return self.now_

    def token(self, ask: Callable[[], Token], refused: str | None = None) -> str:
        """Ask for a token once, and again where it is refused."""
        if self._token is None or self._token == refused:
            self._token = ask().value
        return self._token

    def stream(self, url: str, size: int | None = None) -> AbstractContextManager[BinaryIO]:
        """Refuse: nothing that is written is so large."""
        raise Refused(f"{url}: no large result is asked for here")

    def send(self, request: Request) -> Response:
        """Send a request to the fake shop. Raises what `raise_for_status` raises; Transient where the answer to a write is lost."""
        before = len(self.fake.log)
        response = asyncio.run(self._carried(request))
        self.asked.append((request, response))
        if self.lost and len(self.fake.log) > before:
            self.lost = False
            raise Transient("timed out: nobody knows what became of it")
        self.plugin.raise_for_status(response)
        return response

    async def _carried(self, request: Request) -> Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url=BASE) as http:
            auth = httpx.BasicAuth(*request.basic) if request.basic else None
            raw = await http.request(
                request.method, request.url, params=dict(request.params) or None, headers=dict(request.headers),
                content=request.content, auth=auth,
            )  # fmt: skip
        return Response(raw.status_code, {k.lower(): v for k, v in raw.headers.items()}, raw.content, self.now_)

    # what people do

    def do(self, what: str, **said: Any) -> None:
        """Let people do something in the shop, as a scenario says it, a minute later."""
        self.now_ += timedelta(minutes=1)
        parts = importlib.import_module("tracker.sandbox.scenario")
        action = getattr(parts, what.capitalize()).model_validate(said)
        getattr(self.fake, f"on_{what}")(action, self.now_)

    def fail(self, kind: str) -> None:
        """Let the shop do wrong once."""
        parts = importlib.import_module("tracker.sandbox.scenario")
        self.fake.on_fault(parts.Fault(server="shop", kind=kind), self.now_)

    # what we do

    def read(self) -> Order:
        """Sweep, and read the one order that is there."""
        found: list[Any] = []
        for page in self.plugin.fetch(self, Since(None)):  # type: ignore[arg-type]  # the client's protocol is met
            found += self.plugin.normalize(Payload("shop", "sweep", page.parts, self.now_, {}))
        (ref,) = {one.ref for one in found if isinstance(one, Order | ChangeNotice)}
        found = []
        for page in self.plugin.fetch(self, Refs((ref,))):  # type: ignore[arg-type]
            found += self.plugin.normalize(Payload("shop", "read", page.parts, self.now_, {}))
        assert not [one for one in found if isinstance(one, Unread) and one.lacks != "nothing"], found
        (order,) = [one for one in found if isinstance(one, Order)]
        return order

    def push(self, action: Action, before: Order | None = None) -> Receipt:
        """Read the order and write, as the core does."""
        return self.plugin.push(self, action, self.read() if before is None else before)  # type: ignore[arg-type]


class _Kept:
    """A vault in memory."""

    def __init__(self) -> None:
        self._value: str | None = None

    def load(self) -> str | None:
        """Return what was stored last."""
        return self._value

    def store(self, value: str) -> None:
        """Keep it."""
        self._value = value


def writes(plugin: Platform, order: Order) -> Iterator[Action]:
    """Make a write of each kind that the plugin takes: of an order's status before it was shipped, any other afterwards."""
    base = Action("", "key-1", "shop", order.ref, happened_at=order.placed_at, number=order.number)
    if not order.fulfilments:
        targets = [target for target in (O.SHIPPED, O.DELIVERED) if target in plugin.order_status_map()]
        yield from (replace(base, kind="order_status", target=one, before=order.status) for one in targets[:1])
        return
    fulfilment = order.fulfilments[0]
    if ShippingStatus.IN_TRANSIT in plugin.status_map():
        shown = replace(base, kind="fulfilment_event", status=ShippingStatus.IN_TRANSIT, parcels=fulfilment.parcels)
        yield replace(shown, fulfilment=fulfilment.ref)
    if plugin.takes_notes:
        yield replace(base, kind="order_note", text="a note of ours")
    if plugin.takes_fields:
        yield replace(base, kind="field", field=FIELD, text="in_transit", status=ShippingStatus.IN_TRANSIT)
    if plugin.takes_tags:
        yield replace(base, kind="tag", field="shipping", text="shipping:in_transit", status=ShippingStatus.IN_TRANSIT)
    if plugin.takes_numbers:
        old = fulfilment.parcels[0]
        new = Parcel(old.carrier, OTHER, old.company)
        yield replace(base, kind="number", fulfilment=fulfilment.ref, parcels=(old, new))


class ShopFacts:
    """The facts of a platform's writes: each kind of write that it takes is tried at its fake shop."""

    module: ClassVar[str]
    settings: ClassVar[Mapping[str, Any]]

    def each_write(self) -> Iterator[tuple[str, Counter, Action]]:
        """Open a shop for each kind of write, with one order."""
        for shipped in (False, True):
            one = self.open(shipped=shipped)
            for kind in [action.kind for action in writes(one.plugin, one.read())]:
                counter = self.open(shipped=shipped)
                (action,) = [found for found in writes(counter.plugin, counter.read()) if found.kind == kind]
                yield kind, counter, action

    def open(self, *, shipped: bool = True) -> Counter:
        """Open a shop with one order."""
        counter = Counter(self.module, self.settings)
        counter.do("place", order="#101")
        if shipped:
            counter.do("ship", order="#101", company="UPS", numbers=(NUMBER,))
        return counter

    def test_a_write_done_twice_is_done_once(self) -> None:
        for kind, counter, action in self.each_write():
            first = counter.push(action)
            done = len(counter.fake.log)
            assert (first.already_there, done > 0) == (False, True), f"{kind}: the fake shop's log does not hold it"

            assert counter.push(action).already_there or len(counter.fake.log) == done, f"{kind}: it was written again"
            assert len(counter.fake.log) == done, f"{kind}: it was written again"

    def test_a_write_whose_answer_is_lost_is_found_and_not_done_again(self) -> None:
        for kind, counter, action in self.each_write():
            counter.lost = True
            with pytest.raises(Transient):
                counter.push(action)
            for _ in range(MOST_CALLS):  # one write may be several calls: the answer to each is lost in turn
                if not counter.lost:
                    counter.lost = True
                    with suppress(Transient):
                        counter.push(action)
            events = [entry["event"] for entry in counter.fake.log]
            assert len(events) == len({*events}), f"{kind}: an answer was lost, and it was written again: {events}"

    def test_throttling_is_told_and_nothing_is_asked_again(self) -> None:
        for kind, counter, action in self.each_write():
            for fault in (
                "throttle",
                *(word.removeprefix("fault ") for word in counter.fake.knows if word in _THROTTLES),
            ):
                order = counter.read()
                counter.fail(fault)
                asked, done = len(counter.asked), len(counter.fake.log)
                with pytest.raises(RateLimited):
                    counter.push(action, order)
                assert len(counter.asked) == asked + 1, f"{kind}: asked again although it was throttled ({fault})"
                assert len(counter.fake.log) == done, f"{kind}: written although it was throttled ({fault})"

    def test_a_refusal_ends_the_write_with_the_shops_words(self) -> None:
        tried, refused = [], []
        for kind, counter, action in self.each_write():
            order = counter.read()
            counter.fail("refuse_write")
            tried.append(kind)
            try:
                counter.push(action, order)
            except Refused as error:
                refused.append(kind)
                said = b" ".join(response.body for _, response in counter.asked[-2:]).decode()
                words = [part for part in re.split(r"[:;] ", str(error)) if len(part) > 5]
                assert any(word.rstrip(".") in said for word in words), (
                    f"{kind}: {error} has none of the shop's words: {said}"
                )
            except SourceError as error:
                raise AssertionError(f"{kind}: a refusal is no {type(error).__name__}: {error}") from None
            assert kind not in refused or not counter.fake.log, f"{kind}: it was refused, and written"
        assert refused or not tried, f"the fake shop refused none of {tried}: it takes the fault refuse_write"

    def test_a_shop_that_refuses_a_cancelled_order_is_not_written_to(self) -> None:
        for kind, counter, action in self.each_write():
            if kind != "order_status":
                continue
            counter.do("cancel", order="#101")
            order = counter.read()
            assert order.status is O.CANCELLED
            with suppress(Refused):
                counter.push(action)
            assert counter.read().status is O.CANCELLED, "a cancelled order was written to"
            assert not counter.fake.log, "a cancelled order was written to"

    def test_a_part_that_is_shipped_is_not_the_whole_order(self) -> None:
        counter = Counter(self.module, self.settings)
        items = [{"ref": "cup", "name": "cup", "quantity": 2}, {"ref": "plate", "name": "plate"}]
        counter.do("place", order="#101", items=items)
        before = counter.read()
        if not counter.fake.parts:
            return
        assert len(before.items) == 2, "the fake shop keeps the lines of an order, or says that it knows no `parts`"
        counter.do("ship", order="#101", company="UPS", numbers=(NUMBER,), items={"cup": 1}, partly=True)
        order = counter.read()
        pieces = sum(count for one in order.fulfilments for _, count in one.quantities)

        assert order.status not in (O.SHIPPED, O.DELIVERED), f"{order.raw_status}: one of three pieces was shipped"
        assert sum(item.ordered for item in order.items) == 3
        assert pieces == 1 or not order.fulfilments[0].quantities, f"{pieces} of three pieces, one was shipped"

    def test_copies_of_a_hook_are_one_and_two_changes_are_two(self) -> None:
        counter = self.open()
        if not counter.plugin.webhooks or not counter.fake.pushes:
            return
        keys: list[str] = []
        apart = {
            (sent.body, *sorted(sent.headers.items())): sent for sent in counter.fake.outgoing
        }  # as the wire tells
        for sent in apart.values():
            headers = {name.lower(): value for name, value in sent.headers.items()}
            copies = [Payload("shop", "webhook", (sent.body,), counter.now_, headers) for _ in range(COPIES)]
            (key,) = {counter.plugin.dedupe_key(one) for one in copies}
            found = {repr(list(counter.plugin.normalize(one))) for one in copies}
            assert len(found) == 1, found
            keys.append(key)
        assert len({*keys}) == len(keys), "two changes have one key: the second would be taken for a copy"


_THROTTLES = ("fault rate_limit", "fault graphql_throttle")
