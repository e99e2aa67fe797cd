"""Whose parcel is it: of the accounts that may be asked about a parcel one is asked, the others are heard only."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from tracker.domain.facts import EPOCH
from tracker.domain.vocabulary import TrackingState

DOES_NOT_KNOW: Final = frozenset({TrackingState.NOT_FOUND, TrackingState.ERROR, TrackingState.UNSUPPORTED})
MOST_REASONS: Final = 3  # of why others are passed over: a store may name many accounts
_WORD: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """An account that may be asked about a parcel, and why it is asked where it is."""

    account: str
    why: str


def pick(store: str, names: Iterable[str]) -> str:
    """Return the account that a store gets which names none: always the same, and another store may get another.

    Each name draws a number with the store, the highest wins (rendezvous hashing, Thaler and Ravishankar 1998): an account
    more takes parcels only for itself, one less gives away only its own.
    """
    mine = _seed(store)
    return max(names, key=lambda name: (_mixed(mine ^ _seed(name)), name))


def choose(
    candidates: Sequence[Candidate],
    suspended: Container[str],
    unknown: Mapping[str, datetime],
    *,
    in_turn: bool = False,
) -> Candidate | None:
    """Choose who is asked: the first that is not suspended and does not say that it does not know the parcel.

    Where all do, the first that is not suspended; None where nobody may be asked at all. `unknown`: since when accounts say
    that they do not know it, those that have said so for longer than is usual. `in_turn`: where all do, the one that said so
    first is asked again: nobody knows whose parcel it is.
    """
    passed: list[str] = []
    for one in candidates:
        if one.account in suspended:
            passed.append(f"{one.account} is suspended")
        elif one.account in unknown:
            passed.append(f"{one.account} does not know it since {unknown[one.account]:%Y-%m-%d %H:%M}Z")
        else:
            return Candidate(one.account, _said(passed)) if passed else one
    again = sorted(candidates, key=lambda one: unknown.get(one.account, EPOCH)) if in_turn else candidates
    for one in again:
        if one.account not in suspended:
            return Candidate(one.account, f"nobody knows it: {_said(passed)}")
    return Candidate(candidates[0].account, f"all are suspended: {_said(passed)}") if candidates else None


def _said(passed: Sequence[str]) -> str:
    more = len(passed) - MOST_REASONS
    return ", ".join(passed[:MOST_REASONS]) + (f", and {more} more" if more > 0 else "")


@lru_cache(maxsize=20_000)
def _seed(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest())


def _mixed(value: int) -> int:
    """Spread a number over all of 64 bit: the last steps of SplitMix64 (Steele, Lea, Flood 2014)."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _WORD
    return value ^ (value >> 31)
