"""What our two databases say in different words: locks, many values as one parameter, ON CONFLICT."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection


def is_sqlite(connection: Connection) -> bool:
    """Tell which of the two dialects a connection speaks."""
    return connection.dialect.name == "sqlite"


def skip_locked(connection: Connection, statement: sa.Select[Any]) -> sa.Select[Any]:
    """Lock what is selected and pass over what others hold; SQLite's write lock does that already."""
    return statement if is_sqlite(connection) else statement.with_for_update(skip_locked=True)


def oldest(connection: Connection, due: sa.Select[Any], given: Mapping[str, Any] | None = None) -> sa.CursorResult[Any]:
    """Select what is due, oldest first, by walking its index only as far as the statement's limit."""
    with by_index(connection):
        return connection.execute(due, given)


@contextmanager
def by_index(connection: Connection) -> Iterator[None]:
    """Have statements that say an order and a limit walk their index.

    PostgreSQL takes a backlog that came since its last ANALYZE for some rows, and would read and sort all of it each time.
    """
    if is_sqlite(connection):
        yield
        return
    connection.execute(_BY_INDEX)
    yield
    connection.execute(_AS_IT_WAS)  # to find many rows by their ids a bitmap is right


_BY_INDEX, _AS_IT_WAS = sa.text("SET LOCAL enable_bitmapscan = off"), sa.text("RESET enable_bitmapscan")


def locked(connection: Connection, statement: sa.Select[Any]) -> sa.Select[Any]:
    """Lock what is selected, waiting for others."""
    return statement if is_sqlite(connection) else statement.with_for_update()


def in_order(connection: Connection, key: sa.Column[Any], which: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Return which rows to UPDATE, locked by their key as everybody locks them: an UPDATE of many locks them as it meets them."""
    if is_sqlite(connection):
        return which
    return key.in_(sa.select(key).where(which).order_by(key).with_for_update().correlate(None))


class _Listed(sa.types.TypeDecorator[list[Any]]):
    """Many values as one JSON text, for SQLite's `json_each`."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[int | str] | None, _dialect: Any) -> str:
        return orjson.dumps(list(value or ())).decode()


def one_of(
    sqlite_: bool, column: sa.ColumnElement[Any], name: str, values: Sequence[int | str] | None = None
) -> sa.ColumnElement[bool]:
    """Return `column IN name`, where all values are one parameter of that name: a list, given now or with each execution.

    The text of the statement then never changes: 200 placeholders cost more to render and to parse than the rows to find.
    And a statement can be made once for all values: making one costs 0.1 ms.
    """
    integer = isinstance(column.type, sa.Integer)
    kind: Any = _Listed() if sqlite_ else postgresql.ARRAY(sa.BigInteger() if integer else sa.Text())
    given: Any = (
        sa.bindparam(name, type_=kind) if values is None else sa.bindparam(name, values, type_=kind, unique=True)
    )
    if sqlite_:
        return column.in_(sa.select(sa.func.json_each(given).table_valued("value").c.value))
    return column == sa.any_(given)


def among(connection: Connection, column: sa.ColumnElement[Any], values: Iterable[int | str]) -> sa.ColumnElement[bool]:
    """Return `column IN values`, as `one_of`, for a statement that is made for these values only."""
    return one_of(is_sqlite(connection), column, "values", list(values))


Stores = str | frozenset[str] | None  # one store, some of them, or all


def of_stores(column: sa.ColumnElement[Any], stores: Stores) -> list[sa.ColumnElement[bool]]:
    """Return the condition that a row is of some stores; none where all are meant."""
    if stores is None:
        return []
    return [column == stores] if isinstance(stores, str) else [column.in_(sorted(stores))]


def upsert(connection: Connection, table: sa.Table) -> Any:
    """Return an INSERT that knows ON CONFLICT in the connection's dialect."""
    return sqlite.insert(table) if is_sqlite(connection) else postgresql.insert(table)
