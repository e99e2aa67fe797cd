"""What ShipRocket's statuses are: a number of one of two lists, the word beside it, and what both say together."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from tracker.domain.facts import Unread
from tracker.domain.vocabulary import Leg
from tracker.plugin.codes import read_codes
from tracker.plugin.payloads import kind, text

CODES = read_codes(str(Path(__file__).with_name("__init__.py")))
NOTHING = frozenset({"", "NA", "N/A"})  # printed for what is not there
BACK = Leg.CUSTOMER_RETURN
_APART, _PARTS = re.compile(r"[-_\s]+"), re.compile(r" - |[:;,(){}]")
Status = tuple[str, str, str, Leg | None]  # its space and code, the word that was printed, and which way it goes


def status(given: Any, label: Any, at: str, unread: list[Unread], back: bool, of: str = "shipment") -> Status | None:
    """Read a status: its number where the word beside it says the same, or its word alone; None: there is neither."""
    if given.__class__ is not str and given.__class__ is not int and given is not None:
        unread.append(Unread(at, f"must be a text or a number, is {kind(given)}"))
        given = None
    if label.__class__ is not str and label is not None:
        unread.append(Unread(at, f"has beside it {kind(label)}, which is no word"))
        label = None
    return found(given, label, back, of)


@lru_cache(maxsize=4000)
def found(given: str | int | None, label: str | None, back: bool, space: str) -> Status | None:
    """Look up a number and its word. What ends a journey needs its word, where there is one, to be known: else the pair is unknown."""
    said = text(label)
    shown, spelt, codes = shown_as(given), spelt_as(said), CODES
    turned = f"RETURN {spelt}"[:100] if back and not spelt.startswith(("RETURN", "RTO")) else spelt
    leg = BACK if back or turned.startswith("RETURN ") else None
    if shown in NOTHING:
        return None if spelt in NOTHING else ("label", turned, said, leg)
    if not shown.isdecimal():
        return "label", shown, said, leg
    space = "return" if back and space == "shipment" else space
    says = codes.get((space, shown))
    if spelt not in NOTHING and says is not None:
        beside = codes.get(("label", turned)) or codes.get(("label", spelt))
        ends = says.status is not None and says.status.terminal
        if (beside is None and ends) or (beside is not None and beside.status is not says.status):
            return "pair", f"{shown} {spelt}"[:100], said, leg
    return space, shown, said, leg


def shown_as(given: Any) -> str:
    """Return a number of a status as our table spells it."""
    shown = str(given).strip()[:40] if given.__class__ in (str, int) else ""
    return shown.lstrip("0") if shown.isdecimal() and shown.isascii() else spelt_as(shown)


def spelt_as(label: str) -> str:
    """Return a word of a status as our table spells it: in capitals, with single spaces (`REACHEDBACK AT-SELLER_CITY`)."""
    return _APART.sub(" ", label[:100]).strip().upper()


@lru_cache(maxsize=2000)
def reason(said: str) -> str:
    """Return why a delivery failed, where a part of what is said is one of the reasons of ShipRocket's list (NDR)."""
    parts = [spelt_as(part) for part in _PARTS.split(said)]
    return next((part for part in parts if ("ndr", part) in CODES), "")
