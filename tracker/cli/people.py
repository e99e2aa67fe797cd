"""Commands by which people speak, and ask: `note`, `record`, `correct`, `correct-number`, `may`, `dismiss`, `snooze`, `assign`."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tracker.cli.common import (
    ROW,
    all_of,
    as_of,
    cell,
    config_option,
    glance_config,
    json_option,
    open_context,
    out,
    print_json,
)
from tracker.cli.many import act, asked_for, many_options
from tracker.config.model import Account
from tracker.config.presets import duration
from tracker.domain.gates import FINAL, into_processing
from tracker.domain.texts import named
from tracker.domain.vocabulary import OrderStatus, StatementKind
from tracker.pipeline.context import AppContext
from tracker.support import lists, many, numbers, statements

store_option = click.option("--store", help="The store, where several have an order of this number.")
by_option = click.option("--by", default=getpass.getuser, show_default="you", help="Who says it; it is kept.")
MOST_NAME = 80
MOST_OPEN = 5  # findings that are named
STATUSES = [str(status) for status in OrderStatus if status is not OrderStatus.UNKNOWN]


@click.command()
@click.argument("order")
@click.argument("text")
@config_option
@store_option
@by_option
@click.option("--to-shop", is_flag=True, help="Attach it to the order in the shop too, where the platform takes notes.")
def note(order: str, text: str, file: Path, store: str | None, by: str, to_shop: bool) -> None:
    """Attach an internal note to ORDER."""
    ctx = open_context(glance_config(file))
    row = statements.find_order(ctx, order, store)
    statements.record_statement(ctx, row, StatementKind.NOTE, text, by, to_shop=to_shop)
    click.echo(f"noted at {order}")
    if to_shop and (account := ctx.account(row.store)) is not None and account.mode != "write":
        click.echo(f"{row.store} only observes (mode: {account.mode}): the shop gets it when mode is write")


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[ORDER...] WHAT")
@config_option
@many_options("differs", "store", "carrier", "since", "severity", "assigned")
@by_option
@click.option("--text", default="", help="What there is to say of it: who was called, where the proof lies.")
def record(words: tuple[str, ...], file: Path, by: str, text: str, **given: Any) -> None:
    """Record what was done about ORDER: verified, inspected, handed_over, proof; accepted: a difference stays as it is.

    Without an ORDER: about all orders with such findings, or that differ so (--kind ...), after you typed how many; or about those
    that a file names (--from, a column `order`, and `store` where several have such a number).
    """
    *which, what = words
    kinds = [str(kind) for kind in statements.RECORDS]
    if what not in kinds:
        raise click.UsageError(f"{what!r} cannot be recorded; what can is: {', '.join(kinds)}")
    ctx = open_context(glance_config(file))
    if which:
        store = given.pop("store")
        asked_for(ctx, {**given}).or_ids(which, "orders")
        rows = [statements.find_order(ctx, order, store) for order in which]
        for row in rows:
            statements.record_statement(ctx, row, StatementKind(what), text, by)
        click.echo(f"recorded at {', '.join(which)}: {what} by {by}")
        _tell_open(ctx, what, [row.id for row in rows])
        return
    asked = asked_for(ctx, given)
    asked.or_ids((), "orders")
    about: list[int] = []

    def keep(ids: Sequence[int]) -> int:
        about.extend(ids)
        return many.record(ctx, ids, StatementKind(what), text, by)

    done = act(ctx, asked, many.ORDERS, f"recorded as {what}", keep)
    if done is not None:
        click.echo(f"recorded at {done:,} orders: {what} by {by}")
        _tell_open(ctx, what, about)


def _tell_open(ctx: AppContext, what: str, order_ids: Sequence[int]) -> None:
    """Say which findings stay open about orders whose difference was accepted: that ends the difference, and no finding."""
    found = statements.open_findings(ctx, order_ids) if what == StatementKind.ACCEPTED else []
    for row in found[:MOST_OPEN]:
        closes = f"`tracker dismiss {row.id} --reason WHY` closes it"
        click.echo(f"still open at {named(row.number)}: finding {row.id}, {row.kind} ({row.severity}); {closes}")
    if len(found) > MOST_OPEN:
        click.echo(f"and {len(found) - MOST_OPEN:,} more findings about them: `tracker dismiss` takes the same filters")


@click.command()
@click.argument("order")
@click.argument("status", type=click.Choice(STATUSES))
@config_option
@store_option
@by_option
@click.option("--reason", required=True, help="Why; it is kept with the correction.")
@click.option("--override", is_flag=True, help="Past a gate that says no. Never out of cancelled, held or refunded.")
def correct(order: str, status: str, file: Path, store: str | None, by: str, reason: str, override: bool) -> None:
    """Correct the order status of ORDER to STATUS, with its trace: the worker writes it."""
    ctx = open_context(glance_config(file))
    row = statements.find_order(ctx, order, store)
    account = ctx.account(row.store)
    if account is not None and OrderStatus(status) not in account.policy.order_words:
        words = ", ".join(sorted(account.policy.order_words)) or "none"
        raise click.ClickException(f"{row.store} has no word for {status} that may be written; it has: {words}")
    gate = statements.may(ctx, row, OrderStatus(status), reason=reason)
    if account is not None and into_processing(statements.read_order(ctx, row), account.policy, OrderStatus(status)):
        raise click.ClickException(
            f"{order} is not written into Processing: that deducts stock in the shop (MG-08); do it there"
        )
    final = gate.rule in FINAL
    if not gate.allowed and (final or not override):
        hint = "nothing is written out of it" if final else "--override goes past it"
        raise click.ClickException(f"{order} may not go to {status}: {gate.rule} ({gate.needs}); {hint}")
    statements.record_statement(
        ctx, row, StatementKind.CORRECTION, reason, by, status=OrderStatus(status), override=override
    )  # fmt: skip
    how = (
        "will be written"
        if account is not None and account.mode == "write"
        else "is recorded; the store is in mode observe"
    )
    click.echo(f"{order}: {row.status} -> {status} {how}{', past ' + gate.rule if not gate.allowed else ''}")
    if account is not None:
        _tell_beside(account, "order_status", account.policy.order_words[OrderStatus(status)])


def _tell_beside(account: Account, kind: str, word: str) -> None:
    """Say what the shop does beside what a person asks for, where it is known to do more."""
    if (beside := account.platform.beside(kind, word)) is not None:
        click.echo(f"the shop then {beside.said}")


@click.command("correct-number")
@click.argument("order")
@click.argument("old")
@click.argument("new")
@config_option
@store_option
@by_option
@click.option("--yes", is_flag=True, help="Do not ask once more.")
def correct_number(order: str, old: str, new: str, file: Path, store: str | None, by: str, yes: bool) -> None:
    """Correct the tracking number OLD of ORDER to NEW in the shop: the worker writes it, and asks for no mail to the customer.

    Its other numbers stay. OLD is asked about no more once the shop was read again, and NEW is.
    """
    ctx = open_context(glance_config(file))
    row = statements.find_order(ctx, order, store)
    asked = numbers.prepare(ctx, row, old, new)
    click.echo(f"{row.number} in {row.store}: {asked.old} -> {asked.new}")
    for said in asked.remarks:
        click.echo(said)
    if (account := ctx.account(row.store)) is not None:
        _tell_beside(account, "number", asked.new)
    try:
        if not yes and not click.confirm("correct it in the shop?"):
            raise click.Abort
    except click.Abort:
        raise click.ClickException("nothing is written (without a terminal: --yes)") from None
    numbers.ask_for(ctx, row, asked, by)
    click.echo(f"will be written to {row.store}: `tracker show {order}` tells what came of it")


@click.command()
@click.argument("order")
@click.argument("status", type=click.Choice(STATUSES))
@config_option
@json_option
@store_option
@by_option
@click.option("--reason", default="", help="Why it is asked; a cancel needs one, and it is kept.")
@click.option("--at", "at", metavar="MOMENT", help="As of a moment, such as 2026-11-02T09:00Z: what was known then.")
def may(
    order: str, status: str, file: Path, as_json: bool, store: str | None, by: str, reason: str, at: str | None
) -> None:
    """Ask the gate: may ORDER go to STATUS? Answers yes (exit 0) or no (exit 1), with the rule and the evidence."""
    ctx = open_context(glance_config(file))
    row = statements.find_order(ctx, order, store)
    gate = statements.may(ctx, row, OrderStatus(status), reason=reason, by=by, at=as_of(at, ctx.now()))
    answer: dict[str, Any] = {
        "order": order, "to": status, "allowed": gate.allowed, "rule": gate.rule, "evidence": dict(gate.evidence),
        "needs": gate.needs or None, "sentence": gate.sentence,
    }  # fmt: skip
    if as_json:
        print_json(answer)
    else:
        out.print(f"[bold]{'yes' if gate.allowed else 'no'}[/]: {order} to {status}, rule {gate.rule}")
        click.echo(gate.sentence)
        for name, value in gate.evidence.items():
            out.print(f"  {name}: {cell(value)}")
        if gate.needs:
            out.print(f"  it would take: {cell(gate.needs)}")
    if not gate.allowed:
        click.get_current_context().exit(1)


_findings = many_options("kind", "store", "carrier", "since", "severity", "assigned", "snoozed")


@click.command()
@click.argument("ids", nargs=-1, type=ROW)
@config_option
@_findings
@by_option
@click.option("--reason", help="Why it needs no more attention.  [required, but for --export]")
def dismiss(ids: tuple[int, ...], file: Path, by: str, reason: str | None, **given: Any) -> None:
    """Close findings by id, or all that a filter finds or a file names; each stays closed until its evidence changes."""
    why = _given("reason", reason, given)
    ctx = open_context(glance_config(file))
    _of_findings(ctx, ids, given, "dismissed", lambda some: lists.close(ctx, some, by=by, reason=why))


@click.command()
@click.argument("ids", nargs=-1, type=ROW)
@config_option
@_findings
@click.option("--for", "span", default="1d", show_default=True, help="How long: 4h, 3d.")
def snooze(ids: tuple[int, ...], file: Path, span: str, **given: Any) -> None:
    """Hide findings by id, or all that a filter finds or a file names, for a while; they stay open and come back."""
    try:
        length = duration(span)
    except ValueError as error:
        raise click.UsageError(f"--for {span!r}: {error}") from None
    ctx = open_context(glance_config(file))
    _of_findings(ctx, ids, given, f"snoozed for {span}", lambda some: lists.snooze(ctx, some, length))


@click.command()
@click.argument("ids", nargs=-1, type=ROW)
@config_option
@_findings
@click.option(
    "--to", metavar="NAME", help="Who looks after them; `nobody` takes them back.  [required, but for --export]"
)
def assign(ids: tuple[int, ...], file: Path, to: str | None, **given: Any) -> None:
    """Give findings by id, or all that a filter finds or a file names, to a person. `tracker findings --assigned NAME` lists his."""
    name = "".join(c for c in _given("to", to, given) if c.isprintable()).strip()
    if (not name and given["export"] is None) or len(name) > MOST_NAME:
        raise click.UsageError(f"--to: must be a name of 1 to {MOST_NAME} characters")
    ctx = open_context(glance_config(file))
    who = None if name == many.NOBODY else name
    verb = f"assigned to {name}" if who is not None else "taken back"
    _of_findings(ctx, ids, given, verb, lambda some: many.assign(ctx, some, who))


def _given(option: str, value: str | None, given: dict[str, Any]) -> str:
    """Return what an option says: it must be there, unless what is found is only written to a file. Raises UsageError."""
    if value is None and given["export"] is None:
        raise click.UsageError(f"Missing option '--{option}'.")
    return value or ""


def _of_findings(
    ctx: AppContext, ids: tuple[int, ...], given: dict[str, Any], verb: str, do: Callable[[Sequence[int]], int]
) -> None:
    """Do something to findings: to those of these ids, or to all that are meant. Ends with exit code 1 where not all of the ids are there."""
    asked = asked_for(ctx, given)
    asked.or_ids(ids, "findings by id")
    if ids:
        done = do(ids)
        click.echo(f"{done} of {len(set(ids))} findings {verb}")
        all_of(ids, done)
    elif (count := act(ctx, asked, many.FINDINGS, verb, do)) is not None:
        click.echo(f"{count:,} findings {verb}")


COMMANDS = (note, record, correct, correct_number, may, dismiss, snooze, assign)
