"""Start and reload: what is there is compared, only differences are written, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.lab import START, H, Lab
from tracker.config.load import load_text
from tracker.domain.facts import Payload
from tracker.pipeline import receive
from tracker.store import tables as t
from tracker.upkeep import settle

MORE = (
    "  more-{i}: {{uses: rest, base_url: https://x.example.com, api_token: '${{file:{folder}/s}}', "
    "webhook_secrets: '${{file:{folder}/hook}}', mode: {mode}, policy: {{preset: kingston-courier}}}}\n"
)


@contextmanager
def said(lab: Lab) -> Iterator[list[str]]:
    """Give each statement as it is said; `COMMIT` ends a transaction that wrote."""
    told: list[str] = []
    engine = lab.ctx.store.engine

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        told.append(statement)

    def commit(_connection: Any) -> None:
        told.append("COMMIT")

    sa.event.listen(engine, "before_cursor_execute", listen)
    sa.event.listen(engine, "commit", commit)
    yield told
    sa.event.remove(engine, "before_cursor_execute", listen)
    sa.event.remove(engine, "commit", commit)


def many(lab: Lab, tmp_path: Any, count: int, mode: str = "observe") -> None:
    """Put so many more stores into the configuration."""
    more = "".join(MORE.format(i=i, folder=tmp_path, mode=mode) for i in range(count))
    lab.ctx.config = load_text(lab.yaml + more)


def writes(told: list[str]) -> list[str]:
    return [one for one in told if one.lstrip().startswith(("INSERT", "UPDATE", "DELETE"))]


def test_where_nothing_changed_nothing_is_written_and_the_statements_do_not_grow_with_the_stores(
    make_lab, tmp_path
) -> None:
    lab = make_lab()
    counts = []
    for count in (1, 25):
        many(lab, tmp_path, count)
        settle.settle_accounts(lab.ctx)
        with said(lab) as told:
            settle.settle_accounts(lab.ctx)
        assert writes(told) == []
        counts.append(len(told))

    assert counts[0] == counts[1] < 20


def test_what_differs_is_written_a_few_rows_a_transaction(make_lab, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "AT_ONCE", 2)
    lab = make_lab()
    many(lab, tmp_path, 6)
    with said(lab) as told:
        settle.settle_accounts(lab.ctx)
    assert len([one for one in writes(told) if "INTO accounts" in one]) == 3
    many(lab, tmp_path, 6, mode="write")
    with said(lab) as told:
        settle.settle_accounts(lab.ctx)

    assert {row.mode for row in lab.rows(t.accounts, t.accounts.c.name.startswith("more"))} == {"write"}
    uses = lab.rows(t.policy_uses, t.policy_uses.c.store.startswith("more"))
    assert {use.store for use in uses if use.mode == "write"} == {f"more-{i}" for i in range(6)}
    transactions = " ; ".join(told).split("COMMIT")
    assert max(one.count("UPDATE accounts") for one in transactions) == 1
    assert sum("UPDATE accounts" in one for one in transactions) == 3


def test_posts_lock_accounts_in_the_order_in_which_a_start_does(make_lab) -> None:
    lab = make_lab()
    named: list[Any] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("UPDATE accounts"):
            named.append(parameters)

    config = lab.ctx.config
    payloads = [Payload(name, "webhook", (name.encode(),), lab.clock(), {}) for name in ("ups", "shop", "dhl")]
    sa.event.listen(lab.ctx.store.engine, "before_cursor_execute", listen)
    receive.commit(lab.ctx, [(config.accounts[payload.account], payload) for payload in payloads])
    sa.event.remove(lab.ctx.store.engine, "before_cursor_execute", listen)

    order = [name for one in named for name in ("ups", "shop", "dhl") if name in str(one)]
    assert order == ["dhl", "ups", "shop"]  # carriers by name, then stores


def orders(lab: Lab) -> None:
    for i in range(5):
        lab.rest.place(f"#{i}", lab.clock(), status="Processing", delivery={"method": "courier"})
        lab.order(f"#{i}")
    lab.work()


def due(lab: Lab) -> set[str]:
    return {f"{row.store}{row.number}" for row in lab.rows(t.orders, t.orders.c.reconcile_at == lab.clock())}


@pytest.fixture
def busy(make_lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Return a lab with five orders of each of two stores, of which two are marked at once."""
    monkeypatch.setattr(settle, "ORDERS_AT_ONCE", 2)
    lab: Lab = make_lab(rest="{preset: kingston-courier}")
    orders(lab)
    lab.clock.move_to(START + H)
    assert due(lab) == set()
    return lab


def observing(lab: Lab) -> Any:
    head, kart, rest = lab.yaml.partition("  kart:")
    return load_text(head + kart + rest.replace("mode: write", "mode: observe"))


def test_a_new_decision_marks_every_order_of_its_store_and_no_other_in_small_transactions(busy: Lab) -> None:
    busy.ctx.config = observing(busy)
    with said(busy) as told:
        settle.settle_accounts(busy.ctx)

    assert due(busy) == {f"kart#{i}" for i in range(5)}
    marks = [one for one in " ; ".join(told).split("COMMIT") if "UPDATE orders" in one]
    assert len(marks) == 3
    assert not any("UPDATE accounts" in one for one in marks)


def test_a_process_that_decided_otherwise_marks_them_although_another_wrote_the_row_first(busy: Lab) -> None:
    before = busy.ctx.config
    other = replace(busy.ctx, config=observing(busy))
    settle.settle_accounts(other)
    busy.work("decide")  # by the old configuration: nothing new
    busy.clock.move_to(busy.clock() + H)
    busy.ctx.config = other.config
    settle.settle_accounts(busy.ctx)
    assert due(busy) == set()

    settle.settle_accounts(busy.ctx, before)
    assert due(busy) == {f"kart#{i}" for i in range(5)}


def test_what_ended_in_the_middle_is_found_by_the_next_start(busy: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    busy.ctx.config = observing(busy)

    def dies(*_: Any) -> None:
        raise KeyError

    monkeypatch.setattr(settle, "_note_uses", dies)
    with pytest.raises(KeyError):
        settle.settle_accounts(busy.ctx)
    monkeypatch.undo()
    busy.clock.move_to(busy.clock() + H)
    settle.settle_accounts(busy.ctx)

    assert due(busy) == {f"kart#{i}" for i in range(5)}
    assert busy.one(t.accounts, t.accounts.c.name == "kart").mode == "observe"
    assert [use.mode for use in busy.rows(t.policy_uses, t.policy_uses.c.store == "kart")] == ["write", "observe"]


def test_new_credentials_end_a_suspension_and_nothing_else_does(make_lab) -> None:
    lab = make_lab()
    lab.change(t.accounts.update().values(suspended_reason="refused"))
    lab.change(t.accounts.update().where(t.accounts.c.name == "dhl").values(credentials="others"))
    lab.change(t.accounts.update().where(t.accounts.c.name == "ups").values(kind="store"))  # another row to write
    settle.settle_accounts(lab.ctx)

    told = {row.name: row.suspended_reason for row in lab.rows(t.accounts)}
    assert told == {"dhl": None, "easypost": "refused", "shop": "refused", "ups": "refused"}


def test_access_tokens_of_accounts_that_are_gone_or_changed_are_dropped_at_start(make_lab) -> None:
    lab = make_lab()
    mine = lab.ctx.config.accounts["ups"].credentials
    rows = [("ups", mine), ("dhl", "of before"), ("gone", mine)]
    for name, credentials in rows:
        lab.change(t.tokens.insert().values(account=name, credentials=credentials, again=False, attempts=1))
    settle.settle_accounts(lab.ctx)

    assert [row.account for row in lab.rows(t.tokens)] == ["ups"]
