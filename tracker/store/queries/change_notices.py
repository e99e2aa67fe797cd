"""Orders that shall be read again: change notices of one ref are one row."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.store.queries.dialect import upsert
from tracker.store.tables import change_notices


def note_changes(
    connection: Connection, account: str, refs: Iterable[str], now: datetime, again_at: datetime | None = None
) -> None:
    """Ask for a re-read of each ref, soon; hints coalesce. `again_at`: and once more then (business time), whatever was read before."""
    new = {"noticed_at": now, "due_at": now, **({"again_at": again_at} if again_at is not None else {})}
    rows = [{"account": account, "ref": ref, "attempts": 0, **new} for ref in sorted(set(refs))]
    if rows:
        insert = upsert(connection, change_notices)
        values = {name: insert.excluded[name] for name in new} | {
            "not_before": None
        }  # a new word is looked for at once
        connection.execute(insert.on_conflict_do_update(index_elements=["account", "ref"], set_=values), rows)


def ask_alone(
    connection: Connection, account: str, ref: str, now: datetime, not_before: datetime | None, why: str
) -> None:
    """Ask for a re-read of one ref in a call of its own, not before a moment (business time) unless somebody hints at it."""
    r, insert = change_notices.c, upsert(connection, change_notices)
    row = {
        "account": account, "ref": ref, "attempts": 0, "noticed_at": now, "due_at": now, "not_before": not_before,
        "error": why,
    }  # fmt: skip
    earlier = sa.case((r.not_before < insert.excluded.not_before, r.not_before), else_=insert.excluded.not_before)
    values = {
        "noticed_at": insert.excluded.noticed_at, "error": insert.excluded.error,
        "not_before": sa.case((r.not_before.is_(None), sa.null()), else_=earlier),
    }  # fmt: skip
    connection.execute(insert.on_conflict_do_update(index_elements=["account", "ref"], set_=values), row)
