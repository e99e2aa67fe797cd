"""What `tracker check` found, to be read: each line of a few accounts and stores, a summary of many; what is wrong always in full."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from tracker.cli.common import show_table
from tracker.config.coverage import FEW, Row, together

NAMED = 3  # of those that are told together
_PLACE = re.compile(r"(accounts|stores)\.([^.]+)\.(.+)")


def print_report(report: Mapping[str, Any], every: bool) -> None:
    """Print it; `every`: each line."""
    sections = {name: report["config"].get(name) or {} for name in ("accounts", "stores")}
    many = not every and any(len(section) > FEW for section in sections.values())
    for name, section in report["config"].items():
        if name not in sections:
            click.echo(f"{name}: {flat(section)}")
        elif many and len(section) > FEW:
            click.echo(f"{name}: {_counted(section)}")
        else:
            click.echo(f"{name}:")
            for key, values in section.items():
                shown = (f"{k}={flat(v)}" for k, v in values.items() if v not in (None, {}, []))
                click.echo(f"  {key}: " + ", ".join(shown))
    _print_coverage(report["coverage"], every)
    click.echo("")
    names = {name for section in sections.values() for name in section}
    for note in _together(report["notes"], names) if many else report["notes"]:
        click.echo(f"  {note}")
    previews = list(report["previews"].items())
    for store, preview in previews[:FEW] if many else previews:
        click.echo(f"\n  {store} would write {preview['writes']} things first, such as:")
        for one in preview["first"]:
            click.echo(f"    order {one['order']}: {one['status']} ({one['happened_at']:%Y-%m-%d %H:%M})")
    if many and len(previews) > FEW:
        click.echo(f"\n  {len(previews) - FEW} more stores would write")
    for problem in report["problems"]:
        click.echo(f"  PROBLEM {problem}")
    if many:
        click.echo("\n  --all shows each account and store")
    count = len(report["problems"])
    click.echo(f"\n{report['file']}: " + (f"{count} problem{'s' * (count > 1)}" if count else "fine"))


def _print_coverage(covered: Mapping[str, list[Row]], every: bool) -> None:
    """Print how each carrier and account, and each store is covered, and what writes do beside: what is alike in one line where there are many."""
    for section, name, columns in (
        ("accounts", "account", ("carrier", "account", "poll", "push", "signed", "limit")),
        ("stores", "store", ("store", "reads", "hooks", "writes")),
        ("side_effects", "store", ("store", "write", "beside", "now")),
    ):
        rows = covered[section] if every else [*together(covered[section], name)]
        if rows:
            click.echo("")
            title = "what writes do beside" if section == "side_effects" else f"coverage of {section}"
            show_table(title, columns, [[row[column] for column in columns] for row in rows], empty="")


def _counted(section: Mapping[str, Mapping[str, Any]]) -> str:
    """Say how many entries there are, of which plugin and in which mode."""
    kinds = Counter(str(values["uses"]) for values in section.values())
    modes = Counter(str(values["mode"]) for values in section.values() if "mode" in values)
    parts = [
        ", ".join(f"{count:,} {name}" for name, count in sorted(found.items())) for found in (kinds, modes) if found
    ]
    return f"{len(section):,} ({'; '.join(parts)})"


def _together(notes: Iterable[str], names: set[str]) -> Iterator[str]:
    """Tell once what is told of several accounts or stores in the same words."""
    alike: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        head, _, said = note.partition(": ")
        place = _PLACE.fullmatch(head)
        name = place[2] if place else head.partition(" (")[0]
        if name not in names:
            alike[note, ""] = []
        else:
            alike.setdefault((f"{place[1]}.*.{place[3]}: " if place else "", said), []).append(name)
    for (before, said), told in alike.items():
        if not told:
            yield before
        elif len(told) <= NAMED:
            yield f"{before}{', '.join(told)}: {said}"
        else:
            yield f"{before}{len(told):,}, such as {', '.join(told[:NAMED])}: {said}"


def flat(value: Any) -> str:
    """Write a value in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {flat(v)}" for k, v in value.items()) + "}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
