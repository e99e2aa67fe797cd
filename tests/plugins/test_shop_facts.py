"""A platform that writes wrongly is told in what by the conformance suite; each way of it is tried on a plugin of ours made wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from adapters.bigcommerce import BigCommerce
from adapters.saleor import Saleor
from tracker.domain.errors import RateLimited, Refused, Transient
from tracker.domain.facts import Action, Order, Receipt
from tracker.plugin.conformance import for_platform
from tracker.plugin.conformance.shops import ShopFacts
from tracker.plugin.conformance.suite import PlatformReads

Push = Callable[[Any, Any, Action, Order], Receipt]


def facts(name: str = "bigcommerce") -> Any:
    return for_platform(f"adapters.{name}", fixtures=Path())()


def blind(push: Push) -> Push:
    """Write as if nothing were there."""

    def wrong(self: Any, client: Any, action: Action, before: Order) -> Receipt:
        self._call(client, f"/orders/{before.ref}", body={"status_id": 2})
        return Receipt(before.ref)

    return wrong


def stubborn(push: Push) -> Push:
    """Try again what was throttled."""

    def wrong(self: Any, client: Any, action: Action, before: Order) -> Receipt:
        with suppress(RateLimited):
            return push(self, client, action, before)
        return push(self, client, action, before)

    return wrong


def calls_it_passing(push: Push) -> Push:
    """Say of a refusal that it may pass."""

    def wrong(self: Any, client: Any, action: Action, before: Order) -> Receipt:
        try:
            return push(self, client, action, before)
        except Refused as error:
            raise Transient(str(error)) from None

    return wrong


def silent(push: Push) -> Push:
    """Refuse without the shop's words."""

    def wrong(self: Any, client: Any, action: Action, before: Order) -> Receipt:
        try:
            return push(self, client, action, before)
        except Refused:
            raise Refused("it is impossible") from None

    return wrong


@pytest.mark.parametrize(
    ("wrong", "fact", "said"),
    [
        (blind, "a_write_done_twice_is_done_once", "order_status: it was written again"),
        (
            blind,
            "a_write_whose_answer_is_lost_is_found_and_not_done_again",
            "an answer was lost, and it was written again",
        ),
        (blind, "a_shop_that_refuses_a_cancelled_order_is_not_written_to", "a cancelled order was written to"),
        (stubborn, "throttling_is_told_and_nothing_is_asked_again", "DID NOT RAISE"),
        (calls_it_passing, "a_refusal_ends_the_write_with_the_shops_words", "a refusal is no Transient"),
        (silent, "a_refusal_ends_the_write_with_the_shops_words", "has none of the shop's words"),
    ],
)
def test_a_platform_that_writes_wrongly_is_told_in_what(wrong, fact, said, monkeypatch) -> None:
    right = getattr(facts(), f"test_{fact}")
    right()
    monkeypatch.setattr(BigCommerce, "push", wrong(BigCommerce.push))

    with pytest.raises((AssertionError, pytest.fail.Exception), match=said):
        right()


def test_two_changes_under_one_key_are_told(monkeypatch) -> None:
    monkeypatch.setattr(BigCommerce, "dedupe_key", lambda self, payload: "always the same")

    with pytest.raises(AssertionError, match="two changes have one key"):
        facts().test_copies_of_a_hook_are_one_and_two_changes_are_two()


def test_a_part_that_is_read_as_the_whole_order_is_told(monkeypatch) -> None:
    monkeypatch.setitem(Saleor.statuses, "PARTIALLY_FULFILLED", Saleor.statuses["FULFILLED"])

    with pytest.raises(AssertionError, match="PARTIALLY_FULFILLED: one of three pieces was shipped"):
        facts("saleor").test_a_part_that_is_shipped_is_not_the_whole_order()


def test_a_platform_without_a_fake_shop_is_skipped_and_says_so() -> None:
    suite = type("Alone", (ShopFacts,), {"module": "acme_shop.acme", "settings": {}})()

    with pytest.raises(pytest.skip.Exception, match=r"acme_shop\.acme has no fake shop"):
        suite.open()


def test_a_fake_shop_of_somebody_else_tries_nothing() -> None:
    assert not issubclass(for_platform("adapters.generic", fixtures=Path(), shop=False), ShopFacts)
    assert issubclass(for_platform("adapters.generic", fixtures=Path()), PlatformReads)
