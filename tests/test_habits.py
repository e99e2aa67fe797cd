"""What helps who works here: it must be true, or it is in the way."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.progress import line
from tests.watch import belong

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
    views = {file.stem: file.read_text() for file in (ROOT / "tests" / "typed").glob("*.py")}

    assert mypy["strict"]  # it also warns where an ignore is not needed any more
    assert "tests.typed" in mypy["packages"]
    assert all(views[kind].count("# type: ignore[") >= 5 for kind in ("carrier", "platform"))


def test_nothing_beside_our_scripts_hides_a_module_of_the_standard_library() -> None:
    """`python tests/peer.py` looks beside itself first."""
    assert {path.stem for path in (ROOT / "tests").iterdir()} & sys.stdlib_module_names == set()


TESTS = {
    Path("tests/plugins/test_ups.py"): "",
    Path("tests/cli/test_ups_times.py"): "",
    Path("tests/pipeline/test_a.py"): "from tracker.pipeline import (\n    decide,\n    backoff,\n)\n",
    Path("tests/pipeline/test_b.py"): "from tracker.pipeline import decide, backoffs\n",
    Path("tests/pipeline/test_c.py"): "from tracker.pipeline.backoff import hear\n",
}


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("carriers/ups.py", ["tests/plugins/test_ups.py", "tests/cli/test_ups_times.py"]),
        ("carriers/ups/reading.py", ["tests/plugins/test_ups.py", "tests/cli/test_ups_times.py"]),
        ("carriers/ups.csv", ["tests/plugins/test_ups.py", "tests/cli/test_ups_times.py"]),
        ("tracker/pipeline/backoff.py", ["tests/pipeline/test_a.py", "tests/pipeline/test_c.py"]),
        ("tests/pipeline/test_b.py", ["tests/pipeline/test_b.py"]),
        ("tracker/pipeline/back.py", []),
    ],
)
def test_what_is_run_when_a_file_is_saved_is_itself_what_has_its_name_and_what_imports_it(
    changed: str, tests: list[str]
) -> None:
    assert [str(test) for test in belong(Path(changed), TESTS)] == tests


def test_what_looks_at_a_commit_is_installed_and_looks_at_all_that_lint_looks_at() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["packages"]
    lock = (ROOT / "requirements.lock").read_text()
    types = next(hook["files"] for hook in hooks if hook["id"] == "types")

    assert all(f"\n{Path(hook['entry'].split()[0]).name}==" in f"\n{lock}" for hook in hooks)
    assert all(re.search(types, f"{package.replace('.', '/')}/a/b.py") for package in packages)
