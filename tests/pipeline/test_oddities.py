"""A source that answers otherwise than it was asked is told once, since when, and over when it does not; what is the same asks no database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from tests.lab import USPS, Lab
from tracker.pipeline import oddities
from tracker.sandbox.base import Outgoing
from tracker.store import tables as t

VERSION = "x-shopify-api-version"
ASKED, NEWER = {VERSION: "2026-04"}, {VERSION: "2026-07"}


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    made: Lab = make_lab()
    made.work()
    return made


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what any engine is asked meanwhile."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        asked.append(statement)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)


def heard(lab: Lab, headers: dict[str, str]) -> None:
    oddities.heard(lab.ctx, lab.ctx.config.accounts["shop"], headers)


def told(lab: Lab) -> list[tuple[str, bool]]:
    rows = lab.rows(t.findings, t.findings.c.kind == "answers_oddly")
    return [(row.subject, row.closed_at is None) for row in rows]


def test_another_version_than_was_asked_for_is_told_once_with_the_moment_and_closed_when_it_is_equal_again(
    lab: Lab,
) -> None:
    heard(lab, ASKED)
    assert told(lab) == []
    lab.later(1)
    heard(lab, NEWER)
    with statements() as asked:
        heard(lab, NEWER)
        heard(lab, {})  # an answer that names none, such as a token's
    assert asked == []
    (row,) = lab.rows(t.findings)
    assert (row.subject, row.opened_at, row.act) == ("account/shop/answers", lab.clock(), "act")
    assert row.evidence == {
        "account": "shop", "of": "answers",
        "said": "2026-04 was asked for, and '2026-07' came: set api_version to one that is supported and has what is read",
    }  # fmt: skip
    heard(lab, ASKED)
    assert told(lab) == [("account/shop/answers", False)]
    with statements() as asked:
        heard(lab, ASKED)
    assert asked == []


def test_a_process_that_begins_later_closes_what_one_before_it_told_and_asks_nothing_for_the_others(lab: Lab) -> None:
    heard(lab, NEWER)
    lab.ctx.said_odd = None
    heard(lab, ASKED)
    assert told(lab) == [("account/shop/answers", False)]
    lab.ctx.said_odd = {}
    with statements() as asked:
        heard(lab, ASKED)
    assert asked == []


def test_a_webhook_of_another_version_is_told_beside_answers(lab: Lab) -> None:
    lab.order("#1", USPS)
    first, *others = lab.shop.outgoing
    lab.shop.outgoing[:] = [Outgoing(first.account, first.body, {**first.headers, VERSION: "2026-07"})]
    lab.work()
    assert told(lab) == [("account/shop/webhooks", True)]
    lab.shop.outgoing[:] = others
    lab.work()
    assert told(lab) == [("account/shop/webhooks", False)]


def test_an_answer_counts_although_the_database_is_away_and_the_next_one_is_told(lab: Lab) -> None:
    def away(*_: object) -> None:
        raise sa.exc.OperationalError("INSERT", {}, OSError("away"))

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", away)
    try:
        heard(lab, NEWER)
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", away)
    assert told(lab) == []
    heard(lab, NEWER)
    assert told(lab) == [("account/shop/answers", True)]
