"""What helps who works here: it must be true, or it is in the way."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.progress import line

ROOT = Path(__file__).parents[1]


def test_a_line_of_progress_says_when_how_far_what_failed_and_which_files_run_once_each() -> None:
    running = [
        "tests/chaos/test_storm.py::test_a_storm[1]",
        "tests/test_plays.py::test_x[a::b]",
        "tests/chaos/test_storm.py::test_b",
    ]

    told = line("12:03", 2100, 4690, 3, running)

    assert told == "12:03 2100 of 4690 done, 3 failed; running: tests/chaos/test_storm.py, tests/test_plays.py"
    assert line("12:03", 0, 0, 0, []) == "12:03 0 of 0 done, 0 failed; running: nothing"


def test_the_typed_view_of_the_plugin_api_is_checked_strictly_and_says_what_must_stay_a_mistake() -> None:
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    views = {file.stem: file.read_text() for file in (ROOT / "tests" / "typing").glob("*.py")}

    assert mypy["strict"]  # it also warns where an ignore is not needed any more
    assert "tests.typing" in mypy["packages"]
    assert all(views[kind].count("# type: ignore[") >= 5 for kind in ("carrier", "platform"))
