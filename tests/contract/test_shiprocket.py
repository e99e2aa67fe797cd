"""ShipRocket against what ../shared knows of it, where it is at hand (CI); skipped with a reason where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.contract.code_lists import Listed, decided, nothing_stale
from tracker.domain.errors import WebhookRejected
from tracker.domain.facts import Code, Payload, Report
from tracker.domain.vocabulary import ShippingStatus
from tracker.plugin.conformance import AT, example_settings, plugin_of

SPECS = Path(__file__).resolve().parents[3] / "shared" / "carriers" / "specs"
pytestmark = pytest.mark.skipif(
    not SPECS.exists(), reason="../shared is not here: the official contracts are not shipped"
)
# where the wording promises less than the suggested status: nobody of the carrier says that it was handed over, or is lost
CAREFUL = {"26", "43", "76"}


def _source(**settings: Any) -> Any:
    found = plugin_of("carriers.shiprocket")
    return found("account", example_settings(found, **settings))


def _maps() -> dict[str, Any]:
    maps: dict[str, Any] = json.loads((SPECS / "aggregators" / "status-map.json").read_text())["maps"]
    return maps


def _listed() -> list[Listed]:
    maps = _maps()
    shipments = [Listed("shipment", code, row["meaning"]) for code, row in maps["shiprocket.shipment_status"].items()]
    orders = [Listed("order", code, word) for code, word in maps["shiprocket.order_status_names"].items()]
    return shipments + orders


def test_each_status_of_shipments_and_of_orders_is_decided(record_property: Callable[[str, Any], None]) -> None:
    for space in ("shipment", "order"):
        rows = [row for row in _listed() if row.space == space]
        decided("shiprocket", f"aggregators/status-map.json, statuses of {space}s", rows, record_property)
    nothing_stale("shiprocket", _listed())


def test_each_status_of_a_shipment_means_what_the_list_suggests_or_less() -> None:
    source = _source()
    for code, row in _maps()["shiprocket.shipment_status"].items():
        found = source.meaning(Code("shipment", code))
        status = str(found.status) if found.status is not None else "=status"
        if code in CAREFUL:
            assert row["status"] in ("delivered", "lost")
            assert found.status is None or not found.status.terminal
        else:
            assert status == row["status"], (code, row)


def test_the_word_of_each_status_alone_means_what_its_number_means() -> None:
    source = _source()
    for row in _listed():
        word = row.wording.partition(" (")[0].partition("/")[0]
        body = {"awb": "A1", "scans": [{"sr-status": "NA", "sr-status-label": word}]}
        (report,) = source.normalize(Payload("a", "webhook", (json.dumps(body).encode(),), AT, {}))
        says, other = source.meaning(report.scans[0].code), source.meaning(Code(row.space, row.code))
        assert says is not None, row
        assert says.status is other.status, row


def test_the_example_of_a_push_reads_as_a_careful_reader_sees_it() -> None:
    body = json.dumps(json.loads((SPECS / "shiprocket" / "webhook-shape.json").read_text())["example"]).encode()

    (report,) = _source().normalize(Payload("a", "webhook", (body,), AT, {}))

    assert isinstance(report, Report)
    assert (report.carrier, report.number, report.complete, report.proof) == (
        "delhivery",
        "19041424751540",
        False,
        None,
    )
    assert [(one.code.space, one.code.code, one.local, one.place.city) for one in report.scans] == [
        ("shipment", "5", datetime(2023, 5, 19, 11, 59, 16), "Chomu (Rajasthan)"),
        ("shipment", "18", datetime(2023, 5, 23, 11, 43, 52), ""),
    ]
    source = _source()
    assert [source.meaning(one.code).status for one in report.scans] == [
        ShippingStatus.PRE_TRANSIT,
        ShippingStatus.IN_TRANSIT,
    ]
    assert report.edd is not None
    assert report.edd.begins.isoformat() == "2023-05-23T15:40:19+05:30"


def test_each_field_of_the_shape_is_one_that_the_example_has_or_that_is_left_out_knowingly() -> None:
    shape = json.loads((SPECS / "shiprocket" / "webhook-shape.json").read_text())

    assert set(shape["webhook_fields"]) - set(shape["example"]) == {"awb_assigned_date", "pickup_scheduled_date"}


def test_the_vector_names_the_header_of_the_token_and_another_only_where_it_is_configured() -> None:
    vectors = json.loads((SPECS / "aggregators" / "webhook-signature-vectors.json").read_text())["vectors"]
    (vector,) = [one for one in vectors if one["name"].startswith("shiprocket")]
    token = SecretStr(vector["value"])

    def check(header: str, value: str, **more: Any) -> int:
        place: int = _source(webhook_secrets=[token], **more).verify(
            Payload("a", "webhook", (b"{}",), AT, {header: value})
        )
        return place

    assert check(vector["header"], vector["value"]) == 0
    assert check("anx-api-key", vector["value"], webhook_header="anx-api-key") == 0
    for header, value in (
        ("anx-api-key", vector["value"]),
        (vector["header"], vector["value"][:-1]),
        (vector["header"], ""),
    ):
        with pytest.raises(WebhookRejected):
            check(header, value)
