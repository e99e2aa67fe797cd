"""Read the elements of which an XML document holds many by one expression for all that are printed alike.

lxml needs longer to hand out an element than to parse it. Where the answers of a source hold the same small element again
and again (a scan), its shape is learned from one of them: its tags as they are printed, and a group for each text. What
matches a shape is well-formed by itself, so a run of such elements is taken out before anybody parses the document, and one
element that marks the place of them all stays. Whatever differs (a reference, an odd character, an attribute with a prefix)
is left where it is, and parsed. From what was read nobody can tell which way it took: a shape is a matter of speed alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from threading import Lock
from typing import Any, NamedTuple

MOST_SHAPES = 6  # of one element: each costs a look at every document
MOST_TRIES = 400  # to learn one, in a process: what has no shape is not looked at for ever
MARKS = "".join(map(chr, range(0xE000, 0xE000 + MOST_SHAPES)))
_ODD = f"{MARKS}\ufffe\uffff"  # what would be taken for a mark; and what is no character of XML
_DEEPEST = 8
_MARKED = re.compile("&#(?:[xX]0*[eE]0|0*573)")  # references to these
_LONGEST = 20_000  # characters of an element that a shape is learned from
_DECLARATION = re.compile(
    rb"<\?xml version=[\"']1\.0[\"'](?: encoding=[\"']([A-Za-z0-9._-]{1,40})[\"'])?(?: standalone=[\"'](?:yes|no)[\"'])? ?\?>\s*"
)
_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
_TEXT = r"[^<>&\x00-\x08\x0b-\x1f]*+"
_VALUE = r'[^"<>&\x00-\x1f]*+'
_BLANK = r"[ \t\n]*+"
_TOKEN = re.compile(r"<[^<>]*>|[^<>]+")
_TAG = re.compile(rf'<((?:{_NAME}:)?)({_NAME})((?: {_NAME}="{_VALUE}")*) ?(/?)>')
_ATTRIBUTE = re.compile(rf' ({_NAME})="')

Fields = list[tuple[str, Any]]  # what an object holds, by name: the fields of an object, or None where it is a text
Runs = dict[str, Iterator[list[Any]]]  # what was taken out, a run of elements for each time that a mark stands there


class Shape(NamedTuple):
    """How an element is printed: a group for each text of its fields, and the element with a mark in its place."""

    pattern: re.Pattern[str]
    fields: Fields
    mark: str
    place: str


class Rows:
    """The shapes that are known of the elements of one name, and of the attributes that matter in them."""

    def __init__(self, name: str, attributes: tuple[str, ...]) -> None:
        """Know none yet. `name`: the local one of the elements."""
        self.shapes: list[Shape] = []
        self.tries = MOST_TRIES
        self._lock = Lock()
        self._attributes = frozenset(attributes)
        self._begins = re.compile(rf"<(?:{_NAME}:)?{re.escape(name)}(?:[ /]|>(?![{MARKS}]))")

    def taken_out(self, body: bytes) -> tuple[bytes, Runs] | None:
        """Return a document with marks where elements were taken out, and those; None where nothing was."""
        text = _plain(body)
        if text is None:
            return None
        runs: Runs = {}
        for shape in self.shapes:
            parts = shape.pattern.split(text)
            if len(parts) > 1:
                text, runs[shape.mark] = _without(parts, shape)
        if self.tries > 0 and len(self.shapes) < MOST_SHAPES:
            self._learn(text)
        return (text.encode(), runs) if runs else None  # without a DOCTYPE

    def _learn(self, text: str) -> None:
        """Learn a shape for the next document from what was left of this one, where two elements or more have it."""
        for begins in islice(self._begins.finditer(text), 8):
            self.tries -= 1
            tokens = (found[0] for found in _TOKEN.finditer(text, begins.start(), begins.start() + _LONGEST))
            try:
                printed, _, fields = _element(tokens, tag := next(tokens), self._attributes)
            except (_Shapeless, StopIteration):
                continue
            pattern = re.compile(printed)
            if fields and len(pattern.findall(text)) > 1:
                self._add(pattern, fields, tag.strip("</>").partition(" ")[0])
                return

    def _add(self, pattern: re.Pattern[str], fields: Fields, tag: str) -> None:
        """Keep a shape; of threads that learned at once each has a mark of its own."""
        with self._lock:
            if len(self.shapes) < MOST_SHAPES and all(known.pattern is not pattern for known in self.shapes):
                mark = MARKS[len(self.shapes)]
                self.shapes.append(Shape(pattern, fields, mark, f"<{tag}>{mark}</{tag}>"))


@lru_cache(maxsize=64)
def rows_of(name: str, attributes: tuple[str, ...]) -> Rows:
    """Return the shapes that this process knows."""
    return Rows(name, attributes)


def _plain(body: bytes) -> str | None:
    """Return the text of a document without its declaration; None where it is not plain UTF-8, or holds more than elements."""
    declared = _DECLARATION.match(body) if body.startswith(b"<?") else None
    if declared is not None:
        encoding = declared[1]
        if encoding is not None and encoding.lower() not in (b"utf-8", b"utf8") and not body.isascii():
            return None
        body = body[declared.end() :]
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    if ("!" in text and "<!" in text) or ("?" in text and "<?" in text):  # one character is found ten times as fast
        return None
    if "&" in text and _MARKED.search(text):
        return None
    return text if text.isascii() or not any(odd in text for odd in _ODD) else None


def _without(parts: list[Any], shape: Shape) -> tuple[str, Iterator[list[Any]]]:
    """Put a text together again that was split by a shape, with a mark for each run of elements; and return the runs."""
    width = shape.pattern.groups + 1
    between = parts[::width]  # before the first, and behind each
    read = _objects(shape.fields, (_texts(parts[at::width]) for at in range(1, width)))
    inside = "".join(between[1:-1])
    if not inside or inside.isspace():
        return f"{between[0]}{shape.place}{between[-1]}", iter((read,))
    kept, runs, begins = [between[0]], list[list[Any]](), 0
    for at, after in enumerate(between[1:], 1):
        if at == len(read) or (after and not after.isspace()):
            kept += (shape.place, after)
            runs.append(read[begins:at])
            begins = at
    return "".join(kept), iter(runs)


def _texts(column: list[str | None]) -> list[Any]:
    """Return what all elements hold in one place: nothing in `<Comment/>`."""
    return ["" if text is None else text for text in column] if None in column else column


def _objects(fields: Fields, columns: Iterator[list[Any]]) -> list[Any]:
    """Return all elements of a document at once: value by value they would take twice as long."""
    names = [name for name, _ in fields]
    values = [next(columns) if its is None else _objects(its, columns) for _, its in fields]
    if len(names) == 1:
        (name,), (column,) = names, values
        return [{name: value} for value in column]
    return [dict(zip(names, row)) for row in zip(*values)]  # noqa: B905 - all as long as the elements are many


class _Shapeless(Exception):
    """An element of which no shape is made."""


def _element(
    tokens: Iterator[str],
    opening: str,
    attributes: frozenset[str],
    outer: tuple[str, str] | None = None,
    depth: int = 0,
) -> tuple[str, str, Fields | None]:
    """Return the pattern of an element whose opening tag was read, its local name, and its fields; None: it is a text.

    Raises _Shapeless, and StopIteration where the element does not end.
    """
    found = _TAG.fullmatch(opening)
    if found is None or depth > _DEEPEST or (outer and (found[1] != outer[0] or found[2] == outer[1])):
        raise _Shapeless  # a prefix that only it has would not be seen by the parser; one of its own kind is a row itself
    prefix, name, printed, closed = found.groups()
    pattern, fields = re.escape(f"<{prefix}{name}"), Fields()
    for attribute in _ATTRIBUTE.findall(printed):
        asked = attribute in attributes
        pattern += f' {re.escape(attribute)}="{f"({_VALUE})" if asked else _VALUE}"'
        fields += [(f"@{attribute}", None)] * asked
    if closed and fields:
        return f"{pattern} ?/>", name, _single(fields)
    ends = f"</{prefix}{name}>"
    token = ends if closed else next(tokens)
    if not closed and token[0] != "<":
        content, token = token, next(tokens)
        if token != ends and content.strip(" \t\n"):
            raise _Shapeless  # texts between elements
    if token == ends:
        if fields:
            raise _Shapeless  # whether they are told depends on the text
        return f"{pattern} ?(?:>({_TEXT}){re.escape(ends)}|/>)", name, None
    pattern += " ?>"
    while token != ends:
        if token[0] == "<":
            inner, child, its = _element(tokens, token, attributes, outer or (prefix, name), depth + 1)
            pattern += _BLANK + inner
            fields.append((child, its))
        elif token.strip(" \t\n"):
            raise _Shapeless
        token = next(tokens)
    return pattern + _BLANK + re.escape(ends), name, _single(fields)


def _single(fields: Fields) -> Fields:
    if len({name for name, _ in fields}) < len(fields):
        raise _Shapeless  # what stands there several times is a list
    return fields
