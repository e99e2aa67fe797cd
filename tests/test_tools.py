"""What tests use of the machine is brought by apt where apt works; where it does not, that is said, and where it fails, it fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.tools import bring


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which alone programs are looked for, as root."""
    (tmp_path / "env").symlink_to(shutil.which("env") or "/usr/bin/env")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def program(folder: Path, name: str, does: str = "exit 0") -> None:
    (folder / name).write_text(f"#!/bin/sh\n{does}\n")
    (folder / name).chmod(0o755)


def test_what_is_there_is_not_brought(path: Path) -> None:
    program(path, "chromium")
    program(path, "apt-get", "exit 1")
    assert bring("chromium") is None


def test_where_apt_is_not_or_wants_root_or_reaches_nothing_it_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bring("chromium") == "no chromium, and no apt here to bring it"
    program(path, "apt-get", "echo 'no route' >&2; exit 100")
    assert bring("chromium") == "no chromium, and apt reaches no archive: ['no route']"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert bring("chromium") == "no chromium, and apt wants root"


def test_where_apt_works_it_brings_it_or_fails(path: Path) -> None:
    program(path, "apt-get", 'test "$1" = update && exit 0; echo "no such package" >&2; exit 100')
    with pytest.raises(RuntimeError, match="apt works, and does not bring chromium"):
        bring("chromium")
    program(path, "apt-get", f'test "$1" = install && : >{path}/chromium && /bin/chmod +x {path}/chromium; exit 0')
    assert bring("chromium") is None
