"""What the tests of payloads, and of what others are told, share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab import Lab, Make
from tests.pipeline.payloads import Payloads
from tests.told import Receiver, receiver


@pytest.fixture
def payloads(make_lab: Make, monkeypatch: pytest.MonkeyPatch) -> Payloads:
    """Return payloads of a lab that has worked off what it began with."""
    lab = make_lab(rest="{preset: kingston-courier}")
    lab.work()
    return Payloads(lab, monkeypatch)


@pytest.fixture
def erp() -> Iterator[Receiver]:
    """Return a server that is told things."""
    with receiver() as made:
        yield made


@pytest.fixture
def one_lab(tmp_path: Path, migrated_file: Path) -> Iterator[Callable[..., Lab]]:
    """Return a function that builds an installation on SQLite, where nothing differs between databases."""
    (tmp_path / "db").mkdir(mode=0o700)
    shutil.copy(migrated_file, tmp_path / "db" / "test.db")
    with ExitStack() as stack:
        yield lambda **more: Lab(f"sqlite:///{tmp_path}/db/test.db", tmp_path, stack, **more)
