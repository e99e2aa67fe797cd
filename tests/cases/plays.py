"""Play a file of this folder: what `tracker sandbox play FILE --check` does, in this process."""

from __future__ import annotations

from pathlib import Path

from tracker.sandbox.player.player import Player, Result, load_scenario

HERE = Path(__file__).parent


def play(name: str) -> Result:
    """Play `name`.yaml of this folder; every difference fails the test that asked."""
    result = Player(load_scenario(HERE / f"{name}.yaml")).play()
    assert result.differences == [], result.differences
    return result
