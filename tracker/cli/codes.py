"""Codes of carriers that have no meaning yet, and giving them one: `codes`."""

from __future__ import annotations

import io
from pathlib import Path

import click
from ruamel.yaml import YAML

from tracker.cli.listing import Listing, listing
from tracker.config.entries import Entries
from tracker.config.files import write_private
from tracker.config.load import load_config
from tracker.domain.errors import ConfigError
from tracker.domain.vocabulary import Reason, ShippingStatus
from tracker.support import lists

TITLE, NONE = "codes without a meaning", "every code that was told has a meaning"


@click.command()
@listing("limit")
@click.option("--suggest", is_flag=True, help="With what each code's own words suggest.")
@click.option(
    "--accept",
    metavar="SPACE/CODE[=STATUS[/REASON]]",
    help="Write a meaning into the YAML: the suggested one, or this.",
)
@click.option("--account", help="With --accept: the account whose code it is.")
def codes(page: Listing, suggest: bool, accept: str | None, account: str | None) -> None:
    """List codes without a meaning, most frequent first. They moved no parcel.

    `--accept SPACE/CODE` writes the suggestion (or `=STATUS[/REASON]`) under `codes:` of its account in the YAML; then
    `tracker remap ACCOUNT` reads the stored scans again.
    """
    if accept is not None:
        click.echo(_accept(page, accept, account))
        return
    if suggest:
        suggested = (
            ("carrier", "carrier"), ("account", "account"), ("code", "code_key"), ("scans", "count"), ("carrier's words", "text"),
            ("suggested", "suggested"), ("why", "why"),
        )  # fmt: skip
        page.show(lambda w: lists.suggest(w, limit=page.limit), TITLE, suggested, NONE)
        _tell_mapped(page)
        return
    columns = (
        ("carrier", "carrier"), ("account", "account"), ("code", "code_key"), ("carrier's words", "text"), ("scans", "count"),
        ("first seen", "first_seen_at"), ("last seen", "last_seen_at"), ("sample payload", "sample"),
    )  # fmt: skip
    page.show(lambda w: lists.list_codes(w, limit=page.limit), TITLE, columns, NONE)
    _tell_mapped(page)


def _tell_mapped(page: Listing) -> None:
    """Say which codes have a meaning by now that their stored scans do not have yet."""
    if page.as_json:
        return
    for row in lists.list_codes(page.context, limit=10_000, mapped=True):
        what, name = row["code_key"], row["account"]
        click.echo(
            f"{what} has a meaning now; {row['count']} stored scans wait for it: tracker remap {name} --code {what}"
        )


def _accept(page: Listing, accept: str, account: str | None) -> str:
    """Write one meaning into the YAML, comments kept; the file is checked before it replaces the old one."""
    key, _, meaning = accept.partition("=")
    ctx, file = page.context, page.file
    known = [row for row in lists.suggest(ctx, limit=10_000) if row["code_key"] == key]
    if account is None:
        owners = sorted({row["account"] for row in known if row["account"]})
        if len(owners) != 1:
            raise click.UsageError(f"{key} was told by {', '.join(owners) or 'nobody'}: say --account")
        account = owners[0]
    found = ctx.account(account)
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
    main, entries = file, ctx.config.accounts
    assert isinstance(entries, Entries)
    file = Path(entries.file_of(account))  # it may be one that is included
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
        if place == main.resolve():
            load_config(draft)
        else:
            load_config(main, {str(place): draft})
    except ConfigError:
        draft.unlink()
        raise
    draft.chmod(place.stat().st_mode)
    draft.replace(place)
    said = f"{value['status']}{'/' + value['reason'] if 'reason' in value else ''}"
    return f"{file}: accounts.{account}.codes.{key}: {said}. Reload the daemon (SIGHUP), then: tracker remap {account} --code {key}"


COMMANDS = (codes,)
