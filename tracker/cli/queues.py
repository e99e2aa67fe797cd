"""What waits, and what became of it: `outbox`, `inbox`."""

from __future__ import annotations

from typing import Any

import click
import sqlalchemy as sa

from tracker.cli.common import ROW, all_of, print_json
from tracker.cli.listing import Listing, listing, refuse_unknown, refuse_unknown_account
from tracker.cli.many import act, asked_for, many_options
from tracker.cli.many import since as since_of
from tracker.domain.errors import TrackerError
from tracker.domain.masking import mask_bytes
from tracker.pipeline.context import AppContext
from tracker.store.tables import inbox as inbox_table
from tracker.support import lists, many
from tracker.support.written import written

STATES = ["pending", "held", "sent", "refused", "dead", "superseded", "observed"]


@click.command()
@click.argument("verb", required=False, type=click.Choice(["retry"]))
@click.argument("ids", nargs=-1, type=ROW)
@listing("limit", "after", "watch", "store")
@click.option("--state", type=click.Choice(STATES), help="Only these.")
@click.option(
    "--all", "all_", is_flag=True, help="With retry: every refused or dead write (of --state, of --store ...)."
)
@click.option("--today", is_flag=True, help="What was written today, in a sentence, and how to stop it now.")
@many_options("words", "carrier", "since")
def outbox(
    page: Listing, verb: str | None, ids: tuple[int, ...], state: str | None, all_: bool, today: bool, **given: Any
) -> None:
    """List writes and notices, newest first; `tracker outbox retry ID...` (or a filter, --all, --from) makes refused or dead ones due again.

    `observed` would have been sent, were the store in mode write; `held` waits for a brake to be released (`tracker resume`).
    With --store and --today (or --since): what was written to that store, and how to stop it; a day is one of the store's calendar.
    """
    if verb == "retry":
        if today:
            raise click.UsageError("--today goes with the list; retry takes --since")
        _retry(page.context, ids, {**given, "state": state, "store": page.store}, all_)
        return
    refuse_unknown(page.context, page.store)
    begin = since_of(page.context, given.pop("since") or ("today" if today else None), page.store)
    if used := [name for name, value in given.items() if value]:
        raise click.UsageError(
            f"--{used[0].replace('kinds', 'kind').replace('lines', 'from')} goes with `tracker outbox retry`"
        )
    columns = (
        ("id", "id"), ("store", "store"), ("order", "order"), ("write", "kind"), ("says", "says"), ("state", "state"), ("tries", "attempts"),
        ("error", "error"), ("created", "created_at"), ("due", "due_at"), ("tried", "attempted_at"),
    )  # fmt: skip

    def ask(ctx: AppContext) -> list[dict[str, Any]]:
        return lists.list_outbox(ctx, state=state, store=page.store, since=begin, after=page.after, limit=page.limit)

    if begin is None:
        page.show(ask, "outbox", columns, "no such write")
        return
    told = written(page.context, page.store, begin)
    if page.as_json:
        print_json({**told, "writes": ask(page.context)})
        return
    click.echo(told["said"])
    page.show(ask, "outbox", columns, "no such write")
    click.echo(told["stop"])


def _retry(ctx: AppContext, ids: tuple[int, ...], given: dict[str, Any], all_: bool) -> None:
    """Make writes due again: by id, or all that are meant."""
    if given["state"] not in (None, "refused", "dead"):
        raise click.UsageError(f"--state {given['state']}: only refused or dead writes are tried again")
    asked = asked_for(ctx, given)
    if ids and all_:
        raise click.UsageError("ids, or --all: not both")
    if not all_:
        asked.or_ids(ids, "writes by id, or say --all")
    if ids:
        count = many.retry(ctx, ids)
        click.echo(f"{count} writes are due again")
        all_of(ids, count)
    elif (done := act(ctx, asked, many.WRITES, "tried again", lambda some: many.retry(ctx, some))) is not None:
        click.echo(f"{done:,} writes are due again")


@click.command()
@listing("limit", "after", "watch")
@click.option("--state", type=click.Choice(["pending", "done", "ignored", "dead"]), help="Only these.")
@click.option("--partly", is_flag=True, help="Those of which something could not be read: where, and what was wrong.")
@click.option(
    "--account", help="Only from this account (among the newest 10,000; dead and partly read ones: among all)."
)
@click.option("--body", "row_id", type=ROW, help="Print the stored bytes of one payload.")
def inbox(
    page: Listing,
    state: str | None,
    partly: bool,
    account: str | None,
    row_id: int | None,
) -> None:
    """List payloads that arrived, newest first; `--state dead` are those that could not be read.

    A `handshake` is what a sender asked before it sent news, or a ping: one row an account and day, with how many times it came.
    `--partly` are those of which pieces could not be read, a line a piece; `tracker replay --partly` reads them again.
    """
    if row_id is not None:
        with page.context.store.read() as connection:
            body = connection.execute(
                sa.select(inbox_table.c.body).where(inbox_table.c.id == row_id)
            ).scalar_one_or_none()
        if body is None:
            raise TrackerError(f"there is no body of payload {row_id} (any more)")
        click.echo(mask_bytes(body), nl=False)
        return
    columns: tuple[tuple[str, str], ...] = (
        ("id", "id"), ("account", "account"), ("kind", "kind"), ("state", "state"), ("why", "reason"), ("bytes", "size"),
        ("tries", "attempts"), ("times", "times"), ("received", "received_at"), ("due", "due_at"),
    )  # fmt: skip
    empty = "no such payload"
    if partly:
        columns = (
            ("id", "id"), ("account", "account"), ("kind", "kind"), ("state", "state"), ("not read", "path"), ("why", "problem"),
            ("of", "subject"), ("received", "received_at"),
        )  # fmt: skip
        empty = "every payload was read whole"

    def ask(ctx: AppContext) -> list[dict[str, Any]]:
        rows = lists.list_inbox(ctx, state=state, account=account, partly=partly, after=page.after, limit=page.limit)
        return [{**row, **piece} for row in rows for piece in row["unread"]] if partly and not page.as_json else rows

    refuse_unknown_account(page.context, account, lambda: lists.list_inbox(page.context, account=account, limit=1))
    page.show(ask, "inbox", columns, empty)


COMMANDS = (outbox, inbox)
