"""Several files as one: `include:` names files and folders; each is as strict as the main file, and says its own places."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tracker.config.files import Unfit, read_bounded
from tracker.config.yamlfile import MOST_BYTES, MOST_DEPTH, Document, Path_, Problem, parse, read
from tracker.domain.errors import ConfigError

JOINED = ("accounts", "stores")  # whose names may stand in several files
SUFFIXES = (".yaml", ".yml")


def read_all(path: Path, instead: Mapping[str, Path] | None = None) -> Document:
    """Read a file and all that it includes; `instead`: another one in the place of an included one, by its real path.

    Raises ConfigError where the main file cannot be read at all.
    """
    return with_included(read(path), path.parent, instead or {})


def with_included(document: Document, folder: Path, instead: Mapping[str, Path]) -> Document:
    """Read what a document includes into it; `folder`: where relative names begin."""
    if isinstance(document.value, dict) and "include" in document.value:
        _Files(document, instead).take(document, folder, (_identity(Path(document.file)),))
    return document


def _identity(path: Path) -> str:
    return os.path.realpath(path)


class _Files:
    """All files of one configuration."""

    def __init__(self, main: Document, instead: Mapping[str, Path]) -> None:
        self.main, self.instead = main, instead
        self.places = {_identity(Path(main.file)): main.file}  # of each file, where it is included
        self.left = MOST_BYTES - main.size

    def take(self, part: Document, folder: Path, chain: tuple[str, ...]) -> None:
        """Read the files that a document names, and those that they name."""
        named = part.value.get("include")
        names = [named] if isinstance(named, str) else named
        if names is None:
            return
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            self.main.say(part, ("include",), "must be a file or a folder, or a list of them")
            return
        for i, name in enumerate(names):
            at: Path_ = ("include", i) if isinstance(named, list) else ("include",)
            if at in part.references:
                self.main.say(part, at, "must be the name of a file or a folder, no reference")
                continue
            for file in self.files(folder / name, part, at):
                self.include(file, part, at, chain)

    def files(self, path: Path, part: Document, at: Path_) -> list[Path]:
        """Return the files of a name: itself, or all YAML files of a folder and of those in it, in the order of their names."""
        try:
            if not path.is_dir():
                return [path]
            found = list(self.within(path, set()))
        except (OSError, ValueError) as error:
            where = getattr(error, "filename", None) or path
            why = getattr(error, "strerror", None) or "that is no file name"
            self.main.say(part, at, f"{where}: cannot be read: {why}")
            return []
        if not found:
            self.main.say(part, at, f"the folder {path} holds no YAML file")
        return found

    def within(self, folder: Path, seen: set[str]) -> Iterator[Path]:
        """Walk the YAML files of a folder and of the folders in it, by name; hidden ones are left out, and each is entered once, links or not."""
        identity = _identity(folder)
        if identity in seen:
            return
        seen.add(identity)
        self.main.files.append(str(folder))
        for one in sorted(folder.iterdir()):
            if one.name.startswith("."):
                continue
            if one.is_dir():
                yield from self.within(one, seen)
            elif one.suffix in SUFFIXES:
                yield one

    def include(self, file: Path, part: Document, at: Path_, chain: tuple[str, ...]) -> None:
        """Read one file, and add what it says."""
        identity, place = _identity(file), part.at(at)
        if identity in chain:
            names = " -> ".join(Path(one).name for one in (*chain[chain.index(identity) :], identity))
            self.main.say(part, at, f"{file} includes itself: {names}")
            return
        if identity in self.places:
            self.main.say(part, at, f"{file} is included twice, first at {self.places[identity]}")
            return
        if len(chain) > MOST_DEPTH:
            self.main.say(part, at, f"files are included deeper than {MOST_DEPTH}")
            return
        self.places[identity] = place
        try:
            raw = read_bounded(self.instead.get(identity, file), MOST_BYTES)
        except Unfit as error:
            self.main.say(part, at, f"{file} {error}")
            return
        self.left -= len(raw)
        if self.left < 0:
            self.main.say(part, at, f"{file}: all files together are larger than {MOST_BYTES} bytes")
            return
        self.main.files.append(str(file))
        try:
            inner = parse(raw, str(file), file.parent, hidden=self.main.hidden, before=self.main.count)
        except ConfigError as error:
            self.main.problems += map(Problem, error.problems)
            return
        self.main.count = inner.count
        self.main.problems += inner.problems
        if inner.value is None:
            return
        if not isinstance(inner.value, dict):
            self.main.say(inner, (), "must be a mapping of sections such as accounts: and stores:")
            return
        self.add(inner)
        self.take(inner, file.parent, (*chain, identity))

    def add(self, inner: Document) -> None:
        """Add what a file says: names to their section, any other key as it is; what is there already is told with both places."""
        main, refused = self.main, set[Path_]()
        for key, value in inner.value.items():
            if key == "include":
                refused.add((key,))
            elif key in JOINED and isinstance(value, dict) and isinstance(main.value.get(key) or {}, dict):
                there: dict[str, Any] = main.value[key] if main.value.get(key) else {}
                main.value[key] = there
                for name, entry in value.items():
                    if name in there:
                        refused.add((key, name))
                        main.say(inner, (key, name), f"is there already, at {main.at((key, name))}")
                    else:
                        there[name] = entry
            elif key not in main.value:
                main.value[key] = value
            elif not (key in JOINED and value is None):
                refused.add((key,))
                main.say(inner, (key,), f"is there already, at {main.at((key,))}")
        for path, mark in inner.marks.items():
            if path[:1] not in refused and path[:2] not in refused:
                main.marks.setdefault(path, mark)
        for path, reference in inner.references.items():
            if path[:1] not in refused and path[:2] not in refused:
                main.references[path] = reference
