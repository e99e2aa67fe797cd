"""Hermes Germany's calls, codes and examples against its official files in ../shared, where these are at hand."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
import yaml

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, SPECS, _codes
from tracker.domain.facts import Parcel, Parcels, Payload
from tracker.plugin.conformance import AT, Recorder, example_settings, plugin_of
from tracker.plugin.conformance.given import TOKEN

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="../shared is not here: the official files are not shipped")
FOLDER = SPECS / "hermes_germany"


def _plugin(**settings: Any) -> Any:
    found: Any = plugin_of("carriers.hermes_germany")
    return found("a", example_settings(found, **settings))


def _file(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"openapi-{name}.yaml").read_text(encoding="utf-8"))
    return found


def _events() -> list[dict[str, str]]:
    with (FOLDER / "Hermes_Germany_Eventcodes.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


def event_codes() -> list[Listed]:
    return [
        Listed("3x3", row["3x3 Code"], f"{row['zusätzliche Erklärung EN']}: {row['textLang EN']}") for row in _events()
    ]


def short_codes() -> list[Listed]:
    return [Listed("2x2", row["code"], row["carrier_label"]) for row in _codes("hermes_de")]


def test_each_event_code_is_decided(record_property: Any) -> None:
    assert len(event_codes()) == 294
    decided("hermes_germany", "specs/hermes_germany/Hermes_Germany_Eventcodes.csv", event_codes(), record_property)


def test_each_2x2_code_is_decided(record_property: Any) -> None:
    assert {row.code for row in short_codes()} == {row["2x2 Code"] for row in _events()}
    decided("hermes_germany", "_status_maps/direct_carriers.csv", short_codes(), record_property)
    nothing_stale("hermes_germany", [*event_codes(), *short_codes()])


def test_each_3x3_code_is_found_however_its_parts_are_printed() -> None:
    plugin = _plugin()
    for row in _events():
        digits = row["3x3 Code"]
        parts = [digits[:3], digits[3:6], digits[6:]]
        for printed in (digits, "-".join(parts), "-".join(str(int(part)) for part in parts)):
            body = {
                "shipmentinfo": [
                    {"shipmentID": "H1", "status": [{"code": printed, "timestamp": "2026-01-01T00:00:00Z"}]}
                ]
            }
            ((scan,),) = (r.scans for r in plugin.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT)))
            assert (scan.code.space, scan.code.code) == ("3x3", digits)


def test_the_calls_are_what_the_files_describe() -> None:
    plugin, client = _plugin(pod_reason="REQUESTED_BY_RECEIVER"), Recorder(TOKEN, b'{"shipmentinfo": []}', b"%PDF-1.4")
    list(plugin.fetch(client, Parcels((Parcel(None, "T1132981237129800"),))))
    plugin.proof(client, Parcel(None, "89195131100303"), None)
    token, info, pod = client.sent

    described = _file("auth")
    call = described["paths"]["/authorization-facade/oauth2/access_token"]["post"]
    form = call["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    sent = dict(pair.split("=") for pair in (token.content or b"").decode().split("&"))
    assert token.url == described["servers"][0]["url"] + "/authorization-facade/oauth2/access_token"
    assert set(form["required"]) <= set(sent) <= set(form["properties"])
    assert sent["grant_type"] in form["properties"]["grant_type"]["enum"]

    described = _file("shipment")
    names = {p["name"] for p in described["paths"]["/shipmentinfo"]["get"]["parameters"]}
    assert set(info.params) <= names and "Accept-Language" in names
    assert info.url.endswith(described["servers"][0]["url"].partition(".com")[2] + "/shipmentinfo")
    (parameter,) = (p for p in described["paths"]["/shipmentinfo"]["get"]["parameters"] if p["name"] == "shipmentID")
    assert parameter["schema"]["maxItems"] == plugin.batch

    described = _file("POD")
    schema = described["components"]["schemas"]["GetSignatureRequest"]["properties"]
    body = json.loads(pod.content or b"")
    assert set(body) == set(schema) and body["reason"] in schema["reason"]["enum"]
    assert pod.url.endswith(described["servers"][0]["url"].partition(".com")[2] + "/signature")


def test_every_reason_of_a_signature_can_be_set() -> None:
    for reason in _file("POD")["components"]["schemas"]["GetSignatureRequest"]["properties"]["reason"]["enum"]:
        assert _plugin(pod_reason=reason).settings.pod_reason == reason


def test_the_examples_of_a_shipment_are_read() -> None:
    schemas = _file("shipment")["components"]["schemas"]

    def example(schema: dict[str, Any]) -> Any:
        while "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        if "example" in schema:
            value = schema["example"]
            return value.isoformat() if hasattr(value, "isoformat") else value
        if schema.get("type") == "array":
            return [example(schema["items"])]
        return {name: example(inner) for name, inner in schema.get("properties", {}).items()} or None

    body = example({"$ref": "#/components/schemas/ShipmentInfoResponse"})
    slot = body["shipmentinfo"][0]["deliveryForecast"]["timeSlot"]  # YAML reads 10:00 as a number of base 60
    slot.update({"from": "10:00", "to": "18:00"})

    (report,) = _plugin().normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT))

    (scan,) = report.scans
    assert (report.number, scan.code.code, scan.place.city, scan.place.country) == (
        "H9746130018743501086", "000000000", "Hamburg", "DE",
    )  # fmt: skip
    assert scan.occurred_at.isoformat() == "2020-12-04T07:58:24+01:00"
    assert [at.isoformat() for at in (report.edd.begins, report.edd.ends)] == [
        "2020-06-06T10:00:00+02:00", "2020-06-06T18:00:00+02:00",
    ]  # fmt: skip
