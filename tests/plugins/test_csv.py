"""Csv: conformance, how lines and files are read, DPD's example, and what its settings refuse."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.plugins.tables import LINES
from tracker.config.load import load_config
from tracker.domain.errors import BadPayload, Refused
from tracker.domain.facts import Parcels, Report, Unread, fingerprint
from tracker.domain.vocabulary import Leg, Precision, ShippingStatus, Zone
from tracker.pipeline.ingest.scans import look_up
from tracker.plugin.conformance import Recorder, example_settings, for_carrier, plugin_of, read_all
from tracker.plugin.files import MOST_LINE

FIXTURES = Path(__file__).parents[1] / "fixtures" / "csv"
EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "dpd-files.yaml"


TestConformance = for_carrier("carriers.csv", fixtures=FIXTURES, form=LINES)


def _source(**more: Any) -> Any:
    plugin = plugin_of("carriers.csv")
    return plugin("account", example_settings(plugin, **more))


def _read(body: bytes, **more: Any) -> tuple[list[Report], list[Unread]]:
    items = read_all(_source(**more), "file", (body,))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


HEAD = b"PARCELNO;SCAN_CODE;SCAN_DATE_TIME;INFO_TEXT;SERVICE\n"
LINE = b"05301000000017;13;20261126134509;;327\n"


def test_dpds_example_is_a_configuration_that_reads_both_of_its_files() -> None:
    account = load_config(EXAMPLE).accounts["dpd"]

    told = {}
    for file in sorted(FIXTURES.glob("*.file.csv")):
        for item in read_all(account.carrier, "file", (file.read_bytes(),)):
            if isinstance(item, Report):
                told |= {(item.number[-2:], s.code.code): look_up(account, s.code) for s in item.scans}
    assert account.speaks == ("dpd",)
    assert told["17", "13"].status is ShippingStatus.DELIVERED
    assert told["24", "14"].status is ShippingStatus.DELIVERY_ATTEMPTED
    assert told["48", "99"] is None  # not in the published part of DPD's list


def test_a_parcel_of_a_return_service_travels_back_to_the_merchant() -> None:
    reports, _ = _read((FIXTURES / "scaninfo.file.csv").read_bytes())

    assert {r.number[-2:]: {s.leg for s in r.scans} for r in reports} == {
        "17": {None}, "24": {None}, "31": {Leg.CUSTOMER_RETURN},
    }  # fmt: skip


def test_a_file_is_cut_after_each_hundred_lines_and_each_line_has_its_number_in_the_file() -> None:
    body = HEAD + LINE * 99 + b"\n" + b"broken\n" + LINE * 150

    cuts = list(_source().cut(io.BytesIO(body)))
    _, unread = _read(body)

    assert [(cut.line, cut.lines) for cut in cuts] == [(2, 100), (102, 100), (202, 51)]
    assert {cut.parts[0] for cut in cuts} == {HEAD.strip()}
    assert cuts[-1].end == len(body)
    assert [one.where for one in unread] == ["$[102]"]


def test_the_same_lines_are_cut_the_same_way_whatever_comes_after_them() -> None:
    short, long = ([cut.parts for cut in _source().cut(io.BytesIO(HEAD + LINE * n))] for n in (200, 350))

    assert long[:2] == short


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"05301000000017;13;20261126134509;;327;more", "has 6 columns, and the head has 5"),
        (b"05301000000017;13;2026112613", "has 3 columns, and the head has 5"),  # the file was cut off in it
        (b"05301000000017;;20261126134509;;327", "must have 1 to 100 characters"),
        (b"05301000000017;13;;;327", "is no time of the form"),
        (b"05301000000017;13;20261332134509;;327", "is no time of the form"),
        (b"0530 1000;13;20261126134509;;327", "is no tracking number"),
        (b'05301000000017;13;20261126134509;"open;327', "is no CSV"),
        (b"x" * (MOST_LINE + 9), f"is longer than {MOST_LINE} bytes"),
    ],
)
def test_a_line_that_cannot_be_read_costs_itself_and_is_told_by_its_number(line: bytes, problem: str) -> None:
    reports, unread = _read(HEAD + LINE + line + b"\n" + LINE)

    assert [len(r.scans) for r in reports] == [2]
    (one,) = unread
    assert one.where.startswith("$[3]")
    assert problem in one.problem
    assert one.lacks == "all"


def test_quotes_hold_delimiters_and_are_letters_where_the_settings_say_so() -> None:
    line = b'05301000000017;13;20261126134509;"left; with ""her""";327\n'
    (report,), unread = _read(HEAD + line)

    assert (report.scans[0].code.text, unread) == ('left; with "her"', [])
    (report,), _ = _read(HEAD + b'05301000000017;13;20261126134509;5" pipe;327\n', quote="")
    assert report.scans[0].code.text == '5" pipe'


def test_a_line_is_read_by_the_first_encoding_that_fits_and_an_odd_byte_takes_nothing_else() -> None:
    line = "05301000000017;13;20261126134509;caf\u00e9\x00;327\n"
    texts = [
        _read(HEAD + line.encode(wire), encoding=wanted)[0][0].scans[0].code.text
        for wire, wanted in (("utf-8", ["utf-8", "cp1252"]), ("cp1252", ["utf-8", "cp1252"]), ("cp1252", "utf-8"))
    ]

    assert texts == ["caf\u00e9\ufffd", "caf\u00e9\ufffd", "caf\ufffd\ufffd"]


def test_two_files_that_were_joined_have_their_head_twice_and_that_is_no_line() -> None:
    reports, unread = _read(HEAD + LINE + HEAD + LINE)

    assert ([len(r.scans) for r in reports], unread) == ([2], [])


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"PARCELNO;SCAN_DATE_TIME;INFO_TEXT;SERVICE\n", "has no column SCAN_CODE (code); it has PARCELNO"),
        (b"PARCELNO;SCAN_CODE;SCAN_DATE_TIME;INFO_TEXT\n", "has no column SERVICE (returns)"),
        (HEAD.strip() + b";SERVICE\n", "names the column SERVICE twice"),
        (LINE, "has no column PARCELNO"),
    ],
)
def test_a_head_that_lacks_a_column_that_is_wanted_ends_the_file(head: bytes, problem: str) -> None:
    with pytest.raises(BadPayload) as error:
        list(_source().cut(io.BytesIO(b"\n" + head + LINE)))

    assert error.value.where == "$.head"
    assert problem in error.value.problem


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("iso", "2026-11-26T13:45:09+01:00", (Zone.OFFSET, Precision.SECOND)),
        ("iso", "2026-11-26", (Zone.UNKNOWN, Precision.DATE)),
        ("%d.%m.%Y %H:%M", "26.11.2026 13:45", (Zone.UNKNOWN, Precision.MINUTE)),
        ("%d/%m/%y", "26/11/26", (Zone.UNKNOWN, Precision.DATE)),
        ("%Y%m%d%H%M%S%z", "20261126134509+0100", (Zone.OFFSET, Precision.SECOND)),
    ],
)
def test_times_are_read_in_the_form_that_the_settings_name(form: str, value: str, expected: Any) -> None:
    (report,), unread = _read(HEAD + LINE.replace(b"20261126134509", value.encode()), time_format=form)

    scan = report.scans[0]
    assert scan.local is not None
    assert (f"{scan.local:%Y-%m-%d}", (scan.zone, scan.precision), unread) == ("2026-11-26", expected, [])


def test_a_place_is_read_where_columns_name_it_and_a_country_that_is_none_is_told() -> None:
    columns = {"number": "N", "code": "C", "time": "T", "city": "CITY", "country": "COUNTRY"}
    body = b"N;C;T;CITY;COUNTRY\n1;13;2026-11-26;Gent;be\n2;13;2026-11-26;Gent;BELGIUM\n"

    (one, two), unread = _read(body, columns=columns, time_format="iso", returns={})

    assert (str(one.scans[0].place), str(two.scans[0].place)) == ("Gent, BE", "Gent")
    assert [(u.where, u.subject, u.lacks) for u in unread] == [("$[3].COUNTRY", "2", "")]


def test_a_file_of_several_carriers_names_each_in_a_column() -> None:
    columns = {"number": "N", "code": "C", "time": "T", "carrier": "BY"}
    body = b"N;C;T;BY\n1;13;2026-11-26;DPD\n2;13;2026-11-26;Royal-Mail\n3;13;2026-11-26;Acme Vans\n"

    reports, unread = _read(body, carrier="", columns=columns, time_format="iso", returns={})

    assert [(r.carrier, r.number) for r in reports] == [("dpd", "1"), ("royalmail", "2")]
    assert [(u.where, u.problem) for u in unread] == [("$[4].BY", "is no carrier that we know: 'Acme Vans'")]


def test_a_scan_has_one_fingerprint_in_whatever_file_and_line_it_stands() -> None:
    (one,), _ = _read(HEAD + LINE)
    (two,), _ = _read(HEAD + LINE * 3)

    assert len({fingerprint(scan) for report in (one, two) for scan in report.scans}) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"encoding": "utf-16"}, "does not write a line feed as one byte"),
        ({"encoding": "klingon"}, "no encoding 'klingon'"),
        ({"time_format": "%H:%M"}, "prints no whole date"),
        ({"time_format": "%Y-%m-%d %I:%M"}, "%I needs %p"),
        ({"time_format": "YYYYMMDD"}, "prints no whole date"),
        ({"time_format": "%Y-%m-%d %Q"}, "is no form of a time"),
        ({"zone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"carrier": ""}, "carrier or columns.carrier says whose"),
        ({"delimiter": ";;"}, "at most 1 character"),
        ({"columns": {"number": "N", "code": "C"}}, "columns.time"),
        ({"columns": {"number": "N", "code": "C", "time": "T", "sity": "X"}}, "columns.sity"),
    ],
)
def test_settings_that_cannot_be_are_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        _source(**more)

    assert said in str(error.value)


def test_nobody_can_be_asked() -> None:
    with pytest.raises(Refused):
        list(_source().fetch(Recorder(), Parcels(())))


@pytest.mark.parametrize("spoilt", [b"1.23457E+13", b"1,23457e+13", b"9E+21"])
def test_a_number_that_a_spreadsheet_rounded_is_told_and_makes_no_parcel(spoilt: bytes) -> None:
    reports, unread = _read(HEAD + LINE.replace(b"05301000000017", spoilt) + LINE)

    assert [report.number for report in reports] == ["05301000000017"]
    assert [(one.where, one.subject, one.lacks) for one in unread] == [("$[2].PARCELNO", "", "all")]
    assert "is a number that a spreadsheet rounded" in unread[0].problem


def test_a_number_with_a_dot_that_nobody_rounded_is_read_as_it_stands() -> None:
    for number in (b"1-254346763_1", b"12.345.678.9", b"1E5"):
        (report,), unread = _read(HEAD + LINE.replace(b"05301000000017", number))
        assert (report.number.encode(), unread) == (number, [])
