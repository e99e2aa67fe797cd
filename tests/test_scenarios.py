"""Every scenario file is played through real HTTP and the real roles."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tracker.cli.main import cli
from tracker.sandbox.player.player import Player, load_scenario

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_scenario_ends_as_it_must(file: Path) -> None:
    result = Player(load_scenario(file)).play()

    assert result.differences == []


@pytest.mark.parametrize("name", ["plain_journey", "last_mile"])
def test_the_scenario_ends_the_same_on_postgresql_and_redis(new_postgres: str, redis_server, name: str) -> None:
    scenario = load_scenario(FILES[0].with_name(f"{name}.yaml"))

    result = Player(scenario, database=new_postgres, broker=redis_server.url).play()

    assert result.differences == []


def test_the_demo_ends_as_it_must_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["demo", "--seed", "7", "--log", "demo.log"])

    assert done.exit_code == 0, done.output
    assert "as it must be, by the platform's own log" in done.output
    assert "seed 7" in done.output
    for words in ("#1001", "cancelled_but_moving", "stuck (closed)", "unmapped_code", "attempt_failed (closed)"):
        assert words in done.output, words
