"""A plugin that cannot be imported is its author's matter: it is named, with what went wrong and where."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tracker.cli.main import cli
from tracker.config.plugins import carriers, installed, load, names, packaged
from tracker.domain.errors import ConfigError
from tracker.plugin.loading import imported
from tracker.plugin.names import read_words
from tracker.sandbox import find

ROOT = Path(__file__).parents[2]
TABLE = "space,code,wording,status,reason,evidence\ns,a,Gone,gone,,x\n"


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the module of an installed plugin and of its fake server."""
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (tmp_path / "broken-1.0.dist-info" / "entry_points.txt").write_text(
        "[tracker.carriers]\nbroken = a_broken_one\n[tracker.sandboxes]\nbroken = a_broken_one\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    kept = (names, load, installed, packaged, find.fakes, find.only)
    for answer in kept:
        answer.cache_clear()
    yield tmp_path / "a_broken_one.py"
    for answer in kept:
        answer.cache_clear()


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'", 1),
        ("x = 1\nprint(y)", "NameError: name 'y' is not defined", 2),
        ("class X:\n    1 +", "SyntaxError: invalid syntax (a_broken_one.py, line 2)", None),
        ("from tracker.plugin.codes import read_codes\nread_codes(__file__)", "ValueError: a_broken_one.csv:2: 'gone' is not a valid ShippingStatus: one of ", 2),
    ],
)  # fmt: skip
def test_what_ends_its_import_is_told_with_the_line_of_its_author(
    broken: Path, text: str, said: str, line: int | None
) -> None:
    broken.write_text(text)
    broken.with_suffix(".csv").write_text(TABLE)
    where = f" (at {broken}:{line})" if line else ""
    with pytest.raises(ConfigError) as refused:
        imported("plugin broken", "a_broken_one")

    assert str(refused.value).startswith(f"plugin broken: a_broken_one cannot be imported: {said}")
    assert str(refused.value).endswith(where)


def test_a_plugin_that_is_not_there_any_more_is_named(broken: Path) -> None:
    with pytest.raises(ConfigError, match="plugin broken: a_broken_one cannot be imported: ModuleNotFoundError"):
        load("carriers", "broken")
    with pytest.raises(ConfigError, match="sandbox broken: a_broken_one cannot be imported: ModuleNotFoundError"):
        find.fakes()


def test_it_is_no_defect_of_ours(broken: Path) -> None:
    broken.write_text("raise RuntimeError('not today')")
    refused = CliRunner().invoke(cli, ["plugins"])

    assert isinstance(refused.exception, ConfigError)
    assert "plugin broken: a_broken_one cannot be imported: RuntimeError: not today" in str(refused.exception)


def test_a_process_with_one_carrier_loads_one_and_no_platform() -> None:
    said = (
        "import sys\nfrom tracker.app.daemon import Daemon\nfrom tracker.config.load import load_text\n"
        "Daemon(load_text('accounts: {easypost: {uses: easypost, api_key: \"${env:KEY}\"}}'), frozenset({'worker'}))\n"
        "print(sorted({n for n in sys.modules if n.startswith(('carriers.', 'adapters.'))}))"
    )
    env = {"PATH": "", "KEY": "0123456789012345678901"}
    done = subprocess.run([sys.executable, "-c", said], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['carriers.easypost']"


def test_each_carrier_of_ours_stands_in_the_table_of_words_so_that_no_plugin_is_loaded_to_know_its_name() -> None:
    known = {one.carrier for one in read_words()}
    for name, plugin in carriers():
        assert {*plugin.carriers} <= known, name
        assert not plugin.companies, name
