"""Several shipments under one number in one answer: the one that fits is told, none where nobody can know."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab import START, H, Lab
from tracker.pipeline import journeys
from tracker.store import queries
from tracker.store import tables as t

CASE = (Path(__file__).parents[1] / "cases" / "dhl-two-services.poll.json").read_bytes()
NUMBER = "1234567890"
DAY = timedelta(days=1)
FEDEX = (
    '  fedex: {uses: fedex, base_url: "http://127.0.0.1:9/fedex", client_id: x, client_secret: "${file:FOLDER/s}"}\n'
)


def answer(lab: Lab, account: str, body: Any, *, after: timedelta = timedelta(0)) -> None:
    """Take in what a poll of an account brought."""
    lab.clock.move_to(lab.clock() + after)
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    with lab.daemon.store.write() as connection:
        row = queries.payload_row(account, "poll", [body], lab.clock(), lab.clock())
        queries.store_payloads(connection, [row])
    lab.work("ingest", "decide")


def shipped(make_lab, company: str, number: str = NUMBER, at: datetime = START) -> Lab:
    lab = make_lab()
    lab.clock.move_to(at)
    lab.order("#1001", number, company=company)
    lab.work("poll", "ingest", "decide")
    lab.clock.move_to(datetime(2026, 11, 21, 8, tzinfo=START.tzinfo))
    return lab


def shipment(service: str, *events: tuple[str, str, str], number: str = NUMBER) -> dict[str, Any]:
    told = [{"timestamp": at, "statusCode": coarse, "status": fine} for coarse, fine, at in events]
    return {"id": number, "service": service, "events": told}


def scans(lab: Lab, number: str = NUMBER) -> list[str]:
    ids = {row.id for row in lab.rows(t.shipments) if row.number == number}
    return [f"{row.space}:{row.code}" for row in lab.rows(t.scans) if row.shipment_id in ids and not row.withdrawn_at]


def doubt(lab: Lab) -> Any:
    f = t.findings.c
    found = lab.rows(t.findings, f.kind == "sources_disagree", f.closed_at.is_(None), f.subject.startswith("parcel/"))
    return found[0].evidence if found else None


def test_the_shops_word_for_the_carrier_says_which_of_two_services_is_meant(make_lab) -> None:
    lab = shipped(make_lab, "DHL Express")
    answer(lab, "dhl", CASE)

    assert (lab.parcel(NUMBER).status, lab.parcel(NUMBER).piece) == ("picked_up", "express")
    assert scans(lab) == ["express:PU"]
    assert doubt(lab) is None


def test_a_shipment_that_ended_before_the_parcel_was_shipped_is_anothers(make_lab) -> None:
    lab = shipped(make_lab, "DHL", at=datetime(2026, 11, 19, tzinfo=START.tzinfo))
    answer(lab, "dhl", CASE)

    assert (lab.parcel(NUMBER).status, doubt(lab)) == ("picked_up", None)
    assert scans(lab) == ["express:PU"]


def test_where_nobody_can_know_none_is_believed_and_a_finding_says_so(make_lab) -> None:
    lab = shipped(make_lab, "DHL")
    answer(lab, "dhl", CASE)

    assert (lab.parcel(NUMBER).status, scans(lab), lab.writes()) == ("unknown", [], [])
    assert doubt(lab) == {
        "account": "dhl", "parcel": f"dhl {NUMBER}", "order": "#1001", "services": "express, freight",
        "statuses": "picked_up, delivered", "newest": "2026-11-20 14:27Z, 2026-11-12 08:00Z", "believed": "none",
    }  # fmt: skip
    tracking = next(row for row in lab.rows(t.watches) if row.account == "dhl")
    assert tracking.response_hash is None  # the same answer is looked at again: the shop may have said more by then

    answer(
        lab, "dhl", {"shipments": [shipment("express", ("transit", "PU", "2026-11-20T15:27:20+01:00"))]}, after=4 * H
    )
    assert (lab.parcel(NUMBER).status, doubt(lab)) == ("picked_up", None)


def test_of_a_number_that_no_order_names_none_is_believed_either(make_lab) -> None:
    lab = make_lab()
    lab.clock.move_to(datetime(2026, 11, 21, 8, tzinfo=START.tzinfo))
    answer(lab, "dhl", CASE)

    assert (lab.rows(t.shipments), lab.rows(t.scans)) == ([], [])
    assert doubt(lab)["believed"] == "none"


def test_the_shipment_that_was_told_before_goes_on_and_a_finding_tells_of_the_other(make_lab) -> None:
    lab = shipped(make_lab, "DHL")
    express = shipment("express", ("transit", "PU", "2026-11-20T15:27:20+01:00"))
    freight = shipment("freight", ("delivered", "delivered", "2026-11-12T09:00:00+01:00"))
    answer(lab, "dhl", {"shipments": [express]})
    answer(lab, "dhl", {"shipments": [freight, express]}, after=4 * H)

    assert (lab.parcel(NUMBER).status, scans(lab)) == ("picked_up", ["express:PU"])
    assert doubt(lab)["believed"] == "express"


def test_another_service_alone_does_not_take_the_parcels_place(make_lab) -> None:
    lab = shipped(make_lab, "DHL")
    answer(lab, "dhl", {"shipments": [shipment("express", ("transit", "PU", "2026-11-20T15:27:20+01:00"))]})
    answer(lab, "dhl", {"shipments": [shipment("freight", ("delivered", "OK", "2026-11-12T09:00:00Z"))]}, after=4 * H)

    assert (lab.parcel(NUMBER).status, lab.parcel(NUMBER).piece) == ("picked_up", "express")
    assert (doubt(lab)["services"], doubt(lab)["believed"]) == ("freight", "none")


def test_a_service_that_was_taken_for_the_parcels_leaves_once_the_shops_word_is_known_to_mean_another(make_lab) -> None:
    lab = shipped(make_lab, "DHL Express")
    answer(lab, "dhl", {"shipments": [shipment("freight", ("delivered", "delivered", "2026-11-12T09:00:00+01:00"))]})
    assert lab.parcel(NUMBER).status == "delivered"
    answer(lab, "dhl", CASE, after=4 * H)

    assert (lab.parcel(NUMBER).status, lab.parcel(NUMBER).piece) == ("picked_up", "express")
    assert scans(lab) == ["express:PU"]
    assert "correction_after_delivered" in lab.open_findings()


def test_what_begins_after_the_parcels_journey_ended_is_a_new_one_of_its_number(make_lab) -> None:
    lab = shipped(make_lab, "DHL")
    first = shipment("express", ("delivered", "OK", "2026-11-12T09:00:00+01:00"))
    second = shipment("parcel-de", ("transit", "picked up", "2026-11-20T09:00:00+01:00"))
    answer(lab, "dhl", {"shipments": [first]})
    answer(lab, "dhl", {"shipments": [first, second]}, after=4 * H)
    answer(lab, "dhl", {"shipments": [first, second]}, after=4 * H)

    assert [(row.generation, row.status, row.piece) for row in lab.rows(t.shipments)] == [
        (1, "delivered", "express"), (2, "in_transit", "parcel-de"),
    ]  # fmt: skip
    assert doubt(lab) is None


def result(unique: str | None, code: str, at: str) -> dict[str, Any]:
    info = {"trackingNumberUniqueId": unique} if unique else {}
    return {"trackingNumberInfo": info, "scanEvents": [{"date": at, "eventType": code}]}


def fedex(number: str, *results: dict[str, Any]) -> dict[str, Any]:
    return {"output": {"completeTrackResults": [{"trackingNumber": number, "trackResults": list(results)}]}}


EXPRESS = '  express: {uses: dhl, base_url: "http://127.0.0.1:9/dhl", service: express, api_key: "${file:FOLDER/s}"}\n'


def test_accounts_of_two_divisions_of_a_carrier_speak_of_the_same_parcel(make_lab, tmp_path: Path) -> None:
    lab = make_lab(accounts=EXPRESS.replace("FOLDER", str(tmp_path)))
    lab.order("#1001", NUMBER, company="DHL")
    lab.work("poll", "ingest", "decide")
    events = [("transit", "PU", "2026-11-02T10:00:00"), ("delivered", "OK", "2026-11-02T15:00:00")]
    answer(lab, "dhl", {"shipments": [shipment("express", events[0])]}, after=5 * H)
    answer(lab, "express", {"shipments": [shipment("express", *events)]}, after=H)

    parcel = lab.parcel(NUMBER)
    assert (parcel.carrier, parcel.piece, parcel.status) == ("dhl", "express", "delivered")
    assert scans(lab) == ["express:PU", "express:OK"]
    assert len([row for row in lab.rows(t.shipments) if row.number == NUMBER]) == 1


@pytest.mark.parametrize("unique", [True, False])
def test_an_earlier_use_of_a_fedex_number_is_not_the_parcels(make_lab, tmp_path: Path, unique: bool) -> None:
    lab = make_lab(accounts=FEDEX.replace("FOLDER", str(tmp_path)))
    number = "776094337676"
    lab.order("#1001", number, company="FedEx")
    lab.work("poll", "ingest", "decide")
    old = result("12024~1~FDEG" if unique else None, "DL", "2024-05-01T10:00:00-05:00")
    new = result("12026~1~FDEG" if unique else None, "PU", "2026-11-02T01:00:00-05:00")
    answer(lab, "fedex", fedex(number, old, new), after=H)

    assert lab.parcel(number).status == "picked_up"
    assert scans(lab, number) == ["track:PU"]
    assert doubt(lab) is None


def test_results_that_share_a_scan_are_one_shipment(make_lab) -> None:
    lab = shipped(make_lab, "DHL")
    early, late = ("transit", "PU", "2026-11-19T10:00:00Z"), ("transit", "WC", "2026-11-20T10:00:00Z")
    answer(lab, "dhl", {"shipments": [shipment("express", early), shipment("express", late, early)]})

    assert (lab.parcel(NUMBER).status, len(scans(lab)), doubt(lab)) == ("out_for_delivery", 2, None)


def test_a_service_is_named_by_its_first_word() -> None:
    words = {"dhl", "parcel", "x"}

    assert [journeys.named(piece, words) for piece in ("parcel-de", "express", "", "~")] == [True, False, False, False]
