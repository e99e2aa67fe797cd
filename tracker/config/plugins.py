"""Find plugins: by module name in `carriers` and `adapters`, and in installed packages by entry point."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions, entry_points
from types import ModuleType

from tracker.domain.errors import ConfigError
from tracker.plugin.contracts import Carrier, Platform, Source, declared, defined_in
from tracker.plugin.loading import imported
from tracker.plugin.names import Word, meanings, read_words

GROUPS: dict[str, tuple[str, type[Source]]] = {
    "carriers": ("tracker.carriers", Carrier),
    "adapters": ("tracker.adapters", Platform),
}


@cache
def names(package: str) -> tuple[str, ...]:
    """List the plugins of `carriers` or `adapters`, ours and installed ones."""
    group, _ = GROUPS[package]
    own = [
        m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__) if not m.name.startswith("_")
    ]
    return tuple(sorted({*own, *(point.name for point in entry_points(group=group))}))


@cache
def load(package: str, name: str) -> type[Source]:
    """Return the one plugin class of a module. Raises ConfigError where there is none, more than one, or no module."""
    group, base = GROUPS[package]
    for point in entry_points(group=group, name=name):
        try:
            return only_class(imported(f"plugin {name}", point.value.partition(":")[0]), base)
        except ConfigError as error:
            raise ConfigError(f"{error}; it came with the package {point.dist.name if point.dist else name}") from error
    return only_class(imported(f"plugin {name}", f"{package}.{name}"), base)


def only_class(module: ModuleType, base: type[Source]) -> type[Source]:
    """Return the one concrete subclass of `base` that a module defines, or a package in any module of its own."""
    found = {
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, base) and defined_in(value, module.__name__)
    }
    if len(found) != 1:
        raise ConfigError(f"plugin {module.__name__}: must define exactly one {base.__name__}, defines {len(found)}")
    return found.pop()


@dataclass(frozen=True)
class Installed:
    """The plugins that are installed, by name; `broken` says of each that cannot be loaded which it is, and why."""

    plugins: Mapping[str, type[Source]]
    broken: tuple[str, ...]


@cache
def packaged() -> Installed:
    """Load the carriers that other packages bring. Ours are loaded one by one, as accounts use them: their words stand in the file of data."""
    return _loaded("carriers", {point.name for point in entry_points(group=GROUPS["carriers"][0])})


@cache
def installed(package: str) -> Installed:
    """Load every plugin of `carriers` or `adapters`, once a process.

    One that cannot be loaded hurts only who uses it: a package that is installed beside us may be broken, or half there.
    """
    brought = packaged() if package == "carriers" else Installed({}, ())
    known = {point.name for point in entry_points(group=GROUPS[package][0])} if package == "carriers" else set[str]()
    own = _loaded(package, set(names(package)) - known)
    plugins = {**own.plugins, **brought.plugins}
    return Installed({name: plugins[name] for name in sorted(plugins)}, (*own.broken, *brought.broken))


def _loaded(package: str, some: Iterable[str]) -> Installed:
    plugins, broken = {}, []
    for name in sorted(some):
        try:
            plugins[name] = load(package, name)
        except ConfigError as error:
            broken.append(str(error))
    return Installed(plugins, tuple(broken))


def used(name: str) -> type[Source] | None:
    """Return the plugin of a carrier's account; None where it cannot be loaded, which is said where its entry is read."""
    return _loaded("carriers", [name]).plugins.get(name)


def carriers() -> Iterator[tuple[str, type[Carrier]]]:
    """Return every carrier that is installed and can be loaded, with its name."""
    for name, plugin in installed("carriers").plugins.items():
        assert issubclass(plugin, Carrier)
        yield name, plugin


def words(*more: Iterable[Word]) -> dict[tuple[str, str], Word]:
    """Return every word for a carrier: those of the file of data and those that carriers of other packages declare, or `more` of them.

    Raises ConfigError, with both places, where one word means two carriers.
    """
    told = more or (read_words(), (word for plugin in packaged().plugins.values() for word in declared(plugin)))
    try:
        return meanings(word for some in told for word in some)
    except ValueError as error:
        raise ConfigError(*str(error).splitlines()) from None


def guard_names() -> None:
    """Refuse to run when another distribution owns one of our three import names (we are an application, no library)."""
    for package in ("tracker", "carriers", "adapters"):
        owners = {
            found.name
            for found in distributions()
            if f"\n{package}/" in f"\n{found.read_text('RECORD')}" and found.name.lower() != "trackwright"
        }
        if owners:
            raise ConfigError(
                f"the import name {package!r} belongs to another installed package ({', '.join(sorted(owners))}): "
                "install Trackwright in a virtual environment of its own"
            )
