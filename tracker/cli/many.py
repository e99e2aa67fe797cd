"""What commands share that act on many rows at once: the filters, the preview, the number that a person types, a file of rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tracker.cli.common import can_ask, cell, show_table
from tracker.cli.listing import refuse_unknown
from tracker.clock import moment
from tracker.config.presets import duration
from tracker.domain.errors import TrackerError
from tracker.domain.vocabulary import DriftKind, FindingKind
from tracker.pipeline.context import AppContext
from tracker.support import many, statements, worklist
from tracker.support.many import Filter, Found, Things
from tracker.support.written import midnight

MOST_TOLD = 20  # lines of a file that named nothing, one by one

_KINDS = [str(kind) for kind in FindingKind]
_FILE = click.Path(path_type=Path, dir_okay=False)
FILTERS: dict[str, Callable[[Any], Any]] = {
    "kind": click.option(
        "--kind", "kinds", multiple=True, type=click.Choice(_KINDS), metavar="KIND", help="All findings of this kind, such as stuck."
    ),
    "differs": click.option(
        "--kind", "kinds", multiple=True, type=click.Choice(sorted({*_KINDS, *map(str, DriftKind)})), metavar="KIND",
        help="All orders with such a finding, or that differ so.",
    ),
    "words": click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only of this kind."),
    "severity": click.option("--severity", type=click.Choice(["urgent", "warning", "info"]), help="Only this severity."),
    "assigned": click.option("--assigned", metavar="NAME", help="Only what this person looks after; `nobody`: what nobody does."),
    "snoozed": click.option("--snoozed", is_flag=True, help="Snoozed ones too."),
    "store": click.option("--store", help="Only of this store."),
    "carrier": click.option("--carrier", help="Only about parcels of this carrier."),
    "since": click.option("--since", metavar="SPAN", help="Only what came since: today, 3d, 4h, or a moment."),
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """Which rows are meant, and how sure the person is: by a filter, or by the lines of a file."""

    wanted: Filter
    yes: bool
    export: Path | None
    lines: Path | None

    @property
    def many(self) -> bool:
        """Say whether rows are meant that are not named one by one."""
        return bool(self.wanted) or self.lines is not None

    def or_ids(self, ids: Sequence[Any], how: str) -> None:
        """Refuse to act on nothing, or on both: ids, and what a filter or a file says. Raises UsageError."""
        if not ids and not self.many:
            raise click.UsageError(f"name {how}, or say which by a filter or --from")
        if ids and (self.many or self.export is not None):
            raise click.UsageError("ids, or a filter or a file: not both")
        if self.lines is not None and (self.wanted or self.export is not None):
            raise click.UsageError("--from names the rows: no filter and no --export beside it")


def many_options(*filters: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these FILTERS and `--yes`, `--export`, `--from`; `asked_for` reads what was given."""

    def shared(command: Callable[..., None]) -> Callable[..., None]:
        command = click.option("--from", "lines", type=_FILE, help="Work off a file: the rows that its lines name.")(
            command
        )
        command = click.option(
            "--export", type=_FILE, help="Write what the filter finds to FILE.csv or .ndjson; nothing else is done."
        )(command)
        command = click.option("--yes", is_flag=True, help="Do not ask for the number first.")(command)
        for name in reversed(filters):
            command = FILTERS[name](command)
        return command

    return shared


def asked_for(ctx: AppContext, given: dict[str, Any]) -> Asked:
    """Return which rows are meant, by the options of `many_options`. Raises UsageError for a store or a time that cannot be."""
    yes, export, lines = (given.pop(name) for name in ("yes", "export", "lines"))
    refuse_unknown(ctx, given.get("store"))
    given["since"] = since(ctx, given.get("since"), given.get("store"))
    return Asked(Filter(**given), yes, export, lines)


def since(ctx: AppContext, text: str | None, store: str | None = None) -> datetime | None:
    """Read a `--since`: today (by the calendar of `store`), a span back from now, or a moment. Raises UsageError."""
    if text is None:
        return None
    if text == "today":
        return midnight(ctx, store)
    try:
        begin: datetime = ctx.now() - duration(text)
        return begin
    except ValueError:
        try:
            return moment(text)
        except ValueError:
            raise click.UsageError(f"--since {text!r}: must be today, a span such as 3d, or a moment") from None


def act(ctx: AppContext, asked: Asked, things: Things, verb: str, do: Callable[[Sequence[int]], int]) -> int | None:
    """Find what is meant, show it, have it confirmed, and do it in batches. Returns to how many; None where only a file was written.

    What was ended between the look and the deed is told and left. Ends with exit code 1 where lines of a file name nothing, or
    where another number was typed; raises UsageError where nobody can be asked.
    """
    missing: list[str] = []
    found = many.find(ctx, things, asked.wanted) if asked.lines is None else _named(ctx, asked.lines, things, missing)
    if asked.export is not None:
        count = worklist.write(asked.export, things.columns, many.rows(ctx, things, found.ids))
        click.echo(f"{asked.export}: {count:,} {things.name}; nothing else was done")
        return None
    if found.ids:
        _preview(found, things)
        confirm(len(found.ids), things.name, verb, asked.yes)
    done = _work(found.ids, things, do)
    for said in missing[:MOST_TOLD]:
        click.echo(said, err=True)
    if len(missing) > MOST_TOLD:
        click.echo(f"and {len(missing) - MOST_TOLD:,} more lines that name nothing", err=True)
    if missing:
        click.echo(f"{done:,} {things.name} {verb}; {len(missing):,} lines of {asked.lines} name nothing")
        click.get_current_context().exit(1)
    return done


def _work(ids: Sequence[int], things: Things, do: Callable[[Sequence[int]], int]) -> int:
    """Do it, a batch at a time, and say how far it came: also where somebody stops it."""
    tty, reached = sys.stderr is not None and sys.stderr.isatty(), 0

    def progress(looked: int) -> None:
        nonlocal reached
        reached = looked
        if tty and len(ids) > many.AT_ONCE:
            click.echo(f"\r{looked:,} of {len(ids):,} {things.name}", nl=looked == len(ids), err=True)

    try:
        done = many.in_batches(ids, do, progress)
    except KeyboardInterrupt:
        click.echo(
            f"stopped after {reached:,} of {len(ids):,} {things.name}: said again, the command does the rest", err=True
        )
        raise
    if done < len(ids):
        click.echo(f"{len(ids) - done:,} of {len(ids):,} were ended or said meanwhile: those are left as they are")
    return done


def _preview(found: Found, things: Things) -> None:
    click.echo(f"{len(found.ids):,} {things.name}:")
    show_table("by kind and store", ("kind", "store", things.name), found.counts[:50], empty="")
    columns = ["id", *things.columns]
    title = "the newest" if len(found.ids) > len(found.first) else "these"
    show_table(title, columns, [[row[name] for name in columns] for row in found.first], empty="")


def confirm(count: int, name: str, verb: str, yes: bool) -> None:
    """Have a person type the number. Raises UsageError without a terminal; another number ends the command with exit code 1."""
    if yes:
        return
    if not can_ask():
        raise click.UsageError(f"{count:,} {name} would be {verb}; without a terminal say --yes. Nothing is done")
    click.echo(f"type {count} to have them {verb}: ", nl=False, err=True)
    if sys.stdin.readline().strip().replace(",", "") != str(count):
        click.echo("that is not the number: nothing is done")
        click.get_current_context().exit(1)


def _named(ctx: AppContext, path: Path, things: Things, missing: list[str]) -> Found:
    """Return the rows that the lines of a file name, each once; `missing` gets what is said of the others, with file and line."""
    there = _orders(ctx, path, missing) if things is many.ORDERS else _ids(ctx, path, things, missing)
    found = Found(ids=sorted(there))
    found.first = list(many.rows(ctx, things, found.ids[: -many.FIRST - 1 : -1]))
    return found


def _ids(ctx: AppContext, path: Path, things: Things, missing: list[str]) -> set[int]:
    """Return the ids in a file of rows that are still to be acted on."""
    named: dict[int, str] = {}
    for line in worklist.read(path, "id"):
        id_ = worklist.id_of(line)
        if id_ is None:
            missing.append(f"{line.place}: {cell(line.values.get('id', '')[:40])} is no id")
        elif id_ not in named:
            named[id_] = line.place
    open_ = many.still(ctx, things, sorted(named))
    missing += [
        f"{place}: {things.name[:-1]} {id_}: there is none, or nothing is to be done to it any more"
        for id_, place in named.items()
        if id_ not in open_
    ]
    return open_


def _orders(ctx: AppContext, path: Path, missing: list[str]) -> set[int]:
    """Return the orders that the lines of a file name, by number or ref, and by store where it says one."""
    there = set()
    for line in worklist.read(path, "order"):
        try:
            there.add(statements.find_order(ctx, line.values.get("order", ""), line.values.get("store") or None).id)
        except TrackerError as error:
            missing.append(f"{line.place}: {error}")
    return there
