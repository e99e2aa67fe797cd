"""`status`: how all stands, on one screen; the first line says whether all is well, and what to do first where it is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text
from sqlalchemy.exc import DatabaseError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tracker.cli.common import cell, out, print_json, table_of, why_away
from tracker.cli.listing import Listing, listing, refuse_unknown
from tracker.domain.sentences import spoken
from tracker.support import status as told
from tracker.support.troubles import together

EXIT_WRONG, EXIT_DATABASE = 1, 3
WATCH_EVERY = 2.0
MOST_NOTES = 5
FEW = 20  # accounts or stores of which each has a line; of more those that are not fine
AWAY = (DatabaseError, InterfaceError, PoolTimeout)
Row = Mapping[str, Any]


@click.command()
@listing("watch", "store")
@click.option("--all", "every", is_flag=True, help="Each trouble, account and store in a line, however many there are.")
def status(page: Listing, every: bool) -> None:
    """Show whether all is well: what is wrong first and what to do, who runs, what waits, and how each account and store stands.

    The first line says it; everything that is wrong follows, the most urgent first, each with what does something about it.
    Beside each number stands the command that lists what it counts. --json has all of it; spans are seconds there.
    """
    if page.watch and not page.as_json and out.is_terminal:
        with Live(console=out, auto_refresh=False, screen=True) as live:
            while True:
                live.update(Group(*_screen(_ask(page), every)), refresh=True)
                time.sleep(WATCH_EVERY)
    while True:
        found = _ask(page)
        if page.as_json:
            print_json(found)
        else:
            for part in _screen(found, every):
                out.print(part, soft_wrap=isinstance(part, Text))
        if not page.watch:
            break
        time.sleep(WATCH_EVERY)
    if not found["well"]:
        lost = found["troubles"][0]["what"] == "database_away"
        click.get_current_context().exit(EXIT_DATABASE if lost else EXIT_WRONG)


def _ask(page: Listing) -> dict[str, Any]:
    try:
        ctx = page.context
        refuse_unknown(ctx, page.store)
        return told.status(ctx, store=page.store)
    except AWAY as error:
        return told.away(why_away(error))


def _screen(found: Row, every: bool) -> Iterator[RenderableType]:
    """Yield what is shown, part by part."""
    yield _line(found["said"], "bold green" if found["well"] else "bold red")
    yield from _troubles(found["troubles"], every)
    if "queues" not in found:
        return
    now: datetime = found["as_of"]
    yield from _installation(found)
    yield from _queues(found["queues"])
    yield from _figures(found)
    yield from _table("accounts", _ACCOUNTS, found.get("accounts", ()), now, every)
    yield from _table("stores", _STORES, found["stores"], now, every)
    if found["notes"]:
        yield _line(f"not known of single orders and parcels: {len(found['notes'])} (tracker drift)", "bold")
        shown = found["notes"] if every else found["notes"][:MOST_NOTES]
        for note in shown:
            yield _line(f"  {note['said']}")
        if len(shown) < len(found["notes"]):
            yield _line(f"  and {len(found['notes']) - len(shown)} more: --all")


def _troubles(rows: Sequence[Row], every: bool) -> Iterator[RenderableType]:
    shown = rows if every else together(rows)
    for number, row in enumerate(shown, 1):
        detail = f" ({row['detail']})" if row["detail"] and row.get("many", 1) == 1 else ""
        yield _line(f"{number:>2}. {row['said']}{detail}", "red")
        see = f"   see: {row['see']}" if row["see"] != row["do"] else ""
        yield _line(f"    do: {row['do']}{see}")
    if len(shown) < len(rows):
        yield _line("    --all tells each")


def _installation(found: Row) -> Iterator[RenderableType]:
    if "build" not in found:
        return
    build = found["build"]
    yield _line(f"build: {build['version']}, schema {build['schema'] or 'none'}")
    for row in found["processes"]:
        how = f"runs for {span(row['up_seconds'])}" if row["alive"] else "does not run"
        yield _line(
            f"{row['role']} at {row['host']}, process {row['pid']}: {how}, seen {span(row['seen_seconds'])} ago"
            + (f", version {row['version']}" if row["version"] not in (None, build["version"]) else "")
        )


def _queues(rows: Sequence[Row]) -> Iterator[RenderableType]:
    waits = [row for row in rows if row["count"]]
    if not waits:
        yield _line("nothing waits")
        return
    lines = [(row["queue"], _count(row), span(row["oldest_seconds"]), row["what"], row["see"]) for row in waits]
    yield table_of(None, ("waits", "rows", "oldest", "what", "see"), lines)


def _figures(found: Row) -> Iterator[RenderableType]:
    open_ = [f"{_count(row, 'open')} {row['severity']} ({row['see']})" for row in found["findings"] if row["open"]]
    yield _line(f"findings: {', '.join(open_) or 'none is open'}")
    drift = [f"{_count(row, 'open')} {spoken(row['kind'])} ({row['see']})" for row in found["drift"]]
    yield _line(f"drift: {', '.join(drift) or 'none'}")
    late = found["lateness"]
    yield _line(f"looks: {late['open']:,} parcels, {late['late']:,} late; {_shares(late)} late ({late['see']})")
    for way in found["delays"]:
        if way["of"]:
            yield _line(f"{way['way']}: {_shares(way)}, of the newest {way['of']:,} ({way['see']})")


def _shares(row: Row) -> str:
    return ", ".join(f"{name} {span(row[f'{name}_seconds'])}" for name in ("p50", "p95", "p99"))


def _count(row: Row, key: str = "count") -> str:
    return f"{row[key]:,}{' or more' if row['more'] else ''}"


# accounts and stores: what a column is called, and what it shows of a row at a moment
Column = tuple[str, Callable[[Row, datetime], Any]]


def _of(key: str) -> Callable[[Row, datetime], Any]:
    return lambda row, _: row[key] or None


def _ago(key: str) -> Callable[[Row, datetime], Any]:
    return lambda row, now: f"{span((now - row[key]).total_seconds())} ago" if row[key] else None


def _state(row: Row, now: datetime) -> str:
    brakes = "".join(f", brake on for {one['carrier']}" for one in row.get("brakes", ()))
    since = f" for {span((now - row['since']).total_seconds())}" if row["since"] else ""
    why = f": {row['why']}" if row["why"] and row["state"] in ("suspended", "away") else ""
    return f"{row['state']}{since}{why}{brakes}"


def _budget(row: Row, _now: datetime) -> str | None:
    budget = row["budget"]
    return f"{budget['left']:,} of {budget['calls']:,}; {budget['verdict']}" if budget else None


def _hooks(row: Row, _now: datetime) -> str | None:
    hooks = row["hooks"]
    if hooks is None:
        return None
    return f"{hooks['there']} of {hooks['wanted']}" if hooks["checked_at"] else "not looked at yet"


def _feed(row: Row, now: datetime) -> str | None:
    feed = row["feed"]
    if feed is None:
        return None
    if feed["as_of"] is None:
        return "not read yet"
    return f"{'whole' if feed['whole'] else 'a gap'}, read {span((now - feed['as_of']).total_seconds())} ago"


def _writes(row: Row, _now: datetime) -> str | None:
    writes = row["writes_hour"]
    return f"{writes['done']:,} of {writes['of']:,}" if writes else None


_ACCOUNTS: tuple[Column, ...] = (
    ("account", _of("account")), ("is", _state), ("due", _of("due")), ("webhook", _ago("last_webhook")), ("answer", _ago("last_answer")),
    ("failures", _of("failures")), ("budget left", _budget), ("token until", _of("token_until")), ("hooks", _hooks), ("feed", _feed), ("see", _of("see")),
)  # fmt: skip
_STORES: tuple[Column, ...] = (
    ("store", _of("store")), ("mode", _of("mode")), ("is", _state), ("swept", _ago("last_sweep")), ("writes this hour", _writes),
    ("wait", _of("waiting")), ("held", _of("held")), ("refused", _of("refused")), ("dead", _of("dead")), ("hooks", _hooks), ("see", _of("see")),
)  # fmt: skip


def _table(
    title: str, columns: Sequence[Column], rows: Sequence[Row], now: datetime, every: bool
) -> Iterator[RenderableType]:
    """Yield a line each of a few accounts or stores; of many those that are not fine, and how many are."""
    odd = [row for row in rows if row["state"] != "fine" or row.get("brakes") or row.get("dead") or row["failures"]]
    shown = rows if every or len(rows) <= FEW else odd[:FEW]
    if shown:
        filled = [(name, [shows(row, now) for row in shown]) for name, shows in columns]
        filled = [(name, values) for name, values in filled if any(value is not None for value in values)]
        lines = zip(*(values for _, values in filled), strict=True)
        yield table_of(title, [name for name, _ in filled], lines)
    if len(shown) < len(rows):
        fine = len(rows) - len(odd)
        yield _line(
            f"{title}: {fine:,} of {len(rows):,} are fine, {len(shown):,} of {len(odd):,} others are shown (--all)"
        )


def _line(text: str, style: str = "") -> Text:
    return Text.from_markup(cell(text), style=style)


def span(seconds: float | None) -> str | None:
    """Write a time that passed, in one unit or two: 4 s, 12 min, 3 h 5 min, 2 d 4 h; where a clock was set back, 0 s."""
    if seconds is None:
        return None
    seconds = max(0.0, seconds)
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.3g} s"
    if whole < 120:
        return f"{whole} s"
    minutes, hours = whole // 60, whole // 3600
    if hours < 3:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


COMMANDS = (status,)
