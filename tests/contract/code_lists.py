"""Whether each row of a carrier's own lists of codes is decided: it means something, or it is written down why it does not.

A code that has a row in the carrier's table is decided by it. One without (it is UNKNOWN, counted and seen) stands in
`undecided/<plugin>.csv` with a word of WHY_NOT; so does a code that moves nothing although its wording sounds as if it did.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tracker.domain.facts import Meaning
from tracker.plugin.conformance import plugin_of

FOLDER = Path(__file__).parent / "undecided"
# why a code of a list has no row; `moves_nothing` is the one of those that have: its status is empty although the wording sounds otherwise
WHY_NOT = {
    "ambiguous": "the wording can be read in two ways that differ in what happened to the parcel",
    "depends": "what it means is said by something beside it that an answer need not hold",
    "no_wording": "the list does not say what it means",
    "not_of_parcels": "it tells of an account, an invoice, a vehicle, a container or a pick-up request, not of a parcel",
    "not_sent": "the carrier's documents say that no answer holds it (retired, or of another of its interfaces)",
    "conflict": "two lists of the carrier contradict each other",
    "moves_nothing": "it has a row that moves nothing; `because` says why its wording is not what it sounds like",
}
# what is never left undecided: a wrong reading of these costs money, so somebody must say what each means
SOUNDS = re.compile(r"\b(delivered|returned|attempt(?:s|ed)?|lost|damaged?)\b", re.IGNORECASE)


class Listed(NamedTuple):
    """A row of a carrier's own list: the space and code as our table spells them, and its English wording."""

    space: str
    code: str
    wording: str


def undecided(plugin: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (why, because) by (space, code); no file: nothing is undecided. Raises ValueError for rows that say nothing."""
    path = FOLDER / f"{plugin}.csv"
    found: dict[tuple[str, str], tuple[str, str]] = {}
    if not path.exists():
        return found
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            key = row["space"], row["code"]
            if key in found or row["why"] not in WHY_NOT or not row["because"].strip():
                raise ValueError(
                    f"{path.name}:{line}: {key} is there twice, or has no word of WHY_NOT, or no reason in words"
                )
            found[key] = row["why"], row["because"]
    return found


def wrong(
    rows: Iterable[Listed], table: Mapping[tuple[str, str], Meaning], open_: Mapping[tuple[str, str], tuple[str, str]]
) -> list[str]:
    """Say what of a list is not decided, or wrongly."""
    found = []
    for row in rows:
        key = row.space, row.code
        why = open_.get(key, ("", ""))[0]
        sounds = SOUNDS.search(row.wording)
        if key not in table:
            if not why or why == "moves_nothing":
                found.append(f"{key} {row.wording!r}: no row, and no word why not")
            elif sounds:
                found.append(f"{key} {row.wording!r}: undecided ({why}) although it says {sounds[0]!r}")
        elif table[key].status is None and sounds and why != "moves_nothing":
            found.append(f"{key} {row.wording!r}: moves nothing although it says {sounds[0]!r}, and nobody says why")
        elif why and why != "moves_nothing":
            found.append(f"{key} {row.wording!r}: has a row and is said to be undecided ({why})")
    return found


def decided(plugin: str, source: str, rows: Iterable[Listed], tell: Callable[[str, Any], None]) -> None:
    """Assert that each row of a list is decided; `tell` is pytest's `record_property`: the totals are printed at the end.

    `plugin` is the module's name below `carriers`, `source` names the list (its file). A code that stands in a list twice counts
    once for each of its wordings.
    """
    there = list(dict.fromkeys(rows))
    table, open_ = plugin_of(f"carriers.{plugin}").codes, undecided(plugin)  # type: ignore[attr-defined]
    assert there, f"{source}: the list is empty"
    bad = wrong(there, table, open_)
    assert not bad, f"{source}: {len(bad)} of {len(there)} rows\n" + "\n".join(bad)
    keys = {(row.space, row.code) for row in there}
    met = Counter(why for key, (why, _) in open_.items() if key in keys and key not in table)
    rest = "".join(f", {count} {why}" for why, count in sorted(met.items()))
    moves = sum(table[key].status is not None for key in keys if key in table)
    still = sum(table[key].status is None for key in keys if key in table)
    tell(
        "codes",
        f"{plugin}: {source}: {len(keys)} codes ({len(there)} wordings): {moves} move a parcel, {still} move nothing{rest}",
    )


def nothing_stale(plugin: str, rows: Iterable[Listed]) -> None:
    """Assert that each row of the file of undecided codes is one of these: `rows` are all lists of the carrier."""
    known = {(row.space, row.code) for row in rows}
    assert set(undecided(plugin)) <= known, set(undecided(plugin)) - known
