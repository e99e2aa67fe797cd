"""Commands that run: `up`, `web`, `worker`, `scheduler`, `migrate`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click

from tracker.app import tracing
from tracker.app.daemon import ROLES, Daemon
from tracker.app.presence import ask
from tracker.app.telemetry import configure_logs, tell_threads
from tracker.cli.common import config_option, glance_config, json_option, print_json, running_config
from tracker.config.changes import told
from tracker.domain.errors import ConfigError
from tracker.store.engine import Store
from tracker.store.migrate import current, head, migrate, revisions

_PORT = "Port of /metrics of this process; without it web and up take web.ops_port, and worker and scheduler have none."


def _ops(command: Callable[..., None]) -> Callable[..., None]:
    """Give a role the options that say where its /metrics listens."""
    port = click.option("--ops-port", type=click.IntRange(0, 65535), envvar="TRACKER_OPS_PORT", help=_PORT)
    host = click.option("--ops-host", envvar="TRACKER_OPS_HOST", help="Address of it; web.ops_host by default.")
    return config_option(port(host(command)))


def _run(file: Path, roles: frozenset[str], ops_port: int | None, ops_host: str | None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the roles run: to end a process is not what it is sent for
    configure_logs(sys.stderr)
    tell_threads()
    config = running_config(file)
    if roles != ROLES and (config.root.broker == "none" or config.root.database.startswith("sqlite")):
        raise ConfigError(
            f"{file}: broker: separate roles need a broker (broker: redis://...) and PostgreSQL; "
            "with broker: none or SQLite run `tracker up`"
        )
    web = config.root.web
    port = ops_port if ops_port is not None else web.ops_port if "web" in roles else None
    ops = (ops_host or web.ops_host, port) if port is not None else None
    daemon = Daemon(config, roles, ops=ops, traces=tracing.start(roles))
    daemon.connect()
    if code := daemon.run(reload=lambda: running_config(file)):
        click.get_current_context().exit(code)


@click.command()
@_ops
def up(file: Path, ops_port: int | None, ops_host: str | None) -> None:
    """Run everything in one process: receiver, workers and scheduler.

    SIGTERM finishes what is at hand (25 s at most); SIGHUP reads the configuration again, as `tracker reload` does
    for all processes, and keeps the old one where the new one is refused. An entry that is wrong is suspended alone. Logs are JSON lines on standard error.
    """
    _run(file, ROLES, ops_port, ops_host)


@click.command()
@_ops
def web(file: Path, ops_port: int | None, ops_host: str | None) -> None:
    """Run the receiver: webhooks, /livez, /readyz; /metrics on the ops port. As many as needed."""
    _run(file, frozenset({"web"}), ops_port, ops_host)


@click.command()
@_ops
def worker(file: Path, ops_port: int | None, ops_host: str | None) -> None:
    """Run a worker: it drains all queues. As many as needed."""
    _run(file, frozenset({"worker"}), ops_port, ops_host)


@click.command()
@_ops
def scheduler(file: Path, ops_port: int | None, ops_host: str | None) -> None:
    """Run a scheduler: it wakes the workers while rows are due, and maintains. Two are fine: one more wake-up changes nothing."""
    _run(file, frozenset({"scheduler"}), ops_port, ops_host)


@click.command("migrate")
@config_option
@click.option("--show", is_flag=True, help="Only say which revision the database is at.")
def migrate_(file: Path, show: bool) -> None:
    """Bring the database to the newest schema (`up` and the roles do it by themselves)."""
    store = Store(glance_config(file).root.database, pool_size=1)
    before = current(store)
    if show:
        click.echo(before or "empty")
        return
    after = migrate(store)
    newer = "" if after in revisions() else f", made by a newer version: this one has {head()}, and works on it"
    click.echo(f"{before or 'empty'} -> {after}" if before != after else f"already at {after}{newer}")


@click.command()
@config_option
@click.option(
    "--timeout", default=60.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to wait for answers."
)
@json_option
def reload(file: Path, timeout: float, as_json: bool) -> None:
    """Have every running process of this installation read its configuration again, on all machines.

    Each takes it, and says what changed, or keeps the old one and says why. An entry that is wrong is suspended alone. What
    changes of the root at the next start only is named.
    """
    store = Store(glance_config(file, partly=True).root.database, pool_size=1)
    answers = ask(store, timeout)
    store.close()
    if as_json:
        print_json({"processes": answers})
    elif not answers:
        click.echo(
            "no process runs: `tracker up`, or web, worker and scheduler, take the configuration when they start"
        )
    for one in () if as_json else answers:
        what = {
            "kept": f"kept the old one: {one['said']}",
            "silent": f"did not answer within {timeout:g} s",
            "stopped": "stopped",
        }
        took = f"took it: {told(one['changes'])}" if one["state"] == "taken" else what[one["state"]]
        click.echo(f"{one['role']} at {one['host']}, process {one['pid']}: {took}")
    if not answers or any(one["state"] in ("kept", "silent") for one in answers):
        click.get_current_context().exit(1)


COMMANDS = (up, web, worker, scheduler, reload, migrate_)
