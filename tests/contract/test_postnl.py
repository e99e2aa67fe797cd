"""PostNL's calls, codes and examples against their official contracts in ../shared, where these are at hand."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

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


def test_every_postnl_code_has_a_row_and_means_what_the_list_says() -> None:
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
    folder = SPECS / "postnl"
    for file, column, space in (
        ("event_codes.csv", "event_code", "event"),
        ("status_codes.csv", "status_code", "status"),
    ):
        with (folder / file).open(encoding="utf-8") as opened:
            assert {(space, row[column]) for row in csv.DictReader(opened)} <= set(table)
    with (folder / "event_codes.csv").open(encoding="utf-8") as opened:
        of: dict[str, set[str]] = {}
        for row in csv.DictReader(opened):
            of.setdefault(str(int(row["status"].partition(",")[0])), set()).add(
                table["event", row["event_code"]].status
            )
    clear = {code for code, said in of.items() if said == {table["status", code].status} and said != {None}}
    assert {code for (space, code), meaning in table.items() if space == "feed" and meaning.status is not None} == clear
