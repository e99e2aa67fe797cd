"""Files: `ingest` reads them into the inbox, `files` lists which came and what became of each."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tracker.cli.common import (
    ROW,
    all_of,
    close_context,
    config_option,
    json_option,
    open_context,
    print_json,
    read_config,
)
from tracker.cli.listing import Listing, listing, refuse_unknown_account
from tracker.config.model import Account, Config
from tracker.domain.errors import TrackerError
from tracker.pipeline.context import AppContext
from tracker.pipeline.files.read import FAILED, Came, File, hashed, read_file
from tracker.support import lists


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--account", "name", required=True, help="The carrier account whose files they are.")
@config_option
@json_option
def ingest(paths: tuple[Path, ...], name: str, file: Path, as_json: bool) -> None:
    """Put files of a carrier into the inbox, as if they had arrived: of any size, in batches, beside a worker that runs.

    A file that was read before changes nothing; one that was left half-way goes on from there. Where the account's plugin
    reads no files (`tracker plugins`), each file is one payload: an answer or a webhook that was saved.
    """
    config = read_config(file)
    account = _account(config, name)
    for path in paths:
        _refuse(path)
    ctx = open_context(config)
    came: list[Came] = []
    try:
        for path in paths:
            with _progress(as_json) as progress:
                came.append(_ingest(ctx, account, path, progress))
            if not as_json:
                click.echo(_line(came[-1]))
    finally:
        close_context(ctx)
    if as_json:
        print_json([asdict(one) for one in came])
    if not all(one.whole for one in came):
        click.get_current_context().exit(1)


def _account(config: Config, name: str) -> Account:
    """Return a carrier account. Raises UsageError where there is none of this name."""
    known = {account.name: account for account in config.carrier_accounts()}
    if name in known:
        return known[name]
    if name in config.store_names():
        raise click.UsageError(f"{name} is a store: its orders are read from the shop, not from files")
    raise click.UsageError(f"no carrier account {name!r}: {', '.join(sorted(known)) or 'none is configured'}")


def _refuse(path: Path) -> None:
    """Raise UsageError for what is no file that we can read, before anything is read."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise click.UsageError(f"{path}: is no file")
    if not os.access(path, os.R_OK):
        raise click.UsageError(f"{path}: may not be read by this user")


def _ingest(ctx: AppContext, account: Account, path: Path, progress: Progress) -> Came:
    """Read one file; what goes wrong with it costs it only."""
    place = path.resolve()
    try:
        with path.open("rb") as file:
            task = progress.add_task(plain_name(path), total=None)
            before = os.fstat(file.fileno())
            size, sha256 = hashed(file)
            progress.update(task, total=size)
            what = File(str(place.parent), place.name, size, before.st_mtime_ns, sha256)
            came = read_file(ctx, account, file, what, progress=lambda to: progress.update(task, completed=to))
            after = os.fstat(file.fileno())
    except OSError as error:
        return Came(path.name, FAILED, problem=error.strerror or type(error).__name__)
    except TrackerError as error:
        return Came(path.name, FAILED, problem=str(error))
    came.name = plain_name(path)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        came.state, came.problem = FAILED, "was changed while it was read: read it again when it is whole"
    return came


def plain_name(path: Path) -> str:
    """Return a path as it can be printed anywhere."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _line(came: Came) -> str:
    """Say in one line what came of a file."""
    if came.before:
        said = f"read before: {came.lines} lines, nothing is new"
        said += f", {came.unread} pieces unread" if came.unread else ""
    else:
        said = f"{came.lines} lines, {came.stored} payloads stored, {came.known} known already, {came.unread} pieces unread"
    if came.unread and came.state != FAILED:
        said += " (tracker inbox --partly)"
    return f"{came.name}: {said}" + (f"; {came.state}: {came.problem}" if came.problem else "")


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    """Show how far it is, where a terminal shows it."""
    error = Console(stderr=True)
    shown = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*shown, console=error, transient=True, disable=quiet or not error.is_terminal) as progress:
        yield progress


COLUMNS = (
    ("id", "id"), ("account", "account"), ("name", "name"), ("state", "state"), ("bytes", "size"), ("read", "read_to"),
    ("lines", "lines"), ("stored", "stored"), ("known", "known"), ("unread", "unread"), ("why", "problem"),
    ("seen", "seen_at"), ("ended", "ended_at"), ("place", "place"),
)  # fmt: skip


@click.command("files")
@click.argument("verb", required=False, type=click.Choice(["retry"]))
@click.argument("ids", nargs=-1, type=ROW)
@listing("limit", "after", "watch")
@click.option("--account", help="Only of this account.")
@click.option("--state", type=click.Choice(["waiting", "reading", "done", "failed"]), help="Only these.")
def files_(page: Listing, verb: str | None, ids: tuple[int, ...], account: str | None, state: str | None) -> None:
    """List the files that came, newest first: `waiting` until they are whole, half-way `reading`, `done` or `failed`.

    What of a file could not be read is counted here, and listed by `tracker inbox --partly`. `tracker files retry ID...` has failed
    ones read again where they lie (out of `failed`, they must be put back), once they or the account's entry are mended.
    """
    if verb == "retry":
        if not ids:
            raise click.UsageError("name files by id")
        aside = lists.put_aside(page.context, ids)
        count = lists.retry_files(page.context, ids)
        click.echo(f"{count} files are read again where they lie")
        for place in aside:
            click.echo(f"what failed was moved aside: put it back from {place}, else nothing of it is read")
        all_of(ids, count)
        return

    def ask(ctx: AppContext) -> list[dict[str, Any]]:
        return lists.list_files(ctx, account=account, state=state, after=page.after, limit=page.limit)

    refuse_unknown_account(page.context, account, lambda: lists.list_files(page.context, account=account, limit=1))
    page.show(ask, "files", COLUMNS, "no such file")


COMMANDS = (ingest, files_)
