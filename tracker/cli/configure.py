"""Commands about the configuration: `init`, `check`, `config schema`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import sqlalchemy as sa
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from tracker.app import tracing
from tracker.app.files import needed, settle_files
from tracker.app.smtp import open_mailer
from tracker.cli.common import (
    DEFAULT_FILE,
    close_context,
    config_option,
    glance_config,
    json_option,
    open_context,
    print_json,
    read_config,
    running_config,
    show_table,
)
from tracker.cli.report import flat, print_report
from tracker.config.coverage import coverage
from tracker.config.entries import Entries
from tracker.config.load import loose_files, masked, schema, word_coverage
from tracker.config.model import Account, Config, held, hook_id
from tracker.config.plugins import GROUPS, installed, load, names
from tracker.config.presets import spell
from tracker.domain.errors import BudgetSpent, ConfigError, NotFound, TrackerError, Transient
from tracker.domain.masking import mask
from tracker.domain.vocabulary import ShippingStatus
from tracker.pipeline import plan, unwatched, whose
from tracker.pipeline.context import AppContext
from tracker.pipeline.files import watch
from tracker.pipeline.tokens import written_by_another
from tracker.plugin.contracts import Platform, Secrets
from tracker.store.migrate import current, head
from tracker.store.seal import Seal
from tracker.store.tables import accounts
from tracker.support import mails, told
from tracker.support.explain import first_writes

PINGS_AT_ONCE = 16
MOST_NAMED = 5  # accounts that are told together


@click.command()
@click.argument("config_file", metavar="CONFIG", required=False, type=click.Path(path_type=Path, dir_okay=False))
@config_option
@json_option
@click.option("--offline", is_flag=True, help="Check the file only; call nobody.")
@click.option("--all", "every", is_flag=True, help="Each account and store in a line, however many there are.")
def check(config_file: Path | None, file: Path, as_json: bool, offline: bool, every: bool) -> None:
    """Check CONFIG and everything it names.

    The file, strictly, every problem with its place; then the database, the broker and each account, by the cheapest
    call there is; then the effective configuration with secrets masked, and how each carrier and store is covered. For each store that the file turns from
    observe to write: what it would write first. Of many accounts and stores a summary, and what is wrong in full. A file in
    which nothing is configured is a problem.
    """
    file = config_file or file
    config = _strict(file)
    report: dict[str, Any] = {"file": str(file), "problems": [], "notes": list(config.notes), "previews": {}}
    if not config.accounts:  # most likely another file than was meant, or what was to fill it failed
        report["problems"].append("nothing is configured: no carrier account and no store, so nothing would be tracked")
    for said, serious in loose_files(config):
        report["problems" if serious else "notes"].append(said)
    if few := settle_files(needed(config.root, ("web", "worker", "scheduler"))):
        report["problems"].append(few)
    for host in config.root.network.allow:
        report["notes"].append(f"network.allow: {host} may be private, loopback or plain http")
    for name, words in word_coverage(config).items():
        missing = [status for status, word in words.items() if word is None and status != ShippingStatus.UNKNOWN]
        if missing:
            report["notes"].append(
                f"{name}: {config.accounts[name].uses} has no word for {', '.join(sorted(missing))}; these are never "
                "written (tracker policy coverage)"
            )
    report["notes"] += [*unwatched.named(config), *whose.several(config), *_own_tokens(config)]
    for said, shunned in _shunned(config):
        report["problems" if shunned else "notes"].append(said)
    report["notes"] += [f"{said} (nothing uses it)" for kind in GROUPS for said in installed(kind).broken]
    report["notes"] += filter(None, [tracing.problem()])
    if not offline:
        ctx = open_context(config)
        _database(ctx, report)
        _broker(config.root.broker, report)
        _mail_server(ctx, report)
        _ping_all(ctx, report)
        _told(ctx, report)
        close_context(ctx)
    report["config"] = masked(config)
    report["coverage"] = coverage(config)
    if as_json:
        print_json(report)
    else:
        print_report(report, every)
    if report["problems"]:
        click.get_current_context().exit(1)


def _shunned(config: Config) -> Iterator[tuple[str, bool]]:
    """Say where webhooks are posted to whose sender does not take every address, and whether it would take that one."""
    for account in config.accounts.values():
        source = account.source
        if not source.shuns or source.webhooks_need():
            continue
        address, name = config.hook_address(account), f"{account.name} ({account.uses})"
        if words := held(source.shuns, address):
            said = f"posts to no address that holds {' or '.join(words)}, as {address} does: web.public_url must be another"
        else:
            said = (
                f"its webhooks are posted to {address}/<webhook_token>; no address may hold {', '.join(source.shuns)}"
            )
        yield f"{name}: {said}", bool(words)


def _own_tokens(config: Config) -> Iterator[str]:
    """Say what it costs that access tokens cannot be shared: each process asks for its own."""
    if config.root.vault_key:
        return
    asked: dict[str, list[str]] = {}
    for account in config.accounts.values():
        if (lasts := account.source.token_lasts) is not None:
            counted = (
                f", out of its {account.budget.calls} calls in {spell(account.budget.per)}"
                if account.budget and account.tokens == "counted"
                else ""
            )
            asked.setdefault(f"{timedelta(days=1) / lasts:.2g} a day and process{counted}", []).append(account.name)
    for cost, said in asked.items():
        more = f" and {len(said) - MOST_NAMED} more" if len(said) > MOST_NAMED else ""
        yield (
            f"no vault_key: each process, and each start of one, asks for its own access token of {', '.join(said[:MOST_NAMED])}{more} "
            f"({cost}); with one it is asked for once for all"
        )


def _told(ctx: AppContext, report: dict[str, Any]) -> None:
    """Say whom we tell, and how each takes it; nobody is called for it (`tracker hooks test` does)."""
    if ctx.store.sqlite and not Path(ctx.store.url.database or "").exists():
        return
    try:
        for said, wrong in told.notes(ctx):
            report["problems" if wrong else "notes"].append(said)
    except SQLAlchemyError:
        """What is wrong with the database is told by itself."""


def _strict(file: Path) -> Config:
    """Read a file. Raises ConfigError; where some entries are right all the same, it is said what a process would do."""
    try:
        return read_config(file)
    except ConfigError:
        with suppress(ConfigError):
            config = running_config(file)
            wrong = len(config.suspended)
            said = f"{wrong} {'entry' if wrong == 1 else 'entries'} would be suspended, and {len(config.accounts)} would run:"
            click.echo(f"{file}: {said}", err=True)
        raise


def _database(ctx: AppContext, report: dict[str, Any]) -> None:
    where = mask(ctx.config.root.database)
    try:
        if ctx.store.sqlite and not Path(ctx.store.url.database or "").exists():
            report["notes"].append(f"database {where}: will be made by `tracker up`")
            return
        revision = current(ctx.store)
        if revision != head():
            report["notes"].append(
                f"database {where}: at {revision or 'nothing'}, `tracker up` will bring it to {head()}"
            )
            if revision is None:
                return
        with ctx.store.read() as connection:
            modes = dict(
                connection.execute(sa.select(accounts.c.name, accounts.c.mode).where(accounts.c.kind == "store")).all()
            )
            if revision == head():
                if keys := [key.get_secret_value() for key in ctx.config.root.vault_key]:
                    report["notes"] += [
                        f"{name}: the token that is kept was written with another vault_key: it is asked anew"
                        for name in written_by_another(connection, Seal(*keys))
                    ]
                    old = written_by_another(connection, Seal(keys[0])) if len(keys) > 1 else []
                    report["notes"] += [
                        f"{name}: the token that is kept was written with an older vault_key: that one is still needed; each start writes anew"
                        for name in old
                    ]
                report["notes"] += [*unwatched.left(ctx, connection), *plan.told(ctx, connection)]
    except SQLAlchemyError as error:
        origin = getattr(error, "orig", None)
        said = str(origin).strip().splitlines()[0] if origin else type(error).__name__
        report["problems"].append(f"database {where}: {said}")
        return
    report["notes"].append(f"database {where}: fine")
    for account in ctx.config.store_accounts():
        if account.mode == "write" and modes.get(account.name, "observe") == "observe":
            count, first = first_writes(ctx, account.name)
            report["previews"][account.name] = {"writes": count, "first": first}


def _broker(broker: str, report: dict[str, Any]) -> None:
    if broker == "none":
        return
    import redis

    host = urlsplit(broker).hostname
    try:
        client = redis.Redis.from_url(broker, socket_timeout=3, socket_connect_timeout=3)
        client.ping()
        client.close()
        report["notes"].append(f"broker {host}: fine")
    except (redis.RedisError, OSError) as error:
        report["problems"].append(f"broker {host}: {type(error).__name__}: work goes on without wake-ups, more slowly")


def _mail_server(ctx: AppContext, report: dict[str, Any]) -> None:
    """Log in at the mail server, and send nothing."""
    mail = ctx.config.root.mail
    if mail is None:
        mailing = [account.name for account in ctx.config.store_accounts() if account.mail.send]
        report["notes"] += [f"{', '.join(mailing)}: no mail: is configured, so nobody is mailed"] if mailing else []
        return
    network = ctx.config.root.network
    try:
        with open_mailer(mail, allow=network.allow, timeout=network.timeout.total_seconds()):
            report["notes"].append(f"mail: {mail.host} takes mails of {mail.sender}")
    except TrackerError as error:
        report["problems"].append(f"mail: {error}")


def _ping_all(ctx: AppContext, report: dict[str, Any]) -> None:
    """Ask every account by its cheapest call, some side by side; what comes of it is told in the order of the file."""
    accounts = list(ctx.config.accounts.values())
    seen = bool(sys.stderr and sys.stderr.isatty())
    pool = ThreadPoolExecutor(PINGS_AT_ONCE)
    try:
        for done, (what, said) in enumerate(pool.map(functools.partial(_ping, ctx), accounts), 1):
            report[what] += said
            if seen:
                click.echo(f"\r{done} of {len(accounts)} accounts", nl=False, err=True)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C waits for what is asked just now
        if seen and accounts:
            click.echo("\r\x1b[K", nl=False, err=True)


def _ping(ctx: AppContext, account: Account) -> tuple[str, list[str]]:
    """Ask one account. Returns whether it is a note or a problem, and what is said of it."""
    name = f"{account.name} ({account.uses})"
    told: list[str] = []
    try:
        if account.files is not None:
            told.append(f"{name}: {watch.prove(ctx, account)}")
        if not account.is_store and account.carrier.files and not account.source.asks:
            return "notes", told or [f"{name}: told by files only: tracker ingest --account {account.name} FILE..."]
        client = ctx.client(account)
        account.source.ping(client)
        quota = None if account.is_store else account.carrier.quota(client)
        found = told + [f"{name}: {said}" for said in account.source.look_around(client)]
        found += [f"{name}: {mails.proved(ctx, account)}"] if account.is_store and account.mail.send else []
    except BudgetSpent as error:
        return "notes", [f"{name}: not asked: {error}"]
    except (Transient, NotFound) as error:
        return "problems", [f"{name}: not reached: {error}"]
    except TrackerError as error:
        return "problems", [f"{name}: {type(error).__name__}: {error}"]
    if quota is None:
        return "notes", [f"{name}: fine", *found]
    of = "" if quota.of is None else f" of {quota.of:,}"
    if not quota.left:
        return "problems", [f"{name}: its quota{of} is used up: new parcels wait until there is more"]
    return "notes", [f"{name}: fine; {quota.left:,}{of} numbers may still be registered", *found]


@click.command()
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), default=Path(DEFAULT_FILE), show_default=True
)
@click.option("--carrier", "-k", "carriers", multiple=True, help="A carrier plugin; several are fine.")
@click.option("--store", "-s", default=None, help="A platform plugin.")
@click.option("--force", is_flag=True, help="Write over an existing file.")
def init(output: Path, carriers: tuple[str, ...], store: str | None, force: bool) -> None:
    """Write a first commented tracker.yaml, from flags or a few questions.

    Secrets are named, not written: the file refers to environment variables, listed at the end.
    """
    if output.exists() and not force:
        raise ConfigError(f"{output}: is there already; --force writes over it")
    known, shops = names("carriers"), names("adapters")
    if not carriers and sys.stdin and sys.stdin.isatty():
        said = click.prompt(f"Carriers ({', '.join(known)}), separated by commas", default=known[0])
        carriers = tuple(part.strip() for part in said.split(",") if part.strip())
    if store is None and sys.stdin and sys.stdin.isatty():
        store = click.prompt(f"Shop platform ({', '.join(shops)})", default=shops[0])
    carriers, store = carriers or ("easypost",), store or "shopify"
    for name, choices in (*((carrier, known) for carrier in carriers), (store, shops)):
        if name not in choices:
            raise ConfigError(f"no plugin {name!r}: one of {', '.join(choices)}")
    variables: list[str] = []
    text = _first_file(carriers, store, variables)
    output.write_text(text, encoding="utf-8")
    click.echo(f"wrote {output}; now set:")
    for variable in variables:
        value = f"   # for example {Fernet.generate_key().decode()}" if variable == "TRACKER_VAULT_KEY" else ""
        click.echo(f"  export {variable}=...{value}")
    click.echo(f"then: tracker check {output} && tracker up -c {output}")


def _first_file(carriers: tuple[str, ...], store: str, variables: list[str]) -> str:
    def secret(name: str) -> str:
        variables.append(name)
        return f"${{env:{name}}}"

    lines = [
        "# Trackwright. `tracker check` checks this file; deploy/tracker.example.yaml explains every key.",
        "database: sqlite:///var/trackwright.db   # or postgresql://user@host/trackwright",
        "broker: none                             # or redis://host:6379/0 (then web, worker and scheduler run apart)",
        f"vault_key: {secret('TRACKER_VAULT_KEY')}          # encrypts tokens at rest",
        "",
        "accounts:",
    ]
    for carrier in carriers:
        plugin = load("carriers", carrier)
        lines += [f"  {carrier}:", f"    uses: {carrier}                     # {plugin.docs}"]
        lines += _settings(plugin.Settings, carrier, secret)
        if plugin.webhooks:
            mine = hook_id(carrier) if held(plugin.shuns, carrier) else carrier
            lines.append(
                f"    webhook_token: {secret(f'{carrier}_webhook_token'.upper())}   # its webhooks go to /webhooks/{mine}/<this>"
            )
    plugin = load("adapters", store)
    assert issubclass(plugin, Platform)
    lines += ["", "stores:", "  shop:", f"    uses: {store}                     # {plugin.docs}"]
    lines += _settings(plugin.Settings, store, secret)
    if "access_token" in plugin.Settings.model_fields:
        lines.append(f"    access_token: {secret(f'{store}_access_token'.upper())}")
    lines += [
        "    mode: observe                      # decides and records, writes nothing; `write` when you trust it",
        "    policy: {preset: mirror}           # show the shipping status, write no order status",
    ]
    return "\n".join(lines) + "\n"


def _settings(model: Any, plugin: str, secret: Any) -> list[str]:
    lines = []
    for name, field in model.model_fields.items():
        if field.annotation is SecretStr and field.is_required():
            lines.append(f"    {name}: {secret(f'{plugin}_{name}'.upper())}")
        elif field.annotation == Secrets:
            lines.append(f"    {name}: {secret(f'{plugin}_{name}'.upper().removesuffix('S'))}")
        elif field.is_required() and hasattr(field.annotation, "model_fields"):
            lines.append(f"    {name}: {{}}  # CHANGE-ME: what stands in it is described there")
        elif field.is_required():
            lines.append(f"    {name}: CHANGE-ME")
    return lines


@click.group("config")
def config_group() -> None:
    """About the configuration file."""


@config_group.command("schema")
def schema_() -> None:
    """Print the JSON schema of the file, for editors (yaml-language-server: $schema=...)."""
    print_json(schema())


@config_group.command("show")
@click.argument("name", required=False)
@config_option
@json_option
def show_(name: str | None, file: Path, as_json: bool) -> None:
    """Print what is in force, each value with where it is written: the root, or the account or store NAME. Secrets are masked.

    `tracker policy show STORE` tells a policy key by key.
    """
    config = glance_config(file)
    entries = config.accounts
    assert isinstance(entries, Entries)
    if name is not None and name not in entries:
        raise click.UsageError(f"no account or store {name!r}: {', '.join(entries) or 'none is configured'}")
    shown = masked(config, () if name is None else (name,))
    if name is None:
        rows = [(key, value, entries.written_at((key,))) for key, value in shown.items()]
    else:
        values = shown["stores" if entries.is_store(name) else "accounts"][name]
        uses = f"plugin {values['uses']}"
        rows = [
            (key, value, uses if key == "budget" and place == "default" else place)
            for key, value in values.items()
            for place in (entries.place(name, key),)
        ]
    if as_json:
        print_json({key: {"value": value, "from": place} for key, value, place in rows})
        return
    show_table(
        name or str(file), ("key", "value", "from"), [(key, flat(v), at) for key, v, at in rows], empty="nothing"
    )


COMMANDS = (check, init, config_group)
