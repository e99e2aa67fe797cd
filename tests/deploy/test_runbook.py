"""The runbook is whole: each alert, finding, exit code, reason of suspension and error has its section; each command in it exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from tracker.cli.main import CODES, EXIT_DEFECT, EXIT_PIPE, EXIT_STOPPED, cli
from tracker.domain import errors
from tracker.domain.vocabulary import FindingKind
from tracker.pipeline.places import GaveWay
from tracker.store import queries

DEPLOY = Path(__file__).parents[2] / "deploy"
TEXT = (DEPLOY / "RUNBOOK.md").read_text()
ALERTS = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
PARTS = ("Means", "Look", "Do", "Otherwise")


def chapters() -> dict[str, dict[str, str]]:
    """Return the sections of each chapter."""
    found: dict[str, dict[str, str]] = {}
    for chapter in re.split(r"^## ", TEXT, flags=re.M)[1:]:
        head, _, body = chapter.partition("\n")
        sections = [part.partition("\n") for part in re.split(r"^### ", body, flags=re.M)[1:]]
        assert len({name for name, _, _ in sections}) == len(sections), head
        found[head] = {name: text for name, _, text in sections}
    return found


def anchor(heading: str) -> str:
    """Return how a heading is linked to, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_alert_finding_exit_code_and_error_has_a_section_and_nothing_that_is_gone_has_one() -> None:
    found = chapters()
    assert list(found["Alerts"]) == [rule["alert"] for rule in ALERTS]
    assert set(found["Findings"]) == set(FindingKind)
    codes = {0, 1, EXIT_DEFECT, EXIT_STOPPED, EXIT_PIPE} | {code for told in CODES.values() for code in told}
    assert set(found["Exit codes"]) == {f"Exit code {code}" for code in codes}
    kinds = {
        kind.__name__
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.SourceError)
    }
    assert set(found["Why an account is away"]) == kinds - {"SourceError"} | {GaveWay.__name__}
    reasons = list(found["Reasons of suspension"])
    assert reasons[0] == queries.BY_ENTRY.rstrip(": ") and "401" in reasons[1] and len(reasons) == 3


def test_each_section_says_what_it_means_where_to_look_what_to_do_and_what_happens_otherwise() -> None:
    for sections in chapters().values():
        for name, text in sections.items():
            assert re.findall(r"^\* \*\*(\w+):\*\* \S.*[.?]$", text, re.M) == list(PARTS), name


def test_each_link_leads_somewhere_and_alerts_link_to_their_section() -> None:
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", TEXT, re.M)}
    for where in re.findall(r"\]\(#([^)]+)\)", TEXT):
        assert where in anchors, where
    for path in re.findall(r"\]\(([^#)][^)]*)\)", TEXT):
        assert (DEPLOY / path).exists(), path
    for rule in ALERTS:
        assert rule["annotations"]["runbook_url"] == "{{ $externalLabels.runbook }}#" + anchor(rule["alert"])


@pytest.mark.parametrize("line", sorted({" ".join(line.split()) for line in re.findall(r"`tracker( [^`]+)`", TEXT)}))
def test_each_command_of_the_runbook_exists_with_its_options(line: str) -> None:
    words, command = line.split(), cli
    context = click.Context(cli)
    while words and isinstance(command, click.Group):
        named = command.get_command(context, words[0])
        if named is not None:
            words.pop(0)
        named = named or command.commands.get("list")  # `tracker hooks NAME` is `tracker hooks list NAME`
        assert named is not None, line
        command = named  # type: ignore[assignment]
    options = {name: one for one in command.params for name in one.opts if isinstance(one, click.Option)}
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            option = options[word]
            if not option.is_flag:
                value = words.pop(0)
                if isinstance(option.type, click.Choice):
                    assert value in option.type.choices, line
        else:
            assert any(isinstance(one, click.Argument) for one in command.params), line
