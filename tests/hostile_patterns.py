"""Feed every regular expression of ours 100 kB of hostile text; a process that may use so much CPU for each text and no more.

Started by test_patterns.py. An expression whose time grows with the square of its text takes seconds to minutes for one text, where
a linear one takes some milliseconds, and is ended by the kernel: what was being tried is the last line said.

A fifth of each text goes first: where the whole takes a second because of its square, the fifth takes a twenty-fifth of one. Of
what is far from that, the whole is not tried, and it is of nearly all.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROOMS = ("tracker", "carriers", "adapters")
SIZE = 100_000
SECONDS = 1  # of CPU, for each text by each method: a linear one takes milliseconds, a square of 100 kB two or more
FIFTH = SECONDS / 25 / 4  # of CPU, for a fifth of a text: below, a square's whole is a quarter of its bound at most
METHODS = ("fullmatch", "match", "search", "sub", "findall", "finditer", "split")
SIGNS = ' \n07adeAZ$%&-./:;=?@_{"'
found: dict[tuple[Any, int], set[str]] = {}  # pattern and flags -> the methods that are called on it


def load() -> None:
    """Import everything while `re.compile` tells what is compiled; then read which methods each is used by.

    A pattern without a name of its own (in a table) is used by `fullmatch` alone.
    """
    real: Callable[..., Any] = re.compile

    def told(pattern: Any, flags: Any = 0) -> Any:
        made = real(pattern, flags)
        if sys._getframe(1).f_globals.get("__name__", "").partition(".")[0] in ROOMS:
            found[made.pattern, made.flags] = {"fullmatch"}
        return made

    re.compile = told  # type: ignore[assignment]
    named: dict[str, re.Pattern[str]] = {}
    trees = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            if "migrations" not in name and not name.endswith("__main__"):
                made = importlib.import_module(name)
                trees[path] = ast.parse(path.read_text())
                named |= {key: value for key, value in vars(made).items() if isinstance(value, re.Pattern)}
    re.compile = real  # type: ignore[assignment]
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            method, of = node.func.attr, node.func.value
            if method not in METHODS or not isinstance(of, ast.Name):
                continue
            if of.id == "re":
                pattern = node.args[0]
                assert isinstance(pattern, ast.Constant), f"{path}:{node.lineno}: compile it, so that it can be tried"
                found.setdefault((pattern.value, int(re.compile(pattern.value).flags)), set()).add(method)
            elif of.id in named:
                found[named[of.id].pattern, named[of.id].flags].add(method)


def begins(pattern: str) -> list[str]:
    """Return the texts that stand in a pattern: what hostile text begins with to get past its beginning."""
    runs = re.findall(
        r"(?:\\[.${}?+*()|/:]|[A-Za-z0-9:/=?@_&;,<-])+", re.sub(r"\[[^\]]*\]|\{\d+,?\d*\}|\\[sdwSDWb]", " ", pattern)
    )
    return sorted({run.replace("\\", "") for run in runs} | {"", "1", "1d"})


def hostile(pattern: str) -> Iterator[tuple[str, str, str]]:
    """Return the texts of a pattern: what each begins with, what is repeated to its size, and its end."""
    for begin, sign in itertools.product(begins(pattern), SIGNS):
        yield begin, sign, "\x01"
        yield "", begin + sign, ""
    for pair in (" 0", " a", "0a", "aA", "A0", ":a", "/a", " =", "?a", '"a', "1d", "d "):
        yield "", pair, ""


def used(tried: Any, method: str, text: Any) -> float:
    """Try an expression on a text, and return the seconds of CPU that it took: more than its bound, and the kernel ends us."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    before = time.process_time()
    if method == "sub":
        tried.sub(text[:0], text)
    elif method == "finditer":
        list(tried.finditer(text))
    else:
        getattr(tried, method)(text)
    return time.process_time() - before


def main() -> None:
    load()
    assert len(found) > 25, found
    for (pattern, flags), methods in sorted(found.items(), key=lambda one: repr(one[0])):
        tried: Any = re.compile(pattern, flags)
        print(f"{pattern!a}  {', '.join(sorted(methods))}", flush=True)
        raw = isinstance(pattern, bytes)
        for begin, again, end in hostile(pattern.decode("latin-1") if raw else pattern):
            for method in methods:
                for size in (SIZE // 5, SIZE):
                    text = begin + again * (size // len(again)) + end
                    if used(tried, method, text.encode("latin-1", "replace") if raw else text) < FIFTH:
                        break
    print("all are linear")


if __name__ == "__main__":
    main()
