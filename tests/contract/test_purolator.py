"""Purolator against TrackingService.xsd in ../shared, where it is at hand (CI); skipped with a reason where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SPECS, _codes, plugin
from tracker.domain.errors import NotFound
from tracker.domain.facts import Parcel, Parcels
from tracker.plugin.conformance import Recorder

SPEC = SPECS / "purolator" / "TrackingService.xsd"
pytestmark = pytest.mark.skipif(
    not SPEC.exists(), reason="../shared is not here: the official contracts are not shipped"
)
FIXTURES = Path(__file__).parents[1] / "fixtures" / "purolator"
SOAP, TYPES = "{http://schemas.xmlsoap.org/soap/envelope/}", "{http://purolator.com/pws/datatypes/v1}"


@pytest.fixture(scope="module")
def schema() -> Any:
    """The schema as published declares some elements twice, which XML Schema forbids: the second ones are left out."""
    document = etree.parse(str(SPEC))
    seen: set[str | None] = set()
    for child in list(document.getroot()):
        if str(child.tag).endswith("element"):
            if child.get("name") in seen:
                document.getroot().remove(child)
            seen.add(child.get("name"))
    return etree.XMLSchema(document)


def _valid(schema: Any, element: Any) -> None:
    schema.assertValid(etree.fromstring(etree.tostring(element)))


@pytest.mark.parametrize("settings", [{}, {"user_token": "t", "group_id": "g", "language": "fr"}])
def test_the_poll_is_what_the_schema_describes(schema: Any, settings: dict[str, Any]) -> None:
    client = Recorder(b"<a/>")
    parcels = Parcels(tuple(Parcel("purolator", number) for number in ("329014521622", "KYV009956937", "]]><&")))
    list(plugin("carriers.purolator", **settings).fetch(client, parcels))
    envelope = etree.fromstring(client.sent[0].content or b"")

    context, request = envelope.find(f"{SOAP}Header")[0], envelope.find(f"{SOAP}Body")[0]
    assert (context.tag, request.tag) == (f"{TYPES}RequestContext", f"{TYPES}TrackPackagesByPinRequest")
    _valid(schema, context)
    _valid(schema, request)
    assert [value.text for value in request.iter(f"{TYPES}Value")] == ["329014521622", "KYV009956937", "]]><&"]


def test_the_call_for_a_signature_is_what_the_schema_describes(schema: Any) -> None:
    client = Recorder(b"<Envelope><Body><GetDeliveryDetailsResponse/></Body></Envelope>")
    with pytest.raises(NotFound):
        plugin("carriers.purolator").proof(client, Parcel("purolator", "329014521622"), None)
    envelope = etree.fromstring(client.sent[0].content or b"")

    request = envelope.find(f"{SOAP}Body")[0]
    assert request.tag == f"{TYPES}GetDeliveryDetailsRequest"
    _valid(schema, request)
    _valid(schema, envelope.find(f"{SOAP}Header")[0])


def _rows(file: str, space: str, wording: str) -> list[Listed]:
    spaces = {"ScanType": "ScanType", "event code of the web tracking JSON": "web"}
    return [Listed(spaces[row[space]], row["code"], row[wording]) for row in _codes("purolator", file)]


def test_every_code_is_decided(record_property: Any) -> None:
    """`Other` and `Undeliverable` say nothing by themselves: their wordings are the codes, of which there is no official list."""
    typed, web = (
        _rows("direct_carriers.csv", "code_space", "carrier_label"),
        _rows("more_codes.csv", "space", "wording"),
    )
    by_wording = {Listed("ScanType", kind, "(group) see description") for kind in ("Other", "Undeliverable")}

    assert by_wording <= set(typed)
    decided("purolator", "specs/_status_maps/direct_carriers.csv", set(typed) - by_wording, record_property)
    decided("purolator", "specs/_status_maps/more_codes.csv", web, record_property)
    nothing_stale("purolator", [*typed, *web])


def test_the_answer_that_is_read_is_what_the_schema_describes(schema: Any) -> None:
    envelope = etree.parse(str(FIXTURES / "several.poll.xml")).getroot()

    _valid(schema, envelope.find(f"{SOAP}Body")[0])


def test_every_type_of_details_is_known(schema: Any) -> None:
    from carriers.purolator import _DETAILS

    document = etree.parse(str(SPEC)).getroot()
    scans = {
        kind.get("name")
        for kind in document.iter("{http://www.w3.org/2001/XMLSchema}complexType")
        for base in kind.iter("{http://www.w3.org/2001/XMLSchema}extension")
        if base.get("base") == "tns:Scan"
    }
    assert scans == _DETAILS
