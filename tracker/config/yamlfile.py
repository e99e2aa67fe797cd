"""YAML 1.2 into plain values with the place of each: no aliases, no tags, no duplicate keys, secrets by reference."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tracker.config.files import Unfit, read_bounded
from tracker.domain.errors import ConfigError
from tracker.domain.masking import Hidden, mask

MOST_BYTES = 256 << 10  # a thousand accounts; a mebibyte of commas would be read for half a minute
MOST_SECRET = 64 << 10
MOST_DEPTH = 20
MOST_NUMBER = 1 << 63
MOST_QUOTED = 60  # characters of a wrong value that a problem shows
_REFERENCE = re.compile(r"\$\{(env|file):([^${}]+)\}")
_FALSE = frozenset({"false", "False", "FALSE"})
Path_ = tuple[str | int, ...]


@dataclass
class Document:
    """Plain values, where each stands, and which of them came from references: those are hidden while it is held."""

    file: str
    value: Any = None
    marks: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    references: dict[Path_, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    hidden: Hidden = field(default_factory=Hidden)
    secrets: set[Path_] = field(default_factory=set)  # where a secret is wanted

    def at(self, path: Path_) -> str:
        """Return `file:line:column` of a path, or of the nearest parent that stands in the file."""
        while path and path not in self.marks:
            path = path[:-1]
        line, column = self.marks.get(path, (1, 1))
        return f"{self.file}:{line}:{column}"

    def problem(self, path: Path_, said: str) -> None:
        """Note a problem at a path."""
        key = ".".join(str(part)[:MOST_QUOTED] for part in path) or "(file)"
        self.problems.append(mask(f"{self.at(path)}: {key}: {said}"))


class _Refused(Exception):
    """What is YAML, and more than a file of ours may hold: `line:column: what`."""

    def __init__(self, mark: Any, said: str) -> None:
        super().__init__(f"{mark.line + 1}:{mark.column + 1}: {said}")


class _Plain(Composer):
    """Builds nodes; refuses aliases and deep nesting as soon as they come: files are read once."""

    nested = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Build the next node."""
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            raise _Refused(event.start_mark, "aliases (*) are not allowed: write it out")
        deeper = isinstance(event, CollectionStartEvent)
        self.nested += deeper
        if self.nested > MOST_DEPTH:  # at once: the time that ruamel takes grows with the square of the depth
            raise _Refused(event.start_mark, f"nested deeper than {MOST_DEPTH}")
        node = super().compose_node(parent, index)
        self.nested -= deeper
        return node


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


def parse(raw: bytes, name: str, folder: Path) -> Document:
    """Parse YAML bytes; `folder` is where relative secret files lie."""
    document = Document(name)
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{name}: is larger than {MOST_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: is not UTF-8 at byte {error.start}") from None
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Plain
    try:
        node = yaml.compose(text)
    except _Refused as error:
        raise ConfigError(f"{name}:{error}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
        hint = ' (inside [ ] and { } put references into quotes: "${env:NAME}")' if "${" in line else ""
        raise ConfigError(mask(f"{name}{where}: not YAML: {error.problem or error.context}{hint}")) from None
    except (YAMLError, ValueError, RecursionError) as error:
        said = " ".join(mask(str(error)).split())[:100]
        raise ConfigError(f"{name}: not YAML: {said}") from None
    document.value = None if node is None else _value(node, (), document, folder)
    return document


def _value(node: Node, path: Path_, document: Document, folder: Path) -> Any:
    document.marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                document.problem(path, "a key must be a plain text")
                continue
            key = str(key_node.value)
            mark = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key in found:
                document.problems.append(
                    f"{document.file}:{mark[0]}:{mark[1]}: {'.'.join(map(str, (*path, key)))}: the key is there twice"
                )
                continue
            document.marks[(*path, key)] = mark
            found[key] = _value(value_node, (*path, key), document, folder)
        return found
    if isinstance(node, SequenceNode):
        return [_value(item, (*path, i), document, folder) for i, item in enumerate(node.value)]
    return _scalar(node, path, document, folder)


def _scalar(node: Any, path: Path_, document: Document, folder: Path) -> Any:
    text, tag = str(node.value), str(node.tag)
    kind = tag.rpartition(":")[2]
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
            document.problem(path, f"the environment variable {name} is {'empty' if value == '' else 'not set'}")
        return value or ""
    file = folder / name
    try:
        value = read_bounded(file, MOST_SECRET, secret=True).decode("utf-8").strip()
    except (Unfit, UnicodeDecodeError) as error:
        document.problem(path, f"the secret file {file} {error if isinstance(error, Unfit) else 'is not UTF-8'}")
        return ""
    if not value:
        document.problem(path, f"the secret file {file} is empty")
    return value
