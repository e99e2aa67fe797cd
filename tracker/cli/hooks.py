"""Webhooks: those that stores and accounts post to us (`hooks list`), and those by which we tell others (the rest)."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from typing import Any

import click

from tracker.cli.common import (
    ROW,
    close_context,
    config_option,
    glance_config,
    json_option,
    open_context,
    print_json,
)
from tracker.cli.listing import Listing, listing
from tracker.cli.many import confirm
from tracker.cli.many import since as moment_since
from tracker.config.telling import EVENTS, PREFIX, EndpointPart
from tracker.domain.errors import SourceError, TrackerError
from tracker.pipeline.context import AppContext
from tracker.pipeline.telling import schema as described
from tracker.pipeline.telling.send import destinations_of
from tracker.support import hooks as made
from tracker.support import told

HOOKS = (
    ("account", "account"), ("hook", "topic"), ("posts to", "address"), ("is", "state"), ("because", "said"), ("since", "since"),
    ("looked at", "checked_at"),
)  # fmt: skip
ENDPOINTS = (
    ("name", "name"), ("form", "form"), ("is", "state"), ("because", "why"), ("since", "since"), ("waiting", "waiting"),
    ("oldest", "oldest"), ("dead", "dead"), ("last took", "answered_at"), ("tried next", "next_at"), ("is told", "told"),
)  # fmt: skip
SENT = (
    ("id", "id"), ("to", "to"), ("event", "event"), ("state", "state"), ("tries", "attempts"), ("because", "error"), ("says", "says"),
    ("made", "created_at"), ("tried next", "due_at"), ("ended", "ended_at"),
)  # fmt: skip
STATES = ["pending", "sent", "dead"]


class _Group(click.Group):
    """`tracker hooks [ACCOUNT]` is `tracker hooks list [ACCOUNT]`, as it always was."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` where no command is named."""
        if "--help" not in args[:1] and "-h" not in args[:1] and (not args or args[0] not in self.commands):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group)
def hooks() -> None:
    """Hooks that post to us (`hooks [ACCOUNT]`), and webhooks by which we tell others (`telling:` in the configuration)."""


@hooks.command("list")
@click.argument("name", metavar="[ACCOUNT]", required=False)
@listing("watch")
@click.option("--mend", is_flag=True, help="Compare them now, and mend also what somebody undid after us.")
def list_(page: Listing, name: str | None, mend: bool) -> None:
    """List the hooks that stores and carrier accounts want, and how they are there: of ACCOUNT only, or of all.

    Made and compared once a day where web.public_url says where we are reached; what we mended and somebody undid is told.
    """
    ctx = page.context
    if name is not None and name not in ctx.config.accounts:
        raise click.UsageError(
            f"no store or account {name!r}: {', '.join(ctx.config.accounts) or 'none is configured'}"
        )
    if mend and (name is None or not made.mend(ctx, name)):
        raise click.UsageError(f"--mend: {made.why_none(ctx, name)}" if name else "--mend needs a name")
    none = made.why_none(ctx, name) if name is not None else "no account has hooks that we made (web.public_url)"
    page.show(lambda w: made.list_hooks(w, name), "hooks", HOOKS, none)
    if any(row["state"] not in made.FINE for row in made.list_hooks(ctx, name)):
        click.get_current_context().exit(1)


@hooks.command()
@listing("watch")
def endpoints(page: Listing) -> None:
    """List whom we tell, endpoints and targets: how each takes it, what waits for it since when, and what was given up."""
    page.show(told.list_destinations, "told", ENDPOINTS, "nobody is told: telling.endpoints, telling.targets")
    if any(row["state"] not in told.FINE or row["dead"] for row in told.list_destinations(page.context)):
        click.get_current_context().exit(1)


@hooks.command()
@click.argument("name", metavar="[ENDPOINT]", required=False)
@listing("limit", "after", "watch")
@click.option("--state", type=click.Choice(STATES), help="Only these; dead: tried for days, and given up.")
def sent(page: Listing, name: str | None, state: str | None) -> None:
    """List the messages to ENDPOINT, or to all endpoints and targets, newest first; with --json what each says in full."""
    ctx = page.context

    def ask(w: AppContext) -> list[dict[str, Any]]:
        return told.list_messages(w, destination=name, state=state, after=page.after, limit=page.limit)

    if name is not None and name not in destinations_of(ctx) and not ask(ctx):
        raise click.UsageError(_nobody(ctx, name))
    page.show(ask, "messages", SENT, "no such message")


@hooks.command()
@click.argument("ids", nargs=-1, type=ROW)
@click.option("--endpoint", "name", help="Only to this endpoint or target.")
@click.option("--since", help="All that was made since, sent or dead: today, a span such as 2h or 7d, or a moment.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def replay(ids: tuple[int, ...], name: str | None, since: str | None, yes: bool, file: Any) -> None:
    """Send messages again, under the ids that they had: IDS, or all since, or, without either, those that are dead.

    What would be sent is told first, and the count is asked for.
    """
    ctx = open_context(glance_config(file))
    if name is not None and name not in destinations_of(ctx):
        raise click.UsageError(_nobody(ctx, name))
    found = told.find_again(ctx, destination=name, ids=ids, since=moment_since(ctx, since))
    for (whom, event), count in sorted(found.counts.items()):
        click.echo(f"  {count:>6}  {event} to {whom}")
    if found.missing:
        click.echo(
            f"{found.missing} of those ids are not there, wait to be sent anyway, or are of nobody that is configured"
        )
    if not found.ids:
        click.echo("there is nothing to send again")
    else:
        confirm(len(found.ids), "messages", "sent again", yes)
        click.echo(f"{told.send_again(ctx, found.ids)} messages are sent again")
    if found.missing or not found.ids:
        click.get_current_context().exit(1)


@hooks.command()
@click.argument("name", metavar="ENDPOINT")
@config_option
def enable(name: str, file: Any) -> None:
    """Send to ENDPOINT again: it had said that it was gone (410), rests after failures, or what waits for it would be tried only later."""
    ctx = open_context(glance_config(file))
    if name not in destinations_of(ctx):
        raise click.UsageError(_nobody(ctx, name))
    if not told.enable(ctx, name):
        raise TrackerError(f"{name} takes what it is told: there is nothing to enable")
    click.echo(f"{name} is sent to again; what waited for it is sent now")


@hooks.command("test")
@click.argument("name", metavar="ENDPOINT")
@click.argument("event", required=False, type=click.Choice(EVENTS))
@json_option
@config_option
def test(name: str, event: str | None, as_json: bool, file: Any) -> None:
    """Send a signed sample to ENDPOINT (of EVENT, or of the first that it wants), and say what comes back. Nothing is kept.

    A target is told of a finding that is none: at once, whatever it is told otherwise.
    """
    ctx = open_context(glance_config(file))
    if (whom := destinations_of(ctx).get(name)) is None:
        raise click.UsageError(_nobody(ctx, name))
    if event is not None and not isinstance(whom, EndpointPart):
        raise click.UsageError(f"{name} is told of findings: it has no events")
    try_it(ctx, name, event, as_json)


def try_it(ctx: AppContext, name: str, event: str | None, as_json: bool) -> None:
    """Send a sample and say what came back; exit code 1 where it was not taken."""
    try:
        tried = told.try_sample(ctx, name, event)
    except SourceError as error:
        raise TrackerError(f"{name} was not reached: {error}") from None
    finally:
        close_context(ctx)
    if as_json:
        print_json(
            {
                "key": tried.key,
                "status": tried.status,
                "said": tried.said,
                "took_ms": tried.took / timedelta(milliseconds=1),
                "taken": tried.taken,
            }
        )
    else:
        said = f", and says: {tried.said}" if tried.said else ""
        click.echo(f"{name} {'took it' if tried.taken else 'did not take it'}: HTTP {tried.status}{said}")
    if not tried.taken:
        click.get_current_context().exit(1)


@hooks.command()
def schema() -> None:
    """Print the description of what endpoints are told: OpenAPI 3.1, with a schema and an example of each event."""
    print_json(described.document())


@hooks.command()
def secret() -> None:
    """Print a new secret for an endpoint; put it first in `secrets:`, and take the old one out when they know the new one."""
    click.echo(PREFIX + base64.b64encode(secrets.token_bytes(32)).decode())


def _nobody(ctx: AppContext, name: str) -> str:
    return f"no endpoint or target {name!r}: {', '.join(destinations_of(ctx)) or 'none is configured'}"


COMMANDS = (hooks,)
