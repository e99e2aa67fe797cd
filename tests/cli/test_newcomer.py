"""The way of a newcomer: Trackwright from its wheel, a plugin of each kind from `tracker new`, their wheels, a play on both.

`newcomer/` holds what the newcomer writes: the files of an API that is another than the sketch's, as the one failing test says.
Nothing is asked of the network: the environment is empty but for what ours has installed, which it sees at the end of its path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
WRITTEN = Path(__file__).parent / "newcomer"
PAIR = (("carrier", "fastfox"), ("platform", "corner_shop"))


T = TypeVar("T")


def together(*calls: Callable[[], T]) -> list[T]:
    """Make calls side by side; returns what each returned."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [one.result() for one in [pool.submit(call) for call in calls]]


class Site:
    """An environment of its own, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.environment = folder / "work", folder / "environment"
        self.folder.mkdir()
        venv.create(self.environment, with_pip=False, symlinks=True)
        paths = {"base": str(self.environment), "platbase": str(self.environment)}
        self.packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
        (self.packages / "seen.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        self.python = Path(sysconfig.get_path("scripts", "venv", vars=paths)) / "python"

    def run(self, *words: object, code: int = 0) -> str:
        """Run a program of the environment as a process; returns what it said."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "COV"))
        }
        done = subprocess.run(
            [self.python, *map(str, words)], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    def tracker(self, *words: object, code: int = 0) -> str:
        """Run the installed command."""
        return self.run(self.python.with_name("tracker"), *words, code=code)

    def install(self, *wheels: Path) -> None:
        """Install wheels; what they need must be there."""
        ours = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check", "--quiet"]
        done = subprocess.run(
            [*ours, "install", "--no-index", "--no-compile", *map(str, wheels)],
            capture_output=True, text=True, cwd=self.folder, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def build(self, project: Path) -> Path:
        """Build the wheel of a project, with what is installed."""
        found = self.folder / "wheels" / project.name
        self.run("-c", f"import os; os.chdir({str(project)!r}); from hatchling.cli import hatchling; hatchling()",
                 "build", "-t", "wheel", "-d", found)  # fmt: skip
        (wheel,) = found.glob("*.whl")
        return wheel


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return an environment with the wheel of Trackwright, and of both plugins as a newcomer leaves them."""
    made = Site(tmp_path_factory.mktemp("newcomer"))
    made.install(made.build(ROOT))
    together(*[lambda kind=kind, name=name: made.tracker("new", kind, name, "--package", name) for kind, name in PAIR])
    for _, name in PAIR:
        written = {file.relative_to(WRITTEN / name) for file in (WRITTEN / name).rglob("*") if file.is_file()}
        there = {file.relative_to(made.folder / name) for file in (made.folder / name).rglob("*") if file.is_file()}
        for sketch in there - written:  # the sketch's own fixtures go
            if sketch.parent.name == "fixtures":
                (made.folder / name / sketch).unlink()
        own = {Path("trackwright_fastfox/sandbox.py")}  # a fake server of the carrier's own plays webhooks too
        assert {file for file in written - there if file.parent.name != "fixtures"} <= own, "a newcomer fills in"
        shutil.copytree(WRITTEN / name, made.folder / name, dirs_exist_ok=True)
    made.install(*together(*[lambda name=name: made.build(made.folder / name) for _, name in PAIR]))
    return made


def test_each_plugin_is_found_beside_the_wheel_of_trackwright_and_not_in_its_checkout(site: Site) -> None:
    said = site.run(
        "-c", "import sys, tracker; from tracker.config.plugins import load\n"
        "for kind, name in (('carriers', 'fastfox'), ('adapters', 'corner_shop')):\n"
        "    print(tracker.__file__, sys.modules[load(kind, name).__module__].__file__)",
    )  # fmt: skip

    assert [file.startswith(str(site.packages)) for file in said.split()] == [True] * 4, said
    read = ("carriers/README.md", "adapters/README.md", "tracker/sandbox/scenarios/README.md")
    assert [page for page in read if not (site.packages / page).is_file()] == []


def test_the_wheel_holds_every_file_of_the_packages_that_is_no_test(site: Site) -> None:
    """Tables, policies, scenarios, templates, pages, contracts, migrations: whoever reads them finds them by their own place."""
    missing = []
    for room in ("tracker", "carriers", "adapters"):
        for file in sorted((ROOT / room).rglob("*")):
            if (
                file.is_file()
                and "__pycache__" not in file.parts
                and not (site.packages / file.relative_to(ROOT)).is_file()
            ):
                missing.append(str(file.relative_to(ROOT)))
    assert missing == []


def test_from_an_empty_folder_the_wheel_makes_a_configuration_and_checks_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = site.folder / "empty"
    empty.mkdir(mode=0o700)
    assert "wrote" in site.tracker("init", "-k", "easypost", "-s", "shopify", "-o", str(empty / "tracker.yaml"))
    for name in re.findall(r"\$\{env:(\w+)\}", (empty / "tracker.yaml").read_text()):
        monkeypatch.setenv(name, "0123456789012345678901234567890123456789012=")
    assert "tracker.yaml: fine" in site.tracker("check", str(empty / "tracker.yaml"), "--offline")
    assert "royal_mail" in site.tracker("plugins")
    assert "kingston-courier" in site.tracker("policy", "presets")


def test_each_plugin_conforms_once_the_failing_test_was_followed_and_deleted(site: Site) -> None:
    tests = [
        site.folder / name / "tests" for _, name in PAIR
    ]  # of what is installed, and not of the folder beside them
    said = site.run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "pythonpath=", "--rootdir", site.folder, *tests
    )

    assert re.search(r"^3\d\d passed in", said, re.MULTILINE), said


def test_a_scenario_plays_on_both_and_a_wrong_expectation_differs(site: Site) -> None:
    play = site.folder / "corner_shop" / "tests" / "play.yaml"
    wrong = play.with_name("wrong.yaml")
    wrong.write_text(play.read_text().replace("place: York}}", "place: Leeds}}"))
    assert wrong.read_text() != play.read_text()
    right, pushed, differs = together(
        lambda: site.tracker("sandbox", "play", play, "--check"),
        lambda: site.tracker("sandbox", "play", site.folder / "fastfox" / "tests" / "play.yaml", "--check"),
        lambda: site.tracker("sandbox", "play", wrong, "--check", code=1),
    )

    assert "as it must be, by the platform's own log" in right
    assert "6 webhooks received (1 refused)" in pushed  # four of the carrier, two of the shop
    assert "differs: order #1, parcel FF17: last place is " in differs
    assert "expected Leeds" in differs
