"""`export`: scans, events or findings for other programs, to be gone on with."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson

from tracker.cli.common import as_of, config_option, glance_config, json_option, open_context, print_json, show_table
from tracker.cli.listing import refuse_unknown
from tracker.pipeline.context import AppContext
from tracker.support.export_files import Lines, LinesFile, ParquetFolder, Target, Unwritable
from tracker.support.exports import COLUMNS, KINDS, SCHEMA, Cursor, Wanted, WrongCursor, read_cursor, restored, rows

TELL_EVERY = 1_000_000  # rows


@click.command("export")
@click.argument("kind", type=click.Choice(KINDS))
@click.option(
    "--since", metavar="MOMENT", help="What we knew from then on: 2026-11-01, 2026-11-02T09:00Z, or 30d, 12h ago."
)
@click.option("--until", metavar="MOMENT", help="Up to then.", show_default="two minutes ago")
@click.option("--store", help="Only of this store.")
@click.option("--format", "form", type=click.Choice(["ndjson", "csv", "parquet"]), default="ndjson", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file; of Parquet the folder for its parts.")
@click.option(
    "--after", metavar="ID", help="Go on behind this id (of events: stream=ID,...), as the export before told it."
)
@click.option(
    "--resume", is_flag=True, help="Go on with the export in -o, whole or cut off: its cursor lies beside it."
)
@click.option(
    "--with-personal-data",
    "personal",
    is_flag=True,
    help="With columns that may name a person; else they are left out.",
)
@click.option("--describe", is_flag=True, help="Say what each column means, and export nothing.")
@json_option
@config_option
def export(
    kind: str, since: str | None, until: str | None, store: str | None, form: str, output: Path | None, after: str | None, resume: bool,
    personal: bool, describe: bool, as_json: bool, file: Path,
) -> None:  # fmt: skip
    """Export scans, events (status changes of parcels and orders, decisions, writes) or findings, row by row in the order of their ids.

    It takes as much memory for thirty million rows as for thousand. Where it ends it says from where to go on. --json: it says so in JSON.
    Findings are as they stand now. Texts that may name a person are left out unless they are asked for.
    """
    if describe:
        _describe(kind, as_json)
        return
    if resume and (output is None or after is not None):
        raise click.UsageError("--resume needs -o and no --after: the cursor lies beside the file")
    if form == "parquet" and output is None:
        raise click.UsageError("--format parquet needs -o FOLDER")
    ctx = open_context(glance_config(file))
    refuse_unknown(ctx, store)
    moments = _moment(ctx, since, "since"), _moment(ctx, until, "until")
    wanted = Wanted(kind, *moments, store, personal, since, restored(ctx))
    if wanted.since and wanted.since > ctx.now():
        raise click.UsageError(f"since {since} lies ahead: now it is {ctx.now():%Y-%m-%d %H:%M}Z")
    if wanted.since and wanted.until and wanted.until <= wanted.since:
        raise click.UsageError(f"until {until} is not later than since {since}")
    try:
        cursor = read_cursor(kind, after) if after is not None else Cursor()
        target = _target(form, wanted, output, resume)
    except (Unwritable, WrongCursor) as error:
        raise click.UsageError(str(error)) from None
    if target.cursor is not None:
        cursor = Cursor(dict(target.cursor.after), target.cursor.rows)
    wanted = replace(wanted, since=target.since)
    done = Cursor(dict(cursor.after), cursor.rows)
    left = told = False
    begun = str(done)
    try:
        _run(ctx, wanted, target, cursor, done)
        told = True
    except BrokenPipeError:
        left = True  # nobody knows how much was read
        raise
    finally:
        try:
            target.close()
        finally:
            at = done if target.ended is None else target.ended
            if not left and (told or str(at) != begun):  # else there is no place to go on from
                before = target.cursor.rows if target.cursor is not None else 0
                _tell(wanted, form, at, at.rows - before, output, as_json)


def _target(form: str, wanted: Wanted, output: Path | None, resume: bool) -> Target:
    if output is None:
        return Lines(form, wanted, lambda text: click.echo(text, nl=False))
    if form == "parquet":
        return ParquetFolder(output, wanted, resume=resume)
    return LinesFile(output, form, wanted, resume=resume)


def _run(ctx: AppContext, wanted: Wanted, target: Target, cursor: Cursor, done: Cursor) -> None:
    """Write window by window, and note in `done` what is; who stops it stops it between two."""
    told = cursor.rows
    with _between() as stopped:
        for found in rows(ctx, wanted, cursor):
            target.put(found, cursor)
            done.after, done.rows = dict(cursor.after), cursor.rows
            if stopped:
                raise KeyboardInterrupt
            if done.rows - told >= TELL_EVERY:
                told = done.rows
                click.echo(f"{done.rows:,} rows, up to {done}", err=True)
    done.after = dict(cursor.after)  # where no window was given, too


@contextmanager
def _between() -> Iterator[list[int]]:
    """Note the first Ctrl-C instead of being cut off by it, so that lines are whole; the second one stops at once."""
    stopped: list[int] = []

    def note(number: int, _frame: Any) -> None:
        stopped.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(wanted: Wanted, form: str, cursor: Cursor, many: int, output: Path | None, as_json: bool) -> None:
    """Say what was written, what was left out, and from where to go on: beside the data where that is shown."""
    left = [one.name for one in COLUMNS[wanted.kind] if one.personal and not wanted.personal]
    if as_json:
        told = {"kind": wanted.kind, "schema": SCHEMA, "format": form, "rows": many, "after": str(cursor), "file": output,
                "left_out": left, "personal_data": wanted.personal}  # fmt: skip
        if output is not None:
            print_json(told)
            return
        click.echo(orjson.dumps(told, default=str).decode(), err=True)
        return
    go_on = f"--after {cursor}" if output is None else "--resume"
    said = f"{many:,} {wanted.kind} exported, up to {cursor}: {go_on} goes on from there"
    said += f"; left out, as they may name a person: {', '.join(left)} (--with-personal-data)" if left else ""
    said += "; with columns that may name a person" if wanted.personal else ""
    click.echo(said, err=output is None)


def _describe(kind: str, as_json: bool) -> None:
    told = [{"column": c.name, "type": c.kind, "means": c.means, "personal": c.personal} for c in COLUMNS[kind]]
    if as_json:
        print_json({"kind": kind, "schema": SCHEMA, "columns": told})
        return
    lines = [(c.name, c.kind, "may name a person" if c.personal else None, c.means) for c in COLUMNS[kind]]
    show_table(f"{kind}, schema {SCHEMA}", ("column", "type", "personal", "means"), lines, empty="")


def _moment(ctx: AppContext, text: str | None, name: str) -> datetime | None:
    """Read a moment, or how long ago it is. Raises UsageError."""
    if text is not None and (ago := re.fullmatch(r"(\d{1,5})([hdw])", text)):
        return (
            ctx.now() - int(ago[1]) * {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}[ago[2]]
        )
    try:
        return as_of(text)
    except click.UsageError as error:
        raise click.UsageError(str(error).replace("--at", f"--{name}", 1)) from None


COMMANDS = (export,)
