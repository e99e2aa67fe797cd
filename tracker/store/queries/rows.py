"""Many rows as one parameter of one statement.

A statement a row costs 50 us with PostgreSQL and 20 with SQLite, most of it in the driver and before it. The statements are
made once: SQLAlchemy then knows them by their memoized key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tracker.store.queries.dialect import is_sqlite
from tracker.store.tables import moment_text


def nothing(insert: Any) -> Any:
    """Let rows that are there stay as they are."""
    return insert.on_conflict_do_nothing()


def put(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    conflict: Callable[[Any], Any] = nothing,
    returning: tuple[sa.Column[Any], ...] = (),
) -> Sequence[Any]:
    """Insert rows that have the same keys; `conflict` says what becomes of those that are there (nothing).

    Returns what was written of each row that was inserted or changed, in any order: its `returning`.
    """
    if not rows:
        return ()
    sqlite_ = is_sqlite(connection)
    done = connection.execute(_insert(sqlite_, table, tuple(rows[0]), conflict, returning), given_rows(sqlite_, rows))
    return done.all() if returning else ()


def change(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Update rows by their id, given as `b_id`; all have the same keys."""
    if rows:
        sqlite_ = is_sqlite(connection)
        connection.execute(_update(sqlite_, table, tuple(rows[0])), given_rows(sqlite_, rows))


@lru_cache(maxsize=100)
def _insert(
    sqlite_: bool,
    table: sa.Table,
    names: tuple[str, ...],
    conflict: Callable[[Any], Any],
    returning: tuple[sa.Column[Any], ...],
) -> Any:
    told = told_columns(sqlite_, {name: table.c[name].type for name in names})
    chosen = sa.select(*(told[name] for name in names)).where(sa.true())  # SQLite wants a WHERE before ON CONFLICT
    insert = (sqlite if sqlite_ else postgresql).insert(table).from_select(list(names), chosen)
    return conflict(insert).returning(*returning) if returning else conflict(insert)


@lru_cache(maxsize=100)
def _update(sqlite_: bool, table: sa.Table, names: tuple[str, ...]) -> sa.Update:
    told = told_columns(sqlite_, {name: table.c["id" if name == "b_id" else name].type for name in names})
    values = {name: told[name] for name in names if name != "b_id"}
    return table.update().values(values).where(table.c.id == told["b_id"])


def told_columns(sqlite_: bool, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of the parameter that `given_rows` gives, by name."""
    rows = sa.bindparam("rows_", type_=sa.Text())
    if sqlite_:
        each = sa.func.json_each(rows).table_valued("value").c.value
        return {
            # a JSON column keeps the text of its value; of others the value itself is wanted
            name: each.op("->")(f"$.{name}") if isinstance(kind, sa.JSON) else sa.func.json_extract(each, f"$.{name}")
            for name, kind in types.items()
        }
    columns = (sa.column(name, kind) for name, kind in types.items())
    told = sa.func.jsonb_to_recordset(sa.cast(rows, postgresql.JSONB)).table_valued(*columns)
    return dict(told.render_derived(name="told", with_types=True).c)


def given_rows(sqlite_: bool, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return rows as the one parameter of a statement. Raises TypeError for a naive moment."""
    option = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS
    moment = moment_text if sqlite_ else datetime.isoformat

    def other(value: Any) -> str:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return moment(value)
        raise TypeError(f"a naive moment must not reach the database, nor a {type(value).__name__}")

    return {"rows_": orjson.dumps(list(rows), default=other, option=option).decode()}
