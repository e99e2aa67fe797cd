"""`tracker new`: what it writes conforms, is found where it is installed, and says what to do next."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.plugins.collection import lacking, orphans
from tracker.cli import main as main_
from tracker.cli.new import CHECKOUT, ROOMS
from tracker.config.load import load_text
from tracker.config.plugins import installed, load, names
from tracker.domain.errors import ConfigError
from tracker.sandbox import find
from tracker.sandbox.player.player import Player, load_scenario

ROOT = Path(__file__).parents[2]
PAIR = (("carrier", "acme"), ("platform", "corner_shop"))


def new(*words: object) -> Result:
    return CliRunner().invoke(main_.cli, ["new", *map(str, words)])


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a package of each kind, as written."""
    folder = tmp_path_factory.mktemp("packages")
    for kind, name in PAIR:
        made = new(kind, name, "--package", folder / name)
        assert made.exit_code == 0, made.output
        assert f"pytest {folder / name / 'tests' / f'test_{name}.py'}" in made.output
        assert f"tracker sandbox play {folder / name / 'tests' / 'play.yaml'} --check" in made.output
        assert made.output.endswith(f"how: {ROOT / ROOMS[kind] / 'README.md'}\n")
    return folder


@pytest.fixture(scope="module")
def site(packages: Path) -> Path:
    """Return a folder that the wheels of both are installed in."""
    for _, name in PAIR:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(packages / "dist")]
        built = subprocess.run(build, cwd=packages / name, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
    for wheel in (packages / "dist").glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(packages / "site")
    return packages / "site"


@pytest.fixture
def fresh() -> Iterator[None]:
    """Forget which plugins there are, before and after."""
    kept = (names, load, installed, find.fakes, find.only)
    for answer in kept:
        answer.cache_clear()
    yield
    for answer in kept:
        answer.cache_clear()


def test_what_is_written_conforms_and_one_test_says_what_to_do_next(packages: Path, site: Path) -> None:
    (packages / "none.ini").write_text("[pytest]\n")
    tests = [str(packages / name / "tests") for _, name in PAIR]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(packages / "none.ini"), *tests],
        capture_output=True, text=True, env=environment, cwd=packages, check=False,
    )  # fmt: skip

    assert re.search(r"^2 failed, 3\d\d passed", done.stdout, re.MULTILINE), done.stdout[-3000:]
    for _, name in PAIR:
        assert f"test_{name}.py::test_{name}_is_no_sketch_any_more" in done.stdout
        assert (
            f"Failed: {name} reads an API that nobody has. Next, in this order: answers of the real one" in done.stdout
        )


def test_a_package_of_its_own_is_found_by_its_entry_point(
    site: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("KEY", "canary-key")
    config = load_text(
        'accounts: {a: {uses: acme, api_key: "${env:KEY}"}}\nstores: {s: {uses: corner_shop, api_token: "${env:KEY}"}}'
    )

    assert config.accounts["a"].source.docs == "https://acme.example/docs"
    assert type(config.accounts["s"].source).__module__ == "trackwright_corner_shop.corner_shop"
    assert {*names("carriers"), *names("adapters")} >= {"acme", "corner_shop"}
    refused = new("platform", "acme", "--package", "elsewhere")
    assert isinstance(refused.exception, ConfigError)
    assert "'acme' is taken" in str(refused.exception)


@pytest.mark.parametrize("name", [name for _, name in PAIR])
def test_what_is_written_plays_as_it_says_and_asks_nothing_that_the_other_side_does_not_know(
    packages: Path, site: Path, monkeypatch: pytest.MonkeyPatch, fresh: None, name: str
) -> None:
    monkeypatch.syspath_prepend(site)

    assert Player(load_scenario(packages / name / "tests" / "play.yaml")).play().differences == []


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder: one with the folders of our repository, and no plugin in them."""
    for part in CHECKOUT:
        (tmp_path / part).mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_in_a_checkout_it_has_all_that_a_plugin_has_and_passes_the_linter(checkout: Path) -> None:
    for kind, name in PAIR:
        assert new(kind, name).exit_code == 0

    assert (lacking(checkout), orphans(checkout)) == ([], [])
    assert 'for_carrier("carriers.acme"' in (checkout / "tests/plugins/test_acme.py").read_text()
    ruff = Path(sys.executable).with_name("ruff")
    ours = ["--no-cache", "--config", f'src = ["{ROOT}"]']  # where tracker is, which tells ours from other imports
    for check in (["format", "--check"], ["check"]):
        done = subprocess.run([ruff, *check, *ours, "."], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("there", ["carriers/acme.csv", "tests/fixtures/acme/SOURCES.md", "tests/plugins/test_acme.py"])
def test_no_file_is_written_over_and_none_beside_it(checkout: Path, there: str) -> None:
    (checkout / there).parent.mkdir(parents=True, exist_ok=True)
    (checkout / there).write_text("mine")
    before = sorted(checkout.rglob("*"))
    refused = new("carrier", "acme")

    assert isinstance(refused.exception, ConfigError)
    assert str(refused.exception) == f"nothing is written: {there} is there already"
    assert sorted(checkout.rglob("*")) == before
    assert (checkout / there).read_text() == "mine"


@pytest.mark.parametrize("name", ["", "no-name", "Acme", "1st", "class", "_hidden", "a.b", "../x", "é", "a" * 41])
def test_what_can_be_no_name_is_refused(checkout: Path, name: str) -> None:
    refused = new("platform", name)

    assert isinstance(refused.exception, ConfigError)
    assert "can be no plugin's name" in str(refused.exception)
    assert not list((checkout / "adapters").iterdir())
