"""A status that only the head of an answer tells: a scan, until the real one comes, and never both."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.lab import START, USPS, H, Lab
from tests.pipeline.test_journeys import FEDEX, answer, fedex
from tracker.store import tables as t

FEDEX_NUMBER = "776094337676"
AUSTIN = {"city": "AUSTIN", "stateOrProvinceCode": "TX", "countryCode": "US"}
DELIVERED = {"code": "DL", "derivedCode": "DL", "statusByLocale": "Delivered"}


def standing(lab: Lab) -> list[Any]:
    return [row for row in lab.rows(t.scans) if row.withdrawn_at is None]


def ordered(make_lab, number: str, company: str, **more: Any) -> Lab:
    lab = make_lab(**more)
    lab.order("#1001", number, company=company)
    lab.work("poll", "ingest", "decide", "push")
    return lab


@pytest.mark.parametrize(
    ("place", "at"), [(AUSTIN, "2026-11-02T09:10:00-06:00"), (None, "2026-11-02T00:00:00-06:00")], ids=["hour", "day"]
)
def test_a_head_with_a_time_and_its_event_are_one_delivery(make_lab, tmp_path: Path, place, at: str) -> None:
    lab = ordered(make_lab, FEDEX_NUMBER, "FedEx", accounts=FEDEX.replace("FOLDER", str(tmp_path)))
    lab.clock.move_to(START + 12 * H)
    head = {
        "latestStatusDetail": {**DELIVERED, "scanLocation": place},
        "dateAndTimes": [{"type": "ACTUAL_DELIVERY", "dateTime": at}],
    }
    events = [
        {"date": "2026-11-02T09:10:00-06:00", "eventType": "DL", "scanLocation": AUSTIN},
        {"date": "2026-11-02T06:10:00-06:00", "eventType": "OD", "scanLocation": AUSTIN},
    ]
    answer(lab, "fedex", fedex(FEDEX_NUMBER, head), after=H)
    first = lab.parcel(FEDEX_NUMBER).summary
    answer(lab, "fedex", fedex(FEDEX_NUMBER, {**head, "scanEvents": events}), after=H)
    lab.work("decide", "push")
    second = lab.parcel(FEDEX_NUMBER).summary

    assert (first["status"], first["since"]) == (
        "delivered",
        datetime.fromisoformat(at).astimezone(START.tzinfo).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    assert sorted(row.code for row in standing(lab)) == ["DL", "OD"]
    assert (second["status"], second["since"], second["scans"]) == ("delivered", "2026-11-02T15:10:00Z", 2)
    assert (second["taken_back"], second["doubted_at"]) == (None, None)
    assert lab.writes() == [("#1001", "DELIVERED")]
    assert "correction_after_delivered" not in lab.open_findings()


def tracker(status: str, *details: dict[str, Any], updated: str) -> bytes:
    return orjson.dumps(
        {"object": "Tracker", "tracking_code": USPS, "carrier": "USPS", "status": status, "tracking_details": list(details),
         "updated_at": updated}
    )  # fmt: skip


def detail(status: str, at: str) -> dict[str, Any]:
    return {"status": status, "datetime": at}


@pytest.mark.parametrize("status", ["delivered", "failure"])
def test_a_head_without_a_time_is_told_once_and_leaves_when_its_scan_comes(make_lab, status: str) -> None:
    lab = ordered(make_lab, USPS, "USPS")
    for hours in (8, 12, 16):  # the same answer again and again
        lab.clock.move_to(START + hours * H)
        lab.post_raw(
            "easypost",
            tracker(status, detail("in_transit", "2026-11-02T09:00:00Z"), updated=f"2026-11-02T{hours}:00:00Z"),
        )
        lab.work("ingest", "decide")
    head = lab.parcel(USPS).summary

    assert [row.code for row in standing(lab)] == ["in_transit", status]
    assert head["since"] == "2026-11-02T16:00:00Z"  # the first answer that told it: eight hours after START

    lab.clock.move_to(START + 20 * H)
    both = detail("in_transit", "2026-11-02T09:00:00Z"), detail(status, "2026-11-02T15:20:00Z")
    lab.post_raw("easypost", tracker(status, *both, updated="2026-11-03T04:00:00Z"))
    lab.work("ingest", "decide")
    real = lab.parcel(USPS).summary

    assert [(row.code, row.zone) for row in standing(lab)] == [("in_transit", "assumed"), (status, "assumed")]
    assert (real["status"], real["since"], real["scans"]) == (head["status"], "2026-11-02T15:20:00Z", 2)
    assert (real["taken_back"], real["doubted_at"]) == (None, None)


def test_an_attempt_that_the_head_told_is_one_attempt(make_lab, tmp_path: Path) -> None:
    lab = ordered(make_lab, FEDEX_NUMBER, "FedEx", accounts=FEDEX.replace("FOLDER", str(tmp_path)))
    latest = {"code": "DE", "ancillaryDetails": [{"reason": "007"}]}
    out = {"date": "2026-11-02T06:10:00-06:00", "eventType": "OD"}
    tried = {"date": "2026-11-02T07:10:00-06:00", "eventType": "DE", "exceptionCode": "007", "scanLocation": AUSTIN}
    answer(lab, "fedex", fedex(FEDEX_NUMBER, {"latestStatusDetail": latest, "scanEvents": [out]}), after=6 * H)
    assert lab.parcel(FEDEX_NUMBER).summary["attempts"] == 1
    answer(lab, "fedex", fedex(FEDEX_NUMBER, {"latestStatusDetail": latest, "scanEvents": [tried, out]}), after=H)

    assert (lab.parcel(FEDEX_NUMBER).summary["attempts"], len(standing(lab))) == (1, 2)


def test_a_scan_whose_time_could_not_be_read_leaves_when_it_can_be(make_lab) -> None:
    lab = ordered(make_lab, USPS, "USPS")
    lab.clock.move_to(START + 8 * H)
    odd = {"status": "out_for_delivery", "datetime": "this morning"}
    lab.post_raw(
        "easypost",
        tracker("out_for_delivery", detail("in_transit", "2026-11-02T09:00:00Z"), odd, updated="2026-11-02T16:00:00Z"),
    )
    lab.work("ingest", "decide")
    assert lab.parcel(USPS).summary["status"] == "out_for_delivery"
    whole = detail("in_transit", "2026-11-02T09:00:00Z"), detail("out_for_delivery", "2026-11-02T15:00:00Z")
    lab.clock.move_to(START + 9 * H)
    lab.post_raw("easypost", tracker("out_for_delivery", *whole, updated="2026-11-02T17:00:00Z"))
    lab.work("ingest", "decide")

    assert [(row.code, row.instant.hour) for row in standing(lab)] == [("in_transit", 9), ("out_for_delivery", 15)]
    assert lab.parcel(USPS).summary["since"] == "2026-11-02T15:00:00Z"
