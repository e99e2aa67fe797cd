"""What is due, in turns: where more waits than a batch takes, each store or account gets its share of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.turns import Turns
from tracker.store.queries.dialect import by_index, is_sqlite, oldest
from tracker.store.queries.waits import FEW
from tracker.store.tables import accounts

Classes = tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]  # what is urgent, and what is not


def in_turns(
    connection: Connection,
    turns: Turns,
    due_for: Callable[[bool], sa.Select[Any]],
    by: sa.Column[Any],
    classes: Classes,
    given: Mapping[str, Any],
    most: int,
) -> Sequence[Row[Any]]:
    """Select `most` rows of what is due: oldest first where no more waits, else each `by` (store, account) its share.

    `due_for` returns the statement for SQLite, or one that locks: the same objects each time, as `classes`; it has a parameter `most`, and
    its columns begin with the id. Within each store and class the oldest come first; the rows are given so that whoever takes only the
    first of them is fair too.
    """
    due = due_for(is_sqlite(connection))
    rows = oldest(connection, due, {**given, "most": most}).all()
    if len(rows) < most:
        return rows
    waiting = _waits(connection, _waiting(due_for(True), by, classes), given, most)
    if sum(bool(urgent) + bool(ordinary) for _, urgent, ordinary in waiting) < 2:
        return rows
    dealt = turns.deal(most, {name: count for name, count, _ in waiting}, {name: count for name, _, count in waiting})
    ranked: list[tuple[int, Row[Any]]] = []
    with by_index(connection):
        for name, both in dealt.items():
            for which, room in zip(classes, both, strict=True):
                if room:
                    mine = connection.execute(_of_one(due, by, which), {**given, "most": room, "name": name})
                    ranked += enumerate(mine)
    ranked.sort(key=lambda one: one[0])  # the first of each, then the second of each
    return [row for _, row in ranked] or rows


def _waits(
    connection: Connection, waiting: sa.Select[Any], given: Mapping[str, Any], most: int
) -> Sequence[tuple[str, int, int]]:
    """Count what waits of each, no further than it matters: many that wait for one batch get few rows each."""
    found: list[tuple[str, int, int]] = []
    for far in (FEW, most):
        with by_index(connection):
            counted = connection.execute(waiting, {**given, "most": far}).all()
        found = [(name, urgent, ordinary) for name, urgent, ordinary in counted if urgent or ordinary]
        if len(found) * FEW >= most or sum(bool(urgent) + bool(ordinary) for _, urgent, ordinary in found) < 2:
            break
    return found


@cache
def _waiting(due: sa.Select[Any], by: sa.Column[Any], classes: Classes) -> sa.Select[Any]:
    """Select how much of each account's is due, urgent and not, up to `most` of each: a probe of an index, where nothing is. `due` locks nothing."""
    bare = due.with_only_columns(due.selected_columns[0])

    def count(which: sa.ColumnElement[Any]) -> Any:
        some = bare.where(by == accounts.c.name, which).correlate(accounts).subquery()
        return sa.select(sa.func.count()).select_from(some).scalar_subquery()

    return sa.select(accounts.c.name, *map(count, classes)).order_by(accounts.c.name)


@cache
def _of_one(due: sa.Select[Any], by: sa.Column[Any], which: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return due.where(by == sa.bindparam("name", type_=by.type), which)
