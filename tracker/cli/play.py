"""`tracker demo` and `tracker sandbox`: plays through real HTTP and the real roles, on local servers."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tracker.app.telemetry import logs_to
from tracker.cli.common import WIDE, cell, json_option, plainly, print_json
from tracker.clock import PLAYED
from tracker.sandbox.player.player import Player, Result, load_scenario
from tracker.sandbox.scenario import Scenario
from tracker.store.tables import findings, fulfilment_shipments, fulfilments, orders, outbox, shipments

DEMO = Path(__file__).parents[1] / "sandbox" / "scenarios" / "demo.yaml"
FRAMES_A_SECOND = 8
GOOD, BAD = "green", "red"


class _Board:
    """The live table: per order, order status beside shipping status, last scan, findings, writes."""

    def __init__(self, live: Live | None, seed: int) -> None:
        self._live, self._seed, self._drawn = live, seed, 0.0

    def __call__(self, player: Player) -> None:
        if self._live is not None and time.monotonic() - self._drawn >= 1 / FRAMES_A_SECOND:
            self._drawn = time.monotonic()
            self._live.update(self.draw(player))

    def draw(self, player: Player) -> Group:
        """Return the board as it is now."""
        table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
        for column in ("order", "shop says", "carrier says", "parcel", "last scan", "findings", "writes"):
            table.add_column(column, overflow="fold", no_wrap=column in ("order",))
        for row in board(player):
            table.add_row(*row)
        head = Text(
            f"Trackwright demo  {player.clock():%a %d %b %H:%M}  seed {self._seed}  "
            f"{player.result.webhooks} webhooks, {player.result.rejected} refused",
            style="bold",
        )
        return Group(head, table)


def board(player: Player) -> list[tuple[str, ...]]:
    """Read one row an order and parcel."""
    with player.daemon.store.read() as connection:
        parcels = connection.execute(
            sa.select(
                orders.c.id, orders.c.number, orders.c.status.label("shop"), shipments.c.number.label("parcel"),
                shipments.c.carrier, shipments.c.status, shipments.c.summary,
            )
            .select_from(orders)
            .outerjoin(fulfilments, fulfilments.c.order_id == orders.c.id)
            .outerjoin(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
            .outerjoin(shipments, shipments.c.id == fulfilment_shipments.c.shipment_id)
            .order_by(orders.c.number, shipments.c.id)
        ).all()  # fmt: skip
        opened: dict[int, dict[str, bool]] = {}
        for f in connection.execute(sa.select(findings.c.order_id, findings.c.kind, findings.c.closed_at)):
            if f.order_id is not None:
                kinds = opened.setdefault(f.order_id, {})
                kinds[f.kind] = kinds.get(f.kind, False) or f.closed_at is None
        sent: dict[int, int] = dict(
            connection.execute(
                sa.select(outbox.c.order_id, sa.func.count())
                .where(outbox.c.state == "sent")
                .group_by(outbox.c.order_id)
            ).all()
        )
    rows: list[tuple[str, ...]] = []
    last = None
    for p in parcels:
        again = p.id == last
        last = p.id
        said = p.summary or {}
        place = (said.get("place") or {}).get("city", "")
        at = (said.get("last_scan_at") or "")[5:16].replace("T", " ")
        shown = " ".join(
            f"[{'yellow' if o else 'dim'}]{kind}{'' if o else ' (closed)'}[/]"
            for kind, o in opened.get(p.id, {}).items()
        )
        rows.append(
            (
                "" if again else f"[bold]{cell(p.number)}[/]", "" if again else cell(p.shop),
                f"[cyan]{cell(p.status)}[/]", cell(f"{p.carrier} {p.parcel}" if p.parcel else None),
                cell(f"{at} {place}".strip()), "" if again else shown, "" if again else str(sent.get(p.id, 0)),
            )
        )  # fmt: skip
    return rows


@click.command()
@click.option("--seed", type=int, default=None, help="Shuffle as another run did; a new one each time by default.")
@click.option("--keep", is_flag=True, help="Leave it running at the end, until Ctrl-C.")
@click.option(
    "--scenario",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=DEMO,
    help="Another play than ours (format: tests/scenarios/README.md).",
)
@click.option("--log", "log_file", type=click.Path(dir_okay=False), default=None, help="Write the log lines here.")
@json_option
def demo(seed: int | None, keep: bool, file: Path, log_file: str | None, as_json: bool) -> None:
    """Play fourteen orders through six days, in about twenty seconds, on local servers; nothing leaves this machine.

    Carriers and shop are local servers that speak the real wire formats. Webhooks come late, doubled and out of order,
    differently each time (the seed says how). At the end the run checks itself against the shop's own log:
    exit 0 when all is as it must be, 1 with every difference when not.
    """
    seed = seed if seed is not None else random.SystemRandom().randrange(1, 100_000)
    scenario = load_scenario(file)
    with open(log_file or os.devnull, "w", encoding="utf-8") as stream, logs_to(stream):
        console = Console(highlight=False, width=None if sys.stdout and sys.stdout.isatty() else WIDE)
        live = (
            Live(console=console, refresh_per_second=FRAMES_A_SECOND, transient=False)
            if console.is_terminal and not as_json
            else None
        )
        watch = _Board(live, seed)
        player = Player(scenario, seed=seed, watch=watch, page=keep)
        final: list[Group] = []
        if live is None and not as_json:
            click.echo(f"Trackwright demo, seed {seed}: {len(scenario.steps)} things happen in {scenario.scenario}")

        def at_the_end() -> None:
            final.append(watch.draw(player))
            if live is not None:
                live.update(final[0])
                live.stop()
            if keep:
                _wait(player)

        try:
            if live is not None:
                live.start()
            result = player.play(keep=at_the_end)
        finally:
            if live is not None:
                live.stop()
    if as_json:
        print_json(_report(scenario, result, seed))
    else:
        if live is None:
            console.print(final[0])
        _summary(scenario, result, seed, demo=True)
    click.get_current_context().exit(1 if result.differences else 0)


def _wait(player: Player) -> None:
    assert player.daemon.servers is not None
    player.daemon.be_seen()
    port, ops, *others = player.daemon.servers.ports()
    plainly(f"look at it: http://127.0.0.1:{others[-1]}/  with the token {player.stage.page_token}")
    click.echo(f"still running: http://127.0.0.1:{port}/readyz, http://127.0.0.1:{ops}/metrics; in another terminal:")
    clock = f"{player.clock().isoformat()} {player.ahead().total_seconds()}"  # commands are to read by the clock of the play
    click.echo(f"  export TRACKER_CONFIG={player.stage.path} {PLAYED}='{clock}'")
    click.echo("  tracker status; tracker explain '#1001'; tracker show '#1001'")
    click.echo("Ctrl-C ends it")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        click.echo("")


def _report(scenario: Scenario, result: Result, seed: int | None) -> dict[str, Any]:
    return {
        "scenario": scenario.scenario, "seed": seed, "differences": result.differences, "hints": result.hints, "webhooks": result.webhooks,
        "rejected": result.rejected, "polls": result.polls, "seconds": round(result.seconds, 1), "platform_log": result.log,
    }  # fmt: skip


def _summary(scenario: Scenario, result: Result, seed: int | None, *, demo: bool = False) -> None:
    colour = BAD if result.differences else GOOD
    click.echo("")
    for difference in result.differences:
        click.secho(f"  differs: {difference}", fg=BAD)
    for hint in result.hints:
        click.echo(f"  perhaps because: {hint}")
    verdict = (
        f"{len(result.differences)} differences" if result.differences else "as it must be, by the platform's own log"
    )
    click.secho(f"{scenario.scenario}: {verdict}", fg=colour, bold=True)
    click.echo(
        f"  {result.webhooks} webhooks received ({result.rejected} refused), {result.polls} polls, "
        f"{len(result.log)} writes, {result.seconds:.0f} s" + (f", seed {seed}" if seed is not None else "")
    )
    if demo and not result.differences:
        click.echo(
            "\nNext: make run ARGS=--keep      the same, left running\n      .venv/bin/tracker init    a first tracker.yaml of your own"
        )


@click.group()
def sandbox() -> None:
    """Local servers that speak the carriers' and the shop's wire formats, and plays on them."""


@sandbox.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Exit 1 when anything differs from what the file expects.")
@click.option("--seed", type=int, default=None, help="Shuffle and double the webhooks.")
@click.option(
    "--platform-log", type=click.Path(dir_okay=False, path_type=Path), help="Write the shop's own log here, as JSON."
)
@click.option("--database", help="A database URL instead of a fresh SQLite file (it must be empty).")
@click.option("--log", "log_file", type=click.Path(dir_okay=False), default=None, help="Write the log lines here.")
@json_option
def play(
    file: Path,
    check: bool,
    seed: int | None,
    platform_log: Path | None,
    database: str | None,
    log_file: str | None,
    as_json: bool,
) -> None:
    """Play a scenario FILE through real HTTP and the real roles.

    The format: tests/scenarios/README.md, of an installed wheel tracker/sandbox/scenarios/README.md; `tracker sandbox schema`.
    """
    scenario = load_scenario(file)
    with open(log_file or os.devnull, "w", encoding="utf-8") as stream, logs_to(stream):
        result = Player(scenario, seed=seed, database=database).play()
    report = _report(scenario, result, seed)
    if platform_log is not None:
        import orjson

        platform_log.write_bytes(orjson.dumps(result.log, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z))
    if as_json:
        print_json(report)
    else:
        _summary(scenario, result, seed)
    if check and result.differences:
        click.get_current_context().exit(1)


@sandbox.command("schema")
def schema_() -> None:
    """Print the JSON schema of scenario files."""
    print_json(Scenario.model_json_schema())


COMMANDS = (demo, sandbox)
