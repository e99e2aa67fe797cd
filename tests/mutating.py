"""Take a rule out of the code for a while: what the mutants of `make mutants` do."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
VALUES = (dict, list, set, frozenset, tuple, str, bytes, int, float, timedelta, re.Pattern)


def stands_once(name: str, mutant: dict[str, Any]) -> None:
    """Hold what a mutant takes out to the code as it is today: it stands there once, and what replaces it is Python."""
    source = (ROOT / mutant["file"]).read_text(encoding="utf-8")
    found = source.count(mutant["old"])
    assert found == 1, f"{name}: {mutant['file']} holds {found} times what the mutant takes out: {mutant['old']!r}"
    compile(source.replace(mutant["old"], mutant["new"]), mutant["file"], "exec")


@contextmanager
def mutated(file: str, old: str, new: str) -> Iterator[None]:
    """Run with one piece of a module's source replaced: its functions keep their identity and get the mutant's code."""
    source = (ROOT / file).read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{file} holds {source.count(old)} times what the mutant takes out: {old!r}"
    assert old != new, f"{file}: the mutant takes nothing out"
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    fresh = _made(module, source.replace(old, new))
    undo: list[tuple[Any, str, Any]] = []
    _swap(module, fresh, module.__name__, undo)
    assert undo, f"{file}: the mutant changes nothing that can be changed while it runs: {new!r}"
    try:
        yield
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)


def _made(module: types.ModuleType, source: str) -> types.ModuleType:
    """Make a module of another source, beside the one that all others know."""
    fresh = types.ModuleType(module.__name__)
    fresh.__dict__.update({"__name__": module.__name__, "__file__": module.__file__, "__package__": module.__package__})
    sys.modules[module.__name__] = fresh
    try:
        exec(compile(source, str(module.__file__), "exec"), fresh.__dict__)
    finally:
        sys.modules[module.__name__] = module
    return fresh


def _swap(before: Any, after: Any, module: str, undo: list[tuple[Any, str, Any]]) -> None:
    for name, value in list(vars(after).items()):
        if name not in vars(before):
            if isinstance(before, types.ModuleType):  # the mutant's own helpers and imports
                setattr(before, name, value)
            continue
        there = vars(before)[name]
        mine, its = _functions(there), _functions(value)
        if mine and its:
            for one, other in zip(mine, its, strict=False):
                if one.__code__ != other.__code__ and one.__code__.co_freevars == other.__code__.co_freevars:
                    undo.append((one, "__code__", one.__code__))
                    one.__code__ = other.__code__
                if one.__defaults__ != other.__defaults__:
                    undo.append((one, "__defaults__", one.__defaults__))
                    one.__defaults__ = other.__defaults__
        elif inspect.isclass(value) and inspect.isclass(there):
            if value.__module__ == module and value is not there:
                _swap(there, value, module, undo)
        elif isinstance(value, VALUES) and there != value and not name.startswith("__"):
            undo.append((before, name, there))
            setattr(before, name, value)
            if isinstance(before, types.ModuleType):
                _swap_imported(before, name, there, value, undo)


def _swap_imported(
    origin: types.ModuleType, name: str, there: Any, value: Any, undo: list[tuple[Any, str, Any]]
) -> None:
    """Others that imported a constant by its name get the mutant's too."""
    if isinstance(there, bool | int | str) and not name.isupper():
        return
    for other in list(sys.modules.values()):
        if other is not origin and isinstance(other, types.ModuleType) and vars(other).get(name) is there:
            undo.append((other, name, there))
            setattr(other, name, value)


def _functions(value: Any) -> list[types.FunctionType]:
    """Return the functions that hold a value's code: itself, or what a decorator wrapped."""
    if isinstance(value, property):
        return [f for f in (value.fget, value.fset, value.fdel) if isinstance(f, types.FunctionType)]
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, functools.cached_property):
        value = value.func
    value = inspect.unwrap(value) if callable(value) and not inspect.isclass(value) else value
    return [value] if isinstance(value, types.FunctionType) else []
