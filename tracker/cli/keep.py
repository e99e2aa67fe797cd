"""Commands about what is kept: `erase`, `backup`, `restore`."""

from __future__ import annotations

from pathlib import Path

import click

from tracker.cli.common import can_ask, config_option, glance_config, json_option, open_context, print_json
from tracker.cli.people import by_option, store_option
from tracker.domain.masking import mask
from tracker.support import backup as backups
from tracker.support import statements
from tracker.upkeep import erase as erasing
from tracker.upkeep import maintenance

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

    Nothing is written to the shop for it. What is told of the order later is kept without such texts, but for bodies, which go by
    their age (`retention.bodies`), and for what your people note. That it was done stays, with who did it. By age: `retention.personal`.
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
        print_json({
            "store": row.store, "order": row.number, "erased": made.counts, "waits": made.waits, "lingers": made.lingers,
            "preview": preview,
        })  # fmt: skip
    elif not preview:
        click.echo(f"erased of {row.number} in {row.store}: {made.said}")
    if made.lingers and not as_json:
        click.echo(
            "the database's log still holds it, as somebody reads for long: erase it again later, or stop all processes"
        )
    if made.waits:
        if not as_json:
            click.echo(
                f"{made.waits} payloads, notes or messages of it are being worked: erase it again when they ended"
            )
        click.get_current_context().exit(1)


def _confirm(number: str) -> None:
    """Have a person type the order's number. Raises UsageError without a terminal, ClickException for anything else that is typed."""
    if not can_ask():
        raise click.UsageError("nothing is erased: nobody can be asked here (--yes)")
    if click.prompt(f"Type {number} to erase it, which cannot be undone", default="", show_default=False) != number:
        raise click.ClickException("nothing is erased")


@click.command()
@click.argument("out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@config_option
def backup(out: Path, file: Path) -> None:
    """Write a copy of the whole database into FILE, which only you can read, while everything runs.

    SQLite is copied as it is at one moment, and the copy is checked; of PostgreSQL `pg_dump` makes an archive. An older FILE is left.
    Not in it: the configuration, secrets (`vault_key`!) and the file of notices.
    """
    if out.exists():
        raise click.UsageError(f"{out} is there already")
    ctx = open_context(glance_config(file, partly=True))
    size = backups.backup(ctx.store, out)
    click.echo(f"wrote {out}: {size:,} bytes; `tracker restore {out}` puts it back")


@click.command()
@click.argument(
    "source", metavar="[FILE]", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True)
)
@config_option
@click.option("--done", is_flag=True, help="The database was put back by other means: only settle it.")
@click.option("--yes", is_flag=True, help="Do not ask once more.")
def restore(source: Path | None, file: Path, done: bool, yes: bool) -> None:
    """Put a backup back, and settle it: stop every process first. What SQLite file is there is kept beside it; a PostgreSQL database must be empty.

    What was written since the backup is looked at in the shops before anything is written again. Customers are told nothing of what
    happened before now: they may have been told. Carriers are asked about every open parcel once a process runs, stores are swept.
    """
    if (source is None) != done:
        raise click.UsageError("say FILE, or --done where the database was put back by other means")
    ctx = open_context(glance_config(file))
    if not done and not yes:
        _agree(f"put {source} in the place of {mask(ctx.config.root.database)}?")
    if source is not None:
        aside = backups.restore(ctx.store, source, f"{ctx.now():%Y%m%d-%H%M%S}")
        if aside is not None:
            click.echo(f"what was there is {aside}")
    told = backups.put_back(ctx)
    maintenance.release_claims(ctx)
    click.echo(
        f"put back and settled; {told} notices are not told, as they may have been: start the processes, then `tracker status`"
    )


def _agree(question: str) -> None:
    """Have a person agree. Raises UsageError without a terminal, ClickException where they do not."""
    if not can_ask():
        raise click.UsageError("nothing is done: nobody can be asked here (--yes)")
    if not click.confirm(question):
        raise click.ClickException("nothing is done")


COMMANDS = (erase, backup, restore)
