"""What the tests of the way out share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.peer import Peer
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


@pytest.fixture
def client(connections: Connections) -> AccountClient:
    plugin = plugin_of("carriers.dhl")
    source: Any = plugin("account", example_settings(plugin))
    return AccountClient(
        Account("account", "dhl", source), NoVault(), connections=connections, timeout=1.5, now=system_now
    )
