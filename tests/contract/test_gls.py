"""GLS' calls, examples and codes against its official contract in ../shared, where it is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, SPECS, Recorder, _codes, _openapi, plugin
from tracker.domain.errors import CredentialsRejected, RateLimited, Refused
from tracker.domain.facts import Parcel, Parcels, Payload
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT

pytestmark = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared is not here: the official contracts are not shipped"
)
SPACES = {
    "status": "status", "event code prefix (part before the dot)": "prefix", "event code exact (beats prefix)": "event",
    "numeric codeNo (events/codes and older Group API)": "codeNo", "state of apm.gls.nl details (numeric)": "nl_consumer",
    "state of /api/parcel/v1/details (text)": "nl_state",
}  # fmt: skip


def _contract(name: str) -> dict[str, Any]:
    return _openapi(SPECS / "gls" / f"{name}.yaml")


def _rows(file: str, carrier: str, space: str, wording: str) -> list[Listed]:
    return [Listed(SPACES[row[space]], row["code"], row[wording]) for row in _codes(carrier, file)]


def test_the_calls_are_what_the_contracts_describe() -> None:
    tracking, tokens = _contract("ecitrackandtrace"), _contract("authentication-service-v2")
    token = {"access_token": "t", "expires_in": 14400}
    source, client = (
        plugin("carriers.gls"),
        Recorder(token, {"parcels": []}, token, {"eventsCodes": []}),
    )
    list(source.fetch(client, Parcels((Parcel("gls", "93835368025"), Parcel("gls", "ZX61QJIX")))))
    source.ping(client)
    asked, poll, _, codes = client.sent

    base = tracking["servers"][1]["url"].rstrip("/")
    assert (poll.method, poll.url) == ("GET", f"{base}/tracking/simple/trackids/93835368025,ZX61QJIX")
    assert codes.url == f"{base}/tracking/events/codes"
    assert {"/tracking/simple/trackids/{unitnos}", "/tracking/events/codes"} <= set(tracking["paths"])
    assert poll.params == {}
    assert tracking["components"]["parameters"]["RequestAcceptLanguage"]["name"] in poll.headers
    assert (asked.method, asked.url) == ("POST", f"{tokens['servers'][1]['url']}/token")
    assert (asked.content, asked.basic is not None) == (b"grant_type=client_credentials", True)


def test_the_examples_of_an_answer_are_read_as_a_careful_reader_does() -> None:
    examples = _contract("ecitrackandtrace")["components"]["responses"]["Response200"]["content"]["application/json"][
        "examples"
    ]
    source = plugin("carriers.gls")
    read: dict[str, list[Any]] = {}
    for name, example in examples.items():
        body = json.dumps(example["value"]).encode()
        source.raise_for_status(Response(200, {}, body, AT))
        read[name] = list(source.normalize(Payload("a", "poll", (body,), AT, {})))

    def shown(report: Any) -> list[tuple[str, str, str]]:
        return [
            (scan.code.code, str(source.meaning(scan.code).status), scan.occurred_at.isoformat())
            for scan in report.scans
        ]

    before = [
        ("INTIAL.E48_DATA", "pre_transit", "2024-10-11T15:24:52+02:00"),
        ("INTIAL.PREADVICE", "pre_transit", "2024-10-11T15:24:51+02:00"),
    ]
    missing, known = read["200WithErrors"]
    assert (missing.number, missing.tracking, missing.scans) == ("42249018928", "not_found", ())
    assert (shown(known), known.complete) == (before, True)
    assert shown(read["200WithoutErrors"][0]) == before
    first, second = read["200Reference2Parcels"]
    assert [(one.number, one.piece) for one in (first, second)] == [
        ("747N6K", "93835330599"),
        ("747N6K", "93835330600"),
    ]
    assert shown(first) == [
        ("INTIAL.NORMAL", "picked_up", "2024-09-18T06:50:22+02:00"),
        ("INTIAL.PREADVICE", "pre_transit", "2024-09-17T22:27:25+02:00"),
    ]
    assert shown(second)[0] == ("INTIAL.NORMAL", "picked_up", "2024-09-18T06:48:46+02:00")
    (shop,) = read["200WithLinks"]
    assert shown(shop) == [
        ("DELIVD.PARCELSHOP", "available_for_pickup", "2025-02-10T15:13:46+01:00"),
        ("INTIAL.NORMAL", "picked_up", "2025-02-10T15:11:12+01:00"),
        ("INTIAL.E48_DATA", "pre_transit", "2025-02-10T15:08:44+01:00"),
        ("INTIAL.PREADVICE", "pre_transit", "2025-02-10T15:08:43+01:00"),
    ]


def test_the_examples_of_an_error_are_errors() -> None:
    responses = _contract("ecitrackandtrace")["components"]["responses"]
    source = plugin("carriers.gls")
    wanted = {"Response400": Refused, "Response400_General": Refused, "Response401": CredentialsRejected,
              "Response404": Refused, "Response429": RateLimited}  # fmt: skip
    for name, error in wanted.items():
        for example in responses[name]["content"]["application/json"]["examples"].values():
            with pytest.raises(error):
                source.raise_for_status(Response(int(name[8:11]), {}, json.dumps(example["value"]).encode(), AT))


def test_each_error_of_a_number_and_each_status_of_the_contract_has_its_fixture() -> None:
    schemas = _contract("ecitrackandtrace")["components"]["schemas"]
    folder = Path(__file__).parents[1] / "fixtures" / "gls"
    errors = {one["errorCode"] for one in json.loads((folder / "errors.poll.json").read_text())["parcels"]}
    statuses = {one["status"] for one in json.loads((folder / "statuses.poll.json").read_text())["parcels"]}

    assert set(schemas["ParcelErrorCodeDTO"]["enum"]) <= errors
    assert set(schemas["ParcelDTO"]["properties"]["status"]["enum"]) == statuses


def test_each_code_of_its_lists_is_decided(record_property: Any) -> None:
    lists = {
        "specs/_status_maps/direct_carriers.csv": _rows(
            "direct_carriers.csv", "gls_group", "code_space", "carrier_label"
        ),
        "specs/_status_maps/more_codes.csv": _rows("more_codes.csv", "gls_group", "space", "wording"),
        "specs/_status_maps/more_codes.csv, GLS Netherlands": _rows("more_codes.csv", "gls_nl", "space", "wording"),
    }
    assert [len(rows) for rows in lists.values()] == [12, 66, 15]
    for source, rows in lists.items():
        decided("gls", source, rows, record_property)
    nothing_stale("gls", [row for rows in lists.values() for row in rows])
