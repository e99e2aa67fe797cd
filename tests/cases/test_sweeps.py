"""Sweeps, reads and looks that lose nothing: the inputs of this folder that are about asking, and others of each kind."""

from __future__ import annotations

from pathlib import Path

from tracker.daemon.play import Player, load_scenario

HERE = Path(__file__).parent


def test_an_answer_without_news_keeps_the_estimates_cadence() -> None:
    assert Player(load_scenario(HERE / "estimate.yaml")).play().differences == []
