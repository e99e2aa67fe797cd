"""Canada Post against track.xsd, messages.xsd and the list of its event identifiers in ../shared, where these are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, SPECS, _codes, plugin
from tracker.domain.errors import NotFound
from tracker.domain.facts import Code
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, plugin_of

pytestmark = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared is not here: the official contracts are not shipped"
)
FIXTURES = Path(__file__).parents[1] / "fixtures" / "canada_post"
FOLDER = SPECS / "canadapost"


@pytest.mark.parametrize("name", ["words", "zones"])
def test_the_answers_that_are_read_are_what_the_schema_describes(name: str) -> None:
    schema = etree.XMLSchema(etree.parse(str(FOLDER / "track.xsd")))

    schema.assertValid(etree.parse(str(FIXTURES / f"{name}.poll.xml")))


def test_the_elements_that_are_read_are_those_of_the_schema() -> None:
    from carriers.canada_post.reading import _XML

    known = {one.get("name") for one in etree.parse(str(FOLDER / "track.xsd")).iter("{*}element")}
    assert {name for name in (*_XML[:-2], *_XML.event) if isinstance(name, str)} <= known
    assert {"delivery-confirmation-certificate", "tracking-summary", "pin-summary", "occurrence", "image"} <= known


def test_messages_are_what_the_schema_describes() -> None:
    body = (
        b'<messages xmlns="http://www.canadapost.ca/ws/messages"><message><code>004</code>'
        b"<description>No Pin History</description></message></messages>"
    )
    etree.XMLSchema(etree.parse(str(FOLDER / "messages.xsd"))).assertValid(etree.fromstring(body))
    with pytest.raises(NotFound, match="No Pin History"):
        plugin("carriers.canada_post", api="xml").raise_for_status(Response(404, {}, body, AT))


def listed() -> list[Listed]:
    """Return the copy of the table of scan events: four digits; its wordings are those of groups."""
    return [Listed("event", row["code"].zfill(4), row["carrier_label"]) for row in _codes("canadapost")]


def test_every_event_identifier_is_decided(record_property: Callable[[str, Any], None]) -> None:
    assert len({row.code for row in listed()}) == 202
    decided("canada_post", "_status_maps/direct_carriers.csv", listed(), record_property)
    nothing_stale("canada_post", listed())


def test_an_identifier_means_what_its_group_says() -> None:
    table = plugin_of("carriers.canada_post").codes  # type: ignore[attr-defined]
    words = {
        "info_received": "pre_transit", "attempt_failed": "delivery_attempted", "return_in_progress": "returning", "note": None,
    }  # fmt: skip
    finer = {  # than "exception" says; what is told at the door, and maybe a moment after the delivery, moves nothing
        "weather": "delayed", "delayed": "delayed", "held": "on_hold", "documents": "on_hold", "customs_hold": "on_hold",
        "disposed": "destroyed", "at_delivery_address": None,
    }  # fmt: skip
    for row in _codes("canadapost"):
        wanted = finer.get(row["substatus"], words.get(row["status"], row["status"]))
        assert table["event", row["code"].zfill(4)].status == wanted, row


def test_the_identifiers_whose_words_turn_them_are_those_of_the_list() -> None:
    """Third parties name 1496, 1498, 174, 1479, 1412, 2412, 4450 and 4700, and no other."""
    source = plugin("carriers.canada_post")
    turned = {said.partition(" ")[0] for space, said in source.codes if space == "text"}

    assert turned == {"1496", "1498", "0174", "1479", "1412", "2412", "4450", "4700"}
    for identifier in turned:
        assert source.codes["event", identifier].status is not None
    for identifier, after in (("0020", None), ("0021", None), ("2001", None), ("1405", "available_for_pickup")):
        assert source.meaning(Code("event", identifier, "Item delivered, returned to sender")).status == after
