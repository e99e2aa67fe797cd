"""When a scan happened: its zone, what it is when none is told, and times that cannot be."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta, timezone
from importlib.resources import files

import pytest

from tests.domain.scans import T0
from tracker.domain.facts import Code, Place, Scan
from tracker.domain.timeline import assumed_zone, place_in_time, zone_of
from tracker.domain.vocabulary import Zone
from tracker.domain.zones import MOSTLY, ONE_ZONE


def test_a_time_with_offset_is_taken_as_it_is() -> None:
    at = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)

    assert place_in_time(Scan(Code("s", "c"), None, at, Zone.OFFSET), "UTC", at) == (at, Zone.OFFSET)


def test_a_time_from_the_future_is_marked_and_bounded_to_when_it_was_told() -> None:
    soon, later = T0 + timedelta(minutes=10), T0 + timedelta(minutes=11)

    assert place_in_time(Scan(Code("s", "c"), None, soon, Zone.OFFSET), "UTC", T0) == (soon, Zone.OFFSET)
    assert place_in_time(Scan(Code("s", "c"), None, later, Zone.OFFSET), "UTC", T0) == (T0, Zone.FUTURE)
    assert place_in_time(Scan(Code("s", "c"), datetime(2999, 1, 1)), "UTC", T0) == (T0, Zone.FUTURE)


def test_a_local_time_is_placed_by_its_place() -> None:
    scan = Scan(Code("s", "c"), datetime(2026, 7, 1, 12, 0), place=Place("Köln", country="DE"))

    assert place_in_time(scan, "UTC", T0) == (datetime(2026, 7, 1, 10, 0, tzinfo=UTC), Zone.BY_PLACE)


@pytest.mark.parametrize(
    ("country", "local", "utc"),
    [("NZ", datetime(2026, 7, 1, 11, 59), datetime(2026, 6, 30, 23, 59)), ("ES", datetime(2026, 7, 1, 12), datetime(2026, 7, 1, 10)), ("US", datetime(2026, 7, 1, 12), datetime(2026, 7, 1, 12))],
)  # fmt: skip
def test_of_a_country_with_several_zones_that_of_most_people_is_assumed(
    country: str, local: datetime, utc: datetime
) -> None:
    """As MyDHL prints them of several numbers: read as UTC, a delivery in Auckland lies half a day ahead, and orders nothing."""
    scan = Scan(Code("express", "OK"), local, place=Place("", country=country))

    assert place_in_time(scan, "UTC", T0) == (utc.replace(tzinfo=UTC), Zone.ASSUMED)
    assert assumed_zone(scan.place, "UTC") == {"NZ": "Pacific/Auckland", "ES": "Europe/Madrid"}.get(country, "UTC")
    assert set(MOSTLY).isdisjoint(ONE_ZONE)


def test_a_local_time_of_nowhere_is_assumed_and_says_so() -> None:
    scan = Scan(Code("s", "c"), datetime(2026, 7, 1, 12, 0))

    assert place_in_time(scan, "America/New_York", T0) == (datetime(2026, 7, 1, 16, 0, tzinfo=UTC), Zone.ASSUMED)


def test_a_scan_without_time_is_placed_when_it_came_and_says_so() -> None:
    assert place_in_time(Scan(Code("s", "c")), "UTC", T0) == (T0, Zone.UNKNOWN)


@pytest.mark.parametrize(
    "scan",
    [
        Scan(Code("s", "c"), None, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), Zone.OFFSET),
        Scan(Code("s", "c"), None, datetime(1, 6, 1, tzinfo=UTC), Zone.OFFSET),
        Scan(Code("s", "c"), datetime(1, 6, 1)),
        Scan(Code("s", "c"), None, datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14))), Zone.OFFSET),
    ],
)
def test_a_year_that_no_clock_shows_is_no_time(scan: Scan) -> None:
    assert place_in_time(scan, "UTC", T0) == (T0, Zone.UNKNOWN)


def test_a_scan_of_1970_keeps_its_time() -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC)

    assert place_in_time(Scan(Code("s", "c"), None, at, Zone.OFFSET), "UTC", T0) == (at, Zone.OFFSET)


@pytest.mark.parametrize("year", [1, 9999])
def test_the_ends_of_the_calendar_do_not_crash(year: int) -> None:
    at = datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, 23 if year > 1 else 0, 59)

    assert (
        place_in_time(Scan(Code("s", "c"), at), "Asia/Tokyo" if year == 1 else "America/New_York", T0)[1]
        is Zone.UNKNOWN
    )


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        (datetime(2026, 3, 8, 2, 30), datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),  # in the gap: read as before it
        (datetime(2026, 11, 1, 1, 30), datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),  # twice: the first
        (datetime(2028, 2, 29, 12, 0), datetime(2028, 2, 29, 17, 0, tzinfo=UTC)),
    ],
)
def test_gaps_overlaps_and_leap_days_of_the_clock(local: datetime, utc: datetime) -> None:
    scan = Scan(Code("s", "c"), local, place=Place("New York", "NY", country="US"))

    assert place_in_time(scan, "UTC", max(T0, utc)) == (utc, Zone.BY_PLACE)


def test_each_country_with_one_zone_has_it_and_no_other() -> None:
    """zone.tab of the tz database; China and Germany have a second one in it, of the same time by law and of a village."""
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    named = defaultdict(list)
    for row in (line.split("\t") for line in table.splitlines() if line and not line.startswith("#")):
        named[row[0]].append(row[2])
    one = {country: zones[0] for country, zones in named.items() if len(zones) == 1}

    assert {**one, "CN": "Asia/Shanghai", "DE": "Europe/Berlin"} == ONE_ZONE
    assert str(zone_of(Place("DUBAI", country="AE"))) == "Asia/Dubai"
    assert str(zone_of(Place("SAN JUAN", "PR", country="US"))) == "America/Puerto_Rico"
    assert zone_of(Place("AUCKLAND", country="NZ")) is None  # and the Chatham Islands


def test_a_state_with_two_zones_is_not_guessed() -> None:
    assert zone_of(Place("Nashville", "TN", country="US")) is None
    assert str(zone_of(Place("Reno", "nv", country="US"))) == "None"
    assert str(zone_of(Place("Sydney", "NSW", country="AU"))) == "Australia/Sydney"
