"""`report`: how carriers, lanes and accounts did, and the parcels behind each number."""

from __future__ import annotations

import shlex
from pathlib import Path
from textwrap import fill
from typing import Any

import click
import sqlalchemy as sa

from tracker.cli.common import (
    ROW,
    cell,
    config_flag,
    config_option,
    glance_config,
    json_option,
    json_text,
    limit_option,
    open_context,
    out,
    show_table,
)
from tracker.cli.listing import refuse_unknown, refuse_unknown_account
from tracker.config.files import write_private
from tracker.config.plugins import words
from tracker.pipeline.context import AppContext
from tracker.store.tables import parcel_facts
from tracker.support import report_forms as forms
from tracker.support import report_parcels as behind
from tracker.support import reports

_DAY = "A day (2026-11-01), or how far back: 30d, 4w, 6m."

GAP = 2  # blanks between two columns
MOST_WIDE = 30  # a text that is longer is folded


@click.command("report")
@click.argument("what", type=click.Choice(reports.REPORTS))
@click.option("--since", metavar="DAY", help=f"From this day on. {_DAY}", show_default="30d")
@click.option("--until", metavar="DAY", help="To this day, which is in it.", show_default="today")
@click.option("--store", help="Only parcels of this store.")
@click.option("--carrier", help="Only parcels of this carrier.")
@click.option("--account", help="Only parcels of which this account told most.")
@click.option("--service", help="Only parcels of this service, in the shop's word.")
@click.option(
    "--lane", metavar="FROM-TO", help="Only parcels from one country to another: DE-FR; ? where it is not known."
)
@click.option("--by", type=click.Choice(reports.BY), help="Tell these apart too.")
@click.option(
    "--show", metavar="NUMBER", help="List the parcels of a number: late, silent, returned, exception/weather ..."
)
@click.option("--after", type=ROW, metavar="ID", help="With --show, the next page: parcels after this id.")
@limit_option
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--html", "form", flag_value="html", help="Print one page of HTML that needs nothing else.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file.")
@json_option
@config_option
def report(
    what: str, show: str | None, after: int | None, limit: int, form: str | None, output: Path | None, as_json: bool, file: Path,
    **asked: Any,
) -> None:  # fmt: skip
    """Report how carriers, lanes, exceptions or accounts did in a span of days, and list the parcels behind each number (--show).

    A parcel counts on the day its carrier took it over, in its store's zone. On time is told against the first estimate that we heard
    before the delivery, and the last. What is not known is counted and told. `--json` says what each number means (`meanings`).
    """
    if (as_json and form) or (show and form == "html"):
        raise click.UsageError("--json, --csv and --html exclude each other; --html shows no parcels")
    form = "json" if as_json else form
    if output is not None and form is None:
        raise click.UsageError("-o needs --csv, --json or --html")
    if after is not None and not show:
        raise click.UsageError("--after needs --show")
    ctx = open_context(glance_config(file))
    _refuse(ctx, asked)
    try:
        ask = reports.asked(ctx, **asked)
        rows = behind.parcels_of(ctx, show, ask, after=after, limit=limit) if show else []
    except reports.WrongQuestion as error:
        raise click.UsageError(str(error)) from None
    told = reports.report(ctx, what, ask)
    if show:
        _show(rows, show, told, form, output, limit, file)
    elif form == "csv":
        _give(forms.as_csv(told["rows"], forms.keys_of(told)), output)
    elif form == "html":
        _give(forms.as_html(told, ctx.now()), output)
    elif form == "json":
        _give(json_text({**told, "meanings": forms.meanings(told)}), output)
    else:
        _print(told, what, file)
    if not told["counted"]["whole"]:
        if form is not None:  # else it is said already
            click.echo(told["counted"]["said"], err=True)
        click.get_current_context().exit(1)


def _refuse(ctx: AppContext, asked: dict[str, Any]) -> None:
    """Refuse what nobody knows: of it there would be nothing, which says nothing. Raises UsageError."""
    refuse_unknown(ctx, asked["store"])
    f = parcel_facts.c
    with ctx.store.read() as connection:
        for name, column in (("carrier", f.carrier), ("account", f.account)):
            given = asked[name]
            counted = sa.select(f.shipment_id).where(column == given).limit(1)
            there = given is None or connection.execute(counted).first() is not None
            if not there and name == "account":
                refuse_unknown_account(ctx, given, list)
            elif not there and given not in (known := sorted({word.carrier for word in words().values()})):
                raise click.UsageError(f"no carrier {given!r}: {', '.join(known)}")


def _print(told: dict[str, Any], what: str, file: Path) -> None:
    said = forms.sentences(told)
    for one in said[:-1]:
        click.echo(one)
    heads, lines = forms.table(told)
    if not lines and what == "exceptions" and told["total"]["parcels"]:
        click.echo("no problem was told of any of them")
    if lines:
        click.echo("")
        first = {told["by"], {"lanes": "lane", "accounts": "account"}.get(what, "carrier")} - {None}
        _show_parts(
            f"{what} by {told['by']}" if told["by"] else what,
            heads,
            lines,
            len(heads if what == "exceptions" else first),
        )
    click.echo(said[-1])
    if lines:
        out.print(
            f"[dim]the parcels of a number: {_command(what, told, file)} --show {_number(what, told['total'])}[/]"
        )


def _show_parts(title: str, heads: list[str], lines: list[list[str]], keep: int, empty: str = "") -> None:
    """Print a table; where the screen is too narrow for it in parts, below each other, each beginning with the first columns."""
    cells = [[len(cell(line[i])) for line in lines] for i in range(len(heads))]
    wide = [min(max([*map(len, head.split()), *cells[i]]), MOST_WIDE) for i, head in enumerate(heads)]
    parts: list[list[int]] = [[]]
    for i in range(keep, len(heads)):
        if parts[-1] and sum(wide[j] + GAP for j in [*range(keep), *parts[-1], i]) - GAP > out.width:
            parts.append([])
        parts[-1].append(i)
    for number, part in enumerate(parts, 1):
        chosen = [*range(keep), *part]
        of = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        named = [fill(heads[i], wide[i]) if of else heads[i] for i in chosen]
        if number > 1:
            click.echo("")
        show_table(title + of, named, [[line[i] for i in chosen] for line in lines], empty=empty)


def _number(what: str, total: dict[str, Any]) -> str:
    """Return the number of a report whose parcels are looked at first: one of which there are some."""
    first = {"exceptions": ("exceptions",), "accounts": ("slow_webhooks", "silent")}.get(what, ("late", "exceptions"))
    return next((one for one in first if total[one]), "parcels")


def _command(what: str, told: dict[str, Any], file: Path) -> str:
    """Return the command that asks the same again."""
    named = ("since", "until", "store", "carrier", "account", "service", "lane")
    given = " ".join(f"--{name} {shlex.quote(str(told[name]))}" for name in named if told[name] is not None)
    return f"tracker report {what} {given}{config_flag(file)}".replace("[", "\\[")


def _show(
    rows: list[dict[str, Any]],
    show: str,
    told: dict[str, Any],
    form: str | None,
    output: Path | None,
    limit: int,
    file: Path,
) -> None:
    """Show the parcels of a number, and what proves one of them."""
    more = (
        f"{_command(told['report'], told, file)} --show {show} --after {rows[-1]['id']}" if len(rows) == limit else ""
    )
    if form is not None and more:  # beside the data: who takes it for all is told that it is not
        click.echo(f"the first {limit:,} only; more: {more}".replace("\\[", "["), err=True)
    if form == "json":
        _give(json_text({"show": show, "parcels": rows, "counted": told["counted"]}), output)
        return
    keys = [key for _, key in forms.PARCELS]
    if form == "csv":
        _give(forms.as_csv(rows, keys), output)
        return
    lines = [[forms.shown(key, row) for key in keys] for row in rows]
    empty = f"no parcel of {told['since']} to {told['until']} is counted as {show}"
    _show_parts(f"parcels: {show}", [name for name, _ in forms.PARCELS], lines, 2, empty)
    click.echo(told["counted"]["said"])
    if more:
        out.print(f"[dim]more: {more}[/]")
    if named := next((row["orders"][0] for row in rows if row["orders"]), None):
        order = shlex.quote(named.lstrip("#")).replace("[", "\\[")
        out.print(f"[dim]why: tracker explain {order}; the proof for a claim: tracker evidence {order} -o claim.zip[/]")


def _give(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    write_private(output, text.encode())
    click.echo(f"wrote {output}", err=True)


COMMANDS = (report,)
