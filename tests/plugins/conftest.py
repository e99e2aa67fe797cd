"""A real client whose outside world is respx."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import respx

from tracker.app.client import AccountClient, NoVault
from tracker.app.connections import Connections
from tracker.config.model import Account
from tracker.plugin.conformance import example_settings, plugin_of

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def outside() -> Iterator[respx.MockRouter]:
    """Return the outside world; an unknown address is an error."""
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def make() -> Iterator[Callable[..., tuple[Any, AccountClient]]]:
    """Return a function that makes a plugin and its client."""
    connections = Connections(())

    def build(module: str, **settings: Any) -> tuple[Any, AccountClient]:
        plugin = plugin_of(module)
        source: Any = plugin("account", example_settings(plugin, **settings))
        account = Account("account", module, source)
        return source, AccountClient(account, NoVault(), connections=connections, timeout=5.0, now=lambda: NOW)

    yield build
    connections.close()
