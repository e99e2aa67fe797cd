"""Documents in which one piece is broken, for the conformance suite.

Of each list of three objects one element is taken: it, and every leaf and branch in it, is in turn missing, null, of another
type, empty and absurd (of XML also there twice). What the other elements tell must stay what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from tracker.plugin.conformance import documents
from tracker.plugin.conformance.documents import RAW_JSON, RAW_XML, Xml


class Form(NamedTuple):
    """How documents are written: bytes to a tree of objects, lists and texts, and back, whatever stands in the tree by then."""

    load: Callable[[bytes], Any]
    dump: Callable[[Any], bytes]


Parts = Sequence[Any]  # the documents of a payload
MISSING: Any = object()
MAY_CHANGE = frozenset({"complete", "partial"})  # what a report or order says of itself where a piece of it is missing


WAYS: Mapping[str, Sequence[Any]] = {
    "missing": (MISSING,),
    "null": (None,),
    "of another type": (7, "x", True, 1.5, [None], {"x": 1}),
    "empty": ("", [], {}),
    "absurd": (
        "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "00010101", "99991231", "Mon, 01 Jan 0001 00:00:00 +1400",
        "Fri, 31 Dec 9999 23:59:59 -1400", *RAW_JSON, "a\x00z", "x" * 4096, "\u0661\u0662\u0663", -1, 2**63,
    ),
}  # fmt: skip
TWICE: Any = object()
XML_WAYS: Mapping[str, Sequence[Any]] = {
    "missing": (MISSING,),
    "null": (None,),
    "of another type": ("x", {"x": "1"}, TWICE),
    "empty": ("",),
    "absurd": (
        "0001-01-01T00:00:00+14:00", "99991231", "Fri, 31 Dec 9999 23:59:59 -1400", *RAW_XML, "x" * 4096,
        "\u0661\u0662\u0663", "-1",
    ),
}  # fmt: skip


class Three(NamedTuple):
    """A list of three objects inside one of the documents."""

    where: str
    part: int
    items: list[Any]


class Change(NamedTuple):
    """A payload with one piece broken, and which."""

    where: str
    how: str
    bodies: tuple[bytes, ...]


def threes(parts: Parts) -> list[Three]:
    """Find the lists of exactly three objects, wherever they are."""
    return [Three(where, at, items) for at, part in enumerate(parts) for where, items in _threes(part, "$")]


def _threes(node: Any, where: str) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(node, list) and len(node) == 3 and all(isinstance(item, dict) for item in node):
        yield where, node
    for key, path in _inside(node, where):
        yield from _threes(node[key], path)


def _inside(node: Any, where: str) -> Iterator[tuple[Any, str]]:
    if isinstance(node, dict):
        yield from ((key, f"{where}.{key}") for key in list(node) if not key.startswith("@xmlns"))
    elif isinstance(node, list):
        yield from ((at, f"{where}[{at}]") for at in range(len(node)))


def bodies(parts: Parts, form: Form) -> tuple[bytes, ...]:
    """Print the documents."""
    return tuple(map(form.dump, parts))


JSON = Form(documents.read, documents.printed)  # and XML, which is told by its first byte


def without(parts: Parts, three: Three, form: Form, which: int = 1) -> tuple[bytes, ...]:
    """Print the payload without one element of the list."""
    taken = three.items.pop(which)
    try:
        return bodies(parts, form)
    finally:
        three.items.insert(which, taken)


def changes(parts: Parts, three: Three, form: Form, which: int = 1) -> Iterator[Change]:
    """Yield the payload with one element of the list broken: it, and each leaf and branch in it, in every way."""
    told = list(bodies(parts, form))
    ways = XML_WAYS if isinstance(parts[three.part], Xml) else WAYS
    nodes = [(three.items, which, f"{three.where}[{which}]")]
    while nodes:
        holder, key, where = nodes.pop()
        kept = holder[key]
        nodes += [(kept, inner, path) for inner, path in _inside(kept, where)]
        for how, values in ways.items():
            for value in values:
                if (how == "of another type" and _same(value, kept, ways)) or not _can_be(key, value):
                    continue
                if value is MISSING:
                    copy = list(holder) if isinstance(holder, list) else dict(holder)
                    _take(holder, key)
                else:
                    holder[key] = [kept, kept] if value is TWICE else value
                told[three.part] = form.dump(parts[three.part])
                if value is MISSING:
                    _put_back(holder, copy)
                else:
                    holder[key] = kept
                what = "twice" if value is TWICE else f"{value!r:.40}"
                yield Change(where, how if value is MISSING or value is None else f"{how}: {what}", tuple(told))


def _same(value: Any, kept: Any, ways: Mapping[str, Sequence[Any]]) -> bool:
    """Say whether a value is of the type of that whose place it takes: in XML a list and its one element look the same."""
    return type(value) is type(kept) or (ways is XML_WAYS and isinstance(kept, list) and isinstance(value, dict))


def _can_be(key: Any, value: Any) -> bool:
    """Say whether a value can stand there: an attribute and the text beside it are texts."""
    return value is MISSING or isinstance(value, str) or not str(key).startswith(("@", "#"))


def _take(holder: Any, key: Any) -> None:
    del holder[key]


def _put_back(holder: Any, copy: Any) -> None:
    holder.clear()
    (holder.extend if isinstance(holder, list) else holder.update)(copy)


def still_told(told: Sequence[Any], rest: Sequence[Any], whole: Sequence[Any]) -> list[Any]:
    """Return what is not told any more of `rest`, the facts of a payload without the broken element.

    `whole` are the facts of the payload before it was broken: what the element has no part in must be told word for word,
    and of what it has a part in (its order, its parcel) all else must be.
    """
    return [
        one for one in rest if not (one in told if one in whole else any(_holds(other, one, whole) for other in told))
    ]


def _holds(told: Any, rest: Any, whole: Sequence[Any]) -> bool:
    """Say whether a fact still tells all that it tells without the broken element."""
    if told == rest:
        return True
    if is_dataclass(rest) and type(told) is type(rest):
        return all(
            _holds(
                getattr(told, f.name),
                getattr(rest, f.name),
                [getattr(w, f.name) for w in whole if type(w) is type(rest)],
            )
            for f in fields(rest)
            if f.name not in MAY_CHANGE
        )
    if isinstance(rest, tuple) and isinstance(told, tuple):
        inner = [one for some in whole if isinstance(some, tuple) for one in some]
        return all(any(_holds(other, one, inner) for other in told) for one in rest)
    return told in whole
