"""What operators ask: `drift`, `findings`, `checkouts`, `stuck`, `freshness`, `outbox`, `inbox`, `codes`."""

from __future__ import annotations

import io
import os
import shlex
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa
from ruamel.yaml import YAML

from tracker.cli.common import (
    DEFAULT_FILE,
    ROW,
    all_of,
    config_option,
    json_option,
    limit_option,
    open_world,
    out,
    print_json,
    read_config,
    show_table,
)
from tracker.config.files import write_private
from tracker.config.load import load_config
from tracker.domain.errors import ConfigError, TrackerError
from tracker.domain.masking import mask_bytes
from tracker.domain.vocabulary import FindingKind, Reason, ShippingStatus
from tracker.pipeline import ops
from tracker.pipeline.knowledge import knowledge
from tracker.pipeline.world import World
from tracker.store.tables import accounts as accounts_table
from tracker.store.tables import findings as findings_table
from tracker.store.tables import inbox as inbox_table

WATCH_EVERY = 2.0
after_option = click.option("--after", type=ROW, metavar="ID", help="The next page: rows older than this id.")
watch_option = click.option("--watch", is_flag=True, help="Show it again every 2 seconds, until Ctrl-C.")
store_option = click.option("--store", help="Only this store.")


def _age(span: timedelta) -> str:
    days, hours = span.days, span.seconds // 3600
    return f"{days}d {hours}h" if days else f"{hours}h {span.seconds % 3600 // 60}m"


def _show(
    file: Path,
    as_json: bool,
    watch: bool,
    ask: Callable[[World], list[dict[str, Any]]],
    title: str,
    columns: Sequence[tuple[str, str]],
    empty: str,
    store: str | None = None,
    *,
    knows: bool = False,
) -> bool:
    """Ask and show, once or again and again. `columns`: what a column is called, and its key.

    `knows`: say too what is not known, so that an empty list is not read as "all is well": of JSON on standard error, where
    the list is empty.
    Returns whether nothing is listed and all is known.
    """
    world = open_world(read_config(file))
    _known(world, store)
    while True:
        rows = ask(world)
        known = knowledge(world, store=store) if knows else None
        if watch:
            click.clear()
        if as_json:
            print_json([{k: _age(v) if isinstance(v, timedelta) else v for k, v in row.items()} for row in rows])
        else:
            shown = [[_plain(row.get(key)) for _, key in columns] for row in rows]
            show_table(title, [name for name, _ in columns], shown, empty=known.sentence(empty) if known else empty)
        if known is not None and not (as_json and (rows or known.whole)):
            if as_json:
                click.echo(known.sentence(empty), err=True)
            elif known.gaps and (rows or known.whole):
                click.echo("and this is not known:")
            for gap in known.gaps:
                click.echo(f"  {gap}", err=as_json)
        if not watch:
            if rows and not as_json and "id" in rows[-1] and len(rows) >= 50:
                out.print(f"[dim]more: --after {rows[-1]['id']}[/]")
            return not rows and (known is None or known.whole)
        time.sleep(WATCH_EVERY)


def _known(world: World, store: str | None) -> None:
    """Refuse a store that is not configured and never was: of one that nobody knows, nothing is fine. Raises UsageError."""
    if store is None or store in {account.name for account in world.config.store_accounts()}:
        return
    a = accounts_table.c
    with world.store.read() as connection:
        names = connection.execute(sa.select(a.name).where(a.kind == "store").order_by(a.name)).scalars().all()
    if store not in names:
        raise click.UsageError(f"no store {store!r}: {', '.join(names) or 'none is known'}")


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return _age(value)
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    return value


@click.command()
@config_option
@json_option
@limit_option
@after_option
@watch_option
@store_option
@click.option("--kind", type=click.Choice([str(kind) for kind in ops.DRIFT]), help="Only this kind of difference.")
def drift(
    file: Path, as_json: bool, limit: int, after: int | None, watch: bool, store: str | None, kind: str | None
) -> None:
    """List where shop and carrier disagree: both statuses, since when, who caused it, and what would heal it.

    And what nobody knows: shops that do not answer, parcels that nobody asks about, writes that wait. Exit code 0 only
    where nothing differs and all is known.
    """
    columns = (
        ("id", "id"), ("store", "store"), ("order", "order"), ("difference", "drift"), ("shop says", "order_status"),
        ("carrier says", "shipping_status"), ("for", "age"), ("caused by", "caused_by"), ("would heal", "would_heal"),
    )  # fmt: skip
    none = "no more drift" if after else f"no drift of the kind {kind}" if kind else "no drift"
    fine = _show(
        file, as_json, watch,
        lambda w: ops.drift(w, store=store, kind=kind, after=after, limit=limit, config=_flag(file)),
        "drift", columns, none, store, knows=after is None,
    )  # fmt: skip
    if not fine:
        click.get_current_context().exit(1)


def _flag(file: Path) -> str:
    """Return what a printed command needs to find the same configuration."""
    found = os.environ.get("TRACKER_CONFIG", DEFAULT_FILE)
    return "" if str(file) == found else f" --config {shlex.quote(str(file))}"


FINDINGS = (
    ("id", "id"), ("finding", "kind"), ("severity", "severity"), ("action", "act"), ("subject", "subject"),
    ("opened", "opened_at"), ("closed", "closed_at"), ("evidence", "evidence"), ("would heal", "proposal"),
)  # fmt: skip


@click.command("findings")
@config_option
@json_option
@limit_option
@after_option
@watch_option
@store_option
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice([str(kind) for kind in FindingKind]), help="Only this kind."
)
@click.option("--severity", type=click.Choice(["urgent", "warning", "info"]), help="Only this severity.")
@click.option("--closed", is_flag=True, help="Closed ones too.")
@click.option("--snoozed", is_flag=True, help="Snoozed ones too.")
@click.option("--digest", is_flag=True, help="Those of what happened before their store was connected.")
def findings_(
    file: Path,
    as_json: bool,
    limit: int,
    after: int | None,
    watch: bool,
    store: str | None,
    kinds: tuple[str, ...],
    severity: str | None,
    closed: bool,
    snoozed: bool,
    digest: bool,
) -> None:
    """List what a person must look at, newest first. `tracker dismiss` and `tracker snooze` take the ids.

    What a store's first sync found in its past is one line at the end (--digest lists it).
    """
    _show(
        file, as_json, watch,
        lambda w: ops.list_findings(
            w, kinds=kinds, store=store, severity=severity, closed=closed, snoozed=snoozed, digest=digest, after=after,
            limit=limit,
        ),
        "findings", FINDINGS, "no findings", store, knows=after is None,
    )  # fmt: skip
    if as_json or digest:
        return
    f = findings_table.c
    with open_world(read_config(file)).store.read() as connection:
        past = connection.execute(
            sa.select(sa.func.count()).select_from(findings_table).where(f.digest.is_(True), f.closed_at.is_(None))
        ).scalar_one()
    if past:
        click.echo(f"and {past} of what happened before its store was connected: tracker findings --digest")


@click.command()
@config_option
@json_option
@limit_option
@after_option
@store_option
def checkouts(file: Path, as_json: bool, limit: int, after: int | None, store: str | None) -> None:
    """List checkouts that were left: no orders, never tracked; `contact` says whether the customer left a way to ask."""
    kinds = [str(FindingKind.ABANDONED_CHECKOUT)]

    def ask(world: World) -> list[dict[str, Any]]:
        rows = ops.list_findings(world, kinds=kinds, after=after, limit=limit)
        mine = [row for row in rows if store in (None, row["evidence"].get("store"))]
        return [{"id": row["id"], **row["evidence"], "seen": row["opened_at"]} for row in mine]

    columns = (("id", "id"), ("store", "store"), ("checkout", "checkout"), ("began", "began"), ("contact", "contact"))
    _show(file, as_json, False, ask, "abandoned checkouts", columns, "no checkout that we know of was left", store)


@click.command()
@config_option
@json_option
@limit_option
@click.option("--scans", is_flag=True, help="List the scans that were recovered, one a line.")
def outages(file: Path, as_json: bool, limit: int, scans: bool) -> None:
    """List our own outages, newest first, and what was caught up after each: scans that happened while we were away."""
    columns: tuple[tuple[str, str], ...]
    if scans:
        columns = (("outage", "outage"), ("scan", "id"), ("account", "account"), ("parcel", "parcel"), ("code", "code"),
                   ("text", "text"), ("happened", "instant"), ("recovered", "seen"))  # fmt: skip
    else:
        columns = (("id", "id"), ("from", "from"), ("until", "until"), ("state", "state"), ("parcels asked", "asked"),
                   ("scans recovered", "recovered"))  # fmt: skip
    _show(
        file,
        as_json,
        False,
        lambda w: ops.outages(w, limit=limit, scans=scans),
        "outages",
        columns,
        "no outage of ours",
    )


@click.command()
@config_option
@json_option
@limit_option
@after_option
@watch_option
@store_option
@click.option("--carrier", help="Only parcels of this carrier.")
def stuck(
    file: Path, as_json: bool, limit: int, after: int | None, watch: bool, store: str | None, carrier: str | None
) -> None:
    """List what does not move: silent parcels, labels never scanned, overdue, waiting too long, expired."""
    columns = (
        ("id", "id"), ("store", "store"), ("order", "order"), ("parcel", "parcel"), ("why", "why"), ("status", "status"),
        ("last place", "last_place"), ("since", "since"), ("for", "for"), ("action", "act"),
    )  # fmt: skip
    _show(
        file, as_json, watch, lambda w: ops.stuck(w, store=store, carrier=carrier, after=after, limit=limit), "stuck",
        columns, "nothing is stuck", store, knows=after is None,
    )  # fmt: skip


@click.command()
@config_option
@json_option
@watch_option
def freshness(file: Path, as_json: bool, watch: bool) -> None:
    """Show, by account, what share of its open parcels was checked within 1, 3, 6, 12 and 24 hours."""
    columns = (
        ("account", "account"), ("open parcels", "open"), ("1h %", "within_1h"), ("3h %", "within_3h"), ("6h %", "within_6h"),
        ("12h %", "within_12h"), ("24h %", "within_24h"), ("oldest check", "oldest_check"),
    )  # fmt: skip
    _show(file, as_json, watch, ops.freshness, "freshness of open parcels", columns, "no parcel is asked about",
          knows=True)  # fmt: skip


STATES = ["pending", "sent", "refused", "dead", "superseded", "observed"]


@click.command()
@click.argument("verb", required=False, type=click.Choice(["retry"]))
@click.argument("ids", nargs=-1, type=ROW)
@config_option
@json_option
@limit_option
@after_option
@watch_option
@store_option
@click.option("--state", type=click.Choice(STATES), help="Only these.")
@click.option("--all", "all_", is_flag=True, help="With retry: every refused or dead write (of --state, of --store).")
def outbox(
    verb: str | None,
    ids: tuple[int, ...],
    file: Path,
    as_json: bool,
    limit: int,
    after: int | None,
    watch: bool,
    store: str | None,
    state: str | None,
    all_: bool,
) -> None:
    """List writes and notices, newest first; `tracker outbox retry ID...` (or --all) makes refused or dead ones due again.

    `observed` would have been sent, were the store in mode write.
    """
    if verb == "retry":
        if not ids and not all_:
            raise click.UsageError("name writes by id, or say --all")
        world = open_world(read_config(file))
        _known(world, store)
        count = ops.retry(world, ids=ids, state=state, store=store)
        click.echo(f"{count} writes are due again")
        all_of(ids, count)
        return
    columns = (
        ("id", "id"), ("store", "store"), ("key", "key"), ("state", "state"), ("tries", "attempts"), ("error", "error"),
        ("created", "created_at"), ("due", "due_at"), ("tried", "attempted_at"),
    )  # fmt: skip
    _show(
        file, as_json, watch, lambda w: ops.list_outbox(w, state=state, store=store, after=after, limit=limit), "outbox",
        columns, "no such write", store,
    )  # fmt: skip


@click.command()
@config_option
@json_option
@limit_option
@after_option
@watch_option
@click.option("--state", type=click.Choice(["pending", "done", "ignored", "dead"]), help="Only these.")
@click.option("--partly", is_flag=True, help="Those of which something could not be read: where, and what was wrong.")
@click.option(
    "--account", help="Only from this account (among the newest 10,000; dead and partly read ones: among all)."
)
@click.option("--body", "row_id", type=ROW, help="Print the stored bytes of one payload.")
def inbox(
    file: Path,
    as_json: bool,
    limit: int,
    after: int | None,
    watch: bool,
    state: str | None,
    partly: bool,
    account: str | None,
    row_id: int | None,
) -> None:
    """List payloads that arrived, newest first; `--state dead` are those that could not be read.

    `--partly` are those of which pieces could not be read, a line a piece; `tracker replay --partly` reads them again.
    """
    if row_id is not None:
        with open_world(read_config(file)).store.read() as connection:
            body = connection.execute(
                sa.select(inbox_table.c.body).where(inbox_table.c.id == row_id)
            ).scalar_one_or_none()
        if body is None:
            raise TrackerError(f"there is no body of payload {row_id} (any more)")
        click.echo(mask_bytes(body), nl=False)
        return
    columns: tuple[tuple[str, str], ...] = (
        ("id", "id"), ("account", "account"), ("kind", "kind"), ("state", "state"), ("why", "reason"), ("bytes", "size"),
        ("tries", "attempts"), ("received", "received_at"), ("due", "due_at"),
    )  # fmt: skip
    empty = "no such payload"
    if partly:
        columns = (
            ("id", "id"), ("account", "account"), ("kind", "kind"), ("state", "state"), ("not read", "path"), ("why", "problem"),
            ("of", "subject"), ("received", "received_at"),
        )  # fmt: skip
        empty = "every payload was read whole"

    def ask(world: World) -> list[dict[str, Any]]:
        rows = ops.list_inbox(world, state=state, account=account, partly=partly, after=after, limit=limit)
        return [{**row, **piece} for row in rows for piece in row["unread"]] if partly and not as_json else rows

    _show(file, as_json, watch, ask, "inbox", columns, empty)


@click.command()
@config_option
@json_option
@limit_option
@click.option("--suggest", is_flag=True, help="With what each code's own words suggest.")
@click.option(
    "--accept",
    metavar="SPACE/CODE[=STATUS[/REASON]]",
    help="Write a meaning into the YAML: the suggested one, or this.",
)
@click.option("--account", help="With --accept: the account whose code it is.")
def codes(file: Path, as_json: bool, limit: int, suggest: bool, accept: str | None, account: str | None) -> None:
    """List codes without a meaning, most frequent first. They moved no parcel.

    `--accept SPACE/CODE` writes the suggestion (or `=STATUS[/REASON]`) under `codes:` of its account in the YAML; then
    `tracker remap ACCOUNT` reads the stored scans again.
    """
    if accept is not None:
        click.echo(_accept(file, accept, account))
        return
    if suggest:
        suggested = (
            ("carrier", "carrier"), ("account", "account"), ("code", "code_key"), ("scans", "count"), ("carrier's words", "text"),
            ("suggested", "suggested"), ("why", "why"),
        )  # fmt: skip
        _show(
            file,
            as_json,
            False,
            lambda w: ops.suggest(w, limit=limit),
            "codes without a meaning",
            suggested,
            "every code that was told has a meaning",
        )
        _tell_mapped(file, as_json)
        return
    columns = (
        ("carrier", "carrier"), ("account", "account"), ("code", "code_key"), ("carrier's words", "text"), ("scans", "count"),
        ("first seen", "first_seen_at"), ("last seen", "last_seen_at"), ("sample payload", "sample"),
    )  # fmt: skip
    _show(
        file,
        as_json,
        False,
        lambda w: ops.list_codes(w, limit=limit),
        "codes without a meaning",
        columns,
        "every code that was told has a meaning",
    )
    _tell_mapped(file, as_json)


def _tell_mapped(file: Path, as_json: bool) -> None:
    """Say which codes have a meaning by now that their stored scans do not have yet."""
    if as_json:
        return
    for row in ops.list_codes(open_world(read_config(file)), limit=10_000, mapped=True):
        what, name = row["code_key"], row["account"]
        click.echo(
            f"{what} has a meaning now; {row['count']} stored scans wait for it: tracker remap {name} --code {what}"
        )


def _accept(file: Path, accept: str, account: str | None) -> str:
    """Write one meaning into the YAML, comments kept; the file is checked before it replaces the old one."""
    key, _, meaning = accept.partition("=")
    world = open_world(read_config(file))
    known = [row for row in ops.suggest(world, limit=10_000) if row["code_key"] == key]
    if account is None:
        owners = sorted({row["account"] for row in known if row["account"]})
        if len(owners) != 1:
            raise click.UsageError(f"{key} was told by {', '.join(owners) or 'nobody'}: say --account")
        account = owners[0]
    found = world.account(account)
    if found is None or found.is_store:
        raise click.UsageError(f"no carrier account {account!r}")
    value: dict[str, str] | None = None
    if meaning:
        status, _, reason = meaning.partition("/")
        if status not in list(ShippingStatus) or (reason and reason not in list(Reason)):
            raise click.UsageError(
                f"{meaning!r}: STATUS is one of {', '.join(ShippingStatus)}; REASON one of our reasons"
            )
        value = {"status": status, **({"reason": reason} if reason else {})}
    else:
        value = next((row["suggested"] for row in known if row["suggested"]), None)
        if value is None:
            raise click.UsageError(f"nothing suggests a meaning for {key}: say --accept {key}=STATUS")
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    document = yaml.load(file.read_text(encoding="utf-8"))
    document["accounts"][account].setdefault("codes", {})[key] = value
    written = io.StringIO()
    yaml.dump(document, written)
    place = file.resolve()  # a link stays one
    draft = place.with_name(f".{place.name}.draft")
    write_private(draft, written.getvalue().encode())
    try:
        load_config(draft)
    except ConfigError:
        draft.unlink()
        raise
    draft.chmod(place.stat().st_mode)
    draft.replace(place)
    said = f"{value['status']}{'/' + value['reason'] if 'reason' in value else ''}"
    return f"{file}: accounts.{account}.codes.{key}: {said}. Reload the daemon (SIGHUP), then: tracker remap {account} --code {key}"


COMMANDS = (drift, findings_, checkouts, outages, stuck, freshness, outbox, inbox, codes)
