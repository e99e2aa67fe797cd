"""Every scenario file is played through real HTTP and the real roles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker.daemon.play import Player, load_scenario

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_scenario_ends_as_it_must(file: Path) -> None:
    result = Player(load_scenario(file)).play()

    assert result.differences == []
