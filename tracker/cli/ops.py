"""What operators ask of orders and parcels: `drift`, `findings`, `checkouts`, `outages`, `stuck`, `freshness`."""

from __future__ import annotations

from typing import Any

import click
import sqlalchemy as sa

from tracker.cli.common import config_flag
from tracker.cli.listing import Listing, listing, of_carrier
from tracker.cli.many import FILTERS
from tracker.cli.many import since as since_of
from tracker.cli.status import span
from tracker.domain.vocabulary import FindingKind
from tracker.pipeline.context import AppContext
from tracker.store.tables import findings as findings_table
from tracker.support import away, lists, silent


@click.command()
@listing("limit", "after", "watch", "store")
@click.option("--kind", type=click.Choice([str(kind) for kind in lists.DRIFT]), help="Only this kind of difference.")
def drift(page: Listing, kind: str | None) -> None:
    """List where shop and carrier disagree: both statuses, since when, who caused it, and what would heal it.

    And what nobody knows: shops that do not answer, parcels that nobody asks about, writes that wait. Exit code 0 only
    where nothing differs and all is known.
    """
    columns = (
        ("id", "id"), ("store", "store"), ("order", "order"), ("difference", "drift"), ("shop says", "order_status"),
        ("carrier says", "shipping_status"), ("for", "age"), ("caused by", "caused_by"), ("would heal", "would_heal"),
    )  # fmt: skip

    def ask(ctx: AppContext) -> list[dict[str, Any]]:
        return lists.drift(
            ctx, store=page.store, kind=kind, after=page.after, limit=page.limit, config=config_flag(page.file)
        )

    none = "no more drift" if page.after is not None else f"no drift of the kind {kind}" if kind else "no drift"
    if not page.show(ask, "drift", columns, none, knows=page.after is None, short=lists.drift_in_short):
        click.get_current_context().exit(1)


NEVER_RAN = "no scheduler of ours has run yet (`tracker up`), so nobody knows who is away"
FINDINGS = (
    ("id", "id"), ("finding", "kind"), ("severity", "severity"), ("action", "act"), ("subject", "subject"),
    ("opened", "opened_at"), ("closed", "closed_at"), ("assigned to", "assigned_to"), ("evidence", "evidence"), ("would heal", "proposal"),
)  # fmt: skip


@click.command("findings")
@listing("limit", "after", "watch", "store")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([str(kind) for kind in FindingKind]),
    metavar="KIND",
    help="Only this kind, such as stuck.",
)
@click.option("--severity", type=click.Choice(["urgent", "warning", "info"]), help="Only this severity.")
@FILTERS["assigned"]
@FILTERS["carrier"]
@FILTERS["since"]
@click.option("--closed", is_flag=True, help="Closed ones too.")
@click.option("--snoozed", is_flag=True, help="Snoozed ones too.")
@click.option("--digest", is_flag=True, help="Those of what happened before their store was connected.")
def findings_(
    page: Listing,
    kinds: tuple[str, ...],
    severity: str | None,
    assigned: str | None,
    carrier: str | None,
    since: str | None,
    closed: bool,
    snoozed: bool,
    digest: bool,
) -> None:
    """List what a person must look at, the most urgent first. `tracker dismiss`, `snooze` and `assign` take the ids, or the same filters.

    What a store's first sync found in its past is one line at the end (--digest lists it).
    """
    begin = since_of(page.context, since)

    def ask(ctx: AppContext) -> list[dict[str, Any]]:
        rows = lists.list_findings(
            ctx, kinds=kinds, store=page.store, severity=severity, assigned=assigned, carrier=carrier, since=begin, closed=closed,
            snoozed=snoozed, digest=digest, after=page.after, limit=page.limit, urgent_first=True,
        )  # fmt: skip
        return rows if page.as_json else [{**row, "proposal": lists.next_step(row)} for row in rows]

    page.show(
        ask, "findings", FINDINGS, f"no findings{of_carrier(page.context, carrier)}", knows=page.after is None, short=lists.findings_in_short,
    )  # fmt: skip
    if page.as_json or digest:
        return
    f = findings_table.c
    with page.context.store.read() as connection:
        past = connection.execute(
            sa.select(sa.func.count()).select_from(findings_table).where(f.digest.is_(True), f.closed_at.is_(None))
        ).scalar_one()
    if past:
        click.echo(f"and {past} of what happened before its store was connected: tracker findings --digest")


@click.command()
@listing("limit", "after", "store")
def checkouts(page: Listing) -> None:
    """List checkouts that were left: no orders, never tracked; `contact` says whether the customer left a way to ask."""
    kinds = [str(FindingKind.ABANDONED_CHECKOUT)]

    def ask(ctx: AppContext) -> list[dict[str, Any]]:
        rows = lists.list_findings(ctx, kinds=kinds, after=page.after, limit=page.limit)
        mine = [row for row in rows if page.store in (None, row["evidence"].get("store"))]
        return [{"id": row["id"], **row["evidence"], "seen": row["opened_at"]} for row in mine]

    columns = (("id", "id"), ("store", "store"), ("checkout", "checkout"), ("began", "began"), ("contact", "contact"))
    page.show(ask, "abandoned checkouts", columns, "no checkout that we know of was left")


@click.command()
@listing("limit")
@click.option("--scans", is_flag=True, help="List the scans that were recovered after outages of ours, one a line.")
def outages(page: Listing, scans: bool) -> None:
    """List who is away and who was, newest first: we, carriers, shops, their feeds, webhooks and hooks.

    Since when, why, what waits for it, and what was caught up after it: scans of that time, webhooks that were told again, writes.
    """
    if scans:
        columns: tuple[tuple[str, str], ...] = (
            ("outage", "outage"), ("scan", "id"), ("account", "account"), ("parcel", "parcel"), ("code", "code"),
            ("text", "text"), ("happened", "instant"), ("recovered", "seen"),
        )  # fmt: skip
        page.show(lambda w: away.recovered_scans(w, limit=page.limit), "outages", columns, "no outage of ours")
        return
    columns = (
        ("id", "id"), ("whose", "whose"), ("part", "part"), ("from", "from"), ("until", "until"), ("state", "state"), ("why", "why"),
        ("waits now", "wait"), ("parcels asked", "asked"), ("told again", "again"), ("scans recovered", "recovered"), ("writes sent", "written"),
    )  # fmt: skip
    rows: list[dict[str, Any]] = []

    def ask(ctx: AppContext) -> list[dict[str, Any]]:
        rows[:] = away.outages(ctx, limit=page.limit)
        if page.as_json:
            return rows
        return [
            {
                **row,
                "again": "; ".join(map(_told_again, row["told_again"])) or None,
                "wait": away.said_waits(row["waits"]) or None,
            }
            for row in rows
        ]

    ran = away.ever_ran(page.context)
    none = "no outage: nobody is away, and nobody was" if ran else NEVER_RAN
    page.show(ask, "outages", columns, none, short=away.in_short)
    if not ran and (rows or page.as_json):
        click.echo(NEVER_RAN, err=page.as_json)
    own = [row for row in rows if row["whose"] == away.US][:1]
    if not ran or any(
        row["until"] is None or row["state"] == "asking" for row in [*own, *(r for r in rows if r["until"] is None)]
    ):
        click.get_current_context().exit(1)


def _told_again(row: dict[str, Any]) -> str:
    """Say how far a sender came that was asked to tell again what it sent while we were away."""
    said = f"{row['account']}: {row['told']:,} {'webhook' if row['told'] == 1 else 'webhooks'}, {row['new']:,} new"
    if row["ended"] is None:
        return f"{said}, and goes on at {row['next']:%Y-%m-%d %H:%M}Z" + (f" ({row['error']})" if row["error"] else "")
    if not row["short"]:
        return said
    why = row["error"] or f"nothing is kept from before {row['since']:%Y-%m-%d %H:%M}Z"
    return f"{said}, not all of it ({why}): polls tell the rest"


@click.command()
@listing("limit", "after", "watch", "store")
@click.option("--carrier", help="Only parcels of this carrier.")
def stuck(page: Listing, carrier: str | None) -> None:
    """List what does not move, who watches it and when it is looked at next: silent parcels, labels never scanned, overdue, expired.

    And the parcels of the last month that nobody watches.
    """
    columns = (
        ("id", "id"), ("store", "store"), ("order", "order"), ("parcel", "parcel"), ("why", "why"), ("status", "status"),
        ("last place", "last_place"), ("for", "for"), ("watched by", "watched_by"), ("next look", "next_look"), ("because", "look_why"),
        ("held", "held"),
    )  # fmt: skip
    page.show(
        lambda w: silent.stuck(w, store=page.store, carrier=carrier, after=page.after, limit=page.limit), "stuck", columns,
        f"nothing is stuck{of_carrier(page.context, carrier)}", knows=page.after is None, short=silent.in_short,
    )  # fmt: skip


@click.command()
@listing("watch")
def freshness(page: Listing) -> None:
    """Show, by account, what share of its open parcels was checked within 1, 3, 6, 12 and 24 hours, and how late looks are."""
    columns = (
        ("account", "account"), ("open parcels", "open"), ("1h %", "within_1h"), ("3h %", "within_3h"), ("6h %", "within_6h"),
        ("12h %", "within_12h"), ("24h %", "within_24h"), ("oldest check", "oldest_check"), ("late", "late"), ("p50", "p50"), ("p95", "p95"),
        ("p99", "p99"),
    )  # fmt: skip

    def ask(ctx: AppContext) -> list[dict[str, Any]]:
        rows = lists.freshness(ctx)
        names = () if page.as_json else ("p50", "p95", "p99")
        return [{**row, **{name: span(row.get(f"{name}_seconds")) for name in names}} for row in rows]

    page.show(ask, "freshness of open parcels", columns, "no parcel is asked about", knows=True)


COMMANDS = (drift, findings_, checkouts, outages, stuck, freshness)
