"""Commands that look at an order or parcel: `show`, `explain`, `evidence`, `proof`; and `plan`, `plugins`."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Any

import click

from tracker.cli import matrix
from tracker.cli.common import (
    as_of,
    close_context,
    config_option,
    glance_config,
    json_option,
    open_context,
    out,
    print_json,
    show_table,
)
from tracker.cli.common import cell as show
from tracker.cli.listing import Listing, listing
from tracker.config.files import write_private
from tracker.config.plugins import installed, words
from tracker.domain.errors import ConfigError, TrackerError
from tracker.domain.sentences import estimated
from tracker.plugin.names import where
from tracker.plugin.proofs import ENDINGS
from tracker.support import planned, proofs
from tracker.support.answer import unread
from tracker.support.evidence import pack
from tracker.support.explain import explanation, overview

WRONG = "its entry in the configuration is wrong, so nothing is planned for it (`tracker check`)"
_TOLD = ("status_reason", "service", "location", "pays_by", "channel", "risk", "cancel_reason", "closed_at")


@click.command("show")
@click.argument("what", metavar="ORDER|NUMBER")
@config_option
@json_option
def show_(what: str, file: Path, as_json: bool) -> None:
    """Show where an order or parcel stands: order status beside shipping status, scans, findings, writes.

    ORDER is the shop's number (#1001 or 1001) or its id; NUMBER a tracking number.
    """
    told = explanation(open_context(glance_config(file)), what)
    told["answer"] = told.pop("where")
    del told["rules"]
    for order in told["orders"]:
        order["answer"] = order.pop("where")
        for why in ("now", "rules", "decisions", "versions"):  # `explain` tells why
            order.pop(why, None)
    if as_json:
        print_json(told)
    _require(told, what)
    if as_json:
        return
    _print_answer(told)
    for order in told["orders"]:
        _print_order(order)
    for parcel in told["parcels_without_order"]:
        out.print("[bold]parcel without an order[/]")
        _print_parcel(parcel)


@click.command()
@click.argument("what", metavar="ORDER|NUMBER")
@config_option
@json_option
@click.option(
    "--at", "at", metavar="MOMENT", help="As of a moment, such as 2026-11-02T09:00Z: only what was known then."
)
@click.option("--all", "all_", is_flag=True, help="And all it rests on: scans, versions, decisions, writes.")
def explain(what: str, file: Path, as_json: bool, at: str | None, all_: bool) -> None:
    """Explain in sentences what the shop says, what the carrier says, what we did or did not do and why, and what would change it.

    Then each rule that fired, with its name.
    """
    ctx = open_context(glance_config(file))
    told = explanation(ctx, what, at=as_of(at, ctx.now()))
    if as_json:
        print_json(told)
    _require(told, what)
    if as_json:
        return
    _print_answer(told)
    for order in told["orders"]:
        _print_rules(order, told)
        if not all_:
            continue
        _print_order(order)
        now = order.get("now")
        if now:
            out.print(f"[bold]{'then' if told.get('at') else 'now'}[/]")
            for drift in now["drift"]:
                out.print(
                    f"  {drift['drift']}: shop {drift['shop']}, carrier {drift['carrier']}, since {show(drift['since'])}"
                )
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
        stood = [
            (v["seen_at"], v["previous_read_at"], v["status"], v["raw_status"], v["payment"], v["actor"])
            for v in order["versions"]
        ]
        columns = ("seen", "something else at", "status", "shop's word", "payment", "set by")
        show_table("what the shop said, newest first", columns, stood, empty="it was not read yet")


@click.command()
@click.argument("order")
@config_option
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The zip to write."
)
@click.option("--at", "at", metavar="MOMENT", help="As of a moment.")
def evidence(order: str, file: Path, output: Path, at: str | None) -> None:
    """Pack what proves an order's story: JSON, one readable page, the raw payloads, the documents of its deliveries, and their hashes.

    A document that is not kept yet is fetched from its carrier, once, and kept for `retention.proof_bodies`. It is personal data.
    """
    ctx = open_context(glance_config(file))
    try:
        packed = pack(ctx, order, output, at=as_of(at, ctx.now()))
    finally:
        close_context(ctx)
    documents = f"{packed.documents} document{'' if packed.documents == 1 else 's'} of deliveries"
    click.echo(f"{output}: evidence.json, index.html, {packed.payloads} raw payloads, {documents}, SHA256SUMS")
    for said in packed.missing:
        click.echo(f"no document of {said}", err=True)


@click.command()
@click.argument("number")
@config_option
@click.option("--account", help="Who is asked, where several carriers have a parcel of this number.")
@click.option(
    "--out", "output", type=click.Path(path_type=Path, dir_okay=False), help="The file to write (proof-NUMBER.pdf)."
)
@click.option("--replace", is_flag=True, help="Write over a file of that name.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who asks; it is noted at the order.")
def proof(number: str, file: Path, account: str | None, output: Path | None, replace: bool, by: str) -> None:
    """Fetch the document that proves the delivery of NUMBER from its carrier, such as a signature, into a file only you can read.

    It is personal data: nothing of it is kept in the database. That it was fetched, and by whom, is noted at the order.
    """
    if output is not None and os.path.lexists(output) and not replace:
        raise click.UsageError(f"{output} is there already: --replace writes over it")
    ctx = open_context(glance_config(file))
    try:
        if account is not None and (account not in ctx.config.accounts or account in ctx.config.store_names()):
            raise click.UsageError(f"no carrier account {account!r}")
        wanted = proofs.find_parcel(ctx, number, account)
        document = proofs.fetch(ctx, wanted)
        if output is None:
            name = "".join(c if c.isalnum() else "_" for c in wanted.parcel.number)
            output = Path(f"proof-{name}.{ENDINGS[document.kind]}")
        write_private(output, document.content, replace=replace)
        noted = proofs.note_fetch(ctx, wanted, document, by)
    finally:
        close_context(ctx)
    told = f"; noted at {', '.join(noted)}" if noted else ""
    click.echo(
        f"{output}: {document.kind}, {len(document.content):,} bytes of {wanted.name}, by {wanted.account.name}{told}"
    )
    if wanted.others:
        click.echo(f"{wanted.others + 1} parcels had this number; the document is of the newest", err=True)


def _print_answer(told: dict[str, Any]) -> None:
    """Print the answer, a sentence a line."""
    for sentence in told["answer"]:
        click.echo(_line(sentence))
    click.echo()


def _line(sentence: str) -> str:
    return show(sentence).replace("\\[", "[")  # no markup is read here


def _print_rules(order: dict[str, Any], told: dict[str, Any]) -> None:
    """Print the rules that fired, each with its sentence, and under which policy."""
    title = f"rules that fired for {show(order['number'])} in {show(order['store'])}"
    if now := order.get("now"):
        kept = "" if now["policy_kept"] else ", which is not kept whole: these are the rules of now"
        title += f", {'then' if told.get('at') else 'now'}, policy {show(now['policy'])}{kept}"
    rows = [(rule["rule"], rule["sentence"]) for rule in order["rules"]]
    show_table(title, ("rule", "what it says"), rows, empty="no rule fired")


def _require(told: dict[str, Any], what: str) -> None:
    if not told["orders"] and not told["parcels_without_order"]:
        could = told["could_be"]
        hint = f" (the number could be of {', '.join(could)})" if could else ""
        if told.get("at"):
            hint = f" as of {told['at']:%Y-%m-%d %H:%M}Z{hint}"
        raise TrackerError(
            f"nothing is known of {what!r}{hint}: no store that is read tells of such an order, and no carrier of such a number{unread(told)}"
        )


def _print_order(order: dict[str, Any]) -> None:
    label = f", called {show(order['label'])} there" if order.get("label") else ""
    out.print(
        f"[bold]order {show(order['number'])}[/] at {show(order['store'])}: "
        f"[cyan]{order['status']}[/] (shop says {show(order['raw_status'])}{label}), {order['payment']}, "
        f"placed {show(order['placed_at'])}, read {show((order.get('known') or {}).get('shop_at'))}"
    )
    out.print(
        f"  dispatched by: {order['owner']} (method {show(order['method'])}), address {show(order['address'])},"
        f" status set by {show(order['actor'])}{', urgency ' + order['urgent'] if order['urgent'] else ''}"
    )
    told = [f"{name.replace('_', ' ')} {show(order[name])}" for name in _TOLD if order.get(name)]
    if told:
        out.print(f"  the shop says: {', '.join(told)}")
    if order.get("test"):
        out.print("  [yellow]a test order[/]: nothing is ever written to it, and nobody is asked to look")
    known = order.get("known")
    if known is not None:
        out.print(f"  known as of {show(known['as_of'])}" + ("" if known["unknown"] else ", by shop and carriers"))
        for what in known["unknown"]:
            out.print(f"  [yellow]not known[/]: {show(what)}")
    if order["gone"]:
        sight = "older than the shop lets us read" if order["gone"]["why"] == "out_of_sight" else "gone from the shop"
        out.print(
            f"  [red]{sight}[/] since {show(order['gone']['since'])} ({order['gone']['why']}): nothing is written; "
            "its parcels are tracked"
        )
    for item in order["items"]:
        gone = f", {item['removed']} cancelled or refunded" if item["removed"] else ""
        short = ", out of stock" if item["short"] else ""
        out.print(f"  item {show(item['ref'])} {show(item['name'])}: {item['ordered']} ordered{gone}{short}")
    for said in order["statements"]:
        to = f" {said['status']}" if said["status"] else ""
        out.print(f"  {said['kind']}{to} by {show(said['by'])}, {show(said['at'])}: {show(said['text'])}")
    for fulfilment in order["fulfilments"]:
        out.print(f"  fulfilment {show(fulfilment['ref'])}: the shop shows {show(fulfilment['shown'])}")
        for text in fulfilment["unreadable"]:
            out.print(f"    [yellow]no tracking number[/]: {show(text)}")
    for parcel in order["parcels"]:
        _print_parcel(parcel)
    columns = ("finding", "severity", "action", "opened", "closed", "evidence", "would heal")
    rows = [
        (f["kind"], f["severity"], f["act"], f["opened_at"], f["closed_at"],
         ", ".join(f"{k}={v}" for k, v in f["evidence"].items()), f["proposal"])
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


def _typed(parcel: dict[str, Any]) -> str:
    """Say what people typed, where that is not the number, and whether its check digit is wrong."""
    typed = f" (typed {show(parcel['typed'])})" if parcel["typed"] else ""
    return typed + (" [yellow]doubtful: its check digit is wrong[/]" if parcel["doubtful"] else "")


def _watched(watch: dict[str, Any]) -> str:
    """Say whether an account is asked about a parcel, and why, or only heard."""
    if watch["asked_because"] is None:
        return f"heard: {show(watch['account'])}: {watch['state']}; what it pushes is taken, nobody asks it"
    store = f" for {show(watch['asked_for'])}" if watch["asked_for"] else ""
    return (
        f"asked: {show(watch['account'])}{store} ({show(watch['asked_because'])}): {watch['state']},"
        f" asked {show(watch['checked_at'])}, again {show(watch['next_poll_at'])}"
    )


def _fed(watch: dict[str, Any]) -> str:
    return f", its feed last told of it {show(watch['fed_at'])}" if watch["fed_at"] else ""


def _said(watch: dict[str, Any]) -> str:
    return f"; [yellow]it says[/]: {show(watch['said'])}" if watch["said"] else ""


def _suspended(watch: dict[str, Any]) -> str:
    return f"; [yellow]nobody may ask[/]: {show(watch['suspended'])}" if watch["suspended"] else ""


def _documented(document: dict[str, Any]) -> str:
    """Say what became of the document that proves a delivery."""
    of, why = show(document["account"]), show(document["error"])
    if document["state"] == "kept":
        return f"kept, {document['kind']}, {document['size']:,} bytes, fetched from {of} {show(document['fetched_at'])}"
    if document["state"] == "wanted":
        why = f"; it said: {why}" if document["error"] else ""
        return f"wanted, {of} is asked {show(document['next_at'])}{why}"
    said = {
        "none": f"{of} has none: {why}",
        "refused": f"{of} does not give it: {why}",
        "too_large": f"not kept: it {why}",
    }
    return said.get(document["state"], f"kept until its retention was over, fetched {show(document['fetched_at'])}")


def _estimated(parcel: dict[str, Any]) -> str:
    newest = parcel["estimates"][-1] if parcel["estimates"] else None
    return (
        estimated(newest["begins"], newest["ends"])
        if newest and newest["ends"] == parcel["edd"]
        else show(parcel["edd"])
    )


def _print_parcel(parcel: dict[str, Any]) -> None:
    generation = f" (generation {parcel['generation']})" if parcel["generation"] > 1 else ""
    out.print(
        f"  parcel {show(parcel['carrier'])} {show(parcel['number'])}{_typed(parcel)}{generation}: [cyan]{parcel['status']}[/]"
        f" ({show(parcel['reason'])}), last place {show(parcel['place'])}, estimate {_estimated(parcel)}"
    )
    if len(parcel["estimates"]) > 1:
        promised = ", then ".join(f"{e['begins']:%Y-%m-%d} (told {show(e['told_at'])})" for e in parcel["estimates"])
        out.print(f"    promised {promised}")
    if document := parcel["document"]:
        out.print(f"    document: {_documented(document)}")
    _print_watches(parcel)
    for leg in parcel["last_mile"]:
        out.print(
            f"    last mile: {show(leg['carrier'])} {show(leg['number'])}: [cyan]{show(leg['status'])}[/] by itself,"
            f" followed since {show(leg['since'])}"
        )
        _print_watches(leg)
    several = bool(parcel["last_mile"])
    rows = [
        (s["at"], s["zone"], *([s["of"]] if several else []), f"{s['space']}/{s['code']}", s["text"], s["status"] or "(unchanged)",
         s["reason"], s["place"],
         "withdrawn" if s["withdrawn"] else ("" if s["confirmed"] else "not confirmed by a poll"))
        for s in parcel["scans"]
    ]  # fmt: skip
    columns = (
        "at (UTC)",
        "zone",
        *(["of"] if several else []),
        "code",
        "carrier's words",
        "status",
        "reason",
        "place",
        "note",
    )
    show_table(
        "scans",
        columns,
        rows,
        empty="  no scans",
    )


def _print_watches(parcel: dict[str, Any]) -> None:
    if not parcel["watched_by"]:
        out.print("    [yellow]watched by nobody[/]: no account covers its carrier (tracker findings tells what would)")
    for w in parcel["watched_by"]:
        out.print(
            f"    {_watched(w)}{_fed(w)}{_said(w)}{', refused: ' + show(w['rejected']) if w['rejected'] else ''}{_suspended(w)}"
        )


@click.command()
@click.argument("what", metavar="[ACCOUNT|ORDER|NUMBER]", required=False)
@listing("limit")
def plan(page: Listing, what: str | None) -> None:
    """Show what is asked of carriers next: by account what is due, who waits, what its budget gives, and whether that suffices.

    With an ACCOUNT, or an ORDER or NUMBER: when it is asked about each parcel next, and why.
    """
    ctx = page.context
    columns: tuple[tuple[str, str], ...] = (
        ("account", "account"), ("open", "open"), ("due", "due"), ("overdue", "overdue"), ("who waits", "who"), ("feed", "feed"), ("unregistered", "unregistered"), ("quota", "quota"),
        ("limits", "limits"), ("left", "left"), ("needs a day", "needs"), ("gives a day", "gives"), ("held", "held"),
    )  # fmt: skip
    if what is None:
        rows = planned.by_account(ctx)
        shown = [{**row, "who": planned.wait(row["waits"])} for row in rows] if not page.as_json else rows
        wrong = planned.wrong(ctx)
        page.show(
            lambda _: shown, "plan", columns, "no carrier account is configured" if not wrong else "nobody is asked"
        )
        short = [f"{name}: {WRONG}" for name in wrong]
        short += [f"{row['account']}: {row['verdict']}" for row in rows if not row["suffices"]]
        short += [
            f"{row['account']}: its quota is used up, and {row['unregistered']:,} parcels wait to be registered"
            for row in rows
            if row["unregistered"] and row["quota_left"] == 0
        ]
        for said in short:
            click.echo(said, err=page.as_json)
        if short:
            click.get_current_context().exit(1)
        return
    columns = (
        ("next", "next"), ("account", "account"), ("store", "store"), ("order", "order"), ("parcel", "parcel"), ("status", "status"),
        ("urgent", "urgent"), ("why", "why"), ("held", "held"),
    )  # fmt: skip
    known = what in ctx.config.accounts and what not in ctx.config.store_names()
    rows = planned.of_account(ctx, what, page.limit) if known else planned.of_order(ctx, what, page.limit)
    page.show(lambda _: rows, f"plan of {what}", columns, "nobody is asked about a parcel of it")
    if not known and not rows:
        _require(overview(ctx, what), what)
    if known and ctx.account(what) is None:
        click.echo(f"{what}: {WRONG}", err=page.as_json)
        click.get_current_context().exit(1)


@click.command()
@json_option
@click.option(
    "--words", "called", is_flag=True, help="What each carrier is called instead, by whom, and where that stands."
)
def plugins(as_json: bool, called: bool) -> None:
    """Print what each plugin can do, read from the code; and then which cannot be loaded."""
    if called:
        _print_words(as_json)
        return
    rows: list[dict[str, Any]] = []
    broken: list[str] = []
    for package in ("carriers", "adapters"):
        found = installed(package)
        broken += found.broken
        for name, plugin in found.plugins.items():
            rows.append(matrix.row(name, plugin))
    if as_json:
        print_json(rows)
    else:
        _print_plugins(rows)
    if broken:
        raise ConfigError(*broken)


def _print_words(as_json: bool) -> None:
    told = [
        {
            "carrier": one.carrier,
            "said_by": one.said_by or "everybody",
            "word": one.word,
            "we_say_it": one.call,
            "place": where(one),
        }
        for one in sorted(words().values(), key=lambda one: (one.carrier, one.said_by))
    ]
    if as_json:
        print_json(told)
        return
    rows = [(r["carrier"], r["said_by"], r["word"], "yes" if r["we_say_it"] else None, r["place"]) for r in told]
    show_table(
        "what carriers are called", ("carrier", "said by", "word", "in our calls", "where"), rows, empty="no word"
    )


def _print_plugins(rows: list[dict[str, Any]]) -> None:
    columns = ("plugin", "kind", "asks by", "webhooks", "trust", "registers", "a call", "codes", "docs")
    shown = [
        (r["plugin"], r["kind"], ", ".join(r["asks"]), "yes" if r["webhooks"] else "no", r["trust"],
         "first" if r["registers_first"] else "yes" if r["registers"] else None, r["numbers_a_call"], r["codes"] or r["order_words"], r["docs"])
        for r in rows
    ]  # fmt: skip
    show_table("plugins", columns, shown, empty="no plugins")
    platforms = [matrix.shown(r) for r in rows if r["kind"] == "platform"]
    show_table("platforms", matrix.COLUMNS, platforms, empty="no platforms")
    for r in rows:
        for what in r["unverified"] if r["kind"] == "carrier" else ():
            click.echo(f"{r['plugin']}: unverified: {what}")


COMMANDS = (show_, explain, evidence, proof, plan, plugins)
