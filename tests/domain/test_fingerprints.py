"""A scan's fingerprint is what was said, not who said it or in which spelling."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.domain.scans import T0
from tracker.domain.facts import Code, Place, Scan, fingerprint
from tracker.domain.timeline import place_in_time
from tracker.domain.vocabulary import Precision, Zone


def test_a_naive_instant_is_refused() -> None:
    naive = Scan(Code("s", "c"), occurred_at=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="aware"):
        place_in_time(naive, "UTC", T0)


def test_the_fingerprint_knows_what_was_said_not_who_said_it_or_in_which_spelling() -> None:
    at = datetime(2026, 11, 2, 9, 15, 19)
    one = Scan(Code("s", "c", "Out for Delivery"), at, place=Place("Charlotte", "NC", "1", "US"))
    other = Scan(
        Code("s", "c", "OUT FOR DELIVERY"), at, at.replace(tzinfo=UTC), Zone.UTC, place=Place("CHARLOTTE", "", "", "US")
    )

    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one, text_matters=True) != fingerprint(other, text_matters=True)


@pytest.mark.parametrize(
    "other",
    [
        Scan(Code("t", "c"), datetime(2026, 11, 2)),
        Scan(Code("s", "d"), datetime(2026, 11, 2)),
        Scan(Code("s", "c"), datetime(2026, 11, 3)),
        Scan(Code("s", "c"), datetime(2026, 11, 2), place=Place("X")),
        Scan(Code("s", "c"), datetime(2026, 11, 2), place=Place(country="X")),
        Scan(Code("s", "c"), datetime(2026, 11, 2), event_id="1"),
        Scan(Code("s", "c")),
    ],
)
def test_what_differs_in_fact_differs_in_fingerprint(other: Scan) -> None:
    assert fingerprint(other) != fingerprint(Scan(Code("s", "c"), datetime(2026, 11, 2)))


def test_the_fingerprint_is_as_fine_as_the_time_was_told() -> None:
    def at(second: int, minute: int, precision: Precision) -> str:
        return fingerprint(Scan(Code("s", "c"), datetime(2026, 11, 2, 9, minute, second), precision=precision))

    assert at(1, 1, Precision.MINUTE) == at(2, 1, Precision.MINUTE)
    assert at(1, 1, Precision.MINUTE) != at(1, 2, Precision.MINUTE)
    assert at(1, 1, Precision.DATE) == at(2, 2, Precision.DATE)
    assert at(1, 1, Precision.SECOND) != at(2, 1, Precision.SECOND)


def test_an_event_id_is_the_whole_identity() -> None:
    one = Scan(Code("s", "c"), datetime(2026, 11, 2), event_id="e1")

    assert fingerprint(one) == fingerprint(Scan(Code("x", "y"), event_id="e1"))


def test_a_fingerprint_is_what_the_carrier_said_joined_by_unit_separators() -> None:
    def hashed(*parts: str) -> str:
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]

    at = datetime(2026, 11, 2, 8, 5, 7, 123456)
    scan = Scan(Code("track", "PU", "Picked up"), at, at.replace(tzinfo=UTC), place=Place("Straße", "X", "1", "DE"))

    assert fingerprint(scan) == hashed("track", "PU", "2026-11-02T08:05:07", "strasse", "DE")
    assert fingerprint(replace(scan, precision=Precision.MINUTE)) == hashed(
        "track", "PU", "2026-11-02T08:05", "strasse", "DE"
    )
    assert fingerprint(replace(scan, precision=Precision.DATE)) == hashed("track", "PU", "2026-11-02", "strasse", "DE")
    assert fingerprint(scan, text_matters=True) == hashed(
        "track", "PU", "2026-11-02T08:05:07", "strasse", "DE", "Picked up"
    )
    assert fingerprint(replace(scan, local=None, occurred_at=None)) == hashed("track", "PU", "", "strasse", "DE")
    assert fingerprint(replace(scan, event_id="e1")) == hashed("id", "e1")
