"""The texts of mails: ours, and a merchant's own in their place. What a text may not be is refused when it is read.

A text is a Jinja2 template with few variables, all of them plain texts of one line; the only date is an estimate that is labelled
as one (`tracker.domain.notices.estimate`), so no template can render another.
"""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tracker.config.files import Unfit, read_bounded
from tracker.domain.mails import LANGUAGES, MAILED, capital, forbidden, plain
from tracker.domain.notices import estimate
from tracker.domain.vocabulary import NoticeClass

OURS = Path(__file__).with_name("mails")
PAGE = "page.html"
VALUES = ("order", "carrier", "number", "estimate", "place", "shop", "language")
OF_PAGE = ("subject", "paragraphs", *VALUES)
MOST = 100_000  # bytes of a template
MOST_SUBJECT = 200  # signs
SUBJECT = "Subject: "
NAMES = (
    *(f"{language}/{kind}.{end}" for language in LANGUAGES for kind in sorted(MAILED) for end in ("txt", "html")),
    PAGE,
)
# What makes a reader's program call somebody: pictures, styles and scripts of elsewhere. A link is only followed by who clicks.
_CALLS = re.compile(
    r"<\s*(?:img|script|iframe|link|object|embed|video|audio|form|base)\b|\bsrc(?:set)?\s*=|\bbackground\s*=|url\s*\(|@import",
    re.IGNORECASE,
)
_AT = datetime(2026, 11, 5, 18, tzinfo=UTC)
_SAMPLE = {"order": "#1001", "carrier": "UPS", "number": "1Z9999999999999999", "shop": "Acme"}


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in words: its subject in one line, and its text as such and as HTML."""

    subject: str
    text: str
    html: str


class Wording:
    """All texts of mails, read once. `problems`: what is wrong with the merchant's own, each with its file and line."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read ours, and those of a folder, which beat them."""
        self.problems: list[str] = []
        self._files: dict[str, tuple[str, Path]] = {}
        for name in NAMES:
            if (path := OURS / name).exists():
                self._files[name] = path.read_text(encoding="utf-8"), path
        own = self._read_own(folder) if folder is not None else []
        self._made = ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined, autoescape=lambda name: bool(name and name.endswith(".html")),
            trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, loader=jinja2.FunctionLoader(self._load),
        )  # fmt: skip
        sound = [name for name in own if self._is_sound(name)]
        if len(sound) == len(own):
            self._try(own)

    def write(self, kind: NoticeClass, language: str, values: Mapping[str, str]) -> Mail:
        """Write a mail. `values`: by the names in VALUES, all but the language; whatever they hold is one line of plain text in it.

        Raises jinja2.TemplateError for what only these values make wrong.
        """
        given = {name: plain(values.get(name, "")) for name in VALUES} | {"language": language}
        told = self._made.get_template(f"{language}/{kind}.txt").render(given)
        first, _, body = told.partition("\n")
        subject = plain(first.removeprefix(SUBJECT))[:MOST_SUBJECT]
        text = re.sub(r"\n{3,}", "\n\n", body.strip()) + "\n"
        paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
        name = f"{language}/{kind}.html" if f"{language}/{kind}.html" in self._files else PAGE
        html = self._made.get_template(name).render(given | {"subject": subject, "paragraphs": paragraphs})
        return Mail(subject, text, html)

    def _load(self, name: str) -> tuple[str, str, Callable[[], bool]]:
        if name not in self._files:
            raise jinja2.TemplateNotFound(name)
        source, path = self._files[name]
        return source, str(path), lambda: True

    def _read_own(self, folder: Path) -> list[str]:
        found = []
        try:
            paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
            if not folder.is_dir():
                self.problems.append(f"{folder} is no folder")
        except OSError as error:
            self.problems.append(f"{folder} cannot be read: {error.strerror}")
            return []
        for path in paths:
            name = path.relative_to(folder).as_posix()
            if name not in NAMES:
                near = difflib.get_close_matches(name, NAMES, 1)
                hint = f"did you mean {near[0]}?" if near else f"known: {PAGE}, and such as {NAMES[0]}"
                self.problems.append(f"{path}: no text has this name; {hint}")
                continue
            try:
                self._files[name] = read_bounded(path, MOST).decode("utf-8"), path
                found.append(name)
            except Unfit as error:
                self.problems.append(f"{path}: {error}")
            except UnicodeDecodeError:
                self.problems.append(f"{path}: is no UTF-8")
        return found

    def _is_sound(self, name: str) -> bool:
        """Say whether a template can be read, uses what there is, and says nothing that no text may say."""
        source, path = self._files[name]
        before = len(self.problems)
        try:
            tree = self._made.parse(source, name, str(path))
        except jinja2.TemplateSyntaxError as error:
            self.problems.append(f"{path}:{error.lineno}: {error.message}")
            return False
        known = OF_PAGE if name.endswith(".html") else VALUES
        for unknown in sorted(meta.find_undeclared_variables(tree) - set(known)):
            line = next((one.lineno for one in tree.find_all(nodes.Name) if one.name == unknown), 1)
            near = difflib.get_close_matches(unknown, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            self.problems.append(f"{path}:{line}: unknown variable {unknown}; {hint}")
        if name.endswith(".txt") and not source.startswith(SUBJECT):
            self.problems.append(f"{path}:1: must begin with a line `{SUBJECT}...`")
        self.problems += [f"{path}:{line}: {said}" for line, said in _wrong(source, name)]
        return len(self.problems) == before

    def _try(self, own: list[str]) -> None:
        """Write each mail that a merchant's text is part of, with all values and with few: what only then shows is told too."""
        whole = {*own}
        for language in LANGUAGES:
            for kind in sorted(MAILED):
                names = {f"{language}/{kind}.txt", f"{language}/{kind}.html", PAGE}
                if not names & whole:
                    continue
                for more in ({}, {"estimate": capital(estimate(_AT, language)), "place": "RENO"}):
                    self._try_one(kind, language, {**_SAMPLE, **more}, sorted(names & whole))

    def _try_one(self, kind: NoticeClass, language: str, values: Mapping[str, str], names: list[str]) -> None:
        path = self._files[names[0]][1]
        try:
            mail = self.write(kind, language, values)
        except Exception as error:  # of the template's making: whatever it does there, it would do again
            frames = [
                one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(str(path.parent))
            ]
            at = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else f"{path}:1"
            self._tell(f"{at}: {type(error).__name__}: {str(error)[:200]}")
            return
        for text, name in (
            (f"{mail.subject}\n{mail.text}", f"{language}/{kind}.txt"),
            (mail.html, f"{language}/{kind}.html"),
        ):
            for _, said in _wrong(text, name):
                self._tell(f"{path}: written out, it {said}")

    def _tell(self, said: str) -> None:
        if said not in self.problems:
            self.problems.append(said)


def _wrong(text: str, name: str) -> Iterator[tuple[int, str]]:
    languages = [language for language in LANGUAGES if name.startswith(f"{language}/")] or LANGUAGES
    for language in languages:
        for line, phrase in forbidden(text, language):
            yield line, f"says {phrase!r}: no text may guarantee or blame (KE-17)"
    if name.endswith(".html"):
        for i, row in enumerate(text.splitlines(), 1):
            if (found := _CALLS.search(row)) is not None:
                yield (
                    i,
                    f"holds {found[0]!r}: a mail asks nobody for anything, so no pictures, styles or scripts of elsewhere",
                )
