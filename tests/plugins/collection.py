"""The collection of plugins, looked at as a whole: what each of them must have, and what must have one of them."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from importlib.machinery import FileFinder, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tracker.config.plugins import GROUPS, installed, load, names, only_class
from tracker.domain.vocabulary import Trust
from tracker.plugin.conformance import CarrierSuite, PlatformSuite, cases
from tracker.plugin.contracts import Carrier, Platform
from tracker.plugin.names import EVERYBODY, read_words, spelt

SUITES: dict[str, type[CarrierSuite] | type[PlatformSuite]] = {"carriers": CarrierSuite, "adapters": PlatformSuite}


def lacking(root: Path) -> list[str]:
    """Say of each plugin of a tree what it lacks: its table, fixtures with their sources, a test that subscribes."""
    said: list[str] = []
    tests = list(_subscriptions(root))
    for room, name, module in _plugins(root):
        plugin: Any = only_class(module, GROUPS[room][1])
        fixtures = root / "tests" / "fixtures" / name
        if (fixtures / room).is_dir():  # a carrier and a platform of one name
            fixtures /= room
        told: dict[str, bool] = {}
        if issubclass(plugin, Carrier):
            tables = {bool(_tables(root, room, name)), bool(plugin.codes)}
            told["a table of codes beside it, or codes_from_yaml = True (and not both)"] = tables == {
                not plugin.codes_from_yaml
            }
        if issubclass(plugin, Platform):
            told["statuses"] = bool(plugin.statuses)
        told["a fixture"] = any(cases(fixtures))
        told["SOURCES.md beside its fixtures"] = (fixtures / "SOURCES.md").is_file()
        mine = [(test, suite) for test, suite in tests if suite.module == f"{room}.{name}"]
        told["a test that subscribes to conformance with its fixtures"] = any(
            issubclass(suite, SUITES[room]) and suite.fixtures == fixtures for _, suite in mine
        )
        if plugin.webhooks and plugin.trust is Trust.SIGNED:
            told["signed(body) in its test: the headers that a body of its sender comes with"] = any(
                callable(getattr(test, "signed", None)) for test, _ in mine
            )
        said += [f"{room}.{name} lacks {what}" for what, there in told.items() if not there]
    return said


def orphans(root: Path) -> list[str]:
    """Say what is there for a plugin that is not: tables, folders of fixtures, tests that subscribe."""
    known = {f"{room}.{name}" for room, name, _ in _plugins(root)}
    bare = {name.partition(".")[2] for name in known}
    said = [
        f"{room}/{file.relative_to(root / room)} is the table of no plugin"
        for room in GROUPS
        for file in sorted((root / room).rglob("*.csv"))
        if f"{room}.{file.relative_to(root / room).parts[0].removesuffix('.csv')}" not in known
    ]
    said += [
        f"tests/fixtures/{folder.name} is the folder of no plugin"
        for folder in sorted((root / "tests" / "fixtures").iterdir())
        if folder.name not in bare
    ]
    return said + [
        f"tests/plugins/{Path(str(test.__file__)).name} is the test of no plugin: {suite.module}"
        for test, suite in _subscriptions(root)
        if suite.module not in known
    ]


def naming(root: Path) -> list[str]:
    """Say where a platform, or an aggregator, names a carrier in its code: what they call it is data."""
    known = {spelt(one.word) for one in read_words() if one.said_by == EVERYBODY}
    said: list[str] = []
    for room, name, module in _plugins(root):
        plugin: Any = only_class(module, GROUPS[room][1])
        if getattr(plugin, "carriers", ()):
            continue
        if plugin.companies:
            said.append(
                f"{room}.{name} declares companies: they go to tracker/plugin/carriers.csv, said_by what it calls its vocabulary"
            )
        files = sorted((root / room / name).rglob("*.py")) or [root / room / f"{name}.py"]
        said += [
            f"{file.relative_to(root)}:{node.lineno} names a carrier, {node.value!r}: what shops and aggregators call it is in "
            "tracker/plugin/carriers.csv"
            for file in files
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and spelt(node.value) in known
        ]
    return said


def _plugins(root: Path) -> Iterator[tuple[str, str, ModuleType]]:
    for room in GROUPS:
        for info in pkgutil.iter_modules([str(root / room)]):
            if not info.name.startswith("_"):
                assert isinstance(info.module_finder, FileFinder)
                spec = info.module_finder.find_spec(f"{room}.{info.name}")
                assert spec is not None
                yield room, info.name, _import(spec)


def _tables(root: Path, room: str, name: str) -> list[Path]:
    """Return the tables of a plugin: beside its module, or in its package."""
    return [*(root / room).glob(f"{name}.csv"), *(root / room / name).glob("*.csv")]


def _subscriptions(root: Path) -> Iterator[tuple[ModuleType, Any]]:
    """Yield each conformance suite that pytest would collect, with the module of tests that holds it."""
    for file in sorted((root / "tests" / "plugins").glob("test_*.py")):
        if ".conformance import" not in file.read_text(encoding="utf-8"):
            continue
        spec = importlib.util.spec_from_file_location(f"tests.plugins.{file.stem}", file)
        assert spec is not None
        module = _import(spec)
        for name, value in vars(module).items():
            if name.startswith("Test") and isinstance(value, type) and hasattr(value, "fixtures"):
                yield module, value


def _import(spec: ModuleSpec) -> ModuleType:
    """Import a file once more, whatever is imported by its name, and leave no trace of it."""
    assert spec.loader is not None
    before = sys.modules.get(spec.name)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
        if before is not None:
            sys.modules[spec.name] = before
    return module


def forget_plugins() -> None:
    """Forget which plugins are installed: a test installs others."""
    for answer in (names, load, installed):
        answer.cache_clear()
