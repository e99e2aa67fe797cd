"""Lists: the options that they share, and how one is asked for and shown."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from tracker.cli.common import (
    ROW,
    cell,
    config_option,
    glance_config,
    json_option,
    limit_option,
    open_context,
    out,
    print_json,
    show_table,
)
from tracker.pipeline.context import AppContext
from tracker.store.tables import accounts, shipments
from tracker.support.knowledge import knowledge

WATCH_EVERY = 2.0
OPTIONS: dict[str, Callable[[Callable[..., None]], Callable[..., None]]] = {
    "limit": limit_option,
    "after": click.option("--after", type=ROW, metavar="ID", help="The next page: rows older than this id."),
    "watch": click.option("--watch", is_flag=True, help="Show it again every 2 seconds, until Ctrl-C."),
    "store": click.option("--store", help="Only this store."),
}


@dataclass(frozen=True)
class Listing:
    """A list as it was asked for: of which configuration, how much of it, and how it is shown."""

    file: Path
    as_json: bool
    limit: int = 50
    after: int | None = None
    watch: bool = False
    store: str | None = None

    @functools.cached_property
    def context(self) -> AppContext:
        """Open what the command works with: the configuration is read once, its stores only where one is asked for."""
        return open_context(glance_config(self.file))

    def show(
        self,
        ask: Callable[[AppContext], list[dict[str, Any]]],
        title: str,
        columns: Sequence[tuple[str, str]],
        empty: str,
        *,
        knows: bool = False,
        short: Callable[[list[dict[str, Any]], datetime], str] | None = None,
    ) -> bool:
        """Ask and show, once or again and again. `columns`: what a column is called, and its key.

        `knows`: say too what is not known, so that an empty list is not read as "all is well": of JSON on standard error,
        where the list is empty. `short`: what says rows at a moment in a sentence, above a table.
        Returns whether nothing is listed and all is known.
        """
        ctx = self.context
        refuse_unknown(ctx, self.store)
        while True:
            rows = ask(ctx)
            known = knowledge(ctx, store=self.store) if knows else None
            if self.watch:
                click.clear()
            if self.as_json:
                print_json([{k: _age(v) if isinstance(v, timedelta) else v for k, v in row.items()} for row in rows])
            else:
                if short is not None and rows:
                    click.echo(cell(short(rows, ctx.now())).replace("\\[", "["))  # no markup is read here
                shown = [[_plain(row.get(key)) for _, key in columns] for row in rows]
                show_table(title, [name for name, _ in columns], shown, empty=known.sentence(empty) if known else empty)
            if known is not None and not (self.as_json and (rows or known.whole)):
                if self.as_json:
                    click.echo(known.sentence(empty), err=True)
                elif known.gaps and (rows or known.whole):
                    click.echo("and this is not known:")
                for gap in known.gaps:
                    click.echo(f"  {gap}", err=self.as_json)
            if not self.watch:
                last = next((row["id"] for row in reversed(rows) if row.get("id") is not None), None)
                if last is not None and not self.as_json and len(rows) >= 50:
                    out.print(f"[dim]more: --after {last}[/]")
                return not rows and (known is None or known.whole)
            time.sleep(WATCH_EVERY)


def listing(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command `--config`, `--json` and the OPTIONS of these names; it takes them as one Listing, before its own."""

    def shared(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def asked(file: Path, as_json: bool, **given: Any) -> None:
            command(Listing(file, as_json, **{name: given.pop(name) for name in names}), **given)

        told: Callable[..., None] = asked
        for name in reversed(names):
            told = OPTIONS[name](told)
        return config_option(json_option(told))

    return shared


def refuse_unknown(ctx: AppContext, store: str | None) -> None:
    """Refuse a store that is not configured and never was: of one that nobody knows, nothing is fine. Raises UsageError."""
    if store is None or store in ctx.config.store_names():
        return
    a = accounts.c
    with ctx.store.read() as connection:
        names = connection.execute(sa.select(a.name).where(a.kind == "store").order_by(a.name)).scalars().all()
    if store not in names:
        raise click.UsageError(f"no store {store!r}: {', '.join(names) or 'none is known'}")


def refuse_unknown_account(ctx: AppContext, name: str | None, told: Callable[[], Sequence[Any]]) -> None:
    """Refuse an account or store that is not configured, never was, and of which no row tells (`told`). Raises UsageError."""
    if name is None or name in ctx.config.accounts:
        return
    with ctx.store.read() as connection:
        known = connection.execute(sa.select(accounts.c.name).where(accounts.c.name == name)).first()
    if known is None and not told():
        raise click.UsageError(
            f"no store or account {name!r}: {', '.join(ctx.config.accounts) or 'none is configured'}"
        )


def of_carrier(ctx: AppContext, carrier: str | None) -> str:
    """Say in an empty list of a carrier that no parcel of it is known, be it written wrong; empty where one is, or all are meant."""
    if carrier is None:
        return ""
    with ctx.store.read() as connection:
        there = connection.execute(sa.select(shipments.c.id).where(shipments.c.carrier == carrier).limit(1)).first()
    return "" if there is not None else f" of {carrier!r}, of which no parcel is known"


def _age(span: timedelta) -> str:
    days, hours = span.days, span.seconds // 3600
    return f"{days}d {hours}h" if days else f"{hours}h {span.seconds % 3600 // 60}m"


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return _age(value)
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    return value
