"""A package that is installed beside us and cannot be imported hurts only who uses it: the installed command, as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.app.site import Site
from tests.conftest import wait_for

pytestmark = pytest.mark.process
TRACKER = Path(sys.executable).with_name("tracker")
SAID = "plugin halfthere: half_there cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'"
FROM = "; it came with the package half-there"
SHOPS = """
stores:
  one: {uses: shopify, shop: a.myshopify.com, access_token: "${env:SECRET}"}
  two: {uses: shopify, shop: b.myshopify.com, access_token: "${env:SECRET}"}
"""


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """Return a folder for the path of a process, in which a package with a carrier is installed that cannot be imported."""
    folder = tmp_path / "beside"
    info = folder / "half_there-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half-there\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tracker.carriers]\nhalfthere = half_there\n")
    (folder / "half_there.py").write_text(
        f"with open({str(tmp_path / 'tries')!r}, 'a') as file:\n    file.write('x')\nimport nowhere_at_all\n"
    )
    return folder


def tracker(beside: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(beside), "SECRET": "a-secret-of-some-length"}
    return subprocess.run([TRACKER, *words], env=environment, capture_output=True, text=True, timeout=60)


def test_one_that_nothing_uses_is_told_by_check_and_stops_nothing(beside: Path, tmp_path: Path) -> None:
    file = tmp_path / "tracker.yaml"
    file.write_text(SHOPS)
    file.chmod(0o600)
    done = tracker(beside, "check", "--offline", str(file))

    assert done.returncode == 0, done.stdout + done.stderr
    told = next(line for line in done.stdout.splitlines() if SAID in line)
    assert told.endswith(f"half_there.py:3){FROM} (nothing uses it)")
    assert (tmp_path / "tries").read_text() == "x"  # two stores, and one look at what is installed


def test_one_that_is_used_is_a_problem_of_its_line(beside: Path, tmp_path: Path) -> None:
    file = tmp_path / "tracker.yaml"
    file.write_text("accounts:\n  half: {uses: halfthere}\n")
    done = tracker(beside, "check", "--offline", str(file))

    assert done.returncode == 2
    assert f"{file}:2:10: accounts.half.uses: {SAID}" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_lists_all_plugins_lists_the_others(beside: Path) -> None:
    listed, schema = tracker(beside, "plugins", "--json"), tracker(beside, "config", "schema")

    assert listed.returncode == 2 and SAID in listed.stderr and FROM in listed.stderr
    assert {"ups", "shopify"} <= {row["plugin"] for row in json.loads(listed.stdout)}
    assert schema.returncode == 0 and "halfthere" not in schema.stdout


def test_a_daemon_tells_it_in_the_log_when_it_starts(
    beside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(beside))
    with ExitStack() as stack:
        site = Site(f"sqlite:///{tmp_path / 'tracker.db'}", tmp_path, stack)
        site.start("up")
        wait_for(lambda: '"event": "started"' in site.logs())
        lines = [json.loads(line) for line in site.logs().splitlines() if line.startswith("{")]

    (line,) = [line for line in lines if line["event"] == "plugin_broken"]
    assert line["level"] == "warning" and line["said"].startswith(SAID) and line["said"].endswith(FROM)
