"""`tracker`: the command. Each group of commands is a module."""

from __future__ import annotations

import sys
from importlib import import_module

import click
from sqlalchemy.exc import OperationalError, ProgrammingError

from tracker import __version__
from tracker.config.plugins import guard_names
from tracker.daemon.app import EXIT_DATABASE, DatabaseAway
from tracker.domain.errors import ConfigError, TrackerError

EXIT_CONFIG = 2


class _Modules(click.Group):
    """The commands of the modules, each imported when it is asked for a name that those before it lack: roles start fast."""

    modules = ("run", "look", "configure", "ops", "people", "policy", "act", "play")

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, None where there is none."""
        for module in self.modules:
            for command in import_module(f"tracker.cli.{module}").COMMANDS:
                if command.name == cmd_name:
                    found: click.Command = command
                    return found
        return None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of all commands."""
        return sorted(c.name for module in self.modules for c in import_module(f"tracker.cli.{module}").COMMANDS)


@click.group(cls=_Modules, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tracker")
def cli() -> None:
    r"""Keep an order's shipping status and order status in step.

    \b
    First steps:   tracker demo            see it work, on local servers
                   tracker init            write a first tracker.yaml
                   tracker check           check it, and ping every account
                   tracker up              run everything in one process
    Look:          tracker show ORDER      where an order stands
                   tracker explain ORDER   and why
                   tracker findings        what a person must look at
    Exit codes:    0 fine, 1 something differs, 2 wrong configuration or usage, 3 database away
    """


def main() -> None:
    """Run the command line; every error is told in one clear sentence and an exit code."""
    try:
        guard_names()
        cli.main(standalone_mode=False)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(EXIT_CONFIG)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DatabaseAway as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_DATABASE)
    except (OperationalError, ProgrammingError) as error:
        said = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
        hint = (
            " (has `tracker migrate` or `tracker up` been run?)" if "no such table" in said or "exist" in said else ""
        )
        click.echo(f"the database cannot be used: {said}{hint}", err=True)
        sys.exit(EXIT_DATABASE)
    except TrackerError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
