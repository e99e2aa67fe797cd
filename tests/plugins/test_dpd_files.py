"""DPD's bulk files: columns by name, returns, places, and lines that cost themselves only."""

from __future__ import annotations

import pytest

from tests.plugins.dpd import ended, read, source
from tracker.domain.errors import BadPayload
from tracker.domain.facts import Payload
from tracker.domain.vocabulary import Leg
from tracker.plugin.conformance import AT

HEAD = "PARCELNO;SCAN_CODE;DEPOT_CODE;SCAN_DATE_TIME;ROUTE;SERVICE;RCOUNTRYN;RCOUNTRY;INFO_TEXT;\n"


def line(
    code: str,
    service: str = "327",
    *,
    depot: str = "0530",
    route: str = "",
    n: str = "056",
    a: str = "",
    number: str = "05300000000017",
    time: str = "20261026134509",
) -> str:
    return f"{number};{code};{depot};{time};{route};{service};{n};{a};text;\n"


@pytest.mark.parametrize(
    ("service", "status"),
    [("300", "returned"), ("332", "returned"), (" 332 ", "returned"), ("327", "delivered"), ("", "delivered")],
)
def test_the_13_of_a_return_service_is_a_delivery_to_the_merchant(service: str, status: str) -> None:
    body = HEAD + line("03", service, time="20261026080000") + line("13", service)
    reports, unread = read(body.encode(), "file")

    assert (ended(reports)["05300000000017"][0], unread) == (status, [])


def test_a_return_that_is_out_or_was_tried_is_on_its_way_back() -> None:
    for code in ("03", "04", "14", "05", "10"):
        reports, _ = read((HEAD + line(code, "300")).encode(), "file")
        assert ended(reports)["05300000000017"][0] == "returning"


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"code": "13", "n": "826"}, "GB"), ({"code": "13", "a": "se", "n": "056"}, "SE"), ({"code": "13", "n": "40"}, "AT"), ({"code": "13", "n": "076"}, ""),
        ({"code": "13", "n": "", "a": "\u00c5\u00c4"}, ""), ({"code": "10", "n": "826"}, ""), ({"code": "10", "n": "826", "depot": "1560", "route": "1560"}, "GB"),
        ({"code": "05", "n": "826", "depot": "0530", "route": "1560"}, ""), ({"code": "77", "n": "826", "depot": "", "route": ""}, ""),
    ],
)  # fmt: skip
def test_only_a_scan_of_the_destination_depot_is_in_the_receivers_country(more: dict[str, str], place: str) -> None:
    (report,), _ = read((HEAD + line(**more)).encode(), "file")

    assert str(report.scans[0].place) == place


def test_a_code_that_is_not_in_dpds_list_is_kept_and_unknown() -> None:
    (report,), unread = read((HEAD + line("77")).encode(), "file")

    assert (report.scans[0].code.code, source().meaning(report.scans[0].code), unread) == ("77", None, [])


@pytest.mark.parametrize("column", ["PARCELNO", "SCAN_CODE", "SCAN_DATE_TIME", "SERVICE"])
def test_a_head_without_what_a_line_is_read_by_is_refused_as_a_whole(column: str) -> None:
    with pytest.raises(BadPayload, match=column):
        read((HEAD.replace(column, "X") + line("13")).encode(), "file")


def test_columns_may_stand_in_any_order_and_others_be_missing() -> None:
    body = "SERVICE;EVENT_DATE_TIME;SCAN_CODE;PARCELNO\n327;20261026134509;13;05300000000017\n"
    (report,), unread = read(body.encode(), "file")

    assert (report.number, f"{report.scans[0].local:%d %H:%M}", unread) == ("05300000000017", "26 13:45", [])
    assert report.scans[0].leg is None and Leg.RETURN_TO_SENDER not in {scan.leg for scan in report.scans}


def test_a_file_is_cut_with_its_head_and_its_lines_are_counted() -> None:
    body = "\ufeff" + HEAD + "".join(line("13", number=f"0530{at:010}") for at in range(150)) + "broken\n"
    reports, (left,) = read(body.encode(), "file")

    assert len(reports) == 150
    assert (left.where, left.problem) == ("$[152]", "has 1 columns, and the head has 9")
    with pytest.raises(BadPayload, match="no part of a CSV file"):
        source().normalize(Payload("a", "file", (body.encode(),), AT, {}))
