"""`tracker mcp`: the same facts for assistants."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tracker.app.servers import NO_PROTOCOL
from tracker.app.telemetry import configure_logs
from tracker.cli.common import close_context, config_option, open_context, read_config


@click.command()
@config_option
def mcp(file: Path) -> None:
    """Answer an assistant on standard input and output, by the Model Context Protocol, until the input ends.

    Five tools that read: find_order, explain_order, list_drift, list_findings, status. None changes anything. Texts of carriers, shops and
    people are marked as data. Who starts the process sees all stores; `mcp:` in the configuration serves the same on a private port, by token.
    """
    try:
        from tracker.app.assistants import over_stdio
    except ImportError:
        raise click.UsageError(f"tracker mcp {NO_PROTOCOL}") from None
    configure_logs(sys.stderr, level="warning")
    ctx = open_context(read_config(file))
    try:
        over_stdio(ctx)
    finally:
        close_context(ctx)


COMMANDS = [mcp]
