"""`try`: what a sample of a carrier or shop is read as. No database, nothing is stored, nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tracker.cli.common import cell, config_option, entry_of, json_option, print_json, show_table
from tracker.clock import system_now
from tracker.config.model import Account
from tracker.domain.errors import BadPayload, NotFound, SourceError, WebhookRejected
from tracker.domain.facts import ChangeNotice, Checkout, Order, Payload, Report, Scan, Unread
from tracker.domain.timeline import assumed_zone, place_in_time
from tracker.domain.vocabulary import OrderStatus, Precision, Zone
from tracker.pipeline.ingest.parse import fault
from tracker.pipeline.ingest.scans import look_up
from tracker.plugin.calls import Response
from tracker.plugin.files import LINE, NAME

NOTHING = "it says nothing: no scan, no order, no notice, and nothing was left unread"
HANDSHAKE = "it is a handshake: it is answered and counted, and never read"
KINDS = ("webhook", "poll", "read", "sweep", "file")


class _Unusable(click.ClickException):
    """A sample of which nothing can be shown."""

    exit_code = 2


@click.command("try")
@click.argument(
    "paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--account", "name", required=True, help="The account or store whose sample it is.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(KINDS),
    help="What it came as; by default what its name says (`x.webhook.json`), else poll, of a store sweep.",
)
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Verify it too, with these headers.")
@config_option
@json_option
def try_(
    paths: tuple[Path, ...], name: str, kind: str | None, headers: tuple[str, ...], file: Path, as_json: bool
) -> None:
    """Show what a sample is read as: each scan, order and notice, and each piece that was not read.

    The sample is read by the account's plugin with its settings and `codes:`. Several files are the parts of one payload, in
    their order. No database is opened, nothing is stored and nobody is asked; what is wrong with other entries of the
    configuration does not matter.
    """
    account = entry_of(file, name)
    kind = kind or _kind(paths[0], account)
    now = system_now()
    cut = kind == "file" and not account.is_store  # piece by piece, however large it is
    parts = (b"",) if cut else tuple(path.read_bytes() for path in paths)
    payload = Payload(name, kind, parts, now, _headers(headers))
    told: dict[str, Any] = {"account": name, "uses": account.uses, "kind": kind}
    if headers:
        told["proof"] = _proof(account, payload)
    handshake = _is_handshake(account, payload)
    try:
        items = [] if handshake else list(_cut(account, payload, paths) if cut else account.source.normalize(payload))
    except BadPayload as error:
        raise _Unusable(f"nothing of it can be read: {error}{_answered(account, payload)}") from None
    except Exception as error:  # a plugin's bug, told as the log would tell it
        said = fault(error, type(account.source).__module__)
        raise _Unusable(f"the plugin fails on it: {said}") from None
    told |= _told(account, items, now)
    if not items:
        told["nothing"] = HANDSHAKE if handshake else NOTHING + _answered(account, payload)
    print_json(told) if as_json else _show(told)
    if (not items and not handshake) or told["unread"] or told["unknown"] or told.get("proof", "").startswith("none"):
        click.get_current_context().exit(1)


def _kind(path: Path, account: Account) -> str:
    said = [part for part in path.name.split(".")[1:-1] if part in KINDS]
    if said:
        return said[0]
    if account.is_store:
        return "sweep"
    asked = bool(account.source.asks) and path.suffix in (".xml", ".json")  # an account may have both ways
    return "file" if account.carrier.files and not asked else "poll"


def _headers(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, colon, value = one.partition(":")
        if not colon or not name.strip():
            raise click.UsageError(f"--header {one!r}: must be NAME:VALUE")
        found[name.strip().lower()] = value.strip()
    return found


def _is_handshake(account: Account, payload: Payload) -> bool:
    if payload.kind != "webhook":
        return False
    try:
        return account.source.handshake(payload) is not None
    except Exception:  # a plugin's bug, or a challenge that lacks its parts: the receiver answers neither
        return False


def _answered(account: Account, payload: Payload) -> str:
    """Say what such an answer is taken for before it is read: that a number is not known, or an error that came with 200."""
    if payload.kind not in ("poll", "read", "sweep"):
        return ""
    try:
        account.source.raise_for_status(Response(200, {}, payload.body, payload.received_at))
    except SourceError as error:
        return f"; as an answer it is {'no error: not found' if isinstance(error, NotFound) else 'an error'}: {error}"
    except Exception:  # a plugin's bug: what it fails on is told already
        return ""
    return ""


def _proof(account: Account, payload: Payload) -> str:
    """Say what the headers prove: which of the account's secrets, or nothing."""
    try:
        which = account.source.verify(payload)
    except WebhookRejected as error:
        return f"none: {error}"
    return "the newest of webhook_secrets" if which == 0 else f"webhook_secrets[{which}], which is being rotated out"


def _cut(account: Account, payload: Payload, paths: Sequence[Path]) -> Iterator[Any]:
    """Read files in the pieces that the plugin cuts them into."""
    failed: list[BadPayload] = []
    found = False
    for path in paths:
        with path.open("rb") as file:
            for cut in account.carrier.cut(file):
                headers = {NAME: path.name, LINE: str(cut.line)}
                try:
                    for item in account.source.normalize(
                        Payload(payload.account, "file", cut.parts, payload.received_at, headers)
                    ):
                        found = True
                        yield item
                except BadPayload as error:
                    failed.append(error)
    if failed and not found:
        raise failed[0]
    yield from (Unread(error.where, error.problem, lacks="all") for error in failed)


def _told(account: Account, items: Sequence[Any], now: datetime) -> dict[str, Any]:
    reports = [_report(account, item, now) for item in items if isinstance(item, Report)]
    orders = [item for item in items if isinstance(item, Order)]
    return {
        "reports": reports,
        "orders": [asdict(order) for order in orders],
        "notices": [item.ref for item in items if isinstance(item, ChangeNotice)],
        "checkouts": [asdict(item) for item in items if isinstance(item, Checkout)],
        "unread": [asdict(item) for item in items if isinstance(item, Unread)],
        "unknown": sorted(
            {scan["code"] for one in reports for scan in one["scans"] if scan["means"] == "UNKNOWN"}
            | {f"order status {o.raw_status!r}" for o in orders if o.status is OrderStatus.UNKNOWN}
        ),
    }


def _report(account: Account, report: Report, now: datetime) -> dict[str, Any]:
    return {
        "carrier": report.carrier, "number": report.number, "tracking": report.tracking, "complete": report.complete,
        "as_of": report.as_of, "edd": [report.edd.begins, report.edd.ends] if report.edd else None,
        "proof": [name for name in ("signed", "photo") if report.proof and getattr(report.proof, name)],
        "links": [{"relation": one.relation, "number": one.number, "carrier": one.carrier} for one in report.links],
        "piece": report.piece, "said": report.said, "scans": [_scan(account, scan, now) for scan in report.scans],
    }  # fmt: skip


def _scan(account: Account, scan: Scan, now: datetime) -> dict[str, Any]:
    """Say what a scan is read as, its time as the core places it."""
    meaning = look_up(account, scan.code)
    means = "UNKNOWN" if meaning is None else f"{meaning.status or '='}/{meaning.reason or '-'}"
    at, zone = place_in_time(scan, account.carrier.default_zone, now)
    timed = scan.local is not None or scan.occurred_at is not None
    by_default = zone is Zone.ASSUMED and scan.occurred_at is None
    assumed = assumed_zone(scan.place, account.carrier.default_zone)
    return {
        "code": f"{scan.code.space}/{scan.code.code}", "means": means, "text": scan.code.text, "local": scan.local,
        "at": at if timed else None, "zone": f"{zone} ({assumed})" if by_default else str(zone),
        "precision": scan.precision, "place": str(scan.place), "leg": scan.leg or (meaning.leg if meaning else None),
    }  # fmt: skip


_SCANS = ("code", "means", "local", "at (UTC)", "zone", "place", "carrier's words")


def _show(told: dict[str, Any]) -> None:
    click.echo(f"{told['account']} ({told['uses']}), read as {told['kind']}")
    if "proof" in told:
        click.echo(f"proved by: {cell(told['proof'])}")
    for one in told["reports"]:
        _show_report(one)
    for order in told["orders"]:
        _show_order(order)
    for ref in told["notices"]:
        click.echo(f"notice: order {cell(ref)} is read again")
    for one in told["checkouts"]:
        click.echo(
            f"checkout {cell(one['ref'])}: began {cell(one['began_at'])}, contact {one['contact']}, recovered {one['recovered']}"
        )
    if told["unread"]:
        rows = [(one["where"], one["problem"], one["subject"], one["lacks"]) for one in told["unread"]]
        show_table("not read", ("where", "why", "of", "lacks"), rows, empty="")
    until = f" until `codes:` of {told['account']} gives it one" if told["reports"] else ""
    for code in told["unknown"]:
        click.echo(f"UNKNOWN: {cell(code)} has no meaning: it moves nothing{until}")
    if "nothing" in told:
        click.echo(told["nothing"])


def _printed(scan: dict[str, Any]) -> str:
    local: datetime | None = scan["local"]
    return "-" if local is None else f"{local:%Y-%m-%d}" if scan["precision"] == Precision.DATE else cell(local)


def _show_report(one: dict[str, Any]) -> None:
    said = [f"tracking {one['tracking']}"]
    if one["said"]:
        said.append(f"it says: {cell(one['said'])}")
    if one["complete"]:
        said.append("the whole history")
    if one["edd"]:
        said.append(f"expected {cell(one['edd'][0])} to {cell(one['edd'][1])}")
    said += [f"proof: {', '.join(one['proof'])}"] * bool(one["proof"])
    said += [f"{link['relation']}: {cell(link['number'])}" for link in one["links"]]
    said += [f"piece {cell(one['piece'])}"] * bool(one["piece"])
    rows = [
        (scan["code"], scan["means"], _printed(scan), scan["at"], scan["zone"], scan["place"], scan["text"])
        for scan in one["scans"]
    ]
    click.echo("")
    show_table(
        f"{cell(one['carrier'])} {cell(one['number'])}: {', '.join(said)}",
        _SCANS,
        rows,
        empty=f"{one['carrier']} {one['number']}: {', '.join(said)}; no scan",
    )


_FACTS = ("ref", "placed_at", "updated_at", "cancelled_at", "owner", "actor", "method", "service", "location", "pays_by",
          "address", "ships_to", "tags", "verified", "label", "test", "cancel_reason", "channel", "risk", "closed_at", "partial", "gone")  # fmt: skip


def _show_order(order: dict[str, Any]) -> None:
    click.echo("")
    click.echo(
        f"order {cell(order['number'])}: {order['status']} ({cell(order['raw_status'])}), payment {order['payment']} ({cell(order['raw_payment'])})"
    )
    facts = [f"{key} {cell(order[key])}" for key in _FACTS if order.get(key) not in (None, "", (), False)]
    click.echo(f"  {', '.join(facts)}")
    for item in order["items"]:
        click.echo(
            f"  line {cell(item['ref'])}: {item['ordered']} ordered, {item['removed']} removed {item['name']}".rstrip()
        )
    for part in order["fulfilments"]:
        numbers = [f"{parcel['carrier'] or '?'} {parcel['number']}" for parcel in part["parcels"]]
        shown = part["published"]["raw"] if part["published"] else None
        click.echo(
            f"  fulfilment {cell(part['ref'])}: {cell(part['status'])}{'' if part['live'] else ', cancelled'}; parcels: "
            f"{cell(', '.join(numbers))}; shown: {cell(shown)}; no number: {cell(', '.join(part['unreadable']))}"
        )


COMMANDS = (try_,)
