"""Sweeps that lose nothing: those that turn in circles, that bring nothing new, and whose list fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.cases.script import Says, finding, order, read, state
from tests.lab import START, H, Lab
from tracker.domain.errors import BadPayload, Transient
from tracker.pipeline.poll import sweep
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now


def swept(lab: Lab) -> list[Any]:
    return lab.rows(t.inbox, t.inbox.c.account == "kart", t.inbox.c.kind == "sweep")


# a sweep that goes in circles


def test_a_list_whose_next_never_changes_ends_with_a_finding_and_is_stored_once(kart) -> None:
    lab, shop = kart
    shop.says["GET /orders"] = (200, read("rest-next-never-changes.sweep.json"))
    lab.work()

    assert shop.calls["GET /orders"] <= 3
    assert len(swept(lab)) == 1
    assert [row.ref for row in lab.rows(t.orders)] == ["R1"]
    told = finding(lab, "sweep_ended")
    assert told.subject == "store/kart"
    assert told.evidence["why"] == "its cursor repeats"
    assert lab.clock() < state(lab).next_sweep_at <= lab.clock() + timedelta(minutes=10)
    for _ in range(3):
        lab.later(1)
    assert shop.calls["GET /orders"] <= 4 * 3
    assert len(swept(lab)) == 1

    shop.says["GET /orders"] = (200, {"orders": [order("R1"), order("R2")], "next": None})
    lab.later(1)
    assert "sweep_ended" not in lab.open_findings()
    assert [row.ref for row in lab.rows(t.orders)] == ["R1", "R2"]
    assert state(lab).synced_at is not None


def _turning(params: dict[str, str]) -> Says:
    return 200, {"orders": [order("R1")], "next": "3" if params.get("cursor") == "2" else "2"}


def _counting(params: dict[str, str]) -> Says:
    page = int(params.get("cursor", "1"))
    return 200, {"orders": [order("R1")], "next": str(page + 1) if page < 50 else None}  # who goes on so far is wrong


def _counting_and_empty(params: dict[str, str]) -> Says:
    return 200, {"orders": [], "next": str(int(params.get("cursor", "1")) + 1)}


def _wrapping(params: dict[str, str]) -> Says:
    page = int(params.get("cursor", "0"))
    return 200, {"orders": [order(f"R{page % 5}{i}") for i in range(3)], "next": str(page + 1)}


@pytest.mark.parametrize(
    ("says", "asked", "why"),
    [(_turning, 4, "its cursor repeats"), (_counting, 4, "its pages repeat"), (_wrapping, 8, "its pages repeat"),
     (_counting_and_empty, sweep.MOST_EMPTY + 1, "100 pages in a row hold nothing")],
    ids=["two in turn", "other cursors", "it begins again", "empty pages"],
)  # fmt: skip
def test_pages_that_bring_no_news_end_a_sweep_however_their_cursors_look(kart, says, asked, why) -> None:
    lab, shop = kart
    shop.says["GET /orders"] = says
    lab.work()

    assert shop.calls["GET /orders"] <= asked
    assert finding(lab, "sweep_ended").evidence["why"] == why
    assert len(swept(lab)) <= 5 if says is not _counting_and_empty else True


def test_a_sweep_that_ended_in_circles_begins_again_where_it_began(kart) -> None:
    lab, shop = kart
    lab.work()
    before = state(lab).cursor
    shop.says["GET /orders"] = _turning
    lab.later(1)

    assert state(lab).cursor == before
    assert state(lab).sweep_from is None


def _long(pages: int, each: int = 2) -> Callable[[dict[str, str]], Says]:
    def says(params: dict[str, str]) -> Says:
        page = int(params.get("cursor", "0"))
        rows = [order(f"R{page}-{i}") for i in range(each)]
        return 200, {"orders": rows, "next": str(page + 1) if page + 1 < pages else None}

    return says


def test_a_long_sweep_pauses_and_goes_on_from_its_cursor_without_being_an_error(kart, monkeypatch) -> None:
    lab, shop = kart
    monkeypatch.setattr(sweep, "MOST_PAGES", 3)
    shop.says["GET /orders"] = _long(10)
    lab.work("poll")

    assert shop.calls["GET /orders"] == 10  # no page twice
    assert state(lab).synced_at == lab.clock()
    assert lab.rows(t.findings) == []
    lab.work()
    assert len(lab.rows(t.orders)) == 20


def test_a_first_sync_of_many_orders_is_no_circle() -> None:
    told = sweep._Told({None})
    for page in range(10_000):
        told.take(sweep.Page((), str(page)), [sweep.Order.__hash__ and f"{page}-{i}" for i in range(10)])
        assert told.circles == ""


# what is equal is stored once


def test_a_page_that_says_nothing_new_is_not_stored_and_counts_as_read(kart) -> None:
    lab, shop = kart
    shop.says["GET /orders"] = (200, {"orders": [order("R1"), order("R2")], "next": None})
    lab.work()
    stored, first = len(swept(lab)), lab.rows(t.orders)
    for _ in range(3):
        lab.later(1)

    assert len(swept(lab)) == stored
    again = lab.rows(t.orders)
    assert [row.version for row in again] == [1, 1]
    assert all(late.read_at > early.read_at for early, late in zip(first, again, strict=True))


def test_a_page_like_the_last_one_is_stored_where_we_know_otherwise_meanwhile(kart) -> None:
    """A read between them told of another status: the page says that it is over."""
    lab, shop = kart
    shop.says["GET /orders"] = (200, {"orders": [order("R1")], "next": None})
    lab.work()
    shop.says["GET /orders/R1"] = (200, {"order": order("R1", status="Shipped")})
    with lab.daemon.store.write() as connection:
        queries.note_changes(connection, "kart", ["R1"], database_now(connection))
    lab.work()
    assert lab.one(t.orders).status == "shipped"
    shop.says["GET /orders/R1"] = (200, {"order": order("R1")})
    lab.later(1)

    assert lab.one(t.orders).status == "processing"


def test_checkouts_that_were_told_by_the_sweep_before_are_not_stored_again(kart) -> None:
    lab, shop = kart
    left = {"ref": "C1", "began_at": "2026-11-02T08:00:00Z", "updated_at": "2026-11-02T08:00:00Z"}
    shop.says["GET /checkouts"] = (200, {"checkouts": [left], "next": None})
    lab.work()
    stored = len(swept(lab))
    lab.later(1)
    assert len(swept(lab)) == stored
    shop.says["GET /checkouts"] = (200, {"checkouts": [left | {"recovered": True}], "next": None})
    lab.later(1)

    assert len(swept(lab)) == stored + 1
    assert "abandoned_checkout" not in lab.open_findings()


# a list that fails


def test_a_list_that_fails_alone_is_told_costs_the_sweep_only_and_is_asked_ever_more_seldom(kart) -> None:
    lab, shop = kart
    lab.work()
    shop.says["GET /checkouts"] = BadPayload("$.checkouts", "is missing")
    for minute in range(0, 120, 2):
        lab.clock.move_to(START + H + timedelta(minutes=minute))
        lab.work("poll")

    assert shop.calls["GET /checkouts"] <= 1 + 8 + 12  # the rests double up to a sweep's ten minutes
    told = finding(lab, "source_unavailable")
    assert (told.subject, told.evidence["why"]) == ("account/kart/sweep", "$.checkouts: is missing")
    assert state(lab).blocked_until is None
    assert state(lab).rests_until is None
    shop.says["GET /checkouts"] = (200, {"checkouts": [], "next": None})
    lab.later(1)
    assert "source_unavailable" not in lab.open_findings()
    assert state(lab).sweep_failing_since is None


def test_a_cursor_that_a_shop_no_longer_takes_is_given_up_for_where_the_sweep_began(kart) -> None:
    lab, shop = kart
    lab.work()
    began = state(lab).cursor
    pages = _long(4)
    shop.says["GET /orders"] = lambda params: Transient("gone") if params.get("cursor") == "2" else pages(params)
    lab.later(1)
    assert state(lab).cursor != began
    shop.says["GET /orders"] = lambda params: (400, {}) if params.get("cursor") == "2" else pages(params)
    lab.later(1)
    assert (state(lab).cursor, state(lab).sweep_from) == (began, None)
    shop.says["GET /orders"] = pages
    lab.later(1)

    assert len(lab.rows(t.orders)) == 8
    assert "source_unavailable" not in lab.open_findings()


def test_an_error_where_the_list_stands_loses_no_order_although_another_list_is_newer(kart) -> None:
    lab, shop = kart
    answers = read("rest-error-with-200.answers.json")
    shop.says["GET /orders"] = (200, {"orders": [order("R0")], "next": None})
    lab.work()
    shop.says |= {path: (said["status"], said["body"]) for path, said in answers.items()}
    lab.later(1)
    assert finding(lab, "source_unavailable").evidence["why"].startswith("GET /orders answered without its list")
    before = order("R1", updated_at="2026-11-02T08:30:00Z")  # while the newer checkout was there to be read
    shop.says["GET /orders"] = lambda params: (
        200,
        {"orders": [before][: params.get("updated_since", "") < "2026-11-02T08:30"], "next": None},
    )
    lab.later(4)

    assert [row.ref for row in lab.rows(t.orders)] == ["R0", "R1"]
    assert "abandoned_checkout" in lab.open_findings()
    assert "source_unavailable" not in lab.open_findings()
