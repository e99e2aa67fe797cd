"""USPS against tracking.yaml, the signature vectors and its lists of codes in ../shared, where these are at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, SPECS, Recorder, _codes, _openapi, _resolve, plugin
from tracker.domain.errors import WebhookRejected
from tracker.domain.facts import Parcel, Parcels, Payload
from tracker.plugin.conformance import AT

pytestmark = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared is not here: the official contracts are not shipped"
)


def test_the_usps_poll_is_what_tracking_yaml_describes() -> None:
    document = _openapi(SPECS / "usps" / "tracking.yaml")
    client = Recorder({"access_token": "t", "expires_in": "28799", "scope": "tracking"})
    list(plugin("carriers.usps").fetch(client, Parcels((Parcel("usps", "9400111206206406260787"),))))
    sent = client.sent[1]
    operation = document["paths"]["/tracking/{trackingNumber}"]["get"]
    allowed = {
        p["name"]: p["schema"] for p in (_resolve(document, p) for p in operation["parameters"]) if p["in"] == "query"
    }

    assert document["servers"][0]["url"] == "https://apis.usps.com/tracking/v3"
    assert sent.url == "https://apis.usps.com/tracking/v3/tracking/9400111206206406260787"
    assert all(value in allowed[name]["enum"] for name, value in sent.params.items())


def test_the_usps_fixtures_of_v3_are_what_tracking_yaml_describes() -> None:
    import jsonschema

    document = _openapi(SPECS / "usps" / "tracking.yaml")
    schemas = document["components"]["schemas"]
    fields = schemas["TrackingEvent"]["properties"]
    folder = Path(__file__).parents[1] / "fixtures" / "usps"
    for name in ("details-three", "category", "same-out"):
        body = json.loads((folder / f"{name}.poll.json").read_text(encoding="utf-8"))
        assert set(body) <= set(schemas["TrackingDetails"]["properties"]), name
        assert all(set(event) <= set(fields) for event in body["trackingEvents"]), name
    error = json.loads((folder / "fraud.poll.parts.json").read_text(encoding="utf-8"))[0]
    jsonschema.Draft202012Validator({**document, "$ref": "#/components/schemas/ErrorMessage"}).validate(error)


SPACES = {"eventCode": "event", "eventCode (extra)": "event", "statusCategory": "category"}


def listed() -> list[Listed]:
    """Return the copies of Publication 199 and of the category names; a category is its own wording."""
    rows = [
        Listed(SPACES[row["code_space"]], row["code"], row["carrier_label"] or row["code"]) for row in _codes("usps")
    ]
    more = _codes("usps", "more_codes.csv")
    return [*rows, *(Listed(SPACES[row["space"]], row["code"], row["wording"]) for row in more)]


def test_every_code_is_decided(record_property: Callable[[str, Any], None]) -> None:
    assert len(listed()) == 66
    decided("usps", "_status_maps/direct_carriers.csv and more_codes.csv", listed(), record_property)
    nothing_stale("usps", listed())


def test_a_code_moves_a_parcel_only_where_the_list_says_so() -> None:
    source = plugin("carriers.usps")
    words = {
        "info_received": "pre_transit", "attempt_failed": "delivery_attempted", "return_in_progress": "returning", "note": None,
    }  # fmt: skip
    for row in _codes("usps"):
        meaning = source.codes[SPACES[row["code_space"]], row["code"]]
        assert meaning.status == words.get(row["status"], row["status"]), row


def test_the_signature_vectors() -> None:
    vectors = json.loads((SPECS / "webhook-signature-vectors.json").read_text(encoding="utf-8"))["vectors"]
    vector = next(one for one in vectors if one["carrier"] == "usps")
    source = plugin("carriers.usps", webhook_secrets=[vector["key"]["secret"]])

    def check(changed: dict[str, Any]) -> None:
        told = {**vector["request"], **changed}
        headers = {name.lower(): value for name, value in told["headers"].items()}
        source.verify(Payload("a", "webhook", (told["body_utf8"].encode(),), AT, headers))

    for fine in ({}, *vector["must_pass"]):
        check(fine)
    assert vector["must_fail"]
    for wrong in vector["must_fail"]:
        with pytest.raises(WebhookRejected):
            check(wrong)
