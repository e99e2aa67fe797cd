"""Read a carrier's code table: what each of its codes means in the shared vocabulary."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from tracker.domain.facts import Meaning
from tracker.domain.vocabulary import Leg, Reason, ShippingStatus

Word = TypeVar("Word", bound=StrEnum)


def read_codes(module: str) -> dict[tuple[str, str], Meaning]:
    """Load the code table beside a plugin module (`ups.py` -> `ups.csv`, `acme/__init__.py` -> `acme/acme.csv`).

    Columns: space, code, wording, status (empty: moves nothing), reason (may be empty), evidence. `returning` and
    `returned` travel on the leg back to the sender. Raises ValueError with file and line of each unknown word, missing
    evidence, duplicate, and row of another length.
    """
    path = Path(module)
    path = path.with_name(f"{path.parent.name if path.stem == '__init__' else path.stem}.csv")
    table: dict[tuple[str, str], Meaning] = {}
    wrong: list[str] = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            key = (row["space"], row["code"])
            try:
                if key in table:
                    raise ValueError(f"{key} is there twice")
                table[key] = _meaning(key, row)
            except ValueError as error:
                wrong.append(f"{path.name}:{line}: {error}")
    if wrong:
        raise ValueError("\n".join(wrong))
    return table


def _meaning(key: tuple[str, str], row: Mapping[str | None, Any]) -> Meaning:
    """Read a row of a code table. Raises ValueError for what it cannot mean."""
    if None in row or None in row.values():
        raise ValueError(
            f"{key} has more or fewer columns than the head of the table (a text with a comma stands in quotes)"
        )
    if not row["evidence"]:
        raise ValueError(f"{key} names no evidence")
    status = _word(ShippingStatus, row["status"]) if row["status"] else None
    reason = _word(Reason, row["reason"]) if row["reason"] else None
    return meant(status, reason)


def meant(status: ShippingStatus | None, reason: Reason | None) -> Meaning:
    """Return what a code means that says so: `returning` and `returned` travel on the leg back to the sender."""
    back = status in (ShippingStatus.RETURNING, ShippingStatus.RETURNED)
    return Meaning(status, reason, Leg.RETURN_TO_SENDER if back else Leg.OUTBOUND)


def _word(words: type[Word], value: str) -> Word:
    """Return a word of the vocabulary. Raises ValueError with those that could be meant."""
    try:
        return words(value)
    except ValueError as error:
        known = [str(word) for word in words]
        near = difflib.get_close_matches(value, known, n=3, cutoff=0.5) or (known if len(known) < 20 else [])
        hint = f"one of {', '.join(near)}? " if near else ""
        raise ValueError(f"{error}: {hint}tracker/domain/vocabulary.py says when each is used") from None
