"""What customers are mailed: `notify preview`, `list`, `retry`, `resume`; and whether those who are told of findings are reached: `test`."""

from __future__ import annotations

from pathlib import Path

import click

from tracker.cli.common import (
    ROW,
    all_of,
    cell,
    config_option,
    glance_config,
    json_option,
    open_context,
    out,
    print_json,
)
from tracker.cli.hooks import try_it
from tracker.cli.listing import Listing, listing, refuse_unknown
from tracker.domain.mails import LANGUAGES, MAILED
from tracker.domain.vocabulary import NoticeClass
from tracker.pipeline.mails import queue
from tracker.support import mails, statements

STATES = ["pending", "sent", "superseded", "refused", "dead"]
COLUMNS = (
    ("id", "id"), ("store", "store"), ("order", "order"), ("parcel", "parcel"), ("tells", "notice"), ("state", "state"),
    ("tries", "attempts"), ("why, or what the server said", "reason"), ("created", "created_at"), ("ended", "ended_at"),
    ("not before", "not_before"),
)  # fmt: skip


@click.group()
def notify() -> None:
    """Show what customers are mailed, before and after; let go on what stands still."""


@notify.command()
@click.argument("order")
@config_option
@json_option
@click.option("--store", help="The store, where several have an order of this number.")
@click.option(
    "--class",
    "kind",
    type=click.Choice(sorted(map(str, MAILED))),
    help="What a mail of this class would be, though it is not so now.",
)
@click.option("--language", type=click.Choice(LANGUAGES), help="In this language, whatever the order says.")
@click.option("--html", is_flag=True, help="Show the HTML, not the text.")
def preview(
    order: str, file: Path, as_json: bool, store: str | None, kind: str | None, language: str | None, html: bool
) -> None:
    """Show what the customer of ORDER would be mailed now, by what we know of it, whether it is sent, and why not.

    The address is asked for, and masked. Before a mail is sent its order is read again.
    """
    ctx = open_context(glance_config(file))
    row = statements.find_order(ctx, order, store)
    told = mails.preview(ctx, row, kind=NoticeClass(kind) if kind else None, language=language)
    if as_json:
        print_json(told)
    else:
        if not told:
            click.echo(
                f"of order {row.number} nothing is told by mail now: `tracker explain {order}` says how it stands"
            )
        for one in told:
            what = "would be sent" if one["sends"] else "was sent" if one["sent"] else "is not sent"
            out.print(
                f"[bold]{one['notice']} of {cell(one['parcel'])}: {what}[/]{cell(': ' + one['why']) if one['why'] else ''}"
            )
            for name, key in (("From", "from"), ("Reply-To", "reply_to"), ("To", "to"), ("Subject", "subject")):
                if one[key]:
                    click.echo(f"{name}: {one[key]}")
            click.echo(f"\n{one['html'] if html else one['text']}")
    if not any(one["sends"] or one["sent"] for one in told):
        click.get_current_context().exit(1)


@notify.command("list")
@listing("limit", "after", "watch", "store")
@click.option("--state", type=click.Choice(STATES), help="Only these.")
@click.option("--order", help="Only of this order.")
def list_(page: Listing, state: str | None, order: str | None) -> None:
    """List mails to customers, newest first: what was sent, what waits, and why one was not sent. No address is known."""
    page.show(
        lambda w: mails.list_mails(w, state=state, store=page.store, order=order, after=page.after, limit=page.limit),
        "mails to customers", COLUMNS, "no such mail",
    )  # fmt: skip


@notify.command()
@click.argument("ids", nargs=-1, type=ROW)
@config_option
@click.option("--all", "all_", is_flag=True, help="Every mail that was refused or given up (of --store).")
@click.option("--store", help="Only of this store.")
def retry(ids: tuple[int, ...], file: Path, all_: bool, store: str | None) -> None:
    """Make mails due again that were refused or given up; what is not true any more is not sent all the same."""
    if not ids and not all_:
        raise click.UsageError("name mails by id, or say --all")
    ctx = open_context(glance_config(file))
    refuse_unknown(ctx, store)
    count = queue.retry(ctx, ids, store)
    click.echo(f"{count} mails are due again")
    all_of(ids, count)


@notify.command()
@config_option
def resume(file: Path) -> None:
    """Let mails go on that are suspended, as the mail server refused our login or sender, without a change of `mail:`."""
    names = mails.resume(open_context(glance_config(file)))
    click.echo(f"resumed: {', '.join(names)}" if names else "no mails are suspended")
    if not names:
        click.get_current_context().exit(1)


@notify.command()
@click.argument("name", metavar="TARGET")
@json_option
@config_option
def test(name: str, as_json: bool, file: Path) -> None:
    """Send a finding that is none to TARGET, a target of `telling:`, at once, and say what comes back. Nothing is kept."""
    ctx = open_context(glance_config(file))
    if name not in ctx.config.targets:
        raise click.UsageError(f"no target {name!r}: {', '.join(ctx.config.targets) or 'none is configured'}")
    try_it(ctx, name, None, as_json)


COMMANDS = [notify]
