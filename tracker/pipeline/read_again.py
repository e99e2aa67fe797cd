"""Read an order at its shop just before something is done about it: a write, a mail to its customer."""

from __future__ import annotations

from tracker.config.model import Account
from tracker.domain.errors import NotFound, Refused
from tracker.domain.facts import Order, Payload, Refs, Unread
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.engine import database_now


def read_again(ctx: AppContext, account: Account, ref: str) -> Order:
    """Read the order that a shop calls `ref` again; the answer is stored like any other.

    Raises NotFound where it is not there, Refused where it is there and cannot be read: then what was to be done waits.
    """
    with ctx.store.read() as connection:
        asked_at = database_now(connection)
    pages = list(account.platform.fetch(ctx.client(account), Refs((ref,))))
    now = ctx.now()
    with ctx.store.write() as connection:
        rows = [
            queries.payload_row(account.name, "read", page.parts, now, asked_at, asked_at=asked_at) for page in pages
        ]
        queries.store_payloads(connection, rows)
    ctx.notify("ingest")
    unread = ""
    for page in pages:
        for item in account.platform.normalize(Payload(account.name, "read", page.parts, now)):
            if isinstance(item, Order) and item.ref == ref:
                return item
            if isinstance(item, Unread) and item.subject == ref:
                unread = f"the order cannot be read: {item.where}: {item.problem}"
    if unread:
        raise Refused(unread)
    raise NotFound(ref)
