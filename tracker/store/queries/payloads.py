"""The inbox as its writers see it: payloads with their bytes, stored before anybody is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tracker.store.engine import clock, database_now
from tracker.store.queries.dialect import is_sqlite
from tracker.store.queries.rows import given_rows, nothing, told_columns
from tracker.store.tables import inbox

TOLD_AGAIN = "told-again"  # a header of ours: the sender was asked for it after an outage of ours


def store_payloads(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert payloads; a webhook, or a part of a file, that was stored before changes nothing. Returns how many are new."""
    if not rows:
        return 0
    if connection.get_execution_options().get("ahead") is not None:  # a play's clock is not the one that SQL reads
        rows = [{"due_at": database_now(connection), **row} for row in rows]
    told, begins = [], 1  # JSON has no bytes: all bodies are one parameter, and each row says where its own begins
    for row in rows:
        told.append({name: value for name, value in row.items() if name != "body"} | {"begins": begins})
        begins += len(row["body"])
    sqlite_ = is_sqlite(connection)
    given = given_rows(sqlite_, told) | {"bodies": b"".join(row["body"] for row in rows)}
    done = connection.execute(_payloads(sqlite_, tuple(told[0])), given, execution_options={"preserve_rowcount": True})
    return int(done.rowcount)


@cache
def _payloads(sqlite_: bool, names: tuple[str, ...]) -> Any:
    told = told_columns(sqlite_, {name: sa.Integer() if name == "begins" else inbox.c[name].type for name in names})
    body = sa.func.substr(sa.bindparam("bodies", type_=sa.LargeBinary()), told["begins"], told["size"])
    if sqlite_:  # whose `substr` of no bytes is NULL
        body = sa.func.coalesce(body, sa.func.zeroblob(0))
    columns = {name: told[name] for name in names if name != "begins"} | {"body": body}
    columns.setdefault("due_at", clock(sqlite_))
    chosen = sa.select(*columns.values()).where(sa.true())  # SQLite wants a WHERE before ON CONFLICT
    return nothing((sqlite if sqlite_ else postgresql).insert(inbox).from_select(list(columns), chosen))


def payload_row(
    account: str,
    kind: str,
    parts: Sequence[bytes],
    received_at: datetime,
    due_at: datetime | None,
    *,
    headers: Mapping[str, str] | None = None,
    dedupe_key: str | None = None,
    asked_at: datetime | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Make an inbox row. `received_at` is business time, `due_at` (None: when it is stored) and `asked_at` the database's."""
    row = {
        "account": account,
        "kind": kind,
        "dedupe_key": dedupe_key,
        "headers": dict(headers or {}),
        "body": parts[0] if len(parts) == 1 else b"".join(parts),
        "part_sizes": None if len(parts) == 1 else [len(part) for part in parts],
        "size": sum(map(len, parts)),
        "state": "pending",
        "attempts": 0,
        "crashes": 0,
        "asked_at": asked_at,
        "quiet": quiet,
        "received_at": received_at,
    }
    return row if due_at is None else row | {"due_at": due_at}
