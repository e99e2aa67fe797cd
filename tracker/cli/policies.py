"""Commands about policies: `policy show`, `policy table`, `policy coverage`; and `whatif`."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tracker.cli.common import (
    config_option,
    glance_config,
    json_option,
    open_context,
    print_json,
    read_config,
    show_table,
)
from tracker.cli.matrix import actors
from tracker.config.besides import besides
from tracker.config.cadences import told
from tracker.config.load import word_coverage
from tracker.config.model import Account, Config
from tracker.config.presets import KEYS, duration, policy_values, presets
from tracker.domain.table import decision_table
from tracker.domain.vocabulary import ShippingStatus
from tracker.support.whatif import in_short, what_if

AMBIGUOUS = 2


def _store(config: Config, name: str) -> Account:
    stores = config.store_names()
    if name not in stores:
        raise click.UsageError(f"no store {name!r}: {', '.join(stores) or 'none is configured'}")
    return config.accounts[name]


@click.group()
def policy() -> None:
    """Show what a store allows and wants, and how often a carrier account is asked."""


@policy.command("show")
@click.argument("store", metavar="NAME")
@config_option
@json_option
@click.option("--carrier", help="How often a carrier account is asked about this carrier's parcels.")
def show_(store: str, file: Path, as_json: bool, carrier: str | None) -> None:
    """Print the effective policy of a store, each value with where it came from, and what its writes do beside.

    Of a carrier account: how often it is asked about a parcel.
    """
    config = glance_config(file)
    if store in config.accounts and not config.accounts[store].is_store:
        _show_cadence(config, config.accounts[store], carrier, as_json)
        return
    if store not in config.store_names():
        raise click.UsageError(
            f"no store or carrier account {store!r}: {', '.join(config.accounts) or 'none is configured'}"
        )
    if carrier is not None:
        raise click.UsageError("--carrier is for carrier accounts")
    account = _store(config, store)
    values, sources = policy_values(account.policy), account.policy_sources
    if as_json:
        shown = {"store": store, "preset": account.policy.name, "values": values, "sources": dict(sources)}
        print_json({**shown, "side_effects": besides(account), "actors": actors(type(account.platform)) or None})
        return
    rows = []
    for key in KEYS:
        value = values[key]
        if isinstance(value, dict):
            value = "; ".join(f"{k}: {_short(v)}" for k, v in value.items())
        elif isinstance(value, list):
            value = (
                "; ".join(_short(v) for v in value)
                if any(isinstance(v, dict) for v in value)
                else ", ".join(map(str, value))
            )
        rows.append((key, value if value is not None else "off", sources.get(key, "default")))
    show_table(f"policy of {store}: preset {account.policy.name}", ("key", "value", "from"), rows, empty="")
    if more := [(row["write"], row["beside"], row["now"]) for row in besides(account)]:
        show_table("what writes do beside", ("write", "beside", "now"), more, empty="")
    if said := actors(type(account.platform)):
        click.echo(f"who set a status: {said}")


def _show_cadence(config: Config, account: Account, carrier: str | None, as_json: bool) -> None:
    """Print how often an account is asked about a parcel, each value with where it came from."""
    rows = []
    for key, value, part in told(config.root.cadence, account.cadence, carrier):
        inner = f"{part.removeprefix('cadence.')}.{key}" if part.startswith("cadence.") else key
        written = account.cadence_sources if part == "account" else config.cadence_sources
        rows.append((key, value, written.get(inner, "default") if part else "default"))
    if as_json:
        values, sources = ({row[0]: row[i] for row in rows} for i in (1, 2))
        print_json({"account": account.name, "carrier": carrier, "values": values, "sources": sources})
        return
    of = f" about parcels of {carrier}" if carrier else ""
    show_table(f"cadence of {account.name}{of}", ("key", "value", "from"), rows, empty="")


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_short(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@policy.command("table")
@click.argument("store", required=False)
@config_option
@json_option
def table(store: str | None, file: Path, as_json: bool) -> None:
    """Print the decision table of STORE (or of every store): made by the code that decides, for a merchant to read."""
    config = glance_config(file) if store else read_config(file)
    stores = [_store(config, store)] if store else config.store_accounts()
    told = {account.name: decision_table(account.policy) for account in stores}
    if as_json:
        print_json(told)
        return
    for name, rows in told.items():
        columns = ("dispatched by", "order is", "parcel is", "then", "rule")
        show_table(f"decisions of {name}", columns, [tuple(row.values()) for row in rows], empty="no stores")


@policy.command("presets")
@json_option
def presets_(as_json: bool) -> None:
    """List the presets."""
    if as_json:
        print_json(presets())
    else:
        click.echo("\n".join(presets()))


@policy.command("coverage")
@config_option
@json_option
def coverage(file: Path, as_json: bool) -> None:
    """Print which shipping status has which word on which store's platform; `-` has none and is never written."""
    told = word_coverage(read_config(file))
    if as_json:
        print_json(told)
        return
    stores = list(told)
    rows = [(status, *(told[store].get(status) for store in stores)) for status in ShippingStatus]
    show_table("shipping status -> word of the platform", ("shipping status", *stores), rows, empty="no stores")


@click.command()
@config_option
@json_option
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A whole configuration with other policies.",
)
@click.option(
    "--mapping",
    "mapping_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A whole configuration with other codes.",
)
@click.option("--since", default="30d", show_default=True, help="How far back.")
@click.option("--store", help="Only this store.")
def whatif(
    file: Path, as_json: bool, policy_file: Path | None, mapping_file: Path | None, since: str, store: str | None
) -> None:
    """Replay history under another policy or mapping, write nothing, and report what would change.

    Exit code 0: nothing would; 1: something would.
    """
    if (policy_file is None) == (mapping_file is None):
        raise click.UsageError("say --policy FILE or --mapping FILE")
    config = read_config(policy_file or mapping_file or file)
    ctx = open_context(read_config(file))
    try:
        begin: datetime = ctx.now() - duration(since)
    except ValueError as error:
        raise click.UsageError(f"--since {since!r}: {error}") from None
    if store is not None:
        _store(config, store)

    def progress(done: int) -> None:
        if sys.stderr and sys.stderr.isatty():
            click.echo(f"\r{done} orders", nl=False, err=True)

    answer = what_if(ctx, config, begin, store=store, mapping=mapping_file is not None, progress=progress)
    rows = answer.rows()
    if as_json:
        print_json(
            {
                "orders": answer.orders,
                "moments": answer.moments,
                "since": begin,
                "answer": in_short(answer, begin),
                "changes": rows,
            }
        )
    else:
        click.echo(f"{in_short(answer, begin)} Nothing was written.")
        shown = [
            (r["store"], r["change"], r["rule"], r["orders"], ", ".join(s["order"] for s in r["samples"])) for r in rows
        ]
        if shown:
            show_table("what would change", ("store", "change", "rule", "orders", "such as"), shown, empty="")
    if rows:
        click.get_current_context().exit(1)


COMMANDS = (policy, whatif)
