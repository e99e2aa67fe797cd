"""Read a payload with its plugin: what it says, what of it could not be read, why it says nothing. No table is touched."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from sqlalchemy.engine import Row

from tracker.config.model import Account
from tracker.domain.errors import BadPayload
from tracker.domain.facts import ChangeNotice, Checkout, Order, Payload, Report, Unread
from tracker.pipeline import unread
from tracker.pipeline.context import AppContext
from tracker.plugin.payloads import mapping
from tracker.store.codec import plain

REMAP = "remap"  # an inbox row of ours: read these shipments' codes again
_ITEMS = (Report, Order, ChangeNotice, Checkout)


@dataclass
class Parsed:
    """An inbox row and what it says; `dead` says why it says nothing."""

    row: Row[Any]
    account: Account | None
    payload: Payload | None = None
    items: list[Report | Order | ChangeNotice | Checkout] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    dead: str | None = None
    failed: Exception | None = None  # not by what it says: it is tried again
    waits: bool = False  # nobody can read it before the entry of its account is mended
    remap: list[int] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)  # numbers under which several shipments stand


def parse(ctx: AppContext, row: Row[Any]) -> Parsed:
    """Read one payload with its plugin; raises nothing: what goes wrong is this row's alone.

    A BadPayload ends the row `dead` with its path, any other exception with the place where it was raised: a parser is pure
    and fails the same way each time, so trying again is in vain. Both can be replayed.
    """
    if row.account in ctx.config.suspended:
        return Parsed(row, None, waits=True)
    account = ctx.account(row.account)
    if account is None:
        return Parsed(row, None, dead=f"no account {row.account!r} in the configuration")
    if row.body is None:
        return Parsed(row, account, dead="the body is past its retention")
    parsed = Parsed(row, account)
    try:
        parts, start = [], 0
        for size in row.part_sizes or [len(row.body)]:
            parts.append(row.body[start : start + size])
            start += size
        parsed.payload = payload = Payload(row.account, row.kind, tuple(parts), row.received_at, row.headers)
        if row.kind == REMAP:
            parsed.remap = _shipments_of(row.body)
            return parsed
        for item in account.source.normalize(payload):
            if isinstance(item, Unread):
                parsed.unread.append(unread.piece(item))
            elif isinstance(item, _ITEMS):
                if row.kind == "file" and isinstance(item, Report):  # of a time that nobody knows: it withdraws nothing
                    item = replace(item, complete=False)
                parsed.items.append(item)
            else:
                raise TypeError(f"a parser yields a {type(item).__name__}")
    except BadPayload as error:
        parsed.dead = plain(f"bad_payload: {error}", 500)
    except MemoryError as error:  # the machine's fault, not the payload's
        parsed.failed = error
    except Exception as error:
        parsed.dead = f"parser_failed: {fault(error, type(account.source).__module__)}"
        ctx.log.warning("parser_failed", inbox=row.id, account=row.account, error=parsed.dead)
        ctx.count("tracker_inbox_failures_total", account=row.account)
    lost = [one for one in parsed.unread if one.lacks != "nothing"]
    if lost and not parsed.items and parsed.dead is None:  # nothing of it was read
        parsed.dead = f"unread: {lost[0].where}: {lost[0].problem}"
    return parsed


def _shipments_of(body: bytes) -> list[int]:
    """Return the shipments of a row of ours that asks for their codes to be read again."""
    told = mapping(orjson.loads(body), "$").get("shipments")
    if not isinstance(told, list) or any(type(one) is not int or not 0 < one < 1 << 63 for one in told):
        raise BadPayload("$.shipments", "must be ids of shipments")
    return told


def fault(error: Exception, module: str = "") -> str:
    """Say what an error is and where it was raised, without what it carries: errors quote what they are about.

    The place is the deepest line of `module`, else of ours; that of a database error tells nothing.
    """
    name = type(error).__name__
    if (origin := getattr(error, "orig", None)) is not None:
        return f"{name} ({type(origin).__name__})"
    told = [(frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [at for at in told if at[0] == module] or [at for at in told if at[0].partition(".")[0] == "tracker"]
    place = f" at {ours[-1][0].replace('.', '/')}.py:{ours[-1][1]}" if ours else ""
    return f"{name}{place}"
