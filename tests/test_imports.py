"""The arrows between packages are drawn for plugins that are not written yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what is linted, and of the rules."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", tree)
    for package in ("tracker", "carriers", "adapters"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__", "*.csv"))
    return tree


@pytest.mark.parametrize(
    ("file", "imports", "broken"),
    [
        ("carriers/acme.py", "carriers.fedex", "plugins are independent"),
        ("carriers/acme.py", "adapters.rest", "plugins are independent"),
        ("adapters/acme.py", "adapters.rest", "plugins are independent"),
        ("carriers/acme.py", "tracker.store", "plugins import the domain and the plugin package"),
        ("tracker/pipeline/acme.py", "carriers.acme", "nothing in tracker imports a plugin by name"),
        ("tracker/sandbox/fakes/acme.py", "tracker.app", "fake servers and scenario files know the contract"),
    ],
)
def test_a_new_module_is_held_to_the_arrows(tree: Path, file: str, imports: str, broken: str) -> None:
    for path in ("carriers/acme.py", file):
        (tree / path).write_text("")
    (tree / file).write_text(f"import {imports}\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    (tree / file).unlink()

    said = " ".join(done.stdout.split())
    assert done.returncode == 1, said
    assert broken in said.partition("Broken contracts")[2], said
    assert "6 kept, 1 broken" in said
