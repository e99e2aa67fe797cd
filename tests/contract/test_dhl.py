"""The three modules of DHL against its own lists, samples and contracts in ../shared, where these are at hand."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, SPECS, Recorder, _codes, plugin
from tracker.domain.errors import CredentialsRejected, NotFound, RateLimited, Refused
from tracker.domain.facts import UNMAPPED, Link, Parcel, Parcels, Payload, Report
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, plugin_of

pytestmark = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared is not here: the official contracts are not shipped"
)
SAMPLES = SPECS / "dhl_unified" / "samples"


def _by_service(*services: str) -> list[Listed]:
    with (SPECS / "dhl_unified" / "status_by_service.csv").open(encoding="utf-8-sig") as file:
        rows = [Listed(row[0], row[1], row[2].strip()) for row in list(csv.reader(file, delimiter=";"))[1:]]
    return [row for row in rows if not services or row.space in services]


def test_every_status_of_every_service_is_decided(record_property: Any) -> None:
    rows = _by_service()
    assert len(rows) == 1092
    decided("dhl", "dhl_unified/status_by_service.csv", rows, record_property)
    coarse = [Listed("statusCode", row["code"], row["carrier_label"]) for row in _codes("dhl_unified")]
    decided("dhl", "direct_carriers.csv: dhl_unified", coarse, record_property)
    nothing_stale("dhl", [*rows, *coarse])


def test_what_dhl_calls_delivered_and_is_not_is_not_delivered() -> None:
    """FACTS, danger 6."""
    table = plugin_of("carriers.dhl").codes  # type: ignore[attr-defined]
    wanted = {
        "available_for_pickup": [("ecommerce-europe", code) for code in ("43", "44", "45", "46")]
        + [("parcel-nl", f"DELIVERED_AT_{where}") for where in ("PARCELSHOP", "ACCESSPOINT", "PARCELSTATION")]
        + [("parcel-pl", "DOR_SP"), ("parcel-pl", "DOR_POC"), ("ecommerce", "601")],
        "in_transit": [("ecommerce-europe", "302"), ("ecommerce", "642"), ("parcel-nl", "DELIVERED_AT_DEPOT")],
        "returned": [("ecommerce-europe", "366"), ("svb", "RETURNED_TO_SENDER"), ("parcel-nl", "DELIVERED_AT_SHIPPER")],
    }
    for status, keys in wanted.items():
        assert {key: str(table[key].status) for key in keys} == dict.fromkeys(keys, status)
    listed = {(row.space, row.code) for row in _by_service()}
    with (SPECS / "dhl_unified" / "status_by_service.csv").open(encoding="utf-8-sig") as file:
        coarse = {(row[0], row[1]): (row[2] + row[3]).casefold() for row in csv.reader(file, delimiter=";")}
    delivered = {key for key in listed & set(table) if table[key].status == "delivered"}
    assert [key for key in delivered if "transit" in coarse[key]] == []


# what a careful reader sees in each sample, newest first: of each shipment its scans' statuses
D, O, T, P, N, A, R, B, H, U = (
    "delivered", "out_for_delivery", "in_transit", "pre_transit", None, "delivery_attempted", "returning", "returned", "delayed", "unknown",
)  # fmt: skip
GOT, READY = "picked_up", "available_for_pickup"
SEEN: dict[str, list[list[str | None]]] = {
    "00340434292135100056": [[P]],
    "1-254346763_1": [
        [N], [P, D, T], [P, D, T], [P, D, T], [P, D, T], [P, D, T], [N, D, P, T], [P], [P], [D, N, P, T], [D, N, T, P], [T, D, P],
        [P, T, D],
    ],
    "12345678": [[D, P, U, U, P]],
    "3SHM00001165430": [[A, A, O, O, T, T, T, T, T, P]],
    "422891590640": [[D, T, "exception"]],
    "423475729485": [[D, O, T, T, T, P]],
    "423475729485_full": [[D, O, T, T, T, P]],
    "64888": [
        [D, O, T, T, T, T, T, T, T, P, P], [D, O, T, T, T, T, T, T, P, P], [D, O, T, T, T, T, T, T, T, P, P],
        [D, O, T, T, T, T, T, T, T, T, P, P], [D, O, T, T, T, T, T, T, P, P], [D], [D], [D], [D],
    ],
    "JJD000390005893028175": [[D, O, T, T, P]],
    "JJD000390006060575288": [[D, O, T, T, P]],
    "JJD000390011492126828": [[D, O, T, P]],
    "JJD000390011782495500": [[D, O, T, P]],
    "JVGL06048524783718330083": [
        [B, R, R, T, T, GOT, GOT, R, READY, N, READY, O, O, T, T, A, T, N, T, N, N, A, A, O, O, T, T, T, T, T, H, *[T] * 9, P, P],
    ],
}  # fmt: skip


def _read(path: Path) -> list[Report]:
    items = list(plugin("carriers.dhl").normalize(Payload("a", "poll", (path.read_bytes(),), AT, {})))
    assert all(isinstance(item, Report) for item in items), items
    return [item for item in items if isinstance(item, Report)]


@pytest.mark.parametrize("name", sorted(SEEN))
def test_each_sample_is_read_as_a_careful_reader_does(name: str) -> None:
    source, path = plugin("carriers.dhl"), SAMPLES / "success" / f"{name}.json"
    reports, shipments = _read(path), json.loads(path.read_text())["shipments"]
    assert [report.number for report in reports] == [str(one["id"]) for one in shipments]
    seen = [[(source.meaning(scan.code) or UNMAPPED).status for scan in report.scans] for report in reports]
    assert seen == SEEN[name]
    for report, printed in zip(reports, shipments, strict=True):
        assert report.piece == printed["service"]
        times = [datetime.fromisoformat(one["timestamp"]) for one in printed["events"]]
        assert [scan.local for scan in report.scans] == [at.replace(tzinfo=None) for at in times]
        assert [scan.occurred_at for scan in report.scans] == [at if at.tzinfo else None for at in times]
        assert [str(scan.zone) for scan in report.scans] == ["offset" if at.tzinfo else "unknown" for at in times]


def test_numbers_of_the_last_mile_and_of_returns_and_estimates_are_read() -> None:
    posts = [link for report in _read(SAMPLES / "success" / "64888.json") for link in report.links]
    assert len(posts) == 9
    assert {(link.carrier, link.relation, len(link.number)) for link in posts} == {(None, "last_mile", 22)}
    (back,) = _read(SAMPLES / "success" / "JVGL06048524783718330083.json")
    assert back.links == (Link("JVGL06048524927870655", "dhl", "return"),)
    assert back.edd is not None
    assert (back.edd.begins.hour, back.edd.ends.hour) == (6, 16)


@pytest.mark.parametrize(
    ("name", "error"),
    [("bad_input", Refused), ("not_found", NotFound), ("too_many_requests", RateLimited), ("unauthorized", CredentialsRejected)],
)  # fmt: skip
@pytest.mark.parametrize("good", [False, True])
def test_each_error_of_the_samples_is_that_error_whatever_its_http_status(name: str, error: Any, good: bool) -> None:
    body = (SAMPLES / "error" / f"{name}.json").read_bytes()
    with pytest.raises(error) as told:
        plugin("carriers.dhl").raise_for_status(Response(200 if good else json.loads(body)["status"], {}, body, AT))
    assert type(told.value) is error


# MyDHL API


MYDHL = SPECS / "mydhl" / "mydhl-api-3.1.1-tracking-subset.json"


def test_every_checkpoint_of_express_is_decided(record_property: Any) -> None:
    rows = _by_service("express")
    decided("dhl_express", "dhl_unified/status_by_service.csv: express", rows, record_property)
    ours = [Listed("express", row["code"], row["carrier_label"]) for row in _codes("dhl_express")]
    assert len(ours) == 44
    decided("dhl_express", "direct_carriers.csv: dhl_express", ours, record_property)
    nothing_stale("dhl_express", [*rows, *ours])
    words = {
        "info_received": "pre_transit",
        "attempt_failed": "delivery_attempted",
        "return_in_progress": "returning",
        "note": None,
    }
    finer = {
        "CD": "on_hold",
        "UD": "on_hold",
        "HP": "on_hold",
        "OH": "on_hold",
        "SS": "on_hold",
        "MD": "delayed",
        "DS": "destroyed",
        "PD": "exception",
    }
    table = plugin_of("carriers.dhl_express").codes  # type: ignore[attr-defined]
    for row in _codes("dhl_express"):
        wanted = finer.get(row["code"]) or words.get(row["status"], row["status"])
        assert table["express", row["code"]].status == wanted, row


def test_the_calls_are_what_mydhl_describes() -> None:
    document = json.loads(MYDHL.read_text())
    client = Recorder({"shipments": []}, {"shipments": []}, {"documents": []})
    source = plugin("carriers.dhl_express", account_number="123456789")
    list(source.fetch(client, Parcels((Parcel("dhl", "9356579890"),))))
    list(source.fetch(client, Parcels((Parcel("dhl", "9356579890"), Parcel("dhl", "4818240420")))))
    with pytest.raises(NotFound):
        source.proof(client, Parcel("dhl", "9356579890"), None)
    paths = (
        "/shipments/{shipmentTrackingNumber}/tracking",
        "/tracking",
        "/shipments/{shipmentTrackingNumber}/proof-of-delivery",
    )
    for sent, path in zip(client.sent, paths, strict=True):
        parameters = [
            document["components"]["parameters"][one["$ref"].rpartition("/")[2]]
            for one in document["paths"][path]["get"]["parameters"]
        ]
        query = {one["name"]: one["schema"] for one in parameters if one["in"] == "query"}
        headers = {one["name"] for one in parameters if one["in"] == "header" and one.get("required")}
        assert sent.url == document["servers"][2]["url"] + path.replace("{shipmentTrackingNumber}", "9356579890")
        assert set(sent.params) <= set(query)
        assert headers <= set(sent.headers)
        assert sent.headers["x-version"] == document["components"]["parameters"]["xVersionHeader"]["schema"]["default"]
        assert (
            sent.params.get("levelOfDetail", "all")
            in document["components"]["parameters"]["trackingLevelOfDetail"]["schema"]["enum"]
        )
        assert sent.basic is not None
    assert source.batch == document["components"]["parameters"]["shipmentTrackingNumberMulti"]["schema"]["maxItems"]


def test_the_example_of_mydhl_is_read_as_a_careful_reader_does() -> None:
    operation = json.loads(MYDHL.read_text())["paths"]["/shipments/{shipmentTrackingNumber}/tracking"]["get"]
    (example,) = operation["responses"]["200"]["content"]["application/json"]["examples"].values()
    source = plugin("carriers.dhl_express")
    reports = list(source.normalize(Payload("a", "poll", (json.dumps(example["value"]).encode(),), AT, {})))
    seen = {one.number: [str(source.meaning(scan.code).status) for scan in one.scans] for one in reports}

    assert seen == {
        "1234567890": [GOT, *[T] * 10, O, D], "JD012345678901234567": [GOT, *[T] * 7, O, D],
    }  # fmt: skip
    first, last = reports[0].scans[0], reports[0].scans[-1]
    assert [(scan.local.isoformat(), str(scan.zone), str(scan.place)) for scan in (first, last)] == [
        ("2023-08-09T13:56:21", "unknown", "SYDNEY, AU"), ("2023-08-10T11:59:23", "unknown", "AUCKLAND, NZ"),
    ]  # fmt: skip
    assert reports[1].links == (Link("1234567890", "dhl", "main"),)
    assert {(one.piece, one.complete, one.proof) for one in reports} == {("express", True, None)}
    assert f"{reports[0].edd.begins:%d} {reports[0].edd.ends:%d}" == "11 12"


@pytest.mark.parametrize("good", [False, True])
def test_each_error_of_the_examples_of_mydhl_is_that_error(good: bool) -> None:
    document = json.loads(MYDHL.read_text())
    source, met = plugin("carriers.dhl_express"), 0
    for path in document["paths"].values():
        for status, error in (("400", Refused), ("404", NotFound)):
            for example in path["get"]["responses"][status]["content"]["application/json"]["examples"].values():
                with pytest.raises(error):
                    body = json.dumps(example["value"]).encode()
                    source.raise_for_status(Response(200 if good else int(status), {}, body, AT))
                met += 1
    assert met == 6


# Parcel DE Tracking


def test_every_standard_code_and_each_of_ice_and_ric_is_decided(record_property: Any) -> None:
    ours = [Listed("parcel-de", row["code"], row["carrier_label"]) for row in _codes("dhl_parcel_de")]
    assert len(ours) == 16
    decided("dhl_parcel_de", "direct_carriers.csv: dhl_parcel_de", ours, record_property)
    decided("dhl_parcel_de", "dhl_unified/status_by_service.csv: parcel-de", _by_service("parcel-de"), record_property)
    with (SPECS / "dhl_parcel_de" / "ice_event_ric_combinations_2024-07.csv").open(encoding="utf-8-sig") as file:
        rows = [
            Listed("ice", "/".join((row["ice_event_code"], row["ice_ric_code"], row["ttpro_event_code"])), f"{row['ice_event_name']}: {row['ice_ric_name']}")
            for row in csv.DictReader(file, delimiter=";")
        ]  # fmt: skip
    assert len(rows) == 338
    decided("dhl_parcel_de", "ice_event_ric_combinations_2024-07.csv", rows, record_property)
    nothing_stale("dhl_parcel_de", [*ours, *rows])


def test_what_has_the_code_of_a_delivery_and_is_none_is_not_delivered() -> None:
    table = plugin_of("carriers.dhl_parcel_de").codes  # type: ignore[attr-defined]
    says = {code: str(meaning.status) for (space, code), meaning in table.items() if space == "ice"}

    assert {status for code, status in says.items() if code.startswith("DSPSD/")} == {"destroyed"}
    assert {status for code, status in says.items() if code.startswith("RETRN/")} == {"returning"}
    assert {code: status for code, status in says.items() if code.endswith("/ZU") and status != "delivered" and code[:5] != "DSPSD"} == {
        "DLVRD/CUSTM/ZU": "in_transit", "DLVRD/HNDTC/ZU": "in_transit",
    }  # fmt: skip
    assert {code[-2:] for code, status in says.items() if status == "delivered"} == {"ZU"}
    words = {"info_received": "pre_transit", "attempt_failed": "delivery_attempted", "note": "None"}
    for row in _codes("dhl_parcel_de"):
        assert str(table["parcel-de", row["code"]].status) == words.get(row["status"], row["status"]), row


def test_both_tables_of_parcel_de_are_one() -> None:
    unified, mine = (plugin_of(f"carriers.{name}").codes for name in ("dhl", "dhl_parcel_de"))  # type: ignore[attr-defined]

    assert {key: says for key, says in unified.items() if key[0] == "parcel-de"} == {
        key: says for key, says in mine.items() if key[0] == "parcel-de"
    }
