"""PostNL's calls, codes and examples against their official contracts in ../shared, where these are at hand."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, SPECS, Recorder, _codes, plugin
from tracker.domain.errors import BadPayload, NotFound
from tracker.domain.facts import Parcel, Parcels, Payload, Report, Since
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, plugin_of

pytestmark = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared is not here: the official contracts are not shipped"
)


def test_the_postnl_calls_are_what_its_contract_describes() -> None:
    document = json.loads((SPECS / "postnl" / "ShippingStatus_v2_openapi.json").read_text())
    source, client = plugin("carriers.postnl"), Recorder({}, {}, {})
    client.send = lambda request: client.sent.append(request) or Response(200, {}, b"[]", AT)  # type: ignore[method-assign, func-returns-value]
    list(source.fetch(client, Parcels((Parcel("postnl", "3SDEVC172649258"),))))
    list(source.fetch(client, Since(None, until=AT)))
    with pytest.raises(BadPayload):
        source.proof(client, Parcel("postnl", "3SDEVC172649258"), None)
    paths = ("barcode/{barcode}", "{customernumber}/updatedshipments", "signature/{barcode}")
    for sent, path in zip(client.sent, paths, strict=True):
        operation = document["paths"][f"/shipment/v2/status/{path}"]["get"]
        names = {p["name"] for p in operation["parameters"] if p["in"] == "query"}
        filled = path.replace("{barcode}", "3SDEVC172649258").replace("{customernumber}", "canary-customer_number")
        assert sent.url == f"{document['servers'][1]['url']}/shipment/v2/status/{filled}"
        assert set(sent.params) <= names
        assert document["components"]["securitySchemes"]["APIKeyHeader"]["name"] in sent.headers


def test_the_call_by_reference_is_what_its_contract_describes() -> None:
    document = json.loads((SPECS / "postnl" / "ShippingStatus_v2_openapi.json").read_text())
    source, client = plugin("carriers.postnl", customer_code="DEVC"), Recorder({}, {})

    def send(request: Any) -> Response:
        client.sent.append(request)
        if "/barcode/" in request.url:
            raise NotFound("No shipment found")
        return Response(200, {}, b"[]", AT)

    client.send = send  # type: ignore[method-assign]
    list(source.fetch(client, Parcels((Parcel("postnl", "REF12345"),))))

    sent = client.sent[1]
    parameters = document["paths"]["/shipment/v2/status/reference/{referenceId}"]["get"]["parameters"]
    needed = {p["name"] for p in parameters if p["in"] == "query" and p.get("required")}
    assert sent.url.endswith("/shipment/v2/status/reference/REF12345")
    assert needed <= set(sent.params) <= {p["name"] for p in parameters if p["in"] == "query"}


def test_the_examples_of_the_postnl_contract_are_read() -> None:
    document = json.loads((SPECS / "postnl" / "ShippingStatus_v2_openapi.json").read_text())
    source = plugin("carriers.postnl")
    told: dict[str, list[Any]] = {}
    for name, example in document["components"]["examples"].items():
        body = json.dumps(example["value"]).encode()
        name = name.removeprefix("shippingstatusExampleResponse")
        if name.startswith("No"):
            with pytest.raises(NotFound):
                source.raise_for_status(Response(200, {}, body, AT))
        elif name != "Signature":  # it is cut off there
            source.raise_for_status(Response(200, {}, body, AT))
            kind = "sweep" if name.startswith("Updated") else "poll"
            told[name] = list(source.normalize(Payload("a", kind, (body,), AT, {})))
    assert {name: len(items) for name, items in told.items()} == {
        "SingleShipmentCurrent": 1, "SingleShipmentComplete": 1, "Multicollo": 2, "UpdatedShipments": 4,
        "UpdatedShipmentsNoUpdates": 0,
    }  # fmt: skip
    reports = [item for items in told.values() for item in items]
    assert all(isinstance(report, Report) and report.scans for report in reports)
    assert all(source.meaning(scan.code) is not None for report in reports for scan in report.scans)
    assert told["SingleShipmentComplete"][0].complete


def test_the_examples_say_what_a_careful_reader_sees() -> None:
    document = json.loads((SPECS / "postnl" / "ShippingStatus_v2_openapi.json").read_text())
    source = plugin("carriers.postnl")

    def told(name: str, kind: str = "poll") -> list[tuple[str, bool, list[tuple[str, str, str]]]]:
        example = document["components"]["examples"][f"shippingstatusExampleResponse{name}"]
        found = source.normalize(Payload("a", kind, (json.dumps(example["value"]).encode(),), AT, {}))
        return [
            (
                r.number,
                r.complete,
                [(s.code.code, str(source.meaning(s.code).status), s.local.isoformat()) for s in r.scans],
            )
            for r in found
        ]

    events = [
        ("J05", "out_for_delivery", "2022-11-08T10:13:20"), ("J01", "in_transit", "2022-11-08T09:58:11"),
        ("B01", "picked_up", "2022-11-08T00:08:39"), ("A01", "pre_transit", "2022-11-07T19:19:31"),
    ]  # fmt: skip
    assert told("SingleShipmentComplete") == [("3SDEVC288882229", True, events)]
    status = [("7", "out_for_delivery", "2022-11-08T10:13:20")]
    assert told("SingleShipmentCurrent") == [("3SDEVC288882229", False, status)]
    assert told("Multicollo") == [
        ("3SDEVC5672025", True, [("A01", "pre_transit", "2022-11-07T12:36:41")]),
        ("3SDEVC7755088", True, [("A01", "pre_transit", "2022-11-07T12:35:44")]),
    ]
    assert told("UpdatedShipments", "sweep") == [
        ("3SDEVC2260332157", False, [("5", "None", "2022-11-08T02:17:49")]),
        ("3SDEVC775533088", False, [("13", "None", "2022-11-08T04:15:00")]),
        ("3SDEVC563372025", False, [("13", "None", "2022-11-08T04:15:00")]),
        ("3SDEVC336510881", False, [("1", "None", "2022-11-08T01:01:28")]),
    ]


def _listed(file: str, space: str) -> list[Listed]:
    with (SPECS / "postnl" / f"{file}.csv").open(encoding="utf-8", newline="") as opened:
        return [Listed(space, row[f"{space}_code"], row["description_en"]) for row in csv.DictReader(opened)]


def _suggested() -> list[Listed]:
    spaces = {"StatusCode": "status"}
    return [
        Listed(spaces.get(row["code_space"], "event"), row["code"], row["carrier_label"]) for row in _codes("postnl")
    ]


def test_each_code_of_postnl_is_decided(record_property: Any) -> None:
    events, statuses = _listed("event_codes", "event"), _listed("status_codes", "status")
    assert (len(events), len(statuses), len(_suggested())) == (288, 23, 84)
    decided("postnl", "specs/postnl/event_codes.csv", events, record_property)
    decided("postnl", "specs/postnl/status_codes.csv", statuses, record_property)
    decided("postnl", "_status_maps/direct_carriers.csv", _suggested(), record_property)
    nothing_stale("postnl", [*events, *statuses, *_suggested()])


def test_every_postnl_code_means_what_the_list_says() -> None:
    table = plugin_of("carriers.postnl").codes  # type: ignore[attr-defined]
    words = {
        "info_received": "pre_transit", "attempt_failed": "delivery_attempted", "return_in_progress": "returning", "note": None,
    }  # fmt: skip
    finer = {"K91": "on_hold", "K92": "destroyed", "Y29": "destroyed", "18": "lost"}  # than "exception" says
    finer |= dict.fromkeys(("Y64", "Y65", "Y66", "V06", "K25"), "delayed")
    for row in _codes("postnl"):
        space = "status" if row["code_space"] == "StatusCode" else "event"
        wanted = finer.get(row["code"]) or words.get(row["status"], row["status"])
        assert table[space, row["code"]].status == wanted, row
    with (SPECS / "postnl" / "event_codes.csv").open(encoding="utf-8") as opened:
        of: dict[str, set[str]] = {}
        for row in csv.DictReader(opened):
            of.setdefault(str(int(row["status"].partition(",")[0])), set()).add(
                table["event", row["event_code"]].status
            )
    clear = {code for code, said in of.items() if said == {table["status", code].status} and said != {None}}
    assert {code for (space, code), meaning in table.items() if space == "feed" and meaning.status is not None} == clear
