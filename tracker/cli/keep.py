"""Commands about what is kept: `erase`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tracker.cli.common import config_option, glance_config, json_option, open_context, print_json
from tracker.cli.people import by_option, store_option
from tracker.support import statements
from tracker.upkeep import erase as erasing

STAYS = (
    "Statuses, codes, times, places, numbers, and what was written and why stay. Bodies go whole, with what they tell of other orders. "
    "Backups, notices.file, the shop and the carriers are not touched."
)


@click.command()
@click.argument("order")
@config_option
@json_option
@store_option
@by_option
@click.option("--preview", is_flag=True, help="Only show what would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask for the order's number.")
def erase(order: str, file: Path, as_json: bool, store: str | None, by: str, preview: bool, yes: bool) -> None:
    """Erase what may name a person of ORDER: carriers' and people's free texts, bodies as they came, documents, what was bought.

    Nothing is written to the shop for it. What is told of the order later is kept without such texts. That it was done stays,
    with who did it. By age: `retention.personal`.
    """
    ctx = open_context(glance_config(file))
    row = statements.find_order(ctx, order, store)
    made = erasing.preview(ctx, row)
    if not (as_json or (yes and not preview)):
        click.echo(f"{row.number} in {row.store}, placed {row.placed_at:%Y-%m-%d}: {made.said} to erase")
        click.echo(STAYS)
    if not preview:
        if not yes:
            _confirm(row.number)
        made = erasing.erase(ctx, row, by)
    if as_json:
        told = {"store": row.store, "order": row.number, "erased": made.counts, "waits": made.waits, "preview": preview}
        print_json(told)
    elif not preview:
        click.echo(f"erased of {row.number} in {row.store}: {made.said}")
    if made.waits:
        if not as_json:
            click.echo(f"{made.waits} payloads or notes of it are being worked: erase it again when they ended")
        click.get_current_context().exit(1)


def _confirm(number: str) -> None:
    """Have a person type the order's number. Raises UsageError without a terminal, ClickException for anything else that is typed."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("nothing is erased: nobody can be asked here (--yes)")
    if click.prompt(f"Type {number} to erase it, which cannot be undone", default="", show_default=False) != number:
        raise click.ClickException("nothing is erased")


COMMANDS = (erase,)
