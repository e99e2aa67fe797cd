"""Commands that look: `show`, `explain`, `findings`, `codes`, `inbox`, `outbox`, `plugins`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from tracker.cli.common import cell as show
from tracker.cli.common import (
    config_option,
    json_option,
    limit_option,
    open_world,
    out,
    print_json,
    read_config,
    show_table,
)
from tracker.config.plugins import load, names
from tracker.domain.errors import TrackerError
from tracker.pipeline.explain import explanation, overview
from tracker.plugin.contracts import Carrier, Platform
from tracker.store.tables import findings as findings_table
from tracker.store.tables import inbox as inbox_table
from tracker.store.tables import outbox as outbox_table
from tracker.store.tables import unmapped_codes


def _rows(file: Path, statement: sa.Select[Any]) -> list[dict[str, Any]]:
    with open_world(read_config(file)).store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(statement)]


@click.command("show")
@click.argument("what", metavar="ORDER|NUMBER")
@config_option
@json_option
def show_(what: str, file: Path, as_json: bool) -> None:
    """Show where an order or parcel stands: order status beside shipping status, scans, findings, writes.

    ORDER is the shop's number (#1001 or 1001) or its id; NUMBER a tracking number.
    """
    told = overview(open_world(read_config(file)), what)
    if as_json:
        print_json(told)
        return
    _require(told, what)
    for order in told["orders"]:
        _print_order(order)
    for parcel in told["parcels_without_order"]:
        out.print("[bold]parcel without an order[/]")
        _print_parcel(parcel)


@click.command()
@click.argument("what", metavar="ORDER|NUMBER")
@config_option
@json_option
def explain(what: str, file: Path, as_json: bool) -> None:
    """Explain why: scans, their meanings, the rules that fired, writes with receipts, what would be written now."""
    told = explanation(open_world(read_config(file)), what)
    if as_json:
        print_json(told)
        return
    _require(told, what)
    for order in told["orders"]:
        _print_order(order)
        now = order.get("now")
        if now:
            out.print("[bold]now[/]")
            for rule in now["because"]:
                out.print(f"  rule {show(rule)}")
            out.print(f"  would write: {', '.join(now['would_write']) or 'nothing'} (mode {now['mode']})")
            out.print(f"  looks again at: {show(now['look_again_at'])}")
        rows = [
            (d["at"], d["order_version"], ", ".join(r.partition(":")[0] for r in d["because"]), ", ".join(d["writes"]),
             ", ".join(d["findings"]), d["policy"])
            for d in order["decisions"]
        ]  # fmt: skip
        columns = ("at", "order version", "rules", "writes", "findings", "policy")
        show_table("decisions, newest first", columns, rows, empty="no decision yet")


def _require(told: dict[str, Any], what: str) -> None:
    if not told["orders"] and not told["parcels_without_order"]:
        could = told["could_be"]
        hint = f" (the number could be of {', '.join(could)})" if could else ""
        raise TrackerError(f"nothing is known of {what!r}{hint}")


def _print_order(order: dict[str, Any]) -> None:
    out.print(
        f"[bold]order {show(order['number'])}[/] at {show(order['store'])}: "
        f"[cyan]{order['status']}[/] (shop says {show(order['raw_status'])}), {order['payment']}, "
        f"placed {show(order['placed_at'])}, read {show(order['read_at'])}"
    )
    for fulfilment in order["fulfilments"]:
        out.print(f"  fulfilment {show(fulfilment['ref'])}: the shop shows {show(fulfilment['shown'])}")
    for parcel in order["parcels"]:
        _print_parcel(parcel)
    columns = ("finding", "severity", "action", "opened", "closed", "evidence")
    rows = [
        (f["kind"], f["severity"], f["act"], f["opened_at"], f["closed_at"],
         ", ".join(f"{k}={v}" for k, v in f["evidence"].items()))
        for f in order["findings"]
    ]  # fmt: skip
    show_table("findings", columns, rows, empty="  no findings")
    writes = [
        (w["status"], w["happened_at"], w["state"], w["attempts"], w["receipt"] or w["error"]) for w in order["writes"]
    ]
    show_table(
        "writes, newest first",
        ("status", "happened", "state", "tries", "receipt or error"),
        writes,
        empty="  no writes",
    )


def _print_parcel(parcel: dict[str, Any]) -> None:
    generation = f" (generation {parcel['generation']})" if parcel["generation"] > 1 else ""
    out.print(
        f"  parcel {show(parcel['carrier'])} {show(parcel['number'])}{generation}: [cyan]{parcel['status']}[/]"
        f" ({show(parcel['reason'])}), last place {show(parcel['place'])}, estimate {show(parcel['edd'])}"
    )
    for w in parcel["watched_by"]:
        out.print(
            f"    watched by {show(w['account'])}: {w['state']}, asked {show(w['checked_at'])},"
            f" again {show(w['next_poll_at'])}{', refused: ' + show(w['rejected']) if w['rejected'] else ''}"
        )
    rows = [
        (s["at"], s["zone"], f"{s['space']}/{s['code']}", s["text"], s["status"] or "(unchanged)", s["reason"], s["place"],
         "withdrawn" if s["withdrawn"] else ("" if s["confirmed"] else "not confirmed by a poll"))
        for s in parcel["scans"]
    ]  # fmt: skip
    show_table(
        "scans",
        ("at (UTC)", "zone", "code", "carrier's words", "status", "reason", "place", "note"),
        rows,
        empty="  no scans",
    )


@click.command("findings")
@config_option
@json_option
@limit_option
@click.option("--closed", is_flag=True, help="Closed ones too.")
@click.option("--digest", is_flag=True, help="Those of what happened before their store was connected.")
def findings_(file: Path, as_json: bool, limit: int, closed: bool, digest: bool) -> None:
    """List what a person must look at, newest first.

    What a store's first sync found in its past is one line at the end (--digest lists it).
    """
    t = findings_table.c
    statement = sa.select(
        t.kind, t.severity, t.act, t.subject, t.evidence, t.opened_at, t.closed_at, t.closed_by, t.digest
    ).order_by(t.opened_at.desc(), t.id.desc()).limit(limit)  # fmt: skip
    statement = statement.where(t.digest.is_(digest))
    rows = _rows(file, statement if closed else statement.where(t.closed_at.is_(None)))
    if as_json:
        print_json(rows)
        return
    columns = ("finding", "severity", "action", "subject", "opened", "closed", "evidence")
    shown = [
        (r["kind"], r["severity"], r["act"], r["subject"], r["opened_at"], r["closed_at"],
         ", ".join(f"{k}={v}" for k, v in r["evidence"].items()))
        for r in rows
    ]  # fmt: skip
    show_table("findings", columns, shown, empty="no findings: shop and carriers agree")
    past = [] if digest else _rows(file, sa.select(t.id).where(t.digest.is_(True), t.closed_at.is_(None)))
    if past:
        click.echo(f"and {len(past)} of what happened before its store was connected (tracker findings --digest)")


@click.command()
@config_option
@json_option
@limit_option
def codes(file: Path, as_json: bool, limit: int) -> None:
    """List codes that have no meaning yet, the most frequent first.

    Give one a meaning in the YAML (accounts.<name>.codes."space/code": {status: ..., reason: ...}), reload, then
    `tracker remap ACCOUNT`.
    """
    rows = _rows(file, sa.select(unmapped_codes).order_by(unmapped_codes.c["count"].desc()).limit(limit))
    if as_json:
        print_json(rows)
        return
    columns = ("carrier", "code", "carrier's words", "seen", "first", "last", "sample (tracker inbox)")
    shown = [
        (
            r["carrier"],
            f"{r['space']}/{r['code']}",
            r["text"],
            r["count"],
            r["first_seen_at"],
            r["last_seen_at"],
            r["sample"],
        )
        for r in rows
    ]
    show_table("unmapped codes", columns, shown, empty="every code has a meaning")


@click.command()
@config_option
@json_option
@limit_option
@click.option("--state", type=click.Choice(["pending", "done", "ignored", "dead"]), help="Only these.")
@click.option("--account", help="Only from this account.")
@click.option("--body", "row_id", type=int, help="Print the stored bytes of one payload.")
def inbox(file: Path, as_json: bool, limit: int, state: str | None, account: str | None, row_id: int | None) -> None:
    """List payloads that arrived, newest first; `--state dead` are those that could not be read."""
    t = inbox_table.c
    if row_id is not None:
        found = _rows(file, sa.select(t.body).where(t.id == row_id))
        if not found or found[0]["body"] is None:
            raise TrackerError(f"there is no body of payload {row_id} (any more)")
        sys.stdout.buffer.write(found[0]["body"])
        return
    statement = sa.select(
        t.id, t.account, t.kind, t.state, t.reason, t["size"], t.attempts, t.received_at, t.due_at
    ).order_by(t.id.desc()).limit(limit)  # fmt: skip
    if state:
        statement = statement.where(t.state == state)
    if account:
        statement = statement.where(t.account == account)
    rows = _rows(file, statement)
    if as_json:
        print_json(rows)
        return
    columns = ("id", "account", "kind", "state", "why", "bytes", "tries", "received", "due")
    show_table("inbox", columns, [tuple(r.values()) for r in rows], empty="no such payload")


@click.command()
@config_option
@json_option
@limit_option
@click.option(
    "--state", type=click.Choice(["pending", "sent", "refused", "dead", "superseded", "observed"]), help="Only these."
)
def outbox(file: Path, as_json: bool, limit: int, state: str | None) -> None:
    """List writes, newest first. `observed` would have been sent, were the store in mode write."""
    t = outbox_table.c
    statement = sa.select(
        t.id, t.store, t.key, t.state, t.attempts, t.error, t.created_at, t.due_at, t.attempted_at
    ).order_by(t.id.desc()).limit(limit)  # fmt: skip
    rows = _rows(file, statement.where(t.state == state) if state else statement)
    if as_json:
        print_json(rows)
        return
    columns = ("id", "store", "key", "state", "tries", "error", "created", "due", "tried")
    show_table("outbox", columns, [tuple(r.values()) for r in rows], empty="no such write")


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """Print what each plugin can do, read from the code."""
    rows: list[dict[str, Any]] = []
    for package in ("carriers", "adapters"):
        for name in names(package):
            plugin = load(package, name)
            rows.append(
                {
                    "plugin": name,
                    "kind": "carrier" if issubclass(plugin, Carrier) else "platform",
                    "asks": sorted(ask.__name__ for ask in plugin.asks),
                    "webhooks": plugin.webhooks,
                    "trust": str(plugin.trust) if plugin.webhooks else None,
                    "registers": getattr(plugin, "registers", None),
                    "numbers_a_call": getattr(plugin, "batch", None),
                    "codes": len(getattr(plugin, "codes", ())) or None,
                    "order_words": len(plugin.statuses) if issubclass(plugin, Platform) else None,
                    "docs": plugin.docs,
                }
            )
    if as_json:
        print_json(rows)
        return
    columns = ("plugin", "kind", "asks by", "webhooks", "trust", "registers", "a call", "codes", "docs")
    shown = [
        (r["plugin"], r["kind"], ", ".join(r["asks"]), "yes" if r["webhooks"] else "no", r["trust"],
         "yes" if r["registers"] else None, r["numbers_a_call"], r["codes"] or r["order_words"], r["docs"])
        for r in rows
    ]  # fmt: skip
    show_table("plugins", columns, shown, empty="no plugins")


COMMANDS = (show_, explain, findings_, codes, inbox, outbox, plugins)
