"""Orders that shall be read again: change notices of one ref are one row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.store.queries.dialect import among, upsert
from tracker.store.tables import change_notices, fresh_reads

QUIET = timedelta(
    seconds=2
)  # so long nobody must have spoken of an order that was read just now, until it is read again
LONGEST = timedelta(seconds=30)  # but no longer than this after it was read


def note_changes(
    connection: Connection,
    account: str,
    refs: Iterable[str],
    now: datetime,
    again_at: datetime | None = None,
    *,
    later: Mapping[str, datetime] = MappingProxyType({}),
) -> None:
    """Ask for a re-read of each ref, at once, or of those in `later` then; hints coalesce.

    `again_at`: and once more then (business time), whatever was read before.
    """
    new = {"noticed_at": now, "due_at": now, **({"again_at": again_at} if again_at is not None else {})}
    rows = [
        {"account": account, "ref": ref, "attempts": 0, **new, "due_at": later.get(ref, now)}
        for ref in sorted(set(refs))
    ]
    if rows:
        insert = upsert(connection, change_notices)
        values = {name: insert.excluded[name] for name in new} | {
            "not_before": None
        }  # a new word is looked for at once
        connection.execute(insert.on_conflict_do_update(index_elements=["account", "ref"], set_=values), rows)


def note_hints(connection: Connection, account: str, refs: Iterable[str], now: datetime) -> None:
    """Ask for a re-read of each ref that a webhook named: at once, or once a storm is over.

    The first hook is read at once. What follows within QUIET of that read waits until nobody has spoken for QUIET: a thousand hooks of
    one order in a second cost two reads, and the last begins after the last hook.
    """
    wanted = sorted(set(refs))
    if not wanted:
        return
    r, f = change_notices.c, fresh_reads.c
    lately = sa.and_(among(connection, f.ref, wanted), f.account == account, f.read_at > now - LONGEST)
    read: dict[str, datetime] = {
        row.ref: row.read_at for row in connection.execute(sa.select(f.ref, f.read_at).where(lately))
    }
    waits = set()
    if read:
        still = sa.and_(among(connection, r.ref, sorted(read)), r.account == account, r.due_at > now)
        waits = set(connection.execute(sa.select(r.ref).where(still)).scalars())
    storms = {
        ref: min(now + QUIET, at + LONGEST) for ref, at in read.items() if ref in waits or now - at < QUIET
    }  # by when nobody may have spoken any more
    note_changes(connection, account, wanted, now, later=storms)


def were_read(connection: Connection, account: str, refs: Iterable[str], now: datetime) -> None:
    """Keep when orders were read, for a while; one of which was spoken meanwhile waits for QUIET like the others."""
    rows = [{"account": account, "ref": ref, "read_at": now} for ref in sorted(set(refs))]
    if rows:
        insert = upsert(connection, fresh_reads)
        values = {"read_at": insert.excluded.read_at}
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
