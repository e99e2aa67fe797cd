"""FedEx against its official contracts and lists in ../shared, where these are at hand; skipped with a reason where they are not."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from tests.cases.test_parsers import status_of
from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_key_vectors import good, vector
from tests.contract.test_shared import SPECS, Recorder, _codes, _resolve, plugin
from tracker.domain.errors import NotFound, WebhookRejected
from tracker.domain.facts import Parcel, Parcels, Payload
from tracker.plugin.conformance import AT

FEDEX = SPECS / "fedex"
pytestmark = pytest.mark.skipif(
    not SPECS.exists(), reason="../shared is not here: the official contracts are not shipped"
)
SPACES = {"Movement": "track", "Regulatory": "regulatory", "Possession": "possession"}
CUSTOMS = frozenset({"CP", "CC", "CD"})  # of the pushes' list, which has no groups of its own for them


def rows(file: str) -> list[dict[str, str]]:
    with (FEDEX / file).open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def of_polls() -> list[Listed]:
    return [Listed(SPACES[r["group"]], r["code"], r["definition"]) for r in rows("tracking_status_codes.csv")]


def of_pushes() -> list[Listed]:
    """Where a push says something else by a code than a poll does, its words tell them apart."""
    found = []
    for r in rows("webhook_event_codes.csv"):
        code, said = r["code"], r["status"]
        if code in {"AR", "TR", "DY", "EA", "DP"}:
            found.append(Listed("said", f"{code}:{said.casefold()}", said))
        else:
            found.append(Listed("regulatory" if code in CUSTOMS else "track", code, said))
    return found


def of_third_parties() -> list[Listed]:
    space = "exceptionCode / ancillaryDetails.reason"
    return [
        Listed("reason", r["code"], r["wording"])
        for r in _codes("fedex", "more_codes.csv")
        if r["space"].startswith(space)
    ]


def test_each_code_of_track_is_decided(record_property) -> None:
    decided("fedex", "specs/fedex/tracking_status_codes.csv", of_polls(), record_property)


def test_each_code_of_pushes_is_decided(record_property) -> None:
    decided("fedex", "specs/fedex/webhook_event_codes.csv", of_pushes(), record_property)


def test_each_exception_code_that_anybody_told_is_decided(record_property) -> None:
    decided("fedex", "specs/_status_maps/more_codes.csv", of_third_parties(), record_property)
    nothing_stale("fedex", [*of_polls(), *of_pushes(), *of_third_parties()])


def test_each_code_of_the_map_has_a_row() -> None:
    table = plugin("carriers.fedex").codes
    listed = [row for row in _codes("fedex") if "webhook" not in row["code_space"]]
    assert {row["code_space"].startswith("regulatory") for row in listed} == {True, False}
    for row in listed:
        space = "regulatory" if row["code_space"].startswith("regulatory") else "track"
        assert (space, row["code"]) in table, row


def test_the_poll_is_what_track_json_describes() -> None:
    document = json.loads((FEDEX / "track.json").read_text())
    client = Recorder({"access_token": "t", "expires_in": 10})
    list(plugin("carriers.fedex").fetch(client, Parcels((Parcel("fedex", "986578788855"),))))
    body = json.loads(client.sent[1].content or b"")
    operation = document["paths"]["/track/v1/trackingnumbers"]["post"]
    schema = _resolve(document, operation["requestBody"]["content"]["application/json"]["schema"])
    schema = _resolve(document, (schema.get("oneOf") or [schema])[0])

    assert set(body) <= set(schema["properties"])
    assert set(schema.get("required", ())) <= set(body)


def test_the_letter_is_asked_for_as_track_json_describes() -> None:
    document = json.loads((FEDEX / "track.json").read_text())
    client = Recorder({"access_token": "t", "expires_in": 10}, {"output": {}})
    with pytest.raises(NotFound):
        plugin("carriers.fedex").proof(client, Parcel("fedex", "986578788855"), "1")
    body = json.loads(client.sent[1].content or b"")
    schemas = document["components"]["schemas"]

    assert set(body) == set(schemas["Full_Schema_SPOD"]["required"])
    assert "/track/v1/trackingdocuments" in document["paths"]
    assert set(body["trackDocumentDetail"]) <= set(schemas["TrackDocumentDetail"]["properties"])


def test_each_kind_of_number_and_delay_that_is_read_is_one_of_track_json() -> None:
    from carriers.fedex import _FREIGHT, _READ, _RELATIONS

    schemas = json.loads((FEDEX / "track.json").read_text())["components"]["schemas"]

    def enum(schema: str, name: str) -> set[str]:
        return set(schemas[schema]["properties"][name]["enum"])

    assert set(_RELATIONS) <= enum("PackageIdentifier", "type")
    assert enum("TrackingNumberInfo_1", "carrierCode") >= _FREIGHT
    assert enum("TrackingDateAndTime", "type") >= _READ
    delays = {code for space, code in plugin("carriers.fedex").codes if space == "delay"}
    assert enum("DelayDetail", "type") == delays


def test_its_signature_vectors() -> None:
    told = vector("fedex-advanced-integrated-visibility", "carriers/specs/webhook-signature-vectors.json")
    source = plugin("carriers.fedex", webhook_secrets=[told["key"]["secret"]])

    def check(wrong: Any) -> int:
        headers, body = good(told, wrong)
        return int(source.verify(Payload("a", "webhook", (body,), AT, headers)))

    assert [check(right) for right in ({}, *told["must_pass"])] == [0, 0, 0]
    assert len(told["must_fail"]) == 6
    for wrong in told["must_fail"]:
        with pytest.raises(WebhookRejected):
            check(wrong)


MOCK = {  # the scenarios of the mock list: the event and its exception code as it names them; what they mean, read by hand
    "Shipment information sent to FedEx": ("OC", "", "pre_transit", "label_created"),
    "Tendered": ("DO", "", "picked_up", "dropped_off"),
    "Picked up": ("PU", "", "picked_up", "picked_up"),
    "Arrived at FedEx location": ("AR", "", "in_transit", "moving"),
    "At local FedEx facility": ("AF", "", "in_transit", "moving"),
    "At destination sort facility": ("SF", "", "in_transit", "moving"),
    "Departed FedEx location": ("DP", "", "in_transit", "moving"),
    "On FedEx vehicle for delivery": ("OD", "", "out_for_delivery", "on_vehicle"),
    "International shipment release": ("CC", "", "in_transit", "customs_cleared"),
    "Customer not available or business closed (Delivery Exception 007)": (
        "DE", "007", "delivery_attempted", "recipient_unavailable",
    ),
    "Local delivery restriction (Delivery Exception 083)": ("DE", "083", "delayed", "external"),
    "Incorrect address (Delivery Exception 03)": ("DE", "03", "exception", "address_incorrect"),
    "Unable to deliver (Shipment Exception 099)": ("SE", "099", "delivery_failed", "undeliverable"),
    "Returned to sender/shipper": ("RS", "", "returning", "return_initiated"),
    "Clearance delay (International)": ("CD", "", "on_hold", "customs_hold"),
    "Delivered": ("DL", "", "delivered", "delivered"),
    "Hold at location": ("HL", "", "available_for_pickup", "carrier_depot"),
    "Shipment canceled": ("CA", "", "cancelled", "cancelled"),
    "In transit": ("IT", "", "in_transit", "moving"),
    "Out for delivery": ("OD", "", "out_for_delivery", "on_vehicle"),
}  # fmt: skip


def answer(number: str, *events: dict[str, Any]) -> bytes:
    results = [{"trackingNumberInfo": {"trackingNumber": number}, "scanEvents": [event]} for event in events]
    told = {"completeTrackResults": [{"trackingNumber": number, "trackResults": results}]}
    return json.dumps({"transactionId": "t", "output": told}).encode()


@pytest.mark.parametrize(
    "row",
    rows("mock_tracking_numbers.csv") if FEDEX.exists() else [{"scenario": "skipped, as the contracts are not here"}],
    ids=lambda row: row["scenario"],
)
def test_each_mock_number_reads_as_the_list_says(row) -> None:
    source, number, scenario = plugin("carriers.fedex"), row["tracking_number"], row["scenario"]
    event = {"date": "2026-11-03T10:00:00-06:00", "eventDescription": scenario.partition(" (")[0]}
    if scenario == "Duplicate Tracking Number":
        told = answer(number, {**event, "eventType": "DL"}, {**event, "eventType": "PU"})
        reports = list(source.normalize(Payload("a", "poll", (told,), AT, {})))
        assert [(report.number, status_of(source, report)) for report in reports] == [
            (number, "delivered"), (number, "picked_up"),
        ]  # fmt: skip
        return
    code, why, status, reason = MOCK[scenario]
    told = answer(number, {**event, "eventType": code, "exceptionCode": why})
    (report,) = source.normalize(Payload("a", "poll", (told,), AT, {}))
    meaning = source.meaning(report.scans[0].code)

    assert (report.number, meaning.status, meaning.reason) == (number, status, reason)
    assert status_of(source, report) == status


def test_each_scenario_of_the_mock_list_is_read() -> None:
    assert {row["scenario"] for row in rows("mock_tracking_numbers.csv")} == {*MOCK, "Duplicate Tracking Number"}
