"""Find the fake servers: in `fakes` by the plugin's name, and in installed packages by the entry point `tracker.sandboxes`."""

from __future__ import annotations

import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from tracker.domain.errors import ConfigError
from tracker.plugin.loading import imported

Kind = Literal["carrier", "shop"]

GROUP = "tracker.sandboxes"
OURS = "tracker.sandbox.fakes"


@cache
def fakes() -> dict[str, type[Any]]:
    """Return the fake server (see `tracker.sandbox.base`) of each plugin that has one, by the plugin's name.

    Raises ConfigError where a module does not define exactly one, or cannot be imported.
    """
    ours = {m.name: f"{OURS}.{m.name}" for m in pkgutil.iter_modules([str(Path(__file__).with_name("fakes"))])}
    theirs = {point.name: point.value.partition(":")[0] for point in entry_points(group=GROUP)}
    return {name: _only_fake(imported(f"sandbox {name}", module)) for name, module in sorted((ours | theirs).items())}


def fake_names(kind: Kind) -> list[str]:
    """List the plugins of a kind that have a fake server."""
    return [name for name, fake in fakes().items() if fake.kind == kind]


@cache
def only() -> dict[str, list[str]]:
    """Return who knows what only some servers know: elsewhere nothing would happen, or something else."""
    known = sorted({word for fake in fakes().values() for word in fake.knows})
    return {word: [name for name, fake in fakes().items() if word in fake.knows] for word in known}


def _only_fake(module: ModuleType) -> type[Any]:
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and hasattr(value, "kind")
    ]
    if len(found) != 1:
        raise ConfigError(f"sandbox {module.__name__}: must define exactly one fake server, defines {len(found)}")
    return found[0]
