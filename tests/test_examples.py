"""The examples of deploy/examples: each is read whole with its samples, and plays over real HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from tracker.config.load import load_config, schema
from tracker.sandbox.player.player import Player, load_scenario

EXAMPLES = Path(__file__).parents[1] / "deploy" / "examples"
PLAYS = sorted(EXAMPLES.glob("*.play.yaml"))
ENTRIES = sorted(set(EXAMPLES.glob("*.yaml")) - set(PLAYS))


@pytest.mark.parametrize("file", ENTRIES, ids=lambda file: file.stem)
def test_an_example_is_read_with_its_samples_and_every_code_in_them_means_something(file: Path, monkeypatch) -> None:
    for name in re.findall(r"\$\{env:(\w+)\}", file.read_text()):
        monkeypatch.setenv(name, f"{name.lower()}-0123456789abcdefghij")

    assert [note for note in load_config(file).notes if "samples" in note] == []


@pytest.mark.parametrize("file", ENTRIES, ids=lambda file: file.stem)
def test_an_editor_takes_an_example_and_marks_a_wrong_key_in_it(file: Path) -> None:
    entry = yaml.safe_load(file.read_text())
    validator = jsonschema.Draft202012Validator(schema())
    assert list(validator.iter_errors(entry)) == []

    next(iter(next(iter(entry.values())).values()))["colour"] = 1
    assert list(validator.iter_errors(entry))


@pytest.mark.parametrize("file", PLAYS, ids=lambda file: file.name.partition(".")[0])
def test_an_example_plays_over_real_http(file: Path) -> None:
    assert Player(load_scenario(file)).play().differences == []


def test_each_example_has_its_play_its_samples_their_sources_and_its_line() -> None:
    sources, page = ((EXAMPLES / name).read_text() for name in ("SOURCES.md", "README.md"))
    samples = sorted(EXAMPLES.glob("*/*.json"))

    described = [file.stem for file in ENTRIES if "uses: generic" in file.read_text()]
    assert described == [file.name.partition(".")[0] for file in PLAYS]
    assert samples
    assert [file.name for file in samples if file.name not in sources] == []
    assert [file.name for file in ENTRIES if f"]({file.name})" not in page] == []
