"""YAML 1.2 into plain values with the place of each: no aliases, no tags, no duplicate keys, secrets by reference."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yaml.cyaml import CParser
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from tracker.config.files import Unfit, read_bounded
from tracker.domain.errors import ConfigError
from tracker.domain.masking import Hidden, mask
from tracker.domain.policy import Policy

MOST_BYTES = 16 << 20  # some twenty thousand stores
MOST_VALUES = 500_000  # keys, values, lists and mappings together: what they cost grows with them, and a comma is one
MOST_SECRET = 64 << 10
MOST_DEPTH = 20
MOST_NUMBER = 1 << 63
MOST_QUOTED = 60  # characters of a wrong value that a problem shows
HANDED = "$CREDENTIALS_DIRECTORY/"
_REFERENCE = re.compile(r"\$\{(env|file):((?:\$CREDENTIALS_DIRECTORY/)?[^${}]+)\}")
_ODD = re.compile("[\x85\u2028\u2029\ufeff]")  # breaks of a line or nothing at all to YAML 1.1, letters to 1.2
_STR = "tag:yaml.org,2002:str"
_FALSE = frozenset({"false", "False", "FALSE"})
_CLASSES = {kind: re.compile(pattern, re.X) for kind, pattern in {
    "bool": r"(?:true|True|TRUE|false|False|FALSE)$",
    "float": r"""(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
        |[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    "int": r"(?:[-+]?0b[0-1_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+)$",
    "null": r"(?:~|null|Null|NULL)$",
    "merge": r"<<$",
    "value": r"=$",
}.items()}  # fmt: skip
# what a plain text can be, by its first letter, in this order: the rules of YAML 1.2, so that no, on, 0644 and 12:30 are what they look like
_KINDS = {
    **dict.fromkeys("tTfF", ("bool",)), **dict.fromkeys("-+0123456789", ("float", "int")), ".": ("float",),
    **dict.fromkeys("~nN", ("null",)), "<": ("merge",), "=": ("value",),
}  # fmt: skip
Path_ = tuple[str | int, ...]


class Problem(str):
    """What is wrong, in one line, and with which key."""

    path: Path_
    away: bool

    def __new__(cls, text: str, path: Path_ = (), *, away: bool = False) -> Problem:
        """Say it of a path; `()`: of the file as a whole. `away`: a reference leads nowhere, which says nothing of the settings."""
        problem = super().__new__(cls, text)
        problem.path, problem.away = path, away
        return problem


@dataclass
class Document:
    """Plain values, where each stands, and which of them came from references: those are hidden while it is held."""

    file: str
    value: Any = None
    marks: dict[Path_, tuple[str, int, int]] = field(default_factory=dict)  # the file, the line, the column
    references: dict[Path_, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    hidden: Hidden = field(default_factory=Hidden)
    secrets: set[Path_] = field(default_factory=set)  # where a secret is wanted
    policies: dict[str, tuple[Policy, str]] = field(
        default_factory=dict
    )  # those made of it, and what each is hashed to

    notes: list[str] = field(default_factory=list)  # what is allowed, and worth knowing
    files: list[str] = field(default_factory=list)  # that were included, and the folders that were
    size: int = 0  # bytes
    count: int = 0  # of what stands in it and in the files read before it
    borrowed: dict[Path_, Path_] = field(
        default_factory=dict
    )  # what an entry has of `defaults:`, and where it stands there

    def origin(self, path: Path_) -> Path_:
        """Return where a value of an entry is written: in the entry, or in `defaults:`."""
        for end in range(len(path), 0, -1) if self.borrowed else ():
            if (found := self.borrowed.get(path[:end])) is not None:
                return (*found, *path[end:])
            if path[:end] in self.marks:
                break
        return path

    def at(self, path: Path_) -> str:
        """Return `file:line:column` of a path, or of the nearest parent that stands in the file."""
        path = self.origin(path)
        while path and path not in self.marks:
            path = path[:-1]
        file, line, column = self.marks.get(path, (self.file, 1, 1))
        return f"{file}:{line}:{column}"

    def problem(self, path: Path_, said: str, *, away: bool = False) -> None:
        """Note a problem at a path."""
        path = self.origin(path)
        key = ".".join(str(part)[:MOST_QUOTED] for part in path) or "(file)"
        self.problems.append(Problem(mask(f"{self.at(path)}: {key}: {said}"), path, away=away))

    def say(self, part: Document, path: Path_, said: str) -> None:
        """Note a problem of another document, which is read into this one."""
        part.problem(path, said)
        self.problems.append(part.problems.pop()) if part is not self else None

    def problem_at(self, place: tuple[str, int, int], path: Path_, said: str) -> None:
        """Note a problem of a path at another place than its own."""
        file, line, column = place
        key = ".".join(str(part)[:MOST_QUOTED] for part in path)
        self.problems.append(Problem(mask(f"{file}:{line}:{column}: {key}: {said}"), path))


class _Refused(Exception):
    """What is YAML, and more than a file of ours may hold: `line:column: what`."""

    def __init__(self, mark: Any, said: str) -> None:
        super().__init__(f"{mark.line + 1}:{mark.column + 1}: {said}")


class _Events:
    """What stands in a file, piece by piece; aliases, deep nesting and too many pieces are refused as soon as they come."""

    def __init__(self, text: str, before: int = 0) -> None:
        self._parser = CParser(text)
        self._nested = 0
        self.count = before

    def next(self) -> Any:
        """Return the next piece."""
        event: Any = self._parser.get_event()
        kind = type(event)
        if kind is ScalarEvent:
            pass
        elif kind is AliasEvent:
            raise _Refused(event.start_mark, "aliases (*) are not allowed: write it out")
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            self._nested += 1
            if self._nested > MOST_DEPTH:
                raise _Refused(event.start_mark, f"nested deeper than {MOST_DEPTH}")
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            self._nested -= 1
        elif kind is DocumentStartEvent and event.version not in (None, (1, 2)):
            raise _Refused(event.start_mark, "is read as YAML 1.2: take the directive %YAML away")
        self.count += 1
        if self.count > MOST_VALUES:
            raise _Refused(event.start_mark, f"holds more than {MOST_VALUES} keys and values")
        return event

    def skip(self, event: Any) -> None:
        """Pass over a value that nobody wants."""
        if type(event) is ScalarEvent:
            return
        before = self._nested
        while self._nested >= before:
            self.next()


def quoted(value: Any) -> str:
    """Return what somebody wrote, short enough to stand in a problem."""
    text = str(value)
    return repr(text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED]}...")


def read(path: Path) -> Document:
    """Read a file. Raises ConfigError where it cannot be read at all; other problems are collected in the document."""
    try:
        raw = read_bounded(path, MOST_BYTES)
    except Unfit as error:
        raise ConfigError(f"{path}: {error}") from None
    return parse(raw, str(path), path.parent)


def parse(raw: bytes, name: str, folder: Path, *, hidden: Hidden | None = None, before: int = 0) -> Document:
    """Parse YAML bytes; `folder` is where relative secret files lie.

    `hidden`: takes the secrets too; `before`: how much was read already, of what there may be.
    """
    document = Document(name, hidden=hidden or Hidden(), size=len(raw))
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{name}: is larger than {MOST_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: is not UTF-8 at byte {error.start}") from None
    if odd := _ODD.search(text):
        head = text[: odd.start()]
        place = f"{head.count(chr(10)) + 1}:{len(head) - head.rfind(chr(10))}"
        said = f"write U+{ord(odd[0]):04X} as \\u{ord(odd[0]):04x} in double quotes"
        raise ConfigError(f"{name}:{place}: not YAML: {said}")
    try:
        events = _Events(text, before)
        document.value = _content(events, document, folder)
        document.count = events.count
    except _Refused as error:
        raise ConfigError(f"{name}:{error}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = text.splitlines() or [""]
        row = min(mark.line, len(lines) - 1) if mark else 0
        column = (mark.column if mark.line == row else len(lines[row])) + 1 if mark else 1
        where, line = f":{row + 1}:{column}" if mark else "", lines[row] if mark else ""
        hint = ' (inside [ ] and { } put references into quotes: "${env:NAME}")' if "${" in line else ""
        raise ConfigError(mask(f"{name}{where}: not YAML: {error.problem or error.context}{hint}")) from None
    except (YAMLError, ValueError, RecursionError) as error:
        said = " ".join(mask(str(error)).split())[:100]
        raise ConfigError(f"{name}: not YAML: {said}") from None
    return document


def _content(events: _Events, document: Document, folder: Path) -> Any:
    """Return the value of the one document that stands in a stream, None where there is none."""
    events.next()
    event = events.next()
    if type(event) is StreamEndEvent:
        return None
    value = _value(events.next(), (), events, document, folder)
    events.next()
    event = events.next()
    if type(event) is not StreamEndEvent:
        raise _Refused(event.start_mark, "not YAML: but found another document")
    return value


def _value(event: Any, path: Path_, events: _Events, document: Document, folder: Path) -> Any:
    kind = type(event)
    if kind is ScalarEvent:
        return _scalar(event, path, document, folder)
    _mark(event, path, document)
    if kind is MappingStartEvent:
        found: dict[str, Any] = {}
        while type(event := events.next()) is not MappingEndEvent:
            if type(event) is not ScalarEvent:
                document.problem(path, "a key must be a plain text")
                events.skip(event)
                events.skip(events.next())
                continue
            key = str(event.value)
            if key in found:
                mark = event.start_mark
                document.problem_at(
                    (document.file, mark.line + 1, mark.column + 1), (*path, key), "the key is there twice"
                )
                events.skip(events.next())
                continue
            below = (*path, key)
            _mark(event, below, document)
            found[key] = _value(events.next(), below, events, document, folder)
        return found
    items: list[Any] = []
    while type(event := events.next()) is not SequenceEndEvent:
        items.append(_value(event, (*path, len(items)), events, document, folder))
    return items


def _mark(event: Any, path: Path_, document: Document) -> None:
    if path not in document.marks:
        mark = event.start_mark
        document.marks[path] = document.file, mark.line + 1, mark.column + 1


def _kind(text: str) -> str:
    """Tell what a plain text is."""
    if not text:
        return "null"
    for kind in _KINDS.get(text[0], ()):
        if _CLASSES[kind].match(text):
            return kind
    return "str"


def _scalar(event: Any, path: Path_, document: Document, folder: Path) -> Any:
    _mark(event, path, document)
    text, tag = str(event.value), event.tag
    if tag == "!":  # of nothing: it says no more than nothing does
        tag = None
    elif tag is None and not event.implicit[0]:
        tag = _STR
    kind = _kind(text) if tag is None else tag.rpartition(":")[2]
    tag = tag or f"tag:yaml.org,2002:{kind}"
    if kind == "null":
        return None
    if kind == "bool":
        return text not in _FALSE
    try:
        if kind == "int":
            number = int(text.replace("_", ""), 0) if text.lstrip("+-").lower().startswith(("0x", "0o")) else int(text)
            return number if abs(number) < MOST_NUMBER else text  # Python refuses to spell one of 5,000 letters
        if kind == "float":
            return float(text)
    except ValueError:
        return text
    if kind not in ("str", "timestamp"):
        document.problem(path, f"the tag {tag} is not allowed")
        return None
    if "${" not in text:
        return text
    match = _REFERENCE.fullmatch(text)
    if match is None:
        document.problem(path, "a reference must be the whole value: ${env:NAME} or ${file:PATH}")
        return text
    document.references[path] = f"{match[1]}:{match[2]}"
    value = _resolve(match[1], match[2], path, document, folder)
    if value.encode("utf-8", "replace").decode() != value:
        document.problem(path, f"the environment variable {match[2]} is not UTF-8")
    document.hidden.add(value)
    return value


def _resolve(kind: str, name: str, path: Path_, document: Document, folder: Path) -> str:
    if kind == "env":
        value = os.environ.get(name)
        if not value:
            document.problem(
                path, f"the environment variable {name} is {'empty' if value == '' else 'not set'}", away=True
            )
        return value or ""
    if name.startswith(HANDED):  # what systemd hands to a unit lies in a folder of its own
        if not (handed := os.environ.get(HANDED[1:-1])):
            document.problem(
                path, f"{HANDED[1:-1]} is not set: the unit of systemd hands it to what it starts", away=True
            )
            return ""
        name = f"{handed}/{name.removeprefix(HANDED)}"
    file = folder / name
    try:
        value = read_bounded(file, MOST_SECRET, secret=True).decode("utf-8-sig").strip()
    except (Unfit, UnicodeDecodeError) as error:
        said = error if isinstance(error, Unfit) else "is not UTF-8"
        document.problem(path, f"the secret file {file} {said}", away=True)
        return ""
    if not value:
        document.problem(path, f"the secret file {file} is empty", away=True)
    return value
