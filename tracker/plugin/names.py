"""What carriers are called: one table of our ids and of everybody's words for them (`carriers.csv`).

A word means the same however it is spelt: case, spaces and punctuation do not count (`Royal Mail`, `royal-mail`, `ROYALMAIL`).
Some words are one platform's or aggregator's own (`said_by`): AfterShip's slugs, 17TRACK's numbers. Who reads them names those
vocabularies; they come first, then everybody's. What is in no vocabulary means no carrier: nothing is guessed.
"""

from __future__ import annotations

import csv
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("carriers.csv")
EVERYBODY = ""
_COLUMNS = ["carrier", "said_by", "word", "call", "evidence"]
_APART = re.compile(r"[\W_]+")
_ID = re.compile(r"[a-z0-9][a-z0-9_]*")


class Word(NamedTuple):
    """One word for a carrier: our id, whose word it is (`EVERYBODY`), and where that is said."""

    carrier: str
    said_by: str
    word: str
    place: str | type  # file:line, or the plugin that declares it
    call: bool = False  # it is the one that we say when we call who says it


class Names(NamedTuple):
    """What one reader knows: the carrier that each word means, and its own word for each carrier in calls."""

    known: Mapping[str, str]
    words: Mapping[str, str]


def spelt(word: str) -> str:
    """Return what of a word counts: its letters and digits, in lower case."""
    return _APART.sub("", word.lower())


@cache
def read_words(file: Path = FILE) -> tuple[Word, ...]:
    """Read the table: carrier, said_by (empty: everybody), word, call (`yes`: we say it to them), evidence.

    A carrier's id is a word of everybody's. Raises ValueError with file and line of each row that cannot stand.
    """
    found: list[Word] = []
    wrong: list[str] = []
    with file.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        if rows.fieldnames != _COLUMNS:
            raise ValueError(f"{file.name}:1: the columns are {', '.join(_COLUMNS)}")
        for line, row in enumerate(rows, start=2):
            place, carrier = f"{file.name}:{line}", row["carrier"]
            problem = _problem(row)
            if problem:
                wrong.append(f"{place}: {problem}")
                continue
            first = not any(one.carrier == carrier for one in found[-1:])
            found.append(Word(carrier, row["said_by"], row["word"], place, row["call"] == "yes"))
            if first:
                found.append(Word(carrier, EVERYBODY, carrier, place))
    if wrong:
        raise ValueError("\n".join(wrong))
    return tuple(found)


def _problem(row: Mapping[str | None, str]) -> str:
    """Say why a row cannot stand; empty where it can."""
    if None in row or None in row.values():
        return "has more or fewer columns than the head of the table (a text with a comma stands in quotes)"
    if not _ID.fullmatch(row["carrier"]):
        return f"{row['carrier']!r} is no id: small letters, digits and _"
    if not spelt(row["word"]):
        return "has no word"
    if row["call"] not in ("", "yes") or (row["call"] and not row["said_by"]):
        return "call is `yes`, for a word of somebody's own, or empty"
    return "" if row["evidence"] else f"{row['word']!r} names no evidence"


def meanings(words: Iterable[Word]) -> dict[tuple[str, str], Word]:
    """Return each word by whose it is and how it is spelt.

    Raises ValueError, with both places, where one word means two carriers or two words are said to one in calls.
    """
    found: dict[tuple[str, str], Word] = {}
    said: dict[tuple[str, str], Word] = {}
    wrong: list[str] = []
    for one in words:
        other = found.setdefault((one.said_by, spelt(one.word)), one)
        if other.carrier != one.carrier:
            wrong.append(
                f"{where(one)}: {one.word!r} means the carrier {one.carrier}, and {other.carrier} at {where(other)}: "
                "one of the two must go"
            )
        if one.call and (other := said.setdefault((one.said_by, one.carrier), one)).word != one.word:
            wrong.append(
                f"{where(one)}: {one.word!r} is said in calls for {one.carrier}, as is {other.word!r} at {where(other)}"
            )
    if wrong:
        raise ValueError("\n".join(wrong))
    return found


def misspelt(found: Mapping[tuple[str, str], Word], carrier: str, *, own: bool = False) -> str | None:
    """Return the id that somebody means who writes a carrier's name otherwise; None where it is an id, or nobody's word.

    `own`: a store's own word may be an id that another carrier is called by too (`van`); what can be no id is none.
    """
    one = found.get((EVERYBODY, spelt(carrier)))
    if one is None or one.carrier == carrier:
        return None
    return None if own and _ID.fullmatch(carrier) and spelt(one.carrier) != spelt(carrier) else one.carrier


def names(found: Mapping[tuple[str, str], Word], vocabularies: Sequence[str]) -> Names:
    """Return what a reader of these vocabularies knows: its own words, the first vocabulary's before the next, then everybody's."""
    known: dict[str, str] = {}
    words: dict[str, str] = {}
    for whose in (EVERYBODY, *reversed(vocabularies)):
        known |= {word: one.carrier for (said_by, word), one in found.items() if said_by == whose}
        if whose:
            words |= {one.carrier: one.word for (said_by, _), one in found.items() if said_by == whose and one.call}
    for one in found.values():  # most are written so: no need to spell them first
        if (carrier := known.get(spelt(one.word))) is not None:
            known.setdefault(one.word.lower(), carrier)
    return Names(known, words)


def where(one: Word) -> str:
    """Say where a word stands: file and line, of a plugin that of the word itself where it is written out there."""
    if isinstance(one.place, str):
        return one.place
    try:
        lines, first = inspect.getsourcelines(one.place)
        file = Path(inspect.getsourcefile(one.place) or "")
    except (OSError, TypeError):
        return f"plugin {one.place.__module__}"
    at = next((i for i, line in enumerate(lines) if f'"{one.word}"' in line or f"'{one.word}'" in line), 0)
    return f"{file.name}:{first + at}"
