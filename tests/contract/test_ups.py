"""UPS against its own lists and contracts in ../shared, where they are at hand (CI); skipped with a reason where they are not."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SPECS, _codes, plugin
from tracker.domain.facts import Meaning, Payload
from tracker.domain.timeline import place_in_time
from tracker.domain.vocabulary import ShippingStatus, Zone
from tracker.plugin.conformance import AT, plugin_of

SPEC = SPECS / "ups"
pytestmark = pytest.mark.skipif(
    not SPEC.exists(), reason="../shared is not here: the official contracts are not shipped"
)
SPACES = {
    "Status/Description Codes": "status", "Delivery Codes": "D", "Movement Scans": "I", "Manifest Codes": "M", "Updates": "U",
    "Package Exceptions": "X", "Freight Activity": "freight", "Freight Exceptions": "freight_exception",
    "Mail Innovations": "mi", "Package Activity Types": "type",
}  # fmt: skip
PADDED = {"status": 3, "D": 2, "X": 2}  # the list was a sheet, which dropped leading zeros; answers have them


def listed() -> list[Listed]:
    with (SPEC / "status_codes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1541
    return [
        Listed(space, row["code"].zfill(PADDED.get(space, 0)), row["text"])
        for row in rows
        for space in (SPACES[row["section"]],)
    ]


def table() -> Mapping[tuple[str, str], Meaning]:
    found: Any = plugin_of("carriers.ups")
    return found.codes  # type: ignore[no-any-return]


def test_each_row_of_the_official_lists_is_decided(record_property: Callable[[str, Any], None]) -> None:
    decided("ups", "status_codes.csv", listed(), record_property)
    nothing_stale("ups", listed())


def test_of_type_d_forty_nine_codes_are_a_delivery_and_a_hundred_and_two_are_none() -> None:
    codes = {row.code for row in listed() if row.space == "D"}

    delivered = {code for code in codes if table()["D", code].status is ShippingStatus.DELIVERED}
    assert (len(delivered), len(codes - delivered)) == (49, 102)


def test_no_code_of_type_d_that_a_careful_reader_took_for_no_delivery_is_read_as_one() -> None:
    read = {row["code"].zfill(2) for row in _codes("ups") if row["code_space"].endswith("NOT delivered")}

    assert len(read) == 102
    assert [code for code in sorted(read) if table()["D", code].status is ShippingStatus.DELIVERED] == []


def test_the_sample_of_a_delivery_is_read_as_its_reader_sees_it() -> None:
    """Paramus stands in one zone: 16:30 there is 21:30Z, in January; the label tells no place, so its time stays local."""
    body = (SPEC / "sample_tracking_success.json").read_bytes()
    source = plugin("carriers.ups")
    (report,) = source.normalize(Payload("account", "poll", (body,), AT, {}))

    assert (report.number, report.complete, report.edd) == ("1Z1442YY7229014688", True, None)
    assert [
        (f"{scan.code.space}:{scan.code.code}", source.meaning(scan.code).status, scan.local, scan.occurred_at)
        for scan in report.scans
    ] == [
        ("status:011", "delivered", datetime(2022, 1, 26, 16, 30), None),
        ("status:003", "pre_transit", datetime(2022, 1, 26, 15, 16, 41), None),
    ]
    assert [place_in_time(scan, source.default_zone, AT) for scan in report.scans] == [
        (datetime(2022, 1, 26, 21, 30, tzinfo=UTC), Zone.BY_PLACE),
        (datetime(2022, 1, 26, 20, 16, 41, tzinfo=UTC), Zone.ASSUMED),
    ]


def test_a_type_alone_decides_nothing() -> None:
    assert {table()["type", row.code].status for row in listed() if row.space == "type"} == {None}


@pytest.mark.parametrize(
    ("code", "package", "freight"),
    [("011", "delivered", "out_for_delivery"), ("012", "in_transit", "delivered"), ("013", "exception", "exception"),
     ("050", "exception", "delivered")],
)  # fmt: skip
def test_the_same_digits_are_another_thing_in_freight(code: str, package: str, freight: str) -> None:
    assert (table()["status", code].status, table()["freight", code].status) == (package, freight)


@pytest.mark.parametrize(
    ("letters", "package", "mail"),
    [("X", "DL", "returning"), ("D", "DO", "delivery_failed"), ("I", "YF", "out_for_delivery")],
)
def test_the_same_letters_are_another_thing_in_mail_innovations(letters: str, package: str, mail: str) -> None:
    assert table()[letters, package].status == mail
    assert table()["mi", package].status != mail
