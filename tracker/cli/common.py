"""What the commands share: where the configuration is, and how things are shown."""

from __future__ import annotations

import codecs
import io
import json
import os
import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click
import orjson
import structlog
from rich.console import Console
from rich.table import Table

from tracker.app.client import Clients, kept_tokens
from tracker.app.sftp import open_server
from tracker.app.smtp import open_mailer
from tracker.clock import PLAYED, moment, played, system_now
from tracker.config.load import glance, load_config, load_entries
from tracker.config.model import Account, Config
from tracker.domain.errors import BudgetSpent, ConfigError, Transient
from tracker.domain.masking import Hidden, mask
from tracker.pipeline import budgets
from tracker.pipeline.context import AppContext
from tracker.pipeline.places import Places
from tracker.store.engine import Store

WIDE = 160  # where nobody sees a terminal, lines need not be folded
out = Console(highlight=False, width=None if sys.stdout and sys.stdout.isatty() else WIDE)
DEFAULT_FILE = "tracker.yaml"
# the secrets of what was read stay masked in what is printed when nobody holds them any more
_READ: deque[Hidden] = deque(maxlen=16)

config_option = click.option(
    "--config",
    "-c",
    "file",
    default=lambda: os.environ.get("TRACKER_CONFIG", DEFAULT_FILE),
    show_default=f"$TRACKER_CONFIG or {DEFAULT_FILE}",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file.",
)
ROW = click.IntRange(0, (1 << 63) - 1)  # what an id of a row can be: a database takes no larger number
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
limit_option = click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Most rows.")


class _Masked:
    """A stream to which no secret is written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(mask(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def masked_output() -> Iterator[None]:
    """Mask whatever is printed, by any command and in any error, until the end; again inside it is the same."""
    before: Any = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            _let_through(stream)
    sys.stdout, sys.stderr = (s if s is None or isinstance(s, _Masked) else _Masked(s) for s in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _let_through(stream: io.TextIOWrapper) -> None:
    """Let a stream write what its encoding has no sign for: as UTF-8 where it knows ASCII alone, else by its number.

    click would write past the mask to a stream that knows ASCII alone.
    """
    ascii_only = codecs.lookup(stream.encoding).name == "ascii"
    stream.reconfigure(encoding="utf-8" if ascii_only else None, errors="backslashreplace")


def plainly(text: str) -> None:
    """Print a line that is not masked: for a secret that was made to be read, such as the token of a play's own page."""
    stream: Any = sys.stdout
    click.echo(text, file=stream._stream if isinstance(stream, _Masked) else stream)


def read_config(file: Path) -> Config:
    """Read the configuration. Raises ConfigError; a missing file says how to make one."""
    return _read(file, load_config)


def running_config(file: Path) -> Config:
    """Read the configuration for a process that runs: an entry that is wrong is suspended. Raises ConfigError where all is refused."""
    return _read(file, partial(load_config, partly=True))


def glance_config(file: Path, *, partly: bool = False) -> Config:
    """Read of the configuration what the database needs, and a store only when it is asked for: not longer than it takes to read the file.

    Every secret is masked all the same, and must be known for that, but `partly`. Raises ConfigError.
    """
    return _read(file, partial(glance, partly=partly))


def entry_of(file: Path, name: str) -> Account:
    """Read one account or store, whatever is wrong with the rest of the file. Raises ConfigError, and UsageError for an unknown name."""
    _must_exist(file)
    entries, hidden = load_entries(file)
    _READ.append(hidden)
    if name not in entries:
        raise click.UsageError(f"no account or store {name!r}: {', '.join(entries) or 'none is configured'}")
    return entries[name]


def _read(file: Path, how: Callable[[Path], Config]) -> Config:
    _must_exist(file)
    config = how(file)
    _READ.append(config.hidden)
    return config


def _must_exist(file: Path) -> None:
    if not file.exists():
        raise ConfigError(f"{file}: there is no such file; `tracker init` writes a first one")


def open_context(config: Config) -> AppContext:
    """Return a context for commands: it reads and marks rows; the daemon does the work."""
    handed = played()
    if handed is None:
        now, store = system_now, Store(config.root.database, pool_size=2)
    else:
        moment, ahead = handed
        click.echo(f"the clock is a play's ({PLAYED}): {moment:%Y-%m-%d %H:%M}Z", err=True)
        now, store = (lambda: moment), Store(config.root.database, pool_size=2, ahead=lambda: ahead)

    there = not store.sqlite or Path(store.url.database or "").exists()  # a look makes no database

    def charge(account: str) -> None:
        if there:  # else nobody counted yet
            try:
                budgets.charge(ctx, account)
            except BudgetSpent:
                raise
            except Transient:
                """What is wrong with the database is told by itself."""

    root = config.root if there else config.root.model_copy(update={"vault_key": ()})
    vault, tokens = kept_tokens(store, root, unreadable=_unreadable, alone=True)
    clients = Clients(
        allow=config.root.network.allow,
        timeout=config.root.network.timeout.total_seconds(),
        now=system_now,
        vault=vault,
        charge=charge,
        tokens=tokens,
    )
    ctx = AppContext(
        store=store,
        config=config,
        now=now,
        notify=lambda _queue: None,
        client=clients,
        log=structlog.get_logger(),
        places=Places(1),
        poster=clients.post,
        mailer=partial(
            open_mailer, allow=config.root.network.allow, timeout=config.root.network.timeout.total_seconds()
        ),
        sftp=partial(open_server, allow=config.root.network.allow, timeout=config.root.network.timeout.total_seconds()),
    )
    return ctx


def _unreadable(account: str) -> None:
    click.echo(f"{account}: the token that is kept was written with another vault_key: it is asked anew", err=True)


def close_context(ctx: AppContext) -> None:
    """Close what a command opened."""
    if isinstance(ctx.client, Clients):
        ctx.client.close()
    ctx.places.close()
    ctx.tells.close()
    ctx.store.close()


def can_ask() -> bool:
    """Say whether somebody sits at a terminal who can be asked; a process may have no standard input at all."""
    return sys.stdin is not None and sys.stdin.isatty()


def why_away(error: Exception) -> str:
    """Say in a line why the database cannot be used."""
    origin = getattr(error, "orig", None)
    said = str(origin).strip().splitlines()[0] if origin else type(error).__name__
    hint = " (has `tracker migrate` or `tracker up` been run?)" if "no such" in said or "exist" in said else ""
    return f"{said}{hint}"


def all_of(ids: Sequence[int], done: int) -> None:
    """End with exit code 1 where something was asked for by id and not all of it was done: the count was told."""
    if done < len(set(ids)):
        click.get_current_context().exit(1)


def config_flag(file: Path) -> str:
    """Return what a printed command needs to find the same configuration."""
    found = os.environ.get("TRACKER_CONFIG", DEFAULT_FILE)
    return "" if str(file) == found else f" --config {shlex.quote(str(file))}"


def json_text(value: Any) -> str:
    """Return a value as JSON that ends its last line; moments as ISO 8601."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(value, option=option, default=str).decode()


def print_json(value: Any) -> None:
    """Print a value as JSON; moments as ISO 8601. A terminal that is not of UTF-8 gets what is beyond ASCII escaped."""
    text, to = json_text(value), getattr(sys.stdout, "encoding", None) or "utf-8"
    if codecs.lookup(to).name != "utf-8":
        text = json.dumps(orjson.loads(text), indent=2) + "\n"
    click.echo(text, nl=False)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print a table that reads at a glance, or one sentence where there is nothing."""
    rows = list(rows)
    if not rows:
        click.echo(empty)
        return
    out.print(table_of(title, columns, rows))


def table_of(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Make a table of rows, as all commands show one."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    return table


def cell(value: Any) -> str:
    """Render one value: moments to the minute, nothing as a dash; brackets are not markup."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    shown = mask(str(value))  # before it is folded into lines
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown).replace("[", "\\[")


def as_of(text: str | None, now: datetime | None = None) -> datetime | None:
    """Read the moment of an `--at`, None where there is none; not one after `now`, of which nothing is known. Raises UsageError."""
    try:
        at = moment(text) if text is not None else None
    except ValueError as error:
        raise click.UsageError(f"--at {text!r}: {error}") from None
    if at is not None and now is not None and at > now:
        raise click.UsageError(
            f"--at {text!r}: is still to come, so nothing is known of it; it is {now:%Y-%m-%dT%H:%M}Z"
        )
    return at
