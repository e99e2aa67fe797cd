"""What the tests of the way out, and those of the page, share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.app.looking import KART, PAGE, Site, play
from tests.app.peer import Peer
from tests.app.test_web import WEB
from tests.conftest import _database
from tests.lab import Lab
from tracker.app.client import AccountClient, NoVault
from tracker.app.connections import Connections
from tracker.clock import system_now
from tracker.config.model import Account
from tracker.plugin.conformance import example_settings, plugin_of


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = Peer()
    yield server
    server.close()


@pytest.fixture
def connections() -> Iterator[Connections]:
    made = Connections({"127.0.0.1"})
    yield made
    made.close()


def _client(connections: Connections, timeout: float) -> AccountClient:
    plugin = plugin_of("carriers.dhl")
    source: Any = plugin("account", example_settings(plugin))
    return AccountClient(
        Account("account", "dhl", source), NoVault(), connections=connections, timeout=timeout, now=system_now
    )


@pytest.fixture
def client(connections: Connections) -> AccountClient:
    """Return a client whose calls never end because the machine is busy."""
    return _client(connections, 30)


@pytest.fixture
def hasty(connections: Connections) -> AccountClient:
    """Return a client whose calls end after 1.5 s."""
    return _client(connections, 1.5)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_file: Path
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "kart").touch(mode=0o600)
    (folder / "kart").write_text(KART)
    with ExitStack() as stack:
        if request.param == "sqlite":
            shutil.copy(migrated_file, folder / "x.db")
            url = f"sqlite:///{folder}/x.db"
        else:
            server, template = request.getfixturevalue("postgres"), request.getfixturevalue("template")
            url = stack.enter_context(_database(server, template=template))
        yield Site(play(Lab(url, folder, stack, rest="{preset: kingston-courier}", yaml=WEB + PAGE)), stack)
