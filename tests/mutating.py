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

import click

ROOT = Path(__file__).parents[1]
VALUES = (dict, list, set, frozenset, tuple, str, bytes, int, float, timedelta, re.Pattern)
Undo = list[tuple[Any, str, Any]]


def stands_once(name: str, mutant: dict[str, Any]) -> None:
    """Hold what a mutant takes out to the code as it is today: it stands there once, and what replaces it is Python."""
    source = (ROOT / mutant["file"]).read_text(encoding="utf-8")
    found = source.count(mutant["old"])
    assert found == 1, f"{name}: {mutant['file']} holds {found} times what the mutant takes out: {mutant['old']!r}"
    compile(source.replace(mutant["old"], mutant["new"]), mutant["file"], "exec")


@contextmanager
def mutated(file: str, old: str, new: str) -> Iterator[None]:
    """Run with one piece of a module's source replaced: its functions keep their identity and get the mutant's code.

    Only what the piece changes is changed, so what a test has set in the module stays as it set it.
    """
    source = (ROOT / file).read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{file} holds {source.count(old)} times what the mutant takes out: {old!r}"
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    undo: Undo = []
    _swap(module, _made(module, source), _made(module, source.replace(old, new)), module.__name__, undo)
    assert undo, f"{file}: the mutant changes nothing that can be changed while it runs: {new!r}"
    forget_answers()
    try:
        yield
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)
        forget_answers()


def forget_answers(rooms: tuple[str, ...] = ("tracker", "carriers", "adapters")) -> None:
    """Empty every cache of ours: what was answered with a rule says nothing of the code without it."""
    for name, module in sys.modules.copy().items():
        if name.startswith(rooms):
            for value in list(vars(module).values()):
                if isinstance(clear := getattr(value, "cache_clear", None), types.BuiltinMethodType):
                    clear()


def _made(module: types.ModuleType, source: str) -> types.ModuleType:
    """Make a module from a source, beside the one that all others know."""
    fresh = types.ModuleType(module.__name__)
    fresh.__dict__.update({"__name__": module.__name__, "__file__": module.__file__, "__package__": module.__package__})
    sys.modules[module.__name__] = fresh
    try:
        exec(compile(source, str(module.__file__), "exec"), fresh.__dict__)
    finally:
        sys.modules[module.__name__] = module
    return fresh


def _swap(here: Any, clean: Any, mutant: Any, module: str, undo: Undo) -> None:
    """Change `here` in what the mutant has another way than the clean copy."""
    for name, value in list(vars(mutant).items()):
        if name not in vars(clean):
            if isinstance(here, types.ModuleType):  # the mutant's own helpers and imports
                setattr(here, name, value)
            continue
        was = vars(clean)[name]
        there = vars(here).get(name)
        mine, its = _functions(there), _functions(value)
        if mine and its:
            for one, before, after in zip(mine, _functions(was), its, strict=False):
                for part in ("__code__", "__defaults__", "__kwdefaults__"):
                    if getattr(before, part) != getattr(after, part):
                        undo.append((one, part, getattr(one, part)))
                        setattr(one, part, getattr(after, part))
        elif inspect.isclass(value) and inspect.isclass(there):
            if value.__module__ == module and value is not was:
                _swap(there, was, value, module, undo)
        elif isinstance(value, VALUES) and not name.startswith("__") and not _same(was, value):
            undo.append((here, name, there))
            setattr(here, name, value)
            if isinstance(here, types.ModuleType):
                _swap_imported(here, name, there, value, undo)


def _same(one: Any, other: Any) -> bool:
    """Say whether two copies of a constant are the same; what they hold of their own module is so by its name and code."""
    if isinstance(one, dict) and isinstance(other, dict):
        return len(one) == len(other) and all(map(_same, one.items(), other.items()))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, types.FunctionType) and isinstance(other, types.FunctionType):
        return one.__code__ == other.__code__
    if inspect.isclass(one) and inspect.isclass(other):
        return one.__qualname__ == other.__qualname__
    return type(one).__qualname__ == type(other).__qualname__ and (one == other or repr(one) == repr(other))


def _swap_imported(origin: types.ModuleType, name: str, there: Any, value: Any, undo: Undo) -> None:
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
    if isinstance(value, click.Command):
        value = value.callback
    value = inspect.unwrap(value) if callable(value) and not inspect.isclass(value) else value
    return [value] if isinstance(value, types.FunctionType) else []
