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


def test_the_scenario_ends_the_same_on_postgresql_and_redis(new_postgres: str, redis_server) -> None:
    scenario = load_scenario(FILES[0].with_name("plain_journey.yaml"))

    result = Player(scenario, database=new_postgres, broker=redis_server.url).play()

    assert result.differences == []


@pytest.mark.parametrize("seed", [1, 2])
def test_the_demo_ends_as_it_must_however_it_is_shuffled(seed: int) -> None:
    from tracker.cli.play import DEMO

    result = Player(load_scenario(DEMO), seed=seed).play()

    assert result.differences == []
