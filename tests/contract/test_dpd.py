"""DPD's calls, answers and codes against its XSDs and the lists in ../shared, where these are at hand (CI); skipped with a reason where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SPECS, _codes
from tracker.domain.facts import Parcel, Parcels
from tracker.plugin.conformance import Recorder, example_settings, plugin_of

pytestmark = pytest.mark.skipif(
    not SPECS.exists(), reason="../shared is not here: the official contracts are not shipped"
)
FIXTURES = Path(__file__).parents[1] / "fixtures" / "dpd"
SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
ANSWER = b"<Envelope><Body><getTrackingDataResponse><trackingresult/></getTrackingDataResponse></Body></Envelope>"
TOKEN = (
    b"<Envelope><Body><getAuthResponse><return><authToken>t</authToken></return></getAuthResponse></Body></Envelope>"
)
SPACES = {
    "statusInfo.status (BE/NL SOAP)": "status", "StatusID of the DE consumer/cloud service": "StatusID",
    "statusInfo.status of ParcelLifeCycleService 2.0 (DE shipper service enumeration; also in a public shipper-service dump)": "status",
    "status.description of myDPD group API": "group", "Geo Event code (GSMT matrix)": "geo",
    "SCAN_CODE of STATUSDATA/SCANINFO files": "SCAN_CODE",
}  # fmt: skip


def _valid(name: str, element: Any) -> None:
    etree.XMLSchema(etree.parse(str(SPECS / "dpd" / f"{name}.xsd"))).assertValid(
        etree.fromstring(etree.tostring(element))
    )


def test_the_calls_are_what_the_schemas_describe() -> None:
    found: Any = plugin_of("carriers.dpd")
    client = Recorder(TOKEN, ANSWER)
    parcels = Parcels(tuple(Parcel("dpd", number) for number in ("05222000000011", "]]><&")))
    list(found("account", example_settings(found)).fetch(client, parcels))
    login, *tracks = [etree.fromstring(request.content or b"") for request in client.sent]

    _valid("LoginServiceV21", login.find(f"{SOAP}Body")[0])
    assert [one.find(".//parcelLabelNumber").text for one in tracks] == ["05222000000011", "]]><&"]
    for one in tracks:
        _valid("Authentication20", one.find(f"{SOAP}Header")[0])
        _valid("ParcelLifecycleServiceV20", one.find(f"{SOAP}Body")[0])


@pytest.mark.parametrize("case", ["ahead", "delivered", "stages-three", "return", "nothing-yet"])
def test_the_answers_that_are_read_are_what_the_schema_describes(case: str) -> None:
    _valid(
        "ParcelLifecycleServiceV20", etree.parse(str(FIXTURES / f"{case}.poll.xml")).getroot().find(f"{SOAP}Body")[0]
    )


def test_every_code_is_decided(record_property: Any) -> None:
    lists = {}
    for file, space, wording in (
        ("direct_carriers.csv", "code_space", "carrier_label"), ("more_codes.csv", "space", "wording"),
    ):  # fmt: skip
        lists[file] = [Listed(SPACES[row[space]], row["code"], row[wording]) for row in _codes("dpd", file)]
    for file, listed in lists.items():
        decided("dpd", f"specs/_status_maps/{file}", listed, record_property)
    nothing_stale("dpd", [row for listed in lists.values() for row in listed])
