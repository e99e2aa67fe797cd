"""`tracker`: the command. Each group of commands is a module."""

from __future__ import annotations

import os
import sys
import textwrap
import traceback
from importlib import import_module
from typing import Any

import click
from sqlalchemy.exc import DatabaseError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tracker import __version__
from tracker.app.daemon import EXIT_DATABASE, DatabaseAway
from tracker.cli.common import masked_output, why_away
from tracker.config.plugins import guard_names
from tracker.domain.errors import ConfigError, TrackerError

EXIT_DIFFERS = 1
EXIT_CONFIG = 2
EXIT_DEFECT = 70
EXIT_STOPPED = 130
EXIT_PIPE = 141

# What each command means by its exit codes, as its help tells and tests/cli/test_exit_codes.py proves by tests/cli/exit_cases.py, one by one.
_READS = {2: "wrong configuration or usage", 3: "database away"}
_RUNS = {0: "stopped by SIGTERM or Ctrl-C", **_READS, EXIT_DEFECT: "a payload was read for too long"}
_ACTS = {**_READS, 1: "nothing of that id was there to do it to"}
_MANY = {
    1: "not all that was named was there (the rest is done), or another number was typed",
    2: "wrong configuration or usage, or nobody was there to confirm: nothing is done",
    3: _READS[3],
}
_SPEAKS = {**_READS, 1: "no such order, or it was refused; nothing was kept"}
_USAGE = {2: "wrong usage"}
_WRITES = {2: "wrong usage, a name that cannot be or is taken, or a file that is there already; nothing is written"}
CODES: dict[str, dict[int, str]] = {
    "up": _RUNS, "web": _RUNS, "worker": _RUNS, "scheduler": _RUNS, "migrate": _READS,
    "reload": {**_READS, 0: "each process took it", 1: "one kept the old one or did not answer in time, or none runs"},
    "show": {**_READS, 1: "nothing is known of it"},
    "explain": {**_READS, 1: "nothing is known of it"},
    "evidence": {**_READS, 1: "nothing is known of it; no file is written"},
    "proof": {
        **_READS, 0: "the file is written", 1: "nothing is known of it, there is no document (yet), it was refused, or nobody answers; no file is written",
        2: "wrong configuration or usage, no such account, or a file that is there already",
    },
    "plan": {**_READS, 1: "a budget or a quota does not suffice, an entry is wrong, or nothing is known of what was named"},
    "plugins": _USAGE,
    "identify": {0: "each number can be of a carrier", 1: "one can be of none, or holds no number", 2: _READS[2]},
    "check": {1: "problems, each listed; a database that is away is one", 2: _READS[2]},
    "init": {2: "wrong usage, or the file is there already"},
    "config schema": _USAGE, "config show": {2: _READS[2]},
    "status": {**_READS, 0: "all is well", 1: "something is wrong: the first line says what is first, and what to do"},
    "drift": {**_READS, 0: "nothing differs, and all is known", 1: "shop and carrier disagree, or it is not known"},
    "export": {**_READS, 0: "it is exported, and where to go on is told", 2: "wrong configuration or usage, or it cannot be written there"},
    "report": {**_READS, 0: "it is told", 1: "not every parcel is counted yet, and how far is told"},
    "findings": _READS, "checkouts": _READS,
    "outages": {**_READS, 1: "somebody is away, no scheduler ran yet, or after our last outage not everything was asked about or told again yet"}, "stuck": _READS, "freshness": _READS,
    "outbox": _MANY,
    "hooks list": {**_READS, 0: "each is there", 1: "one is missing, wrong or not known"},
    "hooks endpoints": {**_READS, 0: "each takes what it is told", 1: "one fails, is gone, or has messages that were given up"},
    "hooks sent": _READS,
    "hooks replay": {**_READS, 1: "nothing is to be sent again, or not all of what was named"},
    "hooks enable": {**_READS, 1: "there was nothing to enable"},
    "hooks test": {0: "it was taken", 1: "it was not, or nobody was reached", 2: _READS[2]},
    "hooks schema": _USAGE, "hooks secret": _USAGE,
    "inbox": {**_READS, 1: "with --body: there is no such body"},
    "codes": _READS,
    "notify preview": {**_READS, 0: "a mail would be sent now, or was", 1: "none would be, each with the reason; or no such order"},
    "notify list": _READS, "notify test": {0: "it was taken", 1: "it was not, or nobody was reached", 2: _READS[2]}, "notify retry": _ACTS, "notify resume": {**_READS, 1: "nothing was suspended"},
    "note": _SPEAKS, "record": {**_MANY, 1: "no such order, or not all that a file names (the rest is done), or another number was typed"}, "correct": _SPEAKS, "correct-number": _SPEAKS,
    "may": {**_READS, 0: "yes", 1: "no, or no such order"},
    "dismiss": _MANY, "snooze": _MANY, "assign": _MANY,
    "policy show": {2: _READS[2]}, "policy table": {2: _READS[2]}, "policy presets": _USAGE, "policy coverage": {2: _READS[2]},
    "whatif": {**_READS, 0: "nothing would change", 1: "something would change"},
    "ingest": {
        **_READS, 0: "every file was read whole, now or before", 1: "something could not be read, and each file says what",
        2: "wrong configuration or usage, no such carrier account, or no such file; nothing is read",
    },
    "files": _ACTS,
    "try": {
        0: "all of it was read, and each code has a meaning", 1: "nothing is said, a piece was not read, a code has no meaning, or the headers prove nothing",
        2: "wrong configuration or usage, no such account or file, or nothing of the sample can be read",
    },
    "mcp": {0: "the input ended", 2: "wrong configuration or usage, or the extra `mcp` is not installed"},
    "pause": _READS, "resume": _READS, "replay": _MANY, "remap": _READS, "heal": _READS,
    "backup": {**_READS, 0: "the file is written", 1: "no copy could be made of it; no file is written", 2: "wrong configuration or usage, or a file that is there already"},
    "restore": {
        **_READS, 0: "it is put back and settled", 1: "a process runs, it is no whole backup, the database is not empty, or it was not confirmed; nothing is changed",
        2: "wrong configuration or usage, no such file, or nobody can be asked (--yes)",
    },
    "erase": {
        **_READS, 0: "it is erased; with --preview: shown, and all of it has ended", 1: "no such order, it was not confirmed, or a part of it is being worked: again later",
        2: "wrong configuration or usage, or nobody can be asked (--yes)",
    },
    "demo": {0: "as it must be", 1: "something differs", 2: "wrong usage, or a scenario that cannot be read"},
    "sandbox play": {
        0: "as it must be (without --check: played)", 1: "with --check: something differs", 2: "wrong usage, or a file that cannot be read",
        3: "database away",
    },
    "sandbox schema": _USAGE,
    "new carrier": _WRITES, "new platform": _WRITES,
}  # fmt: skip


# The \b, a backspace, tells click to leave the lines below it as they are.
HELP = """Keep an order's shipping status and order status in step.

\b
First steps:   tracker demo            see it work, on local servers
               tracker init            write a first tracker.yaml
               tracker check           check it, and ping every account
               tracker up              run everything in one process
Look:          tracker status          whether all is well, and what first
               tracker show ORDER      where an order stands
               tracker explain ORDER   and why
               tracker findings        what a person must look at
Exit codes:    0 fine, 1 something differs, 2 wrong configuration or usage,
               3 database away (each command's help says what they mean);
               70 stuck, or a defect of ours; 130 stopped by Ctrl-C;
               141 nobody reads the output any more
"""


class _Modules(click.Group):
    """The commands of the modules, each imported when it is asked for a name that those before it lack: roles start fast."""

    modules = (
        "run",
        "status",
        "notify",
        "look",
        "identify",
        "reports",
        "exports",
        "configure",
        "ops",
        "queues",
        "hooks",
        "codes",
        "people",
        "policies",
        "act",
        "keep",
        "files",
        "sample",
        "play",
        "new",
        "assistants",
    )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments. Raises UsageError for one that is no text: no database could be asked for it."""
        if any(arg.encode("utf-8", "replace").decode() != arg for arg in args):
            raise click.UsageError("an argument is not UTF-8", ctx)
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **more: Any) -> Any:
        """Run a command; what it prints is masked."""
        with masked_output():
            return super().main(*args, **more)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, None where there is none."""
        for module in self.modules:
            for command in import_module(f"tracker.cli.{module}").COMMANDS:
                if command.name == cmd_name:
                    found: click.Command = command
                    return _told(found, cmd_name)
        return None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of all commands."""
        return sorted(c.name for module in self.modules for c in import_module(f"tracker.cli.{module}").COMMANDS)


def _told(command: click.Command, name: str) -> click.Command:
    """Say in a command's help what its exit codes mean; a group's commands say theirs."""
    if isinstance(command, click.Group):
        for part, under in command.commands.items():
            _told(under, f"{name} {part}")
    else:
        codes = {0: "fine", **CODES[name]}
        lines = [textwrap.fill(f"{code:>3}  {codes[code]}", 76, subsequent_indent=" " * 5) for code in sorted(codes)]
        command.epilog = "\n".join(("\b", "Exit codes:", *lines))
    return command


@click.group(
    cls=_Modules, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="tracker")
def cli() -> None:
    """Run a command; HELP is what `tracker --help` says."""


def main() -> None:
    """Run the command line; every error is told in one clear sentence and an exit code."""
    with masked_output():
        code = _run()
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        code = _unwritten(error)
    sys.exit(code)


def _run() -> int:
    """Run a command; returns the exit code. What ends it otherwise is told on standard error."""
    try:
        guard_names()
        # a command that ends by ctx.exit() has its code returned here; one that returns has done what it was told
        code = cli.main(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        return EXIT_CONFIG
    except SystemExit:  # click and rich end so where nobody reads the output any more
        return _unwritten(BrokenPipeError())
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return EXIT_STOPPED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DatabaseAway as error:
        click.echo(str(error), err=True)
        return EXIT_DATABASE
    except (DatabaseError, InterfaceError, PoolTimeout) as error:
        click.echo(f"the database cannot be used: {why_away(error)}", err=True)
        return EXIT_DATABASE
    except TrackerError as error:
        click.echo(str(error), err=True)
        return EXIT_DIFFERS
    except OSError as error:
        if error.filename is None:
            return _unwritten(error)
        click.echo(f"{error.filename}: {error.strerror}", err=True)
        return EXIT_CONFIG
    except Exception as error:
        # where it came from, without the values: they may hold what is nobody's business
        click.echo("".join(traceback.format_tb(error.__traceback__)), nl=False, err=True)
        click.echo(f"a defect of ours ({type(error).__name__}): please report it with these lines", err=True)
        return EXIT_DEFECT


def _unwritten(error: OSError) -> int:
    """Say what the system refused (mostly: to take our output), where anybody still listens; returns the exit code."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes there
    if isinstance(error, BrokenPipeError):
        return EXIT_PIPE
    click.echo(f"it could not be done: {error.strerror or type(error).__name__}", err=True)
    return EXIT_CONFIG
